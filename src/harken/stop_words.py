"""Words that do not say what a comment is about, such as "the", by language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final
from unicodedata import normalize

from harken.domain.errors import ConfigurationError

LANGUAGES: Final = ("en", "de", "es", "fr", "it", "pt", "nl")


def stop_words(languages: Sequence[str] = LANGUAGES) -> frozenset[str]:
    """The stop words of these languages together.

    Args:
        languages: ISO 639-1 codes.

    Raises:
        ConfigurationError: there is no list for one of the languages.
    """
    return _read(tuple(languages))


@cache
def _read(languages: tuple[str, ...]) -> frozenset[str]:
    # Not at the top: it reads the lists of all languages.
    import stopwordsiso  # noqa: PLC0415

    if unknown := sorted(set(languages) - set(stopwordsiso.langs())):
        names = ", ".join(map(repr, unknown))
        raise ConfigurationError(f"There are no stop words for {names}; languages must be ISO 639-1 codes such as 'en'")
    # In the form of the words of comments.
    return frozenset(normalize("NFC", word) for word in stopwordsiso.stopwords(list(languages)))

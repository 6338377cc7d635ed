"""What services that learn from feedback share: reading the newest comments, and a cache of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from threading import Lock
from typing import Final, Generic, TypeVar

from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.ports.repository import FeedbackRepository
from harken.services.newest import NEWEST, newest

_Model = TypeVar("_Model")
#: A model can take some megabytes.
_MAX_MODELS: Final = 16
#: The number of entries that are searched for comments at most.
_NEWEST_ENTRIES: Final = 100_000


def newest_comments(repository: FeedbackRepository, query: FeedbackQuery) -> Iterator[Feedback]:
    """The matching feedback with a comment, newest first: at most 20,000, among the newest 100,000 entries."""
    entries = newest(repository, query, limit=_NEWEST_ENTRIES)
    return islice((one for one in entries if one.comment), NEWEST)


class ModelCache(Generic[_Model]):
    """Fits a model for an application when it is first needed, and again when it is outdated. Thread-safe."""

    def __init__(self, fit: Callable[[str], _Model], is_current: Callable[[str, _Model], bool]) -> None:
        self._fit = fit
        self._is_current = is_current
        self._lock = Lock()
        self._models: dict[str, _Model] = {}

    def get(self, application: str) -> _Model:
        """The current model of an application. Models are fitted one at a time, as this occupies a core."""
        with self._lock:
            model = self._models.pop(application, None)
            if model is None or not self._is_current(application, model):
                model = self._fit(application)
            # Last, so that the first one is the one that was not used for the longest time.
            self._models[application] = model
            if len(self._models) > _MAX_MODELS:
                del self._models[next(iter(self._models))]
            return model

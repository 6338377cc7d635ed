"""Readings of comments by embeddings, which are computed in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from threading import Event
from typing import Final

from attrs import define, field, frozen

from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.embedded_sentiment import EmbeddedModel, FeatureSums, RatedFeatures
from harken.ports.text import FeatureExtractor
from harken.services.background import Background
from harken.services.forks import ForkSafeLock

#: How many comments of an application have features, the newest ones. The gain was measured with this number.
MAX_COMMENTS: Final = 1_000
#: For how many applications features are kept, each some megabytes.
_MAX_APPLICATIONS: Final = 16
#: How often a caller that waits learns about progress, in seconds.
_STEP: Final = 0.1

#: How likely a comment is a thumbs-up without its features, as if it had not been learned from.
ReadOtherwise = Callable[[Feedback], float]


@frozen(eq=False)
class EmbeddedReadings:
    """A model, and the comments that it can read.

    Attributes:
        model: the model.
        comments: the rated comments that it learned from, by id.
        left_out: their readings by id, each as if it had not been learned from.
        otherwise: their readings by id without features.
        features: the features of each text.
    """

    model: EmbeddedModel
    comments: Mapping[str, Feedback]
    left_out: Mapping[str, float]
    otherwise: Mapping[str, float]
    features: Mapping[str, tuple[int, ...]]

    def likelihood(self, feedback: Feedback) -> float | None:
        """How likely a comment is a thumbs-up; ``None`` if its features are not computed."""
        features = self.features.get(feedback.comment)
        if features is None:
            return None
        learned = self.comments.get(feedback.id)
        if learned is not None and _is_same(learned, feedback):
            return self.left_out[feedback.id]
        return self.model.reading(features)


@define(eq=False)
class _Request:
    """Comments to learn from, the newest first.

    Attributes:
        comments: the comments.
        read_otherwise: their readings without features.
        done: how many of them have features.
        is_outdated: whether one of them was changed or removed.
        ended: set when they were learned from, or when that failed.
    """

    comments: Sequence[Feedback]
    read_otherwise: ReadOtherwise
    done: int = 0
    is_outdated: bool = False
    ended: Event = field(factory=Event)


@define(eq=False)
class _Kept:
    """What one fit leaves to the next one, so that features are computed once. Only the thread uses it."""

    features: dict[str, tuple[int, ...]] = field(factory=dict)
    rated: dict[str, RatedFeatures] = field(factory=dict)
    sums: FeatureSums | None = None


class EmbeddingService:
    """Learns from the features of the newest 1,000 comments of an application, in a thread that starts when needed.

    Nothing of it is stored. Once :meth:`learn_soon` is called without a comment, or after it was changed, no reading
    uses what was learned from it, and its features are dropped at the next fit. Thread-safe. After a fork, the child
    has no readings.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self._background = Background("harken-embeddings", threads=1)
        self._closed = Event()
        self._pid = os.getpid()
        self._state = ForkSafeLock()
        self._requests: dict[str, _Request] = {}
        self._readings: dict[str, EmbeddedReadings] = {}
        self._kept: dict[str, _Kept] = {}

    def readings(self, application: str) -> EmbeddedReadings | None:
        """The latest readings; ``None`` until there are any. Does not block."""
        return None if self._is_forked() else self._readings.get(application)

    def learn_soon(self, application: str, comments: Sequence[Feedback], read_otherwise: ReadOtherwise) -> None:
        """Learn from the newest of these comments, in the background. Does not block.

        Args:
            application: the application.
            comments: all comments of the application that may be learned from, the newest first.
            read_otherwise: the readings to compare with.
        """
        if self._is_forked():
            return
        current = {one.id: one for one in comments}
        with self._state:
            readings = self._readings.get(application)
            if readings and not _has_all(current, readings.comments.values()):
                del self._readings[application]
            earlier = self._requests.get(application)
            if earlier and not _has_all(current, earlier.comments):
                earlier.is_outdated = True
            self._requests[application] = _Request(comments[:MAX_COMMENTS], read_otherwise)
        if not self._background.soon(partial(self._run, application)):
            self._requests.pop(application, None)

    def wait(self, application: str) -> Iterator[int]:
        """Wait until it has learned what was requested; yields the number of comments done so far, repeatedly."""
        while (request := self._requests.get(application)) is not None and not self._is_forked():
            if not request.ended.wait(_STEP):
                yield request.done

    def close(self) -> None:
        """End the thread, after the comment that it reads. May be called twice."""
        self._closed.set()
        self._background.close()
        self._requests.clear()

    def _is_forked(self) -> bool:
        # The thread runs in the parent.
        return os.getpid() != self._pid

    def _run(self, application: str) -> None:
        request = self._requests.get(application)
        if request is None:
            return
        try:
            readings = self._learn(application, request)
            with self._state:
                if readings and not request.is_outdated:
                    self._readings[application] = readings
        finally:
            with self._state:
                if self._requests.get(application) is request:
                    del self._requests[application]
            request.ended.set()

    def _learn(self, application: str, request: _Request) -> EmbeddedReadings | None:
        kept = self._kept.pop(application, None) or _Kept()
        # Last, so that the first one is the one that was not used for the longest time.
        self._kept[application] = kept
        if len(self._kept) > _MAX_APPLICATIONS:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._readings.pop(oldest, None)
        texts = {one.comment for one in request.comments}
        kept.features = {text: features for text, features in kept.features.items() if text in texts}
        for one in request.comments:
            if self._closed.is_set():
                return None
            if one.comment not in kept.features:
                kept.features[one.comment] = tuple(self._extractor.features(one.comment))
            request.done += 1
        return _fit(kept, request)


def _fit(kept: _Kept, request: _Request) -> EmbeddedReadings | None:
    comments = {one.id: one for one in request.comments if one.rating is not Rating.NEUTRAL}
    if not comments:
        kept.rated, kept.sums = {}, None
        return None
    rated = {name: RatedFeatures(kept.features[one.comment], one.rating is Rating.UP) for name, one in comments.items()}
    sums = kept.sums or FeatureSums.empty(len(next(iter(rated.values())).features))
    for name, one in kept.rated.items():
        if rated.get(name) != one:
            sums = sums.subtract(one)
    for name, one in rated.items():
        if kept.rated.get(name) != one:
            sums = sums.add(one)
    kept.sums, kept.rated = sums, rated
    otherwise = {name: request.read_otherwise(one) for name, one in comments.items()}
    model = EmbeddedModel.fit(sums, list(rated.values()), list(otherwise.values()))
    left_out = dict(zip(comments, model.left_out, strict=True))
    return EmbeddedReadings(model, comments, left_out, otherwise, kept.features)


def _has_all(current: Mapping[str, Feedback], comments: Iterable[Feedback]) -> bool:
    """Whether all these comments are among the current ones, with the same rating."""
    return all((now := current.get(one.id)) is not None and _is_same(now, one) for one in comments)


def _is_same(one: Feedback, other: Feedback) -> bool:
    return one.comment == other.comment and one.rating is other.rating

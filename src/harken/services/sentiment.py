"""Sentiment learned from ratings: readings of comments, their evaluation, and contradictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import fsum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from attrs import define, field, frozen

from harken.domain.feedback import Content, Feedback, Rating, Sentiment
from harken.domain.insight.evaluation import Evaluation, evaluate, evaluate_polarities
from harken.domain.insight.learned_sentiment import MODEL_VERSION, SentimentModel, calibration_sample
from harken.domain.insight.terms import terms
from harken.domain.query import FeedbackQuery, check_limit
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.ports.text import FeatureExtractor
from harken.ports.time import Clock
from harken.services.erasures import Erasures
from harken.services.finding import newest_comments
from harken.services.forks import ForkSafeLock

if TYPE_CHECKING:
    from harken.services.embeddings import EmbeddedReadings

#: A comment with a likelihood below this is clearly negative; above one minus this, clearly positive.
CLEARLY: Final = 0.1
#: How long a model is used although there is something new to learn.
_LASTS: Final = timedelta(minutes=1)
#: A change may be stored that long after the time that it carries: writes take time, and clocks differ.
_DELAY: Final = timedelta(seconds=10)
#: How many terms all models of a cache may have. Each takes up to 95 bytes, so this is about 95 MB.
_MAX_TERMS: Final = 1_000_000
#: What a model takes besides its terms, in terms.
_BESIDES: Final = 100
_Model = TypeVar("_Model")


@frozen
class Reading:
    """What a comment says about satisfaction, computed when it is read.

    Attributes:
        likelihood: of a thumbs-up with this comment, from 0 to 1.
        contradicts: whether the rating is a thumbs-up and the comment clearly negative (a likelihood below 0.1), or a
            thumbs-down and clearly positive (above 0.9).
        by: ``"words"`` if words that were learned from ratings count; ``"analyser"`` if only what the sentiment
            analyser said counts, because there are too few ratings to learn from; ``"embeddings"`` if these are
            switched on, computed for this comment, and clearly better.
        version: of the method.
    """

    likelihood: float
    contradicts: bool
    by: Literal["words", "analyser", "embeddings"]
    version: int = MODEL_VERSION


@frozen
class AverageReading:
    """The mean likelihood of a thumbs-up, from 0 to 1, and its number of comments; ``None`` without comments."""

    likelihood: float | None
    comments: int

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> AverageReading:
        """The average of these readings."""
        total = fsum(one.likelihood for one in readings)
        return cls(total / len(readings) if readings else None, len(readings))


@frozen
class SentimentSurvey:
    """The readings of a selection.

    Attributes:
        average: the average reading of all its comments, with any rating.
        by_rating: the average reading of the comments with each rating.
        contradictions: feedback whose comment contradicts its rating, with the reading, newest first; a part of them.
        contradicting: the number of all contradictions.
    """

    average: AverageReading
    by_rating: Mapping[Rating, AverageReading]
    contradictions: tuple[tuple[Feedback, Reading], ...]
    contradicting: int


@frozen
class EmbeddingsEvaluation:
    """How good readings by embeddings are, of the newest 1,000 comments, and other readings of the same comments.

    Attributes:
        are_used: whether readings are made by embeddings, as they are clearly better.
        otherwise: of the readings by words, or by the analyser; ``None`` without comments of both ratings.
        embeddings: of the readings by embeddings; ``None`` without comments of both ratings.
    """

    are_used: bool
    otherwise: Evaluation | None
    embeddings: Evaluation | None


@frozen
class SentimentEvaluation:
    """How good readings are, each compared with the rating as if the comment had not been learned from.

    Attributes:
        up: the number of thumbs-up comments.
        down: the number of thumbs-down comments.
        by: what the readings without embeddings are made by, see :class:`Reading`.
        learned: of the readings; ``None`` without comments of both ratings.
        analyser: of the analyser's polarity alone, scaled to 0 to 1; a comment without polarity is on the side of one
            half that is right more often. ``None`` without comments of both ratings, or if no comment has a sentiment.
        embeddings: ``None`` if embeddings are switched off, or not computed yet.
    """

    up: int
    down: int
    by: Literal["words", "analyser"]
    learned: Evaluation | None
    analyser: Evaluation | None
    embeddings: EmbeddingsEvaluation | None = None


@define(eq=False)
class _Slot(Generic[_Model]):
    """The model of an application, and the lock of those who need it."""

    lock: ForkSafeLock = field(factory=ForkSafeLock)
    model: _Model | None = None


class ModelCache(Generic[_Model]):
    """Fits a model for an application when it is first needed, and again when it is outdated. Thread-safe.

    Applications do not wait for each other. The models that were used last are kept, up to a million terms in total.
    """

    def __init__(
        self,
        fit: Callable[[str], _Model],
        is_current: Callable[[str, _Model], bool],
        count_terms: Callable[[_Model], int],
    ) -> None:
        self._fit = fit
        self._is_current = is_current
        self._count_terms = count_terms
        #: Held for moments only, never while the storage is read.
        self._lock = ForkSafeLock()
        self._slots: dict[str, _Slot[_Model]] = {}

    def get(self, application: str) -> _Model:
        """The current model of an application. Threads that need it at the same time wait for one fit."""
        with self._lock:
            # Last, so that the first one is the one that was not used for the longest time.
            slot = self._slots[application] = self._slots.pop(application, _Slot())
        with slot.lock:
            if slot.model is not None and self._is_current(application, slot.model):
                return slot.model
            # Not kept if the fit fails.
            slot.model = None
            model = slot.model = self._fit(application)
        with self._lock:
            self._drop_unused()
        return model

    def _drop_unused(self) -> None:
        sizes = {name: self._size(slot.model) for name, slot in self._slots.items()}
        total = sum(sizes.values())
        for name in list(sizes)[:-1]:
            if total <= _MAX_TERMS:
                return
            del self._slots[name]
            total -= sizes[name]

    def _size(self, model: _Model | None) -> int:
        return _BESIDES + (0 if model is None else self._count_terms(model))


@define(eq=False)
class _Fitted:
    """A model, and what was known of its application before it was fitted.

    Attributes:
        model: the model.
        summary: the statistics.
        erasures: their number.
        at: when it was fitted.
        checked_at: when changes were read last.
        versions: of changed feedback by id, which were found not to make the model outdated.
    """

    model: SentimentModel
    summary: Summary
    erasures: int
    at: datetime
    checked_at: datetime
    versions: dict[str, int]

    def is_outdated_by(self, changed: Feedback) -> bool:
        """Whether the model may have learned from an earlier version of feedback what it would not learn now."""
        since, known = self.checked_at - _DELAY, self.versions.get(changed.id, 0)
        replaced = [one.content for one in changed.revisions if one.replaced_at >= since and one.version >= known]
        now = _learnable(changed.content) if changed.is_counted else None
        return any(_learnable(one) != now and self._may_include(one) for one in replaced or [changed.content])

    def _may_include(self, content: Content) -> bool:
        if _learnable(content) is None:
            return False
        found = terms(content.comment, content.sentiment)
        return self.model.counts.may_include(found, is_up=content.rating is Rating.UP)


@frozen
class _Reader:
    """Reads the comments of an application, by embeddings where they are computed and better."""

    model: SentimentModel
    embedded: EmbeddedReadings | None

    def read(self, feedback: Feedback) -> Reading:
        likelihood = None
        if self.embedded and self.embedded.model.is_better:
            likelihood = self.embedded.likelihood(feedback)
        if likelihood is None:
            return _reading(feedback, _likelihood(self.model, feedback), _method(self.model))
        return _reading(feedback, likelihood, "embeddings")


class SentimentService:
    """Reads comments by the ratings of earlier comments in the same application.

    Nothing of it is stored: the sentiment in stored feedback is what the analyser said when it was accepted. The model
    of an application is fitted when it is needed: again at once if a comment that it may have learned from was changed
    or erased, and otherwise at most once a minute.

    With an extractor, features of the newest 1,000 comments are computed in the background. Readings never wait for
    them.
    """

    def __init__(
        self,
        repository: FeedbackRepository,
        erasures: Erasures,
        *,
        clock: Clock,
        extractor: FeatureExtractor | None = None,
    ) -> None:
        self._repository = repository
        self._erasures = erasures
        self._clock = clock
        self._models = ModelCache(self._fit, self._is_current, lambda fitted: fitted.model.size)
        self._embeddings = None
        if extractor:
            # Not at the top: most programs have no extractor.
            from harken.services.embeddings import EmbeddingService  # noqa: PLC0415

            self._embeddings = EmbeddingService(extractor)

    def readings(self, feedback: Sequence[Feedback]) -> Mapping[str, Reading]:
        """The readings by feedback id, of feedback that has a comment. A comment does not vouch for itself."""
        commented = [one for one in feedback if one.comment]
        readers = {name: self._reader(name) for name in {one.application for one in commented}}
        return {one.id: readers[one.application].read(one) for one in commented}

    def survey(self, query: FeedbackQuery, *, limit: int = 20) -> SentimentSurvey:
        """The average readings, and at most ``limit`` contradictions.

        Of the matching comments, the newest 20,000 are read, among the newest 100,000 entries.

        Raises:
            InvalidQuery: the limit is not from 1 to 1,000.
        """
        check_limit(limit)
        found = list(newest_comments(self._repository, query))
        readings = self.readings(found)
        contradictions = [(one, readings[one.id]) for one in found if readings[one.id].contradicts]
        return SentimentSurvey(
            average=AverageReading.of(list(readings.values())),
            by_rating={
                rating: AverageReading.of([readings[one.id] for one in found if one.rating is rating])
                for rating in Rating
            },
            contradictions=tuple(contradictions[:limit]),
            contradicting=len(contradictions),
        )

    def evaluate(self, application: str) -> SentimentEvaluation:
        """Compare the readings of rated comments with their ratings: the newest 20,000, among 100,000 entries."""
        rated = _rated(newest_comments(self._repository, FeedbackQuery(application=application)))
        reader = self._reader(application)
        model = reader.model
        ratings = [one.rating is Rating.UP for one in rated]
        return SentimentEvaluation(
            up=sum(ratings),
            down=len(ratings) - sum(ratings),
            by=_method(model),
            learned=evaluate([_likelihood(model, one) for one in rated], ratings),
            analyser=_evaluate_analyser(rated, ratings),
            embeddings=_evaluate_embeddings(reader.embedded) if reader.embedded else None,
        )

    def wait_for_embeddings(self, application: str) -> Iterator[int]:
        """Wait until embeddings are computed, such as before an evaluation.

        Yields the number of comments done so far, ten times a second; ends at once if embeddings are switched off.
        """
        if self._embeddings:
            self._models.get(application)
            yield from self._embeddings.wait(application)

    def close(self) -> None:
        """End the thread that computes embeddings, if there is one. May be called twice."""
        if self._embeddings:
            self._embeddings.close()

    def _reader(self, application: str) -> _Reader:
        # In this order: fitting the model drops embeddings that are outdated.
        model = self._models.get(application).model
        return _Reader(model, self._embeddings.readings(application) if self._embeddings else None)

    def _fit(self, application: str) -> _Fitted:
        at, erasures, summary = self._clock(), self._erasures.count(application), self._summary(application)
        # Before the counts, which therefore include these changes.
        versions = {one.id: one.version for one in self._repository.changes(application, since=at - _DELAY)}
        counts = self._repository.term_counts(application)
        comments = list(newest_comments(self._repository, FeedbackQuery(application=application)))
        # Feedback may have been added since the counts were read.
        sample = calibration_sample(_rated(comments))
        counted = [one for one in sample if counts.may_include(one.terms, is_up=one.is_up)]
        model = SentimentModel.fit(counts, counted)
        if self._embeddings:
            self._embeddings.learn_soon(application, comments, partial(_likelihood, model))
        return _Fitted(model, summary, erasures, at, at, versions)

    def _is_current(self, application: str, fitted: _Fitted) -> bool:
        if self._erasures.count(application) != fitted.erasures:
            return False
        now = self._clock()
        if now < fitted.at:
            # The clock was set back: changes since then may look older than the model.
            return False
        if now - fitted.at >= _LASTS:
            is_changed = any(self._repository.changes(application, since=fitted.at - _DELAY))
            return not is_changed and self._summary(application) == fitted.summary
        for one in self._repository.changes(application, since=fitted.checked_at - _DELAY):
            if fitted.versions.get(one.id) == one.version:
                continue
            if fitted.is_outdated_by(one):
                return False
            fitted.versions[one.id] = one.version
        fitted.checked_at = now
        return not _has_lost_comments(fitted.summary, self._summary(application))

    def _summary(self, application: str) -> Summary:
        return self._repository.summarize(FeedbackQuery(application=application)).get(None, Summary())


def _learnable(content: Content) -> tuple[Rating, str, Sentiment | None] | None:
    """What a model learns from content; ``None`` without a comment or a thumb."""
    if not content.comment or content.rating is Rating.NEUTRAL:
        return None
    return content.rating, content.comment, content.sentiment


def _has_lost_comments(before: Summary, after: Summary) -> bool:
    """Whether comments are missing that no change explains: a copy of another storage may have removed them."""
    lost = before - after
    return max(lost.comments, lost.comment_characters, lost.sentiments) > 0


def _rated(feedback: Iterable[Feedback]) -> list[Feedback]:
    return [one for one in feedback if one.rating is not Rating.NEUTRAL]


def _reading(feedback: Feedback, likelihood: float, by: Literal["words", "analyser", "embeddings"]) -> Reading:
    contradicts = {Rating.UP: likelihood < CLEARLY, Rating.DOWN: likelihood > 1 - CLEARLY}
    return Reading(likelihood, contradicts.get(feedback.rating, False), by)


def _method(model: SentimentModel) -> Literal["words", "analyser"]:
    return "words" if model.uses_words else "analyser"


def _likelihood(model: SentimentModel, feedback: Feedback) -> float:
    found, is_up = terms(feedback.comment, feedback.sentiment), feedback.rating is Rating.UP
    may_be_counted = feedback.is_counted and feedback.rating is not Rating.NEUTRAL
    if may_be_counted and model.counts.may_include(found, is_up=is_up):
        return model.reading_without(found, is_up=is_up)
    return model.reading(found)


def _evaluate_analyser(rated: Sequence[Feedback], ratings: Sequence[bool]) -> Evaluation | None:
    if not any(one.sentiment for one in rated):
        return None
    return evaluate_polarities([one.sentiment.polarity if one.sentiment else 0.0 for one in rated], ratings)


def _evaluate_embeddings(embedded: EmbeddedReadings) -> EmbeddingsEvaluation:
    ratings = [one.rating is Rating.UP for one in embedded.comments.values()]
    return EmbeddingsEvaluation(
        are_used=embedded.model.is_better,
        otherwise=evaluate(list(embedded.otherwise.values()), ratings),
        embeddings=evaluate(list(embedded.left_out.values()), ratings),
    )

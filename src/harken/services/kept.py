"""Results that are computed from much feedback, and kept until that feedback changes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence, Sized
from copy import copy
from datetime import datetime, timedelta
from itertools import count, islice
from threading import RLock
from typing import Final, TypeAlias, TypeVar, cast
from weakref import WeakValueDictionary

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.erasures import Erasures
from harken.services.forks import ForkSafeLock

_Value = TypeVar("_Value")
#: The place of a result: its application, selection and name.
_Place: TypeAlias = tuple[str, FeedbackQuery, Hashable]

#: How many results are kept.
_KEPT: Final = 400
#: A collection of more items is not kept.
_LARGEST: Final = 1_000
#: A change may be stored this much later than its time says, or by another machine's clock.
_MARGIN: Final = timedelta(minutes=1)
#: After more changes than this, a result is computed again without looking at them.
_MOST_CHANGES: Final = 100


@frozen
class Result:
    """A value that was computed from a selection of feedback.

    Attributes:
        value: the value.
        summary: the statistics of the selection.
        erasures: how many erasures the application had had.
        at: a time before the feedback was read.
        number: of the call that computed it, in order.
    """

    value: object
    summary: Summary
    erasures: int
    at: datetime
    number: int


@frozen
class _Checks:
    """What was found for a page, by application: the number of erasures, and changed feedback since a time."""

    erasures: dict[str, int]
    changes: dict[str, tuple[datetime, Sequence[Feedback]]]


class Kept:
    """Keeps results while the feedback of their selection is the same. Thread-safe.

    A result is outdated if the statistics of its selection changed, if feedback of the application was erased, or if
    feedback of its period was changed, moderated or withdrawn. All processes notice this.
    """

    def __init__(self, repository: FeedbackRepository, erasures: Erasures, *, clock: Clock) -> None:
        self._repository = repository
        self._erasures = erasures
        self._clock = clock
        self._lock = ForkSafeLock()
        self._results: OrderedDict[_Place, Result] = OrderedDict()
        self._locks: WeakValueDictionary[_Place, ForkSafeLock] = WeakValueDictionary()
        self._checks: _Checks | None = None
        self._numbers = count()

    def page(self) -> Kept:
        """The same results for one page, which looks for erasures and changes only once."""
        page = copy(self)
        page._checks = _Checks({}, {})  # noqa: SLF001
        return page

    def get(
        self,
        query: FeedbackQuery,
        summary: Summary,
        name: Hashable,
        compute: Callable[[], _Value],
        *,
        slack: int = 0,
        extend: Callable[[_Value, Summary], _Value | None] | None = None,
    ) -> _Value:
        """The value of ``compute``, or an earlier one.

        Args:
            query: the selection.
            summary: its statistics now.
            name: of the result.
            compute: computes it.
            slack: an earlier value is good enough if at most this number of entries were added.
            extend: returns the value with added entries, given an earlier value and what was added; ``None`` if that
                is not possible.
        """
        # Before the feedback is read, so that a change in between makes the result outdated.
        at, number = self._clock() - _MARGIN, next(self._numbers)
        erasures = self._count_erasures(query.application)
        place = query.application, query, name

        def known() -> Result | None:
            kept = self._valid(place, erasures)
            # A later call computed it from feedback that was read later.
            return kept if kept and (kept.number > number or _is_good(kept, summary, slack)) else None

        def computed() -> _Value:
            kept = self._valid(place, erasures)
            if kept and extend:
                added = summary - kept.summary
                extended = extend(cast("_Value", kept.value), added) if _is_addition(added, added.total) else None
                if extended is not None:
                    return extended
            return compute()

        result = known()
        if result is None:
            # Readers that come meanwhile wait, as they need the same. A name keeps the lock alive for them.
            computing = self._computing(place)
            with computing:
                result = known() or self._keep(place, Result(computed(), summary, erasures, at, number))
        return cast("_Value", result.value)

    def has(self, query: FeedbackQuery, summary: Summary, name: Hashable, *, slack: int = 0) -> bool:
        """Whether :meth:`get` returns an earlier value, and computes nothing."""
        kept = self._valid((query.application, query, name), self._count_erasures(query.application))
        return kept is not None and _is_good(kept, summary, slack)

    def _computing(self, place: _Place) -> ForkSafeLock:
        """The lock for computing a result. It is reentrant, so that a result cannot wait for itself."""
        with self._lock:
            return self._locks.setdefault(place, ForkSafeLock(RLock))

    def _valid(self, place: _Place, erasures: int) -> Result | None:
        """The result, unless it is outdated for another reason than added feedback."""
        application, query, _ = place
        self._forget(application, erasures)
        with self._lock:
            kept = self._results.get(place)
            if kept:
                self._results.move_to_end(place)
        # If the clock was set back, later changes are not found by their time.
        if kept is None or kept.at > self._clock() or self._has_changes(query, kept.at):
            return None
        return kept

    def _forget(self, application: str, erasures: int) -> None:
        """Drop all results from before the last erasure, as they may have comments that were erased."""
        with self._lock:
            outdated = [
                place for place, one in self._results.items() if place[0] == application and one.erasures != erasures
            ]
            for place in outdated:
                del self._results[place]

    def _keep(self, place: _Place, result: Result) -> Result:
        if isinstance(result.value, Sized) and len(result.value) > _LARGEST:
            return result
        with self._lock:
            self._results[place] = result
            self._results.move_to_end(place)
            if len(self._results) > _KEPT:
                # Of the application with the most results, so that none evicts those of others.
                [(largest, _)] = Counter(application for application, *_ in self._results).most_common(1)
                del self._results[next(one for one in self._results if one[0] == largest)]
        return result

    def _count_erasures(self, application: str) -> int:
        if self._checks is None:
            return self._erasures.count(application)
        if application not in self._checks.erasures:
            self._checks.erasures[application] = self._erasures.count(application)
        return self._checks.erasures[application]

    def _has_changes(self, query: FeedbackQuery, since: datetime) -> bool:
        """Whether feedback of the period was changed. Its content does not matter, as it may have been another."""
        changed = [one for one in self._changes(query.application, since) if one.updated_at >= since]
        return len(changed) >= _MOST_CHANGES or any(
            (query.since is None or query.since <= one.created_at)
            and (query.until is None or one.created_at < query.until)
            for one in changed
        )

    def _changes(self, application: str, since: datetime) -> Sequence[Feedback]:
        """Changed feedback since then or earlier; at most the number that is looked at."""
        if self._checks is not None:
            known_since, known = self._checks.changes.get(application, (since, None))
            if known is not None and known_since <= since and len(known) < _MOST_CHANGES:
                return known
        changed = list(islice(self._repository.changes(application, since=since), _MOST_CHANGES))
        if self._checks is not None:
            self._checks.changes[application] = since, changed
        return changed


def _is_good(kept: Result, summary: Summary, slack: int) -> bool:
    """Whether a result is good enough for a selection with these statistics."""
    return kept.summary == summary or _is_addition(summary - kept.summary, slack)


def _is_addition(added: Summary, most: int) -> bool:
    """Whether entries were added, at most this number, and none was removed."""
    return added.total <= most and min(added.positive, added.negative, added.neutral, added.comment_characters) >= 0

"""Results that are computed from much feedback, and kept until that feedback changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence, Sized
from copy import copy
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeVar, cast

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.erasures import Erasures
from harken.services.forks import ForkSafeLock

_Value = TypeVar("_Value")

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
    """

    value: object
    summary: Summary
    erasures: int
    at: datetime


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
        self._results: OrderedDict[tuple[str, FeedbackQuery, Hashable], Result] = OrderedDict()
        self._checks: _Checks | None = None

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
        at = self._clock() - _MARGIN
        erasures = self._count_erasures(query.application)
        place = query.application, query, name
        self._forget(query.application, erasures)
        kept = self._results.get(place)
        if kept and not self._has_changes(query, kept.at):
            value = cast("_Value", kept.value)
            added = summary - kept.summary
            if kept.summary == summary or _is_addition(added, slack):
                return value
            extended = extend(value, added) if extend and _is_addition(added, added.total) else None
            if extended is not None:
                return self._keep(place, Result(extended, summary, erasures, at), extended)
        value = compute()
        return self._keep(place, Result(value, summary, erasures, at), value)

    def _forget(self, application: str, erasures: int) -> None:
        """Drop all results from before the last erasure, as they may have comments that were erased."""
        with self._lock:
            outdated = [
                place for place, one in self._results.items() if place[0] == application and one.erasures != erasures
            ]
            for place in outdated:
                del self._results[place]

    def _keep(self, place: tuple[str, FeedbackQuery, Hashable], result: Result, value: _Value) -> _Value:
        if isinstance(value, Sized) and len(value) > _LARGEST:
            return value
        with self._lock:
            self._results[place] = result
            self._results.move_to_end(place)
            if len(self._results) > _KEPT:
                self._results.popitem(last=False)
        return value

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


def _is_addition(added: Summary, most: int) -> bool:
    """Whether entries were added, at most this number, and none was removed."""
    return added.total <= most and min(added.positive, added.negative, added.neutral, added.comment_characters) >= 0

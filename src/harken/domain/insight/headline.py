"""What to say first about a period: what changed since the one before, since when, why, and what would mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from attrs import frozen

from harken.domain.insight.best_groups import ENOUGH_THUMBS
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.insight.comparison import Comparison, Estimate, ProportionChange
from harken.domain.insight.mix import Mix
from harken.domain.query import FeedbackQuery, GroupKey
from harken.domain.summary import Summary

#: Satisfaction is about the same if it changed by less than this number of points, for all that is known.
SAME: Final = 10.0
#: New and vanished groups are worth a sentence if they change the result by this number of points.
_MISLEADING: Final = 1.0
#: A shorter silence says nothing.
SHORTEST_SILENCE: Final = timedelta(hours=1)
#: There is silence if at least this number of entries came at the same time in each of the earlier weeks.
_USUAL_ENTRIES: Final = 5
_WEEKS, _DAYS = 4, 7
_DAY: Final = timedelta(days=1)


class Finding(Enum):
    """What can be said about a period."""

    FELL = "fell"
    ROSE = "rose"
    SAME = "about the same"
    TOO_FEW = "too little to tell"
    SILENT = "silent"
    NO_COMPARISON = "nothing to compare with"
    EMPTY = "empty"
    COUNT = "count"


@frozen
class Silence:
    """No feedback at a time when it usually comes.

    Attributes:
        since: when the last feedback came.
        length: for how long there was none.
        usual: how many entries usually come in an hour, at the same time of earlier weeks or days.
    """

    since: datetime
    length: timedelta
    usual: float


@frozen
class Growth:
    """The issue that grew most.

    Attributes:
        name: the reason, or the name of the theme.
        is_reason: whether it is a reason that people chose, not a theme of their comments.
        change: its share of the thumbs-down entries before and after.
    """

    name: str
    is_reason: bool
    change: ProportionChange


@frozen(kw_only=True)
class Headline:
    """What to say first about a period.

    Attributes:
        finding: what can be said.
        before: when the earlier period begins and ends, in local time.
        after: when the period begins and ends, in local time.
        is_running: whether the period has not ended. The earlier one is then the same part of its period.
        comparison: the statistics of both periods, and the change of satisfaction with its intervals.
        began: when the fall or rise began, with the statistics before and since, if that is known.
        next_change: the next change after that in the period, if there is one: it may have ended the fall or rise.
        began_to_the_hour: whether these are hours; else they are days.
        growth: the issue that grew most, if any grew by more than chance.
        mix: the agents that only one of the periods has, and the comparison without them; ``None`` unless they change
            the result by at least a point.
        silence: the silence, for ``Finding.SILENT``.
    """

    finding: Finding
    before: tuple[datetime, datetime]
    after: tuple[datetime, datetime]
    is_running: bool
    comparison: Comparison
    began: SatisfactionChange | None = None
    next_change: SatisfactionChange | None = None
    began_to_the_hour: bool = False
    growth: Growth | None = None
    mix: Mix[GroupKey] | None = None
    silence: Silence | None = None

    @property
    def estimate(self) -> Estimate:
        """The satisfaction of the period, with its interval."""
        return Estimate(self.comparison.after, self.comparison.after_effect)


def is_of_one_rating(query: FeedbackQuery, comparison: Comparison) -> bool:
    """Whether only the numbers of entries have a meaning: they are selected by rating, or by reasons of one thumb."""
    sides = (comparison.before, comparison.after)
    is_one_sided = not any(one.positive for one in sides) or not any(one.negative for one in sides)
    return query.rating is not None or (query.tag is not None and is_one_sided)


def find(comparison: Comparison, silence: Silence | None = None, *, counts_only: bool = False) -> Finding:
    """What can be said about a period.

    Args:
        comparison: of the period with the one before.
        silence: the silence that it ends with, if any.
        counts_only: whether only the number of entries has a meaning; see :func:`is_of_one_rating`.
    """
    if silence is not None:
        return Finding.SILENT
    if not comparison.after.total:
        return Finding.EMPTY
    return Finding.COUNT if counts_only else _find_change(comparison)


def _find_change(comparison: Comparison) -> Finding:
    if comparison.after.decided < ENOUGH_THUMBS:
        return Finding.TOO_FEW
    if not comparison.before.decided:
        return Finding.NO_COMPARISON
    if comparison.direction:
        return Finding.FELL if comparison.direction < 0 else Finding.ROSE
    interval = comparison.always_valid_interval
    return Finding.SAME if max(-interval.low, interval.high) <= SAME else Finding.TOO_FEW


def silence(slots: Mapping[datetime, Summary], last: datetime, now: datetime) -> Silence | None:
    """The silence since the last feedback, if feedback usually comes at this time.

    It does if at least five entries came between the same times in each of the four weeks before, or, where that is not
    known, on each of the seven days before. At least two of these must be known.

    Args:
        slots: the statistics of quarter hours, by their start in UTC, of five weeks or as long as there is feedback.
        last: when the last feedback came.
        now: the present.
    """
    if now - last < SHORTEST_SILENCE or not slots:
        return None
    first = min(slots)
    for shifts in ([7 * week * _DAY for week in range(1, _WEEKS + 1)], [day * _DAY for day in range(1, _DAYS + 1)]):
        known = [shift for shift in shifts if last - shift >= first]
        if len(known) < 2:
            continue
        counts = [_count(slots, last - shift, now - shift) for shift in known]
        if min(counts) < _USUAL_ENTRIES:
            return None
        hours = (now - last) / timedelta(hours=1)
        return Silence(last, now - last, sum(counts) / len(counts) / hours)
    return None


def _count(slots: Mapping[datetime, Summary], since: datetime, until: datetime) -> int:
    return sum(summary.total for slot, summary in slots.items() if since <= slot < until)


def largest_change(changes: Iterable[SatisfactionChange], direction: int) -> SatisfactionChange | None:
    """The largest change in this direction, 1 for a rise and -1 for a fall. Charts mark the largest, too."""
    compared = [(one, Comparison(one.before, one.after)) for one in changes]
    alike = [(change, both) for change, both in compared if both.difference * direction > 0]
    return max(alike, key=lambda one: abs(one[1].difference))[0] if alike else None


def misleading(found: Mix[GroupKey], comparison: Comparison) -> Mix[GroupKey] | None:
    """The mix, if new and vanished groups change the result by at least a point or change the verdict."""
    without = found.without
    if not (found.new or found.gone) or not (without.before.decided and without.after.decided):
        return None
    moved = abs(without.difference - comparison.difference)
    changes_verdict = comparison.direction not in {0, without.direction}
    return found if moved >= _MISLEADING or changes_verdict else None

"""When satisfaction changed: change points of daily shares, and an alarm for a change that is under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from math import log, log2, sqrt
from typing import Final

from attrs import frozen

from harken.domain.summary import Summary

#: Likelihood ratios that chance exceeds in 5% of series without a change, by length in days; simulated.
_THRESHOLDS: Final = ((14, 7.0), (30, 7.9), (90, 9.66), (365, 10.0))
#: The mean of the squares of standard normal values that do not exceed the 95th percentile of such squares.
_TRIMMED_MEAN: Final = 0.79
_MIN_DAYS: Final = 3
_MIN_WEEKS: Final = 3
#: The alarm compares with the days of a baseline, looks for a change of this size, and decides at this sum.
_BASELINE: Final = 28
_STEP: Final = 0.1
_DECISION: Final = 8.0
#: The share of the baseline is uncertain as well: it is moved by this many standard errors towards the change. In
#: simulations with daily evaluations there is then about one false alarm in 20 years; without, one every two years.
_MARGIN: Final = 1.5


@frozen
class Day:
    """A day's thumbs.

    Attributes:
        up: thumbs-up.
        decided: thumbs, up or down.
        weekday: 0 for Monday to 6 for Sunday.
    """

    up: float
    decided: int
    weekday: int


@frozen
class Hour:
    """An hour's thumbs.

    Attributes:
        up: thumbs-up.
        decided: thumbs, up or down.
        hour: the local hour of the day, 0 to 23.
    """

    up: int
    decided: int
    hour: int


@frozen
class SatisfactionChange:
    """A change of satisfaction.

    Attributes:
        at: when the first day, or hour, after the change began.
        before: the statistics before it, from the change before that on.
        after: the statistics from then on, up to the next change.
    """

    at: datetime
    before: Summary
    after: Summary


@frozen
class Alarm:
    """A change of satisfaction that is under way.

    Attributes:
        baseline: the index of the first day of the baseline.
        began: the index of the day on which it began.
        index: of the day on which it became certain.
        is_rise: whether satisfaction rose.
    """

    baseline: int
    began: int
    index: int
    is_rise: bool


def change_points(days: Sequence[Day]) -> list[int]:
    """The indices of the first days after a change, in order, by binary segmentation with a binomial likelihood ratio.

    Weekday effects are removed first, and each ratio is divided by how much more days differ from one another than
    chance would have it. A series without a change gives one in about 5% of cases.
    """
    adjusted = without_weekday_effects(days)
    return list(_split(adjusted, 0, len(adjusted), dispersion_of(adjusted)))


def hourly_change_points(hours: Sequence[Hour], earlier: Sequence[Hour] = ()) -> list[int]:
    """The same for hours, of which no weekday is known: effects of the hour of the day are removed first.

    Args:
        hours: the series.
        earlier: hours of an earlier period, from which the effects and the dispersion are known better.
    """
    effects = _hour_effects([*earlier, *hours])
    adjusted = [
        Day(min(max(hour.up - hour.decided * effects[hour.hour], 0.0), hour.decided), hour.decided, 0)
        for hour in (*earlier, *hours)
    ]
    start = len(earlier)
    return [index - start for index in _split(adjusted, start, len(adjusted), dispersion_of(adjusted))]


def _split(days: Sequence[Day], start: int, end: int, dispersion: float) -> Iterator[int]:
    if end - start < 2 * _MIN_DAYS:
        return
    index, ratio = _best_split(days, start, end)
    if ratio / dispersion <= threshold(end - start):
        return
    yield from _split(days, start, index, dispersion)
    yield index
    yield from _split(days, index, end, dispersion)


def _best_split(days: Sequence[Day], start: int, end: int) -> tuple[int, float]:
    up, decided = _sums(days[start:end])
    whole = _log_likelihood(up, decided)
    best, best_gain = start, 0.0
    left_up, left_decided = 0.0, 0
    for index in range(start, end - 1):
        left_up += days[index].up
        left_decided += days[index].decided
        gain = _log_likelihood(left_up, left_decided) + _log_likelihood(up - left_up, decided - left_decided) - whole
        if gain > best_gain:
            best, best_gain = index + 1, gain
    return best, 2 * best_gain


def alarm(days: Sequence[Day]) -> Alarm | None:
    """The last change of satisfaction that is certain enough to report while it is under way, in either direction.

    A cumulative sum of log likelihood ratios against the share of the first 28 days: E. S. Page, "Continuous inspection
    schemes", Biometrika 41 (1954). The 28 days after an alarm are the next baseline. Weekday effects and the dispersion
    of days are taken into account. There is no alarm where a change of 10 points would leave the range of 0 to 1.
    """
    adjusted = without_weekday_effects(days)
    dispersion = dispersion_of(adjusted)
    last, start = None, 0
    while found := _first_alarm(adjusted, start, dispersion):
        last, start = found, found.index + 1
    return last


def _first_alarm(days: Sequence[Day], start: int, dispersion: float) -> Alarm | None:
    up, decided = _sums(days[start : start + _BASELINE])
    if not decided:
        return None
    share = (up + 1) / (decided + 2)
    margin = _MARGIN * sqrt(share * (1 - share) / (decided + 2) * dispersion)
    alarms = (
        _exceeded(days, start, share + sign * margin, share + sign * (margin + _STEP), dispersion) for sign in (-1, 1)
    )
    return min(filter(None, alarms), key=lambda one: one.index, default=None)


def _exceeded(days: Sequence[Day], start: int, share: float, changed: float, dispersion: float) -> Alarm | None:
    if not 0 < changed < 1:
        return None
    up, down = log(changed / share), log((1 - changed) / (1 - share))
    total, began = 0.0, start + _BASELINE
    for index in range(start + _BASELINE, len(days)):
        day = days[index]
        total = max(0.0, total + (day.up * up + (day.decided - day.up) * down) / dispersion)
        if total == 0:
            began = index + 1
        elif total > _DECISION:
            return Alarm(start, began, index, changed > share)
    return None


def threshold(days: int) -> float:
    """The likelihood ratio that chance exceeds in 5% of series of this length."""
    for (shorter, low), (longer, high) in pairwise(_THRESHOLDS):
        if days <= longer:
            share = max(0.0, log2(days / shorter) / log2(longer / shorter))
            return low + share * (high - low)
    return _THRESHOLDS[-1][1]


def without_weekday_effects(days: Sequence[Day]) -> list[Day]:
    """The days with the thumbs-up that they would have had if all weekdays were alike; not for under three weeks."""
    if len(days) < 7 * _MIN_WEEKS:
        return list(days)
    overall = _share(days)
    effects = [_share([day for day in days if day.weekday == weekday]) - overall for weekday in range(7)]
    return [
        Day(min(max(day.up - day.decided * effects[day.weekday], 0.0), day.decided), day.decided, day.weekday)
        for day in days
    ]


def _hour_effects(hours: Sequence[Hour]) -> Mapping[int, float]:
    """By how much the share of each hour of the day differs from all, as far as that is more than chance.

    Each difference is shrunk by the part of its variance that chance explains: R. DerSimonian, N. Laird, "Meta-analysis
    in clinical trials", Controlled Clinical Trials 7 (1986).
    """
    sums: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for hour in hours:
        up, decided = sums[hour.hour]
        sums[hour.hour] = up + hour.up, decided + hour.decided
    total_up, total = (sum(column) for column in zip(*sums.values(), strict=True)) if sums else (0, 0)
    share = total_up / total if total else 0.0
    variance = share * (1 - share)
    if not variance:
        return dict.fromkeys(range(24), 0.0)
    effects = {hour: up / decided - share if decided else 0.0 for hour, (up, decided) in sums.items()}
    spread = sum(sums[hour][1] * effect**2 for hour, effect in effects.items()) / variance
    scale = total - sum(decided**2 for _, decided in sums.values()) / total
    between = max(0.0, (spread - len(sums) + 1) * variance / scale) if scale else 0.0
    return {hour: effect * between / (between + variance / max(1, sums[hour][1])) for hour, effect in effects.items()}


def dispersion_of(days: Sequence[Day]) -> float:
    """How much more one day differs from the next than chance would have it, as a ratio of variances; at least 1."""
    share = _share(days)
    variance = share * (1 - share)
    rated = [day for day in days if day.decided]
    if variance == 0 or len(rated) < 2 * _MIN_DAYS:
        return 1.0
    squares = sorted(
        (day.up / day.decided - earlier.up / earlier.decided) ** 2
        / (variance * (1 / day.decided + 1 / earlier.decided))
        for earlier, day in pairwise(rated)
    )
    kept = squares[: max(1, round(0.95 * len(squares)))]
    return max(1.0, sum(kept) / len(kept) / _TRIMMED_MEAN)


def _sums(days: Sequence[Day]) -> tuple[float, int]:
    return sum(day.up for day in days), sum(day.decided for day in days)


def _share(days: Sequence[Day]) -> float:
    up, decided = _sums(days)
    return up / decided if decided else 0.5


def _log_likelihood(up: float, decided: int) -> float:
    if up <= 0 or up >= decided:
        return 0.0
    return up * log(up / decided) + (decided - up) * log(1 - up / decided)

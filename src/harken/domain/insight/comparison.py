"""Comparing two selections of feedback: what changed, whether that is more than chance, and what would decide it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import ceil, erfc, inf, sqrt
from typing import Final, TypeVar

from attrs import evolve, frozen

from harken.domain.insight.sampling import always_valid_margin, holm, log_e_value, mid_p, variance_of_change
from harken.domain.summary import Interval, Summary, wilson

Key = TypeVar("Key")

#: P-values are exact below this number of thumbs in both selections together.
SMALL: Final = 200
#: A larger number of ratings is not worth waiting for.
_MOST_NEEDED: Final = 10_000_000


@frozen
class Estimate:
    """Satisfaction, and how exactly it is known.

    Attributes:
        summary: the statistics.
        design_effect: how many ratings are worth one independent rating, at least 1.
    """

    summary: Summary
    design_effect: float

    @property
    def interval(self) -> Interval:
        """A 95% interval of the satisfaction in percent; 0 to 100 without thumbs. See :attr:`Summary.interval`."""
        effect = self.design_effect
        low, high = wilson(self.summary.positive / effect, self.summary.decided / effect)
        return Interval(low * 100, high * 100)


class Verdict(Enum):
    """Whether satisfaction changed by more than chance, however often anyone looked."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "too close to tell"


@frozen
class Comparison:
    """What changed from ``before`` to ``after``.

    Attributes:
        before: the statistics of the first selection.
        after: the statistics of the second.
        before_effect: the design effect of the first: how many ratings are worth one independent rating, at least 1.
        after_effect: the design effect of the second.
        is_decidable: whether a verdict may be given. Not if it is one of many comparisons that chance could explain.
    """

    before: Summary
    after: Summary
    before_effect: float = 1.0
    after_effect: float = 1.0
    is_decidable: bool = True

    @property
    def satisfaction_change(self) -> float:
        """Percentage points of satisfaction gained (or lost, if negative)."""
        return self.after.satisfaction - self.before.satisfaction

    @property
    def quality_change(self) -> float:
        """Points of quality gained (or lost, if negative)."""
        return self.after.quality - self.before.quality

    @property
    def total_change(self) -> int:
        """How many more entries (or fewer, if negative)."""
        return self.after.total - self.before.total

    @property
    def interval(self) -> Interval:
        """A 95% interval of the change in percentage points, for those who look once.

        Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent proportions",
        Statistics in Medicine 17 (1998), on effective counts; -100 to 100 where one side has no thumbs.
        """
        if not self._has_thumbs:
            return Interval(-100.0, 100.0)
        (x1, n1), (x2, n2) = self._effective
        old, new = x1 / n1, x2 / n2
        (old_low, old_high), (new_low, new_high) = wilson(x1, n1), wilson(x2, n2)
        down = sqrt((new - new_low) ** 2 + (old_high - old) ** 2)
        up = sqrt((new_high - new) ** 2 + (old - old_low) ** 2)
        return Interval((new - old - down) * 100, (new - old + up) * 100)

    @property
    def always_valid_interval(self) -> Interval:
        """A 95% interval of the change in percentage points that holds at every look; -100 to 100 at most."""
        if not self._has_thumbs:
            return Interval(-100.0, 100.0)
        change, margin = self.satisfaction_change, always_valid_margin(self._variance) * 100
        return Interval(max(-100.0, change - margin), min(100.0, change + margin))

    @property
    def verdict(self) -> Verdict:
        """Whether the always-valid interval excludes zero, and on which side."""
        if not self.is_decidable:
            return Verdict.UNDECIDED
        interval = self.always_valid_interval
        if interval.low > 0:
            return Verdict.BETTER
        return Verdict.WORSE if interval.high < 0 else Verdict.UNDECIDED

    @property
    def needed(self) -> int | None:
        """About how many more ratings would decide it, if both shares stay as they are; ``None`` if no number would."""
        if self.verdict is not Verdict.UNDECIDED:
            return 0
        if not self._has_thumbs:
            return None
        change, variance = abs(self.satisfaction_change) / 100, self._variance
        enough, low = 1.0, 1.0
        while always_valid_margin(variance / enough) > change:
            low, enough = enough, enough * 2
            if self._decided * enough > _MOST_NEEDED:
                return None
        for _ in range(40):
            middle = (low + enough) / 2
            low, enough = (middle, enough) if always_valid_margin(variance / middle) > change else (low, middle)
        return ceil(self._decided * (enough - 1))

    @property
    def p_value(self) -> float:
        """How often chance alone gives a change as large, for those who look once; exact below 200 thumbs."""
        if not self._has_thumbs:
            return 1.0
        (x1, n1), (x2, n2) = self._effective
        if self._decided < SMALL:
            return mid_p((round(x1), round(n1)), (round(x2), round(n2)))
        pooled = (x1 + x2) / (n1 + n2)
        variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
        return 1.0 if variance == 0 else erfc(abs(x2 / n2 - x1 / n1) / sqrt(2 * variance))

    @property
    def log_e_value(self) -> float:
        """The logarithm of the evidence that there is a change; see :func:`harken.domain.insight.sampling.holm`."""
        return log_e_value(self.satisfaction_change / 100, self._variance) if self._has_thumbs else -inf

    @property
    def sentence(self) -> str:
        """The verdict for people: "better by 4 to 9 points", "too close to tell: about 860 more ratings needed"."""
        if self.verdict is not Verdict.UNDECIDED:
            interval = self.always_valid_interval
            low, high = sorted((abs(interval.low), abs(interval.high)))
            return f"{self.verdict.value} by {low:.{0 if low >= 1 else 1}f} to {high:.0f} points"
        if not self._has_thumbs:
            return "too close to tell: one side has no ratings"
        if not self.needed:
            return "too close to tell"
        return f"too close to tell: about {_rounded(self.needed):,} more ratings needed"

    @property
    def _has_thumbs(self) -> bool:
        return bool(self.before.decided and self.after.decided)

    @property
    def _decided(self) -> int:
        return self.before.decided + self.after.decided

    @property
    def _effective(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Thumbs-up and all thumbs of both sides, divided by their design effects."""
        return (
            (self.before.positive / self.before_effect, self.before.decided / self.before_effect),
            (self.after.positive / self.after_effect, self.after.decided / self.after_effect),
        )

    @property
    def _variance(self) -> float:
        return variance_of_change(*self._effective)


def decide_together(comparisons: Mapping[Key, Comparison]) -> dict[Key, Comparison]:
    """Many comparisons at once: only those stay decidable that chance does not explain among all of them."""
    decided = holm({key: comparison.log_e_value for key, comparison in comparisons.items()})
    return {key: evolve(comparison, is_decidable=key in decided) for key, comparison in comparisons.items()}


def _rounded(number: int) -> int:
    """Two significant digits, rounded up: an estimate is not more exact than that."""
    unit: int = 10 ** max(0, len(str(number)) - 2)
    return ceil(number / unit) * unit

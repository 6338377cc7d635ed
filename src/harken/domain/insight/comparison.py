"""Comparing two selections of feedback: what changed, whether that is more than chance, and what would decide it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from math import ceil, erfc, inf, sqrt
from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen

from harken.domain.display import comparison_html, comparison_text, summary_html, summary_text
from harken.domain.insight.sampling import (
    ALPHA,
    always_valid_margin,
    holm_level,
    log_e_value,
    mid_p,
    variance_of_change,
)
from harken.domain.summary import Interval, Summary, wilson

Key = TypeVar("Key")
Compared = TypeVar("Compared", bound="TwoProportions")

#: P-values can be exact below this number of entries on both sides together.
SMALL: Final = 200
#: A larger number of entries is not worth waiting for.
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

    def __str__(self) -> str:
        return summary_text(self.summary, self.interval, is_adjusted=True)

    def _repr_html_(self) -> str:
        return summary_html(self.summary, self.interval, is_adjusted=True)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, named as in the HTTP API; see :meth:`.Summary.to_dict`."""
        return {
            **self.summary.to_dict(),
            "interval": self.interval.to_dict(),
            "design_effect": self.design_effect,
        }


@frozen
class Proportion:
    """The number of some entries among all: thumbs-up of thumbs, or comments about a theme of comments.

    Attributes:
        count: the number of these entries.
        total: the number of all entries.
        design_effect: how many entries are worth one independent entry, at least 1.
    """

    count: int
    total: int
    design_effect: float = 1.0

    @property
    def percent(self) -> float:
        """The share from 0.0 to 100.0; 0.0 without entries."""
        return self.count / self.total * 100 if self.total else 0.0

    @property
    def effective(self) -> tuple[float, float]:
        """Both numbers, divided by the design effect."""
        return self.count / self.design_effect, self.total / self.design_effect


@frozen
class TwoProportions(ABC):
    """A proportion before and after, and whether the difference is more than chance.

    Attributes:
        alpha: how often the always-valid interval may be wrong. Less than 0.05 for one of many comparisons; see
            :func:`decide_together`.
    """

    alpha: float = field(default=ALPHA, kw_only=True)

    @property
    @abstractmethod
    def proportions(self) -> tuple[Proportion, Proportion]:
        """The proportion before, and that after."""

    @property
    def difference(self) -> float:
        """The change in percentage points, after minus before; 0.0 if one side is empty."""
        before, after = self.proportions
        return 0.0 if self._is_empty else after.percent - before.percent

    @property
    def interval(self) -> Interval:
        """A 95% interval of the change in percentage points, for those who look once.

        Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent proportions",
        Statistics in Medicine 17 (1998), on effective counts; -100 to 100 if one side is empty.
        """
        if self._is_empty:
            return Interval(-100.0, 100.0)
        (x1, n1), (x2, n2) = self._effective
        old, new = x1 / n1, x2 / n2
        (old_low, old_high), (new_low, new_high) = wilson(x1, n1), wilson(x2, n2)
        down = sqrt((new - new_low) ** 2 + (old_high - old) ** 2)
        up = sqrt((new_high - new) ** 2 + (old - old_low) ** 2)
        return Interval((new - old - down) * 100, (new - old + up) * 100)

    @property
    def always_valid_interval(self) -> Interval:
        """An interval of the change in percentage points that holds at every look; -100 to 100 at most.

        It contains the change in 95% of cases, or ``1 - alpha``, as long as both sides only grow.
        """
        if self._is_empty:
            return Interval(-100.0, 100.0)
        change, margin = self.difference, always_valid_margin(self._variance, self.alpha) * 100
        return Interval(max(-100.0, change - margin), min(100.0, change + margin))

    @property
    def direction(self) -> int:
        """1 for a rise and -1 for a fall, if the always-valid interval excludes zero; else 0."""
        interval = self.always_valid_interval
        return (interval.low > 0) - (interval.high < 0)

    @property
    def needed(self) -> int | None:
        """About how many more entries would decide it, if both shares stay the same; ``None`` if no number would.

        0 if it is decided.
        """
        if self.direction:
            return 0
        if self._is_empty:
            return None
        change, variance, total = abs(self.difference) / 100, self._variance, self._total
        low, enough = 1.0, _MOST_NEEDED / total
        if always_valid_margin(variance / enough, self.alpha) > change:
            return None
        for _ in range(60):
            middle = (low + enough) / 2
            is_enough = always_valid_margin(variance / middle, self.alpha) <= change
            low, enough = (low, middle) if is_enough else (middle, enough)
        return max(1, ceil(total * (enough - 1)))

    @property
    def is_exact(self) -> bool:
        """Whether the p-value is exact: for less than 200 entries without a design effect."""
        return self._total < SMALL and all(side.design_effect == 1 for side in self.proportions)

    @property
    def p_value(self) -> float:
        """How often chance alone gives a change as large, for those who look once, and at this comparison alone.

        The exact mid-p value if :attr:`is_exact`; see :func:`harken.domain.insight.sampling.mid_p`. Else that of the
        normal approximation with the pooled variance, on effective counts.
        """
        if self._is_empty:
            return 1.0
        if self.is_exact:
            before, after = self.proportions
            return mid_p((before.count, before.total), (after.count, after.total))
        (x1, n1), (x2, n2) = self._effective
        pooled = (x1 + x2) / (n1 + n2)
        variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
        return 1.0 if variance <= 0 else erfc(abs(x2 / n2 - x1 / n1) / sqrt(2 * variance))

    @property
    def log_e_value(self) -> float:
        """The logarithm of the evidence that there is a change; see :func:`decide_together`."""
        return -inf if self._is_empty else log_e_value(self.difference / 100, self._variance)

    def describe(self, verdict: str, entries: str) -> str:
        """The verdict in words: "better by 4 to 9 points", "too close to tell: about 860 more thumbs needed".

        Args:
            verdict: the word for the direction.
            entries: the noun for what is counted, such as ``thumbs``.
        """
        if self.direction:
            interval = self.always_valid_interval
            low, high = sorted((abs(interval.low), abs(interval.high)))
            return f"{verdict} by {low:.{0 if low >= 1 else 1}f} to {high:.0f} points"
        if self._is_empty:
            return f"{verdict}: one side has no {entries}"
        return f"{verdict}: about {round_up(self.needed):,} more {entries} needed" if self.needed else verdict

    @property
    def _is_empty(self) -> bool:
        return not all(side.total for side in self.proportions)

    @property
    def _total(self) -> int:
        return sum(side.total for side in self.proportions)

    @property
    def _effective(self) -> tuple[tuple[float, float], tuple[float, float]]:
        before, after = self.proportions
        return before.effective, after.effective

    @property
    def _variance(self) -> float:
        return variance_of_change(*self._effective)


@frozen
class ProportionChange(TwoProportions):
    """How a proportion changed.

    Attributes:
        before: the earlier proportion.
        after: the later one.
    """

    before: Proportion
    after: Proportion

    @property
    def proportions(self) -> tuple[Proportion, Proportion]:
        """The proportion before, and that after."""
        return self.before, self.after


class Verdict(Enum):
    """Whether satisfaction changed by more than chance, as :attr:`Comparison.always_valid_interval` has it."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "too close to tell"


_VERDICTS: Final = {1: Verdict.BETTER, -1: Verdict.WORSE, 0: Verdict.UNDECIDED}


@frozen
class Comparison(TwoProportions):
    """What changed from ``before`` to ``after``.

    Attributes:
        before: the statistics of the first selection.
        after: the statistics of the second.
        before_effect: the design effect of the first: how many ratings are worth one independent rating, at least 1.
        after_effect: the design effect of the second.
    """

    before: Summary
    after: Summary
    before_effect: float = 1.0
    after_effect: float = 1.0

    @property
    def proportions(self) -> tuple[Proportion, Proportion]:
        """The thumbs-up of all thumbs, before and after."""
        return (
            Proportion(self.before.positive, self.before.decided, self.before_effect),
            Proportion(self.after.positive, self.after.decided, self.after_effect),
        )

    @property
    def estimates(self) -> tuple[Estimate, Estimate]:
        """The statistics of both selections, each with its own interval."""
        return Estimate(self.before, self.before_effect), Estimate(self.after, self.after_effect)

    def __str__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        return comparison_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return both selections and the change, in percentage points, as JSON values, named as in the HTTP API."""
        before, after = self.estimates
        return {
            "before": before.to_dict(),
            "after": after.to_dict(),
            "satisfaction_change": round(self.satisfaction_change, 1),
            "quality_change": round(self.quality_change, 1),
            "total_change": self.total_change,
            "interval": self.interval.to_dict(),
            "significant": self.verdict is not Verdict.UNDECIDED,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "needed": self.needed,
            "alpha": self.alpha,
            "always_valid_interval": self.always_valid_interval.to_dict(),
            "p_value": float(f"{self.p_value:.3g}"),
            "p_value_is_exact": self.is_exact,
        }

    @property
    def satisfaction_change(self) -> float:
        """Percentage points of satisfaction gained (or lost, if negative)."""
        return self.difference

    @property
    def quality_change(self) -> float:
        """Points of quality gained (or lost, if negative)."""
        return self.after.quality - self.before.quality

    @property
    def total_change(self) -> int:
        """How many more entries (or fewer, if negative)."""
        return self.after.total - self.before.total

    @property
    def verdict(self) -> Verdict:
        """Whether the always-valid interval excludes zero, and on which side."""
        return _VERDICTS[self.direction]

    @property
    def sentence(self) -> str:
        """The verdict for people: "better by 4 to 9 points", "too close to tell: about 860 more thumbs needed"."""
        return self.describe(self.verdict.value, "thumbs")


def decide_together(comparisons: Mapping[Key, Compared]) -> dict[Key, Compared]:
    """Many comparisons at once: each with the level at which all verdicts together are wrong at most 5% of the time."""
    alpha = holm_level(comparison.log_e_value for comparison in comparisons.values())
    return {key: evolve(comparison, alpha=alpha) for key, comparison in comparisons.items()}


def round_up(number: int) -> int:
    """Two significant digits, rounded up: an estimate is not more exact than that."""
    unit: int = 10 ** max(0, len(str(number)) - 2)
    return ceil(number / unit) * unit

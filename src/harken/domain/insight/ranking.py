"""Groups on one axis: their satisfaction and change, and which pairs differ by more than chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import comb
from typing import Final, Generic, TypeVar

from attrs import frozen

from harken.domain.insight.best_groups import ENOUGH_THUMBS, BestGroups, best_groups
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.sampling import AuthorRatings, design_effects
from harken.domain.query import GroupKey
from harken.domain.summary import Summary

Key = TypeVar("Key")

#: Groups with fewer thumbs than this number of others are left out.
MOST_RANKED: Final = 50


@frozen
class RankedGroup(Generic[Key]):
    """A group.

    Attributes:
        key: an agent, or the label of a context value.
        estimate: its statistics.
        change: from the earlier period to this one, decided among all groups; ``None`` without an earlier period.
    """

    key: Key
    estimate: Estimate
    change: Comparison | None

    @property
    def has_enough(self) -> bool:
        """Whether it has enough thumbs to be compared: 20."""
        return self.estimate.summary.decided >= ENOUGH_THUMBS

    @property
    def is_new(self) -> bool:
        """Whether it had fewer than 20 thumbs in the earlier period."""
        return self.change is not None and self.change.before.decided < ENOUGH_THUMBS


@frozen
class Ranking(Generic[Key]):
    """Groups of feedback, compared with each other and with an earlier period.

    Attributes:
        groups: the 50 with the most thumbs: by descending satisfaction, then those with fewer than 20 thumbs.
        found: how many groups there are.
        total: the statistics of all of them.
        best: the comparison of the largest groups with each other.
        is_complete: whether all thumbs were counted. Else, only the newest 20,000 were, and no neutral ratings.
    """

    groups: tuple[RankedGroup[Key], ...]
    found: int
    total: Estimate
    best: BestGroups[Key]
    is_complete: bool

    @property
    def pairs(self) -> int:
        """The number of pairs that were compared, for which the comparisons are corrected."""
        return comb(len(self.best.compared), 2)


def rank(
    groups: Mapping[Key, Estimate],
    earlier: Mapping[Key, Estimate] | None,
    total: Estimate,
    *,
    is_complete: bool = True,
) -> Ranking[Key]:
    """Rank groups.

    Args:
        groups: the statistics of each.
        earlier: those of the earlier period, if there is one.
        total: those of all groups together.
        is_complete: see :class:`Ranking`.
    """
    largest = sorted(groups, key=lambda key: (-groups[key].summary.decided, str(key)))[:MOST_RANKED]
    nothing = Estimate(Summary(), 1.0)
    changes = {} if earlier is None else {key: _compare(earlier.get(key, nothing), groups[key]) for key in largest}
    compared = {key: one for key, one in changes.items() if min(one.before.decided, one.after.decided) >= ENOUGH_THUMBS}
    decided = changes | decide_together(compared)
    ranked = sorted((RankedGroup(key, groups[key], decided.get(key)) for key in largest), key=_place)
    best = best_groups({group.key: group.estimate for group in ranked})
    return Ranking(tuple(ranked), len(groups), total, best, is_complete)


def count_thumbs(ratings: Collection[AuthorRatings]) -> dict[GroupKey, Estimate]:
    """The statistics of each group of thumbs: there are no neutral ratings and no comments among them."""
    counts: dict[GroupKey, tuple[int, int]] = {}
    for one in ratings:
        given, up = counts.get(one.group, (0, 0))
        counts[one.group] = given + one.given, up + one.up
    effects = design_effects(ratings)
    return {
        group: Estimate(Summary(positive=up, negative=given - up), effects[group])
        for group, (given, up) in counts.items()
    }


def _compare(before: Estimate, after: Estimate) -> Comparison:
    return Comparison(before.summary, after.summary, before.design_effect, after.design_effect)


def _place(group: RankedGroup[Key]) -> tuple[bool, float, int, str]:
    summary = group.estimate.summary
    return not group.has_enough, -summary.satisfaction if group.has_enough else 0.0, -summary.decided, str(group.key)

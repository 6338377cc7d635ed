"""Which of several groups is best: the largest of them, compared with each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Final, Generic, TypeVar

from attrs import frozen

from harken.domain.insight.comparison import Comparison, Estimate, decide_together

Key = TypeVar("Key")

#: A group with fewer thumbs is not compared.
ENOUGH_THUMBS: Final = 20
#: Only this number of groups is compared: there are 190 pairs of 20 groups, and 319,600 of 800.
MOST_COMPARED: Final = 20


@frozen
class Pair(Generic[Key]):
    """Two groups.

    Attributes:
        better: the group with the higher satisfaction.
        other: the other group.
        comparison: from ``other`` to ``better``, decided among all pairs.
    """

    better: Key
    other: Key
    comparison: Comparison


@frozen
class BestGroups(Generic[Key]):
    """The largest groups, compared with each other.

    Attributes:
        compared: the compared groups, best first.
        left_out: the number of groups with enough thumbs that are not among the largest.
        best: the best two; ``None`` if fewer were compared.
        clearest: the decided pair with the strongest evidence, if the best two are too close to tell; else ``None``.
    """

    compared: tuple[Key, ...]
    left_out: int
    best: Pair[Key] | None
    clearest: Pair[Key] | None


def best_groups(groups: Mapping[Key, Estimate]) -> BestGroups[Key]:
    """Compare each pair of the 20 largest groups with at least 20 thumbs.

    Args:
        groups: the satisfaction of each group. Of groups that are equal, the first comes first.
    """
    thumbs = {key: one.summary.decided for key, one in groups.items() if one.summary.decided >= ENOUGH_THUMBS}
    largest = sorted(thumbs, key=lambda key: -thumbs[key])[:MOST_COMPARED]
    ranked = tuple(sorted(largest, key=lambda key: (-groups[key].summary.satisfaction, -thumbs[key])))
    pairs = decide_together(
        {(better, other): _compare(groups[other], groups[better]) for better, other in combinations(ranked, 2)}
    )
    found = [Pair(better, other, comparison) for (better, other), comparison in pairs.items()]
    best = found[0] if found else None
    decided = [] if best is None or best.comparison.direction else [one for one in found if one.comparison.direction]
    clearest = max(decided, key=lambda pair: pair.comparison.log_e_value, default=None)
    return BestGroups(ranked, len(thumbs) - len(ranked), best, clearest)


def _compare(before: Estimate, after: Estimate) -> Comparison:
    return Comparison(before.summary, after.summary, before.design_effect, after.design_effect)

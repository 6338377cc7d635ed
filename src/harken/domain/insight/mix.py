"""Why a total changed when its groups did not: groups that are new or gone."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, Generic, TypeVar

from attrs import frozen

from harken.domain.insight.comparison import Comparison
from harken.domain.summary import Summary

Key = TypeVar("Key")

#: A group counts as new, or as gone, if the other side has less than this share of its ratings.
_HARDLY: Final = 0.02


@frozen
class Mix(Generic[Key]):
    """What new and vanished groups did to a comparison.

    Attributes:
        new: the groups that have ratings after, and hardly any before, the largest first.
        gone: the groups that had ratings before, and have hardly any after.
        without: the comparison of all other groups.
    """

    new: tuple[Key, ...]
    gone: tuple[Key, ...]
    without: Comparison


def mix(
    before: Mapping[Key, Summary], after: Mapping[Key, Summary], before_effect: float = 1.0, after_effect: float = 1.0
) -> Mix[Key]:
    """Compare what both sides have in common, and name the groups that they do not.

    Args:
        before: the statistics of each group of the first selection.
        after: those of the second.
        before_effect: the design effect of the first.
        after_effect: the design effect of the second.
    """
    new = _only_in(after, before)
    gone = _only_in(before, after)
    apart = {*new, *gone}
    return Mix(new, gone, Comparison(_without(before, apart), _without(after, apart), before_effect, after_effect))


def _without(side: Mapping[Key, Summary], apart: Container[Key]) -> Summary:
    return sum((summary for group, summary in side.items() if group not in apart), Summary())


def _only_in(side: Mapping[Key, Summary], other: Mapping[Key, Summary]) -> tuple[Key, ...]:
    found = [
        group
        for group, summary in side.items()
        if summary.decided and other.get(group, Summary()).decided < _HARDLY * summary.decided
    ]
    return tuple(sorted(found, key=lambda group: (-side[group].decided, str(group))))

"""How many responses of one rating each group has, and which share of its own that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from harken import Ranking
from harken.domain.query import GroupKey
from harken.domain.summary import Summary
from harken_adapters.charts.labels import DASH, share_text
from harken_adapters.charts.svg import Element, element, percent
from harken_adapters.charts.table import Column, build_table

_BAR: Final = 6


@frozen(kw_only=True)
class GroupCounts:
    """The groups with the most responses of a selection.

    Attributes:
        groups: the key of each, the number of its responses, and the number of all that they are a part of, if known.
        is_complete: whether all were counted. Else, only the newest 20,000 thumbs were.
    """

    groups: Sequence[tuple[GroupKey, int, int | None]]
    is_complete: bool


def count_groups(found: Ranking[GroupKey], whole: Ranking[GroupKey], part_of: Callable[[Summary], int]) -> GroupCounts:
    """The groups with the most responses first.

    Args:
        found: of the selection.
        whole: of all feedback that it is a part of.
        part_of: the number of responses that it is a part of, in the statistics of a group.
    """
    is_complete = found.is_complete and whole.is_complete
    all_of = {group.key: part_of(group.estimate.summary) for group in whole.groups} if is_complete else {}
    counts = [(group.key, group.estimate.summary.total) for group in found.groups]
    counts.sort(key=lambda one: (-one[1], str(one[0])))
    return GroupCounts(groups=[(key, count, all_of.get(key)) for key, count in counts], is_complete=is_complete)


def groups_table(
    counted: GroupCounts, *, by: str, noun: str, whole: str, link: Callable[[GroupKey], str | None]
) -> str:
    """An HTML table with a bar for each group.

    Args:
        counted: the groups.
        by: the kind of group as a noun, such as ``agent``.
        noun: what is counted, such as ``down``.
        whole: what it is a part of, such as ``downs``.
        link: what a group links to; ``None`` for nothing.
    """
    most = max((count for _, count, _ in counted.groups), default=1)
    columns = [
        Column(by.capitalize()),
        Column(element("span", "Number", class_="vh"), is_picture=True),
        Column(f"{noun.capitalize()}s", is_number=True),
        Column(f"Of its {whole}", is_number=True),
    ]
    rows = (_build_row(key, count, all_of, most, link(key)) for key, count, all_of in counted.groups)
    return str(build_table(f"{noun.capitalize()}s by {by}", columns, rows, css_class="agents"))


def _build_row(key: GroupKey, count: int, all_of: int | None, most: int, link: str | None) -> list[Element | str]:
    name = "(none)" if key is None else str(key)
    bar = element(
        "svg",
        element("rect", class_="track", width="100%", height=_BAR, rx=3),
        element("rect", class_="fa", width=percent(count / most), height=_BAR, rx=3),
        class_="p",
        height=_BAR,
        aria_hidden="true",
    )
    return [
        element("a", name, href=link) if link else name,
        bar,
        element("b", f"{count:,}"),
        share_text(count / all_of) if all_of else DASH,
    ]

"""The filter bar: the period, the comparison and the filters of a page, as links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from harken_adapters.hosts.web.selection import PERIODS, Pair, Selection

#: The names of filters that can be chosen, by parameter.
CHOICES: Final = {"agent_id": "Agent", "rating": "Rating", "tag": "Reason"}
#: The names of filters that links of other pages set.
_SET_ELSEWHERE: Final = {
    "session_id": "Session",
    "message_id": "Message",
    "author": "Author",
    "status": "Status",
    "withdrawn": "Withdrawn",
}
_CONTEXT: Final = "context."
_PERIOD_NAMES: Final = {"today": "Today", "week": "7 days", "month": "28 days", "year": "52 weeks"}


@frozen(kw_only=True)
class Chip:
    """A filter in use.

    Attributes:
        name: what is filtered: ``Agent``.
        values: the values, of which feedback has any: ``United, US Airways``.
        remove: a link without it.
        edit: the path of the page that changes it; ``None`` if it cannot be chosen.
    """

    name: str
    values: str
    remove: str
    edit: str | None


@frozen(kw_only=True)
class PeriodLink:
    """A period that ends now.

    Attributes:
        name: its name.
        key: the key that selects it.
        link: a link to it.
        is_current: whether it is shown.
    """

    name: str
    key: str
    link: str
    is_current: bool


@frozen(kw_only=True)
class FilterBar:
    """The filter bar of a page.

    Attributes:
        selection: what is selected.
        path: the path of the page.
        period: the name of the period.
        earlier: a link to the period before, and its name.
        later: a link to the period after; ``None`` if that has not begun.
        periods: links to periods that end now.
        comparison: the name of the previous period; ``None`` if nothing is compared.
        toggle_comparison: a link with, or without, the comparison.
        chips: the filters in use.
        more: the names and links of filters that are not in use.
        clear: a link without filters; ``None`` unless there are two.
    """

    selection: Selection
    path: str
    period: str
    earlier: tuple[str, str]
    later: str | None
    periods: tuple[PeriodLink, ...]
    comparison: str | None
    toggle_comparison: str
    chips: tuple[Chip, ...]
    more: tuple[tuple[str, str], ...]
    clear: str | None

    @property
    def kept(self) -> list[Pair]:
        """The parameters that a form for another period keeps."""
        return [pair for pair in self.selection.pairs if pair[0] not in ("since", "until", "period", "zone")]


def filter_bar(selection: Selection, path: str, home: str, page: str) -> FilterBar:
    """The filter bar of a page.

    Args:
        selection: what is selected.
        path: the path of the page.
        home: the path of the overview.
        page: the name of the page, to which choosing a filter leads back.
    """
    span = selection.span
    chips = tuple(_chips(selection, path, home, page))
    in_use = {name for name, _ in selection.filters}
    return FilterBar(
        selection=selection,
        path=path,
        period=span.whole.label,
        earlier=(selection.moved(path, -1), span.shifted(-1).whole.label),
        later=None if span.is_running else selection.moved(path, 1),
        periods=tuple(_periods(selection, path)),
        comparison=None if selection.previous is None else span.shifted(-1).whole.label,
        toggle_comparison=(
            selection.link(path, without=("compare",))
            if selection.previous is None
            else selection.link(path, ("compare", "none"))
        ),
        chips=chips,
        more=tuple(
            (label, _choose(selection, home, page, name))
            for name, label in (*CHOICES.items(), ("context", "Context"))
            if name not in in_use
        ),
        clear=selection.link(path, without={name for name, _ in selection.filters}) if len(chips) > 1 else None,
    )


def name_of(parameter: str) -> str:
    """The name of a filter, for people."""
    return {**CHOICES, **_SET_ELSEWHERE}.get(parameter, parameter.removeprefix(_CONTEXT))


def _periods(selection: Selection, path: str) -> Iterator[PeriodLink]:
    chosen = next(iter(selection.values("period")), None if selection.values("since") else "month")
    for name in PERIODS:
        yield PeriodLink(
            name=_PERIOD_NAMES[name],
            key=name[0].upper(),
            link=selection.link(path, ("period", name), without=("since", "until")),
            is_current=name == chosen,
        )


def _chips(selection: Selection, path: str, home: str, page: str) -> Iterator[Chip]:
    for name in dict.fromkeys(name for name, _ in selection.filters):
        can_choose = name in CHOICES or name.startswith(_CONTEXT)
        yield Chip(
            name=name_of(name),
            values=", ".join(value.capitalize() if name == "rating" else value for value in selection.values(name)),
            remove=selection.link(path, without=(name,)),
            edit=_choose(selection, home, page, name) if can_choose else None,
        )


def _choose(selection: Selection, home: str, page: str, name: str) -> str:
    return selection.link(f"{home}/filter", ("name", name), ("page", page))

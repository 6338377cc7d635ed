"""The filter bar: the period, the comparison and the filters of a page, as links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from harken_adapters.charts.labels import isolated
from harken_adapters.hosts.web.selection import CONTEXT, PERIODS, Pair, Selection
from harken_adapters.hosts.web.wording import quoted

#: The names of filters that can be chosen, by parameter.
CHOICES: Final = {
    "agent_id": "Agent",
    "rating": "Rating",
    "tag": "Reason",
    "context": "Context",
    "has_comment": "Comment",
}
#: The names of filters that links of other pages set.
_SET_ELSEWHERE: Final = {
    "session_id": "Session",
    "message_id": "Message",
    "author": "Author",
    "text": "Comment",
    "status": "Status",
    "withdrawn": "Withdrawn",
}
_COMMENTS: Final = {"true": "given", "false": "missing"}
_PERIOD_NAMES: Final = {"today": "Today", "week": "7 days", "month": "28 days", "year": "52 weeks"}


@frozen(kw_only=True)
class Chip:
    """A filter in use.

    Attributes:
        name: what is filtered: ``Agent``.
        values: the values, of which feedback has any: ``United, US Airways``.
        remove: a link without it.
        verb: how the values belong to it.
        edit: the path of the page that changes it; ``None`` if it cannot be chosen.
    """

    name: str
    values: str
    remove: str
    verb: str = "is"
    edit: str | None = None


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
        toggle_comparison: a link with, or without, the comparison; ``None`` if the page compares nothing.
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
    toggle_comparison: str | None
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
    is_running = selection.periods.is_running
    chips = tuple(_chips(selection, path, home, page))
    in_use = {name for name, _ in selection.filters}
    return FilterBar(
        selection=selection,
        path=path,
        period=selection.label,
        earlier=(selection.moved(path, -1), selection.label_moved(-1)),
        later=None if is_running else selection.moved(path, 1),
        periods=tuple(_periods(selection, path)),
        comparison=selection.label_before if selection.is_compared else None,
        toggle_comparison=None if page == "feedback" else _toggle_comparison(selection, path),
        chips=chips,
        more=tuple(
            (label, _choose(selection, home, page, name)) for name, label in CHOICES.items() if name not in in_use
        ),
        clear=selection.link(path, without={name for name, _ in selection.filters}) if len(chips) > 1 else None,
    )


def _toggle_comparison(selection: Selection, path: str) -> str:
    if selection.is_compared:
        return selection.link(path, ("compare", "none"))
    return selection.link(path, without=("compare",))


def name_of(parameter: str) -> str:
    """The name of a filter, for people."""
    return {**CHOICES, **_SET_ELSEWHERE}.get(parameter, parameter.removeprefix(CONTEXT))


def value_text(parameter: str, value: str) -> str:
    """A value of a filter, for people."""
    if parameter == "rating":
        return value.capitalize()
    if parameter == "text":
        return quoted(value)
    return _COMMENTS.get(value, value) if parameter == "has_comment" else value


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
        if name == "text" and page == "feedback":
            # The search field shows it.
            continue
        can_choose = name in CHOICES or name.startswith(CONTEXT)
        edit = _choose(selection, home, page, name) if can_choose else None
        yield chip_of(selection, name, remove=selection.link(path, without=(name,)), edit=edit)


def chip_of(selection: Selection, name: str, *, remove: str, edit: str | None = None) -> Chip:
    """The chip of a filter of the selection."""
    return Chip(
        name=name_of(name),
        verb="has" if name == "text" else "is",
        values=", ".join(isolated(value_text(name, value)) for value in selection.values(name)),
        remove=remove,
        edit=edit,
    )


def _choose(selection: Selection, home: str, page: str, name: str) -> str:
    return selection.link(f"{home}/filter", ("name", name), ("page", page))

"""A filter: its values with their numbers of entries, as a page of its own and as a popover of the filter bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from harken import Facets, Harken
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.filter_bar import CHOICES, name_of, value_text
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages.overview import KEPT
from harken_adapters.hosts.web.selection import CONTEXT, Selection
from harken_adapters.hosts.web.visit import Visit

PATH: Final = "/filter"
#: The pages that can be filtered, and their paths.
PAGES: Final[Mapping[str, str]] = {"overview": "", "feedback": "/feedback", "issues": "/issues"}


@frozen
class Option:
    """A value that can be chosen.

    Attributes:
        value: the value of the parameter.
        name: what it is called.
        count: how many entries have it, with all other filters.
        is_chosen: whether it is in use.
    """

    value: str
    name: str
    count: int
    is_chosen: bool


@frozen(kw_only=True)
class Filter:
    """The values of a filter.

    Attributes:
        options: the values, the most frequent first.
        is_single: whether only one can be chosen.
        counted: in how many entries they were counted, if not in all; else 0.
    """

    options: Sequence[Option]
    is_single: bool = False
    counted: int = 0


def ask(hk: Harken, selection: Selection, name: str) -> Filter:
    """The values of a filter.

    Args:
        hk: the services.
        selection: what is selected. The filter itself is ignored when its values are counted.
        name: the parameter.
    """
    if name == "rating":
        summary = hk.analytics.summary(selection.without(name))
        ratings = {"up": summary.positive, "neutral": summary.neutral, "down": summary.negative}
        return Filter(options=_options(name, ratings.items(), selection))
    if name == "has_comment":
        summary = hk.analytics.summary(selection.without(name))
        counts = {"true": summary.comments, "false": summary.total - summary.comments}
        return Filter(options=_options(name, counts.items(), selection), is_single=True)
    facets = _facets(hk, selection)
    values = {"agent_id": facets.agents, "tag": facets.tags}.get(name)
    if values is None:
        values = facets.context.get(name.removeprefix(CONTEXT), ())
    return Filter(options=_options(name, values, selection), counted=0 if facets.is_complete else facets.entries)


def ask_keys(hk: Harken, selection: Selection) -> Filter:
    """The keys of the context, as values."""
    facets = _facets(hk, selection)
    counts = {name: sum(count for _, count in values) for name, values in facets.context.items()}
    options = [Option(f"{CONTEXT}{name}", name, count, is_chosen=False) for name, count in counts.items()]
    return Filter(options=options, counted=0 if facets.is_complete else facets.entries)


def _facets(hk: Harken, selection: Selection) -> Facets:
    return hk.analytics.facets(selection.query, keep_agents=selection.agents is not None)


def _options(name: str, counts: Iterable[tuple[str, int]], selection: Selection) -> list[Option]:
    """The values that feedback has, and those in use that none has."""
    chosen, counted = selection.values(name), dict(counts)
    known = {**counted, **{value: 0 for value in chosen if value not in counted}}
    return [Option(value, value_text(name, value), count, value in chosen) for value, count in known.items()]


def show(visit: Visit) -> Response:
    """The response with the page, or with its form only."""
    selection = visit.selection(known=("name", "page", "fragment", *KEPT))
    parameters = selection.parameters
    name, page = parameters.get("name", "agent_id"), selection.choice("page", tuple(PAGES))
    if name not in CHOICES and not name.startswith(CONTEXT):
        known = ", ".join([*CHOICES, f"{CONTEXT}NAME"])
        raise invalid("name", "unknown", f"name must be one of {known}; got {name[:100]!a}")
    here = selection.keeping(KEPT) if page == "overview" else selection
    target, is_of_keys = f"{visit.home}{PAGES[page]}", name == "context"
    is_part = parameters.truth("fragment") or False
    return visit.show(
        "filter_form.html" if is_part else "filter.html",
        fragment=is_part,
        title=f"Filter by {name_of(name).lower() if name in CHOICES else name_of(name)}",
        name=name,
        label=name_of(name),
        found=ask_keys(visit.harken, selection) if is_of_keys else ask(visit.harken, selection, name),
        is_of_keys=is_of_keys,
        page=page,
        target=target,
        path=f"{visit.home}{PATH}",
        clear=here.link(target, without=[name]),
        frame=frame_of(visit, "Feedback" if page == "feedback" else "Overview", selection),
        here=here,
        kept=[pair for pair in here.pairs if pair[0] != name],
    )

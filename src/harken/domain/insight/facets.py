"""The values that can be filtered by, with the number of entries of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, frozen

from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery, label

#: A context key with more values, such as the id of a request, identifies entries, and does not group them.
MOST_VALUES: Final = 50
#: More context keys, agents and tags are left out.
_MOST_NAMES, MOST_SHOWN = 50, 200

Counts = tuple[tuple[str, int], ...]


@frozen
class Facets:
    """The values that feedback of a selection has.

    Attributes:
        agents: each agent with its number of entries, the most frequent first.
        tags: each tag with its number of entries.
        context: the values of each context key that has at most 50, by name.
        entries: in how many entries they were counted: all, or the newest 5,000.
        is_complete: whether these are all.
    """

    agents: Counts
    tags: Counts
    context: Mapping[str, Counts]
    entries: int
    is_complete: bool


def without_facets(query: FeedbackQuery, *, keep_agents: bool) -> FeedbackQuery:
    """The query without its filters on tags, context and, unless these are kept, agents."""
    wide = evolve(query, tag=None, context={})
    return wide if keep_agents else evolve(wide, agent_id=None)


def count_facets(entries: Iterable[Feedback], query: FeedbackQuery, *, most: int) -> Facets:
    """Count the values of entries.

    Args:
        entries: match the query, except for the filters that :func:`without_facets` removes.
        query: the selection. Values are counted in entries that match all other filters.
        most: how many entries there can be, if they are not all.
    """
    agents, tags = Counter[str](), Counter[str]()
    context: dict[str, Counter[str]] = {}
    of_agents, of_tags = evolve(query, agent_id=None), evolve(query, tag=None)
    of_names = {
        name: evolve(query, context={other: wanted for other, wanted in query.context.items() if other != name})
        for name in query.context
    }
    read = 0
    for one in entries:
        read += 1
        if one.agent_id is not None and of_agents.matches(one):
            agents[one.agent_id] += 1
        if of_tags.matches(one):
            tags.update(one.tags)
        matches = query.matches(one)
        for name, value in one.context.items():
            text = label(value)
            if text is not None and (of_names[name].matches(one) if name in of_names else matches):
                context.setdefault(name, Counter())[text] += 1
    return Facets(
        _ranked(agents),
        _ranked(tags),
        _ranked_context(context),
        read,
        is_complete=read < most,
    )


def _ranked_context(context: Mapping[str, Counter[str]]) -> dict[str, Counts]:
    """The values of the names that most entries have, by name."""
    groups = {name: values for name, values in context.items() if len(values) <= MOST_VALUES}
    frequent = sorted(groups, key=lambda name: (-groups[name].total(), name))[:_MOST_NAMES]
    return {name: _ranked(groups[name]) for name in sorted(frequent)}


def _ranked(counts: Counter[str]) -> Counts:
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0])))[:MOST_SHOWN]

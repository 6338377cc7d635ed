"""What commands say if there is no feedback, or none that matches the filters: why, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import evolve

from harken import FeedbackQuery, GroupBy, Harken
from harken.domain.query import Dimension
from harken.domain.texts import amount, did_you_mean, listed
from harken_adapters.hosts.cli.applications import count_entries
from harken_adapters.hosts.cli.output import in_one_line, say

#: How many applications, or values of a filter, are named.
_MOST_NAMED: Final = 5
#: The states that are shown by default.
_COUNTED: Final = FeedbackQuery()


def say_if_empty(hk: Harken, tell: Callable[[str], None] = say) -> bool:
    """If the application has no feedback in any state, say that, and name applications that have some.

    Returns whether it has none.
    """
    if _has(hk, hk.query().in_any_state()):
        return False
    others = hk.moderation.applications()
    if not others:
        tell("No feedback yet")
        return True
    # Only the entries of those that are named are counted.
    named = [f"{name} ({amount(count_entries(hk, name), 'entry', 'entries')})" for name in others[:_MOST_NAMED]]
    tell(f"No feedback yet in the application {hk.application}")
    tell(f"Add --application NAME for one that has feedback: {listed([*named, *others[_MOST_NAMED:]], _MOST_NAMED)}")
    return True


def say_if_nothing(hk: Harken, *queries: FeedbackQuery) -> bool:
    """If no feedback matches any of the queries, say that, and what is probably wrong.

    Returns whether none matches.
    """
    if say_if_empty(hk):
        return True
    if any(_has(hk, query) for query in queries):
        return False
    say("No feedback matches the filters")
    tell_unknown(hk, *queries)
    counted = [query for query in queries if query == evolve(query, statuses=_COUNTED.statuses, withdrawn=False)]
    if others := sum(hk.analytics.summary(query.in_any_state()).total for query in counted):
        are = amount(others, "entry is", "entries are")
        say(f"{are} pending, rejected or withdrawn; to include them, add --status any --withdrawn")
    return True


def tell_unknown(hk: Harken, *queries: FeedbackQuery, tell: Callable[[str], None] = say) -> None:
    """Name the agents, tags and context values of queries that no feedback has, with similar ones that exist."""
    for line in dict.fromkeys(line for query in queries for line in _unknown(hk, query)):
        tell(line)


def _has(hk: Harken, query: FeedbackQuery) -> bool:
    return bool(hk.collection.find(query, limit=1).items)


def _unknown(hk: Harken, query: FeedbackQuery) -> Iterator[str]:
    everything = hk.query().in_any_state()
    agents = {one: evolve(everything, agent_id=one) for one in query.agent_id or ()}
    yield from _unknown_values(hk, "agent", agents, GroupBy(Dimension.AGENT))
    tags = {one: evolve(everything, tag=one) for one in query.tag or ()}
    yield from _unknown_values(hk, "tag", tags, GroupBy(Dimension.TAG))
    for name, labels in query.context.items():
        values = {one: evolve(everything, context={name: one}) for one in labels if one is not None}
        yield from _unknown_values(hk, f"context.{name}", values, GroupBy(Dimension.CONTEXT, name))


def _unknown_values(hk: Harken, name: str, queries: Mapping[str, FeedbackQuery], group_by: GroupBy) -> Iterator[str]:
    """A line for each value whose query matches nothing; one line if no feedback has any value."""
    unknown = [value for value, query in sorted(queries.items()) if not _has(hk, query)]
    if not unknown:
        return
    known = [key for key in hk.analytics.groups(hk.query().in_any_state(), group_by) if isinstance(key, str)]
    if not known:
        what = {"agent": "an agent", "tag": "a tag"}.get(name, in_one_line(name))
        similar = did_you_mean(name, [f"context.{one}" for one in hk.analytics.facets(hk.query()).context])
        yield f"No feedback has {what}{similar}"
        return
    shown = listed(list(map(in_one_line, known)), _MOST_NAMED)
    for value in unknown:
        yield f"Unknown {in_one_line(name)} {in_one_line(value)!r}{did_you_mean(value, known)}; known: {shown}"

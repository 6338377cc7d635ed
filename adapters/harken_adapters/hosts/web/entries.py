"""The feedback that a visitor may see, and how lists show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from attrs import frozen

from harken import Feedback, FeedbackNotFound, FeedbackQuery, Harken

if TYPE_CHECKING:
    from harken_adapters.hosts.web.selection import Selection
    from harken_adapters.hosts.web.visit import Visit

#: A search counts no more hits, as each of them has to be read.
_MOST_COUNTED: Final = 2_000


@frozen(kw_only=True)
class EntryView:
    """An entry of a list.

    Attributes:
        feedback: the feedback, as pages show it.
        link: a link to its page.
        parts: its comment in parts, each with whether it is a hit of the search.
        time: the local time.
    """

    feedback: Feedback
    link: str
    parts: tuple[tuple[str, bool], ...]
    time: datetime


def shown_of(visit: Visit, feedback: Feedback) -> Feedback:
    """Feedback as pages show it: the parts that the visitor may see, without the words that its author took back."""
    visible = visit.principal.redact(feedback)
    return visible.without_words() if visible.withdrawn else visible


def entry_view(visit: Visit, selection: Selection, feedback: Feedback) -> EntryView:
    """An entry of a list of the selection."""
    feedback = shown_of(visit, feedback)
    return EntryView(
        feedback=feedback,
        link=selection.link(f"{visit.home}/feedback/{quote(feedback.id, safe='')}"),
        parts=tuple(_parts(selection.query, feedback.comment)),
        time=selection.local(feedback.created_at),
    )


def _parts(query: FeedbackQuery, comment: str) -> Iterator[tuple[str, bool]]:
    """The comment, split at the hits of a search."""
    end = 0
    for start, stop in query.search.spans(comment) if query.search else ():
        yield comment[end:start], False
        yield comment[start:stop], True
        end = stop
    yield comment[end:], False


def is_cut_off(query: FeedbackQuery, count: int) -> bool:
    """Whether a count of :func:`count_entries` ended at its limit, so that more may match."""
    return query.search is not None and count >= _MOST_COUNTED


def count_entries(hk: Harken, query: FeedbackQuery) -> int:
    """How many entries match; with a search, not counted beyond a limit, see :func:`is_cut_off`."""
    if query.search is None:
        return hk.analytics.page().summary(query).total
    return hk.collection.count(query, limit=_MOST_COUNTED)


def visible_query(visit: Visit) -> FeedbackQuery:
    """Selects all feedback that the visitor may see."""
    return visit.visible(FeedbackQuery(application=visit.application))


def find(visit: Visit, feedback_id: str) -> Feedback | None:
    """An entry, if it exists and the visitor may see it."""
    try:
        found = visit.harken.collection.get(visit.application, feedback_id)
        visit.check_visible(found)
    except FeedbackNotFound:
        return None
    return shown_of(visit, found)


def find_many(visit: Visit, feedback_ids: Iterable[str]) -> dict[str, Feedback]:
    """The entries with these ids that exist and that the visitor may see, by id and in this order."""
    ids = list(feedback_ids)
    stored = visit.harken.collection.get_many(visit.application, ids)
    found = {one: stored[one] for one in ids if one in stored}
    return {
        one: shown_of(visit, feedback) for one, feedback in found.items() if visit.principal.may_see(feedback.agent_id)
    }

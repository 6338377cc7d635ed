"""The list of feedback: search, filters and pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby, islice
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, Feedback, FeedbackQuery, Harken
from harken.domain.texts import amount
from harken_adapters.charts.labels import share_text
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.web.entries import count_entries, entry_view, is_cut_off
from harken_adapters.hosts.web.filter_bar import filter_bar, value_text
from harken_adapters.hosts.web.kpis import noun_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.selection import CONTEXT, Pair, Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import join_words, long_day_text, quoted

PATH: Final = "/feedback"
#: How many filters are left out in turn if nothing matches.
_MOST_TRIED: Final = 5
_PAGE: Final = 50


@frozen(kw_only=True)
class FeedbackList:
    """A page of feedback.

    Attributes:
        total: the number of matching entries.
        days: the entries by local day, the newest first.
        newer: the position before the first entry, if there are newer ones.
        older: the position after the last entry, if there are older ones.
        without: if nothing matches: the filter whose removal helps most, and the number of entries without it.
    """

    total: int
    days: Sequence[tuple[date, Sequence[Feedback]]]
    newer: Cursor | None
    older: Cursor | None
    without: tuple[Pair, int] | None

    @property
    def count(self) -> int:
        """The number of entries on the page."""
        return sum(len(entries) for _, entries in self.days)


def ask(hk: Harken, selection: Selection, *, after: Cursor | None, before: Cursor | None) -> FeedbackList:
    """A page of feedback: the newest; or those after a position; or those before one, which are newer."""
    query = selection.query
    if before is not None:
        entries: Sequence[Feedback]
        entries, more = _newer(hk, query, before)
        newer = Cursor.of(entries[0]) if more else None
        older = Cursor.of(entries[-1]) if entries else None
    else:
        page = hk.collection.find(query, limit=_PAGE, after=after)
        entries, older = page.items, page.next
        newer = Cursor.of(entries[0]) if after is not None and entries else None
    # What is seldom takes as long to count as to find.
    is_all = after is None and before is None and older is None
    total = len(entries) if is_all else count_entries(hk, query)
    days = [
        (day, list(group)) for day, group in groupby(entries, key=lambda one: selection.local(one.created_at).date())
    ]
    without = _helpful(hk, selection) if not total else None
    return FeedbackList(total=total, days=days, newer=newer, older=older, without=without)


def _newer(hk: Harken, query: FeedbackQuery, before: Cursor) -> tuple[list[Feedback], bool]:
    """The entries directly before a position, the newest first, and whether there are more."""
    since = max(filter(None, (query.since, before.created_at)))
    later = (one for one in hk.collection.stream(evolve(query, since=since)) if Cursor.of(one) > before)
    found = list(islice(later, _PAGE + 1))
    return found[:_PAGE][::-1], len(found) > _PAGE


def _helpful(hk: Harken, selection: Selection) -> tuple[Pair, int] | None:
    """The filter without which the most entries match, of the first ones."""
    names = dict.fromkeys(name for name, _ in selection.filters)
    filters = [(name, selection.values(name)[0]) for name in islice(names, _MOST_TRIED)]
    counts = [(pair, count_entries(hk, selection.without(pair[0]))) for pair in filters]
    best = max(counts, key=lambda one: one[1], default=None)
    return best if best and best[1] else None


def show(visit: Visit) -> Response:
    """The response with the page."""
    selection = visit.selection(known=("after", "before"))
    path = f"{visit.home}{PATH}"
    parameters = selection.parameters
    found = ask(visit.harken, selection, after=parameters.cursor(), before=parameters.cursor("before"))
    title = headline(selection, found.total)
    today = selection.local(selection.now).date()
    return visit.show(
        "feedback_list.html",
        title=title,
        lead=lead(visit.harken, selection, found.total),
        is_partial=is_cut_off(selection.query, found.total),
        found=found,
        days=[
            (long_day_text(day, today), [entry_view(visit, selection, one) for one in entries])
            for day, entries in found.days
        ],
        bar=filter_bar(selection, path, visit.home, "feedback"),
        frame=frame_of(visit, "Feedback", selection),
        selection=selection,
        path=path,
        without_value=quoted(value_text(*found.without[0])) if found.without else "",
        without_is_partial=found.without is not None
        and is_cut_off(selection.without(found.without[0][0]), found.without[1]),
    )


def headline(selection: Selection, total: int) -> str:
    """What was found: ``25 responses for American mention “on hold”``."""
    return f"{'At least ' if is_cut_off(selection.query, total) else ''}{_found_text(selection, total)}"


def _found_text(selection: Selection, total: int) -> str:
    words = [amount(total, noun_of(selection))]
    if agents := selection.values("agent_id"):
        words.append(f"for {join_words(agents, 'or')}")
    if tags := selection.values("tag"):
        words.append(f"about {join_words([quoted(tag) for tag in tags], 'or')}")
    words += _conditions(selection)
    if searched := selection.values("text"):
        words.append(f"{'mentions' if total == 1 else 'mention'} {quoted(searched[0])}")
    return " ".join(words)


def _conditions(selection: Selection) -> Iterator[str]:
    """The filters on comments, context, authors and places, in words."""
    names = dict.fromkeys(name for name, _ in selection.filters if name.startswith(CONTEXT))
    given = [f"{name.removeprefix(CONTEXT)} {join_words(selection.values(name), 'or')}" for name in names]
    has_comment = selection.query.has_comment
    if has_comment:
        given.insert(0, "a comment")
    if has_comment is False:
        yield "without a comment"
    if given:
        yield f"with {join_words(given)}"
    for name, preposition in (("author", "by"), ("session_id", "in session"), ("message_id", "on message")):
        if values := selection.values(name):
            yield f"{preposition} {join_words(values, 'or')}"


def lead(hk: Harken, selection: Selection, total: int) -> str:
    """How frequent what was searched for is: ``4% of 605 responses for American.``."""
    if not selection.query.search or not total or is_cut_off(selection.query, total):
        return ""
    without = selection.without("text")
    of_all = hk.analytics.page().summary(without).total
    others = tuple(pair for pair in selection.pairs if pair[0] != "text")
    if not of_all:
        return ""
    return f"{share_text(total / of_all)} of {_found_text(evolve(selection, pairs=others), of_all)}."

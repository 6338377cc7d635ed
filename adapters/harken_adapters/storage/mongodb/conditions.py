"""Translation of queries to filters.

Field names are constants, or context names, which the rules limit to names without dots and dollar signs. Values follow
operators, so that none of them can be interpreted as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from harken.domain.moderation import ModerationStatus
from harken.domain.query import ANY_STATUS, Cursor, FeedbackQuery, Labels
from harken.domain.search import TextSearch
from harken_adapters.storage.mongodb.documents import Document, identity, lost_microseconds, milliseconds

_PENDING: Final = frozenset({ModerationStatus.PENDING})
#: The server merges at most 200 ranges of an index in order, and after a cursor there are three for each agent. With
#: more agents, most feedback is about one of them anyway.
_MOST_MERGED: Final = 50
#: Sorts before every id.
_NO_ID: Final = ""
NEWEST_FIRST: Final = [("created_at", -1), ("created_us", -1), ("id", -1)]


def where(query: FeedbackQuery) -> Document:
    """Return the filter for all matching feedback; for a query with words, also for some that lack them."""
    return _between(query, above=_since(query), below=_until(query))


def where_before(query: FeedbackQuery, place: Cursor | None) -> Document:
    """Return the filter for matching feedback older than a cursor; with it, an index returns the newest first."""
    below = _until(query)
    if place is None or (below is not None and below <= place):
        return where(query)
    return _beyond(query, _between(query, above=_since(query), below=None), _ways("$lt", place))


def where_after(query: FeedbackQuery, place: Cursor | None, *, until: Cursor) -> Document:
    """Return the filter for matching feedback newer than a cursor, up to and including ``until``."""
    beyond = Cursor(until.created_at, f"{until.id}\0")
    below = min(filter(None, (beyond, _until(query))))
    above = _since(query)
    if place is None or (above is not None and place <= above):
        return _between(query, above=above, below=below)
    return _beyond(query, _between(query, above=None, below=below), _ways("$gt", place))


def changed(application: str) -> Document:
    """Return the filter for all changed feedback."""
    return {"application": {"$eq": application}, "version": {"$gt": 1}}


def changed_after(application: str, place: Cursor | None, *, since: datetime, until: Cursor) -> Document:
    """Return the filter for feedback changed since a time and after a cursor, up to and including ``until``.

    These cursors hold an ``updated_at`` and an id.
    """
    below = Cursor(until.created_at, f"{until.id}\0")
    above = Cursor(since, _NO_ID) if place is None else None
    rest = {**changed(application), **_span("updated", above=above, below=below)}
    return rest if place is None else {"$or": [_merge(rest, way, "updated") for way in _ways("$gt", place, "updated")]}


def raised_before(rest: Document, place: Cursor | None, *, since: datetime | None) -> Document:
    """Return the filter for alerts that match ``rest``, were raised since a time and precede a cursor.

    The cursor holds a ``raised_at`` and an id.
    """
    above = None if since is None else Cursor(since, _NO_ID)
    rest = {**rest, **_span("raised", above=above, below=None)}
    return rest if place is None else {"$or": [_merge(rest, way, "raised") for way in _ways("$lt", place, "raised")]}


def index_for(query: FeedbackQuery) -> str:
    """Return the name of the index that finds matching feedback in order, or finds the only possible match."""
    if query.feedback_id is not None:
        return "_id_"
    if query.session_id is not None:
        return "session"
    if query.author is not None:
        return "author"
    if query.agent_id is not None and len(query.agent_id) <= _MOST_MERGED:
        return "agent"
    return "pending" if query.statuses == _PENDING else "time"


def _since(query: FeedbackQuery) -> Cursor | None:
    return None if query.since is None else Cursor(query.since, _NO_ID)


def _until(query: FeedbackQuery) -> Cursor | None:
    return None if query.until is None else Cursor(query.until, _NO_ID)


def _ways(sign: str, place: Cursor, time: str = "created") -> list[Document]:
    """Return three alternative conditions for being beyond a cursor, each of which is one range of an index.

    The cursor holds the ``time`` that is named, and an id.
    """
    kept, lost = milliseconds(place.created_at), lost_microseconds(place.created_at)
    return [
        {f"{time}_at": {sign: kept}},
        {f"{time}_at": {"$eq": kept}, f"{time}_us": {sign: lost}},
        {f"{time}_at": {"$eq": kept}, f"{time}_us": {"$eq": lost}, "id": {sign: place.id}},
    ]


def _beyond(query: FeedbackQuery, rest: Document, ways: Sequence[Document]) -> Document:
    """Return the condition for ``rest`` and one of the ways. The server merges its alternatives in order."""
    if query.agent_id is not None and index_for(query) == "agent":
        # Within alternatives, the server does not split several agents into ranges of the index.
        rests = [{**rest, "agent_id": {"$eq": agent_id}} for agent_id in query.agent_id]
    else:
        rests = [rest]
    return {"$or": [_merge(one, way) for one in rests for way in ways]}


def _merge(rest: Document, way: Document, time: str = "created") -> Document:
    at = f"{time}_at"
    return {**rest, **way, at: {**rest.get(at, {}), **way[at]}}


def _between(query: FeedbackQuery, *, above: Cursor | None, below: Cursor | None) -> Document:
    """Return the filter for matching feedback strictly between two cursors."""
    condition = {**dict(_plain(query)), **_span("created", above=above, below=below)}
    if more := [*condition.get("$and", ()), *_more(query)]:
        condition["$and"] = more
    return condition


def _span(time: str, *, above: Cursor | None, below: Cursor | None) -> Document:
    """Return the condition for being strictly between two cursors: a range of milliseconds with exact limits."""
    times: Document = {}
    more: list[Document] = []
    if above is not None:
        times["$gte"] = milliseconds(above.created_at)
        more += _exactly("$gt", above, time)
    if below is not None:
        # Everything within the millisecond of a whole millisecond is after it.
        exact = not lost_microseconds(below.created_at) and below.id == _NO_ID
        times["$lt" if exact else "$lte"] = milliseconds(below.created_at)
        more += () if exact else _exactly("$lt", below, time)
    return {**({f"{time}_at": times} if times else {}), **({"$and": more} if more else {})}


def _exactly(sign: str, place: Cursor, time: str) -> list[Document]:
    """Return the condition that excludes what is within the millisecond of a cursor, but not beyond it.

    It is a negation because the server would plan alternatives as further ranges of the index.
    """
    if sign == "$gt" and not lost_microseconds(place.created_at) and place.id == _NO_ID:
        return []
    opposite = {"$gt": "$lt", "$lt": "$gt"}[sign]
    _, earlier, same = _ways(opposite, place, time)
    return [{"$nor": [earlier, {**same, "id": {f"{opposite}e": place.id}}]}]


def _plain(query: FeedbackQuery) -> Iterator[tuple[str, Any]]:
    """Yield the conditions on single fields."""
    if query.feedback_id is not None:
        yield "_id", {"$eq": identity(query.application, query.feedback_id)}
    else:
        yield "application", {"$eq": query.application}
    equal = {
        "session_id": query.session_id,
        "message_id": query.message_id,
        "author": query.author,
    }
    yield from ((field, {"$eq": value}) for field, value in equal.items() if value is not None)
    several: dict[str, Collection[str | None] | None] = {
        "agent_id": query.agent_id,
        "rating": None if query.rating is None else [rating.value for rating in query.rating],
        "tags": query.tag,
        "status": None if query.statuses == ANY_STATUS else [status.value for status in query.statuses],
    }
    yield from ((field, one_of(values)) for field, values in several.items() if values is not None)
    if query.has_comment is not None:
        yield "comment_length", {"$gt" if query.has_comment else "$eq": 0}
    if query.withdrawn is not None:
        yield "withdrawn_at", {"$exists": query.withdrawn}


def _more(query: FeedbackQuery) -> Iterator[Document]:
    yield from (_label_condition(name, labels) for name, labels in query.context.items())
    if query.search is not None:
        yield _may_have(query.search)


def _may_have(search: TextSearch) -> Document:
    """Return a condition for comments that may have the words of a search, which the reader checks.

    Words in ASCII are in a comment in ASCII without regard to case; other comments must be compared in a normal form.
    """
    may_differ = {"comment": {"$regex": r"[^\x01-\x7f]"}}
    if not all(map(str.isascii, search.words)):
        return may_differ
    has_words = [{"comment": {"$regex": word, "$options": "i"}} for word in sorted(search.words)]
    return {"$or": [{"$and": has_words}, may_differ]}


def _label_condition(name: str, labels: Labels) -> Document:
    """Return the condition for a context value with one of these labels: strings are their own labels."""
    ways: list[Document] = [{f"context.{name}": one_of(labels)}]
    if texts := labels - {None}:
        ways.append({f"labels.{name}": one_of(texts)})
    return {"$or": ways}


def one_of(values: Collection[str | None]) -> Document:
    """Return the condition that a field, or an element of it, has one of the values; ``None`` also if it is missing."""
    return {"$eq": next(iter(values))} if len(values) == 1 else {"$in": list(values)}


def moments(start: datetime, end: datetime | None) -> Document:
    """Return the condition on ``created_at`` between whole milliseconds, without ``end``."""
    times: Document = {"$gte": milliseconds(start)}
    if end is not None:
        times["$lt"] = milliseconds(end)
    return times

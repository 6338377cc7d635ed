"""Translation of queries to filters.

Field names are constants, or context names, which the rules limit to names without dots and dollar signs. Values follow
operators, so that none of them can be interpreted as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from harken.domain.feedback import Scalar
from harken.domain.moderation import ModerationStatus
from harken.domain.query import ANY_STATUS, Cursor, FeedbackQuery, label
from harken.domain.search import TextSearch
from harken_adapters.storage.mongodb.documents import Document, identity, lost_microseconds, milliseconds

_PENDING: Final = frozenset({ModerationStatus.PENDING})
#: Sorts before every id.
_NO_ID: Final = ""
NEWEST_FIRST: Final = [("created_at", -1), ("created_us", -1), ("id", -1)]


def where(query: FeedbackQuery) -> Document:
    """Return the filter for all matching feedback; for a query with words, also for some that lacks them."""
    return _between(query, above=_since(query), below=_until(query))


def where_before(query: FeedbackQuery, place: Cursor | None) -> Document:
    """Return the filter for matching feedback older than a cursor; with it, an index returns the newest first."""
    below = _until(query)
    if place is None or (below is not None and below <= place):
        return where(query)
    rest = _between(query, above=_since(query), below=None)
    return {"$or": [_merge(rest, way) for way in _ways("$lt", place)]}


def where_after(query: FeedbackQuery, place: Cursor | None, *, until: Cursor) -> Document:
    """Return the filter for matching feedback newer than a cursor, up to and including ``until``."""
    beyond = Cursor(until.created_at, f"{until.id}\0")
    below = min(filter(None, (beyond, _until(query))))
    above = _since(query)
    if place is None or (above is not None and place <= above):
        return _between(query, above=above, below=below)
    rest = _between(query, above=None, below=below)
    return {"$or": [_merge(rest, way) for way in _ways("$gt", place)]}


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
    if query.agent_id is not None:
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
    at_once = sign == "$gt" and not lost_microseconds(place.created_at) and place.id == _NO_ID
    return [] if at_once else [{"$or": _ways(sign, place, time)}]


def _plain(query: FeedbackQuery) -> Iterator[tuple[str, Any]]:
    """Yield the conditions on single fields."""
    if query.feedback_id is not None:
        yield "_id", {"$eq": identity(query.application, query.feedback_id)}
    else:
        yield "application", {"$eq": query.application}
    equal = {
        "session_id": query.session_id,
        "message_id": query.message_id,
        "agent_id": query.agent_id,
        "author": query.author,
        "tags": query.tag,
    }
    yield from ((field, {"$eq": value}) for field, value in equal.items() if value is not None)
    if query.rating is not None:
        yield "rating", {"$eq": query.rating.value}
    if query.statuses != ANY_STATUS:
        statuses = sorted(status.value for status in query.statuses)
        yield "status", {"$eq": statuses[0]} if len(statuses) == 1 else {"$in": statuses}
    if query.withdrawn is not None:
        yield "withdrawn_at", {"$exists": query.withdrawn}


def _more(query: FeedbackQuery) -> Iterator[Document]:
    yield from (_label_condition(name, value) for name, value in query.context.items())
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


def _label_condition(name: str, value: Scalar) -> Document:
    """Return the condition for a context value with this label: strings are their own labels."""
    wanted = label(value)
    if wanted is None:
        return {f"context.{name}": {"$eq": None}}
    return {"$or": [{f"context.{name}": {"$eq": wanted}}, {f"labels.{name}": {"$eq": wanted}}]}


def moments(start: datetime, end: datetime | None) -> Document:
    """Return the condition on ``created_at`` between whole milliseconds, without ``end``."""
    times: Document = {"$gte": milliseconds(start)}
    if end is not None:
        times["$lt"] = milliseconds(end)
    return times

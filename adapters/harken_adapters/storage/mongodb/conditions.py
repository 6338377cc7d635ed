"""A query as a filter.

Names of fields are constants, or context names, in which the rules allow neither dots nor dollars. Values stand behind
operators, so that none of them can be read as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from harken.domain.feedback import Scalar
from harken.domain.moderation import ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery, label
from harken_adapters.storage.mongodb.documents import Document, identity, lost_microseconds, milliseconds

_PENDING: Final = frozenset({ModerationStatus.PENDING})
#: Sorts before every id.
_NO_ID: Final = ""


def where(query: FeedbackQuery) -> Document:
    """The filter for all that match."""
    return _between(query, above=_since(query), below=_until(query))


def where_before(query: FeedbackQuery, place: Cursor | None) -> Document:
    """The filter for what matches and is older than a place; with it, an index gives the newest first."""
    below = _until(query)
    if place is None or (below is not None and below <= place):
        return where(query)
    rest = _between(query, above=_since(query), below=None)
    return {"$or": [_merged(rest, way) for way in _ways("$lt", place)]}


def where_after(query: FeedbackQuery, place: Cursor | None, *, until: Cursor) -> Document:
    """The filter for what matches and is newer than a place, but not than ``until``."""
    beyond = Cursor(until.created_at, f"{until.id}\0")
    below = min(filter(None, (beyond, _until(query))))
    above = _since(query)
    if place is None or (above is not None and place <= above):
        return _between(query, above=above, below=below)
    rest = _between(query, above=None, below=below)
    return {"$or": [_merged(rest, way) for way in _ways("$gt", place)]}


def changed(application: str) -> Document:
    """The filter for all that was changed."""
    return {"application": {"$eq": application}, "version": {"$gt": 1}}


def changed_after(application: str, place: Cursor | None, *, since: datetime, until: Cursor) -> Document:
    """The filter for what was changed since a moment and behind a place, but not behind ``until``.

    Here a place is one in the order of changes: an ``updated_at`` and an id.
    """
    below = Cursor(until.created_at, f"{until.id}\0")
    above = Cursor(since, _NO_ID) if place is None else None
    rest = {**changed(application), **_span("updated", above=above, below=below)}
    return rest if place is None else {"$or": [_merged(rest, way, "updated") for way in _ways("$gt", place, "updated")]}


def raised_before(rest: Document, place: Cursor | None, *, since: datetime | None) -> Document:
    """The filter for alerts that fit the rest, were raised since a moment and come behind a place, the last first.

    Here a place is one in the order of alerts: a ``raised_at`` and an id.
    """
    above = None if since is None else Cursor(since, _NO_ID)
    rest = {**rest, **_span("raised", above=above, below=None)}
    return rest if place is None else {"$or": [_merged(rest, way, "raised") for way in _ways("$lt", place, "raised")]}


def index_for(query: FeedbackQuery) -> str:
    """The name of the index that finds what matches in order, or finds the one document that can match."""
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
    """The three ways to lie beyond a place: each is one range of an index, which one condition for all would not be.

    A place is one in the order of the ``time`` that is named.
    """
    kept, lost = milliseconds(place.created_at), lost_microseconds(place.created_at)
    return [
        {f"{time}_at": {sign: kept}},
        {f"{time}_at": {"$eq": kept}, f"{time}_us": {sign: lost}},
        {f"{time}_at": {"$eq": kept}, f"{time}_us": {"$eq": lost}, "id": {sign: place.id}},
    ]


def _merged(rest: Document, way: Document, time: str = "created") -> Document:
    at = f"{time}_at"
    return {**rest, **way, at: {**rest.get(at, {}), **way[at]}}


def _between(query: FeedbackQuery, *, above: Cursor | None, below: Cursor | None) -> Document:
    """What matches, strictly between two places."""
    condition = {**dict(_plain(query)), **_span("created", above=above, below=below)}
    if more := [*condition.get("$and", ()), *_more(query)]:
        condition["$and"] = more
    return condition


def _span(time: str, *, above: Cursor | None, below: Cursor | None) -> Document:
    """What lies strictly between two places: by a range of milliseconds, and exactly at its ends."""
    times: Document = {}
    more: list[Document] = []
    if above is not None:
        times["$gte"] = milliseconds(above.created_at)
        more += _exactly("$gt", above, time)
    if below is not None:
        # Whatever lies in the millisecond of a whole one lies behind it.
        exact = not lost_microseconds(below.created_at) and below.id == _NO_ID
        times["$lt" if exact else "$lte"] = milliseconds(below.created_at)
        more += () if exact else _exactly("$lt", below, time)
    return {**({f"{time}_at": times} if times else {}), **({"$and": more} if more else {})}


def _exactly(sign: str, place: Cursor, time: str) -> list[Document]:
    at_once = sign == "$gt" and not lost_microseconds(place.created_at) and place.id == _NO_ID
    return [] if at_once else [{"$or": _ways(sign, place, time)}]


def _plain(query: FeedbackQuery) -> Iterator[tuple[str, Any]]:
    """The conditions on one field each."""
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
    statuses = sorted(status.value for status in query.statuses)
    yield "status", {"$eq": statuses[0]} if len(statuses) == 1 else {"$in": statuses}
    if query.withdrawn is not None:
        yield "withdrawn_at", {"$exists": query.withdrawn}


def _more(query: FeedbackQuery) -> Iterator[Document]:
    yield from (_labelled(name, value) for name, value in query.context.items())


def _labelled(name: str, value: Scalar) -> Document:
    """A context value that is called so: text is its own label, what is not text has one beside it."""
    wanted = label(value)
    if wanted is None:
        return {f"context.{name}": {"$eq": None}}
    return {"$or": [{f"context.{name}": {"$eq": wanted}}, {f"labels.{name}": {"$eq": wanted}}]}


def moments(start: datetime, end: datetime | None) -> Document:
    """The condition on ``created_at`` for a span between whole milliseconds; ``end`` is not included."""
    times: Document = {"$gte": milliseconds(start)}
    if end is not None:
        times["$lt"] = milliseconds(end)
    return times

"""Text search in MongoDB: the index of comments, and the feedback that it finds.

A segment is one document, without its words while it is being built. The mark that precedes every change of old
feedback removes the segments that cover it, and nothing is indexed in a marked slot while the mark is open. So a
process that builds a segment sees the mark, or its document is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from bson import Binary, Int64, ObjectId

from harken.domain.errors import SearchNotReady
from harken.domain.instants import from_microseconds, slot_start, to_microseconds
from harken.domain.query import Cursor, FeedbackQuery
from harken.domain.search import SEARCH_VERSION, TextSearch
from harken.ports.time import Clock
from harken_adapters.storage import comment_index
from harken_adapters.storage.comment_index import (
    BUILDING,
    CommentIndexer,
    IndexedEntry,
    Segment,
    SegmentBuilder,
    buckets_of,
    not_ready,
    part_of,
    plan,
    range_of,
    times_of,
    wanted_terms,
    with_indexed_filters,
)
from harken_adapters.storage.mongodb.conditions import NEWEST_FIRST, index_for, where, where_after, where_before
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, join_time, milliseconds
from harken_adapters.storage.mongodb.statistics.day import SETTLING, SLOTS_A_DAY, spans_of
from harken_adapters.storage.mongodb.statistics.marks import RECENT

if TYPE_CHECKING:
    from pymongo.cursor import Cursor as MongoCursor

_CHUNK: Final = 1_000
_OLDEST_FIRST: Final = [("created_at", 1), ("created_us", 1), ("id", 1)]
_TIME: Final = {"_id": 0, "created_at": 1, "created_us": 1}
#: The field of a segment that is being built.
_BEGUN: Final = {"begun": {"$exists": True}}
_COMPLETE: Final = {"begun": {"$exists": False}, "version": SEARCH_VERSION}


class MongoCommentIndex(CommentIndexer):
    """Builds segments, and finds feedback by them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__()
        self._database = database
        self._clock = clock
        self._segments = database.comment_segments

    # --- building --------------------------------------------------------------------------------------------------

    def segments(self, application: str, since: int, until: int) -> Sequence[Segment]:
        condition = _covering(application, since, until)
        with self._database.reading():
            found = list(self._segments.find(condition, {"since": 1, "until": 1, "entries": 1}).hint("time"))
        return [Segment(one["_id"], one["since"], one["until"], one["entries"]) for one in found]

    def drop_newer(self) -> None:
        """Remove the segments of times whose feedback is changed without a mark: the clock was set back."""
        with self._database.calling():
            newer = [one["_id"] for one in self._segments.find(_newer(self._clock()), {"_id": 1}).hint("time")]
            if newer:
                self._segments.delete_many({"_id": {"$in": newer}})

    def horizon(self, application: str) -> int | None:  # noqa: ARG002 - it is the same for all
        # Later feedback is changed without a mark.
        return to_microseconds(self._clock() - SETTLING)

    def blocked(self, application: str) -> Collection[tuple[int, int]]:
        return [span for day in self._open_days(application) for span in _dirty_spans(day)]

    def _open_days(self, application: str) -> list[Document]:
        """The days with an open mark."""
        is_open = {"application": {"$eq": application}, "open_until": {"$gt": milliseconds(self._clock())}}
        with self._database.reading():
            return list(self._database.days.find(is_open, {"day": 1, "dirty": 1, "open_until": 1}).hint("open"))

    def time_of(self, application: str, since: int, until: int, number: int) -> int | None:
        condition = where(_between(application, since, until))
        with self._database.reading():
            found = list(
                self._database.feedback.find(condition, _TIME).sort(_OLDEST_FIRST).hint("time").skip(number).limit(1)
            )
        return to_microseconds(join_time(found[0], "created")) if found else None

    def begin(self, application: str, since: int, until: int) -> object | None:
        now = milliseconds(self._clock())
        outdated = [
            {"begun": {"$lte": now - BUILDING}},
            {"begun": {"$gte": now + BUILDING}},
            {"version": {"$ne": SEARCH_VERSION}},
            _newer(now),
        ]
        note = {
            "_id": ObjectId(),
            "application": application,
            "since": Int64(since),
            "until": Int64(until),
            "version": SEARCH_VERSION,
            "begun": now,
        }
        with self._database.calling():
            # Also what a process left that was killed, and what another version of the search made.
            self._segments.delete_many({"application": {"$eq": application}, "$or": outdated})
            if self._segments.find_one({"application": {"$eq": application}, **_BEGUN}, {"_id": 1}):
                return None
            self._segments.insert_one(note)
        # Looked at after the note is stored: a later mark finds the note.
        if any(start < until and since < end for start, end in self.blocked(application)):
            self.drop(Segment(note["_id"], since, until))
            return None
        return note["_id"]

    def renew(self, key: Any) -> None:
        with self._database.calling():
            self._segments.update_one({"_id": key, **_BEGUN}, {"$set": {"begun": milliseconds(self._clock())}})

    def number_of(self, application: str, since: int, until: int, limit: int) -> int:
        return self._count(_between(application, since, until), limit)

    def entries(self, application: str, since: int, until: int) -> Iterator[IndexedEntry]:
        query = _between(application, since, until)
        place: Cursor | None = None
        while True:
            # Ids are not empty, so this is just before ``until``.
            condition = where_after(query, place, until=Cursor(from_microseconds(until), ""))
            fields = {**_TIME, "id": 1, "comment": 1, "tags": 1}
            with self._database.reading():
                found = self._database.feedback.find(condition, fields).sort(_OLDEST_FIRST).hint("time").limit(_CHUNK)
                chunk = list(found)
            for one in chunk:
                yield to_microseconds(join_time(one, "created")), one["comment"], one.get("tags") or ()
            if len(chunk) < _CHUNK:
                return
            place = Cursor(join_time(chunk[-1], "created"), chunk[-1]["id"])

    def finish(self, key: Any, until: int, entries: int, builder: SegmentBuilder) -> None:
        content = {
            "until": Int64(until),
            "entries": entries,
            "times": Binary(builder.times()),
            "words": {str(bucket): Binary(blob) for bucket, blob in builder.buckets()},
        }
        with self._database.calling():
            self._segments.update_one({"_id": key, **_BEGUN}, {"$set": content, "$unset": {"begun": ""}})

    def applications(self) -> Sequence[str]:
        with self._database.reading():
            return sorted(self._segments.distinct("application"))

    def stored(self, segment: Segment) -> tuple[bytes, Mapping[int, bytes]] | None:
        with self._database.reading():
            found = self._segments.find_one({"_id": segment.key})
        if found is None:
            return None
        return bytes(found["times"]), {int(bucket): bytes(blob) for bucket, blob in found["words"].items()}

    def drop(self, segment: Segment) -> bool:
        with self._database.calling():
            return bool(self._segments.delete_one({"_id": segment.key}).deleted_count)

    # --- finding ---------------------------------------------------------------------------------------------------

    def matches(
        self,
        query: FeedbackQuery,
        search: TextSearch,
        fields: Document,
        *,
        after: Cursor | None = None,
        more: Document | None = None,
    ) -> Iterator[Document]:
        """Yield what matches a query with words, newest first.

        Args:
            query: the query.
            search: its words.
            fields: the projection, which has the comment.
            after: continues after this place.
            more: a condition in addition to the query.

        Raises:
            SearchNotReady: too many comments are not indexed.
        """
        self.wake(query.application)
        for part, times in self._split(query, search, after):
            condition = {"$and": [where_before(part, after), *([more] if more else []), *_at(times)]}
            # By time: for several agents, each time would be looked up for each agent.
            index = index_for(part) if times is None else index_for(evolve(part, agent_id=None))
            found = self._database.feedback.find(condition, fields).sort(NEWEST_FIRST).hint(index)
            while chunk := self._next(found):
                yield from (document for document in chunk if search.is_in(document["comment"]))

    def _next(self, found: MongoCursor[Document]) -> list[Document]:
        """The next documents. Each request has its own deadline."""
        with self._database.reading():
            return list(islice(found, _CHUNK))

    def _split(
        self, query: FeedbackQuery, search: TextSearch, after: Cursor | None
    ) -> Iterator[tuple[FeedbackQuery, Sequence[int] | None]]:
        """Split a query into parts, newest first, with the times at which matching feedback may have been created."""
        walked_since = self._walked_since(query, after)
        if walked_since is None:
            yield query, None
            return
        # The newest entries are checked first, as most words are found there.
        yield evolve(query, since=walked_since), None
        yield from self._split_by_index(evolve(query, until=walked_since), search)

    def _walked_since(self, query: FeedbackQuery, after: Cursor | None) -> datetime | None:
        """Return the time down to which entries are checked without the index; ``None`` if these are all."""
        plain = _with_filters_of_an_index(query)
        with self._database.reading():
            newest = self._database.feedback.find(where_before(plain, after), _TIME).sort(NEWEST_FIRST)
            found = list(newest.hint(index_for(plain)).skip(comment_index.WALKED).limit(1))
        return join_time(found[0], "created") if found else None

    def _split_by_index(
        self, query: FeedbackQuery, search: TextSearch
    ) -> Iterator[tuple[FeedbackQuery, Sequence[int] | None]]:
        parts = plan(
            query,
            self._times(query, search),
            count=lambda part, limit: self._count(_with_filters_of_an_index(part), limit),
            horizon=partial(self.horizon, query.application),
            not_ready=partial(self.not_ready, query.application),
        )
        if parts is None:
            yield query, None
            return
        for part in parts:
            yield part_of(query, part), part.times

    def _times(self, query: FeedbackQuery, search: TextSearch) -> Mapping[Segment, Sequence[int]]:
        """Return the segments of a period, with the times at which they may have what is searched for."""
        # In one query, so that no segment is removed between its range and its words.
        wanted = wanted_terms(query, search)
        words = {f"words.{bucket}": 1 for bucket in buckets_of(wanted)}
        condition = _covering(query.application, *range_of(query))
        found = self._segments.find(condition, {"since": 1, "until": 1, "entries": 1, "times": 1, **words}).hint("time")
        times: dict[Segment, Sequence[int]] = {}
        while chunk := self._next(found):
            for one in chunk:
                buckets = {int(name): blob for name, blob in one["words"].items()}
                segment = Segment(one["_id"], one["since"], one["until"], one["entries"])
                times[segment] = times_of(wanted, one["times"], buckets)
        return times

    def _count(self, query: FeedbackQuery, limit: int) -> int:
        with self._database.reading():
            return self._database.feedback.count_documents(where(query), limit=limit, hint=index_for(query))

    def not_ready(self, application: str) -> SearchNotReady:
        complete = {"$match": {"application": {"$eq": application}, **_COMPLETE}}
        with self._database.reading():
            sums = self._segments.aggregate([complete, {"$group": {"_id": None, "entries": {"$sum": "$entries"}}}])
            indexed = sum(one["entries"] for one in sums)
            total = self._database.feedback.count_documents({"application": {"$eq": application}}, hint="time")
        return not_ready(indexed, total, self._delay(application))

    def _delay(self, application: str) -> timedelta:
        """How long marks prevent that enough is indexed."""
        days = self._open_days(application)
        marked = self.number_in(application, (span for day in days for span in _dirty_spans(day)))
        if marked <= comment_index.SCANNED:
            return timedelta(0)
        end: datetime = max(day["open_until"] for day in days)
        return end.replace(tzinfo=UTC) - self._clock()


def _with_filters_of_an_index(query: FeedbackQuery) -> FeedbackQuery:
    """The filters of a query that its index has: no index has many agents."""
    plain = with_indexed_filters(query)
    return plain if index_for(plain) == "agent" else evolve(plain, agent_id=None)


def _at(times: Sequence[int] | None) -> list[Document]:
    if times is None:
        return []
    return [{"created_at": {"$in": sorted({milliseconds(from_microseconds(time)) for time in times})}}]


def _newer(now: datetime) -> Document:
    return {"until": {"$gt": to_microseconds(now.replace(tzinfo=UTC) - RECENT)}}


def _covering(application: str, since: int, until: int) -> Document:
    """Return the filter for complete segments in a range of times."""
    return {"application": {"$eq": application}, "until": {"$gt": since}, "since": {"$lt": until}, **_COMPLETE}


def _between(application: str, since: int, until: int) -> FeedbackQuery:
    return FeedbackQuery(
        application=application, since=from_microseconds(since), until=from_microseconds(until)
    ).in_any_state()


def _dirty_spans(day: Document) -> Iterator[tuple[int, int]]:
    """Yield the ranges of times that are marked."""
    for span in spans_of(day["day"] * SLOTS_A_DAY + slot for slot in day["dirty"]):
        yield _slot_time(span.first), _slot_time(span.end or span.first + 1)


def _slot_time(slot: int) -> int:
    return to_microseconds(slot_start(slot))

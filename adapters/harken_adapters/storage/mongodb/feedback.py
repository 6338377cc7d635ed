"""The feedback repository of MongoDB."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from attrs import evolve
from pymongo.errors import BulkWriteError, DuplicateKeyError

from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackNotFound, StaleFeedback, StorageUnavailable
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.insight.sampling import AuthorRatings
from harken.domain.insight.terms import TermCounts
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.repository import (
    Accepted,
    Conflict,
    DuplicateOf,
    FeedbackRepository,
    Outcome,
    SessionEntry,
    Stored,
    Taken,
)
from harken_adapters.storage.mongodb.alerts import find_missing
from harken_adapters.storage.mongodb.comment_index import MongoCommentIndex
from harken_adapters.storage.mongodb.conditions import (
    NEWEST_FIRST,
    changed,
    changed_after,
    index_for,
    where,
    where_after,
    where_before,
)
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.documents import (
    FEEDBACK_ONLY,
    OPTIONAL,
    SESSION_ENTRY,
    Document,
    event_document,
    from_document,
    identity,
    session_entry,
    to_document,
)
from harken_adapters.storage.mongodb.erasures import Erasures
from harken_adapters.storage.mongodb.errors import only_duplicate_keys
from harken_adapters.storage.mongodb.statistics.editions import Editions
from harken_adapters.storage.mongodb.statistics.marks import Marks
from harken_adapters.storage.mongodb.statistics.summarize import MongoStatistics
from harken_adapters.storage.mongodb.statistics.terms import DailyTerms

_CHUNK: Final = 1_000
#: The first chunk of a stream is small, as many readers only want the oldest entries.
_FIRST_CHUNK: Final = 20
_GROWTH: Final = 7
#: The number of events in a document above which they are merged, as it must stay below 16 MB.
_MAX_WAITING: Final = 1_000
#: The number of attempts to insert an item if each conflicting document is erased before it can be read.
_TRIES: Final = 10
#: The server ends a batch at 16 MB in any case.
_IN_ONE_BATCH: Final = 1_000_000
_OLDEST_FIRST: Final = [("created_at", 1), ("created_us", 1), ("id", 1)]
_FIRST_CHANGED_FIRST: Final = [("updated_at", 1), ("updated_us", 1), ("id", 1)]
_LAST_CHANGED_FIRST: Final = [("updated_at", -1), ("updated_us", -1), ("id", -1)]


class MongoFeedbackRepository(FeedbackRepository):
    """One document for each entry, which also contains the events that were not fanned out yet."""

    def __init__(
        self,
        database: Database,
        editions: Editions,
        terms: DailyTerms,
        marks: Marks,
        erasures: Erasures,
        *,
        index: MongoCommentIndex,
    ) -> None:
        self._database = database
        self._erasures = erasures
        self._collection = database.feedback
        self._marks = marks
        self._figures = MongoStatistics(database, editions, index)
        self._index = index
        self._terms = terms

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        if len(batch) == 1:
            # A single caller waits for this, so latency matters.
            return [self._add_one(batch[0])]
        outcomes: dict[int, Outcome] = {}
        waiting = list(range(len(batch)))
        with self._database.calling(), self._marks.changing(_places(item.feedback for item in batch)):
            while waiting:
                now, waiting = _split_rivals(batch, waiting)
                answers = self._add_distinct([batch[index] for index in now])
                outcomes.update(zip(now, answers, strict=True))
        return [outcomes[index] for index in range(len(batch))]

    def get(self, application: str, feedback_id: str) -> Feedback:
        with self._database.reading():
            found = self._collection.find_one({"_id": {"$eq": identity(application, feedback_id)}}, FEEDBACK_ONLY)
        if found is None:
            raise FeedbackNotFound(application, feedback_id)
        return from_document(found)

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        if not feedback_ids:
            return {}
        wanted = _with_ids(application, feedback_ids)
        with self._database.reading():
            found = at_once(self._collection.find(wanted, FEEDBACK_ONLY), len(feedback_ids))
            return {document["id"]: from_document(document) for document in found}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        if search := query.search:
            matches = self._index.matches(query, search, FEEDBACK_ONLY, after=after)
            found = list(map(from_document, islice(matches, limit + 1)))
        else:
            found = self._select(where_before(query, after), NEWEST_FIRST, index_for(query), limit + 1)
        items = tuple(found[:limit])
        return Page(items, Cursor.of(items[-1]) if len(found) > limit else None)

    def count(self, query: FeedbackQuery, *, limit: int) -> int:
        if search := query.search:
            matches = self._index.matches(query, search, {"_id": 0, "comment": 1})
            return sum(1 for _ in islice(matches, limit))
        with self._database.reading():
            return self._collection.count_documents(where(query), limit=limit, hint=index_for(query))

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        # One query for each chunk: the cursor of a slow reader would time out.
        # Without the words, which a search would look for in all of the feedback.
        newest = self.find(evolve(query, text=None), limit=1).items
        if not newest:
            return
        until = Cursor.of(newest[0])
        place: Cursor | None = None
        size = _FIRST_CHUNK
        while True:
            condition = where_after(query, place, until=until)
            chunk = self._select(condition, _OLDEST_FIRST, index_for(query), size)
            yield from filter(query.matches, chunk) if query.text else chunk
            if len(chunk) < size:
                return
            place = Cursor.of(chunk[-1])
            size = min(size * _GROWTH, _CHUNK)

    def session_entries(self, application: str, session_id: str) -> Sequence[SessionEntry]:
        query = FeedbackQuery(application=application, session_id=session_id)
        with self._database.reading():
            found = self._collection.find(where(query), SESSION_ENTRY).sort(_OLDEST_FIRST).hint(index_for(query))
            return [session_entry(document) for document in found.batch_size(_IN_ONE_BATCH)]

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        if not feedback_ids:
            return {}
        wanted = {**_with_ids(application, feedback_ids), "extras": {"$exists": True}}
        with self._database.reading():
            found = at_once(self._collection.find(wanted, {"_id": 0, "id": 1, "extras": 1}), len(feedback_ids))
            return {document["id"]: document["extras"] for document in found}

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        # In chunks, as in a stream, up to the last change at the start, so that it ends.
        last = self._select(changed(application), _LAST_CHANGED_FIRST, "changed", 1)
        if not last:
            return
        until = _change_place(last[0])
        place: Cursor | None = None
        while True:
            condition = changed_after(application, place, since=since, until=until)
            chunk = self._select(condition, _FIRST_CHANGED_FIRST, "changed", _CHUNK)
            yield from chunk
            if len(chunk) < _CHUNK:
                return
            place = _change_place(chunk[-1])

    def applications(self) -> Sequence[str]:
        with self._database.reading():
            return sorted(self._collection.distinct("application"))

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        document = to_document(feedback)
        # The conditions include the shard key, so that only one shard is queried.
        before = {
            "_id": {"$eq": document.pop("_id")},
            "application": {"$eq": feedback.application},
            "session_id": {"$eq": feedback.session_id},
            "version": {"$eq": feedback.version - 1 if over is None else over},
        }
        change: Document = {"$set": document, "$unset": {name: "" for name in OPTIONAL if name not in document}}
        if events:
            added = [event_document(event) for event in events]
            change["$push"] = {"events": {"$each": added, "$sort": {"order": 1}}}
        with self._database.calling(), self._marks.changing(_places([feedback])):
            if self._collection.update_one(before, change).matched_count:
                if feedback.version > _MAX_WAITING:
                    self._coalesce(before["_id"], events)
                return
        stored = self.get(feedback.application, feedback.id)
        raise StaleFeedback(
            f"Feedback {feedback.id!r} now has version {stored.version}; version {feedback.version} cannot follow it"
        )

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        self._erasures.resume()
        erased = Erased()
        while entries := self._oldest(query, limit or _CHUNK):
            erased += self._erase(query.application, entries, at)
            if limit:
                break
            # The server need not look again through what does not match. What was changed meanwhile is found again.
            query = evolve(query, since=entries[0].created_at)
        return erased

    def _oldest(self, query: FeedbackQuery, limit: int) -> list[Feedback]:
        if query.text is not None:
            return list(islice(self.stream(query), limit))
        return self._select(where(query), _OLDEST_FIRST, index_for(query), limit)

    def ratings_by_author(
        self, query: FeedbackQuery, group_by: GroupBy | None = None, *, limit: int
    ) -> Sequence[AuthorRatings]:
        return self._figures.ratings_by_author(query, group_by, limit)

    def term_counts(self, application: str) -> TermCounts:
        return self._terms.read(application)

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        return self._figures.summarize(query, group_by)

    def _coalesce(self, _id: Document, events: Sequence[Event]) -> None:
        """Merge the earlier events of the same types into the new ones if the document has too many events.

        Nothing is lost: a notification has the feedback at the time when it is sent, and ``before`` of the new event
        becomes that of the earliest event.
        """
        for event in events:
            superseded = {"type": event.type.value, "version": {"$lt": event.version}}
            # Events that early versions of Harken stored have no ``before``.
            known = {"events": {"$elemMatch": {**superseded, "before": {"$exists": True}}}}
            crowded = {"_id": _id, f"events.{_MAX_WAITING}": {"$exists": True}}
            found = self._collection.find_one(crowded, known)
            if found is None:
                continue
            for earliest in found.get("events", ()):
                before = {"$set": {"events.$.before": earliest["before"]}}
                self._collection.update_one({"_id": _id, "events.id": event.id}, before)
            self._collection.update_one(crowded, {"$pull": {"events": superseded}})

    def _add_one(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        with self._database.calling(), self._marks.changing(((feedback.application, feedback.created_at),)):
            try:
                self._collection.insert_one(_to_inserted(item))
            except DuplicateKeyError:
                return self._add_distinct([item])[0]
            return Stored(feedback)

    def _add_distinct(self, items: Sequence[Accepted]) -> Sequence[Outcome]:
        """Store items that do not conflict with each other."""
        outcomes: dict[int, Outcome] = {index: Stored(item.feedback) for index, item in enumerate(items)}
        waiting = list(outcomes)
        for _ in range(_TRIES):
            refused = [waiting[number] for number in self._insert([items[index] for index in waiting])]
            conflicts = self._conflicts([items[index].feedback for index in refused])
            outcomes |= {index: outcome for index, outcome in zip(refused, conflicts, strict=True) if outcome}
            # The conflicting feedback of these was erased in the meantime.
            waiting = [index for index, outcome in zip(refused, conflicts, strict=True) if not outcome]
            if not waiting:
                return list(outcomes.values())
        raise StorageUnavailable(
            f"{self._database.name} keeps changing feedback that conflicts with new feedback; try again"
        )

    def _insert(self, items: Sequence[Accepted]) -> list[int]:
        """Insert the items that have no conflict, and return the indexes of the others."""
        try:
            self._collection.insert_many(list(map(_to_inserted, items)), ordered=False)
        except BulkWriteError as error:
            return only_duplicate_keys(error)
        return []

    def _conflicts(self, refused: Sequence[Feedback]) -> list[Outcome | None]:
        """Return the outcome of each; ``None`` if the conflicting feedback has been erased since."""
        if not refused:
            return []
        by_id = {_identity(one): one for one in self._find("_id_", _ids_condition(refused))}
        others = [one for one in refused if _identity(one) not in by_id and one.idempotency_key is not None]
        by_key = {_key(one): one for one in self._find("author_key", *_keys_conditions(others))}
        voters = [one for one in refused if _is_vote(one)]
        by_vote = {_vote(one): one for one in self._find("vote", *map(_vote_condition, voters))}
        return [
            _outcome(one, by_id.get(_identity(one)), by_key.get(_key(one)), by_vote.get(_vote(one))) for one in refused
        ]

    def _find(self, index: str, *conditions: Document) -> Iterator[Feedback]:
        if not conditions:
            return iter(())
        cursor = self._collection.find({"$or": list(conditions)}, FEEDBACK_ONLY).hint(index).batch_size(_CHUNK)
        return map(from_document, cursor)

    def _select(self, condition: Document, order: list[tuple[str, int]], index: str, limit: int) -> list[Feedback]:
        with self._database.reading():
            cursor = self._collection.find(condition, FEEDBACK_ONLY).sort(order).hint(index).limit(limit)
            return [from_document(document) for document in at_once(cursor, limit)]

    def _erase(self, application: str, entries: Sequence[Feedback], at: datetime) -> Erased:
        """Erase those that have not been changed since they were read; see :mod:`.erasures` for the order."""
        ids = {one.id for one in entries}
        with self._database.calling():
            plans = self._erasures.plan(entries, at=at)
            with self._marks.changing(_places(entries)):
                erased = self._collection.delete_many(_versions_condition(entries)).deleted_count
            self._terms.forget(application)
            erased_ids = find_missing(self._database, application, ids)
            self._erasures.withdraw(plans, application, ids - erased_ids)
        if not erased_ids:
            return Erased()
        return Erased(feedback=erased) + self._erasures.finish(application, erased_ids)


def _to_inserted(item: Accepted) -> Document:
    document = to_document(item.feedback, item.events)
    if item.extras:
        document["extras"] = item.extras
    return document


def _with_ids(application: str, feedback_ids: Collection[str]) -> Document:
    return {"_id": {"$in": [identity(application, feedback_id) for feedback_id in set(feedback_ids)]}}


def _versions_condition(feedback: Iterable[Feedback]) -> Document:
    """Return the filter for these entries in these versions."""
    by_version: defaultdict[int, list[Document]] = defaultdict(list)
    for one in feedback:
        by_version[one.version].append(identity(one.application, one.id))
    return {"$or": [{"_id": {"$in": ids}, "version": version} for version, ids in by_version.items()]}


def _change_place(feedback: Feedback) -> Cursor:
    return Cursor(feedback.updated_at, feedback.id)


def _places(feedback: Iterable[Feedback]) -> set[tuple[str, datetime]]:
    return {(one.application, one.created_at) for one in feedback}


def _split_rivals(batch: Sequence[Accepted], waiting: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the indexes of items to store now, and of those that conflict with an earlier item, to store later."""
    now: list[int] = []
    later: list[int] = []
    wanted: set[object] = set()
    for index in waiting:
        places = _unique_keys(batch[index].feedback)
        (now if wanted.isdisjoint(places) else later).append(index)
        wanted.update(places)
    return now, later


def _unique_keys(feedback: Feedback) -> list[object]:
    places: list[object] = [_identity(feedback)]
    if feedback.idempotency_key is not None:
        places.append(("key", _key(feedback)))
    if _is_vote(feedback):
        places.append(("vote", _vote(feedback)))
    return places


def _identity(feedback: Feedback) -> tuple[str, str]:
    return feedback.application, feedback.id


def _key(feedback: Feedback) -> tuple[str, str, str | None, str | None]:
    return feedback.application, feedback.session_id, feedback.author, feedback.idempotency_key


def _is_vote(feedback: Feedback) -> bool:
    return feedback.vote and feedback.author is not None


def _vote(feedback: Feedback) -> tuple[str, str, str | None, str | None]:
    return feedback.application, feedback.session_id, feedback.message_id, feedback.author


def _ids_condition(wanted: Sequence[Feedback]) -> Document:
    return {"_id": {"$in": [identity(*_identity(one)) for one in wanted]}}


def _keys_conditions(wanted: Sequence[Feedback]) -> Iterator[Document]:
    """Yield one condition for each application. It may match more, but a thousand alternatives are slow to plan."""
    for application in {one.application for one in wanted}:
        of_application = [one for one in wanted if one.application == application]
        yield {
            "application": {"$eq": application},
            "session_id": {"$in": sorted({one.session_id for one in of_application})},
            "idempotency_key": {"$in": sorted({one.idempotency_key or "" for one in of_application})},
            # Null matches feedback without an author.
            "author": {"$in": list({one.author for one in of_application})},
        }


def _vote_condition(feedback: Feedback) -> Document:
    return {
        "application": {"$eq": feedback.application},
        "session_id": {"$eq": feedback.session_id},
        "message_id": {"$eq": feedback.message_id},
        "author": {"$eq": feedback.author},
        "vote": True,
    }


def _outcome(
    feedback: Feedback, same_id: Feedback | None, same_key: Feedback | None, same_vote: Feedback | None
) -> Outcome | None:
    if same_id is not None:
        return DuplicateOf(same_id) if same_id == feedback else Conflict(same_id, Taken.ID)
    if same_key is not None and feedback.idempotency_key is not None:
        same_body = same_key.fingerprint == feedback.fingerprint
        return DuplicateOf(same_key) if same_body else Conflict(same_key, Taken.IDEMPOTENCY_KEY)
    return Conflict(same_vote, Taken.VOTE_SLOT) if same_vote is not None and _is_vote(feedback) else None

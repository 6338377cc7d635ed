"""Events and deliveries in MongoDB.

An event waits in the document of its feedback or alert, so it is stored exactly if the write that caused it is.
Deliveries have their own collection. Fan-out takes two writes, in an order that cannot lose an event in a crash:
deliveries are stored first, with deterministic ids, and then the events are removed. A process that finds such an event
again also finds its deliveries, in their current state.

One write changes many documents, each atomically or not at all. The writer marks the documents that it changed, to be
able to find them: ``batch``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import CauseCount, Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.instants import to_microseconds
from harken.ports.outbox import Outbox
from harken.services.forks import ForkSafeLock
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.deliveries import (
    HELD,
    among,
    delivery_document,
    delivery_of,
    history_fields,
)
from harken_adapters.storage.mongodb.delivery_lists import DeliveryLists
from harken_adapters.storage.mongodb.documents import Document, event_of, identity
from harken_adapters.storage.mongodb.erasures import Erasures
from harken_adapters.storage.mongodb.errors import only_duplicate_keys
from harken_adapters.storage.mongodb.order import Order
from harken_adapters.storage.mongodb.watch import watching

if TYPE_CHECKING:
    from pymongo.collection import Collection as Documents

_EARLIEST_DUE: Final = [("due", 1), ("_id", 1)]
_CHUNK: Final = 1_000
#: How many chunks of blocked deliveries one claim checks; the next claim continues after them.
_CHUNKS: Final = 10
_SUBJECT: Final = {"_id": 0, "application": 1, "id": 1}
_PENDING: Final = {"state": DeliveryState.PENDING.value}


class MongoOutbox(Outbox):
    """A lease is a time in the delivery's document, set by an update that checks again that the delivery is free."""

    def __init__(self, database: Database, erasures: Erasures) -> None:
        self._database = database
        self._erasures = erasures
        self._order = Order(database)
        self._deliveries = database.deliveries
        self._lists = DeliveryLists(database)
        #: Threads of one process take turns, so that they do not compete for the same deliveries.
        self._claiming = ForkSafeLock()

    def events(self, *, limit: int) -> Sequence[Event]:
        with self._database.reading():
            found = [
                document
                for place in (self._database.feedback, self._database.alerts)
                for document in _first_waiting(place, limit)
            ]
        waiting = ((event["order"], document, event) for document in found for event in document["events"])
        oldest_first = sorted(waiting, key=lambda one: one[0])[:limit]
        return [event_of(document["application"], document["id"], event) for _, document, event in oldest_first]

    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        wanted = {**_subjects((application, one) for one in feedback_ids), "events": {"$exists": True}}
        with self._database.reading():
            found = list(at_once(self._database.feedback.find(wanted, {"id": 1, "events": 1}), len(feedback_ids)))
        events = (event_of(application, document["id"], event) for document in found for event in document["events"])
        return sorted(events, key=lambda event: (event.subject_id, event.version))

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        events = {event.id: event for event, _ in plan}
        with self._database.calling():
            listed = self._waiting_ids(list(events.values()))
            deliveries = [
                Delivery.of(event, channel, due_at=due_at)
                for event, channels in plan
                for channel in (sorted(set(channels)) if event.id in listed else ())
            ]
            # Earlier versions of a subject first, so that no claim finds a later one alone.
            all_new = self._insert(sorted(deliveries, key=lambda one: one.event.version))
            taken = self._take([event for event in events.values() if event.id in listed])
            if len(taken) < len(listed):
                self._without_orphans([delivery for delivery in deliveries if delivery.event.id not in taken])
            ours = [delivery for delivery in deliveries if delivery.event.id in taken]
            return ours if all_new else self._read_stored(ours)

    def add(self, delivery: Delivery) -> bool:
        with self._database.calling():
            return self._insert([delivery])

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        with self._database.calling():
            self._erasures.note_notified({(application, one): {channel} for one in feedback_ids})

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        moment = to_microseconds(now)
        due = {
            "channel": {"$eq": channel},
            **_PENDING,
            "due": {"$lte": moment},
            "$or": [{"leased_until": {"$exists": False}}, {"leased_until": {"$lte": moment}}],
        }
        claimed: list[Delivery] = []
        batch_size = limit
        with self._database.calling(), self._claiming:
            self._wake_overdue(channel, now)
            for _ in range(_CHUNKS if limit > 0 else 0):
                found = self._first_due(due, batch_size)
                first = self._first_of_each(found, due, now)
                # Another process may have claimed some of them first; then there may be more after them.
                claimed += self._lease(first[: limit - len(claimed)], due, until)
                if len(claimed) == limit or len(found) < batch_size:
                    break
                batch_size = limit - len(claimed) if len(first) == len(found) else _CHUNK
        return sorted(claimed, key=lambda delivery: (delivery.due_at, delivery.id))

    def release(self, claimed: Sequence[Delivery]) -> None:
        with self._database.calling():
            lost = self._end(claimed, {"$inc": {"attempts": -1}}, given_back=1)
            self._erasures.hand_over(lost, sent=False)

    def discard(self, claimed: Sequence[Delivery]) -> None:
        with self._database.calling():
            self._remove_held(claimed)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        with self._database.calling():
            delivered = {"$set": {"state": DeliveryState.DELIVERED.value, "error": ""}}
            lost = self._end(claimed, delivered, with_history=True)
            self._erasures.hand_over(lost, sent=True)
            self._order.wake(claimed)
        return lost

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        self._end_one(delivery, due=to_microseconds(due_at), error=error, **history_fields(delivery))

    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        dead = evolve(delivery, state=DeliveryState.DEAD, error=error)
        self._end_one(delivery, sent=sent, state=dead.state.value, error=error, **history_fields(dead))
        with self._database.calling():
            self._order.wake([delivery])

    def move(self, delivery: Delivery, channel: str) -> None:
        moved = Delivery.of(delivery.event, channel, due_at=delivery.due_at)
        with self._database.calling():
            if self._deliveries.find_one(_held(delivery), {"_id": 1}) is None:
                self._erasures.hand_over([delivery], sent=False)
                raise _lost(delivery)
            if moved.id == delivery.id:
                return
            new = self._insert([moved])
            if self._remove_held([delivery]):
                return
            if new:
                self._deliveries.delete_one({**among([moved]), "attempts": 0})
        raise _lost(delivery)

    def delivery(self, delivery_id: str) -> Delivery:
        found = self._find_one({"_id": {"$eq": delivery_id}})
        if found is None:
            raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")
        return found

    def deliveries(
        self, query: DeliveryQuery, *, limit: int, after: Delivery | None = None, newest_first: bool = False
    ) -> Sequence[Delivery]:
        with self._database.reading():
            while True:
                found = self._lists.find(query, limit=limit, after=after, newest_first=newest_first)
                # Orphans were removed, so other deliveries take their places.
                if (kept := self._without_orphans(found)) == found:
                    return kept

    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        with self._database.reading():
            return self._lists.counts(query)

    def causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        with self._database.reading():
            return self._lists.causes(query)

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        while found := self._find_one({"_id": {"$eq": delivery_id}}):
            pending = {**_PENDING, "due": to_microseconds(due_at), "error": "", "attempts_before": found.attempts}
            as_found = {**among([found]), "attempts": found.attempts}
            with self._database.calling():
                revived = self._deliveries.find_one_and_update(
                    as_found,
                    {"$set": pending, "$unset": {"again": "", "cause": ""}},
                    return_document=ReturnDocument.AFTER,
                )
            if revived is not None:
                return delivery_of(revived)
        raise DeliveryNotFound(f"No delivery with id {delivery_id!r}")

    def forget(self, *, before: datetime) -> int:
        old = {"state": DeliveryState.DELIVERED.value, "due": {"$lt": to_microseconds(before)}}
        what = {"application": 1, "feedback_id": 1, "channel": 1, "event.type": 1}
        forgotten = 0
        self._erasures.resume()
        while True:
            with self._database.calling():
                cursor = self._deliveries.find(old, what).hint("due").limit(_CHUNK)
                found = list(at_once(cursor, _CHUNK))
                if not found:
                    return forgotten
                self._erasures.note_notified(_notified_channels(found))
                ids = [document["_id"] for document in found]
                forgotten += self._deliveries.delete_many({"_id": {"$in": ids}, **old}).deleted_count

    def watching(self, nudge: Callable[[], object]) -> AbstractContextManager[object]:
        return watching(self._database, nudge)

    def _waiting_ids(self, events: Sequence[Event]) -> set[str]:
        """Return the ids of the events that still wait."""
        return {
            waiting["id"]
            for place, some in self._by_place(events)
            for document in at_once(place.find(_waiting(some), {"_id": 0, "events.id": 1}), len(some))
            for waiting in document["events"]
        }

    def _take(self, events: Sequence[Event]) -> set[str]:
        """Remove waiting events. Returns the ids of those that no other process had removed."""
        taken: set[str] = set()
        for place, some in self._by_place(events):
            batch, ids = ObjectId(), [event.id for event in some]
            change = {"$pull": {"events": {"id": {"$in": ids}}}, "$set": {"batch": batch}}
            if place.update_many(_waiting(some), change).matched_count == len(set(map(_subject, some))):
                taken.update(ids)
                continue
            found = place.find({**_subjects(map(_subject, some)), "batch": batch}, _SUBJECT)
            ours = {(document["application"], document["id"]) for document in at_once(found, len(some))}
            taken.update(event.id for event in some if _subject(event) in ours)
        return taken

    def _by_place(self, events: Sequence[Event]) -> Iterator[tuple[Documents[Document], Sequence[Event]]]:
        """Yield each collection with the events whose subjects it contains."""
        for place, about_alert in ((self._database.feedback, False), (self._database.alerts, True)):
            if some := [event for event in events if event.type.about_alert is about_alert]:
                yield place, some

    def _insert(self, deliveries: Sequence[Delivery]) -> bool:
        """Store the deliveries in this order. Returns whether none of them was stored before."""
        left, all_new = deliveries, True
        while left:
            try:
                self._deliveries.insert_many(list(map(delivery_document, left)), ordered=True)
            except BulkWriteError as error:
                only_duplicate_keys(error)
                all_new = False
                there = {one["_id"] for one in at_once(self._deliveries.find(among(left), {"_id": 1}), len(left))}
                left = [one for one in left if one.id not in there]
            else:
                break
        return all_new

    def _read_stored(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return the stored state of these, without those that were erased meanwhile."""
        stored = {
            document["_id"]: document for document in at_once(self._deliveries.find(among(deliveries)), len(deliveries))
        }
        return [delivery_of(stored[delivery.id]) for delivery in deliveries if delivery.id in stored]

    def _first_due(self, due: Document, limit: int) -> list[Delivery]:
        cursor = self._deliveries.find(due).sort(_EARLIEST_DUE).hint("claims").limit(limit)
        return list(map(delivery_of, at_once(cursor, limit)))

    def _first_of_each(self, found: Sequence[Delivery], due: Document, now: datetime) -> list[Delivery]:
        """Return those that can be claimed, as no earlier delivery about their subject is open; others wait."""
        there = self._existing_subjects(found)
        kept = self._without_orphans(found, there)
        blocked = self._order.blocked(kept)
        if not blocked:
            return kept
        # An erasure delivery that is blocked by deliveries about erased feedback means that the erasure was
        # interrupted.
        self._finish([one for one in blocked if _subject(one.event) not in there])
        self._order.hold(blocked, due, now)
        left = {one.id for one in blocked}
        return [one for one in kept if one.id not in left]

    def _wake_overdue(self, channel: str, now: datetime) -> None:
        """Wake long-waiting deliveries that are no longer blocked."""
        if overdue := self._order.overdue(channel, now):
            self._order.wake(self._without_orphans(overdue))
            self._order.postpone(overdue, now)

    def _lease(self, found: Sequence[Delivery], due: Document, until: datetime) -> list[Delivery]:
        """Lease the deliveries that are still due and unchanged. Returns them."""
        leased: list[Delivery] = []
        for attempts, some in _by_attempts(found).items():
            batch = ObjectId()
            change = {"leased_until": to_microseconds(until), "batch": batch}
            lease = {"$set": change, "$inc": {"attempts": 1}, "$unset": {"awaits": "", "certain": ""}}
            free = {**among(some), **due, "attempts": {"$eq": attempts}}
            if (number := self._deliveries.update_many(free, lease).matched_count) == len(some):
                leased += [
                    evolve(one, leased_until=until, attempts=attempts + 1, awaits=None, certain=True) for one in some
                ]
            elif number:
                ours = self._deliveries.find({**among(some), "batch": batch})
                leased += map(delivery_of, at_once(ours, len(some)))
        return leased

    def _find_one(self, condition: Document) -> Delivery | None:
        with self._database.reading():
            found = self._deliveries.find_one(condition)
            there = self._without_orphans([] if found is None else [delivery_of(found)])
        return there[0] if there else None

    def _existing_subjects(self, deliveries: Sequence[Delivery]) -> set[tuple[str, str]]:
        """Return the subjects of these that exist."""
        there: set[tuple[str, str]] = set()
        for place, some in self._by_place([delivery.event for delivery in deliveries]):
            # Answered from the index alone.
            found = at_once(place.find(_subjects(map(_subject, some)), {"_id": 1}), len(some))
            there.update((one["_id"]["application"], one["_id"]["id"]) for one in found)
        return there

    def _without_orphans(
        self, deliveries: Sequence[Delivery], there: Collection[tuple[str, str]] | None = None
    ) -> list[Delivery]:
        """Leave out the deliveries of erased feedback, except erasure deliveries, and complete the erasure.

        An erasure removes deliveries after the feedback, so such deliveries exist only if it was interrupted, or if it
        overtook a fan-out.
        """
        there = self._existing_subjects(deliveries) if there is None else there
        orphans = [one for one in deliveries if one.event.type.about_stored and _subject(one.event) not in there]
        if not orphans:
            return list(deliveries)
        self._finish(orphans)
        self._deliveries.delete_many(among([one for one in orphans if one.event.type.about_alert]))
        left = {delivery.id for delivery in orphans}
        return [one for one in deliveries if one.id not in left]

    def _finish(self, orphans: Iterable[Delivery]) -> None:
        erased: defaultdict[str, set[str]] = defaultdict(set)
        for one in orphans:
            if not one.event.type.about_alert:
                erased[one.event.application].add(one.event.subject_id)
        for application, ids in erased.items():
            self._erasures.finish(application, ids)

    def _remove_held(self, claimed: Sequence[Delivery]) -> int:
        """Remove the deliveries whose claim is the latest. Returns their number."""
        # A delivery that was attempted before may have arrived.
        tried = [one for one in claimed if one.attempts > 1 and one.event.type.about_feedback]
        notified: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for held in _held_among(tried):
            for document in self._deliveries.find(held, {"application": 1, "feedback_id": 1, "channel": 1}):
                notified[document["application"], document["feedback_id"]].add(document["channel"])
        self._erasures.note_notified(notified)
        removed = sum(self._deliveries.delete_many(held).deleted_count for held in _held_among(claimed))
        # Also for lost claims: an erasure that has just seen them may wait for them.
        self._erasures.hand_over(claimed, sent=False)
        self._order.wake(claimed)
        return removed

    def _change_held(self, claimed: Sequence[Delivery], change: Document, *, with_history: bool) -> int:
        """Change the deliveries whose claim is the latest. Returns their number."""
        if with_history and any(claim.history for claim in claimed):
            changes = [(_held(claim), _with_history(claim, change)) for claim in claimed]
            if not self._database.served:
                # A simulated server has no bulk writes.
                return sum(self._deliveries.update_one(*one).matched_count for one in changes)
            return self._deliveries.bulk_write(list(starmap(UpdateOne, changes)), ordered=False).matched_count
        return sum(self._deliveries.update_many(held, change).matched_count for held in _held_among(claimed))

    def _end(
        self, claimed: Sequence[Delivery], change: Document, *, given_back: int = 0, with_history: bool = False
    ) -> list[Delivery]:
        """End the leases of claims with this change, and store their attempts. Returns those that were lost."""
        batch = ObjectId()
        change = {**change, "$set": {**change.get("$set", {}), "batch": batch}, "$unset": {"leased_until": ""}}
        if self._change_held(claimed, change, with_history=with_history) == len(claimed):
            return []
        ours = at_once(self._deliveries.find({**among(claimed), "batch": batch}, {"attempts": 1}), len(claimed))
        ended = {(document["_id"], document["attempts"] + given_back) for document in ours}
        return [claim for claim in claimed if (claim.id, claim.attempts) not in ended]

    def _end_one(self, delivery: Delivery, *, sent: bool = True, **changes: Any) -> None:
        given_back = 0 if sent else 1
        change = {"$set": changes} if sent else {"$set": changes, "$inc": {"attempts": -1}}
        with self._database.calling():
            if not self._end([delivery], change, given_back=given_back):
                return
            self._erasures.hand_over([delivery], sent=sent)
        raise _lost(delivery)


def _notified_channels(found: Iterable[Document]) -> dict[tuple[str, str], set[str]]:
    """Return by feedback the channels that were notified of it."""
    notified: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for document in found:
        if EventType(document["event"]["type"]).about_feedback:
            notified[document["application"], document["feedback_id"]].add(document["channel"])
    return notified


def _lost(claim: Delivery) -> LeaseLost:
    return LeaseLost(f"The claim on delivery {claim.id!r} is no longer the latest")


def _first_waiting(place: Documents[Document], limit: int) -> list[Document]:
    """Return the documents with the oldest events.

    A document's first event is its oldest, and MongoDB sorts an array by its smallest element: the first ``limit``
    events are in the first ``limit`` documents.
    """
    waiting = place.find({"events.order": {"$exists": True}}, {"application": 1, "id": 1, "events": 1})
    return list(at_once(waiting.sort([("events.order", 1)]).hint("waiting").limit(limit), limit))


def _subject(event: Event) -> tuple[str, str]:
    return event.application, event.subject_id


def _subjects(pairs: Iterable[tuple[str, str]]) -> Document:
    return {"_id": {"$in": [identity(*pair) for pair in set(pairs)]}}


def _waiting(events: Sequence[Event]) -> Document:
    """Return the filter for the documents that contain some of these events."""
    return {**_subjects(map(_subject, events)), "events.id": {"$in": [event.id for event in events]}}


def _by_attempts(deliveries: Iterable[Delivery]) -> Mapping[int, Sequence[Delivery]]:
    """Group deliveries by their number of attempts, which usually gives few groups."""
    by_attempts: defaultdict[int, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_attempts[delivery.attempts].append(delivery)
    return by_attempts


def _held_among(claimed: Iterable[Delivery]) -> Iterator[Document]:
    """Yield the filters for the deliveries whose claim is the latest."""
    for attempts, some in _by_attempts(claimed).items():
        yield {**among(some), **HELD, "attempts": {"$eq": attempts}}


def _with_history(claim: Delivery, change: Document) -> Document:
    """Return the change of one claimed delivery, with its attempts."""
    return {**change, "$set": {**change["$set"], **history_fields(claim)}}


def _held(claim: Delivery) -> Document:
    return {"_id": {"$eq": claim.id}, **HELD, "attempts": {"$eq": claim.attempts}}

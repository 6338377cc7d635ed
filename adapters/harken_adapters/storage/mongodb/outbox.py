"""Events and deliveries in MongoDB.

An event waits inside the document of its feedback or its alert, so it is there exactly if the write that caused it is.
Deliveries have a collection of their own. Passing from one to the other takes two writes, in an order that no crash can
turn into a loss: deliveries are made first, under ids that are always the same, and only then the events are taken off
the list. Whoever finds an event again finds its deliveries made, however far they have come.

Many documents are changed by one write, which changes each of them atomically or not at all. So that whoever wrote can
tell which ones, it leaves its mark in them: ``batch``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryState, Event
from harken.domain.instants import to_microseconds
from harken.ports.outbox import Outbox
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.deliveries import delivery_document, delivery_of
from harken_adapters.storage.mongodb.documents import Document, event_of, identity
from harken_adapters.storage.mongodb.errors import only_duplicate_keys
from harken_adapters.storage.mongodb.watch import watching

if TYPE_CHECKING:
    from pymongo.collection import Collection as Documents

_EARLIEST_DUE: Final = [("due", 1), ("_id", 1)]
_CHUNK: Final = 1_000
_SUBJECT: Final = {"_id": 0, "application": 1, "id": 1}
_PENDING: Final = {"state": DeliveryState.PENDING.value}
_HELD: Final = {**_PENDING, "leased_until": {"$exists": True}}


class MongoOutbox(Outbox):
    """A lease is a time in the delivery's document, taken by an update that looks once more whether it is free."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deliveries = database.deliveries
        #: Those in one process take turns, so that they do not all reach for the same deliveries.
        self._claiming = Lock()

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        with self._database.calling():
            found = [
                document
                for place in (self._database.feedback, self._database.alerts)
                for document in _first_waiting(place, limit)
            ]
        waiting = ((event["order"], document, event) for document in found for event in document["events"])
        oldest_first = sorted(waiting, key=lambda one: one[0])[:limit]
        return [event_of(document["application"], document["id"], event) for _, document, event in oldest_first]

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        events = {event.id: event for event, _ in plan}
        with self._database.calling():
            listed = self._listed(list(events.values()))
            made = [
                Delivery.of(event, channel, due_at=due_at)
                for event, channels in plan
                for channel in (sorted(set(channels)) if event.id in listed else ())
            ]
            all_new = self._insert(made)
            taken = self._take([event for event in events.values() if event.id in listed])
            if len(taken) < len(listed):
                self._without_orphans([delivery for delivery in made if delivery.event.id not in taken])
            ours = [delivery for delivery in made if delivery.event.id in taken]
            return ours if all_new else self._stored(ours)

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        moment = to_microseconds(now)
        due = {
            "channel": {"$eq": channel},
            **_PENDING,
            "due": {"$lte": moment},
            "$or": [{"leased_until": {"$exists": False}}, {"leased_until": {"$lte": moment}}],
        }
        claimed: list[Delivery] = []
        with self._database.calling(), self._claiming:
            # Somebody else may have been faster with some of them: then there may be more behind.
            while missing := limit - len(claimed):
                found = self._first_due(due, missing)
                claimed += self._leased(self._without_orphans(found), due, until)
                if len(found) < missing:
                    break
        return sorted(claimed, key=lambda delivery: (delivery.due_at, delivery.id))

    def release(self, claimed: Sequence[Delivery]) -> None:
        """See the port."""
        with self._database.calling():
            self._change_held(claimed, {"$inc": {"attempts": -1}, "$unset": {"leased_until": ""}})

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """See the port."""
        batch = ObjectId()
        settled = {"state": DeliveryState.DELIVERED.value, "error": "", "batch": batch}
        with self._database.calling():
            if self._change_held(claimed, {"$set": settled, "$unset": {"leased_until": ""}}) == len(claimed):
                return []
            ours = self._deliveries.find({**_among(claimed), "batch": batch}, {"attempts": 1})
            done = {(document["_id"], document["attempts"]) for document in at_once(ours, len(claimed))}
        return [delivery for delivery in claimed if (delivery.id, delivery.attempts) not in done]

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._let_go(delivery, due=to_microseconds(due_at), error=error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._let_go(delivery, state=DeliveryState.DEAD.value, error=error)

    def delivery(self, delivery_id: str) -> Delivery:
        """See the port."""
        found = self._found({"_id": {"$eq": delivery_id}})
        if found is None:
            raise DeliveryNotFound(f"There is no delivery {delivery_id!r}")
        return found

    def deliveries(
        self,
        state: DeliveryState,
        *,
        limit: int,
        after: Delivery | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """See the port."""
        wanted: Document = {"state": state.value}
        wanted |= {} if application is None else {"application": {"$eq": application}}
        wanted |= {} if channel is None else {"channel": {"$eq": channel}}
        condition = wanted if after is None else {"$or": [{**wanted, **way} for way in _ways_behind(after)]}
        index = "due" if channel is None else "claims"
        with self._database.calling():
            while True:
                cursor = self._deliveries.find(condition).sort(_EARLIEST_DUE).hint(index).limit(limit)
                found = list(map(delivery_of, at_once(cursor, limit)))
                # Orphans are gone now, and others take their places.
                if (kept := self._without_orphans(found)) == found:
                    return kept

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""
        dead = {"_id": {"$eq": delivery_id}, "state": DeliveryState.DEAD.value}
        while found := self._found(dead):
            pending = {**_PENDING, "due": to_microseconds(due_at), "error": "", "attempts_before": found.attempts}
            with self._database.calling():
                revived = self._deliveries.find_one_and_update(
                    {**dead, "attempts": found.attempts}, {"$set": pending}, return_document=ReturnDocument.AFTER
                )
            if revived is not None:
                return delivery_of(revived)
        raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")

    def forget(self, *, before: datetime) -> int:
        """See the port."""
        old = {"state": DeliveryState.DELIVERED.value, "due": {"$lt": to_microseconds(before)}}
        forgotten = 0
        while True:
            with self._database.calling():
                cursor = self._deliveries.find(old, {"_id": 1}).hint("due").limit(_CHUNK)
                ids = [document["_id"] for document in at_once(cursor, _CHUNK)]
                if not ids:
                    return forgotten
                forgotten += self._deliveries.delete_many({"_id": {"$in": ids}, **old}).deleted_count

    def watching(self, nudge: Callable[[], object]) -> AbstractContextManager[object]:
        """See the port."""
        return watching(self._database, nudge)

    def _listed(self, events: Sequence[Event]) -> set[str]:
        """The ids of those that still wait."""
        return {
            waiting["id"]
            for place, some in self._by_place(events)
            for document in at_once(place.find(_waiting(some), {"_id": 0, "events.id": 1}), len(some))
            for waiting in document["events"]
        }

    def _take(self, events: Sequence[Event]) -> set[str]:
        """Take events off the list, and give the ids of those that nobody else had taken."""
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
        """The collections that hold what some of these are about, each with these."""
        for place, about_alert in ((self._database.feedback, False), (self._database.alerts, True)):
            if some := [event for event in events if event.type.about_alert is about_alert]:
                yield place, some

    def _insert(self, made: Sequence[Delivery]) -> bool:
        """Store deliveries; whether none of them was there before."""
        if not made:
            return True
        try:
            self._deliveries.insert_many([delivery_document(delivery) for delivery in made], ordered=False)
        except BulkWriteError as error:
            only_duplicate_keys(error)
            return False
        return True

    def _stored(self, made: Sequence[Delivery]) -> list[Delivery]:
        """These as they are stored, without those that were erased meanwhile."""
        stored = {document["_id"]: document for document in at_once(self._deliveries.find(_among(made)), len(made))}
        return [delivery_of(stored[delivery.id]) for delivery in made if delivery.id in stored]

    def _first_due(self, due: Document, limit: int) -> list[Delivery]:
        cursor = self._deliveries.find(due).sort(_EARLIEST_DUE).hint("claims").limit(limit)
        return list(map(delivery_of, at_once(cursor, limit)))

    def _leased(self, found: Sequence[Delivery], due: Document, until: datetime) -> list[Delivery]:
        """Lease those of these that are still due and as they were found, and give them."""
        leased: list[Delivery] = []
        for attempts, some in _by_attempts(found).items():
            batch = ObjectId()
            lease = {"$set": {"leased_until": to_microseconds(until), "batch": batch}, "$inc": {"attempts": 1}}
            free = {**_among(some), **due, "attempts": {"$eq": attempts}}
            if (number := self._deliveries.update_many(free, lease).matched_count) == len(some):
                leased += [evolve(one, leased_until=until, attempts=attempts + 1) for one in some]
            elif number:
                ours = self._deliveries.find({**_among(some), "batch": batch})
                leased += map(delivery_of, at_once(ours, len(some)))
        return leased

    def _found(self, condition: Document) -> Delivery | None:
        with self._database.calling():
            found = self._deliveries.find_one(condition)
            there = self._without_orphans([] if found is None else [delivery_of(found)])
        return there[0] if there else None

    def _without_orphans(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Leave out, and remove, those whose feedback was erased.

        An erasure removes deliveries after the feedback, so only one that was cut short, or that overtook a fan-out,
        leaves any.
        """
        there: set[tuple[bool, str, str]] = set()
        for place, some in self._by_place([delivery.event for delivery in deliveries]):
            # Answered from the index alone.
            found = at_once(place.find(_subjects(map(_subject, some)), {"_id": 1}), len(some))
            about_alert = some[0].type.about_alert
            there.update((about_alert, one["_id"]["application"], one["_id"]["id"]) for one in found)
        kept = [one for one in deliveries if (one.event.type.about_alert, *_subject(one.event)) in there]
        if len(kept) < len(deliveries):
            left = {delivery.id for delivery in kept}
            orphans = [delivery.id for delivery in deliveries if delivery.id not in left]
            self._deliveries.delete_many({"_id": {"$in": orphans}})
        return kept

    def _change_held(self, claimed: Iterable[Delivery], change: Document) -> int:
        """Change those whose claim is the latest, and say how many these were."""
        return sum(
            self._deliveries.update_many({**_among(some), **_HELD, "attempts": {"$eq": attempts}}, change).matched_count
            for attempts, some in _by_attempts(claimed).items()
        )

    def _let_go(self, delivery: Delivery, **changes: Any) -> None:
        with self._database.calling():
            if self._change_held([delivery], {"$set": changes, "$unset": {"leased_until": ""}}):
                return
        raise LeaseLost(f"The claim on delivery {delivery.id!r} is no longer the latest")


def _first_waiting(place: Documents[Document], limit: int) -> list[Document]:
    """The documents with the oldest events.

    A document's first event is its oldest, and MongoDB sorts a list by its least: the first ``limit`` events are in the
    first ``limit`` documents.
    """
    waiting = place.find({"events.order": {"$exists": True}}, {"application": 1, "id": 1, "events": 1})
    return list(at_once(waiting.sort([("events.order", 1)]).hint("waiting").limit(limit), limit))


def _subject(event: Event) -> tuple[str, str]:
    return event.application, event.subject_id


def _subjects(pairs: Iterable[tuple[str, str]]) -> Document:
    return {"_id": {"$in": [identity(*pair) for pair in set(pairs)]}}


def _waiting(events: Sequence[Event]) -> Document:
    """The filter for the documents in which some of these wait."""
    return {**_subjects(map(_subject, events)), "events.id": {"$in": [event.id for event in events]}}


def _by_attempts(deliveries: Iterable[Delivery]) -> Mapping[int, Sequence[Delivery]]:
    """Those of as many attempts together: hardly ever more than a few kinds."""
    by_attempts: defaultdict[int, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_attempts[delivery.attempts].append(delivery)
    return by_attempts


def _among(deliveries: Iterable[Delivery]) -> Document:
    return {"_id": {"$in": [delivery.id for delivery in deliveries]}}


def _ways_behind(after: Delivery) -> list[Document]:
    """The two ways to lie behind a delivery: each is one range of an index."""
    due = to_microseconds(after.due_at)
    return [{"due": {"$gt": due}}, {"due": {"$eq": due}, "_id": {"$gt": after.id}}]

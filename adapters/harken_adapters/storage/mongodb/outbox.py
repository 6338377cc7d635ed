"""Events and deliveries in MongoDB.

An event waits inside the document of its feedback, so it is there exactly if the write that caused it is. Deliveries
have a collection of their own. Passing from one to the other takes two writes, in an order that no crash can turn into
a loss: deliveries are made first, under ids that are always the same, and only then the event is taken off the list.
Whoever finds the event again finds its deliveries made, however far they have come.

What needs comparing is a whole number of microseconds since 1970 here: ``due`` and ``leased_until``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError

from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryState, Event
from harken.domain.instants import from_microseconds, to_microseconds
from harken.ports.outbox import Outbox
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, event_document, event_of, identity
from harken_adapters.storage.mongodb.errors import only_duplicate_keys

_EARLIEST_DUE: Final = [("due", 1), ("_id", 1)]


class MongoOutbox(Outbox):
    """A lease is a time in the delivery's document, taken by ``find_one_and_update``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        fields = {"application": 1, "id": 1, "events": 1}
        with self._database.calling():
            # A document's first event is its oldest, and MongoDB sorts a list by its least: the first `limit` events
            # are in the first `limit` documents.
            found = list(
                self._database.feedback.find({"events.order": {"$exists": True}}, fields)
                .sort([("events.order", 1)])
                .hint("waiting")
                .limit(limit)
            )
        waiting = ((event["order"], document, event) for document in found for event in document["events"])
        oldest_first = sorted(waiting, key=lambda one: one[0])[:limit]
        return [event_of(document["application"], document["id"], event) for _, document, event in oldest_first]

    def fan_out(self, event: Event, channels: Collection[str], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        made = [
            Delivery(id=Delivery.id_for(event.id, channel), event=event, channel=channel, due_at=due_at)
            for channel in sorted(set(channels))
        ]
        listed = {"_id": {"$eq": identity(event.application, event.feedback_id)}, "events.id": {"$eq": event.id}}
        with self._database.calling():
            if self._database.feedback.find_one(listed, {"_id": 1}) is None:
                return []
            all_new = self._insert(made)
            taken = self._database.feedback.update_one(listed, {"$pull": {"events": {"id": {"$eq": event.id}}}})
            if not taken.modified_count:
                self._without_orphans(made)
                return []
            return made if all_new else self._stored(made)

    def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        moment = to_microseconds(now)
        due = {
            "state": DeliveryState.PENDING.value,
            "due": {"$lte": moment},
            "$or": [{"leased_until": {"$exists": False}}, {"leased_until": {"$lte": moment}}],
        }
        lease: Document = {"$set": {"leased_until": to_microseconds(until)}, "$inc": {"attempts": 1}}
        claimed: list[Delivery] = []
        with self._database.calling():
            while len(claimed) < limit:
                found = self._database.deliveries.find_one_and_update(
                    due, lease, sort=_EARLIEST_DUE, return_document=ReturnDocument.AFTER
                )
                if found is None:
                    break
                claimed.append(_delivery(found))
            return self._without_orphans(claimed)

    def settle(self, delivery: Delivery) -> None:
        """See the port."""
        self._release(delivery, state=DeliveryState.DELIVERED.value, error="")

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._release(delivery, due=to_microseconds(due_at), error=error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._release(delivery, state=DeliveryState.DEAD.value, error=error)

    def deliveries(self, state: DeliveryState, *, limit: int) -> Sequence[Delivery]:
        """See the port."""
        with self._database.calling():
            found = self._database.deliveries.find({"state": state.value}).sort(_EARLIEST_DUE).limit(limit)
            return self._without_orphans([_delivery(document) for document in found])

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""
        dead = {"_id": {"$eq": delivery_id}, "state": DeliveryState.DEAD.value}
        pending = {"state": DeliveryState.PENDING.value, "due": to_microseconds(due_at), "error": ""}
        with self._database.calling():
            found = self._database.deliveries.find_one_and_update(
                dead, {"$set": pending}, return_document=ReturnDocument.AFTER
            )
        if found is None:
            raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")
        return _delivery(found)

    def _insert(self, made: Sequence[Delivery]) -> bool:
        """Store deliveries; whether none of them was there before."""
        if not made:
            return True
        try:
            self._database.deliveries.insert_many([_document(delivery) for delivery in made], ordered=False)
        except BulkWriteError as error:
            only_duplicate_keys(error)
            return False
        return True

    def _stored(self, made: Sequence[Delivery]) -> list[Delivery]:
        found = self._database.deliveries.find({"_id": {"$in": [delivery.id for delivery in made]}})
        return sorted(map(_delivery, found), key=lambda delivery: delivery.channel)

    def _without_orphans(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Leave out, and remove, those whose feedback was erased.

        An erasure removes deliveries after the feedback, so only one that was cut short, or that overtook a fan-out,
        leaves any.
        """
        if not deliveries:
            return []
        wanted = {"_id": {"$in": [identity(*pair) for pair in {_about(delivery) for delivery in deliveries}]}}
        found = self._database.feedback.find(wanted, {"application": 1, "id": 1})
        there = {(document["application"], document["id"]) for document in found}
        orphans = [delivery.id for delivery in deliveries if _about(delivery) not in there]
        if orphans:
            self._database.deliveries.delete_many({"_id": {"$in": orphans}})
        return [delivery for delivery in deliveries if _about(delivery) in there]

    def _release(self, delivery: Delivery, **changes: Any) -> None:
        held = {
            "_id": {"$eq": delivery.id},
            "state": DeliveryState.PENDING.value,
            "leased_until": {"$exists": True},
            "attempts": {"$eq": delivery.attempts},
        }
        with self._database.calling():
            released = self._database.deliveries.update_one(held, {"$set": changes, "$unset": {"leased_until": ""}})
        if not released.matched_count:
            raise LeaseLost(f"The claim on delivery {delivery.id!r} is no longer the latest")


def _about(delivery: Delivery) -> tuple[str, str]:
    return delivery.event.application, delivery.event.feedback_id


def _document(delivery: Delivery) -> Document:
    event = delivery.event
    document: Document = {
        "_id": delivery.id,
        "application": event.application,
        "feedback_id": event.feedback_id,
        "event": event_document(event),
        "channel": delivery.channel,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "due": to_microseconds(delivery.due_at),
        "error": delivery.error,
    }
    if delivery.leased_until is not None:
        document["leased_until"] = to_microseconds(delivery.leased_until)
    return document


def _delivery(document: Document) -> Delivery:
    leased_until = document.get("leased_until")
    return Delivery(
        id=document["_id"],
        event=event_of(document["application"], document["feedback_id"], document["event"]),
        channel=document["channel"],
        state=DeliveryState(document["state"]),
        attempts=document["attempts"],
        due_at=from_microseconds(document["due"]),
        leased_until=None if leased_until is None else from_microseconds(leased_until),
        error=document["error"],
    )

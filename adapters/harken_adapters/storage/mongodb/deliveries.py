"""Conversion of deliveries to and from documents.

Times that are compared are whole microseconds since 1970: ``due``, ``leased_until`` and ``again``.

A pending delivery that is blocked by an earlier delivery about the same subject is stored as ``waiting``, so that
claims skip it until that one has ended. ``again`` is the latest time to check it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harken.domain.events import Delivery, DeliveryState
from harken.domain.instants import from_microseconds, from_microseconds_or_none, to_microseconds
from harken_adapters.storage.attempts import attempts_of, attempts_value
from harken_adapters.storage.mongodb.documents import Document, event_document, event_of

#: The name of the subject's field depends on its kind, so that an erasure finds only deliveries about feedback.
_FEEDBACK: Final = "feedback_id"
_ALERT: Final = "alert_id"

WAITING: Final = "waiting"
#: How each state may be stored.
STORED: Final = {
    DeliveryState.PENDING: (DeliveryState.PENDING.value, WAITING),
    DeliveryState.DELIVERED: (DeliveryState.DELIVERED.value,),
    DeliveryState.DEAD: (DeliveryState.DEAD.value,),
}
#: The change that makes a waiting delivery pending.
AWAKE: Final[Document] = {"$set": {"state": DeliveryState.PENDING.value}, "$unset": {"again": ""}}
#: The condition for claimed deliveries.
HELD: Final[Document] = {
    "state": {"$in": list(STORED[DeliveryState.PENDING])},
    "leased_until": {"$exists": True},
}


def among(deliveries: Iterable[Delivery]) -> Document:
    """Return the filter for these deliveries by id."""
    return {"_id": {"$in": [delivery.id for delivery in deliveries]}}


def delivery_document(delivery: Delivery) -> Document:
    """Return the document of a delivery."""
    event = delivery.event
    document: Document = {
        "_id": delivery.id,
        "application": event.application,
        _ALERT if event.type.about_alert else _FEEDBACK: event.subject_id,
        "event": event_document(event),
        "channel": delivery.channel,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "due": to_microseconds(delivery.due_at),
        "error": delivery.error,
    }
    if delivery.attempts_before:
        document["attempts_before"] = delivery.attempts_before
    if delivery.leased_until is not None:
        document["leased_until"] = to_microseconds(delivery.leased_until)
    if delivery.awaits is not None:
        document["awaits"] = delivery.awaits
    if not delivery.certain:
        document["certain"] = False
    return document | history_fields(delivery)


def history_fields(delivery: Delivery) -> Document:
    """Return the fields with the attempts, and with the cause of a dead delivery; absent ones are empty."""
    fields: Document = {"history": attempts_value(delivery.history)} if delivery.history else {}
    return fields | ({"cause": delivery.cause} if delivery.cause else {})


def delivery_of(document: Document) -> Delivery:
    """Return the delivery of a document."""
    subject_id = document[_FEEDBACK if _FEEDBACK in document else _ALERT]
    leased_until = document.get("leased_until")
    return Delivery(
        id=document["_id"],
        event=event_of(document["application"], subject_id, document["event"]),
        channel=document["channel"],
        state=DeliveryState.PENDING if document["state"] == WAITING else DeliveryState(document["state"]),
        attempts=document["attempts"],
        attempts_before=document.get("attempts_before", 0),
        due_at=from_microseconds(document["due"]),
        leased_until=from_microseconds_or_none(leased_until),
        error=document["error"],
        awaits=document.get("awaits"),
        certain=document.get("certain", True),
        history=attempts_of(document.get("history", ())),
    )

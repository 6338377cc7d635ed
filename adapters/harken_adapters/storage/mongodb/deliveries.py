"""A delivery as a document, and a document as a delivery.

What needs comparing is a whole number of microseconds since 1970 here: ``due`` and ``leased_until``.
"""

from __future__ import annotations

from typing import Final

from harken.domain.events import Delivery, DeliveryState
from harken.domain.instants import from_microseconds, to_microseconds
from harken_adapters.storage.mongodb.documents import Document, event_document, event_of

#: What a delivery is about is named after what that is, so that an erasure finds those about feedback, and no other.
_FEEDBACK: Final = "feedback_id"
_ALERT: Final = "alert_id"


def delivery_document(delivery: Delivery) -> Document:
    """The document of a delivery."""
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
    return document


def delivery_of(document: Document) -> Delivery:
    """The inverse of :func:`delivery_document`."""
    subject_id = document[_FEEDBACK if _FEEDBACK in document else _ALERT]
    leased_until = document.get("leased_until")
    return Delivery(
        id=document["_id"],
        event=event_of(document["application"], subject_id, document["event"]),
        channel=document["channel"],
        state=DeliveryState(document["state"]),
        attempts=document["attempts"],
        attempts_before=document.get("attempts_before", 0),
        due_at=from_microseconds(document["due"]),
        leased_until=None if leased_until is None else from_microseconds(leased_until),
        error=document["error"],
    )

"""Feedback as the wire has it."""

from __future__ import annotations

from typing import Any, Final

from harken import Feedback, Page
from harken_adapters.formats.record import to_record

#: What only imports and repeated submissions need; no reader does.
_INTERNAL: Final = ("idempotency_key", "fingerprint", "later_keys")


def feedback_record(feedback: Feedback) -> dict[str, Any]:
    """Everything that a reader may know of feedback."""
    record = to_record(feedback)
    for name in _INTERNAL:
        del record[name]
    return record


def page_record(page: Page) -> dict[str, Any]:
    """A page of feedback, and the cursor behind it."""
    return {"feedbacks": list(map(feedback_record, page.items)), "next": str(page.next) if page.next else None}


def vote_record(feedback: Feedback) -> dict[str, Any]:
    """A vote as who gave it needs to see it."""
    record = feedback_record(feedback)
    shown = ("message_id", "rating", "comment", "tags", "reply", "version", "updated_at")
    return {"feedback_id": feedback.id} | {name: record[name] for name in shown}

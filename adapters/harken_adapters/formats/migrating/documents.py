"""Session documents of mongodb_session_manager, with the types of the MongoDB driver.

::

    {"_id": "session-1", "application_name": "shop", "session_type": "AGENT", "created_at": ..., "updated_at": ...,
     "metadata": {"tier": "gold"},
     "feedbacks": [{"rating": "down", "comment": "Too slow", "created_at": ...}],
     "agents": {"helper": {"agent_data": {"state": {}, "model": "m", ...},
                           "messages": [{"message_id": 0, "message": {"role": "user", "content": [...]}, ...}]}},
     "guardrail_events": [{"agent_id": "helper", "message_id": 0, "action": "BLOCKED", "timestamp": ...}]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field, frozen

from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.rejects import ENTRY
from harken_adapters.formats.values import plain

#: When a session, an agent or a message was created and changed.
TIMES: Final = ("created_at", "updated_at")
#: The fields of a document from which feedback is understood.
FEEDBACK_FIELDS: Final = ("_id", "application_name", "feedbacks")
#: The fields of a document that are migrated. The password for a session viewer is a secret of another application.
DOCUMENT_FIELDS: Final = (
    *FEEDBACK_FIELDS,
    "metadata",
    "agents",
    "guardrail_events",
    "session_type",
    *TIMES,
)

Document = Mapping[str, Any]

#: Called for each rejected value with the values that locate it, by the names of :data:`ENTRY`, the reason, and the
#: value as JSON. The position is ``None`` for what is not an entry of feedback.
Reject = Callable[[Mapping[str, object], str, object], object]


@frozen
class Session:
    """The session of a document in the target. Its names may be invalid."""

    application: Any
    id: str


@define
class Recorder:
    """Counts rejected values, and passes them on when their batch is durable: otherwise, it is repeated.

    Attributes:
        pass_on: called for each rejected value.
        size: the size of the values that wait, as characters of JSON.
    """

    pass_on: Reject
    size: int = 0
    _rejected: list[tuple[Mapping[str, object], str, object]] = field(factory=list)

    def reject(
        self, tallies: Sequence[Tally], session: Session, reason: str, value: object, position: int | None = None
    ) -> None:
        """Count a rejected value."""
        for tally in tallies:
            tally.reject(reason, f"session {session.id}")
        place = dict(zip(ENTRY, (session.application, session.id, position), strict=True))
        self._rejected.append((place, reason, value))
        self.size += size_of(value)

    def release(self) -> None:
        """Pass on the rejected values of a batch."""
        for rejected in self._rejected:
            self.pass_on(*rejected)
        self._rejected.clear()
        self.size = 0


def session_of(document: Document, *, named: str | None, default: str) -> Session:
    """The session of a document.

    Args:
        document: the document.
        named: the application of all documents, if one is given.
        default: that of a document which has none.
    """
    return Session(application_of(document, named=named, default=default), session_id_of(document))


def application_of(document: Document, *, named: str | None, default: str) -> Any:
    """The application of a document, see :func:`session_of`. An invalid name is rejected by the rules later."""
    return named or plain(document.get("application_name")) or default


def session_id_of(document: Document) -> str:
    """The ``_id`` as text; empty if the document has none."""
    value = plain(document.get("_id"))
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def size_of(value: object) -> int:
    """The size of a JSON value, as characters of JSON."""
    return len(json.dumps(value, ensure_ascii=False))


def whole_number(value: object) -> int | None:
    """The value as an integer, if it is one; programs in JavaScript store it as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def instant_text(value: object) -> object:
    """A time as text in ISO 8601, in UTC if it has no zone; other values unchanged."""
    if not isinstance(value, datetime):
        return value
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).isoformat()

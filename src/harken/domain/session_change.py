"""Changes of session metadata."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from attrs import frozen

from harken.domain.events import Event, EventType
from harken.domain.metadata import find_paths

Operation = Literal["update", "delete"]
#: How many names one notification has; a change of more has several.
MAX_NAMES: Final = 100


@frozen
class SessionChange:
    """A change of the metadata of a session, with the values as they are when it is sent.

    Attributes:
        session_id: the session.
        operation: ``"update"`` or ``"delete"``.
        names: the names or paths that were set or removed, sorted.
        metadata: the current values by these names or paths; ``None`` for one that does not exist.
        current: all metadata of the session, by name.
    """

    session_id: str
    operation: Operation
    names: tuple[str, ...]
    metadata: Mapping[str, Any]
    current: Mapping[str, Any]


def change_events(
    application: str,
    session_id: str,
    operation: Operation,
    names: Collection[str],
    *,
    paths: bool = False,
    event_id: str,
    at: datetime,
) -> Iterator[Event]:
    """Yield the events of a change: one, or several if it has more than 100 names; none if it has no names.

    They contain the names, whether these are paths, and no values. Each has a subject of its own, so that no delivery
    waits for another.
    """
    in_order = sorted(set(names))
    for begin in range(0, len(in_order), MAX_NAMES):
        part = f"{event_id}-{begin}" if begin else event_id
        some = in_order[begin : begin + MAX_NAMES]
        yield Event(
            id=part,
            type=EventType.SESSION_UPDATED,
            application=application,
            subject_id=json.dumps(
                {"id": part, "operation": operation, "names": some, "paths": paths}, separators=(",", ":")
            ),
            version=1,
            occurred_at=at,
            session_id=session_id,
        )


def operation_and_names(event: Event) -> tuple[Operation, tuple[str, ...]]:
    """The operation and the names of the event of a change."""
    subject = json.loads(event.subject_id)
    return subject["operation"], tuple(subject["names"])


def change_of(event: Event, current: Mapping[str, Any]) -> SessionChange:
    """Return the change of an event, with the values of the session's current metadata."""
    operation, names = operation_and_names(event)
    found = find_paths(current, names) if json.loads(event.subject_id)["paths"] else current
    return SessionChange(
        session_id=event.session_id or "",
        operation=operation,
        names=names,
        metadata={name: found.get(name) for name in names},
        current=current,
    )

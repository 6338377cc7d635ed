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
#: How many names one notification has, and how many bytes they have as JSON in UTF-8; a change of more has several. The
#: body of a webhook, which has 20 KB, then has room for each name twice: in ``names`` and in ``metadata``.
MAX_NAMES: Final = 100
MAX_NAME_BYTES: Final = 8_000


@frozen
class SessionChange:
    """A change of the metadata of a session, with the values as they are when it is sent.

    Attributes:
        session_id: the session.
        operation: ``"update"`` or ``"delete"``.
        names: the names or paths that were set or that were to be deleted, sorted.
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
    """Yield the events of a change: one, or several if the names exceed a limit; none if there are no names.

    They contain the names, whether these are paths, and no values. Each has a subject of its own, so that no delivery
    waits for another.
    """
    for number, some in enumerate(_split(names)):
        part = f"{event_id}-{number}" if number else event_id
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


def _split(names: Collection[str]) -> Iterator[list[str]]:
    """Yield the names in order, as many at a time as one notification has."""
    some: list[str] = []
    size = 0
    for name in sorted(set(names)):
        added = len(json.dumps(name, ensure_ascii=False).encode()) + len(",")
        if some and (len(some) == MAX_NAMES or size + added > MAX_NAME_BYTES):
            yield some
            some, size = [], 0
        some.append(name)
        size += added
    if some:
        yield some


def operation_and_names(event: Event) -> tuple[Operation, tuple[str, ...]]:
    """The operation and the names of the event of a change."""
    operation, names, _ = _parse_subject(event)
    return operation, names


def change_of(event: Event, current: Mapping[str, Any]) -> SessionChange:
    """Return the change of an event, with the values of the session's current metadata."""
    operation, names, are_paths = _parse_subject(event)
    found = find_paths(current, names) if are_paths else current
    return SessionChange(
        session_id=event.session_id or "",
        operation=operation,
        names=names,
        metadata={name: found.get(name) for name in names},
        current=current,
    )


def _parse_subject(event: Event) -> tuple[Operation, tuple[str, ...], bool]:
    """The operation, the names, and whether these are paths."""
    subject = json.loads(event.subject_id)
    return subject["operation"], tuple(subject["names"]), subject["paths"]

"""Events as rows, and rows as events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from harken.domain.events import Event, EventType
from harken.domain.instants import from_microseconds, to_microseconds
from harken_adapters.storage.sqlite.rows import Row

#: What an event is made of; an alert's id stands where a feedback's does.
EVENT: Final = "id, type, application, feedback_id, version, occurred_at"
_INSERT: Final = f"INSERT INTO event ({EVENT}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
_TYPES: Final = {type_.value: type_ for type_ in EventType}


def add_events(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Have these events wait until they are passed on."""
    connection.executemany(_INSERT, map(event_row, events))


def event_row(event: Event) -> Row:
    """The values of :data:`EVENT`."""
    return (
        event.id,
        event.type.value,
        event.application,
        event.subject_id,
        event.version,
        to_microseconds(event.occurred_at),
    )


def to_event(row: Row) -> Event:
    """The inverse of :func:`event_row`."""
    event_id, kind, application, subject_id, version, occurred_at = row
    return Event(
        id=event_id,
        type=_TYPES[kind],
        application=application,
        subject_id=subject_id,
        version=version,
        occurred_at=from_microseconds(occurred_at),
    )

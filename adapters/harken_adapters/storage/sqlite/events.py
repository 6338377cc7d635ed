"""Conversion of events to and from rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from harken.domain.events import Event, EventType, Traits
from harken.domain.instants import from_microseconds, to_microseconds
from harken.domain.moderation import ModerationStatus
from harken_adapters.storage.sqlite.rows import Row, dump, rating_number, to_rating

#: The columns of an event. For an alert, the column of the feedback id holds the alert's id.
EVENT: Final = "id, type, application, feedback_id, version, occurred_at"
#: The number of these columns.
EVENT_WIDTH: Final = 6
_INSERT: Final = f"INSERT INTO event ({EVENT}, before, about_alert) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
#: A separate statement for new feedback, which has no previous state and is the most frequent case.
_INSERT_NEW: Final = f"INSERT INTO event ({EVENT}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608


def add_events(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Store events that wait for fan-out."""
    new, others = list[Row](), list[Row]()
    for event in events:
        if event.before is None and not event.type.about_alert:
            new.append(event_row(event))
        else:
            others.append((*event_row(event), _from_traits(event.before), int(event.type.about_alert)))
    connection.executemany(_INSERT_NEW, new)
    if others:
        connection.executemany(_INSERT, others)


def event_row(event: Event) -> Row:
    """Return the values of the columns :data:`EVENT`."""
    return (
        event.id,
        event.type.value,
        event.application,
        event.subject_id,
        event.version,
        to_microseconds(event.occurred_at),
    )


def to_event(row: Row, *, before: str | None = None, session_id: str | None = None) -> Event:
    """Build an event from the values of :func:`event_row` and from those that only some events have."""
    event_id, kind, application, subject_id, version, occurred_at = row
    return Event(
        id=event_id,
        type=EventType(kind),
        application=application,
        subject_id=subject_id,
        version=version,
        occurred_at=from_microseconds(occurred_at),
        before=None if before is None else _to_traits(before),
        session_id=session_id,
    )


def _from_traits(traits: Traits | None) -> str | None:
    if traits is None:
        return None
    status = traits.status.value
    return dump([rating_number(traits.rating), status, traits.withdrawn, traits.agent_id, traits.tags])


def _to_traits(text: str) -> Traits:
    rating, status, withdrawn, agent_id, tags = json.loads(text)
    return Traits(
        rating=to_rating(rating),
        status=ModerationStatus(status),
        withdrawn=withdrawn,
        agent_id=agent_id,
        tags=tuple(tags),
    )

"""Alerts in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import Event
from harken.domain.instants import (
    from_microseconds,
    from_microseconds_or_none,
    to_microseconds,
    to_microseconds_or_none,
)
from harken.ports.alerts import AlertRepository
from harken_adapters.storage.sqlite.database import Database, Work
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import Row, dump

_COLUMNS: Final = (
    "application",
    "id",
    "rule",
    "kind",
    "subject_by",
    "subject",
    "message",
    "figures",
    "feedback_ids",
    "began_at",
    "raised_at",
    "resolved_at",
    "version",
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM alert"  # noqa: S608 - made of constants
_INSERT: Final = (
    f"INSERT INTO alert ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)
_UPDATE: Final = (
    f"UPDATE alert SET {', '.join(f'{column} = ?' for column in _COLUMNS)} "  # noqa: S608
    "WHERE application = ? AND id = ? AND version = ?"
)
_LAST_RAISED_FIRST: Final = "ORDER BY raised_at DESC, id DESC LIMIT ?"


class SqliteAlertRepository(AlertRepository):
    """Stores each alert as one row, and its events in the table of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, alert: Alert, event: Event) -> bool:
        return self._write(lambda connection: connection.execute(_INSERT, _row(alert)).rowcount == 1, event)

    def replace(self, alert: Alert, event: Event) -> bool:
        return self._write(lambda connection: replace_alert(connection, alert), event)

    def get(self, application: str, alert_id: str) -> Alert | None:
        return self._first("WHERE application = ? AND id = ?", (application, alert_id))

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        return self._first(
            f"WHERE application = ? AND rule = ? AND subject_by = ? AND subject = ? {_LAST_RAISED_FIRST}",
            (application, rule, subject.by, subject.value, 1),
        )

    def find(
        self,
        application: str,
        *,
        limit: int,
        after: Alert | None = None,
        open: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        wanted = "WHERE application = ?"
        parameters: list[object] = [application]
        if after is not None:
            wanted += " AND (raised_at, id) < (?, ?)"
            parameters += [to_microseconds(after.raised_at), after.id]
        if open is not None:
            wanted += f" AND resolved_at IS {'' if open else 'NOT '}NULL"
        if rule is not None:
            wanted += " AND rule = ?"
            parameters.append(rule)
        if since is not None:
            wanted += " AND raised_at >= ?"
            parameters.append(to_microseconds(since))
        return self._select(f"{wanted} {_LAST_RAISED_FIRST}", (*parameters, limit))

    def _write(self, change: Work[bool], event: Event) -> bool:
        """Write an alert and its event in one transaction."""

        def write(connection: sqlite3.Connection) -> bool:
            if not change(connection):
                return False
            add_events(connection, [event])
            return True

        return self._database.write(write)

    def _first(self, rest: str, parameters: Row) -> Alert | None:
        found = self._select(rest, parameters)
        return found[0] if found else None

    def _select(self, rest: str, parameters: Row) -> list[Alert]:
        return self._database.read(lambda connection: select_alerts(connection, rest, parameters))


def select_alerts(connection: sqlite3.Connection, rest: str, parameters: Row) -> list[Alert]:
    """Return the alerts selected by ``rest``, the part of the statement that begins with ``WHERE``."""
    return [_alert(row) for row in connection.execute(f"{_SELECT} {rest}", parameters).fetchall()]


def replace_alert(connection: sqlite3.Connection, alert: Alert) -> bool:
    """Replace the previous version of an alert. Returns whether that version was stored."""
    key = (alert.application, alert.id, alert.version - 1)
    return connection.execute(_UPDATE, (*_row(alert), *key)).rowcount == 1


def _row(alert: Alert) -> Row:
    return (
        alert.application,
        alert.id,
        alert.rule,
        alert.kind.value,
        alert.subject.by,
        alert.subject.value,
        alert.message,
        dump(dict(alert.figures)),
        dump(alert.feedback_ids),
        to_microseconds(alert.began_at),
        to_microseconds(alert.raised_at),
        to_microseconds_or_none(alert.resolved_at),
        alert.version,
    )


def _alert(row: Row) -> Alert:
    application, alert_id, rule, kind, by, subject, message, figures, feedback_ids, *rest = row
    began_at, raised_at, resolved_at, version = rest
    return Alert(
        id=alert_id,
        application=application,
        rule=rule,
        kind=AlertKind(kind),
        subject=Subject(by, subject),
        message=message,
        figures=json.loads(figures),
        feedback_ids=tuple(json.loads(feedback_ids)),
        began_at=from_microseconds(began_at),
        raised_at=from_microseconds(raised_at),
        resolved_at=from_microseconds_or_none(resolved_at),
        version=version,
    )

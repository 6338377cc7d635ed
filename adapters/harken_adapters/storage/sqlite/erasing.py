"""Erasing feedback, with all that goes with it, and what notifies of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from harken.domain.alerts import Alert
from harken.domain.erasure import Erased
from harken.domain.events import Delivery, erasure_deliveries
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.sqlite.alerts import replace_alert, select_alerts
from harken_adapters.storage.sqlite.conditions import Condition, where
from harken_adapters.storage.sqlite.deliveries import deliveries_about, put_deliveries
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import by_id

_OF_FEEDBACK: Final = "application = feedback.application AND feedback_id = feedback.id"
_TOLD: Final = "SELECT channel FROM told WHERE application = ? AND feedback_id = ?"


def erase(connection: sqlite3.Connection, query: FeedbackQuery, *, at: datetime) -> Erased:
    """Erase what matches, within the transaction of the connection, and say how much."""
    doomed = where(query)
    listing = _listing(connection, query.application, doomed)
    about_session = _about_session(connection, query.application, doomed)
    deliveries, notices = 0, list[Delivery]()
    for feedback in _sent(connection, query.application, doomed):
        about_it = deliveries_about(connection, feedback.application, feedback.id)
        told = {channel for (channel,) in connection.execute(_TOLD, (feedback.application, feedback.id)).fetchall()}
        deliveries += sum(delivery.event.type.about_feedback for delivery in about_it)
        notices += erasure_deliveries(feedback, about_it, told, at=at)
    condition, parameters = doomed
    # A trigger takes away events and deliveries.
    removed = connection.execute(f"DELETE FROM feedback WHERE {condition}", parameters).rowcount  # noqa: S608
    put_deliveries(connection, notices)
    about_gone = [alert for alert in about_session if not _session_remains(connection, alert)]
    alerts = {alert.id: alert for alert in (*listing, *about_gone)}
    for alert in alerts.values():
        _empty(connection, alert, at)
    return Erased(feedback=removed, alerts=len(alerts), deliveries=deliveries)


def _listing(connection: sqlite3.Connection, application: str, doomed: Condition) -> list[Alert]:
    """The alerts that list any of the feedback."""
    condition, parameters = doomed
    listed = (
        "SELECT 1 FROM json_each(alert.feedback_ids) AS listed "  # noqa: S608
        f"WHERE listed.value IN (SELECT feedback.id FROM feedback WHERE {condition})"
    )
    rest = f"WHERE application = ? AND feedback_ids <> '[]' AND EXISTS ({listed})"
    return select_alerts(connection, rest, (application, *parameters))


def _about_session(connection: sqlite3.Connection, application: str, doomed: Condition) -> list[Alert]:
    """The alerts about sessions of the feedback."""
    condition, parameters = doomed
    sessions = f"SELECT feedback.session_id FROM feedback WHERE {condition}"  # noqa: S608
    rest = f"WHERE application = ? AND subject_by = 'session' AND subject IN ({sessions})"
    return select_alerts(connection, rest, (application, *parameters))


def _sent(connection: sqlite3.Connection, application: str, doomed: Condition) -> Iterator[Feedback]:
    """The feedback of which something is, or was, on its way to a channel."""
    condition, parameters = doomed
    ids = connection.execute(
        f"SELECT feedback.id FROM feedback WHERE {condition} AND ("  # noqa: S608
        f"EXISTS (SELECT 1 FROM delivery WHERE {_OF_FEEDBACK}) OR EXISTS (SELECT 1 FROM told WHERE {_OF_FEEDBACK}))",
        parameters,
    ).fetchall()
    for (feedback_id,) in ids:
        if (feedback := by_id(connection, application, feedback_id)) is not None:
            yield feedback


def _session_remains(connection: sqlite3.Connection, alert: Alert) -> bool:
    """Whether there is feedback in the session that an alert is about."""
    left = "SELECT 1 FROM feedback WHERE application = ? AND session_id = ? LIMIT 1"
    return bool(connection.execute(left, (alert.application, alert.subject.value)).fetchall())


def _empty(connection: sqlite3.Connection, alert: Alert, at: datetime) -> None:
    emptied = alert.emptied(at=at, session_remains=_session_remains(connection, alert))
    replace_alert(connection, emptied)
    if alert.stands:
        add_events(connection, [emptied.event()])

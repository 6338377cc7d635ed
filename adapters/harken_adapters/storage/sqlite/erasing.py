"""Erasure of feedback with everything that depends on it, and the deliveries that report it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Final

from harken.domain.erasure import Erased
from harken.domain.events import Delivery, Event, erasure_deliveries
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.sqlite.alerts import replace_alert, select_alerts
from harken_adapters.storage.sqlite.conditions import where
from harken_adapters.storage.sqlite.deliveries import deliveries_about, put_deliveries
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import dump, select_feedback
from harken_adapters.storage.sqlite.terms import apply_corrections

_DELETE: Final = "DELETE FROM feedback WHERE application = ? AND id = ?"
_NOTIFIED: Final = "SELECT channel FROM told WHERE application = ? AND feedback_id = ?"
_IN_SESSION: Final = "SELECT 1 FROM feedback WHERE application = ? AND session_id = ?"
_LISTING: Final = """
    WHERE application = ? AND id IN (
        SELECT alert_id FROM alert_feedback
        WHERE application = ? AND feedback_id IN (SELECT value FROM json_each(?))
    )
"""
# The kind of subject is a literal: otherwise SQLite does not use the partial index of alerts about sessions.
_ABOUT_SESSION: Final = (
    "WHERE application = ? AND subject_by = 'session' AND subject IN (SELECT value FROM json_each(?))"
)


def erase(connection: sqlite3.Connection, query: FeedbackQuery, ids: Collection[str], *, at: datetime) -> Erased:
    """Erase the given entries that still match, within the transaction of the connection. Returns what was removed."""
    application = query.application
    # By id only: for the columns of the query, SQLite may choose an index that reads a whole session.
    found = select_feedback(
        connection, "WHERE application = ? AND id IN (SELECT value FROM json_each(?))", (application, dump(list(ids)))
    )
    erased = [feedback for feedback in found if query.matches(feedback)]
    deliveries, notices = 0, list[Delivery]()
    for feedback in erased:
        about_it = deliveries_about(connection, application, feedback.id)
        notified = {channel for (channel,) in connection.execute(_NOTIFIED, (application, feedback.id)).fetchall()}
        deliveries += sum(delivery.event.type.about_feedback for delivery in about_it)
        notices += erasure_deliveries(Event.erasure(feedback, at=at), about_it, notified)
    # A trigger removes events and deliveries.
    connection.executemany(_DELETE, [(application, feedback.id) for feedback in erased])
    put_deliveries(connection, notices)
    # The corrections hold what was erased.
    apply_corrections(connection, application)
    return Erased(feedback=len(erased), alerts=_empty_alerts(connection, query, erased, at), deliveries=deliveries)


def _empty_alerts(
    connection: sqlite3.Connection, query: FeedbackQuery, erased: Collection[Feedback], at: datetime
) -> int:
    """Empty the alerts that list erased feedback, or are about a session without feedback. Returns their number."""
    application = query.application
    listed, of_sessions = dump([one.id for one in erased]), dump(list({one.session_id for one in erased}))
    listing = select_alerts(connection, _LISTING, (application, application, listed))
    about_sessions = select_alerts(connection, _ABOUT_SESSION, (application, of_sessions))
    of_empty_sessions = [
        one for one in about_sessions if not _any(connection, _IN_SESSION, application, one.subject.value)
    ]
    alerts = {alert.id: alert for alert in (*listing, *of_empty_sessions)}
    # Feedback that the same call erases later does not count as remaining either.
    condition, parameters = where(query)
    others = f"{_IN_SESSION} AND ({condition}) IS NOT TRUE"
    sessions = {alert.subject.value for alert in alerts.values() if alert.subject.by == "session"}
    remaining = {name for name in sessions if _any(connection, others, application, name, *parameters)}
    for alert in alerts.values():
        replace_alert(connection, emptied := alert.emptied(at=at, session_remains=alert.subject.value in remaining))
        if alert.is_open:
            add_events(connection, [emptied.event()])
    return len(alerts)


def _any(connection: sqlite3.Connection, select: str, *parameters: object) -> bool:
    """Return whether the statement finds a row."""
    return bool(connection.execute(f"{select} LIMIT 1", parameters).fetchall())

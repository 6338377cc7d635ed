"""Erasure of feedback with everything that depends on it, and the deliveries that report it."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from harken.domain.erasure import Erased
from harken.domain.events import Event, erasure_deliveries
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.sqlite.alerts import replace_alert, select_alerts
from harken_adapters.storage.sqlite.conditions import where
from harken_adapters.storage.sqlite.deliveries import deliveries_about, put_deliveries
from harken_adapters.storage.sqlite.events import add_events
from harken_adapters.storage.sqlite.rows import dump, select_feedback
from harken_adapters.storage.sqlite.terms import apply_corrections

_DELETE: Final = "DELETE FROM feedback WHERE application = ? AND id = ?"
_NOTIFIED: Final = (
    "SELECT feedback_id, channel FROM told WHERE application = ? AND feedback_id IN (SELECT value FROM json_each(?))"
)
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


def erase(
    connection: sqlite3.Connection, query: FeedbackQuery, ids: Collection[str], *, at: datetime, continues: bool = False
) -> Erased:
    """Erase the given entries that still match, within the transaction of the connection. Returns what was removed.

    Args:
        connection: the connection.
        query: the query that the entries matched.
        ids: the ids of the entries.
        at: the time of the erasure.
        continues: whether the caller is about to erase all other matching entries too.
    """
    application = query.application
    # By id only: for the columns of the query, SQLite may choose an index that reads a whole session.
    found = select_feedback(
        connection, "WHERE application = ? AND id IN (SELECT value FROM json_each(?))", (application, dump(list(ids)))
    )
    erased = [feedback for feedback in found if query.matches(feedback)]
    about = deliveries_about(connection, application, ids)
    notified = _notified_of(connection, application, ids)
    known = [feedback for feedback in erased if feedback.id in about or feedback.id in notified]
    notices = [
        notice
        for feedback in known
        for notice in erasure_deliveries(
            Event.erasure(feedback, at=at), about.get(feedback.id, ()), notified.get(feedback.id, ())
        )
    ]
    # A trigger removes events and deliveries.
    connection.executemany(_DELETE, [(application, feedback.id) for feedback in erased])
    put_deliveries(connection, notices)
    # The corrections hold what was erased.
    apply_corrections(connection, application)
    return Erased(
        feedback=len(erased),
        alerts=_empty_alerts(connection, query, erased, at, continues=continues),
        deliveries=sum(one.event.type.about_feedback for feedback in known for one in about.get(feedback.id, ())),
    )


def _notified_of(
    connection: sqlite3.Connection, application: str, ids: Collection[str]
) -> Mapping[str, Collection[str]]:
    """Return the channels that were notified of each feedback by deliveries that are no longer stored."""
    channels: defaultdict[str, set[str]] = defaultdict(set)
    for feedback_id, channel in connection.execute(_NOTIFIED, (application, dump(list(ids)))).fetchall():
        channels[feedback_id].add(channel)
    return channels


def _empty_alerts(
    connection: sqlite3.Connection,
    query: FeedbackQuery,
    erased: Collection[Feedback],
    at: datetime,
    *,
    continues: bool,
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
    condition, parameters = where(query) if continues else ("FALSE", ())
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

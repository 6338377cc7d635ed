"""Alerts in MongoDB."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import Event
from harken.domain.query import Cursor
from harken.ports.alerts import AlertRepository
from harken_adapters.storage.mongodb.conditions import raised_before
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.documents import (
    Document,
    event_document,
    event_of,
    identity,
    join_time,
    join_time_or_none,
    split_time,
)

_LAST_RAISED_FIRST: Final = [("raised_at", -1), ("raised_us", -1), ("id", -1)]
_CHUNK: Final = 1_000
#: Optional fields. ``standing`` marks open alerts for a partial index.
_OPTIONAL: Final = ("standing", "resolved_at", "resolved_us")


class MongoAlertRepository(AlertRepository):
    """Stores each alert as one document, which contains its waiting events."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alerts = database.alerts

    def add(self, alert: Alert, event: Event) -> bool:
        with self._database.calling():
            earlier = self._finished_erasures(alert)
            try:
                self._alerts.insert_one({**_document(alert), "events": [event_document(event)]})
            except DuplicateKeyError:
                return False
            self._empty_if_erased(alert, earlier)
            return True

    def replace(self, alert: Alert, event: Event) -> bool:
        with self._database.calling():
            earlier = self._finished_erasures(alert)
            replaced = _replace(self._database, alert, [event])
            if replaced:
                self._empty_if_erased(alert, earlier)
            return replaced

    def get(self, application: str, alert_id: str) -> Alert | None:
        with self._database.reading():
            found = self._alerts.find_one({"_id": {"$eq": identity(application, alert_id)}}, {"events": 0})
        return None if found is None else _alert(found)

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        about = {
            "application": {"$eq": application},
            "rule": {"$eq": rule},
            "by": {"$eq": subject.by},
            "value": {"$eq": subject.value},
        }
        found = self._select(about, "subject", 1)
        return found[0] if found else None

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
        wanted: Document = {"application": {"$eq": application}}
        wanted |= {} if rule is None else {"rule": {"$eq": rule}}
        wanted |= {} if open is None else {"standing": {"$eq": True} if open else {"$exists": False}}
        place = None if after is None else Cursor(after.raised_at, after.id)
        index = "rule" if rule is not None else "standing" if open else "time"
        return self._select(raised_before(wanted, place, since=since), index, limit)

    def _finished_erasures(self, alert: Alert) -> set[ObjectId]:
        """Returns the ids of the finished erasures that include the feedback of the alert."""
        return {plan["_id"] for plan in self._erasures(alert) if "done_at" in plan}

    def _empty_if_erased(self, alert: Alert, earlier: Collection[ObjectId]) -> None:
        """Empty an alert if feedback that it lists was erased while the alert was being written.

        An erasure is planned first and empties alerts last: either it finds this alert, or its plan is found here.

        Args:
            alert: the alert as written.
            earlier: the erasures that had ended before. They are the caller's responsibility, as in every storage.
        """
        plans = {plan["id"]: plan["event"] for plan in self._erasures(alert) if plan["_id"] not in earlier}
        if plans and (erased := find_missing(self._database, alert.application, plans)):
            at = max(event_of(alert.application, one, plans[one]).occurred_at for one in erased)
            sessions = {plans[one]["session_id"] for one in erased}
            empty_alerts(self._database, alert.application, erased, sessions, at=at)

    def _erasures(self, alert: Alert) -> list[Document]:
        """Return the plans of erasures of feedback or sessions that the alert is about."""
        of_application = {"application": {"$eq": alert.application}}
        ways: list[Document] = []
        if alert.feedback_ids:
            ways.append({**of_application, "id": {"$in": list(alert.feedback_ids)}})
        if alert.subject.by == "session":
            ways.append({**of_application, "event.session_id": {"$eq": alert.subject.value}})
        return [plan for way in ways for plan in self._database.erasures.find(way)]

    def _select(self, condition: Document, index: str, limit: int) -> list[Alert]:
        with self._database.reading():
            cursor = self._alerts.find(condition, {"events": 0}).sort(_LAST_RAISED_FIRST).hint(index).limit(limit)
            return list(map(_alert, at_once(cursor, limit)))


def empty_alerts(
    database: Database, application: str, feedback_ids: Collection[str], sessions: Collection[str], *, at: datetime
) -> int:
    """Empty the alerts that list any of the feedback, or whose session has none left. Returns their number."""
    gone_sessions = set(sessions) - _sessions_left(database, application, sessions)
    of_application = {"application": {"$eq": application}}
    about_session = {**of_application, "by": "session", "value": {"$in": sorted(gone_sessions)}}
    ways = (
        ("feedback", {**of_application, "feedback_ids": {"$in": list(feedback_ids)}}),
        ("about", about_session),
    )
    return sum(_empty(database, condition, index, gone_sessions, at) for index, condition in ways)


def _sessions_left(database: Database, application: str, sessions: Collection[str]) -> set[str]:
    """Return those of the sessions that have feedback."""
    wanted = {"application": {"$eq": application}, "session_id": {"$in": list(sessions)}}
    return set(database.feedback.distinct("session_id", wanted))


def _empty(database: Database, condition: Document, index: str, gone_sessions: Collection[str], at: datetime) -> int:
    emptied = 0
    while True:
        found = database.alerts.find(condition, {"events": 0}).hint(index).limit(_CHUNK)
        alerts = list(map(_alert, at_once(found, _CHUNK)))
        if not alerts:
            return emptied
        for alert in alerts:
            name = alert.subject.value
            about_other = alert.subject.by == "session" and name not in gone_sessions
            remains = about_other and _sessions_left(database, alert.application, [name])
            empty = alert.emptied(at=at, session_remains=bool(remains))
            # An alert that has changed since is found again.
            emptied += _replace(database, empty, [empty.event()] if alert.is_open else [])


def find_missing(database: Database, application: str, feedback_ids: Collection[str]) -> set[str]:
    """Return those of the feedback ids that do not exist."""
    # Answered from the index alone.
    wanted = {"_id": {"$in": [identity(application, one) for one in feedback_ids]}}
    found = at_once(database.feedback.find(wanted, {"_id": 1}), len(feedback_ids))
    return set(feedback_ids) - {one["_id"]["id"] for one in found}


def _replace(database: Database, alert: Alert, events: Sequence[Event]) -> bool:
    document = _document(alert)
    before = {"_id": {"$eq": document.pop("_id")}, "version": {"$eq": alert.version - 1}}
    change: Document = {
        "$set": document,
        "$unset": {name: "" for name in _OPTIONAL if name not in document},
    }
    if events:
        change["$push"] = {"events": {"$each": list(map(event_document, events)), "$sort": {"order": 1}}}
    return bool(database.alerts.update_one(before, change).matched_count)


def _document(alert: Alert) -> Document:
    return {
        "_id": identity(alert.application, alert.id),
        "application": alert.application,
        "id": alert.id,
        "rule": alert.rule,
        "kind": alert.kind.value,
        "by": alert.subject.by,
        "value": alert.subject.value,
        "message": alert.message,
        # As pairs, because the names may be any text.
        "figures": [[name, figure] for name, figure in alert.figures.items()],
        "feedback_ids": list(alert.feedback_ids),
        "version": alert.version,
        **split_time("began", alert.began_at),
        **split_time("raised", alert.raised_at),
        **({"standing": True} if alert.resolved_at is None else split_time("resolved", alert.resolved_at)),
    }


def _alert(document: Document) -> Alert:
    return Alert(
        id=document["id"],
        application=document["application"],
        rule=document["rule"],
        kind=AlertKind(document["kind"]),
        subject=Subject(document["by"], document["value"]),
        message=document["message"],
        figures=dict(document["figures"]),
        feedback_ids=tuple(document["feedback_ids"]),
        began_at=join_time(document, "began"),
        raised_at=join_time(document, "raised"),
        resolved_at=join_time_or_none(document, "resolved"),
        version=document["version"],
    )

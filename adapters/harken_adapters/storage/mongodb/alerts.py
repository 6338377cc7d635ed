"""Alerts in MongoDB."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from harken.domain.alerts import Alert, AlertKind, Subject
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
    lost_microseconds,
    milliseconds,
    moment,
    moment_or_none,
)

_LAST_RAISED_FIRST: Final = [("raised_at", -1), ("raised_us", -1), ("id", -1)]
_CHUNK: Final = 1_000
#: What only some alerts have: ``standing`` is there for the index of those that stand.
_OPTIONAL: Final = ("standing", "resolved_at", "resolved_us")


class MongoAlertRepository(AlertRepository):
    """One document for each alert, with the events that wait to be passed on inside it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alerts = database.alerts

    def add(self, alert: Alert, event: Event) -> bool:
        """See the port."""
        with self._database.calling():
            earlier = self._finished_erasures(alert)
            try:
                self._alerts.insert_one({**_document(alert), "events": [event_document(event)]})
            except DuplicateKeyError:
                return False
            self._empty_if_erased(alert, earlier)
            return True

    def replace(self, alert: Alert, event: Event) -> bool:
        """See the port."""
        with self._database.calling():
            earlier = self._finished_erasures(alert)
            replaced = _replace(self._database, alert, [event])
            if replaced:
                self._empty_if_erased(alert, earlier)
            return replaced

    def get(self, application: str, alert_id: str) -> Alert | None:
        """See the port."""
        with self._database.calling():
            found = self._alerts.find_one({"_id": {"$eq": identity(application, alert_id)}}, {"events": 0})
        return None if found is None else _alert(found)

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        """See the port."""
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
        standing: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        """See the port."""
        wanted: Document = {"application": {"$eq": application}}
        wanted |= {} if rule is None else {"rule": {"$eq": rule}}
        wanted |= {} if standing is None else {"standing": {"$eq": True} if standing else {"$exists": False}}
        place = None if after is None else Cursor(after.raised_at, after.id)
        index = "rule" if rule is not None else "standing" if standing else "time"
        return self._select(raised_before(wanted, place, since=since), index, limit)

    def _finished_erasures(self, alert: Alert) -> set[ObjectId]:
        """The plans of erasures of what the alert is about that have ended."""
        return {plan["_id"] for plan in self._erasures(alert) if "done_at" in plan}

    def _empty_if_erased(self, alert: Alert, earlier: Collection[ObjectId]) -> None:
        """Empty an alert if feedback that it is about was erased while it was being written.

        An erasure is planned before it takes place, and empties alerts after that: it finds this one, or is found here.

        Args:
            alert: as it was written.
            earlier: the erasures that had ended before that. They concern the caller alone, as in every storage.
        """
        plans = {plan["id"]: plan["event"] for plan in self._erasures(alert) if plan["_id"] not in earlier}
        if plans and (erased := gone(self._database, alert.application, plans)):
            at = max(event_of(alert.application, one, plans[one]).occurred_at for one in erased)
            sessions = {plans[one]["session_id"] for one in erased}
            empty_alerts(self._database, alert.application, erased, sessions, at=at)

    def _erasures(self, alert: Alert) -> list[Document]:
        """The plans of erasures of what the alert is about."""
        of_application = {"application": {"$eq": alert.application}}
        ways: list[Document] = []
        if alert.feedback_ids:
            ways.append({**of_application, "id": {"$in": list(alert.feedback_ids)}})
        if alert.subject.by == "session":
            ways.append({**of_application, "event.session_id": {"$eq": alert.subject.value}})
        return [plan for way in ways for plan in self._database.erasures.find(way)]

    def _select(self, condition: Document, index: str, limit: int) -> list[Alert]:
        with self._database.calling():
            cursor = self._alerts.find(condition, {"events": 0}).sort(_LAST_RAISED_FIRST).hint(index).limit(limit)
            return list(map(_alert, at_once(cursor, limit)))


def empty_alerts(
    database: Database, application: str, feedback_ids: Collection[str], sessions: Collection[str], *, at: datetime
) -> int:
    """Empty the alerts that list any of that feedback, or are about a session of it that is gone; and say how many."""
    gone_sessions = set(sessions) - _sessions_left(database, application, sessions)
    of_application = {"application": {"$eq": application}}
    about_session = {**of_application, "by": "session", "value": {"$in": sorted(gone_sessions)}}
    ways = (
        ("feedback", {**of_application, "feedback_ids": {"$in": list(feedback_ids)}}),
        ("about", about_session),
    )
    return sum(_empty(database, condition, index, gone_sessions, at) for index, condition in ways)


def _sessions_left(database: Database, application: str, sessions: Collection[str]) -> set[str]:
    """Those of these in which there is feedback."""
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
            # One that has changed since is found again.
            emptied += _replace(database, empty, [empty.event()] if alert.stands else [])


def gone(database: Database, application: str, feedback_ids: Collection[str]) -> set[str]:
    """Which of that feedback there is not."""
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


def _taken_apart(name: str, at: datetime) -> Document:
    return {f"{name}_at": milliseconds(at), f"{name}_us": lost_microseconds(at)}


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
        # In pairs, so that their names may be any text.
        "figures": [[name, figure] for name, figure in alert.figures.items()],
        "feedback_ids": list(alert.feedback_ids),
        "version": alert.version,
        **_taken_apart("began", alert.began_at),
        **_taken_apart("raised", alert.raised_at),
        **({"standing": True} if alert.resolved_at is None else _taken_apart("resolved", alert.resolved_at)),
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
        began_at=moment(document["began_at"], document["began_us"]),
        raised_at=moment(document["raised_at"], document["raised_us"]),
        resolved_at=moment_or_none(document, "resolved"),
        version=document["version"],
    )

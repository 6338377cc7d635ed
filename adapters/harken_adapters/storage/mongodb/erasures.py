"""Erasing in MongoDB, where one write covers one document.

The order of the writes is such that neither a crash nor anyone else at work loses the notification of an erasure, or
makes one of an erasure that did not take place:

1. A plan is stored for each feedback: the event of its erasure. While the feedback exists, a plan means nothing.
2. The feedback is deleted, in the version that was read. That is the erasure. What is claimed from here on is not sent,
   as a lane reads the feedback right before each send.
3. The deliveries are read, which show which channels know of the feedback: none was removed so far. Those that tell of
   the erasure are stored, under ids that follow from its event.
4. The deliveries about the feedback are removed, and the alerts that list it are emptied.
5. The plans are done. For some time they go on telling those who are raising an alert about it.

Steps 3 to 5 can be repeated, also by several processes at once. After a crash they are carried out by the next one that
erases, forgets, or finds a delivery about feedback that is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import BulkWriteError

from harken.domain.erasure import Erased
from harken.domain.events import Delivery, DeliveryState, Event, EventType, deliveries_of_erasure
from harken.domain.feedback import Feedback
from harken_adapters.storage.mongodb.alerts import empty_alerts, gone
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.deliveries import AWAKE, HELD, WAITING, delivery_document, delivery_of
from harken_adapters.storage.mongodb.documents import Document, event_document, event_of, identity
from harken_adapters.storage.mongodb.errors import only_duplicate_keys

_CHUNK: Final = 1_000
_FREE: Final = {"$unset": {"awaits": "", "leased_until": "", "certain": ""}}


class Erasures:
    """Plans erasures, and carries out what is left to do when the feedback is gone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deliveries = database.deliveries
        self._plans = database.erasures

    def plan(self, feedback: Sequence[Feedback], *, at: datetime) -> ObjectId:
        """Step 1, for feedback of one application; what is given marks these plans."""
        batch = ObjectId()
        self._plans.insert_many([_plan(one, at, batch) for one in feedback], ordered=False)
        # Now that the plans are there: what is forgotten from here on is noted in them as well.
        wanted = {"_id": {"$in": [identity(one.application, one.id) for one in feedback]}, "told": {"$exists": True}}
        known = self._database.feedback.find(wanted, {"application": 1, "id": 1, "told": 1})
        told = {(one["application"], one["id"]): one["told"] for one in known}
        for channels, (application, ids) in _by_channels(told):
            self._plans.update_many({**_about(application, ids, name="id"), "batch": batch}, _note(channels))
        return batch

    def withdraw(self, batch: ObjectId, application: str, feedback_ids: Collection[str]) -> None:
        """Take back the plans for feedback that is there still."""
        if feedback_ids:
            self._plans.delete_many({**_about(application, feedback_ids, name="id"), "batch": batch})

    def finish(self, application: str, feedback_ids: Collection[str]) -> Erased:
        """Steps 3 to 5, for feedback that is gone. Where there is no plan left, no channel can know of it."""
        about = _about(application, feedback_ids)
        # The deliveries first: what was forgotten in between is noted in the plans.
        stored = list(map(delivery_of, self._deliveries.find(about)))
        plans = list(self._plans.find({**_about(application, feedback_ids, name="id"), "done_at": None}))
        removed = self._notify(plans, stored) if plans else 0
        others = {**about, "event.type": {"$ne": EventType.ERASED.value}}
        removed += self._deliveries.delete_many(others).deleted_count
        self._deliveries.update_many({**about, "state": WAITING}, AWAKE)
        if not plans:
            return Erased(deliveries=removed)
        at = max(_event(plan).occurred_at for plan in plans)
        sessions = {plan["event"]["session_id"] for plan in plans}
        alerts = empty_alerts(self._database, application, feedback_ids, sessions, at=at)
        done = {"_id": {"$in": [plan["_id"] for plan in plans]}}
        self._plans.update_many(done, {"$currentDate": {"done_at": True}})
        return Erased(alerts=alerts, deliveries=removed)

    def resume(self) -> None:
        """Finish what was begun and cut short."""
        unfinished = self._plans.find({"done_at": None}, {"application": 1, "id": 1})
        while some := list(islice(unfinished, _CHUNK)):
            by_application: defaultdict[str, set[str]] = defaultdict(set)
            for plan in some:
                by_application[plan["application"]].add(plan["id"])
            for application, ids in by_application.items():
                if erased := gone(self._database, application, ids):
                    self.finish(application, erased)

    def hand_over(self, claims: Iterable[Delivery], *, sent: bool) -> None:
        """Go on with the erasures that await these claims."""
        by_application: defaultdict[str, list[Delivery]] = defaultdict(list)
        for claim in claims:
            if claim.event.type.about_feedback:
                by_application[claim.event.application].append(claim)
        for application, some in by_application.items():
            about = _about(application, {claim.event.subject_id for claim in some})
            waiting = {**about, "awaits": {"$in": [claim.claim for claim in some]}}
            if not sent:
                self._deliveries.delete_many({**waiting, "certain": False})
            self._deliveries.update_many(waiting, _FREE)

    def note_told(self, told: Mapping[tuple[str, str], Collection[str]]) -> None:
        """Keep for each feedback which channels were told of it, as the deliveries are about to be forgotten."""
        for channels, (application, ids) in _by_channels(told):
            # With the mark of what is not news to anyone who watches.
            quietly = {**_note(channels), "$set": {"batch": ObjectId()}}
            wanted = {"_id": {"$in": [identity(application, one) for one in ids]}}
            self._database.feedback.update_many(wanted, quietly)
            # After the feedback, see ``plan``: an erasure finds this note in one of the two.
            unfinished = {**_about(application, ids, name="id"), "done_at": None}
            self._plans.update_many(unfinished, _note(channels))

    def _notify(self, plans: Sequence[Document], stored: Sequence[Delivery]) -> int:
        """Store the deliveries that notify of an erasure; how many others were removed, as they are being sent."""
        about: defaultdict[str, list[Delivery]] = defaultdict(list)
        for delivery in stored:
            about[delivery.event.subject_id].append(delivery)
        made = [
            delivery
            for feedback_id, (event, told) in _latest(plans).items()
            for delivery in deliveries_of_erasure(event, about[feedback_id], told)
        ]
        self._store(made, {one.id: one for one in stored})
        claims = {one.claim: one for one in stored}
        return sum(self._take_from(claims[one.awaits]) for one in made if one.awaits in claims)

    def _store(self, made: Sequence[Delivery], there: Mapping[str, Delivery]) -> None:
        new = [delivery_document(one) for one in made if one.id not in there]
        try:
            if new:
                self._deliveries.insert_many(new, ordered=False)
        except BulkWriteError as error:
            only_duplicate_keys(error)
        for one in made:
            if (earlier := there.get(one.id)) is None:
                continue
            # Feedback that was restored, and erased once more.
            if earlier.state is DeliveryState.PENDING:
                self._deliveries.update_one({"_id": one.id}, {"$unset": {"certain": ""}})
            else:
                as_read = {"_id": one.id, "state": earlier.state.value, "attempts": earlier.attempts}
                self._deliveries.replace_one(as_read, delivery_document(one))

    def _take_from(self, claimed: Delivery) -> int:
        """Remove what is claimed: the claim then ends at the erasure that awaits it. It may have ended just before."""
        held = {"_id": claimed.id, "attempts": claimed.attempts, **HELD}
        if self._deliveries.delete_one(held).deleted_count:
            return 1
        ended = self._deliveries.find_one({"_id": claimed.id}, {"attempts": 1})
        if ended is not None:
            self.hand_over([claimed], sent=ended["attempts"] >= claimed.attempts)
        return 0


def _plan(feedback: Feedback, at: datetime, batch: ObjectId) -> Document:
    event = event_document(Event.erasure(feedback, at=at))
    return {"application": feedback.application, "id": feedback.id, "batch": batch, "event": event}


def _event(plan: Document) -> Event:
    return event_of(plan["application"], plan["id"], plan["event"])


def _latest(plans: Iterable[Document]) -> dict[str, tuple[Event, set[str]]]:
    """By feedback, the event of its latest version that is planned, and the channels that were told of any."""
    latest: dict[str, tuple[Event, set[str]]] = {}
    for plan in sorted(plans, key=lambda plan: int(plan["event"]["version"])):
        _, told = latest.get(plan["id"], (None, set()))
        latest[plan["id"]] = _event(plan), told | set(plan.get("told", ()))
    return latest


def _by_channels(
    told: Mapping[tuple[str, str], Collection[str]],
) -> Iterator[tuple[Sequence[str], tuple[str, Sequence[str]]]]:
    """Channels, with the feedback of an application that just these were told of: hardly ever more than a few kinds."""
    by_channels: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (application, feedback_id), channels in told.items():
        by_channels[application, tuple(sorted(channels))].append(feedback_id)
    return ((channels, (application, ids)) for (application, channels), ids in by_channels.items())


def _note(channels: Sequence[str]) -> Document:
    return {"$addToSet": {"told": {"$each": list(channels)}}}


def _about(application: str, feedback_ids: Collection[str], *, name: str = "feedback_id") -> dict[str, Any]:
    return {"application": {"$eq": application}, name: {"$in": list(feedback_ids)}}

"""Erasure in MongoDB, where one write is atomic for one document only.

The order of the writes ensures that neither a crash nor a concurrent process loses the notification of an erasure, or
sends one for an erasure that did not happen:

1. A plan is stored for each feedback entry: the event of its erasure. A plan has no effect while the feedback exists.
2. The feedback is deleted in the version that was read. This is the erasure. Claimed deliveries are no longer sent, as
   a lane reads the feedback immediately before sending.
3. The deliveries are read, which show the channels that know the feedback, as none has been removed yet. The deliveries
   that report the erasure are stored, with ids derived from its event.
4. The deliveries about the feedback are removed, and the alerts that list it are emptied.
5. The plans are marked as done. They are kept for some time, for calls that began to write an alert before.

Steps 3 to 5 can be repeated, also by several processes at once. After a crash they are completed by the next process
that finds a delivery about erased feedback, or that erases or forgets when the plan is older than a minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import BulkWriteError

from harken.domain.erasure import Erased
from harken.domain.events import Delivery, DeliveryState, Event, EventType, erasure_deliveries
from harken.domain.feedback import Feedback
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.alerts import empty_alerts, find_missing
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.deliveries import AWAKE, HELD, WAITING, delivery_document, delivery_of
from harken_adapters.storage.mongodb.documents import Document, event_document, event_of, identity, milliseconds
from harken_adapters.storage.mongodb.errors import only_duplicate_keys

#: How much feedback is completed at once: less if there are deliveries about it, as their number is unknown.
_PART: Final = 1_000
_PART_WITH_DELIVERIES: Final = 100
#: A younger plan is left to the process that stored it.
_UNDER_WAY: Final = timedelta(minutes=1)
_FREE: Final = {"$unset": {"awaits": "", "leased_until": "", "certain": ""}}


class Erasures:
    """Plans erasures, and completes them after the feedback was deleted.

    ``finish`` and ``resume`` work in parts, each with its own deadline if the caller has none.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._deliveries = database.deliveries
        self._plans = database.erasures

    def plan(self, feedback: Sequence[Feedback], *, at: datetime) -> ObjectId:
        """Step 1, for feedback of one application. Returns an id of these plans."""
        batch, planned_at = ObjectId(), milliseconds(self._clock())
        self._plans.insert_many([_plan(one, at, batch, planned_at) for one in feedback], ordered=False)
        # After the plans are stored, deliveries that are forgotten are recorded in the plans as well.
        ids = [identity(one.application, one.id) for one in feedback]
        wanted = {"_id": {"$in": ids}, "notified": {"$exists": True}}
        known = self._database.feedback.find(wanted, {"application": 1, "id": 1, "notified": 1})
        notified = {(one["application"], one["id"]): one["notified"] for one in known}
        for channels, (application, some) in _by_channels(notified):
            self._plans.update_many({**_about(application, some, name="id"), "batch": batch}, _note(channels))
        return batch

    def withdraw(self, batch: ObjectId, application: str, feedback_ids: Collection[str]) -> None:
        """Remove the plans for feedback that still exists."""
        if feedback_ids:
            self._plans.delete_many({**_about(application, feedback_ids, name="id"), "batch": batch})

    def finish(self, application: str, feedback_ids: Collection[str]) -> Erased:
        """Steps 3 to 5, for deleted feedback. Without a plan, no channel can know the feedback."""
        erased = Erased()
        for some in _parts(sorted(feedback_ids), _PART):
            with self._database.calling():
                delivered = set(self._deliveries.distinct("feedback_id", _about(application, some)))
            quiet = [one for one in some if one not in delivered]
            for part in filter(None, (quiet, *_parts(sorted(delivered), _PART_WITH_DELIVERIES))):
                with self._database.calling():
                    erased += self._finish(application, part)
        return erased

    def resume(self) -> None:
        """Complete interrupted erasures."""
        cut_short = {"done_at": None, "planned_at": {"$lte": milliseconds(self._clock() - _UNDER_WAY)}}
        by_application: defaultdict[str, set[str]] = defaultdict(set)
        with self._database.calling():
            for plan in self._plans.find(cut_short, {"application": 1, "id": 1}):
                by_application[plan["application"]].add(plan["id"])
        for application, ids in by_application.items():
            with self._database.calling():
                erased = find_missing(self._database, application, ids)
            self.finish(application, erased)

    def _finish(self, application: str, feedback_ids: Sequence[str]) -> Erased:
        about = _about(application, feedback_ids)
        # The deliveries are read first: those forgotten in between are recorded in the plans.
        stored = list(map(delivery_of, self._deliveries.find(about)))
        plans = list(self._plans.find(_about(application, feedback_ids, name="id")))
        left = [plan for plan in plans if "done_at" not in plan]
        removed = self._notify(plans, stored) if left else 0
        others = {**about, "event.type": {"$ne": EventType.ERASED.value}}
        removed += self._deliveries.delete_many(others).deleted_count
        self._deliveries.update_many({**about, "state": WAITING}, AWAKE)
        if not left:
            return Erased(deliveries=removed)
        at = max(_event(plan).occurred_at for plan in left)
        sessions = {plan["event"]["session_id"] for plan in left}
        alerts = empty_alerts(self._database, application, feedback_ids, sessions, at=at)
        done = {"_id": {"$in": [plan["_id"] for plan in left]}, "done_at": None}
        self._plans.update_many(done, {"$set": {"done_at": milliseconds(self._clock())}})
        return Erased(alerts=alerts, deliveries=removed)

    def hand_over(self, claims: Iterable[Delivery], *, sent: bool) -> None:
        """Continue the erasures that wait for these claims."""
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

    def note_notified(self, notified: Mapping[tuple[str, str], Collection[str]]) -> None:
        """Record for each feedback the channels that were notified of it, before the deliveries are forgotten."""
        for channels, (application, ids) in _by_channels(notified):
            # With the mark that excludes the write from the change stream.
            quietly = {**_note(channels), "$set": {"batch": ObjectId()}}
            wanted = {"_id": {"$in": [identity(application, one) for one in ids]}}
            self._database.feedback.update_many(wanted, quietly)
            # After the feedback, see ``plan``: an erasure finds this note in one of the two.
            unfinished = {**_about(application, ids, name="id"), "done_at": None}
            self._plans.update_many(unfinished, _note(channels))

    def _notify(self, plans: Sequence[Document], stored: Sequence[Delivery]) -> int:
        """Store the deliveries that report the erasures. Returns how many claimed deliveries were removed."""
        about: defaultdict[str, list[Delivery]] = defaultdict(list)
        for delivery in stored:
            about[delivery.event.subject_id].append(delivery)
        known = {plan["id"] for plan in plans if plan["id"] in about or "notified" in plan}
        deliveries = [
            delivery
            for feedback_id, (event, notified) in _read_plans(
                [plan for plan in plans if plan["id"] in known], stored
            ).items()
            for delivery in erasure_deliveries(event, about[feedback_id], notified)
        ]
        new = self._store(deliveries, {one.id: one for one in stored})
        claims = {one.claim: one for one in stored}
        return sum(self._take_from(claims[one.awaits], new=one.id in new) for one in deliveries if one.awaits in claims)

    def _store(self, deliveries: Sequence[Delivery], there: Mapping[str, Delivery]) -> set[str]:
        """Store erasure deliveries. Returns the ids of those that were not stored before."""
        new = self._insert([one for one in deliveries if one.id not in there])
        for one in deliveries:
            earlier = there.get(one.id)
            if earlier is None or earlier == one:
                continue
            # Feedback that was restored and erased again.
            if earlier.state is DeliveryState.PENDING:
                self._deliveries.update_one({"_id": one.id}, {"$unset": {"certain": ""}})
            else:
                as_read = {"_id": one.id, "state": earlier.state.value, "attempts": earlier.attempts}
                self._deliveries.replace_one(as_read, delivery_document(one))
        return new

    def _insert(self, deliveries: Sequence[Delivery]) -> set[str]:
        taken: list[int] = []
        try:
            if deliveries:
                self._deliveries.insert_many(list(map(delivery_document, deliveries)), ordered=False)
        except BulkWriteError as error:
            taken = only_duplicate_keys(error)
        return {one.id for one in deliveries} - {deliveries[index].id for index in taken}

    def _take_from(self, claimed: Delivery, *, new: bool) -> int:
        """Remove a claimed delivery, so that the claim ends at the erasure that waits for it. It may have just ended.

        Args:
            claimed: the delivery as it was read.
            new: whether the erasure's delivery was not stored before.
        """
        held = {"_id": claimed.id, "attempts": claimed.attempts, **HELD}
        if self._deliveries.delete_one(held).deleted_count:
            return 1
        ended = self._deliveries.find_one({"_id": claimed.id}, {"attempts": 1})
        if ended is not None:
            self.hand_over([claimed], sent=ended["attempts"] >= claimed.attempts)
        elif new:
            # It was discarded, or another process stored the same erasure delivery and removed it, and it was released
            # since.
            self.hand_over([claimed], sent=False)
        return 0


def _parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[begin : begin + size] for begin in range(0, len(ids), size))


def _plan(feedback: Feedback, at: datetime, batch: ObjectId, planned_at: datetime) -> Document:
    event = event_document(Event.erasure(feedback, at=at))
    about = {"application": feedback.application, "id": feedback.id}
    return {**about, "batch": batch, "planned_at": planned_at, "event": event}


def _event(plan: Document) -> Event:
    return event_of(plan["application"], plan["id"], plan["event"])


def _read_plans(plans: Iterable[Document], stored: Iterable[Delivery]) -> dict[str, tuple[Event, set[str]]]:
    """Return by feedback the event of its erasure, and the channels notified of the feedback according to its plans.

    Several processes may erase the same version concurrently, each at its own time. The event that is already stored
    takes precedence.
    """
    stored_events = {delivery.event for delivery in stored}
    by_feedback: defaultdict[str, list[Document]] = defaultdict(list)
    for plan in plans:
        by_feedback[plan["id"]].append(plan)
    planned: dict[str, tuple[Event, set[str]]] = {}
    for feedback_id, some in by_feedback.items():
        left = [plan for plan in some if "done_at" not in plan]
        if not left:
            continue
        event = max(map(_event, left), key=_version)
        begun = min(plan["planned_at"] for plan in left)
        rivals = [_event(plan) for plan in some if "done_at" not in plan or plan["done_at"] > begun]
        same = [one for one in rivals if one.id == event.id and one in stored_events]
        notified = {channel for plan in left for channel in plan.get("notified", ())}
        planned[feedback_id] = (same[0] if same else event), notified
    return planned


def _version(event: Event) -> tuple[int, datetime]:
    return event.version, event.occurred_at


def _by_channels(
    notified: Mapping[tuple[str, str], Collection[str]],
) -> Iterator[tuple[Sequence[str], tuple[str, Sequence[str]]]]:
    """Group the feedback by the sets of channels that were notified of it."""
    by_channels: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (application, feedback_id), channels in notified.items():
        by_channels[application, tuple(sorted(channels))].append(feedback_id)
    return ((channels, (application, ids)) for (application, channels), ids in by_channels.items())


def _note(channels: Sequence[str]) -> Document:
    return {"$addToSet": {"notified": {"$each": list(channels)}}}


def _about(application: str, feedback_ids: Collection[str], *, name: str = "feedback_id") -> dict[str, Any]:
    return {"application": {"$eq": application}, name: {"$in": list(feedback_ids)}}

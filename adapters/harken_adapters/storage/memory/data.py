"""The data that the memory repositories share."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from heapq import merge
from itertools import islice
from threading import RLock
from typing import Any, Final, TypeVar

from harken.domain.access import ApiKey
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.errors import StorageClosed
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, event_order
from harken.domain.feedback import Feedback
from harken.domain.instants import slot_number
from harken.domain.moderation import ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.conversations import JsonObject
from harken.ports.repository import Taken
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry
from harken.services.forks import ForkSafeLock

#: A step of a change: a function and its arguments. Steps are idempotent.
_Step = tuple[Callable[..., object], tuple[Any, ...]]


class _Stepwise:
    """Data that changes in steps, and can finish a change that was interrupted."""

    def __init__(self) -> None:
        self._steps: Sequence[_Step] = ()

    def finish(self) -> None:
        """Take the recorded steps, if a change was interrupted."""
        if self._steps:
            for step, arguments in self._steps:
                step(*arguments)
            self._steps = ()

    def _take(self, steps: Sequence[_Step]) -> None:
        self.finish()
        self._steps = steps
        self.finish()


_Part = TypeVar("_Part", bound=_Stepwise)


class _ByApplication(defaultdict[str, _Part]):
    """Data by application. An interrupted change is finished before the data is returned."""

    def __getitem__(self, name: str) -> _Part:
        part = super().__getitem__(name)
        part.finish()
        return part


class Data(_Stepwise):
    """The data of all repositories, with one lock.

    An asynchronous exception, such as ``KeyboardInterrupt``, can interrupt a write between any two steps. Therefore the
    steps of a change are recorded first and are idempotent: an interrupted change is finished before the data is read.
    A call that makes several changes makes them in an order in which the call can be repeated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lock = ForkSafeLock(RLock)
        self.closed = False
        self._applications: _ByApplication[Application] = _ByApplication(Application)
        self._events = Events()
        self._deliveries = Deliveries()
        self.metadata: defaultdict[tuple[str, str], dict[str, JsonValue]] = defaultdict(dict)
        self.keys: dict[str, ApiKey] = {}
        self._alerts: _ByApplication[Alerts] = _ByApplication(Alerts)
        self.state: dict[tuple[str, str], StateEntry] = {}
        self.conversations: dict[tuple[str, str], Conversation] = {}

    @property
    def applications(self) -> _ByApplication[Application]:
        """The feedback of each application."""
        self.finish()
        return self._applications

    @property
    def alerts(self) -> _ByApplication[Alerts]:
        """The alerts of each application."""
        self.finish()
        return self._alerts

    @property
    def events(self) -> Events:
        """Events that were not fanned out yet."""
        self.finish()
        self._events.finish()
        return self._events

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries in any state."""
        self.finish()
        self._deliveries.finish()
        return self._deliveries

    def locked(self) -> AbstractContextManager[object]:
        """Return the lock, a context manager.

        It is not wrapped in a Python context manager, which an asynchronous exception could interrupt after the lock
        was acquired.

        Raises:
            StorageClosed: the storage was closed.
        """
        if self.closed:
            raise StorageClosed("This memory storage was closed, and its data is gone")
        lock: AbstractContextManager[object] = self.lock.current
        return lock

    def empty(self, alert: Alert, emptied: Alert) -> None:
        """Replace an alert with its emptied version, and add its resolution event if it was open."""
        steps: list[_Step] = [(self._alerts[alert.application].put, (emptied,))]
        if alert.is_open:
            steps.append((self._events.put, (emptied.event(),)))
        self._take(steps)

    def erase(
        self,
        feedback: Feedback,
        events: Collection[Event],
        removed: Collection[Delivery],
        added: Collection[Delivery],
    ) -> None:
        """Remove feedback, events and deliveries about it, and add the deliveries of the erasure."""
        self._take(
            [
                *((self._events.take, (event.id,)) for event in events),
                *((self._deliveries.remove, (delivery,)) for delivery in removed),
                *((self._deliveries.put, (delivery,)) for delivery in added),
                (_drop, (self._deliveries.notified, (feedback.application, feedback.id))),
                (self._applications[feedback.application].remove, (feedback,)),
            ]
        )


class Application(_Stepwise):
    """The feedback of one application, with indexes and counters."""

    def __init__(self) -> None:
        super().__init__()
        self.feedback: dict[str, Feedback] = {}
        self.extras: dict[str, str] = {}
        self.order: list[Cursor] = []
        self.changed: list[tuple[datetime, str]] = []
        self.pending: list[Cursor] = []
        self.sessions: defaultdict[str, list[Cursor]] = defaultdict(list)
        self.keys: dict[tuple[str, str | None, str], str] = {}
        self.votes: dict[tuple[str, str | None, str], str] = {}
        self.totals: defaultdict[str | None, Summary] = defaultdict(Summary)
        self.slots: defaultdict[tuple[str | None, int], Summary] = defaultdict(Summary)

    def insert(self, feedback: Feedback, extras: str) -> None:
        """Add new feedback with its extras, and count it."""
        place = Cursor.of(feedback)
        steps: list[_Step] = [
            (_put, (self.feedback, feedback.id, feedback)),
            *([(_put, (self.extras, feedback.id, extras))] if extras else ()),
            (insert_place, (self.order, place)),
            (insert_place, (self.sessions[feedback.session_id], place)),
            *((_put, (slots, key, feedback.id)) for slots, key in self._unique_keys(feedback)),
            *self._change_steps(insert_place, feedback),
            *self._counter_steps((feedback, Summary.__add__)),
        ]
        self._take(steps)

    def remove(self, feedback: Feedback) -> None:
        """Remove feedback, and subtract it from the counters."""
        if feedback.id not in self.feedback:
            return
        place = Cursor.of(feedback)
        steps: list[_Step] = [
            (_drop, (self.feedback, feedback.id)),
            (_drop, (self.extras, feedback.id)),
            (_delete, (self.order, place)),
            (_delete, (self.sessions[feedback.session_id], place)),
            *((_drop, (slots, key)) for slots, key in self._unique_keys(feedback)),
            *self._change_steps(_delete, feedback),
            *self._counter_steps((feedback, Summary.__sub__)),
            (_drop_empty, (self.sessions, feedback.session_id)),
        ]
        self._take(steps)

    def replace(self, before: Feedback, after: Feedback) -> None:
        """Replace feedback with another version."""
        steps: list[_Step] = [
            *self._change_steps(_delete, before),
            (_put, (self.feedback, after.id, after)),
            *self._change_steps(insert_place, after),
            *self._counter_steps((before, Summary.__sub__), (after, Summary.__add__)),
        ]
        self._take(steps)

    def places(self, query: FeedbackQuery) -> list[Cursor]:
        """Return the positions of all feedback that may match, oldest first."""
        if query.session_id is not None:
            return self.sessions.get(query.session_id, [])
        return self.pending if query.statuses == _PENDING else self.order

    def occupant(self, feedback: Feedback) -> tuple[Feedback, Taken] | None:
        """Return the feedback that conflicts with this feedback, and the reason, or ``None``."""
        if earlier := self.feedback.get(feedback.id):
            return earlier, Taken.ID
        if feedback.idempotency_key is not None:
            holder = self.keys.get((feedback.session_id, feedback.author, feedback.idempotency_key))
            if holder is not None:
                return self.feedback[holder], Taken.IDEMPOTENCY_KEY
        slot = _vote_slot(feedback)
        if slot is not None and slot in self.votes:
            return self.feedback[self.votes[slot]], Taken.VOTE_SLOT
        return None

    def _unique_keys(self, feedback: Feedback) -> Iterator[tuple[dict[Any, str], object]]:
        """Yield the unique keys of this feedback, each with its index."""
        if feedback.idempotency_key is not None:
            yield self.keys, (feedback.session_id, feedback.author, feedback.idempotency_key)
        if (slot := _vote_slot(feedback)) is not None:
            yield self.votes, slot

    def _change_steps(self, change: Callable[[list[Any], Any], None], feedback: Feedback) -> Iterator[_Step]:
        """Yield the steps for the indexes that depend on the version of feedback."""
        if feedback.version > 1:
            yield change, (self.changed, change_place(feedback))
        if feedback.moderation.status is ModerationStatus.PENDING:
            yield change, (self.pending, Cursor.of(feedback))

    def _counter_steps(self, *changes: tuple[Feedback, Callable[[Summary, Summary], Summary]]) -> Iterator[_Step]:
        """Yield the steps that set the counters to their values after these changes."""
        totals: dict[str | None, Summary] = {}
        slots: dict[tuple[str | None, int], Summary] = {}
        for feedback, change in changes:
            if feedback.is_counted:
                agent_id, summary = feedback.agent_id, Summary.of(feedback)
                slot = (agent_id, slot_number(feedback.created_at))
                totals[agent_id] = change(totals.get(agent_id) or self.totals.get(agent_id) or _EMPTY, summary)
                slots[slot] = change(slots.get(slot) or self.slots.get(slot) or _EMPTY, summary)
        for counters, summaries in ((self.totals, totals), (self.slots, slots)):
            for key, summary in summaries.items():
                yield (_put, (counters, key, summary)) if summary.total else (_drop, (counters, key))


_EMPTY: Final = Summary()
_PENDING: Final = frozenset({ModerationStatus.PENDING})


def _put(mapping: dict[Any, Any], key: object, value: object) -> None:
    mapping[key] = value


def _drop(mapping: dict[Any, Any], key: object) -> None:
    mapping.pop(key, None)


def _drop_empty(mapping: dict[Any, Any], key: object) -> None:
    """Remove a key with an empty value."""
    if not mapping.get(key):
        mapping.pop(key, None)


def insert_place(places: list[Any], place: Any) -> None:
    """Insert a position into a sorted list, unless the list contains it."""
    index = bisect_left(places, place)
    if places[index : index + 1] != [place]:
        places.insert(index, place)


def _delete(places: list[Any], place: Any) -> None:
    index = bisect_left(places, place)
    if places[index : index + 1] == [place]:
        del places[index]


class Events(_Stepwise):
    """Events that were not fanned out yet, with their order."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Event] = {}
        self.order: list[tuple[datetime, str, int, str]] = []

    def put(self, event: Event) -> None:
        """Add an event, or replace the one with its id."""
        self.take(event.id)
        self._take([(_put, (self.by_id, event.id, event)), (insert_place, (self.order, event_order(event)))])

    def take(self, event_id: str) -> Event | None:
        """Remove and return an event; ``None`` if there is none with this id."""
        if (event := self.by_id.get(event_id)) is not None:
            self._take([(_drop, (self.by_id, event_id)), (_delete, (self.order, event_order(event)))])
        return event


class Deliveries(_Stepwise):
    """Deliveries, with their order in each state and channel."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Delivery] = {}
        self.order: defaultdict[tuple[DeliveryState, str], list[_DuePlace]] = defaultdict(list)
        self._subjects: defaultdict[_Subject, dict[str, None]] = defaultdict(dict)
        #: Pending deliveries by subject and channel, in the order of versions.
        self._lanes: defaultdict[tuple[_Subject, str], list[tuple[int, str]]] = defaultdict(list)
        #: By application and id of feedback, the channels that were notified by deliveries that are no longer stored.
        self.notified: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def put(self, delivery: Delivery) -> None:
        """Add a delivery, or replace the one with its id."""
        before = self.by_id.get(delivery.id)
        keep: _Step = (_put, (self.by_id, delivery.id, delivery))
        if before is None:
            subject = (_put, (self._subjects[_subject(delivery.event)], delivery.id, None))
            self._take([keep, subject, *self._place_steps(insert_place, delivery)])
        elif _stays(before, delivery):
            self._take([keep])
        else:
            dropped: _Step = (_drop_empty, (self._lanes, _lane(delivery)))
            moved = (*self._place_steps(_delete, before), keep, *self._place_steps(insert_place, delivery))
            self._take([*moved, dropped])

    def remove(self, delivery: Delivery) -> None:
        """Remove a delivery."""
        subject = _subject(delivery.event)
        steps: list[_Step] = [
            (_drop, (self.by_id, delivery.id)),
            (_drop, (self._subjects[subject], delivery.id)),
            *self._place_steps(_delete, delivery),
            (_drop_empty, (self._subjects, subject)),
            (_drop_empty, (self._lanes, _lane(delivery))),
        ]
        self._take(steps)

    def record_notified(self, delivery: Delivery) -> None:
        """Record that the channel of a delivery was notified of its feedback."""
        event = delivery.event
        if event.type.about_feedback:
            self.notified[event.application, event.subject_id] |= {delivery.channel: None}

    def about(self, event: Event) -> list[Delivery]:
        """Return all deliveries about the subject of an event, in the order of versions."""
        found = [self.by_id[delivery_id] for delivery_id in self._subjects.get(_subject(event), ())]
        return sorted(found, key=lambda delivery: delivery.event.version)

    def next_version(self, delivery: Delivery) -> int:
        """Return the lowest version of the pending deliveries of the same subject to the same channel.

        The delivery itself must be pending.
        """
        version, _ = self._lanes[_lane(delivery)][0]
        return version

    def among(
        self, query: DeliveryQuery, *, after: Delivery | None = None, newest_first: bool = False
    ) -> Iterator[Delivery]:
        """Iterate over the deliveries that may match, earliest due first, or in the reverse order."""
        subject_id = query.feedback_id or query.alert_id
        if subject_id is not None:
            about = self._subjects.get((query.application or "", subject_id, query.alert_id is not None), ())
            orders = [sorted(_due_place(self.by_id[one]) for one in about)]
        else:
            orders = [
                order
                for (state, channel), order in self.order.items()
                if state in query.states and query.channel in (None, channel)
            ]
        parts = (_part(order, after, newest_first=newest_first) for order in orders)
        return (self.by_id[delivery_id] for _, delivery_id in merge(*parts, reverse=newest_first))

    def _place_steps(self, change: Callable[[list[Any], Any], None], delivery: Delivery) -> Iterator[_Step]:
        """Yield the steps for the indexes that depend on the state of a delivery."""
        yield change, (self.order[delivery.state, delivery.channel], _due_place(delivery))
        if delivery.state is DeliveryState.PENDING:
            yield change, (self._lanes[_lane(delivery)], (delivery.event.version, delivery.id))


#: An application, the id of the subject, and whether it is an alert.
_Subject = tuple[str, str, bool]


def _subject(event: Event) -> _Subject:
    return event.application, event.subject_id, event.type.about_alert


def _lane(delivery: Delivery) -> tuple[_Subject, str]:
    return _subject(delivery.event), delivery.channel


#: When a delivery is due, and its id.
_DuePlace = tuple[datetime, str]


def _due_place(delivery: Delivery) -> _DuePlace:
    return delivery.due_at, delivery.id


def _part(order: list[_DuePlace], after: Delivery | None, *, newest_first: bool) -> Iterator[_DuePlace]:
    """Iterate over the places after a delivery, in either direction."""
    if newest_first:
        end = len(order) if after is None else bisect_left(order, _due_place(after))
        return (order[index] for index in range(end - 1, -1, -1))
    return islice(order, 0 if after is None else bisect_right(order, _due_place(after)), None)


def _stays(before: Delivery, after: Delivery) -> bool:
    """Whether a delivery keeps its position in the indexes."""
    return before.state is after.state and before.due_at == after.due_at


class Alerts(_Stepwise):
    """The alerts of one application, with their order: of all, and of each rule and subject."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Alert] = {}
        self.order: list[tuple[datetime, str]] = []
        self.about: defaultdict[tuple[str, Subject], list[tuple[datetime, str]]] = defaultdict(list)

    def put(self, alert: Alert) -> None:
        """Add an alert, or replace the one with its id."""
        before = self.by_id.get(alert.id)
        removals: list[_Step] = []
        if before is not None:
            removals = [(_delete, (order, raised_place(before))) for order in self._orders(before)]
            removals.append((_drop_empty, (self.about, (before.rule, before.subject))))
        self._take([*removals, (_put, (self.by_id, alert.id, alert)), (self._place, (alert,))])

    def _place(self, alert: Alert) -> None:
        for order in self._orders(alert):
            insert_place(order, raised_place(alert))

    def _orders(self, alert: Alert) -> tuple[list[tuple[datetime, str]], list[tuple[datetime, str]]]:
        return self.order, self.about[alert.rule, alert.subject]


def raised_place(alert: Alert) -> tuple[datetime, str]:
    """Return the sort key of an alert."""
    return alert.raised_at, alert.id


def change_place(feedback: Feedback) -> tuple[datetime, str]:
    """Return the sort key of feedback in the order of changes."""
    return feedback.updated_at, feedback.id


def _vote_slot(feedback: Feedback) -> tuple[str, str | None, str] | None:
    if not feedback.vote or feedback.author is None:
        return None
    return feedback.session_id, feedback.message_id, feedback.author


class Conversation:
    """The conversation of a session: its agents, and the messages of each by number, with the sorted numbers."""

    def __init__(self) -> None:
        self.agents: dict[str, JsonObject] = {}
        self.messages: defaultdict[str, dict[int, JsonObject]] = defaultdict(dict)
        self.numbers: defaultdict[str, list[int]] = defaultdict(list)

"""``memory://``: everything in this process, for tests and for trying things out.

It keeps what a real storage keeps and answers as one does, figures from counters included; only durability it has none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from heapq import merge
from itertools import islice, takewhile
from threading import RLock
from typing import Any

from attrs import evolve

from harken.domain.access import ApiKey
from harken.domain.alerts import Alert, Subject
from harken.domain.errors import (
    ConfigurationError,
    DeliveryNotFound,
    FeedbackNotFound,
    LeaseLost,
    StaleFeedback,
    StorageClosed,
)
from harken.domain.events import Delivery, DeliveryState, Event, event_order
from harken.domain.feedback import Feedback
from harken.domain.instants import slot_number, slot_start
from harken.domain.query import Cursor, Dimension, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.alerts import AlertRepository
from harken.ports.conversations import ConversationRepository, JsonObject
from harken.ports.documents import Document, DocumentRepository
from harken.ports.keys import KeyRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.sessions import JsonValue, SessionRepository
from harken.ports.storage import Storage

_EMPTY = Summary()


@contextmanager
def open_storage(url: str = "memory://") -> Iterator[Storage]:
    """A new, empty storage; what ``url`` says behind ``memory://`` is an error, as nothing can be chosen."""
    if url.lower() != "memory://":
        raise ConfigurationError(f"memory:// takes nothing more, got {url!r}")
    data = _Data()
    try:
        yield Storage(
            feedback=MemoryFeedbackRepository(data),
            sessions=MemorySessionRepository(data),
            outbox=MemoryOutbox(data),
            keys=MemoryKeyRepository(data),
            alerts=MemoryAlertRepository(data),
            documents=MemoryDocumentRepository(data),
            conversations=MemoryConversationRepository(data),
        )
    finally:
        data.closed = True


class _Data:
    """What the repositories share, under one lock."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.closed = False
        self.applications: defaultdict[str, _Application] = defaultdict(_Application)
        self.events = _Events()
        self.deliveries = _Deliveries()
        self.metadata: defaultdict[tuple[str, str], dict[str, JsonValue]] = defaultdict(dict)
        self.keys: dict[str, ApiKey] = {}
        self.alerts: defaultdict[str, _Alerts] = defaultdict(_Alerts)
        self.documents: dict[tuple[str, str], Document] = {}
        self.conversations: dict[tuple[str, str], _Conversation] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self.lock:
            if self.closed:
                raise StorageClosed("This memory storage was closed, and what it held is gone")
            yield


class _Application:
    """One application's feedback, with what finds and counts it quickly."""

    def __init__(self) -> None:
        self.feedback: dict[str, Feedback] = {}
        self.order: list[Cursor] = []
        self.changed: list[tuple[datetime, str]] = []
        self.sessions: defaultdict[str, list[Cursor]] = defaultdict(list)
        self.keys: dict[tuple[str, str], str] = {}
        self.votes: dict[tuple[str, str | None, str], str] = {}
        self.totals: defaultdict[str | None, Summary] = defaultdict(Summary)
        self.slots: defaultdict[tuple[str | None, int], Summary] = defaultdict(Summary)

    def insert(self, feedback: Feedback) -> None:
        place = Cursor.behind(feedback)
        self.feedback[feedback.id] = feedback
        insort(self.order, place)
        insort(self.sessions[feedback.session_id], place)
        if feedback.idempotency_key is not None:
            self.keys[feedback.session_id, feedback.idempotency_key] = feedback.id
        if (slot := _vote_slot(feedback)) is not None:
            self.votes[slot] = feedback.id
        self._note_change(feedback)
        self._count(feedback, Summary.__add__)

    def remove(self, feedback: Feedback) -> None:
        place = Cursor.behind(feedback)
        del self.feedback[feedback.id]
        del self.order[bisect_left(self.order, place)]
        in_session = self.sessions[feedback.session_id]
        del in_session[bisect_left(in_session, place)]
        if feedback.idempotency_key is not None:
            del self.keys[feedback.session_id, feedback.idempotency_key]
        if (slot := _vote_slot(feedback)) is not None:
            del self.votes[slot]
        self._forget_change(feedback)
        self._count(feedback, Summary.__sub__)

    def replace(self, before: Feedback, after: Feedback) -> None:
        self._count(before, Summary.__sub__)
        self._forget_change(before)
        self.feedback[after.id] = after
        self._note_change(after)
        self._count(after, Summary.__add__)

    def places(self, query: FeedbackQuery) -> list[Cursor]:
        """Where to look for what matches, oldest first."""
        return self.order if query.session_id is None else self.sessions.get(query.session_id, [])

    def occupant(self, feedback: Feedback) -> tuple[Feedback, Taken] | None:
        """Who has the place of this feedback, and which."""
        if earlier := self.feedback.get(feedback.id):
            return earlier, Taken.ID
        if feedback.idempotency_key is not None:
            holder = self.keys.get((feedback.session_id, feedback.idempotency_key))
            if holder is not None:
                return self.feedback[holder], Taken.IDEMPOTENCY_KEY
        slot = _vote_slot(feedback)
        if slot is not None and slot in self.votes:
            return self.feedback[self.votes[slot]], Taken.VOTE_SLOT
        return None

    def _note_change(self, feedback: Feedback) -> None:
        if feedback.version > 1:
            insort(self.changed, _change_place(feedback))

    def _forget_change(self, feedback: Feedback) -> None:
        if feedback.version > 1:
            del self.changed[bisect_left(self.changed, _change_place(feedback))]

    def _count(self, feedback: Feedback, change: Callable[[Summary, Summary], Summary]) -> None:
        if not feedback.counts:
            return
        agent_id, figures = feedback.agent_id, Summary.of(feedback)
        slot = (agent_id, slot_number(feedback.created_at))
        self.totals[agent_id] = change(self.totals[agent_id], figures)
        self.slots[slot] = change(self.slots[slot], figures)
        if not self.slots[slot].total:
            del self.slots[slot]
        if not self.totals[agent_id].total:
            del self.totals[agent_id]


class _Events:
    """Events that wait, with their order."""

    def __init__(self) -> None:
        self.by_id: dict[str, Event] = {}
        self.order: list[tuple[datetime, str, int, str]] = []

    def put(self, event: Event) -> None:
        self.take(event.id)
        self.by_id[event.id] = event
        insort(self.order, event_order(event))

    def take(self, event_id: str) -> Event | None:
        """That event, which waits no longer."""
        if (event := self.by_id.pop(event_id, None)) is not None:
            del self.order[bisect_left(self.order, event_order(event))]
        return event


class _Deliveries:
    """Deliveries, with their order in each state and channel."""

    def __init__(self) -> None:
        self.by_id: dict[str, Delivery] = {}
        self.order: defaultdict[tuple[DeliveryState, str], list[_DuePlace]] = defaultdict(list)

    def put(self, delivery: Delivery) -> None:
        before = self.by_id.get(delivery.id)
        self.by_id[delivery.id] = delivery
        if before is not None and _stays(before, delivery):
            return
        if before is not None:
            self._leave(before)
        insort(self.order[delivery.state, delivery.channel], _due_place(delivery))

    def remove(self, delivery: Delivery) -> None:
        del self.by_id[delivery.id]
        self._leave(delivery)

    def within(self, state: DeliveryState, channel: str | None, *, after: Delivery | None = None) -> Iterator[Delivery]:
        """Those in that state, of one channel or of all, earliest due first."""
        orders = [order for (in_state, of), order in self.order.items() if in_state is state and channel in (None, of)]
        if after is None:
            places = merge(*orders)
        else:
            place = _due_place(after)
            places = merge(*(islice(order, bisect_right(order, place), None) for order in orders))
        return (self.by_id[delivery_id] for _, delivery_id in places)

    def _leave(self, delivery: Delivery) -> None:
        order = self.order[delivery.state, delivery.channel]
        del order[bisect_left(order, _due_place(delivery))]


#: When a delivery is due, and its id.
_DuePlace = tuple[datetime, str]


def _due_place(delivery: Delivery) -> _DuePlace:
    return delivery.due_at, delivery.id


def _stays(before: Delivery, after: Delivery) -> bool:
    """Whether a delivery keeps its place in the order."""
    return before.state is after.state and before.due_at == after.due_at


class _Alerts:
    """One application's alerts, with their order: of all, and of each rule and subject."""

    def __init__(self) -> None:
        self.by_id: dict[str, Alert] = {}
        self.order: list[tuple[datetime, str]] = []
        self.about: defaultdict[tuple[str, Subject], list[tuple[datetime, str]]] = defaultdict(list)

    def put(self, alert: Alert) -> None:
        if (before := self.by_id.get(alert.id)) is not None:
            for order in self._orders(before):
                del order[bisect_left(order, _raised_place(before))]
        self.by_id[alert.id] = alert
        for order in self._orders(alert):
            insort(order, _raised_place(alert))

    def _orders(self, alert: Alert) -> tuple[list[tuple[datetime, str]], list[tuple[datetime, str]]]:
        return self.order, self.about[alert.rule, alert.subject]


def _raised_place(alert: Alert) -> tuple[datetime, str]:
    return alert.raised_at, alert.id


def _change_place(feedback: Feedback) -> tuple[datetime, str]:
    return feedback.updated_at, feedback.id


def _vote_slot(feedback: Feedback) -> tuple[str, str | None, str] | None:
    if not feedback.vote or feedback.author is None:
        return None
    return feedback.session_id, feedback.message_id, feedback.author


class MemoryFeedbackRepository(FeedbackRepository):
    """Feedback in dictionaries and sorted lists."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        """See the port."""
        with self._data.locked():
            return [self._add(item) for item in batch]

    def get(self, application: str, feedback_id: str) -> Feedback:
        """See the port."""
        with self._data.locked():
            found = self._data.applications[application].feedback.get(feedback_id)
        if found is None:
            raise FeedbackNotFound(application, feedback_id)
        return found

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """See the port."""
        with self._data.locked():
            there = self._data.applications[application].feedback
            return {feedback_id: there[feedback_id] for feedback_id in feedback_ids if feedback_id in there}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        """See the port."""
        with self._data.locked():
            application = self._data.applications[query.application]
            places = application.places(query)
            end = len(places) if after is None else bisect_left(places, after)
            found: list[Feedback] = []
            for index in range(end - 1, -1, -1):
                feedback = application.feedback[places[index].id]
                if query.matches(feedback):
                    if len(found) == limit:
                        return Page(tuple(found), Cursor.behind(found[-1]))
                    found.append(feedback)
        return Page(tuple(found))

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """See the port."""
        with self._data.locked():
            application = self._data.applications[query.application]
            places = tuple(application.places(query))
        for place in places:
            feedback = application.feedback.get(place.id)
            if feedback is not None and query.matches(feedback):
                yield feedback

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """See the port."""
        with self._data.locked():
            kept = self._data.applications[application]
            places = kept.changed[bisect_left(kept.changed, (since, "")) :]
        for place in places:
            feedback = kept.feedback.get(place[1])
            if feedback is not None and _change_place(feedback) == place:
                yield feedback

    def applications(self) -> Sequence[str]:
        """See the port."""
        with self._data.locked():
            return sorted(name for name, application in self._data.applications.items() if application.feedback)

    def replace(self, feedback: Feedback, events: Sequence[Event]) -> None:
        """See the port."""
        with self._data.locked():
            stored = self.get(feedback.application, feedback.id)
            if stored.version != feedback.version - 1:
                raise StaleFeedback(
                    f"Feedback {feedback.id!r} has version {stored.version} by now; "
                    f"version {feedback.version} cannot follow it"
                )
            self._data.applications[feedback.application].replace(stored, feedback)
            for event in events:
                self._data.events.put(event)

    def erase(self, query: FeedbackQuery) -> int:
        """See the port."""
        with self._data.locked():
            erased = {feedback.id for feedback in self.stream(query)}
            application = self._data.applications[query.application]
            for feedback_id in erased:
                application.remove(application.feedback[feedback_id])

            def about_erased(event: Event) -> bool:
                known = event.application == query.application and event.subject_id in erased
                return known and not event.type.about_alert

            for event in [event for event in self._data.events.by_id.values() if about_erased(event)]:
                self._data.events.take(event.id)
            deliveries = self._data.deliveries.by_id.values()
            for delivery in [delivery for delivery in deliveries if about_erased(delivery.event)]:
                self._data.deliveries.remove(delivery)
        return len(erased)

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        """See the port."""
        with self._data.locked():
            counters = self._counters(query, group_by)
            if counters is not None:
                return _merged(counters)
            matching = list(self.stream(query))
        if group_by is None:
            return _merged((None, Summary.of(feedback)) for feedback in matching)
        return _merged((key, Summary.of(feedback)) for feedback in matching for key in group_by.keys(feedback))

    def _add(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        application = self._data.applications[feedback.application]
        if (occupant := application.occupant(feedback)) is None:
            application.insert(feedback)
            for event in item.events:
                self._data.events.put(event)
            return Stored(feedback)
        earlier, taken = occupant
        same_body = taken is Taken.IDEMPOTENCY_KEY and earlier.fingerprint == feedback.fingerprint
        if same_body or (taken is Taken.ID and earlier == feedback):
            return DuplicateOf(earlier)
        return Conflict(earlier, taken)

    def _counters(self, query: FeedbackQuery, group_by: GroupBy | None) -> Iterable[tuple[GroupKey, Summary]] | None:
        """The figures from counters, where the query is one that they can answer."""
        plain = FeedbackQuery(application=query.application, agent_id=query.agent_id)
        dimension = group_by.dimension if group_by else None
        if query != plain or dimension not in (None, Dimension.AGENT, Dimension.SLOT):
            return None
        application = self._data.applications[query.application]
        if dimension is Dimension.SLOT:
            return [
                (slot_start(slot), figures)
                for (agent_id, slot), figures in application.slots.items()
                if query.agent_id in (None, agent_id)
            ]
        return [
            (agent_id if dimension else None, figures)
            for agent_id, figures in application.totals.items()
            if query.agent_id in (None, agent_id)
        ]


def _merged(parts: Iterable[tuple[GroupKey, Summary]]) -> dict[GroupKey, Summary]:
    groups: dict[GroupKey, Summary] = {}
    for key, figures in parts:
        groups[key] = groups.get(key, _EMPTY) + figures
    return groups


class MemorySessionRepository(SessionRepository):
    """Sessions' metadata in dictionaries; copies go in and out."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """See the port."""
        with self._data.locked():
            return deepcopy(dict(sorted(self._data.metadata.get((application, session_id), {}).items())))

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        """See the port."""
        with self._data.locked():
            self._data.metadata[application, session_id].update(deepcopy(dict(changes)))

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        """See the port."""
        with self._data.locked():
            metadata = self._data.metadata[application, session_id]
            doomed = metadata.keys() & (metadata.keys() if keys is None else set(keys))
            for key in doomed:
                del metadata[key]
            if not metadata:
                del self._data.metadata[application, session_id]
            return len(doomed)

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        """See the port."""
        with self._data.locked():
            places = sorted(self._data.metadata)
        for application, session_id in places:
            if metadata := self.get(application, session_id):
                yield application, session_id, metadata


class MemoryOutbox(Outbox):
    """Events and deliveries in dictionaries and sorted lists."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        with self._data.locked():
            events = self._data.events
            return [events.by_id[event_id] for *_, event_id in events.order[:limit]]

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            made = [
                Delivery.of(event, channel, due_at=due_at)
                for planned, channels in plan
                if (event := self._data.events.take(planned.id)) is not None
                for channel in sorted(set(channels))
            ]
            for delivery in made:
                self._data.deliveries.put(delivery)
            return made

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            pending = self._data.deliveries.within(DeliveryState.PENDING, channel)
            due = takewhile(lambda delivery: delivery.due_at <= now, pending)
            free = (d for d in due if d.leased_until is None or d.leased_until <= now)
            claimed = [evolve(d, leased_until=until, attempts=d.attempts + 1) for d in islice(free, limit)]
            for delivery in claimed:
                self._data.deliveries.put(delivery)
            return claimed

    def release(self, claimed: Sequence[Delivery]) -> None:
        """See the port."""
        with self._data.locked():
            for claim in claimed:
                self._end(claim, attempts=claim.attempts - 1)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            return [claim for claim in claimed if not self._end(claim, state=DeliveryState.DELIVERED, error="")]

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._must_end(delivery, due_at=due_at, error=error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._must_end(delivery, state=DeliveryState.DEAD, error=error)

    def delivery(self, delivery_id: str) -> Delivery:
        """See the port."""
        with self._data.locked():
            stored = self._data.deliveries.by_id.get(delivery_id)
        if stored is None:
            raise DeliveryNotFound(f"There is no delivery {delivery_id!r}")
        return stored

    def deliveries(
        self,
        state: DeliveryState,
        *,
        limit: int,
        after: Delivery | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            there = self._data.deliveries.within(state, channel, after=after)
            return list(islice((d for d in there if application in (None, d.event.application)), limit))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""
        with self._data.locked():
            stored = self._data.deliveries.by_id.get(delivery_id)
            if stored is None or stored.state is not DeliveryState.DEAD:
                raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")
            pending = evolve(stored, state=DeliveryState.PENDING, due_at=due_at, error="")
            revived = evolve(pending, attempts_before=stored.attempts)
            self._data.deliveries.put(revived)
            return revived

    def forget(self, *, before: datetime) -> int:
        """See the port."""
        with self._data.locked():
            delivered = self._data.deliveries.within(DeliveryState.DELIVERED, None)
            old = list(takewhile(lambda delivery: delivery.due_at < before, delivered))
            for delivery in old:
                self._data.deliveries.remove(delivery)
            return len(old)

    def _must_end(self, claim: Delivery, **changes: Any) -> None:
        with self._data.locked():
            if not self._end(claim, **changes):
                raise LeaseLost(f"The claim on delivery {claim.id!r} is no longer the latest")

    def _end(self, claim: Delivery, **changes: Any) -> bool:
        """End the lease of a claim, and say whether it was held."""
        stored = self._data.deliveries.by_id.get(claim.id)
        held = stored is not None and stored.state is DeliveryState.PENDING and stored.leased_until is not None
        if stored is None or not held or stored.attempts != claim.attempts:
            return False
        self._data.deliveries.put(evolve(stored, leased_until=None, **changes))
        return True


class MemoryKeyRepository(KeyRepository):
    """API keys in a dictionary."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def add(self, key: ApiKey) -> bool:
        """See the port."""
        with self._data.locked():
            if key.id in self._data.keys:
                return False
            self._data.keys[key.id] = key
            return True

    def get(self, key_id: str) -> ApiKey | None:
        """See the port."""
        with self._data.locked():
            return self._data.keys.get(key_id)

    def keys(self) -> Sequence[ApiKey]:
        """See the port."""
        with self._data.locked():
            return sorted(self._data.keys.values(), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """See the port."""
        with self._data.locked():
            if (key := self._data.keys.get(key_id)) is None:
                return None
            self._data.keys[key_id] = revoked = key.revoke(at=at)
            return revoked


class MemoryAlertRepository(AlertRepository):
    """Alerts in dictionaries and sorted lists."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def add(self, alert: Alert, event: Event) -> bool:
        """See the port."""
        with self._data.locked():
            if alert.id in self._data.alerts[alert.application].by_id:
                return False
            self._put(alert, event)
            return True

    def replace(self, alert: Alert, event: Event) -> bool:
        """See the port."""
        with self._data.locked():
            stored = self._data.alerts[alert.application].by_id.get(alert.id)
            if stored is None or stored.version != alert.version - 1:
                return False
            self._put(alert, event)
            return True

    def get(self, application: str, alert_id: str) -> Alert | None:
        """See the port."""
        with self._data.locked():
            return self._data.alerts[application].by_id.get(alert_id)

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        """See the port."""
        with self._data.locked():
            alerts = self._data.alerts[application]
            places = alerts.about.get((rule, subject))
            return alerts.by_id[places[-1][1]] if places else None

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
        with self._data.locked():
            alerts = self._data.alerts[application]
            start = 0 if since is None else bisect_left(alerts.order, (since, ""))
            end = len(alerts.order) if after is None else bisect_left(alerts.order, _raised_place(after))
            last_first = (alerts.by_id[alerts.order[index][1]] for index in range(end - 1, start - 1, -1))
            wanted = (alert for alert in last_first if standing in (None, alert.stands) and rule in (None, alert.rule))
            return list(islice(wanted, limit))

    def _put(self, alert: Alert, event: Event) -> None:
        self._data.alerts[alert.application].put(alert)
        self._data.events.put(event)


class MemoryDocumentRepository(DocumentRepository):
    """Documents in a dictionary; copies go in and out."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def all(self, kind: str) -> Sequence[Document]:
        """See the port."""
        with self._data.locked():
            return [deepcopy(document) for (of, _), document in sorted(self._data.documents.items()) if of == kind]

    def get(self, kind: str, name: str) -> Document | None:
        """See the port."""
        with self._data.locked():
            return deepcopy(self._data.documents.get((kind, name)))

    def put(self, kind: str, document: Document) -> bool:
        """See the port."""
        with self._data.locked():
            stored = self._data.documents.get((kind, document.name))
            if document.version != (stored.version if stored else 0) + 1:
                return False
            self._data.documents[kind, document.name] = deepcopy(document)
            return True

    def delete(self, kind: str, name: str) -> bool:
        """See the port."""
        with self._data.locked():
            return self._data.documents.pop((kind, name), None) is not None


class _Conversation:
    """What is kept of a session: its agents, and the messages of each by number, with the numbers in order."""

    def __init__(self) -> None:
        self.agents: dict[str, JsonObject] = {}
        self.messages: defaultdict[str, dict[int, JsonObject]] = defaultdict(dict)
        self.numbers: defaultdict[str, list[int]] = defaultdict(list)


class MemoryConversationRepository(ConversationRepository):
    """Conversations in dictionaries; copies go in and out."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        """See the port."""
        with self._data.locked():
            return deepcopy(dict(sorted(self._read(application, session_id).agents.items())))

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        """See the port."""
        with self._data.locked():
            return deepcopy(self._read(application, session_id).agents.get(agent_id))

    def put_agent(self, application: str, session_id: str, agent_id: str, value: JsonObject) -> None:
        """See the port."""
        with self._data.locked():
            self._write(application, session_id).agents[agent_id] = deepcopy(value)

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """See the port."""
        with self._data.locked():
            if number in self._read(application, session_id).messages.get(agent_id, {}):
                return False
            conversation = self._write(application, session_id)
            conversation.messages[agent_id][number] = deepcopy(message)
            insort(conversation.numbers[agent_id], number)
            return True

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        """See the port."""
        with self._data.locked():
            messages = self._read(application, session_id).messages.get(agent_id, {})
            if number not in messages:
                return False
            messages[number] = deepcopy(message)
            return True

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        """See the port."""
        with self._data.locked():
            messages = self._read(application, session_id).messages
            return sorted(agent_id for agent_id, said in messages.items() if said)

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        """See the port."""
        with self._data.locked():
            conversation = self._read(application, session_id)
            numbers = conversation.numbers.get(agent_id, [])
            first = bisect_right(numbers, after)
            messages = conversation.messages.get(agent_id, {})
            return [(number, deepcopy(messages[number])) for number in numbers[first : first + limit]]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        """See the port."""
        with self._data.locked():
            messages = self._read(application, session_id).messages
            return sum(len(one) for of, one in messages.items() if agent_id in (None, of))

    def erase(self, application: str, session_id: str) -> int:
        """See the port."""
        with self._data.locked():
            erased = self._data.conversations.pop((application, session_id), _Conversation())
            return sum(map(len, erased.messages.values()))

    def sessions(self) -> Iterator[tuple[str, str]]:
        """See the port."""
        with self._data.locked():
            there = sorted(self._data.conversations)
        yield from there

    def _read(self, application: str, session_id: str) -> _Conversation:
        return self._data.conversations.get((application, session_id)) or _Conversation()

    def _write(self, application: str, session_id: str) -> _Conversation:
        return self._data.conversations.setdefault((application, session_id), _Conversation())

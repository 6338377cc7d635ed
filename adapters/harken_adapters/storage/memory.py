"""``memory://``: everything in this process, for tests and for trying things out.

It keeps what a real storage keeps and answers as one does, figures from counters included; only durability it has none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from threading import RLock
from typing import Any

from attrs import evolve

from harken.domain.access import ApiKey
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
        )
    finally:
        data.closed = True


class _Data:
    """What the four repositories share, under one lock."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.closed = False
        self.applications: defaultdict[str, _Application] = defaultdict(_Application)
        self.events: dict[str, Event] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.metadata: defaultdict[tuple[str, str], dict[str, JsonValue]] = defaultdict(dict)
        self.keys: dict[str, ApiKey] = {}

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
            self._data.events.update((event.id, event) for event in events)

    def erase(self, query: FeedbackQuery) -> int:
        """See the port."""
        with self._data.locked():
            erased = {feedback.id for feedback in self.stream(query)}
            application = self._data.applications[query.application]
            for feedback_id in erased:
                application.remove(application.feedback[feedback_id])

            def about_erased(event: Event) -> bool:
                return event.application == query.application and event.feedback_id in erased

            self._data.events = {id_: e for id_, e in self._data.events.items() if not about_erased(e)}
            self._data.deliveries = {id_: d for id_, d in self._data.deliveries.items() if not about_erased(d.event)}
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
            self._data.events.update((event.id, event) for event in item.events)
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
    """Events and deliveries in dictionaries."""

    def __init__(self, data: _Data) -> None:
        self._data = data

    def events(self, *, limit: int) -> Sequence[Event]:
        """See the port."""
        with self._data.locked():
            waiting = sorted(self._data.events.values(), key=event_order)
        return waiting[:limit]

    def fan_out(self, event: Event, channels: Collection[str], *, due_at: datetime) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            stored = self._data.events.pop(event.id, None)
            if stored is None:
                return []
            made = [
                Delivery(id=Delivery.id_for(stored.id, channel), event=stored, channel=channel, due_at=due_at)
                for channel in sorted(set(channels))
            ]
            self._data.deliveries.update((delivery.id, delivery) for delivery in made)
            return made

    def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            due = [
                delivery
                for delivery in self.deliveries(DeliveryState.PENDING, limit=len(self._data.deliveries))
                if delivery.due_at <= now and (delivery.leased_until is None or delivery.leased_until <= now)
            ]
            claimed = [evolve(d, leased_until=until, attempts=d.attempts + 1) for d in due[:limit]]
            self._data.deliveries.update((delivery.id, delivery) for delivery in claimed)
            return claimed

    def settle(self, delivery: Delivery) -> None:
        """See the port."""
        self._release(delivery, state=DeliveryState.DELIVERED, error="")

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        """See the port."""
        self._release(delivery, due_at=due_at, error=error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        """See the port."""
        self._release(delivery, state=DeliveryState.DEAD, error=error)

    def deliveries(self, state: DeliveryState, *, limit: int) -> Sequence[Delivery]:
        """See the port."""
        with self._data.locked():
            in_state = [delivery for delivery in self._data.deliveries.values() if delivery.state is state]
        return sorted(in_state, key=lambda delivery: (delivery.due_at, delivery.id))[:limit]

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        """See the port."""
        with self._data.locked():
            stored = self._data.deliveries.get(delivery_id)
            if stored is None or stored.state is not DeliveryState.DEAD:
                raise DeliveryNotFound(f"There is no dead delivery {delivery_id!r}")
            revived = evolve(stored, state=DeliveryState.PENDING, due_at=due_at, error="")
            self._data.deliveries[delivery_id] = revived
            return revived

    def _release(self, delivery: Delivery, **changes: Any) -> None:
        with self._data.locked():
            stored = self._data.deliveries.get(delivery.id)
            held = stored is not None and stored.state is DeliveryState.PENDING and stored.leased_until is not None
            if stored is None or not held or stored.attempts != delivery.attempts:
                raise LeaseLost(f"The claim on delivery {delivery.id!r} is no longer the latest")
            self._data.deliveries[delivery.id] = evolve(stored, leased_until=None, **changes)


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

"""The reference model: the ports implemented so plainly that they can be believed.

No index, no counter, no lock: lists, loops and sorting. Every storage must answer every operation as this does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from attrs import evolve

from harken.domain.access import ApiKey
from harken.domain.errors import DeliveryNotFound, FeedbackNotFound, LeaseLost, StaleFeedback
from harken.domain.events import Delivery, DeliveryState, Event, event_order
from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.keys import KeyRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.sessions import JsonValue, SessionRepository
from harken.ports.storage import Storage


def reference_storage() -> Storage:
    """An empty reference model; not thread-safe, and slow."""
    feedback = _Feedback()
    return Storage(feedback=feedback, sessions=_Sessions(), outbox=feedback.outbox, keys=_Keys())


class _Feedback(FeedbackRepository):
    def __init__(self) -> None:
        self.stored: list[Feedback] = []
        self.outbox = _Outbox()

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._add(item) for item in batch]

    def get(self, application: str, feedback_id: str) -> Feedback:
        for feedback in self.stored:
            if (feedback.application, feedback.id) == (application, feedback_id):
                return feedback
        raise FeedbackNotFound(application, feedback_id)

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        newest_first = list(self.stream(query))[::-1]
        behind = [feedback for feedback in newest_first if after is None or Cursor.behind(feedback) < after]
        items = tuple(behind[:limit])
        return Page(items, Cursor.behind(items[-1]) if len(behind) > limit else None)

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        return iter(sorted(filter(query.matches, self.stored), key=Cursor.behind))

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        changed = [one for one in self.stored if one.application == application and one.version > 1]
        recent = [one for one in changed if one.updated_at >= since]
        return iter(sorted(recent, key=lambda one: (one.updated_at, one.id)))

    def applications(self) -> Sequence[str]:
        return sorted({feedback.application for feedback in self.stored})

    def replace(self, feedback: Feedback, events: Sequence[Event]) -> None:
        stored = self.get(feedback.application, feedback.id)
        if stored.version != feedback.version - 1:
            raise StaleFeedback(feedback.id)
        self.stored[self.stored.index(stored)] = feedback
        self.outbox.waiting.extend(events)

    def erase(self, query: FeedbackQuery) -> int:
        erased = list(self.stream(query))
        self.stored = [feedback for feedback in self.stored if feedback not in erased]
        self.outbox.forget({(feedback.application, feedback.id) for feedback in erased})
        return len(erased)

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        groups: dict[GroupKey, Summary] = {}
        for feedback in self.stream(query):
            for key in group_by.keys(feedback) if group_by else (None,):
                groups[key] = groups.get(key, Summary()) + Summary.of(feedback)
        return groups

    def _add(self, item: Accepted) -> Outcome:
        for taken, same in ((Taken.ID, _same_id), (Taken.IDEMPOTENCY_KEY, _same_key), (Taken.VOTE_SLOT, _same_vote)):
            for earlier in self.stored:
                if same(earlier, item.feedback):
                    return _occupied(earlier, item.feedback, taken)
        self.stored.append(item.feedback)
        self.outbox.waiting.extend(item.events)
        return Stored(item.feedback)


def _same_id(one: Feedback, other: Feedback) -> bool:
    return (one.application, one.id) == (other.application, other.id)


def _same_session(one: Feedback, other: Feedback) -> bool:
    return (one.application, one.session_id) == (other.application, other.session_id)


def _same_key(one: Feedback, other: Feedback) -> bool:
    return _same_session(one, other) and other.idempotency_key is not None is not one.idempotency_key == (
        other.idempotency_key
    )


def _same_vote(one: Feedback, other: Feedback) -> bool:
    same_slot = (one.message_id, one.author) == (other.message_id, other.author)
    return _same_session(one, other) and one.vote and other.vote and other.author is not None and same_slot


def _occupied(earlier: Feedback, feedback: Feedback, taken: Taken) -> Outcome:
    same_body = taken is Taken.IDEMPOTENCY_KEY and earlier.fingerprint == feedback.fingerprint
    if same_body or (taken is Taken.ID and earlier == feedback):
        return DuplicateOf(earlier)
    return Conflict(earlier, taken)


class _Sessions(SessionRepository):
    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], dict[str, JsonValue]] = {}

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        return deepcopy(dict(sorted(self.stored.get((application, session_id), {}).items())))

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        self.stored.setdefault((application, session_id), {}).update(deepcopy(dict(changes)))

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        metadata = self.stored.get((application, session_id), {})
        doomed = set(metadata) if keys is None else set(metadata) & set(keys)
        for key in doomed:
            del metadata[key]
        return len(doomed)

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        there = [(application, session_id) for (application, session_id), metadata in self.stored.items() if metadata]
        return iter([(*place, self.get(*place)) for place in sorted(there)])


class _Outbox(Outbox):
    def __init__(self) -> None:
        self.waiting: list[Event] = []
        self.made: list[Delivery] = []

    def events(self, *, limit: int) -> Sequence[Event]:
        return sorted(self.waiting, key=event_order)[:limit]

    def fan_out(self, event: Event, channels: Collection[str], *, due_at: datetime) -> Sequence[Delivery]:
        if event not in self.waiting:
            return []
        self.waiting.remove(event)
        made = [
            Delivery(id=Delivery.id_for(event.id, channel), event=event, channel=channel, due_at=due_at)
            for channel in sorted(set(channels))
        ]
        self.made += made
        return made

    def claim(self, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        due = [
            delivery
            for delivery in self._in(DeliveryState.PENDING)
            if delivery.due_at <= now and (delivery.leased_until is None or delivery.leased_until <= now)
        ]
        return [
            self._put(evolve(delivery, leased_until=until, attempts=delivery.attempts + 1)) for delivery in due[:limit]
        ]

    def settle(self, delivery: Delivery) -> None:
        self._release(delivery, state=DeliveryState.DELIVERED, error="")

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        self._release(delivery, due_at=due_at, error=error)

    def bury(self, delivery: Delivery, *, error: str) -> None:
        self._release(delivery, state=DeliveryState.DEAD, error=error)

    def deliveries(self, state: DeliveryState, *, limit: int) -> Sequence[Delivery]:
        return self._in(state)[:limit]

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        for delivery in self._in(DeliveryState.DEAD):
            if delivery.id == delivery_id:
                return self._put(evolve(delivery, state=DeliveryState.PENDING, due_at=due_at, error=""))
        raise DeliveryNotFound(delivery_id)

    def forget(self, feedback: set[tuple[str, str]]) -> None:
        self.waiting = [event for event in self.waiting if (event.application, event.feedback_id) not in feedback]
        self.made = [
            delivery
            for delivery in self.made
            if (delivery.event.application, delivery.event.feedback_id) not in feedback
        ]

    def _in(self, state: DeliveryState) -> list[Delivery]:
        return sorted(
            (delivery for delivery in self.made if delivery.state is state),
            key=lambda delivery: (delivery.due_at, delivery.id),
        )

    def _put(self, delivery: Delivery) -> Delivery:
        self.made = [other for other in self.made if other.id != delivery.id] + [delivery]
        return delivery

    def _release(self, delivery: Delivery, **changes: Any) -> None:
        for stored in self._in(DeliveryState.PENDING):
            held = stored.id == delivery.id and stored.leased_until is not None
            if held and stored.attempts == delivery.attempts:
                self._put(evolve(stored, leased_until=None, **changes))
                return
        raise LeaseLost(delivery.id)


class _Keys(KeyRepository):
    def __init__(self) -> None:
        self.stored: list[ApiKey] = []

    def add(self, key: ApiKey) -> bool:
        if self.get(key.id) is not None:
            return False
        self.stored.append(key)
        return True

    def get(self, key_id: str) -> ApiKey | None:
        for key in self.stored:
            if key.id == key_id:
                return key
        return None

    def keys(self) -> Sequence[ApiKey]:
        return sorted(self.stored, key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        key = self.get(key_id)
        if key is None:
            return None
        revoked = key if key.revoked_at is not None else evolve(key, revoked_at=at)
        self.stored[self.stored.index(key)] = revoked
        return revoked

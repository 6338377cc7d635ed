"""The reference model: the simplest implementation of the ports. Every storage must behave exactly like it.

It has no indexes, counters or locks, only lists, loops and sorting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from attrs import evolve

from harken.domain.access import ApiKey
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.erasure import Erased
from harken.domain.errors import DeliveryNotFound, FeedbackNotFound, LeaseLost, StaleFeedback
from harken.domain.events import (
    CauseCount,
    Delivery,
    DeliveryQuery,
    DeliveryState,
    Event,
    erasure_deliveries,
    event_order,
    group_by_cause,
)
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.sampling import AuthorRatings, count_by_author
from harken.domain.insight.terms import TermCounts
from harken.domain.metadata import MetadataSize
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.domain.texts import as_texts
from harken.ports.alerts import AlertRepository
from harken.ports.conversations import ConversationRepository, JsonObject
from harken.ports.keys import KeyRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions, SessionRepository
from harken.ports.state import StateEntry, StateRepository
from harken.ports.storage import Storage


def reference_storage() -> Storage:
    """Return an empty reference model. It is slow and not thread-safe."""
    feedback = _Feedback()
    return Storage(
        feedback=feedback,
        sessions=_Sessions(),
        outbox=feedback.outbox,
        keys=_Keys(),
        alerts=feedback.alerts,
        state=_State(),
        conversations=_Conversations(),
    )


class _Feedback(FeedbackRepository):
    def __init__(self) -> None:
        self.stored: list[Feedback] = []
        self.extras_stored: dict[tuple[str, str], str] = {}
        self.outbox = _Outbox(self)
        self.alerts = _Alerts(self.outbox)

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._add(item) for item in batch]

    def get(self, application: str, feedback_id: str) -> Feedback:
        for feedback in self.stored:
            if (feedback.application, feedback.id) == (application, feedback_id):
                return feedback
        raise FeedbackNotFound(application, feedback_id)

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        ours = [feedback for feedback in self.stored if feedback.application == application]
        return {feedback.id: feedback for feedback in ours if feedback.id in feedback_ids}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        newest_first = list(self.stream(query))[::-1]
        rest = [feedback for feedback in newest_first if after is None or Cursor.of(feedback) < after]
        items = tuple(rest[:limit])
        return Page(items, Cursor.of(items[-1]) if len(rest) > limit else None)

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        return iter(sorted(filter(query.matches, self.stored), key=Cursor.of))

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        stored = self.get_many(application, feedback_ids)
        return {id_: extras for id_ in stored if (extras := self.extras_stored.get((application, id_)))}

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        changed = [one for one in self.stored if one.application == application and one.version > 1]
        recent = [one for one in changed if one.updated_at >= since]
        return iter(sorted(recent, key=lambda one: (one.updated_at, one.id)))

    def applications(self) -> Sequence[str]:
        return sorted({feedback.application for feedback in self.stored})

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        stored = self.get(feedback.application, feedback.id)
        if stored.version != (feedback.version - 1 if over is None else over):
            raise StaleFeedback(feedback.id)
        self.stored[self.stored.index(stored)] = feedback
        self.outbox.waiting.extend(events)

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        erased = list(self.stream(query))[:limit]
        self.stored = [feedback for feedback in self.stored if feedback not in erased]
        for feedback in erased:
            self.extras_stored.pop((feedback.application, feedback.id), None)
        left = {feedback.session_id for feedback in self.stored if feedback.application == query.application}
        return Erased(
            feedback=len(erased),
            alerts=self.alerts.empty(query.application, erased, left, at),
            deliveries=sum(self.outbox.erase(feedback, at) for feedback in erased),
        )

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        groups: dict[GroupKey, Summary] = {}
        for feedback in self.stream(query):
            for key in group_by.keys(feedback) if group_by else (None,):
                groups[key] = groups.get(key, Summary()) + Summary.of(feedback)
        return groups

    def ratings_by_author(
        self, query: FeedbackQuery, group_by: GroupBy | None = None, *, limit: int
    ) -> Sequence[AuthorRatings]:
        rated = [one for one in self.stream(query) if one.rating is not Rating.NEUTRAL]
        return count_by_author(rated[-limit:], group_by)

    def term_counts(self, application: str) -> TermCounts:
        return TermCounts.fold(self.stream(FeedbackQuery(application=application)))

    def _add(self, item: Accepted) -> Outcome:
        for taken, same in ((Taken.ID, _same_id), (Taken.IDEMPOTENCY_KEY, _same_key), (Taken.VOTE_SLOT, _same_vote)):
            for earlier in self.stored:
                if same(earlier, item.feedback):
                    return _refuse(earlier, item.feedback, taken)
        self.stored.append(item.feedback)
        self.extras_stored[item.feedback.application, item.feedback.id] = item.extras
        self.outbox.waiting.extend(item.events)
        return Stored(item.feedback)


def _same_id(one: Feedback, other: Feedback) -> bool:
    return (one.application, one.id) == (other.application, other.id)


def _same_session(one: Feedback, other: Feedback) -> bool:
    return (one.application, one.session_id) == (other.application, other.session_id)


def _same_key(one: Feedback, other: Feedback) -> bool:
    same_key = other.idempotency_key is not None and one.idempotency_key == other.idempotency_key
    return _same_session(one, other) and same_key and one.author == other.author


def _same_vote(one: Feedback, other: Feedback) -> bool:
    same_slot = (one.message_id, one.author) == (other.message_id, other.author)
    return _same_session(one, other) and one.vote and other.vote and other.author is not None and same_slot


def _refuse(earlier: Feedback, feedback: Feedback, taken: Taken) -> Outcome:
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
        before = self.stored.get((application, session_id), {})
        after = {**before, **deepcopy(dict(changes))}
        MetadataSize.of(before).check_growth_to(MetadataSize.of(after))
        self.stored[application, session_id] = after

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        before = self.get(application, session_id)
        after = deepcopy(dict(apply(before)))
        MetadataSize.of(before).check_growth_to(MetadataSize.of(after))
        self.stored[application, session_id] = after
        return MetadataVersions(before, self.get(application, session_id))

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        metadata = self.stored.get((application, session_id), {})
        doomed = set(metadata) if keys is None else set(metadata) & set(as_texts(keys))
        for key in doomed:
            del metadata[key]
        return len(doomed)

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        there = [(application, session_id) for (application, session_id), metadata in self.stored.items() if metadata]
        return iter([(*place, self.get(*place)) for place in sorted(there)])


class _Outbox(Outbox):
    def __init__(self, feedback: FeedbackRepository) -> None:
        self._feedback = feedback
        self.waiting: list[Event] = []
        self.made: list[Delivery] = []
        self.known: set[tuple[str, str, str]] = set()

    def events(self, *, limit: int) -> Sequence[Event]:
        return sorted(self.waiting, key=event_order)[:limit]

    def events_about(self, application: str, feedback_ids: Collection[str]) -> Sequence[Event]:
        about = [event for event in self.waiting if not event.type.about_alert and event.application == application]
        return sorted(
            (event for event in about if event.subject_id in feedback_ids),
            key=lambda event: (event.subject_id, event.version),
        )

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        listed = {event.id for event in self.waiting}
        taken = {event.id for event, _ in plan} & listed
        self.waiting = [event for event in self.waiting if event.id not in taken]
        return [
            self._put(Delivery.of(event, channel, due_at=due_at))
            for event, channels in plan
            if event.id in taken
            for channel in sorted(set(channels))
        ]

    def add(self, delivery: Delivery) -> bool:
        if any(stored.id == delivery.id for stored in self.made):
            return False
        self._put(delivery)
        return True

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        self.known |= {(application, one, channel) for one in self._feedback.get_many(application, feedback_ids)}

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        due = [
            delivery
            for delivery in self._in(DeliveryState.PENDING)
            if delivery.channel == channel
            and delivery.due_at <= now
            and (delivery.leased_until is None or delivery.leased_until <= now)
            and not self._is_late(delivery)
        ]
        return [
            self._put(
                evolve(delivery, leased_until=until, attempts=delivery.attempts + 1, awaits=None, certain=True),
            )
            for delivery in due[:limit]
        ]

    def release(self, claimed: Sequence[Delivery]) -> None:
        for claim in claimed:
            if not self._end(claim, attempts=claim.attempts - 1):
                self._hand_over(claim, sent=False)

    def discard(self, claimed: Sequence[Delivery]) -> None:
        for claim in claimed:
            if not self._end(claim):
                self._hand_over(claim, sent=False)
                continue
            if claim.attempts > 1:
                self._remember(claim)
            self._remove(claim)

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        lost = [claim for claim in claimed if not self._settle(claim)]
        for claim in lost:
            self._hand_over(claim, sent=True)
        return lost

    def back_off(self, delivery: Delivery, *, due_at: datetime, error: str) -> None:
        self._must_end(delivery, due_at=due_at, error=error, history=delivery.history)

    def bury(self, delivery: Delivery, *, error: str, sent: bool = True) -> None:
        attempts = delivery.attempts if sent else delivery.attempts - 1
        dead = {"state": DeliveryState.DEAD, "error": error, "attempts": attempts, "history": delivery.history}
        self._must_end(delivery, sent=sent, **dead)

    def move(self, delivery: Delivery, channel: str) -> None:
        if not self._holds(delivery):
            self._hand_over(delivery, sent=False)
            raise LeaseLost(delivery.id)
        moved = Delivery.of(delivery.event, channel, due_at=delivery.due_at)
        if moved.id == delivery.id:
            return
        if moved.id not in [stored.id for stored in self.made]:
            self._put(moved)
        self.discard([delivery])

    def delivery(self, delivery_id: str) -> Delivery:
        for delivery in self.made:
            if delivery.id == delivery_id:
                return delivery
        raise DeliveryNotFound(delivery_id)

    def deliveries(
        self, query: DeliveryQuery, *, limit: int, after: Delivery | None = None, newest_first: bool = False
    ) -> Sequence[Delivery]:
        found = sorted(filter(query.matches, self.made), key=_due_place, reverse=newest_first)
        if after is None:
            return found[:limit]
        place = _due_place(after)
        rest = [one for one in found if (_due_place(one) < place if newest_first else _due_place(one) > place)]
        return rest[:limit]

    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        return dict(sorted(Counter(one.channel for one in self.made if query.matches(one)).items()))

    def causes(self, query: DeliveryQuery) -> Sequence[CauseCount]:
        return group_by_cause(filter(query.matches, self.made))

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        delivery = self.delivery(delivery_id)
        pending = evolve(delivery, state=DeliveryState.PENDING, due_at=due_at, error="")
        return self._put(evolve(pending, attempts_before=delivery.attempts))

    def forget(self, *, before: datetime) -> int:
        old = [delivery for delivery in self._in(DeliveryState.DELIVERED) if delivery.due_at < before]
        for delivery in old:
            self._remember(delivery)
            self._remove(delivery)
        return len(old)

    def erase(self, feedback: Feedback, at: datetime) -> int:
        """Remove events and deliveries of the feedback, add erasure notifications, and return the number removed."""
        event = Event.erasure(feedback, at=at)
        about_it = [delivery for delivery in self.made if _same_subject(delivery.event, event)]
        places = {place for place in self.known if place[:2] == (feedback.application, feedback.id)}
        removed = [delivery for delivery in about_it if delivery.event.type.about_feedback]
        self.waiting = [waiting for waiting in self.waiting if not _same_subject(waiting, event)]
        self.known -= places
        for delivery in removed:
            self._remove(delivery)
        for delivery in erasure_deliveries(event, about_it, {channel for *_, channel in places}):
            self._put(delivery)
        return len(removed)

    def _in(self, state: DeliveryState) -> list[Delivery]:
        return sorted((delivery for delivery in self.made if delivery.state is state), key=_due_place)

    def _is_late(self, delivery: Delivery) -> bool:
        """Whether an earlier event of the same subject is still waiting for the channel."""
        return any(
            _same_subject(earlier.event, delivery.event)
            and earlier.channel == delivery.channel
            and earlier.event.version < delivery.event.version
            for earlier in self._in(DeliveryState.PENDING)
        )

    def _put(self, delivery: Delivery) -> Delivery:
        self._remove(delivery)
        self.made.append(delivery)
        return delivery

    def _remove(self, delivery: Delivery) -> None:
        self.made = [other for other in self.made if other.id != delivery.id]

    def _remember(self, delivery: Delivery) -> None:
        """Remember that the channel knows the feedback."""
        if delivery.event.type.about_feedback:
            self.known.add((delivery.event.application, delivery.event.subject_id, delivery.channel))

    def _holds(self, claim: Delivery) -> bool:
        """Whether the claim is the latest one and has not ended."""
        return any(
            (stored.id, stored.attempts) == (claim.id, claim.attempts) and stored.leased_until is not None
            for stored in self._in(DeliveryState.PENDING)
        )

    def _end(self, claim: Delivery, **changes: Any) -> bool:
        """End the lease of a claim. Returns whether it was held."""
        if not self._holds(claim):
            return False
        self._put(evolve(self.delivery(claim.id), leased_until=None, **changes))
        return True

    def _settle(self, claim: Delivery) -> bool:
        return self._end(claim, state=DeliveryState.DELIVERED, error="", history=claim.history)

    def _must_end(self, claim: Delivery, *, sent: bool = True, **changes: Any) -> None:
        if not self._end(claim, **changes):
            self._hand_over(claim, sent=sent)
            raise LeaseLost(claim.id)

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        """Continue an erasure that waits for this claim."""
        for waiting in [delivery for delivery in self.made if delivery.awaits == claim.claim]:
            self._remove(waiting)
            if free := waiting.handed_over(sent=sent):
                self._put(free)


def _due_place(delivery: Delivery) -> tuple[datetime, str]:
    return delivery.due_at, delivery.id


def _same_subject(one: Event, other: Event) -> bool:
    alike = (one.application, one.subject_id) == (other.application, other.subject_id)
    return alike and one.type.about_alert is other.type.about_alert


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


class _Alerts(AlertRepository):
    def __init__(self, outbox: _Outbox) -> None:
        self.stored: list[Alert] = []
        self.outbox = outbox

    def add(self, alert: Alert, event: Event) -> bool:
        if self.get(alert.application, alert.id) is not None:
            return False
        self.stored.append(alert)
        self.outbox.waiting.append(event)
        return True

    def replace(self, alert: Alert, event: Event) -> bool:
        stored = self.get(alert.application, alert.id)
        if stored is None or stored.version != alert.version - 1:
            return False
        self.stored[self.stored.index(stored)] = alert
        self.outbox.waiting.append(event)
        return True

    def get(self, application: str, alert_id: str) -> Alert | None:
        for alert in self.stored:
            if (alert.application, alert.id) == (application, alert_id):
                return alert
        return None

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        for alert in self._last_first(application):
            if (alert.rule, alert.subject) == (rule, subject):
                return alert
        return None

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
        wanted = [
            alert
            for alert in self._last_first(application)
            if open in (None, alert.is_open)
            and rule in (None, alert.rule)
            and (since is None or alert.raised_at >= since)
            and (after is None or (alert.raised_at, alert.id) < (after.raised_at, after.id))
        ]
        return wanted[:limit]

    def empty(self, application: str, erased: Sequence[Feedback], left: set[str], at: datetime) -> int:
        """Empty the alerts that list erased feedback. Returns their number; ``left``: sessions with other feedback."""
        ids, gone = {one.id for one in erased}, {one.session_id for one in erased} - left
        about_it = [
            alert
            for alert in self._last_first(application)
            if not ids.isdisjoint(alert.feedback_ids) or (alert.subject.by == "session" and alert.subject.value in gone)
        ]
        for alert in about_it:
            emptied = alert.emptied(at=at, session_remains=alert.subject.value in left)
            self.stored[self.stored.index(alert)] = emptied
            if alert.is_open:
                self.outbox.waiting.append(emptied.event())
        return len(about_it)

    def _last_first(self, application: str) -> list[Alert]:
        ours = [alert for alert in self.stored if alert.application == application]
        return sorted(ours, key=lambda alert: (alert.raised_at, alert.id), reverse=True)


class _State(StateRepository):
    def __init__(self) -> None:
        self.stored: list[tuple[str, StateEntry]] = []

    def all(self, kind: str) -> Sequence[StateEntry]:
        ours = [deepcopy(entry) for of, entry in self.stored if of == kind]
        return sorted(ours, key=lambda entry: entry.name)

    def get(self, kind: str, name: str) -> StateEntry | None:
        for entry in self.all(kind):
            if entry.name == name:
                return entry
        return None

    def put(self, kind: str, entry: StateEntry) -> bool:
        stored = self.get(kind, entry.name)
        if entry.version != (0 if stored is None else stored.version) + 1:
            return False
        self.delete(kind, entry.name)
        self.stored.append((kind, deepcopy(entry)))
        return True

    def delete(self, kind: str, name: str) -> bool:
        others = [(of, entry) for of, entry in self.stored if (of, entry.name) != (kind, name)]
        there = len(others) < len(self.stored)
        self.stored = others
        return there


class _Conversations(ConversationRepository):
    def __init__(self) -> None:
        self.known: dict[tuple[str, str, str], JsonObject] = {}
        self.said: dict[tuple[str, str, str, int], JsonObject] = {}

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        ours = {key[2]: value for key, value in sorted(self.known.items()) if key[:2] == (application, session_id)}
        return deepcopy(ours)

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        return self.agents(application, session_id).get(agent_id)

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        if not replace and (application, session_id, agent_id) in self.known:
            return False
        self.known[application, session_id, agent_id] = deepcopy(value)
        return True

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        if (application, session_id, agent_id, number) in self.said:
            return False
        self.said[application, session_id, agent_id, number] = deepcopy(message)
        return True

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        if (application, session_id, agent_id, number) not in self.said:
            return False
        self.said[application, session_id, agent_id, number] = deepcopy(message)
        return True

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        return sorted({key[2] for key in self.said if key[:2] == (application, session_id)})

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        agent = (application, session_id, agent_id)
        numbered = [(key[3], deepcopy(message)) for key, message in sorted(self.said.items()) if key[:3] == agent]
        return [(number, message) for number, message in numbered if number > after][:limit]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        ours = [key for key in self.said if key[:2] == (application, session_id)]
        return len([key for key in ours if agent_id in (None, key[2])])

    def erase(self, application: str, session_id: str) -> int:
        erased = self.count(application, session_id)
        self.known = {key: value for key, value in self.known.items() if key[:2] != (application, session_id)}
        self.said = {key: value for key, value in self.said.items() if key[:2] != (application, session_id)}
        return erased

    def sessions(self) -> Iterator[tuple[str, str]]:
        return iter(sorted({key[:2] for key in self.known} | {key[:2] for key in self.said}))

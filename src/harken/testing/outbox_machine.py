"""A state machine that raises alerts, delivers events and loses leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from hypothesis.strategies import SearchStrategy

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing import strategies as hst
from harken.testing.builders import a_feedback, accepted
from harken.testing.comparison import ComparingMachine

#: Few, so that operations meet.
_FEW: tuple[str, ...] = hst.IDS[:4]


def _delivery(storage: Storage, delivery_id: str) -> Delivery:
    return storage.outbox.delivery(delivery_id)


def _claim(storage: Storage, channel: str, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
    return storage.outbox.claim(channel, now=now, until=until, limit=limit)


def _replace(storage: Storage, feedback: Feedback, event: Event) -> None:
    storage.feedback.replace(feedback, [event])


def _fan_out(storage: Storage, plan: Sequence[tuple[Event, set[str]]], due_at: datetime) -> Sequence[Delivery]:
    return storage.outbox.fan_out(plan, due_at=due_at)


def _replay(storage: Storage, delivery_id: str, due_at: datetime) -> Delivery:
    return storage.outbox.replay(delivery_id, due_at=due_at)


def _back_off(storage: Storage, claim: Delivery, due_at: datetime) -> None:
    storage.outbox.back_off(claim, due_at=due_at, error="refused")


def _end(storage: Storage, claims: Sequence[Delivery], how: str) -> None:
    """End claims: as sent (settle), or as not sent."""
    if how != "bury":
        getattr(storage.outbox, how)(claims)
        return
    for claim in claims:
        storage.outbox.bury(claim, error="refused", sent=False)


def _deliveries(
    storage: Storage, query: DeliveryQuery, after: Delivery | None, limit: int, newest_first: bool = False
) -> Sequence[Delivery]:
    return storage.outbox.deliveries(query, limit=limit, after=after, newest_first=newest_first)


def _query_like(delivery: Delivery, filters: set[str]) -> DeliveryQuery:
    """Return the query with these filters that matches a delivery."""
    event = delivery.event
    subject = "alert_id" if event.type.about_alert else "feedback_id"
    values: dict[str, Any] = {
        "state": delivery.state,
        "application": event.application,
        "channel": delivery.channel,
        "type": event.type,
        "cause": delivery.cause,
        "due_since": delivery.due_at,
    }
    chosen = {name: value for name, value in values.items() if name in filters}
    return DeliveryQuery(
        **chosen | ({"application": event.application, subject: event.subject_id} if "subject" in filters else {})
    )


def _latest(storage: Storage, application: str, rule: str, subject: Subject) -> Alert | None:
    return storage.alerts.latest(application, rule, subject)


def _alerts(storage: Storage, application: str, after: Alert | None, limit: int, **filters: Any) -> Sequence[Alert]:
    return storage.alerts.find(application, limit=limit, after=after, **filters)


class OutboxMachine(ComparingMachine):
    """Any sequence of operations on events, deliveries and alerts."""

    def __init__(self) -> None:
        super().__init__()
        self._claims: list[Delivery] = []

    def _all_deliveries(self) -> list[Delivery]:
        """Return all deliveries in any state."""
        return list(self._model.outbox.deliveries(DeliveryQuery(), limit=1_000))

    def _all_alerts(self) -> list[Alert]:
        return [one for name in hst.APPLICATIONS for one in self._model.alerts.find(name, limit=1_000)]

    def _some_claims(self) -> SearchStrategy[list[Delivery]]:
        """A few claims without repetition, among them earlier and later ones on one delivery."""
        claims = st.sampled_from(self._claims)
        return st.lists(claims, min_size=1, max_size=4, unique_by=lambda claim: (claim.id, claim.attempts))

    def _earlier_claims(self) -> list[Delivery]:
        latest = {claim.id: claim.attempts for claim in self._claims}
        return [claim for claim in self._claims if claim.attempts < latest[claim.id]]

    @initialize(size=st.integers(1, 3), channels=hst.some_channels(), now=hst.moments_near_noon())
    def begin(self, size: int, channels: set[str], now: datetime) -> None:
        # Deliveries that exist from the beginning are changed more often.
        series = [
            a_feedback(id=f"first-{number}", application=application, created_at=now)
            for number in range(size)
            for application in hst.APPLICATIONS
        ]
        self._both(lambda storage: storage.feedback.add(accepted(*series)))
        plan = [(Event.about(feedback, EventType.CREATED), channels) for feedback in series]
        self._both(lambda storage: storage.outbox.fan_out(plan, due_at=now))

    @rule(
        feedback_id=st.sampled_from(_FEW),
        session_id=st.sampled_from(hst.SESSIONS[:2]),
        application=st.sampled_from(hst.APPLICATIONS),
        at=hst.moments_near_noon(),
    )
    def add(self, feedback_id: str, session_id: str, application: str, at: datetime) -> None:
        feedback = a_feedback(session_id, id=feedback_id, application=application, created_at=at)
        self._both(lambda storage: storage.feedback.add(accepted(feedback)))

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data(), at=hst.moments_near_noon())
    def change(self, data: st.DataObject, at: datetime) -> None:
        stored = data.draw(st.sampled_from(self._all_feedback()))
        feedback = stored.answered("changed", at=at)
        event = Event.about(feedback, data.draw(hst.feedback_event_types()), before=stored)
        self._both(lambda storage: storage.feedback.replace(feedback, [event]))

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data(), channel=st.sampled_from(hst.CHANNELS), now=hst.moments_near_noon())
    def back_off_between_events(self, data: st.DataObject, channel: str, now: datetime) -> None:
        feedback = data.draw(st.sampled_from(self._all_feedback()))
        for reply in ("first", "second"):
            feedback = feedback.answered(reply, at=now)
            event = Event.about(feedback, EventType.UPDATED)
            self._both(partial(_replace, feedback=feedback, event=event))
            self._both(partial(_fan_out, plan=[(event, {channel})], due_at=now))
        for claim in self._both(lambda storage: _claim(storage, channel, now, now + timedelta(minutes=1), limit=20)):
            self._both(partial(_back_off, claim=claim, due_at=now + timedelta(minutes=2)))
        # The later event is due, but waits for the earlier one.
        later = now + timedelta(minutes=1)
        self._claims += self._both(
            lambda storage: _claim(storage, channel, later, later + timedelta(minutes=1), limit=20)
        )

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data(), at=hst.moments_near_noon(), session=st.booleans())
    def erase(self, data: st.DataObject, at: datetime, session: bool) -> None:
        doomed = data.draw(st.sampled_from(self._all_feedback()))
        query = FeedbackQuery(application=doomed.application).in_any_state()
        self._erase(
            evolve(query, session_id=doomed.session_id) if session else evolve(query, feedback_id=doomed.id), at
        )

    def _erase(self, query: FeedbackQuery, at: datetime) -> None:
        self._both(lambda storage: storage.feedback.erase(query, at=at))
        self._both(lambda storage: storage.outbox.events(limit=20))
        self._both(partial(_alerts, application=query.application, after=None, limit=20))
        for state in DeliveryState:
            self._both(partial(_deliveries, query=DeliveryQuery(state), after=None, limit=20))

    @precondition(lambda self: self._all_deliveries())
    @rule(
        channel=st.sampled_from(hst.CHANNELS),
        now=hst.moments_near_noon(),
        end=st.sampled_from(("settle", "discard", "discard reclaimed", "release", "bury")),
    )
    def deliver_and_erase(self, channel: str, now: datetime, end: str) -> None:
        # Steps that other rules seldom take in this order: they show which channels are notified of an erasure.
        for attempt in range(2 if end.endswith("reclaimed") else 1):
            at = now + timedelta(minutes=attempt)
            until = at + timedelta(minutes=1)
            claims = self._both(partial(_claim, channel=channel, now=at, until=until, limit=2))
        subjects = {(claim.event.application, claim.event.subject_id) for claim in claims}
        queries = [FeedbackQuery(application=name, feedback_id=id_).in_any_state() for name, id_ in sorted(subjects)]
        # One is erased while it is claimed, and the other one when its delivery is gone.
        for query in queries[1:]:
            self._erase(query, now)
        self._both(partial(_end, claims=claims, how=end.partition(" ")[0]))
        self.forget(before=now + timedelta(hours=1))
        for query in queries:
            self._erase(query, now)

    @rule(
        feedback_ids=st.sets(st.sampled_from(_FEW), max_size=3),
        application=st.sampled_from(hst.APPLICATIONS),
        channel=st.sampled_from(hst.CHANNELS),
    )
    def record_notified(self, feedback_ids: set[str], application: str, channel: str) -> None:
        self._both(lambda storage: storage.outbox.record_notified(application, sorted(feedback_ids), channel))

    @rule(
        day=st.sampled_from(("2026-01-01", "2026-01-08")),
        channel=st.sampled_from(hst.CHANNELS),
        at=hst.moments_near_noon(),
    )
    def add_digest(self, day: str, channel: str, at: datetime) -> None:
        event = Event(
            id=f"digest-{day}",
            type=EventType.DIGEST,
            application="default",
            subject_id=f"digest:weekly:{day}",
            version=1,
            occurred_at=at,
        )
        self._both(lambda storage: storage.outbox.add(Delivery.of(event, channel, due_at=at)))

    @rule(
        number=st.integers(1, 3),
        channel=st.sampled_from(hst.CHANNELS),
        session_id=st.sampled_from(hst.SESSIONS),
        at=hst.moments_near_noon(),
        is_leased=st.booleans(),
    )
    def add_session_change(self, number: int, channel: str, session_id: str, at: datetime, is_leased: bool) -> None:
        event = Event(
            id=f"change-{number}",
            type=EventType.SESSION_UPDATED,
            application="default",
            subject_id=f'{{"id":"change-{number}","operation":"update","names":["tier"],"paths":false}}',
            version=1,
            occurred_at=at,
            session_id=session_id,
        )
        delivery = Delivery.of(event, channel, due_at=at)
        if is_leased:
            delivery = delivery.claimed(until=at + timedelta(minutes=1))
        if self._both(lambda storage: storage.outbox.add(delivery)) and is_leased:
            self._claims.append(delivery)

    @precondition(lambda self: self._model.outbox.events(limit=1))
    @rule(
        limit=st.integers(1, 20),
        channels=st.lists(st.just(set()) | hst.some_channels(), min_size=1, max_size=3),
        now=hst.moments_near_noon(),
    )
    def fan_out(self, limit: int, channels: list[set[str]], now: datetime) -> None:
        events = self._both(lambda storage: storage.outbox.events(limit=limit))
        plan = [(event, channels[index % len(channels)]) for index, event in enumerate(events)]
        self._both(lambda storage: storage.outbox.fan_out(plan, due_at=now))
        # These events are no longer waiting.
        self._both(lambda storage: storage.outbox.fan_out(plan[:2], due_at=now))
        self._both(lambda storage: storage.outbox.events(limit=limit))

    @precondition(lambda self: self._all_deliveries())
    @rule(
        channel=st.sampled_from(hst.CHANNELS),
        now=hst.moments_near_noon(),
        lease=st.integers(1, 2),
        limit=st.integers(1, 5),
    )
    def claim(self, channel: str, now: datetime, lease: int, limit: int) -> None:
        until = now + timedelta(minutes=lease)
        later = until + timedelta(minutes=lease)
        self._claims += self._both(lambda storage: storage.outbox.claim(channel, now=now, until=until, limit=limit))
        # Exactly when the lease ends.
        self._claims += self._both(lambda storage: storage.outbox.claim(channel, now=until, until=later, limit=limit))

    @precondition(lambda self: self._claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        claims = data.draw(self._some_claims())
        if data.draw(st.booleans()):
            claims = [claim.after(data.draw(hst.attempts())) for claim in claims]
        self._both(lambda storage: storage.outbox.settle(claims))
        self._both(partial(_deliveries, query=DeliveryQuery(DeliveryState.DELIVERED), after=None, limit=20))

    @precondition(lambda self: self._claims)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claims = data.draw(self._some_claims())
        self._both(lambda storage: storage.outbox.release(claims))
        # A worker that releases a claim keeps no reference that could be used later.
        self._claims = [claim for claim in self._claims if claim not in claims]
        for claim in claims:
            self._both(partial(_delivery, delivery_id=claim.id))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), channel=st.none() | st.sampled_from(hst.CHANNELS))
    def discard_or_move(self, data: st.DataObject, channel: str | None) -> None:
        claims = data.draw(self._some_claims())
        if channel is None:
            self._both(lambda storage: storage.outbox.discard(claims))
        else:
            self._both(lambda storage: storage.outbox.move(claims[0], channel))
        self._claims = [claim for claim in self._claims if claim not in claims]
        for state in DeliveryState:
            self._both(partial(_deliveries, query=DeliveryQuery(state), after=None, limit=20))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), due_at=hst.moments_near_noon(), error=hst.texts(20), dies=st.booleans(), sent=st.booleans())
    def fail(self, data: st.DataObject, due_at: datetime, error: str, dies: bool, sent: bool) -> None:
        claim = data.draw(st.sampled_from(self._claims[::-1]))
        if data.draw(st.booleans()):
            claim = claim.after(data.draw(hst.attempts()))
        if dies:
            self._both(lambda storage: storage.outbox.bury(claim, error=error, sent=sent))
        else:
            self._both(lambda storage: storage.outbox.back_off(claim, due_at=due_at, error=error))
        self._both(lambda storage: storage.outbox.delivery(claim.id))

    @precondition(lambda self: self._earlier_claims())
    @rule(data=st.data())
    def settle_reclaimed(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self._earlier_claims()))
        self._both(lambda storage: storage.outbox.settle([claim]))

    @precondition(lambda self: self._all_deliveries())
    @rule(data=st.data(), due_at=hst.moments_near_noon())
    def replay(self, data: st.DataObject, due_at: datetime) -> None:
        dead = self._model.outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=1_000)
        delivery = data.draw(st.sampled_from([*dead, *self._all_deliveries()]))
        self._both(lambda storage: storage.outbox.replay(delivery.id, due_at=due_at))
        self._both(lambda storage: storage.outbox.delivery(delivery.id))

    @precondition(lambda self: self._all_deliveries())
    @rule(channel=st.sampled_from(hst.CHANNELS), now=hst.moments_near_noon())
    def settle_and_replay(self, channel: str, now: datetime) -> None:
        claims = self._both(lambda storage: _claim(storage, channel, now, now + timedelta(minutes=1), limit=2))
        self._both(lambda storage: storage.outbox.settle(claims))
        for claim in claims:
            self._both(partial(_replay, delivery_id=claim.id, due_at=now))

    @precondition(lambda self: self._all_deliveries())
    @rule(before=hst.moments_near_noon())
    def forget(self, before: datetime) -> None:
        self._both(lambda storage: storage.outbox.forget(before=before))
        self._both(lambda storage: storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING)))
        for state in DeliveryState:
            self._both(partial(_deliveries, query=DeliveryQuery(state), after=None, limit=20))

    @precondition(lambda self: self._all_deliveries())
    @rule(data=st.data(), limit=st.integers(1, 20), newest_first=st.booleans())
    def list_deliveries(self, data: st.DataObject, limit: int, newest_first: bool) -> None:
        query = data.draw(self._queries())
        self._page_through(partial(_deliveries, query=query, newest_first=newest_first), limit)
        self._both(lambda storage: storage.outbox.counts(query))
        self._both(lambda storage: storage.outbox.causes(query))

    def _queries(self) -> SearchStrategy[DeliveryQuery]:
        """Queries with any filters, among them those that match a stored delivery."""
        stored = st.sampled_from(self._all_deliveries())
        return st.builds(
            _query_like,
            stored,
            st.sets(st.sampled_from(("state", "application", "channel", "type", "subject", "cause", "due_since"))),
        )

    @rule(alert=hst.alerts())
    def raise_alert(self, alert: Alert) -> None:
        self._both(lambda storage: storage.alerts.add(alert, alert.event()))
        self._both(partial(_latest, application=alert.application, rule=alert.rule, subject=alert.subject))

    @precondition(lambda self: self._all_alerts())
    @rule(data=st.data(), at=hst.moments_near_noon())
    def resolve_alert(self, data: st.DataObject, at: datetime) -> None:
        stored = data.draw(st.sampled_from(self._all_alerts()))
        resolved = stored.resolved(at=at)
        self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))
        # The same version again is now stale.
        self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))
        self._both(lambda storage: storage.alerts.get(stored.application, stored.id))
        self._both(partial(_alerts, application=stored.application, after=None, limit=20, open=True))

    @rule(alert=hst.alerts(), at=hst.moments_near_noon())
    def resolve_unknown_alert(self, alert: Alert, at: datetime) -> None:
        stored = {(one.application, one.id) for one in self._all_alerts()}
        if (alert.application, alert.id) not in stored:
            resolved = alert.resolved(at=at)
            self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))

    @precondition(lambda self: self._all_alerts())
    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        limit=st.integers(1, 4),
        open=st.none() | st.booleans(),
        name=st.none() | st.sampled_from(hst.RULES),
        since=st.none() | hst.moments_near_noon(),
    )
    def list_alerts(
        self, application: str, limit: int, open: bool | None, name: str | None, since: datetime | None
    ) -> None:
        found = partial(_alerts, application=application, open=open, rule=name, since=since)
        self._page_through(found, limit)

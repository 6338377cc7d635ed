"""A state machine that does anything to a storage and to the reference model, and wants the same answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harken.domain.access import ApiKey
from harken.domain.alerts import Alert, Subject
from harken.domain.errors import HarkenError
from harken.domain.events import Delivery, DeliveryState, Event
from harken.domain.feedback import Feedback
from harken.domain.instants import EPOCH
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, Page
from harken.domain.summary import Summary
from harken.ports.documents import Document
from harken.ports.sessions import JsonValue
from harken.ports.storage import Storage
from harken.testing import strategies as hst
from harken.testing.builders import accepted
from harken.testing.checks import check_same
from harken.testing.model import reference_storage


def answer_of(call: Callable[[], object]) -> object:
    """What a call gives, sequences of all kinds as lists, or the kind of error that it raises."""
    try:
        result = call()
        return list(result) if isinstance(result, Iterator | list | tuple) else result
    except HarkenError as error:
        return type(error)


def _groups(storage: Storage, query: FeedbackQuery, group_by: GroupBy | None) -> object:
    """The groups' figures, sorted: they come in no particular order."""
    return sorted(storage.feedback.summarize(query, group_by).items(), key=repr)


def _find(storage: Storage, query: FeedbackQuery, limit: int, after: Cursor | None) -> Page:
    return storage.feedback.find(query, limit=limit, after=after)


def _changes(storage: Storage, application: str, since: datetime) -> Iterator[Feedback]:
    return storage.feedback.changes(application, since=since)


def _key(storage: Storage, key_id: str) -> ApiKey | None:
    return storage.keys.get(key_id)


def _many(storage: Storage, application: str, feedback_ids: Collection[str]) -> object:
    """Those that are there, sorted: they come in no particular order."""
    return sorted(storage.feedback.get_many(application, feedback_ids).items())


def _delivery(storage: Storage, delivery_id: str) -> Delivery:
    return storage.outbox.delivery(delivery_id)


def _deliveries(
    storage: Storage, state: DeliveryState, after: Delivery | None, limit: int, **filters: str | None
) -> Sequence[Delivery]:
    return storage.outbox.deliveries(state, limit=limit, after=after, **filters)


def _latest(storage: Storage, application: str, rule: str, subject: Subject) -> Alert | None:
    return storage.alerts.latest(application, rule, subject)


def _alerts(storage: Storage, application: str, after: Alert | None, limit: int, **filters: Any) -> Sequence[Alert]:
    return storage.alerts.find(application, limit=limit, after=after, **filters)


class StorageMachine(RuleBasedStateMachine):
    """Any sequence of operations, each with the answer that the reference model gives; subclasses say on what."""

    open_storage: ClassVar[Callable[[], AbstractContextManager[Storage]]]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._real = self._stack.enter_context(type(self).open_storage())
        self._model = reference_storage()
        self._claims: list[Delivery] = []

    def teardown(self) -> None:
        self._stack.close()

    def _both(self, call: Callable[[Storage], object]) -> Any:
        actual = answer_of(lambda: call(self._real))
        check_same(actual, answer_of(lambda: call(self._model)))
        return actual

    def _stored(self) -> list[Feedback]:
        everything = (FeedbackQuery(application=name).in_any_state() for name in hst.APPLICATIONS)
        return [feedback for query in everything for feedback in self._model.feedback.stream(query)]

    def _page_through(self, find: Callable[..., Sequence[Any]], limit: int) -> None:
        """All pages of what can be asked for page by page, and one after the last."""
        after = None
        while page := self._both(partial(find, limit=limit, after=after)):
            after = page[-1]

    def _told(self) -> list[Delivery]:
        """All deliveries, in whatever state."""
        return [one for state in DeliveryState for one in self._model.outbox.deliveries(state, limit=1_000)]

    def _raised(self) -> list[Alert]:
        return [one for name in hst.APPLICATIONS for one in self._model.alerts.find(name, limit=1_000)]

    def _overtaken(self) -> list[Delivery]:
        latest = {claim.id: claim.attempts for claim in self._claims}
        return [claim for claim in self._claims if claim.attempts < latest[claim.id]]

    @rule(batch=st.lists(hst.feedbacks(), max_size=4))
    def add(self, batch: list[Feedback]) -> None:
        self._both(lambda storage: storage.feedback.add(accepted(*batch)))

    @precondition(lambda self: self._stored())
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        feedback = data.draw(st.sampled_from(self._stored()))
        self._both(lambda storage: storage.feedback.add(accepted(feedback)))

    @rule(application=st.sampled_from(hst.APPLICATIONS), feedback_id=st.sampled_from(hst.IDS))
    def get(self, application: str, feedback_id: str) -> None:
        self._both(lambda storage: storage.feedback.get(application, feedback_id))
        self._both(lambda storage: _many(storage, application, {feedback_id, *hst.IDS[:6]}))

    @precondition(lambda self: self._stored())
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        feedback = data.draw(hst.changed(data.draw(st.sampled_from(self._stored()))))
        event = Event.about(feedback, data.draw(hst.feedback_event_types()))
        self._both(lambda storage: storage.feedback.replace(feedback, [event]))
        # The same once more is stale by now.
        self._both(lambda storage: storage.feedback.replace(feedback, [event]))
        for since in (EPOCH, feedback.updated_at):
            self._both(partial(_changes, application=feedback.application, since=since))

    @rule(feedback=hst.feedbacks())
    def replace_what_is_not_there(self, feedback: Feedback) -> None:
        stored = {(one.application, one.id) for one in self._stored()}
        if (feedback.application, feedback.id) not in stored:
            self._both(lambda storage: storage.feedback.replace(feedback, []))

    @rule(query=hst.queries())
    def erase(self, query: FeedbackQuery) -> None:
        self._both(lambda storage: storage.feedback.erase(query))

    @rule(query=hst.queries(), limit=st.integers(1, 4))
    def page_through(self, query: FeedbackQuery, limit: int) -> None:
        after: Cursor | None = None
        while True:
            page = self._both(partial(_find, query=query, limit=limit, after=after))
            if page.next is None:
                return
            after = Cursor.parse(str(page.next))

    @rule(query=hst.queries(), place=st.builds(Cursor, hst.instants(), st.sampled_from(hst.IDS)))
    def find_behind_any_place(self, query: FeedbackQuery, place: Cursor) -> None:
        self._both(lambda storage: storage.feedback.find(query, limit=3, after=place))

    @rule(query=hst.queries())
    def stream(self, query: FeedbackQuery) -> None:
        self._both(lambda storage: storage.feedback.stream(query))
        self._both(partial(_changes, application=query.application, since=query.since or EPOCH))

    @rule(query=hst.queries(), group_by=hst.groupings())
    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None) -> None:
        self._both(lambda storage: _groups(storage, query, group_by))

    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        agent_id=st.none() | st.sampled_from(hst.AGENTS),
        since=st.none() | hst.instants(),
        until=st.none() | hst.instants(),
        group_by=hst.groupings(),
    )
    def summarize_time(
        self,
        application: str,
        agent_id: str | None,
        since: datetime | None,
        until: datetime | None,
        group_by: GroupBy | None,
    ) -> None:
        query = FeedbackQuery(application=application, agent_id=agent_id, since=since, until=until)
        self._both(lambda storage: _groups(storage, query, group_by))

    @rule()
    def rebuild(self) -> None:
        # Nobody damaged anything, so there is nothing to mend.
        self._both(lambda storage: storage.rebuild())

    @rule()
    def list_applications(self) -> None:
        self._both(lambda storage: storage.feedback.applications())

    @invariant()
    def figures_equal_a_recount(self) -> None:
        for application in hst.APPLICATIONS:
            query = FeedbackQuery(application=application)
            counted = self._real.feedback.summarize(query).get(None, Summary())
            check_same(counted, Summary.fold(self._model.feedback.stream(query)))

    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        session_id=st.sampled_from(hst.SESSIONS),
        changes=hst.metadata(),
    )
    def update_metadata(self, application: str, session_id: str, changes: dict[str, JsonValue]) -> None:
        self._both(lambda storage: storage.sessions.update(application, session_id, changes))
        self._both(lambda storage: storage.sessions.get(application, session_id))
        self._both(lambda storage: storage.sessions.stream())

    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        session_id=st.sampled_from(hst.SESSIONS),
        keys=st.none() | st.lists(st.sampled_from(hst.NAMES)),
    )
    def delete_metadata(self, application: str, session_id: str, keys: list[str] | None) -> None:
        self._both(lambda storage: storage.sessions.delete(application, session_id, keys))
        self._both(lambda storage: storage.sessions.get(application, session_id))
        self._both(lambda storage: storage.sessions.stream())

    @precondition(lambda self: self._model.outbox.events(limit=1))
    @rule(
        limit=st.integers(1, 20),
        channels=st.lists(st.sets(st.sampled_from(hst.CHANNELS)), min_size=1, max_size=3),
        now=hst.moments_near_noon(),
    )
    def fan_out(self, limit: int, channels: list[set[str]], now: datetime) -> None:
        events = self._both(lambda storage: storage.outbox.events(limit=limit))
        plan = [(event, channels[index % len(channels)]) for index, event in enumerate(events)]
        self._both(lambda storage: storage.outbox.fan_out(plan, due_at=now))
        # They are off the list by now.
        self._both(lambda storage: storage.outbox.fan_out(plan[:2], due_at=now))
        self._both(lambda storage: storage.outbox.events(limit=limit))

    @precondition(lambda self: self._told())
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
        # Just when the lease has run out.
        self._claims += self._both(lambda storage: storage.outbox.claim(channel, now=until, until=later, limit=limit))

    @precondition(lambda self: self._claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        claims = data.draw(st.lists(st.sampled_from(self._claims), max_size=4))
        self._both(lambda storage: storage.outbox.settle(claims))

    @precondition(lambda self: self._claims)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claims = data.draw(st.lists(st.sampled_from(self._claims), min_size=1, max_size=3))
        self._both(lambda storage: storage.outbox.release(claims))
        # Whoever gives a claim back keeps nothing that could be used later.
        self._claims = [claim for claim in self._claims if claim not in claims]
        for claim in claims:
            self._both(partial(_delivery, delivery_id=claim.id))

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), due_at=hst.moments_near_noon(), error=hst.texts(20), dies=st.booleans())
    def fail(self, data: st.DataObject, due_at: datetime, error: str, dies: bool) -> None:
        claim = data.draw(st.sampled_from(self._claims[::-1]))
        if dies:
            self._both(lambda storage: storage.outbox.bury(claim, error=error))
        else:
            self._both(lambda storage: storage.outbox.back_off(claim, due_at=due_at, error=error))
        self._both(lambda storage: storage.outbox.delivery(claim.id))

    @precondition(lambda self: self._overtaken())
    @rule(data=st.data())
    def settle_what_was_claimed_again_since(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self._overtaken()))
        self._both(lambda storage: storage.outbox.settle([claim]))

    @precondition(lambda self: self._told())
    @rule(data=st.data(), due_at=hst.moments_near_noon())
    def replay(self, data: st.DataObject, due_at: datetime) -> None:
        dead = self._model.outbox.deliveries(DeliveryState.DEAD, limit=1_000)
        delivery = data.draw(st.sampled_from([*dead, *self._told()]))
        self._both(lambda storage: storage.outbox.replay(delivery.id, due_at=due_at))
        self._both(lambda storage: storage.outbox.delivery(delivery.id))

    @precondition(lambda self: self._told())
    @rule(before=hst.moments_near_noon())
    def forget(self, before: datetime) -> None:
        self._both(lambda storage: storage.outbox.forget(before=before))
        for state in DeliveryState:
            self._both(partial(_deliveries, state=state, after=None, limit=20))

    @precondition(lambda self: self._told())
    @rule(
        state=st.sampled_from(DeliveryState),
        limit=st.integers(1, 20),
        application=st.none() | st.sampled_from(hst.APPLICATIONS),
        channel=st.none() | st.sampled_from(hst.CHANNELS),
    )
    def list_deliveries(self, state: DeliveryState, limit: int, application: str | None, channel: str | None) -> None:
        self._page_through(partial(_deliveries, state=state, application=application, channel=channel), limit)

    @rule(alert=hst.alerts())
    def raise_alert(self, alert: Alert) -> None:
        self._both(lambda storage: storage.alerts.add(alert, alert.event()))
        self._both(partial(_latest, application=alert.application, rule=alert.rule, subject=alert.subject))

    @precondition(lambda self: self._raised())
    @rule(data=st.data(), at=hst.moments_near_noon())
    def resolve_alert(self, data: st.DataObject, at: datetime) -> None:
        stored = data.draw(st.sampled_from(self._raised()))
        resolved = stored.resolved(at=at)
        self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))
        # The same once more is stale by now.
        self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))
        self._both(lambda storage: storage.alerts.get(stored.application, stored.id))

    @rule(alert=hst.alerts(), at=hst.moments_near_noon())
    def resolve_what_is_not_there(self, alert: Alert, at: datetime) -> None:
        stored = {(one.application, one.id) for one in self._raised()}
        if (alert.application, alert.id) not in stored:
            resolved = alert.resolved(at=at)
            self._both(lambda storage: storage.alerts.replace(resolved, resolved.event()))

    @precondition(lambda self: self._raised())
    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        limit=st.integers(1, 4),
        standing=st.none() | st.booleans(),
        name=st.none() | st.sampled_from(hst.RULES),
        since=st.none() | hst.moments_near_noon(),
    )
    def list_alerts(
        self, application: str, limit: int, standing: bool | None, name: str | None, since: datetime | None
    ) -> None:
        found = partial(_alerts, application=application, standing=standing, rule=name, since=since)
        self._page_through(found, limit)

    @rule(kind=st.sampled_from(hst.KINDS), document=hst.documents(), deleted=st.none() | st.sampled_from(hst.NAMES))
    def put_and_delete_documents(self, kind: str, document: Document, deleted: str | None) -> None:
        self._both(lambda storage: storage.documents.put(kind, document))
        self._both(lambda storage: storage.documents.get(kind, document.name))
        if deleted is not None:
            self._both(lambda storage: storage.documents.delete(kind, deleted))
        self._both(lambda storage: storage.documents.all(kind))

    @rule(key=hst.api_keys(), revoked=st.none() | st.sampled_from(hst.KEY_IDS), at=hst.instants())
    def add_and_revoke_keys(self, key: ApiKey, revoked: str | None, at: datetime) -> None:
        self._both(lambda storage: storage.keys.add(key))
        if revoked is not None:
            self._both(lambda storage: storage.keys.revoke(revoked, at=at))
        for key_id in hst.KEY_IDS:
            self._both(partial(_key, key_id=key_id))
        self._both(lambda storage: storage.keys.keys())

"""A state machine that changes feedback, session metadata, state entries and API keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from harken.domain.access import ApiKey
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.instants import EPOCH
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, Page
from harken.domain.summary import Summary
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing import strategies as hst
from harken.testing.assertions import check_same, comparable_terms
from harken.testing.builders import NOON, accepted
from harken.testing.comparison import ComparingMachine


def _groups(storage: Storage, query: FeedbackQuery, group_by: GroupBy | None) -> object:
    """Return the groups with their summaries, sorted, as their order is undefined."""
    return sorted(storage.feedback.summarize(query, group_by).items(), key=repr)


def _find(storage: Storage, query: FeedbackQuery, limit: int, after: Cursor | None) -> Page:
    return storage.feedback.find(query, limit=limit, after=after)


def _add(storage: Storage, feedback: Feedback) -> object:
    return storage.feedback.add(accepted(feedback))


def _stream(storage: Storage, query: FeedbackQuery) -> Iterator[Feedback]:
    return storage.feedback.stream(query)


def _replace(storage: Storage, feedback: Feedback) -> None:
    storage.feedback.replace(feedback, [])


def _update_metadata(storage: Storage, application: str, session_id: str) -> None:
    storage.sessions.update(application, session_id, {"user": session_id})


def _changes(storage: Storage, application: str, since: datetime) -> Iterator[Feedback]:
    return storage.feedback.changes(application, since=since)


def _key(storage: Storage, key_id: str) -> ApiKey | None:
    return storage.keys.get(key_id)


def _many(storage: Storage, application: str, feedback_ids: Collection[str]) -> object:
    """Return the existing entries, sorted, as their order is undefined."""
    return sorted(storage.feedback.get_many(application, feedback_ids).items())


def _changed(
    before: Mapping[str, JsonValue], changes: Mapping[str, JsonValue], removed: Collection[str]
) -> Mapping[str, JsonValue]:
    return {**{name: value for name, value in before.items() if name not in removed}, **changes}


def _extras(storage: Storage, application: str) -> object:
    """Return the extras of all entries, sorted, as their order is undefined."""
    return sorted(storage.feedback.extras(application, hst.IDS).items())


class FeedbackMachine(ComparingMachine):
    """Any sequence of operations on feedback, session metadata, state entries and API keys."""

    @rule(batch=st.lists(hst.feedback_entries(), max_size=4))
    def add(self, batch: list[Feedback]) -> None:
        self._both(lambda storage: storage.feedback.add(accepted(*batch)))
        self._both(lambda storage: storage.outbox.events(limit=5))
        self._both(lambda storage: storage.feedback.applications())

    @rule(batch=st.lists(hst.feedback_entries(), max_size=3), extras=st.sampled_from(("{}", '{"x": "é"}')))
    def add_with_extras(self, batch: list[Feedback], extras: str) -> None:
        self._both(lambda storage: storage.feedback.add(accepted(*batch, extras=extras)))
        for application in hst.APPLICATIONS:
            self._both(partial(_extras, application=application))

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        feedback = data.draw(st.sampled_from(self._all_feedback()))
        self._both(lambda storage: storage.feedback.add(accepted(feedback)))

    @rule(feedback=hst.feedback_entries(), feedback_id=st.sampled_from(hst.IDS), key=st.sampled_from(hst.KEYS))
    def add_with_same_key(self, feedback: Feedback, feedback_id: str, key: str) -> None:
        first = evolve(feedback, idempotency_key=key)
        for one in (first, evolve(first, id=feedback_id)):
            self._both(partial(_add, feedback=one))

    @rule(application=st.sampled_from(hst.APPLICATIONS), feedback_id=st.sampled_from(hst.IDS))
    def get(self, application: str, feedback_id: str) -> None:
        self._both(lambda storage: storage.feedback.get(application, feedback_id))
        self._both(lambda storage: _many(storage, application, {feedback_id, *hst.IDS[:6]}))

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        feedback = data.draw(hst.later_versions(data.draw(st.sampled_from(self._all_feedback()))))
        event = Event.about(feedback, data.draw(hst.feedback_event_types()))
        self._both(lambda storage: storage.feedback.replace(feedback, [event]))
        # The same version again is now stale.
        self._both(lambda storage: storage.feedback.replace(feedback, [event]))
        self._both(lambda storage: storage.outbox.events(limit=50))
        for since in (EPOCH, feedback.updated_at):
            self._both(partial(_changes, application=feedback.application, since=since))

    @rule(application=st.sampled_from(hst.APPLICATIONS))
    def withdraw_counted(self, application: str) -> None:
        for one in list(self._model.feedback.stream(FeedbackQuery(application=application)))[:1]:
            self._both(partial(_replace, feedback=one.withdraw(at=NOON)))

    @rule(application=st.sampled_from(hst.APPLICATIONS))
    def change_newest_first(self, application: str) -> None:
        stored = list(self._model.feedback.stream(FeedbackQuery(application=application).in_any_state()))
        for minutes, one in enumerate(reversed(stored[-3:])):
            changed = one.answered("changed", at=NOON + timedelta(days=1, minutes=minutes))
            self._both(partial(_replace, feedback=changed))
        self._both(partial(_changes, application=application, since=EPOCH))

    @rule(feedback=hst.feedback_entries())
    def replace_unknown(self, feedback: Feedback) -> None:
        stored = {(one.application, one.id) for one in self._all_feedback()}
        if (feedback.application, feedback.id) not in stored:
            self._both(lambda storage: storage.feedback.replace(feedback, []))

    @rule(query=hst.queries())
    def erase(self, query: FeedbackQuery) -> None:
        self._both(lambda storage: storage.feedback.erase(query, at=NOON))

    @rule(application=st.sampled_from(hst.APPLICATIONS), limit=st.integers(1, 2))
    def erase_the_oldest(self, application: str, limit: int) -> None:
        query = FeedbackQuery(application=application).in_any_state()
        self._both(lambda storage: storage.feedback.erase(query, at=NOON, limit=limit))

    @rule(query=hst.queries(), limit=st.integers(1, 4))
    def page_through(self, query: FeedbackQuery, limit: int) -> None:
        after: Cursor | None = None
        while True:
            page = self._both(partial(_find, query=query, limit=limit, after=after))
            if page.next is None:
                return
            after = Cursor.parse(str(page.next))

    @rule(application=st.sampled_from(hst.APPLICATIONS))
    def read_by_session(self, application: str) -> None:
        for session_id in hst.SESSIONS:
            query = FeedbackQuery(application=application, session_id=session_id).in_any_state()
            self._both(partial(_stream, query=query))
            self.page_through(query, limit=1)

    @rule(application=st.sampled_from(hst.APPLICATIONS), session_id=st.sampled_from(hst.SESSIONS))
    def show_session(self, application: str, session_id: str) -> None:
        self._both(lambda storage: storage.feedback.session_entries(application, session_id))
        self._both(partial(_extras, application=application))

    @rule(query=hst.queries(), place=st.builds(Cursor, hst.instants(), st.sampled_from(hst.IDS)))
    def find_after_any_cursor(self, query: FeedbackQuery, place: Cursor) -> None:
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
        agent_id=st.none() | hst.one_or_several(st.sampled_from(hst.AGENTS)),
        since=st.none() | hst.instants(),
        until=st.none() | hst.instants(),
        group_by=hst.groupings(),
    )
    def summarize_time(
        self,
        application: str,
        agent_id: str | list[str] | None,
        since: datetime | None,
        until: datetime | None,
        group_by: GroupBy | None,
    ) -> None:
        query = FeedbackQuery(application=application, agent_id=agent_id, since=since, until=until)
        self._both(lambda storage: _groups(storage, query, group_by))

    @precondition(lambda self: self._all_feedback())
    @rule(data=st.data())
    def read_several_values(self, data: st.DataObject) -> None:
        # Those of stored feedback, as others would seldom find several entries.
        some = data.draw(st.lists(st.sampled_from(self._all_feedback()), min_size=2, max_size=4))
        filters: dict[str, Any] = {
            "agent_id": [one.agent_id for one in some if one.agent_id is not None],
            "rating": [one.rating for one in some],
            "tag": [tag for one in some for tag in one.tags],
            # Those without a value have None, as for entries that lack the name.
            "context": {name: [one.context.get(name) for one in some] for name in list(some[0].context)[:1]},
        }
        chosen = data.draw(st.sampled_from([{name: values} for name, values in filters.items() if values]))
        query = FeedbackQuery(application=some[0].application, **chosen).in_any_state()
        self._both(partial(_stream, query=query))
        self._both(lambda storage: _groups(storage, query, None))

    @rule(query=hst.queries(), limit=st.integers(1, 4), group_by=hst.groupings())
    def count_by_author(self, query: FeedbackQuery, limit: int, group_by: GroupBy | None) -> None:
        self._both(lambda storage: sorted(storage.feedback.ratings_by_author(query, group_by, limit=limit), key=repr))

    @rule(application=st.sampled_from(hst.APPLICATIONS))
    def count_terms(self, application: str) -> None:
        self._both(lambda storage: comparable_terms(storage.feedback.term_counts(application)))

    @rule()
    def rebuild(self) -> None:
        # Nothing was damaged, so nothing needs to be rebuilt.
        self._both(lambda storage: storage.rebuild())

    @rule()
    def list_applications(self) -> None:
        self._both(lambda storage: storage.feedback.applications())

    @invariant()
    def statistics_equal_a_recount(self) -> None:
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
        changes=hst.metadata(),
        removed=st.sets(st.sampled_from(hst.METADATA_NAMES)),
    )
    def change_metadata(
        self, application: str, session_id: str, changes: dict[str, JsonValue], removed: set[str]
    ) -> None:
        apply = partial(_changed, changes=changes, removed=removed)
        self._both(lambda storage: storage.sessions.change(application, session_id, apply))
        self._both(lambda storage: storage.sessions.get(application, session_id))
        self._both(lambda storage: storage.sessions.stream())

    @rule(
        application=st.sampled_from(hst.APPLICATIONS),
        session_id=st.sampled_from(hst.SESSIONS),
        keys=st.none() | st.lists(st.sampled_from(hst.METADATA_NAMES)),
    )
    def delete_metadata(self, application: str, session_id: str, keys: list[str] | None) -> None:
        self._both(lambda storage: storage.sessions.delete(application, session_id, keys))
        self._both(lambda storage: storage.sessions.get(application, session_id))
        self._both(lambda storage: storage.sessions.stream())

    @rule(application=st.sampled_from(hst.APPLICATIONS), session_id=st.sampled_from(hst.SESSIONS))
    def delete_metadata_of_one_session(self, application: str, session_id: str) -> None:
        for each in hst.SESSIONS:
            self._both(partial(_update_metadata, application=application, session_id=each))
        self._both(lambda storage: storage.sessions.delete(application, session_id))
        self._both(lambda storage: storage.sessions.stream())

    @rule(kind=st.sampled_from(hst.KINDS), entry=hst.state_entries(), deleted=st.none() | st.sampled_from(hst.NAMES))
    def put_and_delete_state_entries(self, kind: str, entry: StateEntry, deleted: str | None) -> None:
        self._both(lambda storage: storage.state.put(kind, entry))
        self._both(lambda storage: storage.state.get(kind, entry.name))
        if deleted is not None:
            self._both(lambda storage: storage.state.delete(kind, deleted))
        self._both(lambda storage: storage.state.all(kind))

    @rule(key=hst.api_keys(), revoked=st.none() | st.sampled_from(hst.KEY_IDS), at=hst.instants())
    def add_and_revoke_keys(self, key: ApiKey, revoked: str | None, at: datetime) -> None:
        self._both(lambda storage: storage.keys.add(key))
        if revoked is not None:
            self._both(lambda storage: storage.keys.revoke(revoked, at=at))
        for key_id in hst.KEY_IDS:
            self._both(partial(_key, key_id=key_id))
        self._both(lambda storage: storage.keys.keys())

"""The feedback repository in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

from harken.domain.alerts.alert import Alert
from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackNotFound, StaleFeedback
from harken.domain.events import Event, erasure_deliveries
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.sampling import AuthorRatings, count_by_author
from harken.domain.insight.terms import TermCounts
from harken.domain.instants import slot_start
from harken.domain.query import Cursor, Dimension, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.repository import (
    Accepted,
    Conflict,
    DuplicateOf,
    FeedbackRepository,
    Outcome,
    SessionEntry,
    Stored,
    Taken,
)
from harken_adapters.storage.memory.data import Data, change_place
from harken_adapters.storage.memory.terms import CountedTerms

_EMPTY = Summary()


class MemoryFeedbackRepository(FeedbackRepository):
    """Feedback in dictionaries and sorted lists."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._terms: defaultdict[str, CountedTerms] = defaultdict(CountedTerms)

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        with self._data.locked():
            return [self._add(item) for item in batch]

    def get(self, application: str, feedback_id: str) -> Feedback:
        with self._data.locked():
            found = self._data.applications[application].feedback.get(feedback_id)
        if found is None:
            raise FeedbackNotFound(application, feedback_id)
        return found

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        with self._data.locked():
            stored = self._data.applications[application].feedback
            return {feedback_id: stored[feedback_id] for feedback_id in feedback_ids if feedback_id in stored}

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        with self._data.locked():
            application = self._data.applications[query.application]
            places = application.places(query)
            end = len(places) if after is None else bisect_left(places, after)
            found: list[Feedback] = []
            for index in range(end - 1, -1, -1):
                feedback = application.feedback[places[index].id]
                if query.matches(feedback):
                    if len(found) == limit:
                        return Page(tuple(found), Cursor.of(found[-1]))
                    found.append(feedback)
        return Page(tuple(found))

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        with self._data.locked():
            application = self._data.applications[query.application]
            places = tuple(application.places(query))
        for place in places:
            feedback = application.feedback.get(place.id)
            if feedback is not None and query.matches(feedback):
                yield feedback

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        with self._data.locked():
            stored = self._data.applications[application]
            entries = [stored.feedback[place.id] for place in stored.sessions.get(session_id, ())]
            extras = stored.extras
            return [SessionEntry.of(one, extras.get(one.id, "")) for one in entries if one.is_counted]

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        with self._data.locked():
            stored = self._data.applications[application].extras
            return {feedback_id: stored[feedback_id] for feedback_id in feedback_ids if feedback_id in stored}

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        with self._data.locked():
            kept = self._data.applications[application]
            places = kept.changed[bisect_left(kept.changed, (since, "")) :]
        for place in places:
            feedback = kept.feedback.get(place[1])
            if feedback is not None and change_place(feedback) == place:
                yield feedback

    def applications(self) -> Sequence[str]:
        with self._data.locked():
            return sorted(name for name, application in self._data.applications.items() if application.feedback)

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        with self._data.locked():
            stored = self.get(feedback.application, feedback.id)
            if stored.version != (feedback.version - 1 if over is None else over):
                raise StaleFeedback(
                    f"Feedback {feedback.id!r} now has version {stored.version}; "
                    f"version {feedback.version} cannot follow it"
                )
            for event in events:
                self._data.events.put(event)
            self._data.applications[feedback.application].replace(stored, feedback)

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        with self._data.locked():
            erased = {feedback.id: feedback for feedback in islice(self.stream(query), limit)}
            waiting = self._waiting(query.application, erased)
            alerts = self._empty_alerts(query.application, erased, at)
            deliveries = sum(self._erase(feedback, waiting[feedback.id], at) for feedback in erased.values())
        # Also if nothing was found: an earlier call may have been interrupted before this step.
        if query.application in self._terms:
            self.term_counts(query.application)
        return Erased(feedback=len(erased), alerts=alerts, deliveries=deliveries)

    def ratings_by_author(
        self, query: FeedbackQuery, group_by: GroupBy | None = None, *, limit: int
    ) -> Sequence[AuthorRatings]:
        with self._data.locked():
            rated = [one for one in self.stream(query) if one.rating is not Rating.NEUTRAL]
        return count_by_author(rated[-limit:], group_by)

    def term_counts(self, application: str) -> TermCounts:
        return self._terms[application].update(partial(self._counted, application))

    def _counted(self, application: str) -> list[Feedback]:
        """The feedback of an application that counts."""
        with self._data.locked():
            return list(self.stream(FeedbackQuery(application=application)))

    def _empty_alerts(self, application: str, erased: Mapping[str, Feedback], at: datetime) -> int:
        """Empty the alerts about this feedback, and return their number."""
        places = self._data.applications[application].sessions
        sessions = {feedback.session_id for feedback in erased.values()}
        empty_sessions = {name for name in sessions if all(place.id in erased for place in places[name])}
        about_it = [
            alert
            for alert in self._data.alerts[application].by_id.values()
            if not erased.keys().isdisjoint(alert.feedback_ids) or _is_about_session(alert, empty_sessions)
        ]
        for alert in about_it:
            remains = alert.subject.value not in empty_sessions and bool(places.get(alert.subject.value))
            self._data.empty(alert, alert.emptied(at=at, session_remains=remains))
        return len(about_it)

    def _waiting(self, application: str, erased: Mapping[str, Feedback]) -> defaultdict[str, list[Event]]:
        """Return the events about this feedback that were not fanned out yet, by its id."""
        waiting: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self._data.events.by_id.values():
            if event.application == application and event.subject_id in erased and event.type.about_feedback:
                waiting[event.subject_id].append(event)
        return waiting

    def _erase(self, feedback: Feedback, events: Sequence[Event], at: datetime) -> int:
        """Remove feedback, these events and the deliveries about it, and return the number of these deliveries."""
        event = Event.erasure(feedback, at=at)
        deliveries = self._data.deliveries.about(event)
        removed = [delivery for delivery in deliveries if delivery.event.type.about_feedback]
        notified = self._data.deliveries.notified.get((feedback.application, feedback.id), {})
        added = erasure_deliveries(event, deliveries, notified)
        self._data.erase(feedback, events, removed, added)
        return len(removed)

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        with self._data.locked():
            counters = self._counters(query, group_by)
            if counters is not None:
                return _merge(counters)
            matching = list(self.stream(query))
        if group_by is None:
            return _merge((None, Summary.of(feedback)) for feedback in matching)
        return _merge((key, Summary.of(feedback)) for feedback in matching for key in group_by.keys(feedback))

    def _add(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        application = self._data.applications[feedback.application]
        if (occupant := application.occupant(feedback)) is None:
            # Events first: an interruption may leave an event without feedback, which is ignored, but not the reverse.
            for event in item.events:
                self._data.events.put(event)
            application.insert(feedback, item.extras)
            return Stored(feedback)
        earlier, taken = occupant
        same_body = taken is Taken.IDEMPOTENCY_KEY and earlier.fingerprint == feedback.fingerprint
        if same_body or (taken is Taken.ID and earlier == feedback):
            return DuplicateOf(earlier)
        return Conflict(earlier, taken)

    def _counters(self, query: FeedbackQuery, group_by: GroupBy | None) -> Iterable[tuple[GroupKey, Summary]] | None:
        """Return the statistics from counters, or ``None`` if counters cannot answer the query."""
        plain = FeedbackQuery(application=query.application, agent_id=query.agent_id)
        dimension = group_by.dimension if group_by else None
        if query != plain or dimension not in (None, Dimension.AGENT, Dimension.SLOT):
            return None
        application = self._data.applications[query.application]
        if dimension is Dimension.SLOT:
            return [
                (slot_start(slot), summary)
                for (agent_id, slot), summary in application.slots.items()
                if query.agent_id is None or agent_id in query.agent_id
            ]
        return [
            (agent_id if dimension else None, summary)
            for agent_id, summary in application.totals.items()
            if query.agent_id is None or agent_id in query.agent_id
        ]


def _is_about_session(alert: Alert, names: Collection[str]) -> bool:
    return alert.subject.by == "session" and alert.subject.value in names


def _merge(parts: Iterable[tuple[GroupKey, Summary]]) -> dict[GroupKey, Summary]:
    groups: dict[GroupKey, Summary] = {}
    for key, summary in parts:
        groups[key] = groups.get(key, _EMPTY) + summary
    return groups

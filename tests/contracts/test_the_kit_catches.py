"""The contract kit fails on adapters with typical defects."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from itertools import count, islice, takewhile
from time import sleep
from typing import Any, Final

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from harken.domain.access import ApiKey
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.erasure import Erased
from harken.domain.errors import DeliveryNotFound, HarkenError, StaleFeedback
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.terms import TermCounts, TermTally, words
from harken.domain.metadata import MetadataSize, set_paths
from harken.domain.moderation import ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.conversations import JsonObject, missing_messages
from harken.ports.repository import Accepted, Conflict, FeedbackRepository, Outcome, SessionEntry, Stored, Taken
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing import ConversationMachine, FeedbackMachine, OutboxMachine, StorageContract, with_content
from harken.testing.alert_contract import AlertContract
from harken.testing.conversation_contract import ConversationContract
from harken.testing.erasure_contract import ErasureContract
from harken.testing.feedback_contract import FeedbackContract
from harken.testing.key_contract import KeyContract
from harken.testing.order_contract import OrderContract
from harken.testing.outbox_contract import OutboxContract
from harken.testing.session_contract import SessionContract
from harken.testing.state_contract import StateContract
from harken.testing.statistics_contract import StatisticsContract
from harken.testing.strategies import APPLICATIONS
from harken.testing.tenant_contract import TenantContract
from harken_adapters.storage import memory
from harken_adapters.storage.memory import (
    MemoryAlertRepository,
    MemoryConversationRepository,
    MemoryFeedbackRepository,
    MemoryKeyRepository,
    MemoryOutbox,
    MemorySessionRepository,
    MemoryStateRepository,
)
from harken_adapters.storage.memory.data import Data

pytestmark = pytest.mark.slow


class LostUpdate(MemoryFeedbackRepository):
    """Replaces any version without checking it."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        stored = self.get(feedback.application, feedback.id)
        try:
            super().replace(feedback, events, over=over)
        except StaleFeedback:
            self._data.applications[feedback.application].replace(stored, feedback)


class NextVersionOnly(MemoryFeedbackRepository):
    """Checks for the previous version instead of the given one."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        super().replace(feedback, events)


class WrongOrder(MemoryFeedbackRepository):
    """Lists the oldest entries first."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        return evolve(page, items=page.items[::-1])


class WrongOrderOfEquals(MemoryFeedbackRepository):
    """Streams feedback with equal times in the order in which it was added."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        arrival = {id_: index for index, id_ in enumerate(self._data.applications[query.application].feedback)}
        return iter(sorted(super().stream(query), key=lambda one: (one.created_at, arrival[one.id])))


class SharedObject(MemorySessionRepository):
    """Returns the stored dictionary instead of a copy."""

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        return self._data.metadata[application, session_id]


class DoubleIdempotency(MemoryFeedbackRepository):
    """Stores two entries with the same idempotency key."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        for application in self._data.applications.values():
            application.keys.clear()
        return super().add(batch)


class SharesKeysBetweenAuthors(MemoryFeedbackRepository):
    """Treats an idempotency key as unique in its session, for all authors."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._add_one(item) for item in batch]

    def _add_one(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        application = self._data.applications[feedback.application]
        for (session_id, _, key), holder in application.keys.items():
            if (session_id, key) == (feedback.session_id, feedback.idempotency_key) and holder != feedback.id:
                return Conflict(application.feedback[holder], Taken.IDEMPOTENCY_KEY)
        return super().add([item])[0]


class IgnoresAnonymousKeys(MemoryFeedbackRepository):
    """Ignores the idempotency key of feedback without an author, as a unique index with a null would."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        for application in self._data.applications.values():
            for place in [place for place in application.keys if place[1] is None]:
                del application.keys[place]
        return super().add(batch)


class SkippingCursor(MemoryFeedbackRepository):
    """Skips an entry between pages."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit + (after is not None), after=after)
        return page if after is None else evolve(page, items=page.items[1:])


class RepeatingCursor(MemoryFeedbackRepository):
    """Repeats the last entry of the previous page."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        cursor = Cursor(page.next.created_at, page.next.id + "0") if page.next else None
        return evolve(page, next=cursor)


class EmptyLastPage(MemoryFeedbackRepository):
    """Returns a cursor whenever a page is full."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        return evolve(page, next=Cursor.of(page.items[-1])) if len(page.items) == limit else page


class FirstOfSeveralAgents(MemoryFeedbackRepository):
    """Takes the first of several agents in the statistics."""

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        first = None if query.agent_id is None else min(query.agent_id)
        return super().summarize(evolve(query, agent_id=first), group_by)


class AgentAfterAgent(MemoryFeedbackRepository):
    """Lists the feedback of several agents one agent after the other."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        for agent_id in sorted(query.agent_id or (None,), key=str):
            yield from super().stream(evolve(query, agent_id=agent_id))


class AllOfSeveralTags(MemoryFeedbackRepository):
    """Finds only feedback with all of several tags."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        return (one for one in super().stream(query) if (query.tag or set()) <= set(one.tags))


class ValueWithoutMissing(MemoryFeedbackRepository):
    """Does not find feedback without a context value if the filter has other values too."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        several = [name for name, labels in query.context.items() if len(labels) > 1]
        return (one for one in super().stream(query) if not any(one.context.get(name) is None for name in several))


class IgnoresHasComment(MemoryFeedbackRepository):
    """Ignores the filter on comments."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        return super().stream(evolve(query, has_comment=None))


class CountsWithdrawn(MemoryFeedbackRepository):
    """Counts withdrawn feedback in the statistics."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        before = self.get(feedback.application, feedback.id)
        super().replace(feedback, events, over=over)
        if before.is_counted and feedback.withdrawn:
            totals = self._data.applications[feedback.application].totals
            totals[feedback.agent_id] = totals[feedback.agent_id] + Summary.of(feedback)


class CountsPending(MemoryFeedbackRepository):
    """Counts pending feedback in the statistics."""

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        plain = FeedbackQuery(application=query.application)
        return super().summarize(query.in_any_state() if query == plain else query, group_by)


class CountsTermsOfWithdrawn(MemoryFeedbackRepository):
    """Counts the terms of withdrawn feedback."""

    def term_counts(self, application: str) -> TermCounts:
        return TermCounts.fold(self.stream(FeedbackQuery(application=application, withdrawn=None)))


class CountsTermsOfRejected(MemoryFeedbackRepository):
    """Counts the terms of rejected feedback."""

    def term_counts(self, application: str) -> TermCounts:
        statuses = frozenset({ModerationStatus.APPROVED, ModerationStatus.REJECTED})
        return TermCounts.fold(self.stream(FeedbackQuery(application=application, statuses=statuses)))


class CountsTermsOfPending(MemoryFeedbackRepository):
    """Counts the terms of feedback that waits for a moderator."""

    def term_counts(self, application: str) -> TermCounts:
        statuses = frozenset({ModerationStatus.APPROVED, ModerationStatus.PENDING})
        return TermCounts.fold(self.stream(FeedbackQuery(application=application, statuses=statuses)))


class CountsTermsOfFirstVersions(MemoryFeedbackRepository):
    """Counts the terms that feedback had when they were first read, not those after an edit."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self._first: dict[tuple[str, str], Feedback] = {}

    def term_counts(self, application: str) -> TermCounts:
        counted = self.stream(FeedbackQuery(application=application))
        return TermCounts.fold(self._first.setdefault((application, one.id), one) for one in counted)


class CountsTermsOfErased(MemoryFeedbackRepository):
    """Counts the terms of feedback that was erased since it was counted."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self._counted: dict[tuple[str, str], Feedback] = {}

    def term_counts(self, application: str) -> TermCounts:
        stored = {(application, one.id): one for one in self.stream(FeedbackQuery(application=application))}
        there = self.get_many(application, [feedback_id for _, feedback_id in self._counted])
        erased = {place: one for place, one in self._counted.items() if place[0] == application and one.id not in there}
        self._counted |= stored
        return TermCounts.fold({**erased, **stored}.values())


class WatermarkedTerms(MemoryFeedbackRepository):
    """Counts the terms up to the newest feedback of the first reading, and those of the rest separately."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self._watermarks: dict[str, tuple[datetime, frozenset[str]]] = {}

    def term_counts(self, application: str) -> TermCounts:
        counted = list(self.stream(FeedbackQuery(application=application)))
        if counted and application not in self._watermarks:
            self._watermarks[application] = counted[-1].created_at, frozenset(one.id for one in counted)
        return TermCounts.fold(one for one in counted if self._counts(one, *self._watermarks[application]))

    def _counts(self, feedback: Feedback, until: datetime, known: frozenset[str]) -> bool:
        raise NotImplementedError


class ForgetsLateTerms(WatermarkedTerms):
    """Omits the terms of feedback that arrives late, with a creation time before the watermark."""

    def _counts(self, feedback: Feedback, until: datetime, known: frozenset[str]) -> bool:
        return feedback.created_at > until or feedback.id in known


class ForgetsNewTerms(WatermarkedTerms):
    """Omits the terms of feedback after the watermark."""

    def _counts(self, feedback: Feedback, until: datetime, known: frozenset[str]) -> bool:
        return feedback.created_at <= until


class SubtractsUnchangedTerms(MemoryFeedbackRepository):
    """Subtracts the terms of feedback at any change, and adds them only if the comment changed."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self._lost: set[str] = set()

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        before = self.get(feedback.application, feedback.id)
        super().replace(feedback, events, over=over)
        if before.content == feedback.content:
            self._lost.add(feedback.id)

    def term_counts(self, application: str) -> TermCounts:
        counted = self.stream(FeedbackQuery(application=application))
        return TermCounts.fold(one for one in counted if one.id not in self._lost)


class CountsTermsOfAllApplications(MemoryFeedbackRepository):
    """Counts the terms of all applications together."""

    def term_counts(self, application: str) -> TermCounts:
        tally = TermTally()
        for name in APPLICATIONS:
            tally.add_counts(super().term_counts(name))
        return tally.counts


class CountsFrequencies(MemoryFeedbackRepository):
    """Counts how often terms occur, instead of the comments that have them."""

    def term_counts(self, application: str) -> TermCounts:
        counts = super().term_counts(application)
        repeated = {Rating.UP: dict(counts.ups), Rating.DOWN: dict(counts.downs), Rating.NEUTRAL: {}}
        for one in self.stream(FeedbackQuery(application=application)):
            for word, times in Counter(words(one.comment)).items():
                repeated[one.rating][word] = repeated[one.rating].get(word, 0) + times - 1
        return evolve(counts, ups=repeated[Rating.UP], downs=repeated[Rating.DOWN])


class CountsNeutralTerms(MemoryFeedbackRepository):
    """Counts the terms of neutral feedback as those of thumbs-down feedback."""

    def term_counts(self, application: str) -> TermCounts:
        counted = self.stream(FeedbackQuery(application=application))
        as_down = (with_content(one, rating=Rating.DOWN) if one.rating is Rating.NEUTRAL else one for one in counted)
        return TermCounts.fold(as_down)


class OmitsSounds(MemoryFeedbackRepository):
    """Counts words only, not what the sentiment analyser said."""

    def term_counts(self, application: str) -> TermCounts:
        counted = self.stream(FeedbackQuery(application=application))
        return TermCounts.fold(with_content(one, sentiment=None) for one in counted)


class KeepsTermsWithoutComments(MemoryFeedbackRepository):
    """Lists terms that no comment has any more."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    def term_counts(self, application: str) -> TermCounts:
        counts = super().term_counts(application)
        self._seen[application].update(counts.downs)
        return evolve(counts, downs={**dict.fromkeys(self._seen[application], 0), **counts.downs})


class MillisecondTimes(MemoryFeedbackRepository):
    """Stores times to the millisecond only."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(item, feedback=self._round(item.feedback)) for item in batch])

    def _round(self, feedback: Feedback) -> Feedback:
        at = feedback.created_at
        return evolve(feedback, created_at=at.replace(microsecond=at.microsecond // 1000 * 1000))


class LosesEvents(MemoryFeedbackRepository):
    """Stores feedback without its events."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(item, events=()) for item in batch])


class LeavesDeliveries(MemoryFeedbackRepository):
    """Erases feedback, but not its deliveries."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        deliveries = list(self._data.deliveries.by_id.values())
        erased = super().erase(query, at=at, limit=limit)
        for delivery in deliveries:
            self._data.deliveries.put(delivery)
        return erased


class IgnoresTheLimitOfErasures(MemoryFeedbackRepository):
    """Erases all matching feedback at once."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        return super().erase(query, at=at)


class ErasesAllEvents(MemoryFeedbackRepository):
    """Erases all waiting events, including those of alerts and other feedback."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        erased = super().erase(query, at=at, limit=limit)
        if erased.feedback:
            self._data._events = type(self._data.events)()
        return erased


class DoesNotNotify(MemoryFeedbackRepository):
    """Erases feedback without notifying the channels."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        before = set(self._data.deliveries.by_id)
        erased = super().erase(query, at=at, limit=limit)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.id not in before:
                self._data.deliveries.remove(delivery)
        return erased


class NotifiesTooEarly(MemoryFeedbackRepository):
    """Sends the erasure before deliveries in progress have ended."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        erased = super().erase(query, at=at, limit=limit)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.awaits is not None:
                self._data.deliveries.put(evolve(delivery, awaits=None, leased_until=None))
        return erased


class RemovesErasureNotifications(MemoryFeedbackRepository):
    """Removes the notifications of earlier erasures."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        before = [one for one in self._data.deliveries.by_id.values() if not one.event.type.about_alert]
        erased = super().erase(query, at=at, limit=limit)
        for delivery in before:
            if erased.feedback and not delivery.event.type.about_feedback:
                self._data.deliveries.remove(delivery)
        return erased


class KeepsAlertsOfErased(MemoryFeedbackRepository):
    """Does not change alerts about erased feedback."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        alerts = list(self._data.alerts[query.application].by_id.values())
        erased = super().erase(query, at=at, limit=limit)
        for alert in alerts:
            self._data.alerts[query.application].put(alert)
        return erased


class RemovesTwinsDeliveriesAfterErasing(MemoryFeedbackRepository):
    """Removes deliveries about erased feedback ids in all applications, after erasing."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        erased_ids = {feedback.id for feedback in self.stream(query)}
        erased = super().erase(query, at=at, limit=limit)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.event.subject_id in erased_ids and delivery.event.type.about_feedback:
                self._data.deliveries.remove(delivery)
        return erased


class GetManyLeaksAcrossApplications(MemoryFeedbackRepository):
    """Reads entries of all applications."""

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        found = [super(GetManyLeaksAcrossApplications, self).get_many(name, feedback_ids) for name in APPLICATIONS]
        return found[0] | found[1] | super().get_many(application, feedback_ids)


class LosesExtras(MemoryFeedbackRepository):
    """Stores no extras of a batch."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(item, extras=item.extras * (len(batch) == 1)) for item in batch])


class ParsesExtras(MemoryFeedbackRepository):
    """Stores extras as values instead of the text."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(one, extras=one.extras and json.dumps(json.loads(one.extras))) for one in batch])


class ShowsEmptyExtras(MemoryFeedbackRepository):
    """Returns empty extras of entries that have none."""

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        return dict.fromkeys(self.get_many(application, feedback_ids), "") | super().extras(application, feedback_ids)


class ExtrasOfCountedOnly(MemoryFeedbackRepository):
    """Leaves out the extras of withdrawn, pending and rejected feedback."""

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        stored = self._data.applications[application].feedback
        found = super().extras(application, feedback_ids)
        return {feedback_id: extras for feedback_id, extras in found.items() if stored[feedback_id].is_counted}


class ExtrasLeakAcrossApplications(MemoryFeedbackRepository):
    """Returns the extras of other applications."""

    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        every = [application.extras for application in self._data.applications.values()]
        return {id_: extras[id_] for extras in every for id_ in feedback_ids if id_ in extras}


class ReplacesExtras(MemoryFeedbackRepository):
    """Removes the extras when feedback is changed."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        super().replace(feedback, events, over=over)
        self._data.applications[feedback.application].extras.pop(feedback.id, None)


class OverwritesExtras(MemoryFeedbackRepository):
    """Stores the extras of a duplicate over those of the first."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        outcomes = super().add(batch)
        for item, outcome in zip(batch, outcomes, strict=True):
            if item.extras and not isinstance(outcome, Stored):
                self._data.applications[item.feedback.application].extras[outcome.feedback.id] = item.extras
        return outcomes


class KeepsExtrasOfErased(MemoryFeedbackRepository):
    """Leaves the extras of erased feedback, which the next feedback with its id has."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        extras = self._data.applications[query.application].extras
        before = dict(extras)
        erased = super().erase(query, at=at, limit=limit)
        extras.update(before)
        return erased


class ShowsHidden(MemoryFeedbackRepository):
    """Shows withdrawn, pending and rejected feedback in sessions."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        query = FeedbackQuery(application=application, session_id=session_id).in_any_state()
        stored = self._data.applications[application].extras
        return [SessionEntry.of(one, stored.get(one.id, "")) for one in self.stream(query)]


class ShowsNewestFirst(MemoryFeedbackRepository):
    """Shows the newest entry of a session first."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        return [*super().session_entries(application, session_id)][::-1]


class ShowsMilliseconds(MemoryFeedbackRepository):
    """Shows times of sessions without their microseconds."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        found = super().session_entries(application, session_id)
        return [one._replace(created_at=f"{one.created_at[:-3]}000") for one in found]


class ShowsNoExtras(MemoryFeedbackRepository):
    """Shows the entries of sessions without their extras."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        query = FeedbackQuery(application=application, session_id=session_id)
        return map(SessionEntry.of, self.stream(query))


class ShowsEmptyValues(MemoryFeedbackRepository):
    """Shows entries that have nothing else with an empty dictionary."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        return [one._replace(rest=one.rest or {}) for one in super().session_entries(application, session_id)]


class ShowsAllSessions(MemoryFeedbackRepository):
    """Shows the entries of every session of the application."""

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        stored = self._data.applications[application].extras
        every = self.stream(FeedbackQuery(application=application))
        return [SessionEntry.of(one, stored.get(one.id, "")) for one in every]


class MissingLease(MemoryOutbox):
    """Claims a delivery without a lease."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        claimed = super().claim(channel, now=now, until=until, limit=limit)
        for delivery in claimed:
            self._data.deliveries.put(evolve(delivery, leased_until=None))
        return claimed


class SettlesLostClaims(MemoryOutbox):
    """Lets a worker settle after its lease was lost."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        stored = self._data.deliveries.by_id
        return super().settle([evolve(one, attempts=stored[one.id].attempts) for one in claimed if one.id in stored])


class SettlesAllOrNothing(MemoryOutbox):
    """Settles no delivery of a batch if one claim was lost."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        before = [self._data.deliveries.by_id.get(one.id) for one in claimed]
        if lost := super().settle(claimed):
            for delivery in filter(None, before):
                self._data.deliveries.put(delivery)
        return lost


class HidesLostClaims(MemoryOutbox):
    """Does not return the lost claims."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        super().settle(claimed)
        return []


class ClaimsForAllChannels(MemoryOutbox):
    """Claims deliveries of other channels."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        channels = sorted({delivery.channel for delivery in self._data.deliveries.by_id.values()})
        claims = [super(ClaimsForAllChannels, self).claim(one, now=now, until=until, limit=limit) for one in channels]
        return [delivery for claim in claims for delivery in claim][:limit]


class IgnoresOrder(MemoryOutbox):
    """Claims due deliveries although an earlier one about the same subject is pending."""

    def _is_next(self, delivery: Delivery) -> bool:
        return True


class OrdersDueOnly(MemoryOutbox):
    """Ignores earlier deliveries that are backing off."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        waiting = [one for one in self._data.deliveries.by_id.values() if one.due_at > now]
        for delivery in waiting:
            self._data.deliveries.remove(delivery)
        claimed = super().claim(channel, now=now, until=until, limit=limit)
        for delivery in waiting:
            self._data.deliveries.put(delivery)
        return claimed


class OrdersAllChannels(MemoryOutbox):
    """Delays a channel because of another one."""

    def _is_next(self, delivery: Delivery) -> bool:
        return not any(
            other.state is DeliveryState.PENDING and other.event.version < delivery.event.version
            for other in self._data.deliveries.about(delivery.event)
        )


class OrdersTwins(MemoryOutbox):
    """Treats equal ids as the same subject, for all applications and kinds."""

    def _is_next(self, delivery: Delivery) -> bool:
        return not any(
            other.state is DeliveryState.PENDING
            and (other.channel, other.event.subject_id) == (delivery.channel, delivery.event.subject_id)
            and other.event.version < delivery.event.version
            for other in self._data.deliveries.by_id.values()
        )


class NeverReleasesErasures(MemoryOutbox):
    """Does not release an erasure when the awaited delivery has ended."""

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        return


class SendsErasuresOfUnsent(MemoryOutbox):
    """Sends an erasure although the feedback was never sent."""

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        super()._hand_over(claim, sent=True)


class ForgetsNotifiedChannels(MemoryOutbox):
    """Forgets the notified channels together with old deliveries."""

    def forget(self, *, before: datetime) -> int:
        notified = {place: dict(channels) for place, channels in self._data.deliveries.notified.items()}
        forgotten = super().forget(before=before)
        self._data.deliveries.notified.clear()
        self._data.deliveries.notified.update(notified)
        return forgotten


class DiscardsNotifiedChannels(MemoryOutbox):
    """Forgets the notified channels together with discarded deliveries."""

    def discard(self, claimed: Sequence[Delivery]) -> None:
        notified = {place: dict(channels) for place, channels in self._data.deliveries.notified.items()}
        super().discard(claimed)
        self._data.deliveries.notified.clear()
        self._data.deliveries.notified.update(notified)


class AddsAgain(MemoryOutbox):
    """Replaces a stored delivery."""

    def add(self, delivery: Delivery) -> bool:
        self._data.deliveries.put(delivery)
        return True


class AddsWithoutLease(MemoryOutbox):
    """Stores a leased delivery so that it can be claimed at once."""

    def add(self, delivery: Delivery) -> bool:
        return super().add(evolve(delivery, leased_until=None))


class ForgetsSessions(MemoryOutbox):
    """Stores the session of an erasure only."""

    def add(self, delivery: Delivery) -> bool:
        event = delivery.event if delivery.event.type is EventType.ERASED else evolve(delivery.event, session_id=None)
        return super().add(evolve(delivery, event=event))


class RecordsTwins(MemoryOutbox):
    """Records channels for the feedback with the same id in other applications."""

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        for other in list(self._data.applications):
            super().record_notified(other, feedback_ids, channel)


class RecordsMissing(MemoryOutbox):
    """Records channels for feedback that does not exist."""

    def record_notified(self, application: str, feedback_ids: Collection[str], channel: str) -> None:
        for feedback_id in feedback_ids:
            self._data.deliveries.notified[application, feedback_id] |= {channel: None}


class ReplaysDeadOnly(MemoryOutbox):
    """Replays dead deliveries only."""

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        if self.delivery(delivery_id).state is DeliveryState.DELIVERED:
            raise DeliveryNotFound(delivery_id)
        return super().replay(delivery_id, due_at=due_at)


class CountsDelivered(MemoryOutbox):
    """Counts delivered deliveries as pending."""

    def counts(self, query: DeliveryQuery) -> Mapping[str, int]:
        return super().counts(evolve(query, state=None))


class CountsReleases(MemoryOutbox):
    """Counts a released claim as an attempt."""

    def release(self, claimed: Sequence[Delivery]) -> None:
        super().release(claimed)
        for claim in claimed:
            released = self._data.deliveries.by_id.get(claim.id)
            if released is not None and released.attempts == claim.attempts - 1:
                self._data.deliveries.put(evolve(released, attempts=claim.attempts))


class ContinuesRetries(MemoryOutbox):
    """Continues the retries of a replayed delivery where they ended."""

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        revived = evolve(super().replay(delivery_id, due_at=due_at), attempts_before=0)
        self._data.deliveries.put(revived)
        return revived


class ForgetsDead(MemoryOutbox):
    """Forgets dead deliveries."""

    def forget(self, *, before: datetime) -> int:
        dead = [one for one in self.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=99) if one.due_at < before]
        for delivery in dead:
            self._data.deliveries.remove(delivery)
        return super().forget(before=before)


class FiltersAfterThePage(MemoryOutbox):
    """Filters by channel after taking a page."""

    def deliveries(self, query: DeliveryQuery, *, limit: int, **rest: Any) -> Sequence[Delivery]:
        page = super().deliveries(evolve(query, channel=None), limit=limit, **rest)
        return [delivery for delivery in page if query.channel in (None, delivery.channel)]


class FansOutAgain(MemoryOutbox):
    """Fans out events that were fanned out before."""

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        for event, _ in plan:
            self._data.events.put(event)
        return super().fan_out(plan, due_at=due_at)


class ReplacesAllMetadata(MemorySessionRepository):
    """Replaces all metadata instead of updating it."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        self.delete(application, session_id)
        super().update(application, session_id, changes)


class TreatsNamesAsPaths(MemorySessionRepository):
    """Stores a name with a dot in a nested dictionary."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        super().update(application, session_id, set_paths({}, changes))


class LosesChanges(MemorySessionRepository):
    """Reads, changes and writes metadata in three steps."""

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        before = self.get(application, session_id)
        sleep(0.001)
        after = apply(before)
        return super().change(application, session_id, lambda _: after)


class KeepsRemovedNames(MemorySessionRepository):
    """Sets the names that a change returns, and removes none."""

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        return super().change(application, session_id, lambda before: {**before, **apply(before)})


class UnlimitedChanges(MemorySessionRepository):
    """Does not limit what a change returns."""

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        before = self.get(application, session_id)
        after = dict(sorted(apply(before).items()))
        self._data.metadata[application, session_id] = deepcopy(after)
        return MetadataVersions(before, after)


class StoresWhatAChangeReturns(MemorySessionRepository):
    """Stores the objects that a change returns, without copying them."""

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        versions = super().change(application, session_id, apply)
        self._data.metadata[application, session_id] = dict(versions.after)
        return versions


class TreatsKeyAsLetters(MemorySessionRepository):
    """Treats a single key as a list of its letters."""

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        return super().delete(application, session_id, keys if keys is None else list(keys))


class UnlimitedMetadata(MemorySessionRepository):
    """Does not limit the metadata of a session."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


class LimitsEachUpdate(MemorySessionRepository):
    """Checks the size of an update, but not the total."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        MetadataSize().check_growth_to(MetadataSize.of(changes))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


class ChecksMetadataTooLate(MemorySessionRepository):
    """Rejects an update that is too large after storing it."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        before = MetadataSize.of(self.get(application, session_id))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))
        before.check_growth_to(MetadataSize.of(self.get(application, session_id)))


class CountsCharacters(MemorySessionRepository):
    """Counts characters instead of bytes."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        super().update(application, session_id, _in_ascii(changes))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


def _in_ascii(changes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The changes, with each non-ASCII character replaced."""
    as_json = json.dumps(dict(changes), ensure_ascii=False)
    return json.loads("".join(letter if letter.isascii() else "_" for letter in as_json))  # type: ignore[no-any-return]


class LeaksAcrossApplications(MemoryFeedbackRepository):
    """Finds feedback of other applications by id."""

    def get(self, application: str, feedback_id: str) -> Feedback:
        for other in ("other", "default"):
            found = self._data.applications[other].feedback.get(feedback_id)
            if found is not None:
                return found
        return super().get(application, feedback_id)


class ChecksAfterTheBatch(MemoryFeedbackRepository):
    """Determines conflicts after the whole batch is stored."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        outcomes = super().add(batch)
        pairs = zip(batch, outcomes, strict=True)
        return [outcome if isinstance(outcome, Stored) else self._add(item) for item, outcome in pairs]


class OmitsUncountedApplications(MemoryFeedbackRepository):
    """Lists only applications with counted feedback."""

    def applications(self) -> Sequence[str]:
        return [name for name in super().applications() if self._data.applications[name].totals]


class ListsEmptyApplications(MemoryFeedbackRepository):
    """Lists applications without feedback."""

    def applications(self) -> Sequence[str]:
        return sorted(self._data.applications)


class StreamsInOrderOfArrival(MemorySessionRepository):
    """Streams sessions in the order in which they were added."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return ((*place, self.get(*place)) for place in list(self._data.metadata) if self.get(*place))


class StreamsEmptySessions(MemorySessionRepository):
    """Streams sessions without metadata."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return ((*place, self.get(*place)) for place in sorted(self._data.metadata))


class StreamsOnePage(MemorySessionRepository):
    """Ends after the first chunk."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return islice(super().stream(), 1_000)


class StreamsByOffset(MemorySessionRepository):
    """Continues at an offset, so that it skips sessions if earlier ones are removed."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        for index in count():
            sessions = sorted(place for place, metadata in self._data.metadata.items() if metadata)
            if index >= len(sessions):
                return
            yield *sessions[index], self.get(*sessions[index])


class OmitsUncountedChanges(MemoryFeedbackRepository):
    """Omits withdrawn and rejected feedback from the changes."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return (feedback for feedback in super().changes(application, since=since) if feedback.is_counted)


class IncludesUnchanged(MemoryFeedbackRepository):
    """Includes unchanged feedback in the changes."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        all_feedback = self._data.applications[application].feedback.values()
        recent = [feedback for feedback in all_feedback if feedback.updated_at >= since]
        return iter(sorted(recent, key=lambda one: (one.updated_at, one.id)))


class ChangesInOrderOfCreation(MemoryFeedbackRepository):
    """Sorts changes by time of creation."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return iter(sorted(super().changes(application, since=since), key=Cursor.of))


class ChangesAfter(MemoryFeedbackRepository):
    """Omits changes at exactly the given time."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return (feedback for feedback in super().changes(application, since=since) if feedback.updated_at > since)


class KeepsFirstChange(MemoryFeedbackRepository):
    """Does not move feedback to the end when it is changed again."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        super().replace(feedback, events, over=over)
        places = self._data.applications[feedback.application].changed
        for moved in [place for place in places if place[1] == feedback.id and feedback.version > 2]:
            places.remove(moved)


class EndlessChanges(MemoryFeedbackRepository):
    """Does not end while its reader changes feedback."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        place = (since, "")
        while later := [p for p in self._data.applications[application].changed if p > place]:
            place = later[0]
            yield self.get(application, place[1])


class ChangesByOffset(MemoryFeedbackRepository):
    """Continues at an offset, so that it skips entries if earlier ones change again."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        number = len(list(super().changes(application, since=since)))
        for index in range(number):
            yield from islice(super().changes(application, since=since), index, index + 1)


class OverwritesKeys(MemoryKeyRepository):
    """Replaces a key with the same id."""

    def add(self, key: ApiKey) -> bool:
        self._data.keys[key.id] = key
        return True


class ReplacesRevokedKeys(MemoryKeyRepository):
    """Reports a conflict of ids, but replaces a revoked key."""

    def add(self, key: ApiKey) -> bool:
        earlier = self.get(key.id)
        if earlier is not None and earlier.revoked:
            self._data.keys[key.id] = key
        return super().add(key)


class RevokesAgain(MemoryKeyRepository):
    """Stores the time of the last revocation instead of the first."""

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        if (key := self.get(key_id)) is not None:
            self._data.keys[key_id] = evolve(key, revoked_at=None)
        return super().revoke(key_id, at=at)


class OmitsRevokedKeys(MemoryKeyRepository):
    """Lists only keys that are not revoked."""

    def keys(self) -> Sequence[ApiKey]:
        all_keys = super().keys()
        return [key for key in all_keys if not key.revoked]


class KeysInOrderOfArrival(MemoryKeyRepository):
    """Lists keys in the order in which they were added."""

    def keys(self) -> Sequence[ApiKey]:
        return list(self._data.keys.values())


class OneScopeOnly(MemoryKeyRepository):
    """Stores only one scope of each key."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, scopes=frozenset(list(key.scopes)[:1])))


class ForgetsAgents(MemoryKeyRepository):
    """Stores a key that is limited to agents as a key for all agents."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, agents=None))


class NoAgentsMeansAll(MemoryKeyRepository):
    """Stores a key for no agent as a key for all agents."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, agents=key.agents or None))


class FoldsKeyIds(MemoryKeyRepository):
    """Compares key ids case-insensitively."""

    def get(self, key_id: str) -> ApiKey | None:
        all_keys = super().keys()
        return next((key for key in all_keys if key.id.lower() == key_id.lower()), None)


class RaisesAgain(MemoryAlertRepository):
    """Stores an alert again and reports it as new."""

    def add(self, alert: Alert, event: Event) -> bool:
        self._put(alert, event)
        return True


class StoresEventsOfDuplicateAlerts(MemoryAlertRepository):
    """Stores the event of a duplicate alert."""

    def add(self, alert: Alert, event: Event) -> bool:
        added = super().add(alert, event)
        if not added:
            self._data.events.put(evolve(event, id=f"{event.id} again"))
        return added


class LosesAlertEvents(MemoryAlertRepository):
    """Resolves alerts without storing the event."""

    def replace(self, alert: Alert, event: Event) -> bool:
        replaced = super().replace(alert, event)
        if replaced:
            self._data.events.take(event.id)
        return replaced


class IgnoresAlertVersions(MemoryAlertRepository):
    """Replaces an alert without checking its version."""

    def replace(self, alert: Alert, event: Event) -> bool:
        stored = self.get(alert.application, alert.id)
        if stored is None:
            return False
        self._put(alert, event)
        return True


class LatestAdded(MemoryAlertRepository):
    """Returns the alert that was added last instead of the one raised last."""

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        alerts = self._data.alerts[application].by_id.values()
        return next((one for one in [*alerts][::-1] if (one.rule, one.subject) == (rule, subject)), None)


class ListsResolvedAsOpen(MemoryAlertRepository):
    """Lists resolved alerts as open."""

    def find(self, application: str, *, open: bool | None = None, **rest: Any) -> Sequence[Alert]:
        return super().find(application, open=None if open else open, **rest)


class OverwritesState(MemoryStateRepository):
    """Replaces an entry without checking its version."""

    def put(self, kind: str, entry: StateEntry) -> bool:
        self._data.state[kind, entry.name] = deepcopy(entry)
        return True


class SharedStateEntry(MemoryStateRepository):
    """Returns the stored entry instead of a copy."""

    def get(self, kind: str, name: str) -> StateEntry | None:
        return self._data.state.get((kind, name))


class MixesKinds(MemoryStateRepository):
    """Lists the entries of all kinds."""

    def all(self, kind: str) -> Sequence[StateEntry]:
        return [entry for of in ("channel", "route") for entry in super(MixesKinds, self).all(of)]


class OverwritesMessages(MemoryConversationRepository):
    """Replaces a message with the same number."""

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        done = super().append(application, session_id, agent_id, number, message)
        return done or self.replace(application, session_id, agent_id, number, message)


class StopsAtStoredMessages(MemoryConversationRepository):
    """Appends many messages only up to the first whose number is in use, even if it is the same."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        *place, messages = agent
        stored = list(takewhile(lambda one: self.append(*place, *one), messages))
        return [number for number, _ in messages[len(stored) :]]


class MixesConversations(MemoryConversationRepository):
    """Appends all messages whose numbers are not in use."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        *place, messages = agent
        return [number for number, message in messages if not self.append(*place, number, message)]


class ComparesNumbersOnly(MemoryConversationRepository):
    """Ignores stored messages with other numbers when it appends many."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        *place, messages = agent
        given = dict(messages)
        stored = [one for one in self.messages(*place, limit=9_999) if one[0] in given]
        missing = dict(missing_messages(messages, stored))
        return [number for number in given if number not in missing or not self.append(*place, number, given[number])]


class ComparesWholeRecords(MemoryConversationRepository):
    """Takes a message with other values beside it for another message when it appends many."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        *place, messages = agent
        start = messages[0][0] - 1 if after is None else after
        stored = [(number, {"message": message}) for number, message in self.messages(*place, limit=999, after=start)]
        missing = dict(missing_messages([(number, {"message": message}) for number, message in messages], stored))
        return [n for n, message in messages if n not in missing or not self.append(*place, n, message)]


class ForgetsAfter(MemoryConversationRepository):
    """Does not compare messages before the given ones when it appends many."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        return super().append_many(*agent)


class AppendsManyInTwoSteps(MemoryConversationRepository):
    """Compares, and appends later, so that racing conversations are mixed."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        *place, messages = agent
        start = messages[0][0] - 1 if after is None else after
        missing = dict(missing_messages(messages, self.messages(*place, limit=9_999, after=start)))
        sleep(0.01)
        return [n for n, message in messages if n not in missing or not self.append(*place, n, message)]


class ReportsNoStoredMessages(MemoryConversationRepository):
    """Does not return the numbers that are in use."""

    def append_many(self, *agent: Any, after: int | None = None) -> Collection[int]:
        super().append_many(*agent, after=after)
        return ()


class AppendsOnReplace(MemoryConversationRepository):
    """Appends a message that it should replace."""

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        done = super().replace(application, session_id, agent_id, number, message)
        return done or self.append(application, session_id, agent_id, number, message)


class MergesAgentState(MemoryConversationRepository):
    """Merges an agent's state with the previous one."""

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        before = self.agent(application, session_id, agent_id) or {}
        return super().put_agent(application, session_id, agent_id, {**before, **value}, replace=replace)


class ReplacesAgentState(MemoryConversationRepository):
    """Replaces an agent's state that should be kept."""

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        return super().put_agent(application, session_id, agent_id, value)


class StoresFirstStateAfterReading(MemoryConversationRepository):
    """Stores an agent's first state in two steps, so that others may store one in between."""

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        if not replace and self.agent(application, session_id, agent_id) is not None:
            return False
        sleep(0.001)
        return super().put_agent(application, session_id, agent_id, value)


class SortsNumbersAsText(MemoryConversationRepository):
    """Sorts message numbers as text."""

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        found = super().messages(application, session_id, agent_id, limit=9_999, after=after)
        return sorted(found, key=lambda one: str(one[0]))[:limit]


class RepeatsLastMessage(MemoryConversationRepository):
    """Repeats the last message of the previous page."""

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        return super().messages(application, session_id, agent_id, limit=limit, after=after - 1)


class CountsAllAgents(MemoryConversationRepository):
    """Counts the messages of all agents of a session."""

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        return super().count(application, session_id)


class KeepsAgentState(MemoryConversationRepository):
    """Erases messages, but not the agents' state."""

    def erase(self, application: str, session_id: str) -> int:
        agents = dict(self.agents(application, session_id))
        erased = super().erase(application, session_id)
        for agent_id, value in agents.items():
            self.put_agent(application, session_id, agent_id, value)
        return erased


class ListsSessionsWithStateOnly(MemoryConversationRepository):
    """Lists only sessions with an agent's state."""

    def sessions(self) -> Iterator[tuple[str, str]]:
        return (session for session in super().sessions() if self.agents(*session))


class ListsSilentAgents(MemoryConversationRepository):
    """Lists agents that have state but no messages as speakers."""

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        return sorted({*super().speakers(application, session_id), *self.agents(application, session_id)})


class SharedAgentState(MemoryConversationRepository):
    """Returns the stored state instead of a copy."""

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        conversation = self._data.conversations.get((application, session_id))
        return conversation.agents.get(agent_id) if conversation else None


class RemovesTwinsDeliveriesBeforeErasing(MemoryFeedbackRepository):
    """Removes deliveries about erased feedback ids in all applications, before erasing."""

    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        erased_ids = {feedback.id for feedback in self.stream(query)}
        for delivery in [one for one in self._data.deliveries.by_id.values() if one.event.subject_id in erased_ids]:
            self._data.deliveries.remove(delivery)
        return super().erase(query, at=at, limit=limit)


class SharesKeysBetweenApplications(MemoryFeedbackRepository):
    """Treats an idempotency key as unique in all applications."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._add_one(item) for item in batch]

    def _add_one(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        for application in self._data.applications.values():
            holder = application.keys.get((feedback.session_id, feedback.author, feedback.idempotency_key or ""))
            if holder is not None and application.feedback[holder].application != feedback.application:
                return Conflict(application.feedback[holder], Taken.IDEMPOTENCY_KEY)
        return super().add([item])[0]


class MatchesTagsBySubstring(MemoryFeedbackRepository):
    """Matches tags by substring."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        found = super().find(evolve(query, tag=None), limit=9_999, after=after).items
        items = [
            one for one in found if query.tag is None or any(part in tag for part in query.tag for tag in one.tags)
        ]
        return Page(tuple(items[:limit]), Cursor.of(items[limit - 1]) if len(items) > limit else None)


class StreamsSessionsByPrefix(MemoryFeedbackRepository):
    """Matches sessions by prefix."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        wanted = query.session_id or ""
        return (one for one in super().stream(evolve(query, session_id=None)) if one.session_id.startswith(wanted))


class ListsDeliveriesByPrefix(MemoryOutbox):
    """Matches applications by prefix when it lists deliveries."""

    def deliveries(self, query: DeliveryQuery, *, limit: int, **rest: Any) -> Sequence[Delivery]:
        found = super().deliveries(evolve(query, application=None), limit=9_999, **rest)
        return [one for one in found if one.event.application.startswith(query.application or "")][:limit]


class LatestOfAllApplications(MemoryAlertRepository):
    """Finds the latest alert of a rule in all applications."""

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        found = [super(LatestOfAllApplications, self).latest(name, rule, subject) for name in self._data.alerts]
        return max(filter(None, found), key=lambda one: (one.raised_at, one.id), default=None)


class DeletesMetadataByPrefix(MemorySessionRepository):
    """Deletes metadata of sessions by prefix."""

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        matching = [
            place for place in self._data.metadata if place[0] == application and place[1].startswith(session_id)
        ]
        wanted = None if keys is None else list(keys)
        return sum(super(DeletesMetadataByPrefix, self).delete(*place, wanted) for place in matching)


class ErasesConversationsByPrefix(MemoryConversationRepository):
    """Erases conversations of sessions by prefix."""

    def erase(self, application: str, session_id: str) -> int:
        matching = [place for place in self._data.conversations if place[1].startswith(session_id)]
        ours = [place for place in matching if place[0] == application]
        return sum(super(ErasesConversationsByPrefix, self).erase(*place) for place in ours)


Broken = type[
    FeedbackRepository
    | MemorySessionRepository
    | MemoryOutbox
    | MemoryKeyRepository
    | MemoryAlertRepository
    | MemoryStateRepository
    | MemoryConversationRepository
]

#: Defects in the counts of terms, which the state machine reads rarely.
ABOUT_TERMS: list[Broken] = [
    CountsTermsOfWithdrawn,
    CountsTermsOfRejected,
    CountsTermsOfPending,
    CountsTermsOfFirstVersions,
    CountsTermsOfErased,
    ForgetsLateTerms,
    ForgetsNewTerms,
    SubtractsUnchangedTerms,
    CountsTermsOfAllApplications,
    CountsFrequencies,
    CountsNeutralTerms,
    OmitsSounds,
    KeepsTermsWithoutComments,
]
#: Defects that a state machine finds only with more sessions than it creates or with several threads, or rarely.
ONLY_IN_EXAMPLES: list[Broken] = [
    ParsesExtras,
    ExtrasOfCountedOnly,
    ShowsEmptyValues,
    ShowsNewestFirst,
    MatchesTagsBySubstring,
    NextVersionOnly,
    StreamsOnePage,
    StreamsByOffset,
    ChecksAfterTheBatch,
    EndlessChanges,
    ChangesByOffset,
    WrongOrderOfEquals,
    SharedStateEntry,
    SortsNumbersAsText,
    SharedAgentState,
    StoresFirstStateAfterReading,
    TreatsKeyAsLetters,
    LosesChanges,
    AppendsManyInTwoSteps,
    UnlimitedChanges,
    StoresWhatAChangeReturns,
    UnlimitedMetadata,
    LimitsEachUpdate,
    ChecksMetadataTooLate,
    CountsCharacters,
    *ABOUT_TERMS,
]
#: Defects in events, deliveries and alerts.
ABOUT_DELIVERIES: list[Broken] = [
    MissingLease,
    SettlesLostClaims,
    ErasesAllEvents,
    SettlesAllOrNothing,
    HidesLostClaims,
    ClaimsForAllChannels,
    CountsReleases,
    ContinuesRetries,
    ForgetsDead,
    FiltersAfterThePage,
    FansOutAgain,
    LeavesDeliveries,
    DoesNotNotify,
    NotifiesTooEarly,
    RemovesErasureNotifications,
    KeepsAlertsOfErased,
    RemovesTwinsDeliveriesAfterErasing,
    IgnoresOrder,
    OrdersDueOnly,
    OrdersAllChannels,
    OrdersTwins,
    NeverReleasesErasures,
    SendsErasuresOfUnsent,
    ForgetsNotifiedChannels,
    DiscardsNotifiedChannels,
    AddsAgain,
    AddsWithoutLease,
    ForgetsSessions,
    RecordsTwins,
    RecordsMissing,
    ReplaysDeadOnly,
    CountsDelivered,
    RaisesAgain,
    StoresEventsOfDuplicateAlerts,
    LosesAlertEvents,
    IgnoresAlertVersions,
    LatestAdded,
    ListsResolvedAsOpen,
    RemovesTwinsDeliveriesBeforeErasing,
    ListsDeliveriesByPrefix,
    LatestOfAllApplications,
]
#: Defects in conversations.
ABOUT_CONVERSATIONS: list[Broken] = [
    OverwritesMessages,
    StopsAtStoredMessages,
    MixesConversations,
    ComparesNumbersOnly,
    ComparesWholeRecords,
    ForgetsAfter,
    ReportsNoStoredMessages,
    AppendsOnReplace,
    MergesAgentState,
    ReplacesAgentState,
    StoresFirstStateAfterReading,
    RepeatsLastMessage,
    CountsAllAgents,
    ListsSilentAgents,
    KeepsAgentState,
    ListsSessionsWithStateOnly,
    ErasesConversationsByPrefix,
]
BROKEN: list[Broken] = [
    LostUpdate,
    WrongOrder,
    SharedObject,
    DoubleIdempotency,
    SharesKeysBetweenAuthors,
    IgnoresAnonymousKeys,
    SkippingCursor,
    RepeatingCursor,
    EmptyLastPage,
    FirstOfSeveralAgents,
    AgentAfterAgent,
    AllOfSeveralTags,
    ValueWithoutMissing,
    IgnoresHasComment,
    CountsWithdrawn,
    CountsPending,
    MillisecondTimes,
    LosesEvents,
    IgnoresTheLimitOfErasures,
    ReplacesAllMetadata,
    TreatsNamesAsPaths,
    KeepsRemovedNames,
    LeaksAcrossApplications,
    OmitsUncountedApplications,
    ListsEmptyApplications,
    StreamsInOrderOfArrival,
    StreamsEmptySessions,
    OmitsUncountedChanges,
    IncludesUnchanged,
    ChangesInOrderOfCreation,
    ChangesAfter,
    KeepsFirstChange,
    OverwritesKeys,
    ReplacesRevokedKeys,
    RevokesAgain,
    OmitsRevokedKeys,
    KeysInOrderOfArrival,
    OneScopeOnly,
    ForgetsAgents,
    NoAgentsMeansAll,
    FoldsKeyIds,
    GetManyLeaksAcrossApplications,
    LosesExtras,
    ShowsEmptyExtras,
    ExtrasLeakAcrossApplications,
    ReplacesExtras,
    OverwritesExtras,
    KeepsExtrasOfErased,
    ShowsHidden,
    ShowsNewestFirst,
    ShowsMilliseconds,
    ShowsNoExtras,
    ShowsAllSessions,
    OverwritesState,
    MixesKinds,
    SharesKeysBetweenApplications,
    StreamsSessionsByPrefix,
    DeletesMetadataByPrefix,
    *ABOUT_DELIVERIES,
    *ABOUT_CONVERSATIONS,
    *ONLY_IN_EXAMPLES,
]


@contextmanager
def broken_storage(broken: type) -> Iterator[Storage]:
    """The memory storage with one of its repositories replaced by a broken one."""
    with memory.open_storage() as storage:
        data = storage.feedback._data  # type: ignore[attr-defined]
        ports = {
            MemoryFeedbackRepository: "feedback",
            MemorySessionRepository: "sessions",
            MemoryOutbox: "outbox",
            MemoryKeyRepository: "keys",
            MemoryAlertRepository: "alerts",
            MemoryStateRepository: "state",
            MemoryConversationRepository: "conversations",
        }
        (port,) = (name for base, name in ports.items() if issubclass(broken, base))
        yield evolve(storage, **{port: broken(data)})


#: The parts of the contract that most likely catch a broken repository, tried first.
_LIKELY: Final = {
    MemoryFeedbackRepository: (FeedbackContract, ErasureContract, TenantContract),
    MemoryOutbox: (OutboxContract, OrderContract, ErasureContract, TenantContract),
    MemoryAlertRepository: (AlertContract, ErasureContract, TenantContract),
    MemorySessionRepository: (SessionContract, TenantContract),
    MemoryConversationRepository: (ConversationContract, TenantContract),
    MemoryStateRepository: (StateContract, TenantContract),
    MemoryKeyRepository: (KeyContract, TenantContract),
}


def example_tests(contract: StorageContract, broken: type) -> Iterator[Callable[[], None]]:
    """The tests of the contract without the state machines; first those of the broken port."""
    parts = [part for base, parts in _LIKELY.items() if issubclass(broken, base) for part in parts]
    if broken in ABOUT_TERMS:
        parts.insert(0, StatisticsContract)
    likely = [name for part in parts for name in vars(part)]
    for name in dict.fromkeys([*likely, *dir(contract)]):
        if name.startswith("test_") and not name.startswith("test_any_sequence"):
            yield getattr(contract, name)


def _fails(test: Callable[[], None]) -> bool:
    try:
        test()
    except (AssertionError, HarkenError, ValueError, LookupError):
        # A broken adapter may also break the test's own steps, such as unpacking a result.
        return True
    return False


@pytest.mark.parametrize("broken", BROKEN)
def test_the_examples_catch(broken: type) -> None:
    """Each broken adapter fails at least one of the kit's example tests."""

    class Contract(StorageContract):
        def open_storage(self) -> object:
            return broken_storage(broken)

    assert any(_fails(test) for test in example_tests(Contract(), broken))


def _machine_for(broken: type) -> type[RuleBasedStateMachine]:
    if broken in ABOUT_DELIVERIES:
        return OutboxMachine
    return ConversationMachine if broken in ABOUT_CONVERSATIONS else FeedbackMachine


@pytest.mark.parametrize("broken", [broken for broken in BROKEN if broken not in ONLY_IN_EXAMPLES])
def test_the_state_machine_catches(broken: type) -> None:
    """The state machine of its port catches each broken adapter too."""
    ours = type("Machine", (_machine_for(broken),), {"open_storage": staticmethod(lambda: broken_storage(broken))})
    find_only = settings(
        max_examples=1_000,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    with pytest.raises((AssertionError, LookupError)):
        run_state_machine_as_test(ours, settings=find_only)

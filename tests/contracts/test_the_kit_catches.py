"""The contract kit is worth something: it fails on adapters that are broken in the ways adapters get broken."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from itertools import count, islice
from typing import Any, Final

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from harken.domain.access import ApiKey
from harken.domain.alerts.alert import Alert, Subject
from harken.domain.erasure import Erased
from harken.domain.errors import DeliveryNotFound, HarkenError, StaleFeedback
from harken.domain.events import Delivery, DeliveryState, Event
from harken.domain.feedback import Feedback
from harken.domain.metadata import MetadataSize
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.conversations import JsonObject
from harken.ports.repository import Accepted, Conflict, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing import ConversationMachine, FeedbackMachine, OutboxMachine, StorageContract
from harken.testing.alert_contract import AlertContract
from harken.testing.conversation_contract import ConversationContract
from harken.testing.erasure_contract import ErasureContract
from harken.testing.feedback_contract import FeedbackContract
from harken.testing.key_contract import KeyContract
from harken.testing.order_contract import OrderContract
from harken.testing.outbox_contract import OutboxContract
from harken.testing.session_contract import SessionContract
from harken.testing.state_contract import StateContract
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

pytestmark = pytest.mark.slow


class LostUpdate(MemoryFeedbackRepository):
    """Replaces whatever is there, without looking at its version."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        stored = self.get(feedback.application, feedback.id)
        try:
            super().replace(feedback, events, over=over)
        except StaleFeedback:
            self._data.applications[feedback.application].replace(stored, feedback)


class NextVersionOnly(MemoryFeedbackRepository):
    """Does not look at the version that is to be replaced, but at the one right before."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        super().replace(feedback, events)


class WrongOrder(MemoryFeedbackRepository):
    """Lists the oldest first."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        return evolve(page, items=page.items[::-1])


class WrongOrderOfEquals(MemoryFeedbackRepository):
    """Streams feedback of the same instant in the order in which it came in."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        arrival = {id_: index for index, id_ in enumerate(self._data.applications[query.application].feedback)}
        return iter(sorted(super().stream(query), key=lambda one: (one.created_at, arrival[one.id])))


class SharedObject(MemorySessionRepository):
    """Hands out the very dictionary that it keeps."""

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        return self._data.metadata[application, session_id]


class DoubleIdempotency(MemoryFeedbackRepository):
    """Keeps the same key twice."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        for application in self._data.applications.values():
            application.keys.clear()
        return super().add(batch)


class SharesKeysBetweenAuthors(MemoryFeedbackRepository):
    """Gives an idempotency key to whoever uses it first in a session."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._one(item) for item in batch]

    def _one(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        application = self._data.applications[feedback.application]
        for (session_id, _, key), holder in application.keys.items():
            if (session_id, key) == (feedback.session_id, feedback.idempotency_key) and holder != feedback.id:
                return Conflict(application.feedback[holder], Taken.IDEMPOTENCY_KEY)
        return super().add([item])[0]


class AnonymousKeysAreFree(MemoryFeedbackRepository):
    """Takes feedback without an author to have no idempotency key, as a unique index with a null in it would."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        for application in self._data.applications.values():
            for place in [place for place in application.keys if place[1] is None]:
                del application.keys[place]
        return super().add(batch)


class OffByOneCursor(MemoryFeedbackRepository):
    """Goes on behind the next one."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit + (after is not None), after=after)
        return page if after is None else evolve(page, items=page.items[1:])


class RepeatingCursor(MemoryFeedbackRepository):
    """Begins a page with the last one of the page before."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        behind = Cursor(page.next.created_at, page.next.id + "0") if page.next else None
        return evolve(page, next=behind)


class EmptyLastPage(MemoryFeedbackRepository):
    """Promises another page whenever this one is full."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        page = super().find(query, limit=limit, after=after)
        return evolve(page, next=Cursor.of(page.items[-1])) if len(page.items) == limit else page


class DriftingCounter(MemoryFeedbackRepository):
    """Forgets to take out of the figures what was withdrawn."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        before = self.get(feedback.application, feedback.id)
        super().replace(feedback, events, over=over)
        if before.is_counted and feedback.withdrawn:
            totals = self._data.applications[feedback.application].totals
            totals[feedback.agent_id] = totals[feedback.agent_id] + Summary.of(feedback)


class CountsEverything(MemoryFeedbackRepository):
    """Has pending feedback in the figures."""

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        plain = FeedbackQuery(application=query.application)
        return super().summarize(query.in_any_state() if query == plain else query, group_by)


class MillisecondClock(MemoryFeedbackRepository):
    """Keeps times to the millisecond only."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(item, feedback=self._rounded(item.feedback)) for item in batch])

    def _rounded(self, feedback: Feedback) -> Feedback:
        at = feedback.created_at
        return evolve(feedback, created_at=at.replace(microsecond=at.microsecond // 1000 * 1000))


class ForgottenEvent(MemoryFeedbackRepository):
    """Stores feedback, but not what it causes."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return super().add([evolve(item, events=()) for item in batch])


class LeavesDeliveries(MemoryFeedbackRepository):
    """Erases feedback, but still tells of it."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        deliveries = list(self._data.deliveries.by_id.values())
        erased = super().erase(query, at=at)
        for delivery in deliveries:
            self._data.deliveries.put(delivery)
        return erased


class ErasesWhatTellsOfAlerts(MemoryFeedbackRepository):
    """Erases all events that wait, whatever they are about."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        erased = super().erase(query, at=at)
        if erased.feedback:
            self._data._events = type(self._data.events)()
        return erased


class NotifiesNobody(MemoryFeedbackRepository):
    """Erases, and leaves those who know in the belief that nothing happened."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        notices = set(self._data.deliveries.by_id)
        erased = super().erase(query, at=at)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.id not in notices:
                self._data.deliveries.remove(delivery)
        return erased


class NotifiesAtOnce(MemoryFeedbackRepository):
    """Does not wait for what is being sent."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        erased = super().erase(query, at=at)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.awaits is not None:
                self._data.deliveries.put(evolve(delivery, awaits=None, leased_until=None))
        return erased


class ErasesNotices(MemoryFeedbackRepository):
    """Takes what notifies of an erasure away with the next one."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        before = [one for one in self._data.deliveries.by_id.values() if not one.event.type.about_alert]
        erased = super().erase(query, at=at)
        for delivery in before:
            if erased.feedback and not delivery.event.type.about_feedback:
                self._data.deliveries.remove(delivery)
        return erased


class KeepsAlerts(MemoryFeedbackRepository):
    """Leaves alerts about what is erased as they are."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        alerts = list(self._data.alerts[query.application].by_id.values())
        erased = super().erase(query, at=at)
        for alert in alerts:
            self._data.alerts[query.application].put(alert)
        return erased


class ErasesTwinsDeliveries(MemoryFeedbackRepository):
    """Removes deliveries by the id of what is erased, whatever application they are of."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        doomed = {feedback.id for feedback in self.stream(query)}
        erased = super().erase(query, at=at)
        for delivery in list(self._data.deliveries.by_id.values()):
            if delivery.event.subject_id in doomed and delivery.event.type.about_feedback:
                self._data.deliveries.remove(delivery)
        return erased


class LeaksManyAcrossApplications(MemoryFeedbackRepository):
    """Reads many of all applications at once."""

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        everybody = [super(LeaksManyAcrossApplications, self).get_many(name, feedback_ids) for name in APPLICATIONS]
        return everybody[0] | everybody[1] | super().get_many(application, feedback_ids)


class SharedLease(MemoryOutbox):
    """Gives the same delivery to everybody."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        claimed = super().claim(channel, now=now, until=until, limit=limit)
        for delivery in claimed:
            self._data.deliveries.put(evolve(delivery, leased_until=None))
        return claimed


class SettlesForAnybody(MemoryOutbox):
    """Lets a worker settle whose lease is long gone."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        there = self._data.deliveries.by_id
        return super().settle([evolve(one, attempts=there[one.id].attempts) for one in claimed if one.id in there])


class SettlesAllOrNothing(MemoryOutbox):
    """Settles none of a batch if one of it was lost."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        before = [self._data.deliveries.by_id.get(one.id) for one in claimed]
        if lost := super().settle(claimed):
            for delivery in filter(None, before):
                self._data.deliveries.put(delivery)
        return lost


class KeepsLossesToItself(MemoryOutbox):
    """Does not tell what could not be settled."""

    def settle(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        super().settle(claimed)
        return []


class ClaimsForAllChannels(MemoryOutbox):
    """Gives a channel's worker what is on its way to others."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        channels = sorted({delivery.channel for delivery in self._data.deliveries.by_id.values()})
        claims = [super(ClaimsForAllChannels, self).claim(one, now=now, until=until, limit=limit) for one in channels]
        return [delivery for claim in claims for delivery in claim][:limit]


class InNoOrder(MemoryOutbox):
    """Claims whatever is due, though something earlier is still on its way."""

    def _is_next(self, delivery: Delivery) -> bool:
        return True


class OrdersWhatIsDue(MemoryOutbox):
    """Lets a later event overtake one that backs off."""

    def claim(self, channel: str, *, now: datetime, until: datetime, limit: int) -> Sequence[Delivery]:
        waiting = [one for one in self._data.deliveries.by_id.values() if one.due_at > now]
        for delivery in waiting:
            self._data.deliveries.remove(delivery)
        claimed = super().claim(channel, now=now, until=until, limit=limit)
        for delivery in waiting:
            self._data.deliveries.put(delivery)
        return claimed


class OrdersAllChannels(MemoryOutbox):
    """Lets one channel wait for another."""

    def _is_next(self, delivery: Delivery) -> bool:
        return not any(
            other.state is DeliveryState.PENDING and other.event.version < delivery.event.version
            for other in self._data.deliveries.about(delivery.event)
        )


class OrdersTwinsTogether(MemoryOutbox):
    """Takes equal ids for the same subject, in whatever application and of whatever kind."""

    def _is_next(self, delivery: Delivery) -> bool:
        return not any(
            other.state is DeliveryState.PENDING
            and (other.channel, other.event.subject_id) == (delivery.channel, delivery.event.subject_id)
            and other.event.version < delivery.event.version
            for other in self._data.deliveries.by_id.values()
        )


class FreesNothing(MemoryOutbox):
    """Lets an erasure wait for its time though what it awaits has ended."""

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        return


class FreesUnsent(MemoryOutbox):
    """Notifies of an erasure although nothing was sent."""

    def _hand_over(self, claim: Delivery, *, sent: bool) -> None:
        super()._hand_over(claim, sent=True)


class ForgetsWhoWasTold(MemoryOutbox):
    """Forgets with a delivery that its channel knows."""

    def forget(self, *, before: datetime) -> int:
        told = {place: dict(channels) for place, channels in self._data.deliveries.told.items()}
        forgotten = super().forget(before=before)
        self._data.deliveries.told.clear()
        self._data.deliveries.told.update(told)
        return forgotten


class DiscardsWhatWasTold(MemoryOutbox):
    """Forgets earlier attempts with what it discards."""

    def discard(self, claimed: Sequence[Delivery]) -> None:
        told = {place: dict(channels) for place, channels in self._data.deliveries.told.items()}
        super().discard(claimed)
        self._data.deliveries.told.clear()
        self._data.deliveries.told.update(told)


class ReplaysTheDeadOnly(MemoryOutbox):
    """Sends again only what never arrived."""

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        if self.delivery(delivery_id).state is DeliveryState.DELIVERED:
            raise DeliveryNotFound(delivery_id)
        return super().replay(delivery_id, due_at=due_at)


class CountsWhatIsDue(MemoryOutbox):
    """Counts what was delivered as pending."""

    def pending(self) -> Mapping[str, int]:
        return {
            name: len(places) for (_, name), places in sorted(self._data.deliveries.order.items(), key=str) if places
        }


class CountsReleases(MemoryOutbox):
    """Counts an attempt that was none."""

    def release(self, claimed: Sequence[Delivery]) -> None:
        super().release(claimed)
        for claim in claimed:
            released = self._data.deliveries.by_id.get(claim.id)
            if released is not None and released.attempts == claim.attempts - 1:
                self._data.deliveries.put(evolve(released, attempts=claim.attempts))


class ReplaysWhereItLeftOff(MemoryOutbox):
    """Goes on in the schedule where a delivery died."""

    def replay(self, delivery_id: str, *, due_at: datetime) -> Delivery:
        revived = evolve(super().replay(delivery_id, due_at=due_at), attempts_before=0)
        self._data.deliveries.put(revived)
        return revived


class ForgetsTheDead(MemoryOutbox):
    """Forgets what never arrived."""

    def forget(self, *, before: datetime) -> int:
        dead = [one for one in self.deliveries(DeliveryState.DEAD, limit=99) if one.due_at < before]
        for delivery in dead:
            self._data.deliveries.remove(delivery)
        return super().forget(before=before)


class FiltersAfterThePage(MemoryOutbox):
    """Takes a page, and only then leaves out what nobody asked for."""

    def deliveries(
        self, state: DeliveryState, *, limit: int, channel: str | None = None, **rest: Any
    ) -> Sequence[Delivery]:
        page = super().deliveries(state, limit=limit, **rest)
        return [delivery for delivery in page if channel in (None, delivery.channel)]


class FansOutAgain(MemoryOutbox):
    """Makes deliveries of an event that is not on the list any more."""

    def fan_out(self, plan: Sequence[tuple[Event, Collection[str]]], *, due_at: datetime) -> Sequence[Delivery]:
        for event, _ in plan:
            self._data.events.put(event)
        return super().fan_out(plan, due_at=due_at)


class LosesKeys(MemorySessionRepository):
    """Replaces all metadata instead of updating it."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        self.delete(application, session_id)
        super().update(application, session_id, changes)


class TakesATextForItsLetters(MemorySessionRepository):
    """Deletes each letter of a key that is given as a text."""

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        return super().delete(application, session_id, keys if keys is None else list(keys))


class UnlimitedMetadata(MemorySessionRepository):
    """Takes any number of updates."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


class LimitsEachUpdate(MemorySessionRepository):
    """Looks at the size of an update, but not at what is there already."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        MetadataSize().check_growth_to(MetadataSize.of(changes))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


class ChecksMetadataTooLate(MemorySessionRepository):
    """Refuses what is too much when it is stored already."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        before = MetadataSize.of(self.get(application, session_id))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))
        before.check_growth_to(MetadataSize.of(self.get(application, session_id)))


class CountsCharacters(MemorySessionRepository):
    """Takes a character for a byte."""

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        super().update(application, session_id, _in_ascii(changes))
        self._data.metadata[application, session_id].update(deepcopy(dict(changes)))


def _in_ascii(changes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The changes with another letter for each that takes more than one byte."""
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


class JudgesAfterTheBatch(MemoryFeedbackRepository):
    """Looks for what was in the way of an item when all of its batch is stored."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        outcomes = super().add(batch)
        pairs = zip(batch, outcomes, strict=True)
        return [outcome if isinstance(outcome, Stored) else self._add(item) for item, outcome in pairs]


class ForgetsHiddenApplications(MemoryFeedbackRepository):
    """Lists only the applications whose feedback counts."""

    def applications(self) -> Sequence[str]:
        return [name for name in super().applications() if self._data.applications[name].totals]


class RemembersEmptyApplications(MemoryFeedbackRepository):
    """Lists an application whose feedback was all erased."""

    def applications(self) -> Sequence[str]:
        return sorted(self._data.applications)


class StreamsInOrderOfArrival(MemorySessionRepository):
    """Streams sessions in the order in which they came."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return ((*place, self.get(*place)) for place in list(self._data.metadata) if self.get(*place))


class StreamsEmptySessions(MemorySessionRepository):
    """Streams sessions that never had any metadata."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return ((*place, self.get(*place)) for place in sorted(self._data.metadata))


class StreamsOnePage(MemorySessionRepository):
    """Ends after the first chunk."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        return islice(super().stream(), 1_000)


class StreamsByOffset(MemorySessionRepository):
    """Counts the sessions before the next one, so that removing one of them makes it skip."""

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        for index in count():
            there = sorted(place for place, metadata in self._data.metadata.items() if metadata)
            if index >= len(there):
                return
            yield *there[index], self.get(*there[index])


class TellsOfWhatCountsOnly(MemoryFeedbackRepository):
    """Has no changes of feedback that was withdrawn or rejected, so that nobody learns of it."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return (feedback for feedback in super().changes(application, since=since) if feedback.is_counted)


class TellsOfTheUnchanged(MemoryFeedbackRepository):
    """Takes what is new for changed."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        everything = self._data.applications[application].feedback.values()
        recent = [feedback for feedback in everything if feedback.updated_at >= since]
        return iter(sorted(recent, key=lambda one: (one.updated_at, one.id)))


class ChangesInOrderOfCreation(MemoryFeedbackRepository):
    """Tells of the oldest feedback first, whenever it was changed."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return iter(sorted(super().changes(application, since=since), key=Cursor.of))


class ChangesAfter(MemoryFeedbackRepository):
    """Leaves out what was changed in the very moment that was asked for."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        return (feedback for feedback in super().changes(application, since=since) if feedback.updated_at > since)


class RemembersFirstChange(MemoryFeedbackRepository):
    """Does not move feedback that is changed once more."""

    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        super().replace(feedback, events, over=over)
        places = self._data.applications[feedback.application].changed
        for moved in [place for place in places if place[1] == feedback.id and feedback.version > 2]:
            places.remove(moved)


class EndlessChanges(MemoryFeedbackRepository):
    """Goes on as long as its reader changes something."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        place = (since, "")
        while later := [p for p in self._data.applications[application].changed if p > place]:
            place = later[0]
            yield self.get(application, place[1])


class ChangesByOffset(MemoryFeedbackRepository):
    """Counts the changes before the next one, so that changing one of them again makes it skip."""

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        number = len(list(super().changes(application, since=since)))
        for index in range(number):
            yield from islice(super().changes(application, since=since), index, index + 1)


class OverwritesKeys(MemoryKeyRepository):
    """Gives an id to whoever comes last."""

    def add(self, key: ApiKey) -> bool:
        self._data.keys[key.id] = key
        return True


class TakesBackRevocations(MemoryKeyRepository):
    """Says that an id is taken, but lets the key that came later have it where the first one was revoked."""

    def add(self, key: ApiKey) -> bool:
        earlier = self.get(key.id)
        if earlier is not None and earlier.revoked:
            self._data.keys[key.id] = key
        return super().add(key)


class RevokesAgain(MemoryKeyRepository):
    """Notes the time of the last revocation."""

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        if (key := self.get(key_id)) is not None:
            self._data.keys[key_id] = evolve(key, revoked_at=None)
        return super().revoke(key_id, at=at)


class ForgetsRevokedKeys(MemoryKeyRepository):
    """Lists good keys only."""

    def keys(self) -> Sequence[ApiKey]:
        everything = super().keys()
        return [key for key in everything if not key.revoked]


class KeysInOrderOfArrival(MemoryKeyRepository):
    """Lists keys in the order in which they came."""

    def keys(self) -> Sequence[ApiKey]:
        return list(self._data.keys.values())


class OneScopeOnly(MemoryKeyRepository):
    """Keeps one scope of each key."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, scopes=frozenset(list(key.scopes)[:1])))


class ForgetsAgents(MemoryKeyRepository):
    """Keeps a key that is limited to agents as one for all of them."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, agents=None))


class NoAgentsMeansAll(MemoryKeyRepository):
    """Takes a key for no agent to be one for all."""

    def add(self, key: ApiKey) -> bool:
        return super().add(evolve(key, agents=key.agents or None))


class FoldsKeyIds(MemoryKeyRepository):
    """Finds a key whether its id is in capitals or not."""

    def get(self, key_id: str) -> ApiKey | None:
        everything = super().keys()
        return next((key for key in everything if key.id.lower() == key_id.lower()), None)


class RaisesAgain(MemoryAlertRepository):
    """Raises an alert as often as its pattern is found."""

    def add(self, alert: Alert, event: Event) -> bool:
        self._put(alert, event)
        return True


class TellsOfRefusedAlerts(MemoryAlertRepository):
    """Stores the event of an alert that it refuses."""

    def add(self, alert: Alert, event: Event) -> bool:
        added = super().add(alert, event)
        if not added:
            self._data.events.put(evolve(event, id=f"{event.id} again"))
        return added


class ForgottenAlertEvent(MemoryAlertRepository):
    """Resolves alerts, and tells nobody."""

    def replace(self, alert: Alert, event: Event) -> bool:
        replaced = super().replace(alert, event)
        if replaced:
            self._data.events.take(event.id)
        return replaced


class ResolvesAgain(MemoryAlertRepository):
    """Replaces an alert by any version of it."""

    def replace(self, alert: Alert, event: Event) -> bool:
        stored = self.get(alert.application, alert.id)
        if stored is None:
            return False
        self._put(alert, event)
        return True


class LatestToCome(MemoryAlertRepository):
    """Takes the alert that came last for the one that was raised last."""

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        alerts = self._data.alerts[application].by_id.values()
        return next((one for one in [*alerts][::-1] if (one.rule, one.subject) == (rule, subject)), None)


class AlertsStandForEver(MemoryAlertRepository):
    """Lists what is resolved among what stands."""

    def find(self, application: str, *, open: bool | None = None, **rest: Any) -> Sequence[Alert]:
        return super().find(application, open=None if open else open, **rest)


class OverwritesState(MemoryStateRepository):
    """Keeps whichever entry comes last."""

    def put(self, kind: str, entry: StateEntry) -> bool:
        self._data.state[kind, entry.name] = deepcopy(entry)
        return True


class SharedStateEntry(MemoryStateRepository):
    """Hands out the very entry that it keeps."""

    def get(self, kind: str, name: str) -> StateEntry | None:
        return self._data.state.get((kind, name))


class MixesKinds(MemoryStateRepository):
    """Lists the entries of all kinds."""

    def all(self, kind: str) -> Sequence[StateEntry]:
        return [entry for of in ("channel", "route") for entry in super(MixesKinds, self).all(of)]


class OverwritesMessages(MemoryConversationRepository):
    """Keeps whatever message comes last under a number."""

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        done = super().append(application, session_id, agent_id, number, message)
        return done or self.replace(application, session_id, agent_id, number, message)


class ReplacesWhatIsNotThere(MemoryConversationRepository):
    """Appends where there is nothing to replace."""

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        done = super().replace(application, session_id, agent_id, number, message)
        return done or self.append(application, session_id, agent_id, number, message)


class PutsKeyByKey(MemoryConversationRepository):
    """Adds to what an agent knew before."""

    def put_agent(self, application: str, session_id: str, agent_id: str, value: JsonObject) -> None:
        before = self.agent(application, session_id, agent_id) or {}
        super().put_agent(application, session_id, agent_id, {**before, **value})


class NumbersAreText(MemoryConversationRepository):
    """Sorts messages by how their numbers look."""

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        found = super().messages(application, session_id, agent_id, limit=9_999, after=after)
        return sorted(found, key=lambda one: str(one[0]))[:limit]


class BeginsWithTheLast(MemoryConversationRepository):
    """Begins a page with the last message of the page before."""

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        return super().messages(application, session_id, agent_id, limit=limit, after=after - 1)


class AgentsSayTheSame(MemoryConversationRepository):
    """Counts all messages of a session, whoever is asked for."""

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        return super().count(application, session_id)


class RemembersAgents(MemoryConversationRepository):
    """Erases what was said, but not what agents know."""

    def erase(self, application: str, session_id: str) -> int:
        known = self.agents(application, session_id)
        erased = super().erase(application, session_id)
        for agent_id, value in known.items():
            self.put_agent(application, session_id, agent_id, value)
        return erased


class ListsTheKnowing(MemoryConversationRepository):
    """Lists only sessions in which an agent knows something."""

    def sessions(self) -> Iterator[tuple[str, str]]:
        return (session for session in super().sessions() if self.agents(*session))


class AllWhoKnowSpeak(MemoryConversationRepository):
    """Takes whoever knows something for a speaker."""

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        return sorted({*super().speakers(application, session_id), *self.agents(application, session_id)})


class SharedConversation(MemoryConversationRepository):
    """Hands out what it keeps."""

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        conversation = self._data.conversations.get((application, session_id))
        return conversation.agents.get(agent_id) if conversation else None


class ErasesDeliveriesOfTwins(MemoryFeedbackRepository):
    """Erases the deliveries of all feedback with that id, in whatever application."""

    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        gone = {feedback.id for feedback in self.stream(query)}
        for delivery in [one for one in self._data.deliveries.by_id.values() if one.event.subject_id in gone]:
            self._data.deliveries.remove(delivery)
        return super().erase(query, at=at)


class SharesKeysBetweenApplications(MemoryFeedbackRepository):
    """Looks for an idempotency key in all applications."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        return [self._one(item) for item in batch]

    def _one(self, item: Accepted) -> Outcome:
        feedback = item.feedback
        for application in self._data.applications.values():
            holder = application.keys.get((feedback.session_id, feedback.author, feedback.idempotency_key or ""))
            if holder is not None and application.feedback[holder].application != feedback.application:
                return Conflict(application.feedback[holder], Taken.IDEMPOTENCY_KEY)
        return super().add([item])[0]


class FindsTagsByPart(MemoryFeedbackRepository):
    """Finds a tag in every tag that contains it."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        found = super().find(evolve(query, tag=None), limit=9_999, after=after).items
        items = [one for one in found if query.tag is None or any(query.tag in tag for tag in one.tags)]
        return Page(tuple(items[:limit]), Cursor.of(items[limit - 1]) if len(items) > limit else None)


class StreamsSessionsByPrefix(MemoryFeedbackRepository):
    """Streams every session whose id begins with the one that is asked for."""

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        wanted = query.session_id or ""
        return (one for one in super().stream(evolve(query, session_id=None)) if one.session_id.startswith(wanted))


class ListsDeliveriesByPrefix(MemoryOutbox):
    """Lists the deliveries of all applications whose names begin with the one that is asked for."""

    def deliveries(
        self, state: DeliveryState, *, limit: int, application: str | None = None, **rest: Any
    ) -> Sequence[Delivery]:
        found = super().deliveries(state, limit=9_999, **rest)
        return [one for one in found if one.event.application.startswith(application or "")][:limit]


class LatestOfAllApplications(MemoryAlertRepository):
    """Finds the latest alert of a rule, in whatever application."""

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        found = [super(LatestOfAllApplications, self).latest(name, rule, subject) for name in self._data.alerts]
        return max(filter(None, found), key=lambda one: (one.raised_at, one.id), default=None)


class ForgetsMetadataByPrefix(MemorySessionRepository):
    """Deletes the metadata of every session whose id begins alike."""

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        alike = [place for place in self._data.metadata if place[0] == application and place[1].startswith(session_id)]
        wanted = None if keys is None else list(keys)
        return sum(super(ForgetsMetadataByPrefix, self).delete(*place, wanted) for place in alike)


class ErasesConversationsByPrefix(MemoryConversationRepository):
    """Erases every session whose id begins alike."""

    def erase(self, application: str, session_id: str) -> int:
        alike = [place for place in self._data.conversations if place[1].startswith(session_id)]
        ours = [place for place in alike if place[0] == application]
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

#: What a state machine meets only with more sessions than it makes, or only now and then.
ONLY_IN_EXAMPLES: list[Broken] = [
    FindsTagsByPart,
    NextVersionOnly,
    StreamsOnePage,
    StreamsByOffset,
    JudgesAfterTheBatch,
    EndlessChanges,
    ChangesByOffset,
    WrongOrderOfEquals,
    SharedStateEntry,
    NumbersAreText,
    SharedConversation,
    TakesATextForItsLetters,
    UnlimitedMetadata,
    LimitsEachUpdate,
    ChecksMetadataTooLate,
    CountsCharacters,
]
#: What has to do with events, deliveries and alerts.
ABOUT_TELLING: list[Broken] = [
    SharedLease,
    SettlesForAnybody,
    ErasesWhatTellsOfAlerts,
    SettlesAllOrNothing,
    KeepsLossesToItself,
    ClaimsForAllChannels,
    CountsReleases,
    ReplaysWhereItLeftOff,
    ForgetsTheDead,
    FiltersAfterThePage,
    FansOutAgain,
    LeavesDeliveries,
    NotifiesNobody,
    NotifiesAtOnce,
    ErasesNotices,
    KeepsAlerts,
    ErasesTwinsDeliveries,
    InNoOrder,
    OrdersWhatIsDue,
    OrdersAllChannels,
    OrdersTwinsTogether,
    FreesNothing,
    FreesUnsent,
    ForgetsWhoWasTold,
    DiscardsWhatWasTold,
    ReplaysTheDeadOnly,
    CountsWhatIsDue,
    RaisesAgain,
    TellsOfRefusedAlerts,
    ForgottenAlertEvent,
    ResolvesAgain,
    LatestToCome,
    AlertsStandForEver,
    ErasesDeliveriesOfTwins,
    ListsDeliveriesByPrefix,
    LatestOfAllApplications,
]
#: What has to do with what agents say and know.
ABOUT_TALKING: list[Broken] = [
    OverwritesMessages,
    ReplacesWhatIsNotThere,
    PutsKeyByKey,
    BeginsWithTheLast,
    AgentsSayTheSame,
    AllWhoKnowSpeak,
    RemembersAgents,
    ListsTheKnowing,
    ErasesConversationsByPrefix,
]
BROKEN: list[Broken] = [
    LostUpdate,
    WrongOrder,
    SharedObject,
    DoubleIdempotency,
    SharesKeysBetweenAuthors,
    AnonymousKeysAreFree,
    OffByOneCursor,
    RepeatingCursor,
    EmptyLastPage,
    DriftingCounter,
    CountsEverything,
    MillisecondClock,
    ForgottenEvent,
    LosesKeys,
    LeaksAcrossApplications,
    ForgetsHiddenApplications,
    RemembersEmptyApplications,
    StreamsInOrderOfArrival,
    StreamsEmptySessions,
    TellsOfWhatCountsOnly,
    TellsOfTheUnchanged,
    ChangesInOrderOfCreation,
    ChangesAfter,
    RemembersFirstChange,
    OverwritesKeys,
    TakesBackRevocations,
    RevokesAgain,
    ForgetsRevokedKeys,
    KeysInOrderOfArrival,
    OneScopeOnly,
    ForgetsAgents,
    NoAgentsMeansAll,
    FoldsKeyIds,
    LeaksManyAcrossApplications,
    OverwritesState,
    MixesKinds,
    SharesKeysBetweenApplications,
    StreamsSessionsByPrefix,
    ForgetsMetadataByPrefix,
    *ABOUT_TELLING,
    *ABOUT_TALKING,
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


#: Where a broken repository is most likely to be caught, so that these are tried first.
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
    """The contract's tests, but for the state machine; first those about the port that is broken."""
    parts = [part for base, parts in _LIKELY.items() if issubclass(broken, base) for part in parts]
    likely = [name for part in parts for name in vars(part)]
    for name in dict.fromkeys([*likely, *dir(contract)]):
        if name.startswith("test_") and not name.startswith("test_any_sequence"):
            yield getattr(contract, name)


def _fails(test: Callable[[], None]) -> bool:
    try:
        test()
    except (AssertionError, HarkenError, ValueError, LookupError):
        # A broken adapter may also break the test's own steps: there is nothing to unpack, to raise or to find.
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
    if broken in ABOUT_TELLING:
        return OutboxMachine
    return ConversationMachine if broken in ABOUT_TALKING else FeedbackMachine


@pytest.mark.parametrize("broken", [broken for broken in BROKEN if broken not in ONLY_IN_EXAMPLES])
def test_the_state_machine_catches(broken: type) -> None:
    """The state machine for it finds each of them too, without being told where to look."""
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

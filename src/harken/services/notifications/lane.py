"""A lane sends the deliveries of one channel, so that a slow or dead receiver does not delay other channels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import DeliveryFailed, LeaseLost, StorageError, TemplateTooCostly
from harken.domain.events import (
    MAX_STATUS,
    MAX_WORDS,
    Attempt,
    AttemptOutcome,
    Delivery,
    Event,
    EventType,
)
from harken.domain.feedback import Feedback
from harken.domain.routes import Route, feedback_to_send
from harken.domain.texts import excerpt
from harken.ports.alerts import AlertRepository
from harken.ports.notifier import ErasedFeedback, Notification, Notifier, ReceiverAnswer
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock, Random
from harken.services.notifications.channels import ChannelService, ChannelState
from harken.services.notifications.read_ahead import ReadAhead, Subjects, read_subjects
from harken.services.notifications.routes import RouteService

if TYPE_CHECKING:
    from harken.services.feedback.retention import RetentionService
    from harken.services.notifications.digests import DigestService
    from harken.services.notifications.session_changes import SessionChanges

logger = logging.getLogger(__name__)

#: The waits before each attempt; after the last attempt a delivery is dead. This is the schedule of the Standard
#: Webhooks specification: about three days.
SCHEDULE: Final = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
#: The maximum delay of an attempt, as a part of its wait, so that deliveries that failed together are not retried
#: together.
JITTER: Final = 0.1
#: The longest wait that a receiver can ask for.
LONGEST_WAIT: Final = timedelta(hours=24)
#: The duration of a lease, and how much of it must be left to start sending: a channel gives up after 20 seconds.
LEASE: Final = timedelta(seconds=45)
_LEFT: Final = timedelta(seconds=25)
MAX_CLAIM: Final = 100
#: Delivered deliveries are settled after this many seconds at the latest, because later events about the same feedback
#: wait for that.
_UNSETTLED: Final = 0.5
#: After an attempt that takes longer than this many seconds, the lane claims one delivery at a time.
_SLOW: Final = 1.0
_LONGEST_ERROR: Final = 1_000
#: Why nothing was sent, where the channel does not say.
_OFF: Final = "switched off"
#: Why a channel is off, where the notifier does not say.
_GONE: Final = "the receiver accepts no notifications any more"
_TOO_COSTLY: Final = "template too costly"


@frozen(kw_only=True)
class RelayDependencies:
    """The dependencies of a relay and its lanes.

    Attributes:
        outbox: the events and deliveries.
        feedback: the feedback that they are about.
        alerts: the alerts that they are about.
        channels: the status of the channels.
        routes: the routes and their templates.
        digests: the digests.
        session_changes: the changes of session metadata.
        retention: erases expired feedback.
        clock: the current time, which all relays on the storage agree on.
        jitter: returns a random number from 0 to 1.
        schedule: the wait before each attempt.
    """

    outbox: Outbox
    feedback: FeedbackRepository
    alerts: AlertRepository
    channels: ChannelService
    routes: RouteService
    digests: DigestService
    session_changes: SessionChanges
    retention: RetentionService
    clock: Clock
    jitter: Random
    schedule: Sequence[timedelta] = SCHEDULE


class _Ended:
    """Deliveries that are not settled yet: those that were delivered, and those that are obsolete."""

    def __init__(self) -> None:
        self.since = perf_counter()
        self.delivered: list[Delivery] = []
        self.obsolete: list[Delivery] = []


class Lane:
    """Claims the deliveries of one channel, sends them and records the outcomes. Several threads may use it."""

    def __init__(
        self, channel: str, notifier: Notifier, dependencies: RelayDependencies, changed: Callable[[], object]
    ) -> None:
        """``changed`` returns a different object after each change that this process has made."""
        self.channel = channel
        self._notifier = notifier
        self._dependencies = dependencies
        self._changed = changed
        self._claim_size = MAX_CLAIM

    def work(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, bool]:
        """Send a batch of due deliveries; returns how many were handled, and whether others may be due.

        If any were handled, more may be due in any case: later events about the same feedback or alert can only be
        claimed then.

        Args:
            stopping: called between two deliveries; if it returns true, the rest is given back.

        Raises:
            StorageError: the storage failed; deliveries may be sent again, with the same ids.
        """
        size = self._claim_size
        now = self._dependencies.clock()
        claimed = self._dependencies.outbox.claim(self.channel, now=now, until=now + LEASE, limit=size)
        if not claimed:
            return 0, False
        state = self._dependencies.channels.state(self.channel)
        if not state.on:
            return self._bury_all(claimed, state), len(claimed) == size
        dealt = self._send_all(claimed, now + LEASE - _LEFT, stopping)
        return dealt, len(claimed) == size or dealt < len(claimed)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _send_all(self, claimed: Sequence[Delivery], latest: datetime, stopping: Callable[[], bool]) -> int:
        """Send one after another while the receiver is quick and the lease lasts; gives the others back."""
        routes = self._dependencies.routes.leading_to(self.channel)
        ahead = ReadAhead(
            [delivery.event for delivery in claimed], partial(subjects_of, self._dependencies), self._changed
        )
        ended = _Ended()
        dealt = 0
        try:
            for delivery in claimed:
                if stopping() or self._dependencies.clock() >= latest:
                    break
                began = perf_counter()
                started = _Started(self._dependencies.clock())
                notification = self._prepare(delivery, ahead.subject(dealt), routes, started, ended)
                # Now it may arrive, so the claim counts as an attempt even if the storage fails.
                dealt += 1
                if notification is not None:
                    self._send(delivery, notification, started, ended)
                slow = perf_counter() - began > _SLOW
                self._claim_size = 1 if slow else min(MAX_CLAIM, self._claim_size * 2)
                if slow or not self._dependencies.channels.state(self.channel).on:
                    break
                if perf_counter() - ended.since > _UNSETTLED:
                    self._settle(ended)
                    ended = _Ended()
        finally:
            # Also after an error: settle what was delivered, and release what was not sent.
            try:
                self._settle(ended)
            finally:
                if dealt < len(claimed):
                    self._dependencies.outbox.release(claimed[dealt:])
        return dealt

    def _prepare(
        self,
        delivery: Delivery,
        subject: Feedback | Alert | None,
        routes: Sequence[Route],
        started: _Started,
        ended: _Ended,
    ) -> Notification | None:
        """The notification to send; ``None``, and the outcome is recorded, if there is nothing to send."""
        try:
            notification = self._notification(delivery, subject, routes, started.at)
        except StorageError:
            # Not the channel's fault.
            raise
        except TemplateTooCostly as error:
            # Not the receiver's fault, and a retry does not help.
            attempt = _not_sent(started.at, AttemptOutcome.NOT_SENT, _TOO_COSTLY, str(error))
            self._bury(delivery.after(attempt), str(error), sent=False)
            return None
        except DeliveryFailed as failure:
            self._record_failure(delivery, failure, started, is_ours=True)
            return None
        except Exception as error:  # noqa: BLE001 - logged
            self._record_failure(delivery, self._as_failure(error), started)
            return None
        if notification is None:
            ended.obsolete.append(delivery)
        return notification

    def _send(self, delivery: Delivery, notification: Notification, started: _Started, ended: _Ended) -> None:
        """Send one delivery, and record its outcome."""
        answer, failure = None, None
        try:
            answer = self._notifier.deliver(notification)
        except Exception as error:  # noqa: BLE001 - logged
            failure = self._as_failure(error)
        if notification.digest is not None:
            # Before the outcome is stored: if the storage fails here, the digest is sent again, and then this is done.
            # Also after a failure, as the digest may have arrived.
            self._dependencies.digests.repeat_erasures(delivery)
        if failure is not None:
            self._record_failure(delivery, failure, started)
        else:
            ended.delivered.append(delivery.after(started.arrived(answer, delivery.event.type)))

    def _as_failure(self, error: Exception) -> DeliveryFailed:
        """The failure of an attempt; an error that the notifier must not raise is logged."""
        if isinstance(error, DeliveryFailed):
            return error
        name = type(error).__name__
        logger.error("Channel %s raised an unexpected error", self.channel, exc_info=error)
        return DeliveryFailed(f"{name}: {error}", status=name)

    def _notification(
        self, delivery: Delivery, subject: Feedback | Alert | None, routes: Sequence[Route], sent_at: datetime
    ) -> Notification | None:
        """The notification to send; ``None`` if the delivery is obsolete."""
        event = delivery.event
        feedback = alert = erased = digest = session = None
        if event.type is EventType.ERASED:
            erased = ErasedFeedback(event.subject_id, event.session_id or "")
        elif event.type is EventType.DIGEST:
            digest = self._dependencies.digests.to_send(delivery)
        elif event.type is EventType.SESSION_UPDATED:
            session = self._dependencies.session_changes.to_send(event)
        elif isinstance(subject, Feedback):
            routes = [route for route in routes if not route.applications or event.application in route.applications]
            feedback = feedback_to_send(routes, event.type, subject)
        else:
            alert = subject
        if all(one is None for one in (feedback, alert, erased, digest, session)):
            return None
        notification = Notification(
            id=delivery.id,
            type=event.type,
            application=event.application,
            occurred_at=event.occurred_at,
            sent_at=sent_at,
            feedback=feedback,
            alert=alert,
            erased=erased,
            digest=digest,
            session=session,
        )
        text = self._dependencies.routes.text(routes, notification, session or subject)
        return notification if text is None else evolve(notification, text=text)

    def _record_failure(
        self, delivery: Delivery, failure: DeliveryFailed, started: _Started, *, is_ours: bool = False
    ) -> None:
        """Log and store a failure; ``is_ours`` says that its words are not those of a channel."""
        now = self._dependencies.clock()
        stored = failure if is_ours or delivery.event.type.about_feedback else _without_words(failure)
        # A notifier of someone else may quote anything.
        message = excerpt(str(stored), _LONGEST_ERROR)
        delivery = delivery.after(started.failed(stored))
        outcome = "is to be repeated" if failure.planned else "failed"
        logger.log(
            logging.INFO if failure.planned else logging.WARNING,
            f"Delivery %s to channel %r {outcome} (attempt %d): %s",
            delivery.id,
            self.channel,
            delivery.tries,
            excerpt(str(failure), _LONGEST_ERROR),
        )
        wait = self._wait(delivery, failure)
        if wait is None:
            self._bury(delivery, message)
        else:
            try:
                self._dependencies.outbox.back_off(delivery, due_at=now + wait, error=message)
            except LeaseLost:
                _log_lost(delivery)
        if failure.gone:
            self._dependencies.channels.switch_off(self.channel, message or _GONE, cause=failure.status)
        elif not failure.planned:
            self._dependencies.channels.failed(self.channel, at=now, cause=failure.status)

    def _wait(self, delivery: Delivery, failure: DeliveryFailed) -> timedelta | None:
        """How long until the next attempt; ``None`` if there is none."""
        if not failure.retryable or delivery.tries >= len(self._dependencies.schedule):
            return None
        planned = self._dependencies.schedule[delivery.tries] * (1 + JITTER * self._dependencies.jitter())
        asked = failure.retry_after or timedelta(0)
        return max(planned, min(asked, LONGEST_WAIT))

    def _settle(self, ended: _Ended) -> None:
        # Delivered ones first: if discarding fails, nothing is sent again.
        if ended.delivered:
            for delivery in self._dependencies.outbox.settle(ended.delivered):
                _log_lost(delivery)
            self._dependencies.channels.arrived(self.channel)
        if ended.obsolete:
            self._dependencies.outbox.discard(ended.obsolete)

    def _bury(self, delivery: Delivery, error: str, *, sent: bool = True) -> None:
        try:
            self._dependencies.outbox.bury(delivery, error=error, sent=sent)
        except LeaseLost:
            _log_lost(delivery)

    def _bury_all(self, claimed: Sequence[Delivery], state: ChannelState) -> int:
        error = f"The channel is switched off: {state.reason}"
        attempt = _not_sent(self._dependencies.clock(), AttemptOutcome.CHANNEL_OFF, state.cause or _OFF, error)
        for delivery in claimed:
            self._bury(delivery.after(attempt), error, sent=False)
        return len(claimed)


@frozen
class _Started:
    """An attempt that was started: when, by the shared clock and by one that measures durations."""

    at: datetime
    timer: float = field(factory=perf_counter)

    def arrived(self, answer: ReceiverAnswer | None, type: EventType) -> Attempt:  # noqa: A002 - the field's name
        answer = answer or ReceiverAnswer()
        # Its words may quote what it was sent, and an erasure removes only the deliveries about the feedback.
        return self._ended(AttemptOutcome.ARRIVED, answer.status, answer.words if type.about_feedback else "")

    def failed(self, failure: DeliveryFailed) -> Attempt:
        outcome = AttemptOutcome.ACCEPTED if failure.planned else AttemptOutcome.FAILED
        return self._ended(outcome, failure.status, failure.words, str(failure))

    def _ended(self, outcome: AttemptOutcome, status: str, words: str, error: str = "") -> Attempt:
        return Attempt(
            at=self.at,
            duration=timedelta(seconds=perf_counter() - self.timer),
            outcome=outcome,
            status=excerpt(status, MAX_STATUS),
            words=excerpt(words, MAX_WORDS),
            error=excerpt(error, MAX_WORDS),
        )


def _without_words(failure: DeliveryFailed) -> DeliveryFailed:
    """The failure as it is stored with deliveries that an erasure does not remove: a receiver may quote feedback."""
    return DeliveryFailed(
        f"The channel reported: {failure.status}" if failure.status else "The channel reported no status",
        retryable=failure.retryable,
        retry_after=failure.retry_after,
        gone=failure.gone,
        planned=failure.planned,
        status=failure.status,
    )


def _not_sent(at: datetime, outcome: AttemptOutcome, status: str, error: str) -> Attempt:
    return Attempt(
        at=at,
        outcome=outcome,
        status=excerpt(status, MAX_STATUS),
        error=excerpt(error, MAX_WORDS),
    )


def subjects_of(dependencies: RelayDependencies, events: Iterable[Event]) -> Subjects:
    """The current subjects of events, without erased ones, and without alerts that must not be sent any more."""
    return read_subjects(events, dependencies.feedback, partial(_alert_now, dependencies))


def _alert_now(dependencies: RelayDependencies, event: Event) -> Alert | None:
    """The current alert of an event; ``None`` if no channel may be notified of it any more.

    The raising of an alert that was emptied by an erasure is not sent, but its resolution is.
    """
    alert = dependencies.alerts.get(event.application, event.subject_id)
    if alert is None:
        return None
    # Erasing empties alerts, but one may be raised at the same time.
    alert = alert if _has_all_feedback(dependencies.feedback, alert) else alert.emptied(at=dependencies.clock())
    return None if event.type is EventType.ALERT_RAISED and alert.is_empty else alert


def _has_all_feedback(feedback: FeedbackRepository, alert: Alert) -> bool:
    """Whether no feedback of the alert was erased: the alert describes its authors."""
    return len(feedback.get_many(alert.application, alert.feedback_ids)) == len(alert.feedback_ids)


def _log_lost(delivery: Delivery) -> None:
    logger.info("Delivery %s was claimed by another relay meanwhile, or erased", delivery.id)

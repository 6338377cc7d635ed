"""A lane: what carries deliveries to one channel, so that a receiver that is slow or dead delays nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final

from attrs import evolve, frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import DeliveryFailed, LeaseLost, TemplateTooCostly
from harken.domain.events import Delivery, Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.routes import Route, disclosed
from harken.ports.alerts import AlertRepository
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock, Random
from harken.services.notifications.channels import ChannelService, ChannelState
from harken.services.notifications.read_ahead import ReadAhead, Subjects
from harken.services.notifications.routes import RouteService

logger = logging.getLogger(__name__)

#: How long after the one before each try is made; after the last one a delivery is dead. The schedule of the Standard
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
#: How much later than the schedule says a try may be made, as a part of the wait: so that what failed together does not
#: come back together.
JITTER: Final = 0.1
#: How long a receiver may ask to be left alone.
LONGEST_WAIT: Final = timedelta(hours=24)
#: For how long what was claimed is nobody else's, and how much of that there must be left to begin to send: a channel
#: gives up after 20 seconds.
LEASE: Final = timedelta(seconds=45)
_LEFT: Final = timedelta(seconds=25)
MAX_CLAIM: Final = 100
#: What has arrived is settled after so many seconds at the latest, as what happened next to the same feedback waits for
#: that.
_UNSETTLED: Final = 0.5
#: A try that takes longer than so many seconds makes the lane claim one at a time.
_SLOW: Final = 1.0


@frozen(kw_only=True)
class RelayDependencies:
    """What all lanes share.

    Attributes:
        outbox: where deliveries come from.
        feedback: what they are about.
        alerts: what else they are about.
        channels: which channels are on.
        routes: the routes in force, and their texts.
        clock: the time now, which all relays on the storage agree on.
        jitter: a number from 0 to 1, for jitter.
        schedule: how long after the one before each try is made.
    """

    outbox: Outbox
    feedback: FeedbackRepository
    alerts: AlertRepository
    channels: ChannelService
    routes: RouteService
    clock: Clock
    jitter: Random
    schedule: Sequence[timedelta] = SCHEDULE


class _Ended:
    """What was dealt with and is not settled yet: what has arrived, and what is not true any more."""

    def __init__(self) -> None:
        self.since = perf_counter()
        self.arrived: list[Delivery] = []
        self.untrue: list[Delivery] = []


class Lane:
    """Claims one channel's deliveries, sends them and notes what became of each. Several threads may work in it."""

    def __init__(
        self, channel: str, notifier: Notifier, dependencies: RelayDependencies, changed: Callable[[], object]
    ) -> None:
        """``changed`` gives another object after each change that this process has made."""
        self.channel = channel
        self._notifier = notifier
        self._dependencies = dependencies
        self._changed = changed
        self._claim_size = MAX_CLAIM

    def work(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, bool]:
        """Send what is due, a batch of it; how many deliveries it dealt with, and whether others may be due besides.

        After it has dealt with any, there may be more in any case: what happened next to the same feedback, or alert,
        can be claimed only then.

        Args:
            stopping: asked between two deliveries; what was not sent by then is given back.

        Raises:
            StorageError: the storage failed; what was sent may be sent again, under the same id.
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

    # --- how -------------------------------------------------------------------------------------------------------

    def _send_all(self, claimed: Sequence[Delivery], latest: datetime, stopping: Callable[[], bool]) -> int:
        """Send one after the other, for as long as the receiver is quick and the lease lasts; give the others back."""
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
                self._send(delivery, ahead.subject(dealt), routes, ended)
                dealt += 1
                slow = perf_counter() - began > _SLOW
                self._claim_size = 1 if slow else min(MAX_CLAIM, self._claim_size * 2)
                if slow or not self._dependencies.channels.state(self.channel).on:
                    break
                if perf_counter() - ended.since > _UNSETTLED:
                    self._settle(ended)
                    ended = _Ended()
        finally:
            # Whatever went wrong: what has arrived is settled, and what was not sent is free for others.
            try:
                self._settle(ended)
            finally:
                if dealt < len(claimed):
                    self._dependencies.outbox.release(claimed[dealt:])
        return dealt

    def _send(
        self, delivery: Delivery, subject: Feedback | Alert | None, routes: Sequence[Route], ended: _Ended
    ) -> None:
        """Send one, if it is still true, and note what became of it."""
        try:
            notification = self._notification(delivery, subject, routes)
            if notification is None:
                ended.untrue.append(delivery)
                return
            self._notifier.deliver(notification)
        except TemplateTooCostly as error:
            # Neither the receiver's fault, nor better the next time.
            self._bury(delivery, str(error), sent=False)
        except DeliveryFailed as failure:
            self._note_failure(delivery, failure)
        except Exception as error:
            logger.exception("Channel %s failed in a way that it should not", self.channel)
            self._note_failure(delivery, DeliveryFailed(f"{type(error).__name__}: {error}"))
        else:
            ended.arrived.append(delivery)

    def _notification(
        self, delivery: Delivery, subject: Feedback | Alert | None, routes: Sequence[Route]
    ) -> Notification | None:
        """What to send now; ``None`` if what the delivery tells is not true any more."""
        event = delivery.event
        feedback = alert = erased = None
        if event.type is EventType.ERASED:
            erased = ErasedFeedback(event.subject_id, event.session_id or "")
        elif isinstance(subject, Feedback):
            routes = [route for route in routes if not route.applications or event.application in route.applications]
            feedback = disclosed(routes, event.type, subject)
        else:
            alert = subject
        if feedback is None and alert is None and erased is None:
            return None
        notification = Notification(
            id=delivery.id,
            type=event.type,
            application=event.application,
            occurred_at=event.occurred_at,
            sent_at=self._dependencies.clock(),
            feedback=feedback,
            alert=alert,
            erased=erased,
        )
        text = self._dependencies.routes.text(routes, notification, subject)
        return notification if text is None else evolve(notification, text=text)

    def _note_failure(self, delivery: Delivery, failure: DeliveryFailed) -> None:
        now = self._dependencies.clock()
        message = str(failure)
        logger.warning("Channel %s did not take %s at try %d: %s", self.channel, delivery.id, delivery.tries, message)
        wait = self._wait(delivery, failure)
        if wait is None:
            self._bury(delivery, message)
        else:
            try:
                self._dependencies.outbox.back_off(delivery, due_at=now + wait, error=message)
            except LeaseLost:
                _tell_lost(delivery)
        if failure.gone:
            self._dependencies.channels.switch_off(self.channel, message)
        else:
            self._dependencies.channels.failed(self.channel, at=now)

    def _wait(self, delivery: Delivery, failure: DeliveryFailed) -> timedelta | None:
        """How long until the next try; ``None`` if there is none."""
        if not failure.retryable or delivery.tries >= len(self._dependencies.schedule):
            return None
        planned = self._dependencies.schedule[delivery.tries] * (1 + JITTER * self._dependencies.jitter())
        asked = failure.retry_after or timedelta(0)
        return max(planned, min(asked, LONGEST_WAIT))

    def _settle(self, ended: _Ended) -> None:
        # What has arrived first: if the other fails, nothing is sent again.
        if ended.arrived:
            for delivery in self._dependencies.outbox.settle(ended.arrived):
                _tell_lost(delivery)
            self._dependencies.channels.arrived(self.channel)
        if ended.untrue:
            self._dependencies.outbox.discard(ended.untrue)

    def _bury(self, delivery: Delivery, error: str, *, sent: bool = True) -> None:
        try:
            self._dependencies.outbox.bury(delivery, error=error, sent=sent)
        except LeaseLost:
            _tell_lost(delivery)

    def _bury_all(self, claimed: Sequence[Delivery], state: ChannelState) -> int:
        for delivery in claimed:
            self._bury(delivery, f"The channel is switched off: {state.reason}", sent=False)
        return len(claimed)


def subjects_of(dependencies: RelayDependencies, events: Iterable[Event]) -> Subjects:
    """What events are about, as it is now, by application and id; without what was erased."""
    wanted: dict[str, set[str]] = {}
    found: dict[tuple[str, str], Feedback | Alert] = {}
    for event in events:
        if event.type.about_feedback:
            wanted.setdefault(event.application, set()).add(event.subject_id)
        elif event.type is EventType.ERASED:
            continue
        elif alert := alert_now(dependencies, event):
            found[event.application, event.subject_id] = alert
    for application, ids in wanted.items():
        for feedback_id, one in dependencies.feedback.get_many(application, ids).items():
            found[application, feedback_id] = one
    return found


def alert_now(dependencies: RelayDependencies, event: Event) -> Alert | None:
    """The alert that an event is about, as it is now; ``None`` if nobody may be told of it any more.

    An alert that was emptied because of an erasure is not news, but its end is.
    """
    alert = dependencies.alerts.get(event.application, event.subject_id)
    if alert is None:
        return None
    # Erasing empties alerts, but one may be raised at the same moment.
    alert = alert if _is_there(dependencies.feedback, alert) else alert.emptied(at=dependencies.clock())
    return None if event.type is EventType.ALERT_RAISED and alert.is_empty else alert


def _is_there(feedback: FeedbackRepository, alert: Alert) -> bool:
    """Whether nothing that makes the alert was erased: it tells of the people who gave that."""
    return len(feedback.get_many(alert.application, alert.feedback_ids)) == len(alert.feedback_ids)


def _tell_lost(delivery: Delivery) -> None:
    logger.info("Delivery %s was claimed by somebody else meanwhile, or erased", delivery.id)

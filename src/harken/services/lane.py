"""A lane: what carries deliveries to one channel, so that a receiver that is slow or dead delays nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from attrs import evolve, frozen

from harken.domain.alerts import Alert
from harken.domain.errors import DeliveryFailed, LeaseLost, TemplateTooCostly
from harken.domain.events import Delivery, Event
from harken.domain.feedback import Feedback
from harken.domain.routing import Route
from harken.ports.alerts import AlertRepository
from harken.ports.notifier import Notification, Notifier
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Chance, Clock
from harken.services.channels import ChannelService, ChannelState
from harken.services.routing import RouteService

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
#: A try that takes longer than so many seconds makes the lane claim one at a time.
_SLOW: Final = 1.0

Subjects = Mapping[tuple[str, str], Feedback | Alert]


@frozen(kw_only=True)
class Means:
    """What all lanes share.

    Attributes:
        outbox: where deliveries come from.
        feedback: what they are about.
        alerts: what else they are about.
        channels: which channels are on.
        routes: the routes in force, and their texts.
        clock: the time now.
        chance: a number from 0 to 1, for jitter.
        schedule: how long after the one before each try is made.
    """

    outbox: Outbox
    feedback: FeedbackRepository
    alerts: AlertRepository
    channels: ChannelService
    routes: RouteService
    clock: Clock
    chance: Chance
    schedule: Sequence[timedelta] = SCHEDULE


class Lane:
    """Claims one channel's deliveries, sends them and notes what became of each. Several threads may work in it."""

    def __init__(self, channel: str, notifier: Notifier, means: Means) -> None:
        self.channel = channel
        self._notifier = notifier
        self._means = means
        self._claim_size = MAX_CLAIM

    def work(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, bool]:
        """Send what is due, a batch of it; how many deliveries it dealt with, and whether there may be more at once.

        Args:
            stopping: asked between two deliveries; what was not sent by then is given back.

        Raises:
            StorageError: the storage failed; what was sent may be sent again, under the same id.
        """
        size = self._claim_size
        now = self._means.clock()
        claimed = self._means.outbox.claim(self.channel, now=now, until=now + LEASE, limit=size)
        if not claimed:
            return 0, False
        state = self._means.channels.state(self.channel)
        if not state.on:
            return self._bury_all(claimed, state), len(claimed) == size
        dealt = self._send_all(claimed, now + LEASE - _LEFT, stopping)
        return dealt, len(claimed) == size or dealt < len(claimed)

    # --- how -------------------------------------------------------------------------------------------------------

    def _send_all(self, claimed: Sequence[Delivery], latest: datetime, stopping: Callable[[], bool]) -> int:
        """Send one after the other, for as long as the receiver is quick and the lease lasts; give the others back."""
        subjects = subjects_of(self._means, [delivery.event for delivery in claimed])
        routes = self._means.routes.templates(self.channel)
        arrived: list[Delivery] = []
        dealt = 0
        try:
            for delivery in claimed:
                if stopping() or self._means.clock() >= latest:
                    break
                began = perf_counter()
                if self._send(delivery, subjects, routes):
                    arrived.append(delivery)
                dealt += 1
                slow = perf_counter() - began > _SLOW
                self._claim_size = 1 if slow else min(MAX_CLAIM, self._claim_size * 2)
                if slow or not self._means.channels.state(self.channel).on:
                    break
        finally:
            # Whatever went wrong: what has arrived is settled, and what was not sent is free for others.
            self._settle(arrived)
            if dealt < len(claimed):
                self._means.outbox.release(claimed[dealt:])
        return dealt

    def _send(self, delivery: Delivery, subjects: Subjects, routes: Sequence[Route]) -> bool:
        """Send one; whether it has arrived. Notes it if it has not."""
        subject = subjects.get((delivery.event.application, delivery.event.subject_id))
        if subject is None:
            self._bury(delivery, "What it is about was erased; it was not sent")
            return False
        try:
            self._notifier.deliver(self._notification(delivery, subject, routes))
        except TemplateTooCostly as error:
            # Neither the receiver's fault, nor better the next time.
            self._bury(delivery, str(error))
            return False
        except DeliveryFailed as failure:
            self._note_failure(delivery, failure)
            return False
        except Exception as error:
            logger.exception("Channel %s failed in a way that it should not", self.channel)
            self._note_failure(delivery, DeliveryFailed(f"{type(error).__name__}: {error}"))
            return False
        return True

    def _notification(self, delivery: Delivery, subject: Feedback | Alert, routes: Sequence[Route]) -> Notification:
        notification = Notification(
            id=delivery.id,
            type=delivery.event.type,
            application=delivery.event.application,
            occurred_at=delivery.event.occurred_at,
            sent_at=self._means.clock(),
            feedback=subject if isinstance(subject, Feedback) else None,
            alert=subject if isinstance(subject, Alert) else None,
        )
        text = self._means.routes.text(routes, notification) if routes else None
        return notification if text is None else evolve(notification, text=text)

    def _note_failure(self, delivery: Delivery, failure: DeliveryFailed) -> None:
        now = self._means.clock()
        message = str(failure)
        logger.warning("Channel %s did not take %s at try %d: %s", self.channel, delivery.id, delivery.tries, message)
        wait = self._wait(delivery, failure)
        if wait is None:
            self._bury(delivery, message)
        else:
            try:
                self._means.outbox.back_off(delivery, due_at=now + wait, error=message)
            except LeaseLost:
                _tell_lost(delivery)
        if failure.gone:
            self._means.channels.switch_off(self.channel, message)
        else:
            self._means.channels.failed(self.channel, at=now)

    def _wait(self, delivery: Delivery, failure: DeliveryFailed) -> timedelta | None:
        """How long until the next try; ``None`` if there is none."""
        if not failure.retryable or delivery.tries >= len(self._means.schedule):
            return None
        planned = self._means.schedule[delivery.tries] * (1 + JITTER * self._means.chance())
        asked = failure.retry_after or timedelta(0)
        return max(planned, min(asked, LONGEST_WAIT))

    def _settle(self, arrived: Sequence[Delivery]) -> None:
        if not arrived:
            return
        for delivery in self._means.outbox.settle(arrived):
            _tell_lost(delivery)
        self._means.channels.arrived(self.channel)

    def _bury(self, delivery: Delivery, error: str) -> None:
        try:
            self._means.outbox.bury(delivery, error=error)
        except LeaseLost:
            _tell_lost(delivery)

    def _bury_all(self, claimed: Sequence[Delivery], state: ChannelState) -> int:
        for delivery in claimed:
            self._bury(delivery, f"The channel is switched off: {state.reason}")
        return len(claimed)


def subjects_of(means: Means, events: Iterable[Event]) -> Subjects:
    """What events are about, as it reads now, by application and id; without what was erased."""
    wanted: dict[str, set[str]] = {}
    found: dict[tuple[str, str], Feedback | Alert] = {}
    for event in events:
        if not event.type.about_alert:
            wanted.setdefault(event.application, set()).add(event.subject_id)
            continue
        alert = means.alerts.get(event.application, event.subject_id)
        if alert and _is_there(means.feedback, alert):
            found[event.application, event.subject_id] = alert
    for application, ids in wanted.items():
        for feedback_id, one in means.feedback.get_many(application, ids).items():
            found[application, feedback_id] = one
    return found


def _is_there(feedback: FeedbackRepository, alert: Alert) -> bool:
    """Whether nothing that makes the alert was erased: it tells of the people who gave that."""
    return len(feedback.get_many(alert.application, alert.feedback_ids)) == len(alert.feedback_ids)


def _tell_lost(delivery: Delivery) -> None:
    logger.info("Delivery %s was claimed by somebody else meanwhile, or erased", delivery.id)

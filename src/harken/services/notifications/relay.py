"""The relay: turns events of the outbox into deliveries, and sends them to channels, with retries."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from threading import Thread, current_thread
from time import thread_time
from typing import Final

from attrs import evolve

from harken.domain.alerts.alert import Alert
from harken.domain.errors import ConfigurationError, HarkenError, StorageClosed
from harken.domain.events import Event, EventType, Traits
from harken.domain.feedback import Feedback
from harken.domain.routes import Route, destinations
from harken.ports.notifier import Notifier
from harken.services.alerting.service import AlertingService
from harken.services.forks import ForkSafeLock
from harken.services.interruption import Latch
from harken.services.notifications.lane import Lane, RelayDependencies, subjects_of
from harken.services.notifications.read_ahead import Subjects

logger = logging.getLogger(__name__)

#: How many events are dispatched at once.
MAX_EVENTS: Final = 500
#: How often a relay looks for events and deliveries of other processes, and how often it evaluates alert rules with
#: time windows.
POLL: Final = 1.0
EVALUATE_EVERY: Final = timedelta(seconds=60)
#: How many seconds a relay pauses between two batches of feedback that it erases, so that other writers get their turn.
_BETWEEN_ERASURES: Final = 0.1
#: How long delivered deliveries are stored, and how often older ones are removed.
KEPT: Final = timedelta(days=7)
_TIDY: Final = timedelta(hours=1)
#: While this process receives submissions, a relay pauses for this multiple of its own CPU time, to leave the processor
#: to them: its work also causes work in the storage and the receiver. Deliveries wait in the storage meanwhile.
_PAUSE_RATIO: Final = 9.0
_LONGEST_PAUSE: Final = 1.0

#: Opens all channels, and closes them at the end of the context.
OpenNotifiers = Callable[[], AbstractContextManager[Mapping[str, Notifier]]]


class Relay:
    """Passes events to alert rules and routes, and sends the resulting deliveries until they arrive.

    Any number of relays may run on a storage, in any number of processes. If one dies, others send its deliveries again
    when the leases have expired, with the same ids.

    One thread dispatches events, and another one erases expired feedback. Each channel has its own lane with up to
    ``concurrency`` threads.
    """

    def __init__(
        self,
        dependencies: RelayDependencies,
        alerting: AlertingService,
        open_notifiers: OpenNotifiers,
        *,
        poll: float = POLL,
    ) -> None:
        self._dependencies = dependencies
        self._poll = poll
        self._alerting = alerting
        self._open_notifiers = open_notifiers
        self._opened = ExitStack()
        self._lanes: dict[str, _Worker] = {}
        self._thread: Thread | None = None
        self._eraser: Thread | None = None
        self._news = Latch()
        self._stopping = threading.Event()
        self._state = ForkSafeLock()
        self._pid = os.getpid()
        self._last_change = object()
        self._evaluated: datetime | None = None
        self._tidied: datetime | None = None
        self._looked: datetime | None = None
        self._throttle = Throttle(self._stopping)

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._thread is not None

    def start(self, *, concurrency: int = 4) -> None:
        """Start the threads of the relay. May be called twice.

        Args:
            concurrency: how many deliveries to one channel may be sent at the same time.

        Raises:
            ConfigurationError: the configuration of a channel is invalid.
        """
        if concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, got {concurrency}")
        with self._state:
            if self._thread is not None:
                return
            self._open()
            self._stopping.clear()
            # Deliveries from earlier runs may be due.
            self._news.open()
            for lane in self._lanes.values():
                lane.start(concurrency)
            self._thread = Thread(target=self._run, name="harken-relay", daemon=True)
            self._thread.start()
            if self._dependencies.retention.settings.is_set:
                self._eraser = Thread(target=self._erase_expired, name="harken-retention", daemon=True)
                self._eraser.start()

    def stop(self) -> None:
        """Finish the deliveries that are being sent and the batch that is being erased, release the others, and stop.

        May be called twice, and after a fork: the threads and the connections of channels are those of the parent.
        """
        if os.getpid() != self._pid:
            return
        with self._state:
            self._stopping.set()
            self._news.open()
            if self._thread is not None:
                self._thread.join()
                self._thread = None
            if self._eraser is not None:
                self._eraser.join()
                self._eraser = None
            for lane in self._lanes.values():
                lane.stop()
            self._lanes = {}
            self._opened.close()

    def nudge(self) -> None:
        """Dispatch events now, as something was written. Does not block."""
        if self._thread is not None:
            self._throttle.written()
            self._news.open()

    def changed(self) -> None:
        """Send nothing that was read before, as something was changed or erased. Does not block."""
        self._last_change = object()
        self.nudge()

    def run_due(self) -> int:
        """Dispatch and send all that is due, in this thread; returns the number of attempts. For hosts without threads.

        Also erases expired feedback.

        Raises:
            ConfigurationError: the configuration of a channel is invalid.
            StorageError: the storage failed.
        """
        with self._state:
            self._open()
        attempts = self._send_due()
        if sum(self._dependencies.retention.erase_expired()):
            # The notices of the erasure.
            attempts += self._send_due()
        return attempts

    def _send_due(self) -> int:
        attempts = 0
        while True:
            moved = self.dispatch()
            dealt = sum(lane.run_due() for lane in self._lanes.values())
            attempts += dealt
            if not moved and not dealt:
                return attempts

    def dispatch(self) -> int:
        """Pass a batch of events to alert rules and routes, and create deliveries; returns the number of events.

        Also does what is due from time to time.

        Raises:
            StorageError: the storage failed; the remaining events are dispatched by the next call.
        """
        # First, so that no error of the rest stops them.
        dispatched = self._fan_out()
        if self._run_periodic() and not dispatched:
            # Alerts that were raised or resolved have events, too; after others, the next call dispatches them.
            dispatched = self._fan_out()
        self._tidy()
        return dispatched

    # --- steps -------------------------------------------------------------------------------------------------------

    def _fan_out(self) -> int:
        """Pass a batch of events to alert rules and routes, and create deliveries; returns the number of events."""
        events = self._dependencies.outbox.events(limit=MAX_EVENTS)
        if not events:
            return 0
        now = self._dependencies.clock()
        subjects = subjects_of(self._dependencies, events)
        # Before the events leave the outbox: after a crash, another relay evaluates the rules again.
        self._alerting.on_feedback([one for one in subjects.values() if isinstance(one, Feedback)])
        deliveries = self._dependencies.outbox.fan_out(self._plan(events, subjects), due_at=now)
        self._nudge({delivery.channel for delivery in deliveries})
        return len(events)

    def _open(self) -> None:
        if not self._lanes:
            opened = self._opened.enter_context(self._open_notifiers())
            self._lanes = {
                name: _Worker(
                    Lane(name, notifier, self._dependencies, lambda: self._last_change),
                    self._stopping,
                    self._throttle,
                    self._poll,
                )
                for name, notifier in opened.items()
            }

    def _nudge(self, channels: Iterable[str]) -> None:
        for channel in channels:
            if lane := self._lanes.get(channel):
                lane.nudge()

    def _plan(self, events: Sequence[Event], subjects: Subjects) -> list[tuple[Event, set[str]]]:
        """The channels of each event, and the type that they get; events about erased feedback have no channels."""
        routes = self._dependencies.routes.routes()
        following = _traits_after(self._with_later_events(events, subjects))
        plan: list[tuple[Event, set[str]]] = []
        # In the order of versions, even if the clocks of the writers differ.
        for event in sorted(events, key=lambda event: event.version):
            subject = subjects.get((event.application, event.subject_id))
            if isinstance(subject, Feedback):
                plan += _plan_event(event, destinations(routes, event, following.get(event.id) or Traits.of(subject)))
            else:
                plan.append((event, _channels_of(event, subject, routes)))
        return plan

    def _with_later_events(self, events: Sequence[Event], subjects: Subjects) -> Sequence[Event]:
        """These events, and the later events about the same feedback, up to its current version."""
        known = {(event.application, event.subject_id, event.version) for event in events}
        newer: dict[str, list[str]] = {}
        for (application, subject_id), subject in subjects.items():
            if isinstance(subject, Feedback) and (application, subject_id, subject.version) not in known:
                newer.setdefault(application, []).append(subject_id)
        outbox = self._dependencies.outbox
        return [*events, *(event for where, ids in newer.items() for event in outbox.events_about(where, ids))]

    def _run_periodic(self) -> bool:
        """Evaluate windows of time, and send digests, if that is due; returns whether it was."""
        now = self._dependencies.clock()
        if self._evaluated is not None and timedelta(0) <= now - self._evaluated < EVALUATE_EVERY:
            return False
        self._alerting.evaluate_windows()
        self._nudge(self._dependencies.digests.send_due())
        self._evaluated = now
        return True

    def _tidy(self) -> None:
        now = self._dependencies.clock()
        if self._tidied is not None and timedelta(0) <= now - self._tidied < _TIDY:
            return
        self._dependencies.outbox.forget(before=now - KEPT)
        self._tidied = now

    def _run(self) -> None:
        with self._dependencies.outbox.watching(self._news.open):
            while not self._stopping.is_set():
                news = self._news.wait(self._poll)
                while not self._stopping.is_set() and self._dispatch_safely():
                    pass
                if news:
                    # An erasure leaves deliveries and no event.
                    for lane in self._lanes.values():
                        lane.nudge()

    def _erase_expired(self) -> None:
        while not self._stopping.is_set():
            self._erase_expired_safely()
            self._stopping.wait(self._poll)

    def _erase_expired_safely(self) -> None:
        """Erase batch after batch, until nothing is left or the relay stops, and log any error."""
        try:
            now = self._dependencies.clock()
            if self._looked is not None and timedelta(0) <= now - self._looked < EVALUATE_EVERY:
                return
            self._looked = now
            with closing(self._dependencies.retention.erase_expired()) as batches:
                for _ in batches:
                    if self._stopping.wait(_BETWEEN_ERASURES):
                        return
        except StorageClosed:
            self._stopping.set()
        except HarkenError as error:
            logger.warning("Expired feedback waits to be erased: %s", error)
        except Exception:
            logger.exception("Expired feedback waits to be erased")

    def _dispatch_safely(self) -> bool:
        """Dispatch events, and log any error; returns whether there may be more."""
        try:
            with self._throttle.working():
                # Even after a small batch: it may have raised alerts, which have events too.
                return self.dispatch() > 0
        except StorageClosed:
            self._stopping.set()
        except HarkenError as error:
            logger.warning("Events wait: %s", error)
        except Exception:
            logger.exception("Events wait")
        return False


class Throttle:
    """Gives submissions in this process priority over the relay."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._writes = 0
        self._working = 0
        self._counting = ForkSafeLock()

    def written(self) -> None:
        """Record a submission."""
        # A count that is lost to another thread does no harm.
        self._writes += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Wraps a batch of work; pauses at the end if there were submissions meanwhile."""
        began, before = thread_time(), self._writes
        self._count(1)
        try:
            yield
        finally:
            if self._writes > before + 1:
                pause = _PAUSE_RATIO * self._working * (thread_time() - began)
                self._stopping.wait(min(pause, _LONGEST_PAUSE))
            self._count(-1)

    def _count(self, change: int) -> None:
        """Change the number of working threads, under the lock: an error would persist."""
        with self._counting:
            self._working += change


class _Worker:
    """The threads of a lane: one that waits for work, and more while there is much of it."""

    def __init__(self, lane: Lane, stopping: threading.Event, throttle: Throttle, poll: float) -> None:
        self._lane = lane
        self._stopping = stopping
        self._throttle = throttle
        self._poll = poll
        self._news = Latch()
        self._state = ForkSafeLock()
        self._helpers: set[Thread] = set()
        self._concurrency = 1
        self._thread = Thread(target=self._run, name=f"harken-channel-{lane.channel}", daemon=True)

    def start(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._news.open()
        self._thread.start()

    def stop(self) -> None:
        self._news.open()
        if self._thread.ident is not None:
            self._thread.join()
        with self._state:
            helpers = list(self._helpers)
        for helper in helpers:
            helper.join()

    def nudge(self) -> None:
        self._news.open()

    def run_due(self) -> int:
        """Send all that is due, in this thread; returns the number of attempts."""
        attempts = 0
        while True:
            dealt, others = self._lane.work()
            attempts += dealt
            if not dealt and not others:
                return attempts

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(self._poll)
            self._work()

    def _work(self) -> None:
        """Send until nothing is due."""
        more = True
        while more and not self._stopping.is_set():
            dealt, others = self._work_safely()
            if others:
                self._call_help()
            more = dealt > 0 or others

    def _work_safely(self) -> tuple[int, bool]:
        """Send a batch, and log any error; returns what :meth:`Lane.work` returns."""
        try:
            with self._throttle.working():
                return self._lane.work(self._stopping.is_set)
        except StorageClosed:
            self._stopping.set()
        except HarkenError as error:
            logger.warning("Channel %s waits: %s", self._lane.channel, error)
        except Exception:
            logger.exception("Channel %s waits", self._lane.channel)
        return 0, False

    def _call_help(self) -> None:
        """Start another thread, up to ``concurrency``, which works until nothing is due."""
        with self._state:
            if len(self._helpers) + 1 >= self._concurrency:
                return
            helper = Thread(target=self._help, name=f"harken-channel-{self._lane.channel}", daemon=True)
            self._helpers.add(helper)
            # Under the lock, so that a thread that joins it finds it started.
            helper.start()

    def _help(self) -> None:
        try:
            self._work()
        finally:
            with self._state:
                self._helpers = self._helpers - {current_thread()}


def _traits_after(events: Sequence[Event]) -> dict[str, Traits]:
    """The traits of feedback after each event that has a successor, taken from the successor, by event id."""
    following: dict[str, Traits] = {}
    last: dict[tuple[str, str], Event] = {}
    about_feedback = (event for event in events if event.type.about_feedback)
    for event in sorted(about_feedback, key=lambda event: event.version):
        before = last.get((event.application, event.subject_id))
        if before is not None and before.version < event.version and event.before is not None:
            following[before.id] = event.before
        last[event.application, event.subject_id] = event
    return following


def _plan_event(event: Event, destinations: Mapping[str, EventType]) -> list[tuple[Event, set[str]]]:
    """The event with its channels, and again as ``feedback.created`` for channels that get the feedback first now."""
    plan = [(event, {channel for channel, type_ in destinations.items() if type_ is event.type})]
    if others := destinations.keys() - plan[0][1]:
        plan.append((evolve(event, type=EventType.CREATED), set(others)))
    return plan


def _channels_of(event: Event, alert: Alert | None, routes: Sequence[Route]) -> set[str]:
    """The channels of an alert's event."""
    if alert is None:
        return set()
    taken = {route.channel for route in routes if route.takes(event.type, alert)}
    # A channel that is switched off cannot be notified that it is.
    return taken - {alert.subject.value} if alert.subject.by == "channel" else taken

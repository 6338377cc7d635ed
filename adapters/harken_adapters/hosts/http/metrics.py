"""What a service counts and measures about itself, as Prometheus reads it."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final, Literal, get_args

from harken import ConfigurationError, Harken, MissingExtra, StorageError
from harken.clock import utc_now
from harken.domain.events import DeliveryState
from harken.domain.texts import no_such
from harken.ports.time import Clock

if find_spec("prometheus_client") is None:
    raise MissingExtra("Metrics need the package 'prometheus_client'; try pip install \"harken[server]\"")

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

#: What became of a submission.
SubmissionOutcome = Literal["stored", "duplicate", "refused", "conflict", "limited", "unavailable", "overloaded"]

#: Names the folder through which several worker processes share their figures.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

_OUTCOMES: Final[tuple[SubmissionOutcome, ...]] = get_args(SubmissionOutcome)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
#: Stands for every other method: clients can make up any number of them, and each would be a series.
_OTHER: Final = "_OTHER"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

#: How long what the storage said is shown before it is asked again.
_KEPT: Final = timedelta(seconds=15)
#: How many seconds a reader of the figures waits for the storage at most. Without the storage all others still count.
_PATIENCE: Final = 1.0
#: Of how many applications the moderation queue is shown: each takes a question to the storage, and is two series.
_MAX_APPLICATIONS: Final = 100


class Metrics:
    """The figures of one service, in a registry of its own.

    Where the variable ``PROMETHEUS_MULTIPROC_DIR`` names a folder, each worker process keeps its figures in files
    there, and every worker renders the sum of all. The folder must be empty when the service starts, and a process
    holds one service only.
    """

    def __init__(self, *, clock: Clock = utc_now, depth_every: float = 5.0) -> None:
        """Figures that all begin at zero.

        Args:
            clock: gives the time now, in UTC.
            depth_every: after how many seconds a worker process tells the others how many submissions wait in it.

        Raises:
            ConfigurationError: worker processes cannot share their figures as they are set to.
        """
        self._clock = clock
        self._depth_every = depth_every
        self._folder = _shared_folder()
        self._own = self._shown = CollectorRegistry()
        if self._folder is not None:
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, str(self._folder))  # type: ignore[no-untyped-call] # registers itself
        self._requests = Counter(
            "harken_http_requests_total",
            "HTTP requests that were answered.",
            ["operation", "method", "status"],
            registry=self._own,
        )
        self._seconds = Histogram(
            "harken_http_request_seconds",
            "How long the answer took.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._own,
        )
        submissions = Counter(
            "harken_submissions_total", "What became of submissions.", ["outcome"], registry=self._own
        )
        # All are there from the beginning: the rate of what never happened yet is zero, not unknown.
        self._outcomes = {name: submissions.labels(name) for name in _OUTCOMES}
        self._batches = Histogram(
            "harken_write_batch_size",
            "How many submissions shared a write.",
            buckets=_SIZES,
            registry=self._own,
        )
        self._depth: Gauge | None = None
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._harken: Harken | None = None
        Gauge(
            "harken_build_info",
            "The version that is running.",
            ["version"],
            registry=self._own,
            multiprocess_mode="livemax",
        ).labels(version("harken")).set(1)

    def observe(self, hk: Harken) -> None:
        """Show how many submissions wait in it, how many share a write, the age of the oldest event, and more.

        That is what the storage knows: the state of the channels, and of the moderation queues.

        Raises:
            ConfigurationError: these figures show a Harken already.
        """
        if self._harken is not None:
            raise ConfigurationError("These metrics observe a Harken already; make others for another one")
        self._harken = hk
        hk.collection.on_write(self._batches.observe)
        self._shown.register(_Notifying(hk, self._clock))
        self._shown.register(_Moderation(hk, self._clock))
        self._depth = Gauge(
            "harken_queue_depth",
            "How many submissions wait to be written.",
            registry=self._own,
            multiprocess_mode="livesum",
        )
        if self._folder is not None:
            self._share(self._depth, hk)
        else:
            self._depth.set_function(lambda: hk.collection.waiting)

    def request(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered. ``operation`` must be one of a few names, and never made of the path."""
        counter, latency = self._children.get((operation, method, status)) or self._child(operation, method, status)
        counter.inc()
        latency.observe(seconds)

    def outcome(self, name: SubmissionOutcome) -> None:
        """Count what became of a submission.

        Raises:
            ValueError: there is no such outcome.
        """
        if (counter := self._outcomes.get(name)) is None:
            raise ValueError(no_such("outcome", name, _OUTCOMES))
        counter.inc()

    def render(self) -> tuple[bytes, str]:
        """All figures and their content type. It may wait for the storage, so call it in a thread."""
        if self._folder is not None:
            _forget_the_dead(self._folder)
        if self._folder is not None and self._depth is not None and self._harken is not None:
            self._depth.set(self._harken.collection.waiting)
        return generate_latest(self._shown), CONTENT_TYPE_LATEST

    def _child(self, operation: str, method: str, status: int) -> tuple[Counter, Histogram]:
        """The counter and the histogram of such requests, which take several times as long to find as to use."""
        if method not in _METHODS:
            return self._children.get((operation, _OTHER, status)) or self._made(operation, _OTHER, status)
        return self._made(operation, method, status)

    def _made(self, operation: str, method: str, status: int) -> tuple[Counter, Histogram]:
        child = self._requests.labels(operation, method, str(status)), self._seconds.labels(operation)
        self._children[operation, method, status] = child
        return child

    def _share(self, depth: Gauge, hk: Harken) -> None:
        """Write down again and again how many wait, for the other processes: nothing else may happen for long."""
        ended = Event()

        def share() -> None:
            while not ended.wait(self._depth_every):
                depth.set(hk.collection.waiting)
            depth.set(0)

        depth.set(hk.collection.waiting)
        hk.on_close(ended.set)
        Thread(target=share, name="harken-metrics", daemon=True).start()


class _FromStorage(Collector):
    """Figures that the storage knows.

    It is read now and then only, in another thread: a storage that hangs must not take all other figures along.
    """

    def __init__(self, hk: Harken, clock: Clock) -> None:
        self._harken = hk
        self._clock = clock
        self._lock = Lock()
        self._read_at = clock() - _KEPT
        self._reading: Future[list[GaugeMetricFamily]] = Future()
        self._reading.set_result([])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures, unless the storage does not answer: old ones would be worse than none."""
        try:
            yield from self._latest().result(_PATIENCE)
        except (StorageError, TimeoutError):
            return

    def _latest(self) -> Future[list[GaugeMetricFamily]]:
        with self._lock:
            now = self._clock()
            if self._reading.done() and not timedelta(0) <= now - self._read_at < _KEPT:
                self._read_at, self._reading = now, Future()
                Thread(target=self._read, args=(self._reading,), name="harken-stored", daemon=True).start()
            return self._reading

    def _read(self, reading: Future[list[GaugeMetricFamily]]) -> None:
        try:
            reading.set_result(self._figures(self._clock()))
        except BaseException as error:  # noqa: BLE001 - raised where the figures are asked for
            reading.set_exception(error)

    @abstractmethod
    def _figures(self, now: datetime) -> list[GaugeMetricFamily]:
        """What the storage says now."""


class _Notifying(_FromStorage):
    """How old the oldest event is that was not fanned out yet, the status of channels, and what is stranded."""

    def _figures(self, now: datetime) -> list[GaugeMetricFamily]:
        return [self._age(now), *self._channels(now), self._stranded()]

    def _age(self, now: datetime) -> GaugeMetricFamily:
        oldest = self._harken.outbox.events(limit=1)
        return GaugeMetricFamily(
            "harken_outbox_age_seconds",
            "How long the oldest event has been waiting to be fanned out.",
            value=_seconds(now, oldest[0].occurred_at if oldest else None),
        )

    def _channels(self, now: datetime) -> Iterator[GaugeMetricFamily]:
        on = GaugeMetricFamily("harken_channel_on", "1 if anything is sent there, else 0.", labels=["channel"])
        failing = GaugeMetricFamily(
            "harken_channel_failing_seconds", "How long nothing has arrived, though it was sent.", labels=["channel"]
        )
        late = GaugeMetricFamily(
            "harken_delivery_lateness_seconds", "How long what should be sent by now has been due.", labels=["channel"]
        )
        for state in self._harken.channels.states():
            first = self._harken.outbox.deliveries(DeliveryState.PENDING, limit=1, channel=state.name)
            on.add_metric([state.name], int(state.on))
            failing.add_metric([state.name], _seconds(now, state.failing_since))
            late.add_metric([state.name], _seconds(now, first[0].due_at if first else None))
        yield from (on, failing, late)

    def _stranded(self) -> GaugeMetricFamily:
        stranded = GaugeMetricFamily(
            "harken_deliveries_stranded",
            "How many deliveries wait for a channel that is not configured here.",
            labels=["channel"],
        )
        for name, number in self._harken.deliveries.stranded().items():
            stranded.add_metric([name], number)
        return stranded


class _Moderation(_FromStorage):
    """The moderation queues. They are read apart: one question for each application must not hold up other figures."""

    def _figures(self, now: datetime) -> list[GaugeMetricFamily]:
        waiting = GaugeMetricFamily("harken_moderation_waiting", "How many await moderation.", labels=["application"])
        age = GaugeMetricFamily(
            "harken_moderation_age_seconds",
            "For how long the oldest has been awaiting moderation; 0 if none is.",
            labels=["application"],
        )
        applications = self._harken.moderation.applications()
        for application in applications[:_MAX_APPLICATIONS]:
            backlog = self._harken.moderation.backlog(application)
            waiting.add_metric([application], backlog.waiting)
            age.add_metric([application], backlog.age(now).total_seconds())
        left_out = GaugeMetricFamily(
            "harken_moderation_applications_left_out",
            "How many applications are not shown, as there are too many.",
            value=max(len(applications) - _MAX_APPLICATIONS, 0),
        )
        return [waiting, age, left_out]


def _seconds(now: datetime, since: datetime | None) -> float:
    """For how long it has been so; 0 if it is not, or only will be."""
    return 0.0 if since is None else max(now - since, timedelta(0)).total_seconds()


def _shared_folder() -> Path | None:
    """Where worker processes share their figures, if they do.

    Raises:
        ConfigurationError: they are set to and cannot.
    """
    named = os.environ.get(SHARED_FOLDER)
    if named is None:
        return None
    if not Path(named).is_dir():
        raise ConfigurationError(
            f"{SHARED_FOLDER} names {named!r}, which is not a folder; make an empty one there before the service "
            "starts, or unset the variable"
        )
    if values.ValueClass is values.MutexValue:
        raise ConfigurationError(
            f"{SHARED_FOLDER} was set after the package 'prometheus_client' had been imported, which is too late; "
            "set it before the program starts"
        )
    return Path(named)


def _forget_the_dead(folder: Path) -> None:
    """Remove what a process left behind that was killed: it would be counted with the living for ever."""
    pids = {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*_*.db")}
    for pid in pids:
        if pid.isdecimal() and not _lives(int(pid)):
            with suppress(FileNotFoundError):  # another worker was faster
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    """Whether there is such a process. Elsewhere than on POSIX the question would end it, so all of them live there."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True

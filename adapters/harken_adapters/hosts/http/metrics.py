"""Prometheus metrics of a server."""

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
from threading import Event, Thread
from typing import Final, Literal, get_args

from harken import ConfigurationError, Harken, MissingExtra, StorageError
from harken.clock import utc_now
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.domain.texts import no_such
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock

if find_spec("prometheus_client") is None:
    raise MissingExtra("Metrics need the package 'prometheus_client'; try pip install \"harken[http]\"")

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

#: The outcome of a submission.
SubmissionOutcome = Literal["stored", "duplicate", "refused", "conflict", "limited", "unavailable", "overloaded"]

#: The environment variable with the directory through which worker processes share their metrics.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

_OUTCOMES: Final[tuple[SubmissionOutcome, ...]] = get_args(SubmissionOutcome)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
#: Replaces any other method: clients can invent any number of methods, and each would be a time series.
_OTHER: Final = "_OTHER"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

#: The interval, in seconds, at which a worker process publishes its queue depth to the others.
_DEPTH_INTERVAL: Final = 5.0
#: How long values from the storage are cached.
_KEPT: Final = timedelta(seconds=15)
#: How many seconds a scrape waits for the storage. After that, only its metrics are left out.
_PATIENCE: Final = 1.0
#: The maximum number of applications with moderation metrics: each needs a query, and has two time series.
_MAX_APPLICATIONS: Final = 100


class Metrics:
    """The metrics of one server, in their own registry.

    If the environment variable ``PROMETHEUS_MULTIPROC_DIR`` names a directory, each worker process keeps its metrics in
    files there, and every worker renders the sum. The directory must be empty when the server starts, and a process may
    hold only one server.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        """Create the metrics, starting at zero.

        Args:
            clock: returns the current time in UTC.

        Raises:
            ConfigurationError: ``PROMETHEUS_MULTIPROC_DIR`` is set but cannot be used.
        """
        self._clock = clock
        self._folder = _shared_folder()
        self._own = self._shown = CollectorRegistry()
        if self._folder is not None:
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, str(self._folder))  # type: ignore[no-untyped-call] # registers itself
        self._requests = Counter(
            "harken_http_requests_total",
            "The number of HTTP requests.",
            ["operation", "method", "status"],
            registry=self._own,
        )
        self._seconds = Histogram(
            "harken_http_request_seconds",
            "The time to respond, in seconds.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._own,
        )
        submissions = Counter(
            "harken_submissions_total", "The number of submissions, by outcome.", ["outcome"], registry=self._own
        )
        # All series exist from the start, so that the rate of an outcome that never occurred is zero, not unknown.
        self._outcomes = {name: submissions.labels(name) for name in _OUTCOMES}
        self._batches = Histogram(
            "harken_write_batch_size",
            "The number of submissions in a write.",
            buckets=_SIZES,
            registry=self._own,
        )
        self._depth: Gauge | None = None
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._harken: Harken | None = None
        Gauge(
            "harken_build_info",
            "The running version.",
            ["version"],
            registry=self._own,
            multiprocess_mode="livemax",
        ).labels(version("harken")).set(1)

    def observe(self, hk: Harken) -> None:
        """Add the metrics of a Harken: its queue, writes, outbox, channels and moderation queues.

        Raises:
            ConfigurationError: these metrics already observe a Harken.
        """
        if self._harken is not None:
            raise ConfigurationError("These metrics already observe a Harken; create other metrics for another one")
        self._harken = hk
        hk.collection.on_write(self._batches.observe)
        self._shown.register(_NotificationMetrics(hk, self._clock))
        self._shown.register(_ModerationMetrics(hk, self._clock))
        self._depth = Gauge(
            "harken_queue_depth",
            "The number of submissions that wait to be written.",
            registry=self._own,
            multiprocess_mode="livesum",
        )
        if self._folder is not None:
            self._share(self._depth, hk)
        else:
            self._depth.set_function(lambda: hk.collection.waiting)

    def request(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count a request. ``operation`` must be one of a fixed set of names, never derived from the path."""
        counter, latency = self._children.get((operation, method, status)) or self._child(operation, method, status)
        counter.inc()
        latency.observe(seconds)

    def outcome(self, name: SubmissionOutcome) -> None:
        """Count a submission by its outcome.

        Raises:
            ValueError: the outcome is unknown.
        """
        if (counter := self._outcomes.get(name)) is None:
            raise ValueError(no_such("outcome", name, _OUTCOMES))
        counter.inc()

    def render(self) -> tuple[bytes, str]:
        """All metrics and their content type. May block on the storage."""
        if self._folder is not None:
            _remove_dead_processes(self._folder)
        if self._folder is not None and self._depth is not None and self._harken is not None:
            self._depth.set(self._harken.collection.waiting)
        return generate_latest(self._shown), CONTENT_TYPE_LATEST

    def _child(self, operation: str, method: str, status: int) -> tuple[Counter, Histogram]:
        """The counter and histogram for these labels. Cached, as the lookup takes longer than the update."""
        if method not in _METHODS:
            return self._children.get((operation, _OTHER, status)) or self._create_child(operation, _OTHER, status)
        return self._create_child(operation, method, status)

    def _create_child(self, operation: str, method: str, status: int) -> tuple[Counter, Histogram]:
        child = self._requests.labels(operation, method, str(status)), self._seconds.labels(operation)
        self._children[operation, method, status] = child
        return child

    def _share(self, depth: Gauge, hk: Harken) -> None:
        """Publish the queue depth periodically for the other processes, even while no request arrives."""
        ended = Event()

        def share() -> None:
            while not ended.wait(_DEPTH_INTERVAL):
                depth.set(hk.collection.waiting)
            depth.set(0)

        depth.set(hk.collection.waiting)
        hk.on_close(ended.set)
        Thread(target=share, name="harken-metrics", daemon=True).start()


class _FromStorage(Collector):
    """Metrics that are read from the storage.

    They are cached, and read in another thread, so that a storage that hangs does not block the other metrics.
    """

    def __init__(self, hk: Harken, clock: Clock) -> None:
        self._harken = hk
        self._clock = clock
        self._lock = ForkSafeLock()
        self._read_at = clock() - _KEPT
        self._reading: Future[list[GaugeMetricFamily]] = Future()
        self._reading.set_result([])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics; none if the storage is not available, as outdated values would mislead."""
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
            reading.set_result(self._metrics(self._clock()))
        except BaseException as error:  # noqa: BLE001 - raised in collect
            reading.set_exception(error)

    @abstractmethod
    def _metrics(self, now: datetime) -> list[GaugeMetricFamily]:
        """Read the metrics from the storage."""


class _NotificationMetrics(_FromStorage):
    """The age of the outbox, the status of channels, and stranded deliveries."""

    def _metrics(self, now: datetime) -> list[GaugeMetricFamily]:
        return [self._age(now), *self._channels(now), self._stranded()]

    def _age(self, now: datetime) -> GaugeMetricFamily:
        oldest = self._harken.outbox.events(limit=1)
        return GaugeMetricFamily(
            "harken_outbox_age_seconds",
            "The age of the oldest event that is not fanned out yet, in seconds.",
            value=_seconds(now, oldest[0].occurred_at if oldest else None),
        )

    def _channels(self, now: datetime) -> Iterator[GaugeMetricFamily]:
        on = GaugeMetricFamily("harken_channel_on", "1 if the channel is on, else 0.", labels=["channel"])
        failing = GaugeMetricFamily(
            "harken_channel_failing_seconds",
            "How long deliveries to the channel have been failing, in seconds.",
            labels=["channel"],
        )
        late = GaugeMetricFamily(
            "harken_delivery_lateness_seconds",
            "How long the oldest due delivery has been overdue, in seconds.",
            labels=["channel"],
        )
        for state in self._harken.channels.states():
            first = self._harken.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING, channel=state.name), limit=1)
            on.add_metric([state.name], int(state.on))
            failing.add_metric([state.name], _seconds(now, state.failing_since))
            late.add_metric([state.name], _seconds(now, first[0].due_at if first else None))
        yield from (on, failing, late)

    def _stranded(self) -> GaugeMetricFamily:
        stranded = GaugeMetricFamily(
            "harken_deliveries_stranded",
            "The number of deliveries to a channel that is not configured.",
            labels=["channel"],
        )
        for name, number in self._harken.deliveries.stranded().items():
            stranded.add_metric([name], number)
        return stranded


class _ModerationMetrics(_FromStorage):
    """The moderation queues. They are read separately, as they need one query for each application."""

    def _metrics(self, now: datetime) -> list[GaugeMetricFamily]:
        waiting = GaugeMetricFamily(
            "harken_moderation_waiting", "The number of entries that await moderation.", labels=["application"]
        )
        age = GaugeMetricFamily(
            "harken_moderation_age_seconds",
            "How long the oldest entry has been awaiting moderation, in seconds; 0 if there is none.",
            labels=["application"],
        )
        applications = self._harken.moderation.applications()
        for application in applications[:_MAX_APPLICATIONS]:
            backlog = self._harken.moderation.backlog(application)
            waiting.add_metric([application], backlog.waiting)
            age.add_metric([application], backlog.age(now).total_seconds())
        left_out = GaugeMetricFamily(
            "harken_moderation_applications_left_out",
            "The number of applications without moderation metrics, as there are too many.",
            value=max(len(applications) - _MAX_APPLICATIONS, 0),
        )
        return [waiting, age, left_out]


def _seconds(now: datetime, since: datetime | None) -> float:
    """The seconds since then; 0 for ``None`` or a time in the future."""
    return 0.0 if since is None else max(now - since, timedelta(0)).total_seconds()


def _shared_folder() -> Path | None:
    """The directory through which worker processes share their metrics, if it is set.

    Raises:
        ConfigurationError: it is set but cannot be used.
    """
    named = os.environ.get(SHARED_FOLDER)
    if named is None:
        return None
    if not Path(named).is_dir():
        raise ConfigurationError(
            f"{SHARED_FOLDER} is {named!r}, which is not a directory; create an empty one before the server starts, "
            "or unset the variable"
        )
    if values.ValueClass is values.MutexValue:
        raise ConfigurationError(
            f"{SHARED_FOLDER} was set after the package 'prometheus_client' was imported, which is too late; "
            "set it before the program starts"
        )
    return Path(named)


def _remove_dead_processes(folder: Path) -> None:
    """Remove the files of killed processes, which would otherwise be counted for ever."""
    pids = {file.stem.rpartition("_")[2] for file in folder.glob("gauge_live*_*.db")}
    for pid in pids:
        if pid.isdecimal() and not _exists(int(pid)):
            with suppress(FileNotFoundError):  # another worker removed it
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _exists(pid: int) -> bool:
    """Whether a process exists. Always true except on POSIX, as the check would end the process elsewhere."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True

"""Prometheus metrics, of a single process and of several worker processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import harken
from channels import Recorder, connect_without_relay
from harken import ConfigurationError, Harken, StorageUnavailable
from harken.configuration.storage_urls import open_storage
from harken.domain.errors import DeliveryFailed
from harken.domain.events import Delivery, DeliveryQuery, Event
from harken.domain.moderation import Backlog, Moderation
from harken.ports.notifier import Notification
from harken.ports.outbox import Outbox
from harken.ports.repository import Accepted, Outcome
from harken_adapters.hosts.http.metrics import Metrics, SubmissionOutcome
from support import PATIENCE, ManualClock, a_feedback, eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
OUTCOMES: tuple[SubmissionOutcome, ...] = get_args(SubmissionOutcome)


def samples(rendered: str) -> Samples:
    """Every rendered sample, by name and labels; each occurs once."""
    found: Samples = {}
    for family in text_string_to_metric_families(rendered):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def samples_of(metrics: Metrics) -> Samples:
    """Every sample of a scrape."""
    return samples(metrics.render()[0].decode())


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample, or ``None``."""
    return samples_of(metrics).get((name, frozenset(labels.items())))


class Events:
    """An outbox that can fail or block, and that counts reads."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.read = 0
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def events(self, *, limit: int) -> Sequence[Event]:
        self.read += 1
        assert self.go.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.outbox.events(limit=limit)

    def deliveries(self, query: DeliveryQuery, *, limit: int) -> Sequence[Delivery]:
        return self.outbox.deliveries(query, limit=limit)


@pytest.fixture
def metrics(clock: ManualClock) -> Metrics:
    """Metrics with a clock that stands at noon."""
    return Metrics(clock=clock)


@pytest.fixture
def outbox(hk: Harken, metrics: Metrics) -> Events:
    """The outbox that the metrics observe."""
    events: Any = Events(hk.outbox)
    hk.outbox = events
    metrics.observe(hk)
    return events  # type: ignore[no-any-return]


class TestRequests:
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["submit", "list"]),
                st.sampled_from(["GET", "POST"]),
                st.sampled_from([200, 201, 503]),
                st.floats(0, 20),
            )
        )
    )
    def test_every_request_is_counted(self, requests: list[tuple[str, str, int, float]]) -> None:
        """The counters match the requests, and the histograms their durations, for each operation."""
        metrics = Metrics()
        for request in requests:
            metrics.request(*request)
        found = samples_of(metrics)
        for operation, method, status in {request[:3] for request in requests}:
            labels = frozenset({"operation": operation, "method": method, "status": str(status)}.items())
            expected = [request for request in requests if request[:3] == (operation, method, status)]
            assert found["harken_http_requests_total", labels] == len(expected)
        for operation in {request[0] for request in requests}:
            times = [request[3] for request in requests if request[0] == operation]
            one = frozenset({("operation", operation)})
            assert found["harken_http_request_seconds_count", one] == len(times)
            assert found["harken_http_request_seconds_sum", one] == pytest.approx(sum(times))
            for bound in ("0.005", "1.0", "+Inf"):
                within = [time for time in times if time <= (inf if bound == "+Inf" else float(bound))]
                assert found["harken_http_request_seconds_bucket", one | {("le", bound)}] == len(within)

    @given(st.lists(st.text(min_size=1), min_size=1))
    def test_unknown_methods(self, methods: list[str]) -> None:
        """Unknown methods share one time series."""
        metrics = Metrics()
        made_up = [f"X{method}" for method in methods]
        for method in made_up:
            metrics.request("none", method, 405, 0.001)
        counted = {key: value for key, value in samples_of(metrics).items() if key[0] == "harken_http_requests_total"}
        labels = frozenset({"operation": "none", "method": "_OTHER", "status": "405"}.items())
        assert counted == {("harken_http_requests_total", labels): len(made_up)}

    def test_the_format(self, metrics: Metrics) -> None:
        """The body matches the content type, and has the version."""
        body, content_type = metrics.render()
        assert content_type.startswith("text/plain; version=")
        assert content_type.endswith("charset=utf-8")
        assert "# TYPE harken_http_request_seconds histogram" in body.decode()
        assert sample(metrics, "harken_build_info", version=version("harken")) == 1

    def test_two_services_in_one_process(self) -> None:
        """Two servers in one process have separate metrics."""
        one, other = Metrics(), Metrics()
        one.request("submit", "POST", 201, 0.01)
        labels = {"operation": "submit", "method": "POST", "status": "201"}
        assert sample(one, "harken_http_requests_total", **labels) == 1
        assert sample(other, "harken_http_requests_total", **labels) is None


class TestSubmissions:
    @given(st.lists(st.sampled_from(OUTCOMES)))
    def test_every_outcome_is_counted(self, outcomes: list[SubmissionOutcome]) -> None:
        """Each outcome has a series from the start, even if it never occurred."""
        metrics = Metrics()
        for outcome in outcomes:
            metrics.outcome(outcome)
        found = samples_of(metrics)
        for outcome in OUTCOMES:
            key = "harken_submissions_total", frozenset({("outcome", outcome)})
            assert found[key] == outcomes.count(outcome)

    def test_an_unknown_outcome(self, metrics: Metrics) -> None:
        """An unknown outcome is an error that lists the outcomes, and creates no series."""
        name: Any = "storred"
        with pytest.raises(
            ValueError,
            match=r"Unknown outcome 'storred' \(did you mean 'stored'\?\); expected one of stored, duplicate, refused",
        ):
            metrics.outcome(name)
        assert not any(("outcome", "storred") in labels for _, labels in samples_of(metrics))

    def test_how_many_share_a_write(self, hk: Harken, metrics: Metrics) -> None:
        """Each write is counted once, with the number of its submissions."""
        metrics.observe(hk)
        for _ in range(3):
            hk.submit("s", "up")
        assert sample(metrics, "harken_write_batch_size_count") == 3
        assert sample(metrics, "harken_write_batch_size_sum") == 3
        assert sample(metrics, "harken_write_batch_size_bucket", le="1.0") == 3

    def test_how_many_wait(self) -> None:
        """The queue depth is that at the time of the scrape."""
        entered, go = threading.Event(), threading.Event()
        with open_storage("memory://") as storage:

            def add(batch: Sequence[Accepted]) -> Sequence[Outcome]:
                entered.set()
                assert go.wait(PATIENCE)
                return storage.feedback.add(batch)

            with harken.connect(evolve(storage, feedback=Slow(storage.feedback, add))) as hk:
                metrics = Metrics()
                metrics.observe(hk)
                assert sample(metrics, "harken_queue_depth") == 0
                futures: list[Future[Any]] = [hk.submit_soon("s", "up")]
                assert entered.wait(PATIENCE)
                futures += [hk.submit_soon("s", "up") for _ in range(4)]
                assert sample(metrics, "harken_queue_depth") == 4
                go.set()
                for future in futures:
                    future.result(PATIENCE)
                assert sample(metrics, "harken_queue_depth") == 0

    def test_one_harken_for_each(self, hk: Harken, metrics: Metrics) -> None:
        """Observing a second Harken is an error."""
        metrics.observe(hk)
        with pytest.raises(ConfigurationError, match="already observe a Harken"):
            metrics.observe(hk)


class TestOutboxAge:
    def test_the_oldest_event(self, hk: Harken, metrics: Metrics, clock: ManualClock) -> None:
        """The age is that of the oldest event, and zero once all are fanned out."""
        metrics.observe(hk)
        assert sample(metrics, "harken_outbox_age_seconds") == 0
        hk.submit("s", "up")
        clock.turn(seconds=40)
        hk.submit("s", "up")
        clock.turn(seconds=2.5)
        assert sample(metrics, "harken_outbox_age_seconds") == 42.5
        hk.outbox.fan_out([(event, ()) for event in hk.outbox.events(limit=2)], due_at=clock())
        clock.turn(seconds=15)
        assert sample(metrics, "harken_outbox_age_seconds") == 0

    def test_seldom_read(self, hk: Harken, metrics: Metrics, outbox: Events, clock: ManualClock) -> None:
        """However frequent the scrapes, the storage is read at most every fifteen seconds."""
        hk.submit("s", "up")
        for _ in range(5):
            samples_of(metrics)
        clock.turn(seconds=14.9)
        assert sample(metrics, "harken_outbox_age_seconds") == 0
        assert outbox.read == 1
        clock.turn(seconds=0.1)
        assert sample(metrics, "harken_outbox_age_seconds") == 15
        assert outbox.read == 2

    def test_a_clock_that_is_set_back(self, hk: Harken, metrics: Metrics, outbox: Events, clock: ManualClock) -> None:
        """If the clock is set back, the age is not negative, and is read again at once."""
        hk.submit("s", "up")
        samples_of(metrics)
        clock.turn(hours=-1)
        assert sample(metrics, "harken_outbox_age_seconds") == 0
        assert outbox.read == 2

    def test_a_storage_that_fails(self, hk: Harken, metrics: Metrics, outbox: Events, clock: ManualClock) -> None:
        """If the storage fails, the age is left out, other metrics are rendered, and the storage is not read more
        often.
        """
        hk.submit("s", "up")
        assert sample(metrics, "harken_outbox_age_seconds") == 0
        outbox.error = StorageUnavailable("away")
        clock.turn(seconds=15)
        for _ in range(3):
            assert sample(metrics, "harken_outbox_age_seconds") is None
            assert sample(metrics, "harken_write_batch_size_count") == 1
        assert outbox.read == 2
        outbox.error = None
        clock.turn(seconds=15)
        assert sample(metrics, "harken_outbox_age_seconds") == 30

    def test_a_closed_storage(self, tmp_path: Path, metrics: Metrics) -> None:
        """After closing, all metrics that do not need the storage are still rendered."""
        with harken.connect(f"sqlite:///{tmp_path / 'feedback.db'}") as hk:
            metrics.observe(hk)
            hk.submit("s", "up")
        assert sample(metrics, "harken_outbox_age_seconds") is None
        assert sample(metrics, "harken_write_batch_size_sum") == 1

    @pytest.mark.slow
    def test_a_storage_that_hangs(self, hk: Harken, metrics: Metrics, outbox: Events, clock: ManualClock) -> None:
        """If the storage hangs, a scrape responds in time without the age, and only one read waits."""
        hk.submit("s", "up")
        outbox.go.clear()
        for _ in range(2):
            names = {name for name, _ in samples_of(metrics)}
            assert "harken_write_batch_size_sum" in names
            assert "harken_outbox_age_seconds" not in names
            clock.turn(minutes=1)
        assert outbox.read == 1
        outbox.go.set()
        eventually(lambda: sample(metrics, "harken_outbox_age_seconds") is not None)


class TestChannels:
    def test_channel_status(self, metrics: Metrics, clock: ManualClock) -> None:
        """Each channel has metrics from the start: its state, how long it has been failing, and how late its deliveries
        are.
        """
        with connect_without_relay(clock, channels={"good": Recorder(), "bad": Recorder(refuse)}) as hk:
            metrics.observe(hk)
            assert self.shown(metrics) == {"good": (1, 0, 0), "bad": (1, 0, 0)}
            hk.submit("s", "up")
            hk.relay.run_due()
            clock.turn(seconds=20)
            assert self.shown(metrics) == {"good": (1, 0, 0), "bad": (1, 20, 15)}
            hk.channels.switch_off("good", "by hand")
            clock.turn(seconds=20)
            assert self.shown(metrics) == {"good": (0, 0, 0), "bad": (1, 40, 35)}

    def test_stranded_deliveries(self, clock: ManualClock, metrics: Metrics) -> None:
        """Deliveries to a channel that is not configured are counted by its name; others are not."""
        with open_storage("memory://") as storage:
            with connect_without_relay(
                clock, storage, channels={"old": Recorder(refuse), "bad": Recorder(refuse)}
            ) as before:
                before.submit("s", "up")
                before.relay.run_due()
            with connect_without_relay(clock, storage, channels={"bad": Recorder(refuse)}) as hk:
                metrics.observe(hk)
                assert sample(metrics, "harken_deliveries_stranded", channel="old") == 1
                assert sample(metrics, "harken_deliveries_stranded", channel="bad") is None
                hk.deliveries.move("old", "bad")
                clock.turn(seconds=20)
                assert sample(metrics, "harken_deliveries_stranded", channel="old") is None

    def shown(self, metrics: Metrics) -> dict[str, tuple[float | None, ...]]:
        """The state, failing time and lateness of each channel."""
        names = ("harken_channel_on", "harken_channel_failing_seconds", "harken_delivery_lateness_seconds")
        return {channel: tuple(sample(metrics, name, channel=channel) for name in names) for channel in ("good", "bad")}


class TestModeration:
    NAMES = ("harken_moderation_waiting", "harken_moderation_age_seconds")

    def test_queue_length_and_age(self, hk: Harken, metrics: Metrics, clock: ManualClock) -> None:
        """Each application has its own queue from its first feedback on; an empty queue is zero."""
        metrics.observe(hk)
        held = [
            a_feedback(f"f{minutes}", application="shop", created_at=clock() - timedelta(minutes=minutes))
            for minutes in (0, 2, 5)
        ]
        hk.collection.restore([*(evolve(one, moderation=Moderation.held("spam")) for one in held), a_feedback()])
        assert (self.shown(metrics, "shop"), self.shown(metrics, "default")) == ((3, 300), (0, 0))
        hk.moderation.decide("shop", "f5", "approved")
        assert self.shown(metrics, "shop") == (3, 300)
        clock.turn(seconds=15)
        assert self.shown(metrics, "shop") == (2, 135)
        assert self.shown(metrics, "other") == (None, None)
        assert sample(metrics, "harken_moderation_applications_left_out") == 0

    def test_too_many_applications_to_show(self, hk: Harken, metrics: Metrics) -> None:
        """The number of applications in a scrape is limited, and the number of those left out is reported."""
        hk.collection.restore([a_feedback(application=f"tenant-{number:03}") for number in range(103)])
        metrics.observe(hk)
        shown = {dict(labels).get("application") for name, labels in samples_of(metrics) if name == self.NAMES[0]}
        assert shown == {f"tenant-{number:03}" for number in range(100)}
        assert sample(metrics, "harken_moderation_applications_left_out") == 3

    def test_a_queue_that_cannot_be_read(self, hk: Harken, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
        """If a queue cannot be read, it is left out, and other metrics from the storage are rendered."""

        def refuse_to_count(_: str) -> Backlog:
            raise StorageUnavailable("away")

        hk.submit("s", "up")
        monkeypatch.setattr(hk.moderation, "backlog", refuse_to_count)
        metrics.observe(hk)
        assert self.shown(metrics, "default") == (None, None)
        assert sample(metrics, "harken_outbox_age_seconds") == 0

    def shown(self, metrics: Metrics, application: str) -> tuple[float | None, ...]:
        """The number of waiting entries of an application, and the age of the oldest."""
        return tuple(sample(metrics, name, application=application) for name in self.NAMES)


def refuse(_: Notification) -> None:
    """Fails like an unavailable receiver."""
    raise DeliveryFailed("away")


class Slow:
    """A repository whose writes the test performs."""

    def __init__(self, repository: Any, add: Any) -> None:
        self._repository = repository
        self.add = add

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)


WORKER = """
import sys
from threading import Event
from attrs import evolve
import harken
from harken_adapters.hosts.http import metrics as module
from harken_adapters.storage.memory import open_storage

entered, go = Event(), Event()

class Slow:
    def __init__(self, repository):
        self.repository = repository

    def __getattr__(self, name):
        return getattr(self.repository, name)

    def add(self, batch):
        entered.set()
        go.wait()
        return self.repository.add(batch)

with open_storage("memory://") as storage:
    hk = harken.connect(evolve(storage, feedback=Slow(storage.feedback)))
    module._DEPTH_INTERVAL = 0.01
    metrics = module.Metrics()
    metrics.observe(hk)
    futures = []
    for line in sys.stdin:
        command, _, number = line.strip().partition(" ")
        if command == "request":
            for _ in range(int(number)):
                metrics.request("submit", "POST", 201, 0.02)
                metrics.outcome("stored")
        elif command == "submit":
            futures.append(hk.submit_soon("s", "up"))
            entered.wait()
            futures += [hk.submit_soon("s", "up") for _ in range(int(number) - 1)]
        elif command == "write":
            go.set()
            for future in futures:
                future.result()
        elif command == "render":
            sys.stdout.write(metrics.render()[0].decode())
        elif command == "close":
            hk.close()
        print("# done", flush=True)
"""


class Worker:
    """A worker process that executes commands of the test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def run(self, command: str) -> str:
        """Execute a command and return its result."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != "# done\n":
            assert line, "the worker has ended"
            lines.append(line)
        return "".join(lines)

    def sample(self, name: str, **labels: str) -> float | None:
        """One sample, as rendered by this worker."""
        return samples(self.run("render")).get((name, frozenset(labels.items())))


@contextmanager
def worker(folder: Path) -> Iterator[Worker]:
    """A worker that shares its metrics in the directory."""
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@pytest.mark.slow
class TestSeveralProcesses:
    def test_every_worker_renders_all(self, tmp_path: Path) -> None:
        """Any worker renders the metrics of all, each once."""
        with worker(tmp_path) as one, worker(tmp_path) as other:
            one.run("request 3")
            other.run("request 4")
            one.run("submit 6")
            labels = {"operation": "submit", "method": "POST", "status": "201"}
            for each in (one, other):
                assert each.sample("harken_http_requests_total", **labels) == 7
                assert each.sample("harken_http_request_seconds_count", operation="submit") == 7
                assert each.sample("harken_http_request_seconds_bucket", operation="submit", le="0.025") == 7
                assert each.sample("harken_submissions_total", outcome="stored") == 7
                assert each.sample("harken_submissions_total", outcome="limited") == 0
                assert each.sample("harken_build_info", version=version("harken")) == 1
                assert each.sample("harken_outbox_age_seconds") == 0
            one.run("write")
            eventually(lambda: other.sample("harken_write_batch_size_sum") == 6)

    def test_how_many_wait_in_all(self, tmp_path: Path) -> None:
        """A worker that is not scraped, and that completes nothing, publishes its queue depth to the others."""
        with worker(tmp_path) as one, worker(tmp_path) as other:
            # In each worker, the first submission is being written.
            one.run("submit 6")
            other.run("submit 3")
            for each in (one, other):
                eventually(lambda each=each: each.sample("harken_queue_depth") == 7)
            for each in (one, other):
                each.run("write")
            for each in (one, other):
                eventually(lambda each=each: each.sample("harken_queue_depth") == 0)
            one.run("close")
            assert other.sample("harken_queue_depth") == 0

    def test_a_killed_worker(self, tmp_path: Path) -> None:
        """Requests of a killed worker stay counted, and its queue depth is removed."""
        with worker(tmp_path) as survivor:
            with worker(tmp_path) as killed:
                killed.run("request 2")
                killed.run("submit 6")
                eventually(lambda: survivor.sample("harken_queue_depth") == 5)
            assert survivor.sample("harken_queue_depth") == 0
            assert survivor.sample("harken_submissions_total", outcome="stored") == 2


class TestInvalidSharing:
    def test_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A missing directory is an error that says what to do."""
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
        with pytest.raises(ConfigurationError, match=r"PROMETHEUS_MULTIPROC_DIR is '.*none', .* create an empty one"):
            Metrics()

    def test_too_late(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Setting the variable after the library was imported is an error, as metrics would be lost silently."""
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        with pytest.raises(ConfigurationError, match="too late; set it before the program starts"):
            Metrics()


@pytest.mark.slow
def test_without_the_package() -> None:
    """Without prometheus-client, the error says what to install."""
    program = """
import importlib.util
importlib.util.find_spec = lambda name: None
from harken import MissingExtra
try:
    import harken_adapters.hosts.http.metrics
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "Metrics need the package 'prometheus_client'; try pip install \"harken[http]\"\n"

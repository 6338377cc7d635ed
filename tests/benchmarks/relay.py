"""The relay: signed webhooks to a receiver process on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic, perf_counter
from typing import Final

from tests import mongod
from tests.benchmarks import load
from tests.benchmarks.measure import Result, at_least, at_most, seconds
from tests.benchmarks.receiver import receiving

import harken
from harken import Harken, Submission, Target
from harken.domain.events import DeliveryQuery, DeliveryState

DELIVERIES: Final = 6_000
ROUNDS: Final = 3
THREADS: Final = 16
SUBMISSIONS: Final = 1_000
LONE: Final = 100
#: The secret of the benchmark's receiver.
SECRET: Final = "whsec_" + "a" * 32


def relay_on_sqlite(folder: Path) -> Iterator[Result]:
    """Deliveries per second, the effect of a relay on submissions, and latency."""
    yield from _throughput("SQLite", [f"sqlite:///{folder}/relay-{number}.db" for number in range(ROUNDS)])
    yield from _submitting("SQLite", f"sqlite:///{folder}/relayed.db", f"sqlite:///{folder}/alone.db")
    yield from _latency("SQLite", f"sqlite:///{folder}/idle.db")


def relay_on_mongodb(folder: Path) -> Iterator[Result]:
    """The same on MongoDB, with majority writes."""
    with mongod.replica_set(folder=folder) as started:
        named = partial(mongod.with_database, started.url)
        yield from _throughput("MongoDB", [named(f"harken_relay_{number}") for number in range(ROUNDS)])
        yield from _submitting("MongoDB", named("harken_relayed"), named("harken_alone"))
        yield from _latency("MongoDB", named("harken_idle"))


def _throughput(name: str, storages: list[str]) -> Iterator[Result]:
    rates = []
    with receiving() as receiver:
        for storage in storages:
            with harken.connect(storage, channels={"hook": _hook(receiver.url)}) as hk:
                _fill(hk, DELIVERIES)
                before = receiver.count()["deliveries"]
                start = perf_counter()
                hk.start_relay()
                _wait_until_empty(hk)
                rates.append(DELIVERIES / (perf_counter() - start))
            arrived = receiver.count()["deliveries"] - before
            assert arrived == DELIVERIES, f"{arrived} of {DELIVERIES} arrived"
    detail = f"{len(rates)} times {DELIVERIES:,}: {', '.join(f'{rate:,.0f}' for rate in rates)}"
    yield at_least(f"Signed webhooks from {name}", median(rates), 1_500, unit="/s", detail=detail)


def _submitting(name: str, relayed: str, alone: str) -> Iterator[Result]:
    pairs = []
    with (
        receiving() as receiver,
        harken.connect(relayed, channels={"hook": _hook(receiver.url)}) as with_relay,
        harken.connect(alone) as without,
    ):
        for _ in range(ROUNDS + 1):
            with_relay.start_relay()
            mine = seconds(partial(_submit_from_threads, with_relay))
            with_relay.relay.stop()
            # No relay is running.
            pairs.append((mine, seconds(partial(_submit_from_threads, without))))
    ratios = [bare / mine for mine, bare in pairs[1:]]
    submitted = THREADS * SUBMISSIONS
    detail = f"{THREADS} threads, {submitted / median(mine for mine, _ in pairs[1:]):,.0f}/s with it"
    yield at_least(f"Submitting to {name} with a relay, to without", median(ratios), 0.8, detail=detail)


def _latency(name: str, storage: str) -> Iterator[Result]:
    waits = []
    with run_arrival() as arrival, harken.connect(storage, channels={"hook": _hook(arrival.url)}) as hk:
        hk.start_relay()
        for number in range(LONE):
            hk.submit(f"session-{number}", "down", load.COMMENT, agent_id="helper")
            start = perf_counter()
            waits.append((arrival.wait() - start) * 1_000)
            # The next submission finds an idle relay.
            _wait_until_empty(hk)
    yield at_most(
        f"From submission on {name} to receipt, idle",
        median(waits),
        50,
        unit=" ms",
        detail=f"longest {max(waits):.1f} ms",
    )


class Arrival(ThreadingHTTPServer):
    """A receiver in this process, which records the time of arrival."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ArrivalHandler)
        self._arrived = Event()
        self._at = 0.0

    @property
    def url(self) -> str:
        """The URL for webhooks."""
        return f"http://127.0.0.1:{self.server_port}/hook"

    def record(self) -> None:
        """Record an arrival."""
        self._at = perf_counter()
        self._arrived.set()

    def wait(self) -> float:
        """Wait for the next arrival; returns its time."""
        assert self._arrived.wait(10), "nothing arrived"
        self._arrived.clear()
        return self._at


class ArrivalHandler(BaseHTTPRequestHandler):
    """Accepts all requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Accept a webhook."""
        assert isinstance(self.server, Arrival)
        self.rfile.read(int(self.headers["content-length"]))
        self.server.record()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def run_arrival() -> Iterator[Arrival]:
    """Run the receiver in a thread within the context."""
    with Arrival() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def _hook(url: str) -> Mapping[str, object]:
    return {"kind": "webhook", "url": url, "secret": SECRET, "allow": ["127.0.0.1"]}


def _fill(hk: Harken, number: int) -> None:
    for begin in range(0, number, 1_000):
        hk.collection.submit_many(
            Submission(target=Target(f"session-{place % 500}", None, "helper"), rating="down", comment=load.COMMENT)
            for place in range(begin, min(begin + 1_000, number))
        )


def _submit_from_threads(hk: Harken) -> None:
    load.in_threads(THREADS, lambda _: load.submit(hk, SUBMISSIONS))


def _wait_until_empty(hk: Harken) -> None:
    deadline, pause = monotonic() + 120, Event()
    while hk.outbox.events(limit=1) or hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=1):
        assert monotonic() < deadline, "the relay did not finish"
        pause.wait(0.01)


BENCHMARKS: Final = (relay_on_sqlite, relay_on_mongodb)

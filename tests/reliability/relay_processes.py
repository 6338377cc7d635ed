"""Tests deliveries while relays are killed.

``python -m tests.reliability.relay_processes [--events N] [--kills N] [--storage sqlite|mongodb]`` runs two relay
processes, ends them one by one with ``kill -9`` while they send, prints what the receiver got, and exits with 1 if a
guarantee was violated.

Half of the kills occur before the receiver responds to a request, half right after its response, before the relay
stores the result. The clock of the processes runs twenty times as fast as real time, so that leases end soon.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from attrs import frozen
from tests.mongod import database, replica_set

import harken
from harken.domain.events import DeliveryQuery, DeliveryState

RELAYS = 2
SPEED = 20
#: The secret of the test's receiver.
SECRET = "whsec_" + "a" * 32
#: The time limit for all deliveries, in seconds.
PATIENCE = 300.0
_BATCH = 500
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Receiver:
    """Receives webhooks on loopback, and kills a relay at the given requests."""

    def __init__(self, kill_at: Sequence[int], kill: Callable[[], None]) -> None:
        self.requests: list[tuple[str, str]] = []
        self.kills = 0
        self._kill_at = set(kill_at)
        self._kill = kill
        self._lock = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                kill_before, kill_after = receiver.record(self.headers["webhook-id"], body["data"]["id"])
                if kill_before:
                    receiver.kill()
                try:
                    self.send_response(204)
                    self.end_headers()
                    self.wfile.flush()
                except ConnectionError:
                    # The sender was killed.
                    self.close_connection = True
                if kill_after:
                    receiver.kill()

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def record(self, delivery_id: str, feedback_id: str) -> tuple[bool, bool]:
        """Record a request; returns whether to kill a relay before, and after, the response."""
        with self._lock:
            self.requests.append((delivery_id, feedback_id))
            number = len(self.requests)
        chosen = number in self._kill_at
        return chosen and number % 2 == 0, chosen and number % 2 == 1

    def kill(self) -> None:
        """Kill a relay, one at a time."""
        with self._lock:
            self._kill()
            self.kills += 1

    def close(self) -> None:
        """Stop receiving."""
        self._server.shutdown()
        self._server.server_close()


class Relays:
    """Relay processes. A killed relay is replaced at once."""

    def __init__(self, storage: str, receiver: Callable[[], str], log: Path) -> None:
        self._words = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--relay", storage]
        self._receiver = receiver
        self._log = log
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start another relay."""
        with self._log.open("ab") as log:
            words = [*self._words, "--receiver", self._receiver()]
            self._running.append(subprocess.Popen(words, stdin=subprocess.PIPE, stderr=log))

    def kill(self) -> None:
        """``kill -9`` of the oldest relay, and start another one."""
        # The end of the block waits for the process and closes its pipe.
        with self._running.pop(0) as oldest:
            os.kill(oldest.pid, signal.SIGKILL)
        self.start()

    def end(self) -> None:
        """Kill all relays."""
        for process in self._running:
            with process:
                process.kill()


@frozen
class Report:
    """The counts of a run. ``lost``, ``with_several_ids`` and ``left`` are 0 if every guarantee holds."""

    events: int
    requests: int
    kills: int
    seconds: float
    lost: int
    with_several_ids: int
    left: int

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds."""
        return not (self.lost or self.with_several_ids or self.left)

    def __str__(self) -> str:
        repeated = self.requests - self.events + self.lost
        return (
            f"{self.events:,} events, {self.kills} relays killed, {self.seconds:.0f} s: {self.requests:,} requests, "
            f"{repeated} of them repeated with the same id; lost {self.lost}, events with several ids "
            f"{self.with_several_ids}, deliveries left {self.left}"
        )


def play(storage: str, folder: Path, *, events: int, kills: int, seed: int = 1) -> Report:
    """Deliver events through two relays that are killed repeatedly; returns the report."""
    kill_at = sorted(Random(seed).sample(range(1, events), kills))
    with harken.connect(storage) as hk, ExitStack() as ending:
        ids = [_submit(hk, begin, min(begin + _BATCH, events)) for begin in range(0, events, _BATCH)]
        submitted = {feedback_id for batch in ids for feedback_id in batch}
        relays = Relays(storage, lambda: receiver.url, folder / "relays.log")
        receiver = Receiver(kill_at, relays.kill)
        ending.callback(receiver.close)
        ending.callback(relays.end)
        start = monotonic()
        for _ in range(RELAYS):
            relays.start()

        def left() -> int:
            pending = hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=1)
            return len(hk.outbox.events(limit=1)) + len(pending)

        _until(lambda: receiver.kills == kills and len(receiver.requests) >= events and not left())
        seconds = monotonic() - start
        requests, dead = list(receiver.requests), hk.outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=1_000)
    ids_of: dict[str, set[str]] = {}
    for delivery_id, feedback_id in requests:
        ids_of.setdefault(feedback_id, set()).add(delivery_id)
    return Report(
        events=events,
        requests=len(requests),
        kills=receiver.kills,
        seconds=seconds,
        lost=len(submitted - ids_of.keys()),
        with_several_ids=sum(len(several) > 1 for several in ids_of.values()),
        left=len(dead),
    )


def _submit(hk: harken.Harken, begin: int, end: int) -> list[str]:
    submissions = [
        harken.Submission(target=harken.Target(f"session-{number % 50}"), rating="down", comment=f"slow {number}")
        for number in range(begin, end)
    ]
    receipts = hk.collection.submit_many(submissions)
    return [receipt.feedback.id for receipt in receipts if isinstance(receipt, harken.Receipt)]


def _until(condition: Callable[[], bool]) -> None:
    deadline, pause = monotonic() + PATIENCE, Event()
    while not condition() and monotonic() < deadline:
        pause.wait(0.1)


def fast_clock() -> datetime:
    """A clock that runs twenty times as fast as real time, and is equal in all processes."""
    return _BEGINNING + (datetime.now(UTC) - _BEGINNING) * SPEED


def relay(storage: str, receiver: str) -> None:
    """Run a relay until this process is killed, or its parent has ended."""
    hook: dict[str, object] = {"kind": "webhook", "url": receiver, "secret": SECRET, "allow": ["127.0.0.1"]}
    with harken.connect(storage, channels={"hook": hook}, clock=fast_clock) as hk:
        hk.start_relay()
        sys.stdin.read()


@contextmanager
def storages(kind: str, folder: Path) -> Iterator[str]:
    """A new storage of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/relay.db"
        return
    with replica_set() as deployment, database(deployment.url) as url:
        yield url


def main(arguments: Sequence[str]) -> int:
    """Kill relays on the chosen storages; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.reliability.relay_processes", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="number of events (default: 10,000)")
    parser.add_argument("--kills", type=int, default=20, help="number of killed relays (default: 20)")
    parser.add_argument("--storage", choices=("sqlite", "mongodb"), action="append", help="the storage (default: both)")
    parser.add_argument("--relay", help="run a relay on this storage")
    parser.add_argument("--receiver", help="the URL of its receiver")
    chosen: Any = parser.parse_args(arguments)
    if chosen.relay:
        relay(chosen.relay, chosen.receiver)
        return 0
    ok = True
    for kind in chosen.storage or ("sqlite", "mongodb"):
        with TemporaryDirectory() as folder, storages(kind, Path(folder)) as storage:
            report = play(storage, Path(folder), events=chosen.events, kills=chosen.kills)
        print(f"{'ok  ' if report.ok else 'MISS'} {kind}: {report}", flush=True)
        ok = ok and report.ok
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

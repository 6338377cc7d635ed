"""Tests requests to ``harken serve`` while its workers are killed.

``python -m tests.reliability.http_processes [--seconds N] [--workers N]`` serves MongoDB, kills workers one by one
under load for the given time, prints a report, and exits with 1 if a guarantee was violated.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Protocol, Self

import requests
from attrs import frozen
from tests.mongod import database, replica_set, until

import harken
from harken import Harken

HARKEN = (sys.executable, "-c", "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())")
#: The time limit in seconds of a request, and of starting or stopping a server.
PATIENCE = 30.0
CLIENTS = 8
SESSIONS = 50
#: The number of acknowledged submissions before a worker is killed.
UNDER_WAY = 200
#: Settings without rate limits.
UNLIMITED = {f"HARKEN_SERVER_LIMIT_{name}": "" for name in ("BY_KEY", "BY_SESSION", "BY_ADDRESS", "PRODUCTION")}
#: The same request is in progress, or the storage is not available.
_RETRY = (409, 503)
_STARTED = re.compile(r"Started server process \[(\d+)\]")


@frozen
class Service:
    """A ``harken serve`` process with its workers, which logs to a file."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    #: The output at startup.
    output: str

    @property
    def key(self) -> str | None:
        """The local key, from the output or from the file that the output names."""
        if named := re.search(r"\$\(cat ([^)]+)\)", self.output):
            return (self.log.parent / named[1]).read_text().strip()
        shown = re.search(r"Bearer (hk_[\w-]+)", self.output)
        return shown[1] if shown else None

    @property
    def credentials(self) -> dict[str, str]:
        """The header with the key, if there is one."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request over a new connection, with the local key unless other headers are given."""
        return requests.request(
            method, f"{self.url}{path}", timeout=PATIENCE, **{"headers": self.credentials, **options}
        )

    def workers(self) -> list[int]:
        """The ids of the running server processes, oldest first.

        The log has all ids, but the id of an ended process may belong to an unrelated one, which must not be killed.
        """
        started = map(int, _STARTED.findall(self.log.read_text()))
        return [number for number in started if _session(number) == self.process.pid]

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Stop all other workers within the context, so that this worker accepts all connections.

        Leave the context soon, or the supervisor replaces the stopped workers.
        """
        others = [number for number in self.workers() if number != worker]
        try:
            for number in others:
                os.kill(number, signal.SIGSTOP)
            until(lambda: all(map(_is_stopped, others)), "the other workers stopped")
            yield
        finally:
            for number in others:
                os.kill(number, signal.SIGCONT)

    def ready(self, workers: int = 1) -> None:
        """Wait until this number of workers has started."""
        until(lambda: self.log.read_text().count("startup complete") >= workers, "all workers started")

    def metric(self, line: str) -> float:
        """The value of a metric, by its name and labels, over all workers."""
        lines = (text.rpartition(" ") for text in self.ask("GET", "/metrics").text.splitlines())
        return next((float(value) for name, _, value in lines if name == line), 0.0)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process, without settings of Harken except the given ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HARKEN_", "PROMETHEUS_"))}
    return {**inherited, **more}


@contextmanager
def serve(storage: str, folder: Path, *options: str, before: Sequence[str] = (), **settings: str) -> Iterator[Service]:
    """Serve a storage on a free port. The service is ready when the context is entered, and stopped when it is left."""
    log = folder / "serve.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            (*HARKEN, "--storage", storage, *before, "serve", "--port", "0", *options),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment(**{"XDG_STATE_HOME": str(folder), **settings}),
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        output = [process.stdout.readline()]
        assert output[0].startswith("Harken is running on http://"), output[0] + log.read_text()
        while not output[-1].startswith(("Requests need", "No API key")):
            output.append(process.stdout.readline())
            assert output[-1], log.read_text()
        service = Service(process, output[0].split()[-1], log, "".join(output))
        service.ready()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        process.stdout.close()


def _session(number: int) -> int | None:
    """The session of a process, if it exists. The session of a service and its workers is the id of the service."""
    try:
        return os.getsid(number)
    except ProcessLookupError:
        return None


def _is_stopped(number: int) -> bool:
    """Whether every thread of a process is stopped."""
    states = (file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{number}/task").glob("*/stat"))
    return all(state == "T" for state in states)


class Reachable(Protocol):
    """A server that requests are sent to, and the headers."""

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""

    @property
    def credentials(self) -> dict[str, str]:
        """The header with the key, if there is one."""


class Load:
    """Clients that submit continuously, and retry each submission with the same key until it is acknowledged."""

    def __init__(self, service: Reachable, *, clients: int = CLIENTS) -> None:
        self.acknowledged: dict[str, str] = {}
        #: Submissions that failed from the client's view, but were stored, as a retry showed.
        self.found = 0
        self.errors: Counter[str] = Counter()
        self.unexpected: dict[str, str] = {}
        self._service = service
        self._lock = Lock()
        self._stopping, self._give_up_at = Event(), inf
        self._threads = [Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each client finish its current submission."""
        self._give_up_at = monotonic() + PATIENCE
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self.unexpected["hang"] = "a request hangs"

    def wait_for_more(self, more: int = UNDER_WAY) -> None:
        """Wait until this number of further submissions is acknowledged."""
        goal = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= goal, "enough submissions were acknowledged")

    def _run(self, number: int) -> None:
        with requests.Session() as session:
            for key in (f"{number}-{serial}" for serial in count()):
                if self._stopping.is_set():
                    return
                self._submit(session, key)

    def _submit(self, session: requests.Session, key: str) -> None:
        pause = Event()
        while key not in self.acknowledged and monotonic() < self._give_up_at:
            try:
                self._record(key, send(self._service, key, session))
            except requests.RequestException as error:
                self._count(type(error).__name__)
            if key not in self.acknowledged:
                # Clients wait before a retry.
                pause.wait(0.02)

    def _record(self, key: str, response: requests.Response) -> None:
        if response.status_code != 201:
            self._count(str(response.status_code))
            if response.status_code not in _RETRY:
                self.unexpected.setdefault(str(response.status_code), response.text)
            return
        with self._lock:
            self.acknowledged[key] = response.json()["feedback_id"]
            self.found += "idempotency-replayed" in response.headers

    def _count(self, kind: str) -> None:
        with self._lock:
            self.errors[kind] += 1


@frozen
class Report:
    """The counts of a run. Those in ``violations`` are 0 if every guarantee holds."""

    acknowledged: int
    found: int
    seconds: float
    errors: Mapping[str, int]
    violations: Mapping[str, int]
    unexpected: tuple[str, ...]
    replaced: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds."""
        return not any(self.violations.values()) and not self.unexpected

    def __str__(self) -> str:
        retried = sum(self.errors.values())
        lines = [
            f"killed {len(self.replaced)}, acknowledged {self.acknowledged:,} in {self.seconds:.0f} s",
            f"retried {retried}, {self.found} found stored by a retry",
            ", ".join(f"{name} {number}" for name, number in self.violations.items()),
            "errors: " + (", ".join(f"{number} {kind}" for kind, number in self.errors.items()) or "none"),
        ]
        if self.replaced:
            after = f"{median(self.replaced):.1f} s (median), {max(self.replaced):.1f} s (longest)"
            lines.append(f"workers were replaced after {after}")
        return "\n".join([*lines, *(f"BROKEN: {error}" for error in self.unexpected)])


def send(service: Reachable, key: str, session: requests.Session | None = None) -> requests.Response:
    """Submit with the key; the body depends on the key only."""
    place = f"session-{int(key.rpartition('-')[2]) % SESSIONS}"
    return (session or requests).post(
        f"{service.url}/api/sessions/{place}/feedback",
        json={"rating": "up", "comment": f"comment of {key}"},
        headers={"Idempotency-Key": key, **service.credentials},
        timeout=PATIENCE,
    )


def kill_a_worker(service: Service, workers: int) -> float:
    """``kill -9`` of the oldest worker; returns the seconds until it is replaced."""
    started = service.log.read_text().count("startup complete")
    start = monotonic()
    os.kill(service.workers()[0], signal.SIGKILL)
    service.ready(started + 1)
    seconds = monotonic() - start
    until(lambda: len(service.workers()) == workers, "the number of workers was restored")
    return seconds


def account(hk: Harken, load: Load, *, seconds: float, replaced: Sequence[float] = ()) -> Report:
    """Compare the stored with the acknowledged feedback."""
    stored: defaultdict[str | None, list[str]] = defaultdict(list)
    for feedback in hk.collection.stream(hk.query().in_any_state()):
        stored[feedback.idempotency_key].append(feedback.id)
    total = sum(map(len, stored.values()))
    return Report(
        acknowledged=len(load.acknowledged),
        found=load.found,
        seconds=seconds,
        errors=load.errors,
        violations={
            "lost": sum(feedback_id not in stored[key] for key, feedback_id in load.acknowledged.items()),
            "duplicated": sum(len(ids) > 1 for ids in stored.values()),
            "never acknowledged": len(stored.keys() - load.acknowledged.keys()),
            "missing in the statistics": abs(total - hk.summary().total),
        },
        unexpected=(*load.unexpected.values(), *hk.check()),
        replaced=tuple(replaced),
    )


def play(url: str, folder: Path, *, workers: int = 2, seconds: float = 0) -> Report:
    """Kill workers under load for the given time, at least until a request has failed; returns the report.

    The first killed worker may have no clients. Then all clients are connected to the other one, which is killed next.
    """
    replaced: list[float] = []
    with serve(url, folder, "--workers", str(workers), HARKEN_SERVER_LOG_LEVEL="info", **UNLIMITED) as service:
        service.ready(workers)
        start = monotonic()
        with Load(service) as load:
            while not load.errors or monotonic() < start + seconds:
                load.wait_for_more()
                replaced.append(kill_a_worker(service, workers))
            load.wait_for_more()
        took = monotonic() - start
        for worker in service.workers():
            with service.only(worker):
                assert service.ask("GET", "/readyz").ok, f"worker {worker} is not ready"
    with harken.connect(url) as hk:
        return account(hk, load, seconds=took, replaced=replaced)


def main(arguments: Sequence[str]) -> int:
    """Serve MongoDB and kill workers; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.reliability.http_processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration in seconds (default: 60)")
    parser.add_argument("--workers", type=int, default=2, help="number of workers (default: 2)")
    chosen = parser.parse_args(arguments)
    with replica_set() as deployment, database(deployment.url) as url, TemporaryDirectory() as folder:
        report = play(url, Path(folder), workers=chosen.workers, seconds=chosen.seconds)
    print(f"{'ok  ' if report.ok else 'MISS'} kill -9 of workers")
    print("     " + str(report).replace("\n", "\n     "))
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""What becomes of requests to ``harken serve`` when a worker dies.

``python -m tests.reliability.http_processes [--seconds N] [--workers N]`` serves MongoDB, kills one worker after the
other under load for so many seconds, prints what it counted, and ends with status 1 if a promise was broken.
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
#: How long a request may take, and a server to start or to end.
PATIENCE = 30.0
CLIENTS = 8
SESSIONS = 50
#: So many submissions are acknowledged before a worker is killed.
UNDER_WAY = 200
#: Nobody is limited, unless a test wants it.
UNLIMITED = {f"HARKEN_SERVER_LIMIT_{name}": "" for name in ("BY_KEY", "BY_SESSION", "BY_ADDRESS", "PRODUCTION")}
#: The same request is being handled, or the storage does not answer.
_TRY_AGAIN = (409, 503)
_STARTED = re.compile(r"Started server process \[(\d+)\]")


@frozen
class Service:
    """``harken serve`` as a process of its own, with its workers; its logs are kept in a file."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    #: What it printed when it started.
    told: str

    @property
    def key(self) -> str | None:
        """The local key, as it was printed, or from the file that was named instead."""
        if kept := re.search(r"\$\(cat ([^)]+)\)", self.told):
            return (self.log.parent / kept[1]).read_text().strip()
        shown = re.search(r"Bearer (hk_[\w-]+)", self.told)
        return shown[1] if shown else None

    @property
    def credentials(self) -> dict[str, str]:
        """The header that carries the key, if there is one."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask it for something, over a connection of its own, and with the local key unless other headers are given."""
        return requests.request(
            method, f"{self.url}{path}", timeout=PATIENCE, **{"headers": self.credentials, **options}
        )

    def workers(self) -> list[int]:
        """The ids of the processes that serve and have not ended, oldest first.

        The log has them all, but the id of one that ended may be a stranger's by now, who must not be killed.
        """
        started = map(int, _STARTED.findall(self.log.read_text()))
        return [number for number in started if _session(number) == self.process.pid]

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Whoever connects meanwhile is answered by that worker: the others stand still.

        To be left soon, or the others are taken for hung and replaced.
        """
        others = [number for number in self.workers() if number != worker]
        try:
            for number in others:
                os.kill(number, signal.SIGSTOP)
            until(lambda: all(map(_stands_still, others)), "the other workers stood still")
            yield
        finally:
            for number in others:
                os.kill(number, signal.SIGCONT)

    def ready(self, workers: int = 1) -> None:
        """Wait until so many processes serve."""
        until(lambda: self.log.read_text().count("startup complete") >= workers, "all workers served")

    def metric(self, line: str) -> float:
        """The value of a metric, by its name and labels, over all workers."""
        lines = (text.rpartition(" ") for text in self.ask("GET", "/metrics").text.splitlines())
        return next((float(value) for name, _, value in lines if name == line), 0.0)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it that signal, and wait for what it ends with."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def environment(**more: str) -> dict[str, str]:
    """What a process is started with: none of our own settings, but those that are given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HARKEN_", "PROMETHEUS_"))}
    return {**kept, **more}


@contextmanager
def serve(storage: str, folder: Path, *options: str, before: Sequence[str] = (), **settings: str) -> Iterator[Service]:
    """Serve a storage on any free port; on return it can be reached. At the end nothing of it is left."""
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
        told = [process.stdout.readline()]
        assert told[0].startswith("Harken is running on http://"), told[0] + log.read_text()
        while not told[-1].startswith(("Requests need", "No API key")):
            told.append(process.stdout.readline())
            assert told[-1], log.read_text()
        service = Service(process, told[0].split()[-1], log, "".join(told))
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
    """The session of a process, if there is such a process; that of a service and its workers has its id."""
    try:
        return os.getsid(number)
    except ProcessLookupError:
        return None


def _stands_still(number: int) -> bool:
    """Whether every thread of a process is stopped."""
    states = (file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{number}/task").glob("*/stat"))
    return all(state == "T" for state in states)


class Reachable(Protocol):
    """Where requests are sent, and with which headers."""

    @property
    def url(self) -> str:
        """Without a slash at the end."""

    @property
    def credentials(self) -> dict[str, str]:
        """The header that carries the key, if there is one."""


class Load:
    """Clients that submit without end, and repeat what was not acknowledged with the same key until it is."""

    def __init__(self, service: Reachable, *, clients: int = CLIENTS) -> None:
        self.acknowledged: dict[str, str] = {}
        #: Submissions that had failed, as far as the client knew, and were found stored when it tried again.
        self.found = 0
        self.errors: Counter[str] = Counter()
        self.surprises: dict[str, str] = {}
        self._service = service
        self._lock = Lock()
        self._stopping, self._give_up_at = Event(), inf
        self._threads = [Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each client finish the submission that it is at."""
        self._give_up_at = monotonic() + PATIENCE
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self.surprises["hang"] = "a request hangs"

    def go_on(self, more: int = UNDER_WAY) -> None:
        """Wait until so many more submissions are acknowledged."""
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
                self._note(key, send(self._service, key, session))
            except requests.RequestException as error:
                self._count(type(error).__name__)
            if key not in self.acknowledged:
                # What a client does before it tries again.
                pause.wait(0.02)

    def _note(self, key: str, answer: requests.Response) -> None:
        if answer.status_code != 201:
            self._count(str(answer.status_code))
            if answer.status_code not in _TRY_AGAIN:
                self.surprises.setdefault(str(answer.status_code), answer.text)
            return
        with self._lock:
            self.acknowledged[key] = answer.json()["feedback_id"]
            self.found += "idempotency-replayed" in answer.headers

    def _count(self, kind: str) -> None:
        with self._lock:
            self.errors[kind] += 1


@frozen
class Report:
    """What was counted: figures to read, and those that are 0 as long as every promise is kept."""

    acknowledged: int
    found: int
    seconds: float
    errors: Mapping[str, int]
    broken: Mapping[str, int]
    surprises: tuple[str, ...]
    replaced: tuple[float, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not any(self.broken.values()) and not self.surprises

    def __str__(self) -> str:
        retried = sum(self.errors.values())
        lines = [
            f"killed {len(self.replaced)}, acknowledged {self.acknowledged:,} in {self.seconds:.0f} s",
            f"retried {retried}, {self.found} found stored by a retry",
            ", ".join(f"{name} {number}" for name, number in self.broken.items()),
            "errors: " + (", ".join(f"{number} {kind}" for kind, number in self.errors.items()) or "none"),
        ]
        if self.replaced:
            after = f"{median(self.replaced):.1f} s (median), {max(self.replaced):.1f} s (longest)"
            lines.append(f"workers were replaced after {after}")
        return "\n".join([*lines, *(f"BROKEN: {surprise}" for surprise in self.surprises)])


def send(service: Reachable, key: str, session: requests.Session | None = None) -> requests.Response:
    """The submission of that key, the same each time."""
    place = f"session-{int(key.rpartition('-')[2]) % SESSIONS}"
    return (session or requests).post(
        f"{service.url}/api/sessions/{place}/feedback",
        json={"rating": "up", "comment": f"words of {key}"},
        headers={"Idempotency-Key": key, **service.credentials},
        timeout=PATIENCE,
    )


def kill_a_worker(service: Service, workers: int) -> float:
    """``kill -9`` of the worker that has served for longest; seconds until another one serves in its place."""
    started = service.log.read_text().count("startup complete")
    begun = monotonic()
    os.kill(service.workers()[0], signal.SIGKILL)
    service.ready(started + 1)
    seconds = monotonic() - begun
    until(lambda: len(service.workers()) == workers, "there were as many workers as before")
    return seconds


def account(hk: Harken, load: Load, *, seconds: float, replaced: Sequence[float] = ()) -> Report:
    """Compare what is stored with what was acknowledged."""
    stored: defaultdict[str | None, list[str]] = defaultdict(list)
    for feedback in hk.collection.stream(hk.query().in_any_state()):
        stored[feedback.idempotency_key].append(feedback.id)
    total = sum(map(len, stored.values()))
    return Report(
        acknowledged=len(load.acknowledged),
        found=load.found,
        seconds=seconds,
        errors=load.errors,
        broken={
            "lost": sum(feedback_id not in stored[key] for key, feedback_id in load.acknowledged.items()),
            "duplicated": sum(len(ids) > 1 for ids in stored.values()),
            "never acknowledged": len(stored.keys() - load.acknowledged.keys()),
            "missing in the figures": abs(total - hk.summary().total),
        },
        surprises=(*load.surprises.values(), *hk.check()),
        replaced=tuple(replaced),
    )


def play(url: str, folder: Path, *, workers: int = 2, seconds: float = 0) -> Report:
    """Kill workers under load, until a request has failed, or again and again for so many seconds, and count.

    The first that is killed may have served nobody; its clients are all with the other one then, which is the next.
    """
    replaced: list[float] = []
    with serve(url, folder, "--workers", str(workers), HARKEN_SERVER_LOG_LEVEL="info", **UNLIMITED) as service:
        service.ready(workers)
        begun = monotonic()
        with Load(service) as load:
            while not load.errors or monotonic() < begun + seconds:
                load.go_on()
                replaced.append(kill_a_worker(service, workers))
            load.go_on()
        took = monotonic() - begun
        for worker in service.workers():
            with service.only(worker):
                assert service.ask("GET", "/readyz").ok, f"worker {worker} does not serve"
    with harken.connect(url) as hk:
        return account(hk, load, seconds=took, replaced=replaced)


def main(arguments: Sequence[str]) -> int:
    """Serve MongoDB and kill its workers."""
    parser = ArgumentParser(prog="python -m tests.reliability.http_processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for how long (60)")
    parser.add_argument("--workers", type=int, default=2, help="how many processes serve (2)")
    chosen = parser.parse_args(arguments)
    with replica_set() as deployment, database(deployment.url) as url, TemporaryDirectory() as folder:
        report = play(url, Path(folder), workers=chosen.workers, seconds=chosen.seconds)
    print(f"{'ok  ' if report.kept else 'MISS'} kill -9 of workers")
    print("     " + str(report).replace("\n", "\n     "))
    return 0 if report.kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

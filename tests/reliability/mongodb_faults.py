"""Tests submissions while MongoDB is killed, hangs or loses its majority.

``python -m tests.reliability.mongodb_faults [--seconds N] [scenario...]`` repeats each scenario for the given time,
prints a report, and exits with 1 if a guarantee was violated.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count, islice
from math import inf
from statistics import median
from threading import Event, Lock, Thread
from time import monotonic
from typing import Self

from attrs import frozen
from tests.mongod import Deployment, replica_set, standalone, until, with_database

import harken
from harken import Harken, Receipt, StorageUnavailable

#: The timeout of a database operation, in seconds.
TIMEOUT = 2.0
#: The maximum duration of a call in seconds: the write before it, its own write, and the delay of a busy machine.
LONGEST = 2 * TIMEOUT + 4.0
#: How long failed submissions are retried after the last new one, in seconds.
RECOVERY = 30.0
CONNECTIONS = 2
THREADS = 8
SESSIONS = 50
#: The number of acknowledged submissions before each fault, and after its repair.
UNDER_WAY = 200
#: The number of acknowledged submissions that are repeated at the end.
REPEATED = 500


class Load:
    """Threads that submit continuously, and retry each submission with the same key until it is acknowledged.

    Another thread reads.
    """

    def __init__(self, clients: Sequence[Harken], *, threads: int = THREADS) -> None:
        self.submitted = 0
        self.acknowledged: dict[str, str] = {}
        #: Submissions that failed from the client's view, but were stored, as a retry showed.
        self.found = 0
        self.slowest = (0.0, "")
        self.errors: Counter[str] = Counter()
        self.unexpected: dict[str, str] = {}
        self._lock = Lock()
        self._since, self._first_since = inf, inf
        self._stopping, self._give_up_at = Event(), inf
        self._threads = [
            Thread(target=self._run, args=(clients[number % len(clients)], number), daemon=True)
            for number in range(threads)
        ]
        self._threads.append(Thread(target=self._read, args=(clients[0],), daemon=True))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each thread finish its current submission."""
        self._give_up_at = monotonic() + RECOVERY
        self._stopping.set()
        for thread in self._threads:
            thread.join(RECOVERY + LONGEST)
            if thread.is_alive():
                self.unexpected["hang"] = "a call hangs"

    def wait_for_more(self) -> None:
        """Wait until ``UNDER_WAY`` further submissions are acknowledged."""
        goal = len(self.acknowledged) + UNDER_WAY
        until(lambda: len(self.acknowledged) >= goal, "enough submissions were acknowledged")

    def fail(self) -> None:
        """Wait until the number of failed calls has grown by the number of threads."""
        goal = self.errors.total() + len(self._threads)
        until(lambda: self.errors.total() >= goal, "submissions failed")

    def recovery(self) -> float:
        """The seconds until a call that starts after now is acknowledged."""
        with self._lock:
            self._since, self._first_since = monotonic(), inf
        until(lambda: self._first_since < inf, "submissions were acknowledged again")
        return self._first_since - self._since

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Measure a call. It may raise ``StorageUnavailable`` only, and must end soon."""
        start = monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the threads continue, and the report has the error
            self._record(name, error)
        with self._lock:
            self.slowest = max(self.slowest, (monotonic() - start, name))

    def _run(self, hk: Harken, number: int) -> None:
        for key in (f"{number}-{serial}" for serial in count()):
            if self._stopping.is_set():
                return
            with self._lock:
                self.submitted += 1
            self._submit(hk, key)

    def _submit(self, hk: Harken, key: str) -> None:
        pause = Event()
        while key not in self.acknowledged and monotonic() < self._give_up_at:
            start = monotonic()
            with self.watched("submit"):
                self._acknowledge(key, send(hk, key), start)
            if key not in self.acknowledged:
                # Clients wait before a retry.
                pause.wait(0.02)

    def _read(self, hk: Harken) -> None:
        while not self._stopping.wait(0.05):
            with self.watched("summary"):
                hk.summary()
            with self.watched("feedback"):
                hk.feedback()

    def _acknowledge(self, key: str, receipt: Receipt, start: float) -> None:
        with self._lock:
            self.acknowledged[key] = receipt.feedback.id
            self.found += receipt.duplicate
            if start > self._since:
                self._first_since = min(self._first_since, monotonic())

    def _record(self, name: str, error: Exception) -> None:
        cause = f" from {type(error.__cause__).__name__}" if error.__cause__ else ""
        kind = f"{type(error).__name__}{cause}"
        with self._lock:
            self.errors[kind] += 1
            if not isinstance(error, StorageUnavailable):
                self.unexpected.setdefault(kind, f"{name} raised {error!r}")


@frozen
class Report:
    """The counts of a run. Those in ``violations`` are 0 if every guarantee holds."""

    submitted: int
    acknowledged: int
    found: int
    violations: Mapping[str, int]
    unexpected: tuple[str, ...]
    errors: Mapping[str, int]
    slowest: tuple[float, str]
    recoveries: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds."""
        return not any(self.violations.values()) and not self.unexpected

    def __str__(self) -> str:
        lines = [
            f"submitted {self.submitted:,}, acknowledged {self.acknowledged:,}, {self.found} found stored by a retry",
            ", ".join(f"{name} {number}" for name, number in self.violations.items()),
            "errors: " + (", ".join(f"{number} {kind}" for kind, number in self.errors.items()) or "none"),
            f"the slowest call, {self.slowest[1]}, took {self.slowest[0]:.1f} s",
        ]
        if self.recoveries:
            longest = max(self.recoveries)
            lines += [f"recovery: median {median(self.recoveries):.1f} s, longest {longest:.1f} s"]
        return "\n".join([*lines, *(f"BROKEN: {error}" for error in self.unexpected)])


def send(hk: Harken, key: str) -> Receipt:
    """Submit with the key; the body depends on the key only."""
    session = int(key.rpartition("-")[2]) % SESSIONS
    return hk.submit(f"session-{session}", "up", f"comment of {key}", idempotency_key=key)


def account(hk: Harken, load: Load, recoveries: Sequence[float] = ()) -> Report:
    """Compare the stored with the acknowledged feedback, over a new connection."""
    stored: defaultdict[str | None, list[str]] = defaultdict(list)
    for feedback in hk.collection.stream(hk.query().in_any_state()):
        stored[feedback.idempotency_key].append(feedback.id)
    total = sum(map(len, stored.values()))
    events = Counter(event.subject_id for event in hk.outbox.events(limit=2 * total + 1))
    repeated = [send(hk, key).feedback.id for key in islice(load.acknowledged, REPEATED)]
    violations = {
        "lost": sum(feedback_id not in stored[key] for key, feedback_id in load.acknowledged.items()),
        "duplicated": sum(len(ids) > 1 for ids in stored.values()),
        "never acknowledged": load.submitted - len(load.acknowledged),
        "not recognised as duplicates": sum(
            new != old for new, old in zip(repeated, load.acknowledged.values(), strict=False)
        ),
        "without exactly one event": sum(events[feedback_id] != 1 for ids in stored.values() for feedback_id in ids),
        "missing in the statistics": abs(total - hk.summary().total),
        f"calls over {LONGEST:.0f} s": int(load.slowest[0] > LONGEST),
    }
    return Report(
        submitted=load.submitted,
        acknowledged=len(load.acknowledged),
        found=load.found,
        violations=violations,
        unexpected=(*load.unexpected.values(), *hk.check()),
        errors=load.errors,
        slowest=load.slowest,
        recoveries=tuple(recoveries),
    )


def kill_standalone(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of the only server, and restart it; returns the recovery time after the restart."""
    (server,) = deployment.members
    server.kill()
    server.start()
    return load.recovery()


def kill_primary(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of the primary, and restart it after the failover; returns the recovery time after the kill."""
    primary = deployment.primary()
    primary.kill()
    recovery = load.recovery()
    primary.start()
    deployment.settle()
    return recovery


def pause_primary(deployment: Deployment, url: str, load: Load) -> float:
    """Pause the primary, and resume it after the failover; returns the recovery time after the pause."""
    primary = deployment.primary()
    primary.pause()
    recovery = load.recovery()
    primary.resume()
    deployment.settle()
    return recovery


def lose_majority(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of both secondaries, and restart them; returns the recovery time after the restart.

    The primary first accepts writes that no majority confirms, and later steps down. A new connection succeeds or fails
    soon.
    """
    primary = deployment.primary()
    others = [member for member in deployment.members if member is not primary]
    for member in others:
        member.kill()
    load.fail()
    with load.watched("connect"), harken.connect(url):
        pass
    for member in others:
        member.start()
    recovery = load.recovery()
    deployment.settle()
    return recovery


@frozen
class Scenario:
    """Servers, and the fault that is injected under load."""

    servers: Callable[[], AbstractContextManager[Deployment]]
    inject: Callable[[Deployment, str, Load], float]


SCENARIOS = {
    "kill-standalone": Scenario(standalone, kill_standalone),
    "kill-primary": Scenario(partial(replica_set, 3), kill_primary),
    "pause-primary": Scenario(partial(replica_set, 3), pause_primary),
    "lose-majority": Scenario(partial(replica_set, 3), lose_majority),
}


def play(scenario: Scenario, seconds: float = 0) -> Report:
    """Inject the fault under load, once or repeatedly for the given time; returns the report."""
    recoveries: list[float] = []
    with scenario.servers() as deployment:
        url = with_database(deployment.url, "harken", timeoutMS=int(TIMEOUT * 1000))
        with ExitStack() as opened:
            clients = [opened.enter_context(harken.connect(url)) for _ in range(CONNECTIONS)]
            load = opened.enter_context(Load(clients))
            end = monotonic() + seconds
            while not recoveries or monotonic() < end:
                load.wait_for_more()
                recoveries.append(scenario.inject(deployment, url, load))
            load.wait_for_more()
        with harken.connect(url) as hk:
            return account(hk, load, recoveries)


def main(arguments: Sequence[str]) -> int:
    """Run the named scenarios, or all; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.reliability.mongodb_faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration of each scenario in seconds (default: 60)")
    parser.add_argument("scenario", nargs="*", help=", ".join(SCENARIOS), default=list(SCENARIOS))
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.scenario) - set(SCENARIOS):
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; expected one of {', '.join(SCENARIOS)}")
    ok = True
    for name in chosen.scenario:
        report = play(SCENARIOS[name], chosen.seconds)
        print(f"{'ok  ' if report.ok else 'MISS'} {name}, {len(report.recoveries)} times", flush=True)
        print("     " + str(report).replace("\n", "\n     "), flush=True)
        ok = ok and report.ok
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

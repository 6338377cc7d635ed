"""What becomes of submissions when MongoDB dies, hangs or loses its majority.

``python -m tests.reliability.mongodb_faults [--seconds N] [scenario...]`` plays each scenario again and again for so
many seconds, prints what it counted, and ends with status 1 if a promise was broken.
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

#: After how many seconds an operation on the database gives up.
TIMEOUT = 2.0
#: How long a call may take: for the write before it, for its own, and for what a busy machine adds.
LONGEST = 2 * TIMEOUT + 4.0
#: How long what failed is tried again once nothing new is submitted.
RECOVERY = 30.0
CONNECTIONS = 2
THREADS = 8
SESSIONS = 50
#: So many submissions are acknowledged before something breaks, and again after it is mended.
UNDER_WAY = 200
#: So many of those that were acknowledged are sent once more at the end.
SENT_AGAIN = 500


class Load:
    """Threads that submit without end, and repeat what failed with the same key until it is acknowledged.

    One more thread reads meanwhile.
    """

    def __init__(self, clients: Sequence[Harken], *, threads: int = THREADS) -> None:
        self.submitted = 0
        self.acknowledged: dict[str, str] = {}
        #: Submissions that had failed, as far as the client knew, and were found stored when it tried again.
        self.found = 0
        self.slowest = (0.0, "")
        self.errors: Counter[str] = Counter()
        self.surprises: dict[str, str] = {}
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
        """Let each thread finish the submission that it is at."""
        self._give_up_at = monotonic() + RECOVERY
        self._stopping.set()
        for thread in self._threads:
            thread.join(RECOVERY + LONGEST)
            if thread.is_alive():
                self.surprises["hang"] = "a call hangs"

    def go_on(self) -> None:
        """Wait until many more submissions are acknowledged."""
        goal = len(self.acknowledged) + UNDER_WAY
        until(lambda: len(self.acknowledged) >= goal, "enough submissions were acknowledged")

    def fail(self) -> None:
        """Wait until as many calls more have failed as there are threads."""
        goal = self.errors.total() + len(self._threads)
        until(lambda: self.errors.total() >= goal, "submissions failed")

    def recovery(self) -> float:
        """Seconds from now until a call is acknowledged that begins after now."""
        with self._lock:
            self._since, self._first_since = monotonic(), inf
        until(lambda: self._first_since < inf, "submissions were acknowledged again")
        return self._first_since - self._since

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Around a call that may fail, but with ``StorageUnavailable`` only, and that has to end soon."""
        begun = monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the threads go on, and the report tells of it
            self._note(name, error)
        with self._lock:
            self.slowest = max(self.slowest, (monotonic() - begun, name))

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
            begun = monotonic()
            with self.watched("submit"):
                self._acknowledge(key, send(hk, key), begun)
            if key not in self.acknowledged:
                # What a client does before it tries again.
                pause.wait(0.02)

    def _read(self, hk: Harken) -> None:
        while not self._stopping.wait(0.05):
            with self.watched("summary"):
                hk.summary()
            with self.watched("feedback"):
                hk.feedback()

    def _acknowledge(self, key: str, receipt: Receipt, begun: float) -> None:
        with self._lock:
            self.acknowledged[key] = receipt.feedback.id
            self.found += receipt.duplicate
            if begun > self._since:
                self._first_since = min(self._first_since, monotonic())

    def _note(self, name: str, error: Exception) -> None:
        cause = f" from {type(error.__cause__).__name__}" if error.__cause__ else ""
        kind = f"{type(error).__name__}{cause}"
        with self._lock:
            self.errors[kind] += 1
            if not isinstance(error, StorageUnavailable):
                self.surprises.setdefault(kind, f"{name} raised {error!r}")


@frozen
class Report:
    """What was counted: figures to read, and those that are 0 as long as every promise is kept."""

    submitted: int
    acknowledged: int
    found: int
    broken: Mapping[str, int]
    surprises: tuple[str, ...]
    errors: Mapping[str, int]
    slowest: tuple[float, str]
    recoveries: tuple[float, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not any(self.broken.values()) and not self.surprises

    def __str__(self) -> str:
        lines = [
            f"submitted {self.submitted:,}, acknowledged {self.acknowledged:,}, {self.found} found stored by a retry",
            ", ".join(f"{name} {number}" for name, number in self.broken.items()),
            "errors: " + (", ".join(f"{number} {kind}" for kind, number in self.errors.items()) or "none"),
            f"the slowest call, {self.slowest[1]}, took {self.slowest[0]:.1f} s",
        ]
        if self.recoveries:
            longest = max(self.recoveries)
            lines += [f"recovery: median {median(self.recoveries):.1f} s, longest {longest:.1f} s"]
        return "\n".join([*lines, *(f"BROKEN: {surprise}" for surprise in self.surprises)])


def send(hk: Harken, key: str) -> Receipt:
    """The submission of that key, the same each time."""
    session = int(key.rpartition("-")[2]) % SESSIONS
    return hk.submit(f"session-{session}", "up", f"words of {key}", idempotency_key=key)


def account(hk: Harken, load: Load, recoveries: Sequence[float] = ()) -> Report:
    """Compare what is stored with what was acknowledged, through a connection that took no part."""
    stored: defaultdict[str | None, list[str]] = defaultdict(list)
    for feedback in hk.collection.stream(hk.query().in_any_state()):
        stored[feedback.idempotency_key].append(feedback.id)
    total, figures = sum(map(len, stored.values())), hk.summary().total
    events = Counter(event.subject_id for event in hk.outbox.events(limit=2 * total + 1))
    again = [send(hk, key).feedback.id for key in islice(load.acknowledged, SENT_AGAIN)]
    broken = {
        "lost": sum(feedback_id not in stored[key] for key, feedback_id in load.acknowledged.items()),
        "duplicated": sum(len(ids) > 1 for ids in stored.values()),
        "never acknowledged": load.submitted - len(load.acknowledged),
        "not recognised when sent again": sum(
            new != old for new, old in zip(again, load.acknowledged.values(), strict=False)
        ),
        "without exactly one event": sum(events[feedback_id] != 1 for ids in stored.values() for feedback_id in ids),
        "missing in the figures": abs(total - figures),
        f"calls over {LONGEST:.0f} s": int(load.slowest[0] > LONGEST),
    }
    return Report(
        submitted=load.submitted,
        acknowledged=len(load.acknowledged),
        found=load.found,
        broken=broken,
        surprises=(*load.surprises.values(), *hk.check()),
        errors=load.errors,
        slowest=load.slowest,
        recoveries=tuple(recoveries),
    )


def kill_standalone(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of the only server, which is started again; recovery counts from then on."""
    (server,) = deployment.members
    server.kill()
    server.start()
    return load.recovery()


def kill_primary(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of the primary, which comes back when another one has taken over; recovery counts from the kill."""
    primary = deployment.primary()
    primary.kill()
    recovery = load.recovery()
    primary.start()
    deployment.settle()
    return recovery


def pause_primary(deployment: Deployment, url: str, load: Load) -> float:
    """The primary hangs, and goes on when another one has taken over; recovery counts from when it stands still."""
    primary = deployment.primary()
    primary.pause()
    recovery = load.recovery()
    primary.resume()
    deployment.settle()
    return recovery


def lose_majority(deployment: Deployment, url: str, load: Load) -> float:
    """``kill -9`` of both that follow the primary, which are started again; recovery counts from then on.

    The primary first takes writes that nobody confirms, and then none. A new connection works or fails soon.
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
    """Servers, and what happens to them while submissions come in."""

    servers: Callable[[], AbstractContextManager[Deployment]]
    happens: Callable[[Deployment, str, Load], float]


SCENARIOS = {
    "kill-standalone": Scenario(standalone, kill_standalone),
    "kill-primary": Scenario(partial(replica_set, 3), kill_primary),
    "pause-primary": Scenario(partial(replica_set, 3), pause_primary),
    "lose-majority": Scenario(partial(replica_set, 3), lose_majority),
}


def play(scenario: Scenario, seconds: float = 0) -> Report:
    """Let it happen under load, once or again and again for so many seconds, and count."""
    recoveries: list[float] = []
    with scenario.servers() as deployment:
        url = with_database(deployment.url, "harken", timeoutMS=int(TIMEOUT * 1000))
        with ExitStack() as opened:
            clients = [opened.enter_context(harken.connect(url)) for _ in range(CONNECTIONS)]
            load = opened.enter_context(Load(clients))
            end = monotonic() + seconds
            while not recoveries or monotonic() < end:
                load.go_on()
                recoveries.append(scenario.happens(deployment, url, load))
            load.go_on()
        with harken.connect(url) as hk:
            return account(hk, load, recoveries)


def main(arguments: Sequence[str]) -> int:
    """Play the scenarios that are named, or all."""
    parser = ArgumentParser(prog="python -m tests.reliability.mongodb_faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to play each (60)")
    parser.add_argument("scenario", nargs="*", help=", ".join(SCENARIOS), default=list(SCENARIOS))
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.scenario) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; known are {', '.join(SCENARIOS)}")
    kept = True
    for name in chosen.scenario:
        report = play(SCENARIOS[name], chosen.seconds)
        print(f"{'ok  ' if report.kept else 'MISS'} {name}, {len(report.recoveries)} times", flush=True)
        print("     " + str(report).replace("\n", "\n     "), flush=True)
        kept = kept and report.kept
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Tests acknowledged feedback when processes share an SQLite file in every supported way.

``python -m tests.reliability.sqlite_processes [--kills N]`` runs three processes, each with two connections, which fork
children that connect too. One of the three is repeatedly ended with ``kill -9`` and restarted, while commands run. It
prints the number of entries that were acknowledged, lost and stored twice, and exits with 1 if a guarantee was
violated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep

from attrs import frozen

import harken

PROCESSES = 3
COMMANDS = (("stats",), ("list", "--limit", "3"), ("trends", "--by", "hour"), ("keys", "list"))
#: The time limit in seconds for the submissions before a kill.
PATIENCE = 120.0

WORKER = """
import os, sys, threading
import harken

url, acknowledged, name = sys.argv[1:]
log = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def submit(hk, who, count):
    for number in range(count):
        receipt = hk.submit(who, "up", idempotency_key=f"{os.getpid()}-{number}-{os.urandom(4).hex()}")
        # One write per line: a kill leaves the whole line or nothing.
        os.write(log, f"{receipt.feedback.id}\\n".encode())


def connect():
    return harken.connect(url), harken.connect(url, application="default")


one, two = connect()
parent = os.getppid()
while os.getppid() == parent:
    threads = [threading.Thread(target=submit, args=(hk, name, 10)) for hk in (one, two)]
    for thread in threads:
        thread.start()
    child = os.fork()
    if child == 0:
        first, second = connect()
        submit(first, f"{name}-child", 5)
        submit(second, f"{name}-child", 5)
        os._exit(0)
    for thread in threads:
        thread.join()
    os.waitpid(child, 0)
"""


@frozen
class Report:
    """The counts of a run."""

    kills: int
    commands: int
    acknowledged: int
    stored: int
    lost: int
    twice: int
    problems: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every guarantee holds."""
        return not (self.lost or self.twice or self.problems)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.commands} commands, {self.acknowledged:,} acknowledged, "
            f"{self.stored:,} stored, lost {self.lost}, twice {self.twice}, damage {list(self.problems) or 0}; "
            f"{self.seconds:.0f} s"
        )


def play(folder: Path, *, kills: int, seed: int = 1) -> Report:
    """Run processes on a file in the folder until the given number was killed; returns the report."""
    url, acknowledged, start_time = f"sqlite:///{folder}/feedback.db", folder / "acknowledged", monotonic()
    acknowledged.touch()
    random, ended, commands = Random(seed), Event(), Counter[str]()
    # All processes inherit the write end of a pipe, so that the read end shows when all have ended.
    gone, alive = os.pipe()
    with ExitStack() as running:

        def start(name: str) -> subprocess.Popen[bytes]:
            words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", WORKER, url, str(acknowledged), name]
            worker = subprocess.Popen(words, pass_fds=[alive])
            running.callback(worker.wait)
            running.callback(worker.kill)
            return worker

        workers = [start(f"process-{number}") for number in range(PROCESSES)]
        # Most commands need an existing file.
        _until_more(acknowledged, 1)
        commander = Thread(target=_commands, args=(url, ended, commands))
        commander.start()
        try:
            for _ in range(kills):
                _until_more(acknowledged, random.randrange(30, 90))
                workers[0].kill()
                workers[0].wait()
                workers[0] = start("process-0")
            _until_more(acknowledged, 100)
        finally:
            ended.set()
            commander.join()
            for worker in workers:
                worker.kill()
    # Children of killed processes end on their own.
    os.close(alive)
    os.read(gone, 1)
    os.close(gone)
    ids = acknowledged.read_text().split()
    with harken.connect(url) as hk:
        stored = Counter(feedback.id for feedback in hk.export())
        problems = tuple(hk.check())
    return Report(
        kills=kills,
        commands=commands.total(),
        acknowledged=len(ids),
        stored=stored.total(),
        lost=len(set(ids) - stored.keys()),
        twice=len(ids) - len(set(ids)),
        problems=(*problems, *(f"harken {name} failed" for name in commands if name.startswith("failed: "))),
        seconds=monotonic() - start_time,
    )


def _commands(url: str, ended: Event, commands: Counter[str]) -> None:
    """Run commands until ``ended`` is set, and count them; failures are counted separately."""
    harken_command = Path(sys.executable).with_name("harken")
    while not ended.is_set():
        for command in COMMANDS:
            done = subprocess.run(
                [harken_command, "--storage", url, *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
            error = done.stderr.decode(errors="replace")
            commands[command[0] if done.returncode == 0 else f"failed: {command[0]}: {error}"] += 1


def _until_more(acknowledged: Path, lines: int) -> None:
    """Wait until this number of further submissions is acknowledged."""
    wanted, deadline = _lines(acknowledged) + lines, monotonic() + PATIENCE
    while _lines(acknowledged) < wanted:
        if monotonic() > deadline:
            raise TimeoutError(f"Fewer than {lines} submissions were acknowledged in {PATIENCE:.0f} s")
        sleep(0.01)


def _lines(acknowledged: Path) -> int:
    return acknowledged.stat().st_size // 37


def main() -> int:
    """Run and print the report; returns the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="harken-processes-") as folder:
        report = play(Path(folder), kills=options.kills, seed=options.seed)
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

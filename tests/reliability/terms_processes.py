"""Tests the counts of terms and the search index when processes count, search, change, erase and rebuild at once.

``python -m tests.reliability.terms_processes [--kills N] [--storage URL]`` runs processes with these tasks on one
storage, ends one of them with ``kill -9`` again and again, and restarts it. At the end the counts must equal a recount,
searches must find what a scan finds, and no rebuild may find anything to correct. By default it uses an SQLite file,
with records and segments of a few comments, so that most operations write one. Prints a report, and exits with 1 if a
guarantee was violated.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from unittest.mock import patch

from attrs import frozen

import harken
from harken.domain.insight.terms import TermCounts
from harken_adapters.storage import comment_index
from harken_adapters.storage.term_counts import dump_counts

TASKS = ("read", "search", "submit", "change", "erase", "rebuild")
#: How many seconds a process may take for one step on a busy machine.
PATIENCE = 60.0
#: How many seconds a day of MongoDB is open after a write to it; by default minutes.
OPEN = 2.0

WORKER = f"""
import os, sys
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
import harken
from harken import Change, FeedbackQuery, HarkenError, Rating
from harken.testing import a_feedback
from harken_adapters.storage import comment_index
from harken_adapters.storage.mongodb import comment_index as mongodb_index
from harken_adapters.storage.mongodb.statistics import marks
from harken_adapters.storage.sqlite import comment_index as sqlite_index
from harken_adapters.storage.sqlite import terms

terms._ENOUGH, terms._CHUNK = 20, 60
marks.OPEN, marks._SPARE = timedelta(seconds={OPEN}), timedelta(seconds={OPEN / 2})
comment_index.ENTRIES, comment_index.WALKED, sqlite_index._NEWEST = 20, 5, 10
sqlite_index.BUILDING = mongodb_index.BUILDING = timedelta(seconds={OPEN})
url, task, log = sys.argv[1:]
log, random, numbers, parent = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), Random(), count(), os.getppid()
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0)
WORDS = ("lost", "luggage", "found", "wifi", "seat", "refund", "late", "kind")


def note(line):
    os.write(log, f"{{task}} {{line}}\\n".encode())


def given(number):
    author = f"author-{{random.randrange(200)}}"
    # Up to three days ago, so that most of it arrives among what was counted.
    at = TODAY - timedelta(seconds=random.randrange(3 * 86_400))
    comment = " ".join([*random.choices(WORDS, k=4), author])
    rating = random.choice((Rating.UP, Rating.DOWN))
    return a_feedback(f"session-{{author}}", id=f"{{os.getpid()}}-{{number}}-{{os.urandom(3).hex()}}", author=author,
                      rating=rating, comment=comment, created_at=at)


def change(hk):
    some = hk.feedback(limit=200).items
    if not some:
        return
    one = random.choice(some)
    match random.randrange(3):
        case 0:
            hk.collection.change("default", one.id, Change(comment=" ".join(random.choices(WORDS, k=5))))
        case 1:
            hk.collection.withdraw("default", one.id)
        case _:
            hk.moderation.decide("default", one.id, "rejected")


with harken.open_storage(url) as storage, harken.connect(storage) as hk:
    note(f"{{os.getpid()}} started")
    while os.getppid() == parent:
        number = next(numbers)
        try:
            match task:
                case "read":
                    storage.feedback.term_counts("default")
                case "search":
                    storage.index_comments("default")
                    hk.feedback(text=" ".join(random.choices(WORDS, k=2)), limit=1000)
                case "submit":
                    hk.collection.restore([given(number) for _ in range(random.choice((1, 5, 20)))])
                case "change":
                    change(hk)
                case "erase":
                    hk.collection.erase(hk.query(author=f"author-{{random.randrange(200)}}"))
                case _:
                    for sentence in hk.rebuild():
                        note(f"PROBLEM {{sentence}}")
        except (harken.FeedbackNotFound, harken.StaleFeedback, harken.InvalidTransition, harken.FeedbackWithdrawn):
            pass  # Another process was faster.
        except HarkenError as error:
            note(f"PROBLEM {{type(error).__name__}}: {{error}}")
        note("done")
"""


@frozen
class Report:
    """The result of a run."""

    kills: int
    steps: int
    comments: int
    problems: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.steps:,} steps, {self.comments:,} comments at the end, "
            f"problems: {list(self.problems) or 0}; {self.seconds:.0f} s"
        )


def play(url: str, folder: Path, *, kills: int, seed: int = 1) -> Report:
    """Run the processes on a storage until one of them was killed that often; returns the report."""
    log, random, start_time = folder / "steps", Random(seed), monotonic()
    log.touch()
    with harken.open_storage(url) as kept, ExitStack() as running:

        def start(task: str) -> subprocess.Popen[bytes]:
            worker = subprocess.Popen([sys.executable, "-c", WORKER, url, task, str(log)])
            running.callback(worker.wait)
            running.callback(worker.kill)
            return worker

        workers = [start(task) for task in TASKS]
        for worker in workers:
            _until_started(log, worker)
        for _ in range(kills):
            _until_more(log, random.randrange(20, 60))
            # In the middle of anything.
            sleep(random.random() / 50)
            number = random.randrange(len(TASKS))
            workers[number].kill()
            workers[number].wait()
            workers[number] = start(TASKS[number])
            _until_started(log, workers[number])
            # Compared at the end, as this process keeps what it has counted.
            kept.feedback.term_counts("default")
        _until_more(log, 100)
        running.close()
        steps = log.read_text().splitlines()
        problems = [line for line in steps if " PROBLEM " in line]
        if url.startswith("mongodb"):
            sleep(OPEN)
        with harken.open_storage(url) as new:
            # A process that has kept its counts, twice, and a new one.
            for storage in (kept, kept, new):
                problems += _problems(storage)
        comments = kept.feedback.term_counts("default").total
    return Report(kills, len(steps), comments, tuple(problems), monotonic() - start_time)


def _problems(storage: harken.Storage) -> list[str]:
    """What is wrong with the counts and the index of a storage that nothing writes to."""
    with harken.connect(storage) as hk:
        counts = storage.feedback.term_counts("default")
        is_right = dump_counts(counts) == dump_counts(TermCounts.fold(hk.export()))
        problems = [] if is_right else ["The counts differ from a recount"]
        with patch.multiple(comment_index, WALKED=5, _COST=0):
            problems += filter(None, (_search_problem(hk, text) for text in ("lost", '"late refund"', "author 7")))
        return [*problems, *hk.check(), *hk.rebuild()]


def _search_problem(hk: harken.Harken, text: str) -> str | None:
    query = hk.query(text=text)
    expected = [one for one in hk.export() if query.matches(one)][:-1_001:-1]
    found = list(hk.collection.find(query, limit=1_000).items)
    return None if found == expected else f"A search for {text} found {len(found)} entries, a scan {len(expected)}"


def _until_started(log: Path, worker: subprocess.Popen[bytes]) -> None:
    _until(lambda: f" {worker.pid} started\n" in log.read_text())


def _until_more(log: Path, lines: int) -> None:
    """Wait until the processes have made this many further steps."""
    wanted = _lines(log) + lines
    _until(lambda: _lines(log) >= wanted)


def _until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"The processes made no progress in {PATIENCE:.0f} s")
        sleep(0.005)


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def main() -> int:
    """Run and print the report; returns the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--storage")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="harken-terms-") as folder:
        url = options.storage or f"sqlite:///{folder}/feedback.db"
        report = play(url, Path(folder), kills=options.kills, seed=options.seed)
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())

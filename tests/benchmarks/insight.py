"""Themes and counts of terms: what reading them takes, and that submissions do not pay for them.

The comments are those of ``$DATA/airline-feedback.csv``, if ``DATA`` names a folder, and otherwise generated.
"""

from __future__ import annotations

import csv
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from statistics import median
from time import process_time

from attrs import frozen
from pymongo import MongoClient
from tests import mongod
from tests.benchmarks.load import submit, submit_soon
from tests.benchmarks.measure import Result, at_most, seconds
from tests.benchmarks.rows import START

import harken
from harken import Feedback, Rating
from harken.clock import utc_now
from harken.domain.insight.terms import TermCounts, words
from harken.domain.insight.themes import discover
from harken.ports.repository import Accepted
from harken.stop_words import stop_words
from harken.testing import a_feedback
from harken_adapters.storage.mongodb import mongo_storage

THEMES_BOUND, SCRATCH_BOUND = 200, 250
FOLDING_BOUND = 80
SUBMISSION_BOUND = 1.03
COUNTED, LOOKED_AT, FROM_SCRATCH = 100_000, 4_000, 6_087
ROUNDS = 7
SUBMISSION_ROUNDS = 31
_LETTERS = "etaoinshrdlucmfwypvbgk"


@frozen
class _Complaint:
    id: str
    author: str
    words: Sequence[str]


def _generated(total: int) -> Iterator[tuple[Rating, str]]:
    """Comments of about nineteen words, as common as in natural language, one in five of them thumbs-up.

    The words of 60 topics are in thumbs-down comments only; each of these has two words of one topic.
    """
    random = Random(1)
    vocabulary = ["".join(random.choices(_LETTERS, k=random.randint(2, 9))) for _ in range(30_000)]
    # By G. K. Zipf's law: the word of rank n is 1/n as common as the first.
    frequencies = list(accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))
    topics = [["".join(random.choices(_LETTERS, k=7)) for _ in range(5)] for _ in range(60)]
    for _ in range(total):
        said = random.choices(vocabulary, cum_weights=frequencies, k=random.randint(5, 29))
        if random.random() < 0.2:
            yield Rating.UP, " ".join(said)
        else:
            topic = topics[min(int(random.expovariate(0.08)), len(topics) - 1)]
            yield Rating.DOWN, " ".join(random.sample([*said, *random.sample(topic, 2)], len(said) + 2))


def _real() -> Iterator[tuple[Rating, str]]:
    with Path(os.environ["DATA"], "airline-feedback.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rating = Rating.parse(row["rating"] or None)
            if rating is not Rating.NEUTRAL:
                yield rating, row["comment"].strip()


def _feedback(total: int, *, days: int = 30) -> list[Feedback]:
    """Rated comments that are evenly distributed over some days; real ones are repeated if there are too few."""
    comments = list(_real() if "DATA" in os.environ else _generated(total))
    step = timedelta(days=days) / total
    return [
        a_feedback(
            f"session-{number // 4}",
            rating=comments[number % len(comments)][0],
            comment=comments[number % len(comments)][1],
            created_at=START + step * number,
        )
        for number in range(total)
    ]


def _complaints(feedback: Sequence[Feedback]) -> list[_Complaint]:
    return [_Complaint(one.id, one.session_id, words(one.comment)) for one in feedback if one.rating is Rating.DOWN]


def themes_from_counts(_: Path) -> Iterator[Result]:
    """Themes of the newest 4,000 thumbs-down comments, from the counts of 100,000 comments."""
    feedback, ignored = _feedback(COUNTED), frozenset(stop_words(("en",)))
    counts, looked_at = TermCounts.fold(feedback), _complaints(feedback)[-LOOKED_AT:]
    assert discover(counts, looked_at, ignored)
    each = median(_processor_seconds(lambda: discover(counts, looked_at, ignored)) for _ in range(ROUNDS))
    detail = f"processor time, median of {ROUNDS}; {len(counts.ups | counts.downs):,} terms"
    yield at_most("themes: from the counts of 100,000 comments", each * 1e3, THEMES_BOUND, unit=" ms", detail=detail)


def themes_from_scratch(_: Path) -> Iterator[Result]:
    """Themes of 6,087 thumbs-down comments, each split into words first; their counts are stored."""
    feedback, ignored = _feedback(FROM_SCRATCH * 13 // 10), frozenset(stop_words(("en",)))
    counts = TermCounts.fold(feedback)
    negative = [one for one in feedback if one.rating is Rating.DOWN][:FROM_SCRATCH]
    each = median(_processor_seconds(lambda: discover(counts, _complaints(negative), ignored)) for _ in range(ROUNDS))
    detail = f"processor time, median of {ROUNDS}, with {len(negative):,} comments"
    yield at_most("themes: of 6,087 comments", each * 1e3, SCRATCH_BOUND, unit=" ms", detail=detail)


def folding(folder: Path) -> Iterator[Result]:
    """The first reading of 100,000 comments on each storage, and the memory of a process that does it in SQLite."""
    feedback = _feedback(COUNTED)
    url = f"sqlite:///{folder}/folding.db"
    with ExitStack() as stack:
        server = stack.enter_context(mongod.replica_set(cache_gb=1.0, folder=folder))
        client = stack.enter_context(MongoClient(server.url))
        # Of MongoDB, days are stored two minutes after they were written to.
        later = mongo_storage(client, "folding", clock=lambda: utc_now() + timedelta(minutes=3))
        storages = {
            "memory": stack.enter_context(harken.open_storage("memory://")),
            "sqlite": stack.enter_context(harken.open_storage(url)),
            "mongodb": later,
        }
        for name, storage in storages.items():
            _fill(mongo_storage(client, "folding") if storage is later else storage, feedback)
            each = _processor_seconds(lambda: storage.feedback.term_counts("default")) / COUNTED  # noqa: B023
            again = seconds(lambda: storage.feedback.term_counts("default"))  # noqa: B023 - used at once
            detail = f"processor time, {COUNTED:,} comments once; the next reading took {again * 1e3:.0f} ms"
            yield at_most(f"{name}: counting a comment's terms", each * 1e6, FOLDING_BOUND, unit=" us", detail=detail)
    with closing(sqlite3.connect(folder / "folding.db")) as file:
        (size,) = file.execute("SELECT length(counts) FROM term_counts").fetchone()
        yield at_most("sqlite: the record of 100,000 comments", size / 1e6, 16, unit=" MB", detail="compressed JSON")
        file.execute("DELETE FROM term_counts")
        file.commit()
    reading = [sys.executable, "-c", _READING, url]
    report = subprocess.run(reading, check=True, stdout=subprocess.PIPE, text=True).stdout
    before, peak = map(int, re.findall(r"VmHWM:\s+(\d+) kB", report))
    detail = f"peak of the process; {before / 1024:.0f} MB before"
    yield at_most("sqlite: counting 100,000 comments", peak / 1024, 250, unit=" MB", detail=detail)


_READING = """
import sys, harken
from pathlib import Path
with harken.open_storage(sys.argv[1]) as storage:
    print(Path("/proc/self/status").read_text())
    storage.feedback.term_counts("default")
    print(Path("/proc/self/status").read_text())
"""


def submissions_with_counts(folder: Path) -> Iterator[Result]:
    """Submissions to storages whose counts are read in between, compared to storages that do not count terms."""
    feedback = _feedback(5_000)
    with ExitStack() as stack:
        opened = [stack.enter_context(harken.open_storage("memory://")) for _ in range(2)]
        yield _submissions("memory", *_filled(stack, opened, feedback), times=1_000)
        urls = [f"sqlite:///{folder}/{name}.db" for name in ("with", "without")]
        opened = [stack.enter_context(harken.open_storage(url)) for url in urls]
        with closing(sqlite3.connect(folder / "without.db")) as file:
            for trigger in ("added", "removed", "removed_before_change", "added_after_change"):
                file.execute(f"DROP TRIGGER terms_{trigger}")
        ours, other = _filled(stack, opened, feedback)
        yield _submissions("sqlite", ours, other, times=200)
        yield _submissions("sqlite, together", ours, other, times=1_000, way=submit_soon)
        server = stack.enter_context(mongod.replica_set(cache_gb=1.0, folder=folder))
        client = stack.enter_context(MongoClient(server.url))
        ours, other = _filled(stack, [mongo_storage(client, name) for name in ("with", "without")], feedback)
        yield _submissions("mongodb", ours, other, times=100)


def _filled(
    stack: ExitStack, storages: Sequence[harken.Storage], feedback: Sequence[Feedback]
) -> Iterator[harken.Harken]:
    for storage in storages:
        _fill(storage, feedback)
        yield stack.enter_context(harken.connect(storage))


def _fill(storage: harken.Storage, feedback: Sequence[Feedback]) -> None:
    entries = iter(feedback)
    while batch := [Accepted(one) for one in islice(entries, 5_000)]:
        storage.feedback.add(batch)


def _submissions(
    name: str,
    ours: harken.Harken,
    other: harken.Harken,
    *,
    times: int,
    way: Callable[[harken.Harken, int], None] = submit,
) -> Result:
    ratios: list[float] = []
    for number in range(SUBMISSION_ROUNDS):
        ours.themes()
        durations: dict[bool, float] = {}
        # In turn also within a round, as the second one may find the disk idle.
        for is_ours in (number % 2 == 0, number % 2 == 1):
            durations[is_ours] = seconds(lambda: way(ours if is_ours else other, times))  # noqa: B023 - used at once
        ratios.append(durations[True] / durations[False])
    detail = f"median of {SUBMISSION_ROUNDS} times {times:,} submissions in turn"
    return at_most(
        f"{name}: submit, to a storage that counts no terms", median(ratios), SUBMISSION_BOUND, detail=detail
    )


def _processor_seconds(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return process_time() - start


BENCHMARKS = (themes_from_counts, themes_from_scratch, folding, submissions_with_counts)

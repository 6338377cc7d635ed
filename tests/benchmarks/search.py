"""Text search: what finding words takes, and that submissions do not pay for it.

``python -m tests.benchmarks.search 1000000`` measures with a million entries, which takes about 20 minutes.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import timedelta
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from attrs import evolve
from pymongo import MongoClient
from tests import mongod
from tests.benchmarks.load import submit, submit_soon
from tests.benchmarks.measure import Result, at_most, seconds
from tests.benchmarks.rows import START

import harken
from harken import Content, Feedback, FeedbackQuery, Rating
from harken.clock import utc_now
from harken.domain.feedback import Target
from harken.ports.repository import Accepted
from harken.ports.storage import Storage
from harken.testing import a_feedback
from harken_adapters.storage.mongodb import mongo_storage

ENTRIES = 100_000
DAYS = 120
ROUNDS = 5
PAGE, COUNTED = 50, 10_000
PAGE_BOUND, COUNT_BOUND, INDEXING_BOUND = 200, 1_000, 60
SUBMISSION_BOUND, SUBMISSION_ROUNDS = 1.03, 31
_LETTERS = "etaoinshrdlucmfwypvbgk"
#: Words, and one in how many comments has each.
_WORDS = {"zebra": 100_000, "giraffe": 1_000, "elephant": 100}
_COMMON, _ALSO_COMMON = "the", "and"

#: By name; the first words are in one comment of 100,000, of 1,000, of 100, in most and in none.
PAGES: Mapping[str, Mapping[str, Any]] = {
    "a rare word": {"text": "zebra"},
    "a word in one comment of 1,000": {"text": "giraffe"},
    "a word in one comment of 100": {"text": "elephant"},
    "a common word": {"text": _COMMON},
    "an unknown word": {"text": "unicorn"},
    "two words, seldom together": {"text": "elephant giraffe"},
    "a phrase": {"text": f'"{_COMMON} elephant"'},
    "a word and a rating": {"text": "giraffe", "rating": Rating.UP},
    "a word and a frequent tag": {"text": "giraffe", "tag": "slow"},
    "a word and a rare tag": {"text": "elephant", "tag": "seldom"},
    "a common word and a rare agent": {"text": _COMMON, "agent_id": "agent-9"},
    "a word and a rare agent": {"text": "elephant", "agent_id": "agent-9"},
    "a word and an author": {"text": _COMMON, "author": "author-5"},
    "a word in one day": {"text": "giraffe", "since": START + timedelta(days=60), "until": START + timedelta(days=61)},
    # These are not bounded: the other condition has no index.
    "a common word and a rare tag": {"text": _COMMON, "tag": "seldom"},
    "a phrase of common words": {"text": f'"{_COMMON} {_ALSO_COMMON} {_COMMON} {_ALSO_COMMON}"'},
}
UNBOUNDED = frozenset(list(PAGES)[-2:])


def entries(total: int) -> Iterator[Feedback]:
    """Feedback of ten agents, one of which is rare, over 120 days; four in five have a comment of 5 to 29 words."""
    random = Random(1)
    vocabulary = [_COMMON, _ALSO_COMMON]
    vocabulary += ["".join(random.choices(_LETTERS, k=random.randint(2, 9))) for _ in range(30_000)]
    # By G. K. Zipf's law: the word of rank n is 1/n as common as the first.
    frequencies = list(accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))
    agents = list(accumulate((50, 20, 10, 8, 5, 3, 2, 1, 0.5, 0.01)))
    made, step = a_feedback(), timedelta(days=DAYS) / total
    for number in range(total):
        said = random.choices(vocabulary, cum_weights=frequencies, k=random.randint(5, 29))
        said += [word for word, one_in in _WORDS.items() if random.random() * one_in < 1]
        comment = " ".join(said) if random.random() < 0.8 else ""
        tags = ("seldom",) if random.random() < 0.0001 else ("slow",) if random.random() < 0.1 else ()
        at = START + step * number
        yield evolve(
            made,
            # In the order of time, as the ids of real feedback.
            id=f"{number:012x}-{random.getrandbits(80):020x}",
            target=Target(f"session-{number // 10}", None, f"agent-{random.choices(range(10), cum_weights=agents)[0]}"),
            content=Content(Rating.DOWN if random.random() < 0.6 else Rating.UP, comment, tags),
            author=f"author-{random.randrange(200_000)}",
            created_at=at,
            updated_at=at,
        )


def sqlite_searches(folder: Path, total: int = ENTRIES) -> Iterator[Result]:
    """The index of comments, pages of results and counts on SQLite."""
    with harken.open_storage(f"sqlite:///{folder}/searches.db") as storage:
        yield from _search("sqlite", storage, storage, total)


def mongodb_searches(folder: Path, total: int = ENTRIES) -> Iterator[Result]:
    """The same on MongoDB."""
    with ExitStack() as stack:
        server = stack.enter_context(mongod.replica_set(cache_gb=2.0, folder=folder))
        client = stack.enter_context(MongoClient(server.url))
        # Nothing is indexed within two minutes of a write to old feedback.
        later = mongo_storage(client, "searches", clock=lambda: utc_now() + timedelta(minutes=3))
        yield from _search("mongodb", mongo_storage(client, "searches"), later, total)


def _search(name: str, writer: Storage, storage: Storage, total: int) -> Iterator[Result]:
    _fill(writer, entries(total))
    wall, processor = _measure(lambda: storage.index_comments("default"))
    detail = f"processor time of this process for {total:,} entries; {wall / total * 1e6:.0f} us passed"
    yield at_most(f"{name}: indexing an entry", processor / total * 1e6, INDEXING_BOUND, unit=" us", detail=detail)
    for what, filters in PAGES.items():
        query, bound = FeedbackQuery(**filters), float("inf") if what in UNBOUNDED else PAGE_BOUND
        found = len(storage.feedback.find(query, limit=PAGE).items)
        yield _timed(f"{name}: {what}", lambda: storage.feedback.find(query, limit=PAGE), bound, f"{found} found")  # noqa: B023
    for word in (*_WORDS, _COMMON):
        query = FeedbackQuery(text=word, rating=Rating.DOWN)
        count = storage.feedback.count(query, limit=COUNTED)
        call = lambda: storage.feedback.count(query, limit=COUNTED)  # noqa: E731, B023
        yield _timed(f"{name}: count up to {COUNTED:,} of {word!r}", call, COUNT_BOUND, f"{count:,} counted")


def _timed(name: str, call: Callable[[], object], bound: float, found: str) -> Result:
    times = [_measure(call) for _ in range(ROUNDS)]
    wall, processor = median(one for one, _ in times), median(one for _, one in times)
    detail = f"median of {ROUNDS}, {processor * 1e3:.0f} ms of this processor; {found}"
    return at_most(name, wall * 1e3, bound, unit=" ms", detail=detail)


def _measure(call: Callable[[], object]) -> tuple[float, float]:
    start, begun = perf_counter(), process_time()
    call()
    return perf_counter() - start, process_time() - begun


def _fill(storage: Storage, feedback: Iterator[Feedback]) -> None:
    while batch := [Accepted(one) for one in islice(feedback, 5_000)]:
        storage.feedback.add(batch)


def submissions_with_search(folder: Path) -> Iterator[Result]:
    """Submissions to a file whose comments are indexed, compared to one without an index.

    In MongoDB, a submission does nothing for the index.
    """
    urls = [f"sqlite:///{folder}/{name}-search.db" for name in ("with", "without")]
    with ExitStack() as stack:
        both = [stack.enter_context(harken.connect(url)) for url in urls]
        for url in urls:
            with harken.open_storage(url) as storage:
                _fill(storage, entries(10_000))
        with closing(sqlite3.connect(folder / "without-search.db")) as file:
            for trigger in ("added", "changed", "removed"):
                file.execute(f"DROP TRIGGER comment_{trigger}")
        ours, other = both
        ours.index_comments()
        for name, way, times in (("", submit, 200), (", together", submit_soon, 1_000)):
            ratios: list[float] = []
            for number in range(SUBMISSION_ROUNDS):
                durations: dict[bool, float] = {}
                # In turn also within a round, as the second one may find the disk idle.
                for is_ours in (number % 2 == 0, number % 2 == 1):
                    durations[is_ours] = seconds(lambda: way(ours if is_ours else other, times))  # noqa: B023
                ratios.append(durations[True] / durations[False])
            detail = f"median of {SUBMISSION_ROUNDS} times {times:,} submissions in turn"
            what = f"sqlite{name}: submit, to a storage without a search index"
            yield at_most(what, median(ratios), SUBMISSION_BOUND, detail=detail)


BENCHMARKS = (sqlite_searches, mongodb_searches, submissions_with_search)

if __name__ == "__main__":
    with TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as temporary:
        for benchmark in (sqlite_searches, mongodb_searches):
            for result in benchmark(Path(temporary), int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES):
                print(result, flush=True)

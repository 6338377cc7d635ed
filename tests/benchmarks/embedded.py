"""The embedded storages: memory, and SQLite compared to the bare driver."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median

from tests.benchmarks import bare, rows
from tests.benchmarks.load import COMMENT, in_threads, submit
from tests.benchmarks.measure import Result, at_least, at_most, command, in_turn, seconds

import harken
from harken.configuration.storage_urls import open_storage
from harken.ports.repository import Accepted
from harken_adapters.storage.sqlite.rows import to_row

MILLION = 1_000_000
IMPORTED = 300_000


def submit_on_memory(_: Path) -> Iterator[Result]:
    """One thread, the default policy, without a disk."""
    with harken.connect("memory://") as hk:
        submit(hk, 2_000)
        each = median(seconds(lambda: submit(hk, 2_000)) for _ in range(9)) / 2_000
    yield at_most("memory: submit", each * 1e6, 60, unit=" us", detail="median of 9 times 2,000")


def submit_on_sqlite(folder: Path) -> Iterator[Result]:
    """One thread. Each submission and each bare insert is one transaction."""
    with harken.connect(f"sqlite:///{folder}/ours.db") as hk:
        row = to_row(hk.submit("session-0", "down", COMMENT, agent_id="helper").feedback)
        for name, indexed in (("the same table and indexes", True), ("a table without indexes", False)):
            with bare.connection(folder / f"bare-{indexed}.db", indexed=indexed) as connection:
                others = _variants(row)
                ours, other, ratio = in_turn(
                    lambda: submit(hk, 200),
                    lambda: [bare.insert(connection, next(others)) for _ in range(200)],  # noqa: B023 - used at once
                    rounds=25,
                )
            detail = f"{ours / 200 * 1e6:.0f} us against {other / 200 * 1e6:.0f} us into {name}"
            yield at_most("sqlite: submit, one thread, to bare INSERT", ratio, 1.5, detail=detail)


def submit_from_16_threads(folder: Path) -> Iterator[Result]:
    """Group commit compared to sixteen connections that wait for the file lock."""
    with harken.connect(f"sqlite:///{folder}/ours-16.db") as hk:
        row = to_row(hk.submit("session-0", "down", COMMENT, agent_id="helper").feedback)
        path = folder / "bare-16.db"
        connections = [bare.connect(path, indexed=True) for _ in range(16)]
        others = [_variants(row, seed=number) for number in range(16)]

        def one_bare(number: int) -> None:
            for _ in range(40):
                bare.insert(connections[number], next(others[number]))

        ours, other, ratio = in_turn(
            lambda: in_threads(16, lambda _: submit(hk, 40)), lambda: in_threads(16, one_bare), rounds=7
        )
        for connection in connections:
            connection.close()
    detail = f"{640 / ours:.0f}/s against {640 / other:.0f}/s, each with 16 threads"
    yield at_least("sqlite: 16 threads through group commit, to 16 bare threads", 1 / ratio, 5, detail=detail)


def import_a_table(folder: Path) -> Iterator[Result]:
    """Parsing, validating and counting a CSV file compared to ``executemany`` of the final rows."""
    table = folder / "table.csv"
    rows.write_csv(table, IMPORTED)
    ratios, peaks = [], []
    for number in range(3):
        url = f"sqlite:///{folder}/import-{number}.db"
        run = command(url, "import", str(table))
        assert run.report["added"] == IMPORTED, run
        peaks.append(run.peak)
        finished = bare.rows_of(folder / f"import-{number}.db")
        with bare.connection(folder / f"bare-import-{number}.db", indexed=True) as connection:
            other = seconds(partial(bare.insert_many, connection, finished))
        ratios.append(other / run.report["seconds"])
    detail = f"{IMPORTED / run.report['seconds']:.0f} rows/s against {IMPORTED / other:.0f} rows/s; median of 3"
    yield at_least("sqlite: import of 300,000 rows, to bare executemany", median(ratios), 0.4, detail=detail)
    yield at_most("sqlite: memory of that import", max(peaks), 200, unit=" MB", detail="largest peak of 3")


def summarize_a_million(folder: Path) -> Iterator[Result]:
    """The summary of all feedback, with 10,000 and with 1,000,000 rows."""
    for name, url in (("memory", "memory://{}"), ("sqlite", f"sqlite:///{folder}/summary-{{}}.db")):
        times = {}
        for size in (10_000, MILLION):
            with open_storage("memory://" if name == "memory" else url.format(size)) as storage:
                entries = rows.feedback(size)
                while batch := [Accepted(one) for one in islice(entries, 5_000)]:
                    storage.feedback.add(batch)
                with harken.connect(storage) as hk:
                    assert hk.summary().total == size
                    times[size] = median(seconds(hk.summary) for _ in range(101))
        small, large = times[10_000] * 1e3, times[MILLION] * 1e3
        yield at_most(f"{name}: summary of 1,000,000", large, 5, unit=" ms", detail="median of 101")
        detail = f"{large:.3f} ms against {small:.3f} ms"
        yield at_most(f"{name}: summary of 1,000,000, to that of 10,000", large / small, 1.3, detail=detail)


def export_a_million(folder: Path) -> Iterator[Result]:
    """The peak memory of a ``harken export`` process; uses the rows of the previous benchmark."""
    for kind in ("jsonl", "csv"):
        target = folder / f"export.{kind}"
        run = command(f"sqlite:///{folder}/summary-{MILLION}.db", "export", str(target))
        with target.open("rb") as lines:
            assert sum(1 for _ in lines) == MILLION + (kind == "csv")
        detail = f"peak of the process; {run.seconds:.0f} s of processor time"
        yield at_most(f"sqlite: export of 1,000,000 as {kind}", run.peak, 150, unit=" MB", detail=detail)


def _variants(row: bare.Row, seed: int = 0) -> Iterator[bare.Row]:
    """Copies of the row with different ids."""
    for number in count():
        feedback_id = f"01a20880-9990-7{seed:03x}-9d8c-{number:012x}"
        yield (row[0], feedback_id, f"session-{number % 500}", *row[3:15], int(str(row[15])) + number, *row[16:])


BENCHMARKS = (
    submit_on_memory,
    submit_on_sqlite,
    submit_from_16_threads,
    import_a_table,
    summarize_a_million,
    export_a_million,
)

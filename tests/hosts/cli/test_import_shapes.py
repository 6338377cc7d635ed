"""Imports of real feedback in every shape, and imports that are killed, run twice at once, or read a growing file."""

import csv
import json
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import harken
from cli_processes import HARKEN
from file_shapes import FORMATS, Rows, write_shape
from shared_data import AIRLINES, needs_real_feedback
from support import PATIENCE, eventually

pytestmark = pytest.mark.slow

STARS = {"up": "5", "": "3", "down": "1"}
NAMES = ("session_id", "rating", "comment")


def airlines() -> tuple[list[str], list[list[str]]]:
    """The names of the columns of the real feedback, and its rows."""
    with AIRLINES.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


def many(count: int) -> Rows:
    """Rows of which every third repeats the previous one."""
    return [(f"s{number % 7}", "up", f"comment {number - (number % 3 == 2)}") for number in range(count)]


def with_stars(names: list[str], row: list[str]) -> list[str]:
    """The row with stars for its rating."""
    return [STARS[cell] if name == "rating" else cell for name, cell in zip(names, row, strict=True)]


def with_us_date(names: list[str], row: list[str]) -> list[str]:
    """The row with its date as in New York, where it is written with the month first."""

    def written(text: str) -> str:
        return datetime.fromisoformat(text).astimezone(ZoneInfo("America/New_York")).strftime("%m/%d/%Y %I:%M:%S %p")

    return [written(cell) if name == "created_at" else cell for name, cell in zip(names, row, strict=True)]


def unchanged(_: list[str], row: list[str]) -> list[str]:
    """The row."""
    return row


US_DATES = ("--date-format", "%m/%d/%Y %I:%M:%S %p", "--zone", "America/New_York")


@needs_real_feedback
@pytest.mark.parametrize(
    ("shape", "change", "options"),
    [
        ("semicolons", unchanged, ()),
        ("utf-16", unchanged, ()),
        ("gzip", unchanged, ()),
        ("json", unchanged, ()),
        ("xlsx", unchanged, ()),
        ("parquet", unchanged, ()),
        ("csv", with_stars, ("--scale", "stars")),
        ("csv", with_us_date, US_DATES),
    ],
)
def test_real_feedback_in_disguise(cli: Any, tmp_path: Path, shape: str, change: Any, options: tuple[str, ...]) -> None:
    """9,760 real messages have the same statistics in every shape, the same times, and a second import adds none."""
    names, rows = airlines()
    file = str(write_shape(tmp_path, shape, names, [change(names, row) for row in rows]))
    first = cli("import", file, *options, "--json")
    assert (first.code, first.json["added"], first.json["rejected"]) == (0, 9_760, 0)
    statistics = cli("stats", "--json").json
    expected = Counter(row[names.index("rating")] for row in rows)
    counted = [statistics[name] for name in ("total_feedbacks", "positive", "negative", "neutral")]
    assert counted == [9_760, expected["up"], expected["down"], expected[""]] == [9_760, 1_647, 6_087, 2_026]
    with harken.connect("sqlite:///feedback.db") as hk:
        times = Counter(one.created_at for one in hk.export())
    assert times == Counter(datetime.fromisoformat(row[names.index("created_at")]) for row in rows)
    again = cli("import", file, *options, "--json").json
    assert (again["added"], again["duplicates"]) == (0, 9_760)


@needs_real_feedback
def test_the_same_rows_in_another_shape_are_duplicates(cli: Any, tmp_path: Path) -> None:
    """Rows are identified by their content, not by their file."""
    names, rows = airlines()
    for number, shape in enumerate(("csv", "utf-16", "json", "jsonl", "xlsx", "parquet")):
        file = str(write_shape(tmp_path, shape, names, rows[:500]))
        report = cli("import", file, "--json").json
        assert (shape, report["added"], report["duplicates"]) == (shape, *((500, 0) if number == 0 else (0, 500)))


# --- interrupted imports ----------------------------------------------------------------------------------------------


def command(folder: Path, *arguments: str) -> tuple[str, ...]:
    """The command line of a command on a storage in this folder."""
    return (*HARKEN, "--storage", f"sqlite:///{folder}/feedback.db", *arguments)


def total(folder: Path) -> int:
    """The number of stored entries. Harken does not open a file that another process creates at this moment."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/feedback.db?mode=ro", uri=True)) as reader:
        return int(reader.execute("SELECT count(*) FROM feedback").fetchone()[0])
    return 0


def check(folder: Path, expected: Rows) -> None:
    """Check that each row is stored once, and that the counters of the storage are right."""
    with harken.connect(f"sqlite:///{folder}/feedback.db") as hk:
        stored = Counter((one.session_id, one.rating.word, one.comment) for one in hk.export())
        assert stored == Counter(map(tuple, expected))
        assert hk.summary().total == len(expected)
        assert hk.check() == []


@pytest.mark.parametrize("shape", FORMATS)
def test_a_killed_import_can_be_repeated(tmp_path: Path, shape: str) -> None:
    """After SIGKILL half-way, a repeated import adds the missing rows and no duplicates."""
    rows = many(12_000)
    words = command(tmp_path, "import", str(write_shape(tmp_path, shape, NAMES, rows)), "--json")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        eventually(lambda: total(tmp_path) >= 2_000)
        process.kill()
        process.wait(PATIENCE)
    before = total(tmp_path)
    assert 2_000 <= before < 12_000
    report = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert (report["read"], report["added"], report["duplicates"]) == (12_000, 12_000 - before, before)
    check(tmp_path, rows)


@pytest.mark.parametrize("shape", FORMATS)
def test_two_imports_at_once(tmp_path: Path, shape: str) -> None:
    """Each row is added by one of them."""
    rows = many(5_000)
    words = command(tmp_path, "import", str(write_shape(tmp_path, shape, NAMES, rows)), "--json")
    running = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(report["added"] for report in reports) == 5_000
    assert sum(report["duplicates"] for report in reports) == 5_000
    check(tmp_path, rows)


@pytest.mark.parametrize("shape", ["csv", "jsonl"])
def test_a_growing_file_is_imported_piece_by_piece(cli: Any, tmp_path: Path, shape: str) -> None:
    """A file that is cut off loses no row and gains none, however often it is imported.

    A last row of CSV that has all its cells is complete, so it is cut off before the last one.
    """
    rows = many(60)
    path = write_shape(tmp_path, shape, NAMES, rows)
    data = path.read_bytes()
    for end in (*range(200, len(data), 331), len(data)):
        complete, _, last = data[:end].rpartition(b"\n")
        path.write_bytes(data[:end] if shape == "jsonl" or last.count(b",") < 2 else complete + b"\n" + last[:4])
        assert cli("import", str(path)).code == 0
    check(tmp_path, rows)


def test_a_replacement_that_is_killed_can_be_repeated(tmp_path: Path) -> None:
    """Killed while it erases or imports, the same command ends with each row stored once, as its mapping says."""
    names, rows = ("session_id", "score", "comment"), [(f"s{number}", "1", f"c{number}") for number in range(6_000)]
    file = str(write_shape(tmp_path, "csv", names, rows))
    first = command(tmp_path, "import", file, "--set", "rating=neutral")
    subprocess.run(first, check=True, stdout=subprocess.DEVNULL)
    words = command(tmp_path, "import", file, "--map", "rating=score", "--rating", "1=up", "--replace", "--yes")
    for stop in (5_000, 2_000):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            eventually(lambda: process.poll() is not None or 0 < total(tmp_path) < stop)  # noqa: B023 - used at once
            process.kill()
            assert process.wait(PATIENCE) == -signal.SIGKILL
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    check(tmp_path, [(session, "up", comment) for session, _, comment in rows])

"""Replacing an import loses no stored row, and imports of the same rows are distinguished from others."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.profile import Profile, begins_with_any
from import_files import table_of
from support import eventually

pytestmark = pytest.mark.slow

URL = "sqlite:///feedback.db"
MAPPED = ("--map", "rating=stars", "--scale", "stars")
REPLACE = ("--replace", "--yes")
HEADER = "session_id,comment,stars"


def write(folder: Path, name: str, rows: Iterable[str], header: str = HEADER) -> str:
    """Write a CSV file."""
    (folder / name).write_text("".join(f"{line}\n" for line in (header, *rows)))
    return name


def survey(numbers: Iterable[int], stars: str = "5") -> list[str]:
    """Rows with a session, of five stars."""
    return [f"s{number},words {number},{stars}" for number in numbers]


def stored() -> Counter[str]:
    """How many entries of each rating are stored."""
    with harken.connect(URL) as hk:
        return Counter(one.rating.word for one in hk.collection.stream(hk.query().in_any_state()))


def unfinish() -> str:
    """Make the last import one that runs, or was killed, before it could record its counts. Returns its id."""
    with harken.connect(URL) as hk:
        one = hk.imports.list("default")[0]
        begun = hk.imports.begin("default", import_id=one.id, mapping=one.mapping, contents=one.contents or ())
        hk.imports.record(begun, harken.ImportCounts() - one.counts)
        return one.id


def imported_as_neutral(cli: Any, folder: Path, rows: Iterable[str]) -> None:
    """Import rows without their rating, as ``a.csv``, in an import ``first``."""
    ran = cli("import", write(folder, "a.csv", rows), "--set", "rating=neutral", "--import-id", "first")
    assert ran.code in (0, 3), ran.err


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=9), st.lists(st.text("ab", min_size=1), max_size=4))
def test_a_file_is_recognised_by_its_rows(rows: list[str], others: list[str]) -> None:
    """In any order, and if others or a column were added at the end; but not if one is missing or differs."""

    def profiled(texts: list[str], ending: str = "") -> tuple[Profile, Any]:
        data = "".join(f'{{"comment": "{text}"{ending}}}\n' for text in texts)
        table = stack.enter_context(table_of(data, "a.jsonl"))
        return Profile.of(table, ImportOptions()), table

    with ExitStack() as stack:
        content = profiled(rows)[0].content
        _, grown = profiled([*reversed(rows), *others], ', "tier": "gold"')
        assert list(begins_with_any(grown, [content])) == [content]
        _, other = profiled([*rows[1:], f"{rows[0]}c"])
        assert not begins_with_any(other, [content])


@pytest.mark.parametrize("import_id", ["", "a\nb", "taken"])
def test_nothing_is_erased_for_an_invalid_id(cli: Any, tmp_path: Path, import_id: str) -> None:
    """The id is checked before; it may be that of the import that is replaced."""
    taken = write(tmp_path, "b.csv", ["x,up,good"], "session_id,rating,comment")
    assert cli("import", taken, "--set", "agent_id=bot", "--import-id", "taken").code == 0
    imported_as_neutral(cli, tmp_path, survey(range(3)))
    ran = cli("import", "a.csv", *MAPPED, *REPLACE, "--import-id", import_id)
    assert (ran.code, stored()) == (2, {"neutral": 3, "up": 1}), ran.err
    ran = cli("import", "a.csv", *MAPPED, *REPLACE, "--import-id", "first", "--json")
    assert (ran.json["erased"], ran.json["added"], stored()) == (3, 3, {"up": 4})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([*survey(range(110)), *survey(range(110, 200), "x")], survey(range(100))),
        (survey(range(300)), survey(range(1, 300))),
        (survey(range(300)), survey(range(1, 400))),
        (survey(range(300)), [*survey([1000]), *survey(range(300))]),
        ([*survey([0]) * 2, *survey([1])], [*survey([0]), *survey([1]) * 2]),
    ],
    ids=["many were rejected", "a part", "the oldest is gone", "a row was put before", "other equal rows"],
)
def test_a_file_without_all_rows_replaces_nothing(cli: Any, tmp_path: Path, before: list[str], now: list[str]) -> None:
    """However many rows it has, and however many of the earlier ones were rejected."""
    assert cli("import", write(tmp_path, "a.csv", before), *MAPPED, "--import-id", "first").code in (0, 3)
    kept = stored()
    options = (*MAPPED, "--set", "agent_id=bot")
    ran = cli("import", write(tmp_path, "a.csv", now), *options)
    assert (ran.code, "import first of " in ran.err, "--replace" in ran.err) == (2, True, False)
    ran = cli("import", "a.csv", *options, *REPLACE)
    assert (ran.code, "Import first has rows of a.csv" in ran.err, stored()) == (2, True, kept), ran.err
    assert "erase --import first, and import again" in ran.err


def test_a_file_that_grew_at_its_end_replaces_the_import(cli: Any, tmp_path: Path) -> None:
    """Also if it has another name and another format."""
    imported_as_neutral(cli, tmp_path, survey(range(70)))
    ran = cli("import", write(tmp_path, "b.csv", survey(range(90))), *MAPPED, *REPLACE, "--json")
    assert (ran.json["erased"], ran.json["added"], stored()) == (70, 90, {"up": 90})


def test_equal_files_replace_the_import_of_several_only_together(cli: Any, tmp_path: Path) -> None:
    """Without sessions, equal rows of two files are different ones, so one file does not have the rows of both."""
    rows = ["good,5", "bad,1"]
    for name in ("mon.csv", "tue.csv"):
        write(tmp_path, name, rows, "comment,stars")
    assert cli("import", "mon.csv", "tue.csv", "--set", "rating=neutral", "--json").json["added"] == 4
    ran = cli("import", "mon.csv", *MAPPED, *REPLACE)
    assert (ran.code, "rows of tue.csv" in ran.err, stored()) == (2, True, {"neutral": 4})
    assert cli("import", "mon.csv", "tue.csv", *MAPPED, *REPLACE, "--json").json["added"] == 4


def test_rows_that_would_be_rejected_are_not_erased(cli: Any, tmp_path: Path) -> None:
    """Only rows that cannot be read with any mapping may be rejected: others may be stored."""
    rows = [*survey(range(60)), *survey(range(60, 70), "meh"), "too,many,cells,here"]
    for _ in range(3):
        imported_as_neutral(cli, tmp_path, rows)
    ran = cli("import", "a.csv", *MAPPED, *REPLACE)
    assert (ran.code, stored()) == (2, {"neutral": 70})
    assert "10 rows would be rejected, such as: Unknown rating 'meh'" in " ".join(ran.err.split()), ran.err
    assert "So --replace might lose rows that are stored" in ran.err
    ran = cli("import", "a.csv", *MAPPED, "--rating", "meh=neutral", *REPLACE, "--json")
    assert (ran.code, ran.json["added"], ran.json["rejected"]) == (3, 70, 1)
    ran = cli("import", "a.csv", *MAPPED, "--rating", "meh=down", *REPLACE, "--json")
    assert (ran.json["added"], stored()) == (70, {"up": 60, "down": 10})


def test_other_entries_with_the_id_of_an_import_are_not_erased(cli: Any, tmp_path: Path) -> None:
    """Such as restored ones, which keep their import id."""
    imported_as_neutral(cli, tmp_path, survey(range(5)))
    assert cli("submit", "s", "up", "--context", "import_id=first").code == 0
    ran = cli("import", "a.csv", *MAPPED, *REPLACE)
    assert (ran.code, stored()) == (2, {"neutral": 5, "up": 1})
    assert "6 entries have the id of import first, but it added 5" in " ".join(ran.err.split())


# --- imports that have not finished -----------------------------------------------------------------------------------


def test_an_unfinished_import_is_not_replaced(cli: Any, tmp_path: Path) -> None:
    """It may still be running, and would store its rows beside the new ones."""
    imported_as_neutral(cli, tmp_path, survey(range(5)))
    assert unfinish() == "first"
    for options in ((), REPLACE):
        ran = cli("import", "a.csv", *MAPPED, *options)
        assert (ran.code, stored()) == (2, {"neutral": 5})
        assert "has not finished; it may still be running" in ran.err
        assert "5 entries of it are stored" in ran.err
        assert "erase --import first" in ran.err
    assert cli("import", "a.csv", "--set", "rating=neutral", "--import-id", "first").code == 0
    assert cli("import", "a.csv", *MAPPED, *REPLACE, "--json").json["added"] == 5


def test_an_import_that_is_erased_while_it_runs_stops(tmp_path: Path) -> None:
    """It does not record itself again, and says what it stored afterwards."""
    storage = f"sqlite:///{tmp_path}/feedback.db"
    file = tmp_path / write(tmp_path, "a.csv", survey(range(40_000)))
    words = [sys.executable, "-m", "harken", "--storage", storage, "import", str(file), *MAPPED]
    with harken.connect(storage) as hk:

        def total() -> int:
            return hk.summary().total

        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            eventually(lambda: process.poll() is not None or total() > 0)
            [one] = hk.imports.list("default")
            hk.imports.erase("default", one.id)
            _, err = process.communicate()
        assert process.returncode == 3, err
        assert f"It had stored {total():,} entries since then" in " ".join(err.split())
        assert hk.imports.list("default") == []


def test_entries_of_a_killed_import_are_counted(cli: Any, tmp_path: Path) -> None:
    """Its record has no counts; it is listed with what is stored, and a repeat says how to undo both."""
    imported_as_neutral(cli, tmp_path, survey(range(5)))
    unfinish()
    assert "    5 entries stored; a.csv" in cli("imports").out
    [one] = cli("imports", "--json").json["items"]
    assert (one["id"], one["added"], one["finished_at"]) == ("first", 5, None)
    write(tmp_path, "a.csv", survey(range(7)))
    out = cli("import", "a.csv", "--set", "rating=neutral", "--import-id", "second").out
    assert "Unfinished import first has 5 entries of these files" in out
    for import_id in ("first", "second"):
        assert f"erase --import {import_id}" in out
    assert cli("erase", "--import", "first", "--yes").code == 0
    assert "first" not in cli("import", "a.csv", "--set", "rating=neutral").out


def test_the_question_counts_what_is_stored_now(cli: Any, tmp_path: Path) -> None:
    """Not what the import added: some may have been erased since."""
    imported_as_neutral(cli, tmp_path, survey(range(5)))
    assert cli("erase", "--session", "s1", "--yes").code == 0
    assert "Erase 4 entries of import first" in cli("import", "a.csv", *MAPPED, "--replace", stdin="n\n").err


# --- which imports have the same rows ---------------------------------------------------------------------------------


def test_rows_without_identity_are_those_of_a_file_with_the_same_name(cli: Any, tmp_path: Path) -> None:
    """Short comments occur in every file; other files have other rows, also with another mapping or column."""
    comments = [f"{word},5" for word in ("good", "bad", "ok")] * 100
    tiers = [f"{line},gold" for line in comments]
    write(tmp_path, "w01.csv", comments, "comment,stars")
    write(tmp_path, "w02.csv", comments, "comment,stars")
    write(tmp_path, "w03.csv", tiers, "comment,stars,tier")
    assert cli("import", "w01.csv", *MAPPED, "--set", "agent_id=berlin", "--import-id", "first").code == 0
    for name in ("w02.csv", "w03.csv"):
        ran = cli("import", name, *MAPPED, "--set", "agent_id=munich", "--json")
        assert (ran.code, ran.json["added"]) == (0, 300), ran.err
    (tmp_path / "x").mkdir()
    write(tmp_path, "x/w01.csv", tiers, "comment,stars,tier")
    ran = cli("import", "x/w01.csv", *MAPPED, "--set", "agent_id=berlin")
    assert (ran.code, "import first of " in ran.err) == (2, True)
    assert "(w01.csv, 300 rows) with other columns: 3 of 3 sampled rows are the same. Leave" in ran.err
    ran = cli("import", "w01.csv", *MAPPED, "--set", "agent_id=munich")
    assert (ran.code, "(w01.csv, 300 rows) with another mapping: 3 of 3" in ran.err) == (2, True)


@pytest.mark.parametrize("name", ["a.rejected.csv", "a.csv.csv", "a.csv.rejected.jsonl"])
def test_the_name_of_a_file_may_have_several_suffixes(cli: Any, tmp_path: Path, name: str) -> None:
    """It is recognised under its own name, and rejected rows under that of their file."""
    write(tmp_path, "a.csv", ["up,good", "uq,bad"], "rating,comment")
    assert cli("import", "a.csv").code == 3
    if name.endswith("jsonl"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("uq", "up"))
    else:
        write(tmp_path, name, ["up,good"], "rating,comment")
    assert cli("import", name, "--import-id", "first").code == 0
    ran = cli("import", name, "--set", "agent_id=bot")
    assert (ran.code, "import first" in ran.err) == (2, True), ran.out


def test_a_file_with_fewer_columns_needs_those_of_the_import(cli: Any, tmp_path: Path) -> None:
    """There is nothing to leave out."""
    header = "session_id,rating,comment,tier"
    rows = [f"s{number},up,words {number},gold" for number in range(50)]
    assert cli("import", write(tmp_path, "a.csv", rows, header)).code == 0
    narrow = [row.rpartition(",")[0] for row in rows]
    ran = cli("import", write(tmp_path, "a.csv", narrow, "session_id,rating,comment"))
    assert (ran.code, "with other columns" in ran.err, "--drop" in ran.err) == (2, True, False)
    assert "Import them with the columns of that import" in ran.err
    assert cli("import", "a.csv", *REPLACE).code == 2


def test_other_rows_under_a_used_name_are_reported(cli: Any, tmp_path: Path) -> None:
    """Equal rows of both files are stored once, unless this one is renamed; not if it only grew, or has sessions."""

    def out(*rows: str, header: str = "rating,comment", name: str = "export.csv") -> str:
        ran = cli("import", write(tmp_path, name, rows, header))
        assert ran.code == 0, ran.err
        return " ".join(ran.out.split())

    warning = "export.csv and a file of import"
    assert warning not in out("up,good", "down,bad")
    assert warning not in out("up,good", "down,bad")
    assert warning not in out("down,bad", "up,good", "up,more")
    assert warning not in out("up,fine", "up,other")
    changed = out("up,good", "up,fine", "up,new")
    assert warning in changed
    assert "have the same name, but other rows: 2 rows that are equal in both were not stored again." in changed
    assert warning not in out("up,good", "up,fine", "up,new")
    assert warning not in out("up,good", "up,fine", "up,new", name="week-2.csv")
    sessions = ("s,up", "t,up", "u,up")
    out(*sessions, header="session_id,rating")
    assert warning not in out(*sessions[1:], header="session_id,rating")

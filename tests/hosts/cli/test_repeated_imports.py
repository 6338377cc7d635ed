"""The command import on rows that exist: how rows and imports are recognised again, and what is listed and undone."""

import gzip
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Feedback

pytestmark = pytest.mark.slow


def entries(storage: str = "sqlite:///feedback.db") -> list[Feedback]:
    """All stored feedback, oldest first."""
    with harken.connect(storage) as hk:
        return list(hk.collection.stream(hk.query().in_any_state()))


def write(folder: Path, name: str, *rows: object) -> str:
    """Write rows as JSON Lines, or the first one as the text of a file."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows) if name.endswith("jsonl") else str(rows[0])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return name


# --- the registry of imports ------------------------------------------------------------------------------------------


def test_the_printed_command_undoes_any_id(cli: Any, tmp_path: Path) -> None:
    """An id with spaces and characters of a shell is quoted."""
    file = write(tmp_path, "a.csv", "session_id,rating\ns,up\n")
    ran = cli("import", file, "--import-id", "bad id; $x!")
    *_, last = ran.out.splitlines()
    words = shlex.split(last.partition("to undo it: ")[2])
    assert words[-3:] == ["erase", "--import", "bad id; $x!"]
    refused = cli("import", file, "--map", "comment=rating")
    assert (refused.code, "erase --import 'bad id; $x!'" in refused.err) == (2, True)
    assert cli(*words[-3:], "--yes").code == 0
    assert entries() == []


def test_only_imports_that_added_feedback_are_listed(cli: Any, tmp_path: Path) -> None:
    """Neither repeated ones, nor those of which all rows were rejected, nor files without rows."""
    file = write(tmp_path, "a.csv", "session_id,rating\ns,up\n")
    first = cli("import", file, "--json").json["import_id"]
    assert cli("import", file).code == 0
    assert cli("import", write(tmp_path, "header.csv", "session_id,rating\n")).code == 2
    assert cli("import", write(tmp_path, "bad.jsonl", {"rating": "up", "session_id": ["x"]})).code == 2
    assert [one["id"] for one in cli("imports", "--json").json["items"]] == [first]
    assert cli("imports").out.count("started") == 1


def test_restored_entries_are_said_not_to_be_an_import(cli: Any, tmp_path: Path) -> None:
    """The output of an import of a Harken export says that its id cannot undo it."""
    cli("submit", "s", "up")
    assert cli("export", "backup.jsonl").code == 0
    ran = cli("import", "backup.jsonl", storage="sqlite:///other.db")
    assert "Restored entries get no import id, so `erase --import` cannot undo this\n" in ran.out
    assert "to undo it" not in ran.out
    assert "Restored entries" not in cli("import", "backup.jsonl").out


# --- the identity of rows ---------------------------------------------------------------------------------------------

MONDAY = "rating,comment\nup,Great\nup,Great\ndown,Slow\nup,\n"


@pytest.mark.parametrize("options", [(), ("--set", "session_id=survey"), ("--set", "created_at=2026-01-05")])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_equal_rows_of_other_files_are_other_rows(
    cli: Any, tmp_path: Path, ending: str, options: tuple[str, ...]
) -> None:
    """Without a session, an id and a date, an opinion that two files have in common is stored for each."""
    rows = [{"rating": "up", "comment": "Great"}, {"rating": "up", "comment": "Great"}, {"rating": "down"}]
    for name in ("mon", "tue"):
        file = write(tmp_path, f"{name}.{ending}", *(rows if ending == "jsonl" else [MONDAY]))
        ran = cli("import", file, *options, "--json").json
        assert (ran["added"], ran["duplicates"]) == (ran["read"], 0)
        assert cli("import", file, *options, "--json").json["added"] == 0
    assert f"identity    by content and the file name '{name}'" in cli("import", file, *options).out
    both = cli("import", f"mon.{ending}", f"tue.{ending}", *options, "--json").json
    assert both["added"] == 0


def test_a_file_is_recognised_in_another_folder_and_compressed(cli: Any, tmp_path: Path) -> None:
    """Its name without the folder and the suffixes says which file it is; two such files at once are named."""
    assert cli("import", write(tmp_path, "mon.csv", MONDAY), "--json").json["added"] == 4
    assert cli("import", write(tmp_path, "archive/mon.csv", MONDAY), "--json").json["added"] == 0
    (tmp_path / "mon.csv.gz").write_bytes(gzip.compress(MONDAY.encode()))
    assert cli("import", "mon.csv.gz", "--json").json["added"] == 0
    rows = [{"rating": "up", "comment": "Great"}] * 2
    assert cli("import", write(tmp_path, "mon.jsonl", *rows), "--json").json["added"] == 0
    assert "mon.csv, archive/mon.csv have the same name" in cli("import", "mon.csv", "archive/mon.csv").out


def test_rows_from_stdin_are_recognised_by_content(cli: Any) -> None:
    """It has no name: what was piped once is a duplicate, and the output says so beforehand."""
    assert cli("import", "-", "--json", stdin=MONDAY).json["added"] == 4
    ran = cli("import", "-", stdin=MONDAY)
    assert "4 rows read: 0 added, 4 duplicates" in ran.out
    assert "rows that were imported from stdin before are duplicates" in " ".join(ran.out.split())


@pytest.mark.parametrize("column", ["session_id", "id", "message_id", "created_at"])
def test_equal_rows_with_an_identity_are_the_same_in_every_file(cli: Any, tmp_path: Path, column: str) -> None:
    """A session, an id or a date says that an equal row of an overlapping file is the same one."""
    text = f"{column},rating\n2026-01-05T10:00:00Z,up\n"
    assert cli("import", write(tmp_path, "mon.csv", text), "--json").json["added"] == 1
    ran = cli("import", write(tmp_path, "tue.csv", text))
    assert ("1 duplicate" in ran.out, "identity" in ran.out) == (True, False)

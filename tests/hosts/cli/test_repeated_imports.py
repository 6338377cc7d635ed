"""The command import on rows that exist: how rows and imports are recognised again, and what is listed and undone."""

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

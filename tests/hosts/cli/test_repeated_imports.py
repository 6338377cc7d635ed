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

"""``harken export --for spreadsheet``, saved again by a spreadsheet in another language, and imported."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import harken

pytestmark = pytest.mark.slow

OTHER = "sqlite:///other.db"
ENTRIES: Sequence[Mapping[str, Any]] = [
    {
        "created_at": "2026-02-16T09:05:00Z",
        "session_id": "s-1",
        "rating": "up",
        "comment": "@you = mañana; sí",
        "beta": True,
    },
    {
        "created_at": "2026-02-16T23:40:00Z",
        "session_id": "s-2",
        "rating": "down",
        "comment": 'Late,\n"again"',
        "beta": False,
    },
    {"created_at": "2026-03-02T00:00:00Z", "session_id": "s-2", "rating": None, "comment": "'=1+1", "tier": "-gold"},
    {"created_at": "2026-12-11T10:09:00Z", "session_id": "007", "rating": "down", "tags": ["a", "b"], "comment": "No"},
]


def exported(cli: Any) -> None:
    """Export the entries for a spreadsheet, as ``x.csv``."""
    lines = "".join(f"{json.dumps(entry)}\n" for entry in ENTRIES)
    assert cli("import", "-", "--format", "jsonl", stdin=lines).code == 0
    assert cli("export", "x.csv", "--for", "spreadsheet").code == 0


def save_again(path: Path, separator: str, encoding: str, end: str = "\r\n") -> None:
    """Rewrite a table as a spreadsheet does in Spain: local dates without seconds, and Boolean values in upper case."""
    header, *rows = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
    dates = header.index("created_at")
    for row in rows:
        row[dates] = f"{datetime.fromisoformat(row[dates]):%d/%m/%Y %H:%M}"
    changed = [[cell.upper() if cell in ("true", "false") else cell for cell in row] for row in rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([header, *changed])
    path.write_bytes(text.getvalue().encode(encoding))


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [
        pytest.param(";", "cp1252", id="CSV"),
        pytest.param(";", "utf-8-sig", id="CSV in UTF-8"),
        pytest.param("\t", "utf-16", id="Unicode text"),
        pytest.param(",", "utf-8", id="CSV with commas"),
    ],
)
def test_a_table_saved_again_is_imported(cli: Any, tmp_path: Path, separator: str, encoding: str) -> None:
    """Statistics and fields are equal, also by a context value; a second import adds nothing."""
    exported(cli)
    save_again(tmp_path / "x.csv", separator, encoding)
    arguments = ("import", "x.csv", "--date-format", "%d/%m/%Y %H:%M", "--encoding", encoding, "--json")
    first = cli(*arguments, storage=OTHER)
    assert (first.code, first.json["added"], first.json["rejected"]) == (0, len(ENTRIES), 0), first.err
    again = cli(*arguments, storage=OTHER)
    assert (again.json["added"], again.json["duplicates"]) == (0, len(ENTRIES))
    for command in (
        ("stats", "--json"),
        ("stats", "--by", "context.beta", "--json"),
        ("stats", "--by", "context.tier", "--json"),
        ("trends", "--by", "day", "--json"),
    ):
        assert cli(*command, storage=OTHER).json == cli(*command).json
    keys = ("session_id", "created_at", "rating", "comment", "tags")
    before, after = (
        [tuple(entry[key] for key in keys) for entry in cli("list", "--json", storage=storage).json["feedbacks"]]
        for storage in ("sqlite:///feedback.db", OTHER)
    )
    assert after == before


def test_local_dates_without_a_format_are_one_refusal(cli: Any, tmp_path: Path) -> None:
    """Which number is the day and which the month is not guessed; nothing is written."""
    exported(cli)
    save_again(tmp_path / "x.csv", ";", "utf-8-sig")
    ran = cli("import", "x.csv", storage=OTHER)
    assert ran.code == 2
    assert "--date-format" in ran.err
    assert not (tmp_path / "other.db").exists()


def test_texts_that_look_like_truths_come_back(cli: Any) -> None:
    """An export that was not changed has only duplicates, and the same texts in another storage."""
    texts = ["TRUE", "False", "true", "'TRUE", "''false", "=TRUE", "'=TRUE"]
    for number, text in enumerate(texts):
        assert cli("submit", f"s-{number}", "up", "--context", f"vip={text}").code == 0
    cli("export", "x.csv", "--for", "spreadsheet")
    assert cli("import", "x.csv", "--json").json["duplicates"] == len(texts)
    assert cli("import", "x.csv", storage=OTHER).code == 0
    with harken.connect(OTHER) as hk:
        found = {one.session_id: one.context["vip"] for one in hk.collection.stream(hk.query())}
    assert [found[f"s-{number}"] for number in range(len(texts))] == texts

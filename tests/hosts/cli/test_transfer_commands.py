"""The commands import and export."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CSV = "session_id,rating,comment\na,up,hi\nb,sideways,ho\nc,down,\n"


@pytest.mark.parametrize("target", ["feedback.db", "link.csv", "other.db"])
@pytest.mark.usefixtures("empty_storage")
def test_no_database_is_overwritten(cli: Any, tmp_path: Path, target: str) -> None:
    """Exports and rejected rows never overwrite a database, and then nothing is imported."""
    cli("submit", "s", "up", storage="sqlite:///other.db")
    (tmp_path / "link.csv").symlink_to("feedback.db")
    (tmp_path / "old.csv").write_text(CSV)
    for arguments in (("export", target, "--format", "csv"), ("import", "old.csv", "--rejected", target)):
        ran = cli(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert f"{target} is an SQLite database" in ran.err
        assert (tmp_path / target).read_bytes().startswith(b"SQLite format 3\0")
    assert cli("stats", "--json").json["total_feedbacks"] == 0
    assert cli("stats", "--json", storage="sqlite:///other.db").json["total_feedbacks"] == 1


@pytest.mark.usefixtures("empty_storage")
def test_an_export_needs_a_format(cli: Any, tmp_path: Path) -> None:
    """A name without a known suffix needs --format, as in an import."""
    ran = cli("export", "backup")
    assert (ran.code, ran.out) == (2, "")
    assert "Cannot tell the format of 'backup'; add --format with one of csv, jsonl, parquet, arrow" in ran.err
    assert not (tmp_path / "backup").exists()
    assert cli("export", "backup", "--format", "jsonl").code == 0


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_export_is_restored_exactly(cli: Any, tmp_path: Path, suffix: str) -> None:
    """An export of an imported export has the same bytes, for feedback in any state."""
    first = cli("submit", "s", "down", "=1+1\r\n'\"😡", "--author", "@ann", "--vote", "--context", "n=1", "--json")
    cli("submit", "s", "up", "--author", "@ann", "--vote")
    cli("submit", "t", "up", "--tag", "=a", "--key", "k")
    cli("moderate", "reject", first.json["id"], "--reason", "no", "--moderator", "mo")
    one, two, other = f"one.{suffix}", f"two.{suffix}", "sqlite:///other.db"
    assert cli("export", one, "--all", "--json").json == {"exported": 2, "file": one}
    assert cli("import", one, "--json", storage=other).json["added"] == 2
    assert cli("import", one, "--json", storage=other).json["duplicates"] == 2
    cli("export", two, "--all", storage=other)
    assert (tmp_path / one).read_bytes() == (tmp_path / two).read_bytes()
    assert cli("export", one).out.startswith(f"1 entry exported to {one}\n")


def test_an_export_to_stdout_is_only_the_export(cli: Any) -> None:
    """The rows are the only output on stdout, so that it can be piped."""
    cli("submit", "s", "up", "😡")
    ran = cli("export")
    assert [json.loads(line)["comment"] for line in ran.out.splitlines()] == ["😡"]
    assert ran.err == "1 entry exported\n"
    assert cli("export", "--format", "csv").out.startswith("id,created_at,session_id,")


def test_an_export_replaces_a_file_only_when_it_is_whole(cli: Any, tmp_path: Path) -> None:
    """A failed export keeps the earlier file, and leaves no temporary file."""
    cli("submit", "s", "up")
    (tmp_path / "out.csv").write_text("earlier")
    assert cli("export", "out.csv", "--limit", "1").code == 2
    assert cli("export", "out.csv", "--rating", "sideways").code == 2
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert cli("export", "no/where.csv").code == 2
    (tmp_path / "link.csv").symlink_to("out.csv")
    assert cli("export", "link.csv").code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "out.csv").read_text().startswith("id,")
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.usefixtures("empty_storage")
def test_a_device_is_written_to_and_never_replaced(cli: Any, tmp_path: Path) -> None:
    """A device, such as /dev/null, stays a device."""
    null = Path("/dev/null")
    before = null.stat().st_rdev
    (tmp_path / "null").symlink_to(null)
    assert cli("export", "null", "--format", "csv").code == 0
    assert null.stat().st_rdev == before
    assert null.is_char_device()


def test_an_export_names_the_number_of_entries_that_it_leaves_out(cli: Any, tmp_path: Path) -> None:
    """A line on stderr warns of it, as the entries may be erased after the export."""
    cli("submit", "s", "up", "--author", "dan", "--agent", "helper")
    for author in ("dan", "ann"):
        held = cli("submit", "s", "down", "Slow", "--author", author, "--json").json["id"]
        assert cli("moderate", "hold", held).code == 0
    hint = "1 entry is pending, rejected or withdrawn; to export all states, add --all\n"
    assert cli("export", "dan.jsonl", "--author", "dan").err == hint
    assert cli("export", "--author", "dan").err == f"1 entry exported\n{hint}"
    assert "2 entries are pending" in cli("export", "both.jsonl").err
    for chosen in (("--all",), ("--status", "pending"), ("--withdrawn",), ("--agent", "helper")):
        assert cli("export", "other.jsonl", *chosen).err == ""


@pytest.mark.usefixtures("empty_storage")
def test_a_missing_folder_is_named(cli: Any, tmp_path: Path) -> None:
    """The folder of an export, and that of rejected rows."""
    message = f"the folder {tmp_path}/nowhere does not exist"
    assert message in " ".join(cli("export", "nowhere/all.jsonl").err.split())
    (tmp_path / "bad.jsonl").write_text('{"session_id": [], "rating": "up"}\n{"session_id": [1], "rating": "up"}\n')
    ran = cli("import", "bad.jsonl", "--rejected", "nowhere/bad.jsonl")
    assert ran.code == 2
    assert f"{message}; choose another path with --rejected" in " ".join(ran.err.split())

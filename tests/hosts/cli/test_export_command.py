"""The command export: its formats, and what it says about them."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from harken import Feedback, StorageUnavailable
from harken_adapters.formats.arrow import write_arrow, write_parquet
from harken_adapters.hosts.cli.files import open_output
from shared_data import AIRLINES, needs_real_feedback
from support import a_feedback

pytestmark = pytest.mark.slow


def rows_of(path: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    """The rows of a CSV file, by column."""
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(encoding), newline="")))


def test_csv_says_that_it_is_for_programs(cli: Any, tmp_path: Path) -> None:
    """A text that looks like a formula is unchanged; the output names the option for spreadsheets."""
    cli("submit", "s", "up", "@you = me")
    ran = cli("export", "x.csv")
    assert ran.out == (
        "1 entry exported to x.csv\n"
        "This file is for programs; to open it in a spreadsheet, export it with --for spreadsheet\n"
    )
    [row] = rows_of(tmp_path / "x.csv")
    assert row["comment"] == "@you = me"
    assert "--for" not in cli("export", "x.jsonl").out
    assert cli("export", "x.csv", "--json").json == {"exported": 1, "file": "x.csv"}


def test_csv_for_a_spreadsheet_is_imported_without_options(cli: Any, tmp_path: Path) -> None:
    """Its statistics are equal, also by a context value; a second import adds nothing."""
    for number, rating in enumerate(("up", "down", "down", "neutral")):
        cli("submit", f"s{number}", rating, f"@you {number}", "--context", f"tier={number % 2}")
    ran = cli("export", "x.csv", "--for", "spreadsheet")
    assert "export without --for spreadsheet" in ran.out
    rows = rows_of(tmp_path / "x.csv", "utf-8-sig")
    assert len(rows) == 4
    assert {"created_at", "comment", "tier"} < rows[0].keys()
    other = "sqlite:///other.db"
    assert cli("import", "x.csv", "--json", storage=other).json["added"] == 4
    assert cli("import", "x.csv", "--json", storage=other).json["duplicates"] == 4
    for command in (("stats", "--json"), ("stats", "--by", "context.tier", "--json")):
        assert cli(*command, storage=other).json == cli(*command).json


@pytest.mark.usefixtures("empty_storage")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.jsonl", "--for", "spreadsheet"), "A file for spreadsheets is CSV; use --format csv"),
        (("x.parquet", "--for", "spreadsheet"), "A file for spreadsheets is CSV"),
        (("x.csv", "--for", "people"), "'people' is not"),
        (("x.parquet", "--pairs"), "Pairs are written as JSON Lines"),
        (("--format", "parquet", "--pairs"), "Pairs are written as JSON Lines"),
    ],
)
def test_wrong_usage(cli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, and there is no file."""
    ran = cli("export", *arguments)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.feather"])
def test_files_for_analysis(cli: Any, tmp_path: Path, name: str) -> None:
    """The suffix says the format; filters apply, and the number of entries is printed."""
    cli("submit", "s", "up", "=fine", "--agent", "helper", "--context", "tier=free")
    cli("submit", "t", "down", "No", "--agent", "helper")
    cli("submit", "u", "down", "No", "--agent", "other")
    ran = cli("export", name, "--agent", "helper")
    assert (ran.code, ran.out, ran.err) == (0, f"2 entries exported to {name}\n", "")
    read = parquet.read_table if name == "x.parquet" else lambda path: pa.ipc.open_file(path).read_all()
    rows = read(tmp_path / name).to_pylist()
    assert [(row["rating"], row["comment"], json.loads(row["context"])) for row in rows] == [
        ("up", "=fine", {"tier": "free"}),
        ("down", "No", {}),
    ]
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_file_for_analysis_in_a_pipe(cli: Any, tmp_path: Path) -> None:
    """It can be written to a pipe, which cannot be rewound."""
    cli("submit", "s", "up")
    command = [sys.executable, "-m", "harken", "--storage", "sqlite:///feedback.db", "export", "--format", "parquet"]
    done = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "x.parquet").write_bytes(done.stdout)
    assert parquet.read_table(tmp_path / "x.parquet")["session_id"].to_pylist() == ["s"]


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_a_file_for_analysis_appears_only_when_it_is_whole(tmp_path: Path, write: Any) -> None:
    """A failure keeps the earlier file, and leaves no other."""

    def broken() -> Iterator[Feedback]:
        yield a_feedback()
        raise StorageUnavailable("gone")

    path = tmp_path / "x.parquet"
    path.write_text("earlier")
    with pytest.raises(StorageUnavailable), open_output(str(path)) as data:
        write(broken(), data)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("x.parquet", "earlier")]


def test_a_missing_extra_is_named(cli: Any, tmp_path: Path) -> None:
    """Without pyarrow, Parquet names the extra, leaves no file, and other formats work."""
    cli("submit", "s", "up")
    program = "import sys; sys.modules['pyarrow'] = None; from harken_adapters.hosts.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--storage", "sqlite:///feedback.db", "export"]
    done = subprocess.run([*command, "x.parquet"], check=False, capture_output=True, text=True, cwd=tmp_path)
    message = "A file in the format parquet needs the package 'pyarrow'; try pip install \"harken[files]\""
    assert (done.returncode, " ".join(done.stderr.split())) == (2, f"Error: {message}")
    assert not list(tmp_path.glob("*x.parquet*"))
    assert subprocess.run([*command, "x.csv"], check=False, capture_output=True, cwd=tmp_path).returncode == 0


@pytest.mark.usefixtures("empty_storage")
def test_an_export_needs_a_format(cli: Any, tmp_path: Path) -> None:
    """A name without a known suffix needs --format."""
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


@pytest.mark.parametrize("target", ["feedback.db", "link.csv", "other.db"])
@pytest.mark.usefixtures("empty_storage")
def test_an_export_overwrites_no_database(cli: Any, tmp_path: Path, target: str) -> None:
    """Neither the storage itself nor another one, also through a link."""
    cli("submit", "s", "up", storage="sqlite:///other.db")
    (tmp_path / "link.csv").symlink_to("feedback.db")
    ran = cli("export", target, "--format", "csv")
    assert (ran.code, ran.out) == (2, "")
    assert f"{target} is an SQLite database" in ran.err
    assert cli("stats", "--json").json["total_feedbacks"] == 0
    assert cli("stats", "--json", storage="sqlite:///other.db").json["total_feedbacks"] == 1


@pytest.mark.usefixtures("empty_storage")
def test_a_missing_folder_of_an_export_is_named(cli: Any, tmp_path: Path) -> None:
    """The error has its path."""
    message = f"the folder {tmp_path}/nowhere does not exist"
    assert message in " ".join(cli("export", "nowhere/all.jsonl").err.split())


@needs_real_feedback
def test_real_feedback_in_both_kinds_of_csv(cli: Any, tmp_path: Path) -> None:
    """9,542 of 9,760 comments look like a formula. Each kind is restored with the same statistics."""
    cli("import", str(AIRLINES), "--rejected", str(tmp_path / "rejected.jsonl"))
    cli("export", "exact.csv")
    cli("export", "sheet.csv", "--for", "spreadsheet")
    comments = sorted(row["comment"] for row in rows_of(AIRLINES))
    assert sorted(row["comment"] for row in rows_of(tmp_path / "exact.csv")) == comments
    guarded = [row["comment"] for row in rows_of(tmp_path / "sheet.csv", "utf-8-sig") if row["comment"][:1] == "'"]
    assert len(guarded) == 9542
    for name in ("exact", "sheet"):
        storage = f"sqlite:///{name}.db"
        assert cli("import", f"{name}.csv", "--json", storage=storage).json["added"] == 9760
        for command in (("stats", "--json"), ("stats", "--by", "context.timezone", "--json")):
            assert cli(*command, storage=storage).json == cli(*command).json

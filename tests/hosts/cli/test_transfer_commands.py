"""The commands import and export."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared_data import AIRLINES, REVIEWS, needs_real_feedback

pytestmark = pytest.mark.slow

CSV = "session_id,rating,comment\na,up,hi\nb,sideways,ho\nc,down,\n"


def test_an_import_prints_counts(cli: Any, tmp_path: Path) -> None:
    """Rejected rows are written to a file, each with its line and the reason; the exit code is 0."""
    (tmp_path / "old.csv").write_text(CSV)
    ran = cli("import", "old.csv", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == {
        "read": 3,
        "added": 1,
        "duplicates": 0,
        "rejected": 2,
        "rejected_file": "old.csv.rejected.jsonl",
        "seconds": ran.json["seconds"],
    }
    assert [json.loads(line) for line in (tmp_path / "old.csv.rejected.jsonl").read_text().splitlines()] == [
        {
            "line": 3,
            "reason": "Invalid rating: sideways. Must be 'up', 'down', or None",
            "row": {"session_id": "b", "rating": "sideways", "comment": "ho"},
        },
        {
            "line": 4,
            "reason": "Please provide a comment when giving negative feedback",
            "row": {"session_id": "c", "rating": "down", "comment": ""},
        },
    ]
    again = cli("import", "old.csv")
    assert "3 rows read: 0 added, 1 duplicate, 2 rejected" in again.out
    assert "old.csv.rejected.jsonl" in again.out


def test_without_rejected_rows_no_file_is_created(cli: Any, tmp_path: Path) -> None:
    """The file of rejected rows is created with the first of them."""
    assert cli("import", "-", "--format", "csv", "--json", stdin="session_id\ns\n").json["rejected_file"] is None
    assert not list(tmp_path.glob("*.jsonl"))


def test_an_import_without_rejects_removes_those_of_an_earlier_one(cli: Any, tmp_path: Path) -> None:
    """When a corrected file is imported, the file of rejected rows is removed."""
    file, rejects = tmp_path / "old.csv", tmp_path / "old.csv.rejected.jsonl"
    file.write_text(CSV)
    cli("import", "old.csv")
    assert rejects.exists()
    file.write_text("session_id\ns\n")
    again = cli("import", "old.csv")
    assert (again.code, again.out.partition(":")[0]) == (0, "1 row read")
    assert not rejects.exists()


@pytest.mark.parametrize(
    "content",
    ["", "notes\n", '{"line": 1, "reason": "", "row": 1}\n{"line": 2}\n', '{"line": 1, "reason": "", "row": 1}\n\xff'],
)
def test_an_import_removes_nothing_else(cli: Any, tmp_path: Path, content: str) -> None:
    """A file with other content, and one given with --rejected, is kept."""
    (tmp_path / "old.csv").write_text("session_id\ns\n")
    other, named = tmp_path / "old.csv.rejected.jsonl", tmp_path / "named.jsonl"
    other.write_text(content, encoding="latin-1")
    named.write_text('{"line": 1, "reason": "", "row": 1}\n')
    cli("import", "old.csv", "--rejected", "named.jsonl")
    assert cli("import", "old.csv").code == 0
    assert (other.read_text(encoding="latin-1"), named.exists()) == (content, True)


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


def test_an_import_that_rejects_all_rows_fails(cli: Any, tmp_path: Path) -> None:
    """The exit code is 3; it is 0 if at least one row was added or is a duplicate."""
    (tmp_path / "nonsense.jsonl").write_text('nonsense\n[1]\n"x"\n')
    ran = cli("import", "nonsense.jsonl")
    assert ran.code == 3
    assert ran.out.startswith("3 rows read: 0 added, 0 duplicates, 3 rejected; ")
    message = "All 3 rows were rejected, nothing was imported; see nonsense.jsonl.rejected.jsonl for the reasons"
    assert ran.err == f"Error: {message}\n"
    ran = cli("import", "nonsense.jsonl", "--json")
    assert (ran.code, ran.json["rejected"]) == (3, 3)
    assert (ran.error["error"], ran.error["message"]) == ("NothingAccepted", message)
    assert cli("import", "feedback.db", "--format", "jsonl").code == 3
    (tmp_path / "some.jsonl").write_text('nonsense\n{"session_id": "s", "rating": "up"}\n')
    for _ in range(2):
        assert cli("import", "some.jsonl").code == 0
    (tmp_path / "empty.jsonl").write_text("")
    assert cli("import", "empty.jsonl").code == 0


def test_import_from_stdin(cli: Any, tmp_path: Path) -> None:
    """- reads stdin; rejected rows go to stdin.rejected.jsonl or the path given with --rejected."""
    assert cli("import", "-", "--format", "csv", "--json", stdin=CSV).json["rejected_file"] == "stdin.rejected.jsonl"
    cli("import", "-", "--format", "csv", "--rejected", "bad.jsonl", stdin=CSV)
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope.csv",), "Cannot read nope.csv: No such file"),
        (("old.txt",), "Cannot tell the format of 'old.txt'; add --format csv or --format jsonl"),
        (("old.csv", "--map", "comment"), "'comment' has no '='"),
        (("old.csv", "--map", "comment=words"), "Column 'words', which is mapped to comment, is missing"),
        (("old.csv", "--set", "colour=red"), "Unknown field 'colour'"),
        (("old.csv", "--rejected", "old.csv"), "would overwrite the input file"),
        (("old.csv", "--rejected", "no/where"), "choose another path with --rejected"),
        (("anonymous.csv",), "--set session_id=VALUE; the columns are 'rating'"),
    ],
)
def test_wrong_usage_says_what_to_type(cli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, the error says what to change, and the input is unchanged."""
    (tmp_path / "old.csv").write_text(CSV)
    (tmp_path / "old.txt").write_text(CSV)
    (tmp_path / "anonymous.csv").write_text("rating\nup\n")
    ran = cli("import", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert (tmp_path / "old.csv").read_text() == CSV


def test_spam_is_imported_unless_checked(cli: Any) -> None:
    """Imports skip the spam filter, unless --check-spam is given."""
    row = "session_id,comment\ns,click here they said\n"
    strict = cli("import", "-", "--format", "csv", "--check-spam", "--json", stdin=row).json
    assert (strict["added"], strict["rejected"]) == (0, 1)
    assert cli("import", "-", "--format", "csv", "--json", stdin=row).json["added"] == 1


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


@needs_real_feedback
def test_statistics_of_real_feedback(cli: Any, tmp_path: Path) -> None:
    """9,760 real messages: exact statistics, the same sums by day in New York, and no duplicates."""
    file = str(AIRLINES)
    rejected = ("--rejected", str(tmp_path / "rejected.jsonl"))
    assert cli("import", file, *rejected, "--json").json["added"] == 9760
    statistics = cli("stats", "--json").json
    assert [statistics[key] for key in ("total_feedbacks", "positive", "negative", "neutral")] == [
        9760,
        1647,
        6087,
        2026,
    ]
    assert (statistics["satisfaction_score"], statistics["quality_score"]) == (21.3, 27.3)
    points = cli("trends", "--zone", "America/New_York", "--json").json["points"]
    for key in ("total_feedbacks", "positive", "negative", "neutral", "comments"):
        assert sum(point[key] for point in points) == statistics[key]
    again = cli("import", file, *rejected, "--json").json
    assert (again["added"], again["duplicates"], again["rejected"]) == (0, 9760, 0)


@needs_real_feedback
def test_repeated_reviews_are_all_imported(cli: Any, tmp_path: Path) -> None:
    """2,000 real reviews, of which 13 have the same text as another one."""
    arguments = ("import", str(REVIEWS), "--rejected", str(tmp_path / "rejected.jsonl"), "--json")
    assert cli(*arguments, "--set", "session_id=reviews").json["added"] == 2000
    assert cli(*arguments, "--set", "session_id=reviews").json["duplicates"] == 2000
    assert cli(*arguments).code == 2


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
    (tmp_path / "bad.jsonl").write_text("nonsense\n")
    ran = cli("import", "bad.jsonl", "--rejected", "nowhere/bad.jsonl")
    assert ran.code == 2
    assert f"{message}; choose another path with --rejected" in " ".join(ran.err.split())

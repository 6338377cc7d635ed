"""The files of rejected rows: no import overwrites or removes a file, and none ends half-way without saying so."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harken

ROWS = "session_id,rating\na,up\nb,sideways\n"
REJECTS = "b.csv.rejected.jsonl"
EARLIER = "b.csv.rejected.1.jsonl"


@pytest.fixture
def rejected(cli: Any, tmp_path: Path) -> Path:
    """The file of the rejected row of ``b.csv``."""
    (tmp_path / "b.csv").write_text(ROWS)
    assert cli("import", "b.csv").code == 3
    return tmp_path / REJECTS


def sessions(application: str = "default") -> Sequence[str]:
    """The sessions with feedback."""
    with harken.connect("sqlite:///feedback.db", application=application) as hk:
        return sorted(one.session_id for one in hk.export())


# --- files of earlier imports -----------------------------------------------------------------------------------------


def test_corrected_rows_survive_a_repeated_import(cli: Any, rejected: Path) -> None:
    """They get another name, which is printed; a further import with the same rejected rows leaves both as they are."""
    # An editor may leave a blank line.
    rejected.write_text(rejected.read_text().replace("sideways", "down") + "\n")
    ran = cli("import", "b.csv")
    assert (ran.code, f"Rejected rows of an earlier run differ, and are now in {EARLIER}\n" in ran.out) == (3, True)
    before = rejected.stat().st_mtime_ns
    again = cli("import", "b.csv", "--json").json
    assert (again["files"][0]["rejected_file"], again["files"][0]["earlier_rejected_file"]) == (REJECTS, None)
    assert rejected.stat().st_mtime_ns == before
    assert [path.name for path in sorted(rejected.parent.glob("*.jsonl"))] == [EARLIER, REJECTS]
    assert cli("import", EARLIER, "--json").json["added"] == 1
    assert sessions() == ["a", "b"]


def test_each_earlier_file_gets_a_free_name(cli: Any, rejected: Path) -> None:
    """Also if the next name is that of another file, such as one of notes."""
    notes = rejected.with_name(EARLIER)
    notes.write_text("notes")
    texts = []
    for word in ("down", "up"):
        rejected.write_text(rejected.read_text().replace("sideways", word))
        texts.append(rejected.read_text())
        assert cli("import", "b.csv").code == 3
    names = [f"b.csv.rejected.{number}.jsonl" for number in (1, 2, 3)]
    assert [rejected.with_name(name).read_text() for name in names] == ["notes", *texts]


def test_rejected_rows_of_a_file_that_grew_are_added(cli: Any, rejected: Path) -> None:
    """If the earlier rows are the first of the new ones, no other file is needed."""
    before = rejected.read_text()
    (rejected.parent / "b.csv").write_text(f"{ROWS}c,up\nd,meh\n")
    assert cli("import", "b.csv", "--json").json["files"][0]["earlier_rejected_file"] is None
    assert rejected.read_text().startswith(before)
    assert len(rejected.read_text().splitlines()) == 2


@pytest.mark.parametrize("options", [(), ("--rejected", REJECTS), ("--application", "shop")])
def test_an_import_without_rejected_rows_keeps_those_of_an_earlier_one(
    cli: Any, rejected: Path, options: tuple[str, ...]
) -> None:
    """The output says that they are from an earlier run."""
    before = rejected.read_text()
    (rejected.parent / "b.csv").write_text("session_id,rating\na,up\n")
    ran = cli("import", "b.csv", *options)
    assert (ran.code, f"{REJECTS} is from an earlier run; this one rejected nothing\n" in ran.out) == (0, True)
    assert cli("import", "b.csv", "--json").json["files"][0]["earlier_rejected_file"] == REJECTS
    assert rejected.read_text() == before


@pytest.mark.parametrize("content", ["notes\n", '[columns]\nrating = "score"\n', '{"id": 1}\n', "notes \xff\n"])
@pytest.mark.parametrize("rows", [ROWS, "session_id,rating\na,up\n"])
@pytest.mark.usefixtures("empty_storage")
def test_another_file_is_refused(cli: Any, tmp_path: Path, content: str, rows: str) -> None:
    """Before the first row is stored, whether or not rows would be rejected; by default and with --rejected."""
    (tmp_path / "b.csv").write_text(rows)
    for name, options in ((REJECTS, ()), ("harken.rules", ("--rejected", "harken.rules"))):
        (tmp_path / name).write_text(content, encoding="latin-1")
        ran = cli("import", "b.csv", *options)
        assert (ran.code, ran.out) == (2, "")
        assert f"{name} exists, and is not a file of rejected rows; choose another path with --rejected" in ran.err
        assert (tmp_path / name).read_text(encoding="latin-1") == content
    assert sessions() == []


@pytest.mark.usefixtures("empty_storage")
def test_links_and_folders_are_refused(cli: Any, tmp_path: Path) -> None:
    """Replacing a link would lose it, also one to nothing. An empty file is used."""
    (tmp_path / "b.csv").write_text(ROWS)
    (tmp_path / "rejects.jsonl").touch()
    (tmp_path / "link").symlink_to("rejects.jsonl")
    (tmp_path / "loose").symlink_to("nowhere.jsonl")
    for name, problem in (("link", "is a link"), ("loose", "is a link"), (".", "is a folder"), ("/", "is a folder")):
        ran = cli("import", "b.csv", "--rejected", name)
        assert (ran.code, f"{name} {problem}" in ran.err) == (2, True), ran.err
    assert sessions() == []
    assert cli("import", "-", "--rejected", "rejects.jsonl", "--json", stdin="session_id,rating\na,up\n").code == 0
    assert (tmp_path / "rejects.jsonl").read_text() == ""
    assert cli("import", "b.csv", "--rejected", "rejects.jsonl").code == 3
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 1


def test_a_dry_run_writes_nothing(cli: Any, rejected: Path) -> None:
    """Neither rejected rows nor a remark on those of an earlier import."""
    rejected.write_text(rejected.read_text().replace("sideways", "down"))
    before = rejected.read_text()
    ran = cli("import", "b.csv", "--dry-run", "--json")
    files = ran.json["files"][0]
    assert (ran.code, files["rejected_file"], files["earlier_rejected_file"]) == (3, None, None)
    assert ([*rejected.parent.glob("*.jsonl")], rejected.read_text()) == ([rejected], before)


# --- applications -----------------------------------------------------------------------------------------------------


def test_corrected_rows_are_not_imported_into_another_application(cli: Any, tmp_path: Path) -> None:
    """They are rejected there, with what to add; rejected rows keep the application of their import."""
    (tmp_path / "b.csv").write_text(ROWS)
    assert cli("--application", "shop", "import", "b.csv").code == 3
    path = tmp_path / REJECTS
    path.write_text(path.read_text().replace("sideways", "down"))
    ran = cli("import", REJECTS)
    assert (ran.code, sessions()) == (2, [])
    assert "it belongs to application 'shop'; import it with --application shop" in " ".join(ran.out.split())
    assert json.loads((tmp_path / f"{REJECTS}.rejected.jsonl").read_text())["application"] == "shop"
    assert cli("--application", "shop", "import", REJECTS).code == 0
    assert sessions("shop") == ["a", "b"]


# --- what cannot be written or read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "problem"),
    [("nowhere/b.jsonl", "nowhere does not exist"), ("b.csv/b.jsonl", "Not a directory"), ("b" * 250, "too long")],
)
@pytest.mark.usefixtures("empty_storage")
def test_a_path_that_cannot_be_written_is_refused(cli: Any, tmp_path: Path, path: str, problem: str) -> None:
    """Before the first row is stored; the error has the path, and the option for another one."""
    (tmp_path / "b.csv").write_text(ROWS)
    ran = cli("import", "b.csv", "--rejected", path)
    assert (ran.code, ran.out, sessions()) == (2, "", [])
    assert f"Cannot write rejected rows to {path}: " in ran.err
    assert (problem in ran.err, "choose another path with --rejected" in ran.err) == (True, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_error_while_rejected_rows_are_written(cli: Any, tmp_path: Path) -> None:
    """The error names the file, and says how many rows were stored and how to undo that; the exit code is 1."""
    (tmp_path / "b.csv").write_text(ROWS)
    ran = cli("import", "b.csv", "--rejected", "/dev/full", "--import-id", "first")
    assert ran.code == 1
    assert "Cannot write rejected rows to /dev/full: No space left on device. 1 row was stored; repeat" in ran.err
    assert ran.err.rstrip().endswith(" erase --import first")
    assert sessions() == ["a"]
    assert cli("import", "b.csv", "--json").json["duplicates"] == 1


def test_an_input_that_is_truncated_while_it_is_read(cli: Any, tmp_path: Path) -> None:
    """The error says how many rows were stored, and a repeated import adds the others; the exit code is 1."""
    rows = [f"s{number},{'up' if number % 2 else 'meh'},{'x' * 600}\n" for number in range(3_000)]
    file, pipe = tmp_path / "b.csv", tmp_path / "pipe"
    text = "".join(["session_id,rating,comment\n", *rows])
    file.write_text(text)
    os.mkfifo(pipe)

    def truncate_then_read() -> None:
        # The import opens the pipe when the first rows are stored, and waits, as it has no room for all rejected rows.
        with pipe.open("rb") as written:
            os.truncate(file, 100)
            written.read()

    reader = threading.Thread(target=truncate_then_read)
    reader.start()
    ran = cli("import", "b.csv", "--rejected", str(pipe), "--rating", "up=up")
    reader.join()
    assert ran.code == 1
    assert "b.csv was overwritten while it was read; import it again when it is complete. 500 rows were" in ran.err
    file.write_text(text)
    again = cli("import", "b.csv", "--rating", "up=up", "--json").json
    assert (again["added"], again["duplicates"]) == (1_000, 500)

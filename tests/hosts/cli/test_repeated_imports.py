"""The command import on rows that exist: how rows and imports are recognised again, and what is listed and undone."""

import csv
import gzip
import io
import json
import shlex
from collections.abc import Sequence
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
    """Write objects as JSON Lines, or texts as they are."""
    text = "".join(row if isinstance(row, str) else f"{json.dumps(row)}\n" for row in rows)
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
    """The output of an import of a Harken export says that no id undoes only that; entries keep an earlier id."""
    assert cli("import", write(tmp_path, "a.csv", "session_id,rating\ns,up\n"), "--import-id", "first").code == 0
    assert cli("export", "backup.jsonl").code == 0
    ran = cli("import", "backup.jsonl", storage="sqlite:///other.db")
    assert "Restored entries keep their import id, if any, and get no new one; no id undoes only this\n" in ran.out
    assert [one.context["import_id"] for one in entries("sqlite:///other.db")] == ["first"]
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


def test_rows_from_stdin_are_recognised_by_content(cli: Any, tmp_path: Path) -> None:
    """It has no name: what was piped once is a duplicate, and the output says so, but not of a file of that name."""
    assert cli("import", "-", "--json", stdin=MONDAY).json["added"] == 4
    ran = cli("import", "-", stdin=MONDAY)
    assert "4 rows read: 0 added, 4 duplicates" in ran.out
    assert "rows that were imported from stdin before are duplicates" in " ".join(ran.out.split())
    write(tmp_path, "stdin.csv", MONDAY)
    assert "by content and the file name 'stdin'" in cli("import", "stdin.csv").out


@pytest.mark.parametrize("column", ["session_id", "id", "message_id", "created_at"])
def test_equal_rows_with_an_identity_are_the_same_in_every_file(cli: Any, tmp_path: Path, column: str) -> None:
    """A session, an id or a date says that an equal row of an overlapping file is the same one."""
    text = f"{column},rating\n2026-01-05T10:00:00Z,up\n"
    assert cli("import", write(tmp_path, "mon.csv", text), "--json").json["added"] == 1
    ran = cli("import", write(tmp_path, "tue.csv", text))
    assert ("1 duplicate" in ran.out, "by content: equal rows of several files" in ran.out) == (True, True)


# --- corrected rows ---------------------------------------------------------------------------------------------------


def correct(folder: Path, name: str, wrong: str, right: str) -> str:
    """Replace a text in a file of rejected rows."""
    path = folder / f"{name}.rejected.jsonl"
    assert wrong in path.read_text()
    path.write_text(path.read_text().replace(wrong, right))
    return path.name


@pytest.mark.parametrize("header", ["rating,comment", "session_id,rating"])
def test_a_corrected_row_that_is_equal_to_another_is_stored(cli: Any, tmp_path: Path, header: str) -> None:
    """As it would have been if the file had been correct; and once, however often the corrected rows are imported."""
    value = "up,Great" if header.startswith("rating") else "s,up"
    wrong = value.replace("up", "uq")
    file = write(tmp_path, "a.csv", f"{header}\n" + f"{value}\n" * 3 + f"{wrong}\n" * 2)
    assert cli("import", file).code == 3
    rejects = correct(tmp_path, file, '"uq"', '"up"')
    assert cli("import", rejects, "--json").json["added"] == 2
    assert cli("import", rejects, "--json").json["duplicates"] == 2
    assert len(entries()) == 5


def test_a_row_with_a_date_is_the_same_in_the_file_and_corrected(cli: Any, tmp_path: Path) -> None:
    """It is stored once, if both the file and its rejected rows are corrected."""
    text = "rating,created_at\nuq,2026-01-05T10:00:00Z\nup,2026-01-06T10:00:00Z\n"
    file = write(tmp_path, "a.csv", text)
    cli("import", file)
    assert cli("import", correct(tmp_path, file, '"uq"', '"up"'), "--json").json["added"] == 1
    assert cli("import", write(tmp_path, "a.csv", text.replace("uq", "up")), "--json").json["duplicates"] == 2


@pytest.mark.parametrize("correction", ["up", "uq"])
def test_rejected_rows_never_overwrite_an_input_file(cli: Any, tmp_path: Path, correction: str) -> None:
    """A file and its corrected rows are not imported at once, as the corrections would be overwritten or removed."""
    file = write(tmp_path, "a.csv", "session_id,rating\ns,up\nt,uq\n")
    assert cli("import", file).code == 3
    rejects = correct(tmp_path, file, '"uq"', '"down"')
    write(tmp_path, "a.csv", f"session_id,rating\ns,up\nt,{correction}\n")
    before = (tmp_path / rejects).read_text()
    for files in ((file, rejects), (rejects, file), ("a.csv*",)):
        ran = cli("import", *files)
        assert (ran.code, "overwrite the input file a.csv.rejected.jsonl; import that" in ran.err) == (2, True), ran.err
    assert (tmp_path / rejects).read_text() == before
    assert len(entries()) == 1


@pytest.mark.parametrize(
    ("name", "text", "correction"),
    [
        ("a.csv", "session_id,rating,comment\ns,up,a\nt,down,Slow, late\n", ("Slow, late", "Slow; late")),
        ("a.csv", "session_id;rating;comment\ns;up;a\nt;down;Slow; late\n", ("Slow; late", "Slow late")),
        (
            "a.jsonl",
            '{"session_id":"s","rating":"up"}\n{"session_id":"t","rating":"down"\n',
            ('\\"down\\"', '\\"down\\"}'),
        ),
    ],
)
def test_a_corrected_text_is_read_as_in_its_file(
    cli: Any, tmp_path: Path, name: str, text: str, correction: tuple[str, str]
) -> None:
    """A row that could not be read is a text in the file of rejected rows; uncorrected, it stays one."""
    cli("import", write(tmp_path, name, text))
    again = cli("import", f"{name}.rejected.jsonl")
    assert again.code == 2
    again_rejected = (tmp_path / f"{name}.rejected.jsonl.rejected.jsonl").read_text()
    first = json.loads((tmp_path / f"{name}.rejected.jsonl").read_text().splitlines()[0])
    second = json.loads(again_rejected.splitlines()[0])
    assert {**second, "reason": ""} == {**first, "reason": ""}
    assert cli("import", correct(tmp_path, f"{name}.rejected.jsonl", *correction)).code == 0
    assert {one.session_id: one.rating.word for one in entries()} == {"s": "up", "t": "down"}


@pytest.mark.parametrize(
    ("text", "right", "options"),
    [
        (
            "stars,text,when\n5,a,01/02/2026\n1,b,02/02/2026\n7,c,03/02/2026\n",
            "1",
            (
                "--map",
                "rating=stars",
                "--map",
                "comment=text",
                "--scale",
                "stars",
                "--map",
                "created_at=when",
                "--date-format",
                "%d/%m/%Y",
                "--zone",
                "Europe/Madrid",
            ),
        ),
        ("rating,comment\n1,a\n0,b\n7,c\n1,d\n1,e\n0,f\n", "1", ("--rating", "1=up", "--rating", "0=down")),
        ("rating,comment,email\nup,a,x@y\ndown,b,x@y\n7,c,x@y\n", "down", ("--drop", "email", "--set", "agent_id=bot")),
        ("rating,comment,email\nup,a,x@y\ndown,b,x@y\n7,c,x@y\n", "down", ("--context", "none")),
    ],
)
def test_rejected_rows_carry_the_options_of_their_import(
    cli: Any, tmp_path: Path, text: str, right: str, options: tuple[str, ...]
) -> None:
    """So they are imported without options, and read as they would have been in the file."""
    file = write(tmp_path, "a.csv", text)
    assert cli("import", file, *options).code == 3
    rejects = correct(tmp_path, file, '"7"', f'"{right}"')
    assert cli("import", rejects).code == 0
    corrected = {(one.rating, one.comment, one.agent_id, tuple(one.context)) for one in entries()}
    with harken.connect("sqlite:///other.db"):
        pass
    (tmp_path / "right").mkdir()
    write(tmp_path, "right/a.csv", text.replace("7,", f"{right},"))
    assert cli("import", "right/a.csv", *options, storage="sqlite:///other.db").code == 0
    assert corrected == {
        (one.rating, one.comment, one.agent_id, tuple(one.context)) for one in entries("sqlite:///other.db")
    }


def test_rejected_rows_of_numbers_are_read_as_beside_the_others(cli: Any, tmp_path: Path) -> None:
    """1 and 0 were thumbs in the file, so a 1 alone is one too; uncorrected rows do not refuse the corrected ones."""
    file = write(
        tmp_path,
        "a.csv",
        "session_id,rating,created_at\na,1,2026-01-05\nb,0,2026-01-05\nc,1,05/01/2026\nd,1,x\ne,0,2026-01-06\n",
    )
    assert cli("import", file, "--json").json["rejected"] == 2
    ran = cli("import", correct(tmp_path, file, "05/01/2026", "2026-01-05"))
    assert (ran.code, {one.session_id: one.rating.word for one in entries()}["c"]) == (3, "up")


def test_rejected_rows_of_other_imports_keep_their_options_and_place(cli: Any, tmp_path: Path) -> None:
    """Rows of several imports in one file are rejected with what an import of them alone needs."""
    for name, scale in (("a.csv", "stars"), ("b.csv", "nps")):
        text = f"session_id,rating\nr-{name},99\ns-{name},1\n"
        assert cli("import", write(tmp_path, name, text), "--scale", scale).code == 3
    text = "".join((tmp_path / f"{name}.rejected.jsonl").read_text() for name in ("a.csv", "b.csv"))
    (tmp_path / "both.jsonl").write_text(text)
    assert cli("import", "both.jsonl").code == 2
    _, other = map(json.loads, (tmp_path / "both.jsonl.rejected.jsonl").read_text().splitlines())
    assert (other["file"], other["line"], other["mapping"]["scale"]) == ("b.csv", 2, "nps")


def test_options_given_with_rejected_rows_override(cli: Any, tmp_path: Path) -> None:
    """The options of the command line have precedence over those of the rejected rows."""
    file = write(tmp_path, "a.csv", "session_id,rating\na,5\nb,9\n")
    assert cli("import", file, "--scale", "stars").code == 3
    assert cli("import", f"{file}.rejected.jsonl", "--scale", "nps").code == 0
    assert {one.session_id: one.rating.word for one in entries()} == {"a": "up", "b": "up"}


# --- other options, and other columns ---------------------------------------------------------------------------------

SURVEY = "session_id,stars,comment,created_at\n" + "".join(
    f"s{number},{number % 2},words {number},2026-01-{number % 28 + 1:02}\n" for number in range(200)
)
MAPPED = ("--map", "rating=stars")


@pytest.mark.parametrize(
    "options",
    [
        ("--scale", "0..1"),
        ("--rating", "1=up", "--rating", "0=down"),
        ("--zone", "utc"),
        ("--context", "all"),
        ("--map", "comment=comment"),
    ],
)
def test_options_that_change_nothing_are_the_same_mapping(cli: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A mapping is what was understood: whether it was said or found makes no difference."""
    file = write(tmp_path, "a.csv", SURVEY)
    assert cli("import", file, *MAPPED, "--import-id", "i").code == 0
    again = cli("import", file, *MAPPED, *options, "--import-id", "i", "--json")
    assert (again.code, again.json["added"], again.json["duplicates"]) == (0, 0, 200), again.err
    assert cli("import", file, *MAPPED, "--json").json["added"] == 0


def test_the_same_options_are_the_same_mapping_of_a_growing_file(cli: Any, tmp_path: Path) -> None:
    """Also when more members and other ratings occur in it."""
    rows = [{"session_id": str(number), "rating": 1} for number in range(10)]
    rows.append({"session_id": "x", "rating": 0, "email": "w@y"})
    more = {"session_id": "y", "rating": "down", "comment": "late", "email": "x@y", "tier": "gold"}
    options = ("--drop", "email", "--rating", "1=up", "--rating", "0=down")
    assert cli("import", write(tmp_path, "a.jsonl", *rows), *options, "--json").json["added"] == 11
    again = cli("import", write(tmp_path, "a.jsonl", *rows, more), *options, "--json")
    assert (again.code, again.json["added"]) == (0, 1), again.err


@pytest.mark.parametrize(
    "header", ["session_id,rating,comment", "rating,comment,created_at", "id,rating", "rating,comment"]
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_rows_with_another_column_exist(cli: Any, tmp_path: Path, header: str, ending: str) -> None:
    """A column that was added to a file would store all rows twice; --replace stores them once, with the column."""
    values = {"rating": "up", "created_at": "2026-01-05T10:00:00Z"}
    rows = [{name: values.get(name, f"{name} {number}") for name in header.split(",")} for number in range(150)]

    def file(*lines: Any) -> str:
        text = "".join(f"{','.join(line)}\n" for line in [lines[0].keys(), *(line.values() for line in lines)])
        return write(tmp_path, f"a.{ending}", *(lines if ending == "jsonl" else [text]))

    cli("import", file(*rows), "--import-id", "first")
    wider = [{**row, "tier": "gold"} for row in [*rows, {name: values.get(name, "new") for name in header.split(",")}]]
    ran = cli("import", file(*wider))
    assert (ran.code, "These rows were already stored by import first of " in ran.err) == (2, True)
    assert "150 rows) with other columns: 64 of 64 sampled rows are the same. Leave the other columns out" in ran.err
    assert cli("import", file(*wider), "--drop", "tier", "--json").json["added"] == 1
    ran = cli("import", file(*wider), "--replace", "--yes", "--json")
    assert (ran.code, ran.json["erased"], ran.json["added"]) == (0, 151, 151)
    assert cli("import", file(*wider), "--json").json["added"] == 0


def test_an_empty_column_changes_no_row(cli: Any, tmp_path: Path) -> None:
    """Nor does a column that was dropped and is no longer in the file."""
    cli("import", write(tmp_path, "a.csv", "session_id,rating,email\ns,up,x@y\nt,down,z@y\n"), "--drop", "email")
    for text in ("session_id,rating\ns,up\nt,down\n", "session_id,tier,rating\ns,,up\nt,,down\n"):
        ran = cli("import", write(tmp_path, "a.csv", text), "--json")
        assert (ran.code, ran.json["duplicates"]) == (0, 2), ran.err


def test_other_rows_with_other_columns_are_imported(cli: Any, tmp_path: Path) -> None:
    """An equal rating, or a few equal comments of many, show nothing."""
    first = "rating,comment\n" + "".join(f"up,words {number}\n" for number in range(50)) + "up,good\n"
    second = "rating,comment,tier\n" + "".join(f"up,more {number},x\n" for number in range(50)) + "up,good,x\n"
    assert cli("import", write(tmp_path, "mon.csv", first)).code == 0
    assert cli("import", write(tmp_path, "tue.csv", second), "--json").json["added"] == 51


def test_a_part_of_the_rows_without_the_new_column_is_imported(cli: Any, tmp_path: Path) -> None:
    """Other columns are left out with --drop, as the message says, also if other ratings occur in the part."""
    rows = [f"s{number},{('up', 'down')[number % 2]},words {number}" for number in range(100)]
    cli("import", write(tmp_path, "a.csv", "session_id,rating,comment\n" + "".join(f"{row}\n" for row in rows)))
    wider = "session_id,rating,comment,tier\n" + "".join(f"{row},gold\n" for row in rows if ",up," in row)
    file = write(tmp_path, "a.csv", wider)
    assert "other columns" in cli("import", file).err
    assert cli("import", file, "--drop", "tier", "--json").json["duplicates"] == 50


# --- tables for spreadsheets ------------------------------------------------------------------------------------------


def exported(cli: Any) -> None:
    """Store three entries, and export them for a spreadsheet as ``x.csv``."""
    entry = {"session_id": "s", "author": "ann", "agent_id": "bot", "tags": ["a", "b"], "comment": "=1 and\n more"}
    more = {"created_at": "2026-01-05T10:00:42Z", "beta": True, "turns": 3, "tier": "-gold", "rating": "up"}
    lines = "".join(f"{json.dumps(one)}\n" for one in (entry | more, {"rating": "down", "tier": "x"}, {"rating": None}))
    assert cli("import", "-", "--format", "jsonl", stdin=lines).code == 0
    cli("submit", "t", "down", "Too slow", "--context", "ratio=0.5")
    assert cli("export", "x.csv", "--for", "spreadsheet").code == 0


def test_a_table_for_spreadsheets_doubles_nothing_where_it_is_from(cli: Any, tmp_path: Path) -> None:
    """Its rows have the ids of the stored entries, however they were stored and saved again."""
    exported(cli)
    ran = cli("import", "x.csv")
    assert "4 rows read: 0 added, 4 duplicates, 0 rejected" in ran.out
    assert "by 'harken_id': an entry that is stored is not stored again" in ran.out
    rows = csv.reader(io.StringIO((tmp_path / "x.csv").read_text("utf-8-sig"), newline=""))
    saved = io.StringIO(newline="")
    changes = {"true": "TRUE", "2026-01-05 10:00:42": "2026-01-05 10:00", "3": "3.0"}
    csv.writer(saved, delimiter=";").writerows([changes.get(cell, cell) for cell in row] for row in rows)
    (tmp_path / "saved.csv").write_text(saved.getvalue(), newline="")
    ran = cli("import", "saved.csv")
    assert "4 rows read: 0 added, 4 duplicates, 0 rejected" in ran.out
    assert len(entries()) == 4


def test_a_table_for_spreadsheets_of_an_imported_file(cli: Any, tmp_path: Path) -> None:
    """Its rows are recognised by their ids, although it has other columns than the file of the import."""
    rows = "".join(f"s{number},up,words {number},2026-01-05 10:00:42,gold\n" for number in range(20))
    cli("import", write(tmp_path, "a.csv", f"session_id,rating,comment,created_at,tier\n{rows}"))
    assert cli("export", "x.csv", "--for", "spreadsheet").code == 0
    ran = cli("import", "x.csv", "--json")
    assert (ran.code, ran.json["duplicates"], ran.json["files"][0]["identity"]) == (0, 20, "harken_id"), ran.err


def test_a_changed_row_of_a_stored_entry_is_reported(cli: Any, tmp_path: Path) -> None:
    """It neither changes the entry nor adds another one; the reason says what differs and what to do."""
    exported(cli)
    path = tmp_path / "x.csv"
    path.write_text(path.read_text("utf-8-sig").replace("Too slow", "Much too slow"))
    ran = cli("import", "x.csv")
    assert (ran.code, "4 rows read: 0 added, 3 duplicates, 1 rejected" in ran.out) == (3, True)
    out = " ".join(ran.out.split())
    assert "is stored with another 'comment', which an import does not change; erase it and import the row again" in out
    rejected = json.loads((tmp_path / "x.csv.rejected.jsonl").read_text())["row"]
    assert cli("erase", rejected["harken_id"], "--yes").code == 0
    assert cli("import", "x.csv.rejected.jsonl", "--json").json["added"] == 1
    assert max(one.comment for one in entries()) == "Much too slow"
    assert len(entries()) == 4
    new = {**rejected, "harken_id": "", "comment": "New"}
    assert cli("import", write(tmp_path, "new.jsonl", new), "--json").json["added"] == 1


def resave(name: str, columns: Sequence[str] | None = None, **cells: str) -> str:
    """Save ``x.csv`` under another name, with these columns, and with these cells in all rows."""
    with Path("x.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [{**row, **cells} for row in csv.DictReader(file)]
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or [*rows[0]], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return name


def test_columns_that_were_removed_from_a_table_for_spreadsheets_are_not_compared(cli: Any) -> None:
    """Its rows are duplicates, whichever columns are left, if those are unchanged."""
    exported(cli)
    for left in (["comment"], ["rating", "session_id"], ["rating", "created_at", "agent_id", "tags", "tier"]):
        ran = cli("import", resave("y.csv", [*left, "harken_id"]), "--json")
        assert (ran.code, ran.json["duplicates"]) == (0, 4), ran.out


def test_every_change_of_a_stored_entry_is_reported(cli: Any) -> None:
    """Also of its sentiment, of cells that were emptied, and of text that only looks like an equal number."""
    row = "007,3.0,0.5,0.25,gold,2026-01-05T10:00:42Z"
    header = "session_id,comment,sentiment_polarity,sentiment_subjectivity,tier,created_at"
    assert cli("import", "-", stdin=f"{header}\n{row}\n").code == 0
    assert cli("export", "x.csv", "--for", "spreadsheet").code == 0
    assert cli("import", resave("y.csv", sentiment_polarity="0.50"), "--json").json["duplicates"] == 1
    changes = {
        "session_id": "7e0",
        "comment": "3",
        "sentiment_polarity": "-0.9",
        "sentiment_subjectivity": "0.26",
        "tier": "",
        "created_at": "",
    }
    for name, cell in changes.items():
        ran = cli("import", resave("y.csv", **{name: cell}))
        assert f"is stored with another '{name}', which" in " ".join(ran.out.split()), name


def test_a_table_for_spreadsheets_is_imported_elsewhere(cli: Any) -> None:
    """Where its ids are not stored, its rows are new entries, once; the ids are not in their context."""
    exported(cli)
    for expected in (4, 0):
        assert cli("import", "x.csv", "--json", storage="sqlite:///other.db").json["added"] == expected
    assert all("harken_id" not in one.context for one in entries("sqlite:///other.db"))


def test_a_corrected_text_of_a_table_for_spreadsheets_has_no_guards(cli: Any, tmp_path: Path) -> None:
    """The apostrophe that an export put before a formula is removed from it too."""
    text = "session_id,rating,comment,harken_id\ns,up,'=1,\nt,up,'=2\nu,up,'=3,\n"
    (tmp_path / "x.csv").write_text(text)
    assert cli("import", "x.csv").code == 3
    (tmp_path / "y.csv").write_text(text.replace("t,up,'=2", "t,up,'=2,,,,x"))
    assert cli("import", "y.csv").code == 3
    assert cli("import", correct(tmp_path, "y.csv", "'=2,,,,x", "'=2,")).code == 0
    assert {one.comment for one in entries()} == {"=1", "=2", "=3"}

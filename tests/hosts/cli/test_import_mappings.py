"""The command import on rows that exist, with options or beside other rows that change what they mean."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import harken
from harken.configuration.storage_urls import open_storage

pytestmark = pytest.mark.slow


def write(folder: Path, name: str, text: str) -> str:
    """Write a file."""
    (folder / name).write_text(text, encoding="utf-8")
    return name


def stored() -> list[tuple[str, str]]:
    """The session and the rating of each entry."""
    with harken.connect("sqlite:///feedback.db") as hk:
        return [(one.session_id, one.rating.word) for one in hk.collection.stream(hk.query().in_any_state())]


def test_options_that_change_a_rating_are_another_mapping(cli: Any, tmp_path: Path) -> None:
    """Beside -1, a 0 is neutral; that 1 and 0 are thumbs in other files makes no difference."""
    file = write(tmp_path, "a.csv", "session_id,rating\na,1\nb,0\nc,-1\n")
    assert cli("import", file).code == 0
    ran = cli("import", file, "--rating", "1=up", "--rating", "0=down")
    assert (ran.code, "sampled rows are the same. Import with the options of that import" in ran.err) == (2, True)
    assert cli("import", file, "--rating", "1=up", "--rating", "0=neutral", "--json").json["duplicates"] == 3
    assert len(stored()) == 3


def test_a_row_that_changes_what_others_mean_is_refused(cli: Any, tmp_path: Path) -> None:
    """A 0 was a thumbs-down before there was a -1. The message says how the new row is added."""
    rows = "session_id,rating\na,1\nb,0\n"
    assert cli("import", write(tmp_path, "a.csv", rows)).code == 0
    file = write(tmp_path, "a.csv", f"{rows}c,-1\n")
    ran = cli("import", file)
    assert (ran.code, "Say what their ratings and columns meant with --rating and --map" in ran.err) == (2, True)
    assert cli("import", file, "--rating", "0=down", "--json").json["added"] == 1
    assert stored() == [("a", "up"), ("b", "down"), ("c", "down")]


@pytest.mark.parametrize(
    ("row", "first", "second"),
    [
        ({"meta": {"text": "hi"}, "rating": "up"}, (), ("--map", "comment=meta.text")),
        ({"meta": {"text": "hi", "mail": "x"}, "rating": "up"}, (), ("--drop", "meta.mail")),
        ({"text": "hi", "rating": "up"}, (), ("--drop", "text")),
        ({"rating": "up"}, (), ("--set", "agent_id=bot")),
        ({"rating": "up", "created_at": "2026-01-05 10:00"}, ("--zone", "Asia/Tokyo"), ("--zone", "Europe/Madrid")),
    ],
)
def test_every_option_that_changes_a_row_is_another_mapping(
    cli: Any, tmp_path: Path, row: dict[str, Any], first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """Also if a column of the options is inside an object; the same options again are the same mapping."""
    file = write(tmp_path, "a.jsonl", f"{json.dumps({'session_id': 's', **row})}\n")
    assert cli("import", file, *first).code == 0
    assert "with another mapping" in cli("import", file, *second).err
    assert cli("import", file, *first, "--json").json["duplicates"] == 1
    assert len(stored()) == 1


def test_rejected_rows_do_not_let_other_files_pass(cli: Any, tmp_path: Path) -> None:
    """Only the rows that were rejected from a file may be read in another way than its import did."""
    file = write(tmp_path, "c.csv", "session_id,rating\na,5\nb,1\nc,9\n")
    assert cli("import", file, "--scale", "stars").code == 3
    (tmp_path / f"{file}.rejected.jsonl").rename(tmp_path / "fixed.jsonl")
    for files in ((file,), (file, "fixed.jsonl"), ("fixed.jsonl", file)):
        ran = cli("import", *files, "--scale", "nps")
        assert (ran.code, "with another mapping" in ran.err) == (2, True), files
    assert cli("import", "fixed.jsonl", "--scale", "nps").code == 0
    assert sorted(stored()) == [("a", "up"), ("b", "down"), ("c", "up")]


NUMBERS = "session_id,stars,created_at\na,1,2026-01-05\nb,0,2026-01-05\n"
WORDS = "session_id,rating,tier\nc,up,gold\nd,down,gold\n"


def test_options_that_mean_the_same_for_one_file_of_an_import(cli: Any, tmp_path: Path) -> None:
    """Files that were imported together can be imported alone, and those that continued an import too."""
    one, other = write(tmp_path, "a.csv", NUMBERS.replace("stars", "rating")), write(tmp_path, "b.csv", WORDS)
    assert cli("import", one, other).code == 0
    for arguments in ((one, "--zone", "utc"), (one, "--scale", "0..1"), (other, "--context", "all")):
        assert cli("import", *arguments, "--json").json["duplicates"] == 2, arguments
    for file in (one, other):
        assert cli("import", file, "--import-id", "i").code == 0
    assert cli("import", one, "--scale", "0..1", "--import-id", "i", "--json").json["duplicates"] == 2
    assert "with another mapping" in cli("import", one, "--rating", "0=neutral").err
    assert len(stored()) == 4


def test_other_files_with_the_same_options_continue_an_import(cli: Any, tmp_path: Path) -> None:
    """Even if a number means something else in them. With other options, that is another mapping."""
    first = write(tmp_path, "a.csv", "session_id,rating\na,1\nb,0\n")
    second = write(tmp_path, "b.csv", "session_id,rating\nc,1\nd,0\ne,-1\n")
    assert cli("import", first, "--import-id", "i").code == 0
    assert cli("import", second, "--import-id", "i", "--rating", "1=up").code == 2
    assert cli("import", second, "--import-id", "i").code == 0
    assert dict(stored()) == {"a": "up", "b": "down", "c": "up", "d": "neutral", "e": "down"}


#: What the records of the first version have.
EARLIER = {"application", "started_at", "finished_at", "files", "mapping_digest", "sample", "counts"}


def test_the_record_of_an_earlier_version_is_read(cli: Any, tmp_path: Path) -> None:
    """It says nothing about the meaning of columns and values, so only the same options are the same mapping.

    Nor does it say which rows were read, so it is not replaced.
    """
    file = write(tmp_path, "a.csv", "session_id,rating,comment\na,1,x\nb,0,y\n")
    assert cli("import", file, "--import-id", "old").code == 0
    with open_storage("sqlite:///feedback.db") as storage:
        [entry] = storage.state.all("import:default")
        value = {name: entry.value[name] for name in EARLIER}
        assert storage.state.put("import:default", evolve(entry, value=value, version=entry.version + 1))
    assert [one["id"] for one in cli("imports", "--json").json["items"]] == ["old"]
    for options in (
        ("--scale", "0..1"),
        ("--scale", "0..1", "--import-id", "old"),
        ("--drop", "comment"),
        ("--scale", "0..1", "--replace", "--yes"),
    ):
        assert (cli("import", file, *options).code, len(stored())) == (2, 2)
    for options in ((), ("--import-id", "old"), ()):
        assert cli("import", file, *options, "--json").json["duplicates"] == 2


def test_a_column_that_was_added_to_some_files_of_an_import(cli: Any, tmp_path: Path) -> None:
    """Beside files that stayed the same, or with all others, its rows are refused as well."""

    def file(name: str, *, ending: str = "") -> str:
        header = "session_id,rating,comment" + (",tier" if ending else "")
        rows = [f"{name}{number},up,words {name}{number}{ending}" for number in range(30)]
        return write(tmp_path, f"{name}{'w' if ending else ''}.csv", "\n".join([header, *rows, ""]))

    files, wider = [file("a"), file("b")], [file("a", ending=",gold"), file("b", ending=",gold")]
    assert cli("import", *files).code == 0
    for names in (wider, wider[:1], [files[0], wider[1]]):
        assert "rows are the same. Leave the other columns out with --drop" in cli("import", *names).err
    assert cli("import", *wider, "--drop", "tier", "--json").json["duplicates"] == 60


def test_files_with_dates_that_share_some_rows(cli: Any, tmp_path: Path) -> None:
    """Without sessions and ids, some rows of a day are equal by chance: other files may be mapped in another way."""
    common = [f"2026-01-{day:02},up,ok" for day in range(1, 6)]

    def rows(place: str) -> str:
        own = [f"2026-01-{day:02},down,{place} {day}" for day in range(1, 16)]
        return "\n".join(["created_at,rating,comment", *common, *own, ""])

    for place in ("berlin", "munich"):
        file = write(tmp_path, f"{place}.csv", rows(place))
        assert cli("import", file, "--set", f"agent_id={place}", "--json").json["added"] == 20
    ran = cli("import", "munich.csv", "--set", "agent_id=berlin")
    assert (ran.code, "with another mapping" in ran.err) == (2, True)
    assert len(stored()) == 40

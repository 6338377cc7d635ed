"""The command import: files whose meaning is easily mistaken, and mistakes in options."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

import harken
from harken import Feedback

pytestmark = pytest.mark.slow


def write(folder: Path, name: str, text: str | bytes) -> str:
    """Write a file. Returns its name."""
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def entries() -> list[Feedback]:
    """All stored feedback, oldest first."""
    with harken.connect("sqlite:///feedback.db") as hk:
        return list(hk.collection.stream(hk.query().in_any_state()))


def one_line(text: str) -> str:
    """The text without line ends."""
    return " ".join(text.split())


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["45123.5", "45123,5"])
def test_days_of_a_spreadsheet_in_a_csv_file(cli: Any, tmp_path: Path, number: str) -> None:
    """They are not seconds of 1970, also if the program that saved them writes decimal commas."""
    out = cli("import", write(tmp_path, "a.csv", f"rating;created_at\nup;{number}\n")).out
    assert "'created_at': Excel serial numbers, 2023-07-16; those without" in out
    assert [one.created_at for one in entries()] == [datetime(2023, 7, 16, 12, tzinfo=UTC)]


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_numbers_that_are_not_dates_are_refused(cli: Any, tmp_path: Path, of: str) -> None:
    """The refusal says what numbers mean, and how to leave the column out; a single one is a rejected row."""
    rows = {"csv": "rating,created_at\nup,12\n", "jsonl": '{"rating": "up", "created_at": 12}\n'}
    ran = cli("import", file := write(tmp_path, f"a.{of}", rows[of]))
    assert ran.code == 2
    assert "The dates in 'created_at' cannot be read, such as '12': a number must be seconds" in one_line(ran.err)
    assert "add --drop created_at, or read others with --map created_at=COLUMN" in one_line(ran.err)
    assert cli("import", file, "--drop", "created_at").code == 0
    ran = cli(
        "import", write(tmp_path, "b.csv", "rating,created_at\nup,2026-01-02\nup,2026-01-03\ndown,12\n"), "--json"
    )
    assert (ran.code, ran.json["added"], ran.json["rejected"]) == (3, 2, 1)
    assert "a spreadsheet day number, from 2000 to 2099" in ran.json["reasons"][0]["reason"]


def test_dates_in_the_future_are_pointed_out(cli: Any, tmp_path: Path) -> None:
    """The column may be read wrongly. It is not refused, as clocks of other programs may be wrong."""
    for year, expected in ((2015, 0), (2098, 1)):
        out = cli("import", write(tmp_path, "a.csv", f"rating,created_at\nup,{year}-01-02\n")).out
        assert out.count("  The last date in 'created_at', 2098-01-02, is in the future\n") == expected


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_rows_without_a_date_are_counted(cli: Any, tmp_path: Path, of: str) -> None:
    """Before the first row is stored, in the totals of what was added, and in the document."""
    dates = ["2026-01-01", "", ""]
    rows = {
        "csv": "rating,created_at\n" + "".join(f"up,{date}\n" for date in dates),
        "jsonl": "".join(f"{json.dumps({'rating': 'up', 'created_at': date})}\n" for date in dates),
    }
    file = write(tmp_path, f"a.{of}", rows[of])
    out = cli("import", file).out
    assert "ISO 8601, 2026-01-01; those without a zone are in UTC; 2 rows are dated now" in one_line(out)
    assert "\n2 rows without a date, dated now\n" in out
    again = cli("import", file, "--json").json
    assert (again["files"][0]["rows_without_date"], again["undated"], again["duplicates"]) == (2, 0, 3)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_utf8(cli: Any, tmp_path: Path) -> None:
    """Such a file is imported; what cannot be printed is replaced."""
    name = b"a\xff.csv".decode("utf-8", "surrogateescape")
    write(tmp_path, name, "rating,comment\nup,hello\n")
    ran = cli("import", name)
    assert (ran.code, "a\ufffd.csv: CSV" in ran.out) == (0, True)
    assert cli("imports", "--json").json["items"][0]["files"] == ["a\ufffd.csv"]


def test_other_sheets_are_named(cli: Any, tmp_path: Path) -> None:
    """When the first one is read, and when it has no feedback."""
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
        for name, row in {"About": ["title"], "Reviews": ["rating"], "Old": ["rating"]}.items():
            book.add_worksheet(name).write_column(0, 0, [*row, "up"])
    ran = cli("import", "a.xlsx")
    assert ran.code == 2
    assert "or a comment in sheet 'About' (--sheet reads another: 'Reviews', 'Old')" in one_line(ran.err)
    assert "a.xlsx: Excel (.xlsx), sheet 'Reviews'; 1 row\n" in cli("import", "a.xlsx", "--sheet", "Reviews").out


def test_a_file_without_a_line_break_at_its_end_is_named(cli: Any, tmp_path: Path) -> None:
    """Its last row may be cut off in the last cell, which cannot be seen; it is imported, and said before."""
    said = "a.csv does not end with a line break. Its last row is imported nevertheless"
    file = write(tmp_path, "a.csv", "session_id,comment\ns,hello\nt,hel")
    for arguments in ((file, "--dry-run"), (file,)):
        assert said in one_line(cli("import", *arguments).out)
    assert cli("import", file, "--json").json["files"][0]["ends_without_line_break"]
    assert {one.comment for one in entries()} == {"hello", "hel"}
    write(tmp_path, "a.csv", "session_id,comment\ns,hello\nt,hel\n")
    assert said not in one_line(cli("import", file).out)
    file = write(tmp_path, "a.jsonl", '{"session_id": "s", "comment": "hello"}')
    assert "line break" not in cli("import", file).out


def test_a_detected_encoding_is_pointed_out(cli: Any, tmp_path: Path) -> None:
    """Where the sample shows whether it is right; not if it is Unicode or was named."""
    text = "rating,comment\nup,È tutto più bello\n"
    hint = "; 1 row; encoding detected; if the sample looks wrong, add --encoding NAME"
    file = write(tmp_path, "a.csv", text.encode("cp1252"))
    assert cli("import", file).out.startswith(f"a.csv: CSV, cp1252, separated by ','{hint}\n")
    assert "detected" not in cli("import", file, "--encoding", "cp1252").out
    lines = json.dumps({"rating": "up", "comment": "più"}, ensure_ascii=False)
    assert cli("import", write(tmp_path, "a.jsonl", lines.encode("cp1252"))).out.startswith(
        f"a.jsonl: JSON Lines, cp1252{hint}\n"
    )
    assert f"cp1252{hint}\n" in cli("import", write(tmp_path, "a.json", f"[{lines}]".encode("cp1252"))).out
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert "detected" not in cli("import", write(tmp_path, "b.csv", text.encode(encoding))).out
    assert {one.content.comment for one in entries()} == {"È tutto più bello", "più"}


def test_the_comments_of_a_survey_are_found(cli: Any, tmp_path: Path) -> None:
    """The names of the second row of SurveyMonkey are those of columns: a comment is one."""
    names = "Respondent ID,Rating,,Features,,\n,Response,Comment,Search,Chat,Reports\n"
    ran = cli("import", write(tmp_path, "a.csv", f"{names}7,up,so good,Search,,Reports\n8,down,bad,,Chat,\n"))
    assert (ran.code, "1 row after the header left out" in ran.out) == (0, True)
    assert sorted(one.content.comment or "" for one in entries()) == ["bad", "so good"]
    assert {name for one in entries() for name in one.context} >= {"Features_Search", "Chat", "Reports"}


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--map rating=a --map rating=b", "--map has two values for 'rating': 'a' and 'b'; leave out one"),
        ("--set agent_id=a --set agent_id=b", "--set has two values for 'agent_id': 'a' and 'b'; leave out one"),
        ("--rating 5=up --rating 5=down", "--rating has two values for '5': 'up' and 'down'; leave out one"),
        ("--rating 5=up --rating 5.0=down", "--rating has two values for '5': 'up' and 'down'; leave out one"),
    ],
)
def test_an_option_with_two_values_for_a_name_is_refused(cli: Any, tmp_path: Path, options: str, message: str) -> None:
    """Neither of them is ignored silently. The same value twice is accepted."""
    file = write(tmp_path, "a.csv", "a,b\nup,5\n")
    ran = cli("import", file, *options.split())
    assert (ran.code, message in one_line(ran.err)) == (2, True)
    assert cli("import", file, "--map", "rating=a", "--map", "rating=a").code == 0


def test_a_context_value_that_is_given_twice_is_refused(cli: Any) -> None:
    """Also by other commands."""
    ran = cli("submit", "session-1", "up", "--context", "tier=free", "--context", "tier=paid")
    assert ran.code == 2
    assert "--context has two values for 'tier': 'free' and 'paid'; leave out one" in one_line(ran.err)


@pytest.mark.parametrize("of", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--drop emial",
            "Column 'emial' of --drop is missing (did you mean 'email'?); the columns are 'rating', 'email'",
        ),
        ("--only email --only teir", "Column 'teir' of --only is missing (did you mean 'tier'?); the columns are"),
        ("--only teir", "No column of --only, such as 'teir', is in the file (did you mean 'tier'?); the columns are"),
    ],
)
def test_a_column_to_leave_out_that_is_misspelt_is_refused(
    cli: Any, tmp_path: Path, of: str, options: str, message: str
) -> None:
    """Otherwise personal data could be imported."""
    rows = {
        "csv": "rating,email,tier\nup,a@example.com,gold\n",
        "jsonl": '{"rating": "up", "email": "a@example.com", "tier": "gold"}\n',
    }
    ran = cli("import", write(tmp_path, f"a.{of}", rows[of]), *options.split())
    assert ran.code == 2
    assert message in one_line(ran.err)
    assert not (tmp_path / "feedback.db").exists()


def test_a_column_to_leave_out_may_be_in_one_of_several_files(cli: Any, tmp_path: Path) -> None:
    """So exports of several versions of a program are imported together."""
    files = [write(tmp_path, "a.csv", "rating,email\nup,a\n"), write(tmp_path, "b.csv", "rating,tier\nup,a\n")]
    assert cli("import", *files, "--drop", "email").code == 0
    assert sorted(name for one in entries() for name in one.context) == ["import_id", "import_id", "tier"]


def test_a_preset_drops_columns_of_several_versions(cli: Any, tmp_path: Path) -> None:
    """That another version has a similar name is not pointed out."""
    row = {"value": 1, "stringValue": "True", "traceId": "t", "createdAt": "2026-01-01", "timestamp": "2026-01-01"}
    out = cli("import", write(tmp_path, "a.jsonl", f"{json.dumps(row)}\n"), "--from", "langfuse").out
    assert "left out 'createdAt' absent" in one_line(out)
    assert "to drop" not in out


def test_a_rating_that_occurs_in_no_row_is_named(cli: Any, tmp_path: Path) -> None:
    """It may be misspelt."""
    file = write(tmp_path, "a.csv", "rating\nyes\nno\ngood\n")
    out = cli("import", file, "--rating", "goood=up", "--rating", "YES=up", "--rating", "other=down").out
    assert "  No row has the rating 'goood' of --rating (did you mean 'good'?)\n" in out
    assert out.count("No row has") == 1


LANGFUSE = "id,traceId,value,comment,timestamp,name\ns,t,{value},hi,{time},q\n"


def test_only_columns_that_occur_are_understood(cli: Any, tmp_path: Path) -> None:
    """Of the alternatives of a preset; fields without a column are listed."""
    file = write(tmp_path, "a.csv", LANGFUSE.format(value=1, time="2026-01-01"))
    out = cli("import", file, "--from", "langfuse", "--rating", "1=up").out
    assert "  rating              'value': up 1 (1), down 0, neutral 0\n" in out
    assert "  absent              'traceName' (agent_id), 'authorUserId' or 'author_user_id' or" in out


@pytest.mark.parametrize(
    ("value", "time", "message"),
    [
        ("3", "2026-01-01", "The ratings in 'value' are ambiguous: 3 (1)"),
        ("-1", "31/01/2026", "The dates in 'timestamp' cannot be read"),
    ],
)
def test_the_refusal_of_a_preset_names_the_column_of_the_file(
    cli: Any, tmp_path: Path, value: str, time: str, message: str
) -> None:
    """Not another one that the preset knows."""
    ran = cli("import", write(tmp_path, "a.csv", LANGFUSE.format(value=value, time=time)), "--from", "langfuse")
    assert (ran.code, message in one_line(ran.err)) == (2, True)


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_with_the_name_of_the_same_field_are_refused(cli: Any, tmp_path: Path, of: str) -> None:
    """Neither is taken silently; mapping or leaving out one of them decides."""
    rows = {"csv": "Rating,rating\nup,down\n", "jsonl": '{"Rating": "up"}\n{"rating": "down"}\n'}
    file = write(tmp_path, f"a.{of}", rows[of])
    ran = cli("import", file)
    assert ran.code == 2
    expected = "Columns 'Rating' and 'rating' may each be the rating. Choose one with --map rating=Rating, or leave out"
    assert expected in one_line(ran.err)
    for options in (("--map", "rating=Rating"), ("--drop", "rating")):
        assert cli("import", file, *options, "--dry-run", "--json").json["files"][0]["fields"] == {"rating": "Rating"}


def test_an_export_for_spreadsheets_has_no_two_columns_of_a_field(cli: Any) -> None:
    """A context name that is similar to the name of a field can be imported."""
    cli("submit", "s", "up", "--context", "Rating=5", "--context", "sessionId=x")
    cli("export", "a.csv", "--for", "spreadsheet")
    assert cli("import", "a.csv", storage="sqlite:///other.db").code == 0
    with harken.connect("sqlite:///other.db") as hk:
        [one] = hk.collection.stream(hk.query())
    assert {name: one.context[name] for name in ("Rating", "sessionId")} == {"Rating": "5", "sessionId": "x"}


def test_columns_without_a_name_are_shown_if_they_have_a_value(cli: Any, tmp_path: Path) -> None:
    """Spreadsheets save empty columns; what is in one is kept."""
    out = cli("import", write(tmp_path, "a.csv", "rating,,,\nup,,,\ndown,,,\n")).out
    assert "context" not in out
    out = cli("import", write(tmp_path, "b.csv", "rating,author,,\nup,ann,,\nup,bob,,x\n")).out
    assert "  context     '_2'\n" in out
    assert [one.context["_2"] for one in entries() if "_2" in one.context] == ["x"]


@pytest.mark.parametrize("title", ["", "Survey of May,,\n"])
def test_names_in_the_next_row_are_pointed_out(cli: Any, tmp_path: Path, title: str) -> None:
    """The option that is proposed reads the file."""
    file = write(tmp_path, "a.csv", f"{title}How was it?,Why?,When?\nrating,comment,created_at\nup,so,2026-01-02\n")
    ran = cli("import", file)
    assert ran.code == 2
    option = f"--skip-rows {2 if title else 1}"
    assert f"Add {option} if the names are in the next row, or --map rating=COLUMN" in one_line(ran.err)
    assert cli("import", file, *option.split()).code == 0


def test_a_title_above_two_columns_is_pointed_out(cli: Any, tmp_path: Path) -> None:
    """It could be the name of the only column, with comments that have a comma. The option proposed reads the file."""
    file = write(tmp_path, "a.csv", "Title only\nrating,comment\nup,x\n")
    ran = cli("import", file)
    assert ran.code == 2
    assert "The first row has 1 cell, but the following ones have 2; if it is not the row of" in one_line(ran.err)
    assert "leave it out with --skip-rows 1, else" in one_line(ran.err)
    assert cli("import", file, "--skip-rows", "1").code == 0
    assert [one.content.comment for one in entries()] == ["x"]


def test_counts_of_cells_are_in_words(cli: Any, tmp_path: Path) -> None:
    """One is singular."""
    for text, reason in {
        "comment\nx\na,b\n": "the row has 2 cells, but there is 1 column; is",
        "a,b,rating\n1,2,up\n1\n": "the row has 1 cell, but there are 3 columns",
    }.items():
        reasons = cli("import", write(tmp_path, "a.csv", text), "--json").json["reasons"]
        assert [one["reason"].startswith(reason) for one in reasons] == [True]


# --- rows that cannot be read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("csv", 'rating,comment\nup,a\nup,b,c\nup,"x\n'),
        ("jsonl", '{"rating": "up"}\n{"rating"}\n[1]\n'),
        ("json", '[{"rating": "up"}, 5, {"rating": "up", "rating": "up"}]'),
    ],
)
def test_the_rows_counted_beforehand_are_those_of_the_result(cli: Any, tmp_path: Path, of: str, text: str) -> None:
    """Those that cannot be read are part of both, and are counted beforehand."""
    out = cli("import", file := write(tmp_path, f"a.{of}", text)).out
    assert out.splitlines()[0].endswith("; 3 rows, of which 2 cannot be read")
    assert "\n3 rows read: 1 added, 0 duplicates, 2 rejected; " in out
    report = cli("import", file, "--json").json
    assert (report["files"][0]["rows"], report["files"][0]["unreadable_rows"], report["read"]) == (3, 2, 3)


@pytest.mark.parametrize(
    ("cell", "separator", "hint"),
    [
        ("a,b", ",", "is a text with ',' in it not in quotes?"),
        ("a\tb", "\t", "is a text with a tab in it not in quotes?"),
        ('"a "b" c"', ",", "is a quote missing or not doubled?"),
        (r'"a \"b\" c"', ",", 'a quote in a text must be doubled, as in "a ""b"" c", not written with a backslash'),
    ],
)
def test_wrong_quoting_is_explained(cli: Any, tmp_path: Path, cell: str, separator: str, hint: str) -> None:
    """In the reason for the row."""
    rows = separator.join(["up", "so"]), separator.join(["up", cell])
    file = write(tmp_path, "a.csv", "\n".join([separator.join(["rating", "comment"]), *rows, ""]))
    reasons = cli("import", file, "--json").json["reasons"]
    assert [one["reason"].endswith(hint) for one in reasons] == [True]


def test_a_file_without_quotes_is_refused_with_a_hint(cli: Any, tmp_path: Path) -> None:
    """If most rows have more cells than names."""
    for separator, shown, one in ((",", "','", "','"), ("\t", "tabs", "a tab")):
        lines = f"rating{separator}comment", *[f"up{separator}one{separator} two"] * 3
        ran = cli("import", write(tmp_path, "a.csv", "\n".join(lines)))
        assert ran.code == 2
        hint = (
            f"--skip-rows 0. The file is separated by {shown}; if line 2 has a text with {one} in it, put it in quotes"
        )
        assert hint in one_line(ran.err)


@pytest.mark.parametrize("typed", ["tab", "TAB", r"\t", "\t"])
def test_a_tab_as_the_separator_can_be_typed(cli: Any, tmp_path: Path, typed: str) -> None:
    """As shells make a tab hard to type."""
    file = write(tmp_path, "a.csv", "rating,a\tcomment,a\nup\tx, y\n")
    ran = cli("import", file, "--separator", typed, "--map", "rating=rating,a", "--map", "comment=comment,a")
    assert (ran.code, "separated by tab; 1 row" in ran.out) == (0, True)
    assert [one.content.comment for one in entries()] == ["x, y"]
    ran = cli("import", file, "--separator", "tabs")
    assert (ran.code, "one character, such as ';', or tab, got 'tabs'" in one_line(ran.err)) == (2, True)


def test_the_sample_has_rows_that_are_imported(cli: Any, tmp_path: Path) -> None:
    """The first three that are not rejected; if all of the first are, their reasons."""
    dates = ["2026-01-99", "2026-01-05", "x", "2026-01-06", "2026-01-07", "2026-01-08"]
    text = "rating,created_at\n" + "".join(f"up,{date}\n" for date in dates)
    sample = cli("import", write(tmp_path, "a.csv", text), "--dry-run", "--json").json["files"][0]["sample"]
    assert [one["created_at"][:10] for one in sample] == ["2026-01-05", "2026-01-06", "2026-01-07"]
    bad = write(tmp_path, "bad.jsonl", '{"rating": "up", "tags": 5}\n' * 4)
    sample = cli("import", bad, "--dry-run", "--json").json["files"][0]["sample"]
    assert [list(one) for one in sample] == [["problem"]] * 3


# --- scales -----------------------------------------------------------------------------------------------------------

STARS = 'rating\n5\n4.0\n"4,0"\n★★★★\n4/5\n4 stars\n1 star\n'


def test_stars_are_read_as_people_write_them(cli: Any, tmp_path: Path) -> None:
    """Symbols, words and fractions too; without a scale, the one that reads them is proposed."""
    file = write(tmp_path, "a.csv", STARS)
    ran = cli("import", file)
    assert (ran.code, "Add --scale stars (1-2 down, 3 neutral, 4-5 up), or" in one_line(ran.err)) == (2, True)
    assert cli("import", file, "--scale", "stars").code == 0
    assert [one.rating.word for one in entries()] == ["up"] * 6 + ["down"]
    assert entries()[3].context["rating_given"] == "★★★★"


def test_a_refusal_lists_only_what_cannot_be_read(cli: Any, tmp_path: Path) -> None:
    """And not the values that are on the scale."""
    file = write(tmp_path, "a.csv", STARS + "".join(f"word {number}\n" for number in range(8)))
    err = one_line(cli("import", file, "--scale", "stars").err)
    assert "The ratings in 'rating' are not on the scale stars: word 0 (1), word 1 (1)" in err
    assert "4" not in err.partition("stars: ")[2].partition("word 4")[0]


def test_rejected_rows_of_a_spreadsheet_keep_their_dates(cli: Any, tmp_path: Path) -> None:
    """Dates and days as numbers are the same times when the corrected rows are imported."""
    day = datetime(2023, 7, 16, 12)  # noqa: DTZ001 - cells have no zone
    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["rating", "created_at"])
        sheet.write_column(1, 0, ["sideways", "sideways", "up", "down", "up"])
        sheet.write_datetime(1, 1, day, book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))
        sheet.write_column(2, 1, [45123.5] * 4)
    assert cli("import", "a.xlsx").code == 3
    rejected = tmp_path / "a.xlsx.rejected.jsonl"
    rejected.write_text(rejected.read_text().replace('"sideways"', '"neutral"'))
    assert cli("import", rejected.name, "--rejected", "b.jsonl").code == 0
    assert {one.created_at for one in entries()} == {day.replace(tzinfo=UTC)}

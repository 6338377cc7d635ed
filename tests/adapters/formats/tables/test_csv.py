"""CSV: its shapes, and rows that cannot be read."""

import csv
import io
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.lines import MAX_EXPORTED_CHARACTERS, MAX_ROW_CHARACTERS
from import_files import raw_rows, records_of, table_of

ROWS = [{"id": "1", "comment": "good", "stars": "5"}, {"id": "2", "comment": "late; cold, bad", "stars": "1"}]


def written(separator: str, ending: str = "\n") -> str:
    """A file with :data:`ROWS`."""
    file = io.StringIO()
    writer = csv.DictWriter(file, ROWS[0], delimiter=separator, lineterminator=ending)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue()


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_the_separator_is_detected(separator: str, ending: str) -> None:
    """Common separators are detected with any line end, although comments contain others."""
    with table_of(written(separator, ending)) as table:
        assert table.layout.separator == separator
        assert table.columns == ["id", "comment", "stars"]
        assert [table.raw(record) for record in table.rows()] == ROWS


def test_a_separator_is_that_of_the_names() -> None:
    """A character that is in most comments is not the separator if it is not between the names."""
    rows = "".join(f"{number},a | b,{number}\n" for number in range(8))
    with table_of(f"id,comment,stars\n{rows}1,2\n3,4,5,6\n") as table:
        assert table.layout.separator == ","


def test_a_decimal_comma_is_not_a_separator() -> None:
    """A comma in every row is part of numbers if the names have none."""
    assert raw_rows("id;score\na;1,5\nb;2,5\n") == [{"id": "a", "score": "1,5"}, {"id": "b", "score": "2,5"}]


@pytest.mark.parametrize("given_separator", ["~", ";"])
def test_the_separator_can_be_given(given_separator: str) -> None:
    """A named separator is used, also an unusual one."""
    with table_of(written(given_separator), separator=given_separator) as table:
        assert [table.raw(record) for record in table.rows()] == ROWS


@pytest.mark.parametrize("separator", ["", "||", '"', "\n"])
def test_an_invalid_separator_is_refused(separator: str) -> None:
    """A separator is one character that means nothing else."""
    with pytest.raises(UnusableFile, match="The separator of CSV is one character"):
        raw_rows(written(","), separator=separator)


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"'])
def test_a_line_can_name_the_separator(line: str) -> None:
    """The first line can name the separator, as Excel writes it; it is not a row."""
    with table_of(f"{line}\r\n{written(';')}") as table:
        assert (table.layout.separator, table.layout.skipped) == (";", 1)
        assert [record.position for record in table.rows()] == [3, 4]
    assert raw_rows("sep=\t\nid\ttext\n1\ta,b\n") == [{"id": "1", "text": "a,b"}]


def test_one_column() -> None:
    """A file can have one column without a separator, and a name of one character."""
    with table_of("a") as table:
        assert (table.layout.encoding, table.columns, list(table.rows())) == ("utf-8", ["a"], [])
    assert raw_rows("comment\ngood\nbad\n") == [{"comment": "good"}, {"comment": "bad"}]


def test_only_names() -> None:
    """A file with only the names of columns has no rows."""
    with table_of("id;comment;stars\n") as table:
        assert (table.columns, list(table.rows())) == (["id", "comment", "stars"], [])


@pytest.mark.parametrize("preamble", ["Reviews\n", "Reviews of May\n\nExported by us\n", "Reviews,,\n,,\n"])
def test_a_title_is_left_out(preamble: str) -> None:
    """Rows with one cell before a table of three columns or more are its title."""
    with table_of(preamble + written(",")) as table:
        assert table.layout.skipped == preamble.count("\n")
        assert [table.raw(record) for record in table.rows()] == ROWS
        assert [record.position for record in table.rows()] == [preamble.count("\n") + 2, preamble.count("\n") + 3]


def test_rows_before_the_names_can_be_skipped() -> None:
    """The number of lines before the names can be given, if these are not plainly a title."""
    rows = "".join(f"{number},good,5\n" for number in range(3))
    data = f"Shop,Berlin\nid,comment,stars\n{rows}"
    with pytest.raises(UnusableFile, match=r"The first row has 2 cells.* 3; .*--skip-rows 1, else add --skip-rows 0"):
        raw_rows(data)
    assert len(raw_rows(data, skip_rows=1)) == 3
    assert [bool(record.problem) for record in records_of(data, skip_rows=0)] == [True] * 4


def test_a_column_of_comments_with_commas_is_not_a_title() -> None:
    """Sentences with a comma do not make a table of two columns, of which the name of the only column is the title."""
    with pytest.raises(UnusableFile, match="--skip-rows 0"):
        raw_rows("comment\nGreat, thanks\nBad, really\nFine, though\n")
    with table_of("comment\nGreat, fast, cheap\nSlow\nBad, rude, late\nFine\n") as table:
        assert table.columns == ["comment"]
        assert [bool(record.problem) for record in table.rows()] == [True, False, True, False]


def test_empty_cells_at_the_end_of_rows() -> None:
    """Empty cells after those of the columns are ignored; cells of columns without a name may be missing."""
    assert raw_rows("a,b\n1,2,,\n3,4,\n") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert raw_rows("a,b,,\n1,2\n3,4,,\n") == [{"a": one, "b": two, "": "", "_2": ""} for one, two in ("12", "34")]


def test_qualtrics() -> None:
    """The names are those of the first row; the texts of the questions and the import ids are not data."""
    names, texts = ["StartDate", "Q1"], ["Start Date", "How was it?\nPlease, be frank."]
    ids = ['{"ImportId":"startDate","timeZone":"America/Denver"}', '{"ImportId":"QID1"}']
    file = io.StringIO()
    csv.writer(file).writerows([names, texts, ids, ["2024-01-02 03:04:05", "Fine"]])
    with table_of(file.getvalue()) as table:
        assert table.layout.left_out == 2
        assert [table.raw(record) for record in table.rows()] == [{"StartDate": "2024-01-02 03:04:05", "Q1": "Fine"}]


def test_surveymonkey() -> None:
    """The row of kinds of answers is not data; a similar row is, if it has an id or no kind."""
    names = "Respondent ID,Collector ID,How was it?,Why?\n"
    assert len(raw_rows(f"{names},,Response,Open-Ended Response\n1,2,5,hi\n")) == 1
    for row in ("3,2,Response,so", ",,good,so"):
        assert len(raw_rows(f"{names}{row}\n1,2,5,hi\n")) == 2


SURVEYMONKEY = [
    ("Respondent ID", "", "1"),
    ("Date Created", "", "2026-01-02"),
    ("How was it?", "Response", "5"),
    ("", "Comment", "good"),
    ("Which do you use?", "Search", "Search"),
    ("", "Chat", "Chat"),
    ("", "Reports", ""),
    ("", "Other (please specify)", "all"),
    ("What is missing?", "Speed", ""),
    ("", "Other (please specify)", "dark mode"),
    ("Why?", "Open-Ended Response", "so"),
]


def test_surveymonkey_names_columns_by_their_answers() -> None:
    """A question is only above the first of its columns; it also distinguishes equal answers of several questions."""
    file = io.StringIO()
    csv.writer(file).writerows(zip(*SURVEYMONKEY, strict=True))
    [row] = raw_rows(file.getvalue())
    assert row == {
        "Respondent ID": "1",
        "Date Created": "2026-01-02",
        "How was it?": "5",
        "Comment": "good",
        "Which do you use? Search": "Search",
        "Chat": "Chat",
        "Reports": "",
        "Which do you use? Other (please specify)": "all",
        "What is missing? Speed": "",
        "What is missing? Other (please specify)": "dark mode",
        "Why?": "so",
    }


def test_an_answer_that_is_also_a_question() -> None:
    """They are two columns."""
    [row] = raw_rows("Respondent ID,How?,,Comment\n,Response,Comment,Open-Ended Response\n1,up,a,b\n")
    assert row == {"Respondent ID": "1", "How?": "up", "How? Comment": "a", "Comment": "b"}


@pytest.mark.parametrize("answers", [1, 30])
def test_a_survey_of_only_answers_to_choose(answers: int) -> None:
    """Without other kinds of answers, and with more columns without a name than with one."""
    texts = [f"Answer {number}" for number in range(answers)]
    lines = ["Respondent ID,Which?" + "," * answers, ",None," + ",".join(texts), "1,None" + "," * answers]
    row, again = raw_rows("\n".join([*lines, lines[-1], ""]))
    assert row == again == {"Respondent ID": "1", "Which? None": "None"} | dict.fromkeys(texts, "")


def test_names_with_invalid_bytes() -> None:
    """Invalid bytes in a name are escaped, so that it can be shown."""
    with table_of(b"a\xff,b\n1,\xc3\xa9\n") as table:
        assert table.columns == ["a\\xff", "b"]


def test_names_that_look_alike() -> None:
    """Several columns may have no name, and names may only differ in case."""
    with table_of(",a,A,,_2\n1,2,3,4,5\n") as table:
        assert table.columns == ["", "a", "A", "_3", "_2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (",,\n,,\n", "must begin with a row of column names: there is no row"),
        ('"session_id\n', "must begin with a row of column names: not valid CSV"),
        (
            f"{'x' * MAX_ROW_CHARACTERS}\n",
            "names: the first one has more than 262,144 characters, which are about 26,000",
        ),
        ("session_id,rating,rating\ns,up,down\n", "The column 'rating' appears twice; remove or rename one"),
        ("session_id,tier, tier \ns,1,2\n", "The column 'tier' appears twice"),
    ],
)
def test_files_without_usable_names_are_refused(data: str, message: str) -> None:
    """Without a row of unique names, no row is read."""
    with pytest.raises(UnusableFile, match=message):
        raw_rows(data)


# --- rows that cannot be read -----------------------------------------------------------------------------------------

BAD_ROWS = [
    ("s,up", "the row has 2 cells, but there are 3 columns", "s,up"),
    ("s,up,a,b", "the row has 4 cells, but there are 3 columns", "s,up,a,b"),
    (f"s,up,{'x' * MAX_ROW_CHARACTERS}", "the row is too long", f"s,up,{'x' * 995}"),
    ('s,up,"never closed', "not valid CSV: unexpected end of data", 's,up,"never closed'),
    ('s,up,"5" screen"', "not valid CSV: ',' expected after '\"'", 's,up,"5" screen"'),
]


@pytest.mark.parametrize(("bad", "problem", "raw"), BAD_ROWS)
def test_an_invalid_row_does_not_affect_others(bad: str, problem: str, raw: str) -> None:
    """The rows before and after an invalid one are read; its line and the reason are given."""
    with table_of(f"session_id,rating,comment\nbefore,up,a\n\n{bad}\nafter,up,b\n") as table:
        before, invalid, after = table.rows()
        assert (before.values[0], before.problem, after.values[0], after.problem) == ("before", "", "after", "")
        assert (before.position, invalid.position, after.position) == (2, 4, 5)
        assert invalid.problem.startswith(problem)
        assert table.raw(invalid) == raw


def test_nul_characters_are_kept() -> None:
    """A NUL character is part of its cell, and is rejected with the comment."""
    assert [record.values for record in records_of(b"a,b\n1,x\0y\n")] == [["1", "x\0y"]]


def test_line_numbers() -> None:
    """The position of a row is its first line, also after rows of several lines."""
    records = records_of('session_id,comment\r\na,"1\r\n2\n3"\r\n\r\nb\r\nc,"4\n5"\r\nd\r\n')
    assert [(record.position, bool(record.problem)) for record in records] == [
        (2, False),
        (6, True),
        (7, False),
        (9, True),
    ]


#: Endings of a record, after its id.
_RECORDS = (
    ",good\n",
    ',"of\nthree\r\nlines"\n',
    ',"open\n',
    ',"not"doubled"\n',
    ',"open, ""doubled""\n',
    ",too,many\n",
    "\n",
    "\r\n\n",
    ',"of\ntwo",and one too many\n',
)


@given(st.lists(st.sampled_from(_RECORDS), max_size=12))
def test_what_follows_a_broken_record_is_reported_with_its_own_line(records: list[str]) -> None:
    """An invalid record and those after it are reported once each, with their line numbers."""
    text = "session_id,comment\n" + "".join(f"id-{number}{record}" for number, record in enumerate(records))
    lines = text.replace("\r\n", "\n").split("\n")
    found = [
        (record.position, record.values if isinstance(record.values, str) else record.values[0])
        for record in records_of(text, separator=",", skip_rows=0)
    ]
    ids = [(line, raw.partition(",")[0]) for line, raw in found if raw.startswith("id-")]
    assert ids == [(lines.index(line) + 1, line.partition(",")[0]) for line in lines if line.startswith("id-")]


def test_an_unclosed_quote_affects_one_line() -> None:
    """All rows after an unclosed quote are read, including quoted ones."""
    following = "".join(f's{number},up,"said, and done"\n' for number in range(50))
    records = records_of(f'session_id,rating,comment\nbad,up,"open\nfine,up,ok\n{following}')
    assert len(records) == 52
    assert [(record.position, record.values) for record in records if record.problem] == [(2, 'bad,up,"open')]


def test_many_unclosed_quotes_are_fast() -> None:
    """Each unclosed quote costs at most the processor time of reading one row of maximum length."""
    long_text = "x" * 90 + "\n"
    data = "session_id,comment\n" + ('s,"open\n' * 500 + f"t,{long_text}" * 5_000) * 3
    began = time.thread_time()
    assert len(records_of(data)) == 3 * 5_500
    assert time.thread_time() - began < 10


def test_an_endless_line_is_skipped() -> None:
    """A very long line is skipped in pieces, and the next line is a row again."""
    garbage = "x" * (20 << 20)
    bad, fine = records_of(f"session_id\n{garbage}\r\nfine\n")
    assert (bad.position, bad.problem, len(bad.values)) == (2, "the row is too long; is a quote missing?", 1_000)
    assert (fine.position, fine.values) == (3, ["fine"])


def test_a_long_row_after_an_open_quote() -> None:
    """A line that is too long after an unclosed quote is rejected too, and the rows between and after are read."""
    records = records_of(f'a,b\n1,"open\n2,fine\n{"x" * MAX_ROW_CHARACTERS}\n3,fine\n')
    assert [(record.position, bool(record.problem)) for record in records] == [
        (2, True),
        (3, False),
        (4, True),
        (5, False),
    ]


def test_an_export_may_have_longer_rows() -> None:
    """A row of a Harken export may be longer than those of other programs."""
    names, row = "id,created_at,version,fingerprint,vote,withdrawn_at,comment\n", "a,b,1,f,true,,"
    assert [record.problem for record in records_of(f"{names}{row}{'x' * MAX_ROW_CHARACTERS}\n")] == [""]
    [too_long] = records_of(f"{names}{row}{'x' * MAX_EXPORTED_CHARACTERS}\n")
    assert too_long.problem.startswith("the row is too long")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """For any bytes after the names, the file is refused, or each row has cells or a problem, and reading ends."""
    with suppress(UnusableFile), table_of(b"session_id,comment\n" + data) as table:
        for record in table.rows():
            assert bool(record.problem) or len(record.values) == len(table.columns or ())
            assert str(table.raw(record)).encode()


@given(st.text(st.sampled_from(',"\r\nab='), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """The same for text that is almost CSV; positions increase."""
    positions = [record.position for record in records_of("session_id,comment\n" + text, skip_rows=0)]
    assert positions == sorted(set(positions))


# --- reading back -----------------------------------------------------------------------------------------------------


def cells() -> st.SearchStrategy[str]:
    """Any text, often with what is special in CSV."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    return text | st.text(st.sampled_from(',;|\t"\r\n ab\0'), max_size=8)


@given(
    st.lists(st.lists(cells(), min_size=3, max_size=3), max_size=8),
    st.sampled_from(",;|\t"),
    # The standard library only quotes a line end if it is in that of the rows.
    st.sampled_from([{"quoting": csv.QUOTE_ALL, "lineterminator": "\n"}, {"lineterminator": "\r\n"}]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
)
def test_any_rows_in_any_dialect_are_read_back(
    rows: list[list[str]], separator: str, dialect: dict[str, Any], encoding: str
) -> None:
    """What the standard library writes is read back equal, except empty rows."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, **dialect).writerows([["rating", "comment", "user"], *rows])
    # A few short rows may not show their shape.
    records = records_of(
        file.getvalue().encode(encoding),
        format="csv",
        separator=separator,
        skip_rows=0,
        encoding=encoding if encoding == "utf-16-be" else None,
    )
    assert [record.values for record in records] == [row for row in rows if any(row)]
    assert not any(record.problem for record in records)


@given(
    st.lists(
        st.tuples(st.text("abc é😡,;|\t\n\"'.", min_size=1), st.integers(), st.text("xyz", min_size=1)), min_size=3
    ),
    st.sampled_from(",;|\t"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_the_shape_of_any_rows_is_detected(rows: list[tuple[str, int, str]], separator: str, encoding: str) -> None:
    """The separator and the encoding of several rows of text are detected, although cells have other separators."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator).writerows([["comment", "score", "user"], *rows])
    with table_of(file.getvalue().encode(encoding)) as table:
        assert (table.layout.separator, table.columns) == (separator, ["comment", "score", "user"])
        assert [record.values for record in table.rows()] == [list(map(str, row)) for row in rows]

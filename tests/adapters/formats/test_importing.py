"""Somebody else's files: what their columns become, and what becomes of rows that nobody can make sense of."""

import io
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, Harken, Rating, Sentiment, Target
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.importing import Importer, Tally
from harken_adapters.formats.mapping import Columns
from harken_adapters.formats.reading import MAX_EXPORTED_CHARACTERS, MAX_ROW_CHARACTERS, CsvSource, JsonLinesSource, Row

SOURCES = {"csv": CsvSource, "jsonl": JsonLinesSource}


def imported(hk: Harken, data: str | bytes, of: str = "csv", columns: Columns | None = None) -> tuple[Tally, list[Any]]:
    """Import a file: the tally, and what was rejected."""
    rejected: list[Any] = []
    raw = data if isinstance(data, bytes) else data.encode()
    source = SOURCES[of](io.BytesIO(raw), columns or Columns(), hk.application)
    importer = Importer(hk, source, lambda *parts: rejected.append(parts))
    for _ in importer.batches():
        pass
    return importer.tally, rejected


def only(hk: Harken) -> Feedback:
    """The feedback that there is."""
    [feedback] = hk.stream()
    return feedback


def rows_of(data: bytes) -> list[Row]:
    """What is read of a CSV file."""
    return list(CsvSource(io.BytesIO(data), Columns(), "default").rows())


# --- what columns become ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_are_fields_by_their_name(hk: Harken, of: str) -> None:
    """Each column goes where its name says, dates are kept, and all others go into the context."""
    row = {
        "session_id": "s",
        "message_id": "m",
        "agent_id": "a",
        "author": "ann",
        "rating": "down",
        "comment": "so\nslow",
        "reason": "[Late] Flight",
        "created_at": "2015-02-16T23:36:05+01:00",
        "user tier": "gold",
        "time.zone": "",
        "context": '{"n": 1}' if of == "csv" else {"n": 1},
    }
    line = "\n".join((",".join(row), ",".join(f'"{str(v).replace(chr(34), chr(34) * 2)}"' for v in row.values())))
    imported(hk, line if of == "csv" else json.dumps(row), of)
    feedback = only(hk)
    assert feedback.target == Target("s", "m", "a")
    assert (feedback.author, feedback.rating, feedback.comment) == ("ann", Rating.DOWN, "so\nslow")
    assert feedback.tags == ("[Late] Flight",)
    assert feedback.context == {"user_tier": "gold", "n": 1}
    assert feedback.created_at == datetime(2015, 2, 16, 22, 36, 5, tzinfo=UTC)


def test_a_date_without_a_zone_is_utc(hk: Harken) -> None:
    """Naive dates are taken as UTC, whatever the machine's zone is."""
    imported(hk, "session_id,created_at\ns,2015-02-16 23:36:05\n")
    assert only(hk).created_at == datetime(2015, 2, 16, 23, 36, 5, tzinfo=UTC)


def test_without_a_date_it_is_now(hk: Harken) -> None:
    """Rows without a date count as given at the time of the import."""
    imported(hk, "session_id,rating\ns,up\n")
    assert only(hk).created_at == only(hk).updated_at


@pytest.mark.parametrize(
    ("cell", "tags"), [("slow", ("slow",)), ('["a","b"]', ("a", "b")), ("", ()), ("a,b", ("a,b",))]
)
def test_tags_are_a_json_list_or_one_tag(hk: Harken, cell: str, tags: tuple[str, ...]) -> None:
    """A cell of tags is a JSON list if it looks like one, or else a single tag."""
    quoted = cell.replace('"', '""')
    imported(hk, f'session_id,tags\ns,"{quoted}"\n')
    assert only(hk).tags == tags


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_sentiments_come_along(hk: Harken, of: str) -> None:
    """A sentiment that was found elsewhere is kept."""
    parts: dict[str, Any] = {"polarity": -0.5, "subjectivity": 1}
    text = json.dumps({"session_id": "s", "sentiment": parts})
    imported(hk, "session_id,sentiment_polarity,sentiment_subjectivity\ns,-0.5,1" if of == "csv" else text, of)
    assert only(hk).sentiment == Sentiment(-0.5, 1)


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_can_be_mapped_and_constants_set(hk: Harken, of: str) -> None:
    """Files with other names need no rewriting; a constant stands in only where a row has nothing."""
    columns = Columns(
        {"comment": "text", "author": "user", "context.tier": "plan", "tags": "labels"},
        {
            "session_id": "reviews",
            "agent_id": "shop",
            "context.source": "file",
            "context.tier": "free",
            "tags": '["t"]',
        },
    )
    csv = "text,user,plan,agent_id,labels\nGood,7,gold,bot,\nBad,,,,x\n"
    objects = (
        {"text": "Good", "user": 7, "plan": "gold", "agent_id": "bot"},
        {"text": "Bad", "user": None, "labels": "x"},
    )
    _, rejected = imported(hk, csv if of == "csv" else "\n".join(map(json.dumps, objects)), of, columns)
    assert rejected == []
    good, bad = sorted(hk.stream(), key=lambda one: one.comment, reverse=True)
    assert (good.session_id, good.agent_id, good.author, good.tags) == ("reviews", "bot", "7", ("t",))
    assert good.context == {"tier": "gold", "source": "file"}
    assert (bad.session_id, bad.agent_id, bad.author, bad.tags) == ("reviews", "shop", None, ("x",))
    assert bad.context == {"tier": "free", "source": "file"}


def test_columns_never_hide_each_other(hk: Harken) -> None:
    """Columns of the same name, without one, or with one that becomes the same, are all kept."""
    imported(hk, ",session_id,a b,a_b,a b\nx,s,1,2,3\n")
    assert only(hk).context == {"unnamed": "x", "a_b": "1", "a_b_2": "2", "a_b_2_2": "3"}
    imported(hk, '{"session_id": "t", "a b": 1, "a_b": 2, "nested": {"x": [1]}}', "jsonl")
    [feedback] = hk.stream(session_id="t")
    assert feedback.context == {"a_b": 1, "a_b_2": 2, "nested": '{"x": [1]}'}


def test_a_byte_order_mark_is_no_text(hk: Harken) -> None:
    """Files that a spreadsheet saved begin with a mark, which is part of no name and no row."""
    imported(hk, b"\xef\xbb\xbfsession_id,rating\r\ns,up\r\n")
    imported(hk, b'\xef\xbb\xbf{"session_id": "t"}\r\n', "jsonl")
    assert [one.session_id for one in hk.stream()] == ["s", "t"]


@pytest.mark.parametrize(
    ("mapped", "constants", "said"),
    [
        ({"remark": "x"}, {}, "There is no field 'remark'; the fields are session_id"),
        ({}, {"id": "1"}, "There is no field 'id'"),
        ({"context.a b": "x"}, {}, "context name 'a b'"),
        ({"comment": "txt"}, {}, "There is no column 'txt' to read comment from; the columns are 'rating', 'text'"),
        ({}, {}, "No row has a session_id.*--map session_id=COLUMN.*--set session_id=VALUE; the columns are 'rating'"),
    ],
)
def test_what_cannot_work_stops_at_once(hk: Harken, mapped: Any, constants: Any, said: str) -> None:
    """A mapping that no row can satisfy is refused before anything is read, with what there is to choose from."""
    with pytest.raises(UnusableFile, match=said):
        imported(hk, "rating,text\nup,hi\n", columns=Columns(mapped, constants))


@pytest.mark.parametrize(
    ("data", "of", "said"),
    [
        (b"", "csv", "begins with a row of column names, but this one is empty"),
        (b'"session_id\n', "csv", "begins with a row of column names, but no valid CSV"),
        ("session_id\ns\n".encode("utf-16"), "csv", "UTF-16; save it as UTF-8"),
        ('{"session_id": "s"}'.encode("utf-16"), "jsonl", "UTF-16; save it as UTF-8"),
        (b'{"rating": "up"}\n{"rating": "down"}\n', "jsonl", "--map session_id=COLUMN"),
    ],
)
def test_files_of_no_use_are_refused(hk: Harken, data: bytes, of: str, said: str) -> None:
    """A file in which no row can be understood is refused as a whole."""
    with pytest.raises(UnusableFile, match=said):
        imported(hk, data, of)


@pytest.mark.parametrize(
    ("data", "of", "said"),
    [
        ('{"session_id": "s", "rating": "down", "rating": "up"}\n', "jsonl", 'The member "rating" appears twice'),
        ('{"session_id": "s", "context": {"a": 1, "a": 2}}\n', "jsonl", 'The member "a" appears twice'),
        ('session_id,context\ns,"{""a"": 1, ""a"": 2}"\n', "csv", 'context: The member "a" appears twice'),
        ('session_id,tags\ns,"[{""a"": 1, ""a"": 2}]"\n', "csv", 'tags: The member "a" appears twice'),
    ],
)
def test_a_member_that_appears_twice_is_not_guessed(hk: Harken, data: str, of: str, said: str) -> None:
    """A row that names a member twice is rejected with the member's name; the rows around it are read."""
    _, rejected = imported(hk, data + ('{"session_id": "t"}\n' if of == "jsonl" else "t,\n"), of)
    assert [parts[1] for parts in rejected] == [said]
    assert [one.session_id for one in hk.stream()] == ["t"]


# --- rows that are not fit --------------------------------------------------------------------------------------------

BAD_CELLS = [
    ("s,up", "it has 2 cells, but there are 3 columns", "s,up"),
    ("s,up,a,b", "it has 4 cells, but there are 3 columns", "s,up,a,b"),
    ("s,sideways,a", "Invalid rating: sideways. Must be 'up', 'down', or None", None),
    (",up,a", "no session_id: say which column has it with --map session_id=COLUMN", None),
    ("s,down,", "Please provide a comment when giving negative feedback", None),
    ("s,up,a\0b", "comment must not contain NUL characters", None),
    (f"s,up,{'x' * 1001}", "Comment too long: 1001 characters (max: 1000)", None),
    (f"s,sideways,{'x' * 1001}", "Invalid rating: sideways. Must be 'up', 'down', or None; Comment too long", None),
    (f"s,up,{'x' * MAX_ROW_CHARACTERS}", "longer than any row can be", f"s,up,{'x' * 995}"),
    ('s,up,"never closed', "no valid CSV: unexpected end of data", 's,up,"never closed'),
    ('s,up,"5" screen"', "no valid CSV: ',' expected after '\"'", 's,up,"5" screen"'),
]


@pytest.mark.parametrize(("bad", "reason", "raw"), BAD_CELLS)
def test_a_bad_row_stops_no_other(hk: Harken, bad: str, reason: str, raw: str | None) -> None:
    """Whatever is wrong with a row, those before and behind it come in, and the reason and the line are told."""
    tally, rejected = imported(hk, f"session_id,rating,comment\nbefore,up,a\n\n{bad}\nafter,up,b\n")
    assert [one.session_id for one in hk.stream()] == ["before", "after"]
    assert (tally.read, tally.added, tally.rejected) == (3, 2, 1)
    [(line, said, row)] = rejected
    assert line == 4
    assert said.startswith(reason)
    assert row == (raw or dict(zip(("session_id", "rating", "comment"), bad.split(","), strict=True)))


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        (
            "created_at",
            "yesterday",
            "created_at is no ISO 8601 date: 'yesterday'; expected one like 2026-01-31T12:00:00Z",
        ),
        ("created_at", "1969-12-31", "created_at must"),
        ("created_at", "9999-12-31T23:59:59-10:00", "created_at is no ISO 8601 date"),
        ("tags", "[oops", "tags begins like JSON, but is none: '[oops'"),
        ("context", "{oops", "context begins like JSON, but is none: '{oops'"),
        ("sentiment_polarity", "good", "sentiment polarity must be a number, got 'good'"),
        ("sentiment_polarity", "0.5", "sentiment subjectivity must be a number, got None"),
    ],
)
def test_cells_that_make_no_sense_are_told_of(hk: Harken, column: str, cell: str, reason: str) -> None:
    """A cell that its column cannot have is a reason that says what was expected."""
    _, [(line, said, row)] = imported(hk, f"session_id,{column}\ns,{cell}\nt,\n")
    assert (line, row) == (2, {"session_id": "s", column: cell})
    assert said.startswith(reason)
    assert only(hk).session_id == "t"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops}", "no valid JSON: Expecting property name"),
        ("[1]", "expected a JSON object such as {...}, got list"),
        ("null", "expected a JSON object such as {...}, got NoneType"),
        ("[" * 100_000, "JSON that goes beyond all bounds"),
        ('{"a": 1' + "0" * 5_000 + "}", "JSON that goes beyond all bounds"),
        ('{"session_id": "s", "comment": "\\ud800"}', "comment contains a lone surrogate"),
        ('{"session_id": "s", "comment": "\\u0000"}', "comment must not contain NUL"),
        ('{"session_id": "s", "comment": 1}', "comment must be text, got int"),
        ('{"session_id": true}', "session_id must be text, got bool"),
        ('{"session_id": ["s"]}', "session_id must be text, got list"),
        ('{"session_id": "s", "rating": 0}', "Invalid rating: 0"),
        ('{"session_id": "s", "rating": ["up"]}', "Invalid rating: ['up']"),
        ('{"session_id": "s", "tags": {"a": 1}}', "tags must be a text or a list of texts"),
        ('{"session_id": "s", "tags": [1]}', "tags must be text, got int"),
        ('{"session_id": "s", "x": NaN}', "context.x must be finite"),
        ('{"session_id": "s", "x": 9223372036854775808}', "context.x must fit into 64 bits"),
        ('{"session_id": "s", "created_at": 1424129765}', "created_at is no ISO 8601 date: 1424129765"),
        ('{"rating": "up"}', "no session_id"),
    ],
)
def test_a_bad_object_stops_no_other(hk: Harken, line: str, reason: str) -> None:
    """The same for JSON Lines: nothing that stands in a line stops the import, or is lost without a reason."""
    lines = ('{"session_id": "before"}', "", line, '{"session_id": "after"}')
    _, rejected = imported(hk, "\n".join(lines), "jsonl")
    assert [one.session_id for one in hk.stream()] == ["before", "after"]
    [(number, said, row)] = rejected
    assert number == 3
    assert said.startswith(reason)
    # What goes into the file of rejected rows is ASCII, whatever it was.
    assert json.dumps({"row": row}).isascii()


def test_bytes_that_are_no_utf8_spoil_their_row_only(hk: Harken) -> None:
    """Latin-1 among UTF-8 is rejected row by row, readable enough to be found."""
    _, csv_rejected = imported(hk, b"session_id,comment\na,caf\xe9\nb,caf\xc3\xa9\n")
    _, jsonl_rejected = imported(hk, b'{"session_id": "c", "comment": "caf\xe9"}\n{"session_id": "d"}\n', "jsonl")
    said = "not UTF-8; save the file as UTF-8 and import it again"
    assert csv_rejected == [(2, said, {"session_id": "a", "comment": "caf\\xe9"})]
    assert jsonl_rejected == [(1, said, '{"session_id": "c", "comment": "caf\\xe9"}')]
    assert [(one.session_id, one.comment) for one in hk.stream()] == [("b", "café"), ("d", "")]


def test_lines_are_counted_as_they_stand_in_the_file() -> None:
    """A record is told by the line that it starts on, however many lines the ones before it have."""
    rows = rows_of(b'session_id,comment\r\na,"1\r\n2\n3"\r\n\r\nb\r\nc,"4\n5"\r\nd\r\n')
    assert [(row.line, bool(row.reason)) for row in rows] == [(2, False), (6, True), (7, False), (9, True)]


#: How a record can stand in a file, behind its id.
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
    """However a record is broken, it and all that follow are reported with the lines on which they stand, each once."""
    text = "session_id,comment\n" + "".join(f"id-{number}{record}" for number, record in enumerate(records))
    lines = text.replace("\r\n", "\n").split("\n")
    found = [(row.line, row.raw if isinstance(row.raw, str) else row.raw[0]) for row in rows_of(text.encode())]
    ids = [(line, raw.partition(",")[0]) for line, raw in found if raw.startswith("id-")]
    assert ids == [(lines.index(line) + 1, line.partition(",")[0]) for line in lines if line.startswith("id-")]


def test_an_open_quote_swallows_nothing(hk: Harken) -> None:
    """A quote that is never closed spoils one line: all rows behind it are read, quoted ones too."""
    behind = "".join(f's{number},up,"said, and done"\n' for number in range(50))
    tally, rejected = imported(hk, f'session_id,rating,comment\nbad,up,"open\nfine,up,ok\n{behind}')
    assert (tally.read, tally.added) == (52, 51)
    assert [(line, row) for line, _, row in rejected] == [(2, 'bad,up,"open')]


def test_many_open_quotes_take_no_forever() -> None:
    """Going back behind each open quote costs at most one row's longest length."""
    data = b"session_id,comment\n" + b's,"open\n' * 3_000
    began = time.perf_counter()
    assert len(rows_of(data)) == 3_000
    assert time.perf_counter() - began < 10


def test_a_line_without_end_takes_no_memory(hk: Harken) -> None:
    """Garbage without a line break is skipped piece by piece, and the next line is a row again."""
    garbage = b"x" * (2 * MAX_EXPORTED_CHARACTERS)
    tally, [(line, _, row)] = imported(hk, b"session_id\n" + garbage + b"\nfine\n")
    assert (tally.added, line, len(row)) == (1, 2, 1_000)
    assert only(hk).session_id == "fine"
    tally, [(line, _, row)] = imported(hk, garbage + b'\n{"session_id": "also"}\n', "jsonl")
    assert (tally.added, line, len(row)) == (1, 1, 1_000)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever comes behind the header, each row is content or a reason, and reading ends."""
    for row in rows_of(b"session_id,comment\n" + data):
        assert (row.content is None) == bool(row.reason)


@given(st.text(st.sampled_from(',"\r\nab='), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """The same for texts that are almost CSV; and the lines only go up."""
    lines = [row.line for row in rows_of(b"session_id,comment\n" + text.encode())]
    assert lines == sorted(set(lines))


@pytest.mark.usefixtures("in_kathmandu")
@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_a_date_without_a_zone_is_in_utc(hk: Harken, of: str) -> None:
    """In any zone of the machine, times without a zone mean UTC, and a zone in a file is understood."""
    rows = [("plain", "2015-02-16T23:36:05"), ("day", "2015-02-16"), ("zone", "2015-02-17T05:21:05+05:45")]
    csv_text = "session_id,created_at\n" + "".join(f"{name},{text}\n" for name, text in rows)
    lines = "\n".join(json.dumps({"session_id": name, "created_at": text}) for name, text in rows)
    imported(hk, csv_text if of == "csv" else lines, of)
    found = {one.session_id: one.created_at for one in hk.stream()}
    instant = datetime(2015, 2, 16, 23, 36, 5, tzinfo=UTC)
    assert found == {"plain": instant, "day": datetime(2015, 2, 16, tzinfo=UTC), "zone": instant}


# --- again, and again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_importing_again_adds_nothing(hk: Harken, of: str) -> None:
    """Rows are known by what they say: the same file, even in another order, is there already."""
    rows = ["a,up,x", "b,up,y", "a,up,x", "a,up,z"]
    lines = [json.dumps(dict(zip(("session_id", "rating", "comment"), row.split(","), strict=True))) for row in rows]

    def file(order: int) -> str:
        if of == "jsonl":
            return "\n".join(lines[::order])
        return "\n".join(("session_id,rating,comment", *rows[::order]))

    assert imported(hk, file(1), of)[0] == Tally(4, 4, 0, 0)
    assert imported(hk, file(1), of)[0] == Tally(4, 0, 4, 0)
    assert imported(hk, file(-1), of)[0] == Tally(4, 0, 4, 0)


def test_repeated_rows_are_all_kept(hk: Harken) -> None:
    """Different people say the same: rows that are repeated in a file are kept as often as they stand there."""
    header, row = "session_id,comment\n", "s,Great\n"
    assert imported(hk, header + row * 3)[0].added == 3
    assert imported(hk, header + row * 5)[0] == Tally(5, 2, 3, 0)


def test_the_order_of_columns_means_nothing(hk: Harken) -> None:
    """A file whose columns were moved about says the same."""
    imported(hk, "session_id,b,a,comment\ns,1,2,hi\n")
    assert imported(hk, "a,comment,b,session_id\n2,hi,1,s\n")[0].duplicates == 1


def test_neighbouring_cells_are_not_confused(hk: Harken) -> None:
    """Rows whose cells only together read the same are different rows."""
    rows = ["ab,c,,", "a,bc,,", "a,,b,c", "a,,,bc", "a,,bc,"]
    tally, _ = imported(hk, "\n".join(("session_id,comment,x,y", *rows)))
    assert tally.added == len(rows)


def test_old_feedback_is_no_news(hk: Harken) -> None:
    """An import causes no events: nobody wants to be told of last year's complaints."""
    imported(hk, "session_id\ns\n")
    assert hk.outbox.events(limit=10) == []


def test_batches_are_durable_one_by_one() -> None:
    """What has been counted is stored, so an import that was cut off goes on where it was."""
    data = "session_id\n" + "".join(f"s{number}\n" for number in range(2_500))
    with harken.connect("memory://") as hk:
        batches = Importer(hk, CsvSource(io.BytesIO(data.encode()), Columns(), "default"), print).batches()
        assert next(batches).added == hk.summary().total == 1_000
        assert imported(hk, data)[0] == Tally(2_500, 1_500, 1_000, 0)


def test_dates_keep_their_microseconds(hk: Harken) -> None:
    """Times come in exactly."""
    imported(hk, "session_id,created_at\ns,2020-01-01T00:00:00.000001Z\n")
    assert only(hk).created_at == datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)

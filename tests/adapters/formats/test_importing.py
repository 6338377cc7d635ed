"""Importing files of other programs: mapped columns, invalid rows and repeated imports."""

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
    """Import a file. Returns the tally and the rejected rows."""
    rejected: list[Any] = []
    raw = data if isinstance(data, bytes) else data.encode()
    source = SOURCES[of](io.BytesIO(raw), columns or Columns(), hk.application)
    importer = Importer(hk, source, lambda *parts: rejected.append(parts))
    for _ in importer.batches():
        pass
    return importer.tally, rejected


def only(hk: Harken) -> Feedback:
    """The only entry in the storage."""
    [feedback] = hk.export()
    return feedback


def rows_of(data: bytes) -> list[Row]:
    """The rows of a CSV file."""
    return list(CsvSource(io.BytesIO(data), Columns(), "default").rows())


# --- mapped columns ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_are_mapped_by_name(hk: Harken, of: str) -> None:
    """Columns with the name of a field are mapped to it; all others go into the context."""
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
    """A naive date is UTC."""
    imported(hk, "session_id,created_at\ns,2015-02-16 23:36:05\n")
    assert only(hk).created_at == datetime(2015, 2, 16, 23, 36, 5, tzinfo=UTC)


def test_without_a_date_it_is_now(hk: Harken) -> None:
    """Rows without a date have the time of the import."""
    imported(hk, "session_id,rating\ns,up\n")
    assert only(hk).created_at == only(hk).updated_at


@pytest.mark.parametrize(
    ("cell", "tags"), [("slow", ("slow",)), ('["a","b"]', ("a", "b")), ("", ()), ("a,b", ("a,b",))]
)
def test_tags_are_a_json_list_or_one_tag(hk: Harken, cell: str, tags: tuple[str, ...]) -> None:
    """A cell that begins like a JSON list is one; any other is a single tag."""
    quoted = cell.replace('"', '""')
    imported(hk, f'session_id,tags\ns,"{quoted}"\n')
    assert only(hk).tags == tags


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_sentiment_is_imported(hk: Harken, of: str) -> None:
    """The sentiment in a file is stored."""
    parts: dict[str, Any] = {"polarity": -0.5, "subjectivity": 1}
    text = json.dumps({"session_id": "s", "sentiment": parts})
    imported(hk, "session_id,sentiment_polarity,sentiment_subjectivity\ns,-0.5,1" if of == "csv" else text, of)
    assert only(hk).sentiment == Sentiment(-0.5, 1)


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_can_be_mapped_and_constants_set(hk: Harken, of: str) -> None:
    """Columns map other names; a constant is used only if a row has no value."""
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
    good, bad = sorted(hk.export(), key=lambda one: one.comment, reverse=True)
    assert (good.session_id, good.agent_id, good.author, good.tags) == ("reviews", "bot", "7", ("t",))
    assert good.context == {"tier": "gold", "source": "file"}
    assert (bad.session_id, bad.agent_id, bad.author, bad.tags) == ("reviews", "shop", None, ("x",))
    assert bad.context == {"tier": "free", "source": "file"}


def test_columns_with_equal_names(hk: Harken) -> None:
    """Columns without a name, or with names that become the same, are all stored."""
    imported(hk, ",session_id,a b,a_b,,a.b\nx,s,1,2,y,3\n")
    assert only(hk).context == {"unnamed": "x", "a_b": "1", "a_b_2": "2", "_2": "y", "a_b_3": "3"}
    imported(hk, '{"session_id": "t", "a b": 1, "a_b": 2, "nested": {"x": [1]}}', "jsonl")
    [feedback] = hk.export(session_id="t")
    assert feedback.context == {"a_b": 1, "a_b_2": 2, "nested": '{"x": [1]}'}


def test_a_byte_order_mark_is_ignored(hk: Harken) -> None:
    """The byte order mark that spreadsheets write is not part of the first name or row."""
    imported(hk, b"\xef\xbb\xbfsession_id,rating\r\ns,up\r\n")
    imported(hk, b'\xef\xbb\xbf{"session_id": "t"}\r\n', "jsonl")
    assert [one.session_id for one in hk.export()] == ["s", "t"]


@pytest.mark.parametrize(
    ("mapped", "constants", "message"),
    [
        ({"remark": "x"}, {}, "Unknown field 'remark'; the fields are session_id"),
        ({}, {"id": "1"}, "Unknown field 'id'"),
        ({"context.a b": "x"}, {}, "context name 'a b'"),
        (
            {"comment": "txt"},
            {},
            "Column 'txt', which is mapped to comment, is missing; the columns are 'rating', 'text'",
        ),
        (
            {},
            {},
            "The rows have no session_id.*--map session_id=COLUMN.*--set session_id=VALUE; the columns are 'rating'",
        ),
    ],
)
def test_invalid_mappings_are_refused(hk: Harken, mapped: Any, constants: Any, message: str) -> None:
    """An invalid mapping is refused before any row is read, and the error lists the valid names."""
    with pytest.raises(UnusableFile, match=message):
        imported(hk, "rating,text\nup,hi\n", columns=Columns(mapped, constants))


@pytest.mark.parametrize(
    ("data", "of", "message"),
    [
        (b"", "csv", "must begin with a row of column names: this file is empty"),
        (b'"session_id\n', "csv", "must begin with a row of column names: not valid CSV"),
        (b"session_id,rating,rating\ns,up,down\n", "csv", "The column 'rating' appears twice; remove or rename one"),
        (b"session_id,tier, tier \ns,1,2\n", "csv", "The column 'tier' appears twice"),
        (b"id,version,vote,withdrawn_at,vote\na,1,true,,false\n", "csv", "The column 'vote' appears twice"),
        ("session_id\ns\n".encode("utf-16"), "csv", "UTF-16; save it as UTF-8"),
        ('{"session_id": "s"}'.encode("utf-16"), "jsonl", "UTF-16; save it as UTF-8"),
        (b'{"rating": "up"}\n{"rating": "down"}\n', "jsonl", "--map session_id=COLUMN"),
    ],
)
def test_unusable_files_are_refused(hk: Harken, data: bytes, of: str, message: str) -> None:
    """A file without any usable row is refused as a whole."""
    with pytest.raises(UnusableFile, match=message):
        imported(hk, data, of)


@pytest.mark.parametrize(
    ("data", "of", "message"),
    [
        ('{"session_id": "s", "rating": "down", "rating": "up"}\n', "jsonl", 'The member "rating" appears twice'),
        ('{"session_id": "s", "context": {"a": 1, "a": 2}}\n', "jsonl", 'The member "a" appears twice'),
        ('session_id,context\ns,"{""a"": 1, ""a"": 2}"\n', "csv", 'context: The member "a" appears twice'),
        ('session_id,tags\ns,"[{""a"": 1, ""a"": 2}]"\n', "csv", 'tags: The member "a" appears twice'),
    ],
)
def test_repeated_members_are_rejected(hk: Harken, data: str, of: str, message: str) -> None:
    """A row with a repeated member is rejected with its name; other rows are imported."""
    _, rejected = imported(hk, data + ('{"session_id": "t"}\n' if of == "jsonl" else "t,\n"), of)
    assert [parts[1] for parts in rejected] == [message]
    assert [one.session_id for one in hk.export()] == ["t"]


# --- invalid rows -----------------------------------------------------------------------------------------------------

BAD_CELLS = [
    ("s,up", "the row has 2 cells, but there are 3 columns", "s,up"),
    ("s,up,a,b", "the row has 4 cells, but there are 3 columns", "s,up,a,b"),
    ("s,sideways,a", "Invalid rating: sideways. Must be 'up', 'down', or None", None),
    (",up,a", "no session_id; map a column to it with --map session_id=COLUMN", None),
    ("s,down,", "Please provide a comment when giving negative feedback", None),
    ("s,up,a\0b", "comment must not contain NUL characters", None),
    (f"s,up,{'x' * 1001}", "Comment too long: 1001 characters (max: 1000)", None),
    (f"s,sideways,{'x' * 1001}", "Invalid rating: sideways. Must be 'up', 'down', or None; Comment too long", None),
    (f"s,up,{'x' * MAX_ROW_CHARACTERS}", "the row is too long", f"s,up,{'x' * 995}"),
    ('s,up,"never closed', "not valid CSV: unexpected end of data", 's,up,"never closed'),
    ('s,up,"5" screen"', "not valid CSV: ',' expected after '\"'", 's,up,"5" screen"'),
]


@pytest.mark.parametrize(("bad", "reason", "raw"), BAD_CELLS)
def test_an_invalid_row_does_not_affect_others(hk: Harken, bad: str, reason: str, raw: str | None) -> None:
    """The rows before and after an invalid one are imported; its line and the reason are reported."""
    tally, rejected = imported(hk, f"session_id,rating,comment\nbefore,up,a\n\n{bad}\nafter,up,b\n")
    assert [one.session_id for one in hk.export()] == ["before", "after"]
    assert (tally.read, tally.added, tally.rejected) == (3, 2, 1)
    [(line, message, row)] = rejected
    assert line == 4
    assert message.startswith(reason)
    assert row == (raw or dict(zip(("session_id", "rating", "comment"), bad.split(","), strict=True)))


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        (
            "created_at",
            "yesterday",
            "created_at is not an ISO 8601 date: 'yesterday'; expected one such as 2026-01-31T12:00:00Z",
        ),
        ("created_at", "1969-12-31", "created_at must"),
        ("created_at", "9999-12-31T23:59:59-10:00", "created_at is not an ISO 8601 date"),
        ("tags", "[oops", "tags is not valid JSON: '[oops'"),
        ("context", "{oops", "context is not valid JSON: '{oops'"),
        ("sentiment_polarity", "good", "sentiment polarity must be a number, got 'good'"),
        ("sentiment_polarity", "0.5", "sentiment subjectivity must be a number, got None"),
    ],
)
def test_invalid_cells_are_reported(hk: Harken, column: str, cell: str, reason: str) -> None:
    """The reason says what the column expects."""
    _, [(line, message, row)] = imported(hk, f"session_id,{column}\ns,{cell}\nt,\n")
    assert (line, row) == (2, {"session_id": "s", column: cell})
    assert message.startswith(reason)
    assert only(hk).session_id == "t"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops}", "not valid JSON: Expecting property name"),
        ("[1]", "expected a JSON object such as {...}, got list"),
        ("null", "expected a JSON object such as {...}, got NoneType"),
        ("[" * 100_000, "the JSON exceeds a limit"),
        ('{"a": 1' + "0" * 5_000 + "}", "the JSON exceeds a limit"),
        ('{"session_id": "s", "comment": "\\ud800"}', "comment contains a lone surrogate"),
        ('{"session_id": "s", "comment": "\\u0000"}', "comment must not contain NUL"),
        ('{"session_id": "s", "comment": 1}', "comment must be a string, got int"),
        ('{"session_id": true}', "session_id must be a string, got bool"),
        ('{"session_id": ["s"]}', "session_id must be a string, got list"),
        ('{"session_id": "s", "rating": 0}', "Invalid rating: 0"),
        ('{"session_id": "s", "rating": ["up"]}', "Invalid rating: ['up']"),
        ('{"session_id": "s", "tags": {"a": 1}}', "tags must be a string or a list of strings"),
        ('{"session_id": "s", "tags": [1]}', "tag must be a string, got int"),
        ('{"session_id": "s", "x": NaN}', "context.x must be finite"),
        ('{"session_id": "s", "x": 9223372036854775808}', "context.x must fit into 64 bits"),
        ('{"session_id": "s", "created_at": 1424129765}', "created_at is not an ISO 8601 date: 1424129765"),
        ('{"rating": "up"}', "no session_id"),
    ],
)
def test_an_invalid_object_does_not_affect_others(hk: Harken, line: str, reason: str) -> None:
    """The same for JSON Lines: no line stops the import or is lost without a reason."""
    lines = ('{"session_id": "before"}', "", line, '{"session_id": "after"}')
    _, rejected = imported(hk, "\n".join(lines), "jsonl")
    assert [one.session_id for one in hk.export()] == ["before", "after"]
    [(number, message, row)] = rejected
    assert number == 3
    assert message.startswith(reason)
    # The file of rejected rows is ASCII.
    assert json.dumps({"row": row}).isascii()


def test_invalid_utf8_affects_only_its_row(hk: Harken) -> None:
    """Rows in Latin-1 are rejected, with the invalid bytes escaped."""
    _, csv_rejected = imported(hk, b"session_id,comment\na,caf\xe9\nb,caf\xc3\xa9\n")
    _, jsonl_rejected = imported(hk, b'{"session_id": "c", "comment": "caf\xe9"}\n{"session_id": "d"}\n', "jsonl")
    message = "the row is not UTF-8; save the file as UTF-8 and import it again"
    assert csv_rejected == [(2, message, {"session_id": "a", "comment": "caf\\xe9"})]
    assert jsonl_rejected == [(1, message, '{"session_id": "c", "comment": "caf\\xe9"}')]
    assert [(one.session_id, one.comment) for one in hk.export()] == [("b", "café"), ("d", "")]


def test_line_numbers() -> None:
    """The line of a record is its first physical line, also after records of several lines."""
    rows = rows_of(b'session_id,comment\r\na,"1\r\n2\n3"\r\n\r\nb\r\nc,"4\n5"\r\nd\r\n')
    assert [(row.line, bool(row.reason)) for row in rows] == [(2, False), (6, True), (7, False), (9, True)]


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
    found = [(row.line, row.raw if isinstance(row.raw, str) else row.raw[0]) for row in rows_of(text.encode())]
    ids = [(line, raw.partition(",")[0]) for line, raw in found if raw.startswith("id-")]
    assert ids == [(lines.index(line) + 1, line.partition(",")[0]) for line in lines if line.startswith("id-")]


def test_an_unclosed_quote_affects_one_line(hk: Harken) -> None:
    """All rows after an unclosed quote are imported, including quoted ones."""
    following = "".join(f's{number},up,"said, and done"\n' for number in range(50))
    tally, rejected = imported(hk, f'session_id,rating,comment\nbad,up,"open\nfine,up,ok\n{following}')
    assert (tally.read, tally.added) == (52, 51)
    assert [(line, row) for line, _, row in rejected] == [(2, 'bad,up,"open')]


def test_many_unclosed_quotes_are_fast() -> None:
    """Each unclosed quote costs at most the reading of one row of maximum length."""
    data = b"session_id,comment\n" + b's,"open\n' * 3_000
    began = time.perf_counter()
    assert len(rows_of(data)) == 3_000
    assert time.perf_counter() - began < 10


def test_an_endless_line_is_skipped(hk: Harken) -> None:
    """A very long line is skipped in pieces, and the next line is a row again."""
    garbage = b"x" * (2 * MAX_EXPORTED_CHARACTERS)
    tally, [(line, _, row)] = imported(hk, b"session_id\n" + garbage + b"\nfine\n")
    assert (tally.added, line, len(row)) == (1, 2, 1_000)
    assert only(hk).session_id == "fine"
    tally, [(line, _, row)] = imported(hk, garbage + b'\n{"session_id": "also"}\n', "jsonl")
    assert (tally.added, line, len(row)) == (1, 1, 1_000)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """For any bytes after the header, each row has content or a reason, and reading ends."""
    for row in rows_of(b"session_id,comment\n" + data):
        assert (row.content is None) == bool(row.reason)


@given(st.text(st.sampled_from(',"\r\nab='), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """The same for text that is almost CSV; line numbers increase."""
    lines = [row.line for row in rows_of(b"session_id,comment\n" + text.encode())]
    assert lines == sorted(set(lines))


@pytest.mark.usefixtures("in_kathmandu")
@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_a_date_without_a_zone_is_in_utc(hk: Harken, of: str) -> None:
    """Times without a zone are UTC, independent of the local time zone; a zone in a file is respected."""
    rows = [("plain", "2015-02-16T23:36:05"), ("day", "2015-02-16"), ("zone", "2015-02-17T05:21:05+05:45")]
    csv_text = "session_id,created_at\n" + "".join(f"{name},{text}\n" for name, text in rows)
    lines = "\n".join(json.dumps({"session_id": name, "created_at": text}) for name, text in rows)
    imported(hk, csv_text if of == "csv" else lines, of)
    found = {one.session_id: one.created_at for one in hk.export()}
    instant = datetime(2015, 2, 16, 23, 36, 5, tzinfo=UTC)
    assert found == {"plain": instant, "day": datetime(2015, 2, 16, tzinfo=UTC), "zone": instant}


# --- repeated imports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_importing_again_adds_nothing(hk: Harken, of: str) -> None:
    """Rows are identified by their content: the same file, in any order, has only duplicates."""
    rows = ["a,up,x", "b,up,y", "a,up,x", "a,up,z"]
    lines = [json.dumps(dict(zip(("session_id", "rating", "comment"), row.split(","), strict=True))) for row in rows]

    def file(order: int) -> str:
        if of == "jsonl":
            return "\n".join(lines[::order])
        return "\n".join(("session_id,rating,comment", *rows[::order]))

    assert imported(hk, file(1), of)[0] == Tally(4, 4, 0, 0)
    assert imported(hk, file(1), of)[0] == Tally(4, 0, 4, 0)
    assert imported(hk, file(-1), of)[0] == Tally(4, 0, 4, 0)


def test_repeated_rows_are_all_stored(hk: Harken) -> None:
    """Equal rows in one file are stored as often as they occur."""
    header, row = "session_id,comment\n", "s,Great\n"
    assert imported(hk, header + row * 3)[0].added == 3
    assert imported(hk, header + row * 5)[0] == Tally(5, 2, 3, 0)


def test_the_order_of_columns_is_irrelevant(hk: Harken) -> None:
    """A file with reordered columns has the same rows."""
    imported(hk, "session_id,b,a,comment\ns,1,2,hi\n")
    assert imported(hk, "a,comment,b,session_id\n2,hi,1,s\n")[0].duplicates == 1


def test_neighbouring_cells_are_not_confused(hk: Harken) -> None:
    """Rows whose concatenated cells are equal are different rows."""
    rows = ["ab,c,,", "a,bc,,", "a,,b,c", "a,,,bc", "a,,bc,"]
    tally, _ = imported(hk, "\n".join(("session_id,comment,x,y", *rows)))
    assert tally.added == len(rows)


def test_an_import_causes_no_events(hk: Harken) -> None:
    """Imported feedback is old, so it does not cause notifications."""
    imported(hk, "session_id\ns\n")
    assert hk.outbox.events(limit=10) == []


def test_batches_are_durable_one_by_one() -> None:
    """Counted rows are stored, so an interrupted import can be repeated."""
    data = "session_id\n" + "".join(f"s{number}\n" for number in range(2_500))
    with harken.connect("memory://") as hk:
        batches = Importer(hk, CsvSource(io.BytesIO(data.encode()), Columns(), "default"), print).batches()
        assert next(batches).added == hk.summary().total == 1_000
        assert imported(hk, data)[0] == Tally(2_500, 1_500, 1_000, 0)


def test_dates_keep_their_microseconds(hk: Harken) -> None:
    """Times are imported exactly."""
    imported(hk, "session_id,created_at\ns,2020-01-01T00:00:00.000001Z\n")
    assert only(hk).created_at == datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)

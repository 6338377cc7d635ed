"""Importing files of other programs: mapped columns, invalid rows and repeated imports."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import harken
from harken import Feedback, Harken, InvalidQuery, Rating, Sentiment, Target
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.report import heading
from harken_adapters.formats.importing.tally import Tally
from import_files import imported, importer_of, table_of, understood


def only(hk: Harken) -> Feedback:
    """The only entry in the storage."""
    [feedback] = hk.export()
    return feedback


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
    imported(hk, f'session_id,rating,tags\ns,up,"{quoted}"\n')
    assert only(hk).tags == tags


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_sentiment_is_imported(hk: Harken, of: str) -> None:
    """The sentiment in a file is stored."""
    parts: dict[str, Any] = {"polarity": -0.5, "subjectivity": 1}
    text = json.dumps({"session_id": "s", "rating": "up", "sentiment": parts})
    imported(
        hk, "session_id,rating,sentiment_polarity,sentiment_subjectivity\ns,up,-0.5,1" if of == "csv" else text, of
    )
    assert only(hk).sentiment == Sentiment(-0.5, 1)


@pytest.mark.parametrize(("lines", "text"), [("", "; 2 rows"), ("Reviews\n", "1 row before the header; 2 rows")])
def test_rows_that_are_not_data_are_named(lines: str, text: str) -> None:
    """What is above the names of the columns is counted, in the singular too."""
    profile, _ = understood(f"{lines}session_id,rating,comment\na,up,b\nc,up,d\n")
    assert heading(profile).endswith(text)


@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_columns_can_be_mapped_and_constants_set(hk: Harken, of: str) -> None:
    """Columns map other names; a constant is used only if a row has no value."""
    columns = ImportOptions(
        columns={"comment": "text", "author": "user", "context.tier": "plan", "tags": "labels"},
        constants={
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
    imported(hk, ",session_id,rating,a b,a_b,,a.b\nx,s,up,1,2,y,3\n")
    assert only(hk).context == {"unnamed": "x", "a_b": "1", "a_b_2": "2", "_2": "y", "a_b_3": "3"}
    imported(hk, '{"session_id": "t", "rating": "up", "a b": 1, "a_b": 2, "nested": {"x": [1]}}', "jsonl")
    [feedback] = hk.export(session_id="t")
    assert feedback.context == {"a_b": 1, "a_b_2": 2, "nested": '{"x": [1]}'}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"columns": {"remark": "x"}}, "Unknown field 'remark'"),
        ({"columns": {"coment": "x"}}, "did you mean 'comment'"),
        ({"constants": {"id": "1"}}, "Unknown field 'id'"),
        ({"columns": {"context.a b": "x"}}, "context name 'a b'"),
        (
            {"columns": {"comment": "txt"}},
            r"Column 'txt', which is mapped to comment, is missing \(did you mean 'text'\?\); the columns are 'rating'",
        ),
        (
            {"only": ["nothing"]},
            "No column of --only, such as 'nothing', is in the file; the columns are 'rating', 'text'",
        ),
        ({"scale": "grades"}, "Unknown scale 'grades'; expected one of 0..1, stars, nps"),
        ({"ratings": {"5": "good"}}, "'good' is not a rating for '5'; expected up, down or neutral"),
        ({"zone": "Europe/Nowhere"}, "Unknown time zone 'Europe/Nowhere'"),
    ],
)
@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_invalid_options_are_refused(hk: Harken, of: str, given: Any, message: str) -> None:
    """Invalid options are refused before any row is stored, and the error lists the valid names."""
    data = "rating,text\nup,hi\n" if of == "csv" else '{"rating": "up", "text": "hi"}\n'
    with pytest.raises((UnusableFile, InvalidQuery), match=message):
        imported(hk, data, of, ImportOptions(**given))
    assert hk.summary().total == 0


@pytest.mark.parametrize(
    ("data", "of", "message"),
    [
        ('{"session_id": "s", "rating": "down", "rating": "up"}\n', "jsonl", 'The member "rating" appears twice'),
        ('{"session_id": "s", "rating": "up", "context": {"a": 1, "a": 2}}\n', "jsonl", 'The member "a" appears twice'),
        ('session_id,context,rating\ns,"{""a"": 1, ""a"": 2}",up\n', "csv", 'context: The member "a" appears twice'),
        ('session_id,tags,rating\ns,"[{""a"": 1, ""a"": 2}]",up\n', "csv", 'tags: The member "a" appears twice'),
    ],
)
def test_repeated_members_are_rejected(hk: Harken, data: str, of: str, message: str) -> None:
    """A row with a repeated member is rejected with its name; other rows are imported."""
    _, rejected = imported(hk, data + ('{"session_id": "t", "rating": "up"}\n' if of == "jsonl" else "t,,up\n"), of)
    assert [parts[1] for parts in rejected] == [message]
    assert [one.session_id for one in hk.export()] == ["t"]


# --- invalid rows -----------------------------------------------------------------------------------------------------

BAD_CELLS = [
    ("s,sideways,a", "Unknown rating 'sideways'", None),
    ("s,up,a\0b", "comment must not contain NUL characters", None),
    (f"s,up,{'x' * 10_001}", "Comment too long: 10001 characters (max: 10000)", None),
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
            "created_at is not a date: 'yesterday'; expected one such as 2026-01-31T12:00:00Z",
        ),
        ("created_at", "1969-12-31", "created_at must"),
        ("created_at", "9999-12-31T23:59:59-10:00", "created_at must be in the years"),
        ("tags", "[oops", "tags is not valid JSON: '[oops'"),
        ("context", "{oops", "context is not valid JSON: '{oops'"),
        ("sentiment_polarity", "good", "sentiment polarity must be a number, got 'good'"),
        ("sentiment_polarity", "0.5", "sentiment subjectivity must be a number, got None"),
    ],
)
def test_invalid_cells_are_reported(hk: Harken, column: str, cell: str, reason: str) -> None:
    """The reason says what the column expects."""
    valid = "2026-01-31" if column == "created_at" else ""
    _, [(line, message, row)] = imported(hk, f"session_id,rating,{column}\ns,up,{cell}\nt,up,{valid}\n")
    assert (line, row) == (2, {"session_id": "s", "rating": "up", column: cell})
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
        ('{"session_id": "s", "comment": {"a": 1}}', "comment must be a string, got dict"),
        ('{"session_id": true}', "session_id must be a string, got bool"),
        ('{"session_id": ["s"]}', "session_id must be a string, got list"),
        ('{"session_id": "s", "rating": "meh"}', "Unknown rating 'meh'"),
        ('{"session_id": "s", "rating": ["up"]}', "Unknown rating '[\"up\"]'"),
        ('{"session_id": "s", "tags": {"a": 1}}', "tags must be a string or a list of strings"),
        ('{"session_id": "s", "tags": [1]}', "tag must be a string, got int"),
    ],
)
def test_an_invalid_object_does_not_affect_others(hk: Harken, line: str, reason: str) -> None:
    """The same for JSON Lines: no line stops the import or is lost without a reason."""
    lines = ('{"session_id": "before", "rating": "up"}', "", line, '{"session_id": "after", "comment": "b"}')
    _, rejected = imported(hk, "\n".join(lines), "jsonl")
    assert [one.session_id for one in hk.export()] == ["before", "after"]
    [(number, message, row)] = rejected
    assert number == 3
    assert message.startswith(reason)
    # The file of rejected rows is ASCII.
    assert json.dumps({"row": row}).isascii()


@pytest.mark.usefixtures("in_kathmandu")
@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_a_date_without_a_zone_is_in_utc(hk: Harken, of: str) -> None:
    """Times without a zone are UTC, independent of the local time zone; a zone in a file is respected."""
    rows = [("plain", "2015-02-16T23:36:05"), ("day", "2015-02-16"), ("zone", "2015-02-17T05:21:05+05:45")]
    csv_text = "session_id,rating,created_at\n" + "".join(f"{name},up,{text}\n" for name, text in rows)
    lines = "\n".join(json.dumps({"session_id": name, "rating": "up", "created_at": text}) for name, text in rows)
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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sentiment": {"polarity": 0.5, "subjectivity": 1}}, {"sentiment": {"polarity": 0.25, "subjectivity": 1}}),
        ({"context": {"a": None}}, {"context": {"a": ""}}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"tags": ["a", "b"]}, {"tags": ["a"], "b": "x"}),
        ({"created_at": "2026-01-01T00:00:00Z"}, {"created_at": "2026-01-01T00:00:00.000001Z"}),
    ],
)
def test_rows_that_differ_in_any_part_are_different(hk: Harken, one: Any, other: Any) -> None:
    """Both are stored, from one file and from two."""
    rows = [json.dumps({"session_id": "s", "rating": "up", **row}) for row in (one, other)]
    for row in rows:
        assert imported(hk, row, "jsonl")[0] == Tally(1, 1, 0, 0)
    assert imported(hk, "\n".join(rows), "jsonl")[0] == Tally(2, 0, 2, 0)


def test_an_import_causes_no_events(hk: Harken) -> None:
    """Imported feedback is old, so it does not cause notifications."""
    imported(hk, "session_id,rating\ns,up\n")
    assert hk.outbox.events(limit=10) == []


def test_batches_are_durable_one_by_one() -> None:
    """Counted rows are stored, so an interrupted import can be repeated."""
    data = "session_id,rating\n" + "".join(f"s{number},up\n" for number in range(2_500))
    with harken.connect("memory://") as hk:
        with table_of(data) as table:
            batches = importer_of(hk, table).batches()
            assert next(batches).added == hk.summary().total == 1_000
        assert imported(hk, data)[0] == Tally(2_500, 1_500, 1_000, 0)


def test_dates_keep_their_microseconds(hk: Harken) -> None:
    """Times are imported exactly."""
    imported(hk, "session_id,rating,created_at\ns,up,2020-01-01T00:00:00.000001Z\n")
    assert only(hk).created_at == datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)

"""JSON Lines and JSON documents."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.lines import MAX_EXPORTED_CHARACTERS
from import_files import raw_rows, records_of, table_of

ROWS = [{"id": 1, "comment": "good"}, {"id": 2, "comment": 'bad\n] } , " \\', "nested": {"a": [1, {"b": None}]}}]
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON_VALUES, max_size=4), max_size=8
)


# --- JSON Lines -------------------------------------------------------------------------------------------------------


@given(
    OBJECTS, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])
)
def test_any_lines_are_read_back(rows: list[Any], ascii_only: bool, ending: str, encoding: str) -> None:
    """What the standard library writes is read back equal."""
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + ending for row in [{"first": 1}, *rows])
    assert raw_rows(text.encode(encoding), "file.jsonl") == [{"first": 1}, *rows]


BAD_LINES = [
    ("{oops}", "not valid JSON: Expecting property name"),
    ("[1]", "expected a JSON object such as {...}, got list"),
    ("null", "expected a JSON object such as {...}, got NoneType"),
    ("[" * 100_000, "the JSON exceeds a limit"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "the JSON exceeds a limit"),
    ('{"a": 1' + "0" * 5_000 + "}", "the JSON exceeds a limit"),
    ('{"a": 1, "a": 2}', 'The member "a" appears twice'),
    ('{"b": {"a": 1, "a": 2}}', 'The member "a" appears twice'),
    (f'{{"a": "{"x" * MAX_EXPORTED_CHARACTERS}"}}', "the row is too long"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_an_invalid_line_does_not_affect_others(line: str, problem: str) -> None:
    """No line stops the reading or is lost without a reason."""
    with table_of("\n".join(('{"n": 1}', "", line, '{"n": 3}')), "file.jsonl") as table:
        before, invalid, after = table.rows()
        assert (before.values, before.position, after.values, after.position) == ({"n": 1}, 1, {"n": 3}, 4)
        assert invalid.position == 3
        assert invalid.problem.startswith(problem)
        assert table.raw(invalid) == (line if len(line) < MAX_EXPORTED_CHARACTERS else line[:1_000])


def test_rejected_rows_are_unwrapped() -> None:
    """The file of the rejected rows of an earlier import can be imported after its rows were corrected."""
    lines = [
        {"line": 2, "reason": "no date", "row": {"id": "1"}},
        {"line": 7, "reason": "not valid CSV", "row": "1,2,"},
        {"position": 9, "reason": "no date", "row": {"id": "2"}},
        {"id": "3"},
        {"line": 7, "reason": "no object", "row": [1]},
    ]
    with table_of("".join(f"{json.dumps(line)}\n" for line in lines), "file.csv.rejected.jsonl") as table:
        assert table.layout.is_rejects
        first, text, second, other, a_list = table.rows()
        assert [first[:2], second[:2]] == [(1, {"id": "1"}), (3, {"id": "2"})]
        assert text.problem.startswith("the row could not be read (not valid CSV); replace its text by a JSON object")
        assert (table.raw(first), table.raw(text), table.raw(a_list)) == ({"id": "1"}, "1,2,", "[1]")
        assert other.problem.startswith("expected a rejected row")


def test_rejected_entries_of_documents_are_unwrapped() -> None:
    """An entry that a migration rejected gets the session of its document; metadata is not taken for feedback."""
    lines = [
        {"session": "s", "position": 0, "reason": "no date", "row": {"rating": "up"}},
        {"session": "s", "position": 1, "reason": "no date", "row": {"rating": "up", "session_id": "t"}},
        {"session": "s", "position": 2, "reason": "not an object", "row": 5},
        {"session": "s", "position": None, "reason": "no name", "row": {"metadata": {"$n": 1}}},
    ]
    with table_of("".join(f"{json.dumps(line)}\n" for line in lines), "docs.rejected.jsonl") as table:
        assert table.layout.is_rejects
        first, second, number, metadata = table.rows()
    assert first.values == {"rating": "up", "session_id": "s"}
    assert second.values == {"rating": "up", "session_id": "s", "session_id_2": "t"}
    assert number.problem.startswith("the row could not be read (not an object)")
    assert metadata.problem == "this is not an entry of feedback (no name); correct it where it is from"


def test_similar_rows_are_not_unwrapped() -> None:
    """Rows with other members too are rows."""
    row = {"line": 2, "reason": "slow", "row": {"id": "1"}, "rating": 1}
    with table_of(json.dumps(row), "file.jsonl") as table:
        assert not table.layout.is_rejects
        assert [record.values for record in table.rows()] == [row]


# --- documents --------------------------------------------------------------------------------------------------------


@given(OBJECTS, st.sampled_from([None, 2]), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_list_is_read_back(rows: list[Any], indent: int | None, ascii_only: bool, encoding: str) -> None:
    """What the standard library writes is read back equal, as a list or in an object."""
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    assert raw_rows(text.encode(encoding), "file.json") == rows
    document = json.dumps({"x": [1], "data": {"items": rows}}, indent=indent, ensure_ascii=ascii_only)
    assert raw_rows(document.encode(encoding), "file.json", format="json", key="data.items") == rows


@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file.txt", "file.ndjson"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_recognised(name: str, indent: int | None) -> None:
    """A list of objects is recognised by its content, also under the suffix of JSON Lines."""
    with table_of(json.dumps(ROWS, indent=indent), name) as table:
        assert (table.layout.format, table.layout.place) == ("json", None)
        assert [(record.position, record.values) for record in table.rows()] == list(enumerate(ROWS, 1))


@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file.txt"])
def test_lines_are_recognised(name: str) -> None:
    """Objects on lines are recognised by their content, also under the suffix of JSON, and if the first is invalid."""
    for data in (LINES, f"{{oops}}\n{LINES}", '{"id": 1}'):
        with table_of(data, name) as table:
            assert table.layout.format == "jsonl"
            assert any(record.values.get("id") == 1 for record in table.rows() if not record.problem)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_only_list_in_an_object_is_found(indent: int | None) -> None:
    """A list of objects is found anywhere in an object, besides other values and lists."""
    document = {"page": 1, "names": ["a", "]"], "empty": [], "data": {"next": None, "items": ROWS}, "more": {"x": {}}}
    with table_of(json.dumps(document, indent=indent), "file.json") as table:
        assert table.layout.place == "the list under 'data.items'"
        assert [table.raw(record) for record in table.rows()] == ROWS


BY_LINE = [
    '{"items": [\n%s,\n%s\n]}',
    '{"items": [\n%s\n,%s]}',
    '{"items":\n[%s,\n%s]}',
    '{"page": 1, "note": "a \\"[{", "items": [\n%s,\n%s\n], "more": []}\n',
    '{"page": 1\n,"items": [\n%s,\n%s\n]}',
]


@pytest.mark.parametrize("document", BY_LINE)
@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file.txt"])
@pytest.mark.parametrize("key", [None, "items"])
def test_a_document_with_a_row_on_each_line(document: str, name: str, key: str | None) -> None:
    """A first line that is not complete begins a document, although rows are objects on lines."""
    data = document % tuple(map(json.dumps, ROWS))
    with table_of(data, name, key=key) as table:
        assert (table.layout.format, table.layout.place) == ("json", "the list under 'items'")
        assert [table.raw(record) for record in table.rows()] == ROWS


def test_a_document_with_one_row_on_a_line() -> None:
    """The same with only one row."""
    assert raw_rows('{"items": [\n{"id": 1}\n]}', "file.json") == [{"id": 1}]


@pytest.mark.parametrize("first", ['{"id": 1, "comment": "go', '{"id": 1', '{"id": 1, "a": [{'])
def test_a_first_line_that_is_cut_off(first: str) -> None:
    """Objects on the lines after it are JSON Lines."""
    with table_of(f"{first}\n{LINES}", "file.jsonl") as table:
        invalid, *rows = table.rows()
        assert (bool(invalid.problem), [record.values for record in rows]) == (True, ROWS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('{"data": {"items": [\n{"id": 1},\n{"id": 2}\n]}}', "there are lists under data.items"),
        ('{"data": {"items": [{"id": 1}]}}', "there are lists under data.items"),
        ('{"data": {"items": []}, "n": 1}', "it has no list of objects, only 'data', 'n'"),
        ('{"n": 1}', "it has no list of objects, only 'n'"),
        ("{}", "it has no list of objects, as it is empty"),
    ],
)
def test_a_path_that_is_not_in_the_document_is_refused(document: str, message: str) -> None:
    """The error names what is there."""
    with pytest.raises(UnusableFile) as error:
        raw_rows(document, "file.json", key="data.itms")
    assert str(error.value).endswith(f"has no list under 'data.itms'; {message}")


def test_a_path_means_a_document() -> None:
    """A single line is a document then, and JSON Lines are refused."""
    assert raw_rows('{"items": [{"id": 1}]}', "file.jsonl", key="items") == [{"id": 1}]
    for options in ({}, {"format": "jsonl"}):
        with pytest.raises(UnusableFile, match="is JSON Lines, in which nothing is under 'items'; leave out --key"):
            raw_rows(LINES, "file.jsonl", key="items", **options)


def test_one_of_several_lists_is_chosen() -> None:
    """Of several lists, one must be named by its path, in which names may have dots."""
    data = json.dumps({"a": {"b.c": ROWS}, "b": ROWS[:1], "a.x": 1})
    with pytest.raises(UnusableFile, match=r"several lists of objects; choose one with --key: a\.b\.c, b"):
        raw_rows(data, "file.json")
    with pytest.raises(UnusableFile, match=r"no list under 'a'; there are lists under a\.b\.c, b"):
        raw_rows(data, "file.json", key="a")
    assert raw_rows(data, "file.json", key="a.b.c") == ROWS
    assert raw_rows(data, "file.json", key="b") == ROWS[:1]
    with pytest.raises(UnusableFile, match=r"is a list.*leave out --key"):
        raw_rows(json.dumps(ROWS), "file.json", key="b")


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ("{oops}", "not valid JSON: Expecting property name"),
        ('{"a": 1,}', "not valid JSON: "),
        ("oops", "not valid JSON: Expecting value"),
        ('{"a": "\\x"}', "not valid JSON: Invalid \\escape"),
        ("[1]", "expected a JSON object such as {...}, got list"),
        ("12.5e3", "expected a JSON object such as {...}, got float"),
        ("[" * 100_000 + "]" * 100_000, "the JSON exceeds a limit"),
        ('{"a": 1' + "0" * 5_000 + "}", "the JSON exceeds a limit"),
        ('{"a": 1, "a": 2}', 'The member "a" appears twice'),
        ('{"b": {"a": 1, "a": "}\\"]"}}', 'The member "a" appears twice'),
        (f'{{"a": "{"x" * MAX_EXPORTED_CHARACTERS}"}}', "the row is too long"),
        (f'{{"a": "{chr(92) * 600_000}", oops}}', "not valid JSON"),
    ],
)
def test_an_invalid_element_does_not_affect_others(element: str, problem: str) -> None:
    """The elements before and after an invalid one are read."""
    with table_of(f'[{{"n": 1}},\n{element} , {{"n": 3}}]', "file.json") as table:
        before, invalid, after = table.rows()
        assert (before.values, after.values, invalid.position) == ({"n": 1}, {"n": 3}, 2)
        assert invalid.problem.startswith(problem)
        assert str(table.raw(invalid))[:20] == element[:20].replace("12.5e3", "12500.0")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('[{"a": 1}, {"a": ', r"not valid JSON in line 1: it ends early; a list or an object is not closed"),
        ('[{"a": 1},\n{"a": "open', "in line 2: it ends early; a string is not closed"),
        ('[{"a": 1}', "ends early; expected ]"),
        ('[{"a": 1} {"a": 2}]', "in line 1: expected ]"),
        ('[{"a": 1}]\n[{"a": 2}]', "in line 2: there is more after its end"),
        ('{\n"a": [{}], "a": 1}', 'in line 2: The member "a" appears twice'),
        ('{\n"a": [{}]', "in line 2: it ends early; expected }"),
        ('{\n"a" [{}]}', "in line 2: expected :"),
        ('{\n"a": [{}], b: 1}', "in line 2: expected a name in quotes"),
        ('{\n"a": 1}', "has no list of objects"),
        ('{\n"a": [{}]}\n{"b": 1}', "there is more after its end"),
    ],
)
def test_invalid_documents_are_refused(data: str, message: str) -> None:
    """If the next element cannot be found, the error has the line."""
    with pytest.raises(UnusableFile, match=message):
        raw_rows(data, "file.json", format="json")


@given(st.text(st.sampled_from('{}[]",:\\ \na1-.e'), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is refused, or read as Python reads it."""
    try:
        rows = [record.values for record in records_of(text, "file.json", format="json") if not record.problem]
    except UnusableFile:
        return
    try:
        document = json.loads(text)
    except ValueError:
        return
    if isinstance(document, list):
        assert rows == [element for element in document if isinstance(element, dict)]


def test_values_at_the_end_of_a_block() -> None:
    """Elements of any size are read, wherever the blocks end in which a file is read."""
    rows = [{"n": number, "x": "\\" * (number * 1_237 % 5_000)} for number in range(600)]
    assert raw_rows(json.dumps(rows), "file.json") == rows
    numbers = [1.5e300, -12345678901234567890, 10**100] * 20_000
    records = records_of(json.dumps(numbers), "file.json")
    assert [json.loads(record.values) for record in records] == numbers

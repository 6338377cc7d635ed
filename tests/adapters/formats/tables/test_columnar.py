"""Spreadsheets, Parquet and Arrow: typed values."""

import io
import json
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import harken
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from import_files import imported, raw_rows, records_of, table_of

WRITTEN = datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001 - cells of spreadsheets have no zone


def xlsx(rows: list[list[Any]], *, more: dict[str, list[list[Any]]] | None = None, **options: Any) -> bytes:
    """A spreadsheet with the rows in its first sheet."""
    data = io.BytesIO()
    fixed = {"default_date_format": "yyyy-mm-dd hh:mm:ss", "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(data, fixed | options) as book:
        for name, cells in {"Reviews": rows, **(more or {})}.items():
            sheet = book.add_worksheet(name)
            for index, row in enumerate(cells):
                sheet.write_row(index, 0, row)
    return data.getvalue()


def columnar(table: pa.Table, format_: str) -> bytes:
    """The table in a file."""
    sink = io.BytesIO()
    if format_ == "parquet":
        parquet.write_table(table, sink, row_group_size=3)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


# --- spreadsheets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("date_1904", [False, True])
def test_cells_have_types(date_1904: bool) -> None:
    """Numbers, truth values and dates are not text; an integral number is an integer, and an empty cell ``None``."""
    rows = [["id", "stars", "score", "ok", "at", "comment"], [7, 5, 0.5, True, WRITTEN, "so"], ["x", "", None, False]]
    with table_of(xlsx(rows, date_1904=date_1904), "file.xlsx") as table:
        assert (table.layout.format, table.layout.encoding, table.layout.place) == ("xlsx", None, "sheet 'Reviews'")
        first, second = table.rows()
        assert (first.position, first.values) == (2, [7, 5, 0.5, True, WRITTEN, "so"])
        assert (second.position, second.values) == (3, ["x", None, None, False, None, None])
        assert type(first.values[1]) is int
        assert table.raw(first) == dict(zip(rows[0], [7, 5, 0.5, True, "2024-01-02T03:04:05", "so"], strict=True))
        assert table.progress == (3, 3)


def test_days_times_and_errors() -> None:
    """A day is its midnight, a time of day is text, and an error of a formula is empty."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["day", "time", "error", "serial", "comment"])
        sheet.write_datetime(1, 0, datetime(2024, 1, 2), book.add_format({"num_format": "yyyy-mm-dd"}))  # noqa: DTZ001
        sheet.write_datetime(1, 1, time(3, 4), book.add_format({"num_format": "hh:mm"}))
        sheet.write_formula(1, 2, "=1/0", None, "#DIV/0!")
        sheet.write_number(1, 3, 45293.5)
        sheet.write_rich_string(1, 4, book.add_format({"bold": True}), "so", " good")
    [record] = records_of(data.getvalue(), "file.xlsx")
    assert record.values == [datetime(2024, 1, 2), "03:04:00", None, 45293.5, "so good"]  # noqa: DTZ001


@pytest.mark.parametrize("result", ["<v></v>", "<v />", "", "<v>0</v>"])
def test_formulas_without_a_result_are_text(result: str) -> None:
    """Comments that begin with "=" are formulas for programs that do not calculate: their words are not lost."""
    data, changed = io.BytesIO(), io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        book.add_worksheet("Other").write_formula(0, 0, "=1")
        sheet = book.add_worksheet("Reviews")
        sheet.write_row(0, 0, ["rating", "comment"])
        sheet.write_row(1, 0, ["up", "=great & good"])
        sheet.write_row(2, 0, ["down", "no"])
        sheet.write_formula(3, 0, "=A3", None, "down")
        sheet.write_formula(4, 3, '=LOWER("UP")')
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).decode().replace("<v>0</v></c>", f"{result}</c>"))
    with table_of(changed.getvalue(), "file.xlsx", sheet="Reviews") as table:
        assert "2 formulas without a result read as text" in str(table.layout.place)
        assert [list(table.raw(row).values()) for row in table.rows()] == [
            ["up", "=great & good", None, None],
            ["down", "no", None, None],
            ["down", None, None, None],
            [None, None, None, '=LOWER("UP")'],
        ]


def test_a_shared_formula_without_text_is_an_empty_cell() -> None:
    """Only the first cell of a shared formula has its text. The others have a result, or nothing that is a comment."""
    data, changed = io.BytesIO(), io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write_column(0, 0, ["rating", "up", "down"])
        sheet.write_column(0, 1, ["comment", "=great", "=again"])
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            text = source.read(name).decode().replace("</f><v>0</v>", "</f>")
            target.writestr(name, text.replace("<f>again</f>", '<f t="shared" si="0"/>'))
    rows = [{"rating": "up", "comment": "=great"}, {"rating": "down", "comment": None}]
    with table_of(changed.getvalue(), "file.xlsx") as table:
        assert [table.raw(row) for row in table.rows()] == rows


def test_a_result_of_zero_is_kept_if_it_was_calculated() -> None:
    """Only programs that have all results calculated later write 0 for any formula."""
    data, changed = io.BytesIO(), io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["rating", "comment"])
        sheet.write_row(1, 0, ["=1-1", "so"])
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).decode().replace(' fullCalcOnLoad="1"', ""))
    assert raw_rows(changed.getvalue(), "file.xlsx") == [{"rating": 0, "comment": "so"}]


def test_rows_before_the_names_of_a_sheet() -> None:
    """A title and empty rows before the names are left out; they count in positions."""
    rows = [[], ["Reviews of May"], [], ["id", "stars", "comment"], [1, 5, "good"], [], [2, 1, "bad"]]
    with table_of(xlsx(rows), "file.xlsx") as table:
        assert table.layout.skipped == 3
        assert [(record.position, record.values) for record in table.rows()] == [
            (5, [1, 5, "good"]),
            (7, [2, 1, "bad"]),
        ]
    assert len(raw_rows(xlsx(rows), "file.xlsx", skip_rows=4)) == 1


def test_qualtrics_in_a_spreadsheet() -> None:
    """The rows that Qualtrics adds are left out of spreadsheets too."""
    rows = [["Q1", "Q2"], ["How?", "Why?"], ['{"ImportId":"QID1"}', '{"ImportId":"QID2"}'], [5, "so"]]
    with table_of(xlsx(rows), "file.xlsx") as table:
        assert table.layout.left_out == 2
        assert [record.values for record in table.rows()] == [[5, "so"]]


def test_one_of_several_sheets() -> None:
    """The first sheet is read unless another is named; the layout names the others."""
    data = xlsx([["id"], [1]], more={"Old": [["id"], [2]], "Empty": []})
    with table_of(data, "file.xlsx") as table:
        assert table.layout.place == "sheet 'Reviews' (--sheet reads another: 'Old', 'Empty')"
    assert raw_rows(data, "file.xlsx", sheet="Old") == [{"id": 2}]
    with pytest.raises(UnusableFile, match=r"Unknown sheet 'Od'.*'Old'.*expected one of Reviews, Old, Empty"):
        raw_rows(data, "file.xlsx", sheet="Od")
    with pytest.raises(UnusableFile, match="has no row of column names in sheet 'Empty'"):
        raw_rows(data, "file.xlsx", sheet="Empty")


def test_damaged_spreadsheets_are_refused() -> None:
    """A damaged file, or one with a repeated name, is refused."""
    data = bytearray(xlsx([["id"], [1]]))
    for broken in (data[:-40], data[:200] + bytes(20) + data[220:], data[: len(data) // 2]):
        with pytest.raises(UnusableFile, match="damaged"):
            raw_rows(bytes(broken), "file.xlsx")
    with pytest.raises(UnusableFile, match="The column 'id' appears twice"):
        raw_rows(xlsx([["id", "id"], [1, 2]]), "file.xlsx")


@pytest.mark.parametrize("cell", [(1_048_575, 16_383), (1_048_575, 40)])
def test_a_distant_cell_does_not_fill_the_memory(cell: tuple[int, int]) -> None:
    """A sheet with a cell far from its table is refused, as its empty cells would take gigabytes."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "comment"])
        sheet.write_row(1, 0, [1, "good"])
        sheet.write(*cell, "stray")
    with pytest.raises(
        UnusableFile, match=r"a sheet with [\d,]+ cells up to its last row and column; delete the cells"
    ):
        raw_rows(data.getvalue(), "file.xlsx")


@pytest.mark.parametrize("rows", [3, 20_000])
@pytest.mark.parametrize("repeated", ["row", "cell"])
def test_a_row_or_a_cell_that_occurs_twice_is_refused(rows: int, repeated: str) -> None:
    """Either could be what the person sees in another program."""
    data = xlsx([["id", "comment"], *([number, "good"] for number in range(rows))])
    assert len(raw_rows(data, "file.xlsx")) == rows
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as book, zipfile.ZipFile(changed, "w") as other:
        for name in book.namelist():
            text = book.read(name)
            if name.endswith("sheet1.xml"):
                place = (b'<row r="3"', b'<row r="2"') if repeated == "row" else (b'<c r="B2"', b'<c r="A2"')
                if repeated == "row" and rows > 3:
                    place = (f'<row r="{rows}"'.encode(), b'<row r="2"')
                assert place[0] in text
                text = text.replace(*place)
            other.writestr(name, text)
    with pytest.raises(UnusableFile, match="a row or a cell occurs twice"):
        raw_rows(changed.getvalue(), "file.xlsx")


#: Cells that Excel can hold.
CELLS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15).map(
        lambda number: float(f"{number:.15g}")
    )
    | st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=20
    )
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))  # noqa: DTZ001
)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6), st.booleans())
def test_any_cells_are_read_back(rows: list[list[Any]], constant_memory: bool) -> None:
    """What another program writes is read back equal, except empty rows."""
    data = xlsx([["a", "b", "c"], *rows], constant_memory=constant_memory)
    expected = [row for row in rows if any(cell is not None for cell in row)]
    assert [record.values for record in records_of(data, "file.xlsx")] == expected


# --- Parquet and Arrow ------------------------------------------------------------------------------------------------

FORMATS = ["parquet", "arrow"]


@pytest.mark.parametrize("format_", FORMATS)
def test_values_have_types(format_: str) -> None:
    """Values are of the few types that rows have; dates have the zone of their column."""
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    table = pa.table(
        {
            "id": pa.array([2**60, None]),
            "score": pa.array([0.5, float("nan")]),
            "price": pa.array([Decimal("1.50"), Decimal("2.00")]),
            "ok": [True, False],
            "at": pa.array([moment, None], pa.timestamp("ns", "Europe/Berlin")),
            "local": pa.array([WRITTEN, None], pa.timestamp("s")),
            "day": [date(2024, 1, 2), None],
            "time": [time(3, 4), None],
            "category": pa.array(["a", "b"]).dictionary_encode(),
            "raw": [b"caf\xc3\xa9", b"\xff"],
            "tags": [["x", "y"], []],
            "meta": [{"n": Decimal(1), "when": date(2024, 1, 2)}, None],
        }
    )
    with table_of(columnar(table, format_), f"file.{format_}") as opened:
        assert opened.layout.format == format_
        assert opened.columns == table.column_names
        first, second = opened.rows()
        midnight = datetime(2024, 1, 2)  # noqa: DTZ001
        assert dict(zip(opened.columns, first.values, strict=True)) == {
            "id": 2**60,
            "score": 0.5,
            "price": 1.5,
            "ok": True,
            "at": moment,
            "local": WRITTEN,
            "day": midnight,
            "time": "03:04:00",
            "category": "a",
            "raw": "café",
            "tags": ["x", "y"],
            "meta": {"n": 1, "when": midnight},
        }
        assert first.values[4].utcoffset() == timedelta(hours=1)
        assert type(first.values[4]) is datetime
        assert second.values == (None, None, 2, False, None, None, None, None, "b", "\\xff", [], None)
        raw = opened.raw(first)
        assert isinstance(raw, dict)
        assert (raw["at"], raw["meta"]) == ("2024-01-02T04:04:05.678901+01:00", {"n": 1, "when": "2024-01-02T00:00:00"})


@pytest.mark.parametrize("format_", FORMATS)
def test_empty_and_damaged_files(format_: str) -> None:
    """A file without rows has columns; a damaged one is refused, also if only its rows are damaged."""
    with table_of(columnar(pa.table({"id": pa.array([], pa.string())}), format_), f"file.{format_}") as table:
        assert (table.columns, list(table.rows())) == (["id"], [])
    data = columnar(pa.table({"id": [f"row {number}" for number in range(50_000)]}), format_)
    for broken in (data[: len(data) // 2], data[:1_000], data[:8] + bytes(8)):
        with pytest.raises(UnusableFile, match=f"is a damaged {format_} file"):
            raw_rows(broken, f"file.{format_}")
    with pytest.raises(UnusableFile, match="The column 'id' appears twice"):
        raw_rows(columnar(pa.table([pa.array([1]), pa.array([2])], names=["id", "id"]), format_), "file")


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.timestamp("us", "UTC"): st.datetimes(datetime(1970, 1, 1), timezones=st.just(ZoneInfo("UTC"))),  # noqa: DTZ001
    pa.list_(pa.string()): st.lists(st.text("ab", max_size=3), max_size=3),
}


@given(st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=8), st.sampled_from(FORMATS))
def test_any_values_are_read_back(rows: list[tuple[Any, ...]], format_: str) -> None:
    """What pyarrow writes is read back equal, except rows without a value."""
    columns = list(zip(*rows, strict=True)) or [()] * len(VALUES)
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, VALUES, strict=True)]
    table = pa.table(arrays, names=[str(number) for number in range(len(arrays))])
    expected = [row for row in rows if any(value is not None and value != "" for value in row)]
    assert [record.values for record in records_of(columnar(table, format_), "file")] == expected


FORMATS_WITH_TYPES = {
    "xlsx": lambda names, cells: xlsx([names, cells]),
    "parquet": lambda names, cells: columnar(pa.table([[cell] for cell in cells], names=names), "parquet"),
}


@pytest.mark.parametrize("of", FORMATS_WITH_TYPES)
def test_a_date_in_the_context_gets_no_zone(of: str) -> None:
    """A date of another column stays as it is in the file; as a rejected row that is imported again, it is the same."""
    data = FORMATS_WITH_TYPES[of](["session_id", "rating", "seen"], ["s", "up", WRITTEN])
    with table_of(data, f"file.{of}") as table:
        [rejected] = [table.raw(row) for row in table.rows()]
    with harken.connect("memory://") as hk:
        imported(hk, data, of, ImportOptions(zone="Europe/Berlin"))
        again = {"line": 2, "reason": "", "row": rejected}
        tally, _ = imported(hk, json.dumps(again), "jsonl", ImportOptions(zone="Europe/Berlin"))
        [feedback] = hk.export()
    assert feedback.context == {"seen": "2024-01-02T03:04:05"}
    assert tally.duplicates == 1


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([2**62, 0], pa.timestamp("us"), ["<value out of range: 4611686018427387904>", "1970-01-01T00:00:00"]),
        ([2**31 - 1, 0], pa.date32(), ["<value out of range: 2147483647>", "1970-01-01T00:00:00"]),
        ([2**62, 5], pa.duration("ms"), ["4611686018427387904", "0:00:00.005000"]),
        ([0, 1], pa.timestamp("us", "Nowhere/City"), [f"1970-01-01 00:00:00.00000{n} Nowhere/City" for n in (0, 1)]),
    ],
)
@pytest.mark.parametrize("format_", ["arrow", "parquet"])
def test_a_value_that_python_lacks_is_a_text(values: list[Any], kind: Any, texts: list[Any], format_: str) -> None:
    """In any column, and the other rows are read; as a date, it is the problem of its row."""
    table = pa.table({"rating": ["up", "down"], "more": pa.array(values, kind)})
    assert [row["more"] for row in raw_rows(columnar(table, format_), f"a.{format_}")] == texts


def test_a_date_out_of_range_is_the_problem_of_its_row() -> None:
    """Other rows are imported."""
    days = pa.array([2**31 - 1, 20_000, 20_001], pa.date32())
    table = pa.table({"rating": ["up", "down", "up"], "created_at": days})
    with harken.connect("memory://") as hk:
        tally, rejected = imported(hk, columnar(table, "arrow"), "arrow")
    assert tally.added == 2
    assert "created_at is not a date: '<value out of range" in str(rejected)


def test_bytes_that_no_storage_stores_cost_a_value_of_the_context() -> None:
    """And never the rating."""
    table = pa.table({"rating": ["up", "down"], "image": [b"a\0b", b"ok"]})
    with harken.connect("memory://") as hk:
        imported(hk, columnar(table, "parquet"), "parquet")
        found = {one.rating.word: dict(one.context) for one in hk.collection.stream(hk.query())}
    assert found == {"up": {}, "down": {"image": "ok"}}

"""CSV for spreadsheets: what people see, and that an import needs no option to read it."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
import xlsxwriter
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, Harken, ModerationStatus, Summary
from harken.domain.query import label
from harken.testing.strategies import feedback_entries
from harken_adapters.formats.errors import ChangedMeanwhile
from harken_adapters.formats.exporting import WRITERS, spreadsheet_writer, write_all
from harken_adapters.formats.spreadsheet_csv import ID, ContextColumns
from import_files import imported as import_file
from support import NOON, a_feedback

FIXED = [
    "created_at",
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "comment",
    "tags",
    "sentiment_polarity",
    "sentiment_subjectivity",
]


def exported(hk: Harken, *, in_any_state: bool = False) -> bytes:
    """The bytes of an export for spreadsheets."""
    query = hk.query().in_any_state() if in_any_state else hk.query()
    file = io.BytesIO()
    stream = hk.collection.stream
    write_all(stream(query), file, spreadsheet_writer(stream(query), query))
    return file.getvalue()


def table(data: bytes) -> list[dict[str, str]]:
    """The rows by column."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def imported(hk: Harken, data: bytes) -> None:
    """Import a file without options; no row may be rejected."""
    _, rejected = import_file(hk, data)
    assert rejected == []


def contents(hk: Harken) -> list[Any]:
    """What an import of a spreadsheet keeps of each entry. Context values are texts in it."""
    return [
        (
            one.target,
            (one.author, one.rating, one.comment, one.tags, one.sentiment),
            one.created_at.replace(microsecond=0),
            [(name, label(value)) for name, value in one.context.items() if value not in (None, "")],
        )
        for one in hk.export()
    ]


def test_the_columns_and_cells(hk: Harken) -> None:
    """A byte order mark, the fields, a column for each context name and the id; dates that spreadsheets recognise."""
    first = hk.submit("=s", "down", "@you\n'hi'", tags=["slow"], context={"tier": "free", "turns": -3}).feedback
    hk.submit("t", None, "", tags=["a", "b"], agent_id="helper", context={"beta": True, "tier": "+1"})
    data = exported(hk)
    assert data.startswith(b"\xef\xbb\xbfcreated_at,")
    one, two = table(data)
    assert list(one) == [*FIXED, "beta", "tier", "turns", ID]
    assert (one["created_at"], one["rating"], one["comment"]) == (f"{first.created_at:%F %T}", "down", "'@you\n'hi'")
    assert (one["session_id"], one["tags"], one["beta"], one["tier"], one["turns"]) == ("'=s", "slow", "", "free", "-3")
    assert (two["rating"], two["tags"], two["beta"], two["tier"]) == ("neutral", '["a","b"]', "true", "'+1")
    assert one[ID] == first.id


def test_no_column_is_internal_and_the_status_is_there_if_it_differs(hk: Harken) -> None:
    """An export of other states says which state each entry has."""
    hk.submit("s", "up", idempotency_key="k")
    held = hk.submit("s", "up").feedback
    hk.moderation.decide("default", held.id, ModerationStatus.REJECTED)
    gone = hk.submit("s", "up").feedback
    hk.collection.withdraw("default", gone.id)
    assert list(table(exported(hk))[0]) == [*FIXED, ID]
    assert [row["status"] for row in table(exported(hk, in_any_state=True))] == ["approved", "rejected", "withdrawn"]


@given(st.lists(feedback_entries(), max_size=5))
def test_an_import_gives_equal_content_and_statistics(entries: list[Feedback]) -> None:
    """Also with texts that look like formulas and context names that are those of fields; twice adds nothing."""
    entries = [evolve(one, application="default") for one in {one.id: one for one in entries}.values()]
    with harken.connect("memory://", spam="allow", reason_when_down=False) as hk:
        hk.collection.restore(entries)
        data = exported(hk)
        with harken.connect("memory://", spam="allow", reason_when_down=False) as other:
            imported(other, data)
            imported(other, data)
            assert sorted(map(repr, contents(other))) == sorted(map(repr, contents(hk)))
            assert other.summary() == hk.summary() == Summary.fold(hk.export())


def test_names_of_fields_in_the_context(hk: Harken) -> None:
    """A context name that an import would take for something else gets a prefix, and is restored without it."""
    context = dict.fromkeys(("rating", "comment", "reason", "context", "id", "status", "-x", "tier"), "up")
    hk.submit("s", "up", context=context)
    data = exported(hk)
    assert {"context.rating", "context.-x", "tier"} < set(table(data)[0])
    with harken.connect("memory://") as other:
        imported(other, data)
        assert [dict(one.context) for one in other.export()] == [context]


def test_a_spreadsheet_saved_it_again(hk: Harken) -> None:
    """Columns may be moved, added and removed, and Boolean values be in upper case."""
    hk.submit("s", "up", "@you", context={"beta": True, "old": False})
    hk.submit("t", None, "TRUE")
    rows = [
        {"note": "TRUE", "comment": row["comment"], "harken_id": row[ID], "beta": row["beta"].upper()}
        | {name: row[name] for name in ("rating", "session_id", "created_at")}
        for row in table(exported(hk))
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    with harken.connect("memory://") as other:
        imported(other, text.getvalue().encode())
        assert [(one.comment, dict(one.context)) for one in other.export()] == [
            ("@you", {"beta": "true", "note": "true"}),
            ("TRUE", {"note": "true"}),
        ]
        assert other.groups("context.beta").keys() == {"true", None}


def test_very_many_context_names_share_a_column(hk: Harken) -> None:
    """Five hundred names have a column of their own; none is lost."""
    for number in range(60):
        hk.submit(f"s{number}", "up", context={f"name{number:02}_{index}": "x" for index in range(10)})
    data = exported(hk)
    assert len(table(data)[0]) == len([*FIXED, ID, "context"]) + 500
    with harken.connect("memory://") as other:
        imported(other, data)
        assert contents(other) == contents(hk)


def test_a_name_that_is_added_meanwhile() -> None:
    """An entry with a name without a column ends the export, which would lack it."""
    columns = ContextColumns.of([a_feedback(context={"tier": "free"})])
    with pytest.raises(ChangedMeanwhile, match="new context name 'plan' was added; export again"):
        columns.cells(a_feedback(context={"plan": "x"}))


def test_rows_are_submitted(hk: Harken) -> None:
    """Each row becomes new feedback with another id; its time is to the second."""
    hk.collection.restore([a_feedback("a", created_at=NOON + timedelta(milliseconds=1500))])
    with harken.connect("memory://") as other:
        imported(other, exported(hk))
        [stored] = other.export()
    assert stored.id != "a"
    assert stored.created_at == NOON + timedelta(seconds=1)


def test_imports_leave_no_column(hk: Harken) -> None:
    """The id of the import of a row is not part of the table, and so not of what an import of it adds."""
    import_file(hk, "rating,comment,tier\nup,good,free\n", import_id="import-1")
    data = exported(hk)
    [row] = table(data)
    assert "import_id" not in row
    with harken.connect("memory://") as other:
        imported(other, data)
        assert [dict(one.context) for one in other.export()] == [{"tier": "free"}]


def test_a_table_for_programs_that_a_spreadsheet_saved(hk: Harken) -> None:
    """A spreadsheet that opened the exact CSV, and saved it with its types, is restored exactly."""
    hk.submit("s", "down", "too slow", tags=["slow"], context={"turns": 3}, author="ann")
    before = list(hk.export())
    file = io.BytesIO()
    write_all(hk.export(), file, WRITERS["csv"])
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    saved = io.BytesIO()
    with xlsxwriter.Workbook(saved) as book:
        sheet = book.add_worksheet()
        for number, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                typed = {"true": True, "false": False, "1": 1}.get(cell, cell)
                sheet.write(number, column, typed)
    with harken.connect("memory://") as other:
        tally, rejected = import_file(other, saved.getvalue(), "xlsx")
        assert (tally.added, rejected) == (1, [])
        assert list(other.export()) == before

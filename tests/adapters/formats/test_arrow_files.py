"""Parquet and Arrow files: every field survives them, and other programs read them."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import harken
from harken import Feedback, Harken, Rating, Summary
from harken.testing.strategies import feedback_entries, later_versions
from harken_adapters.formats.arrow import SCHEMA, from_row, write_arrow, write_parquet
from harken_adapters.formats.record import from_record, is_export, to_record
from import_files import imported
from support import a_feedback

#: Feedback of the first version or of a later one.
VERSIONS = feedback_entries().flatmap(lambda one: st.just(one) | later_versions(one))
FORMATS: list[tuple[Any, Callable[[io.BytesIO], pa.Table]]] = [
    (write_parquet, parquet.read_table),
    (write_arrow, lambda file: pa.ipc.open_file(file).read_all()),
]


def written(feedback: Iterable[Feedback], write: Any) -> io.BytesIO:
    """A file with this feedback."""
    file = io.BytesIO()
    write(feedback, file)
    file.seek(0)
    return file


@given(st.lists(VERSIONS, max_size=4))
@pytest.mark.parametrize(("write", "read"), FORMATS)
def test_every_field_survives_a_file(write: Any, read: Any, feedback: list[Feedback]) -> None:
    """Feedback read from a file equals the exported one, in any version."""
    feedback = [evolve(one, application="default") for one in feedback]
    found = read(written(feedback, write))
    assert found.schema == SCHEMA
    assert is_export(found.column_names)
    assert [from_record(from_row(row), "default") for row in found.to_pylist()] == feedback


@pytest.mark.parametrize(("of", "write"), [("parquet", write_parquet), ("arrow", write_arrow)])
@settings(max_examples=10)
@given(feedback=VERSIONS)
def test_an_import_restores_what_was_exported(of: str, write: Any, feedback: Feedback) -> None:
    """An import of the file stores every field, and a second one nothing."""
    entry = evolve(feedback, application="default")
    data = written([entry], write).getvalue()
    with harken.connect("memory://") as hk:
        for added, duplicates in ((1, 0), (0, 1)):
            tally, rejected = imported(hk, data, of)
            assert (tally.added, tally.duplicates, rejected) == (added, duplicates, [])
        assert hk.collection.get("default", entry.id) == entry


def test_the_columns_are_those_of_other_exports() -> None:
    """The names are those of JSON Lines, with the sentiment in two columns."""
    assert set(SCHEMA.names) == {*to_record(a_feedback())} - {"sentiment"} | {
        "sentiment_polarity",
        "sentiment_subjectivity",
    }


def batch_sizes(file: io.BytesIO) -> list[int]:
    """The numbers of rows of the batches in a file."""
    if file.getvalue().startswith(b"PAR1"):
        metadata = parquet.read_metadata(file)
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    reader = pa.ipc.open_file(file)
    return [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]


@pytest.mark.slow
@pytest.mark.parametrize(("write", "read"), FORMATS)
def test_batches(write: Any, read: Any) -> None:
    """Rows are written in batches of 10,000, in order; the number of all is returned."""
    file = io.BytesIO()
    assert write((a_feedback(str(number)) for number in range(20_001)), file) == 20_001
    assert batch_sizes(file) == [10_000, 10_000, 1]
    assert read(file).column("id").to_pylist() == [str(number) for number in range(20_001)]


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_batches_of_long_texts(write: Any) -> None:
    """A batch ends at 8 million characters, so that memory stays constant."""
    long = "x" * 3_000_000
    file = written((a_feedback(str(number), comment=long) for number in range(7)), write)
    assert batch_sizes(file) == [3, 3, 1]


def test_other_programs_read_the_files(hk: Harken, tmp_path: Path) -> None:
    """DuckDB and polars compute the same statistics; a neutral rating is counted by its word."""
    for number in range(30):
        hk.submit(f"s{number}", ("up", "down", None)[number % 3], "why", context={"tier": ("free", 1)[number % 2]})
    path = tmp_path / "x.parquet"
    path.write_bytes(written(hk.export(), write_parquet).getvalue())
    question = f"SELECT rating, count(*) FROM '{path}' WHERE context->>'tier' = '1' GROUP BY ALL"
    counts = dict(duckdb.sql(question).fetchall())
    summary = hk.summary(context={"tier": 1})
    assert counts == {"up": summary.positive, "down": summary.negative, "neutral": summary.neutral}
    feather = polars.read_ipc(written(hk.export(), write_arrow))
    assert feather["comment"].str.len_chars().sum() == hk.summary().comment_characters


def test_frames(hk: Harken) -> None:
    """The facade makes tables of pyarrow, pandas and polars, with a row for each entry and the same columns."""
    for number in range(9):
        hk.submit("s", ("up", "down", None)[number % 3], f"é{number}", tags=["a", "b"], context={"n": number})
    expected = Summary.fold(hk.export(rating="up"))
    table = hk.to_arrow(rating="up")
    assert (table.num_rows, table["comment"].to_pylist()) == (expected.positive, ["é0", "é3", "é6"])
    assert not {"fingerprint", "idempotency_key", "later_keys"} & set(table.column_names)
    pandas_frame, polars_frame = hk.to_pandas(), hk.to_polars()
    assert list(pandas_frame.columns) == polars_frame.columns == table.column_names
    assert pandas_frame["rating"].value_counts().to_dict() == {"up": 3, "down": 3, "neutral": 3}
    assert str(pandas_frame["created_at"].dt.tz) == "UTC"
    assert [json.loads(text)["n"] for text in polars_frame["context"]] == list(range(9))
    assert polars_frame["tags"].to_list() == [["a", "b"]] * 9
    assert hk.to_pandas(session_id="none").empty


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "package", "extra"),
    [
        ("to_arrow", "pyarrow", "files"),
        ("to_pandas", "pyarrow", "pandas"),
        ("to_pandas", "pandas", "pandas"),
        ("to_polars", "polars", "polars"),
    ],
)
def test_a_missing_package_names_the_extra(method: str, package: str, extra: str) -> None:
    """The exception has the command that installs it; without a call, nothing is missing."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import harken\n"
        "with harken.connect('memory://') as hk:\n"
        "    try:\n"
        f"        hk.{method}()\n"
        "    except harken.MissingExtra as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    message = f'{method} needs the package {package!r}; try pip install "harken[{extra}]"\n'
    assert (done.stdout, done.stderr) == (message, "")


def test_a_neutral_rating_is_a_word() -> None:
    """It is not null, which many programs leave out when they count."""
    file = written([a_feedback(rating=Rating.NEUTRAL)], write_parquet)
    assert parquet.read_table(file)["rating"].to_pylist() == ["neutral"]

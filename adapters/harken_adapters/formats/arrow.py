"""Feedback as Arrow tables, and as Parquet and Arrow files, which are written in constant memory.

The columns are those of :func:`~harken_adapters.formats.record.to_record`, with these types: times are timestamps in
UTC, a neutral rating is ``"neutral"``, as many programs leave out nulls when they count, the sentiment has two columns,
and ``context``, ``moderation``, ``revisions`` and ``later_keys`` are JSON texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import pyarrow as pa  # type: ignore[import-untyped] # it has no types
from pyarrow import parquet

from harken import Feedback, Rating
from harken.domain.instants import stamp_or_none
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.record import INTERNAL, Record, to_record
from harken_adapters.formats.strict_json import dump, parse

#: The limits of a batch, which is a row group of Parquet and in memory as Python objects too: its rows, and the
#: characters of their longest texts.
_BATCH: Final = 10_000
_BATCH_CHARACTERS: Final = 1 << 23
_JSON: Final = ("context", "moderation", "revisions", "later_keys")
_TIMES: Final = ("created_at", "updated_at", "withdrawn_at")
_TIME: Final = pa.timestamp("us", tz="UTC")

SCHEMA: Final = pa.schema(
    {
        "id": pa.string(),
        "created_at": _TIME,
        "session_id": pa.string(),
        "message_id": pa.string(),
        "agent_id": pa.string(),
        "author": pa.string(),
        "rating": pa.string(),
        "comment": pa.string(),
        "tags": pa.list_(pa.string()),
        "context": pa.string(),
        "sentiment_polarity": pa.float64(),
        "sentiment_subjectivity": pa.float64(),
        "status": pa.string(),
        "moderation": pa.string(),
        "reply": pa.string(),
        "version": pa.int64(),
        "updated_at": _TIME,
        "withdrawn_at": _TIME,
        "revisions": pa.string(),
        "idempotency_key": pa.string(),
        "fingerprint": pa.string(),
        "vote": pa.bool_(),
        "later_keys": pa.string(),
    }
)
#: The columns for readers: without those that only an import needs.
_READABLE: Final = pa.schema([column for column in SCHEMA if column.name not in INTERNAL])


def write_parquet(feedback: Iterable[Feedback], file: BinaryIO) -> int:
    """Write a Parquet file, which stays open. Returns the number of entries."""
    with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        return _write(feedback, writer.write_batch)


def write_arrow(feedback: Iterable[Feedback], file: BinaryIO) -> int:
    """Write an Arrow IPC file, which is also Feather version 2. It stays open. Returns the number of entries."""
    with pa.ipc.new_file(file, SCHEMA) as writer:
        return _write(feedback, writer.write_batch)


def to_table(feedback: Iterable[Feedback]) -> pa.Table:
    """A table of all the feedback, without the columns that only an import needs."""
    return pa.Table.from_batches(_batches(feedback, _READABLE), _READABLE)


def from_row(row: Mapping[str, Any]) -> Record:
    """The record of a row of these files, as Python values.

    Raises:
        BadRow: a column is missing, or a value is not of its type.
    """
    try:
        return _record(row)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise BadRow(f"The row of a Harken export has a missing or invalid value: {error}") from None


def _record(row: Mapping[str, Any]) -> Record:
    record = dict(row)
    record["rating"] = Rating.from_word(row["rating"]).value
    record["sentiment"] = _sentiment(record.pop("sentiment_polarity"), record.pop("sentiment_subjectivity"))
    for name in _TIMES:
        record[name] = stamp_or_none(row[name])
    for name in _JSON:
        record[name] = None if row[name] is None else parse(row[name])
    return record


def _sentiment(polarity: float | None, subjectivity: float | None) -> Record | None:
    return None if polarity is None else {"polarity": polarity, "subjectivity": subjectivity}


def _write(feedback: Iterable[Feedback], write: Callable[[pa.RecordBatch], object]) -> int:
    written = 0
    for batch in _batches(feedback, SCHEMA):
        write(batch)
        written += batch.num_rows
    return written


def _batches(feedback: Iterable[Feedback], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    characters = 0
    for row in map(_row, feedback):
        rows.append(row)
        characters += len(row["comment"]) + len(row["context"]) + len(row["revisions"])
        if len(rows) >= _BATCH or characters >= _BATCH_CHARACTERS:
            yield pa.RecordBatch.from_pylist(rows, schema)
            rows, characters = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema)


def _row(feedback: Feedback) -> dict[str, Any]:
    row = to_record(feedback)
    sentiment = feedback.sentiment
    row["rating"] = feedback.rating.word
    row["sentiment_polarity"] = sentiment and sentiment.polarity
    row["sentiment_subjectivity"] = sentiment and sentiment.subjectivity
    for name in _TIMES:
        row[name] = getattr(feedback, name)
    for name in _JSON:
        row[name] = None if row[name] is None else dump(row[name])
    return row

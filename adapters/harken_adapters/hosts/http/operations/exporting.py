"""Export of feedback."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from harken import Feedback, Scope
from harken_adapters.formats.exporting import SPREADSHEET, WRITERS, chunks, counted_lines, spreadsheet_writer
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Headers, Response
from harken_adapters.hosts.http.wire.parameters import FILTERS, invalid

MEDIA_TYPES: Final = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def _export(call: Call) -> Response:
    chosen = call.parameters.get("format", "jsonl")
    if chosen not in WRITERS:
        raise invalid("format", "unknown", f"format must be one of {', '.join(WRITERS)}; got {chosen[:100]!a}")
    is_counted = call.parameters.truth("count")
    if is_counted and chosen != "jsonl":
        raise invalid("count", "unknown", "count is for the format jsonl")
    writer = WRITERS[chosen]
    if (reader := call.parameters.get("for")) is not None:
        if (chosen, reader) != ("csv", SPREADSHEET):
            raise invalid("for", "unknown", f"for must be {SPREADSHEET}, with the format csv; got {reader[:100]!a}")
        writer = spreadsheet_writer(_stream(call), call.query())
    found = _stream(call)
    headers: Headers = (("content-disposition", f'attachment; filename="feedback.{chosen}"'),)
    rows = counted_lines(found) if is_counted else chunks(found, writer)
    # The first rows are read before the response starts, so that a storage failure is reported as an error.
    first = next(rows)
    return Response(200, b"", MEDIA_TYPES[chosen], headers, chunks=chain([first], _while_admitted(call, rows)))


def _stream(call: Call) -> Iterator[Feedback]:
    return map(call.principal.redact, call.harken.collection.stream(call.query()))


def _while_admitted(call: Call, rows: Iterator[bytes]) -> Iterator[bytes]:
    """The rows, while the credentials are valid. After that, the response is aborted, so that it is not complete."""
    for chunk in rows:
        call.check_admitted()
        yield chunk


OPERATIONS: Final = (
    Operation(
        name="export_feedback",
        method="GET",
        path="/api/export",
        scope=Scope.READ,
        handle=_export,
        summary="Export feedback",
        description=(
            "All feedback that matches the filters, oldest first, as JSON Lines or CSV, for import. With "
            '``count=true``, a last line such as ``{"count":250}`` has the number of the other JSON lines. '
            "With ``for=spreadsheet``, CSV has a column for each context name, and no cell that spreadsheets execute."
        ),
        tag="Export and erasure",
        agent_keys=True,
        parameters=("format", "for", "count"),
        filters=FILTERS,
        answers={
            200: Answer(description="The rows.", media_types=("application/x-ndjson", "text/csv")),
        },
    ),
)

"""The command ``export``."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, cast

import typer

from harken import Feedback, FeedbackQuery, Harken
from harken.configuration.extras import requires
from harken.domain.texts import amount
from harken_adapters.formats.exporting import SPREADSHEET, WRITERS, Writer, spreadsheet_writer, write_all
from harken_adapters.formats.pairs import Pairs
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.hosts.cli.empty_results import say_if_empty, tell_unknown
from harken_adapters.hosts.cli.files import open_output, refuse_database
from harken_adapters.hosts.cli.options import Filters, Json, Status, WrongUsage, cli_context, with_filters
from harken_adapters.hosts.cli.output import escape, escape_json, print_json, say, warn


class Format(Enum):
    """A file format."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"


class Purpose(Enum):
    """What a file is for."""

    SPREADSHEET = SPREADSHEET


_SUFFIXES: Final = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".arrow": Format.ARROW,
    ".feather": Format.ARROW,
}
#: Why there is no pair for feedback.
_LEFT_OUT: Final = {
    "no_message": "not about a message",
    "not_found": "about a message that is not in the stored conversation of its session",
    "no_text": "about a message that is not an answer, or without a text or a prompt",
}
#: What is said about CSV, and about CSV for spreadsheets.
_EXACT: Final = "This file is for programs; to open it in a spreadsheet, export it with --for spreadsheet"
_FOR_SPREADSHEETS: Final = (
    "Texts that look like a formula begin with an apostrophe; replies and earlier versions are left out\n"
    "This file is for spreadsheets; for programs and backups, export without --for spreadsheet"
)


@with_filters
def export(
    context: typer.Context,
    *,
    filters: Filters,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to write. Default: stdout.", show_default=False)
    ] = STANDARD,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="File format. Default: by suffix; jsonl on stdout. Feather is arrow."),
    ] = None,
    purpose: Annotated[
        Purpose | None,
        typer.Option("--for", help="CSV for a spreadsheet: with a column for each context name, and without formulas."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export all states, including withdrawn feedback.")] = False,
    as_pairs: Annotated[
        bool, typer.Option("--pairs", help="Export rated answers with their prompts, for fine-tuning.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export feedback to a file, for `harken import` and other programs.

    The oldest is first.

    With --pairs, each line has the prompt, answer, rating, comment and tags of feedback on a message of a stored
    conversation.
    """
    chosen = _format_of(file, format_, purpose)
    if as_pairs and chosen is not Format.JSONL:
        raise WrongUsage("Pairs are written as JSON Lines; use --format jsonl, or a file such as pairs.jsonl")
    with cli_context(context).open_existing() as hk:
        if file != STANDARD:
            # After opening the storage, which may have created the file, such as feedback.db-wal.
            refuse_database(Path(file))
        query = filters.query(hk)
        by_default = not everything and filters.status is Status.APPROVED and not filters.withdrawn
        # Counted first, so that an error leaves no file.
        total = hk.analytics.summary(query.in_any_state()).total if by_default else 0
        query = query.in_any_state() if everything else query
        rated = Pairs(hk.conversations) if as_pairs else None
        write = _write_as(chosen, _writer(hk, query, chosen, purpose, rated))
        with open_output(file) as data:
            exported = write(hk.collection.stream(query), data)
        if not exported and not say_if_empty(hk, warn):
            tell_unknown(hk, query, tell=warn)
    # The export itself may be on stdout.
    tell = warn if file == STANDARD else say
    record: dict[str, Any] = _pairs_record(rated) if rated else {"exported": exported}
    if as_json and file != STANDARD:
        print_json({**record, "file": file})
    else:
        noun = ("pair",) if rated else ("entry", "entries")
        tell(f"{amount(record['exported'], *noun)} exported{'' if file == STANDARD else f' to {file}'}")
        _tell_details(tell, record, chosen, purpose)
    if (left_out := total - exported) > 0:
        entries = amount(left_out, "entry is", "entries are")
        warn(f"{entries} pending, rejected or withdrawn; to export all states, add --all")


def _tell_details(tell: Callable[..., None], record: dict[str, Any], chosen: Format, purpose: Purpose | None) -> None:
    for name, number in record.get("left_out", {}).items():
        if number:
            tell(f"Left out: {amount(number, 'entry', 'entries')} {_LEFT_OUT[name]}", style="yellow")
    if chosen is Format.CSV:
        tell(_FOR_SPREADSHEETS if purpose else _EXACT)


def _format_of(file: str, chosen: Format | None, purpose: Purpose | None) -> Format:
    if file == STANDARD:
        chosen = chosen or (Format.CSV if purpose else Format.JSONL)
    found = chosen or _SUFFIXES.get(Path(file).suffix.lower())
    if found is None:
        known = ", ".join(format_.value for format_ in Format)
        raise WrongUsage(f"Cannot tell the format of {file!r}; add --format with one of {known}")
    if purpose and found is not Format.CSV:
        raise WrongUsage("A file for spreadsheets is CSV; use --format csv, or a file such as feedback.csv")
    if file == STANDARD and found.value not in WRITERS and sys.stdout.isatty():
        raise WrongUsage(f"A terminal cannot show {found.value}; name a file")
    return found


def _writer(
    hk: Harken, query: FeedbackQuery, chosen: Format, purpose: Purpose | None, rated: Pairs | None
) -> Writer | None:
    """The writer of a text format; ``None`` for others."""
    if rated:
        return rated.writer
    if purpose:
        return spreadsheet_writer(hk.collection.stream(query), query)
    return WRITERS.get(chosen.value)


def _write_as(chosen: Format, writer: Writer | None) -> Callable[[Iterable[Feedback], BinaryIO], int]:
    """The function that writes feedback to a file and returns the number of entries."""
    if writer:
        return lambda feedback, data: write_all(feedback, _escape_on_terminal(data, chosen), writer)
    with requires(f"A file in the format {chosen.value}", "files"):
        from harken_adapters.formats.arrow import write_arrow, write_parquet  # noqa: PLC0415 - they may be missing

    return write_parquet if chosen is Format.PARQUET else write_arrow


def _pairs_record(found: Pairs) -> dict[str, Any]:
    left_out = {"no_message": found.no_message, "not_found": found.not_found, "no_text": found.no_text}
    return {"exported": found.written, "left_out": left_out}


class _Terminal(io.RawIOBase):
    """A terminal on which control characters are escaped. Each write must have whole characters."""

    def __init__(self, terminal: BinaryIO, escape: Callable[[str], str]) -> None:
        self._terminal = terminal
        self._escape = escape

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._terminal.write(self._escape(bytes(data).decode()).encode())
        self._terminal.flush()
        return len(data)


def _escape_on_terminal(data: BinaryIO, chosen: Format) -> BinaryIO:
    """The output, escaped if it is a terminal. Files and pipes get the exact bytes."""
    if not data.isatty():
        return data
    # Escaped JSON is still valid JSON with the same value.
    return cast("BinaryIO", _Terminal(data, escape_json if chosen is Format.JSONL else escape))

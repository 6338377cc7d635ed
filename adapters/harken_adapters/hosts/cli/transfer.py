"""The commands ``import`` and ``export``."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, BinaryIO, Final, cast

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from harken_adapters.charts.labels import amount
from harken_adapters.formats.exporting import WRITERS, write_all
from harken_adapters.formats.importing import Importer, Tally
from harken_adapters.formats.mapping import Columns
from harken_adapters.formats.pairs import Pairs
from harken_adapters.formats.reading import CsvSource, JsonLinesSource, Source
from harken_adapters.hosts.cli.files import STANDARD, Rejects, open_output, refuse_database
from harken_adapters.hosts.cli.options import (
    Filters,
    Json,
    NothingAccepted,
    Status,
    WrongUsage,
    cli_context,
    pairs,
    with_filters,
)
from harken_adapters.hosts.cli.output import err, escape, escape_json, print_json, say, warn


class Format(Enum):
    """A file format."""

    CSV = "csv"
    JSONL = "jsonl"


_SOURCES: dict[Format, type[Source]] = {Format.CSV: CsvSource, Format.JSONL: JsonLinesSource}
#: Why there is no pair for feedback.
_LEFT_OUT: Final = {
    "no_message": "not about a message",
    "not_found": "about a message that is not in the stored conversation of its session",
    "no_text": "about a message that is not an answer, or without a text or a prompt",
}
_SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}


# --- import -----------------------------------------------------------------------------------------------------------


def import_(
    context: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV or JSON Lines file; - for stdin.")],
    format_: Annotated[Format | None, typer.Option("--format", help="File format. Default: by suffix.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Read FIELD from COLUMN; repeatable.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A value for rows without FIELD; repeatable."),
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File for rejected rows. Default: FILE.rejected.jsonl.")
    ] = None,
    check_spam: Annotated[bool, typer.Option("--check-spam", help="Apply the spam filter.")] = False,
    announce: Annotated[bool, typer.Option("--announce", help="Send notifications for the imported rows.")] = False,
    as_json: Json = False,
) -> None:
    """Import feedback from a CSV or JSON Lines file.

    Columns are matched to fields by name; all others go into the context. A Harken export is restored exactly.

    Invalid rows are written to another file, with reasons.

    A repeated import adds no duplicates.

    Exits with code 3 if all rows were rejected.
    """
    columns = Columns(pairs("--map", map_ or ()), pairs("--set", set_ or ()))
    source_type = _SOURCES[_format_of(file, format_)]
    name = "stdin" if file == STANDARD else file
    rejects = Rejects(rejected or Path(f"{name}.rejected.jsonl"), "line")
    began = perf_counter()
    with _open(file) as data, cli_context(context).open(spam=None if check_spam else "allow") as hk:
        if file != STANDARD and rejects.path.exists() and rejects.path.samefile(file):
            raise WrongUsage("Rejected rows would overwrite the input file; choose another path with --rejected")
        # After opening the storage, which may have created the file.
        refuse_database(rejects.path)
        importer = Importer(hk, source_type(data, columns, hk.application), rejects.add, announce=announce)
        try:
            _run(importer, data)
        finally:
            rejected_file = rejects.close()
    if rejected_file is None and rejected is None:
        rejects.remove_stale()
    _show_tally(importer.tally, rejected_file, perf_counter() - began, as_json=as_json)
    if importer.tally.nothing_accepted:
        raise NothingAccepted(f"All {importer.tally.rejected:,} rows were", rejected_file)


def _format_of(file: str, chosen: Format | None) -> Format:
    found = chosen or _SUFFIXES.get(Path(file).suffix.lower())
    if found is None:
        raise WrongUsage(f"Cannot tell the format of {file!r}; add --format csv or --format jsonl")
    return found


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    if file == STANDARD:
        if sys.stdin is None:  # Closed before Python started.
            raise WrongUsage("Cannot read stdin: it is closed")
        yield sys.stdin.buffer
        return
    try:
        data = Path(file).open("rb")  # noqa: SIM115 - closed below; only errors of opening it are translated
    except OSError as error:
        raise WrongUsage(f"Cannot read {file}: {error.strerror}") from error
    with data:
        yield data


def _run(importer: Importer, data: BinaryIO) -> None:
    """Import everything, and show a progress bar if stderr is a terminal."""
    if not err.is_terminal:
        for _ in importer.batches():
            pass
        return
    columns = (TextColumn("{task.fields[rows]:,} rows"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=_size(data), rows=0)
        for tally in importer.batches():
            progress.update(task, completed=_position(data), rows=tally.read)


def _size(data: BinaryIO) -> int | None:
    """The number of bytes; ``None`` for a pipe."""
    status = os.fstat(data.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _position(data: BinaryIO) -> int | None:
    return data.tell() if data.seekable() else None


def _show_tally(tally: Tally, rejected_file: Path | None, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "read": tally.read,
                "added": tally.added,
                "duplicates": tally.duplicates,
                "rejected": tally.rejected,
                "rejected_file": str(rejected_file) if rejected_file else None,
                "seconds": round(seconds, 3),
            }
        )
        return
    say(
        f"{amount(tally.read, 'row')} read: {tally.added:,} added, {amount(tally.duplicates, 'duplicate')}, "
        f"{tally.rejected:,} rejected; {seconds:.1f} s, {tally.read / seconds:,.0f} rows/s"
    )
    if rejected_file:
        say(f"Rejected rows, with reasons, are in {rejected_file}", style="yellow")


# --- export -----------------------------------------------------------------------------------------------------------


@with_filters
def export(
    context: typer.Context,
    *,
    filters: Filters,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to write. Default: stdout.", show_default=False)
    ] = STANDARD,
    format_: Annotated[
        Format | None, typer.Option("--format", help="File format. Default: by suffix; jsonl on stdout.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export all states, including withdrawn feedback.")] = False,
    as_pairs: Annotated[
        bool, typer.Option("--pairs", help="Export rated answers with their prompts, for fine-tuning.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export feedback, oldest first, for `harken import`.

    With --pairs, each line has the prompt, answer, rating, comment and tags of feedback on a message of a stored
    conversation.
    """
    chosen = _format_of(file, format_ or Format.JSONL if file == STANDARD else format_)
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
        stream = hk.collection.stream(query.in_any_state() if everything else query)
        rated = Pairs(hk.conversations) if as_pairs else None
        writer = rated.writer if rated else WRITERS[chosen.value]
        with open_output(file) as data:
            exported = write_all(stream, _escape_on_terminal(data, chosen), writer)
    record: dict[str, Any] = _pairs_record(rated) if rated else {"exported": exported}
    noun = ("pair",) if rated else ("entry", "entries")
    # The export itself may be on stdout.
    tell = warn if file == STANDARD else say
    if as_json and file != STANDARD:
        print_json({**record, "file": file})
    else:
        tell(f"{amount(record['exported'], *noun)} exported{'' if file == STANDARD else f' to {file}'}")
        for name, number in record.get("left_out", {}).items():
            if number:
                tell(f"Left out: {amount(number, 'entry', 'entries')} {_LEFT_OUT[name]}", style="yellow")
    if (left_out := total - exported) > 0:
        entries = amount(left_out, "entry is", "entries are")
        warn(f"{entries} pending, rejected or withdrawn; to export all states, add --all")


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

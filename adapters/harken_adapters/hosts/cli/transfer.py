"""The command ``import``."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from harken_adapters.charts.labels import amount
from harken_adapters.formats.importing import Importer, Tally
from harken_adapters.formats.mapping import Columns
from harken_adapters.formats.reading import CsvSource, JsonLinesSource, Source
from harken_adapters.hosts.cli.files import STANDARD, Rejects, refuse_database
from harken_adapters.hosts.cli.options import (
    Json,
    NothingAccepted,
    WrongUsage,
    cli_context,
    pairs,
)
from harken_adapters.hosts.cli.output import err, print_json, say


class Format(Enum):
    """A file format."""

    CSV = "csv"
    JSONL = "jsonl"


_SOURCES: dict[Format, type[Source]] = {Format.CSV: CsvSource, Format.JSONL: JsonLinesSource}
_SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}


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

"""The command ``import``."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer
from attrs import define, evolve
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

import harken
from harken import Harken, StorageUnavailable
from harken.domain.imports import Import, ImportCounts
from harken_adapters.charts.labels import amount
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.importer import Importer
from harken_adapters.formats.importing.plan import Plan, mapping_digest
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.report import understood_record
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.presets import preset, preset_text, read_mapping
from harken_adapters.formats.rejects import place_of
from harken_adapters.formats.tables.opening import expand, open_table
from harken_adapters.formats.tables.table import Table
from harken_adapters.hosts.cli.files import Rejects, refuse_database
from harken_adapters.hosts.cli.import_options import (
    CheckRules,
    ContextColumns,
    DateFormat,
    Drop,
    Map,
    Only,
    RatingOf,
    Scale,
    Set,
    ZoneOfDates,
    with_meaning,
)
from harken_adapters.hosts.cli.import_output import SOME_REJECTED, show_remarks, show_understood
from harken_adapters.hosts.cli.options import CliContext, Json, NothingAccepted, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import confirm, err, print_json, say

_SHAPE: Final = "How the file is read (detected by default)"
#: How many batches are stored between two updates of the record of an import.
_BATCHES_PER_RECORD: Final = 20


class Format(Enum):
    """A file format."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    XLSX = "xlsx"
    PARQUET = "parquet"
    ARROW = "arrow"


@define
class _File:
    """A file, what was understood of it, and what became of its rows."""

    table: Table
    profile: Profile
    plan: Plan
    rejects: Rejects
    tally: Tally
    rejected_file: Path | None = None


def import_(
    context: typer.Context,
    *,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Files, patterns such as '*.csv', or - for stdin.", show_default=False),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format", metavar="FORMAT", rich_help_panel=_SHAPE, help="csv, jsonl, json, xlsx, parquet or arrow."
        ),
    ] = None,
    encoding: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_SHAPE, help="Text encoding.")] = None,
    separator: Annotated[
        str | None, typer.Option(metavar="CHARACTER", rich_help_panel=_SHAPE, help="Separator of CSV.")
    ] = None,
    skip_rows: Annotated[
        int | None, typer.Option(min=0, metavar="N", rich_help_panel=_SHAPE, help="Rows before the column names.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="PATH", rich_help_panel=_SHAPE, help="The list in a JSON document.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_SHAPE, help="The sheet of a spreadsheet.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="PRODUCT", help="Read an export of PRODUCT, such as langfuse."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="What columns mean, from a file."),
    ] = None,
    show_preset: Annotated[
        str | None, typer.Option(metavar="PRODUCT", help="Print what --from PRODUCT means, as a mapping file.")
    ] = None,
    map_: Map = None,
    set_: Set = None,
    scale: Scale = None,
    rating: RatingOf = None,
    date_format: DateFormat = None,
    zone: ZoneOfDates = None,
    drop: Drop = None,
    only: Only = None,
    context_: ContextColumns = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all rows, and write nothing.")] = False,
    check_rules: CheckRules = False,
    import_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The id of this import. Default: a new one.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Erase imports of the same rows with another mapping first."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before erasing.")] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File for rejected rows. Default: FILE.rejected.jsonl."),
    ] = None,
    announce: Annotated[bool, typer.Option("--announce", help="Send notifications for the imported rows.")] = False,
    as_json: Json = False,
) -> None:
    """Import feedback from CSV, JSON, spreadsheets or Parquet files, also compressed.

    Columns are matched to fields by name; all others go into the context. A Harken export is restored exactly.

    What was understood is printed before the first row is stored.

    Rejected rows are written to another file, with reasons. A repeated import adds no duplicates.

    Exits with 0 if all rows are imported, 3 if some were rejected, and 2 if nothing was imported.
    """
    if show_preset is not None:
        say(preset_text(show_preset).rstrip("\n"))
        return
    if not files:
        raise WrongUsage("Name a file to import, or - for stdin")
    given: dict[str, Any] = {
        "format": format_ and format_.value,
        "encoding": encoding,
        "separator": separator,
        "skip_rows": skip_rows,
        "key": key,
        "sheet": sheet,
    }
    options = with_meaning(
        evolve(_base(from_, mapping), **{name: value for name, value in given.items() if value is not None}),
        map_=map_,
        set_=set_,
        scale=scale,
        rating=rating,
        date_format=date_format,
        zone=zone,
        drop=drop,
        only=only,
        context=context_,
    )
    cli = cli_context(context)
    began = perf_counter()
    with ExitStack() as stack:
        paths, known = _paths(files, rejected), _known(cli, options)
        read = [_understand(stack, path, options, rejected, known) for path in paths]
        if not as_json:
            for file in read:
                show_understood(file.profile, file.plan)
        replaced = _check_overlap(cli, read, known, replace=replace)
        if replaced and not dry_run and not (yes or _confirm_replacing(replaced)):
            raise typer.Abort
        with _open(cli, dry_run=dry_run) as hk:
            run = _Run(hk, read, options, cli.command, import_id=import_id, dry_run=dry_run)
            run.prepare(replaced, rejected)
            run.import_all(announce=announce, check_rules=check_rules)
    _show_result(run, rejected, perf_counter() - began, as_json=as_json)


# --- before the first row ---------------------------------------------------------------------------------------------


def _base(from_: str | None, mapping: Path | None) -> ImportOptions:
    """The options of a preset or a mapping file."""
    if from_ and mapping:
        raise WrongUsage("Choose either --from or --mapping")
    if from_:
        return preset(from_)
    return read_mapping(mapping) if mapping else ImportOptions()


def _paths(files: Sequence[str], rejected: Path | None) -> Sequence[str]:
    paths = expand(files)
    if rejected is not None and len(paths) > 1:
        raise WrongUsage("--rejected names one file, but each input file has its own; leave it out")
    return paths


def _known(cli: CliContext, options: ImportOptions) -> Sequence[Import]:
    """The imports of the application with another mapping."""
    try:
        with cli.open_existing() as hk:
            return hk.imports.overlapping(hk.application, mapping_digest(options))
    except StorageUnavailable:
        # It is created later, or the error is raised then.
        return ()


def _understand(
    stack: ExitStack, path: str, options: ImportOptions, rejected: Path | None, known: Sequence[Import]
) -> _File:
    opened = open_table(path, options)
    stack.callback(opened.close)
    profile = Profile.of(opened, options, {digest for one in known for digest in one.sample})
    try:
        plan = Plan.of(profile, options)
    except UnusableFile as error:
        raise UnusableFile(f"{opened.name}: {error}") from error
    rejects = Rejects(rejected or Path(f"{opened.name}.rejected.jsonl"), *place_of(opened.layout))
    if path != "-" and rejects.path.exists() and rejects.path.samefile(path):
        raise WrongUsage("Rejected rows would overwrite the input file; choose another path with --rejected")
    refuse_database(rejects.path)
    return _File(opened, profile, plan, rejects, Tally())


def _check_overlap(
    cli: CliContext, read: Sequence[_File], known: Sequence[Import], *, replace: bool
) -> Sequence[Import]:
    """The earlier imports of the same rows with another mapping, which this one replaces.

    Raises:
        WrongUsage: there are some, and they are not to be replaced.
    """
    found = {digest for file in read for digest in file.profile.known}
    earlier = [one for one in known if found.intersection(one.sample)]
    if earlier and not replace:
        first = earlier[0]
        raise WrongUsage(
            f"These rows exist from import {first.id} of {first.started_at:%Y-%m-%d} "
            f"({amount(first.counts.added, 'row')}) with another mapping. Import with the same options as then; or "
            f"erase it and import again with --replace; or undo it with {cli.command} erase --import {first.id}"
        )
    return earlier


def _confirm_replacing(replaced: Sequence[Import]) -> bool:
    entries = amount(sum(one.counts.added for one in replaced), "entry", "entries")
    ids = ", ".join(one.id for one in replaced)
    return confirm(f"Erase {entries} of import {ids}, with the decisions of moderators on them, and import again?")


@contextmanager
def _open(cli: CliContext, *, dry_run: bool) -> Iterator[Harken]:
    """The storage; one that is discarded for a dry run, with the same rules."""
    with harken.connect("memory://", application=cli.application) if dry_run else cli.open() as hk:
        yield hk


# --- the import -------------------------------------------------------------------------------------------------------


class _Run:
    """One run over all files, with one import id."""

    def __init__(
        self,
        hk: Harken,
        files: Sequence[_File],
        options: ImportOptions,
        command: str,
        *,
        import_id: str | None,
        dry_run: bool,
    ) -> None:
        self.files = files
        self.command = command
        self.dry_run = dry_run
        self.erased = 0
        #: The record of the import; ``None`` for a dry run, or if all files are Harken exports.
        self.record: Import | None = None
        self._hk = hk
        self._options = options
        self._import_id = import_id
        self._recorded = ImportCounts()

    @property
    def total(self) -> Tally:
        """The counts of all files."""
        total = Tally()
        for file in self.files:
            total += file.tally
        return total

    def prepare(self, replaced: Sequence[Import], rejected: Path | None) -> None:
        """Check the files to write, erase the imports that are replaced, and record the beginning of this one."""
        if self.dry_run:
            return
        for file in self.files:
            # After opening the storage, which may have created the file.
            refuse_database(rejected or file.rejects.path)
        application = self._hk.application
        for one in replaced:
            self.erased += self._hk.imports.erase(application, one.id).feedback
        if not all(file.plan.is_export for file in self.files):
            self.record = self._hk.imports.begin(
                application,
                import_id=self._import_id,
                files=[file.table.name for file in self.files],
                mapping=mapping_digest(self._options),
                sample=[digest for file in self.files for digest in file.profile.digests],
            )

    def import_all(self, *, announce: bool, check_rules: bool) -> None:
        """Import all files, and show a progress bar if stderr is a terminal."""
        with _progress() as show, _without_collecting_what_exists():
            for file in self.files:
                importer = self._importer(file, announce=announce, check_rules=check_rules)
                file.tally = importer.tally
                try:
                    for number, _ in enumerate(importer.batches(), start=1):
                        show(file.table, file.tally)
                        if number % _BATCHES_PER_RECORD == 0:
                            self._record()
                except (KeyboardInterrupt, UnusableFile):
                    self._record()
                    raise
                finally:
                    file.rejected_file = file.rejects.close()
        if self.record:
            self._hk.imports.finish(self.record, self._unrecorded())

    def _importer(self, file: _File, *, announce: bool, check_rules: bool) -> Importer:
        return Importer(
            self._hk,
            file.table,
            file.plan,
            _ignore if self.dry_run else file.rejects.add,
            import_id=self.record.id if self.record else None,
            announce=announce,
            check_rules=check_rules,
            dry_run=self.dry_run,
        )

    def _record(self) -> None:
        if self.record:
            self._hk.imports.record(self.record, self._unrecorded())

    def _unrecorded(self) -> ImportCounts:
        """The counts since they were recorded last."""
        total, before = self.total, self._recorded
        self._recorded = ImportCounts(
            read=total.read, added=total.added, duplicates=total.duplicates, rejected=total.rejected
        )
        return ImportCounts(
            read=total.read - before.read,
            added=total.added - before.added,
            duplicates=total.duplicates - before.duplicates,
            rejected=total.rejected - before.rejected,
        )


@contextmanager
def _without_collecting_what_exists() -> Iterator[None]:
    """Leave the objects of the program out of garbage collections, which would take a tenth of an import."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _ignore(*_: object) -> None:
    """Take a rejected row of a dry run."""


@contextmanager
def _progress() -> Iterator[Any]:
    if not err.is_terminal:
        yield lambda *_: None
        return
    columns = (
        TextColumn("{task.description} {task.fields[rows]:,} rows"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def show(opened: Table, tally: Tally) -> None:
            done, total = opened.progress
            if opened.name not in tasks:
                tasks[opened.name] = progress.add_task(opened.name, total=total, rows=0)
            progress.update(tasks[opened.name], completed=done, rows=tally.read)

        yield show


# --- output -----------------------------------------------------------------------------------------------------------


def _show_result(run: _Run, rejected: Path | None, seconds: float, *, as_json: bool) -> None:
    if not run.dry_run:
        for file in run.files:
            if file.rejected_file is None and rejected is None:
                file.rejects.remove_stale()
    total = run.total
    if as_json:
        print_json(_result_record(run, total, seconds))
    else:
        _print_result(run, total, seconds)
    if total.nothing_accepted:
        found = ", ".join(str(file.rejected_file) for file in run.files if file.rejected_file)
        raise NothingAccepted(_why_nothing(total, found))
    if total.rejected:
        raise typer.Exit(SOME_REJECTED)


def _why_nothing(total: Tally, rejected_files: str) -> str:
    if not total.read:
        return "There are no rows; nothing was imported"
    see = f"; see {rejected_files} for the reasons" if rejected_files else ""
    return f"All {total.rejected:,} rows were rejected, nothing was imported{see}"


def _print_result(run: _Run, total: Tally, seconds: float) -> None:
    several = len(run.files) > 1
    for file in run.files if several else ():
        say(f"{file.table.name}: {_counts(file.tally, dry_run=run.dry_run)}")
    rate = f"{seconds:.1f} s, {total.read / seconds:,.0f} rows/s"
    say(f"{'Total: ' if several else ''}{_counts(total, dry_run=run.dry_run)}; {rate}")
    show_remarks(total)
    if total.is_incomplete:
        say("The last row is incomplete; it is left for the next import")
    for path in filter(None, (file.rejected_file for file in run.files)):
        say(f"Rejected rows, with reasons, are in {path}", style="yellow")
    if run.erased:
        say(f"{amount(run.erased, 'entry', 'entries')} of earlier imports erased")
    if run.dry_run:
        say("This was a dry run: nothing was written, and duplicates were not looked up")
    elif run.record and total.added:
        say(f"Import {run.record.id}; to undo it: {run.command} erase --import {run.record.id}", style="dim")


def _counts(tally: Tally, *, dry_run: bool) -> str:
    read = f"{amount(tally.read, 'row')} read"
    if dry_run:
        return f"{read}: {tally.added:,} would be imported, {tally.rejected:,} rejected"
    duplicates = amount(tally.duplicates, "duplicate")
    return f"{read}: {tally.added:,} added, {duplicates}, {tally.rejected:,} rejected"


def _result_record(run: _Run, total: Tally, seconds: float) -> Mapping[str, Any]:
    files = [
        {
            **understood_record(file.profile, file.plan),
            **file.tally.record(),
            "rejected_file": str(file.rejected_file) if file.rejected_file else None,
        }
        for file in run.files
    ]
    return {
        "import_id": run.record.id if run.record else None,
        "dry_run": run.dry_run,
        **total.record(),
        "rejected_file": next((one["rejected_file"] for one in files if one["rejected_file"]), None),
        "erased": run.erased,
        "seconds": round(seconds, 3),
        "files": files,
    }

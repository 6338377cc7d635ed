"""The command ``import``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer
from attrs import evolve

import harken
from harken import Import, StorageUnavailable
from harken.clock import utc_now
from harken_adapters.charts.labels import amount
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.plan import Plan, check_typed_columns, mapping_digest
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.presets import preset, preset_text, read_mapping
from harken_adapters.formats.rejects import place_of
from harken_adapters.formats.tables.opening import expand, open_table
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.hosts.cli.files import Rejects, refuse_database
from harken_adapters.hosts.cli.import_arguments import CheckRules, DryRun, ImportId, Meaning, with_meaning
from harken_adapters.hosts.cli.import_output import show_result, show_understood
from harken_adapters.hosts.cli.import_run import ImportFile, Run
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import confirm, say

_SHAPE: Final = "How the file is read (detected by default)"


class Format(Enum):
    """A file format."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    XLSX = "xlsx"
    PARQUET = "parquet"
    ARROW = "arrow"


@with_meaning
def import_(
    context: typer.Context,
    *,
    meaning: Meaning,
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
        typer.Option("--from", metavar="PRESET", help="Read an export of PRESET, such as langfuse."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="What columns mean, from a file."),
    ] = None,
    show_preset: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Print what --from PRESET means, as a mapping file.")
    ] = None,
    dry_run: DryRun = False,
    check_rules: CheckRules = False,
    import_id: ImportId = None,
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
    base = evolve(_base(from_, mapping), **{name: value for name, value in given.items() if value is not None})
    options = meaning.override(base)
    cli = cli_context(context)
    began = perf_counter()
    with ExitStack() as stack:
        paths, known = _paths(files, rejected), _known(cli, options)
        read = [_understand(stack, path, options, rejected, known) for path in paths]
        check_typed_columns([file.profile for file in read], options)
        if not as_json:
            for file in read:
                show_understood(file.profile, file.plan)
        replaced = _check_overlap(cli, read, known, replace=replace)
        if replaced and not dry_run and not (yes or _confirm_replacing(replaced)):
            raise typer.Abort
        with harken.connect("memory://", application=cli.application) if dry_run else cli.open() as hk:
            run = Run(hk, read, options, cli.command, import_id=import_id, dry_run=dry_run)
            run.prepare(replaced, rejected)
            run.import_all(announce=announce, check_rules=check_rules)
    show_result(run, rejected, perf_counter() - began, as_json=as_json)


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
            return hk.imports.with_other_mapping(hk.application, mapping_digest(options))
    except StorageUnavailable:
        # It is created later, or the error is raised then.
        return ()


def _understand(
    stack: ExitStack, path: str, options: ImportOptions, rejected: Path | None, known: Sequence[Import]
) -> ImportFile:
    opened = open_table(path, options)
    stack.callback(opened.close)
    profile = Profile.of(opened, options, {digest for one in known for digest in one.sample})
    try:
        plan = Plan.of(profile, options, now=utc_now())
    except UnusableFile as error:
        raise UnusableFile(f"{opened.name}: {error}") from error
    rejects = Rejects(rejected or Path(f"{opened.name}.rejected.jsonl"), *place_of(opened.layout))
    if path != STANDARD and rejects.path.exists() and rejects.path.samefile(path):
        raise WrongUsage("Rejected rows would overwrite the input file; choose another path with --rejected")
    refuse_database(rejects.path)
    return ImportFile(opened, profile, plan, rejects, Tally())


def _check_overlap(
    cli: CliContext, read: Sequence[ImportFile], known: Sequence[Import], *, replace: bool
) -> Sequence[Import]:
    """The earlier imports of the same rows with another mapping, which this one replaces.

    Raises:
        WrongUsage: there are some, and they are not to be replaced.
    """
    found = {digest for file in read for digest in file.profile.known}
    earlier = [one for one in known if one.shares_rows(found) and (one.counts.added or one.finished_at is None)]
    if replace:
        for one in earlier:
            _check_contained(cli, one, found, sum(file.profile.rows for file in read))
    elif earlier:
        first = earlier[0]
        raise WrongUsage(
            f"These rows exist from import {first.id} of {first.started_at:%Y-%m-%d} "
            f"({amount(first.counts.added, 'row')}) with another mapping. Import with the same options as then; or "
            f"erase it and import again with --replace; or undo it with {cli.command} erase --import {first.id}"
        )
    return earlier


def _check_contained(cli: CliContext, earlier: Import, found: Collection[int], rows: int) -> None:
    """Refuse to erase an import that has rows which are not in the files. Its rejected rows may have been corrected."""
    missing = sum(digest not in found for digest in earlier.sample)
    if missing > earlier.counts.rejected or earlier.counts.added > rows:
        raise WrongUsage(
            f"Import {earlier.id} stored {amount(earlier.counts.added, 'row')}, of which some are not in what is "
            f"imported now ({amount(rows, 'row')}), so --replace would lose them. Import all of its files together; or "
            f"undo it with {cli.command} erase --import {earlier.id}, and import again"
        )


def _confirm_replacing(replaced: Sequence[Import]) -> bool:
    entries = amount(sum(one.counts.added for one in replaced), "entry", "entries")
    ids = ", ".join(one.id for one in replaced)
    return confirm(f"Erase {entries} of import {ids}, with the decisions of moderators on them, and import again?")

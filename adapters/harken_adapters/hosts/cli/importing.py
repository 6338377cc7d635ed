"""The command ``import``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer
from attrs import evolve, frozen

import harken
from harken import Import
from harken.clock import utc_now
from harken.domain.texts import amount
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.mappings import digests_of
from harken_adapters.formats.importing.plan import Plan, Sessions, check_typed_columns
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.presets import options_of, preset, preset_names, preset_text, read_mapping
from harken_adapters.formats.tables.opening import expand, open_table
from harken_adapters.formats.tables.source import STANDARD
from harken_adapters.formats.tables.table import Table
from harken_adapters.hosts.cli.files import Rejects
from harken_adapters.hosts.cli.import_arguments import CheckRules, DryRun, ImportId, Meaning, with_meaning
from harken_adapters.hosts.cli.import_output import show_open_ends, show_result, show_shared_names, show_understood
from harken_adapters.hosts.cli.import_overlap import FileRows, Overlap, changed_since, earlier_imports, recognised_name
from harken_adapters.hosts.cli.import_run import ImportFile, Run, stored_entries
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context, completes
from harken_adapters.hosts.cli.output import confirm, in_one_line, say

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
        typer.Argument(metavar="FILE", help="Files, patterns such as '*.csv', or - for stdin.", show_default=False),
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
        typer.Option(
            "--from",
            metavar="PRESET",
            autocompletion=completes(*preset_names()),
            help="Read an export of PRESET, such as langfuse.",
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="What columns mean, from a file."),
    ] = None,
    show_preset: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            autocompletion=completes(*preset_names()),
            help="Print what --from PRESET means, as a mapping file.",
        ),
    ] = None,
    dry_run: DryRun = False,
    check_rules: CheckRules = False,
    import_id: ImportId = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Erase imports of the same rows with another mapping or other columns first."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before erasing.")] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File for rejected rows. Default: FILE.rejected.jsonl."),
    ] = None,
    announce: Annotated[bool, typer.Option("--announce", help="Send notifications for the imported rows.")] = False,
    as_json: Json = False,
) -> None:
    """Import feedback from CSV, JSON, spreadsheet or Parquet files.

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
    shape = {name: value for name, value in given.items() if value is not None}
    base = _base(from_, mapping)
    options = _FileOptions(
        meaning.override(evolve(base or ImportOptions(), **shape)), meaning, is_based=base is not None
    )
    cli = cli_context(context)
    began = perf_counter()
    with ExitStack() as stack:
        paths, known = _paths(files, rejected), earlier_imports(cli)
        rejects_of = partial(_rejects, rejected, dry_run)
        read = [_understand(stack, path, options, known, rejects_of) for path in paths]
        _refuse_inputs(read, paths)
        for file in read:
            file.rejects.check()
        check_typed_columns([file.profile for file in read], options.base)
        if not as_json:
            for file in read:
                show_understood(file.profile, file.plan)
            show_shared_names(read)
            show_open_ends(read)
        overlap = Overlap(known, [rows for file in read for rows in _rows_of(file)])
        if replace:
            overlap.check_replaceable(cli.command)
        else:
            overlap.refuse(cli.command, "erase it and import again with --replace; or ")
        replaced = overlap.imports
        if replaced and not dry_run and not (yes or _confirm_replacing(cli, replaced)):
            raise typer.Abort
        with harken.connect("memory://", application=cli.application) if dry_run else cli.open() as hk:
            run = Run(
                hk,
                read,
                cli.command,
                import_id=import_id,
                dry_run=dry_run,
                announce=announce,
                check_rules=check_rules,
                interrupted=overlap.interrupted(import_id),
            )
            run.prepare(replaced)
            run.import_all()
    show_result(run, perf_counter() - began, as_json=as_json)


# --- before the first row ---------------------------------------------------------------------------------------------


@frozen
class _FileOptions:
    """The options of all files, which rejected rows of earlier imports complete with those of these imports.

    Attributes:
        base: the options of the command line, and of the preset or mapping file.
        meaning: the part of them in the command line that overrides others.
        is_based: whether there is a preset or a mapping file.
    """

    base: ImportOptions
    meaning: Meaning
    is_based: bool

    def of(self, table: Table) -> ImportOptions:
        """The options of a file."""
        if self.is_based or not table.layout.mapping:
            return self.base
        return self.meaning.override(options_of(table.layout.mapping, table.name))


def _base(from_: str | None, mapping: Path | None) -> ImportOptions | None:
    """The options of a preset or a mapping file, if there is one."""
    if from_ and mapping:
        raise WrongUsage("Choose either --from or --mapping")
    if from_:
        return preset(from_)
    return read_mapping(mapping) if mapping else None


def _paths(files: Sequence[str], rejected: Path | None) -> Sequence[str]:
    paths = expand(files)
    if rejected is not None and len(paths) > 1:
        raise WrongUsage("--rejected names one file, but each input file has its own; import them one by one")
    return paths


def _rejects(rejected: Path | None, dry_run: bool, name: str) -> Rejects:
    return Rejects(rejected or Path(f"{name}.rejected.jsonl"), dry_run=dry_run)


def _understand(
    stack: ExitStack, path: str, options: _FileOptions, known: Sequence[Import], rejects_of: Callable[[str], Rejects]
) -> ImportFile:
    opened = open_table(path, options.base)
    stack.callback(opened.close)
    chosen = options.of(opened)
    profile = Profile.of(opened, chosen, known)
    try:
        plan = Plan.of(profile, chosen, now=utc_now())
    except UnusableFile as error:
        raise UnusableFile(f"{opened.name}: {error}") from error
    file = ImportFile(opened, profile, plan, rejects_of(opened.name), Tally())
    file.changed_since = changed_since(file, known)
    return file


def _refuse_inputs(read: Sequence[ImportFile], paths: Sequence[str]) -> None:
    """Refuse files of rejected rows that are input files: they would be overwritten or removed."""
    inputs = [path for path in paths if path != STANDARD]
    for target in (file.rejects.path for file in read):
        for path in inputs if target.exists() else ():
            if target.samefile(path):
                other = "choose another path with --rejected" if len(paths) == 1 else "import that file alone"
                raise WrongUsage(f"Rejected rows would overwrite the input file {in_one_line(path)}; {other}")


def _rows_of(file: ImportFile) -> Iterator[FileRows]:
    for digests in file.profile.digests.values():
        yield FileRows(
            digests,
            digests_of(file.profile, file.plan),
            rejected_from=file.table.layout.rejected_from,
            source=""
            if file.plan.rows_have_identity
            else recognised_name(file.table.layout.rejected_from or file.table.name),
            has_ids=file.plan.sessions in (Sessions.COLUMN, Sessions.ID) or "message_id" in file.plan.fields,
            content=file.profile.content,
            table=file.table,
        )


def _confirm_replacing(cli: CliContext, replaced: Sequence[Import]) -> bool:
    with cli.open_existing() as hk:
        entries = amount(sum(stored_entries(hk, one) for one in replaced), "entry", "entries")
    ids = ", ".join(one.id for one in replaced)
    return confirm(f"Erase {entries} of import {ids}, with the decisions of moderators on them, and import again?")

"""Output of ``import`` and ``migrate``: what was understood, and what became of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

import typer

from harken import ImportCounts
from harken.domain.texts import amount
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.report import heading, sample_rows, understood_lines, understood_record
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.hosts.cli.exit_codes import REFUSED
from harken_adapters.hosts.cli.files import Rejects
from harken_adapters.hosts.cli.import_run import ImportFile, Run, undo_command
from harken_adapters.hosts.cli.options import NothingAccepted
from harken_adapters.hosts.cli.output import in_one_line, out, print_json, say, table

DRY_RUN: Final = "This was a dry run: nothing was written, and duplicates were not looked up"
_NARROWEST: Final = 30


def show_understood(profile: Profile, plan: Plan) -> None:
    """Print what was understood of a file, and a sample of its rows."""
    say(heading(profile), style="bold")
    lines = understood_lines(profile, plan)
    width = max((len(name) for name, _ in lines), default=0)
    room = max(out.width - width - 4, _NARROWEST)
    if plan.is_export:
        say("  A Harken export: its entries are restored exactly")
    for name, text in lines:
        first, *rest = wrap(text, room, break_long_words=False, break_on_hyphens=False)
        say(f"  {name:<{width}}  {first}")
        for line in rest:
            say(f"  {'':<{width}}  {line}")
    for hint in plan.hints:
        say(f"  {hint}", style="yellow")
    out.print()
    if profile.sample and not plan.is_export:
        table(*sample_rows(profile, plan))


def show_shared_names(files: Sequence[ImportFile]) -> None:
    """Print which files have the same name, if equal rows in them are stored once because of that."""
    names: dict[str, list[str]] = {}
    for file in files:
        if not (file.plan.is_export or file.plan.rows_have_identity):
            names.setdefault(file.plan.source, []).append(file.table.name)
    for several in names.values():
        if len(several) > 1:
            say(
                f"{', '.join(map(in_one_line, several))} have the same name: rows that are equal in them are stored "
                "once. To store all, rename the files",
                style="yellow",
            )


def show_reused_names(files: Sequence[ImportFile]) -> None:
    """Print which files have the name of an earlier one with other rows, if equal rows were not stored again."""
    for file in files:
        if (one := file.changed_since) and file.tally.duplicates:
            equal = amount(file.tally.duplicates, "row that is equal", "rows that are equal")
            say(
                f"{in_one_line(file.table.name)} and a file of import {in_one_line(one.id)} have the same name, but "
                f"other rows: {equal} in both {'was' if file.tally.duplicates == 1 else 'were'} not stored again. To "
                "store all, undo this import, rename the file and import it",
                style="yellow",
            )


def show_open_ends(files: Sequence[ImportFile]) -> None:
    """Print which files do not end with a line break."""
    for file in files:
        if file.table.last_is_open:
            name = in_one_line(file.table.name)
            say(
                f"{name} does not end with a line break. Its last row is imported nevertheless; if the file is "
                "still being written, import it when it is complete",
                style="yellow",
            )


def show_remarks(tally: Tally) -> None:
    """Print why rows were rejected, and what else happened to rows."""
    show_reasons(tally)
    if tally.waived:
        rules = ", ".join(f"{rule} {count:,}" for rule, count in tally.waived.most_common())
        say(f"Rules for new feedback that were not applied: {rules}; --check-rules applies them")
    if tally.undated:
        say(f"{amount(tally.undated, 'row')} without a date, dated now", style="yellow")
    if tally.cut:
        say(f"The context of {amount(tally.cut, 'row')} was shortened to what can be stored", style="yellow")


def show_reasons(tally: Tally) -> None:
    """Print the most common reasons for rejected rows, each with an example."""
    if not (reasons := tally.common_reasons()):
        return
    most = f", the {len(reasons)} most common of {len(tally.reasons)}" if len(tally.reasons) > len(reasons) else ""
    say(f"Reasons for rejected rows{most}:")
    width = max(len(f"{one.count:,}") for one in reasons)
    for one in reasons:
        say(f"  {one.count:>{width},}  {one.example} ({one.place})", style="yellow")


def show_result(run: Run, seconds: float, *, as_json: bool) -> None:
    """Print what became of the rows.

    Raises:
        NothingAccepted: no row was imported.
        typer.Exit: some rows were rejected.
    """
    total = run.total
    if as_json:
        print_json(_result_record(run, total, seconds))
    else:
        _print_result(run, total, seconds)
    if total.nothing_accepted:
        found = ", ".join(str(file.rejects.written) for file in run.files if file.rejects.written)
        raise NothingAccepted(_why_nothing(total, found))
    if total.rejected:
        raise typer.Exit(REFUSED)


def _why_nothing(total: Tally, rejected_files: str) -> str:
    if not total.read:
        return "There are no rows; nothing was imported"
    see = f"; see {rejected_files} for the reasons" if rejected_files else ""
    return f"{amount(total.rejected, 'row was', 'rows were')} rejected, nothing was imported{see}"


def _print_result(run: Run, total: Tally, seconds: float) -> None:
    several = len(run.files) > 1
    for file in run.files if several else ():
        say(f"{file.table.name}: {counts_text(file.tally.counts, 'row', dry_run=run.dry_run)}")
    counts = counts_text(total.counts, "row", dry_run=run.dry_run)
    say(f"{'Total: ' if several else ''}{counts}; {rate_text(total.read, seconds)}")
    show_remarks(total)
    if not run.dry_run:
        show_reused_names(run.files)
    _show_shared_rows(run)
    if total.is_incomplete:
        say("The last row is incomplete; it is left for the next import")
    for file in run.files:
        show_rejects(file.rejects, "rows")
    if run.erased:
        say(f"{amount(run.erased, 'entry', 'entries')} of earlier imports erased")
    if run.dry_run:
        say(DRY_RUN)
        return
    _show_undos(run)
    if total.added and any(file.profile.exported for file in run.files):
        say("Restored entries keep their import id, if any, and get no new one; no id undoes only this", style="dim")


def show_rejects(rejects: Rejects, what: str) -> None:
    """Print where rejected rows are, and those of an earlier run."""
    if rejects.written:
        say(f"Rejected {what}, with reasons, are in {rejects.written}", style="yellow")
    if rejects.remark:
        say(rejects.remark, style="yellow")


def _show_shared_rows(run: Run) -> None:
    """Print how many rows of a file were not stored, as they are equal to rows of a file before it."""
    if run.record is None or run.record.is_continued:
        return
    for number, file in enumerate(run.files):
        if number and file.tally.shared and file.plan.rows_have_identity:
            others = in_one_line(run.files[0].table.name) if number == 1 else "the files before it"
            are = "row of {} is" if file.tally.shared == 1 else "rows of {} are"
            say(
                f"{file.tally.shared:,} {are.format(in_one_line(file.table.name))} equal to rows of {others}, and not "
                "stored again. If this is other feedback, undo this import, add a column to each file that "
                "distinguishes it, such as branch, and import them again",
                style="yellow",
            )


def counts_text(counts: ImportCounts, noun: str = "", *, dry_run: bool = False) -> str:
    """The counts, such as ``3 rows read: 2 added, 0 duplicates, 1 rejected``."""
    read = f"{amount(counts.read, noun) if noun else f'{counts.read:,}'} read"
    if dry_run:
        return f"{read}: {counts.added:,} would be imported, {counts.rejected:,} rejected"
    return f"{read}: {counts.added:,} added, {amount(counts.duplicates, 'duplicate')}, {counts.rejected:,} rejected"


def rate_text(rows: int, seconds: float) -> str:
    """The time that rows took, and how many there were in a second."""
    return f"{seconds:.1f} s, {amount(round(rows / seconds), 'row')}/s"


def show_undo(import_id: str, command: str) -> None:
    """Print the id of an import, and how to undo it."""
    say(f"Import {in_one_line(import_id)}; to undo it: {undo_command(import_id, command)}", style="dim")


def _show_undos(run: Run) -> None:
    """Print how to undo this import, and unfinished ones that stored some of its rows."""
    if run.record and run.total.added:
        show_undo(run.record.id, run.command)
    for one in run.interrupted:
        say(
            f"Unfinished import {in_one_line(one.id)} has {amount(one.counts.added, 'entry', 'entries')} of these files"
        )
        show_undo(one.id, run.command)


def _result_record(run: Run, total: Tally, seconds: float) -> Mapping[str, Any]:
    files = [
        {
            **understood_record(file.profile, file.plan),
            "ends_without_line_break": file.table.last_is_open,
            **file.tally.record(),
            **file.rejects.record(),
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

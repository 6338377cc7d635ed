"""The command ``migrate mongodb-sessions``: imports sessions from the database of mongodb_session_manager."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer

import harken
from harken import StorageError
from harken.clock import utc_now
from harken.domain.texts import amount
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.mappings import carried_mapping, digests_of
from harken_adapters.formats.importing.plan import Plan, check_typed_columns
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.report import understood_record
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrated_collections import mark_migrated
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import DOCUMENT_FIELDS, FEEDBACK_FIELDS, Document, application_of
from harken_adapters.formats.migrating.feedback import plan_of
from harken_adapters.formats.migrating.migration import Migration
from harken_adapters.formats.rejects import mapping_part
from harken_adapters.hosts.cli.exit_codes import REFUSED
from harken_adapters.hosts.cli.files import Rejects, UnwritableRejects
from harken_adapters.hosts.cli.import_arguments import CheckRules, DryRun, ImportId, Meaning, with_meaning
from harken_adapters.hosts.cli.import_output import (
    DRY_RUN,
    counts_text,
    show_rejects,
    show_remarks,
    show_understood,
    show_undo,
)
from harken_adapters.hosts.cli.import_overlap import FileRows, Overlap, earlier_imports
from harken_adapters.hosts.cli.import_run import StoppedImport, stored_text
from harken_adapters.hosts.cli.options import CliContext, Json, NothingAccepted, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import in_one_line, print_json, run_through, say, table, warn

_ONCE_MORE: Final = (
    "Repeat the migration without --after: it adds no duplicates, and session managers then open the database"
)

migrate = typer.Typer(no_args_is_help=True, help="Import sessions from the database of another program.")


@migrate.command("mongodb-sessions")
@with_meaning
def mongodb_sessions(
    context: typer.Context,
    *,
    meaning: Meaning,
    from_: Annotated[
        str, typer.Option("--from", metavar="URL", help="The database to read, such as mongodb://host/database.")
    ],
    collection: Annotated[str, typer.Option(metavar="NAME", help="The collection of sessions.")],
    database: Annotated[
        str | None, typer.Option(metavar="NAME", help="The database, if the URL does not name it.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="Continue after this session, when an earlier run was interrupted."),
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File for rejected values. Default: COLLECTION.rejected.jsonl."),
    ] = None,
    dry_run: DryRun = False,
    check_rules: CheckRules = False,
    import_id: ImportId = None,
    as_json: Json = False,
) -> None:
    """Import the sessions of mongodb_session_manager: conversations, feedback and metadata.

    Reads MongoDB documents with `_id` (the session), and optional `agents`, `guardrail_events`, `session_type`,
    `feedbacks` (a list), `metadata` and `application_name`.

    What was understood of the feedback is printed before anything is stored. A repeated migration adds no duplicates.

    Exits with 0 if everything is imported, 3 if something was rejected, and 2 if nothing was imported.
    """
    # Imported here because it is slow and its package may be missing.
    from harken_adapters.formats import mongodb  # noqa: PLC0415

    options = _options(meaning)
    rejects = Rejects(rejected or _default_rejects_path(collection), keep=after is not None, dry_run=dry_run)
    rejects.check()
    cli = cli_context(context)
    began = perf_counter()
    with ExitStack() as stack:
        source = stack.enter_context(mongodb.open_collection(from_, collection, database=database))
        documents = source.documents(FEEDBACK_FIELDS, after)
        profile, plan = _understand(cli, documents, options, collection, show=not as_json)
        # A dry run has a storage that is discarded, with the same rules.
        hk = stack.enter_context(harken.connect("memory://", application=cli.application) if dry_run else cli.open())
        # After opening the storage, which may have created the file.
        rejects.check()
        migration = Migration(
            hk,
            profile,
            plan,
            partial(rejects.add, read_as=mapping_part(carried_mapping(plan))),
            name=collection,
            application=cli.application,
            import_id=import_id,
            check_rules=check_rules,
            dry_run=dry_run,
        )
        steps = _steps(migration.batches(source.documents(DOCUMENT_FIELDS, after)), rejects)
        with nullcontext() if dry_run else _saying_how_to_continue(migration, mongodb.place_of), closing(rejects):
            run_through(steps, source.count)
        if not dry_run and after is None and not (migration.tally.is_empty or migration.tally.nothing_accepted):
            mark_migrated(hk.state, source.database, collection, source.collection_id)
    seconds = perf_counter() - began
    if as_json:
        print_json(_record(profile, plan, migration, rejects, seconds, dry_run=dry_run))
    else:
        _show(migration.tally, rejects, seconds, dry_run=dry_run)
        _show_how_to_undo(cli, migration)
    _end(migration.tally, collection, rejects.written, after=after, dry_run=dry_run)


def _options(meaning: Meaning) -> ImportOptions:
    options = meaning.override(ImportOptions())
    if "session_id" in {*options.columns, *options.constants}:
        raise WrongUsage("session_id is always read from _id; omit it from --map and --set")
    return options


def _understand(
    cli: CliContext, documents: Iterable[Document], options: ImportOptions, collection: str, *, show: bool
) -> tuple[Profile, Plan]:
    """What the entries mean. Refuses those that an earlier migration stored with another mapping."""
    of = partial(application_of, named=cli.application, default=cli.default_application)
    # Asked before and after the first pass.
    known = cache(partial(earlier_imports, cli))
    profile, plan = plan_of(documents, options, collection, application_of=of, known=known, now=utc_now())
    check_typed_columns([profile], options)
    if profile.rows and show:
        show_understood(profile, plan)
    mapping = digests_of(profile, plan)
    for name, digests in profile.digests.items():
        Overlap(known(name), [FileRows(digests, mapping)]).refuse(cli.command_for(name), "")
    return profile, plan


def _steps(batches: Iterable[int], rejects: Rejects) -> Iterator[tuple[str, int]]:
    """Import the batches. Yields a description and the number of documents after each one."""
    for done in batches:
        rejects.flush()
        yield amount(done, "session"), done


@contextmanager
def _saying_how_to_continue(migration: Migration, place_of: Callable[[Any], str | None]) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        if remedy := _remedy(place_of(migration.reached), migration):
            raise type(error)(f"{error}. {remedy}") from error
        raise
    except UnwritableRejects as error:
        # Not from the last session on, as the rejected entries before it are not in the file.
        stored = stored_text(migration.tally.feedback.added, "entry", "entries")
        raise StoppedImport(f"{error}. {stored}; repeat the migration to continue") from error
    except KeyboardInterrupt:
        if remedy := _remedy(place_of(migration.reached), migration):
            warn(remedy)
        raise


def _end(tally: Migrated, collection: str, rejected_file: Path | None, *, after: str | None, dry_run: bool) -> None:
    if tally.is_empty and after is None:
        raise NothingAccepted(f"No document of {collection!r} has agents, feedback or metadata; nothing was imported")
    if tally.nothing_accepted:
        see = f"; see {rejected_file} for the reasons" if rejected_file else ""
        raise NothingAccepted(f"Everything was rejected, nothing was imported{see}")
    if after is not None and not dry_run:
        # Nobody knows whether the sessions before it were migrated.
        warn(_ONCE_MORE)
    if tally.rejected:
        raise typer.Exit(REFUSED)


def _default_rejects_path(collection: str) -> Path:
    """The default file for rejected entries. It is named after the collection, without characters such as ``/``."""
    name = re.sub(r"[^\w.-]", "_", collection)
    return Path(f"{name}.rejected.jsonl")


def _remedy(place: str | None, migration: Migration) -> str:
    if place is None or not migration.tally.documents:
        return ""
    done = amount(migration.tally.documents, "session is", "sessions are")
    return f"{done} done; continue with --after {shlex.quote(place)}"


def _record(
    profile: Profile, plan: Plan, migration: Migration, rejects: Rejects, seconds: float, *, dry_run: bool
) -> dict[str, Any]:
    tally, ids = migration.tally, {name: running.id for name, running in migration.imports.items()}
    return {
        "dry_run": dry_run,
        "documents": tally.documents,
        **{kind: one.record() for kind, one in tally.kinds.items()},
        "renumbered": tally.renumbered,
        "documents_by_application": dict(tally.documents_by_application),
        "not_migrated": ["session_viewer_password"],
        "applications": {
            name: {"import_id": ids.get(name), **one.record()} for name, one in tally.feedback_by_application.items()
        },
        "understood": understood_record(profile, plan),
        **rejects.record(),
        "seconds": round(seconds, 3),
    }


def _show(tally: Migrated, rejects: Rejects, seconds: float, *, dry_run: bool) -> None:
    say(f"{amount(tally.documents, 'session')} read in {seconds:.1f} s")
    names = [f"{in_one_line(name)} {count:,}" for name, count in tally.documents_by_application.most_common()]
    if names:
        say(f"Sessions by application: {', '.join(names)}")
    for name, one in tally.feedback_by_application.items():
        say(f"Feedback of {in_one_line(name)}: {counts_text(one.counts, dry_run=dry_run)}")
    total = Tally()
    for one in tally.kinds.values():
        total += one
    table(
        ("values", "read", "would be added" if dry_run else "added", "duplicates", "rejected"),
        (
            (kind.replace("_", " "), one.read, one.added, one.duplicates, one.rejected)
            for kind, one in tally.kinds.items()
        ),
    )
    if tally.renumbered:
        say(
            f"{amount(tally.renumbered, 'message has', 'messages have')} another number than in the documents, where "
            "numbers are repeated or missing; the records have both",
            style="yellow",
        )
    show_remarks(total)
    say("Passwords for the session viewer are not migrated: they are secrets of another application", style="dim")
    show_rejects(rejects, "values")
    if dry_run:
        say(DRY_RUN)


def _show_how_to_undo(cli: CliContext, migration: Migration) -> None:
    added = {
        name: one for name, one in migration.imports.items() if migration.tally.feedback_by_application[name].added
    }
    if added:
        say(f"Undoing an import removes its feedback; to remove a session: {cli.command} erase --session ID")
    for name, running in added.items():
        show_undo(running.id, cli.command_for(name))

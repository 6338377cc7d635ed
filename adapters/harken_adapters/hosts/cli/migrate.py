"""The command ``migrate mongodb-sessions``: imports feedback from another program's database."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from harken import StorageError
from harken_adapters.charts.labels import amount
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.report import understood_record
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating import DOCUMENT_FIELDS, Migrated, Migration, plan_of
from harken_adapters.formats.rejects import ENTRY
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
    ZoneOfDates,
    with_meaning,
)
from harken_adapters.hosts.cli.import_output import SOME_REJECTED, show_reasons, show_remarks, show_understood
from harken_adapters.hosts.cli.options import Json, NothingAccepted, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import print_json, run_through, say, warn

migrate = typer.Typer(no_args_is_help=True, help="Import feedback from the database of another program.")


@migrate.command("mongodb-sessions")
def mongodb_sessions(
    context: typer.Context,
    *,
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
    map_: Map = None,
    scale: Scale = None,
    rating: RatingOf = None,
    date_format: DateFormat = None,
    zone: ZoneOfDates = None,
    drop: Drop = None,
    only: Only = None,
    context_: ContextColumns = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File for rejected entries. Default: COLLECTION.rejected.jsonl."),
    ] = None,
    check_rules: CheckRules = False,
    as_json: Json = False,
) -> None:
    """Import feedback stored as an array in MongoDB session documents.

    Reads `_id` (the session), `feedbacks` (a list), and optional `metadata` and `application_name`.

    What was understood is printed before the first entry is stored. A repeated migration adds no duplicates.

    Exits with 0 if everything is imported, 3 if something was rejected, and 2 if nothing was imported.
    """
    # Imported here because it is slow and its package may be missing.
    from harken_adapters.formats import mongodb  # noqa: PLC0415

    options = with_meaning(
        ImportOptions(),
        map_=map_,
        scale=scale,
        rating=rating,
        date_format=date_format,
        zone=zone,
        drop=drop,
        only=only,
        context=context_,
    )
    if "session_id" in options.columns:
        raise WrongUsage("session_id is always read from _id; omit it from --map")
    rejects = Rejects(rejected or _default_rejects_path(collection), *ENTRY, keep=after is not None)
    refuse_database(rejects.path)
    cli = cli_context(context)
    began = perf_counter()
    with ExitStack() as stack:
        source = stack.enter_context(
            mongodb.open_collection(from_, collection, database=database, fields=DOCUMENT_FIELDS)
        )
        profile, plan = plan_of(source.documents(after), options, collection)
        if profile.rows and not as_json:
            show_understood(profile, plan)
        hk = stack.enter_context(cli.open())
        # After opening the storage, which may have created the file.
        refuse_database(rejects.path)
        migration = Migration(hk, plan, rejects.add, application=cli.application, check_rules=check_rules)
        try:
            with _saying_how_to_continue(migration, mongodb.place_of):
                run_through(migration.batches(source.documents(after)), "sessions", source.count)
        finally:
            rejected_file = rejects.close()
    if rejected_file is None and rejected is None and after is None:
        rejects.remove_stale()
    seconds = perf_counter() - began
    if as_json:
        print_json(_record(profile, plan, migration.tally, rejected_file, seconds))
    else:
        _show(migration.tally, rejected_file, seconds)
    if migration.tally.is_empty and after is None:
        raise NothingAccepted(f"No document of {collection!r} has feedback or metadata; nothing was imported")
    _end(migration.tally, rejected_file)


@contextmanager
def _saying_how_to_continue(migration: Migration, place_of: Callable[[Any], str | None]) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        if remedy := _remedy(place_of(migration.reached), migration):
            raise type(error)(f"{error}. {remedy}") from error
        raise
    except KeyboardInterrupt:
        if remedy := _remedy(place_of(migration.reached), migration):
            warn(remedy)
        raise


def _end(tally: Migrated, rejected_file: Path | None) -> None:
    if tally.nothing_accepted:
        raise NothingAccepted(
            f"All feedback and metadata was rejected, nothing was imported; see {rejected_file} for the reasons"
        )
    if tally.feedback.rejected or tally.metadata.rejected:
        raise typer.Exit(SOME_REJECTED)


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
    profile: Profile, plan: Plan, tally: Migrated, rejected_file: Path | None, seconds: float
) -> dict[str, Any]:
    return {
        "documents": tally.documents,
        "feedback": tally.feedback.record(),
        "metadata": tally.metadata.record(),
        "applications": {name: one.record() for name, one in tally.applications.items()},
        "understood": understood_record(profile, plan),
        "rejected_file": str(rejected_file) if rejected_file else None,
        "seconds": round(seconds, 3),
    }


def _show(tally: Migrated, rejected_file: Path | None, seconds: float) -> None:
    say(f"{amount(tally.documents, 'session')} read; {seconds:.1f} s, {tally.feedback.read / seconds:,.0f} rows/s")
    for name, one in tally.applications.items():
        say(f"Feedback of {name}: {_counts(one)}")
    if len(tally.applications) != 1:
        say(f"Feedback: {_counts(tally.feedback)}")
    say(f"Metadata values: {_counts(tally.metadata)}")
    show_remarks(tally.feedback)
    show_reasons(tally.metadata)
    if rejected_file:
        say(f"Rejected entries, with reasons, are in {rejected_file}", style="yellow")


def _counts(tally: Tally) -> str:
    duplicates = amount(tally.duplicates, "duplicate")
    return f"{tally.read:,} read: {tally.added:,} added, {duplicates}, {tally.rejected:,} rejected"

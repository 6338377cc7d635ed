"""``migrate``: feedback that was collected without Harken, out of a database."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from attrs import asdict

from harken import StorageError
from harken_adapters.formats.importing import Tally
from harken_adapters.formats.mapping import Columns
from harken_adapters.formats.migrating import DOCUMENT_FIELDS, Migration
from harken_adapters.hosts.cli.files import Rejects, refuse_database
from harken_adapters.hosts.cli.options import Json, NothingAccepted, WrongUsage, cli_context, pairs
from harken_adapters.hosts.cli.output import counted, print_json, run_through, say, warn

migrate = typer.Typer(no_args_is_help=True, help="Bring in feedback that was collected without Harken.")


@migrate.command("mongodb-sessions")
def mongodb_sessions(
    context: typer.Context,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="URL", help="Such as mongodb://host/database.")],
    collection: Annotated[str, typer.Option(metavar="NAME", help="The collection of sessions.")],
    database: Annotated[str | None, typer.Option(metavar="NAME", help="If the URL does not name it.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on behind this session, of a run that broke off.")
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=NAME", help="Read a field by that name; repeatable.")
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Where rejected entries go; COLLECTION.rejected.jsonl if not given."),
    ] = None,
    check_spam: Annotated[bool, typer.Option("--check-spam", help="Apply the spam rule to what comes in.")] = False,
    as_json: Json = False,
) -> None:
    """Bring in sessions whose documents hold their feedback as an array.

    Such a document has an _id, which is the session, a list of feedbacks, and perhaps metadata and an application_name.

    Doing so again adds nothing.

    Exits with 3 if everything was rejected.
    """
    # Only here, because it takes a while and may be missing.
    from harken_adapters.formats import mongodb  # noqa: PLC0415

    columns = Columns(pairs("--map", map_ or ()))
    if "session_id" in columns.mapped:
        raise WrongUsage("session_id is the _id of the document, and cannot be read by another name")
    rejects = Rejects(rejected or _rejected(collection), "session", "position", keep=after is not None)
    cli = cli_context(context)
    began = perf_counter()
    with (
        mongodb.opened(from_, collection, database=database, fields=DOCUMENT_FIELDS) as source,
        cli.open(spam=None if check_spam else "allow") as hk,
    ):
        # Only now: opening the storage may have made it.
        refuse_database(rejects.path)
        migration = Migration(hk, rejects.add, columns=columns, application=cli.application)
        try:
            run_through(migration.batches(source.documents(after)), "sessions", source.count)
        except StorageError as error:
            if remedy := _remedy(mongodb.place_of(migration.reached), migration):
                raise type(error)(f"{error}. {remedy}") from error
            raise
        except KeyboardInterrupt:
            if remedy := _remedy(mongodb.place_of(migration.reached), migration):
                warn(remedy)
            raise
        finally:
            rejected_file = rejects.close()
    if rejected_file is None and rejected is None and after is None:
        rejects.remove_stale()
    _show(migration, rejected_file, perf_counter() - began, as_json=as_json)
    if migration.tally.nothing_accepted:
        raise NothingAccepted("All feedback and metadata was", rejected_file)


def _rejected(collection: str) -> Path:
    """A file beside nothing else, named after the collection as far as a file can be."""
    name = re.sub(r"[^\w.-]", "_", collection)
    return Path(f"{name}.rejected.jsonl")


def _remedy(place: str | None, migration: Migration) -> str:
    if place is None or not migration.tally.documents:
        return ""
    return f"{migration.tally.documents:,} sessions are done; go on with --after {shlex.quote(place)}"


def _show(migration: Migration, rejected_file: Path | None, seconds: float, *, as_json: bool) -> None:
    tally = migration.tally
    if as_json:
        print_json(
            {
                **asdict(tally),
                "rejected_file": str(rejected_file) if rejected_file else None,
                "seconds": round(seconds, 3),
            }
        )
        return
    say(f"{counted(tally.documents, 'session')} read; {seconds:.1f} s, {tally.feedback.read / seconds:,.0f} rows/s")
    say(f"Feedback: {_counts(tally.feedback)}")
    say(f"Values of metadata: {_counts(tally.metadata)}")
    if rejected_file:
        say(f"What was rejected, with reasons: {rejected_file}", style="yellow")


def _counts(tally: Tally) -> str:
    return (
        f"{tally.read:,} read: {tally.added:,} added, {tally.duplicates:,} there already, {tally.rejected:,} rejected"
    )

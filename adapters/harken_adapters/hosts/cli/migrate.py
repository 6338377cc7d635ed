"""The command ``migrate mongodb-sessions``: imports feedback from another program's database."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from attrs import asdict

from harken import StorageError
from harken_adapters.charts.labels import amount
from harken_adapters.formats.importing import Tally
from harken_adapters.formats.mapping import Columns
from harken_adapters.formats.migrating import DOCUMENT_FIELDS, Migration
from harken_adapters.hosts.cli.files import Rejects, refuse_database
from harken_adapters.hosts.cli.options import Json, NothingAccepted, WrongUsage, cli_context, pairs
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
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=NAME", help="Read FIELD from the field NAME; repeatable."),
    ] = None,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File for rejected entries. Default: COLLECTION.rejected.jsonl."),
    ] = None,
    check_spam: Annotated[bool, typer.Option("--check-spam", help="Apply the spam filter.")] = False,
    as_json: Json = False,
) -> None:
    """Import feedback stored as an array in MongoDB session documents.

    Reads `_id` (the session), `feedbacks` (a list), and optional `metadata` and `application_name`.

    A repeated migration adds no duplicates.

    Exits with code 3 if everything was rejected.
    """
    # Imported here because it is slow and its package may be missing.
    from harken_adapters.formats import mongodb  # noqa: PLC0415

    columns = Columns(pairs("--map", map_ or ()))
    if "session_id" in columns.mapped:
        raise WrongUsage("session_id is always read from _id; omit it from --map")
    rejects = Rejects(rejected or _default_rejects_path(collection), "session", "position", keep=after is not None)
    cli = cli_context(context)
    began = perf_counter()
    with (
        mongodb.open_collection(from_, collection, database=database, fields=DOCUMENT_FIELDS) as source,
        cli.open(spam=None if check_spam else "allow") as hk,
    ):
        # After opening the storage, which may have created the file.
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


def _default_rejects_path(collection: str) -> Path:
    """The default file for rejected entries. It is named after the collection, without characters such as ``/``."""
    name = re.sub(r"[^\w.-]", "_", collection)
    return Path(f"{name}.rejected.jsonl")


def _remedy(place: str | None, migration: Migration) -> str:
    if place is None or not migration.tally.documents:
        return ""
    done = amount(migration.tally.documents, "session is", "sessions are")
    return f"{done} done; continue with --after {shlex.quote(place)}"


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
    say(f"{amount(tally.documents, 'session')} read; {seconds:.1f} s, {tally.feedback.read / seconds:,.0f} rows/s")
    say(f"Feedback: {_counts(tally.feedback)}")
    say(f"Metadata values: {_counts(tally.metadata)}")
    if rejected_file:
        say(f"Rejected entries, with reasons, are in {rejected_file}", style="yellow")


def _counts(tally: Tally) -> str:
    duplicates = amount(tally.duplicates, "duplicate")
    return f"{tally.read:,} read: {tally.added:,} added, {duplicates}, {tally.rejected:,} rejected"

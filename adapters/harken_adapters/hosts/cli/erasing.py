"""The command ``erase``."""

from __future__ import annotations

import shlex
from datetime import datetime
from itertools import chain
from typing import Annotated, Final

import typer
from attrs import asdict, evolve, frozen

import harken
from harken import Erased, FeedbackQuery, Harken, ImportNotFound
from harken.configuration.storage_urls import open_existing_storage
from harken.domain.rules import label_problem
from harken.domain.texts import amount, did_you_mean, listed
from harken.ports.storage import Storage
from harken_adapters.formats.record import erasure_record
from harken_adapters.hosts.cli.exit_codes import NOT_FOUND
from harken_adapters.hosts.cli.options import ZONES, Json, NoSuchApplication, WrongUsage, cli_context, local_instant
from harken_adapters.hosts.cli.output import confirm, in_one_line, print_json, say, time_text

_MOST_LISTED: Final = 10
#: The names of what is erased besides feedback, singular and plural.
_NOUNS: Final = {
    "messages": ("message", "messages"),
    "agents": ("agent state", "agent states"),
    "metadata": ("metadata key", "metadata keys"),
    "alerts": ("alert", "alerts"),
    "deliveries": ("delivery", "deliveries"),
}


@frozen(kw_only=True)
class _Selection:
    """What to erase; all conditions must match."""

    feedback_id: str | None
    session: str | None
    author: str | None
    before: datetime | None
    import_id: str | None
    application: str | None

    def check(self) -> None:
        """Raise ``WrongUsage`` unless it is clear what to erase."""
        others = (self.feedback_id, self.session, self.author, self.before)
        if self.import_id is not None and any(one is not None for one in others):
            raise WrongUsage("--import erases all feedback of the import; leave the other conditions out")
        if all(one is None for one in (*others, self.import_id, self.application)):
            raise WrongUsage("Specify what to erase: an ID, --session, --author, --before, --import or --application")
        for option, value in (
            ("--session", self.session),
            ("--author", self.author),
            ("--import", self.import_id),
            ("--application", self.application),
        ):
            if value is not None and (problem := label_problem(option, value)):
                raise WrongUsage(problem.message)

    def query(self, hk: Harken) -> FeedbackQuery:
        """The feedback to erase."""
        if self.import_id is not None:
            return hk.imports.query(hk.application, self.import_id)
        query = hk.query(session_id=self.session, author=self.author, until=self.before)
        return evolve(query, feedback_id=self.feedback_id).in_any_state()

    def erase(self, hk: Harken) -> Erased:
        """Erase it."""
        if self.import_id is not None:
            return hk.imports.erase(hk.application, self.import_id)
        return hk.collection.erase(self.query(hk))

    def exists(self, hk: Harken) -> bool:
        """Whether what the conditions name exists, so that it is not a mistake if nothing was created before the time.

        An import that was found exists, also without entries.
        """
        if self.import_id is not None:
            return True
        if self.before is None:
            return False
        if all(one is None for one in (self.session, self.author, self.application)):
            return True
        return bool(hk.collection.find(evolve(self.query(hk), until=None), limit=1).items)


def erase(
    context: typer.Context,
    *,
    feedback_id: Annotated[str | None, typer.Argument(metavar="ID", help="The id of the feedback to erase.")] = None,
    session: Annotated[
        str | None, typer.Option(help="Erase this session: feedback, conversation and metadata.")
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(help="Erase feedback by this author, and sessions that no one else rated."),
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Erase feedback that was created before this; ISO 8601.")
    ] = None,
    zone: Annotated[
        str,
        typer.Option(
            metavar="IANA",
            autocompletion=ZONES,
            help="The time zone of a date without an offset, such as Europe/Berlin.",
        ),
    ] = "UTC",
    import_id: Annotated[
        str | None, typer.Option("--import", metavar="ID", help="Undo this import; see harken imports.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Erase feedback permanently, in any state.

    To keep a copy, run `harken export --all` first.

    Several conditions are combined with AND. With --application and no condition, everything of it is erased.

    Exits with code 4 if the feedback, session, author, import or application does not exist.
    """
    cli = cli_context(context)
    selection = _Selection(
        feedback_id=feedback_id,
        session=session,
        author=author,
        before=local_instant("--before", before, zone),
        import_id=import_id,
        application=cli.application,
    )
    selection.check()
    with open_existing_storage(cli.url) as storage, harken.connect(storage, application=cli.application) as hk:
        query = selection.query(hk)
        total = _count(selection, hk, storage, cli.command)
        if not yes and not confirm(_question(selection, query, total)):
            raise typer.Abort
        erased = selection.erase(hk)
        record = erasure_record(erased)
        is_nothing = not any(record["removed"].values())
        exists = not is_nothing or selection.exists(hk)
    if as_json:
        print_json(record)
    elif is_nothing and import_id is not None:
        say(f"Nothing to erase: the import {import_id} has no entries; it is no longer listed")
    elif is_nothing and before is not None and exists:
        say(f"Nothing to erase: no such feedback was created before {time_text(selection.before)}")
    elif is_nothing and before is not None:
        say("Nothing to erase: no feedback matches the conditions other than --before")
    else:
        _show_erased(erased, cli.command)
    if not exists:
        raise typer.Exit(NOT_FOUND)


def _count(selection: _Selection, hk: Harken, storage: Storage, command: str) -> int:
    """The number of entries to erase.

    Raises:
        FeedbackNotFound: there is no feedback with the id.
        ImportNotFound: the import does not exist.
        NoSuchApplication: there is nothing of the application.
    """
    if selection.feedback_id is not None:
        hk.collection.get(hk.application, selection.feedback_id)
    query = selection.query(hk)
    if total := hk.analytics.summary(query).total:
        return total
    if selection.import_id is not None:
        _check_import(hk, selection.import_id, command)
    elif query.is_everything:
        _check_application(hk, storage)
    return 0


def _check_import(hk: Harken, import_id: str, command: str) -> None:
    """Raise ``ImportNotFound`` unless the import is recorded."""
    known = [one.id for one in hk.imports.list(hk.application)]
    if import_id not in known:
        raise ImportNotFound(
            f"No import with id {import_id!a} in application {hk.application!r}{did_you_mean(import_id, known)}; "
            f"list them with {command} imports"
        )


def _check_application(hk: Harken, storage: Storage) -> None:
    """Raise ``NoSuchApplication`` unless the application has something besides feedback."""
    sessions = chain(
        (one for one, _ in storage.conversations.sessions()), (one for one, *_ in storage.sessions.stream())
    )
    has_records = hk.imports.list(hk.application) or hk.alerts.find(hk.application, limit=1)
    if not has_records and hk.application not in sessions:
        known = hk.moderation.applications()
        there = f"there is {listed(known, _MOST_LISTED)}" if known else "there is none"
        raise NoSuchApplication(f"No application {hk.application!r}{did_you_mean(hk.application, known)}; {there}")


def _show_erased(erased: Erased, command: str) -> None:
    say(f"Erased {_list_erased(erased)}")
    for session_id in erased.kept_sessions:
        shown = in_one_line(session_id)
        say(
            f"Other authors gave feedback on session {shown}, so its conversation and metadata were kept; "
            f"to erase them, run: {command} erase --session {in_one_line(shlex.quote(session_id))}",
            style="yellow",
        )


def _question(selection: _Selection, query: FeedbackQuery, total: int) -> str:
    entries = amount(total, "feedback entry", "feedback entries")
    if selection.feedback_id is not None:
        return f"Erase {entries} permanently?"
    if selection.import_id is not None:
        return f"Erase {entries} of import {selection.import_id} permanently?"
    if query.is_everything:
        also = "all conversations and metadata, and the list of imports"
        return f"Erase everything of application {query.application} permanently: {entries}, {also}?"
    if selection.before is not None:
        named = {"session": selection.session, "author": selection.author}
        of = "".join(f" of {name} {value}" for name, value in named.items() if value is not None)
        return f"Erase {entries}{of} created before {time_text(query.until)} permanently?"
    if selection.author is not None:
        return f"Erase {entries} by {selection.author}, and the sessions that only this author rated, permanently?"
    return f"Erase {entries}, the conversation and the metadata of session {selection.session} permanently?"


def _list_erased(erased: Erased) -> str:
    """What was erased, such as ``2 feedback entries, 3 messages and 1 alert``."""
    numbers = {name: number for name, number in asdict(erased).items() if name in _NOUNS and number}
    parts = [amount(number, *_NOUNS[name]) for name, number in numbers.items()]
    *first, last = [amount(erased.feedback, "feedback entry", "feedback entries"), *parts]
    return f"{', '.join(first)} and {last}" if first else last

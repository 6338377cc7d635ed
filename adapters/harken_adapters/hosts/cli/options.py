"""What the commands have in common: the storage they work on, and the options that choose feedback."""

from __future__ import annotations

import inspect
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import evolve, frozen

import harken
from harken import FeedbackQuery, Harken, HarkenError, ModerationStatus
from harken.domain.query import ANY_STATUS
from harken.domain.rules import text_problem

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
FeedbackId = Annotated[str, typer.Argument(metavar="ID", help="The feedback's id.")]

_PANEL = "Filters: all that are given must hold"


class WrongUsage(HarkenError, ValueError):
    """The command cannot be meant as it was typed; the message says what to type."""


class NothingAccepted(HarkenError):
    """Everything that was read was rejected, so that nothing was brought in."""

    def __init__(self, what: str, rejected_file: Path | None) -> None:
        super().__init__(f"{what} rejected, so nothing was brought in; see {rejected_file} for the reasons")


@frozen
class CliContext:
    """Which storage and application the options before the command chose.

    Attributes:
        given: the URL that was typed.
        application: whose feedback it is about.
        usual: the URL of the program that runs the command, for where none was typed.
    """

    given: str | None
    application: str | None
    usual: str | None = None

    @property
    def storage(self) -> str | None:
        """The storage to work on; ``None`` for that of the settings."""
        return self.given or self.usual

    @property
    def command(self) -> str:
        """What other commands on the same storage and application begin with, to be pasted into a shell.

        A URL with a password is not repeated: ``URL`` stands in its place.
        """
        application = [] if self.application is None else ["--application", shlex.quote(self.application)]
        return " ".join([self.command_for_all, *application])

    @property
    def command_for_all(self) -> str:
        """The same for commands about all applications."""
        words = [_program()]
        if self.storage is not None:
            words += ["--storage", "URL" if "@" in self.storage else shlex.quote(self.storage)]
        return " ".join(words)

    def open(self, *, spam: str | None = None) -> Harken:
        """A Harken on it."""
        return harken.connect(self.storage, application=self.application, spam=spam)


def _program() -> str:
    """How this program was started, where that is not known by its name, as in an environment that is not active."""
    started = Path(sys.argv[0])
    return "harken" if started.name != "harken" or shutil.which("harken") else shlex.quote(str(started))


def cli(context: typer.Context) -> CliContext:
    """What was chosen before the command."""
    chosen = context.obj
    assert isinstance(chosen, CliContext)  # noqa: S101 - the callback of the application has put it there
    return chosen


class Status(Enum):
    """A moderation status, or any."""

    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    ANY = "any"

    @property
    def statuses(self) -> frozenset[ModerationStatus]:
        """The statuses that are meant."""
        return ANY_STATUS if self is Status.ANY else frozenset({ModerationStatus(self.value)})


@frozen
class Filters:
    """The options that choose feedback."""

    session: str | None
    agent: str | None
    message: str | None
    author: str | None
    rating: str | None
    tag: str | None
    context_values: Sequence[str]
    since: datetime | None
    until: datetime | None
    status: Status
    withdrawn: bool

    def query(self, hk: Harken) -> FeedbackQuery:
        """The query that they mean.

        Raises:
            InvalidQuery: one of them is invalid.
        """
        # None would mean neutral, so that an option that was not given is left out.
        rating = {} if self.rating is None else {"rating": rating_named(self.rating)}
        query = hk.query(
            session_id=self.session,
            agent_id=self.agent,
            message_id=self.message,
            author=self.author,
            tag=self.tag,
            context=pairs("--context", self.context_values),
            since=self.since,
            until=self.until,
            **rating,
        )
        return evolve(query, statuses=self.status.statuses, withdrawn=None if self.withdrawn else False)


def rating_named(word: str) -> str | None:
    """The rating as the wire has it; what is not a rating is left for the rules to refuse."""
    return None if word in ("none", "neutral") else word


def text(option: str, value: str) -> str:
    """What an option says, if any storage could keep it.

    Raises:
        WrongUsage: it is not valid text, such as bytes that are not UTF-8.
    """
    if problem := text_problem(option, value):
        raise WrongUsage(problem.message)
    return value


def text_or_none(option: str, value: str | None) -> str | None:
    """The same for an option that need not be given."""
    return None if value is None else text(option, value)


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The names and values in texts such as ``tier=premium``.

    Raises:
        WrongUsage: one of them has no ``=``.
    """
    for text in texts:
        if not text.partition("=")[1]:
            raise WrongUsage(f"{text!r} has no '='; expected something like {option} NAME=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def instant(text: str) -> datetime:
    """The instant that an option says in ISO 8601, in UTC without a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 date, such as 2026-01-31 or 2026-01-31T12:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _filters(
    *,
    session: Annotated[str | None, typer.Option(help="Of this session.", rich_help_panel=_PANEL)] = None,
    agent: Annotated[str | None, typer.Option(help="About this agent.", rich_help_panel=_PANEL)] = None,
    message: Annotated[str | None, typer.Option(help="About this message.", rich_help_panel=_PANEL)] = None,
    author: Annotated[str | None, typer.Option(help="By this author.", rich_help_panel=_PANEL)] = None,
    rating: Annotated[
        str | None, typer.Option(metavar="up|down|neutral", help="With this rating.", rich_help_panel=_PANEL)
    ] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag.", rich_help_panel=_PANEL)] = None,
    context_values: Annotated[
        list[str] | None,
        typer.Option(
            "--context", metavar="NAME=VALUE", help="With this context value; repeatable.", rich_help_panel=_PANEL
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="Not before; ISO 8601, UTC.", rich_help_panel=_PANEL),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="Before; ISO 8601, UTC.", rich_help_panel=_PANEL),
    ] = None,
    status: Annotated[Status, typer.Option(help="In this status.", rich_help_panel=_PANEL)] = Status.APPROVED,
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="Also what was taken back.", rich_help_panel=_PANEL)
    ] = False,
) -> Filters:
    return Filters(session, agent, message, author, rating, tag, context_values or (), since, until, status, withdrawn)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose feedback; it takes them together, as ``filters``.

    Typer reads the options off a function's signature, so the wrapper shows that of the command with those of
    ``_filters`` in the place of ``filters``.
    """
    own = inspect.signature(command, eval_str=True).parameters
    theirs = inspect.signature(_filters, eval_str=True).parameters

    @wraps(command)
    def with_filters(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in theirs}
        command(filters=_filters(**chosen), **arguments)

    parameters = [parameter for name, parameter in own.items() if name != "filters"] + list(theirs.values())
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_filters.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined] # what inspect looks for
    with_filters.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
    return with_filters

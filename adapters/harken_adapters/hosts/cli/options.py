"""Options shared by the commands, and the storage and application they work on."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from enum import Enum
from functools import cached_property, wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from attrs import evolve, frozen

import harken
from harken import FeedbackQuery, GroupBy, Harken, HarkenError, InvalidQuery, ModerationStatus, Rating
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import is_missing, open_existing_storage
from harken.domain.instants import SkippedTime, parse_instant
from harken.domain.query import ANY_STATUS
from harken.domain.rules import SpamHandling, text_problem
from harken.domain.trend import zone_named
from harken_adapters.formats.statistics import parse_group


def completes(*choices: str) -> Callable[[str], list[str]]:
    """What ``autocompletion`` of an option or argument needs, if its values are or begin with one of these."""

    def complete(incomplete: str) -> list[str]:
        return [one for one in choices if one.startswith(incomplete)]

    return complete


def _complete_zone(incomplete: str) -> list[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415 - rarely used

    return sorted(name for name in available_timezones() if name.startswith(incomplete))


#: Completions of ratings, of the groups of ``--by``, and of time zones.
RATINGS: Final = completes(*(rating.word for rating in Rating))
GROUPS: Final = completes("agent", "session", "tag", "context.")
ZONES: Final = _complete_zone

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
FeedbackId = Annotated[str, typer.Argument(metavar="ID", help="The id of the feedback.")]

T = TypeVar("T")

#: The heading of the filter options in the help.
FILTER_PANEL = "Filters (combined with AND; repeated ones with OR)"


class WrongUsage(HarkenError, ValueError):
    """The arguments are invalid. The message says what to type instead."""


class NoSuchApplication(HarkenError):
    """There is nothing of this application."""


class NothingAccepted(HarkenError):
    """Every item that was read was rejected, or there was none, so nothing was imported."""


@frozen
class CliContext:
    """The global options: the storage and the application.

    Attributes:
        storage_option: the URL given with ``--storage``.
        application: the application given with ``--application``.
        default_storage: the URL passed by the program that runs the command line.
    """

    storage_option: str | None
    application: str | None
    default_storage: str | None = None

    @property
    def storage(self) -> str | None:
        """The URL of the storage; ``None`` for that of the settings."""
        return self.storage_option or self.default_storage

    @property
    def command(self) -> str:
        """The prefix of other commands on the same storage and application, quoted for a shell.

        A URL that may have a password is shown as ``URL``.
        """
        application = [] if self.application is None else ["--application", shlex.quote(self.application)]
        return " ".join([self.command_for_all, *application])

    def command_for(self, application: str) -> str:
        """The same prefix for this application, which is named unless it is that of the options or the settings."""
        return (self if application == self.default_application else evolve(self, application=application)).command

    @property
    def command_for_all(self) -> str:
        """The same prefix for commands that cover all applications."""
        words = [_program()]
        if self.storage is not None:
            words += ["--storage", "URL" if "@" in self.storage else shlex.quote(self.storage)]
        return " ".join(words)

    @property
    def url(self) -> str:
        """The URL of the storage, from the options or the settings."""
        return self._settings.storage

    @property
    def default_application(self) -> str:
        """The application, from the options or the settings."""
        return self._settings.application

    @cached_property
    def _settings(self) -> Settings:
        return Settings.load(os.environ, Path.cwd(), storage=self.storage, application=self.application)

    def open(self, *, spam: SpamHandling | None = None) -> Harken:
        """Connect to the storage. It is created if missing."""
        return harken.connect(self.storage, application=self.application, spam=spam)

    def store(self, operation: Callable[[Harken], T]) -> T:
        """Connect to the storage, run an operation that stores something, and return its result.

        A missing file is created only for an operation that succeeds, so it is tried in memory first.
        """
        if is_missing(self.url):
            with harken.connect("memory://", application=self.application) as hk:
                operation(hk)
        with self.open() as hk:
            return operation(hk)

    @contextmanager
    def open_existing(self) -> Iterator[Harken]:
        """Connect to the storage, for commands that need stored data. A mistyped URL must not create a storage.

        Raises:
            StorageUnavailable: the storage does not exist.
        """
        with open_existing_storage(self.url) as storage, harken.connect(storage, application=self.application) as hk:
            yield hk


def _program() -> str:
    """How to start this program again: by its path, unless a shell finds the same program as ``harken``."""
    program, found = Path(sys.argv[0]), shutil.which("harken")
    if program.parts[-2:] == ("harken", "__main__.py") and found is None:
        return f"{shlex.quote(sys.executable)} -m harken"
    is_other = program.name == "harken" and (found is None or not program.exists() or not program.samefile(found))
    return shlex.quote(str(program)) if is_other else "harken"


def cli_context(context: typer.Context) -> CliContext:
    """The global options of the running command."""
    cli = context.obj
    assert isinstance(cli, CliContext)  # noqa: S101 - set by the callback of the application
    return cli


class Status(Enum):
    """A moderation status, or any."""

    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    ANY = "any"

    @property
    def statuses(self) -> frozenset[ModerationStatus]:
        """The matching moderation statuses."""
        return ANY_STATUS if self is Status.ANY else frozenset({ModerationStatus(self.value)})


@frozen(kw_only=True)
class Filters:
    """The filter options."""

    session: str | None
    agents: Sequence[str]
    message: str | None
    author: str | None
    ratings: Sequence[str]
    tags: Sequence[str]
    text: str | None
    context_values: Sequence[str]
    has_comment: bool | None
    since: datetime | None
    until: datetime | None
    zone: str
    status: Status
    withdrawn: bool

    def query(self, hk: Harken) -> FeedbackQuery:
        """The query for these filters.

        Raises:
            InvalidQuery: a filter is invalid.
            WrongUsage: the rating or a context value is invalid.
        """
        # Any value is a filter, so an option that was not given is left out.
        rating: dict[str, Any] = {"rating": [*map(parse_rating, self.ratings)]} if self.ratings else {}
        query = hk.query(
            session_id=self.session,
            agent_id=self.agents or None,
            message_id=self.message,
            author=self.author,
            tag=self.tags or None,
            context=values_by_name("--context", self.context_values),
            text=self.text,
            has_comment=self.has_comment,
            since=self.since,
            until=self.until,
            **rating,
        )
        if query.text is not None:
            # A command ends before a thread could do so.
            hk.index_comments()
        return evolve(query, statuses=self.status.statuses, withdrawn=None if self.withdrawn else False)


def parse_rating(word: str) -> Rating:
    """The rating with this name. ``none`` is another name of ``neutral``.

    Raises:
        WrongUsage: the word is not a rating.
    """
    try:
        return Rating.from_word("neutral" if word == "none" else word)
    except ValueError:
        raise WrongUsage(f"Invalid rating {word!r}; expected up, down or neutral") from None


def text(option: str, value: str) -> str:
    """The value of an option, if every storage can store it.

    Raises:
        WrongUsage: the value is not valid Unicode text.
    """
    if problem := text_problem(option, value):
        raise WrongUsage(problem.message)
    return value


def text_or_none(option: str, value: str | None) -> str | None:
    """Like :func:`text`, for an option that may be absent."""
    return None if value is None else text(option, value)


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The names and values of options such as ``tier=premium``.

    Raises:
        WrongUsage: a value has no ``=``, or a name has two values.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise WrongUsage(f"{text!r} has no '='; expected {option} NAME=VALUE")
        if found.setdefault(name, value) != value:
            raise WrongUsage(f"{option} has two values for {name!r}: {found[name]!r} and {value!r}; leave out one")
    return found


def values_by_name(option: str, texts: Sequence[str]) -> dict[str, list[str]]:
    """All values for each name of options such as ``tier=premium``.

    Raises:
        WrongUsage: a value has no ``=``.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        for name, value in pairs(option, [text]).items():
            values.setdefault(name, []).append(value)
    return values


def instant(text: str) -> datetime:
    """Parse an ISO 8601 date; UTC if it has no time zone."""
    return _parse_instant(text, UTC)


def local_instant(option: str, text: str | None, zone: str) -> datetime | None:
    """The time that an option gives, which is in the time zone if it has no offset; ``None`` if it is not given.

    Raises:
        typer.BadParameter: it is not an ISO 8601 date, or the clocks skip it.
        InvalidQuery: the time zone is unknown.
    """
    named = zone_named(zone)
    return None if text is None else _parse_instant(text, named, f"'{option}'")


def _parse_instant(text: str, zone: tzinfo, option: str | None = None) -> datetime:
    try:
        return parse_instant(text, zone)
    except SkippedTime as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    except ValueError:
        expected = "such as 2026-01-31 or 2026-01-31T12:00Z, in the years 1 to 9999"
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 date, {expected}", param_hint=option) from None


def _filters(
    *,
    session: Annotated[str | None, typer.Option(help="Feedback on this session.", rich_help_panel=FILTER_PANEL)] = None,
    agent: Annotated[
        list[str] | None, typer.Option(help="Feedback on this agent; repeatable.", rich_help_panel=FILTER_PANEL)
    ] = None,
    message: Annotated[str | None, typer.Option(help="Feedback on this message.", rich_help_panel=FILTER_PANEL)] = None,
    author: Annotated[str | None, typer.Option(help="Feedback by this author.", rich_help_panel=FILTER_PANEL)] = None,
    rating: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RATING",
            autocompletion=RATINGS,
            help="Feedback with this rating: up, down or neutral; repeatable.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Feedback with this tag; repeatable.", rich_help_panel=FILTER_PANEL)
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help='Feedback whose comment has these words. Words in quotation marks, such as "on hold", are a phrase.',
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    context_values: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            metavar="NAME=VALUE",
            help="Feedback with this context value; repeatable.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = None,
    with_comment: Annotated[
        bool, typer.Option("--with-comment", help="Feedback with a comment.", rich_help_panel=FILTER_PANEL)
    ] = False,
    without_comment: Annotated[
        bool, typer.Option("--without-comment", help="Feedback without a comment.", rich_help_panel=FILTER_PANEL)
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Created since this time; ISO 8601.", rich_help_panel=FILTER_PANEL),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Created before this time; ISO 8601.", rich_help_panel=FILTER_PANEL),
    ] = None,
    zone: Annotated[
        str,
        typer.Option(
            metavar="IANA",
            autocompletion=ZONES,
            help="The time zone of days and of dates without an offset, such as Europe/Berlin.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = "UTC",
    status: Annotated[
        Status,
        typer.Option(
            metavar="STATUS",
            help="Feedback with this status: approved, pending, rejected or any.",
            rich_help_panel=FILTER_PANEL,
        ),
    ] = Status.APPROVED,
    withdrawn: Annotated[
        bool, typer.Option("--withdrawn", help="Include withdrawn feedback.", rich_help_panel=FILTER_PANEL)
    ] = False,
) -> Filters:
    if with_comment and without_comment:
        raise WrongUsage("--with-comment and --without-comment exclude each other; leave one out")
    return Filters(
        session=session,
        agents=agent or (),
        message=message,
        author=author,
        ratings=rating or (),
        tags=tag or (),
        text=text,
        context_values=context_values or (),
        has_comment=True if with_comment else False if without_comment else None,
        since=local_instant("--since", since, zone),
        until=local_instant("--until", until, zone),
        zone=zone,
        status=status,
        withdrawn=withdrawn,
    )


def parse_existing_group(hk: Harken, text: str) -> GroupBy:
    """The grouping for the option ``--by``.

    Raises:
        InvalidQuery: it is not one. The message suggests a context name that feedback has.
    """
    try:
        return parse_group(text, over_time="'harken trends'")
    except InvalidQuery as error:
        names = hk.analytics.facets(hk.query()).context
        if text not in names:
            raise
        raise InvalidQuery(f"{error}; did you mean context.{text}?") from None


Command = Callable[..., None]


def with_options(read: Callable[..., object], argument: str) -> Callable[[Command], Command]:
    """Add the options that are the parameters of ``read`` to a command, which receives what it returns as an argument.

    Typer reads the options from the signature of a function. So the wrapper has the signature of the command with the
    parameters of ``read`` instead of the argument.
    """
    added = inspect.signature(read, eval_str=True).parameters

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters

        @wraps(command)
        def wrapper(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in added}
            command(**{argument: read(**values)}, **arguments)

        parameters = [parameter for name, parameter in own.items() if name != argument] + list(added.values())
        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        wrapper.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined] # what inspect looks for
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
        return wrapper

    return decorate


#: Adds the filter options to a command, which receives them as the argument ``filters``.
with_filters: Final = with_options(_filters, "filters")

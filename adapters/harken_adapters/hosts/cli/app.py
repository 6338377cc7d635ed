"""The Typer application: its commands, global options, and the mapping of errors to exit codes."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from importlib.metadata import version
from itertools import takewhile
from typing import Annotated, Any, Final

import typer
from attrs import evolve
from typer.completion import shell_complete

from harken import (
    AlertNotFound,
    ConfigurationError,
    DecisionConflict,
    DeliveryNotFound,
    FeedbackNotFound,
    FeedbackRejected,
    HarkenError,
    ImportNotFound,
    ImportRejected,
    InvalidQuery,
    KeyNotFound,
    KeyRejected,
    NoSuchChannel,
    NoSuchRoute,
    Overloaded,
    RouteRejected,
    StorageError,
)
from harken.domain.texts import did_you_mean
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.record import current_record
from harken_adapters.hosts.cli import (
    alerts,
    applications,
    channels,
    copying,
    deliveries,
    demo,
    digests,
    doctor,
    erasing,
    exporting,
    feedback,
    importing,
    imports,
    keys,
    mcp,
    migrate,
    moderation,
    overview,
    rebuild,
    relay,
    report,
    routes,
    sentiment,
    serve,
    statistics,
    tokens,
)
from harken_adapters.hosts.cli.exit_codes import (
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    PIPE_CLOSED,
    REFUSED,
    STORAGE_FAILED,
    WRONG_USAGE,
)
from harken_adapters.hosts.cli.options import CliContext, NoSuchApplication, NothingAccepted, WrongUsage
from harken_adapters.hosts.cli.output import ClosedStdout, UnwritableOutput, escape, print_json, say, warn, writing

# The base of all usage errors that Typer raises. Not every version exports it.
_UsageError: type[Exception] = typer.BadParameter.__base__ or typer.BadParameter

#: The variable in which a shell asks for completions.
_COMPLETION: Final = "_HARKEN_COMPLETE"

#: The first matching base class determines the exit code.
_EXIT_CODES: tuple[tuple[type[HarkenError], int], ...] = (
    (FeedbackNotFound, NOT_FOUND),
    (DeliveryNotFound, NOT_FOUND),
    (KeyNotFound, NOT_FOUND),
    (AlertNotFound, NOT_FOUND),
    (ImportNotFound, NOT_FOUND),
    (NoSuchApplication, NOT_FOUND),
    (NoSuchChannel, NOT_FOUND),
    (NoSuchRoute, NOT_FOUND),
    (StorageError, STORAGE_FAILED),
    (Overloaded, STORAGE_FAILED),
    (ConfigurationError, WRONG_USAGE),
    (RouteRejected, WRONG_USAGE),
    (InvalidQuery, WRONG_USAGE),
    (KeyRejected, WRONG_USAGE),
    (ImportRejected, WRONG_USAGE),
    (UnusableFile, WRONG_USAGE),
    (WrongUsage, WRONG_USAGE),
    (NothingAccepted, WRONG_USAGE),
    (HarkenError, REFUSED),
)
#: The global options, which every command accepts too, with the attribute of the context that each sets.
_GLOBAL_OPTIONS: Final = {"storage": "storage_option", "application": "application"}
#: What the help shows for an option that takes a value of this type.
_METAVARS: Final = {"str": "TEXT", "list[str]": "TEXT", "int": "NUMBER", "int range": "NUMBER"}
#: How Typer says that a value is not a choice.
_NO_CHOICE = re.compile(r"'(?P<value>[^']+)' is not one of (?P<choices>.+)")
_KEY = re.compile(r"(hk_[0-9a-f]+_)[A-Za-z0-9_-]+")
_EPILOG = (
    "Exit codes: 0 success; 1 unexpected failure, or doctor found problems; 2 invalid usage or configuration, or "
    "nothing was imported; 3 refused: invalid feedback, a conflict, rejected rows, or copy left differences; "
    "4 not found; 5 storage failure or overload; 130 interrupted; 141 output pipe closed."
    "\n\nSettings are read from environment variables such as HARKEN_STORAGE, and from harken.toml."
)

# The headings of the commands in the help.
_FEEDBACK: Final = "Feedback"
_STATISTICS: Final = "Statistics"
_FILES: Final = "Import, export and copies"
_NOTIFICATIONS: Final = "Alerts and notifications"
_SERVICES: Final = "Services and access"
_INSTALLATION: Final = "Installation"

app = typer.Typer(name="harken", no_args_is_help=True, epilog=_EPILOG)
app.command("submit", rich_help_panel=_FEEDBACK)(feedback.submit)
app.command("list", rich_help_panel=_FEEDBACK)(feedback.list_)
app.command("show", rich_help_panel=_FEEDBACK)(feedback.show)
app.add_typer(moderation.moderate, name="moderate", rich_help_panel=_FEEDBACK)
app.command("erase", rich_help_panel=_FEEDBACK)(erasing.erase)
app.command("applications", rich_help_panel=_FEEDBACK)(applications.applications)
app.command("stats", rich_help_panel=_STATISTICS)(statistics.stats)
app.command("trends", rich_help_panel=_STATISTICS)(statistics.trends)
app.command("themes", rich_help_panel=_STATISTICS)(statistics.themes)
app.command("compare", rich_help_panel=_STATISTICS)(statistics.compare)
app.command("headline", rich_help_panel=_STATISTICS)(overview.headline)
app.command("reasons", rich_help_panel=_STATISTICS)(overview.reasons)
app.command("ranking", rich_help_panel=_STATISTICS)(overview.ranking)
app.command("facets", rich_help_panel=_STATISTICS)(overview.facets)
app.command("report", rich_help_panel=_STATISTICS)(report.report)
app.command("sentiment", rich_help_panel=_STATISTICS)(sentiment.sentiment)
app.command("import", rich_help_panel=_FILES)(importing.import_)
app.command("imports", rich_help_panel=_FILES)(imports.imports)
app.command("export", rich_help_panel=_FILES)(exporting.export)
app.command("copy", rich_help_panel=_FILES)(copying.copy)
app.add_typer(migrate.migrate, name="migrate", rich_help_panel=_FILES)
app.add_typer(alerts.alerts, name="alerts", rich_help_panel=_NOTIFICATIONS)
app.add_typer(digests.digest, name="digest", rich_help_panel=_NOTIFICATIONS)
app.add_typer(routes.routes, name="routes", rich_help_panel=_NOTIFICATIONS)
app.add_typer(channels.channels, name="channels", rich_help_panel=_NOTIFICATIONS)
app.add_typer(deliveries.deliveries, name="deliveries", rich_help_panel=_NOTIFICATIONS)
app.command("relay", rich_help_panel=_NOTIFICATIONS)(relay.relay)
app.command("serve", rich_help_panel=_SERVICES)(serve.serve)
app.command("mcp", rich_help_panel=_SERVICES)(mcp.mcp)
app.add_typer(keys.keys, name="keys", rich_help_panel=_SERVICES)
app.command("mint-token", rich_help_panel=_SERVICES)(tokens.mint_token)
app.command("mint-link", rich_help_panel=_SERVICES)(tokens.mint_link)
app.command("demo", rich_help_panel=_INSTALLATION)(demo.demo)
app.command("doctor", rich_help_panel=_INSTALLATION)(doctor.doctor)
app.command("rebuild", rich_help_panel=_INSTALLATION)(rebuild.rebuild)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"harken {version('harken')}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    context: typer.Context,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="The storage URL, such as sqlite:///feedback.db.")
    ] = None,
    application: Annotated[str | None, typer.Option(metavar="NAME", help="The application (tenant) to use.")] = None,
    version_: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Collect user feedback, and query, moderate and export it."""
    context.obj = CliContext(storage, application, default_storage=context.obj)


def run(arguments: Sequence[str], *, storage: str | None = None) -> int:
    """Run a command, print errors to stderr, and return the exit code.

    Args:
        arguments: the command and its options.
        storage: the storage URL to use if ``arguments`` have no ``--storage``.
    """
    # Searched for here, because it applies even if the arguments cannot be parsed.
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    stdout, closed = sys.stdout, ClosedStdout()
    if stdout is None:  # Closed before Python started.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(closed), encoding="utf-8")
    try:
        code = _exit_code(partial(_invoke, arguments, storage), as_json=as_json)
        # Flushed here, because the interpreter would print a traceback at exit. An earlier exit code takes precedence.
        flushed = _exit_code(partial(_flush, closed), as_json=as_json)
    finally:
        sys.stdout = stdout
    return code or flushed


def _exit_code(step: Callable[[], int], *, as_json: bool) -> int:
    """Run the step and return its exit code. An error is printed to stderr and gives its own code."""
    try:
        return step()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return PIPE_CLOSED
    except _UsageError as error:
        _print_usage_error(error, as_json=as_json)
        return WRONG_USAGE
    except HarkenError as error:
        _print_error(error, str(error), as_json=as_json)
        return next(code for base, code in _EXIT_CODES if isinstance(error, base))
    except OSError as error:
        if isinstance(error, UnwritableOutput):
            _discard_stdout()
        _print_error(error, str(error), as_json=as_json)
        return FAILED


def _invoke(arguments: Sequence[str], storage: str | None) -> int:
    command = _get_command()
    if instruction := os.environ.get(_COMPLETION):
        return shell_complete(command, {}, "harken", _COMPLETION, instruction)
    try:
        with command.make_context("harken", list(arguments), obj=storage) as context:
            command.invoke(context)
    except typer.Exit as exit_:
        return exit_.exit_code
    except SystemExit as exit_:
        # Typer ends the process after it has installed or shown the shell completion.
        return exit_.code if isinstance(exit_.code, int) else FAILED
    except typer.Abort:
        warn("Aborted; nothing was changed")
        return FAILED
    return 0


def _get_command() -> Any:
    """The command line: every command also accepts the global options, and its help is for people."""
    command: Any = typer.main.get_command(app)
    shared = [one for one in command.params if one.name in _GLOBAL_OPTIONS]
    for subcommand in command.commands.values():
        _add_global_options(subcommand, shared)
    _improve_help(command)
    return command


def _add_global_options(command: Any, shared: Sequence[Any]) -> None:
    """Add the global options to a command and its subcommands."""
    for option in shared:
        added = copy(option)
        added.expose_value, added.callback, added.rich_help_panel = False, _set_global_option, "Global options"
        command.params.append(added)
    for subcommand in getattr(command, "commands", {}).values():
        _add_global_options(subcommand, shared)


def _set_global_option(context: typer.Context, option: Any, value: str | None) -> None:
    """Store a global option that was given after the command, which overrides one before it."""
    if value is not None:
        context.obj = evolve(context.obj, **{_GLOBAL_OPTIONS[option.name]: value})


def _improve_help(command: Any) -> None:
    """Improve the help of all commands.

    Its paragraphs are not broken where their source is. Options show ``TEXT`` instead of ``<list[str]>``, and no type
    if they have no value; arguments show none.
    """
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    context = typer.Context(command)
    # The option --help is not among the parameters.
    for parameter in (*command.params, command.get_help_option(context)):
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _show_no_type
        elif getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.metavar is None:
            shown = parameter.display_type(context).strip("<>")
            parameter.metavar = _METAVARS.get(shown, shown)
    for subcommand in getattr(command, "commands", {}).values():
        _improve_help(subcommand)


def _show_no_type(**_: Any) -> None:
    """Show nothing: the name of an argument is enough."""


def _flush(closed: ClosedStdout) -> int:
    # A failed export has already closed it.
    if not sys.stdout.closed:
        with writing():
            sys.stdout.flush()
    if closed.lost:
        raise UnwritableOutput("standard output is closed")
    return 0


def _discard_stdout() -> None:
    """Redirect stdout to the null device, so that the interpreter's flush at exit does not fail again."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_usage_error(error: Exception, *, as_json: bool) -> None:
    if isinstance(text := getattr(error, "message", None), str):
        text = _NO_CHOICE.sub(_suggest_choice, _reworded_validation(error.__cause__) or text)
        error.message = escape(_mask_keys(text))  # type: ignore[attr-defined] # every usage error has it
    if hasattr(error, "possibilities"):
        options = [name for option in error.ctx.command.params for name in option.opts]  # type: ignore[attr-defined] # as above
        error.possibilities = None
        error.message += did_you_mean(error.option_name, options)  # type: ignore[attr-defined] # as above
    message = getattr(error, "format_message", error.__str__)()
    if as_json:
        _print_error(error, message, as_json=True)
    else:
        error.show()  # type: ignore[attr-defined] # every usage error has it


def _suggest_choice(found: re.Match[str]) -> str:
    value, choices = found["value"], found["choices"]
    similar = did_you_mean(value, re.findall(r"'([^']+)'", choices))
    return f"'{value}'{similar} is not one of {choices}"


def _reworded_validation(cause: object) -> str | None:
    """The first error that Pydantic found in an argument, for people; ``None`` for other causes.

    Pydantic validates arguments in newer versions of Typer.
    """
    if not (errors := getattr(cause, "errors", None)):
        return None
    first = errors()[0]
    value, limits = first["input"], first.get("ctx", {})
    match first["type"]:
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"{value!r} is not an integer"
        case "float_parsing" | "float_type":
            return f"{value!r} is not a number"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}, got {value}"
        case "less_than_equal":
            return f"must be at most {limits['le']}, got {value}"
    return str(first["msg"]).removeprefix("Value error, ")


def _mask_keys(message: str) -> str:
    """The message without the secrets of API keys, which may have been pasted as another argument."""
    return _KEY.sub(r"\1...", message)


def _print_error(error: Exception, message: str, *, as_json: bool) -> None:
    message = _mask_keys(message)
    if not as_json:
        warn(f"Error: {message}", style="red")
        return
    violations = error.violations if isinstance(error, FeedbackRejected) else ()
    document: dict[str, object] = {
        "error": type(error).__name__,
        "message": message,
        "violations": [{"field": one.field, "code": one.code, "message": one.message} for one in violations],
    }
    if isinstance(error, DecisionConflict):
        document["current"] = current_record(error)
    print_json(document, to_stderr=True)

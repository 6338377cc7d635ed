"""The Typer application: its commands, global options, and the mapping of errors to exit codes."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import takewhile
from typing import Annotated, Any, Final

import typer

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
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.record import current_record
from harken_adapters.hosts.cli import (
    alerts,
    channels,
    copying,
    deliveries,
    demo,
    digests,
    doctor,
    erasing,
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
    transfer,
)
from harken_adapters.hosts.cli.options import CliContext, NothingAccepted, WrongUsage
from harken_adapters.hosts.cli.output import ClosedStdout, UnwritableOutput, escape, print_json, say, warn, writing

# The base of all usage errors that Typer raises. Not every version exports it.
_UsageError: type[Exception] = typer.BadParameter.__base__ or typer.BadParameter

FAILED, WRONG_USAGE, REFUSED, NOT_FOUND, STORAGE_FAILED = 1, 2, 3, 4, 5
# What a shell reports for a program ended by SIGINT or SIGPIPE: 128 plus the number of the signal.
INTERRUPTED, PIPE_CLOSED = 130, 141

#: The first matching base class determines the exit code.
_EXIT_CODES: tuple[tuple[type[HarkenError], int], ...] = (
    (FeedbackNotFound, NOT_FOUND),
    (DeliveryNotFound, NOT_FOUND),
    (KeyNotFound, NOT_FOUND),
    (AlertNotFound, NOT_FOUND),
    (ImportNotFound, NOT_FOUND),
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
#: The options before the command, with their metavars.
_GLOBAL_OPTIONS: Final = {"--storage": "URL", "--application": "NAME"}
_KEY = re.compile(r"(hk_[0-9a-f]+_)[A-Za-z0-9_-]+")
_EPILOG = (
    "Exit codes: 0 success; 1 unexpected failure, or doctor found problems; 2 invalid usage or configuration, or "
    "nothing was imported; 3 refused: invalid feedback, a conflict, rejected rows, or copy left differences; "
    "4 not found; 5 storage failure or overload; 130 interrupted; 141 output pipe closed."
    "\n\nSettings are read from environment variables such as HARKEN_STORAGE, and from harken.toml."
)

app = typer.Typer(name="harken", no_args_is_help=True, add_completion=False, epilog=_EPILOG)
app.command("submit")(feedback.submit)
app.command("list")(feedback.list_)
app.command("show")(feedback.show)
app.command("stats")(statistics.stats)
app.command("trends")(statistics.trends)
app.command("themes")(statistics.themes)
app.command("compare")(statistics.compare)
app.command("headline")(overview.headline)
app.command("reasons")(overview.reasons)
app.command("ranking")(overview.ranking)
app.command("facets")(overview.facets)
app.command("report")(report.report)
app.command("sentiment")(sentiment.sentiment)
app.add_typer(moderation.moderate, name="moderate")
app.add_typer(keys.keys, name="keys")
app.command("mint-token")(tokens.mint_token)
app.command("mint-link")(tokens.mint_link)
app.command("erase")(erasing.erase)
app.command("import")(importing.import_)
app.command("imports")(imports.imports)
app.command("export")(transfer.export)
app.command("copy")(copying.copy)
app.add_typer(migrate.migrate, name="migrate")
app.command("relay")(relay.relay)
app.add_typer(deliveries.deliveries, name="deliveries")
app.add_typer(channels.channels, name="channels")
app.add_typer(routes.routes, name="routes")
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(digests.digest, name="digest")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("rebuild")(rebuild.rebuild)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)


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
    command = _without_types_of_flags(typer.main.get_command(app))
    try:
        with command.make_context("harken", list(arguments), obj=storage) as context:
            command.invoke(context)
    except typer.Exit as exit_:
        return exit_.exit_code
    except typer.Abort:
        warn("Aborted; nothing was changed")
        return FAILED
    return 0


def _without_types_of_flags(command: Any) -> Any:
    """The command, whose help shows no type for options without a value, in all its subcommands."""
    # The option --help is not among the parameters.
    for parameter in (*command.params, command.get_help_option(typer.Context(command))):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    for subcommand in getattr(command, "commands", {}).values():
        _without_types_of_flags(subcommand)
    return command


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
        text = _reworded_validation(error.__cause__) or text
        error.message = escape(_mask_keys(text))  # type: ignore[attr-defined] # every usage error has it
    if (name := getattr(error, "option_name", None)) in _GLOBAL_OPTIONS and hasattr(error, "possibilities"):
        error.message, error.possibilities = _misplaced(error, name), None  # type: ignore[attr-defined] # as above
    message = getattr(error, "format_message", error.__str__)()
    if as_json:
        _print_error(error, message, as_json=True)
    else:
        error.show()  # type: ignore[attr-defined] # every usage error has it


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


def _misplaced(error: Exception, option: str) -> str:
    """The message that a global option was given after the command."""
    context = getattr(error, "ctx", None)
    program, _, command = str(getattr(context, "command_path", "harken")).partition(" ")
    usage = " ".join(filter(None, (program, option, _GLOBAL_OPTIONS[option], command)))
    return f"{option} is given before the command: {usage}"


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

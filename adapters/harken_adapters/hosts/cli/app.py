"""The application: its commands, the options before them, and what becomes of errors."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import takewhile
from typing import Annotated

import typer

from harken import (
    AlertNotFound,
    ConfigurationError,
    DecisionConflict,
    DeliveryNotFound,
    FeedbackNotFound,
    FeedbackRejected,
    HarkenError,
    KeyNotFound,
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
    doctor,
    feedback,
    keys,
    migrate,
    moderation,
    rebuild,
    relay,
    routes,
    serve,
    statistics,
    transfer,
)
from harken_adapters.hosts.cli.options import CliContext, WrongUsage
from harken_adapters.hosts.cli.output import ClosedStdout, UnwritableOutput, print_json, say, shown, warn, writing

# Every usage error that Typer raises has this base, which not every version exports.
_UsageError: type[Exception] = typer.BadParameter.__base__ or typer.BadParameter

FAILED, WRONG_USAGE, REFUSED, NOT_FOUND, STORAGE_TROUBLE = 1, 2, 3, 4, 5
# What a shell reports of a program that such a signal ended: 128 and the signal's number.
INTERRUPTED, PIPE_CLOSED = 130, 141

#: The first base that fits decides.
_EXIT_CODES: tuple[tuple[type[HarkenError], int], ...] = (
    (FeedbackNotFound, NOT_FOUND),
    (DeliveryNotFound, NOT_FOUND),
    (KeyNotFound, NOT_FOUND),
    (AlertNotFound, NOT_FOUND),
    (NoSuchChannel, NOT_FOUND),
    (NoSuchRoute, NOT_FOUND),
    (StorageError, STORAGE_TROUBLE),
    (Overloaded, STORAGE_TROUBLE),
    (ConfigurationError, WRONG_USAGE),
    (RouteRejected, WRONG_USAGE),
    (UnusableFile, WRONG_USAGE),
    (WrongUsage, WRONG_USAGE),
    (HarkenError, REFUSED),
)
_KEY = re.compile(r"(hk_[0-9a-f]+_)[A-Za-z0-9_-]+")
_EPILOG = (
    "Exit codes: 0 done; 1 unexpected failure, or doctor found problems; 2 wrong usage or configuration; "
    "3 refused: it breaks rules, conflicts, or cannot be answered, import or migrate rejected everything, "
    "or copy left differences; "
    "4 not found; 5 storage trouble; 130 interrupted; "
    "141 nobody reads the output any more."
    "\n\nStorage and settings also come from HARKEN_STORAGE and its like, and from harken.toml."
)

app = typer.Typer(name="harken", no_args_is_help=True, add_completion=False, epilog=_EPILOG)
app.command("submit")(feedback.submit)
app.command("list")(feedback.list_)
app.command("show")(feedback.show)
app.command("stats")(statistics.stats)
app.command("trends")(statistics.trends)
app.command("themes")(statistics.themes)
app.add_typer(moderation.moderate, name="moderate")
app.add_typer(keys.keys, name="keys")
app.command("erase")(feedback.erase)
app.command("import")(transfer.import_)
app.command("export")(transfer.export)
app.command("copy")(copying.copy)
app.add_typer(migrate.migrate, name="migrate")
app.command("relay")(relay.relay)
app.add_typer(deliveries.deliveries, name="deliveries")
app.add_typer(channels.channels, name="channels")
app.add_typer(routes.routes, name="routes")
app.add_typer(alerts.alerts, name="alerts")
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("rebuild")(rebuild.rebuild)
app.command("serve")(serve.serve)


def _tell_version(wanted: bool) -> None:
    if wanted:
        say(f"harken {version('harken')}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    context: typer.Context,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Such as sqlite:///feedback.db; also from HARKEN_STORAGE.")
    ] = None,
    application: Annotated[str | None, typer.Option(metavar="NAME", help="Whose feedback it is.")] = None,
    version_: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version.")
    ] = False,
) -> None:
    """Harken collects what people think of an answer, keeps every word, and turns it into exact figures."""
    context.obj = CliContext(storage, application, usual=context.obj)


def run(arguments: Sequence[str], *, storage: str | None = None) -> int:
    """Run a command and return its exit code; errors are printed on stderr.

    Without a storage among the arguments it works on the one that is given here, if any.
    """
    # Looked for by hand, because it counts also where the arguments cannot be understood.
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    stdout, closed = sys.stdout, ClosedStdout()
    if stdout is None:  # Closed before Python started.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(closed), encoding="utf-8")
    try:
        code = _exit_code(partial(_invoke, arguments, storage), as_json=as_json)
        # Flushed here, as the interpreter would complain at its end. An earlier failure's code says more.
        flushed = _exit_code(partial(_flush, closed), as_json=as_json)
    finally:
        sys.stdout = stdout
    return code or flushed


def _exit_code(step: Callable[[], int], *, as_json: bool) -> int:
    """Do something and return its exit code, or that of the error, which is told on stderr."""
    try:
        return step()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_CLOSED
    except _UsageError as error:
        _tell_usage_error(error, as_json=as_json)
        return WRONG_USAGE
    except HarkenError as error:
        _tell(error, str(error), as_json=as_json)
        return next(code for base, code in _EXIT_CODES if isinstance(error, base))
    except OSError as error:
        if isinstance(error, UnwritableOutput):
            _forget_stdout()
        _tell(error, str(error), as_json=as_json)
        return FAILED


def _invoke(arguments: Sequence[str], storage: str | None) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("harken", list(arguments), obj=storage) as context:
            command.invoke(context)
    except typer.Exit as exit_:
        return exit_.exit_code
    except typer.Abort:
        warn("Nothing was done")
        return FAILED
    return 0


def _flush(closed: ClosedStdout) -> int:
    # An export that could not be written has closed it.
    if not sys.stdout.closed:
        with writing():
            sys.stdout.flush()
    if closed.lost:
        raise UnwritableOutput("standard output is closed")
    return 0


def _forget_stdout() -> None:
    """Nothing can be written: keep the interpreter from trying, and complaining, once more at its end."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_usage_error(error: Exception, *, as_json: bool) -> None:
    if isinstance(text := getattr(error, "message", None), str):
        error.message = shown(_without_keys(text))  # type: ignore[attr-defined] # every usage error has it
    message = getattr(error, "format_message", error.__str__)()
    if as_json:
        _tell(error, message, as_json=True)
    else:
        error.show()  # type: ignore[attr-defined] # every usage error has it


def _without_keys(message: str) -> str:
    """The message without the secrets of API keys, which somebody may have pasted where something else belongs."""
    return _KEY.sub(r"\1...", message)


def _tell(error: Exception, message: str, *, as_json: bool) -> None:
    message = _without_keys(message)
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

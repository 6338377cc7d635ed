"""What a service writes down: one line for each request and whatever else is logged, as JSON or for people.

Nothing that a person wrote or that could name them is logged: no comment, token, address or query string.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from traceback import StackSummary, walk_tb
from types import TracebackType
from typing import Any, Final, TextIO

from harken import ConfigurationError, HarkenError, MissingExtra
from harken.clock import new_uuid7
from harken.domain.texts import escape_unprintable, no_such

#: Requests are logged under this name, with their fields in the attribute ``harken`` of the record.
logger = logging.getLogger("harken.http")

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Errors whose messages tell of the program and the machine. Others may quote what was sent.
_OF_THE_PROGRAM: Final = (AttributeError, ImportError, NameError, OSError, TypeError)

_Fields = MutableMapping[str, Any]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure_logs(*, json: bool | None = None, stream: TextIO | None = None, level: str = "info") -> None:
    """Send all logs of this process to a stream, one line each; a traceback takes more where people read.

    Whatever was configured before is replaced, uvicorn's loggers too; start it with ``log_config=None``. Its access log
    is off, as it has raw paths.

    Args:
        json: whether to write JSON; without it, where the stream is no terminal.
        stream: where to; standard error without it.
        level: the least that is written: ``"debug"``, ``"info"``, ``"warning"``, ``"error"`` or ``"critical"``.

    Raises:
        ConfigurationError: there is no such level.
        MissingExtra: structlog is not installed.
    """
    if level not in LEVELS:
        raise ConfigurationError(no_such("log level", level, LEVELS))
    try:
        import structlog  # noqa: PLC0415 - only a service needs it; requests are logged without it too
    except ModuleNotFoundError as error:
        raise MissingExtra("Logs need the package 'structlog'; try pip install \"harken[server]\"") from error

    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    as_json = not terminal if json is None else json
    formatter = structlog.stdlib.ProcessorFormatter
    rendering: list[Any] = [structlog.processors.JSONRenderer()]
    if not as_json:
        # Plain tracebacks: the pretty ones show local variables.
        console = structlog.dev.ConsoleRenderer(
            colors=terminal and os.name == "posix",
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )
        rendering = [_escape, console]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(processors=[_tell_errors, _put_in_order, *rendering]))
    structlog.configure(
        processors=[formatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _take_over(handler, level)


def log_request(
    *,
    request_id: str,
    operation: str,
    method: str,
    route: str,
    status: int,
    seconds: float,
    application: str | None = None,
    size: int = 0,
) -> None:
    """Log a request that was answered: as an error if the service failed, for information if not.

    Args:
        request_id: what :func:`request_id` gave.
        operation: what was asked for, one of a few names.
        method: the HTTP method.
        route: the template of the path, such as ``/v1/feedback/{id}``, and never the path.
        status: of the answer.
        seconds: how long the answer took.
        application: whose feedback it was about, if that is known.
        size: how many bytes the body of the answer has.
    """
    severity = logging.ERROR if status >= 500 else logging.INFO
    if not logger.isEnabledFor(severity):
        return
    fields = {
        "request_id": request_id,
        "operation": operation,
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(seconds * 1_000, 3),
        "application": application,
        "size": size,
    }
    logger.log(severity, "request", extra={"harken": fields})


def log_failure(request_id: str, operation: str, error: BaseException) -> None:
    """Log an error that nobody expected, with its traceback."""
    fields = {"request_id": request_id, "operation": operation}
    logger.error("request failed", exc_info=error, extra={"harken": fields})


def request_id(header: str | None) -> str:
    """The id of a request: what its header ``X-Request-Id`` says, if that is 1 to 64 harmless characters, or a new one.

    Harmless are the letters and digits of ASCII, ``.``, ``_`` and ``-``.
    """
    return header if header is not None and _REQUEST_ID.fullmatch(header) else new_uuid7()


def _take_over(handler: logging.Handler, level: str) -> None:
    """Make the handler the only one."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    access.disabled = True


def _tell_errors(_: object, __: str, fields: _Fields) -> _Fields:
    """Put text in the place of an exception and its traceback."""
    if (error := _error(fields.pop("exc_info", None))) is not None:
        fields["exception"] = "\n".join(_told(error, set()))
    if stack := fields.pop("stack_info", None):
        fields["stack"] = "\n".join(map(escape_unprintable, str(stack).splitlines()))
    return fields


def _put_in_order(_: object, __: str, fields: _Fields) -> _Fields:
    """What every line begins with, then its own fields. Other attributes of a record are not ours to show."""
    record: logging.LogRecord = fields.pop("_record")
    del fields["_from_structlog"]
    return {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": str(fields.pop("event", "")).strip(),
        **getattr(record, "harken", {}),
        **fields,
    }


def _escape(_: object, __: str, fields: _Fields) -> _Fields:
    """Show what a terminal would obey, or take for the end of a line. JSON does so by itself."""
    return {escape_unprintable(str(name)): _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: object) -> object:
    if name in ("exception", "stack") and isinstance(value, str):
        return "\n".join(map(escape_unprintable, value.split("\n")))
    if isinstance(value, int | float | None):
        return value
    return escape_unprintable(value if isinstance(value, str) else repr(value))


def _error(exc_info: BaseException | _ExcInfo | bool | None) -> BaseException | None:
    """The error, in whichever way it was handed over."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exception() if exc_info else None


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """The lines of a traceback, what caused the error first, without what a message may quote."""
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _told(cause, seen)
        yield ""
        yield "That caused this:" if cause is error.__cause__ else "While that was handled, this happened:"
        yield ""
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for frame in StackSummary.extract(walk_tb(error.__traceback__)).format():
            yield from map(escape_unprintable, frame.splitlines())
    yield _title(error)
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from (f"  | {line}" for line in _told(one, seen))


def _title(error: BaseException) -> str:
    kind = type(error)
    builtin = kind.__module__ == "builtins"
    name = kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, HarkenError) or (builtin and isinstance(error, _OF_THE_PROGRAM)):
        return escape_unprintable(f"{name}: {error}")
    return escape_unprintable(f"{name} (its message may quote what was sent, so it is left out)")

"""Logging of a server: one line for each request, and all other log records, as JSON or as text.

User content and personal data are never logged: no comments, tokens, addresses or query strings.
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

#: The logger of requests. Their fields are in the attribute ``harken`` of the log record.
logger = logging.getLogger("harken.http")

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Errors whose messages concern the program and the machine. Messages of other errors may quote the request.
_OF_THE_PROGRAM: Final = (AttributeError, ImportError, NameError, OSError, TypeError)

_Fields = MutableMapping[str, Any]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure_logs(*, json: bool | None = None, stream: TextIO | None = None, level: str = "info") -> None:
    """Send all logs of this process to a stream, one line each. In text format, a traceback takes several lines.

    This replaces any earlier configuration, including uvicorn's; start uvicorn with ``log_config=None``. Its access log
    is disabled, as it contains raw paths.

    Args:
        json: whether to write JSON; by default, if the stream is not a terminal.
        stream: the output stream; standard error by default.
        level: the minimum level: ``"debug"``, ``"info"``, ``"warning"``, ``"error"`` or ``"critical"``.

    Raises:
        ConfigurationError: the level is unknown.
        MissingExtra: structlog is not installed.
    """
    if level not in LEVELS:
        raise ConfigurationError(no_such("log level", level, LEVELS))
    try:
        import structlog  # noqa: PLC0415 - only servers need it
    except ModuleNotFoundError as error:
        raise MissingExtra("Logging needs the package 'structlog'; try pip install \"harken[server]\"") from error

    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    as_json = not terminal if json is None else json
    formatter = structlog.stdlib.ProcessorFormatter
    rendering: list[Any] = [structlog.processors.JSONRenderer()]
    if not as_json:
        # Plain tracebacks, as the others contain the values of local variables.
        console = structlog.dev.ConsoleRenderer(
            colors=terminal and os.name == "posix",
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )
        rendering = [_escape, console]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(processors=[_format_errors, _order_fields, *rendering]))
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
    """Log a request: as an error if the status is 500 or more, else as info.

    Args:
        request_id: the id, as returned by :func:`request_id`.
        operation: the name of the operation or page.
        method: the HTTP method.
        route: the path template, such as ``/v1/feedback/{id}``, never the path.
        status: the status code of the response.
        seconds: the time to respond.
        application: the application that the request was about, if known.
        size: the size of the response body, in bytes.
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
    """Log an unexpected error, with its traceback."""
    fields = {"request_id": request_id, "operation": operation}
    logger.error("request failed", exc_info=error, extra={"harken": fields})


def log_unopened(request_id: str, error: HarkenError) -> None:
    """Log that Harken could not be opened for a request. The message has the reason, so no traceback is needed."""
    fields = {"request_id": request_id, "operation": "open"}
    logger.error("Harken cannot be opened: %s: %s", type(error).__name__, error, extra={"harken": fields})


def request_id(header: str | None) -> str:
    """The id of a request: the value of its header ``X-Request-Id`` if that is valid, or a new UUIDv7.

    Valid are 1 to 64 ASCII letters, digits, ``.``, ``_`` and ``-``.
    """
    return header if header is not None and _REQUEST_ID.fullmatch(header) else new_uuid7()


def _take_over(handler: logging.Handler, level: str) -> None:
    """Install the handler as the only one of the process."""
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


def _format_errors(_: object, __: str, fields: _Fields) -> _Fields:
    """Replace an exception and its traceback by text."""
    if (error := _error(fields.pop("exc_info", None))) is not None:
        fields["exception"] = "\n".join(_traceback_lines(error, set()))
    if stack := fields.pop("stack_info", None):
        fields["stack"] = "\n".join(map(escape_unprintable, str(stack).splitlines()))
    return fields


def _order_fields(_: object, __: str, fields: _Fields) -> _Fields:
    """Put the common fields first. Other attributes of the log record are left out, as they may contain user data."""
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
    """Escape control characters and line breaks. The JSON encoder does that on its own."""
    return {escape_unprintable(str(name)): _escape_value(name, value) for name, value in fields.items()}


def _escape_value(name: str, value: object) -> object:
    if name in ("exception", "stack") and isinstance(value, str):
        return "\n".join(map(escape_unprintable, value.split("\n")))
    if isinstance(value, int | float | None):
        return value
    return escape_unprintable(value if isinstance(value, str) else repr(value))


def _error(exc_info: BaseException | _ExcInfo | bool | None) -> BaseException | None:
    """The exception in ``exc_info``, in any of the forms that logging accepts."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exception() if exc_info else None


def _traceback_lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    """The lines of a traceback, causes first, without messages that may quote the request."""
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _traceback_lines(cause, seen)
        yield ""
        yield "The above error caused:" if cause is error.__cause__ else "While it was handled, another error occurred:"
        yield ""
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for frame in StackSummary.extract(walk_tb(error.__traceback__)).format():
            yield from map(escape_unprintable, frame.splitlines())
    yield _title(error)
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from (f"  | {line}" for line in _traceback_lines(one, seen))


def _title(error: BaseException) -> str:
    kind = type(error)
    builtin = kind.__module__ == "builtins"
    name = kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, HarkenError) or (builtin and isinstance(error, _OF_THE_PROGRAM)):
        return escape_unprintable(f"{name}: {error}")
    return escape_unprintable(f"{name} (message omitted, as it may quote the request)")

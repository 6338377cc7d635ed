"""Logs: the content of request lines, what is never logged, and protection against forged lines."""

import inspect
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from harken import ConfigurationError, StorageUnavailable
from harken_adapters.hosts.http.logs import configure_logs, log_failure, log_request, request_id

NASTY = "a\nb\rc\x1b[31md\u2028e\u2029f\x85g\x0bh\x00i\u202ej\ud800k"
COMMENT = "what nobody else shall read"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
REQUEST: dict[str, Any] = {
    "request_id": "r-1",
    "operation": "submit",
    "method": "POST",
    "route": "/v1/feedback",
    "status": 201,
    "seconds": 0.0123456,
    "application": "shop",
    "size": 321,
}


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Restore the logging configuration of the test process."""
    names = ["", "uvicorn", "uvicorn.error", "uvicorn.access"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(list(one.handlers), one.level, one.propagate, one.disabled) for one in loggers]
    yield
    for one, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        one.handlers[:] = handlers
        one.setLevel(level)
        one.propagate, one.disabled = propagate, disabled
    structlog.reset_defaults()


def written(call: Callable[[], object], *, as_json: bool = True, level: str = "info") -> str:
    """The text that a call logs."""
    stream = io.StringIO()
    configure_logs(json=as_json, stream=stream, level=level)
    call()
    return stream.getvalue()


def lines(call: Callable[[], object]) -> list[dict[str, Any]]:
    """The lines that a call logs, as JSON."""
    return [json.loads(line) for line in written(call).splitlines()]


def failing(error: BaseException) -> BaseException:
    """An error that was raised, with its traceback."""

    def refuse(comment: str) -> None:
        raise error

    try:
        refuse(COMMENT)
    except BaseException as raised:  # noqa: BLE001 - the test inspects it
        return raised
    return error


class TestRequests:
    def test_what_is_written(self) -> None:
        """A request is one line of JSON with all fields and the time in UTC."""
        (line,) = lines(lambda: log_request(**REQUEST))
        at = datetime.fromisoformat(line.pop("timestamp"))
        assert at.utcoffset() == timedelta(0)
        assert line == {
            "level": "info",
            "logger": "harken.http",
            "event": "request",
            "request_id": "r-1",
            "operation": "submit",
            "method": "POST",
            "route": "/v1/feedback",
            "status": 201,
            "milliseconds": 12.346,
            "application": "shop",
            "size": 321,
        }

    def test_nothing_personal_can_be_handed_over(self) -> None:
        """The function has no parameter for a path, query, address, header or body, so no host can log one by
        mistake.
        """
        assert set(inspect.signature(log_request).parameters) == set(REQUEST)

    @pytest.mark.parametrize(("status", "severity"), [(200, "info"), (404, "info"), (500, "error"), (503, "error")])
    def test_severity(self, status: int, severity: str) -> None:
        """Server errors are logged as errors; client errors are not."""
        (line,) = lines(lambda: log_request(**REQUEST | {"status": status}))
        assert line["level"] == severity

    def test_level(self) -> None:
        """A request below the log level is not logged; a failed one is."""
        assert written(lambda: log_request(**REQUEST), level="warning") == ""
        assert written(lambda: log_request(**REQUEST | {"status": 500}), level="warning") != ""

    def test_on_a_terminal(self) -> None:
        """On a terminal, a request is one line of text with the same fields."""
        stream = Terminal()
        configure_logs(stream=stream)
        log_request(**REQUEST)
        plain = re.sub(r"\x1b\[\d+m", "", stream.getvalue())
        assert plain.endswith("\n")
        assert plain.count("\n") == 1
        assert "operation=submit method=POST route=/v1/feedback status=201 milliseconds=12.346" in plain

    def test_json_by_default(self) -> None:
        """By default, a stream that is not a terminal gets JSON."""
        stream = io.StringIO()
        configure_logs(stream=stream)
        log_request(**REQUEST)
        assert json.loads(stream.getvalue())["event"] == "request"

    def test_in_a_program_that_has_its_own_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without Harken's configuration, a request is an ordinary log record with its fields in one attribute."""
        with caplog.at_level(logging.INFO, "harken.http"):
            log_request(**REQUEST)
        (record,) = caplog.records
        assert (record.name, record.getMessage()) == ("harken.http", "request")
        assert record.__dict__["harken"]["route"] == "/v1/feedback"


class TestForging:
    @given(st.text() | st.just(NASTY), st.booleans())
    def test_a_request_is_one_line(self, text: str, as_json: bool) -> None:
        """A request is one line without control characters, for any values."""
        values = REQUEST | dict.fromkeys(("request_id", "operation", "method", "route", "application"), text)
        out = written(lambda: log_request(**values), as_json=as_json)
        assert out.splitlines(keepends=True) == [out]
        assert out[:-1].isprintable()

    @given(st.text() | st.just(NASTY), st.booleans())
    def test_other_logs_are_one_line(self, text: str, as_json: bool) -> None:
        """The same holds for other packages, in messages, arguments and fields, through both logging libraries."""

        class Odd:
            def __repr__(self) -> str:
                return text

        def log() -> None:
            logging.getLogger("other").warning("what %s says: %r", text, Odd())
            logging.getLogger(text).warning(text)
            structlog.get_logger().warning(text, text=text, odd=Odd(), several=[text, Odd()])

        out = written(log, as_json=as_json)
        assert out.count("\n") == 3
        assert len(out.splitlines()) == 3
        assert all(line.isprintable() for line in out.splitlines())

    @pytest.mark.parametrize("as_json", [True, False])
    def test_an_error_s_message(self, *, as_json: bool) -> None:
        """A message of several lines stays on its line of the traceback."""
        error = failing(StorageUnavailable(f"away{NASTY}\n2026-01-01 [info] forged"))
        out = written(lambda: log_failure("r-1", "submit", error), as_json=as_json)
        assert not [line for line in out.splitlines() if line.startswith("2026-01-01")]
        assert all(line.isprintable() for line in out.split("\n"))

    def test_json_reads_back(self) -> None:
        """Escaped JSON is decoded to the original value."""
        (line,) = lines(lambda: log_request(**REQUEST | {"application": NASTY}))
        assert line["application"] == NASTY


class TestErrors:
    def test_a_traceback_without_the_request(self) -> None:
        """The traceback has the request, the code location and the type of the error, but no variables and no
        message.
        """
        error = failing(ValueError(COMMENT))
        (line,) = lines(lambda: log_failure("r-1", "submit", error))
        assert (line["event"], line["level"], line["request_id"]) == ("request failed", "error", "r-1")
        assert "in refuse\n    raise error\n" in line["exception"]
        assert COMMENT not in line["exception"]
        assert line["exception"].endswith("ValueError (message omitted, as it may quote the request)")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_no_error_reveals_the_comment(self, *, as_json: bool) -> None:
        """No cause, context, group, note or local variable reveals user content."""
        cause = failing(ValueError(COMMENT))
        cause.add_note(COMMENT)
        try:
            try:
                raise cause
            except ValueError:
                raise KeyError(COMMENT)  # noqa: B904 - the context is under test
        except KeyError as raised:
            handled = raised
        group = failing(BaseExceptionGroup(COMMENT, [handled, failing(RuntimeError(COMMENT))]))
        out = written(lambda: log_failure("r-1", "submit", group), as_json=as_json)
        assert COMMENT not in out
        for kind in ("ValueError", "KeyError", "RuntimeError", "ExceptionGroup"):
            assert kind in out

    @pytest.mark.parametrize(
        "error",
        [StorageUnavailable("MongoDB is away"), OSError(28, "No space left on device"), TypeError("takes 1 argument")],
    )
    def test_messages_that_are_the_program_s_own(self, error: Exception) -> None:
        """Messages of Harken's errors, and of errors of the machine or the code, are logged."""
        (line,) = lines(lambda: log_failure("r-1", "submit", failing(error)))
        assert line["exception"].endswith(f": {error}")

    def test_causes_come_first(self) -> None:
        """Causes are logged before the errors that they caused, and cyclic chains end."""
        first, second = failing(OSError("first")), failing(StorageUnavailable("second"))
        second.__cause__, first.__context__ = first, second
        (line,) = lines(lambda: log_failure("r-1", "submit", second))
        parts = line["exception"].split("\n\nThe above error caused:\n\n")
        assert [part.rpartition(": ")[2] for part in parts] == ["first", "second"]

    def test_other_packages(self) -> None:
        """Exceptions that other packages log are formatted in the same way, through both logging libraries."""

        def log() -> None:
            try:
                int(COMMENT)
            except ValueError as error:
                logging.getLogger("other").exception("oh")
                structlog.get_logger().exception("oh")
                structlog.get_logger().error("oh", exc_info=error)
                logging.getLogger("other").warning("no", stack_info=True)

        *errors, stack = lines(log)
        assert len(errors) == 3
        assert all("ValueError (message omitted" in line["exception"] for line in errors)
        assert "in log" in stack["stack"]


class TestUvicorn:
    def test_its_errors_are_ours_and_its_access_log_is_off(self) -> None:
        """Uvicorn's own logging configuration is replaced, and its access log, which has raw paths and addresses, is
        off.
        """
        uvicorn.Config(lambda: None)

        def log() -> None:
            logging.getLogger("uvicorn.access").info('%s - "%s %s" %d', "10.0.0.1", "GET", "/?token=x", 200)
            error = failing(ValueError(COMMENT))
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)

        (line,) = lines(log)
        assert (line["logger"], line["event"]) == ("uvicorn.error", "Exception in ASGI application")

    def test_twice(self) -> None:
        """A second configuration replaces the first one."""
        first, second = io.StringIO(), io.StringIO()
        configure_logs(json=True, stream=first)
        configure_logs(json=False, stream=second, level="error")
        log_request(**REQUEST)
        log_request(**REQUEST | {"status": 500})
        assert first.getvalue() == ""
        assert second.getvalue().count("request_id=r-1") == 1

    def test_an_unknown_level(self) -> None:
        """An unknown level is an error that lists the levels."""
        with pytest.raises(ConfigurationError, match="Unknown log level 'loud'; expected one of debug, info, warning"):
            configure_logs(level="loud")


class TestRequestIds:
    @given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
    def test_a_client_s_own(self, header: str) -> None:
        """A short and safe client id is used unchanged."""
        assert request_id(header) == header

    @given(st.text().filter(lambda text: not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text)))
    def test_anything_else(self, header: str) -> None:
        """An empty, long or unsafe id is replaced by a new one."""
        assert UUID7.fullmatch(request_id(header))

    @pytest.mark.parametrize("header", [None, "", "a" * 65, "a\n", "a b", "ä", "٣", "\u212a"])
    def test_no_id(self, header: str | None) -> None:
        """A trailing line break and digits of other scripts are not accepted."""
        assert UUID7.fullmatch(request_id(header))

    def test_new_ones_differ(self) -> None:
        """Requests without an id get different ids."""
        assert len({request_id(None) for _ in range(1_000)}) == 1_000


@pytest.mark.slow
def test_without_structlog(tmp_path: Path) -> None:
    """Without structlog, requests are logged, and configuring the logs says what to install."""
    program = """
import sys
sys.modules["structlog"] = None
from harken import MissingExtra
from harken_adapters.hosts.http.logs import configure_logs, log_request
log_request(request_id="r", operation="o", method="GET", route="/", status=200, seconds=0.1)
try:
    configure_logs()
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "Logging needs the package 'structlog'; try pip install \"harken[server]\"\n"


@pytest.mark.slow
def test_to_standard_error() -> None:
    """By default, JSON is logged to standard error, and nothing to standard output."""
    program = """
from harken_adapters.hosts.http.logs import configure_logs, log_request
configure_logs()
log_request(request_id="r", operation="o", method="GET", route="/", status=200, seconds=0.1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["request_id"] == "r"

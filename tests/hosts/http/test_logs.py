"""Logs: what is written about a request, what never is, and that nobody can forge a line."""

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
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the logs of the tests' own process as they were."""
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
    """What a call logs."""
    stream = io.StringIO()
    configure_logs(json=as_json, stream=stream, level=level)
    call()
    return stream.getvalue()


def lines(call: Callable[[], object]) -> list[dict[str, Any]]:
    """The lines that a call logs as JSON."""
    return [json.loads(line) for line in written(call).splitlines()]


def failing(error: BaseException) -> BaseException:
    """The error as it is when something has raised it."""

    def refuse(comment: str) -> None:
        raise error

    try:
        refuse(COMMENT)
    except BaseException as raised:  # noqa: BLE001 - the test looks at it
        return raised
    return error


class TestRequests:
    def test_what_is_written(self) -> None:
        """One line of JSON has all that there is to know of a request, and when that was, in UTC."""
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
        """There is no parameter for a path, query, address, header or body, so no host can log one by mistake."""
        assert set(inspect.signature(log_request).parameters) == set(REQUEST)

    @pytest.mark.parametrize(("status", "severity"), [(200, "info"), (404, "info"), (500, "error"), (503, "error")])
    def test_severity(self, status: int, severity: str) -> None:
        """What the service could not do is an error; what a caller got wrong is not."""
        (line,) = lines(lambda: log_request(**REQUEST | {"status": status}))
        assert line["level"] == severity

    def test_level(self) -> None:
        """A request that is below the level is not written; one that failed is."""
        assert written(lambda: log_request(**REQUEST), level="warning") == ""
        assert written(lambda: log_request(**REQUEST | {"status": 500}), level="warning") != ""

    def test_for_people(self) -> None:
        """On a terminal a request is one line too, with the same fields."""
        stream = Terminal()
        configure_logs(stream=stream)
        log_request(**REQUEST)
        plain = re.sub(r"\x1b\[\d+m", "", stream.getvalue())
        assert plain.endswith("\n")
        assert plain.count("\n") == 1
        assert "operation=submit method=POST route=/v1/feedback status=201 milliseconds=12.346" in plain

    def test_json_where_nobody_looks(self) -> None:
        """Without a choice, a stream that is no terminal gets JSON."""
        stream = io.StringIO()
        configure_logs(stream=stream)
        log_request(**REQUEST)
        assert json.loads(stream.getvalue())["event"] == "request"

    def test_in_a_program_that_has_its_own_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where nobody configured Harken's logs, a request is an ordinary record, with its fields in one attribute."""
        with caplog.at_level(logging.INFO, "harken.http"):
            log_request(**REQUEST)
        (record,) = caplog.records
        assert (record.name, record.getMessage()) == ("harken.http", "request")
        assert record.__dict__["harken"]["route"] == "/v1/feedback"


class TestForging:
    @given(st.text() | st.just(NASTY), st.booleans())
    def test_a_request_is_one_line(self, text: str, as_json: bool) -> None:
        """Whatever is in a value, a request is one line without anything that a terminal would obey."""
        values = REQUEST | dict.fromkeys(("request_id", "operation", "method", "route", "application"), text)
        out = written(lambda: log_request(**values), as_json=as_json)
        assert out.splitlines(keepends=True) == [out]
        assert out[:-1].isprintable()

    @given(st.text() | st.just(NASTY), st.booleans())
    def test_other_logs_are_one_line(self, text: str, as_json: bool) -> None:
        """That holds for what other packages log, in a message, an argument or a field, through either library."""

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
        """A message of several lines stays in its line of the traceback."""
        error = failing(StorageUnavailable(f"away{NASTY}\n2026-01-01 [info] forged"))
        out = written(lambda: log_failure("r-1", "submit", error), as_json=as_json)
        assert not [line for line in out.splitlines() if line.startswith("2026-01-01")]
        assert all(line.isprintable() for line in out.split("\n"))

    def test_json_reads_back(self) -> None:
        """What is escaped in JSON is not lost."""
        (line,) = lines(lambda: log_request(**REQUEST | {"application": NASTY}))
        assert line["application"] == NASTY


class TestErrors:
    def test_a_traceback_without_what_was_sent(self) -> None:
        """The line has the request, the place in the program and the kind of error, but no variable and no message."""
        error = failing(ValueError(COMMENT))
        (line,) = lines(lambda: log_failure("r-1", "submit", error))
        assert (line["event"], line["level"], line["request_id"]) == ("request failed", "error", "r-1")
        assert "in refuse\n    raise error\n" in line["exception"]
        assert COMMENT not in line["exception"]
        assert line["exception"].endswith("ValueError (its message may quote what was sent, so it is left out)")

    @pytest.mark.parametrize("as_json", [True, False])
    def test_no_error_brings_the_comment_along(self, *, as_json: bool) -> None:
        """Neither a cause, nor a context, a group, a note or a local variable brings what somebody wrote."""
        cause = failing(ValueError(COMMENT))
        cause.add_note(COMMENT)
        try:
            try:
                raise cause
            except ValueError:
                raise KeyError(COMMENT)  # noqa: B904 - the context is what is tested
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
        """What Harken says, and what tells of the machine or the code, is what an operator needs."""
        (line,) = lines(lambda: log_failure("r-1", "submit", failing(error)))
        assert line["exception"].endswith(f": {error}")

    def test_what_caused_it_comes_first(self) -> None:
        """Causes are told before what they caused, and a chain that bites its tail comes to an end."""
        first, second = failing(OSError("first")), failing(StorageUnavailable("second"))
        second.__cause__, first.__context__ = first, second
        (line,) = lines(lambda: log_failure("r-1", "submit", second))
        parts = line["exception"].split("\n\nThat caused this:\n\n")
        assert [part.rpartition(": ")[2] for part in parts] == ["first", "second"]

    def test_other_packages(self) -> None:
        """An exception that another package logs is told in the same way, through either library."""

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
        assert all("ValueError (its message may" in line["exception"] for line in errors)
        assert "in log" in stack["stack"]


class TestUvicorn:
    def test_its_errors_are_ours_and_its_access_log_is_off(self) -> None:
        """Even where uvicorn had configured its own logs: its access log would have raw paths and addresses."""
        uvicorn.Config(lambda: None)

        def log() -> None:
            logging.getLogger("uvicorn.access").info('%s - "%s %s" %d', "10.0.0.1", "GET", "/?token=x", 200)
            error = failing(ValueError(COMMENT))
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)

        (line,) = lines(log)
        assert (line["logger"], line["event"]) == ("uvicorn.error", "Exception in ASGI application")

    def test_twice(self) -> None:
        """Configuring again replaces what was configured before."""
        first, second = io.StringIO(), io.StringIO()
        configure_logs(json=True, stream=first)
        configure_logs(json=False, stream=second, level="error")
        log_request(**REQUEST)
        log_request(**REQUEST | {"status": 500})
        assert first.getvalue() == ""
        assert second.getvalue().count("request_id=r-1") == 1

    def test_a_level_that_is_none(self) -> None:
        """A typo in the level is an error that names the levels."""
        with pytest.raises(ConfigurationError, match="no log level 'loud'; known are debug, info, warning"):
            configure_logs(level="loud")


class TestRequestIds:
    @given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
    def test_a_client_s_own(self, header: str) -> None:
        """What is short and harmless is taken as it is."""
        assert request_id(header) == header

    @given(st.text().filter(lambda text: not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text)))
    def test_anything_else(self, header: str) -> None:
        """What is empty, long or odd is replaced by a new id."""
        assert UUID7.fullmatch(request_id(header))

    @pytest.mark.parametrize("header", [None, "", "a" * 65, "a\n", "a b", "ä", "٣", "\u212a"])
    def test_no_id(self, header: str | None) -> None:
        """Neither a line break at the end nor another script's digits pass."""
        assert UUID7.fullmatch(request_id(header))

    def test_new_ones_differ(self) -> None:
        """Two requests without an id never share one."""
        assert len({request_id(None) for _ in range(1_000)}) == 1_000


@pytest.mark.slow
def test_without_structlog(tmp_path: Path) -> None:
    """Requests are logged by a program that has no structlog; configuring says what to install."""
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
    assert done.stdout == "Logs need the package 'structlog'; try pip install \"harken[server]\"\n"


@pytest.mark.slow
def test_to_standard_error() -> None:
    """A program that says nothing logs JSON to standard error, and nothing to standard output."""
    program = """
from harken_adapters.hosts.http.logs import configure_logs, log_request
configure_logs()
log_request(request_id="r", operation="o", method="GET", route="/", status=200, seconds=0.1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["request_id"] == "r"

"""Fixtures of host tests: a Harken served over a real socket."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from harken import Harken
from harken_adapters.hosts.http.logs import configure_logs
from hosts.serving import Server, served


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """The Harken of the test, served with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All log records, as JSON in one line each, as a server writes them. The logging configuration is restored
    afterwards.
    """
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access")]
    before = [(list(one.handlers), one.level, one.propagate, one.disabled) for one in loggers]
    stream = io.StringIO()
    configure_logs(json=True, stream=stream)
    yield stream
    for one, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        one.handlers[:] = handlers
        one.setLevel(level)
        one.propagate, one.disabled = propagate, disabled
    structlog.reset_defaults()

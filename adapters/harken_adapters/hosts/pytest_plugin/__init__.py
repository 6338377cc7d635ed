"""Pytest fixtures for applications that use Harken, registered in the entry point group ``pytest11``.

Pytest loads this module in every run if Harken is installed. So it imports only modules that pytest has already
imported, and each fixture imports what it needs when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from harken import Feedback, Harken
    from harken.domain.feedback import RatingValue
    from harken.ports.storage import Storage
    from harken_adapters.hosts.pytest_plugin.capturing import Notifications, Recorder

#: The variable with the URL of a MongoDB server for tests. Each test gets a new database on it.
MONGODB_URL: Final = "HARKEN_TEST_MONGODB_URL"
#: The initial time of the frozen clock.
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "harken(**options): keywords of harken.connect, such as alert_rules, for the fixture harken"
    )


class FrozenClock:
    """A clock that shows the same time until a test advances it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Returns the time of the clock."""
        return self.now

    def __repr__(self) -> str:
        return f"FrozenClock({self.now.isoformat()})"

    @property
    def now(self) -> datetime:
        """The time of the clock, in UTC. Setting a time without a zone raises ``ValueError``."""
        return self._now

    @now.setter
    def now(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"The clock needs a time with a time zone, such as tzinfo=UTC; got {moment!r}")
        self._now = moment.astimezone(UTC)

    def advance(self, **by: float) -> datetime:
        """Advance the clock by keywords of ``timedelta``, such as ``hours=1``; returns the new time."""
        self.now += timedelta(**by)
        return self.now


@pytest.fixture
def harken_clock() -> FrozenClock:
    """The clock of the fixture ``harken``: noon of 1 January 2026, UTC, until ``advance`` moves it."""
    return FrozenClock()


@pytest.fixture
def _harken_recorder() -> Recorder:
    from harken_adapters.hosts.pytest_plugin.capturing import Recorder  # noqa: PLC0415 - only if it is used

    return Recorder()


@pytest.fixture
def harken(request: pytest.FixtureRequest, harken_clock: FrozenClock, _harken_recorder: Recorder) -> Iterator[Harken]:
    """An empty Harken in memory, with a frozen clock and sequential ids. Its notifications are captured.

    It ignores ``HARKEN_*`` variables and ``harken.toml``. ``@pytest.mark.harken(...)`` passes keywords to ``connect``.
    """
    from harken_adapters.hosts.pytest_plugin.capturing import connect_recorded  # noqa: PLC0415 - only if it is used

    options = _options(request.node)
    with connect_recorded(_harken_recorder, clock=harken_clock, new_id=sequential_ids(), options=options) as opened:
        yield opened


@pytest.fixture
def harken_notifications(harken: Harken, _harken_recorder: Recorder) -> Notifications:
    """The notifications that a relay of the fixture ``harken`` would have sent so far, in order."""
    from harken_adapters.hosts.pytest_plugin.capturing import Notifications  # noqa: PLC0415 - only if it is used

    return Notifications(_harken_recorder, harken.relay.run_due)


@pytest.fixture
def harken_fill(harken: Harken, harken_clock: FrozenClock) -> Callable[..., list[Feedback]]:
    """A function that submits feedback: ``harken_fill(up=7, down=3, agent_id="helper")``; returns the feedback.

    Each entry is in its own session: first thumbs-up, then thumbs-down, then neutral. ``every=timedelta(minutes=5)``
    advances the clock after each entry. All other keywords are those of ``Harken.submit``.
    """
    numbers = count(1)

    def fill(
        *, up: int = 0, down: int = 0, neutral: int = 0, every: timedelta = timedelta(), **parts: Any
    ) -> list[Feedback]:
        feedback: list[Feedback] = []
        ratings: tuple[tuple[RatingValue | None, int], ...] = (("up", up), ("down", down), (None, neutral))
        for rating in chain.from_iterable(repeat(rating, number) for rating, number in ratings):
            defaults = {
                "session_id": f"session-{next(numbers)}",
                "comment": "Too slow" if rating == "down" else "",
            }
            feedback.append(harken.submit(rating=rating, **{**defaults, **parts}).feedback)
            harken_clock.now += every
        return feedback

    return fill


def _storages() -> list[str]:
    """The storages that are available without a server, and MongoDB if its variable is set."""
    mocked = all(find_spec(name) for name in ("pymongo", "mongomock"))
    return [
        "memory",
        "sqlite",
        *(["mongomock"] if mocked else []),
        *(["mongodb"] if os.environ.get(MONGODB_URL) else []),
    ]


@pytest.fixture(params=_storages())
def harken_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """An empty, open storage of each available kind: memory, SQLite, mongomock if it is installed, and MongoDB.

    MongoDB is used if ``HARKEN_TEST_MONGODB_URL`` is the URL of a server. Each test gets its own database there, which
    is dropped afterwards.
    """
    from harken.configuration.storage_urls import open_storage  # noqa: PLC0415 - only if it is used

    with _url(request) as url, open_storage(url) as storage:
        yield storage


@contextmanager
def _url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('tmp_path')}/harken.db"
    elif request.param == "mongodb":
        with _new_database(os.environ[MONGODB_URL]) as url:
            yield url
    else:
        yield f"{request.param}://"


@contextmanager
def _new_database(server: str) -> Iterator[str]:
    from uuid import uuid4  # noqa: PLC0415 - only if it is used

    from pymongo import MongoClient  # noqa: PLC0415 - only if it is used

    name = f"harken_test_{uuid4().hex[:12]}"
    url = with_database(server, name)
    try:
        yield url
    finally:
        with MongoClient[dict[str, Any]](url) as client:
            client.drop_database(name)


def with_database(url: str, name: str) -> str:
    """Replace the database in the URL of a MongoDB server. The authentication database stays the same.

    >>> with_database("mongodb://someone:secret@localhost/?w=1", "feedback")
    'mongodb://someone:secret@localhost/feedback?w=1&authSource=admin'
    """
    server, _, query = url.partition("?")
    scheme, _, rest = server.partition("://")
    hosts, _, before = rest.partition("/")
    options = [query] if query else []
    if "@" in hosts and "authsource=" not in query.lower():
        options.append(f"authSource={before or 'admin'}")
    return f"{scheme}://{hosts}/{name}{'?' if options else ''}{'&'.join(options)}"


def sequential_ids() -> Callable[[], str]:
    """Ids in ascending order: ``feedback-000001`` and so on."""
    # next() of a count is atomic, so this is thread-safe.
    numbers = count(1)
    return lambda: f"feedback-{next(numbers):06}"


def _options(item: pytest.Item) -> dict[str, Any]:
    """The keywords of a test's markers; the closest marker takes precedence."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("harken"))):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.harken takes keywords of harken.connect, got {marker.args[0]!r}")
        options |= marker.kwargs
    return options

"""Fixtures for whoever tests an app with Harken in it; pytest finds them by the entry point group ``pytest11``.

Pytest loads this in every run of whoever has Harken installed, so it imports only what pytest has imported anyway, and
a fixture imports what it needs when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from harken import Feedback, Harken
    from harken.ports.storage import Storage
    from harken_adapters.hosts.pytest_plugin.capturing import Notifications, Recorder

#: Names a MongoDB server for tests; each test gets a new database on it.
MONGODB_URL: Final = "HARKEN_TEST_MONGODB_URL"
#: When tests begin.
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "harken(**options): keywords of harken.connect, such as alert_rules, for the fixture harken"
    )


class FrozenClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time that it shows."""
        return self.now

    def __repr__(self) -> str:
        return f"FrozenClock({self.now.isoformat()})"

    @property
    def now(self) -> datetime:
        """The time that it shows; it can be set to another one."""
        return self._now

    @now.setter
    def now(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"The clock needs a time with a zone, such as tzinfo=UTC; got {moment!r}")
        self._now = moment.astimezone(UTC)

    def advance(self, **by: float) -> datetime:
        """Let time pass, and say what time it is then; ``by`` is what ``timedelta`` takes, such as ``hours=1``."""
        self.now += timedelta(**by)
        return self.now


@pytest.fixture
def harken_clock() -> FrozenClock:
    """The clock of the fixture ``harken``: it stands at noon of 1 January 2026 until ``advance`` moves it."""
    return FrozenClock()


@pytest.fixture
def _harken_recorder() -> Recorder:
    from harken_adapters.hosts.pytest_plugin.capturing import Recorder  # noqa: PLC0415 - only if it is used

    return Recorder()


@pytest.fixture
def harken(request: pytest.FixtureRequest, harken_clock: FrozenClock, _harken_recorder: Recorder) -> Iterator[Harken]:
    """A Harken in memory, empty, with a frozen clock and counting ids; its notifications are captured.

    Settings of the surroundings do not matter to it. ``@pytest.mark.harken(...)`` gives keywords to its ``connect``.
    """
    from harken_adapters.hosts.pytest_plugin.capturing import connected  # noqa: PLC0415 - only if it is used

    options = _options(request.node)
    with connected(_harken_recorder, clock=harken_clock, new_id=counting_ids(), options=options) as opened:
        yield opened


@pytest.fixture
def harken_notifications(harken: Harken, _harken_recorder: Recorder) -> Notifications:
    """Everything that a relay of the fixture ``harken`` would have sent by now, in order: a sequence."""
    from harken_adapters.hosts.pytest_plugin.capturing import Notifications  # noqa: PLC0415 - only if it is used

    return Notifications(_harken_recorder, harken.relay.run_due)


@pytest.fixture
def harken_fill(harken: Harken, harken_clock: FrozenClock) -> Callable[..., list[Feedback]]:
    """Fills the fixture ``harken``: ``harken_fill(up=7, down=3, agent_id="helper")``, and gives the feedback.

    Ups come first, then downs, then neutrals, each in a session of its own. ``every=timedelta(minutes=5)`` moves the
    clock after each of them. All other keywords are those of ``Harken.submit``.
    """
    numbers = count(1)

    def fill(
        *, up: int = 0, down: int = 0, neutral: int = 0, every: timedelta = timedelta(), **parts: Any
    ) -> list[Feedback]:
        given: list[Feedback] = []
        for rating in [*["up"] * up, *["down"] * down, *[None] * neutral]:
            said = {"session_id": f"session-{next(numbers)}", "comment": "Too slow" if rating == "down" else ""}
            given.append(harken.submit(rating=rating, **{**said, **parts}).feedback)
            harken_clock.now += every
        return given

    return fill


def _storages() -> list[str]:
    """What a test can open here without a server, and MongoDB where one is named."""
    mocked = all(find_spec(name) for name in ("pymongo", "mongomock"))
    return [
        "memory",
        "sqlite",
        *(["mongomock"] if mocked else []),
        *(["mongodb"] if os.environ.get(MONGODB_URL) else []),
    ]


@pytest.fixture(params=_storages())
def harken_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """An empty open storage of each kind that is there: memory, SQLite, mongomock if it is installed, and MongoDB.

    The latter if ``HARKEN_TEST_MONGODB_URL`` names a server: each test gets a database of its own, dropped at the end.
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
    """The URL of a MongoDB server with that database in it; who logs in does so where they did before.

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


def counting_ids() -> Callable[[], str]:
    """Ids that sort in the order in which they were made: ``feedback-000001`` and so on."""
    # next() of a count is one step, which no other thread can come into.
    numbers = count(1)
    return lambda: f"feedback-{next(numbers):06}"


def _options(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say; the nearest one counts."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("harken"))):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.harken takes keywords of harken.connect, got {marker.args[0]!r}")
        options |= marker.kwargs
    return options

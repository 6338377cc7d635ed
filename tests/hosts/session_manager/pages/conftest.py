"""What each page of the documentation of mongodb_session_manager promises, on each storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harken
from harken_adapters.hosts.session_manager import MongoDBSessionManager

#: Opens a session manager of a session. Each has its own connection, except on memory.
Open = Callable[..., MongoDBSessionManager]


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The arguments of session managers and factories that name an empty storage."""
    if request.param == "memory":
        with harken.connect("memory://") as hk:
            yield {"client": hk}
    elif request.param == "mongodb":
        yield {"connection_string": request.getfixturevalue("mongodb_url")}
    else:
        yield {"connection_string": f"sqlite:///{tmp_path / 'feedback.db'}"}


@pytest.fixture
def open_session(place: dict[str, Any]) -> Iterator[Open]:
    """Opens session managers, which are closed at the end."""
    opened: list[MongoDBSessionManager] = []

    def open_one(session_id: str = "session-1", **options: Any) -> MongoDBSessionManager:
        opened.append(MongoDBSessionManager(session_id, **place, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()

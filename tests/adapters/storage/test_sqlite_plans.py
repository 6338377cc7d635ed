"""How SQLite finds what is asked for: by an index, however large the file is."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Harken
from harken.testing import a_series

#: What is asked for, and the column by which it has to be found.
_ASKED: dict[str, tuple[Callable[[Harken], object], str]] = {
    "figures of a session": (lambda hk: hk.summary(session_id="s-1"), "session_id=?"),
    "figures of a session's message": (lambda hk: hk.summary(session_id="s-1", message_id="m"), "session_id=?"),
    "a page of a session": (lambda hk: hk.feedback(session_id="s-1"), "session_id=?"),
    "all of a session": (lambda hk: list(hk.stream(session_id="s-1")), "session_id=?"),
    "votes in a session": (lambda hk: hk.collection.votes("default", "s-1", "a"), "=? AND "),
    "a page of an author": (lambda hk: hk.feedback(author="a"), "author=?"),
    "figures of an author": (lambda hk: hk.summary(author="a"), "author=?"),
    "a page of an agent": (lambda hk: hk.feedback(agent_id="helper"), "agent_id=?"),
    "downs of an agent": (lambda hk: hk.summary(agent_id="helper", rating="down"), "agent_id=?"),
    "a page of all": (lambda hk: hk.feedback(limit=1), "feedback_time"),
    "an erased session": (
        lambda hk: hk.collection.erase(hk.query(session_id="s-1").in_any_state()),
        "session_id=?",
    ),
    "an erased author": (lambda hk: hk.collection.erase(hk.query(author="a").in_any_state()), "author=?"),
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is sent to SQLite, with the values put in."""
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return statements


@pytest.mark.parametrize("asked", _ASKED)
def test_what_is_asked_for_is_found_by_its_index(asked: str, tmp_path: Path, sent: list[str]) -> None:
    """Whoever asks for a session, an author or an agent has SQLite read no others, from the first row on."""
    call, by = _ASKED[asked]
    path = tmp_path / "feedback.db"
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.collection.restore(a_series(5))
        sent.clear()
        call(hk)
        statements = [text for text in sent if text.startswith(("SELECT", "DELETE FROM feedback"))]
    plans = [plan for text in statements for plan in _plans(path, text)]
    assert any("feedback" in plan for plan in plans)
    for plan in plans:
        assert "SCAN feedback" not in plan
        assert by in plan or "USE TEMP B-TREE FOR GROUP BY" in plan or "feedback" not in plan, plan


def _plans(path: Path, statement: str) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        connection.close()

"""SQLite uses an index for every operation, regardless of the size of the file."""

import re
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

import harken
from harken import Cursor, FeedbackQuery, GroupBy, Harken, Moderation
from harken.configuration.storage_urls import open_storage
from harken.domain.alerts.patterns import Subject
from harken.domain.erasure import Erased
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, EventType
from harken.domain.instants import slot_number, slot_start
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing import NOON, a_feedback, a_series, accepted, an_alert, with_content
from harken_adapters.storage import comment_index
from harken_adapters.storage.sqlite import comment_index as sqlite_index
from harken_adapters.storage.sqlite.conditions import has_words

#: Operations of the facade, and the column or index by which they must find rows.
_ASKED: dict[str, tuple[Callable[[Harken], object], str]] = {
    "statistics of a session": (lambda hk: hk.summary(session_id="s-1"), "session_id=?"),
    "statistics of a message": (lambda hk: hk.summary(session_id="s-1", message_id="m"), "session_id=?"),
    "a page of a session": (lambda hk: hk.feedback(session_id="s-1"), "session_id=?"),
    "all of a session": (lambda hk: list(hk.export(session_id="s-1")), "session_id=?"),
    "what a session shows": (lambda hk: list(hk.collection.session_entries("default", "s-1")), "session_id=?"),
    "votes in a session": (lambda hk: hk.collection.votes("default", "s-1", "a"), "=? AND "),
    "a page of an author": (lambda hk: hk.feedback(author="a"), "author=?"),
    "statistics of an author": (lambda hk: hk.summary(author="a"), "author=?"),
    "a page of an agent": (lambda hk: hk.feedback(agent_id="helper"), "agent_id=?"),
    "thumbs-down of an agent": (lambda hk: hk.summary(agent_id="helper", rating="down"), "agent_id=?"),
    "a page of several agents": (lambda hk: hk.feedback(agent_id=["a", "b", "c"]), "(application=? AND agent_id=?)"),
    "the next page of several agents": (
        lambda hk: hk.feedback(agent_id=["a", "b"], after=Cursor(NOON, "x")),
        "(application=? AND agent_id=? AND (created_at,id)<(?,?))",
    ),
    "all of several agents": (lambda hk: list(hk.export(agent_id=["a", "helper"])), "agent_id=?"),
    "statistics of several agents": (lambda hk: hk.summary(agent_id=["a", "b"], rating="down"), "agent_id=?"),
    "authors of several agents": (
        lambda hk: hk.analytics.estimate(hk.query(agent_id=["a", "b"], rating=["up", "down"])),
        "agent_id=?",
    ),
    "several agents in a session": (lambda hk: hk.feedback(agent_id=["a", "b"], session_id="s-1"), "session_id=?"),
    "several ratings and tags": (lambda hk: hk.feedback(rating=["up", None], tag=["a", "b"]), "feedback_time"),
    "entries with a comment": (lambda hk: hk.feedback(has_comment=True), "feedback_time"),
    "the moderation queue of several agents": (
        lambda hk: hk.moderation.queue(hk.query(agent_id=["a", "b"]), limit=1),
        "feedback_waiting",
    ),
    "a page of all": (lambda hk: hk.feedback(limit=1), "feedback_time"),
    "a page of a search": (lambda hk: hk.feedback(text="slow", limit=1), "feedback_time"),
    "a search in a session": (lambda hk: hk.feedback(text="slow", session_id="s-1"), "session_id=?"),
    "a search about several agents": (
        lambda hk: hk.feedback(text="slow", agent_id=["a", "b"]),
        "(application=? AND agent_id=?)",
    ),
    "a search with values that have no index": (
        lambda hk: hk.feedback(text="slow", rating=["up", None], tag=["a", "b"], has_comment=True),
        "feedback_time",
    ),
    "the moderation backlog": (lambda hk: hk.moderation.backlog("default"), "feedback_waiting"),
    "a page of the moderation queue": (lambda hk: hk.moderation.queue(hk.query(), limit=1), "feedback_waiting"),
    "an erased session": (
        lambda hk: hk.collection.erase(hk.query(session_id="s-1").in_any_state()),
        "session_id=?",
    ),
    "an erased author": (lambda hk: hk.collection.erase(hk.query(author="a").in_any_state()), "author=?"),
}


_LATER = NOON + timedelta(days=1)


def _claim(storage: Storage) -> Sequence[Delivery]:
    return storage.outbox.claim("log", now=_LATER, until=_LATER, limit=9)


def _list(
    storage: Storage, *, after: Delivery | None = None, newest: bool = False, **filters: Any
) -> Sequence[Delivery]:
    query = DeliveryQuery(**{"state": DeliveryState.PENDING, **filters})
    return storage.outbox.deliveries(query, limit=2, after=after, newest_first=newest)


def _replay(storage: Storage) -> Delivery:
    claim = _claim(storage)[0]
    storage.outbox.bury(claim, error="gone")
    return storage.outbox.replay(claim.id, due_at=NOON)


def _erase_with_alert(storage: Storage) -> Erased:
    (one,) = storage.feedback.find(FeedbackQuery(), limit=1).items
    alert = an_alert(subject=Subject("session", "session"), feedback_ids=(one.id,))
    storage.alerts.add(alert, alert.event())
    return storage.feedback.erase(FeedbackQuery(feedback_id=one.id), at=NOON)


#: Operations of relays, and of the commands that manage deliveries and alerts, and what they must use.
_DONE: dict[str, tuple[Callable[[Storage], object], str]] = {
    "waiting events": (lambda st: st.outbox.events(limit=9), "event_time"),
    "fan-out": (
        lambda st: st.outbox.fan_out([(event, ["log"]) for event in st.outbox.events(limit=9)], due_at=NOON),
        "event USING PRIMARY KEY (application=? AND feedback_id=? AND version=?)",
    ),
    "due deliveries": (_claim, "delivery_channel (channel=? AND state=? AND late=? AND due_at<?)"),
    "claim": (_claim, "delivery USING PRIMARY KEY (id=?)"),
    "release": (lambda st: st.outbox.release(_claim(st)), "delivery USING PRIMARY KEY (id=?)"),
    "settle": (lambda st: st.outbox.settle(_claim(st)), "delivery USING PRIMARY KEY (id=?)"),
    "bury and replay": (_replay, "delivery USING PRIMARY KEY (id=?)"),
    "one delivery": (lambda st: st.outbox.delivery(_list(st)[0].id), "delivery USING PRIMARY KEY (id=?)"),
    "deliveries of a channel": (
        lambda st: _list(st, channel="log"),
        "delivery_channel (channel=? AND state=? AND late=?)",
    ),
    "the next page of a channel": (
        lambda st: _list(st, channel="log", after=_list(st)[0]),
        "delivery_channel (channel=? AND state=? AND late=? AND (due_at,id)>(?,?))",
    ),
    "deliveries of an application": (
        lambda st: _list(st, channel="log", application="default"),
        "delivery_channel (channel=? AND state=? AND late=?)",
    ),
    "dead deliveries of an application": (
        lambda st: _list(st, application="default", state=DeliveryState.DEAD),
        "delivery_list (application=? AND channel=? AND state=?)",
    ),
    "count pending deliveries of an application": (
        lambda st: st.outbox.counts(DeliveryQuery(DeliveryState.PENDING, application="default")),
        "COVERING INDEX delivery_channel (channel=? AND state=? AND late=?)",
    ),
    "the newest deliveries of an application": (
        lambda st: _list(st, application="default", state=DeliveryState.DEAD, newest=True, after=_list(st)[0]),
        "delivery_list (application=? AND channel=? AND state=? AND (due_at,id)<(?,?))",
    ),
    "deliveries with a cause": (
        lambda st: _list(st, application="default", state=DeliveryState.DEAD, cause="410 Gone"),
        "delivery_dead (application=? AND channel=? AND cause=?)",
    ),
    "count deliveries of an application": (
        lambda st: st.outbox.counts(DeliveryQuery(DeliveryState.DEAD, application="default", type=EventType.CREATED)),
        "COVERING INDEX delivery_list (application=? AND channel=? AND state=?)",
    ),
    "count those that arrived lately": (
        lambda st: st.outbox.counts(DeliveryQuery(DeliveryState.DELIVERED, application="default", due_since=NOON)),
        "COVERING INDEX delivery_list (application=? AND channel=? AND state=? AND due_at>?)",
    ),
    "deliveries of all channels": (_list, "delivery_channel (channel>?)"),
    "discard": (lambda st: st.outbox.discard(_claim(st)), "delivery USING PRIMARY KEY (id=?)"),
    "move": (lambda st: st.outbox.move(_claim(st)[0], "new"), "delivery USING PRIMARY KEY (id=?)"),
    "count pending": (
        lambda st: st.outbox.counts(DeliveryQuery(DeliveryState.PENDING)),
        "COVERING INDEX delivery_channel (channel=? AND state=? AND late=?)",
    ),
    "an erasure that waits for a claim": (
        lambda st: st.outbox.release([evolve(claim, attempts=0) for claim in _claim(st)]),
        "delivery_feedback (application=? AND feedback_id=?)",
    ),
    "erase": (
        lambda st: st.feedback.erase(FeedbackQuery(session_id="session"), at=NOON),
        "delivery_feedback (application=? AND feedback_id=?)",
    ),
    "deliveries removed by an erasure": (
        lambda st: st.feedback.erase(FeedbackQuery(session_id="session"), at=NOON),
        "feedback USING PRIMARY KEY (application=? AND id=?)",
    ),
    "alerts that list erased feedback": (
        lambda st: st.feedback.erase(FeedbackQuery(session_id="session"), at=NOON),
        "alert_feedback USING PRIMARY KEY (application=? AND feedback_id=?)",
    ),
    "alerts about erased feedback": (
        lambda st: st.feedback.erase(FeedbackQuery(session_id="session"), at=NOON),
        "alert USING PRIMARY KEY (application=? AND id=?)",
    ),
    "alerts about an erased session": (
        lambda st: st.feedback.erase(FeedbackQuery(session_id="session"), at=NOON),
        "alert_session (application=? AND subject=?)",
    ),
    "remaining feedback of an alert's session": (
        _erase_with_alert,
        "feedback_session (application=? AND session_id=?)",
    ),
    "forget": (
        lambda st: st.outbox.forget(before=_LATER),
        "delivery_channel (channel=? AND state=? AND late=? AND due_at<?)",
    ),
    "several entries": (
        lambda st: st.feedback.get_many("default", ["a", "b"]),
        "feedback USING PRIMARY KEY (application=? AND id=?)",
    ),
    "a repeated submission": (
        lambda st: [st.feedback.add(accepted(a_feedback(author="a", idempotency_key="k"))) for _ in range(2)],
        "feedback_key (application=? AND session_id=? AND idempotency_key=? AND <expr>=?)",
    ),
    "the size of a session's metadata": (
        lambda st: st.sessions.update("default", "s", {"a": 1}),
        "session_metadata USING PRIMARY KEY (application=? AND session_id=?)",
    ),
    "a change of a session's metadata": (
        lambda st: st.sessions.change("default", "s", lambda before: {**before, "a": 1}),
        "session_metadata USING PRIMARY KEY (application=? AND session_id=?)",
    ),
    "an alert": (lambda st: st.alerts.get("default", "alert"), "alert USING PRIMARY KEY (application=? AND id=?)"),
    "resolve an alert": (
        lambda st: st.alerts.replace(an_alert(version=2), an_alert(version=2).event()),
        "alert USING PRIMARY KEY (application=? AND id=?)",
    ),
    "the latest alert": (
        lambda st: st.alerts.latest("default", "streak", Subject("agent", "a")),
        "alert_subject (application=? AND rule=? AND subject_by=? AND subject=?)",
    ),
    "an agent's state": (
        lambda st: st.conversations.agent("default", "s", "helper"),
        "agent USING PRIMARY KEY (application=? AND session_id=? AND agent_id=?)",
    ),
    "the states of a session's agents": (
        lambda st: st.conversations.agents("default", "s"),
        "agent USING PRIMARY KEY (application=? AND session_id=?)",
    ),
    "speakers": (
        lambda st: st.conversations.speakers("default", "s"),
        "sqlite_autoindex_message_1 (application=? AND session_id=?)",
    ),
    "a page of messages": (
        lambda st: st.conversations.messages("default", "s", "helper", limit=2, after=7),
        "sqlite_autoindex_message_1 (application=? AND session_id=? AND agent_id=? AND number>?)",
    ),
    "replace a message": (
        lambda st: st.conversations.replace("default", "s", "helper", 7, {}),
        "sqlite_autoindex_message_1 (application=? AND session_id=? AND agent_id=? AND number=?)",
    ),
    "count messages": (
        lambda st: st.conversations.count("default", "s"),
        "COVERING INDEX sqlite_autoindex_message_1 (application=? AND session_id=?)",
    ),
    "sessions with conversations": (
        lambda st: list(st.conversations.sessions()),
        "COVERING INDEX sqlite_autoindex_message_1 ((application,session_id)>(?,?))",
    ),
    "erase a session": (
        lambda st: st.conversations.erase("default", "s"),
        "sqlite_autoindex_message_1 (application=? AND session_id=?)",
    ),
    "alerts": (lambda st: st.alerts.find("default", limit=9), "alert_time (application=?)"),
    "the next page of alerts": (
        lambda st: st.alerts.find("default", limit=9, after=an_alert()),
        "alert_time (application=? AND (raised_at,id)<(?,?))",
    ),
    "recent alerts": (
        lambda st: st.alerts.find("default", limit=9, since=NOON),
        "alert_time (application=? AND raised_at>?)",
    ),
    "open alerts": (
        lambda st: st.alerts.find("default", limit=9, open=True),
        "alert_standing (application=?)",
    ),
    "resolved alerts": (
        lambda st: st.alerts.find("default", limit=9, open=False),
        "alert_time (application=?)",
    ),
    "alerts of a rule": (
        lambda st: st.alerts.find("default", limit=9, rule="streak"),
        "alert_rule (application=? AND rule=?)",
    ),
    "a state entry": (lambda st: st.state.get("route", "a"), "document USING PRIMARY KEY (kind=? AND name=?)"),
    "state entries of a kind": (lambda st: st.state.all("route"), "document USING PRIMARY KEY (kind=?)"),
    "replace a state entry": (
        lambda st: st.state.put("route", StateEntry("a", {}, 2)),
        "document USING PRIMARY KEY (kind=? AND name=?)",
    ),
    "delete a state entry": (
        lambda st: st.state.delete("route", "a"),
        "document USING PRIMARY KEY (kind=? AND name=?)",
    ),
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the statements sent to SQLite, with their values."""
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return statements


@pytest.fixture
def no_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches start no thread that indexes comments, whose statements would be recorded."""
    monkeypatch.setattr(comment_index.CommentIndexer, "wake", lambda *_: None)


@pytest.mark.usefixtures("no_indexing")
@pytest.mark.parametrize("asked", _ASKED)
def test_queries_use_an_index(asked: str, tmp_path: Path, sent: list[str]) -> None:
    """Reading one session, author or agent reads no rows of others, even in a small file."""
    call, by = _ASKED[asked]
    path = tmp_path / "feedback.db"
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.collection.restore([*a_series(5), a_feedback(id="held", moderation=Moderation.held("spam"))])
        sent.clear()
        call(hk)
        statements = [text for text in sent if text.startswith(("SELECT", "DELETE FROM feedback"))]
    by_statement = [_plans(path, text) for text in statements]
    for of_statement in by_statement:
        # The subquery of the newest thumbs has the name of the table.
        assert "SCAN feedback" not in of_statement or "CO-ROUTINE feedback" in of_statement
    plans = [plan for of_statement in by_statement for plan in of_statement]
    assert any("feedback" in plan for plan in plans)
    # Only a session and the moderation queue are small enough to be sorted.
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans
    for plan in plans:
        assert by in plan or "USE TEMP B-TREE FOR GROUP BY" in plan or "SEARCH feedback USING" not in plan, plan


@pytest.mark.usefixtures("no_indexing")
def test_words_are_looked_up_once_for_several_agents(
    tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times at which comments have a word are looked up once, not once for each agent."""
    for name, value in {"ENTRIES": 5, "WALKED": 1, "_COST": 0}.items():
        monkeypatch.setattr(comment_index, name, value)
    monkeypatch.setattr(sqlite_index, "_NEWEST", 1)
    path = tmp_path / "feedback.db"
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.collection.restore([with_content(one, comment="so slow") for one in a_series(20, agent_id="b")])
        hk.index_comments()
        sent.clear()
        hk.feedback(text="slow", agent_id=["helper", "b", "c"])
        statements = [text for text in sent if "json_each" in text and "FROM feedback" in text]
    plans = [plan for text in statements for plan in _plans(path, text) if plan.startswith("SEARCH")]
    assert plans
    assert all("feedback_time (application=? AND created_at=?)" in plan for plan in plans)


def test_statistics_of_a_period_read_its_counters_only(tmp_path: Path, sent: list[str]) -> None:
    """Counters are sorted by agent: those of a period are found agent by agent, without those of other times."""
    path = tmp_path / "feedback.db"
    entries = [
        a_feedback(agent_id=agent, created_at=NOON - timedelta(days=days))
        for agent in ("helper", "b", None)
        for days in (0, 1, 40)
    ]
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.collection.restore(entries)
        sent.clear()
        week = hk.query(since=slot_start(slot_number(NOON)) - timedelta(days=7))
        found = hk.analytics.groups(week, GroupBy.parse("agent"))
        hk.analytics.summary(week)
        hk.analytics.groups(week, GroupBy.parse("slot"))
        statements = [text for text in sent if "FROM counter" in text]
    assert {agent: summary.total for agent, summary in found.items()} == {"helper": 2, "b": 2, None: 2}
    assert len(statements) == 3
    for text in statements:
        assert any("agent_id=? AND bucket>? AND bucket<?" in plan for plan in _plans(path, text))


@pytest.mark.parametrize("agents", ["helper", ["helper", "b", "c"]])
def test_statistics_of_agents_come_from_counters(agents: str | list[str], tmp_path: Path, sent: list[str]) -> None:
    """Counts of one or several agents, in all or by agent or time, read their counters and no feedback."""
    path = tmp_path / "feedback.db"
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.collection.restore([a_feedback(agent_id=name) for name in ("helper", "b", "d", None)])
        sent.clear()
        found = hk.summary(agent_id=agents).total
        hk.groups("agent", agent_id=agents)
        hk.summary(agent_id=agents, since=slot_start(slot_number(NOON)))
        hk.analytics.groups(hk.query(agent_id=agents), GroupBy.parse("slot"))
        statements = [text for text in sent if text.startswith("SELECT")]
    assert found == (1 if agents == "helper" else 2)
    plans = [plan for text in statements for plan in _plans(path, text)]
    read = {plan.partition(" (")[0] for plan in plans if plan.startswith(("SCAN", "SEARCH"))}
    assert read == {"SEARCH counter USING PRIMARY KEY"}
    assert all("agent_id=?" in plan for plan in plans if plan.startswith("SEARCH"))


@pytest.mark.parametrize("done", _DONE)
def test_operations_use_an_index(done: str, tmp_path: Path, sent: list[str]) -> None:
    """With any number of events, deliveries and alerts, no unneeded row is read, and none is sorted."""
    call, by = _DONE[done]
    path = tmp_path / "feedback.db"
    with open_storage(f"sqlite:///{path}") as storage:
        storage.feedback.add(accepted(*a_series(5)))
        plan = [(event, ["log", "mail"]) for event in storage.outbox.events(limit=3)]
        storage.outbox.fan_out(plan, due_at=NOON)
        sent.clear()
        call(storage)
        statements = [text for text in sent if text.strip().startswith(("SELECT", "WITH", "UPDATE", "DELETE"))]
    plans = [step for text in statements for step in _plans(path, text)]
    assert any(by in step for step in plans), plans
    for table in ("event", "delivery", "alert", "document", "feedback", "agent", "message"):
        assert not [step for step in plans if step == f"SCAN {table}"]
    # Events of the same time may be sorted by the last column, but never all of them.
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans


#: The index by which triggers find other deliveries about one subject to one channel.
_LANE: Final = "SEARCH delivery USING INDEX delivery_order (application=? AND feedback_id=? AND channel=?"
_ONE: Final = "SEARCH delivery USING PRIMARY KEY (id=?)"
_MARKING: Final = {_ONE, f"{_LANE} AND version<?)", f"{_LANE} AND version>?)"}
_UNMARKING: Final = {f"{_LANE})", f"{_LANE} AND version=?)"}
_LISTED: Final = "SCAN listed VIRTUAL TABLE INDEX 1:"
_UNLISTED: Final = "SEARCH alert_feedback USING PRIMARY KEY (application=? AND feedback_id=? AND alert_id=?)"
#: The triggers, and everything that they look up.
_TRIGGERED: Final = {
    "delivery_made": _MARKING,
    "delivery_revived": _MARKING,
    "delivery_ended": {_ONE, *_UNMARKING},
    "delivery_gone": _UNMARKING,
    "feedback_forgotten": {
        "SEARCH event USING PRIMARY KEY (application=? AND feedback_id=?)",
        "SEARCH delivery USING INDEX delivery_feedback (application=? AND feedback_id=?)",
        "SEARCH told USING PRIMARY KEY (application=? AND feedback_id=?)",
    },
    "alert_listed": {_LISTED},
    "alert_relisted": {_LISTED, _UNLISTED},
    "alert_unlisted": {_LISTED, _UNLISTED},
}


@pytest.mark.parametrize("trigger", _TRIGGERED)
def test_a_trigger_finds_rows_by_their_index(trigger: str, tmp_path: Path) -> None:
    """With any number of deliveries about one feedback entry, a trigger reads no unneeded row."""
    path = tmp_path / "feedback.db"
    with open_storage(f"sqlite:///{path}"):
        connection = sqlite3.connect(path)
    ((definition,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (trigger,)).fetchall()
    connection.close()
    (body,) = re.findall(r"BEGIN(.*)END", definition, re.DOTALL)
    statements = [text for text in re.sub(r"\b(NEW|OLD)\.\w+", "'x'", body).split(";") if text.strip()]
    searches = {step for text in statements for step in _plans(path, text) if step.startswith(("SEARCH", "SCAN"))}
    assert searches == _TRIGGERED[trigger]


def _plans(path: Path, statement: str) -> list[str]:
    connection = sqlite3.connect(path)
    connection.create_function("has_words", 2, has_words)
    try:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        connection.close()

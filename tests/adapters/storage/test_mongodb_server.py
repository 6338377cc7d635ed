"""MongoDB: the commands that are sent, the indexes that are used, and what is refused."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from pymongo import MongoClient
from pymongo.errors import WriteError
from pymongo.monitoring import CommandListener

import harken
from harken import Change, FeedbackQuery, GroupBy, Harken, ModerationStatus, Rating, Target
from harken.configuration.storage_urls import open_storage
from harken.domain.errors import (
    ConfigurationError,
    DeliveryNotFound,
    StorageClosed,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.domain.events import DeliveryQuery, DeliveryState, EventType, Traits
from harken.domain.moderation import Backlog, Moderation
from harken.domain.query import Dimension
from harken.domain.routes import Route
from harken.ports.repository import DuplicateOf, Stored
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing import accepted, an_alert
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.schema import _MIGRATIONS
from support import NOON, a_feedback, in_threads

pytestmark = pytest.mark.slow

_WRITES = {"insert", "update", "delete", "findAndModify"}
_READS = {"find", "aggregate", "distinct"}


class Commands(CommandListener):
    """Records the commands sent to the server."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        self.sent.append(dict(event.command))

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass

    def named(self, names: set[str]) -> list[dict[str, Any]]:
        return [command for command in self.sent if next(iter(command)) in names]

    def on(self, collection: str, names: set[str]) -> list[dict[str, Any]]:
        return [command for command in self.named(names) if command[next(iter(command))] == f"harken_{collection}"]


@pytest.fixture
def commands() -> Commands:
    """The commands of the client below."""
    return Commands()


@pytest.fixture
def client(mongodb_url: str, commands: Commands) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of the host, with the driver's defaults."""
    with MongoClient[dict[str, Any]](mongodb_url, event_listeners=[commands]) as opened:
        yield opened


@pytest.fixture
def name(client: MongoClient[dict[str, Any]]) -> str:
    """The database of the test."""
    return client.get_default_database().name


def _everything_that_the_services_do(storage: Storage) -> None:
    """Run every read and write of every service, with every filter and grouping."""
    with harken.connect(storage) as hk:
        _all_of_it(hk, storage)


def _all_of_it(hk: Harken, storage: Storage) -> None:
    old = datetime.now(UTC) - timedelta(days=3)
    for number in range(40):
        hk.submit(
            f"session-{number % 5}",
            ("up", "down", None)[number % 3],
            "some words",
            author=f"author-{number % 4}",
            message_id=f"message-{number}",
            agent_id=f"agent-{number % 2}",
            tags=["slow"],
            context={"tier": "pro", "size": number},
            idempotency_key=f"key-{number}",
        )
    hk.collection.restore([a_feedback(f"old-{number}", created_at=old) for number in range(40)])
    for _ in range(2):
        hk.submit("session-0", "up", "some words", idempotency_key="again")
    hk.collection.set_vote(Target("session-1", "m"), "ann", "up")
    vote = hk.collection.set_vote(Target("session-1", "m"), "ann", "down", "worse").feedback
    hk.collection.change("default", vote.id, Change(comment="much worse"))
    hk.moderation.decide("default", vote.id, ModerationStatus.REJECTED, moderator="mod", reason="rude")
    hk.collection.withdraw("default", "old-3")
    assert list(hk.collection.session_entries("default", "session-1"))
    storage.feedback.extras("default", [vote.id, "old-3"])
    hk.sessions.update("default", "session-0", {"a": 1})
    hk.sessions.delete("default", "session-0", ["a"])
    hk.sessions.delete("default", "session-0")
    hk.sessions.get("default", "session-0")
    list(storage.sessions.stream())
    queries = [
        hk.query(),
        hk.query().in_any_state(),
        *(
            hk.query(**filters)
            for filters in (
                {"session_id": "session-1"},
                {"message_id": "message-1"},
                {"agent_id": "agent-1"},
                {"author": "author-1"},
                {"rating": "up"},
                {"tag": "slow"},
                {"context": {"size": 3}},
                {"agent_id": ["agent-0", "agent-1"]},
                {"agent_id": [f"agent-{number}" for number in range(50)], "rating": ["down", None]},
                {"agent_id": [f"agent-{number}" for number in range(100)]},
                {"tag": ["slow", "wrong"], "context": {"size": [3, "pro", None]}, "has_comment": True},
                {"text": "words", "agent_id": ["agent-0", "agent-1"], "has_comment": True},
                {"agent_id": ["agent-0", "agent-1"], "since": old, "until": old + timedelta(hours=1)},
                {"since": old, "until": old + timedelta(hours=1)},
            )
        ),
        FeedbackQuery(feedback_id=vote.id),
        FeedbackQuery(statuses=frozenset({ModerationStatus.PENDING})),
    ]
    groupings = [None, GroupBy(Dimension.CONTEXT, "tier")]
    groupings += [GroupBy(dimension) for dimension in Dimension if dimension is not Dimension.CONTEXT]
    for query in queries:
        page = hk.collection.find(query, limit=1)
        hk.collection.find(query, limit=1, after=page.next)
        list(hk.collection.stream(query))
        for grouping in groupings:
            storage.feedback.summarize(query, grouping)
        list(storage.feedback.ratings_by_author(query, limit=10))
    hk.analytics.keywords(hk.query())
    hk.analytics.themes(hk.query(since=old))
    _move_events_on(storage)
    hk.collection.erase(hk.query(session_id="session-4"))
    storage.feedback.applications()
    # More than are read at a time.
    hk.collection.restore([a_feedback(f"changed-{number}", version=2) for number in range(1_001)])
    changed = list(storage.feedback.changes(hk.application, since=old))
    assert changed == list(storage.feedback.changes(hk.application, since=changed[0].updated_at))
    made = hk.keys.create("default", ["read", "submit"], name="web backend")
    hk.keys.authenticate(made.text)
    hk.keys.revoke(made.key.id)
    hk.keys.keys()
    hk.rebuild()


def _move_events_on(storage: Storage) -> None:
    """Run the operations of relays and of the commands that manage deliveries."""
    raised = [an_alert(f"alert-{number}") for number in range(3)]
    for alert in raised:
        storage.alerts.add(alert, alert.event())
    resolved = raised[0].resolved(at=NOON)
    storage.alerts.replace(resolved, resolved.event())
    storage.alerts.get("default", raised[0].id)
    storage.alerts.latest("default", raised[0].rule, raised[0].subject)
    filters: list[dict[str, Any]] = [
        {},
        {"open": True},
        {"open": False},
        {"rule": "silence"},
        {"since": raised[0].raised_at},
    ]
    for some in filters:
        storage.alerts.find("default", limit=1, **some)
        storage.alerts.find("default", limit=1, after=raised[1], **some)
    outbox, until = storage.outbox, NOON + timedelta(minutes=1)
    outbox.fan_out([(event, ["log", "mail"]) for event in outbox.events(limit=1_000)], due_at=NOON)
    claimed = outbox.claim("log", now=NOON, until=until, limit=10)
    storage.feedback.get_many("default", [one.event.subject_id for one in claimed])
    outbox.back_off(claimed[1], due_at=NOON, error="busy")
    outbox.bury(claimed[2], error="gone")
    outbox.settle(claimed[:2])
    outbox.release(claimed[3:])
    outbox.delivery(claimed[2].id)
    outbox.replay(claimed[2].id, due_at=NOON)
    filters = [{}, {"application": "default"}, {"channel": "mail"}, {"application": "default", "channel": "mail"}]
    for some in filters:
        outbox.deliveries(DeliveryQuery(DeliveryState.PENDING, **some), limit=3)
        outbox.deliveries(DeliveryQuery(DeliveryState.PENDING, **some), limit=3, after=claimed[3])
    outbox.forget(before=until)
    storage.state.put("route", StateEntry("all", {"channel": "log"}))
    storage.state.put("route", StateEntry("all", {"channel": "mail"}, version=2))
    _talk(storage)
    storage.state.get("route", "all")
    storage.state.all("route")
    storage.state.delete("route", "all")


def _talk(storage: Storage) -> None:
    agent = ("default", "session", "helper")
    storage.conversations.put_agent(*agent, {"model": "local"})
    for number in range(3):
        storage.conversations.append(*agent, number, {"n": number})
    storage.conversations.replace(*agent, 1, {})
    storage.conversations.agent(*agent)
    storage.conversations.agents(*agent[:2])
    storage.conversations.speakers(*agent[:2])
    storage.conversations.messages(*agent, limit=2, after=0)
    storage.conversations.count(*agent)
    storage.conversations.count(*agent[:2])
    list(storage.conversations.sessions())
    storage.conversations.erase(*agent[:2])


def test_every_query_uses_an_index(client: MongoClient[dict[str, Any]], name: str, commands: Commands) -> None:
    """No operation of the services makes the server read a whole collection or sort in memory."""
    storage = mongo_storage(client, name)
    commands.sent.clear()
    _everything_that_the_services_do(storage)
    explained = 0
    for command in commands.named(_READS | _WRITES - {"insert"}):
        for plan in _plans(client, name, command):
            stages = list(_stages(plan))
            assert "COLLSCAN" not in stages, command
            if next(iter(command)) == "find" or "$limit" in str(command):
                assert "SORT" not in stages or command.get("hint") == "_id_", command
            explained += 1
    assert explained > 200


def test_extras_are_read_only_by_those_who_ask_for_them(
    client: MongoClient[dict[str, Any]], name: str, commands: Commands
) -> None:
    """Of all operations, the two that return extras make the server send them."""
    storage = mongo_storage(client, name)
    commands.sent.clear()
    _everything_that_the_services_do(storage)
    projections = [command.get("projection", {}) for command in commands.on("feedback", {"find"})]
    sending = [one for one in projections if one.get("extras") or not ("extras" in one or 1 in one.values())]
    assert len(sending) == 2
    assert len(projections) > 50


def _plans(client: MongoClient[dict[str, Any]], name: str, command: dict[str, Any]) -> Iterator[Any]:
    kind = next(iter(command))
    session = {
        "lsid",
        "txnNumber",
        "$clusterTime",
        "$db",
        "$readPreference",
        "writeConcern",
        "readConcern",
        "maxTimeMS",
    }
    plain = {key: value for key, value in command.items() if key not in session}
    each = {"update": "updates", "delete": "deletes"}.get(kind)
    for part in plain[each] if each else [None]:
        one = plain if part is None else {**plain, each: [part]}
        if part is not None and "multi" in part and part["multi"] is False and part.get("q", {}).get("_id") is None:
            assert part["q"], "a write without a filter"
        yield client[name].command("explain", one, verbosity="queryPlanner")


def _stages(plan: Any) -> Iterator[str]:
    if isinstance(plan, dict):
        if isinstance(plan.get("stage"), str):
            yield plan["stage"]
        for key, value in plan.items():
            if key != "rejectedPlans":
                yield from _stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _stages(value)


def test_counting_pending_feedback_reads_only_pending_feedback(
    client: MongoClient[dict[str, Any]], name: str, commands: Commands
) -> None:
    """The moderation queue is counted from the index of pending feedback, however much feedback there is."""
    held = [a_feedback(f"held-{number}", moderation=Moderation.held("spam")) for number in range(3)]
    with harken.connect(mongo_storage(client, name)) as hk:
        hk.collection.restore([*(a_feedback(f"f-{number}") for number in range(50)), *held])
        commands.sent.clear()
        assert hk.moderation.backlog("default") == Backlog(3, NOON)
    reads = commands.named(_READS)
    assert {next(iter(command)) for command in reads} == {"aggregate", "find"}
    session = {"lsid", "$clusterTime", "$db", "$readPreference", "readConcern", "maxTimeMS"}
    for command in reads:
        plain = {key: value for key, value in command.items() if key not in session}
        explained = str(client[name].command("explain", plain, verbosity="executionStats"))
        assert "'indexName': 'pending'" in explained
        examined = [int(number) for number in re.findall(r"'(?:totalDocsExamined|docsExamined)': (\d+)", explained)]
        assert examined
        assert max(examined) <= len(held)


def test_writes_are_majority_and_journaled_regardless_of_the_defaults(
    client: MongoClient[dict[str, Any]], name: str, commands: Commands
) -> None:
    """Every write waits for the journal of a majority, and every read returns only what a majority has."""
    storage = mongo_storage(client, name)
    _everything_that_the_services_do(storage)
    writes, reads = commands.named(_WRITES), commands.named(_READS)
    assert len(writes) > 50
    assert len(reads) > 50
    assert [command for command in writes if command.get("writeConcern", {}).get("w") != "majority"] == []
    assert [command for command in writes if command["writeConcern"].get("j") is not True] == []
    assert [command for command in reads if command.get("readConcern") != {"level": "majority"}] == []
    assert [command for command in (*writes, *reads) if "maxTimeMS" not in command] == []


def test_a_host_keeps_its_client(client: MongoClient[dict[str, Any]], name: str) -> None:
    """A client that the host owns still works after Harken was closed."""
    with harken.connect(mongo_storage(client, name)) as hk:
        hk.submit("session", "up")
    assert client[name]["harken_feedback"].count_documents({}) == 1


def test_a_client_that_harken_opened_is_closed(mongodb_url: str) -> None:
    """After it was closed, a Harken that opened its own client refuses every call."""
    with harken.connect(mongodb_url) as hk:
        hk.submit("session", "up")
    with pytest.raises(StorageClosed, match="connect again"):
        hk.summary()


def test_a_client_from_before_a_fork_is_refused(mongodb_url: str) -> None:
    """After a fork, the child gets a clear error instead of a broken connection, and the parent continues."""
    with harken.connect(mongodb_url) as hk:
        hk.submit("session", "up")
        said = _in_child(hk.summary)
        assert "StorageClosed" in said
        assert "connect again after forking" in said
        assert hk.summary().total == 1


def _in_child(call: Callable[[], object]) -> str:
    """Return the result or error of a call in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = repr(call())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_an_unreachable_server_is_unavailable() -> None:
    """Within the time limit, the error says what could not be reached."""
    with pytest.raises(StorageUnavailable, match="could not be reached in time") as caught:
        harken.connect("mongodb://127.0.0.1:1/feedback?timeoutMS=300")
    # Nothing was to be stored yet.
    assert "stored" not in str(caught.value)


def test_only_a_write_that_fails_may_have_been_stored() -> None:
    """The error of a read does not speak of writes."""
    client: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", connect=False)
    with client, closing(Database(client, "feedback", timeout=0.05)) as database:
        with pytest.raises(StorageUnavailable, match="could not be reached in time") as caught, database.reading():
            database.feedback.find_one()
        assert "stored" not in str(caught.value)
        with (
            pytest.raises(StorageUnavailable, match="it may have been stored; it is safe to repeat"),
            database.calling(),
        ):
            database.feedback.insert_one({})


@pytest.mark.parametrize("wrong", ["127.0.0.1:port/feedback", "127.0.0.1/feedback?nonsense=1"])
def test_a_url_that_the_driver_rejects_is_a_configuration_error(wrong: str) -> None:
    """Options that only the driver can check also raise Harken's error."""
    with pytest.raises(ConfigurationError, match="driver rejects the URL"):
        harken.connect(f"mongodb://{wrong}")


@pytest.mark.parametrize("timeout", [0, -1.0, 61, float("nan")])
def test_an_invalid_time_limit_is_refused(client: MongoClient[dict[str, Any]], timeout: float) -> None:
    """A call may take up to a minute, also with the host's own client."""
    with pytest.raises(ConfigurationError, match="at most 60 seconds"):
        mongo_storage(client, timeout=timeout)


def test_deliveries_left_by_an_interrupted_erasure_are_not_sent(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Deliveries that an interrupted erasure did not remove are neither listed nor sent."""
    storage = mongo_storage(client, name)
    outbox, later = storage.outbox, NOON + timedelta(minutes=2)
    storage.feedback.add(accepted(a_feedback("f1"), a_feedback("f2"), a_feedback("f3")))
    outbox.fan_out([(event, ["log"]) for event in outbox.events(limit=9)], due_at=NOON)
    claimed = outbox.claim("log", now=NOON, until=later, limit=9)
    for claim in claimed[:2]:
        outbox.bury(claim, error="gone")
    assert len(outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=9)) == 2
    client[name]["harken_feedback"].delete_many({})
    assert outbox.claim("log", now=later, until=later + timedelta(minutes=1), limit=9) == []
    with pytest.raises(DeliveryNotFound):
        outbox.replay(claimed[0].id, due_at=NOON)
    assert outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=9) == []
    assert client[name]["harken_deliveries"].count_documents({}) == 0


def test_the_server_refuses_foreign_documents(client: MongoClient[dict[str, Any]], name: str) -> None:
    """A program that bypasses Harken cannot store documents that Harken could not read."""
    mongo_storage(client, name)
    with pytest.raises(WriteError):
        client[name]["harken_feedback"].insert_one({"rating": "sideways"})
    with pytest.raises(WriteError):
        client[name]["harken_deliveries"].insert_one({"state": "lost"})
    with pytest.raises(WriteError):
        client[name]["harken_keys"].insert_one({"_id": "mine", "scopes": "everything"})
    with pytest.raises(WriteError):
        client[name]["harken_alerts"].insert_one({"rule": "streak"})
    with pytest.raises(WriteError):
        client[name]["harken_documents"].insert_one({"kind": "route", "name": "all", "value": {}})
    with pytest.raises(WriteError):
        client[name]["harken_agents"].insert_one({"agent_id": "helper"})
    with pytest.raises(WriteError):
        client[name]["harken_messages"].insert_one({"agent_id": "helper", "number": -1})


def test_a_document_that_is_too_large_is_refused_alone(mongodb_url: str) -> None:
    """A document that exceeds MongoDB's limit gives a clear error, and other documents are stored."""
    with open_storage(mongodb_url) as storage:
        kept = a_feedback()
        storage.feedback.add(accepted(kept))
        with pytest.raises(StorageError, match="16 MB"):
            storage.feedback.replace(kept.answered("x" * 17_000_000, at=NOON), [])
        assert storage.feedback.get("default", kept.id) == kept


def test_no_sequence_of_changes_makes_a_document_too_large(mongodb_url: str) -> None:
    """However often an author changes feedback within the rules, MongoDB never refuses the document."""
    with harken.connect(mongodb_url) as hk:
        longest = {f"name-{number}": "\U0001f44d" * 1_000 for number in range(50)}
        feedback = hk.submit("session", "up").feedback
        for number in range(60):
            change = Change(comment=f"{number}", context={**longest, "name-0": f"{number}"})
            feedback = hk.collection.change("default", feedback.id, change)
        assert hk.collection.get("default", feedback.id) == feedback
        assert [revision.version for revision in feedback.revisions] == [1, *range(22, 61)]
        assert hk.collection.withdraw("default", feedback.id).withdrawn


def test_no_number_of_waiting_events_makes_a_document_too_large(client: MongoClient[dict[str, Any]], name: str) -> None:
    """While no relay runs, the events of many changes are merged, so that routes still detect matching filters."""
    thumbs_down = Route(name="down", channel="log", events=[EventType.CREATED], ratings=[Rating.DOWN])
    with harken.connect(mongo_storage(client, name)) as hk:
        hk.collection.set_vote(harken.Target("s"), "ann", "up")
        vote = hk.collection.set_vote(harken.Target("s"), "ann", "down", "Wrong")
        for number in range(1_050):
            latest = hk.collection.reply("default", vote.feedback.id, f"Answer {number}")
        (document,) = client[name]["harken_feedback"].find()
        waiting = [(event["type"], event["version"]) for event in document["events"]]
        assert len(waiting) <= 1_000
        assert waiting[0] == ("feedback.created", 1)
        assert waiting[-1] == ("feedback.updated", latest.version) == ("feedback.updated", 1_052)
        events = list(hk.outbox.events(limit=2_000))
        assert [event.version for event in events] == [version for _, version in waiting]
        assert EventType.CREATED in [thumbs_down.type_for(event, Traits.of(latest)) for event in events]


def test_many_processes_may_connect_first(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Many processes that connect to an empty database at once can all work, and it is created once."""
    opened = in_threads([lambda: mongo_storage(client, name)] * 6)
    assert [one for one in opened if isinstance(one, BaseException)] == []
    assert client[name]["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(_MIGRATIONS)}


def test_a_submission_does_not_write_the_index_of_changes(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Only changed feedback is in the index of changes, so it does not slow down submissions."""
    with harken.connect(mongo_storage(client, name)) as hk:
        kept = [hk.submit("session", "up").feedback for _ in range(5)]
        assert _entries(client, name) == 0
        hk.collection.withdraw("default", kept[0].id)
        assert _entries(client, name) == 1


def _entries(client: MongoClient[dict[str, Any]], name: str) -> int:
    """Return the number of entries in the index of changes."""
    entries: int = client[name].command("validate", "harken_feedback")["keysPerIndex"]["changed"]
    return entries


def test_a_database_of_the_first_version_is_migrated(client: MongoClient[dict[str, Any]], name: str) -> None:
    """A database from before API keys and the feed of changes keeps its content and supports both."""
    with harken.connect(mongo_storage(client, name)) as hk:
        first, other = (hk.submit("session", "up").feedback for _ in range(2))
        changed = hk.collection.reply("default", first.id, "Thanks")
    client[name]["harken_keys"].drop()
    client[name]["harken_feedback"].drop_index("changed")
    client[name]["harken_meta"].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    storage = mongo_storage(client, name)
    with harken.connect(storage) as hk:
        assert list(hk.export()) == [changed, other]
        assert list(storage.feedback.changes("default", since=changed.updated_at)) == [changed]
        made = hk.keys.create("default", ["read"])
        assert hk.keys.authenticate(made.text) == made.key
    assert client[name]["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(_MIGRATIONS)}


def test_a_database_from_before_alerts_is_migrated(client: MongoClient[dict[str, Any]], name: str) -> None:
    """A database whose deliveries were all about feedback keeps them and accepts those about alerts."""
    storage = mongo_storage(client, name)
    storage.feedback.add(accepted(a_feedback()))
    (made,) = storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
    for collection in ("alerts", "documents"):
        client[name][f"harken_{collection}"].drop()
    client[name]["harken_deliveries"].drop_index("claims")
    only_feedback = {"$jsonSchema": {"required": ["feedback_id"]}}
    client[name].command("collMod", "harken_deliveries", validator=only_feedback)
    client[name]["harken_meta"].update_one({"_id": "schema"}, {"$set": {"version": 2}})
    storage = mongo_storage(client, name)
    alert = an_alert()
    assert storage.alerts.add(alert, alert.event())
    (new,) = storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
    claimed = storage.outbox.claim("log", now=NOON, until=NOON + timedelta(minutes=1), limit=9)
    assert {claim.id for claim in claimed} == {made.id, new.id}
    assert client[name]["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(_MIGRATIONS)}


def test_a_database_from_before_conversations_is_migrated(client: MongoClient[dict[str, Any]], name: str) -> None:
    """The database keeps its content and accepts conversations."""
    kept = mongo_storage(client, name).feedback.add(accepted(a_feedback()))
    for collection in ("agents", "messages"):
        client[name][f"harken_{collection}"].drop()
    client[name]["harken_meta"].update_one({"_id": "schema"}, {"$set": {"version": 3}})
    storage = mongo_storage(client, name)
    assert [Stored(one) for one in storage.feedback.stream(FeedbackQuery())] == list(kept)
    assert [storage.conversations.append("default", "s", "helper", 0, {}) for _ in range(2)] == [True, False]
    assert client[name]["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(_MIGRATIONS)}


def _taken_back_to_the_fourth(client: MongoClient[dict[str, Any]], name: str) -> None:
    feedback = client[name]["harken_feedback"]
    fields = [("application", 1), ("session_id", 1), ("idempotency_key", 1)]
    only_keys = {"idempotency_key": {"$exists": True}}
    feedback.create_index(fields, name="key", unique=True, partialFilterExpression=only_keys)
    feedback.drop_index("author_key")
    client[name]["harken_meta"].update_one({"_id": "schema"}, {"$set": {"version": 4}})


def _indexes(client: MongoClient[dict[str, Any]], name: str) -> set[str]:
    return {"key", "author_key"} & client[name]["harken_feedback"].index_information().keys()


def test_a_database_with_keys_per_session_is_migrated(client: MongoClient[dict[str, Any]], name: str) -> None:
    """The database keeps its feedback and API keys; each author now has separate idempotency keys in one index."""
    with harken.connect(mongo_storage(client, name)) as hk:
        kept = [hk.submit("s", "up", author=author, idempotency_key=f"k-{author}").feedback for author in ("ann", None)]
        key = hk.keys.create("default", ["read"])
        hk.sessions.update("default", "s", {"a": 1})
    client[name]["harken_sessions"].update_one({}, {"$unset": {"revision": ""}})
    _taken_back_to_the_fourth(client, name)
    with harken.connect(mongo_storage(client, name)) as hk:
        assert list(hk.export()) == kept
        assert hk.keys.authenticate(key.text) == key.key
        assert hk.submit("s", "up", author="ann", idempotency_key="k-ann").duplicate
        assert not hk.submit("s", "up", author="bob", idempotency_key="k-ann").duplicate
        hk.sessions.update("default", "s", {"b": 2})
        assert hk.sessions.get("default", "s") == {"a": 1, "b": 2}
        limited = hk.keys.create("default", ["read"], agents=["helper"])
        assert hk.keys.authenticate(limited.text).agents == {"helper"}
    assert _indexes(client, name) == {"author_key"}
    assert client[name]["harken_meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": len(_MIGRATIONS)}


@pytest.mark.parametrize("died", ["before the old index went", "before the version was noted"])
def test_replacing_an_index_can_be_interrupted(client: MongoClient[dict[str, Any]], name: str, died: str) -> None:
    """After an interruption, several processes that open the database all get the new index and no error."""
    storage = mongo_storage(client, name)
    first = a_feedback(author="ann", idempotency_key="k")
    storage.feedback.add(accepted(first))
    _taken_back_to_the_fourth(client, name)
    fields = [("application", 1), ("session_id", 1), ("idempotency_key", 1), ("author", 1)]
    only_keys = {"idempotency_key": {"$exists": True}}
    feedback = client[name]["harken_feedback"]
    feedback.create_index(fields, name="author_key", unique=True, partialFilterExpression=only_keys)
    if died == "before the version was noted":
        feedback.drop_index("key")
    opened = in_threads([lambda: mongo_storage(client, name)] * 4)
    assert [one for one in opened if isinstance(one, BaseException)] == []
    assert _indexes(client, name) == {"author_key"}
    again = evolve(first, id="again")
    assert list(mongo_storage(client, name).feedback.add(accepted(again))) == [DuplicateOf(first)]


def test_the_previous_version_grants_nothing_to_a_limited_key(client: MongoClient[dict[str, Any]], name: str) -> None:
    """The previous version does not support keys limited to agents, and must not treat them as unlimited."""
    with harken.connect(mongo_storage(client, name)) as hk:
        limited = hk.keys.create("default", ["read", "admin"], agents=["helper"]).key
        other = hk.keys.create("default", ["read"]).key
    scopes = {key["_id"]: key["scopes"] for key in client[name]["harken_keys"].find()}
    assert scopes == {limited.id: [], other.id: ["read"]}


def test_a_newer_schema_is_refused(client: MongoClient[dict[str, Any]], name: str) -> None:
    """An older version refuses a database that a newer version migrated."""
    mongo_storage(client, name)
    client[name]["harken_meta"].update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(StorageIncompatible, match="update Harken"):
        mongo_storage(client, name)


def test_foreign_collections_are_refused(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Collections with Harken's names that it did not create are not used; other collections do not matter."""
    client[name]["sessions"].insert_one({"mine": True})
    client[name]["harken_feedback"].insert_one({"mine": True})
    with pytest.raises(StorageIncompatible, match="choose another database"):
        mongo_storage(client, name)
    assert client[name]["harken_feedback"].count_documents({"mine": True}) == 1


def test_the_lock_of_a_dead_migration_expires(client: MongoClient[dict[str, Any]], name: str) -> None:
    """An expired lock blocks no process; a valid one blocks others for as long as a call may take."""
    meta = client[name]["harken_meta"]
    until = datetime.now(UTC) + timedelta(minutes=1)
    meta.insert_one({"_id": "schema", "version": 0, "holder": "another process", "locked_until": until})
    with pytest.raises(StorageUnavailable, match="another process"):
        mongo_storage(client, name, timeout=0.3)
    meta.update_one({"_id": "schema"}, {"$set": {"locked_until": until - timedelta(minutes=2)}})
    with harken.connect(mongo_storage(client, name)) as hk:
        hk.submit("session", "up")
        assert hk.summary().total == 1


def test_values_never_become_operators(mongodb_url: str) -> None:
    """Text that looks like an operator or a path is stored, found and erased literally."""
    strange = ["$ne", "$where", "a.b", "$", ".", '{"$ne": null}', "$$ROOT", "tags.0"]
    with harken.connect(mongodb_url) as hk:
        for text in strange:
            hk.submit(text, "up", text, author=text, agent_id=text, tags=[text], context={"plan": text})
        for text in strange:
            for filters in ({"session_id": text}, {"author": text}, {"agent_id": text}, {"tag": text}):
                assert [one.comment for one in hk.feedback(**filters).items] == [text]
            assert [one.comment for one in hk.feedback(context={"plan": text}).items] == [text]
        assert set(hk.analytics.groups(hk.query(), GroupBy(Dimension.AGENT))) == set(strange)
        assert set(hk.analytics.groups(hk.query(), GroupBy(Dimension.CONTEXT, "plan"))) == set(strange)
        hk.sessions.update("$ne", "a.b", {"plan": {"inner": "$set"}})
        assert hk.sessions.get("$ne", "a.b") == {"plan": {"inner": "$set"}}
        assert hk.collection.erase(hk.query(session_id="$ne")).feedback == 1
        assert hk.summary().total == len(strange) - 1


def test_each_item_of_a_batch_has_its_own_outcome(mongodb_url: str) -> None:
    """Each item that cannot be stored gets an error, and the others are stored."""
    with harken.connect(mongodb_url) as hk:
        first = [a_feedback(f"f{number}", idempotency_key=f"k{number}", fingerprint="x") for number in range(5)]
        hk.collection.restore(first)
        again = [evolve(one, id=f"g{number}") for number, one in enumerate(first)]
        other = [evolve(one, id=f"h{number}", fingerprint="y") for number, one in enumerate(first)]
        new = [a_feedback(f"n{number}", rating=Rating.DOWN, comment="no") for number in range(5)]
        mixed = [one for four in zip(again, new, other, first, strict=True) for one in four]
        outcomes = hk.collection.restore(mixed)
        assert [type(one).__name__ for one in outcomes] == ["DuplicateOf", "Stored", "Conflict", "DuplicateOf"] * 5
        assert hk.summary().total == 10

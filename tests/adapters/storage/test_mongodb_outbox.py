"""The outbox in MongoDB: concurrent relays, killed relays, change streams, and the number of calls."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from threading import Event as Flag
from threading import Thread
from threading import enumerate as enumerate_threads
from typing import Any

import mongomock
import pytest
from pymongo import MongoClient

import mongod
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.ports.storage import Storage
from harken.testing import accepted, an_alert
from harken_adapters.storage.mongodb import mongo_storage, open_storage
from interference import Interference
from support import NOON, PATIENCE, a_feedback, in_threads

pytestmark = pytest.mark.slow

SOON = NOON + timedelta(minutes=1)


@pytest.fixture
def interference() -> Interference:
    """The commands of ``ours``, between which a test can act."""
    return Interference()


@pytest.fixture
def ours(mongodb_url: str, interference: Interference) -> Iterator[Storage]:
    """A storage whose commands are observed."""
    with MongoClient[dict[str, Any]](mongodb_url, event_listeners=[interference]) as client:
        yield mongo_storage(client, client.get_default_database().name)


@pytest.fixture
def other(ours: Storage, mongodb_url: str) -> Iterator[Storage]:
    """The same data through another client, as used by another process."""
    with open_storage(mongodb_url) as storage:
        yield storage


def _submit(storage: Storage, number: int) -> list[Event]:
    """Submit new feedback and return the waiting events."""
    storage.feedback.add(accepted(*(a_feedback(f"f{one:04}") for one in range(number))))
    return list(storage.outbox.events(limit=2 * number))


def _to(events: list[Event], *channels: str) -> list[tuple[Event, tuple[str, ...]]]:
    return [(event, channels) for event in events]


def _ids(deliveries: Any) -> list[str]:
    return [delivery.id for delivery in deliveries]


def test_a_batch_needs_as_many_calls_as_one_event(ours: Storage, interference: Interference) -> None:
    """Fanning out hundreds of events needs no more calls than one."""
    costs = []
    for number in (1, 400):
        events = _submit(ours, number)
        before = interference.sent
        ours.feedback.get_many("default", [event.subject_id for event in events])
        ours.outbox.fan_out(_to(events, "log", "mail"), due_at=NOON)
        for channel in ("log", "mail"):
            claimed = ours.outbox.claim(channel, now=NOON, until=SOON, limit=number)
            ours.outbox.release(claimed[number // 2 :])
            assert ours.outbox.settle(claimed[: number // 2]) == []
            claimed = ours.outbox.claim(channel, now=NOON, until=SOON, limit=number - number // 2)
            assert ours.outbox.settle(claimed) == []
        costs.append(interference.sent - before)
        _forget_all(ours)
    # Settling nothing makes no call, so there are two calls for each channel.
    assert costs[1] <= costs[0] + 4
    assert costs[0] < 28


def _forget_all(storage: Storage) -> None:
    storage.outbox.forget(before=SOON)
    assert storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9) == []


def test_concurrent_relays_share_the_work(ours: Storage, other: Storage) -> None:
    """Concurrent relays create, lease and settle each delivery once."""
    events = _submit(ours, 150)
    storages = [ours, other] * 3
    made = in_threads([lambda one=one: one.outbox.fan_out(_to(events, "log"), due_at=NOON) for one in storages])
    assert sorted(one for some in made for one in _ids(some)) == sorted(_ids(_deliveries_of(events, "log")))
    assert ours.outbox.events(limit=9) == []
    settled = [one for some in in_threads([lambda one=one: _send_all(one) for one in storages]) for one in some]
    assert sorted(settled) == sorted(_ids(_deliveries_of(events, "log")))
    assert len(ours.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=1_000)) == 150


def _deliveries_of(events: list[Event], *channels: str) -> list[Delivery]:
    return [Delivery.of(event, channel, due_at=NOON) for event in events for channel in channels]


def _send_all(storage: Storage) -> list[str]:
    """Claim and settle until nothing is left. Returns the ids of all claimed deliveries."""
    claimed: list[str] = []
    while some := storage.outbox.claim("log", now=NOON, until=SOON, limit=20):
        assert storage.outbox.settle(some) == []
        claimed += _ids(some)
    return claimed


def test_another_relay_may_take_some_events_first(ours: Storage, other: Storage, interference: Interference) -> None:
    """Events that another relay takes during a fan-out are returned to that relay, and the others to this one."""
    events = _submit(ours, 10)
    theirs: list[Delivery] = []
    interference.after("insert", lambda: theirs.extend(other.outbox.fan_out(_to(events[:3], "log"), due_at=NOON)))
    made = ours.outbox.fan_out(_to(events, "log"), due_at=NOON)
    assert _ids(theirs) == _ids(_deliveries_of(events[:3], "log"))
    assert _ids(made) == _ids(_deliveries_of(events[3:], "log"))
    assert len(ours.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)) == 10


def test_feedback_erased_during_a_fan_out_leaves_no_delivery(
    ours: Storage, other: Storage, interference: Interference, mongodb_url: str
) -> None:
    """If feedback is erased after its deliveries were stored and before they are read, they are removed."""
    events = _submit(ours, 5)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        feedback = client.get_default_database()["harken_feedback"]
        # An erasure that read the deliveries before any existed.
        interference.after("insert", lambda: feedback.delete_one({"id": events[2].subject_id}))
        made = ours.outbox.fan_out(_to(events, "log"), due_at=NOON)
        kept = [*events[:2], *events[3:]]
        assert _ids(made) == _ids(_deliveries_of(kept, "log"))
        stored = client.get_default_database()["harken_deliveries"].distinct("_id")
        assert sorted(stored) == sorted(_ids(made))


def test_a_relay_killed_between_two_writes_loses_nothing(ours: Storage, mongodb_url: str) -> None:
    """Events whose deliveries exist are removed, and the deliveries are not changed."""
    events = _submit(ours, 4)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        feedback = client.get_default_database()["harken_feedback"]
        listed = list(feedback.find({}, {"events": 1}))
        ours.outbox.fan_out(_to(events, "log"), due_at=NOON)
        (first,) = ours.outbox.claim("log", now=NOON, until=SOON, limit=1)
        assert ours.outbox.settle([first]) == []
        # The state after a relay died before it removed the events.
        for document in listed:
            feedback.update_one({"_id": document["_id"]}, {"$set": {"events": document["events"]}})
    assert ours.outbox.events(limit=9) == events
    found = ours.outbox.fan_out(_to(events, "log", "mail"), due_at=SOON)
    assert _ids(found) == _ids(_deliveries_of(events, "log", "mail"))
    assert [one.due_at for one in found] == [NOON, SOON] * 4
    assert [one.id for one in found if one.state is DeliveryState.DELIVERED] == [first.id]
    assert ours.outbox.events(limit=9) == []


class Watcher:
    """Reads events whenever it is nudged, and at no other time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen: set[str] = set()
        self._nudged = Flag()

    def nudge(self) -> None:
        self._nudged.set()

    def wait_for(self, subject_id: str) -> None:
        """Wait until it was nudged and the event was stored."""
        while subject_id not in self._seen:
            assert self._nudged.wait(PATIENCE), f"it was not nudged for {subject_id}"
            self._nudged.clear()
            self._seen = {event.subject_id for event in self._storage.outbox.events(limit=99)}


def _watches() -> list[Thread]:
    return [thread for thread in enumerate_threads() if thread.name == "harken-watch"]


def test_writes_of_another_process_are_reported(ours: Storage, other: Storage) -> None:
    """On a replica set, a watcher is nudged when another client stores events about feedback or alerts."""
    watcher, kept = Watcher(other), a_feedback("f0")
    with other.outbox.watching(watcher.nudge):
        ours.feedback.add(accepted(kept))
        watcher.wait_for("f0")
        ours.outbox.fan_out(_to(list(ours.outbox.events(limit=9)), "log"), due_at=NOON)
        for number in range(1, 4):
            ours.feedback.add(accepted(a_feedback(f"f{number}")))
            watcher.wait_for(f"f{number}")
        answered = kept.answered("Thanks", at=NOON)
        ours.feedback.replace(answered, [Event.about(answered, EventType.UPDATED)])
        watcher.wait_for("f0")
        alert = an_alert()
        assert ours.alerts.add(alert, alert.event())
        watcher.wait_for(alert.id)
    assert _watches() == []


def test_watching_resumes_when_the_server_returns(caplog: pytest.LogCaptureFixture) -> None:
    """One warning is logged for an absent server, and it is watched again when it returns."""
    with mongod.replica_set() as deployment, ExitStack() as stack:
        urls = [mongod.with_database(deployment.url, "relays", timeoutMS=limit) for limit in (20_000, 300)]
        writing, watching = (stack.enter_context(open_storage(url)) for url in urls)
        watcher = Watcher(writing)
        stack.enter_context(watching.outbox.watching(watcher.nudge))
        writing.feedback.add(accepted(a_feedback("before")))
        watcher.wait_for("before")
        (server,) = deployment.members
        server.kill()
        mongod.until(lambda: caplog.records, "it complained")
        server.start()
        writing.feedback.add(accepted(a_feedback("after")))
        watcher.wait_for("after")
        assert ["Cannot watch for changes" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("open_one", ["standalone", "mongomock"])
def test_a_standalone_server_is_not_watched(open_one: str) -> None:
    """A standalone server has no change streams: the watcher is never nudged, and nothing keeps running."""
    nudges: list[None] = []
    with ExitStack() as stack:
        if open_one == "standalone":
            storage = stack.enter_context(open_storage(stack.enter_context(mongod.standalone()).url))
        else:
            storage = mongo_storage(mongomock.MongoClient())
        stack.enter_context(storage.outbox.watching(lambda: nudges.append(None)))
        storage.feedback.add(accepted(a_feedback()))
        mongod.until(lambda: not _watches(), "it gave up")
        assert len(storage.outbox.events(limit=9)) == 1
    assert nudges == []


def _versions(storage: Storage, number: int, feedback_id: str = "f") -> list[Delivery]:
    """Store several versions of one feedback entry, with deliveries to ``log``."""
    one = a_feedback(feedback_id)
    storage.feedback.add(accepted(one))
    for version in range(1, number):
        changed = one.answered(f"{version}", at=NOON)
        storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED, before=one)])
        one = changed
    events = list(storage.outbox.events(limit=number))
    return list(storage.outbox.fan_out(_to(events, "log"), due_at=NOON))


def _claim(storage: Storage, now: Any = NOON, limit: int = 9) -> list[Delivery]:
    return list(storage.outbox.claim("log", now=now, until=now + timedelta(minutes=1), limit=limit))


def test_another_relay_may_act_between_any_two_commands_of_a_claim(
    ours: Storage, other: Storage, interference: Interference
) -> None:
    """Events of one feedback entry are claimed in order and completely, regardless of another relay's claims."""
    made = [one.id for one in _versions(ours, 60)]
    claimed: list[str] = []
    command, over = 1, False

    def action() -> None:
        for claim in _claim(other):
            claimed.append(claim.id)
            other.outbox.settle([claim])

    while not over:
        before = len(claimed)
        interference.after("", action, times=command)
        for claim in _claim(ours):
            claimed.append(claim.id)
            ours.outbox.settle([claim])
        command += 1
        over = command > 12
        assert len(claimed) > before
    interference.after("", action, times=0)
    while some := _claim(ours):
        claimed += _ids(some)
        ours.outbox.settle(some)
    assert claimed == made


def test_concurrent_relays_keep_the_order(ours: Storage, other: Storage) -> None:
    """Workers in several processes that claim and settle never claim a later event before an earlier one."""
    made = {name: _ids(_versions(ours, 8, name)) for name in ("f", "g", "h")}
    claimed: list[str] = []

    def work(storage: Storage) -> None:
        for _ in range(40):
            for claim in _claim(storage, limit=2):
                claimed.append(claim.id)
                storage.outbox.settle([claim])

    assert in_threads([lambda one=one: work(one) for one in [ours, other] * 2]) == [None] * 4
    for versions in made.values():
        assert [one for one in claimed if one in versions] == versions


def test_a_waiting_delivery_is_found_if_its_waker_died(ours: Storage, mongodb_url: str) -> None:
    """If a process died between its two writes, the next event is claimed minutes later, and only that one."""
    first, second, third = _versions(ours, 3)
    (claim,) = _claim(ours)
    assert claim.id == first.id
    assert _claim(ours) == []
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        deliveries = client.get_default_database()["harken_deliveries"]
        assert sorted(deliveries.distinct("_id", {"state": "waiting"})) == sorted([second.id, third.id])
        change = {"$set": {"state": "delivered"}, "$unset": {"leased_until": ""}}
        deliveries.update_one({"_id": first.id}, change)
    assert _claim(ours) == []
    (claim,) = _claim(ours, now=NOON + timedelta(minutes=5))
    assert claim.id == second.id
    ours.outbox.settle([claim])
    assert _ids(_claim(ours)) == [third.id]


def test_a_waiting_delivery_is_found_on_a_busy_channel(ours: Storage, mongodb_url: str) -> None:
    """It is claimed although the process that should have woken it died, and each claim also finds other deliveries."""
    _, second = _versions(ours, 2)
    (claim,) = _claim(ours)
    assert _claim(ours) == []
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        change = {"$set": {"state": "delivered"}, "$unset": {"leased_until": ""}}
        client.get_default_database()["harken_deliveries"].update_one({"_id": claim.id}, change)
    for minute in range(6):
        _versions(ours, 1, f"busy{minute}")
        claimed = _claim(ours, now=NOON + timedelta(minutes=minute))
        assert f"busy{minute}" in [one.event.subject_id for one in claimed]
        ours.outbox.settle(claimed)
    assert second.id in _ids(ours.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9))


@pytest.mark.parametrize("blocked_by", ["one", "each"])
def test_a_long_queue_is_read_once(ours: Storage, mongodb_url: str, blocked_by: str) -> None:
    """However many deliveries are blocked, by one or each by another, later claims read the few that are due."""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        deliveries = client.get_default_database()["harken_deliveries"]
        subjects = _add_blocked(ours, deliveries, 2_000, blocked_by)
        assert _claim(ours) == []
        fresh = _versions(ours, 1, "fresh")
        before = _documents_read(client)
        claimed = _claim(ours)
        assert _ids(claimed) == _ids(fresh)
        ours.outbox.settle(claimed)
        assert _claim(ours) == []
        assert _documents_read(client) - before < 100
        # When the first of them is delivered, the next one of each subject is claimed.
        later = NOON + timedelta(days=2)
        before = _documents_read(client)
        claimed = _claim(ours, now=later)
        ours.outbox.settle(claimed)
        versions = [one.event.version for one in claimed]
        claimed = _claim(ours, now=later)
        assert [*versions, *(one.event.version for one in claimed)] == [
            *[1] * min(9, subjects),
            *[2] * min(9, subjects),
        ]
        # Each claim also checks a hundred long-waiting deliveries.
        assert _documents_read(client) - before < 3_000
        assert ours.outbox.counts(DeliveryQuery(DeliveryState.PENDING)) == {
            "log": deliveries.count_documents({"state": {"$ne": "delivered"}})
        }


def _add_blocked(storage: Storage, deliveries: Any, number: int, blocked_by: str) -> int:
    """Store due deliveries that are blocked by earlier ones. Returns the number of their subjects."""
    (first,) = _versions(storage, 1)
    document = deliveries.find_one({"_id": first.id})
    deliveries.delete_many({})
    subjects = 1 if blocked_by == "one" else number
    storage.feedback.add(accepted(*(a_feedback(f"tail{one}") for one in range(subjects))))
    while events := storage.outbox.events(limit=1_000):
        storage.outbox.fan_out([(event, ()) for event in events], due_at=NOON)

    def variant(subject: int, version: int, due: int) -> dict[str, Any]:
        event = {**document["event"], "version": version}
        name = f"tail{subject}"
        return {**document, "_id": f"{name}-{version:06}:log", "feedback_id": name, "event": event, "due": due}

    later = document["due"] + timedelta(days=1) // timedelta(microseconds=1)
    for begin in range(0, number, 10_000):
        some = range(begin, min(begin + 10_000, number))
        if blocked_by == "one":
            deliveries.insert_many([variant(0, 2 + one, document["due"]) for one in some])
        else:
            deliveries.insert_many([variant(one, 2, document["due"]) for one in some])
    deliveries.insert_many([variant(one, 1, later) for one in range(subjects)])
    return subjects


def _documents_read(client: Any) -> int:
    """Return how many documents and keys the server has read so far."""
    counts = client.admin.command("serverStatus")["metrics"]["queryExecutor"]
    return int(counts["scannedObjects"]) + int(counts["scanned"])

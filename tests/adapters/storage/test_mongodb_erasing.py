"""Erasure in MongoDB: concurrent operations at any point, and processes that die during it."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from attrs import evolve
from pymongo import MongoClient

from harken.domain.alerts.patterns import Subject
from harken.domain.events import DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing import accepted, an_alert
from harken_adapters.storage.mongodb import mongo_storage, open_storage
from interference import Interference
from support import NOON, a_feedback, in_threads

pytestmark = pytest.mark.slow

EVERYTHING = FeedbackQuery().in_any_state()
LATER = NOON + timedelta(days=1)
LEASE = timedelta(seconds=45)
CHANNELS = ("log", "mail")


class Relay:
    """Sends like a relay: it reads the feedback immediately before, and records what it sent."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        #: By channel, the id and type of each notification.
        self.sent: dict[str, list[tuple[str, EventType]]] = {channel: [] for channel in CHANNELS}

    def fan_out(self) -> None:
        """Create the deliveries of waiting events."""
        events = self._storage.outbox.events(limit=999)
        self._storage.outbox.fan_out([(event, CHANNELS) for event in events], due_at=NOON)

    def send(self, *channels: str, now: Any = NOON) -> None:
        """Send due deliveries until none is left."""
        for channel in channels or CHANNELS:
            while claimed := self._storage.outbox.claim(channel, now=now, until=now + LEASE, limit=9):
                for claim in claimed:
                    event = claim.event
                    if event.type.about_alert:
                        self._storage.outbox.settle([claim])
                        continue
                    there = self._storage.feedback.get_many(event.application, [event.subject_id])
                    if event.type.about_feedback and not there:
                        self._storage.outbox.discard([claim])
                    else:
                        assert event.type.about_feedback is bool(there), "an erasure that has not taken place"
                        self.sent[channel].append((claim.id, event.type))
                        self._storage.outbox.settle([claim])

    def work(self) -> None:
        """Fan out and send everything."""
        self.fan_out()
        self.send()

    def check(self) -> None:
        """Check that each receiver is notified of the erasure last, with one id, and that no other channel is."""
        for channel, sent in self.sent.items():
            about = [kind for _, kind in sent if kind is not EventType.ERASED]
            notices = {delivery_id for delivery_id, kind in sent if kind is EventType.ERASED}
            assert len(notices) == bool(about), (channel, sent)
            assert not about or sent[-1][1] is EventType.ERASED, (channel, sent)
        for state in (DeliveryState.PENDING, DeliveryState.DEAD):
            assert self._storage.outbox.deliveries(DeliveryQuery(state), limit=9) == []


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


def _give(storage: Storage, feedback_id: str = "f") -> None:
    storage.feedback.add(accepted(a_feedback(feedback_id)))


def _update(storage: Storage) -> None:
    """Change the feedback if it still exists."""
    for one in storage.feedback.get_many("default", ["f"]).values():
        changed = one.answered("Thanks", at=NOON)
        storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED, before=one)])


#: Operations of other processes during an erasure.
_MEANWHILE: dict[str, Callable[[Storage, Relay], object]] = {
    "relay": lambda _, relay: relay.work(),
    "fan out": lambda _, relay: relay.fan_out(),
    "one channel": lambda _, relay: relay.send("mail"),
    "forget": lambda storage, _: storage.outbox.forget(before=LATER),
    "update": lambda storage, _: _update(storage),
    "update and send": lambda storage, relay: (_update(storage), relay.work()),
    "erase": lambda storage, _: storage.feedback.erase(EVERYTHING, at=NOON),
    "erase and send": lambda storage, relay: (storage.feedback.erase(EVERYTHING, at=NOON), relay.work()),
}


@pytest.mark.parametrize("before", ["nothing", "one channel", "relay"])
@pytest.mark.parametrize("meanwhile", _MEANWHILE)
def test_other_processes_may_act_between_any_two_commands_of_an_erasure(
    ours: Storage, other: Storage, interference: Interference, before: str, meanwhile: str
) -> None:
    """After an erasure, each channel that knows the feedback receives exactly one notification and nothing else."""
    command, over = 1, False
    while not over:
        relay, done = Relay(other), []
        _give(ours)
        relay.fan_out()
        if before != "nothing":
            _MEANWHILE[before](other, relay)
        interference.after("", lambda: done.append(_MEANWHILE[meanwhile](other, relay)), times=command)  # noqa: B023
        ours.feedback.erase(EVERYTHING, at=NOON)
        over = not done
        assert ours.feedback.get_many("default", ["f"]) == {}
        relay.work()
        relay.send(now=LATER)
        relay.check()
        other.outbox.forget(before=LATER + LEASE)
        command += 1
    assert command > 10


@pytest.mark.parametrize("meanwhile", ["find", "erase"])
@pytest.mark.parametrize("end", ["released", "settled"])
def test_a_second_process_may_complete_an_erasure(
    ours: Storage, other: Storage, interference: Interference, meanwhile: str, end: str
) -> None:
    """A channel is notified once if anything was sent to it, and not at all otherwise."""
    command, over, at = 1, False, NOON + timedelta(seconds=1)
    while not over:
        relay, done = Relay(other), []
        _give(ours)
        relay.fan_out()
        relay.send("mail")
        (claim,) = other.outbox.claim("log", now=NOON, until=NOON + LEASE, limit=9)

        def finish() -> None:
            done.append(True)  # noqa: B023
            if meanwhile == "erase":
                other.feedback.erase(EVERYTHING, at=at)
            else:
                # It finds deliveries about erased feedback.
                other.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)
            if end == "released":
                other.outbox.release([claim])  # noqa: B023
            else:
                other.outbox.settle([claim])  # noqa: B023
            relay.send(now=at)  # noqa: B023

        interference.after("", finish, times=command)
        ours.feedback.erase(EVERYTHING, at=NOON)
        over = not done
        if over:
            finish()
        relay.send(now=NOON + LEASE)
        log, mail = ([kind for _, kind in relay.sent[channel]] for channel in ("log", "mail"))
        was_sent = end == "settled" or EventType.CREATED in log
        assert log.count(EventType.ERASED) == was_sent, command
        assert mail == [EventType.CREATED, EventType.ERASED], command
        assert other.outbox.counts(DeliveryQuery(DeliveryState.PENDING)) == {}
        other.outbox.forget(before=LATER)
        command += 1
    assert command > 10


@pytest.mark.parametrize("end", ["settle", "release", "discard", "back off"])
def test_a_claim_may_end_between_any_two_commands_of_an_erasure(
    ours: Storage, other: Storage, interference: Interference, end: str
) -> None:
    """A sent notification is followed by the erasure notification, at the latest when the lease has ended."""
    outbox = other.outbox
    ends: dict[str, Callable[[Any], object]] = {
        "settle": lambda claim: outbox.settle([claim]),
        "release": lambda claim: outbox.release([claim]),
        "discard": lambda claim: outbox.discard([claim]),
        "back off": lambda claim: outbox.back_off(claim, due_at=NOON, error="refused"),
    }
    command, over = 1, False
    while not over:
        relay, done = Relay(other), []
        _give(ours)
        relay.fan_out()
        (claim,) = outbox.claim("log", now=NOON, until=NOON + LEASE, limit=9)

        def finish() -> None:
            done.append(in_threads([lambda: ends[end](claim)]))  # noqa: B023

        interference.after("", finish, times=command)
        ours.feedback.erase(EVERYTHING, at=NOON)
        over = not done
        if over:
            finish()
        relay.send()
        relay.send(now=NOON + LEASE)
        kinds = [kind for _, kind in relay.sent["log"]]
        if end in ("settle", "back off"):
            assert kinds == [EventType.ERASED]
        else:
            assert kinds == [], command
        assert outbox.counts(DeliveryQuery(DeliveryState.PENDING)) == {}
        outbox.forget(before=LATER)
        command += 1
    assert command > 10


def test_an_alert_raised_during_an_erasure_is_emptied(
    ours: Storage, other: Storage, interference: Interference
) -> None:
    """The alert lists feedback that existed when the caller read it. Either the erasure or the adding call empties it.

    After the erasure has ended, alerts are the responsibility of their callers.
    """
    for command in count(1):
        _give(ours)
        alert = an_alert(f"a{command}", subject=Subject("session", "s"), feedback_ids=("f",))
        interference.after("", partial(other.alerts.add, alert, alert.event()), times=command)
        ours.feedback.erase(EVERYTHING, at=NOON)
        stored = other.alerts.get("default", alert.id)
        assert stored is not None
        if stored == alert:
            break
        seen = (stored.is_open, stored.message, stored.feedback_ids, stored.subject.value)
        assert seen == (False, "", (), ""), command
    # Up to the command that records the end of the erasure.
    assert command > 10


def test_an_alert_not_yet_checked_is_emptied(ours: Storage, other: Storage, interference: Interference) -> None:
    """The erasure begins and ends between two commands of the caller that raises or reopens the alert."""
    for number, command in enumerate(("insert", "update")):
        _give(ours)
        alert = an_alert(f"a{number}", feedback_ids=("f",))
        if command == "update":
            ours.alerts.add(evolve(alert, feedback_ids=()), alert.event())
        interference.after(command, lambda: other.feedback.erase(EVERYTHING, at=NOON))
        if command == "insert":
            assert ours.alerts.add(alert, alert.event())
        else:
            assert ours.alerts.replace(evolve(alert, version=2), alert.event())
        kept = ours.alerts.get("default", alert.id)
        assert kept is not None
        assert (kept.is_open, kept.message, kept.feedback_ids) == (False, "", ())


_PROGRAM = """
import os, signal, sys
from datetime import datetime, timedelta
from pymongo import MongoClient, monitoring
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.mongodb import mongo_storage

class Dying(monitoring.CommandListener):
    left = -1

    def started(self, event):
        Dying.left -= 1
        if Dying.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

def erase(command):
    client = MongoClient(sys.argv[1], event_listeners=[Dying()])
    storage = mongo_storage(client, client.get_default_database().name)
    Dying.left = command
    storage.feedback.erase(FeedbackQuery().in_any_state(), at=datetime.fromisoformat(sys.argv[2]))
    os._exit(0)

for line in sys.stdin:
    child = os.fork()
    if not child:
        erase(int(line))
    print(os.WIFSIGNALED(os.waitpid(child, 0)[1]), flush=True)
"""


def _minutes_later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


def test_a_process_killed_during_an_erasure_loses_no_notification(ours: Storage, mongodb_url: str) -> None:
    """After ``kill -9`` before each command, with a relay running, the next erasure or relay completes the rest."""
    words = [sys.executable, "-c", _PROGRAM, mongodb_url, NOON.isoformat()]
    with (
        MongoClient[dict[str, Any]](mongodb_url) as client,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        # It runs minutes later, so it completes the interrupted erasure.
        other = mongo_storage(client, client.get_default_database().name, clock=_minutes_later)
        assert process.stdin
        assert process.stdout
        died, command = True, 1
        while died:
            relay = Relay(other)
            _give(ours)
            alert = an_alert(f"a{command}", feedback_ids=("f",))
            ours.alerts.add(alert, alert.event())
            relay.fan_out()
            relay.send("mail")
            print(command, file=process.stdin, flush=True)
            died = process.stdout.readline() == "True\n"
            relay.work()
            if command % 2 or ours.feedback.get_many("default", ["f"]):
                other.feedback.erase(EVERYTHING, at=NOON)
            # As each relay does at its start.
            other.outbox.forget(before=NOON)
            relay.work()
            relay.send(now=LATER)
            relay.check()
            kept = ours.alerts.get("default", alert.id)
            assert kept is not None
            assert kept.is_empty, command
            other.outbox.forget(before=LATER)
            command += 1
        process.stdin.close()
    assert command > 10


def test_two_processes_may_erase_the_same_feedback(ours: Storage, other: Storage) -> None:
    """Each process counts what it removed, and every channel is notified once of each entry."""
    relay = Relay(other)
    for number in range(300):
        _give(ours, f"f{number}")
    relay.work()
    relay.send("mail")
    erased = in_threads([lambda one=one: one.feedback.erase(EVERYTHING, at=NOON) for one in (ours, other) * 2])
    assert sum(one.feedback for one in erased) == 300  # type: ignore[attr-defined]
    relay.send()
    for sent in relay.sent.values():
        assert len({one for one, kind in sent if kind is EventType.ERASED}) == 300
        assert len(sent) == 600


def test_memory_does_not_grow_with_the_erased_feedback(ours: Storage) -> None:
    """Three times as much feedback needs the same memory, as it is erased in chunks."""
    peaks = []
    for number in (1_500, 4_500):
        relay = Relay(ours)
        comment = "x" * 500
        for begin in range(0, number, 500):
            ours.feedback.add(accepted(*(a_feedback(f"f{begin + one}", comment=comment) for one in range(500))))
        while ours.outbox.events(limit=1):
            relay.fan_out()
        tracemalloc.start()
        assert ours.feedback.erase(EVERYTHING, at=NOON).feedback == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks

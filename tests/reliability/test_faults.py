"""Every guarantee holds if any call of the storage fails, before or after it took effect, once or permanently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

import harken
from channels import Recorder, connect_without_relay
from harken import Change, DeliveryFailed, FeedbackQuery, Harken, StorageUnavailable
from harken.configuration.storage_urls import open_storage
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.domain.summary import Summary
from harken.ports.notifier import Notification
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken.testing import Faults
from harken_adapters.storage.mongodb import mongo_storage
from support import ManualClock, a_feedback, a_submission, counting_ids

pytestmark = pytest.mark.slow

APPLICATIONS = ("default", "default-2")
RULES = [{"name": "three in a row", "kind": "streak", "by": "agent", "length": 3}]
ROUTES = [
    {"name": "everything", "channel": "all"},
    {"name": "unhappy", "channel": "negative", "ratings": ["down"], "events": ["feedback.created", "feedback.updated"]},
]


class World:
    """An application on a failing storage. It is restarted if its process was killed."""

    def __init__(self, storage: Storage) -> None:
        self.real = storage
        self.faults = Faults()
        self.storage = self.faults.around(storage)
        self.clock, self.new_id = ManualClock(), counting_ids()
        self.refuse: Callable[[Notification], object] = lambda _: None
        self.channels = {"all": Recorder(self._refuse), "negative": Recorder()}
        self.erased: dict[str, list[int]] = {}
        self.calls = 0
        self.failed: str | None = None
        self.hk = self.connect()
        self.faults.disarm()

    def _refuse(self, notification: Notification) -> None:
        self.refuse(notification)

    def connect(self) -> Harken:
        """Connect, as a new process would."""
        return harken.connect(
            self.storage,
            clock=self.clock,
            new_id=self.new_id,
            jitter=lambda: 0.0,
            channels=self.channels,
            routes=ROUTES,
            alert_rules=RULES,
            spam="hold",
            spam_phrases=["buy now"],
        )

    def take(self, step: Step) -> None:
        """Execute a step; if it fails, repeat it when the storage works again."""
        try:
            step(self)
        except StorageUnavailable:
            assert self.faults.failed
            self.heal()
            step(self)

    def heal(self) -> None:
        """Repair the storage, and reconnect if the process was killed."""
        killed = self.faults.lasting
        self.failed = self.failed or self.faults.failed
        self.faults.disarm()
        if killed:
            self.hk.close()
            self.hk = self.connect()

    def run_until_quiet(self) -> None:
        """Run relays until all leases and delays have ended."""
        for _ in range(4):
            self.clock.turn(hours=1)
            self.hk.relay.run_due()

    def id_of(self, key: str, application: str = "default") -> str:
        """The id of the feedback with an idempotency key."""
        query = FeedbackQuery(application=application).in_any_state()
        (found,) = (one for one in self.hk.collection.stream(query) if one.idempotency_key == key)
        return found.id


Step = Callable[[World], object]
Scenario = Sequence[Step]


# --- Steps ------------------------------------------------------------------------------------------------------------


def submit(key: str, rating: str = "up", comment: str = "", **parts: Any) -> Step:
    """Submit feedback with an idempotency key."""
    return lambda world: world.hk.submit(
        f"session {key}", rating, comment or f"comment {key}", idempotency_key=key, **parts
    )


def vote(rating: str) -> Step:
    """Ann votes."""
    return lambda world: world.hk.collection.set_vote(
        harken.Target("session vote", "m", "a"), "ann", rating, "my vote", idempotency_key=None
    )


def change(key: str, comment: str) -> Step:
    """Change the comment."""
    return lambda world: world.hk.collection.change("default", world.id_of(key), Change(comment=comment))


def withdraw(key: str) -> Step:
    """Withdraw the feedback."""
    return lambda world: world.hk.collection.withdraw("default", world.id_of(key))


def decide(key: str, status: str) -> Step:
    """Decide as a moderator, unless the decision was stored before the failure."""

    def step(world: World) -> None:
        feedback_id = world.id_of(key)
        if world.hk.collection.get("default", feedback_id).moderation.status.value != status:
            world.hk.moderation.decide("default", feedback_id, status, moderator="mo")

    return step


def erase(key: str) -> Step:
    """Erase all feedback of a session in the default application."""

    def step(world: World) -> None:
        session_id = f"session {key}"
        world.hk.collection.erase(FeedbackQuery(session_id=session_id).in_any_state())
        world.erased[session_id] = [len(channel.tried) for channel in world.channels.values()]

    return step


def relay(world: World) -> None:
    """Run a relay."""
    world.hk.relay.run_due()


def dispatch(world: World) -> None:
    """Fan out events without sending deliveries."""
    world.hk.relay.dispatch()


def later(world: World) -> None:
    """Advance the clock, so that leases end and failed deliveries are due again."""
    world.clock.turn(minutes=10)


def refuse(how: Callable[[Notification], object]) -> Step:
    """Set the behaviour of the receiver."""

    def step(world: World) -> None:
        world.refuse = how

    return step


def busy(notification: Notification) -> None:
    """A receiver that temporarily refuses one of the notifications."""
    if notification.feedback is not None and notification.feedback.session_id == "session 2":
        raise DeliveryFailed("too busy")


def gone(_: Notification) -> None:
    """A receiver that permanently refuses notifications."""
    raise DeliveryFailed("not wanted", retryable=False)


def replay(world: World) -> None:
    """Replay all dead deliveries."""
    world.hk.deliveries.replay_all()


def import_many(world: World) -> None:
    """Import old feedback, with an idempotency key for each row."""
    rows = [
        a_submission("session import", "down", f"row {n}", agent_id="a", idempotency_key=f"row {n}") for n in (1, 2)
    ]
    world.hk.collection.submit_many(rows, announce=False)
    restored = [a_feedback(f"restored {n}", comment=f"restored {n}", session_id="session restored") for n in (1, 2)]
    world.hk.collection.restore(restored)


def copy(world: World) -> None:
    """Copy another storage, which fails too."""
    numbers = count(1)
    with open_storage("memory://") as source:
        with harken.connect(source, clock=world.clock, new_id=lambda: f"copied-{next(numbers)}") as other:
            for application in APPLICATIONS:
                other.submit("session copied", "down", f"of {application}", application=application, author="ann")
            other.sessions.update("default", "session copied", {"tier": "gold", "seats": 3})
            other.conversations.append("default", "session copied", "a", 0, {"role": "user"})
        copying = Copying(world.faults.around(source), world.storage, lambda *_: None)
        assert list(copying.batches())
        assert copying.feedback.conflicts == copying.metadata.conflicts == copying.conversations.conflicts == 0


SCENARIOS: dict[str, Scenario] = {
    "submitted": [
        submit("1", "down", agent_id="a"),
        submit("1", "up", application="default-2"),
        submit("2", "up"),
        relay,
        submit("3", "down"),
        later,
    ],
    "voted": [vote("up"), relay, vote("down"), vote("up"), vote("down"), relay],
    "changed": [
        submit("1", "down"),
        relay,
        change("1", "another comment"),
        relay,
        change("1", "at last"),
        withdraw("1"),
    ],
    "moderated": [submit("1", "up", "buy now"), relay, decide("1", "approved"), relay, decide("1", "rejected"), relay],
    "erased": [
        submit("1", "down"),
        submit("1", "down", application="default-2"),
        submit("2", "down"),
        dispatch,
        change("1", "another comment"),
        erase("1"),
        relay,
        submit("1", "up", "again"),
    ],
    "alerted": [
        *(submit(str(n), "down", agent_id="a") for n in range(3)),
        *(submit(str(n), "down", agent_id="a", application="default-2") for n in range(3)),
        relay,
        submit("4", "up", agent_id="a"),
        relay,
        *(submit(str(n), "down", agent_id="a") for n in range(5, 8)),
    ],
    "refused": [refuse(busy), *(submit(str(n)) for n in range(4)), relay, later, refuse(lambda _: None), relay],
    "replayed": [refuse(gone), submit("1"), submit("2"), relay, refuse(lambda _: None), replay, relay],
    "imported": [import_many, submit("1"), relay],
    "copied": [submit("1"), copy, relay],
}


# --- Guarantees -------------------------------------------------------------------------------------------------------


def content(world: World) -> object:
    """The visible content at the end, without ids and times."""
    hk = world.hk
    feedback = [
        (one.application, one.session_id, one.author, one.rating, one.comment, one.moderation.status, one.withdrawn)
        for application in APPLICATIONS
        for one in hk.collection.stream(FeedbackQuery(application=application).in_any_state())
    ]
    alerts = [
        (one.application, one.rule, one.subject, one.is_open)
        for application in APPLICATIONS
        for one in hk.alerts.find(application)
    ]
    other = (
        [
            (place, agent, list(world.real.conversations.messages(*place, agent, limit=99)))
            for place, agent in _agents(world)
        ],
        [(*place, value) for *place, value in world.real.sessions.stream()],
    )
    notified = [
        sorted({_describe(one) for one in channel.arrived if one.feedback is None})
        for channel in world.channels.values()
    ]
    return sorted(feedback, key=repr), sorted(alerts, key=repr), other, notified


def _agents(world: World) -> Iterator[tuple[tuple[str, str], str]]:
    for place in world.real.conversations.sessions():
        for agent_id in world.real.conversations.speakers(*place):
            yield place, agent_id


def _describe(notification: Notification) -> str:
    alert = notification.alert
    return f"{notification.type.value} {notification.application} {alert.rule if alert else ''}"


def last_notifications(world: World, channel: str) -> dict[tuple[str, str], object]:
    """The last notification of a channel about each session; for withdrawn feedback, only its withdrawal.

    Feedback that was withdrawn before it was sent is not sent, so a channel for new feedback may not know it.
    """
    withdrawn = {
        (application, one.session_id)
        for application in APPLICATIONS
        for one in world.real.feedback.stream(FeedbackQuery(application=application).in_any_state())
        if one.withdrawn
    }
    notified: dict[tuple[str, str], object] = {}
    for one in world.channels[channel].arrived:
        feedback = one.feedback
        if feedback is None:
            continue
        place = (feedback.application, feedback.session_id)
        if feedback.withdrawn or place not in withdrawn:
            status = feedback.moderation.status
            notified[place] = (feedback.rating, feedback.comment, status, feedback.withdrawn)
    return notified


def outcome(world: World) -> object:
    """The visible content, and the last notifications of each channel."""
    return content(world), [last_notifications(world, channel) for channel in world.channels]


def check_guarantees(world: World, expected: object, where: str) -> None:
    """The outcome is the same as without a fault: stored, sent and counted once, and nothing of erased feedback."""
    assert outcome(world) == expected, where
    for application in APPLICATIONS:
        query = FeedbackQuery(application=application)
        assert world.hk.analytics.summary(query) == Summary.fold(world.hk.collection.stream(query)), where
    assert list(world.hk.outbox.events(limit=9)) == [], where
    for state in (DeliveryState.PENDING, DeliveryState.DEAD):
        assert list(world.hk.outbox.deliveries(DeliveryQuery(state), limit=9)) == [], where
    for session_id, tried in world.erased.items():
        for channel, before in zip(world.channels.values(), tried, strict=True):
            late = [one.feedback for one in channel.tried[before:] if one.feedback and one.application == "default"]
            assert not [one for one in late if one.session_id == session_id and one.comment != "again"], where


def check_sent_once(world: World, where: str) -> None:
    """No delivery was sent twice. This may happen only if settling a delivery failed."""
    for channel in world.channels.values():
        assert sorted(set(channel.ids)) == sorted(channel.ids), where


# --- Faults -----------------------------------------------------------------------------------------------------------


def play(storage: Storage, scenario: Scenario, **fault: Any) -> World:
    """Execute a scenario, with or without a fault, and then all remaining deliveries."""
    world = World(storage)
    if fault:
        world.faults.arm(**fault)
    for step in scenario:
        world.take(step)
    world.calls = world.faults.calls
    world.heal()
    world.run_until_quiet()
    return world


#: The call fails before or after it took effect; then the storage works again, or the process was killed.
WAYS = [{"after": after, "lasting": lasting} for after in (False, True) for lasting in (False, True)]
#: The two ways that require the most recovery.
WORST_WAYS = [{"after": False, "lasting": True}, {"after": True, "lasting": False}]


def check_every_fault(
    fresh: Callable[[], AbstractContextManager[Storage]],
    scenario: Scenario,
    *,
    ways: Sequence[dict[str, bool]] = WAYS,
    every: int = 1,
) -> None:
    """Let each call of a scenario fail in each way, or only every n-th call."""
    with fresh() as storage:
        undisturbed = play(storage, scenario)
        calls = undisturbed.calls
        assert calls >= len(scenario)
        expected = outcome(undisturbed)
        undisturbed.hk.close()
    for number in range(1, calls + 1, every):
        for way in ways:
            with fresh() as failing:
                world = play(failing, scenario, at=number, **way)
                where = f"call {number} of {calls}, {world.failed}, {way}"
                check_guarantees(world, expected, where)
                if not way["lasting"] and (way["after"] or world.failed != "outbox.settle"):
                    check_sent_once(world, where)
                world.hk.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_memory_violates_a_guarantee(name: str) -> None:
    """If any call fails, acknowledged feedback is stored, and routed events are delivered."""
    check_every_fault(lambda: open_storage("memory://"), SCENARIOS[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_sqlite_violates_a_guarantee(name: str, tmp_path: Path) -> None:
    """The same for a file that survives the killed process."""
    urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())
    check_every_fault(lambda: open_storage(next(urls)), SCENARIOS[name], ways=WORST_WAYS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_mongodb_violates_a_guarantee(name: str, mongodb_url: str) -> None:
    """The same for changes that consist of several commands, at every seventh call."""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()

        @contextmanager
        def empty_storage() -> Iterator[Storage]:
            for collection in database.list_collection_names():
                database[collection].delete_many({"_id": {"$ne": "schema"}})
            yield mongo_storage(client, database.name)

        check_every_fault(empty_storage, SCENARIOS[name], ways=WORST_WAYS, every=7)


@pytest.mark.parametrize("seconds", [1, 5, 10, 19])
def test_nothing_is_sent_if_its_lease_may_end_during_the_request(seconds: int) -> None:
    """No other relay sends a delivery in progress, if the receiver responds within the timeout of the channel."""
    clock, others = ManualClock(), Recorder()
    with (
        open_storage("memory://") as storage,
        connect_without_relay(clock, storage, channels={"slow": others}) as other,
    ):

        def take_time(_: Notification) -> None:
            clock.turn(seconds=seconds)
            other.relay.run_due()

        slow = Recorder(take_time)
        with connect_without_relay(clock, storage, channels={"slow": slow}) as first:
            for number in range(20):
                first.submit(f"session {number}", "up")
            first.relay.run_due()
    tried = [one.id for one in (*slow.tried, *others.tried)]
    assert len(tried) == len(set(tried)) == 20

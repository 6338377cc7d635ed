"""Whatever call to the storage fails, before or after it took effect, once or for good: what was promised is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

import harken
from channels import Recorder, telling
from harken import Change, DeliveryFailed, FeedbackQuery, Harken, StorageUnavailable
from harken.domain.events import DeliveryState
from harken.domain.summary import Summary
from harken.ports.notifier import Notification
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken.storage import open_storage
from harken.testing import Faults
from harken_adapters.storage.mongodb import mongo_storage
from support import ManualClock, a_feedback, a_submission, counting_ids

pytestmark = pytest.mark.slow

APPLICATIONS = ("default", "default-2")
RULES = [{"name": "three in a row", "kind": "streak", "by": "agent", "length": 3}]
ROUTES = [
    {"name": "everything", "channel": "all"},
    {"name": "unhappy", "channel": "downs", "ratings": ["down"], "events": ["feedback.created", "feedback.updated"]},
]


class World:
    """An application on a storage that fails; it is started again where its process was killed."""

    def __init__(self, storage: Storage) -> None:
        self.real = storage
        self.faults = Faults()
        self.storage = self.faults.around(storage)
        self.clock, self.new_id = ManualClock(), counting_ids()
        self.refuse: Callable[[Notification], object] = lambda _: None
        self.channels = {"all": Recorder(self._refuse), "downs": Recorder()}
        self.erased: dict[str, list[int]] = {}
        self.calls = 0
        self.failed: str | None = None
        self.hk = self.connected()
        self.faults.disarm()

    def _refuse(self, notification: Notification) -> None:
        self.refuse(notification)

    def connected(self) -> Harken:
        """A new process."""
        return harken.connect(
            self.storage,
            clock=self.clock,
            new_id=self.new_id,
            chance=lambda: 0.0,
            channels=self.channels,
            routes=ROUTES,
            alert_rules=RULES,
            spam="hold",
            spam_phrases=["buy now"],
        )

    def take(self, step: Step) -> None:
        """What a person or a worker does; where it fails, again as soon as the storage works."""
        try:
            step(self)
        except StorageUnavailable:
            assert self.faults.failed
            self.heal()
            step(self)

    def heal(self) -> None:
        """The storage works again, in a new process if the old one was killed."""
        killed = self.faults.lasting
        self.failed = self.failed or self.faults.failed
        self.faults.disarm()
        if killed:
            self.hk.close()
            self.hk = self.connected()

    def run_until_quiet(self) -> None:
        """Run relays until every lease and every wait is over."""
        for _ in range(4):
            self.clock.turn(hours=1)
            self.hk.relay.run_due()

    def given(self, key: str, application: str = "default") -> str:
        """The id of the feedback that was given under a key."""
        everything = FeedbackQuery(application=application).in_any_state()
        (found,) = (one for one in self.hk.collection.stream(everything) if one.idempotency_key == key)
        return found.id


Step = Callable[[World], object]
Scenario = Sequence[Step]


# --- what people and workers do ---------------------------------------------------------------------------------------


def submit(key: str, rating: str = "up", comment: str = "", **parts: Any) -> Step:
    """A person gives feedback, and gives it again under the same key until it is acknowledged."""
    return lambda world: world.hk.submit(
        f"session {key}", rating, comment or f"comment {key}", idempotency_key=key, **parts
    )


def vote(rating: str) -> Step:
    """Ann votes."""
    return lambda world: world.hk.collection.set_vote(
        harken.Target("session vote", "m", "a"), "ann", rating, "my vote", idempotency_key=None
    )


def change(key: str, comment: str) -> Step:
    """A person says something else."""
    return lambda world: world.hk.collection.change("default", world.given(key), Change(comment=comment))


def withdraw(key: str) -> Step:
    """A person takes feedback back."""
    return lambda world: world.hk.collection.withdraw("default", world.given(key))


def decide(key: str, status: str) -> Step:
    """A moderator decides, if that was not done before the answer got lost."""

    def step(world: World) -> None:
        feedback_id = world.given(key)
        if world.hk.collection.get("default", feedback_id).moderation.status.value != status:
            world.hk.moderation.decide("default", feedback_id, status, moderator="mo")

    return step


def erase(key: str) -> Step:
    """Everything about a session is erased; a twin in another application is not."""

    def step(world: World) -> None:
        session_id = f"session {key}"
        world.hk.collection.erase(FeedbackQuery(session_id=session_id).in_any_state())
        world.erased[session_id] = [len(channel.tried) for channel in world.channels.values()]

    return step


def relay(world: World) -> None:
    """A relay does what is due."""
    world.hk.relay.run_due()


def dispatch(world: World) -> None:
    """A relay makes deliveries, and sends none."""
    world.hk.relay.dispatch()


def later(world: World) -> None:
    """Time passes, until leases are over and what failed is due again."""
    world.clock.turn(minutes=10)


def refuse(how: Callable[[Notification], object]) -> Step:
    """From now on a receiver answers like that."""

    def step(world: World) -> None:
        world.refuse = how

    return step


def busy(notification: Notification) -> None:
    """What a receiver does that cannot take one of them just now."""
    if notification.feedback is not None and notification.feedback.session_id == "session 2":
        raise DeliveryFailed("too busy")


def gone(_: Notification) -> None:
    """What a receiver does that will never take it."""
    raise DeliveryFailed("not wanted", retryable=False)


def replay(world: World) -> None:
    """Everything that is dead is sent again."""
    world.hk.deliveries.replay_all()


def import_many(world: World) -> None:
    """Old feedback is imported, under a key for each row."""
    rows = [
        a_submission("session import", "down", f"row {n}", agent_id="a", idempotency_key=f"row {n}") for n in (1, 2)
    ]
    world.hk.collection.submit_many(rows, announce=False)
    restored = [a_feedback(f"restored {n}", comment=f"restored {n}", session_id="session restored") for n in (1, 2)]
    world.hk.collection.restore(restored)


def copy(world: World) -> None:
    """Everything is copied from another storage, which fails as well."""
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
    "changed": [submit("1", "down"), relay, change("1", "other words"), relay, change("1", "at last"), withdraw("1")],
    "moderated": [submit("1", "up", "buy now"), relay, decide("1", "approved"), relay, decide("1", "rejected"), relay],
    "erased": [
        submit("1", "down"),
        submit("1", "down", application="default-2"),
        submit("2", "down"),
        dispatch,
        change("1", "other words"),
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


# --- what was promised ------------------------------------------------------------------------------------------------


def picture(world: World) -> object:
    """What everybody can see at the end, but for ids and times."""
    hk = world.hk
    feedback = [
        (one.application, one.session_id, one.author, one.rating, one.comment, one.moderation.status, one.withdrawn)
        for application in APPLICATIONS
        for one in hk.collection.stream(FeedbackQuery(application=application).in_any_state())
    ]
    alerts = [
        (one.application, one.rule, one.subject, one.stands)
        for application in APPLICATIONS
        for one in hk.alerts.find(application)
    ]
    kept = (
        [
            (place, agent, list(world.real.conversations.messages(*place, agent, limit=99)))
            for place, agent in _agents(world)
        ],
        [(*place, value) for *place, value in world.real.sessions.stream()],
    )
    told = [
        sorted({_told(one) for one in channel.arrived if one.feedback is None}) for channel in world.channels.values()
    ]
    return sorted(feedback, key=repr), sorted(alerts, key=repr), kept, told


def _agents(world: World) -> Iterator[tuple[tuple[str, str], str]]:
    for place in world.real.conversations.sessions():
        for agent_id in world.real.conversations.speakers(*place):
            yield place, agent_id


def _told(notification: Notification) -> str:
    alert = notification.alert
    return f"{notification.type.value} {notification.application} {alert.rule if alert else ''}"


def last_words(world: World, channel: str) -> dict[tuple[str, str], object]:
    """What a receiver was last sent about each session; of what is withdrawn by now only that.

    What was withdrawn before it could be sent is not sent, so a receiver of new feedback alone may not know of it.
    """
    withdrawn = {
        (application, one.session_id)
        for application in APPLICATIONS
        for one in world.real.feedback.stream(FeedbackQuery(application=application).in_any_state())
        if one.withdrawn
    }
    told: dict[tuple[str, str], object] = {}
    for one in world.channels[channel].arrived:
        said = one.feedback
        if said is not None and (said.withdrawn or (said.application, said.session_id) not in withdrawn):
            told[said.application, said.session_id] = (
                said.rating,
                said.comment,
                said.moderation.status,
                said.withdrawn,
            )
    return told


def seen(world: World) -> object:
    """What there is to see of a world: what is kept, and what each receiver was last sent."""
    return picture(world), [last_words(world, channel) for channel in world.channels]


def check_promises(world: World, expected: object, where: str) -> None:
    """The same is stored, sent and counted as if nothing had failed, each alert once and nothing that was erased."""
    assert seen(world) == expected, where
    for application in APPLICATIONS:
        query = FeedbackQuery(application=application)
        assert world.hk.analytics.summary(query) == Summary.fold(world.hk.collection.stream(query)), where
    assert list(world.hk.outbox.events(limit=9)) == [], where
    for state in (DeliveryState.PENDING, DeliveryState.DEAD):
        assert list(world.hk.outbox.deliveries(state, limit=9)) == [], where
    for session_id, tried in world.erased.items():
        for channel, before in zip(world.channels.values(), tried, strict=True):
            late = [one.feedback for one in channel.tried[before:] if one.feedback and one.application == "default"]
            assert not [one for one in late if one.session_id == session_id and one.comment != "again"], where


def check_sent_once(world: World, where: str) -> None:
    """Only where the note of what arrived was lost is anything sent twice."""
    for channel in world.channels.values():
        assert sorted(set(channel.ids)) == sorted(channel.ids), where


# --- every fault ------------------------------------------------------------------------------------------------------


def played(storage: Storage, scenario: Scenario, **fault: Any) -> World:
    """A world after a scenario, with a fault or without, and after all that it left to do."""
    world = World(storage)
    if fault:
        world.faults.arm(**fault)
    for step in scenario:
        world.take(step)
    world.calls = world.faults.calls
    world.heal()
    world.run_until_quiet()
    return world


#: The call does nothing, or takes effect and its answer is lost; then the storage works again, or the process is dead.
WAYS = [{"after": after, "lasting": lasting} for after in (False, True) for lasting in (False, True)]
#: The two that leave most to do.
WORST_WAYS = [{"after": False, "lasting": True}, {"after": True, "lasting": False}]


def check_every_fault(
    fresh: Callable[[], AbstractContextManager[Storage]],
    scenario: Scenario,
    *,
    ways: Sequence[dict[str, bool]] = WAYS,
    every: int = 1,
) -> None:
    """Let each call of a scenario fail in each way, or only every so many of them."""
    with fresh() as storage:
        undisturbed = played(storage, scenario)
        calls = undisturbed.calls
        assert calls >= len(scenario)
        expected = seen(undisturbed)
        undisturbed.hk.close()
    for number in range(1, calls + 1, every):
        for way in ways:
            with fresh() as failing:
                world = played(failing, scenario, at=number, **way)
                where = f"call {number} of {calls}, {world.failed}, {way}"
                check_promises(world, expected, where)
                if not way["lasting"] and (way["after"] or world.failed != "outbox.settle"):
                    check_sent_once(world, where)
                world.hk.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_memory_breaks_a_promise(name: str) -> None:
    """Between any two calls, the storage may fail once or for good: acknowledged is kept, and routed is delivered."""
    check_every_fault(lambda: open_storage("memory://"), SCENARIOS[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_sqlite_breaks_a_promise(name: str, tmp_path: Path) -> None:
    """The same where the file outlives the process that was killed."""
    urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())
    check_every_fault(lambda: open_storage(next(urls)), SCENARIOS[name], ways=WORST_WAYS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_of_mongodb_breaks_a_promise(name: str, mongodb_url: str) -> None:
    """The same where several commands make one change, at some of the calls."""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()

        @contextmanager
        def emptied() -> Iterator[Storage]:
            for collection in database.list_collection_names():
                database[collection].delete_many({"_id": {"$ne": "schema"}})
            yield mongo_storage(client, database.name)

        check_every_fault(emptied, SCENARIOS[name], ways=WORST_WAYS, every=7)


@pytest.mark.parametrize("seconds", [1, 5, 10, 19])
def test_nothing_is_sent_when_its_lease_may_end_meanwhile(seconds: int) -> None:
    """However slow a receiver is, up to what a channel waits for it, no other relay sends what is being sent."""
    clock, others = ManualClock(), Recorder()
    with open_storage("memory://") as storage, telling(clock, storage, channels={"slow": others}) as other:

        def take_time(_: Notification) -> None:
            clock.turn(seconds=seconds)
            other.relay.run_due()

        slow = Recorder(take_time)
        with telling(clock, storage, channels={"slow": slow}) as first:
            for number in range(20):
                first.submit(f"session {number}", "up")
            first.relay.run_due()
    tried = [one.id for one in (*slow.tried, *others.tried)]
    assert len(tried) == len(set(tried)) == 20

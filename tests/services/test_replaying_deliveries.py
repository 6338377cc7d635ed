"""Replaying deliveries, and the deliveries of channels that are not configured any more."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from channels import Recorder, connect_without_relay
from harken import (
    Change,
    DeliveryFailed,
    DeliveryNotFound,
    Harken,
    InvalidQuery,
    NoSuchChannel,
    NoSuchRoute,
    Submission,
    Target,
)
from harken.configuration.storage_urls import open_storage
from harken.domain.events import DeliveryState
from harken.ports.storage import Storage
from support import NOON, ManualClock

HOUR = timedelta(hours=1)


def refuse(*_: object) -> None:
    """A receiver that always fails."""
    raise DeliveryFailed("connection refused")


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind."""
    if request.param == "mongodb":
        return str(request.getfixturevalue("mongodb_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"


def states(hk: Harken) -> dict[str, str]:
    """The state of each delivery."""
    return {one.id: one.state.value for state in DeliveryState for one in hk.deliveries.find(state)}


# --- Replaying --------------------------------------------------------------------------------------------------------


def test_a_delivered_delivery_is_replayed_with_its_id(url: str) -> None:
    """A receiver that lost its data gets it again: with the same id, and the current content of the feedback."""
    channel = Recorder()
    with connect_without_relay(url=url, channels={"ops": channel}, routes=[ONLY_CREATED]) as hk:
        one = hk.submit("s", "down", "slow").feedback
        hk.relay.run_due()
        hk.collection.change("default", one.id, Change(comment="slow, and wrong"))
        hk.relay.run_due()
        (first,) = channel.ids
        assert hk.deliveries.replay(first).state is DeliveryState.PENDING
        hk.relay.run_due()
        assert states(hk) == {first: "delivered"}
    assert channel.ids == [first, first]
    assert channel.comments == ["slow", "slow, and wrong"]


def test_a_pending_delivery_is_replayed_at_once(url: str) -> None:
    """After a receiver was repaired, deliveries need not wait for the schedule, which starts again."""
    clock, channel = ManualClock(), Recorder(refuse)
    with connect_without_relay(clock, url, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        clock.turn(seconds=5)
        hk.relay.run_due()
        (waiting,) = hk.deliveries.find("pending")
        assert waiting.due_at > clock()
        channel.refuse = lambda _: None
        assert hk.deliveries.replay_all("pending") == 1
        assert hk.deliveries.get(waiting.id).tries == 0
        # It is due now, so a replay changes nothing.
        assert hk.deliveries.replay_all("pending") == 0
        hk.relay.run_due()
        assert states(hk) == {waiting.id: "delivered"}


def test_a_range_of_time_is_replayed(url: str) -> None:
    """Events from one instant on, and before another one, in any time zone."""
    clock, channel = ManualClock(), Recorder()
    with connect_without_relay(clock, url, channels={"ops": channel}) as hk:
        for number in range(4):
            hk.submit("s", "down", str(number))
            hk.relay.run_due()
            clock.turn(hours=1)
        channel.arrived.clear()
        assert hk.deliveries.replay_all("delivered", since=NOON + HOUR, until=NOON + 3 * HOUR) == 2
        hk.relay.run_due()
        assert sorted(channel.comments) == ["1", "2"]
        kathmandu = (NOON + 3 * HOUR).astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert hk.deliveries.replay_all("delivered", since=kathmandu) == 1


def test_a_route_is_replayed(url: str) -> None:
    """The deliveries that a route takes, to its channel: nothing of other routes or channels."""
    ops, audit = Recorder(), Recorder()
    routes = [
        {"name": "unhappy", "channel": "ops", "ratings": ["down"]},
        {"name": "happy", "channel": "ops", "ratings": ["up"], "applications": ["default"]},
        {"name": "all", "channel": "audit"},
    ]
    with connect_without_relay(url=url, channels={"ops": ops, "audit": audit}, routes=routes) as hk:
        hk.submit("s", "down", "slow")
        hk.submit("s", "down", "slow in the shop", application="shop")
        hk.submit("s", "up", "good")
        hk.relay.run_due()
        ops.arrived.clear()
        audit.arrived.clear()
        assert hk.deliveries.replay_all("delivered", route="unhappy", application="shop") == 1
        assert hk.deliveries.replay_all("delivered", route="happy", channel="ops") == 1
        hk.relay.run_due()
        assert (sorted(ops.comments), audit.comments) == (["good", "slow in the shop"], [])
        with pytest.raises(NoSuchRoute, match=r"Unknown route 'sad'; expected one of unhappy, happy, all"):
            hk.deliveries.replay_all("delivered", route="sad")
        with pytest.raises(InvalidQuery, match="leads to the channel 'ops', not to 'audit'"):
            hk.deliveries.replay_all("delivered", route="happy", channel="audit")
        # The routes of other applications are not disclosed.
        with pytest.raises(NoSuchRoute, match=r"expected one of unhappy, all$"):
            hk.deliveries.replay_all("delivered", route="happy", application="shop")


def test_an_alert_is_replayed_by_its_route(url: str) -> None:
    """A route that takes alerts replays them, and no feedback."""
    channel = Recorder()
    rule = {"name": "streak", "kind": "streak", "length": 1}
    routes = [{"name": "alerts", "channel": "ops", "events": ["alert.raised"]}, {"name": "rest", "channel": "ops"}]
    with connect_without_relay(url=url, channels={"ops": channel}, routes=routes, alert_rules=[rule]) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        channel.arrived.clear()
        assert hk.deliveries.replay_all("delivered", route="alerts") == 1
        hk.relay.run_due()
        assert channel.types == ["alert.raised"]


def test_more_than_a_page_is_replayed_once(url: str) -> None:
    """Any number of deliveries, although they are listed again while the list is read."""
    channel = Recorder()
    with connect_without_relay(url=url, channels={"ops": channel}) as hk:
        for number in range(1_100):
            hk.collection.submit_soon(one_of_many(number))
        hk.collection.close()
        hk.relay.run_due()
        assert hk.deliveries.replay_all("delivered") == 1_100
        assert hk.deliveries.replay_all("delivered") == 0
        hk.relay.run_due()
    assert len(channel.ids) == 2_200
    assert len(set(channel.ids)) == 1_100


@pytest.mark.parametrize(
    ("state", "options", "said"),
    [
        ("lost", {}, "'pending', 'delivered' or 'dead'"),
        ("dead", {"since": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - that is the point
        ("dead", {"until": datetime.max.replace(tzinfo=timezone(-HOUR))}, "years"),
        ("dead", {"as_of": datetime.max.replace(tzinfo=timezone(-HOUR))}, "as_of.*years"),
        ("dead", {"application": "\0"}, "application"),
    ],
)
def test_invalid_arguments_are_refused(state: str, options: dict[str, object], said: str) -> None:
    """A state, a time or a name that is invalid gets an error that says so."""
    with connect_without_relay() as hk, pytest.raises(InvalidQuery, match=said):
        hk.deliveries.replay_all(state, **options)  # type: ignore[arg-type]


def test_unknown_deliveries_are_not_replayed(url: str) -> None:
    """A delivery that is unknown or of another application is not found, and is not changed."""
    channel = Recorder()
    with connect_without_relay(url=url, channels={"ops": channel}) as hk:
        hk.submit("s", "up", application="shop")
        hk.relay.run_due()
        (there,) = channel.ids
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay(there, application="default")
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay(f"{there}x")
        assert hk.deliveries.replay_all("delivered", application="default") == 0
        assert states(hk) == {there: "delivered"}


def test_a_delivery_that_is_sent_meanwhile_is_not_replayed_again(url: str) -> None:
    """A quick relay neither makes the replay endless nor makes it count anything twice."""
    channel = Recorder()
    with connect_without_relay(ManualClock(), url, channels={"ops": channel}) as hk:
        for number in range(600):
            hk.collection.submit_soon(one_of_many(number))
        hk.collection.close()
        hk.relay.run_due()
        listed = hk.outbox.deliveries
        pages = 0

        def relay_first(*args: object, **options: object) -> object:
            nonlocal pages
            if pages:
                hk.relay.run_due()
            pages += 1
            return listed(*args, **options)  # type: ignore[arg-type]

        hk.deliveries._outbox.deliveries = relay_first  # type: ignore[assignment]
        hk.outbox.deliveries = relay_first  # type: ignore[assignment]
        assert hk.deliveries.replay_all("delivered") == 600
        hk.relay.run_due()
    assert len(channel.ids) == 1_200


def test_erasures_are_replayed_with_any_route_to_the_channel(url: str) -> None:
    """A receiver that restored an old state must not keep feedback that was erased since."""
    channel = Recorder()
    routes = [{"name": "downs", "channel": "ops", "ratings": ["down"]}]
    with connect_without_relay(url=url, channels={"ops": channel}, routes=routes) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        hk.collection.erase(hk.query(session_id="s"))
        hk.relay.run_due()
        channel.arrived.clear()
        assert hk.deliveries.replay_all("delivered", route="downs") == 1
        hk.relay.run_due()
    assert channel.types == ["feedback.erased"]


# --- Removed channels -------------------------------------------------------------------------------------------------


def test_deliveries_of_a_renamed_channel_are_moved(url: str) -> None:
    """The channel is listed with its number of deliveries; moved, they arrive in order at the new one, attempted or
    not.
    """
    clock, new = ManualClock(), Recorder()
    with open_storage(url) as storage:
        waiting_for_old(clock, storage)
        with connect_without_relay(clock, storage, channels={"new": new}) as hk:
            assert hk.deliveries.stranded() == {"old": 3}
            with pytest.raises(NoSuchChannel, match="Unknown channel 'neu'; expected new"):
                hk.deliveries.move("old", "neu")
            with pytest.raises(NoSuchChannel, match=r"No delivery waits for a channel 'ols'.*are old"):
                hk.deliveries.move("ols", "new")
            assert hk.deliveries.move("old", "new") == 3
            assert hk.deliveries.stranded() == {}
            hk.relay.run_due()
            assert set(states(hk).values()) == {"delivered"}
    about_first = [one.type.value for one in new.arrived if one.feedback and one.feedback.rating.value == "down"]
    assert about_first == ["feedback.created", "feedback.updated"]
    assert len(new.ids) == 3


def test_deliveries_of_a_removed_channel_are_buried(url: str) -> None:
    """They are dead, with the reason; replayed when the channel is configured again, they arrive."""
    clock, old = ManualClock(), Recorder()
    with open_storage(url) as storage:
        waiting_for_old(clock, storage)
        with connect_without_relay(clock, storage, channels={"new": Recorder()}) as hk:
            assert hk.deliveries.bury("old") == 3
            assert {one.error for one in hk.deliveries.find("dead")} == {"There is no channel 'old' any more"}
            assert hk.deliveries.stranded() == {}
        clock.turn(minutes=1)
        with connect_without_relay(clock, storage, channels={"old": old}) as hk:
            assert hk.deliveries.replay_all(channel="old") == 3
            hk.relay.run_due()
    assert len(old.ids) == 3


def test_a_configured_channel_keeps_its_deliveries() -> None:
    """They are neither moved nor buried: a relay sends them."""
    with connect_without_relay(channels={"ops": Recorder(refuse), "log": Recorder()}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        for call in (lambda: hk.deliveries.move("ops", "log"), lambda: hk.deliveries.bury("ops")):
            with pytest.raises(InvalidQuery, match="switch it off instead"):
                call()
        assert hk.deliveries.stranded() == {}


def test_claimed_deliveries_are_not_moved() -> None:
    """Another program that still has the channel keeps its claim."""
    clock = ManualClock()
    with open_storage("memory://") as storage:
        waiting_for_old(clock, storage)
        clock.turn(days=1)
        (held,) = storage.outbox.claim("old", now=clock(), until=clock() + HOUR, limit=1)
        with connect_without_relay(clock, storage, channels={"new": Recorder()}) as hk:
            moved = hk.deliveries.move("old", "new")
            assert hk.deliveries.get(held.id).channel == "old"
            assert hk.deliveries.stranded() == {"old": 3 - moved}
            clock.turn(hours=1)
            hk.deliveries.move("old", "new")
            assert hk.deliveries.stranded() == {}


ONLY_CREATED = {"name": "created", "channel": "ops", "events": ["feedback.created"]}


def one_of_many(number: int) -> Submission:
    """One of many."""
    return Submission(target=Target(f"s{number}"), rating="up")


def waiting_for_old(clock: ManualClock, storage: Storage) -> None:
    """Create three deliveries for the channel ``old``: two about one entry, the first of which was attempted."""
    with connect_without_relay(clock, storage, channels={"old": Recorder(refuse)}) as hk:
        one = hk.submit("s", "down", "slow").feedback
        hk.relay.run_due()
        hk.collection.change("default", one.id, Change(comment="slow, and wrong"))
        hk.submit("s", "up")
        hk.relay.dispatch()

"""Sending deliveries again, and what waits for channels that are gone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from channels import Recorder, telling
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
    """What a receiver does that is down."""
    raise DeliveryFailed("nobody is at home")


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind."""
    if request.param == "mongodb":
        return str(request.getfixturevalue("mongodb_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"


def states(hk: Harken) -> dict[str, str]:
    """By delivery, how far it has come."""
    return {one.id: one.state.value for state in DeliveryState for one in hk.deliveries.find(state)}


# --- sending again ----------------------------------------------------------------------------------------------------


def test_what_was_delivered_is_sent_again_by_its_id(url: str) -> None:
    """A receiver that lost its data gets it again: under the old id, and as the feedback reads now."""
    channel = Recorder()
    with telling(url=url, channels={"ops": channel}, routes=[ONLY_CREATED]) as hk:
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


def test_what_waits_for_its_next_try_is_tried_at_once(url: str) -> None:
    """After a receiver was repaired, nobody need wait for the schedule, which begins again."""
    clock, channel = ManualClock(), Recorder(refuse)
    with telling(clock, url, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        clock.turn(seconds=5)
        hk.relay.run_due()
        (waiting,) = hk.deliveries.find("pending")
        assert waiting.due_at > clock()
        channel.refuse = lambda _: None
        assert hk.deliveries.replay_all("pending") == 1
        assert hk.deliveries.get(waiting.id).tries == 0
        # It is due now: there is nothing to hurry.
        assert hk.deliveries.replay_all("pending") == 0
        hk.relay.run_due()
        assert states(hk) == {waiting.id: "delivered"}


def test_a_range_of_time_is_sent_again(url: str) -> None:
    """What happened from one instant on, and before another one; whatever zone they are in."""
    clock, channel = ManualClock(), Recorder()
    with telling(clock, url, channels={"ops": channel}) as hk:
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


def test_a_route_is_sent_again(url: str) -> None:
    """What a route takes, to its channel: nothing that only another route brought there, and no other channel's."""
    ops, audit = Recorder(), Recorder()
    routes = [
        {"name": "unhappy", "channel": "ops", "ratings": ["down"]},
        {"name": "happy", "channel": "ops", "ratings": ["up"], "applications": ["default"]},
        {"name": "all", "channel": "audit"},
    ]
    with telling(url=url, channels={"ops": ops, "audit": audit}, routes=routes) as hk:
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
        with pytest.raises(NoSuchRoute, match=r"no route 'sad'; known are unhappy, happy, all"):
            hk.deliveries.replay_all("delivered", route="sad")
        with pytest.raises(InvalidQuery, match="leads to the channel 'ops', not to 'audit'"):
            hk.deliveries.replay_all("delivered", route="happy", channel="audit")
        # Of the routes of others nothing is told.
        with pytest.raises(NoSuchRoute, match=r"known are unhappy, all$"):
            hk.deliveries.replay_all("delivered", route="happy", application="shop")


def test_an_alert_is_sent_again_by_its_route(url: str) -> None:
    """A route that takes alerts brings them again, and no feedback."""
    channel = Recorder()
    rule = {"name": "streak", "kind": "streak", "length": 1}
    routes = [{"name": "alerts", "channel": "ops", "events": ["alert.raised"]}, {"name": "rest", "channel": "ops"}]
    with telling(url=url, channels={"ops": channel}, routes=routes, alert_rules=[rule]) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        channel.arrived.clear()
        assert hk.deliveries.replay_all("delivered", route="alerts") == 1
        hk.relay.run_due()
        assert channel.types == ["alert.raised"]


def test_more_than_a_page_is_sent_again_once(url: str) -> None:
    """However many there are, and though they come back into the list while it is read."""
    channel = Recorder()
    with telling(url=url, channels={"ops": channel}) as hk:
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
        ("dead", {"application": "\0"}, "application"),
    ],
)
def test_what_cannot_be_meant_is_refused(state: str, options: dict[str, object], said: str) -> None:
    """A state, a time or a name that is invalid gets an error that says so."""
    with telling() as hk, pytest.raises(InvalidQuery, match=said):
        hk.deliveries.replay_all(state, **options)  # type: ignore[arg-type]


def test_what_is_unknown_or_of_another_application_is_not_sent_again(url: str) -> None:
    """It is not found, and stays as it is."""
    channel = Recorder()
    with telling(url=url, channels={"ops": channel}) as hk:
        hk.submit("s", "up", application="shop")
        hk.relay.run_due()
        (there,) = channel.ids
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay(there, application="default")
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay(f"{there}x")
        assert hk.deliveries.replay_all("delivered", application="default") == 0
        assert states(hk) == {there: "delivered"}


def test_what_is_delivered_again_meanwhile_is_not_sent_once_more(url: str) -> None:
    """A relay that is quick does not make the replay go on for ever, nor count anything twice."""
    channel = Recorder()
    with telling(ManualClock(), url, channels={"ops": channel}) as hk:
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


def test_erasures_are_sent_again_with_any_route_to_the_channel(url: str) -> None:
    """A receiver that went back to an old state must not keep what was erased since."""
    channel = Recorder()
    routes = [{"name": "downs", "channel": "ops", "ratings": ["down"]}]
    with telling(url=url, channels={"ops": channel}, routes=routes) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        hk.collection.erase(hk.query(session_id="s"))
        hk.relay.run_due()
        channel.arrived.clear()
        assert hk.deliveries.replay_all("delivered", route="downs") == 1
        hk.relay.run_due()
    assert channel.types == ["feedback.erased"]


# --- channels that are gone -------------------------------------------------------------------------------------------


def test_what_waits_for_a_renamed_channel_is_moved(url: str) -> None:
    """It is named, with how much waits; moved, it arrives in order at the new one, tried or not."""
    clock, new = ManualClock(), Recorder()
    with open_storage(url) as storage:
        waiting_for_old(clock, storage)
        with telling(clock, storage, channels={"new": new}) as hk:
            assert hk.deliveries.stranded() == {"old": 3}
            with pytest.raises(NoSuchChannel, match="no channel 'neu'; known are new"):
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


def test_what_waits_for_a_removed_channel_is_buried(url: str) -> None:
    """It is dead, with the reason; replayed when the channel is back, it arrives."""
    clock, old = ManualClock(), Recorder()
    with open_storage(url) as storage:
        waiting_for_old(clock, storage)
        with telling(clock, storage, channels={"new": Recorder()}) as hk:
            assert hk.deliveries.bury("old") == 3
            assert {one.error for one in hk.deliveries.find("dead")} == {"There is no channel 'old' any more"}
            assert hk.deliveries.stranded() == {}
        clock.turn(minutes=1)
        with telling(clock, storage, channels={"old": old}) as hk:
            assert hk.deliveries.replay_all(channel="old") == 3
            hk.relay.run_due()
    assert len(old.ids) == 3


def test_a_channel_that_is_configured_keeps_what_waits_for_it() -> None:
    """Neither moved nor buried: a relay sends it."""
    with telling(channels={"ops": Recorder(refuse), "log": Recorder()}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        for call in (lambda: hk.deliveries.move("ops", "log"), lambda: hk.deliveries.bury("ops")):
            with pytest.raises(InvalidQuery, match="switch it off instead"):
                call()
        assert hk.deliveries.stranded() == {}


def test_what_somebody_sends_right_now_is_not_moved() -> None:
    """Another program that still knows the channel keeps its claim."""
    clock = ManualClock()
    with open_storage("memory://") as storage:
        waiting_for_old(clock, storage)
        clock.turn(days=1)
        (held,) = storage.outbox.claim("old", now=clock(), until=clock() + HOUR, limit=1)
        with telling(clock, storage, channels={"new": Recorder()}) as hk:
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
    """Leave three deliveries for the channel ``old``: two about one feedback, of which the first was tried."""
    with telling(clock, storage, channels={"old": Recorder(refuse)}) as hk:
        one = hk.submit("s", "down", "slow").feedback
        hk.relay.run_due()
        hk.collection.change("default", one.id, Change(comment="slow, and wrong"))
        hk.submit("s", "up")
        hk.relay.dispatch()

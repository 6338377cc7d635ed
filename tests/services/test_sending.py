"""Sending: notifications are current when they are sent, in order, and by one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from threading import Event
from typing import Any, Final

import pytest
from attrs import evolve

from channels import Recorder, connect_without_relay
from harken import Change, DeliveryFailed, Harken, Notification, Route, StorageUnavailable, Target
from harken.configuration.storage_urls import open_storage
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.services.notifications import lane as lane_module
from harken.services.notifications import relay as relay_module
from harken.services.notifications.lane import LEASE
from support import NOON, ManualClock, counting_ids, eventually

SECRET: Final = "my secret"
SPAM: Final = "I click here and nothing happens"


def pending(hk: Harken) -> list[str]:
    """The types of the pending deliveries."""
    return [one.event.type.value for one in hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=100)]


def erase(hk: Harken) -> object:
    """Erase the feedback."""
    return hk.collection.erase(hk.query(author="victim"))


def withdraw(hk: Harken) -> object:
    """Withdraw the second feedback."""
    return hk.collection.withdraw("default", "id-000002")


def change(hk: Harken) -> object:
    """Change the second feedback."""
    return hk.collection.change("default", "id-000002", Change(comment="something else"))


def decide(status: str) -> Callable[[Harken], object]:
    """Moderate the second feedback."""
    return lambda hk: hk.moderation.decide("default", "id-000002", status)


# --- Current content --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        # The first one was being sent when it happened.
        (erase, ["feedback.created", "feedback.erased"]),
        (withdraw, ["feedback.created", "feedback.withdrawn"]),
        (decide("rejected"), ["feedback.created", "feedback.moderated"]),
        (decide("pending"), ["feedback.created", "feedback.moderated"]),
        (change, ["feedback.created", "feedback.created", "feedback.updated"]),
    ],
)
def test_changes_while_a_batch_is_sent(meanwhile: Callable[[Harken], object], expected: list[str]) -> None:
    """If feedback of a claimed batch is erased, withdrawn or changed, its old content is not sent any more."""

    def interfere(_: Notification) -> None:
        channel.refuse = lambda _: None
        meanwhile(hk)

    channel = Recorder(interfere)
    with connect_without_relay(channels={"ops": channel}) as hk:
        for _ in range(2):
            hk.submit("s", "down", SECRET, author="victim")
        hk.relay.run_due()
        assert pending(hk) == []
    first, *others = channel.arrived
    assert [one.type.value for one in (first, *others)] == expected
    assert (first.feedback and first.feedback.id) == "id-000001"
    assert SECRET not in repr(others)


def test_an_erasure_is_sent_with_ids_only() -> None:
    """A receiver that got feedback gets its ids when it is erased; one that got nothing is not notified."""
    all_of_it, ups = Recorder(), Recorder()
    routes = [
        {"name": "all", "channel": "all", "template": "{{ type }}: {{ comment }}"},
        {"name": "ups", "channel": "ups", "ratings": ["up"]},
    ]
    with connect_without_relay(channels={"all": all_of_it, "ups": ups}, routes=routes) as hk:
        hk.submit("session-1", "down", SECRET, author="victim")
        hk.relay.run_due()
        erase(hk)
        hk.relay.run_due()
        assert pending(hk) == []
    assert (all_of_it.types, ups.types) == (["feedback.created", "feedback.erased"], [])
    last = all_of_it.arrived[-1]
    assert (last.feedback, last.alert, last.text) == (None, None, None)
    assert last.erased is not None
    assert (last.application, last.erased.session_id, last.erased.id) == ("default", "session-1", "id-000001")
    assert last.id != all_of_it.arrived[0].id


@pytest.mark.parametrize("status", ["rejected", "pending"])
def test_no_content_of_feedback_that_is_not_counted(status: str) -> None:
    """A decision is sent with ids, rating and status; with content only if a route for decisions asks for it."""
    plain, asking, other, crossed = (Recorder() for _ in range(4))
    routes: list[dict[str, object]] = [
        {"name": "plain", "channel": "plain"},
        {"name": "asking", "channel": "asking", "statuses": [status, "approved"]},
        {"name": "other", "channel": "other"},
        {"name": "others", "channel": "other", "statuses": [status], "ratings": ["up"]},
        {"name": "decisions", "channel": "crossed", "events": ["feedback.moderated"]},
        {"name": "new", "channel": "crossed", "events": ["feedback.created"], "statuses": [status, "approved"]},
    ]
    channels = {"plain": plain, "asking": asking, "other": other, "crossed": crossed}
    with connect_without_relay(channels=channels, routes=routes, replies=[{"tag": SECRET, "text": SECRET}]) as hk:
        hk.submit("s", "down", SECRET, tags=[SECRET], context={"about": SECRET})
        hk.relay.run_due()
        hk.moderation.decide("default", "id-000001", status)
        hk.relay.run_due()
    for channel in channels.values():
        assert channel.types == ["feedback.created", "feedback.moderated"]
        assert repr(channel.arrived[0]).count(SECRET) == 4
    for channel in (plain, other, crossed):
        sent = channel.arrived[1].feedback
        assert sent is not None
        assert SECRET not in repr(sent)
        assert (sent.id, sent.session_id, sent.moderation.status.value) == ("id-000001", "s", status)
        assert sent.rating.value == "down"
    assert repr(asking.arrived[1]).count(SECRET) == 4


def test_old_content_is_not_sent() -> None:
    """No notifier gets content from before a change or withdrawal."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.submit("s", "down", SECRET)
        hk.collection.change("default", "id-000001", Change(comment="harmless"))
        hk.relay.run_due()
        hk.collection.withdraw("default", "id-000001")
        hk.relay.run_due()
    assert channel.comments == ["harmless", "harmless", ""]
    assert SECRET not in repr(channel.arrived)


def test_a_held_change_is_sent_without_content() -> None:
    """A receiver of feedback that is held after a change is notified of the change, without the new content."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}, spam="hold") as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        hk.collection.change("default", "id-000001", Change(comment=SPAM))
        hk.relay.run_due()
    assert channel.types == ["feedback.created", "feedback.updated"]
    assert channel.comments == ["slow", ""]


def test_restored_by_a_new_vote() -> None:
    """A vote that was withdrawn and cast again before anything was sent has its current content, in order."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.collection.set_vote(Target("s"), "kim", "down", "slow")
        hk.collection.withdraw("default", "id-000001")
        hk.collection.set_vote(Target("s"), "kim", "down", "slow again")
        hk.relay.run_due()
    assert channel.types == ["feedback.created", "feedback.withdrawn", "feedback.updated"]
    assert channel.comments == ["slow again", "", "slow again"]


@pytest.mark.parametrize(("others", "sent"), [([], ["feedback.created"]), ([{"tags": ["none"]}], [])])
def test_a_removed_route(others: list[dict[str, object]], sent: list[str]) -> None:
    """Deliveries of a removed route are still sent, unless the other routes to the channel do not take them."""
    channel = Recorder()
    routes = [{"name": f"other-{number}", "channel": "ops", **filters} for number, filters in enumerate(others)]
    with connect_without_relay(
        channels={"ops": channel, "log": Recorder()}, routes=[*routes, {"name": "log", "channel": "log"}]
    ) as hk:
        hk.routes.put(Route(name="all", channel="ops"))
        hk.submit("s", "up")
        hk.relay.dispatch()
        hk.routes.delete("all")
        hk.relay.run_due()
    assert channel.types == sent


def test_another_team_gets_no_content() -> None:
    """Feedback that moves to another agent meanwhile is not sent as new, and its change without content."""
    helper, everything = Recorder(), Recorder()
    routes: list[dict[str, object]] = [
        {"name": "new", "channel": "helper", "events": ["feedback.created"], "agents": ["helper"]},
        {"name": "all", "channel": "everything", "agents": ["helper"]},
    ]
    with connect_without_relay(channels={"helper": helper, "everything": everything}, routes=routes) as hk:
        hk.collection.set_vote(Target("s", None, "helper"), "kim", "down", "slow")
        hk.collection.set_vote(Target("s", None, "payroll"), "kim", "down", "my salary")
        hk.relay.run_due()
    assert helper.types == []
    assert (everything.types, everything.comments) == (["feedback.updated"], [""])


@pytest.mark.parametrize("at", ["fan-out", "send"])
def test_an_alert_is_emptied_before_it_is_sent(at: str) -> None:
    """The raising of an alert is not sent after its feedback was erased; its resolution has no content."""
    channel = Recorder()
    rules: list[dict[str, object]] = [{"name": "streak", "kind": "streak", "length": 2, "by": "session"}]

    def interfere(notification: Notification) -> None:
        if at == "send" and notification.type.value == "feedback.created":
            erase(hk)

    channel.refuse = interfere
    with connect_without_relay(channels={"ops": channel}, alert_rules=rules) as hk:
        for _ in range(2):
            hk.submit("s", "down", SECRET, author="victim")
        if at == "fan-out":
            hk.alerts.on_feedback(list(hk.export()))
            erase(hk)
        hk.relay.run_due()
        assert pending(hk) == []
    assert "alert.raised" not in channel.types
    assert [one.alert.message for one in channel.arrived if one.alert is not None] == [""]


def test_an_attempt_counts_although_its_outcome_could_not_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feedback may have arrived, so the channel is notified of its erasure."""
    clock, channel = ManualClock(), Recorder()

    def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable("for a moment")

    def refuse(_: Notification) -> None:
        raise DeliveryFailed("timed out")

    channel.refuse = refuse
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "down", SECRET, author="victim")
        monkeypatch.setattr(hk.outbox, "back_off", fail)
        with pytest.raises(StorageUnavailable):
            hk.relay.run_due()
        monkeypatch.undo()
        channel.refuse = lambda _: None
        erase(hk)
        clock.turn(minutes=1)
        hk.relay.run_due()
    assert channel.types == ["feedback.erased"]


def test_an_erasure_wakes_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure is sent at once, although it has no event."""
    monkeypatch.setattr(relay_module, "POLL", 3600.0)
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.start_relay()
        hk.submit("s", "down", SECRET, author="victim")
        eventually(lambda: channel.types == ["feedback.created"] and not pending(hk))
        erase(hk)
        eventually(lambda: channel.types[1:] == ["feedback.erased"])


def test_an_erasure_during_a_send_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send that was running during the erasure may arrive; the notification of the erasure follows it."""
    monkeypatch.setattr(relay_module, "POLL", 3600.0)
    let_go = Event()
    channel = Recorder(lambda _: let_go.wait(20))
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.start_relay()
        hk.submit("s", "down", SECRET, author="victim")
        eventually(lambda: channel.tried)
        erase(hk)
        let_go.set()
        eventually(lambda: channel.types == ["feedback.created", "feedback.erased"])


# --- Order ------------------------------------------------------------------------------------------------------------


def test_a_burst_of_changes_arrives_in_order_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change waits for the one before, and not for the next poll of the relay."""
    monkeypatch.setattr(relay_module, "POLL", 3600.0)
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        for number in range(3):
            hk.submit("s", "down", "slow")
            for version in range(4):
                hk.collection.change("default", f"id-{number + 1:06}", Change(comment=f"{version}"))
        hk.start_relay()
        hk.relay.nudge()
        eventually(lambda: len(channel.arrived) == 15)
    for number in range(3):
        theirs = [one for one in channel.arrived if one.feedback and one.feedback.id == f"id-{number + 1:06}"]
        assert [one.type.value for one in theirs] == ["feedback.created"] + ["feedback.updated"] * 4
        assert len({one.id for one in theirs}) == 5


def test_a_failed_delivery_delays_its_successors_only() -> None:
    """While the first delivery about feedback is retried, its changes wait, and others do not. A dead one releases
    them.
    """
    clock = ManualClock()

    def refuse_first(notification: Notification) -> None:
        if notification.feedback is not None and notification.feedback.id == "id-000001":
            raise DeliveryFailed("not this one", retryable=clock.now == NOON)

    channel = Recorder(refuse_first)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "down", "slow")
        hk.submit("s", "up", "fine")
        hk.collection.change("default", "id-000001", Change(comment="slower"))
        hk.relay.run_due()
        assert channel.comments == ["fine"]
        assert sorted(pending(hk)) == ["feedback.created", "feedback.updated"]
        clock.turn(days=1)
        hk.relay.run_due()
        # Both are dead: the second was sent as soon as the first was dead.
        assert pending(hk) == []
    assert [one.type.value for one in channel.tried][-2:] == ["feedback.created", "feedback.updated"]


def test_deliveries_are_settled_before_the_batch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slow receiver, deliveries are settled soon, so that later events do not wait for the whole batch."""
    monkeypatch.setattr(lane_module, "_UNSETTLED", 0.0)
    settled: list[int] = []

    def count(_: Notification) -> None:
        settled.append(len(hk.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=10)))

    with connect_without_relay(channels={"ops": Recorder(count)}) as hk:
        for _ in range(4):
            hk.submit("s", "up")
        hk.relay.run_due()
    assert settled == [0, 1, 2, 3]


def test_order_with_several_threads_and_a_failing_receiver() -> None:
    """With any number of threads and retries, versions of feedback arrive in order."""
    clock, failing = ManualClock(), iter([True, False, False] * 1_000)

    def sometimes(_: Notification) -> None:
        if next(failing):
            raise DeliveryFailed("not now")

    channel = Recorder(sometimes)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        for number in range(20):
            hk.submit("s", "down", "slow")
            for version in range(2):
                hk.collection.change("default", f"id-{number + 1:06}", Change(comment=f"{version}"))
        hk.start_relay(concurrency=4)
        hk.relay.nudge()

        def all_arrived() -> bool:
            waiting = hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=100)
            first = {one.event.subject_id: one for one in sorted(waiting, key=lambda one: -one.event.version)}
            if not hk.outbox.events(limit=1) and all(one.due_at > clock.now for one in first.values()):
                # No thread is sending, so no lease expires.
                clock.turn(hours=1)
                hk.relay.nudge()
            return len(channel.arrived) >= 60

        eventually(all_arrived)
    by_feedback: dict[str, list[str]] = {}
    for one in channel.arrived:
        assert one.feedback is not None
        by_feedback.setdefault(one.feedback.id, []).append(one.type.value)
    assert set(map(tuple, by_feedback.values())) == {("feedback.created", "feedback.updated", "feedback.updated")}


# --- One clock --------------------------------------------------------------------------------------------------------


@contextmanager
def two_relays(channel: Recorder, ahead: timedelta) -> Iterator[tuple[Harken, Harken, ManualClock]]:
    """Two Harkens on one storage with different clocks, and the clock of the storage."""
    true, new_id = ManualClock(), counting_ids()

    def wrong() -> datetime:
        return true.now + ahead

    with ExitStack() as stack:
        storage = evolve(stack.enter_context(open_storage("memory://")), clock=lambda _: true)
        options: dict[str, Any] = {"url": storage, "channels": {"ops": channel}, "new_id": new_id}
        one = stack.enter_context(connect_without_relay(true, **options))
        other = stack.enter_context(connect_without_relay(wrong, **options))  # type: ignore[arg-type] # a clock, too
        yield one, other, true


@pytest.mark.parametrize("hours", [-5, 5])
def test_two_relays_with_different_clocks(hours: int) -> None:
    """Leases, due times and retries follow the clock of the storage: nothing is sent twice, or hours late."""
    channel = Recorder()
    with two_relays(channel, timedelta(hours=hours)) as (one, other, clock):

        def other_looks(_: Notification) -> None:
            # While one sends its claims, the other looks for work.
            channel.refuse = lambda _: None
            assert other.relay.run_due() == 0

        channel.refuse = other_looks
        one.submit("s", "up")
        assert one.relay.run_due() == 1
        other.submit("s", "down", SECRET, author="victim")
        assert other.relay.dispatch() == 1
        assert one.relay.run_due() == 1
        # A delivery that fails in the other is due again by the storage's clock.
        channel.refuse = _refuse
        other.submit("s", "up")
        other.relay.run_due()
        (waiting,) = one.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)
        assert waiting.due_at == clock.now + timedelta(seconds=5)
        channel.refuse = lambda _: None
        clock.turn(seconds=5)
        assert one.relay.run_due() == 1
        # Also an erasure, and a lease that is not ended.
        erase(other)
        claimed = other.outbox.claim("ops", now=clock.now, until=clock.now + LEASE, limit=1)
        assert [one.event.type.value for one in claimed] == ["feedback.erased"]
        assert one.relay.run_due() == 0
        clock.now += LEASE
        assert one.relay.run_due() == 1
    assert len(channel.ids) == len(set(channel.ids)) == 4
    assert {one.sent_at for one in channel.arrived} <= {NOON + timedelta(seconds=s) for s in (0, 5, 50)}


def _refuse(_: Notification) -> None:
    raise DeliveryFailed("not now")

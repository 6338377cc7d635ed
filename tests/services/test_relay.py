"""The relay: events are sent to the channels of their routes until they arrive."""

from __future__ import annotations

import logging
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import Recorder, connect_without_relay
from harken import (
    Change,
    ConfigurationError,
    DeliveryFailed,
    DeliveryNotFound,
    FeedbackRejected,
    Harken,
    NoSuchChannel,
    RatingPolicy,
    RouteRejected,
    StorageUnavailable,
)
from harken.configuration.storage_urls import open_storage
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState
from harken.ports.notifier import Notification
from harken.services.notifications.lane import LEASE, SCHEDULE
from support import NOON, PATIENCE, ManualClock, eventually

DAYS_3 = timedelta(days=3)


def refuse(*_: object) -> None:
    """A receiver that always fails."""
    raise DeliveryFailed("connection refused")


def dead(hk: Harken) -> list[Delivery]:
    """The dead letters."""
    return list(hk.outbox.deliveries(DeliveryQuery(DeliveryState.DEAD), limit=100))


def pending(hk: Harken) -> list[Delivery]:
    """The pending deliveries."""
    return list(hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=100))


def alerts_about_channels(hk: Harken) -> list[tuple[str, bool]]:
    """The channels that alerts are about, and whether the alerts are open."""
    found = hk.alerts.find("default", limit=100)
    return [(alert.subject.value, alert.is_open) for alert in found if alert.subject.by == "channel"]


# --- Routing ----------------------------------------------------------------------------------------------------------


def test_every_event_is_sent() -> None:
    """Created, changed, moderated and withdrawn feedback is sent, in order, with its content at that time."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        feedback = hk.submit("s", "down", "slow", agent_id="a").feedback
        hk.relay.run_due()
        hk.collection.change("default", feedback.id, Change(comment="slow, and wrong"))
        hk.relay.run_due()
        hk.moderation.decide("default", feedback.id, "rejected")
        hk.relay.run_due()
        hk.collection.withdraw("default", feedback.id)
        hk.relay.run_due()
    assert channel.types == ["feedback.created", "feedback.updated", "feedback.moderated", "feedback.withdrawn"]
    assert channel.comments[:2] == ["slow", "slow, and wrong"]
    assert len(set(channel.ids)) == 4


def test_a_delivery_has_the_id_of_its_event_and_channel() -> None:
    """The id is derived from both, so every process and every attempt uses the same."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        (event,) = hk.outbox.events(limit=9)
        hk.relay.run_due()
    assert channel.ids == [f"{event.id}:ops"]
    assert channel.arrived[0].occurred_at == event.occurred_at


def test_routes_filter() -> None:
    """An event that no route takes is not sent; each channel gets an event once, by any number of routes."""
    first, second = Recorder(), Recorder()
    routes: list[dict[str, object]] = [
        {"name": "unhappy", "channel": "first", "ratings": ["down"], "applications": ["shop"]},
        {"name": "slow", "channel": "first", "tags": ["slow"]},
        {
            "name": "neither",
            "channel": "second",
            "ratings": ["neutral"],
            "agents": ["a"],
            "events": ["feedback.created"],
        },
    ]
    with connect_without_relay(channels={"first": first, "second": second}, routes=routes) as hk:
        hk.submit("s", "down", "both", tags=["slow"], application="shop")
        hk.submit("s", "down", "by tag", tags=["slow", "dear"])
        hk.submit("s", "down", "by none")
        hk.submit("s", None, "neither", agent_id="a")
        hk.submit("s", None, "of another", agent_id="b")
        hk.relay.run_due()
        assert list(hk.outbox.events(limit=9)) == []
    assert (first.comments, second.comments) == (["both", "by tag"], ["neither"])


def test_held_feedback_is_sent_when_it_is_approved() -> None:
    """Held spam is sent only to a route that asks for it, which is notified of the decision too."""
    plain, curious = Recorder(), Recorder()
    routes: list[dict[str, object]] = [
        {"name": "plain", "channel": "plain"},
        {"name": "held", "channel": "curious", "statuses": ["pending"]},
    ]
    with connect_without_relay(channels={"plain": plain, "curious": curious}, routes=routes, spam="hold") as hk:
        held = hk.submit("s", "up", "free casino for all").feedback
        hk.relay.run_due()
        assert (plain.types, curious.types) == ([], ["feedback.created"])
        hk.moderation.decide("default", held.id, "approved")
        hk.relay.run_due()
    assert (plain.types, curious.types) == (["feedback.moderated"], ["feedback.created", "feedback.moderated"])


def test_the_default_channel_is_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Without any configuration, events are in the log."""
    with connect_without_relay() as hk, caplog.at_level("INFO"):
        hk.submit("s", "down", "slow")
        assert hk.relay.run_due() == 1
    assert [record.levelname for record in caplog.records if record.name == "harken.notifications"] == ["WARNING"]


def test_a_template_renders_the_text() -> None:
    """The first route that takes the event renders the text; if its template fails, the channel uses its own text."""
    channel = Recorder()
    routes: list[dict[str, object]] = [
        {"name": "broken", "channel": "ops", "ratings": ["up"], "template": "{{ figures.none.such }}"},
        {"name": "texts", "channel": "ops", "template": "{{ rating }} from {{ session_id }}: {{ comment }}"},
    ]
    with connect_without_relay(channels={"ops": channel}, routes=routes) as hk:
        hk.submit("s", "down", "slow")
        hk.submit("s", "up", "fine")
        hk.relay.run_due()
    assert [one.text for one in channel.arrived] == ["down from s: slow", None]


def test_an_invalid_template_is_refused() -> None:
    """An error in a template is found when Harken is connected, not when an event is sent."""
    routes: list[dict[str, object]] = [{"name": "r", "channel": "log", "template": "{{ rating"}]
    with pytest.raises(RouteRejected, match="The template of route 'r' cannot be used"):
        connect_without_relay(routes=routes)


def test_a_template_that_does_too_much_work() -> None:
    """Its delivery is dead with that reason after the first attempt; it is not a failure of the channel, and delays
    nothing.
    """
    channel = Recorder()
    template = "{{ (comment ~ comment)|upper|truncate(9, true) }}"
    routes: list[dict[str, object]] = [{"name": "loud", "channel": "ops", "tags": ["x"], "template": template}]
    long = "word " * 50_000
    policy = RatingPolicy.standard(max_comment_length=None)
    with connect_without_relay(
        channels={"ops": channel}, routes=[*routes, {"name": "all", "channel": "ops"}], policy=policy
    ) as hk:
        hk.submit("s", "up", long, tags=["x"])
        hk.submit("s", "up", "fine", tags=["x"])
        hk.submit("s", "up", long)
        hk.relay.run_due()
        (letter,) = dead(hk)
        # It was never sent, so the channel does not count as notified.
        assert letter.tries == 0
        assert str(letter.error).startswith("The template of route 'loud' cannot be used: The template does too much")
        assert pending(hk) == []
        assert hk.channels.state("ops").failing_since is None
    assert [one.text and one.text[:9] for one in channel.arrived] == ["FINEFINE", None]


# --- Retries ----------------------------------------------------------------------------------------------------------


def test_a_receiver_that_fails_for_three_days_gets_everything_as_scheduled() -> None:
    """Each attempt is made when the schedule says, and feedback that was submitted meanwhile arrives in the end."""
    clock, channel = ManualClock(), Recorder(refuse)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "down", "first")
        expected, due = [], NOON
        for wait in SCHEDULE:
            due += wait
            expected.append(due)
        while clock.now - NOON < DAYS_3:
            hk.relay.run_due()
            (waiting,) = pending(hk)
            # A moment before, there is no attempt.
            clock.now = waiting.due_at - timedelta(microseconds=1)
            assert hk.relay.run_due() == 0
            clock.now = waiting.due_at
        channel.refuse = lambda _: None
        hk.submit("s", "down", "second")
        hk.relay.run_due()
        assert (pending(hk), dead(hk)) == ([], [])
    tries = [one.sent_at for one in channel.tried if one.feedback and one.feedback.comment == "first"]
    assert tries == expected
    assert sorted(channel.comments) == ["first", "second"]


def test_a_receiver_that_always_fails_ends_in_dead_letters_which_can_be_replayed() -> None:
    """After the last attempt a delivery is dead, with the reason; replayed, it arrives with its id."""
    clock, channel = ManualClock(), Recorder(refuse)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        while waiting := pending(hk):
            clock.now = waiting[0].due_at
            hk.relay.run_due()
        (letter,) = dead(hk)
        assert (letter.attempts, letter.error) == (len(SCHEDULE), "connection refused")
        # Replayed while the receiver still fails, it goes through the whole schedule again.
        hk.deliveries.replay(letter.id)
        hk.relay.run_due()
        (waiting_again,) = pending(hk)
        assert waiting_again.due_at - clock.now == SCHEDULE[1]
        channel.refuse = lambda _: None
        clock.now = waiting_again.due_at
        hk.relay.run_due()
        assert (channel.ids, dead(hk), pending(hk)) == ([letter.id], [], [])
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay("no such delivery")


def test_retry_after_is_honoured() -> None:
    """A receiver can ask for a longer wait, up to a day; attempts are never earlier than planned."""
    clock = ManualClock()
    asked: list[timedelta | None] = [timedelta(hours=1), timedelta(days=30), timedelta(seconds=1)]

    def busy(_: Notification) -> None:
        raise DeliveryFailed("busy", retry_after=asked[len(channel.tried) - 1])

    channel = Recorder(busy)
    waits = []
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        for _ in asked:
            hk.relay.run_due()
            (waiting,) = pending(hk)
            waits.append(waiting.due_at - clock.now)
            clock.now = waiting.due_at
    assert waits == [timedelta(hours=1), timedelta(days=1), SCHEDULE[3]]


def test_jitter() -> None:
    """Jitter makes a wait up to a tenth longer, and never shorter."""
    clock = ManualClock()
    with connect_without_relay(clock, channels={"ops": Recorder(refuse)}, jitter=lambda: 1.0) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        (waiting,) = pending(hk)
    assert waiting.due_at - NOON == timedelta(seconds=5.5)


def test_a_permanent_failure_is_dead_at_once() -> None:
    """A failure that cannot be resolved by retrying is not retried."""

    def never(_: Notification) -> None:
        raise DeliveryFailed("no such topic", retryable=False)

    with connect_without_relay(channels={"ops": Recorder(never)}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        assert [(letter.attempts, letter.error) for letter in dead(hk)] == [(1, "no such topic")]


def test_a_planned_repetition(caplog: pytest.LogCaptureFixture) -> None:
    """A notification that the receiver needs twice is sent again at its time. The channel does not count as failing."""
    clock = ManualClock()

    def twice(notification: Notification) -> None:
        if notification.sent_at < NOON + timedelta(minutes=1):
            raise DeliveryFailed("once more", retry_after=timedelta(minutes=1), planned=True)

    with connect_without_relay(clock, channels={"ops": Recorder(twice)}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        (waiting,) = pending(hk)
        assert (waiting.due_at, waiting.error) == (NOON + timedelta(minutes=1), "once more")
        assert hk.channels.state("ops").failing_since is None
        clock.now = waiting.due_at
        hk.relay.run_due()
        assert (pending(hk), dead(hk)) == ([], [])
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_unexpected_error_is_retried() -> None:
    """A bug in a channel loses nothing."""

    def broken(_: Notification) -> None:
        raise ZeroDivisionError("oh")

    clock, channel = ManualClock(), Recorder(broken)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        hk.relay.run_due()
        assert [waiting.error for waiting in pending(hk)] == ["ZeroDivisionError: oh"]
        channel.refuse = lambda _: None
        clock.turn(seconds=5)
        hk.relay.run_due()
    assert len(channel.arrived) == 1


# --- Channels that are switched off -----------------------------------------------------------------------------------


def test_a_receiver_that_is_gone_switches_its_channel_off() -> None:
    """410 switches it off: an alert notifies the others, and later deliveries die and can be replayed."""

    def gone(_: Notification) -> None:
        raise DeliveryFailed("410 Gone", gone=True)

    clock, left, other = ManualClock(), Recorder(gone), Recorder()
    with connect_without_relay(clock, channels={"left": left, "other": other}) as hk:
        hk.submit("s", "up", "first")
        hk.relay.run_due()
        hk.submit("s", "up", "second")
        hk.relay.run_due()
        assert len(left.tried) == 1
        assert other.types == ["feedback.created", "alert.raised", "feedback.created"]
        assert [letter.error for letter in dead(hk)] == ["410 Gone", "The channel is switched off: 410 Gone"]
        assert [(state.name, state.on, state.reason) for state in hk.channels.states()] == [
            ("left", False, "410 Gone"),
            ("other", True, ""),
        ]
        left.refuse = lambda _: None
        clock.turn(seconds=2)
        hk.channels.switch_on("left")
        assert hk.deliveries.replay_all(channel="left") == 2
        hk.relay.run_due()
        assert sorted(left.comments) == ["first", "second"]
        assert alerts_about_channels(hk) == [("left", False)]
    assert other.types[-1] == "alert.resolved"


def test_a_channel_that_fails_for_five_days_is_switched_off() -> None:
    """Five days without a successful delivery are enough; a single success restarts the time."""
    clock, broken, other = ManualClock(), Recorder(refuse), Recorder()
    with connect_without_relay(clock, channels={"broken": broken, "other": other}) as hk:

        def pass_days(number: int) -> None:
            for _ in range(number):
                hk.submit("s", "up")
                hk.relay.run_due()
                clock.turn(days=1)

        pass_days(4)
        broken.refuse = lambda _: None
        hk.relay.run_due()
        broken.refuse = refuse
        pass_days(5)
        assert hk.channels.state("broken").on
        hk.relay.run_due()
        state = hk.channels.state("broken")
        assert (state.on, state.reason) == (False, "nothing arrived since 2026-03-08 12:00 UTC")
        assert alerts_about_channels(hk) == [("broken", True)]
    assert "alert.raised" in other.types


def test_unknown_channels() -> None:
    """An unknown name is an error that lists the known ones."""
    with connect_without_relay(channels={"ops": Recorder()}) as hk:
        for switch in (hk.channels.switch_on, lambda name: hk.channels.switch_off(name, "")):
            with pytest.raises(NoSuchChannel, match="Unknown channel 'oops'; expected ops"):
                switch("oops")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("", "reason must not be empty"),
        (" \n", "reason must not be empty"),
        ("x" * 1_001, r"reason too long: 1001 characters \(max: 1000\)"),
        ("\udc80", "reason contains a lone surrogate"),
    ],
)
def test_a_channel_is_switched_off_with_a_reason_only(reason: str, message: str) -> None:
    """The channel stays on without a reason that people can read."""
    with connect_without_relay(channels={"ops": Recorder()}) as hk:
        with pytest.raises(FeedbackRejected, match=message):
            hk.channels.switch_off("ops", reason)
        assert hk.channels.state("ops").on


def test_a_notifier_may_not_say_why_its_receiver_is_gone() -> None:
    """The channel is switched off all the same, with a reason in general words."""

    def refuse_silently(_: Notification) -> None:
        raise DeliveryFailed("", gone=True)

    with connect_without_relay(channels={"ops": Recorder(refuse_silently)}) as hk:
        hk.submit("s", "down", "slow")
        hk.relay.run_due()
        assert hk.channels.state("ops").reason == "the receiver accepts no notifications any more"


# --- Erasure ----------------------------------------------------------------------------------------------------------


def test_erased_feedback_is_not_sent() -> None:
    """Neither events nor deliveries of erased feedback are left, except for its ids in the notification of the
    erasure.
    """
    clock, channel = ManualClock(), Recorder(refuse)
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "down", "before the fan-out", author="kim")
        hk.collection.erase(hk.query(author="kim").in_any_state())
        hk.relay.run_due()
        assert channel.tried == []
        hk.submit("s", "down", "after the fan-out", author="kim")
        hk.relay.run_due()
        hk.collection.erase(hk.query(author="kim").in_any_state())
        channel.refuse = lambda _: None
        clock.turn(days=1)
        hk.relay.run_due()
        assert (channel.types, pending(hk), dead(hk)) == (["feedback.erased"], [], [])


def test_an_alert_about_erased_feedback_is_not_sent() -> None:
    """An alert describes the authors of its feedback, so it is emptied with the feedback."""
    clock, channel = ManualClock(), Recorder(refuse)
    rules: list[dict[str, object]] = [{"name": "streak", "kind": "streak", "length": 2, "by": "session"}]
    with connect_without_relay(clock, channels={"ops": channel}, alert_rules=rules) as hk:
        for _ in range(2):
            hk.submit("s", "down", "slow", author="kim")
            clock.turn(seconds=1)
        hk.relay.run_due()
        assert "alert.raised" in [one.type.value for one in channel.tried]
        hk.collection.erase(hk.query(author="kim").in_any_state())
        channel.refuse = lambda _: None
        clock.turn(days=1)
        hk.relay.run_due()
    assert "alert.raised" not in channel.types
    (ended,) = (one.alert for one in channel.arrived if one.alert is not None)
    assert (ended.message, ended.feedback_ids, ended.subject.value) == ("", (), "")


# --- Crashes and several relays ---------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


def test_a_crash_between_send_and_mark_leads_to_a_resend_under_the_same_id() -> None:
    """A delivery that was sent but not settled is sent again when the lease has expired, with the same id."""
    clock = ManualClock()

    def crash(_: Notification) -> None:
        raise Crash

    channel = Recorder()
    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        settle = hk.outbox.settle
        hk.outbox.settle = crash  # type: ignore[method-assign, assignment]
        with pytest.raises(Crash):
            hk.relay.run_due()
        hk.outbox.settle = settle  # type: ignore[method-assign]
        assert hk.relay.run_due() == 0
        clock.now += LEASE
        assert hk.relay.run_due() == 1
    assert len(channel.ids) == 2
    assert len(set(channel.ids)) == 1


def test_an_outage_of_the_storage_loses_nothing() -> None:
    """Reads and settlements that failed are repeated when the storage is available again."""
    clock, channel = ManualClock(), Recorder()

    def fail(*_: object, **__: object) -> Any:
        raise StorageUnavailable("gone for lunch")

    with connect_without_relay(clock, channels={"ops": channel}) as hk:
        hk.submit("s", "up")
        for name in ("events", "fan_out", "claim", "settle"):
            working = getattr(hk.outbox, name)
            setattr(hk.outbox, name, fail)
            with pytest.raises(StorageUnavailable):
                hk.relay.run_due()
            setattr(hk.outbox, name, working)
            clock.now += LEASE
        hk.relay.run_due()
        assert pending(hk) == []
    assert len(set(channel.ids)) == 1


class Fates:
    """The outcomes of each notification, one per attempt; then it arrives."""

    def __init__(self, fates: list[list[str]]) -> None:
        self.left = {f"comment {number}": list(fate) for number, fate in enumerate(fates)}
        self.channel = Recorder(self.meet)

    def meet(self, notification: Notification) -> None:
        assert notification.feedback is not None
        fate = self.left[notification.feedback.comment]
        match fate.pop(0) if fate else "take":
            case "refuse":
                raise DeliveryFailed("not now")
            case "crash":
                raise Crash
            case "lose":
                # It arrives, but the relay does not get the answer.
                self.channel.arrived.append(notification)
                raise Crash

    def ids_of(self) -> dict[str, set[str]]:
        """The ids with which each has arrived."""
        ids: dict[str, set[str]] = {}
        for comment, id_ in zip(self.channel.comments, self.channel.ids, strict=True):
            ids.setdefault(comment, set()).add(id_)
        return ids


FATES = st.lists(st.sampled_from(["take", "refuse", "crash", "lose"]), max_size=4)


@given(fates=st.lists(FATES, min_size=1, max_size=8))
def test_everything_arrives(fates: list[list[str]]) -> None:
    """Each event arrives at least once, with one id, however often the receiver refuses and the relay dies."""
    clock, met = ManualClock(), Fates(fates)
    with connect_without_relay(clock, channels={"ops": met.channel}) as hk:
        for comment in met.left:
            hk.submit("s", "up", comment)
        while hk.outbox.events(limit=1) or pending(hk):
            try:
                hk.relay.run_due()
                clock.turn(hours=6)
            except Crash:
                clock.now += LEASE
        assert dead(hk) == []
    assert met.ids_of().keys() == met.left.keys()
    assert all(len(ids) == 1 for ids in met.ids_of().values())


def test_two_relays_share_the_work() -> None:
    """With any number of relays, no delivery is sent twice without failures."""
    channel = Recorder()
    with (
        open_storage("memory://") as storage,
        connect_without_relay(url=storage, channels={"ops": channel}) as one,
        connect_without_relay(url=storage, channels={"ops": channel}) as other,
    ):
        one.start_relay()
        other.start_relay()
        for number in range(300):
            one.submit("s", "up", f"comment {number}")
        eventually(lambda: len(channel.arrived) >= 300 and not pending(one))
    assert len(channel.ids) == len(set(channel.ids)) == 300


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_a_receiver_that_hangs_delays_no_other() -> None:
    """While all threads of one channel hang, another channel gets everything."""
    let_go, stuck, quick = Event(), Recorder(lambda _: let_go.wait(PATIENCE)), Recorder()
    with connect_without_relay(channels={"stuck": stuck, "quick": quick}) as hk:
        hk.start_relay(concurrency=2)
        for number in range(500):
            hk.submit("s", "up", f"comment {number}")
        eventually(lambda: len(quick.arrived) == 500)
        assert stuck.arrived == []
        let_go.set()
        eventually(lambda: len(stuck.arrived) == 500)


def test_stopping_gives_back_what_was_not_sent() -> None:
    """Claims that were not sent are released at once, and do not count as attempts."""
    let_go = Event()
    slow = Recorder(lambda _: let_go.wait(PATIENCE))
    with connect_without_relay(channels={"ops": slow}) as hk:
        for number in range(10):
            hk.submit("s", "up", f"comment {number}")
        hk.start_relay(concurrency=1)
        eventually(lambda: slow.tried)
        stopping = Thread(target=hk.relay.stop)
        stopping.start()
        let_go.set()
        stopping.join(PATIENCE)
        assert not hk.relay.running
        assert {waiting.attempts for waiting in pending(hk)} <= {0}
        slow.refuse = lambda _: None
        hk.relay.run_due()
    assert len(set(slow.ids)) == 10


def test_starting_and_stopping_twice() -> None:
    """A host may start and stop it repeatedly."""
    channel = Recorder()
    with connect_without_relay(channels={"ops": channel}) as hk:
        hk.relay.stop()
        for _ in range(2):
            hk.start_relay()
            hk.start_relay()
            hk.relay.stop()
            hk.relay.stop()
        hk.start_relay()
        hk.submit("s", "up")
        eventually(lambda: channel.arrived)
        with pytest.raises(ConfigurationError, match="concurrency must be at least 1, got 0"):
            hk.start_relay(concurrency=0)

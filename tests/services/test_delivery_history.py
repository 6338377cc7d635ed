"""What people see of deliveries: their attempts, their numbers, why they are dead, and the status of channels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

import harken
from channels import Recorder, connect_without_relay
from harken import DeliveryFailed, DeliveryNotFound, FeedbackQuery, Harken, InvalidQuery
from harken.domain.errors import ChannelOff
from harken.domain.events import MAX_WORDS, AttemptOutcome, Delivery, DeliveryState, EventType
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken.ports.storage import same_clock
from harken.services.notifications.deliveries import MAX_IDS
from support import NOON, ManualClock, in_threads

RETRY = timedelta(seconds=5)


class Receiver(Notifier):
    """A receiver that answers with words, or fails with this failure."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.answer: ReceiverAnswer | None = ReceiverAnswer("200 OK", "thanks")

    def deliver(self, notification: Notification) -> ReceiverAnswer | None:
        if self.failure is not None:
            raise self.failure
        return self.answer


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind."""
    if request.param == "mongodb":
        return str(request.getfixturevalue("mongodb_url"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"


@pytest.fixture
def receiver() -> Receiver:
    """The receiver of the channel ``support``."""
    return Receiver()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at noon."""
    return ManualClock()


@pytest.fixture
def hk(url: str, receiver: Receiver, clock: ManualClock) -> Iterator[Harken]:
    """A Harken with the channels ``support`` and ``team``, which accepts everything. It has one clock for all."""
    channels = {"support": receiver, "team": Recorder()}
    # Else the relay would follow the clock of the MongoDB server.
    with (
        harken.open_storage(url) as storage,
        connect_without_relay(clock, evolve(storage, clock=same_clock), channels=channels) as connected,
    ):
        yield connected


def gone() -> DeliveryFailed:
    """The failure of a receiver that is gone."""
    return DeliveryFailed("It responded with 410", gone=True, status="410 Gone", words="endpoint retired, see /v2")


def give(hk: Harken, count: int = 1, application: str = "default") -> str:
    """Submit feedback and run the relay; returns the id of the last entry."""
    ids = [hk.submit("s", "down", "slow", application=application).feedback.id for _ in range(count)]
    hk.relay.run_due()
    return ids[-1]


def only(hk: Harken, state: str | None = None, **filters: str) -> Delivery:
    """The only delivery that matches."""
    (found,) = hk.deliveries.find(state, **filters)  # type: ignore[arg-type]
    return found


# --- Attempts ---------------------------------------------------------------------------------------------------------


def test_each_attempt_shows_when_and_how_it_ended(hk: Harken, receiver: Receiver, clock: ManualClock) -> None:
    """A delivery that fails, is retried and arrives has three attempts with the receiver's status and words."""
    receiver.failure = DeliveryFailed("It responded with 503", status="503 Service Unavailable", words="deploying")
    give(hk)
    receiver.failure = ValueError("broken")
    clock.turn(seconds=5)
    hk.relay.run_due()
    receiver.failure = None
    clock.turn(minutes=6)
    hk.relay.run_due()
    first, second, third = only(hk, "delivered", channel="support").history
    assert (first.at, first.outcome, first.status) == (NOON, AttemptOutcome.FAILED, "503 Service Unavailable")
    assert (first.words, first.error) == ("deploying", "It responded with 503")
    assert (second.at, second.status, second.words) == (NOON + RETRY, "ValueError", "")
    assert (third.outcome, third.status, third.words) == (AttemptOutcome.ARRIVED, "200 OK", "thanks")
    assert all(timedelta() <= one.duration < timedelta(seconds=10) for one in (first, second, third))


def test_the_log_has_the_failure_that_was_raised(
    hk: Harken, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the one that caused it."""
    receiver.failure = DeliveryFailed("It gave up")
    receiver.failure.__cause__ = DeliveryFailed("The proxy refused")
    give(hk)
    assert "It gave up" in caplog.text
    assert "The proxy refused" not in caplog.text


def test_a_receiver_without_an_answer(hk: Harken, receiver: Receiver) -> None:
    """A channel that reports no answer still shows that the delivery arrived."""
    receiver.answer = None
    give(hk)
    (attempt,) = only(hk, "delivered", channel="support").history
    assert (attempt.outcome, attempt.status, attempt.words) == (AttemptOutcome.ARRIVED, "", "")


@pytest.mark.parametrize(
    "words",
    [
        "x" * 100_000,
        "a\0b\n\r\u2028c",
        "\ud800\udfff",
        "\u202eevil\u2066",
        "  ",
        "<script>alert(1)</script>",
        "é" * 201,
    ],
)
def test_words_of_receivers_are_safe_text(hk: Harken, receiver: Receiver, words: str) -> None:
    """Words are one line of printable text, 200 characters at most, which every storage can store."""
    receiver.failure = DeliveryFailed(words, status=words, words=words, retryable=False)
    give(hk)
    dead = only(hk, "dead")
    (attempt,) = dead.history
    for text in (attempt.words, attempt.status, attempt.error):
        assert len(text) <= MAX_WORDS
        assert text.isprintable()
    assert hk.deliveries.summary().causes[0].counted.cause == dead.cause


def test_erasing_feedback_removes_the_attempts(hk: Harken, receiver: Receiver) -> None:
    """Receivers may quote what they received."""
    receiver.failure = DeliveryFailed("no", retryable=False, words="cannot accept 'slow'")
    feedback_id = give(hk)
    hk.collection.erase(FeedbackQuery(feedback_id=feedback_id).in_any_state())
    assert "slow" not in str(hk.deliveries.find(None))


FAILURES = {
    "arrived": None,
    "refused": DeliveryFailed("It said 'my address'", status="400 Bad Request", words="'my address'", retryable=False),
    "later": DeliveryFailed("It said 'my address'", status="503 Service Unavailable", words="'my address'"),
    "planned": DeliveryFailed("It said 'my address'", status="200 OK", words="'my address'", planned=True),
    "unexpected": ValueError("my address"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_erased_text_is_in_no_attempt_of_alerts_digests_and_erasures(
    url: str, tmp_path: Path, receiver: Receiver, clock: ManualClock, failure: Exception | None
) -> None:
    """A receiver may quote feedback in its answer to a delivery that an erasure does not remove."""
    options = {
        "channels": {"support": receiver, "first": receiver},
        "digests": [{"name": "weekly", "channel": "support"}],
        "alert_rules": [{"name": "streak", "kind": "streak", "length": 1}],
    }
    with (
        harken.open_storage(url) as storage,
        connect_without_relay(clock, evolve(storage, clock=same_clock), **options) as hk,
    ):
        feedback_id = hk.submit("s", "down", "my address").feedback.id
        receiver.answer, receiver.failure = ReceiverAnswer("200 OK", "posted: my address"), failure
        hk.relay.run_due()
        assert hk.digests.send("weekly")
        hk.relay.run_due()
        hk.collection.erase(FeedbackQuery(feedback_id=feedback_id).in_any_state())
        hk.relay.run_due()
        found = hk.deliveries.find(None)
        attempted = {one.event.type for one in found if one.history}
        assert attempted >= {EventType.ALERT_RAISED, EventType.DIGEST, EventType.ERASED}
        assert "my address" not in str(found)
        status = "200 OK" if failure is None else getattr(failure, "status", "ValueError")
        assert {one.history[0].status for one in found if one.history} == {status}
    assert not any(b"my address" in file.read_bytes() for file in tmp_path.glob("a.db*"))


# --- Lists and numbers ------------------------------------------------------------------------------------------------


def test_deliveries_of_one_feedback_entry(hk: Harken, receiver: Receiver) -> None:
    """The page of a feedback entry shows who was notified: team arrived, support dead."""
    give(hk)
    receiver.failure = gone()
    feedback_id = give(hk)
    found = hk.deliveries.find(None, feedback_id=feedback_id, application="default")
    assert {one.channel: one.state.value for one in found} == {"support": "dead", "team": "delivered"}
    assert hk.deliveries.find(None, feedback_id=feedback_id, application="other") == []
    with pytest.raises(InvalidQuery, match="name the application"):
        hk.deliveries.find(None, feedback_id=feedback_id)
    with pytest.raises(InvalidQuery, match="feedback_id or alert_id"):
        hk.deliveries.find(None, feedback_id="a", alert_id="b", application="default")


def test_deliveries_of_one_type_and_alert(hk: Harken, receiver: Receiver) -> None:
    """Switching a channel off raises an alert, whose delivery is found by its type and by the alert."""
    receiver.failure = gone()
    give(hk)
    hk.relay.run_due()
    (alert,) = hk.alerts.find("default", open=True)
    to_team = only(hk, None, type="alert.raised", channel="team")
    assert to_team in hk.deliveries.find(None, alert_id=alert.id, application="default")
    assert hk.deliveries.find(None, feedback_id=alert.id, application="default") == []
    with pytest.raises(InvalidQuery, match="Unknown event type 'alert'"):
        hk.deliveries.find(None, type="alert")


def test_the_most_common_cause(hk: Harken, receiver: Receiver, clock: ManualClock) -> None:
    """Deliveries that were not sent because the channel is off have the cause that switched it off."""
    receiver.failure = DeliveryFailed("It took longer than 15 seconds", retryable=False, status="timed out")
    give(hk, 2)
    clock.turn(minutes=1)
    receiver.failure = gone()
    give(hk)
    clock.turn(minutes=1)
    give(hk, 20)
    summary = hk.deliveries.summary(application="default")
    assert summary.dead == {"support": 23}
    common, rare = summary.causes
    assert (common.counted.channel, common.counted.cause, common.counted.count) == ("support", "410 Gone", 21)
    assert (common.counted.first_at, common.counted.last_at) == (
        NOON + timedelta(minutes=1),
        NOON + timedelta(minutes=2),
    )
    assert (rare.counted.cause, rare.counted.count) == ("timed out", 2)
    assert common.latest is not None
    last = common.latest.history[-1]
    assert (last.outcome, last.status) == (AttemptOutcome.CHANNEL_OFF, "410 Gone")
    assert last.error.startswith("The channel is switched off: It responded with 410")
    assert common.latest.attempts == 0


def test_numbers_by_channel_and_state(hk: Harken, receiver: Receiver, clock: ManualClock) -> None:
    """Arrived ones are counted since midnight or since a given time, all by application and type."""
    give(hk)
    clock.turn(days=1)
    give(hk, 2)
    give(hk, 1, "shop")
    receiver.failure = DeliveryFailed("later")
    give(hk)
    today = hk.deliveries.summary(application="default")
    assert (today.pending, today.delivered, today.dead) == ({"support": 1}, {"support": 2, "team": 3}, {})
    assert today.delivered_since == (NOON + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert hk.deliveries.summary(since=NOON, application="default").delivered == {"support": 3, "team": 4}
    assert hk.deliveries.summary(application="shop").delivered == {"support": 1, "team": 1}
    assert hk.deliveries.summary(type=EventType.WITHDRAWN).delivered == {}
    assert hk.deliveries.summary(channel="team").pending == {}


def test_the_newest_come_first(hk: Harken, clock: ManualClock) -> None:
    """Lists go in both directions, in pages."""
    for _ in range(3):
        give(hk)
        clock.turn(minutes=1)
    oldest = hk.deliveries.find("delivered", channel="team", application="default")
    newest = hk.deliveries.find("delivered", channel="team", application="default", newest_first=True, limit=2)
    assert [*newest] == [*oldest][:0:-1]
    rest = hk.deliveries.find("delivered", channel="team", newest_first=True, after=newest[-1].id)
    assert [*rest] == [oldest[0]]


# --- Channels ---------------------------------------------------------------------------------------------------------


def test_the_status_of_channels(hk: Harken, receiver: Receiver, clock: ManualClock) -> None:
    """It says what waits, which attempt comes next and when, when the last one arrived, and why a channel is off."""
    give(hk)
    clock.turn(minutes=1)
    receiver.failure = DeliveryFailed("later", status="503 Service Unavailable")
    give(hk)
    support, team = hk.channels.statuses("default")
    assert (support.state.on, support.state.failing_since) == (True, NOON + timedelta(minutes=1))
    assert (support.kind.kind, support.is_configured) == ("Receiver", True)
    assert (support.pending, support.dead, support.delivered) == (1, 0, 1)
    assert support.last_delivered_at == NOON
    assert support.retried is not None
    assert (support.retried.tries, support.retried.due_at) == (1, NOON + timedelta(minutes=1) + RETRY)
    assert (team.pending, team.delivered, team.last_delivered_at, team.retried) == (
        0,
        2,
        NOON + timedelta(minutes=1),
        None,
    )
    receiver.failure = gone()
    clock.turn(minutes=1)
    hk.relay.run_due()
    off, _ = hk.channels.statuses("default")
    assert (off.state.on, off.state.off_since, off.state.cause) == (False, clock(), "410 Gone")
    assert (off.pending, off.dead, off.retried) == (0, 1, None)
    assert [one.dead for one in hk.channels.statuses("other")] == [0, 0]


def test_a_removed_channel_keeps_its_place(tmp_path: Path, receiver: Receiver) -> None:
    """Dead and pending deliveries of a channel that is no longer configured are shown with it."""
    receiver.failure = DeliveryFailed("no", retryable=False)
    file = f"sqlite:///{tmp_path}/a.db"
    with connect_without_relay(url=file, channels={"old": receiver}) as hk:
        give(hk)
    with connect_without_relay(url=file, channels={"new": Recorder()}) as hk:
        new, old = hk.channels.statuses()
        assert (new.state.name, new.is_configured) == ("new", True)
        assert (old.state.name, old.is_configured, old.dead) == ("old", False, 1)


def test_destinations_have_no_secrets() -> None:
    """Only hosts, services and regions are shown, also of values from the environment."""
    secret = "T0K3N"
    tables = {
        "hook": {"kind": "webhook", "url": f"https://user:{secret}@hooks.example.com:8443/{secret}?key={secret}"},
        "chat": {
            "kind": "apprise",
            "urls": [f"slack://{secret}/{secret}/{secret}", f"mailto://me:{secret}@example.com"],
        },
        "queue": {"kind": "sns", "topic_down": "arn:aws:sns:eu-west-1:123456789012:unhappy", "topic_up": "none"},
        "changes": {"kind": "sqs", "queue_url": f"https://sqs.eu-west-1.amazonaws.com/123456789012/{secret}"},
        "missing": {"kind": "webhook", "url": "env:HARKEN_TEST_MISSING"},
        "odd": {"kind": "apprise", "url": f"{secret} ://[{secret}"},
        "broken": {"kind": "webhook", "url": f"https://[{secret}"},
        "log": {"kind": "log"},
    }
    with connect_without_relay(channels=tables) as hk:
        kinds = {one.state.name: (one.kind.kind, one.kind.destination) for one in hk.channels.statuses()}
    assert kinds["hook"] == ("webhook", "hooks.example.com")
    assert kinds["chat"] == ("apprise", "slack, mailto")
    assert kinds["queue"] == ("sns", "eu-west-1")
    assert kinds["changes"] == ("sqs", "sqs.eu-west-1.amazonaws.com")
    assert (kinds["missing"], kinds["log"]) == (("webhook", ""), ("log", ""))
    assert secret not in str(kinds)


# --- Replaying --------------------------------------------------------------------------------------------------------


def test_nothing_is_replayed_to_a_channel_that_is_off(hk: Harken, receiver: Receiver) -> None:
    """The error says since when and why it is off; after it is switched on, the delivery arrives with its id."""
    receiver.failure = gone()
    give(hk)
    dead = only(hk, "dead", type="feedback.created")
    arrived = only(hk, "delivered", type="feedback.created", channel="team")
    for call in (
        lambda: hk.deliveries.replay(dead.id),
        lambda: hk.deliveries.replay_many([arrived.id, dead.id]),
        hk.deliveries.replay_all,
        lambda: hk.deliveries.replay_all(channel="support"),
    ):
        with pytest.raises(
            ChannelOff, match=r"Channel 'support' has been off since 2.*: It responded with 410\. .* on"
        ):
            call()
    assert hk.deliveries.get(dead.id) == dead
    assert hk.deliveries.get(arrived.id) == arrived
    # A selection without deliveries to it is not refused.
    assert hk.deliveries.replay_all("delivered", channel="team", type="feedback.created") == 1
    assert hk.deliveries.replay_all(since=NOON + timedelta(days=9)) == 0
    hk.channels.switch_on("support")
    receiver.failure = None
    replayed = hk.deliveries.replay(dead.id)
    assert (replayed.id, replayed.state) == (dead.id, DeliveryState.PENDING)
    assert hk.deliveries.get(dead.id) == replayed
    hk.relay.run_due()
    outcomes = [one.outcome for one in hk.deliveries.get(dead.id).history]
    assert outcomes == [AttemptOutcome.FAILED, AttemptOutcome.ARRIVED]


def test_no_more_are_replayed_than_were_counted(hk: Harken, receiver: Receiver, clock: ManualClock) -> None:
    """With ``as_of``, those that died later stay; with ``at_most``, no more than the number are replayed."""
    receiver.failure = DeliveryFailed("no", retryable=False, status="400 Bad Request")
    give(hk, 3)
    clock.turn(seconds=20)
    as_of = hk.deliveries.summary(application="default", cause="400 Bad Request").as_of
    clock.turn(seconds=20)
    give(hk, 2)
    assert hk.deliveries.replay_all(at_most=2, as_of=as_of, cause="400 Bad Request") == 2
    assert hk.deliveries.replay_all(at_most=2, as_of=as_of, cause="400 Bad Request") == 1
    assert hk.deliveries.replay_all(as_of=as_of) == 0
    assert hk.deliveries.summary(application="default").dead == {"support": 2}
    assert hk.deliveries.replay_all(at_most=0) == 0
    assert hk.deliveries.replay_all(cause="500") == 0
    with pytest.raises(InvalidQuery, match="at_most must not be negative, got -1"):
        hk.deliveries.replay_all(at_most=-1)


def test_a_selection_is_replayed_whole_or_not_at_all(hk: Harken, receiver: Receiver) -> None:
    """An unknown id, or one of another application, refuses all; repeated ids are replayed once."""
    receiver.failure = DeliveryFailed("no", retryable=False)
    give(hk, 2)
    give(hk, 1, "shop")
    first, second = hk.deliveries.find("dead", application="default")
    theirs = only(hk, "dead", application="shop")
    for wrong in ("unknown", theirs.id, "a\0b"):
        with pytest.raises(DeliveryNotFound):
            hk.deliveries.replay_many([first.id, wrong], application="default")
    assert hk.deliveries.get(first.id) == first
    with pytest.raises(InvalidQuery, match=f"At most {MAX_IDS:,} deliveries"):
        hk.deliveries.replay_many([str(number) for number in range(MAX_IDS + 1)])
    replayed = hk.deliveries.replay_many([second.id, first.id, second.id], application="default")
    assert [one.id for one in replayed] == [second.id, first.id]
    assert hk.deliveries.replay_many([]) == []


def test_two_people_replay_at_once(hk: Harken, receiver: Receiver) -> None:
    """Concurrent replays and a relay deliver each notification, and lose none."""
    receiver.failure = DeliveryFailed("no", retryable=False)
    give(hk, 20)
    receiver.failure = None
    replayed = in_threads([lambda: hk.deliveries.replay_all(channel="support")] * 4)
    assert all(isinstance(number, int) for number in replayed)
    hk.relay.run_due()
    summary = hk.deliveries.summary()
    assert (summary.delivered["support"], summary.dead, summary.pending) == (20, {}, {})

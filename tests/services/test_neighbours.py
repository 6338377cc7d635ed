"""Two applications in one storage with equal ids, and values that are parts of each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

import harken
from channels import Recorder, connect_without_relay
from harken import DeliveryFailed, DeliveryNotFound, Feedback, FeedbackQuery, Harken, Target
from harken.configuration.storage_urls import open_storage
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.ports.notifier import Notification
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken.services.feedback.ready_middleware import NegativeFeedback, notify_negative
from harken.testing import a_feedback, accepted
from support import ManualClock, eventually

#: One name is a prefix of the other.
TENANTS: Final = ("default", "default-2")
THREE: Final = {"name": "three", "kind": "streak", "by": "agent", "length": 3}


@pytest.fixture
def storage() -> Iterator[Storage]:
    """An empty storage."""
    with open_storage("memory://") as opened:
        yield opened


def twins(feedback_id: str = "f", **parts: Any) -> list[Feedback]:
    """The same ids in both applications, with different comments."""
    return [a_feedback(id=feedback_id, application=name, comment=f"of {name}", **parts) for name in TENANTS]


def refuse(_: Notification) -> None:
    """A receiver that always fails."""
    raise DeliveryFailed("not wanted", retryable=False)


def test_each_is_delivered_with_its_own_content(storage: Storage, clock: ManualClock) -> None:
    """Feedback with one id in two applications is routed and sent separately, each with its own content."""
    channels = {name: Recorder() for name in ("both", *TENANTS)}
    routes: list[dict[str, object]] = [
        {"name": "both", "channel": "both"},
        *({"name": name, "channel": name, "applications": [name]} for name in TENANTS),
    ]
    storage.feedback.add(accepted(*twins()))
    with connect_without_relay(clock, storage, channels=channels, routes=routes) as hk:
        hk.relay.run_due()
    for name in TENANTS:
        assert channels[name].comments == [f"of {name}"]
    sent = {one.application: one.feedback.comment for one in channels["both"].arrived if one.feedback}
    assert sent == {name: f"of {name}" for name in TENANTS}
    assert len(set(channels["both"].ids)) == 2


def test_an_erasure_does_not_affect_the_other_application(storage: Storage, clock: ManualClock) -> None:
    """Feedback that is erased before its delivery is sent does not remove the delivery of the other application."""
    channel = Recorder()
    storage.feedback.add(accepted(*twins()))
    with connect_without_relay(clock, storage, channels={"ops": channel}) as hk:
        hk.relay.dispatch()
        hk.collection.erase(FeedbackQuery(application="default").in_any_state())
        hk.relay.run_due()
    assert channel.comments == ["of default-2"]


def test_each_has_its_own_streak(storage: Storage, clock: ManualClock) -> None:
    """Thumbs-downs of one application are not part of a streak in another, in any order of evaluation."""
    channel = Recorder()
    with connect_without_relay(clock, storage, channels={"ops": channel}, alert_rules=[THREE]) as hk:
        for number in range(2):
            storage.feedback.add(accepted(*twins(f"f-{number}", rating="down", agent_id="a")))
        hk.relay.run_due()
        assert [list(hk.alerts.find(name)) for name in TENANTS] == [[], []]
        storage.feedback.add(accepted(*twins("f-2", rating="down", agent_id="a")))
        hk.relay.run_due()
        raised = [list(hk.alerts.find(name)) for name in TENANTS]
    assert [[alert.application for alert in alerts] for alerts in raised] == [["default"], ["default-2"]]
    assert sorted(one.application for one in channel.arrived if one.alert) == sorted(TENANTS)


def test_a_rule_of_one_application_does_not_evaluate_others(storage: Storage, clock: ManualClock) -> None:
    """A rule for an application applies to exactly that one, for each kind of pattern."""
    rules = [
        {**THREE, "application": "default"},
        {"name": "quiet", "kind": "silence", "after": "1h", "application": "default"},
    ]
    for number in range(3):
        storage.feedback.add(accepted(*twins(f"f-{number}", rating="down", agent_id="a", created_at=clock())))
    with connect_without_relay(clock, storage, channels={"ops": Recorder()}, alert_rules=rules) as hk:
        hk.relay.run_due()
        clock.turn(hours=3)
        hk.relay.run_due()
        assert sorted(alert.rule for alert in hk.alerts.find("default")) == ["quiet", "three"]
        assert list(hk.alerts.find("default-2")) == []


def test_dead_letters_are_found_and_replayed_by_whole_names(storage: Storage, clock: ManualClock) -> None:
    """Deliveries are found, listed and replayed by complete names of applications and channels."""
    channels = {name: Recorder(refuse) for name in ("log", "log-2")}
    storage.feedback.add(accepted(*twins()))
    with connect_without_relay(clock, storage, channels=channels) as hk:
        hk.relay.run_due()
        dead = list(hk.deliveries.find("dead"))
        assert len(dead) == 4
        for one in dead:
            (neighbour,) = set(TENANTS) - {one.event.application}
            assert hk.deliveries.get(one.id, application=one.event.application) == one
            with pytest.raises(DeliveryNotFound):
                hk.deliveries.get(one.id, application=neighbour)
            with pytest.raises(DeliveryNotFound):
                hk.deliveries.replay(one.id, application=neighbour)
            with pytest.raises(DeliveryNotFound):
                hk.deliveries.find("dead", after=one.id, application=neighbour)
        assert hk.deliveries.replay_all(application="default", channel="log") == 1
        left = {(one.event.application, one.channel) for one in hk.deliveries.find("dead")}
        assert left == {("default", "log-2"), ("default-2", "log"), ("default-2", "log-2")}
        assert hk.deliveries.replay_all(application="default-2") == 2
        assert hk.deliveries.replay_all(channel="log") == 0
        assert [one.channel for one in hk.deliveries.find("dead")] == ["log-2"]
        assert len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)) == 3


def test_a_vote_is_its_authors_on_its_message(hk: Harken) -> None:
    """Similar authors, messages and sessions have their own votes; withdrawing one does not affect the others."""
    places = [
        (application, session_id, message_id, author)
        for application in TENANTS
        for session_id in ("s", "s-2")
        for message_id in (None, "m", "m-2")
        for author in ("ann", "anna")
    ]
    for application, session_id, message_id, author in places:
        target = Target(session_id, message_id)
        receipt = hk.collection.set_vote(target, author, "up", application=application)
        assert not receipt.duplicate
    for message_id in (None, "m"):
        assert hk.collection.withdraw_vote("default", "s", message_id, "ann") is not None
    assert hk.collection.withdraw_vote("default", "s", "m-", "ann") is None
    remaining = [
        (application, session_id, vote.message_id, author)
        for application in TENANTS
        for session_id in ("s", "s-2")
        for author in ("ann", "anna")
        for vote in hk.collection.votes(application, session_id, author)
    ]
    gone = {("default", "s", None, "ann"), ("default", "s", "m", "ann")}
    assert sorted(remaining, key=str) == sorted(set(places) - gone, key=str)


def test_both_use_one_key(hk: Harken) -> None:
    """One idempotency key in two applications is two keys, for single and many submissions, first and repeated."""
    submissions = [
        harken.Submission(
            target=Target("s"), rating="up", comment="fine", author="ann", idempotency_key="k", application=name
        )
        for name in TENANTS
    ]
    first = [hk.collection.submit(one) for one in submissions]
    again = [hk.collection.submit(one) for one in submissions]
    many = hk.collection.submit_many(submissions)
    soon = [hk.collection.submit_soon(one).result() for one in submissions]
    for given, retried, listed, later in zip(first, again, many, soon, strict=True):
        assert isinstance(listed, harken.Receipt)
        assert not given.duplicate
        assert (retried.duplicate, listed.duplicate, later.duplicate) == (True, True, True)
        assert given.feedback == retried.feedback == listed.feedback == later.feedback
    assert [one.feedback.application for one in first] == list(TENANTS)


@pytest.mark.parametrize("chosen", [None, *TENANTS])
def test_a_copy_is_of_one_application(storage: Storage, chosen: str | None) -> None:
    """Copying one application copies its feedback, metadata and conversations, and nothing of a similar name."""
    storage.feedback.add(accepted(*twins()))
    for name in TENANTS:
        storage.sessions.update(name, "s", {"of": name})
        storage.conversations.append(name, "s", "a", 0, {"of": name})
    with open_storage("memory://") as target:
        copying = Copying(storage, target, lambda *_: None, application=chosen)
        assert list(copying.batches())
        wanted = [name for name in TENANTS if chosen in (None, name)]
        assert list(target.feedback.applications()) == wanted
        assert [place[0] for place in target.sessions.stream()] == wanted
        assert [place[0] for place in target.conversations.sessions()] == wanted
        assert copying.feedback.added == copying.metadata.added == copying.conversations.added == len(wanted)


def test_thumbs_downs_are_counted_in_their_own_session(storage: Storage) -> None:
    """The number of a thumbs-down does not include sessions of the same name in another application."""
    reported: list[NegativeFeedback] = []
    with harken.connect(storage) as figures:
        hk = harken.connect(storage, middleware=[notify_negative(figures.analytics.summary, reported.append)])
        for application in (*TENANTS, TENANTS[1]):
            for session_id in ("s", "s-2"):
                hk.submit(session_id, "down", "slow", application=application)
        eventually(lambda: len(reported) == 6)
        hk.close()
    numbers = [(one.feedback.application, one.feedback.session_id, one.number) for one in reported]
    expected = [("default", 1), ("default-2", 1), ("default-2", 2)]
    assert sorted(numbers) == sorted((name, session, number) for name, number in expected for session in ("s", "s-2"))


def test_a_listener_gets_its_own_application(storage: Storage, clock: ManualClock) -> None:
    """Feedback is reported in its own application only, also to a listener that resumes after a place."""
    with harken.connect(storage, clock=clock) as hk:
        heard = {name: hk.feed.listen(name, lambda: None) for name in TENANTS}
        storage.feedback.add(accepted(*twins(created_at=clock())))
        hk.feed.nudge()
        eventually(lambda: all(listener.waiting for listener in heard.values()))
        for name, listener in heard.items():
            news = listener.take()
            assert [one.feedback.comment for one in news] == [f"of {name}"]


def test_a_reply_is_stored_in_its_application(storage: Storage) -> None:
    """A responder is called for, and replies to, feedback of the right application."""
    with harken.connect(storage, responder=lambda feedback: f"Sorry, {feedback.application}") as hk:
        given = [hk.submit("s", "down", "slow", application=name).feedback for name in TENANTS]
        for one in given:
            eventually(lambda one=one: hk.collection.get(one.application, one.id).reply)  # type: ignore[misc]
            assert hk.collection.get(one.application, one.id).reply == f"Sorry, {one.application}"


def test_a_channel_that_is_switched_off_twice_raises_two_alerts(storage: Storage, clock: ManualClock) -> None:
    """A resolved alert about a channel does not prevent the next one, about it or a similar one."""
    with connect_without_relay(clock, storage, channels={"log": Recorder(), "log-2": Recorder()}) as hk:
        for _ in range(2):
            hk.channels.switch_off("log", "broken")
            clock.turn(minutes=1)
            hk.channels.switch_on("log")
            clock.turn(minutes=1)
        hk.channels.switch_off("log-2", "broken")
        found = [(alert.subject.value, alert.is_open) for alert in hk.alerts.find("default")]
    assert sorted(found) == [("log", False), ("log", False), ("log-2", True)]

"""Two applications in one storage whose ids are all equal, and values of which one is part of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

import harken
from channels import Recorder, telling
from harken import DeliveryFailed, DeliveryNotFound, Feedback, FeedbackQuery, Harken, Target
from harken.configuration.storage_urls import open_storage
from harken.domain.events import DeliveryState
from harken.ports.notifier import Notification
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken.services.feedback.ready_middleware import Down, notify_downs
from harken.testing import a_feedback, accepted
from support import ManualClock, eventually

#: The name of one begins with that of the other.
TENANTS: Final = ("default", "default-2")
THREE: Final = {"name": "three", "kind": "streak", "by": "agent", "length": 3}


@pytest.fixture
def storage() -> Iterator[Storage]:
    """An empty storage."""
    with open_storage("memory://") as opened:
        yield opened


def twins(feedback_id: str = "f", **parts: Any) -> list[Feedback]:
    """The same feedback in both applications, each with its own words."""
    return [a_feedback(id=feedback_id, application=name, comment=f"of {name}", **parts) for name in TENANTS]


def refuse(_: Notification) -> None:
    """What a receiver does that wants nothing."""
    raise DeliveryFailed("not wanted", retryable=False)


def test_each_is_delivered_with_its_own_words(storage: Storage, clock: ManualClock) -> None:
    """Feedback with one id in two applications is two: each goes by its own routes and arrives with its own words."""
    channels = {name: Recorder() for name in ("both", *TENANTS)}
    routes: list[dict[str, object]] = [
        {"name": "both", "channel": "both"},
        *({"name": name, "channel": name, "applications": [name]} for name in TENANTS),
    ]
    storage.feedback.add(accepted(*twins()))
    with telling(clock, storage, channels=channels, routes=routes) as hk:
        hk.relay.run_due()
    for name in TENANTS:
        assert channels[name].comments == [f"of {name}"]
    told = {one.application: one.feedback.comment for one in channels["both"].arrived if one.feedback}
    assert told == {name: f"of {name}" for name in TENANTS}
    assert len(set(channels["both"].ids)) == 2


def test_what_one_erases_the_other_is_notified_of(storage: Storage, clock: ManualClock) -> None:
    """Feedback that is erased between its delivery's making and its sending takes no twin's delivery with it."""
    channel = Recorder()
    storage.feedback.add(accepted(*twins()))
    with telling(clock, storage, channels={"ops": channel}) as hk:
        hk.relay.dispatch()
        hk.collection.erase(FeedbackQuery(application="default").in_any_state())
        hk.relay.run_due()
    assert channel.comments == ["of default-2"]


def test_each_has_its_own_streak(storage: Storage, clock: ManualClock) -> None:
    """Downs of one application are no part of a row in another, whatever the order in which they are looked at."""
    channel = Recorder()
    with telling(clock, storage, channels={"ops": channel}, alert_rules=[THREE]) as hk:
        for number in range(2):
            storage.feedback.add(accepted(*twins(f"f-{number}", rating="down", agent_id="a")))
        hk.relay.run_due()
        assert [list(hk.alerts.find(name)) for name in TENANTS] == [[], []]
        storage.feedback.add(accepted(*twins("f-2", rating="down", agent_id="a")))
        hk.relay.run_due()
        raised = [list(hk.alerts.find(name)) for name in TENANTS]
    assert [[alert.application for alert in alerts] for alerts in raised] == [["default"], ["default-2"]]
    assert sorted(one.application for one in channel.arrived if one.alert) == sorted(TENANTS)


def test_a_rule_of_one_application_looks_at_no_other(storage: Storage, clock: ManualClock) -> None:
    """A rule that names an application is for exactly that one, in whatever way its pattern is found."""
    rules = [
        {**THREE, "application": "default"},
        {"name": "quiet", "kind": "silence", "after": "1h", "application": "default"},
    ]
    for number in range(3):
        storage.feedback.add(accepted(*twins(f"f-{number}", rating="down", agent_id="a", created_at=clock())))
    with telling(clock, storage, channels={"ops": Recorder()}, alert_rules=rules) as hk:
        hk.relay.run_due()
        clock.turn(hours=3)
        hk.relay.run_due()
        assert sorted(alert.rule for alert in hk.alerts.find("default")) == ["quiet", "three"]
        assert list(hk.alerts.find("default-2")) == []


def test_dead_letters_are_found_and_replayed_by_whole_names(storage: Storage, clock: ManualClock) -> None:
    """One application's deliveries, and one channel's, are its own for finding, listing and replaying."""
    channels = {name: Recorder(refuse) for name in ("log", "log-2")}
    storage.feedback.add(accepted(*twins()))
    with telling(clock, storage, channels=channels) as hk:
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
        assert len(storage.outbox.deliveries(DeliveryState.PENDING, limit=9)) == 3


def test_a_vote_is_its_authors_on_its_message(hk: Harken) -> None:
    """Authors, messages and sessions that look alike have votes of their own; taking one back leaves the others."""
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
    standing = [
        (application, session_id, vote.message_id, author)
        for application in TENANTS
        for session_id in ("s", "s-2")
        for author in ("ann", "anna")
        for vote in hk.collection.votes(application, session_id, author)
    ]
    gone = {("default", "s", None, "ann"), ("default", "s", "m", "ann")}
    assert sorted(standing, key=str) == sorted(set(places) - gone, key=str)


def test_both_retry_under_one_key(hk: Harken) -> None:
    """One idempotency key in two applications is two keys, for one at a time and for many, for the first and again."""
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
    """Copying one application copies its feedback, metadata and conversations, and nothing of one that looks alike."""
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


def test_downs_are_counted_in_their_own_session(storage: Storage) -> None:
    """The number of a down is that in its session, not with those of the same name in another application."""
    told: list[Down] = []
    with harken.connect(storage) as figures:
        hk = harken.connect(storage, middleware=[notify_downs(figures.analytics.summary, told.append)])
        for application in (*TENANTS, TENANTS[1]):
            for session_id in ("s", "s-2"):
                hk.submit(session_id, "down", "slow", application=application)
        eventually(lambda: len(told) == 6)
        hk.close()
    numbers = [(one.feedback.application, one.feedback.session_id, one.number) for one in told]
    expected = [("default", 1), ("default-2", 1), ("default-2", 2)]
    assert sorted(numbers) == sorted((name, session, number) for name, number in expected for session in ("s", "s-2"))


def test_a_listener_hears_its_own_application(storage: Storage, clock: ManualClock) -> None:
    """Feedback is an event in its own application only, also for a reader that resumes after a cursor."""
    with harken.connect(storage, clock=clock) as hk:
        heard = {name: hk.feed.listen(name, lambda: None) for name in TENANTS}
        storage.feedback.add(accepted(*twins(created_at=clock())))
        hk.feed.nudge()
        eventually(lambda: all(listener.waiting for listener in heard.values()))
        for name, listener in heard.items():
            news = listener.take()
            assert [one.feedback.comment for one in news] == [f"of {name}"]


def test_a_reply_goes_to_who_asked(storage: Storage) -> None:
    """A responder is asked about, and answers, feedback of the application that it was given in."""
    with harken.connect(storage, responder=lambda feedback: f"Sorry, {feedback.application}") as hk:
        given = [hk.submit("s", "down", "slow", application=name).feedback for name in TENANTS]
        for one in given:
            eventually(lambda one=one: hk.collection.get(one.application, one.id).reply)  # type: ignore[misc]
            assert hk.collection.get(one.application, one.id).reply == f"Sorry, {one.application}"


def test_a_channel_that_goes_off_twice_raises_two_alerts(storage: Storage, clock: ManualClock) -> None:
    """An alert about a channel that was resolved does not stop the next one, about it or one like it."""
    with telling(clock, storage, channels={"log": Recorder(), "log-2": Recorder()}) as hk:
        for _ in range(2):
            hk.channels.switch_off("log", "broken")
            clock.turn(minutes=1)
            hk.channels.switch_on("log")
            clock.turn(minutes=1)
        hk.channels.switch_off("log-2", "broken")
        found = [(alert.subject.value, alert.is_open) for alert in hk.alerts.find("default")]
    assert sorted(found) == [("log", False), ("log", False), ("log-2", True)]

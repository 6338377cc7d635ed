"""Sending from real storages: current content, in order, once by one of several relays with different clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event

import pytest

import harken
from channels import Recorder, connect_without_relay
from harken import Change, Harken, ModerationStatus, Notification
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.services.notifications import relay as relay_module
from support import eventually

SPAM = "I click here and nothing happens"


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage that outlives a process."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/feedback.db"
    named: str = request.getfixturevalue("mongodb_url")
    return named


def pending(hk: Harken) -> int:
    """The number of pending deliveries."""
    return len(hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=1_000))


def erase(hk: Harken) -> object:
    """Erase all feedback."""
    return hk.collection.erase(hk.query(author="victim"))


def change_all(hk: Harken) -> None:
    """Change and withdraw all feedback."""
    for one in list(hk.export(author="victim")):
        hk.collection.change("default", one.id, Change(comment="changed"))
        hk.collection.withdraw("default", one.id)


@pytest.mark.parametrize(
    ("meanwhile", "then"), [(erase, "feedback.erased"), (change_all, "feedback.withdrawn")], ids=["erased", "withdrawn"]
)
def test_nothing_is_sent_of_erased_feedback(url: str, meanwhile: Callable[[Harken], object], then: str) -> None:
    """A relay holds a batch of feedback that is erased or withdrawn: one was being sent, and none after that."""

    def interfere(_: Notification) -> None:
        channel.refuse = lambda _: None
        meanwhile(hk)

    channel = Recorder(interfere)
    with connect_without_relay(url=url, channels={"ops": channel}) as hk:
        for number in range(10):
            hk.submit("s", "down", f"my secret {number}", author="victim")
        hk.relay.run_due()
        assert pending(hk) == 0
    assert channel.types.count("feedback.created") == 1
    assert channel.types[1:] == [then] * (1 if then == "feedback.erased" else 10)
    assert "secret" not in repr(channel.arrived[1:])


def test_an_erasure_during_a_send_follows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running send may arrive; the erasure is sent right after it, and also wakes an idle relay."""
    monkeypatch.setattr(relay_module, "POLL", 3600.0)
    let_go = Event()
    channel = Recorder(lambda _: let_go.wait(20))
    with harken.connect(url, channels={"ops": channel}) as hk:
        hk.start_relay()
        hk.submit("s", "down", "my secret", author="victim")
        eventually(lambda: channel.tried)
        erase(hk)
        let_go.set()
        eventually(lambda: channel.types == ["feedback.created", "feedback.erased"])
        hk.submit("s", "down", "another secret", author="victim")
        eventually(lambda: len(channel.arrived) == 3 and not pending(hk))
        erase(hk)
        eventually(lambda: channel.types[2:] == ["feedback.created", "feedback.erased"])


def test_a_burst_of_changes_arrives_in_order_and_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change waits for the one before, and not for the next poll of the relay."""
    monkeypatch.setattr(relay_module, "POLL", 3600.0)
    channel = Recorder()
    with harken.connect(url, channels={"ops": channel}) as hk:
        ids = [hk.submit("s", "down", "slow").feedback.id for _ in range(5)]
        for version in range(3):
            for one in ids:
                hk.collection.change("default", one, Change(comment=f"{version}"))
        hk.start_relay(concurrency=4)
        hk.relay.nudge()
        eventually(lambda: len(channel.arrived) == 20)
    for one in ids:
        theirs = [sent.type.value for sent in channel.arrived if sent.feedback and sent.feedback.id == one]
        assert theirs == ["feedback.created"] + ["feedback.updated"] * 3


@pytest.mark.parametrize("between", [False, True])
def test_held_feedback_is_created_when_it_is_approved(url: str, between: bool) -> None:
    """A route for new thumbs-downs is notified once of a held one, even if no relay ran between; other routes more
    often.
    """
    new, every = Recorder(), Recorder()
    routes = [
        {"name": "new", "channel": "new", "events": ["feedback.created"], "ratings": ["down"]},
        {"name": "every", "channel": "every"},
    ]
    with connect_without_relay(url=url, channels={"new": new, "every": every}, routes=routes, spam="hold") as hk:
        held = hk.submit("s", "down", SPAM).feedback
        if between:
            hk.relay.run_due()
        hk.moderation.decide("default", held.id, ModerationStatus.APPROVED)
        hk.relay.run_due()
        assert (pending(hk), hk.outbox.events(limit=1)) == (0, [])
    assert (new.types, every.types) == (["feedback.created"], ["feedback.moderated"])


@contextmanager
def relays_on_mongodb(url: str, channel: Recorder, *ahead: int) -> Iterator[list[Harken]]:
    """Started relays, on machines with clocks that many hours ahead."""
    clocks = [partial(lambda hours: datetime.now(UTC) + timedelta(hours=hours), hours) for hours in ahead]
    opened = [harken.connect(url, channels={"ops": channel}, clock=clock) for clock in clocks]
    try:
        for hk in opened:
            hk.start_relay()
        yield opened
    finally:
        for hk in opened:
            hk.close()


@pytest.mark.slow
def test_relays_whose_clocks_differ_by_hours(mongodb_url: str) -> None:
    """Each delivery is sent once and soon, with any relay that fans it out, claims it or erases its subject."""
    channel = Recorder(lambda _: Event().wait(0.002))
    with relays_on_mongodb(mongodb_url, channel, 5, -5, 0) as opened:
        for number in range(60):
            opened[number % 3].submit("s", "down", f"{number}", author="victim")
        eventually(lambda: len(channel.arrived) >= 60 and not pending(opened[0]))
        opened[0].collection.erase(opened[0].query(author="victim"))
        eventually(lambda: len(channel.arrived) >= 120 and not pending(opened[0]))
    assert len(channel.ids) == len(set(channel.ids)) == 120

"""The clients read and replay deliveries like the services of the facade."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import harken
from channels import Recorder
from clients import KINDS, opened
from harken import AlertNotFound, DeliveryFailed, DeliveryNotFound, Harken, InvalidQuery
from harken.domain.errors import ChannelOff
from harken.domain.events import DeliveryState
from hosts.serving import served
from support import ManualClock

pytestmark = pytest.mark.slow


def refuse(_: object) -> None:
    """A receiver that rejects everything."""
    raise DeliveryFailed("It responded with 400", retryable=False, status="400 Bad Request", words="unknown field")


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with a channel that rejects everything, and dead deliveries."""
    rule = {"name": "downs", "kind": "streak", "length": 2}
    channels = {"bad": Recorder(refuse), "good": Recorder()}
    with harken.connect("memory://", clock=clock, channels=channels, alert_rules=[rule]) as connected:
        for _ in range(3):
            connected.submit("s", "down", "slow")
        connected.relay.run_due()
        yield connected


@pytest.fixture(params=KINDS[1:])
def client(request: pytest.FixtureRequest, hk: Harken) -> Iterator[Any]:
    """Each client of the Harken."""
    with served(hk) as server, opened(request.param, server.url) as client:
        yield client


def test_lists_and_numbers(client: Any, hk: Harken, clock: ManualClock) -> None:
    """They equal those of the services, in every field and with every filter."""
    assert client.deliveries(None) == [*hk.deliveries.find(None, application="default")]
    dead = client.deliveries(newest_first=True, limit=2)
    assert dead == [*hk.deliveries.find(newest_first=True, limit=2)]
    assert client.deliveries(newest_first=True, after=dead[-1].id)[0] == hk.deliveries.find()[-3]
    about = dead[0].event.subject_id
    assert len(client.deliveries(None, feedback_id=about)) + len(client.deliveries(None, alert_id=about)) == 2
    assert client.deliveries(DeliveryState.DEAD, cause="other") == []
    assert client.delivery_summary() == hk.deliveries.summary(application="default")
    later = clock() + timedelta(days=1)
    assert client.delivery_summary(since=later, channel="good").delivered == {}
    with pytest.raises(InvalidQuery, match="type"):
        client.deliveries(type="feedback")


def test_replays(client: Any, hk: Harken, clock: ManualClock) -> None:
    """One, or a counted selection; refused while the channel is off."""
    dead = client.deliveries()
    clock.turn(seconds=20)
    summary = client.delivery_summary()
    assert client.replay_all(cause="400 Bad Request", as_of=summary.as_of, at_most=1) == 1
    replayed = client.replay(dead[-1].id)
    assert (replayed.id, replayed.state) == (dead[-1].id, DeliveryState.PENDING)
    hk.channels.switch_off("bad", "it moves")
    for call in (lambda: client.replay(dead[1].id), lambda: client.replay_all(channel="bad")):
        with pytest.raises(ChannelOff, match="it moves"):
            call()
    for unknown in ("nothing", "a/b"):
        with pytest.raises(DeliveryNotFound):
            client.replay(unknown)


def test_alerts(client: Any, hk: Harken) -> None:
    """Open and resolved ones, in pages."""
    assert client.alerts(open=True) == [*hk.alerts.find("default", open=True)]
    assert client.alerts(open=False) == []
    assert client.alerts(after=client.alerts()[-1].id) == []
    with pytest.raises(AlertNotFound):
        client.alerts(after="nothing")

"""Feedback that keeps coming while the demo is served."""

import logging
from random import Random
from threading import enumerate as threads

import pytest

import harken
from harken import Harken, ModerationStatus, Rating
from harken_adapters.demo import trickle
from harken_adapters.demo.story import Story
from harken_adapters.demo.trickle import Trickle
from harken_adapters.demo.visitors import Visitors
from support import ManualClock, eventually


def trickling(hk: Harken, clock: ManualClock) -> Trickle:
    """A trickle of the same feedback in every run."""
    random = Random(3)
    return Trickle(hk, Visitors(Story(), random, application="default"), random, clock)


def test_feedback_is_given_now(clock: ManualClock) -> None:
    """Each step stores one entry with the present time, or changes the last one; some of it is spam, which is held."""
    with harken.connect("memory://", clock=clock, spam="hold") as hk:
        people = trickling(hk, clock)
        for _ in range(150):
            clock.turn(seconds=10)
            given = people.submit()
            assert given.updated_at == clock.now
            assert given.revisions or given.created_at == clock.now
        stored = list(hk.collection.stream(hk.query().in_any_state()))
        changed = [one for one in stored if one.revisions]
        assert len(stored) + len(changed) == 150
        assert len(changed) > 3
        # Spam does not turn into an opinion, and a change of opinion has a reason.
        assert all(one.comment for one in changed)
        assert all(one.moderation.status is ModerationStatus.APPROVED for one in changed)
        assert all(one.tags for one in changed if one.rating is Rating.DOWN)
        assert hk.moderation.backlog("default").waiting > 3


def test_it_ends_with_its_context(hk: Harken, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feedback comes from the beginning to the end of the context, and not after it."""
    monkeypatch.setattr(trickle, "_PAUSE", (0.0, 0.0))
    with trickling(hk, clock).running():
        eventually(lambda: hk.summary().total >= 3)
    assert "harken-demo-trickle" not in {thread.name for thread in threads()}


def test_a_failing_storage_does_not_end_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be stored is logged, and the next entry is tried."""
    monkeypatch.setattr(trickle, "_PAUSE", (0.0, 0.0))
    with harken.connect("memory://", clock=clock) as hk:
        people = trickling(hk, clock)
    with caplog.at_level(logging.WARNING), people.running():
        eventually(lambda: caplog.text.count("The demo could not submit feedback: ") >= 2)

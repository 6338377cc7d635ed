"""``client.moderation`` has the values of the moderation service."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import harken
from clients import opened, without_keys
from harken import Feedback, FeedbackNotFound, FeedbackQuery, FeedbackWithdrawn, Harken, InvalidQuery, InvalidTransition
from harken.domain.moderation import Decision, DecisionConflict, ModerationStatus
from harken_adapters.client import AsyncClient
from hosts.serving import served
from support import NOON, ManualClock

APP = "default"
REJECTED = ModerationStatus.REJECTED


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken that holds spam, with a queue of five."""
    with harken.connect("memory://", clock=clock, spam="hold") as connected:
        for number in range(5):
            connected.submit(f"s{number}", "up", "please click here", agent_id="a", author="ann")
            clock.turn(minutes=1)
        connected.submit("s", "down", "No", agent_id="a")
        yield connected


class _InLoop:
    """Calls ``moderation`` of an :class:`AsyncClient` in its event loop."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._blocking.client.moderation, name)
        return lambda *arguments, **keywords: self._blocking._runner.run(method(*arguments, **keywords))


@pytest.fixture(params=["client", "async client"])
def moderation(request: pytest.FixtureRequest, hk: Harken) -> Iterator[Any]:
    """``moderation`` of each client."""
    with served(hk) as server, opened(request.param, server.url) as client:
        yield _InLoop(client) if isinstance(getattr(client, "client", None), AsyncClient) else client.moderation


def test_reading(moderation: Any, hk: Harken, clock: ManualClock) -> None:
    """The queue, what waits, decisions, a review, a preview and the counts of rules are those of the service."""
    service, query = hk.moderation, FeedbackQuery()
    page = moderation.queue(limit=2, rule="spam phrases", agent_id="a")
    assert page == without_keys(service.queue(query, limit=2))
    later = moderation.queue(limit=2, order="newest", after=page.next)
    assert later == without_keys(service.queue(query, limit=2, order="newest", after=page.next))
    assert moderation.waiting(rule="spam phrases") == service.waiting(query)
    first, second = (one.id for one in page.items)
    service.decide(APP, first, REJECTED, moderator="mo", reason="spam")
    found = moderation.decisions(decided_since=NOON, status="rejected", limit=1)
    expected = service.decisions(query, since=NOON)
    assert (found.items[0].moderation, found.response_time) == (expected.items[0].moderation, expected.response_time)
    assert (found.count, found.by_moderator, found.is_complete, found.next) == (1, {"mo": 1}, True, None)
    clock.turn(hours=25)
    assert moderation.decisions().count == 0
    review, own = moderation.review(second, agent_id="a"), service.review(query, second)
    assert (review.author, review.similar, review.if_approved) == (own.author, own.similar, own.if_approved)
    assert (review.feedback, review.in_session) == (without_keys(own.feedback), own.in_session)
    versions = {first: 1, second: 1}
    assert moderation.preview(versions, "approved", agent_id="a") == service.preview(query, versions, "approved")
    assert moderation.rule_counts(days=3) == service.rule_counts(APP, days=3) != []
    for call in (
        lambda: moderation.queue(limit=0),
        lambda: moderation.preview(versions, "gone"),
        lambda: moderation.rule_counts(days=0),
        lambda: moderation.undo_many(dict.fromkeys(map(str, range(501)), 1)) and None,
    ):
        with pytest.raises((InvalidQuery, harken.FeedbackRejected)):
            call()
    for unknown in ("unknown", "a/b", ".."):
        with pytest.raises(FeedbackNotFound):
            moderation.review(unknown)


def test_deciding(moderation: Any, hk: Harken) -> None:
    """Each result is the feedback, or the error that the service returns."""
    ids = [one.id for one in hk.moderation.queue(FeedbackQuery()).items]
    hk.moderation.decide(APP, ids[0], "approved", moderator="priya")
    hk.withdraw(ids[1])
    decisions = [
        Decision(feedback_id=one, version=1, status=status, reason="why")
        for one, status in zip(
            [*ids, "unknown"], [REJECTED, REJECTED, ModerationStatus.PENDING, REJECTED, REJECTED, REJECTED], strict=True
        )
    ]
    for _ in range(2):
        conflict, withdrawn, unchanged, *good, missing = moderation.decide_many(decisions, moderator="mo")
        assert isinstance(conflict, DecisionConflict)
        assert (conflict.moderator, conflict.status, conflict.version) == ("priya", ModerationStatus.APPROVED, 2)
        assert conflict.decided_at == NOON + timedelta(minutes=5)
        assert [type(one) for one in (withdrawn, unchanged, missing)] == [
            FeedbackWithdrawn,
            InvalidTransition,
            FeedbackNotFound,
        ]
        assert good == [without_keys(hk.get(one)) for one in ids[3:]]
        assert [one.moderation.reason for one in good] == ["why", "why"]
    undone = moderation.undo_many({ids[3]: 2, ids[4]: 1}, moderator="mo")
    assert isinstance(undone[0], Feedback)
    assert isinstance(undone[1], DecisionConflict)

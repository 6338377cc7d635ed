"""Builders of feedback, events, keys, alerts and others with default values, for tests that depend on a few fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from attrs import evolve

from harken.domain.access import ApiKey, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.digest import Digest
from harken.domain.events import Event, EventType
from harken.domain.feedback import Content, Feedback, Rating, Target
from harken.domain.insight.comparison import Comparison, Proportion, ProportionChange
from harken.domain.insight.headline import Finding, Headline
from harken.domain.insight.issues import Issue, Issues
from harken.domain.session_change import SessionChange
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken.ports.repository import Accepted

#: A Thursday, just after the beginning of a quarter-hour slot.
NOON: Final = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
_ids: Final[Iterator[int]] = count(1)
_CONTENT: Final = ("comment", "tags", "context", "sentiment")


def a_feedback(session_id: str = "session", **parts: Any) -> Feedback:
    """Return thumbs-up feedback without a comment, given at :data:`NOON`, with an increasing id.

    ``parts`` replaces fields. It may include ``message_id`` and ``agent_id``, and ``rating`` may be a rating's word.
    """
    target = Target(session_id, parts.pop("message_id", None), parts.pop("agent_id", None))
    rating = Rating.parse(parts.pop("rating", Rating.UP))
    content = Content(rating, **{name: parts.pop(name) for name in _CONTENT if name in parts})
    at = parts.get("created_at", NOON)
    plain = Feedback(id=f"feedback-{next(_ids):09}", target=target, content=content, created_at=at, updated_at=at)
    return evolve(plain, **parts)


def a_series(size: int, **parts: Any) -> list[Feedback]:
    """Return ``size`` feedback entries, each one minute later than the previous one."""
    return [a_feedback(**{"created_at": NOON + timedelta(minutes=index), **parts}) for index in range(size)]


def with_content(feedback: Feedback, **parts: Any) -> Feedback:
    """Return the same version of feedback with other content, such as ``comment="Better"``."""
    return evolve(feedback, content=evolve(feedback.content, **parts))


def accepted(*feedback: Feedback, extras: str = "") -> list[Accepted]:
    """Return the feedback as a batch for ``FeedbackRepository.add``, each entry with its creation event."""
    return [Accepted(one, (Event.about(one, EventType.CREATED),), extras) for one in feedback]


def a_key(key_id: str = "key", **parts: Any) -> ApiKey:
    """Return a key with the scope ``submit``, created at :data:`NOON`; ``parts`` replaces fields."""
    plain = ApiKey(id=key_id, application="default", scopes=frozenset({Scope.SUBMIT}), digest="0" * 64, created_at=NOON)
    return evolve(plain, **parts)


def an_alert(alert_id: str = "alert", **parts: Any) -> Alert:
    """Return an alert about an application without feedback, raised at :data:`NOON`; ``parts`` replaces fields."""
    plain = Alert(
        id=alert_id,
        rule="silence",
        kind=AlertKind.SILENCE,
        subject=Subject("application", "default"),
        message="No feedback for an hour",
        began_at=NOON - timedelta(hours=1),
        raised_at=NOON,
    )
    return evolve(plain, **parts)


def a_session_change(metadata: Mapping[str, Any] | None = None, **parts: Any) -> SessionChange:
    """Return an update of a session to this metadata, by default of one name; ``parts`` replaces fields."""
    metadata = {"tier": "pro"} if metadata is None else metadata
    plain = SessionChange("session", "update", tuple(sorted(metadata)), metadata=metadata, current=metadata)
    return evolve(plain, **parts)


def a_digest(comment: str = "Too slow for me", reason: str = "slow", **parts: Any) -> Digest:
    """Return a digest of a week with a fall of satisfaction, with one issue; ``parts`` replaces fields."""
    end = datetime(2026, 1, 5, tzinfo=UTC)
    week = timedelta(weeks=1)
    before, after = Summary(positive=80, negative=20), Summary(positive=50, negative=50)
    share = Proportion(25, 50)
    example = a_feedback(rating=Rating.DOWN, comment=comment, tags=(reason,))
    headline = Headline(
        finding=Finding.FELL,
        before=(end - 2 * week, end - week),
        after=(end - week, end),
        is_running=False,
        comparison=Comparison(before, after),
    )
    plain = Digest(
        name="weekly",
        application="default",
        zone="UTC",
        headline=headline,
        days=(TrendPoint(end - week, end - week + timedelta(days=1), after),),
        issues=Issues((Issue(reason, share, ProportionChange(Proportion(5, 20), share), 1, example),), 1, 50, True),
        link="https://example.com/dashboard?since=2025-12-29&agent%5Fid=a",
    )
    return evolve(plain, **parts)

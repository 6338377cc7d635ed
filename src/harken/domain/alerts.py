"""Alerts: patterns that are worth waking someone for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from hashlib import blake2b

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.events import Event, EventType
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.instants import utc


class AlertKind(Enum):
    """What kind of pattern it is."""

    STREAK = "streak"
    SATISFACTION = "satisfaction"
    RATE = "rate"
    THEME = "theme"
    SILENCE = "silence"
    CHANNEL = "channel"


@frozen
class Subject:
    """Whom or what an alert is about: ``by`` is ``application``, ``agent``, ``session`` or ``channel``.

    For an application ``value`` is its name.
    """

    by: str
    value: str

    def __str__(self) -> str:
        return f"{self.by} {self.value}"


@frozen(kw_only=True)
class Alert:
    """A pattern that was found.

    Attributes:
        id: made of the application, the rule, the subject and what began the pattern, so that whoever finds the same
            pattern makes the same alert.
        application: whose.
        rule: the name of the rule that found it.
        kind: what kind of pattern it is.
        subject: whom or what it is about.
        message: the pattern in a sentence, with figures and without anybody's words.
        figures: what was counted, by name; whole numbers, so that they are exact.
        feedback_ids: the feedback that makes the pattern, where a few of them do.
        began_at: when the pattern began.
        raised_at: when it was complete.
        resolved_at: when it ended; ``None`` while it stands.
        version: 1 when it is raised, 2 when it is resolved.
    """

    id: str
    application: str = DEFAULT_APPLICATION
    rule: str
    kind: AlertKind
    subject: Subject
    message: str
    figures: Mapping[str, int] = field(factory=dict, converter=dict, hash=False)
    feedback_ids: tuple[str, ...] = ()
    began_at: datetime = field(converter=utc)
    raised_at: datetime = field(converter=utc)
    resolved_at: datetime | None = field(default=None, converter=optional(utc))
    version: int = 1

    @property
    def stands(self) -> bool:
        """Whether the pattern goes on."""
        return self.resolved_at is None

    def resolved(self, *, at: datetime) -> Alert:
        """This alert when its pattern has ended."""
        return evolve(self, resolved_at=at, version=self.version + 1)

    def event(self) -> Event:
        """The event that made the alert what it is now."""
        return Event(
            id=_digest("alert", self.application, self.id, str(self.version)),
            type=EventType.ALERT_RAISED if self.stands else EventType.ALERT_RESOLVED,
            application=self.application,
            subject_id=self.id,
            version=self.version,
            occurred_at=self.raised_at if self.resolved_at is None else self.resolved_at,
        )


def alert_id(application: str, rule: str, subject: Subject, beginning: str) -> str:
    """The id of the alert about a pattern, by what began it: such as the id of the first feedback of a streak."""
    return f"alert_{_digest(application, rule, subject.by, subject.value, beginning)}"


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

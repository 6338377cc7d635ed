"""Alerts: patterns that are worth waking someone for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.alerts.patterns import AlertKind, Finding, Streak, Subject, copied, streaks
from harken.domain.alerts.rules import (
    CHANNEL_RULE,
    AlertRule,
    QueueRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    StreakRule,
    ThemeRule,
    WindowRule,
)
from harken.domain.alerts.tables import parse_rule, rule_record
from harken.domain.events import Event, EventType
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.instants import MICROSECOND, utc

__all__ = [
    "CHANNEL_RULE",
    "Alert",
    "AlertKind",
    "AlertRule",
    "Finding",
    "QueueRule",
    "RateRule",
    "SatisfactionRule",
    "SilenceRule",
    "Streak",
    "StreakRule",
    "Subject",
    "ThemeRule",
    "WindowRule",
    "alert_id",
    "parse_rule",
    "pattern_alert",
    "rule_record",
    "streak_alert",
    "streaks",
]

#: What the first alert of a rule about a subject begins with; each later one begins with the one before.
_FIRST: Final = "first"


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
        message: the pattern in a sentence, with figures and without anybody's words; empty when feedback that the alert
            listed was erased.
        figures: what was counted, by name; whole numbers, so that they are exact.
        feedback_ids: the feedback that makes the pattern, where a few of them do.
        began_at: when the pattern began.
        raised_at: when it was complete.
        resolved_at: when it ended; ``None`` while it stands.
        version: 1 when it is raised, 2 when it is resolved; one more each time that it turns out to stand again, and
            that it is resolved after that.
    """

    id: str
    application: str = DEFAULT_APPLICATION
    rule: str
    kind: AlertKind
    subject: Subject
    message: str
    figures: Mapping[str, int] = field(factory=dict, converter=copied, hash=False)
    feedback_ids: tuple[str, ...] = ()
    began_at: datetime = field(converter=utc)
    raised_at: datetime = field(converter=utc)
    resolved_at: datetime | None = field(default=None, converter=optional(utc))
    version: int = 1

    @property
    def is_open(self) -> bool:
        """Whether the pattern goes on."""
        return self.resolved_at is None

    @property
    def is_empty(self) -> bool:
        """Whether feedback that it listed was erased."""
        return not self.message

    def resolved(self, *, at: datetime) -> Alert:
        """This alert when its pattern has ended."""
        return evolve(self, resolved_at=at, version=self.version + 1)

    def emptied(self, *, at: datetime, session_remains: bool = False) -> Alert:
        """This alert when feedback that it lists was erased: closed, and without personal data.

        Args:
            at: when it was erased.
            session_remains: whether there is other feedback in the session that the alert is about, if it is about one.
        """
        about_gone = self.subject.by == "session" and not session_remains
        return evolve(
            self,
            subject=Subject("session", "") if about_gone else self.subject,
            message="",
            figures={},
            feedback_ids=(),
            resolved_at=self.resolved_at or max(at, self.raised_at),
            version=self.version + 1,
        )

    def raised_again(self, alert: Alert, *, at: datetime) -> Alert:
        """This alert, when it turns out that its pattern goes on after all, as ``alert`` has it."""
        return evolve(alert, id=self.id, raised_at=at, version=self.version + 1)

    def event(self) -> Event:
        """The event that made the alert what it is now."""
        return Event(
            id=_digest("alert", self.application, self.id, str(self.version)),
            type=EventType.ALERT_RAISED if self.is_open else EventType.ALERT_RESOLVED,
            application=self.application,
            subject_id=self.id,
            version=self.version,
            occurred_at=self.raised_at if self.resolved_at is None else self.resolved_at,
        )


def alert_id(application: str, rule: str, subject: Subject, beginning: str) -> str:
    """The id of the alert about a pattern, by what began it: such as the id of the first feedback of a streak."""
    return f"alert_{_digest(application, rule, subject.by, subject.value, beginning)}"


def streak_alert(rule: StreakRule, application: str, subject: Subject, streak: Streak) -> Alert:
    """The alert that a rule raises about a streak, as it stands."""
    return Alert(
        id=alert_id(application, rule.name, subject, streak.feedback_ids[0]),
        application=application,
        rule=rule.name,
        kind=rule.kind,
        subject=subject,
        message=rule.message(subject, streak.completed_at),
        figures={"downs": rule.length},
        feedback_ids=streak.feedback_ids,
        began_at=streak.began.created_at,
        raised_at=streak.completed_at,
    )


def pattern_alert(
    kind: AlertKind,
    application: str,
    rule: str,
    subject: Subject,
    finding: Finding,
    *,
    previous: Alert | None,
    began_at: datetime,
    at: datetime,
) -> Alert:
    """The alert about a pattern that no one feedback begins: it begins after the alert before, so that is in its id.

    It is raised after the one before, also if that was raised by a clock that was ahead: the latest alert of a rule
    must be the last one, or no other could follow it.
    """
    raised_at = at if previous is None else max(at, previous.raised_at + MICROSECOND)
    return Alert(
        id=alert_id(application, rule, subject, previous.id if previous else _FIRST),
        application=application,
        rule=rule,
        kind=kind,
        subject=subject,
        message=finding.message,
        figures=finding.figures,
        began_at=began_at,
        raised_at=raised_at,
    )


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

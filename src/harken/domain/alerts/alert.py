"""Alerts: detected patterns that require attention."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.alerts.patterns import AlertKind, Finding, Streak, Subject, copy_counts
from harken.domain.alerts.rules import StreakRule
from harken.domain.events import Event, EventType
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.instants import MICROSECOND, utc
from harken.domain.summary import Summary

#: Part of the id of the first alert of a rule about a subject. Later ids contain the id of the previous alert.
_FIRST: Final = "first"


@frozen(kw_only=True)
class Alert:
    """A pattern that was detected.

    Attributes:
        id: derived from the application, the rule, the subject and the beginning of the pattern, so that every process
            that detects the pattern derives the same id.
        application: the application that the alert belongs to.
        rule: the name of the rule that raised the alert.
        kind: the kind of pattern.
        subject: what the alert is about.
        message: one sentence that describes the pattern with counts, and quotes no more of comments than the label of
            a theme; empty if feedback that the alert listed was erased.
        figures: the counts by name. They are integers, so they are exact.
        feedback_ids: the feedback that forms the pattern, or examples of it, if the rule lists any.
        began_at: when the pattern began.
        raised_at: when the pattern was complete.
        resolved_at: when the pattern ended; ``None`` while the alert is open.
        version: 1 when the alert is raised, 2 when it is resolved. Each reopening and each later resolution adds one.
    """

    id: str
    application: str = DEFAULT_APPLICATION
    rule: str
    kind: AlertKind
    subject: Subject
    message: str
    figures: Mapping[str, int] = field(factory=dict, converter=copy_counts, hash=False)
    feedback_ids: tuple[str, ...] = ()
    began_at: datetime = field(converter=utc)
    raised_at: datetime = field(converter=utc)
    resolved_at: datetime | None = field(default=None, converter=optional(utc))
    version: int = 1

    @property
    def is_open(self) -> bool:
        """Whether the alert has not been resolved."""
        return self.resolved_at is None

    @property
    def is_empty(self) -> bool:
        """Whether the alert was emptied because feedback that it listed was erased."""
        return not self.message

    @property
    def summary(self) -> Summary | None:
        """The thumbs that the alert counted, for their satisfaction and its interval; ``None`` if it counted none."""
        up, down = self.figures.get("positive"), self.figures.get("negative")
        return None if up is None or down is None else Summary(positive=up, negative=down)

    def resolved(self, *, at: datetime) -> Alert:
        """Return the alert resolved at this time, as its next version."""
        return evolve(self, resolved_at=at, version=self.version + 1)

    def emptied(self, *, at: datetime, session_remains: bool = False) -> Alert:
        """Return the alert resolved and without personal data, because feedback that it lists was erased.

        Args:
            at: when the feedback was erased.
            session_remains: whether the session that the alert is about still has other feedback. If it does not, the
                alert loses the session id too. Ignored for other subjects. An alert about a theme always loses the
                label, which consists of words of the feedback.
        """
        about_gone = self.subject.by == "theme" or (self.subject.by == "session" and not session_remains)
        return evolve(
            self,
            subject=self.subject.nameless if about_gone else self.subject,
            message="",
            figures={},
            feedback_ids=(),
            resolved_at=self.resolved_at or max(at, self.raised_at),
            version=self.version + 1,
        )

    def raised_again(self, alert: Alert, *, at: datetime) -> Alert:
        """Return this alert reopened, with the content of ``alert``, because its pattern continues after all."""
        return evolve(alert, id=self.id, raised_at=at, version=self.version + 1)

    def event(self) -> Event:
        """Return the event of the current version of the alert."""
        return Event(
            id=_digest("alert", self.application, self.id, str(self.version)),
            type=EventType.ALERT_RAISED if self.is_open else EventType.ALERT_RESOLVED,
            application=self.application,
            subject_id=self.id,
            version=self.version,
            occurred_at=self.raised_at if self.resolved_at is None else self.resolved_at,
        )


def alert_id(application: str, rule: str, subject: Subject, beginning: str) -> str:
    """Return the id of the alert about a pattern with this beginning, such as the id of a streak's first feedback."""
    return f"alert_{_digest(application, rule, subject.by, subject.value, beginning)}"


def streak_alert(rule: StreakRule, application: str, subject: Subject, streak: Streak) -> Alert:
    """Return the open alert that a rule raises about a streak."""
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
    """Return the alert about a pattern that does not begin with one feedback entry.

    Its id contains the id of the previous alert of the same rule about the same subject. It is always raised later than
    that one, even if the previous alert came from a process whose clock was ahead: the most recent alert of a rule must
    be the last in the chain, or no further alert could follow it.
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
        feedback_ids=finding.feedback_ids,
        began_at=began_at,
        raised_at=raised_at,
    )


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

"""Notifications as text, for channels that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback, Rating
from harken.domain.instants import stamp
from harken.domain.session_change import SessionChange
from harken.domain.texts import excerpt
from harken.ports.notifier import Notification
from harken_adapters.notifiers.digest_text import digest_lines, digest_title

_EVENT_WORDS: Final = {
    EventType.CREATED: "New feedback",
    EventType.UPDATED: "Feedback changed",
    EventType.WITHDRAWN: "Feedback withdrawn",
    EventType.ALERT_RAISED: "Alert",
    EventType.ALERT_RESOLVED: "Alert resolved",
}
#: Control characters, line breaks, and characters that change the reading direction.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")
_CHANGES: Final = {"update": "Session metadata changed", "delete": "Session metadata deleted"}
_MOST_OF_NAMES: Final = 200
_MOST_OF_VALUE: Final = 1_000
_LINE_END: Final = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")


def one_line(text: str) -> str:
    """The text in one line, without control characters."""
    return _CONTROL.sub(" ", text).strip()


def lines_of(text: str) -> list[str]:
    """The lines of a text, without control characters and surrounding empty lines."""
    return [_CONTROL.sub(" ", line).rstrip() for line in _LINE_END.split(text.strip())]


def visible_comment(notification: Notification) -> str:
    """The comment; empty if there is none, or if the feedback was withdrawn."""
    feedback = notification.feedback
    if feedback is None or feedback.withdrawn or notification.type is EventType.WITHDRAWN:
        return ""
    return feedback.comment


def worrying(notification: Notification) -> bool:
    """Whether it is about negative feedback that is not withdrawn, or a raised alert."""
    feedback = notification.feedback
    if feedback is None:
        return notification.type is EventType.ALERT_RAISED
    withdrawn = feedback.withdrawn or notification.type is EventType.WITHDRAWN
    return feedback.rating is Rating.DOWN and not withdrawn


def headline(notification: Notification) -> str:
    """The notification in one line, without the comment."""
    if notification.alert is not None:
        alert = notification.alert
        # An alert has no message after its feedback was erased.
        message = f": {alert.message}" if alert.message else ""
        return one_line(f"{_EVENT_WORDS.get(notification.type, 'Alert')} {alert.rule}{message}")
    if notification.feedback is not None:
        return _feedback_headline(notification.type, notification.feedback)
    if notification.digest is not None:
        return one_line(digest_title(notification.digest))
    if notification.erased is not None:
        return one_line(f"Feedback erased: {notification.erased.id} in session {notification.erased.session_id}")
    if notification.session is not None:
        change = notification.session
        names = excerpt(", ".join(change.names), _MOST_OF_NAMES)
        return one_line(f"{_CHANGES[change.operation]}: {names} in session {change.session_id}")
    return one_line(f"{notification.type.value} in application {notification.application}")


def paragraphs(notification: Notification) -> list[str]:
    """The notification as lines: the headline, the details, and the comment or the metadata.

    The lines of the comment or the metadata begin with ``>``, so that they cannot imitate the others.
    """
    if notification.digest is not None:
        return [one_line(line) for line in digest_lines(notification.digest)]
    comment = visible_comment(notification)
    lines = lines_of(comment) if comment.strip() else []
    if notification.session is not None:
        lines = _metadata_lines(notification.session)
    quoted = [f"> {line}".rstrip() for line in lines]
    return [headline(notification), "", *map(one_line, _facts(notification)), *([""] if quoted else []), *quoted]


def _metadata_lines(change: SessionChange) -> list[str]:
    """The names with their values as JSON; deleted ones are ``null``."""
    return [
        one_line(f"{name}: {excerpt(json.dumps(value, ensure_ascii=False), _MOST_OF_VALUE)}")
        for name, value in change.metadata.items()
    ]


def _feedback_headline(type: EventType, feedback: Feedback) -> str:  # noqa: A002 - the field's name
    event = _EVENT_WORDS.get(type, f"Feedback {feedback.moderation.status.value}")
    agent = f", agent {feedback.agent_id}" if feedback.agent_id else ""
    return one_line(f"{event}: {feedback.rating.word} in session {feedback.session_id}{agent}")


def _facts(notification: Notification) -> Iterator[str]:
    if notification.feedback is not None:
        yield from _feedback_facts(notification.feedback)
    if notification.alert is not None:
        yield from _alert_facts(notification.alert)
    if notification.erased is not None:
        yield f"Session: {notification.erased.session_id}"
        yield f"Feedback: {notification.erased.id}"
    if notification.session is not None:
        yield f"Session: {notification.session.session_id}"
    yield f"Application: {notification.application}"
    yield f"At: {stamp(notification.occurred_at)}"


def _feedback_facts(feedback: Feedback) -> Iterator[str]:
    yield f"Rating: {feedback.rating.word}"
    yield f"Session: {feedback.session_id}"
    if feedback.message_id:
        yield f"Message: {feedback.message_id}"
    if feedback.agent_id:
        yield f"Agent: {feedback.agent_id}"
    if feedback.tags and not feedback.withdrawn:
        yield f"Tags: {', '.join(feedback.tags)}"
    yield f"Feedback: {feedback.id}"


def _alert_facts(alert: Alert) -> Iterator[str]:
    yield f"Rule: {alert.rule}"
    yield f"About: {alert.subject}"
    for name, count in alert.figures.items():
        yield f"{name}: {count}"
    yield f"Alert: {alert.id}"

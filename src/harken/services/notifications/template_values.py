"""The values that a route's template can use."""

from __future__ import annotations

from typing import Final

from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.replies import MAX_REPLY_LENGTH
from harken.domain.rules import (
    MAX_CONTEXT_KEYS,
    MAX_CONTEXT_NAME_LENGTH,
    MAX_CONTEXT_VALUE_LENGTH,
    MAX_ID_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
)
from harken.domain.session_change import MAX_NAMES, SessionChange
from harken.ports.notifier import Notification

#: The length of the comment that templates are checked with: ten times the limit of the default policy.
_LONG_COMMENT: Final = 10_000


def template_values(notification: Notification) -> dict[str, object]:
    """The values of a notification by name: texts, numbers, and lists and dictionaries of these.

    Always ``type``, ``application``, ``timestamp``; for feedback ``id``, ``session_id``, ``message_id``, ``agent_id``,
    ``author``, ``rating``, ``comment``, ``tags``, ``context``, ``status``, ``reply`` and ``version``; for an alert
    ``id``, ``rule``, ``kind``, ``subject``, ``message`` and ``figures``; for a change of a session ``session_id``,
    ``operation``, ``names`` and ``metadata``, the values of these names. Withdrawn feedback has no content.
    """
    values: dict[str, object] = {
        "type": notification.type.value,
        "application": notification.application,
        "timestamp": notification.occurred_at.isoformat(),
    }
    if notification.feedback is not None:
        values |= _of_feedback(notification.feedback, disclosed=notification.type is not EventType.WITHDRAWN)
    if notification.alert is not None:
        values |= _of_alert(notification.alert)
    if notification.session is not None:
        values |= _of_session(notification.session)
    return values


def largest_values() -> dict[str, object]:
    """Values as :func:`template_values` returns them for the largest feedback, an alert and a session.

    They check a template.

    It has all names. Each text is as long as the rules allow, and the comment has 10,000 characters.
    """
    name = "n" * MAX_ID_LENGTH
    names = ("id", "session_id", "message_id", "agent_id", "author", "application", "rule")
    return {
        **dict.fromkeys(names, name),
        "type": EventType.CREATED.value,
        "timestamp": "2026-01-01T00:00:00.000000+00:00",
        "rating": "down",
        "comment": _words(_LONG_COMMENT),
        "tags": [f"{number} ".ljust(MAX_TAG_LENGTH, "t") for number in range(MAX_TAGS)],
        "context": {
            f"{number}".ljust(MAX_CONTEXT_NAME_LENGTH, "n"): _words(MAX_CONTEXT_VALUE_LENGTH)
            for number in range(MAX_CONTEXT_KEYS)
        },
        "status": "approved",
        "reply": _words(MAX_REPLY_LENGTH),
        "version": 1,
        "kind": "theme",
        "subject": {"by": "agent", "value": name},
        "message": _words(MAX_ID_LENGTH * 2),
        "figures": {f"figure_{number}": number for number in range(10)},
        "operation": "update",
        "names": [f"name_{number}" for number in range(MAX_NAMES)],
        "metadata": {f"name_{number}": _words(MAX_CONTEXT_VALUE_LENGTH) for number in range(MAX_NAMES)},
    }


def _words(length: int) -> str:
    return ("word " * length)[:length]


def _of_feedback(feedback: Feedback, *, disclosed: bool) -> dict[str, object]:
    disclosed = disclosed and not feedback.withdrawn
    return {
        "id": feedback.id,
        "session_id": feedback.session_id,
        "message_id": feedback.message_id,
        "agent_id": feedback.agent_id,
        "author": feedback.author,
        "rating": feedback.rating.word,
        "comment": feedback.comment if disclosed else "",
        "tags": list(feedback.tags) if disclosed else [],
        "context": dict(feedback.context) if disclosed else {},
        "status": feedback.moderation.status.value,
        "reply": feedback.reply if disclosed else None,
        "version": feedback.version,
    }


def _of_alert(alert: Alert) -> dict[str, object]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "kind": alert.kind.value,
        "subject": {"by": alert.subject.by, "value": alert.subject.value},
        "message": alert.message,
        "figures": dict(alert.figures),
    }


def _of_session(change: SessionChange) -> dict[str, object]:
    return {
        "session_id": change.session_id,
        "operation": change.operation,
        "names": list(change.names),
        "metadata": dict(change.metadata),
    }

"""What a route's template may speak of."""

from __future__ import annotations

from harken.domain.alerts import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.ports.notifier import Notification


def template_values(notification: Notification) -> dict[str, object]:
    """What is known of a notification, by plain names; values are texts, numbers, lists and dictionaries of these.

    Always ``type``, ``application``, ``timestamp``; of feedback ``id``, ``session_id``, ``message_id``, ``agent_id``,
    ``author``, ``rating``, ``comment``, ``tags``, ``context``, ``status``, ``reply`` and ``version``; of an alert
    ``id``, ``rule``, ``kind``, ``subject``, ``message`` and ``figures``. Feedback that was taken back has no words.
    """
    values: dict[str, object] = {
        "type": notification.type.value,
        "application": notification.application,
        "timestamp": notification.occurred_at.isoformat(),
    }
    if notification.feedback is not None:
        values |= _of_feedback(notification.feedback, told=notification.type is not EventType.DELETED)
    if notification.alert is not None:
        values |= _of_alert(notification.alert)
    return values


def _of_feedback(feedback: Feedback, *, told: bool) -> dict[str, object]:
    told = told and not feedback.withdrawn
    return {
        "id": feedback.id,
        "session_id": feedback.session_id,
        "message_id": feedback.message_id,
        "agent_id": feedback.agent_id,
        "author": feedback.author,
        "rating": feedback.rating.value or "neutral",
        "comment": feedback.comment if told else "",
        "tags": list(feedback.tags) if told else [],
        "context": dict(feedback.context) if told else {},
        "status": feedback.moderation.status.value,
        "reply": feedback.reply if told else None,
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

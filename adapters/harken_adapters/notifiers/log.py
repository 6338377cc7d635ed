"""The log channel, which needs no configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Feedback
from harken.domain.texts import escape_unprintable
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.tables import check_keys
from harken_adapters.notifiers.wording import headline, visible_comment, worrying

#: The logger of notifications. Their fields are in the attribute ``harken`` of the record.
logger = logging.getLogger("harken.notifications")

_KEYS: Final = ("comments",)
_Fields = dict[str, str | None]


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes. ``comments`` enables the logging of comments.

    Raises:
        ConfigurationError: a key is unknown, or ``comments`` is not true or false.
    """
    check_keys(table, _KEYS)
    comments = table.get("comments", False)
    if not isinstance(comments, bool):
        raise ConfigurationError(f"comments of a log channel must be true or false, got {type(comments).__name__}")
    return LogNotifier(comments=comments)


class LogNotifier(Notifier):
    """Logs each notification in one line: negative feedback and raised alerts as warnings, others as info.

    Logs are kept for long and read by many people, so the author and the comment are not logged, and of a change of
    session metadata only the names.

    Args:
        comments: whether to log the comment, and the text that the template of a route renders.
    """

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments

    def deliver(self, notification: Notification) -> None:
        """Log the notification. It counts as delivered even if the logger discards it."""
        severity = logging.WARNING if worrying(notification) else logging.INFO
        if not logger.isEnabledFor(severity):
            return
        text = notification.text if self._comments else None
        logger.log(
            severity,
            "%s",
            escape_unprintable(text or headline(notification)),
            extra={"harken": self._fields(notification)},
        )

    def _fields(self, notification: Notification) -> _Fields:
        """The fields, without empty ones."""
        fields: _Fields = {
            "type": notification.type.value,
            "delivery_id": notification.id,
            "application": notification.application,
        }
        if notification.feedback is not None:
            fields |= _feedback_fields(notification.feedback)
        if notification.erased is not None:
            fields |= {"feedback_id": notification.erased.id, "session_id": notification.erased.session_id}
        if (change := notification.session) is not None:
            fields |= {
                "session_id": change.session_id,
                "operation": change.operation,
                "names": ", ".join(change.names),
            }
        if self._comments and (comment := visible_comment(notification)):
            fields["comment"] = comment
        if (alert := notification.alert) is not None:
            fields |= {
                "alert_id": alert.id,
                "rule": alert.rule,
                "subject": str(alert.subject),
                "message": alert.message,
            }
        return {name: escape_unprintable(value) for name, value in fields.items() if value is not None}


def _feedback_fields(feedback: Feedback) -> _Fields:
    return {
        "feedback_id": feedback.id,
        "session_id": feedback.session_id,
        "message_id": feedback.message_id,
        "agent_id": feedback.agent_id,
        "rating": feedback.rating.word,
        "status": feedback.moderation.status.value,
    }

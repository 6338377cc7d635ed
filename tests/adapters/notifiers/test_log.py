"""The log channel: messages, fields, levels and escaping."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from harken.domain.alerts.patterns import Subject
from harken.domain.errors import ConfigurationError
from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.builders import NOON, a_feedback, a_session_change, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.hosts.http.logs import configure_logs
from harken_adapters.notifiers.log import open_notifier

CONTROL_CHARACTERS = "a\nb\rc\x1b[31md\u2028e\u2029f\x85g\x0bh\x00i\u202ej"


def logged(caplog: pytest.LogCaptureFixture, notification: Notification, **table: object) -> logging.LogRecord:
    """The log record of a notification."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="harken.notifications"):
        open_notifier(table).deliver(notification)
    (record,) = caplog.records
    return record


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record."""
    found: dict[str, Any] = record.__dict__["harken"]
    return found


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The log of a server. The logging configuration is restored afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(json=True, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_feedback(caplog: pytest.LogCaptureFixture) -> None:
    """The message has the rating and the session, the fields have the details; the author is not logged."""
    feedback = a_feedback("s-1", id="f-1", agent_id="helper", rating=Rating.DOWN, author="Ada", comment="Too slow")
    record = logged(caplog, a_notification(id="e:log", feedback=feedback))
    assert record.name == "harken.notifications"
    assert record.getMessage() == "New feedback: down in session s-1, agent helper"
    assert fields(record) == {
        "type": "feedback.created",
        "delivery_id": "e:log",
        "application": "default",
        "feedback_id": "f-1",
        "session_id": "s-1",
        "agent_id": "helper",
        "rating": "down",
        "status": "approved",
    }
    assert "Ada" not in str(record.__dict__)
    assert "Too slow" not in str(record.__dict__)


def test_an_erasure(caplog: pytest.LogCaptureFixture) -> None:
    """An erasure is logged with its ids."""
    record = logged(caplog, a_notification(id="e:log", erased=ErasedFeedback("f-1", "s-1")))
    assert (record.levelname, record.getMessage()) == ("INFO", "Feedback erased: f-1 in session s-1")
    assert fields(record) == {
        "type": "feedback.erased",
        "delivery_id": "e:log",
        "application": "default",
        "feedback_id": "f-1",
        "session_id": "s-1",
    }


def test_a_change_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """The session and the names are logged, but no values."""
    change = a_session_change({"tier": "gold", "topic": "refunds"}, session_id="s-1")
    record = logged(caplog, notification := a_notification(session=change))
    assert record.getMessage() == "Session metadata changed: tier, topic in session s-1"
    assert fields(record) == {
        "type": "session.metadata_updated",
        "delivery_id": notification.id,
        "application": "default",
        "session_id": "s-1",
        "operation": "update",
        "names": "tier, topic",
    }


def test_an_alert_on_erased_feedback(caplog: pytest.LogCaptureFixture) -> None:
    """An alert whose feedback was erased is resolved without content."""
    alert = an_alert(rule="streak", subject=Subject("session", "s-1"), feedback_ids=("f-1",)).emptied(at=NOON)
    record = logged(caplog, a_notification(type=EventType.ALERT_RESOLVED, alert=alert))
    assert record.getMessage() == "Alert resolved streak"
    assert "s-1" not in str(record.__dict__)


def test_an_alert(caplog: pytest.LogCaptureFixture) -> None:
    """An alert is logged with its message, rule and subject."""
    alert = an_alert("alert-1", rule="quiet", message="No feedback for an hour")
    record = logged(caplog, a_notification(id="e:log", alert=alert))
    assert record.getMessage() == "Alert quiet: No feedback for an hour"
    assert fields(record) == {
        "type": "alert.raised",
        "delivery_id": "e:log",
        "application": "default",
        "alert_id": "alert-1",
        "rule": "quiet",
        "subject": "application default",
        "message": "No feedback for an hour",
    }


@pytest.mark.parametrize(
    ("notification", "level"),
    [
        (a_notification(feedback=a_feedback(rating=Rating.DOWN)), "WARNING"),
        (a_notification(type=EventType.UPDATED, feedback=a_feedback(rating=Rating.DOWN)), "WARNING"),
        (a_notification(feedback=a_feedback(rating=Rating.UP)), "INFO"),
        (a_notification(feedback=a_feedback(rating=Rating.NEUTRAL)), "INFO"),
        (a_notification(type=EventType.WITHDRAWN, feedback=a_feedback(rating=Rating.DOWN).withdraw(at=NOON)), "INFO"),
        (a_notification(alert=an_alert()), "WARNING"),
        (a_notification(type=EventType.ALERT_RESOLVED, alert=an_alert().resolved(at=NOON)), "INFO"),
    ],
)
def test_levels(caplog: pytest.LogCaptureFixture, notification: Notification, level: str) -> None:
    """Negative feedback that is not withdrawn and raised alerts are warnings; others are info."""
    assert logged(caplog, notification).levelname == level


def test_the_log_level_is_respected(caplog: pytest.LogCaptureFixture) -> None:
    """If only warnings are logged, a thumbs-up is delivered without a record."""
    with caplog.at_level(logging.WARNING, logger="harken.notifications"):
        open_notifier({}).deliver(a_notification(feedback=a_feedback()))
    assert caplog.records == []


def test_comments_are_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    """Only with ``comments = true`` is the comment a field, and the text of a route the message."""
    notification = a_notification(feedback=a_feedback(comment="Too slow"), text="New comment: Too slow")
    record = logged(caplog, notification, comments=True)
    assert fields(record)["comment"] == "Too slow"
    assert record.getMessage() == "New comment: Too slow"
    record = logged(caplog, notification)
    assert "comment" not in fields(record)
    assert record.getMessage() == "New feedback: up in session session"


def test_withdrawn_comments_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The comment of withdrawn feedback is not logged, for any type of notification."""
    withdrawn = a_feedback(comment="Too slow").withdraw(at=NOON)
    for event in (EventType.WITHDRAWN, EventType.CREATED):
        record = logged(caplog, a_notification(type=event, feedback=withdrawn), comments=True)
        assert "Too slow" not in str(record.__dict__)


def test_no_line_can_be_forged(stream: io.StringIO) -> None:
    """A notification is one line without control characters, for any content."""
    feedback = a_feedback(CONTROL_CHARACTERS, agent_id=CONTROL_CHARACTERS, comment=CONTROL_CHARACTERS)
    plain = io.StringIO()
    handler = logging.StreamHandler(plain)
    logging.getLogger().addHandler(handler)
    for text in (None, CONTROL_CHARACTERS):
        open_notifier({"comments": True}).deliver(a_notification(feedback=feedback, text=text))
    open_notifier({}).deliver(a_notification(alert=an_alert(rule=CONTROL_CHARACTERS, message=CONTROL_CHARACTERS)))
    for written in (plain.getvalue(), stream.getvalue()):
        assert len(written.splitlines()) == 3
        assert all(line.isprintable() for line in written.splitlines())


def test_fields_in_the_log_of_a_server(stream: io.StringIO) -> None:
    """The JSON log of the server has the fields under the same names."""
    open_notifier({"comments": True}).deliver(
        a_notification(id="e:log", feedback=a_feedback("s-1", rating=Rating.DOWN, comment="Too slow"))
    )
    line = json.loads(stream.getvalue())
    assert line["level"] == "warning"
    assert line["logger"] == "harken.notifications"
    assert line["event"] == "New feedback: down in session s-1"
    assert (line["type"], line["delivery_id"], line["rating"]) == ("feedback.created", "e:log", "down")
    assert line["comment"] == "Too slow"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"comment": True}, "unknown key 'comment'; expected comments"),
        ({"comments": "yes"}, "comments of a log channel must be true or false, got str"),
    ],
)
def test_invalid_tables(table: dict[str, object], message: str) -> None:
    """An unknown key or a value of another type is an error."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert str(caught.value) == message

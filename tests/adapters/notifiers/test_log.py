"""Notifications in the log: fields for machines, a sentence for people, and nobody's words."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from harken.domain.alerts.alert import Subject
from harken.domain.errors import ConfigurationError
from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.builders import NOON, a_feedback, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.hosts.http.logs import configure_logs
from harken_adapters.notifiers.log import open_notifier

NASTY = "a\nb\rc\x1b[31md\u2028e\u2029f\x85g\x0bh\x00i\u202ej"


def logged(caplog: pytest.LogCaptureFixture, notification: Notification, **table: object) -> logging.LogRecord:
    """The one record that a notification makes."""
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
    """What a server writes; afterwards, logging is as it was before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(json=True, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_feedback(caplog: pytest.LogCaptureFixture) -> None:
    """Feedback is a line that reads by itself, with what it is about as fields; the author is not in it."""
    feedback = a_feedback("s-1", id="f-1", agent_id="helper", rating=Rating.DOWN, author="Ada", comment="Too slow")
    record = logged(caplog, a_notification(id="e:log", feedback=feedback))
    assert record.name == "harken.notifications"
    assert record.getMessage() == "Feedback given: down in session s-1, agent helper"
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
    """That feedback was erased is a line with its ids."""
    record = logged(caplog, a_notification(id="e:log", erased=ErasedFeedback("f-1", "s-1")))
    assert (record.levelname, record.getMessage()) == ("INFO", "Feedback erased: f-1 in session s-1")
    assert fields(record) == {
        "type": "feedback.erased",
        "delivery_id": "e:log",
        "application": "default",
        "feedback_id": "f-1",
        "session_id": "s-1",
    }


def test_an_alert_that_was_emptied(caplog: pytest.LogCaptureFixture) -> None:
    """An alert about what was erased ends without content."""
    alert = an_alert(rule="streak", subject=Subject("session", "s-1"), feedback_ids=("f-1",)).emptied(at=NOON)
    record = logged(caplog, a_notification(type=EventType.ALERT_RESOLVED, alert=alert))
    assert record.getMessage() == "Alert over streak"
    assert "s-1" not in str(record.__dict__)


def test_an_alert(caplog: pytest.LogCaptureFixture) -> None:
    """An alert is told in its own words, with its rule and whom it is about."""
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
def test_what_is_a_warning(caplog: pytest.LogCaptureFixture, notification: Notification, level: str) -> None:
    """Downs that stand and alerts that were raised are warnings, all else is information."""
    assert logged(caplog, notification).levelname == level


def test_what_nobody_wants_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    """Where only warnings are logged, an up is delivered and nothing is written."""
    with caplog.at_level(logging.WARNING, logger="harken.notifications"):
        open_notifier({}).deliver(a_notification(feedback=a_feedback()))
    assert caplog.records == []


def test_comments_are_logged_where_that_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """With ``comments = true`` the comment is a field, and a route's text is the line; else neither is there."""
    notification = a_notification(feedback=a_feedback(comment="Too slow"), text="Somebody said: Too slow")
    record = logged(caplog, notification, comments=True)
    assert fields(record)["comment"] == "Too slow"
    assert record.getMessage() == "Somebody said: Too slow"
    record = logged(caplog, notification)
    assert "comment" not in fields(record)
    assert record.getMessage() == "Feedback given: up in session session"


def test_what_was_withdrawn_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    """The words of feedback that its author took back are not logged, whatever the notification is of."""
    withdrawn = a_feedback(comment="Too slow").withdraw(at=NOON)
    for event in (EventType.WITHDRAWN, EventType.CREATED):
        record = logged(caplog, a_notification(type=event, feedback=withdrawn), comments=True)
        assert "Too slow" not in str(record.__dict__)


def test_no_line_can_be_forged(stream: io.StringIO) -> None:
    """Whatever people write, a notification is one line, and shows nothing that a terminal would obey."""
    feedback = a_feedback(NASTY, agent_id=NASTY, comment=NASTY)
    plain = io.StringIO()
    handler = logging.StreamHandler(plain)
    logging.getLogger().addHandler(handler)
    for text in (None, NASTY):
        open_notifier({"comments": True}).deliver(a_notification(feedback=feedback, text=text))
    open_notifier({}).deliver(a_notification(alert=an_alert(rule=NASTY, message=NASTY)))
    for written in (plain.getvalue(), stream.getvalue()):
        assert len(written.splitlines()) == 3
        assert all(line.isprintable() for line in written.splitlines())


def test_fields_come_through_in_a_server(stream: io.StringIO) -> None:
    """In the server's JSON the fields stand beside the sentence, under the names that they have here."""
    open_notifier({"comments": True}).deliver(
        a_notification(id="e:log", feedback=a_feedback("s-1", rating=Rating.DOWN, comment="Too slow"))
    )
    line = json.loads(stream.getvalue())
    assert line["level"] == "warning"
    assert line["logger"] == "harken.notifications"
    assert line["event"] == "Feedback given: down in session s-1"
    assert (line["type"], line["delivery_id"], line["rating"]) == ("feedback.created", "e:log", "down")
    assert line["comment"] == "Too slow"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"comment": True}, "A log channel sets unknown comment; known are comments"),
        ({"comments": "yes"}, "comments of a log channel must be true or false, got a str"),
    ],
)
def test_tables_that_make_no_sense(table: dict[str, object], told: str) -> None:
    """A key that is not known, or a value of another type, is refused in a sentence."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert str(caught.value) == told

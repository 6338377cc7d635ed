"""Messages sent to SQS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from adapters.notifiers.amazon import ENVIRON, REGION, Amazon, amazon
from adapters.notifiers.receiver import AnswerTo, answering, receiving
from harken.domain.errors import ConfigurationError, DeliveryFailed, MissingExtra
from harken.domain.feedback import Rating
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.builders import a_digest, a_feedback, a_session_change, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.formats.notification import body
from harken_adapters.notifiers.sqs import open_notifier, region_of

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/feedback"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set invalid credentials, and prevent boto3 from finding others."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    """SQS for these tests."""
    with amazon() as started:
        yield started


def sent(queue: str, aws: Amazon, *notifications: Notification) -> list[dict[str, Any]]:
    """The messages of notifications, in order."""
    with closing(open_notifier({"queue_url": queue, "region": REGION})) as notifier:
        for notification in notifications:
            notifier.deliver(notification)
    return aws.envelopes(queue)


def a_change(metadata: dict[str, Any], **parts: Any) -> Notification:
    """A notification of changed metadata."""
    return a_notification(session=a_session_change(metadata, **{"session_id": "s-1", **parts}))


def failing(status: str, code: str) -> AnswerTo:
    """An error response of SQS."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "Because."}).encode()
    return answering(status, "content-type: application/x-amz-json-1.0", body=body)


@pytest.mark.slow
class TestMessages:
    """What is in a queue."""

    def test_notifications_are_those_of_webhooks(self, aws: Amazon) -> None:
        """Feedback, erasures and alerts have the body of a webhook, and attributes to filter by."""
        feedback = a_notification(feedback=a_feedback("s-1", rating=Rating.DOWN, comment="Zu langsam 🐌"))
        erased = a_notification(erased=ErasedFeedback("f-1", "s-1"))
        alert = a_notification(alert=an_alert(rule="quiet"))
        messages = sent(aws.queue(), aws, feedback, erased, alert)
        assert [json.loads(one["Body"]) for one in messages] == [
            json.loads(body(one)) for one in (feedback, erased, alert)
        ]
        attributes = [
            {name: value["StringValue"] for name, value in one["MessageAttributes"].items()} for one in messages
        ]
        assert attributes == [
            {"session_id": "s-1", "rating": "negative"},
            {"session_id": "s-1", "type": "feedback.erased"},
            {"rule": "quiet"},
        ]

    def test_a_digest_has_its_text(self, aws: Amazon) -> None:
        """As in webhooks, so that a program can forward it to people."""
        [message] = sent(aws.queue(), aws, a_notification(digest=a_digest()))
        record = json.loads(message["Body"])
        assert (record["type"], "Satisfaction by day:" in record["data"]["text"]) == ("digest", True)

    def test_a_change_of_metadata(self, aws: Amazon) -> None:
        """The body has the changed values, ``null`` for those that do not exist, and the text of a route's template."""
        change = a_change({"status": "open", "count": None}, operation="delete", current={"status": "open", "x": 1})
        [message] = sent(aws.queue(), aws, change)
        assert json.loads(message["Body"]) == {
            "session_id": "s-1",
            "event": "metadata_update",
            "operation": "delete",
            "metadata": {"status": "open", "count": None},
            "timestamp": "2026-01-01T12:00:00.123456Z",
        }
        assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == {
            "session_id": "s-1",
            "event": "metadata_update",
        }

    def test_large_metadata_is_shortened(self, aws: Amazon) -> None:
        """The largest values are left out, so that every queue accepts the message, and the message says so."""
        metadata = {"small": "s", "large": "😀" * 60_000, "middle": "m" * 100_000, "other": "o" * 100_000}
        [message] = sent(aws.queue(), aws, a_change(metadata))
        record = json.loads(message["Body"])
        assert record["truncated"] is True
        assert record["metadata"] == {name: metadata[name] for name in ("small", "middle", "other")}
        assert len(message["Body"].encode()) < 256 * 1024

    def test_odd_characters_arrive(self, aws: Amazon) -> None:
        """Also those that SQS does not accept as they are; an unpaired surrogate is not a character."""
        text = "a\x00\x1b\u2028\ufffe\uffff\U0001fffe"
        changes = a_change({text: [text]}), a_change({"x": "\ud800"})
        first, second = sent(aws.queue(), aws, *changes)
        assert json.loads(first["Body"])["metadata"] == {text: [text]}
        assert json.loads(second["Body"])["metadata"] == {"x": "?"}

    def test_fifo_queues(self, aws: Amazon) -> None:
        """A FIFO queue keeps the order of a session, and a repeated delivery arrives once."""
        first = a_notification(feedback=a_feedback("s-1"))
        others = [
            a_change({"x": 1}),
            a_notification(erased=ErasedFeedback("f", "a session")),
            a_notification(digest=a_digest()),
        ]
        messages = sent(aws.queue(fifo=True), aws, first, first, *others)
        groups = [one["Attributes"]["MessageGroupId"] for one in messages]
        assert groups[:2] == ["s-1", "s-1"]
        assert groups[2].isalnum()
        assert groups[3] == "default"
        assert len(groups) == 4

    def test_a_missing_queue(self, aws: Amazon) -> None:
        """The error is explained and retried, as the queue may be created."""
        queue = aws.queue()
        aws.remove_queue(queue)
        with pytest.raises(DeliveryFailed, match="the queue does not exist") as caught:
            sent(queue, aws, a_notification())
        assert caught.value.retryable


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (failing("403 Forbidden", "AccessDeniedException"), "not allowed to send messages to the queue: Because."),
        (failing("400 Bad Request", "RequestThrottled"), "SQS rejected the message: RequestThrottled"),
        (answering("503 Service Unavailable"), "503"),
        (answering("200 OK", "content-type: application/x-amz-json-1.0", body=b"<"), "The response is not from SQS"),
    ],
)  # fmt: skip
def test_errors_are_retried(answer: AnswerTo, message: str) -> None:
    """Every error is retried by the relay only, and has a reason without secrets."""
    with receiving(answer) as receiver:
        table = {"queue_url": URL, "endpoint_url": receiver.url}
        with closing(open_notifier(table)) as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification())
        assert message in str(caught.value)
        assert caught.value.retryable
        assert len(receiver.received) == 1
        assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("queue", "region"),
    [
        (URL, "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://us-gov-west-1.queue.amazonaws.com/1/q", "us-gov-west-1"),
        ("https://vpce-0a-1b.sqs.us-east-2.vpce.amazonaws.com/1/q", "us-east-2"),
        ("http://sqs.eu-west-1.localhost.localstack.cloud:4566/1/q", "eu-west-1"),
        ("http://127.0.0.1:5000/1/q", None),
        ("https://queue.amazonaws.com/1/q", None),
    ],
)
def test_the_region_of_a_queue(queue: str, region: str | None) -> None:
    """It is in the URL, in every form of it that Amazon uses."""
    assert region_of(queue) == region


def test_the_region_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the URL has no region, the environment has one, or the error asks for it."""
    table = {"queue_url": "http://127.0.0.1:1/1/q"}
    with pytest.raises(ConfigurationError, match="An SQS channel needs a region, such as 'eu-west-1'"):
        open_notifier(table)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    open_notifier(table).close()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "An SQS channel needs the URL of a queue as queue_url, such as 'https://sqs.eu-west-1.amazonaws.com/"),
        ({"queue_url": "https://sqs.eu-west-1.amazonaws.com/"}, "An SQS channel needs the URL of a queue"),
        ({"queue_url": URL, "url": URL}, "unknown key 'url'"),
        ({"queue_url": "feedback"}, "queue_url of an SQS channel must be an http:// or https:// URL"),
        ({"queue_url": URL, "region": "mars north"}, "region of an SQS channel must be a region"),
        ({"queue_url": URL, "endpoint_url": "http://u:p@localhost"}, "endpoint_url of an SQS channel must be"),
        ({"queue_url": 7}, "queue_url of an SQS channel must be a string, got int"),
    ],
)
def test_invalid_tables(table: dict[str, object], message: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert message in str(caught.value)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra) as caught:
        open_notifier({"queue_url": URL})
    assert str(caught.value) == "An SQS channel needs the package 'boto3'; try pip install \"harken[aws]\""

"""Messages published to SNS, received from queues that are subscribed to the topics."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from time import monotonic
from typing import Any

import pytest

from adapters.notifiers.amazon import ENVIRON, REGION, Amazon, amazon
from adapters.notifiers.receiver import AnswerTo, Received, answering, receiving
from harken.domain.errors import ConfigurationError, DeliveryFailed, MissingExtra
from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.builders import NOON, a_feedback, a_session_change, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.notifiers.sns import open_notifier
from support import PATIENCE

pytestmark = pytest.mark.slow

ARN = "arn:aws:sns:eu-west-1:123456789012:feedback"


def refusing(status: str, code: str) -> AnswerTo:
    """An error response of SNS."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>Because.</Message></Error>"
    body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
    return answering(status, body=body.encode())


def hanging_up(_: Received) -> Iterator[bytes]:
    """Close the connection without a response."""
    yield b""
    raise ConnectionResetError


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set invalid credentials, and prevent boto3 from finding others."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    """SNS and SQS servers for these tests."""
    with amazon() as started:
        yield started


def publish(aws: Amazon, table: dict[str, object], *notifications: Notification) -> None:
    """Deliver notifications with a channel that this table describes."""
    with closing(open_notifier({"endpoint_url": aws.url, **table})) as notifier:
        for notification in notifications:
            notifier.deliver(notification)


def published(aws: Amazon, notification: Notification, **table: object) -> dict[str, Any]:
    """The message of a notification, with one topic for everything."""
    topic = aws.topic()
    publish(aws, {"topic": topic, **table}, notification)
    (message,) = aws.messages(topic)
    return message


def rated(rating: Rating, **parts: Any) -> Notification:
    """A notification of new feedback with this rating."""
    return a_notification(feedback=a_feedback("s-1", rating=rating, **parts))


def test_each_rating_has_its_topic(aws: Amazon) -> None:
    """Each rating goes to its topic, with the session and the rating as attributes."""
    topics = {word: aws.topic() for word in ("topic_up", "topic_down", "topic_neutral")}
    publish(aws, {**topics}, *(rated(rating) for rating in Rating))
    for key, word in {"topic_up": "positive", "topic_down": "negative", "topic_neutral": "neutral"}.items():
        (message,) = aws.messages(topics[key])
        assert message["TopicArn"] == topics[key]
        assert message["Subject"] == f"Feedback: {word} in session s-1"
        assert message["MessageAttributes"] == {
            "session_id": {"Type": "String", "Value": "s-1"},
            "rating": {"Type": "String", "Value": word},
        }


def test_none_switches_a_rating_off(aws: Amazon) -> None:
    """Feedback with the topic ``none`` is not sent, and neither is feedback without a topic."""
    everything, negative = aws.topic(), aws.topic()
    publish(aws, {"topic": everything, "topic_up": "none"}, *(rated(rating) for rating in Rating))
    ratings = [message["MessageAttributes"]["rating"]["Value"] for message in aws.messages(everything)]
    assert ratings == ["negative", "neutral"]
    publish(aws, {"topic_down": negative}, *(rated(rating) for rating in Rating), a_notification(alert=an_alert()))
    assert len(aws.messages(negative)) == 1


def test_alerts_have_a_topic_too(aws: Amazon) -> None:
    """An alert goes to its topic, and the templates of feedback do not apply."""
    feedback, alerts = aws.topic(), aws.topic()
    alert = an_alert(rule="quiet", message="No feedback for an hour", figures={"minutes": 60})
    table = {"topic": feedback, "topic_alerts": alerts, "subject": "{rating}", "body": "{session_id}"}
    resolution = a_notification(type=EventType.ALERT_RESOLVED, alert=alert.resolved(at=NOON))
    publish(aws, {**table}, a_notification(alert=alert), resolution)
    raised, resolved = aws.messages(alerts)
    assert raised["Subject"] == "Alert quiet: No feedback for an hour"
    assert "minutes: 60" in raised["Message"]
    assert raised["MessageAttributes"] == {"rule": {"Type": "String", "Value": "quiet"}}
    assert resolved["Subject"] == "Alert resolved quiet: No feedback for an hour"
    assert aws.messages(feedback) == []


def test_an_erasure_goes_to_every_topic_of_feedback(aws: Amazon) -> None:
    """The rating is no longer known, so the ids go to all topics of feedback, but not of alerts."""
    ups, downs, alerts = aws.topic(), aws.topic(), aws.topic()
    table = {
        "topic_up": ups,
        "topic_down": downs,
        "topic_neutral": downs,
        "topic_alerts": alerts,
        "subject": "{rating}",
    }
    publish(aws, table, a_notification(erased=ErasedFeedback("f-1", "s-1")))
    for topic in (ups, downs):
        (message,) = aws.messages(topic)
        assert message["Subject"] == "Feedback erased: f-1 in session s-1"
        assert {"Session: s-1", "Feedback: f-1", "Application: default"} < set(message["Message"].splitlines())
        assert message["MessageAttributes"] == {
            "session_id": {"Type": "String", "Value": "s-1"},
            "type": {"Type": "String", "Value": "feedback.erased"},
        }
    assert aws.messages(alerts) == []


def test_changes_of_metadata_have_a_topic(aws: Amazon) -> None:
    """A change is JSON in its topic, with attributes to filter by; the text of a route replaces the JSON."""
    topic, others = aws.topic(), aws.topic()
    change = a_notification(session=a_session_change({"status": "open\u2028\x85\uffff"}, session_id="s-1"))
    texts = a_notification(session=a_session_change(), text="Changed")
    publish(aws, {"topic": others, "topic_metadata": topic, "subject": "{rating}", "body": "{comment}"}, change, texts)
    message, text = aws.messages(topic)
    assert message["Subject"] == "Session metadata changed: status in session s-1"
    assert json.loads(message["Message"]) == {
        "session_id": "s-1",
        "event": "metadata_update",
        "operation": "update",
        "metadata": {"status": "open\u2028\x85\uffff"},
        "timestamp": "2026-01-01T12:00:00.123456Z",
    }
    assert message["MessageAttributes"] == {
        "session_id": {"Type": "String", "Value": "s-1"},
        "event": {"Type": "String", "Value": "metadata_update"},
    }
    assert text["Message"] == "Changed"
    assert aws.messages(others) == []


def test_changes_of_metadata_need_a_topic(aws: Amazon) -> None:
    """They are not sent to another topic, least of all to that of alerts; the error says what to set."""
    topic = aws.topic()
    with pytest.raises(DeliveryFailed, match="set topic_metadata") as caught:
        publish(aws, {"topic": topic}, a_notification(session=a_session_change()))
    assert not caught.value.retryable
    assert aws.messages(topic) == []


def test_templates(aws: Amazon) -> None:
    """Subject and body are templates; a literal brace is written twice."""
    message = published(
        aws,
        rated(Rating.DOWN, comment="{rating} Too slow", agent_id="helper"),
        subject="{rating}: {session_id}",
        body='{{"at": "{timestamp}", "by": "{agent_id}", "said": "{comment}", "in": "{application}", "of": "{type}"}}',
    )
    assert message["Subject"] == "negative: s-1"
    assert message["Message"] == (
        '{"at": "2026-01-01T12:00:00.123456Z", "by": "helper", "said": "{rating} Too slow", '
        '"in": "default", "of": "feedback.created"}'
    )


def test_the_default_body(aws: Amazon) -> None:
    """The body has all details except the author, and the comment as a quotation."""
    notification = rated(
        Rating.DOWN, author="Ada", comment="Too slow\nSession: other", tags=("slow",), agent_id="helper"
    )
    lines = published(aws, notification)["Message"].splitlines()
    assert lines[0] == "New feedback: down in session s-1, agent helper"
    assert {"Rating: down", "Session: s-1", "Agent: helper", "Tags: slow", "Application: default"} < set(lines)
    assert lines[-2:] == ["> Too slow", "> Session: other"]
    assert "Ada" not in str(lines)


def test_a_routes_text_is_the_body(aws: Amazon) -> None:
    """The text of a route overrides the template of the channel."""
    notification = a_notification(feedback=a_feedback(), text="Look at this")
    assert published(aws, notification, body="{comment}")["Message"] == "Look at this"


@pytest.mark.parametrize("event", [EventType.WITHDRAWN, EventType.CREATED])
def test_withdrawn_content_is_not_sent(aws: Amazon, event: EventType) -> None:
    """No template has the comment or the tags of withdrawn feedback."""
    withdrawn = a_feedback(comment="Too slow", tags=("slow",)).withdraw(at=NOON)
    for table in ({}, {"body": "<{comment}{tags}>", "subject": "<{comment}{tags}>"}):
        message = published(aws, a_notification(type=event, feedback=withdrawn), **table)
        assert "slow" not in f"{message['Subject']}{message['Message']}"


@pytest.mark.parametrize(
    ("template", "subject"),
    [
        ("Größe, élan: {comment}", "Gro?e, elan: ? a b c"),
        ("{comment}" * 30, ("? a b c" * 30)[:99]),
        ("{agent_id}", None),
    ],
)  # fmt: skip
def test_subjects_are_valid(aws: Amazon, template: str, subject: str | None) -> None:
    """A subject is one line of ASCII below 100 characters; an empty one is omitted."""
    message = published(aws, rated(Rating.DOWN, comment="😀 a\r\nb\x07\tc"), subject=template)
    assert message.get("Subject") == subject


def test_bodies_are_valid(aws: Amazon) -> None:
    """A body is below the limit of SNS, without invalid characters."""
    message = published(aws, rated(Rating.DOWN, comment="😀" * 100_000 + "\x00\x0b"), body="{comment}{comment}")
    assert 200_000 < len(message["Message"].encode()) < 256 * 1024
    assert published(aws, rated(Rating.DOWN, comment="a\x00b\x1bc\nd"), body="{comment}")["Message"] == "a b c\nd"


def test_fifo_topics(aws: Amazon) -> None:
    """A FIFO topic keeps the order of a session, and a repeated delivery arrives once."""
    topic = aws.topic(fifo=True)
    table = {"topic": topic, "region": REGION}
    first, second = rated(Rating.UP), a_notification(feedback=a_feedback("a session with spaces"))
    publish(aws, table, first, first, second, a_notification(alert=an_alert()))
    groups = [envelope["Attributes"]["MessageGroupId"] for envelope in aws.envelopes(topic)]
    assert len(groups) == 3
    assert groups[0] == "s-1"
    assert groups[1].isalnum()
    assert len(set(groups)) == 3


def test_credentials_are_not_sent_or_logged(aws: Amazon, caplog: pytest.LogCaptureFixture) -> None:
    """For any comment and template."""
    with caplog.at_level("INFO"):
        message = published(
            aws, rated(Rating.DOWN, comment="{AWS_SECRET_ACCESS_KEY} $AWS_SECRET_ACCESS_KEY {0.__class__}")
        )
    assert "> {AWS_SECRET_ACCESS_KEY} $AWS_SECRET_ACCESS_KEY {0.__class__}" in message["Message"]
    assert "very-secret" not in f"{message}{caplog.text}"


def test_a_missing_topic(aws: Amazon) -> None:
    """The error is explained and retried, as the topic may be created."""
    topic = aws.topic()
    aws.remove(topic)
    with pytest.raises(DeliveryFailed, match="NotFound: the topic does not exist") as caught:
        publish(aws, {"topic": topic}, rated(Rating.DOWN))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusing("403 Forbidden", "AuthorizationError"), "not allowed to publish to the topic: Because."),
        (refusing("403 Forbidden", "ExpiredToken"), "the credentials have expired"),
        (refusing("400 Bad Request", "InvalidParameter"), "InvalidParameter: the message is invalid"),
        (refusing("400 Bad Request", "Throttling"), "SNS rejected the message: Throttling"),
        (refusing("500 Internal Server Error", "InternalError"), "InternalError"),
        (answering("503 Service Unavailable"), "503"),
        (answering("200 OK", body=b"<"), "The response is not from SNS"),
        (hanging_up, "SNS cannot be reached: Connection was closed"),
    ],
)  # fmt: skip
def test_errors_are_retried(answer: AnswerTo, message: str) -> None:
    """Every error is retried by the relay only, and has a reason without secrets."""
    with (
        receiving(answer) as receiver,
        closing(open_notifier({"topic": ARN, "endpoint_url": receiver.url})) as notifier,
    ):
        with pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(rated(Rating.DOWN))
        assert message in str(caught.value)
        assert caught.value.retryable
        assert len(receiver.received) == 1
        assert "very-secret" not in str(caught.value)


def test_words_have_no_secrets() -> None:
    """An endpoint may quote the path of its URL, and the credentials in the headers."""
    token = ENVIRON["AWS_SESSION_TOKEN"]

    def quoting(sent: Received) -> Iterable[bytes]:
        message = f"{sent.path} {sent.headers['x-amz-security-token']} is unknown"
        error = f"<Error><Code>Odd</Code><Message>{message}</Message></Error>"
        return answering("403 Forbidden", body=f"<ErrorResponse>{error}</ErrorResponse>".encode())(sent)

    with receiving(quoting) as receiver:
        url = receiver.url.replace("/hook", "/gate/SECRET-PATH")
        table = {"topic": ARN, "endpoint_url": url}
        with closing(open_notifier(table)) as notifier, pytest.raises(DeliveryFailed) as refused:
            notifier.deliver(rated(Rating.DOWN))
    with closing(open_notifier(table)) as notifier, pytest.raises(DeliveryFailed, match="reached") as unreachable:
        notifier.deliver(rated(Rating.DOWN))
    assert refused.value.words.endswith("*** is unknown")
    for error in (refused.value, unreachable.value):
        assert token not in f"{error} {error.words}"
        assert "SECRET-PATH" not in f"{error} {error.words}"


def test_a_read_timeout() -> None:
    """A server that does not respond is given up."""
    begun = monotonic()
    with receiving(lambda _: ()) as receiver:
        notifier = open_notifier({"topic": ARN, "endpoint_url": receiver.url})
        with closing(notifier), pytest.raises(DeliveryFailed, match="SNS cannot be reached: Read timeout"):
            notifier.deliver(rated(Rating.DOWN))
    assert monotonic() - begun < PATIENCE


def test_a_refused_connection() -> None:
    """An endpoint without a server is reported."""
    with receiving() as receiver:
        url = receiver.url
    notifier = open_notifier({"topic": ARN, "endpoint_url": url})
    with closing(notifier), pytest.raises(DeliveryFailed, match="SNS cannot be reached: Could not connect"):
        notifier.deliver(rated(Rating.DOWN))


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is sent, and the error says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    notifier = open_notifier({"topic": ARN})
    with closing(notifier), pytest.raises(DeliveryFailed, match="Unable to locate credentials"):
        notifier.deliver(rated(Rating.DOWN))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "An SNS channel needs the ARN of a topic"),
        ({"topic": "none"}, "An SNS channel needs the ARN of a topic"),
        ({"topic": ARN, "arn": ARN}, "unknown key 'arn'; expected one of topic, topic_up"),
        ({"topic": ARN, "aws_secret_access_key": "x"}, "unknown key 'aws_secret_access_key'"),
        ({"topic": "feedback"}, "topic of an SNS channel must be 'none' or the ARN of a topic, such as 'arn:aws:sns:"),
        ({"topic_up": "arn:aws:sqs:eu-west-1:123456789012:q"}, "topic_up of an SNS channel must be 'none' or the ARN"),
        ({"topic_down": 7}, "topic_down of an SNS channel must be a string, got int"),
        ({"topic": ""}, "topic of an SNS channel must be a string, got an empty string"),
        ({"topic": ARN, "topic_up": ARN.replace("west", "east")}, "must be in one region, but are in"),
        ({"topic": ARN, "region": "mars north"}, "region of an SNS channel must be a region such as 'eu-west-1'"),
        ({"topic": ARN, "endpoint_url": "localhost:4566"}, "endpoint_url of an SNS channel must be an http://"),
        ({"topic": ARN, "endpoint_url": "http://u:p@localhost"}, "and without a password"),
        ({"topic": ARN, "endpoint_url": "http://[::1"}, "endpoint_url of an SNS channel must be an http://"),
        ({"topic": ARN, "subject": "{name}"}, "subject of an SNS channel: The template '{name}' is invalid"),
        ({"topic": ARN, "body": "{comment.__class__}"}, "Unknown placeholder"),
        ({"topic": ARN, "body": "{"}, "is invalid: "),
    ],
)  # fmt: skip
def test_invalid_tables(table: dict[str, object], message: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert message in str(caught.value)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra) as caught:
        open_notifier({"topic": ARN})
    assert str(caught.value) == "An SNS channel needs the package 'boto3'; try pip install \"harken[sns]\""

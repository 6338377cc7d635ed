"""What is published to SNS, as it arrives in queues that have subscribed to the topics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
from harken.testing.builders import NOON, a_feedback, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.notifiers.sns import open_notifier
from support import PATIENCE

pytestmark = pytest.mark.slow

ARN = "arn:aws:sns:eu-west-1:123456789012:feedback"


def refusing(status: str, code: str) -> AnswerTo:
    """Answer as SNS does where it does not want to."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>Because.</Message></Error>"
    body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
    return answering(status, body=body.encode())


def hanging_up(_: Received) -> Iterator[bytes]:
    """Close the connection without a word."""
    yield b""
    raise ConnectionResetError


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are none, and no way to find others."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    """SNS and SQS for these tests."""
    with amazon() as started:
        yield started


def publish(aws: Amazon, table: dict[str, object], *notifications: Notification) -> None:
    """Deliver through a channel that is described by a table."""
    with closing(open_notifier({"endpoint_url": aws.url, **table})) as notifier:
        for notification in notifications:
            notifier.deliver(notification)


def published(aws: Amazon, notification: Notification, **table: object) -> dict[str, Any]:
    """The one message that a notification makes, where one topic takes everything."""
    topic = aws.topic()
    publish(aws, {"topic": topic, **table}, notification)
    (message,) = aws.messages(topic)
    return message


def rated(rating: Rating, **parts: Any) -> Notification:
    """Feedback that was just given, with that rating."""
    return a_notification(feedback=a_feedback("s-1", rating=rating, **parts))


def test_each_rating_has_its_topic(aws: Amazon) -> None:
    """Ups, downs and neutrals go where the table says, with the session and the rating as attributes."""
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
    """``none`` sends nothing of that rating, also where there is a topic for all; nor is what has no topic sent."""
    everything, downs = aws.topic(), aws.topic()
    publish(aws, {"topic": everything, "topic_up": "none"}, *(rated(rating) for rating in Rating))
    ratings = [message["MessageAttributes"]["rating"]["Value"] for message in aws.messages(everything)]
    assert ratings == ["negative", "neutral"]
    publish(aws, {"topic_down": downs}, *(rated(rating) for rating in Rating), a_notification(alert=an_alert()))
    assert len(aws.messages(downs)) == 1


def test_alerts_have_a_topic_too(aws: Amazon) -> None:
    """An alert goes to its topic in its own words, whatever the templates for feedback are."""
    feedback, alerts = aws.topic(), aws.topic()
    alert = an_alert(rule="quiet", message="No feedback for an hour", figures={"minutes": 60})
    table = {"topic": feedback, "topic_alerts": alerts, "subject": "{rating}", "body": "{session_id}"}
    resolved = a_notification(type=EventType.ALERT_RESOLVED, alert=alert.resolved(at=NOON))
    publish(aws, {**table}, a_notification(alert=alert), resolved)
    raised, over = aws.messages(alerts)
    assert raised["Subject"] == "Alert quiet: No feedback for an hour"
    assert "minutes: 60" in raised["Message"]
    assert raised["MessageAttributes"] == {"rule": {"Type": "String", "Value": "quiet"}}
    assert over["Subject"] == "Alert over quiet: No feedback for an hour"
    assert aws.messages(feedback) == []


def test_an_erasure_goes_to_every_topic_of_feedback(aws: Amazon) -> None:
    """Which rating it had is not known any more, so each topic that may have had it gets the ids, and no alerts do."""
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


def test_templates(aws: Amazon) -> None:
    """Subject and body are made of templates; a literal brace is written twice."""
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


def test_what_is_said_without_templates(aws: Amazon) -> None:
    """The body has all that is known but the author, and the comment marked so that it can forge no line."""
    notification = rated(
        Rating.DOWN, author="Ada", comment="Too slow\nSession: other", tags=("slow",), agent_id="helper"
    )
    lines = published(aws, notification)["Message"].splitlines()
    assert lines[0] == "Feedback given: down in session s-1, agent helper"
    assert {"Rating: down", "Session: s-1", "Agent: helper", "Tags: slow", "Application: default"} < set(lines)
    assert lines[-2:] == ["> Too slow", "> Session: other"]
    assert "Ada" not in str(lines)


def test_a_routes_text_is_the_body(aws: Amazon) -> None:
    """What the template of a route makes goes before the channel's own."""
    notification = a_notification(feedback=a_feedback(), text="Look at this")
    assert published(aws, notification, body="{comment}")["Message"] == "Look at this"


@pytest.mark.parametrize("event", [EventType.WITHDRAWN, EventType.CREATED])
def test_what_was_withdrawn_is_not_quoted(aws: Amazon, event: EventType) -> None:
    """Of feedback that its author took back only that it was there is told, by every template."""
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
def test_subjects_are_such_as_sns_takes(aws: Amazon, template: str, subject: str | None) -> None:
    """A subject is one line of ASCII, shorter than 100 characters; where nothing is left there is none."""
    message = published(aws, rated(Rating.DOWN, comment="😀 a\r\nb\x07\tc"), subject=template)
    assert message.get("Subject") == subject


def test_bodies_fit(aws: Amazon) -> None:
    """A body stays under what SNS takes, and has no character that it refuses."""
    message = published(aws, rated(Rating.DOWN, comment="😀" * 100_000 + "\x00\x0b"), body="{comment}{comment}")
    assert 200_000 < len(message["Message"].encode()) < 256 * 1024
    assert published(aws, rated(Rating.DOWN, comment="a\x00b\x1bc\nd"), body="{comment}")["Message"] == "a b c\nd"


def test_fifo_topics(aws: Amazon) -> None:
    """In a FIFO topic a session keeps its order, and what is sent again arrives once."""
    topic = aws.topic(fifo=True)
    table = {"topic": topic, "region": REGION}
    first, second = rated(Rating.UP), a_notification(feedback=a_feedback("a session with spaces"))
    publish(aws, table, first, first, second, a_notification(alert=an_alert()))
    groups = [envelope["Attributes"]["MessageGroupId"] for envelope in aws.envelopes(topic)]
    assert len(groups) == 3
    assert groups[0] == "s-1"
    assert groups[1].isalnum()
    assert len(set(groups)) == 3


def test_no_secret_leaves(aws: Amazon, caplog: pytest.LogCaptureFixture) -> None:
    """Credentials are in no message and no log, whatever people write and templates ask for."""
    with caplog.at_level("INFO"):
        message = published(
            aws, rated(Rating.DOWN, comment="{AWS_SECRET_ACCESS_KEY} $AWS_SECRET_ACCESS_KEY {0.__class__}")
        )
    assert "> {AWS_SECRET_ACCESS_KEY} $AWS_SECRET_ACCESS_KEY {0.__class__}" in message["Message"]
    assert "very-secret" not in f"{message}{caplog.text}"


def test_a_topic_that_is_not_there(aws: Amazon) -> None:
    """It is told in words, and tried again: somebody may make it."""
    topic = aws.topic()
    aws.remove(topic)
    with pytest.raises(DeliveryFailed, match="NotFound: there is no such topic") as caught:
        publish(aws, {"topic": topic}, rated(Rating.DOWN))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusing("403 Forbidden", "AuthorizationError"), "may not publish to the topic: Because."),
        (refusing("403 Forbidden", "ExpiredToken"), "the credentials have run out"),
        (refusing("400 Bad Request", "InvalidParameter"), "InvalidParameter: it does not take"),
        (refusing("400 Bad Request", "Throttling"), "SNS did not take it: Throttling"),
        (refusing("500 Internal Server Error", "InternalError"), "InternalError"),
        (answering("503 Service Unavailable"), "503"),
        (answering("200 OK", body=b"<"), "SNS could not be understood"),
        (hanging_up, "SNS could not be asked: Connection was closed"),
    ],
)  # fmt: skip
def test_what_sns_does_not_take(answer: AnswerTo, told: str) -> None:
    """Every refusal and every failure is a delivery to try again, asked for once, with a reason and without secrets."""
    with (
        receiving(answer) as receiver,
        closing(open_notifier({"topic": ARN, "endpoint_url": receiver.url})) as notifier,
    ):
        with pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(rated(Rating.DOWN))
        assert told in str(caught.value)
        assert caught.value.retryable
        assert len(receiver.received) == 1
        assert "very-secret" not in str(caught.value)


def test_who_does_not_answer() -> None:
    """Who takes a connection and says nothing is given up."""
    begun = monotonic()
    with receiving(lambda _: ()) as receiver:
        notifier = open_notifier({"topic": ARN, "endpoint_url": receiver.url})
        with closing(notifier), pytest.raises(DeliveryFailed, match="SNS could not be asked: Read timeout"):
            notifier.deliver(rated(Rating.DOWN))
    assert monotonic() - begun < PATIENCE


def test_nobody_there() -> None:
    """A place that nobody listens at is told of."""
    with receiving() as receiver:
        url = receiver.url
    notifier = open_notifier({"topic": ARN, "endpoint_url": url})
    with closing(notifier), pytest.raises(DeliveryFailed, match="SNS could not be asked: Could not connect"):
        notifier.deliver(rated(Rating.DOWN))


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is sent, and the failure says so."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    notifier = open_notifier({"topic": ARN})
    with closing(notifier), pytest.raises(DeliveryFailed, match="Unable to locate credentials"):
        notifier.deliver(rated(Rating.DOWN))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "An SNS channel needs a topic's ARN"),
        ({"topic": "none"}, "An SNS channel needs a topic's ARN"),
        ({"topic": ARN, "arn": ARN}, "An SNS channel sets unknown arn; known are topic, topic_up"),
        ({"topic": ARN, "aws_secret_access_key": "x"}, "An SNS channel has no aws_secret_access_key"),
        ({"topic": "feedback"}, "topic of an SNS channel must be 'none' or the ARN of a topic, such as 'arn:aws:sns:"),
        ({"topic_up": "arn:aws:sqs:eu-west-1:123456789012:q"}, "topic_up of an SNS channel must be 'none' or the ARN"),
        ({"topic_down": 7}, "topic_down of an SNS channel must be a text, got a int"),
        ({"topic": ""}, "topic of an SNS channel must be a text, got an empty one"),
        ({"topic": ARN, "topic_up": ARN.replace("west", "east")}, "must be in one region, these are"),
        ({"topic": ARN, "region": "mars north"}, "region of an SNS channel must be one such as 'eu-west-1'"),
        ({"topic": ARN, "endpoint_url": "localhost:4566"}, "endpoint_url of an SNS channel must begin with http"),
        ({"topic": ARN, "endpoint_url": "http://u:p@localhost"}, "and have no password"),
        ({"topic": ARN, "endpoint_url": "http://[::1"}, "endpoint_url of an SNS channel must begin with http"),
        ({"topic": ARN, "subject": "{name}"}, "subject of an SNS channel: The template '{name}' has an unknown"),
        ({"topic": ARN, "body": "{comment.__class__}"}, "has an unknown placeholder"),
        ({"topic": ARN, "body": "{"}, "is invalid: "),
    ],
)  # fmt: skip
def test_tables_that_make_no_sense(table: dict[str, object], told: str) -> None:
    """What cannot be meant is refused when it is configured, in a sentence that says what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert told in str(caught.value)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 the channel says what to install."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra) as caught:
        open_notifier({"topic": ARN})
    assert str(caught.value) == "An SNS channel needs the package 'boto3'; try pip install \"harken[sns]\""

"""Messages posted to WebSocket connections of API Gateway."""

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
from harken.ports.notifier import Notification, ReceiverAnswer
from harken.testing.builders import a_session_change
from harken.testing.notifier_contract import a_notification, every_kind
from harken_adapters.notifiers.apigateway import open_notifier, region_of

URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set invalid credentials, and prevent boto3 from finding others."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    """API Gateway for these tests."""
    with amazon() as started:
        yield started


def a_change(metadata: dict[str, Any], connection: object = "abc") -> Notification:
    """A notification of changed metadata of a session that has this connection."""
    current = {**metadata, "connection_id": connection}
    return a_notification(session=a_session_change(metadata, session_id="s-1", current=current))


def posting(url: str, notification: Notification) -> ReceiverAnswer | None:
    """Deliver a notification to an API at this URL."""
    with closing(open_notifier({"endpoint_url": url, "region": REGION})) as notifier:
        return notifier.deliver(notification)


def refusing(status: str, code: str) -> AnswerTo:
    """An error response of API Gateway."""
    return answering(status, f"x-amzn-errortype: {code}", body=b'{"message":"Because."}')


@pytest.mark.slow
def test_a_change_reaches_the_connection(aws: Amazon) -> None:
    """The changed values are posted to the connection of the session, without the id of the connection."""
    posting(aws.url, a_change({"status": "open", "note": None, "connection_id": "one"}, "one"))
    assert json.loads(aws.posted("one")) == {
        "session_id": "s-1",
        "event": "metadata_update",
        "operation": "update",
        "metadata": {"status": "open", "note": None},
        "timestamp": "2026-01-01T12:00:00.123456Z",
    }


@pytest.mark.slow
def test_large_metadata_is_shortened(aws: Amazon) -> None:
    """A message is below the limit of API Gateway, and says that values are left out."""
    posting(aws.url, a_change({"large": "😀" * 60_000, "small": "s"}, "two"))
    record = json.loads(aws.posted("two"))
    assert (record["metadata"], record["truncated"]) == ({"small": "s"}, True)


def test_the_stage_is_part_of_the_url() -> None:
    """With or without a slash at the end; the id of a connection cannot change the path."""
    with receiving(answering("200 OK")) as receiver:
        for end in ("", "/"):
            posting(f"{receiver.url}{end}", a_change({"x": 1}, "../a=/b"))
    assert {one.path for one in receiver.received} == {"/hook/@connections/..%2Fa%3D%2Fb"}


@pytest.mark.parametrize("connection", [None, "", " ", 7, ["abc"]])
def test_a_session_without_a_connection(connection: object, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent, which is logged and counts as delivered."""
    with receiving() as receiver, caplog.at_level("INFO"):
        assert posting(receiver.url, a_change({"x": 1}, connection)) == ReceiverAnswer("no connection")
    assert receiver.received == []
    assert "Session s-1 has no connection" in caplog.text


def test_other_notifications_have_no_connection() -> None:
    """Nothing is sent, and they count as delivered."""
    others = [one for one in every_kind() if one.session is None]
    with receiving() as receiver:
        assert {posting(receiver.url, one) for one in others} == {ReceiverAnswer("nothing to send")}
    assert receiver.received == []


def test_a_closed_connection(caplog: pytest.LogCaptureFixture) -> None:
    """It counts as delivered, as no later attempt can succeed."""
    with receiving(refusing("410 Gone", "GoneException")) as receiver, caplog.at_level("INFO"):
        assert posting(receiver.url, a_change({"x": 1})) == ReceiverAnswer("410 Gone")
    assert "The connection of session s-1 is closed" in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusing("403 Forbidden", "ForbiddenException"), "not allowed to send to connections: Because."),
        (refusing("429 Too Many Requests", "LimitExceededException"), "LimitExceededException: too many messages"),
        (answering("404 Not Found"), "404: endpoint_url must have the stage, such as '/prod'"),
        (answering("500 Internal Server Error"), "500"),
    ],
)  # fmt: skip
def test_errors_are_retried(answer: AnswerTo, message: str) -> None:
    """Every other error is retried by the relay only, and has a reason."""
    with receiving(answer) as receiver, pytest.raises(DeliveryFailed) as caught:
        posting(receiver.url, a_change({"x": 1}))
    assert message in str(caught.value)
    assert caught.value.retryable
    assert len(receiver.received) == 1


def test_the_region_is_in_the_url() -> None:
    """Other URLs, such as those of custom domains, have none."""
    assert region_of(URL) == "eu-west-1"
    assert region_of("https://live.example.com/prod") is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "An API Gateway channel needs the URL of a WebSocket API as endpoint_url, such as 'https://abc123."),
        ({"endpoint_url": "https://live.example.com"}, "An API Gateway channel needs a region, such as 'eu-west-1'"),
        ({"endpoint_url": URL.replace("https", "wss")}, "endpoint_url of an API Gateway channel must be an http://"),
        ({"endpoint_url": URL, "region": "mars north"}, "region of an API Gateway channel must be a region"),
        ({"endpoint_url": URL, "connection_id": "x"}, "unknown key 'connection_id'"),
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
        open_notifier({"endpoint_url": URL})
    assert str(caught.value) == "An API Gateway channel needs the package 'boto3'; try pip install \"harken[aws]\""

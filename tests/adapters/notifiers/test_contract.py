"""Runs the notifier contract on every channel, and checks that it detects broken ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
from attrs import evolve

from adapters.notifiers.amazon import ENVIRON, REGION, Amazon, amazon
from adapters.notifiers.receiver import SECRET, Received, answering, receiving
from harken.domain.errors import DeliveryFailed
from harken.domain.session_change import SessionChange
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken.testing.notifier_contract import NotifierContract
from harken_adapters.notifiers import apigateway, apprise, log, sns, sqs, webhook


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    """SNS and SQS for these tests."""
    with amazon() as started:
        yield started


class TestLog(NotifierContract):
    @pytest.fixture(autouse=True)
    def logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="harken.notifications")
        self._logs = caplog

    def open_notifier(self) -> Notifier:
        return log.open_notifier({"comments": True})

    def received(self) -> int:
        return len(self._logs.records)


class OverHttp(NotifierContract):
    """A channel to an HTTP receiver."""

    @pytest.fixture(autouse=True)
    def receiver(self) -> Iterator[None]:
        self._broken = False
        with receiving(self._answer) as self._receiver:
            yield

    def _answer(self, request: Received) -> Iterator[bytes]:
        yield from answering("503 Service Unavailable" if self._broken else "200 OK", body=b"ok")(request)

    def received(self) -> int:
        return len(self._receiver.received)

    def break_receiver(self) -> bool:
        self._broken = True
        return True


class TestWebhook(OverHttp):
    def open_notifier(self) -> Notifier:
        return webhook.open_notifier({"url": self._receiver.url, "secret": SECRET, "allow": ["127.0.0.1"]})


class TestAppriseJson(OverHttp):
    def open_notifier(self) -> Notifier:
        return apprise.open_notifier({"url": f"json://127.0.0.1:{self._receiver.port}"})


class TestAppriseMattermost(OverHttp):
    def open_notifier(self) -> Notifier:
        return apprise.open_notifier({"url": f"mmost://127.0.0.1:{self._receiver.port}/abcdefghijklmnopqrstuvwx"})


@pytest.mark.slow
class TestSns(NotifierContract):
    @pytest.fixture(autouse=True)
    def topic(self, monkeypatch: pytest.MonkeyPatch, aws: Amazon) -> None:
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)
        self._aws, self._topic = aws, aws.topic()

    def open_notifier(self) -> Notifier:
        topics = {"topic": self._topic, "topic_metadata": self._topic}
        return sns.open_notifier({**topics, "endpoint_url": self._aws.url, "body": "{message}\n{comment}"})

    def received(self) -> int:
        return len(self._aws.messages(self._topic))

    def break_receiver(self) -> bool:
        self._aws.remove(self._topic)
        return True


@pytest.mark.slow
class TestSqs(NotifierContract):
    @pytest.fixture(autouse=True)
    def queue(self, monkeypatch: pytest.MonkeyPatch, aws: Amazon) -> None:
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)
        self._aws, self._queue = aws, aws.queue()

    def open_notifier(self) -> Notifier:
        return sqs.open_notifier({"queue_url": self._queue, "region": REGION})

    def received(self) -> int:
        return len(self._aws.envelopes(self._queue))

    def break_receiver(self) -> bool:
        self._aws.remove_queue(self._queue)
        return True


class AsMetadata(Notifier):
    """Delivers each notification as a change of metadata that has its texts as values."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def deliver(self, notification: Notification) -> ReceiverAnswer | None:
        metadata = {"text": str(notification)}
        change = SessionChange("s", "update", ("text",), metadata, {**metadata, "connection_id": "abc"})
        return self._notifier.deliver(evolve(notification, feedback=None, alert=None, erased=None, session=change))

    def close(self) -> None:
        self._notifier.close()


class TestApiGateway(OverHttp):
    """Only changes of metadata are sent, so every notification is sent as one."""

    @pytest.fixture(autouse=True)
    def environ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)

    def open_notifier(self) -> Notifier:
        return AsMetadata(apigateway.open_notifier({"endpoint_url": self._receiver.url, "region": REGION}))


class Collecting(Notifier):
    """Appends notifications to a list."""

    def __init__(self, arrived: list[Notification]) -> None:
        self.arrived = arrived
        self.broken = False

    def deliver(self, notification: Notification) -> None:
        if self.broken:
            raise DeliveryFailed("It is broken")
        self.arrived.append(notification)


class ToAList(NotifierContract):
    """The contract for channels that append to a list."""

    def __init__(self, kind: type[Collecting] = Collecting) -> None:
        self.arrived: list[Notification] = []
        self._notifier = kind(self.arrived)

    def open_notifier(self) -> Notifier:
        return self._notifier

    def received(self) -> int:
        return len(self.arrived)

    def break_receiver(self) -> bool:
        self._notifier.broken = True
        return True


class Losing(Collecting):
    """Loses alerts."""

    def deliver(self, notification: Notification) -> None:
        if notification.alert is None:
            super().deliver(notification)


class Filling(Collecting):
    """Uses comments as templates."""

    def deliver(self, notification: Notification) -> None:
        if notification.feedback is not None:
            notification.feedback.comment.format()
        super().deliver(notification)


class Hiding(Collecting):
    """Hides failures."""

    def deliver(self, notification: Notification) -> None:
        if not self.broken:
            super().deliver(notification)


class Raising(Collecting):
    """Raises errors of another type."""

    def deliver(self, notification: Notification) -> None:
        if self.broken:
            raise ConnectionError
        super().deliver(notification)


class Mumbling(Collecting):
    """Fails without a reason."""

    def deliver(self, notification: Notification) -> None:
        if self.broken:
            raise DeliveryFailed("")
        super().deliver(notification)


class Choosy(Collecting):
    """Accepts each notification once."""

    def deliver(self, notification: Notification) -> None:
        if notification.id in {one.id for one in self.arrived}:
            raise DeliveryFailed("It was delivered before")
        super().deliver(notification)


class Fragile(Collecting):
    """Can be closed once."""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("It is closed")
        self.closed = True


TESTS = [name for name in dir(NotifierContract) if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS)
def test_a_good_channel_passes(test: str) -> None:
    """The simplest correct channel passes every test."""
    getattr(ToAList(), test)()


@pytest.mark.parametrize(
    ("kind", "test", "error"),
    [
        (Losing, "test_every_kind_of_notification_arrives", AssertionError),
        (Filling, "test_odd_texts_arrive", (IndexError, KeyError, ValueError)),
        (Hiding, "test_a_failing_receiver_raises", AssertionError),
        (Raising, "test_a_failing_receiver_raises", ConnectionError),
        (Mumbling, "test_a_failing_receiver_raises", AssertionError),
        (Choosy, "test_a_notification_may_be_repeated", DeliveryFailed),
        (Fragile, "test_close_is_idempotent", RuntimeError),
    ],
)
def test_a_bad_channel_fails(
    kind: type[Collecting], test: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """A channel that breaks the contract fails the corresponding test."""
    with pytest.raises(error):
        getattr(ToAList(kind), test)()


def test_a_channel_without_failures() -> None:
    """The test of failures passes if the receiver cannot be broken."""
    arrived: list[Notification] = []

    class Plain(NotifierContract):
        def open_notifier(self) -> Notifier:
            return Collecting(arrived)

        def received(self) -> int:
            return len(arrived)

    Plain().test_a_failing_receiver_raises()
    with closing(Plain().open_notifier()):
        assert arrived == []

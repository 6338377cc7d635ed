"""Amazon SQS: notifications as JSON in a queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.amazon import (
    AmazonClient,
    Service,
    attributes,
    json_body,
    order,
    region_at,
    url_at,
)
from harken_adapters.notifiers.tables import check_keys, text_at

_KEYS: Final = ("queue_url", "region", "endpoint_url")
#: The region in the host of a queue's URL, in the present and in the earlier form.
_REGION: Final = re.compile(r"(?:^|\.)sqs\.(?P<now>[a-z]+-[a-z0-9-]+)\.|^(?P<earlier>[a-z]+-[a-z0-9-]+)\.queue\.")
#: SQS takes 1 MiB with the attributes; but queues that were created before 2025 take 256 KiB unless they are changed.
_MAX_BODY: Final = 250_000

_ERRORS: Final = {
    "AWS.SimpleQueueService.NonExistentQueue": "the queue does not exist",
    "QueueDoesNotExist": "the queue does not exist",
    "AccessDenied": "the credentials are not allowed to send messages to the queue",
    "AccessDeniedException": "the credentials are not allowed to send messages to the queue",
    "InvalidClientTokenId": "the credentials are not valid",
    "SignatureDoesNotMatch": "the credentials are not valid",
    "ExpiredToken": "the credentials have expired",
}
_SQS: Final = Service("sqs", "SQS", "aws", _ERRORS)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``queue_url`` is the URL of the queue. ``region`` defaults to the one in this URL, or else to that of the
    environment. ``endpoint_url`` is an alternative SQS endpoint; by default it is the host of a queue that is not at
    Amazon. boto3 finds the credentials.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid.
        MissingExtra: boto3 is not installed.
    """
    check_keys(table, _KEYS)
    texts = {key: text_at("an SQS channel", table, key) for key in _KEYS}
    queue = url_at(_SQS, "queue_url", texts["queue_url"])
    if queue is None or not urlsplit(queue).path.strip("/"):
        raise ConfigurationError(
            "An SQS channel needs the URL of a queue as queue_url, such as "
            "'https://sqs.eu-west-1.amazonaws.com/123456789012/feedback'"
        )
    region = region_at(_SQS, texts["region"]) or region_of(queue)
    endpoint = url_at(_SQS, "endpoint_url", texts["endpoint_url"]) or _endpoint_of(queue)
    return SqsNotifier(AmazonClient(_SQS, region, endpoint), queue)


class SqsNotifier(Notifier):
    """Sends notifications to a queue.

    The body is that of a webhook, or of a change of metadata as :func:`~.amazon.json_body` describes it. A FIFO queue
    keeps the order within a session.

    Args:
        client: the client of SQS.
        queue: the URL of the queue.
    """

    def __init__(self, client: AmazonClient, queue: str) -> None:
        self._client = client
        self._queue = queue

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Send the notification."""
        message = {
            "QueueUrl": self._queue,
            "MessageBody": json_body(notification, _MAX_BODY),
            "MessageAttributes": attributes(notification),
            **order(self._queue, notification),
        }
        answer = self._client.call("send_message", message)
        if "MessageId" not in answer:
            # boto3 accepts any body.
            raise DeliveryFailed("The response is not from SQS; check queue_url", status="unexpected answer")
        return ReceiverAnswer("200 OK", f"MessageId {answer['MessageId']}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def region_of(queue: str) -> str | None:
    """The region in the URL of a queue, if it has one."""
    found = _REGION.search(urlsplit(queue).hostname or "")
    return found and (found["now"] or found["earlier"])


def _endpoint_of(queue: str) -> str | None:
    """The endpoint of a queue elsewhere, such as one of a test; ``None`` for Amazon's own."""
    parts = urlsplit(queue)
    amazon = re.search(r"\.amazonaws\.com(\.cn)?$", parts.hostname or "")
    return None if amazon else f"{parts.scheme}://{parts.netloc}"

"""WebSocket APIs of Amazon API Gateway: changes of a session's metadata, to the connection of the session."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve

from harken.domain.errors import ConfigurationError
from harken.domain.texts import escape_unprintable
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.amazon import AmazonClient, Service, json_body, region_at, url_at
from harken_adapters.notifiers.tables import check_keys, text_at

logger = logging.getLogger(__name__)

#: The name in a session's metadata that has the id of its connection.
CONNECTION: Final = "connection_id"

_KEYS: Final = ("endpoint_url", "region")
_REGION: Final = re.compile(r"\.execute-api\.([a-z]+-[a-z0-9-]+)\.")
#: API Gateway takes messages of 128 KB.
_MAX_BODY: Final = 120_000
#: The error for a connection that was closed.
_GONE: Final = "GoneException"

_ERRORS: Final = {
    "ForbiddenException": "the credentials are not allowed to send to connections",
    "LimitExceededException": "too many messages",
    "UnrecognizedClientException": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid",
    "ExpiredTokenException": "the credentials have expired",
    "404": "endpoint_url must have the stage, such as '/prod'",
}
_API_GATEWAY: Final = Service("apigatewaymanagementapi", "API Gateway", "aws", _ERRORS)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``endpoint_url`` is the URL of the API's stage, which begins with ``https://``. ``region`` defaults to the one in
    this URL, or else to that of the environment. boto3 finds the credentials.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid.
        MissingExtra: boto3 is not installed.
    """
    check_keys(table, _KEYS)
    texts = {key: text_at("an API Gateway channel", table, key) for key in _KEYS}
    endpoint = url_at(_API_GATEWAY, "endpoint_url", texts["endpoint_url"])
    if endpoint is None:
        raise ConfigurationError(
            "An API Gateway channel needs the URL of a WebSocket API as endpoint_url, such as "
            "'https://abc123.execute-api.eu-west-1.amazonaws.com/prod'"
        )
    region = region_at(_API_GATEWAY, texts["region"]) or region_of(endpoint)
    return ApiGatewayNotifier(AmazonClient(_API_GATEWAY, region, endpoint.rstrip("/")))


class ApiGatewayNotifier(Notifier):
    """Posts changes of metadata to the connection whose id is the session's metadata ``connection_id``.

    The message is a change of metadata as :func:`~.amazon.json_body` describes it, without the id of the connection.

    Args:
        client: the client of the management API.
    """

    def __init__(self, client: AmazonClient) -> None:
        self._client = client

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Post a change of metadata. Without an open connection, it counts as delivered.

        So does every other notification, because it does not have the metadata of its session.
        """
        if (change := notification.session) is None:
            return ReceiverAnswer("nothing to send")
        if (connection := connection_of(change.current)) is None:
            logger.info("Session %s has no connection; nothing was sent", escape_unprintable(change.session_id))
            return ReceiverAnswer("no connection")
        metadata = {name: value for name, value in change.metadata.items() if name != CONNECTION}
        content = json_body(evolve(notification, session=evolve(change, metadata=metadata)), _MAX_BODY)
        answer = self._client.call(
            "post_to_connection", {"ConnectionId": connection, "Data": content.encode()}, accepted=(_GONE,)
        )
        if "Error" in answer:
            logger.info("The connection of session %s is closed", escape_unprintable(change.session_id))
            return ReceiverAnswer("410 Gone")
        return ReceiverAnswer("200 OK")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def connection_of(metadata: Mapping[str, Any]) -> str | None:
    """The id of the connection in the metadata of a session; ``None`` if there is none."""
    connection = metadata.get(CONNECTION)
    return connection if isinstance(connection, str) and connection.strip() else None


def region_of(endpoint: str) -> str | None:
    """The region in the URL of an API, if it has one."""
    found = _REGION.search(urlsplit(endpoint).hostname or "")
    return found and found[1]

"""What the channels of Amazon Web Services share: the client of boto3, its errors, and parts of messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from json import JSONEncoder
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Rating
from harken.domain.instants import stamp
from harken.domain.session_change import SessionChange
from harken.ports.notifier import Notification
from harken_adapters.formats.notification import body, smallest_values
from harken_adapters.notifiers.digest_text import digest_lines
from harken_adapters.notifiers.missing import missing
from harken_adapters.notifiers.secrets import Secrets, secrets_of
from harken_adapters.notifiers.wording import one_line

#: The words for ratings in attributes and templates.
RATINGS: Final = {Rating.UP: "positive", Rating.DOWN: "negative", Rating.NEUTRAL: "neutral"}
#: The event in the body of a change of metadata.
METADATA_UPDATE: Final = "metadata_update"

_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
#: A valid message group id of a FIFO topic or queue.
_GROUP: Final = re.compile(r"[!-~]{1,128}")
#: The code of an error. Another text of the server may quote what was sent.
_CODE: Final = re.compile(r"[A-Za-z.]{1,64}")
#: An endpoint may have two addresses, so this is 15 seconds in all.
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 9
#: The characters of JSON that SNS and SQS do not accept.
_NOT_IN_XML: Final = {ord(one): f"\\u{ord(one):04x}" for one in "\ufffe\uffff"}
_ENCODER: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@frozen
class Service:
    """A service of AWS.

    Attributes:
        name: its name in boto3, such as ``sns``.
        label: its name for people, such as ``SNS``.
        extra: the extra that installs boto3.
        errors: explanations of its errors, by code.
    """

    name: str
    label: str
    extra: str
    errors: Mapping[str, str]


class AmazonClient:
    """A client of one service, without retries, as the relay retries. Several threads may use it at the same time.

    Args:
        service: the service.
        region: its region; by default the one that boto3 finds in the environment.
        endpoint: the URL of another endpoint.

    Raises:
        ConfigurationError: no region is known, or boto3 cannot create the client.
        MissingExtra: boto3 is not installed.
    """

    def __init__(self, service: Service, region: str | None, endpoint: str | None) -> None:
        try:
            import boto3  # type: ignore[import-untyped]  # it has no types  # noqa: PLC0415 - it may be missing
            from botocore.config import Config  # type: ignore[import-untyped]  # as above  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # as above  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise missing(f"An {service.label} channel", "boto3", service.extra) from error

        self._service = service
        self._endpoint = endpoint
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=50,
        )
        try:
            self._session = boto3.session.Session()
            region = region or self._session.region_name
            if region is None:
                raise ConfigurationError(f"An {service.label} channel needs a region, such as 'eu-west-1'")
            self._client = self._session.client(service.name, region_name=region, endpoint_url=endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"The {service.label} channel cannot be opened: {one_line(str(error))}") from error

    def call(
        self, operation: str, parameters: Mapping[str, object], *, accepted: Collection[str] = ()
    ) -> Mapping[str, Any]:
        """Call an operation of the service.

        Args:
            operation: the name of the operation.
            parameters: the parameters of the operation, by name.
            accepted: codes of errors that are returned like a response.

        Raises:
            DeliveryFailed: it failed. Every failure is retried, because permissions and credentials can be corrected.
        """
        from botocore.exceptions import (  # noqa: PLC0415 - it may be missing
            BotoCoreError,
            ClientError,
            HTTPClientError,
            ReadTimeoutError,
        )
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # no types  # noqa: PLC0415

        label = self._service.label
        try:
            response: Mapping[str, Any] = getattr(self._client, operation)(**parameters)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in accepted:
                return dict(error.response)
            raise self._rejection(error.response) from error
        except ResponseParserError as error:
            problem = f"The response is not from {label}; check endpoint_url"
            raise DeliveryFailed(problem, status="unexpected answer") from error
        except BotoCoreError as error:
            # A timeout while connecting is also a kind of unreachable.
            status = "timed out" if isinstance(error, ReadTimeoutError) else "unreachable"
            status = status if isinstance(error, HTTPClientError) else type(error).__name__
            raise DeliveryFailed(f"{label} cannot be reached: {self._quote(str(error))}", status=status) from error
        return response

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _rejection(self, response: Mapping[str, Any]) -> DeliveryFailed:
        """The failure for an error of the service, with an explanation of known codes."""
        error = response.get("Error", {})
        words = self._quote(str(error.get("Message", "")))
        code = str(error.get("Code", ""))
        code = code if _CODE.fullmatch(code) or code.isdecimal() else ""
        number = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        parts = (code or "no reason given", self._service.errors.get(code, ""), words[:300])
        return DeliveryFailed(
            f"{self._service.label} rejected the message: {': '.join(filter(None, parts))}",
            status=one_line(" ".join(str(part) for part in (number, code) if part)),
            words=words,
        )

    def _quote(self, text: str) -> str:
        """A text of the server or of boto3 in one line, without secrets."""
        return Secrets(self._secrets()).hide(one_line(text))

    def _secrets(self) -> Iterator[str]:
        """The parts of the endpoint's URL, and the current credentials, which expire."""
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - it may be missing

        parts = urlsplit(self._endpoint or "")
        yield from secrets_of(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        # Without credentials, none were sent.
        with suppress(BotoCoreError):
            if (credentials := self._session.get_credentials()) is not None:
                yield from filter(None, credentials.get_frozen_credentials())


# --- messages ---------------------------------------------------------------------------------------------------------


def attributes(notification: Notification) -> dict[str, dict[str, str]]:
    """The attributes by which receivers can filter. SNS and SQS do not accept empty values."""
    if notification.feedback is not None:
        values = {"session_id": notification.feedback.session_id, "rating": RATINGS[notification.feedback.rating]}
    elif notification.erased is not None:
        values = {"session_id": notification.erased.session_id, "type": notification.type.value}
    elif notification.session is not None:
        values = {"session_id": notification.session.session_id, "event": METADATA_UPDATE}
    else:
        values = {"rule": notification.alert.rule} if notification.alert is not None else {}
    return {
        name: {"DataType": "String", "StringValue": text} for name, value in values.items() if (text := one_line(value))
    }


def order(place: str, notification: Notification) -> dict[str, str]:
    """The parameters that a FIFO topic or queue needs: it keeps the order within a session or an alert subject."""
    if not place.endswith(".fifo"):
        return {}
    about = notification.feedback or notification.erased or notification.session
    if about is not None:
        group = about.session_id
    else:
        group = str(notification.alert.subject) if notification.alert is not None else notification.application
    return {
        "MessageGroupId": group if _GROUP.fullmatch(group) else _digest(group),
        "MessageDeduplicationId": _digest(notification.id),
    }


def json_body(notification: Notification, limit: int) -> str:
    """The notification as JSON, in UTF-8 shorter than ``limit`` bytes, which are more than 50,000.

    It is the body of a webhook, or of a change of metadata ``session_id``, ``event``, ``operation``, ``metadata`` and
    ``timestamp``.
    """
    if notification.session is not None:
        return _change_body(notification, notification.session, limit).decode()
    if notification.digest is not None:
        notification = evolve(notification, text="\n".join(digest_lines(notification.digest)))
    return body(notification).decode().translate(_NOT_IN_XML)


def _change_body(notification: Notification, change: SessionChange, limit: int) -> bytes:
    record: dict[str, object] = {
        "session_id": change.session_id,
        "event": METADATA_UPDATE,
        "operation": change.operation,
        "metadata": dict(change.metadata),
        "timestamp": stamp(notification.occurred_at),
    }
    if notification.text is not None:
        record["text"] = notification.text
    encoded = _encode(record)
    if len(encoded) < limit:
        return encoded
    # The largest values are left out; the program reads them from the session.
    record |= {"metadata": {}, "truncated": True}
    room = limit - 1 - len(_encode(record))
    return _encode(record | {"metadata": smallest_values(change.metadata, room, _encode)})


def _encode(value: object) -> bytes:
    # A template or a program may write a lone surrogate, which is not valid JSON.
    return _ENCODER.encode(value).translate(_NOT_IN_XML).encode(errors="replace")


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


# --- configuration ----------------------------------------------------------------------------------------------------


def region_at(service: Service, text: str | None) -> str | None:
    """Check the name of a region.

    Raises:
        ConfigurationError: it is not the name of a region.
    """
    if text is None or _REGION.fullmatch(text):
        return text
    raise ConfigurationError(f"region of an {service.label} channel must be a region such as 'eu-west-1', got {text!r}")


def url_at(service: Service, key: str, text: str | None) -> str | None:
    """Check the URL of a key.

    Raises:
        ConfigurationError: it is not a URL of the web, or has a password, which the error does not show.
    """
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{key} of an {service.label} channel must be an http:// or https:// URL with a host and without a password"
        )
    return text

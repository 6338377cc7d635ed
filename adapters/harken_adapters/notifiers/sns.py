"""Amazon SNS, with a topic for each rating."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any, Final
from unicodedata import combining, normalize
from urllib.parse import urlsplit

from attrs import frozen

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Rating
from harken.domain.instants import stamp
from harken.domain.templates import fill_template, template_problem
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.missing import missing
from harken_adapters.notifiers.secrets import Secrets, secrets_of
from harken_adapters.notifiers.tables import check_keys, text_at
from harken_adapters.notifiers.wording import headline, lines_of, one_line, paragraphs, visible_comment

#: Instead of a topic: feedback with this rating is not sent.
NONE: Final = "none"
_COMMON_PLACES: Final = ("type", "application", "timestamp", "message", "comment")
_FEEDBACK_PLACES: Final = ("feedback_id", "session_id", "message_id", "agent_id", "rating", "tags")
#: The values that templates can use.
PLACES: Final = (*_COMMON_PLACES, *_FEEDBACK_PLACES)

_TOPICS: Final[Mapping[str, Rating]] = {
    "topic_up": Rating.UP,
    "topic_down": Rating.DOWN,
    "topic_neutral": Rating.NEUTRAL,
}
_KEYS: Final = ("topic", *_TOPICS, "topic_alerts", "region", "endpoint_url", "subject", "body")
_RATINGS: Final = {Rating.UP: "positive", Rating.DOWN: "negative", Rating.NEUTRAL: "neutral"}
_SUBJECT: Final = "Feedback: {rating} in session {session_id}"

_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")
_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
#: A valid message group id of a FIFO topic.
_GROUP: Final = re.compile(r"[!-~]{1,128}")
#: SNS requires less than 100 characters, and less than 256 KiB with the attributes.
_MAX_SUBJECT: Final = 99
_MAX_BODY: Final = 240_000
#: The number of characters of a text that are read for a subject.
_MAX_SUBJECT_INPUT: Final = 500
#: The code of an error. Another text of the server may quote what was sent.
_CODE: Final = re.compile(r"[A-Za-z.]{1,64}")
#: An endpoint may have two addresses, so this is 15 seconds in all.
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 9

_ERRORS: Final[Mapping[str, str]] = {
    "NotFound": "the topic does not exist",
    "AuthorizationError": "the credentials are not allowed to publish to the topic",
    "AccessDenied": "the credentials are not allowed to publish to the topic",
    "InvalidClientTokenId": "the credentials are not valid",
    "SignatureDoesNotMatch": "the credentials are not valid",
    "ExpiredToken": "the credentials have expired",
    "InvalidParameter": "the message is invalid, or the topic is in another region",
}


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``topic_up``, ``topic_down``, ``topic_neutral`` and ``topic_alerts`` are ARNs or ``"none"``; ``topic`` is their
    default. ``subject`` and ``body`` are templates for feedback. ``region`` defaults to that of the topics, and
    ``endpoint_url`` is an alternative SNS endpoint. boto3 finds the credentials.

    Raises:
        ConfigurationError: a key is unknown, or a value is invalid.
        MissingExtra: boto3 is not installed.
    """
    check_keys(table, _KEYS)
    texts = {key: text_at("an SNS channel", table, key) for key in _KEYS}
    topics = _topics(texts)
    subject = _template("subject", texts["subject"]) or _SUBJECT
    region = _region(texts["region"], topics)
    endpoint = _endpoint(texts["endpoint_url"])
    session, client = _client(region, endpoint)
    return SnsNotifier(
        client,
        topics,
        subject=subject,
        body=_template("body", texts["body"]),
        secrets=partial(_secrets, session, endpoint),
    )


@frozen
class Topics:
    """The topics of feedback, by rating, and of alerts. Messages without a topic are not sent."""

    by_rating: Mapping[Rating, str]
    alerts: str | None = None


class SnsNotifier(Notifier):
    """Publishes notifications to SNS topics.

    Args:
        client: the SNS client of boto3, without retries, as the relay retries.
        topics: the topics.
        subject: the template of subjects, with the values in :data:`PLACES`.
        body: the template of bodies; the default is a text with all details.
        secrets: returns what must not be shown in the words of the server.
    """

    def __init__(
        self,
        client: Any,
        topics: Topics,
        *,
        subject: str = _SUBJECT,
        body: str | None = None,
        secrets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._client = client
        self._topics = topics
        self._subject = subject
        self._body = body
        self._secrets = secrets

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Publish the notification. One without a topic counts as delivered; an erasure goes to all feedback topics.

        Every failure is retried, because topics, policies and credentials can be corrected.
        """
        from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
            BotoCoreError,
            ClientError,
            HTTPClientError,
            ReadTimeoutError,
        )
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # noqa: PLC0415

        message, answers = self._message(notification), list[Mapping[str, Any]]()
        try:
            for topic in self._topics_of(notification):
                answers.append(self._client.publish(TopicArn=topic, **message, **_order(topic, notification)))
        except ClientError as error:
            raise self._rejection(error.response) from error
        except ResponseParserError as error:
            problem = "The response is not from SNS; check endpoint_url"
            raise DeliveryFailed(problem, status="unexpected answer") from error
        except BotoCoreError as error:
            # A timeout while connecting is also a kind of unreachable.
            status = "timed out" if isinstance(error, ReadTimeoutError) else "unreachable"
            status = status if isinstance(error, HTTPClientError) else type(error).__name__
            raise DeliveryFailed(f"SNS cannot be reached: {self._quote(str(error))}", status=status) from error
        if not answers:
            return ReceiverAnswer("nothing to send")
        return ReceiverAnswer("200 OK", ", ".join(f"MessageId {one.get('MessageId', '?')}" for one in answers))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _rejection(self, response: Mapping[str, Any]) -> DeliveryFailed:
        """The failure for an SNS error, with an explanation of known codes."""
        error = response.get("Error", {})
        words = self._quote(str(error.get("Message", "")))
        code = str(error.get("Code", ""))
        code = code if _CODE.fullmatch(code) or code.isdecimal() else ""
        number = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        parts = (code or "no reason given", _ERRORS.get(code, ""), words[:300])
        return DeliveryFailed(
            f"SNS rejected the message: {': '.join(filter(None, parts))}",
            status=one_line(" ".join(str(part) for part in (number, code) if part)),
            words=words,
        )

    def _quote(self, text: str) -> str:
        """A text of the server or of boto3 in one line, without secrets."""
        return Secrets(self._secrets()).hide(one_line(text))

    def _topics_of(self, notification: Notification) -> list[str]:
        if notification.erased is not None:
            # The rating is no longer known.
            return sorted(set(self._topics.by_rating.values()))
        if notification.feedback is None:
            return [] if self._topics.alerts is None else [self._topics.alerts]
        topic = self._topics.by_rating.get(notification.feedback.rating)
        return [] if topic is None else [topic]

    def _message(self, notification: Notification) -> dict[str, object]:
        values = _values(notification)
        body = self._text(notification, values)
        subject = headline(notification) if notification.feedback is None else fill_template(self._subject, values)
        message = {
            "Message": _fit_body(body),
            "Subject": _fit_subject(subject),
            "MessageAttributes": _attributes(notification),
        }
        return {name: value for name, value in message.items() if value}

    def _text(self, notification: Notification, values: Mapping[str, str]) -> str:
        if notification.text is not None and notification.text.strip():
            return notification.text
        text = "" if self._body is None or notification.feedback is None else fill_template(self._body, values)
        return text if text.strip() else "\n".join(paragraphs(notification))


# --- message ----------------------------------------------------------------------------------------------------------


def _values(notification: Notification) -> dict[str, str]:
    """The values of templates, as texts."""
    values = {
        "type": notification.type.value,
        "application": notification.application,
        "timestamp": stamp(notification.occurred_at),
        "message": headline(notification),
        "comment": visible_comment(notification),
    }
    if (feedback := notification.feedback) is not None:
        values |= {
            "feedback_id": feedback.id,
            "session_id": feedback.session_id,
            "message_id": feedback.message_id or "",
            "agent_id": feedback.agent_id or "",
            "rating": _RATINGS[feedback.rating],
            "tags": "" if feedback.withdrawn else ", ".join(feedback.tags),
        }
    return values


def _attributes(notification: Notification) -> dict[str, dict[str, str]]:
    """The attributes that subscribers can filter by. SNS does not accept empty values."""
    if notification.feedback is not None:
        values = {"session_id": notification.feedback.session_id, "rating": _RATINGS[notification.feedback.rating]}
    elif notification.erased is not None:
        values = {"session_id": notification.erased.session_id, "type": notification.type.value}
    else:
        values = {"rule": notification.alert.rule} if notification.alert is not None else {}
    return {
        name: {"DataType": "String", "StringValue": text} for name, value in values.items() if (text := one_line(value))
    }


def _order(topic: str, notification: Notification) -> dict[str, str]:
    """The parameters of a FIFO topic, which keeps the order within a session or an alert subject."""
    if not topic.endswith(".fifo"):
        return {}
    if notification.feedback is not None:
        group = notification.feedback.session_id
    elif notification.erased is not None:
        group = notification.erased.session_id
    else:
        group = str(notification.alert.subject) if notification.alert is not None else notification.application
    return {
        "MessageGroupId": group if _GROUP.fullmatch(group) else _digest(group),
        "MessageDeduplicationId": _digest(notification.id),
    }


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _fit_subject(text: str) -> str:
    """The text as a subject: one line of ASCII, below the limit of SNS."""
    # Cut first, because normalizing many combining characters takes quadratic time.
    beginning = one_line(text)[:_MAX_SUBJECT_INPUT]
    letters = "".join(one for one in normalize("NFKD", beginning) if not combining(one))
    plain = letters.encode("ascii", "replace").decode("ascii")
    return " ".join(plain.split())[:_MAX_SUBJECT].strip()


def _fit_body(text: str) -> str:
    """The text without characters that XML does not allow, cut to the limit of SNS."""
    encoded = "\n".join(lines_of(text)).encode()
    return encoded.decode() if len(encoded) <= _MAX_BODY else f"{encoded[:_MAX_BODY].decode(errors='ignore')}…"


# --- configuration ----------------------------------------------------------------------------------------------------


def _topics(texts: Mapping[str, str | None]) -> Topics:
    everything = _arn("topic", texts["topic"])
    alerts = everything if texts["topic_alerts"] is None else _arn("topic_alerts", texts["topic_alerts"])
    by_rating = {rating: everything if texts[key] is None else _arn(key, texts[key]) for key, rating in _TOPICS.items()}
    topics = Topics(
        by_rating={rating: arn for rating, arn in by_rating.items() if arn is not None},
        alerts=alerts,
    )
    if not topics.by_rating and topics.alerts is None:
        raise ConfigurationError(
            f"An SNS channel needs the ARN of a topic as topic, {', '.join(_TOPICS)} or topic_alerts"
        )
    return topics


def _arn(key: str, text: str | None) -> str | None:
    if text is None or text.casefold() == NONE:
        return None
    if not _ARN.fullmatch(text):
        raise ConfigurationError(
            f"{key} of an SNS channel must be {NONE!r} or the ARN of a topic, such as "
            f"'arn:aws:sns:eu-west-1:123456789012:feedback', got {text!r}"
        )
    return text


def _region(text: str | None, topics: Topics) -> str:
    if text is not None:
        if not _REGION.fullmatch(text):
            raise ConfigurationError(f"region of an SNS channel must be a region such as 'eu-west-1', got {text!r}")
        return text
    arns = [*topics.by_rating.values(), *([] if topics.alerts is None else [topics.alerts])]
    regions = sorted({match["region"] for arn in arns if (match := _ARN.fullmatch(arn))})
    if len(regions) > 1:
        raise ConfigurationError(
            f"The topics of an SNS channel must be in one region, but are in {', '.join(regions)}; "
            "create a channel for each region"
        )
    return regions[0]


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            "endpoint_url of an SNS channel must be an http:// or https:// URL with a host and without a password"
        )
    return text


def _template(key: str, text: str | None) -> str | None:
    if text is not None and (problem := template_problem(text, PLACES)):
        raise ConfigurationError(f"{key} of an SNS channel: {problem}")
    return text


def _secrets(session: Any, endpoint: str | None) -> Iterator[str]:
    """The parts of the endpoint's URL, and the current credentials, which expire."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - it may be missing

    parts = urlsplit(endpoint or "")
    yield from secrets_of(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    # Without credentials, none were sent.
    with suppress(BotoCoreError):
        if (credentials := session.get_credentials()) is not None:
            yield from filter(None, credentials.get_frozen_credentials())


def _client(region: str, endpoint: str | None) -> tuple[Any, Any]:
    """A session of boto3, and its client."""
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing("An SNS channel", "boto3", "sns") from error

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=50,
    )
    try:
        session = boto3.session.Session()
        return session, session.client("sns", region_name=region, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"The SNS channel cannot be opened: {one_line(str(error))}") from error

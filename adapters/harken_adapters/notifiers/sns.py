"""Amazon SNS: a topic for each rating."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from unicodedata import combining, normalize
from urllib.parse import urlsplit

from attrs import frozen

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Rating
from harken.domain.templates import fill_template, template_problem
from harken.ports.notifier import Notification, Notifier
from harken_adapters.formats.record import stamp
from harken_adapters.notifiers.missing import missing
from harken_adapters.notifiers.tables import check_keys, text_at
from harken_adapters.notifiers.wording import headline, lines_of, one_line, paragraphs, said

#: In the place of a topic: what has this rating is not sent.
NONE: Final = "none"
_OF_ALL: Final = ("type", "application", "timestamp", "message", "comment")
_OF_FEEDBACK: Final = ("feedback_id", "session_id", "message_id", "agent_id", "rating", "tags")
#: What templates may name.
PLACES: Final = (*_OF_ALL, *_OF_FEEDBACK)

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
#: What may name a group of messages in a FIFO topic.
_GROUP: Final = re.compile(r"[!-~]{1,128}")
#: SNS wants less than 100 characters, and less than 256 KiB with the attributes.
_LONGEST_SUBJECT: Final = 99
_LARGEST_BODY: Final = 240_000
#: How much of a text is looked at to make a subject of it.
_LONGEST_READ: Final = 500
#: An endpoint may have two addresses, and each may take that long to connect: 15 seconds in all.
_SECONDS_TO_CONNECT: Final = 3
_SECONDS_TO_READ: Final = 9

_REFUSALS: Final[Mapping[str, str]] = {
    "NotFound": "there is no such topic",
    "AuthorizationError": "these credentials may not publish to the topic",
    "AccessDenied": "these credentials may not publish to the topic",
    "InvalidClientTokenId": "the credentials are not valid",
    "SignatureDoesNotMatch": "the credentials are not valid",
    "ExpiredToken": "the credentials have run out",
    "InvalidParameter": "it does not take the message, or the topic is in another region",
}


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """The channel that a table of the settings describes.

    ``topic_up``, ``topic_down`` and ``topic_neutral`` are ARNs, or ``"none"``; ``topic`` is that of those that are not
    named, and of alerts where there is no ``topic_alerts``. ``subject`` and ``body`` are templates for feedback.
    ``region`` is that of the topics where it is not named, ``endpoint_url`` another place that speaks SNS. Credentials
    are those that boto3 finds by itself.

    Raises:
        ConfigurationError: a key is unknown, or a value makes no sense.
        MissingExtra: boto3 is not installed.
    """
    check_keys("An SNS channel", table, _KEYS)
    texts = {key: text_at("an SNS channel", table, key) for key in _KEYS}
    topics = _topics(texts)
    subject = _template("subject", texts["subject"]) or _SUBJECT
    region = _region(texts["region"], topics)
    client = _client(region, _endpoint(texts["endpoint_url"]))
    return SnsNotifier(client, topics, subject=subject, body=_template("body", texts["body"]))


@frozen
class Topics:
    """Where messages go: feedback by its rating, alerts to one topic. What has no topic is not sent."""

    by_rating: Mapping[Rating, str]
    alerts: str | None = None


class SnsNotifier(Notifier):
    """Publishes notifications to topics of SNS.

    Args:
        client: boto3's for SNS, with its retries off: whoever delivers tries again.
        topics: what goes where.
        subject: the template of the subjects, with places as in :data:`PLACES`.
        body: the template of the bodies; without it, all that is known, line by line.
    """

    def __init__(self, client: Any, topics: Topics, *, subject: str = _SUBJECT, body: str | None = None) -> None:
        self._client = client
        self._topics = topics
        self._subject = subject
        self._body = body

    def deliver(self, notification: Notification) -> None:
        """Publish it; what has no topic is as good as delivered. That feedback was erased goes to all its topics.

        Trying again makes sense after every failure: topics, policies and credentials are mended by people.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # noqa: PLC0415

        message = self._message(notification)
        try:
            for topic in self._topics_of(notification):
                self._client.publish(TopicArn=topic, **message, **_order(topic, notification))
        except ClientError as error:
            raise DeliveryFailed(f"SNS did not take it: {_refusal(error.response)}") from error
        except ResponseParserError as error:
            raise DeliveryFailed("SNS could not be understood; is endpoint_url a place that speaks SNS?") from error
        except BotoCoreError as error:
            raise DeliveryFailed(f"SNS could not be asked: {one_line(str(error))}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _topics_of(self, notification: Notification) -> list[str]:
        if notification.erased is not None:
            # Which rating it had is not known any more.
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
            "Message": _fitting(body),
            "Subject": _ascii(subject),
            "MessageAttributes": _attributes(notification),
        }
        return {name: value for name, value in message.items() if value}

    def _text(self, notification: Notification, values: Mapping[str, str]) -> str:
        if notification.text is not None and notification.text.strip():
            return notification.text
        made = "" if self._body is None or notification.feedback is None else fill_template(self._body, values)
        return made if made.strip() else "\n".join(paragraphs(notification))


# --- what is sent -----------------------------------------------------------------------------------------------------


def _values(notification: Notification) -> dict[str, str]:
    """What templates are filled with: plain texts, and nothing else."""
    values = {
        "type": notification.type.value,
        "application": notification.application,
        "timestamp": stamp(notification.occurred_at),
        "message": headline(notification),
        "comment": said(notification),
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
    """By what subscribers may filter. SNS takes no empty value."""
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
    """What a FIFO topic has to know: what of one session, or about one subject of alerts, keeps its order."""
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


def _ascii(text: str) -> str:
    """The text as SNS takes a subject: one line of ASCII, and not too long."""
    # Decomposing a long text of nothing but accents takes time that grows with its square.
    beginning = one_line(text)[:_LONGEST_READ]
    letters = "".join(one for one in normalize("NFKD", beginning) if not combining(one))
    plain = letters.encode("ascii", "replace").decode("ascii")
    return " ".join(plain.split())[:_LONGEST_SUBJECT].strip()


def _fitting(text: str) -> str:
    """The text without what XML cannot hold, cut where it is too large."""
    encoded = "\n".join(lines_of(text)).encode()
    return encoded.decode() if len(encoded) <= _LARGEST_BODY else f"{encoded[:_LARGEST_BODY].decode(errors='ignore')}…"


def _refusal(response: Mapping[str, Any]) -> str:
    """What SNS said, in words where its code is known."""
    error = response.get("Error", {})
    code = str(error.get("Code", "")) or "no reason given"
    said = one_line(str(error.get("Message", "")))[:300]
    return ": ".join(part for part in (code, _REFUSALS.get(code, ""), said) if part)


# --- how it is configured ---------------------------------------------------------------------------------------------


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
            f"An SNS channel needs a topic's ARN: topic for all, or some of {', '.join(_TOPICS)}, topic_alerts"
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
            raise ConfigurationError(f"region of an SNS channel must be one such as 'eu-west-1', got {text!r}")
        return text
    arns = [*topics.by_rating.values(), *([] if topics.alerts is None else [topics.alerts])]
    regions = sorted({match["region"] for arn in arns if (match := _ARN.fullmatch(arn))})
    if len(regions) > 1:
        raise ConfigurationError(
            f"The topics of an SNS channel must be in one region, these are in {', '.join(regions)}; "
            "make a channel for each"
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
            "endpoint_url of an SNS channel must begin with http:// or https://, name a host, and have no password"
        )
    return text


def _template(key: str, text: str | None) -> str | None:
    if text is not None and (problem := template_problem(text, PLACES)):
        raise ConfigurationError(f"{key} of an SNS channel: {problem}")
    return text


def _client(region: str, endpoint: str | None) -> Any:
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be missing
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing("An SNS channel", "boto3", "sns") from error

    config = Config(
        connect_timeout=_SECONDS_TO_CONNECT,
        read_timeout=_SECONDS_TO_READ,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=50,
    )
    try:
        return boto3.session.Session().client("sns", region_name=region, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"The SNS channel cannot be opened: {one_line(str(error))}") from error

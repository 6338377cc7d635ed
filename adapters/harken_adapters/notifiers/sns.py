"""Amazon SNS, with a topic for each rating."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from unicodedata import combining, normalize

from attrs import frozen

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Rating
from harken.domain.instants import stamp
from harken.domain.templates import fill_template, template_problem
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.amazon import (
    RATINGS,
    AmazonClient,
    Service,
    attributes,
    json_body,
    order,
    region_at,
    url_at,
)
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
_KEYS: Final = ("topic", *_TOPICS, "topic_alerts", "topic_metadata", "region", "endpoint_url", "subject", "body")
_SUBJECT: Final = "Feedback: {rating} in session {session_id}"

_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):[0-9]+:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")
#: SNS requires less than 100 characters, and less than 256 KiB with the attributes.
_MAX_SUBJECT: Final = 99
_MAX_BODY: Final = 240_000
#: The number of characters of a text that are read for a subject.
_MAX_SUBJECT_INPUT: Final = 500
_ERRORS: Final = {
    "NotFound": "the topic does not exist",
    "AuthorizationError": "the credentials are not allowed to publish to the topic",
    "AccessDenied": "the credentials are not allowed to publish to the topic",
    "InvalidClientTokenId": "the credentials are not valid",
    "SignatureDoesNotMatch": "the credentials are not valid",
    "ExpiredToken": "the credentials have expired",
    "InvalidParameter": "the message is invalid, or the topic is in another region",
}
_SNS: Final = Service("sns", "SNS", "sns", _ERRORS)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``topic_up``, ``topic_down``, ``topic_neutral`` and ``topic_alerts`` are ARNs or ``"none"``; ``topic`` is their
    default. ``topic_metadata``, for changes of session metadata, has no default. ``subject`` and ``body`` are templates
    for feedback. ``region`` defaults to that of the topics, and ``endpoint_url`` is an alternative SNS endpoint. boto3
    finds the credentials.

    Raises:
        ConfigurationError: a key is unknown, or a value is invalid.
        MissingExtra: boto3 is not installed.
    """
    check_keys(table, _KEYS)
    texts = {key: text_at("an SNS channel", table, key) for key in _KEYS}
    topics = _topics(texts)
    subject = _template("subject", texts["subject"]) or _SUBJECT
    body = _template("body", texts["body"])
    region = region_at(_SNS, texts["region"]) or _region_of(topics)
    client = AmazonClient(_SNS, region, url_at(_SNS, "endpoint_url", texts["endpoint_url"]))
    return SnsNotifier(client, topics, subject=subject, body=body)


def is_topic(text: str) -> bool:
    """Whether a text is the ARN of a topic."""
    return _ARN.fullmatch(text) is not None


@frozen
class Topics:
    """The topics of feedback, by rating, of alerts and of changes of session metadata."""

    by_rating: Mapping[Rating, str]
    alerts: str | None = None
    metadata: str | None = None


class SnsNotifier(Notifier):
    """Publishes notifications to SNS topics.

    Args:
        client: the client of SNS.
        topics: the topics.
        subject: the template of subjects, with the values in :data:`PLACES`.
        body: the template of bodies; the default is a text with all details.
    """

    def __init__(
        self, client: AmazonClient, topics: Topics, *, subject: str = _SUBJECT, body: str | None = None
    ) -> None:
        self._client = client
        self._topics = topics
        self._subject = subject
        self._body = body

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Publish the notification. An erasure goes to all feedback topics.

        A notification without a topic counts as delivered; but a change of metadata is refused then, because only a
        route that names this event sends it here.
        """
        if notification.session is not None and self._topics.metadata is None:
            problem = "The channel has no topic for changes of session metadata; set topic_metadata"
            raise DeliveryFailed(problem, retryable=False, status="no topic")
        message = self._message(notification)
        answers = [
            self._client.call("publish", {"TopicArn": topic, **message, **order(topic, notification)})
            for topic in self._topics_of(notification)
        ]
        if not answers:
            return ReceiverAnswer("nothing to send")
        return ReceiverAnswer("200 OK", ", ".join(f"MessageId {one.get('MessageId', '?')}" for one in answers))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _topics_of(self, notification: Notification) -> list[str]:
        if notification.erased is not None:
            # The rating is no longer known.
            return sorted(set(self._topics.by_rating.values()))
        if notification.feedback is not None:
            topic = self._topics.by_rating.get(notification.feedback.rating)
        else:
            topic = self._topics.alerts if notification.session is None else self._topics.metadata
        return [] if topic is None else [topic]

    def _message(self, notification: Notification) -> dict[str, object]:
        values = _values(notification)
        body = self._text(notification, values)
        subject = headline(notification) if notification.feedback is None else fill_template(self._subject, values)
        message = {
            "Message": body,
            "Subject": _fit_subject(subject),
            "MessageAttributes": attributes(notification),
        }
        return {name: value for name, value in message.items() if value}

    def _text(self, notification: Notification, values: Mapping[str, str]) -> str:
        if notification.text is not None and notification.text.strip():
            return _fit_body(notification.text)
        if notification.session is not None:
            return json_body(notification, _MAX_BODY)
        text = "" if self._body is None or notification.feedback is None else fill_template(self._body, values)
        return _fit_body(text if text.strip() else "\n".join(paragraphs(notification)))


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
            "rating": RATINGS[feedback.rating],
            "tags": "" if feedback.withdrawn else ", ".join(feedback.tags),
        }
    return values


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
        metadata=_arn("topic_metadata", texts["topic_metadata"]),
    )
    if not _all(topics):
        raise ConfigurationError(
            f"An SNS channel needs the ARN of a topic as topic, {', '.join(_TOPICS)}, topic_alerts or topic_metadata"
        )
    return topics


def _all(topics: Topics) -> list[str]:
    return [arn for arn in (*topics.by_rating.values(), topics.alerts, topics.metadata) if arn is not None]


def _arn(key: str, text: str | None) -> str | None:
    if text is None or text.casefold() == NONE:
        return None
    if not is_topic(text):
        raise ConfigurationError(
            f"{key} of an SNS channel must be {NONE!r} or the ARN of a topic, such as "
            f"'arn:aws:sns:eu-west-1:123456789012:feedback', got {text!r}"
        )
    return text


def _region_of(topics: Topics) -> str:
    regions = sorted({match["region"] for arn in _all(topics) if (match := _ARN.fullmatch(arn))})
    if len(regions) > 1:
        raise ConfigurationError(
            f"The topics of an SNS channel must be in one region, but are in {', '.join(regions)}; "
            "create a channel for each region"
        )
    return regions[0]


def _template(key: str, text: str | None) -> str | None:
    if text is not None and (problem := template_problem(text, PLACES)):
        raise ConfigurationError(f"{key} of an SNS channel: {problem}")
    return text

"""Hooks that publish feedback to Amazon SNS, and changes of metadata to SQS and to WebSockets of API Gateway.

They store first, and send in the background: nothing waits for Amazon, and failures are logged. What waits when the
process is killed is lost; routes to channels of these kinds deliver at least once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, TypeVar, cast

from harken import Content, Feedback, Harken, Rating, Receipt, Target
from harken.clock import new_uuid7, utc_now
from harken.domain.errors import ConfigurationError, HarkenError, MissingExtra
from harken.domain.events import EventType
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.session_change import Operation, SessionChange
from harken.domain.templates import template_problem
from harken.domain.texts import as_texts, escape_unprintable
from harken.ports.notifier import Notification, Notifier
from harken_adapters.formats.value_encoding import encode_exactly
from harken_adapters.hosts.session_manager.sending import Sender
from harken_adapters.notifiers import apigateway, sns, sqs

logger = logging.getLogger(__name__)

#: The region if neither the URL of a queue nor the environment has one.
_REGION: Final = "eu-west-1"
_PLACES: Final = ("session_id", "rating", "timestamp")
_SUBJECT: Final = "Virtual Agents Feedback {rating} on session {session_id}"
#: Receivers may expect the first line. There is no viewer of sessions, and so no password.
_BODY: Final = "Password: N/A\n\nSession: {session_id}\n\n{comment}"
#: The option of the channel.
_TOPIC: Final = "topic"
_ARGUMENTS: Final = {
    Rating.UP: "topic_arn_good",
    Rating.DOWN: "topic_arn_bad",
    Rating.NEUTRAL: "topic_arn_neutral",
}
_Hook = TypeVar("_Hook")


# --- feedback ---------------------------------------------------------------------------------------------------------


class FeedbackSNSHook:
    """A feedback hook that publishes each entry to the SNS topic of its rating.

    Messages have the attributes ``session_id`` and ``rating`` (``positive``, ``negative`` or ``neutral``). Feedback
    that is held for moderation is published too. A retry with the same idempotency key is not.
    """

    def __init__(  # noqa: PLR0917 - the order of mongodb_session_manager
        self,
        topic_arn_good: str | None,
        topic_arn_bad: str | None,
        topic_arn_neutral: str | None,
        subject_prefix_good: str | None = None,
        subject_prefix_bad: str | None = None,
        subject_prefix_neutral: str | None = None,
        body_prefix_good: str | None = None,
        body_prefix_bad: str | None = None,
        body_prefix_neutral: str | None = None,
    ) -> None:
        """Open the topics.

        Args:
            topic_arn_good: the topic of thumbs-up. ``"none"`` publishes nothing; neither does a missing or invalid
                one, which is logged.
            topic_arn_bad: the topic of thumbs-down.
            topic_arn_neutral: the topic of neutral feedback.
            subject_prefix_good: the beginning of the subject, which may have the placeholders ``{session_id}``,
                ``{rating}`` and ``{timestamp}``.
            subject_prefix_bad: the same for thumbs-down.
            subject_prefix_neutral: the same for neutral feedback.
            body_prefix_good: the beginning of the body, with the same placeholders.
            body_prefix_bad: the same for thumbs-down.
            body_prefix_neutral: the same for neutral feedback.

        Raises:
            MissingExtra: boto3 is not installed.
        """
        tables = {
            Rating.UP: _table(topic_arn_good, subject_prefix_good, body_prefix_good),
            Rating.DOWN: _table(topic_arn_bad, subject_prefix_bad, body_prefix_bad),
            Rating.NEUTRAL: _table(topic_arn_neutral, subject_prefix_neutral, body_prefix_neutral),
        }
        self._sender = Sender("Feedback to SNS", partial(_open_topics, tables))

    def __call__(self, original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:  # noqa: ARG002 - hooks are called so
        """Store the feedback, then publish it."""
        feedback = kwargs["feedback"]
        result = original_func(feedback)
        if not isinstance(result, Receipt):
            # Another hook returned something else, so what was stored is unknown here.
            self._sender.soon(_about_feedback(_feedback(session_id, feedback)))
        elif not result.duplicate:
            self._sender.soon(_about_feedback(result.feedback))
        return result

    async def on_feedback_add(self, session_id: str, feedback: Mapping[str, Any], **kwargs: Any) -> None:  # noqa: ARG002
        """Publish feedback without storing it, and wait for it. Failures are logged."""
        await asyncio.to_thread(self._sender.deliver, _about_feedback(_feedback(session_id, feedback)))

    def close(self) -> None:
        """Publish what waits, for at most five seconds, and no more after that."""
        self._sender.close()


class _ByRating(Notifier):
    """Delivers feedback by the notifier of its rating, if there is one."""

    def __init__(self, notifiers: Mapping[Rating, Notifier]) -> None:
        self._notifiers = notifiers

    def deliver(self, notification: Notification) -> None:
        notifier = notification.feedback and self._notifiers.get(notification.feedback.rating)
        if notifier:
            notifier.deliver(notification)

    def close(self) -> None:
        for notifier in self._notifiers.values():
            notifier.close()


def _table(topic: str | None, subject_prefix: str | None, body_prefix: str | None) -> dict[str, object]:
    """The table of an SNS channel with one topic."""
    return {_TOPIC: topic, "subject": f"{_prefix(subject_prefix)}{_SUBJECT}", "body": f"{_prefix(body_prefix)}{_BODY}"}


def _prefix(text: str | None) -> str:
    """The template of a prefix. One that is not valid is text without placeholders."""
    if text and (problem := template_problem(text, _PLACES)):
        logger.warning("A prefix is used without replacing placeholders. %s", problem)
        return text.replace("{", "{{").replace("}", "}}")
    return text or ""


def _open_topics(tables: Mapping[Rating, Mapping[str, object]]) -> Notifier:
    notifiers: dict[Rating, Notifier] = {}
    for rating, table in tables.items():
        if sns.NONE in table.values():
            continue
        try:
            notifiers[rating] = _open_topic(_ARGUMENTS[rating], table)
        except MissingExtra:
            raise
        except ConfigurationError as error:
            # The feedback of other ratings is published.
            logger.warning("Feedback is not published if its rating is %s: %s", rating.word, error)
    return _ByRating(notifiers)


def _open_topic(argument: str, table: Mapping[str, object]) -> Notifier:
    """Open a topic. Its errors name the argument of the hook, not the option of the channel."""
    topic = table[_TOPIC]
    if not isinstance(topic, str) or not sns.is_topic(topic):
        raise ConfigurationError(f"{argument} must be {sns.NONE!r} or the ARN of a topic, got {topic!r}")
    return sns.open_notifier(table)


def _feedback(session_id: str, feedback: Mapping[str, Any]) -> Feedback:
    """Feedback with the rating and the comment of a dictionary."""
    rating = next((one for one in Rating if one.value == feedback.get("rating")), Rating.NEUTRAL)
    content = Content(rating, str(feedback.get("comment") or ""))
    now = utc_now()
    return Feedback(id=new_uuid7(), target=Target(session_id), content=content, created_at=now, updated_at=now)


def _about_feedback(feedback: Feedback) -> Notification:
    return Notification(
        id=f"{feedback.id}:{feedback.version}",
        type=EventType.CREATED,
        application=feedback.application,
        occurred_at=feedback.updated_at,
        sent_at=feedback.updated_at,
        feedback=feedback,
    )


# --- metadata ---------------------------------------------------------------------------------------------------------


class _MetadataHook:
    """A metadata hook that sends each change, as JSON with the changed values and ``null`` for deleted ones.

    Args:
        sender: sends the changes.
        metadata_fields: the names to send; by default all. Of an update, values that are ``None`` are left out then.
    """

    def __init__(self, sender: Sender, metadata_fields: str | Iterable[str] | None) -> None:
        self._sender = sender
        self._fields = frozenset(as_texts(metadata_fields or ()))

    def __call__(self, original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
        """Change the metadata, then send the change."""
        if action == "update":
            changes = kwargs["metadata"]
            result = original_func(changes)
        elif action == "delete":
            changes = dict.fromkeys(as_texts(kwargs["keys"]))
            result = original_func(kwargs["keys"])
        else:
            return original_func()
        if notification := self._about(session_id, changes, action, getattr(original_func, "__self__", None)):
            self._sender.soon(notification)
        return result

    async def on_metadata_change(self, session_id: str, metadata: Mapping[str, Any], operation: str) -> None:
        """Send a change that was made, and wait for it. Failures are logged.

        Args:
            session_id: the session.
            metadata: the changed values, and ``None`` for deleted ones.
            operation: ``"update"`` or ``"delete"``.
        """
        if notification := self._about(session_id, metadata, operation, None):
            await asyncio.to_thread(self._sender.deliver, notification)

    def close(self) -> None:
        """Send what waits, for at most five seconds, and no more after that."""
        self._sender.close()

    def _current(self, session_id: str, changes: Mapping[str, Any], session_manager: Any) -> Mapping[str, Any] | None:  # noqa: ARG002 - for subclasses
        """The metadata of the session that the notifier needs; ``None`` if nothing can be sent without it."""
        return {}

    def _about(
        self, session_id: str, changes: Mapping[str, Any], operation: str, session_manager: object
    ) -> Notification | None:
        current = self._current(session_id, changes, session_manager)
        if current is None:
            return None
        sent = {name: value for name, value in changes.items() if self._sends(name, value, operation)}
        try:
            # Encoded now, as the program may change its values.
            metadata = encode_exactly(sent, "metadata")
        except (TypeError, ValueError) as error:
            logger.warning("Nothing was sent for session %s: %s", escape_unprintable(session_id), error)
            return None
        now = utc_now()
        change = SessionChange(session_id, cast("Operation", operation), tuple(sorted(metadata)), metadata, current)
        return Notification(
            id=new_uuid7(),
            type=EventType.SESSION_UPDATED,
            application=DEFAULT_APPLICATION,
            occurred_at=now,
            sent_at=now,
            session=change,
        )

    def _sends(self, name: str, value: object, operation: str) -> bool:
        return not self._fields or (name in self._fields and (value is not None or operation == "delete"))


class MetadataSQSHook(_MetadataHook):
    """A metadata hook that sends each change to an SQS queue."""

    def __init__(self, queue_url: str | None, metadata_fields: str | Iterable[str] | None = None) -> None:
        """Open the queue.

        Args:
            queue_url: the URL of the queue.
            metadata_fields: the names to send; by default all.

        Raises:
            ConfigurationError: the URL is invalid.
            MissingExtra: boto3 is not installed.
        """
        region = sqs.region_of(queue_url or "") or os.environ.get("AWS_DEFAULT_REGION", _REGION)
        table = {"queue_url": queue_url, "region": region}
        super().__init__(Sender("Metadata to SQS", partial(sqs.open_notifier, table)), metadata_fields)


class MetadataWebSocketHook(_MetadataHook):
    """A metadata hook that posts each change to the WebSocket of the session.

    The metadata ``connection_id`` of the session is the id of its connection at API Gateway.
    """

    def __init__(
        self,
        api_gateway_endpoint: str | None,
        metadata_fields: str | Iterable[str] | None = None,
        region: str = "us-east-1",
    ) -> None:
        """Open the API.

        Args:
            api_gateway_endpoint: the URL of the API's stage, which begins with ``https://``.
            metadata_fields: the names to send; by default all but ``connection_id``.
            region: the region of the API, if its URL has none.

        Raises:
            ConfigurationError: the URL is invalid.
            MissingExtra: boto3 is not installed.
        """
        region = apigateway.region_of(api_gateway_endpoint or "") or region
        table = {"endpoint_url": api_gateway_endpoint, "region": region}
        super().__init__(Sender("Metadata to API Gateway", partial(apigateway.open_notifier, table)), metadata_fields)

    def _current(self, session_id: str, changes: Mapping[str, Any], session_manager: Any) -> Mapping[str, Any] | None:
        connection = apigateway.connection_of(changes)
        if connection is None and isinstance(harken := getattr(session_manager, "harken", None), Harken):
            try:
                connection = apigateway.connection_of(harken.sessions.get(session_manager.application, session_id))
            except HarkenError as error:
                logger.warning("The connection of session %s is unknown: %s", escape_unprintable(session_id), error)
                return None
        if connection is None:
            logger.warning(
                "Session %s has no %s in its metadata, so nothing was sent",
                escape_unprintable(session_id),
                apigateway.CONNECTION,
            )
            return None
        return {apigateway.CONNECTION: connection}


# --- factories --------------------------------------------------------------------------------------------------------


def create_feedback_sns_hook(  # noqa: PLR0917 - the order of mongodb_session_manager
    topic_arn_good: str | None,
    topic_arn_bad: str | None,
    topic_arn_neutral: str | None,
    subject_prefix_good: str | None = None,
    subject_prefix_bad: str | None = None,
    subject_prefix_neutral: str | None = None,
    body_prefix_good: str | None = None,
    body_prefix_bad: str | None = None,
    body_prefix_neutral: str | None = None,
) -> FeedbackSNSHook | None:
    """A :class:`FeedbackSNSHook` with these arguments; ``None`` if boto3 is not installed, which is logged."""
    return _create(
        partial(
            FeedbackSNSHook,
            topic_arn_good,
            topic_arn_bad,
            topic_arn_neutral,
            subject_prefix_good,
            subject_prefix_bad,
            subject_prefix_neutral,
            body_prefix_good,
            body_prefix_bad,
            body_prefix_neutral,
        )
    )


def create_metadata_sqs_hook(
    queue_url: str | None, metadata_fields: str | Iterable[str] | None = None
) -> MetadataSQSHook | None:
    """A :class:`MetadataSQSHook`; ``None`` if it cannot be created, which is logged."""
    return _create(partial(MetadataSQSHook, queue_url, metadata_fields))


def create_metadata_websocket_hook(
    api_gateway_endpoint: str | None,
    metadata_fields: str | Iterable[str] | None = None,
    region: str = "eu-west-1",
) -> MetadataWebSocketHook | None:
    """A :class:`MetadataWebSocketHook`; ``None`` if it cannot be created, which is logged."""
    return _create(partial(MetadataWebSocketHook, api_gateway_endpoint, metadata_fields, region))


def _create(create: Callable[[], _Hook]) -> _Hook | None:
    try:
        return create()
    except ConfigurationError as error:
        logger.warning("The hook was not created: %s", error)
        return None


def is_feedback_sns_hook_available() -> bool:
    """Whether boto3 is installed."""
    return find_spec("boto3") is not None


#: Whether boto3 is installed.
is_metadata_sqs_hook_available = is_feedback_sns_hook_available
#: Whether boto3 is installed.
is_metadata_websocket_hook_available = is_feedback_sns_hook_available

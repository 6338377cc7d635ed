"""Langfuse: feedback as scores of traces (https://langfuse.com/docs/evaluation/evaluation-methods/scores-via-sdk)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.instants import stamp
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.endpoint import Endpoint, status_of
from harken_adapters.notifiers.tracing.exchange import Exchange
from harken_adapters.notifiers.tracing.ids import SpanContext, TraceSource
from harken_adapters.notifiers.tracing.notifier import Score, TracingNotifier, metadata, score_id
from harken_adapters.notifiers.tracing.settings import Table
from harken_adapters.notifiers.transport import Headers
from harken_adapters.telemetry.evaluation import score_value

_URL: Final = "https://cloud.langfuse.com"
_SCORES: Final = "/api/public/scores"
#: In the response to the deletion of a score that does not exist, of some versions.
_UNKNOWN: Final = b"score not found"
_ENVIRONMENT: Final = re.compile(r"(?!langfuse)[a-z0-9_-]{1,40}")
#: A score must have a value, so a neutral one is in the middle. The mean of the scores is the quality of a summary.
_NEUTRAL: Final = 0.5
#: Langfuse accepts a score at once, and by default stores it up to 15 seconds later. A score that is deleted before it
#: is stored appears nevertheless, so the deletion is sent again.
_STORED_AFTER: Final = timedelta(seconds=60)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``public_key`` and ``secret_key`` are those of a project. ``url``, ``trace``, ``name``, ``environment`` and
    ``allow`` are optional.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    read = Table("Langfuse", table)
    read.check_keys("public_key", "secret_key", "environment")
    if read.text("public_key") is None or read.text("secret_key") is None:
        raise ConfigurationError("A Langfuse channel needs the public_key and the secret_key of a project")
    environment = read.text("environment")
    if environment is not None and not _ENVIRONMENT.fullmatch(environment):
        raise ConfigurationError(
            "environment of a Langfuse channel must have up to 40 lower-case letters, digits, '-' and '_', and must "
            f"not begin with 'langfuse', got {environment!r}"
        )
    headers = read.basic("public_key", "secret_key")
    return LangfuseNotifier(
        read.endpoint(example=_URL, credentials="set public_key and secret_key", headers=headers, default=_URL),
        read.source(),
        read.name(),
        headers,
        environment=environment,
    )


class LangfuseNotifier(TracingNotifier):
    """Writes feedback as numeric scores: 1 for a thumbs-up, 0 for a thumbs-down, 0.5 for a neutral rating.

    Args:
        environment: the environment of the scores; ``None`` for the default one of Langfuse.
    """

    def __init__(
        self, endpoint: Endpoint, source: TraceSource, name: str, headers: Headers, *, environment: str | None = None
    ) -> None:
        super().__init__(endpoint, source, name, headers)
        self._environment = environment

    def write(self, exchange: Exchange, score: Score) -> None:
        """Create the score, or replace it: the id and the timestamp identify it."""
        if score.moved:
            # Langfuse never changes the trace of a score.
            self._delete(exchange, score.id)
        context = SpanContext.parse(score.trace)
        span = {"observationId": context.span_id} if context.trace_id and context.span_id else {}
        environment = {"environment": self._environment} if self._environment else {}
        value = score_value(score.feedback.rating)
        body = {
            "id": score.id,
            "traceId": context.trace_id or score.trace,
            **span,
            "name": self._name,
            "dataType": "NUMERIC",
            "value": _NEUTRAL if value is None else value,
            "comment": score.feedback.comment,
            "metadata": metadata(score.feedback),
            "timestamp": stamp(score.feedback.created_at),
            **environment,
        }
        if exchange.read("POST", _SCORES, body).get("id") != score.id:
            raise DeliveryFailed(
                f"Langfuse at {self._endpoint.where} did not confirm the score; check the url", status="not confirmed"
            )

    def remove(self, exchange: Exchange, notification: Notification) -> None:
        """Delete the score, and require a second attempt soon after the event.

        Raises:
            DeliveryFailed: Langfuse may not have stored the score yet, so the deletion must be sent again.
        """
        self._delete(exchange, score_id(notification))
        left = notification.occurred_at + _STORED_AFTER - notification.sent_at
        if left > timedelta():
            raise DeliveryFailed(
                "The score was deleted, but Langfuse may still be storing it: the deletion will be repeated",
                retry_after=min(left, _STORED_AFTER),
                planned=True,
                status=status_of(exchange.statuses[-1]),
            )

    def _delete(self, exchange: Exchange, identifier: str) -> None:
        answer = exchange.call("DELETE", f"{_SCORES}/{identifier}", accept=(404,))
        # Not a 404 of something else at the URL.
        if answer.status == 404 and _UNKNOWN not in answer.content.lower():
            exchange.require_success(answer)

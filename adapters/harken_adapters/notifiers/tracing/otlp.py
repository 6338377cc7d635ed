"""OTLP: feedback as evaluation events of OpenTelemetry's semantic conventions for generative AI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Feedback
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.endpoint import Endpoint
from harken_adapters.notifiers.tracing.exchange import Exchange
from harken_adapters.notifiers.tracing.ids import SpanContext, TraceSource
from harken_adapters.notifiers.tracing.notifier import Score, TracingNotifier
from harken_adapters.notifiers.tracing.settings import Table, headers
from harken_adapters.notifiers.transport import Headers
from harken_adapters.telemetry.evaluation import EVENT, evaluation_attributes, event_time, nanoseconds

_LOGS: Final = "/v1/logs"
_PROTOBUF: Final = b"application/x-protobuf"
_ERASED: Final = "erased"
_WITHDRAWN: Final = "withdrawn"
_REMOVED: Final = "removed"
#: Not the headers that a request has anyway.
_HEADER: Final = re.compile(
    r"(?!(?:host|content-length|content-type|transfer-encoding|connection)$)[a-z0-9_-]+", re.IGNORECASE
)

Attributes = Mapping[str, str | float]


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``url`` is the base URL of a receiver of OTLP over HTTP. ``headers``, ``comments``, ``trace``, ``name`` and
    ``allow`` are optional.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    read = Table("OTLP", table)
    read.check_keys("headers", "comments")
    comments = table.get("comments", False)
    if not isinstance(comments, bool):
        raise ConfigurationError(f"comments of an OTLP channel must be true or false, got {comments!r}")
    sent = _headers(read)
    return OtlpNotifier(
        read.endpoint(example="http://localhost:4318", credentials="set headers", headers=sent),
        read.source(),
        read.name(),
        sent,
        comments=comments,
    )


class OtlpNotifier(TracingNotifier):
    """Sends an event for each change. Receivers only append: an event with another label retracts earlier ones.

    Args:
        comments: whether to send comments.
    """

    def __init__(
        self, endpoint: Endpoint, source: TraceSource, name: str, headers: Headers, *, comments: bool = False
    ) -> None:
        super().__init__(endpoint, source, name, headers)
        self._comments = comments

    def write(self, exchange: Exchange, score: Score) -> None:
        """Send an event with the rating."""
        attributes = {
            **evaluation_attributes(score.feedback, explanation=self._comments),
            **_ids(score.feedback),
        }
        context = SpanContext.parse(score.trace)
        if context.trace_id is None:
            attributes["gen_ai.response.id"] = score.trace
        self._send(exchange, attributes, event_time(score.feedback), context)

    def remove(self, exchange: Exchange, notification: Notification) -> None:
        """Send an event without a value, whose label says what happened to the feedback."""
        attributes: dict[str, str | float] = {"gen_ai.evaluation.score.label": _ERASED}
        context = SpanContext()
        if notification.erased is not None:
            attributes["harken.feedback.id"] = notification.erased.id
            attributes["harken.application"] = notification.application
        if (feedback := notification.feedback) is not None:
            status = _status(feedback)
            attributes |= {"gen_ai.evaluation.score.label": status, **_ids(feedback)}
            context = SpanContext.parse(self._source.id_of(feedback) or "")
            if feedback.message_id is not None:
                attributes["gen_ai.response.id"] = feedback.message_id
        self._send(exchange, attributes, nanoseconds(notification.occurred_at), context)

    def _send(self, exchange: Exchange, attributes: Attributes, time: int, context: SpanContext) -> None:
        named = {**attributes, "gen_ai.evaluation.name": self._name}
        record = LogRecord(
            time_unix_nano=time,
            observed_time_unix_nano=nanoseconds(exchange.sent_at),
            severity_number=SEVERITY_NUMBER_INFO,
            event_name=EVENT,
            attributes=[_key_value(name, value) for name, value in sorted(named.items())],
            # A span id is valid only with the id of its trace.
            trace_id=bytes.fromhex(context.trace_id or ""),
            span_id=bytes.fromhex((context.trace_id and context.span_id) or ""),
        )
        scope = ScopeLogs(scope=InstrumentationScope(name="harken", version=version("harken")), log_records=[record])
        resource = Resource(attributes=[_key_value("service.name", "harken")])
        request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope])])
        # The URL may be the base of all signals, or that of logs.
        path = "" if self._endpoint.target.endswith(_LOGS.encode()) else _LOGS
        answer = exchange.require_success(exchange.send("POST", path, request.SerializeToString(), _PROTOBUF))
        self._check_accepted(answer.content)

    def _check_accepted(self, content: bytes) -> None:
        try:
            result = ExportLogsServiceResponse.FromString(content).partial_success
        except DecodeError as error:
            raise DeliveryFailed(
                f"OTLP at {self._endpoint.where} did not respond as specified by OTLP; check the url",
                status="unexpected answer",
            ) from error
        if result.rejected_log_records:
            words = self._endpoint.quote(result.error_message)
            message = f"OTLP at {self._endpoint.where} rejected the event: {words or 'no reason given'}"
            raise DeliveryFailed(message, retryable=False, status="rejected", words=words)


def _status(feedback: Feedback) -> str:
    """Why feedback has no score."""
    if feedback.withdrawn:
        return _WITHDRAWN
    # If it is counted, it lost the id of its trace.
    return _REMOVED if feedback.is_counted else feedback.moderation.status.value


def _ids(feedback: Feedback) -> dict[str, str | float]:
    """The attributes by which receivers find the last event about feedback."""
    return {
        "harken.feedback.id": feedback.id,
        "harken.feedback.version": feedback.version,
        "harken.application": feedback.application,
    }


def _key_value(name: str, value: str | float) -> KeyValue:
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(double_value=value))


def _headers(read: Table) -> Headers:
    table = read.values.get("headers", {})
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"headers of an OTLP channel must be a table, got a {type(table).__name__}")
    more: dict[str, str] = {}
    for name, value in table.items():
        key = f"headers.{name}"
        if not isinstance(name, str) or not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"{key} of an OTLP channel must be a string that is not empty")
        if not _HEADER.fullmatch(name):
            raise ConfigurationError(f"{name!r} in headers of an OTLP channel is not the name of a header")
        more[name.lower()] = read.header_value(key, value.strip())
    return headers(**{**more, "accept": _PROTOBUF.decode()})

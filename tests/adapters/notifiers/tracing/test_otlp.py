"""Feedback as evaluation events over OTLP, read with OpenTelemetry's own definition of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define, field
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from adapters.notifiers.tracing.json_server import Request, Response, serving
from channels import connect_without_relay
from harken import Change, Harken, Rating
from harken.domain.errors import DeliveryFailed
from harken.ports.notifier import ErasedFeedback
from harken.testing.builders import an_alert
from harken.testing.notifier_contract import ODD_TEXTS, a_notification
from harken_adapters.notifiers.tracing.otlp import open_notifier
from support import NOON, ManualClock, a_feedback

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@define
class Collector:
    """The events that a receiver of OTLP got, and its next responses."""

    url: str = ""
    requests: list[Request] = field(factory=list)
    response: Response = field(factory=lambda: Response(200))

    def answer(self, request: Request) -> Response:
        """Accept a request, unless there is another response."""
        self.requests.append(request)
        return self.response

    @property
    def records(self) -> list[LogRecord]:
        """The events."""
        exported = [ExportLogsServiceRequest.FromString(one.content) for one in self.requests]
        return [one.resource_logs[0].scope_logs[0].log_records[0] for one in exported]

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """The attributes of the events."""
        return [_attributes(record) for record in self.records]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A receiver."""
    state = Collector()
    with serving(state.answer) as url:
        state.url = url
        yield state


def connected(collector: Collector, **options: object) -> AbstractContextManager[Harken]:
    """Connect to a Harken with this channel only."""
    table = {"kind": "otlp", "url": collector.url, "allow": ["127.0.0.1"], **options}
    return connect_without_relay(ManualClock(), channels={"events": table})


def opened(collector: Collector, **options: object) -> Any:
    """The channel without a Harken."""
    return closing(open_notifier({"url": collector.url, "allow": ["127.0.0.1"], **options}))


@pytest.mark.parametrize(
    ("rating", "score"),
    [
        (Rating.UP, {"gen_ai.evaluation.score.label": "up", "gen_ai.evaluation.score.value": 1.0}),
        (Rating.DOWN, {"gen_ai.evaluation.score.label": "down", "gen_ai.evaluation.score.value": 0.0}),
        (Rating.NEUTRAL, {"gen_ai.evaluation.score.label": "neutral"}),
    ],
)
def test_a_rating(collector: Collector, rating: Rating, score: dict[str, Any]) -> None:
    """A rating is an event with its label and value, the id of the response and that of the feedback; no comment."""
    with opened(collector) as notifier:
        feedback = a_feedback("f-1", rating, "confidential", message_id="m-1", author="ann")
        notifier.deliver(a_notification(feedback=feedback, application="shop"))
    (request,), (record,) = collector.requests, collector.records
    assert (request.path, request.headers["content-type"]) == ("/v1/logs", "application/x-protobuf")
    assert (record.event_name, record.severity_number) == ("gen_ai.evaluation.result", 9)
    assert datetime.fromtimestamp(record.time_unix_nano / 1e9, UTC) == NOON
    assert (record.trace_id, record.span_id) == (b"", b"")
    assert _attributes(record) == score | {
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.response.id": "m-1",
        "harken.feedback.id": "f-1",
        "harken.feedback.version": 1,
        "harken.application": "default",
    }
    assert b"confidential" not in request.content
    assert b"ann" not in request.content


def test_comments(collector: Collector) -> None:
    """With comments = true, the comment is the explanation, unchanged."""
    with opened(collector, comments=True) as notifier:
        for text in ODD_TEXTS:
            notifier.deliver(a_notification(feedback=a_feedback("f-1", comment=text, message_id="m-1")))
    assert [one["gen_ai.evaluation.explanation"] for one in collector.attributes] == list(ODD_TEXTS)


@pytest.mark.parametrize(
    ("message_id", "trace", "span"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE, SPAN),
        (TRACE.upper(), TRACE, ""),
        (SPAN, "", ""),
        (f"00-{TRACE}-{SPAN}", "", ""),
    ],
)
def test_trace_context(collector: Collector, message_id: str, trace: str, span: str) -> None:
    """An id of a trace makes the event a part of the trace; a span id alone does not identify a span."""
    with opened(collector) as notifier:
        notifier.deliver(a_notification(feedback=a_feedback("f-1", message_id=message_id)))
    (record,) = collector.records
    assert (record.trace_id.hex(), record.span_id.hex()) == (trace, span)
    assert _attributes(record)["gen_ai.response.id"] == message_id


def test_a_response_id_in_the_context(collector: Collector) -> None:
    """The response may be identified by a context value. The message has another id."""
    with connected(collector, trace="context.response") as hk:
        hk.submit("s", "up", message_id="m-1", context={"response": "chatcmpl-1"})
        hk.relay.run_due()
    assert [one["gen_ai.response.id"] for one in collector.attributes] == ["chatcmpl-1"]


def test_changes_and_the_end(collector: Collector) -> None:
    """Each change is an event, and so is each way in which feedback stops counting; that has a label and no value."""
    with connected(collector) as hk:
        feedback_id = hk.submit("s", "up", message_id="m-1").feedback.id
        hk.relay.run_due()
        for act in (
            lambda: hk.collection.change("default", feedback_id, Change(rating=None)),
            lambda: hk.moderation.decide("default", feedback_id, "rejected"),
            lambda: hk.moderation.decide("default", feedback_id, "approved"),
            lambda: hk.collection.withdraw("default", feedback_id),
            lambda: hk.collection.erase(hk.query(session_id="s")),
        ):
            act()
            hk.relay.run_due()
        assert hk.deliveries.find("dead") == []
    found = [(one["gen_ai.evaluation.score.label"], one.get("harken.feedback.version")) for one in collector.attributes]
    assert found == [("up", 1), ("neutral", 2), ("rejected", 3), ("neutral", 4), ("withdrawn", 5), ("erased", None)]
    assert {one["harken.feedback.id"] for one in collector.attributes} == {feedback_id}
    assert [one.get("gen_ai.evaluation.score.value") for one in collector.attributes] == [1.0, *[None] * 5]
    assert [one.get("gen_ai.response.id") for one in collector.attributes] == [*["m-1"] * 5, None]


def test_feedback_that_loses_its_trace(collector: Collector) -> None:
    """Feedback whose context value is removed is retracted."""
    with connected(collector, trace="context.trace") as hk:
        feedback_id = hk.submit("s", "up", context={"trace": TRACE}).feedback.id
        hk.relay.run_due()
        hk.collection.change("default", feedback_id, Change(context={}))
        hk.relay.run_due()
    assert [one["gen_ai.evaluation.score.label"] for one in collector.attributes] == ["up", "removed"]


def test_nothing_to_send(collector: Collector) -> None:
    """Feedback without an id, and alerts, cause no event."""
    with opened(collector) as notifier:
        notifier.deliver(a_notification(feedback=a_feedback()))
        notifier.deliver(a_notification(alert=an_alert()))
    assert collector.requests == []


def test_equal_ids_in_two_applications(collector: Collector) -> None:
    """An erasure names the application, as another one may have feedback with the same id."""
    with opened(collector) as notifier:
        notifier.deliver(a_notification(erased=ErasedFeedback("f-1", "s"), application="shop"))
    assert [(one["harken.feedback.id"], one["harken.application"]) for one in collector.attributes] == [("f-1", "shop")]


def test_settings(collector: Collector) -> None:
    """The URL may be that of logs, headers are sent, and name is the name of the evaluation."""
    headers = {"X-Api-Key": "secret", "authorization": "Bearer token"}
    with opened(collector, url=f"{collector.url}/otlp/v1/logs", headers=headers, name="rating") as notifier:
        notifier.deliver(a_notification(feedback=a_feedback(message_id="m-1")))
    (request,) = collector.requests
    assert request.path == "/otlp/v1/logs"
    assert (request.headers["x-api-key"], request.headers["authorization"]) == ("secret", "Bearer token")
    assert [one["gen_ai.evaluation.name"] for one in collector.attributes] == ["rating"]


@pytest.mark.parametrize(
    ("response", "message", "retryable"),
    [
        (Response(503, b"\x08\x0e\x12\x0bunavailable"), "responded with 503: unavailable", True),
        (Response(400, b"bad data"), "responded with 400: bad data", False),
        (Response(200, b"<html>"), "did not respond as specified by OTLP; check the url", True),
        (
            Response(
                200,
                ExportLogsServiceResponse(
                    partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
                ).SerializeToString(),
            ),
            "rejected the event: too old",
            False,
        ),
    ],
)
def test_failures(collector: Collector, response: Response, message: str, retryable: bool) -> None:
    """An event that is not accepted is a failure, also if the status is 200."""
    collector.response = response
    with opened(collector) as notifier, pytest.raises(DeliveryFailed) as caught:
        notifier.deliver(a_notification(feedback=a_feedback(message_id="m-1")))
    assert str(caught.value).startswith(f"OTLP at {collector.url} {message}")
    assert caught.value.retryable == retryable


def test_a_warning_is_not_a_failure(collector: Collector) -> None:
    """A receiver may accept an event with a message."""
    warning = ExportLogsServiceResponse(partial_success=ExportLogsPartialSuccess(error_message="use gRPC"))
    collector.response = Response(200, warning.SerializeToString())
    with opened(collector) as notifier:
        notifier.deliver(a_notification(feedback=a_feedback(message_id="m-1")))
    assert len(collector.requests) == 1


def _attributes(record: LogRecord) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in record.attributes}


def test_words_have_no_credentials(collector: Collector) -> None:
    """Receivers may quote the headers, also when they accept the request but reject the event."""
    headers = {"x-api-key": "KEY-1234", "authorization": "Bearer TOKEN-1234"}
    partial = ExportLogsPartialSuccess(rejected_log_records=1, error_message="KEY-1234 and TOKEN-1234 expired")
    content = ExportLogsServiceResponse(partial_success=partial).SerializeToString()
    for response in (Response(200, content), Response(401, b"KEY-1234 and TOKEN-1234 expired")):
        collector.response = response
        with opened(collector, headers=headers) as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification(feedback=a_feedback(message_id="m-1")))
        assert caught.value.words == "*** and *** expired"
        assert str(caught.value).endswith(caught.value.words)

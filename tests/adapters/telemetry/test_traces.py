"""Traces: a span per request, without personal data."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id, get_current_span

from harken_adapters.telemetry import request_span

COMMENT = "a confidential comment"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Recorder:
    """A tracer provider that records finished spans."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def span(self, status: int | None = None, **request: Any) -> ReadableSpan:
        """The span of one request, with or without a response."""
        with self.around(**request) as span:
            if status is not None:
                span.answered(status)
        return self.last

    def around(self, operation: str = "get", method: str = "GET", route: str = "/v1/feedback/{id}", **more: Any) -> Any:
        """The context manager of a span."""
        return request_span(operation, method, route, tracer_provider=self.provider, **more)

    @property
    def last(self) -> ReadableSpan:
        """The span that finished last."""
        return self._exporter.get_finished_spans()[-1]


@pytest.fixture
def recorder() -> Recorder:
    """A new tracer provider."""
    return Recorder()


def failing_with(error: Exception) -> Callable[[], None]:
    """A function that raises this error."""

    def fail() -> None:
        raise error

    return fail


def test_a_request(recorder: Recorder) -> None:
    """A span has the name and attributes of the conventions for HTTP servers, with the route instead of the path."""
    span = recorder.span(200)
    assert (span.name, span.kind) == ("GET /v1/feedback/{id}", SpanKind.SERVER)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/feedback/{id}",
        "http.response.status_code": 200,
        "harken.operation": "get",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "harken"


@given(st.integers(200, 599))
def test_the_status_of_a_span(status: int) -> None:
    """A server error is an error of the span, a client error is not."""
    span = Recorder().span(status)
    assert span.attributes is not None
    if status >= 500:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == str(status)
    else:
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in span.attributes


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError(COMMENT), "ValueError"), (subprocess.SubprocessError(COMMENT), "subprocess.Sub")]
)
def test_an_error(recorder: Recorder, error: Exception, kind: str) -> None:
    """An error propagates; the span has its type, but not its message and traceback, which may contain user text."""
    fail = failing_with(error)
    with pytest.raises(type(error)), recorder.around():
        fail()
    span = recorder.last
    assert span.attributes is not None
    assert span.status.status_code is StatusCode.ERROR
    assert str(span.attributes["error.type"]).startswith(kind)
    assert not span.events
    assert COMMENT not in span.to_json()


def test_unknown_methods(recorder: Recorder) -> None:
    """All unknown methods have one name."""
    span = recorder.span(405, method="BREW")
    assert span.attributes is not None
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP /v1/feedback/{id}", "_OTHER")


def test_in_the_trace_of_the_caller(recorder: Recorder) -> None:
    """A request with a trace header continues this trace."""
    span = recorder.span(200, headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "cookie": COMMENT})
    assert span.context is not None
    assert span.parent is not None
    assert (format_trace_id(span.context.trace_id), format_span_id(span.parent.span_id)) == (TRACE, PARENT)
    assert COMMENT not in span.to_json()


@given(st.text())
def test_invalid_trace_headers(header: str) -> None:
    """An invalid header starts a new trace."""
    assert Recorder().span(200, headers={"traceparent": header}).parent is None


def test_the_span_is_current(recorder: Recorder) -> None:
    """The span is the current one during the request only."""
    before = get_current_span()
    with recorder.around():
        inside = get_current_span().get_span_context()
    assert recorder.last.context == inside
    assert get_current_span() is before


@pytest.mark.slow
def test_the_provider_of_the_process() -> None:
    """The default is the provider of the process, even if it is set after the import of Harken."""
    program = """
from harken_adapters.telemetry import request_span
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with request_span("get", "GET", "/v1/late") as span:
    span.answered(200)
print([span.name for span in exporter.get_finished_spans()])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['GET /v1/late']\n"


@pytest.mark.slow
def test_without_opentelemetry() -> None:
    """Without OpenTelemetry a span does nothing, and errors propagate."""
    program = """
import sys
sys.modules["opentelemetry"] = None
from harken_adapters.telemetry import request_span
for _ in range(2):
    with request_span("get", "GET", "/v1/feedback", headers={}) as span:
        span.answered(200)
try:
    with request_span("get", "GET", "/v1/feedback"):
        raise ValueError("out")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "out\n"

"""OpenTelemetry: a span around each request, and an event for each rating. Needs the extra ``telemetry``."""

from harken_adapters.telemetry.evaluation import evaluation_events
from harken_adapters.telemetry.traces import RequestSpan, request_span

__all__ = ["RequestSpan", "evaluation_events", "request_span"]

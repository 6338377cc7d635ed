"""OpenTelemetry: a span per request, and an evaluation event per rating. Needs the extra ``telemetry``."""

from harken_adapters.telemetry.evaluation import evaluation_events
from harken_adapters.telemetry.traces import RequestSpan, request_span

__all__ = ["RequestSpan", "evaluation_events", "request_span"]

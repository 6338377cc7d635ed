"""A span around each request, where OpenTelemetry is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import Final

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})


class RequestSpan:
    """What the host tells of an answer. This one does nothing with it."""

    def answered(self, status: int) -> None:
        """The request was answered with this status."""


class _Recorded(RequestSpan):
    """One that a tracer records, or not: that is the tracer's choice."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.failed(str(status))

    def failed(self, kind: str) -> None:
        """The service could not do what it was asked for."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.StatusCode.ERROR)


_NOTHING: Final = nullcontext(RequestSpan())


def request_span(
    operation: str,
    method: str,
    route: str,
    *,
    headers: Mapping[str, str] | None = None,
    tracer_provider: trace.TracerProvider | None = None,
) -> AbstractContextManager[RequestSpan]:
    """A span around one request; without OpenTelemetry it is nothing.

    It has the attributes that OpenTelemetry's conventions for HTTP servers give to the method, the route, the status
    and the kind of error, and ``harken.operation``. An error's message and traceback are no part of it, as they may
    quote what was sent.

    Args:
        operation: what was asked for, one of a few names.
        method: the HTTP method.
        route: the template of the path, such as ``/v1/feedback/{id}``, and never the path.
        headers: those of the request, by names in lower case, if the span shall belong to the trace of the caller.
        tracer_provider: what records; without it the one of the process, which has to be set before the first request.
    """
    if not _INSTALLED or (tracer_provider is None and _nobody_records()):
        return _NOTHING
    return _recorded(operation, method, route, headers, tracer_provider)


@cache
def _nobody_records() -> bool:
    """Whether the process has no provider of its own, only the stand-in that waits for one. Looked at once."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def _recorded(
    operation: str,
    method: str,
    route: str,
    headers: Mapping[str, str] | None,
    tracer_provider: trace.TracerProvider | None,
) -> Iterator[RequestSpan]:
    known = method in _METHODS
    with _tracer(tracer_provider).start_as_current_span(
        f"{method if known else 'HTTP'} {route}",
        context=None if headers is None else propagate.extract(headers),
        kind=trace.SpanKind.SERVER,
        attributes={
            "http.request.method": method if known else "_OTHER",
            "http.route": route,
            "harken.operation": operation,
        },
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        recorded = _Recorded(span)
        try:
            yield recorded
        except Exception as error:
            recorded.failed(f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."))
            raise


@cache
def _tracer(provider: trace.TracerProvider | None) -> trace.Tracer:
    return trace.get_tracer("harken", version("harken"), provider)

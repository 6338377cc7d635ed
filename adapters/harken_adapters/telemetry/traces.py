"""Spans of requests, if OpenTelemetry is installed."""

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
    """Receives the status of a response. This one ignores it."""

    def answered(self, status: int) -> None:
        """Record the status of the response."""


class _Recorded(RequestSpan):
    """A span of a tracer."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.failed(str(status))

    def failed(self, kind: str) -> None:
        """Record that the request failed."""
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
    """A span of one request. It does nothing if OpenTelemetry is not installed.

    It has the attributes of OpenTelemetry's conventions for HTTP servers (method, route, status and error type) and
    ``harken.operation``. The message and traceback of an error are not recorded, as they may contain user text.

    Args:
        operation: the name of the operation.
        method: the HTTP method.
        route: the template of the path, such as ``/v1/feedback/{id}``.
        headers: the headers of the request, by lower-case name, to continue the trace of the client.
        tracer_provider: the provider; the default is that of the process, which must be set before the first request.
    """
    if not _INSTALLED or (tracer_provider is None and _has_no_provider()):
        return _NOTHING
    return _record_span(operation, method, route, headers, tracer_provider)


@cache
def _has_no_provider() -> bool:
    """Whether no provider was set for the process. Checked once."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def _record_span(
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

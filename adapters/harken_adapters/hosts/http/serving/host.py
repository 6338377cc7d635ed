"""The base class of hosts."""

from __future__ import annotations

from time import perf_counter

from harken.services.weak_collection import WeakCollection
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.origins import Origins
from harken_adapters.hosts.http.logs import log_request
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.serving.pages import Page, Pages
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import Request, Response


class ApiHost:
    """A host of the API: the API, the pages, and the open event streams."""

    def __init__(self, api: Api) -> None:
        self.serve(api)

    def serve(self, api: Api) -> None:
        """Serve this API, without the streams of an earlier one."""
        self.api = api
        self.pages = Pages(api)
        self.origins = Origins(api.settings.allowed_origins)
        self._streams: WeakCollection[EventStream] = WeakCollection()
        self._stopping = False

    def stop_streams(self) -> None:
        """End all event streams, including any opened later. Clients reconnect."""
        self._stopping = True
        for stream in self._streams:
            stream.stop()

    def track_stream(self, response: Response) -> Response:
        """Register the event stream of a response, if it has one, so that it ends with the host."""
        if isinstance(response.chunks, EventStream):
            self._streams.add(response.chunks)
            if self._stopping:
                response.chunks.stop()
        return response

    def show(self, page: Page, root: str, request: Request) -> Response:
        """The response to a request for a page. ``root`` is the prefix of the API's paths. May block on a storage."""
        start = perf_counter()
        response = page.answer(self.pages, root, request)
        if request.method in WITH_BODY or page.is_logged:
            # Sign-in and sign-out are logged like operations.
            self.record(page, request, response, perf_counter() - start)
        return response

    def listening(self) -> int:
        """The number of open event streams, without those that are about to end."""
        return sum(not (stream.closed or stream.stopped) for stream in self._streams)

    def stop_listener(self, listener: tuple[str, ...]) -> bool:
        """End the event stream of a listener; returns whether an earlier one was ended, but still occupies a thread."""
        own = [stream for stream in self._streams if stream.listener == listener and not stream.closed]
        was_stopped = any(stream.stopped for stream in own)
        for stream in own:
            stream.stop()
        return was_stopped

    def record(self, operation: Operation | Page, request: Request, response: Response, seconds: float) -> None:
        """Update the metrics and log the request."""
        method = operation.method if isinstance(operation, Operation) else request.method
        self.api.metrics.request(operation.name, method, response.status, seconds)
        log_request(
            request_id=request.id,
            operation=operation.name,
            method=method,
            route=operation.path,
            status=response.status,
            seconds=seconds,
            application=request.application,
            size=len(response.body),
        )

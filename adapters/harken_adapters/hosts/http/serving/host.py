"""What every host of the API has, whether it answers in an event loop or in threads."""

from __future__ import annotations

from time import perf_counter
from typing import Final
from weakref import WeakSet

from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.origins import Origins
from harken_adapters.hosts.http.logs import log_request
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PAGES, Page, Pages
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.http.wire.paths import Paths

#: What paths lead to, with health, figures and documentation, and without.
WITH_PAGES: Final[Paths[Operation | Page]] = Paths((*OPERATIONS, *PAGES))
WITHOUT_PAGES: Final[Paths[Operation | Page]] = Paths(OPERATIONS)


class ApiHost:
    """The API, what is shown besides, and the event streams that are open."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.pages = Pages(api)
        self.origins = Origins(api.settings.allowed_origins)
        self._streams: WeakSet[EventStream] = WeakSet()
        self._ending = False

    def stop_streams(self) -> None:
        """Let all event streams end, and those to come; whoever listens will come back."""
        self._ending = True
        for stream in tuple(self._streams):
            stream.stop()

    def opened(self, response: Response) -> Response:
        """The same answer; if it is a stream without end, it ends with the host."""
        if isinstance(response.chunks, EventStream):
            self._streams.add(response.chunks)
            if self._ending:
                response.chunks.stop()
        return response

    def show(self, page: Page, root: str, request: Request) -> Response:
        """The answer to a request for a page. ``root`` is what the API's paths stand behind. May ask a storage."""
        began = perf_counter()
        response = page.answer(self.pages, self.api, root, request)
        if request.method in WITH_BODY:
            # Who signs in and out is as interesting as who calls an operation.
            self.note(page, request, response, perf_counter() - began)
        return response

    def listening(self) -> int:
        """How many event streams are open."""
        return sum(not stream.closed for stream in tuple(self._streams))

    def note(self, operation: Operation | Page, request: Request, response: Response, seconds: float) -> None:
        """Count a request that was answered, and log it."""
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

"""Endpoints and routes of pages, for Starlette."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harken_adapters.hosts.fastapi.host import Endpoint, Host
from harken_adapters.hosts.fastapi.messages import Answer, read_body, request_of, root_of
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.paths import check_path
from harken_adapters.hosts.http.wire.problems import Problem


def page_endpoint(host: Host, page: Page) -> Endpoint:
    """The endpoint of a page."""

    async def endpoint(request: Request) -> Response:
        root, incoming = root_of(request.scope, page.path), request_of(request)
        try:
            check_path(incoming)
            if incoming.method in WITH_BODY:
                incoming.body = await read_body(request, incoming.header("content-length"), host.api.settings)
        except Problem as problem:
            return Answer(problem.response(incoming.path), [])
        return Answer(await host.show_page(page, root, incoming), [])

    return endpoint


def page_route(host: Host, page: Page) -> Route:
    """The route of a page."""
    return Route(page.path, page_endpoint(host, page), methods=list(page.methods), name=page.name)

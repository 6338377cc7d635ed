"""The API and the dashboard as a FastAPI router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from harken import Harken
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.pages import page_endpoint, page_route
from harken_adapters.hosts.fastapi.schema_models import SCHEMA_PREFIX, models_in
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation.openapi import operation_document
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES, SIGN_IN_FILES, SIGN_IN_PAGES
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import DASHBOARD_FILES, DASHBOARD_PAGES

_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="harken", description="An API key or a session token.")
#: Declares the security scheme in the OpenAPI document of the application. The API itself checks credentials.
_DOCUMENTED: Final = Security(_BEARER)


def feedback_router(harken: Harken, settings: ServerSettings | None = None, *, pages: bool = True) -> APIRouter:
    """The API and the dashboard as a router: ``app.include_router(feedback_router(hk))``.

    Every request needs an API key, created with ``harken keys create`` or ``hk.keys.create``, or a session token. If
    the application controls access itself, use ``ServerSettings(access="open")`` and protect the router:
    ``app.include_router(router, dependencies=[Depends(...)])``.

    The dependencies apply to the dashboard and the pages for signing in, too, but not to their style sheets and
    scripts, which contain no data. Nor do they apply to the widget, such as ``/widget.js``, which is public, and to
    ``/vote/{link}``, the page of feedback links: people who open one from a mail have only the link. Without
    ``token_secrets``, that page responds with 404.

    Args:
        harken: the Harken to serve. The application closes it.
        settings: the settings of the server; by default from ``harken.toml`` and ``HARKEN_SERVER_*``.
        pages: whether to serve the dashboard and the pages for signing in too.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    settings = ServerSettings.load() if settings is None else settings
    host = Host(Api(harken, settings))

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with host.running():
            yield

    # Plain routes would be faster, but would ignore the dependencies with which the application includes the router.
    router = APIRouter(dependencies=[_DOCUMENTED], lifespan=lifespan)
    for operation in OPERATIONS:
        described = operation_document(operation, SCHEMA_PREFIX)
        status = min(operation.answers)
        router.add_api_route(
            operation.path,
            host.endpoint(operation),
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            summary=operation.summary,
            description=operation.description,
            tags=[operation.tag],
            # FastAPI rejects models for responses without a body; other routes have those of the problems.
            response_model=None if status == HTTPStatus.NO_CONTENT else models_in(described),
            # Not JSONResponse, as not all responses are JSON. operation_document describes those that are.
            response_class=Response,
            status_code=status,
            openapi_extra=described,
        )
    for page in (*SIGN_IN_PAGES, *DASHBOARD_PAGES) if pages else ():
        router.add_api_route(
            page.path,
            page_endpoint(host, page),
            methods=list(page.methods),
            name=page.name,
            response_model=None,
            include_in_schema=False,
        )
    files = (*SIGN_IN_FILES, *DASHBOARD_FILES) if pages else ()
    # Plain routes ignore the dependencies.
    router.routes += [page_route(host, page) for page in (*PUBLIC_PAGES, *files)]
    return router

"""The API as a router, for any FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from harken import Harken
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation.openapi import operation_document
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings

_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="harken", description="An API key, or a session token.")
#: Tells the OpenAPI document of whatever application that credentials are taken. They are looked at elsewhere.
_DOCUMENTED: Final = Security(_BEARER)


def feedback_router(harken: Harken, settings: ServerSettings | None = None) -> APIRouter:
    """Harken's API as a router; ``app.include_router(feedback_router(hk))`` is all that an application needs.

    Without settings of its own, it takes ``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*``. Every request needs
    an API key, which ``harken keys create`` or ``hk.keys.create`` creates, or a session token. Where the application
    itself knows who may do what, say so with ``ServerSettings(access="open")``, and guard the router:
    ``app.include_router(router, dependencies=[Depends(...)])``.

    Args:
        harken: stays the application's, which closes it.
        settings: how it is served.

    Raises:
        ConfigurationError: a setting makes no sense.
    """
    host = Host(Api(harken, ServerSettings.load() if settings is None else settings))

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with host.running():
            yield

    # Its own routes would be faster, but would not ask what whoever includes the router wants asked before.
    router = APIRouter(dependencies=[_DOCUMENTED], lifespan=lifespan)
    for operation in OPERATIONS:
        router.add_api_route(
            operation.path,
            host.endpoint(operation),
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            summary=operation.summary,
            description=operation.description,
            tags=[operation.tag],
            response_model=None,
            # What is no JSON must not be described as such; what is gets its description with the rest.
            response_class=Response,
            status_code=min(operation.answers),
            openapi_extra=operation_document(operation),
        )
    return router

"""CORS middleware for the standalone application."""

from __future__ import annotations

from attrs import frozen
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harken_adapters.hosts.fastapi.messages import Answer, raw_headers
from harken_adapters.hosts.http.guards.origins import Origins


@frozen
class Cors:
    """Adds CORS headers to all responses, and answers preflight requests."""

    app: ASGIApp
    origins: Origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. Preflight requests are not passed to the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = {name.decode("latin-1") for name, _ in message["headers"]}
                more = self.origins.headers(headers.get("origin"), sent=sent)
                message["headers"] = [*message["headers"], *raw_headers(more)]
            await send(message)

        preflight = self.origins.preflight(scope["method"], scope["path"], headers.get)
        app = self.app if preflight is None else Answer(preflight, [])
        await app(scope, receive, send_with_headers)

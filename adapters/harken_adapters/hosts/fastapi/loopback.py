"""Protection of ``harken serve --open``, which has no host application."""

from __future__ import annotations

from attrs import frozen
from starlette.types import ASGIApp, Receive, Scope, Send

from harken_adapters.hosts.fastapi.messages import Answer, path_of
from harken_adapters.hosts.http.guards.sources import why_not_local
from harken_adapters.hosts.http.wire.problems import Problem


@frozen
class LoopbackOnly:
    """Rejects requests that do not seem to come directly from a program or page on the local machine.

    This is a heuristic: a proxy may hide all signs of itself. Use API keys if there may be a proxy.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, unless it was forwarded or sent by a page of another origin."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        client = scope.get("client")
        reason = why_not_local(headers, client[0] if client else None, scope["http_version"])
        if reason is None:
            await self.app(scope, receive, send)
            return
        detail = (
            f"Without API keys, only direct requests from localhost are accepted, but {reason}; use API keys instead"
        )
        problem = Problem("forbidden", detail, headers=(("connection", "close"),))
        await Answer(problem.response(path_of(scope)), [])(scope, receive, send)

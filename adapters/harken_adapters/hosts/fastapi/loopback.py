"""What guards ``harken serve --open``, where no host application does."""

from __future__ import annotations

from attrs import frozen
from starlette.types import ASGIApp, Receive, Scope, Send

from harken_adapters.hosts.fastapi.messages import Answer, path_of
from harken_adapters.hosts.http.guards.sources import why_not_local
from harken_adapters.hosts.http.wire.problems import Problem


@frozen
class LoopbackOnly:
    """Refuses requests that do not seem to come directly from a program or page on this machine.

    That is no proof: a proxy may hide all that shows it. Where there may be one, use keys.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it was forwarded or caused by a page of another origin."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        client = scope.get("client")
        reason = why_not_local(headers, client[0] if client else None, scope["http_version"])
        if reason is None:
            await self.app(scope, receive, send)
            return
        detail = f"Without keys only direct requests from this machine are served, but {reason}; use keys instead"
        problem = Problem("forbidden", detail, headers=(("connection", "close"),))
        await Answer(problem.response(path_of(scope)), [])(scope, receive, send)

"""The page instead of the overview, until there is feedback: how to send the first."""

from __future__ import annotations

from typing import Final

from harken_adapters.hosts.http.guards.addresses import is_loopback
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit

WAYS: Final = ("python", "curl", "widget")


def show(visit: Visit, selection: Selection) -> Response:
    """The response with the page."""
    return visit.show(
        "first_feedback.html",
        title="No feedback yet",
        way=selection.choice("from", WAYS),
        address=visit.api.settings.public_url or f"{_origin(visit.request)}{visit.root}",
        frame=frame_of(visit, "Overview", selection, in_any_state=True),
        selection=selection,
        path=visit.home,
    )


def _origin(request: Request) -> str:
    """The origin of the server, as the browser sees it; browsers do not send it with a request for a page.

    They send Sec-Fetch-Site only over TLS and to the same machine.
    """
    host = request.header("host") or "127.0.0.1:8000"
    name = host.rpartition(":")[0] or host
    is_local = name == "localhost" or is_loopback(name)
    return f"{'https' if request.header('sec-fetch-site') and not is_local else 'http'}://{host}"

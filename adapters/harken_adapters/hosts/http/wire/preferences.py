"""The ``Prefer`` header of requests (RFC 7240)."""

from __future__ import annotations

from typing import Final

from harken_adapters.hosts.http.wire.messages import Headers, Request

#: The header of a response with the whole feedback.
REPRESENTED: Final[Headers] = (("preference-applied", "return=representation"),)


def prefers_representation(request: Request) -> bool:
    """Whether the client asks for the whole feedback in the response: ``Prefer: return=representation``.

    Unknown preferences are ignored, and the first of several contradicting ones counts, as the RFC requires.
    """
    for preference in (request.header("prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "return":
            return value.strip().strip('"').lower() == "representation"
    return False

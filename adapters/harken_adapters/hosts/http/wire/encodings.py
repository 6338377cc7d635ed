"""The ``Accept-Encoding`` header of requests (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from harken_adapters.hosts.http.wire.messages import Request

_WEIGHT: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_IDENTITY: Final = "identity"


def preferred_encoding(request: Request, offered: Sequence[str]) -> str:
    """The content coding of the offered ones that the client prefers; empty if the body must not be encoded.

    Of those with the same weight, it is the first one. Without the header, the RFC allows any coding, but many clients
    that do not send it cannot decode any.
    """
    weights = _weights(request.header("accept-encoding") or "")
    best = max(offered, key=lambda name: _weight_of(name, weights))
    weight = _weight_of(best, weights)
    return best if weight > 0 and weight >= weights.get(_IDENTITY, 0) else ""


def _weight_of(name: str, weights: dict[str, float]) -> float:
    return weights.get(name, weights.get("*", 0))


def _weights(header: str) -> dict[str, float]:
    """The weights by content coding. What is invalid is not accepted."""
    weights = {}
    for element in header.lower().split(","):
        name, semicolon, parameter = (part.strip(" \t") for part in element.partition(";"))
        found = _WEIGHT.fullmatch(parameter)
        weights[name] = float(found[1]) if found else 0.0 if semicolon else 1.0
    return weights

"""Idempotency keys: reading them, and telling a repetition that came too soon."""

from __future__ import annotations

from threading import Lock
from typing import Final

from harken_adapters.hosts.http.messages import Headers, Request
from harken_adapters.hosts.http.problems import Problem

HEADER: Final = "idempotency-key"
_RETRY: Final[Headers] = (("retry-after", "1"),)

#: Application, session, author and key. The author is as Python writes it, as nobody has checked yet what was sent.
Place = tuple[str, str, str, str]


def idempotency_key(request: Request) -> str | None:
    """The key that came with a request, bare or in the quotes of a structured field."""
    value = request.header(HEADER)
    if value is not None and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value


class InFlight:
    """The keys whose submissions are being handled in this process.

    Across processes the storage sees to it that a key is kept once; there the later one simply gets the first's answer.
    """

    def __init__(self) -> None:
        self._places: set[Place] = set()
        self._lock = Lock()

    def enter(self, place: Place) -> None:
        """Begin to handle it.

        Raises:
            Problem: it is being handled.
        """
        with self._lock:
            if place not in self._places:
                self._places.add(place)
                return
        detail = "A request with this idempotency key is being handled; ask again in a moment to see what became of it"
        raise Problem("in-flight", detail, headers=_RETRY)

    def leave(self, place: Place) -> None:
        """It was handled."""
        with self._lock:
            self._places.discard(place)

"""Idempotency keys: reading them, and telling a repetition that came too soon."""

from __future__ import annotations

from threading import Lock
from typing import Final

from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.wire.messages import Headers, Request
from harken_adapters.hosts.http.wire.problems import Problem

HEADER: Final = "idempotency-key"
_RETRY: Final[Headers] = (("retry-after", "1"),)
#: Between an agent and its key. Headers have no such character, so no key that is sent can look like another agent's.
_OF_AGENT: Final = " \N{RIGHTWARDS ARROW} "

#: Application, session, author and key. The author is as Python writes it, as nobody has checked yet what was sent.
Place = tuple[str, str, str, str]


def idempotency_key(request: Request, principal: Principal, agent_id: str | None) -> str | None:
    """The key that came with a request about that agent, as it is stored.

    With an API key that is limited to agents it is the agent's own: it is neither refused nor in the way because it is
    used for feedback on another agent, which would tell of that.
    """
    key = _sent(request)
    if key is None or not key.strip() or principal.agents is None:
        return key
    return f"{agent_id}{_OF_AGENT}{key}"


def _sent(request: Request) -> str | None:
    """The key as it was sent, bare or in the quotes of a structured field."""
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

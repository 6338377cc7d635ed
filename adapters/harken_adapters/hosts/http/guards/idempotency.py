"""Idempotency keys: parsing the header, and detecting concurrent requests with the same key."""

from __future__ import annotations

from typing import Final

from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.wire.messages import Headers, Request
from harken_adapters.hosts.http.wire.problems import Problem

HEADER: Final = "idempotency-key"
#: Of a response to a request that was handled before.
REPLAYED: Final[Headers] = (("idempotency-replayed", "true"),)
_RETRY: Final[Headers] = (("retry-after", "1"),)
#: Separates an agent from its key. Headers cannot contain this character, so a key cannot imitate another agent's.
_OF_AGENT: Final = " \N{RIGHTWARDS ARROW} "

#: Application, session, author and key. The author is its ``repr``, as it has not been validated yet.
Place = tuple[str, str, str, str]


def idempotency_key(request: Request, principal: Principal, agent_id: str | None) -> str | None:
    """The idempotency key of a request, as it is stored.

    With an API key that is limited to agents, keys are separate for each agent. Otherwise a conflict would reveal that
    the key was used for feedback about another agent.
    """
    key = _header_value(request)
    if key is None or not key.strip() or principal.agents is None:
        return key
    return f"{agent_id}{_OF_AGENT}{key}"


def _header_value(request: Request) -> str | None:
    """The value of the header, bare or as a quoted string of a structured field."""
    value = request.header(HEADER)
    if value is not None and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value


class InFlight:
    """The idempotency keys of submissions that are in progress in this process.

    Across processes, the storage ensures that a key is stored once, and the later request gets the first one's result.
    """

    def __init__(self) -> None:
        self._places: set[Place] = set()
        self._lock = ForkSafeLock()

    def enter(self, place: Place) -> None:
        """Register a submission.

        Raises:
            Problem: a submission with this key is in progress.
        """
        with self._lock:
            if place not in self._places:
                self._places.add(place)
                return
        detail = "A request with this idempotency key is in progress; retry in a moment to get its result"
        raise Problem("in-flight", detail, headers=_RETRY)

    def leave(self, place: Place) -> None:
        """Unregister a submission that has ended."""
        with self._lock:
            self._places.discard(place)

"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import httpx
from attrs import define

from harken_adapters.client.answers import Answer, Outcome
from harken_adapters.client.calls import Call

#: The first delay, which doubles with each attempt, and the longest one, in seconds.
_FIRST: Final = 0.25
_LONGEST: Final = 8.0
#: A longer Retry-After, in seconds, is left to the caller.
_PATIENCE: Final = 30.0
#: The request was refused before anything was done, or waits for an earlier attempt.
_REFUSED: Final = frozenset({"rate-limited", "overloaded", "in-flight"})
#: The outcome is not known.
_UNKNOWN: Final = frozenset({408, 429, 502, 503, 504})


@define
class Attempts:
    """The attempts of one call.

    Attributes:
        call: the call.
        left: how many more times it may be sent again.
        jitter: returns a number from 0 to 1, by which delays are shortened, so that clients do not return together.
    """

    call: Call[Any]
    left: int
    jitter: Callable[[], float] = random.random
    _delay: float = _FIRST

    def delay_after(self, outcome: Outcome) -> float | None:
        """The seconds to wait before the request is sent again; ``None`` if the outcome is final."""
        if self.left == 0 or not self._may_repeat(outcome):
            return None
        asked = outcome.retry_after if isinstance(outcome, Answer) else None
        delay = max(self._next_delay(), (asked or timedelta()).total_seconds())
        return None if delay > _PATIENCE else delay

    def _may_repeat(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Answer):
            if outcome.kind in _REFUSED:
                return True
            return outcome.status in _UNKNOWN and self.call.is_idempotent
        if isinstance(outcome, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return False
        was_sent = not isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        return self.call.is_idempotent or not was_sent

    def _next_delay(self) -> float:
        self.left -= 1
        delay, self._delay = self._delay, min(2 * self._delay, _LONGEST)
        return delay * (1 - self.jitter() / 2)

"""One clock for all processes: that of the server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from attrs import frozen

from harken.clock import utc_now
from harken.domain.errors import StorageError
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.database import Database

logger = logging.getLogger(__name__)

#: How long a measurement holds, and by how much clocks may drift apart before it is repeated.
_HOLDS: Final = timedelta(minutes=1)
_TOLERANCE: Final = timedelta(seconds=1)


def elapsed() -> timedelta:
    """Monotonic time; it may stand still while the machine sleeps."""
    return timedelta(seconds=monotonic())


@frozen(kw_only=True)
class _Measured:
    """How far the server was ahead of a clock, and what that, the machine's and a stopwatch showed then."""

    ahead: timedelta
    clock: datetime
    machine: datetime
    passed: timedelta


class ServerClock:
    """The server's time: a clock of this process, and how far the server is ahead of it.

    Processes on several machines have to agree on the time, and their own clocks may not.

    A clock that goes as this machine's does is measured again every minute, and at once when the machine's was set or
    has slept. Any other is measured once: a test clock keeps its offset.
    """

    def __init__(
        self,
        database: Database,
        now: Clock,
        *,
        machine: Clock = utc_now,
        passed: Callable[[], timedelta] = elapsed,
    ) -> None:
        self._database = database
        self._now = now
        self._machine = machine
        self._passed = passed
        self._measured = self._measure()

    def __call__(self) -> datetime:
        """The time now."""
        now = self._now()
        if not self._holds(now):
            self._measure_again(now)
            now = self._now()
        return now + self._measured.ahead

    def _holds(self, now: datetime) -> bool:
        measured = self._measured
        machine = self._machine() - measured.machine
        if abs(now - measured.clock - machine) > _TOLERANCE:
            # It is not a clock that shows how time passes here.
            return True
        passed = self._passed() - measured.passed
        return passed < _HOLDS and abs(machine - passed) <= _TOLERANCE

    def _measure(self) -> _Measured:
        asked = self._now()
        told = self._database.time()
        answered = self._now()
        ahead = timedelta(0) if told is None else told - (asked + (answered - asked) / 2)
        return self._noted(ahead, answered)

    def _measure_again(self, now: datetime) -> None:
        before = self._measured
        try:
            self._measured = self._measure()
        except StorageError as error:
            # It goes on as time has passed, and is measured again in a minute.
            logger.info("The server did not tell the time: %s", error)
            time = before.clock + before.ahead + (self._passed() - before.passed)
            self._measured = self._noted(time - now, now)

    def _noted(self, ahead: timedelta, clock: datetime) -> _Measured:
        return _Measured(ahead=ahead, clock=clock, machine=self._machine(), passed=self._passed())


def server_clock(database: Database, now: Clock = utc_now) -> Clock:
    """A clock that shows the server's time, from one of this process; the same one, where there is no server."""
    return ServerClock(database, now) if database.served else now

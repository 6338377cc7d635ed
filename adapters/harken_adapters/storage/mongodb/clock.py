"""The server's clock, which all processes share."""

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

#: How long a measurement is valid, and by how much clocks may drift before it is repeated.
_HOLDS: Final = timedelta(minutes=1)
_TOLERANCE: Final = timedelta(seconds=1)


def elapsed() -> timedelta:
    """Return monotonic time, which may stop while the machine sleeps."""
    return timedelta(seconds=monotonic())


@frozen(kw_only=True)
class _Measured:
    """The offset of the server's clock from a local clock, and the readings of all clocks at the measurement."""

    ahead: timedelta
    clock: datetime
    machine: datetime
    passed: timedelta


class ServerClock:
    """The server's time: the clock of this process plus its measured offset from the server's clock.

    Processes on several machines need a common time, and their own clocks may differ.

    If the given clock follows the machine's, the offset is measured every minute, and at once when the machine's clock
    was set or the machine has slept. For any other clock, such as a test clock, it is measured once.
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
        """Return the current time."""
        now = self._now()
        if not self._holds(now):
            self._measure_again(now)
            now = self._now()
        return now + self._measured.ahead

    def _holds(self, now: datetime) -> bool:
        measured = self._measured
        machine = self._machine() - measured.machine
        if abs(now - measured.clock - machine) > _TOLERANCE:
            # The given clock does not follow the time of this machine.
            return True
        passed = self._passed() - measured.passed
        return passed < _HOLDS and abs(machine - passed) <= _TOLERANCE

    def _measure(self) -> _Measured:
        asked = self._now()
        server = self._database.time()
        answered = self._now()
        ahead = timedelta(0) if server is None else server - (asked + (answered - asked) / 2)
        return self._store(ahead, answered)

    def _measure_again(self, now: datetime) -> None:
        before = self._measured
        try:
            self._measured = self._measure()
        except StorageError as error:
            # The clock continues with the old offset, which is measured again in a minute.
            logger.info("Cannot read the server's time: %s", error)
            time = before.clock + before.ahead + (self._passed() - before.passed)
            self._measured = self._store(time - now, now)

    def _store(self, ahead: timedelta, clock: datetime) -> _Measured:
        return _Measured(ahead=ahead, clock=clock, machine=self._machine(), passed=self._passed())


def server_clock(database: Database, now: Clock = utc_now) -> Clock:
    """Return the server's clock, based on ``now``; ``now`` itself for a simulated server."""
    return ServerClock(database, now) if database.served else now

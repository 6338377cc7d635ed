"""One clock for all processes: that of the server."""

from __future__ import annotations

from datetime import UTC, datetime

from harken.ports.time import Clock
from harken_adapters.storage.mongodb.database import Database


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


def server_clock(database: Database, now: Clock = utc_now) -> Clock:
    """A clock that shows the server's time: by how much the machine's differs is measured once.

    Processes on several machines have to agree on when a mark has run out, and their own clocks may not.
    """
    asked = now()
    told = database.time()
    answered = now()
    if told is None:
        return now
    ahead = told - (asked + (answered - asked) / 2)
    return lambda: now() + ahead

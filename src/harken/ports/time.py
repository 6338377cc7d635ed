"""The ports for the time, new ids and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

#: Returns the current time, aware and in UTC.
Clock = Callable[[], datetime]

#: Returns a new, unique feedback id; later ids sort after earlier ones (as with UUIDv7).
NewId = Callable[[], str]

#: Returns a number from 0 to 1, as ``random.random`` does.
Random = Callable[[], float]

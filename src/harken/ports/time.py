"""What the services ask for the time, for new ids and for chance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

#: The time now, aware and in UTC.
Clock = Callable[[], datetime]

#: A new id that no other feedback has; ids made later sort behind those made before (UUIDv7 does).
NewId = Callable[[], str]

#: A number from 0 to 1, as ``random.random`` gives it.
Random = Callable[[], float]

"""Counts erasures, so that what a process derived from feedback is known to be outdated after one in another."""

from __future__ import annotations

from typing import Final

from harken.ports.state import StateEntry, StateRepository

_KIND: Final = "erasures"


class Erasures:
    """Counts the calls that erase feedback of an application, or replace it by a copy with earlier times.

    All processes on a storage share the count.

    To keep something that was derived from feedback, read the count before the feedback: when the count differs, it
    must be derived again.
    """

    def __init__(self, state: StateRepository) -> None:
        self._state = state

    def count(self, application: str) -> int:
        """The number of calls until now."""
        entry = self._state.get(_KIND, application)
        return entry.version if entry else 0

    def add(self, application: str) -> None:
        """Count a call, after the feedback was erased or replaced.

        Also if nothing was found: an earlier call may have been interrupted between the two steps.
        """
        # If another process is faster, it has counted after this erasure as well.
        self._state.put(_KIND, StateEntry(application, {}, self.count(application) + 1))

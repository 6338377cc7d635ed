"""How storages describe failures."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from harken.domain.errors import StorageError

NOTHING_WRITTEN: Final = "nothing was written"


@frozen
class Failure:
    """A kind of failure.

    Attributes:
        error: the class of its errors.
        what: what happened, as the predicate of a sentence about the storage.
        outcome: what became of the data, if the call was a write; empty if unknown or obvious.
        remedy: what to do, if anything.
    """

    error: type[StorageError]
    what: str
    outcome: str = ""
    remedy: str = ""

    def describe(self, *, writes: bool) -> str:
        """Return the predicate with the remedy, and with the outcome only if the call was a write."""
        more = ", ".join(filter(None, (self.outcome if writes else "", self.remedy)))
        return f"{self.what}; {more}" if more else self.what

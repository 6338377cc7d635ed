"""The port for small stored state: routes that were added at run time, and the state of channels and alert rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from attrs import frozen

from harken.ports.sessions import JsonValue


@frozen
class StateEntry:
    """A small JSON object with a name; ``version`` counts its writes."""

    name: str
    value: Mapping[str, JsonValue]
    version: int = 1


class StateRepository(ABC):
    """Stores small entries by kind and name. There are few, so that all entries of a kind can be read at once.

    Values are copied, never shared with callers. Any thread may call any method at any time. All methods raise
    ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def all(self, kind: str) -> Sequence[StateEntry]:
        """All entries of a kind, sorted by name by code point."""

    @abstractmethod
    def get(self, kind: str, name: str) -> StateEntry | None:
        """The entry with that name; ``None`` if there is none."""

    @abstractmethod
    def put(self, kind: str, entry: StateEntry) -> bool:
        """Store an entry durably, and replace its previous version; version 1 is a new entry.

        Returns ``False``, and stores nothing, if the stored version is not ``entry.version - 1`` (0 if there is none).
        """

    @abstractmethod
    def delete(self, kind: str, name: str) -> bool:
        """Remove an entry of any version durably; ``False`` if there was none."""

"""The port for small stored state: routes that were added at run time, and the state of channels and alert rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from harken.domain.errors import StorageUnavailable
from harken.ports.sessions import JsonValue

#: How often :func:`update` tries while others write the same entry.
_TRIES: Final = 100


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


def update(
    state: StateRepository, kind: str, name: str, change: Callable[[StateEntry | None], Mapping[str, JsonValue]]
) -> StateEntry:
    """Change an entry while other threads and processes may change it too. Returns the entry as it is stored then.

    Args:
        state: where it is stored.
        kind: its kind.
        name: its name.
        change: returns the new value for the stored entry, which is ``None`` if there is none; it is called again if
            another write was faster. If the value is that of the entry, nothing is written.

    Raises:
        StorageUnavailable: other writes of the entry were faster each time.
    """
    for _ in range(_TRIES):
        stored = state.get(kind, name)
        value = change(stored)
        if stored is not None and stored.value == value:
            return stored
        changed = StateEntry(name, value, stored.version + 1 if stored else 1)
        if state.put(kind, changed):
            return changed
    raise StorageUnavailable(f"Other processes keep writing the state of {kind} {name!r}; try again")

"""The state repository in memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from harken.ports.state import StateEntry, StateRepository
from harken_adapters.storage.memory.data import Data


class MemoryStateRepository(StateRepository):
    """State entries in a dictionary; values are copied when they are stored and read."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def all(self, kind: str) -> Sequence[StateEntry]:
        with self._data.locked():
            return [deepcopy(entry) for (of, _), entry in sorted(self._data.state.items()) if of == kind]

    def get(self, kind: str, name: str) -> StateEntry | None:
        with self._data.locked():
            return deepcopy(self._data.state.get((kind, name)))

    def put(self, kind: str, entry: StateEntry) -> bool:
        with self._data.locked():
            stored = self._data.state.get((kind, entry.name))
            if entry.version != (stored.version if stored else 0) + 1:
                return False
            self._data.state[kind, entry.name] = deepcopy(entry)
            return True

    def delete(self, kind: str, name: str) -> bool:
        with self._data.locked():
            return self._data.state.pop((kind, name), None) is not None

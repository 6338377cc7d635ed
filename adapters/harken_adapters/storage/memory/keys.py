"""The repository of API keys in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from harken.domain.access import ApiKey
from harken.ports.keys import KeyRepository
from harken_adapters.storage.memory.data import Data


class MemoryKeyRepository(KeyRepository):
    """API keys in a dictionary."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def add(self, key: ApiKey) -> bool:
        with self._data.locked():
            if key.id in self._data.keys:
                return False
            self._data.keys[key.id] = key
            return True

    def get(self, key_id: str) -> ApiKey | None:
        with self._data.locked():
            return self._data.keys.get(key_id)

    def keys(self) -> Sequence[ApiKey]:
        with self._data.locked():
            return sorted(self._data.keys.values(), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        with self._data.locked():
            if (key := self._data.keys.get(key_id)) is None:
                return None
            self._data.keys[key_id] = revoked = key.revoke(at=at)
            return revoked

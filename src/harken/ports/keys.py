"""The port for stored API keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime

from harken.domain.access import ApiKey

#: Returns that many cryptographically random bytes, as ``secrets.token_bytes`` does.
NewSecret = Callable[[int], bytes]


class KeyRepository(ABC):
    """Stores the API keys of all applications; an id is unique among all of them.

    A stored key is returned equal in every field, times to the microsecond. Any thread may call any method at any time.
    All methods raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def add(self, key: ApiKey) -> bool:
        """Store a key durably; ``False`` if its id is taken, even by an equal key."""

    @abstractmethod
    def get(self, key_id: str) -> ApiKey | None:
        """The key with that id, revoked or not; ``None`` if there is none."""

    @abstractmethod
    def keys(self) -> Sequence[ApiKey]:
        """All keys, revoked ones too, oldest first: by ``created_at``, then by ``id``."""

    @abstractmethod
    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Revoke a key durably, and return it; ``None`` if there is no key with that id.

        A key is revoked once: later calls do not change ``revoked_at``. After this returns, no reader gets the key
        without ``revoked_at``.
        """

"""Where API keys are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime

from harken.domain.access import ApiKey

#: So many bytes that nobody can guess, as ``secrets.token_bytes`` gives them.
NewSecret = Callable[[int], bytes]


class KeyRepository(ABC):
    """Keeps API keys, of all applications together; an id is unique among all of them.

    Whatever goes in comes out equal in every field, times to the microsecond. All methods may be called by any thread
    at any time. All raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def add(self, key: ApiKey) -> bool:
        """Store a key, durably, and say whether that was done: not if its id is taken, by whatever key."""

    @abstractmethod
    def get(self, key_id: str) -> ApiKey | None:
        """The key with that id, revoked or not; ``None`` if there is none."""

    @abstractmethod
    def keys(self) -> Sequence[ApiKey]:
        """All keys, revoked ones too, oldest first: by ``created_at``, then by ``id``."""

    @abstractmethod
    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Revoke a key, durably, and give it as it reads now; ``None`` if there is none with that id.

        A key is revoked once: later calls leave the time of the first. Once this returns, no reader gets the key
        without ``revoked_at``.
        """

"""A cache of authenticated credentials, limited in time and size."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from harken.services.forks import ForkSafeLock

T = TypeVar("T")

#: The size of an entry is at most this, plus some bytes for each character of the credentials.
_ENTRY_BYTES: Final = 2_048
_BYTES_A_CHARACTER: Final = 4


class CredentialCache(Generic[T]):
    """Maps digests of credentials to the result of their authentication. The oldest entries are evicted first.

    The credentials themselves are not stored. The cache is thread-safe.

    Args:
        max_bytes: the maximum total size, as estimated from the length of the credentials.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = ForkSafeLock()
        # By digest: the result, its expiry and its estimated size in bytes.
        self._entries: OrderedDict[bytes, tuple[T, float, int]] = OrderedDict()

    def get(self, digest: bytes, now: float) -> T | None:
        """The result for a digest, or ``None`` if it is unknown or expired."""
        entry = self._entries.get(digest)
        return None if entry is None or entry[1] < now else entry[0]

    def put(self, digest: bytes, found: T, until: float, length: int) -> None:
        """Store the result for credentials of the given length, valid until the given time."""
        size = _ENTRY_BYTES + _BYTES_A_CHARACTER * length
        with self._lock:
            self._forget(self._entries.pop(digest, None))
            self._entries[digest] = found, until, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._forget(self._entries.popitem(last=False)[1])

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _forget(self, entry: tuple[T, float, int] | None) -> None:
        if entry is not None:
            self._bytes -= entry[2]

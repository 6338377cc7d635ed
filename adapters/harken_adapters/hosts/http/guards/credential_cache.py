"""What was learned about credentials, kept for a while and within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: An entry takes at most this and so many bytes for each character of the credentials, which say all that it holds.
_ENTRY_BYTES: Final = 2_048
_BYTES_A_CHARACTER: Final = 4


class CredentialCache(Generic[T]):
    """What credentials turned out to be, up to so many bytes; those that were noted longest ago are forgotten first.

    The credentials themselves are not kept: callers give a digest of them. It is thread-safe.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = Lock()
        # By digest: what they turned out to be, until when that is believed, and how many bytes it counts as.
        self._entries: OrderedDict[bytes, tuple[T, float, int]] = OrderedDict()

    def get(self, digest: bytes, now: float) -> T | None:
        """What is still believed of them."""
        entry = self._entries.get(digest)
        return None if entry is None or entry[1] < now else entry[0]

    def put(self, digest: bytes, found: T, until: float, length: int) -> None:
        """Note what credentials of that length turned out to be."""
        size = _ENTRY_BYTES + _BYTES_A_CHARACTER * length
        with self._lock:
            self._forget(self._entries.pop(digest, None))
            self._entries[digest] = found, until, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._forget(self._entries.popitem(last=False)[1])

    def _forget(self, entry: tuple[T, float, int] | None) -> None:
        if entry is not None:
            self._bytes -= entry[2]

"""Where a session's metadata is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

#: What JSON can say; numbers are finite and integers fit into 64 bits.
JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


class SessionRepository(ABC):
    """Keeps what an application knows of a session: JSON values by name.

    What was handed out or taken in is never shared: changing it changes nothing that is stored. All methods may be
    called by any thread at any time. All raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """All its metadata, sorted by name; empty for a session that has none."""

    @abstractmethod
    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        """Set these keys, durably and atomically, and leave the others as they are.

        The size is checked in the same step, so that updates at the same time cannot pass the limit together.

        Raises:
            InvalidMetadata: the session would have too much, see ``MetadataSize``; nothing was changed.
        """

    @abstractmethod
    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        """Remove these keys, durably and atomically, and say how many there were.

        A single text is one key, and ``None`` is all of them.
        """

    @abstractmethod
    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        """Application, session id and metadata of every session that has any; in constant memory.

        Sorted by application, then by session id, both by code point; the metadata as :meth:`get` gives it when it is
        reached. The storage may be written to meanwhile, also by whoever reads the stream: a session that was there
        all along comes exactly once.
        """

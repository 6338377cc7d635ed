"""The port for stored session metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

#: A JSON value; numbers are finite, and integers fit into 64 bits.
JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


class SessionRepository(ABC):
    """Stores the metadata of sessions: JSON values by name.

    Values are copied: changing one that was passed or returned changes nothing that is stored. Any thread may call any
    method at any time. All methods raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """All metadata of a session, sorted by name; empty if there is none."""

    @abstractmethod
    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        """Set these keys, durably and atomically, and keep the others.

        The size is checked atomically, so that concurrent updates cannot exceed the limit together.

        Raises:
            InvalidMetadata: the session would have too much metadata, see ``MetadataSize``; nothing was changed.
        """

    @abstractmethod
    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        """Remove these keys, durably and atomically; returns how many existed.

        A single text is one key; ``None`` removes all.
        """

    def index(self, names: Iterable[str]) -> None:  # noqa: B027 - most storages need none
        """Index the values of these names, for programs that query the storage directly; may be repeated."""

    @abstractmethod
    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        """Application, session id and metadata of every session that has metadata; in constant memory.

        Sorted by application, then by session id, both by code point; the metadata is what :meth:`get` returns when the
        session is reached. The storage may be written to meanwhile, also by the reader of the stream: a session that
        exists all the time is returned exactly once.
        """

"""The port for stored session metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import frozen

#: A JSON value; numbers are finite, and integers fit into 64 bits.
JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]

#: Returns changed metadata. It has no side effects, and does not modify the dictionary that it gets, or values in it.
ChangeMetadata = Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]


@frozen
class MetadataVersions:
    """The metadata of a session before and after a change, both sorted by name."""

    before: Mapping[str, JsonValue]
    after: Mapping[str, JsonValue]


class SessionRepository(ABC):
    """Stores the metadata of sessions: JSON values by name.

    A name, at every level, is any text without control characters, such as ``a.b`` or ``$set``. Values are copied:
    changing one that was passed or returned changes nothing that is stored. Any thread may call any method at any time.
    All methods raise ``StorageError`` when the storage fails.
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
    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        """Replace the metadata with the result of ``apply``, durably and atomically: no other change is lost.

        ``apply`` gets the present metadata. It may be called several times if the session is changed meanwhile, and
        must not use the storage. If it raises, nothing was changed. The size is checked as in :meth:`update`.

        Raises:
            InvalidMetadata: the session would have too much metadata, see ``MetadataSize``; nothing was changed.
        """

    @abstractmethod
    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        """Remove these keys, durably and atomically; returns how many existed.

        A single text is one key; ``None`` removes all.
        """

    def index(self, paths: Iterable[Sequence[str]]) -> None:  # noqa: B027 - most storages need none
        """Index these values, for programs that query the storage directly; may be repeated.

        Args:
            paths: for each value, its name, after the names of the dictionaries that it is in.
        """

    @abstractmethod
    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        """Application, session id and metadata of every session that has metadata; in constant memory.

        Sorted by application, then by session id, both by code point; the metadata is what :meth:`get` returns when the
        session is reached. The storage may be written to meanwhile, also by the reader of the stream: a session that
        exists all the time is returned exactly once.
        """

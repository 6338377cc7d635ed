"""The repository of session metadata in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

from harken.domain.metadata import MetadataSize
from harken.domain.texts import as_texts
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions, SessionRepository
from harken_adapters.storage.memory.data import Data


class MemorySessionRepository(SessionRepository):
    """Session metadata in dictionaries; values are copied when they are stored and read."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        with self._data.locked():
            return deepcopy(dict(sorted(self._data.metadata.get((application, session_id), {}).items())))

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        with self._data.locked():
            before = self._data.metadata.get((application, session_id), {})
            after = before | deepcopy(dict(changes))
            MetadataSize.of(before).check_growth_to(MetadataSize.of(after))
            self._data.metadata[application, session_id] = after

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        with self._data.locked():
            before = self.get(application, session_id)
            after = dict(sorted(apply(before).items()))
            MetadataSize.of(before).check_growth_to(MetadataSize.of(after))
            if after:
                self._data.metadata[application, session_id] = deepcopy(after)
            else:
                self._data.metadata.pop((application, session_id), None)
            return MetadataVersions(before, after)

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        with self._data.locked():
            metadata = self._data.metadata[application, session_id]
            removed = metadata.keys() & (metadata.keys() if keys is None else set(as_texts(keys)))
            for key in removed:
                del metadata[key]
            if not metadata:
                del self._data.metadata[application, session_id]
            return len(removed)

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        with self._data.locked():
            places = sorted(self._data.metadata)
        for application, session_id in places:
            if metadata := self.get(application, session_id):
                yield application, session_id, metadata

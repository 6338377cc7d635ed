"""Small documents in memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from harken.ports.state import Document, DocumentRepository
from harken_adapters.storage.memory.data import Data


class MemoryDocumentRepository(DocumentRepository):
    """Documents in a dictionary; copies go in and out."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def all(self, kind: str) -> Sequence[Document]:
        """See the port."""
        with self._data.locked():
            return [deepcopy(document) for (of, _), document in sorted(self._data.documents.items()) if of == kind]

    def get(self, kind: str, name: str) -> Document | None:
        """See the port."""
        with self._data.locked():
            return deepcopy(self._data.documents.get((kind, name)))

    def put(self, kind: str, document: Document) -> bool:
        """See the port."""
        with self._data.locked():
            stored = self._data.documents.get((kind, document.name))
            if document.version != (stored.version if stored else 0) + 1:
                return False
            self._data.documents[kind, document.name] = deepcopy(document)
            return True

    def delete(self, kind: str, name: str) -> bool:
        """See the port."""
        with self._data.locked():
            return self._data.documents.pop((kind, name), None) is not None

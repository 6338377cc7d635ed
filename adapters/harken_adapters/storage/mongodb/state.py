"""Small documents in MongoDB."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pymongo.errors import DuplicateKeyError

from harken.ports.state import Document, DocumentRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document as Kept


class MongoDocumentRepository(DocumentRepository):
    """One document for each; its value is JSON text, as names in JSON may be what names in MongoDB may not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._documents = database.documents

    def all(self, kind: str) -> Sequence[Document]:
        """See the port."""
        with self._database.calling():
            found = self._documents.find({"kind": {"$eq": kind}}).sort([("name", 1)]).hint("kind")
            return list(map(_document, found))

    def get(self, kind: str, name: str) -> Document | None:
        """See the port."""
        with self._database.calling():
            found = self._documents.find_one({"_id": {"$eq": _id(kind, name)}})
        return None if found is None else _document(found)

    def put(self, kind: str, document: Document) -> bool:
        """See the port."""
        content = {"value": json.dumps(dict(document.value)), "version": document.version}
        with self._database.calling():
            if document.version == 1:
                return self._insert({"_id": _id(kind, document.name), "kind": kind, "name": document.name, **content})
            before = {"_id": {"$eq": _id(kind, document.name)}, "version": {"$eq": document.version - 1}}
            return bool(self._documents.update_one(before, {"$set": content}).matched_count)

    def delete(self, kind: str, name: str) -> bool:
        """See the port."""
        with self._database.calling():
            return bool(self._documents.delete_one({"_id": {"$eq": _id(kind, name)}}).deleted_count)

    def _insert(self, document: Kept) -> bool:
        try:
            self._documents.insert_one(document)
        except DuplicateKeyError:
            return False
        return True


def _id(kind: str, name: str) -> Kept:
    """The ``_id`` of a document; the order of its fields is part of it."""
    return {"kind": kind, "name": name}


def _document(kept: Kept) -> Document:
    return Document(kept["name"], json.loads(kept["value"]), kept["version"])

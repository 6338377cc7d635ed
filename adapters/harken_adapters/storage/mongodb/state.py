"""State entries in MongoDB."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pymongo.errors import DuplicateKeyError

from harken.ports.state import StateEntry, StateRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document


class MongoStateRepository(StateRepository):
    """Stores each entry as one document, with its value as JSON text, as JSON allows names that MongoDB does not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._documents = database.documents

    def all(self, kind: str) -> Sequence[StateEntry]:
        with self._database.reading():
            found = self._documents.find({"kind": {"$eq": kind}}).sort([("name", 1)]).hint("kind")
            return list(map(_entry, found))

    def get(self, kind: str, name: str) -> StateEntry | None:
        with self._database.reading():
            found = self._documents.find_one({"_id": {"$eq": _id(kind, name)}})
        return None if found is None else _entry(found)

    def put(self, kind: str, entry: StateEntry) -> bool:
        content = {"value": json.dumps(dict(entry.value)), "version": entry.version}
        with self._database.calling():
            if entry.version == 1:
                return self._insert({"_id": _id(kind, entry.name), "kind": kind, "name": entry.name, **content})
            before = {"_id": {"$eq": _id(kind, entry.name)}, "version": {"$eq": entry.version - 1}}
            return bool(self._documents.update_one(before, {"$set": content}).matched_count)

    def delete(self, kind: str, name: str) -> bool:
        with self._database.calling():
            return bool(self._documents.delete_one({"_id": {"$eq": _id(kind, name)}}).deleted_count)

    def _insert(self, document: Document) -> bool:
        try:
            self._documents.insert_one(document)
        except DuplicateKeyError:
            return False
        return True


def _id(kind: str, name: str) -> Document:
    """Return the ``_id`` of a document. The order of its fields is significant."""
    return {"kind": kind, "name": name}


def _entry(document: Document) -> StateEntry:
    return StateEntry(document["name"], json.loads(document["value"]), document["version"])

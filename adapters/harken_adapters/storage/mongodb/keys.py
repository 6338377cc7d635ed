"""API keys in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from harken.domain.access import ApiKey, Scope
from harken.ports.keys import KeyRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, join_time, join_time_or_none, split_time

_OLDEST_FIRST = [("created_at", 1), ("created_us", 1), ("_id", 1)]


class MongoKeyRepository(KeyRepository):
    """Stores each key as one document, whose ``_id`` is the key's id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: ApiKey) -> bool:
        with self._database.calling():
            try:
                self._database.keys.insert_one(_document(key))
            except DuplicateKeyError:
                return False
            return True

    def get(self, key_id: str) -> ApiKey | None:
        with self._database.reading():
            found = self._database.keys.find_one({"_id": {"$eq": key_id}})
        return None if found is None else _key(found)

    def keys(self) -> Sequence[ApiKey]:
        with self._database.reading():
            return [_key(found) for found in self._database.keys.find().sort(_OLDEST_FIRST).hint("age")]

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        good = {"_id": {"$eq": key_id}, "revoked_at": {"$exists": False}}
        with self._database.calling():
            self._database.keys.update_one(good, {"$set": split_time("revoked", at)})
        return self.get(key_id)


def _document(key: ApiKey) -> Document:
    scopes = sorted(scope.value for scope in key.scopes)
    document = {
        "_id": key.id,
        "application": key.application,
        "scopes": scopes,
        "name": key.name,
        "digest": key.digest,
        **split_time("created", key.created_at),
        **({} if key.revoked_at is None else split_time("revoked", key.revoked_at)),
    }
    if key.agents is None:
        return document
    # A process of the previous version, which does not support agents, finds no scopes and grants nothing.
    return {**document, "scopes": [], "agents": sorted(key.agents), "agent_scopes": scopes}


def _key(document: Document) -> ApiKey:
    agents = document.get("agents")
    scopes = document["scopes"] if agents is None else document["agent_scopes"]
    return ApiKey(
        id=document["_id"],
        application=document["application"],
        scopes=frozenset(map(Scope, scopes)),
        name=document["name"],
        digest=document["digest"],
        created_at=join_time(document, "created"),
        revoked_at=join_time_or_none(document, "revoked"),
        agents=None if agents is None else frozenset(agents),
    )

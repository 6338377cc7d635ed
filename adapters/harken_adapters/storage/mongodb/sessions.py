"""Session metadata in MongoDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pymongo.errors import DuplicateKeyError

from harken.domain.errors import StorageUnavailable
from harken.domain.metadata import MetadataSize
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue, SessionRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document

_CHUNK: Final = 1_000


#: Of concurrent updates of one session, one always succeeds. The others are retried, but only this many times.
_TRIES: Final = 1_000


class MongoSessionRepository(SessionRepository):
    """Stores the metadata of each session as one document. The rules exclude names with dots and dollar signs.

    ``revision`` increases with every update. An update that was checked against an older revision is checked again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexed: set[str] = set()

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        with self._database.reading():
            found = self._database.sessions.find_one(_session(application, session_id))
        return _sort(found) if found else {}

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        if not changes:
            return
        with self._database.calling():
            for _ in range(_TRIES):
                if self._update(application, session_id, changes):
                    return
        raise StorageUnavailable(f"{self._database.name} has a session whose metadata keeps changing; try again")

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        session = _session(application, session_id)
        with self._database.calling():
            if keys is None:
                before = self._database.sessions.find_one_and_delete(session)
                return len(before["metadata"]) if before else 0
            names = set(as_texts(keys))
            if not names:
                return 0
            removed = {f"metadata.{name}": "" for name in names}
            before = self._database.sessions.find_one_and_update(session, {"$unset": removed})
            if before is None:
                return 0
            deleted = len(names & before["metadata"].keys())
            if deleted == len(before["metadata"]):
                self._database.sessions.delete_one({**session, "metadata": {}})
            return deleted

    def index(self, names: Iterable[str]) -> None:
        new = set(names) - self._indexed
        if not new:
            return
        with self._database.calling():
            for name in sorted(new):
                self._database.sessions.create_index([("application", 1), (f"metadata.{name}", 1)])
        self._indexed |= new

    def _update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> bool:
        """Apply the changes. Returns ``False`` if the session was changed by another process in between."""
        session = _session(application, session_id)
        found = self._database.sessions.find_one(session)
        before = found["metadata"] if found else {}
        MetadataSize.of(before).check_growth_to(MetadataSize.of({**before, **changes}))
        if found is None:
            new = {"application": application, "session_id": session_id, "metadata": dict(changes), "revision": 1}
            try:
                self._database.sessions.insert_one(new)
            except DuplicateKeyError:
                return False
            return True
        # Metadata written by the previous version has no revision.
        as_found = {**session, "_id": found["_id"], "revision": found.get("revision")}
        values = {f"metadata.{name}": value for name, value in changes.items()}
        change = {"$set": values, "$inc": {"revision": 1}}
        return bool(self._database.sessions.update_one(as_found, change).matched_count)

    def stream(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        place: Document = {}
        while True:
            with self._database.reading():
                chunk = list(
                    self._database.sessions.find(place).sort([("application", 1), ("session_id", 1)]).limit(_CHUNK)
                )
            yield from ((one["application"], one["session_id"], _sort(one)) for one in chunk if one["metadata"])
            if len(chunk) < _CHUNK:
                return
            place = _after(chunk[-1])


def _session(application: str, session_id: str) -> Document:
    return {"application": {"$eq": application}, "session_id": {"$eq": session_id}}


def _after(last: Document) -> Document:
    application = last["application"]
    return {
        "$or": [
            {"application": {"$gt": application}},
            {"application": {"$eq": application}, "session_id": {"$gt": last["session_id"]}},
        ]
    }


def _sort(found: Document) -> dict[str, JsonValue]:
    return dict(sorted(found["metadata"].items()))

"""Session metadata in MongoDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from harken.domain.errors import StorageUnavailable
from harken.domain.metadata import MetadataSize
from harken.domain.texts import as_texts
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions, SessionRepository
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document

_CHUNK: Final = 1_000


#: Of concurrent updates of one session, one always succeeds. The others are retried, but only this many times.
_TRIES: Final = 1_000


class MongoSessionRepository(SessionRepository):
    """Stores the metadata of each session as one document.

    Names have no dots and dollar signs there, which have a meaning in queries: they are percent-encoded, ``a.b`` as
    ``a%2Eb``. ``revision`` increases with every change. A change that was computed from an older revision is computed
    again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexed: set[str] = set()

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        with self._database.reading():
            found = self._database.sessions.find_one(_session(application, session_id))
        return _sort(found) if found else {}

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        if changes:
            self.change(application, session_id, lambda before: {**before, **changes})

    def change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions:
        with self._database.calling():
            for _ in range(_TRIES):
                if versions := self._change(application, session_id, apply):
                    return versions
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
            removed = {_place(name): "" for name in names}
            change = {"$unset": removed, "$inc": {"revision": 1}}
            before = self._database.sessions.find_one_and_update(session, change)
            if before is None:
                return 0
            deleted = len(names & _sort(before).keys())
            if deleted == len(before["metadata"]):
                self._database.sessions.delete_one({**session, "metadata": {}})
            return deleted

    def index(self, paths: Iterable[Sequence[str]]) -> None:
        new = {_place(*path) for path in paths} - self._indexed
        if not new:
            return
        with self._database.calling():
            for place in sorted(new):
                self._database.sessions.create_index([("application", 1), (place, 1)])
        self._indexed |= new

    def _change(self, application: str, session_id: str, apply: ChangeMetadata) -> MetadataVersions | None:
        """Apply a change. Returns ``None`` if the session was changed by another process in between."""
        session = _session(application, session_id)
        found = self._database.sessions.find_one(session)
        before = _sort(found) if found else {}
        after = dict(sorted(apply(before).items()))
        MetadataSize.of(before).check_growth_to(MetadataSize.of(after))
        # Values that are the same objects were not changed.
        changed = {name: _encode(value) for name, value in after.items() if before.get(name, ...) is not value}
        removed = before.keys() - after.keys()
        if found:
            # Metadata written by earlier versions has no revision.
            as_found = {**session, "_id": found["_id"], "revision": found.get("revision")}
            is_done = self._write(as_found, changed, removed, is_empty=not after)
        else:
            is_done = not after or self._insert(application, session_id, changed)
        return MetadataVersions(before, after) if is_done else None

    def _write(
        self, as_found: Document, changed: Mapping[str, JsonValue], removed: Iterable[str], *, is_empty: bool
    ) -> bool:
        """Write a change to a session, unless it was changed in between. Returns whether it was written."""
        if is_empty:
            return bool(self._database.sessions.delete_one(as_found).deleted_count)
        change: Document = {"$inc": {"revision": 1}}
        if changed:
            change["$set"] = {_place(name): value for name, value in changed.items()}
        if unset := {_place(name): "" for name in removed}:
            change["$unset"] = unset
        return bool(self._database.sessions.update_one(as_found, change).matched_count)

    def _insert(self, application: str, session_id: str, metadata: Mapping[str, JsonValue]) -> bool:
        """Insert a session, unless it exists. Returns whether it was inserted."""
        encoded = {_escape(name): value for name, value in metadata.items()}
        new = {"application": application, "session_id": session_id, "metadata": encoded, "revision": 1}
        try:
            self._database.sessions.insert_one(new)
        except DuplicateKeyError:
            return False
        return True

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
    return dict(sorted(_decode(found["metadata"]).items()))


def _place(*path: str) -> str:
    """The place of a value in the document of its session."""
    return ".".join(("metadata", *map(_escape, path)))


def _escape(name: str) -> str:
    return name.replace("%", "%25").replace(".", "%2E").replace("$", "%24")


def _unescape(name: str) -> str:
    return name.replace("%24", "$").replace("%2E", ".").replace("%25", "%")


def _encode(value: Any) -> Any:
    """A copy of a value, with the names of dictionaries escaped."""
    if isinstance(value, dict):
        return {_escape(name): _encode(inner) for name, inner in value.items()}
    return [_encode(item) for item in value] if isinstance(value, list) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {_unescape(name): _decode(inner) for name, inner in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value

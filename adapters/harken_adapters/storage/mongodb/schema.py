"""Collections, indexes and validation, as numbered migrations. A change is a new migration at the end, never an edit.

Every unique index begins with ``application, session_id``, so that feedback can be sharded by
``{application: 1, session_id: "hashed"}``; the index of ``_id`` is MongoDB's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any, Final
from uuid import uuid4

from pymongo.errors import DuplicateKeyError, OperationFailure

from harken.domain.errors import StorageIncompatible, StorageUnavailable
from harken_adapters.storage.mongodb.database import PREFIX, Database

_SCHEMA: Final = "schema"
#: How long other processes wait for one that died while migrating.
_LOCKED: Final = timedelta(seconds=60)
_PAUSE: Final = 0.05
#: How many seconds the creation of an index may take, as the server reads all documents.
_BUILDING: Final = 3_600.0
_INDEX_NOT_FOUND: Final = 27

_Indexes = Mapping[str, Mapping[str, tuple[tuple[tuple[str, int], ...], Mapping[str, Any]]]]

_PLACE: Final = (("created_at", 1), ("created_us", 1), ("id", 1))

#: By collection and index name: the fields in order, and the options of the index.
_INDEXES: Final[_Indexes] = {
    "feedback": {
        "key": (
            (("application", 1), ("session_id", 1), ("idempotency_key", 1)),
            {"unique": True, "partialFilterExpression": {"idempotency_key": {"$exists": True}}},
        ),
        "vote": (
            (("application", 1), ("session_id", 1), ("message_id", 1), ("author", 1)),
            {"unique": True, "partialFilterExpression": {"vote": True, "author": {"$exists": True}}},
        ),
        "time": ((("application", 1), *_PLACE), {}),
        "session": ((("application", 1), ("session_id", 1), *_PLACE), {}),
        "agent": ((("application", 1), ("agent_id", 1), *_PLACE), {}),
        "author": (
            (("application", 1), ("author", 1), *_PLACE),
            {"partialFilterExpression": {"author": {"$exists": True}}},
        ),
        "pending": ((("application", 1), *_PLACE), {"partialFilterExpression": {"status": "pending"}}),
        "waiting": ((("events.order", 1),), {"partialFilterExpression": {"events.order": {"$exists": True}}}),
    },
    "sessions": {"session": ((("application", 1), ("session_id", 1)), {"unique": True})},
    "deliveries": {
        "due": ((("state", 1), ("due", 1), ("_id", 1)), {}),
        "feedback": ((("application", 1), ("feedback_id", 1)), {}),
    },
    "days": {"day": ((("application", 1), ("day", 1)), {})},
    "figures": {
        "day": ((("application", 1), ("day", 1)), {}),
        "agent": ((("application", 1), ("agent_id", 1), ("day", 1)), {}),
    },
}

_LATER_INDEXES: Final[_Indexes] = {
    # Only for changed feedback, so that a submission writes nothing here.
    "feedback": {
        "changed": (
            (("application", 1), ("updated_at", 1), ("updated_us", 1), ("id", 1)),
            {"partialFilterExpression": {"version": {"$gt": 1}}},
        ),
    },
    "keys": {"age": ((("created_at", 1), ("created_us", 1), ("_id", 1)), {})},
}

_WAITING: Final = ((("events.order", 1),), {"partialFilterExpression": {"events.order": {"$exists": True}}})
_RAISED: Final = (("raised_at", 1), ("raised_us", 1), ("id", 1))

_INDEXES_FOR_RELAYS: Final[_Indexes] = {
    "deliveries": {"claims": ((("channel", 1), ("state", 1), ("due", 1), ("_id", 1)), {})},
    "alerts": {
        "time": ((("application", 1), *_RAISED), {}),
        "rule": ((("application", 1), ("rule", 1), *_RAISED), {}),
        "subject": ((("application", 1), ("rule", 1), ("by", 1), ("value", 1), *_RAISED), {}),
        "standing": ((("application", 1), *_RAISED), {"partialFilterExpression": {"standing": True}}),
        "waiting": _WAITING,
    },
    "documents": {"kind": ((("kind", 1), ("name", 1)), {})},
}

_AGENT: Final = (("application", 1), ("session_id", 1), ("agent_id", 1))

_INDEXES_FOR_CONVERSATIONS: Final[_Indexes] = {
    "agents": {"agent": (_AGENT, {"unique": True})},
    "messages": {"message": ((*_AGENT, ("number", 1)), {"unique": True})},
}

#: An idempotency key belongs to its author. The server indexes a missing author as null, so feedback without an author
#: has separate keys.
_INDEXES_BY_AUTHOR: Final[_Indexes] = {
    "feedback": {
        "author_key": (
            (("application", 1), ("session_id", 1), ("idempotency_key", 1), ("author", 1)),
            {"unique": True, "partialFilterExpression": {"idempotency_key": {"$exists": True}}},
        ),
    },
}

#: For ``pending`` or ``waiting``; before version 6.0 the server does not support ``$in`` here.
_OPEN: Final = {"state": {"$gte": "pending"}}

_INDEXES_FOR_ERASURES: Final[_Indexes] = {
    "deliveries": {
        "order": (
            (("channel", 1), ("application", 1), ("feedback_id", 1), ("event.version", 1)),
            {"partialFilterExpression": {**_OPEN, "feedback_id": {"$exists": True}}},
        ),
        "alert_order": (
            (("channel", 1), ("application", 1), ("alert_id", 1), ("event.version", 1)),
            {"partialFilterExpression": {**_OPEN, "alert_id": {"$exists": True}}},
        ),
        "again": ((("channel", 1), ("again", 1)), {"partialFilterExpression": {"state": "waiting"}}),
    },
    "alerts": {
        "feedback": ((("application", 1), ("feedback_ids", 1)), {}),
        "about": ((("application", 1), ("by", 1), ("value", 1)), {}),
    },
    "erasures": {
        "feedback": ((("application", 1), ("id", 1)), {}),
        "session": ((("application", 1), ("event.session_id", 1)), {}),
        # The server removes completed plans when no call can still be raising an alert about the feedback.
        "done": ((("done_at", 1),), {"expireAfterSeconds": 600}),
    },
}

_INDEXES_FOR_LISTS: Final[_Indexes] = {
    "deliveries": {
        "list": (
            (("application", 1), ("channel", 1), ("state", 1), ("due", 1), ("_id", 1), ("event.type", 1)),
            {},
        ),
        # Only for dead deliveries, so that one that arrives writes nothing here.
        "dead": (
            (("state", 1), ("application", 1), ("channel", 1), ("cause", 1), ("due", 1), ("_id", 1)),
            {"partialFilterExpression": {"state": "dead"}},
        ),
        "alert": (
            (("application", 1), ("alert_id", 1)),
            {"partialFilterExpression": {"alert_id": {"$exists": True}}},
        ),
    },
}

_TEXT: Final = {"bsonType": "string"}
_MOMENT: Final = {"bsonType": "date"}
_WHOLE: Final = {"bsonType": ["int", "long"]}
_LOST: Final = {"bsonType": "int", "minimum": 0, "maximum": 999}
_RATING: Final = {"enum": ["up", "down", None]}
_STATUS: Final = {"enum": ["pending", "approved", "rejected"]}


def _documents(required: Mapping[str, Any], optional: Mapping[str, Any]) -> dict[str, Any]:
    return {"bsonType": "object", "required": list(required), "properties": {**required, **optional}}


_VALIDATION: Final = {
    "feedback": _documents(
        {
            "application": _TEXT,
            "id": _TEXT,
            "session_id": _TEXT,
            "rating": _RATING,
            "comment": _TEXT,
            "comment_length": _WHOLE,
            "status": _STATUS,
            "created_at": _MOMENT,
            "created_us": _LOST,
            "slot": _WHOLE,
            "updated_at": _MOMENT,
            "updated_us": _LOST,
            "version": {**_WHOLE, "minimum": 1},
            "fingerprint": _TEXT,
        },
        {
            "message_id": _TEXT,
            "agent_id": _TEXT,
            "author": _TEXT,
            "idempotency_key": _TEXT,
            "tags": {"bsonType": "array", "items": _TEXT},
            "context": {"bsonType": "object"},
            "labels": {"bsonType": "object", "additionalProperties": _TEXT},
            "polarity": {**_WHOLE, "minimum": -1_000_000, "maximum": 1_000_000},
            "subjectivity": {**_WHOLE, "minimum": 0, "maximum": 1_000_000},
            "reply": _TEXT,
            "withdrawn_at": _MOMENT,
            "withdrawn_us": _LOST,
            "vote": {"enum": [True]},
            "revisions": {"bsonType": "array"},
            "later_keys": {"bsonType": "array"},
            "events": {"bsonType": "array"},
        },
    ),
    "sessions": _documents({"application": _TEXT, "session_id": _TEXT, "metadata": {"bsonType": "object"}}, {}),
    "deliveries": _documents(
        {
            "application": _TEXT,
            "feedback_id": _TEXT,
            "channel": _TEXT,
            "state": {"enum": ["pending", "delivered", "dead"]},
            "attempts": _WHOLE,
            "due": _WHOLE,
        },
        {"leased_until": _WHOLE, "error": _TEXT},
    ),
    "days": _documents({"application": _TEXT, "day": _WHOLE}, {"dirty": {"bsonType": "array", "items": _WHOLE}}),
    "figures": _documents({"application": _TEXT, "day": _WHOLE, "edition": _TEXT}, {}),
}


_KEYS: Final = _documents(
    {
        "_id": _TEXT,
        "application": _TEXT,
        "scopes": {"bsonType": "array", "items": _TEXT},
        "name": _TEXT,
        "digest": _TEXT,
        "created_at": _MOMENT,
        "created_us": _LOST,
    },
    {"revoked_at": _MOMENT, "revoked_us": _LOST},
)

#: A key that is limited to agents has its scopes in a separate field, and none in the old one.
_KEYS_WITH_AGENTS: Final = {
    **_KEYS,
    "properties": {
        **_KEYS["properties"],
        "agents": {"bsonType": "array", "items": _TEXT},
        "agent_scopes": {"bsonType": "array", "items": _TEXT},
    },
    "dependencies": {"agents": ["agent_scopes"]},
}

_ALERTS: Final = _documents(
    {
        "application": _TEXT,
        "id": _TEXT,
        "rule": _TEXT,
        "kind": _TEXT,
        "by": _TEXT,
        "value": _TEXT,
        "message": _TEXT,
        "figures": {"bsonType": "array"},
        "feedback_ids": {"bsonType": "array", "items": _TEXT},
        "began_at": _MOMENT,
        "began_us": _LOST,
        "raised_at": _MOMENT,
        "raised_us": _LOST,
        "version": {**_WHOLE, "minimum": 1},
    },
    {
        "standing": {"enum": [True]},
        "resolved_at": _MOMENT,
        "resolved_us": _LOST,
        "events": {"bsonType": "array"},
    },
)

_SMALL_DOCUMENTS: Final = _documents(
    {"kind": _TEXT, "name": _TEXT, "value": _TEXT, "version": {**_WHOLE, "minimum": 1}}, {}
)

_AGENTS: Final = _documents({"application": _TEXT, "session_id": _TEXT, "agent_id": _TEXT, "value": _TEXT}, {})
_MESSAGES: Final = _documents(
    {"application": _TEXT, "session_id": _TEXT, "agent_id": _TEXT, "number": {**_WHOLE, "minimum": 0}, "value": _TEXT},
    {},
)

#: Like the first version, with optional alerts and the time of a replay.
_DELIVERIES: Final = {
    **_documents(
        {
            "application": _TEXT,
            "event": {"bsonType": "object"},
            "channel": _TEXT,
            "state": {"enum": ["pending", "delivered", "dead"]},
            "attempts": _WHOLE,
            "due": _WHOLE,
        },
        {
            "feedback_id": _TEXT,
            "alert_id": _TEXT,
            "attempts_before": _WHOLE,
            "leased_until": _WHOLE,
            "error": _TEXT,
        },
    ),
    "oneOf": [{"required": ["feedback_id"]}, {"required": ["alert_id"]}],
}

#: Like the previous version, with blocked deliveries and deliveries that wait for the end of a claim.
_DELIVERIES_IN_ORDER: Final = {
    **_DELIVERIES,
    "properties": {
        **_DELIVERIES["properties"],
        "state": {"enum": ["pending", "waiting", "delivered", "dead"]},
        "again": _WHOLE,
        "awaits": _TEXT,
        "certain": {"enum": [False]},
    },
}

#: Like the previous version, with the latest attempts, and with the cause of dead ones.
_DELIVERIES_WITH_HISTORY: Final = {
    **_DELIVERIES_IN_ORDER,
    "properties": {**_DELIVERIES_IN_ORDER["properties"], "history": {"bsonType": "array"}, "cause": _TEXT},
}

#: Like the first version, with the notified channels.
_FEEDBACK_NOTIFIED: Final = {
    **_VALIDATION["feedback"],
    "properties": {**_VALIDATION["feedback"]["properties"], "notified": {"bsonType": "array", "items": _TEXT}},
}

_ERASURES: Final = _documents(
    {
        "application": _TEXT,
        "id": _TEXT,
        "batch": {"bsonType": "objectId"},
        "planned_at": _MOMENT,
        "event": {"bsonType": "object"},
    },
    {"notified": {"bsonType": "array", "items": _TEXT}, "done_at": _MOMENT},
)


#: Like the first version, with counts of terms.
_DAYS_WITH_TERMS: Final = {
    **_VALIDATION["days"],
    "properties": {
        **_VALIDATION["days"]["properties"],
        "published": _WHOLE,
        "terms": {"bsonType": "binData"},
        "terms_marks": _WHOLE,
        "tokenizer": _WHOLE,
    },
}


#: Segments of the index of comments.
_COMMENT_SEGMENTS: Final = _documents(
    {"application": _TEXT, "since": _WHOLE, "until": _WHOLE, "version": _WHOLE},
    {"begun": _MOMENT, "entries": _WHOLE, "times": {"bsonType": "binData"}, "words": {"bsonType": "object"}},
)
_WITH_OPEN_UNTIL: Final = {"open_until": {"$exists": True}}
_INDEXES_FOR_SEARCH: Final[_Indexes] = {
    "comment_segments": {"time": ((("application", 1), ("until", 1), ("since", 1)), {})},
    # The days with an open mark, in which nothing is indexed.
    "days": {"open": ((("application", 1), ("open_until", 1)), {"partialFilterExpression": _WITH_OPEN_UNTIL})},
}


def _first(database: Database) -> None:
    for name, schema in _VALIDATION.items():
        with database.calling():
            _create(database, name, schema)
    _index(database, _INDEXES)


def _changes_and_keys(database: Database) -> None:
    with database.calling():
        _create(database, "keys", _KEYS)
    _index(database, _LATER_INDEXES)


def _relays_and_alerts(database: Database) -> None:
    for name, schema in (("deliveries", _DELIVERIES), ("alerts", _ALERTS), ("documents", _SMALL_DOCUMENTS)):
        with database.calling():
            _create(database, name, schema)
    _index(database, _INDEXES_FOR_RELAYS)


def _conversations(database: Database) -> None:
    for name, schema in (("agents", _AGENTS), ("messages", _MESSAGES)):
        with database.calling():
            _create(database, name, schema)
    _index(database, _INDEXES_FOR_CONVERSATIONS)


def _authors_and_agents(database: Database) -> None:
    with database.calling():
        _create(database, "keys", _KEYS_WITH_AGENTS)
    # The new index is created before the old one is dropped, so that a key is always unique.
    _index(database, _INDEXES_BY_AUTHOR)
    _drop_index(database, "feedback", "key")


def _erasures_and_order(database: Database) -> None:
    schemas = (("deliveries", _DELIVERIES_IN_ORDER), ("feedback", _FEEDBACK_NOTIFIED), ("erasures", _ERASURES))
    for name, schema in schemas:
        with database.calling():
            _create(database, name, schema)
    _index(database, _INDEXES_FOR_ERASURES)


def _counts_of_terms(database: Database) -> None:
    # Also refuses earlier versions, whose erasures would leave the counts of terms.
    with database.calling():
        _create(database, "days", _DAYS_WITH_TERMS)


def _attempts(database: Database) -> None:
    with database.calling():
        _create(database, "deliveries", _DELIVERIES_WITH_HISTORY)
    _index(database, _INDEXES_FOR_LISTS)
    if database.served:
        with database.calling(timeout=_BUILDING):
            cause = {"$set": {"cause": {"$substrCP": ["$error", 0, 100]}}}
            without = {"state": "dead", "cause": {"$exists": False}, "error": {"$gt": ""}}
            database.deliveries.update_many(without, [cause])


def _comment_index(database: Database) -> None:
    # Also refuses earlier versions, whose changes would not reach the index.
    with database.calling():
        _create(database, "comment_segments", _COMMENT_SEGMENTS)
    _index(database, _INDEXES_FOR_SEARCH)


_MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (
    _first,
    _changes_and_keys,
    _relays_and_alerts,
    _conversations,
    _authors_and_agents,
    _erasures_and_order,
    _counts_of_terms,
    _attempts,
    _comment_index,
)


def prepare(database: Database) -> None:
    """Migrate the database to the current version: one process at a time, in steps that can be repeated.

    Raises:
        StorageIncompatible: the collections were not created by Harken, or by a newer version.
        StorageUnavailable: another process is still migrating.
    """
    if _version(database) == len(_MIGRATIONS):
        return
    token = _lock(database)
    try:
        done = _version(database)
        for number, migration in enumerate(_MIGRATIONS[done:], start=done + 1):
            migration(database)
            _note(database, {"_id": _SCHEMA}, {"$set": {"version": number}})
    finally:
        _note(database, {"_id": _SCHEMA, "holder": token}, {"$unset": {"holder": "", "locked_until": ""}})


def _note(database: Database, which: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Change the stored state of the schema. Returns whether it was as expected."""
    with database.calling():
        return bool(database.meta.update_one(which, change).matched_count)


def _version(database: Database) -> int:
    with database.reading():
        found = database.meta.find_one({"_id": _SCHEMA})
    if found is None:
        return _begin(database)
    version: int = found["version"]
    if version > len(_MIGRATIONS):
        raise StorageIncompatible(
            f"{database.name} was created by a newer version of Harken (schema version {version}, supported: "
            f"{len(_MIGRATIONS)}) and was left untouched; update Harken"
        )
    return version


def _begin(database: Database) -> int:
    with database.reading():
        foreign = sorted(database.collection_names() - {f"{PREFIX}meta"})
    if foreign:
        raise StorageIncompatible(
            f"{database.name} has {', '.join(foreign)}, which Harken did not create; "
            "nothing was changed, choose another database"
        )
    with database.calling(), suppress(DuplicateKeyError):
        database.meta.insert_one({"_id": _SCHEMA, "version": 0})
        return 0
    # Another process was faster.
    return _version(database)


def _lock(database: Database) -> str:
    """Take the lock. Returns the value that identifies its owner."""
    token = uuid4().hex
    deadline = monotonic() + database.timeout
    while True:
        # The driver expects dates in UTC without a time zone.
        now = datetime.now(UTC).replace(tzinfo=None)
        free = {"_id": _SCHEMA, "$or": [{"holder": {"$exists": False}}, {"locked_until": {"$lt": now}}]}
        taken = {"$set": {"holder": token, "locked_until": now + _LOCKED}}
        if _note(database, free, taken):
            return token
        if monotonic() > deadline:
            raise StorageUnavailable(f"{database.name} is still being migrated by another process; try again later")
        sleep(_PAUSE)


def _index(database: Database, indexes: _Indexes) -> None:
    for collection, named in indexes.items():
        for name, (fields, options) in named.items():
            with database.calling(timeout=_BUILDING):
                database.collection(collection).create_index(list(fields), name=name, **options)


def _drop_index(database: Database, collection: str, name: str) -> None:
    """Remove an index if it exists: a process that died, or a concurrent one, may have removed it."""
    with database.calling():
        try:
            database.collection(collection).drop_index(name)
        except OperationFailure as error:
            if error.code != _INDEX_NOT_FOUND:
                raise


def _create(database: Database, name: str, schema: Mapping[str, Any]) -> None:
    """Create a collection that validates documents against the schema. A simulated server does not validate."""
    if not database.served:
        return
    if PREFIX + name not in database.collection_names():
        database.command("create", name)
    database.command("collMod", name, validator={"$jsonSchema": schema}, validationLevel="strict")

"""Conversations in MongoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby

from pymongo import collection as driver
from pymongo.errors import BulkWriteError, DuplicateKeyError

from harken.ports.conversations import ConversationRepository, JsonObject
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.documents import Document
from harken_adapters.storage.mongodb.errors import only_duplicate_keys


class MongoConversationRepository(ConversationRepository):
    """Stores each agent and each message as one document.

    Values are stored as JSON text, as JSON allows names that MongoDB does not, and text may not be valid Unicode.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._agents = database.collection("agents")
        self._messages = database.collection("messages")

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        with self._database.reading():
            found = self._agents.find(_session(application, session_id)).sort([("agent_id", 1)]).hint("agent")
            return {one["agent_id"]: json.loads(one["value"]) for one in found}

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        with self._database.reading():
            found = self._agents.find_one(_agent(application, session_id, agent_id))
        return None if found is None else _value(found)

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        which = _agent(application, session_id, agent_id)
        state = {"value": json.dumps(value)}
        with self._database.calling():
            if replace:
                self._agents.update_one(which, {"$set": state}, upsert=True)
                return True
            try:
                return self._agents.update_one(which, {"$setOnInsert": state}, upsert=True).upserted_id is not None
            except DuplicateKeyError:  # Another process has just stored one.
                return False

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        with self._database.calling():
            try:
                self._messages.insert_one(_document(application, session_id, agent_id, number, message))
            except DuplicateKeyError:
                return False
        return True

    def append_in_order(
        self, application: str, session_id: str, agent_id: str, messages: Sequence[tuple[int, JsonObject]]
    ) -> int:
        documents = [_document(application, session_id, agent_id, number, message) for number, message in messages]
        with self._database.calling():
            try:
                self._messages.insert_many(documents, ordered=True)
            except BulkWriteError as error:
                return only_duplicate_keys(error)[0]
        return len(documents)

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> bool:
        which = {**_agent(application, session_id, agent_id), "number": {"$eq": number}}
        with self._database.calling():
            return bool(self._messages.update_one(which, {"$set": {"value": json.dumps(message)}}).matched_count)

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        with self._database.reading():
            return sorted(self._messages.distinct("agent_id", _session(application, session_id)))

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        if limit < 1:
            return []
        which = {**_agent(application, session_id, agent_id), "number": {"$gt": after}}
        with self._database.reading():
            found = self._messages.find(which).sort([("number", 1)]).limit(limit).hint("message")
            return [(one["number"], _value(one)) for one in at_once(found, limit)]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        session = _session(application, session_id)
        which = session if agent_id is None else _agent(application, session_id, agent_id)
        with self._database.reading():
            return self._messages.count_documents(which, hint="message")

    def erase(self, application: str, session_id: str) -> int:
        session = _session(application, session_id)
        with self._database.calling():
            # The agents are deleted last: while they exist, the session is listed, and the erasure can be repeated.
            erased = self._messages.delete_many(session).deleted_count
            self._agents.delete_many(session)
        return erased

    def sessions(self) -> Iterator[tuple[str, str]]:
        both = merge(self._sessions_in(self._agents), self._sessions_in(self._messages))
        return (session for session, _ in groupby(both))

    def _sessions_in(self, collection: driver.Collection[Document]) -> Iterator[tuple[str, str]]:
        """Yield each session once, jumping from the first document of one session to the first of the next."""
        place: Document = {}
        while True:
            with self._database.reading():
                found = collection.find_one(place, sort=[("application", 1), ("session_id", 1)])
            if found is None:
                return
            application, session_id = found["application"], found["session_id"]
            yield application, session_id
            place = {
                "$or": [
                    {"application": {"$gt": application}},
                    {"application": {"$eq": application}, "session_id": {"$gt": session_id}},
                ]
            }


def _session(application: str, session_id: str) -> Document:
    return {"application": {"$eq": application}, "session_id": {"$eq": session_id}}


def _agent(application: str, session_id: str, agent_id: str) -> Document:
    return {**_session(application, session_id), "agent_id": {"$eq": agent_id}}


def _document(application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> Document:
    return {
        "application": application,
        "session_id": session_id,
        "agent_id": agent_id,
        "number": number,
        "value": json.dumps(message),
    }


def _value(found: Document) -> JsonObject:
    value: JsonObject = json.loads(found["value"])
    return value

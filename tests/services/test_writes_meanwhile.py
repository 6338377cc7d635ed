"""Writes to a target between the moment when a copy or a migration reads it and the moment when it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from harken.configuration.storage_urls import open_storage
from harken.ports.storage import Storage
from harken.services.conversations import CONTINUED, OTHER_VALUE, ConversationService
from harken.services.copying import Copying
from harken.services.sessions import SessionService
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.conversations import Conversation, conversation_of
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import Recorder, Session
from harken_adapters.formats.migrating.sessions import SessionMigration

PLACE = ("default", "s")
AGENT = (*PLACE, "helper")


@pytest.fixture
def target(storage_url: str) -> Iterator[Storage]:
    """An empty storage of each kind."""
    with open_storage(storage_url) as storage:
        yield storage


@pytest.fixture
def after_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str, Callable[[], object]], None]:
    """Makes a repository write once, as another process would, just after it was read with a method."""

    def prepare(repository: object, method: str, write: Callable[[], object]) -> None:
        read, writes = getattr(repository, method), [write]

        def reading(*arguments: Any, **options: Any) -> Any:
            found = read(*arguments, **options)
            if writes:
                writes.pop()()
            return found

        monkeypatch.setattr(repository, method, reading)

    return prepare


@pytest.mark.parametrize(("live", "existing", "refused"), [("live", 0, ["tier"]), ("old", 1, [])])
def test_merged_metadata(target: Storage, after_reading: Any, live: str, existing: int, refused: list[str]) -> None:
    """A value that is set meanwhile is kept, and reported as one that was there before; new names are added."""
    after_reading(target.sessions, "get", lambda: target.sessions.update(*PLACE, {"tier": live}))
    merged = SessionService(target.sessions).merge(*PLACE, {"tier": "old", "age": 7})
    assert target.sessions.get(*PLACE) == {"tier": live, "age": 7}
    assert (dict(merged.added), len(merged.existing), list(merged.refused)) == ({"age": 7}, existing, refused)


def test_a_copy(target: Storage, after_reading: Any) -> None:
    """What is written meanwhile is kept, and counted as a difference."""
    after_reading(target.sessions, "get", lambda: target.sessions.update(*PLACE, {"tier": "live"}))
    after_reading(target.conversations, "agent", lambda: target.conversations.put_agent(*AGENT, {"turns": "live"}))
    with open_storage("memory://") as source:
        source.sessions.update(*PLACE, {"tier": "old"})
        source.conversations.put_agent(*AGENT, {"turns": "old"})
        copying = Copying(source, target, lambda *_: None)
        list(copying.batches())
    assert target.sessions.get(*PLACE) == {"tier": "live"}
    assert target.conversations.agent(*AGENT) == {"turns": "live"}
    assert (copying.metadata.conflicts, copying.conversations.conflicts) == (1, 1)
    assert (copying.metadata.added, copying.conversations.added) == (0, 0)


def speak(storage: Storage, words: str, numbers: range) -> None:
    """Append messages of one conversation."""
    for number in numbers:
        storage.conversations.append(*AGENT, number, {"message": {"text": f"{words} {number}"}})


def texts(storage: Storage) -> list[Any]:
    """The texts of the messages."""
    return [one["message"]["text"] for _, one in storage.conversations.messages(*AGENT, limit=9)]  # type: ignore[call-overload,index]


def test_copied_messages(target: Storage, after_reading: Any) -> None:
    """A conversation that begins meanwhile gets no messages of the source."""
    with open_storage("memory://") as source:
        speak(source, "old", range(5))
        after_reading(source.conversations, "messages", lambda: speak(target, "live", range(3)))
        copying = Copying(source, target, lambda *_: None)
        list(copying.batches())
    assert texts(target) == ["live 0", "live 1", "live 2"]
    assert (copying.conversations.read, copying.conversations.conflicts) == (5, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "stored"), [("live", 3), ("old", 5)])
def test_messages_that_mongodb_stores_at_the_same_time(
    mongodb_url: str, after_reading: Any, words: str, stored: int
) -> None:
    """A message that is stored after the target was read is compared too, and later ones follow only an equal one."""
    with open_storage(mongodb_url) as target, open_storage("memory://") as source:
        speak(source, "old", range(5))
        after_reading(target.conversations, "messages", lambda: speak(target, words, range(2, 3)))
        copying = Copying(source, target, lambda *_: None)
        list(copying.batches())
        assert texts(target) == ["old 0", "old 1", f"{words} 2", "old 3", "old 4"][:stored]
    assert copying.conversations.conflicts == (0 if words == "old" else 3)


def test_migrated_messages(target: Storage, after_reading: Any) -> None:
    """A conversation that begins meanwhile gets no messages of the document, which are rejected."""
    messages = [{"message_id": n, "message": {"role": "user", "content": [{"text": f"old {n}"}]}} for n in range(5)]
    document = {"_id": "s", "agents": {"helper": {"agent_data": {"state": {}}, "messages": messages}}}
    after_reading(target.conversations, "agent", lambda: speak(target, "live", range(3)))
    rejected: list[str] = []
    tally = Migrated()
    recorder = Recorder(lambda _, reason, __: rejected.append(reason))
    migration = SessionMigration(ConversationService(target.conversations), recorder, tally, dry_run=False)
    migration.add(document, Session("default", "s"), conversation_of(document))
    recorder.release()
    assert texts(target) == ["live 0", "live 1", "live 2"]
    assert tally.messages == Tally(read=5, rejected=5)
    assert rejected == [*[OTHER_VALUE] * 3, *[CONTINUED] * 2]


def test_a_migrated_record(target: Storage, after_reading: Any) -> None:
    """The record of a session that is written meanwhile is kept, and that of the document is rejected."""
    record = (*PLACE, "session:")
    live: Mapping[str, Any] = {"session_type": "live"}
    after_reading(target.conversations, "agent", lambda: target.conversations.put_agent(*record, live))
    rejected: list[str] = []
    tally = Migrated()
    recorder = Recorder(lambda _, reason, __: rejected.append(reason))
    migration = SessionMigration(ConversationService(target.conversations), recorder, tally, dry_run=False)
    migration.add({"_id": "s", "session_type": "AGENT"}, Session("default", "s"), Conversation([], []))
    recorder.release()
    assert target.conversations.agent(*record) == live
    assert rejected == ["the target has another value, which was kept"]
    assert tally.sessions == Tally(read=1, rejected=1)

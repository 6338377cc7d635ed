"""Writes to a target between the moment when a copy or a migration reads it and the moment when it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from harken.configuration.storage_urls import open_storage
from harken.ports.storage import Storage
from harken.services.conversations import ConversationService
from harken.services.copying import Copying
from harken.services.sessions import SessionService
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.conversations import Conversation
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

        def reading(*arguments: Any) -> Any:
            found = read(*arguments)
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

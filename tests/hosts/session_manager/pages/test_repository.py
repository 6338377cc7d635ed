"""The repository: sessions without an agent, and indexes on metadata."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from strands.types.session import SessionAgent, SessionMessage

from harken import InvalidMetadata
from harken_adapters.hosts.session_manager import (
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    MongoDBSessionRepository,
)


def test_a_session_without_an_agent(place: dict[str, Any]) -> None:
    """Feedback, metadata, agents and messages of a session are those that its session manager has."""
    repository = MongoDBSessionRepository(**place, application_name="shop", metadata_fields=["topic"])
    assert (repository.application_name, repository.get_application_name()) == ("shop", "shop")
    assert repository.metadata_fields == ("topic",)
    repository.add_feedback("s", {"rating": "down", "comment": "Slow", "message_id": "m-1", "browser": {"v": 1}})
    repository.update_metadata("s", {"topic": "invoices", "tier": 1})
    assert repository.delete_metadata("s", "tier") == 1
    repository.create_agent("s", SessionAgent("helper", {"tone": "kind"}, {}))
    repository.create_message("s", "helper", SessionMessage({"role": "user", "content": [{"text": "Hi"}]}, 0))
    manager = MongoDBSessionManager("s", **place, application_name="shop")
    [feedback] = manager.get_feedbacks()
    assert feedback == repository.get_feedbacks("s")[0]
    assert {name: feedback[name] for name in ("message_id", "browser")} == {"message_id": "m-1", "browser": {"v": 1}}
    assert manager.get_metadata() == repository.get_metadata("s") == {"_id": "s", "metadata": {"topic": "invoices"}}
    assert [one.message["content"] for one in repository.list_messages("s", "helper")] == [[{"text": "Hi"}]]
    assert isinstance(manager.session_repository, MongoDBSessionRepository)
    assert repository.get_feedbacks("other") == []
    manager.close()
    repository.close()


def test_there_is_no_session_viewer(place: dict[str, Any]) -> None:
    """So no session has a password for it; programs that ask for one get none."""
    repository = MongoDBSessionRepository(**place)
    manager = MongoDBSessionManager("s", **place)
    manager.add_feedback({"rating": "up"})
    passwords: list[object] = [manager.get_session_viewer_password(), repository.get_session_viewer_password("s")]  # type: ignore[func-returns-value]
    assert passwords == [None, None]
    manager.close()
    repository.close()


def test_an_invalid_name_of_metadata(place: dict[str, Any]) -> None:
    """It is refused when the repository is opened."""
    with pytest.raises(InvalidMetadata, match="metadata"):
        MongoDBSessionRepository(**place, metadata_fields=["topic", "a..b"])


@pytest.mark.slow
def test_indexes_on_metadata(mongodb_url: str) -> None:
    """Each name of the repository, the manager and the factory has an index, once."""
    MongoDBSessionManager("s", mongodb_url, metadata_fields=["topic", "user.the plan", "50%"]).close()
    factory = MongoDBSessionManagerFactory(mongodb_url, metadata_fields=["topic", "tier"])
    for fields in (None, None, ["language"]):
        factory.create_session_manager("s", metadata_fields=fields)
    factory.close()
    with MongoClient[Any](mongodb_url) as client:
        indexes = client.get_default_database()["harken_sessions"].index_information()
    keys = [index["key"] for index in indexes.values()]
    for name in ("topic", "user.the plan", "50%25", "tier", "language"):
        assert keys.count([("application", 1), (f"metadata.{name}", 1)]) == 1

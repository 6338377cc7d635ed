"""Opening a storage that must exist: it is never created by mistake, on every storage that can tell."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

import harken
from harken import ConfigurationError, StorageUnavailable
from harken.configuration import plugins
from harken.configuration.storage_urls import open_existing_storage, open_storage
from harken.ports.storage import Storage


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage that nobody has created."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/missing.db"
    created: str = request.getfixturevalue("mongodb_url")
    return created


def test_a_storage_that_does_not_exist_is_not_created(url: str, tmp_path: Path) -> None:
    """Each attempt fails alike, as none leaves anything; once it was created, it can be opened."""
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="does not exist"), open_existing_storage(url):
            pytest.fail("it was opened")
    assert list(tmp_path.iterdir()) == []
    if url.startswith("mongodb"):
        client: MongoClient[Any] = MongoClient(url)
        with client:
            assert client.get_default_database().list_collection_names() == []
    with open_storage(url):
        pass
    with open_existing_storage(url) as storage, harken.connect(storage) as hk:
        assert hk.summary().total == 0


def test_a_storage_that_cannot_tell_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in memory always begins empty, and an adapter of someone else need not know of this."""
    with open_existing_storage("memory://") as storage:
        assert storage.feedback.applications() == []

    @contextmanager
    def opener(url: str) -> Iterator[str]:
        yield url

    def load(*_: object) -> AbstractContextManager[Storage]:
        return opener  # type: ignore[return-value]

    monkeypatch.setattr(plugins, "load", load)
    with open_existing_storage("memory://theirs") as theirs:
        assert repr(theirs) == "'memory://theirs'"


def test_a_url_that_no_storage_serves_is_still_an_error() -> None:
    """Whether a storage must exist changes nothing about that."""
    with pytest.raises(ConfigurationError, match="No installed package supports nope://"):
        open_existing_storage("nope://x")

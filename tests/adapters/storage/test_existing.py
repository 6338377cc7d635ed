"""Opening a storage that must exist, with every adapter that supports it, never creates one."""

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
    """The URL of a storage that does not exist."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/missing.db"
    created: str = request.getfixturevalue("mongodb_url")
    return created


def test_a_storage_that_does_not_exist_is_not_created(url: str, tmp_path: Path) -> None:
    """Every attempt fails in the same way and creates nothing; a storage that was created can be opened."""
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


def test_existence_is_ignored_if_an_adapter_does_not_support_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory storages always begin empty, and third-party adapters need not support the option."""
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


def test_an_unknown_scheme_is_still_an_error() -> None:
    """The error is the same as for a storage that may be created."""
    with pytest.raises(ConfigurationError, match="No installed package supports nope://"):
        open_existing_storage("nope://x")

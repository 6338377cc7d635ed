"""Every storage that Harken ships keeps the same contract."""

from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import pytest

import harken
from harken.ports.storage import Storage
from harken.storage import open_storage
from harken.testing import StorageContract, reference_storage


class TestMemory(StorageContract):
    def open_storage(self) -> AbstractContextManager[Storage]:
        return open_storage("memory://")


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._urls = (f"sqlite:///{tmp_path}/{number}.db" for number in count())

    def open_storage(self) -> AbstractContextManager[Storage]:
        return open_storage(next(self._urls))


def test_the_kit_needs_no_more_than_the_ports() -> None:
    """A storage that passes the kit can be handed to ``connect`` as it is."""
    with harken.connect(reference_storage()) as hk:
        hk.submit("session", "up")
        assert hk.summary().positive == 1

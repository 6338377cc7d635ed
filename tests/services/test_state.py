"""Changing state entries while other threads change them too."""

from threading import Barrier

import pytest

from harken import StorageUnavailable
from harken.ports.state import StateEntry, StateRepository, update
from harken_adapters.storage.memory.data import Data
from harken_adapters.storage.memory.state import MemoryStateRepository
from support import in_threads


class AlwaysOvertaken(MemoryStateRepository):
    """Another process writes an entry just before each write."""

    def put(self, kind: str, entry: StateEntry) -> bool:
        super().put(kind, entry)
        return super().put(kind, entry)


@pytest.fixture
def state() -> StateRepository:
    """An empty repository."""
    return MemoryStateRepository(Data())


def _count(entry: StateEntry | None) -> dict[str, int]:
    return {"n": entry.value["n"] + 1 if entry else 1}  # type: ignore[operator] # it is a number


def test_no_change_is_lost(state: StateRepository) -> None:
    """A change that another one overtook is computed again from what is stored then."""
    start = Barrier(4)

    def change() -> None:
        start.wait()
        for _ in range(20):
            update(state, "counter", "a", _count)

    in_threads([change] * 4)
    assert state.get("counter", "a") == StateEntry("a", {"n": 80}, version=80)


def test_what_stays_the_same_is_not_written(state: StateRepository) -> None:
    """The entry keeps its version."""
    first = update(state, "counter", "a", _count)
    assert update(state, "counter", "a", lambda _: {"n": 1}) == first == state.get("counter", "a")


def test_a_change_is_not_tried_for_ever() -> None:
    """If other writes are always faster, the error names the entry."""
    state = AlwaysOvertaken(Data())
    with pytest.raises(StorageUnavailable, match="keep writing the state of counter 'a'; try again"):
        update(state, "counter", "a", _count)

"""A collection of objects refers to those that are in use, while other threads add more."""

from __future__ import annotations

import gc

from harken.services.weak_collection import WeakCollection


class Equal:
    """All of its instances are equal, like the clients of one server."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 0


def test_equal_objects_are_different() -> None:
    """They are in the order in which they were added last; removing one keeps the others."""
    first, second, third = Equal(), Equal(), Equal()
    collection: WeakCollection[Equal] = WeakCollection()
    for one in (first, second, third, first):
        collection.add(one)
    assert list(map(id, collection)) == [id(second), id(third), id(first)]
    collection.discard(third)
    collection.discard(Equal())
    assert list(map(id, collection)) == [id(second), id(first)]


def test_objects_are_not_kept_alive() -> None:
    """What is no longer in use is not in the collection."""
    kept, collection = Equal(), WeakCollection[Equal]()
    collection.add(kept)
    collection.add(Equal())
    gc.collect()
    assert list(map(id, collection)) == [id(kept)]


def test_objects_are_added_during_an_iteration() -> None:
    """The iteration goes on, with those that were there at its start."""
    added = [Equal() for _ in range(3)]
    collection: WeakCollection[Equal] = WeakCollection()
    collection.add(added[0])
    seen = []
    for one in collection:
        seen.append(one)
        collection.add(added[1])
        collection.add(added[2])
    assert len(seen) == 1
    assert len(list(collection)) == 3

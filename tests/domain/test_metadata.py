"""Paths into session metadata, and the comparison of values."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import WriteError

from harken import InvalidMetadata
from harken.domain.metadata import delete_paths, find_paths, is_same_json, set_paths

names = st.sampled_from("ab1")
leaves = st.none() | st.booleans() | st.integers(0, 2) | st.just("text")
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3))
metadata = st.dictionaries(names, values, max_size=3)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
changes = st.dictionaries(paths, values, max_size=3)


def leaves_of(value: object, *place: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that is not a dictionary, or is an empty one, with the names that lead to it."""
    if not isinstance(value, dict) or not value:
        yield place, value
        return
    for name, inner in value.items():
        yield from leaves_of(inner, *place, name)


def outside(value: dict[str, Any], these: dict[str, Any]) -> dict[tuple[str, ...], object]:
    """The leaves that none of these paths leads to or through."""
    prefixes = [tuple(path.split(".")) for path in these]
    return {
        place: leaf
        for place, leaf in leaves_of(value)
        if not any(place[: len(one)] == one or one[: len(place)] == place for one in prefixes)
    }


@given(metadata, changes)
def test_set_paths(before: dict[str, Any], given_changes: dict[str, Any]) -> None:
    """Each path has its value afterwards, everything else is unchanged, and so are the arguments."""
    copies = deepcopy((before, given_changes))
    try:
        after = set_paths(before, given_changes)
    except InvalidMetadata:
        assume(False)
    assert find_paths(after, given_changes) == given_changes
    assert outside(after, given_changes) == outside(before, given_changes)
    assert (before, given_changes) == copies


@given(metadata, st.lists(paths, max_size=3))
def test_delete_paths(before: dict[str, Any], deleted: list[str]) -> None:
    """No path exists afterwards, everything else is unchanged, and deleting again changes nothing."""
    copy = deepcopy(before)
    after = delete_paths(before, deleted)
    assert find_paths(after, deleted) == {}
    assert outside(after, dict.fromkeys(deleted)) == outside(before, dict.fromkeys(deleted))
    assert delete_paths(after, deleted) == after
    assert before == copy


@given(metadata, changes)
def test_what_was_set_can_be_deleted(before: dict[str, Any], given_changes: dict[str, Any]) -> None:
    """Deleting the paths that were set deletes all of them."""
    try:
        after = set_paths(before, given_changes)
    except InvalidMetadata:
        assume(False)
    assert find_paths(delete_paths(after, given_changes), given_changes) == {}


def test_dictionaries_are_created_and_kept() -> None:
    """Setting creates the dictionaries on the way; deleting leaves them, even if they become empty."""
    after = set_paths({"user": {"name": "Ann"}}, {"user.plan.tier": "gold", "topic": "invoices"})
    assert after == {"user": {"name": "Ann", "plan": {"tier": "gold"}}, "topic": "invoices"}
    assert delete_paths(after, ["user.plan.tier", "topic", "topic", "user.plan.unknown", "topic.x"]) == {
        "user": {"name": "Ann", "plan": {}}
    }


@pytest.mark.parametrize(
    ("before", "changed", "message"),
    [
        (
            {"a": {"b": 1}},
            {"a.b.c": 2},
            "metadata.a.b.c cannot be set, because metadata.a.b is not a dictionary but int",
        ),
        ({"a": None}, {"a.b": 2}, "metadata.a.b cannot be set, because metadata.a is not a dictionary but NoneType"),
        ({"a": [1, 2]}, {"a.0": 2}, "metadata.a.0 cannot be set, because metadata.a is not a dictionary but list"),
        (
            {"a": {"__harken_encoded__": "datetime", "data": "2026-01-01"}},
            {"a.data": "x"},
            "metadata.a.data cannot be set, because metadata.a is not a dictionary but an encoded value",
        ),
        ({}, {"a": {}, "a.b": 1}, "metadata.a.b is part of metadata.a; set only one of them"),
        ({}, {"a.b.c": 1, "a-": 1, "a.b": 1}, "metadata.a.b.c is part of metadata.a.b; set only one of them"),
        ({}, {"a.__bytes_encoded__": True}, "metadata.a.__bytes_encoded__ has a name that is reserved"),
    ],
)
def test_paths_that_cannot_be_set(before: dict[str, Any], changed: dict[str, Any], message: str) -> None:
    """The message names the path and the reason."""
    with pytest.raises(InvalidMetadata) as caught:
        set_paths(before, changed)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("before", [{"a": [1]}, {"a": 1}, {"a": {"__bytes_encoded__": True, "data": "AAAA"}}])
def test_a_path_through_another_value_does_not_exist(before: dict[str, Any]) -> None:
    """It is neither found nor deleted."""
    for path in ("a.0", "a.data", "a.__bytes_encoded__", "a.b.c"):
        assert find_paths(before, [path]) == {}
        assert delete_paths(before, [path]) == before


@pytest.mark.slow
def test_paths_mean_what_they_mean_in_mongodb(mongodb_url: str) -> None:
    """``$set`` and ``$unset`` have the same results, and refuse the same paths; except for positions in lists."""
    with MongoClient[Any](mongodb_url) as client:
        collection = client.get_default_database()["paths"]

        def updated(before: dict[str, Any], operator: str, given_changes: dict[str, Any]) -> object:
            collection.replace_one({"_id": 1}, {"m": before}, upsert=True)
            change = {operator: {f"m.{path}": value for path, value in given_changes.items()}}
            try:
                collection.update_one({"_id": 1}, change)
            except WriteError:
                return None
            found = collection.find_one({"_id": 1})
            return found and found["m"]

        @given(metadata, changes.filter(bool))
        def compare(before: dict[str, Any], given_changes: dict[str, Any]) -> None:
            assume(not any(isinstance(value, list) for value in dict(leaves_of(before)).values()))
            try:
                after = set_paths(before, given_changes)
            except InvalidMetadata:
                after = None
            assert updated(before, "$set", given_changes) == after
            assert updated(before, "$unset", dict.fromkeys(list(given_changes)[:1], "")) == delete_paths(
                before, list(given_changes)[:1]
            )

        compare()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": [None, "x"]}, {"b": [None, "x"], "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ([1, 2], [2, 1], False),
        ("1", 1, False),
    ],
)
def test_values_are_the_same_as_json(one: object, other: object, same: bool) -> None:
    """The order of names does not matter, but the order of lists and the kinds of numbers do."""
    assert is_same_json(one, other) is is_same_json(other, one) is same

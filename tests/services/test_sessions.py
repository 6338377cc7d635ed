"""Session metadata."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Harken, InvalidMetadata, StorageUnavailable
from harken.ports.sessions import JsonValue
from harken.testing.faults import Faults
from harken_adapters.storage.memory import open_storage
from support import in_threads

keys = st.text(st.sampled_from("abcß_-1"), min_size=1, max_size=4)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
APP = "default"


def nested(depth: int) -> JsonValue:
    """Nested lists."""
    value: JsonValue = "deep inside"
    for _ in range(depth):
        value = [value]
    return value


@given(st.lists(st.dictionaries(keys, values, max_size=4), max_size=4))
def test_updates_add_up(updates: list[dict[str, JsonValue]]) -> None:
    """Each update sets its own keys and keeps the others; reading returns what was written, sorted by name."""
    with harken.connect("memory://") as hk:
        expected: dict[str, JsonValue] = {}
        for changes in updates:
            hk.sessions.update(APP, "s", changes)
            expected |= changes
        metadata = hk.sessions.get(APP, "s")
        assert metadata == expected
        assert list(metadata) == sorted(expected)


def test_values_are_copied(hk: Harken) -> None:
    """Changing a passed or returned value changes neither the stored one nor another session."""
    plans: list[JsonValue] = ["free"]
    hk.sessions.update(APP, "s", {"plans": plans})
    plans.append("premium")
    hk.sessions.get(APP, "s")["plans"] = None
    assert hk.sessions.get(APP, "s") == {"plans": ["free"]}
    assert hk.sessions.get(APP, "other") == hk.sessions.get("shop", "s") == {}


def test_deleting(hk: Harken) -> None:
    """Deleting returns how many of the keys existed; without keys, all are deleted."""
    hk.sessions.update(APP, "s", {"a": 1, "b": 2, "c": 3})
    assert hk.sessions.delete(APP, "s", ["a", "unknown"]) == 1
    assert hk.sessions.delete(APP, "s", []) == 0
    assert hk.sessions.get(APP, "s") == {"b": 2, "c": 3}
    assert hk.sessions.delete(APP, "s") == 2
    assert hk.sessions.delete(APP, "s") == 0
    assert hk.sessions.get(APP, "s") == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "metadata.key must be finite, got nan"),
        (float("-inf"), "metadata.key must be finite, got -inf"),
        (2**63, "metadata.key must fit into 64 bits"),
        ("\x00", "metadata.key must not contain NUL characters"),
        ("\ud800", "metadata.key contains a lone surrogate, which is not valid Unicode text"),
        ({"a\tb": 1}, "metadata.key name 'a\\tb' must not contain control characters"),
        ({"a\x00": 1}, "metadata.key name 'a\\x00' must not contain control characters"),
        ({"\ud800": 1}, "metadata.key name '\\ud800' contains a lone surrogate, which is not valid Unicode text"),
        ({"x" * 1_001: 1}, "metadata.key name too long: 1001 characters (max: 1000)"),
        ({"": 1}, "metadata.key has an empty name"),
        ({1: 1}, "metadata.key names must be strings, got int"),
        ([{"a": {"b": [1, float("inf")]}}], "metadata.key[0].a.b[1] must be finite, got inf"),
        ({1, 2}, "metadata.key must be a string, a number, true, false or null, got set"),
        ((1, 2), "metadata.key must be a string, a number, true, false or null, got tuple"),
        (nested(20), "metadata too large: at most 10,000 values, nested 20 deep"),
        ([0] * 9_998, "metadata too large: at most 10,000 values, nested 20 deep"),
    ],
)
def test_invalid_values(hk: Harken, value: JsonValue, message: str) -> None:
    """Only JSON is accepted, and the message says where the error is; nothing of the update is stored."""
    with pytest.raises(InvalidMetadata) as caught:
        hk.sessions.update(APP, "s", {"fine": 1, "key": value})
    assert str(caught.value) == message
    assert hk.sessions.get(APP, "s") == {}


@pytest.mark.parametrize("name", ["", "x" * 1_001, "a\nb", "\x7f", "\u2028", "\ud800", 1])
def test_invalid_names(hk: Harken, name: Any) -> None:
    """A name has 1 to 1,000 characters, none of them a control character; deleting an invalid one deletes nothing."""
    for paths in (False, True):
        with pytest.raises(InvalidMetadata, match=r"^metadata (name|has an empty name)"):
            hk.sessions.update(APP, "s", {"fine": 1, name: 1}, paths=paths)
    assert hk.sessions.delete(APP, "s", [name], paths=True) == 0
    with pytest.raises(InvalidMetadata, match=r"^metadata (name|has an empty name)"):
        hk.sessions.index([name])


any_names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=5)
odd_names = st.text(st.sampled_from("%.$2E45a "), min_size=1, max_size=5) | any_names
odd_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(odd_names, inner, max_size=3), max_leaves=5
)


def test_any_name(storage_url: str) -> None:
    """Any text without control characters is a name, at every level, on every storage, and is never a path."""
    with harken.connect(storage_url) as hk:

        @given(st.dictionaries(odd_names, odd_values, max_size=4), st.data())
        def keep(metadata: dict[str, JsonValue], data: st.DataObject) -> None:
            hk.sessions.delete(APP, "s")
            hk.sessions.update(APP, "s", metadata)
            assert hk.sessions.get(APP, "s") == metadata
            name = data.draw(odd_names | st.sampled_from([*metadata, "a"]))
            assert hk.sessions.delete(APP, "s", [name]) == int(name in metadata)
            assert hk.sessions.get(APP, "s") == {one: value for one, value in metadata.items() if one != name}

        keep()


@pytest.mark.parametrize(("name", "call"), [("turns", "sessions.update"), ("user.tier", "sessions.change")])
def test_only_paths_with_dots_are_changes(name: str, call: str) -> None:
    """A name is set by the plain update, which is faster, even if the program may set paths."""
    faults = Faults()
    with open_storage() as storage, harken.connect(faults.around(storage)) as hk:
        hk.sessions.update(APP, "s", {name: 1}, paths=True)
        faults.arm(at=1)
        with pytest.raises(StorageUnavailable):
            hk.sessions.update(APP, "s", {name: 2}, paths=True)
        assert faults.failed == call


def test_paths(storage_url: str) -> None:
    """With ``paths=True`` a dot leads into a dictionary, whose other values are kept; else it is part of a name."""
    with harken.connect(storage_url) as hk:
        hk.sessions.update(APP, "s", {"user": {"name": "Ann", "a.b": 1}, "user.name": "exact"})
        hk.sessions.update(APP, "s", {"user.plan.$tier": "gold", "turns": 1}, paths=True)
        everything = {"turns": 1, "user": {"name": "Ann", "a.b": 1, "plan": {"$tier": "gold"}}, "user.name": "exact"}
        assert hk.sessions.get(APP, "s") == everything
        assert (
            hk.sessions.delete(APP, "s", ["user.name", "user.plan.$tier", "user.unknown", "user.name"], paths=True) == 2
        )
        assert hk.sessions.delete(APP, "s", "turns", paths=True) == 1
        assert hk.sessions.get(APP, "s") == {"user": {"a.b": 1, "plan": {}}, "user.name": "exact"}
        assert hk.sessions.delete(APP, "s", "user.name") == 1
        assert hk.sessions.delete(APP, "s", "user.plan", paths=True) == 1
        assert hk.sessions.delete(APP, "unknown", ["user.name"], paths=True) == 0
        assert hk.sessions.delete(APP, "s", paths=True) == 1
        assert hk.sessions.get(APP, "s") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a.b.c": 1}, "metadata.a.b.c cannot be set, because metadata.a.b is not a dictionary but list"),
        ({"x..y": 1}, "metadata.x has an empty name"),
        ({".x": 1}, "metadata has an empty name"),
        ({".".join("x" * 21): 1}, "metadata too large: at most 10,000 values, nested 20 deep"),
        ({"a.many": [0] * 5_000}, "metadata too large: at most 10,000 values, nested 20 deep"),
        ({"a.x": "x" * 1_000_000}, "The session's metadata would have 1,010,"),
    ],
)
def test_invalid_paths(hk: Harken, changes: dict[str, JsonValue], message: str) -> None:
    """A path that leads nowhere is refused, and so is a value that grows too large step by step; nothing is changed."""
    before: dict[str, JsonValue] = {"a": {"b": [0] * 5_000}}
    hk.sessions.update(APP, "s", before)
    with pytest.raises(InvalidMetadata) as caught:
        hk.sessions.update(APP, "s", {"fine": 1, **changes}, paths=True)
    assert str(caught.value).startswith(message)
    assert hk.sessions.get(APP, "s") == before


def test_concurrent_updates_of_paths_lose_nothing(storage_url: str) -> None:
    """Two connections that set and delete paths in one dictionary at the same time do not undo each other."""
    with harken.connect(storage_url) as first, ExitStack() as stack:
        second = first if storage_url == "memory://" else stack.enter_context(harken.connect(storage_url))
        first.sessions.update(APP, "s", {"of": {f"gone{number}": 0 for number in range(10)}})
        set_them = [
            partial(hk.sessions.update, APP, "s", {f"of.{name}.n{number}": number}, paths=True)
            for number in range(10)
            for name, hk in (("first", first), ("second", second))
        ]
        delete_them = [partial(second.sessions.delete, APP, "s", f"of.gone{n}", paths=True) for n in range(10)]
        in_threads([*set_them, *delete_them])
        expected = {f"n{number}": number for number in range(10)}
        assert first.sessions.get(APP, "s") == {"of": {"first": expected, "second": expected}}


def test_a_path_does_not_restore_what_is_deleted_meanwhile(storage_url: str) -> None:
    """A name that is deleted while a path in it is set is deleted before or after that, with all that was in it."""
    with harken.connect(storage_url) as hk:
        for number in range(40):
            session = f"s{number}"
            hk.sessions.update(APP, session, {"user": {"name": "Ann"}, "turns": 1})
            set_path = partial(hk.sessions.update, APP, session, {"user.tier": 1}, paths=True)
            in_threads([set_path, partial(hk.sessions.delete, APP, session, "user"), set_path])
            user = hk.sessions.get(APP, session).get("user")
            assert user in (None, {"tier": 1})


def test_all_problems_at_once(hk: Harken) -> None:
    """Ids are checked too, and the message has all problems."""
    with pytest.raises(InvalidMetadata) as caught:
        hk.sessions.update("", "\x07", {"a": float("nan"), "": 1})
    assert str(caught.value).split("; ") == [
        "application must not be empty",
        "session_id must not contain control characters",
        "metadata has an empty name",
        "metadata.a must be finite, got nan",
    ]


def test_bounds(hk: Harken) -> None:
    """Twenty levels and many values are accepted, and a cyclic value does not cause an endless loop."""
    hk.sessions.update(APP, "s", {"deep": nested(19)})
    hk.sessions.update(APP, "s", {"wide": [0] * 9_998})
    assert hk.sessions.get(APP, "s")["deep"] == nested(19)
    endless: list[JsonValue] = []
    endless += [endless, endless]
    with pytest.raises(InvalidMetadata, match="too large"):
        hk.sessions.update(APP, "s", {"endless": endless})


def test_metadata_has_a_limit_in_total(hk: Harken) -> None:
    """With updates of any size, a session at the limit gets an error that says what to do."""
    for first in range(0, 1_000, 100):
        hk.sessions.update(APP, "s", {f"name-{number}": "" for number in range(first, first + 100)})
    with pytest.raises(InvalidMetadata, match=r"1,001 names \(max: 1,000, now: 1,000\); remove names"):
        hk.sessions.update(APP, "s", {"one-more": ""})
    hk.sessions.update(APP, "t", {"a": "x" * 600_000})
    with pytest.raises(InvalidMetadata, match=r"1,200,006 bytes as JSON \(max: 1,000,000, now: 600,003\); remove"):
        hk.sessions.update(APP, "t", {"b": "x" * 600_000})
    assert list(hk.sessions.get(APP, "t")) == ["a"]


def test_a_session_beyond_the_limit_can_be_reduced() -> None:
    """Metadata from before there was a limit is kept: it can be reduced, but not extended."""
    with open_storage("memory://") as storage, harken.connect(storage) as hk:
        storage.sessions._data.metadata[APP, "s"] = {"a": "x" * 2_000_000, "b": 1}  # type: ignore[attr-defined]
        with pytest.raises(InvalidMetadata, match="now: 2,000,005"):
            hk.sessions.update(APP, "s", {"c": 1})
        hk.sessions.update(APP, "s", {"a": "x" * 1_500_000})
        hk.sessions.delete(APP, "s", ["b"])
        hk.sessions.update(APP, "s", {"a": "short"})
        hk.sessions.update(APP, "s", {"c": 1})
        assert hk.sessions.get(APP, "s") == {"a": "short", "c": 1}

"""Session metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Harken, InvalidMetadata
from harken.ports.sessions import JsonValue
from harken_adapters.storage.memory import open_storage

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
        ({"$set": 1}, "metadata.key name '$set' may only have letters, digits, '_' and '-'"),
        ({"a.b": 1}, "metadata.key name 'a.b' may only have letters, digits, '_' and '-'"),
        ({"": 1}, "metadata.key name '' may only have letters, digits, '_' and '-'"),
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


@pytest.mark.parametrize("name", ["$where", "a.b", "", "x" * 101, "a b"])
def test_names(hk: Harken, name: str) -> None:
    """A name that a storage could interpret as a path or an operator is refused."""
    with pytest.raises(InvalidMetadata, match=r"^metadata name"):
        hk.sessions.update(APP, "s", {name: 1})


def test_all_problems_at_once(hk: Harken) -> None:
    """Ids are checked too, and the message has all problems."""
    with pytest.raises(InvalidMetadata) as caught:
        hk.sessions.update("", "\x07", {"a": float("nan"), "$": 1})
    assert str(caught.value).split("; ") == [
        "application must not be empty",
        "session_id must not contain control characters",
        "metadata name '$' may only have letters, digits, '_' and '-'",
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

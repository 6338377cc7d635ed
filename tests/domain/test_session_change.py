"""Changes of session metadata: their events, and their current values."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harken.domain.errors import InvalidMetadata
from harken.domain.events import EventType
from harken.domain.metadata import set_paths
from harken.domain.session_change import MAX_NAME_BYTES, MAX_NAMES, change_events, change_of, operation_and_names
from support import NOON

NAMES = st.text(st.sampled_from('aß."\\\u2028'), min_size=1, max_size=8)
METADATA = st.recursive(
    st.none() | st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2)
)


LONG_NAMES = st.builds(str.__mul__, NAMES, st.integers(1, 125))


@given(st.sampled_from(["update", "delete"]), st.lists(NAMES, max_size=300) | st.lists(LONG_NAMES, max_size=50))
def test_events_have_every_name_once(operation: Any, names: list[str]) -> None:
    """Each event has at most 100 names and 8,000 bytes of names, in order; the ids and the subjects differ."""
    events = list(change_events("shop", "s", operation, names, event_id="e", at=NOON))
    parts = [operation_and_names(event) for event in events]
    assert [name for _, some in parts for name in some] == sorted(set(names))
    assert {one for one, _ in parts} <= {operation}
    assert all(len(some) <= MAX_NAMES for _, some in parts)
    sizes = [len(json.dumps(some, ensure_ascii=False, separators=(",", ":")).encode()) for _, some in parts]
    assert all(size <= MAX_NAME_BYTES + 1 for size in sizes)
    # No two that follow each other fit into one.
    assert all(
        len(one) + len(other) > MAX_NAMES or size + other_size > MAX_NAME_BYTES
        for ((_, one), size), ((_, other), other_size) in pairwise(zip(parts, sizes, strict=True))
    )
    assert len({event.id for event in events}) == len({event.subject_id for event in events}) == len(events)
    assert {(one.type, one.application, one.session_id, one.version, one.occurred_at) for one in events} <= {
        (EventType.SESSION_UPDATED, "shop", "s", 1, NOON)
    }


@given(st.dictionaries(NAMES, METADATA, max_size=4), NAMES)
def test_the_value_of_a_name_is_returned(current: dict[str, Any], other: str) -> None:
    """A name has its own value, also if it has dots; one that does not exist has ``None``."""
    names = [*current, other]
    (event,) = change_events("shop", "s", "update", names, event_id="e", at=NOON)
    change = change_of(event, current)
    assert change.names == tuple(sorted(set(names)))
    assert change.metadata == {other: None, **current}
    assert change.current == current


@given(st.dictionaries(NAMES, METADATA, max_size=4), NAMES)
def test_a_path_has_what_was_set(before: dict[str, Any], path: str) -> None:
    """A path has the value that it was set to, whether there is a name with the same dots or not."""
    (event,) = change_events("shop", "s", "update", [path], paths=True, event_id="e", at=NOON)
    try:
        current = set_paths(before, {path: 7})
    except InvalidMetadata:
        assert change_of(event, before).metadata == {path: None}
    else:
        assert change_of(event, current).metadata == {path: 7}


def test_names_and_paths_differ() -> None:
    """Only a path leads into dictionaries, and it never leads into lists or encoded values."""
    date = {"__harken_encoded__": "datetime", "data": "2026-01-01"}
    current = {"user": {"tier": {"name": "pro"}, "a.b": 1}, "a": {"b": 3}, "a.b": 2, "list": [{"x": 1}], "date": date}
    names = ["user.tier", "user.tier.name", "a.b", "user.a.b", "list.0.x", "user.", "none", "date.data", "date"]

    def values(*, paths: bool) -> object:
        (event,) = change_events("shop", "s", "update", names, paths=paths, event_id="e", at=NOON)
        return change_of(event, current).metadata

    known = {"user.tier": {"name": "pro"}, "user.tier.name": "pro", "a.b": 3, "date": date}
    assert values(paths=True) == {**dict.fromkeys(names), **known}
    assert values(paths=False) == {**dict.fromkeys(names), "a.b": 2, "date": date}

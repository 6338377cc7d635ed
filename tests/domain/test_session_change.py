"""Changes of session metadata: their events, and their current values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harken.domain.events import EventType
from harken.domain.session_change import MAX_NAMES, OPERATIONS, change_events, change_of, operation_and_names
from support import NOON

NAMES = st.text(st.sampled_from('aß."\\\u2028'), min_size=1, max_size=8)
METADATA = st.recursive(
    st.none() | st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2)
)


@given(st.sampled_from(OPERATIONS), st.lists(NAMES, max_size=300))
def test_events_have_every_name_once(operation: Any, names: list[str]) -> None:
    """Each event has at most 100 names, in order; the ids and the subjects differ."""
    events = list(change_events("shop", "s", operation, names, event_id="e", at=NOON))
    parts = [operation_and_names(event) for event in events]
    assert [name for _, some in parts for name in some] == sorted(set(names))
    assert {one for one, _ in parts} <= {operation}
    assert all(len(some) <= MAX_NAMES for _, some in parts)
    assert len({event.id for event in events}) == len({event.subject_id for event in events}) == len(events)
    assert {(one.type, one.application, one.session_id, one.version, one.occurred_at) for one in events} <= {
        (EventType.SESSION_UPDATED, "shop", "s", 1, NOON)
    }


@given(st.dictionaries(NAMES, METADATA, max_size=4), NAMES)
def test_the_value_of_a_name_that_exists_is_returned(current: dict[str, Any], other: str) -> None:
    """A name that exists has its value, whether it has dots or not."""
    names = [*current, other]
    (event,) = change_events("shop", "s", "update", names, event_id="e", at=NOON)
    change = change_of(event, current)
    assert change.names == tuple(sorted(set(names)))
    assert {name: change.metadata[name] for name in current} == current
    assert set(change.metadata) == set(names)
    assert change.current == current


def test_a_dotted_name_is_a_path() -> None:
    """If no name is equal, a path into nested objects is looked up; what does not exist is ``None``."""
    current = {"user": {"tier": {"name": "pro"}, "a.b": 1}, "a.b": 2, "list": [{"x": 1}]}
    names = ["user.tier", "user.tier.name", "a.b", "user.a.b", "list.0.x", "user.", "none", "user.tier.name.first"]
    (event,) = change_events("shop", "s", "update", names, event_id="e", at=NOON)
    assert change_of(event, current).metadata == {
        **dict.fromkeys(names),
        "user.tier": {"name": "pro"},
        "user.tier.name": "pro",
        "a.b": 2,
    }

"""Conversations: the messages and the state of agents."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import ConversationConflict, Harken, InvalidConversation
from harken.services.conversations import MAX_SIZE
from harken.testing import strategies as hst

AGENT = ("default", "s", "helper")
#: More than one page.
MANY = 1_001


@given(st.lists(hst.metadata(), max_size=8))
def test_messages_are_returned_as_they_were_stored(messages: list[dict[str, Any]]) -> None:
    """Messages are returned in order, and one by one, unchanged."""
    with harken.connect("memory://") as hk:
        for number, message in enumerate(messages):
            hk.conversations.append(*AGENT, number, message)
        assert [message for _, message in hk.conversations.stream(*AGENT)] == messages
        assert [hk.conversations.message(*AGENT, number) for number in range(len(messages))] == messages
        assert hk.conversations.count(*AGENT) == len(messages)


def test_a_long_conversation_is_read_in_pages(hk: Harken) -> None:
    """All messages are read, or those after a number, and a page has the requested size."""
    for number in range(MANY):
        hk.conversations.append(*AGENT, number, {"n": number})
    assert [number for number, _ in hk.conversations.stream(*AGENT)] == list(range(MANY))
    assert [number for number, _ in hk.conversations.stream(*AGENT, after=MANY - 3)] == [MANY - 2, MANY - 1]
    for limit in (0, 1, MANY - 1, MANY, MANY + 1):
        found = [number for number, _ in hk.conversations.stream(*AGENT, after=0, limit=limit)]
        assert found == list(range(1, MANY))[:limit]
    assert [number for number, _ in hk.conversations.messages(*AGENT, limit=2, after=4)] == [5, 6]


def test_existing_messages_are_not_overwritten(hk: Harken) -> None:
    """A caller with an old state gets an error, and the messages stored meanwhile stay."""
    hk.conversations.append(*AGENT, 0, {"text": "first"})
    with pytest.raises(ConversationConflict, match=r"already has a message 0 in session 's'.*load it again"):
        hk.conversations.append(*AGENT, 0, {"text": "second"})
    assert hk.conversations.message(*AGENT, 0) == {"text": "first"}


def test_only_existing_messages_are_replaced(hk: Harken) -> None:
    """A replaced message is gone, and a missing one cannot be replaced."""
    hk.conversations.append(*AGENT, 0, {"text": "my card is 4242"})
    hk.conversations.replace(*AGENT, 0, {"text": "[removed]"})
    assert list(hk.conversations.stream(*AGENT)) == [(0, {"text": "[removed]"})]
    with pytest.raises(ConversationConflict, match="'helper' has no message 1 in session 's'"):
        hk.conversations.replace(*AGENT, 1, {})
    assert hk.conversations.message(*AGENT, 1) is None


def test_agents_and_speakers(hk: Harken) -> None:
    """Agents with state and agents with messages are listed separately, and erased together."""
    hk.conversations.put_agent(*AGENT, {"model": "local"})
    hk.conversations.append("default", "s", "quiet", 0, {})
    assert hk.conversations.agents("default", "s") == {"helper": {"model": "local"}}
    assert hk.conversations.agent(*AGENT) == {"model": "local"}
    assert hk.conversations.speakers("default", "s") == ["quiet"]
    assert (hk.conversations.count("default", "s"), hk.conversations.count(*AGENT)) == (1, 0)
    assert hk.conversations.erase("default", "s") == 1
    assert (hk.conversations.agents("default", "s"), hk.conversations.speakers("default", "s")) == ({}, [])


def _deep(levels: int) -> dict[str, Any]:
    """An empty object inside this many others."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"when": object()}, "is not valid JSON: Object of type object"),
        ({"score": float("nan")}, "is not valid JSON: Out of range float values"),
        ({"words": "x" * MAX_SIZE}, rf"is too large: {MAX_SIZE + len(json.dumps({'words': ''})):,} bytes as JSON"),
        (_deep(100_000), r"is nested too deeply \(max: 500 levels"),
        (_deep(500), r"is nested too deeply \(max: 500 levels"),
    ],
    ids=["an object", "no number", "too large", "too deep", "just too deep"],
)
def test_invalid_json_is_refused(hk: Harken, value: dict[str, Any], said: str) -> None:
    """A value that is not valid JSON, or too large for a storage, is refused, and changes nothing."""
    hk.conversations.append(*AGENT, 0, {"a": 1})
    changes: list[Callable[[], object]] = [
        lambda: hk.conversations.append(*AGENT, 1, value),
        lambda: hk.conversations.replace(*AGENT, 0, value),
        lambda: hk.conversations.put_agent(*AGENT, value),
    ]
    for change in changes:
        with pytest.raises(InvalidConversation, match=said):
            change()
    assert (list(hk.conversations.stream(*AGENT)), hk.conversations.agent(*AGENT)) == ([(0, {"a": 1})], None)


def test_deep_nesting_is_allowed(hk: Harken) -> None:
    """A value with 500 levels, in tuples too, is stored and returned."""
    hk.conversations.append(*AGENT, 0, {"tuple": (_deep(497),)})
    assert hk.conversations.message(*AGENT, 0) == {"tuple": [_deep(497)]}
    hk.conversations.put_agent(*AGENT, _deep(499))
    assert hk.conversations.agents("default", "s") == {"helper": _deep(499)}


@pytest.mark.parametrize("number", [-1, 2**63])
def test_invalid_numbers(hk: Harken, number: int) -> None:
    """A number that some storage cannot store is refused by all."""
    for change in (hk.conversations.append, hk.conversations.replace):
        with pytest.raises(InvalidConversation, match=rf"numbered from 0 to 2\*\*63 - 1, got {number}"):
            change(*AGENT, number, {})


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (("default", "", "helper"), "session_id must not be empty"),
        (("default", "s", "a\0b"), "agent_id must not contain control characters"),
        (("x" * 300, "s", "helper"), r"application too long: 300 characters \(max: 200\)"),
    ],
)
def test_invalid_ids(hk: Harken, ids: tuple[str, str, str], said: str) -> None:
    """Ids follow the same rules as those of feedback."""
    calls: list[Callable[[], object]] = [
        lambda: hk.conversations.put_agent(*ids, {}),
        lambda: hk.conversations.agent(*ids),
        lambda: hk.conversations.append(*ids, 0, {}),
        lambda: hk.conversations.replace(*ids, 0, {}),
        lambda: hk.conversations.message(*ids, 0),
        lambda: list(hk.conversations.stream(*ids)),
        lambda: hk.conversations.count(*ids),
    ]
    for call in calls:
        with pytest.raises(InvalidConversation, match=said):
            call()


def test_messages_continue_their_own_conversation_only(hk: Harken) -> None:
    """They may be given in any order; after a different message none are stored, and their numbers are returned."""
    messages = [(number, {"n": number}) for number in (3, 1, 0, 2)]
    assert hk.conversations.append_many(*AGENT, []) == ()
    assert list(hk.conversations.append_many(*AGENT, messages[1:])) == []
    assert sorted(hk.conversations.append_many(*AGENT, messages)) == [0, 1, 2]
    assert [number for number, _ in hk.conversations.stream(*AGENT)] == [0, 1, 2, 3]
    other = [(5, {"n": 5}), (3, {"n": "other"}), (4, {"n": 4})]
    assert sorted(hk.conversations.append_many(*AGENT, other)) == [3, 4, 5]
    assert hk.conversations.count(*AGENT) == 4

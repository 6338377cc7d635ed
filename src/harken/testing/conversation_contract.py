"""Contract tests for conversation repositories."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from harken.ports.conversations import MAX_NESTING, JsonObject
from harken.ports.sessions import JsonValue
from harken.ports.storage import Storage
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage

#: The session that most tests use.
_HERE = ("default", "s")
_HELPER = (*_HERE, "helper")
_OTHERS = [("other", "s", "helper"), ("default", "s2", "helper"), ("default", "S", "helper"), (*_HERE, "Helper")]


class ConversationContract(FreshStorage):
    """Each number has one message, and an agent's state is the one stored last."""

    def test_conversations_come_back_equal(self) -> None:
        """Any JSON object is returned unchanged, including the order of names and text that is not valid Unicode."""
        value: dict[str, JsonValue] = {
            "b": [1, 1.0, True, None, {"x": "ü", "$set": [], "a.b": {}}, 2**70],
            "a": "half of a pair: \ud83d, and nothing: \x00",
            "": 2**63 - 1,
            "größe '\"%_\\": -0.5,
        }
        with self.open_storage() as storage:
            for agent in (_HELPER, ("größe", "✓ $set a.b", "агент '\"%_\\")):
                check_same(storage.conversations.agent(*agent), None)
                storage.conversations.put_agent(*agent, value)
                check_same(storage.conversations.agent(*agent), value)
                check_same(storage.conversations.append(*agent, 0, value), True)
                check_same(_read(storage, *agent), [(0, value)])

    def test_deeply_nested_values_come_back_equal(self) -> None:
        """A value with as many levels of objects and lists as are allowed is returned unchanged."""
        inner: JsonValue = []
        for level in range(MAX_NESTING - 2):
            inner = [inner] if level % 2 else {"in": inner}
        value = {"value": inner}
        with self.open_storage() as storage:
            storage.conversations.put_agent(*_HELPER, value)
            check_same(storage.conversations.agent(*_HELPER), value)
            check_same(dict(storage.conversations.agents(*_HERE)), {"helper": value})
            storage.conversations.append(*_HELPER, 0, value)
            check_same(_read(storage, *_HELPER), [(0, value)])

    def test_the_latest_state_of_an_agent_is_returned(self) -> None:
        """``put_agent`` replaces the whole state of one agent, and affects no other agent, session or application."""
        with self.open_storage() as storage:
            for value in ({"a": 1, "b": 2}, {"a": 3}):
                storage.conversations.put_agent(*_HELPER, value)
            for agent in _OTHERS:
                check_same(storage.conversations.agent(*agent), None)
                storage.conversations.put_agent(*agent, {"other": True})
            check_same(storage.conversations.agent(*_HELPER), {"a": 3})

    def test_a_state_that_must_not_be_replaced_is_kept(self) -> None:
        """Without ``replace``, ``put_agent`` stores the first state of an agent, and refuses others."""
        with self.open_storage() as storage:
            put = partial(storage.conversations.put_agent, *_HELPER)
            check_same([put({"a": 1}, replace=False), put({"a": 2}, replace=False)], [True, False])
            check_same(storage.conversations.agent(*_HELPER), {"a": 1})
            check_same([put({"a": 3}), put({"a": 4}, replace=False)], [True, False])
            check_same(storage.conversations.agent(*_HELPER), {"a": 3})
            for agent in _OTHERS:
                check_same(storage.conversations.put_agent(*agent, {"other": True}, replace=False), True)

    def test_one_of_several_racing_states_is_stored(self) -> None:
        """If several threads store the first state of an agent, one succeeds, and its state is stored."""
        with self.open_storage() as storage:
            for name in ("a", "b", "c"):
                put = partial(storage.conversations.put_agent, *_HERE, name, replace=False)
                won = at_once([partial(put, {"rival": rival}) for rival in range(8)])
                check_same(sum(won), 1)
                check_same(storage.conversations.agent(*_HERE, name), {"rival": won.index(True)})

    def test_agents_are_sorted(self) -> None:
        """``agents`` returns the agents that have a state, by code point; having messages is not enough."""
        names = ["Z", "a", "b", "é", "\uff5e", "\U0001f44d"]
        with self.open_storage() as storage:
            check_same(dict(storage.conversations.agents(*_HERE)), {})
            for name in reversed(names):
                storage.conversations.put_agent(*_HERE, name, {"name": name})
            storage.conversations.put_agent("other", "s", "elsewhere", {})
            storage.conversations.append(*_HERE, "quiet", 0, {})
            check_same(dict(storage.conversations.agents(*_HERE)), {name: {"name": name} for name in names})

    def test_speakers_are_sorted(self) -> None:
        """``speakers`` returns the agents that have messages, once each, by code point; a state is not enough."""
        names = ["Z", "a", "b", "é", "\uff5e", "\U0001f44d"]
        with self.open_storage() as storage:
            check_same(list(storage.conversations.speakers(*_HERE)), [])
            for name in reversed(names):
                for number in (0, 1):
                    storage.conversations.append(*_HERE, name, number, {})
            storage.conversations.append("other", "s", "elsewhere", 0, {})
            storage.conversations.put_agent(*_HERE, "quiet", {})
            check_same(list(storage.conversations.speakers(*_HERE)), names)
            storage.conversations.erase(*_HERE)
            check_same(list(storage.conversations.speakers(*_HERE)), [])

    def test_a_number_is_used_once(self) -> None:
        """``append`` refuses a number that is in use and keeps the stored message."""
        with self.open_storage() as storage:
            append = partial(storage.conversations.append, *_HELPER)
            check_same([append(number, {"n": number}) for number in (1, 0, 1)], [True, True, False])
            check_same(append(1, {"n": "other"}), False)
            check_same(_read(storage, *_HELPER), [(0, {"n": 0}), (1, {"n": 1})])
            check_same([storage.conversations.append(*agent, 1, {}) for agent in _OTHERS], [True] * len(_OTHERS))

    def test_many_messages_are_appended_at_once(self) -> None:
        """``append_many`` stores the messages that are missing, and returns the other numbers; no other agent's."""
        messages = [(number, {"n": number}) for number in (*range(200), 2**63 - 1)]
        with self.open_storage() as storage:
            for number in (3, 150):
                storage.conversations.append(*_HELPER, number, {"n": number})
            for agent in _OTHERS:
                storage.conversations.append(*agent, 4, {"other": True})
            check_same(sorted(storage.conversations.append_many(*_HELPER, messages)), [3, 150])
            check_same(_read(storage, *_HELPER), messages)
            check_same(sorted(storage.conversations.append_many(*_HELPER, messages)), [n for n, _ in messages])
            check_same(_read(storage, *_HELPER), messages)
            check_same([storage.conversations.count(*agent) for agent in _OTHERS], [1] * len(_OTHERS))

    def test_another_conversation_gets_no_messages(self) -> None:
        """``append_many`` stores nothing after a stored message that differs, or that is not among the given ones."""
        messages = [_said(number) for number in range(0, 300, 2)]
        for number, different in ((100, _said(100, said="other")), (101, _said(101))):
            with self.open_storage() as storage:
                stored = [_said(10), different, _said(120)]
                for one in stored:
                    storage.conversations.append(*_HELPER, *one)
                earlier = [one for one in messages if one[0] < number]
                for already in ([10], [n for n, _ in earlier]):
                    left = storage.conversations.append_many(*_HELPER, messages)
                    check_same(sorted(left), [*already, *(n for n, _ in messages if n >= number)])
                    check_same(_read(storage, *_HELPER), [*earlier, *stored[1:]])

    def test_what_is_stored_with_a_message_may_differ(self) -> None:
        """``append_many`` continues after the same ``message`` with other values beside it, and does not change it."""
        stored: JsonObject = {"metrics": 1, "message": {"b": 1, "a": 2}}
        beginning: JsonObject = {"message": {"a": 2, "b": 1}}
        with self.open_storage() as storage:
            storage.conversations.append(*_HELPER, 0, stored)
            check_same(list(storage.conversations.append_many(*_HELPER, [(0, beginning), _said(1)])), [0])
            check_same(_read(storage, *_HELPER), [(0, stored), _said(1)])
            # 1, 1.0 and true are different.
            other = [_said(1, said=True), _said(2)]
            check_same(sorted(storage.conversations.append_many(*_HELPER, other)), [1, 2])
            check_same(storage.conversations.count(*_HELPER), 2)

    def test_messages_before_the_given_ones_are_compared(self) -> None:
        """With ``after``, stored messages above that number count; by default, those from the first given one on."""
        with self.open_storage() as storage:
            for number in (0, 1):
                storage.conversations.append(*_HELPER, number, {"n": number})
            append_many = partial(storage.conversations.append_many, *_HELPER)
            for after in (-1, 0):
                check_same(list(append_many([(2, {"n": 2})], after=after)), [2])
            check_same(list(append_many([(2, {"n": 2})], after=1)), [])
            check_same(list(append_many([(3, {"n": 3})])), [])
            # A longer conversation with the same beginning is the same one.
            check_same(sorted(append_many([(0, {"n": 0}), (1, {"n": 1})], after=-1)), [0, 1])
            check_same([number for number, _ in _read(storage, *_HELPER)], [0, 1, 2, 3])

    def test_racing_conversations_are_not_mixed(self) -> None:
        """If several threads append different messages with the same numbers, all stored messages are of one thread."""
        rivals = [[(number, {"rival": rival}) for number in range(2 * rival + 2)] for rival in range(4)]
        with self.open_storage() as storage:
            for name in ("a", "b", "c", "d", "e"):
                append_many = partial(storage.conversations.append_many, *_HERE, name)
                left = at_once([partial(append_many, messages) for messages in rivals])
                stored = _read(storage, *_HERE, name)
                check_same([one == stored for one in rivals], [not one for one in left])
                check_same(stored in rivals, True)

    def test_only_an_existing_message_is_replaced(self) -> None:
        """``replace`` changes the message with this number if it exists, and no other message."""
        with self.open_storage() as storage:
            storage.conversations.put_agent(*_HELPER, {})
            for agent in (_HELPER, *_OTHERS):
                for number in (0, 1):
                    storage.conversations.append(*agent, number, {"n": number})
            check_same([storage.conversations.replace(*_HELPER, n, {"new": n}) for n in (1, 2)], [True, False])
            check_same(storage.conversations.replace(*_HERE, "nobody", 1, {}), False)
            check_same(_read(storage, *_HELPER), [(0, {"n": 0}), (1, {"new": 1})])
            check_same([_read(storage, *agent) for agent in _OTHERS], [[(0, {"n": 0}), (1, {"n": 1})]] * len(_OTHERS))

    def test_messages_are_sorted_by_number(self) -> None:
        """Pages are ordered by number, compared as numbers, however the messages were appended."""
        numbers = [0, 1, 2, 9, 10, 11, 100, 2**31, 2**53 + 1, 2**63 - 1]
        with self.open_storage() as storage:
            for number in reversed(numbers):
                storage.conversations.append(*_HELPER, number, {"n": number})
            messages = partial(storage.conversations.messages, *_HELPER)
            check_same(_read(storage, *_HELPER), [(number, {"n": number}) for number in numbers])
            pages = [
                [number for number, _ in messages(limit=4, after=after)] for after in (-1, 9, 10, 2**53, 2**63 - 1)
            ]
            check_same(pages, [[0, 1, 2, 9], [10, 11, 100, 2**31], [11, 100, 2**31, 2**53 + 1], numbers[-2:], []])
            check_same(list(messages(limit=0)), [])

    def test_a_page_can_hold_a_long_conversation(self) -> None:
        """A page with a sufficient limit returns all messages, however many the adapter reads at a time."""
        with self.open_storage() as storage:
            for number in range(250):
                storage.conversations.append(*_HELPER, number, {"n": number})
            check_same([number for number, _ in _read(storage, *_HELPER)], list(range(250)))
            check_same(storage.conversations.count(*_HELPER), 250)

    def test_messages_are_counted(self) -> None:
        """``count`` counts the messages of one agent or of a session; an agent without messages has zero."""
        with self.open_storage() as storage:
            check_same(storage.conversations.count(*_HERE), 0)
            storage.conversations.put_agent(*_HELPER, {})
            for number in (7, 8):
                storage.conversations.append(*_HELPER, number, {})
            for agent in _OTHERS:
                storage.conversations.append(*agent, 0, {})
            storage.conversations.replace(*_HELPER, 7, {"a": 1})
            counted = [storage.conversations.count(*_HERE, agent_id) for agent_id in ("helper", "Helper", "h", None)]
            check_same(counted, [2, 1, 0, 3])

    def test_an_erased_session_is_gone(self) -> None:
        """``erase`` removes all agents and messages of one session, and returns the number of messages."""
        with self.open_storage() as storage:
            check_same(storage.conversations.erase(*_HERE), 0)
            for agent in (_HELPER, *_OTHERS):
                storage.conversations.put_agent(*agent, {"a": 1})
                for number in (0, 1):
                    storage.conversations.append(*agent, number, {})
            check_same([storage.conversations.erase(*_HERE) for _ in range(2)], [4, 0])
            check_same((dict(storage.conversations.agents(*_HERE)), storage.conversations.count(*_HERE)), ({}, 0))
            check_same([_read(storage, *agent) for agent in (_HELPER, _OTHERS[-1])], [[], []])
            check_same(list(storage.conversations.sessions()), [("default", "S"), ("default", "s2"), ("other", "s")])
            check_same(storage.conversations.append(*_HELPER, 0, {"new": True}), True)
            check_same(_read(storage, *_HELPER), [(0, {"new": True})])

    def test_sessions_are_listed_once(self) -> None:
        """``sessions`` is ordered by application and id, by code point; agents, messages or both are sufficient."""
        places = [("a", "Z"), ("a", "s"), ("a", "s 2"), ("a", "é"), ("a", "\uff5e"), ("a", "\U0001f44d"), ("a b", "r")]
        with self.open_storage() as storage:
            check_same(list(storage.conversations.sessions()), [])
            for index, place in enumerate(reversed(places)):
                if index % 3 != 0:
                    storage.conversations.put_agent(*place, "helper", {})
                if index % 3 != 1:
                    storage.conversations.append(*place, "helper", 0, {})
                    storage.conversations.append(*place, "other", 0, {})
            check_same(list(storage.conversations.sessions()), places)

    def test_sessions_may_change_while_they_are_listed(self) -> None:
        """A session that exists throughout is listed exactly once, even if others are added and erased meanwhile."""
        names = [f"session-{number:05}" for number in range(250)]
        with self.open_storage() as storage:
            for name in names:
                storage.conversations.append("default", name, "helper", 0, {})
            seen = []
            for application, session_id in storage.conversations.sessions():
                seen.append(session_id)
                if len(seen) % 20 == 0:
                    storage.conversations.put_agent(application, session_id, "helper", {})
                    storage.conversations.erase(application, names[len(seen) - 2])
            check_same(seen, names)

    def test_conversations_are_copied(self) -> None:
        """Changing an object that was stored or returned does not change the storage."""
        taken_in: dict[str, JsonValue] = {"list": [1]}
        with self.open_storage() as storage:
            storage.conversations.put_agent(*_HELPER, taken_in)
            storage.conversations.append(*_HELPER, 0, taken_in)
            storage.conversations.append(*_HELPER, 1, {})
            storage.conversations.replace(*_HELPER, 1, taken_in)
            storage.conversations.append_many(*_HELPER, [(2, taken_in)])
            _change(taken_in)
            _change(storage.conversations.agent(*_HELPER))
            _change(storage.conversations.agents(*_HERE)["helper"])
            for _, message in _read(storage, *_HELPER):
                _change(message)
            check_same(storage.conversations.agent(*_HELPER), {"list": [1]})
            check_same(_read(storage, *_HELPER), [(number, {"list": [1]}) for number in range(3)])

    def test_one_of_several_racing_messages_is_stored(self) -> None:
        """If several threads append with the same number, one succeeds, and its message is stored."""
        with self.open_storage() as storage:
            for number in (0, 1):
                append = partial(storage.conversations.append, *_HELPER, number)
                won = at_once([partial(append, {"rival": rival}) for rival in range(8)])
                check_same(sum(won), 1)
                check_same(_read(storage, *_HELPER)[number], (number, {"rival": won.index(True)}))

    def test_racing_messages_with_different_numbers_are_all_stored(self) -> None:
        """Threads that append with different numbers do not overwrite each other."""
        with self.open_storage() as storage:
            at_once([partial(storage.conversations.append, *_HELPER, number, {"n": number}) for number in range(8)])
            check_same(_read(storage, *_HELPER), [(number, {"n": number}) for number in range(8)])


def _read(storage: Storage, application: str, session_id: str, agent_id: str) -> list[tuple[int, JsonObject]]:
    return list(storage.conversations.messages(application, session_id, agent_id, limit=9_999))


def _said(number: int, said: JsonValue = None) -> tuple[int, JsonObject]:
    """A message with its number, by default with that number as its content."""
    return number, {"message": {"said": number if said is None else said}}


def _change(value: Mapping[str, JsonValue] | None) -> None:
    """Change a value one level down, as a careless caller might."""
    inner = value["list"] if value else None
    if isinstance(inner, list):
        inner.append(2)

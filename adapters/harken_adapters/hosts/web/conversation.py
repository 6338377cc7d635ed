"""The part of a stored conversation that feedback is about."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from attrs import evolve, frozen

from harken import Feedback, Harken
from harken_adapters.formats.messages import Message

#: The number of messages before and after the one in question.
_BEFORE: Final = 20
_AFTER: Final = 10
#: The number of stored messages that are read at once, each of which may have megabytes: at first, and at most while
#: they are small.
_FIRST_PAGE: Final = 4
_LARGEST_PAGE: Final = 100
_SMALL_PAGE: Final = 1_000_000
#: How much is searched for the message in question, from the start of each conversation: stored messages of an agent,
#: and characters of all.
_SEARCHED: Final = 10_000
_READ: Final = 100_000_000
#: The characters of a message that are shown; and of one that is shown in full.
_SHORT: Final = 2_000
_LONG: Final = 200_000


@frozen(kw_only=True)
class Spoken:
    """A message of a conversation.

    Attributes:
        number: its number in the conversation of its agent.
        message: the message, with the part of its text that is shown.
        size: the number of characters of its whole text.
        is_subject: whether the feedback is about it.
        is_whole: whether it is shown in full, as far as a page can.
    """

    number: int
    message: Message
    size: int
    is_subject: bool
    is_whole: bool

    @property
    def left_out(self) -> int:
        """The number of characters that are not shown."""
        return self.size - len(self.message.text)


@frozen(kw_only=True)
class Conversation:
    """The messages around the one in question; or the last ones, if that is not found.

    Attributes:
        agent_id: the agent; empty if there are no messages.
        messages: the messages, oldest first.
        earlier: the number of stored messages before them.
        later: the number of stored messages after them.
        is_missing: whether the feedback names a message that was not found.
    """

    agent_id: str = ""
    messages: Sequence[Spoken] = ()
    earlier: int = 0
    later: int = 0
    is_missing: bool = False


def conversation_of(hk: Harken, feedback: Feedback, speakers: Sequence[str], whole: int | None) -> Conversation:
    """The part of its session's conversation that feedback is about.

    Only a few messages are held in memory at a time, as each may be large.

    Args:
        hk: the Harken that is served.
        feedback: the feedback.
        speakers: the agents whose messages may be shown.
        whole: the number of the message that is shown in full; of the others, only the start is.
    """
    reader = _Reader(hk, feedback, whole)
    # That of the named agent first: ids could be repeated.
    agents = sorted(speakers, key=lambda speaker: speaker != feedback.agent_id)
    if feedback.message_id is not None:
        for agent_id in agents:
            if found := reader.around(agent_id):
                return reader.placed(agent_id, found, is_missing=False)
    for agent_id in agents:
        if found := reader.last(agent_id):
            return reader.placed(agent_id, found, is_missing=feedback.message_id is not None)
    return Conversation()


class _Reader:
    """Reads the conversations of a session, up to a number of characters in all."""

    def __init__(self, hk: Harken, feedback: Feedback, whole: int | None) -> None:
        self._hk = hk
        self._feedback = feedback
        self._whole = whole
        self._left = _READ

    def around(self, agent_id: str) -> list[Spoken]:
        """The messages around the one in question; none if it is not found."""
        before: deque[Spoken] = deque(maxlen=_BEFORE)
        spoken = self._spoken(agent_id, after=-1)
        for one in spoken:
            if one.is_subject:
                return [*before, one, *islice(spoken, _AFTER)]
            before.append(one)
        return []

    def last(self, agent_id: str) -> list[Spoken]:
        """The last messages. Messages are numbered without gaps, unless their caller does otherwise."""
        most = _BEFORE + 1 + _AFTER
        # Also if the search for the message in question read as much as it may.
        self._left = max(self._left, _READ // 10)
        return [*deque(self._spoken(agent_id, after=self._count(agent_id) - 2 * most), maxlen=most)]

    def placed(self, agent_id: str, messages: list[Spoken], *, is_missing: bool) -> Conversation:
        """The conversation with these messages."""
        total = self._count(agent_id)
        return Conversation(
            agent_id=agent_id,
            messages=messages,
            earlier=min(messages[0].number, total),
            later=max(0, total - 1 - messages[-1].number),
            is_missing=is_missing,
        )

    def _count(self, agent_id: str) -> int:
        return self._hk.conversations.count(self._feedback.application, self._feedback.session_id, agent_id)

    def _spoken(self, agent_id: str, *, after: int) -> Iterator[Spoken]:
        """The messages with words of people or agents after a number."""
        application, session_id = self._feedback.application, self._feedback.session_id
        after, stored, limit = max(after, -1), 0, _FIRST_PAGE
        while stored < _SEARCHED and self._left > 0:
            page = self._hk.conversations.messages(application, session_id, agent_id, limit=limit, after=after)
            if not page:
                return
            size = sum(len(json.dumps(record, ensure_ascii=False)) for _, record in page)
            stored, self._left = stored + len(page), self._left - size
            limit = min(limit * 2, _LARGEST_PAGE) if size < _SMALL_PAGE else max(1, limit // 4)
            for number, record in page:
                message = Message.of(record)
                if message.text and not message.has_tool_results:
                    yield self._shown(number, message)
            after = page[-1][0]

    def _shown(self, number: int, message: Message) -> Spoken:
        is_whole = number == self._whole
        return Spoken(
            number=number,
            message=evolve(message, text=message.text[: _LONG if is_whole else _SHORT]),
            size=len(message.text),
            is_subject=message.id is not None and message.id == self._feedback.message_id,
            is_whole=is_whole,
        )

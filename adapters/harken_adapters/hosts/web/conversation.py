"""The part of a stored conversation that feedback is about."""

from __future__ import annotations

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
#: The number of stored messages that are read at once, each of which may have megabytes.
_PAGE: Final = 20
#: How much of the conversation of each agent is searched for the message in question, from its start: stored messages,
#: and characters of their texts.
_SEARCHED: Final = 10_000
_READ: Final = 500_000_000
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
    # That of the named agent first: ids could be repeated.
    agents = sorted(speakers, key=lambda speaker: speaker != feedback.agent_id)
    if feedback.message_id is not None:
        for agent_id in agents:
            if found := _around(hk, feedback, agent_id, whole):
                return _placed(hk, feedback, agent_id, found, is_missing=False)
    for agent_id in agents:
        if found := _last(hk, feedback, agent_id, whole):
            return _placed(hk, feedback, agent_id, found, is_missing=feedback.message_id is not None)
    return Conversation()


def _around(hk: Harken, feedback: Feedback, agent_id: str, whole: int | None) -> list[Spoken]:
    """The messages around the one in question; none if it is not found."""
    before: deque[Spoken] = deque(maxlen=_BEFORE)
    spoken = _spoken(hk, feedback, agent_id, whole, after=-1)
    for one in spoken:
        if one.is_subject:
            return [*before, one, *islice(spoken, _AFTER)]
        before.append(one)
    return []


def _last(hk: Harken, feedback: Feedback, agent_id: str, whole: int | None) -> list[Spoken]:
    """The last messages. Messages are numbered without gaps, unless their caller does otherwise."""
    count = hk.conversations.count(feedback.application, feedback.session_id, agent_id)
    most = _BEFORE + 1 + _AFTER
    return [*deque(_spoken(hk, feedback, agent_id, whole, after=count - 2 * most), maxlen=most)]


def _spoken(hk: Harken, feedback: Feedback, agent_id: str, whole: int | None, *, after: int) -> Iterator[Spoken]:
    """The messages with words of people or agents after a number."""
    application, session_id = feedback.application, feedback.session_id
    after, stored, size = max(after, -1), 0, 0
    while stored < _SEARCHED and size < _READ:
        page = hk.conversations.messages(application, session_id, agent_id, limit=_PAGE, after=after)
        if not page:
            return
        for number, record in page:
            message = Message.of(record)
            stored, size = stored + 1, size + len(message.text)
            if message.text and not message.has_tool_results:
                yield Spoken(
                    number=number,
                    message=evolve(message, text=message.text[: _LONG if number == whole else _SHORT]),
                    size=len(message.text),
                    is_subject=message.id is not None and message.id == feedback.message_id,
                    is_whole=number == whole,
                )
        after = page[-1][0]


def _placed(hk: Harken, feedback: Feedback, agent_id: str, messages: list[Spoken], *, is_missing: bool) -> Conversation:
    total = hk.conversations.count(feedback.application, feedback.session_id, agent_id)
    return Conversation(
        agent_id=agent_id,
        messages=messages,
        earlier=min(messages[0].number, total),
        later=max(0, total - 1 - messages[-1].number),
        is_missing=is_missing,
    )

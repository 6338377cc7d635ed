"""Conversations: the messages and the state of agents, by session."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from operator import itemgetter
from typing import Any, Final

from attrs import frozen

from harken.domain.errors import ConversationConflict, InvalidConversation
from harken.domain.metadata import is_same_json
from harken.domain.rules import label_problem
from harken.ports.conversations import MAX_NESTING, ConversationRepository, JsonObject, is_same_message

#: Bytes of a message, or of the state of an agent, as JSON. MongoDB stores up to 16 MB in a document.
MAX_SIZE: Final = 12 * 1024 * 1024
_MAX_NUMBER: Final = 2**63 - 1
_PAGE: Final = 500
#: How many messages a merge stores at once, as each may have 12 MB.
_MERGED_AT_ONCE: Final = 100
OTHER_VALUE: Final = "the target has another value, which was kept"
CONTINUED: Final = "the conversation was continued or changed in the target, which has another message before this one"


@frozen
class MergedMessage:
    """What became of a message in a merge.

    Attributes:
        number: its number.
        message: its record.
        added: whether it was added. Otherwise the target had the same one, unless it was refused.
        refused: why it was refused; empty if the target has it.
    """

    number: int
    message: JsonObject
    added: bool = False
    refused: str = ""


class ConversationService:
    """Stores the messages and the state of agents, so that a conversation can continue."""

    def __init__(self, repository: ConversationRepository) -> None:
        self._repository = repository

    def agents(self, application: str, session_id: str) -> Mapping[str, JsonObject]:
        """The state of the agents of a session, by agent id, sorted."""
        _check_ids(application=application, session_id=session_id)
        return self._repository.agents(application, session_id)

    def agent(self, application: str, session_id: str, agent_id: str) -> JsonObject | None:
        """The state of an agent; ``None`` if it is not in the session."""
        _check_ids(application=application, session_id=session_id, agent_id=agent_id)
        return self._repository.agent(application, session_id, agent_id)

    def put_agent(
        self, application: str, session_id: str, agent_id: str, value: JsonObject, *, replace: bool = True
    ) -> bool:
        """Store the state of an agent, and replace its earlier state.

        Without ``replace``, returns ``False``, and stores nothing, if the agent has a state, also one that is stored at
        the same time. Otherwise ``True``.

        Raises:
            InvalidConversation: an id is invalid, or the value is not valid JSON, too large or nested too deeply;
                nothing was changed.
        """
        _check_ids(application=application, session_id=session_id, agent_id=agent_id)
        _check_json(f"The state of agent {agent_id!r}", value)
        return self._repository.put_agent(application, session_id, agent_id, value, replace=replace)

    def append(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> None:
        """Store a message; on return it is durable. Numbers start with 0.

        Raises:
            ConversationConflict: there is a message with that number, which is not changed.
            InvalidConversation: an id is invalid, or the message is not valid JSON, too large or nested too deeply.
        """
        self._check_message(application, session_id, agent_id, number, message)
        if not self._repository.append(application, session_id, agent_id, number, message):
            raise ConversationConflict(
                f"Agent {agent_id!r} already has a message {number} in session {session_id!r}, which was not changed. "
                "Another process continues this conversation: load it again"
            )

    def append_many(
        self,
        application: str,
        session_id: str,
        agent_id: str,
        messages: Sequence[tuple[int, JsonObject]],
        *,
        after: int | None = None,
    ) -> Collection[int]:
        """Continue a conversation with messages and their numbers; on return they are durable.

        They are stored in the order of their numbers. An equal message that is stored already is skipped: other values
        in its record, such as metrics, may differ. Messages from the first on that differs from a stored one, or that
        follows a stored one that is not among them, are not stored: they belong to another conversation. Messages that
        are stored at the same time are taken into account; on MongoDB, only those with one of these numbers.

        Args:
            application: the application.
            session_id: the session.
            agent_id: the agent.
            messages: the messages.
            after: they are compared with all stored messages above this number; by default, from the first of these on.

        Returns:
            The numbers of the messages that were not stored.

        Raises:
            InvalidConversation: an id is invalid, two messages have the same number, or a message is not valid JSON,
                too large or nested too deeply; nothing was stored.
        """
        for number, message in messages:
            self._check_message(application, session_id, agent_id, number, message)
        if len({number for number, _ in messages}) < len(messages):
            raise InvalidConversation(f"The numbers of the messages of agent {agent_id!r} must differ")
        in_order = sorted(messages, key=itemgetter(0))
        return (
            self._repository.append_many(application, session_id, agent_id, in_order, after=after) if messages else ()
        )

    def merge(
        self, application: str, session_id: str, agent_id: str, messages: Iterable[tuple[int, JsonObject]]
    ) -> Iterator[MergedMessage]:
        """Add the messages of an agent that are missing, and change no existing one. Yields what became of each.

        Once a stored message differs, or is not among these, later ones are not added: they would not follow the
        messages that they belong to. See :meth:`append_many`. Invalid messages are refused one by one.

        Args:
            application: the application.
            session_id: the session.
            agent_id: the agent.
            messages: all messages of the agent, sorted by number, each number once. They are stored in batches.
        """
        remaining = iter(messages)
        after, is_continued = -1, False
        while batch := dict(islice(remaining, _MERGED_AT_ONCE)):
            agent = (application, session_id, agent_id)
            merged, is_continued = self._merge(agent, batch, after, is_continued=is_continued)
            yield from merged
            after = max(batch)

    def replace(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> None:
        """Replace the message with that number, for example by a redacted one.

        Raises:
            ConversationConflict: there is no message with that number.
            InvalidConversation: an id is invalid, or the message is not valid JSON, too large or nested too deeply.
        """
        self._check_message(application, session_id, agent_id, number, message)
        if not self._repository.replace(application, session_id, agent_id, number, message):
            raise ConversationConflict(f"Agent {agent_id!r} has no message {number} in session {session_id!r}")

    def speakers(self, application: str, session_id: str) -> Sequence[str]:
        """The ids of the agents that have messages in a session, sorted; including agents without state."""
        _check_ids(application=application, session_id=session_id)
        return self._repository.speakers(application, session_id)

    def message(self, application: str, session_id: str, agent_id: str, number: int) -> JsonObject | None:
        """The message with that number; ``None`` if there is none."""
        page = self.messages(application, session_id, agent_id, limit=1, after=number - 1)
        return next((message for found, message in page if found == number), None)

    def messages(
        self, application: str, session_id: str, agent_id: str, *, limit: int, after: int = -1
    ) -> Sequence[tuple[int, JsonObject]]:
        """At most ``limit`` messages of an agent with numbers above ``after``, with their numbers, oldest first."""
        _check_ids(application=application, session_id=session_id, agent_id=agent_id)
        return self._repository.messages(application, session_id, agent_id, limit=limit, after=after)

    def stream(
        self, application: str, session_id: str, agent_id: str, *, after: int = -1, limit: int | None = None
    ) -> Iterator[tuple[int, JsonObject]]:
        """Messages of an agent with numbers above ``after``, all or the first ``limit``, oldest first, page by page."""
        left = sys.maxsize if limit is None else limit
        while left > 0 and (
            page := self.messages(application, session_id, agent_id, limit=min(left, _PAGE), after=after)
        ):
            yield from page
            left -= len(page)
            after = page[-1][0]

    def count(self, application: str, session_id: str, agent_id: str | None = None) -> int:
        """The number of messages of an agent, or of all agents of the session if ``None``."""
        ids = {} if agent_id is None else {"agent_id": agent_id}
        _check_ids(application=application, session_id=session_id, **ids)
        return self._repository.count(application, session_id, agent_id)

    def erase(self, application: str, session_id: str) -> int:
        """Remove all agents and messages of a session permanently; returns the number of messages."""
        _check_ids(application=application, session_id=session_id)
        return self._repository.erase(application, session_id)

    def _merge(
        self, agent: tuple[str, str, str], batch: Mapping[int, JsonObject], after: int, *, is_continued: bool
    ) -> tuple[list[MergedMessage], bool]:
        """Merge messages that follow the number ``after``.

        Also returns whether the conversation was continued in the target, as it is given for earlier messages.
        """
        refused = {number: reason for number in batch if (reason := self._problem(*agent, number, batch[number]))}
        valid = {number: message for number, message in batch.items() if number not in refused}
        found: Collection[int] = valid
        if valid and not is_continued:
            found = self._repository.append_many(*agent, [*valid.items()], after=after)
        stored = dict(self._between(agent, after, max(batch))) if found else {}
        is_continued = is_continued or any(
            number not in valid or not is_same_message(message, valid[number]) for number, message in stored.items()
        )
        for number in found:
            if number not in stored:
                refused[number], is_continued = CONTINUED, True
            elif not is_same_json(stored[number], valid[number]):
                refused[number] = OTHER_VALUE
        merged = [
            MergedMessage(
                number, message, added=number in valid and number not in found, refused=refused.get(number, "")
            )
            for number, message in batch.items()
        ]
        return merged, is_continued

    def _between(self, agent: tuple[str, str, str], after: int, last: int) -> Iterator[tuple[int, JsonObject]]:
        """The messages with numbers above ``after``, up to ``last``."""
        while after < last and (page := self.messages(*agent, limit=_MERGED_AT_ONCE, after=after)):
            yield from takewhile(lambda one: one[0] <= last, page)
            after = page[-1][0]

    def _problem(self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject) -> str:
        """Why a message is invalid; empty if it is valid."""
        try:
            self._check_message(application, session_id, agent_id, number, message)
        except InvalidConversation as error:
            return str(error)
        return ""

    def _check_message(
        self, application: str, session_id: str, agent_id: str, number: int, message: JsonObject
    ) -> None:
        _check_ids(application=application, session_id=session_id, agent_id=agent_id)
        if not 0 <= number <= _MAX_NUMBER:
            raise InvalidConversation(f"Messages are numbered from 0 to 2**63 - 1, got {number}")
        _check_json(f"Message {number} of agent {agent_id!r}", message)


def _check_ids(**ids: str) -> None:
    if problems := [problem.message for name, value in ids.items() if (problem := label_problem(name, value))]:
        raise InvalidConversation("; ".join(problems))


def _check_json(what: str, value: JsonObject) -> None:
    try:
        size = len(json.dumps(value, allow_nan=False))
        nesting = _nesting(value)
    except (TypeError, ValueError) as error:
        raise InvalidConversation(f"{what} is not valid JSON: {error}") from error
    except RecursionError:
        nesting = MAX_NESTING + 1
    if nesting > MAX_NESTING:
        raise InvalidConversation(f"{what} is nested too deeply (max: {MAX_NESTING} levels of objects and lists)")
    if size > MAX_SIZE:
        raise InvalidConversation(f"{what} is too large: {size:,} bytes as JSON (max: {MAX_SIZE:,})")


def _nesting(value: JsonObject) -> int:
    """How deeply objects and lists are nested. Not recursive, so that deep nesting does no harm."""
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        items = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [item for item in items if isinstance(item, dict | list | tuple)]
    return depth

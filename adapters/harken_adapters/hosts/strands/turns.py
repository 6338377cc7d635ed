"""Determines the answer that a call of the feedback tool refers to.

A turn of an agent begins with a message of its user, which refers to the answer before it. So does a call of the tool
in this turn. After a rejected call the agent asks a question ("What was wrong?"), after an accepted call it thanks the
user. The user's next message may still refer to the first answer::

    Paris | "Wrong!" -> down, rejected | What was wrong? | "It is Canberra" -> down, stored | Noted | "No, fine" -> up

All three calls refer to "Paris". This is derived from the messages only, so restored messages give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from strands.types.content import Message
from strands.types.tools import ToolResult, ToolUse

from harken_adapters.hosts.strands.tools import FEEDBACK_TOOL, FeedbackCall

_BOOLEANS: Final = {"true": True, "false": False}


@frozen
class Answer:
    """An answer of an agent. ``message_id`` is the message's persistent ``tracking_id``."""

    agent_id: str
    message_id: str


@define(eq=False)
class _Call:
    """A call of the feedback tool, and whether its feedback was stored."""

    about: Answer | None
    rating: object
    stored: bool = False


@define
class _Turn:
    """A turn of an agent: from one message of its user to the next.

    Attributes:
        before: the latest answer when the turn began.
        earlier: the latest call when the turn began.
        follows: whether that answer ended the turn of that call.
        calls: the calls in the turn, by id.
        latest: the latest call in the turn.
    """

    before: Answer | None
    earlier: _Call | None
    follows: bool
    calls: dict[str, _Call] = field(factory=dict)
    latest: _Call | None = None

    def answer(self, rating: object, same_answer: bool | None) -> Answer | None:
        """The answer of a call. Without ``same_answer``, only another rating refers to the earlier answer."""
        if self.latest and same_answer is not False:
            return self.latest.about
        if self.earlier is None:
            return self.before
        if same_answer is None:
            same_answer = self.follows and not (self.earlier.stored and self.earlier.rating == rating)
        return self.earlier.about if same_answer else self.before

    def begin(self, uses: Sequence[ToolUse]) -> None:
        """Record the calls in a message. They run in parallel, so none of them affects another."""
        begun = {use["toolUseId"]: self._call(use["input"]) for use in uses if use["name"] == FEEDBACK_TOOL}
        self.latest = next(reversed(begun.values()), self.latest)
        self.calls |= begun

    def end(self, results: Sequence[ToolResult]) -> None:
        """Record the results of calls."""
        for result in results:
            if call := self.calls.get(result["toolUseId"]):
                call.stored = result.get("status") == "success"

    def _call(self, given: Any) -> _Call:
        # The model may have passed any value.
        arguments = given if isinstance(given, Mapping) else {}
        rating = arguments.get("rating")
        return _Call(self.answer(rating, _BOOLEANS.get(str(arguments.get("same_answer")).lower())), rating)


class Turns:
    """The turns of the agents of a session.

    Attributes:
        latest: the latest answer of any agent; ``None`` before the first one.
    """

    def __init__(self) -> None:
        self.latest: Answer | None = None
        self._latest_call: _Call | None = None
        self._follows = False
        #: The current or last turn, by agent.
        self._turns: dict[str, _Turn] = {}

    def observe(self, message: Message, agent_id: str) -> None:
        """Process a message of the user, an agent or a tool."""
        results = [block["toolResult"] for block in message["content"] if "toolResult" in block]
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        if message["role"] == "user" and not results:
            self._turns[agent_id] = self._new_turn()
            return
        turn = self._turns.setdefault(agent_id, self._new_turn())
        turn.end(results)
        turn.begin(uses)
        self._latest_call = turn.latest or self._latest_call
        # A message with tool calls is not an answer.
        if message["role"] == "assistant" and not uses and (tracking_id := message.get("tracking_id")):
            self.latest = Answer(agent_id, tracking_id)
            self._follows = self._latest_call is not turn.earlier

    def answer(self, call: FeedbackCall) -> Answer | None:
        """The answer that a call refers to; ``None`` before the first answer, when it refers to the session."""
        turn = self._turns.get(call.agent_id or "")
        if turn and (begun := turn.calls.get(call.call_id or "")):
            return begun.about
        # A program called the tool.
        return self._new_turn().answer(call.rating, call.same_answer)

    def _new_turn(self) -> _Turn:
        return _Turn(self.latest, self._latest_call, self._follows)

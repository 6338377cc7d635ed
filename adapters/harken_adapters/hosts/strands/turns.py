"""Which answer a call of the feedback tool is about.

A turn of an agent begins when its user says something, which is about the answer before; so that is what a call in this
turn is about, however much the agent says in it. A call that was refused leads to a question ("What was wrong?"), and
one that was kept to thanks. What the user says to those may still be about the first answer::

    Paris | "Wrong!" -> down, refused | What was wrong? | "It is Canberra" -> down, kept | Noted | "No, fine" -> up

All three calls are about "Paris". It all follows from the messages, so that restored ones lead to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from strands.types.content import Message
from strands.types.tools import ToolResult, ToolUse

from harken_adapters.hosts.strands.tools import FEEDBACK_TOOL, FeedbackCall

_SAID: Final = {"true": True, "false": False}


@frozen
class Answer:
    """An answer of an agent. ``message_id`` is the message's ``tracking_id``, which outlives the process."""

    agent_id: str
    message_id: str


@define(eq=False)
class _Call:
    """A call of the feedback tool, and whether what it said was kept."""

    about: Answer | None
    rating: object
    kept: bool = False


@define
class _Turn:
    """What an agent does from one thing that its user says until the next.

    Attributes:
        before: the latest answer when it began.
        earlier: the latest call when it began.
        goes_on: whether that answer ended the turn of that call.
        calls: the calls in it, by id.
        latest: the latest of them.
    """

    before: Answer | None
    earlier: _Call | None
    goes_on: bool
    calls: dict[str, _Call] = field(factory=dict)
    latest: _Call | None = None

    def answer(self, rating: object, same_answer: bool | None) -> Answer | None:
        """What a call is about; the guess without ``same_answer`` is that only a change is about the earlier one."""
        if self.latest and same_answer is not False:
            return self.latest.about
        if self.earlier is None:
            return self.before
        if same_answer is None:
            same_answer = self.goes_on and not (self.earlier.kept and self.earlier.rating == rating)
        return self.earlier.about if same_answer else self.before

    def begin(self, uses: Sequence[ToolUse]) -> None:
        """Note the calls in a message. They run in parallel, so none of them is about what another one decides."""
        begun = {use["toolUseId"]: self._call(use["input"]) for use in uses if use["name"] == FEEDBACK_TOOL}
        self.latest = next(reversed(begun.values()), self.latest)
        self.calls |= begun

    def end(self, results: Sequence[ToolResult]) -> None:
        """Note what came of calls."""
        for result in results:
            if call := self.calls.get(result["toolUseId"]):
                call.kept = result.get("status") == "success"

    def _call(self, given: Any) -> _Call:
        # As the model wrote it, so it may be anything.
        said = given if isinstance(given, Mapping) else {}
        rating = said.get("rating")
        return _Call(self.answer(rating, _SAID.get(str(said.get("same_answer")).lower())), rating)


class Turns:
    """The turns of the agents of a session.

    Attributes:
        latest: the latest answer of any of them; ``None`` before there is one.
    """

    def __init__(self) -> None:
        self.latest: Answer | None = None
        self._latest_call: _Call | None = None
        self._goes_on = False
        #: The current one, or the last, by agent.
        self._turns: dict[str, _Turn] = {}

    def hear(self, message: Message, agent_id: str) -> None:
        """Follow what is said: by the user, by an agent, or by a tool."""
        results = [block["toolResult"] for block in message["content"] if "toolResult" in block]
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        if message["role"] == "user" and not results:
            self._turns[agent_id] = self._new_turn()
            return
        turn = self._turns.setdefault(agent_id, self._new_turn())
        turn.end(results)
        turn.begin(uses)
        self._latest_call = turn.latest or self._latest_call
        # A message in which an agent calls tools is only on the way to an answer.
        if message["role"] == "assistant" and not uses and (tracking_id := message.get("tracking_id")):
            self.latest = Answer(agent_id, tracking_id)
            self._goes_on = self._latest_call is not turn.earlier

    def answer(self, call: FeedbackCall) -> Answer | None:
        """What a call of the feedback tool is about; ``None`` if that is the session, before there is an answer."""
        turn = self._turns.get(call.agent_id or "")
        if turn and (begun := turn.calls.get(call.call_id or "")):
            return begun.about
        # Called by a program.
        return self._new_turn().answer(call.rating, call.same_answer)

    def _new_turn(self) -> _Turn:
        return _Turn(self.latest, self._latest_call, self._goes_on)

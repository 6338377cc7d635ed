"""Tools for agents: keeping what their user says of an answer, and what they know of the session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, frozen
from strands import ToolContext, tool
from strands.types.tools import AgentTool

from harken import FeedbackRejected
from harken.domain.text_lists import as_texts
from harken.ports.sessions import JsonValue
from harken_adapters.hosts.strands.errors import session_errors

#: The name of the feedback tool.
FEEDBACK_TOOL: Final = "record_feedback"


@frozen
class FeedbackCall:
    """A call of the feedback tool.

    Attributes:
        rating: ``"up"``, ``"down"`` or ``"neutral"``, or what else a model says.
        comment: what the user said.
        same_answer: whether it is about the answer that the call before was about; ``None`` if the model does not say.
        agent_id: the agent that calls; ``None`` if a program does.
        call_id: Strands' id of the call.
    """

    rating: str
    comment: str = ""
    same_answer: bool | None = None
    agent_id: str | None = None
    call_id: str | None = None

    @property
    def vote(self) -> str | None:
        """The rating as Harken takes it."""
        return None if self.rating == "neutral" else self.rating


def feedback_tool(submit: Callable[[FeedbackCall], object]) -> AgentTool:
    """A tool with which an agent keeps what its user says of an answer.

    A model may call a tool twice, so ``submit`` should count what is said about one answer once.

    Args:
        submit: keeps the rating and the comment of a call, and gives ``None`` if it does not.
    """

    @tool(name=FEEDBACK_TOOL, context=True)
    def record_feedback(
        rating: str,
        comment: str = "",
        same_answer: bool | None = None,
        tool_context: ToolContext[Any] | None = None,
    ) -> dict[str, Any]:
        """Keep what the user thinks of your previous answer. Use it when the user praises or criticises an answer.

        Args:
            rating: "up" if they are satisfied, "down" if they are not, "neutral" if neither.
            comment: What they said about it, in their own words. A "down" needs it.
            same_answer: Only if you have called this tool before: true if the user explains or changes what they said
                then; false if they speak of an answer that you have given since.
            tool_context: Of the framework.
        """
        call = FeedbackCall(rating, comment, same_answer)
        if tool_context:
            call = evolve(call, agent_id=tool_context.agent.agent_id, call_id=tool_context.tool_use["toolUseId"])
        try:
            with session_errors():
                kept = submit(call)
        except FeedbackRejected as error:
            return _failed(f"Not kept: {error}")
        return _done("The feedback was kept." if kept is not None else "The feedback was not kept.")

    return record_feedback


def metadata_tool(
    *,
    get: Callable[[], Mapping[str, JsonValue]],
    update: Callable[[Mapping[str, JsonValue]], object],
    delete: Callable[[list[str]], object],
) -> AgentTool:
    """A tool with which an agent reads and changes what is known of its session.

    Args:
        get: gives all metadata.
        update: sets names, and leaves the others.
        delete: removes names; may return how many there were.
    """

    @tool
    def manage_metadata(
        action: str, metadata_to_set: dict[str, Any] | None = None, keys: list[str] | str | None = None
    ) -> dict[str, Any]:
        """Read or change what is known of this session: facts by name, such as the user's language or topic.

        Args:
            action: "get", "set" or "delete".
            metadata_to_set: For "set": the names and their new values; other names stay as they are.
            keys: For "get" and "delete": the names; "get" without them gives everything.
        """
        try:
            with session_errors():
                match action:
                    case "get":
                        return _done(_as_json(get(), keys))
                    case "set" if metadata_to_set:
                        update(metadata_to_set)
                        return _done(f"Set: {', '.join(metadata_to_set)}.")
                    case "delete" if keys:
                        names = list(as_texts(keys))
                        return _deleted(names, delete(names))
        except ValueError as error:
            return _failed(str(error))
        return _failed(
            f"Nothing was done for {action!r}; expected 'get', 'set' with metadata_to_set, or 'delete' with keys"
        )

    return manage_metadata


def _as_json(metadata: Mapping[str, JsonValue], keys: list[str] | str | None) -> str:
    wanted = metadata.keys() if keys is None else as_texts(keys)
    return json.dumps({name: value for name, value in metadata.items() if name in wanted})


def _deleted(names: list[str], there_were: object) -> dict[str, Any]:
    if there_were == 0:
        return _failed(f"Nothing was deleted: there is no {', '.join(names)}.")
    return _done(f"Deleted: {', '.join(names)}.")


def _done(text: str) -> dict[str, Any]:
    return {"status": "success", "content": [{"text": text}]}


def _failed(text: str) -> dict[str, Any]:
    return {"status": "error", "content": [{"text": text}]}

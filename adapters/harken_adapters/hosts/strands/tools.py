"""Tools for agents: recording feedback, and managing session metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

from attrs import evolve, frozen
from strands import ToolContext, tool
from strands.types.tools import AgentTool

from harken import FeedbackRejected, Rating, RatingValue
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue
from harken_adapters.hosts.strands.errors import session_errors

#: The name of the feedback tool.
FEEDBACK_TOOL: Final = "record_feedback"


@frozen
class FeedbackCall:
    """A call of the feedback tool.

    Attributes:
        rating: ``"up"``, ``"down"`` or ``"neutral"``; a model may pass any other text.
        comment: the user's comment.
        same_answer: whether it refers to the same answer as the previous call; ``None`` if the model does not say.
        agent_id: the calling agent; ``None`` if a program calls the tool.
        call_id: Strands' id of the call.
    """

    rating: str
    comment: str = ""
    same_answer: bool | None = None
    agent_id: str | None = None
    call_id: str | None = None

    @property
    def vote(self) -> RatingValue:
        """The rating as an argument of ``submit``, which rejects any other text."""
        with suppress(ValueError):
            return Rating.from_word(self.rating)
        return cast("RatingValue", self.rating)


def feedback_tool(submit: Callable[[FeedbackCall], object]) -> AgentTool:
    """A tool with which an agent records its user's feedback on an answer.

    A model may call a tool repeatedly, so ``submit`` should count feedback on one answer once.

    Args:
        submit: stores the feedback of a call; returns ``None`` if it does not.
    """

    @tool(name=FEEDBACK_TOOL, context=True)
    def record_feedback(
        rating: str,
        comment: str = "",
        same_answer: bool | None = None,
        tool_context: ToolContext[Any] | None = None,
    ) -> dict[str, Any]:
        """Record the user's feedback on your previous answer. Use it when the user praises or criticises an answer.

        Args:
            rating: "up" if they are satisfied, "down" if they are not, "neutral" if neither.
            comment: Their comment, in their own words. It is required for "down".
            same_answer: Only if you have called this tool before: true if the user explains or changes that feedback;
                false if they refer to an answer that you have given since.
            tool_context: Provided by the framework.
        """
        call = FeedbackCall(rating, comment, same_answer)
        if tool_context:
            call = evolve(call, agent_id=tool_context.agent.agent_id, call_id=tool_context.tool_use["toolUseId"])
        try:
            with session_errors():
                stored = submit(call)
        except FeedbackRejected as error:
            return _failed(f"Rejected: {error}")
        return _done("The feedback was stored." if stored is not None else "The feedback was not stored.")

    return record_feedback


def metadata_tool(
    *,
    get: Callable[[], Mapping[str, JsonValue]],
    update: Callable[[Mapping[str, JsonValue]], object],
    delete: Callable[[list[str]], object],
) -> AgentTool:
    """A tool with which an agent reads and changes the metadata of its session.

    Args:
        get: returns all metadata.
        update: sets names; other names stay unchanged.
        delete: removes names; may return how many existed.
    """

    @tool
    def manage_metadata(
        action: str, metadata_to_set: dict[str, Any] | None = None, keys: list[str] | str | None = None
    ) -> dict[str, Any]:
        """Read or change the metadata of this session: facts by name, such as the user's language or topic.

        Args:
            action: "get", "set" or "delete".
            metadata_to_set: For "set": the names and their new values; other names stay unchanged.
            keys: For "get" and "delete": the names; "get" without names returns all.
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
            f"Invalid call with action {action!r}; expected 'get', 'set' with metadata_to_set, or 'delete' with keys"
        )

    return manage_metadata


def _as_json(metadata: Mapping[str, JsonValue], keys: list[str] | str | None) -> str:
    wanted = metadata.keys() if keys is None else as_texts(keys)
    return json.dumps({name: value for name, value in metadata.items() if name in wanted})


def _deleted(names: list[str], count: object) -> dict[str, Any]:
    if count == 0:
        return _failed(f"Nothing was deleted: {', '.join(names)} not found.")
    return _done(f"Deleted: {', '.join(names)}.")


def _done(text: str) -> dict[str, Any]:
    return {"status": "success", "content": [{"text": text}]}


def _failed(text: str) -> dict[str, Any]:
    return {"status": "error", "content": [{"text": text}]}

"""Tools for agents: recording feedback, and managing session metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

from attrs import evolve, frozen
from strands import ToolContext, tool
from strands.types.tools import AgentTool

from harken import FeedbackRejected, Rating, RatingValue, StorageError
from harken.domain.metadata import find_paths
from harken.domain.texts import as_texts
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
    get: Callable[[], Mapping[str, Any]],
    update: Callable[[Mapping[str, Any]], object],
    delete: Callable[[list[str]], object],
) -> AgentTool:
    """The tool ``manage_metadata``. It returns text, also about errors.

    Args:
        get: returns all metadata.
        update: sets names; other names stay unchanged.
        delete: removes names; may return how many existed.
    """

    # Models pass JSON text where objects are expected, so that the schema accepts any value.
    @tool
    def manage_metadata(action: str, metadata: Any = None, keys: Any = None) -> str:
        """Read or change the metadata of this session: facts by name, such as the user's language or topic.

        Args:
            action: "get", "set" (or "update"), or "delete".
            metadata: For "set": an object with the names and their new values; other names stay unchanged.
            keys: For "get" and "delete": a list of names; "get" without names returns all.
        """
        try:
            match action.strip().lower():
                case "get":
                    return _found(get(), _names(keys))
                case "set" | "update":
                    changes = _changes(metadata)
                    update(changes)
                    return f"Successfully updated metadata fields: {list(changes)}"
                case "delete":
                    names = _names(keys, required=True)
                    return _deleted(names, delete(names))
        except (ValueError, StorageError) as error:
            return f"Error: {error}"
        return f"Error: {action!r} is not an action; expected 'get', 'set', 'update' or 'delete'"

    return manage_metadata


def _deleted(names: list[str], count: object) -> str:
    if count == 0:
        return f"No metadata found for keys: {names}"
    return f"Successfully deleted metadata fields: {names}"


def _found(metadata: Mapping[str, Any], names: list[str]) -> str:
    if not names:
        return f"All metadata: {_json(metadata)}"
    # A name with dots may also lead into a dictionary, as it does when it is set or deleted.
    wanted = {**find_paths(metadata, names), **{name: metadata[name] for name in names if name in metadata}}
    if not wanted:
        return f"No metadata found for keys: {names}"
    return f"Metadata retrieved: {_json(wanted)}"


def _changes(metadata: object) -> dict[str, Any]:
    given = _parsed(metadata)
    if not isinstance(given, dict) or not given:
        raise ValueError("'set' needs metadata, an object with names and values")
    return given


def _names(keys: object, *, required: bool = False) -> list[str]:
    given = _parsed(keys) if isinstance(keys, str) and keys.lstrip().startswith("[") else keys
    if not given:
        if required:
            raise ValueError("'delete' needs keys, the names to delete")
        return []
    if isinstance(given, str):
        return list(as_texts(given))
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"keys is not a list of names: {given!r}")
    return given


def _parsed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"The text is not JSON: {error}") from error


def _json(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False, default=str)


def _done(text: str) -> dict[str, Any]:
    return {"status": "success", "content": [{"text": text}]}


def _failed(text: str) -> dict[str, Any]:
    return {"status": "error", "content": [{"text": text}]}

"""Tools for agents: keeping what their user says of an answer, and what they know of the session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from strands import tool
from strands.types.tools import AgentTool

from harken import FeedbackRejected
from harken.domain.text_lists import as_texts
from harken.ports.sessions import JsonValue
from harken_adapters.hosts.strands.errors import session_errors


def feedback_tool(submit: Callable[[str | None, str], object]) -> AgentTool:
    """A tool with which an agent keeps what its user says of its last answer.

    A model may call a tool twice, so ``submit`` should count what is said about one answer once.

    Args:
        submit: keeps a rating (``"up"``, ``"down"`` or ``None``) and a comment.
    """

    @tool
    def record_feedback(rating: str, comment: str = "") -> dict[str, Any]:
        """Keep what the user thinks of your previous answer. Use it when the user praises or criticises an answer.

        Args:
            rating: "up" if they are satisfied, "down" if they are not, "neutral" if neither.
            comment: What they said about it, in their own words. A "down" needs it.
        """
        try:
            with session_errors():
                kept = submit(None if rating == "neutral" else rating, comment)
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

    def read(keys: list[str] | str | None) -> str:
        wanted = None if keys is None else as_texts(keys)
        return json.dumps({name: value for name, value in get().items() if wanted is None or name in wanted})

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
                        return _done(read(keys))
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


def _deleted(names: list[str], there_were: object) -> dict[str, Any]:
    if there_were == 0:
        return _failed(f"Nothing was deleted: there is no {', '.join(names)}.")
    return _done(f"Deleted: {', '.join(names)}.")


def _done(text: str) -> dict[str, Any]:
    return {"status": "success", "content": [{"text": text}]}


def _failed(text: str) -> dict[str, Any]:
    return {"status": "error", "content": [{"text": text}]}

"""The tool with which an agent manages the metadata of its session: calls and texts of ``mongodb_session_manager``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from strands import tool
from strands.types.tools import AgentTool

from harken import StorageError
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue


def metadata_tool(
    *,
    get: Callable[[], Mapping[str, JsonValue]],
    update: Callable[[Mapping[str, JsonValue]], object],
    delete: Callable[[list[str]], object],
) -> AgentTool:
    """The tool ``manage_metadata``. It returns text, also about errors.

    Args:
        get: returns all metadata.
        update: sets names; other names stay unchanged.
        delete: removes names.
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
                    names = _names(keys)
                    if not names:
                        return "Error: 'delete' needs keys, the names to delete"
                    delete(names)
                    return f"Successfully deleted metadata fields: {names}"
        except (ValueError, StorageError) as error:
            return f"Error: {error}"
        return f"Error: {action!r} is not an action; expected 'get', 'set', 'update' or 'delete'"

    return manage_metadata


def _found(metadata: Mapping[str, JsonValue], names: list[str]) -> str:
    if not names:
        return f"All metadata: {_json(metadata)}"
    wanted = {name: metadata[name] for name in names if name in metadata}
    if not wanted:
        return f"No metadata found for keys: {names}"
    return f"Metadata retrieved: {_json(wanted)}"


def _changes(metadata: object) -> dict[str, Any]:
    given = _parsed(metadata)
    if not isinstance(given, dict) or not given:
        raise ValueError("'set' needs metadata, an object with names and values")
    return given


def _names(keys: object) -> list[str]:
    given = _parsed(keys) if isinstance(keys, str) and keys.lstrip().startswith("[") else keys
    if given is None:
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


def _json(metadata: Mapping[str, JsonValue]) -> str:
    return json.dumps(metadata, ensure_ascii=False, default=str)

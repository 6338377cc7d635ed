"""The JSON Schemas of the arguments and results of tools, from those of the HTTP API.

Patterns and formats are left out, as clients evaluate them differently. The operations check all values anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harken import Rating
from harken.domain.rules import MAX_CONTEXT_KEYS, MAX_ID_LENGTH
from harken_adapters.hosts.http.documentation.openapi import operation_document
from harken_adapters.hosts.http.documentation.references import map_references, referenced_names, target_name
from harken_adapters.hosts.http.documentation.schemas import SCHEMAS, Schema
from harken_adapters.hosts.mcp.tools import Tool

_OMITTED: Final = frozenset({"pattern", "propertyNames", "minItems", "format"})
_SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
#: Without its items, which would make the schemas much longer; the call checks them.
_SCALARS: Final[Schema] = {"type": ["string", "number", "boolean", "array"]}
#: Of filters, which many tools have. In every conversation, short ones matter more than those of the documentation.
_SHORT: Final = {
    "agent_id": "Only about these agents.",
    "author": "Only by this author.",
    "message_id": "Only on this message.",
    "rating": "Only these ratings.",
    "session_id": "Only on this session.",
    "since": "Only from this time on, such as 2026-01-31T12:00Z; UTC by default.",
    "tag": "Only with any of these tags.",
    "text": 'Only comments with these words; "on hold" is a phrase.',
}
_IDEMPOTENCY_KEY: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_ID_LENGTH,
    "pattern": "^[!-~]+$",
    "description": "A retry with the same key and the same other arguments is stored once.",
}
_RATINGS: Final[Schema] = {"type": "string", "enum": [rating.word for rating in Rating]}
_NOTES: Final[Schema] = {
    "type": "array",
    "items": {"type": "string"},
    "description": "What was left out, and how to treat the result.",
}


def argument_name(parameter: str) -> str:
    """The argument for a parameter: ``before.since`` becomes ``before_since``, as not all models write dots."""
    return parameter.replace(".", "_")


def input_schema(tool: Tool) -> Schema:
    """The schema of the arguments."""
    properties = {argument_name(name): _argument(tool, name) for name in tool.arguments}
    if tool.limit:
        properties["limit"] = {
            "type": "integer",
            "minimum": 1,
            "maximum": tool.limit.most,
            "default": tool.limit.default,
            "description": "The maximum number of results.",
        }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(tool.required)} if tool.required else schema


def output_schema(tool: Tool) -> Schema:
    """The schema of the result: that of the operation's response, with notes."""
    answer = tool.operation.answers[min(tool.operation.answers)]
    names = _closure(_response_schema(answer.schema or ""))
    return {
        "type": "object",
        "properties": {"notes": _NOTES, "result": {"$ref": f"#/$defs/{names[0]}"}},
        "required": ["notes", "result"],
        "$defs": {name: _definition(name, tool.dropped) for name in names},
    }


def _argument(tool: Tool, name: str) -> Schema:
    side, _, plain = name.rpartition(".")
    if plain == "idempotency_key":
        return _IDEMPOTENCY_KEY
    body = SCHEMAS[tool.operation.body]["properties"] if tool.operation.body else {}
    if plain == "context":
        what = "Further values by name." if body else "Only with any of these values, by name."
        return {
            "type": "object",
            "additionalProperties": _SCALAR if body else _SCALARS,
            "maxProperties": MAX_CONTEXT_KEYS,
            "description": _of_side(side, what),
        }
    described = body.get(name) or _parameter(tool, name)
    if plain == "rating":
        described = (
            {**_RATINGS, "description": "Thumbs up, thumbs down, or neither."}
            if body
            else {**described, "items": _RATINGS}
        )
    if described.get("enum") == ["true", "false"]:
        described = {"type": "boolean", "description": described["description"]}
    # The alternatives are formats of dates, which the description names.
    schema = _without({key: value for key, value in described.items() if key != "anyOf"}, frozenset())
    return {**schema, "description": _of_side(side, schema.get("description", ""))}


def _parameter(tool: Tool, name: str) -> Schema:
    described = next(one for one in operation_document(tool.operation, "")["parameters"] if one["name"] == name)
    # The operation checks the number and length of values.
    schema = {key: value for key, value in described["schema"].items() if key not in ("maxItems", "maxLength")}
    return {**schema, "description": _SHORT.get(name, described["description"])}


def _of_side(side: str, description: str) -> str:
    return f"Of the selection '{side}' only." if side else description


def _response_schema(name: str) -> str:
    """The schema of a response that is not grouped and has no keywords, which no tool asks for."""
    return {"StatisticsOrGroups": "Statistics", "ThemesOrKeywords": "Themes"}.get(name, name)


def _closure(name: str) -> list[str]:
    """The schema and all those that it refers to."""
    found = [name]
    for one in found:
        found += [other for other in dict.fromkeys(referenced_names(SCHEMAS[one])) if other not in found]
    return found


def _definition(name: str, dropped: frozenset[str]) -> Any:
    """A schema of a response without these fields; its references are to ``$defs``."""
    return map_references(_without(SCHEMAS[name], dropped), lambda target: {"$ref": f"#/$defs/{target_name(target)}"})


def _without(node: Any, dropped: frozenset[str]) -> Any:
    """A copy of a schema without these fields and without patterns."""
    if isinstance(node, list):
        return [_without(item, dropped) for item in node]
    if not isinstance(node, Mapping):
        return node
    copied = {name: _without(item, dropped) for name, item in node.items() if name not in _OMITTED}
    if isinstance(node.get("properties"), Mapping):
        copied["properties"] = {name: item for name, item in copied["properties"].items() if name not in dropped}
        copied["required"] = [name for name in node.get("required", ()) if name not in dropped]
    return copied

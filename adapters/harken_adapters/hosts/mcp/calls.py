"""Calls of tools: their arguments become a request to the operation, in this process, and its response their result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from attrs import define, field
from jsonschema import Draft202012Validator
from starlette.requests import Request
from starlette.types import Message, Scope

from harken.domain.query import label
from harken.domain.texts import unknown_names
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.messages import RawHeaders
from harken_adapters.hosts.http.documentation.schemas import Schema
from harken_adapters.hosts.http.wire.messages import JSON, to_json
from harken_adapters.hosts.mcp.schemas import argument_name
from harken_adapters.hosts.mcp.tools import UNTRUSTED, Record, Tool

#: What the request has of the one that the tool call came with: the credentials, and the address for rate limits.
FORWARDED: Final = (b"authorization", b"x-forwarded-for")
_LONGEST_MESSAGE: Final = 1_000
#: The maximum length of a list in a result, such as the tags of all complaints. No limit of a tool is higher.
_MOST_ITEMS: Final = 100
#: What is checked here. The operation checks the values, and explains the rules better.
_CHECKED: Final = ("type", "enum", "required", "minimum", "maximum", "pattern")
_UNKNOWN: Final = "There is no thumbs-up or thumbs-down, so satisfaction is unknown, not 0."
_DUPLICATE: Final = "It was already stored by an earlier call with the same idempotency key."


class ToolFailed(Exception):
    """A call failed. The message is for the model: what was wrong and what was expected."""


async def call(host: Host, tool: Tool, schema: Schema, arguments: Mapping[str, Any], origin: Request | None) -> Record:
    """Call a tool.

    Args:
        host: the host of the API.
        tool: the tool.
        schema: the schema of its arguments.
        arguments: the arguments of the call.
        origin: the HTTP request that the call came with, for its credentials; ``None`` over standard input.

    Returns:
        The ``result`` of the operation, and ``notes`` about it.

    Raises:
        ToolFailed: the arguments are invalid, or the operation failed.
    """
    given = _parse(schema, {name: value for name, value in arguments.items() if value is not None})
    if problems := _problems(schema, given):
        raise ToolFailed("\n".join(_truncate(f"Invalid arguments: {problem}") for problem in problems))
    limit = int(given.get("limit", tool.limit.default)) if tool.limit else 0
    response = await host.endpoint(tool.operation)(_request(tool, given, limit, origin))
    # In a thread, as entries can have many long versions.
    result = await asyncio.to_thread(_shape, tool, limit, response.status_code, bytes(response.body))
    if response.headers.get("idempotency-replayed"):
        result["notes"].append(_DUPLICATE)
    return result


def _parse(schema: Schema, arguments: Record) -> Record:
    """The arguments, with objects and arrays that a client has sent as JSON text, as some do."""
    types = {name: described.get("type") for name, described in schema["properties"].items()}
    return {
        name: _from_json(value) if types.get(name) in ("object", "array") and isinstance(value, str) else value
        for name, value in arguments.items()
    }


def _problems(schema: Schema, arguments: Record) -> list[str]:
    """What is wrong with arguments, one sentence each."""
    unknown = unknown_names(arguments, schema["properties"], "argument")
    errors = [error for error in Draft202012Validator(schema).iter_errors(arguments) if error.validator in _CHECKED]
    found = [f"{error.json_path.removeprefix('$').lstrip('.')}: {error.message}".removeprefix(": ") for error in errors]
    return [unknown, *found] if unknown else found


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # The schema rejects a text here.
        return text


# --- The request ------------------------------------------------------------------------------------------------------


def _request(tool: Tool, arguments: Mapping[str, Any], limit: int, origin: Request | None) -> Request:
    operation = tool.operation
    values = {name: arguments[key] for name in tool.arguments if (key := argument_name(name)) in arguments}
    parts = {name: values.pop(name) for name in tuple(values) if f"{{{name}}}" in operation.path}
    headers = [] if origin is None else [pair for pair in origin.scope["headers"] if pair[0] in FORWARDED]
    body, query = b"", list(_query(tool, values, limit))
    if operation.body:
        headers += _body_headers(values)
        body, query = to_json(_fields(values)), []
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": operation.method,
        "scheme": "http",
        "server": None,
        "root_path": "",
        "path": operation.path.format(**parts),
        # Lone surrogates become invalid UTF-8, which the operation rejects.
        "raw_path": operation.path.format(
            **{name: quote(value, safe="", errors="surrogatepass") for name, value in parts.items()}
        ).encode(),
        "path_params": parts,
        "query_string": urlencode(query, errors="surrogatepass").encode(),
        "headers": headers,
        "client": None if origin is None else origin.scope.get("client"),
    }
    return Request(scope, _Body(body).receive)


def _query(tool: Tool, values: Mapping[str, Any], limit: int) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if name.rpartition(".")[2] == "context":
            yield from ((f"{name}.{key}", label(one) or "") for key, one in value.items())
        else:
            yield name, str(value)
    if tool.limit and tool.limit.shorten is None:
        yield "limit", str(limit)


def _body_headers(values: Mapping[str, Any]) -> RawHeaders:
    key = values.get("idempotency_key")
    return [(b"content-type", JSON.encode()), *([(b"idempotency-key", key.encode())] if key else [])]


def _fields(values: Mapping[str, Any]) -> Record:
    """The fields of the body, where a neutral rating is ``null``."""
    fields = {name: value for name, value in values.items() if name != "idempotency_key"}
    return {**fields, "rating": None} if fields.get("rating") == "neutral" else fields


@define
class _Body:
    """A body that arrives at once, of a client that never disconnects."""

    body: bytes
    _sent: bool = field(default=False, init=False)

    async def receive(self) -> Message:
        if self._sent:
            await asyncio.Event().wait()
        self._sent = True
        return {"type": "http.request", "body": self.body, "more_body": False}


# --- The result -------------------------------------------------------------------------------------------------------


def _shape(tool: Tool, limit: int, status: int, body: bytes) -> Record:
    document = json.loads(body)
    if status >= 400:
        raise ToolFailed(_problem_text(document))
    notes = [UNTRUSTED] if tool.quotes else []
    omitted = tool.limit.shorten(document, limit) if tool.limit and tool.limit.shorten else 0
    if omitted:
        notes.append(f"{omitted:,} more are not shown; raise limit, or add filters.")
    shortener = _Shortener(tool)
    result = shortener.shorten(document)
    if document.get("positive") == document.get("negative") == 0:
        notes.append(_UNKNOWN)
    if shortener.texts:
        notes.append(f"Texts longer than {tool.longest:,} characters are cut off where they end with [...].")
    if shortener.lists:
        notes.append(f"Lists have at most {_MOST_ITEMS} items.")
    return {"notes": notes, "result": result}


@define
class _Shortener:
    """Shortens a result to what a model needs.

    Attributes:
        tool: has the fields to drop, and the maximum length of texts.
        texts: whether a text was cut.
        lists: whether a list was cut.
    """

    tool: Tool
    texts: bool = False
    lists: bool = False

    def shorten(self, node: Any, key: str = "") -> Any:
        """A shorter copy of the value of a field."""
        if isinstance(node, dict):
            # The names in a context are the operator's own.
            dropped = frozenset() if key == "context" else self.tool.dropped
            return {name: self.shorten(value, name) for name, value in node.items() if name not in dropped}
        if isinstance(node, list):
            self.lists |= len(node) > _MOST_ITEMS
            return [self.shorten(value) for value in node[:_MOST_ITEMS]]
        if isinstance(node, str) and len(node) > self.tool.longest:
            self.texts = True
            return f"{node[: self.tool.longest]} [...]"
        return node


def _problem_text(problem: Record) -> str:
    """A problem, with all its violations unless there is only the one that it describes."""
    violations = problem.get("violations", ())
    lines = [f"{problem['title']}: {problem['detail']}"]
    if len(violations) > 1:
        lines += [f"- {one['field']}: {one['message']}" for one in violations]
    return "\n".join(lines)


def _truncate(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} [...]"

"""Calls of tools: their arguments become a request to the operation, in this process, and its response their result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlencode

from attrs import define, evolve, field
from jsonschema import Draft202012Validator, ValidationError
from starlette.requests import Request
from starlette.types import Message, Scope

from harken import Violation
from harken.domain.query import label
from harken.domain.texts import unknown_names
from harken_adapters.hosts.fastapi.host import Host
from harken_adapters.hosts.fastapi.messages import RawHeaders, request_of
from harken_adapters.hosts.http.documentation.schemas import Schema
from harken_adapters.hosts.http.operation import Call
from harken_adapters.hosts.http.wire.bodies import check_size
from harken_adapters.hosts.http.wire.messages import JSON, Pending, Response, to_json
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.mcp.schemas import argument_name
from harken_adapters.hosts.mcp.tools import UNTRUSTED, Record, Tool

#: What the request has of the one that the tool call came with: the credentials, and the address for rate limits.
FORWARDED: Final = (b"authorization", b"x-forwarded-for")
#: The maximum length of a list in a result, such as the tags of all complaints. No limit of a tool is higher.
_MOST_ITEMS: Final = 100
#: How many problems of arguments are reported. Each quotes a value.
_MOST_PROBLEMS: Final = 10
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
        ToolFailed: the call was not admitted, the arguments are invalid, or the operation failed.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    tool_call = _ToolCall(tool, schema, given, origin)
    # The host admits the request, and then handles it in a thread of the tenant: arguments and results can be large.
    operation = evolve(tool.operation, handle=tool_call.handle, soon=False)
    response = await host.endpoint(operation)(tool_call.request())
    if tool_call.result is None:
        raise ToolFailed(_problem_text(tool, json.loads(bytes(response.body))))
    return tool_call.result


@define
class _ToolCall:
    """A call of a tool, as a request to its operation.

    Attributes:
        tool: the tool.
        schema: the schema of its arguments.
        arguments: the arguments, which are not checked yet.
        origin: the HTTP request that the call came with, if it came over HTTP.
        result: the result for the model, once the operation has succeeded.
    """

    tool: Tool
    schema: Schema
    arguments: Record
    origin: Request | None
    result: Record | None = None

    def request(self) -> Request:
        """The request to be admitted, which names the session and has no other arguments."""
        texts = {name: value for name, value in self.arguments.items() if isinstance(value, str)}
        parts = {name: texts.get(name, "") for name in _path_names(self.tool)}
        query = [("session_id", texts["session_id"])] if "session_id" in texts.keys() - parts.keys() else []
        return _request(self.tool, parts, query, [], self.origin)

    def handle(self, admitted: Call) -> Response:
        """Check the arguments, call the operation with them, and shape its result.

        Raises:
            Problem: the arguments are invalid.
            Exception: any error of the operation.
        """
        tool, arguments = self.tool, _parse(self.schema, self.arguments)
        _check(self.schema, arguments)
        limit = int(arguments.get("limit", tool.limit.default)) if tool.limit else 0
        response = tool.operation.handle(_with_arguments(admitted, tool, arguments, limit, self.origin))
        if isinstance(response, Pending):
            response = response.wait()
        self.result = _shape(tool, limit, response)
        return response


def _parse(schema: Schema, arguments: Record) -> Record:
    """The arguments, also if a client has sent them as JSON text, or a single item in place of an array."""
    types = {name: described.get("type") for name, described in schema["properties"].items()}
    return {name: _parse_argument(types.get(name), value) for name, value in arguments.items()}


def _parse_argument(type_: str | None, value: Any) -> Any:
    parsed = _from_json(value) if type_ in ("object", "array", "boolean") and isinstance(value, str) else value
    return [value] if type_ == "array" and not isinstance(parsed, list) else parsed


def _check(schema: Schema, arguments: Record) -> None:
    """Check the arguments.

    Raises:
        Problem: they are invalid. It has the first problems.
    """
    violations = [*_names_and_sizes(schema, arguments)]
    # The items of a value that is too large would take long to check.
    errors = () if violations else Draft202012Validator(schema).iter_errors(arguments)
    violations += islice((_violation(error) for error in errors if error.validator in _CHECKED), _MOST_PROBLEMS)
    if violations:
        raise Problem("invalid", f"{violations[0].field}: {violations[0].message}", violations=violations)


def _names_and_sizes(schema: Schema, arguments: Record) -> Iterator[Violation]:
    if unknown := unknown_names(arguments, schema["properties"], "argument"):
        yield Violation("arguments", "unknown", unknown)
    for name, value in arguments.items():
        described = schema["properties"].get(name, {})
        most = described.get("maxItems", described.get("maxProperties"))
        if most is not None and isinstance(value, (list, dict)) and len(value) > most:
            yield Violation(name, "too_many", f"too many items: {len(value):,} (max: {most})")


def _violation(error: ValidationError) -> Violation:
    field = error.json_path.removeprefix("$").lstrip(".") or "arguments"
    return Violation(field, str(error.validator), error.message)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # The schema rejects a text here.
        return text


# --- The request ------------------------------------------------------------------------------------------------------


def _with_arguments(
    admitted: Call, tool: Tool, arguments: Mapping[str, Any], limit: int, origin: Request | None
) -> Call:
    """The admitted call with all arguments.

    Raises:
        Problem: the body is too large, or a text is not valid.
    """
    operation = tool.operation
    values = {name: arguments[key] for name in tool.arguments if (key := argument_name(name)) in arguments}
    parts = {name: values.pop(name) for name in _path_names(tool)}
    query = [] if operation.body else [*_query(tool, values, limit)]
    complete = request_of(_request(tool, parts, query, _body_headers(values) if operation.body else [], origin))
    request = evolve(
        admitted.request,
        parts=complete.parts,
        query=complete.query,
        header=complete.header,
        body=to_json(_fields(values)) if operation.body else b"",
    )
    check_size(len(request.body), admitted.settings.max_body)
    parameters = Parameters.parse(request.query, operation.parameters, filters=operation.filters, sides=operation.sides)
    return evolve(admitted, request=request, parameters=parameters)


def _path_names(tool: Tool) -> list[str]:
    return [name for name in tool.arguments if f"{{{name}}}" in tool.operation.path]


def _request(
    tool: Tool, parts: Mapping[str, str], query: Sequence[tuple[str, str]], headers: RawHeaders, origin: Request | None
) -> Request:
    operation = tool.operation
    forwarded = [] if origin is None else [pair for pair in origin.scope["headers"] if pair[0] in FORWARDED]
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
        "headers": [*forwarded, *headers],
        "client": None if origin is None else origin.scope.get("client"),
    }
    return Request(scope, _EmptyBody().receive)


def _query(tool: Tool, values: Mapping[str, Any], limit: int) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        named = {f"{name}.{key}": one for key, one in value.items()} if _is_context(name) else {name: value}
        for parameter, given in named.items():
            yield from ((parameter, label(one) or "") for one in _values_of(parameter, given))
    if tool.limit and tool.limit.shorten is None:
        yield "limit", str(limit)


def _values_of(parameter: str, given: Any) -> list[str | int | float | bool]:
    """The values of a parameter.

    Raises:
        Problem: there are none, or one of them is an array, an object or null.
    """
    values = given if isinstance(given, list) else [given]
    if not values:
        raise Problem("invalid", f"{parameter} must have at least one value; leave it out for any value")
    if not all(isinstance(one, str | int | float | bool) for one in values):
        raise Problem("invalid", f"{parameter} must have strings, numbers or booleans")
    return values


def _is_context(name: str) -> bool:
    return name.rpartition(".")[2] == "context"


def _body_headers(values: Mapping[str, Any]) -> RawHeaders:
    key = values.get("idempotency_key")
    return [(b"content-type", JSON.encode()), *([(b"idempotency-key", key.encode())] if key else [])]


def _fields(values: Mapping[str, Any]) -> Record:
    """The fields of the body, where a neutral rating is ``null``."""
    fields = {name: value for name, value in values.items() if name != "idempotency_key"}
    return {**fields, "rating": None} if fields.get("rating") == "neutral" else fields


@define
class _EmptyBody:
    """An empty body, of a client that never disconnects."""

    _sent: bool = field(default=False, init=False)

    async def receive(self) -> Message:
        if self._sent:
            await asyncio.Event().wait()
        self._sent = True
        return {"type": "http.request", "body": b"", "more_body": False}


# --- The result -------------------------------------------------------------------------------------------------------


def _shape(tool: Tool, limit: int, response: Response) -> Record:
    document = json.loads(response.body)
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
    if any(name == "idempotency-replayed" for name, _ in response.headers):
        notes.append(_DUPLICATE)
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


def _problem_text(tool: Tool, problem: Record) -> str:
    """A problem, with the names of arguments for those of parameters, and with all violations if there are several."""
    violations = problem.get("violations", ())
    text = f"{problem['title']}: {problem['detail']}"
    if len(violations) > 1:
        text = "\n".join([f"{problem['title']}:", *(f"- {one['field']}: {one['message']}" for one in violations)])
    for name in tool.arguments:
        if name != argument_name(name):
            text = text.replace(name, argument_name(name))
    return text

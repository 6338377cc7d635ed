"""The OpenAPI 3.1 document, generated from the table of operations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from harken import Violation
from harken.domain.query import MAX_PAGE, MAX_VALUES
from harken.domain.rules import MAX_CONTEXT_NAME_LENGTH
from harken.domain.search import MAX_SEARCH_LENGTH
from harken.services.feedback.rule_counts import MAX_DAYS
from harken.services.reasons import MAX_REASONS
from harken.services.themes import MAX_THEMES
from harken_adapters.formats.exporting import SPREADSHEET, WRITERS
from harken_adapters.formats.statistics import By
from harken_adapters.hosts.http.documentation.references import map_references
from harken_adapters.hosts.http.documentation.schemas import (
    CHANNEL_NAME,
    DELIVERY_STATE,
    EVENT_TYPE,
    EXAMPLES,
    LABEL,
    MOMENT,
    PATH_LABEL,
    PATH_TEXT,
    SCHEMAS,
    STATUS,
    TEXT,
    Schema,
    reference,
)
from harken_adapters.hosts.http.operation import Answer, Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.operations.deliveries import ANY
from harken_adapters.hosts.http.operations.watching import MAX_LISTENER
from harken_adapters.hosts.http.wire.messages import JSON
from harken_adapters.hosts.http.wire.problems import KINDS, MEDIA_TYPE, Problem

Document = dict[str, Any]

_EVENT_STREAM: Final = "text/event-stream"
#: The problems of all operations with a request body.
_OF_BODIES: Final = ("malformed-body", "body-timeout", "body-too-large", "unsupported-media-type")
#: The problems of all operations.
_COMMON: Final = ("malformed-body", "unauthorized", "forbidden", "invalid", "rate-limited", "unavailable")
_OPTIONAL_BODIES: Final = ("Undo", "Replay")
_SIDES: Final = ("before.", "after.")


def document(operations: Iterable[Operation] = OPERATIONS, *, version: str, root: str = "") -> Document:
    """The whole OpenAPI document.

    Args:
        operations: the operations to include.
        version: the version of Harken.
        root: the prefix of all paths, such as ``/feedback`` if the API is mounted there.
    """
    known = tuple(operations)
    paths: dict[str, Document] = {}
    for operation in known:
        path = paths.setdefault(f"{root}{operation.path}", {})
        path[operation.method.lower()] = {
            **_operation(operation),
            "tags": [operation.tag],
            "security": _security(operation),
        }
    tags = dict.fromkeys(operation.tag for operation in known)
    whole = {
        "openapi": "3.1.0",
        "info": {**_INFO, "version": version},
        "tags": [{"name": tag, "description": _TAGS[tag]} if tag in _TAGS else {"name": tag} for tag in tags],
        "paths": paths,
        "components": {**_components(known), "securitySchemes": _SECURITY_SCHEMES},
    }
    return deepcopy(whole)


def operation_document(operation: Operation, schema_prefix: str) -> Document:
    """One operation for the document of another application, which has the schemas, with a prefix to their names.

    All other references are inlined. It has no tags and security schemes, as that document defines its own.
    """
    inlined: Document = _inline(_operation(operation), _components([operation]), schema_prefix)
    return inlined


_INFO: Final = {
    "title": "Harken",
    "summary": "Collects user feedback on AI answers and apps, and provides exact statistics.",
    "description": (
        "Send credentials as `Authorization: Bearer ...`: an API key, or in a browser a session token. A browser that "
        "has signed in at `/sign-in` sends a cookie instead. Every request is about one application, that of its "
        "credentials. Errors are reported as problem details (RFC 9457): the `type` is for programs, the `detail` is "
        "for people."
    ),
    "license": {"name": "MIT", "identifier": "MIT"},
}
_TAGS: Final = {
    "Feedback": "Submitting, reading, changing and withdrawing feedback.",
    "Votes": "One vote per author and message: set, list and withdraw it.",
    "Metadata": "Metadata of sessions.",
    "Moderation": "Approving and rejecting feedback.",
    "Analytics": "Statistics of feedback.",
    "Export and erasure": "Exporting feedback, and erasing it permanently.",
    "Events": "A live stream of events.",
    "Alerts": "Patterns in feedback that alert rules have found.",
    "Notifications": "Channels, routes and deliveries of notifications.",
    "Keys": "API keys of the application.",
}
_SECURITY_SCHEMES: Final = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "hk_...",
        "description": (
            "An API key. It is for one application, optionally limited to some of its agents, and has scopes: submit, "
            "read, moderate, admin."
        ),
    },
    "sessionToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A session token, which a backend signs for one author and one session.",
    },
}


# --- Operations -------------------------------------------------------------------------------------------------------


def _operation(operation: Operation) -> Document:
    described: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": list(_parameters(operation)),
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            **{str(status): _response_reference(kinds) for status, kinds in _problems(operation)},
        },
    }
    if operation.body:
        content = {"schema": reference(operation.body), "example": operation.example}
        required = operation.body not in _OPTIONAL_BODIES
        described["requestBody"] = {"required": required, "content": {JSON: content}}
    return described


def _description(operation: Operation) -> str:
    sentences = [operation.description.replace("``", "`")] if operation.description else []
    if operation.filters:
        sentences.append("`context.NAME` in the query string filters by context values, as text or as JSON.")
    token = ", or a session token" if operation.tokens else ""
    sentences.append(f"Requires an API key with the scope `{operation.scope.value}`{token}.")
    if not operation.agent_keys:
        sentences.append("API keys that are limited to agents are not accepted.")
    return " ".join(sentences)


def _security(operation: Operation) -> list[Document]:
    key = {"apiKey": [operation.scope.value]}
    return [key, {"sessionToken": []}] if operation.tokens else [key]


def _answer(answer: Answer) -> Document:
    described: Document = {"description": answer.description, "headers": _headers(_ANSWER_HEADERS)}
    described["headers"] |= {
        name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in answer.headers.items()
    }
    if answer.schema is None and answer.media_types == (JSON,):
        return described
    content: Document = {"schema": reference(answer.schema) if answer.schema else {"type": "string"}}
    example = EXAMPLES.get(answer.schema or "") if answer.example is None else answer.example
    if example is not None:
        content["example"] = example
    return {**described, "content": dict.fromkeys(answer.media_types, content)}


# --- Parameters -------------------------------------------------------------------------------------------------------


def _parameters(operation: Operation) -> Iterator[Document]:
    strict = _is_strict(operation)
    for name in re.findall(r"{(\w+)}", operation.path):
        yield _parameter_reference(f"path.{name}{'' if strict else '.any'}")
    for name in operation.parameters:
        yield _own_parameter(operation, name)
    if operation.filters:
        yield from map(_parameter_reference, operation.filters)
    if operation.sides:
        yield from (_parameter_reference(f"{side}{name}") for side in _SIDES for name in operation.filters)
    yield _parameter_reference(f"application{'' if strict else '.any'}")
    yield from map(_parameter_reference, _headers_of_request(operation))


def _headers_of_request(operation: Operation) -> Iterator[str]:
    if "idempotency-key-reused" in operation.problems:
        yield "Idempotency-Key"
    if operation.represents:
        yield "Prefer"
    if "changed-meanwhile" in operation.problems:
        yield "If-Match"
    if _streams(operation):
        yield "Last-Event-ID"


def _is_strict(operation: Operation) -> bool:
    """Whether invalid ids are rejected. Other operations only look ids up, and find nothing."""
    stores = "idempotency-key-reused" in operation.problems
    return stores or operation.tag == "Metadata" or operation.body in ("Erasure", "NewKey", "Route")


def _streams(operation: Operation) -> bool:
    return any(_EVENT_STREAM in answer.media_types for answer in operation.answers.values())


def _own_parameter(operation: Operation, name: str) -> Document:
    """A query parameter of an operation that is not a filter."""
    if name == "limit":
        return _limit(*_LIMITS.get(operation.name, (100, MAX_PAGE)))
    if name == "by" and operation.name in _BY:
        return _BY[operation.name]
    if name == "after":
        return _after(operation)
    if operation.body and name in _NAMED_IN_QUERY:
        return _NAMED_IN_QUERY[name]
    return _parameter_reference(name)


def _after(operation: Operation) -> Document:
    if _streams(operation):
        return _AFTER_EVENT
    return _AFTER_DELIVERY if operation.tag == "Notifications" else _parameter_reference("after")


def _limit(default: int, maximum: int = MAX_PAGE) -> Document:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return _in_query("limit", "The maximum number of results.", schema)


def _in_query(name: str, description: str, schema: Schema, **more: Any) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _in_path(name: str, description: str, schema: Schema, example: str) -> Document:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def _in_header(name: str, description: str, schema: Schema) -> Document:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _parameter_reference(name: str) -> Document:
    return {"$ref": f"#/components/parameters/{name}"}


def _one_or_several(value: Schema) -> Schema:
    return {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_VALUES}


_CURSOR: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}
_PLACE: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_.-]*$"}
_FILTERED_BY: Final[Mapping[str, tuple[str, Schema]]] = {
    "session_id": ("Only feedback on this session.", TEXT),
    "message_id": ("Only feedback on this message.", TEXT),
    "agent_id": ("Only feedback about any of these agents.", _one_or_several(TEXT)),
    "author": ("Only feedback by this author.", TEXT),
    "rating": (
        "Only feedback with any of these ratings.",
        _one_or_several({"type": "string", "enum": ["up", "down", "neutral", "null"]}),
    ),
    "tag": ("Only feedback with any of these tags.", _one_or_several(TEXT)),
    "text": (
        'Only feedback whose comment has these words, in any order; words in quotation marks ("on hold") are a phrase.',
        {**TEXT, "maxLength": MAX_SEARCH_LENGTH},
    ),
    "has_comment": (
        "Only feedback with a comment (`true`), or without one (`false`).",
        {"type": "string", "enum": ["true", "false"]},
    ),
    "since": (
        "Only from this time on, such as 2026-01-31 or 2026-01-31T12:00Z; without an offset, in `zone` or in UTC.",
        MOMENT,
    ),
    "until": ("Only before this time.", MOMENT),
    "status": (
        "Only feedback with this moderation status.",
        {"type": "string", "enum": [*STATUS["enum"], "any"], "default": "approved"},
    ),
    "withdrawn": (
        "Whether to include withdrawn feedback: `false`, `true` or `only`.",
        {"type": "string", "enum": ["false", "true", "only"], "default": "false"},
    ),
}
_SESSION: Final = ("The id of the session.", "user-123")
_MESSAGE: Final = ("The id of the message.", "m-4")
_APPLICATION: Final = "The application. It can be omitted, as credentials are for one application."
_BY_TIME: Final = _in_query(
    "by",
    "The length or kind of each point.",
    {"type": "string", "enum": [by.value for by in By], "default": By.DAY.value},
)
_BY_AGENT_OR_CONTEXT: Final = _in_query(
    "by",
    "The dimension to group by.",
    {
        "type": "string",
        "pattern": rf"^(?:agent|context\.[\p{{L}}\p{{N}}_-]{{1,{MAX_CONTEXT_NAME_LENGTH}}})$",
        "default": "agent",
    },
)
#: The default and the maximum of a limit, where they are not 100 and 1,000.
_LIMITS: Final = {
    "analytics_themes": (15, MAX_THEMES),
    "analytics_reasons": (10, MAX_REASONS),
    "list_session_feedback": (MAX_PAGE, MAX_PAGE),
}
_BY: Final = {"analytics_trend": _BY_TIME, "analytics_ranking": _BY_AGENT_OR_CONTEXT}
_AFTER_EVENT: Final = _in_query("after", "The same as Last-Event-ID, for clients that cannot send headers.", _PLACE)
_AFTER_DELIVERY: Final = _in_query(
    "after",
    "Continue after this delivery: the value of `next` of the previous page.",
    {"type": "string", "pattern": r"^[^\x00]*$"},
)
#: Query parameters of operations with a request body.
_NAMED_IN_QUERY: Final = {
    "author": _in_query("author", "The author of the vote, if it is not in the body.", LABEL),
    "session_id": _in_query("session_id", _SESSION[0], LABEL, required=True, example=_SESSION[1]),
}
#: Printable Latin-1, not in quotes; or ASCII in the quotes of a structured field.
_KEY: Final = r'^(?:[!#-~\u00a1-\u00ff](?:[ -~\u00a0-\u00ff]*[!-~\u00a1-\u00ff])?|"[!#-\[\]-~]+")$'
_PARAMETERS: Final[Mapping[str, Document]] = {
    "path.session_id": _in_path("session_id", _SESSION[0], PATH_LABEL, _SESSION[1]),
    "path.session_id.any": _in_path("session_id", _SESSION[0], PATH_TEXT, _SESSION[1]),
    "path.message_id": _in_path("message_id", _MESSAGE[0], PATH_LABEL, _MESSAGE[1]),
    "path.message_id.any": _in_path("message_id", _MESSAGE[0], PATH_TEXT, _MESSAGE[1]),
    "path.feedback_id.any": _in_path("feedback_id", "The id of the feedback.", PATH_TEXT, EXAMPLES["Feedback"]["id"]),
    "path.delivery_id.any": _in_path("delivery_id", "The id of the delivery.", PATH_TEXT, EXAMPLES["Delivery"]["id"]),
    "path.alert_id.any": _in_path("alert_id", "The id of the alert.", PATH_TEXT, EXAMPLES["Alert"]["id"]),
    "path.channel.any": _in_path("channel", "The name of the channel.", PATH_TEXT, EXAMPLES["Channel"]["name"]),
    "path.key_id.any": _in_path("key_id", "The id of the key.", PATH_TEXT, EXAMPLES["Key"]["id"]),
    "path.route": _in_path("route", "The name of the route.", CHANNEL_NAME, EXAMPLES["StoredRoute"]["name"]),
    "path.route.any": _in_path("route", "The name of the route.", PATH_TEXT, EXAMPLES["StoredRoute"]["name"]),
    "state": _in_query(
        "state",
        "The state of the deliveries; `dead` by default, or `any` with feedback_id or alert_id.",
        {"type": "string", "enum": [*DELIVERY_STATE["enum"], ANY]},
    ),
    "type": _in_query("type", "Only deliveries of events of this type.", EVENT_TYPE),
    "feedback_id": _in_query("feedback_id", "Only deliveries about this feedback.", TEXT),
    "alert_id": _in_query("alert_id", "Only deliveries about this alert.", TEXT),
    "cause": _in_query("cause", "Only dead deliveries with this cause.", TEXT),
    "newest_first": _in_query(
        "newest_first",
        "Whether those that were due last come first.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "delivered_since": _in_query(
        "delivered_since",
        "Since when deliveries that arrived are counted; by default, since midnight in UTC.",
        MOMENT,
    ),
    "channel": _in_query("channel", "Only deliveries to this channel.", CHANNEL_NAME),
    "open": _in_query(
        "open",
        "Only open alerts (`true`), or only resolved ones (`false`).",
        {"type": "string", "enum": ["true", "false"]},
    ),
    "reading": _in_query(
        "reading",
        "Whether the page has `readings`: for each comment the likelihood that it is a thumbs-up, learned from the "
        "ratings of other comments.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "rule": _in_query("rule", "Only alerts of this alert rule.", TEXT),
    "order": _in_query(
        "order",
        "Which entries come first.",
        {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"},
    ),
    "held_by": _in_query(
        "held_by", "Only feedback that this rule held; for feedback without a stored rule, the reason.", TEXT
    ),
    "decided_since": _in_query(
        "decided_since", "Only decisions from this time on; by default, of the last 24 hours.", MOMENT
    ),
    "decision": _in_query("decision", "Only these decisions.", {"type": "string", "enum": ["approved", "rejected"]}),
    "days": _in_query(
        "days",
        "The number of days, with today.",
        {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": 7},
    ),
    "application": _in_query(
        "application", _APPLICATION, {**LABEL, "minLength": 0, "pattern": rf"^$|{LABEL['pattern']}"}
    ),
    "application.any": _in_query("application", _APPLICATION, TEXT),
    "after": _in_query(
        "after",
        "Continue after this cursor: the value of `next` of the previous page.",
        _CURSOR,
    ),
    "listener": _in_query(
        "listener",
        "An id that the client chooses. Where each event stream occupies a thread, a new stream ends an open one with "
        "the same id and the same credentials.",
        {"type": "string", "maxLength": MAX_LISTENER},
    ),
    "by": _in_query(
        "by",
        "The dimension to group by.",
        {
            "type": "string",
            "pattern": rf"^(?:agent|session|tag|context\.[\p{{L}}\p{{N}}_-]{{1,{MAX_CONTEXT_NAME_LENGTH}}})$",
        },
    ),
    "zone": _in_query(
        "zone",
        "An IANA time zone, such as Europe/Berlin.",
        {"type": "string", "pattern": "^[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*$", "default": "UTC"},
    ),
    "format": _in_query("format", "The format.", {"type": "string", "enum": list(WRITERS), "default": "jsonl"}),
    "for": _in_query("for", "The program that opens a CSV file.", {"type": "string", "enum": [SPREADSHEET]}),
    "count": _in_query(
        "count",
        "Whether the last JSON line is the number of the others, so that a truncated response can be recognised.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "prefer_dates": _in_query(
        "prefer_dates",
        "Whether the hours are those of dates, if the feedback spans less than 14 days.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "same_weekdays": _in_query(
        "same_weekdays",
        "Whether the earlier period is a whole number of weeks earlier.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    ),
    "keyword": _in_query(
        "keyword",
        "A keyword to count; upper and lower case are not distinguished.",
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 50},
    ),
    "key": _in_query("key", "A key to delete.", {"type": "array", "items": {"type": "string"}}),
    **{name: _in_query(name, *described) for name, described in _FILTERED_BY.items()},
    **{
        f"{side}{name}": _in_query(
            f"{side}{name}", f"Like {name}, for the selection `{side.rstrip('.')}` only.", schema
        )
        for side in _SIDES
        for name, (_, schema) in _FILTERED_BY.items()
    },
    "Idempotency-Key": _in_header(
        "Idempotency-Key",
        "A retry with the same key and body is stored once. The value may be in double quotes.",
        {"type": "string", "minLength": 1, "maxLength": LABEL["maxLength"], "pattern": _KEY},
    ),
    "If-Match": _in_header(
        "If-Match",
        "The ETag of the feedback. The request fails if the feedback has changed since.",
        {"type": "string", "pattern": r'^(?:\*|(?:W/)?"[0-9]{1,19}"|[0-9]{1,19})$'},
    ),
    "Prefer": _in_header(
        "Prefer",
        "With `return=representation`, the response has the whole feedback, as far as the caller may see it.",
        # Anything else is ignored.
        {"type": "string"},
    ),
    "Last-Event-ID": _in_header(
        "Last-Event-ID",
        "The id of the last received event, to resume after it. Browsers send it automatically.",
        _PLACE,
    ),
}


# --- Problems ---------------------------------------------------------------------------------------------------------


def _problems(operation: Operation) -> list[tuple[int, tuple[str, ...]]]:
    """The kinds of problem of an operation, grouped by status code."""
    searches = ("indexing",) if "text" in operation.filters else ()
    possible = {*_COMMON, *searches, *operation.problems, *(_OF_BODIES if operation.body else ())}
    if operation.method != "GET":
        # The content types of HTML forms are rejected even if the operation has no body.
        possible.add("unsupported-media-type")
    kinds = [kind for kind in KINDS if kind in possible]
    statuses = sorted({KINDS[kind][0] for kind in kinds})
    return [(status, tuple(kind for kind in kinds if KINDS[kind][0] == status)) for status in statuses]


def _response_name(kinds: Sequence[str]) -> str:
    return "-or-".join(kinds)


def _response_reference(kinds: Sequence[str]) -> Document:
    return {"$ref": f"#/components/responses/{_response_name(kinds)}"}


def _response(kinds: Sequence[str]) -> Document:
    examples = {kind: {"summary": KINDS[kind][1], "value": _example(kind)} for kind in kinds}
    headers = dict.fromkeys(header for kind in kinds for header in _PROBLEM_HEADERS.get(kind, ()))
    described: Document = {
        "description": "; or: ".join(f"{KINDS[kind][1]} (`{kind}`)" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": reference("Problem"), "examples": examples}},
    }
    return {**described, "headers": _headers(headers)} if headers else described


def _example(kind: str) -> Document:
    """An example of a problem."""
    detail, *violations = _DETAILS.get(kind, (KINDS[kind][1],))
    problem = Problem(kind, detail, violations=[Violation(field, code, detail) for field, code in violations])
    example: Document = json.loads(problem.response("/api/feedback").body)
    return example


#: For each kind of problem, an example of the detail, and of the field and code of a violation.
_DETAILS: Final[Mapping[str, tuple[Any, ...]]] = {
    "malformed-body": ("The body is not valid JSON: Expecting value in line 1, column 12",),
    "feedback-refused": ("Please provide a comment when giving negative feedback", ("comment", "required")),
    "unauthorized": ("Send an API key or a session token: 'Authorization: Bearer ...'",),
    "forbidden": ("This operation requires the scope 'read', which the API key does not have",),
    "not-found": ("No feedback with id 'f-1' in application 'default'",),
    "body-timeout": ("The body did not arrive within 10 seconds",),
    "conflict": ("This feedback is already approved; it can become pending or rejected",),
    "in-flight": ("A request with this idempotency key is in progress; retry in a moment to get its result",),
    "changed-meanwhile": ("Feedback 'f-1' now has version 3, not 2; read it again",),
    "body-too-large": ("The body is larger than 65,536 bytes",),
    "unsupported-media-type": ("The Content-Type must be application/json, got 'text/plain'",),
    "invalid": ("agent_id must not be empty", ("agent_id", "empty")),
    "idempotency-key-reused": (
        "The idempotency key 'k-1' was used before in this session, with another body; use a new key for new feedback",
        ("idempotency_key", "reused"),
    ),
    "rate-limited": ("More than 60 requests in 60 seconds by this session; try again in 12 seconds",),
    "unavailable": ("The storage is not available. Try again; with the same Idempotency-Key, a retry is safe.",),
    "indexing": (
        "Comments are being indexed for text search: 40,960 of 1,204,331 entries are done. Try again in about 70 s",
    ),
    "overloaded": ("Too much is waiting to be written; nothing was kept, try again in a moment",),
}


# --- Headers ----------------------------------------------------------------------------------------------------------


def _headers(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_ANSWER_HEADERS: Final = ("RateLimit", "RateLimit-Policy")
_PROBLEM_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "unauthorized": ("WWW-Authenticate",),
    "rate-limited": ("Retry-After", *_ANSWER_HEADERS),
    "in-flight": ("Retry-After",),
    "unavailable": ("Retry-After",),
    "indexing": ("Retry-After",),
    "overloaded": ("Retry-After",),
}
_HEADERS: Final[Mapping[str, Document]] = {
    "RateLimit": {
        "description": "What is left of each limit: r requests in the next t seconds. The tightest limit comes first.",
        "schema": {"type": "string"},
        "example": '"session";r=59;t=34',
    },
    "RateLimit-Policy": {
        "description": "The limits: q requests in w seconds.",
        "schema": {"type": "string"},
        "example": '"session";q=60;w=60',
    },
    "Retry-After": {
        "description": "The number of seconds after which to retry.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 12,
    },
    "WWW-Authenticate": {
        "description": "The required authentication scheme.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="harken"',
    },
}


# --- References -------------------------------------------------------------------------------------------------------


def _components(operations: Iterable[Operation]) -> Document:
    """The components that operations refer to."""
    groups = {kinds for operation in operations for _, kinds in _problems(operation)}
    return {
        "schemas": dict(SCHEMAS),
        "parameters": dict(_PARAMETERS),
        "headers": dict(_HEADERS),
        "responses": {_response_name(kinds): _response(kinds) for kinds in sorted(groups)},
    }


def _inline(node: Any, components: Document, schema_prefix: str) -> Any:
    """A copy of a node with references replaced by their targets, except references to schemas, which get a prefix."""

    def replace(target: str) -> Document:
        *_, group, name = target.split("/")
        if group == "schemas":
            return reference(f"{schema_prefix}{name}")
        inlined: Document = map_references(components[group][name], replace)
        return inlined

    return map_references(node, replace)

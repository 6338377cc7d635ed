"""Session metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from harken import InvalidMetadata, Scope
from harken.domain.metadata import ENCODED_VALUE_NAMES
from harken.domain.rules import name_problem
from harken.ports.sessions import JsonValue
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import json_object

_PATH: Final = "/api/sessions/{session_id}/metadata"


def _get(call: Call) -> Response:
    return _answer(call, call.harken.sessions.get(call.application, call.part("session_id")))


def _update(call: Call) -> Response:
    changes = json_object(call.request)
    if problems := list(_name_problems(changes)):
        raise InvalidMetadata("; ".join(problems))
    session_id, key = call.part("session_id"), call.principal.key
    call.harken.sessions.update(call.application, session_id, changes)
    metadata = call.harken.sessions.get(call.application, session_id)
    if key is None or key.allows(Scope.READ):
        return _answer(call, metadata)
    return _answer(call, {name: value for name, value in metadata.items() if name in changes})


def _answer(call: Call, metadata: Mapping[str, JsonValue]) -> Response:
    return answer({"session_id": call.part("session_id"), "metadata": metadata})


def _name_problems(changes: Mapping[str, Any]) -> Iterator[str]:
    """Names that programs may use, but that a client may not choose, at any level."""
    stack: list[tuple[str, Any]] = [("metadata", changes)]
    while stack:
        where, value = stack.pop()
        if isinstance(value, dict):
            yield from (problem for name in value if (problem := _name_problem(where, name)))
            stack.extend((f"{where}.{name}", inner) for name, inner in value.items())
        elif isinstance(value, list):
            stack.extend((f"{where}[{index}]", inner) for index, inner in enumerate(value))


def _name_problem(where: str, name: str) -> str | None:
    if name in ENCODED_VALUE_NAMES:
        # A session manager would return a value of a type that the client chose.
        return f"{where} name {name!r} is reserved for values that JSON cannot represent; choose another name"
    problem = name_problem(where, name)
    return problem.message if problem else None


def _delete(call: Call) -> Response:
    keys = call.parameters.all("key") or None
    removed = call.harken.sessions.delete(call.application, call.part("session_id"), keys)
    return answer({"session_id": call.part("session_id"), "removed": removed})


_METADATA: Final = Answer(
    description="The metadata.",
    schema="Metadata",
    example={"session_id": "user-123", "metadata": {"user_tier": "premium"}},
)
OPERATIONS: Final = (
    Operation(
        name="get_metadata",
        method="GET",
        path=_PATH,
        scope=Scope.READ,
        handle=_get,
        summary="Get session metadata",
        tag="Metadata",
        answers={200: _METADATA},
    ),
    Operation(
        name="update_metadata",
        method="PATCH",
        path=_PATH,
        scope=Scope.SUBMIT,
        handle=_update,
        summary="Update session metadata",
        description="Sets the keys in the body; other keys are unchanged, and only returned with the scope ``read``.",
        tag="Metadata",
        body="MetadataChanges",
        example={"user_tier": "premium"},
        answers={200: _METADATA},
    ),
    Operation(
        name="delete_metadata",
        method="DELETE",
        path=_PATH,
        scope=Scope.SUBMIT,
        handle=_delete,
        summary="Delete session metadata",
        description="Deletes the keys given as ``key``, which may be repeated; by default, all keys.",
        tag="Metadata",
        parameters=("key",),
        answers={200: Answer(description="The number of deleted keys.", schema="Removed")},
    ),
)

"""API keys of an application."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from harken import ApiKey, Harken, KeyNotFound, NewKey, Scope
from harken_adapters.formats.key import key_record
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.guards.permissions import agents_of_new_key, may_manage
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import invalid, json_object
from harken_adapters.hosts.http.wire.problems import Problem

#: A limit, as all keys are read at once. It includes revoked ones, which stay stored.
MAX_KEYS: Final = 1_000


def manageable_keys(harken: Harken, principal: Principal, application: str) -> Sequence[ApiKey]:
    """The keys of an application that the caller may see and revoke, oldest first.

    A key that is limited to agents may see those that are limited to some of these agents.
    """
    return [key for key in harken.keys.keys(application) if may_manage(principal, key)]


def create_key(
    harken: Harken,
    principal: Principal,
    application: str,
    scopes: Iterable[str],
    *,
    name: str = "",
    agents: Sequence[str] | None = None,
    key_id: str | None = None,
) -> NewKey:
    """Create a key for an application that permits no more than that of the caller. See :meth:`KeyService.create`.

    Raises:
        Problem: it would permit more, or the application has too many keys.
        KeyRejected: there is no scope, or a value is invalid.
    """
    only = agents_of_new_key(principal, agents)
    if len(harken.keys.keys(application)) >= MAX_KEYS:
        raise Problem(
            "conflict",
            f"The application has {MAX_KEYS:,} keys, with revoked ones; the operator can create more with "
            "'harken keys create'",
        )
    return harken.keys.create(application, scopes, name=name, agents=only, key_id=key_id)


def revoke_key(harken: Harken, principal: Principal, application: str, key_id: str) -> ApiKey:
    """Revoke a key of an application.

    Raises:
        KeyNotFound: the application has no such key that the caller may revoke.
    """
    if all(key.id != key_id for key in manageable_keys(harken, principal, application)):
        # The text may be a part of a key, so the message does not repeat it.
        raise KeyNotFound("No API key with this id; list the keys to find the right one")
    return harken.keys.revoke(key_id)


def _list(call: Call) -> Response:
    found = manageable_keys(call.harken, call.principal, call.application)
    return answer({"keys": list(map(key_record, found))})


def _create(call: Call) -> Response:
    body = json_object(call.request, ("scopes", "name", "agents"))
    name = body.get("name", "")
    if not isinstance(name, str):
        raise invalid("name", "type", "name must be a string")
    agents = None if body.get("agents") is None else _texts(body, "agents")
    created = create_key(
        call.harken, call.principal, call.application, _texts(body, "scopes"), name=name, agents=agents
    )
    return answer({**key_record(created.key), "key": created.text}, status=201)


def _texts(body: dict[str, Any], name: str) -> list[str]:
    values = body.get(name)
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise invalid(name, "type", f"{name} must be a list of strings")
    return values


def _revoke(call: Call) -> Response:
    return answer(key_record(revoke_key(call.harken, call.principal, call.application, call.part("key_id"))))


OPERATIONS: Final = (
    Operation(
        name="list_keys",
        method="GET",
        path="/api/keys",
        scope=Scope.ADMIN,
        handle=_list,
        summary="List API keys",
        description="The keys of the application, with revoked ones. They do not contain the text of a key.",
        tag="Keys",
        agent_keys=True,
        answers={200: Answer(description="The keys, the oldest first.", schema="Keys")},
    ),
    Operation(
        name="create_key",
        method="POST",
        path="/api/keys",
        scope=Scope.ADMIN,
        handle=_create,
        summary="Create an API key",
        description=(
            "The key is for this application only. Its text is only in this response and cannot be shown again. With "
            "a key that is limited to agents, only keys for some of these agents can be created."
        ),
        tag="Keys",
        agent_keys=True,
        body="NewKey",
        example={"scopes": ["submit", "read"], "name": "web backend"},
        answers={201: Answer(description="The key with its text.", schema="CreatedKey")},
        problems=("conflict",),
    ),
    Operation(
        name="revoke_key",
        method="DELETE",
        path="/api/keys/{key_id}",
        scope=Scope.ADMIN,
        handle=_revoke,
        summary="Revoke an API key",
        description="Permanent. It is refused within five seconds. Revoking it again changes nothing.",
        tag="Keys",
        agent_keys=True,
        answers={200: Answer(description="The revoked key.", schema="Key")},
        problems=("not-found",),
    ),
)

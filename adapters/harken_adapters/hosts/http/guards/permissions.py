"""Authorization: which operations, sessions, agents and authors a principal may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from harken import ApiKey, Scope
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.wire.problems import Problem


def check_scope(principal: Principal, scope: Scope, *, tokens: bool, session_id: str | None) -> None:
    """Check that a principal may call an operation.

    Args:
        principal: the caller.
        scope: the scope that an API key needs.
        tokens: whether session tokens are accepted.
        session_id: the session that the call is about, if it names one.

    Raises:
        Problem: the principal is not allowed to.
    """
    if principal.token is None:
        if principal.key is not None and not principal.key.allows(scope):
            whose = "none of your groups gives" if principal.choices else "the API key does not have"
            raise Problem("forbidden", f"This operation requires the scope {scope.value!r}, which {whose}")
        return
    if not tokens:
        raise Problem("forbidden", "A session token can only submit, change, withdraw and read its own feedback")
    if session_id is not None and session_id != principal.token.session_id:
        raise Problem("forbidden", "The session token is for another session")


def check_agent_keys(principal: Principal, *, allowed: bool) -> None:
    """Check that a principal may call an operation that is not limited to single agents (``allowed`` is false).

    Raises:
        Problem: the API key is limited to agents.
    """
    if principal.agents is not None and not allowed:
        detail = (
            f"This API key is limited to the agents {_join(principal.agents)}, but the operation concerns others too"
        )
        raise Problem("forbidden", detail)


def agent_filter(principal: Principal, named: frozenset[str] | None) -> frozenset[str] | None:
    """The agents to filter by: those that are ``named``, or else all that the API key is limited to.

    Raises:
        Problem: the API key is limited to agents, and others are named.
    """
    if named is None:
        return principal.agents
    _check_agents(principal, named)
    return named


def may_manage(principal: Principal, key: ApiKey) -> bool:
    """Whether a principal may see and revoke an API key of its application: one that permits no more than its own."""
    return principal.agents is None or (key.agents is not None and key.agents <= principal.agents)


def agents_of_new_key(principal: Principal, named: Sequence[str] | None) -> Sequence[str] | None:
    """The agents of a new API key: ``named``, or those that the API key of the caller is limited to.

    Raises:
        Problem: the API key is limited to other agents.
    """
    if principal.agents is None:
        return named
    if named is None:
        return sorted(principal.agents)
    if others := set(named) - principal.agents:
        detail = f"This API key is limited to the agents {_join(principal.agents)}, got {_join(others)}"
        raise Problem("forbidden", detail)
    return named


def agent_of(principal: Principal, named: object) -> str | None:
    """The agent of new feedback: that of the session token or API key, if there is one; else ``named``.

    Raises:
        Problem: the credentials are for other agents, or for several and ``named`` is missing.
    """
    agents = principal.agents
    if agents is not None and named is None:
        if len(agents) > 1:
            raise Problem("forbidden", f"This API key is limited to agents; set agent_id to one of {_join(agents)}")
        return next(iter(agents))
    if agents is not None:
        _check_agents(principal, [str(named)])
        return str(named)
    fixed = principal.token.agent if principal.token else None
    if fixed is None:
        return cast("str | None", named)
    if named not in (None, fixed):
        raise Problem("forbidden", "The session token is for another agent")
    return fixed


def _check_agents(principal: Principal, named: Iterable[str]) -> None:
    others = [] if principal.agents is None else sorted(set(named) - principal.agents)
    if others:
        detail = f"This API key is limited to the agents {_join(principal.agents or ())}, got agent_id {_join(others)}"
        raise Problem("forbidden", detail)


def context_of(principal: Principal, body: Mapping[str, Any]) -> Any:
    """The context of new feedback: that of the session token, if it has one; else that of the body.

    Raises:
        Problem: the body has a name or a value that is not in the token's context.
    """
    named = body.get("context", {})
    fixed = principal.token.context if principal.token else None
    if fixed is None:
        return named
    if not isinstance(named, dict) or fixed != {**fixed, **named}:
        raise Problem("forbidden", "The context is set by the session token; leave context out")
    return fixed


def _join(agents: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(agents)))


def check_operator(principal: Principal, application: str) -> None:
    """Check that a principal may change what all applications share: an API key must be for ``application``.

    Raises:
        Problem: the credentials are for another application.
    """
    if principal.application not in (None, application):
        raise Problem(
            "forbidden", "All applications share this resource, and these credentials are for another application"
        )


def author_of(principal: Principal, named: object) -> str | None:
    """The author of new feedback: that of the session token, if there is a token; else ``named``.

    Raises:
        Problem: ``named`` is another author than that of the token.
    """
    if principal.token is None:
        return cast("str | None", named)
    if named not in (None, principal.author):
        raise Problem("forbidden", "The session token is for another author")
    return principal.author

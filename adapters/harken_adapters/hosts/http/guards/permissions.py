"""What somebody who is known may do, and whose feedback they deal with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from harken import Scope
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.wire.problems import Problem


def check_scope(principal: Principal, scope: Scope, *, tokens: bool, session_id: str | None) -> None:
    """Whether somebody may do that.

    Args:
        principal: who it is.
        scope: what is needed for it.
        tokens: whether a session token is enough.
        session_id: the session that it is about, if the call says so.

    Raises:
        Problem: they may not.
    """
    if principal.token is None:
        if principal.key is not None and not principal.key.allows(scope):
            raise Problem("forbidden", f"This needs the scope {scope.value!r}, which the API key does not have")
        return
    if not tokens:
        raise Problem("forbidden", "A session token can only give, change, take back and show its own feedback")
    if session_id is not None and session_id != principal.token.session_id:
        raise Problem("forbidden", "The session token was made for another session")


def check_agent_keys(principal: Principal, *, allowed: bool) -> None:
    """Whether somebody may do what is not about the feedback of single agents: not with a key that is limited to some.

    Raises:
        Problem: they may not.
    """
    if principal.agents is not None and not allowed:
        detail = f"This API key is limited to the agents {_listed(principal.agents)}, and this is not only about them"
        raise Problem("forbidden", detail)


def agent_filter(principal: Principal, named: str | None) -> str | None:
    """The agent whose feedback a call selects; with a key that is limited to one agent, that one.

    Raises:
        Problem: the key is limited to agents, and the call names another one, or none where there are several.
    """
    agents = principal.agents
    if agents is None or named in agents:
        return named
    if named is not None:
        detail = f"This API key is not for feedback about {named!r}; the agents it is limited to: {_listed(agents)}"
        raise Problem("forbidden", detail)
    if len(agents) == 1:
        return next(iter(agents))
    raise Problem("forbidden", f"This API key is limited to agents; name one with agent_id: {_listed(agents)}")


def agent_of(principal: Principal, named: object) -> str | None:
    """The agent that feedback is about: that of the token or of the key, if there is one; else what the call names.

    Raises:
        Problem: the call names another agent than the credentials are for, or none where they are for several.
    """
    if principal.agents is not None:
        return agent_filter(principal, named if named is None else str(named))
    fixed = principal.token.agent if principal.token else None
    if fixed is None:
        return cast("str | None", named)
    if named not in (None, fixed):
        raise Problem("forbidden", "The session token was made for another agent")
    return fixed


def context_of(principal: Principal, body: Mapping[str, Any]) -> Any:
    """The context of feedback: that of the token, if it has one, whatever the body says; else that of the body.

    Raises:
        Problem: the body has a name or a value that is not in the token's context.
    """
    named = body.get("context", {})
    fixed = principal.token.context if principal.token else None
    if fixed is None:
        return named
    if not isinstance(named, dict) or fixed != {**fixed, **named}:
        raise Problem("forbidden", "The session token says what the context is; leave context out")
    return fixed


def _listed(agents: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(agents)))


def check_operator(principal: Principal, application: str) -> None:
    """Raise unless they may change what all applications share: with a key, only one for ``application`` will do.

    Raises:
        Problem: they may not.
    """
    if principal.application not in (None, application):
        raise Problem("forbidden", "All applications share this, and these credentials are for one of the others")


def author_of(principal: Principal, named: object) -> str | None:
    """The author of feedback: with a token always its author; else the one that the call names, if any.

    Raises:
        Problem: the call names somebody else.
    """
    if principal.token is None:
        return cast("str | None", named)
    if named not in (None, principal.author):
        raise Problem("forbidden", "The session token was made for another author")
    return principal.author

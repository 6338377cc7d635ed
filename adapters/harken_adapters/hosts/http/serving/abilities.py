"""What a page may offer to the person who is signed in: what they may not do is not shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from harken import Scope
from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.guards.permissions import check_agent_keys, check_operator, check_scope
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.wire.problems import Problem

_BY_NAME: Final[Mapping[str, Operation]] = {operation.name: operation for operation in OPERATIONS}


@frozen(kw_only=True)
class Abilities:
    """Who is signed in, and what they may do.

    Attributes:
        name: the name of the person or the API key, or its id; empty without credentials.
        application: the application that is shown.
        applications: all applications that can be chosen with ``?application=``; empty for any.
        scopes: what is permitted; ``ADMIN`` is not replaced by the scopes that it includes.
        agents: the agents that the key is limited to; ``None`` if it is not limited.
        is_operator: whether what all applications share may be changed, with the scope ``admin``.
        expires_at: when the browser is signed out, in UTC; ``None`` without a browser session.
        can_stay: whether that can be later.
    """

    name: str
    application: str
    applications: tuple[str, ...]
    scopes: tuple[Scope, ...]
    agents: frozenset[str] | None
    is_operator: bool
    expires_at: datetime | None
    can_stay: bool
    _principal: Principal = field(repr=False)
    _default: str = field(repr=False)

    @classmethod
    def of(cls, principal: Principal, default: str) -> Abilities:
        """The abilities of a principal; ``default`` is the application of the service."""
        key, browser = principal.key, principal.browser
        token = principal.token
        scopes = tuple(Scope) if key is None else tuple(scope for scope in Scope if scope in key.scopes)
        choices = [choice.application for choice in principal.choices]
        return cls(
            name=(key.name or key.id) if key else (principal.author or ""),
            application=principal.application or default,
            applications=tuple(choices or filter(None, [principal.application])),
            scopes=() if token else scopes,
            agents=principal.agents,
            is_operator=token is None and principal.application in (None, default),
            expires_at=browser.expires_at if browser else None,
            can_stay=browser is not None and browser.can_extend,
            principal=principal,
            default=default,
        )

    def may(self, operation: str) -> bool:
        """Whether an operation of the API, such as ``"moderate_feedback"``, is permitted."""
        return self.why_not(operation) is None

    def why_not(self, operation: str) -> str | None:
        """Why an operation is not permitted, as a sentence for people; ``None`` if it is permitted."""
        wanted = _BY_NAME[operation]
        try:
            check_scope(self._principal, wanted.scope, tokens=wanted.tokens, session_id=None)
            check_agent_keys(self._principal, allowed=wanted.agent_keys)
            if wanted.operator:
                check_operator(self._principal, self._default)
        except Problem as problem:
            return problem.detail
        return None

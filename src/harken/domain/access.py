"""API keys and the scopes that they grant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.instants import utc


class Scope(Enum):
    """What an API key permits. ``ADMIN`` includes all other scopes."""

    SUBMIT = "submit"
    READ = "read"
    MODERATE = "moderate"
    ADMIN = "admin"

    @classmethod
    def parse(cls, value: object) -> Scope:
        """Return the scope with this name. A ``Scope`` is returned unchanged.

        Raises:
            ValueError: the scope is unknown.
        """
        try:
            return cls(value)
        except ValueError:
            *others, last = (f"'{scope.value}'" for scope in cls)
            raise ValueError(f"Unknown scope {value!r}; expected {', '.join(others)} or {last}") from None


def _format_agents(agents: Iterable[str] | None) -> str:
    """Return the agents in a stable order."""
    return "None" if agents is None else f"{{{', '.join(map(repr, sorted(agents)))}}}"


def _format_scopes(scopes: Iterable[Scope]) -> str:
    """Return the names of the scopes in a stable order, which a set does not have."""
    return f"{{{', '.join(sorted(scope.value for scope in scopes))}}}"


@frozen(kw_only=True)
class ApiKey:
    """An API key without its secret text.

    Attributes:
        id: the public part of the key.
        application: the application that the key belongs to.
        scopes: what the key permits.
        name: a label for people; may be empty.
        digest: the SHA-256 of the whole key text, in hexadecimal.
        created_at: when the key was created, in UTC.
        revoked_at: when the key was revoked; ``None`` while it is valid.
        agents: the agents whose feedback the key gives access to; ``None`` for all feedback, including feedback
            without an agent.
        last_used_at: when the key was last used, if known; see :meth:`.KeyService.keys`. It is not stored with the
            key, and does not count when keys are compared.
    """

    id: str
    application: str
    scopes: frozenset[Scope] = field(repr=_format_scopes)
    name: str = ""
    digest: str = field(repr=False)
    created_at: datetime = field(converter=utc)
    revoked_at: datetime | None = field(default=None, converter=optional(utc))
    agents: frozenset[str] | None = field(default=None, repr=_format_agents)
    last_used_at: datetime | None = field(default=None, converter=optional(utc), eq=False)

    @property
    def revoked(self) -> bool:
        """Whether the key was revoked."""
        return self.revoked_at is not None

    def allows(self, scope: Scope) -> bool:
        """Whether the key grants this scope. A revoked key grants none; ``ADMIN`` grants all."""
        return not self.revoked and not self.scopes.isdisjoint((scope, Scope.ADMIN))

    def revoke(self, *, at: datetime) -> ApiKey:
        """Return the revoked key. A key that is already revoked is returned unchanged."""
        return self if self.revoked else evolve(self, revoked_at=at)

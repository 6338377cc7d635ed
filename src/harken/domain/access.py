"""Who may do what from outside: scopes, and the API keys that have them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.instants import utc


class Scope(Enum):
    """What a key lets its holder do; ``ADMIN`` is everything."""

    SUBMIT = "submit"
    READ = "read"
    MODERATE = "moderate"
    ADMIN = "admin"

    @classmethod
    def parse(cls, value: object) -> Scope:
        """A scope from its name, or from itself.

        Raises:
            ValueError: there is no such scope.
        """
        try:
            return cls(value)
        except ValueError:
            *others, last = (f"'{scope.value}'" for scope in cls)
            raise ValueError(f"There is no scope {value!r}; expected {', '.join(others)} or {last}") from None


def _names(agents: Iterable[str] | None) -> str:
    """The agents, always in the same order."""
    return "None" if agents is None else f"{{{', '.join(map(repr, sorted(agents)))}}}"


def _in_words(scopes: Iterable[Scope]) -> str:
    """The scopes by name, always in the same order, which a set does not promise."""
    return f"{{{', '.join(sorted(scope.value for scope in scopes))}}}"


@frozen(kw_only=True)
class ApiKey:
    """What is known of an API key: everything but its text, of which only a digest is kept.

    ``digest`` is the SHA-256 of the whole text in hexadecimal. ``revoked_at`` is ``None`` while the key is good.
    ``agents`` are the only ones whose feedback its holder deals with; ``None`` for all, and for feedback without one.
    """

    id: str
    application: str
    scopes: frozenset[Scope] = field(repr=_in_words)
    name: str = ""
    digest: str = field(repr=False)
    created_at: datetime = field(converter=utc)
    revoked_at: datetime | None = field(default=None, converter=optional(utc))
    agents: frozenset[str] | None = field(default=None, repr=_names)

    @property
    def revoked(self) -> bool:
        """Whether it is good for nothing any more."""
        return self.revoked_at is not None

    def allows(self, scope: Scope) -> bool:
        """Whether its holder may do that: a revoked key allows nothing, one for ``ADMIN`` everything else."""
        return not self.revoked and not self.scopes.isdisjoint((scope, Scope.ADMIN))

    def revoke(self, *, at: datetime) -> ApiKey:
        """This key, revoked. One that was revoked before stays as it is."""
        return self if self.revoked else evolve(self, revoked_at=at)

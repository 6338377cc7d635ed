"""What people may do who sign in with OpenID Connect, by the groups that the provider says they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from harken import ConfigurationError, Scope
from harken.domain.rules import label_problem

_EXPECTED: Final = "expected 'GROUP: SCOPE ...', such as 'support: read moderate' or 'shop-team: read in shop'"


@frozen
class GroupGrant:
    """What the members of a group may do.

    Attributes:
        group: the name of the group.
        scopes: what they may do.
        application: the application in which they may do it; ``None`` for that of the service.
    """

    group: str
    scopes: frozenset[Scope]
    application: str | None = None

    @classmethod
    def parse(cls, text: str) -> GroupGrant:
        """Parse a line of the setting, such as ``shop-team: read moderate in shop``.

        Raises:
            ConfigurationError: it is malformed, or has an unknown scope.
        """
        group, colon, rest = text.rpartition(": ")
        scopes, limited, application = rest.partition(" in ")
        if not colon or not group.strip() or not scopes.split():
            raise ConfigurationError(f"oidc_groups has {text!r}; {_EXPECTED}")
        try:
            known = frozenset(map(Scope.parse, scopes.split()))
        except ValueError as error:
            raise ConfigurationError(f"oidc_groups has {text!r}: {error}") from None
        if limited and (problem := label_problem("the application", application.strip())):
            raise ConfigurationError(f"oidc_groups has {text!r}: {problem.message}")
        return cls(group.strip(), known, application.strip() or None)


@frozen
class GroupGrants:
    """The grants of all groups.

    Attributes:
        grants: in the order of the settings.
        application: the application of the service.
        issuer: the provider whose groups these are; empty without OpenID Connect.
    """

    grants: tuple[GroupGrant, ...]
    application: str
    issuer: str = ""

    def scopes(self, groups: Iterable[str]) -> Mapping[str, frozenset[Scope]]:
        """What the members of these groups may do, by application: that of the service first, then by name."""
        named, found = frozenset(groups), dict[str, frozenset[Scope]]()
        for grant in self.grants:
            if grant.group in named:
                application = grant.application or self.application
                found[application] = found.get(application, frozenset()) | grant.scopes
        return {name: found[name] for name in sorted(found, key=lambda name: (name != self.application, name))}

    def needed(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Those of these groups that grant something that no earlier one does, so that a cookie can hold them."""
        named = frozenset(groups)
        kept: tuple[str, ...] = ()
        for group in dict.fromkeys(grant.group for grant in self.grants if grant.group in named):
            if self.scopes((*kept, group)) != self.scopes(kept):
                kept += (group,)
        return kept

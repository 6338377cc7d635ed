"""API keys as JSON, for the hosts and the clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harken.domain.access import ApiKey, Scope
from harken.domain.instants import parse_instant, stamp, stamp_or_none
from harken_adapters.formats.record import Record


def key_record(key: ApiKey) -> Record:
    """A key, without its text and its digest."""
    return {
        "id": key.id,
        "application": key.application,
        "scopes": [scope.value for scope in Scope if scope in key.scopes],
        "agents": None if key.agents is None else sorted(key.agents),
        "name": key.name,
        "created_at": stamp(key.created_at),
        "revoked_at": stamp_or_none(key.revoked_at),
        "last_used_at": stamp_or_none(key.last_used_at),
    }


def key_from(record: Mapping[str, Any]) -> ApiKey:
    """The inverse of :func:`key_record`; the digest is empty."""
    revoked_at, last_used_at = record["revoked_at"], record["last_used_at"]
    return ApiKey(
        id=record["id"],
        application=record["application"],
        scopes=frozenset(map(Scope, record["scopes"])),
        agents=None if record["agents"] is None else frozenset(record["agents"]),
        name=record["name"],
        digest="",
        created_at=parse_instant(record["created_at"]),
        revoked_at=None if revoked_at is None else parse_instant(revoked_at),
        last_used_at=None if last_used_at is None else parse_instant(last_used_at),
    )

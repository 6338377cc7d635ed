"""Dry runs of routes as JSON, for the hosts and the clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harken.domain.instants import parse_instant, stamp
from harken.domain.routes import RouteDryRun
from harken_adapters.formats.record import Record, from_record


def dry_run_record(found: RouteDryRun) -> Record:
    """What a route would have sent."""
    return {
        "since": stamp(found.since),
        "until": stamp(found.until),
        "matched": found.matched,
        "total": found.total,
        "is_complete": found.is_complete,
        "matched_alerts": found.matched_alerts,
        "total_alerts": found.total_alerts,
        "examples": [one.to_dict() for one in found.examples],
    }


def dry_run_from(record: Mapping[str, Any], application: str) -> RouteDryRun:
    """The inverse of :func:`dry_run_record`, for this application."""
    return RouteDryRun(
        since=parse_instant(record["since"]),
        until=parse_instant(record["until"]),
        matched=record["matched"],
        total=record["total"],
        is_complete=record["is_complete"],
        matched_alerts=record["matched_alerts"],
        total_alerts=record["total_alerts"],
        examples=tuple(from_record(one, application) for one in record["examples"]),
    )

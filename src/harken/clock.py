"""The time of this machine, and ids that sort by it."""

from __future__ import annotations

from datetime import UTC, datetime

from uuid_utils import uuid7


def utc_now() -> datetime:
    """The time now, aware and in UTC."""
    return datetime.now(UTC)


def new_uuid7() -> str:
    """A UUID version 7 (RFC 9562): sorted by time, also within one millisecond of this process."""
    return str(uuid7())

"""The system clock, and ids that sort by time."""

from __future__ import annotations

from datetime import UTC, datetime

from uuid_utils import uuid7


def utc_now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


def new_uuid7() -> str:
    """A new UUID version 7 (RFC 9562); they sort by time, also within one millisecond of this process."""
    return str(uuid7())

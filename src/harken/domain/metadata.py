"""How much metadata a session can have, all updates together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from harken.domain.errors import InvalidMetadata

MAX_METADATA_NAMES: Final = 1_000
#: Names and values as compact JSON in UTF-8. The densest JSON takes eight times as much in BSON, and a MongoDB document
#: holds 16 MB, so there is room to spare.
MAX_METADATA_BYTES: Final = 1_000_000

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@frozen
class MetadataSize:
    """How much metadata a session has: ``names``, and ``bytes`` of the names and of their values as JSON."""

    names: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, object]) -> MetadataSize:
        """The size of this metadata."""
        sizes = (len(name.encode()) + len(_compact(value).encode()) for name, value in metadata.items())
        return cls(len(metadata), sum(sizes))

    def check_growth_to(self, after: MetadataSize) -> None:
        """Check an update that leads from this size to ``after``.

        One that makes the metadata smaller is always allowed, so that a session that is too large can be reduced.

        Raises:
            InvalidMetadata: the session would have more names or more bytes than it can have.
        """
        problems = []
        if after.names > max(MAX_METADATA_NAMES, self.names):
            problems.append(f"{after.names:,} names (max: {MAX_METADATA_NAMES:,}, now: {self.names:,})")
        if after.bytes > max(MAX_METADATA_BYTES, self.bytes):
            problems.append(f"{after.bytes:,} bytes as JSON (max: {MAX_METADATA_BYTES:,}, now: {self.bytes:,})")
        if problems:
            raise InvalidMetadata(
                f"The session's metadata would have {' and '.join(problems)}; remove names that are no longer needed, "
                "or set shorter values"
            )

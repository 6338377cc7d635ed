"""The size limits of session metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from harken.domain.errors import InvalidMetadata

MAX_METADATA_NAMES: Final = 1_000
#: Names and values as compact JSON in UTF-8. BSON needs at most eight times as many bytes, so the metadata fits
#: into a MongoDB document (16 MB).
MAX_METADATA_BYTES: Final = 1_000_000

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@frozen
class MetadataSize:
    """The size of session metadata: the number of names, and the bytes of names and values as JSON."""

    names: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, object]) -> MetadataSize:
        """Return the size of this metadata."""
        sizes = (len(name.encode()) + len(_compact(value).encode()) for name, value in metadata.items())
        return cls(len(metadata), sum(sizes))

    def check_growth_to(self, after: MetadataSize) -> None:
        """Check an update that changes the size from this to ``after``.

        Reducing the size is always allowed, so that oversized metadata can be reduced step by step.

        Raises:
            InvalidMetadata: the session would exceed the limit of names or bytes.
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

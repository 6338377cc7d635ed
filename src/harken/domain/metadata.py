"""Session metadata: size limits, comparison of values, and paths into nested dictionaries.

A path has the names of nested dictionaries, separated by dots: ``a.b`` is ``b`` in the dictionary ``a``, as in
MongoDB's ``$set`` and ``$unset``. Unlike there, a number is always a name, and never a position in a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from harken.domain.errors import InvalidMetadata

MAX_METADATA_NAMES: Final = 1_000
#: Names and values as compact JSON in UTF-8. BSON needs at most eight times as many bytes, so the metadata fits
#: into a MongoDB document (16 MB).
MAX_METADATA_BYTES: Final = 1_000_000

#: Strands' marker of bytes.
BYTES_MARKER: Final = "__bytes_encoded__"
#: The marker of other values that JSON cannot represent, such as dates.
VALUE_MARKER: Final = "__harken_encoded__"
#: A dictionary with one of these names is a value that JSON cannot represent. No path leads into it.
ENCODED_VALUE_NAMES: Final = frozenset({BYTES_MARKER, VALUE_MARKER})

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted = json.JSONEncoder(sort_keys=True).encode


def is_same_json(one: object, other: object) -> bool:
    """Whether two JSON values are the same, also of messages; the order of names does not matter."""
    # As JSON, because 1, 1.0 and True are equal in Python.
    return _sorted(one) == _sorted(other)


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


def set_paths(metadata: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with the values of these paths, and everything else unchanged.

    Missing dictionaries on the way are created. The arguments are not changed.

    Args:
        metadata: values by name.
        changes: values by path.

    Raises:
        InvalidMetadata: a path leads through a value that is not a dictionary, such as a list or an encoded date; one
            path leads through another; or a name is reserved for encoded values.
    """
    _check_paths(changes)
    after = _copy_of_touched(metadata, changes)
    for path, value in changes.items():
        *parents, name = path.split(".")
        place = after
        for depth, parent in enumerate(parents, 1):
            inner = place.setdefault(parent, {})
            if not _is_dictionary(inner):
                kind = "an encoded value" if isinstance(inner, dict) else type(inner).__name__
                raise InvalidMetadata(
                    f"metadata.{path} cannot be set, because metadata.{'.'.join(parents[:depth])} is not a dictionary "
                    f"but {kind}; set that to a dictionary first"
                )
            place = inner
        place[name] = value
    return after


def delete_paths(metadata: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the metadata without these paths. Dictionaries that become empty stay. The arguments are not changed."""
    listed = list(paths)
    after = _copy_of_touched(metadata, listed)
    for path in listed:
        *parents, name = path.split(".")
        if (place := _dictionary_at(after, parents)) is not None:
            place.pop(name, None)
    return after


def find_paths(metadata: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return the values of those paths that exist, by path."""
    found = {}
    for path in paths:
        *parents, name = path.split(".")
        place = _dictionary_at(metadata, parents)
        if place is not None and name in place:
            found[path] = place[name]
    return found


def _check_paths(paths: Iterable[str]) -> None:
    """Refuse paths whose result would depend on their order, or look like an encoded value."""
    split = sorted(path.split(".") for path in paths)
    problems = [
        f"metadata.{'.'.join(longer)} is part of metadata.{'.'.join(shorter)}; set only one of them"
        for shorter, longer in pairwise(split)
        if longer[: len(shorter)] == shorter
    ]
    reserved = [names for names in split if not ENCODED_VALUE_NAMES.isdisjoint(names[1:])]
    problems += [f"metadata.{'.'.join(names)} has a name that is reserved for encoded values" for names in reserved]
    if problems:
        raise InvalidMetadata("; ".join(problems))


def _copy_of_touched(metadata: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Return a copy in which the values that these paths lead into are copied too."""
    touched = {path.partition(".")[0] for path in paths}
    return {name: deepcopy(value) if name in touched else value for name, value in metadata.items()}


def _dictionary_at(metadata: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the dictionary that these names lead to, or ``None``. The first one is the metadata itself."""
    place: Any = metadata
    for name in names:
        place = place.get(name)
        if not _is_dictionary(place):
            return None
    return place


def _is_dictionary(value: object) -> bool:
    return isinstance(value, dict) and ENCODED_VALUE_NAMES.isdisjoint(value)

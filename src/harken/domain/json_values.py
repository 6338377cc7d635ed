"""JSON values, such as metadata and messages."""

from __future__ import annotations

import json

_sorted = json.JSONEncoder(sort_keys=True).encode


def is_same_json(one: object, other: object) -> bool:
    """Whether two JSON values are the same; the order of names does not matter."""
    # As JSON, because 1, 1.0 and True are equal in Python.
    return _sorted(one) == _sorted(other)

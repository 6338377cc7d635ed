"""JSON values are compared as JSON."""

from __future__ import annotations

import pytest

from harken.domain.json_values import is_same_json


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": [None, "x"]}, {"b": [None, "x"], "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ([1, 2], [2, 1], False),
        ("1", 1, False),
    ],
)
def test_values_are_the_same_as_json(one: object, other: object, same: bool) -> None:
    """The order of names does not matter, but the order of lists and the kinds of numbers do."""
    assert is_same_json(one, other) is is_same_json(other, one) is same

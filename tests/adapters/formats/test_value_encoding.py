"""Markers of encoded values that a visitor wrote."""

import json

import pytest
from bson import Code
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.value_encoding import decode, encode_exactly

KINDS = ["float", "int", "dict", "datetime", "date", "time", "uuid", "ObjectId", "Decimal128", "bson", "other"]
EXTENDED_NAMES = [
    "$binary",
    "$date",
    "$oid",
    "$code",
    "$scope",
    "$regularExpression",
    "$dbPointer",
    "$timestamp",
    "$uuid",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*EXTENDED_NAMES, "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(KINDS), json_values)
def test_any_marker_is_decoded_without_an_error(kind: str, data: object) -> None:
    """A marker with any data is decoded, or returned unchanged."""
    decode({"__harken_encoded__": kind, "data": data})


@pytest.mark.parametrize(
    "text", ['{"$binary": {"a": 1}}', "[" * 100_000, '{"$date": "soon"}', '{"$code": 1, "$scope": 2}', "{"]
)
def test_invalid_extended_json_is_returned_unchanged(text: str) -> None:
    """Extended JSON that is invalid stays a marker."""
    marker = {"__harken_encoded__": "bson", "data": text}
    assert decode(marker) == marker


@given(json_values)
def test_any_extended_json_is_decoded_without_an_error(value: object) -> None:
    """Any JSON text with the names of Extended JSON is decoded, or returned unchanged."""
    decode({"__harken_encoded__": "bson", "data": json.dumps(value)})


@pytest.mark.parametrize("scope", [{"$oid": "x"}, {"$binary": {"base64": "YQ=="}}, {"$date": "soon"}])
def test_code_that_extended_json_cannot_represent_is_refused(scope: dict[str, object]) -> None:
    """A scope that looks like Extended JSON is refused by name, as any value that would not come back equal."""
    with pytest.raises(TypeError, match="script must be a value that Extended JSON can represent, got Code"):
        encode_exactly(Code("f()", scope), "script")

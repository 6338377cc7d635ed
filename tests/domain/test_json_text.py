"""The fast writer of JSON gives the text of the standard library."""

from datetime import datetime
from json import JSONEncoder

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.json_text import json_writer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
ENCODERS = {
    "ascii": JSONEncoder(default=repr),
    "compact": JSONEncoder(default=repr, ensure_ascii=False, separators=(",", ":")),
    "sorted": JSONEncoder(default=str, sort_keys=True),
}


@pytest.mark.parametrize("name", ENCODERS)
@given(value=VALUES)
def test_the_text_is_that_of_the_encoder(name: str, value: object) -> None:
    """For every option that is used, and for values that the encoder converts."""
    assert json_writer(ENCODERS[name])(value) == ENCODERS[name].encode(value)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), float("nan"), {1: {2: object()}}])
def test_what_the_encoder_refuses_is_refused(value: object) -> None:
    """A writer stays usable after that."""
    write = json_writer(JSONEncoder(allow_nan=False))
    with pytest.raises((TypeError, ValueError)):
        write([value])
    assert write(["next"]) == '["next"]'

"""The fast writer of JSON gives the text of the standard library."""

from json import JSONEncoder, encoder

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.texts import json_writer
from harken.testing import NOON

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


@pytest.mark.parametrize("value", [NOON, float("nan"), {1: {2: object()}}])
def test_what_the_encoder_refuses_is_refused(value: object) -> None:
    """A writer stays usable after that."""
    write = json_writer(JSONEncoder(allow_nan=False))
    with pytest.raises((TypeError, ValueError)):
        write([value])
    assert write(["next"]) == '["next"]'


def test_the_text_is_the_same_without_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on interpreters that lack the part of the standard library that is written in C."""
    monkeypatch.setattr(encoder, "c_make_encoder", None)
    write = json_writer(ENCODERS["compact"])
    assert write({"a": ["é", None, 1.5]}) == '{"a":["é",null,1.5]}'

"""Texts for error messages and logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.texts import (
    did_you_mean,
    escape_unprintable,
    listed,
    no_such,
    unknown_names,
    without_password,
)


def test_unknown_names_are_sorted_and_known_ones_keep_their_order() -> None:
    """All unknown names are reported at once as text."""
    assert unknown_names(["b", "z", 1], ["z", "b"]) == "unknown key '1'; expected one of z, b"
    assert unknown_names({"d": 1, "c": 2}, ["b", "a"], "name") == "unknown names 'c', 'd'; expected one of b, a"
    assert unknown_names(["a"], ["a", "b"]) is None


def test_no_such_thing() -> None:
    """The message names the kind, the name and the alternatives."""
    assert no_such("channel", "ops", ["log"]) == "Unknown channel 'ops'; expected log"
    assert no_such("channel", "ops", []) == "Unknown channel 'ops'; there is none"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("prt", " (did you mean 'port'?)"),
        ("PORT", " (did you mean 'port'?)"),
        ("hosts", " (did you mean 'Host'?)"),
        ("zzz", ""),
        ("", ""),
        # Foreign names may be long, and comparing them takes time.
        ("port" * 1_000, ""),
    ],
)
def test_a_similar_name_is_suggested(name: str, suggestion: str) -> None:
    """The most similar known name, in upper or lower case; nothing if none is similar."""
    known = ["port", "sort order", "Host"]
    assert did_you_mean(name, known) == suggestion
    assert (
        no_such("setting", name, known) == f"Unknown setting {name!r}{suggestion}; expected one of {', '.join(known)}"
    )
    assert unknown_names([name], known) == f"unknown key {name!r}{suggestion}; expected one of {', '.join(known)}"


def test_few_names_get_a_suggestion() -> None:
    """A thousand unknown names are not all compared."""
    message = unknown_names([f"port{number}" for number in range(1_000)], ["port", "host"])
    assert message is not None
    assert message.count("did you mean") == 3


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("mongodb://ann:secret@host/db?a=b", "mongodb://host/db?a=b"),
        ("mongodb://ann:se@cret@host", "mongodb://host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_passwords_are_removed_from_urls(url: str, masked: str) -> None:
    """Everything before the last @ is removed."""
    assert without_password(url) == masked


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    """Escaped text is printable, and printable text does not change."""
    escaped = escape_unprintable(text)
    assert escaped.isprintable()
    assert escaped == text or not text.isprintable()


def test_escapes() -> None:
    """A line end and a control character become escapes."""
    assert escape_unprintable("one\ntwo\x1b[0m") == "one\\ntwo\\x1b[0m"


@pytest.mark.parametrize(
    ("texts", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a, b"), ([*"abcd"], "a, b and 2 more")]
)
def test_a_list_names_the_first_texts(texts: list[str], text: str) -> None:
    """The number of the others is given, if there are any."""
    assert listed(texts, 2) == text

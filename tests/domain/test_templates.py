"""Templates: text with placeholders, without expressions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.templates import fill_template, template_problem

NAMES = ("session_id", "rating")
values = st.fixed_dictionaries({name: st.text(max_size=5) for name in NAMES})
#: Parts of a template, and their results.
pieces = st.lists(
    st.sampled_from([("{session_id}", "session_id"), ("{rating}", "rating"), ("{{", None), ("}}", None)])
    | st.text(st.characters(exclude_characters="{}"), max_size=5).map(lambda text: (text, None))
)


@given(pieces, values)
def test_placeholders_are_replaced(parts: list[tuple[str, str | None]], known: dict[str, str]) -> None:
    """Each placeholder becomes its value; doubled braces become single ones; other text is unchanged."""
    template = "".join(piece for piece, _ in parts)
    assert template_problem(template, NAMES) is None
    halved = {"{{": "{", "}}": "}"}
    expected = "".join(known[name] if name else halved.get(piece, piece) for piece, name in parts)
    assert fill_template(template, known) == expected


@given(st.text(st.sampled_from("{}[].!:0a ") | st.sampled_from("rating"), max_size=12), values)
def test_a_valid_template_can_be_filled(template: str, known: dict[str, str]) -> None:
    """A template that passes the check never raises later."""
    if template_problem(template, ["a", *NAMES]) is None:
        fill_template(template, {**known, "a": "x"})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{author}",
            "The template '{author}' is invalid: Unknown placeholder '{author}'; expected one of {rating}, ",
        ),
        ("{}", "expected one of {rating}, {session_id}"),
        ("{0}", "Unknown placeholder '{0}'"),
        ("{rating.__class__}", "Unknown placeholder '{rating.__class__}'"),
        ("{rating[0]}", "Unknown placeholder '{rating[0]}'"),
        ("{rating!r}", "Unknown placeholder '{rating!r}'"),
        ("{rating:>1000000000}", "Unknown placeholder '{rating:>1000000000}'"),
        ("{rating:{session_id}}", "Unknown placeholder '{rating:{session_id}}'"),
        ("a { b", "is invalid: "),
        ("a } b", "write a literal brace twice"),
        (7, "A template must be a string, got int"),
        (None, "A template must be a string, got NoneType"),
    ],
)
def test_an_invalid_template_has_a_problem(template: object, message: str) -> None:
    """Attributes, indexes, conversions, widths and unknown names are refused with a helpful message."""
    problem = template_problem(template, NAMES)
    assert problem is not None
    assert message in problem

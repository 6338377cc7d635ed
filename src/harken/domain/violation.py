"""The violation of a rule."""

from __future__ import annotations

import attrs
from attrs import frozen

#: The start and the end of a part of a comment, in Unicode code points, like those of a slice.
Span = tuple[int, int]


@frozen
class Violation:
    """A violation: the field, a stable code for programs, and a message for people.

    ``rule`` is the name of the rule; a policy sets it if it is empty. ``spans`` are the parts of the comment that the
    rule matched. Neither is compared: a violation that two rules find is reported once.
    """

    field: str
    code: str
    message: str
    rule: str = attrs.field(default="", eq=False)
    spans: tuple[Span, ...] = attrs.field(default=(), eq=False)

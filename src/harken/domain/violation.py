"""What a rule finds wrong."""

from __future__ import annotations

from attrs import frozen


@frozen
class Violation:
    """One thing that is wrong: the field, a stable code for programs, and a message for people."""

    field: str
    code: str
    message: str

"""The violation of a rule."""

from __future__ import annotations

from attrs import frozen


@frozen
class Violation:
    """A violation: the field, a stable code for programs, and a message for people."""

    field: str
    code: str
    message: str

"""Changes of session metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import frozen

Operation = Literal["update", "delete"]
OPERATIONS: Final[tuple[Operation, ...]] = ("update", "delete")


@frozen
class SessionChange:
    """A change of the metadata of a session, with the values as they are when it is sent.

    Attributes:
        session_id: the session.
        operation: ``"update"`` or ``"delete"``.
        names: the names that were set or removed, sorted.
        metadata: the current values of these names; ``None`` for one that does not exist.
        current: all metadata of the session, by name.
    """

    session_id: str
    operation: Operation
    names: tuple[str, ...]
    metadata: Mapping[str, Any]
    current: Mapping[str, Any]

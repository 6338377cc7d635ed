"""JSON from outside, in which no object may name a member twice.

Parsers disagree about which of the two counts, so that what a proxy or a log has seen is not what Harken would keep.
"""

from __future__ import annotations

import json
from typing import Any, Final

from harken import HarkenError

_SHOWN_OF_NAME: Final = 100


class RepeatedMember(HarkenError, ValueError):
    """An object names a member twice.

    Attributes:
        name: the member's name, as far as it is shown.
    """

    def __init__(self, name: str) -> None:
        self.name = name[:_SHOWN_OF_NAME]
        super().__init__(f"The member {json.dumps(self.name)} appears twice")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise RepeatedMember(name)
        seen.add(name)
    raise AssertionError("a dictionary has fewer members than its pairs have names")


_decode: Final = json.JSONDecoder(object_pairs_hook=_members).decode


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        RepeatedMember: an object in it, however deep, names a member twice.
        json.JSONDecodeError: it is not valid JSON.
        ValueError: it has an integer with more digits than Python reads.
        RecursionError: it is nested too deeply.
    """
    return _decode(text)

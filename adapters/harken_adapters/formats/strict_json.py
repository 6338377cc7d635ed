"""Writes compact JSON, and parses untrusted JSON, in which no object may have a member twice.

Parsers disagree about which of the two is used, so a proxy or a log could see another value than Harken stores.
"""

from __future__ import annotations

import json
from typing import Any, Final

from harken import HarkenError

_SHOWN_CHARACTERS: Final = 100


class RepeatedMember(HarkenError, ValueError):
    """An object has a member twice.

    Attributes:
        name: the name of the member, truncated to 100 characters.
    """

    def __init__(self, name: str) -> None:
        self.name = name[:_SHOWN_CHARACTERS]
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
    raise AssertionError("unreachable: the dictionary has fewer members than pairs")


#: The compact text of a JSON value, which may have any characters.
dump: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decoder: Final = json.JSONDecoder(object_pairs_hook=_members)


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        RepeatedMember: an object has a member twice.
        json.JSONDecodeError: the text is not valid JSON.
        ValueError: an integer has more digits than Python converts.
        RecursionError: the text is nested too deeply.
    """
    return _decoder.decode(text)


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at an index of a text, and the index after it.

    Raises:
        RepeatedMember, json.JSONDecodeError, ValueError, RecursionError: as for :func:`parse`.
    """
    return _decoder.raw_decode(text, start)

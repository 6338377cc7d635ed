"""The code blocks of the guide to feedback patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from shared_data import GUIDE

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^##+ (.+)$", re.MULTILINE)


@frozen
class Block:
    """A code block with its heading, and the output in the guide, if there is one."""

    heading: str
    code: str
    output: str | None


def blocks() -> Iterator[Block]:
    """All Python blocks, in order."""
    guide = GUIDE.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(guide))
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block[1] == "python":
            heading = _HEADING.findall(guide, 0, block.start())[-1]
            output = following[2] if following is not None and not following[1] else None
            yield Block(heading, block[2], output)

"""The syntax of web origins."""

from __future__ import annotations

import re
from typing import Final

#: The valid values of an ``Origin`` header, except ``null``.
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_LEFT_OUT: Final = {"http": ":80", "https": ":443"}


def origin_problem(origin: str) -> str | None:
    """Why a text is not a valid ``Origin``, so that it would never match; ``None`` if it is valid."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return "expected an origin such as 'https://shop.example', in lower case and without a path"
    if found[2] is not None and _LEFT_OUT.get(found[1]) == found[2]:
        return f"leave out {found[2]}, the default port of {found[1]}, as browsers do"
    return None

"""Parsing of ``sqlite:`` URLs."""

from __future__ import annotations

import os
import re
from math import isfinite
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from attrs import frozen

from harken.domain.errors import ConfigurationError

_PREFIX: Final = "sqlite:///"
_DRIVE: Final = re.compile("/?[A-Za-z]:")
_EXPECTED: Final = "expected sqlite:///relative.db, or sqlite:////absolute/path.db with four slashes"
DEFAULT_BUSY_TIMEOUT: Final = 30.0


@frozen
class Location:
    """The absolute path of the file, and the number of seconds to wait while another process writes to it."""

    path: Path
    busy_timeout: float = DEFAULT_BUSY_TIMEOUT


def parse_url(url: str) -> Location:
    """Parse ``sqlite:///path?busy_timeout=seconds``; the path may contain percent escapes.

    A relative path is resolved against the current working directory, once.

    Raises:
        ConfigurationError: the URL is invalid or has an unknown option.
    """
    if not url.lower().startswith(_PREFIX):
        raise ConfigurationError(f"{url!r} does not name a file: {_EXPECTED}")
    if "#" in url:
        raise ConfigurationError(f"{url!r} has a fragment, which is not supported; write # in a file name as %23")
    path, _, options = url[len(_PREFIX) :].partition("?")
    if "\\" in path or (_DRIVE.match(path) and os.name != "nt"):
        raise ConfigurationError(f"{url!r} has a Windows path: {_EXPECTED}, and forward slashes")
    # Decoded to bytes: names that are not valid UTF-8 would otherwise become equal.
    path = os.fsdecode(unquote_to_bytes(path))
    if not path.strip("/") or "\x00" in path:
        raise ConfigurationError(f"{url!r} does not name a file: {_EXPECTED}")
    if path == ":memory:":
        raise ConfigurationError("SQLite in memory cannot be shared by threads; use memory:// instead")
    return Location(Path(path).absolute(), _busy_timeout(url, options))


def _busy_timeout(url: str, options: str) -> float:
    chosen = dict(parse_qsl(options, keep_blank_values=True))
    text = chosen.pop("busy_timeout", str(DEFAULT_BUSY_TIMEOUT))
    if chosen:
        raise ConfigurationError(f"{url!r} has an unknown option {', '.join(sorted(chosen))}; expected busy_timeout")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise ConfigurationError(f"busy_timeout must be a number of seconds, got {text!r}")
    return seconds

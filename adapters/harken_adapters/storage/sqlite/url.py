"""What a ``sqlite:`` URL says."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from attrs import frozen

from harken.domain.errors import ConfigurationError

_PREFIX: Final = "sqlite:///"
_EXPECTED: Final = "expected sqlite:///relative.db, or sqlite:////absolute/path.db with four slashes"
DEFAULT_BUSY_TIMEOUT: Final = 30.0


@frozen
class Location:
    """Where the file is, and how many seconds to wait while another process writes to it."""

    path: Path
    busy_timeout: float = DEFAULT_BUSY_TIMEOUT


def parse_url(url: str) -> Location:
    """The location that ``sqlite:///path?busy_timeout=seconds`` names; the path may have percent escapes.

    Raises:
        ConfigurationError: it is no such URL, or asks for something unknown.
    """
    if not url.lower().startswith(_PREFIX):
        raise ConfigurationError(f"{url!r} names no file: {_EXPECTED}")
    path, _, options = url[len(_PREFIX) :].partition("?")
    path = unquote(path)
    if not path.strip("/") or "\x00" in path:
        raise ConfigurationError(f"{url!r} names no file: {_EXPECTED}")
    if path == ":memory:":
        raise ConfigurationError("SQLite in memory cannot be shared by threads; use memory:// instead")
    return Location(Path(path), _busy_timeout(url, options))


def _busy_timeout(url: str, options: str) -> float:
    chosen = dict(parse_qsl(options, keep_blank_values=True))
    text = chosen.pop("busy_timeout", str(DEFAULT_BUSY_TIMEOUT))
    if chosen:
        raise ConfigurationError(f"{url!r} sets unknown {', '.join(sorted(chosen))}; known is busy_timeout")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise ConfigurationError(f"busy_timeout must be a number of seconds, got {text!r}")
    return seconds

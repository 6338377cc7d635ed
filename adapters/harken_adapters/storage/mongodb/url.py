"""Parsing of Harken's part of ``mongodb:`` URLs; the driver parses the rest."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import frozen

from harken.domain.errors import ConfigurationError
from harken.domain.texts import without_password

DEFAULT_DATABASE: Final = "harken"
DEFAULT_TIMEOUT: Final = 20.0
#: No write may take longer than the mark that it sets.
LONGEST_TIMEOUT: Final = 60.0
_EXPECTED: Final = "expected mongodb://host:27017/database or mongodb+srv://host/database"
#: Options that Harken sets itself, because its guarantees depend on them.
_OURS: Final = ("w", "journal", "j", "fsync", "wtimeoutms", "readconcernlevel", "readpreference")


@frozen
class Location:
    """The name of the database, and the longest duration of a call in seconds."""

    database: str = DEFAULT_DATABASE
    timeout: float = DEFAULT_TIMEOUT


def parse_url(url: str) -> Location:
    """Parse ``mongodb://user:password@hosts/database?timeoutMS=milliseconds``.

    Raises:
        ConfigurationError: the URL is invalid, or sets an option that Harken sets itself.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"{without_password(url)!r} is invalid ({error}); {_EXPECTED}") from error
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc.rpartition("@")[2]:
        raise ConfigurationError(f"{without_password(url)!r} does not name a server; {_EXPECTED}")
    options = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    if chosen := sorted(set(options) & set(_OURS)):
        raise ConfigurationError(
            f"Leave {', '.join(chosen)} out of the URL: Harken always writes to a majority, journaled, and reads that"
        )
    return Location(unquote(parts.path.strip("/")) or DEFAULT_DATABASE, _timeout(options.get("timeoutms")))


def _timeout(milliseconds: str | None) -> float:
    if milliseconds is None:
        return DEFAULT_TIMEOUT
    seconds = int(milliseconds) / 1_000 if milliseconds.isdecimal() else 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        longest = int(LONGEST_TIMEOUT * 1_000)
        raise ConfigurationError(f"timeoutMS must be a whole number from 1 to {longest}, got {milliseconds!r}")
    return seconds

"""Parsing of Harken's part of ``mongodb:`` URLs; the driver parses the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from attrs import frozen

from harken.domain.errors import ConfigurationError
from harken.domain.texts import without_password

DEFAULT_DATABASE: Final = "harken"
DEFAULT_TIMEOUT: Final = 20.0
#: No write may take longer than the mark that it sets.
LONGEST_TIMEOUT: Final = 60.0
_EXPECTED: Final = "expected mongodb://host:27017/database or mongodb+srv://host/database"
#: Options that Harken sets itself, because its guarantees depend on them.
_OURS: Final = frozenset(
    {
        *("w", "journal", "j", "fsync", "wtimeoutms"),
        *("readconcernlevel", "readpreference", "readpreferencetags", "maxstalenessseconds"),
    }
)
#: Bytes in UTF-8.
_LONGEST_NAME: Final = 63
_NOT_IN_NAMES: Final = frozenset(' /\\.$"\0')
#: Options whose values may be secrets.
_SECRETS: Final = frozenset({"authmechanismproperties", "tlscertificatekeyfilepassword"})


@frozen
class Location:
    """The name of the database, and the longest duration of a call in seconds."""

    database: str = DEFAULT_DATABASE
    timeout: float = DEFAULT_TIMEOUT


def parse_url(url: str) -> Location:
    """Parse ``mongodb://user:password@hosts/database?timeoutMS=milliseconds``.

    Raises:
        ConfigurationError: the URL or the name of the database is invalid, or an option is one that Harken sets.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"{without_password(url)!r} is invalid ({error}); {_EXPECTED}") from error
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc.rpartition("@")[2]:
        raise ConfigurationError(f"{without_password(url)!r} does not name a server; {_EXPECTED}")
    options = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    if chosen := sorted(_OURS & set(options)):
        raise ConfigurationError(
            f"Leave {', '.join(chosen)} out of the URL: Harken always writes to a majority, journaled, and reads that"
        )
    database = unquote(parts.path.strip("/")) or DEFAULT_DATABASE
    check_database_name(database)
    return Location(database, parse_timeout(options.get("timeoutms")))


def check_database_name(name: str) -> None:
    """Check the name of a database.

    Raises:
        ConfigurationError: MongoDB does not allow it.
    """
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME or _NOT_IN_NAMES & set(name):
        raise ConfigurationError(
            f"The name of a MongoDB database must have 1 to {_LONGEST_NAME} bytes, without spaces and without any of "
            f'/ \\ . $ ", got {name!r:.100}'
        )


def without_ours(url: str, options: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """A URL and options of the driver, without those that Harken sets itself. Names of options are in lower case."""
    place, question_mark, query = url.partition("?")
    kept = [option for option in query.split("&") if option.partition("=")[0].lower() not in _OURS]
    named = {name.lower(): value for name, value in options.items()}
    return f"{place}{question_mark}{'&'.join(kept)}", {name: named[name] for name in named if name not in _OURS}


def url_to_show(url: str, database: str) -> str:
    """The URL of another database of a server, for people: with placeholders instead of user and password.

    Secret options, and those that Harken sets itself, are left out.
    """
    parts = urlsplit(url)
    _, at, hosts = parts.netloc.rpartition("@")
    options = {option.partition("=")[0].lower(): option for option in parts.query.split("&") if option}
    shown = [option for name, option in options.items() if name not in _OURS | _SECRETS]
    if at and not {"authsource", "authmechanism"} & options.keys():
        # By default, users are those of the database in the URL.
        shown.append(f"authSource={parts.path.strip('/') or 'admin'}")
    query = f"?{'&'.join(shown)}" if shown else ""
    return f"{parts.scheme}://{'USER:PASSWORD@' if at else ''}{hosts}/{quote(database, safe='')}{query}"


def parse_timeout(milliseconds: str | None) -> float:
    """The longest duration of a call in seconds.

    Raises:
        ConfigurationError: it is not a whole number of milliseconds, or too long.
    """
    if milliseconds is None:
        return DEFAULT_TIMEOUT
    seconds = int(milliseconds) / 1_000 if milliseconds.isdecimal() else 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        longest = int(LONGEST_TIMEOUT * 1_000)
        raise ConfigurationError(f"timeoutMS must be a whole number from 1 to {longest}, got {milliseconds!r}")
    return seconds

"""Storage URLs, and opening the storage of a URL."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.domain.texts import did_you_mean
from harken.ports.storage import OpenStorage, Storage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "harken.storage"
#: Schemes for tests, with the extra of Harken that they need.
_FOR_TESTS: Final = {"mongomock": "mongodb"}


def scheme_of(url: str) -> str:
    """The scheme of a storage URL: the part before ``://``, in lower case.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    scheme, separator, _ = url.partition("://")
    if not (separator and scheme):
        raise ConfigurationError(
            f"{url!r} is not a storage URL; expected something like 'sqlite:///feedback.db' or 'memory://'"
        )
    return scheme.lower()


def same_storage(one: str, other: str) -> bool:
    """Whether two URLs name the same storage. Ignores options, credentials and the spelling of a path.

    Raises:
        ConfigurationError: one of them is not a storage URL.
    """
    return place_of(one) == place_of(other)


def file_of(url: str) -> Path | None:
    """The file that a storage URL names, as an absolute path; ``None`` for a server or for ``memory://``.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    scheme_of(url)
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    return None if authority or not path else Path(os.fsdecode(unquote_to_bytes(path))).absolute()


def is_missing(url: str) -> bool:
    """Whether the file of the storage does not exist; false for a storage without one.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    file = file_of(url)
    return file is not None and not file.exists()


def with_absolute_path(url: str) -> str:
    """The URL with an absolute path in place of a relative one, so that it does not depend on the working directory.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    file = file_of(url)
    scheme, _, rest = url.partition("://")
    path, mark, options = rest.partition("?")
    # A path with any of these is not a plain path; the storage decides whether it is valid.
    if file is None or any(sign in path for sign in ":\\#"):
        return url
    return f"{scheme}:///{quote(str(file))}{mark}{options}"


def place_of(url: str) -> tuple[object, ...]:
    """The location of a storage, without credentials and options: equal if two URLs name the same storage.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    scheme = scheme_of(url)
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if authority:
        hosts = authority.rpartition("@")[2].lower().split(",")
        return scheme, sorted(hosts), os.fsdecode(unquote_to_bytes(path))
    # Without a host it is a file. A file name cannot contain NUL, and resolving one that does would raise.
    return scheme, Path(os.fsdecode(unquote_to_bytes(path)).replace("\0", "")).resolve()


def open_storage(url: str) -> AbstractContextManager[Storage]:
    """Open the storage of a URL; the end of the context closes it.

    Raises:
        ConfigurationError: no installed package supports the scheme, or the URL is invalid.
        MissingExtra: a dependency of the storage is not installed.
        StorageError: it cannot be opened.
    """
    return _opener(url)(url)


def open_existing_storage(url: str) -> AbstractContextManager[Storage]:
    """Like :func:`open_storage`, but never creates a storage.

    An adapter that cannot tell whether a storage exists, such as the one for memory, opens it anyway.

    Raises what :func:`open_storage` raises, and ``StorageUnavailable`` when the context is entered and the storage does
    not exist.
    """
    opener = _opener(url)
    takes_existing = "existing" in inspect.signature(opener).parameters
    return opener(url, existing=True) if takes_existing else opener(url)


def _opener(url: str) -> Callable[..., AbstractContextManager[Storage]]:
    scheme = scheme_of(url)
    extra = _FOR_TESTS.get(scheme, scheme.partition("+")[0])
    opener: OpenStorage = plugins.load(_entry_point(scheme), f"{scheme}://", extra)
    return opener


def check_served(url: str) -> None:
    """Check that an installed package supports the URL; does not open the storage.

    Raises:
        ConfigurationError: it is not a storage URL, or no installed package supports its scheme.
    """
    _entry_point(scheme_of(url))


def supported_schemes() -> list[str]:
    """The schemes that the installed packages support, sorted, without those for tests only."""
    return [name for name in plugins.names(ENTRY_POINTS) if name not in _FOR_TESTS]


def _shown_scheme(scheme: str) -> str:
    """The scheme, and the extra of Harken that it needs, if any."""
    # Not at the top: it loads 40 modules, and few programs get here.
    from importlib.metadata import metadata  # noqa: PLC0415

    extra = scheme.partition("+")[0]
    needed = extra in (metadata("harken").get_all("Provides-Extra") or ())
    return f"{scheme}:// (needs the extra {extra})" if needed else f"{scheme}://"


def _entry_point(scheme: str) -> EntryPoint:
    found = plugins.find(ENTRY_POINTS, scheme)
    if found is None:
        schemes = supported_schemes()
        known, similar = ", ".join(map(_shown_scheme, schemes)), did_you_mean(scheme, schemes)
        raise ConfigurationError(f"No installed package supports {scheme}://{similar}; supported are {known}")
    return found

"""Finding the storage that a URL names."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.ports.storage import OpenStorage, Storage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "harken.storage"


def scheme_of(url: str) -> str:
    """The scheme of a storage URL: what stands before ``://``, in lower case.

    Raises:
        ConfigurationError: the URL has none.
    """
    scheme, separator, _ = url.partition("://")
    if not (separator and scheme):
        raise ConfigurationError(
            f"{url!r} is no storage URL; expected something like 'sqlite:///feedback.db' or 'memory://'"
        )
    return scheme.lower()


def same_storage(one: str, other: str) -> bool:
    """Whether two URLs name the same storage, as far as they tell: however a path is spelt, with whatever options.

    Raises:
        ConfigurationError: one of them is no URL.
    """
    return place_of(one) == place_of(other)


def file_of(url: str) -> Path | None:
    """The file that a storage URL names, as an absolute path; ``None`` if it names a server, or nothing.

    Raises:
        ConfigurationError: it is not a URL.
    """
    scheme_of(url)
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    return None if authority or not path else Path(os.fsdecode(unquote_to_bytes(path))).absolute()


def anchored(url: str) -> str:
    """The same URL, with a relative path of a file made absolute, to mean the same in any working directory.

    Raises:
        ConfigurationError: it is not a URL.
    """
    file = file_of(url)
    scheme, _, rest = url.partition("://")
    path, mark, options = rest.partition("?")
    # What has any of these is not a plain path, and whether it is valid is for the storage to say.
    if file is None or any(sign in path for sign in ":\\#"):
        return url
    return f"{scheme}:///{quote(str(file))}{mark}{options}"


def place_of(url: str) -> tuple[object, ...]:
    """What tells a storage from others, without credentials and options: equal if two URLs name the same storage.

    Raises:
        ConfigurationError: it is not a URL.
    """
    scheme = scheme_of(url)
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    if authority:
        hosts = authority.rpartition("@")[2].lower().split(",")
        return scheme, sorted(hosts), os.fsdecode(unquote_to_bytes(path))
    # Without a host it is a file. No file's name has a NUL, and asking for such a one would raise.
    return scheme, Path(os.fsdecode(unquote_to_bytes(path)).replace("\0", "")).resolve()


def open_storage(url: str) -> AbstractContextManager[Storage]:
    """Open the storage that a URL names, for as long as the context lasts.

    Raises:
        ConfigurationError: no installed package serves this scheme, or the URL is invalid.
        MissingExtra: a package serves it, but one that it needs is not installed.
        StorageError: it cannot be opened.
    """
    return _opener(url)(url)


def open_existing_storage(url: str) -> AbstractContextManager[Storage]:
    """The same, but a storage that does not exist is an error, and is not created.

    An adapter that cannot tell whether a storage exists, such as one in memory, opens it as :func:`open_storage` does.

    Raises what :func:`open_storage` raises; ``StorageUnavailable`` where the storage does not exist, when the context
    is entered.
    """
    opener = _opener(url)
    takes_existing = "existing" in inspect.signature(opener).parameters
    return opener(url, existing=True) if takes_existing else opener(url)


def _opener(url: str) -> Callable[..., AbstractContextManager[Storage]]:
    scheme = scheme_of(url)
    opener: OpenStorage = plugins.load(_served_by(scheme), f"{scheme}://", scheme.partition("+")[0])
    return opener


def check_served(url: str) -> None:
    """Whether a package is installed that serves the storage; nothing is opened.

    Raises:
        ConfigurationError: it is no URL, or none is.
    """
    _served_by(scheme_of(url))


def _served_by(scheme: str) -> EntryPoint:
    found = plugins.find(ENTRY_POINTS, scheme)
    if found is None:
        known = ", ".join(sorted(f"{name}://" for name in plugins.names(ENTRY_POINTS)))
        raise ConfigurationError(f"No storage serves {scheme}://; installed are {known}")
    return found

"""The local API key, which ``harken serve`` creates on first use, and the file that it is stored in."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from attrs import field, frozen

from harken import ConfigurationError, Harken, InvalidCredentials, Scope
from harken.configuration.storage_urls import file_of, place_of, scheme_of

_NAME: Final = "local"
_TEXT: Final = re.compile(r"hk_[0-9a-f]+_[A-Za-z0-9_-]+\n?")
_LONGEST: Final = 1_024
_OTHERS: Final = 0o077


class _NotAKeyFile(Exception):
    """The key file is something else. The message says what, and how to fix it."""


@frozen
class LocalKey:
    """The API key of the user who started the server.

    Attributes:
        text: the API key.
        path: the key file; ``None`` if the key ends with the process.
        created: whether it was created now.
    """

    text: str = field(repr=False)
    path: Path | None
    created: bool


def key_file(storage: str) -> Path | None:
    """The path of the key file: next to the storage file or, for a database server, in the user's state directory.

    ``None`` for a storage in memory, whose keys end with the process.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    if scheme_of(storage) == "memory":
        return None
    if file := file_of(storage):
        return file.with_name(f"{file.name}.key")
    return _state_directory() / "harken" / f"{sha256(repr(place_of(storage)).encode()).hexdigest()[:16]}.key"


def _state_directory() -> Path:
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        # In a container, the user may have no home directory.
        return Path.cwd()


def local_key(hk: Harken, path: Path | None, *, command: str = "harken") -> LocalKey | None:
    """The local key. It is created if the storage never had a key. ``None`` if there are other keys but no local one.

    If several processes call this at the same time, one creates the key and the others read it.

    Args:
        hk: the Harken that the key is for.
        path: the key file, see :func:`key_file`.
        command: the start of a command line for the same storage, for error messages.

    Raises:
        ConfigurationError: the file cannot be written, is not a key file, or contains a valid key and is readable by
            other users.
        StorageError: the storage failed.
    """
    if path is None:
        return None if hk.keys.in_use() else LocalKey(_create_key(hk), None, created=True)
    # If other keys exist, the directory need not be writable.
    with suppress(OSError):
        _make_directory(path)
    with _lock(path.parent):
        if hk.keys.in_use():
            return _load(hk, path, command)
        try:
            _make_directory(path)
            # An existing key file belongs to a storage that no longer exists, so it may be replaced.
            _read(path)
            return LocalKey(_write(hk, path), path, created=True)
        except OSError as error:
            reason = f"Cannot store a local key in {path}: {error.strerror}; fix this"
            raise ConfigurationError(f"{reason}, {_alternative(command)}") from error
        except _NotAKeyFile as error:
            raise ConfigurationError(f"{error}, {_alternative(command)}") from None


def has_local_key(hk: Harken) -> bool:
    """Whether the application has a local key that is not revoked."""
    keys = hk.keys.keys()
    return any(key.name == _NAME and key.application == hk.application and not key.revoked for key in keys)


def _alternative(command: str) -> str:
    return f"or create a key yourself: {command} keys create --scope admin"


def _make_directory(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _create_key(hk: Harken) -> str:
    return hk.keys.create(hk.application, [Scope.ADMIN], name=_NAME).text


def _load(hk: Harken, path: Path, command: str) -> LocalKey | None:
    """The key in the file, if it is a valid key of this storage and application."""
    try:
        text, mode = _read(path) or ("", 0)
        key = hk.keys.authenticate(text)
    except (OSError, _NotAKeyFile, InvalidCredentials):
        # There are other keys, so an unusable local key file is not an error.
        return None
    if key.application != hk.application:
        return None
    if mode & _OTHERS:
        raise ConfigurationError(
            f"Other users can read or replace {path} (mode {mode:o}), so its key may no longer be secret; "
            f"run: chmod 600 {shlex.quote(str(path))}; if another user may have read it, run: "
            f"{command} keys revoke {key.id}"
        )
    return LocalKey(text, path, created=False)


def _read(path: Path) -> tuple[str, int] | None:
    """The text and mode of the key file; ``None`` if it does not exist. Does not follow links or wait for pipes.

    Raises:
        _NotAKeyFile: it is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _NotAKeyFile(f"{path} is a symbolic link, not a key file; remove it") from None
    status = os.fstat(descriptor)
    try:
        text = os.read(descriptor, _LONGEST).decode("latin-1") if stat.S_ISREG(status.st_mode) else ""
    finally:
        os.close(descriptor)
    if not _TEXT.fullmatch(text):
        raise _NotAKeyFile(f"{path} is not a Harken key file; move or remove it")
    return text.strip(), stat.S_IMODE(status.st_mode)


def _write(hk: Harken, path: Path) -> str:
    """Create a key and store it in the file, which only its owner can read at any time. Returns the key."""
    # The temporary file is new, has mode 600, and exists before the key is created.
    descriptor, temporary = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            text = _create_key(hk)
            file.write(f"{text}\n")
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return text


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a directory, so that only one process at a time looks for a key and creates it."""
    with ExitStack() as held:
        # Some network file systems do not lock directories. Two processes may then both create a key; both keys work.
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield

"""The key that ``harken serve`` creates where none was ever created, and the file in which its owner finds it."""

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
    """Something else is where the key should be; the message says what, and what to do."""


@frozen
class LocalKey:
    """The key of the user who started the service.

    Attributes:
        text: what a program or browser sends.
        path: where it is kept; ``None`` if it ends with the process.
        created: whether that was done just now.
    """

    text: str = field(repr=False)
    path: Path | None
    created: bool


def key_file(storage: str) -> Path | None:
    """Where the local key of a storage is kept: beside its file, or, of a server, in the user's folder for such things.

    ``None`` for a storage in memory, which forgets its keys.

    Raises:
        ConfigurationError: it is not a storage URL.
    """
    if scheme_of(storage) == "memory":
        return None
    if file := file_of(storage):
        return file.with_name(f"{file.name}.key")
    return _state_folder() / "harken" / f"{sha256(repr(place_of(storage)).encode()).hexdigest()[:16]}.key"


def _state_folder() -> Path:
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        # In a container the user may have no home.
        return Path.cwd()


def local_key(hk: Harken, path: Path | None, *, command: str = "harken") -> LocalKey | None:
    """The local key; created where no key ever was. ``None`` where there are other keys, but no valid local one.

    Of several processes that ask for it at once, one creates it, and the others find it.

    Args:
        hk: whose keys they are.
        path: where it is kept, see :func:`key_file`.
        command: what commands on the same storage begin with, for errors that say which one to run.

    Raises:
        ConfigurationError: the file cannot be written, is something else, or its key is valid and others can read it.
        StorageError: the storage could not be asked.
    """
    if path is None:
        return None if hk.keys.in_use() else LocalKey(_created(hk), None, created=True)
    # Where there are other keys, the folder need not be writable.
    with suppress(OSError):
        _make_folder(path)
    with _locked(path.parent):
        if hk.keys.in_use():
            return _kept(hk, path, command)
        try:
            _make_folder(path)
            # What a file has whose key is not known is the key of a storage that is gone.
            _read(path)
            return LocalKey(_write(hk, path), path, created=True)
        except OSError as error:
            reason = f"Cannot store a local key in {path}: {error.strerror}; correct that"
            raise ConfigurationError(f"{reason}, {_instead(command)}") from error
        except _NotAKeyFile as error:
            raise ConfigurationError(f"{error}, {_instead(command)}") from None


def has_local_key(hk: Harken) -> bool:
    """Whether a local key was created for the application, and is not revoked."""
    keys = hk.keys.keys()
    return any(key.name == _NAME and key.application == hk.application and not key.revoked for key in keys)


def _instead(command: str) -> str:
    return f"or create a key yourself: {command} keys create --scope admin"


def _make_folder(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _created(hk: Harken) -> str:
    return hk.keys.create(hk.application, [Scope.ADMIN], name=_NAME).text


def _kept(hk: Harken, path: Path, command: str) -> LocalKey | None:
    """The key in the file, if it is one of this storage and application."""
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
            f"Other users can read or replace {path} (mode {mode:o}), so its key may not be a secret any more; "
            f"run: chmod 600 {shlex.quote(str(path))}; or, if somebody may have read it: {command} keys revoke {key.id}"
        )
    return LocalKey(text, path, created=False)


def _read(path: Path) -> tuple[str, int] | None:
    """The text and the mode of the file, if there is one. Links are not followed, and no pipe is waited for.

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
        raise _NotAKeyFile(f"{path} is not a key file of Harken; move it away")
    return text.strip(), stat.S_IMODE(status.st_mode)


def _write(hk: Harken, path: Path) -> str:
    """Create a key, and keep it in the file, which only its owner can read from the first byte on."""
    # Such a file is new, of mode 600, and in no other process's hands; and it is there before the key is.
    descriptor, temporary = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            text = _created(hk)
            file.write(f"{text}\n")
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return text


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time look for a key in a folder and create one; the end of a process ends this too."""
    with ExitStack() as held:
        # Some network file systems lock no folders. There, two that start at once may both create a key, and both work.
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield

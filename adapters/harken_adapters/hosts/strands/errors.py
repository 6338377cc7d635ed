"""Harken's storage errors as errors of Strands' sessions: caught as either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strands.types.exceptions import SessionException

from harken import (
    ConversationConflict,
    InvalidConversation,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
)


class SessionStorageError(SessionException, StorageError):
    """The storage could not do what was asked."""


class SessionUnavailable(SessionStorageError, StorageUnavailable):
    """The storage did not answer, or is locked; the outcome may be unknown."""


class SessionClosed(SessionStorageError, StorageClosed):
    """The storage was closed, or opened in another process."""


class SessionIncompatible(SessionStorageError, StorageIncompatible):
    """The storage was not made by Harken, or by a newer one."""


class SessionCorrupt(SessionStorageError, StorageCorrupt):
    """The storage is damaged."""


class SessionConflict(SessionException, ConversationConflict):
    """A message of that number is there already, or is not there."""


class InvalidSession(SessionException, InvalidConversation):
    """An id that no session, agent or message can have, or a value that is too large to be kept."""


#: By class, the first that fits.
_TABLE: Final[tuple[tuple[type[Exception], type[SessionException]], ...]] = (
    (StorageUnavailable, SessionUnavailable),
    (StorageClosed, SessionClosed),
    (StorageIncompatible, SessionIncompatible),
    (StorageCorrupt, SessionCorrupt),
    (StorageError, SessionStorageError),
    (ConversationConflict, SessionConflict),
    (InvalidConversation, InvalidSession),
)


@contextmanager
def session_errors() -> Iterator[None]:
    """Around what uses the storage: its errors are raised as ``SessionException``, and stay what they are besides."""
    try:
        yield
    except SessionException:
        raise
    except (StorageError, ConversationConflict, InvalidConversation) as error:
        kind = next(ours for theirs, ours in _TABLE if isinstance(error, theirs))
        raise kind(*error.args) from error

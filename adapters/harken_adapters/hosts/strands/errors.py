"""Errors that are both Harken's storage errors and ``SessionException`` of Strands."""

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
    """The storage operation failed."""


class SessionUnavailable(SessionStorageError, StorageUnavailable):
    """The storage did not respond, or is locked; the outcome may be unknown."""


class SessionClosed(SessionStorageError, StorageClosed):
    """The storage was closed, or was opened in another process."""


class SessionIncompatible(SessionStorageError, StorageIncompatible):
    """The storage was not created by Harken, or by a newer version."""


class SessionCorrupt(SessionStorageError, StorageCorrupt):
    """The storage is damaged."""


class SessionConflict(SessionException, ConversationConflict):
    """A message with this number exists when it is added, or does not exist when it is replaced."""


class InvalidSession(SessionException, InvalidConversation):
    """An id of a session, agent or message is invalid, or a value is too large."""


#: The first matching class applies.
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
    """Raise storage errors of the block as subclasses of both ``SessionException`` and their own class."""
    try:
        yield
    except SessionException:
        raise
    except (StorageError, ConversationConflict, InvalidConversation) as error:
        kind = next(ours for theirs, ours in _TABLE if isinstance(error, theirs))
        raise kind(*error.args) from error

"""The port for storages: the repositories of one storage, and the function that opens it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from attrs import frozen

from harken.ports.alerts import AlertRepository
from harken.ports.conversations import ConversationRepository
from harken.ports.keys import KeyRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import SessionRepository
from harken.ports.state import StateRepository
from harken.ports.time import Clock


def nothing_to_check() -> Sequence[str]:
    """The check of a storage that cannot be damaged."""
    return ()


def same_clock(clock: Clock) -> Clock:
    """The clock of a storage whose processes all run on one machine."""
    return clock


def nothing_to_rebuild() -> Sequence[str]:
    """The rebuild of a storage that does not store statistics."""
    return ()


def nothing_to_index(_application: str) -> None:
    """The indexing of comments in a storage that finds words without an index."""


@frozen
class Storage:
    """An open storage: its repositories, which share their data.

    ``check`` looks for damage, which may take long, and returns a sentence for each problem. ``rebuild`` recomputes the
    stored statistics, and returns a sentence for each one that differed from the feedback. ``index_comments`` indexes
    the comments of an application for text search, which a search of many comments may require. ``clock`` takes the
    clock of this process and returns one that all processes on the storage agree on, for leases and due times.
    """

    feedback: FeedbackRepository
    sessions: SessionRepository
    outbox: Outbox
    keys: KeyRepository
    alerts: AlertRepository
    state: StateRepository
    conversations: ConversationRepository
    check: Callable[[], Sequence[str]] = nothing_to_check
    rebuild: Callable[[], Sequence[str]] = nothing_to_rebuild
    index_comments: Callable[[str], None] = nothing_to_index
    clock: Callable[[Clock], Clock] = same_clock


#: Opens the storage with that URL, and closes it at the end of the context. The entry points of the group
#: ``harken.storage`` are of this type; their names are URL schemes.
#: If it can tell whether a storage exists, it also takes ``existing=True``, and then raises ``StorageUnavailable``
#: instead of creating a storage.
OpenStorage = Callable[[str], AbstractContextManager[Storage]]

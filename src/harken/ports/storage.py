"""The repositories that a storage offers together, and how a URL names it."""

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
    """For a storage that cannot be damaged."""
    return ()


def same_clock(clock: Clock) -> Clock:
    """For a storage whose processes all share one machine."""
    return clock


def nothing_to_rebuild() -> Sequence[str]:
    """For a storage that keeps no figures that could be wrong."""
    return ()


@frozen
class Storage:
    """An open storage: its repositories over the same data.

    ``check`` looks for damage, however long that takes, and gives a sentence for each problem. ``rebuild`` counts anew
    what figures are kept, mends what differs from the feedback, and gives a sentence for each figure that was wrong.
    ``clock`` makes a clock that all processes on the storage agree on, from that of this process: leases and due times
    go by it.
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
    clock: Callable[[Clock], Clock] = same_clock


#: Opens the storage that a URL names, for as long as the context lasts. The entry points of the group
#: ``harken.storage`` are of this kind, each named after the URL scheme that it serves.
#: One that can tell whether a storage exists also takes ``existing=True``, and then raises ``StorageUnavailable``
#: instead of creating it.
OpenStorage = Callable[[str], AbstractContextManager[Storage]]

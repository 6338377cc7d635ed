"""The three repositories that a storage offers together, and how a URL names it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from attrs import frozen

from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import SessionRepository


@frozen
class Storage:
    """An open storage: three repositories over the same data."""

    feedback: FeedbackRepository
    sessions: SessionRepository
    outbox: Outbox


#: Opens the storage that a URL names, for as long as the context lasts. The entry points of the group
#: ``harken.storage`` are of this kind, each named after the URL scheme that it serves.
OpenStorage = Callable[[str], AbstractContextManager[Storage]]

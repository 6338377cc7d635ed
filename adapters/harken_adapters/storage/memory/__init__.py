"""``memory://``: a storage in the memory of this process, for tests and experiments.

It meets the contract of a storage except for durability, and also maintains statistics as counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harken.domain.errors import ConfigurationError
from harken.ports.storage import Storage
from harken_adapters.storage.memory.alerts import MemoryAlertRepository
from harken_adapters.storage.memory.conversations import MemoryConversationRepository
from harken_adapters.storage.memory.data import Data
from harken_adapters.storage.memory.feedback import MemoryFeedbackRepository
from harken_adapters.storage.memory.keys import MemoryKeyRepository
from harken_adapters.storage.memory.outbox import MemoryOutbox
from harken_adapters.storage.memory.sessions import MemorySessionRepository
from harken_adapters.storage.memory.state import MemoryStateRepository

__all__ = [
    "MemoryAlertRepository",
    "MemoryConversationRepository",
    "MemoryFeedbackRepository",
    "MemoryKeyRepository",
    "MemoryOutbox",
    "MemorySessionRepository",
    "MemoryStateRepository",
    "open_storage",
]


@contextmanager
def open_storage(url: str = "memory://") -> Iterator[Storage]:
    """Open a new, empty storage.

    Raises:
        ConfigurationError: the URL is not ``memory://``.
    """
    if url.lower() != "memory://":
        raise ConfigurationError(f"The URL memory:// has no options, got {url!r}")
    data = Data()
    try:
        yield Storage(
            feedback=MemoryFeedbackRepository(data),
            sessions=MemorySessionRepository(data),
            outbox=MemoryOutbox(data),
            keys=MemoryKeyRepository(data),
            alerts=MemoryAlertRepository(data),
            state=MemoryStateRepository(data),
            conversations=MemoryConversationRepository(data),
        )
    finally:
        data.closed = True

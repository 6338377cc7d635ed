"""What the parts of the contract share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from harken.ports.storage import Storage


class FreshStorage(ABC):
    """Something that can be tested again and again, each time from nothing."""

    @abstractmethod
    def open_storage(self) -> AbstractContextManager[Storage]:
        """A fresh, empty storage, which is closed and forgotten at the end of the context."""

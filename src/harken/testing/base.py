"""The base class of the storage contracts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from harken.ports.storage import Storage


class FreshStorage(ABC):
    """Tests that each open an empty storage."""

    @abstractmethod
    def open_storage(self) -> AbstractContextManager[Storage]:
        """Return a context manager that opens an empty storage and discards it at the end."""

"""Channels that record notifications."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import harken
from harken import Harken
from harken.ports.notifier import Notification, Notifier
from harken.ports.storage import Storage
from support import ManualClock, counting_ids


class Recorder(Notifier):
    """Records notifications in order, unless ``refuse`` raises."""

    def __init__(self, refuse: Callable[[Notification], object] = lambda _: None) -> None:
        self.refuse = refuse
        self.arrived: list[Notification] = []
        self.tried: list[Notification] = []
        self._lock = Lock()

    def deliver(self, notification: Notification) -> None:
        with self._lock:
            self.tried.append(notification)
        self.refuse(notification)
        with self._lock:
            self.arrived.append(notification)

    @property
    def ids(self) -> list[str]:
        """The ids of the notifications that arrived, in order."""
        return [notification.id for notification in self.arrived]

    @property
    def types(self) -> list[str]:
        """The types of the notifications that arrived, in order."""
        return [notification.type.value for notification in self.arrived]

    @property
    def comments(self) -> list[str]:
        """The comments in the notifications that arrived, in order."""
        return [one.feedback.comment for one in self.arrived if one.feedback is not None]


def connect_without_relay(
    clock: ManualClock | None = None, url: str | Storage = "memory://", **options: Any
) -> AbstractContextManager[Harken]:
    """Connect to a Harken without a running relay and without jitter."""
    known: dict[str, Any] = {"clock": clock or ManualClock(), "new_id": counting_ids(), "jitter": lambda: 0.0}
    return harken.connect(url, **{**known, **options})

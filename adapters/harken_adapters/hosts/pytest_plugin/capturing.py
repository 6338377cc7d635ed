"""A Harken for one test, which records its notifications."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

import pytest

import harken
from harken import Harken, Route
from harken.ports.notifier import Notification, Notifier
from harken.ports.time import Clock, NewId

#: The channel of all notifications, unless there are routes.
CAPTURED: Final = "captured"


class Recorder(Notifier):
    """A channel that records notifications, in order."""

    def __init__(self) -> None:
        self.received: list[Notification] = []

    def deliver(self, notification: Notification) -> None:
        """Record the notification."""
        self.received.append(notification)


class Notifications(Sequence[Notification]):
    """The notifications that a relay would have sent so far, in order. Each access sends due deliveries first."""

    def __init__(self, recorder: Recorder, run_due: Callable[[], int]) -> None:
        self._recorder = recorder
        self._run_due = run_due

    def deliver(self) -> list[Notification]:
        """Send due deliveries; returns the new notifications."""
        before = len(self._recorder.received)
        self._run_due()
        return self._recorder.received[before:]

    @property
    def types(self) -> list[str]:
        """The event types, in order, such as ``feedback.created``."""
        return [notification.type.value for notification in self]

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> Notification: ...
    @overload
    def __getitem__(self, index: slice) -> list[Notification]: ...
    def __getitem__(self, index: int | slice) -> Notification | list[Notification]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Notification]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, Notifications) else other)

    __hash__ = None  # type: ignore[assignment] # it is mutable, as a list is

    def __repr__(self) -> str:
        return f"Notifications({self._recorder.received!r})"

    def _all(self) -> list[Notification]:
        self.deliver()
        return list(self._recorder.received)


def connect_recorded(recorder: Recorder, *, clock: Clock, new_id: NewId, options: Mapping[str, Any]) -> Harken:
    """Connect to a memory storage, with ``options`` of ``connect``, and record all notifications.

    Every channel that a route names is recorded, unless ``options`` define it. ``HARKEN_*`` variables and
    ``harken.toml`` are ignored, so that a test has the same result on every machine.
    """
    recorded = {CAPTURED: recorder, **{_channel(route): recorder for route in options.get("routes") or ()}}
    nothing = dict.fromkeys(("routes", "alert_rules", "replies", "digests"), ())
    defaults: dict[str, Any] = nothing | {
        "clock": clock,
        "new_id": new_id,
        "jitter": lambda: 0.0,
    }
    channels = {**recorded, **(options.get("channels") or {})}
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("HARKEN_")]:
            environment.delenv(name)
        environment.setenv("HARKEN_CONFIG", os.devnull)
        return harken.connect("memory://", **{**defaults, **options, "channels": channels})


def _channel(route: Route | Mapping[str, Any]) -> Any:
    """The channel of a route. ``connect`` validates the route."""
    return route.channel if isinstance(route, Route) else route.get("channel", CAPTURED)

"""A Harken for one test, and what it would have sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

import pytest

import harken
from harken import Harken, Route
from harken.ports.notifier import Notification, Notifier
from harken.ports.time import Clock, NewId

#: Where everything goes, unless routes say otherwise.
CAPTURED: Final = "captured"


class Recorder(Notifier):
    """Keeps what it is given, in order."""

    def __init__(self) -> None:
        self.arrived: list[Notification] = []

    def deliver(self, notification: Notification) -> None:
        """Keep it."""
        self.arrived.append(notification)


class Notifications(Sequence[Notification]):
    """Everything that a relay would have sent by now, in order. Who looks at it has what is due sent first."""

    def __init__(self, recorder: Recorder, run_due: Callable[[], int]) -> None:
        self._recorder = recorder
        self._run_due = run_due

    def deliver(self) -> list[Notification]:
        """Send what is due by the clock, and give what came of that."""
        before = len(self._recorder.arrived)
        self._run_due()
        return self._recorder.arrived[before:]

    @property
    def types(self) -> list[str]:
        """What they tell of, in order, such as ``feedback.created``."""
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

    __hash__ = None  # type: ignore[assignment] # it changes, as a list does

    def __repr__(self) -> str:
        return f"Notifications({self._recorder.arrived!r})"

    def _all(self) -> list[Notification]:
        self.deliver()
        return list(self._recorder.arrived)


def connected(recorder: Recorder, *, clock: Clock, new_id: NewId, options: Mapping[str, Any]) -> Harken:
    """A Harken in memory, with these options of ``connect``, whose notifications are recorded.

    Whatever channels the routes name are recorded, too, unless the options have channels of these names. What
    ``HARKEN_*`` variables and ``harken.toml`` say does not count, so that a test gives the same everywhere.
    """
    recorded = {CAPTURED: recorder, **{_channel(route): recorder for route in options.get("routes") or ()}}
    known = {"clock": clock, "new_id": new_id, "jitter": lambda: 0.0}
    silent = {"routes": (), "alert_rules": (), "replies": ()}
    channels = {**recorded, **(options.get("channels") or {})}
    with pytest.MonkeyPatch.context() as surroundings:
        for name in [name for name in os.environ if name.startswith("HARKEN_")]:
            surroundings.delenv(name)
        surroundings.setenv("HARKEN_CONFIG", os.devnull)
        return harken.connect("memory://", **{**known, **silent, **options, "channels": channels})


def _channel(route: Route | Mapping[str, Any]) -> Any:
    """The channel that a route names; what is wrong with it, ``connect`` will say."""
    return route.channel if isinstance(route, Route) else route.get("channel", CAPTURED)

"""The status of channels: since when they fail, and whether they are switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from harken.domain.errors import FeedbackRejected, NoSuchChannel
from harken.domain.instants import from_microseconds, to_microseconds_or_none
from harken.domain.rules import text_problem
from harken.domain.texts import no_such
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository
from harken.ports.time import Clock
from harken.services.alerting.service import AlertingService

#: A channel to which nothing was delivered for this long is switched off.
PATIENCE: Final = timedelta(days=5)
#: How long the status of a channel is cached.
_FRESH: Final = timedelta(seconds=1)
_KIND: Final = "channel"


@frozen(kw_only=True)
class ChannelState:
    """The status of a channel.

    Attributes:
        name: the channel's name.
        failing_since: the first failure after the last successful delivery; ``None`` if the last delivery succeeded.
        off_since: when it was switched off; ``None`` if it is on.
        reason: why it was switched off.
    """

    name: str
    failing_since: datetime | None = None
    off_since: datetime | None = None
    reason: str = ""

    @property
    def on(self) -> bool:
        """Whether the channel is switched on."""
        return self.off_since is None


class ChannelService:
    """Tracks the status of channels, and switches them off and on, for all processes on the storage.

    Switching a channel off raises an alert, which is sent to the other channels and is open until it is on again.
    """

    def __init__(
        self,
        state: StateRepository,
        alerting: AlertingService,
        *,
        names: Sequence[str],
        application: str,
        clock: Clock,
    ) -> None:
        self._state = state
        self._alerting = alerting
        self.names = tuple(names)
        self._application = application
        self._clock = clock
        self._seen: dict[str, tuple[datetime, ChannelState]] = {}

    def states(self) -> list[ChannelState]:
        """The status of each channel, in the order of the settings."""
        stored = {entry.name: entry for entry in self._state.all(_KIND)}
        return [_state(name, stored.get(name)) for name in self.names]

    def state(self, name: str) -> ChannelState:
        """The status of a channel, at most one second old."""
        now = self._clock()
        seen = self._seen.get(name)
        if seen is not None and timedelta(0) <= now - seen[0] < _FRESH:
            return seen[1]
        return self._remember(_state(name, self._state.get(_KIND, name)))

    def switch_on(self, name: str) -> ChannelState:
        """Switch a channel on. Deliveries that died meanwhile stay dead, and can be replayed.

        Raises:
            NoSuchChannel: there is no channel with that name.
        """
        self._check_exists(name)
        state = self._change(name, lambda _: ChannelState(name=name))
        self._alerting.channel_on(self._application, name)
        return state

    def switch_off(self, name: str, reason: str) -> ChannelState:
        """Switch a channel off, so that nothing is sent to it; a channel that is off is not changed.

        Raises:
            NoSuchChannel: there is no channel with that name.
            FeedbackRejected: the reason is not text that every storage can store.
        """
        self._check_exists(name)
        if problem := text_problem("reason", reason):
            raise FeedbackRejected([problem])
        now = self._clock()

        def edit(state: ChannelState) -> ChannelState:
            return evolve(state, off_since=now, reason=reason) if state.on else state

        state = self._change(name, edit)
        self._alerting.channel_off(self._application, name, state.reason)
        return state

    def arrived(self, name: str) -> None:
        """Record a successful delivery."""
        if self.state(name).failing_since is not None:
            self._change(name, lambda state: evolve(state, failing_since=None))

    def failed(self, name: str, *, at: datetime) -> None:
        """Record a failed delivery; switches the channel off if none has succeeded for five days."""
        state = self.state(name)
        if state.failing_since is None:
            state = self._change(name, lambda current: evolve(current, failing_since=current.failing_since or at))
        if state.on and state.failing_since is not None and at - state.failing_since >= PATIENCE:
            self.switch_off(name, f"nothing arrived since {state.failing_since:%Y-%m-%d %H:%M} UTC")

    def _check_exists(self, name: str) -> None:
        if name not in self.names:
            raise NoSuchChannel(no_such("channel", name, self.names))

    def _change(self, name: str, edit: Callable[[ChannelState], ChannelState]) -> ChannelState:
        while True:
            stored = self._state.get(_KIND, name)
            before = _state(name, stored)
            after = edit(before)
            version = stored.version + 1 if stored else 1
            if after == before or self._state.put(_KIND, StateEntry(name, _value(after), version)):
                return self._remember(after)

    def _remember(self, state: ChannelState) -> ChannelState:
        self._seen[state.name] = (self._clock(), state)
        return state


def _value(state: ChannelState) -> dict[str, JsonValue]:
    return {
        "failing_since": to_microseconds_or_none(state.failing_since),
        "off_since": to_microseconds_or_none(state.off_since),
        "reason": state.reason,
    }


def _state(name: str, entry: StateEntry | None) -> ChannelState:
    if entry is None:
        return ChannelState(name=name)
    return ChannelState(
        name=name,
        failing_since=_moment(entry.value["failing_since"]),
        off_since=_moment(entry.value["off_since"]),
        reason=str(entry.value["reason"]),
    )


def _moment(value: JsonValue) -> datetime | None:
    return from_microseconds(value) if isinstance(value, int) else None

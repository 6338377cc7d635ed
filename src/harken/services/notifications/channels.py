"""The status of channels: since when they fail, whether they are switched off, and what happens to their deliveries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from attrs import evolve, frozen

from harken.domain.errors import ChannelOff, FeedbackRejected, InvalidQuery, NoSuchChannel
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState
from harken.domain.instants import from_microseconds, to_microseconds_or_none
from harken.domain.rules import text_problem
from harken.domain.texts import no_such
from harken.domain.violation import Violation
from harken.ports.outbox import Outbox
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository, update
from harken.ports.time import Clock
from harken.services.alerting.service import AlertingService

#: A channel to which nothing was delivered for this long is switched off.
PATIENCE: Final = timedelta(days=5)
#: The maximum number of characters of the reason for switching a channel off.
MAX_REASON: Final = 1_000
#: How long the status of a channel is cached.
_FRESH: Final = timedelta(seconds=1)
_KIND: Final = "channel"
#: How many pending deliveries are searched for one that failed: those that are due first.
_FEW: Final = 20


@frozen(kw_only=True)
class ChannelState:
    """The status of a channel.

    Attributes:
        name: the channel's name.
        failing_since: the first failure after the last successful delivery; ``None`` if the last delivery succeeded.
        off_since: when it was switched off; ``None`` if it is on.
        reason: why it was switched off.
        cause: the same in a few words, if a receiver caused it: the status of its last answer, such as ``410 Gone``.
    """

    name: str
    failing_since: datetime | None = None
    off_since: datetime | None = None
    reason: str = ""
    cause: str = ""

    @property
    def on(self) -> bool:
        """Whether the channel is switched on."""
        return self.off_since is None


@frozen(kw_only=True)
class ChannelKind:
    """What a channel is, without secrets.

    Attributes:
        kind: its kind in the settings, such as ``webhook``; the name of the class for a notifier that a program passes.
        destination: where it sends to: the host of a URL, the region of a topic, or the service; empty if unknown.
    """

    kind: str = ""
    destination: str = ""


@frozen(kw_only=True)
class ChannelStatus:
    """The status of a channel with its deliveries of one application, or of all.

    Attributes:
        state: whether it is on, and since when it fails.
        kind: what it is.
        is_configured: whether it is in the settings of this process. If not, nothing is sent to it from here.
        pending: the number of deliveries that wait for their next attempt, or for an earlier one.
        dead: the number of dead deliveries.
        delivered: the number of deliveries that arrived since the requested time.
        last_delivered_at: when the newest notification arrived; ``None`` if none did in the last week.
        retried: the delivery that is attempted again next, if any has failed; ``due_at`` is the time of that attempt.
    """

    state: ChannelState
    kind: ChannelKind
    is_configured: bool
    pending: int
    dead: int
    delivered: int
    last_delivered_at: datetime | None
    retried: Delivery | None


class ChannelService:
    """Tracks the status of channels, and switches them off and on, for all processes on the storage.

    Switching a channel off raises an alert, which is sent to the other channels and is open until it is on again.
    """

    def __init__(
        self,
        state: StateRepository,
        alerting: AlertingService,
        outbox: Outbox,
        *,
        kinds: Mapping[str, ChannelKind],
        application: str,
        clock: Clock,
    ) -> None:
        self._state = state
        self._alerting = alerting
        self._outbox = outbox
        self._kinds = dict(kinds)
        self.names = tuple(kinds)
        self._application = application
        self._clock = clock
        self._seen: dict[str, tuple[datetime, ChannelState]] = {}

    def states(self) -> list[ChannelState]:
        """The status of each channel, in the order of the settings."""
        stored = {entry.name: entry for entry in self._state.all(_KIND)}
        return [_state(name, stored.get(name)) for name in self.names]

    def statuses(self, application: str | None = None, *, since: datetime | None = None) -> list[ChannelStatus]:
        """The status of each channel, in the order of the settings, then of removed channels that have deliveries.

        Args:
            application: count the deliveries of this application only.
            since: count the deliveries that arrived since then; by default, since midnight in UTC.

        Raises:
            InvalidQuery: the application is invalid.
        """
        if application is not None and (problem := text_problem("application", application)):
            raise InvalidQuery(problem.message)
        since = self._clock().replace(hour=0, minute=0, second=0, microsecond=0) if since is None else since
        count = partial(DeliveryQuery, application=application)
        pending = self._outbox.counts(count(DeliveryState.PENDING))
        dead = self._outbox.counts(count(DeliveryState.DEAD))
        delivered = self._outbox.counts(count(DeliveryState.DELIVERED, due_since=since))
        states = {state.name: state for state in self.states()}
        removed = sorted({*pending, *dead} - states.keys())
        return [
            ChannelStatus(
                state=states.get(name) or ChannelState(name=name),
                kind=self._kinds.get(name) or ChannelKind(),
                is_configured=name in self._kinds,
                pending=pending.get(name, 0),
                dead=dead.get(name, 0),
                delivered=delivered.get(name, 0),
                last_delivered_at=self._last_delivered_at(application, name),
                retried=self._retried(application, name) if name in pending else None,
            )
            for name in (*self.names, *removed)
        ]

    def state(self, name: str) -> ChannelState:
        """The status of a channel, at most one second old."""
        now = self._clock()
        seen = self._seen.get(name)
        if seen is not None and timedelta(0) <= now - seen[0] < _FRESH:
            return seen[1]
        return self._remember(self._stored_state(name))

    def switch_on(self, name: str) -> ChannelState:
        """Switch a channel on. Deliveries that died meanwhile stay dead, and can be replayed.

        Raises:
            NoSuchChannel: there is no channel with that name.
        """
        self._check_exists(name)
        state = self._change(name, lambda _: ChannelState(name=name))
        self._alerting.channel_on(self._application, name)
        return state

    def check_on(self, name: str) -> None:
        """Check that a channel is on, or is not configured here.

        Raises:
            ChannelOff: it is switched off.
        """
        state = self._stored_state(name) if name in self.names else ChannelState(name=name)
        if state.off_since is not None:
            raise ChannelOff(
                f"Channel {name!r} has been off since {state.off_since:%Y-%m-%d %H:%M} UTC: {state.reason}. "
                "Nothing is replayed to it. Switch it on first"
            )

    def switch_off(self, name: str, reason: str, *, cause: str = "") -> ChannelState:
        """Switch a channel off, so that nothing is sent to it; a channel that is off is not changed.

        Args:
            name: the channel.
            reason: why, in 1 to 1,000 characters.
            cause: the same in a few words, if a receiver caused it.

        Raises:
            NoSuchChannel: there is no channel with that name.
            FeedbackRejected: the reason is empty, too long, or not text that every storage can store.
        """
        self._check_exists(name)
        if problem := _reason_problem(reason):
            raise FeedbackRejected([problem])
        now = self._clock()

        def edit(state: ChannelState) -> ChannelState:
            return evolve(state, off_since=now, reason=reason, cause=cause) if state.on else state

        state = self._change(name, edit)
        self._alerting.channel_off(self._application, name, state.reason)
        return state

    def arrived(self, name: str) -> None:
        """Record a successful delivery."""
        if self.state(name).failing_since is not None:
            self._change(name, lambda state: evolve(state, failing_since=None))

    def failed(self, name: str, *, at: datetime, cause: str = "") -> None:
        """Record a failed delivery; switches the channel off if none has succeeded for five days."""
        state = self.state(name)
        if state.failing_since is None:
            state = self._change(name, lambda current: evolve(current, failing_since=current.failing_since or at))
        if state.on and state.failing_since is not None and at - state.failing_since >= PATIENCE:
            self.switch_off(name, f"nothing arrived since {state.failing_since:%Y-%m-%d %H:%M} UTC", cause=cause)

    def _last_delivered_at(self, application: str | None, name: str) -> datetime | None:
        query = DeliveryQuery(DeliveryState.DELIVERED, application=application, channel=name)
        newest = self._outbox.deliveries(query, limit=1, newest_first=True)
        if not newest:
            return None
        return newest[0].last_attempt.at if newest[0].last_attempt else newest[0].due_at

    def _retried(self, application: str | None, name: str) -> Delivery | None:
        query = DeliveryQuery(DeliveryState.PENDING, application=application, channel=name)
        return next((one for one in self._outbox.deliveries(query, limit=_FEW) if one.error), None)

    def _stored_state(self, name: str) -> ChannelState:
        return _state(name, self._state.get(_KIND, name))

    def _check_exists(self, name: str) -> None:
        if name not in self.names:
            raise NoSuchChannel(no_such("channel", name, self.names))

    def _change(self, name: str, edit: Callable[[ChannelState], ChannelState]) -> ChannelState:
        changed = update(self._state, _KIND, name, lambda stored: _value(edit(_state(name, stored))))
        return self._remember(_state(name, changed))

    def _remember(self, state: ChannelState) -> ChannelState:
        self._seen[state.name] = (self._clock(), state)
        return state


def _reason_problem(reason: str) -> Violation | None:
    if problem := text_problem("reason", reason):
        return problem
    if not reason.strip():
        return Violation("reason", "empty", "reason must not be empty")
    if len(reason) > MAX_REASON:
        return Violation("reason", "too_long", f"reason too long: {len(reason)} characters (max: {MAX_REASON})")
    return None


def _value(state: ChannelState) -> dict[str, JsonValue]:
    return {
        "failing_since": to_microseconds_or_none(state.failing_since),
        "off_since": to_microseconds_or_none(state.off_since),
        "reason": state.reason,
        "cause": state.cause,
    }


def _state(name: str, entry: StateEntry | None) -> ChannelState:
    if entry is None:
        return ChannelState(name=name)
    return ChannelState(
        name=name,
        failing_since=_moment(entry.value["failing_since"]),
        off_since=_moment(entry.value["off_since"]),
        reason=str(entry.value["reason"]),
        # An earlier version did not store it.
        cause=str(entry.value.get("cause", "")),
    )


def _moment(value: JsonValue) -> datetime | None:
    return from_microseconds(value) if isinstance(value, int) else None

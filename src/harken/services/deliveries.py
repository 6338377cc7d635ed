"""Looking at what is on its way, and sending again what did not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from harken.domain.errors import DeliveryNotFound, InvalidQuery
from harken.domain.events import Delivery, DeliveryState
from harken.domain.rules import text_problem
from harken.ports.outbox import Outbox
from harken.ports.time import Clock
from harken.services.editing import MAX_PAGE

_BATCH: Final = 500


class DeliveryService:
    """Lists deliveries, those that are dead among them, and makes dead ones pending again."""

    def __init__(self, outbox: Outbox, *, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    def find(
        self,
        state: DeliveryState | str = DeliveryState.DEAD,
        *,
        limit: int = 100,
        after: str | None = None,
        application: str | None = None,
        channel: str | None = None,
    ) -> Sequence[Delivery]:
        """Deliveries in a state, earliest due first.

        Args:
            state: ``"pending"``, ``"delivered"`` (for a week) or ``"dead"``.
            limit: how many at most, from 1 to 1,000.
            after: the id of the last one that is known, to go on behind it.
            application: only of this one.
            channel: only on their way to this channel.

        Raises:
            InvalidQuery: the state is none, the limit is out of range, or nothing can be called so.
            DeliveryNotFound: there is no delivery with the id in ``after`` any more.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidQuery(f"limit must be from 1 to {MAX_PAGE:,}, got {limit}")
        _check(application, channel)
        place = None if after is None else self.get(after, application=application)
        return self._outbox.deliveries(
            _state(state), limit=limit, after=place, application=application, channel=channel
        )

    def get(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """That delivery, in whatever state.

        Raises:
            DeliveryNotFound: there is none, or it is another application's.
        """
        # What no storage could keep, none has.
        found = None if text_problem("id", delivery_id) else self._outbox.delivery(delivery_id)
        if found is None or application not in (None, found.event.application):
            raise DeliveryNotFound(f"There is no delivery {delivery_id!r}")
        return found

    def replay(self, delivery_id: str, *, application: str | None = None) -> Delivery:
        """Send a dead delivery again, from now on, under its old id.

        Raises:
            DeliveryNotFound: there is no dead delivery with that id, or it is another application's.
        """
        self.get(delivery_id, application=application)
        return self._outbox.replay(delivery_id, due_at=self._clock())

    def replay_all(self, *, application: str | None = None, channel: str | None = None) -> int:
        """Send everything that is dead now again, or an application's or a channel's; and say how many that is.

        Raises:
            InvalidQuery: nothing can be called so.
        """
        _check(application, channel)
        replayed = 0
        now = self._clock()
        # What dies meanwhile has been tried, so it is not repeated: the list is read to its end once.
        after: Delivery | None = None
        while dead := self._outbox.deliveries(
            DeliveryState.DEAD, limit=_BATCH, after=after, application=application, channel=channel
        ):
            after = dead[-1]
            for delivery in dead:
                # Somebody else may do the same.
                with suppress(DeliveryNotFound):
                    self._outbox.replay(delivery.id, due_at=now)
                    replayed += 1
        return replayed


def _check(application: str | None, channel: str | None) -> None:
    for name, value in (("application", application), ("channel", channel)):
        if value is not None and (problem := text_problem(name, value)):
            raise InvalidQuery(problem.message)


def _state(value: DeliveryState | str) -> DeliveryState:
    try:
        return DeliveryState(value)
    except ValueError:
        raise InvalidQuery(f"A delivery is 'pending', 'delivered' or 'dead', not {value!r}") from None

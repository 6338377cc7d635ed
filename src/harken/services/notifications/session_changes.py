"""Changes of session metadata: deliveries to the channels whose routes name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from harken.domain.errors import InvalidMetadata, StorageError
from harken.domain.events import Delivery, Event, EventType
from harken.domain.session_change import Operation, SessionChange, change_events, change_of
from harken.ports.outbox import Outbox
from harken.ports.sessions import SessionRepository
from harken.ports.time import Clock, NewId
from harken.services.notifications.routes import RouteService

logger = logging.getLogger(__name__)

#: How long a change holds its deliveries. If the process ends in between, they are sent then.
_LEASE: Final = timedelta(minutes=1)
#: After a change that takes longer, a relay may have sent its deliveries with the earlier values. This is shorter than
#: the lease, because the clocks of processes may differ a little.
_SLOW: Final = timedelta(seconds=50)


class SessionChanges:
    """Creates the deliveries of changes of session metadata, and reads the values when they are sent.

    There is no stored event: a storage writes the metadata alone. The deliveries are stored before the change, so that
    no change is lost, and are leased to it, so that none is sent with the earlier values. A change that takes longer
    than the lease has new deliveries afterwards.
    """

    def __init__(
        self,
        sessions: SessionRepository,
        outbox: Outbox,
        routes: RouteService,
        *,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        """``clock`` is the time that all relays on the storage agree on."""
        self._sessions = sessions
        self._outbox = outbox
        self._routes = routes
        self._clock = clock
        self._new_id = new_id
        self._on_change: Callable[[], object] = lambda: None

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call this after deliveries have become due; it must not block."""
        self._on_change = callback

    def make_change(
        self,
        application: str,
        session_id: str,
        operation: Operation,
        names: Collection[str],
        *,
        paths: bool,
        write: Callable[[], int],
    ) -> int:
        """Make a change, and notify the channels of it, unless it changes nothing or is refused.

        If no route selects the change, this only calls ``write``. If that raises ``StorageError``, the channels may be
        notified nevertheless, a minute later, with the values as they are then. If it takes about a minute or longer,
        they may be notified twice: during the change with the values of that time, and after it.

        Args:
            application: the application of the session.
            session_id: the session.
            operation: the operation.
            names: the names or paths that are set or deleted.
            paths: whether ``names`` are paths.
            write: makes the change, and returns how many names it set or deleted.

        Returns:
            The result of ``write``.

        Raises:
            StorageError: the deliveries could not be stored, and nothing was changed, or ``write`` raised it.
            InvalidMetadata: ``write`` raised it.
        """
        create = partial(self._create, application, session_id, operation, names, paths=paths)
        deliveries = create()
        try:
            changed = write()
        except InvalidMetadata:
            self._end(self._outbox.discard, deliveries)
            raise
        except StorageError:
            # The change may be stored.
            self._renew_if_slow(deliveries, create)
            raise
        if not changed:
            self._end(self._outbox.discard, deliveries)
            return changed
        deliveries = self._renew_if_slow(deliveries, create)
        self._end(self._outbox.release, deliveries)
        if deliveries:
            self._on_change()
        return changed

    def to_send(self, event: Event) -> SessionChange | None:
        """The change with the current values; ``None`` if it is obsolete.

        It is obsolete if values were set, but the session has no metadata any more: it was erased, or the values were
        deleted, which is a change of its own.
        """
        change = change_of(event, self._sessions.get(event.application, event.session_id or ""))
        return None if change.operation == "update" and not change.current else change

    def _create(
        self, application: str, session_id: str, operation: Operation, names: Collection[str], *, paths: bool
    ) -> list[Delivery]:
        channels = self._routes.channels_of(EventType.SESSION_UPDATED, application)
        if not channels:
            return []
        now = self._clock()
        events = change_events(application, session_id, operation, names, paths=paths, event_id=self._new_id(), at=now)
        deliveries = [
            Delivery.of(event, channel, due_at=now).claimed(until=now + _LEASE)
            for event in events
            for channel in channels
        ]
        try:
            for delivery in deliveries:
                self._outbox.add(delivery)
        except StorageError:
            # Some may be stored, but nothing is changed.
            self._end(self._outbox.discard, deliveries)
            raise
        return deliveries

    def _renew_if_slow(self, deliveries: list[Delivery], create: Callable[[], list[Delivery]]) -> list[Delivery]:
        """Return the deliveries of a change that was made, or new ones if they may have been sent before it."""
        if not deliveries or self._clock() < deliveries[0].due_at + _SLOW:
            return deliveries
        try:
            renewed = create()
        except StorageError as error:
            ids = ", ".join(one.id for one in deliveries)
            logger.warning("Deliveries about session metadata may have earlier values: %s: %s", ids, error)
            return deliveries
        self._end(self._outbox.discard, deliveries)
        return renewed

    def _end(self, end: Callable[[Sequence[Delivery]], None], deliveries: Sequence[Delivery]) -> None:
        """Release or discard the deliveries of a change.

        A failure is logged and not raised: the caller must learn whether the metadata was changed.
        """
        if not deliveries:
            return
        try:
            end(deliveries)
        except StorageError as error:
            ids = ", ".join(one.id for one in deliveries)
            logger.warning("Deliveries about session metadata are sent within a minute: %s: %s", ids, error)

"""Changes of session metadata: deliveries to the channels whose routes name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from harken.domain.errors import DeliveryNotFound, StorageError
from harken.domain.events import Delivery, Event, EventType
from harken.domain.session_change import Operation, SessionChange, change_events, change_of, operation_and_names
from harken.ports.outbox import Outbox
from harken.ports.sessions import SessionRepository
from harken.ports.time import Clock, NewId
from harken.services.notifications.routes import RouteService

logger = logging.getLogger(__name__)

#: How long a delivery waits for the end of its change: longer than any storage takes. If the process ends in between,
#: the delivery is sent then.
_UNDER_WAY: Final = timedelta(minutes=1)


class SessionChanges:
    """Creates the deliveries of changes of session metadata, and reads the values when they are sent.

    There is no stored event: a storage writes the metadata alone. The deliveries are stored before the change, so that
    no change is lost, and are not due before it has ended, so that none is sent with the earlier values.
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

    @contextmanager
    def announce(
        self, application: str, session_id: str, operation: Operation, names: Collection[str] | None, *, paths: bool
    ) -> Iterator[None]:
        """Wraps the change of these names or paths, or the deletion of all if ``None``.

        If no route selects the change, this does nothing. If the change raises, the channels may be notified of it
        nevertheless, a minute later, with the values as they are then.

        Raises:
            StorageError: the deliveries could not be stored; nothing was changed.
        """
        deliveries = self._create(application, session_id, operation, names, paths=paths)
        yield
        if deliveries:
            self._make_due(deliveries)

    def to_send(self, event: Event) -> SessionChange | None:
        """The change with the current values; ``None`` if it is obsolete.

        It is obsolete if values were set, but the session has no metadata any more: it was erased, or the values were
        deleted, which is a change of its own.
        """
        current = self._sessions.get(event.application, event.session_id or "")
        operation, _ = operation_and_names(event)
        return None if operation == "update" and not current else change_of(event, current)

    def _create(
        self, application: str, session_id: str, operation: Operation, names: Collection[str] | None, *, paths: bool
    ) -> list[Delivery]:
        channels = self._routes.channels_of(EventType.SESSION_UPDATED, application)
        if not channels:
            return []
        names = self._sessions.get(application, session_id).keys() if names is None else names
        now = self._clock()
        events = change_events(application, session_id, operation, names, paths=paths, event_id=self._new_id(), at=now)
        deliveries = [Delivery.of(event, channel, due_at=now + _UNDER_WAY) for event in events for channel in channels]
        for delivery in deliveries:
            self._outbox.add(delivery)
        return deliveries

    def _make_due(self, deliveries: Collection[Delivery]) -> None:
        now = self._clock()
        for delivery in deliveries:
            try:
                self._outbox.replay(delivery.id, due_at=now)
            except (DeliveryNotFound, StorageError) as error:
                # The change is stored, and its delivery becomes due anyway.
                logger.warning("Delivery %s of a change of session metadata is sent late: %s", delivery.id, error)
        self._on_change()

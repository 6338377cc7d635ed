"""Changes of session metadata: deliveries to the channels whose routes name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Final

from harken.domain.errors import InvalidMetadata, StorageError
from harken.domain.events import Delivery, Event, EventType
from harken.domain.session_change import Operation, SessionChange, change_events, change_of, operation_and_names
from harken.ports.outbox import Outbox
from harken.ports.sessions import SessionRepository
from harken.ports.time import Clock, NewId
from harken.services.notifications.routes import RouteService

logger = logging.getLogger(__name__)

#: How long a change holds its deliveries: longer than any storage takes. If the process ends in between, they are sent
#: then.
_UNDER_WAY: Final = timedelta(minutes=1)


class SessionChanges:
    """Creates the deliveries of changes of session metadata, and reads the values when they are sent.

    There is no stored event: a storage writes the metadata alone. The deliveries are stored before the change, so that
    no change is lost, and are leased to it until it has ended, so that none is sent with the earlier values.
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

    def announce(
        self,
        application: str,
        session_id: str,
        operation: Operation,
        names: Collection[str] | None,
        *,
        paths: bool,
        write: Callable[[], int],
    ) -> int:
        """Make a change, and notify the channels of it, unless it changes nothing or is refused.

        If no route selects the change, this only calls ``write``. If that raises ``StorageError``, the channels may be
        notified nevertheless, a minute later, with the values as they are then.

        Args:
            application: the application of the session.
            session_id: the session.
            operation: the operation.
            names: the names or paths that are set or deleted; ``None`` for the deletion of all names.
            paths: whether ``names`` are paths.
            write: makes the change, and returns how many names it set or deleted.

        Returns:
            The result of ``write``.

        Raises:
            StorageError: the deliveries could not be stored, and nothing was changed, or ``write`` raised it.
            InvalidMetadata: ``write`` raised it.
        """
        deliveries = self._create(application, session_id, operation, names, paths=paths)
        try:
            changed = write()
        except InvalidMetadata:
            self._end(self._outbox.discard, deliveries)
            raise
        self._end(self._outbox.release if changed else self._outbox.discard, deliveries)
        if deliveries and changed:
            self._on_change()
        return changed

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
        deliveries = [
            Delivery.of(event, channel, due_at=now).claimed(until=now + _UNDER_WAY)
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

    def _end(self, end: Callable[[Sequence[Delivery]], None], deliveries: Sequence[Delivery]) -> None:
        """Release or discard the deliveries of a change whose outcome is known, and so must not be hidden."""
        if not deliveries:
            return
        try:
            end(deliveries)
        except StorageError as error:
            ids = ", ".join(one.id for one in deliveries)
            logger.warning("Deliveries about session metadata are sent in a minute: %s: %s", ids, error)

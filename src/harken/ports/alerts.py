"""Where alerts are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from harken.domain.alerts import Alert, Subject
from harken.domain.events import Event


class AlertRepository(ABC):
    """Keeps alerts with the events they cause; an id is unique in its application.

    Whatever goes in comes out equal in every field, times to the microsecond. All methods may be called by any thread
    at any time. All raise ``StorageError`` when the storage fails.

    An alert that is written while feedback that it is about is being erased is emptied, see
    :meth:`.FeedbackRepository.erase`. One that is written after the erasure has returned is kept: that its feedback
    exists is for the caller to check.
    """

    @abstractmethod
    def add(self, alert: Alert, event: Event) -> bool:
        """Store an alert and its event, atomically and durably; whether that was done: not if its id is taken."""

    @abstractmethod
    def replace(self, alert: Alert, event: Event) -> bool:
        """Put ``alert`` in the place of the version before it, with its event, atomically and durably.

        Says whether that was done: not if the stored version is not ``alert.version - 1``, or there is none.
        """

    @abstractmethod
    def get(self, application: str, alert_id: str) -> Alert | None:
        """That alert; ``None`` if there is none."""

    @abstractmethod
    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        """The alert of that rule about that subject that was raised last (``raised_at``, then ``id``), if any."""

    @abstractmethod
    def find(
        self,
        application: str,
        *,
        limit: int,
        after: Alert | None = None,
        standing: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        """Alerts, the last raised first: by ``raised_at``, then by ``id``, both descending.

        Args:
            application: whose.
            limit: how many at most.
            after: goes on behind that place.
            standing: only those that stand, or only those that are resolved.
            rule: only of that rule.
            since: only those raised not before then.
        """

"""The port for stored alerts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.events import Event


class AlertRepository(ABC):
    """Stores alerts with their events; an id is unique in its application.

    A stored alert is returned equal in every field, times to the microsecond. Any thread may call any method at any
    time. All methods raise ``StorageError`` when the storage fails.

    An alert that is written while its feedback is being erased is emptied, see :meth:`.FeedbackRepository.erase`. An
    alert that is written after the erasure has returned is stored unchanged; the caller checks that its feedback
    exists.
    """

    @abstractmethod
    def add(self, alert: Alert, event: Event) -> bool:
        """Store an alert and its event, atomically and durably; ``False`` if its id is taken."""

    @abstractmethod
    def replace(self, alert: Alert, event: Event) -> bool:
        """Replace the previous version of ``alert``, and store its event, atomically and durably.

        Returns ``False`` if the stored version is not ``alert.version - 1``, or the alert does not exist.
        """

    @abstractmethod
    def get(self, application: str, alert_id: str) -> Alert | None:
        """The alert with that id; ``None`` if there is none."""

    @abstractmethod
    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        """The alert of that rule and subject that was raised last (by ``raised_at``, then ``id``), if any."""

    @abstractmethod
    def find(
        self,
        application: str,
        *,
        limit: int,
        after: Alert | None = None,
        open: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        """Alerts, the last raised first: by ``raised_at``, then by ``id``, both descending.

        Args:
            application: the application.
            limit: the maximum number of alerts.
            after: continue after this alert, which need not exist any more.
            open: only open alerts, or only resolved ones.
            rule: only alerts of this rule.
            since: only alerts that were raised at this time or later.
        """

"""The alert repository in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import Subject
from harken.domain.events import Event
from harken.ports.alerts import AlertRepository
from harken_adapters.storage.memory.data import Data, raised_place


class MemoryAlertRepository(AlertRepository):
    """Alerts in dictionaries and sorted lists."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def add(self, alert: Alert, event: Event) -> bool:
        with self._data.locked():
            if alert.id in self._data.alerts[alert.application].by_id:
                return False
            self._put(alert, event)
            return True

    def replace(self, alert: Alert, event: Event) -> bool:
        with self._data.locked():
            stored = self._data.alerts[alert.application].by_id.get(alert.id)
            if stored is None or stored.version != alert.version - 1:
                return False
            self._put(alert, event)
            return True

    def get(self, application: str, alert_id: str) -> Alert | None:
        with self._data.locked():
            return self._data.alerts[application].by_id.get(alert_id)

    def latest(self, application: str, rule: str, subject: Subject) -> Alert | None:
        with self._data.locked():
            alerts = self._data.alerts[application]
            places = alerts.about.get((rule, subject))
            return alerts.by_id[places[-1][1]] if places else None

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
        with self._data.locked():
            alerts = self._data.alerts[application]
            start = 0 if since is None else bisect_left(alerts.order, (since, ""))
            end = len(alerts.order) if after is None else bisect_left(alerts.order, raised_place(after))
            last_first = (alerts.by_id[alerts.order[index][1]] for index in range(end - 1, start - 1, -1))
            wanted = (alert for alert in last_first if open in (None, alert.is_open) and rule in (None, alert.rule))
            return list(islice(wanted, limit))

    def _put(self, alert: Alert, event: Event) -> None:
        self._data.alerts[alert.application].put(alert)
        self._data.events.put(event)

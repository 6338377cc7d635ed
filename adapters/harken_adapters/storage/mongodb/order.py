"""The order of deliveries in MongoDB: the events of one subject are sent to a channel one at a time, in order.

A delivery can be claimed if no earlier delivery about its subject is open for its channel. A blocked delivery becomes
``waiting``, so that claims do not check it every time; the end of a delivery wakes the next one. If the process dies in
between, or another one interferes between the check and the mark, a later claim checks again. No earlier delivery can
appear after a check, as events stop waiting only when their deliveries are stored, earlier versions first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from harken.domain.events import Delivery, DeliveryState
from harken.domain.instants import to_microseconds
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.deliveries import AWAKE, WAITING, among, delivery_of
from harken_adapters.storage.mongodb.documents import Document

#: How many overdue waiting deliveries one claim checks.
_CHUNK: Final = 100
#: The usual maximum of open deliveries about one subject on one channel.
_USUALLY: Final = 10
#: Pending or waiting, in the form that the indexes contain.
_OPEN: Final = {"state": {"$gte": DeliveryState.PENDING.value}}
_WHAT_IS_OPEN: Final = dict.fromkeys(("application", "feedback_id", "alert_id", "event.version", "state"), 1)
#: When a waiting delivery is checked again even if it was not woken.
_AGAIN: Final = timedelta(minutes=5)
_ORDERS: Final = {"feedback_id": "order", "alert_id": "alert_order"}

#: A channel, the name of the subject's field, and the subject.
_Lane = tuple[str, str, str, str]


class Order:
    """Determines which deliveries come first, makes the others wait, and wakes them."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.deliveries

    def blocked(self, found: Sequence[Delivery]) -> list[Delivery]:
        """Return those that are blocked by an earlier delivery."""
        later = [one for one in found if one.event.version > 1]
        if not later:
            return []
        lowest = self._lowest(later)
        return [one for one in later if not _is_first(one, lowest)]

    def hold(self, blocked: Sequence[Delivery], due: Document, now: datetime) -> None:
        """Mark these as waiting if they are still ``due``."""
        waiting = {"state": WAITING, "again": to_microseconds(now + _AGAIN)}
        self._deliveries.update_many({**among(blocked), **due}, {"$set": waiting})
        # The deliveries that block them may have ended since.
        self.wake(blocked)

    def overdue(self, channel: str, now: datetime) -> list[Delivery]:
        """Return some long-waiting deliveries, the longest first; the process that should wake them may have died."""
        long = {"channel": {"$eq": channel}, "state": WAITING, "again": {"$lte": to_microseconds(now)}}
        found = self._deliveries.find(long).sort([("again", 1)]).hint("again").limit(_CHUNK)
        return list(map(delivery_of, at_once(found, _CHUNK)))

    def postpone(self, overdue: Sequence[Delivery], now: datetime) -> None:
        """Set a later check for those that still wait."""
        again = {"again": to_microseconds(now + _AGAIN)}
        self._deliveries.update_many({**among(overdue), "state": WAITING}, {"$set": again})

    def wake(self, ended: Sequence[Delivery]) -> None:
        """Wake the next deliveries about the subjects of these."""
        ids = [one["_id"] for first in self._lowest(ended).values() for one in first if one["state"] == WAITING]
        if ids:
            self._deliveries.update_many({"_id": {"$in": ids}, "state": WAITING}, AWAKE)

    def _lowest(self, deliveries: Sequence[Delivery]) -> dict[_Lane, list[Document]]:
        """Return the open deliveries of the lowest version by channel and subject: two if feedback was restored."""
        lowest: dict[_Lane, list[Document]] = {}
        for channel, name, some in _by_channel_and_kind(deliveries):
            for one in self._open(channel, name, {_subject(one) for one in some}):
                lane = (channel, name, one["application"], one[name])
                others = lowest.setdefault(lane, [])
                version = one["event"]["version"]
                if others and others[0]["event"]["version"] > version:
                    others.clear()
                if not others or others[0]["event"]["version"] == version:
                    others.append(one)
        return lowest

    def _open(self, channel: str, name: str, subjects: Collection[tuple[str, str]]) -> list[Document]:
        """Return the open deliveries about these subjects on the channel; if there are too many, the first of each."""
        of_channel = {"channel": {"$eq": channel}, **_OPEN}
        subject_ids = {
            "application": {"$in": sorted({application for application, _ in subjects})},
            name: {"$in": sorted({subject_id for _, subject_id in subjects}), "$exists": True},
        }
        most = _USUALLY * (len(subjects) + _USUALLY)
        cursor = self._deliveries.find({**of_channel, **subject_ids}, _WHAT_IS_OPEN).hint(_ORDERS[name]).limit(most)
        found = list(at_once(cursor, most))
        if len(found) < most:
            return found
        found = []
        for application, subject_id in subjects:
            about = {"application": {"$eq": application}, name: {"$eq": subject_id, "$exists": True}}
            first = self._deliveries.find({**of_channel, **about}, _WHAT_IS_OPEN).hint(_ORDERS[name])
            found += first.sort([("event.version", 1)]).limit(2)
        return found


def _subject(delivery: Delivery) -> tuple[str, str]:
    return delivery.event.application, delivery.event.subject_id


def _kind(delivery: Delivery) -> str:
    return "alert_id" if delivery.event.type.about_alert else "feedback_id"


def _by_channel_and_kind(deliveries: Iterable[Delivery]) -> Iterator[tuple[str, str, Sequence[Delivery]]]:
    parts: defaultdict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for one in deliveries:
        parts[one.channel, _kind(one)].append(one)
    return ((channel, kind, some) for (channel, kind), some in parts.items())


def _is_first(delivery: Delivery, lowest: Mapping[_Lane, Sequence[Document]]) -> bool:
    """Whether no earlier delivery about its subject is open for its channel."""
    first = lowest.get((delivery.channel, _kind(delivery), *_subject(delivery)))
    return not first or first[0]["event"]["version"] >= delivery.event.version

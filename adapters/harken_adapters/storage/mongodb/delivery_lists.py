"""Lists and counts of deliveries in MongoDB. Each reads ranges of one index, named by a hint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import evolve

from harken.domain.events import CauseCount, Delivery, DeliveryQuery, DeliveryState, most_first
from harken.domain.instants import from_microseconds, to_microseconds
from harken_adapters.storage.mongodb.database import Database, at_once
from harken_adapters.storage.mongodb.deliveries import STORED, delivery_of
from harken_adapters.storage.mongodb.documents import Document

_EARLIEST_DUE: Final = [("due", 1), ("_id", 1)]
_NEWEST_DUE: Final = [("due", -1), ("_id", -1)]
_NUMBER: Final = {"$sum": 1}


class DeliveryLists:
    """Reads deliveries by query. The caller provides the context of the calls."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.deliveries

    def find(self, query: DeliveryQuery, *, limit: int, after: Delivery | None, newest_first: bool) -> list[Delivery]:
        """Return the deliveries that match, in order; also those of feedback whose erasure was interrupted."""
        follows: Sequence[Document] = [{}] if after is None else _conditions_after(after, newest_first=newest_first)
        ranges = [{"$and": [one, way]} if way else one for one in self._ranges(query) for way in follows]
        if not ranges or limit < 1:
            return []
        order = _NEWEST_DUE if newest_first else _EARLIEST_DUE
        condition = ranges[0] if len(ranges) == 1 else {"$or": ranges}
        cursor = self._deliveries.find(condition).sort(order).hint(_index(query)).limit(limit)
        return list(map(delivery_of, at_once(cursor, limit)))

    def counts(self, query: DeliveryQuery) -> dict[str, int]:
        """Return the number of deliveries that match, by channel."""
        counts: Counter[str] = Counter()
        if _is_about_subject(query):
            for one in self._group({"_id": "$channel", "count": _NUMBER}, query):
                counts[one["_id"]] += one["count"]
        else:
            names = self._channels(query) if query.channel is None else [query.channel]
            for name in names:
                of_channel = evolve(query, channel=name)
                # Answered from the index alone.
                numbers = (
                    self._deliveries.count_documents(one, hint=_index(of_channel)) for one in self._ranges(of_channel)
                )
                counts[name] += sum(numbers)
        return {name: number for name, number in sorted(counts.items()) if number}

    def causes(self, query: DeliveryQuery) -> list[CauseCount]:
        """Return the dead deliveries that match, by channel and cause."""
        if query.state not in (None, DeliveryState.DEAD):
            return []
        by_cause = {
            "_id": {"channel": "$channel", "cause": "$cause"},
            "count": _NUMBER,
            "first": {"$min": "$due"},
            "last": {"$max": "$due"},
        }
        found = [
            CauseCount(
                channel=one["_id"]["channel"],
                cause=one["_id"].get("cause", ""),
                count=one["count"],
                first_at=from_microseconds(one["first"]),
                last_at=from_microseconds(one["last"]),
            )
            for one in self._group(by_cause, evolve(query, state=DeliveryState.DEAD))
        ]
        return sorted(found, key=most_first)

    def _group(self, group: Document, query: DeliveryQuery) -> Iterator[Document]:
        condition = {"state": {"$in": _stored(query)}, **_conditions(query)}
        if query.state is DeliveryState.DEAD:
            # Equality, which the partial index needs.
            condition["state"] = DeliveryState.DEAD.value
        hint = "dead" if query.state is DeliveryState.DEAD and not _is_about_subject(query) else _index(query)
        return self._deliveries.aggregate([{"$match": condition}, {"$group": group}], hint=hint)

    def _channels(self, query: DeliveryQuery) -> list[str]:
        """Return the channels that have deliveries; reads each once from the index."""
        of = {} if query.application is None else {"application": {"$eq": query.application}}
        return sorted(self._deliveries.distinct("channel", of))

    def _ranges(self, query: DeliveryQuery) -> list[Document]:
        """Return alternative conditions, each of which is one range of the index."""
        conditions = _conditions(query)
        if _is_about_subject(query):
            return [{"state": {"$in": _stored(query)}, **conditions}]
        by_channel: Sequence[Document] = [{}]
        if query.application is not None and query.channel is None:
            by_channel = [{"channel": {"$eq": name}} for name in self._channels(query)]
        return [{"state": stored, **conditions, **channel} for channel in by_channel for stored in _stored(query)]


def _stored(query: DeliveryQuery) -> list[str]:
    return [stored for state in query.states for stored in STORED[state]]


def _is_about_subject(query: DeliveryQuery) -> bool:
    return query.feedback_id is not None or query.alert_id is not None


def _index(query: DeliveryQuery) -> str:
    if _is_about_subject(query):
        return "alert" if query.feedback_id is None else "feedback"
    if query.application is None:
        return "due" if query.channel is None else "claims"
    return "list" if query.cause is None else "dead"


def _conditions(query: DeliveryQuery) -> Document:
    """Return the conditions, except on the state."""
    equal: dict[str, Any] = {
        "application": query.application,
        "channel": query.channel,
        "feedback_id": query.feedback_id,
        "alert_id": query.alert_id,
        "cause": query.cause or None,
    }
    conditions: Document = {name: {"$eq": value} for name, value in equal.items() if value is not None}
    if query.cause == "":
        conditions["cause"] = None
    if query.alert_id is not None:
        # As the partial index has it.
        conditions["alert_id"] = {"$eq": query.alert_id, "$exists": True}
    if query.type is not None:
        conditions["event.type"] = {"$in": list(query.type.stored)}
    if query.due_since is not None:
        conditions["due"] = {"$gte": to_microseconds(query.due_since)}
    return conditions


def _conditions_after(after: Delivery, *, newest_first: bool) -> list[Document]:
    """Return two alternative conditions for being after a delivery, each of which is one range of an index."""
    due, follows = to_microseconds(after.due_at), "$lt" if newest_first else "$gt"
    return [{"due": {follows: due}}, {"due": {"$eq": due}, "_id": {follows: after.id}}]

"""Statistics, computed by MongoDB: from day documents if possible, otherwise from the feedback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from attrs import evolve

from harken.domain.insight.sampling import AuthorRatings
from harken.domain.instants import EPOCH, slot_number, slot_start
from harken.domain.query import Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.summary import Summary
from harken_adapters.storage.mongodb.comment_index import MongoCommentIndex
from harken_adapters.storage.mongodb.conditions import NEWEST_FIRST, index_for, where
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document
from harken_adapters.storage.mongodb.statistics.day import Part, Span
from harken_adapters.storage.mongodb.statistics.editions import Editions, spans_condition
from harken_adapters.storage.mongodb.statistics.sums import HOURS_A_DAY, SUMS, Counts, add_counts, counts_of, total_of

_CHUNK: Final = 1_000
_COMMENT: Final = {"comment": 1}

#: The counts of one group; several rows may have the same key. The hours are in UTC, each with its total.
_Row = tuple[GroupKey, Counts, Iterable[tuple[int, int]]]


class MongoStatistics:
    """Sums matching feedback by group."""

    def __init__(self, database: Database, editions: Editions, index: MongoCommentIndex) -> None:
        self._database = database
        self._editions = editions
        self._index = index

    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None) -> Mapping[GroupKey, Summary]:
        if not _can_use_days(query, group_by):
            return _summaries(self._from_feedback(query, group_by))
        span, edges = _whole_slots(query)
        rows = [row for edge in edges for row in self._from_feedback(edge, group_by)]
        if span is not None:
            rows += self._from_days(query, group_by, span)
        return _summaries(rows)

    def ratings_by_author(self, query: FeedbackQuery, group_by: GroupBy | None, limit: int) -> list[AuthorRatings]:
        """Return how many of the newest matching thumbs each author gave in each group."""
        is_rated: Document = {"rating": {"$in": ["up", "down"]}}
        condition: Document = {"$and": [where(query), is_rated]}
        index = index_for(query)
        if search := query.search:
            matches = islice(self._index.matches(query, search, _COMMENT, more=is_rated), limit)
            condition, index = {"_id": {"$in": [one["_id"] for one in matches]}}, "_id_"
        by_author = {"$concat": ["a", "$author"]}
        author = {"$cond": [{"$gt": ["$author", None]}, by_author, {"$concat": ["s", "$session_id"]}]}
        pipeline: list[Document] = [{"$match": condition}, {"$sort": dict(NEWEST_FIRST)}, {"$limit": limit}]
        pipeline += _unwind(group_by)
        ups = {"$sum": {"$cond": [{"$eq": ["$rating", "up"]}, 1, 0]}}
        group = {"_id": {"key": _key(group_by), "author": author}, "given": {"$sum": 1}, "up": ups}
        with self._database.reading():
            found = self._database.feedback.aggregate([*pipeline, {"$group": group}], hint=index, allowDiskUse=True)
            return [
                AuthorRatings(_group_key(one["_id"], group_by), one["_id"]["author"], one["given"], one["up"])
                for one in found
            ]

    def _from_days(self, query: FeedbackQuery, group_by: GroupBy | None, span: Span) -> Iterator[_Row]:
        """Yield the whole slots of a span: settled ones from day documents, the others from the feedback."""
        dimension = group_by.dimension if group_by else None
        counted = self._editions.read(
            query.application,
            query.agent_id,
            span,
            by_agent=query.agent_id is not None or dimension is Dimension.AGENT,
            by_slot=dimension is Dimension.SLOT,
        )
        yield from _rows(counted.parts, group_by)
        if counted.missing:
            plain = FeedbackQuery(application=query.application, agent_id=query.agent_id)
            yield from self._group(spans_condition(plain, counted.missing), index_for(plain), group_by)

    def _from_feedback(self, query: FeedbackQuery, group_by: GroupBy | None) -> list[_Row]:
        if search := query.search:
            found = self._index.matches(query, search, _COMMENT)
            rows: list[_Row] = []
            while ids := [one["_id"] for one in islice(found, _CHUNK)]:
                rows += self._group({"_id": {"$in": ids}}, "_id_", group_by)
            return rows
        return self._group(where(query), index_for(query), group_by)

    def _group(self, condition: Document, index: str, group_by: GroupBy | None) -> list[_Row]:
        pipeline: list[Document] = [{"$match": condition}, *_unwind(group_by)]
        key = {"key": _key(group_by), "hour": {"$hour": "$created_at"}}
        pipeline.append({"$group": {"_id": key, **SUMS}})
        with self._database.reading():
            # There may be many groups, so the server may use its disk.
            found = self._database.feedback.aggregate(pipeline, hint=index, allowDiskUse=True)
            return [_row(document, group_by) for document in found]


def _can_use_days(query: FeedbackQuery, group_by: GroupBy | None) -> bool:
    plain = FeedbackQuery(application=query.application, agent_id=query.agent_id, since=query.since, until=query.until)
    dimension = group_by.dimension if group_by else None
    return query == plain and dimension in (None, Dimension.AGENT, Dimension.SLOT)


def _whole_slots(query: FeedbackQuery) -> tuple[Span | None, list[FeedbackQuery]]:
    """Return the whole slots that a query covers, if any, and queries for the slots that it covers in part."""
    since, until = query.since or EPOCH, query.until
    first = slot_number(since)
    cut_first = slot_start(first) < since
    first += cut_first
    if until is None:
        return Span(first, None), [evolve(query, until=slot_start(first))] if cut_first else []
    end = slot_number(until)
    if first > end:
        return None, [query]
    edges = [evolve(query, until=slot_start(first))] if cut_first else []
    if slot_start(end) < until:
        edges.append(evolve(query, since=slot_start(end)))
    return Span(first, end) if first < end else None, edges


def _unwind(group_by: GroupBy | None) -> list[Document]:
    if group_by is None or group_by.dimension is not Dimension.TAG:
        return []
    return [{"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": True}}]


def _key(group_by: GroupBy | None) -> object:
    match group_by:
        case None:
            return None
        case GroupBy(Dimension.CONTEXT, str(name)):
            return {"$ifNull": [f"$labels.{name}", {"$ifNull": [f"$context.{name}", None]}]}
        case GroupBy(dimension):
            return {
                Dimension.AGENT: "$agent_id",
                Dimension.SESSION: "$session_id",
                Dimension.TAG: "$tags",
                Dimension.SLOT: "$slot",
            }[dimension]


def _group_key(group: Document, group_by: GroupBy | None) -> GroupKey:
    # A missing field is missing in the key, too.
    key: Any = group.get("key")
    return slot_start(key) if group_by is not None and group_by.dimension is Dimension.SLOT else key


def _row(document: Document, group_by: GroupBy | None) -> _Row:
    group, counts = document["_id"], counts_of(document)
    return _group_key(group, group_by), counts, ((group["hour"], total_of(counts)),)


def _rows(parts: Iterable[Part], group_by: GroupBy | None) -> Iterator[_Row]:
    """Yield the counts of day documents in the requested groups."""
    dimension = group_by.dimension if group_by else None
    for part in parts:
        if dimension is Dimension.SLOT and part.slot is not None:
            yield slot_start(part.slot), part.counts, part.by_hour
        else:
            yield part.agent_id if dimension is Dimension.AGENT else None, part.counts, part.by_hour


def _summaries(rows: Iterable[_Row]) -> dict[GroupKey, Summary]:
    """Return one summary for each key."""
    totals: dict[GroupKey, Counts] = {}
    hours: dict[GroupKey, list[int]] = {}
    for key, counts, by_hour in rows:
        totals[key] = add_counts(totals[key], counts) if key in totals else counts
        of_key = hours.setdefault(key, [0] * HOURS_A_DAY)
        for hour, total in by_hour:
            of_key[hour] += total
    return {key: Summary.from_counts(counts, hours[key]) for key, counts in totals.items() if total_of(counts)}

"""Day documents: counts that need not be computed again.

For each application and day, ``harken_days`` has the statistics of all feedback, and ``harken_figures`` those of each
agent, by quarter-hour slot. They cover only settled slots, which ended so long ago that every write has finished. Newer
slots are always counted from the feedback, so submissions have no additional cost.

A write to older feedback first marks its slot as dirty, for as long as any write can take. Until then, and until the
slot is counted again, all readers count it from the feedback. A reader that counts publishes an edition of the day
atomically: the statistics are stored under a new name, which the day's document adopts only if its generation is
unchanged since the beginning of the count. Every mark increases the generation.

A reader that finds settled slots without counts counts them. No background process is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from secrets import randbits
from typing import Final
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from harken.domain.instants import slot_start
from harken.domain.query import FeedbackQuery
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.conditions import moments, one_of, where
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document
from harken_adapters.storage.mongodb.statistics.day import (
    SLOTS_A_DAY,
    Counted,
    Header,
    Horizon,
    Part,
    Rows,
    Span,
    comparable,
    join_rows,
    missing,
    over_agents,
    parts_of,
    slot_parts,
    slots_of,
    spans_of,
    statistics_of,
)
from harken_adapters.storage.mongodb.statistics.marks import day_id
from harken_adapters.storage.mongodb.statistics.sums import SUMS, Counts, counts_of

_TRIES: Final = 5
_OLDEST_FIRST: Final = [("created_at", 1), ("created_us", 1), ("id", 1)]


class Editions:
    """Reads day documents, and counts missing slots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def read(
        self, application: str, agents: frozenset[str] | None, span: Span, *, by_agent: bool, by_slot: bool
    ) -> Counted:
        """Return the known counts of a span, by agent and slot if requested.

        Settled slots that have not been counted are counted first.
        """
        horizon = Horizon.at(self._clock())
        days = span.days(horizon)
        for number in range(_TRIES if days else 0):
            with self._database.reading():
                known = self._known_before(application)
                headers = self._headers(application, days, span, by_slot=by_slot and not by_agent)
            if number == 0 and self._catch_up(application, days, headers, known, horizon):
                continue
            parts = (
                self._parts_by_agent(application, agents, headers, span, by_slot=by_slot)
                if by_agent
                else parts_of(headers, span, by_slot=by_slot)
            )
            if parts is not None:
                return Counted(parts, missing(headers, span, known * SLOTS_A_DAY))
        return Counted((), (span,))

    def days(self, application: str) -> tuple[list[Header], list[Span]]:
        """Return all days of an application, and the slots that none of them covers.

        Settled slots that have not been counted are counted first.
        """
        span = Span(0, None)
        self.read(application, None, span, by_agent=False, by_slot=False)
        with self._database.reading():
            known = self._known_before(application)
            headers = self._find({"application": {"$eq": application}}, by_slot=False)
        return headers, missing(headers, span, known * SLOTS_A_DAY)

    def rebuild(self) -> Iterator[str]:
        """Count every day again and correct wrong editions. Yields one sentence for each correction."""
        with self._database.reading():
            applications = set(self._database.feedback.distinct("application"))
            applications |= set(self._database.days.distinct("application"))
        for application in sorted(applications):
            yield from self._rebuild(application)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _known_before(self, application: str) -> int:
        """Return the day before which every day with feedback has a document."""
        found = self._database.meta.find_one({"_id": _known_id(application)})
        return found["before"] if found else 0

    def _headers(self, application: str, days: range, span: Span, *, by_slot: bool) -> list[Header]:
        """Return the headers of the days, with slots if these are needed."""
        condition = {"application": {"$eq": application}, "day": {"$gte": days.start, "$lt": days.stop}}
        headers = self._find(condition, by_slot=by_slot)
        cut = [] if by_slot else [header.number for header in headers if not header.whole_within(span)]
        if not cut:
            return headers
        with_slots = {header.number: header for header in self._find({**condition, "day": {"$in": cut}}, by_slot=True)}
        return [with_slots.get(header.number, header) for header in headers]

    def _find(self, condition: Document, *, by_slot: bool) -> list[Header]:
        fields = {"terms": 0} if by_slot else {"terms": 0, "slots": 0}
        return [Header.of(one) for one in self._database.days.find(condition, fields).sort("day", 1).hint("day")]

    def _parts_by_agent(
        self, application: str, agents: frozenset[str] | None, headers: Sequence[Header], span: Span, *, by_slot: bool
    ) -> list[Part] | None:
        """Return the counts by agent of the days' editions; ``None`` if an edition was replaced meanwhile."""
        by_number = {header.number: header for header in headers if header.edition}
        cut = [number for number, header in by_number.items() if by_slot or not header.whole_within(span)]
        whole = sorted(by_number.keys() - set(cut))
        parts: list[Part] = []
        with self._database.reading():
            for document in self._figures(application, agents, whole, by_slot=False):
                if document["edition"] == by_number[document["day"]].edition:
                    by_hour = tuple(enumerate(document["by_hour"]))
                    parts.append(Part(document["agent_id"], None, document["total"], by_hour))
            for document in self._figures(application, agents, cut, by_slot=True):
                header = by_number[document["day"]]
                if document["edition"] == header.edition:
                    parts += slot_parts(document["agent_id"], header, slots_of(document["slots"]), span)
            return parts if self._are_current(application, by_number) else None

    def _figures(
        self, application: str, agents: frozenset[str] | None, days: Sequence[int], *, by_slot: bool
    ) -> Iterator[Document]:
        if not days:
            return iter(())
        gapless = len(days) == days[-1] - days[0] + 1
        number = {"$gte": days[0], "$lte": days[-1]} if gapless else {"$in": list(days)}
        condition: Document = {"application": {"$eq": application}, "day": number}
        if agents is not None:
            condition["agent_id"] = one_of(agents)
        fields = None if by_slot else {"slots": 0}
        index = "day" if agents is None else "agent"
        return iter(self._database.figures.find(condition, fields).hint(index))

    def _are_current(self, application: str, headers: Mapping[int, Header]) -> bool:
        if not headers:
            return True
        condition = {"application": {"$eq": application}, "day": {"$gte": min(headers), "$lte": max(headers)}}
        found = self._database.days.find(condition, {"day": 1, "edition": 1}).hint("day")
        editions = {document["day"]: document.get("edition") for document in found}
        return all(editions.get(number) == header.edition for number, header in headers.items())

    # --- counting --------------------------------------------------------------------------------------------------

    def _catch_up(self, application: str, days: range, headers: Sequence[Header], known: int, horizon: Horizon) -> bool:
        """Count the settled slots of the days that have not been counted. Returns whether there were any."""
        there = {header.number for header in headers}
        new = self._new_days(application, range(max(days.start, known), days.stop), there)
        uncounted = [header for header in headers if header.uncounted(horizon)]
        uncounted += [Header.new(number) for number in new]
        for header in uncounted:
            self._count(application, header, horizon)
        # A day is known when no slot of it can be written to without a mark.
        before = min(days.stop, horizon.slot // SLOTS_A_DAY)
        if days.start <= known < before:
            self._set_known(application, before)
            return True
        return bool(uncounted)

    def _set_known(self, application: str, before: int) -> None:
        name = {"_id": _known_id(application)}
        with self._database.reading():
            try:
                self._database.meta.update_one(name, {"$max": {"before": before}}, upsert=True)
            except DuplicateKeyError:
                self._database.meta.update_one(name, {"$max": {"before": before}})

    def _new_days(self, application: str, days: range, there: Collection[int]) -> Iterator[int]:
        """Yield the days that have feedback but no document, by jumping from day to day in the index."""
        end = slot_start(days.stop * SLOTS_A_DAY)
        number = days.start
        while number < days.stop:
            if number not in there:
                span = moments(slot_start(number * SLOTS_A_DAY), end)
                condition = {"application": {"$eq": application}, "created_at": span}
                with self._database.reading():
                    cursor = self._database.feedback.find(condition, {"slot": 1})
                    found = list(cursor.sort(_OLDEST_FIRST).hint("time").limit(1))
                if not found:
                    return
                number = found[0]["slot"] // SLOTS_A_DAY
            if number not in there:
                yield number
            number += 1

    def _count(self, application: str, header: Header, horizon: Horizon) -> None:
        """Publish an edition of a day with everything that can be counted now."""
        until = header.settled(horizon)
        uncounted = header.uncounted(horizon)
        dirty = header.dirty if header.open_at(horizon.now) else frozenset[int]()
        with self._database.reading():
            kept = self._read_edition(application, header)
            if kept is None:
                kept, uncounted = {}, frozenset(range(until)) - dirty
            rows = join_rows(kept, self._rows(application, header.first, uncounted))
            self._publish(application, header, rows, until, dirty)

    def _read_edition(self, application: str, header: Header) -> Rows | None:
        """Return the valid counts of a day's edition; ``None`` if there is no edition or a part of it is missing."""
        if header.edition is None:
            return None
        figures = self._figures(application, None, [header.number], by_slot=True)
        found = [document for document in figures if document["edition"] == header.edition]
        if len(found) != header.agents:
            return None
        return {
            document["agent_id"]: {
                slot: counts for slot, counts in slots_of(document["slots"]).items() if slot not in header.dirty
            }
            for document in found
        }

    def _rows(self, application: str, first: int, slots: Collection[int]) -> Rows:
        """Count some slots of a day from the feedback."""
        if not slots:
            return {}
        found = self._database.feedback.aggregate(
            [
                {
                    "$match": spans_condition(
                        FeedbackQuery(application=application), spans_of(first + one for one in slots)
                    )
                },
                {"$group": {"_id": {"agent_id": "$agent_id", "slot": "$slot"}, **SUMS}},
            ],
            hint="time",
        )
        rows: defaultdict[str | None, dict[int, Counts]] = defaultdict(dict)
        for document in found:
            rows[document["_id"].get("agent_id")][document["_id"]["slot"] - first] = counts_of(document)
        return rows

    def _publish(self, application: str, header: Header, rows: Rows, until: int, dirty: frozenset[int]) -> bool:
        """Publish these counts as the edition of a day, unless the day was marked since its document was read."""
        edition = uuid4().hex
        day = day_id(application, header.number)
        figures = [
            {**day, "edition": edition, "agent_id": agent_id, **statistics_of(slots)}
            for agent_id, slots in rows.items()
            if slots
        ]
        if figures:
            self._database.figures.insert_many(figures)
        content = {
            "edition": edition,
            "until": until,
            "dirty": sorted(dirty),
            "agents": len(figures),
            **statistics_of(over_agents(rows)),
        }
        published = self._replace(application, header, content)
        outdated = {"$ne": edition} if published else {"$eq": edition}
        self._database.figures.delete_many({**day, "edition": outdated})
        return published

    def _replace(self, application: str, header: Header, content: Document) -> bool:
        name = day_id(application, header.number)
        if header.generation == 0:
            try:
                # A random generation never comes again, also if the document was removed in between.
                new = {"generation": randbits(40) + 1, "published": 1}
                self._database.days.insert_one({"_id": name, **name, **new, **content})
            except DuplicateKeyError:
                return False
            return True
        unchanged = {"_id": name, "generation": header.generation}
        change = {"$set": content, "$inc": {"generation": 1, "published": 1}}
        return bool(self._database.days.update_one(unchanged, change).matched_count)

    # --- rebuilding ------------------------------------------------------------------------------------------------

    def _rebuild(self, application: str) -> Iterator[str]:
        horizon = Horizon.at(self._clock())
        with self._database.reading():
            known = self._known_before(application)
            headers = {
                header.number: header for header in self._find({"application": {"$eq": application}}, by_slot=True)
            }
        for number in self._new_days(application, Span(0, None).days(horizon), headers):
            if number < known:
                yield f"{day_name(application, number)} had feedback but no statistics"
            self._count(application, Header.new(number), horizon)
        for header in headers.values():
            if header.edition is not None and self._differs(application, header):
                yield f"{day_name(application, header.number)} had statistics that differ from its feedback"

    def _differs(self, application: str, header: Header) -> bool:
        """Whether a day's edition differs from its feedback. If so, a new edition is published."""
        covered = frozenset(header.covered)
        with self._database.calling():
            counted = self._rows(application, header.first, covered)
            kept = self._read_edition(application, header)
            if kept is not None and comparable(kept) == comparable(counted) and _adds_up(header, counted):
                return False
            return self._publish(application, header, counted, header.until, header.dirty)


def spans_condition(query: FeedbackQuery, spans: Sequence[Span]) -> Document:
    """Return the filter for matching feedback in these spans of slots; each span is one range of an index."""
    plain = where(query)
    return {
        "$or": [
            {**plain, "created_at": moments(slot_start(span.first), None if span.end is None else slot_start(span.end))}
            for span in spans
        ]
    }


def _adds_up(header: Header, counted: Rows) -> bool:
    """Whether a day's statistics of all agents equal the sums of the counts, and are consistent."""
    covered = set(header.covered)
    holding = {slot: counts for slot, counts in header.slots.items() if slot in covered}
    sums = statistics_of(header.slots)
    return (
        comparable({None: holding}) == comparable({None: over_agents(counted)})
        and list(header.total) == sums["total"]
        and list(header.by_hour) == sums["by_hour"]
    )


def _known_id(application: str) -> Document:
    return {"known": application}


def day_name(application: str, day: int) -> str:
    """Return the name of a day of an application for messages."""
    return f"{slot_start(day * SLOTS_A_DAY):%Y-%m-%d} of application {application!r}"

"""Day documents: what was counted once and need not be counted again.

For each application and day, ``harken_days`` has the figures of all its feedback, and ``harken_figures`` those of each
agent, by quarter-hour slot. They hold only settled slots, which ended long enough ago for every write to have finished;
what is newer is always counted anew, so collecting feedback pays nothing for them.

A write to older feedback first marks its slot as dirty, for as long as any write can take, and until then, and until
somebody has counted the slot anew, everybody counts it from the feedback. Whoever counts publishes an edition of the
day, all at once: its figures are stored under a new name, which the day's document takes on only if its generation is
still the one that the counting began with; every mark raises that.

Whoever reads and finds slots that are settled but not counted counts them. Nothing else has to run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import uuid4

from attrs import field, frozen
from pymongo.errors import BulkWriteError, DuplicateKeyError

from harken.domain.instants import slot_number, slot_start
from harken.domain.query import FeedbackQuery
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.conditions import moments, where
from harken_adapters.storage.mongodb.counts import HOURS_A_DAY, SUMS, Counts, all_of, counts_of, total_of
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, milliseconds

SLOTS_A_DAY: Final = 96

#: Feedback of these last minutes is in no settled slot, and is written without a mark.
RECENT: Final = timedelta(minutes=5)
#: So long after its end a slot is settled: longer than ``RECENT`` by more than a write takes and clocks differ.
SETTLING: Final = timedelta(minutes=10)
#: So long a slot stays open to the write that marked it.
OPEN: Final = timedelta(minutes=2)
#: A mark with so much left of it serves another write; a write that took so long marks once more when it is done.
_SPARE: Final = timedelta(minutes=1)

#: With so many moments in one day, or so many days at once, whole days are marked: they need fewer, larger marks.
_MANY_MOMENTS: Final = 100
_MANY_DAYS: Final = 16
_WHOLE_DAY: Final = frozenset(range(SLOTS_A_DAY))
_REMEMBERED: Final = 10_000
_TRIES: Final = 5
_DUPLICATE_KEY: Final = 11000

_Day = tuple[str, int]
#: By agent and slot of the day.
_Rows = Mapping[str | None, Mapping[int, Counts]]


@frozen
class Span:
    """Slots that follow each other, ``end`` not included; without an end, all that come."""

    first: int
    end: int | None


@frozen
class Part:
    """What was counted: of one agent, or of all (``None`` too); of one slot, or of many (``None``)."""

    agent_id: str | None
    slot: int | None
    counts: Counts
    by_hour: Iterable[tuple[int, int]]


@frozen
class Counted:
    """What day documents know, and the slots of which they know nothing."""

    parts: Sequence[Part]
    missing: Sequence[Span]


@frozen
class _Header:
    """The document of a day: which edition holds for it, and for which of its slots."""

    number: int
    generation: int
    edition: str | None
    until: int
    dirty: frozenset[int]
    open_until: datetime | None
    agents: int
    total: Counts
    by_hour: Counts
    slots: Mapping[int, Counts] = field(repr=False)

    @classmethod
    def of(cls, document: Document) -> _Header:
        get = document.get
        return cls(
            number=document["day"],
            generation=document["generation"],
            edition=get("edition"),
            until=get("until", 0),
            dirty=frozenset(get("dirty", ())),
            open_until=get("open_until"),
            agents=get("agents", 0),
            total=get("total", ()),
            by_hour=get("by_hour", ()),
            slots=_slots(get("slots", ())),
        )

    @property
    def first(self) -> int:
        """Its first slot."""
        return self.number * SLOTS_A_DAY

    @property
    def covered(self) -> Iterator[int]:
        """The slots of the day that its edition counts, and that nothing has changed since."""
        return (slot for slot in range(self.until) if slot not in self.dirty)

    def whole_within(self, first: int, end: int | None) -> bool:
        """Whether all that its edition counts holds, and lies between two slots."""
        inside = first <= self.first and (end is None or self.first + self.until <= end)
        return inside and not any(slot < self.until for slot in self.dirty)

    def open_at(self, now: datetime) -> bool:
        """Whether a write to its dirty slots may still be under way."""
        return self.open_until is not None and self.open_until > milliseconds(now)

    def uncounted(self, settled: int, now: datetime) -> frozenset[int]:
        """The slots of the day that can be counted now, and have to be."""
        until = max(self.until, _within_day(settled - self.first))
        new = range(self.until, until)
        if self.open_at(now):
            return frozenset(new) - self.dirty
        return frozenset(new) | frozenset(slot for slot in self.dirty if slot < until)


class Days:
    """Reads day documents, and keeps them true."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        #: By day, the slots that this process has marked, and until when.
        self._marked: dict[_Day, tuple[frozenset[int], datetime]] = {}

    @contextmanager
    def changing(self, places: Collection[tuple[str, datetime]]) -> Iterator[None]:
        """Around a write to feedback of these applications and creation times."""
        began = self._clock()
        recent = began - RECENT
        self._mark(_by_day(place for place in places if place[1] < recent), began)
        try:
            yield
        finally:
            ended = self._clock()
            if ended - began > _SPARE:
                # Somebody may have counted without it meanwhile.
                self._marked.clear()
                self._mark(_by_day(places), ended)

    def read(
        self, application: str, agent_id: str | None, first: int, end: int | None, *, by_agent: bool, by_slot: bool
    ) -> Counted:
        """What is known of the slots from ``first`` to before ``end``, by agent and slot if that is wanted."""
        settled = self._refresh(application, first, end)
        last = settled if end is None else min(settled, end)
        if last <= first:
            return Counted((), (Span(first, end),))
        days = range(first // SLOTS_A_DAY, (last - 1) // SLOTS_A_DAY + 1)
        with self._database.calling():
            for _ in range(_TRIES):
                known = self._known(application)
                headers = self._headers(application, days, first, end, by_slot=by_slot and not by_agent)
                parts = (
                    self._parts_by_agent(application, agent_id, headers, first, end, by_slot=by_slot)
                    if by_agent
                    else _parts(headers, first, end, by_slot=by_slot)
                )
                if parts is not None:
                    return Counted(parts, _missing(headers, first, end, known * SLOTS_A_DAY))
        return Counted((), (Span(first, end),))

    def rebuild(self) -> Iterator[str]:
        """Count every day anew, mend what is wrong, and give a sentence for each."""
        with self._database.calling():
            applications = set(self._database.feedback.distinct("application"))
            applications |= set(self._database.days.distinct("application"))
        for application in sorted(applications):
            yield from self._rebuild(application)

    # --- marks -----------------------------------------------------------------------------------------------------

    def _mark(self, wanted: Mapping[_Day, frozenset[int]], now: datetime) -> None:
        marks = {day: slots for day, slots in wanted.items() if not self._is_marked(day, slots, now)}
        if not marks:
            return
        until = now + OPEN
        if len(marks) > _MANY_DAYS:
            marks = dict.fromkeys(marks, _WHOLE_DAY)
            self._mark_whole(list(marks), until)
        else:
            for day, slots in marks.items():
                self._mark_one(day, slots, until)
        if len(self._marked) > _REMEMBERED:
            self._marked.clear()
        for day, slots in marks.items():
            self._marked[day] = (slots, until)

    def _is_marked(self, day: _Day, slots: frozenset[int], now: datetime) -> bool:
        marked, until = self._marked.get(day, (frozenset(), now))
        return slots <= marked and until - now >= _SPARE

    def _mark_one(self, day: _Day, slots: frozenset[int], until: datetime) -> None:
        name = {"_id": _id(*day)}
        change = {**_change(slots, until), "$setOnInsert": {"application": day[0], "day": day[1]}}
        try:
            self._database.days.update_one(name, change, upsert=True)
        except DuplicateKeyError:
            # Somebody else has just made it.
            self._database.days.update_one(name, change)

    def _mark_whole(self, days: Sequence[_Day], until: datetime) -> None:
        new = [
            {
                "_id": _id(*day),
                "application": day[0],
                "day": day[1],
                "generation": 1,
                "dirty": sorted(_WHOLE_DAY),
                "open_until": milliseconds(until),
            }
            for day in days
        ]
        try:
            self._database.days.insert_many(new, ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors") or any(
                one["code"] != _DUPLICATE_KEY for one in error.details["writeErrors"]
            ):
                raise
            there = [new[one["index"]]["_id"] for one in error.details["writeErrors"]]
            self._database.days.update_many({"_id": {"$in": there}}, _change(_WHOLE_DAY, until))

    # --- reading ---------------------------------------------------------------------------------------------------

    def _known(self, application: str) -> int:
        """The day before which every day that has feedback has a document."""
        found = self._database.meta.find_one({"_id": _known_id(application)})
        return found["before"] if found else 0

    def _headers(self, application: str, days: range, first: int, end: int | None, *, by_slot: bool) -> list[_Header]:
        """The days' documents, with slots where these are needed."""
        condition = {"application": {"$eq": application}, "day": {"$gte": days.start, "$lt": days.stop}}
        headers = self._found(condition, by_slot=by_slot)
        if by_slot:
            return headers
        cut = {header.number for header in headers if not header.whole_within(first, end)}
        if not cut:
            return headers
        whole = [header for header in headers if header.number not in cut]
        return sorted(
            (*whole, *self._found({**condition, "day": {"$in": sorted(cut)}}, by_slot=True)),
            key=lambda header: header.number,
        )

    def _found(self, condition: Document, *, by_slot: bool) -> list[_Header]:
        fields = None if by_slot else {"slots": 0}
        return [_Header.of(one) for one in self._database.days.find(condition, fields).sort("day", 1).hint("day")]

    def _parts_by_agent(
        self,
        application: str,
        agent_id: str | None,
        headers: Sequence[_Header],
        first: int,
        end: int | None,
        *,
        by_slot: bool,
    ) -> list[Part] | None:
        """What the days' editions say of agents; nothing, if one was replaced meanwhile."""
        by_number = {header.number: header for header in headers if header.edition}
        cut = [number for number, one in by_number.items() if by_slot or not one.whole_within(first, end)]
        whole = [number for number in by_number if number not in set(cut)]
        parts: list[Part] = []
        for numbers, with_slots in ((whole, False), (cut, True)):
            for document in self._figures(application, agent_id, numbers, with_slots=with_slots):
                header = by_number[document["day"]]
                if document["edition"] != header.edition:
                    continue
                agent, slots = document.get("agent_id"), _slots(document.get("slots", ()))
                if with_slots:
                    parts += _slot_parts(agent, header, slots, first, end)
                else:
                    parts.append(Part(agent, None, document["total"], tuple(enumerate(document["by_hour"]))))
        return parts if self._still_hold(application, by_number) else None

    def _figures(
        self, application: str, agent_id: str | None, numbers: Sequence[int], *, with_slots: bool
    ) -> Iterator[Document]:
        if not numbers:
            return iter(())
        condition: Document = {"application": {"$eq": application}, "day": {"$gte": min(numbers), "$lte": max(numbers)}}
        if len(numbers) <= max(numbers) - min(numbers):
            condition["day"] = {"$in": sorted(numbers)}
        if agent_id is not None:
            condition["agent_id"] = {"$eq": agent_id}
        fields = None if with_slots else {"slots": 0}
        index = "day" if agent_id is None else "agent"
        return iter(self._database.figures.find(condition, fields).hint(index))

    def _still_hold(self, application: str, headers: Mapping[int, _Header]) -> bool:
        if not headers:
            return True
        condition = {"application": {"$eq": application}, "day": {"$gte": min(headers), "$lte": max(headers)}}
        found = self._database.days.find(condition, {"day": 1, "edition": 1}).hint("day")
        editions = {document["day"]: document.get("edition") for document in found}
        return all(editions.get(number) == header.edition for number, header in headers.items())

    # --- counting --------------------------------------------------------------------------------------------------

    def _refresh(self, application: str, first: int, end: int | None) -> int:
        """Count what is settled and not counted yet, between two slots; gives the first slot that is not settled."""
        now = self._clock()
        settled = slot_number(now - SETTLING)
        last = settled if end is None else min(settled, end)
        if last <= first:
            return settled
        days = range(first // SLOTS_A_DAY, (last - 1) // SLOTS_A_DAY + 1)
        condition = {"application": {"$eq": application}, "day": {"$gte": days.start, "$lt": days.stop}}
        with self._database.calling():
            known = self._known(application)
            headers = {header.number: header for header in self._found(condition, by_slot=False)}
        for header in headers.values():
            if header.uncounted(settled, now):
                self._count(application, header, settled, now)
        for number in self._new_days(application, range(max(days.start, known), days.stop), headers):
            self._count(application, _unknown(number), settled, now)
        # A day is known once no slot of it can be written to without a mark.
        before = min(days.stop, settled // SLOTS_A_DAY)
        if days.start <= known < before:
            with self._database.calling():
                self._set_known(application, before)
        return settled

    def _set_known(self, application: str, before: int) -> None:
        name = {"_id": _known_id(application)}
        try:
            self._database.meta.update_one(name, {"$max": {"before": before}}, upsert=True)
        except DuplicateKeyError:
            self._database.meta.update_one(name, {"$max": {"before": before}})

    def _new_days(self, application: str, days: range, headers: Collection[int]) -> Iterator[int]:
        """The days that have feedback and no document, found by leaping from day to day."""
        number = days.start
        while number < days.stop:
            if number in headers:
                number += 1
                continue
            span = moments(slot_start(number * SLOTS_A_DAY), slot_start(days.stop * SLOTS_A_DAY))
            with self._database.calling():
                found = list(
                    self._database.feedback.find({"application": {"$eq": application}, "created_at": span}, {"slot": 1})
                    .sort([("created_at", 1), ("created_us", 1), ("id", 1)])
                    .hint("time")
                    .limit(1)
                )
            if not found:
                return
            number = found[0]["slot"] // SLOTS_A_DAY
            if number not in headers:
                yield number
            number += 1

    def _count(self, application: str, header: _Header, settled: int, now: datetime) -> None:
        """Publish an edition of a day in which nothing is missing that can be counted now."""
        with self._database.calling():
            kept = self._kept(application, header)
            uncounted = header.uncounted(settled, now)
            until = max(header.until, _within_day(settled - header.first))
            dirty = header.dirty if header.open_at(now) else frozenset[int]()
            if kept is None:
                kept, uncounted = {}, frozenset(range(until)) - dirty
            rows = _joined(kept, self._rows(application, header.first, uncounted))
            self._publish(application, header, rows, until, dirty)

    def _kept(self, application: str, header: _Header) -> _Rows | None:
        """What the edition of a day counts and holds; nothing, if a part of it is gone."""
        if header.edition is None:
            return None
        found = [
            document
            for document in self._figures(application, None, [header.number], with_slots=True)
            if document["edition"] == header.edition
        ]
        if len(found) != header.agents:
            return None
        return {
            document.get("agent_id"): {
                slot: counts for slot, counts in _slots(document["slots"]).items() if slot not in header.dirty
            }
            for document in found
        }

    def _rows(self, application: str, first: int, slots: Collection[int]) -> _Rows:
        """The figures of some slots of a day, from the feedback."""
        if not slots:
            return {}
        plain = where(FeedbackQuery(application=application))
        spans = _spans(first + slot for slot in slots)
        ways = [{**plain, "created_at": moments(slot_start(span.first), slot_start(span.end or 0))} for span in spans]
        group = {"_id": {"agent_id": "$agent_id", "slot": "$slot"}, **SUMS}
        found = self._database.feedback.aggregate([{"$match": {"$or": ways}}, {"$group": group}], hint="time")
        rows: defaultdict[str | None, dict[int, Counts]] = defaultdict(dict)
        for document in found:
            rows[document["_id"].get("agent_id")][document["_id"]["slot"] - first] = counts_of(document)
        return rows

    def _publish(self, application: str, header: _Header, rows: _Rows, until: int, dirty: frozenset[int]) -> bool:
        """Make these the figures of a day, unless anything was marked since its document was read."""
        edition = uuid4().hex
        day = {"application": application, "day": header.number}
        figures = [
            {**day, "edition": edition, "agent_id": agent_id, **_figures_of(slots)}
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
            **_figures_of(_over_agents(rows)),
        }
        published = self._replace(application, header, content)
        outdated = {"$ne": edition} if published else {"$eq": edition}
        self._database.figures.delete_many({**day, "edition": outdated})
        return published

    def _replace(self, application: str, header: _Header, content: Document) -> bool:
        name = _id(application, header.number)
        if header.generation == 0:
            try:
                self._database.days.insert_one(
                    {"_id": name, "application": application, "day": header.number, "generation": 1, **content}
                )
            except DuplicateKeyError:
                return False
            return True
        unchanged = {"_id": name, "generation": header.generation}
        return bool(
            self._database.days.update_one(unchanged, {"$set": content, "$inc": {"generation": 1}}).matched_count
        )

    # --- rebuilding ------------------------------------------------------------------------------------------------

    def _rebuild(self, application: str) -> Iterator[str]:
        now = self._clock()
        settled = slot_number(now - SETTLING)
        days = range(settled // SLOTS_A_DAY + 1)
        with self._database.calling():
            known = self._known(application)
            headers = {
                header.number: header for header in self._found({"application": {"$eq": application}}, by_slot=True)
            }
        for number in self._new_days(application, days, headers):
            if number < known:
                yield f"{_called(application, number)} had no figures, but feedback"
            self._count(application, _unknown(number), settled, now)
        for header in headers.values():
            if header.edition is not None and self._differs(application, header):
                yield f"{_called(application, header.number)} had figures that differ from its feedback"

    def _differs(self, application: str, header: _Header) -> bool:
        """Whether a day's edition says something else than its feedback; then there is a new one."""
        with self._database.calling():
            covered = frozenset(header.covered)
            counted = self._rows(application, header.first, covered)
            kept = self._kept(application, header)
            total = {slot: counts for slot, counts in header.slots.items() if slot in covered}
            sums = _figures_of(header.slots)
            holds = (
                kept is not None
                and _plain(kept) == _plain(counted)
                and _plain({None: total}) == _plain({None: _over_agents(counted)})
                and (list(header.total), list(header.by_hour)) == (sums["total"], sums["by_hour"])
            )
            if holds:
                return False
            return self._publish(application, header, counted, header.until, header.dirty)


def _id(application: str, day: int) -> Document:
    return {"application": application, "day": day}


def _known_id(application: str) -> Document:
    return {"known": application}


def _called(application: str, day: int) -> str:
    return f"{slot_start(day * SLOTS_A_DAY):%Y-%m-%d} of application {application!r}"


def _unknown(number: int) -> _Header:
    return _Header.of({"day": number, "generation": 0})


def _within_day(slots: int) -> int:
    return max(0, min(SLOTS_A_DAY, slots))


def _change(slots: frozenset[int], until: datetime) -> Document:
    return {
        "$inc": {"generation": 1},
        "$addToSet": {"dirty": {"$each": sorted(slots)}},
        "$max": {"open_until": milliseconds(until)},
    }


def _by_day(places: Iterable[tuple[str, datetime]]) -> dict[_Day, frozenset[int]]:
    """The slots of each day that these lie in; all of them, where these are many."""
    days: defaultdict[_Day, list[int]] = defaultdict(list)
    for application, moment in places:
        number, slot = divmod(slot_number(moment), SLOTS_A_DAY)
        days[application, number].append(slot)
    return {day: _WHOLE_DAY if len(slots) >= _MANY_MOMENTS else frozenset(slots) for day, slots in days.items()}


def _slots(rows: Iterable[Sequence[int]]) -> dict[int, Counts]:
    """Slots of a day as they are kept: a list for each, the slot first."""
    return {slot: counts for slot, *counts in rows}


def _figures_of(slots: Mapping[int, Counts]) -> Document:
    by_hour = [0] * HOURS_A_DAY
    for slot, counts in slots.items():
        by_hour[slot // 4] += total_of(counts)
    return {
        "total": all_of(slots.values()),
        "by_hour": by_hour,
        "slots": [[slot, *counts] for slot, counts in sorted(slots.items())],
    }


def _over_agents(rows: _Rows) -> dict[int, Counts]:
    slots: defaultdict[int, list[Counts]] = defaultdict(list)
    for by_slot in rows.values():
        for slot, counts in by_slot.items():
            slots[slot].append(counts)
    return {slot: all_of(parts) for slot, parts in slots.items()}


def _joined(some: _Rows, more: _Rows) -> _Rows:
    """Rows of different slots."""
    return {agent_id: {**some.get(agent_id, {}), **more.get(agent_id, {})} for agent_id in {**some, **more}}


def _plain(rows: _Rows) -> dict[Any, Any]:
    """For comparing: without what is empty."""
    return {agent: {slot: list(counts) for slot, counts in slots.items()} for agent, slots in rows.items() if slots}


def _parts(headers: Iterable[_Header], first: int, end: int | None, *, by_slot: bool) -> list[Part]:
    parts: list[Part] = []
    for header in headers:
        if header.edition is None:
            continue
        if not by_slot and header.whole_within(first, end):
            parts.append(Part(None, None, header.total, tuple(enumerate(header.by_hour))))
        else:
            parts += _slot_parts(None, header, header.slots, first, end)
    return parts


def _slot_parts(
    agent_id: str | None, header: _Header, slots: Mapping[int, Counts], first: int, end: int | None
) -> Iterator[Part]:
    for slot, counts in slots.items():
        number = header.first + slot
        if slot not in header.dirty and first <= number and (end is None or number < end):
            yield Part(agent_id, number, counts, ((slot // 4, total_of(counts)),))


def _missing(headers: Sequence[_Header], first: int, end: int | None, known: int) -> list[Span]:
    """The spans that no day document covers; before ``known``, a day without a document has no feedback."""
    spans: list[Span] = []
    position = first
    for header in headers:
        spans += _span(max(position, known), header.first)
        uncovered = set(range(SLOTS_A_DAY)) - set(header.covered)
        inside = (header.first + slot for slot in uncovered)
        spans += _spans(slot for slot in inside if first <= slot and (end is None or slot < end))
        position = max(first, header.first + SLOTS_A_DAY)
    position = max(position, known)
    if end is None:
        spans.append(Span(position, None))
    else:
        spans += _span(position, end)
    return _merged(spans)


def _span(first: int, end: int) -> list[Span]:
    return [Span(first, end)] if first < end else []


def _spans(slots: Iterable[int]) -> list[Span]:
    """Slots as spans of those that follow each other."""
    runs = groupby(enumerate(sorted(slots)), key=lambda pair: pair[1] - pair[0])
    found = ([slot for _, slot in run] for _, run in runs)
    return [Span(run[0], run[-1] + 1) for run in found]


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].end == span.first:
            merged[-1] = Span(merged[-1].first, span.end)
        else:
            merged.append(span)
    return merged

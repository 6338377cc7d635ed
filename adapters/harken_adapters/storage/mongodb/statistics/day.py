"""What a day document says, as values: which edition of the day's figures holds, and for which of its slots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from attrs import field, frozen

from harken.domain.instants import slot_number
from harken_adapters.storage.mongodb.documents import Document, milliseconds
from harken_adapters.storage.mongodb.statistics.sums import HOURS_A_DAY, Counts, all_of, total_of

SLOTS_AN_HOUR: Final = 4
SLOTS_A_DAY: Final = SLOTS_AN_HOUR * HOURS_A_DAY

#: So long after its end a slot is settled: no write to it that began without a mark is still under way.
SETTLING: Final = timedelta(minutes=10)

#: By agent and slot of the day.
Rows = Mapping[str | None, Mapping[int, Counts]]


@frozen
class Horizon:
    """The time now, and the first slot that is not settled by then."""

    now: datetime
    slot: int

    @classmethod
    def at(cls, now: datetime) -> Horizon:
        """What is settled at that time."""
        return cls(now, slot_number(now - SETTLING))


@frozen
class Span:
    """Slots that follow each other, ``end`` not included; without an end, all that come."""

    first: int
    end: int | None

    def __contains__(self, slot: int) -> bool:
        return self.first <= slot and (self.end is None or slot < self.end)

    def days(self, horizon: Horizon) -> range:
        """The days that its settled slots lie in."""
        end = horizon.slot if self.end is None else min(horizon.slot, self.end)
        if end <= self.first:
            return range(0)
        return range(self.first // SLOTS_A_DAY, (end - 1) // SLOTS_A_DAY + 1)


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
class Header:
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
    terms: bytes | None = field(default=None, repr=False)
    tokenizer: int = 0

    @classmethod
    def of(cls, document: Document) -> Header:
        """What the document of a day says; a mark may have made it before anybody counted."""
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
            slots=slots_of(get("slots", ())),
            terms=get("terms"),
            tokenizer=get("tokenizer", 0),
        )

    @classmethod
    def new(cls, number: int) -> Header:
        """Of a day that has no document yet."""
        return cls.of({"day": number, "generation": 0})

    @property
    def first(self) -> int:
        """Its first slot."""
        return self.number * SLOTS_A_DAY

    @property
    def covered(self) -> Iterator[int]:
        """The slots of the day that its edition counts, and that nothing has changed since."""
        return (slot for slot in range(self.until) if slot not in self.dirty)

    def settled_whole(self, now: datetime) -> bool:
        """Whether its edition counts the whole day, and no write to the day may be under way."""
        return self.until == SLOTS_A_DAY and not self.dirty and not self.open_at(now)

    def whole_within(self, span: Span) -> bool:
        """Whether all that its edition counts holds, and lies in a span."""
        inside = span.first <= self.first and (span.end is None or self.first + self.until <= span.end)
        return inside and not any(slot < self.until for slot in self.dirty)

    def open_at(self, now: datetime) -> bool:
        """Whether a write to its dirty slots may still be under way."""
        return self.open_until is not None and self.open_until > milliseconds(now)

    def settled(self, horizon: Horizon) -> int:
        """How many of its slots can be counted, from the first on; never fewer than there were."""
        return max(self.until, min(SLOTS_A_DAY, horizon.slot - self.first))

    def uncounted(self, horizon: Horizon) -> frozenset[int]:
        """The slots of the day that can be counted now, and have to be."""
        settled = self.settled(horizon)
        new = frozenset(range(self.until, settled))
        if self.open_at(horizon.now):
            return new - self.dirty
        return new | {slot for slot in self.dirty if slot < settled}


def slots_of(rows: Iterable[Sequence[int]]) -> dict[int, Counts]:
    """Slots of a day as they are kept: a list for each, the slot first."""
    return {slot: counts for slot, *counts in rows}


def figures_of(slots: Mapping[int, Counts]) -> Document:
    """The figures of a day as they are kept: in all, by UTC hour of day, and by slot."""
    by_hour = [0] * HOURS_A_DAY
    for slot, counts in slots.items():
        by_hour[slot // SLOTS_AN_HOUR] += total_of(counts)
    return {
        "total": all_of(slots.values()),
        "by_hour": by_hour,
        "slots": [[slot, *counts] for slot, counts in sorted(slots.items())],
    }


def over_agents(rows: Rows) -> dict[int, Counts]:
    """The same slots, of all agents together."""
    slots: defaultdict[int, list[Counts]] = defaultdict(list)
    for by_slot in rows.values():
        for slot, counts in by_slot.items():
            slots[slot].append(counts)
    return {slot: all_of(parts) for slot, parts in slots.items()}


def joined(some: Rows, more: Rows) -> Rows:
    """The rows of different slots in one."""
    return {agent_id: {**some.get(agent_id, {}), **more.get(agent_id, {})} for agent_id in {**some, **more}}


def comparable(rows: Rows) -> Rows:
    """The same without agents that have nothing."""
    return {agent: {slot: list(counts) for slot, counts in slots.items()} for agent, slots in rows.items() if slots}


def parts_of(headers: Iterable[Header], span: Span, *, by_slot: bool) -> list[Part]:
    """What days say of all agents together."""
    parts: list[Part] = []
    for header in headers:
        if header.edition is None:
            continue
        if not by_slot and header.whole_within(span):
            parts.append(Part(None, None, header.total, tuple(enumerate(header.by_hour))))
        else:
            parts += slot_parts(None, header, header.slots, span)
    return parts


def slot_parts(agent_id: str | None, header: Header, slots: Mapping[int, Counts], span: Span) -> Iterator[Part]:
    """What a day's edition says of single slots, as far as it holds and is asked for."""
    for slot, counts in slots.items():
        if slot not in header.dirty and header.first + slot in span:
            yield Part(agent_id, header.first + slot, counts, ((slot // SLOTS_AN_HOUR, total_of(counts)),))


def missing(headers: Sequence[Header], span: Span, known: int) -> list[Span]:
    """What of a span no day covers; before the slot ``known``, a day without a document has no feedback."""
    spans: list[Span] = []
    position = span.first
    for header in headers:
        if max(position, known) < header.first:
            spans.append(Span(max(position, known), header.first))
        uncovered = set(range(SLOTS_A_DAY)) - set(header.covered)
        spans += spans_of(slot for slot in (header.first + slot for slot in uncovered) if slot in span)
        position = max(position, header.first + SLOTS_A_DAY)
    position = max(position, known)
    if span.end is None or position < span.end:
        spans.append(Span(position, span.end))
    return _merged(spans)


def spans_of(slots: Iterable[int]) -> list[Span]:
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

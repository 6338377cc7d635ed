"""The content of day documents: the valid edition of a day's statistics, and the slots that it covers."""

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

#: How long after its end a slot is settled: every write to it that began without a mark has finished.
SETTLING: Final = timedelta(minutes=10)

#: By agent and slot of the day.
Rows = Mapping[str | None, Mapping[int, Counts]]


@frozen
class Horizon:
    """The current time, and the first slot that is not settled."""

    now: datetime
    slot: int

    @classmethod
    def at(cls, now: datetime) -> Horizon:
        """Return the horizon at this time."""
        return cls(now, slot_number(now - SETTLING))


@frozen
class Span:
    """Consecutive slots from ``first`` to ``end`` (exclusive); without an end, all later slots."""

    first: int
    end: int | None

    def __contains__(self, slot: int) -> bool:
        return self.first <= slot and (self.end is None or slot < self.end)

    def days(self, horizon: Horizon) -> range:
        """Return the days that contain its settled slots."""
        end = horizon.slot if self.end is None else min(horizon.slot, self.end)
        if end <= self.first:
            return range(0)
        return range(self.first // SLOTS_A_DAY, (end - 1) // SLOTS_A_DAY + 1)


@frozen
class Part:
    """Counts of one agent, or of all or feedback without one (``None``), and of one slot, or of many (``None``)."""

    agent_id: str | None
    slot: int | None
    counts: Counts
    by_hour: Iterable[tuple[int, int]]


@frozen
class Counted:
    """The counts of day documents, and the slots that they do not cover."""

    parts: Sequence[Part]
    missing: Sequence[Span]


@frozen
class Header:
    """The document of a day: its valid edition, and the slots that it covers."""

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
    published: int = 0
    terms: bytes | None = field(default=None, repr=False)
    terms_marks: int = 0
    tokenizer: int = 0

    @classmethod
    def of(cls, document: Document) -> Header:
        """Return the header of a day's document, which a mark may have created before the day was counted."""
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
            published=get("published", 0),
            terms=get("terms"),
            terms_marks=get("terms_marks", 0),
            tokenizer=get("tokenizer", 0),
        )

    @classmethod
    def new(cls, number: int) -> Header:
        """Return the header of a day without a document."""
        return cls.of({"day": number, "generation": 0})

    @property
    def first(self) -> int:
        """The first slot of the day."""
        return self.number * SLOTS_A_DAY

    @property
    def marks(self) -> int:
        """Changes with each mark: what the generation counts beside the published editions."""
        return self.generation - self.published

    @property
    def covered(self) -> Iterator[int]:
        """Yield the slots that the edition covers and that have not been changed since."""
        return (slot for slot in range(self.until) if slot not in self.dirty)

    def settled_whole(self, now: datetime) -> bool:
        """Whether its edition counts the whole day, and no write to the day may be under way."""
        return self.until == SLOTS_A_DAY and not self.dirty and not self.open_at(now)

    def whole_within(self, span: Span) -> bool:
        """Whether the whole edition is valid and lies within the span."""
        inside = span.first <= self.first and (span.end is None or self.first + self.until <= span.end)
        return inside and not any(slot < self.until for slot in self.dirty)

    def open_at(self, now: datetime) -> bool:
        """Whether a write to the dirty slots may still be in progress."""
        return self.open_until is not None and self.open_until > milliseconds(now)

    def settled(self, horizon: Horizon) -> int:
        """Return how many slots from the first on can be counted; never fewer than before."""
        return max(self.until, min(SLOTS_A_DAY, horizon.slot - self.first))

    def uncounted(self, horizon: Horizon) -> frozenset[int]:
        """Return the slots of the day that can and must be counted now."""
        settled = self.settled(horizon)
        new = frozenset(range(self.until, settled))
        if self.open_at(horizon.now):
            return new - self.dirty
        return new | {slot for slot in self.dirty if slot < settled}


def slots_of(rows: Iterable[Sequence[int]]) -> dict[int, Counts]:
    """Parse the stored slots of a day: one list per slot, which begins with the slot."""
    return {slot: counts for slot, *counts in rows}


def statistics_of(slots: Mapping[int, Counts]) -> Document:
    """Return the stored form of a day's statistics: total, by UTC hour of day, and by slot."""
    by_hour = [0] * HOURS_A_DAY
    for slot, counts in slots.items():
        by_hour[slot // SLOTS_AN_HOUR] += total_of(counts)
    return {
        "total": all_of(slots.values()),
        "by_hour": by_hour,
        "slots": [[slot, *counts] for slot, counts in sorted(slots.items())],
    }


def over_agents(rows: Rows) -> dict[int, Counts]:
    """Return the counts of the same slots over all agents."""
    slots: defaultdict[int, list[Counts]] = defaultdict(list)
    for by_slot in rows.values():
        for slot, counts in by_slot.items():
            slots[slot].append(counts)
    return {slot: all_of(parts) for slot, parts in slots.items()}


def join_rows(some: Rows, more: Rows) -> Rows:
    """Merge rows of different slots."""
    return {agent_id: {**some.get(agent_id, {}), **more.get(agent_id, {})} for agent_id in {**some, **more}}


def comparable(rows: Rows) -> Rows:
    """Return the rows without agents that have no counts."""
    return {agent: {slot: list(counts) for slot, counts in slots.items()} for agent, slots in rows.items() if slots}


def parts_of(headers: Iterable[Header], span: Span, *, by_slot: bool) -> list[Part]:
    """Return the counts of the days over all agents."""
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
    """Yield the valid counts of a day's edition for single slots within the span."""
    for slot, counts in slots.items():
        if slot not in header.dirty and header.first + slot in span:
            yield Part(agent_id, header.first + slot, counts, ((slot // SLOTS_AN_HOUR, total_of(counts)),))


def missing(headers: Sequence[Header], span: Span, known: int) -> list[Span]:
    """Return the parts of the span that no day covers. Days without a document before ``known`` have no feedback."""
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
    return _merge(spans)


def spans_of(slots: Iterable[int]) -> list[Span]:
    """Group consecutive slots into spans."""
    runs = groupby(enumerate(sorted(slots)), key=lambda pair: pair[1] - pair[0])
    found = ([slot for _, slot in run] for _, run in runs)
    return [Span(run[0], run[-1] + 1) for run in found]


def _merge(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].end == span.first:
            merged[-1] = Span(merged[-1].first, span.end)
        else:
            merged.append(span)
    return merged

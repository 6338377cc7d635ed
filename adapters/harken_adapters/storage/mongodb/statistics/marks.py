"""Marks: notify all processes that old feedback is being changed, before and after the change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from pymongo.errors import BulkWriteError, DuplicateKeyError

from harken.domain.instants import slot_number, slot_start, to_microseconds
from harken.ports.time import Clock
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, milliseconds
from harken_adapters.storage.mongodb.errors import only_duplicate_keys
from harken_adapters.storage.mongodb.statistics.day import SETTLING, SLOTS_A_DAY

#: Feedback of these last minutes is in no settled slot, even by a clock that is slightly ahead at the end of the write,
#: and needs no mark.
RECENT: Final = SETTLING / 2
#: How long a slot stays dirty after the write that marked it.
OPEN: Final = timedelta(minutes=2)
#: A mark with this remaining time serves another write. A write that takes longer marks again at its end.
_SPARE: Final = timedelta(minutes=1)

#: With this many times in one day, or this many days at once, whole days are marked, which takes fewer marks.
_MANY_MOMENTS: Final = 100
_MANY_DAYS: Final = 16
_WHOLE_DAY: Final = frozenset(range(SLOTS_A_DAY))
_REMEMBERED: Final = 10_000
_TOGETHER: Final = 100

_Day = tuple[str, int]


class Marks:
    """Marks the slots that a write changes in the documents of their days."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._days = database.days
        self._segments = database.comment_segments
        self._clock = clock
        #: By day, the slots that this process has marked, and the end of the mark.
        self._marked: dict[_Day, tuple[frozenset[int], datetime]] = {}

    @contextmanager
    def changing(self, places: Collection[tuple[str, datetime]]) -> Iterator[None]:
        """A context for a write to feedback of these applications and creation times."""
        began = self._clock()
        recent = began - RECENT
        if old := [place for place in places if place[1] < recent]:
            self._mark(_by_day(old), began)
        try:
            yield
        finally:
            ended = self._clock()
            if ended - began > _SPARE:
                # Another process may have counted without the change meanwhile.
                self._marked.clear()
                self._mark(_by_day(places), ended)

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
                self._mark_slots(day, slots, until)
        self._drop_segments(marks)
        if len(self._marked) > _REMEMBERED:
            self._marked.clear()
        self._marked.update((day, (slots, until)) for day, slots in marks.items())

    def _drop_segments(self, marks: Mapping[_Day, frozenset[int]]) -> None:
        """Remove the segments of the search index that cover marked slots. While the mark is open, none is added."""
        covering = [
            {
                "application": {"$eq": application},
                "since": {"$lt": to_microseconds(slot_start(number * SLOTS_A_DAY + max(slots) + 1))},
                "until": {"$gt": to_microseconds(slot_start(number * SLOTS_A_DAY + min(slots)))},
            }
            for (application, number), slots in marks.items()
        ]
        for start in range(0, len(covering), _TOGETHER):
            self._segments.delete_many({"$or": covering[start : start + _TOGETHER]})

    def _is_marked(self, day: _Day, slots: frozenset[int], now: datetime) -> bool:
        marked, until = self._marked.get(day, (frozenset(), now))
        return slots <= marked and until - now >= _SPARE

    def _mark_slots(self, day: _Day, slots: frozenset[int], until: datetime) -> None:
        name = {"_id": day_id(*day)}
        change = {**_mark(slots, until), "$setOnInsert": {"application": day[0], "day": day[1]}}
        try:
            self._days.update_one(name, change, upsert=True)
        except DuplicateKeyError:
            # Another process has just created it.
            self._days.update_one(name, change)

    def _mark_whole(self, days: Sequence[_Day], until: datetime) -> None:
        content = {"generation": 1, "dirty": sorted(_WHOLE_DAY), "open_until": milliseconds(until)}
        new = [
            {"_id": day_id(application, number), "application": application, "day": number, **content}
            for application, number in days
        ]
        try:
            self._days.insert_many(new, ordered=False)
        except BulkWriteError as error:
            there = [new[index]["_id"] for index in only_duplicate_keys(error)]
            self._days.update_many({"_id": {"$in": there}}, _mark(_WHOLE_DAY, until))


def day_id(application: str, day: int) -> Document:
    """Return the ``_id`` of a day's document. The order of its fields is significant."""
    return {"application": application, "day": day}


def _mark(slots: frozenset[int], until: datetime) -> Document:
    return {
        "$inc": {"generation": 1},
        "$addToSet": {"dirty": {"$each": sorted(slots)}},
        "$max": {"open_until": milliseconds(until)},
        "$unset": {"terms": ""},
    }


def _by_day(places: Iterable[tuple[str, datetime]]) -> dict[_Day, frozenset[int]]:
    """Return the slots of each day that contain these times; all slots of a day if there are many."""
    days: defaultdict[_Day, list[int]] = defaultdict(list)
    for application, moment in places:
        number, slot = divmod(slot_number(moment), SLOTS_A_DAY)
        days[application, number].append(slot)
    return {day: _WHOLE_DAY if len(slots) >= _MANY_MOMENTS else frozenset(slots) for day, slots in days.items()}

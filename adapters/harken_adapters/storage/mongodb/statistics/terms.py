"""Counts of terms in MongoDB: of each settled day in the day's document, and of the rest from the feedback itself.

A mark removes the counts of a day before anything of that day is changed or erased. They are published only if the
day's document is as it was when counting began, and no write to the day may be under way.

Each process keeps what it has counted, so that a reading fetches only the documents that changed and the newest
feedback. What it keeps of a day is valid while the day is not marked, as slots that a day covers only change after a
mark. What no day covers is fetched at each reading, and compared with what was fetched before.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import Factory, frozen
from bson import Binary

from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts, TermTally
from harken.domain.query import FeedbackQuery
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, decode_content
from harken_adapters.storage.mongodb.statistics.day import Header, Span, spans_of
from harken_adapters.storage.mongodb.statistics.editions import Editions, day_name, spans_condition
from harken_adapters.storage.mongodb.statistics.marks import day_id
from harken_adapters.storage.term_counts import dump_counts, have_counts, load_counts

if TYPE_CHECKING:
    from pymongo.cursor import Cursor

_FIELDS: Final = ("rating", "comment", "polarity", "subjectivity")
_PROJECTION: Final = {"_id": 0, **dict.fromkeys(_FIELDS, 1)}
_WITH_TERMS: Final = dict.fromkeys(("day", "generation", "published", "terms", "terms_marks", "tokenizer"), 1)
_CHUNK: Final = 1_000
#: How many days are fetched at once; the terms of a busy day are a megabyte.
_DAYS: Final = 16
#: In bytes. The server refuses documents of more than 16 MiB; a day with more words is counted by each process.
_MOST: Final = 12 << 20
#: Of how many applications a process keeps the counts. Those of 100,000 comments take about 30 MB.
_APPLICATIONS: Final = 4
#: How many characters of comments that no day covers a process keeps of each of them: 100,000 comments like tweets.
_NEWER: Final = 20_000_000
#: What a kept comment takes beside its characters.
_OVERHEAD: Final = 100

#: The values of ``_FIELDS``.
_Row = tuple[object, ...]


@frozen
class _Day:
    """The counts of the slots that a day covers."""

    marks: int
    slots: frozenset[int]
    content: bytes

    def counts_all_of(self, header: Header) -> bool:
        """Whether it is valid, and the day covers nothing else now."""
        return self.marks == header.marks and self.slots == frozenset(header.covered)

    def counts_some_of(self, header: Header) -> bool:
        """Whether it is valid, although the day may cover more now."""
        return self.marks == header.marks and self.slots.issubset(header.covered)


@frozen
class _Known:
    """What a process has counted of one application.

    Attributes:
        days: by number.
        counts: the sum of the days.
        rows: the comments that no day covers.
        newer: the counts of these.
    """

    days: Mapping[int, _Day] = Factory(dict)
    counts: TermCounts = Factory(TermCounts)
    rows: Counter[_Row] = Factory(Counter)
    newer: TermCounts = Factory(TermCounts)


class DailyTerms:
    """Reads the counts of terms, and stores those of days that lack them."""

    def __init__(self, database: Database, days: Editions, clock: Clock) -> None:
        self._database = database
        self._days = days
        self._clock = clock
        #: Held for moments only, never during a call.
        self._lock = ForkSafeLock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def read(self, application: str) -> TermCounts:
        """The counts of all counted feedback of an application."""
        before = self._known.get(application)
        headers, missing = self._days.days(application)
        days, counts = self._count_days(application, before or _Known(), headers)
        rows, newer, rest = self._count_newer(application, before or _Known(), missing)
        self._keep(application, before, _Known(days, counts, rows, newer))
        tally = TermTally(counts)
        tally.add_counts(newer)
        tally.add_counts(rest)
        return tally.counts

    def forget(self, application: str) -> None:
        """Drop what this process has counted, including what a reading in progress has counted."""
        with self._lock:
            self._put(application, _Known())

    def check(self) -> Sequence[str]:
        """Drop what this process has counted, so that the next readings show what is stored."""
        self._known = OrderedDict()
        return ()

    def rebuild(self) -> Iterator[str]:
        """Remove the counts that differ from a recount, and give a sentence for each day."""
        self.check()
        with self._database.reading():
            applications = sorted(self._database.days.distinct("application"))
        for application in applications:
            headers, _ = self._days.days(application)
            for header, stored in self._stored(application, headers):
                if self._correct(application, header, stored):
                    yield f"{day_name(application, header.number)} had counts of terms that differ from its feedback"

    def _correct(self, application: str, header: Header, stored: bytes | None) -> bool:
        """Make all processes count a day again if its counts are wrong or not stored; whether they were wrong."""
        if stored is not None:
            tally = TermTally()
            self._count(tally, application, _spans(header, frozenset(header.covered)))
            if have_counts(stored, tally.counts):
                return False
        again = {"$unset": {"terms": ""}, "$inc": {"generation": 1}}
        return self._update(application, header, again) and stored is not None

    def _keep(self, application: str, before: _Known | None, known: _Known) -> None:
        """Keep what was counted, unless it was dropped or counted by another thread since."""
        with self._lock:
            if self._known.get(application) is not before:
                return
            self._put(application, known)

    def _put(self, application: str, known: _Known) -> None:
        self._known[application] = known
        self._known.move_to_end(application)
        if len(self._known) > _APPLICATIONS:
            self._known.popitem(last=False)

    # --- days ------------------------------------------------------------------------------------------------------

    def _count_days(
        self, application: str, before: _Known, headers: Sequence[Header]
    ) -> tuple[Mapping[int, _Day], TermCounts]:
        """Return what the days cover, and its sum."""
        known = before.days
        same = {one.number for one in headers if one.number in known and known[one.number].counts_all_of(one)}
        days = {number: known[number] for number in same}
        changed = [one for one in headers if one.number not in same and next(one.covered, None) is not None]
        dropped = [day for number, day in known.items() if number not in same]
        if not changed and not dropped:
            return days, before.counts
        if len(dropped) > len(days):
            # Less is added than would be removed.
            tally = TermTally()
            _add(tally, days.values())
        else:
            tally = TermTally(before.counts)
            _add(tally, dropped, sign=-1)
        for header, stored in self._stored(application, changed):
            counts, content = self._of_day(application, known.get(header.number), header, stored)
            days[header.number] = _Day(header.marks, frozenset(header.covered), content)
            tally.add_counts(counts)
        return days, tally.counts

    def _stored(self, application: str, headers: Sequence[Header]) -> Iterator[tuple[Header, bytes | None]]:
        """Yield the days with their stored counts, if there are any for the day as it is in the header."""
        now = self._clock()
        for start in range(0, len(headers), _DAYS):
            some = headers[start : start + _DAYS]
            numbers = [header.number for header in some if header.settled_whole(now)]
            condition = {"application": {"$eq": application}, "day": {"$in": numbers}}
            with self._database.reading():
                documents = self._database.days.find(condition, _WITH_TERMS).hint("day")
                found = {document["day"]: Header.of(document) for document in documents}
            for header in some:
                document = found.get(header.number)
                yield header, document.terms if document and _is_usable(document, header) else None

    def _of_day(
        self, application: str, before: _Day | None, header: Header, stored: bytes | None
    ) -> tuple[TermCounts, bytes]:
        """Return the counts of what a day covers, and store them if that is the whole day."""
        if stored is not None:
            return load_counts(stored), stored
        slots, tally = frozenset(header.covered), TermTally()
        if before is not None and before.counts_some_of(header):
            slots -= before.slots
            _add(tally, [before])
        self._count(tally, application, _spans(header, slots))
        counts = tally.counts
        content = dump_counts(counts)
        if header.settled_whole(self._clock()) and len(content) <= _MOST:
            terms = {"terms": Binary(content), "terms_marks": header.marks, "tokenizer": TOKENIZER_VERSION}
            self._update(application, header, {"$set": terms})
        return counts, content

    def _update(self, application: str, header: Header, change: Document) -> bool:
        """Change the document of a day, unless it was changed since. Returns whether it was as before."""
        unchanged = {"_id": day_id(application, header.number), "generation": header.generation}
        with self._database.calling():
            return bool(self._database.days.update_one(unchanged, change).matched_count)

    # --- feedback --------------------------------------------------------------------------------------------------

    def _count_newer(
        self, application: str, before: _Known, missing: Sequence[Span]
    ) -> tuple[Counter[_Row], TermCounts, TermCounts]:
        """Return the comments that no day covers, their counts, and the counts of those that are too many to keep."""
        rows, rest, room = Counter[_Row](), TermTally(), _NEWER
        for document in self._find(application, missing):
            row = tuple(map(document.get, _FIELDS))
            if row not in rows and (room := room - len(document["comment"]) - _OVERHEAD) < 0:
                rest.add(decode_content(document))
            else:
                rows[row] += 1
        if len(before.rows - rows) > len(rows):
            # Less is added than would be removed.
            before = _Known()
        tally = TermTally(before.newer)
        for row in (rows - before.rows).elements():
            tally.add(decode_content(dict(zip(_FIELDS, row, strict=True))))
        for row in (before.rows - rows).elements():
            tally.add(decode_content(dict(zip(_FIELDS, row, strict=True))), sign=-1)
        return rows, tally.counts, rest.counts

    def _count(self, tally: TermTally, application: str, spans: Sequence[Span]) -> None:
        for document in self._find(application, spans):
            tally.add(decode_content(document))

    def _find(self, application: str, spans: Sequence[Span]) -> Iterator[Document]:
        """Yield the rated comments in these spans, by a query for a hundred of them at a time."""
        plain = FeedbackQuery(application=application)
        for start in range(0, len(spans), 100):
            within = spans_condition(plain, spans[start : start + 100])
            condition = {**within, "comment": {"$ne": ""}, "rating": {"$ne": None}}
            found = self._database.feedback.find(condition, _PROJECTION).hint("time").batch_size(_CHUNK)
            while chunk := self._next(found):
                yield from chunk

    def _next(self, found: Cursor[Document]) -> list[Document]:
        """The next documents. Each request has its own deadline, as counting a large day takes longer than one call."""
        with self._database.reading():
            return list(islice(found, _CHUNK))


def _is_usable(document: Header, header: Header) -> bool:
    """Whether the stored counts of a day are of this version of the tokenizer, and of the day in this state."""
    return document.tokenizer == TOKENIZER_VERSION and document.terms_marks == document.marks == header.marks


def _spans(header: Header, slots: frozenset[int]) -> list[Span]:
    return spans_of(header.first + slot for slot in slots)


def _add(tally: TermTally, days: Iterable[_Day], *, sign: int = 1) -> None:
    for day in days:
        tally.add_counts(load_counts(day.content), sign=sign)

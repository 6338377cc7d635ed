"""Counts of terms in MongoDB: of each settled day in the day's document, and of the rest from the feedback itself.

A mark removes the counts of a day before anything of that day is changed or erased. They are published only if the
day's document is as it was when counting began, and no write to the day may be under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from bson import Binary

from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts, TermTally
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import Document, decode_content
from harken_adapters.storage.mongodb.statistics.day import SLOTS_A_DAY, Header, Span
from harken_adapters.storage.mongodb.statistics.editions import Editions, day_name, spans_condition
from harken_adapters.storage.mongodb.statistics.marks import day_id
from harken_adapters.storage.term_counts import dump_counts, have_counts, load_counts

if TYPE_CHECKING:
    from pymongo.cursor import Cursor

_FIELDS: Final = {"_id": 0, "rating": 1, "comment": 1, "polarity": 1, "subjectivity": 1}
_CHUNK: Final = 1_000
#: In bytes. The server refuses documents of more than 16 MiB; a day with more words is counted at each reading.
_MOST: Final = 12 << 20


class DailyTerms:
    """Reads the counts of terms, and stores those of days that lack them."""

    def __init__(self, database: Database, days: Editions) -> None:
        self._database = database
        self._days = days

    def read(self, application: str) -> TermCounts:
        """The counts of all counted feedback of an application."""
        headers, missing = self._days.settled(application)
        tally = TermTally()
        for header in headers:
            tally.add_counts(self._of_day(application, header))
        for spans in _few(missing):
            self._count(tally, application, spans)
        return tally.counts

    def rebuild(self) -> Iterator[str]:
        """Remove the counts that differ from a recount, and give a sentence for each day."""
        with self._database.calling():
            applications = sorted(self._database.days.distinct("application"))
        for application in applications:
            headers, _ = self._days.settled(application)
            for header in headers:
                if self._is_wrong(application, header) and self._update(application, header, {"$unset": {"terms": ""}}):
                    yield f"{day_name(application, header.number)} had counts of terms that differ from its feedback"

    def _is_wrong(self, application: str, header: Header) -> bool:
        stored = _usable(header)
        return stored is not None and not have_counts(stored, self._recount(application, header))

    def _of_day(self, application: str, header: Header) -> TermCounts:
        if (stored := _usable(header)) is not None:
            return load_counts(stored)
        counts = self._recount(application, header)
        content = dump_counts(counts)
        if len(content) <= _MOST:
            changes = {"terms": Binary(content), "tokenizer": TOKENIZER_VERSION}
            self._update(application, header, {"$set": changes})
        return counts

    def _update(self, application: str, header: Header, change: Document) -> bool:
        """Change the document of a day, unless it was changed since. Returns whether it was as before."""
        unchanged = {"_id": day_id(application, header.number), "generation": header.generation}
        with self._database.calling():
            return bool(self._database.days.update_one(unchanged, change).matched_count)

    def _recount(self, application: str, header: Header) -> TermCounts:
        tally = TermTally()
        self._count(tally, application, [Span(header.first, header.first + SLOTS_A_DAY)])
        return tally.counts

    def _count(self, tally: TermTally, application: str, spans: Sequence[Span]) -> None:
        condition = spans_condition(FeedbackQuery(application=application), spans)
        found = self._database.feedback.find(condition, _FIELDS).hint("time").batch_size(_CHUNK)
        while chunk := self._next(found):
            for document in chunk:
                tally.add(decode_content(document))

    def _next(self, found: Cursor[Document]) -> list[Document]:
        """The next documents. Each request has its own deadline, as counting a large day takes longer than one call."""
        with self._database.calling():
            return list(islice(found, _CHUNK))


def _usable(header: Header) -> bytes | None:
    """The stored counts of a day, if they are of this version of the tokenizer."""
    return header.terms if header.tokenizer == TOKENIZER_VERSION else None


def _few(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Spans in groups that make short queries."""
    return (spans[start : start + 100] for start in range(0, len(spans), 100))

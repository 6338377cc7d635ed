"""Counts of terms in MongoDB: of each settled day in the day's document, and of the rest from the feedback itself.

A mark removes the counts of a day before anything of that day is changed or erased. They are published only if the
day's document is as it was when counting began, and no write to the day may be under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bson import Binary

from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts, TermTally
from harken.domain.query import FeedbackQuery
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import decode_content
from harken_adapters.storage.mongodb.statistics.day import SLOTS_A_DAY, Header, Span
from harken_adapters.storage.mongodb.statistics.editions import Editions, day_name, spans_condition
from harken_adapters.storage.mongodb.statistics.marks import day_id
from harken_adapters.storage.term_counts import dump_counts, have_counts, load_counts

_FIELDS: Final = {"_id": 0, "rating": 1, "comment": 1, "polarity": 1, "subjectivity": 1}
_CHUNK: Final = 1_000


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
                if header.terms is not None and not have_counts(header.terms, self._recount(application, header)):
                    self._remove(application, header)
                    yield f"{day_name(application, header.number)} had counts of terms that differ from its feedback"

    def _remove(self, application: str, header: Header) -> None:
        unchanged = {"_id": day_id(application, header.number), "generation": header.generation}
        with self._database.calling():
            self._database.days.update_one(unchanged, {"$unset": {"terms": ""}})

    def _of_day(self, application: str, header: Header) -> TermCounts:
        if header.terms is not None and header.tokenizer == TOKENIZER_VERSION:
            return load_counts(header.terms)
        counts = self._recount(application, header)
        unchanged = {"_id": day_id(application, header.number), "generation": header.generation}
        content = {"terms": Binary(dump_counts(counts)), "tokenizer": TOKENIZER_VERSION}
        with self._database.calling():
            self._database.days.update_one(unchanged, {"$set": content})
        return counts

    def _recount(self, application: str, header: Header) -> TermCounts:
        tally = TermTally()
        self._count(tally, application, [Span(header.first, header.first + SLOTS_A_DAY)])
        return tally.counts

    def _count(self, tally: TermTally, application: str, spans: Sequence[Span]) -> None:
        condition = spans_condition(FeedbackQuery(application=application), spans)
        with self._database.calling():
            for document in self._database.feedback.find(condition, _FIELDS).hint("time").batch_size(_CHUNK):
                tally.add(decode_content(document))


def _few(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """Spans in groups that make short queries."""
    return (spans[start : start + 100] for start in range(0, len(spans), 100))

"""The reasons that people chose for thumbs-down feedback, as issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from harken.domain.errors import InvalidQuery
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.issues import Examples, Issue, Issues, ReasonShares, directions
from harken.domain.insight.sampling import unnoticed
from harken.domain.query import MAX_PAGE, Cursor, Dimension, FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.services.finding import NEWEST
from harken.services.kept import Kept

MAX_REASONS: Final = 50
_BY_TAG: Final = GroupBy(Dimension.TAG)
#: How many new entries are added to earlier counts before all are counted again, with their design effects.
_MOST_ADDED: Final = 200


@frozen
class _Counted:
    """Counted reasons, the newest entry that was counted if more can be added, and the reasons with those added."""

    counted: ReasonShares
    newest: Cursor | None
    shares: ReasonShares


class ReasonService:
    """Counts reasons in the newest 20,000 thumbs-down entries of a selection."""

    def __init__(self, repository: FeedbackRepository, kept: Kept) -> None:
        self._repository = repository
        self._kept = kept

    def issues(
        self, query: FeedbackQuery, summary: Summary, before: FeedbackQuery, before_summary: Summary, *, limit: int
    ) -> Issues:
        """The most frequent reasons, with their changes and examples.

        Args:
            query: the selection; a filter on the rating is ignored.
            summary: its statistics, for any rating.
            before: the earlier selection.
            before_summary: its statistics.
            limit: how many reasons.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        if not 1 <= limit <= MAX_REASONS:
            raise InvalidQuery(f"limit must be from 1 to {MAX_REASONS}, got {limit}")
        after = self._shares(query, summary)
        changes = after.changes(self._shares(before, before_summary)) if before_summary.negative else {}
        moved = directions(changes)
        names = list(after.shares)[:limit]
        examples = self._kept.get(
            query,
            summary,
            ("examples of reasons", *names),
            lambda: self._examples(query, names),
            # A few entries later, they are still new.
            slack=min(summary.negative, NEWEST) // 100,
        )
        return Issues(
            tuple(
                Issue(name, after.shares[name], changes.get(name), moved.get(name, 0), examples.get(name))
                for name in names
            ),
            after.found,
            after.downs,
            is_complete=after.downs >= summary.negative,
        )

    def _shares(self, query: FeedbackQuery, summary: Summary) -> ReasonShares:
        if not summary.negative:
            return ReasonShares.of((), ())
        downs = evolve(query, rating=Rating.DOWN)
        counted = self._kept.get(
            query,
            summary,
            "reasons",
            lambda: self._count(downs),
            extend=lambda kept, added: self._extend(downs, kept, added),
        )
        return counted.shares

    def _count(self, downs: FeedbackQuery) -> _Counted:
        newest = self._newest(downs)
        shares = ReasonShares.of(
            self._repository.ratings_by_author(downs, limit=NEWEST),
            self._repository.ratings_by_author(downs, _BY_TAG, limit=NEWEST),
        )
        # Entries that arrive while counting would be counted again.
        return _Counted(shares, newest if newest == self._newest(downs) else None, shares)

    def _extend(self, downs: FeedbackQuery, counted: _Counted, added: Summary) -> _Counted | None:
        if not added.negative:
            return counted
        number = counted.shares.downs - counted.counted.downs + added.negative
        if counted.newest is None or number > _MOST_ADDED:
            return None
        page = self._repository.find(evolve(downs, since=counted.newest.created_at), limit=number + 1).items
        entries = [one for one in page if Cursor.of(one) > counted.newest]
        if len(entries) != number:
            # Some have an earlier time, or arrived since the statistics were read.
            return None
        known = counted.counted.shares
        added_tags = Counter(tag for one in entries for tag in one.tags)
        if any(times > (unnoticed(known[tag].count) if tag in known else 1) for tag, times in added_tags.items()):
            # They may all be of one author, which would change the design effects.
            return None
        return evolve(counted, shares=counted.counted.with_entries([one.tags for one in entries]))

    def _newest(self, downs: FeedbackQuery) -> Cursor | None:
        items = self._repository.find(downs, limit=1).items
        return Cursor.of(items[0]) if items else None

    def _examples(self, query: FeedbackQuery, reasons: Sequence[str]) -> dict[str, Feedback]:
        pool = self._repository.find(evolve(query, rating=Rating.DOWN), limit=MAX_PAGE).items
        examples = Examples(pool)
        found = {reason: examples.choose(one for one in pool if reason in one.tags) for reason in reasons}
        return {reason: example for reason, example in found.items() if example}

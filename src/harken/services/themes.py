"""Themes: what thumbs-down comments are about, and whether that changed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Final

from attrs import evolve, frozen

from harken.domain.errors import InvalidQuery
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.comparison import Proportion, ProportionChange, Verdict, decide_together
from harken.domain.insight.issues import Examples, Issue, Issues
from harken.domain.insight.sampling import design_effect
from harken.domain.insight.terms import TermCounts, TermTally, words
from harken.domain.insight.themes import Theme, discover, enough, frequent_words
from harken.domain.query import FeedbackQuery
from harken.ports.repository import FeedbackRepository
from harken.ports.text import ThemeNamer
from harken.ports.time import Clock
from harken.services.finding import NEWEST, newest_comments
from harken.services.forks import ForkSafeLock

logger = logging.getLogger(__name__)

MAX_THEMES: Final = 50
_MAX_NAME_LENGTH: Final = 100
_MAX_NAMES: Final = 10_000
#: How long no theme is named after an error, as the namer may be unavailable.
_PAUSE: Final = timedelta(minutes=1)
#: How long the theme is not named that caused the error, so that it does not prevent the naming of others.
_LONG_PAUSE: Final = timedelta(minutes=10)
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_START_OF_TIME: Final = datetime.min.replace(tzinfo=UTC)
#: The number of authors that a theme of an alert needs.
_MIN_AUTHORS: Final = 3
_VERDICTS: Final = {1: "more frequent", -1: "rarer", 0: Verdict.UNDECIDED.value}


@frozen
class FoundTheme:
    """A theme with its change and examples.

    Attributes:
        name: what the theme namer calls it, or its label.
        theme: the theme itself.
        change: the comments about the theme among all thumbs-down comments, in the previous period and in this one;
            decided among all themes. ``None`` without a previous period.
        examples: up to three comments by different authors, the most typical first.
    """

    name: str
    theme: Theme
    change: ProportionChange | None
    examples: tuple[Feedback, ...]

    @property
    def verdict(self) -> str | None:
        """``more frequent``, ``rarer`` or ``too close to tell``; ``None`` without a previous period."""
        return _VERDICTS[self.change.direction] if self.change else None

    @property
    def sentence(self) -> str | None:
        """The change in words, such as "more frequent by 4 to 9 points"; ``None`` without a previous period."""
        return self.change.describe(_VERDICTS[self.change.direction], "comments") if self.change else None


@frozen
class Themes:
    """The themes of a selection.

    Attributes:
        themes: the most important first.
        comments: the number of thumbs-down comments that were searched.
        is_enough: whether these were enough to find which words belong together. If not, themes are single words.
        tags: how many of these comments have each tag, the most frequent first: the reasons that submitters chose.
        frequent_words: words that are in more than a quarter of all thumbs-down comments of the selection, which is too
            many for a theme, and in how many.
    """

    themes: tuple[FoundTheme, ...]
    comments: int
    is_enough: bool
    tags: tuple[tuple[str, int], ...]
    frequent_words: tuple[tuple[str, int], ...] = ()


@frozen
class _Complaint:
    """The parts of a thumbs-down comment that themes are found in."""

    id: str
    author: str
    words: Sequence[str]


@frozen
class ThemeWindow:
    """The themes of a window, and their changes since earlier windows; see :attr:`FoundTheme.change`."""

    themes: tuple[tuple[Theme, ProportionChange], ...]
    _before: Sequence[_Complaint]
    _after: Sequence[_Complaint]

    def examples_of(self, label: str) -> tuple[str, ...]:
        """The ids of up to three comments in the window that have all words of a label."""
        wanted = frozenset(words(label))
        return tuple(islice((one.id for one in self._after if wanted.issubset(one.words)), 3))

    def change_of(self, label: str) -> ProportionChange:
        """The change of the share of comments that have all words of a label."""
        wanted = frozenset(words(label))
        before, after = (
            _proportion((one.author, wanted.issubset(one.words)) for one in side)
            for side in (self._before, self._after)
        )
        return ProportionChange(before, after)


@frozen
class _Name:
    """A name, empty for none, and until when it is used."""

    name: str
    until: datetime = _END_OF_TIME


class _Names:
    """Names themes, and remembers the names.

    A name is remembered for the words and comments that it was made from, and for no others. So no name is shown that
    comes from a comment that was since changed, withdrawn, rejected or erased, or that belongs to another selection.
    """

    def __init__(self, namer: ThemeNamer, *, clock: Clock) -> None:
        self._namer = namer
        self._clock = clock
        self._lock = ForkSafeLock()
        #: By a hash of the words and comments, so that no comment is kept here.
        self._known: dict[bytes, _Name] = {}
        self._paused_until = _START_OF_TIME

    def name(self, theme: Theme, comments: Sequence[str]) -> str:
        """The namer's name, or the label of the theme if the namer has none, fails or failed recently."""
        key = sha256(repr((theme.words, comments)).encode()).digest()
        known = self._known.get(key)
        now = self._clock()
        if known is None or now >= known.until:
            if now < self._paused_until:
                return theme.label
            known = self._ask(theme, comments)
            self._keep(key, known)
        return known.name or theme.label

    def _ask(self, theme: Theme, comments: Sequence[str]) -> _Name:
        try:
            name = " ".join(self._namer(theme.words, comments).split())
        except Exception:
            logger.exception("The theme namer failed on the theme %r", theme.label)
            now = self._clock()
            self._paused_until = now + _PAUSE
            return _Name("", until=now + _LONG_PAUSE)
        return _Name(name[:_MAX_NAME_LENGTH])

    def _keep(self, key: bytes, known: _Name) -> None:
        with self._lock:
            while len(self._known) >= _MAX_NAMES:
                del self._known[next(iter(self._known))]
            self._known[key] = known


class ThemeService:
    """Finds themes in the newest thumbs-down feedback of a selection."""

    def __init__(
        self,
        repository: FeedbackRepository,
        *,
        clock: Clock,
        stop_words: Callable[[], Collection[str]],
        namer: ThemeNamer | None = None,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._stop_words = stop_words
        self._names = _Names(namer, clock=clock) if namer else None

    def find(self, query: FeedbackQuery, *, limit: int = 15) -> Themes:
        """The themes of the matching thumbs-down comments, with their change since the previous period.

        The newest 20,000 thumbs-down comments are searched, among the newest 100,000 thumbs-down entries. A filter on
        the rating is ignored.

        Args:
            query: the selection. Without ``since`` there is no previous period.
            limit: the maximum number of themes.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        check_limit(limit)
        found, _ = self._find(query, query.previous_period(self._clock()), limit)
        return found

    def issues(self, query: FeedbackQuery, before: FeedbackQuery, *, limit: int) -> Issues:
        """The same themes as issues, the most frequent first, each with one new example.

        Args:
            query: the selection.
            before: the earlier selection.
            limit: the maximum number of themes.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        check_limit(limit)
        found, comments = self._find(query, before, limit)
        examples = Examples(comments)
        issues = []
        for one in sorted(found.themes, key=lambda one: (-one.theme.count, one.name)):
            share = one.change.after if one.change else Proportion(one.theme.count, found.comments)
            example = examples.choose(comment for comment in comments if comment.id in one.theme.comments)
            # Without earlier comments, there is nothing to compare with.
            change = one.change if one.change and one.change.before.total else None
            issues.append(Issue(one.name, share, change, change.direction if change else 0, example, one.theme.words))
        return Issues(tuple(issues), len(issues), found.comments, is_complete=found.comments < NEWEST)

    def _find(self, query: FeedbackQuery, before: FeedbackQuery | None, limit: int) -> tuple[Themes, list[Feedback]]:
        """The themes, and the comments that they were found in, the newest first."""
        feedback = self._negative(query)
        complaints = _complaints(feedback)
        counts, stop_words = self._counts(query), frozenset(self._stop_words())
        themes = discover(counts, complaints, stop_words, limit)
        changes = _changes(themes, _complaints(self._negative(before)), complaints) if before else {}
        by_id = {one.id: one for one in feedback}
        tags = Counter(tag for one in feedback for tag in one.tags)
        found = []
        for theme in themes:
            examples = tuple(by_id[example] for example in theme.examples)
            found.append(FoundTheme(self._name(theme, examples), theme, changes.get(theme.words), examples))
        return (
            Themes(
                themes=tuple(found),
                comments=len(complaints),
                is_enough=enough(complaints),
                tags=tuple(sorted(tags.items(), key=lambda item: (-item[1], item[0]))),
                frequent_words=tuple(frequent_words(counts, stop_words)),
            ),
            feedback,
        )

    def compare_windows(self, window: FeedbackQuery, earlier: Iterable[FeedbackQuery]) -> ThemeWindow:
        """The themes that are more frequent in a window than in the earlier windows together, with their changes.

        Unlike those of :meth:`find`, a theme may be in any share of the comments. Only themes that three authors
        mention are found, so that none comes from the words of a single author.
        """
        feedback = self._negative(window)
        known = [one for query in earlier for one in self._negative(query)]
        tally = TermTally()
        for one in feedback:
            tally.add(one.content)
        for one in known:
            # Earlier comments take the place of thumbs-up comments, so that themes are what is more common now.
            tally.add(evolve(one.content, rating=Rating.UP))
        before, after = _complaints(known), _complaints(feedback)
        themes = discover(tally.counts, after, frozenset(self._stop_words()), MAX_THEMES, max_share=1.0)
        shared = [theme for theme in themes if len(theme.examples) >= _MIN_AUTHORS]
        changes = _changes(shared, before, after)
        return ThemeWindow(tuple((theme, changes[theme.words]) for theme in shared), before, after)

    def _counts(self, query: FeedbackQuery) -> TermCounts:
        """The counts of a whole application are stored; those of a selection are computed on the spot."""
        rated = evolve(query, rating=None)
        if rated == FeedbackQuery(application=query.application):
            return self._repository.term_counts(query.application)
        return TermCounts.fold(newest_comments(self._repository, rated))

    def _negative(self, query: FeedbackQuery) -> list[Feedback]:
        return list(newest_comments(self._repository, evolve(query, rating=Rating.DOWN)))

    def _name(self, theme: Theme, examples: Iterable[Feedback]) -> str:
        return self._names.name(theme, [one.comment for one in examples]) if self._names else theme.label


def check_limit(limit: int) -> None:
    """Raise ``InvalidQuery`` unless this number of themes can be asked for."""
    if not 1 <= limit <= MAX_THEMES:
        raise InvalidQuery(f"limit must be from 1 to {MAX_THEMES}, got {limit}")


def _complaints(feedback: Iterable[Feedback]) -> list[_Complaint]:
    return [_Complaint(one.id, one.author or one.session_id, words(one.comment)) for one in feedback]


def _changes(
    themes: Iterable[Theme], before: Sequence[_Complaint], after: Sequence[_Complaint]
) -> Mapping[tuple[str, ...], ProportionChange]:
    """The change of each theme, by its words; decided among all of them."""
    known = [(one.author, frozenset(one.words)) for one in before]
    comparisons = {}
    for theme in themes:
        old = _proportion((author, not found.isdisjoint(theme.words)) for author, found in known)
        new = _proportion((one.author, one.id in theme.comments) for one in after)
        comparisons[theme.words] = ProportionChange(old, new)
    return decide_together(comparisons)


def _proportion(marked: Iterable[tuple[str, bool]]) -> Proportion:
    """The marked comments among all, with the design effect of their authors."""
    counts: dict[str, tuple[int, int]] = {}
    for author, is_marked in marked:
        total, count = counts.get(author, (0, 0))
        counts[author] = total + 1, count + is_marked
    totals, of_these = sum(total for total, _ in counts.values()), sum(count for _, count in counts.values())
    return Proportion(of_these, totals, design_effect(counts.values()))

"""Themes: what thumbs-down comments are about, and whether that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Final

from attrs import evolve, frozen

from harken.domain.errors import InvalidQuery
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.comparison import Comparison
from harken.domain.insight.terms import TermCounts, words
from harken.domain.insight.themes import Theme, discover, enough
from harken.domain.query import Cursor, FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository

#: The newest comments that themes are found in.
NEWEST: Final = 20_000
MAX_THEMES: Final = 50
_PAGE: Final = 1_000

#: Names a theme from its words and comments, such as a language model does. It changes no count.
ThemeNamer = Callable[[Sequence[str], Sequence[str]], str]


@frozen
class FoundTheme:
    """A theme with its change and examples.

    Attributes:
        name: what the namer calls it, or its label.
        theme: the theme itself.
        change: the share of thumbs-down comments with the theme, before and now, as satisfaction is compared: better is
            more frequent. ``None`` without a previous period.
        examples: up to three comments by different authors, the most typical first.
    """

    name: str
    theme: Theme
    change: Comparison | None
    examples: tuple[Feedback, ...]


@frozen
class Themes:
    """The themes of a selection.

    Attributes:
        themes: the most important first.
        comments: the number of thumbs-down comments that were searched.
        is_enough: whether these were enough to find which words belong together. If not, themes are single words.
        tags: how many of these comments have each tag, the most frequent first: the reasons that people chose.
    """

    themes: tuple[FoundTheme, ...]
    comments: int
    is_enough: bool
    tags: tuple[tuple[str, int], ...]


@frozen
class _Complaint:
    """A thumbs-down comment as themes see it."""

    id: str
    author: str | None
    words: Sequence[str]


class ThemeService:
    """Finds themes in the newest 20,000 thumbs-down comments of a selection."""

    def __init__(
        self, repository: FeedbackRepository, *, stop_words: Collection[str] = (), namer: ThemeNamer | None = None
    ) -> None:
        self._repository = repository
        self._stop_words = frozenset(stop_words)
        self._namer = namer
        self._names: dict[tuple[str, ...], str] = {}

    def find(self, query: FeedbackQuery, *, limit: int = 15) -> Themes:
        """The themes of the matching thumbs-down comments, with their change since the previous period.

        The previous period is as long as that of the query, and ends where it begins. A query without ``since`` and
        ``until`` has none.

        Raises:
            InvalidQuery: the limit is not from 1 to 50.
        """
        if not 1 <= limit <= MAX_THEMES:
            raise InvalidQuery(f"limit must be from 1 to {MAX_THEMES}, got {limit}")
        feedback = self._negative(query)
        complaints = list(map(_complaint, feedback))
        themes = discover(self._counts(query), complaints, self._stop_words, limit)
        earlier = [frozenset(words(one.comment)) for one in self._earlier(query)]
        by_id = {one.id: one for one in feedback}
        tags = Counter(tag for one in feedback for tag in one.tags)
        return Themes(
            themes=tuple(
                FoundTheme(
                    self._name(theme, by_id), theme, _change(theme, earlier, len(complaints)), _examples(theme, by_id)
                )
                for theme in themes
            ),
            comments=len(complaints),
            is_enough=enough(complaints),
            tags=tuple(sorted(tags.items(), key=lambda item: (-item[1], item[0]))),
        )

    def _counts(self, query: FeedbackQuery) -> TermCounts:
        """The counts of all feedback of an application are stored; those of a selection are made on the spot."""
        if query == FeedbackQuery(application=query.application):
            return self._repository.term_counts(query.application)
        return TermCounts.fold(islice(self._newest(query), NEWEST))

    def _negative(self, query: FeedbackQuery) -> list[Feedback]:
        newest = self._newest(evolve(query, rating=Rating.DOWN))
        return list(islice((one for one in newest if one.comment), NEWEST))

    def _earlier(self, query: FeedbackQuery) -> list[Feedback]:
        if query.since is None or query.until is None:
            return []
        start = query.since - (query.until - query.since)
        return self._negative(evolve(query, since=start, until=query.since))

    def _newest(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """What matches, the newest first."""
        if query.rating not in (None, Rating.DOWN):
            return
        after: Cursor | None = None
        while True:
            page = self._repository.find(query, limit=_PAGE, after=after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _name(self, theme: Theme, by_id: dict[str, Feedback]) -> str:
        if self._namer is None:
            return theme.label
        if theme.words not in self._names:
            comments = [by_id[one].comment for one in theme.examples]
            self._names[theme.words] = self._namer(theme.words, comments) or theme.label
        return self._names[theme.words]


def _complaint(feedback: Feedback) -> _Complaint:
    return _Complaint(feedback.id, feedback.author or feedback.session_id, words(feedback.comment))


def _examples(theme: Theme, by_id: dict[str, Feedback]) -> tuple[Feedback, ...]:
    return tuple(by_id[one] for one in theme.examples)


def _change(theme: Theme, earlier: Sequence[frozenset[str]], total: int) -> Comparison | None:
    if not earlier:
        return None
    before = sum(not found.isdisjoint(theme.words) for found in earlier)
    return Comparison(
        Summary(positive=before, negative=len(earlier) - before),
        Summary(positive=theme.count, negative=total - theme.count),
    )

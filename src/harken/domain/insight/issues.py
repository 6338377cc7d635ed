"""Issues: the reasons that people chose, or the themes of their comments, with their change and an example."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from math import log
from typing import Final

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.domain.insight.comparison import Proportion, ProportionChange
from harken.domain.insight.sampling import AuthorRatings, design_effect, holm_level

#: A reason after this number of more frequent ones is not shown.
_MOST_REASONS: Final = 1_000
#: More than these are not compared with an earlier period.
_MOST_COMPARED: Final = 50
_ALPHA: Final = 0.01
_LEAST_P: Final = 1e-300
# An example is of middle length if that is possible, and fits two lines.
_SHORT, _LONG = 40, 180
_SHORTEST: Final = 10
_LONGEST_WORD: Final = 40
_MOST_REPEATED: Final = 8
_MOST_MARKS: Final = 3
#: At least this share of the characters are letters with their marks, digits, spaces or punctuation.
_READABLE: Final = 0.9
_READABLE_KINDS: Final = frozenset("LMNPZC")
#: Of invisible characters, only line breaks and those that join letters or emoji.
_HARMLESS: Final = "\n\u200c\u200d"


@frozen
class Issue:
    """What people complain about: a reason that they chose, or a theme of their comments.

    Attributes:
        name: the reason, or the name of the theme.
        share: its thumbs-down entries among all that were counted.
        change: the same share before and after; ``None`` without an earlier period.
        direction: 1 if the share grew by more than chance among all issues, -1 if it shrank, else 0.
        example: the newest entry that makes a good example; ``None`` if there is none.
        words: the words of a theme; empty for a reason.
    """

    name: str
    share: Proportion
    change: ProportionChange | None
    direction: int
    example: Feedback | None
    words: tuple[str, ...] = ()


@frozen
class Issues:
    """The issues of a selection.

    Attributes:
        issues: those asked for, the most frequent first.
        found: how many there are.
        downs: how many thumbs-down entries were counted: all, or the newest 20,000; for themes, those with a comment.
        is_complete: whether these are all.
    """

    issues: tuple[Issue, ...]
    found: int
    downs: int
    is_complete: bool


@frozen
class ReasonShares:
    """The reasons in thumbs-down entries.

    Attributes:
        downs: how many entries were counted.
        shares: the share of each reason, the most frequent first; of the 1,000 most frequent.
        found: how many reasons there are.
    """

    downs: int
    shares: Mapping[str, Proportion]
    found: int

    @classmethod
    def of(cls, downs: Iterable[AuthorRatings], by_reason: Iterable[AuthorRatings]) -> ReasonShares:
        """The shares in the same entries, given without groups and grouped by tag."""
        given = {one.author: one.given for one in downs}
        with_reason: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for one in by_reason:
            if isinstance(one.group, str):
                with_reason[one.group][one.author] = one.given
        counts = {reason: sum(of_authors.values()) for reason, of_authors in with_reason.items()}
        total = sum(given.values())
        # Of authors without a reason, only their numbers matter: there are few different ones.
        kinds = Counter(given.values())
        shares = {}
        for reason in sorted(counts, key=lambda reason: (-counts[reason], reason))[:_MOST_REASONS]:
            clusters = [(given.get(author, count), count) for author, count in with_reason[reason].items()]
            others = kinds - Counter(number for number, _ in clusters)
            shares[reason] = Proportion(counts[reason], total, design_effect(clusters, others))
        return cls(total, shares, len(counts))

    def with_entries(self, tags: Collection[Collection[str]]) -> ReasonShares:
        """The shares with a few entries more, which have these tags. Design effects stay the same."""
        added = Counter(tag for of_entry in tags for tag in of_entry)
        downs = self.downs + len(tags)
        counts = Counter({reason: share.count for reason, share in self.shares.items()}) + added
        effects = {reason: share.design_effect for reason, share in self.shares.items()}
        shares = {
            reason: Proportion(counts[reason], downs, effects.get(reason, 1.0))
            for reason in sorted(counts, key=lambda reason: (-counts[reason], reason))
        }
        return ReasonShares(downs, shares, self.found + len(added.keys() - self.shares.keys()))

    def changes(self, before: ReasonShares) -> dict[str, ProportionChange]:
        """The change of the share of each of the 50 most frequent reasons."""
        return {
            reason: ProportionChange(before.shares.get(reason, Proportion(0, before.downs)), share)
            for reason, share in list(self.shares.items())[:_MOST_COMPARED]
        }


def directions(changes: Mapping[str, ProportionChange]) -> dict[str, int]:
    """Which shares grew (1) or shrank (-1) by more than chance among all of them, and which did not (0).

    By S. Holm's procedure on p-values, so that one look at all of them finds a false change in 1% of cases.
    """
    p_values = {name: max(change.p_value, _LEAST_P) for name, change in changes.items()}
    level = holm_level((-log(p_value) for p_value in p_values.values()), _ALPHA)
    return {
        name: (change.difference > 0) - (change.difference < 0) if p_values[name] <= level else 0
        for name, change in changes.items()
    }


class Examples:
    """Chooses a comment for each of several issues, from a pool of entries. None is chosen twice."""

    def __init__(self, pool: Iterable[Feedback]) -> None:
        self._texts = Counter(normalize_text(one.comment) for one in pool)
        self._taken: set[str] = set()

    def choose(self, candidates: Iterable[Feedback]) -> Feedback | None:
        """The first of middle length, or else the first that fits two lines; ``None`` if there is none.

        Args:
            candidates: entries of the pool, the newest first.
        """
        fits = [one for one in candidates if self._is_suitable(one.comment)]
        chosen = next((one for one in fits if len(one.comment) >= _SHORT), fits[0] if fits else None)
        if chosen is not None:
            self._taken.add(normalize_text(chosen.comment))
        return chosen

    def _is_suitable(self, comment: str) -> bool:
        text = normalize_text(comment)
        return is_quotable(comment) and self._texts[text] <= 1 and text not in self._taken


def normalize_text(text: str) -> str:
    """Letters and digits only, in lower case: texts that differ in nothing else are repetitions."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum())


def is_quotable(comment: str) -> bool:
    """Whether a comment can be shown as an example: readable words of at most two lines, without links or markup."""
    text = comment.strip()
    if not _SHORTEST <= len(text) <= _LONG or text.count("\n") > 1:
        return False
    if "://" in text or "www." in text.lower() or "<" in text or ">" in text:
        return False
    if text.isascii() and any(len(word) > _LONGEST_WORD for word in text.split()):
        return False
    kinds = [unicodedata.category(letter)[0] for letter in text]
    if _longest_run(text) > _MOST_REPEATED or _longest_run(kinds, "M") > _MOST_MARKS:
        return False
    hidden = any(kind == "C" and letter not in _HARMLESS for kind, letter in zip(kinds, text, strict=True))
    return not hidden and sum(kind in _READABLE_KINDS for kind in kinds) >= _READABLE * len(kinds)


def _longest_run(items: Iterable[str], of: str | None = None) -> int:
    """The length of the longest run of equal items."""
    return max((sum(1 for _ in same) for item, same in groupby(items) if of in (None, item)), default=0)

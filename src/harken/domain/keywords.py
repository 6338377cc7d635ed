"""Keywords that occur in negative comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from harken.domain.texts import as_texts

KEYWORDS: Final = ("error", "slow", "unclear", "incomplete", "wrong", "confused")


@frozen
class Keyword:
    """A keyword and the number of comments that contain it."""

    keyword: str
    mentions: int


def count_keywords(comments: Iterable[str], keywords: str | Sequence[str] = KEYWORDS) -> tuple[Keyword, ...]:
    """Count the comments that contain each keyword, in any case and also inside longer words.

    Returns the keywords by descending count, then in the order of ``keywords``, without unused keywords.
    """
    folded = {keyword: keyword.lower() for keyword in as_texts(keywords)}
    counts = dict.fromkeys(folded, 0)
    for comment in comments:
        lower = comment.lower()
        for keyword, needle in folded.items():
            counts[keyword] += needle in lower
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return tuple(Keyword(keyword, count) for keyword, count in ranked if count)

"""Keywords in comments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Keyword
from harken.domain.keywords import KEYWORDS, count_keywords

words = st.sampled_from([*KEYWORDS, "errors", "SLOW", "slowly", "fine", ""])


def test_the_guides_example() -> None:
    """Each of the guide's two comments contains two of its keywords."""
    found = count_keywords(["Too slow and unclear", "Incomplete answer with errors"])
    assert found == (Keyword("error", 1), Keyword("slow", 1), Keyword("unclear", 1), Keyword("incomplete", 1))


@given(st.lists(st.lists(words).map(" ".join), max_size=8))
def test_comments_are_counted_once(comments: list[str]) -> None:
    """A comment counts once for each keyword, in any case; the most frequent keyword comes first."""
    found = count_keywords(comments)
    mentions = {one.keyword: one.mentions for one in found}
    for keyword in KEYWORDS:
        assert mentions.get(keyword, 0) == len([one for one in comments if keyword in one.lower()])
    ranks = [(-one.mentions, KEYWORDS.index(one.keyword)) for one in found]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(("keywords", "expected"), [(["Price", "UI"], ["Price", "UI"]), ([], [])])
def test_custom_keywords(keywords: list[str], expected: list[str]) -> None:
    """Custom keywords are returned with their own spelling."""
    found = count_keywords(iter(["The price!", "PRICE and ui"]), keywords)
    assert [one.keyword for one in found] == expected
    assert [one.mentions for one in found] == [2, 1][: len(expected)]

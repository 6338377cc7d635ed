"""Themes: keywords in comments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Theme
from harken.domain.themes import KEYWORDS, themes

words = st.sampled_from([*KEYWORDS, "errors", "SLOW", "slowly", "fine", ""])


def test_the_guides_example() -> None:
    """Each of the guide's two comments contains two of its keywords."""
    found = themes(["Too slow and unclear", "Incomplete answer with errors"])
    assert found == (Theme("error", 1), Theme("slow", 1), Theme("unclear", 1), Theme("incomplete", 1))


@given(st.lists(st.lists(words).map(" ".join), max_size=8))
def test_comments_are_counted_once(comments: list[str]) -> None:
    """A comment counts once for each keyword, in any case; the most frequent keyword comes first."""
    found = themes(comments)
    mentions = {theme.keyword: theme.mentions for theme in found}
    for keyword in KEYWORDS:
        assert mentions.get(keyword, 0) == len([one for one in comments if keyword in one.lower()])
    ranks = [(-theme.mentions, KEYWORDS.index(theme.keyword)) for theme in found]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(("keywords", "expected"), [(["Price", "UI"], ["Price", "UI"]), ([], [])])
def test_custom_keywords(keywords: list[str], expected: list[str]) -> None:
    """Custom keywords are returned with their own spelling."""
    found = themes(iter(["The price!", "PRICE and ui"]), keywords)
    assert [theme.keyword for theme in found] == expected
    assert [theme.mentions for theme in found] == [2, 1][: len(expected)]

"""The processing time of any comment is linear, up to a constant times that of plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

from harken_adapters.text import text_adapters
from harken_adapters.text.vader import QuickVader
from support import a_submission

#: Only relevant for changes of the text adapters.
pytestmark = pytest.mark.slow

THEIRS = SentimentIntensityAnalyzer()
EMOJI = [character for character in THEIRS.emojis if len(character) == 1]
LONGEST = max(EMOJI, key=lambda one: len(THEIRS.emojis[one].split()))
PLAIN = "the quick brown fox is good, and the lazy dog is not bad at all. "
#: The maximum cost, relative to plain text of the same length. The slowest text takes about 20 times as long; with a
#: quadratic algorithm, emoji took 500 times as long.
TIMES = 60
#: The maximum growth for four times as many characters. A quadratic algorithm takes 16 times as long.
GROWTH = 8
UNITS = (
    "\N{GRINNING FACE}",
    "\N{FACE WITH TEARS OF JOY}",
    "\N{NO ENTRY}\N{GRINNING FACE}",
    LONGEST,
    "\N{GRINNING FACE} ",
    "a\N{GRINNING FACE}",
    "no ",
    ":) no ",
    "so :) but ",
    "isn't good ",
    "the shit ",
    "&amp;",
    "<",
    "<3 ",
    "<b>",
    "<b",
    "<b/",
    "<b<b>>",
    "<b ='",
    "<a b='",
    '<b x="',
    "<svg/on",
    "<x onclick",
    "<q onx=",
    "<!--",
    "<script>",
    "<!doctype ",
    "<wbr>&\ufdd0",
    "http://",
    "www.",
    "!",
    "?",
    "a",
    "1 ",
    "\u202e",
    "\u200d",
    "\u0316\u0301",
    "\ufdfa",
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}",
    "\N{HEAVY BLACK HEART}\ufe0f",
)


def mixed(length: int) -> Iterator[tuple[str, str]]:
    """Texts without repetition, by name."""
    random = Random(1)
    lively = sorted(EMOJI, key=lambda one: -sum(word in THEIRS.lexicon for word in THEIRS.emojis[one].split()))[:60]
    yield "any emoji", "".join(random.choices(EMOJI, k=length))
    yield "lively emoji", "".join(random.choices(lively, k=length))
    yield "but emoji", "but " + "".join(random.choices(lively, k=length - 4))
    yield "deep", "<b" * 12 + ("><b>" * length)[: length - 24]
    yield "hidden end", ("<b/" * length)[: length - 9] + "<b x='>' "
    yield "hidden end of handlers", " onx=" + ("<q " * length)[: length - 20] + "<q onx='>' "
    yield "all placeholders", "<b>" + "".join(map(chr, range(0xFDD0, 0xFDD0 + length - 3)))


@cache
def everything() -> Callable[[str], None]:
    """Calls all text adapters."""
    chosen = text_adapters()
    sanitizer, spam_filter, analyzer = chosen["sanitizer"], chosen["spam_filter"], chosen["sentiment_analyzer"]
    assert sanitizer
    assert spam_filter
    assert analyzer
    number = count()

    def call(text: str) -> None:
        sanitizer.sanitize(text)
        spam_filter.is_spam(a_submission(f"s-{next(number)}", comment=text, author="ann"))
        analyzer.analyze(text)

    return call


def cost(text: str) -> float:
    """The processor time for a text in seconds: the minimum of several runs."""
    call = everything()

    def once() -> float:
        began = process_time()
        call(text)
        return process_time() - began

    return min(once() for _ in range(7))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*UNITS, *dict(mixed(1_000))], ids=ascii)
def test_every_text_costs_about_as_much_as_plain_text(name: str) -> None:
    """1,000 characters cost at most a constant times as much as plain text, and 4,000 about four times as much."""
    short, long = (dict(mixed(length)).get(name, (name * length)[:length]) for length in (1_000, 4_000))
    plain = cost((PLAIN * 20)[:1_000])
    short_cost = cost(short)
    assert short_cost < TIMES * plain
    assert cost(long) < GROWTH * max(short_cost, plain)


def parts() -> st.SearchStrategy[str]:
    """Parts of hostile texts."""
    return st.text(min_size=1, max_size=6) | st.sampled_from([*UNITS, *"<>'\"/=! ", "'>"])


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(parts(), min_size=1, max_size=4).map("".join))
def test_no_repetition_costs_more(unit: str) -> None:
    """1,000 characters of any repetition cost at most a constant times as much as plain text."""
    assert cost((unit * 1_000)[:1_000]) < TIMES * cost((PLAIN * 20)[:1_000])


@pytest.mark.parametrize("text", [*(unit * 100 for unit in UNITS), *(text for _, text in mixed(400))], ids=ascii)
def test_the_scores_are_those_of_vader(text: str) -> None:
    """Long texts of emoji and sentiment words have exactly the scores of VADER."""
    assert QuickVader().polarity_scores(text) == THEIRS.polarity_scores(text)


def test_too_many_neighbourhoods() -> None:
    """Above the limit, words are scored without their neighbours, so the scores are near those of VADER."""
    random = Random(2)
    words = [word for word in THEIRS.lexicon if word.isalpha() and len(word) <= 3]
    text = " ".join(random.choice(words) + " no" * (number % 3 == 2) for number in range(2_000))
    ours, theirs = QuickVader().polarity_scores(text), THEIRS.polarity_scores(text)
    assert ours != theirs
    assert ours["neu"] == pytest.approx(theirs["neu"], abs=0.1)

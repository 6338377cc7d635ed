"""Which comments a search finds, and where."""

import pickle
import re
import unicodedata
from datetime import timedelta
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harken import FeedbackQuery, InvalidQuery, SearchNotReady, TextSearch
from harken.domain.search import MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS, search_terms, search_words
from harken.testing import strategies

_NO_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb]')


@pytest.mark.parametrize(
    ("text", "comment", "hits"),
    [
        ("hold", "Put me on HOLD, twice on hold", ["HOLD", "hold"]),
        ("hold on", "I was on hold", ["on", "hold"]),
        ('"on hold"', "on hold, not hold on", ["on hold"]),
        ("\u201con hold\u201d", "on hold", ["on hold"]),
        ("\u00abon hold\u00bb", "On... hold", ["On... hold"]),
        ('"on hold', "on hold", ["on hold"]),
        ("don't", "I don\u2019t know", ["don\u2019t"]),
        ("wi-fi", "no wi fi, no Wi-Fi", ["wi fi", "Wi-Fi"]),
        ("customer", "the customer's fault", ["customer"]),
        ("avion", "l'avion", ["avion"]),
        ("stra\u00dfe", "STRASSE", ["STRASSE"]),
        ("fine", "\ufb01ne", ["\ufb01ne"]),
        ("\u00e9t\u00e9", "E\u0301te\u0301!", ["E\u0301te\u0301"]),
        ("\u30ac", "\uff76\uff9e", ["\uff76\uff9e"]),
        ("航班", "我的航班延误了", ["航班"]),
        ("班", "航班", ["班"]),
        ("\U0001f44d", "good \U0001f44d\U0001f3fd", ["\U0001f44d"]),
        ("naive", "na\u00adive", ["na\u00adive"]),
        ("हिन्दी", "हिन्दी में", ["हिन्दी"]),
        ("\u3160\u3160", "왜 \u3160\u3160", ["\u3160\u3160"]),
        ("\uac01", "\u1100\u3163 \u1100\u1161\u11a8!", ["\u1100\u1161\u11a8"]),
        ("\uac00", "\u1100\u200b\u1161!", ["\u1100\u200b\u1161"]),
        ('"on hold on"', "on hold on hold on", ["on hold on hold on"]),
    ],
)
def test_a_search_finds_equal_words(text: str, comment: str, hits: list[str]) -> None:
    """Words are equal in any case and form; the places of hits are those in the comment as it was written."""
    search = TextSearch.parse(text)
    assert search.is_in(comment)
    assert [comment[start:end] for start, end in search.spans(comment)] == hits


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("hold", "holding"),
        ("hold on", "hold"),
        ('"on hold"', "hold on"),
        ("don't", "dont"),
        ("航延", "航班延误"),
        ("cafe", "caf\u00e9"),
        ("a", ""),
    ],
)
def test_a_search_does_not_find_other_words(text: str, comment: str) -> None:
    """A part of a word is not the word, except in scripts without spaces; and order counts in a phrase."""
    assert not TextSearch.parse(text).is_in(comment)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at least one word"),
        ('  "..." ?!', "at least one word"),
        (" ".join(map(str, range(MAX_SEARCH_WORDS + 1))), "at most 32 words, got 33"),
        ("機" * (MAX_SEARCH_WORDS + 1), "each letter is a word"),
        ("a" * (MAX_SEARCH_LENGTH + 1), "at most 1,000 characters"),
        ("a\0", "NUL"),
    ],
)
def test_a_search_without_words_or_with_too_many_is_invalid(text: str, problem: str) -> None:
    """The error says what is wrong with ``text``."""
    with pytest.raises(InvalidQuery, match=problem):
        FeedbackQuery(text=text)


@given(strategies.searches(), strategies.comments())
@example("a", "\u1100\u1161\u11a8 a\u0345\u0301 \ufdfa ﬀ\u0301")
def test_hits_are_where_the_words_are(text: str, comment: str) -> None:
    """Hits are sorted, do not overlap, and exist whenever the comment is found."""
    search = TextSearch.parse(text)
    spans = search.spans(comment)
    assert all(0 <= start < end <= len(comment) for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    if search.is_in(comment):
        assert spans


def test_a_composed_letter_has_one_place() -> None:
    """Each letter of Unicode is found in its decomposed form, and highlighted as a whole."""
    for letter in map(chr, range(0x110000)):
        parts = unicodedata.normalize("NFD", letter)
        if letter.isalpha() and len(parts) > 1 and len(search_words(parts)) == 1:
            assert TextSearch.parse(letter).spans(f"- {parts} -") == ((2, 2 + len(parts)),), letter


@given(strategies.searches(), strategies.comments())
def test_a_found_comment_has_all_terms_of_the_search(text: str, comment: str) -> None:
    """An index of the terms of comments leaves out no comment that is found."""
    search = TextSearch.parse(text)
    if search.is_in(comment):
        assert search.terms <= search_terms(comment)


@given(strategies.comments().filter(lambda comment: 0 < len(search_words(comment)) <= MAX_SEARCH_WORDS))
def test_every_comment_is_found_by_itself(comment: str) -> None:
    """A comment in quotation marks finds the comment, as a whole."""
    search = TextSearch.parse(f'"{_NO_QUOTES.sub(" ", comment)}"')
    assert search.is_in(comment)
    assert len(search.spans(comment)) == 1


@given(
    st.text("ab _-\u00e9", max_size=12), st.lists(st.text("ab\u00e9", min_size=1, max_size=2), min_size=1, max_size=3)
)
@example("ab a b", ["a", "b"])
@example("a_b", ["a", "b"])
def test_a_phrase_is_found_where_its_words_are_consecutive(comment: str, phrase: list[str]) -> None:
    """In ASCII and in other texts: the words of the comment have those of the phrase, one after the other."""
    words, length = search_words(comment), len(phrase)
    is_there = any(words[start : start + length] == phrase for start in range(len(words)))
    assert TextSearch.parse(f'"{" ".join(phrase)}"').is_in(comment) == is_there


@given(st.text(st.characters(max_codepoint=127)))
def test_text_in_ascii_is_split_like_other_text(text: str) -> None:
    """The fast way for ASCII gives the same words."""
    assert search_words(text) == search_words(f"{text} é")[:-1]


def test_long_runs_of_marks_take_no_time() -> None:
    """A comment of combining marks is searched in a time that does not grow with its square."""
    hostile = "a" + "\u0300\u0323" * 100_000
    assert not TextSearch.parse("b").is_in(hostile)
    assert TextSearch.parse("b").spans(hostile) == ()


@pytest.mark.parametrize("comment", ["日本の天気は良い" * 500, "caf\u00e9 \u00e0 Paris " * 500])
def test_hits_in_a_long_comment_are_found_quickly(comment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each different character is normalised once, and not each time that it occurs."""
    normalised: list[str] = []

    def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
        normalised.append(text)
        return unicodedata.normalize(form, text)

    monkeypatch.setattr("harken.domain.search.normalize", normalize)
    assert len(TextSearch.parse("日 caf\u00e9").spans(comment)) == 500
    assert len(normalised) < 50


def test_the_progress_of_indexing_survives_pickling() -> None:
    """The error says how much is done and when to try again, also in another process."""
    error = pickle.loads(pickle.dumps(SearchNotReady(40_960, 1_204_331, retry_after=timedelta(seconds=70))))
    assert str(error) == (
        "Comments are being indexed for text search: 40,960 of 1,204,331 entries are done. Try again in about 70 s"
    )
    assert (error.indexed, error.total, error.retry_after) == (40_960, 1_204_331, timedelta(seconds=70))

"""Terms of comments, and counts of them: a monoid with removal."""

from random import Random
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.feedback import Feedback, Rating, Sentiment
from harken.domain.insight.terms import MAX_WORD, TermCounts, TermTally, terms, words
from harken.testing import strategies as hst
from harken.testing.builders import a_feedback

lists = st.lists(hst.feedback_entries(), max_size=8)


class TestWords:
    def test_words_are_in_lower_case_and_in_order(self) -> None:
        """Punctuation is left out, apostrophes of both kinds stay inside words."""
        assert words("Don't WORK, don\u2019t worry: it's 2 late") == [
            "don't",
            "work",
            "don't",
            "worry",
            "it's",
            "2",
            "late",
        ]

    def test_marks_of_feeling_are_words(self) -> None:
        """Each exclamation mark, question mark and emoji is one."""
        assert words("Why?! \U0001f621\U0001f621") == ["why", "?", "!", "\U0001f621", "\U0001f621"]

    def test_addresses_and_handles_are_left_out(self) -> None:
        """They name people and pages, and say nothing of the answer."""
        assert words("@airline see https://example.com/a?b=c or www.example.com now") == ["see", "or", "now"]

    def test_unspaced_scripts_give_pairs_of_letters(self) -> None:
        """Chinese, Japanese and Thai have no spaces; a single letter is a word of its own."""
        assert words("很好用 ok 好") == ["很好", "好用", "ok", "好"]
        assert words("ดีมาก") == ["ดี", "ีม", "มา", "าก"]

    @pytest.mark.parametrize(
        "comment",
        [
            "नमस्ते दुनिया",
            "வணக்கம் உலகம்",
            "שָׁלוֹם עוֹלָם",
            "مُحَمَّد تُبْتُ",
            "e\u0301te\u0301 a\u0302ge\u0301",
            "می\u200cروم نمی\u200cشود",
        ],
        ids=["Hindi", "Tamil", "pointed Hebrew", "vowelled Arabic", "decomposed French", "Persian"],
    )
    def test_words_with_marks_and_joiners_are_whole(self, comment: str) -> None:
        """Vowel signs, points, accents and joiners inside of words do not end them."""
        assert words(comment) == [normalize("NFC", word) for word in comment.split()]

    @given(st.text(st.sampled_from("aeÉ\u0301\u0316ßИ\u0306нमि\u093cק\u05bc \u0130"), max_size=12))
    def test_words_do_not_depend_on_how_accents_are_encoded(self, comment: str) -> None:
        """Composed and decomposed letters are the same."""
        assert words(normalize("NFD", comment)) == words(normalize("NFC", comment)) == words(comment)

    def test_handles_with_marks_are_left_out(self) -> None:
        """No part of a name remains."""
        assert words("@मोहिनी ठीक") == ["ठीक"]

    def test_marks_are_bounded(self) -> None:
        """More than thirty marks of one letter are cut, as sorting them would take too long."""
        assert words("a" + "\u0316\u0301" * 5_000) == words("a" + "\u0316\u0301" * 15)

    def test_words_of_any_length_take_bounded_space(self) -> None:
        """A word is cut to 40 characters."""
        assert words("x" * 1_000) == ["x" * MAX_WORD]

    @given(hst.comments())
    def test_any_comment_has_words(self, comment: str) -> None:
        """No text is an error; words are never empty, and never look like pairs or sounds."""
        assert all(word and word[0] not in "#~%" for word in words(comment))


class TestTerms:
    def test_pairs_cannot_be_read(self) -> None:
        """They are hashed into four hexadecimal digits; the polarity is rounded to quarters."""
        found = terms("lost luggage", Sentiment(-0.6, 0.5))
        assert {"lost", "luggage", "~-2"} < found
        (pair,) = (term for term in found if term.startswith("#"))
        assert len(pair) == 5

    @pytest.mark.parametrize("word", ["4711", "ab12", "10th", "\u0664\u0662"])
    def test_words_with_digits_cannot_be_read(self, word: str) -> None:
        """Numbers of orders and telephones are hashed into three hexadecimal digits; other words are not."""
        assert words(word) == [word]
        (term,) = terms(word, None)
        assert term[0] == "%"
        assert len(term) == 4
        assert terms("don't", None) == {"don't"}

    def test_the_number_of_terms_of_numbers_is_bounded(self) -> None:
        """Orders without end do not let the counts grow without end."""
        assert len(frozenset().union(*(terms(str(number), None) for number in range(20_000)))) <= 4_096

    def test_a_term_counts_once_in_a_comment(self) -> None:
        """Presence, not frequency."""
        assert terms("no no no", None) == {"no", *(one for one in terms("no no", None) if one.startswith("#"))}


class TestTermCounts:
    @given(lists, st.randoms(use_true_random=False))
    def test_the_order_does_not_matter(self, feedback: list[Feedback], random: Random) -> None:
        """Counts of any order, and of any split, are the same."""
        shuffled = random.sample(feedback, len(feedback))
        half = len(feedback) // 2
        assert TermCounts.fold(shuffled) == TermCounts.fold(feedback)
        tally = TermTally(TermCounts.fold(shuffled[:half]))
        tally.add_counts(TermCounts.fold(shuffled[half:]))
        assert tally.counts == TermCounts.fold(feedback)

    @given(lists, lists)
    def test_what_was_added_can_be_removed(self, some: list[Feedback], more: list[Feedback]) -> None:
        """Nothing remains of it, one by one or at once: terms that no comment contains are not listed."""
        at_once, each = (TermTally(TermCounts.fold([*some, *more])) for _ in range(2))
        at_once.add_counts(TermCounts.fold(more), sign=-1)
        for one in more:
            each.add(one.content, sign=-1)
        assert at_once.counts == each.counts == TermCounts.fold(some)

    @given(lists)
    def test_what_was_counted_can_be_removed_and_unseen_terms_cannot(self, feedback: list[Feedback]) -> None:
        """Counts say which comments they cannot include; those of nothing include none."""
        counts = TermCounts.fold(feedback)
        rated = [one for one in feedback if one.comment and one.rating is not Rating.NEUTRAL]
        for one in rated:
            found, is_up = terms(one.comment, one.sentiment), one.rating is Rating.UP
            assert counts.may_include(found, is_up=is_up)
            assert not counts.may_include({*found, "never written"}, is_up=is_up)
            assert not TermCounts().may_include(found, is_up=is_up)

    @given(hst.feedback_entries())
    def test_only_rated_comments_count(self, feedback: Feedback) -> None:
        """Neutral feedback and feedback without a comment give the counts of nothing."""
        counted = feedback.rating is not Rating.NEUTRAL and bool(feedback.comment)
        assert TermCounts.fold([feedback]).total == counted

    def test_counts_are_by_rating(self) -> None:
        """Each term is counted for thumbs-up and for thumbs-down."""
        counts = TermCounts.fold(
            [
                a_feedback(rating=Rating.UP, comment="quick and good"),
                a_feedback(rating=Rating.DOWN, comment="good but slow"),
                a_feedback(rating=Rating.NEUTRAL, comment="good"),
            ]
        )
        assert (counts.ups["good"], counts.downs["good"], counts.up, counts.down) == (1, 1, 1, 1)
        assert "quick" not in counts.downs

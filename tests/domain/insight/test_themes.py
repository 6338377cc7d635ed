"""Themes of thumbs-down comments."""

from collections.abc import Sequence
from random import Random

import pytest
from attrs import frozen

from harken import Feedback, Rating
from harken.domain.insight.terms import TermCounts, words
from harken.domain.insight.themes import MIN_COMMENTS, Theme, discover, enough
from harken.testing.builders import a_feedback

_TOPICS = {
    "luggage": ("lost luggage", "baggage claim", "my bag never came", "bags came late", "luggage damaged"),
    "hold": ("on hold for ages", "phone line disconnected", "nobody answers the phone", "on hold again"),
    "delay": ("flight delayed", "another delay on the runway", "delayed for hours", "sitting on the runway"),
    "refund": ("no refund", "refund request denied", "they denied my refund", "ticket refund takes weeks"),
}
_FILLER = ("really", "today", "airline", "company", "people", "trip", "service", "staff", "again", "please", "week")
_STOP = frozenset({"the", "a", "my", "on", "for", "of", "is", "never", "no", "and", "they", "nobody", "another"})


@frozen
class Comment:
    """A comment as themes see it."""

    id: str
    author: str | None
    words: Sequence[str]


def _feedback(size: int, seed: int = 1) -> list[Feedback]:
    """Complaints of two phrases of one topic each, and as much praise, all with filler words."""
    random = Random(seed)
    made: list[Feedback] = []
    for number in range(size):
        filler = " ".join(random.choices(_FILLER, k=8))
        phrases = " and ".join(random.sample(random.choice(list(_TOPICS.values())), 2))
        texts = {Rating.DOWN: f"{phrases} {filler}", Rating.UP: f"great, thanks {filler}"}
        made += (
            a_feedback(id=f"{rating.word}-{number:05}", author=f"author-{number % 900}", rating=rating, comment=text)
            for rating, text in texts.items()
        )
    return made


def _discover(feedback: Sequence[Feedback], limit: int = 15) -> list[Theme]:
    return discover(TermCounts.fold(feedback), _downs(feedback), _STOP, limit)


def _downs(feedback: Sequence[Feedback]) -> list[Comment]:
    return [Comment(one.id, one.author, words(one.comment)) for one in feedback if one.rating is Rating.DOWN]


@pytest.fixture(scope="module")
def complaints() -> list[Feedback]:
    """Enough to find which words belong together."""
    return _feedback(2_400)


class TestDiscovery:
    def test_what_people_complain_about_is_found(self, complaints: list[Feedback]) -> None:
        """Each topic has a theme of words that belong to it; filler and stop words have none."""
        themes = _discover(complaints)
        found = {word for theme in themes for word in theme.words}
        assert {"luggage", "hold", "delayed", "refund"} <= found
        assert not found & {*_FILLER, *_STOP}
        for theme in themes:
            topics = {name for name, phrases in _TOPICS.items() if set(theme.words) <= set(words(" ".join(phrases)))}
            assert len(topics) == 1

    def test_equal_comments_give_equal_themes_in_any_order(self, complaints: list[Feedback]) -> None:
        """The themes are the same values, to the last digit."""
        shuffled = Random(2).sample(complaints, len(complaints))
        assert _discover(shuffled) == _discover(complaints)

    def test_figures_of_a_theme_belong_to_its_comments(self, complaints: list[Feedback]) -> None:
        """It counts the comments with one of its words; the excess is not larger than that."""
        downs = {comment.id: comment for comment in _downs(complaints)}
        for theme in _discover(complaints):
            members = {one for one, comment in downs.items() if not set(theme.words).isdisjoint(comment.words)}
            assert theme.comments == members
            assert theme.count == len(members) >= MIN_COMMENTS
            assert theme.share == pytest.approx(len(members) / len(downs))
            assert 0 < theme.excess <= theme.count

    def test_examples_are_of_different_authors(self, complaints: list[Feedback]) -> None:
        """Three typical comments of the theme, by three people."""
        authors = {comment.id: comment.author for comment in _downs(complaints)}
        for theme in _discover(complaints):
            assert set(theme.examples) <= theme.comments
            assert len({authors[one] for one in theme.examples}) == len(theme.examples) == 3

    def test_the_limit_is_kept(self, complaints: list[Feedback]) -> None:
        """The most important come first, so fewer are the first of more."""
        assert [theme.words for theme in _discover(complaints, 3)] == [theme.words for theme in _discover(complaints)][
            :3
        ]


class TestLittleData:
    def test_few_comments_give_single_words(self) -> None:
        """Below about 2,000 comments it is not known which words belong together."""
        few = _feedback(60)
        assert not enough(_downs(few))
        themes = _discover(few)
        assert themes
        assert all(len(theme.words) == 1 for theme in themes)
        assert [theme.excess for theme in themes] == sorted((theme.excess for theme in themes), reverse=True)

    def test_no_theme_has_fewer_than_eight_comments(self) -> None:
        """A handful of people are not a theme."""
        assert _discover(_feedback(7)) == []
        assert _discover([]) == []

    def test_praise_alone_gives_no_theme(self) -> None:
        """Themes are about thumbs-down comments only."""
        assert _discover([one for one in _feedback(100) if one.rating is Rating.UP]) == []

    def test_a_single_word_is_a_theme(self) -> None:
        """Where only one word can be part of a theme, it is one, however many comments there are."""
        feedback = [
            a_feedback(
                id=f"{number:05}", rating=Rating.DOWN, comment="the refund of my" if number % 5 == 0 else "the of my"
            )
            for number in range(20_000)
        ]
        assert enough(_downs(feedback))
        assert [theme.words for theme in _discover(feedback)] == [("refund",)]

    def test_labels_have_no_numbers(self) -> None:
        """A number next to a word is not part of an expression, however often it is there."""
        feedback = [
            a_feedback(id=f"{number}", rating=Rating.DOWN, comment="refund 24" if number % 5 == 0 else "the of my")
            for number in range(50)
        ]
        assert [(theme.label, theme.ngram) for theme in _discover(feedback)] == [("refund", None)]

    def test_complaints_alone_give_themes(self) -> None:
        """Without any praise there is nothing to compare with, and themes are found."""
        assert _discover([one for one in _feedback(2_400) if one.rating is Rating.DOWN])


def test_scripts_without_spaces_have_readable_labels() -> None:
    """Pairs of letters are put together again where most uses agree."""
    random = Random(3)
    phrases = (
        "客服一直不回复",
        "申请退款被拒",
        "优惠券不能用",
        "物流太慢",
        "商品破损",
        "登录失败",
        "机器人客服总是答非所问",
    )
    feedback = [
        a_feedback(id=f"{rating.word}-{number:05}", rating=rating, comment=f"{phrase},谢谢你们了")
        for number in range(4_500)
        for rating, phrase in ((Rating.DOWN, random.choice(phrases)), (Rating.UP, "很好"))
    ]
    labels = {theme.ngram for theme in _discover(feedback)}
    assert {"客服一直不回复", "申请退款被拒", "优惠券不能用", "登录失败"} <= labels

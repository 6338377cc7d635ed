"""Sentiment learned from ratings."""

from random import Random

from harken.domain.insight.learned_sentiment import RatedTerms, SentimentModel, calibration_sample
from harken.domain.insight.terms import TermCounts, TermTally
from support import a_feedback

_GOOD, _BAD = ("great", "quick", "clear"), ("slow", "wrong", "lost")


def _comments(count: int, *, sounds: bool = False, seed: int = 1) -> list[RatedTerms]:
    """Comments of two telling words each, and one that says nothing; the analyser is right in two of three."""
    random = Random(seed)
    made: list[RatedTerms] = []
    for _ in range(count):
        is_up = random.random() < 0.5
        terms = {*random.sample(_GOOD if is_up else _BAD, 2), random.choice(("today", "flight", "app"))}
        if sounds:
            terms.add("~3" if is_up == (random.random() < 0.67) else "~-3")
        made.append(RatedTerms(frozenset(terms), is_up))
    return made


def _counts(comments: list[RatedTerms]) -> TermCounts:
    total = TermTally()
    for one in comments:
        once = dict.fromkeys(one.terms, 1)
        total.add_counts(TermCounts(ups=once, up=1) if one.is_up else TermCounts(downs=once, down=1))
    return total.counts


def _model(comments: list[RatedTerms]) -> SentimentModel:
    return SentimentModel.fit(_counts(comments), comments)


def test_words_of_thumbs_up_read_as_thumbs_up() -> None:
    """It learns what the ratings of this application say."""
    model = _model(_comments(400))
    assert model.uses_words
    assert model.reading({"great", "clear"}) > 0.95
    assert model.reading({"slow", "wrong"}) < 0.05


def test_equal_ratings_give_equal_readings_in_any_order() -> None:
    """To the last bit: nothing depends on the order of comments, or of terms in a set."""
    comments = _comments(300, sounds=True)
    shuffled = Random(2).sample(comments, len(comments))
    assert _model(shuffled) == _model(comments)
    terms = sorted(comments[0].terms)
    assert _model(shuffled).reading(terms) == _model(comments).reading(terms[::-1])


def test_few_ratings_leave_the_reading_to_the_analyser() -> None:
    """With a handful of labels words decide nothing; what the analyser said does."""
    model = _model(_comments(8, sounds=True))
    assert not model.uses_words
    assert model.reading({"wrong", "~4"}) > 0.5 > model.reading({"great", "~-4"})


def test_without_ratings_the_analyser_is_shrunk_to_nothing_else() -> None:
    """No counts at all: its own reading; and one half where there is no analyser either."""
    model = SentimentModel.fit(TermCounts(), [])
    assert model.reading({"~4"}) > 0.9
    assert model.reading({"~-4"}) < 0.1
    assert model.reading({"great"}) == 0.5


def test_a_comment_does_not_vouch_for_itself() -> None:
    """Left out, a comment with words that no other has reads as if it had not been counted."""
    comments = _comments(300)
    only = RatedTerms(frozenset({"unheard"}), is_up=True)
    with_it, without = _model([*comments, only]), _counts(comments)
    model = SentimentModel(without, with_it.slope, with_it.intercept, uses_words=True)
    assert with_it.reading_without(only.terms, is_up=True) == model.reading(only.terms)


def test_the_sample_is_the_same_of_any_order() -> None:
    """It is chosen by hashes of ids, not by time or order, and bounded."""
    rated = [a_feedback(f"feedback-{number}", comment="good") for number in range(2_500)]
    sample = calibration_sample(rated)
    assert len(sample) == 2_000
    assert calibration_sample(rated[::-1]) == sample
    assert RatedTerms.of(rated[0]).terms == {"good"}

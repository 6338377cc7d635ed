"""Readings of comments, learned from ratings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import harken
from harken import Change, Harken, InvalidQuery, ModerationStatus, Rating, Sentiment
from harken.testing.builders import with_content
from services.learning import STORAGES, opened, rated
from support import ManualClock, a_feedback


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken that has learned from 300 comments."""
    with harken.connect("memory://", clock=clock) as hk:
        hk.collection.restore(rated(300))
        clock.turn(minutes=1)
        yield hk


def likelihood(hk: Harken, comment: str, **parts: object) -> float:
    """The reading of a neutral comment that is not stored."""
    one = a_feedback("unknown", Rating.NEUTRAL, comment, **parts)
    return hk.sentiment.readings([one])["unknown"].likelihood


class TestReadings:
    def test_words_read_as_those_who_used_them_rated(self, hk: Harken) -> None:
        """A comment with words of thumbs-up reads as a thumbs-up, in the words of this application."""
        assert likelihood(hk, "great and clear") > 0.9
        assert likelihood(hk, "slow and rude") < 0.1
        assert hk.sentiment.readings(hk.feedback().items)["1-0001"].by == "words"

    def test_feedback_without_a_comment_has_no_reading(self, hk: Harken) -> None:
        """Its id is left out."""
        assert hk.sentiment.readings([a_feedback("silent"), a_feedback("said", comment="great")]).keys() == {"said"}
        assert hk.sentiment.readings([]) == {}

    def test_a_rating_that_the_comment_contradicts_is_flagged(self, hk: Harken) -> None:
        """Both ways; a neutral rating contradicts nothing."""
        words = {Rating.UP: "rude, slow and wrong", Rating.DOWN: "kind, quick and great", Rating.NEUTRAL: "rude, slow"}
        angry = [a_feedback(rating.word, rating, said) for rating, said in words.items()]
        calm = [a_feedback("calm", Rating.UP, "kind, quick")]
        readings = hk.sentiment.readings([*angry, *calm])
        assert {name for name, one in readings.items() if one.contradicts} == {"up", "down"}

    def test_a_comment_does_not_vouch_for_itself(self, hk: Harken) -> None:
        """Its own words count for others, but not for its own reading."""
        own = a_feedback("own", Rating.UP, "splendid")
        hk.collection.restore([own])
        assert hk.sentiment.readings([own])["own"].likelihood < likelihood(hk, "splendid")

    def test_until_there_are_enough_ratings_the_analyser_decides(self, clock: ManualClock) -> None:
        """With a handful of ratings, only what it said at acceptance counts."""
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore(rated(6))
            assert (
                likelihood(hk, "slow", sentiment=Sentiment(0.9, 0))
                > 0.5
                > likelihood(hk, "great", sentiment=Sentiment(-0.9, 0))
            )
            assert {one.by for one in hk.sentiment.readings(hk.feedback().items).values()} == {"analyser"}

    def test_stored_sentiment_stays(self, hk: Harken) -> None:
        """Readings are computed and change nothing that is stored."""
        before = hk.feedback(limit=300).items
        hk.sentiment.readings(before)
        assert hk.feedback(limit=300).items == before

    def test_other_applications_are_not_learned_from(self, hk: Harken) -> None:
        """The same words may mean the reverse elsewhere, and ids may be the same."""
        swapped = {Rating.UP: Rating.DOWN, Rating.DOWN: Rating.UP}
        reverse = [with_content(one, rating=swapped[one.rating]) for one in rated(300, application="other")]
        hk.collection.restore(reverse)
        assert likelihood(hk, "great and clear", application="other") < 0.1
        assert likelihood(hk, "great and clear") > 0.9
        assert likelihood(hk, "great and clear", application="none") == 0.5


class TestRefitting:
    def test_what_was_added_counts_within_a_minute(self, hk: Harken, clock: ManualClock) -> None:
        """The model is used for a minute, then it has learned the new comments."""
        before = likelihood(hk, "splendid")
        hk.collection.restore([a_feedback(f"new-{n}", Rating.UP, "splendid", created_at=clock.now) for n in range(9)])
        clock.turn(seconds=59)
        assert likelihood(hk, "splendid") == before
        clock.turn(seconds=1)
        assert likelihood(hk, "splendid") > before

    def test_new_comments_are_read_by_a_model_that_does_not_count_them(self, hk: Harken, clock: ManualClock) -> None:
        """In that minute nothing is subtracted that was not added."""
        likelihood(hk, "great")
        new = a_feedback("new", Rating.UP, "splendid", created_at=clock.now)
        hk.collection.restore([new])
        assert hk.sentiment.readings([new])["new"].likelihood == likelihood(hk, "splendid")

    def test_what_was_changed_counts_at_once(self, hk: Harken, clock: ManualClock) -> None:
        """Also if every statistic stays the same."""
        likelihood(hk, "great")
        hk.collection.restore([a_feedback("own", Rating.UP, "splendid", author="ann")])
        clock.turn(minutes=2)
        before = likelihood(hk, "splendid")
        hk.collection.change("default", "own", Change(comment="terrific"))
        assert likelihood(hk, "splendid") < before

    @pytest.mark.parametrize("how", ["rejected", "withdrawn", "erased"])
    def test_what_was_removed_is_forgotten_at_once(self, hk: Harken, clock: ManualClock, how: str) -> None:
        """The reading is that of a storage that never had it."""
        never = likelihood(hk, "splendid")
        hk.collection.restore([a_feedback("own", Rating.UP, "splendid", author="ann")])
        clock.turn(minutes=2)
        assert likelihood(hk, "splendid") > never
        match how:
            case "rejected":
                hk.moderation.decide("default", "own", ModerationStatus.REJECTED)
            case "withdrawn":
                hk.collection.withdraw("default", "own")
            case _:
                hk.collection.erase(hk.query(author="ann"))
        assert likelihood(hk, "splendid") == never

    @pytest.mark.parametrize("kind", STORAGES)
    def test_an_erasure_counts_at_once_in_every_process(self, kind: str, tmp_path: Path, clock: ManualClock) -> None:
        """Also if as much was added as was erased, and no statistic differs."""
        erased = a_feedback("erased", Rating.UP, "splendid", author="ann", session_id="ann's")
        added = a_feedback("added", Rating.UP, "terrific", author="ben", created_at=clock.now)
        with opened(kind, tmp_path) as storage:
            hk, other = harken.connect(storage, clock=clock), harken.connect(storage, clock=clock)
            hk.collection.restore(rated(300))
            never = likelihood(hk, "splendid")
            clock.turn(minutes=2)
            hk.collection.restore([erased])
            for one in (hk, other):
                assert likelihood(one, "splendid") > never
            before = hk.summary()
            hk.collection.erase(hk.query(author="ann"))
            hk.collection.restore([added])
            assert hk.summary() == before
            for one in (hk, other):
                assert likelihood(one, "terrific") > never
                assert likelihood(one, "splendid") == likelihood(one, "unknown")


class TestSurvey:
    def test_averages_and_contradictions_of_a_selection(self, hk: Harken, clock: ManualClock) -> None:
        """The average by rating, and the newest contradictions."""
        negative = rated(6, seed=2, created_at=clock.now)[::2]
        hk.collection.restore([with_content(one, rating=Rating.UP) for one in negative])
        survey = hk.sentiment.survey(hk.query(), limit=2)
        assert [one.id for one, _ in survey.contradictions] == ["2-0004", "2-0002"]
        assert survey.contradicting == 3
        assert survey.by_rating[Rating.DOWN].comments == 150
        assert survey.by_rating[Rating.UP].likelihood == pytest.approx(1, abs=0.1)
        assert survey.by_rating[Rating.DOWN].likelihood == pytest.approx(0, abs=0.1)
        assert survey.by_rating[Rating.NEUTRAL] == harken.AverageReading(None, 0)
        assert hk.sentiment.survey(hk.query(author="nobody")).contradictions == ()

    def test_the_average_of_a_selection(self, hk: Harken) -> None:
        """The mean of the readings of its comments."""
        page = hk.feedback(limit=300, author="author-3").items
        likelihoods = [one.likelihood for one in hk.sentiment.readings(page).values()]
        average = hk.sentiment.average(hk.query(author="author-3"))
        assert average.comments == len(page) == 15
        assert average.likelihood == pytest.approx(sum(likelihoods) / 15)
        assert hk.sentiment.average(hk.query(author="nobody")) == harken.AverageReading(None, 0)

    def test_a_limit_is_checked(self, hk: Harken) -> None:
        """As everywhere."""
        with pytest.raises(InvalidQuery, match="limit must be from 1 to 1,000, got 0"):
            hk.sentiment.survey(hk.query(), limit=0)


class TestEvaluation:
    def test_readings_are_compared_with_ratings(self, hk: Harken) -> None:
        """Learned, and by the analyser alone; neutral feedback and feedback without a comment are left out."""
        hk.collection.restore([a_feedback("neutral", Rating.NEUTRAL, "slow"), a_feedback("silent", Rating.UP)])
        evaluation = hk.sentiment.evaluate("default")
        assert (evaluation.up, evaluation.down, evaluation.by) == (150, 150, "words")
        assert evaluation.learned
        assert evaluation.learned.accuracy == 1.0
        assert evaluation.analyser
        assert evaluation.analyser.comments == 300

    def test_without_an_analyser_there_is_nothing_beside_it(self, clock: ManualClock) -> None:
        """The analyser's column is absent."""
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore(rated(10, sentiment=None))
            assert hk.sentiment.evaluate("default").analyser is None

    def test_without_ratings_of_both_kinds_there_is_no_evaluation(self, clock: ManualClock) -> None:
        """The numbers say what is missing."""
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore(rated(10)[1::2])
            evaluation = hk.sentiment.evaluate("default")
            assert (evaluation.up, evaluation.down) == (5, 0)
            assert evaluation.learned is evaluation.analyser is None

    def test_guessing_is_not_rewarded(self, clock: ManualClock) -> None:
        """Random words predict nothing once each comment is left out, although each predicts itself."""
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore(
                [a_feedback(f"r-{n:03}", Rating.UP if n % 2 else Rating.DOWN, f"word{n}") for n in range(200)]
            )
            learned = hk.sentiment.evaluate("default").learned
            assert learned
            assert learned.auc <= 0.5

    @pytest.mark.parametrize("rating", [Rating.UP, Rating.DOWN])
    def test_a_polarity_of_zero_counts_as_what_is_right_more_often(self, clock: ManualClock, rating: Rating) -> None:
        """The analyser is not blamed for the side of one half on which such comments are."""
        even = rated(20, sentiment=Sentiment(0, 0))
        more = [with_content(one, rating=rating) for one in rated(20, seed=2, sentiment=Sentiment(0, 0))]
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore([*even, *more])
            analyser = hk.sentiment.evaluate("default").analyser
            assert analyser
            assert (analyser.accuracy, analyser.auc) == (0.75, 0.5)

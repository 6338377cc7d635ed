"""Readings of comments, learned from ratings."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Change, Content, Harken, InvalidQuery, ModerationStatus, Rating, Sentiment
from harken.domain.moderation import Moderation
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


_CHANGES: dict[str, Change | ModerationStatus | Callable[[Harken, str, str], object]] = {
    "edit": lambda hk, name, word: hk.collection.change("default", name, Change(comment=word)),
    "rate up": Change(rating=Rating.UP),
    "rate neutral": Change(rating=Rating.NEUTRAL),
    "tag": Change(tags=["staff"]),
    "reject": ModerationStatus.REJECTED,
    "approve": ModerationStatus.APPROVED,
    "withdraw": lambda hk, name, _: hk.collection.withdraw("default", name),
    "reply": lambda hk, name, word: hk.collection.reply("default", name, f"About {word}"),
}
#: What a step does, the place of the feedback that it is done to, and how many seconds pass then.
_STEPS = st.tuples(
    st.sampled_from(("add", "hold", *_CHANGES, "add", "edit")), st.integers(0, 9), st.sampled_from((0, 1, 61))
)


def _take(hk: Harken, step: str, place: int, word: str, now: datetime) -> None:
    """Take a step; what is said consists of this word only."""
    if step in ("add", "hold"):
        moderation = Moderation.held("Spam detected") if step == "hold" else Moderation()
        rating = (Rating.UP, Rating.DOWN, Rating.NEUTRAL)[place % 3]
        hk.collection.restore([a_feedback(f"f-{word}", rating, word, created_at=now, moderation=moderation)])
        return
    everything = hk.collection.stream(hk.query().in_any_state())
    if not (mine := [one for one in everything if one.id.startswith("f-") and not one.withdrawn]):
        return
    one = mine[place % len(mine)]
    if isinstance(change := _CHANGES[step], Change):
        hk.collection.change("default", one.id, change)
    elif isinstance(change, ModerationStatus):
        if change is not one.moderation.status:
            hk.moderation.decide("default", one.id, change)
    else:
        change(hk, one.id, word)


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

    def test_a_clock_that_is_set_back(self, hk: Harken, clock: ManualClock) -> None:
        """A change counts at once, although it looks older than the model."""
        hk.collection.restore([a_feedback("own", Rating.UP, "splendid", author="ann")])
        before = likelihood(hk, "splendid")
        clock.turn(days=-1)
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

    @pytest.mark.parametrize(
        "change",
        [
            lambda hk: hk.collection.reply("default", "1-0001", "Thank you"),
            lambda hk: hk.collection.change("default", "1-0001", Change(tags=["staff"], context={"tier": "free"})),
            lambda hk: hk.collection.change("default", "silent", Change(rating=None)),
            lambda hk: hk.collection.withdraw("default", "silent"),
            lambda hk: hk.collection.change("default", "neutral", Change(comment="Slow, and now I know why")),
            lambda hk: hk.collection.change("default", "new-1", Change(comment="splendid and great")),
            lambda hk: hk.moderation.decide("default", "held", ModerationStatus.APPROVED),
            lambda hk: hk.moderation.decide("default", "held", ModerationStatus.REJECTED),
        ],
        ids=["reply", "tags", "vote", "withdrawn vote", "neutral", "new comment", "approval", "rejection"],
    )
    def test_other_changes_count_within_a_minute(
        self, hk: Harken, clock: ManualClock, change: Callable[[Harken], object]
    ) -> None:
        """Those of feedback that the model has not learned from, or that change nothing that it learned."""
        held = Moderation.held("Spam detected")
        hk.collection.restore(
            [
                a_feedback("silent", Rating.UP, author="ann"),
                a_feedback("neutral", Rating.NEUTRAL, "Slow, but I do not know why"),
                a_feedback("held", Rating.UP, "buy splendid pills", moderation=held),
            ]
        )
        before = likelihood(hk, "splendid")
        hk.collection.restore([a_feedback(f"new-{n}", Rating.UP, "splendid", created_at=clock.now) for n in range(9)])
        change(hk)
        for _ in range(2):
            assert likelihood(hk, "splendid") == before
            clock.turn(seconds=29)
        clock.turn(seconds=2)
        assert likelihood(hk, "splendid") > before

    def test_a_change_that_is_stored_late_counts_at_once(self, clock: ManualClock) -> None:
        """The model was fitted after the change was made, and before it was stored."""
        own = a_feedback("own", Rating.UP, "splendid", created_at=clock.now)
        with harken.open_storage("memory://") as storage, harken.connect(storage, clock=clock) as hk:
            hk.collection.restore(rated(300))
            hk.collection.restore([own])
            clock.turn(minutes=2)
            changed = own.revised(Content(Rating.UP, "terrific"), at=clock.now)
            clock.turn(seconds=9)
            assert likelihood(hk, "splendid") > likelihood(hk, "unknown")
            storage.feedback.replace(changed, [])
            assert likelihood(hk, "splendid") == likelihood(hk, "unknown")

    def test_what_another_program_removed_is_forgotten_at_once(self, clock: ManualClock) -> None:
        """Even if it was interrupted before it counted the erasure."""
        with harken.open_storage("memory://") as storage, harken.connect(storage, clock=clock) as hk:
            hk.collection.restore(rated(300))
            never = likelihood(hk, "splendid")
            hk.collection.restore([a_feedback("own", Rating.UP, "splendid", author="ann")])
            clock.turn(minutes=2)
            assert likelihood(hk, "splendid") > never
            storage.feedback.erase(hk.query(author="ann"), at=clock.now)
            assert likelihood(hk, "splendid") == never

    @given(steps=st.lists(_STEPS, max_size=12))
    def test_nothing_that_was_removed_is_used_in_any_history(self, steps: list[tuple[str, int, int]]) -> None:
        """No reading uses a word that is in no approved comment with a thumb any more."""
        clock = ManualClock()
        with harken.connect("memory://", clock=clock) as hk:
            hk.collection.restore(rated(120))
            clock.turn(minutes=2)
            for number, (step, place, seconds) in enumerate(steps):
                _take(hk, step, place, f"word{number}", clock.now)
                clock.turn(seconds=seconds)
                learnable = {one.comment for one in hk.export() if one.rating is not Rating.NEUTRAL}
                unknown = likelihood(hk, "unknown")
                for word in {f"word{other}" for other in range(number)} - learnable:
                    assert likelihood(hk, word) == unknown

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
        average = hk.sentiment.survey(hk.query(author="author-3")).average
        assert average.comments == len(page) == 15
        assert average.likelihood == pytest.approx(sum(likelihoods) / 15)
        assert hk.sentiment.survey(hk.query(author="nobody")).average == harken.AverageReading(None, 0)

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

"""Readings of comments by embeddings, computed in the background."""

import os
from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from threading import enumerate as all_threads

import pytest

import harken
from harken import Change, Harken, ModerationStatus, Rating
from harken.services.embeddings import MAX_COMMENTS
from harken.testing.builders import with_content
from services.learning import Moods, rated, unclear
from support import NOON, ManualClock, a_feedback, eventually

_THREAD = "harken-embeddings"


@pytest.fixture
def moods() -> Moods:
    """The feature extractor of ``hk``."""
    return Moods()


@pytest.fixture
def hk(clock: ManualClock, moods: Moods) -> Iterator[Harken]:
    """A Harken with 100 comments that words do not explain."""
    with harken.connect("memory://", clock=clock, feature_extractor=moods) as hk:
        hk.collection.restore(unclear(100))
        clock.turn(minutes=1)
        yield hk
        moods.go_on.set()


def compute(hk: Harken, application: str = "default") -> list[int]:
    """Wait until embeddings are up to date; returns the numbers of comments done meanwhile."""
    return list(hk.sentiment.wait_for_embeddings(application))


def ways(hk: Harken) -> set[str]:
    """What the readings of stored feedback are made by."""
    return {one.by for one in hk.sentiment.readings(hk.feedback(limit=1_000).items).values()}


class TestReadings:
    def test_embeddings_count_once_they_are_computed(self, hk: Harken, moods: Moods) -> None:
        """Readings never wait for them: until then, words are read."""
        moods.block()
        assert "embeddings" not in ways(hk)
        moods.go_on.set()
        compute(hk)
        assert ways(hk) == {"embeddings"}
        page = hk.feedback(limit=100).items
        readings = hk.sentiment.readings(page)
        assert all((readings[one.id].likelihood > 0.5) == (one.rating is Rating.UP) for one in page)

    def test_a_thread_computes_them(self, hk: Harken) -> None:
        """After the first reading, nothing else needs to be called."""
        ways(hk)
        eventually(lambda: ways(hk) == {"embeddings"})

    def test_comments_without_features_are_read_by_words(self, hk: Harken) -> None:
        """A comment that is not among the newest, or is too new, has a reading in any case."""
        compute(hk)
        new = a_feedback("new", Rating.NEUTRAL, "never seen")
        assert hk.sentiment.readings([new])["new"].by != "embeddings"

    def test_neutral_comments_are_read_too(self, hk: Harken) -> None:
        """They have features, and nothing is learned from them."""
        hk.collection.restore([a_feedback("neutral", Rating.NEUTRAL, "kind and quick")])
        compute(hk)
        reading = hk.sentiment.readings(hk.feedback(rating=None).items)["neutral"]
        assert reading.by == "embeddings"
        assert reading.likelihood > 0.5

    def test_a_contradiction_is_flagged(self, hk: Harken) -> None:
        """Also if only embeddings find it."""
        hk.collection.restore([a_feedback("odd", Rating.UP, "rude")])
        compute(hk)
        assert hk.sentiment.readings([hk.collection.get("default", "odd")])["odd"].contradicts

    def test_a_comment_does_not_vouch_for_itself(self, hk: Harken, clock: ManualClock, moods: Moods) -> None:
        """Its reading is that of a Harken which learned from the others, but for the calibration."""
        odd = a_feedback("odd", Rating.UP, "rude")
        hk.collection.restore([odd])
        compute(hk)
        own = hk.sentiment.readings([odd])["odd"].likelihood
        # The same comment of other feedback is read by all that was learned.
        assert own < hk.sentiment.readings([a_feedback("other", Rating.UP, odd.comment)])["other"].likelihood

    def test_words_are_used_where_they_are_as_good(self, clock: ManualClock, moods: Moods) -> None:
        """Embeddings count only if they are clearly better."""
        with harken.connect("memory://", clock=clock, feature_extractor=moods) as hk:
            hk.collection.restore(rated(300))
            compute(hk)
            assert ways(hk) == {"words"}
            evaluation = hk.sentiment.evaluate("default").embeddings
            assert evaluation is not None
            assert not evaluation.are_used

    def test_only_the_newest_comments_have_features(self, clock: ManualClock, moods: Moods) -> None:
        """The work is bounded, for any number of comments."""
        with harken.connect("memory://", clock=clock, feature_extractor=moods) as hk:
            hk.collection.restore(unclear(MAX_COMMENTS + 100))
            compute(hk)
            assert len(moods.asked) == MAX_COMMENTS
            newest = {one.comment for one in hk.feedback(limit=MAX_COMMENTS).items}
            assert set(moods.asked) == newest

    def test_without_an_extractor_nothing_changes(self, clock: ManualClock, hk: Harken) -> None:
        """Until embeddings are computed and after they were dropped, readings are those without an extractor."""
        with harken.connect("memory://", clock=clock) as plain:
            plain.collection.restore(unclear(100))
            page = plain.feedback(limit=100).items
            assert compute(plain) == []
            assert plain.sentiment.evaluate("default").embeddings is None
            words = plain.sentiment.readings(page)
        hk.sentiment._embeddings.learn_soon = lambda *_: None  # type: ignore[union-attr, method-assign]
        assert hk.sentiment.readings(page) == words


class TestRefitting:
    def test_features_are_computed_once(self, hk: Harken, clock: ManualClock, moods: Moods) -> None:
        """A new comment costs one computation, and the readings of the others stay meanwhile."""
        compute(hk)
        moods.asked.clear()
        hk.collection.restore([a_feedback("new", Rating.UP, "kind", created_at=clock.now)])
        clock.turn(minutes=2)
        assert "embeddings" in ways(hk)
        compute(hk)
        assert moods.asked == ["kind"]

    @pytest.mark.parametrize("how", ["changed", "rejected", "withdrawn", "erased"])
    def test_what_was_removed_is_forgotten_at_once(
        self, hk: Harken, clock: ManualClock, moods: Moods, how: str
    ) -> None:
        """No reading uses features of it any more; then they equal those of a storage that never had it."""
        own = a_feedback("own", Rating.UP, "rude", author="ann")
        hk.collection.restore([own])
        compute(hk)
        clock.turn(minutes=2)
        # Its features are computed before anything is learned again.
        moods.block("quick")
        hk.collection.restore([a_feedback("new", Rating.UP, "quick")])
        match how:
            case "changed":
                hk.collection.change("default", "own", Change(comment="fine"))
            case "rejected":
                hk.moderation.decide("default", "own", ModerationStatus.REJECTED)
            case "withdrawn":
                hk.collection.withdraw("default", "own")
            case _:
                hk.collection.erase(hk.query(author="ann"))
        assert "embeddings" not in ways(hk)
        moods.go_on.set()
        compute(hk)
        others = [one for one in hk.feedback(limit=1_000).items if one.id != "own"]
        with harken.connect("memory://", clock=clock, feature_extractor=Moods()) as never:
            never.collection.restore(unclear(100))
            never.collection.restore([a_feedback("new", Rating.UP, "quick")])
            if how == "changed":
                never.collection.restore([with_content(own, comment="fine")])
            compute(never)
            assert hk.sentiment.readings(others) == never.sentiment.readings(others)
        service = hk.sentiment._embeddings
        assert service is not None
        assert own.comment not in service._kept["default"].features

    def test_what_is_removed_while_it_is_learned_is_forgotten(
        self, hk: Harken, clock: ManualClock, moods: Moods
    ) -> None:
        """A fit that began before an erasure is not used."""
        hk.collection.restore([a_feedback("own", Rating.UP, "rude", author="ann")])
        moods.block()
        ways(hk)
        eventually(lambda: moods.asked)
        hk.collection.erase(hk.query(author="ann"))
        ways(hk)
        hk.collection.restore([a_feedback("new", Rating.UP, "quick")])
        clock.turn(minutes=2)
        ways(hk)
        moods.blocks_at = "quick"
        first, moods.go_on = moods.go_on, Event()
        first.set()
        # The second fit has begun, so the first one has ended.
        eventually(lambda: "quick" in moods.asked)
        assert "embeddings" not in ways(hk)
        moods.go_on.set()
        compute(hk)
        assert ways(hk) == {"embeddings"}

    def test_an_extractor_that_fails(
        self, hk: Harken, moods: Moods, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is logged, and words are read."""
        monkeypatch.setattr(moods, "features", lambda _: 1 / 0)
        assert "embeddings" not in ways(hk)
        eventually(lambda: "harken-embeddings failed" in caplog.text)
        assert "embeddings" not in ways(hk)

    def test_many_applications(self, clock: ManualClock, moods: Moods) -> None:
        """Features of the applications that were read last are kept."""
        with harken.connect("memory://", clock=clock, feature_extractor=moods) as hk:
            for number in range(20):
                hk.collection.restore(unclear(4, application=f"app-{number:02}"))
                compute(hk, f"app-{number:02}")
            service = hk.sentiment._embeddings
            assert service is not None
            assert list(service._kept) == [f"app-{number:02}" for number in range(4, 20)]
            assert service._readings.keys() == service._kept.keys()


class TestThread:
    def test_nothing_runs_without_readings(self, clock: ManualClock, moods: Moods) -> None:
        """The thread starts when readings are needed."""
        with harken.connect("memory://", clock=clock, feature_extractor=moods) as hk:
            hk.submit("s", "up", "great")
        assert moods.asked == []

    def test_closing_ends_it(self, hk: Harken, moods: Moods, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the comment that it reads, without those that wait."""
        asked: list[str] = []

        def close(text: str) -> list[int]:
            asked.append(text)
            hk.sentiment.close()
            return [0]

        monkeypatch.setattr(moods, "features", close)
        ways(hk)
        eventually(lambda: asked and _THREAD not in {one.name for one in all_threads()})
        assert len(asked) == 1

    def test_a_fork_reads_by_words(self, hk: Harken) -> None:
        """The thread is not in the child, so embeddings could not be kept up to date there."""
        compute(hk)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, ",".join(sorted(ways(hk))).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            assert "embeddings" not in (pipe.read() or "embeddings")
        os.waitpid(child, 0)


class TestEvaluation:
    def test_embeddings_are_compared_with_words(self, hk: Harken) -> None:
        """On the same comments, each left out."""
        hk.collection.restore([a_feedback("neutral", Rating.NEUTRAL, "kind", created_at=NOON - timedelta(days=1))])
        compute(hk)
        evaluation = hk.sentiment.evaluate("default").embeddings
        assert evaluation is not None
        assert evaluation.embeddings is not None
        assert evaluation.otherwise is not None
        assert evaluation.embeddings.comments == evaluation.otherwise.comments == 100
        assert evaluation.are_used
        assert evaluation.embeddings.brier < evaluation.otherwise.brier

    def test_waiting_shows_progress(self, hk: Harken, moods: Moods) -> None:
        """The number of comments done so far; nothing if all are done."""
        moods.block("wrongx0")
        steps = hk.sentiment.wait_for_embeddings("default")
        assert 0 <= next(steps) < 100
        moods.go_on.set()
        assert all(0 <= done <= 100 for done in steps)
        assert compute(hk) == []

    def test_waiting_ends_if_nothing_is_computed(self, hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failure, and a Harken that was closed, do not make callers wait for ever."""
        monkeypatch.setattr(hk.sentiment._embeddings, "_extractor", None)
        compute(hk)
        assert hk.sentiment.evaluate("default").embeddings is None
        hk.sentiment.close()
        hk.collection.change("default", "1-0001", Change(comment="fine"))
        assert compute(hk) == []

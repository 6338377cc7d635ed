"""Spam detection that learns from the decisions of moderators."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

import harken
from harken import Change, Feedback, Harken, ModerationStatus
from harken.domain.moderation import Moderation
from harken.services import spam
from harken.testing.builders import with_content
from services.learning import STORAGES, decided, opened, pending
from support import ManualClock, a_feedback


def learned(hk: Harken, count: int = 60) -> Harken:
    """The Harken, after decisions of both kinds, `count` of each."""
    hk.collection.restore(decided(count, ModerationStatus.APPROVED) + decided(count, ModerationStatus.REJECTED))
    return hk


class TestReadings:
    def test_pending_comments_are_compared_with_decisions(self, hk: Harken) -> None:
        """What resembles rejected comments is likely to be rejected, and has a reason."""
        learned(hk)
        readings = hk.spam.readings([pending("cheap casino bonus", "spam"), pending("refund of my booking", "honest")])
        assert readings["spam"].likelihood > 0.9
        assert readings["spam"].reason == "resembles rejected comments"
        assert readings["honest"].likelihood < 0.1
        assert readings["honest"].reason == ""

    @pytest.mark.parametrize("few", [ModerationStatus.APPROVED, ModerationStatus.REJECTED])
    def test_it_is_off_until_it_has_seen_enough_of_both(self, hk: Harken, few: ModerationStatus) -> None:
        """49 of one kind are too few, however many there are of the other."""
        other = {ModerationStatus.APPROVED, ModerationStatus.REJECTED} - {few}
        hk.collection.restore(decided(49, few) + decided(90, other.pop()))
        assert hk.spam.readings([pending("cheap casino bonus")]) == {}
        assert not hk.spam.evaluate("default").is_on

    def test_it_is_off_if_words_predict_nothing(self, hk: Harken) -> None:
        """Moderators who decide by something else than words teach it nothing."""
        words = Random(1)
        same = [
            with_content(one, comment=words.choice(("this", "that", "these", "those")))
            for status in (ModerationStatus.APPROVED, ModerationStatus.REJECTED)
            for one in decided(100, status)
        ]
        hk.collection.restore(same)
        assert hk.spam.readings([pending("this")]) == {}

    def test_only_decisions_of_moderators_count(self, hk: Harken) -> None:
        """Feedback that no rule held, pending feedback, and feedback without a comment do not."""
        learned(hk)
        before = hk.spam.evaluate("default")
        hk.collection.restore(
            [
                a_feedback("unmoderated", comment="casino bonus", version=2),
                pending("casino bonus"),
                *(with_content(one, comment="") for one in decided(3, ModerationStatus.APPROVED, name="silent-")),
                *decided(3, ModerationStatus.APPROVED, name="elsewhere-", application="other"),
            ]
        )
        assert hk.spam.evaluate("default") == before

    def test_authors_teach_nothing(self, hk: Harken, clock: ManualClock) -> None:
        """What counts is the comment that the moderator saw, also if its author changes or withdraws it later."""
        learned(hk)
        before = hk.spam.evaluate("default")
        for number in range(60):
            for status in (ModerationStatus.APPROVED, ModerationStatus.REJECTED):
                feedback_id = f"{status.value}-{number}"
                if status is ModerationStatus.APPROVED:
                    # A changed comment that was rejected is pending again.
                    hk.collection.change("default", feedback_id, Change(comment="Another text"))
                if number % 2:
                    hk.collection.withdraw("default", feedback_id)
        clock.turn(minutes=1)
        assert hk.spam.evaluate("default") == before

    def test_a_clock_that_is_set_back(self, hk: Harken, clock: ManualClock) -> None:
        """Decisions count at once, instead of when the clock has caught up."""
        learned(hk)
        one = pending("lottery")
        before = hk.spam.readings([one])["pending"].likelihood
        clock.turn(days=-1)
        hk.collection.restore(
            [with_content(a, comment="lottery") for a in decided(9, ModerationStatus.REJECTED, name="l-")]
        )
        assert hk.spam.readings([one])["pending"].likelihood > before

    def test_only_pending_feedback_is_read(self, hk: Harken) -> None:
        """A decision is made; nothing comments on it."""
        learned(hk)
        assert hk.spam.readings([a_feedback("approved", comment="casino"), pending("", "silent")]) == {}

    def test_it_decides_nothing(self, hk: Harken) -> None:
        """A submission is accepted as before, and pending feedback stays as it is stored."""
        learned(hk)
        assert hk.submit("s", "up", "cheap pills, bonus pills").feedback.moderation == Moderation()
        held = pending("cheap pills, bonus pills")
        hk.collection.restore([held])
        hk.spam.readings([held])
        assert hk.moderation.queue(hk.query()).items == (held,)


class TestLearning:
    def test_decisions_count_within_a_minute(self, hk: Harken, clock: ManualClock) -> None:
        """It learns from each decision, but reads them once a minute at most."""
        learned(hk)
        one = pending("lottery")
        before = hk.spam.readings([one])["pending"].likelihood
        for number in range(5):
            receipt = hk.submit(f"s-{number}", "up", "lottery")
            hk.moderation.decide("default", receipt.feedback.id, ModerationStatus.REJECTED, moderator="mo")
        assert hk.spam.readings([one])["pending"].likelihood == before
        clock.turn(minutes=1)
        assert hk.spam.readings([one])["pending"].likelihood > before

    def test_decisions_of_a_year_count(self, hk: Harken, clock: ManualClock) -> None:
        """Each once, whenever it was made; those before are forgotten."""
        for minutes in (0, 59, 60, 61, 119, 120, 60 * 24 * 40, 60 * 24 * 364, 60 * 24 * 365):
            at = clock.now - timedelta(minutes=minutes)
            hk.collection.restore(decided(1, ModerationStatus.REJECTED, name=f"{minutes}-", updated_at=at))
        assert hk.spam.evaluate("default").rejected == 9
        clock.turn(seconds=1)
        assert hk.spam.evaluate("default").rejected == 8

    def test_the_newest_changes_are_searched_for_decisions(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that other changes, such as replies, do not make it slow: few more are read than count."""
        monkeypatch.setattr(spam, "_MAX_CHANGES", 100)
        read: list[str] = []
        with harken.open_storage("memory://") as storage, harken.connect(storage, clock=clock) as hk:
            for number in range(2_000):
                at = clock.now - timedelta(hours=4 * number)
                (kind,) = decided(1, ModerationStatus.REJECTED, name=f"{number}-", updated_at=at)
                hk.collection.restore([kind if number % 50 == 49 else evolve(kind, moderation=Moderation())])
            changes = storage.feedback.changes

            def recorded(application: str, *, since: datetime) -> Iterator[Feedback]:
                return (read.append(one.id) or one for one in changes(application, since=since))

            monkeypatch.setattr(storage.feedback, "changes", recorded)
            assert hk.spam.evaluate("default").rejected == 2
        assert len(read) < 300

    @pytest.mark.parametrize("kind", STORAGES)
    def test_an_erased_author_leaves_nothing(self, kind: str, tmp_path: Path, clock: ManualClock) -> None:
        """At once, readings equal those of a storage that never saw the author, to the last bit."""
        with opened(kind, tmp_path) as storage, harken.connect("memory://", clock=clock) as other:
            hk = harken.connect(storage, clock=clock)
            learned(hk)
            learned(other)
            hk.collection.restore(decided(20, ModerationStatus.REJECTED, name="ann-", author="ann", session_id="ann's"))
            waiting: Sequence[Feedback] = [pending("cheap booking"), pending("casino refund", "second")]
            hk.spam.readings(waiting)
            hk.collection.erase(hk.query(author="ann"))
            assert hk.spam.readings(waiting) == other.spam.readings(waiting) != {}
            assert hk.spam.evaluate("default") == other.spam.evaluate("default")


class TestEvaluation:
    def test_likelihoods_are_compared_with_decisions(self, hk: Harken) -> None:
        """Each as if the decision had not been learned from."""
        evaluation = learned(hk).spam.evaluate("default")
        assert (evaluation.approved, evaluation.rejected, evaluation.is_on) == (60, 60, True)
        assert evaluation.likelihoods
        assert evaluation.likelihoods.accuracy == 1.0
        assert evaluation.likelihoods.auc == 1.0

    def test_without_decisions_of_both_kinds_there_is_no_evaluation(self, hk: Harken) -> None:
        """The numbers say what is missing."""
        hk.collection.restore(decided(5, ModerationStatus.REJECTED))
        assert hk.spam.evaluate("default") == harken.SpamEvaluation(0, 5, is_on=False, likelihoods=None)

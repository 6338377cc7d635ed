"""The counts of what rules refused and held."""

import logging
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest

import harken
from harken import (
    Change,
    FeedbackQuery,
    FeedbackRejected,
    Harken,
    InvalidQuery,
    RatingPolicy,
    StorageUnavailable,
    Violation,
)
from harken.configuration.storage_urls import open_storage
from harken.services.feedback.rule_counts import MAX_RULES, OTHERS, DayCount, RuleCounts
from harken.testing import Faults
from support import NOON, ManualClock, a_submission, eventually, in_threads

APP = "default"


def refuse(hk: Harken, comment: str, **parts: object) -> None:
    """Submit what is refused."""
    with pytest.raises(FeedbackRejected):
        hk.collection.submit(a_submission(comment=comment, **parts))


def counted(hk: Harken, application: str = APP, days: int = 7) -> dict[str, tuple[int, int]]:
    """How much each rule refused and held."""
    return {one.rule: (one.refused, one.held) for one in hk.moderation.rule_counts(application, days=days)}


def test_refused_submissions(storage_url: str, clock: ManualClock) -> None:
    """Each rule of a refused submission counts once, by the day in UTC, for the application of the submission."""
    with harken.connect(storage_url, clock=clock) as hk:
        refuse(hk, "casino, " * 200)
        refuse(hk, "viagra")
        refuse(hk, "", rating="down")
        refuse(hk, "", rating="sideways", tags=[""])
        refuse(hk, "x" * 10_000)
        refuse(hk, "casino", application="other")
        hk.submit("s", "up", "Fine")
        clock.turn(days=1)
        refuse(hk, "casino")
        assert counted(hk) == {
            "spam phrases": (3, 0),
            "comment length": (2, 0),
            "reason when down": (1, 0),
            "invalid rating": (1, 0),
            "invalid tags": (1, 0),
        }
        assert counted(hk, "other") == {"spam phrases": (1, 0)}
        assert counted(hk, "unknown") == {}
        (spam, *_) = hk.moderation.rule_counts(APP, days=3)
        first = NOON.date()
        assert spam.days == (
            DayCount(first - timedelta(days=1)),
            DayCount(first, refused=2),
            DayCount(first + timedelta(days=1), refused=1),
        )
        assert counted(hk, days=1) == {"spam phrases": (1, 0)}


def test_held_feedback(clock: ManualClock) -> None:
    """Feedback that is held counts once it is stored: a retry does not, a change that is held does."""
    policy = RatingPolicy.standard(spam="hold")
    with harken.connect("memory://", clock=clock, policy=policy) as hk:
        held = hk.submit("s", "up", "casino", idempotency_key="key").feedback
        assert hk.submit("s", "up", "casino", idempotency_key="key").duplicate
        hk.submit_soon("s", "up", "casino").result()
        hk.collection.submit_many([a_submission(comment="casino")] * 2)
        assert counted(hk) == {"spam phrases": (0, 4)}
        hk.change(held.id, harken.Change(comment="casino!"))
        hk.change(held.id, harken.Change(comment="casino!"))
        hk.change(held.id, harken.Change(comment="Fine"))
        assert counted(hk) == {"spam phrases": (0, 5)}
        hk.vote("s", "up", "casino", author="ann")
        hk.vote("s", "up", "casino", author="ann")
        assert counted(hk) == {"spam phrases": (0, 6)}


def test_changes_that_are_repeated_or_fail(storage_url: str, clock: ManualClock) -> None:
    """A change counts once, however often it is tried again because of others, and not if it is not stored."""
    policy, faults = RatingPolicy.standard(spam="hold"), Faults()
    with open_storage(storage_url) as storage, harken.connect(storage, clock=clock, policy=policy) as hk:
        feedback_id = hk.submit("s", "up", "Fine").feedback.id

        def change(number: int, hk: Harken = hk) -> None:
            hk.collection.change(APP, feedback_id, Change(comment=f"viagra {number}"))

        in_threads([partial(change, number) for number in range(8)])
        assert counted(hk) == {"spam phrases": (0, 8)}
        with harken.connect(faults.around(storage), clock=clock, policy=policy) as failing:
            faults.arm(at=2)
            with pytest.raises(StorageUnavailable):
                change(9, failing)
            assert faults.failed == "feedback.replace"
        assert counted(hk) == {"spam phrases": (0, 8)}


def test_invalid_applications_are_not_counted(clock: ManualClock) -> None:
    """A refused submission may have anything as its application; that is an error of the caller, and no other one."""
    with harken.connect("memory://", clock=clock) as hk:
        for application in ("", "x" * 201, "\x00", 7, ["x"]):
            refuse(hk, "casino", application=application)
        refuse(hk, "fine", context={"bad name": 1})
        assert counted(hk) == {"invalid context": (1, 0)}


def test_processes_add_up(storage_url: str, clock: ManualClock) -> None:
    """The counts of several processes, which write at the same time, are added and none is lost."""
    with harken.open_storage(storage_url) as storage:
        counters = [RuleCounts(storage.state, clock=clock) for _ in range(4)]

        def count(one: RuleCounts) -> None:
            for _ in range(5):
                one.refused(a_submission(), [Violation("comment", "spam", "Spam", rule="spam phrases")])
                one.write()

        assert in_threads([lambda one=one: count(one) for one in counters]) == [None] * 4
        (spam,) = counters[0].counts(APP)
        assert spam.refused == 20
        for one in counters:
            one.close()


def test_counts_are_written_in_the_background(clock: ManualClock) -> None:
    """Another process sees the counts soon, although this one neither reads them nor is closed."""
    with harken.open_storage("memory://") as storage:
        one, other = RuleCounts(storage.state, clock=clock, interval=0), RuleCounts(storage.state, clock=clock)
        for number in range(1, 3):
            one.refused(a_submission(), [Violation("comment", "spam", "Spam", rule="spam phrases")])
            eventually(lambda number=number: [spam.refused for spam in other.counts(APP)] == [number])
        one.close()
        other.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "harken-rule-counts"]


def test_closing_writes_them(tmp_path: object, clock: ManualClock) -> None:
    """What was counted right before a process ends in order is stored."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(url, clock=clock) as hk:
        refuse(hk, "casino")
    with harken.connect(url, clock=clock) as hk:
        assert counted(hk) == {"spam phrases": (1, 0)}


def test_hostile_numbers(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither many names of rules nor many applications fill memory or the storage."""

    def rule(submission: harken.Submission) -> list[Violation]:
        return [Violation("comment", submission.comment, "No", rule=submission.comment)]

    with harken.connect("memory://", clock=clock, policy=RatingPolicy(refuse=(rule,))) as hk:
        for number in range(2 * MAX_RULES):
            refuse(hk, f"rule {number:03}")
        assert len(counted(hk)) == MAX_RULES + 1
        assert counted(hk)[OTHERS] == (MAX_RULES, 0)

    with harken.open_storage("memory://") as storage, caplog.at_level(logging.WARNING):
        faults = Faults()
        counts = RuleCounts(faults.around(storage).state, clock=clock, interval=60)
        faults.arm(at=1, lasting=True)
        for number in range(3_000):
            counts.refused(a_submission(application=f"a{number}"), [Violation("comment", "spam", "Spam", rule="spam")])
        with pytest.raises(StorageUnavailable):
            counts.write()
        faults.disarm()
        stored = [number for number in range(3_000) if counts.counts(f"a{number}")]
        assert 0 < len(stored) <= 1_000
        assert "2048 counts were dropped so far" not in caplog.text
        assert "1024 counts were dropped so far" in caplog.text
        counts.close()


def test_a_storage_that_fails(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Refusals do not fail because counts cannot be stored; these are stored later."""
    faults = Faults()
    with harken.open_storage("memory://") as storage:
        hk = harken.assemble(faults.around(storage), harken.Parts(clock=clock))
        faults.arm(at=1, lasting=True)
        refuse(hk, "casino")
        refuse(hk, "casino", application="other")
        with pytest.raises(StorageUnavailable):
            hk.moderation.rule_counts(APP)
        faults.disarm()
        assert counted(hk) == {"spam phrases": (1, 0)}
        assert counted(hk, "other") == {"spam phrases": (1, 0)}
        refuse(hk, "casino")
        faults.arm(at=1, lasting=True)
        with caplog.at_level(logging.WARNING), suppress(StorageUnavailable):
            hk.close()
        assert "The counts of rules could not be stored" in caplog.text


def test_old_days_are_removed(clock: ManualClock) -> None:
    """Counts can be read for 31 days, with today; the latest 62 days with counts are stored."""
    with harken.open_storage("memory://") as storage:
        hk = harken.assemble(storage, harken.Parts(clock=clock))
        refuse(hk, "casino")
        clock.turn(days=30)
        refuse(hk, "viagra")
        assert counted(hk, days=31) == {"spam phrases": (2, 0)}
        clock.turn(days=1)
        assert counted(hk, days=31) == {"spam phrases": (1, 0)}
        for _ in range(70):
            refuse(hk, "viagra")
            assert counted(hk, days=1) == {"spam phrases": (1, 0)}
            clock.turn(days=1)
        entry = storage.state.get("rule-counts", APP)
        assert entry is not None
        assert len(entry.value) == 62
        for days in (0, 32):
            with pytest.raises(InvalidQuery, match="days must be from 1 to 31"):
                hk.moderation.rule_counts(APP, days=days)
        hk.close()


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
def test_a_clock_that_is_wrong_for_a_moment_removes_nothing(
    storage_url: str, clock: ManualClock, jump: timedelta
) -> None:
    """Writes of a process whose clock is more than a year ahead or late, remove the counts of no other day."""
    right, wrong = clock, ManualClock(clock() + jump)
    with harken.connect(storage_url, clock=right) as hk, harken.connect(storage_url, clock=wrong) as other:
        for _ in range(31):
            refuse(hk, "casino")
            assert counted(hk, days=1) == {"spam phrases": (1, 0)}
            right.turn(days=1)
        for _ in range(3):
            refuse(other, "casino")
            assert counted(other, days=1) == {"spam phrases": (1, 0)}
            wrong.turn(days=1)
        refuse(hk, "casino")
        assert counted(hk, days=31) == {"spam phrases": (31, 0)}


def test_erasing_an_application(clock: ManualClock) -> None:
    """Erasing all feedback of an application erases its counts, also those that were not written yet."""
    with harken.connect("memory://", clock=clock) as hk:
        refuse(hk, "casino")
        assert counted(hk)
        refuse(hk, "casino")
        refuse(hk, "casino", application="other")
        hk.collection.erase(FeedbackQuery(author="ann"))
        assert counted(hk) == {"spam phrases": (2, 0)}
        hk.collection.erase(FeedbackQuery().in_any_state())
        assert (counted(hk), counted(hk, "other")) == ({}, {"spam phrases": (1, 0)})

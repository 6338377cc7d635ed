"""Contract tests for the statistics of feedback repositories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import evolve

from harken.domain.feedback import Content, Context, Feedback, Rating, Sentiment
from harken.domain.instants import SLOT, slot_number, slot_start
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import FeedbackQuery, GroupBy, label
from harken.domain.summary import Summary
from harken.testing.assertions import check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, accepted

MINUTE = timedelta(minutes=1)


class StatisticsContract(FreshStorage):
    """Statistics equal a fold over the feedback, for every grouping, filter and change."""

    def test_statistics_equal_the_fold_for_every_grouping(self) -> None:
        """``summarize`` equals the sum over single entries for each way to group."""
        everything = [
            a_feedback("s1", agent_id="a", rating=Rating.UP, comment="good 👍", sentiment=Sentiment(0.3, 0.7)),
            a_feedback("s1", agent_id="a", rating=Rating.DOWN, comment="bad", tags=("slow", "wrong")),
            a_feedback("s2", agent_id="b", rating=Rating.NEUTRAL, context=Context({"tier": "1"})),
            a_feedback("s2", context=Context({"tier": 1}), created_at=NOON + timedelta(hours=11, minutes=59)),
            a_feedback("s3", agent_id="b", tags=("slow",), context=Context({"tier": True}), sentiment=Sentiment(-1, 0)),
            a_feedback("s3", agent_id="b", created_at=slot_start(slot_number(NOON))),
            a_feedback("s3", agent_id="b", created_at=slot_start(slot_number(NOON)) - datetime.resolution),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*everything))
            for text in ("agent", "session", "tag", "slot", "context.tier"):
                by = GroupBy.parse(text)
                expected = {
                    key: Summary.fold(one for one in everything if key in by.keys(one))
                    for key in {key for one in everything for key in by.keys(one)}
                }
                groups = storage.feedback.summarize(FeedbackQuery(), by)
                check_same(sorted(groups.items(), key=repr), sorted(expected.items(), key=repr))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.fold(everything)})
            check_same(storage.feedback.summarize(FeedbackQuery(session_id="nobody")), {})

    def test_statistics_of_any_time_range_are_exact(self) -> None:
        """``since`` is inclusive and ``until`` exclusive, to the microsecond, at any position in a slot."""
        series = [a_feedback(created_at=NOON + SLOT * index / 2, agent_id=f"a{index % 2}") for index in range(12)]
        moments = [one.created_at + shift for one in series[::3] for shift in (-MINUTE, timedelta(0), MINUTE)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            for since in (None, *moments):
                for until in (None, *moments):
                    query = FeedbackQuery(since=since, until=until, agent_id="a1" if until == moments[-1] else None)
                    expected = Summary.fold(filter(query.matches, series))
                    check_same(storage.feedback.summarize(query).get(None, Summary()), expected)

    def test_statistics_follow_every_change(self) -> None:
        """A changed rating, agent or status, a withdrawal and an erasure change the statistics at once."""
        feedback = a_feedback(agent_id="a", comment="fine")
        steps: list[Callable[[Feedback], Feedback]] = [
            lambda one: one.revised(Content(Rating.DOWN, "not so fine"), at=NOON),
            lambda one: one.revised(one.content, target=evolve(one.target, agent_id="b"), at=NOON),
            lambda one: one.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON),
            lambda one: one.moderated(Moderation(), at=NOON),
            lambda one: one.withdraw(at=NOON),
            lambda one: one.revised(evolve(one.content, sentiment=Sentiment(0.5, 0.5)), at=NOON),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(feedback, a_feedback(agent_id="b")))
            for step in steps:
                feedback = step(storage.feedback.get("default", feedback.id))
                storage.feedback.replace(feedback, [])
                for by in (None, GroupBy.parse("agent"), GroupBy.parse("slot")):
                    counted = Summary.fold(storage.feedback.stream(FeedbackQuery()))
                    groups = storage.feedback.summarize(FeedbackQuery(), by)
                    check_same(sum(groups.values(), Summary()), counted)
                    check_same([key for key, figures in groups.items() if not figures.total], [])

    def test_context_filters_compare_scalars(self) -> None:
        """A context filter compares the label of a string, number or boolean; ``None`` matches an absent key."""
        values = (True, 1, 1.0, "1", "true", 0.1, -0.0, 1e16, 2**53 + 1, "", "null", None)
        stored = [a_feedback(context=Context({"fact": value})) for value in values]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*stored, a_feedback()))
            for value in values:
                found = storage.feedback.stream(FeedbackQuery(context=Context({"fact": value})))
                alike = [label(one.context.get("fact")) == label(value) for one in found]
                expected = sum(label(other) == label(value) for other in (*values, None))
                check_same(alike, [True] * expected)

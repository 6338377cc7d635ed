"""Contract tests for the statistics of feedback repositories."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from attrs import evolve

from harken.domain.feedback import Content, Context, Feedback, Rating, Sentiment
from harken.domain.insight.terms import TermCounts
from harken.domain.instants import SLOT, slot_number, slot_start
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import FeedbackQuery, GroupBy, GroupKey, label
from harken.domain.summary import Summary
from harken.ports.storage import Storage
from harken.testing.assertions import check_same, comparable_terms
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted

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

    def test_filters_with_several_values_match_any_of_them(self) -> None:
        """Several agents, ratings, tags or context values, or comments: lists and statistics are those of the fold."""
        agents, tags = (None, "a", "A", "b", "c"), ((), ("slow",), ("slow", "wrong"), ("too slow",))
        stored = [
            a_feedback(
                agent_id=agents[number % 5],
                rating=tuple(Rating)[number % 3],
                tags=tags[number % 4],
                comment="" if number % 2 else "fine",
                context=Context({"tier": (1, "1", True, "free", None)[number % 5]} if number % 7 else {}),
                created_at=NOON + SLOT * number / 2,
            )
            for number in range(60)
        ]
        queries = [
            FeedbackQuery(agent_id=("a", "b")),
            FeedbackQuery(agent_id=("a", "b"), since=NOON + MINUTE, until=NOON + MINUTE * 300),
            FeedbackQuery(agent_id=("c", "nobody", "")),
            FeedbackQuery(agent_id=""),
            FeedbackQuery(agent_id=("a", "c"), rating=Rating.DOWN),
            FeedbackQuery(rating=(Rating.DOWN, Rating.NEUTRAL)),
            FeedbackQuery(tag=("slow", "wrong")),
            FeedbackQuery(tag=("slow", "too slow"), agent_id=("a", "b", "c")),
            FeedbackQuery(context={"tier": ("1", "free")}),
            FeedbackQuery(context={"tier": (None, True)}),
            FeedbackQuery(has_comment=True),
            FeedbackQuery(has_comment=False, agent_id=("a", "b")),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*stored))
            for query in queries:
                matching = [one for one in stored if query.matches(one)]
                check_same(list(storage.feedback.stream(query)), matching)
                for by in (None, GroupBy.parse("agent"), GroupBy.parse("slot")):
                    expected: dict[GroupKey, Summary] = {}
                    for one in matching:
                        for key in by.keys(one) if by else (None,):
                            expected[key] = expected.get(key, Summary()) + Summary.of(one)
                    groups = storage.feedback.summarize(query, by)
                    check_same(sorted(groups.items(), key=repr), sorted(expected.items(), key=repr))

    def test_ratings_are_counted_by_author(self) -> None:
        """Thumbs of one author belong together, and those of a session in which nobody is named."""
        stored = [
            a_feedback("s1", author="ann", rating=Rating.UP),
            a_feedback("s2", author="ann", rating=Rating.DOWN),
            a_feedback("s1", author="ann", rating=Rating.NEUTRAL),
            a_feedback("ann", rating=Rating.UP),
            a_feedback("s2", rating=Rating.DOWN),
            a_feedback("s2", rating=Rating.DOWN, created_at=NOON + MINUTE),
            a_feedback("s2", rating=Rating.DOWN, application="other"),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*stored))
            found = storage.feedback.ratings_by_author(FeedbackQuery(), limit=9)
            check_same(sorted((one.given, one.up) for one in found), [(1, 1), (2, 0), (2, 1)])
            check_same(len({one.author for one in found}), 3)
            by_session = storage.feedback.ratings_by_author(FeedbackQuery(), GroupBy.parse("session"), limit=9)
            check_same(
                sorted((str(one.group), one.given, one.up) for one in by_session),
                [("ann", 1, 1), ("s1", 1, 1), ("s2", 1, 0), ("s2", 2, 0)],
            )
            newest = storage.feedback.ratings_by_author(FeedbackQuery(), limit=1)
            check_same([(one.given, one.up) for one in newest], [(1, 0)])
            check_same(list(storage.feedback.ratings_by_author(FeedbackQuery(session_id="none"), limit=9)), [])

    def test_term_counts_equal_the_fold(self) -> None:
        """Each term of a rated comment is counted once, by rating, for each application."""
        stored = [
            a_feedback(rating=Rating.UP, comment="quick, quick and good", sentiment=Sentiment(0.6, 0.5)),
            a_feedback(rating=Rating.DOWN, comment="Not GOOD: 很好用 \U0001f621", sentiment=Sentiment(-0.6, 0.5)),
            a_feedback(rating=Rating.NEUTRAL, comment="neutral"),
            a_feedback(rating=Rating.UP),
            a_feedback(rating=Rating.DOWN, comment="held", moderation=Moderation(status=ModerationStatus.PENDING)),
            a_feedback(rating=Rating.DOWN, comment="other", application="other"),
        ]
        with self.open_storage() as storage:
            check_same(comparable_terms(storage.feedback.term_counts("default")), comparable_terms(TermCounts()))
            storage.feedback.add(accepted(*stored))
            for application in ("default", "other"):
                counted = (one for one in stored if one.application == application and one.is_counted)
                _check_terms(storage, application, counted)

    def test_term_counts_follow_every_change(self) -> None:
        """Changes, late and new arrivals, and erasures are in the counts, whenever these were read before."""
        series = a_series(1_200, rating=Rating.DOWN, comment="lost luggage")
        steps: list[Callable[[Feedback], Feedback]] = [
            lambda one: one.revised(evolve(one.content, rating=Rating.UP), at=NOON),
            lambda one: one.revised(evolve(one.content, comment="found"), at=NOON),
            lambda one: one.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON),
            lambda one: one.moderated(Moderation(), at=NOON),
            lambda one: one.revised(evolve(one.content, sentiment=Sentiment(0.5, 0.5)), at=NOON),
            lambda one: one.answered("thanks", at=NOON),
            lambda one: one.withdraw(at=NOON),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            for number, step in enumerate(steps):
                _check_terms(storage, "default")
                storage.feedback.replace(step(storage.feedback.get("default", series[number % 3].id)), [])
                late = a_feedback(f"late {number}", comment=f"late {number}", created_at=NOON - MINUTE)
                new = a_feedback(comment=f"new {number}", created_at=series[-1].created_at + MINUTE * number)
                storage.feedback.add(accepted(late, new))
            _check_terms(storage, "default")
            for query in (FeedbackQuery(session_id="late 1"), FeedbackQuery(feedback_id=series[1].id), FeedbackQuery()):
                storage.feedback.erase(query.in_any_state(), at=NOON)
                _check_terms(storage, "default")
            storage.feedback.add(accepted(*series[:2]))
            _check_terms(storage, "default")


def _check_terms(storage: Storage, application: str, counted: Iterable[Feedback] | None = None) -> None:
    if counted is None:
        counted = storage.feedback.stream(FeedbackQuery(application=application))
    found = storage.feedback.term_counts(application)
    check_same(comparable_terms(found), comparable_terms(TermCounts.fold(counted)))

"""Contract tests for text search in comments."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from attrs import evolve

from harken.domain.feedback import Content, Feedback, Rating
from harken.domain.insight.sampling import AuthorRatings
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import Cursor, Dimension, FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.ports.storage import Storage
from harken.testing.assertions import check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted, with_content

_COMMENTS = (
    "I was on hold for an hour",
    "ON HOLD, again: “an hour!”",
    "hold on",
    "The phone holds on",
    "\uff2f\uff4e \uff48\uff4f\uff4c\uff44",
    "飞机晚点了",
    "我的飞 机",
    "C\u2019est l\u2019avion",
    "great 👍🏽",
    "",
)


class SearchContract(FreshStorage):
    """A search finds the comments that have its words, in every storage the same ones."""

    def test_a_search_finds_what_the_query_matches(self) -> None:
        """Words in any order, phrases, other cases and forms, letters of scripts without spaces, and emoji."""
        series = [with_content(one, comment=_COMMENTS[index % 10]) for index, one in enumerate(a_series(40))]
        latin = ("hold on", '"on hold"', "hour hold", "hol", "HOLDS", "avion", "l'avion", "zebra")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            for text in (*latin, "飞机", "机", "👍"):
                for query in (FeedbackQuery(text=text), FeedbackQuery(text=text, rating=Rating.UP, agent_id="helper")):
                    expected = tuple(one for one in reversed(series) if query.matches(one))
                    check_same(storage.feedback.find(query, limit=100).items, expected)
                    check_same(tuple(storage.feedback.stream(query)), expected[::-1])
                    check_same(storage.feedback.summarize(query).get(None, Summary()), Summary.fold(expected))
                    check_same(storage.feedback.count(query, limit=100), len(expected))
                    check_same(storage.feedback.count(query, limit=2), min(2, len(expected)))

    def test_pages_of_a_search_have_each_entry_once(self) -> None:
        """Pages continue where the previous one ended, also between entries of one time."""
        series = [evolve(with_content(one, comment="so slow"), created_at=NOON) for one in a_series(7)]
        others = [with_content(one, comment="fast") for one in a_series(5)]
        found: list[Feedback] = []
        after: Cursor | None = None
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series, *others))
            while True:
                page = storage.feedback.find(FeedbackQuery(text="slow"), limit=2, after=after)
                found += page.items
                if (after := page.next) is None:
                    break
        check_same(found, sorted(series, key=lambda one: one.id, reverse=True))

    def test_a_search_follows_every_change(self) -> None:
        """After a change, a withdrawal or a decision, the comment is found by what it is now; erased, by nothing."""
        one, two = a_feedback(comment="so slow"), a_feedback(comment="too slow")
        old = [
            evolve(with_content(each, comment="slow and old"), created_at=each.created_at - timedelta(days=9))
            for each in a_series(9)
        ]
        rejected = Moderation(status=ModerationStatus.REJECTED)
        with self.open_storage() as storage:
            check = partial(_check_found, storage)
            storage.feedback.add(accepted(one, two, *old))
            check("slow", one, two, *old)
            edited = one.revised(Content(Rating.DOWN, "far too fast"), at=NOON)
            storage.feedback.replace(edited, [])
            check("slow", two, *old)
            check("fast", edited)
            storage.feedback.replace(two.moderated(rejected, at=NOON), [])
            storage.feedback.replace(first := old[0].revised(Content(Rating.UP, "fast now"), at=NOON), [])
            storage.feedback.replace(old[1].withdraw(at=NOON), [])
            check("slow", *old[2:])
            check("fast", edited, first)
            storage.feedback.erase(FeedbackQuery(text="fast"), at=NOON)
            check("fast")
            check("slow", *old[2:])
            later = evolve(with_content(a_feedback(), comment="slow, sent late"), created_at=old[3].created_at)
            storage.feedback.add(accepted(later))
            check("slow", *old[2:], later)
            check_same(list(storage.rebuild()), [])

    def test_applications_do_not_share_words(self) -> None:
        """A search finds comments of its application only, also those with equal ids."""
        mine = a_feedback(comment="mine")
        other = evolve(with_content(mine, comment="theirs"), application="other")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(mine, other))
            _check_found(storage, "mine", mine)
            _check_found(storage, "theirs")
            check_same(storage.feedback.find(FeedbackQuery(application="other", text="mine"), limit=9).items, ())

    def test_statistics_of_a_search(self) -> None:
        """Groups and authors are those of what is found; of the authors' thumbs, the newest count."""
        series = [
            with_content(one, comment="slow" if index % 2 else "fast", tags=("a", "b") if index % 3 else ())
            for index, one in enumerate(a_series(12))
        ]
        query = FeedbackQuery(text="slow")
        found = [one for one in series if query.matches(one)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            for group_by in (GroupBy(Dimension.TAG), GroupBy(Dimension.SLOT), GroupBy(Dimension.AGENT)):
                groups = storage.feedback.summarize(query, group_by)
                for key, summary in groups.items():
                    check_same(summary, Summary.fold(one for one in found if key in group_by.keys(one)))
                keys = {key for one in found for key in group_by.keys(one)}
                check_same(sorted(groups, key=str), sorted(keys, key=str))
            rated = [one for one in found if one.rating is not Rating.NEUTRAL]
            given = storage.feedback.ratings_by_author(query, limit=2)
            check_same(sum(one.given for one in given), min(2, len(rated)))
            everyone: list[AuthorRatings] = list(storage.feedback.ratings_by_author(query, limit=100))
            check_same(sum(one.given for one in everyone), len(rated))


def _check_found(storage: Storage, text: str, *expected: Feedback) -> None:
    found = {one.id for one in storage.feedback.find(FeedbackQuery(text=text), limit=100).items}
    check_same(sorted(found), sorted(one.id for one in expected))

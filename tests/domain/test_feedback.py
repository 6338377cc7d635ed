"""Ratings, contexts, sentiments, times, feedback and changes."""

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import assume, given
from hypothesis import strategies as st

from harken import UNCHANGED, Change, Content, Context, Feedback, Moderation, ModerationStatus, Rating, Sentiment
from harken.domain.instants import EPOCH, SLOT, from_microseconds, slot_number, slot_start, to_microseconds, utc
from harken.testing import with_content
from support import NOON, a_feedback, a_submission

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.dictionaries(st.text(max_size=5), scalars, max_size=5)
moments = st.datetimes(timezones=st.timezones())


class TestRating:
    @pytest.mark.parametrize("rating", Rating)
    def test_wire_round_trip(self, rating: Rating) -> None:
        """A rating is parsed from itself and from its value on the wire."""
        assert Rating.parse(rating) is rating
        assert Rating.parse(rating.value) is rating

    @pytest.mark.parametrize("value", ["maybe", "UP", "", "neutral", 0, 1, True, [], {}, object, float("nan")])
    def test_invalid_ratings(self, value: object) -> None:
        """Any other value is rejected with the message of the guide, even if it is not hashable."""
        with pytest.raises(ValueError, match="Invalid rating") as caught:
            Rating.parse(value)
        assert str(caught.value) == f"Invalid rating: {value}. Must be 'up', 'down', or None"

    @pytest.mark.parametrize("rating", Rating)
    def test_word_round_trip(self, rating: Rating) -> None:
        """A rating is parsed from its word; the word of neutral is not ``None``."""
        assert Rating.from_word(rating.word) is rating
        assert rating.word == (rating.value or "neutral")

    @pytest.mark.parametrize("value", ["maybe", "UP", "", None, 1, [], {}, Rating.UP])
    def test_invalid_words(self, value: object) -> None:
        """The error lists the three words."""
        with pytest.raises(ValueError, match="is not a rating; expected 'up', 'down' or 'neutral'"):
            Rating.from_word(value)


class TestContext:
    @given(values)
    def test_a_context_equals_its_source(self, source: dict[str, str]) -> None:
        """A context is a mapping with the same values, sorted by name."""
        context = Context(source)
        assert dict(context) == source
        assert list(context) == sorted(source)
        assert len(context) == len(source)
        assert context == source

    @given(values)
    def test_equal_ones_hash_alike_and_copies_are_equal(self, source: dict[str, str]) -> None:
        """Equality and hash do not depend on the order, and survive pickling and copying."""
        context = Context(source)
        backwards = Context(dict(reversed(source.items())))
        for same in (backwards, pickle.loads(pickle.dumps(context)), copy.deepcopy(context)):
            assert same == context
            assert hash(same) == hash(context)
            assert repr(same) == repr(context)

    def test_a_context_is_immutable(self) -> None:
        """Changing the source does not change the context, and the context cannot be changed."""
        source = {"tier": "free"}
        context = Context(source)
        source["tier"] = "premium"
        with pytest.raises(TypeError):
            context["tier"] = "premium"  # type: ignore[index]
        with pytest.raises(AttributeError):
            context.tier = "premium"  # type: ignore[attr-defined]
        assert context["tier"] == "free"

    @pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), (True, 1.0), (1, "1"), (None, "")])
    def test_equality_of_contexts_follows_json(self, one: object, other: object) -> None:
        """1, 1.0 and True are different values, as in JSON."""
        assert Context({"fact": one}) != Context({"fact": other})  # type: ignore[dict-item]

    def test_a_context_differs_from_other_types(self) -> None:
        """A context does not equal a list of its pairs, or ``None``."""
        assert Context({"a": 1}) != [("a", 1)]
        assert Context() != None  # noqa: E711 - the comparison is what is tested


class TestSentiment:
    @given(st.integers(-1_000_000, 1_000_000), st.integers(0, 1_000_000))
    def test_millionths_round_trip(self, polarity: int, subjectivity: int) -> None:
        """A sentiment from stored integers equals the original."""
        sentiment = Sentiment.from_millionths(polarity, subjectivity)
        assert (sentiment.polarity_millionths, sentiment.subjectivity_millionths) == (polarity, subjectivity)
        assert Sentiment(sentiment.polarity, sentiment.subjectivity) == sentiment

    @given(st.floats(-1, 1), st.floats(0, 1))
    def test_is_rounded_to_millionths(self, polarity: float, subjectivity: float) -> None:
        """Values are rounded to millionths once, and do not change when they are stored."""
        sentiment = Sentiment(polarity, subjectivity)
        assert abs(sentiment.polarity - polarity) <= 0.5000001e-6
        again = Sentiment.from_millionths(sentiment.polarity_millionths, sentiment.subjectivity_millionths)
        assert again == sentiment

    @pytest.mark.parametrize(
        ("polarity", "subjectivity", "culprit"),
        [
            (1.1, 0, "polarity"),
            (-1.0000001, 0, "polarity"),
            (float("nan"), 0, "polarity"),
            (0, -0.1, "subjectivity"),
            (0, float("inf"), "subjectivity"),
        ],
    )
    def test_bounds_of_sentiment(self, polarity: float, subjectivity: float, culprit: str) -> None:
        """A value out of range is rejected, and the message names it."""
        with pytest.raises(ValueError, match=f"^{culprit} must be between"):
            Sentiment(polarity, subjectivity)


class TestInstants:
    @given(moments)
    def test_utc_is_the_same_instant(self, moment: datetime) -> None:
        """The conversion to UTC preserves the instant."""
        try:
            normal = utc(moment)
        except ValueError:
            assert moment.year in (1, 9999)
            return
        assert normal.tzinfo is UTC
        assert normal - EPOCH == moment - EPOCH
        assert utc(normal) == normal

    def test_naive_times_are_rejected(self) -> None:
        """A time without a time zone is ambiguous."""
        with pytest.raises(ValueError, match="has no time zone"):
            utc(datetime(2026, 1, 1))  # noqa: DTZ001

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=1))),
        ],
    )
    def test_times_outside_the_calendar_are_rejected(self, moment: datetime) -> None:
        """A time outside the years 1 to 9999 in UTC raises ``ValueError``, not ``OverflowError``."""
        with pytest.raises(ValueError, match="outside the years 1 to 9999"):
            utc(moment)

    def test_utc_has_no_fold(self) -> None:
        """Equal instants in UTC are equal in every field."""
        assert utc(NOON.replace(fold=1)).fold == 0

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_microseconds_and_slots(self, moment: datetime) -> None:
        """Microseconds are exact, and the slot of a time contains it."""
        assert from_microseconds(to_microseconds(moment)) == moment
        start = slot_start(slot_number(moment))
        assert start <= moment
        assert moment - start < SLOT
        assert start.minute % 15 == start.second == start.microsecond == 0


class TestContent:
    FULL = Content(Rating.DOWN, "Slow", ("slow",), Context({"tier": "free"}), Sentiment(-0.5, 0.5))

    def test_of_a_submission(self) -> None:
        """The rating is parsed, each tag is kept once, and the context becomes immutable."""
        submission = a_submission(rating="down", comment="Slow", tags=["b", "a", "b"], context={"tier": "free"})
        assert Content.of(submission) == Content(Rating.DOWN, "Slow", ("b", "a"), Context({"tier": "free"}))

    def test_feedback_and_revisions_have_its_parts(self) -> None:
        """Each part can be read from the feedback and from a revision."""
        feedback = with_content(a_feedback(), **self.FULL.parts())
        (revision,) = feedback.revised(Content(Rating.UP), at=NOON).revisions
        for name, value in self.FULL.parts().items():
            assert getattr(feedback, name) == getattr(revision, name) == value

    def test_a_submission_of_feedback_has_the_same_content(self) -> None:
        """Submitting feedback again gives the same content."""
        feedback = with_content(a_feedback(), **self.FULL.parts())
        assert Content.of(feedback.as_submission()) == self.FULL

    def test_equality_apart_from_the_sentiment(self) -> None:
        """Content with another sentiment is equal, and content with any other difference is not."""
        assert self.FULL.same_except_sentiment(evolve(self.FULL, sentiment=None))
        for change in ({"rating": Rating.UP}, {"comment": "slow"}, {"tags": ()}, {"context": Context()}):
            assert not self.FULL.same_except_sentiment(evolve(self.FULL, **change))  # type: ignore[arg-type]


class TestFeedback:
    def test_is_immutable(self) -> None:
        """Feedback is immutable."""
        with pytest.raises(FrozenInstanceError):
            a_feedback().comment = "Other words"  # type: ignore[misc]

    def test_times_are_utc(self) -> None:
        """Times are converted to UTC."""
        local = NOON.astimezone(timezone(timedelta(hours=-7)))
        feedback = a_feedback(created_at=local, withdrawn_at=local)
        assert feedback == a_feedback(withdrawn_at=NOON)
        assert feedback.created_at.tzinfo is UTC

    def test_properties_of_the_target(self) -> None:
        """Feedback has the parts of its target as properties."""
        feedback = a_feedback(session_id="s1", message_id="m1", agent_id="a1")
        assert (feedback.session_id, feedback.message_id, feedback.agent_id) == ("s1", "m1", "a1")

    @pytest.mark.parametrize("status", ModerationStatus)
    @pytest.mark.parametrize("withdrawn_at", [None, NOON])
    def test_which_feedback_is_counted(self, status: ModerationStatus, withdrawn_at: datetime | None) -> None:
        """Only approved feedback that is not withdrawn is counted."""
        feedback = a_feedback(moderation=Moderation(status=status), withdrawn_at=withdrawn_at)
        assert feedback.is_counted == (status is ModerationStatus.APPROVED and withdrawn_at is None)
        assert feedback.withdrawn == (withdrawn_at is not None)

    def test_a_revision_has_the_replaced_content(self) -> None:
        """A change keeps the replaced content as a revision, and the identity of the feedback."""
        before = a_feedback(
            rating=Rating.DOWN,
            comment="Slow",
            author="ann",
            tags=("slow",),
            context=Context({"tier": "free"}),
            sentiment=Sentiment(-0.5, 0.5),
            reply="Sorry",
            version=3,
            idempotency_key="k",
            fingerprint="print",
        )
        later = NOON + timedelta(hours=1)
        after = before.revised(Content(Rating.UP, "Fast now"), at=later)
        (revision,) = after.revisions
        kept = ("rating", "comment", "tags", "context", "sentiment", "reply", "version")
        assert [getattr(revision, name) for name in kept] == [getattr(before, name) for name in kept]
        assert revision.replaced_at == after.updated_at == later
        assert (after.rating, after.comment, after.tags, after.version) == (Rating.UP, "Fast now", (), 4)
        stays = ("id", "author", "created_at", "idempotency_key", "fingerprint", "application")
        assert [getattr(after, name) for name in stays] == [getattr(before, name) for name in stays]

    @pytest.mark.parametrize(("rating", "reply"), [(Rating.UP, "Thank you"), (Rating.DOWN, None)])
    def test_a_new_rating_removes_the_reply(self, rating: Rating, reply: str | None) -> None:
        """A change of the rating removes the reply; a change of the comment does not."""
        before = a_feedback(reply="Thank you")
        assert before.revised(Content(rating, "New"), at=NOON).reply == reply

    def test_each_step_is_a_version(self) -> None:
        """Withdrawing, moderating and replying each create the next version."""
        feedback, later = a_feedback(), NOON + timedelta(seconds=1)
        held = feedback.moderation.held("odd")
        steps: list[Feedback] = [
            feedback.withdraw(at=later),
            feedback.moderated(held, at=later),
            feedback.answered("Thanks", at=later),
        ]
        assert [(step.version, step.updated_at) for step in steps] == [(2, later)] * 3
        assert steps[0].withdrawn_at == later
        assert steps[1].moderation == held
        assert steps[2].reply == "Thanks"
        assert not any(step.revisions for step in steps)


class TestChange:
    FEEDBACK = a_feedback(rating=Rating.DOWN, comment="Slow", tags=("slow",), context=Context({"tier": "free"}))

    def test_no_change(self) -> None:
        """An empty change does not change anything."""
        assert Change().applied_to(self.FEEDBACK) == self.FEEDBACK.as_submission()
        assert repr(UNCHANGED) == "UNCHANGED"

    @given(
        st.sampled_from([UNCHANGED, "same words"]),
        st.sampled_from([UNCHANGED, ("other",)]),
        st.sampled_from([UNCHANGED, Context({"tier": "premium"})]),
    )
    def test_each_part_separately(self, comment: str, tags: tuple[str, ...], context: Context) -> None:
        """A change replaces its parts and keeps the others."""
        wanted = Change(comment=comment, tags=tags, context=context).applied_to(self.FEEDBACK)
        before = self.FEEDBACK.as_submission()
        assert wanted.comment == (before.comment if comment is UNCHANGED else comment)
        assert wanted.tags == (before.tags if tags is UNCHANGED else tags)
        assert wanted.context == (before.context if context is UNCHANGED else context)
        assert (wanted.rating, wanted.target) == (before.rating, before.target)

    @pytest.mark.parametrize(
        ("rating", "tags"),
        [
            ("down", ("slow",)),
            (Rating.DOWN, ("slow",)),
            ("up", ()),
            (None, ()),
            (Rating.UP, ()),
            ("maybe", ()),
            ([], ()),
        ],
    )
    def test_a_new_rating_removes_the_tags(self, rating: str, tags: tuple[str, ...]) -> None:
        """Tags are reasons for a rating: another rating removes them, the same rating keeps them."""
        wanted = Change(rating=rating).applied_to(self.FEEDBACK)
        assert wanted.rating == rating
        assert wanted.tags == tags

    def test_a_change_of_rating_and_tags(self) -> None:
        """New tags are kept with a new rating."""
        assert Change(rating="up", tags=["fast"]).applied_to(self.FEEDBACK).tags == ["fast"]

    @given(st.sampled_from(Rating), st.sampled_from(Rating))
    def test_a_rating_can_become_any_other(self, before: Rating, after: Rating) -> None:
        """``None`` is the neutral rating, not the absence of a change."""
        assume(before is not after)
        assert Change(rating=after.value).applied_to(a_feedback(rating=before)).rating == after.value

"""Queries, groupings, cursors and pages."""

import pickle
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from harken import (
    Context,
    Cursor,
    Feedback,
    FeedbackQuery,
    GroupBy,
    InvalidQuery,
    Moderation,
    ModerationStatus,
    Rating,
)
from harken.domain.query import Dimension, label
from support import NOON, a_feedback

HOUR = timedelta(hours=1)
few = st.sampled_from(["a", "b"])
moments = st.integers(0, 4).map(lambda hours: NOON + hours * HOUR)
scalars = st.sampled_from([None, 1, True, 1.0, "1", "true", "null"])


@st.composite
def any_feedback(draw: st.DrawFn) -> Feedback:
    """Feedback with values from small pools, so that queries often match."""
    return a_feedback(
        draw(few),
        draw(st.sampled_from(Rating)),
        application=draw(few),
        session_id=draw(few),
        comment=draw(st.sampled_from(["", "fine"])),
        message_id=draw(st.none() | few),
        agent_id=draw(st.none() | few),
        author=draw(st.none() | few),
        tags=tuple(draw(st.lists(few, unique=True, max_size=2))),
        context=Context(draw(st.dictionaries(few, scalars, max_size=2))),
        created_at=draw(moments),
        moderation=Moderation(status=draw(st.sampled_from(ModerationStatus))),
        withdrawn_at=draw(st.none() | moments),
    )


def one_or_several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One value of a filter, or a collection."""
    return values | st.lists(values, min_size=1, max_size=3).flatmap(lambda some: st.sampled_from([some, tuple(some)]))


FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "application": few,
    "feedback_id": few,
    "session_id": few,
    "message_id": few,
    "agent_id": one_or_several(few),
    "author": few,
    "rating": one_or_several(st.sampled_from(Rating)),
    "tag": one_or_several(few),
    "context": st.dictionaries(few, one_or_several(scalars), min_size=1, max_size=2),
    "has_comment": st.booleans(),
    "since": moments,
    "until": moments,
    "statuses": st.sets(st.sampled_from(ModerationStatus)).map(frozenset),
    "withdrawn": st.sampled_from([True, False, None]),
}


def values_of(wanted: Any) -> list[Any]:
    """The values of a filter, given as one or several."""
    return list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]


def satisfies(feedback: Feedback, name: str, wanted: Any) -> bool:
    """Whether feedback matches one filter, implemented differently from the code."""
    filters: dict[str, Callable[[], bool]] = {
        "feedback_id": lambda: feedback.id == wanted,
        "agent_id": lambda: feedback.agent_id in values_of(wanted),
        "rating": lambda: feedback.rating in values_of(wanted),
        "tag": lambda: any(tag in feedback.tags for tag in values_of(wanted)),
        "context": lambda: all(
            label(feedback.context.get(key)) in map(label, values_of(values)) for key, values in wanted.items()
        ),
        "has_comment": lambda: (feedback.comment != "") == wanted,
        "since": lambda: feedback.created_at >= wanted,
        "until": lambda: not feedback.created_at >= wanted,
        "statuses": lambda: feedback.moderation.status in wanted,
        "withdrawn": lambda: wanted is None or (feedback.withdrawn_at is not None) == wanted,
    }
    return filters.get(name, lambda: getattr(feedback, name) == wanted)()


class TestMatches:
    @given(any_feedback(), st.fixed_dictionaries({}, optional=FILTERS))
    def test_feedback_matches_all_filters(self, feedback: Feedback, filters: dict[str, Any]) -> None:
        """A query matches feedback that matches each filter; by default only counted feedback of its application."""
        defaults = {
            "application": "default",
            "statuses": frozenset({ModerationStatus.APPROVED}),
            "withdrawn": False,
        }
        expected = all(satisfies(feedback, *item) for item in (defaults | filters).items())
        assert FeedbackQuery(**filters).matches(feedback) == expected

    @given(any_feedback(), st.sampled_from(list(FILTERS)), st.data())
    def test_a_filter_never_widens(self, feedback: Feedback, name: str, data: st.DataObject) -> None:
        """An additional filter matches a subset."""
        assume(name not in ("statuses", "withdrawn", "application"))
        base = FeedbackQuery(application=feedback.application).in_any_state()
        wanted = data.draw(FILTERS[name])
        assert base.matches(feedback)
        assert evolve(base, **{name: wanted}).matches(feedback) == satisfies(feedback, name, wanted)

    @given(any_feedback())
    def test_in_any_state_matches_all_feedback(self, feedback: Feedback) -> None:
        """``in_any_state`` matches all feedback of the application, and the plain query matches counted feedback."""
        plain = FeedbackQuery(application=feedback.application)
        assert plain.in_any_state().matches(feedback)
        assert plain.matches(feedback) == feedback.is_counted

    def test_bounds_of_time(self) -> None:
        """``since`` is inclusive and ``until`` is exclusive, so that adjacent periods do not overlap."""
        at_noon = a_feedback()
        assert FeedbackQuery(since=NOON, until=NOON + HOUR).matches(at_noon)
        assert not FeedbackQuery(since=NOON - HOUR, until=NOON).matches(at_noon)


class TestFilters:
    def test_times_in_any_time_zone(self) -> None:
        """The same instant in another time zone gives an equal query."""
        local = NOON.astimezone(timezone(-5 * HOUR))
        assert FeedbackQuery(since=local, until=local) == FeedbackQuery(since=NOON, until=NOON)

    @pytest.mark.parametrize("name", ["since", "until"])
    @pytest.mark.parametrize(
        "moment",
        [datetime(2026, 1, 1), datetime(1, 1, 1, tzinfo=timezone(HOUR)), "2026-01-01", 0],  # noqa: DTZ001
    )
    def test_invalid_times(self, name: str, moment: Any) -> None:
        """A time without a time zone, outside the calendar or of another type is rejected."""
        with pytest.raises(InvalidQuery):
            FeedbackQuery(**{name: moment})

    @pytest.mark.parametrize(
        "context",
        [
            {"$where": 1},
            {"a.b": 1},
            {"": 1},
            {1: 1, "a": 2},
            {"a": [[1]]},
            {"a": {1: 2}},
            {"a": object()},
            "tier",
            [("a", 1)],
            {f"name-{number}": 1 for number in range(51)},
        ],
    )
    def test_invalid_context_filters(self, context: Any) -> None:
        """A context filter that cannot match any feedback is an error rather than an empty result."""
        with pytest.raises(InvalidQuery, match="context"):
            FeedbackQuery(context=context)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("text", "text"),
            ("", ""),
            (None, None),
            (1, "1"),
            (1.0, "1.0"),
            (True, "true"),
            (False, "false"),
            (-0.5, "-0.5"),
        ],
    )
    def test_label(self, value: str, expected: str | None) -> None:
        """The label of text is the text, and of other values their JSON, so that CSV files and programs agree."""
        assert label(value) == expected


class TestPreviousPeriod:
    @given(moments, st.none() | moments, moments)
    def test_it_is_as_long_and_ends_where_the_period_begins(
        self, since: datetime, until: datetime | None, now: datetime
    ) -> None:
        """The period of a query without ``until`` ends now; other filters stay."""
        query = FeedbackQuery(agent_id="a", since=since, until=until)
        length = (until or now) - since
        assume(length > timedelta())
        assert query.previous_period(now) == evolve(query, since=since - length, until=since)

    @pytest.mark.parametrize(
        "period",
        [
            {},
            {"until": NOON},
            {"since": NOON, "until": NOON},
            {"since": NOON + HOUR},
            {"since": datetime(1, 1, 2, tzinfo=UTC)},
        ],
    )
    def test_there_may_be_none(self, period: dict[str, Any]) -> None:
        """A period without a beginning or a length has none, nor has one that began too early for a date."""
        assert FeedbackQuery(**period).previous_period(NOON) is None


class TestGroupBy:
    @pytest.mark.parametrize("dimension", [one for one in Dimension if one is not Dimension.CONTEXT])
    def test_parse_dimensions(self, dimension: Dimension) -> None:
        """Each dimension is parsed from its value."""
        assert GroupBy.parse(dimension.value) == GroupBy(dimension)

    def test_parse_context(self) -> None:
        """The context key follows the dot."""
        assert GroupBy.parse("context.user_tier") == GroupBy(Dimension.CONTEXT, "user_tier")

    @pytest.mark.parametrize(
        "text", ["", "rating", "context", "context.", "context.a.b", "context.$x", "agent.", "agent.x", "AGENT", " tag"]
    )
    def test_parse_invalid_text(self, text: str) -> None:
        """The error lists the valid values."""
        with pytest.raises(InvalidQuery, match=r"expected 'agent', 'session', 'tag', 'slot' or 'context\.<name>'"):
            GroupBy.parse(text)

    @given(st.text())
    def test_parse_never_crashes(self, text: str) -> None:
        """Any text gives a grouping or ``InvalidQuery``."""
        try:
            grouping = GroupBy.parse(text)
        except InvalidQuery:
            return
        name = grouping.dimension.value
        assert text == (name if grouping.name is None else f"{name}.{grouping.name}")

    @pytest.mark.parametrize(
        ("dimension", "name"), [(Dimension.CONTEXT, None), (Dimension.TAG, "x"), (Dimension.CONTEXT, "$x")]
    )
    def test_name_only_for_context(self, dimension: Dimension, name: str | None) -> None:
        """A missing, unexpected or invalid name is rejected."""
        with pytest.raises(InvalidQuery):
            GroupBy(dimension, name)

    def test_keys(self) -> None:
        """Each dimension gives the keys of the groups that contain the feedback."""
        at = NOON + timedelta(minutes=29, seconds=59)
        feedback = a_feedback(
            session_id="s", agent_id="a", tags=("x", "y"), context=Context({"n": 1, "t": "free"}), created_at=at
        )
        expected: dict[str, tuple[object, ...]] = {
            "agent": ("a",),
            "session": ("s",),
            "tag": ("x", "y"),
            "context.n": ("1",),
            "context.t": ("free",),
            "context.missing": (None,),
            "slot": (NOON + timedelta(minutes=15),),
        }
        assert {text: GroupBy.parse(text).keys(feedback) for text in expected} == expected

    def test_keys_of_missing_values(self) -> None:
        """Feedback without an agent or a tag is in the group ``None``."""
        assert GroupBy.parse("agent").keys(a_feedback()) == (None,)
        assert GroupBy.parse("tag").keys(a_feedback()) == (None,)


class TestCursor:
    @given(st.datetimes(timezones=st.just(UTC)), st.text(st.characters(codec="utf-8")))
    def test_round_trip(self, created_at: datetime, feedback_id: str) -> None:
        """A token parses to an equal cursor, and needs no quoting in a URL."""
        cursor = Cursor(created_at, feedback_id)
        token = str(cursor)
        assert Cursor.parse(token) == cursor
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    @given(st.text() | st.text("ABCabc0123-_=", max_size=40) | st.binary().map(lambda raw: raw.decode("latin-1")))
    def test_any_text_as_a_token(self, token: str) -> None:
        """Any text gives a cursor or ``InvalidQuery``."""
        try:
            place = Cursor.parse(token)
        except InvalidQuery as error:
            message = str(error)
        else:
            assert Cursor.parse(str(place)) == place
            return
        assert "is not a cursor" in message
        assert message.isascii()

    @pytest.mark.parametrize("place", [b"", b":id", b"soon:id", b"9" * 30 + b":id", b"9" * 5000 + b":id", b"\xff:id"])
    def test_invalid_positions(self, place: bytes) -> None:
        """Valid base64 of an invalid position is rejected, even with a huge number."""
        with pytest.raises(InvalidQuery):
            Cursor.parse(urlsafe_b64encode(place).decode())

    @given(st.lists(any_feedback(), max_size=6))
    def test_order(self, several: list[Feedback]) -> None:
        """Cursors sort like lists of feedback: by time, then by id."""
        places = sorted(Cursor.of(one) for one in several)
        assert [(place.created_at, place.id) for place in places] == sorted((one.created_at, one.id) for one in several)


@pytest.mark.parametrize("value", [7, 2**70, {"a": 1}, [["a"]], ["a", 7], b"a", "\ud800", ["a", "\ud800"], "\x00"])
@pytest.mark.parametrize(
    "name", ["application", "feedback_id", "session_id", "message_id", "agent_id", "author", "tag"]
)
def test_a_filter_is_text_that_can_be_stored(name: str, value: object) -> None:
    """A value that some storage cannot store is rejected, regardless of the storage."""
    with pytest.raises(InvalidQuery, match=name):
        FeedbackQuery(**{name: value})


def test_a_context_filter_is_text_that_can_be_stored() -> None:
    """A context value that some storage cannot store is rejected."""
    with pytest.raises(InvalidQuery, match=r"context\.tier"):
        FeedbackQuery(context={"tier": "\ud800"})


class TestSeveralValues:
    @pytest.mark.parametrize(
        ("one", "several"),
        [
            ({"agent_id": "a"}, {"agent_id": ["a"]}),
            ({"agent_id": ["a", "b"]}, {"agent_id": {"b": 1, "a": 2}.keys()}),
            ({"tag": "slow"}, {"tag": ("slow", "slow")}),
            ({"rating": Rating.NEUTRAL}, {"rating": [None]}),
            ({"rating": "down"}, {"rating": {Rating.DOWN}}),
            ({"context": {"tier": 1}}, {"context": {"tier": ["1", 1]}}),
        ],
    )
    def test_equal_selections_are_equal(self, one: dict[str, Any], several: dict[str, Any]) -> None:
        """One value is a collection of one; order, type and repetition of a collection do not matter."""
        assert FeedbackQuery(**one) == FeedbackQuery(**several)
        assert hash(FeedbackQuery(**one)) == hash(FeedbackQuery(**several))
        assert evolve(FeedbackQuery(**one)) == FeedbackQuery(**one)

    def test_values_that_python_confuses_stay_apart(self) -> None:
        """1 and True are equal in Python, but not in a filter."""
        query = FeedbackQuery(context={"fact": [1, True]})
        assert query != FeedbackQuery(context={"fact": 1})
        assert query.matches(a_feedback(context=Context({"fact": True})))
        assert not query.matches(a_feedback(context=Context({"fact": 1.0})))

    def test_all_ratings_are_no_filter(self) -> None:
        """Statistics of all ratings take the same way as those without a filter."""
        assert FeedbackQuery(rating=["up", "down", None]) == FeedbackQuery()

    @pytest.mark.parametrize("name", ["agent_id", "rating", "tag", "context.tier"])
    @pytest.mark.parametrize("size", [0, 101])
    def test_numbers_of_values(self, name: str, size: int) -> None:
        """An empty collection is an error rather than any value or none, and the number of values is limited."""
        some = ["up", "down"] * 51 if name == "rating" else [f"value {number}" for number in range(101)]
        values = some[:size]
        with pytest.raises(InvalidQuery, match=rf"^{name} must have at (least one value|most 100 values, got 101)"):
            FeedbackQuery(**({"context": {"tier": values}} if "." in name else {name: values}))

    @pytest.mark.parametrize("rating", ["sideways", ["up", "sideways"], 1, [["up"]], {"up": 1}])
    def test_invalid_ratings(self, rating: Any) -> None:
        """A rating that does not exist is rejected, also among others."""
        with pytest.raises(InvalidQuery, match="Must be 'up', 'down', or None"):
            FeedbackQuery(rating=rating)

    @pytest.mark.parametrize("value", ["true", 1, []])
    def test_invalid_has_comment(self, value: Any) -> None:
        """Only a Boolean says whether there is a comment."""
        with pytest.raises(InvalidQuery, match="has_comment must be true, false or left out"):
            FeedbackQuery(has_comment=value)

    def test_queries_can_be_copied(self) -> None:
        """A query can be sent to another process."""
        query = FeedbackQuery(agent_id=["a", "b"], context={"tier": ["free", None], "beta": True})
        assert pickle.loads(pickle.dumps(query)) == query

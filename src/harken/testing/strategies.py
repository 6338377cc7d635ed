"""Hypothesis strategies for Harken's values: all that the default rules accept, and some values that they reject.

Names come from small pools, so that values collide: the same session, key or instant, the same id in two applications,
and names with a common prefix. A test of an application finds what happens then::

    @given(st.lists(strategies.submissions()))
    def test_no_submission_breaks_the_report(submissions): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from harken.domain.access import ApiKey, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import Attempt, AttemptOutcome, EventType
from harken.domain.feedback import Content, Context, Feedback, Rating, Scalar, Sentiment, Submission, Target
from harken.domain.instants import SLOT
from harken.domain.moderation import Moderation, ModerationStatus, RuleMatch
from harken.domain.query import Dimension, FeedbackQuery, GroupBy
from harken.domain.rules import MAX_COMMENT_LENGTH
from harken.domain.search import search_words
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry
from harken.testing.builders import NOON

Value = TypeVar("Value")

# Values with which a value may be confused: other capitals, a part of it, or a pattern that matches it.
APPLICATIONS = ("default", "default-2")
SESSIONS = ("session-1", "session-10", "sesión ✓ '\"%_\\")
MESSAGES = ("message-1", "message-10")
AGENTS = ("helper", "Helper", "help", "агент")
AUTHORS = ("ann", "anna")
TAGS = ("slow", "too slow", 'it\'s "so" slow', "$set", "a.b")
KEYS = ("key-1", "key-10", "key")
NAMES = ("user_tier", "user", "größe", "a-b")
#: Names of session metadata may look like paths, operators and escapes.
METADATA_NAMES = ("user", "größe", "a.b", "$set", "50 %", "%2E")
KEY_IDS = ("0a1b", "0A1B", "0a1b2", "é")
RULES = ("streak", "Streak", "streak-2")
SUBJECTS = (
    Subject("application", "helper"),
    Subject("agent", "helper"),
    Subject("agent", "help"),
    *(Subject("session", one) for one in SESSIONS[:2]),
)
CHANNELS = ("log", "log-2")
KINDS = ("route", "route-2")
#: Words that are equal without case, marks of compatibility or apostrophes, or are parts of each other.
WORDS = (
    "on",
    "hold",
    "ON",
    "holding",
    "ﬁne",
    "fine",
    "Straße",
    "STRASSE",
    "don't",
    "don\u2019t",
    "飞机",
    "机",
    "👎🏽",
    "é",
    "e\u0301",
)
IDS = tuple(f"feedback-{number}" for number in range(12))
#: Some of them are also ids of feedback.
ALERT_IDS = ("alert-1", "alert-10", "Alert-1", *IDS[:2])


def texts(max_size: int = 60) -> SearchStrategy[str]:
    """Text that every storage accepts: anything without NUL and lone surrogates."""
    return st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=max_size)


def comments() -> SearchStrategy[str]:
    """Stored comments: trimmed, at most 1,000 code points; some of words that :func:`searches` have."""
    spoken = st.lists(st.sampled_from((*WORDS, " ", ", ", "-")), max_size=12).map("".join)
    return (spoken | texts() | texts(MAX_COMMENT_LENGTH)).map(str.strip)


def searches() -> SearchStrategy[str]:
    """Words, and phrases in quotation marks, to search for in comments."""
    phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda words: f'"{" ".join(words)}"')
    any_text = texts(8).filter(lambda text: 0 < len(search_words(text)) <= len(text))
    return st.lists(st.sampled_from(WORDS) | phrases | any_text, min_size=1, max_size=3).map(" ".join)


def instants() -> SearchStrategy[datetime]:
    """Times in UTC, many of them at the boundaries of quarter-hour slots and days."""
    edges = st.builds(
        lambda slots, microseconds: (
            datetime(2026, 1, 1, tzinfo=UTC) + SLOT * slots + timedelta(microseconds=microseconds)
        ),
        st.integers(0, 200),
        st.sampled_from((-1, 0, 1)),
    )
    anywhere = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    meeting = st.sampled_from((NOON, NOON + timedelta(days=1)))
    return meeting | edges | anywhere.map(lambda moment: moment.replace(fold=0))


def scalars() -> SearchStrategy[Scalar]:
    """Context values, including numbers, booleans and strings that look alike."""
    alike: SearchStrategy[Scalar] = st.sampled_from((1, 1.0, True, "1", "true", "1.0", 0, -0.0, None, "", "null", 1e16))
    return alike | texts(20) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


def contexts() -> SearchStrategy[Context]:
    """Small contexts."""
    return st.dictionaries(st.sampled_from(NAMES), scalars(), max_size=3).map(Context)


def sentiments() -> SearchStrategy[Sentiment]:
    """Any sentiment."""
    return st.builds(Sentiment.from_millionths, st.integers(-(10**6), 10**6), st.integers(0, 10**6))


def tags() -> SearchStrategy[tuple[str, ...]]:
    """A few distinct tags."""
    return st.lists(st.sampled_from(TAGS), max_size=3, unique=True).map(tuple)


def targets() -> SearchStrategy[Target]:
    """A session, with an optional message and an optional agent."""
    return st.builds(
        Target,
        st.sampled_from(SESSIONS),
        st.none() | st.sampled_from(MESSAGES),
        st.none() | st.sampled_from(AGENTS),
    )


def moderations() -> SearchStrategy[Moderation]:
    """Moderation in any status, by a person or automatic; mostly approved."""
    decided = st.builds(
        Moderation,
        status=st.sampled_from(ModerationStatus),
        reason=texts(20),
        moderator=st.none() | st.sampled_from(AUTHORS),
        decided_at=st.none() | instants(),
        previous=st.none() | st.sampled_from(ModerationStatus),
        previous_reason=texts(20),
        is_undo=st.booleans(),
        held_by=st.lists(_rule_matches(), max_size=2).map(tuple),
    )
    return st.just(Moderation()) | decided


def _rule_matches() -> SearchStrategy[RuleMatch]:
    spans = st.tuples(st.integers(0, 9), st.integers(10, 20))
    return st.builds(RuleMatch, st.sampled_from(("spam phrases", "spåm: “x”")), st.lists(spans, max_size=2).map(tuple))


def submissions() -> SearchStrategy[Submission]:
    """Well-formed submissions, which a policy may still reject."""
    plain = st.builds(
        Submission,
        target=targets(),
        rating=st.sampled_from((*Rating, "up", "down", None)),
        comment=texts(),
        author=st.none() | st.sampled_from(AUTHORS),
        tags=tags(),
        context=contexts(),
        sentiment=st.none() | sentiments(),
        idempotency_key=st.none() | st.sampled_from(KEYS),
        application=st.sampled_from(APPLICATIONS),
        created_at=st.none() | instants(),
        vote=st.booleans(),
    )
    return plain.map(lambda one: evolve(one, vote=one.vote and one.author is not None))


def contents() -> SearchStrategy[Content]:
    """The content of stored feedback."""
    return st.builds(Content, st.sampled_from(Rating), comments(), tags(), contexts(), st.none() | sentiments())


@st.composite
def feedback_entries(draw: st.DrawFn) -> Feedback:
    """New feedback in its first version, with any value in every field."""
    created_at = draw(instants())
    author = draw(st.none() | st.sampled_from(AUTHORS))
    return Feedback(
        id=draw(st.sampled_from(IDS)),
        application=draw(st.sampled_from(APPLICATIONS)),
        target=draw(targets()),
        content=draw(contents()),
        author=author,
        moderation=draw(moderations()),
        reply=draw(st.none() | texts(20)),
        created_at=created_at,
        updated_at=created_at,
        idempotency_key=draw(st.none() | st.sampled_from(KEYS)),
        fingerprint=draw(st.sampled_from(("body-1", "body-2"))),
        vote=author is not None and draw(st.booleans()),
        later_keys=draw(st.lists(st.tuples(st.sampled_from(KEYS), texts(10)), max_size=2).map(tuple)),
    )


@st.composite
def later_versions(draw: st.DrawFn, feedback: Feedback) -> Feedback:
    """Next versions of the feedback, after any kind of change."""
    at = draw(instants())
    kind = draw(st.sampled_from(("revise", "withdraw", "moderate", "answer")))
    if kind == "withdraw":
        return feedback.withdraw(at=at)
    if kind == "moderate":
        return feedback.moderated(draw(moderations()), at=at)
    if kind == "answer":
        return feedback.answered(draw(st.none() | texts(20)), at=at)
    target = evolve(feedback.target, agent_id=draw(targets()).agent_id)
    return feedback.revised(draw(contents()), at=at, target=target, moderation=draw(moderations()))


def one_or_several(values: SearchStrategy[Value]) -> SearchStrategy[Value | list[Value]]:
    """The value of a filter that may have several."""
    return values | st.lists(values, min_size=1, max_size=3)


@st.composite
def queries(draw: st.DrawFn) -> FeedbackQuery:
    """Queries, mostly with few filters."""
    filters: dict[str, SearchStrategy[Any]] = {
        "feedback_id": st.sampled_from(IDS),
        "session_id": st.sampled_from(SESSIONS),
        "message_id": st.sampled_from(MESSAGES),
        # No feedback has the agent "".
        "agent_id": one_or_several(st.sampled_from((*AGENTS, ""))),
        "author": st.sampled_from(AUTHORS),
        "rating": one_or_several(st.sampled_from(Rating)),
        "tag": one_or_several(st.sampled_from(TAGS)),
        "context": st.dictionaries(st.sampled_from(NAMES), one_or_several(scalars()), max_size=1),
        "text": searches(),
        "has_comment": st.booleans(),
        "since": instants(),
        "until": instants(),
        "statuses": st.frozensets(st.sampled_from(ModerationStatus)),
        "withdrawn": st.sampled_from((True, None)),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(filters)), max_size=3, unique=True))
    parts = {name: draw(filters[name]) for name in chosen}
    return FeedbackQuery(application=draw(st.sampled_from(APPLICATIONS)), **parts)


def groupings() -> SearchStrategy[GroupBy | None]:
    """Every way to group, and no grouping."""
    plain = [GroupBy(dimension) for dimension in Dimension if dimension is not Dimension.CONTEXT]
    named = [GroupBy(Dimension.CONTEXT, name) for name in NAMES]
    return st.sampled_from([None, *plain, *named])


def metadata() -> SearchStrategy[dict[str, JsonValue]]:
    """Session metadata: JSON values with little nesting."""
    return _json_objects(METADATA_NAMES)


def _json_objects(names: Sequence[str]) -> SearchStrategy[dict[str, JsonValue]]:
    values: SearchStrategy[JsonValue] = st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(st.sampled_from(names), values, max_size=3)


def moments_near_noon() -> SearchStrategy[datetime]:
    """A few times before, at and after noon, for leases and due times."""
    return st.integers(0, 4).map(lambda minutes: NOON + timedelta(minutes=minutes))


def api_keys() -> SearchStrategy[ApiKey]:
    """API keys, revoked or not."""
    return st.builds(
        ApiKey,
        id=st.sampled_from(KEY_IDS),
        application=st.sampled_from(APPLICATIONS),
        scopes=st.frozensets(st.sampled_from(Scope), min_size=1),
        name=texts(20),
        digest=st.sampled_from(("0" * 64, "f" * 64)),
        created_at=instants(),
        revoked_at=st.none() | instants(),
        agents=st.none() | st.frozensets(st.sampled_from(AGENTS)),
    )


def feedback_event_types() -> SearchStrategy[EventType]:
    """The types of events that leave the feedback stored."""
    return st.sampled_from([type_ for type_ in EventType if type_.about_feedback])


def attempts() -> SearchStrategy[Attempt]:
    """Attempts of deliveries."""
    return st.builds(
        Attempt,
        at=moments_near_noon(),
        duration=st.integers(0, 20_000_000).map(lambda number: timedelta(microseconds=number)),
        outcome=st.sampled_from(AttemptOutcome),
        status=st.sampled_from(("", "410 Gone")) | texts(20),
        words=texts(20),
        error=texts(20),
    )


def alerts() -> SearchStrategy[Alert]:
    """Newly raised alerts."""
    return st.builds(
        Alert,
        id=st.sampled_from(ALERT_IDS),
        application=st.sampled_from(APPLICATIONS),
        rule=st.sampled_from(RULES),
        kind=st.sampled_from(AlertKind),
        subject=st.sampled_from(SUBJECTS),
        message=texts(20),
        figures=st.dictionaries(st.sampled_from(NAMES), st.integers(-(2**63), 2**63 - 1), max_size=2),
        feedback_ids=st.lists(st.sampled_from(IDS[:4]), max_size=2).map(tuple),
        began_at=instants(),
        raised_at=moments_near_noon() | instants(),
    )


def state_entries() -> SearchStrategy[StateEntry]:
    """State entries with low versions."""
    return st.builds(StateEntry, st.sampled_from(NAMES), _json_objects(NAMES), st.integers(1, 3))


def some_channels() -> SearchStrategy[set[str]]:
    """At least one channel."""
    return st.sets(st.sampled_from(CHANNELS), min_size=1)

"""Reply rules."""

import pickle
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import ConfigurationError, Context, Feedback, FeedbackQuery, Moderation, Rating, Target
from harken.domain.keywords import count_keywords
from harken.domain.replies import MAX_REPLY_LENGTH, ReplyRule, parse_reply, reply_problem, reply_to
from harken.testing import strategies as these
from harken.testing import with_content
from support import NOON, a_feedback

SLOW = ReplyRule(text="We are on it", tag="slow")
ANY = ReplyRule(text="Sorry about {agent_id} in {session_id}: {rating}")

words = st.sampled_from(["slow", "SLOW", "slowly", "Straße", "wrong", ""])
maybe_scalar = st.sampled_from([1, "1", 1.0, True, "true", None, "free"])
rules = st.builds(
    lambda number, **parts: ReplyRule(text=f"Reply {number}", **parts),
    st.integers(0, 9),
    rating=st.sampled_from(Rating),
    tag=st.none() | st.sampled_from(these.TAGS),
    theme=st.none() | words.filter(bool),
    context=st.dictionaries(st.sampled_from(these.NAMES), maybe_scalar, max_size=1),
    agent=st.none() | st.sampled_from(these.AGENTS),
    application=st.none() | st.sampled_from(these.APPLICATIONS),
)


def down(**parts: Any) -> Feedback:
    """Counted thumbs-down feedback."""
    return a_feedback(rating=Rating.DOWN, **parts)


@given(rules, these.feedback_entries(), st.lists(words).map(" ".join), maybe_scalar)
def test_all_conditions_must_hold(rule: ReplyRule, feedback: Feedback, comment: str, value: Any) -> None:
    """A rule matches feedback that a query with the same filters finds and whose comment contains the theme."""
    feedback = with_content(feedback, comment=comment, context=Context({**feedback.context, "user_tier": value}))
    same = FeedbackQuery(
        application=rule.application or feedback.application,
        rating=rule.rating,
        tag=rule.tag,
        context=rule.context,
        agent_id=rule.agent,
    )
    has_theme = rule.theme is None or bool(count_keywords([comment], [rule.theme]))
    assert rule.fits(feedback) == (same.in_any_state().matches(feedback) and has_theme)


@given(st.lists(rules, max_size=5), these.feedback_entries())
def test_the_first_matching_rule_replies(those: list[ReplyRule], feedback: Feedback) -> None:
    """Rules are tried in order, and feedback that is not counted gets no reply."""
    fitting = [rule.text for rule in those if rule.fits(feedback)]
    assert reply_to(those, feedback) == (fitting[0] if fitting and feedback.is_counted else None)


def test_placeholders_are_replaced() -> None:
    """The reply contains the session, the agent and the rating; an unknown agent is empty."""
    feedback = down(session_id="s-{rating}", agent_id="helper")
    assert reply_to([ANY], feedback) == "Sorry about helper in s-{rating}: down"
    assert reply_to([ANY], evolve(feedback, target=Target("s"))) == "Sorry about  in s: down"
    for rating, word in ((Rating.UP, "up"), (Rating.NEUTRAL, "neutral")):
        rule = ReplyRule(text="{rating}", rating=rating)
        assert reply_to([ANY, rule], with_content(feedback, rating=rating)) == word


@pytest.mark.parametrize(
    "state",
    [
        {"moderation": Moderation.held("Spam detected")},
        {"withdrawn_at": NOON},
    ],
)
def test_feedback_that_is_not_counted_gets_no_reply(state: dict[str, Any]) -> None:
    """Spam gets no reply."""
    assert reply_to([ANY], down(**state)) is None


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"tag": "slow", "text": "We are on it"}, SLOW),
        ({"text": "Thanks", "rating": "up"}, ReplyRule(text="Thanks", rating=Rating.UP)),
        (
            {"text": "Hm", "rating": "neutral", "theme": "price"},
            ReplyRule(text="Hm", rating=Rating.NEUTRAL, theme="price"),
        ),
        (
            {"text": "A", "context": {"tier": "free", "seats": 1}, "agent": "helper", "application": "shop"},
            ReplyRule(text="A", context=Context({"tier": "free", "seats": 1}), agent="helper", application="shop"),
        ),
    ],
)
def test_from_the_settings(table: dict[str, object], rule: ReplyRule) -> None:
    """A table of ``harken.toml`` is equivalent to the arguments."""
    assert parse_reply(table) == rule


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "the key 'text' is missing"),
        ({"tag": "slow"}, "the key 'text' is missing; got {'tag': 'slow'}"),
        (
            {"text": "x", "tags": ["a"]},
            "Reply rule: unknown key 'tags' (did you mean 'tag'?); expected one of text, rating, tag, theme",
        ),
        ({"text": ""}, "In the reply '': reply must not be empty"),
        ({"text": "  \n"}, "must not be empty"),
        ({"text": "x" * 1001}, "reply too long: 1001 characters (max: 1000)"),
        ({"text": "\x00"}, "NUL"),
        ({"text": "\ud800"}, "surrogate"),
        ({"text": 7}, "reply must be a string, got int"),
        ({"text": "Dear {author}"}, "expected one of {agent_id}, {rating}, {session_id}"),
        ({"text": "Dear {"}, "is invalid: "),
        ({"text": "x", "rating": "bad"}, "The rating of a reply is invalid: 'bad' is not a rating; expected 'up'"),
        ({"text": "x", "rating": ["down"]}, "['down'] is not a rating"),
        ({"text": "x", "rating": None}, "None is not a rating"),
        ({"text": "x", "tag": ""}, "tag must not be empty"),
        ({"text": "x", "tag": "t" * 101}, "tag too long"),
        ({"text": "x", "theme": " "}, "theme must not be empty"),
        ({"text": "x", "theme": 7}, "theme must be a string, got int"),
        ({"text": "x", "agent": "a\n"}, "agent must not contain control characters"),
        ({"text": "x", "application": "a" * 201}, "application too long"),
        ({"text": "x", "context": "free"}, "The context of a reply must map names to values, got 'free'"),
        ({"text": "x", "context": {"$a": 1}}, "may only have letters, digits"),
        ({"text": "x", "context": {"a": [1]}}, "context.a of a reply must be a string, a number, true, false or null"),
    ],
)
def test_an_invalid_rule_raises_a_helpful_error(table: dict[str, object], message: str) -> None:
    """An invalid rule is refused when it is created."""
    with pytest.raises(ConfigurationError) as caught:
        parse_reply(table)
    assert message in str(caught.value)


@given(these.texts(MAX_REPLY_LENGTH + 5))
def test_valid_replies(text: str) -> None:
    """A reply is not empty and has at most one thousand characters."""
    assert (reply_problem(text) is None) == bool(text.strip() and len(text) <= 1000)


def test_rules_are_values() -> None:
    """Equal rules compare equal, also in other processes."""
    rule = ReplyRule(text="x", context={"a": 1})
    assert rule == pickle.loads(pickle.dumps(rule))
    assert hash(rule) == hash(ReplyRule(text="x", context=Context({"a": 1})))

"""Rules, policies, and feedback from submissions."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import (
    Context,
    Moderation,
    ModerationStatus,
    Rating,
    RatingPolicy,
    RuleMatch,
    Sentiment,
    Submission,
    Target,
    Violation,
)
from harken.domain.feedback import Content, Revision
from harken.domain.rules import (
    build_feedback,
    comment_within,
    form_violations,
    no_spam,
    number_problem,
    restore_violations,
    size_problem,
    text_problem,
    trim_comment,
)
from support import NOON, a_feedback, a_submission

anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.lists(st.none() | st.integers() | st.text(), max_size=3)
    | st.dictionaries(
        st.none() | st.integers() | st.text(), st.none() | st.text() | st.lists(st.integers()), max_size=3
    )
    | st.sampled_from([object(), int, len, {1, 2}, Rating.UP, NOON, Sentiment(0, 0), range(3), "\ud800", 2**63])
)
sloppy_text = st.text(st.characters(exclude_categories=[]), max_size=30) | st.sampled_from(["\x00", "\ud800", " ", ""])


def messages(submission: Submission, policy: RatingPolicy | None = None) -> list[str]:
    """The messages of a policy, by default the default one, for a submission."""
    verdict = (policy or RatingPolicy()).judge(trim_comment(submission))
    return [violation.message for violation in verdict.violations]


def codes(submission: Submission) -> list[tuple[str, str]]:
    """The fields and codes of the violations for which a submission is not well-formed."""
    return [(violation.field, violation.code) for violation in form_violations(submission)]


class TestTheGuidesRules:
    @pytest.mark.parametrize("rating", ["maybe", "UP", "neutral", ""])
    def test_rating(self, rating: str) -> None:
        """The message of the guide, with the rejected value."""
        assert messages(a_submission(rating=rating)) == [f"Invalid rating: {rating}. Must be 'up', 'down', or None"]

    @pytest.mark.parametrize("rating", ["up", None, Rating.UP, Rating.NEUTRAL])
    def test_only_negative_feedback_needs_a_reason(self, rating: Rating | str | None) -> None:
        """Positive and neutral feedback is accepted without a comment."""
        assert messages(a_submission(rating=rating)) == []

    @pytest.mark.parametrize("rating", ["down", Rating.DOWN])
    @pytest.mark.parametrize("comment", ["", " ", "\t\n \u2003"])
    def test_negative_feedback_needs_a_reason(self, rating: Rating | str, comment: str) -> None:
        """Without a tag, it needs a comment, and white space is not one."""
        assert messages(a_submission(rating=rating, comment=comment)) == [
            "Please provide a comment when giving negative feedback"
        ]
        assert messages(a_submission(rating=rating, comment=comment + "Slow")) == []

    @pytest.mark.parametrize("rating", ["down", Rating.DOWN])
    def test_a_reason_tag_replaces_the_comment(self, rating: Rating | str) -> None:
        """Negative feedback with a reason tag and no words is accepted."""
        assert messages(a_submission(rating=rating, tags=["slow"])) == []

    @pytest.mark.parametrize("letter", ["x", "é", "👍", "漢"])
    def test_length_is_in_code_points_after_trimming(self, letter: str) -> None:
        """The limit is in code points, not bytes, and does not include surrounding white space."""
        assert messages(a_submission(comment=letter * 1000)) == []
        assert messages(a_submission(comment=" " * 500 + letter * 1000 + "\n" * 500)) == []
        assert messages(a_submission(comment=letter * 1001)) == ["Comment too long: 1001 characters (max: 1000)"]

    @pytest.mark.parametrize("comment", ["Cheap VIAGRA", "a casinO!", "Click Here now", "limited offer"])
    def test_spam(self, comment: str) -> None:
        """The phrases of the guide are spam in any case and at any position."""
        assert messages(a_submission(comment=comment)) == ["Spam detected"]

    def test_all_violations_at_once(self) -> None:
        """All violations are reported together, each with field, code and message."""
        submission = a_submission(" ", "down", tags=["", "x" * 101], context={"$where": 1}, author="\x07")
        assert RatingPolicy().judge(submission).violations == (
            Violation("session_id", "empty", "session_id must not be empty"),
            Violation("author", "control", "author must not contain control characters"),
            Violation("tags", "empty", "tag must not be empty"),
            Violation("tags", "too_long", "tag too long: 101 characters (max: 100)"),
            Violation("context", "name", "context name '$where' may only have letters, digits, '_' and '-'"),
        )

    def test_long_spam_breaks_two_rules(self) -> None:
        """Each rule reports its violation."""
        assert messages(a_submission(comment="casino" + "x" * 1000)) == [
            "Comment too long: 1006 characters (max: 1000)",
            "Spam detected",
        ]


ID_FIELDS: dict[str, Callable[[object], Submission]] = {
    "session_id": lambda value: evolve(a_submission(), target=Target(value)),  # type: ignore[arg-type]
    "message_id": lambda value: evolve(a_submission(), target=Target("s", message_id=value)),  # type: ignore[arg-type]
    "agent_id": lambda value: evolve(a_submission(), target=Target("s", agent_id=value)),  # type: ignore[arg-type]
    "author": lambda value: a_submission(author=value),
    "idempotency_key": lambda value: a_submission(idempotency_key=value),
    "application": lambda value: a_submission(application=value),
}


class TestIds:
    @pytest.mark.parametrize("name", ID_FIELDS)
    @pytest.mark.parametrize(
        ("value", "code"),
        [
            ("", "empty"),
            (" \t", "empty"),
            ("x" * 201, "too_long"),
            ("a\nb", "control"),
            ("a\x00b", "control"),
            ("a\x7fb", "control"),
            ("a\x85b", "control"),
            ("a\u2028b", "control"),
            ("a\ud800b", "surrogate"),
            (7, "type"),
            (b"id", "type"),
            (["id"], "type"),
        ],
    )
    def test_invalid_ids(self, name: str, value: object, code: str) -> None:
        """The same rules apply to every id, and the violation names the field."""
        assert codes(ID_FIELDS[name](value)) == [(name, code)]

    @pytest.mark.parametrize("name", ID_FIELDS)
    @pytest.mark.parametrize("value", ["x" * 200, "with space", "'\"`$.{}%", "✓ é 漢 👍", "../../etc"])
    def test_valid_ids(self, name: str, value: str) -> None:
        """An id may have up to 200 printable characters of any kind."""
        assert codes(ID_FIELDS[name](value)) == []

    @pytest.mark.parametrize("name", ["session_id", "application"])
    def test_required_ids(self, name: str) -> None:
        """The session and the application are required."""
        assert codes(ID_FIELDS[name](None)) == [(name, "type")]

    @pytest.mark.parametrize("name", ["message_id", "agent_id", "author", "idempotency_key"])
    def test_optional_ids(self, name: str) -> None:
        """All other ids are optional."""
        assert codes(ID_FIELDS[name](None)) == []

    def test_the_target_is_a_target(self) -> None:
        """A session id is not a target."""
        assert codes(a_submission(target="s")) == [("target", "type")]


class TestTags:
    @pytest.mark.parametrize(
        ("tags", "code"),
        [("slow", "type"), (None, "type"), ({"slow"}, "type"), (7, "type"), ([1], "type"), ([None], "type")],
    )
    def test_types(self, tags: object, code: str) -> None:
        """Tags must be a list of strings; a single text is rejected."""
        assert codes(a_submission(tags=tags)) == [("tags", code)]

    def test_bounds(self) -> None:
        """At most 20 tags of at most 100 characters."""
        assert codes(a_submission(tags=[f"{number:0100}" for number in range(20)])) == []
        assert codes(a_submission(tags=[str(number) for number in range(21)])) == [("tags", "too_many")]
        assert codes(a_submission(tags=["x" * 101])) == [("tags", "too_long")]


class TestContext:
    @pytest.mark.parametrize(
        "name", ["", "a.b", "$set", "a b", "quote'", 'quote"', "a[0]", "x" * 101, "nul\x00", "\ud800", "_*"]
    )
    def test_invalid_names(self, name: str) -> None:
        """A name that some storage could interpret as a path or an operator is rejected."""
        assert codes(a_submission(context={name: 1})) == [("context", "name")]

    @pytest.mark.parametrize("name", ["user_tier", "agent-version", "größe", "温度", "0", "x" * 100])
    def test_valid_names(self, name: str) -> None:
        """A name may have letters of any script, digits, underscores and hyphens."""
        assert codes(a_submission(context={name: 1})) == []

    @pytest.mark.parametrize("value", ["x" * 1000, 2**63 - 1, -(2**63), 1.5, -0.0, True, None, ""])
    def test_valid_values(self, value: object) -> None:
        """A value may be any JSON scalar; integers are limited to 64 bits."""
        assert codes(a_submission(context={"fact": value})) == []

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (2**63, "range"),
            (-(2**63) - 1, "range"),
            (float("nan"), "range"),
            (float("inf"), "range"),
            ("x" * 1001, "too_long"),
            ("\x00", "nul"),
            ("\udfff", "surrogate"),
            ([1], "type"),
            ({"nested": 1}, "type"),
            (NOON, "type"),
        ],
    )
    def test_invalid_values(self, value: object, code: str) -> None:
        """The violation names the context value."""
        assert codes(a_submission(context={"good": 1, "fact": value})) == [("context.fact", code)]

    def test_bounds_and_types(self) -> None:
        """At most 50 values, with names that are text."""
        assert codes(a_submission(context={str(number): 0 for number in range(50)})) == []
        assert codes(a_submission(context={str(number): 0 for number in range(51)})) == [("context", "too_many")]
        assert codes(a_submission(context={1: 1})) == [("context", "type")]
        assert codes(a_submission(context=[("a", 1)])) == [("context", "type")]
        assert codes(a_submission(context=None)) == [("context", "type")]


class TestOtherParts:
    @pytest.mark.parametrize(
        ("moment", "expected"),
        [
            (None, []),
            (datetime(1970, 1, 1, tzinfo=UTC), []),
            (datetime(9998, 12, 31, 23, 59, tzinfo=UTC), []),
            (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=1))), [("created_at", "range")]),
            (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), [("created_at", "range")]),
            (datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2))), [("created_at", "range")]),
            (datetime(9999, 1, 1, tzinfo=UTC), [("created_at", "range")]),
            (datetime(2026, 1, 1), [("created_at", "range")]),  # noqa: DTZ001
            (date(2026, 1, 1), [("created_at", "type")]),
            ("2026-01-01T00:00:00Z", [("created_at", "type")]),
            (0, [("created_at", "type")]),
        ],
    )
    def test_created_at(self, moment: object, expected: list[tuple[str, str]]) -> None:
        """A time must have a time zone and be in the years that every storage supports."""
        assert codes(a_submission(created_at=moment)) == expected

    @pytest.mark.parametrize("part", ["comment", "sentiment", "vote"])
    def test_types(self, part: str) -> None:
        """A part of a wrong type is rejected."""
        assert codes(a_submission(**{part: 0.5})) == [(part, "type")]

    @pytest.mark.parametrize(("comment", "code"), [("a\x00", "nul"), ("a\ud800", "surrogate"), (None, "type")])
    def test_comment(self, comment: object, code: str) -> None:
        """A comment must be a string that every storage can store."""
        assert codes(a_submission(comment=comment)) == [("comment", code)]

    def test_text_and_numbers_of_other_names(self) -> None:
        """The checks work for any name, such as in session metadata."""
        assert text_problem("note", "fine\n") is None
        assert text_problem("note", 5) == Violation("note", "type", "note must be a string, got int")
        assert number_problem("count", 5) is None
        assert number_problem("count", ()) == Violation(
            "count", "type", "count must be a string, a number, true, false or null, got tuple"
        )


class TestNothingCrashes:
    @given(st.sampled_from([field.name for field in Submission.__attrs_attrs__]), anything)
    def test_any_object_in_any_part(self, part: str, value: object) -> None:
        """Any value in any part gives a verdict, not an exception."""
        submission = trim_comment(a_submission(**{part: value}))
        verdict = RatingPolicy().judge(submission)
        assert all(violation.message for violation in verdict.violations)
        if not verdict.violations:
            feedback = build_feedback(submission, verdict.moderation, feedback_id="f", fingerprint="", at=NOON)
            assert not tuple(form_violations(feedback.as_submission()))

    @given(anything, anything, anything)
    def test_any_object_in_the_target(self, session: object, message: object, agent: object) -> None:
        """Any value in the target gives a verdict, not an exception."""
        target = Target(session, message, agent)  # type: ignore[arg-type]
        for violation in RatingPolicy().judge(evolve(a_submission(), target=target)).violations:
            assert violation.field in ("session_id", "message_id", "agent_id")

    @given(
        st.builds(
            Submission,
            target=st.builds(Target, sloppy_text, st.none() | sloppy_text, st.none() | sloppy_text),
            rating=st.sampled_from(["up", "down", None]),
            comment=sloppy_text,
            author=st.none() | sloppy_text,
            tags=st.lists(sloppy_text, max_size=2),
            context=st.dictionaries(sloppy_text, sloppy_text, max_size=2),
            idempotency_key=st.none() | sloppy_text,
            application=sloppy_text,
        )
    )
    def test_accepted_text_can_be_stored(self, submission: Submission) -> None:
        """Text that the default policy accepts can be encoded as UTF-8 and has no NUL."""
        if RatingPolicy().judge(submission).violations:
            return
        target = submission.target
        texts = [target.session_id, target.message_id, target.agent_id, submission.author, submission.comment]
        texts += [submission.idempotency_key, submission.application, *submission.tags]
        texts += [text for fact in submission.context.items() for text in fact]  # type: ignore[misc]
        for text in filter(None, texts):
            assert "\x00" not in text
            assert text.encode().decode() == text


class TestPolicy:
    def test_custom_rules(self) -> None:
        """Additional rules apply together with the default rules."""

        def needs_author(submission: Submission) -> Iterator[Violation]:
            if submission.author is None:
                yield Violation("author", "required", "Please sign in")

        policy = RatingPolicy().with_rules(needs_author)
        assert messages(a_submission(rating="down"), policy) == [
            "Please provide a comment when giving negative feedback",
            "Please sign in",
        ]
        assert messages(a_submission(author="ann"), policy) == []

    def test_rules_are_not_called_for_wrong_types(self) -> None:
        """Rules may rely on the types of all parts."""

        def fragile(submission: Submission) -> Iterator[Violation]:
            yield from [Violation("x", "x", "x")] * len(submission.comment + "".join(submission.context))

        policy = RatingPolicy(refuse=(fragile,), hold=(fragile,))
        for part, value in {"comment": 7, "context": {1: 1}, "rating": {}}.items():
            (violation,) = policy.judge(a_submission(**{part: value})).violations
            assert (violation.field, violation.code) == (part, "type")

    def test_holding_rules(self) -> None:
        """Suspicions hold feedback as pending, with all messages as the reason, and do not reject it."""
        policy = RatingPolicy.standard(spam="hold").with_rules(comment_within(3), hold=True)
        verdict = policy.judge(a_submission(comment="casino"))
        assert verdict.violations == ()
        assert verdict.moderation.status is ModerationStatus.PENDING
        assert verdict.moderation.reason == "Spam detected; Comment too long: 6 characters (max: 3)"
        assert policy.judge(a_submission(comment="ok")).moderation.status is ModerationStatus.APPROVED

    def test_every_rule_can_be_disabled(self) -> None:
        """Without rules, a submission must still be well-formed."""
        policy = RatingPolicy.standard(max_comment_length=None, reason_when_down=False, spam="allow")
        assert messages(a_submission(rating="down"), policy) == []
        assert messages(a_submission(comment="casino" * 1000), policy) == []
        assert messages(a_submission(comment="\x00"), policy) == ["comment must not contain NUL characters"]
        too_long = messages(a_submission(comment="x" * 250_001), policy)
        assert too_long == ["comment too long: 250001 characters (max: 250000, regardless of policy)"]

    def test_other_limits(self) -> None:
        """The limit of comments and the spam phrases can be changed."""
        policy = RatingPolicy.standard(max_comment_length=5, spam_phrases=["BUY"])
        assert messages(a_submission(comment="Buy it"), policy) == [
            "Comment too long: 6 characters (max: 5)",
            "Spam detected",
        ]
        assert messages(a_submission(comment="casin"), policy) == []

    def test_invalid_spam_option(self) -> None:
        """An invalid value is rejected when the policy is created."""
        with pytest.raises(ValueError, match="'refuse', 'hold' or 'allow', got 'drop'"):
            RatingPolicy.standard(spam="drop")

    @given(st.text(), st.text(min_size=1))
    def test_a_phrase_is_found_at_any_position(self, text: str, phrase: str) -> None:
        """A comment that contains a phrase is spam."""
        (violation,) = no_spam([phrase])(a_submission(comment=text + phrase + text))
        assert violation.code == "spam"


class TestAccepted:
    @given(st.lists(st.sampled_from("abc"), max_size=6))
    def test_tags_once_each_in_order(self, tags: list[str]) -> None:
        """Duplicate tags are removed, and the order is kept."""
        kept = build_feedback(
            a_submission(tags=tags), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON
        ).tags
        assert list(kept) == sorted(set(tags), key=tags.index)

    def test_created_at(self) -> None:
        """Feedback with a creation time keeps it; other feedback gets the current time."""
        before = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        old = build_feedback(
            a_submission(created_at=before), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON
        )
        new = build_feedback(a_submission(), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON)
        assert (old.created_at, old.created_at.tzinfo, old.updated_at) == (before, UTC, NOON)
        assert (new.created_at, new.updated_at) == (NOON, NOON)

    @given(st.text())
    def test_trimming(self, comment: str) -> None:
        """Trimming removes white space at both ends and is idempotent."""
        once = trim_comment(a_submission(comment=comment))
        assert once.comment == comment.strip()
        assert trim_comment(once) is once

    def test_context_becomes_immutable(self) -> None:
        """Changing the submitted context does not change the feedback."""
        facts = {"tier": "free"}
        feedback = build_feedback(
            a_submission(context=facts), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON
        )
        facts["tier"] = "premium"
        assert feedback.context == Context({"tier": "free"})


@pytest.mark.parametrize(("letter", "fits"), [("a", True), ("é", True), ("€", False), ("😀", False)])
def test_the_size_of_feedback_is_counted_in_bytes(letter: str, fits: bool) -> None:
    """The size is in bytes of UTF-8 and includes all revisions."""
    comment = letter * 250_000
    plain = Revision(version=1, content=Content(Rating.UP, comment), reply=None, replaced_at=NOON)
    revisions = tuple(evolve(plain, version=version) for version in range(1, 13))
    feedback = a_feedback(comment=comment, revisions=revisions)
    assert (size_problem(feedback) is None) == fits
    assert (list(restore_violations(feedback)) == []) == fits


@pytest.mark.parametrize(
    ("extras", "code"),
    [
        (None, "type"),
        ({}, "type"),
        (b"{}", "type"),
        ('{"a": "\0"}', "nul"),
        ('{"a": "\ud800"}', "surrogate"),
        ("€" * 4_666_667, "too_long"),
    ],
)
def test_extras_are_text_that_every_storage_can_store(extras: Any, code: str) -> None:
    """Extras have at most 14 MB in UTF-8, for submissions and for feedback of another system; JSON is not checked."""
    assert [(one.field, one.code) for one in form_violations(a_submission(extras=extras))] == [("extras", code)]
    if isinstance(extras, str):
        assert [one.field for one in restore_violations(a_feedback(), extras)] == ["extras"]
    for fits in ("", "not JSON", "€" * 4_666_666):
        assert not form_violations(a_submission(extras=fits))
        assert not list(restore_violations(a_feedback(), fits))


def test_extras_leave_less_room_for_revisions() -> None:
    """Feedback with its revisions and extras has at most 15.5 MB."""
    plain = Revision(version=1, content=Content(Rating.UP, "x" * 250_000), reply=None, replaced_at=NOON)
    feedback = a_feedback(revisions=tuple(evolve(plain, version=version) for version in range(1, 9)))
    assert size_problem(feedback, "x" * 13_500_000) is None
    assert list(restore_violations(feedback, "x" * 13_500_000)) == []
    problem = size_problem(feedback, "x" * 13_500_001)
    assert problem
    assert "2,000,000 bytes of text with its 8 revisions (max: 1,999,999, because of its extras)" in problem.message
    assert list(restore_violations(feedback, "x" * 13_500_001)) == [problem]


class TestWhyFeedbackIsHeld:
    """What a policy stores about the rules that hold feedback."""

    @staticmethod
    def held_by(comment: str, policy: RatingPolicy) -> list[tuple[str, list[str]]]:
        """The names of the rules, and the parts of the comment that each matched."""
        moderation = policy.judge(a_submission(comment=comment)).moderation
        return [(one.rule, [comment[start:end] for start, end in one.spans]) for one in moderation.held_by]

    def test_every_phrase_is_a_span(self) -> None:
        """All places of all phrases, in order and without overlaps, in code points of the comment."""
        policy = RatingPolicy.standard(spam="hold", spam_phrases=["click here", "limited offer", "here"])
        comment = "\U0001f600 İ Click HERE for a limited offer, click here"
        assert self.held_by(comment, policy) == [("spam phrases", ["Click HERE", "limited offer", "click here"])]

    def test_many_places(self) -> None:
        """A comment of phrases has 20 spans at most, so that it does not make feedback large."""
        policy = RatingPolicy.standard(spam="hold", max_comment_length=None)
        assert self.held_by("casino " * 30_000, policy) == [("spam phrases", ["casino"] * 20)]

    def test_names_of_rules(self) -> None:
        """A function gives a rule its name; other rules have the code of the violation, if it is a valid name."""

        def mentions_a_lawyer(submission: Submission) -> list[Violation]:
            return [Violation("comment", "legal", "It mentions a lawyer", spans=((0, 1),))]

        def coded(code: str) -> Callable[[Submission], list[Violation]]:
            return lambda _: [Violation("comment", code, code)]

        policy = RatingPolicy(refuse=()).with_rules(
            mentions_a_lawyer, coded("code"), coded("x" * 101), coded("\x00"), hold=True
        )
        assert self.held_by("fine", policy) == [
            ("mentions a lawyer", ["f"]),
            ("code", []),
            ("unnamed rule", []),
        ]

    @pytest.mark.parametrize("spans", [((5, 4),), ((-1, 4),), ((0, 250_001),), ((0, 1),) * 21])
    def test_invalid_spans_are_not_restored(self, spans: tuple[tuple[int, int], ...]) -> None:
        """Feedback of another system has no spans that some storage could not store, or that are not spans."""
        held = a_feedback(moderation=Moderation.held("why", (RuleMatch("rule", spans),)))
        assert [one.field for one in restore_violations(held)] == ["held_by"]
        many = a_feedback(moderation=Moderation.held("why", (RuleMatch("rule"),) * 21))
        assert [one.code for one in restore_violations(many)] == ["too_many"]

    @pytest.mark.parametrize("rule", ["", "x" * 101, "a\0b"])
    def test_invalid_names_are_not_restored(self, rule: str) -> None:
        """Nor are names of rules that are empty, too long, or text that some storage could not store."""
        held = a_feedback(moderation=Moderation.held("why", (RuleMatch(rule),)))
        assert [one.field for one in restore_violations(held)] == ["held_by"]

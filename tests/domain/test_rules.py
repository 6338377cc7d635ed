"""What a submission must be like, and what a policy says of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import Context, ModerationStatus, Rating, RatingPolicy, Sentiment, Submission, Target, Violation
from harken.domain.feedback import Content, Revision
from harken.domain.rules import (
    accepted,
    comment_within,
    no_spam,
    number_problem,
    restore_violations,
    size_problem,
    text_problem,
    trimmed,
    well_formed,
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
    """What the policy (the default one) says against a submission."""
    verdict = (policy or RatingPolicy()).judge(trimmed(submission))
    return [violation.message for violation in verdict.violations]


def codes(submission: Submission) -> list[tuple[str, str]]:
    """What is not well-formed in a submission: fields and codes."""
    return [(violation.field, violation.code) for violation in well_formed(submission)]


class TestTheGuidesRules:
    @pytest.mark.parametrize("rating", ["maybe", "UP", "neutral", ""])
    def test_rating(self, rating: str) -> None:
        """The guide's message, with what was sent in it."""
        assert messages(a_submission(rating=rating)) == [f"Invalid rating: {rating}. Must be 'up', 'down', or None"]

    @pytest.mark.parametrize("rating", ["up", None, Rating.UP, Rating.NEUTRAL])
    def test_ups_and_neutrals_need_no_comment(self, rating: Rating | str | None) -> None:
        """Only a down has to explain itself."""
        assert messages(a_submission(rating=rating)) == []

    @pytest.mark.parametrize("rating", ["down", Rating.DOWN])
    @pytest.mark.parametrize("comment", ["", " ", "\t\n \u2003"])
    def test_a_down_needs_a_comment(self, rating: Rating | str, comment: str) -> None:
        """White space is no comment."""
        assert messages(a_submission(rating=rating, comment=comment)) == [
            "Please provide a comment when giving negative feedback"
        ]
        assert messages(a_submission(rating=rating, comment=comment + "Slow")) == []

    @pytest.mark.parametrize("letter", ["x", "é", "👍", "漢"])
    def test_length_is_in_code_points_after_trimming(self, letter: str) -> None:
        """A thousand characters are a thousand, however many bytes they need; white space around them is free."""
        assert messages(a_submission(comment=letter * 1000)) == []
        assert messages(a_submission(comment=" " * 500 + letter * 1000 + "\n" * 500)) == []
        assert messages(a_submission(comment=letter * 1001)) == ["Comment too long: 1001 characters (max: 1000)"]

    @pytest.mark.parametrize("comment", ["Cheap VIAGRA", "a casinO!", "Click Here now", "limited offer"])
    def test_spam(self, comment: str) -> None:
        """The guide's phrases are spam in whatever case and wherever they stand."""
        assert messages(a_submission(comment=comment)) == ["Spam detected"]

    def test_all_violations_at_once(self) -> None:
        """Whoever sent it learns everything that is wrong with it in one go, as field, code and message."""
        submission = a_submission(" ", "down", tags=["", "x" * 101], context={"$where": 1}, author="\x07")
        assert RatingPolicy().judge(submission).violations == (
            Violation("session_id", "empty", "session_id must not be empty"),
            Violation("author", "control", "author must not contain control characters"),
            Violation("tags", "empty", "tags must not be empty"),
            Violation("tags", "too_long", "tags too long: 101 characters (max: 100)"),
            Violation("context", "name", "context name '$where' may only have letters, digits, '_' and '-'"),
            Violation("comment", "required", "Please provide a comment when giving negative feedback"),
        )

    def test_long_spam_breaks_two_rules(self) -> None:
        """Rules do not hide each other."""
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
    def test_bad_ids(self, name: str, value: object, code: str) -> None:
        """Every id is held to the same rules, and the violation names the field."""
        assert codes(ID_FIELDS[name](value)) == [(name, code)]

    @pytest.mark.parametrize("name", ID_FIELDS)
    @pytest.mark.parametrize("value", ["x" * 200, "with space", "'\"`$.{}%", "✓ é 漢 👍", "../../etc"])
    def test_good_ids(self, name: str, value: str) -> None:
        """An id is opaque: 200 printable characters of any kind will do."""
        assert codes(ID_FIELDS[name](value)) == []

    @pytest.mark.parametrize("name", ["session_id", "application"])
    def test_these_are_needed(self, name: str) -> None:
        """No feedback without a session and an application."""
        assert codes(ID_FIELDS[name](None)) == [(name, "type")]

    @pytest.mark.parametrize("name", ["message_id", "agent_id", "author", "idempotency_key"])
    def test_these_are_not(self, name: str) -> None:
        """All other ids may be left out."""
        assert codes(ID_FIELDS[name](None)) == []

    def test_the_target_is_a_target(self) -> None:
        """A bare session id is not what it is about."""
        assert codes(a_submission(target="s")) == [("target", "type")]


class TestTags:
    @pytest.mark.parametrize(
        ("tags", "code"),
        [("slow", "type"), (None, "type"), ({"slow"}, "type"), (7, "type"), ([1], "type"), ([None], "type")],
    )
    def test_types(self, tags: object, code: str) -> None:
        """Tags are a list of texts; one text is not taken for a list of letters."""
        assert codes(a_submission(tags=tags)) == [("tags", code)]

    def test_bounds(self) -> None:
        """Twenty tags of a hundred characters, and no more."""
        assert codes(a_submission(tags=[f"{number:0100}" for number in range(20)])) == []
        assert codes(a_submission(tags=[str(number) for number in range(21)])) == [("tags", "too_many")]
        assert codes(a_submission(tags=["x" * 101])) == [("tags", "too_long")]


class TestContextFacts:
    @pytest.mark.parametrize(
        "name", ["", "a.b", "$set", "a b", "quote'", 'quote"', "a[0]", "x" * 101, "nul\x00", "\ud800", "_*"]
    )
    def test_names_that_mean_something_to_a_storage(self, name: str) -> None:
        """A name that could be read as a path or an operator is refused."""
        assert codes(a_submission(context={name: 1})) == [("context", "name")]

    @pytest.mark.parametrize("name", ["user_tier", "agent-version", "größe", "温度", "0", "x" * 100])
    def test_good_names(self, name: str) -> None:
        """Letters of any script, digits, underscores and hyphens."""
        assert codes(a_submission(context={name: 1})) == []

    @pytest.mark.parametrize("value", ["x" * 1000, 2**63 - 1, -(2**63), 1.5, -0.0, True, None, ""])
    def test_good_values(self, value: object) -> None:
        """What fits into JSON and 64 bits."""
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
    def test_bad_values(self, value: object, code: str) -> None:
        """Everything else is refused under the fact's own name."""
        assert codes(a_submission(context={"good": 1, "fact": value})) == [("context.fact", code)]

    def test_bounds_and_types(self) -> None:
        """Fifty facts with text names."""
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
        """Times are aware and in years that every storage and every time zone can count in."""
        assert codes(a_submission(created_at=moment)) == expected

    @pytest.mark.parametrize("part", ["comment", "sentiment", "vote"])
    def test_types(self, part: str) -> None:
        """Every part has its type."""
        assert codes(a_submission(**{part: 0.5})) == [(part, "type")]

    @pytest.mark.parametrize(("comment", "code"), [("a\x00", "nul"), ("a\ud800", "surrogate"), (None, "type")])
    def test_comment(self, comment: object, code: str) -> None:
        """A comment is text that every storage can keep."""
        assert codes(a_submission(comment=comment)) == [("comment", code)]

    def test_text_and_numbers_by_themselves(self) -> None:
        """The same checks serve session metadata under any name."""
        assert text_problem("note", "fine\n") is None
        assert text_problem("note", 5) == Violation("note", "type", "note must be text, got int")
        assert number_problem("count", 5) is None
        assert number_problem("count", ()) == Violation(
            "count", "type", "count must be text, a number, true, false or null, got tuple"
        )


class TestNothingCrashes:
    @given(st.sampled_from([field.name for field in Submission.__attrs_attrs__]), anything)
    def test_any_object_in_any_part(self, part: str, value: object) -> None:
        """Whatever a program puts into a part, the answer is a verdict and never an exception."""
        submission = trimmed(a_submission(**{part: value}))
        verdict = RatingPolicy().judge(submission)
        assert all(violation.message for violation in verdict.violations)
        if not verdict.violations:
            feedback = accepted(submission, verdict.moderation, feedback_id="f", fingerprint="", at=NOON)
            assert not tuple(well_formed(feedback.as_submission()))

    @given(anything, anything, anything)
    def test_any_object_in_the_target(self, session: object, message: object, agent: object) -> None:
        """The same inside the target."""
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
    def test_what_passes_is_text(self, submission: Submission) -> None:
        """Whatever the default policy lets through can be written as UTF-8 and has no NUL."""
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
    def test_own_rules(self) -> None:
        """A team adds rules of its own, which count like those that were there before."""

        def needs_author(submission: Submission) -> Iterator[Violation]:
            if submission.author is None:
                yield Violation("author", "required", "Please sign in")

        policy = RatingPolicy().with_rules(needs_author)
        assert messages(a_submission(rating="down"), policy) == [
            "Please provide a comment when giving negative feedback",
            "Please sign in",
        ]
        assert messages(a_submission(author="ann"), policy) == []

    def test_rules_are_not_asked_about_wrong_types(self) -> None:
        """A rule need not guard against parts that are not what they should be."""

        def fragile(submission: Submission) -> Iterator[Violation]:
            yield from [Violation("x", "x", "x")] * len(submission.comment + "".join(submission.context))

        policy = RatingPolicy(refuse=(fragile,), hold=(fragile,))
        for part, value in {"comment": 7, "context": {1: 1}, "rating": {}}.items():
            (violation,) = policy.judge(a_submission(**{part: value})).violations
            assert (violation.field, violation.code) == (part, "type")

    def test_hold_instead_of_refuse(self) -> None:
        """A suspicion holds feedback as pending, with all reasons, and refuses nothing."""
        policy = RatingPolicy.standard(spam="hold").with_rules(comment_within(3), hold=True)
        verdict = policy.judge(a_submission(comment="casino"))
        assert verdict.violations == ()
        assert verdict.moderation.status is ModerationStatus.PENDING
        assert verdict.moderation.reason == "Spam detected; Comment too long: 6 characters (max: 3)"
        assert policy.judge(a_submission(comment="ok")).moderation.status is ModerationStatus.APPROVED

    def test_every_rule_can_be_turned_off(self) -> None:
        """A team that wants none of the rules gets none, and well-formedness still holds."""
        policy = RatingPolicy.standard(max_comment_length=None, comment_when_down=False, spam="allow")
        assert messages(a_submission(rating="down"), policy) == []
        assert messages(a_submission(comment="casino" * 1000), policy) == []
        assert messages(a_submission(comment="\x00"), policy) == ["comment must not contain NUL characters"]
        too_long = messages(a_submission(comment="x" * 250_001), policy)
        assert too_long == ["comment too long: 250001 characters (max: 250000, regardless of policy)"]

    def test_other_limits(self) -> None:
        """Limits and phrases are a team's own."""
        policy = RatingPolicy.standard(max_comment_length=5, spam_phrases=["BUY"])
        assert messages(a_submission(comment="Buy it"), policy) == [
            "Comment too long: 6 characters (max: 5)",
            "Spam detected",
        ]
        assert messages(a_submission(comment="casin"), policy) == []

    def test_unknown_word_for_spam(self) -> None:
        """A typing error in the setting is told at once."""
        with pytest.raises(ValueError, match="'refuse', 'hold' or 'allow', got 'drop'"):
            RatingPolicy.standard(spam="drop")

    @given(st.text(), st.text(min_size=1))
    def test_a_phrase_is_found_wherever_it_stands(self, text: str, phrase: str) -> None:
        """A comment that holds a phrase is spam."""
        (violation,) = no_spam([phrase])(a_submission(comment=text + phrase + text))
        assert violation.code == "spam"


class TestAccepted:
    @given(st.lists(st.sampled_from("abc"), max_size=6))
    def test_tags_once_each_in_order(self, tags: list[str]) -> None:
        """A reason picked twice is one reason."""
        kept = accepted(a_submission(tags=tags), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON).tags
        assert list(kept) == sorted(set(tags), key=tags.index)

    def test_created_at(self) -> None:
        """Feedback given elsewhere before keeps its time; other feedback is given now."""
        before = datetime(2020, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        old = accepted(
            a_submission(created_at=before), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON
        )
        new = accepted(a_submission(), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON)
        assert (old.created_at, old.created_at.tzinfo, old.updated_at) == (before, UTC, NOON)
        assert (new.created_at, new.updated_at) == (NOON, NOON)

    @given(st.text())
    def test_trimming(self, comment: str) -> None:
        """Trimming takes white space off both ends, nothing else, and nothing the second time."""
        once = trimmed(a_submission(comment=comment))
        assert once.comment == comment.strip()
        assert trimmed(once) is once

    def test_context_becomes_immutable(self) -> None:
        """What is kept of the context is a value."""
        facts = {"tier": "free"}
        feedback = accepted(
            a_submission(context=facts), a_feedback().moderation, feedback_id="f", fingerprint="", at=NOON
        )
        facts["tier"] = "premium"
        assert feedback.context == Context({"tier": "free"})


@pytest.mark.parametrize(("letter", "fits"), [("a", True), ("é", True), ("€", False), ("😀", False)])
def test_the_size_of_feedback_is_counted_in_bytes(letter: str, fits: bool) -> None:
    """What is stored is UTF-8, so letters count as much as they take there, with all revisions."""
    said = letter * 250_000
    plain = Revision(version=1, content=Content(Rating.UP, said), reply=None, replaced_at=NOON)
    revisions = tuple(evolve(plain, version=version) for version in range(1, 13))
    feedback = a_feedback(comment=said, revisions=revisions)
    assert (size_problem(feedback) is None) == fits
    assert (list(restore_violations(feedback)) == []) == fits

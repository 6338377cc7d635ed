"""Rating rules: small functions that look at a submission and say everything that is wrong with it.

A rule is any callable that takes a submission and gives violations. :class:`RatingPolicy` holds rules that refuse and
rules that hold for moderation; whether the submission is well-formed at all is not a matter of policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from attrs import evolve, frozen

from harken.domain.feedback import Context, Feedback, Rating, Scalar, Sentiment, Submission, Target
from harken.domain.instants import EPOCH, utc
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus

MAX_COMMENT_LENGTH: Final = 1000
MAX_ID_LENGTH: Final = 200
MAX_TAGS: Final = 20
MAX_TAG_LENGTH: Final = 100
MAX_CONTEXT_KEYS: Final = 50
MAX_CONTEXT_NAME_LENGTH: Final = 100
MAX_CONTEXT_VALUE_LENGTH: Final = 1000
SPAM_PHRASES: Final = ("viagra", "casino", "click here", "limited offer")

_INT64 = 2**63
#: Python's calendar ends with the year 9999; a year's distance leaves room for time zones and for whole weeks.
_TOO_LATE = datetime(9999, 1, 1, tzinfo=UTC)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@frozen
class Violation:
    """One thing that is wrong: the field, a stable code for programs, and a message for people."""

    field: str
    code: str
    message: str


Rule = Callable[[Submission], Iterable[Violation]]


# --- Well-formed: what every storage needs, whatever the policy ---------------------------------------------------


def text_problem(name: str, value: object) -> Violation | None:
    """What makes ``value`` a text that not every storage could keep, if anything does."""
    if not isinstance(value, str):
        return Violation(name, "type", f"{name} must be text, got {type(value).__name__}")
    if "\x00" in value:
        return Violation(name, "nul", f"{name} must not contain NUL characters")
    if not value.isascii() and _SURROGATE.search(value):
        return Violation(name, "surrogate", f"{name} contains a lone surrogate, which is not valid Unicode text")
    return None


def label_problem(name: str, value: object, longest: int = MAX_ID_LENGTH) -> Violation | None:
    """What makes ``value`` unfit as an id or a tag, if anything does."""
    if not isinstance(value, str):
        return Violation(name, "type", f"{name} must be text, got {type(value).__name__}")
    if not value.strip():
        return Violation(name, "empty", f"{name} must not be empty")
    if len(value) > longest:
        return Violation(name, "too_long", f"{name} too long: {len(value)} characters (max: {longest})")
    if _CONTROL.search(value):
        return Violation(name, "control", f"{name} must not contain control characters")
    return text_problem(name, value)


def name_problem(where: str, name: object) -> Violation | None:
    """What makes ``name`` unfit as the name of a fact in every storage, if anything does."""
    if not isinstance(name, str):
        return Violation(where, "type", f"{where} names must be text, got {type(name).__name__}")
    if len(name) > MAX_CONTEXT_NAME_LENGTH:
        message = f"{where} name too long: {len(name)} characters (max: {MAX_CONTEXT_NAME_LENGTH})"
        return Violation(where, "name", message)
    if not name.replace("_", "a").replace("-", "a").isalnum():
        message = f"{where} name {name!a} may only have letters, digits, '_' and '-'"
        return Violation(where, "name", message)
    return None


def _identifiers(submission: Submission) -> Iterator[Violation | None]:
    target = submission.target
    if not isinstance(target, Target):
        yield Violation("target", "type", f"target must be a Target, got {type(target).__name__}")
        return
    yield label_problem("session_id", target.session_id)
    yield label_problem("application", submission.application)
    optional = {
        "message_id": target.message_id,
        "agent_id": target.agent_id,
        "author": submission.author,
        "idempotency_key": submission.idempotency_key,
    }
    for name, value in optional.items():
        if value is not None:
            yield label_problem(name, value)


def _rating(submission: Submission) -> Iterator[Violation | None]:
    try:
        Rating.parse(submission.rating)
    except ValueError as error:
        yield Violation("rating", "unknown" if isinstance(submission.rating, str) else "type", str(error))


def _comment(submission: Submission) -> Iterator[Violation | None]:
    yield text_problem("comment", submission.comment)


def _tags(submission: Submission) -> Iterator[Violation | None]:
    tags = submission.tags
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        yield Violation("tags", "type", f"tags must be a list of texts, got {type(tags).__name__}")
        return
    if len(tags) > MAX_TAGS:
        yield Violation("tags", "too_many", f"Too many tags: {len(tags)} (max: {MAX_TAGS})")
    for tag in tags:
        yield label_problem("tags", tag, MAX_TAG_LENGTH)


def _context(submission: Submission) -> Iterator[Violation | None]:
    context = submission.context
    if not isinstance(context, Mapping):
        yield Violation("context", "type", f"context must map names to values, got {type(context).__name__}")
        return
    if len(context) > MAX_CONTEXT_KEYS:
        yield Violation("context", "too_many", f"Too many context keys: {len(context)} (max: {MAX_CONTEXT_KEYS})")
    for name, value in context.items():
        problem = name_problem("context", name)
        yield problem
        if problem is None:
            yield _scalar_problem(f"context.{name}", value)


def _scalar_problem(name: str, value: object) -> Violation | None:
    if isinstance(value, str):
        if len(value) <= MAX_CONTEXT_VALUE_LENGTH:
            return text_problem(name, value)
        message = f"{name} too long: {len(value)} characters (max: {MAX_CONTEXT_VALUE_LENGTH})"
        return Violation(name, "too_long", message)
    return number_problem(name, value)


def number_problem(name: str, value: object) -> Violation | None:
    """What makes ``value`` something other than a number, a truth value or nothing that every storage could keep."""
    if isinstance(value, int):
        return None if -_INT64 <= value < _INT64 else Violation(name, "range", f"{name} must fit into 64 bits")
    if isinstance(value, float):
        return None if isfinite(value) else Violation(name, "range", f"{name} must be finite, got {value}")
    if value is None:
        return None
    message = f"{name} must be text, a number, true, false or null, got {type(value).__name__}"
    return Violation(name, "type", message)


def _sentiment(submission: Submission) -> Iterator[Violation | None]:
    if not isinstance(submission.sentiment, Sentiment | None):
        message = f"sentiment must be a Sentiment, got {type(submission.sentiment).__name__}"
        yield Violation("sentiment", "type", message)


def _created_at(submission: Submission) -> Iterator[Violation | None]:
    moment = submission.created_at
    if moment is None:
        return
    if not isinstance(moment, datetime):
        yield Violation("created_at", "type", f"created_at must be a datetime, got {type(moment).__name__}")
        return
    try:
        if not EPOCH <= utc(moment) < _TOO_LATE:
            message = f"created_at must lie in the years 1970 to 9998, got {moment.isoformat()}"
            yield Violation("created_at", "range", message)
    except ValueError as error:
        yield Violation("created_at", "range", f"created_at: {error}")


def _vote(submission: Submission) -> Iterator[Violation | None]:
    if not isinstance(submission.vote, bool):
        yield Violation("vote", "type", f"vote must be true or false, got {type(submission.vote).__name__}")


_WELL_FORMED = (_rating, _comment, _identifiers, _tags, _context, _sentiment, _created_at, _vote)


def well_formed(submission: Submission) -> Iterator[Violation]:
    """Whether every storage can keep this submission and give it back as it was."""
    for check in _WELL_FORMED:
        yield from (problem for problem in check(submission) if problem is not None)


# --- Policy: what a team may want otherwise ------------------------------------------------------------------------


def comment_within(longest: int = MAX_COMMENT_LENGTH) -> Rule:
    """A comment has at most ``longest`` code points, after trimming."""

    def rule(submission: Submission) -> Iterator[Violation]:
        length = len(submission.comment)
        if length > longest:
            message = f"Comment too long: {length} characters (max: {longest})"
            yield Violation("comment", "too_long", message)

    return rule


def comment_when_down(submission: Submission) -> Iterator[Violation]:
    """A down needs a reason: without a comment nobody can do better next time."""
    if submission.rating in (Rating.DOWN, Rating.DOWN.value) and not submission.comment:
        yield Violation("comment", "required", "Please provide a comment when giving negative feedback")


def no_spam(phrases: Iterable[str] = SPAM_PHRASES) -> Rule:
    """A comment has none of these phrases, in whatever case."""
    folded = tuple(phrase.lower() for phrase in phrases)

    def rule(submission: Submission) -> Iterator[Violation]:
        comment = submission.comment.lower()
        if any(phrase in comment for phrase in folded):
            yield SPAM

    return rule


SPAM: Final = Violation("comment", "spam", "Spam detected")


@frozen
class Verdict:
    """What a policy says: the violations that refuse a submission, and the suspicions that hold it as pending."""

    violations: tuple[Violation, ...] = ()
    suspicions: tuple[Violation, ...] = ()

    @property
    def moderation(self) -> Moderation:
        """Approved at once, or pending with the suspicions as the reason."""
        if not self.suspicions:
            return APPROVED
        reason = "; ".join(suspicion.message for suspicion in self.suspicions)
        return Moderation(status=ModerationStatus.PENDING, reason=reason)


@frozen(kw_only=True)
class RatingPolicy:
    """Which rules refuse a submission (``refuse``) and which only hold it for a moderator (``hold``).

    The default is the one most teams want; :meth:`standard` makes variations of it.
    """

    refuse: tuple[Rule, ...] = (comment_within(), comment_when_down, no_spam())
    hold: tuple[Rule, ...] = ()

    @classmethod
    def standard(
        cls,
        *,
        max_comment_length: int | None = MAX_COMMENT_LENGTH,
        comment_when_down: bool = True,
        spam: str = "refuse",
        spam_phrases: Iterable[str] = SPAM_PHRASES,
    ) -> RatingPolicy:
        """The default policy with other limits.

        Args:
            max_comment_length: code points after trimming; ``None`` for no limit.
            comment_when_down: whether a down needs a comment.
            spam: what spam does: ``"refuse"``, ``"hold"`` for a moderator, or ``"allow"``.
            spam_phrases: what makes a comment spam, in whatever case.

        Raises:
            ValueError: ``spam`` is none of the three.
        """
        if spam not in ("refuse", "hold", "allow"):
            raise ValueError(f"spam must be 'refuse', 'hold' or 'allow', got {spam!r}")
        refuse: list[Rule] = []
        if max_comment_length is not None:
            refuse.append(comment_within(max_comment_length))
        if comment_when_down:
            refuse.append(_COMMENT_WHEN_DOWN)
        policy = cls(refuse=tuple(refuse))
        return policy if spam == "allow" else policy.with_rules(no_spam(spam_phrases), hold=spam == "hold")

    def with_rules(self, *rules: Rule, hold: bool = False) -> RatingPolicy:
        """This policy with more rules, which refuse, or hold for a moderator."""
        if hold:
            return evolve(self, hold=(*self.hold, *rules))
        return evolve(self, refuse=(*self.refuse, *rules))

    def judge(self, submission: Submission) -> Verdict:
        """Everything that is wrong with a trimmed submission.

        Rules need not guard against wrong types: they are asked only when all parts have theirs.
        """
        violations = tuple(well_formed(submission))
        if any(violation.code == "type" for violation in violations):
            return Verdict(violations)
        refused = tuple(violation for rule in self.refuse for violation in rule(submission))
        held = tuple(violation for rule in self.hold for violation in rule(submission))
        return Verdict(violations + refused, held)


_COMMENT_WHEN_DOWN: Final = comment_when_down


# --- From a submission to feedback ----------------------------------------------------------------------------------


def trimmed(submission: Submission) -> Submission:
    """The submission with its comment trimmed."""
    comment = submission.comment
    stripped = comment.strip() if isinstance(comment, str) else comment
    return submission if stripped == comment else evolve(submission, comment=stripped)


def accepted(
    submission: Submission, moderation: Moderation, *, feedback_id: str, fingerprint: str, at: datetime
) -> Feedback:
    """The feedback that a submission without violations becomes."""
    created_at = utc(submission.created_at) if submission.created_at else at
    return Feedback(
        id=feedback_id,
        application=submission.application,
        target=submission.target,
        rating=Rating.parse(submission.rating),
        comment=submission.comment,
        author=submission.author,
        tags=tuple(dict.fromkeys(submission.tags)),
        context=_as_context(submission.context),
        sentiment=submission.sentiment,
        moderation=moderation,
        created_at=created_at,
        updated_at=at,
        idempotency_key=submission.idempotency_key,
        fingerprint=fingerprint,
        vote=submission.vote,
    )


def _as_context(context: Mapping[str, Scalar]) -> Context:
    return context if isinstance(context, Context) else Context(context)

"""Rules that validate submissions.

A rule is a callable that takes a submission and returns violations. A :class:`RatingPolicy` has rules that reject a
submission and rules that hold it for moderation. Every submission must also be well-formed, regardless of the policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from typing import Final, Literal

from attrs import evolve, frozen

from harken.domain.feedback import (
    NO_CONTEXT,
    Content,
    Feedback,
    Rating,
    Revision,
    Sentiment,
    Submission,
    Target,
)
from harken.domain.instants import EPOCH, utc
from harken.domain.moderation import APPROVED, Moderation, RuleMatch
from harken.domain.texts import as_texts
from harken.domain.violation import Span, Violation

MAX_COMMENT_LENGTH: Final = 1000
#: The maximum number of characters of a comment that was given earlier, in another system, unless the policy allows
#: more.
MAX_HISTORICAL_COMMENT_LENGTH: Final = 10_000
#: The maximum number of characters of a comment, a reply and a moderator's reason, regardless of the policy. Three
#: versions of feedback with the longest texts fit into ``MAX_FEEDBACK_BYTES``, so that it can always be changed.
MAX_TEXT_LENGTH: Final = 250_000
#: Before it is sanitized, a comment may be longer than the policy allows, for markup and white space: by this factor,
#: and by this many more characters.
_RAW_TIMES: Final = 4
_RAW_ROOM: Final = 1_000
#: The maximum size of the text of feedback with its revisions, in bytes of UTF-8. A MongoDB document has at most 16 MB.
#: The reason before the last decision is not counted.
MAX_FEEDBACK_BYTES: Final = 8_000_000
#: The maximum size of the extras of a submission, in bytes of UTF-8.
MAX_EXTRAS_BYTES: Final = 14_000_000
#: The maximum size of the text of feedback with its revisions and its extras, for the same reason.
MAX_STORED_BYTES: Final = 15_500_000
#: How many rules that held feedback are stored, and how many spans of each.
MAX_RULES: Final = 20
MAX_SPANS: Final = 20
#: The maximum length of the name of a rule.
MAX_RULE_LENGTH: Final = 100
MAX_ID_LENGTH: Final = 200
MAX_TAGS: Final = 20
MAX_TAG_LENGTH: Final = 100
MAX_CONTEXT_KEYS: Final = 50
MAX_CONTEXT_NAME_LENGTH: Final = 100
MAX_METADATA_NAME_LENGTH: Final = 1000
MAX_CONTEXT_VALUE_LENGTH: Final = 1000
NO_AUTHOR: Final = Violation("author", "required", "A vote needs an author")
SPAM_PHRASES: Final = ("viagra", "casino", "click here", "limited offer")

_INT64 = 2**63
#: The last year of Python's calendar is 9999. A margin of one year leaves room for time zones and whole weeks.
_TOO_LATE = datetime(9999, 1, 1, tzinfo=UTC)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")


#: What happens to spam: it is rejected, held for moderation, or accepted.
SpamHandling = Literal["refuse", "hold", "allow"]

#: Rules also see submissions with an unknown rating or a comment that is too long, so that all violations are reported
#: at once.
Rule = Callable[[Submission], Iterable[Violation]]


# --- Well-formed: limits of every storage, regardless of the policy ------------------------------------------------


def text_problem(name: str, value: object) -> Violation | None:
    """Return a violation if ``value`` is not a text that every storage can store."""
    if not isinstance(value, str):
        return Violation(name, "type", f"{name} must be a string, got {type(value).__name__}")
    if "\x00" in value:
        return Violation(name, "nul", f"{name} must not contain NUL characters")
    if not value.isascii() and _SURROGATE.search(value):
        return Violation(name, "surrogate", f"{name} contains a lone surrogate, which is not valid Unicode text")
    return None


def long_text_problem(name: str, value: object) -> Violation | None:
    """Return a violation if ``value`` is too long, or not a text that every storage can store."""
    if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        message = f"{name} too long: {len(value)} characters (max: {MAX_TEXT_LENGTH}, regardless of policy)"
        return Violation(name, "too_long", message)
    return text_problem(name, value)


def label_problem(name: str, value: object, longest: int = MAX_ID_LENGTH) -> Violation | None:
    """Return a violation if ``value`` is not a valid id or tag."""
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() and not value.isspace():
        # Printable text has no control characters, NUL or surrogates. This is the common case.
        return None
    if not isinstance(value, str):
        return Violation(name, "type", f"{name} must be a string, got {type(value).__name__}")
    if not value.strip():
        return Violation(name, "empty", f"{name} must not be empty")
    if len(value) > longest:
        return Violation(name, "too_long", f"{name} too long: {len(value)} characters (max: {longest})")
    if _CONTROL.search(value):
        return Violation(name, "control", f"{name} must not contain control characters")
    return text_problem(name, value)


def name_problem(where: str, name: object) -> Violation | None:
    """Return a violation if ``name`` is not a valid name of a context value."""
    if not isinstance(name, str):
        return Violation(where, "type", f"{where} names must be strings, got {type(name).__name__}")
    if len(name) > MAX_CONTEXT_NAME_LENGTH:
        message = f"{where} name too long: {len(name)} characters (max: {MAX_CONTEXT_NAME_LENGTH})"
        return Violation(where, "name", message)
    if not name.replace("_", "a").replace("-", "a").isalnum():
        message = f"{where} name {name!a} may only have letters, digits, '_' and '-'"
        return Violation(where, "name", message)
    return None


def metadata_name_problem(where: str, name: object) -> Violation | None:
    """Return a violation if ``name`` is not a valid name of session metadata, at any level."""
    if not isinstance(name, str):
        return Violation(where, "type", f"{where} names must be strings, got {type(name).__name__}")
    if not name:
        return Violation(where, "name", f"{where} has an empty name")
    if len(name) > MAX_METADATA_NAME_LENGTH:
        message = f"{where} name too long: {len(name)} characters (max: {MAX_METADATA_NAME_LENGTH})"
        return Violation(where, "name", message)
    if not name.isprintable() and _CONTROL.search(name):
        return Violation(where, "name", f"{where} name {name!a} must not contain control characters")
    return text_problem(f"{where} name {name!a}", name)


# These run for every submission. Returning lists is faster than yielding.

_Problems = Sequence[Violation | None]


def _check_ids(submission: Submission) -> _Problems:
    target = submission.target
    if not isinstance(target, Target):
        return [Violation("target", "type", f"target must be a Target, got {type(target).__name__}")]
    return (
        label_problem("session_id", target.session_id),
        label_problem("application", submission.application),
        None if target.message_id is None else label_problem("message_id", target.message_id),
        None if target.agent_id is None else label_problem("agent_id", target.agent_id),
        None if submission.author is None else label_problem("author", submission.author),
        None if submission.idempotency_key is None else label_problem("idempotency_key", submission.idempotency_key),
    )


def _check_rating(submission: Submission) -> _Problems:
    try:
        Rating.parse(submission.rating)
    except ValueError as error:
        return [Violation("rating", "unknown" if isinstance(submission.rating, str) else "type", str(error))]
    return ()


def _check_comment(submission: Submission) -> _Problems:
    return (long_text_problem("comment", submission.comment),)


def _check_tags(submission: Submission) -> _Problems:
    tags = submission.tags
    if tags == ():
        return ()
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        return [Violation("tags", "type", f"tags must be a list of strings, got {type(tags).__name__}")]
    found = [label_problem("tag", tag, MAX_TAG_LENGTH) for tag in tags]
    problems = [problem and evolve(problem, field="tags") for problem in found]
    if len(tags) > MAX_TAGS:
        problems.append(Violation("tags", "too_many", f"Too many tags: {len(tags)} (max: {MAX_TAGS})"))
    return problems


def _check_context(submission: Submission) -> _Problems:
    return context_problems(submission.context)


def context_problems(context: object) -> Sequence[Violation | None]:
    """Return violations if some storage cannot store ``context``: one, or ``None``, for each name."""
    if context is NO_CONTEXT:
        return ()
    if not isinstance(context, Mapping):
        return [Violation("context", "type", f"context must map names to values, got {type(context).__name__}")]
    problems = [
        None if _is_plain(name, value) else name_problem("context", name) or _scalar_problem(f"context.{name}", value)
        for name, value in context.items()
    ]
    if len(context) > MAX_CONTEXT_KEYS:
        message = f"Too many context keys: {len(context)} (max: {MAX_CONTEXT_KEYS})"
        problems.append(Violation("context", "too_many", message))
    return problems


def _is_plain(name: object, value: object) -> bool:
    """Whether a context value is valid, in the common case: a short text in ASCII under an ASCII name."""
    return (
        type(value) is str
        and type(name) is str
        and len(value) <= MAX_CONTEXT_VALUE_LENGTH
        and len(name) <= MAX_CONTEXT_NAME_LENGTH
        and value.isascii()
        and name.isascii()
        and name.isidentifier()
        and "\x00" not in value
    )


def _scalar_problem(name: str, value: object) -> Violation | None:
    if isinstance(value, str):
        if len(value) <= MAX_CONTEXT_VALUE_LENGTH:
            return text_problem(name, value)
        message = f"{name} too long: {len(value)} characters (max: {MAX_CONTEXT_VALUE_LENGTH})"
        return Violation(name, "too_long", message)
    return number_problem(name, value)


def number_problem(name: str, value: object) -> Violation | None:
    """Return a violation if ``value`` is not a number, a boolean or ``None`` that every storage can store."""
    if isinstance(value, int):
        return None if -_INT64 <= value < _INT64 else Violation(name, "range", f"{name} must fit into 64 bits")
    if isinstance(value, float):
        return None if isfinite(value) else Violation(name, "range", f"{name} must be finite, got {value}")
    if value is None:
        return None
    message = f"{name} must be a string, a number, true, false or null, got {type(value).__name__}"
    return Violation(name, "type", message)


def _check_sentiment(submission: Submission) -> _Problems:
    if submission.sentiment is None or isinstance(submission.sentiment, Sentiment):
        return ()
    message = f"sentiment must be a Sentiment, got {type(submission.sentiment).__name__}"
    return [Violation("sentiment", "type", message)]


def _check_created_at(submission: Submission) -> _Problems:
    moment = submission.created_at
    if moment is None:
        return ()
    if not isinstance(moment, datetime):
        return [Violation("created_at", "type", f"created_at must be a datetime, got {type(moment).__name__}")]
    try:
        if EPOCH <= utc(moment) < _TOO_LATE:
            return ()
    except ValueError as error:
        return [Violation("created_at", "range", f"created_at: {error}")]
    message = f"created_at must be in the years 1970 to 9998, got {moment.isoformat()}"
    return [Violation("created_at", "range", message)]


def _check_vote(submission: Submission) -> _Problems:
    if not isinstance(submission.vote, bool):
        return [Violation("vote", "type", f"vote must be true or false, got {type(submission.vote).__name__}")]
    if submission.vote and submission.author is None:
        return [NO_AUTHOR]
    return ()


def _check_extras(submission: Submission) -> _Problems:
    return () if submission.extras == "" else [_extras_problem(submission.extras)]


def _extras_problem(extras: object) -> Violation | None:
    if problem := text_problem("extras", extras):
        return problem
    if isinstance(extras, str) and (size := _bytes(extras)) > MAX_EXTRAS_BYTES:
        return Violation("extras", "too_long", f"extras too long: {size:,} bytes (max: {MAX_EXTRAS_BYTES:,})")
    return None


_CHECKS = (
    _check_rating,
    _check_comment,
    _check_ids,
    _check_tags,
    _check_context,
    _check_sentiment,
    _check_created_at,
    _check_vote,
    _check_extras,
)


def form_violations(submission: Submission) -> tuple[Violation, ...]:
    """Return the violations of a submission that some storage could not store unchanged."""
    return tuple([problem for check in _CHECKS for problem in check(submission) if problem is not None])


def size_problem(feedback: Feedback, extras: str = "") -> Violation | None:
    """Return a violation if feedback with its revisions and these extras is too large for some storage."""
    size, most = text_bytes(feedback), room_beside(extras)
    if size <= most:
        return None
    message = (
        f"This feedback would have {size:,} bytes of text with its {len(feedback.revisions)} revisions "
        f"(max: {most:,}{', because of its extras' if most < MAX_FEEDBACK_BYTES else ''}); submit new feedback instead"
    )
    return Violation("revisions", "too_long", message)


def room_beside(extras: str) -> int:
    """Return the maximum size of the text of feedback that has these extras, with its revisions, in bytes of UTF-8."""
    return min(MAX_FEEDBACK_BYTES, MAX_STORED_BYTES - _bytes(extras))


def text_bytes(version: Feedback | Revision) -> int:
    """Return the size of the text of a revision, or of feedback with all its revisions, in bytes of UTF-8."""
    content = version.content
    values = (value for value in content.context.values() if isinstance(value, str))
    texts = [content.comment, version.reply or "", *content.tags, *content.context, *values]
    if isinstance(version, Revision):
        return sum(map(_bytes, texts))
    texts += [version.moderation.reason, *(part for pair in version.later_keys for part in pair)]
    return sum(map(_bytes, texts)) + sum(map(text_bytes, version.revisions))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def restore_violations(feedback: Feedback, extras: str = "") -> Iterator[Violation]:
    """Yield the violations of feedback from another system, with its extras, that some storage could not store."""
    violations = list(_content_violations(feedback))
    if problem := _extras_problem(extras):
        violations.append(problem)
    yield from violations
    if not violations and (problem := size_problem(feedback, extras)):
        yield problem


def _content_violations(feedback: Feedback) -> Iterator[Violation]:
    submission = feedback.as_submission()
    yield from form_violations(submission)
    for revision in feedback.revisions:
        yield from form_violations(evolve(submission, **revision.content.parts()))
    labels = {"id": feedback.id, "moderator": feedback.moderation.moderator}
    replies = (feedback.reply, *(revision.reply for revision in feedback.revisions))
    reasons = (feedback.moderation.reason, feedback.moderation.previous_reason)
    texts = [*(("reason", reason) for reason in reasons), *(("reply", reply) for reply in replies)]
    prints = (feedback.fingerprint, *(later for pair in feedback.later_keys for later in pair))
    texts += [("fingerprint", value) for value in prints]
    problems = [label_problem(name, value) for name, value in labels.items() if value is not None]
    problems += [long_text_problem(name, value) for name, value in texts if value is not None]
    yield from (problem for problem in problems if problem)
    yield from _match_violations(feedback.moderation.held_by)


def _match_violations(matches: Sequence[RuleMatch]) -> Iterator[Violation]:
    if len(matches) > MAX_RULES:
        yield Violation("held_by", "too_many", f"Too many rules in held_by: {len(matches)} (max: {MAX_RULES})")
    for match in matches:
        if problem := label_problem("held_by", match.rule, MAX_RULE_LENGTH):
            yield problem
        if len(match.spans) > MAX_SPANS:
            yield Violation("held_by", "too_many", f"Too many spans of a rule: {len(match.spans)} (max: {MAX_SPANS})")
        if not all(0 <= start <= end <= MAX_TEXT_LENGTH for start, end in match.spans):
            yield Violation("held_by", "range", f"A span must be from 0 to {MAX_TEXT_LENGTH}, its start first")


# --- Policies ------------------------------------------------------------------------------------------------------


@frozen
class _CommentWithin:
    longest: int

    def __call__(self, submission: Submission) -> Sequence[Violation]:
        length = len(submission.comment)
        if length <= self.longest:
            return ()
        message = f"Comment too long: {length} characters (max: {self.longest})"
        return [Violation("comment", "too_long", message, rule="comment length")]


def comment_within(longest: int = MAX_COMMENT_LENGTH) -> Rule:
    """Return the rule that a comment has at most ``longest`` code points, after trimming.

    A policy that rejects by this rule rejects a comment of more than ``4 * longest + 1000`` code points before it is
    sanitized.
    """
    return _CommentWithin(longest)


def reason_when_down(submission: Submission) -> Sequence[Violation]:
    """Require a comment or a reason tag for negative feedback."""
    if submission.comment or submission.tags or submission.rating not in (Rating.DOWN, Rating.DOWN.value):
        return ()
    return [Violation("comment", "required", "Please provide a comment when giving negative feedback")]


def no_spam(phrases: str | Iterable[str] = SPAM_PHRASES) -> Rule:
    """Return the rule that a comment contains none of these phrases, regardless of case."""
    lowered = tuple(phrase.lower() for phrase in as_texts(phrases))

    def rule(submission: Submission) -> Sequence[Violation]:
        comment = submission.comment.lower()
        found = [phrase for phrase in lowered if phrase in comment]
        if not found:
            return ()
        spans = find_spans(submission.comment, map(re.escape, found))
        return (evolve(SPAM, rule="spam phrases", spans=spans),)

    return rule


SPAM: Final = Violation("comment", "spam", "Spam detected")


def find_spans(text: str, patterns: Iterable[str]) -> tuple[Span, ...]:
    """Return what regular expressions match in a text, regardless of case: the first 20 spans, none of which overlap.

    Each expression must take a time that is proportional to the length of the text.
    """
    found = [hit.span() for pattern in patterns for hit in islice(re.finditer(pattern, text, re.IGNORECASE), MAX_SPANS)]
    return _without_overlaps(found)


def _without_overlaps(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the first 20 spans in order, without those that are empty or begin inside another."""
    kept: list[Span] = []
    for start, end in sorted(spans):
        if end > start and (not kept or start >= kept[-1][1]):
            kept.append((start, end))
    return tuple(kept[:MAX_SPANS])


@frozen
class Verdict:
    """The result of a policy: violations, which reject a submission, and suspicions, which hold it for moderation."""

    violations: tuple[Violation, ...] = ()
    suspicions: tuple[Violation, ...] = ()

    @property
    def moderation(self) -> Moderation:
        """The moderation of the feedback: approved, or pending with the suspicions as the reason."""
        if not self.suspicions:
            return APPROVED
        # Equal suspicions of several rules are one reason, but each rule is stored.
        reasons = [suspicion.message for suspicion in dict.fromkeys(self.suspicions)]
        return Moderation.held("; ".join(reasons), tuple(self._matches())[:MAX_RULES])

    def _matches(self) -> Iterator[RuleMatch]:
        for rule in dict.fromkeys(one.rule for one in self.suspicions):
            spans = [span for one in self.suspicions if one.rule == rule for span in one.spans]
            yield RuleMatch(rule, _without_overlaps(spans))


_APPROVING: Final = Verdict()


@frozen(kw_only=True)
class RatingPolicy:
    """The rules that reject submissions (``refuse``) and the rules that hold them for moderation (``hold``).

    The default limits the length of comments, requires a comment or a reason tag for negative feedback, and rejects
    spam; :meth:`standard` returns variations of it.
    """

    refuse: tuple[Rule, ...] = (comment_within(), reason_when_down, no_spam())
    hold: tuple[Rule, ...] = ()

    @classmethod
    def standard(
        cls,
        *,
        max_comment_length: int | None = MAX_COMMENT_LENGTH,
        reason_when_down: bool = True,
        spam: SpamHandling = "refuse",
        spam_phrases: str | Iterable[str] = SPAM_PHRASES,
    ) -> RatingPolicy:
        """Return the default policy with other limits.

        Args:
            max_comment_length: the maximum number of code points after trimming; ``None`` for no limit.
            reason_when_down: whether negative feedback requires a comment or a reason tag.
            spam: ``"refuse"`` to reject spam, ``"hold"`` to hold it for moderation, or ``"allow"``.
            spam_phrases: the phrases that make a comment spam, regardless of case.

        Raises:
            ValueError: ``spam`` is not one of the three values.
        """
        if spam not in ("refuse", "hold", "allow"):
            raise ValueError(f"spam must be 'refuse', 'hold' or 'allow', got {spam!r}")
        refuse: list[Rule] = []
        if max_comment_length is not None:
            refuse.append(comment_within(max_comment_length))
        if reason_when_down:
            refuse.append(_REASON_WHEN_DOWN)
        policy = cls(refuse=tuple(refuse))
        return policy if spam == "allow" else policy.with_rules(no_spam(spam_phrases), hold=spam == "hold")

    def with_rules(self, *rules: Rule, hold: bool = False) -> RatingPolicy:
        """Return the policy with more rules, which reject submissions or, with ``hold``, hold them for moderation."""
        if hold:
            return evolve(self, hold=(*self.hold, *rules))
        return evolve(self, refuse=(*self.refuse, *rules))

    def for_historical_feedback(self) -> RatingPolicy:
        """Return the policy for feedback that was given earlier, in another system, where it was accepted.

        It only limits the length of comments: to 10,000 code points, or what this policy allows if that is more.
        """
        limits = [rule.longest for rule in self.refuse if isinstance(rule, _CommentWithin)]
        rules = (comment_within(max(MAX_HISTORICAL_COMMENT_LENGTH, min(limits))),) if limits else ()
        return RatingPolicy(refuse=rules)

    def broken_rules(self, submission: Submission) -> tuple[Violation, ...]:
        """Return what the rules find in a well-formed, trimmed submission: violations, then suspicions."""
        return tuple([_named(rule, one) for rule in (*self.refuse, *self.hold) for one in rule(submission)])

    def oversized(self, submission: Submission) -> tuple[Violation, ...]:
        """Return the violations of a submission whose comment is too long to be sanitized, or nothing.

        This must be called before any code that processes the comment, as that takes time proportional to its length.
        """
        comment = submission.comment
        if not isinstance(comment, str) or len(comment) <= _RAW_ROOM:
            return ()
        limits = [rule for rule in self.refuse if isinstance(rule, _CommentWithin)]
        longest = min([MAX_TEXT_LENGTH, *(_RAW_TIMES * rule.longest + _RAW_ROOM for rule in limits)])
        if len(comment) <= longest:
            return ()
        return (*form_violations(submission), *(violation for rule in limits for violation in rule(submission)))

    def judge(self, submission: Submission) -> Verdict:
        """Return all violations and suspicions of a trimmed submission.

        Rules are called only if all parts of the submission have the right types.
        """
        violations = [*form_violations(submission)]
        if any(violation.code == "type" for violation in violations):
            return Verdict(tuple(violations))
        for rule in self.refuse:
            violations += [_named(rule, one) for one in rule(submission)]
        suspicions = [_named(rule, one) for rule in self.hold for one in rule(submission)]
        if not (violations or suspicions):
            return _APPROVING
        # Equal violations of several rules are reported once.
        return Verdict(tuple(dict.fromkeys(violations)), tuple(suspicions))


_REASON_WHEN_DOWN: Final = reason_when_down


def _named(rule: Rule, violation: Violation) -> Violation:
    """Return the violation with the name of its rule: by default that of the function, or the code for other rules."""
    name = violation.rule or getattr(rule, "__name__", "<").replace("_", " ").strip()
    if name.startswith("<"):  # a lambda
        name = violation.code
    if label_problem("rule", name, MAX_RULE_LENGTH):
        name = "unnamed rule"
    spans = tuple(span for span in violation.spans[:MAX_SPANS] if 0 <= span[0] <= span[1] <= MAX_TEXT_LENGTH)
    return evolve(violation, rule=name, spans=spans)


# --- Feedback from submissions --------------------------------------------------------------------------------------


def trim_comment(submission: Submission) -> Submission:
    """Return the submission with a trimmed comment."""
    comment = submission.comment
    stripped = comment.strip() if isinstance(comment, str) else comment
    return submission if stripped == comment else evolve(submission, comment=stripped)


def build_feedback(
    submission: Submission, moderation: Moderation, *, feedback_id: str, fingerprint: str, at: datetime
) -> Feedback:
    """Return the feedback of a submission without violations, in version 1."""
    created_at = utc(submission.created_at) if submission.created_at else at
    return Feedback(
        id=feedback_id,
        application=submission.application,
        target=submission.target,
        content=Content.of(submission),
        author=submission.author,
        moderation=moderation,
        created_at=created_at,
        updated_at=at,
        idempotency_key=submission.idempotency_key,
        fingerprint=fingerprint,
        vote=submission.vote,
    )

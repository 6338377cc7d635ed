"""Reply rules: automatic replies chosen by the content of feedback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, fields, frozen

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import NO_CONTEXT, Context, Feedback, Rating, Scalar
from harken.domain.query import label
from harken.domain.rules import MAX_TAG_LENGTH, label_problem, name_problem, text_problem
from harken.domain.templates import fill_template, template_problem
from harken.domain.texts import unknown_names
from harken.domain.violation import Violation

MAX_REPLY_LENGTH: Final = 1_000
#: The placeholders that a reply may contain.
PLACEHOLDERS: Final = ("session_id", "agent_id", "rating")


def reply_problem(reply: object) -> Violation | None:
    """Return why ``reply`` cannot be shown to a user; ``None`` if it is valid."""
    if problem := text_problem("reply", reply):
        return problem
    text = str(reply)
    if not text.strip():
        return Violation("reply", "empty", "reply must not be empty")
    if len(text) > MAX_REPLY_LENGTH:
        return Violation("reply", "too_long", f"reply too long: {len(text)} characters (max: {MAX_REPLY_LENGTH})")
    return None


def _rating(value: Any) -> Rating:
    if isinstance(value, Rating):
        return value
    try:
        return Rating.from_word(value)
    except ValueError as error:
        raise ConfigurationError(f"The rating of a reply is invalid: {error}") from None


def _context(value: Any) -> Context:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"The context of a reply must map names to values, got {value!r}")
    for name, wanted in value.items():
        if problem := name_problem("context", name):
            raise ConfigurationError(f"In a reply: {problem.message}")
        if not isinstance(wanted, Scalar):
            raise ConfigurationError(
                f"context.{name} of a reply must be a string, a number, true, false or null, got {wanted!r}"
            )
    return value if isinstance(value, Context) else Context(value)


@frozen(kw_only=True)
class ReplyRule:
    """A reply, and the conditions under which it is given.

    Attributes:
        text: the reply. ``{session_id}``, ``{agent_id}`` (empty if unknown) and ``{rating}`` are replaced.
        rating: the required rating; thumbs-down by default.
        tag: a required reason tag.
        theme: a word that the comment must contain, in any case and also inside longer words, as in
            :func:`harken.domain.keywords.count_keywords`.
        context: required context values by name, compared as in :class:`FeedbackQuery`.
        agent: the agent that answered.
        application: the application that the feedback belongs to.

    Raises:
        ConfigurationError: a value is invalid.
    """

    text: str
    rating: Rating = field(default=Rating.DOWN, converter=_rating)
    tag: str | None = None
    theme: str | None = None
    context: Context = field(default=NO_CONTEXT, converter=_context)
    agent: str | None = None
    application: str | None = None

    def __attrs_post_init__(self) -> None:
        labels = {"theme": self.theme, "agent": self.agent, "application": self.application}
        problems = [label_problem(name, value) for name, value in labels.items() if value is not None]
        problems.append(None if self.tag is None else label_problem("tag", self.tag, MAX_TAG_LENGTH))
        messages = [problem.message for problem in (reply_problem(self.text), *problems) if problem]
        if message := next(iter(messages), None) or template_problem(self.text, PLACEHOLDERS):
            raise ConfigurationError(f"In the reply {self.text!a}: {message}")

    def fits(self, feedback: Feedback) -> bool:
        """Whether the feedback meets all conditions of the rule."""
        return (
            feedback.rating is self.rating
            and self.application in (None, feedback.application)
            and self.agent in (None, feedback.agent_id)
            and (self.tag is None or self.tag in feedback.tags)
            and all(label(value) == label(feedback.context.get(name)) for name, value in self.context.items())
            and (self.theme is None or self.theme.lower() in feedback.comment.lower())
        )

    def reply(self, feedback: Feedback) -> str:
        """Return the text with its placeholders replaced."""
        values = (feedback.session_id, feedback.agent_id or "", feedback.rating.word)
        return fill_template(self.text, dict(zip(PLACEHOLDERS, values, strict=True)))


def reply_to(rules: Iterable[ReplyRule], feedback: Feedback) -> str | None:
    """Return the reply of the first matching rule to counted feedback; ``None`` if there is none."""
    if not feedback.is_counted:
        return None
    return next((rule.reply(feedback) for rule in rules if rule.fits(feedback)), None)


def parse_reply(table: Mapping[str, object]) -> ReplyRule:
    """Build a reply rule from a settings table such as ``{"tag": "slow", "text": "We are on it"}``.

    Raises:
        ConfigurationError: a key is unknown, the text is missing, or a value is invalid.
    """
    known = [attribute.name for attribute in fields(ReplyRule)]
    if problem := unknown_names(table, known):
        raise ConfigurationError(f"Reply rule: {problem}")
    if "text" not in table:
        raise ConfigurationError(f"Reply rule: the key 'text' is missing; got {dict(table)!r}")
    parts: Mapping[str, Any] = table
    return ReplyRule(**parts)

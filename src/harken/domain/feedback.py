"""Submissions, the feedback that is stored, and its revisions."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from datetime import UTC, datetime
from enum import Enum
from math import isfinite
from typing import Any, Final, Literal, Self, TypeVar

from attrs import asdict, evolve, field, frozen
from attrs.converters import optional

from harken.domain.instants import MICROSECOND, stamp, stamp_or_none, utc
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus

Scalar = str | int | float | bool | None

DEFAULT_APPLICATION = "default"


class Rating(Enum):
    """Thumbs up, thumbs down or neutral. The values are those of the wire format."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = None

    @classmethod
    def parse(cls, value: object) -> Rating:
        """Return the rating for ``"up"``, ``"down"``, ``None`` or a rating.

        Raises:
            ValueError: the value is not one of these.
        """
        if isinstance(value, cls):
            return value
        # Faster than calling the class, which also raises for a value that is not hashable.
        if (value is None or isinstance(value, str)) and (rating := _BY_VALUE.get(value)):
            return rating
        raise ValueError(f"Invalid rating: {value}. Must be 'up', 'down', or None")

    @property
    def word(self) -> str:
        """``"up"``, ``"down"`` or ``"neutral"``, for formats and output without a null value."""
        return self.value or "neutral"

    @classmethod
    def from_word(cls, word: object) -> Rating:
        """Return the rating with this :attr:`word`.

        Raises:
            ValueError: the value is not one of the three words.
        """
        for rating in cls:
            if rating.word == word:
                return rating
        raise ValueError(f"{word!r} is not a rating; expected 'up', 'down' or 'neutral'")


#: A rating, or its wire format; ``None`` is neutral.
RatingValue = Rating | Literal["up", "down"]

_BY_VALUE: Final[dict[str | None, Rating]] = {rating.value: rating for rating in Rating}


_Value = TypeVar("_Value")


class FrozenMapping(Mapping[str, _Value]):
    """A mapping that is immutable, hashable and sorted by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, _Value] | None = None, /) -> None:
        self._values: dict[str, _Value] = dict(sorted(values.items())) if values else {}

    def __getitem__(self, name: str) -> _Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # The views of the dictionary, as those of the base class look up each name.

    def keys(self) -> KeysView[str]:
        """The names, sorted."""
        return self._values.keys()

    def values(self) -> ValuesView[_Value]:
        """The values, in the order of their names."""
        return self._values.values()

    def items(self) -> ItemsView[str, _Value]:
        """The names with their values, sorted by name."""
        return self._values.items()

    def __eq__(self, other: object) -> bool:
        return self._values == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, _Value]]]:
        return type(self), (dict(self._values),)


class Context(FrozenMapping[Scalar]):
    """Additional values by name, such as ``user_tier`` or ``agent_version``: immutable, hashable, sorted by name."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        # 1, 1.0 and True are equal in Python but not in JSON, so replacing one with another is a change.
        return self._values == dict(other) and all(_kind(value) is _kind(other[name]) for name, value in self.items())

    __hash__ = FrozenMapping.__hash__


def _kind(value: Scalar) -> type | None:
    return next((kind for kind in (bool, float) if isinstance(value, kind)), None)


NO_CONTEXT: Final = Context()


def session_author(session_id: str) -> str:
    """Return the author of feedback that an agent gives for the unnamed user of a session."""
    return f"session:{session_id}"


@frozen
class Target:
    """The subject of feedback: a session, or one message in it, and the agent that answered."""

    session_id: str
    message_id: str | None = None
    agent_id: str | None = None


_MILLION = 1_000_000


def _round_within(lowest: float, name: str, value: float) -> float:
    if not (isfinite(value) and lowest <= value <= 1):
        raise ValueError(f"{name} must be between {lowest:g} and 1, got {value}")
    return round(value * _MILLION) / _MILLION


def _polarity(value: float) -> float:
    return _round_within(-1, "polarity", value)


def _subjectivity(value: float) -> float:
    return _round_within(0, "subjectivity", value)


@frozen
class Sentiment:
    """The sentiment of a comment: ``polarity`` from -1 to 1 and ``subjectivity`` from 0 to 1.

    Both are rounded to millionths.

    Raises:
        ValueError: a value is out of range.
    """

    polarity: float = field(converter=_polarity)
    subjectivity: float = field(converter=_subjectivity)

    @classmethod
    def from_millionths(cls, polarity: int, subjectivity: int) -> Sentiment:
        """Return the sentiment with these values in millionths."""
        return cls(polarity / _MILLION, subjectivity / _MILLION)

    def to_dict(self) -> dict[str, float]:
        """Return both values by name."""
        return {"polarity": self.polarity, "subjectivity": self.subjectivity}

    @property
    def polarity_millionths(self) -> int:
        """The polarity in millionths, an integer so that sums are exact."""
        return round(self.polarity * _MILLION)

    @property
    def subjectivity_millionths(self) -> int:
        """The subjectivity in millionths, an integer so that sums are exact."""
        return round(self.subjectivity * _MILLION)


@frozen
class Content:
    """The content of feedback: rating, comment, tags, context, and the sentiment of the comment."""

    rating: Rating
    comment: str = ""
    tags: tuple[str, ...] = ()
    context: Context = NO_CONTEXT
    sentiment: Sentiment | None = None

    @classmethod
    def of(cls, submission: Submission) -> Content:
        """Return the content of a well-formed submission, with each tag once."""
        context = submission.context
        return cls(
            Rating.parse(submission.rating),
            submission.comment,
            tuple(dict.fromkeys(submission.tags)) if submission.tags else (),
            context if isinstance(context, Context) else Context(context),
            submission.sentiment,
        )

    def same_except_sentiment(self, other: Content) -> bool:
        """Whether both are the same except for the sentiment, which is derived from the comment."""
        return evolve(self, sentiment=None) == evolve(other, sentiment=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, as JSON values."""
        return {
            "rating": self.rating.value,
            "comment": self.comment,
            "tags": list(self.tags),
            "context": dict(self.context),
            "sentiment": self.sentiment.to_dict() if self.sentiment else None,
        }

    def parts(self) -> dict[str, Any]:
        """Return the values by name, as keyword arguments of a submission or of content."""
        return asdict(self, recurse=False)


class _WithContent:
    """Properties for the parts of ``content``."""

    __slots__ = ()
    content: Content

    @property
    def rating(self) -> Rating:
        """The rating."""
        return self.content.rating

    @property
    def comment(self) -> str:
        """The comment; empty if there is none."""
        return self.content.comment

    @property
    def tags(self) -> tuple[str, ...]:
        """The reasons that the author selected."""
        return self.content.tags

    @property
    def context(self) -> Context:
        """Additional values by name."""
        return self.content.context

    @property
    def sentiment(self) -> Sentiment | None:
        """The sentiment of the comment, if it was analyzed."""
        return self.content.sentiment


@frozen(kw_only=True)
class Submission:
    """Feedback as it is submitted, not validated yet: a policy accepts, holds or rejects it.

    ``tags`` are the reasons that the author selected. ``created_at`` is for feedback that was given earlier, in another
    system; ``None`` means now. ``enrichment`` is context that the server adds, such as an address; a retry with the
    same idempotency key may differ in it. With ``vote``, it is the only vote of its author on its target, see
    ``CollectionService.set_vote``. ``extras`` is JSON text of the embedding program, which is stored beside the
    feedback and never read by Harken.
    """

    target: Target
    rating: RatingValue | None
    comment: str = ""
    author: str | None = None
    tags: Sequence[str] = ()
    context: Mapping[str, Scalar] = NO_CONTEXT
    sentiment: Sentiment | None = None
    idempotency_key: str | None = None
    application: str = DEFAULT_APPLICATION
    created_at: datetime | None = None
    vote: bool = False
    enrichment: Mapping[str, Scalar] = NO_CONTEXT
    extras: str = ""

    def enriched(self) -> Submission:
        """Return the submission with its enrichment merged into its context."""
        if not self.enrichment or not isinstance(self.context, Mapping):
            return self
        return evolve(self, context={**self.context, **self.enrichment}, enrichment=NO_CONTEXT)


@frozen(kw_only=True)
class Revision(_WithContent):
    """An earlier version of feedback: its content and reply, and when it was replaced."""

    version: int
    content: Content
    reply: str | None
    replaced_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return all values by name, as JSON values."""
        return {
            "version": self.version,
            **self.content.to_dict(),
            "reply": self.reply,
            "replaced_at": stamp(self.replaced_at),
        }


class Unchanged(Enum):
    """The type of :data:`UNCHANGED`."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


#: Keeps a part of the feedback, where ``None`` would be a new value.
UNCHANGED: Final = Unchanged.UNCHANGED


@frozen(kw_only=True)
class Change:
    """The parts of feedback that its author changes. A new rating removes the tags unless the change has tags."""

    rating: RatingValue | Unchanged | None = UNCHANGED
    comment: str | Unchanged = UNCHANGED
    tags: Sequence[str] | Unchanged = UNCHANGED
    context: Mapping[str, Scalar] | Unchanged = UNCHANGED

    def applied_to(self, feedback: Feedback) -> Submission:
        """Return the changed feedback as a submission, to be validated like a new one."""
        submission = feedback.as_submission()
        if not isinstance(self.rating, Unchanged):
            known = Rating.parse(self.rating) if self.rating in _WIRE_RATINGS else None
            kept = feedback.tags if known is feedback.rating else ()
            submission = evolve(submission, rating=self.rating, tags=kept)
        if not isinstance(self.comment, Unchanged):
            submission = evolve(submission, comment=self.comment)
        if not isinstance(self.tags, Unchanged):
            submission = evolve(submission, tags=self.tags)
        if not isinstance(self.context, Unchanged):
            submission = evolve(submission, context=self.context)
        return submission


@frozen(kw_only=True)
class Feedback(_WithContent):
    """An accepted submission: immutable, with an id, a version, and times in UTC with microseconds.

    ``version`` starts at 1 and grows by one with every change. ``updated_at`` never decreases, even if the clocks of
    processes differ, so that events are in the order of versions. ``revisions`` are the earlier versions of the
    content, oldest first. ``fingerprint`` is a digest of the submitted body, for idempotency; ``later_keys`` has the
    idempotency keys and fingerprints of the votes that replaced the first one.
    """

    id: str
    application: str = DEFAULT_APPLICATION
    target: Target
    content: Content
    author: str | None = None
    moderation: Moderation = APPROVED
    reply: str | None = None
    created_at: datetime = field(converter=utc)
    updated_at: datetime = field(converter=utc)
    withdrawn_at: datetime | None = field(default=None, converter=optional(utc))
    version: int = 1
    revisions: tuple[Revision, ...] = ()
    idempotency_key: str | None = None
    fingerprint: str = ""
    vote: bool = False
    later_keys: tuple[tuple[str, str], ...] = ()

    @property
    def session_id(self) -> str:
        """The session of the target."""
        return self.target.session_id

    @property
    def message_id(self) -> str | None:
        """The message of the target, if any."""
        return self.target.message_id

    @property
    def agent_id(self) -> str | None:
        """The agent that answered, if known."""
        return self.target.agent_id

    @property
    def withdrawn(self) -> bool:
        """Whether its author withdrew it."""
        return self.withdrawn_at is not None

    @property
    def is_counted(self) -> bool:
        """Whether it is in lists, statistics and alerts: approved and not withdrawn."""
        return self.withdrawn_at is None and self.moderation.status is ModerationStatus.APPROVED

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that readers may see, as JSON values, named as in the HTTP API; without the application."""
        return {
            "id": self.id,
            "created_at": stamp(self.created_at),
            "session_id": self.session_id,
            "message_id": self.message_id,
            "agent_id": self.agent_id,
            "author": self.author,
            **self.content.to_dict(),
            "status": self.moderation.status.value,
            "moderation": self.moderation.to_dict(),
            "reply": self.reply,
            "version": self.version,
            "updated_at": stamp(self.updated_at),
            "withdrawn_at": stamp_or_none(self.withdrawn_at),
            "revisions": [revision.to_dict() for revision in self.revisions],
            "vote": self.vote,
        }

    def as_submission(self) -> Submission:
        """Return a submission with the same content."""
        return Submission(
            target=self.target,
            author=self.author,
            idempotency_key=self.idempotency_key,
            application=self.application,
            created_at=self.created_at,
            vote=self.vote,
            **self.content.parts(),
        )

    def revised(
        self, content: Content, *, at: datetime, target: Target | None = None, moderation: Moderation | None = None
    ) -> Feedback:
        """Return the next version, with new content and the current content as a revision; it is not withdrawn.

        A new rating or another agent removes the reply, which answered the old content.

        Args:
            content: the new content.
            at: when the change is made.
            target: the new target; ``None`` keeps the current one.
            moderation: the new moderation; ``None`` keeps the current one.
        """
        at = self._in_order(at)
        target = target or self.target
        answered = (content.rating, target.agent_id) == (self.rating, self.agent_id)
        replaced = Revision(version=self.version, content=self.content, reply=self.reply, replaced_at=at)
        return evolve(
            self,
            target=target,
            content=content,
            moderation=moderation or self.moderation,
            reply=self.reply if answered else None,
            withdrawn_at=None,
            updated_at=at,
            version=self.version + 1,
            revisions=(*self.revisions, replaced),
        )

    def withdraw(self, *, at: datetime) -> Feedback:
        """Return the next version, withdrawn by its author. It is stored until it is erased."""
        at = self._in_order(at)
        return evolve(self, withdrawn_at=at, updated_at=at, version=self.version + 1)

    def moderated(self, moderation: Moderation, *, at: datetime) -> Feedback:
        """Return the next version, after a moderator's decision."""
        return evolve(self, moderation=moderation, updated_at=self._in_order(at), version=self.version + 1)

    def answered(self, reply: str | None, *, at: datetime) -> Feedback:
        """Return the next version, with this reply to its author; ``None`` removes the reply."""
        return evolve(self, reply=reply, updated_at=self._in_order(at), version=self.version + 1)

    def without_revisions(self) -> Feedback:
        """Return the feedback without its revisions."""
        return evolve(self, revisions=()) if self.revisions else self

    def without_words(self) -> Feedback:
        """Return the feedback without the content except for the rating, and without the reply."""
        return evolve(
            self,
            content=Content(self.rating),
            moderation=self.moderation.without_spans(),
            reply=None,
            revisions=(),
            idempotency_key=None,
            fingerprint="",
            later_keys=(),
        )

    def _in_order(self, at: datetime) -> datetime:
        """Return the time of a change: after the previous change, even if clocks differ."""
        if at >= self.updated_at or self.updated_at >= _LAST:
            return max(at, self.updated_at)
        return self.updated_at + MICROSECOND


_LAST: Final = datetime.max.replace(tzinfo=UTC)
_WIRE_RATINGS: Final = (*Rating, *(rating.value for rating in Rating))

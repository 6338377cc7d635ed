"""What people say: the submission that comes in, and the feedback that is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from math import isfinite
from typing import Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from harken.domain.instants import MICROSECOND, utc
from harken.domain.moderation import APPROVED, Moderation, ModerationStatus

Scalar = str | int | float | bool | None

DEFAULT_APPLICATION = "default"


class Rating(Enum):
    """Thumbs up, thumbs down, or neither; the values are what goes over the wire."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = None

    @classmethod
    def parse(cls, value: object) -> Rating:
        """A rating from ``"up"``, ``"down"``, ``None`` or a rating.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(value, cls):
            return value
        if value is None or isinstance(value, str):
            try:
                return _BY_WIRE[value]
            except KeyError:
                pass
        raise ValueError(f"Invalid rating: {value}. Must be 'up', 'down', or None")


_BY_WIRE: Final[dict[str | None, Rating]] = {rating.value: rating for rating in Rating}


class Context(Mapping[str, Scalar]):
    """What else is known, such as ``user_tier`` or ``agent_version``: immutable, hashable, sorted by name."""

    __slots__ = ("_facts",)

    def __init__(self, facts: Mapping[str, Scalar] | None = None, /) -> None:
        self._facts: dict[str, Scalar] = dict(sorted(facts.items())) if facts else {}

    def __getitem__(self, name: str) -> Scalar:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        # To Python 1, 1.0 and True are the same; in JSON, and to whoever corrects one to the other, they are not.
        return self._facts == dict(other) and all(_kind(value) is _kind(other[name]) for name, value in self.items())

    def __hash__(self) -> int:
        return hash(frozenset(self._facts.items()))

    def __repr__(self) -> str:
        return f"Context({self._facts!r})"

    def __reduce__(self) -> tuple[type[Context], tuple[dict[str, Scalar]]]:
        return Context, (dict(self._facts),)


def _kind(value: Scalar) -> type | None:
    return next((kind for kind in (bool, float) if isinstance(value, kind)), None)


NO_CONTEXT: Final = Context()


def session_author(session_id: str) -> str:
    """The author of feedback that an agent gives for the person in a session whom it does not know by name."""
    return f"session:{session_id}"


@frozen
class Target:
    """What feedback is about: a session, or one message in it, and the agent that answered."""

    session_id: str
    message_id: str | None = None
    agent_id: str | None = None


_MILLION = 1_000_000


def _bounded(lowest: float, name: str, value: float) -> float:
    if not (isfinite(value) and lowest <= value <= 1):
        raise ValueError(f"{name} must lie between {lowest:g} and 1, got {value}")
    return round(value * _MILLION) / _MILLION


def _polarity(value: float) -> float:
    return _bounded(-1, "polarity", value)


def _subjectivity(value: float) -> float:
    return _bounded(0, "subjectivity", value)


@frozen
class Sentiment:
    """How a comment sounds: ``polarity`` from -1 to 1 and ``subjectivity`` from 0 to 1, both kept in millionths."""

    polarity: float = field(converter=_polarity)
    subjectivity: float = field(converter=_subjectivity)

    @classmethod
    def from_millionths(cls, polarity: int, subjectivity: int) -> Sentiment:
        """The inverse of the two properties below."""
        return cls(polarity / _MILLION, subjectivity / _MILLION)

    @property
    def polarity_millionths(self) -> int:
        """The polarity as an integer, so that sums are exact."""
        return round(self.polarity * _MILLION)

    @property
    def subjectivity_millionths(self) -> int:
        """The subjectivity as an integer, so that sums are exact."""
        return round(self.subjectivity * _MILLION)


@frozen(kw_only=True)
class Submission:
    """What a person sends, not yet checked: a policy judges it before it becomes feedback.

    ``tags`` are the reasons picked; ``created_at`` is for feedback given elsewhere before (now, if ``None``).
    ``enrichment`` is context that was not sent but found out, such as an address: what is sent again under the same
    idempotency key may differ in it.
    ``vote`` makes it the one vote of its author on its target, see ``CollectionService.set_vote``.
    """

    target: Target
    rating: Rating | str | None
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

    def enriched(self) -> Submission:
        """The submission with what was found out in its context."""
        if not self.enrichment or not isinstance(self.context, Mapping):
            return self
        return evolve(self, context={**self.context, **self.enrichment}, enrichment=NO_CONTEXT)


@frozen(kw_only=True)
class Revision:
    """What feedback said before a change: the version that was replaced, and when."""

    version: int
    rating: Rating
    comment: str
    tags: tuple[str, ...]
    context: Context
    sentiment: Sentiment | None
    reply: str | None
    replaced_at: datetime


class Unchanged(Enum):
    """The type of :data:`UNCHANGED`."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


#: Leaves a part of the feedback as it is, where ``None`` would be a value of its own.
UNCHANGED: Final = Unchanged.UNCHANGED


@frozen(kw_only=True)
class Change:
    """What an author wants different. A new rating drops the tags, unless the change brings its own."""

    rating: Rating | str | Unchanged | None = UNCHANGED
    comment: str | Unchanged = UNCHANGED
    tags: Sequence[str] | Unchanged = UNCHANGED
    context: Mapping[str, Scalar] | Unchanged = UNCHANGED

    def applied_to(self, feedback: Feedback) -> Submission:
        """The whole feedback as it would read after this change, to be judged like a new submission."""
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
class Feedback:
    """An accepted submission: immutable, identified, versioned, its times in UTC with microseconds.

    ``version`` starts at 1 and grows by one with every change. ``updated_at`` never goes back, though the clocks of
    those who change it may differ, so that its events keep the order of versions. ``revisions`` holds what its author
    said before, oldest first. ``fingerprint`` is a digest of the body as it was first sent, for idempotency;
    ``later_keys`` has the idempotency keys and fingerprints of the votes that replaced the first one.
    """

    id: str
    application: str = DEFAULT_APPLICATION
    target: Target
    rating: Rating
    comment: str = ""
    author: str | None = None
    tags: tuple[str, ...] = ()
    context: Context = NO_CONTEXT
    sentiment: Sentiment | None = None
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
        """The session it is about."""
        return self.target.session_id

    @property
    def message_id(self) -> str | None:
        """The message it is about, if it is about one."""
        return self.target.message_id

    @property
    def agent_id(self) -> str | None:
        """The agent that answered, if known."""
        return self.target.agent_id

    @property
    def withdrawn(self) -> bool:
        """Whether its author took it back."""
        return self.withdrawn_at is not None

    @property
    def is_counted(self) -> bool:
        """Whether it is in lists, figures and alerts: approved and not withdrawn."""
        return self.withdrawn_at is None and self.moderation.status is ModerationStatus.APPROVED

    def as_submission(self) -> Submission:
        """What its author would have to send to say the same again."""
        return Submission(
            target=self.target,
            rating=self.rating,
            comment=self.comment,
            author=self.author,
            tags=self.tags,
            context=self.context,
            sentiment=self.sentiment,
            idempotency_key=self.idempotency_key,
            application=self.application,
            created_at=self.created_at,
            vote=self.vote,
        )

    def revised(self, content: Feedback, *, at: datetime) -> Feedback:
        """This feedback saying what ``content`` says, with the replaced words kept as a revision.

        A new rating or another agent drops the reply, which answered what was said before.
        """
        at = self._in_order(at)
        answered = (content.rating, content.agent_id) == (self.rating, self.agent_id)
        replaced = Revision(
            version=self.version,
            rating=self.rating,
            comment=self.comment,
            tags=self.tags,
            context=self.context,
            sentiment=self.sentiment,
            reply=self.reply,
            replaced_at=at,
        )
        return evolve(
            self,
            target=content.target,
            rating=content.rating,
            comment=content.comment,
            tags=content.tags,
            context=content.context,
            sentiment=content.sentiment,
            moderation=content.moderation,
            reply=self.reply if answered else None,
            withdrawn_at=None,
            updated_at=at,
            version=self.version + 1,
            revisions=(*self.revisions, replaced),
        )

    def withdraw(self, *, at: datetime) -> Feedback:
        """This feedback, taken back by its author: kept as a tombstone until it is erased."""
        at = self._in_order(at)
        return evolve(self, withdrawn_at=at, updated_at=at, version=self.version + 1)

    def moderated(self, moderation: Moderation, *, at: datetime) -> Feedback:
        """This feedback after a moderator's decision."""
        return evolve(self, moderation=moderation, updated_at=self._in_order(at), version=self.version + 1)

    def without_revisions(self) -> Feedback:
        """This feedback without what it said before it was changed."""
        return evolve(self, revisions=()) if self.revisions else self

    def without_words(self) -> Feedback:
        """This feedback without anything that its author wrote or picked but the rating, and without the reply."""
        return evolve(
            self,
            comment="",
            tags=(),
            context=NO_CONTEXT,
            sentiment=None,
            reply=None,
            revisions=(),
            idempotency_key=None,
            fingerprint="",
            later_keys=(),
        )

    def _in_order(self, at: datetime) -> datetime:
        """When a change is noted to have been made: not before the one before it, though clocks may differ."""
        if at >= self.updated_at or self.updated_at >= _LAST:
            return max(at, self.updated_at)
        return self.updated_at + MICROSECOND

    def answered(self, reply: str | None, *, at: datetime) -> Feedback:
        """This feedback with a reply to its author, or without one."""
        return evolve(self, reply=reply, updated_at=self._in_order(at), version=self.version + 1)


_LAST: Final = datetime.max.replace(tzinfo=UTC)
_WIRE_RATINGS: Final = (*Rating, *(rating.value for rating in Rating))

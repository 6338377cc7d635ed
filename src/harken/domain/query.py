"""Queries for feedback, groups, and pages."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, get_args

from attrs import Attribute, evolve, field, frozen

from harken.domain.display import page_html, page_text
from harken.domain.errors import InvalidQuery
from harken.domain.feedback import DEFAULT_APPLICATION, Feedback, FrozenMapping, Rating, RatingValue, Scalar
from harken.domain.instants import from_microseconds, slot_number, slot_start, to_microseconds, utc
from harken.domain.moderation import ModerationStatus
from harken.domain.rules import MAX_CONTEXT_KEYS, name_problem, text_problem
from harken.domain.search import TextSearch
from harken.domain.texts import did_you_mean

ANY_STATUS: Final = frozenset(ModerationStatus)
_APPROVED: Final = frozenset({ModerationStatus.APPROVED})
#: The maximum number of items in a page.
MAX_PAGE: Final = 1_000
#: The maximum number of values of a filter.
MAX_VALUES: Final = 100


#: Which feedback comes first, by creation time.
Order = Literal["newest", "oldest"]
#: The labels of the wanted values of a context filter, see :func:`label`.
Labels = frozenset[str | None]
_Texts = str | Collection[str] | None
_Ratings = RatingValue | Collection[RatingValue | None] | None


def check_limit(limit: int) -> None:
    """Raise ``InvalidQuery`` unless a page can have at most this many items: 1 to :data:`MAX_PAGE`."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidQuery(f"limit must be from 1 to {MAX_PAGE:,}, got {limit}")


def check_order(order: str) -> None:
    """Raise ``InvalidQuery`` unless it is an :data:`Order`."""
    if order not in get_args(Order):
        raise InvalidQuery(f"order must be 'newest' or 'oldest', got {order!r}")


def _utc_or_none(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise InvalidQuery(f"since and until must be datetimes, got {type(moment).__name__}")
    try:
        return utc(moment)
    except ValueError as error:
        raise InvalidQuery(str(error)) from None


def _values_of(name: str, given: object) -> Collection[Any]:
    """The values of a filter, which is given as one value or as a collection.

    Raises:
        InvalidQuery: there are none, or too many.
    """
    values = given if isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping) else (given,)
    if not values:
        # Probably a mistake, which must not mean any value.
        raise InvalidQuery(f"{name} must have at least one value; leave it out for any value")
    if len(values) > MAX_VALUES:
        raise InvalidQuery(f"{name} must have at most {MAX_VALUES} values, got {len(values):,}")
    return values


def _to_agents(given: _Texts) -> frozenset[str] | None:
    return _to_texts("agent_id", given)


def _to_tags(given: _Texts) -> frozenset[str] | None:
    return _to_texts("tag", given)


def _to_texts(name: str, given: _Texts) -> frozenset[str] | None:
    if given is None:
        return None
    values = _values_of(name, given)
    for value in values:
        if problem := text_problem(name, value):
            raise InvalidQuery(problem.message)
    return frozenset(values)


def _to_ratings(given: _Ratings) -> frozenset[Rating] | None:
    if given is None:
        return None
    try:
        ratings = frozenset(map(Rating.parse, _values_of("rating", given)))
    except ValueError as error:
        raise InvalidQuery(str(error)) from None
    # With all ratings, there is nothing to filter.
    return None if len(ratings) == len(Rating) else ratings


def _to_labels(given: Mapping[str, Scalar | Collection[Scalar]] | None) -> FrozenMapping[Labels]:
    if given is not None and not isinstance(given, Mapping):
        raise InvalidQuery(f"context must map names to values, got {type(given).__name__}")
    if len(given or ()) > MAX_CONTEXT_KEYS:
        raise InvalidQuery(f"context must have at most {MAX_CONTEXT_KEYS} names, got {len(given or ()):,}")
    return FrozenMapping({name: _labels_of(name, values) for name, values in (given or {}).items()})


def _labels_of(name: object, given: object) -> Labels:
    if problem := name_problem("context", name):
        raise InvalidQuery(problem.message)
    values = _values_of(f"context.{name}", given)
    for value in values:
        if not isinstance(value, Scalar):
            raise InvalidQuery(
                f"context.{name} must be a string, a number, true, false or null, got {type(value).__name__}"
            )
        if isinstance(value, str) and (problem := text_problem(f"context.{name}", value)):
            raise InvalidQuery(problem.message)
    return frozenset(map(label, values))


def _check_truth(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool | None):
        raise InvalidQuery(f"{attribute.name} must be true, false or left out, got {type(value).__name__}")


def _check_text(_: object, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None and (problem := text_problem(attribute.name, value)):
        raise InvalidQuery(problem.message)


def _check_search(_: object, attribute: Attribute[Any], value: str | None) -> None:
    _check_text(None, attribute, value)
    if value is not None:
        TextSearch.parse(value)


@frozen(kw_only=True)
class FeedbackQuery:
    """A query for feedback of one application; feedback must match every filter that is set.

    ``agent_id``, ``rating``, ``tag`` and each value of ``context`` may be a collection: feedback must then match one of
    its 1 to 100 values. ``context`` compares by :func:`label`, so that ``1`` from a program and ``"1"`` from a CSV file
    are equal. ``text`` is read by :meth:`TextSearch.parse`. ``since`` is inclusive, ``until`` is exclusive. By default,
    a query matches feedback that is counted: approved and not withdrawn. ``withdrawn=True`` matches only withdrawn
    feedback, ``None`` matches both.

    Attributes:
        application: the application.
        feedback_id: the id.
        session_id: the session.
        message_id: the message.
        agent_id: the agents; ``None`` for any, also for none.
        author: the author.
        rating: the ratings; ``None`` for any, also if all ratings were given.
        tag: the tags, of which feedback has at least one; ``None`` for any, also for none.
        context: the labels by name, at most 50 names. The label ``None`` matches feedback without a value.
        text: words that the comment has, in any order; words in quotation marks follow each other.
        has_comment: whether there is a comment; ``None`` for both.
        since: the earliest time of creation.
        until: the end of the times of creation.
        statuses: the moderation statuses.
        withdrawn: whether it is withdrawn; ``None`` for both.

    Raises:
        InvalidQuery: a filter is invalid.
    """

    application: str = field(default=DEFAULT_APPLICATION, validator=_check_text)
    feedback_id: str | None = field(default=None, validator=_check_text)
    session_id: str | None = field(default=None, validator=_check_text)
    message_id: str | None = field(default=None, validator=_check_text)
    agent_id: frozenset[str] | None = field(default=None, converter=_to_agents)
    author: str | None = field(default=None, validator=_check_text)
    rating: frozenset[Rating] | None = field(default=None, converter=_to_ratings)
    tag: frozenset[str] | None = field(default=None, converter=_to_tags)
    context: FrozenMapping[Labels] = field(default=None, converter=_to_labels)
    text: str | None = field(default=None, validator=_check_search)
    has_comment: bool | None = field(default=None, validator=_check_truth)
    since: datetime | None = field(default=None, converter=_utc_or_none)
    until: datetime | None = field(default=None, converter=_utc_or_none)
    statuses: frozenset[ModerationStatus] = _APPROVED
    withdrawn: bool | None = False

    @property
    def search(self) -> TextSearch | None:
        """The words that the comment must have, if any."""
        return None if self.text is None else TextSearch.parse(self.text)

    @property
    def is_everything(self) -> bool:
        """Whether it matches all feedback of the application, in any state."""
        return self == FeedbackQuery(application=self.application).in_any_state()

    def in_any_state(self) -> FeedbackQuery:
        """Return the same query without the filters on moderation status and withdrawal."""
        return evolve(self, statuses=ANY_STATUS, withdrawn=None)

    def previous_period(self, now: datetime) -> FeedbackQuery | None:
        """The same query for the previous period, which is as long as that of this query and ends where it begins.

        The period of a query without ``until`` ends ``now``. ``None`` for a query without ``since``, and if there is no
        time before it.
        """
        if self.since is None:
            return None
        try:
            start = self.since - ((self.until or now) - self.since)
        except OverflowError:
            return None
        return evolve(self, since=start, until=self.since) if start < self.since else None

    def matches(self, feedback: Feedback) -> bool:
        """Whether this feedback matches. The filters of every storage must be equivalent."""
        wanted = (
            (self.feedback_id, feedback.id),
            (self.session_id, feedback.session_id),
            (self.message_id, feedback.message_id),
            (self.author, feedback.author),
        )
        return (
            self.application == feedback.application
            and all(want is None or want == have for want, have in wanted)
            and (self.agent_id is None or feedback.agent_id in self.agent_id)
            and (self.rating is None or feedback.rating in self.rating)
            and (self.tag is None or not self.tag.isdisjoint(feedback.tags))
            and all(label(feedback.context.get(name)) in labels for name, labels in self.context.items())
            and self.has_comment in (None, bool(feedback.comment))
            and (self.since is None or self.since <= feedback.created_at)
            and (self.until is None or feedback.created_at < self.until)
            and feedback.moderation.status in self.statuses
            and self.withdrawn in (None, feedback.withdrawn)
            and (self.search is None or self.search.is_in(feedback.comment))
        )


def label(value: Scalar) -> str | None:
    """Return the label of a context value, which identifies its group: text, JSON for other values, or ``None``."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


#: The key of a group: an id, a tag or a label, the start of a slot, or ``None`` for feedback without one.
GroupKey = str | datetime | None


class Dimension(Enum):
    """The dimensions by which feedback can be grouped."""

    AGENT = "agent"
    SESSION = "session"
    TAG = "tag"
    CONTEXT = "context"
    SLOT = "slot"


@frozen
class GroupBy:
    """A grouping of feedback; ``name`` is the context key, for ``Dimension.CONTEXT`` only.

    Feedback with several tags is in the group of each, so the groups may add up to more than the total.

    Raises:
        InvalidQuery: the name is missing, invalid, or not allowed for this dimension.
    """

    dimension: Dimension
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.dimension is Dimension.CONTEXT) != (self.name is not None):
            raise InvalidQuery("Grouping by context requires the name of a context key; other groupings have no name")
        if self.name is not None and (problem := name_problem("context", self.name)):
            raise InvalidQuery(problem.message)

    @classmethod
    def parse(cls, text: str) -> GroupBy:
        """Return the grouping for ``"agent"``, ``"session"``, ``"tag"``, ``"slot"`` or ``"context.<name>"``.

        Raises:
            InvalidQuery: the text is not one of these.
        """
        word, dot, name = text.partition(".")
        try:
            return cls(Dimension(word), name if dot else None)
        except ValueError:
            expected = "'agent', 'session', 'tag', 'slot' or 'context.<name>'"
            similar = did_you_mean(text, [one.value for one in Dimension])
            raise InvalidQuery(f"Cannot group by {text!r}{similar}; expected {expected}") from None

    def keys(self, feedback: Feedback) -> tuple[GroupKey, ...]:
        """Return the keys of the groups that contain this feedback."""
        match self.dimension:
            case Dimension.AGENT:
                return (feedback.agent_id,)
            case Dimension.SESSION:
                return (feedback.session_id,)
            case Dimension.TAG:
                return feedback.tags or (None,)
            case Dimension.CONTEXT:
                return (label(feedback.context.get(self.name or "")),)
        return (slot_start(slot_number(feedback.created_at)),)


class Cursor(NamedTuple):
    """A position in a list of feedback: directly after one entry. ``str`` returns a token that is safe in a URL."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        place = f"{to_microseconds(self.created_at)}:{self.id}".encode()
        return urlsafe_b64encode(place).decode().rstrip("=")

    @classmethod
    def of(cls, feedback: Feedback) -> Cursor:
        """Return the position directly after this feedback."""
        return cls(feedback.created_at, feedback.id)

    @classmethod
    def parse(cls, token: str) -> Cursor:
        """Return the cursor for a token.

        Raises:
            InvalidQuery: the token is not valid.
        """
        try:
            place = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            microseconds, _, feedback_id = place.partition(":")
            return cls(from_microseconds(int(microseconds)), feedback_id)
        except (ValueError, OverflowError):
            raise InvalidQuery(f"{token!a} is not a cursor; use the cursor of the previous page") from None


@frozen
class Page:
    """A page of feedback, newest first, and the cursor of the next page, or ``None`` on the last page."""

    items: tuple[Feedback, ...]
    next: Cursor | None = None

    def __str__(self) -> str:
        return page_text(self)

    def _repr_html_(self) -> str:
        return page_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the entries and the next cursor as JSON values, named as in the HTTP API."""
        return {"feedbacks": [one.to_dict() for one in self.items], "next": str(self.next) if self.next else None}

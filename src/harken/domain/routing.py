"""Which events go to which channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final, TypeVar

from attrs import field, fields, frozen

from harken.domain.alerts import Alert
from harken.domain.errors import RouteRejected
from harken.domain.events import EventType
from harken.domain.feedback import Feedback, Rating
from harken.domain.moderation import ModerationStatus
from harken.domain.rules import label_problem, text_problem
from harken.domain.text_lists import as_texts

#: The wire's word for a rating that is neither up nor down, where there must be a word.
NEUTRAL: Final = "neutral"
MAX_TEMPLATE_LENGTH: Final = 10_000
#: Feedback that does not count yet is told of only if that was asked for; what becomes of it later is told always, as
#: somebody may have been told before.
_TOLD_IF_APPROVED: Final = frozenset({EventType.CREATED, EventType.UPDATED})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

E = TypeVar("E", bound=Enum)


# Any collection will do. Each has its type, as mypy makes nothing of ``frozenset`` itself in this place.


def _types(values: Iterable[EventType]) -> frozenset[EventType]:
    return _members(values, EventType)


def _ratings(values: Iterable[Rating]) -> frozenset[Rating]:
    return _members(values, Rating)


def _statuses(values: Iterable[ModerationStatus]) -> frozenset[ModerationStatus]:
    return _members(values, ModerationStatus)


def _members(values: Iterable[E], kind: type[E]) -> frozenset[E]:
    # A single text would become its letters, none of which any event has.
    if isinstance(values, str | kind):
        raise RouteRejected(f"A route takes a list of {kind.__name__} values, got {values!r}; put it into a list")
    return frozenset(values)


def _texts(values: str | Iterable[str]) -> frozenset[str]:
    return frozenset(as_texts(values))


@frozen(kw_only=True)
class Route:
    """Sends what fits all its filters to a channel; a filter that is empty lets everything through.

    Attributes:
        name: what to call it; unique.
        channel: where it leads to.
        events: the types of event.
        ratings: the ratings of feedback.
        applications: whose.
        agents: the agents that feedback, or an alert, is about.
        tags: feedback with any of these.
        statuses: the moderation states of feedback. Without them feedback that is new or changed is sent if it is
            approved, and everything else whatever its state.
        template: makes the text of a notification; without one the channel says it in its own words.
    """

    name: str
    channel: str
    events: frozenset[EventType] = field(default=frozenset(), converter=_types)
    ratings: frozenset[Rating] = field(default=frozenset(), converter=_ratings)
    applications: frozenset[str] = field(default=frozenset(), converter=_texts)
    agents: frozenset[str] = field(default=frozenset(), converter=_texts)
    tags: frozenset[str] = field(default=frozenset(), converter=_texts)
    statuses: frozenset[ModerationStatus] = field(default=frozenset(), converter=_statuses)
    template: str | None = None

    def __attrs_post_init__(self) -> None:
        for problem in (name_problem("A route's name", self.name), name_problem("A channel's name", self.channel)):
            if problem:
                raise RouteRejected(problem)
        if self.template is not None and len(self.template) > MAX_TEMPLATE_LENGTH:
            raise RouteRejected(f"The template of route {self.name!r} is longer than {MAX_TEMPLATE_LENGTH} characters")

    def takes(self, type: EventType, subject: Feedback | Alert) -> bool:  # noqa: A002 - the field's name
        """Whether an event of that type about that subject goes this way."""
        if self.events and type not in self.events:
            return False
        if self.applications and subject.application not in self.applications:
            return False
        return self._takes_alert(subject) if isinstance(subject, Alert) else self._takes_feedback(type, subject)

    def _takes_alert(self, alert: Alert) -> bool:
        if self.ratings or self.tags or self.statuses:
            # An alert has none of these.
            return False
        return not self.agents or (alert.subject.by == "agent" and alert.subject.value in self.agents)

    def _takes_feedback(self, type: EventType, feedback: Feedback) -> bool:  # noqa: A002 - the field's name
        if self.ratings and feedback.rating not in self.ratings:
            return False
        if self.agents and feedback.agent_id not in self.agents:
            return False
        if self.tags and self.tags.isdisjoint(feedback.tags):
            return False
        status = feedback.moderation.status
        if self.statuses:
            return status in self.statuses
        return type not in _TOLD_IF_APPROVED or status is ModerationStatus.APPROVED


def name_problem(what: str, name: object) -> str | None:
    """What makes a name unfit for a route or a channel, in a sentence; ``None`` if nothing does."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"{what} has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit; got {name!a}"


def parse_route(table: Mapping[str, object]) -> Route:
    """The route that a table of the settings, or a JSON object, describes.

    Raises:
        RouteRejected: a key is unknown or absent, or a value makes no sense.
    """
    known = [attribute.name for attribute in fields(Route)]
    name = table.get("name")
    if unknown := sorted(map(str, table.keys() - set(known))):
        raise RouteRejected(f"Route {name!r} sets unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return Route(
        name=_text(table, "name"),
        channel=_text(table, "channel"),
        events=_chosen(table, "events", lambda value: _member(EventType, value)),
        ratings=_chosen(table, "ratings", _rating),
        applications=_chosen(table, "applications", _label),
        agents=_chosen(table, "agents", _label),
        tags=_chosen(table, "tags", _label),
        statuses=_chosen(table, "statuses", lambda value: _member(ModerationStatus, value)),
        template=_template(table),
    )


def route_record(route: Route) -> dict[str, object]:
    """The inverse of :func:`parse_route`: JSON values, with filters that are empty and sorted lists."""
    return {
        "name": route.name,
        "channel": route.channel,
        "events": sorted(type_.value for type_ in route.events),
        "ratings": sorted(rating.value or NEUTRAL for rating in route.ratings),
        "applications": sorted(route.applications),
        "agents": sorted(route.agents),
        "tags": sorted(route.tags),
        "statuses": sorted(status.value for status in route.statuses),
        "template": route.template,
    }


T = TypeVar("T")


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise RouteRejected(f"A route needs a {key}, as text; got {dict(table)!r}")
    return value


def _template(table: Mapping[str, object]) -> str | None:
    template = table.get("template")
    if template is not None and (problem := text_problem("template", template)):
        raise RouteRejected(f"In route {table.get('name')!r}: {problem.message}")
    return template if isinstance(template, str) else None


def _chosen(table: Mapping[str, object], key: str, parse: Callable[[object], T]) -> frozenset[T]:
    values = table.get(key, ())
    if not isinstance(values, list | tuple):
        raise RouteRejected(f"{key} of route {table.get('name')!r} must be a list, got {values!r}")
    try:
        return frozenset(map(parse, values))
    except ValueError as error:
        raise RouteRejected(f"{key} of route {table.get('name')!r}: {error}") from None


def _member(kind: type[E], value: object) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise ValueError(f"{value!r} is none of {known}") from None


def _rating(value: object) -> Rating:
    if value is None or value == NEUTRAL:
        return Rating.NEUTRAL
    if value in ("up", "down"):
        return Rating.parse(value)
    raise ValueError(f"{value!r} is none of 'up', 'down', {NEUTRAL!r}")


def _label(value: object) -> str:
    if problem := label_problem("each", value):
        raise ValueError(problem.message)
    return str(value)

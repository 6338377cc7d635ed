"""Which events go to which channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, TypeVar

from attrs import field, fields, frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import RouteRejected
from harken.domain.events import Event, EventType, Traits
from harken.domain.feedback import Feedback, Rating
from harken.domain.moderation import ModerationStatus
from harken.domain.rules import label_problem, text_problem
from harken.domain.text_lists import as_texts
from harken.domain.texts import unknown_names

MAX_TEMPLATE_LENGTH: Final = 10_000
#: New and changed feedback that does not count is sent only where that was asked for. Decisions and withdrawals are
#: always sent, as the feedback may have been sent before.
_SENT_IF_COUNTED: Final = frozenset({EventType.CREATED, EventType.UPDATED})
#: The types that routes choose from.
ROUTABLE: Final = tuple(type_ for type_ in EventType if type_ is not EventType.ERASED)
_APPROVED: Final = frozenset({ModerationStatus.APPROVED})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

E = TypeVar("E", bound=Enum)


# Any collection will do. Each has its type, as mypy makes nothing of ``frozenset`` itself in this place.


def _types(values: Iterable[EventType]) -> frozenset[EventType]:
    types = _members(values, EventType)
    if EventType.ERASED in types:
        raise RouteRejected(
            f"{EventType.ERASED.value} goes to every channel that knows of the feedback; it cannot be routed"
        )
    return types


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
        events: the types of event, but for ``feedback.erased``: that goes to every channel that knows of the feedback.
        ratings: the ratings of feedback.
        applications: whose.
        agents: the agents that feedback, or an alert, is about.
        tags: feedback with any of these.
        statuses: the moderation states of feedback. Without them feedback that is new or changed is sent if it is
            approved, and everything else in any state.
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
        """Whether an event of that type goes this way if its subject is as given, whatever it was before."""
        if not self.admits(type, subject.application):
            return False
        return self._takes_alert(subject) if isinstance(subject, Alert) else self.fits(type, Traits.of(subject))

    def type_for(self, event: Event, after: Traits) -> EventType | None:
        """The type under which an event about feedback goes this way; ``None`` if it does not.

        - Its own, if the route takes that type, and its filters fit the feedback after the event or before: a receiver
          that was notified of feedback is notified of what becomes of it.
        - ``feedback.created``, if the route takes that but not the event's own type, and its filters fit the feedback
          after the event and did not before: for this route the feedback is new.

        An event that does not say what was before, as earlier versions stored it, goes only where it fits after.
        """
        before = event.before
        if self.admits(event.type, event.application):
            fits = self.fits(event.type, after) or (before is not None and self.fits(event.type, before))
            return event.type if fits else None
        if before is None or not self.admits(EventType.CREATED, event.application):
            return None
        became_true = self.fits(EventType.CREATED, after) and not self.fits(EventType.CREATED, before)
        return EventType.CREATED if became_true else None

    def fits(self, type: EventType, traits: Traits) -> bool:  # noqa: A002 - the field's name
        """Whether the filters on feedback let an event of that type through, about feedback with these traits."""
        if self.ratings and traits.rating not in self.ratings:
            return False
        if self.agents and traits.agent_id not in self.agents:
            return False
        if self.tags and self.tags.isdisjoint(traits.tags):
            return False
        if self.statuses and traits.status not in self.statuses:
            return False
        if type not in _SENT_IF_COUNTED:
            return True
        return not traits.withdrawn and traits.status in self.taken_statuses

    @property
    def taken_statuses(self) -> frozenset[ModerationStatus]:
        """The moderation states that feedback may have which is new or changed."""
        return self.statuses or _APPROVED

    def admits(self, type: EventType, application: str) -> bool:  # noqa: A002 - the field's name
        """Whether events of that type, of that application, go this way if the other filters let them through."""
        return (not self.events or type in self.events) and (not self.applications or application in self.applications)

    def _takes_alert(self, alert: Alert) -> bool:
        if self.ratings or self.tags or self.statuses:
            # An alert has none of these.
            return False
        return not self.agents or (alert.subject.by == "agent" and alert.subject.value in self.agents)


def destinations(routes: Iterable[Route], event: Event, after: Traits) -> dict[str, EventType]:
    """The channels that an event about feedback goes to, each with the type under which it is notified.

    Where several routes lead to a channel, the event's own type is preferred.
    """
    found: dict[str, EventType] = {}
    for route in routes:
        type_ = route.type_for(event, after)
        if type_ is not None and found.get(route.channel) is not event.type:
            found[route.channel] = type_
    return found


def disclosed(routes: Sequence[Route], type: EventType, feedback: Feedback) -> Feedback | None:  # noqa: A002 - as above
    """What a notification of that type may say of feedback as it is now; ``None`` if it must not be sent any more.

    Of withdrawn feedback only the withdrawal is sent. Feedback that is new or changed is not sent if a moderator has
    given it a status that none of the routes for that type takes, and as new only if one of them would take it now.
    What people wrote and picked is there only if the filters of such a route fit the feedback as it is now, and it
    counts or the route asks for its status; what it said before it was changed never is.

    Args:
        routes: those that lead to the channel, for the application of the feedback.
        type: of the notification.
        feedback: as it is now.
    """
    if type is EventType.WITHDRAWN:
        return feedback.without_words()
    if feedback.withdrawn:
        return None
    moderation = feedback.moderation
    # A route for other types has no say. If no route for this type is left, what is on its way still arrives.
    routes = [route for route in routes if route.admits(type, feedback.application)]
    taken = any(moderation.status in route.taken_statuses for route in routes) if routes else feedback.is_counted
    # A moderator's decision has a notification of its own. That the rules hold what was changed has none.
    decided = type is EventType.CREATED or moderation.decided_at is not None
    if type in _SENT_IF_COUNTED and decided and not taken:
        return None
    fitting = [route for route in routes if route.fits(type, Traits.of(feedback))]
    if type is EventType.CREATED and routes and not fitting:
        return None
    readable = feedback.is_counted if fitting or not routes else False
    if readable or any(route.statuses for route in fitting):
        return feedback.without_revisions()
    return feedback.without_words()


def name_problem(what: str, name: object) -> str | None:
    """What makes a name unfit for a route or a channel, in a sentence; ``None`` if nothing does."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"{what} has 1 to 64 letters, digits, '-' or '_', and begins with a letter or digit; got {name!a}"


def parse_route(table: Mapping[str, object]) -> Route:
    """The route that a table of the settings, or a JSON object, describes.

    Raises:
        RouteRejected: a key is unknown or absent, or a value is invalid.
    """
    known = [attribute.name for attribute in fields(Route)]
    name = table.get("name")
    if problem := unknown_names(table, known):
        raise RouteRejected(f"Route {name!r} sets {problem}")
    return Route(
        name=_text(table, "name"),
        channel=_text(table, "channel"),
        events=_chosen(table, "events", _event_type),
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
        "ratings": sorted(rating.word for rating in route.ratings),
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


def _event_type(value: object) -> EventType:
    # The one that is not routable is known, too: a route says why it cannot be routed.
    return EventType.ERASED if value == EventType.ERASED.value else _member(EventType, value, ROUTABLE)


def _member(kind: type[E], value: object, known: Iterable[E] | None = None) -> E:
    try:
        return kind(value)
    except ValueError:
        expected = ", ".join(repr(member.value) for member in known or kind)
        raise ValueError(f"{value!r} is none of {expected}") from None


def _rating(value: object) -> Rating:
    return Rating.NEUTRAL if value is None else Rating.from_word(value)


def _label(value: object) -> str:
    if problem := label_problem("each", value):
        raise ValueError(problem.message)
    return str(value)

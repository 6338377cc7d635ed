"""Routes: which events are sent to which channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Final, TypeVar

from attrs import field, fields, frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import RouteRejected
from harken.domain.events import Event, EventType, Traits
from harken.domain.feedback import Feedback, Rating
from harken.domain.moderation import ModerationStatus
from harken.domain.rules import label_problem, text_problem
from harken.domain.texts import as_texts, did_you_mean, unknown_names

MAX_TEMPLATE_LENGTH: Final = 10_000
#: Feedback that is new or changed but not counted is sent only if a route asks for it. Decisions and withdrawals are
#: always sent, as the feedback may have been sent before.
_SENT_IF_COUNTED: Final = frozenset({EventType.CREATED, EventType.UPDATED})
#: The event types that a route can select.
ROUTABLE: Final = tuple(type_ for type_ in EventType if type_.is_routable)
_APPROVED: Final = frozenset({ModerationStatus.APPROVED})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

E = TypeVar("E", bound=Enum)


# Any collection is accepted. One converter per type, as mypy cannot infer the type from ``frozenset``.


def _types(values: Iterable[EventType]) -> frozenset[EventType]:
    types = _members(values, EventType)
    if EventType.ERASED in types:
        raise RouteRejected(
            f"{EventType.ERASED.value} goes to every channel that has received the feedback; it cannot be routed"
        )
    return types


def _ratings(values: Iterable[Rating]) -> frozenset[Rating]:
    return _members(values, Rating)


def _statuses(values: Iterable[ModerationStatus]) -> frozenset[ModerationStatus]:
    return _members(values, ModerationStatus)


def _members(values: Iterable[E], kind: type[E]) -> frozenset[E]:
    # A single string would become its letters, which no event has.
    if isinstance(values, str | kind):
        raise RouteRejected(f"A route needs a list of {kind.__name__} values, got {values!r}")
    return frozenset(values)


def _texts(values: str | Iterable[str]) -> frozenset[str]:
    return frozenset(as_texts(values))


@frozen(kw_only=True)
class Route:
    """Sends events that match all its filters to a channel. An empty filter matches everything.

    Attributes:
        name: the unique name of the route.
        channel: the name of the channel.
        events: event types, except ``feedback.erased``, which goes to every channel that has received the feedback.
            If empty, all but ``session.metadata_updated``, which must be named.
        ratings: ratings of feedback.
        applications: applications that feedback or alerts belong to.
        agents: agents that feedback or alerts are about.
        tags: reason tags; feedback with any of them matches.
        statuses: moderation statuses of feedback. If empty, new and changed feedback is sent only if it is approved,
            and other events are sent in any status.
        template: the template of the notification's text; ``None`` for the channel's default text.
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
        if EventType.SESSION_UPDATED in self.events and (filters := self._filters_on_feedback):
            raise RouteRejected(
                f"Route {self.name!r}: {EventType.SESSION_UPDATED.value} is about a session, so the filter "
                f"{filters[0]!r} never matches it; give it a route without ratings, agents, tags and statuses"
            )

    def takes(self, type: EventType, subject: Feedback | Alert) -> bool:  # noqa: A002 - the field's name
        """Whether an event of this type about this subject is sent, regardless of the subject's previous state."""
        if not self.admits(type, subject.application):
            return False
        return self._takes_alert(subject) if isinstance(subject, Alert) else self.fits(type, Traits.of(subject))

    def would_take(self, feedback: Feedback) -> bool:
        """Whether an event about this feedback would have been sent, as far as its history is stored.

        Its earlier content and its status before the last decision are considered, but not earlier decisions.
        """
        types = [type_ for type_ in _types_about(feedback) if self.admits(type_, feedback.application)]
        return any(self.fits(type_, traits) for traits in _history_of(feedback) for type_ in types)

    def would_take_alert(self, alert: Alert) -> bool:
        """Whether an event about this alert would have been sent."""
        resolved = [EventType.ALERT_RESOLVED] if alert.resolved_at else []
        return any(self.takes(type_, alert) for type_ in (EventType.ALERT_RAISED, *resolved))

    def type_for(self, event: Event, after: Traits) -> EventType | None:
        """Return the type with which an event about feedback is sent on this route; ``None`` if it is not sent.

        - The event's own type, if the route selects it and its filters match the feedback before or after the event: a
          receiver that was notified of feedback is also notified of its changes.
        - ``feedback.created``, if the route selects that type but not the event's own, and its filters match the
          feedback after the event but not before: for this route, the feedback is new.

        An event stored by an earlier version, which has no previous state, is matched after the event only.
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
        """Whether the filters on feedback match an event of this type about feedback with these traits."""
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
        """The moderation statuses that new or changed feedback may have."""
        return self.statuses or _APPROVED

    def admits(self, type: EventType, application: str) -> bool:  # noqa: A002 - the field's name
        """Whether the route sends events of this type and application, if its other filters match."""
        # Programs that did not ask for changes of sessions must not send them.
        is_selected = type in self.events or (not self.events and type is not EventType.SESSION_UPDATED)
        return is_selected and (not self.applications or application in self.applications)

    @property
    def _filters_on_feedback(self) -> list[str]:
        """The names of the filters that a session cannot match."""
        return [name for name in ("ratings", "agents", "tags", "statuses") if getattr(self, name)]

    def _takes_alert(self, alert: Alert) -> bool:
        if self.ratings or self.tags or self.statuses:
            # Alerts have no ratings, tags or statuses.
            return False
        return not self.agents or (alert.subject.by == "agent" and alert.subject.value in self.agents)


def _types_about(feedback: Feedback) -> Iterator[EventType]:
    yield EventType.CREATED
    if feedback.revisions:
        yield EventType.UPDATED
    if feedback.moderation.decided_at is not None:
        yield EventType.MODERATED
    if feedback.withdrawn:
        yield EventType.WITHDRAWN


def _history_of(feedback: Feedback) -> Iterator[Traits]:
    """The traits that feedback has, or had before it was withdrawn."""
    moderation = feedback.moderation
    statuses = {moderation.status, moderation.previous or moderation.status}
    for content in (feedback.content, *(revision.content for revision in feedback.revisions)):
        for status in statuses:
            yield Traits(rating=content.rating, status=status, agent_id=feedback.agent_id, tags=content.tags)


@frozen(kw_only=True)
class RouteDryRun:
    """What a route would have sent in a period.

    Attributes:
        since: the start of the period, in UTC.
        until: the end of the period, in UTC.
        matched: the number of entries of feedback about which an event would have been sent.
        total: the number of entries that were examined, in any state: the newest ones of the period.
        is_complete: whether these are all entries of the period.
        matched_alerts: the number of alerts that would have been sent.
        total_alerts: the number of alerts that were examined.
        examples: the newest matching entries, at most three.
    """

    since: datetime
    until: datetime
    matched: int
    total: int
    is_complete: bool
    matched_alerts: int
    total_alerts: int
    examples: tuple[Feedback, ...] = ()


def destinations(routes: Iterable[Route], event: Event, after: Traits) -> dict[str, EventType]:
    """Return the channels that an event about feedback is sent to, each with the type for the notification.

    If several routes lead to one channel, the event's own type takes precedence.
    """
    found: dict[str, EventType] = {}
    for route in routes:
        type_ = route.type_for(event, after)
        if type_ is not None and found.get(route.channel) is not event.type:
            found[route.channel] = type_
    return found


def feedback_to_send(
    routes: Sequence[Route],
    type: EventType,  # noqa: A002 - as above
    feedback: Feedback,
) -> Feedback | None:
    """Return what a notification of this type may contain about feedback; ``None`` if it must not be sent.

    For withdrawn feedback, only the withdrawal is sent. New or changed feedback is not sent if a moderator has given it
    a status that no route for this type selects; as new feedback it is sent only if such a route selects its current
    state. Comments, tags and context are included only if the filters of such a route match the current feedback, and
    the feedback is counted or the route selects its status. Earlier content is never included.

    Args:
        routes: the routes to the channel, for the application of the feedback.
        type: the type of the notification.
        feedback: the current feedback.
    """
    if type is EventType.WITHDRAWN:
        return feedback.without_words()
    if feedback.withdrawn:
        return None
    moderation = feedback.moderation
    # Routes for other types are ignored. If no route for this type is left, waiting notifications are still sent.
    routes = [route for route in routes if route.admits(type, feedback.application)]
    taken = any(moderation.status in route.taken_statuses for route in routes) if routes else feedback.is_counted
    # A moderator's decision has its own notification. Feedback that rules hold after a change has none.
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
    """Return why ``name`` is not a valid name of a route or a channel; ``None`` if it is valid."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"{what} must have 1 to 64 letters, digits, '-' or '_', and begin with a letter or digit; got {name!a}"


def parse_route(table: Mapping[str, object]) -> Route:
    """Build a route from a settings table or a JSON object.

    Raises:
        RouteRejected: a key is unknown or missing, or a value is invalid.
    """
    known = [attribute.name for attribute in fields(Route)]
    name = table.get("name")
    if problem := unknown_names(table, known):
        raise RouteRejected(f"Route {name!r}: {problem}")
    return Route(
        name=_text(table, "name"),
        channel=_text(table, "channel"),
        events=_parse_filter(table, "events", _event_type),
        ratings=_parse_filter(table, "ratings", _rating),
        applications=_parse_filter(table, "applications", _label),
        agents=_parse_filter(table, "agents", _label),
        tags=_parse_filter(table, "tags", _label),
        statuses=_parse_filter(table, "statuses", lambda value: _member(ModerationStatus, value)),
        template=_template(table),
    )


def route_record(route: Route) -> dict[str, object]:
    """Return the route as JSON values, with empty filters and sorted lists; the inverse of :func:`parse_route`."""
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
        raise RouteRejected(f"A route needs a {key} of type string; got {dict(table)!r}")
    return value


def _template(table: Mapping[str, object]) -> str | None:
    template = table.get("template")
    if template is not None and (problem := text_problem("template", template)):
        raise RouteRejected(f"In route {table.get('name')!r}: {problem.message}")
    return template if isinstance(template, str) else None


def _parse_filter(table: Mapping[str, object], key: str, parse: Callable[[object], T]) -> frozenset[T]:
    values = table.get(key, ())
    if not isinstance(values, list | tuple):
        raise RouteRejected(f"{key} of route {table.get('name')!r} must be a list, got {values!r}")
    try:
        return frozenset(map(parse, values))
    except ValueError as error:
        raise RouteRejected(f"{key} of route {table.get('name')!r}: {error}") from None


def _event_type(value: object) -> EventType:
    # ``feedback.erased`` is accepted here, so that the route can explain why it cannot be routed.
    return EventType.ERASED if value == EventType.ERASED.value else _member(EventType, value, ROUTABLE)


def _member(kind: type[E], value: object, known: Iterable[E] | None = None) -> E:
    try:
        return kind(value)
    except ValueError:
        names = [str(member.value) for member in known or kind]
        similar = did_you_mean(str(value), names)
        raise ValueError(f"{value!r}{similar} is not one of {', '.join(map(repr, names))}") from None


def _rating(value: object) -> Rating:
    return Rating.NEUTRAL if value is None else Rating.from_word(value)


def _label(value: object) -> str:
    if problem := label_problem("each", value):
        raise ValueError(problem.message)
    return str(value)

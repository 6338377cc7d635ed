"""Routes as sentences: ``Downs about American go to team``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.domain.moderation import ModerationStatus
from harken.domain.routes import ROUTABLE, Route

_ABOUT_FEEDBACK: Final = tuple(type_ for type_ in ROUTABLE if type_.about_feedback)
_ABOUT_ALERTS: Final = tuple(type_ for type_ in ROUTABLE if type_.about_alert)
#: The names of event types, in the order in which they are shown.
EVENT_NAMES: Final = {
    EventType.CREATED: "new",
    EventType.UPDATED: "changed",
    EventType.MODERATED: "decided",
    EventType.WITHDRAWN: "withdrawn",
    EventType.ALERT_RAISED: "raised",
    EventType.ALERT_RESOLVED: "resolved",
}
_RATING_NAMES: Final = {Rating.UP: "ups", Rating.DOWN: "downs", Rating.NEUTRAL: "neutral feedback"}
STATUS_NAMES: Final = {
    ModerationStatus.APPROVED: "approved",
    ModerationStatus.PENDING: "held",
    ModerationStatus.REJECTED: "rejected",
}


def route_sentence(route: Route) -> str:
    """What a route sends, and where to."""
    feedback, alerts = _feedback(route), _alerts(route)
    about = f" about {_any_of(sorted(route.agents))}" if route.agents else ""
    if feedback == "feedback" and alerts == "alerts":
        what = f"Feedback and alerts{about}" if about else "Everything"
        return f"{what} {'go' if about else 'goes'} to {route.channel}"
    what = " and ".join(filter(None, [feedback, alerts]))
    if not what:
        return f"Nothing goes to {route.channel}: alerts have no rating, reason or status"
    reasons = f" with the reason {_any_of(sorted(route.tags))}" if route.tags else ""
    is_singular = what.endswith("feedback") and "and neutral feedback" not in what
    verb = "goes" if is_singular else "go"
    return f"{what[0].upper()}{what[1:]}{about}{reasons} {verb} to {route.channel}"


def _feedback(route: Route) -> str:
    """The feedback that a route sends: ``new and changed downs``; empty if it sends none."""
    if route.events and route.events.isdisjoint(_ABOUT_FEEDBACK):
        return ""
    ratings = [name for rating, name in _RATING_NAMES.items() if rating in route.ratings]
    noun = _list(ratings) if ratings and len(ratings) < len(_RATING_NAMES) else "feedback"
    states = [name for status, name in STATUS_NAMES.items() if status in route.statuses]
    state = _list(states, "or") if len(states) < len(STATUS_NAMES) else ""
    return " ".join(filter(None, [_kinds(route, _ABOUT_FEEDBACK), state, noun]))


def _alerts(route: Route) -> str:
    """The alerts that a route sends: ``raised alerts``; empty if it sends none."""
    if route.ratings or route.tags or route.statuses or (route.events and route.events.isdisjoint(_ABOUT_ALERTS)):
        return ""
    return " ".join(filter(None, [_kinds(route, _ABOUT_ALERTS), "alerts"]))


def _kinds(route: Route, types: Sequence[EventType]) -> str:
    """The adjectives of the events of these types that a route selects; empty for all of them."""
    chosen = [name for type_, name in EVENT_NAMES.items() if type_ in types and type_ in route.events]
    return _list(chosen) if len(chosen) < len(types) else ""


def _any_of(names: Sequence[str]) -> str:
    return _list(names, "or")


def _list(names: Iterable[str], word: str = "and") -> str:
    *others, last = names or [""]
    return f"{', '.join(others)} {word} {last}" if others else last

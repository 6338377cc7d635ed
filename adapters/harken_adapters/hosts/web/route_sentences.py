"""Routes as sentences: ``Thumbs-down feedback about American goes to team``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.domain.moderation import ModerationStatus
from harken.domain.routes import ROUTABLE, Route
from harken_adapters.hosts.web.wording import join_words

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
    EventType.SESSION_UPDATED: "session metadata",
}
_RATING_NAMES: Final = {Rating.UP: "thumbs-up", Rating.DOWN: "thumbs-down", Rating.NEUTRAL: "neutral"}
STATUS_NAMES: Final = {
    ModerationStatus.APPROVED: "approved",
    ModerationStatus.PENDING: "held",
    ModerationStatus.REJECTED: "rejected",
}


def route_sentence(route: Route) -> str:
    """What a route sends, and where to."""
    feedback, alerts = _feedback(route), _alerts(route)
    about = f" about {join_words(sorted(route.agents), 'or')}" if route.agents else ""
    if feedback == "feedback" and alerts == "alerts":
        what = f"Feedback and alerts{about}" if about else "Everything"
        return f"{what} {'go' if about else 'goes'} to {route.channel}"
    sessions = "changes of session metadata" if EventType.SESSION_UPDATED in route.events else ""
    what = join_words([one for one in (feedback, alerts, sessions) if one])
    if not what:
        return f"Nothing goes to {route.channel}: alerts have no rating, reason or status"
    reasons = f" with the reason {join_words(sorted(route.tags), 'or')}" if route.tags else ""
    verb = "goes" if what.endswith("feedback") else "go"
    return f"{what[0].upper()}{what[1:]}{about}{reasons} {verb} to {route.channel}"


def _feedback(route: Route) -> str:
    """The feedback that a route sends: ``new and changed thumbs-down feedback``; empty if it sends none."""
    if route.events and route.events.isdisjoint(_ABOUT_FEEDBACK):
        return ""
    ratings = [name for rating, name in _RATING_NAMES.items() if rating in route.ratings]
    rating = join_words(ratings) if len(ratings) < len(_RATING_NAMES) else ""
    states = [name for status, name in STATUS_NAMES.items() if status in route.statuses]
    state = join_words(states, "or") if len(states) < len(STATUS_NAMES) else ""
    return " ".join(filter(None, [_kinds(route, _ABOUT_FEEDBACK), state, rating, "feedback"]))


def _alerts(route: Route) -> str:
    """The alerts that a route sends: ``raised alerts``; empty if it sends none."""
    if route.ratings or route.tags or route.statuses or (route.events and route.events.isdisjoint(_ABOUT_ALERTS)):
        return ""
    return " ".join(filter(None, [_kinds(route, _ABOUT_ALERTS), "alerts"]))


def _kinds(route: Route, types: Sequence[EventType]) -> str:
    """The adjectives of the events of these types that a route selects; empty for all of them."""
    chosen = [name for type_, name in EVENT_NAMES.items() if type_ in types and type_ in route.events]
    return join_words(chosen) if len(chosen) < len(types) else ""

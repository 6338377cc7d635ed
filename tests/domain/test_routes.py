"""Routes: which events they match, and their tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Moderation, ModerationStatus, Rating, Route, RouteRejected
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import EventType
from harken.domain.routes import ROUTABLE, feedback_to_send, parse_route, route_record
from support import NOON, a_feedback

LABELS = st.text("abc", min_size=1, max_size=3)
#: The filters that changes of session metadata do not match.
FEEDBACK_FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "ratings": st.frozensets(st.sampled_from(Rating)),
    "agents": st.frozensets(LABELS),
    "tags": st.frozensets(LABELS),
    "statuses": st.frozensets(st.sampled_from(ModerationStatus)),
}
OF_FEEDBACK = st.sampled_from([type_ for type_ in ROUTABLE if type_ is not EventType.SESSION_UPDATED])
ANY_ROUTE: dict[str, st.SearchStrategy[Any]] = {
    "name": LABELS,
    "channel": LABELS,
    "applications": st.frozensets(LABELS),
    "template": st.none() | st.text("{} ab"),
}
ROUTES = st.builds(Route, events=st.frozensets(OF_FEEDBACK), **ANY_ROUTE, **FEEDBACK_FILTERS) | st.builds(
    Route, events=st.frozensets(st.sampled_from(ROUTABLE)), **ANY_ROUTE
)
FEEDBACK = st.builds(
    a_feedback,
    rating=st.sampled_from(Rating),
    application=LABELS,
    agent_id=st.none() | LABELS,
    tags=st.lists(LABELS, max_size=2).map(tuple),
    moderation=st.builds(Moderation, status=st.sampled_from(ModerationStatus)),
)
FEEDBACK_TYPES = [type_ for type_ in EventType if not type_.about_alert]


UNROUTABLE = "feedback.erased goes to every channel that has received the feedback; it cannot be routed"


def an_alert(**parts: Any) -> Alert:
    """An alert about agent ``a``, unless ``parts`` replaces it."""
    known = {"subject": Subject("agent", "a"), "rule": "r", "kind": AlertKind.STREAK, "message": "A streak"}
    return Alert(**{"id": "alert_1", **known, "began_at": NOON, "raised_at": NOON, **parts})


@given(ROUTES)
def test_a_route_equals_the_route_of_its_record(route: Route) -> None:
    """The record of a route gives the same route."""
    assert parse_route(route_record(route)) == route


@given(ROUTES, FEEDBACK, st.sampled_from(FEEDBACK_TYPES))
def test_each_filter_restricts_a_route(route: Route, feedback: Any, type_: EventType) -> None:
    """A route matches feedback that matches all its filters; an empty filter matches everything."""
    approved = feedback.moderation.status is ModerationStatus.APPROVED
    news = type_ in (EventType.CREATED, EventType.UPDATED)
    expected = (
        (type_ in route.events or (not route.events and type_ is not EventType.SESSION_UPDATED))
        and (not route.ratings or feedback.rating in route.ratings)
        and (not route.applications or feedback.application in route.applications)
        and (not route.agents or feedback.agent_id in route.agents)
        and (not route.tags or any(tag in route.tags for tag in feedback.tags))
        and (feedback.moderation.status in route.statuses if route.statuses else approved or not news)
    )
    assert route.takes(type_, feedback) is expected


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({}, True),
        ({"events": {EventType.ALERT_RAISED}}, True),
        ({"events": {EventType.CREATED}}, False),
        ({"applications": {"default"}}, True),
        ({"applications": {"shop"}}, False),
        ({"agents": {"a"}}, True),
        ({"agents": {"b"}}, False),
        ({"ratings": {Rating.DOWN}}, False),
        ({"tags": {"slow"}}, False),
        ({"statuses": {ModerationStatus.APPROVED}}, False),
    ],
)
def test_routes_match_alerts_by_their_attributes(filters: dict[str, Any], taken: bool) -> None:
    """An alert has an application and may have an agent; filters on other attributes exclude it."""
    assert Route(name="r", channel="c", **filters).takes(EventType.ALERT_RAISED, an_alert()) is taken


def test_an_alert_about_a_session_has_no_agent() -> None:
    """A filter by agent excludes alerts about other subjects, even with the same name."""
    alert = an_alert(subject=Subject("session", "a"))
    assert not Route(name="r", channel="c", agents={"a"}).takes(EventType.ALERT_RAISED, alert)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "A route needs a name of type string; got {}"),
        ({"name": "r"}, "A route needs a channel of type string; got {'name': 'r'}"),
        ({"name": "r", "channel": 1}, "A route needs a channel of type string"),
        (
            {"name": "a b", "channel": "c"},
            "A route's name must have 1 to 64 letters, digits, '-' or '_', and begin with",
        ),
        ({"name": "r", "channel": "c:d"}, "A channel's name must have 1 to 64 letters"),
        (
            {"name": "r", "channel": "c", "rating": ["up"]},
            "Route 'r': unknown key 'rating' (did you mean 'ratings'?); expected one of name",
        ),
        ({"name": "r", "channel": "c", "ratings": "up"}, "ratings of route 'r' must be a list, got 'up'"),
        ({"name": "r", "channel": "c", "ratings": ["so"]}, "'so' is not a rating; expected 'up', 'down' or 'neutral'"),
        ({"name": "r", "channel": "c", "events": ["up"]}, "events of route 'r': 'up' is not one of 'feedback.created'"),
        ({"name": "r", "channel": "c", "events": ["feedback.created", "feedback.erased"]}, UNROUTABLE),
        ({"name": "r", "channel": "c", "statuses": [1]}, "1 is not one of 'pending', 'approved', 'rejected'"),
        ({"name": "r", "channel": "c", "tags": [""]}, "tags of route 'r': each must not be empty"),
        ({"name": "r", "channel": "c", "template": 5}, "In route 'r': template must be a string, got int"),
        ({"name": "r", "channel": "c", "template": "x" * 10_001}, "is longer than 10000 characters"),
    ],
)
def test_an_invalid_route_raises_a_helpful_error(table: dict[str, object], message: str) -> None:
    """The message says what is wrong and what is expected."""
    with pytest.raises(RouteRejected) as caught:
        parse_route(table)
    assert message in str(caught.value)


def test_the_former_name_of_a_withdrawal_is_accepted() -> None:
    """Settings and stored routes may name ``feedback.deleted``; the record has the current name."""
    route = parse_route({"name": "r", "channel": "c", "events": ["feedback.deleted"]})
    assert route.events == {EventType.WITHDRAWN}
    assert route_record(route)["events"] == ["feedback.withdrawn"]


def test_an_erasure_cannot_be_routed() -> None:
    """A route for erasures would have no effect, so the type is refused and not listed."""
    with pytest.raises(RouteRejected, match=f"^{UNROUTABLE}$"):
        Route(name="r", channel="c", events={EventType.ERASED, EventType.CREATED})
    with pytest.raises(RouteRejected) as caught:
        parse_route({"name": "r", "channel": "c", "events": ["up"]})
    assert "erased" not in str(caught.value)


@given(ROUTES, LABELS)
def test_changes_of_sessions_are_sent_only_if_a_route_names_them(route: Route, application: str) -> None:
    """A route without event types sends everything else, so that existing routes send nothing new."""
    expected = EventType.SESSION_UPDATED in route.events and application in (route.applications or {application})
    assert route.admits(EventType.SESSION_UPDATED, application) is expected


@pytest.mark.parametrize("name", FEEDBACK_FILTERS)
def test_a_route_for_changes_of_sessions_has_no_filters_on_feedback(name: str) -> None:
    """Sessions have no rating, agent, tag or status, so such a route would never send them."""
    value = {"ratings": "up", "statuses": "approved"}.get(name, "a")
    table = {"name": "r", "channel": "c", "events": ["feedback.created", "session.metadata_updated"], name: [value]}
    with pytest.raises(RouteRejected, match=f"is about a session, so the filter '{name}' never matches it"):
        parse_route(table)


CREATED, MODERATED = EventType.CREATED, EventType.MODERATED
REJECTED = Moderation(status=ModerationStatus.REJECTED, decided_at=NOON)


@pytest.mark.parametrize("words_for", [CREATED, MODERATED])
def test_content_is_disclosed_only_if_a_route_for_the_event_selects_it(words_for: EventType) -> None:
    """A route that selects rejected feedback for one event type discloses nothing in events of another type."""
    other = MODERATED if words_for is CREATED else CREATED
    rejected = a_feedback(comment="secret", moderation=REJECTED)
    routes = [
        Route(name="plain", channel="c", events={other}),
        Route(name="asks", channel="c", events={words_for}, statuses={ModerationStatus.REJECTED}),
    ]
    sent = {type_: feedback_to_send(routes, type_, rejected) for type_ in (CREATED, MODERATED)}
    assert (found := sent[words_for]) is not None
    assert found.comment == "secret"
    # Outdated notifications are not sent at all; the rejection is sent without content.
    assert sent[other] == (None if other is CREATED else rejected.without_words())


def test_rejected_feedback_is_not_sent_as_new() -> None:
    """Feedback rejected before it was sent as new is not sent as new, even if a route selects other rejected events."""
    rejected = a_feedback(comment="secret", moderation=REJECTED)
    routes = [Route(name="new", channel="c", events={CREATED}), Route(name="m", channel="c", events={MODERATED})]
    asks = Route(name="asks", channel="c", events={MODERATED}, statuses={ModerationStatus.REJECTED})
    assert feedback_to_send([*routes, asks], CREATED, rejected) is None


@pytest.mark.parametrize("routes", [[], [Route(name="others", channel="c", events={MODERATED})]])
def test_a_waiting_notification_is_sent_without_its_route(routes: list[Route]) -> None:
    """Removing or changing a route does not hold back waiting notifications about counted feedback."""
    approved = a_feedback(comment="slow")
    assert feedback_to_send(routes, CREATED, approved) == approved
    assert feedback_to_send(routes, CREATED, a_feedback(moderation=REJECTED)) is None

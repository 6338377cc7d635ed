"""Routing of changes: a route takes feedback when its filter becomes true, and its receiver is notified of changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import Recorder, connect_without_relay
from harken import Change, Harken, Moderation, ModerationStatus, Rating, Route, Target
from harken.domain.events import Event, EventType, Traits
from harken.domain.routes import destinations, parse_route
from harken.services.notifications import relay as relay_module
from support import NOON, ManualClock, a_feedback

PENDING, APPROVED, REJECTED = ModerationStatus.PENDING, ModerationStatus.APPROVED, ModerationStatus.REJECTED
CREATED, UPDATED = "feedback.created", "feedback.updated"
MODERATED, WITHDRAWN = "feedback.moderated", "feedback.withdrawn"
SPAM: Final = "I click here and nothing happens"

#: The steps, in order.
Step = Callable[[Harken], object]


def vote(rating: str, agent: str | None = None) -> Step:
    """An author votes, or votes again."""
    comment = "slow" if rating == "down" else ""
    return lambda hk: hk.collection.set_vote(Target("s", "m", agent), "kim", rating, comment)


def give(rating: str = "down", comment: str = "slow", **parts: Any) -> Step:
    """Submit feedback, which gets the id ``id-000001``."""
    return lambda hk: hk.submit("s", rating, comment, **parts)


def decide(status: ModerationStatus) -> Step:
    """A moderator decides."""
    return lambda hk: hk.moderation.decide("default", "id-000001", status)


def change(**parts: Any) -> Step:
    """The author changes it."""
    return lambda hk: hk.collection.change("default", "id-000001", Change(**parts))


def undo(hk: Harken) -> object:
    """A moderator undoes the decision."""
    return hk.moderation.undo("default", "id-000001")


def withdraw(hk: Harken) -> object:
    """The author withdraws it."""
    return hk.collection.withdraw("default", "id-000001")


NEW_DOWNS: Final = {"events": ["feedback.created"], "ratings": ["down"]}
#: By name: the filters of a route, the steps, and the notifications if a relay runs after each step.
STORIES: Final[dict[str, tuple[dict[str, Any], list[Step], list[str]]]] = {
    "held, then approved": (NEW_DOWNS, [give("down", SPAM), decide(APPROVED)], [CREATED]),
    "held, then rejected": (NEW_DOWNS, [give("down", SPAM), decide(REJECTED)], []),
    "held, rejected, then approved": (NEW_DOWNS, [give("down", SPAM), decide(REJECTED), decide(APPROVED)], [CREATED]),
    "rejected, and undone": (NEW_DOWNS, [give("down"), decide(REJECTED), undo], [CREATED, CREATED]),
    "a vote that changes": (NEW_DOWNS, [vote("up"), vote("down")], [CREATED]),
    "a vote that changes to another rating": (NEW_DOWNS, [vote("up"), change(rating=None)], []),
    "a vote to and fro": (NEW_DOWNS, [vote("up"), vote("down"), vote("up"), vote("down")], [CREATED, CREATED]),
    "withdrawn, and voted again": (NEW_DOWNS, [vote("down"), withdraw, vote("down")], [CREATED, CREATED]),
    "withdrawn only": (NEW_DOWNS, [vote("down"), withdraw], [CREATED]),
    "changed without a new rating": (NEW_DOWNS, [give("down"), change(comment="very slow")], [CREATED]),
    "a rating, all types": ({"ratings": ["down"]}, [vote("up"), vote("down")], [UPDATED]),
    "a thumbs-down that became a thumbs-up, all types": (
        {"ratings": ["down"]},
        [vote("down"), vote("up"), vote("up", "a")],
        [CREATED, UPDATED],
    ),
    "held, then approved, all types": ({}, [give("down", SPAM), decide(APPROVED)], [MODERATED]),
    "held after a change": ({}, [give("down"), change(comment=SPAM), decide(APPROVED)], [CREATED, UPDATED, MODERATED]),
    "a tag that is added": ({"events": [CREATED], "tags": ["slow"]}, [give("up"), change(tags=["slow"])], [CREATED]),
    "a tag that is dropped": (
        {"tags": ["slow"]},
        [give("up", tags=["slow"]), change(tags=[]), change(comment="x")],
        [CREATED, UPDATED],
    ),
    "another agent": ({"events": [CREATED], "agents": ["b"]}, [vote("up", "a"), vote("up", "b")], [CREATED]),
    "of a moderation queue": (
        {"statuses": ["pending"]},
        [give("down", SPAM), decide(APPROVED), decide(PENDING)],
        [CREATED, MODERATED, MODERATED],
    ),
    "new in a moderation queue": (
        {"statuses": ["pending"], "events": [CREATED]},
        [give("down"), decide(PENDING), decide(APPROVED)],
        [CREATED],
    ),
    "a decision about feedback that was not sent": (
        {"events": [MODERATED]},
        [give("down", SPAM), decide(REJECTED)],
        [MODERATED],
    ),
    "changes only": (
        {"events": [UPDATED], "ratings": ["down"]},
        [vote("up"), vote("down"), vote("up")],
        [UPDATED, UPDATED],
    ),
    "another application": (
        {"events": [CREATED], "applications": ["shop"]},
        [give("down", SPAM), decide(APPROVED)],
        [],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_route_takes_feedback_when_its_filter_becomes_true(story: str) -> None:
    """Feedback that starts to match is sent; when it stops, once more if the route takes changes."""
    filters, steps, expected = STORIES[story]
    channel = Recorder()
    route = {"name": "r", "channel": "team", **filters}
    with connect_without_relay(channels={"team": channel}, routes=[route], spam="hold") as hk:
        for step in steps:
            step(hk)
            hk.relay.run_due()
    assert channel.types == expected


@pytest.mark.parametrize("story", STORIES)
def test_a_dry_run_finds_what_was_sent(story: str) -> None:
    """Afterwards, a dry run of the route matches the feedback exactly if a notification about it was sent."""
    filters, steps, sent = STORIES[story]
    with connect_without_relay(spam="hold") as hk:
        for step in steps:
            step(hk)
        found = hk.routes.dry_run(parse_route({"name": "r", "channel": "team", **filters}), "default")
    assert (found.matched, found.total) == (min(1, len(sent)), 1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([give("down", SPAM), decide(APPROVED)], [CREATED]),
        ([give("down", SPAM), decide(REJECTED), decide(APPROVED)], [CREATED]),
        ([vote("up"), vote("down")], [CREATED]),
        ([vote("down"), vote("up")], []),
        ([vote("down"), withdraw], []),
        ([give("down"), decide(REJECTED)], []),
        ([give("down", SPAM)], []),
    ],
)
@pytest.mark.parametrize("batch", [1, 500])
def test_events_before_the_relay_ran(
    steps: list[Step], expected: list[str], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feedback that was held and approved before a relay ran is created once, with any batch size of events."""
    monkeypatch.setattr(relay_module, "MAX_EVENTS", batch)
    channel = Recorder()
    route = {"name": "r", "channel": "team", **NEW_DOWNS}
    with connect_without_relay(channels={"team": channel}, routes=[route], spam="hold") as hk:
        for step in steps:
            step(hk)
        hk.relay.run_due()
    assert channel.types == expected


def test_later_events_are_found_after_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later events about feedback are found after any number of other events, so that it is created once."""
    monkeypatch.setattr(relay_module, "MAX_EVENTS", 5)
    channel, clock = Recorder(), ManualClock()
    route = {"name": "r", "channel": "team", **NEW_DOWNS}
    with connect_without_relay(clock, channels={"team": channel}, routes=[route], spam="hold") as hk:
        held = [hk.submit(f"s{number}", "down", SPAM).feedback.id for number in range(20)]
        clock.turn(minutes=1)
        for feedback_id in held:
            hk.moderation.decide("default", feedback_id, APPROVED)
        hk.relay.run_due()
    assert channel.types == [CREATED] * 20


def test_a_decision_while_a_relay_reads() -> None:
    """An approval between reading the events and the feedback makes it created once."""
    channel = Recorder()
    route = {"name": "r", "channel": "team", **NEW_DOWNS}
    with connect_without_relay(channels={"team": channel}, routes=[route], spam="hold") as hk:
        give("down", SPAM)(hk)
        read = hk.outbox.events

        def events(*, limit: int) -> Any:
            hk.outbox.events = read  # type: ignore[method-assign]
            found = read(limit=limit)
            decide(APPROVED)(hk)
            return found

        hk.outbox.events = events  # type: ignore[method-assign]
        hk.relay.run_due()
    assert channel.types == [CREATED]


def test_two_channels_get_one_event_with_their_types() -> None:
    """One decision is a decision to one channel and new feedback to another, with ids of the same event."""
    every, new = Recorder(), Recorder()
    routes = [{"name": "every", "channel": "every"}, {"name": "new", "channel": "new", **NEW_DOWNS}]
    with connect_without_relay(channels={"every": every, "new": new}, routes=routes, spam="hold") as hk:
        give("down", SPAM)(hk)
        hk.relay.run_due()
        decide(APPROVED)(hk)
        hk.relay.run_due()
    assert (every.types, new.types) == ([MODERATED], [CREATED])
    assert [every.ids[0].split(":")[0]] == [new.ids[0].split(":")[0]]


def test_several_routes_to_one_channel() -> None:
    """A channel gets an event once, with its own type if any of its routes takes that."""
    channel = Recorder()
    routes = [
        {"name": "new", "channel": "team", **NEW_DOWNS},
        {"name": "changes", "channel": "team", "events": [UPDATED], "tags": ["slow"]},
    ]
    with connect_without_relay(channels={"team": channel}, routes=routes) as hk:
        for step in (give("up"), change(rating="down", comment="x"), change(rating="up"), change(tags=["slow"])):
            step(hk)
            hk.relay.run_due()
        change(rating="down", tags=["slow"])(hk)
        hk.relay.run_due()
    assert channel.types == [CREATED, UPDATED, UPDATED]


def test_events_without_the_state_before() -> None:
    """Events of an earlier version go where they match now, and never as new feedback."""
    after = Traits(rating=Rating.DOWN, status=APPROVED)
    event = Event.about(a_feedback(), EventType.UPDATED)
    every = Route(name="every", channel="every", ratings={Rating.DOWN})
    new = Route(name="new", channel="new", events={EventType.CREATED})
    assert destinations([every, new], event, after) == {"every": EventType.UPDATED}
    assert destinations([every], Event.about(a_feedback(), EventType.CREATED), after) == {"every": EventType.CREATED}


TRAITS = st.builds(
    Traits,
    rating=st.sampled_from(Rating),
    status=st.sampled_from(ModerationStatus),
    withdrawn=st.booleans(),
    agent_id=st.sampled_from([None, "a", "b"]),
    tags=st.sampled_from([(), ("x",), ("y",), ("x", "y")]),
)
TYPES = [EventType.CREATED, EventType.UPDATED, EventType.MODERATED, EventType.WITHDRAWN]
ROUTES = st.builds(
    Route,
    name=st.just("r"),
    channel=st.sampled_from(["c", "d"]),
    events=st.frozensets(st.sampled_from(TYPES)),
    ratings=st.frozensets(st.sampled_from(Rating), max_size=2),
    applications=st.sampled_from([frozenset(), frozenset({"default"}), frozenset({"shop"})]),
    agents=st.sampled_from([frozenset(), frozenset({"a"})]),
    tags=st.sampled_from([frozenset(), frozenset({"x"}), frozenset({"xy"})]),
    statuses=st.frozensets(st.sampled_from(ModerationStatus), max_size=2),
)


def fits(route: Route, type_: EventType, one: Traits) -> bool:
    """Whether a route takes feedback, in a simple form."""
    news = type_ in (EventType.CREATED, EventType.UPDATED)
    statuses = route.statuses or ({APPROVED} if news else set(ModerationStatus))
    return (
        (not route.ratings or one.rating in route.ratings)
        and (not route.agents or one.agent_id in route.agents)
        and (not route.tags or any(tag in one.tags for tag in route.tags))
        and one.status in statuses
        and not (news and one.withdrawn)
    )


def naive(routes: list[Route], type_: EventType, before: Traits | None, after: Traits) -> dict[str, EventType]:
    """The channels of an event, route by route, according to the rule."""
    own, new = set(), set()
    for route in routes:
        if route.applications and "default" not in route.applications:
            continue
        if not route.events or type_ in route.events:
            if fits(route, type_, after) or (before and fits(route, type_, before)):
                own.add(route.channel)
            continue
        became_true = before and fits(route, EventType.CREATED, after) and not fits(route, EventType.CREATED, before)
        if EventType.CREATED in route.events and became_true:
            new.add(route.channel)
    return dict.fromkeys(new, EventType.CREATED) | dict.fromkeys(own, type_)


@given(st.lists(ROUTES, max_size=4), st.sampled_from(TYPES), st.none() | TRAITS, TRAITS)
def test_routing_follows_its_rule(routes: list[Route], type_: EventType, before: Traits | None, after: Traits) -> None:
    """With any routes and changes, an event has the channels and types of the rule."""
    event = Event(id="e", type=type_, application="default", subject_id="f", version=2, occurred_at=NOON, before=before)
    assert destinations(routes, event, after) == naive(routes, type_, before, after)


def test_traits_are_those_of_the_feedback() -> None:
    """The traits that routes check are those of the feedback."""
    feedback = a_feedback(agent_id="a", tags=("x",), rating=Rating.DOWN, moderation=Moderation(status=REJECTED))
    expected = Traits(rating=Rating.DOWN, status=REJECTED, withdrawn=True, agent_id="a", tags=("x",))
    assert Traits.of(feedback.withdraw(at=NOON)) == expected

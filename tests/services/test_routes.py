"""Routes that are added at run time, and listing deliveries."""

from __future__ import annotations

import re
from functools import partial

import pytest

from channels import Recorder, connect_without_relay
from harken import (
    ConfigurationError,
    DeliveryFailed,
    DeliveryNotFound,
    Harken,
    InvalidQuery,
    Notification,
    Route,
    RouteRejected,
)
from harken.domain.events import DeliveryState
from support import in_threads


def names(hk: Harken) -> list[str]:
    """The current routes."""
    return [route.name for route in hk.routes.routes()]


def refuse(_: Notification) -> None:
    """A receiver that fails permanently."""
    raise DeliveryFailed("no", retryable=False)


def test_a_route_is_added_changed_and_removed() -> None:
    """An added route applies from then on, besides those of the settings; it can be changed and removed."""
    channel = Recorder()
    with connect_without_relay(
        channels={"ops": channel}, routes=[Route(name="downs", channel="ops", ratings={"down"})]
    ) as hk:
        hk.routes.put(Route(name="slow", channel="ops", tags={"slow"}))
        assert names(hk) == ["downs", "slow"]
        assert (hk.routes.configured("downs"), hk.routes.configured("slow")) == (True, False)
        hk.submit("s", "up", "by tag", tags=["slow"])
        hk.relay.run_due()
        hk.routes.put(Route(name="slow", channel="ops", tags={"dear"}))
        hk.submit("s", "up", "by the old tag", tags=["slow"])
        hk.submit("s", "up", "by the new tag", tags=["dear"])
        hk.relay.run_due()
        assert [hk.routes.delete(name) for name in ("slow", "slow", "\udc80")] == [True, False, False]
        hk.submit("s", "up", "by none", tags=["dear"])
        hk.relay.run_due()
        assert names(hk) == ["downs"]
    assert channel.comments == ["by tag", "by the new tag"]


def test_routes_of_the_settings_stay() -> None:
    """A route of the settings can be neither replaced nor removed at run time; the message says where to change it."""
    with connect_without_relay() as hk:
        for change in (lambda: hk.routes.put(Route(name="log", channel="log")), lambda: hk.routes.delete("log")):
            with pytest.raises(RouteRejected, match="Route 'log' comes from the settings; change it there"):
                change()


def test_invalid_routes_are_refused() -> None:
    """The channel of a route must exist, and its template must be valid."""
    with connect_without_relay() as hk:
        with pytest.raises(RouteRejected, match="Route 'r': Unknown channel 'oops'; expected log"):
            hk.routes.put(Route(name="r", channel="oops"))
        with pytest.raises(RouteRejected, match="The template of route 'r' cannot be used"):
            hk.routes.put(Route(name="r", channel="log", template="{% for"))
        with pytest.raises(RouteRejected, match="route 'r' cannot be used: The template does too much work"):
            hk.routes.put(Route(name="r", channel="log", template="{{ (comment" + "|e" * 50 + ")|length }}"))
        for template, said in (
            ("{{ coment }}", "Unknown value 'coment' (did you mean 'comment'?); expected one of agent_id, application"),
            ("{% if rating == 'up' %}{{ coment }}{% endif %}", "Unknown value 'coment'"),
            ('{{ "x" * 100000000 }}', "needs numbers"),
            ("{{ comment.__class__ }}", "'__class__' is not a value"),
            ("{% if rating == 'up' %}{{ 1e999 }}{% endif %}", "a number is too large"),
            ("{{ 1 / 0 }}", "division by zero"),
        ):
            with pytest.raises(RouteRejected, match=re.escape(said)):
                hk.routes.put(Route(name="r", channel="log", template=template))
        # The values of alerts, and those that only some feedback has.
        hk.routes.put(
            Route(name="r", channel="log", template="{{ message }} {{ context.plan * 2 }} {{ figures.total }}")
        )
        assert names(hk) == ["log", "r"]


def test_the_route_of_another_application_is_not_replaced() -> None:
    """If several put a new name at the same time, one of them has it, may replace it, and is the only one to
    succeed.
    """
    owners = [f"tenant-{number}" for number in range(6)]

    def put(owner: str) -> bool:
        route = Route(name="new", channel="log", applications={owner})
        return hk.routes.put(route, owner=owner) and hk.routes.put(route, owner=owner)

    with connect_without_relay() as hk:
        put_by = dict(zip(owners, in_threads([partial(put, owner) for owner in owners]), strict=True))
        (route,) = (route for route in hk.routes.routes() if route.name == "new")
        assert [owner for owner, done in put_by.items() if done] == list(route.applications)
        assert hk.routes.put(Route(name="new", channel="log"))
        assert not put(owners[0])


def test_a_route_is_replaced_as_it_was_seen() -> None:
    """A route is added only if its name is free, and changed only if it is as it was seen; of several, one wins."""
    with connect_without_relay() as hk:
        first, second = (Route(name="slow", channel="log", tags={tag}) for tag in ("slow", "dear"))
        assert hk.routes.replace(None, first)
        assert not hk.routes.replace(None, second)
        assert not hk.routes.replace(second, first)
        assert hk.routes.routes()[-1] == first
        changes = [Route(name="slow", channel="log", tags={f"tag {number}"}) for number in range(8)]
        assert sum(in_threads([partial(hk.routes.replace, first, one) for one in changes])) == 1
        assert hk.routes.routes()[-1] in changes
        hk.routes.delete("slow")
        assert not hk.routes.replace(first, second)
        with pytest.raises(RouteRejected, match="comes from the settings"):
            hk.routes.replace(None, Route(name="log", channel="log"))


def test_two_routes_with_one_name() -> None:
    """The routes of the settings must have different names."""
    with pytest.raises(ConfigurationError, match="Two routes have the same name"):
        connect_without_relay(routes=[Route(name="r", channel="log"), Route(name="r", channel="log", ratings={"up"})])


def test_deliveries_are_listed_in_pages() -> None:
    """Deliveries in a state, of an application, to a channel, continue after the last one that is known."""
    with connect_without_relay(channels={"a": Recorder(refuse), "b": Recorder()}) as hk:
        for application in ("shop", "desk", "shop"):
            hk.submit("s", "up", application=application)
        hk.relay.run_due()
        first = hk.deliveries.find(limit=2)
        rest = hk.deliveries.find(limit=2, after=first[-1].id)
        assert {one.channel for one in (*first, *rest)} == {"a"}
        assert len({one.id for one in (*first, *rest)}) == 3
        assert len(hk.deliveries.find(application="shop")) == 2
        assert hk.deliveries.find(channel="b") == []
        assert {one.channel for one in hk.deliveries.find("delivered")} == {"b"}
        assert hk.deliveries.get(first[0].id) == first[0]


def test_deliveries_of_another_application_are_not_found() -> None:
    """A caller for one application finds and replays only its deliveries."""
    with connect_without_relay(channels={"a": Recorder(refuse)}) as hk:
        hk.submit("s", "up", application="shop")
        hk.relay.run_due()
        (dead,) = hk.deliveries.find()
        for call in (hk.deliveries.get, hk.deliveries.replay):
            with pytest.raises(DeliveryNotFound, match="No delivery with id"):
                call(dead.id, application="desk")
        assert hk.deliveries.replay_all(application="desk") == 0
        assert hk.deliveries.replay(dead.id, application="shop").state is DeliveryState.PENDING


def test_invalid_queries() -> None:
    """An unknown state, a limit out of range and an unknown id are errors that say so."""
    with connect_without_relay() as hk:
        with pytest.raises(InvalidQuery, match="A delivery is 'pending', 'delivered' or 'dead', not 'lost'"):
            hk.deliveries.find("lost")
        with pytest.raises(InvalidQuery, match="limit must be from 1 to 1,000, got 0"):
            hk.deliveries.find(limit=0)
        for name in ("application", "channel"):
            with pytest.raises(InvalidQuery, match=f"{name} contains a lone surrogate"):
                hk.deliveries.find(**{name: "\udc80"})
            with pytest.raises(InvalidQuery, match=f"{name} contains a lone surrogate"):
                hk.deliveries.replay_all(**{name: "\udc80"})
        for unknown in ("nobody", "with\0nul"):
            with pytest.raises(DeliveryNotFound):
                hk.deliveries.get(unknown)


def test_many_dead_letters_are_each_replayed_once() -> None:
    """A replay reads all pages, and deliveries that die again meanwhile are not repeated endlessly."""
    channel = Recorder(refuse)
    with connect_without_relay(channels={"a": channel}) as hk:
        for number in range(1_200):
            hk.submit(f"s{number}", "up")
        hk.relay.run_due()
        assert hk.deliveries.replay_all() == 1_200
        hk.relay.run_due()
        assert len(channel.tried) == 2_400

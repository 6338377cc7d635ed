"""API keys and routes with the clients."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

import harken
from channels import Recorder
from clients import opened
from harken import Harken, KeyNotFound, KeyRejected, NoSuchRoute, Rating, Route, RouteRejected, Scope
from harken.domain.errors import Forbidden
from hosts.serving import served
from support import ManualClock, eventually

pytestmark = pytest.mark.slow

DOWNS = Route(name="downs", channel="team", ratings=[Rating.DOWN], tags=["slow"], template="{{ comment }}")


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with a channel, and a route in its settings."""
    routes = [Route(name="all", channel="team")]
    with harken.connect("memory://", clock=clock, channels={"team": Recorder()}, routes=routes) as connected:
        yield connected


@pytest.fixture(params=["client", "async client"])
def client(request: pytest.FixtureRequest, hk: Harken) -> Iterator[Any]:
    """A client with an admin key for the application ``shop``."""
    key = hk.keys.create("shop", ["admin"], name="admin").text
    with served(hk, access="keys") as server, opened(request.param, server.url, key=key) as one:
        yield one


def test_a_key_is_created_listed_and_revoked(hk: Harken, client: Any) -> None:
    """The values are those of the service, but without digests."""
    made = client.create_key([Scope.READ, "submit"], name="web", agents=["a"])
    key = hk.keys.authenticate(made.text)
    assert made.key == evolve(key, digest="")
    assert key.agents == {"a"}
    eventually(lambda: any(one.last_used_at for one in client.keys(application="shop") if one.id == key.id))
    assert client.keys() == [evolve(one, digest="") for one in hk.keys.keys("shop")]
    revoked = client.revoke_key(key.id)
    assert revoked.revoked
    assert revoked == evolve(hk.keys.revoke(key.id), digest="")
    assert client.create_key("read").key.scopes == {Scope.READ}


def test_what_is_refused_raises_what_the_service_raises(client: Any) -> None:
    """Each refusal has the exception of the service, with its message."""
    with pytest.raises(KeyRejected, match="at least one scope"):
        client.create_key([])
    with pytest.raises(KeyRejected, match="Unknown scope 'all'"):
        client.create_key("all")
    for key_id in ("none", "a/b", ".."):
        with pytest.raises(KeyNotFound):
            client.revoke_key(key_id)
    with pytest.raises(RouteRejected, match="Unknown channel 'none'"):
        client.put_route(evolve(DOWNS, channel="none"))
    with pytest.raises(RouteRejected, match="cannot be changed here"):
        client.put_route(evolve(DOWNS, name="all"))
    for name in ("none", "a/b", ".."):
        with pytest.raises(NoSuchRoute):
            client.remove_route(name)
    with pytest.raises(Forbidden):
        client.keys(application="default")


def test_a_route_is_tried_added_and_removed(hk: Harken, client: Any) -> None:
    """A dry run equals that of the service; a route is for the application of the key."""
    hk.submit("s", "down", "wait", tags=["slow"], application="shop")
    hk.submit("s", "up", tags=["slow"], application="shop")
    own = evolve(DOWNS, applications=["shop"])
    tried = client.dry_run_route(DOWNS)
    expected = hk.routes.dry_run(own, "shop")
    assert evolve(tried, examples=()) == evolve(expected, examples=())
    assert [one.id for one in tried.examples] == [one.id for one in expected.examples]
    assert tried.matched == 1
    assert client.put_route(DOWNS) == own
    assert client.routes() == hk.routes.routes()
    client.remove_route("downs")
    assert [route.name for route in client.routes()] == ["all"]

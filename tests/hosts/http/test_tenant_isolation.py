"""Isolation of two tenants of one service that use equal ids."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Final

import pytest
import requests
from attrs import evolve

import harken
from channels import Recorder
from harken import DeliveryFailed, Feedback, FeedbackQuery, Harken
from harken.domain.alerts.patterns import Subject
from harken.domain.feedback import Context
from harken.ports.notifier import Notification
from harken.ports.storage import Storage
from harken.testing import a_feedback, accepted, an_alert
from harken_adapters.storage import memory
from hosts.serving import Server, problem, served
from support import PATIENCE, ManualClock, eventually

#: Many small tests, each with its own server.
pytestmark = pytest.mark.slow

#: One name is a prefix of the other.
TENANTS: Final = ("default", "default-2")
PATH: Final = "/api/sessions/s/feedback"


def refuse(_: Notification) -> None:
    """Fails like a receiver that rejects everything."""
    raise DeliveryFailed("The receiver answered 400", retryable=False)


@pytest.fixture
def storage() -> Iterator[Storage]:
    """A storage in which each tenant has feedback, an alert and metadata under the same ids, with different content."""
    twins = [
        a_feedback(
            "s",
            id="f",
            application=name,
            comment=f"of {name}",
            rating=rating,
            agent_id="a",
            author="ann",
            tags=("slow",),
            context=Context({"tier": "gold"}),
        )
        for name, rating in zip(TENANTS, ("up", "down"), strict=True)
    ]
    with memory.open_storage("memory://") as opened:
        opened.feedback.add(accepted(*twins))
        for name in TENANTS:
            alert = an_alert("alert", application=name, message=f"of {name}", subject=Subject("agent", "a"))
            opened.alerts.add(alert, alert.event())
            opened.sessions.update(name, "s", {"of": name})
        yield opened


@pytest.fixture
def hk(storage: Storage, clock: ManualClock) -> Iterator[Harken]:
    """A Harken on that storage, for the first tenant, whose relay has not run yet."""
    with harken.connect(storage, clock=clock, channels={"bad": Recorder(refuse)}) as connected:
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys", limit_by_session="4/day") as serving:
        yield serving


@pytest.fixture
def keys(hk: Harken) -> dict[str, dict[str, Any]]:
    """The Authorization header of each tenant."""
    made = {name: hk.keys.create(name, ["admin"]).text for name in TENANTS}
    return {name: {"headers": {"Authorization": f"Bearer {text}"}} for name, text in made.items()}


def ask(server: Server, method: str, path: str, with_key: dict[str, Any], **options: Any) -> requests.Response:
    """The response to a tenant."""
    return server.ask(method, path, **with_key, **options)


def everything(hk: Harken, application: str) -> list[Feedback]:
    """All data of a tenant."""
    return list(hk.collection.stream(FeedbackQuery(application=application).in_any_state()))


@pytest.mark.parametrize(
    "path",
    [
        "/api/feedback",
        "/api/feedback/f",
        "/api/feedback?author=ann&tag=slow",
        "/api/sessions/s/feedback",
        "/api/sessions/s/metadata",
        "/api/alerts",
        "/api/alerts/alert",
        "/api/export",
    ],
)
def test_reads_are_isolated(server: Server, keys: dict[str, dict[str, Any]], path: str) -> None:
    """Every read returns the data of the requesting tenant, and nothing of the other."""
    for name, neighbour in (TENANTS, TENANTS[::-1]):
        text = ask(server, "GET", path, keys[name]).text
        assert f'{name}"' in text
        assert f'{neighbour}"' not in text


def test_statistics_are_isolated(server: Server, keys: dict[str, dict[str, Any]]) -> None:
    """Statistics count the feedback of the requesting tenant: one has a thumbs-up, the other a thumbs-down."""
    for query in ("", "?by=agent", "?by=tag", "?by=context.tier", "?agent_id=a", "?tag=slow"):
        found = [server.get(f"/api/analytics/summary{query}", **keys[name]) for name in TENANTS]
        ((first,), (second,)) = (one.get("groups", [one]) for one in found)
        assert (first["positive"], first["negative"], second["positive"], second["negative"]) == (1, 0, 0, 1)


@pytest.mark.parametrize("asked", ["default", "default-2", "Default", "defaul", "default-2 "])
def test_application_names_match_exactly(server: Server, keys: dict[str, dict[str, Any]], asked: str) -> None:
    """A key is valid for exactly its application, not for one with a similar name."""
    for name in TENANTS:
        answer = ask(server, "GET", "/api/feedback", keys[name], params={"application": asked})
        assert answer.status_code == (200 if asked == name else 403)


def test_the_operators_application_matches_exactly(server: Server, keys: dict[str, dict[str, Any]]) -> None:
    """Only keys of the default application may switch channels, not those of one with a similar name."""
    problem(ask(server, "POST", "/api/channels/bad/off", keys["default-2"], json={"reason": "x"}), 403, "forbidden")
    assert ask(server, "POST", "/api/channels/bad/off", keys["default"], json={"reason": "x"}).status_code == 200


def test_idempotency_keys_are_isolated(server: Server, hk: Harken, keys: dict[str, dict[str, Any]]) -> None:
    """Tenants can use equal idempotency keys: each submission is stored, and each retry gets its own result."""
    first, again = (
        [
            server.post(
                PATH, {"rating": "up", "author": "ann"}, headers={**keys[name]["headers"], "Idempotency-Key": "k"}
            )
            for name in TENANTS
        ]
        for _ in range(2)
    )
    assert [one["feedback_id"] for one in again] == [one["feedback_id"] for one in first]
    assert first[0]["feedback_id"] != first[1]["feedback_id"]
    assert [len(everything(hk, name)) for name in TENANTS] == [2, 2]


class Held:
    """A repository whose write waits until the test releases it."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.released = Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def add(self, batch: Any) -> Any:
        assert self.released.wait(PATIENCE)
        return self._inner.add(batch)  # type: ignore[attr-defined]


def test_both_are_in_flight_under_the_same_key(storage: Storage) -> None:
    """While a submission of one tenant is being written, an equal key of the other is not in flight."""
    held: Any = Held(storage.feedback)
    with harken.connect(evolve(storage, feedback=held)) as hk, served(hk, access="keys") as server:
        keys = [hk.keys.create(name, ["admin"]).text for name in TENANTS]
        with ThreadPoolExecutor(2) as pool:
            answers = []
            for key in keys:
                headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
                answers.append(pool.submit(server.ask, "POST", PATH, json={"rating": "up"}, headers=headers))
            eventually(lambda: hk.collection.waiting or any(answer.done() for answer in answers))
            held.released.set()
        assert [answer.result().status_code for answer in answers] == [201, 201]


def test_limits_are_isolated(server: Server, keys: dict[str, dict[str, Any]]) -> None:
    """A session that has reached its limit does not affect the other tenant's session with the same id."""
    answers = [ask(server, "POST", PATH, keys["default"], json={"rating": "up"}) for _ in range(5)]
    assert [one.status_code for one in answers] == [201] * 4 + [429]
    assert ask(server, "POST", PATH, keys["default-2"], json={"rating": "up"}).status_code == 201


def test_erasure_is_isolated(server: Server, hk: Harken, keys: dict[str, dict[str, Any]]) -> None:
    """Erasure removes the data of one tenant, with metadata and deliveries; that of the other remains and is
    delivered.
    """
    hk.relay.dispatch()
    assert ask(server, "POST", "/api/erasures", keys["default"], json={"session_id": "s"}).status_code == 200
    assert everything(hk, "default") == []
    (left,) = everything(hk, "default-2")
    assert left.comment == "of default-2"
    assert (hk.sessions.get("default", "s"), hk.sessions.get("default-2", "s")) == ({}, {"of": "default-2"})
    waiting = [one.event for one in hk.deliveries.find("pending") if not one.event.type.about_alert]
    assert [(one.application, one.subject_id) for one in waiting if one.type.value == "feedback.created"] == [
        ("default-2", "f")
    ]


def test_changes_are_isolated(server: Server, hk: Harken, keys: dict[str, dict[str, Any]]) -> None:
    """Changing, moderating and withdrawing affect the feedback of the requesting tenant only."""
    ours = keys["default"]
    assert ask(server, "PATCH", "/api/feedback/f", ours, json={"comment": "other words"}).status_code == 200
    assert ask(server, "POST", "/api/feedback/f/moderation", ours, json={"status": "rejected"}).status_code == 200
    assert ask(server, "DELETE", "/api/feedback/f", ours).status_code in (200, 204)
    assert ask(server, "DELETE", "/api/sessions/s/metadata", ours, params={"key": "of"}).status_code < 300
    (other,) = everything(hk, "default-2")
    assert (other.version, other.comment, other.is_counted) == (1, "of default-2", True)
    assert hk.sessions.get("default-2", "s") == {"of": "default-2"}
    assert everything(hk, "default")[0].withdrawn


def test_dead_letters_are_isolated(server: Server, hk: Harken, keys: dict[str, dict[str, Any]]) -> None:
    """A tenant lists, reads and replays its own deliveries; ids of the other tenant are not found."""
    hk.relay.run_due()
    dead = {name: [one.id for one in hk.deliveries.find("dead", application=name)] for name in TENANTS}
    assert all(dead.values())
    for name, neighbour in (TENANTS, TENANTS[::-1]):
        listed = server.get("/api/deliveries", **keys[name])["deliveries"]
        assert [one["id"] for one in listed] == dead[name]
        theirs = dead[neighbour][0]
        problem(ask(server, "GET", f"/api/deliveries/{theirs}", keys[name]), 404, "not-found")
        problem(ask(server, "POST", f"/api/deliveries/{theirs}/replay", keys[name]), 404, "not-found")
        problem(ask(server, "GET", f"/api/deliveries?after={theirs}", keys[name]), 404, "not-found")
    answer = server.post("/api/deliveries/replay", None, status=200, **keys["default"])
    assert answer == {"replayed": len(dead["default"])}
    assert [one.id for one in hk.deliveries.find("dead")] == dead["default-2"]


def test_shared_routes_cannot_be_changed(server: Server, hk: Harken, keys: dict[str, dict[str, Any]]) -> None:
    """A tenant can replace and remove only routes that are for it alone."""
    shared = harken.Route(name="shared", channel="bad", applications=frozenset(TENANTS))
    hk.routes.put(shared)
    hk.routes.put(evolve(shared, name="theirs", applications=frozenset({"default-2"})))
    for route in ("shared", "theirs"):
        assert ask(server, "PUT", f"/api/routes/{route}", keys["default"], json={"channel": "bad"}).status_code == 409
        assert ask(server, "DELETE", f"/api/routes/{route}", keys["default"]).status_code in (404, 409)
    assert {route.name for route in hk.routes.routes()} == {"bad", "shared", "theirs"}
    assert ask(server, "DELETE", "/api/routes/theirs", keys["default-2"]).status_code < 300

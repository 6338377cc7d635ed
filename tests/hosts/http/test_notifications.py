"""Alerts, channels, routes, deliveries and replies over HTTP."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import harken
from channels import Recorder
from harken import Harken, Rating, Route
from harken.domain.errors import DeliveryFailed
from harken.ports.notifier import Notification
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.hosts.http.operations.routes import MAX_ROUTES
from hosts.serving import OPEN, Server, problem, served, serving
from support import ManualClock, eventually

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

TWO_DOWNS = {"name": "two-downs", "kind": "streak", "length": 2}
REPLIES = [{"text": "Sorry. What was wrong?", "rating": "down"}]
DOWN = {"rating": "down", "comment": "slow"}


class Channels:
    """Two channels: one accepts everything, the other rejects everything while ``refusing``."""

    def __init__(self) -> None:
        self.refusing = True
        self.good, self.bad = Recorder(), Recorder(self.refuse)

    def refuse(self, _: Notification) -> None:
        """Fails like a receiver that rejects the request."""
        if self.refusing:
            status, words = "400 Bad Request", "unknown field"
            raise DeliveryFailed("The receiver answered 400", retryable=False, status=status, words=words)


@pytest.fixture
def channels() -> Channels:
    """The channels of the Harken."""
    return Channels()


@pytest.fixture
def hk(clock: ManualClock, channels: Channels) -> Iterator[Harken]:
    """A Harken with two channels, an alert rule for two thumbs-down in a row, and a reply to each thumbs-down."""
    with harken.connect(
        "memory://",
        clock=clock,
        channels={"good": channels.good, "bad": channels.bad},
        alert_rules=[TWO_DOWNS],
        replies=REPLIES,
    ) as connected:
        yield connected


@pytest.fixture
def locked(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys") as server:
        yield server


def bearing(hk: Harken, application: str = "default") -> dict[str, Any]:
    """The Authorization header of a key with all scopes."""
    return {"headers": {"Authorization": f"Bearer {hk.keys.create(application, ['admin']).text}"}}


def given(hk: Harken, count: int, application: str = "default") -> None:
    """Submit feedback and run the relay."""
    for number in range(count):
        hk.submit(f"s-{number}", "up", application=application)
    hk.relay.run_due()


class TestDeliveries:
    def test_listing(self, hk: Harken, server: Server) -> None:
        """Deliveries are listed by state and channel, and found by id, with their last error."""
        about = hk.submit("s", "up").feedback
        hk.relay.dispatch()
        pending, other = self.listed(server, "state=pending")
        hk.relay.run_due()
        (dead,) = self.listed(server, "")
        assert self.listed(server, "state=dead&channel=bad") == [dead]
        assert self.listed(server, "state=dead&channel=good") == []
        (delivered,) = self.listed(server, "state=delivered")
        assert {pending["id"], other["id"]} == {dead["id"], delivered["id"]}
        assert (dead["state"], dead["channel"], dead["error"]) == ("dead", "bad", "The receiver answered 400")
        assert (dead["attempts"], dead["tries"]) == (1, 1)
        assert dead["event"] == {
            "id": dead["id"].partition(":")[0],
            "type": "feedback.created",
            "application": "default",
            "subject_id": about.id,
            "session_id": None,
            "version": 1,
            "occurred_at": "2026-03-04T12:00:00.000000Z",
        }
        assert server.get(f"/api/deliveries/{dead['id']}") == dead
        problem(server.ask("GET", "/api/deliveries/nothing"), 404, "not-found")

    @pytest.mark.parametrize("limit", [1, 4, 5, 6])
    def test_pages(self, hk: Harken, server: Server, limit: int) -> None:
        """Paging returns each delivery once, the earliest due first; the last page has no ``next``."""
        given(hk, 5)
        found: list[dict[str, Any]] = []
        path = f"/api/deliveries?limit={limit}"
        while path:
            answer = server.ask("GET", path)
            page = answer.json()
            found += page["deliveries"]
            path = answer.links["next"]["url"] if page["next"] else ""
            assert page["next"] in (None, page["deliveries"][-1]["id"])
            assert not path or len(page["deliveries"]) == limit
        assert [one["id"] for one in found] == [one.id for one in hk.deliveries.find("dead")]
        assert len({one["id"] for one in found}) == 5
        problem(server.ask("GET", "/api/deliveries?after=nothing"), 404, "not-found")

    def test_replaying_one(self, hk: Harken, server: Server, channels: Channels) -> None:
        """Replaying a dead delivery makes it pending with the same id, and it is delivered. Others are not affected."""
        given(hk, 2)
        first, second = (one.id for one in hk.deliveries.find("dead"))
        channels.refusing = False
        again = server.post(f"/api/deliveries/{first}/replay", None, status=200)
        assert (again["id"], again["state"], again["tries"], again["attempts"]) == (first, "pending", 0, 1)
        hk.relay.run_due()
        assert channels.bad.ids == [first]
        assert [one.id for one in hk.deliveries.find("dead")] == [second]
        # A receiver that has lost its data gets delivered ones again.
        assert server.post(f"/api/deliveries/{first}/replay", None, status=200)["state"] == "pending"
        hk.relay.run_due()
        assert channels.bad.ids == [first, first]
        problem(server.ask("POST", "/api/deliveries/nothing/replay"), 404, "not-found")

    def test_replaying_all(self, hk: Harken, server: Server, channels: Channels) -> None:
        """All dead deliveries, or those of one channel, are replayed, and their number is returned."""
        given(hk, 3)
        assert server.post("/api/deliveries/replay", {"channel": "good"}, status=200) == {"replayed": 0}
        assert server.post("/api/deliveries/replay", {"channel": "bad"}, status=200) == {"replayed": 3}
        hk.relay.run_due()
        assert server.ask("POST", "/api/deliveries/replay").json() == {"replayed": 3}
        channels.refusing = False
        hk.relay.run_due()
        assert len(set(channels.bad.ids)) == 3
        assert server.post("/api/deliveries/replay", {}, status=200) == {"replayed": 0}

    def test_replaying_delivered_ones(self, hk: Harken, server: Server, channels: Channels) -> None:
        """Delivered ones are replayed by time and route; an invalid request is rejected, and nothing is sent."""
        given(hk, 2)
        arrived = len(channels.good.ids)
        happened = hk.deliveries.find("delivered")[0].event.occurred_at
        hk.routes.put(Route(name="mine", channel="good", ratings=[Rating.UP], applications=["shop"]))
        body = {"state": "delivered", "channel": "good"}
        later = (happened + timedelta(days=1)).isoformat()
        assert server.post("/api/deliveries/replay", {**body, "since": later}, status=200) == {"replayed": 0}
        for wrong in (
            {"state": "lost"},
            {"state": ["dead"]},
            *({"state": nothing} for nothing in ("", 0, [], False, None)),
            {"since": "yesterday"},
            {"until": 7},
            {"route": "a b"},
            {"channels": "good"},
        ):
            problem(server.ask("POST", "/api/deliveries/replay", json=wrong), 422, "invalid")
        for route in ("unknown", "mine"):
            problem(server.ask("POST", "/api/deliveries/replay", json={"route": route}), 404, "not-found")
        assert server.post("/api/deliveries/replay", {**body, "until": later}, status=200) == {"replayed": arrived}
        hk.relay.run_due()
        assert len(channels.good.ids) == 2 * arrived

    def test_of_one_application(self, hk: Harken, locked: Server) -> None:
        """A key sees and replays deliveries of its own application; those of another application are not found."""
        given(hk, 2)
        given(hk, 1, "shop")
        mine, shop = bearing(hk), bearing(hk, "shop")
        (theirs,) = self.listed(locked, "", **shop)
        ours = self.listed(locked, "", **mine)
        assert [one["event"]["application"] for one in (theirs, *ours)] == ["shop", "default", "default"]
        for method, path in (("GET", ""), ("POST", "/replay")):
            answer = locked.ask(method, f"/api/deliveries/{theirs['id']}{path}", **mine)
            problem(answer, 404, "not-found")
        problem(locked.ask("GET", f"/api/deliveries?after={theirs['id']}", **mine), 404, "not-found")
        assert locked.post("/api/deliveries/replay", {}, status=200, **mine) == {"replayed": 2}
        assert self.listed(locked, "", **shop) == [theirs]

    def listed(self, server: Server, query: str, **options: Any) -> list[Any]:
        """The deliveries on the first page."""
        found: list[Any] = server.get(f"/api/deliveries?{query}", **options)["deliveries"]
        return found


class TestChannels:
    def test_off_and_on(self, hk: Harken, server: Server, clock: ManualClock) -> None:
        """A channel is switched off with a reason, which raises an alert, and on again, which resolves it."""
        good, bad = server.get("/api/channels")["channels"]
        assert good == {
            "name": "good",
            "kind": "Recorder",
            "destination": "",
            "configured": True,
            "on": True,
            "failing_since": None,
            "off_since": None,
            "reason": "",
            "cause": "",
            "pending": 0,
            "dead": 0,
            "delivered": 0,
            "last_delivered_at": None,
            "next_attempt": None,
        }
        off = server.post("/api/channels/bad/off", {"reason": "it moves"}, status=200)
        assert off == {**bad, "on": False, "off_since": "2026-03-04T12:00:00.000000Z", "reason": "it moves"}
        assert server.get("/api/channels")["channels"] == [good, off]
        (alert,) = server.get("/api/alerts?open=true")["alerts"]
        assert (alert["kind"], alert["subject"]) == ("channel", {"by": "channel", "value": "bad"})
        clock.turn(minutes=1)
        assert server.post("/api/channels/bad/on", None, status=200) == bad
        (over,) = server.get("/api/alerts?open=false")["alerts"]
        assert over == {**alert, "resolved_at": "2026-03-04T12:01:00.000000Z", "version": 2}

    def test_an_unknown_channel(self, server: Server) -> None:
        """An unknown channel is not found."""
        for path, body in (("on", None), ("off", {"reason": "x"})):
            problem(server.ask("POST", f"/api/channels/nothing/{path}", json=body), 404, "not-found")

    def test_all_applications_share_them(self, hk: Harken, locked: Server) -> None:
        """Keys of every application see the status of channels; only those of the default application switch them."""
        for path, body in (("off", {"reason": "x"}), ("on", None)):
            answer = locked.ask("POST", f"/api/channels/good/{path}", json=body, **bearing(hk, "shop"))
            problem(answer, 403, "forbidden")
            assert all(one["on"] for one in locked.get("/api/channels", **bearing(hk, "shop"))["channels"])
        assert locked.ask("POST", "/api/channels/good/off", json={"reason": "x"}, **bearing(hk)).ok


class TestRoutes:
    @pytest.fixture
    def hk(self, clock: ManualClock, channels: Channels) -> Iterator[Harken]:
        """A Harken with a configured route for two applications, and one for a third."""
        routes = [
            {"name": "both", "channel": "bad", "applications": ["default", "shop"]},
            {"name": "third", "channel": "bad", "applications": ["third"]},
        ]
        named = {"good": channels.good, "bad": channels.bad}
        with harken.connect("memory://", clock=clock, channels=named, routes=routes) as connected:
            yield connected

    def test_put_and_delete(self, hk: Harken, server: Server, channels: Channels) -> None:
        """A stored route takes effect, is returned and can be sent back, is replaced, and is removed."""
        path, body = "/api/routes/downs", {"channel": "good", "ratings": ["down"], "template": "It is {{ rating }}"}
        kept = server.ask("PUT", path, json=body)
        assert kept.status_code == 200
        shown = kept.json()
        assert shown == {
            "events": [],
            "agents": [],
            "tags": [],
            "statuses": [],
            "name": "downs",
            "applications": ["default"],
            **body,
        }
        assert server.get("/api/routes")["routes"] == [shown]
        assert server.ask("PUT", path, json=shown).json() == shown
        hk.submit("s", "down", "slow")
        hk.submit("s", "up")
        hk.submit("s", "down", "not ours", application="shop")
        hk.relay.run_due()
        assert [one.text for one in channels.good.arrived] == ["It is down"]
        assert server.ask("PUT", path, json={"channel": "good", "ratings": ["up"]}).json()["template"] is None
        assert server.ask("DELETE", path).status_code == 204
        problem(server.ask("DELETE", path), 404, "not-found")
        hk.submit("s", "up")
        hk.relay.run_due()
        assert len(channels.good.arrived) == 1

    def test_the_settings_routes_stay(self, hk: Harken, locked: Server) -> None:
        """Shared routes are shown without the names of other applications, and cannot be changed."""
        before = hk.routes.routes()
        for application in ("default", "shop"):
            keyed = bearing(hk, application)
            shown = locked.get("/api/routes", **keyed)
            assert [(one["name"], one["applications"]) for one in shown["shared"]] == [("both", [application])]
            assert shown["routes"] == []
            problem(locked.ask("DELETE", "/api/routes/both", **keyed), 409, "conflict")
            problem(locked.ask("PUT", "/api/routes/both", json={"channel": "good"}, **keyed), 409, "conflict")
            problem(locked.ask("DELETE", "/api/routes/third", **keyed), 404, "not-found")
            problem(locked.ask("PUT", "/api/routes/third", json={"channel": "good"}, **keyed), 409, "conflict")
        assert hk.routes.routes() == before

    def test_routes_for_other_applications_are_rejected(self, hk: Harken, locked: Server) -> None:
        """A route is for the application of the key; one for other applications cannot be created."""
        keyed = bearing(hk)
        for applications in (["shop"], ["default", "shop"]):
            body = {"channel": "good", "applications": applications}
            problem(locked.ask("PUT", "/api/routes/mine", json=body, **keyed), 403, "forbidden")
        assert locked.get("/api/routes", **keyed)["routes"] == []
        body = {"channel": "good", "applications": []}
        assert locked.ask("PUT", "/api/routes/mine", json=body, **keyed).json()["applications"] == ["default"]

    def test_routes_of_another_application(self, hk: Harken, locked: Server) -> None:
        """A route of another application is not shown and cannot be removed, and its name is taken."""
        theirs = locked.ask("PUT", "/api/routes/x", json={"channel": "good"}, **bearing(hk, "shop")).json()
        keyed = bearing(hk)
        assert locked.get("/api/routes", **keyed)["routes"] == []
        problem(locked.ask("DELETE", "/api/routes/x", **keyed), 404, "not-found")
        problem(locked.ask("PUT", "/api/routes/x", json={"channel": "good"}, **keyed), 409, "conflict")
        assert locked.get("/api/routes", **bearing(hk, "shop"))["routes"] == [theirs]

    def test_invalid_routes(self, hk: Harken, server: Server) -> None:
        """An unknown channel or an invalid template is rejected, and nothing is stored."""
        answer = server.ask("PUT", "/api/routes/x", json={"channel": "nowhere"})
        assert "expected one of good, bad" in problem(answer, 409, "conflict")["detail"]
        answer = server.ask("PUT", "/api/routes/x", json={"channel": "good", "template": "{% for %}"})
        assert "template" in problem(answer, 422, "invalid")["detail"]
        ones = ",".join("1" * 100)
        costly = f"{{{{ [{ones}]|join([{ones}]|join([{ones}]|join('aaaaaaaaaa'))) }}}}"
        answer = server.ask("PUT", "/api/routes/x", json={"channel": "good", "template": costly})
        assert "too much work" in problem(answer, 422, "invalid")["detail"]
        problem(server.ask("PUT", "/api/routes/x", json={"channel": "good", "name": "y"}), 422, "invalid")
        problem(server.ask("PUT", "/api/routes/x%20y", json={"channel": "good"}), 422, "invalid")
        answer = server.ask("PUT", "/api/routes/x", json={"channel": "good", "events": ["feedback.erased"]})
        assert "it cannot be routed" in problem(answer, 422, "invalid")["detail"]
        assert server.get("/api/routes")["routes"] == []

    def test_the_number_is_limited(self, hk: Harken, server: Server) -> None:
        """The number of routes of an application is limited; existing ones can be replaced."""
        for number in range(MAX_ROUTES):
            assert server.ask("PUT", f"/api/routes/r-{number}", json={"channel": "good"}).ok
        problem(server.ask("PUT", "/api/routes/more", json={"channel": "good"}), 409, "conflict")
        assert server.ask("PUT", "/api/routes/r-7", json={"channel": "bad"}).ok
        assert server.ask("PUT", "/api/routes/more?application=shop", json={"channel": "good"}).ok


class TestAlerts:
    @pytest.fixture
    def raised(self, hk: Harken, clock: ManualClock) -> list[str]:
        """The ids of alerts, the most recent first. The first one is resolved, and one is of another application."""
        for session, application in (("a", "default"), ("b", "default"), ("c", "shop"), ("d", "default")):
            for _ in range(2):
                hk.submit(session, "down", "slow", application=application)
            hk.relay.run_due()
            clock.turn(hours=1)
        hk.submit("a", "up")
        hk.relay.run_due()
        return [alert.id for alert in hk.alerts.find("default")]

    def test_are_found(self, hk: Harken, server: Server, clock: ManualClock, raised: list[str]) -> None:
        """Alerts are filtered by state, rule and time, the most recent first, and each is found by its id."""
        last, second, first = raised

        def ids(query: str) -> list[str]:
            return [one["id"] for one in server.get(f"/api/alerts?{query}")["alerts"]]

        since = (clock.now - timedelta(hours=3)).isoformat().replace("+", "%2B")
        assert ids("") == ids("rule=two-downs") == raised
        assert (ids("open=true"), ids("open=false")) == ([last, second], [first])
        assert ids(f"since={since}") == [last, second]
        assert ids("rule=none") == []
        shown = server.get(f"/api/alerts/{last}")
        assert (shown["rule"], shown["kind"]) == ("two-downs", "streak")
        assert shown["subject"] == {"by": "session", "value": "d"}
        assert len(shown["feedback_ids"]) == 2
        assert (shown["application"], shown["resolved_at"]) == ("default", None)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_pages(self, server: Server, raised: list[str], limit: int) -> None:
        """Paging returns each alert once."""
        found: list[str] = []
        path = f"/api/alerts?limit={limit}"
        while path:
            answer = server.ask("GET", path)
            page = answer.json()
            found += [one["id"] for one in page["alerts"]]
            path = answer.links["next"]["url"] if page["next"] else ""
        assert found == raised
        problem(server.ask("GET", "/api/alerts?after=nothing"), 404, "not-found")

    def test_of_one_application(self, hk: Harken, locked: Server, raised: list[str]) -> None:
        """Alerts of another application are not found."""
        shop = bearing(hk, "shop")
        (theirs,) = locked.get("/api/alerts", **shop)["alerts"]
        assert theirs["id"] not in raised
        for path in (f"/api/alerts/{raised[0]}", f"/api/alerts?after={raised[0]}"):
            problem(locked.ask("GET", path, **shop), 404, "not-found")


class TestQueue:
    @pytest.fixture
    def hk(self, clock: ManualClock) -> Iterator[Harken]:
        """A Harken that holds suspected spam, with an alert rule for its moderation queue."""
        rule = {"name": "moderation", "kind": "queue", "longer_than": 1, "older_than": "1h", "resolve_after": "10m"}
        with harken.connect("memory://", clock=clock, spam="hold", alert_rules=[rule]) as connected:
            yield connected

    def test_a_queue_that_is_too_long(self, hk: Harken, server: Server, clock: ManualClock) -> None:
        """The alert has the counts, and is resolved when the queue has been short for long enough."""
        spam = {"rating": "up", "comment": "Click here to win"}
        for _ in range(2):
            assert server.ask("POST", "/api/sessions/s/feedback", json=spam).ok
        held = [one.id for one in hk.moderation.queue(hk.query()).items]
        assert len(held) == 2
        clock.turn(minutes=3)
        hk.relay.run_due()
        (alert,) = server.get("/api/alerts?rule=moderation")["alerts"]
        assert (alert["kind"], alert["figures"]) == ("queue", {"waiting": 2, "seconds": 180})
        assert alert["subject"] == {"by": "application", "value": "default"}
        assert alert["began_at"] == "2026-03-04T12:00:00.000000Z"
        for feedback_id in held:
            assert server.ask("POST", f"/api/feedback/{feedback_id}/moderation", json={"status": "approved"}).ok
        for minutes, count in ((1, 1), (10, 0)):
            clock.turn(minutes=minutes)
            hk.relay.run_due()
            assert len(server.get("/api/alerts?open=true")["alerts"]) == count


class TestReplies:
    def test_are_in_the_response(self, hk: Harken, server: Server) -> None:
        """The author of a thumbs-down gets the reply from every endpoint, and it is stored with the feedback."""
        for path in ("/api/sessions/s/feedback", "/api/feedback?session_id=s"):
            for headers in ({}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}):
                answer = server.post(path, DOWN, headers=headers)
                assert answer["reply"] == "Sorry. What was wrong?"
                assert server.get(f"/api/feedback/{answer['feedback_id']}")["reply"] == answer["reply"]
            assert "reply" not in server.post(path, {"rating": "up"})

    def test_to_a_vote(self, server: Server) -> None:
        """The receipt of a vote has its reply, if there is one."""
        path = "/api/sessions/s/messages/m/feedback?author=kim"
        for rating, expected in (("up", None), ("down", "Sorry. What was wrong?"), (None, None)):
            answer = server.ask("PUT", path, json={"rating": rating, "comment": "slow"})
            assert answer.status_code == 200
            (vote,) = server.get("/api/sessions/s/votes?author=kim")["votes"]
            assert vote["reply"] == expected
            assert answer.json().get("reply") == expected
            assert answer.json()["feedback_id"] == vote["feedback_id"]


class TestRelay:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The settings of the working directory apply."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HARKEN_STORAGE", f"sqlite:///{tmp_path}/feedback.db")

    @pytest.mark.parametrize("relay", [True, False])
    def test_runs_with_the_application(self, relay: bool) -> None:
        """An application that connects its own Harken runs the relay until it ends, unless the settings disable it."""
        app = create_app(ServerSettings(**OPEN, relay=relay, relay_concurrency=1))
        assert not app.state.harken.relay.running
        with serving(app) as server:
            assert app.state.harken.relay.running == relay
            server.post("/api/sessions/s/feedback", {"rating": "up"})
            if relay:
                eventually(lambda: server.get("/api/deliveries?state=delivered")["deliveries"])
        assert not app.state.harken.relay.running

    def test_a_given_harken(self, hk: Harken) -> None:
        """The relay of a Harken that is passed to the application is neither started nor stopped."""
        with served(hk):
            assert not hk.relay.running
        hk.start_relay()
        with served(hk):
            assert hk.relay.running
        assert hk.relay.running

    @pytest.mark.parametrize("number", [0, -1])
    def test_an_invalid_concurrency(self, number: int) -> None:
        """An invalid concurrency is rejected."""
        with pytest.raises(harken.ConfigurationError, match="relay_concurrency must be at least 1"):
            ServerSettings(relay_concurrency=number)


class TestWhatPeopleSee:
    """The page of deliveries and alerts, over HTTP."""

    def test_attempts_and_causes(self, hk: Harken, server: Server, channels: Channels) -> None:
        """A delivery shows its attempts; the summary has the numbers, the commonest cause and its latest delivery."""
        given(hk, 2)
        summary = server.get("/api/deliveries/summary")
        assert {name: summary[name] for name in ("pending", "delivered", "dead")} == {
            "pending": 0,
            "delivered": len(channels.good.ids),
            "dead": 2,
        }
        (cause,) = summary["causes"]
        assert (cause["channel"], cause["cause"], cause["count"]) == ("bad", "400 Bad Request", 2)
        (attempt,) = cause["latest"]["history"]
        assert attempt == {
            "at": "2026-03-04T12:00:00.000000Z",
            "seconds": attempt["seconds"],
            "outcome": "failed",
            "status": "400 Bad Request",
            "words": "unknown field",
            "error": "The receiver answered 400",
        }
        (bad,) = (one for one in summary["channels"] if one["channel"] == "bad")
        assert bad == {"channel": "bad", "pending": 0, "delivered": 0, "dead": 2}
        assert server.get("/api/deliveries/summary?cause=other")["dead"] == 0
        later = server.get("/api/deliveries/summary?delivered_since=2026-03-04T13:00:00Z")
        assert later["delivered"] == 0

    def test_filters(self, hk: Harken, server: Server) -> None:
        """By feedback in any state, by type, by cause and the newest first; a wrong filter is rejected."""
        given(hk, 2)
        feedback_id = hk.submit("s", "up").feedback.id
        hk.relay.run_due()
        about = server.get(f"/api/deliveries?feedback_id={feedback_id}")["deliveries"]
        assert {one["channel"]: one["state"] for one in about} == {"bad": "dead", "good": "delivered"}
        assert server.get(f"/api/deliveries?feedback_id={feedback_id}&state=pending")["deliveries"] == []
        assert server.get(f"/api/deliveries?alert_id={feedback_id}")["deliveries"] == []
        oldest = server.get("/api/deliveries?state=any")["deliveries"]
        assert server.get("/api/deliveries?state=any&newest_first=true")["deliveries"] == oldest[::-1]
        assert len(server.get("/api/deliveries?cause=400+Bad+Request")["deliveries"]) == 3
        assert server.get("/api/deliveries?type=feedback.erased")["deliveries"] == []
        for wrong in ("type=feedback", "state=none", "newest_first=1", "feedback_id=a&alert_id=b", "cause=%00"):
            problem(server.ask("GET", f"/api/deliveries?{wrong}"), 422, "invalid")

    def test_replaying_no_more_than_was_counted(self, hk: Harken, server: Server, clock: ManualClock) -> None:
        """``as_of`` and ``at_most`` limit a replay; ids select deliveries; nothing goes to a channel that is off."""
        given(hk, 3)
        clock.turn(seconds=1)
        as_of = server.get("/api/deliveries/summary")["as_of"]
        clock.turn(seconds=1)
        given(hk, 1)
        selected = {"as_of": as_of, "cause": "400 Bad Request", "channel": "bad"}
        assert server.post("/api/deliveries/replay", {**selected, "at_most": 2}, status=200) == {"replayed": 2}
        assert server.post("/api/deliveries/replay", selected, status=200) == {"replayed": 1}
        assert server.post("/api/deliveries/replay", selected, status=200) == {"replayed": 0}
        for outside in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
            problem(server.ask("POST", "/api/deliveries/replay", json={"as_of": outside}), 422, "invalid")
        (left,) = server.get("/api/deliveries")["deliveries"]
        server.post("/api/channels/bad/off", {"reason": "it moves"}, status=200)
        for path, body in (
            ("/api/deliveries/replay", {"ids": [left["id"]]}),
            ("/api/deliveries/replay", {}),
            (f"/api/deliveries/{left['id']}/replay", None),
        ):
            refused = problem(server.ask("POST", path, json=body), 409, "conflict")
            assert refused["detail"].startswith("Channel 'bad' has been off since 2026-03-04 12:00 UTC: it moves.")
        assert server.get(f"/api/deliveries/{left['id']}") == left
        server.post("/api/channels/bad/on", None, status=200)
        assert server.post("/api/deliveries/replay", {"ids": [left["id"]]}, status=200) == {"replayed": 1}
        assert server.get(f"/api/deliveries/{left['id']}")["state"] == "pending"
        for wrong in ({"ids": "a"}, {"ids": [1]}, {"ids": [], "channel": "bad"}, {"at_most": True}, {"at_most": -1}):
            problem(server.ask("POST", "/api/deliveries/replay", json=wrong), 422, "invalid")
        problem(server.ask("POST", "/api/deliveries/replay", json={"ids": ["nothing"]}), 404, "not-found")

    def test_numbers_are_those_of_one_application(self, hk: Harken, locked: Server) -> None:
        """A key counts deliveries of its own application only."""
        given(hk, 2)
        given(hk, 1, "shop")
        assert locked.get("/api/deliveries/summary", **bearing(hk))["dead"] == 2
        shop = bearing(hk, "shop")
        assert locked.get("/api/deliveries/summary", **shop)["dead"] == 1
        good, bad = locked.get("/api/channels", **shop)["channels"]
        assert (good["dead"], bad["dead"], good["delivered"]) == (0, 1, 1)

    def test_an_alert_links_to_its_feedback(self, hk: Harken, server: Server) -> None:
        """The selection of an alert has the filters that find exactly the feedback that it is about."""
        for _ in range(2):
            hk.submit("session-1", "down", "slow")
        hk.submit("session-2", "down", "slow")
        hk.relay.run_due()
        (alert,) = server.get("/api/alerts?open=true")["alerts"]
        assert (alert["satisfaction"], alert["interval"], alert["thumbs"]) == (None, None, None)
        query = "&".join(f"{name}={value}" for name, value in alert["selection"].items())
        found = server.get(f"/api/feedback?{query}")["feedbacks"]
        assert sorted(one["id"] for one in found) == sorted(alert["feedback_ids"])
        notified = server.get(f"/api/deliveries?alert_id={alert['id']}")["deliveries"]
        assert {one["channel"]: one["state"] for one in notified} == {"bad": "dead", "good": "delivered"}

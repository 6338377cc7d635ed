"""The settings page: keys and routes of one application, without JavaScript."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from attrs import evolve

import harken
from channels import Recorder
from harken import Harken, Rating, Route
from harken.domain.events import EventType
from hosts.serving import Server
from hosts.web.site import Visitor, links_of, served_at, texts_of
from support import ManualClock, eventually

pytestmark = pytest.mark.slow

SETTINGS = "/dashboard/settings"
OF_ANN: Any = {"ratings": [Rating.DOWN], "agents": ["Ann"], "applications": ["default"]}
SESSIONS = "session.metadata_updated"
CONFIGURED = Route(name="from-settings", channel="support", ratings=[Rating.UP])


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with two channels, and a route in its settings."""
    channels = {"team": Recorder(), "support": Recorder()}
    with harken.connect("memory://", clock=clock, channels=channels, routes=[CONFIGURED]) as connected:
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys") as serving:
        yield serving


@pytest.fixture
def admin(hk: Harken, server: Server) -> Visitor:
    """Somebody who is signed in with a key for everything."""
    return Visitor.signed_in(server, hk.keys.create("default", ["admin"], name="ops").text)


def own_routes(hk: Harken) -> list[Route]:
    """The stored routes."""
    return [route for route in hk.routes.routes() if not hk.routes.configured(route.name)]


def change_of(admin: Visitor, name: str) -> str:
    """The state of a route in the form that changes it."""
    page = admin.page(SETTINGS)
    link = next(link for link in links_of(page) if f"name={name}" in link and link.endswith("#route-form"))
    (form,) = (form for form in admin.page(link).forms if ("dry_run", "true") in form.buttons)
    return dict(form.fields)["seen"]


class TestKeys:
    def test_keys_are_listed(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """Valid keys with their scopes, agents and last use, and revoked ones; no digest."""
        made = hk.keys.create("default", ["read", "submit"], name="web <b>", agents=["Ann & Co"])
        gone = hk.keys.create("default", ["read"], name="old report")
        hk.keys.revoke(gone.key.id)
        hk.keys.authenticate(made.text)
        eventually(lambda: any(key.last_used_at and key.id == made.key.id for key in hk.keys.keys("default")))
        clock.turn(hours=3)
        page = admin.page(SETTINGS)
        text = texts_of(page)
        assert "2 keys give access, 1 route sends notifications" in text
        assert f"web <b> {made.key.id} submit read for Ann & Co" in text
        assert "used 3 h ago" in text
        assert "1 revoked key" in text
        assert f"old report {gone.key.id}" in text
        assert "ops yours" in text
        assert made.key.digest not in page.text
        assert not page.attributes("b") or "<b>" not in [name for name, _ in page.elements]

    def test_access_without_keys(self, hk: Harken, clock: ManualClock) -> None:
        """Where access is open, the page does not say that a key is needed."""
        with served_at(hk, clock) as server:
            text = texts_of(Visitor(server).page(SETTINGS))
        assert "Access is open, 1 route sends notifications" in text
        assert "There is no key. Access is open: the API can be used without one." in text

    def test_keys_that_nobody_uses_are_counted(self, hk: Harken, clock: ManualClock, server: Server) -> None:
        """A key that was not used for 90 days is probably not needed."""
        hk.keys.create("default", ["read"])
        clock.turn(days=91)
        fresh = hk.keys.create("default", ["admin"])
        assert "1 key was not used in the last 90 days" in texts_of(
            Visitor.signed_in(server, fresh.text).page(SETTINGS)
        )

    def test_a_new_key_is_shown_once(self, hk: Harken, admin: Visitor) -> None:
        """The response to the form has the key, is not stored or compressed, and no other page has it."""
        form = {"name": "web backend", "scopes": ["submit", "read"], "agents": "Ann\r\n\r\n Bob "}
        answer = admin.post(f"{SETTINGS}/keys", form)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "content-encoding" not in answer.headers
        made = next(key for key in hk.keys.keys("default") if key.name == "web backend")
        text = next(word for word in answer.text.replace("<", " ").replace(">", " ").split() if word.startswith("hk_"))
        assert hk.keys.authenticate(text) == made
        assert (made.name, made.agents, {scope.value for scope in made.scopes}) == (
            "web backend",
            {"Ann", "Bob"},
            {"submit", "read"},
        )
        assert text not in admin.get(SETTINGS).text

    @pytest.mark.parametrize("name", ["web backend", ""])
    def test_reloading_creates_no_second_key(self, hk: Harken, admin: Visitor, name: str) -> None:
        """The same form that is sent again creates nothing; another key from the same page is created."""
        (form,) = (form for form in admin.page(SETTINGS).forms if "once" in dict(form.fields))
        sent = form.data(name=name, scopes="read")
        assert admin.post(f"{SETTINGS}/keys", sent).status_code == 200
        answer = admin.post(f"{SETTINGS}/keys", sent)
        assert answer.status_code == 409
        assert "This key has already been created." in answer.text
        assert "hk_" not in answer.text
        assert len(hk.keys.keys("default")) == 2
        assert admin.post(f"{SETTINGS}/keys", form.data(name="another", scopes="read")).status_code == 200

    def test_names_of_valid_keys_differ(self, hk: Harken, admin: Visitor) -> None:
        """As decisions are recorded under them. The name of a revoked key, or of another application, is free."""
        hk.keys.create("shop", ["read"], name="Ann")
        first = hk.keys.create("default", ["read"], name="Ann")
        answer = admin.post(f"{SETTINGS}/keys", {"name": "ann", "scopes": "moderate"})
        assert answer.status_code == 409
        assert "There is a key with the name “ann” already." in answer.text
        assert 'value="ann"' in answer.text
        assert len(hk.keys.keys("default")) == 2
        hk.keys.revoke(first.key.id)
        assert admin.post(f"{SETTINGS}/keys", {"name": "ann", "scopes": "moderate"}).status_code == 200

    def test_addresses_of_forms_lead_to_the_page(self, admin: Visitor) -> None:
        """The response to a form has its address, which a browser may load again."""
        for path in ("keys", "routes"):
            answer = admin.get(f"{SETTINGS}/{path}?zone=UTC")
            assert (answer.status_code, answer.headers["location"]) == (303, f"{SETTINGS}?zone=UTC")

    @pytest.mark.parametrize(
        ("form", "why"),
        [
            ({"name": "x"}, "A key needs at least one scope"),
            ({"name": "x", "scopes": "all"}, "Unknown scope 'all'"),
            ({"name": "x" * 201, "scopes": "read"}, "name too long"),
            ({"name": "x", "scopes": "read", "agents": "a" * 201}, "agent too long"),
        ],
    )
    def test_an_invalid_key_is_not_created(self, hk: Harken, admin: Visitor, form: dict[str, str], why: str) -> None:
        """The page says why, and the form keeps what was typed."""
        answer = admin.post(f"{SETTINGS}/keys", form)
        assert answer.status_code == 422
        assert why in answer.text.replace("&#39;", "'")
        assert f'value="{form["name"]}"' in answer.text
        assert [key.name for key in hk.keys.keys("default")] == ["ops"]

    def test_a_key_is_revoked(self, hk: Harken, admin: Visitor) -> None:
        """The form to revoke a key names it, and leads back to the list."""
        made = hk.keys.create("default", ["read"], name="weekly report")
        assert "Revoke weekly report" in texts_of(admin.page(SETTINGS))
        answer = admin.post(f"{SETTINGS}/keys/{made.key.id}", {})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{SETTINGS}?done=revoked#main")
        assert {key.name: key.revoked for key in hk.keys.keys("default")} == {"ops": False, "weekly report": True}
        assert "The key is revoked" in texts_of(admin.page(f"{SETTINGS}?done=revoked"))
        assert admin.post(f"{SETTINGS}/keys/none", {}).status_code == 404


class TestRoutes:
    def test_routes_are_sentences(self, hk: Harken, admin: Visitor) -> None:
        """Each route says what goes where, and which cannot be changed here."""
        hk.routes.put(
            Route(name="downs", channel="team", ratings=[Rating.DOWN], agents=["Ann"], applications=["default"])
        )
        hk.routes.put(Route(name="for-all", channel="team"))
        text = texts_of(admin.page(SETTINGS))
        own = "Thumbs-up feedback goes to support settings from-settings"
        assert f"{own} · change it in the settings of the service" in text
        assert "Everything goes to team shared for-all" in text
        assert "Thumbs-down feedback about Ann goes to team downs" in text
        assert "Remove downs" in text
        assert "Remove from-settings" not in text
        assert "Remove for-all" not in text

    def test_a_route_is_added_changed_and_removed(self, hk: Harken, admin: Visitor) -> None:
        """A form stores a route for this application only; saving it again keeps a text that the form does not have."""
        form = {"name": "downs", "channel": "team", "ratings": "down", "agents": "Ann\nBob", "tags": " slow "}
        answer = admin.post(f"{SETTINGS}/routes", form)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{SETTINGS}?done=saved#main")
        stored = Route(
            name="downs",
            channel="team",
            ratings=[Rating.DOWN],
            agents=["Ann", "Bob"],
            tags=["slow"],
            applications=["default"],
        )
        assert own_routes(hk) == [stored]
        hk.routes.put(evolve(stored, template="{{ comment }}"))
        seen = change_of(admin, "downs")
        changed = {"name": "downs", "channel": "support", "events": "alert.raised", "seen": seen}
        assert admin.post(f"{SETTINGS}/routes", changed).status_code == 303
        assert own_routes(hk) == [
            Route(
                name="downs",
                channel="support",
                events=[EventType.ALERT_RAISED],
                applications=["default"],
                template="{{ comment }}",
            )
        ]
        answer = admin.post(f"{SETTINGS}/routes/downs", {})
        assert (answer.status_code, own_routes(hk)) == (303, [])
        assert admin.post(f"{SETTINGS}/routes/downs", {}).status_code == 404

    def test_adding_never_replaces(self, hk: Harken, admin: Visitor) -> None:
        """A new route needs a name of its own: the page says so, keeps what was typed, and how to change the other."""
        stored = Route(name="downs", channel="team", ratings=[Rating.DOWN], applications=["default"])
        hk.routes.put(stored)
        answer = admin.post(f"{SETTINGS}/routes", {"name": "downs", "channel": "support", "tags": "typed"})
        assert answer.status_code == 409
        assert "choose another name, or change that route" in answer.text
        assert ">typed</textarea>" in answer.text
        assert own_routes(hk) == [stored]

    @pytest.mark.parametrize("other", ["change", "removal"])
    def test_two_administrators_change_a_route(self, hk: Harken, admin: Visitor, other: str) -> None:
        """The page says to the second one that it was changed or removed meanwhile, and nothing is replaced."""
        hk.routes.put(Route(name="downs", channel="team", ratings=[Rating.DOWN], applications=["default"]))
        seen = change_of(admin, "downs")
        if other == "change":
            admin.post(f"{SETTINGS}/routes", {"name": "downs", "channel": "support", "seen": seen})
        else:
            admin.post(f"{SETTINGS}/routes/downs", {})
        before = own_routes(hk)
        answer = admin.post(f"{SETTINGS}/routes", {"name": "downs", "channel": "team", "tags": "typed", "seen": seen})
        assert answer.status_code == 409
        assert "was changed or removed meanwhile" in answer.text
        assert ">typed</textarea>" in answer.text
        assert own_routes(hk) == before

    @pytest.mark.parametrize(
        ("form", "status", "why"),
        [
            ({"name": "a b", "channel": "team"}, 422, "A route's name must have 1 to 64 letters"),
            ({"name": "x", "channel": "none"}, 409, "Unknown channel 'none'"),
            ({"name": "x"}, 422, "A channel's name must have"),
            ({"name": "x", "channel": "team", "ratings": "good"}, 422, "ratings of route 'x'"),
            ({"name": "x", "channel": "team", "ratings": "up", "events": SESSIONS}, 422, "'ratings' never matches it"),
            ({"name": "from-settings", "channel": "team"}, 409, "is used by a route that cannot be changed here"),
        ],
    )
    def test_an_invalid_route_is_not_added(
        self, hk: Harken, admin: Visitor, form: dict[str, str], status: int, why: str
    ) -> None:
        """The page says why, in an alert, and the form keeps what was typed."""
        answer = admin.post(f"{SETTINGS}/routes", {**form, "tags": "typed"})
        assert answer.status_code == status
        assert why in answer.text.replace("&#39;", "'")
        assert 'role="alert"' in answer.text
        assert ">typed</textarea>" in answer.text
        assert own_routes(hk) == []
        tried = admin.get(f"{SETTINGS}?{urlencode({**form, 'dry_run': 'true'})}")
        assert (why in tried.text.replace("&#39;", "'")) == (form["name"] != CONFIGURED.name)

    def test_a_dry_run(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """A link says what a route would have sent in the last day, with examples, and fills the form."""
        hk.submit("s", "down", "too old", agent_id="Ann")
        clock.turn(hours=24, seconds=1)
        for number in range(3):
            hk.submit("s", "down", f"slow {number}", agent_id="Ann")
        hk.submit("s", "up", "fine", agent_id="Ann")
        hk.routes.put(
            Route(name="downs", channel="team", ratings=[Rating.DOWN], agents=["Ann"], applications=["default"])
        )
        link = next(link for link in links_of(admin.page(SETTINGS)) if "name=downs" in link)
        page = admin.page(link)
        text = texts_of(page)
        sentence = "“Thumbs-down feedback about Ann goes to team”"
        assert f"{sentence} would have matched 3 of the 4 responses of the last 24 hours" in text
        assert "slow 2" in text
        assert "too old" not in text
        (form,) = (form for form in page.forms if ("dry_run", "true") in form.buttons)
        assert {("ratings", "down"), ("agents", "Ann")} <= set(form.fields)
        assert hk.deliveries.find("pending") == []

    def test_a_route_for_changes_of_sessions(self, hk: Harken, admin: Visitor) -> None:
        """It can be added and tried; a dry run says that changes are not counted."""
        assert "session metadata" in texts_of(admin.page(SETTINGS))
        form = {"name": "sessions", "channel": "team", "events": SESSIONS}
        assert admin.post(f"{SETTINGS}/routes", form).status_code == 303
        (route,) = own_routes(hk)
        assert route.events == {EventType.SESSION_UPDATED}
        link = next(link for link in links_of(admin.page(SETTINGS)) if "name=sessions" in link)
        text = texts_of(admin.page(link))
        assert "“Changes of session metadata go to team” would have matched 0" in text
        assert "Changes of session metadata are not stored, so they are not counted." in text

    def test_without_channels_there_is_no_form(self, clock: ManualClock) -> None:
        """A service without channels says where they are defined."""
        with harken.connect("memory://", clock=clock, channels={}) as hk, served_at(hk, clock, access="keys") as server:
            admin = Visitor.signed_in(server, hk.keys.create("default", ["admin"]).text)
            page = admin.page(SETTINGS)
        assert "Channels are defined in the settings of the service" in texts_of(page)
        assert all(("dry_run", "true") not in form.buttons for form in page.forms)


class TestAccess:
    @pytest.mark.parametrize("scope", ["submit", "read", "moderate"])
    def test_other_scopes_see_nothing(self, hk: Harken, server: Server, scope: str) -> None:
        """Without the scope admin, nothing is shown, created, revoked, saved or removed."""
        other = hk.keys.create("default", ["read"])
        visitor = Visitor.signed_in(server, hk.keys.create("default", [scope]).text)
        before = hk.keys.keys()
        visitor.page(SETTINGS, status=403)
        assert visitor.post(f"{SETTINGS}/keys", {"scopes": "admin"}).status_code == 403
        assert visitor.post(f"{SETTINGS}/keys/{other.key.id}", {}).status_code == 403
        assert visitor.post(f"{SETTINGS}/routes", {"name": "x", "channel": "team"}).status_code == 403
        assert hk.keys.keys() == before
        assert own_routes(hk) == []

    def test_tenants_are_separate(self, hk: Harken, server: Server, admin: Visitor) -> None:
        """An administrator of one application sees and changes neither keys nor routes of another."""
        foreign = hk.keys.create("shop", ["admin"], name="till")
        hk.routes.put(Route(name="shop-downs", channel="team", ratings=[Rating.DOWN], applications=["shop"]))
        before, routes = hk.keys.keys(), hk.routes.routes()
        answer = admin.get(SETTINGS).text
        for secret in ("till", foreign.key.id, "shop"):
            assert secret not in answer
        assert admin.post(f"{SETTINGS}/keys/{foreign.key.id}", {}).status_code == 404
        assert admin.post(f"{SETTINGS}/routes/shop-downs", {}).status_code == 404
        form = {"name": "shop-downs", "channel": "support"}
        assert admin.post(f"{SETTINGS}/routes", form).status_code == 409
        for path in (f"{SETTINGS}/keys", f"{SETTINGS}/routes", SETTINGS):
            asked = f"{path}?application=shop"
            assert admin.post(asked, {"scopes": "read", **form}).status_code in (403, 405)
        admin.page(f"{SETTINGS}?application=shop", status=403)
        assert (hk.keys.keys(), hk.routes.routes()) == (before, routes)

    def test_keys_for_agents_manage_such_keys_only(self, hk: Harken, server: Server) -> None:
        """An administrator of some agents sees their keys and no routes, and cannot create more than the own rights."""
        mine, other = (hk.keys.create("default", ["read"], agents=[agent]) for agent in ("Ann", "Bob"))
        for_all = hk.keys.create("default", ["read"])
        visitor = Visitor.signed_in(server, hk.keys.create("default", ["admin"], agents=["Ann", "Zoe"]).text)
        text = visitor.get(SETTINGS).text
        assert mine.key.id in text
        assert other.key.id not in text
        assert for_all.key.id not in text
        assert "Routes" not in text
        assert visitor.post(f"{SETTINGS}/keys", {"scopes": "admin", "agents": "Bob"}).status_code == 403
        assert visitor.post(f"{SETTINGS}/keys/{for_all.key.id}", {}).status_code == 404
        assert visitor.post(f"{SETTINGS}/routes", {"name": "x", "channel": "team"}).status_code == 403
        assert visitor.post(f"{SETTINGS}/keys", {"scopes": "admin"}).status_code == 200
        assert sorted(len(key.agents or ()) for key in hk.keys.keys("default")) == [0, 1, 1, 2, 2]

    def test_forms_of_other_sites_are_refused(self, hk: Harken, admin: Visitor) -> None:
        """A page of another site cannot create a key with the sign-in of a browser."""
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert admin.post(f"{SETTINGS}/keys", {"scopes": "admin"}, **headers).status_code == 403
        assert len(hk.keys.keys()) == 1

    def test_a_body_that_is_not_a_form(self, admin: Visitor) -> None:
        """A body that is not a form is refused without a failure."""
        for body in (b"\xff=1", b"a=%ff", b"&".join(b"a=1" for _ in range(300))):
            answer = admin.post(f"{SETTINGS}/keys", body, **{"Content-Type": "application/x-www-form-urlencoded"})
            assert answer.status_code == 400

"""Browser sessions: what the cookie permits, when it ends, and what other pages and services can do with it."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from attrs import frozen
from tests.reliability.http_processes import serve

import harken
from harken import Harken
from harken.clock import utc_now
from harken_adapters.hosts.flask import create_app as create_flask_app
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.browser_sessions import BrowserSessions
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.sign_in.paths import own_path
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.tokens import SessionTokens
from harken_adapters.tokens.signing import Signer
from hosts.serving import OPEN, Server, call_operation, problem, served, served_api, serving_wsgi, signed_in
from support import PATIENCE, ManualClock, eventually, in_threads

SECRET = "a secret that has thirty-two bytes or more"
PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
HOUR = timedelta(hours=1)


class Timer:
    """Monotonic seconds, for the cache of credentials."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@frozen
class Service:
    """A service with a clock and a timer of its own."""

    hk: Harken
    server: Server
    clock: ManualClock
    timer: Timer
    api: Api

    def sign_in(self, *scopes: str, **options: Any) -> dict[str, str]:
        """The cookie and origin of a browser that has signed in with a new key."""
        key = self.hk.keys.create("default", scopes or ["admin"], **options)
        return self.own_page(signed_in(self.server, key.text))

    def own_page(self, cookie: dict[str, str]) -> dict[str, str]:
        """The headers of a request that a page of the service sends."""
        return {**cookie, "Origin": self.server.url}

    def status(self, headers: dict[str, str]) -> int:
        """The status of a request that reads feedback."""
        return self.server.ask("GET", "/api/feedback", headers=headers).status_code

    def post(self, path: str, headers: dict[str, str], **fields: str) -> requests.Response:
        """Send a form of a page."""
        return self.server.ask("POST", path, data=fields, headers=headers, allow_redirects=False)


@contextmanager
def serving_a_service(hk: Harken, **settings: Any) -> Iterator[Service]:
    """Serve a Harken with credentials required."""
    clock, timer = ManualClock(), Timer()
    api = Api(hk, ServerSettings(**{**OPEN, "access": "keys", **settings}), clock=clock, timer=timer)
    with served_api(api) as server:
        yield Service(hk, server, clock, timer, api)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that needs credentials."""
    with harken.connect("memory://") as hk, serving_a_service(hk) as serving:
        yield serving


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Service]]:
    """Two services on one storage, as two worker processes are."""
    with ExitStack() as opened:
        url = f"sqlite:///{tmp_path}/feedback.db"
        yield [
            opened.enter_context(serving_a_service(opened.enter_context(harken.connect(url)), sentiment="none"))
            for _ in range(2)
        ]


class TestEnd:
    def test_after_twelve_hours(self, service: Service) -> None:
        """A session ends after 12 hours; the page then leads back to what was asked for, and says why."""
        headers = service.sign_in()
        service.clock.turn(hours=12, seconds=-1)
        assert service.status(headers) == 200
        service.clock.turn(seconds=1)
        assert service.status(headers) == 401
        answer = service.server.ask("GET", "/demo?a=1", headers=headers, allow_redirects=False)
        assert answer.headers["location"] == "/sign-in?next=%2Fdemo%3Fa%3D1&ended="
        assert "Your sign-in has ended." in service.server.ask("GET", answer.headers["location"]).text

    def test_staying(self, service: Service) -> None:
        """A page can extend a session by 12 hours, up to 24 hours after signing in. The earlier cookie still ends."""
        headers = service.sign_in()
        first = service.server.get("/sign-in/current", headers=headers)
        service.clock.turn(hours=11)
        answer = service.post("/sign-in/stay", headers, next="/demo")
        assert (answer.status_code, answer.headers["location"]) == (303, "/demo")
        later = service.own_page({"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        second = service.server.get("/sign-in/current", headers=later)
        assert (first["can_stay"], second["can_stay"]) == (True, True)
        assert (first["expires_at"], second["expires_at"]) == (
            "2026-03-05T00:00:00.000000Z",
            "2026-03-05T11:00:00.000000Z",
        )
        service.clock.turn(hours=2)
        assert (service.status(headers), service.status(later)) == (401, 200)
        answer = service.post("/sign-in/stay", later)
        last = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        shown = service.server.get("/sign-in/current", headers=last)
        assert (shown["expires_at"], shown["can_stay"]) == ("2026-03-05T12:00:00.000000Z", False)
        assert "Max-Age=39600;" in answer.headers["set-cookie"]
        service.clock.turn(hours=11)
        assert service.status(last) == 401

    def test_a_revoked_key(self, service: Service) -> None:
        """A session ends with its key, within five seconds, and cannot be extended after that."""
        headers = service.sign_in()
        assert service.status(headers) == 200
        service.hk.keys.revoke(service.hk.keys.keys()[0].id)
        service.timer.now += 5.1
        answer = service.server.ask("GET", "/api/feedback", headers=headers)
        assert "was revoked" in problem(answer, 401, "unauthorized")["detail"]
        assert "set-cookie" not in service.post("/sign-in/stay", headers).headers

    def test_signing_out_ends_copies_of_the_cookie(self, two: list[Service]) -> None:
        """After signing out, a stolen copy of the cookie is refused: at once here, within five seconds elsewhere."""
        here, there = two
        stolen = here.sign_in()
        kept = signed_in(here.server, here.hk.keys.create("default", ["read"]).text)
        assert (here.status(stolen), there.status(stolen)) == (200, 200)
        assert here.post("/sign-out", stolen).headers["location"] == "/sign-in?signed-out"
        there.timer.now += 5.1
        assert (here.status(stolen), there.status(stolen)) == (401, 401)
        assert (here.status(kept), there.status(kept)) == (200, 200)

    def test_signing_out_everywhere(self, two: list[Service]) -> None:
        """All sessions of a key end in all processes, but not those of other keys, and one can sign in again."""
        here, there = two
        key = here.hk.keys.create("default", ["read"]).text
        cookies = [signed_in(one.server, key) for one in two * 2]
        other = here.sign_in()
        answer = there.post("/sign-out", there.own_page(cookies[0]), everywhere="1")
        assert answer.headers["location"] == "/sign-in?signed-out&everywhere"
        assert "in all browsers" in there.server.ask("GET", answer.headers["location"]).text
        here.timer.now += 5.1
        assert {one.status(cookie) for one in two for cookie in cookies} == {401}
        assert {one.status(other) for one in two} == {200}
        assert here.server.ask("GET", "/api/feedback", headers={"Authorization": f"Bearer {key}"}).ok
        again = signed_in(here.server, key)
        assert {one.status(again) for one in two} == {200}

    @pytest.mark.parametrize("state", ["missing", "ended", "garbage"])
    def test_signing_out_everywhere_too_late(self, service: Service, state: str) -> None:
        """Without a session nobody is signed out, and the page says that, and how to do it."""
        key = service.hk.keys.create("default", ["read"]).text
        here, other = (signed_in(service.server, key) for _ in range(2))
        service.post("/sign-out", service.own_page(here))
        name = here["Cookie"].partition("=")[0]
        sent = {"missing": {}, "ended": here, "garbage": {"Cookie": f"{name}=a.b.c"}}[state]
        answer = service.post("/sign-out", service.own_page(sent), everywhere="")
        page = service.server.ask("GET", answer.headers["location"]).text
        assert "You are signed out, in all browsers" not in page
        assert "other browsers were not signed out" in page
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert service.status(other) == 200
        again = service.post("/sign-out", service.own_page(signed_in(service.server, key)), everywhere="")
        assert "in all browsers" in service.server.ask("GET", again.headers["location"]).text
        assert service.status(other) == 401

    def test_many_sign_outs_of_one_key(self, hk: Harken) -> None:
        """What is stored about ended sessions stays small, and no ended session becomes valid again."""
        clock = ManualClock()
        browsers = BrowserSessions(hk.state, clock=clock)
        ended = []
        for _ in range(450):
            session, _ = browsers.begin(key_id="k")
            browsers.end(session)
            ended.append(session)
        assert all(map(browsers.is_ended, ended))
        assert not browsers.is_ended(browsers.begin(key_id="k")[0])
        stored = hk.state.get("browser_sessions", "k")
        assert stored is not None
        assert len(str(stored.value)) < 10_000
        clock.turn(hours=25)
        browsers.end(browsers.begin(key_id="k")[0])
        stored = hk.state.get("browser_sessions", "k")
        assert stored is not None
        assert len(dict(stored.value["single"])) == 1  # type: ignore[arg-type]

    def test_signing_out_at_once(self, hk: Harken) -> None:
        """Of several browsers of one key that sign out at the same time, all are signed out."""
        browsers = BrowserSessions(hk.state, clock=utc_now)
        sessions = [browsers.begin(key_id="k")[0] for _ in range(8)]
        in_threads([lambda session=session: browsers.end(session) for session in sessions])  # type: ignore[misc]
        assert all(map(browsers.is_ended, sessions))

    def test_several_first_uses(self, hk: Harken) -> None:
        """Processes that create the secret at the same time use the same one."""
        several = [BrowserSessions(hk.state, clock=utc_now) for _ in range(8)]
        in_threads([one.load for one in several])
        _, cookie = several[0].begin(key_id="k")
        assert {one.cookie for one in several} == {several[0].cookie}
        assert {one.read(cookie).key_id for one in several} == {"k"}


class TestForgery:
    def test_an_altered_cookie(self, service: Service) -> None:
        """A cookie with another payload, signature, algorithm or secret is refused."""
        headers = service.sign_in("read")
        name, _, value = headers["Cookie"].partition("=")
        head, claims, signature = value.split(".")
        forged = [
            f"{head}.{claims}.{signature[:-2]}AA",
            f"{head}.{claims[:-4]}AAAA.{signature}",
            f"eyJhbGciOiJub25lIn0.{claims}.",
            claims,
            value[:40],
            "x" * 3_800,
        ]
        for other in (SECRET, "another secret that is long enough"):
            options: Any = {"longest": 4_000, "required": (), "check": lambda _: (), "clock": service.clock}
            signer = Signer([other], what="x", audience="harken-browser", **options)
            key_id = service.hk.keys.keys()[0].id
            forged.append(signer.sign({"sid": "s", "gen": 0, "auth_time": 1, "key": key_id}, HOUR))
        for text in forged:
            assert service.status({"Cookie": f"{name}={text}"}) == 401
            # Nor is it accepted instead of a key.
            assert service.status({"Authorization": f"Bearer {text or 'x'}"}) == 401
        assert service.status(headers) == 200

    def test_token_secrets_do_not_sign_sessions(self, hk: Harken) -> None:
        """A backend that mints session tokens for visitors cannot sign itself in, and a token is not a session."""
        token = SessionTokens([SECRET]).mint(session_id="s")
        with served(hk, access="keys", token_secrets=(SECRET,)) as server:
            key = hk.keys.create("default", ["read"])
            name = signed_in(server, key.text)["Cookie"].partition("=")[0]
            options: Any = {"longest": 4_000, "required": (), "check": lambda _: (), "clock": utc_now}
            signer = Signer([SECRET], what="x", audience="harken-browser", **options)
            made = signer.sign({"sid": "s", "gen": 0, "auth_time": 1, "key": key.key.id}, HOUR)
            for text in (token, made, key.text):
                assert server.ask("GET", PATH, headers={"Cookie": f"{name}={text}"}).status_code == 401

    def test_the_cookie_is_not_accepted_as_a_bearer(self, service: Service) -> None:
        """The cookie works only as a cookie, so that the checks against forged requests always apply."""
        value = service.sign_in()["Cookie"].partition("=")[2]
        assert service.status({"Authorization": f"Bearer {value}"}) == 401

    def test_services_on_one_host_name(self, hk: Harken) -> None:
        """Two services with different storages, which browsers do not distinguish by port, keep separate cookies; each
        ignores that of the other, also an invalid one.
        """
        with (
            harken.connect("memory://") as other,
            served(hk, access="keys") as first,
            served(other, access="keys") as second,
            requests.Session() as browser,
        ):
            for one, server in ((hk, first), (other, second)):
                key = one.keys.create("default", ["read"]).text
                assert browser.post(f"{server.url}/sign-in", data={"key": key}, timeout=PATIENCE).ok
            assert len(browser.cookies) == 2
            for server in (first, second):
                assert browser.get(f"{server.url}/api/feedback", timeout=PATIENCE).ok
            cookies = {"Cookie": "; ".join(f"{one.name}={one.value}" for one in browser.cookies)}
            assert browser.post(f"{first.url}/sign-out", timeout=PATIENCE).ok
            assert first.ask("GET", PATH, headers=cookies).status_code == 401
            assert second.ask("GET", PATH, headers=cookies).ok
            assert browser.get(f"{second.url}/api/feedback", timeout=PATIENCE).ok

    def test_another_tenant(self, service: Service) -> None:
        """The session of a tenant reads only its own feedback, and cannot choose another application."""
        service.hk.submit("s", "up", "theirs", application="shop")
        key = service.hk.keys.create("shop", ["read"]).text
        shop, mine = signed_in(service.server, key), service.sign_in()
        assert len(service.server.get("/api/feedback", headers=shop)["feedbacks"]) == 1
        assert service.server.get("/api/feedback", headers=mine)["feedbacks"] == []
        answer = service.server.ask("GET", "/api/feedback?application=shop", headers=mine)
        problem(answer, 403, "forbidden")
        assert service.server.ask("GET", "/metrics", headers=shop).status_code == 403

    def test_nothing_of_the_key_is_in_the_cookie(self, service: Service) -> None:
        """The cookie has the public id of the key, and neither its secret nor its digest."""
        key = service.hk.keys.create("default", ["read"])
        value = signed_in(service.server, key.text)["Cookie"].partition("=")[2]
        claims = urlsafe_b64decode(f"{value.split('.')[1]}==").decode()
        assert key.key.id in claims
        assert key.text.rpartition("_")[2] not in claims
        assert key.key.digest not in claims


#: What a page of another origin, or a program without one, sends.
OTHERS: list[dict[str, str]] = [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://allowed.example"},
    {"Origin": "https://allowed.example"},
]


@pytest.mark.parametrize("others", OTHERS)
def test_other_pages_change_nothing(hk: Harken, others: dict[str, str]) -> None:
    """With the cookie, every operation that changes data is refused unless a page of the service sent it, even for
    allowed origins; so is the form that extends the session.
    """
    with served(hk, access="keys", allowed_origins=("https://allowed.example",)) as server:
        cookie = signed_in(server, hk.keys.create("default", ["admin"]).text)
        feedback = hk.submit("s", "up", author="a").feedback
        for operation in OPERATIONS:
            if operation.method != "GET":
                answer = call_operation(server, operation, feedback.id, headers={**cookie, **others})
                assert answer.status_code == 403, operation.name
        answer = server.ask("POST", "/sign-in/stay", headers={**cookie, **others}, allow_redirects=False)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert hk.get(feedback.id) == feedback


@pytest.mark.parametrize("own", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": ""}])
def test_own_pages_read_and_write(service: Service, own: dict[str, str]) -> None:
    """Scripts and forms of the service's own pages use the API and the pages with the cookie."""
    headers = {**service.sign_in(), **own}
    headers = {**headers, "Origin": headers["Origin"] or service.server.url}
    answer = service.server.ask("POST", PATH, json=UP, headers=headers)
    assert answer.status_code == 201
    assert service.server.get("/api/feedback", headers=headers)["feedbacks"]
    assert service.post("/sign-in/stay", headers).status_code == 303


class TestReturning:
    @pytest.mark.parametrize(
        "asked",
        ["/demo", "/docs?x=1&y=%2F", "/a", "/api/feedback?agent_id=a%20b", "/sign-inside", "/x?y=//z", "/%E2%82%AC"],
    )
    def test_own_paths(self, service: Service, asked: str) -> None:
        """After signing in, the browser is where it wanted to be."""
        key = service.hk.keys.create("default", ["read"]).text
        page = service.server.ask("GET", f"/sign-in?next={quote(asked, safe='')}").text
        shown = re.search('name="next" value="([^"]*)"', page)
        assert shown is not None
        assert shown[1].replace("&amp;", "&") == asked
        assert service.post("/sign-in", {}, key=key, next=asked).headers["location"] == asked

    @pytest.mark.parametrize(
        "asked",
        [
            "https://evil.example/",
            "//evil.example/",
            "///evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x=1",
            "/../x",
            "/a/%2e%2E/x",
            "/é",
            "/" + "x" * 2_000,
            "docs",
            "?x",
            "/sign-in",
            "/sign-in/stay",
            "/sign-out",
            "/sign-in?next=/sign-in",
            "",
        ],
    )
    def test_other_places(self, service: Service, asked: str) -> None:
        """Nothing leads to another site, or in circles."""
        key = service.hk.keys.create("default", ["read"]).text
        page = service.server.ask("GET", f"/sign-in?next={quote(asked, safe='')}").text
        assert 'name="next" value="/dashboard"' in page
        answer = service.post("/sign-in", {}, key=key, next=asked)
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
        stay = service.post("/sign-in/stay", service.sign_in(), next=asked)
        assert stay.headers["location"] == "/dashboard"

    def test_only_below_the_root(self) -> None:
        """Where Harken is mounted, paths of the rest of the application are not its own."""
        assert own_path("/a/b", "/a/b/docs?x") == "/a/b/docs?x"
        assert own_path("/a/b", "/a/b") is None
        assert own_path("/a/b", "/a/bc/docs") is None
        assert own_path("/a/b", "/a/b/../c") is None
        assert own_path("/a/b", "/other") is None


class TestSignInPage:
    def test_a_wrong_key_stays_in_the_field(self, service: Service) -> None:
        """An invalid key can be corrected; the page never echoes what another page sent, or a long text."""
        text = 'hk_"><script>alert(1)</script>'
        page = service.post("/sign-in", {"Origin": service.server.url}, key=text, next="/demo")
        assert page.status_code == 401
        assert 'value="hk_&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in page.text
        assert 'role="alert"' in page.text
        assert 'aria-invalid="true"' in page.text
        assert 'name="next" value="/demo"' in page.text
        assert page.headers["cache-control"] == "no-store"
        foreign = service.post("/sign-in", {"Origin": "https://evil.example"}, key="hk_secret")
        assert foreign.status_code == 403
        assert "hk_secret" not in foreign.text
        assert "x" * 300 not in service.post("/sign-in", {}, key="x" * 300).text

    def test_without_a_storage(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the storage does not respond, signing in and out say so; nothing pretends that a session has ended."""
        headers = service.sign_in()
        service.timer.now += 5.1

        def fail(*_: object) -> None:
            raise harken.StorageUnavailable("mongodb://user:password@host")

        monkeypatch.setattr(service.api.browsers._state, "get", fail)
        for path in ("/sign-in", "/sign-out"):
            answer = service.post(path, headers, key=service.hk.keys.create("default", ["read"]).text)
            assert answer.status_code == 503
            assert "The storage is not available" in answer.text
            assert "mongodb" not in answer.text
            assert "set-cookie" not in answer.headers
        answer = service.server.ask("GET", "/docs", headers=headers, allow_redirects=False)
        problem(answer, 503, "unavailable")

    def test_open_access(self, hk: Harken) -> None:
        """Where no credentials are needed, the page leads on, and a cookie neither helps nor matters."""
        with served(hk) as server:
            answer = server.ask("GET", "/sign-in?next=/demo", allow_redirects=False)
            assert (answer.status_code, answer.headers["location"]) == (303, "/demo")
            assert server.ask("POST", PATH, json=UP, headers={"Cookie": "harken_session_00000000=x"}).status_code == 201
            shown = server.get("/sign-in/current")
            assert (shown["signed_in"], shown["name"], shown["expires_at"]) == (True, "", None)


def test_what_a_page_shows(service: Service) -> None:
    """A key of one application shows that application; its name is who is signed in."""
    new = service.hk.keys.create("shop", ["read", "moderate"], name="Priya", agents=["b", "a"])
    shown = service.server.get("/sign-in/current", headers=signed_in(service.server, new.text))
    assert shown == {
        "signed_in": True,
        "id": new.key.id,
        "name": "Priya",
        "application": "shop",
        "applications": ["shop"],
        "scopes": ["read", "moderate"],
        "agents": ["a", "b"],
        "expires_at": "2026-03-05T00:00:00.000000Z",
        "can_stay": True,
    }
    assert service.server.get("/sign-in/current") == {"signed_in": False}
    assert service.server.get("/sign-in/current", headers={"Cookie": "harken_session_x=1"}) == {"signed_in": False}


def test_a_process_that_starts_later(tmp_path: Path) -> None:
    """A session is valid after a restart, and on every host on the same storage, before the secret is loaded there."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(url) as hk:
        key = hk.keys.create("default", ["read"]).text
        with served(hk, access="keys") as server:
            cookie = signed_in(server, key)
    with harken.connect(url) as hk:
        with served(hk, access="keys") as server:
            assert server.ask("GET", "/api/feedback", headers=cookie).ok
        app = create_flask_app(ServerSettings(**{**OPEN, "access": "keys"}), harken=hk)
        with serving_wsgi(app) as server:
            assert server.ask("GET", "/api/feedback", headers=cookie).ok
            assert server.ask("GET", "/docs", headers=cookie, allow_redirects=False).ok
        app.extensions["harken"].close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
def test_processes(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    """A session that one process of ``harken serve`` began is valid in another, and ends there when it ends here."""
    url = request.getfixturevalue("mongodb_url") if kind == "mongodb" else f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path) as one, serve(url, tmp_path) as other:
        signing_in = one.ask("POST", "/sign-in", data={"key": one.key}, headers={}, allow_redirects=False)
        cookie = {"Cookie": signing_in.headers["set-cookie"].partition(";")[0]}

        def statuses() -> list[int]:
            return [service.ask("GET", "/api/feedback", headers=cookie).status_code for service in (one, other)]

        assert statuses() == [200, 200]
        other.ask("POST", "/sign-out", data={"everywhere": ""}, headers=cookie, allow_redirects=False)
        eventually(lambda: statuses() == [401, 401])


def test_an_event_stream_ends_with_the_session(hk: Harken) -> None:
    """After signing out, a stream that was opened with the cookie sends nothing more, and ends."""
    with served(hk, access="keys") as server:
        cookie = signed_in(server, hk.keys.create("default", ["read"]).text)
        with server.ask("GET", "/api/events", headers=cookie, stream=True) as answer:
            assert answer.status_code == 200
            assert server.ask("POST", "/sign-out", headers=cookie, allow_redirects=False).status_code == 303
            # The stream ends, so that this does too.
            received = answer.content
        hk.submit("s", "up")
        assert b"feedback.created" not in received


def test_over_tls(hk: Harken) -> None:
    """The cookie is sent only over TLS if the browser, or ``public_url``, says that the service is reached over TLS."""
    key = hk.keys.create("default", ["read"]).text
    cases: list[tuple[dict[str, Any], dict[str, str], bool]] = [
        ({}, {}, False),
        ({}, {"Origin": "https://feedback.example", "Sec-Fetch-Site": "same-origin"}, True),
        ({"public_url": "https://feedback.example"}, {}, True),
        ({"public_url": "http://feedback.example/x"}, {}, False),
    ]
    for settings, headers, expected in cases:
        with served(hk, access="keys", **settings) as server:
            sent: Any = {"data": {"key": key}, "headers": headers, "allow_redirects": False}
            attributes = server.ask("POST", "/sign-in", **sent).headers["set-cookie"].split("; ")[1:]
            assert ("Secure" in attributes) == expected
            assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)


def test_rate_limits_count_the_key(hk: Harken) -> None:
    """A browser counts as the key with which it signed in, and does not use up the limit of its address."""
    key = hk.keys.create("default", ["read"]).text
    with served(hk, access="keys", limit_by_key="3/minute", limit_by_address="1/minute") as server:
        cookie = signed_in(server, key)
        bearer = {"Authorization": f"Bearer {key}"}
        statuses = [
            server.ask("GET", "/api/feedback", headers=one).status_code for one in (cookie, bearer, cookie, cookie)
        ]
        assert statuses == [200, 200, 200, 429]


def test_forged_cookies_are_counted(hk: Harken) -> None:
    """Attempts with forged cookies are limited by address, like those with invalid keys; a valid one still works."""
    with served(hk, access="keys", limit_by_address="3/minute") as server:
        cookie = signed_in(server, hk.keys.create("default", ["read"]).text)
        name = cookie["Cookie"].partition("=")[0]
        forged = [{"Cookie": f"{name}=e30.e30.{number}"} for number in range(5)]
        assert [server.ask("GET", PATH, headers=one).status_code for one in forged] == [401, 401, 401, 429, 429]
        assert server.ask("GET", PATH, headers=cookie).ok


def test_the_stored_scope_is_that_of_the_key(service: Service) -> None:
    """The rights are read from the storage, not from the cookie: a key for submitting cannot read."""
    headers = service.sign_in("submit")
    assert service.server.ask("POST", PATH, json=UP, headers=headers).status_code == 201
    assert (
        "scope 'read'"
        in problem(service.server.ask("GET", "/api/feedback", headers=headers), 403, "forbidden")["detail"]
    )

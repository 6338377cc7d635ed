"""Signing in with OpenID Connect: at a real provider, and at one that sends forged, broken or no responses."""

import json
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from attrs import define, evolve, field, frozen
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from werkzeug import Request, Response

from harken import ConfigurationError, Harken, Scope
from harken.clock import utc_now
from harken_adapters.hosts.http.guards.groups import GroupGrant, GroupGrants
from harken_adapters.hosts.http.serving.sign_in.openid_connect import OpenIdConnect
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.problems import Problem
from hosts.http.test_every_host import HOSTS
from hosts.serving import Server, problem, served, serving_wsgi
from openid_provider import Provider, provider_process, register
from support import PATIENCE, eventually, in_threads

PUBLIC = "https://feedback.example.com"
#: The key of a provider that a test controls, and one that is not known.
KEY, STRANGER = (RSAKey.generate_key(2048, auto_kid=True) for _ in range(2))


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The issuer of a real provider."""
    with provider_process() as serving:
        yield serving


@pytest.fixture
def provider(issuer: str) -> Provider:
    """A real provider, with a new client for the public URL.

    With its storage in memory, Canaille confuses the codes of one client that were not exchanged for a token.
    """
    return register(issuer, PUBLIC)


@frozen
class Started:
    """A sign-in that has begun: the URL at the provider, and the cookie of the browser."""

    url: str
    cookie: dict[str, str]

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of the URL."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}


def start(server: Server, following: str = "/docs") -> Started:
    """Begin to sign in, as with the link on the sign-in page."""
    answer = server.ask("GET", f"/sign-in/openid?{urlencode({'next': following})}", allow_redirects=False)
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert cookie.endswith("; Path=/sign-in; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    return Started(answer.headers["location"], {"Cookie": cookie.partition(";")[0]})


def come_back(server: Server, started: Started, url: str) -> requests.Response:
    """Open the URL that the provider redirects to. Browsers reach the server at the public URL."""
    assert url.startswith(f"{PUBLIC}/sign-in/openid/callback?")
    return server.ask("GET", url.removeprefix(PUBLIC), headers=started.cookie, allow_redirects=False)


def sign_in(server: Server, provider: Provider, name: str, following: str = "/docs") -> dict[str, str]:
    """The cookie of a person who has signed in."""
    started = start(server, following)
    answer = come_back(server, started, provider.sign_in(started.url, name))
    assert answer.status_code == 200, answer.text
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def alert_of(answer: requests.Response, status: int) -> str:
    """The error on the sign-in page."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "harken_session" not in answer.headers.get("set-cookie", "")
    found = re.search(r'role="alert"><svg [^\n]*</svg>\n<p class="grow"><b>Not signed in\.</b> (.*?)</p>', answer.text)
    assert found is not None, answer.text
    return found[1].replace("&#39;", "'")


@pytest.mark.slow
class TestRealProvider:
    @pytest.mark.parametrize("host", HOSTS)
    def test_every_host(self, hk: Harken, provider: Provider, host: str) -> None:
        """On every host, a person signs in at the provider, comes back to the page that they wanted, and may do what
        their groups give.
        """
        with HOSTS[host](hk, access="keys", **provider.settings(PUBLIC)) as server:
            page = server.ask("GET", "/sign-in?next=/demo").text
            assert 'href="/sign-in/openid?next=%2Fdemo">Sign in with Example Login</a>' in page
            started = start(server, "/demo?x=1")
            assert started.asked["code_challenge_method"] == "S256"
            assert {"state", "nonce", "code_challenge"} <= started.asked.keys()
            answer = come_back(server, started, provider.sign_in(started.url, "ann"))
            assert answer.status_code == 200
            assert '<meta http-equiv="refresh" content="0;url=/demo?x=1">' in answer.text
            name, _, rest = answer.headers["set-cookie"].partition("=")
            assert re.fullmatch("harken_session_[0-9a-f]{8}", name)
            assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(rest.split("; "))
            headers = {"Cookie": f"{name}={rest.partition(';')[0]}", "Origin": server.url}
            shown = server.get("/sign-in/current", headers=headers)
            assert (shown["name"], shown["scopes"], shown["application"]) == ("Ann", ["read", "moderate"], "default")
            feedback = hk.submit("s", "up").feedback
            path = f"/api/feedback/{feedback.id}/moderation"
            server.post(path, {"status": "rejected"}, status=200, headers=headers)
            assert hk.get(feedback.id).moderation.moderator == "Ann"
            refused = server.ask("DELETE", f"/api/feedback/{feedback.id}", headers=headers)
            assert "none of your groups gives" in problem(refused, 403, "forbidden")["detail"]
            foreign = {**headers, "Origin": "https://evil.example"}
            problem(server.ask("POST", path, json={"status": "approved"}, headers=foreign), 403, "forbidden")

    def test_several_applications(self, hk: Harken, provider: Provider) -> None:
        """A person whose groups are for several applications chooses one in each request, with the rights there."""
        hk.submit("s", "up", "of the shop", application="shop")
        with served(hk, access="keys", **provider.settings(PUBLIC)) as server:
            cookie = sign_in(server, provider, "bob")
            own = server.get("/sign-in/current", headers=cookie)
            assert (own["application"], own["applications"], own["scopes"]) == (
                "default",
                ["default", "shop"],
                ["read", "moderate"],
            )
            shop = server.get("/sign-in/current?application=shop", headers=cookie)
            assert (shop["application"], shop["scopes"]) == ("shop", ["admin"])
            assert len(server.get("/api/feedback?application=shop", headers=cookie)["feedbacks"]) == 1
            assert server.get("/api/feedback", headers=cookie)["feedbacks"] == []
            for path in ("/dashboard/feedback", "/dashboard/feedback?application=shop"):
                menu = server.ask("GET", path, headers=cookie).text
                assert set(re.findall(r'href="[^"]*application=(\w+)"[^>]*>(\w+)<', menu)) >= {
                    ("default", "default"),
                    ("shop", "shop"),
                }
            for query in ("application=other", "application=", "application=shop&application=default"):
                assert server.ask("GET", f"/api/feedback?{query}", headers=cookie).status_code in (403, 422)
            assert server.ask("GET", "/api/deliveries", headers=cookie).status_code == 403
            assert server.ask("GET", "/api/deliveries?application=shop", headers=cookie).status_code == 200
            # The channels belong to all applications.
            switched = server.ask(
                "POST", "/api/channels/log/on?application=shop", headers={**cookie, "Origin": server.url}
            )
            assert "All applications share" in problem(switched, 403, "forbidden")["detail"]

    def test_groups_that_give_nothing(self, hk: Harken, provider: Provider) -> None:
        """A person without a group that gives access gets a clear page, and is not signed in."""
        with served(hk, access="keys", **provider.settings(PUBLIC)) as server:
            started = start(server)
            answer = come_back(server, started, provider.sign_in(started.url, "eve"))
            assert alert_of(answer, 403) == (
                "Example Login signed you in as Eve, but none of your groups has access to this service. Ask its "
                "operator to add one of them."
            )

    @pytest.mark.parametrize("method", ["client_secret_post", "none"])
    def test_kinds_of_clients(self, hk: Harken, issuer: str, method: str) -> None:
        """A public client works, with PKCE alone, and so does a client that a provider with other methods accepts."""
        provider = register(issuer, PUBLIC, token_endpoint_auth_method=method)
        if method == "none":
            provider = evolve(provider, client_secret="")
        settings = provider.settings(PUBLIC)
        client = OpenIdConnect(ServerSettings(**settings), clock=utc_now)
        if method == "client_secret_post":
            loaded = client._load()
            client._provider = evolve(
                loaded, metadata={**loaded.metadata, "token_endpoint_auth_methods_supported": [method]}
            )
        url = client.authorization_url(state="s", nonce="n", verifier="v" * 43)
        code = parse_qs(urlsplit(provider.sign_in(url, "ann")).query)["code"][0]
        person, groups = client.person(code, nonce="n", verifier="v" * 43)
        assert (person.name, groups) == ("Ann", ["support"])

    def test_a_code_is_used_by_its_own_browser(self, hk: Harken, provider: Provider) -> None:
        """A code that was seen by others is worthless: without the browser's cookie, with that of another sign-in, and
        with another verifier.
        """
        with served(hk, access="keys", **provider.settings(PUBLIC)) as server:
            started, other = start(server), start(server)
            back = provider.sign_in(started.url, "ann")
            for browser in (other, evolve(started, cookie={}), evolve(started, cookie={"Cookie": "harken_openid_x=y"})):
                assert "Start again" in alert_of(come_back(server, browser, back), 401)
            forged = back.replace(started.asked["state"], other.asked["state"])
            assert "Start again" in alert_of(come_back(server, started, forged), 401)
            # Its PKCE verifier and nonce are those of the other sign-in.
            assert "was refused" in alert_of(come_back(server, other, forged), 401)

    def test_a_code_is_used_once(self, hk: Harken, provider: Provider) -> None:
        """The URL at which the provider sent the browser back works once."""
        with served(hk, access="keys", **provider.settings(PUBLIC)) as server:
            started = start(server)
            back = provider.sign_in(started.url, "ann")
            assert come_back(server, started, back).status_code == 200
            assert "was refused" in alert_of(come_back(server, started, back), 401)

    def test_a_wrong_secret(self, hk: Harken, provider: Provider) -> None:
        """If the provider does not accept the client, the page says that it refused."""
        wrong = evolve(provider, client_secret="wrong")
        with served(hk, access="keys", **wrong.settings(PUBLIC)) as server:
            started = start(server)
            answer = come_back(server, started, provider.sign_in(started.url, "ann"))
            assert "was refused" in alert_of(answer, 401)

    def test_the_end_of_access(self, hk: Harken, provider: Provider) -> None:
        """Sessions of people end when they sign out everywhere, when their groups give nothing any more, with another
        provider, and without one.
        """
        settings = provider.settings(PUBLIC)
        with served(hk, access="keys", **settings) as server:
            first, second, bob = (sign_in(server, provider, name) for name in ("ann", "ann", "bob"))
            answer = server.ask("POST", "/sign-out", data={"everywhere": ""}, headers=first, allow_redirects=False)
            assert answer.headers["location"] == "/sign-in?signed-out&everywhere"
            statuses = [server.ask("GET", "/api/feedback", headers=one).status_code for one in (first, second, bob)]
            assert statuses == [401, 401, 200]
            again = sign_in(server, provider, "ann")
            assert server.ask("GET", "/api/feedback", headers=again).ok
        others: list[dict[str, Any]] = [
            {**settings, "oidc_groups": ("visitors: read",)},
            {**settings, "oidc_issuer": "https://other.example"},
            {},
        ]
        for other in others:
            with served(hk, access="keys", **other) as server:
                assert (
                    "groups"
                    in problem(server.ask("GET", "/api/feedback", headers=again), 401, "unauthorized")["detail"]
                )
        with served(hk, access="keys", **{**settings, "oidc_groups": ("support: submit",)}) as server:
            assert (
                "scope 'read'" in problem(server.ask("GET", "/api/feedback", headers=again), 403, "forbidden")["detail"]
            )


# --- Hostile providers ------------------------------------------------------------------------------------------------


@define
class Fake:
    """A provider that signs what a test chooses.

    Attributes:
        url: its issuer.
        claims: what the ID token says besides the standard claims, or instead.
        header: what its header says.
        sign: signs the ID token.
        metadata: what its description says besides the standard, or instead.
        token: what the token response has besides the ID token, or instead.
        information: the user info.
        nonce: the nonce of the request.
        asked: the paths of all requests, in order.
        hanging: requests wait for it, if it is set.
    """

    url: str = ""
    key: RSAKey = KEY
    claims: dict[str, Any] = field(factory=dict)
    header: dict[str, Any] = field(factory=dict)
    sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(factory=dict)
    token: dict[str, Any] = field(factory=dict)
    information: dict[str, Any] | None = None
    nonce: str = ""
    asked: list[str] = field(factory=list)
    hanging: Event | None = None
    status: int = 200

    def id_token(self) -> str:
        """The ID token."""
        now = int(utc_now().timestamp())
        standard = {"iss": self.url, "aud": "harken", "sub": "ann", "nonce": self.nonce, "iat": now, "exp": now + 60}
        claims = {**standard, "name": "Ann", "groups": ["support"], **self.claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        return self.sign(header, claims) if self.sign else jwt.encode(header, claims, self.key)

    def describe(self) -> dict[str, Any]:
        """Its description."""
        endpoints = {
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
        }
        return {"issuer": self.url, **endpoints, **self.metadata}

    def respond(self, request: Request) -> Response:
        """The response to a request."""
        self.asked.append(request.path)
        if self.hanging is not None:
            self.hanging.wait(PATIENCE)
        answers: Mapping[str, Callable[[], Any]] = {
            "/.well-known/openid-configuration": self.describe,
            "/jwks": lambda: {"keys": [self.key.as_dict(private=False)]},
            "/token": lambda: {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token(), **self.token},
            "/userinfo": lambda: self.information,
        }
        return Response(json.dumps(answers[request.path]()), self.status, mimetype="application/json")


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A provider that a test controls."""
    made = Fake()
    with serving_wsgi(Request.application(made.respond)) as server:
        made.url = server.url
        yield made


@contextmanager
def served_with(hk: Harken, fake: Fake, **settings: Any) -> Iterator[Server]:
    """Serve a Harken whose people sign in at a provider that a test controls."""
    wanted = Provider(fake.url, "harken", "the secret of the client, long enough").settings(PUBLIC)
    with served(hk, access="keys", **{**wanted, **settings}) as server:
        yield server


def attempt(server: Server, fake: Fake, **more: str) -> requests.Response:
    """Sign in at the fake provider."""
    started = start(server)
    fake.nonce = fake.nonce or started.asked["nonce"]
    query = urlencode({"code": "c", "state": started.asked["state"], **more})
    return come_back(server, started, f"{PUBLIC}/sign-in/openid/callback?{query}")


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)]
    return f"{'.'.join(parts)}."


def _with_the_secret(header: dict[str, Any], claims: dict[str, Any]) -> str:
    secret = OctKey.import_key("the secret of the client, long enough")
    return jwt.encode({**header, "alg": "HS256"}, claims, secret)


def _with_another_key(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode(header, claims, STRANGER)


def _with_a_key_in_the_header(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode({**header, "jwk": STRANGER.as_dict(private=False)}, claims, STRANGER)


@pytest.mark.slow
class TestForgedResponses:
    def test_a_valid_one(self, hk: Harken, fake: Fake) -> None:
        """Without forgery, the person is signed in."""
        with served_with(hk, fake) as server:
            answer = attempt(server, fake, iss=fake.url)
            assert answer.status_code == 200, answer.text
            assert fake.asked == ["/.well-known/openid-configuration", "/jwks", "/token"]
            assert attempt(server, evolve_nonce(fake)).status_code == 200
            # Its description and keys are not requested again.
            assert fake.asked[3:] == ["/token"]

    @pytest.mark.parametrize(
        "change",
        [
            {"nonce": "other"},
            {"nonce": None},
            {"iss": "https://evil.example"},
            {"iss": None},
            {"aud": "other"},
            {"aud": ["other"]},
            {"aud": None},
            {"aud": ["harken", "other"], "azp": "other"},
            {"azp": "other"},
            {"exp": 1},
            {"exp": None},
            {"exp": "tomorrow"},
            {"iat": 99_999_999_999},
            {"nbf": 99_999_999_999},
            {"sub": None},
            {"sub": ""},
            {"at_hash": "AAAA"},
        ],
    )
    def test_claims(self, hk: Harken, fake: Fake, change: dict[str, Any]) -> None:
        """An ID token for another client, sign-in, time or from another issuer is refused."""
        fake.claims = change
        with served_with(hk, fake) as server:
            assert "was refused" in alert_of(attempt(server, fake), 401)

    @pytest.mark.parametrize("sign", [_unsigned, _with_the_secret, _with_another_key, _with_a_key_in_the_header])
    def test_signatures(self, hk: Harken, fake: Fake, sign: Callable[..., str]) -> None:
        """An ID token that is signed with anything but a key of the provider is refused."""
        fake.sign = sign
        with served_with(hk, fake) as server:
            assert "was refused" in alert_of(attempt(server, fake), 401)

    @pytest.mark.parametrize(
        "token",
        [
            {"id_token": None},
            {"id_token": ""},
            {"id_token": "a.b.c"},
            {"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."},
            {"id_token": ["a"]},
            {"id_token": 7},
            {"error": "invalid_grant", "error_description": "<script>alert(1)</script>"},
        ],
    )
    def test_token_responses(self, hk: Harken, fake: Fake, token: dict[str, Any]) -> None:
        """A response without a valid ID token is refused, and its text is shown as text."""
        fake.token = token
        with served_with(hk, fake) as server:
            answer = attempt(server, fake)
            assert "was refused" in alert_of(answer, 401)
            assert "<script>alert" not in answer.text

    def test_another_issuer(self, hk: Harken, fake: Fake) -> None:
        """A response that names another issuer (RFC 9207) is refused before its code is used."""
        with served_with(hk, fake) as server:
            assert "another issuer" in alert_of(attempt(server, fake, iss="https://evil.example"), 401)
            assert "/token" not in fake.asked

    def test_the_person_declines(self, hk: Harken, fake: Fake) -> None:
        """If the provider did not sign in the person, its reason is shown as text."""
        with served_with(hk, fake) as server:
            started = start(server)
            query = urlencode(
                {"error": "access_denied", "error_description": "<b>No</b>", "state": started.asked["state"]}
            )
            answer = come_back(server, started, f"{PUBLIC}/sign-in/openid/callback?{query}")
            assert alert_of(answer, 401) == "Example Login did not sign you in: &lt;b&gt;No&lt;/b&gt;."

    def test_user_info(self, hk: Harken, fake: Fake) -> None:
        """Groups that are not in the ID token are taken from the user info, if it is about the same person."""
        fake.claims = {"groups": None}
        with served_with(hk, fake) as server:
            fake.information = {"sub": "ann", "groups": "support"}
            assert attempt(server, fake).status_code == 200
            for wrong in ({"sub": "bob", "groups": ["support"]}, {"groups": ["support"]}, {}, ["support"], None):
                fake.information = wrong  # type: ignore[assignment]
                assert "was refused" in alert_of(attempt(server, evolve_nonce(fake)), 401)
            fake.information = {"sub": "ann"}
            assert "none of your groups" in alert_of(attempt(server, evolve_nonce(fake)), 403)

    @pytest.mark.parametrize("groups", [[], [None, 7, {"a": 1}], "visitors", {"support": 1}, ["Support", "support "]])
    def test_groups(self, hk: Harken, fake: Fake, groups: Any) -> None:
        """Only the exact names of groups count."""
        fake.claims = {"groups": groups}
        with served_with(hk, fake) as server:
            assert "none of your groups" in alert_of(attempt(server, fake), 403)

    def test_many_groups_and_a_hostile_name(self, hk: Harken, fake: Fake) -> None:
        """The cookie stays small with thousands of groups, and a name is shown as text without control characters."""
        fake.claims = {
            "groups": [f"group-{number}" for number in range(5_000)],
            "name": "\x1b[1m<b>é\u202e" + "x" * 500,
        }
        every = tuple(f"group-{number}: read" for number in range(5_000))
        with served_with(hk, fake, oidc_groups=every) as server:
            answer = attempt(server, fake)
            assert answer.status_code == 200
            cookie = answer.headers["set-cookie"].partition(";")[0]
            assert len(cookie) < 1_000
            assert server.get("/sign-in/current", headers={"Cookie": cookie})["name"] == ("[1m<b>é" + "x" * 500)[:100]

    def test_the_keys_are_replaced(self, hk: Harken, fake: Fake) -> None:
        """After the provider has replaced its keys, they are requested again, at most once a minute."""
        seconds = [0.0]
        settings = Provider(fake.url, "harken", "").settings(PUBLIC)
        client = OpenIdConnect(ServerSettings(**settings), clock=utc_now, timer=lambda: seconds[0])
        fake.nonce = "n"
        assert client.person("c", nonce="n", verifier="v")[0].name == "Ann"
        fake.key = STRANGER
        for _ in range(3):
            with pytest.raises(Problem, match="was refused"):
                client.person("c", nonce="n", verifier="v")
        seconds[0] += 61
        assert client.person("c", nonce="n", verifier="v")[0].name == "Ann"
        assert fake.asked.count("/jwks") == 2

    def test_failures_are_counted(self, hk: Harken, fake: Fake) -> None:
        """Attempts with forged responses are limited by address; each makes at most one request to the provider."""
        with served_with(hk, fake, limit_by_address="3/minute") as server:
            fake.token = {"id_token": ""}
            statuses = [attempt(server, fake).status_code for _ in range(5)]
            assert statuses == [401, 401, 401, 429, 429]


def evolve_nonce(fake: Fake) -> Fake:
    """The same provider, for another sign-in."""
    fake.nonce = ""
    return fake


@pytest.mark.slow
class TestUnavailable:
    @pytest.mark.parametrize(
        "metadata",
        [
            {"issuer": "https://evil.example"},
            {"token_endpoint": "http://evil.example/token"},
            {"jwks_uri": None},
            {"authorization_endpoint": "javascript:alert(1)"},
        ],
    )
    def test_an_invalid_description(
        self, hk: Harken, fake: Fake, metadata: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A description of another issuer, or with endpoints that are not secure, is not used; the log says why."""
        fake.metadata = metadata
        with served_with(hk, fake) as server:
            answer = server.ask("GET", "/sign-in/openid?next=/demo", allow_redirects=False)
            assert "is not available" in alert_of(answer, 503)
            assert 'name="next" value="/demo"' in answer.text
        assert f"{fake.url} is not available: " in caplog.text

    @pytest.mark.parametrize("status", [404, 500, 302])
    def test_errors(self, hk: Harken, fake: Fake, status: int) -> None:
        """If the provider responds with an error, the page says so, and the API key still works."""
        fake.status = status
        key = hk.keys.create("default", ["read"]).text
        with served_with(hk, fake) as server:
            assert "is not available" in alert_of(server.ask("GET", "/sign-in/openid"), 503)
            # The failure is remembered for a while, so that the provider is not asked by each request.
            assert "is not available" in alert_of(server.ask("GET", "/sign-in/openid"), 503)
            assert len(fake.asked) == 1
            assert server.ask("POST", "/sign-in", data={"key": key}, allow_redirects=False).status_code == 303

    def test_nobody_listens(self, hk: Harken) -> None:
        """The service starts and works without its provider."""
        nowhere = Provider("http://127.0.0.1:1", "harken", "").settings(PUBLIC)
        with served(hk, access="keys", **nowhere) as server:
            assert "is not available" in alert_of(server.ask("GET", "/sign-in/openid"), 503)
            assert "Sign in with Example Login" in server.ask("GET", "/sign-in").text

    def test_a_provider_that_hangs(self, hk: Harken, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        """While the provider does not respond, other requests are served; then the page says so."""
        monkeypatch.setattr("harken_adapters.hosts.http.serving.sign_in.openid_connect._TIMEOUT", 2.0)
        fake.hanging = Event()
        key = {"Authorization": f"Bearer {hk.keys.create('default', ['read']).text}"}
        with served_with(hk, fake) as server:

            def others() -> int:
                eventually(lambda: fake.asked)
                return server.ask("GET", "/api/feedback", headers=key).status_code

            try:
                *answers, status = in_threads(
                    [*[lambda: server.ask("GET", "/sign-in/openid") for _ in range(6)], others]
                )
            finally:
                fake.hanging.set()
            assert status == 200
            for answer in answers:
                assert isinstance(answer, requests.Response)
                assert "is not available" in alert_of(answer, 503)
            assert len(fake.asked) == 1

    def test_it_is_not_configured(self, hk: Harken) -> None:
        """Without a provider, there is no link to it, and its pages say so."""
        with served(hk, access="keys") as server:
            assert "Sign in with" not in server.ask("GET", "/sign-in").text
            for path in ("/sign-in/openid", "/sign-in/openid/callback?code=c&state=s"):
                assert "not configured" in alert_of(server.ask("GET", path), 404)


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"public_url": ""}, "public_url must be set"),
            ({"public_url": "https://feedback.example.com/"}, "without a trailing slash"),
            ({"public_url": "feedback.example.com"}, "public_url must be a URL"),
            ({"public_url": "https://x.example/?a"}, "public_url must be a URL"),
            ({"oidc_client_id": ""}, "oidc_client_id must be set"),
            ({"oidc_groups": ()}, "oidc_groups must be set"),
            ({"oidc_issuer": "http://login.example.com"}, "oidc_issuer must be an https URL"),
            ({"oidc_issuer": "login.example.com"}, "oidc_issuer must be an https URL"),
            ({"oidc_scopes": "profile"}, "must contain 'openid'"),
            ({"oidc_groups": ("support",)}, "expected 'GROUP: SCOPE ...'"),
            ({"oidc_groups": ("support: ",)}, "expected 'GROUP: SCOPE ...'"),
            ({"oidc_groups": (": read",)}, "expected 'GROUP: SCOPE ...'"),
            ({"oidc_groups": ("support: write",)}, "Unknown scope 'write'"),
            ({"oidc_groups": ("support: read in ",)}, "the application must not be empty"),
        ],
    )
    def test_mistakes(self, change: dict[str, Any], message: str) -> None:
        """An incomplete or unsafe configuration is refused, with what to do."""
        valid = Provider("https://login.example.com", "harken", "secret").settings(PUBLIC)
        ServerSettings(**valid)
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            ServerSettings(**{**valid, **change})

    def test_the_secret_is_not_shown(self) -> None:
        """The representation of the settings, which logs may contain, does not have the secret."""
        valid = Provider("https://login.example.com", "harken", "a secret").settings(PUBLIC)
        assert "a secret" not in repr(ServerSettings(**valid))

    def test_grants(self) -> None:
        """Scopes of several groups add up in each application; names of groups may have colons and spaces."""
        texts = ("a: read", "urn:team: x: moderate", "b: read in the shop", "c: submit read")
        grants = GroupGrants(tuple(map(GroupGrant.parse, texts)), "default")
        assert grants.grants[1].group == "urn:team: x"
        assert grants.scopes(["b", "a", "urn:team: x", "other"]) == {
            "default": {Scope.READ, Scope.MODERATE},
            "the shop": {Scope.READ},
        }
        assert list(grants.scopes(["b", "a"])) == ["default", "the shop"]
        assert grants.needed(["c", "a", "b"]) == ("a", "b", "c")
        assert grants.needed(["c", "other", "c"]) == ("c",)
        assert grants.needed([]) == ()

    def test_a_missing_package(self) -> None:
        """Without the extra, a service with a provider does not start, and the error names the command."""
        program = (
            "import sys; sys.modules['authlib'] = None\n"
            "import harken\n"
            "from harken_adapters.hosts.fastapi import ServerSettings, create_app\n"
            f"settings = ServerSettings(public_url={PUBLIC!r}, oidc_issuer='https://login.example.com', "
            "oidc_client_id='harken', oidc_groups=('a: read',))\n"
            "with harken.connect('memory://') as hk:\n"
            "    create_app(ServerSettings(), harken=hk)\n"
            "    try:\n"
            "        create_app(settings, harken=hk)\n"
            "    except harken.MissingExtra as error:\n"
            "        print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        expected = "Signing in with OpenID Connect needs the package 'authlib'; try pip install \"harken[oidc]\"\n"
        assert (done.stdout, done.stderr) == (expected, "")

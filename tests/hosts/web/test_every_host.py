"""The dashboard on every host, below any prefix: its pages, links, forms, cookies and headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

import pytest
import requests
from attrs import define, field, frozen
from bs4 import BeautifulSoup, Tag
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import harken
from channels import Recorder
from harken import DeliveryFailed, Harken, Scope
from harken_adapters.hosts import fastapi, flask, wsgi
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.selection import is_filter
from hosts.serving import OPEN, Server, serving, serving_wsgi
from hosts.web.site import Visitor
from support import PATIENCE

pytestmark = pytest.mark.slow

#: Neither inline styles or scripts nor anything of another origin, and no frames around it.
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SIGN_IN_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
EVIL: Final = "https://evil.example"
_IDS: Final = re.compile(r"(?<=/)[0-9a-f-]{16,36}(?=\Z|/)")


# --- Hosts ------------------------------------------------------------------------------------------------------------


def standalone(hk: Harken, settings: ServerSettings) -> AbstractContextManager[Server]:
    """FastAPI's own application."""
    return serving(fastapi.create_app(settings, harken=hk))


def mounted(hk: Harken, settings: ServerSettings) -> AbstractContextManager[Server]:
    """FastAPI's own application under a path of another one."""
    return serving(Starlette(routes=[Mount("/a ü/b", fastapi.create_app(settings, harken=hk))]))


def router(prefix: str, **options: Any) -> Callable[..., AbstractContextManager[Server]]:
    """The router in a FastAPI application with these options."""

    def serve(hk: Harken, settings: ServerSettings) -> AbstractContextManager[Server]:
        app = FastAPI(**options)
        app.include_router(fastapi.feedback_router(hk, settings), prefix=prefix)
        return serving(app)

    return serve


def mounted_router(hk: Harken, settings: ServerSettings) -> AbstractContextManager[Server]:
    """The router under a prefix in a FastAPI application that is mounted in another one."""
    app, inner = FastAPI(), FastAPI(lifespan=None)
    made = fastapi.feedback_router(hk, settings)
    inner.include_router(made, prefix="/v1")
    app.mount("/d", inner)
    # Starlette does not start mounted applications.
    app.router.lifespan_context = inner.router.lifespan_context
    return serving(app)


@contextmanager
def stripping_proxy(hk: Harken, settings: ServerSettings) -> Iterator[Server]:
    """The router in an application whose proxy removes a part of the path, and whose server names it, but does not add
    it to the path. The rest of the path begins with the same letters.
    """
    app = FastAPI()
    app.include_router(fastapi.feedback_router(hk, settings))

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path, raw_path = scope["path"].removeprefix("/d"), scope["raw_path"].removeprefix(b"/d")
            scope = {**scope, "root_path": "/d", "path": path, "raw_path": raw_path}
        await app(scope, receive, send)

    with serving(proxy) as server:
        yield server


@contextmanager
def flask_under(hk: Harken, settings: ServerSettings, prefix: str) -> Iterator[Server]:
    """The extension in a Flask application."""
    app = Flask("shop")
    flask.Harken(app, harken=hk, settings=settings, url_prefix=prefix)
    with serving_wsgi(app) as server:
        yield server
    app.extensions["harken"].close()


@contextmanager
def django_under(hk: Harken, settings: ServerSettings, prefix: str, *, in_loop: bool = False) -> Iterator[Server]:
    """The app in a Django project."""
    from django.urls import include, path  # noqa: PLC0415 - configures Django, for these tests only

    from hosts.django_serving import serve_django, serve_django_in_loop  # noqa: PLC0415 - as above

    module: Any = ModuleType("shop")
    module.urlpatterns = [path(prefix, include("harken_adapters.hosts.django.urls"))]
    serve = serve_django_in_loop if in_loop else serve_django
    with serve(hk, settings, ROOT_URLCONF=module) as server:
        yield server


@contextmanager
def wsgi_under(hk: Harken, settings: ServerSettings, mount: str) -> Iterator[Server]:
    """The WSGI application, mounted in another one."""
    app = wsgi.WsgiApp(settings, harken=hk)
    with serving_wsgi(DispatcherMiddleware(app, {mount: app}) if mount else app) as server:
        yield server
        app.service.close()


#: The prefix and the host of each way to serve the dashboard.
WAYS: Final[dict[str, tuple[str, Callable[..., AbstractContextManager[Server]]]]] = {
    "fastapi": ("", standalone),
    "fastapi mounted": ("/a%20%C3%BC/b", mounted),
    "router": ("", router("")),
    "router under a prefix": ("/v1/feedback", router("/v1/feedback")),
    "router under a parameter": ("/shops/kim%3B%20%C3%BC", router("/shops/{shop}")),
    "router below a root path": ("/d", stripping_proxy),
    "router in a mounted application": ("/d/v1", mounted_router),
    "flask under a prefix": ("/a/b", lambda hk, settings: flask_under(hk, settings, "/a/b")),
    "django": ("", lambda hk, settings: django_under(hk, settings, "")),
    "django under a parameter": ("/kim%3B%20%C3%BC/f", lambda hk, own: django_under(hk, own, "<str:shop>/f/")),
    "django in a loop": ("/feedback", lambda hk, settings: django_under(hk, settings, "feedback/", in_loop=True)),
    "wsgi mounted": ("/a/b", lambda hk, settings: wsgi_under(hk, settings, "/a/b")),
}


# --- What is served ---------------------------------------------------------------------------------------------------


def refuse(_: object) -> None:
    """The answer of a receiver that is gone."""
    raise DeliveryFailed("410 Gone", retryable=False)


@contextmanager
def filled() -> Iterator[Harken]:
    """A Harken with something on every page."""
    rule: Any = {"name": "in a row", "kind": "streak", "by": "session", "length": 3}
    channels: Any = {"support": Recorder(refuse), "team": Recorder()}
    with harken.connect("memory://", spam="hold", channels=channels, alert_rules=[rule]) as hk:
        for number in range(60):
            hk.submit(f"s-{number % 7}", "up", "Quick", agent_id="Ann", tags=["fast"], context={"tier": "pro"})
        for _ in range(4):
            hk.submit("angry", "down", "slow & <b>wrong</b>", agent_id="Ben", message_id="m-1", author="kim")
        for _ in range(3):
            hk.submit("spam", "up", "click here")
        hk.relay.run_due()
        yield hk


@frozen
class Site:
    """A dashboard on a host, with someone who is signed in with a key for everything.

    Attributes:
        hk: what is served.
        server: its server.
        prefix: the prefix of its paths.
        visitor: the browser.
    """

    hk: Harken
    server: Server
    prefix: str
    visitor: Visitor

    def post(self, path: str, fields: Any, **headers: str) -> requests.Response:
        """The response to a form; redirects are not followed."""
        return self.visitor.post(path, fields, **headers)

    def soup(self, path: str) -> BeautifulSoup:
        """A page below the prefix."""
        answer = self.visitor.get(f"{self.prefix}{path}")
        assert answer.status_code == 200, answer.text
        return BeautifulSoup(answer.text, "html.parser")


@contextmanager
def site(way: str) -> Iterator[Site]:
    """A filled dashboard on a host, and a visitor who is signed in."""
    prefix, serve = WAYS[way]
    with ExitStack() as stack:
        hk = stack.enter_context(filled())
        server = stack.enter_context(serve(hk, ServerSettings(**{**OPEN, "access": "keys", "relay": False})))
        visitor = Visitor(server)
        key = hk.keys.create("default", [Scope.ADMIN, Scope.MODERATE], name="ops").text
        assert visitor.post(f"{prefix}/sign-in", {"key": key}).status_code == 303
        yield Site(hk, server, prefix, visitor)


# --- A crawler --------------------------------------------------------------------------------------------------------


def shape(address: str) -> str:
    """An address without ids and the values of its parameters; all filters are one."""
    parts = urlsplit(address)
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    known = sorted({"filter" if is_filter(name) else name for name in names})
    path = _IDS.sub("ID", parts.path)
    return f"{path}?{'&'.join(known)}" if known else path


def fields_of(form: Tag) -> list[tuple[str, str]]:
    """What a browser sends if the first button is pressed; required fields have a text."""
    sent = []
    for one in form.select("input[name], select[name], textarea[name]"):
        kind, name, value = one.get("type"), str(one["name"]), str(one.get("value", ""))
        if one.name == "select":
            chosen = one.select_one("option[selected]") or one.select_one("option")
            value = str(chosen.get("value", chosen.get_text())) if chosen else ""
        elif one.name == "textarea":
            value = one.get_text()
        elif kind in ("checkbox", "radio") and not one.has_attr("checked"):
            continue
        sent.append((name, value or ("x" if one.has_attr("required") else "")))
    button = form.select_one("button[name]:not([disabled])")
    return sent if button is None else [*sent, (str(button["name"]), str(button.get("value", "")))]


@define
class Crawler:
    """Follows all links of the dashboard, and remembers its forms.

    Attributes:
        site: the dashboard.
        seen: the shapes of the addresses that were loaded, without the prefix.
        forms: the forms that change something: the address and the fields, by the shape of both.
    """

    site: Site
    seen: set[str] = field(factory=set)
    forms: dict[str, tuple[str, list[tuple[str, str]]]] = field(factory=dict)

    def crawl(self, start: str) -> None:
        """Load a page and everything that it leads to, directly or not."""
        waiting = [f"{self.site.server.url}{self.site.prefix}{start}"]
        while waiting:
            address = waiting.pop(0)
            if (short := self._shape(address)) not in self.seen:
                self.seen.add(short)
                found = self._load(address)
                # All combinations of parameters would be too many.
                waiting += [] if "?" in short else found

    def _shape(self, address: str) -> str:
        return shape(address.removeprefix(f"{self.site.server.url}{self.site.prefix}"))

    def _load(self, address: str) -> list[str]:
        """The addresses that a page leads to."""
        answer = self.site.visitor.session.get(address, allow_redirects=False, timeout=PATIENCE)
        assert answer.status_code == 200, (address, answer.text)
        if not answer.headers["content-type"].startswith("text/html"):
            return []
        assert answer.headers["content-security-policy"] == POLICY
        page = BeautifulSoup(answer.text, "html.parser")
        assert not page.select("[style], style, script:not([src]), [onclick]"), address
        for form in page.select("form[method=post]"):
            action = self._own(address, str(form["action"]))
            fields = fields_of(form)
            names = ",".join(sorted({name for name, _ in fields}))
            self.forms.setdefault(f"{self._shape(action).partition('?')[0]} {names}", (action, fields))
        for listener in page.select("[data-events]"):
            assert self._own(address, str(listener["data-events"])).partition("?")[0].endswith("/api/events")
        found = [(one, name) for name in ("href", "src", "data-later") for one in page.select(f"[{name}]")]
        found += [(one, "action") for one in page.select("form[action]:not([method=post])")]
        found += [(one, "formaction") for one in page.select("[formaction]")]
        links = [str(one[name]) for one, name in found]
        return [self._own(address, link) for link in links if not link.startswith(("#", "data:"))]

    def _own(self, page: str, link: str) -> str:
        """The address of a link, after checking that it stays below the prefix."""
        address = urljoin(page, link).partition("#")[0]
        assert address.startswith(f"{self.site.server.url}{self.site.prefix}/"), (page, link)
        return address

    def submit_forms(self) -> None:
        """Submit each form from a page of another origin, which is refused, and from its own page. Sign out last."""
        for name, (action, fields) in sorted(self.forms.items(), key=lambda one: "/sign-out" in one[0]):
            path = action.removeprefix(self.site.server.url)
            foreign = self.site.post(path, fields, Origin=EVIL)
            assert foreign.status_code == 403, name
            assert "set-cookie" not in foreign.headers
            answer = self.site.post(path, fields)
            if answer.status_code == 303:
                target = answer.headers["location"].partition("#")[0]
                assert target.startswith(f"{self.site.prefix}/"), name
                assert self.site.visitor.get(target).status_code == 200, name
                continue
            # Some forms are incomplete without what a person chooses, and some change what others need.
            assert answer.status_code in (200, 409, 422), (name, answer.text)
            assert answer.headers["content-security-policy"] == POLICY
            # Some errors have pages of their own, without a menu.
            assert ('class="nav"' if answer.ok else "<h1") in answer.text


@cache
def explored(way: str) -> tuple[frozenset[str], frozenset[str]]:
    """The shapes of all pages and files, and of all forms, of a host."""
    with site(way) as made:
        crawler = Crawler(made)
        crawler.crawl("/dashboard")
        crawler.submit_forms()
        assert made.visitor.get(f"{made.prefix}/dashboard").status_code == 303
        return frozenset(crawler.seen), frozenset(crawler.forms)


# --- Tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_every_page_link_and_form(way: str) -> None:
    """All pages, styles, scripts and exports that can be reached answer, below the prefix, and are those of every host.
    Each page has the strict policy, and nothing inline. Each form leads to a page below the prefix, and is refused from
    pages of other origins.
    """
    pages, forms = explored(way)
    assert (pages, forms) == explored("fastapi")
    reached = {page.partition("?")[0] for page in pages}
    assert reached >= {
        *("/dashboard", "/dashboard/feedback", "/dashboard/feedback/ID", "/dashboard/moderation"),
        *("/dashboard/alerts", "/dashboard/settings", "/dashboard/preferences", "/dashboard/filter", "/api/export"),
    }
    assert len(pages) > 30
    assert {form.partition(" ")[0] for form in forms} >= {
        *("/dashboard/moderation/decisions", "/dashboard/settings/keys", "/dashboard/settings/routes"),
        *("/dashboard/alerts/replay", "/dashboard/theme", "/sign-in/stay", "/sign-out"),
    }


@pytest.mark.parametrize("way", WAYS)
def test_signing_in_leads_back(way: str) -> None:
    """Without a sign-in, a page leads to the sign-in page, which leads back; the cookie is for the prefix only."""
    prefix, _ = WAYS[way]
    with site(way) as made:
        visitor = Visitor(made.server)
        asked = f"{prefix}/dashboard/feedback?rating=down&text=a%26b"
        led = visitor.get(asked)
        assert led.status_code == 303
        assert led.headers["location"].startswith(f"{prefix}/sign-in?next=")
        answer = visitor.get(led.headers["location"])
        assert answer.headers["content-security-policy"] == SIGN_IN_POLICY
        page = BeautifulSoup(answer.text, "html.parser")
        for link in page.select("link[href], script[src]"):
            assert visitor.get(str(link.get("href") or link.get("src"))).status_code == 200
        form = page.select_one("form")
        assert form is not None
        key = made.hk.keys.create("default", [Scope.READ]).text
        entered = [("key", key), *[pair for pair in fields_of(form) if pair[0] != "key"]]
        assert visitor.post(str(form["action"]), entered, Origin=EVIL).status_code == 403
        signed_in = visitor.post(str(form["action"]), entered)
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, asked)
        (cookie,) = visitor.session.cookies
        assert cookie.path == (prefix or "/")
        assert visitor.get(asked).status_code == 200
        for other in (f"{made.server.url}{prefix}x/", f"{EVIL}/", f"//{EVIL}", f"{prefix}/../x"):
            again = visitor.post(f"{prefix}/sign-in", {"key": key, "next": other})
            assert again.headers["location"] == f"{prefix}/dashboard"


@pytest.mark.parametrize("way", WAYS)
def test_forms_change_what_they_say(way: str) -> None:
    """A decision, a key, a route, a replay and a theme are stored, and the next page shows them."""
    with site(way) as made:
        hk, home = made.hk, f"{made.prefix}/dashboard"
        decide = made.soup("/dashboard/moderation").select_one("form.decide")
        assert decide is not None
        assert made.post(str(decide["action"]), fields_of(decide)).status_code == 303
        assert hk.moderation.backlog("default").waiting == 2

        created = made.post(f"{home}/settings/keys", {"name": "web backend", "scopes": "submit"})
        assert created.status_code == 200
        assert "web backend" in made.soup("/dashboard/settings").get_text()

        saved = made.post(f"{home}/settings/routes", {"name": "downs", "channel": "team", "ratings": "down"})
        assert saved.status_code == 303, saved.text
        assert [route.name for route in hk.routes.routes() if not hk.routes.configured(route.name)] == ["downs"]

        themed = made.post(f"{home}/theme", {"value": "dark", "back": f"{home}/alerts"})
        assert themed.headers["location"] == f"{home}/alerts"
        page = made.soup("/dashboard/alerts").select_one("html")
        assert page is not None
        assert page["data-theme"] == "dark"


@pytest.mark.parametrize("way", WAYS)
def test_errors_have_pages(way: str) -> None:
    """An unknown entry, an invalid filter and a missing right have a page with a way back, and the strict policy."""
    with site(way) as made:
        reader = Visitor(made.server)
        reader.post(f"{made.prefix}/sign-in", {"key": made.hk.keys.create("default", [Scope.READ]).text})
        for visitor, path, status in (
            (made.visitor, "/dashboard/feedback/unknown", 404),
            (made.visitor, f"/dashboard/feedback/{quote('<b>ü')}", 404),
            (made.visitor, "/dashboard?rating=maybe", 422),
            (reader, "/dashboard/settings", 403),
        ):
            answer = visitor.get(f"{made.prefix}{path}")
            assert answer.status_code == status
            assert answer.headers["content-security-policy"] == POLICY
            links = [str(one["href"]) for one in BeautifulSoup(answer.text, "html.parser").select("main a")]
            assert f"{made.prefix}/dashboard" in links

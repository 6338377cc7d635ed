"""Harken's applications mounted under a path in other ASGI and WSGI applications, without a framework."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from harken import Harken
from harken_adapters.hosts import fastapi, flask
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.wsgi import WsgiApp
from hosts.serving import OPEN, Server, problem, serving, serving_wsgi, stored_feedback
from support import PATIENCE

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

SETTINGS = ServerSettings(**OPEN)
UP = {"rating": "up"}


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def by_wsgiref(app: Any) -> Iterator[Server]:
    """Served by wsgiref, one request at a time."""
    with make_server("127.0.0.1", 0, app, handler_class=_Silent) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield Server("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join(PATIENCE)


def own_asgi(_: Any) -> PlainTextResponse:
    """The response of the host application."""
    return PlainTextResponse("the shop")


def own_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """The response of the host application."""
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"the shop"]


def around(inner: Any) -> Any:
    """A minimal mount of an ASGI application, which sets ``root_path``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/a/b/"):
            await PlainTextResponse("the shop")(scope, receive, send)
        else:
            await inner({**scope, "root_path": "/a/b"}, receive, send)

    return app


@contextmanager
def mounted(hk: Harken, way: str, settings: ServerSettings = SETTINGS) -> Iterator[Server]:
    """Harken under ``/a/b``, and the host application elsewhere."""
    asgi = fastapi.create_app(settings, harken=hk)
    wsgi = flask.create_app(settings, harken=hk) if "Flask" in way else WsgiApp(settings, harken=hk)
    dispatching = DispatcherMiddleware(own_wsgi, {"/a/b": wsgi})
    shop = Starlette(routes=[Mount("/a/b", asgi), Route("/own", own_asgi)])
    ways: dict[str, Any] = {
        "Starlette": lambda: serving(shop),
        "ASGI": lambda: serving(around(asgi)),
        "Flask": lambda: serving_wsgi(dispatching),
        "Flask by wsgiref": lambda: by_wsgiref(dispatching),
        "WSGI": lambda: serving_wsgi(dispatching),
        "WSGI by wsgiref": lambda: by_wsgiref(dispatching),
    }
    with ways[way]() as server:
        yield server


@pytest.mark.parametrize("way", ["Starlette", "ASGI", "Flask", "Flask by wsgiref", "WSGI", "WSGI by wsgiref"])
def test_links_lead_back(hk: Harken, way: str) -> None:
    """Links of a mounted application are valid for its clients, and other paths reach the host application."""
    with mounted(hk, way) as server:
        assert server.ask("GET", "/own").text == "the shop"
        for _ in range(3):
            answer = server.ask("POST", "/a/b/api/sessions/s%20%C3%BC/feedback", json=UP)
            assert answer.headers["location"] == f"/a/b/api/feedback/{answer.json()['feedback_id']}"
            assert server.get(answer.headers["location"])["session_id"] == "s ü"
        first = server.ask("GET", "/a/b/api/sessions/s%20%C3%BC/feedback?limit=2")
        following = first.links["next"]["url"]
        assert following.startswith("/a/b/api/sessions/s%20%C3%BC/feedback?")
        assert len(first.json()["feedbacks"] + server.get(following)["feedbacks"]) == 3
        assert "/a/b/api/feedback" in server.get("/a/b/openapi.json")["paths"]
        assert 'href="/a/b/docs/assets/' in server.ask("GET", "/a/b/docs").text
        assert problem(server.ask("GET", "/a/b/nothing"), 404, "not-found")["instance"] == "/a/b/nothing"
        assert server.ask("PUT", "/a/b/api/feedback", json=UP).headers["allow"] == "GET, POST"
        assert len(server.ask("GET", "/a/b/api/export").text.splitlines()) == 3


@pytest.mark.parametrize("way", ["Starlette", "ASGI", "Flask", "WSGI by wsgiref"])
def test_a_browser_signs_in_where_it_is_mounted(hk: Harken, way: str) -> None:
    """The sign-in pages link to each other under the prefix, and the cookie is limited to it."""
    key = hk.keys.create("default", ["read"]).text
    with mounted(hk, way, ServerSettings(**{**OPEN, "access": "keys"})) as server:
        asked = server.ask("GET", "/a/b/docs", allow_redirects=False)
        assert (asked.status_code, asked.headers["location"]) == (303, "/a/b/sign-in?next=%2Fa%2Fb%2Fdocs")
        page = server.ask("GET", "/a/b/sign-in").text
        assert 'action="/a/b/sign-in" data-current="/a/b/sign-in/current" data-next="/a/b/dashboard"' in page
        asked = server.ask("GET", "/a/b/demo?x=1", allow_redirects=False)
        assert asked.headers["location"] == "/a/b/sign-in?next=%2Fa%2Fb%2Fdemo%3Fx%3D1"
        with requests.Session() as browser:
            signed_in = browser.post(f"{server.url}/a/b/sign-in", data={"key": key}, timeout=PATIENCE)
            assert (signed_in.url, signed_in.status_code) == (f"{server.url}/a/b/dashboard", 200)
            assert [(one.name[:15], one.path) for one in browser.cookies] == [("harken_session_", "/a/b")]
            assert browser.get(f"{server.url}/a/b/api/feedback", timeout=PATIENCE).ok
            out = browser.post(f"{server.url}/a/b/sign-out", timeout=PATIENCE)
            assert out.url == f"{server.url}/a/b/sign-in?signed-out"
            assert list(browser.cookies) == []


@pytest.mark.parametrize("way", ["Flask", "WSGI"])
def test_wsgi_conformance(hk: Harken, way: str) -> None:
    """The applications conform to WSGI, for all requests and responses."""
    app = flask.create_app(SETTINGS, harken=hk) if way == "Flask" else WsgiApp(SETTINGS, harken=hk)
    with by_wsgiref(validator(app)) as server:
        server.post("/api/sessions/s/feedback", UP)
        for method, path, status in (
            ("GET", "/api/feedback", 200),
            ("GET", "/api/export", 200),
            ("HEAD", "/healthz", 200),
            ("GET", "/metrics", 200),
            ("GET", "/nothing", 404),
            ("PUT", "/api/feedback", 405),
            ("DELETE", f"/api/feedback/{stored_feedback(hk)[0].id}", 204),
        ):
            assert server.ask(method, path).status_code == status
        large = {**UP, "comment": "x" * 100_000}
        problem(server.ask("POST", "/api/sessions/s/feedback", json=large), 413, "body-too-large")

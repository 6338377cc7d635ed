"""``harken serve`` behind nginx: a proxy without forwarding headers does not bypass authentication."""

import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from tests import nginx
from tests.nginx import nginx_before
from tests.reliability.http_processes import Service, serve

import harken
from harken import Harken
from harken_adapters.hosts import flask
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.browser_files import MODULES
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import PAGES
from hosts.http.test_serve import typed
from hosts.serving import served, serving_wsgi
from support import PATIENCE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
#: The paths that need no key: health, sign-in, feedback links and the modules for web pages.
FOR_ALL = {"/healthz", "/readyz", "/sign-in", "/sign-in/style.css", "/sign-in/start.js", "/sign-out"}
FOR_ALL |= {"/sign-in/current", "/sign-in/openid", "/sign-in/openid/callback"}
#: The preferences of the browser, and a file that the dashboard does not have.
FOR_ALL |= {"/dashboard/theme", "/dashboard/letter-keys", "/dashboard/static/swagger-ui.css"}
FOR_ALL |= {"/vote/none", "/vote/assets/style.css", "/demo/style.css", *(f"/{name}.js" for name in MODULES)}
NAMED = {
    "session_id": "s",
    "message_id": "m",
    "channel": "log",
    "route": "r",
    "delivery_id": "d:log",
    "alert_id": "a",
    "key_id": "0123456789abcdef",
    "name": "swagger-ui.css",
    "link": "none",
}


def asked(url: str, method: str, path: str, **options: Any) -> requests.Response:
    """Send a request as an ordinary client."""
    return requests.request(method, f"{url}{path}", timeout=PATIENCE, allow_redirects=False, **options)


def everything(feedback_id: str) -> list[tuple[str, str]]:
    """The method and path of every operation and page."""
    pages = [(page.methods[0], page.path) for page in PAGES]
    operations = [(one.method, one.path) for one in OPERATIONS]
    return [(method, path.format(**NAMED, feedback_id=feedback_id)) for method, path in (*operations, *pages)]


def give(service: Service) -> str:
    """Submit feedback directly; returns its id."""
    return str(service.ask("POST", PATH, json=UP).json()["feedback_id"])


def test_a_port_that_another_server_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests reach nginx even if another server has taken its port in the meantime."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free, ports = nginx._free_port, iter([taken.getsockname()[1]])
        monkeypatch.setattr(nginx, "_free_port", lambda: next(ports, None) or free())
        with nginx_before("http://127.0.0.1:1", tmp_path / "nginx") as outside:
            assert asked(outside, "GET", "/").headers["server"].startswith("nginx")


def test_without_the_key_nothing_is_served(tmp_path: Path) -> None:
    """With a minimal ``proxy_pass`` configuration, every request needs the key."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path) as service, nginx_before(service.url, tmp_path / "nginx") as outside:
        feedback_id = give(service)
        for method, path in everything(feedback_id):
            answer = asked(outside, method, path)
            if path in FOR_ALL:
                continue
            if path in ("/docs", "/demo", "/sign-in/stay") or path.startswith("/dashboard"):
                leads_back = method == "GET" and path != "/dashboard"
                expected = f"/sign-in?next={quote(path, safe='')}" if leads_back else "/sign-in"
                if method == "POST" and path.startswith("/dashboard"):
                    # What the form says was not saved.
                    expected = "/sign-in?unsaved="
                assert (answer.status_code, answer.headers["location"]) == (303, expected)
            else:
                assert (answer.status_code, answer.json()["type"]) == (401, "urn:harken:problem:unauthorized")
        assert asked(outside, "POST", "/api/erasures", json={"session_id": "s"}).status_code == 401
        assert asked(outside, "GET", "/healthz").status_code == 200
        with harken.connect(url) as hk:
            assert [one.id for one in hk.feedback().items] == [feedback_id]


def test_with_the_key_it_works(tmp_path: Path) -> None:
    """With the key, requests through the proxy work as without it, also for a browser that has signed in."""
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path) as service:
        assert typed(service)["status"] == "success"
        with nginx_before(service.url, tmp_path / "nginx") as outside:
            answer = asked(outside, "POST", PATH, json=UP, headers=service.credentials)
            assert answer.status_code == 201, answer.text
            # The service does not see the address that the browser uses, except in headers of the browser.
            browser = {"Origin": outside, "Sec-Fetch-Site": "same-origin"}
            signed_in = asked(outside, "POST", "/sign-in", data={"key": service.key}, headers=browser)
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/dashboard")
            cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
            assert asked(outside, "GET", "/dashboard", headers=cookie).status_code == 200
            path = f"/api/feedback/{answer.json()['feedback_id']}"
            for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert asked(outside, "DELETE", path, headers={**cookie, **headers}).status_code == 403
            assert asked(outside, "DELETE", path, headers={**cookie, **browser}).status_code == 204


@pytest.mark.parametrize(
    "more",
    [
        "",
        "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
        "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_http_version 1.1; proxy_set_header Forwarded for=$remote_addr;",
        "proxy_http_version 1.1; proxy_set_header Via nginx;",
        "proxy_http_version 1.1; proxy_set_header Host shop.example;",
    ],
)
def test_open_is_not_open_to_a_proxy(tmp_path: Path, more: str) -> None:
    """``--open`` serves direct requests only, and none that come through nginx, with or without forwarding headers."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, "--open") as service, nginx_before(service.url, tmp_path / "nginx", more=more) as outside:
        assert typed(service)["status"] == "success"
        feedback_id = give(service)
        for method, path in everything(feedback_id):
            answer = asked(outside, method, path)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:harken:problem:forbidden"), path
        with harken.connect(url) as hk:
            assert hk.summary().total == 2


def test_the_documented_site(hk: Harken, tmp_path: Path) -> None:
    """The documented nginx configuration works for the documented application, including browser sign-in without Sec-
    Fetch-Site.
    """
    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    (location,) = re.findall(r"location / \{\n\s*proxy_pass [^;]+;\n(.*?)\n    \}\n\}", page, re.DOTALL)
    key = hk.keys.create("default", ["admin"]).text
    app = flask.create_app(ServerSettings(), harken=hk)
    with serving_wsgi(app) as server, nginx_before(server.url, tmp_path / "nginx", more=location) as outside:
        bearing = {"Authorization": f"Bearer {key}"}
        assert asked(outside, "POST", PATH, json=UP, headers=bearing).status_code == 201
        signed_in = asked(outside, "POST", "/sign-in", data={"key": key}, headers={"Origin": outside})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/dashboard")
        app.extensions["harken"].close()


def test_a_proxy_that_changes_the_host(hk: Harken, tmp_path: Path) -> None:
    """If the proxy changes the Host header, the sign-in page says what to change."""
    key = hk.keys.create("default", ["admin"]).text
    with (
        served(hk, access="keys") as server,
        nginx_before(server.url, tmp_path / "nginx", more="proxy_set_header Host $host;") as outside,
    ):
        refused = asked(outside, "POST", "/sign-in", data={"key": key}, headers={"Origin": outside})
        assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "proxy_set_header Host $http_host" in refused.text
        browser = {"Origin": outside, "Sec-Fetch-Site": "same-origin"}
        assert asked(outside, "POST", "/sign-in", data={"key": key}, headers=browser).status_code == 303

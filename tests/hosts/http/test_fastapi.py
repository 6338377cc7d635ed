"""Harken in FastAPI applications, and as a standalone application: paths, dependencies, documentation and shutdown."""

import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread
from threading import enumerate as all_threads
from typing import Any

import pytest
import requests
from attrs import evolve
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

import harken
from harken import Harken, StorageClosed, StorageError
from harken.ports.repository import Accepted, Outcome
from harken_adapters.hosts.fastapi import ServerSettings, create_app, feedback_router
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES, SIGN_IN_FILES, SIGN_IN_PAGES
from harken_adapters.hosts.web.routes import DASHBOARD_PAGES, PAGES
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemoryFeedbackRepository
from hosts.events import listening
from hosts.serving import OPEN, Server, call_operation, problem, serving, stored_feedback
from support import PATIENCE, eventually

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
SETTINGS = ServerSettings(**OPEN)


def included(hk: Harken, prefix: str = "", **options: Any) -> FastAPI:
    """An application that includes the router."""
    app = FastAPI(title="Shop")

    @app.get("/own")
    def own() -> dict[str, str]:
        return {"of": "the shop"}

    app.include_router(feedback_router(hk, SETTINGS), prefix=prefix, **options)
    return app


def mounted(hk: Harken, path: str) -> FastAPI:
    """An application with the standalone application mounted under a path."""
    app = FastAPI(title="Shop")

    @app.get("/own")
    def own() -> dict[str, str]:
        return {"of": "the shop"}

    app.mount(path, create_app(SETTINGS, harken=hk))
    return app


@pytest.mark.parametrize("way", ["router", "router under a prefix", "mounted", "mounted deeper", "alone"])
def test_links_lead_back(hk: Harken, way: str) -> None:
    """Wherever the API is mounted, its links lead to it, and the application's own paths still work."""
    app, prefix = {
        "router": lambda: (included(hk), ""),
        "router under a prefix": lambda: (included(hk, "/v1"), "/v1"),
        "mounted": lambda: (mounted(hk, "/feedback"), "/feedback"),
        "mounted deeper": lambda: (mounted(hk, "/api/feedback"), "/api/feedback"),
        "alone": lambda: (create_app(SETTINGS, harken=hk), ""),
    }[way]()
    with serving(app) as server:
        if way != "alone":
            assert server.get("/own") == {"of": "the shop"}
        for _ in range(3):
            answer = server.ask("POST", f"{prefix}/api/sessions/s%20%C3%BC/feedback", json=UP)
            assert answer.headers["location"] == f"{prefix}/api/feedback/{answer.json()['feedback_id']}"
            assert server.get(answer.headers["location"])["session_id"] == "s ü"
        for path in ("/api/feedback", "/api/sessions/s%20%C3%BC/feedback"):
            first = server.ask("GET", f"{prefix}{path}?limit=2")
            following = first.links["next"]["url"]
            assert following.startswith(f"{prefix}{path}?")
            found = first.json()["feedbacks"] + server.get(following)["feedbacks"]
            assert sorted(one["id"] for one in found) == [one.id for one in stored_feedback(hk)]
        refused = server.ask("GET", f"{prefix}/api/feedback/nothing")
        assert problem(refused, 404, "not-found")["instance"] == f"{prefix}/api/feedback/nothing"


def test_the_hosts_own_documentation(hk: Harken) -> None:
    """All operations are in the documentation of the application that includes the router."""
    with serving(included(hk, "/v1")) as server:
        assert server.ask("GET", "/docs").status_code == 200
        document = server.get("/openapi.json")
    assert (document["info"]["title"], "/own" in document["paths"]) == ("Shop", True)
    for operation in OPERATIONS:
        described = document["paths"][f"/v1{operation.path}"][operation.method.lower()]
        assert described["operationId"] == operation.name


@pytest.mark.parametrize("path", ["", "/feedback"])
def test_its_own_documentation(hk: Harken, path: str) -> None:
    """Standalone or mounted, the documentation page, its assets and the document are served here, and nothing external
    is loaded.
    """
    app = mounted(hk, path) if path else create_app(SETTINGS, harken=hk)
    with serving(app) as server:
        page = server.ask("GET", f"{path}/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert loaded
        for link in loaded:
            assert link.startswith(f"{path}/")
            assert server.ask("GET", link).status_code == 200
        document = server.get(f"{path}/openapi.json")
        first = document.get("servers", [{"url": ""}])[0]["url"]
        paths = {f"{first.rstrip('/')}{one}" for one in document["paths"]}
        assert f"{path}{PATH.replace('/s/', '/{session_id}/')}" in paths
        assert server.ask("GET", f"{path}/docs/assets/..%2F..%2Fapp.py").status_code == 404
        assert server.get(f"{path}/healthz") == {"status": "ok"}
        if path:
            assert server.get("/openapi.json")["info"]["title"] == "Shop"


def test_dependencies_apply(hk: Harken) -> None:
    """A dependency of the application applies to every operation."""

    def refuse(request: Request) -> None:
        if request.headers.get("x-shop") != "friend":
            raise HTTPException(403, "not a friend of the shop")

    feedback_id = hk.submit("s", "up", author="a").feedback.id
    before = stored_feedback(hk)
    with serving(included(hk, dependencies=[Depends(refuse)])) as server:
        for operation in OPERATIONS:
            answer = call_operation(server, operation, feedback_id)
            assert (answer.status_code, answer.json()) == (403, {"detail": "not a friend of the shop"})
        assert stored_feedback(hk) == before
        server.post(PATH, UP, headers={"X-Shop": "friend", "Authorization": "Bearer of-the-shop"})
        assert len(stored_feedback(hk)) == 2


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_dependencies_apply_to_the_dashboard(hk: Harken, prefix: str) -> None:
    """A dependency of the application applies to each page of the dashboard and to signing in, but not to the style
    sheets and scripts.
    """

    def only_staff(request: Request) -> None:
        if request.cookies.get("staff") != "yes":
            raise HTTPException(403, "not of the staff")

    with serving(included(hk, prefix, dependencies=[Depends(only_staff)])) as server:
        for page in (*DASHBOARD_PAGES, *SIGN_IN_PAGES):
            path = page.path.format(feedback_id="f", key_id="k", route="r", channel="c")
            for method in page.methods:
                answer = server.ask(method, f"{prefix}{path}", data={}, allow_redirects=False)
                assert answer.status_code == 403, (method, path)
                assert method == "HEAD" or answer.json() == {"detail": "not of the staff"}
        staff = {"cookies": {"staff": "yes"}}
        shown = server.ask("GET", f"{prefix}/dashboard", **staff)
        assert shown.status_code == 200
        assert server.ask("HEAD", f"{prefix}/dashboard", **staff).status_code == 200
        files = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', shown.text)
        assert len(files) == 2
        for path in (*files, *(f"{prefix}{file.path}" for file in SIGN_IN_FILES)):
            assert server.ask("GET", path).status_code == 200
        form = {"data": {"name": "web", "scopes": "submit"}, **staff}
        assert server.ask("POST", f"{prefix}/dashboard/settings/keys", **form).status_code == 200
        assert [key.name for key in hk.keys.keys("default")] == ["web"]
        foreign = {"headers": {"Origin": "https://evil.example"}, **form}
        assert server.ask("POST", f"{prefix}/dashboard/settings/keys", **foreign).status_code == 403
        assert len(hk.keys.keys("default")) == 1


def test_the_dashboard_is_not_in_the_hosts_documentation(hk: Harken) -> None:
    """The OpenAPI document of the application has the API, but no pages; it finds the address of a page by its name."""
    app = included(hk, "/v1")
    paths = app.openapi()["paths"]
    assert {path.removeprefix("/v1") for path in paths} == {"/own", *(operation.path for operation in OPERATIONS)}
    assert app.url_path_for("dashboard_overview") == "/v1/dashboard"


def test_without_pages(hk: Harken) -> None:
    """Without pages, only the API, the widget and feedback links are served."""
    app = FastAPI()
    app.include_router(feedback_router(hk, SETTINGS, pages=False), prefix="/v1")
    with serving(app) as server:
        server.post(f"/v1{PATH}", UP)
        for page in PAGES:
            if page not in PUBLIC_PAGES:
                assert server.ask("GET", f"/v1{page.path}").status_code == 404, page.path
        assert server.ask("GET", "/v1/widget.js").status_code == 200
        assert server.ask("GET", "/v1/vote/assets/style.css").status_code == 200


def test_pages_that_the_application_has_itself(hk: Harken) -> None:
    """Documentation, health and metrics are those of the application, also without a prefix."""
    app = included(hk)

    @app.get("/healthz")
    def healthy() -> str:
        return "the shop is healthy"

    with serving(app) as server:
        assert server.get("/healthz") == "the shop is healthy"
        assert server.ask("GET", "/metrics").status_code == server.ask("GET", "/readyz").status_code == 404
        assert server.get("/openapi.json")["info"]["title"] == "Shop"
        assert "<h1>No feedback yet</h1>" in server.ask("GET", "/dashboard").text


def test_two_harkens_in_one_application() -> None:
    """Each of two routers shows its own feedback below its own prefix, and a browser can be signed in to both."""
    settings = ServerSettings(**{**OPEN, "access": "keys"})
    with harken.connect("memory://") as first, harken.connect("memory://") as second:
        app, harkens = FastAPI(), {"/a": first, "/b": second}
        for prefix, hk in harkens.items():
            hk.submit("s", "up", f"of {prefix}")
            app.include_router(feedback_router(hk, settings), prefix=prefix)
        with serving(app) as server, requests.Session() as browser:
            for prefix, hk in harkens.items():
                key = hk.keys.create("default", ["read"]).text
                page = browser.get(f"{server.url}{prefix}/dashboard/feedback", timeout=PATIENCE)
                assert page.url.startswith(f"{server.url}{prefix}/sign-in?next=")
                form = {"key": key, "next": f"{prefix}/dashboard/feedback"}
                browser.post(f"{server.url}{prefix}/sign-in", data=form, timeout=PATIENCE)
            assert {cookie.path for cookie in browser.cookies} == {"/a", "/b"}
            for prefix in harkens:
                page = browser.get(f"{server.url}{prefix}/dashboard/feedback", timeout=PATIENCE)
                assert page.url == f"{server.url}{prefix}/dashboard/feedback"
                assert re.findall("of /.", page.text) == [f"of {prefix}"]
                links = re.findall('(?:href|src|action)="(/[^"]*)"', page.text)
                assert links
                assert all(link.startswith(f"{prefix}/") for link in links)


def test_a_dependency_may_read_the_body(hk: Harken) -> None:
    """A dependency may read the body, for example to verify a signature, and the operation can still read it."""
    seen = []

    async def look(request: Request) -> None:
        seen.append(await request.body())

    with serving(included(hk, dependencies=[Depends(look)])) as server:
        server.post(PATH, {"rating": "up", "comment": "read twice"})
    assert [one.comment for one in stored_feedback(hk)] == ["read twice"]
    assert b"read twice" in seen[0]


def test_middleware_of_the_host(hk: Harken) -> None:
    """Middleware of the application sees requests, responses and bodies, and does not affect what is stored."""
    app = included(hk)

    @app.middleware("http")
    async def mark(request: Request, call_next: Any) -> Any:
        body = await request.body()
        answer = await call_next(request)
        answer.headers["x-length"] = str(len(body))
        return answer

    with serving(app) as server:
        answer = server.ask("POST", PATH, data=b'{"rating":"up"}', headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["x-length"]) == (201, "15")
        assert server.ask("GET", "/api/export").text.count("\n") == 1


class TestShutdown:
    """Shutdown."""

    @pytest.mark.parametrize("way", ["alone", "included"])
    def test_what_was_accepted_is_answered(self, way: str) -> None:
        """A request that was admitted before shutdown is answered once it is durable; later requests are rejected."""
        answers: list[int] = []
        with memory.open_storage() as storage:
            assert isinstance(storage.feedback, MemoryFeedbackRepository)
            repository = HeldUp(storage.feedback)
            with harken.connect(evolve(storage, feedback=repository)) as hk:
                app = create_app(SETTINGS, harken=hk) if way == "alone" else included(hk)

                def submit(server: Server) -> None:
                    # A late request is rejected without a response.
                    with suppress(requests.ConnectionError):
                        answers.append(server.ask("POST", PATH, json=UP).status_code)

                with serving(app) as server:
                    clients = [Thread(target=submit, args=(server,), daemon=True) for _ in range(4)]
                    for client in clients:
                        client.start()
                    assert repository.began.wait(PATIENCE)
                    # Releases the storage when the server has stopped listening.
                    Thread(target=repository.go_on_after, args=(server,), daemon=True).start()
                for client in clients:
                    client.join(PATIENCE)
                assert answers.count(201) == len(stored_feedback(hk))
                assert 201 in answers

    def test_no_thread_is_left(self, hk: Harken) -> None:
        """After shutdown, no thread is running, whether or not the application has its own lifespan."""
        calls: list[str] = []

        @asynccontextmanager
        async def own(_: FastAPI) -> AsyncIterator[None]:
            calls.append("begins")
            yield
            calls.append("ends")

        before = set(all_threads())
        app = FastAPI(lifespan=own)
        app.include_router(feedback_router(hk, SETTINGS))
        for one in (app, create_app(SETTINGS, harken=hk)):
            with serving(one) as server:
                server.post(PATH, UP)
                server.get(PATH)
        assert calls == ["begins", "ends"]
        left = {thread.name for thread in set(all_threads()) - before}
        assert not any(name.startswith("harken-http") for name in left)

    def test_closing(self, hk: Harken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Harken that the application connected is closed with it; one passed by the caller is not."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HARKEN_STORAGE", "sqlite:///kept.db")
        own = create_app(SETTINGS)
        with serving(own) as server:
            made = server.post(PATH, {"rating": "up", "comment": "<b>good</b>"})
        with pytest.raises(StorageClosed):
            own.state.harken.submit("s", "up")
        with harken.connect("sqlite:///kept.db") as again:
            assert [(one.id, one.comment) for one in stored_feedback(again)] == [(made["feedback_id"], "good")]
        with serving(create_app(SETTINGS, harken=hk)) as server:
            server.post(PATH, UP)
        hk.submit("s", "up")
        assert len(stored_feedback(hk)) == 2


class TestRestart:
    """An application that is started again, as in each test with Starlette's test client."""

    def test_its_own_harken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The application connects again, also from another working directory."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HARKEN_STORAGE", "sqlite:///kept.db")
        app = create_app(SETTINGS)
        for number in range(3):
            with TestClient(app) as client:
                assert client.get("/readyz").status_code == 200
                assert client.post(PATH, json=UP).status_code == 201
                assert len(client.get(PATH).json()["feedbacks"]) == number + 1
                app.state.harken.submit("t", "up")
            monkeypatch.chdir("/")
        with pytest.raises(StorageClosed):
            app.state.harken.submit("s", "up")

    @pytest.mark.parametrize("way", ["alone", "included"])
    def test_a_given_harken(self, hk: Harken, way: str) -> None:
        """The application serves the same Harken again, with calls in threads and with event streams."""
        app = create_app(SETTINGS, harken=hk) if way == "alone" else included(hk)
        for number in range(3):
            with TestClient(app) as client:
                assert client.post(PATH, json=UP).status_code == 201
                assert client.get("/api/export").text.count("\n") == number + 1
                assert len(client.get(PATH).json()["feedbacks"]) == number + 1

    def test_event_streams(self, hk: Harken) -> None:
        """After a restart, event streams do not end at once."""
        app = create_app(SETTINGS, harken=hk)
        for _ in range(2):
            with serving(app) as server, listening(server.url) as stream:
                server.post(PATH, UP)
                assert stream.event().event == "feedback.created"

    def test_a_storage_that_is_gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the storage cannot be opened again, the start fails with the reason."""
        monkeypatch.setenv("HARKEN_STORAGE", f"sqlite:///{tmp_path}/folder/kept.db")
        (tmp_path / "folder").mkdir()
        app = create_app(SETTINGS)
        with TestClient(app):
            pass
        rmtree(tmp_path / "folder")
        with pytest.raises(StorageError, match="folder"), TestClient(app):
            pass


class HeldUp(MemoryFeedbackRepository):
    """A storage that blocks writes until it is released."""

    def __init__(self, other: MemoryFeedbackRepository) -> None:
        super().__init__(other._data)
        self.began, self.go = Event(), Event()

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        self.began.set()
        assert self.go.wait(PATIENCE)
        return super().add(batch)

    def go_on_after(self, server: Server) -> None:
        """Releases the storage once the server accepts no more connections."""

        def closed() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex((server.host, server.port)) != 0

        eventually(closed)
        self.go.set()

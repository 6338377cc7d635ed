"""Harken in Django projects, with threads and with an event loop."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.test import Client
from django.urls import include, path, reverse
from django.utils.decorators import async_only_middleware

import harken
from harken import ConfigurationError, Harken, MissingExtra, StorageClosed
from harken_adapters.hosts.django import current_harken
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import PAGES
from hosts.django_serving import MIDDLEWARE, a_project, serve_django, serve_django_in_loop
from hosts.events import listening, room
from hosts.serving import OPEN, raw_request, stored_feedback
from support import PATIENCE, eventually

FEEDBACK = "api/sessions/s/feedback"
UP = {"rating": "up"}
SETTINGS = ServerSettings(**OPEN)
#: More than the threads of an event loop.
LISTENERS = 40


def own(_: HttpRequest) -> JsonResponse:
    """A view of the project that submits feedback."""
    return JsonResponse({"kept": current_harken().submit("own", "up").feedback.session_id})


def not_found(_: HttpRequest, exception: Exception) -> HttpResponse:
    """The 404 page of the project."""
    return HttpResponse("nothing in the shop", status=404)


def shop(prefix: str = "feedback/", urls: str = "urls") -> Any:
    """The URL patterns of a project."""
    module = ModuleType("shop")
    theirs = path(prefix, include(f"harken_adapters.hosts.django.{urls}"))
    vars(module).update(urlpatterns=[path("shop/own/", own), theirs], handler404=not_found)
    return module


@pytest.fixture
def project(hk: Harken) -> Iterator[Callable[..., Client]]:
    """Creates a project with these settings, with ``hk`` by default, and returns its client."""
    with ExitStack() as stack:

        def make(said: dict[str, Any] | None = None, **settings: Any) -> Client:
            table = {"HARKEN": hk, "SERVER": OPEN} if said is None else said
            stack.enter_context(a_project(**{"HARKEN": table, "ROOT_URLCONF": shop(), **settings}))
            return Client(enforce_csrf_checks=True)

        yield make


def given(client: Client, where: str = f"/feedback/{FEEDBACK}", **body: Any) -> Any:
    """The response to valid feedback."""
    answer = client.post(where, {**UP, **body}, "application/json")
    assert answer.status_code == 201, answer.content
    return answer.json()


# --- In a project -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["feedback/", "a/b/", "<slug:tenant>/x/"])
@pytest.mark.parametrize("mount", ["", "/mount"])
def test_the_project_gets_the_api(project: Callable[..., Client], hk: Harken, prefix: str, mount: str) -> None:
    """The API is available under the prefix of the project, and links in responses lead to it."""
    client = project(ROOT_URLCONF=shop(prefix))
    root = "/" + prefix.replace("<slug:tenant>", "acme").rstrip("/")
    answer = client.post(f"{root}/{FEEDBACK}", UP, "application/json", SCRIPT_NAME=mount)
    assert answer.headers["location"] == f"{mount}{root}/api/feedback/{answer.json()['feedback_id']}"
    found = client.get(answer.headers["location"].removeprefix(mount), SCRIPT_NAME=mount)
    assert found.json()["session_id"] == "s"
    assert client.get("/shop/own/").json() == {"kept": "own"}
    assert [one.session_id for one in stored_feedback(hk)] == ["s", "own"]
    document = client.get(f"{root}/openapi.json", SCRIPT_NAME=mount).json()
    assert f"{mount}{root}/api/feedback" in document["paths"]
    assert f'href="{mount}{root}/docs/assets/' in client.get(f"{root}/docs", SCRIPT_NAME=mount).content.decode()


def test_every_operation_has_a_name(project: Callable[..., Client]) -> None:
    """The project can reverse the URL of each operation and page by its name."""
    project()
    parts = {"session_id": "s", "message_id": "m", "feedback_id": "f", "channel": "c", "route": "r", "name": "n"}
    parts |= {"alert_id": "a", "delivery_id": "d", "link": "l", "key_id": "k"}
    for target in (*OPERATIONS, *PAGES):
        needed = {name: part for name, part in parts.items() if f"{{{name}}}" in target.path}
        assert reverse(f"harken:{target.name}", kwargs=needed) == "/feedback" + target.path.format(**parts)


def test_who_answers_unknown_paths(project: Callable[..., Client]) -> None:
    """Below its prefix, Harken answers unknown paths; elsewhere the project does."""
    client = project()
    assert client.get("/nothing").content == client.get("/api/feedback").content == b"nothing in the shop"
    for where in ("/feedback/", "/feedback/nothing", "/feedback/nothing\n", "/feedback/api/sessions//feedback"):
        answer = client.get(where)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), where
    answer = client.put("/feedback/api/feedback", {}, "application/json")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_at_the_root_the_project_keeps_its_pages(project: Callable[..., Client]) -> None:
    """At the root, the project serves its own pages, handles unknown paths and appends missing slashes."""
    client = project(ROOT_URLCONF=shop("", "root_urls"))
    given(client, f"/{FEEDBACK}")
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/nothing").content == b"nothing in the shop"
    answer = client.get("/shop/own")
    assert (answer.status_code, answer.headers["location"]) == (301, "/shop/own/")


class Guard:
    """Middleware that admits only requests with a certain comment, for which it reads the body."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Called by Django."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponse | None:
        """Called once the view is known."""
        match = request.resolver_match
        ours = match is not None and match.namespace == "harken"
        if ours and json.loads(request.body or b"null") != UP:
            return HttpResponseForbidden()
        return None


@pytest.mark.parametrize("in_loop", [False, True])
def test_middleware_of_the_project_applies(hk: Harken, in_loop: bool) -> None:
    """Middleware of the project applies to every operation, and may read the body."""
    serve = serve_django_in_loop if in_loop else serve_django
    guarded = [*MIDDLEWARE, f"{__name__}.Guard"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, __name__, sys.modules[Guard.__module__])
        with serve(hk, SETTINGS, ROOT_URLCONF=shop(), MIDDLEWARE=guarded) as server:
            asked = [("GET", None), ("POST", {"rating": None}), ("POST", UP)]
            codes = [server.ask(how, f"/feedback/{FEEDBACK}", json=body).status_code for how, body in asked]
    assert codes == [403, 403, 201]
    assert len(stored_feedback(hk)) == 1


def test_size_limits_of_django_do_not_apply(project: Callable[..., Client]) -> None:
    """Django's size limit does not apply to Harken, which has its own."""
    client = project(DATA_UPLOAD_MAX_MEMORY_SIZE=20)
    given(client, comment="x" * 900)
    answer = client.post(f"/feedback/{FEEDBACK}", {"comment": "x" * 70_000}, "application/json")
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:harken:problem:body-too-large")


def test_a_body_that_ends_early(hk: Harken) -> None:
    """A truncated body is rejected, even if its beginning is valid."""
    with serve_django(hk, SETTINGS, ROOT_URLCONF=shop()) as server:
        json_body = ("Content-Type: application/json",)
        server.send(raw_request("POST", f"/feedback/{FEEDBACK}", *json_body, body=b"{}  ", length=4))
        assert len(stored_feedback(hk)) == 1
        answer = requests.post(
            f"{server.url}/feedback/{FEEDBACK}",
            data=iter([b'{"rating"', b': "up"}']),
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE,
        )
        assert answer.status_code == HTTPStatus.CREATED
    assert len(stored_feedback(hk)) == 2


def test_the_database_is_not_used(project: Callable[..., Client], capsys: pytest.CaptureFixture[str]) -> None:
    """Harken does not use the project's database."""
    project()
    call_command("makemigrations", check_changes=True, dry_run=True)
    assert capsys.readouterr().out == "No changes detected\n"


def test_without_pages(project: Callable[..., Client], hk: Harken) -> None:
    """With ``PAGES`` off, only the API, the widget and feedback links are served."""
    client = project({"HARKEN": hk, "SERVER": OPEN, "PAGES": False})
    given(client)
    assert {client.get(f"/feedback{page.path}").status_code for page in PAGES if page not in PUBLIC_PAGES} == {404}
    assert client.get("/feedback/vote/assets/style.css").status_code == 200
    assert client.get("/feedback/widget.js").status_code == 200


# --- Event streams ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_listeners_in_a_loop_cost_no_thread(hk: Harken) -> None:
    """More listeners than threads are served while other requests are answered, and no listener remains after they
    leave.
    """
    before = room(hk)
    with serve_django_in_loop(hk, SETTINGS) as server, ExitStack() as stack:
        streams = [stack.enter_context(listening(server.url)) for _ in range(LISTENERS)]
        server.post(f"/{FEEDBACK}", UP)
        assert [stream.event().feedback["session_id"] for stream in streams] == ["s"] * LISTENERS
        stack.close()
        server.post(f"/{FEEDBACK}", UP)
        eventually(lambda: room(hk) == before)


@async_only_middleware
def held_back(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware that holds back an event stream until the client disconnects."""

    async def middleware(request: HttpRequest) -> Any:
        response = await get_response(request)
        if request.path.endswith("/events"):
            await asyncio.Event().wait()
        return response

    return middleware


@pytest.mark.slow
def test_a_client_that_disconnects_before_the_response(hk: Harken) -> None:
    """If a client disconnects before its stream starts, its listener is closed although Django drops the response."""
    before = room(hk)
    holding = f"{__name__}.held_back"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, __name__, sys.modules[held_back.__module__])
        with serve_django_in_loop(hk, SETTINGS, MIDDLEWARE=[holding]) as server:
            with socket.create_connection((server.host, server.port), timeout=PATIENCE) as leaving:
                leaving.sendall(raw_request("GET", "/api/events"))
                eventually(lambda: room(hk) == before - 1)
            eventually(lambda: server.get("/healthz") == {"status": "ok"} and room(hk) == before)


# --- Settings ---------------------------------------------------------------------------------------------------------


def found(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    """The messages of ``manage.py check``."""
    with a_project(**settings):
        return [one for one in run_checks(include_deployment_checks=deploy) if (one.id or "").startswith("harken.")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("sqlite:///f.db", "HARKEN must be a table"),
        (
            {"STORE": "x"},
            r"HARKEN: unknown setting 'STORE' \(did you mean 'STORAGE'\?\); expected one of STORAGE, SERVER",
        ),
        ({"STORAGE": 7}, r"HARKEN\['STORAGE'\] must be a str, got 7"),
        ({"PAGES": "no"}, r"HARKEN\['PAGES'\] must be a bool"),
        ({"HARKEN": "memory://"}, r"HARKEN\['HARKEN'\] must be a Harken"),
        (
            {"SERVER": {"acess": "open"}},
            r"HARKEN\['SERVER'\]: unknown setting 'acess' \(did you mean 'access'\?\); expected one of",
        ),
        ({"SERVER": {"access": "closed"}}, "access must be one of keys, open"),
        ({"SERVER": "open"}, r"HARKEN\['SERVER'\] must be a table"),
    ],
)
def test_invalid_settings(table: Any, says: str) -> None:
    """Invalid settings are reported by the system check and on use."""
    (message,) = found(HARKEN=table)
    assert message.id == "harken.E001"
    assert message.hint is not None
    with a_project(HARKEN=table), pytest.raises(ConfigurationError, match=says):
        current_harken()
    with pytest.raises(ConfigurationError, match=says):
        raise ConfigurationError(message.msg)


def test_a_check_opens_nothing(tmp_path: Path) -> None:
    """The check rejects an unknown storage scheme without opening a storage."""
    assert found(HARKEN={"STORAGE": f"sqlite:///{tmp_path}/f.db"}) == []
    assert list(tmp_path.iterdir()) == []
    (message,) = found(HARKEN={"STORAGE": "mango://localhost/f"})
    assert message.msg.startswith("No installed package supports mango://; supported are")


def test_a_check_warns_of_open_access() -> None:
    """Open access is a warning of ``manage.py check --deploy``, and not of other checks."""
    (message,) = found(HARKEN={"SERVER": {"access": "open"}}, deploy=True)
    assert message.id == "harken.W001"
    assert found(HARKEN={"SERVER": {"access": "open"}}) == found(HARKEN={"SERVER": "?"}, deploy=True)[1:] == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Django, importing this host names the extra to install."""
    monkeypatch.delitem(sys.modules, "harken_adapters.hosts.django")
    monkeypatch.setitem(sys.modules, "django", None)
    with pytest.raises(MissingExtra, match=r'try pip install "harken\[django\]"'):
        import_module("harken_adapters.hosts.django")


# --- Opening and closing ----------------------------------------------------------------------------------------------


def test_closing(project: Callable[..., Client], hk: Harken, tmp_path: Path) -> None:
    """A connected Harken is closed when the settings change; one passed by the project is not."""
    storage = f"sqlite:///{tmp_path}/kept.db"
    client = project({"STORAGE": storage, "SERVER": OPEN})
    assert not (tmp_path / "kept.db").exists()
    given(client, comment="<b>good</b>")
    opened = current_harken()
    project()
    with pytest.raises(StorageClosed):
        opened.submit("s", "up")
    with harken.connect(storage) as again:
        assert [one.comment for one in stored_feedback(again)] == ["good"]
    given(client)
    project({"STORAGE": storage})
    hk.submit("s", "up")
    assert len(stored_feedback(hk)) == 2


def test_a_storage_that_cannot_be_opened(project: Callable[..., Client], tmp_path: Path) -> None:
    """A storage error is reported to the client; later requests succeed once the storage is available."""
    client = project({"STORAGE": f"sqlite:///{tmp_path}/later/f.db", "SERVER": OPEN})
    answer = client.post(f"/feedback/{FEEDBACK}", UP, "application/json")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:harken:problem:unavailable")
    (tmp_path / "later").mkdir()
    given(client)


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_a_command_works_on_the_projects_storage(
    project: Callable[..., Client], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line uses the storage of the project."""
    one, two = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two"))
    project({"STORAGE": one})
    call_command("harken", "submit", "s", "up", "Clear")
    capsys.readouterr()
    call_command("harken", "stats", "--json")
    assert json.loads(capsys.readouterr().out)["positive"] == 1
    call_command("harken", "copy", "--from", one, "--to", two, "--json")
    assert json.loads(capsys.readouterr().out)["feedback"]["added"] == 1
    with pytest.raises(CommandError, match="harken show nothing failed") as failed:
        call_command("harken", "show", "nothing")
    assert failed.value.returncode == 4
    assert "nothing" in capsys.readouterr().err
    assert [one.comment for one in stored_feedback(current_harken())] == ["Clear"]


def test_a_command_needs_a_storage_of_its_own(project: Callable[..., Client]) -> None:
    """A command cannot use a Harken that is open in another process."""
    project()
    with pytest.raises(ConfigurationError, match=r"set HARKEN\['STORAGE'\]"):
        call_command("harken", "stats")


MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
SETTINGS_FILE = """
SECRET_KEY = "a secret of tests"
DEBUG = True
USE_TZ = True
INSTALLED_APPS = ["harken_adapters.hosts.django"]
ROOT_URLCONF = "urls"
HARKEN = {"STORAGE": "sqlite:///feedback.db", "SERVER": {"access": "open", "sentiment": "none"}}
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "not/there/project.db", "ATOMIC_REQUESTS": True}
}
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("feedback/", include("harken_adapters.hosts.django.urls"))]
"""
FORKING = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.test import Client
from harken_adapters.hosts.django import current_harken

def give(session):
    answer = Client().post(f"/feedback/api/sessions/{session}/feedback", {"rating": "up"}, "application/json")
    assert answer.status_code == 201, answer.content

give("parent")
for number in range(2):
    child = os.fork()
    if not child:
        # As a worker of a server does: it answers, and ends as programs end.
        give(f"child-{number}")
        raise SystemExit(0)
    assert os.waitpid(child, 0)[1] == 0
give("parent")
print(sorted(one.session_id for one in current_harken().feedback().items))
"""


@pytest.mark.slow
def test_a_real_project(tmp_path: Path) -> None:
    """A real project passes its checks, runs commands, forks after loading, and works without its database."""
    files = {"manage.py": MANAGE, "settings.py": SETTINGS_FILE, "urls.py": URLS, "forking.py": FORKING}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("HARKEN_", "DJANGO_"))}
        # Deprecation warnings of Django itself are not checked.
        command = [sys.executable, "-W", "error:::harken_adapters", *words]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    checked = run("manage.py", "check")
    assert checked.stdout == "System check identified no issues (0 silenced).\n", checked.stderr
    submitted = run("manage.py", "harken", "submit", "typed", "down", "Too slow")
    assert submitted.returncode == 0, submitted.stderr
    other = ("manage.py", "harken", "--storage", "sqlite:///other.db")
    assert run(*other, "submit", "elsewhere", "up").returncode == 0
    elsewhere = run(*other, "stats", "--json", "--settings=settings")
    assert json.loads(elsewhere.stdout)["positive"] == 1
    forked = run("forking.py")
    assert forked.stdout == f"{['child-0', 'child-1', 'parent', 'parent', 'typed']}\n", forked.stderr

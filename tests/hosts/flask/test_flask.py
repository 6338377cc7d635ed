"""Harken in Flask applications, and as a standalone Flask application."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, jsonify, request
from flask.testing import FlaskClient

import harken
from harken import ConfigurationError, Harken, MissingExtra, StorageClosed
from harken_adapters.hosts import flask
from harken_adapters.hosts.flask import create_app, current_harken
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import PAGES
from hosts.serving import OPEN, stored_feedback

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
SETTINGS = ServerSettings(**OPEN)


def shop(**config: Any) -> Flask:
    """An application with its own path that submits feedback."""
    app = Flask("shop")
    app.config.update(HARKEN_SERVER=OPEN, **config)

    @app.get("/own")
    def own() -> Any:
        return jsonify(kept=current_harken().submit("own", "up").feedback.session_id)

    return app


def given(client: FlaskClient, path: str = PATH, **body: Any) -> Any:
    """The response to valid feedback."""
    answer = client.post(path, json={**UP, **body})
    assert answer.status_code == 201, answer.text
    return answer.get_json()


# --- In an application ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/feedback", "feedback/", "/a/b"])
def test_the_application_gets_the_api(hk: Harken, prefix: str) -> None:
    """The API is available among the paths of the application, and links in responses lead to it."""
    app = shop()
    flask.Harken(app, harken=hk, url_prefix=prefix)
    client, root = app.test_client(), f"/{prefix.strip('/')}".rstrip("/")
    answer = client.post(f"{root}{PATH}", json=UP)
    assert answer.headers["location"] == f"{root}/api/feedback/{answer.get_json()['feedback_id']}"
    assert client.get(answer.headers["location"]).get_json()["session_id"] == "s"
    assert client.get("/own").get_json() == {"kept": "own"}
    assert [one.session_id for one in stored_feedback(hk)] == ["s", "own"]
    document = client.get(f"{root}/openapi.json").get_json()
    assert f"{root}/api/feedback" in document["paths"]
    assert f'href="{root}/docs/assets/' in client.get(f"{root}/docs").text


def test_who_answers_unknown_paths(hk: Harken) -> None:
    """Below its prefix, Harken answers unknown paths; elsewhere the application does."""
    app = shop(HARKEN_URL_PREFIX="/feedback")
    flask.Harken(app, harken=hk)
    app.register_error_handler(404, lambda _: ("nothing in the shop", 404))
    client = app.test_client()
    assert client.get("/nothing").text == client.get("/api/feedback").text == "nothing in the shop"
    for path in ("/feedback/", "/feedback/nothing", "/feedback/api/sessions//feedback"):
        answer = client.get(path)
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json"), path
        assert answer.get_json()["instance"] == path
    answer = client.put("/feedback/api/feedback", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_every_operation_has_an_endpoint(hk: Harken) -> None:
    """The application finds each operation and page by its endpoint name."""
    app = shop()
    flask.Harken(app, harken=hk, url_prefix="/f")
    rules = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}
    for target in (*OPERATIONS, *PAGES):
        assert rules[f"harken.{target.name}"] == "/f" + target.path.replace("{", "<").replace("}", ">")


def test_before_request_of_the_application_applies(hk: Harken) -> None:
    """A ``before_request`` function of the application applies to every operation, and may read the body."""
    app = shop()
    flask.Harken(app, harken=hk)

    @app.before_request
    def only_friends() -> None:
        if request.blueprint == "harken" and request.get_json(silent=True) != UP:
            abort(403)

    client = app.test_client()
    assert client.get("/api/feedback").status_code == client.post(PATH, json={"rating": None}).status_code == 403
    given(client)
    assert len(stored_feedback(hk)) == 1


def test_limits_of_the_application_hold(hk: Harken) -> None:
    """A body that exceeds the limit of the application is rejected like one that exceeds Harken's limit."""
    app = shop(MAX_CONTENT_LENGTH=20)
    flask.Harken(app, harken=hk)
    given(app.test_client())
    answer = app.test_client().post(PATH, json={**UP, "comment": "x" * 20})
    assert (answer.status_code, answer.get_json()["type"]) == (413, "urn:harken:problem:body-too-large")


def test_without_pages(hk: Harken) -> None:
    """Without pages, only the API, the widget and feedback links are served."""
    app = shop()
    flask.Harken(app, harken=hk, pages=False)
    client = app.test_client()
    given(client)
    assert {client.get(page.path).status_code for page in PAGES if page not in PUBLIC_PAGES} == {404}
    assert client.get("/vote/assets/style.css").status_code == 200
    assert client.get("/widget.js").status_code == 200


def test_one_extension_for_several_applications(tmp_path: Path) -> None:
    """One extension object gives each application its own Harken, according to its configuration."""
    extension = flask.Harken()
    apps = [shop(HARKEN_STORAGE=f"sqlite:///{tmp_path}/{name}.db") for name in "ab"]
    for app in apps:
        extension.init_app(app)
    given(apps[0].test_client(), comment="to a")
    for app, comments in zip(apps, (["to a"], []), strict=True):
        with app.app_context():
            assert [one.comment for one in stored_feedback(current_harken())] == comments
        app.extensions["harken"].close()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"HARKEN_SERVER": {"acess": "open"}},
            r"HARKEN_SERVER: unknown setting 'acess' \(did you mean 'access'\?\); expected one of host",
        ),
        ({"HARKEN_SERVER": {"access": "closed"}}, "access must be one of keys, open"),
        ({"HARKEN_SERVER": {"max_body": "many"}}, "max_body must be of type int"),
        ({"HARKEN_SERVER": "open"}, "HARKEN_SERVER must be a table"),
        ({"HARKEN_URL_PREFIX": "/<tenant>"}, "must be a path such as '/feedback', got '/<tenant>'"),
    ],
)
def test_an_invalid_configuration(config: dict[str, Any], says: str) -> None:
    """An invalid configuration is reported when the extension is initialised."""
    app = shop()
    app.config.update(config)
    with pytest.raises(ConfigurationError, match=says):
        flask.Harken(app)


def test_digests_link_to_the_public_url_of_the_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the settings of the server, although they are neither in the environment nor in the file."""
    monkeypatch.chdir(tmp_path)
    Path("harken.toml").write_text('[[digests]]\nname = "weekly"\nchannel = "log"\n')
    app = shop(HARKEN_STORAGE="memory://")
    flask.Harken(app, settings=ServerSettings(**OPEN, public_url="https://example.com/feedback"))
    with app.app_context():
        link = current_harken().digests.build("weekly").link
    app.extensions["harken"].close()
    assert link.startswith("https://example.com/feedback/dashboard?")


def test_an_application_without_harken() -> None:
    """The error for an application without a Harken says how to add one."""
    with shop().app_context(), pytest.raises(RuntimeError, match=r"add one with Harken\(app\)"):
        current_harken()


# --- Opening and closing ----------------------------------------------------------------------------------------------


def test_closing(hk: Harken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connected Harken is closed with the service; one passed by the caller is not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARKEN_STORAGE", "sqlite:///kept.db")
    own = create_app(SETTINGS)
    assert not Path("kept.db").exists()
    made = given(own.test_client(), comment="<b>good</b>")
    service = own.extensions["harken"]
    opened = service.harken
    for _ in range(2):
        service.close()
    with pytest.raises(StorageClosed):
        opened.submit("s", "up")
    with harken.connect("sqlite:///kept.db") as again:
        assert [(one.id, one.comment) for one in stored_feedback(again)] == [(made["feedback_id"], "good")]
    borrowing = create_app(SETTINGS, harken=hk)
    given(borrowing.test_client())
    borrowing.extensions["harken"].close()
    hk.submit("s", "up")
    assert len(stored_feedback(hk)) == 2


def test_a_storage_that_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A storage error is reported to the client, and logged without a traceback; later requests succeed once the
    storage is available.
    """
    app = shop(HARKEN_STORAGE=f"sqlite:///{tmp_path}/later/f.db")
    flask.Harken(app)
    answer = app.test_client().post(PATH, json=UP)
    assert (answer.status_code, answer.get_json()["type"]) == (503, "urn:harken:problem:unavailable")
    (record,) = [record for record in caplog.records if record.name.startswith("harken")]
    assert record.getMessage().startswith("Harken cannot be opened: StorageUnavailable: ")
    assert "\n" not in record.getMessage()
    assert record.exc_info is None
    (tmp_path / "later").mkdir()
    given(app.test_client())
    app.extensions["harken"].close()


FORKING = """
import os
from harken_adapters.hosts.flask import create_app, current_harken, ServerSettings

app = create_app(ServerSettings(access="open", sentiment="none"))
client = app.test_client()
path = "/api/sessions/{}/feedback"
if os.environ["WHEN"] == "used before":
    assert client.post(path.format("parent"), json={"rating": "up"}).status_code == 201
for number in range(2):
    child = os.fork()
    if not child:
        # As a worker of a server does: it answers, and ends as programs end.
        answer = client.post(path.format(f"child-{number}"), json={"rating": "up"})
        assert answer.status_code == 201, answer.text
        raise SystemExit(0)
    assert os.waitpid(child, 0)[1] == 0
assert client.post(path.format("parent"), json={"rating": "up"}).status_code == 201
with app.app_context():
    print(sorted(one.session_id for one in current_harken().feedback().items))
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["not used before", "used before"])
def test_workers_may_be_forked(tmp_path: Path, when: str) -> None:
    """An application that is loaded before a fork works in every process, and each process closes what it has
    opened.
    """
    environ = {**os.environ, "HARKEN_STORAGE": f"sqlite:///{tmp_path}/f.db", "WHEN": when}
    command = [sys.executable, "-W", "error", "-c", FORKING]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    expected = ["child-0", "child-1", *["parent"] * (2 if when == "used before" else 1)]
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", f"{expected}\n")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Flask, importing this host names the extra to install."""
    monkeypatch.delitem(sys.modules, "harken_adapters.hosts.flask")
    monkeypatch.setitem(sys.modules, "flask", None)
    with pytest.raises(MissingExtra, match=r'try pip install "harken\[flask\]"'):
        import_module("harken_adapters.hosts.flask")


def test_a_relative_path_is_resolved_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative storage path is resolved when the application is created, not on the first request."""
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    app = Flask(__name__)
    app.config["HARKEN_STORAGE"] = "sqlite:///feedback.db"
    flask.Harken(app)
    monkeypatch.chdir(tmp_path)
    with app.app_context():
        current_harken().submit("session", "up")
    app.extensions["harken"].close()
    assert [file.name for file in tmp_path.iterdir()] == ["app"]
    assert (tmp_path / "app" / "feedback.db").exists()


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_a_command_works_on_the_storage_of_the_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``flask harken`` is the command line, with all of its options."""
    monkeypatch.chdir(tmp_path)
    app = shop(HARKEN_STORAGE=f"sqlite:///{tmp_path}/shop.db")
    flask.Harken(app)
    runner = app.test_cli_runner()
    done = runner.invoke(args=["harken", "submit", "s", "up", "--", "--clear"])
    assert done.exit_code == 0, done.output
    listed = runner.invoke(args=["harken", "list", "--json", "--limit", "5"])
    assert [one["comment"] for one in json.loads(listed.stdout)["feedbacks"]] == ["--clear"]
    assert "Usage: harken list" in runner.invoke(args=["harken", "list", "--help"]).stdout
    assert runner.invoke(args=["harken", "show", "nothing"]).exit_code == 4
    elsewhere = runner.invoke(args=["harken", "--storage", "sqlite:///other.db", "list"])
    assert (elsewhere.exit_code, "other.db does not exist" in elsewhere.stderr) == (5, True)


def test_a_command_needs_a_storage_of_its_own(hk: Harken) -> None:
    """A command cannot use a Harken that is open in another process."""
    app = shop()
    flask.Harken(app, harken=hk)
    ran = app.test_cli_runner().invoke(args=["harken", "stats"])
    assert ran.exit_code == 1
    assert "set HARKEN_STORAGE in the configuration" in ran.stderr


@pytest.mark.slow
def test_the_program_of_flask_has_the_command(tmp_path: Path) -> None:
    """``flask --app ... harken``, also of the standalone application."""
    (tmp_path / "harken.toml").write_text('storage = "sqlite:///kept.db"\n')
    words = [sys.executable, "-m", "flask", "--app", "harken_adapters.hosts.flask:create_app", "harken"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")}
    for arguments in (["submit", "s", "up"], ["stats", "--json"]):
        ran = subprocess.run(
            [*words, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
    assert json.loads(ran.stdout)["positive"] == 1
    assert (tmp_path / "kept.db").exists()

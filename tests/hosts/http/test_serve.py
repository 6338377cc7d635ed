"""``harken serve`` in a separate process: start, shutdown, and configuration errors."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.reliability.http_processes import HARKEN, PATIENCE, Service, environment, serve

import harken
from harken import Scope
from harken_adapters.hosts.fastapi import ServerSettings
from harken_adapters.hosts.fastapi.serving import listen
from harken_adapters.tokens import FeedbackLinks
from hosts.events import listening
from hosts.serving import RawAnswer, Server, problem, raw_request
from support import eventually

#: Headers that show that a request does not come directly from the local machine.
INDIRECT = [
    {"Via": "1.1 proxy"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Real-IP": "127.0.0.1"},
    {"CF-Connecting-IP": "127.0.0.1"},
    {"CF-Ray": "1"},
    {"True-Client-IP": "127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Host": "evil.example"},
    {"Host": "evil@localhost"},
    {"Host": "localhost#x"},
    {"Host": "localhost:8000.evil.example"},
    {"Host": "localhost."},
    {"Host": "localhost:99999"},
]


def typed(service: Service, **variables: str) -> Any:
    """The response to the printed command line."""
    command = next(line for line in service.output.splitlines() if line.startswith("  curl "))
    folder = service.log.parent
    ran = subprocess.run(
        f"{command} -sS",
        shell=True,
        cwd=folder,
        capture_output=True,
        check=True,
        env={**os.environ, **variables},
        timeout=PATIENCE,
    )
    return json.loads(ran.stdout)


def token_of_demo(service: Service) -> str:
    """The session token in the demo page."""
    found = re.search(r' token="([^"]+)"', service.ask("GET", "/demo").text)
    assert found
    return found[1]


def refused(
    tmp_path: Path, *arguments: str, storage: str | None = None, before: Sequence[str] = (), **settings: str
) -> str:
    """The error message if it does not start; fails if it starts, or prints more than one line."""
    ran = subprocess.run(
        (*HARKEN, "--storage", storage or f"sqlite:///{tmp_path}/feedback.db", *before, "serve", *arguments),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(COLUMNS="1000", **settings),
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout) == (2, ""), ran
    assert ran.stderr.startswith("Error: "), ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_until_a_signal_ends_it(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    """It prints its address and key, and ends at once and with status 0 on a signal, even with event streams open."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, "--workers", str(workers)) as service:
        service.ready(workers)
        assert len(service.workers()) == workers
        addresses = [word for word in service.output.split() if word.startswith(f"{service.url}/")]
        for address in (one for one in addresses if "/api/" not in one):
            assert service.ask("GET", address.removeprefix(service.url)).ok
        assert service.ask("GET", "/").url == f"{service.url}/dashboard"
        assert typed(service)["status"] == "success"
        credentials = service.credentials
        with listening(service.url, **credentials) as one, listening(service.url, **credentials) as two:
            assert service.end(number) == 0
            assert (one.rest(), two.rest()) == (b"", b"")
    assert "Traceback" not in service.log.read_text()
    with harken.connect(url) as hk:
        assert hk.summary().total == 1


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("way", ["--open", "harken.toml"])
def test_open_serves_direct_requests_of_this_machine(tmp_path: Path, host: str, way: str) -> None:
    """Without keys, it serves only direct requests without signs of a proxy, another page or another host name."""
    options = ["--open"] if way == "--open" else []
    if not options:
        (tmp_path / "harken.toml").write_text("[server]\naccess = 'open'\n")
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, "--host", host, *options) as service:
        assert "No API key is required" in service.output
        assert typed(service)["status"] == "success"
        for path in ("/dashboard", "/docs", "/openapi.json", "/metrics", "/healthz", "/api/feedback"):
            assert service.ask("GET", path).ok
        own = service.url
        for headers in ({"Origin": own}, {"Sec-Fetch-Site": "none"}, {"Host": "LOCALHOST:1"}):
            assert service.ask("GET", "/api/feedback", headers=headers).ok, headers
        for headers in INDIRECT:
            answer = service.ask("POST", "/api/sessions/s/feedback", json={"rating": "up"}, headers=headers)
            assert problem(answer, 403, "forbidden")["detail"].startswith("Without API keys, only direct requests"), (
                headers
            )
            assert service.ask("GET", "/healthz", headers=headers).status_code == 403
        server = Server(host, int(own.rpartition(":")[2]))
        for request in (
            b"GET /api/feedback HTTP/1.0\r\nHost: localhost\r\n\r\n",
            b"GET /api/feedback HTTP/1.0\r\n\r\n",
        ):
            problem(RawAnswer.parse(server.send(request)), 403, "forbidden")
        twice = raw_request("GET", "/api/feedback", "Host: localhost")
        assert RawAnswer.parse(server.send(twice)).status in (400, 403)
    with harken.connect(url) as hk:
        assert hk.summary().total == 1
        assert hk.keys.keys() == []


@pytest.mark.slow
def test_open_holds_for_each_worker(tmp_path: Path) -> None:
    """Options of the command line apply to each worker."""
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path, "--open", "--workers", "2") as service:
        service.ready(2)
        for worker in service.workers():
            with service.only(worker):
                assert service.ask("GET", "/api/feedback").ok
                assert service.ask("GET", "/api/feedback", headers={"Via": "1.1 proxy"}).status_code == 403


@pytest.mark.slow
def test_it_listens_on_other_addresses_only_with_keys(tmp_path: Path) -> None:
    """On an address that other machines reach, it requires a key to start, and rejects open access; with a key,
    requests need it.
    """
    output = refused(tmp_path, "--host", "0.0.0.0", before=("--application", "my shop"))
    storage = f"--storage sqlite:///{tmp_path}/feedback.db"
    assert f"create a key: harken {storage} --application 'my shop' keys create --scope admin" in output
    with_password = refused(tmp_path, "--host", "0.0.0.0", storage=f"sqlite:///{tmp_path}/a@b.db")
    assert "harken --storage URL keys create" in with_password
    url = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(url) as hk:
        key = hk.keys.create("default", [Scope.SUBMIT]).text
    assert "must not be 'open'" in refused(tmp_path, "--host", "0.0.0.0", HARKEN_SERVER_ACCESS="open")
    assert "must not be 'open'" in refused(tmp_path, "--host", "0.0.0.0", "--open")
    with serve(url, tmp_path, "--host", "0.0.0.0") as service:
        body, path = {"rating": "up"}, "/api/sessions/s/feedback"
        assert service.ask("POST", path, json=body, headers={}).status_code == 401
        assert service.ask("POST", path, json=body, headers={"Authorization": f"Bearer {key}"}).status_code == 201
        assert not list(tmp_path.glob("*.key"))


@pytest.mark.slow
def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """A port in use is an error in one line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = refused(tmp_path, "--port", str(port))
    assert message == f"Error: Cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --port\n"


@pytest.mark.slow
def test_a_host_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """An unknown host name and an address of another machine are different errors."""
    for host in ("localhos.invalid", "a..b", "x" * 300):
        assert f"Cannot listen on '{host}': unknown host" in refused(tmp_path, "--host", host)
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        hk.keys.create("default", [Scope.ADMIN])
    assert "choose another --host" in refused(tmp_path, "--host", "192.0.2.1")


@pytest.mark.slow
def test_windows_is_not_supported(tmp_path: Path) -> None:
    """Without ``fcntl``, one line says which systems are supported; WSGI hosts can still be imported."""
    program = f"import sys; sys.modules['fcntl'] = None\n{HARKEN[2]}"
    ran = subprocess.run(
        (sys.executable, "-c", program, "--storage", "memory://", "serve"),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(COLUMNS="1000"),
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "harken serve needs Linux or macOS" in ran.stderr
    hosts = "from harken_adapters.hosts import flask, wsgi; import harken_adapters.hosts.django.urls"
    subprocess.run((sys.executable, "-c", f"import sys; sys.modules['fcntl'] = None; {hosts}"), check=True)


@pytest.mark.slow
def test_several_workers_need_a_storage_that_they_share(tmp_path: Path) -> None:
    """Several workers with a memory storage are an error."""
    assert "need a shared storage" in refused(tmp_path, "--workers", "2", storage="memory://")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"HARKEN_SERVER_PORT": "many"}, "HARKEN_SERVER_PORT is invalid"),
        ({"HARKEN_SERVER_LIMIT_BY_KEY": "often"}, "'often' is not a rate limit"),
        ({"HARKEN_SERVER_TOKEN_SECRETS": "short"}, "secret 1 is too short"),
        ({"HARKEN_SERVER_ALLOWED_ORIGINS": "example.com"}, "expected an origin such as"),
        ({"HARKEN_SERVER_SENTIMENT": "magic"}, "sentiment"),
        ({"HARKEN_SERVER_LIMIT_STORAGE": "nowhere://"}, "nowhere"),
        ({"HARKEN_MAX_QUEUE": "0"}, "HARKEN_MAX_QUEUE must be at least 1"),
    ],
)
def test_invalid_settings_are_rejected(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    """An invalid setting is an error in one line before the start, with any number of workers."""
    assert message in refused(tmp_path, "--workers", "2", **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("kind = 'pigeon'", "Channel 'support': Unknown kind 'pigeon'"),
        ("kind = 'webhook'\nurl = 'http://127.0.0.1/'", "Channel 'support': "),
        ("kind = 'webhook'\nurl = 'env:NOT_SET'", "Channel 'support': the environment variable NOT_SET is not set"),
    ],
)
def test_channels_that_cannot_be_used_are_refused(tmp_path: Path, channel: str, message: str) -> None:
    """An unusable channel is an error in one line before the start; without a relay, channels are not opened."""
    (tmp_path / "harken.toml").write_text(f"[channels.support]\n{channel}\n")
    assert message in refused(tmp_path, "--workers", "2")
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path, HARKEN_SERVER_RELAY="false") as service:
        assert service.ask("GET", "/api/channels").json()["channels"][0]["name"] == "support"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_it_delivers_notifications(tmp_path: Path, workers: int) -> None:
    """Whichever process accepts feedback, a relay in the service delivers it once."""
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path, "--workers", str(workers)) as service:
        service.ready(workers)
        for number in range(10):
            assert service.ask("POST", f"/api/sessions/s-{number}/feedback", json={"rating": "up"}).status_code == 201

        def delivered() -> list[dict[str, object]]:
            found: list[dict[str, object]] = service.ask("GET", "/api/deliveries?state=delivered").json()["deliveries"]
            return found

        eventually(lambda: len(delivered()) == 10)
        assert {one["attempts"] for one in delivered()} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_settings_come_from_the_file_and_the_environment(tmp_path: Path, workers: str) -> None:
    """``[server]`` of ``harken.toml`` and ``HARKEN_SERVER_*`` apply to each process; the variables take precedence."""
    (tmp_path / "harken.toml").write_text(
        f"[server]\nlimit_production = '1/year'\nmax_body = 30\nsentiment = 'none'\nworkers = {workers}\n"
    )
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path, HARKEN_SERVER_MAX_BODY="32") as service:
        service.ready(int(workers))
        assert len(service.workers()) == int(workers)
        for _ in range(4):
            asked = [
                service.ask("POST", "/api/sessions/s/feedback", json={"rating": "up", "comment": comment})
                for comment in ("a", "abcd")
            ]
            assert [answer.status_code for answer in asked] == [201, 413]
        answer = service.ask("POST", "/api/feedback?session_id=s", json={"rating": "up"})
        assert '"production";q=1;' in answer.headers["ratelimit-policy"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_demo_works_without_configuration(tmp_path: Path, workers: int) -> None:
    """Without ``token_secrets``, any worker accepts the tokens of the demo, also one that replaces another."""
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path, "--workers", str(workers)) as service:
        service.ready(workers)
        if workers > 1:
            killed = service.workers()[0]
            os.kill(killed, signal.SIGKILL)
            service.ready(workers + 1)
            eventually(lambda: killed not in service.workers())
        token = token_of_demo(service)
        bearer = {"Authorization": f"Bearer {token}"}
        # Each request has a connection of its own, which any worker may accept.
        for _ in range(20 * workers):
            path = "/api/sessions/demo/messages/answer-1/feedback"
            assert service.ask("PUT", path, json={"rating": "up"}, headers=bearer).ok
        assert service.ask("GET", "/api/feedback", headers=bearer).status_code == 403
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path) as service:
        assert service.ask("GET", "/api/sessions/demo/votes", headers=bearer).status_code == 401


@pytest.mark.slow
def test_the_secret_of_the_demo_permits_nothing_else(tmp_path: Path) -> None:
    """There is a local key as without it, other addresses still need a key, and it verifies no feedback links."""
    with serve(f"sqlite:///{tmp_path}/feedback.db", tmp_path) as service:
        assert service.key
        assert token_of_demo(service)
        link = FeedbackLinks(["a secret that has thirty-two bytes or more"]).mint(service.url, session_id="s")
        assert service.ask("GET", link.removeprefix(service.url)).status_code == 404
    other = "a secret that another server passed to this process"
    assert "an API key is required" in refused(
        tmp_path, "--host", "0.0.0.0", storage=f"sqlite:///{tmp_path}/other.db", HARKEN_DEMO_SECRET=other
    )


@pytest.mark.slow
def test_programs_do_not_inherit_the_secret_of_the_demo(tmp_path: Path) -> None:
    """While requests are served, the environment has no secret, so hooks and their programs do not get it."""
    served = "uvicorn.run = lambda *_, **__: print('environment', *os.environ)"
    ran = subprocess.run(
        (sys.executable, "-c", f"import os, uvicorn; {served}\n{HARKEN[2]}", "serve", "--port", "0"),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment(HARKEN_STORAGE="memory://"),
        timeout=PATIENCE,
    )
    names = next(line for line in ran.stdout.splitlines() if line.startswith("environment "))
    assert "HARKEN_SERVER_ACCESS" in names
    assert "SECRET" not in names


@pytest.mark.slow
def test_options_before_the_command_apply(tmp_path: Path) -> None:
    """``--application`` sets the default application of the server."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, before=("--application", "shop")) as service:
        assert service.ask("POST", "/api/sessions/s/feedback", json={"rating": "up"}).status_code == 201
    with harken.connect(url) as hk:
        assert hk.summary(application="shop").total == 1


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "limits", "structlog", "prometheus_client", "jwt"])
def test_a_missing_extra_says_what_to_install(tmp_path: Path, missing: str) -> None:
    """Without the packages of the extra, one line says what to install."""
    program = f"import sys; sys.modules[{missing!r}] = None\n{HARKEN[2]}"
    ran = subprocess.run(
        (sys.executable, "-c", program, "--storage", "memory://", "serve"),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(COLUMNS="1000"),
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    extra = "http" if missing == "prometheus_client" else "server"
    assert f'pip install "harken[{extra}]"' in ran.stderr
    assert missing in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_application_with_the_router_ends_while_some_listen(tmp_path: Path) -> None:
    """An application that includes the router can be shut down while event streams are open."""
    (tmp_path / "shop.py").write_text(
        "import harken\nfrom fastapi import FastAPI\nfrom harken_adapters.hosts.fastapi import feedback_router\n"
        "from harken_adapters.hosts.fastapi import ServerSettings\n"
        "app, settings = FastAPI(), ServerSettings(access='open')\n"
        "app.include_router(feedback_router(harken.connect('memory://'), settings))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as bound:
        process = subprocess.Popen(
            (sys.executable, "-m", "uvicorn", "shop:app", "--fd", str(bound.fileno())),
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.DEVNULL,
            pass_fds=[bound.fileno()],
        )
        try:
            with listening(f"http://127.0.0.1:{bound.getsockname()[1]}") as stream:
                process.terminate()
                assert stream.rest() == b""
                assert process.wait(PATIENCE) == -signal.SIGTERM
        finally:
            process.kill()
            process.wait()


def test_responses_are_not_delayed() -> None:
    """On a persistent connection, a response does not wait for an acknowledgement, which would take 40 ms."""
    with (
        listen(ServerSettings(port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"token_secrets": "a secret that has thirty-two bytes or more"},
            "token_secrets must be a list of strings, got one",
        ),
        ({"port": "8000"}, "port must be of type int, got '8000'"),
        ({"workers": None}, "workers must be of type int, got None"),
        ({"relay": "no"}, "relay must be of type bool, got 'no'"),
        ({"allowed_origins": ("https://shop.example/",)}, "without a path"),
        ({"allowed_origins": ("https://Shop.example",)}, "in lower case"),
        ({"allowed_origins": ("http://shop.example:80",)}, "leave out :80"),
    ],
)
def test_settings_made_in_python_are_checked(settings: dict[str, Any], message: str) -> None:
    """A value of a wrong type is an error with the name of the setting, and secrets are not repeated."""
    with pytest.raises(harken.ConfigurationError, match=message) as raised:
        ServerSettings(**settings)
    assert "thirty-two" not in str(raised.value)

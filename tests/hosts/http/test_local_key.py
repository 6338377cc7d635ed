"""The local key that ``harken serve`` creates on first use: its file, concurrent starts, and obstacles."""

import os
import re
import shlex
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen, check_output
from threading import Thread

import pytest
from tests.reliability.http_processes import HARKEN, PATIENCE, environment, serve

import harken
from harken import ConfigurationError, Harken, Scope
from harken_adapters.hosts.http.guards.local_key import LocalKey, key_file, local_key
from hosts.http.test_serve import refused, typed

PATH = "/api/sessions/s/feedback"
UP = {"rating": "up"}
#: A well-formed key that belongs to no storage.
STRANGER = "hk_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the key file."""
    return tmp_path / "feedback.db.key"


#: Requests the local key when a line arrives on stdin, as several processes do at the same time.
PROGRAM = """
import sys, harken
from harken_adapters.hosts.http.guards.local_key import key_file, local_key
with harken.connect(sys.argv[1]) as hk:
    print("ready", flush=True)
    sys.stdin.readline()
    found = local_key(hk, key_file(sys.argv[1]))
    print(found.text, found.created)
"""


class TestKeyFile:
    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("sqlite:///feedback.db", "feedback.db.key"),
            ("SQLite:///folder/a%20b.db?busy_timeout=3", "folder/a b.db.key"),
            ("journal:///lines", "lines.key"),
        ],
    )
    def test_beside_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str) -> None:
        """The key of a file storage is next to that file, for any working directory."""
        monkeypatch.chdir(tmp_path)
        assert key_file(url) == tmp_path / name

    def test_an_absolute_path(self) -> None:
        """The path is absolute."""
        assert key_file("sqlite:////srv/feedback.db") == Path("/srv/feedback.db.key")

    def test_of_a_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key of a database server is in the user's state directory, one for each database and independent of the
        password.
        """
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        urls = ("mongodb://a:b@h1,h2/f", "mongodb://H2,h1/f?timeoutMS=9", "mongodb://h1/f", "mongodb://h1/g")
        first, same, *others = map(key_file, urls)
        assert first == same
        assert len({first, *others}) == 3
        assert first is not None
        assert first.parent == tmp_path / "harken"
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        found = key_file(urls[0])
        assert found is not None
        assert found.parent == tmp_path / ".local" / "state" / "harken"

    def test_of_memory(self) -> None:
        """A storage in memory has no key file."""
        assert key_file("memory://") is None


class TestLocalKey:
    def test_the_first_time_and_later(self, hk: Harken, path: Path) -> None:
        """The key is created once, with all scopes and a file that only its owner can read, and is found there
        later.
        """
        before = os.umask(0)
        try:
            made = local_key(hk, path)
        finally:
            os.umask(before)
        assert made is not None
        assert made == LocalKey(made.text, path, created=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == f"{made.text}\n"
        key = hk.keys.authenticate(made.text)
        assert (key.scopes, key.application, key.name) == ({Scope.ADMIN}, "default", "local")
        assert local_key(hk, path) == LocalKey(made.text, path, created=False)
        assert len(hk.keys.keys()) == 1
        assert [one.name for one in path.parent.iterdir()] == [path.name]
        assert made.text not in repr(made)

    def test_not_if_there_was_a_key(self, hk: Harken, path: Path) -> None:
        """If the storage ever had a key, no local key is created, even if that key has been revoked."""
        made = hk.keys.create("default", ["read"])
        assert local_key(hk, path) is None
        hk.keys.revoke(made.key.id)
        assert local_key(hk, path) is None
        assert local_key(hk, None) is None
        assert not path.exists()

    @pytest.mark.parametrize("change", ["revoked", "of another application", "of another storage", "removed"])
    def test_a_key_of_something_else(self, hk: Harken, path: Path, change: str) -> None:
        """A key file of another application or storage is ignored, and no new key is created."""
        made = local_key(hk, path)
        assert made is not None
        if change == "revoked":
            hk.keys.revoke(hk.keys.authenticate(made.text).id)
        elif change == "of another application":
            path.write_text(f"{hk.keys.create('shop', ['admin']).text}\n")
        elif change == "of another storage":
            path.write_text(STRANGER)
        else:
            path.unlink()
        keys = hk.keys.keys()
        assert local_key(hk, path) is None
        assert hk.keys.keys() == keys

    def test_the_key_of_a_storage_that_is_gone(self, hk: Harken, path: Path) -> None:
        """If the storage was removed but its key file was not, a new key replaces it, readable only by its owner."""
        path.write_text(STRANGER)
        path.chmod(0o644)
        made = local_key(hk, path)
        assert made is not None
        assert made.created
        assert path.read_text() == f"{made.text}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def a_link(path: Path) -> None:
    """A link to a file that another user can read."""
    other = path.with_name("other")
    other.write_text("")
    path.symlink_to(other)


def a_certificate(path: Path) -> None:
    """An unrelated file."""
    path.write_text("-----BEGIN PRIVATE KEY-----\n")


def no_folder(path: Path) -> None:
    """A file in place of the directory."""
    path.parent.rmdir()
    path.parent.write_text("")


IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (a_link, "is a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "is a symbolic link"),
    "a certificate": (a_certificate, "is not a Harken key file; move or remove it"),
    "an empty file": (Path.touch, "is not a Harken key file"),
    "a pipe": (os.mkfifo, "is not a Harken key file"),
    "a folder": (Path.mkdir, "is not a Harken key file"),
    "no folder": (no_folder, "Cannot store a local key in .*: Not a directory|: File exists"),
}


class TestObstacles:
    @pytest.mark.parametrize("what", IN_THE_WAY)
    def test_another_file(self, hk: Harken, tmp_path: Path, what: str) -> None:
        """Anything else is not read, written or replaced. The error says what to do, and no unknown key remains."""
        path = tmp_path / "folder" / "feedback.db.key"
        path.parent.mkdir()
        put, message = IN_THE_WAY[what]
        put(path)
        before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        with pytest.raises(ConfigurationError, match=message) as raised:
            local_key(hk, path, command="harken --storage x")
        assert "harken --storage x keys create --scope admin" in str(raised.value)
        assert hk.keys.keys() == []
        assert (sorted(path.parent.iterdir()) if path.parent.is_dir() else []) == before
        # If there are other keys, this is not an error.
        hk.keys.create("default", ["read"])
        assert local_key(hk, path) is None

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
    def test_a_file_that_others_can_read(self, hk: Harken, path: Path, mode: int) -> None:
        """A valid key that other users can read or replace is not used, and the error says how to fix that."""
        local_key(hk, path)
        path.chmod(mode)
        with pytest.raises(
            ConfigurationError, match=rf"mode {mode:o}.*chmod 600 .*harken --storage x keys revoke [0-9a-f]+"
        ):
            local_key(hk, path, command="harken --storage x")
        path.chmod(0o400)
        assert local_key(hk, path) is not None

    def test_a_folder_that_cannot_be_written(self, hk: Harken, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the directory is not writable, nothing is created and the error has the path. Simulated, as root may
        always write.
        """

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("harken_adapters.hosts.http.guards.local_key.mkstemp", refuse)
        with pytest.raises(
            ConfigurationError, match=r"Cannot store a local key in .*feedback\.db\.key: Permission denied"
        ):
            local_key(hk, path)
        assert hk.keys.keys() == []

    def test_a_key_that_cannot_be_stored(self, hk: Harken, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the storage fails, no key file without a key or with a partial key remains."""

        def fail(*_: object, **__: object) -> None:
            raise harken.StorageUnavailable("the storage does not answer")

        monkeypatch.setattr(hk.keys, "create", fail)
        with pytest.raises(harken.StorageUnavailable):
            local_key(hk, path)
        assert list(path.parent.iterdir()) == []


def test_many_threads_at_once(hk: Harken, path: Path) -> None:
    """Of several threads, one creates the key and the others find it."""
    found: list[LocalKey | None] = []
    threads = [Thread(target=lambda: found.append(local_key(hk, path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len({one.text for one in found if one}) == 1
    assert sum(one.created for one in found if one) == 1
    assert (len(found), len(hk.keys.keys())) == (8, 1)


@pytest.mark.slow
def test_several_processes_at_once(tmp_path: Path) -> None:
    """Of several processes, one creates the key and the others find it."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    words = [sys.executable, "-c", PROGRAM, url]
    with ExitStack() as ends:
        processes = [ends.enter_context(Popen(words, stdin=PIPE, stdout=PIPE, text=True)) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        found = [process.communicate(timeout=PATIENCE)[0].split() for process in processes]
    assert len({text for text, _ in found}) == 1
    assert sorted(created for _, created in found) == ["False"] * 3 + ["True"]
    with harken.connect(url) as hk:
        assert len(hk.keys.keys()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_shown_once(tmp_path: Path, workers: str) -> None:
    """The first start shows the key in a command line and a link, later starts show its file; both work as printed."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    kept = tmp_path / "feedback.db.key"
    with serve(url, tmp_path, "--workers", workers) as service:
        text = kept.read_text().strip()
        assert service.output.count(text) == 2
        assert f"{service.url}/sign-in#{text}" in service.output
        assert "stored in feedback.db.key" in service.output
        assert typed(service)["status"] == "success"
        assert text not in service.log.read_text()
    with serve(url, tmp_path, "--workers", workers) as service:
        assert text not in service.output
        assert "$(cat feedback.db.key)" in service.output
        assert typed(service)["status"] == "success"
        assert service.ask("POST", PATH, json=UP, headers={}).status_code == 401
    with harken.connect(url) as hk:
        assert len(hk.keys.keys()) == 1
        assert hk.summary().total == 2


@pytest.mark.slow
def test_in_memory_it_is_shown_each_time(tmp_path: Path) -> None:
    """With a storage in memory, each start creates another key, and nothing remains of it."""
    texts = []
    for _ in range(2):
        with serve("memory://", tmp_path) as service:
            texts.append(service.key)
            assert typed(service)["status"] == "success"
            assert service.ask("GET", "/api/feedback", headers={}).status_code == 401
    assert len(set(texts)) == 2
    assert not list(tmp_path.glob("**/*.key"))


@pytest.mark.slow
def test_on_mongodb(tmp_path: Path, mongodb_url: str) -> None:
    """Workers on a database server use the same key, which is in the user's state directory."""
    with serve(mongodb_url, tmp_path, "--workers", "2") as service:
        (kept,) = (tmp_path / "harken").glob("*.key")
        assert kept.read_text().strip() == service.key
        assert typed(service)["status"] == "success"


@pytest.mark.slow
def test_not_with_session_tokens(tmp_path: Path) -> None:
    """With a secret for session tokens, no local key is created."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, HARKEN_SERVER_TOKEN_SECRETS="a secret that has thirty-two bytes or more") as service:
        assert service.key is None
        assert service.ask("GET", "/api/feedback").status_code == 401
    with harken.connect(url) as hk:
        assert hk.keys.keys() == []


@pytest.mark.slow
def test_a_key_that_others_can_read_keeps_it_from_starting(tmp_path: Path) -> None:
    """The server does not start, and one line says why."""
    path = tmp_path / "feedback.db.key"
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        local_key(hk, path)
    path.chmod(0o644)
    output = refused(tmp_path)
    assert f"run: chmod 600 {path};" in output
    assert f"harken --storage sqlite:///{tmp_path}/feedback.db keys revoke " in output


@pytest.mark.slow
@pytest.mark.parametrize("found", ["nothing", "another file", "a link to nothing"])
def test_a_missing_file_is_reported(tmp_path: Path, found: str) -> None:
    """If the local key's file is missing, for example after a restore, the start says so and how to create another key;
    the printed commands work as pasted.
    """
    folder = tmp_path / "of the service"
    folder.mkdir()
    url = f"sqlite:///{folder}/feedback.db"
    path = folder / "feedback.db.key"
    with harken.connect(url) as hk:
        local_key(hk, path)
    path.unlink()
    if found == "another file":
        path.write_text("hk_0123")
    elif found == "a link to nothing":
        path.symlink_to("nothing")
    with serve(url, folder) as service:
        assert "feedback.db.key no longer has the local key that an earlier start stored there" in service.output
        create = re.search(r"HARKEN_KEY=\$\(harken (.+)\)", service.output)
        assert create is not None
        made = check_output([*HARKEN, *shlex.split(create[1])], cwd=tmp_path, text=True, env=environment())
        assert typed(service, HARKEN_KEY=made.strip())["status"] == "success"
    with harken.connect(url) as hk:
        hk.keys.revoke(hk.keys.keys()[0].id)
    with serve(url, folder) as service:
        assert "no longer has the local key" not in service.output

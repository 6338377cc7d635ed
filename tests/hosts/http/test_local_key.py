"""The key that ``harken serve`` creates where there is none: where it is kept, who finds it, and what is in the way."""

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
#: What a key looks like that is of no storage here.
STRANGER = "hk_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key is kept."""
    return tmp_path / "feedback.db.key"


#: Asks for the local key when a line comes, as several processes do at the same time.
PROGRAM = """
import sys, harken
from harken_adapters.hosts.http.guards.local_key import key_file, local_key
with harken.connect(sys.argv[1]) as hk:
    print("ready", flush=True)
    sys.stdin.readline()
    found = local_key(hk, key_file(sys.argv[1]))
    print(found.text, found.created)
"""


class TestWhere:
    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("sqlite:///feedback.db", "feedback.db.key"),
            ("SQLite:///folder/a%20b.db?busy_timeout=3", "folder/a b.db.key"),
            ("journal:///lines", "lines.key"),
        ],
    )
    def test_beside_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str) -> None:
        """The key of a storage in a file is beside that, wherever the process goes afterwards."""
        monkeypatch.chdir(tmp_path)
        assert key_file(url) == tmp_path / name

    def test_an_absolute_path(self) -> None:
        """The path is that of the file, and not of the folder in which the process is."""
        assert key_file("sqlite:////srv/feedback.db") == Path("/srv/feedback.db.key")

    def test_of_a_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A database server's key is in the user's folder, one for each database, whatever the password is."""
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
        """What forgets its keys has no file."""
        assert key_file("memory://") is None


class TestWhat:
    def test_the_first_time_and_later(self, hk: Harken, path: Path) -> None:
        """It is created once, with every scope, only its owner can read the file, and later it is found there."""
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

    def test_never_where_there_was_a_key(self, hk: Harken, path: Path) -> None:
        """Where a key was created, none is added, also when it is revoked by now."""
        made = hk.keys.create("default", ["read"])
        assert local_key(hk, path) is None
        hk.keys.revoke(made.key.id)
        assert local_key(hk, path) is None
        assert local_key(hk, None) is None
        assert not path.exists()

    @pytest.mark.parametrize("change", ["revoked", "of another application", "of another storage", "removed"])
    def test_a_file_that_is_no_use(self, hk: Harken, path: Path, change: str) -> None:
        """With a key that does not open this application, the file is ignored, and no other key is created for it."""
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
        """Where the storage was removed and the key was not, there is a new key in its place, for its owner only."""
        path.write_text(STRANGER)
        path.chmod(0o644)
        made = local_key(hk, path)
        assert made is not None
        assert made.created
        assert path.read_text() == f"{made.text}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def a_link(path: Path) -> None:
    """A link to a file that somebody else reads."""
    other = path.with_name("other")
    other.write_text("")
    path.symlink_to(other)


def a_certificate(path: Path) -> None:
    """A file of somebody else's."""
    path.write_text("-----BEGIN PRIVATE KEY-----\n")


def no_folder(path: Path) -> None:
    """A file where the folder should be."""
    path.parent.rmdir()
    path.parent.write_text("")


IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (a_link, "is a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "is a symbolic link"),
    "a certificate": (a_certificate, "is not a key file of Harken; move it away"),
    "an empty file": (Path.touch, "is not a key file of Harken"),
    "a pipe": (os.mkfifo, "is not a key file of Harken"),
    "a folder": (Path.mkdir, "is not a key file of Harken"),
    "no folder": (no_folder, "Cannot store a local key in .*: Not a directory|: File exists"),
}


class TestInTheWay:
    @pytest.mark.parametrize("what", IN_THE_WAY)
    def test_what_is_no_key_file(self, hk: Harken, tmp_path: Path, what: str) -> None:
        """It is not read, written or replaced; the error says what to do, and no key is left that nobody knows."""
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
        # Who has other keys is not concerned.
        hk.keys.create("default", ["read"])
        assert local_key(hk, path) is None

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
    def test_others_can_read_it(self, hk: Harken, path: Path, mode: int) -> None:
        """A valid key that others can read or replace is not used on; the error says how to change that."""
        local_key(hk, path)
        path.chmod(mode)
        with pytest.raises(
            ConfigurationError, match=rf"mode {mode:o}.*chmod 600 .*harken --storage x keys revoke [0-9a-f]+"
        ):
            local_key(hk, path, command="harken --storage x")
        path.chmod(0o400)
        assert local_key(hk, path) is not None

    def test_a_folder_that_cannot_be_written(self, hk: Harken, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is created, and the error says where. Root may write anywhere, so it is only said here."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("harken_adapters.hosts.http.guards.local_key.mkstemp", refuse)
        with pytest.raises(
            ConfigurationError, match=r"Cannot store a local key in .*feedback\.db\.key: Permission denied"
        ):
            local_key(hk, path)
        assert hk.keys.keys() == []

    def test_a_key_that_cannot_be_stored(self, hk: Harken, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the storage fails, no file is left that has no key, or a part of one."""

        def fail(*_: object, **__: object) -> None:
            raise harken.StorageUnavailable("the storage does not answer")

        monkeypatch.setattr(hk.keys, "create", fail)
        with pytest.raises(harken.StorageUnavailable):
            local_key(hk, path)
        assert list(path.parent.iterdir()) == []


def test_many_threads_at_once(hk: Harken, path: Path) -> None:
    """One of those that ask at the same time creates the key, and the others find it."""
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
    """The same holds for processes: whichever is first, all have the same key, and there is no other one."""
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
    """The first start shows the key as lines to type and to open, later ones say where it is; both work as typed."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    kept = tmp_path / "feedback.db.key"
    with serve(url, tmp_path, "--workers", workers) as service:
        text = kept.read_text().strip()
        assert service.told.count(text) == 2
        assert f"{service.url}/sign-in#{text}" in service.told
        assert "stored in feedback.db.key" in service.told
        assert typed(service)["status"] == "success"
        assert text not in service.log.read_text()
    with serve(url, tmp_path, "--workers", workers) as service:
        assert text not in service.told
        assert "$(cat feedback.db.key)" in service.told
        assert typed(service)["status"] == "success"
        assert service.ask("POST", PATH, json=UP, headers={}).status_code == 401
    with harken.connect(url) as hk:
        assert len(hk.keys.keys()) == 1
        assert hk.summary().total == 2


@pytest.mark.slow
def test_in_memory_it_is_shown_each_time(tmp_path: Path) -> None:
    """A storage that forgets its keys has another one at each start, and nothing is left of it."""
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
    """Workers on a database server take the same key, which is kept in the user's own folder."""
    with serve(mongodb_url, tmp_path, "--workers", "2") as service:
        (kept,) = (tmp_path / "harken").glob("*.key")
        assert kept.read_text().strip() == service.key
        assert typed(service)["status"] == "success"


@pytest.mark.slow
def test_not_where_session_tokens_let_in(tmp_path: Path) -> None:
    """Whoever has a secret for session tokens has chosen how to let people in; nothing is added to that."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, HARKEN_SERVER_TOKEN_SECRETS="a secret that has thirty-two bytes or more") as service:
        assert service.key is None
        assert service.ask("GET", "/api/feedback").status_code == 401
    with harken.connect(url) as hk:
        assert hk.keys.keys() == []


@pytest.mark.slow
def test_a_key_that_others_can_read_keeps_it_from_starting(tmp_path: Path) -> None:
    """One line says so, and nothing is served."""
    path = tmp_path / "feedback.db.key"
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        local_key(hk, path)
    path.chmod(0o644)
    told = refused(tmp_path)
    assert f"run: chmod 600 {path};" in told
    assert f"harken --storage sqlite:///{tmp_path}/feedback.db keys revoke " in told


@pytest.mark.slow
@pytest.mark.parametrize("found", ["nothing", "another file", "a link to nothing"])
def test_a_lost_file_is_told(tmp_path: Path, found: str) -> None:
    """Where the local key's file is not, as after a backup was restored elsewhere, the start says so, and which command
    creates another key; the command and then the line with curl work as they are pasted.
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
        assert "feedback.db.key no longer has the local key that an earlier start stored there" in service.told
        create = re.search(r"HARKEN_KEY=\$\(harken (.+)\)", service.told)
        assert create is not None
        made = check_output([*HARKEN, *shlex.split(create[1])], cwd=tmp_path, text=True, env=environment())
        assert typed(service, HARKEN_KEY=made.strip())["status"] == "success"
    with harken.connect(url) as hk:
        hk.keys.revoke(hk.keys.keys()[0].id)
    with serve(url, folder) as service:
        assert "no longer has the local key" not in service.told

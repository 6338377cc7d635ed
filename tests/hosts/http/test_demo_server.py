"""``harken serve --demo`` in a separate process."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.reliability.http_processes import HARKEN, environment

import harken
from support import PATIENCE, eventually

pytestmark = pytest.mark.slow


@contextmanager
def demo(folder: Path, *options: str, before: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The demo, on a free port, with everything temporary in a folder; and its output."""
    (folder / "temporary").mkdir()
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (*HARKEN, *before, "serve", "--demo", "--port", "0", *options),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(TMPDIR=str(folder / "temporary"), XDG_STATE_HOME=str(folder / "state")),
            # As in a terminal, also if the tests run under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509 - takes no lock
        )
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)


def started(process: subprocess.Popen[bytes], log: Path) -> tuple[str, dict[str, str]]:
    """The address and the credentials, as soon as they are printed."""
    # It lives through two months, on a machine that also runs other tests.
    eventually(lambda: "This is a demo" in log.read_text() or process.poll() is not None, patience=4 * PATIENCE)
    assert process.poll() is None, log.read_text()
    text = log.read_text()
    address = re.search(r"running on (\S+)", text)
    key = re.search(r"sign-in#(hk_[\w-]+)", text)
    assert address
    assert key
    return address[1], {"Authorization": f"Bearer {key[1]}"}


def asked(address: str, path: str, credentials: dict[str, str]) -> Any:
    """The JSON of a response."""
    # On a busy machine, workers are started again until one has answered the check of its parent in time.
    answer = requests.get(f"{address}{path}", headers=credentials, timeout=4 * PATIENCE)
    assert answer.ok, answer.text
    return answer.json()


def refused(folder: Path, storage: str) -> str:
    """The error of a demo that does not start."""
    ran = subprocess.run(
        (*HARKEN, "--storage", storage, "serve", "--demo", "--port", "0"),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(),
        timeout=PATIENCE,
    )
    assert ran.returncode == 2, ran
    return ran.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_serves_two_months_and_removes_them(tmp_path: Path, number: signal.Signals) -> None:
    """Without a storage it serves feedback that grows from a temporary one, uses no settings of the folder, and leaves
    nothing when a signal ends it.
    """
    (tmp_path / "harken.toml").write_text('storage = "sqlite:///real.db"\n[channels.real]\nkind = "log"\n')
    with demo(tmp_path) as (process, log):
        address, credentials = started(process, log)
        total = asked(address, "/api/analytics/summary", credentials)["total_feedbacks"]
        assert total > 6_000
        names = [one["name"] for one in asked(address, "/api/channels", credentials)["channels"]]
        assert names == ["log", "product-team", "orders", "help-desk"]
        eventually(lambda: asked(address, "/api/analytics/summary", credentials)["total_feedbacks"] > total)
        assert list((tmp_path / "temporary").iterdir())
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert "is removed when the server ends" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["harken.toml", "log", "temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_two_workers_serve_it_from_mongodb(tmp_path: Path, mongodb_url: str) -> None:
    """An empty storage that is named is filled once, also with several workers, and keeps the feedback."""
    with demo(tmp_path, "--workers", "2", before=("--storage", mongodb_url)) as (process, log):
        address, credentials = started(process, log)
        assert asked(address, "/api/analytics/summary", credentials)["total_feedbacks"] > 6_000
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    assert "The storage keeps the sample feedback" in log.read_text()
    with harken.connect(mongodb_url) as hk:
        assert 6_000 < hk.summary().total < 15_000
    assert "has feedback; leave out --storage" in refused(tmp_path, mongodb_url)


def test_a_storage_with_feedback_is_refused(tmp_path: Path) -> None:
    """A storage that has feedback is left unchanged, and memory:// is refused, as it cannot be opened again."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(url) as hk:
        hk.submit("session", "up")
    assert "has feedback; leave out --storage" in refused(tmp_path, url)
    with harken.connect(url) as hk:
        assert hk.summary().total == 1
    assert "leave out --storage for a temporary file" in refused(tmp_path, "memory://")

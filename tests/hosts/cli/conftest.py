"""Runs the command line in this process, on a new SQLite file."""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import harken
from harken_adapters.hosts.cli import main

URL = "sqlite:///feedback.db"


@frozen
class Ran:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON document on stderr."""
        return json.loads(self.err)


Cli = Callable[..., Ran]


@pytest.fixture
def _same_logging() -> Iterator[None]:
    """Removes the handlers that commands add: they would write to the stderr of a test that has ended."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in before]
    root.setLevel(level)


@pytest.fixture
def cli(
    _same_logging: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """Runs ``harken`` in an empty directory, 100 columns wide, without settings from the environment."""
    for name in [name for name in os.environ if name.startswith("HARKEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | bytes = b"", storage: str | None = URL) -> Ran:
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        code = main([*(("--storage", storage) if storage else ()), *arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    # ``harken serve`` sets variables for the processes of the server.
    before = dict(os.environ)
    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def empty_storage(cli: Cli) -> None:
    """Creates the storage: commands that read do not."""
    with harken.connect(URL):
        pass

"""Real servers of MLflow and Phoenix on localhost, each with its data in a temporary folder.

Each has its own virtual environment, which ``make`` creates from the pinned packages in ``servers``. They end with
the process that started them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from mongod import LAUNCH
from support import PATIENCE, eventually

_ENVIRONMENTS: Final = Path(sys.prefix) / "servers"
#: How many seconds a server may take to start: alone, Phoenix imports packages for ten.
_START: Final = 300.0
#: How many ports are attempted.
_TRIES: Final = 5
# Phoenix also receives traces by gRPC, on all addresses of the machine. The tests do not need that.
_PHOENIX: Final = """
from phoenix.server import grpc_server
async def nothing(*_): pass
grpc_server.GrpcServer.__aenter__ = nothing
from phoenix.server.main import main
main()
"""


@contextmanager
def mlflow_server() -> Iterator[str]:
    """The URL of a new MLflow tracking server with one experiment, whose id is 0."""
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": "sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "{folder}/artifacts",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    words = ("-m", "uvicorn", "mlflow.server.fastapi_app:app", "--host", "127.0.0.1", "--port", "{port}")
    with _serving("mlflow", words, settings, "/health") as url:
        # Creates the database.
        httpx.post(f"{url}/api/2.0/mlflow/experiments/search", json={"max_results": 1}, timeout=PATIENCE)
        yield url


@contextmanager
def phoenix_server() -> Iterator[str]:
    """The URL of a new Phoenix server with the project ``default``."""
    settings = {
        "PHOENIX_WORKING_DIR": "{folder}",
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": "{port}",
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    with _serving("phoenix", ("-c", _PHOENIX, "serve"), settings, "/healthz") as url:
        yield url


@contextmanager
def _serving(name: str, words: tuple[str, ...], settings: Mapping[str, str], health: str) -> Iterator[str]:
    program = _ENVIRONMENTS / name / "bin" / "python"
    if not program.exists():
        raise RuntimeError(f"This test needs the server {name}; install it with 'make {program.parents[2]}/.ready'")
    log = ""
    for _ in range(_TRIES):
        with TemporaryDirectory(prefix=f"harken-{name}-") as folder:
            port = _free_port()
            values: dict[str, Any] = {"folder": folder, "port": port}
            environ = {**os.environ, **{key: value.format(**values) for key, value in settings.items()}}
            command = [str(program), *(word.format(**values) if "{" in word else word for word in words)]
            with _running(command, environ, Path(folder)) as process:
                url = f"http://127.0.0.1:{port}"
                eventually(
                    lambda ended=process.poll, url=url: ended() is not None or _healthy(f"{url}{health}"),
                    patience=_START,
                )
                if process.poll() is None:
                    yield url
                    return
            log = (Path(folder) / "log").read_text(errors="replace")
    raise RuntimeError(f"The server {name} does not start: {log[-2000:]}")


@contextmanager
def _running(command: list[str], environ: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    launch = (sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*launch, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environ, cwd=folder
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port

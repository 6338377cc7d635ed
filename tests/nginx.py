"""A real nginx before a service, with a typical configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support import PATIENCE, eventually

_CONFIGURATION: Final = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream};
            {more}
        }}
    }}
}}
"""

#: How many ports are attempted.
_TRIES: Final = 5


@contextmanager
def nginx_before(upstream: str, folder: Path, *, more: str = "") -> Iterator[str]:
    """The address of an nginx that forwards all requests to ``upstream``. It is ended by its process id.

    Args:
        upstream: the address that requests are forwarded to, such as ``http://127.0.0.1:8000``.
        folder: the folder for its files.
        more: additional configuration of the location.

    Raises:
        RuntimeError: nginx is not installed.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if program is None:
        raise RuntimeError("This test needs nginx; install it, for example with 'apt-get install nginx-light'")
    folder.mkdir()
    words = [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    for _ in range(_TRIES):
        port = _free_port()
        (folder / "nginx.conf").write_text(
            _CONFIGURATION.format(folder=folder, port=port, upstream=upstream, more=more)
        )
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            try:
                if _serves(process, folder, port):
                    yield f"http://127.0.0.1:{port}"
                    return
                errors = process.stderr.read() if process.stderr else ""
            finally:
                process.terminate()
                process.wait(PATIENCE)
    raise RuntimeError(f"nginx does not start: {errors}")


def _free_port() -> int:
    """Return a port that is currently free; another process may take it before nginx does."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _serves(process: subprocess.Popen[str], folder: Path, port: int) -> bool:
    """Wait until nginx serves the port, or has ended because it cannot.

    It writes its process id after binding the port, so another process on that port is not mistaken for it.
    """
    pid = folder / "nginx.pid"
    eventually(lambda: process.poll() is not None or (pid.exists() and _listens(port)))
    return process.poll() is None


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0

"""Serving MCP over streamable HTTP with uvicorn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import uvicorn

from harken import ConfigurationError, Harken
from harken_adapters.hosts.fastapi.protocol import GuardedProtocol
from harken_adapters.hosts.fastapi.serving import GRACE, address, exit_on_signal, listen
from harken_adapters.hosts.http.logs import configure_logs
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.mcp.app import PATH, create_app


def serve_http(
    harken: Harken,
    settings: ServerSettings,
    on_start: Callable[[str], object],
    *,
    write: bool,
    allowed_hosts: Sequence[str] = (),
    command: str = "harken",
) -> None:
    """Serve until a signal arrives. Requests in progress are completed.

    Args:
        harken: the Harken to serve. The caller closes it.
        settings: the settings of the server, with the address to listen on.
        on_start: called with the URL of the server when it can be reached.
        write: whether there are tools that change stored data.
        allowed_hosts: see :func:`create_app`.
        command: the start of a command line for the same storage, for error messages.

    Raises:
        ConfigurationError: there is no API key, or the address is not available.
        StorageError: the storage failed.
    """
    if not harken.keys.in_use() and not settings.token_secrets:
        raise ConfigurationError(
            f"Requests over HTTP need an API key, and there is none yet; create one: {command} keys create --scope read"
        )
    configure_logs(json=settings.log_json or None, level=settings.log_level)
    # Harken logs each call; the package would add several lines about each request.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    with exit_on_signal(), listen(settings) as listening:
        own = f"[{settings.host}]" if ":" in settings.host else settings.host
        app = create_app(harken, settings, write=write, allowed_hosts=(own, *allowed_hosts))
        on_start(f"{address(listening)}{PATH}")
        uvicorn.run(
            app,
            fd=listening.fileno(),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="on",
            http=GuardedProtocol,
            ws="none",
            timeout_graceful_shutdown=GRACE,
        )

"""The command ``serve``."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken import ConfigurationError
from harken.configuration.extras import requires
from harken_adapters.hosts.cli.options import cli_context
from harken_adapters.hosts.cli.output import say

if TYPE_CHECKING:
    from harken_adapters.hosts.fastapi.serving import Started
    from harken_adapters.hosts.http.guards.local_key import LocalKey


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Any other than loopback requires an API key first.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes.")] = None,
    open_: Annotated[
        bool,
        typer.Option("--open", help="Require no API key, and accept only direct requests from localhost."),
    ] = False,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Serve two months of sample feedback, from a temporary storage or the empty one that --storage names.",
        ),
    ] = False,
) -> None:
    """Serve the HTTP API until interrupted.

    Requests need an API key or a session token. The first start creates a key if there is none.
    """
    try:
        with requires("harken serve", "server"):
            from harken_adapters.hosts.cli.demo_server import serve_demo  # noqa: PLC0415 - its packages may be missing
            from harken_adapters.hosts.fastapi import serving  # noqa: PLC0415
            from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name == "fcntl":
            raise ConfigurationError(
                "harken serve needs Linux or macOS; on Windows, serve the Flask or Django application with waitress"
            ) from error
        raise

    cli = cli_context(context)
    options = {"host": host, "port": port, "workers": workers, "access": "open" if open_ else None}
    if demo:
        serve_demo(cli, options, _print_start)
        return
    # Passed in the environment, because each worker process opens the storage.
    for name, value in (("STORAGE", cli.storage), ("APPLICATION", cli.application)):
        if value is not None:
            os.environ[f"HARKEN_{name}"] = value
    serving.serve(ServerSettings.load(**options), partial(_print_start, command=cli.command), command=cli.command)


def check_server_settings() -> str | None:
    """Check the settings in ``[server]``. Returns their problem; ``None`` if they are valid.

    Raises:
        MissingExtra: serving is not installed, so they cannot be checked.
    """
    with requires("harken serve", "server"):
        from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415 - as above
    try:
        ServerSettings.load()
    except ConfigurationError as error:
        return str(error)
    return None


def _print_start(started: Started, *, command: str) -> None:
    key = started.key
    say(f"Harken is running on {started.address}")
    # These addresses mean all interfaces. A browser cannot open them.
    address = started.address.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    if started.access != "open":
        say(f"  sign in        {address}/sign-in{f'#{key.text}' if key and key.created else ''}")
    say(f"  dashboard      {address}/dashboard")
    say(f"  documentation  {address}/docs")
    say(f"  widget demo    {address}/demo")
    say(f"  health         {address}/healthz  {address}/readyz  {address}/metrics")
    header = "" if started.access == "open" else f""" -H "Authorization: Bearer {_key_for_shell(key)}\""""
    say("Submit feedback:")
    say(
        f"  curl {address}/api/sessions/user-123/feedback{header} -H 'Content-Type: application/json' "
        """-d '{"rating": "up"}'"""
    )
    if started.lost is not None:
        say(f"Warning: {_relative(started.lost)} no longer has the local key that an earlier start stored there")
    say(_about_access(started, command))


def _key_for_shell(key: LocalKey | None) -> str:
    """A shell expression for the key: the key itself if it is new, otherwise one that reads its file."""
    if key is None:
        return "$HARKEN_KEY"
    return key.text if key.created or key.path is None else f"$(cat {shlex.quote(_relative(key.path))})"


def _about_access(started: Started, command: str) -> str:
    key = started.key
    if started.access == "open":
        return "No API key is required; only direct requests from localhost are accepted"
    if key is None:
        create = f"HARKEN_KEY=$({command} keys create --scope submit --scope read)"
        return f"Requests need an API key or a session token. To create a key for the command above, run: {create}"
    if key.path is None:
        return "Requests need this key, which is valid until this process ends, as memory:// stores nothing"
    if key.created:
        path = _relative(key.path)
        return f"Requests need this key. It is stored in {path}, readable only by you, and is not shown again."
    return f"Requests need the key in {_relative(key.path)}, or another key"


def _relative(path: Path) -> str:
    """The path, relative to the current directory if it is inside."""
    current = Path.cwd()
    return str(path.relative_to(current) if path.is_relative_to(current) else path)

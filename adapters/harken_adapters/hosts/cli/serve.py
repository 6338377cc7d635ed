"""``serve``: the HTTP service."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken import ConfigurationError, MissingExtra
from harken_adapters.hosts.cli.options import cli_context
from harken_adapters.hosts.cli.output import say

if TYPE_CHECKING:
    from harken_adapters.hosts.fastapi.serving import Started
    from harken_adapters.hosts.http.guards.local_key import LocalKey

_NEEDED = frozenset({"fastapi", "uvicorn", "starlette", "limits", "structlog", "prometheus_client", "jwt"})


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; any but a loopback address needs an API key first.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 for any that is free.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve.")] = None,
    open_: Annotated[
        bool,
        typer.Option("--open", help="Serve direct requests from this machine without a key; for a notebook or a test."),
    ] = False,
) -> None:
    """Serve the HTTP API until it is interrupted.

    Every request needs an API key or a session token. If no key was ever created, it creates one for you.
    """
    try:
        from harken_adapters.hosts.fastapi import serving  # noqa: PLC0415 - what it needs may be missing
        from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name == "fcntl":
            raise ConfigurationError(
                "harken serve needs Linux or macOS; on Windows, serve the Flask or Django application with waitress"
            ) from error
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        remedy = 'try pip install "harken[server]"'
        raise MissingExtra(f"Serving needs the package {error.name!r}, which is not installed; {remedy}") from error

    # Each process that serves opens the storage for itself.
    cli = cli_context(context)
    for name, value in (("STORAGE", cli.storage), ("APPLICATION", cli.application)):
        if value is not None:
            os.environ[f"HARKEN_{name}"] = value
    access = "open" if open_ else None
    settings = ServerSettings.load(host=host, port=port, workers=workers, access=access)
    serving.serve(settings, partial(_tell, command=cli.command), command=cli.command)


def _tell(started: Started, *, command: str) -> None:
    address, key = started.address, started.key
    say(f"Harken serves on {address}")
    if started.access != "open":
        say(f"  sign in        {address}/sign-in{f'#{key.text}' if key and key.created else ''}")
    say(f"  documentation  {address}/docs")
    say(f"  health         {address}/healthz  {address}/readyz  {address}/metrics")
    header = "" if started.access == "open" else f""" -H "Authorization: Bearer {_shown(key)}\""""
    say("Give feedback:")
    say(
        f"  curl {address}/api/sessions/user-123/feedback{header} -H 'Content-Type: application/json' "
        """-d '{"rating": "up"}'"""
    )
    if started.lost is not None:
        say(f"There is no valid local key in {_near(started.lost)}, where an earlier start stored one")
    say(_about_access(started, command))


def _shown(key: LocalKey | None) -> str:
    """The key as a shell takes it: itself when it is new, later from its file."""
    if key is None:
        return "$HARKEN_KEY"
    return key.text if key.created or key.path is None else f"$(cat {shlex.quote(_near(key.path))})"


def _about_access(started: Started, command: str) -> str:
    key = started.key
    if started.access == "open":
        return "Open: no key is needed, and only direct requests from this machine are served"
    if key is None:
        create = f"HARKEN_KEY=$({command} keys create --scope submit --scope read)"
        return f"Every request needs an API key or a session token. To create a key for the line above: {create}"
    if key.path is None:
        return "Every request needs this key, which ends with this process: memory:// keeps nothing"
    if key.created:
        where = _near(key.path)
        return f"Every request needs this key. It is not shown again; it is stored in {where}, readable only by you"
    return f"Every request needs the key in {_near(key.path)}, or another one"


def _near(path: Path) -> str:
    """The path as somebody here types it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

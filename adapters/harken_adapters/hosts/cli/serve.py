"""``serve``: the HTTP service."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from harken import MissingExtra
from harken_adapters.hosts.cli.options import door
from harken_adapters.hosts.cli.output import say

_NEEDED = frozenset({"fastapi", "uvicorn", "starlette", "limits", "structlog", "prometheus_client", "jwt"})


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; any but those of this machine needs keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 for any that is free.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve.")] = None,
) -> None:
    """Serve the HTTP API until it is interrupted."""
    try:
        from harken_adapters.hosts.fastapi import serving  # noqa: PLC0415 - what it needs may be missing
        from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        remedy = 'try pip install "harken[server]"'
        raise MissingExtra(f"Serving needs the package {error.name!r}, which is not installed; {remedy}") from error

    # Each process that serves opens the storage for itself.
    chosen = door(context)
    for name, value in (("STORAGE", chosen.storage), ("APPLICATION", chosen.application)):
        if value is not None:
            os.environ[f"HARKEN_{name}"] = value
    serving.serve(ServerSettings.load(host=host, port=port, workers=workers), _tell)


def _tell(address: str) -> None:
    say(f"Harken serves on {address}")
    say(f"  feedback       POST {address}/api/sessions/SESSION_ID/feedback")
    say(f"  documentation  {address}/docs")
    say(f"  health         {address}/healthz  {address}/readyz  {address}/metrics")

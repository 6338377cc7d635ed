"""The command ``mcp``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from harken import Harken
from harken.configuration.extras import requires
from harken.configuration.storage_urls import open_existing_storage
from harken_adapters.hosts.cli.options import CliContext, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import say, warn

if TYPE_CHECKING:
    from harken_adapters.hosts.http.settings import ServerSettings


def mcp(
    context: typer.Context,
    write: Annotated[bool, typer.Option("--write", help="Also offer a tool that records feedback.")] = False,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve streamable HTTP at this address; requests need an API key."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --http: a name under which clients reach this server; repeatable."),
    ] = None,
) -> None:
    """Serve feedback to AI assistants, as tools over MCP.

    By default, an MCP client starts this command, and talks to it over standard input and output.
    """
    with requires("harken mcp", "mcp"):
        from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415 - its packages may be missing
        from harken_adapters.hosts.mcp.stdio import serve_stdio  # noqa: PLC0415
    cli = cli_context(context)
    if http is not None:
        _serve_http(cli, http, allowed_host or (), write=write)
        return
    if allowed_host:
        raise WrongUsage("--allowed-host needs --http")
    settings = ServerSettings.load()
    if sys.stdin is not None and sys.stdin.isatty():
        warn("Waiting for an MCP client on standard input; press Ctrl-C to stop")
    with _connect(cli, settings, create=write) as hk:
        serve_stdio(hk, settings, write=write)


def _serve_http(cli: CliContext, http: str, allowed_hosts: Sequence[str], *, write: bool) -> None:
    with requires("harken mcp", "mcp"):
        from harken_adapters.hosts.http.settings import ServerSettings  # noqa: PLC0415 - as above
        from harken_adapters.hosts.mcp.serving import serve_http  # noqa: PLC0415

    if cli.application is not None:
        raise WrongUsage("With --http, each API key is for one application; leave out --application")
    host, port = _parse_address(http)
    settings = ServerSettings.load(host=host, port=port)
    with _connect(cli, settings, create=False) as hk:
        serve_http(hk, settings, _print_start, write=write, allowed_hosts=allowed_hosts, command=cli.command)


@contextmanager
def _connect(cli: CliContext, settings: ServerSettings, *, create: bool) -> Iterator[Harken]:
    """Connect with the text adapters of the server, so that comments are processed like those over HTTP."""
    from harken_adapters.hosts.http.serving.process_service import connect_harken  # noqa: PLC0415 - as above

    if create:
        with connect_harken(settings, cli.storage, application=cli.application) as hk:
            yield hk
        return
    with (
        open_existing_storage(cli.url) as storage,
        connect_harken(settings, storage, application=cli.application) as hk,
    ):
        yield hk


def _parse_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()):
        raise WrongUsage(f"Invalid address {text!r}; expected HOST:PORT, such as 127.0.0.1:8765")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _print_start(url: str) -> None:
    say(f"Harken serves MCP at {url}")
    say("Requests need an API key: 'Authorization: Bearer hk_...'. Press Ctrl-C to stop.")

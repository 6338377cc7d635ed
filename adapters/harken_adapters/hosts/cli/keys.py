"""``keys``: who may use the service from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import ApiKey, Scope
from harken_adapters.formats.record import stamp
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say, time_text, warn

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of programs that use the service.")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it, or the key.")]


@keys.command()
def create(
    context: typer.Context,
    scope: Annotated[list[Scope], typer.Option(help="What it lets its holder do; repeatable. Admin is everything.")],
    name: Annotated[str, typer.Option(help='What to call it, such as "web backend".')] = "",
    agent: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Limit it to feedback about this agent; repeatable. Without it: all agents."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key for the application, and print it: it is not shown again."""
    with cli_context(context).open() as hk:
        made = hk.keys.create(hk.application, scope, name=name, agents=agent or None)
    if as_json:
        print_json({**_record(made.key), "key": made.text})
        return
    say(made.text)
    # Not on stdout, so that a script gets the key and nothing else.
    warn("Store it in a safe place: it is not shown again, and cannot be recovered later")


@keys.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the keys of all applications, revoked ones too, oldest first."""
    with cli_context(context).open() as hk:
        found = hk.keys.keys()
    if as_json:
        print_json({"keys": list(map(_record, found))})
        return
    for key in found:
        say(_line(key), style="dim" if key.revoked else "")


@keys.command()
def revoke(context: typer.Context, key_id: KeyId, as_json: Json = False) -> None:
    """Make a key invalid, at once and permanently."""
    with cli_context(context).open() as hk:
        revoked = hk.keys.revoke(key_id)
    if as_json:
        print_json(_record(revoked))
    else:
        say(f"{revoked.id} was revoked at {time_text(revoked.revoked_at)}")


def _line(key: ApiKey) -> str:
    """A key for people; no table, in which an id could be cut off where room is short."""
    facts = [key.id, key.application, ", ".join(_scopes(key)), f"made {time_text(key.created_at)}"]
    facts += [f"agents: {', '.join(sorted(key.agents))}"] if key.agents is not None else []
    facts += [f"revoked {time_text(key.revoked_at)}"] if key.revoked else []
    return "  ".join([*facts, key.name] if key.name else facts)


def _scopes(key: ApiKey) -> list[str]:
    return [scope.value for scope in Scope if scope in key.scopes]


def _record(key: ApiKey) -> dict[str, object]:
    """A key as JSON says it, without its digest."""
    return {
        "id": key.id,
        "application": key.application,
        "scopes": _scopes(key),
        "agents": None if key.agents is None else sorted(key.agents),
        "name": key.name,
        "created_at": stamp(key.created_at),
        "revoked_at": None if key.revoked_at is None else stamp(key.revoked_at),
    }

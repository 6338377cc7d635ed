"""The commands ``keys create``, ``keys list`` and ``keys revoke``."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import ApiKey, Scope
from harken_adapters.formats.key import key_record
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say, say_facts, time_text, warn

keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys of the HTTP service.")

KeyId = Annotated[
    str, typer.Argument(metavar="ID", help="The id of the key, as `keys list` shows it, or the key itself.")
]


@keys.command()
def create(
    context: typer.Context,
    scope: Annotated[
        list[Scope],
        typer.Option(
            metavar="SCOPE",
            help="Permission of the key: submit, read, moderate, or admin, which includes the others; repeatable.",
        ),
    ],
    name: Annotated[str, typer.Option(help='A name for the key, such as "web backend".')] = "",
    agent: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Restrict the key to feedback on this agent; repeatable. Default: all agents."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create an API key for the application, and print it.

    The key cannot be shown again.
    """
    created = cli_context(context).store(
        lambda hk: hk.keys.create(hk.application, scope, name=name, agents=agent or None)
    )
    if as_json:
        print_json({**key_record(created.key), "key": created.text})
        return
    say(created.text)
    # On stderr, so that stdout has only the key, for scripts.
    warn("Store the key in a safe place: it cannot be shown again or recovered")


@keys.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the keys of all applications, oldest first.

    Revoked keys are included.
    """
    with cli_context(context).open_existing() as hk:
        found = hk.keys.keys()
    if as_json:
        print_json({"keys": list(map(key_record, found))})
        return
    for key in found:
        say_facts(_line(key), style="dim" if key.revoked else "")
    if not found:
        say("No keys")


@keys.command()
def revoke(context: typer.Context, key_id: KeyId, as_json: Json = False) -> None:
    """Revoke a key, immediately and permanently."""
    with cli_context(context).open_existing() as hk:
        revoked = hk.keys.revoke(key_id)
    if as_json:
        print_json(key_record(revoked))
    else:
        say(f"{revoked.id} was revoked at {time_text(revoked.revoked_at)}")


def _line(key: ApiKey) -> str:
    """Its facts. Not a row of a table, which could truncate the id on a narrow terminal."""
    facts = [key.id, key.application, ", ".join(_scopes(key)), f"created {time_text(key.created_at)}"]
    facts += [f"used {time_text(key.last_used_at)}"] if key.last_used_at else []
    facts += [f"agents: {', '.join(sorted(key.agents))}"] if key.agents is not None else []
    facts += [f"revoked {time_text(key.revoked_at)}"] if key.revoked else []
    return "  ".join([*facts, key.name] if key.name else facts)


def _scopes(key: ApiKey) -> list[str]:
    return [scope.value for scope in Scope if scope in key.scopes]

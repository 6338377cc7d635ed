"""The command ``imports``."""

from __future__ import annotations

from typing import Any

import typer
from attrs import asdict

from harken import Import
from harken.domain.instants import stamp, stamp_or_none
from harken.domain.texts import amount, listed
from harken_adapters.hosts.cli.import_output import counts_text
from harken_adapters.hosts.cli.import_overlap import listed_imports
from harken_adapters.hosts.cli.options import Json, cli_context
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, time_text


def imports(context: typer.Context, as_json: Json = False) -> None:
    """List imports that added feedback, the last started first.

    To undo one, run `harken erase --import ID`.
    """
    with cli_context(context).open_existing() as hk:
        found = listed_imports(hk, hk.application)
    if as_json:
        print_json({"items": list(map(_record, found))})
        return
    if not found:
        say("No imports")
    for one in found:
        _show(one)


def _show(one: Import) -> None:
    """Print an import in two lines, as ids and names of files are long."""
    ended = f"finished {time_text(one.finished_at)}" if one.finished_at else "unfinished"
    say(
        f"{in_one_line(one.id)}  started {time_text(one.started_at)}, {ended}",
        style="" if one.finished_at else "yellow",
    )
    say(f"    {'; '.join(filter(None, (_counts(one), _files(one))))}")


def _counts(one: Import) -> str:
    counts = one.counts
    if counts.added + counts.duplicates + counts.rejected <= counts.read:
        return counts_text(counts, "row")
    # It was killed before it recorded what it read.
    return f"{amount(counts.added, 'entry', 'entries')} stored"


def _files(one: Import) -> str:
    return listed([in_one_line(file) for file in one.files], 1)


def _record(one: Import) -> dict[str, Any]:
    return {
        "id": one.id,
        "application": one.application,
        "started_at": stamp(one.started_at),
        "finished_at": stamp_or_none(one.finished_at),
        "files": list(one.files),
        "mapping_digest": one.mapping.options,
        **asdict(one.counts),
    }

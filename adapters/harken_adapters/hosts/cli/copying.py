"""``copy``: everything from one storage into another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from attrs import asdict

from harken import Feedback
from harken.services.copying import ConversationPart, Copied, Copyable, Copying, SessionValue
from harken.storage import open_storage, same_storage
from harken_adapters.formats.record import to_record
from harken_adapters.hosts.cli.files import Rejects, spare_databases
from harken_adapters.hosts.cli.options import Json, WrongUsage, door
from harken_adapters.hosts.cli.output import print_json, run_through, say

_REJECTED = Path("copy.rejected.jsonl")


def copy(
    context: typer.Context,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="URL", help="The storage to read.")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The storage to write to.")],
    rejected: Annotated[
        Path | None, typer.Option(metavar="PATH", help=f"Where conflicts go; {_REJECTED} if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy everything from one storage into another, as it is: feedback, metadata of sessions, conversations.

    All applications, or only that of --application. Nothing in the other storage is changed.

    Copying again adds nothing.
    """
    chosen = door(context)
    if chosen.given is not None:
        raise WrongUsage("copy takes its storages from --from and --to; leave out --storage")
    if same_storage(from_, to):
        raise WrongUsage("--from and --to name the same storage; choose another one to copy to")
    rejects = Rejects(rejected or _REJECTED, "application")
    began = perf_counter()
    with open_storage(from_) as source, open_storage(to) as target:
        # Only now: opening the storage may have made it.
        spare_databases(rejects.path)
        copying = Copying(source, target, partial(_reject, rejects), application=chosen.application)
        try:
            run_through(copying.batches(), "feedback", copying.total)
        finally:
            rejected_file = rejects.close()
    if rejected_file is None and rejected is None:
        rejects.remove_stale()
    _show(copying, rejected_file, perf_counter() - began, as_json=as_json)


def _reject(rejects: Rejects, what: Copyable, reason: str) -> None:
    match what:
        case Feedback():
            rejects.add(what.application, reason, to_record(what))
        case SessionValue(application, session_id, name, value):
            rejects.add(application, reason, {"session_id": session_id, "metadata": {name: value}})
        case ConversationPart(application, session_id, agent_id, None, value):
            rejects.add(application, reason, {"session_id": session_id, "agent_id": agent_id, "knows": value})
        case ConversationPart(application, session_id, agent_id, number, value):
            said = {"session_id": session_id, "agent_id": agent_id, "number": number, "message": value}
            rejects.add(application, reason, said)


def _show(copying: Copying, rejected_file: Path | None, seconds: float, *, as_json: bool) -> None:
    if as_json:
        report = {
            "feedback": asdict(copying.feedback),
            "metadata": asdict(copying.metadata),
            "conversations": asdict(copying.conversations),
            "rejected_file": str(rejected_file) if rejected_file else None,
            "seconds": round(seconds, 3),
        }
        print_json(report)
        return
    speed = f"{seconds:.1f} s, {copying.feedback.read / seconds:,.0f} rows/s"
    say(f"Feedback: {_counts(copying.feedback)}; {speed}")
    say(f"Values of metadata: {_counts(copying.metadata)}")
    say(f"Messages of agents, and what these know: {_counts(copying.conversations)}")
    if rejected_file:
        say(f"Conflicts, with reasons: {rejected_file}", style="yellow")


def _counts(copied: Copied) -> str:
    return (
        f"{copied.read:,} read: {copied.added:,} added, {copied.duplicates:,} there already, "
        f"{copied.conflicts:,} in conflict"
    )

"""``copy``: everything from one storage into another."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Final

import typer
from attrs import asdict

from harken import Feedback
from harken.container import utc_now
from harken.services.copying import ConversationPart, Copied, Copyable, Copying, Extra, Kind, SessionValue
from harken.storage import open_existing_storage, open_storage, same_storage
from harken_adapters.formats.record import to_record
from harken_adapters.hosts.cli.files import Rejects, spare_databases
from harken_adapters.hosts.cli.options import Json, WrongUsage, door
from harken_adapters.hosts.cli.output import confirmed, print_json, run_through, say

_REJECTED = Path("copy.rejected.jsonl")
#: The exit code where the target differs from the source in the end, as for anything that conflicts.
_DIFFERENT: Final = 3


def copy(
    context: typer.Context,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="URL", help="The storage to read.")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The storage to write to.")],
    rejected: Annotated[
        Path | None, typer.Option(metavar="PATH", help=f"Where differences go; {_REJECTED} if not given.")
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Remove from the target what the source does not have, such as what was erased there, "
            "and take over metadata and conversations that differ.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --mirror removes anything.")] = False,
    as_json: Json = False,
) -> None:
    """Copy everything from one storage into another, as it is: feedback, metadata of sessions, conversations.

    All applications, or only that of --application.

    Copying again adds what is new, and takes over later versions. Without --mirror nothing else is changed.

    Exits with 3 if the target differs from the source in the end.
    """
    chosen = door(context)
    if chosen.given is not None:
        raise WrongUsage("copy takes its storages from --from and --to; leave out --storage")
    if same_storage(from_, to):
        raise WrongUsage("--from and --to name the same storage; choose another one to copy to")
    rejects = Rejects(rejected or _REJECTED, "application")
    began = perf_counter()
    with open_existing_storage(from_) as source, open_storage(to) as target:
        # Only now: opening the storage may have made it.
        spare_databases(rejects.path)
        report = partial(_reject, rejects)
        copying = Copying(source, target, report, application=chosen.application, mirror=mirror)
        extras = list(copying.extras()) if mirror else []
        if extras and not yes and not confirmed(_question(extras)):
            raise typer.Abort
        try:
            copying.remove(extras, at=target.clock(utc_now)())
            run_through(copying.batches(), "feedback", copying.total)
        finally:
            rejected_file = rejects.close()
    if rejected_file is None and rejected is None:
        rejects.remove_stale()
    _show(copying, rejected_file, perf_counter() - began, as_json=as_json)
    if copying.differences:
        raise typer.Exit(_DIFFERENT)


def _question(extras: list[Extra]) -> str:
    counts = Counter((extra.application, extra.kind) for extra in extras)
    named = ", ".join(f"{count:,} {kind.value} of application {name!r}" for (name, kind), count in counts.items())
    return f"The source does not have these: {named}. Remove them from the target for good?"


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
        case Extra(Kind.FEEDBACK, application, session_id, name):
            # Without what it says, which somebody may have had erased.
            rejects.add(application, reason, {"session_id": session_id, "id": name})
        case Extra(kind, application, session_id, name):
            rejects.add(application, reason, {"session_id": session_id, "only_in_target": kind.value, "name": name})


def _show(copying: Copying, rejected_file: Path | None, seconds: float, *, as_json: bool) -> None:
    if as_json:
        report = {
            "feedback": asdict(copying.feedback),
            "metadata": asdict(copying.metadata),
            "conversations": asdict(copying.conversations),
            "other_applications": list(copying.other_applications),
            "rejected_file": str(rejected_file) if rejected_file else None,
            "seconds": round(seconds, 3),
        }
        print_json(report)
        return
    speed = f"{seconds:.1f} s, {copying.feedback.read / seconds:,.0f} rows/s"
    say(f"Feedback: {_counts(copying.feedback)}; {speed}")
    say(f"Values of metadata: {_counts(copying.metadata)}")
    say(f"Messages of agents, and what these know: {_counts(copying.conversations)}")
    if copying.other_applications:
        names = ", ".join(map(repr, copying.other_applications))
        say(f"Applications in the target of which the source has nothing: {names}", style="yellow")
    if rejected_file:
        say(f"{copying.differences:,} differences, with reasons: {rejected_file}", style="yellow")


def _counts(copied: Copied) -> str:
    counts = (
        f"{copied.read:,} read: {copied.added:,} added, {copied.updated:,} updated, {copied.duplicates:,} duplicates, "
        f"{copied.conflicts:,} in conflict"
    )
    only_there = ((copied.extra, "only in the target"), (copied.removed, "removed from the target"))
    return "; ".join([counts, *(f"{count:,} {what}" for count, what in only_there if count)])

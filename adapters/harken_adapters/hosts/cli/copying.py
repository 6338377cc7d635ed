"""The command ``copy``."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Final

import typer
from attrs import asdict

from harken import Feedback
from harken.clock import utc_now
from harken.configuration.storage_urls import open_existing_storage, open_storage, same_storage
from harken.domain.texts import amount
from harken.services.copying import ConversationPart, Copied, Copyable, Copying, SessionValue
from harken.services.mirroring import Extra, Kind
from harken_adapters.formats.record import to_record
from harken_adapters.hosts.cli.exit_codes import REFUSED
from harken_adapters.hosts.cli.files import Rejects
from harken_adapters.hosts.cli.options import Json, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import confirm, print_json, run_through, say

_REJECTED = Path("copy.rejected.jsonl")
#: The exit code if the target differs from the source after the copy.
_AGENT_DATA: Final = "agent messages and states"
#: The names of what --mirror removes and overwrites, singular and plural.
_NOUNS: Final = {
    Kind.FEEDBACK.value: ("feedback entry", "feedback entries"),
    Kind.METADATA.value: ("metadata value", "metadata values"),
    Kind.CONVERSATION.value: ("conversation", "conversations"),
    _AGENT_DATA: ("agent message or state", "agent messages and states"),
}


def copy(
    context: typer.Context,
    *,
    from_: Annotated[str, typer.Option("--from", metavar="URL", help="The storage to read.")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The storage to write to.")],
    rejected: Annotated[
        Path | None, typer.Option(metavar="PATH", help=f"File for differences. Default: {_REJECTED}.")
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Remove entries that only the target has, such as those erased from the source, "
            "and overwrite metadata and conversations that differ.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --mirror: do not ask for confirmation.")] = False,
    allow_empty_source: Annotated[
        bool,
        typer.Option(
            "--allow-empty-source",
            help="With --mirror: empty the --application in the target if the source has no data of it.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy feedback and conversations to another storage.

    Copies feedback, conversations and the metadata of sessions: of all applications, or only of the one given with
    --application. API keys, routes and alerts are not copied.

    A repeated copy adds new entries and updates entries to later versions. Only --mirror changes or removes others.

    Exits with code 3 if the target differs from the source afterwards.
    """
    application = _application(context, from_, to)
    if allow_empty_source and not (mirror and application):
        raise WrongUsage("--allow-empty-source needs --mirror and --application")
    rejects = Rejects(rejected or _REJECTED)
    began = perf_counter()
    with open_existing_storage(from_) as source, open_storage(to) as target:
        # After opening the storage, which may have created the file.
        rejects.check()
        report = partial(_reject, rejects)
        copying = Copying(
            source, target, report, application=application, mirror=mirror, allow_empty=allow_empty_source
        )
        if mirror:
            _confirm(copying, yes=yes)
        try:
            if mirror:
                copying.remove(copying.extras(), at=target.clock(utc_now)())
            run_through(((f"{done:,} feedback", done) for done in copying.batches()), copying.total)
        finally:
            rejects.close()
    _show(copying, rejects, perf_counter() - began, as_json=as_json)
    if copying.differences:
        raise typer.Exit(REFUSED)


def _application(context: typer.Context, from_: str, to: str) -> str | None:
    """Validate the storages. Returns the application to copy; ``None`` means all."""
    cli = cli_context(context)
    if cli.storage_option is not None:
        raise WrongUsage("copy uses --from and --to; omit --storage")
    if same_storage(from_, to):
        raise WrongUsage("--from and --to are the same storage; choose another target")
    return cli.application


def _confirm(copying: Copying, *, yes: bool) -> None:
    """Count the entries that will be removed and overwritten, and ask for confirmation.

    They are counted even with ``yes``, so that an unreadable source fails before anything is removed.
    """
    removed = Counter(
        (extra.kind.value, extra.application) for extra in copying.extras() if extra.kind is not Kind.APPLICATION
    )
    replaced = Counter((_kind(one), one.application) for one in copying.replacements())
    changes = [("remove", removed), ("overwrite", replaced)]
    planned = "; and ".join(f"{verb} {_list(counts)}" for verb, counts in changes if counts)
    if planned and not yes and not confirm(f"--mirror will permanently {planned} in the target. Continue?"):
        raise typer.Abort


def _kind(replaced: SessionValue | ConversationPart) -> str:
    return Kind.METADATA.value if isinstance(replaced, SessionValue) else _AGENT_DATA


def _list(counts: Counter[tuple[str, str]]) -> str:
    return ", ".join(
        f"{amount(count, *_NOUNS[kind])} of application {name!r}" for (kind, name), count in counts.items()
    )


def _reject(rejects: Rejects, item: Copyable, reason: str) -> None:
    application, row = _row_of(item)
    rejects.add({"application": application}, reason, row)


def _row_of(item: Copyable) -> tuple[str, object]:
    """The application of an item, and what is written of it."""
    match item:
        case Feedback():
            return item.application, to_record(item)
        case SessionValue(application, session_id, name, value):
            return application, {"session_id": session_id, "metadata": {name: value}}
        case ConversationPart(application, session_id, agent_id, None, value):
            return application, {"session_id": session_id, "agent_id": agent_id, "knows": value}
        case ConversationPart(application, session_id, agent_id, number, value):
            message = {"session_id": session_id, "agent_id": agent_id, "number": number, "message": value}
            return application, message
        case Extra(Kind.FEEDBACK, application, session_id, name):
            # Without the content, which may have been erased on request.
            return application, {"session_id": session_id, "id": name}
        case Extra(kind, application, session_id, name):
            return application, {"session_id": session_id, "only_in_target": kind.value, "name": name}


def _show(copying: Copying, rejects: Rejects, seconds: float, *, as_json: bool) -> None:
    if as_json:
        report = {
            "feedback": asdict(copying.feedback),
            "metadata": asdict(copying.metadata),
            "conversations": asdict(copying.conversations),
            "other_applications": list(copying.other_applications),
            **rejects.record(),
            "seconds": round(seconds, 3),
        }
        print_json(report)
        return
    speed = f"{seconds:.1f} s, {copying.feedback.read / seconds:,.0f} rows/s"
    say(f"Feedback: {_counts(copying.feedback)}; {speed}")
    say(f"Metadata values: {_counts(copying.metadata)}")
    say(f"Agent messages and states: {_counts(copying.conversations)}")
    if copying.other_applications:
        names = ", ".join(map(repr, copying.other_applications))
        say(f"Applications only in the target: {names}", style="yellow")
    if rejects.written:
        say(f"{amount(copying.differences, 'difference')}, with reasons, in {rejects.written}", style="yellow")
    if rejects.remark:
        say(rejects.remark, style="yellow")


def _counts(copied: Copied) -> str:
    counts = (
        f"{copied.read:,} read: {copied.added:,} added, {copied.updated:,} updated, {copied.duplicates:,} unchanged, "
        f"{copied.conflicts:,} conflicting"
    )
    only_in_target = ((copied.extra, "only in the target"), (copied.removed, "removed from the target"))
    return "; ".join([counts, *(f"{count:,} {text}" for count, text in only_in_target if count)])

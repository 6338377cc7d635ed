"""``moderate``: deciding what may be seen and counted."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import Cursor, Feedback, ModerationStatus
from harken_adapters.formats.record import to_record
from harken_adapters.hosts.cli.feedback import After, Limit
from harken_adapters.hosts.cli.options import FeedbackId, Json, door
from harken_adapters.hosts.cli.output import feedback_list, page_record, print_json, say

moderate = typer.Typer(no_args_is_help=True, help="Decide what may be seen and counted.")

Moderator = Annotated[str | None, typer.Option(help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why.")]


@moderate.command()
def queue(context: typer.Context, limit: Limit = 20, after: After = None, as_json: Json = False) -> None:
    """List what waits for a decision, newest first."""
    cursor = Cursor.parse(after) if after else None
    with door(context).open() as hk:
        page = hk.moderation.queue(hk.query(), limit=limit, after=cursor)
    if as_json:
        print_json(page_record(page))
    else:
        feedback_list(page)


@moderate.command()
def approve(
    context: typer.Context,
    feedback_id: FeedbackId,
    moderator: Moderator = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let it count."""
    _decide(context, feedback_id, ModerationStatus.APPROVED, moderator, reason, as_json=as_json)


@moderate.command()
def reject(
    context: typer.Context,
    feedback_id: FeedbackId,
    moderator: Moderator = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Keep it from counting."""
    _decide(context, feedback_id, ModerationStatus.REJECTED, moderator, reason, as_json=as_json)


@moderate.command()
def hold(
    context: typer.Context,
    feedback_id: FeedbackId,
    moderator: Moderator = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Set it back to pending."""
    _decide(context, feedback_id, ModerationStatus.PENDING, moderator, reason, as_json=as_json)


@moderate.command()
def undo(context: typer.Context, feedback_id: FeedbackId, moderator: Moderator = None, as_json: Json = False) -> None:
    """Go back to the status before the last decision."""
    with door(context).open() as hk:
        feedback = hk.moderation.undo(hk.application, feedback_id, moderator=moderator)
    _show(feedback, as_json=as_json)


def _decide(
    context: typer.Context,
    feedback_id: str,
    status: ModerationStatus,
    moderator: str | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    with door(context).open() as hk:
        feedback = hk.moderation.decide(hk.application, feedback_id, status, moderator=moderator, reason=reason)
    _show(feedback, as_json=as_json)


def _show(feedback: Feedback, *, as_json: bool) -> None:
    if as_json:
        print_json(to_record(feedback))
        return
    say(f"{feedback.id} is {feedback.moderation.status.value} now")

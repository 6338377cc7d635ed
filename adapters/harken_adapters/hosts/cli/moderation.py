"""``moderate``: deciding what may be seen and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from harken import Cursor, Feedback, ModerationStatus
from harken_adapters.formats.record import to_record
from harken_adapters.hosts.cli.feedback import After, Limit
from harken_adapters.hosts.cli.options import FeedbackId, Json, cli_context
from harken_adapters.hosts.cli.output import feedback_list, page_record, print_json, say

moderate = typer.Typer(no_args_is_help=True, help="Decide what may be seen and counted.")

Moderator = Annotated[str | None, typer.Option(help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        metavar="N",
        help="The version that you saw, as the queue shows it: refused if somebody has decided since.",
    ),
]


@moderate.command()
def queue(context: typer.Context, limit: Limit = 20, after: After = None, as_json: Json = False) -> None:
    """List what waits for a decision, newest first."""
    cursor = Cursor.parse(after) if after else None
    with cli_context(context).open() as hk:
        page = hk.moderation.queue(hk.query(), limit=limit, after=cursor)
    if as_json:
        print_json(page_record(page))
    else:
        feedback_list(page, versions=True)


def _deciding(status: ModerationStatus) -> Callable[..., None]:
    """The command that takes feedback to a status."""

    def decide(
        context: typer.Context,
        *,
        feedback_id: FeedbackId,
        moderator: Moderator = None,
        reason: Reason = "",
        version: Version = None,
        as_json: Json = False,
    ) -> None:
        with cli_context(context).open() as hk:
            feedback = hk.moderation.decide(
                hk.application, feedback_id, status, moderator=moderator, reason=reason, expected_version=version
            )
        _show(feedback, as_json=as_json)

    return decide


moderate.command("approve", help="Let it count.")(_deciding(ModerationStatus.APPROVED))
moderate.command("reject", help="Keep it from counting.")(_deciding(ModerationStatus.REJECTED))
moderate.command("hold", help="Set it back to pending.")(_deciding(ModerationStatus.PENDING))


@moderate.command()
def undo(
    context: typer.Context,
    feedback_id: FeedbackId,
    moderator: Moderator = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Go back to the status before the last decision."""
    with cli_context(context).open() as hk:
        feedback = hk.moderation.undo(hk.application, feedback_id, moderator=moderator, expected_version=version)
    _show(feedback, as_json=as_json)


def _show(feedback: Feedback, *, as_json: bool) -> None:
    if as_json:
        print_json(to_record(feedback))
        return
    say(f"{feedback.id} is {feedback.moderation.status.value} now")

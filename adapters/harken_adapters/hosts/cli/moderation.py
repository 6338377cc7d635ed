"""The commands ``moderate queue``, ``evaluate``, ``approve``, ``reject``, ``hold`` and ``undo``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from harken import Cursor, Feedback, ModerationStatus, SpamEvaluation
from harken.services.spam import MIN_DECISIONS
from harken_adapters.formats.readings import spam_evaluation_record, spam_record
from harken_adapters.formats.record import feedback_record, page_record
from harken_adapters.hosts.cli.evaluation import evaluation_table, spam_note
from harken_adapters.hosts.cli.feedback import After, Limit
from harken_adapters.hosts.cli.options import FeedbackId, Json, cli_context
from harken_adapters.hosts.cli.output import feedback_list, print_json, say

moderate = typer.Typer(no_args_is_help=True, help="Review feedback that is held for moderation.")

Moderator = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; stored with the decision.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; stored with the decision.")]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        min=1,
        metavar="N",
        help="The version that you reviewed. Refused if the entry has changed since.",
    ),
]


@moderate.command()
def queue(context: typer.Context, limit: Limit = 20, after: After = None, as_json: Json = False) -> None:
    """List pending feedback, newest first."""
    cursor = Cursor.parse(after) if after else None
    with cli_context(context).open_existing() as hk:
        page = hk.moderation.queue(hk.query(), limit=limit, after=cursor)
        readings = hk.spam.readings(page.items)
    if as_json:
        print_json(page_record(page) | {"spam": spam_record(readings)})
    else:
        notes = {feedback_id: spam_note(one) for feedback_id, one in readings.items()}
        feedback_list(page, versions=True, notes=notes, empty="No pending feedback")


@moderate.command()
def evaluate(context: typer.Context, as_json: Json = False) -> None:
    """Compare the likelihoods of a rejection with the decisions of moderators."""
    with cli_context(context).open_existing() as hk:
        evaluation = hk.spam.evaluate(hk.application)
    if as_json:
        print_json(spam_evaluation_record(evaluation))
        return
    approved, rejected = f"{evaluation.approved:,}", f"{evaluation.rejected:,}"
    if evaluation.likelihoods is None:
        needed = f"{MIN_DECISIONS} approved and {MIN_DECISIONS} rejected comments"
        say(f"Off: it needs {needed}; moderators approved {approved} and rejected {rejected}")
        return
    say(f"{approved} approved and {rejected} rejected comments, each compared without itself.")
    say(f"{_describe(evaluation)}\n")
    evaluation_table({"likelihood": evaluation.likelihoods})


def _describe(evaluation: SpamEvaluation) -> str:
    if evaluation.is_on:
        return "The queue shows how likely a rejection is."
    if min(evaluation.approved, evaluation.rejected) < MIN_DECISIONS:
        return f"The queue shows no likelihoods until there are {MIN_DECISIONS} of both."
    return "The queue shows no likelihoods, because words do not clearly predict decisions."


def _deciding(status: ModerationStatus) -> Callable[..., None]:
    """Build the command that sets this status."""

    def decide(
        context: typer.Context,
        *,
        feedback_id: FeedbackId,
        moderator: Moderator = None,
        reason: Reason = "",
        version: Version = None,
        as_json: Json = False,
    ) -> None:
        with cli_context(context).open_existing() as hk:
            feedback = hk.moderation.decide(
                hk.application, feedback_id, status, moderator=moderator, reason=reason, expected_version=version
            )
        _show(feedback, as_json=as_json)

    return decide


moderate.command("approve", help="Approve feedback: it is listed and counted.")(_deciding(ModerationStatus.APPROVED))
moderate.command("reject", help="Reject feedback: it is not listed or counted.")(_deciding(ModerationStatus.REJECTED))
moderate.command("hold", help="Hold feedback: it is pending, and not listed or counted.")(
    _deciding(ModerationStatus.PENDING)
)


@moderate.command()
def undo(
    context: typer.Context,
    feedback_id: FeedbackId,
    moderator: Moderator = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Undo the last decision."""
    with cli_context(context).open_existing() as hk:
        feedback = hk.moderation.undo(hk.application, feedback_id, moderator=moderator, expected_version=version)
    _show(feedback, as_json=as_json)


def _show(feedback: Feedback, *, as_json: bool) -> None:
    if as_json:
        print_json(feedback_record(feedback))
        return
    say(f"{feedback.id} is now {feedback.moderation.status.value}")

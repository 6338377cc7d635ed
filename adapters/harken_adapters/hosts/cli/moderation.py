"""The commands of ``harken moderate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Final, cast

import typer

from harken import Cursor, Feedback, ModerationStatus, Page, SpamEvaluation
from harken.domain.moderation import Decision
from harken.domain.query import Order
from harken.domain.texts import amount
from harken.services.feedback.moderation import DecisionResult
from harken.services.feedback.reviewing import BeforeAfter, Effect, Review
from harken.services.spam import MIN_DECISIONS
from harken_adapters.formats.moderation import (
    decisions_record,
    outcomes_record,
    preview_record,
    review_record,
    rule_counts_record,
    waiting_record,
)
from harken_adapters.formats.readings import spam_evaluation_record, spam_record
from harken_adapters.hosts.cli.empty_results import say_if_empty
from harken_adapters.hosts.cli.evaluation import evaluation_table, spam_note
from harken_adapters.hosts.cli.exit_codes import FAILED
from harken_adapters.hosts.cli.feedback import After, Limit
from harken_adapters.hosts.cli.options import FeedbackId, Json, WrongUsage, cli_context, completes, instant
from harken_adapters.hosts.cli.output import (
    feedback_entry,
    feedback_list,
    print_json,
    say,
    table,
    time_text,
    wrap,
)

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


HeldBy = Annotated[str | None, typer.Option(metavar="RULE", help="Only feedback that this rule held.")]
Agent = Annotated[str | None, typer.Option(help="Only feedback on this agent.")]
Author = Annotated[str | None, typer.Option(help="Only feedback by this author.")]
Seen = Annotated[
    list[str], typer.Argument(metavar="ID:VERSION", help="The entries, each with the version that you reviewed.")
]


class Decided(Enum):
    """What moderators decided."""

    APPROVED = "approved"
    REJECTED = "rejected"


@moderate.command()
def queue(
    context: typer.Context,
    *,
    limit: Limit = 20,
    after: After = None,
    order: Annotated[Order, typer.Option(metavar="oldest|newest", help="Which feedback comes first.")] = "oldest",
    held_by: HeldBy = None,
    agent: Agent = None,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """List pending feedback, oldest first."""
    cursor = Cursor.parse(after) if after else None
    with cli_context(context).open_existing() as hk:
        query = hk.query(agent_id=agent, author=author)
        page = hk.moderation.queue(query, limit=limit, after=cursor, order=order, rule=held_by)
        if not page.items and not as_json and say_if_empty(hk):
            return
        readings = hk.spam.readings(page.items)
    if as_json:
        print_json(page.to_dict() | {"spam": spam_record(readings)})
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
        wrap(f"Off: it needs {needed}; moderators approved {approved} and rejected {rejected}")
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
        print_json(feedback.to_dict())
        return
    say(f"{feedback.id} is now {feedback.moderation.status.value}")


@moderate.command()
def waiting(
    context: typer.Context, held_by: HeldBy = None, agent: Agent = None, author: Author = None, as_json: Json = False
) -> None:
    """Count pending feedback by the rules that held it."""
    with cli_context(context).open_existing() as hk:
        found = hk.moderation.waiting(hk.query(agent_id=agent, author=author), rule=held_by)
    if as_json:
        print_json(waiting_record(found))
        return
    if not found.count:
        say("No pending feedback")
        return
    say(f"{amount(found.count, 'entry', 'entries')} waiting, the oldest since {time_text(found.since)}")
    table(("held by", "entries"), list(found.by_rule.items()))


@moderate.command()
def decisions(
    context: typer.Context,
    *,
    since: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", parser=instant, help="Decided at this time or later; default: 24 hours ago."),
    ] = None,
    decided: Annotated[
        Decided | None, typer.Option("--decision", metavar="DECISION", help="Only approved, or only rejected.")
    ] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: Json = False,
) -> None:
    """List what moderators decided, the latest decision first."""
    wanted = tuple(Decided) if decided is None else (decided,)
    with cli_context(context).open_existing() as hk:
        found = hk.moderation.decisions(
            hk.query(),
            since=since,
            statuses=frozenset(ModerationStatus(one.value) for one in wanted),
            limit=limit,
            after=Cursor.parse(after) if after else None,
        )
    if as_json:
        print_json(decisions_record(found, Feedback.to_dict))
        return
    if found.count:
        people = ", ".join(f"{count:,} by {name or 'unnamed moderators'}" for name, count in found.by_moderator.items())
        wait = f"; median wait {found.response_time.median:,.0f} s" if found.response_time else ""
        say(f"{amount(found.count, 'decision')}: {people}{wait}\n")
    notes = {one.id: _decision_note(one) for one in found.items}
    feedback_list(Page(found.items, found.next), versions=True, notes=notes, empty="No decisions")


def _decision_note(feedback: Feedback) -> str:
    moderation = feedback.moderation
    reason = f": {moderation.reason}" if moderation.reason else ""
    by = f" by {moderation.moderator}" if moderation.moderator else ""
    return f"{moderation.status.value}{by} at {time_text(moderation.decided_at)}{reason}"


@moderate.command()
def review(context: typer.Context, feedback_id: FeedbackId, as_json: Json = False) -> None:
    """Show what to know about feedback before a decision."""
    with cli_context(context).open_existing() as hk:
        found = hk.moderation.review(hk.query(), feedback_id)
    if as_json:
        print_json(review_record(found, Feedback.to_dict))
        return
    feedback_entry(found.feedback, versions=True)
    say("")
    table(("about", "facts"), _review_rows(found), full=True)
    if len(found.similar.entries) > 1:
        say(f"\nSimilar: {' '.join(f'{one.feedback_id}:{one.version}' for one in found.similar.entries)}")


def _review_rows(found: Review) -> list[tuple[str, str]]:
    comment, author, similar = found.feedback.comment, found.author, found.similar
    rows = []
    for match in found.feedback.moderation.held_by:
        parts = ", ".join(f"“{comment[start:end]}”" for start, end in match.spans)
        rows.append(("held by", f"{match.rule}: {parts}" if parts else match.rule))
    if author is not None:
        counts = f"{author.approved:,} approved, {author.rejected:,} rejected, {author.pending:,} pending"
        rows.append(("author", f"{found.feedback.author}, {author.total:,} before: {counts}"))
    rows.append(("session", f"{found.feedback.session_id}, {amount(found.in_session, 'entry', 'entries')}"))
    if similar.since is not None and similar.until is not None:
        minutes = amount(round((similar.until - similar.since).total_seconds() / 60), "minute")
        times = amount(len(similar.entries), "time")
        sessions = amount(similar.sessions, "session")
        rows.append(("same text", f"{times} in {minutes}, from {sessions}"))
    return rows + _effect_rows(found.if_approved, "if approved")


def _effect_rows(effect: Effect, when: str) -> list[tuple[str, str]]:
    names = {f"agent {agent}" if agent else "without agent": change for agent, change in effect.agents.items()}
    return [(when, f"{name}: {_change(change)}") for name, change in {**names, "all": effect.selection}.items()]


def _change(change: BeforeAfter) -> str:
    before, after = change.before, change.after
    old, new = (f"{one.satisfaction:.1f}%" if one.decided else "none" for one in (before, after))
    return f"{old} → {new} satisfaction, {before.total:,} → {amount(after.total, 'entry', 'entries')}"


@moderate.command()
def several(
    context: typer.Context,
    status: Annotated[
        str,
        typer.Argument(
            metavar="approve|reject|hold|undo",
            autocompletion=completes("approve", "reject", "hold", "undo"),
            help="What to decide.",
        ),
    ],
    entries: Seen,
    *,
    moderator: Moderator = None,
    reason: Reason = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Decide on several entries, each on its own. An entry that has changed since is left alone.

    The command can be repeated: decisions that you have made already are not reported as conflicts.
    """
    versions = _versions(entries)
    wanted = _ACTIONS.get(status)
    if status not in _ACTIONS:
        raise WrongUsage(f"Unknown decision {status!r}; expected one of {', '.join(_ACTIONS)}")
    if preview and wanted is None:
        raise WrongUsage("--preview is for approve, reject and hold")
    with cli_context(context).open_existing() as hk:
        if preview:
            shown = hk.moderation.preview(hk.query(), versions, cast("ModerationStatus", wanted))
            if as_json:
                print_json(preview_record(shown))
                return
            say(f"{len(shown.entries):,} of {amount(len(versions), 'entry', 'entries')} can be decided\n")
            table(("", "effect"), _effect_rows(shown.effect, "would change"), full=True)
            return
        if wanted is None:
            results = hk.moderation.undo_many(hk.application, versions, moderator=moderator)
        else:
            several_decisions = [
                Decision(feedback_id=feedback_id, version=version, status=wanted, reason=reason)
                for feedback_id, version in versions.items()
            ]
            results = hk.moderation.decide_many(hk.application, several_decisions, moderator=moderator)
    _show_results(versions, results, as_json=as_json)


_ACTIONS: Final[Mapping[str, ModerationStatus | None]] = {
    "approve": ModerationStatus.APPROVED,
    "reject": ModerationStatus.REJECTED,
    "hold": ModerationStatus.PENDING,
    "undo": None,
}


def _versions(entries: Sequence[str]) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in entries:
        feedback_id, _, version = entry.rpartition(":")
        if not (feedback_id and version.isascii() and version.isdigit() and len(version) < 19):
            raise WrongUsage(f"{entry!r} is not ID:VERSION, such as 0199c2a4-7d1e-7c3b-8f10-5d2f6a9b1c33:1")
        if feedback_id in versions:
            raise WrongUsage(f"{feedback_id!r} is given twice; expected each entry once")
        versions[feedback_id] = int(version)
    return versions


def _show_results(versions: Mapping[str, int], results: Sequence[DecisionResult], *, as_json: bool) -> None:
    failed = [one for one in results if not isinstance(one, Feedback)]
    if as_json:
        print_json(outcomes_record(versions, results, Feedback.to_dict))
    else:
        for feedback_id, result in zip(versions, results, strict=True):
            if isinstance(result, Feedback):
                _show(result, as_json=False)
            else:
                say(f"{feedback_id}: {result}")
        say(f"\n{len(results) - len(failed):,} of {len(results):,} decided")
    if failed:
        raise typer.Exit(FAILED)


@moderate.command()
def rules(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=31, help="The number of days in UTC, with today.")] = 7,
    as_json: Json = False,
) -> None:
    """Count what rules refused and held."""
    with cli_context(context).open_existing() as hk:
        counts = hk.moderation.rule_counts(hk.application, days=days)
    if as_json:
        print_json(rule_counts_record(counts))
        return
    if not counts:
        say("No rule has refused or held anything")
        return
    table(("rule", "refused", "held"), [(one.rule, one.refused, one.held) for one in counts])

"""``submit``, ``list``, ``show`` and ``erase``."""

from __future__ import annotations

import shlex
from typing import Annotated, Final

import typer
from attrs import asdict, evolve

from harken import Cursor, Erased, Feedback, FeedbackQuery, Target
from harken.domain.rules import label_problem
from harken.services.feedback.middleware import Receipt
from harken_adapters.formats.record import erasure_record, to_record
from harken_adapters.hosts.cli.options import FeedbackId, Filters, Json, WrongUsage, cli, filtered, pairs, rating_named
from harken_adapters.hosts.cli.output import (
    confirmed,
    feedback_list,
    in_one_line,
    page_record,
    print_json,
    say,
    table,
    time_text,
)

Limit = Annotated[int, typer.Option(help="At most so many, up to 1,000.")]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")]


def submit(
    context: typer.Context,
    *,
    session_id: Annotated[str, typer.Argument(metavar="SESSION_ID", help="The session that it is about.")],
    rating: Annotated[str, typer.Argument(metavar="RATING", help="up, down or neutral.")],
    comment: Annotated[str, typer.Argument(metavar="[COMMENT]", help="What they say; a down needs it.")] = "",
    agent: Annotated[str | None, typer.Option(help="The agent that answered.")] = None,
    message: Annotated[str | None, typer.Option(help="The message that it is about.")] = None,
    author: Annotated[str | None, typer.Option(help="Who gives it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A reason that they picked; repeatable.")] = None,
    context_values: Annotated[
        list[str] | None, typer.Option("--context", metavar="NAME=VALUE", help="A context value; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same is kept only once.")] = None,
    vote: Annotated[bool, typer.Option("--vote", help="The author's one vote, replacing an earlier one.")] = False,
    as_json: Json = False,
) -> None:
    """Keep what somebody thinks of an answer."""
    target, wanted = Target(session_id, message, agent), rating_named(rating)
    tags, values = tag or (), pairs("--context", context_values or ())
    if vote and author is None:
        raise WrongUsage("a vote belongs to somebody; say to whom with --author")
    with cli(context).open() as hk:
        if vote and author is not None:
            receipt = hk.collection.set_vote(
                target,
                author,
                wanted,
                comment,
                tags=tags,
                context=values,
                idempotency_key=key,
                application=hk.application,
            )
        else:
            receipt = hk.submit(
                session_id,
                wanted,
                comment,
                agent_id=agent,
                message_id=message,
                author=author,
                tags=tags,
                context=values,
                idempotency_key=key,
            )
    _show_receipt(receipt, as_json=as_json)


def _show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    feedback, status = receipt.feedback, receipt.feedback.moderation.status.value
    if as_json:
        print_json({"id": feedback.id, "duplicate": receipt.duplicate, "status": status, "reply": receipt.reply})
        return
    say(f"{feedback.id}  {'there already' if receipt.duplicate else 'kept'}, {status}")
    if feedback.moderation.reason:
        say(f"Held: {feedback.moderation.reason}")
    if receipt.reply is not None:
        say(f"Reply: {receipt.reply}")


@filtered
def list_(
    context: typer.Context, filters: Filters, limit: Limit = 20, after: After = None, as_json: Json = False
) -> None:
    """List feedback, newest first."""
    cursor = Cursor.parse(after) if after else None
    with cli(context).open() as hk:
        page = hk.collection.find(filters.query(hk), limit=limit, after=cursor)
    if as_json:
        print_json(page_record(page))
    else:
        feedback_list(page)


def show(context: typer.Context, feedback_id: FeedbackId, as_json: Json = False) -> None:
    """Show everything about one feedback."""
    with cli(context).open() as hk:
        feedback = hk.collection.get(hk.application, feedback_id)
    if as_json:
        print_json(to_record(feedback))
        return
    facts = [(name, value) for name, value in _facts(feedback) if value]
    width = max(12, *(len(name) for name, _ in facts))
    for name, value in facts:
        say(f"{name:<{width}}  {value}")
    if feedback.revisions:
        _show_revisions(feedback)


def _facts(feedback: Feedback) -> list[tuple[str, str | None]]:
    moderation = feedback.moderation
    return [
        ("id", feedback.id),
        ("session", feedback.session_id),
        ("message", feedback.message_id),
        ("agent", feedback.agent_id),
        ("author", feedback.author),
        ("rating", feedback.rating.value or "neutral"),
        ("comment", feedback.comment),
        ("tags", ", ".join(feedback.tags)),
        *((f"context.{name}", str(value)) for name, value in feedback.context.items()),
        ("polarity", f"{feedback.sentiment.polarity:+.2f}" if feedback.sentiment else ""),
        ("subjectivity", f"{feedback.sentiment.subjectivity:.2f}" if feedback.sentiment else ""),
        ("created", time_text(feedback.created_at)),
        ("updated", time_text(feedback.updated_at)),
        ("withdrawn", time_text(feedback.withdrawn_at)),
        ("version", str(feedback.version)),
        ("vote", "yes" if feedback.vote else ""),
        ("key", feedback.idempotency_key),
        ("reply", feedback.reply),
        ("status", moderation.status.value),
        ("reason", moderation.reason),
        ("moderator", moderation.moderator),
        ("decided", time_text(moderation.decided_at)),
        ("before", moderation.previous.value if moderation.previous else ""),
    ]


def _show_revisions(feedback: Feedback) -> None:
    say("\nWhat it said before", style="bold")
    table(
        ("version", "until", "rating", "tags", "comment"),
        [
            (one.version, time_text(one.replaced_at), one.rating.value or "neutral", ", ".join(one.tags), one.comment)
            for one in feedback.revisions
        ],
    )


#: How ``erase`` ends if there was nothing to erase.
_NOTHING: Final = 4
#: What is erased beside feedback, one and many.
_NOUNS: Final = {
    "messages": ("message", "messages"),
    "agents": ("agent state", "agent states"),
    "metadata": ("metadata key", "metadata keys"),
    "alerts": ("alert", "alerts"),
    "deliveries": ("delivery", "deliveries"),
}


def erase(
    context: typer.Context,
    *,
    feedback_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="This feedback.")] = None,
    session: Annotated[
        str | None, typer.Option(help="Everything of this session, with its conversation and metadata.")
    ] = None,
    author: Annotated[
        str | None, typer.Option(help="Everything by this author, with sessions in which nobody else gave feedback.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase feedback permanently, in any state; several conditions must all hold.

    Exits with 4 if there is nothing to erase.
    """
    _check_named(feedback_id, session, author)
    chosen = cli(context)
    with chosen.open() as hk:
        if feedback_id is not None:
            hk.collection.get(hk.application, feedback_id)
        query = evolve(hk.query(session_id=session, author=author), feedback_id=feedback_id).in_any_state()
        if not yes and not confirmed(_question(query, hk.analytics.summary(query).total)):
            raise typer.Abort
        erased = hk.collection.erase(query)
    record = erasure_record(erased)
    if as_json:
        print_json(record)
    else:
        _show_erased(erased, chosen.command)
    if not any(record["removed"].values()):
        raise typer.Exit(_NOTHING)


def _check_named(feedback_id: str | None, session: str | None, author: str | None) -> None:
    if feedback_id is None and session is None and author is None:
        raise WrongUsage("say what to erase: an ID, --session or --author")
    for option, value in (("--session", session), ("--author", author)):
        if value is not None and (problem := label_problem(option, value)):
            raise WrongUsage(problem.message)


def _show_erased(erased: Erased, command: str) -> None:
    say(f"Erased {_listed(erased)}")
    for session_id in erased.kept_sessions:
        shown = in_one_line(session_id)
        say(
            f"Others gave feedback in session {shown}, too: its conversation and metadata were kept; "
            f"to erase them: {command} erase --session {in_one_line(shlex.quote(session_id))}",
            style="yellow",
        )


def _question(query: FeedbackQuery, total: int) -> str:
    if query.feedback_id is not None:
        return f"Erase {total:,} feedback permanently?"
    if query.author is not None:
        return f"Erase {total:,} feedback of {query.author}, and the sessions that are theirs alone, permanently?"
    return f"Erase {total:,} feedback, the conversation and the metadata of session {query.session_id} permanently?"


def _listed(erased: Erased) -> str:
    """What was erased in words, such as ``2 feedback, 3 messages and 1 alert``."""
    named = {_NOUNS[name]: number for name, number in asdict(erased).items() if name in _NOUNS and number}
    parts = [f"{number:,} {one if number == 1 else many}" for (one, many), number in named.items()]
    *first, last = [f"{erased.feedback:,} feedback", *parts]
    return f"{', '.join(first)} and {last}" if first else last

"""The commands ``submit``, ``list`` and ``show``."""

from __future__ import annotations

from typing import Annotated

import typer

from harken import Cursor, Feedback, Harken, Target
from harken.domain.query import Order
from harken.services.feedback.receipt import Receipt
from harken_adapters.formats.readings import readings_record
from harken_adapters.hosts.cli.empty_results import say_if_nothing
from harken_adapters.hosts.cli.evaluation import reading_note
from harken_adapters.hosts.cli.options import (
    RATINGS,
    FeedbackId,
    Filters,
    Json,
    WrongUsage,
    cli_context,
    pairs,
    parse_rating,
    with_filters,
)
from harken_adapters.hosts.cli.output import (
    feedback_list,
    print_json,
    say,
    table,
    time_text,
)

Limit = Annotated[int, typer.Option(help="The maximum number of results, up to 1,000.")]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Continue after this cursor.")]


def submit(
    context: typer.Context,
    *,
    session_id: Annotated[str, typer.Argument(metavar="SESSION_ID", help="The session that the feedback is about.")],
    rating: Annotated[str, typer.Argument(metavar="RATING", autocompletion=RATINGS, help="up, down or neutral.")],
    comment: Annotated[str, typer.Argument(metavar="COMMENT", help="Required with the rating down.")] = "",
    agent: Annotated[str | None, typer.Option(help="The agent that answered.")] = None,
    message: Annotated[str | None, typer.Option(help="The message that the feedback is about.")] = None,
    author: Annotated[str | None, typer.Option(help="The id of the author.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeatable.")] = None,
    context_values: Annotated[
        list[str] | None, typer.Option("--context", metavar="NAME=VALUE", help="A context value; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key; a repeated submission is stored once.")] = None,
    vote: Annotated[bool, typer.Option("--vote", help="Store as the author's vote; replaces an earlier one.")] = False,
    as_json: Json = False,
) -> None:
    """Submit feedback."""
    target, rating_value = Target(session_id, message, agent), parse_rating(rating)
    tags, values = tag or (), pairs("--context", context_values or ())
    if vote and author is None:
        raise WrongUsage("A vote needs an author; add --author")

    def store(hk: Harken) -> Receipt:
        if vote and author is not None:
            return hk.collection.set_vote(
                target,
                author,
                rating_value,
                comment,
                tags=tags,
                context=values,
                idempotency_key=key,
                application=hk.application,
            )
        return hk.submit(
            session_id,
            rating_value,
            comment,
            agent_id=agent,
            message_id=message,
            author=author,
            tags=tags,
            context=values,
            idempotency_key=key,
        )

    _show_receipt(cli_context(context).store(store), as_json=as_json)


def _show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    feedback, status = receipt.feedback, receipt.feedback.moderation.status.value
    if as_json:
        print_json({"id": feedback.id, "duplicate": receipt.duplicate, "status": status, "reply": receipt.reply})
        return
    say(f"{feedback.id}  {'duplicate' if receipt.duplicate else 'stored'}, {status}")
    if feedback.moderation.reason:
        say(f"Held for moderation: {feedback.moderation.reason}")
    if receipt.reply is not None:
        say(f"Reply: {receipt.reply}")


@with_filters
def list_(
    context: typer.Context,
    *,
    filters: Filters,
    sort: Annotated[
        Order, typer.Option(metavar="newest|oldest", help="Which feedback comes first, by its creation time.")
    ] = "newest",
    limit: Limit = 20,
    after: After = None,
    sentiment: Annotated[bool, typer.Option("--sentiment", help="Show how each comment reads.")] = False,
    as_json: Json = False,
) -> None:
    """List feedback, newest first."""
    cursor = Cursor.parse(after) if after else None
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        page = hk.collection.find(query, limit=limit, after=cursor, order=sort)
        if not page.items and not as_json and say_if_nothing(hk, query):
            return
        readings = hk.sentiment.readings(page.items) if sentiment else {}
    if as_json:
        print_json(page.to_dict() | ({"readings": readings_record(readings)} if sentiment else {}))
    else:
        notes = {feedback_id: reading_note(one) for feedback_id, one in readings.items()}
        feedback_list(page, empty="No more feedback", notes=notes)


def show(context: typer.Context, feedback_id: FeedbackId, as_json: Json = False) -> None:
    """Show one feedback entry in full."""
    with cli_context(context).open_existing() as hk:
        feedback = hk.collection.get(hk.application, feedback_id)
    if as_json:
        print_json(feedback.to_dict())
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
        ("rating", feedback.rating.word),
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
        ("previous status", moderation.previous.value if moderation.previous else ""),
        ("previous reason", moderation.previous_reason),
    ]


def _show_revisions(feedback: Feedback) -> None:
    say("\nEarlier versions", style="bold")
    table(
        ("version", "until", "rating", "tags", "comment"),
        [
            (one.version, time_text(one.replaced_at), one.rating.word, ", ".join(one.tags), one.comment)
            for one in feedback.revisions
        ],
    )

"""The command ``demo``: collects two weeks of sample feedback with the real services, and shows statistics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import cast

import typer
from attrs import evolve, frozen

from harken import (
    Feedback,
    FeedbackRejected,
    GroupBy,
    Harken,
    ModerationStatus,
    RatingValue,
    Receipt,
    Submission,
    Target,
)
from harken.domain.texts import amount
from harken_adapters.demo.story import Story
from harken_adapters.demo.visitors import Visitors, arrivals
from harken_adapters.hosts.cli.options import CliContext, Json, cli_context
from harken_adapters.hosts.cli.output import print_json, say
from harken_adapters.hosts.cli.statistics import print_groups, print_stats, print_themes, print_trend

_DAYS = 14
_A_DAY = 40


@frozen
class Scenes:
    """The results of the examples."""

    refused: FeedbackRejected | None
    repeated: Receipt
    vote: Feedback
    held: Feedback


def demo(context: typer.Context, as_json: Json = False) -> None:
    """Collect sample feedback, and show the statistics.

    The feedback goes to the selected storage. Running the demo again adds only the days since the last run.
    """
    cli = cli_context(context)
    with cli.open(spam="hold") as hk:
        added = _collect(hk, datetime.now(UTC))
        scenes = _play(hk)
        if as_json:
            print_json({"added": added, **hk.estimate().to_dict()})
            return
        _print_scenes(added, scenes)
        _print_statistics(hk)
    _print_next_commands(cli, scenes)


# --- collecting -------------------------------------------------------------------------------------------------------


def _collect(hk: Harken, now: datetime) -> int:
    """Submit sample feedback for the last days. Returns the number of new entries."""
    days = (now.date() - timedelta(days=ago) for ago in range(_DAYS - 1, -1, -1))
    submissions = [one for day in days for one in _submissions_on(day, hk.application) if _is_past(one, now)]
    answers = hk.collection.submit_many(submissions)
    return sum(isinstance(answer, Receipt) and not answer.duplicate for answer in answers)


def _is_past(submission: Submission, now: datetime) -> bool:
    return submission.created_at is not None and submission.created_at <= now


def _submissions_on(day: date, application: str) -> Iterator[Submission]:
    """The submissions of a day. They are always the same, so their idempotency keys prevent duplicates."""
    random = Random(f"harken demo {day}")  # noqa: S311 - used for sample feedback only
    visitors = Visitors(Story(), random, application=application)
    for number, arrival in enumerate(arrivals(day, _A_DAY, random)):
        yield evolve(next(visitors.submissions(arrival)), idempotency_key=f"demo-{day}-{number}")


# --- examples ---------------------------------------------------------------------------------------------------------


def _play(hk: Harken) -> Scenes:
    """Show one example each of a rejection, a retry, a changed vote and moderation."""
    return Scenes(
        refused=_submit_invalid(hk), repeated=_submit_twice(hk), vote=_change_vote(hk), held=_moderate_spam(hk)
    )


def _submit_invalid(hk: Harken) -> FeedbackRejected | None:
    rating = cast("RatingValue", "sideways")
    try:
        hk.collection.submit(Submission(target=Target(" "), rating=rating, comment="I tilt my head"))
    except FeedbackRejected as error:
        return error
    return None


def _submit_twice(hk: Harken) -> Receipt:
    for _ in range(2):
        receipt = hk.submit(
            "demo-repeat", "up", "I pressed the button twice", agent_id="search-helper", idempotency_key="demo-repeat"
        )
    return receipt


def _change_vote(hk: Harken) -> Feedback:
    target, author = Target("demo-vote", "message-1", "travel-desk"), "person-1"
    if not hk.feedback(session_id=target.session_id, limit=1).items:
        hk.collection.set_vote(target, author, "up", application=hk.application)
    complaint = "On second thoughts, the gate was wrong"
    return hk.collection.set_vote(target, author, "down", complaint, application=hk.application).feedback


def _moderate_spam(hk: Harken) -> Feedback:
    spam = hk.submit("demo-spam", "up", "Click here for a casino bonus", idempotency_key="demo-spam").feedback
    if spam.moderation.status is not ModerationStatus.PENDING:
        return spam
    return hk.moderation.decide(
        hk.application, spam.id, ModerationStatus.REJECTED, moderator="demo", reason="advertising"
    )


# --- output -----------------------------------------------------------------------------------------------------------


def _print_scenes(added: int, scenes: Scenes) -> None:
    entries = amount(added, "sample entry", "sample entries")
    say(f"Added {entries} from the last {_DAYS} days; duplicates are not added again.\n")
    held = scenes.held
    violations = scenes.refused.violations if scenes.refused else ()
    _print_scene("Rejected, with all reasons at once", *(violation.message for violation in violations))
    _print_scene("Submitted twice with the same idempotency key, stored once", scenes.repeated.feedback.comment)
    _print_scene("A vote changed by its author", f"{_history(scenes.vote)}: {scenes.vote.comment}")
    _print_scene(
        f"Held for moderation because of {held.comment!r}, then decided",
        f"{held.moderation.status.value} by {held.moderation.moderator}: {held.moderation.reason}",
    )
    say("")


def _print_scene(title: str, *lines: str) -> None:
    say(title, style="bold")
    for line in lines:
        say(f"  {line}")


def _history(vote: Feedback) -> str:
    ratings = [*(revision.rating for revision in vote.revisions), vote.rating]
    return f"{' -> '.join(rating.word for rating in ratings)}, version {vote.version}"


def _print_statistics(hk: Harken) -> None:
    estimate = hk.estimate()
    say("Statistics", style="bold")
    print_stats(estimate)
    say("By agent", style="bold")
    print_groups("agent", hk.analytics.estimate_groups(hk.query(), GroupBy.parse("agent")), estimate.summary)
    say("\nBy day", style="bold")
    print_trend(hk.trend(), datetime.now(UTC))
    say("\nThemes in negative comments", style="bold")
    print_themes(hk.themes(limit=5))
    say("")


def _print_next_commands(cli: CliContext, scenes: Scenes) -> None:
    if cli.storage == "memory://":
        kept = evolve(cli, storage_option="sqlite:///demo.db").command
        say(f"memory:// does not keep data. To explore further, run: {kept} demo")
        return
    say("Next, try", style="bold")
    for command in (
        "list --rating down --limit 5",
        f"show {scenes.vote.id}",
        "stats --by tag --agent travel-desk",
        "trends --by hour-of-day --zone Europe/Madrid",
        "compare --by agent",
        f"moderate undo {scenes.held.id}",
        "export feedback.csv",
    ):
        say(f"  {cli.command} {command}")

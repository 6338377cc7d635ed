"""What moderators decided today, and what became of the last decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from harken import Feedback, ModerationStatus
from harken.services.feedback.moderation import MAX_DECISIONS
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.entries import find, shown_of
from harken_adapters.hosts.web.held import VERBS, decided_text, reason_text
from harken_adapters.hosts.web.pages.moderation_view import DECIDED
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import first_upper

#: Decisions of a moderator that follow each other this closely were made at once.
_AT_ONCE: Final = timedelta(seconds=1)
#: A message about a decision is not shown again when the page is opened later.
_FRESH: Final = timedelta(minutes=1)


@frozen(kw_only=True)
class Run:
    """Decisions that one moderator made at once, or a single one.

    Attributes:
        latest: the entry of the last one.
        count: their number.
        text: who decided what.
        age: how long ago.
        undo: the entries that can be undone, as values of forms.
    """

    latest: Feedback
    count: int
    text: str
    age: timedelta
    undo: tuple[str, ...]


@frozen(kw_only=True)
class Outcome:
    """What became of decisions.

    Attributes:
        text: what was done, and what was not.
        undo: the entries to undo, as values of forms.
        failures: the id and the comment of each entry that was not decided, and why not.
    """

    text: str
    undo: tuple[str, ...] = ()
    failures: tuple[tuple[str, str, str], ...] = ()


def entry(feedback: Feedback) -> str:
    """The value of a form that stands for an entry in the version that was seen."""
    return f"{feedback.version}:{feedback.id}"


def parse_entry(text: str) -> tuple[str, int]:
    """The id and the version of an entry in a form.

    Raises:
        Problem: it is not one.
    """
    version, colon, feedback_id = text.partition(":")
    if not (colon and feedback_id and version.isascii() and version.isdigit() and len(version) < 19):
        raise invalid("entry", "type", f"entry must be a version, a colon and the id of feedback; got {text[:100]!a}")
    return feedback_id, int(version)


def runs_of(decided: Sequence[Feedback]) -> list[list[Feedback]]:
    """Decisions, the latest first, in groups that were made at once and can be undone together."""
    runs: list[list[Feedback]] = []
    for one in decided:
        if runs and len(runs[-1]) < MAX_DECISIONS and _is_at_once(one, runs[-1][-1]):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _is_at_once(one: Feedback, later: Feedback) -> bool:
    made, after = one.moderation, later.moderation
    if made.decided_at is None or after.decided_at is None or after.decided_at - made.decided_at > _AT_ONCE:
        return False
    first, second = ((each.moderator, each.status, each.reason) for each in (made, after))
    return first == second


def run_of(visit: Visit, run: Sequence[Feedback]) -> Run:
    """What the page shows of decisions that were made at once."""
    latest = shown_of(visit, run[0])
    moderation = latest.moderation
    return Run(
        latest=latest,
        count=len(run),
        text=first_upper(decided_text(moderation, visit.principal.name, len(run))),
        age=visit.now - (moderation.decided_at or latest.updated_at),
        undo=tuple(entry(one) for one in run if not one.withdrawn),
    )


def outcome_of(visit: Visit, selection: Selection) -> Outcome | None:
    """What became of the decision that led to the page, if it was just now."""
    text = selection.parameters.get(DECIDED)
    if text is None:
        return None
    feedback_id, version = parse_entry(text)
    found = find(visit, feedback_id)
    if found is None or found.version != version or found.moderation.decided_at is None:
        return None
    if visit.now - found.moderation.decided_at > _FRESH:
        return None
    if found.moderation.is_undo:
        is_pending = found.moderation.status is ModerationStatus.PENDING
        status = VERBS[found.moderation.status]
        return Outcome(text="Undone: it waits again" if is_pending else f"Undone: it is {status} again")
    done = " ".join(filter(None, [VERBS[found.moderation.status], reason_text(found.moderation)]))
    return Outcome(text=first_upper(done), undo=(entry(found),))

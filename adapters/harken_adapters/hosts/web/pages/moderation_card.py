"""The entry that a moderator decides on, with what to know before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, Feedback, ModerationStatus
from harken.domain.feedback import Revision
from harken.domain.texts import amount
from harken.services.feedback.backlog import waits_since
from harken.services.feedback.reviewing import BeforeAfter, Effect, Review, SimilarTexts
from harken_adapters.charts.labels import isolated, satisfaction_text, share_text
from harken_adapters.hosts.web.entries import visible_query
from harken_adapters.hosts.web.held import (
    Held,
    Parts,
    decision_sentence,
    held,
    marked,
    reason_text,
    suggested_reason,
    verb_this,
    who,
)
from harken_adapters.hosts.web.pages.moderation_list import Listed
from harken_adapters.hosts.web.pages.moderation_view import View
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import duration_text, first_upper

_PENDING: Final = frozenset({ModerationStatus.PENDING})
_LOST: Final = {"approved": "approval", "rejected": "rejection", "undo": "undo"}


@frozen(kw_only=True)
class Lost:
    """A decision that was not saved, as the entry was not as it had been seen any more.

    Attributes:
        wanted: the status that was chosen, or ``undo``.
        reason: its reason.
    """

    wanted: str
    reason: str = ""


@frozen(kw_only=True)
class Conflict:
    """Why a decision was not saved.

    Attributes:
        sentence: what happened: ``Priya approved this 12 s ago.``
        lost: what was not saved.
        anyway: the decision that can still be made; ``None`` if there is nothing left to decide.
        reason: its reason.
    """

    sentence: str
    lost: str
    anyway: ModerationStatus | None
    reason: str


@frozen(kw_only=True)
class Card:
    """The current entry, with what to know before a decision.

    Attributes:
        feedback: the entry.
        review: its author's record, similar texts, and the effect of a decision.
        held: why it is held; ``None`` if it is decided or was never held.
        decided: what was decided: ``Priya approved this 12 s ago.``; empty if it waits.
        parts: its comment in parts, each with whether a rule matched it.
        at: when it was given, in local time.
        age: for how long it has waited, or since when it is decided.
        position: its number in the list, from 1; ``None`` if it is not in it.
        effect: what a decision would change.
        likelihood: of a rejection, as learned from decisions; empty if that is not known.
        reason: the reason that is chosen first for a rejection.
        conflict: why the last decision was not saved.
        choices: the decisions that can be made.
        previous: a link to the entry before it.
        next: a link to the entry after it.
        earlier: of an entry that waits, the last version with another comment, which may be what was held.
    """

    feedback: Feedback
    review: Review
    held: Held | None
    decided: str
    parts: Parts
    at: datetime
    age: timedelta
    position: int | None
    effect: str
    likelihood: str
    reason: str
    conflict: Conflict | None
    choices: tuple[ModerationStatus, ...]
    previous: str | None
    next: str | None
    earlier: Revision | None

    @property
    def alike(self) -> str:
        """How often the same text waits; empty if it is the only one."""
        return similar_text(self.review.similar) if len(self.review.similar.entries) > 1 else ""

    @property
    def author(self) -> str:
        """The record of the author."""
        record = self.review.author
        if record is None or not record.total:
            return "nothing before"
        counts = [f"{record.approved:,} approved", f"{record.rejected:,} rejected"]
        counts += [f"{record.pending:,} held"] if record.pending else []
        return f"{record.total:,}{'' if record.is_complete else ' or more'} before: {', '.join(counts)}"


def card_of(visit: Visit, view: View, feedback: Feedback, listed: Listed, lost: Lost | None) -> Card:
    """What the page shows of the current entry."""
    hk, moderation, items, review = visit.harken, feedback.moderation, listed.items, listed.review
    if review is None or review.feedback.id != feedback.id:
        review = hk.moderation.review(visible_query(visit), feedback.id)
    is_pending = moderation.status is ModerationStatus.PENDING
    why = held(feedback) if is_pending else None
    age = visit.now - (waits_since(feedback) if is_pending else moderation.decided_at or feedback.created_at)
    reading = hk.spam.readings([feedback]).get(feedback.id)
    return Card(
        feedback=feedback,
        review=review,
        held=why,
        decided="" if is_pending else decision_sentence(feedback, visit.principal.name, duration_text(age)),
        parts=marked(feedback),
        at=view.selection.local(feedback.created_at),
        age=age,
        position=_position(visit, view, feedback, items),
        effect=_effect(visit, feedback, review),
        likelihood=share_text(reading.likelihood) if reading else "",
        reason=suggested_reason(feedback),
        conflict=_conflict(visit, feedback, lost) if lost else None,
        choices=() if feedback.withdrawn else _choices(moderation.status),
        previous=_previous(visit, view, feedback, items),
        next=_next(visit, view, feedback, items),
        earlier=_earlier(feedback) if is_pending else None,
    )


def effect_text(effect: Effect) -> str:
    """What decisions would change in the satisfaction of each agent; empty if they change nothing."""
    changes = []
    for agent, one in effect.agents.items():
        if one.before == one.after:
            continue
        changes.append(f"{isolated(str(agent)) if agent else 'Without an agent:'} {_change(one)}")
    shown = ", ".join(sorted(changes)[:3])
    return f"{shown} and {amount(len(changes) - 3, 'more agent')}" if len(changes) > 3 else shown


def _change(one: BeforeAfter) -> str:
    before, after = satisfaction_text(one.before), satisfaction_text(one.after)
    if before == after:
        return f"stays at {before}" if one.before.decided else "has no thumbs yet"
    return f"{before} → {after}" if one.before.decided else f"{after}, no thumbs before"


def similar_text(similar: SimilarTexts) -> str:
    """How often a text was given, and by how many sessions."""
    duration = similar.until - similar.since if similar.since and similar.until else timedelta()
    period = "at the same time" if duration < timedelta(seconds=1) else f"in {duration_text(duration)}"
    most = "" if similar.is_complete else " or more"
    return f"{len(similar.entries):,}{most} times {period}, from {amount(similar.sessions, 'session')}"


def _earlier(feedback: Feedback) -> Revision | None:
    """The last version with another comment."""
    return next((one for one in reversed(feedback.revisions) if one.content.comment != feedback.comment), None)


def _choices(status: ModerationStatus) -> tuple[ModerationStatus, ...]:
    return tuple(one for one in (ModerationStatus.APPROVED, ModerationStatus.REJECTED) if one is not status)


def _effect(visit: Visit, feedback: Feedback, review: Review) -> str:
    """What a decision would change."""
    if feedback.withdrawn:
        return ""
    if feedback.is_counted:
        versions = {feedback.id: feedback.version}
        rejected = visit.harken.moderation.preview(visible_query(visit), versions, ModerationStatus.REJECTED).effect
        return f"{effect_text(rejected) or 'no statistics'} if rejected"
    return f"{effect_text(review.if_approved) or 'no statistics'} if approved"


def _position(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> int | None:
    ids = [one.id for one in items]
    if view.after is None and feedback.id in ids:
        return ids.index(feedback.id) + 1
    is_pending = feedback.moderation.status is ModerationStatus.PENDING
    if not is_pending or view.tab != "waiting" or view.rule is not None or view.like is not None:
        return None
    before = evolve(view.query, statuses=_PENDING, until=feedback.created_at)
    return visit.harken.analytics.summary(before).total + 1


def _next(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> str | None:
    """A link to the entry after one, in the list or after it."""
    ids = [one.id for one in items]
    if feedback.id in ids and feedback.id != ids[-1]:
        return view.link(current=ids[ids.index(feedback.id) + 1])
    if view.tab != "waiting" or view.like is not None:
        return view.link(current=ids[0]) if ids and feedback.id not in ids else None
    page = visit.harken.moderation.queue(view.query, limit=1, after=Cursor.of(feedback), rule=view.rule)
    if page.items:
        # The list goes on after the current entry, so that the next one is in it.
        after = str(Cursor.of(feedback)) if ids and feedback.id == ids[-1] else str(view.after or "") or None
        return view.link(current=page.items[0].id, after=after)
    return view.link(current=None, after=None) if feedback.moderation.status is not ModerationStatus.PENDING else None


def _previous(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> str | None:
    """A link to the entry before one, in the list or before it."""
    ids = [one.id for one in items]
    if feedback.id in ids and feedback.id != ids[0]:
        return view.link(current=ids[ids.index(feedback.id) - 1])
    if view.tab != "waiting" or view.like is not None or view.after is None:
        return None
    page = visit.harken.moderation.queue(view.query, limit=1, after=Cursor.of(feedback), order="newest", rule=view.rule)
    return view.link(current=page.items[0].id) if page.items else None


def _conflict(visit: Visit, feedback: Feedback, lost: Lost) -> Conflict:
    """Why a decision was not saved."""
    moderation, name = feedback.moderation, visit.principal.name
    is_decision = moderation.decided_at is not None and moderation.decided_at == feedback.updated_at
    ago = f"{duration_text(visit.now - feedback.updated_at)} ago"
    if feedback.withdrawn:
        sentence = f"Its author took this back {ago}."
    elif is_decision:
        done = verb_this(moderation.status) if not moderation.is_undo else "undid a decision on this"
        reason = reason_text(moderation)
        sentence = f"{first_upper(who(moderation.moderator, name))} {done}{f' {reason}' if reason else ''} {ago}."
    else:
        sentence = f"Its author changed this {ago}."
    is_same = lost.wanted == moderation.status.value
    can_insist = is_decision and not feedback.withdrawn and not is_same and lost.wanted != "undo"
    return Conflict(
        sentence=sentence,
        lost=f"Your {_LOST[lost.wanted]} was not needed." if is_same else not_saved(lost),
        anyway=ModerationStatus(lost.wanted) if can_insist else None,
        reason=lost.reason,
    )


def not_saved(lost: Lost) -> str:
    """The message about a decision that was lost."""
    return f"Your {_LOST[lost.wanted]} was not saved."

"""The list of the page for moderation: what waits, was rejected, or was approved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, Feedback, ModerationStatus
from harken.services.feedback.backlog import waits_since
from harken.services.feedback.reviewing import Review
from harken_adapters.hosts.web.entries import find, find_many, shown_of, visible_query
from harken_adapters.hosts.web.held import decided_text, held
from harken_adapters.hosts.web.pages.moderation_view import View
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import first_upper

_PAGE: Final = 20
#: The number of entries with the same text that are listed, and so decided, at once.
_ALIKE: Final = 100
#: Decisions are listed for this time.
_RECENT: Final = timedelta(days=28)


@frozen(kw_only=True)
class Row:
    """An entry of the list.

    Attributes:
        feedback: the entry.
        link: makes it the current one.
        why: why it is held, or what was decided.
        age: for how long it has waited; or since it was given, if it was decided.
        is_current: whether it is the current one.
    """

    feedback: Feedback
    link: str
    why: str
    age: timedelta
    is_current: bool


@frozen(kw_only=True)
class Listed:
    """A page of the list.

    Attributes:
        items: its entries.
        following: the position after it, if there is more.
        total: the number of entries on all pages; ``None``: all that wait.
        review: the review of the entry with whose text they are listed, if they are.
    """

    items: Sequence[Feedback]
    following: Cursor | None = None
    total: int | None = None
    review: Review | None = None


def list_of(visit: Visit, view: View) -> Listed:
    """A page of the list."""
    hk, shown = visit.harken, partial(shown_of, visit)
    if view.tab == "rejected":
        rejected = evolve(view.query, statuses=frozenset({ModerationStatus.REJECTED}))
        page = hk.collection.find(rejected, limit=_PAGE, after=view.after)
        total = hk.analytics.summary(rejected).total
        return Listed(items=[*map(shown, page.items)], following=page.next, total=total)
    if view.tab == "approved":
        approved = frozenset({ModerationStatus.APPROVED})
        found = hk.moderation.decisions(
            view.query, since=visit.now - _RECENT, statuses=approved, limit=_PAGE, after=view.after
        )
        return Listed(items=[*map(shown, found.items)], following=found.next, total=found.count)
    if view.like is not None:
        return _alike(visit, view.like)
    page = hk.moderation.queue(view.query, limit=_PAGE, after=view.after, rule=view.rule)
    return Listed(items=[*map(shown, page.items)], following=page.next)


def _alike(visit: Visit, feedback_id: str) -> Listed:
    """The waiting entries with the same text as an entry."""
    if find(visit, feedback_id) is None:
        return Listed(items=(), total=0)
    review = visit.harken.moderation.review(visible_query(visit), feedback_id)
    found = find_many(visit, [one.feedback_id for one in review.similar.entries[:_ALIKE]]).values()
    waiting = [one for one in found if one.moderation.status is ModerationStatus.PENDING and not one.withdrawn]
    return Listed(items=waiting, total=len(waiting), review=review)


def row_of(visit: Visit, view: View, feedback: Feedback, current: Feedback | None) -> Row:
    """An entry of the list."""
    is_pending = feedback.moderation.status is ModerationStatus.PENDING
    return Row(
        feedback=feedback,
        link=view.link(current=feedback.id),
        why=held(feedback).title
        if is_pending
        else first_upper(decided_text(feedback.moderation, visit.principal.name)),
        age=visit.now - (waits_since(feedback) if is_pending else feedback.created_at),
        is_current=current is not None and current.id == feedback.id,
    )

"""What a moderator needs to know about feedback before a decision. Imported when it is first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from harken.domain.feedback import Feedback
from harken.domain.moderation import APPROVED, ModerationStatus
from harken.domain.query import MAX_PAGE, Dimension, FeedbackQuery, GroupBy, GroupKey
from harken.domain.similarity import Sketch
from harken.domain.summary import Summary
from harken.ports.repository import FeedbackRepository
from harken.services.finding import newest

#: How much of the queue is searched for similar texts.
_SEARCHED: Final = 2_000
_PENDING: Final = frozenset({ModerationStatus.PENDING})
_COUNTED: Final = frozenset({ModerationStatus.APPROVED})


@frozen
class BeforeAfter:
    """Statistics before and after decisions."""

    before: Summary
    after: Summary


@frozen
class Effect:
    """What decisions would change: the statistics of the selection, and of each agent that they concern."""

    selection: BeforeAfter
    agents: Mapping[GroupKey, BeforeAfter]


@frozen
class AuthorRecord:
    """The earlier feedback of an author, by moderation status; withdrawn feedback included.

    ``is_complete`` is false if there is more: only the latest 1,000 entries are counted.
    """

    approved: int = 0
    rejected: int = 0
    pending: int = 0
    is_complete: bool = True

    @property
    def total(self) -> int:
        """The number of entries."""
        return self.approved + self.rejected + self.pending


@frozen
class Entry:
    """An entry to decide on, in the version that was read."""

    feedback_id: str
    version: int
    session_id: str
    created_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> Entry:
        """Return the entry of this feedback."""
        return cls(feedback.id, feedback.version, feedback.session_id, feedback.created_at)


@frozen
class SimilarTexts:
    """The pending feedback with equal or nearly equal comments, oldest first, with the feedback that it was asked for.

    ``is_complete`` is false if more than 2,000 entries wait: only the newest 2,000 were compared.
    """

    entries: tuple[Entry, ...] = ()
    is_complete: bool = True

    @property
    def sessions(self) -> int:
        """The number of sessions."""
        return len({one.session_id for one in self.entries})

    @property
    def since(self) -> datetime | None:
        """When the first one was given; ``None`` if there is none."""
        return self.entries[0].created_at if self.entries else None

    @property
    def until(self) -> datetime | None:
        """When the last one was given; ``None`` if there is none."""
        return self.entries[-1].created_at if self.entries else None


@frozen
class Review:
    """What a moderator needs to know about feedback.

    Attributes:
        feedback: the feedback. ``feedback.moderation.held_by`` are the rules that held it.
        author: the author's earlier feedback; ``None`` without an author.
        in_session: the number of entries in its session in any state, at most 1,000.
        similar: pending feedback with the same text.
        if_approved: what its approval would change; nothing if it is approved already, or withdrawn.
    """

    feedback: Feedback
    author: AuthorRecord | None
    in_session: int
    similar: SimilarTexts
    if_approved: Effect


@frozen
class Preview:
    """What decisions on several entries would do.

    Attributes:
        entries: the entries that still have the version that was seen and are not withdrawn, in the order in which
            they were given. Decisions on the others would fail.
        effect: what the decisions would change.
    """

    entries: tuple[Entry, ...]
    effect: Effect


def review(repository: FeedbackRepository, query: FeedbackQuery, feedback: Feedback) -> Review:
    """Review feedback, within the feedback that matches the query's filters except those on state."""
    in_session = evolve(query, session_id=feedback.session_id).in_any_state()
    return Review(
        feedback,
        author=_author_record(repository, query, feedback),
        in_session=len(repository.find(in_session, limit=MAX_PAGE).items),
        similar=_similar(repository, query, feedback),
        if_approved=effect(repository, query, [feedback], ModerationStatus.APPROVED),
    )


def effect(
    repository: FeedbackRepository, query: FeedbackQuery, feedback: Iterable[Feedback], status: ModerationStatus
) -> Effect:
    """What it would change if all these entries got a status, in the statistics of the matching feedback."""
    counted = evolve(query, statuses=_COUNTED, withdrawn=False)
    before = repository.summarize(counted, GroupBy(Dimension.AGENT))
    after = dict(before)
    concerned: set[GroupKey] = set()
    will_count = status is ModerationStatus.APPROVED
    for one in feedback:
        if not counted.matches(evolve(one, moderation=APPROVED)):
            continue
        concerned.add(one.agent_id)
        if one.is_counted != will_count:
            base, change = after.get(one.agent_id, Summary()), Summary.of(one)
            after[one.agent_id] = base + change if will_count else base - change
    zero = Summary()
    return Effect(
        BeforeAfter(sum(before.values(), zero), sum(after.values(), zero)),
        {agent: BeforeAfter(before.get(agent, zero), after.get(agent, zero)) for agent in concerned},
    )


def _author_record(repository: FeedbackRepository, query: FeedbackQuery, feedback: Feedback) -> AuthorRecord | None:
    if feedback.author is None:
        return None
    until = min(filter(None, (query.until, feedback.created_at)))
    if query.since is not None and query.since >= until:
        return AuthorRecord()
    page = repository.find(evolve(query, author=feedback.author, until=until).in_any_state(), limit=MAX_PAGE)
    statuses = [one.moderation.status for one in page.items]
    return AuthorRecord(
        **{status.value: statuses.count(status) for status in ModerationStatus}, is_complete=page.next is None
    )


def _similar(repository: FeedbackRepository, query: FeedbackQuery, feedback: Feedback) -> SimilarTexts:
    if not feedback.comment:
        return SimilarTexts()
    waiting = list(newest(repository, evolve(query, statuses=_PENDING, withdrawn=False), limit=_SEARCHED + 1))
    sketch = Sketch.of(feedback.comment)
    alike = [one for one in waiting[:_SEARCHED] if one.comment and sketch.is_similar(Sketch.of(one.comment))]
    return SimilarTexts(tuple(map(Entry.of, reversed(alike))), is_complete=len(waiting) <= _SEARCHED)

"""The port for stored feedback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

from attrs import frozen

from harken.domain.erasure import Erased
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.insight.sampling import AuthorRatings
from harken.domain.insight.terms import TermCounts
from harken.domain.query import MAX_PAGE, Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary


@frozen
class Accepted:
    """Feedback that has passed the rules, its events, and the extras of the program, to be stored together."""

    feedback: Feedback
    events: tuple[Event, ...] = ()
    extras: str = ""


class Taken(Enum):
    """The unique value that other feedback has."""

    ID = "id"
    IDEMPOTENCY_KEY = "idempotency key"
    VOTE_SLOT = "vote slot"


@frozen
class Stored:
    """The feedback was stored durably."""

    feedback: Feedback


@frozen
class DuplicateOf:
    """The feedback was stored before, and nothing was written; ``feedback`` is the stored entry, as it is now."""

    feedback: Feedback


@frozen
class Conflict:
    """Other feedback has a unique value, and nothing was written; ``feedback`` is that entry, as it is now."""

    feedback: Feedback
    taken: Taken


Outcome = Stored | DuplicateOf | Conflict


class SessionEntry(NamedTuple):
    """What a session shows of one feedback.

    Attributes:
        rating: ``"up"``, ``"down"`` or ``None``.
        comment: the comment.
        created_at: the time in UTC, as ISO 8601 text with six digits of microseconds and without a zone.
        rest: what else there is, as JSON values by name: ``message_id``, ``agent_id``, ``author``, ``tags``,
            ``sentiment`` (with ``polarity`` and ``subjectivity``), ``idempotency_key``, ``context`` and ``extras`` (the
            text). Names without a value are missing; ``None`` if there is nothing else.
    """

    rating: str | None
    comment: str
    created_at: str
    rest: Mapping[str, Any] | None

    @classmethod
    def of(cls, feedback: Feedback, extras: str = "") -> SessionEntry:
        """Return what a session shows of this feedback and its extras."""
        target, content = feedback.target, feedback.content
        created_at = feedback.created_at.isoformat("T", "microseconds").removesuffix("+00:00")
        has_ids = target.message_id or target.agent_id or feedback.author or feedback.idempotency_key
        # Most entries have nothing else: they need no dictionary.
        if not (has_ids or content.tags or content.sentiment or content.context or extras):
            return cls(content.rating.value, content.comment, created_at, None)
        values = {
            "message_id": target.message_id,
            "agent_id": target.agent_id,
            "author": feedback.author,
            "tags": list(content.tags),
            "sentiment": content.sentiment and content.sentiment.to_dict(),
            "idempotency_key": feedback.idempotency_key,
            # A dictionary of the mapping itself would look up each name.
            "context": dict(content.context.items()),
            "extras": extras,
        }
        rest = {name: value for name, value in values.items() if value}
        return cls(content.rating.value, content.comment, created_at, rest)


class FeedbackRepository(ABC):
    """Stores feedback with its events, and computes statistics.

    With words to search for (``FeedbackQuery.text``), feedback is found exactly if :meth:`TextSearch.is_in` finds them
    in its comment, as :meth:`FeedbackQuery.matches` does. A storage that has an index of comments may raise
    ``SearchNotReady`` while too little is indexed, except from ``stream`` and ``erase``.

    Stored feedback is returned equal in every field, times to the microsecond; returned values never change later. Any
    thread may call any method at any time. All methods raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        """Store a batch in order, and return the outcome of each item, in the same order.

        On return, each ``Stored`` item is durable together with its events, atomically. The outcome of an item does not
        depend on later items, but earlier items of the batch count as stored. For each item, in this order:

        1. If its id is taken in its application: ``DuplicateOf`` if the stored feedback is equal, else ``Conflict``
           (``Taken.ID``).
        2. If its author has used its idempotency key in its application and session: ``DuplicateOf`` if the
           fingerprints are equal, else ``Conflict`` (``Taken.IDEMPOTENCY_KEY``). Feedback without an author shares one
           set of keys, which is separate from those of authors.
        3. If it is a vote with an author, and the author has a vote in the same application, session and message,
           withdrawn or not: ``Conflict`` (``Taken.VOTE_SLOT``).
        4. Otherwise: ``Stored``.

        Extras are stored with the feedback, unless they are empty. These comparisons ignore them, and a
        duplicate does not change those of the stored feedback.
        """

    @abstractmethod
    def get(self, application: str, feedback_id: str) -> Feedback:
        """The feedback with that id, in any state.

        Raises:
            FeedbackNotFound: the feedback does not exist in that application.
        """

    @abstractmethod
    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """The existing feedback with these ids, by id, in any state; takes a few thousand ids at most."""

    @abstractmethod
    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        """At most ``limit`` matching entries, newest first: by ``created_at``, then by ``id``, both descending.

        ``after`` continues after that place, which need not exist any more. Concurrent writes do not make pages skip or
        repeat feedback that exists all the time. ``Page.next`` is ``None`` exactly if nothing more matches.
        """

    def count(self, query: FeedbackQuery, *, limit: int) -> int:
        """The number of matching entries, counted up to ``limit``; a storage may override it with a faster way.

        With words to search for, it takes about as long as it takes to find a page of ``limit`` entries.
        """
        count, after = 0, None
        while count < limit:
            page = self.find(query, limit=min(limit - count, MAX_PAGE), after=after)
            count, after = count + len(page.items), page.next
            if after is None:
                break
        return count

    @abstractmethod
    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """All matching feedback, oldest first: by ``created_at``, then by ``id``; in constant memory.

        It yields the feedback that existed when it began and still matches when it is reached. It ends: nothing newer
        than the newest of these is in it. The storage may be written to meanwhile, also by the reader of the stream.
        """

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        """The counted feedback of a session, oldest first: by ``created_at``, then by ``id``.

        A storage may override it with a faster way, which may hold all entries in memory.
        """
        entries = self.stream(FeedbackQuery(application=application, session_id=session_id))
        while chunk := list(islice(entries, MAX_PAGE)):
            extras = self.extras(application, [feedback.id for feedback in chunk])
            yield from (SessionEntry.of(feedback, extras.get(feedback.id, "")) for feedback in chunk)

    @abstractmethod
    def extras(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, str]:
        """The extras of the existing feedback with these ids, by id, in any state; only of entries that have any.

        Takes a few thousand ids at most.
        """

    @abstractmethod
    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """All changed feedback with an ``updated_at`` of ``since`` or later, in any state; in constant memory.

        Changed feedback has a version above 1. It is sorted by ``updated_at``, then by ``id``, both ascending. It
        yields what existed when it began and has not changed when it is reached. It ends: nothing after the last of
        these is in it. The storage may be written to meanwhile, also by the reader; feedback that is changed again
        before it is reached may be left out.
        """

    @abstractmethod
    def applications(self) -> Sequence[str]:
        """The applications that have feedback, in any state, sorted by code point; without reading all feedback."""

    @abstractmethod
    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        """Replace the previous version of ``feedback``, and store events, atomically and durably.

        ``over`` is the stored version, if that is not ``feedback.version - 1`` but an earlier one: a copy takes over
        several changes at once. Application, session, message, author, id, idempotency key and creation time are the
        same as before, and so are the extras.
        If more than 1,000 events about one entry wait, an adapter may let the new event replace all earlier ones of its
        type: it is then stored with the ``before`` of the earliest of them.

        Raises:
            FeedbackNotFound: the feedback does not exist in that application.
            StaleFeedback: the stored version is not ``feedback.version - 1``, or not ``over``; nothing was written.
        """

    @abstractmethod
    def erase(self, query: FeedbackQuery, *, at: datetime, limit: int | None = None) -> Erased:
        """Remove all matching feedback permanently.

        Its extras, revisions, events, deliveries and share of the statistics are removed with it.

        With a ``limit`` of 1 to 1,000, at most as many entries, the oldest; for callers that pause in between.

        Returns the numbers of what was removed. On return this is durable, and so is, for each entry:

        - The alerts of its application that list it, or that are about its session if no other feedback is left in the
          session, are emptied, see :meth:`Alert.emptied`. The event of each that was open is in the outbox; one that
          was resolved is changed without an event.
        - For each channel that knows or may know of the feedback, there is a delivery of the erasure: those that
          ``erasure_deliveries`` returns, due ``at``. One that awaits a claim cannot be claimed before that claim has
          ended, or its lease has expired.

        Deliveries of an erasure are not removed by another erasure. An interrupted call may be repeated; no channel is
        notified of an erasure that did not take place.
        """

    @abstractmethod
    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        """The statistics of the matching feedback, equal to the sum of ``Summary.of`` each entry; no group is empty.

        Without ``group_by`` all feedback is one group, whose key is ``None``.
        """

    @abstractmethod
    def ratings_by_author(
        self, query: FeedbackQuery, group_by: GroupBy | None = None, *, limit: int
    ) -> Sequence[AuthorRatings]:
        """How many thumbs each author gave in each group, in any order; without ``group_by`` all are one group.

        Of the matching thumbs, only the newest ``limit`` are counted, by creation time and id.
        """

    @abstractmethod
    def term_counts(self, application: str) -> TermCounts:
        """How many rated comments of an application have each term, exactly as a fold over its counted feedback.

        Feedback counts if it is approved and not withdrawn. Submissions do not wait for it: what is new may be counted
        by the caller. No term of erased feedback remains stored once the erasure has returned.
        """

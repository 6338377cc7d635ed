"""Where feedback is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum

from attrs import frozen

from harken.domain.erasure import Erased
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.domain.insight.terms import TermCounts
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary


@frozen
class Accepted:
    """Feedback that passed the rules, on its way into the storage with the events that it causes."""

    feedback: Feedback
    events: tuple[Event, ...] = ()


class Taken(Enum):
    """What an earlier feedback occupies already."""

    ID = "id"
    IDEMPOTENCY_KEY = "idempotency key"
    VOTE_SLOT = "vote slot"


@frozen
class Stored:
    """It is durable now."""

    feedback: Feedback


@frozen
class DuplicateOf:
    """It was there before, and nothing was written; ``feedback`` is what is stored, as it reads now."""

    feedback: Feedback


@frozen
class Conflict:
    """Something else occupies its place, and nothing was written; ``feedback`` is that other one, as it reads now."""

    feedback: Feedback
    taken: Taken


Outcome = Stored | DuplicateOf | Conflict


class FeedbackRepository(ABC):
    """Keeps feedback with the events it causes, and counts it.

    Whatever goes in comes out equal in every field, times to the microsecond; nothing that was handed out changes
    later. All methods may be called by any thread at any time. All raise ``StorageError`` when the storage fails.
    """

    @abstractmethod
    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        """Store a batch, in order, and say for each what became of it, in the same order.

        On return, everything that is ``Stored`` is durable, its events with it, atomically. One item's outcome changes
        no other's, but earlier items count for later ones. For each item, in this order:

        1. Its id is taken in its application: ``DuplicateOf`` an equal feedback, ``Conflict`` (``Taken.ID``) with
           another one.
        2. Its author used its idempotency key in its application and session before: ``DuplicateOf`` if the
           fingerprints are equal, ``Conflict`` (``Taken.IDEMPOTENCY_KEY``) if not. Feedback without an author has keys
           of its own: it shares none with any author, and all of it shares one set.
        3. It is a vote with an author, and that author's vote on the same application, session and message exists,
           withdrawn or not: ``Conflict`` (``Taken.VOTE_SLOT``).
        4. Otherwise it is ``Stored``.
        """

    @abstractmethod
    def get(self, application: str, feedback_id: str) -> Feedback:
        """That feedback, whatever its state.

        Raises:
            FeedbackNotFound: there is none in that application.
        """

    @abstractmethod
    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """Those of these ids that are there, by id, whatever their state; a few thousand at most."""

    @abstractmethod
    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        """At most ``limit`` that match, newest first: by ``created_at``, then by ``id``, both descending.

        ``after`` goes on behind that place, which need not exist any more. What is added or changed meanwhile makes no
        page skip or repeat what was there all along. ``Page.next`` is ``None`` exactly if nothing more matches.
        """

    @abstractmethod
    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """All that match, oldest first: by ``created_at``, then by ``id``; in constant memory.

        It gives what was there when it began and still matches when it is reached, and ends: nothing newer than the
        newest of these is in it. The storage may be written to meanwhile, also by whoever reads the stream.
        """

    @abstractmethod
    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """All that was changed and has an ``updated_at`` not before ``since``, in whatever state; in constant memory.

        Changed is what has a version above 1. It comes by ``updated_at``, then by ``id``, both ascending. It gives what
        was there when it began and is still as it was when it is reached, and ends: nothing behind the last of these is
        in it. The storage may be written to meanwhile, also by whoever reads the changes; what is changed again before
        it is reached may be left to the next reading.
        """

    @abstractmethod
    def applications(self) -> Sequence[str]:
        """The applications that have feedback, in whatever state, sorted by code point; without reading all of it."""

    @abstractmethod
    def replace(self, feedback: Feedback, events: Sequence[Event], *, over: int | None = None) -> None:
        """Put ``feedback`` in the place of the version before it, with events, atomically and durably.

        ``over`` is the version that it takes the place of, where that is not the one right before it but an earlier
        one: so a copy takes over what was changed several times since. Application, session, message, author, id,
        idempotency key and creation time are those of the version before.
        Where more than 1,000 events about one feedback wait, an adapter may let the new one stand for all earlier ones
        of its type: it is then stored with the ``before`` of the earliest of them.

        Raises:
            FeedbackNotFound: there is none in that application.
            StaleFeedback: the stored version is not ``feedback.version - 1``, or not ``over``; nothing was written.
        """

    @abstractmethod
    def erase(self, query: FeedbackQuery, *, at: datetime) -> Erased:
        """Remove all that match, for good, with revisions, events, deliveries and figures; and say how much.

        On return this is durable, and so is, for each feedback:

        - Alerts of its application that list it, or that are about its session if no other feedback is left in it, are
          emptied, see :meth:`Alert.emptied`. The event of each that stood waits in the outbox; one that had ended is
          changed without an event.
        - What notifies of the erasure waits for each channel that knows of the feedback, or may know: the deliveries
          that ``erasure_deliveries`` makes, due ``at``. One that awaits a claim cannot be claimed before that claim has
          ended, or its lease has run out.

        Deliveries of an erasure are not removed by another one. A call that was interrupted may be repeated; no channel
        is notified of an erasure that has not taken place.
        """

    @abstractmethod
    def summarize(self, query: FeedbackQuery, group_by: GroupBy | None = None) -> Mapping[GroupKey, Summary]:
        """The statistics of what matches, exactly those of a fold over it; no group is empty.

        Without ``group_by`` all of it is one group, whose key is ``None``.
        """

    @abstractmethod
    def ratings_by_author(self, query: FeedbackQuery, *, limit: int) -> Sequence[tuple[int, int]]:
        """For each author, how many thumbs they gave, and how many of these are up; authors come in any order.

        Feedback without an author counts as that of its session. Of the matching thumbs, only the newest ``limit``
        are counted, by creation time and id.
        """

    @abstractmethod
    def term_counts(self, application: str) -> TermCounts:
        """How many rated comments of an application have each term, exactly as a fold over its counted feedback.

        Feedback counts if it is approved and not withdrawn. Submissions do not wait for it: what is new may be counted
        by the caller. No term of erased feedback remains stored once the erasure has returned.
        """

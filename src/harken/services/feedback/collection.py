"""Collecting feedback: from what a person sends to what is kept, and what they may do with it later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future

from attrs import evolve

from harken.domain.erasure import Erased
from harken.domain.errors import (
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    IdempotencyConflict,
    StaleFeedback,
)
from harken.domain.events import Event, EventType
from harken.domain.feedback import (
    DEFAULT_APPLICATION,
    NO_CONTEXT,
    Change,
    Feedback,
    Rating,
    Scalar,
    Submission,
    Target,
)
from harken.domain.history import limit_history
from harken.domain.idempotency import fingerprint
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import ANY_STATUS, Cursor, FeedbackQuery, Page
from harken.domain.replies import ReplyRule, reply_to
from harken.domain.rules import (
    SPAM,
    RatingPolicy,
    Rule,
    accepted,
    long_text_problem,
    restore_violations,
    trimmed,
)
from harken.domain.violation import Violation
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.responder import Responder
from harken.ports.text import Sanitizer, SentimentAnalyzer, SpamFilter
from harken.ports.time import Clock, NewId
from harken.services.feedback.editing import Check, Editor, find, get
from harken.services.feedback.erasing import Eraser
from harken.services.feedback.group_commit import GroupCommit, OnWrite
from harken.services.feedback.middleware import (
    Middleware,
    Opened,
    Receipt,
    first,
    refusal,
    tell_failure,
    tell_failures,
    tell_receipt,
)
from harken.services.feedback.replying import Replying
from harken.services.interruption import SafeFuture


def filtered_by(spam_filter: SpamFilter) -> Rule:
    """The rule that a spam filter makes."""
    return lambda submission: (SPAM,) if spam_filter.is_spam(submission) else ()


class CollectionService:
    """Takes submissions in, through middleware, text ports and rules, and keeps what passes."""

    def __init__(
        self,
        repository: FeedbackRepository,
        eraser: Eraser,
        *,
        clock: Clock,
        new_id: NewId,
        policy: RatingPolicy,
        application: str = DEFAULT_APPLICATION,
        middleware: Sequence[Middleware] = (),
        sanitizer: Sanitizer | None = None,
        sentiment_analyzer: SentimentAnalyzer | None = None,
        reply_rules: Sequence[ReplyRule] = (),
        responder: Responder | None = None,
        editor: Editor | None = None,
        max_queue: int = 10_000,
        max_batch: int = 1_000,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._new_id = new_id
        self._policy = policy
        self._application = application
        self._middleware = tuple(middleware)
        self._sanitizer = sanitizer
        self._sentiment_analyzer = sentiment_analyzer
        self._reply_rules = tuple(reply_rules)
        self._editor = editor or Editor(repository)
        self._eraser = eraser
        self._replying = Replying(repository, responder, clock=clock, editor=self._editor) if responder else None
        self._group_commit = GroupCommit(repository.add, max_queue=max_queue, max_batch=max_batch)

    def close(self) -> None:
        """Finish what was begun and refuse what comes later. A responder gets a second to finish, and then no more."""
        self._group_commit.close()
        if self._replying:
            self._replying.close()

    @property
    def waiting(self) -> int:
        """How many submissions wait to be written now, besides those that are being written."""
        return self._group_commit.waiting

    def on_write(self, callback: OnWrite) -> None:
        """Call this after each write, also one that failed, with the number of submissions that it was to carry.

        Any thread may call it, and several may at once; it should be quick. What it raises is logged and changes
        nothing. Only writes that submissions share are told of: the editor tells of those of :meth:`submit_many`, and
        of changes.
        """
        self._group_commit.on_write(callback)

    # --- in --------------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Receipt:
        """Check a submission and keep it; on return it is durable.

        The same idempotency key with the same body gives the first receipt again, marked as a duplicate; the rules look
        at the body first.

        Raises:
            FeedbackRejected: it breaks rules; ``violations`` has all of them.
            IdempotencyConflict: the key was used before in this session, with another body.
            Overloaded: too much is waiting to be written; nothing was kept.
            StorageError: it could not be stored.
        """
        return self._submit(submission)

    def _submit(self, submission: Submission, check: Check | None = None) -> Receipt:
        opened: Opened = []
        try:
            item = self._prepare(submission, opened)
            receipt = self._receipt(item, self._group_commit.commit(item), check)
        except Exception as error:
            tell_failure(opened, error)
            raise
        tell_receipt(opened, receipt)
        return receipt

    def submit_soon(self, submission: Submission) -> Future[Receipt]:
        """The same without waiting for the storage: whatever :meth:`submit` raises, the future raises."""
        future: Future[Receipt] = SafeFuture()
        opened: Opened = []

        def fail(error: BaseException) -> None:
            tell_failure(opened, error)
            future.set_exception(error)

        def finish(committed: Future[Outcome]) -> None:
            try:
                receipt = self._receipt(item, committed.result())
            except BaseException as error:  # noqa: BLE001 - the future raises it
                fail(error)
            else:
                try:
                    tell_receipt(opened, receipt)
                finally:
                    # It is stored, even if a middleware exits.
                    future.set_result(receipt)

        try:
            item = self._prepare(submission, opened)
            self._group_commit.commit_soon(item, finish)
        except Exception as error:  # noqa: BLE001 - the future raises it
            fail(error)
        return future

    def submit_many(
        self, submissions: Iterable[Submission], *, announce: bool = True
    ) -> list[Receipt | FeedbackRejected]:
        """Check many and keep them in one write; a bad one is its own answer and stops no other.

        Args:
            submissions: as many as one write should carry; a few thousand are plenty.
            announce: whether events are stored with them, so that somebody is told; old feedback is no news.

        Raises:
            StorageError: they could not be stored.
        """
        checked: list[tuple[Accepted | FeedbackRejected, Opened]] = []
        for submission in submissions:
            opened: Opened = []
            try:
                checked.append((self._prepare(submission, opened, announce=announce), opened))
            except FeedbackRejected as error:
                checked.append((error, opened))
            except Exception as error:
                tell_failures([*(before for _, before in checked), opened], error)
                raise
        try:
            outcomes = self._repository.add([item for item, _ in checked if isinstance(item, Accepted)])
        except Exception as error:
            tell_failures([opened for _, opened in checked], error)
            raise
        if announce and outcomes:
            self._editor.tell()
        answers = iter(outcomes)
        return [
            self._answer(item, next(answers), opened) if isinstance(item, Accepted) else refusal(item, opened)
            for item, opened in checked
        ]

    def set_vote(
        self,
        target: Target,
        author: str,
        rating: Rating | str | None,
        comment: str = "",
        *,
        tags: Sequence[str] = (),
        context: Mapping[str, Scalar] = NO_CONTEXT,
        idempotency_key: str | None = None,
        application: str | None = None,
        check: Check | None = None,
    ) -> Receipt:
        """Make this the author's one vote on that session or message; an earlier vote becomes a revision of it.

        A new rating drops the old one's tags and reply, and may get a reply of its own; another agent drops the reply
        and what a moderator said, too. Setting the same vote again changes nothing and gives a duplicate; setting one
        that was withdrawn brings it back. Without ``application`` it is the one connected for.

        ``check`` is called with the earlier vote before it is replaced, see :meth:`change`. Raises what :meth:`submit`
        raises.
        """
        submission = Submission(
            target=target,
            author=author,
            rating=rating,
            comment=comment,
            tags=tags,
            context=context,
            idempotency_key=idempotency_key,
            application=self._application if application is None else application,
            vote=True,
        )
        return self._submit(submission, check)

    def restore(self, feedback: Sequence[Feedback]) -> Sequence[Outcome]:
        """Store feedback that was accepted elsewhere, as it was, without events: ids, versions and revisions are kept.

        Raises:
            FeedbackRejected: one of them is not well-formed; nothing was stored.
            StorageError: they could not be stored.
        """
        for one in feedback:
            if violations := tuple(restore_violations(one)):
                raise FeedbackRejected(violations)
        return self._repository.add([Accepted(one) for one in feedback])

    # --- later -----------------------------------------------------------------------------------------------------

    def change(
        self,
        application: str,
        feedback_id: str,
        change: Change,
        *,
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Change what feedback says; the whole of it is checked again, and what it said before is kept.

        It can be changed as often as its author likes: the first revision and the latest 99 are kept.

        Where there is no reply, it may get one as new feedback does. A change that changes nothing is none: the
        feedback comes back as it is.

        Args:
            application: whose feedback it is.
            feedback_id: which feedback.
            change: what shall be different.
            expected_version: the version that the author saw; ``None`` to change whatever is there.
            check: is called with the feedback as it is right before the change, whoever else changes it meanwhile; what
                it raises is raised, and nothing is changed.

        Raises:
            FeedbackNotFound: there is none.
            FeedbackWithdrawn: it was taken back.
            FeedbackRejected: the whole would break rules.
            StaleFeedback: it has another version than expected.
        """

        def edit(current: Feedback) -> Feedback:
            _expect(current, expected_version)
            _must_stand(current)
            return self._revise(current, change.applied_to(current))

        updated = self._editor.update(application, feedback_id, edit, EventType.UPDATED, check=check)
        if self._replying and updated.changed:
            self._replying.ask(updated.feedback)
        return updated.feedback

    def withdraw(self, application: str, feedback_id: str, *, check: Check | None = None) -> Feedback:
        """Take feedback back, for its author: it no longer counts. Doing so twice changes nothing.

        ``check`` may refuse that, see :meth:`change`.

        Raises:
            FeedbackNotFound: there is none.
        """

        def edit(current: Feedback) -> Feedback:
            return current if current.withdrawn else current.withdraw(at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.WITHDRAWN, check=check).feedback

    def withdraw_vote(
        self, application: str, session_id: str, message_id: str | None, author: str, *, check: Check | None = None
    ) -> Feedback | None:
        """Take an author's vote on a message back; ``None`` if there is none. Doing so twice changes nothing.

        ``check`` may refuse that, see :meth:`change`.
        """
        cast = (vote for vote in self.votes(application, session_id, author) if vote.message_id == message_id)
        vote = next(cast, None)
        return vote and self.withdraw(application, vote.id, check=check)

    def reply(self, application: str, feedback_id: str, text: str | None) -> Feedback:
        """Answer the person, or take the answer back with ``None``.

        Raises:
            FeedbackNotFound: there is none.
            FeedbackWithdrawn: it was taken back.
            FeedbackRejected: the reply is not text that every storage can keep.
        """
        if text is not None and (problem := long_text_problem("reply", text)):
            raise FeedbackRejected([problem])

        def edit(current: Feedback) -> Feedback:
            _must_stand(current)
            return current if current.reply == text else current.answered(text, at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.UPDATED).feedback

    def erase(self, query: FeedbackQuery) -> Erased:
        """Remove all that match permanently, with revisions, deliveries, alerts and figures; gives how much, by kind.

        A query that names only a session, or an author, means all of it, with the conversation and the metadata of the
        session; see :meth:`Eraser.erase`. Any other finds only what counts unless it says more:
        ``query.in_any_state()`` leaves nothing behind. Channels that know of the feedback are told that it was erased.
        """
        erased = self._eraser.erase(query)
        if erased.feedback:
            self._editor.tell()
        return erased

    # --- out -------------------------------------------------------------------------------------------------------

    def get(self, application: str, feedback_id: str) -> Feedback:
        """That feedback, whatever its state.

        Raises:
            FeedbackNotFound: there is none.
        """
        return get(self._repository, application, feedback_id)

    def votes(self, application: str, session_id: str, author: str) -> list[Feedback]:
        """The votes of an author in a session that stand, oldest first, approved or not."""
        theirs = FeedbackQuery(application=application, session_id=session_id, author=author, statuses=ANY_STATUS)
        return [feedback for feedback in self._repository.stream(theirs) if feedback.vote]

    def find(self, query: FeedbackQuery, *, limit: int = 100, after: Cursor | None = None) -> Page:
        """A page of at most ``limit`` (1 to 1,000) that match, newest first; ``after`` is the last page's ``next``.

        Raises:
            InvalidQuery: the limit is out of range.
        """
        return find(self._repository, query, limit=limit, after=after)

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """All that match, oldest first, in constant memory."""
        return self._repository.stream(query)

    # --- how -------------------------------------------------------------------------------------------------------

    def _prepare(self, original: Submission, opened: Opened, *, announce: bool = True) -> Accepted:
        """Take a submission through middleware, text ports and rules, to what is stored."""
        submission = original.enriched()
        for middleware in self._middleware:
            steps = middleware(submission)
            submission = first(steps)
            opened.append(steps)
        submission = self._cleaned(submission)
        moderation = self._judged(submission)
        key = submission.idempotency_key
        feedback = accepted(
            self._felt(submission),
            moderation,
            feedback_id=self._new_id(),
            fingerprint=fingerprint(original) if key is not None else "",
            at=self._clock(),
        )
        if not announce:
            return Accepted(feedback)
        feedback = self._replied(feedback)
        return Accepted(feedback, (Event.about(feedback, EventType.CREATED),))

    def _cleaned(self, submission: Submission) -> Submission:
        """The submission with its comment as it is judged and kept.

        Raises:
            FeedbackRejected: the comment is far too long to be cleaned first.
        """
        if violations := self._policy.oversized(submission):
            raise FeedbackRejected(violations)
        if self._sanitizer and isinstance(submission.comment, str):
            clean = self._sanitizer.sanitize(submission.comment)
            if clean != submission.comment:
                submission = evolve(submission, comment=clean)
        return trimmed(submission)

    def _judged(self, submission: Submission) -> Moderation:
        verdict = self._policy.judge(submission)
        if verdict.violations:
            raise FeedbackRejected(verdict.violations)
        return verdict.moderation

    def _felt(self, submission: Submission) -> Submission:
        if self._sentiment_analyzer is None or submission.sentiment is not None or not submission.comment:
            return submission
        return evolve(submission, sentiment=self._sentiment_analyzer.analyze(submission.comment))

    def _replied(self, feedback: Feedback) -> Feedback:
        """The feedback with the reply that the rules have for it, if it has none yet."""
        if not self._reply_rules or feedback.reply is not None:
            return feedback
        reply = reply_to(self._reply_rules, feedback)
        return feedback if reply is None else evolve(feedback, reply=reply)

    def _receipt(self, item: Accepted, outcome: Outcome, check: Check | None = None) -> Receipt:
        receipt = self._settled(item, outcome, check)
        if self._replying and item.events and not receipt.duplicate:
            self._replying.ask(receipt.feedback)
        return receipt

    def _settled(self, item: Accepted, outcome: Outcome, check: Check | None) -> Receipt:
        match outcome:
            case Stored(feedback):
                return Receipt(feedback)
            case DuplicateOf(feedback):
                return Receipt(feedback, duplicate=True)
            case Conflict(feedback, Taken.VOTE_SLOT):
                return self._vote_again(feedback, item, check)
        raise _conflict(outcome)

    def _vote_again(self, earlier: Feedback, item: Accepted, check: Check | None) -> Receipt:
        """Put a vote in the place of the same author's earlier one."""
        event = EventType.UPDATED if item.events else None

        def edit(current: Feedback) -> Feedback:
            known_agent = item.feedback.agent_id or current.agent_id
            vote = evolve(item.feedback, target=evolve(item.feedback.target, agent_id=known_agent))
            if _was_cast(current, vote) or (not current.withdrawn and _same_words(current, vote)):
                return current
            revised = self._with_revision(current, vote)
            if item.events:
                revised = self._replied(revised)
            if vote.idempotency_key is None:
                return revised
            return limit_history(
                evolve(revised, later_keys=(*current.later_keys, (vote.idempotency_key, vote.fingerprint)))
            )

        try:
            updated = self._editor.update(earlier.application, earlier.id, edit, event, check=check)
        except FeedbackNotFound:
            # Somebody erased it meanwhile, so this vote is the first one.
            (outcome,) = self._repository.add([item])
            if item.events:
                self._editor.tell()
            return self._settled(item, outcome, check)
        return Receipt(updated.feedback, duplicate=not updated.changed)

    def _revise(self, current: Feedback, wanted: Submission) -> Feedback:
        """The feedback as its author now wants it, checked as a whole."""
        if wanted.comment != current.comment:
            wanted = evolve(self._cleaned(wanted), sentiment=None)
        moderation = self._judged(wanted)
        content = accepted(
            self._felt(wanted),
            moderation,
            feedback_id=current.id,
            fingerprint=current.fingerprint,
            at=current.created_at,
        )
        return current if _same_words(current, content) else self._replied(self._with_revision(current, content))

    def _with_revision(self, current: Feedback, content: Feedback) -> Feedback:
        before = current.moderation
        if content.agent_id != current.agent_id:
            # What a moderator said was about feedback on another agent; only the status holds for this one.
            before = Moderation(status=before.status)
        moderation = _moderation_after(before, content.moderation)
        revised = current.revised(content.content, target=content.target, moderation=moderation, at=self._clock())
        return limit_history(revised)

    def _answer(self, item: Accepted, outcome: Outcome, opened: Opened) -> Receipt | FeedbackRejected:
        try:
            receipt = self._receipt(item, outcome)
        except FeedbackRejected as error:
            return refusal(error, opened)
        tell_receipt(opened, receipt)
        return receipt


def _was_cast(feedback: Feedback, vote: Feedback) -> bool:
    """Whether this very vote was cast before, and perhaps replaced since.

    Raises:
        IdempotencyConflict: another one was cast under its key.
    """
    fingerprint_then = dict(feedback.later_keys).get(vote.idempotency_key or "")
    if fingerprint_then not in (None, vote.fingerprint):
        raise _reused(vote.idempotency_key)
    return fingerprint_then is not None


def _reused(key: str | None) -> IdempotencyConflict:
    message = (
        f"The idempotency key {key!r} was used before in this session, with another body; "
        "use a new key for new feedback"
    )
    return IdempotencyConflict([Violation("idempotency_key", "reused", message)])


def _must_stand(feedback: Feedback) -> None:
    if feedback.withdrawn:
        raise FeedbackWithdrawn(f"Feedback {feedback.id!r} was taken back by its author; submit a new one instead")


def _expect(feedback: Feedback, version: int | None) -> None:
    if version is not None and version != feedback.version:
        raise StaleFeedback(
            f"Feedback {feedback.id!r} has version {feedback.version} by now, not {version}; read it again"
        )


def _same_words(one: Feedback, other: Feedback) -> bool:
    return one.target == other.target and one.content.equals(other.content)


def _moderation_after(before: Moderation, judged: Moderation) -> Moderation:
    """A change cannot approve itself: what was held or rejected waits for a moderator."""
    if judged.status is ModerationStatus.PENDING:
        return Moderation.held(judged.reason)
    if before.status is ModerationStatus.REJECTED:
        return Moderation.held("changed after it was rejected")
    return before


def _conflict(conflict: Conflict) -> FeedbackRejected:
    if conflict.taken is Taken.IDEMPOTENCY_KEY:
        return _reused(conflict.feedback.idempotency_key)
    return FeedbackRejected([Violation("id", "taken", f"There is other feedback with the id {conflict.feedback.id!r}")])

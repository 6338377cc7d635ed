"""Collecting feedback: submissions and votes, and what authors and operators do with stored feedback."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, Unpack

from attrs import evolve

from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackRejected, FeedbackWithdrawn, StaleFeedback
from harken.domain.events import Event, EventType
from harken.domain.feedback import DEFAULT_APPLICATION, Change, Feedback, RatingValue, Submission, Target
from harken.domain.idempotency import IMPORT_KEY, fingerprint
from harken.domain.moderation import Moderation
from harken.domain.query import Cursor, FeedbackQuery, Order, Page
from harken.domain.replies import ReplyRule, reply_to
from harken.domain.rules import (
    SPAM,
    RatingPolicy,
    Rule,
    build_feedback,
    long_text_problem,
    restore_violations,
    size_problem,
    text_problem,
    trim_comment,
)
from harken.domain.violation import Violation
from harken.ports.repository import (
    Accepted,
    Conflict,
    DuplicateOf,
    FeedbackRepository,
    Outcome,
    SessionEntry,
    Stored,
    Taken,
)
from harken.ports.responder import Responder
from harken.ports.text import ExplainingSpamFilter, Sanitizer, SentimentAnalyzer, SpamFilter
from harken.ports.time import Clock, NewId
from harken.services.feedback.editing import Check, Editor
from harken.services.feedback.erasing import Eraser
from harken.services.feedback.group_commit import GroupCommit, OnWrite, batches
from harken.services.feedback.keywords import VoteKeywords, build_submission, check_keywords
from harken.services.feedback.middleware import Middleware, MiddlewareChain
from harken.services.feedback.receipt import Receipt
from harken.services.feedback.replying import Replying
from harken.services.feedback.revising import next_version, same_content
from harken.services.feedback.voting import Voting, reused_key_error
from harken.services.finding import find, get
from harken.services.interruption import SafeFuture

if TYPE_CHECKING:
    from harken.services.feedback.rule_counts import RuleCounts


def spam_rule(spam_filter: SpamFilter) -> Rule:
    """The rule that a spam filter defines."""
    explain = spam_filter.explain if isinstance(spam_filter, ExplainingSpamFilter) else _unexplained

    def rule(submission: Submission) -> Sequence[Violation]:
        return (explain(submission),) if spam_filter.is_spam(submission) else ()

    return rule


def _unexplained(_: Submission) -> Violation:
    return evolve(SPAM, rule="spam filter")


class _Prepared(NamedTuple):
    """A submission that can be stored, and what the rules find in it that were not applied."""

    item: Accepted
    waived: tuple[Violation, ...] = ()


class CollectionService:
    """Takes submissions through middleware, text ports and rules, and stores those that pass."""

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
        rule_counts: RuleCounts | None = None,
        max_queue: int = 10_000,
        max_batch: int = 1_000,
    ) -> None:
        self._repository = repository
        self._rule_counts = rule_counts
        self._clock = clock
        self._new_id = new_id
        self._policy = policy
        self._policy_for_historical = policy.for_historical_feedback()
        self._application = application
        self._middleware = tuple(middleware)
        self._sanitizer = sanitizer
        self._sentiment_analyzer = sentiment_analyzer
        self._reply_rules = tuple(reply_rules)
        self._editor = editor or Editor(repository)
        self._eraser = eraser
        self._voting = Voting(repository, self._editor)
        self._replying = Replying(repository, responder, clock=clock, editor=self._editor) if responder else None
        self._group_commit = GroupCommit(repository.add, max_queue=max_queue, max_batch=max_batch)

    def close(self) -> None:
        """Write what is queued, and refuse later submissions. Waits up to one second for a responder."""
        self._group_commit.close()
        if self._replying:
            self._replying.close()
        if self._rule_counts:
            self._rule_counts.close()

    @property
    def waiting(self) -> int:
        """How many submissions are queued, without those that are being written."""
        return self._group_commit.waiting

    def on_write(self, callback: OnWrite) -> None:
        """Call this after each group commit, even a failed one, with its number of submissions.

        Any thread may call it, and several may at the same time; it should be quick. An error that it raises is logged.
        It is not called for :meth:`submit_many` and for changes: see :meth:`Editor.on_change`.
        """
        self._group_commit.on_write(callback)

    # --- Submitting --------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Receipt:
        """Check a submission and store it; on return it is durable.

        The same idempotency key with the same body returns the first receipt again, marked as a duplicate, if the body
        passes the rules.

        Raises:
            FeedbackRejected: it breaks rules; ``violations`` has all of them.
            IdempotencyConflict: the key was used before in this session, with another body.
            Overloaded: the queue is full; nothing was stored.
            StorageError: it could not be stored.
        """
        return self._submit(submission)

    def submit_soon(self, submission: Submission) -> Future[Receipt]:
        """Like :meth:`submit`, without waiting for the storage: the future returns the receipt or raises the error."""
        future: Future[Receipt] = SafeFuture()
        chain = MiddlewareChain(self._middleware)

        def fail(error: BaseException) -> None:
            chain.failed(error)
            future.set_exception(error)

        def finish(committed: Future[Outcome]) -> None:
            try:
                receipt = self._receipt(item, committed.result())
            except BaseException as error:  # noqa: BLE001 - the future raises it
                fail(error)
            else:
                try:
                    chain.succeeded(receipt)
                finally:
                    # It is stored, even if a middleware exits.
                    future.set_result(receipt)

        try:
            item = self._prepare(submission, chain).item
            self._group_commit.commit_soon(item, finish)
        except Exception as error:  # noqa: BLE001 - the future raises it
            fail(error)
        return future

    def submit_many(
        self, submissions: Iterable[Submission], *, announce: bool = True, historical: bool = False
    ) -> list[Receipt | FeedbackRejected]:
        """Check many submissions and store them in one write. The result of a refused one is its error.

        With more than 32 MB of extras, they are stored in several writes, one after the other. If one fails, what
        earlier ones stored stays, and its events are sent.

        Args:
            submissions: at most a few thousand, as all of them are in memory.
            announce: whether their events are stored, and so sent to channels; not useful for old feedback.
            historical: whether another system accepted them before. The rules of the policy do not apply then,
                except a limit of 10,000 characters for comments, and receipts have what the rules find. The
                idempotency key of an import is a digest of the content, so that what has it is a duplicate.

        Raises:
            StorageError: a write failed. Submissions with idempotency keys may be submitted again: what is stored is a
                duplicate then.
        """
        checked: list[tuple[_Prepared | FeedbackRejected, MiddlewareChain]] = []
        for submission in submissions:
            chain = MiddlewareChain(self._middleware)
            try:
                checked.append((self._prepare(submission, chain, announce=announce, historical=historical), chain))
            except FeedbackRejected as error:
                checked.append((error, chain))
            except Exception as error:
                for one in (*(before for _, before in checked), chain):
                    one.failed(error)
                raise
        outcomes = self._add_many([one.item for one, _ in checked if isinstance(one, _Prepared)], announce=announce)
        remaining = map(_by_import_key, outcomes) if historical else iter(outcomes)
        results = [
            self._result(one, next(remaining), chain) if isinstance(one, _Prepared) else _fail(one, chain)
            for one, chain in checked
        ]
        for result in results:
            if not isinstance(result, Receipt | FeedbackRejected):
                raise result
        return [result for result in results if isinstance(result, Receipt | FeedbackRejected)]

    def check_many(
        self, submissions: Iterable[Submission], *, historical: bool = False
    ) -> list[tuple[Violation, ...] | FeedbackRejected]:
        """Check many submissions like :meth:`submit_many`, without middleware, and store and count nothing.

        The result of a refused one is its error; that of any other is what rules find that were not applied.
        """
        policy = self._policy_for_historical if historical else self._policy

        def check(submission: Submission) -> tuple[Violation, ...] | FeedbackRejected:
            if violations := policy.oversized(submission):
                return FeedbackRejected(violations)
            clean = self._sanitize(submission)
            if violations := policy.judge(clean).violations:
                return FeedbackRejected(violations)
            return self._policy.broken_rules(clean) if historical else ()

        return [check(one) for one in submissions]

    def restore(self, feedback: Sequence[Feedback | tuple[Feedback, str]]) -> Sequence[Outcome]:
        """Store feedback of another storage unchanged: with its ids, versions and revisions, and without events.

        With more than 32 MB of extras, it is stored in several writes, one after the other.

        Args:
            feedback: the entries, or pairs of an entry and its extras; at most a few thousand.

        Raises:
            FeedbackRejected: an entry is not well-formed; nothing was stored.
            StorageError: a write failed; what earlier ones stored stays. Restoring it again changes nothing.
        """
        pairs = [one if isinstance(one, tuple) else (one, "") for one in feedback]
        for one, extras in pairs:
            if violations := tuple(restore_violations(one, extras)):
                raise FeedbackRejected(violations)
        items = [Accepted(one, extras=extras) for one, extras in pairs]
        return [outcome for batch in batches(items) for outcome in self._repository.add(batch)]

    # --- Voting ------------------------------------------------------------------------------------------------------

    def set_vote(
        self,
        target: Target,
        author: str,
        rating: RatingValue | None,
        comment: str = "",
        *,
        check: Check | None = None,
        **keywords: Unpack[VoteKeywords],
    ) -> Receipt:
        """Set the author's one vote on a session or message; an earlier vote becomes a revision of it.

        A new rating drops the old tags and the old reply, and may get a new reply. Another agent also drops the reply
        and the moderator's reason. Setting the same vote again changes nothing and returns a duplicate; setting a
        withdrawn vote again restores it.

        Args:
            target: the session or message, and the agent.
            author: the person who votes, as an opaque id.
            rating: ``"up"``, ``"down"`` or ``None`` for neutral.
            comment: the text.
            check: called with the earlier vote before it is replaced, see :meth:`change`.
            keywords: see :class:`harken.services.feedback.keywords.VoteKeywords`.

        Raises what :meth:`submit` raises.
        """
        check_keywords(keywords, VoteKeywords)
        submission = build_submission(
            target, rating, comment, keywords, application=self._application, author=author, vote=True
        )
        return self._submit(submission, check)

    def votes(self, application: str, session_id: str, author: str) -> list[Feedback]:
        """The votes of an author in a session that are not withdrawn, oldest first, in any moderation status.

        Raises:
            FeedbackRejected: there is no author.
        """
        return self._voting.of_author(application, session_id, author)

    def withdraw_vote(
        self, application: str, session_id: str, message_id: str | None, author: str, *, check: Check | None = None
    ) -> Feedback | None:
        """Withdraw an author's vote on a message; ``None`` if there is none, also if it is withdrawn already.

        ``check`` may refuse that, see :meth:`change`.

        Raises:
            FeedbackRejected: there is no author.
        """
        votes = self._voting.of_author(application, session_id, author)
        vote = next((vote for vote in votes if vote.message_id == message_id), None)
        return vote and self.withdraw(application, vote.id, check=check)

    # --- Changing ----------------------------------------------------------------------------------------------------

    def change(
        self,
        application: str,
        feedback_id: str,
        change: Change,
        *,
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Change the content of feedback. The whole entry is checked again, and the old content becomes a revision.

        There is no limit to the number of changes: the first revision and the latest 99 are stored. Feedback without a
        reply may get one. A change to the same content stores nothing and returns the feedback.

        Args:
            application: the application that the feedback belongs to.
            feedback_id: the id of the feedback.
            change: the parts to change.
            expected_version: the version that the author saw; ``None`` to change any version.
            check: called with the stored feedback right before the change, even if another thread or process changes
                it at the same time. An error that it raises is raised, and nothing is changed.

        Raises:
            FeedbackNotFound: the feedback does not exist.
            FeedbackWithdrawn: it is withdrawn.
            FeedbackRejected: the changed feedback would break rules.
            StaleFeedback: it has another version than expected.
        """
        by_policy = Moderation()

        def edit(current: Feedback) -> Feedback:
            nonlocal by_policy
            _check_version(current, expected_version)
            _check_not_withdrawn(current)
            wanted = change.applied_to(current)
            if wanted.comment != current.comment:
                wanted = evolve(self._clean(wanted, self._policy), sentiment=None)
            by_policy = self._apply_policy(wanted, self._policy)
            return self._apply_change(current, wanted, by_policy)

        updated = self._editor.update(application, feedback_id, edit, EventType.UPDATED, check=check)
        if updated.changed:
            self._count_if_held(application, by_policy)
            if self._replying:
                self._replying.ask(updated.feedback)
        return updated.feedback

    def withdraw(self, application: str, feedback_id: str, *, check: Check | None = None) -> Feedback:
        """Withdraw feedback for its author: it is no longer counted. Withdrawing it again changes nothing.

        ``check`` may refuse that, see :meth:`change`.

        Raises:
            FeedbackNotFound: the feedback does not exist.
        """

        def edit(current: Feedback) -> Feedback:
            return current if current.withdrawn else current.withdraw(at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.WITHDRAWN, check=check).feedback

    def reply(self, application: str, feedback_id: str, text: str | None) -> Feedback:
        """Set the reply to the submitter, or remove it with ``None``.

        Raises:
            FeedbackNotFound: the feedback does not exist.
            FeedbackWithdrawn: it is withdrawn.
            FeedbackRejected: the reply is not text that every storage can store.
        """
        if text is not None and (problem := long_text_problem("reply", text)):
            raise FeedbackRejected([problem])

        def edit(current: Feedback) -> Feedback:
            _check_not_withdrawn(current)
            return current if current.reply == text else current.answered(text, at=self._clock())

        return self._editor.update(application, feedback_id, edit, EventType.UPDATED).feedback

    def erase(self, query: FeedbackQuery, *, limit: int | None = None) -> Erased:
        """Remove the matching feedback permanently, with revisions, deliveries, alerts and statistics.

        A query that names only a session, or an author, erases all of its feedback, with the conversation and the
        metadata of the session; see :meth:`Eraser.erase`. Any other query matches counted feedback only, unless it asks
        for more, such as ``query.in_any_state()``. Without other filters, that erases everything of the application.
        Channels that know of the feedback are notified of the erasure.

        With a ``limit`` of 1 to 1,000, at most as many entries are removed, the oldest.

        Returns the numbers of what was removed, by kind.
        """
        erased = self._eraser.erase(query, limit=limit)
        if self._rule_counts and limit is None and query.is_everything:
            self._rule_counts.erase(query.application)
        if erased.feedback:
            self._editor.notify()
        return erased

    # --- Reading -----------------------------------------------------------------------------------------------------

    def get(self, application: str, feedback_id: str) -> Feedback:
        """The feedback with that id, in any state.

        Raises:
            FeedbackNotFound: the feedback does not exist.
        """
        return get(self._repository, application, feedback_id)

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """The feedback with these ids, in any state, by id; ids without feedback are left out.

        Takes a few thousand ids at most.
        """
        if text_problem("application", application):
            return {}
        # No stored feedback has an id that is not valid.
        valid = [one for one in feedback_ids if text_problem("id", one) is None]
        return self._repository.get_many(application, valid)

    def find(
        self, query: FeedbackQuery, *, limit: int = 100, after: Cursor | None = None, order: Order = "newest"
    ) -> Page:
        """A page of at most ``limit`` (1 to 1,000) matching entries, ``"newest"`` or ``"oldest"`` first.

        ``after`` is the ``next`` of the page before, which must have had the same order.

        Raises:
            InvalidQuery: the limit is out of range, or the order is invalid.
        """
        return find(self._repository, query, limit=limit, after=after, order=order)

    def count(self, query: FeedbackQuery, *, limit: int = 10_000) -> int:
        """The number of matching entries, counted up to ``limit``.

        With words to search for, it takes about as long as a page of results, where a summary reads every match.
        """
        return self._repository.count(query, limit=limit)

    def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
        """All matching feedback, oldest first, in constant memory."""
        return self._repository.stream(query)

    def session_entries(self, application: str, session_id: str) -> Iterable[SessionEntry]:
        """What the session shows of its counted feedback, with extras, oldest first.

        On databases it is faster than :meth:`stream`; it may hold all entries in memory.

        Raises:
            InvalidQuery: an argument is not text that a storage can store.
        """
        FeedbackQuery(application=application, session_id=session_id)  # checks both
        return self._repository.session_entries(application, session_id)

    # --- Steps of a submission ---------------------------------------------------------------------------------------

    def _submit(self, submission: Submission, check: Check | None = None) -> Receipt:
        chain = MiddlewareChain(self._middleware)
        try:
            item = self._prepare(submission, chain).item
            receipt = self._receipt(item, self._group_commit.commit(item), check)
        except Exception as error:
            chain.failed(error)
            raise
        chain.succeeded(receipt)
        return receipt

    def _prepare(
        self, original: Submission, chain: MiddlewareChain, *, announce: bool = True, historical: bool = False
    ) -> _Prepared:
        """Take a submission through middleware, text ports and rules."""
        policy = self._policy_for_historical if historical else self._policy
        submission = self._clean(chain.enter(original.enriched()), policy)
        moderation = self._apply_policy(submission, policy)
        waived = self._policy.broken_rules(submission) if historical else ()
        feedback = build_feedback(
            self._add_sentiment(submission),
            moderation,
            feedback_id=self._new_id(),
            fingerprint=fingerprint(original) if submission.idempotency_key is not None else "",
            at=self._clock(),
        )
        if announce:
            feedback = self._add_reply(feedback)
        if submission.extras and (problem := size_problem(feedback, submission.extras)):
            raise self._rejection(submission, [problem])
        events = (Event.about(feedback, EventType.CREATED),) if announce else ()
        return _Prepared(Accepted(feedback, events, submission.extras), waived)

    def _clean(self, submission: Submission, policy: RatingPolicy) -> Submission:
        """The submission with its comment sanitised and trimmed.

        Raises:
            FeedbackRejected: the comment is far too long; sanitising it would take too long.
        """
        if violations := policy.oversized(submission):
            raise self._rejection(submission, violations)
        return self._sanitize(submission)

    def _sanitize(self, submission: Submission) -> Submission:
        if self._sanitizer and isinstance(submission.comment, str):
            clean = self._sanitizer.sanitize(submission.comment)
            if clean != submission.comment:
                submission = evolve(submission, comment=clean)
        return trim_comment(submission)

    def _apply_policy(self, submission: Submission, policy: RatingPolicy) -> Moderation:
        verdict = policy.judge(submission)
        if verdict.violations:
            raise self._rejection(submission, verdict.violations)
        return verdict.moderation

    def _rejection(self, submission: Submission, violations: Sequence[Violation]) -> FeedbackRejected:
        if self._rule_counts:
            self._rule_counts.refused(submission, violations)
        return FeedbackRejected(violations)

    def _count_if_held(self, application: str, moderation: Moderation) -> None:
        """Count stored feedback for the rules that held it."""
        if moderation.held_by and self._rule_counts:
            self._rule_counts.held(application, moderation)

    def _add_sentiment(self, submission: Submission) -> Submission:
        if self._sentiment_analyzer is None or submission.sentiment is not None or not submission.comment:
            return submission
        return evolve(submission, sentiment=self._sentiment_analyzer.analyze(submission.comment))

    def _add_reply(self, feedback: Feedback) -> Feedback:
        """The feedback with the reply of the first matching reply rule, unless it has a reply."""
        if not self._reply_rules or feedback.reply is not None:
            return feedback
        reply = reply_to(self._reply_rules, feedback)
        return feedback if reply is None else evolve(feedback, reply=reply)

    def _receipt(self, item: Accepted, outcome: Outcome, check: Check | None = None) -> Receipt:
        receipt = self._settle(item, outcome, check)
        if not receipt.duplicate:
            self._count_if_held(item.feedback.application, item.feedback.moderation)
        if self._replying and item.events and not receipt.duplicate:
            self._replying.ask(receipt.feedback)
        return receipt

    def _settle(self, item: Accepted, outcome: Outcome, check: Check | None) -> Receipt:
        """The receipt for an outcome of a write; replaces the earlier vote if that is what the write found."""
        match outcome:
            case Stored(feedback):
                return Receipt(feedback)
            case DuplicateOf(feedback):
                return Receipt(feedback, duplicate=True)
            case Conflict(earlier, Taken.VOTE_SLOT):
                revise = self._revise_and_reply if item.events else self._revise
                if receipt := self._voting.replace(earlier, item, revise, check):
                    return receipt
                # The earlier vote was erased meanwhile, so this one is the first.
                (again,) = self._repository.add([item])
                if item.events:
                    self._editor.notify()
                return self._settle(item, again, check)
            case Conflict(other, Taken.IDEMPOTENCY_KEY):
                raise reused_key_error(other.idempotency_key)
            case Conflict(other):
                raise FeedbackRejected([Violation("id", "taken", f"Other feedback has the id {other.id!r}")])

    def _add_many(self, items: Sequence[Accepted], *, announce: bool) -> Sequence[Outcome | Exception]:
        """Write items; the outcome of those that were not written is the error."""
        outcomes: list[Outcome | Exception] = []
        try:
            for batch in batches(items):
                outcomes += self._repository.add(batch)
                if announce:
                    self._editor.notify()
        except Exception as error:  # noqa: BLE001 - raised when the callers of what was written have their results
            outcomes += [error] * (len(items) - len(outcomes))
        return outcomes

    def _result(self, prepared: _Prepared, outcome: Outcome | Exception, chain: MiddlewareChain) -> Receipt | Exception:
        """The receipt, or the error."""
        if isinstance(outcome, Exception):
            return _fail(outcome, chain)
        try:
            receipt = self._receipt(prepared.item, outcome)
        except Exception as error:  # noqa: BLE001 - returned
            return _fail(error, chain)
        if prepared.waived:
            receipt = evolve(receipt, waived=prepared.waived)
        chain.succeeded(receipt)
        return receipt

    # --- Steps of a change -------------------------------------------------------------------------------------------

    def _apply_change(self, current: Feedback, wanted: Submission, moderation: Moderation) -> Feedback:
        """The feedback as its author wants it; ``current`` itself if that is the same."""
        content = build_feedback(
            self._add_sentiment(wanted),
            moderation,
            feedback_id=current.id,
            fingerprint=current.fingerprint,
            at=current.created_at,
        )
        if same_content(current, content):
            return current
        return self._revise_and_reply(current, content)

    def _revise(self, current: Feedback, content: Feedback) -> Feedback:
        return next_version(current, content, at=self._clock())

    def _revise_and_reply(self, current: Feedback, content: Feedback) -> Feedback:
        return self._add_reply(self._revise(current, content))


def _by_import_key(outcome: Outcome | Exception) -> Outcome | Exception:
    """The outcome of historical feedback: what has the key of an import is the same entry, in another form."""
    match outcome:
        case Conflict(other, Taken.IDEMPOTENCY_KEY) if (other.idempotency_key or "").startswith(IMPORT_KEY):
            return DuplicateOf(other)
    return outcome


def _fail(error: Exception, chain: MiddlewareChain) -> Exception:
    chain.failed(error)
    return error


def _check_not_withdrawn(feedback: Feedback) -> None:
    if feedback.withdrawn:
        raise FeedbackWithdrawn(f"Feedback {feedback.id!r} was withdrawn by its author; submit new feedback instead")


def _check_version(feedback: Feedback, expected: int | None) -> None:
    if expected is not None and expected != feedback.version:
        raise StaleFeedback(
            f"Feedback {feedback.id!r} now has version {feedback.version}, not {expected}; read it again"
        )

"""Moderation: the queue, and the decisions of moderators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve, frozen

from harken.domain.errors import (
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    InvalidQuery,
    InvalidTransition,
)
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.moderation import (
    Backlog,
    Decision,
    DecisionConflict,
    Moderation,
    ModerationStatus,
    ResponseTime,
    Waiting,
)
from harken.domain.query import ANY_STATUS, Cursor, FeedbackQuery, Order, Page, check_limit, check_order
from harken.domain.rules import label_problem, long_text_problem, text_problem
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.feedback.backlog import backlog, waits_since
from harken.services.feedback.editing import Check, Editor
from harken.services.finding import find, get, newest, newest_changes, oldest

if TYPE_CHECKING:
    from harken.services.feedback.reviewing import Preview, Review
    from harken.services.feedback.rule_counts import RuleCount, RuleCounts

_T = TypeVar("_T")
#: What became of one of several decisions: the feedback after it, or the error for which nothing was changed.
DecisionResult = Feedback | FeedbackNotFound | FeedbackWithdrawn | FeedbackRejected | InvalidTransition

#: How many entries one call decides at most.
MAX_DECISIONS: Final = 500
#: How much of the queue is read at most to filter or count it by rule.
_READ: Final = 10_000
_MOST_RULES: Final = 50
#: How many changes are searched for decisions at most.
MAX_CHANGES: Final = 10_000
_A_DAY: Final = timedelta(days=1)
_PENDING: Final = frozenset({ModerationStatus.PENDING})
_DECIDED: Final = frozenset({ModerationStatus.APPROVED, ModerationStatus.REJECTED})


@frozen(kw_only=True)
class Decisions:
    """Feedback that moderators approved or rejected, the latest decision first.

    Attributes:
        items: a page of it, with the decisions in ``moderation``.
        next: the cursor of the next page; ``None`` on the last one.
        count: the number of decisions on all pages.
        by_moderator: the number of decisions by moderator, the largest first; ``None`` for unnamed moderators.
        response_time: how long those that were pending had waited; ``None`` if none was.
        is_complete: whether all decisions were found. If not, there were more changes of feedback since then than were
            searched.
    """

    items: tuple[Feedback, ...]
    next: Cursor | None
    count: int
    by_moderator: Mapping[str | None, int]
    response_time: ResponseTime | None
    is_complete: bool


class ModerationService:
    """Lists the moderation queue, and stores decisions.

    Every decision raises ``FeedbackNotFound`` if the feedback does not exist, ``FeedbackWithdrawn`` if it is withdrawn,
    and ``InvalidTransition`` if the status would not change.

    With ``expected_version``, a decision raises ``DecisionConflict`` if the feedback has another version now; the error
    has the decision that was made, by whom and when. A repeated decision is not a conflict: if the same moderator made
    the same decision on this version, and nothing has changed since, the feedback is returned again. Without a version,
    a decision applies to the current one, but does not override or undo the decision of another moderator: that raises
    ``DecisionConflict`` too, if both are named.
    """

    def __init__(
        self,
        repository: FeedbackRepository,
        *,
        clock: Clock,
        editor: Editor | None = None,
        rule_counts: RuleCounts | None = None,
    ) -> None:
        self._repository = repository
        self._rule_counts = rule_counts
        self._clock = clock
        self._editor = editor or Editor(repository)

    def queue(
        self,
        query: FeedbackQuery,
        *,
        limit: int = 100,
        after: Cursor | None = None,
        order: Order = "oldest",
        rule: str | None = None,
    ) -> Page:
        """A page of the pending feedback that matches the query's other filters.

        Args:
            query: the filters.
            limit: the maximum number of entries, from 1 to 1,000.
            after: the ``next`` of the page before, which must have had the same order.
            order: ``"oldest"`` first or ``"newest"`` first, by creation time.
            rule: only feedback that this rule held, see :attr:`Moderation.rules`. A page may then have fewer entries
                than ``limit`` although there are more: one call reads at most 10,000.

        Raises:
            InvalidQuery: the limit or the order is invalid.
        """
        waiting = evolve(query, statuses=_PENDING, withdrawn=False)
        if rule is None:
            return find(self._repository, waiting, limit=limit, after=after, order=order)
        check_limit(limit)
        check_order(order)
        entries = (oldest if order == "oldest" else newest)(self._repository, waiting, after=after)
        return _page(entries, limit, rule)

    def waiting(self, query: FeedbackQuery, *, rule: str | None = None) -> Waiting:
        """How much pending feedback matches the query's other filters, since when the oldest one waits, and why."""
        waiting = evolve(query, statuses=_PENDING, withdrawn=False)
        read = list(islice(self._repository.stream(waiting), _READ + 1))
        is_complete = len(read) <= _READ
        found = [one for one in read[:_READ] if rule is None or rule in one.moderation.rules]
        count = len(found)
        if rule is None and not is_complete:
            count = sum(summary.total for summary in self._repository.summarize(waiting).values())
        by_rule = Counter(name for one in found for name in one.moderation.rules)
        since = min(map(waits_since, found), default=None)
        return Waiting(count, since, dict(by_rule.most_common(_MOST_RULES)), is_complete)

    def review(self, query: FeedbackQuery, feedback_id: str) -> Review:
        """What a moderator needs to know about feedback: its author's record, similar texts, the effect of an approval.

        All of it is within the feedback that matches the query's filters, except those on state.

        Raises:
            FeedbackNotFound: the feedback does not exist.
        """
        from harken.services.feedback.reviewing import review  # noqa: PLC0415 - keeps `import harken` light

        return review(self._repository, query, get(self._repository, query.application, feedback_id))

    def preview(
        self,
        query: FeedbackQuery,
        versions: Mapping[str, int],
        status: ModerationStatus | str,
        *,
        check: Check | None = None,
    ) -> Preview:
        """What decisions on several entries would do, without making them.

        Args:
            query: what the effect is computed for: the feedback that matches these filters, except those on state.
            versions: the versions that the moderator saw, by feedback id; at most 500.
            status: the status that they would get.
            check: called with each entry; one for which it raises ``FeedbackNotFound`` is left out.

        Raises:
            InvalidQuery: there are too many entries.
            InvalidTransition: the status does not exist.
        """
        from harken.services.feedback.reviewing import Entry, Preview, effect  # noqa: PLC0415 - as above

        _check_number(versions)
        # No stored feedback has an id that is not valid.
        valid = [key for key in versions if text_problem("id", key) is None]
        stored = self._repository.get_many(query.application, valid)
        seen = [one for key, version in versions.items() if (one := stored.get(key)) and one.version == version]
        open_ = tuple(one for one in seen if not one.withdrawn and _passes(check, one))
        return Preview(tuple(map(Entry.of, open_)), effect(self._repository, query, open_, _status(status)))

    def rule_counts(self, application: str, *, days: int = 7) -> Sequence[RuleCount]:
        """How often each rule refused and held feedback in the last days (1 to 31, with today), by UTC day.

        The largest count comes first. The counts of other processes may be five seconds old.

        Raises:
            InvalidQuery: the number of days is out of range.
        """
        return self._rule_counts.counts(application, days=days) if self._rule_counts else ()

    def decisions(
        self,
        query: FeedbackQuery,
        *,
        since: datetime | None = None,
        statuses: frozenset[ModerationStatus] = _DECIDED,
        limit: int = 100,
        after: Cursor | None = None,
        searched: int = MAX_CHANGES,
    ) -> Decisions:
        """The feedback that moderators approved or rejected since a time, the latest decision first.

        Of each entry only the last decision is stored, so undone decisions are not listed.

        Args:
            query: the filters, of which those on state do not matter. Its ``since`` is about the creation time.
            since: the earliest time of a decision; by default, 24 hours ago.
            statuses: which decisions to list.
            limit: the maximum number of entries of the page, from 1 to 1,000.
            after: the ``next`` of the page before.
            searched: how many of the newest changes of feedback are searched, at most 10,000.

        Raises:
            InvalidQuery: the limit is out of range.
        """
        check_limit(limit)
        searched = min(searched, MAX_CHANGES)
        query = evolve(query, statuses=statuses & _DECIDED, withdrawn=None)
        now = self._clock()
        start = now - _A_DAY if since is None else since
        # Each decision is a change, so those since then are among the changes since then.
        changes = newest_changes(self._repository, query.application, since=start, now=now, limit=searched)
        decided = {_place(one): one for one in changes if query.matches(one) and _was_decided(one, start)}
        places = sorted(decided, reverse=True)
        rest = [place for place in places if after is None or place < after]
        moderators = Counter(one.moderation.moderator for one in decided.values())
        return Decisions(
            items=tuple(decided[place] for place in rest[:limit]),
            next=rest[limit - 1] if len(rest) > limit else None,
            count=len(decided),
            by_moderator=dict(moderators.most_common()),
            response_time=ResponseTime.of(wait for one in decided.values() if (wait := _waited(one)) is not None),
            is_complete=len(changes) < searched,
        )

    def applications(self) -> Sequence[str]:
        """The applications that have feedback, in any state, sorted by code point."""
        return self._repository.applications()

    def backlog(self, application: str) -> Backlog:
        """The size of an application's queue, and since when its oldest entry waits.

        An entry waits since its author submitted or last changed it, or since a moderator held it. A decision that was
        undone does not matter.
        """
        return backlog(self._repository, application)

    def response_time(self, query: FeedbackQuery) -> ResponseTime | None:
        """How long matching feedback waited for a decision, from its submission or last change on.

        Only decisions about pending feedback count, and of each entry only the last decision. The newest 20,000 entries
        are read, in any status. ``None`` without such decisions.
        """
        everything = evolve(query, statuses=ANY_STATUS)
        waits = map(_waited, newest(self._repository, everything))
        return ResponseTime.of(wait for wait in waits if wait is not None)

    def decide(
        self,
        application: str,
        feedback_id: str,
        status: ModerationStatus | str,
        *,
        moderator: str | None = None,
        reason: str = "",
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Approve, reject or hold feedback.

        ``check`` is called with the stored feedback right before the decision, even if another thread or process
        changes it at the same time. An error that it raises is raised, and nothing is changed.

        Also raises ``FeedbackRejected`` if the moderator or the reason is not text that every storage can store.
        """
        _check(moderator, reason)
        wanted = _status(status)

        def decision(current: Feedback, at: datetime) -> Moderation:
            if expected_version is None and current.moderation.overridden_by(moderator):
                raise _conflict(current)
            return current.moderation.decide(wanted, at=at, moderator=moderator, reason=reason)

        def is_repeated(made: Moderation) -> bool:
            return (made.status, made.moderator, made.reason, made.is_undo) == (wanted, moderator, reason, False)

        return self._moderate(
            application,
            feedback_id,
            decision,
            is_repeated=is_repeated,
            expected_version=expected_version,
            check=check,
        )

    def decide_many(
        self,
        application: str,
        decisions: Sequence[Decision],
        *,
        moderator: str | None = None,
        check: Check | None = None,
    ) -> list[DecisionResult]:
        """Decide on several entries, each on its own, like :meth:`decide` with a version.

        Returns for each decision, in the same order, the feedback after it, or the error for which nothing was changed.
        If the storage fails, the decisions so far are stored. The call can be repeated: decisions that it has made
        already return the feedback again.

        Raises:
            InvalidQuery: there are more than 500 decisions, or two on the same entry.
            FeedbackRejected: the moderator or a reason is not text that every storage can store; nothing was changed.
            StorageError: the storage failed.
        """
        _check_number([one.feedback_id for one in decisions])
        for one in decisions:
            _check(moderator, one.reason)

        def decide(one: Decision) -> Feedback:
            return self.decide(
                application,
                one.feedback_id,
                one.status,
                moderator=moderator,
                reason=one.reason,
                expected_version=one.version,
                check=check,
            )

        return [_result(decide, one) for one in decisions]

    def undo(
        self,
        application: str,
        feedback_id: str,
        *,
        moderator: str | None = None,
        expected_version: int | None = None,
        check: Check | None = None,
    ) -> Feedback:
        """Restore the status before the last decision.

        Another moderator's decision is undone only with ``expected_version``, or if one of the two is not named.
        ``check`` and ``FeedbackRejected`` are those of :meth:`decide`.
        """
        _check(moderator)

        def decision(current: Feedback, at: datetime) -> Moderation:
            if expected_version is None and current.moderation.decided_by_another(moderator):
                raise _conflict(current)
            return current.moderation.undo(at=at, moderator=moderator)

        def is_repeated(made: Moderation) -> bool:
            return made.is_undo and made.moderator == moderator

        return self._moderate(
            application,
            feedback_id,
            decision,
            is_repeated=is_repeated,
            expected_version=expected_version,
            check=check,
        )

    def undo_many(
        self,
        application: str,
        versions: Mapping[str, int],
        *,
        moderator: str | None = None,
        check: Check | None = None,
    ) -> list[DecisionResult]:
        """Undo the last decisions on several entries, given the versions that the moderator saw, by feedback id.

        Returns what :meth:`decide_many` returns, which raises the same.
        """
        _check_number(versions)
        _check(moderator)

        def undo(one: tuple[str, int]) -> Feedback:
            feedback_id, version = one
            return self.undo(application, feedback_id, moderator=moderator, expected_version=version, check=check)

        return [_result(undo, one) for one in versions.items()]

    def _moderate(
        self,
        application: str,
        feedback_id: str,
        decision: Callable[[Feedback, datetime], Moderation],
        *,
        is_repeated: Callable[[Moderation], bool],
        expected_version: int | None,
        check: Check | None,
    ) -> Feedback:
        first_read: Moderation | None = None

        def edit(current: Feedback) -> Feedback:
            nonlocal first_read
            if current.withdrawn:
                raise FeedbackWithdrawn(f"Feedback {feedback_id!r} was withdrawn by its author")
            if _is_next_decision(current, expected_version) and is_repeated(current.moderation):
                return current
            first_read = first_read or current.moderation
            # Not the first attempt: another moderator's decision in between must not be overridden.
            decided_meanwhile = current.moderation != first_read
            if decided_meanwhile or expected_version not in (None, current.version):
                raise _conflict(current)
            at = self._clock()
            return current.moderated(decision(current, at), at=at)

        return self._editor.update(application, feedback_id, edit, EventType.MODERATED, check=check).feedback


def _waited(feedback: Feedback) -> timedelta | None:
    """How long feedback was pending before the last decision; ``None`` if it was not decided, or not pending."""
    decided_at = feedback.moderation.decided_at
    if decided_at is None or feedback.moderation.previous is not ModerationStatus.PENDING:
        return None
    changes = (one.replaced_at for one in feedback.revisions if one.replaced_at <= decided_at)
    return max(decided_at - max([feedback.created_at, *changes]), timedelta())


def _is_next_decision(current: Feedback, version: int | None) -> bool:
    """Whether the only change since that version is the decision that is stored; false without a version."""
    if version is None or current.version != version + 1:
        return False
    # Only a decision has the time of the change. If clocks differ, it may have another: then this is false.
    return current.moderation.decided_at == current.updated_at


def _page(entries: Iterator[Feedback], limit: int, rule: str) -> Page:
    """A page of the entries that a rule held, among at most 10,000."""
    found: list[Feedback] = []
    last: Feedback | None = None
    for number, one in enumerate(entries):
        if last is not None and (number == _READ or len(found) == limit):
            return Page(tuple(found), Cursor.of(last))
        last = one
        if rule in one.moderation.rules:
            found.append(one)
    return Page(tuple(found))


def _was_decided(feedback: Feedback, since: datetime) -> bool:
    moderation = feedback.moderation
    return moderation.decided_at is not None and moderation.decided_at >= since and not moderation.is_undo


def _place(feedback: Feedback) -> Cursor:
    """The place of a decision in the list of decisions."""
    return Cursor(feedback.moderation.decided_at or feedback.updated_at, feedback.id)


def _passes(check: Check | None, feedback: Feedback) -> bool:
    try:
        if check is not None:
            check(feedback)
    except FeedbackNotFound:
        return False
    return True


def _result(decide: Callable[[_T], Feedback], item: _T) -> DecisionResult:
    try:
        return decide(item)
    except (FeedbackNotFound, FeedbackWithdrawn, FeedbackRejected, InvalidTransition) as error:
        return error


def _check_number(ids: Collection[str]) -> None:
    if len(ids) > MAX_DECISIONS:
        raise InvalidQuery(f"At most {MAX_DECISIONS} entries can be decided at once, got {len(ids):,}")
    if len(set(ids)) < len(ids):
        raise InvalidQuery("There are two decisions on the same entry; expected one on each")


def _conflict(current: Feedback) -> DecisionConflict:
    return DecisionConflict(current.id, current.version, current.moderation)


def _status(value: ModerationStatus | str) -> ModerationStatus:
    try:
        return ModerationStatus(value)
    except ValueError:
        raise InvalidTransition(f"A status is 'pending', 'approved' or 'rejected', not {value!r}") from None


def _check(moderator: str | None, reason: str = "") -> None:
    problems = (moderator is not None and label_problem("moderator", moderator), long_text_problem("reason", reason))
    if violations := [problem for problem in problems if problem]:
        raise FeedbackRejected(violations)

"""Votes: feedback of which an author has one for each target. A new vote replaces the earlier one."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from harken.domain.errors import FeedbackNotFound, FeedbackRejected, IdempotencyConflict
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.history import limit_history
from harken.domain.query import ANY_STATUS, FeedbackQuery
from harken.domain.rules import NO_AUTHOR
from harken.domain.violation import Violation
from harken.ports.repository import Accepted, FeedbackRepository
from harken.services.feedback.editing import Check, Editor
from harken.services.feedback.receipt import Receipt
from harken.services.feedback.revising import same_content

#: Returns the first feedback with the content of the second one, as a new version.
Revise = Callable[[Feedback, Feedback], Feedback]


class Voting:
    """Finds votes, and replaces them."""

    def __init__(self, repository: FeedbackRepository, editor: Editor) -> None:
        self._repository = repository
        self._editor = editor

    def of_author(self, application: str, session_id: str, author: str) -> list[Feedback]:
        """The votes of an author in a session that are not withdrawn, oldest first, in any moderation status.

        Raises:
            FeedbackRejected: there is no author. A query without one would find the votes of all authors.
        """
        if author is None:
            raise FeedbackRejected([NO_AUTHOR])
        query = FeedbackQuery(application=application, session_id=session_id, author=author, statuses=ANY_STATUS)
        # A list: a storage may hold a lock as long as its stream is open.
        return [feedback for feedback in self._repository.stream(query) if feedback.vote]

    def replace(self, earlier: Feedback, item: Accepted, revise: Revise, check: Check | None) -> Receipt | None:
        """Replace an author's earlier vote; ``None`` if it was erased meanwhile.

        Without events in ``item``, the change has none either. The receipt is a duplicate if nothing was changed.

        Raises:
            IdempotencyConflict: another vote was cast under the same idempotency key.
        """

        def edit(current: Feedback) -> Feedback:
            agent_id = item.feedback.agent_id or current.agent_id
            vote = evolve(item.feedback, target=evolve(item.feedback.target, agent_id=agent_id))
            if _was_cast(current, vote) or (not current.withdrawn and same_content(current, vote)):
                return current
            revised = revise(current, vote)
            if vote.idempotency_key is None:
                return revised
            return limit_history(
                evolve(revised, later_keys=(*current.later_keys, (vote.idempotency_key, vote.fingerprint)))
            )

        event = EventType.UPDATED if item.events else None
        try:
            updated = self._editor.update(earlier.application, earlier.id, edit, event, check=check)
        except FeedbackNotFound:
            return None
        return Receipt(updated.feedback, duplicate=not updated.changed)


def reused_key_error(key: str | None) -> IdempotencyConflict:
    """The error for an idempotency key that is used again with another body."""
    message = (
        f"The idempotency key {key!r} was used before in this session, with another body; "
        "use a new key for new feedback"
    )
    return IdempotencyConflict([Violation("idempotency_key", "reused", message)])


def _was_cast(feedback: Feedback, vote: Feedback) -> bool:
    """Whether the same vote was cast before, even if another one has replaced it since.

    Raises:
        IdempotencyConflict: another vote was cast under its idempotency key.
    """
    fingerprint = dict(feedback.later_keys).get(vote.idempotency_key or "")
    if fingerprint not in (None, vote.fingerprint):
        raise reused_key_error(vote.idempotency_key)
    return fingerprint is not None

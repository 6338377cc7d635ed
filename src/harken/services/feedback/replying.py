"""Replies from a responder, such as a language model, which is called in the background."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from harken.domain.errors import FeedbackNotFound, StorageClosed, StorageError
from harken.domain.events import EventType
from harken.domain.feedback import Feedback, Rating
from harken.domain.replies import reply_problem
from harken.ports.repository import FeedbackRepository
from harken.ports.responder import Responder
from harken.ports.time import Clock
from harken.services.background import Background
from harken.services.feedback.editing import Editor
from harken.services.finding import get

logger = logging.getLogger(__name__)

#: For how many seconds :meth:`Replying.close` waits for a responder that is running.
PATIENCE: Final = 1.0


class Replying:
    """Asks a responder about counted thumbs-downs that have no reply, and stores its replies.

    The feedback is read again before the responder is called, so erased or withdrawn feedback is skipped. The reply is
    stored as an update, with an event, unless the feedback was changed, withdrawn, held or replied to meanwhile.
    Submitters neither wait for a reply nor get its errors, which are logged.
    """

    def __init__(
        self,
        repository: FeedbackRepository,
        responder: Responder,
        *,
        clock: Clock,
        editor: Editor,
        threads: int = 2,
        max_waiting: int = 1_000,
    ) -> None:
        self._repository = repository
        self._responder = responder
        self._clock = clock
        self._editor = editor
        self._background = Background("harken-replying", threads=threads, max_waiting=max_waiting)

    def ask(self, feedback: Feedback) -> None:
        """Call the responder later, if the feedback needs a reply. Does not block and raises nothing."""
        if _needs_reply(feedback):
            # Only the id waits here, so content that is erased meanwhile is not sent to the responder.
            self._background.soon(partial(self._reply, feedback.application, feedback.id))

    def close(self) -> None:
        """Drop the waiting jobs, and wait up to a second for the running ones. May be called twice."""
        self._background.close(PATIENCE)

    def _reply(self, application: str, feedback_id: str) -> None:
        try:
            asked = get(self._repository, application, feedback_id)
            if not _needs_reply(asked):
                return
            reply = self._answer(asked)
            if reply is not None:
                self._store(asked, reply)
        except FeedbackNotFound:
            # It was erased meanwhile.
            return
        except StorageClosed:
            logger.warning("Feedback %s gets no reply: Harken was closed", feedback_id)
        except StorageError as error:
            logger.warning("Feedback %s gets no reply: %s", feedback_id, error)

    def _answer(self, feedback: Feedback) -> str | None:
        """The responder's reply, if it is valid."""
        try:
            reply = self._responder(feedback)
        except Exception:
            logger.exception("The responder failed on feedback %s", feedback.id)
            return None
        if reply is not None and (problem := reply_problem(reply)):
            logger.warning("The responder's reply to feedback %s is invalid: %s", feedback.id, problem.message)
            return None
        return reply

    def _store(self, asked: Feedback, reply: str) -> None:
        def edit(current: Feedback) -> Feedback:
            if not _needs_reply(current) or current.revisions[-1:] != asked.revisions[-1:]:
                return current
            return current.answered(reply, at=self._clock())

        self._editor.update(asked.application, asked.id, edit, EventType.UPDATED)


def _needs_reply(feedback: Feedback) -> bool:
    return feedback.rating is Rating.DOWN and feedback.reply is None and feedback.is_counted

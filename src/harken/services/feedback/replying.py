"""Replies that take their time: somebody, such as a model, is asked in the background, and the answer is stored."""

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
from harken.services.feedback.background import Background
from harken.services.feedback.editing import Editor, get

logger = logging.getLogger(__name__)

#: For how many seconds :meth:`Replying.close` waits for answers that are being thought of.
PATIENCE: Final = 1.0


class Replying:
    """Asks a responder about downs that count and have no reply, and stores what it answers.

    Only what still stands when its turn comes is asked about, as it reads then. The answer is stored as an update, so
    whoever listens is told, unless its author has changed or withdrawn it meanwhile, somebody else has answered, or a
    moderator held it. Nobody who submits waits for any of this, or hears of it when it fails.
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
        """Ask the responder soon, if it is to be asked about such feedback. Takes no time and raises nothing."""
        if _wants_reply(feedback):
            # Only what it is called: nobody's words wait here, so nothing that is erased meanwhile goes out.
            self._background.soon(partial(self._reply, feedback.application, feedback.id))

    def close(self) -> None:
        """Ask no more, drop what waits, and wait a moment for what was asked. Closing twice is harmless."""
        self._background.close(PATIENCE)

    def _reply(self, application: str, feedback_id: str) -> None:
        try:
            asked = get(self._repository, application, feedback_id)
            if not _wants_reply(asked):
                return
            reply = self._answer(asked)
            if reply is not None:
                self._store(asked, reply)
        except FeedbackNotFound:
            # It was erased, and so was the wish for an answer.
            return
        except StorageClosed:
            logger.warning("Feedback %s gets no reply: Harken was closed meanwhile", feedback_id)
        except StorageError as error:
            logger.warning("Feedback %s gets no reply just now: %s", feedback_id, error)

    def _answer(self, feedback: Feedback) -> str | None:
        """What the responder says, if it can be used."""
        try:
            reply = self._responder(feedback)
        except Exception:
            logger.exception("The responder failed on feedback %s", feedback.id)
            return None
        if reply is not None and (problem := reply_problem(reply)):
            logger.warning("The responder's reply to feedback %s cannot be used: %s", feedback.id, problem.message)
            return None
        return reply

    def _store(self, asked: Feedback, reply: str) -> None:
        def edit(current: Feedback) -> Feedback:
            if not _wants_reply(current) or current.revisions[-1:] != asked.revisions[-1:]:
                return current
            return current.answered(reply, at=self._clock())

        self._editor.update(asked.application, asked.id, edit, EventType.UPDATED)


def _wants_reply(feedback: Feedback) -> bool:
    return feedback.rating is Rating.DOWN and feedback.reply is None and feedback.is_counted

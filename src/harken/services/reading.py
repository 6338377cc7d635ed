"""Reading feedback right before it is sent, at a small cost where several threads send."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock

from harken.domain.errors import FeedbackNotFound, StorageError
from harken.domain.feedback import Feedback
from harken.ports.repository import FeedbackRepository


class SharedReads:
    """Reads feedback for threads that ask at the same time in one call to the storage.

    Threads that ask while a read is under way share the next one, so each gets the feedback as it is after it asked.
    Where a call takes much longer than what it reads, as over a network, they share its cost.
    """

    def __init__(self, repository: FeedbackRepository) -> None:
        self._repository = repository
        self._reading = Lock()
        self._asked: list[_Asked] = []

    def get(self, application: str, feedback_id: str) -> Feedback | None:
        """That feedback as it is now; ``None`` if there is none.

        Raises:
            StorageError: the storage failed.
        """
        asked = _Asked(application, feedback_id)
        self._asked.append(asked)
        with self._reading:
            if not asked.answered:
                taken, self._asked = self._asked, []
                # Whoever took it may have been interrupted before it was answered.
                self._answer(taken if asked in taken else [*taken, asked])
        if asked.error is not None:
            raise asked.error
        return asked.found

    def _answer(self, asked: list[_Asked]) -> None:
        if len(asked) == 1:
            self._answer_one(asked[0])
            return
        by_application: defaultdict[str, list[_Asked]] = defaultdict(list)
        for one in asked:
            by_application[one.application].append(one)
        for application, some in by_application.items():
            try:
                found = self._repository.get_many(application, {one.feedback_id for one in some})
            except StorageError as error:
                for one in some:
                    one.answer(error=error)
            else:
                for one in some:
                    one.answer(found.get(one.feedback_id))

    def _answer_one(self, asked: _Asked) -> None:
        try:
            asked.answer(self._repository.get(asked.application, asked.feedback_id))
        except FeedbackNotFound:
            asked.answer()
        except StorageError as error:
            asked.answer(error=error)


class _Asked:
    """What a thread asked for, and the answer."""

    def __init__(self, application: str, feedback_id: str) -> None:
        self.application = application
        self.feedback_id = feedback_id
        self.answered = False
        self.found: Feedback | None = None
        self.error: StorageError | None = None

    def answer(self, found: Feedback | None = None, *, error: StorageError | None = None) -> None:
        """Answer it."""
        self.found, self.error = found, error
        self.answered = True

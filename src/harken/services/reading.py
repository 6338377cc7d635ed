"""Reading feedback right before it is sent, at a small cost where several threads send."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from time import perf_counter
from typing import Final

from harken.domain.errors import StorageError
from harken.domain.feedback import Feedback
from harken.ports.repository import FeedbackRepository

#: A read that takes fewer seconds than this is not worth sharing.
_CHEAP: Final = 0.0002
#: For how many seconds at most a thread that asks waits for others that are about to ask.
_GATHERING: Final = 0.002


class SharedReads:
    """Reads feedback for threads that send at the same time in one call to the storage.

    Nobody gets what was read before they asked. Where a call takes long whatever it reads, as over a network, the first
    to ask waits a moment for the others.
    """

    def __init__(self, repository: FeedbackRepository, *, gathering: float = _GATHERING) -> None:
        self._repository = repository
        self._gathering = gathering
        self._changed = Condition()
        self._asking: list[_Asked] = []
        self._threads = 0
        #: How many seconds the last call to the storage took.
        self._took = 0.0

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While the context lasts, this thread asks again and again."""
        with self._changed:
            self._threads += 1
        try:
            yield
        finally:
            with self._changed:
                self._threads -= 1
                # One fewer to wait for.
                self._changed.notify_all()

    def get(self, application: str, feedback_id: str) -> Feedback | None:
        """That feedback as it is now; ``None`` if there is none.

        Raises:
            StorageError: the storage failed.
        """
        asked = _Asked(application, feedback_id)
        if self._took < _CHEAP:
            self._read([asked])
            return asked.answer()
        with self._changed:
            self._asking.append(asked)
            self._changed.notify_all()
            self._changed.wait_for(lambda: asked.taken or len(self._asking) >= self._threads, self._gathering)
            if asked.taken:
                self._changed.wait_for(lambda: asked.answered)
                return asked.answer()
            together, self._asking = self._asking, []
            for one in together:
                one.taken = True
        try:
            self._read(together)
        finally:
            with self._changed:
                for one in together:
                    one.answered = True
                self._changed.notify_all()
        return asked.answer()

    def _read(self, together: Sequence[_Asked]) -> None:
        """Read what these ask for, an application at a time."""
        by_application: defaultdict[str, list[_Asked]] = defaultdict(list)
        for one in together:
            by_application[one.application].append(one)
        for application, some in by_application.items():
            began = perf_counter()
            try:
                found = self._repository.get_many(application, {one.feedback_id for one in some})
            except StorageError as error:
                for one in some:
                    one.error = error
            else:
                self._took = perf_counter() - began
                for one in some:
                    one.found, one.error = found.get(one.feedback_id), None


class _Asked:
    """What a thread asked for, and the answer."""

    def __init__(self, application: str, feedback_id: str) -> None:
        self.application = application
        self.feedback_id = feedback_id
        self.taken = False
        self.answered = False
        self.found: Feedback | None = None
        self.error: StorageError | None = StorageError("The thread that was to read this was interrupted; try again")

    def answer(self) -> Feedback | None:
        """What was found."""
        if self.error is not None:
            raise self.error
        return self.found

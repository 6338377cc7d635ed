"""Erasing feedback permanently, with everything else that is stored about its session, author or application."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Final

from harken.domain.erasure import Erased
from harken.domain.errors import InvalidQuery
from harken.domain.feedback import session_author
from harken.domain.query import FeedbackQuery
from harken.ports.conversations import SESSION_RECORD, ConversationRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import SessionRepository
from harken.ports.state import StateRepository
from harken.ports.time import Clock
from harken.services.erasures import Erasures

#: How many seconds a relay may send what it has read from the storage. It reads again what its own process changes.
FRESH: Final = 0.05


class Eraser:
    """Removes feedback, and everything else that is stored about the same session, author or application."""

    def __init__(
        self,
        repository: FeedbackRepository,
        sessions: SessionRepository,
        conversations: ConversationRepository,
        erasures: Erasures,
        state: StateRepository,
        *,
        clock: Clock,
        pause: Callable[[float], object] = sleep,
    ) -> None:
        self._repository = repository
        self._sessions = sessions
        self._conversations = conversations
        self._erasures = erasures
        self._state = state
        self._clock = clock
        self._pause = pause

    def erase(self, query: FeedbackQuery, *, limit: int | None = None) -> Erased:
        """Remove the matching feedback permanently, and return the numbers of what was removed, by kind.

        A query that names only a session, or an author, erases all of its feedback, in any state. A session's
        conversation, with the state of its agents, and its metadata are removed too; for an author, this is done for
        the sessions in which only this author gave feedback. Feedback that an agent gave in the name of a session does
        not count as another author's.

        A query for everything of an application, in any state, also removes the conversations and the metadata of all
        its sessions, and the records of its imports.

        With a ``limit`` of 1 to 1,000, at most as many entries are removed, the oldest, and nothing else of a session.

        Raises:
            InvalidQuery: the query has no condition at all.
        """
        application = query.application
        if query == FeedbackQuery(application=application):
            raise InvalidQuery(
                "This query has no condition, so it would erase the feedback of all sessions; name a session or an "
                "author, or use in_any_state() to erase everything of the application"
            )
        if limit is not None:
            return self._finish(application, self._repository.erase(query, at=self._clock(), limit=limit))
        # The feedback last: if the call is interrupted, a repeated call finds it again.
        if query.is_everything:
            removed = self._erase_sessions(application)
        else:
            query = query.in_any_state() if _selects_all(query) else query
            removed = self._erase_sessions_of(query)
        return self._finish(application, removed + self._repository.erase(query, at=self._clock()))

    def _finish(self, application: str, removed: Erased) -> Erased:
        self._erasures.add(application)
        if removed.deliveries:
            # A relay in another process sends what it read up to FRESH seconds ago; twice that, as sending takes time.
            self._pause(2 * FRESH)
        return removed

    def _erase_sessions(self, application: str) -> Erased:
        """Erase what an application has besides feedback."""
        from harken.services.imports import forget_imports  # noqa: PLC0415 - keeps `import harken` light

        removed = Erased()
        for name, session_id in self._conversations.sessions():
            if name == application:
                removed += self._erase_conversation(application, session_id)
        for name, session_id, _ in self._sessions.stream():
            if name == application:
                removed += Erased(metadata=self._sessions.delete(application, session_id))
        forget_imports(self._state, application)
        return removed

    def _erase_sessions_of(self, query: FeedbackQuery) -> Erased:
        """Erase the sessions that a query selects as a whole; those of an author with their feedback."""
        whole, kept = self._sessions_of(query)
        removed = Erased(kept_sessions=kept)
        for session_id in whole:
            removed += self._erase_session(query.application, session_id)
        if query.author is not None:
            for session_id in whole:
                removed += self._repository.erase(_whole(query.application, session_id), at=self._clock())
        return removed

    def _sessions_of(self, query: FeedbackQuery) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The sessions to erase as a whole, and the author's sessions that have feedback of other authors."""
        if not _selects_all(query):
            return (), ()
        if query.author is None:
            return (query.session_id or "",), ()
        whole: list[str] = []
        kept: list[str] = []
        for session_id in sorted({feedback.session_id for feedback in self._repository.stream(query)}):
            theirs = (query.author, session_author(session_id))
            session = self._repository.stream(_whole(query.application, session_id))
            (whole if all(feedback.author in theirs for feedback in session) else kept).append(session_id)
        return tuple(whole), tuple(kept)

    def _erase_session(self, application: str, session_id: str) -> Erased:
        metadata = self._sessions.delete(application, session_id)
        return self._erase_conversation(application, session_id) + Erased(metadata=metadata)

    def _erase_conversation(self, application: str, session_id: str) -> Erased:
        agents = self._conversations.agents(application, session_id).keys() - {SESSION_RECORD}
        return Erased(
            agents=len(agents),
            messages=self._conversations.erase(application, session_id),
        )


def _whole(application: str, session_id: str) -> FeedbackQuery:
    return FeedbackQuery(application=application, session_id=session_id).in_any_state()


def _selects_all(query: FeedbackQuery) -> bool:
    """Whether it selects all feedback of a session, of an author, or of an author in a session."""
    named = FeedbackQuery(application=query.application, session_id=query.session_id, author=query.author)
    return (query.session_id, query.author) != (None, None) and query in (named, named.in_any_state())

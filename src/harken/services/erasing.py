"""Erasing: removing for good what is about a session or an author, or whatever a query finds."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from harken.domain.erasure import Erased
from harken.domain.query import FeedbackQuery
from harken.ports.conversations import ConversationRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import SessionRepository
from harken.ports.time import Clock


class Eraser:
    """Removes feedback and everything that is kept about the same session, or the same author."""

    def __init__(
        self,
        repository: FeedbackRepository,
        *,
        clock: Clock,
        sessions: SessionRepository | None = None,
        conversations: ConversationRepository | None = None,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._sessions = sessions
        self._conversations = conversations

    def erase(self, query: FeedbackQuery) -> Erased:
        """Remove all that match for good; and say how much, by kind.

        A query that says nothing but a session, or an author, means all of it, in whatever state. A session's
        conversation, what its agents know and its metadata go with it; an author's sessions go in which nobody else
        gave feedback.
        """
        query = query.in_any_state() if _names_all(query) else query
        removed = Erased()
        # The feedback last: a call that was interrupted finds it again when it is repeated.
        for session_id in self._whole_sessions(query):
            removed += self._forget_session(query.application, session_id)
        return removed + self._repository.erase(query, at=self._clock())

    def _whole_sessions(self, query: FeedbackQuery) -> Iterator[str]:
        """The sessions of which nothing is left when what matches is gone."""
        if not _names_all(query):
            return
        if query.author is None:
            yield from () if query.session_id is None else (query.session_id,)
            return
        for session_id in {feedback.session_id for feedback in self._repository.stream(query)}:
            session = FeedbackQuery(application=query.application, session_id=session_id).in_any_state()
            if all(feedback.author == query.author for feedback in self._repository.stream(session)):
                yield session_id

    def _forget_session(self, application: str, session_id: str) -> Erased:
        agents = messages = metadata = 0
        if self._conversations is not None:
            agents = len(self._conversations.agents(application, session_id))
            messages = self._conversations.erase(application, session_id)
        if self._sessions is not None:
            metadata = self._sessions.delete(application, session_id)
        return Erased(messages=messages, agents=agents, metadata=metadata)


def _names_all(query: FeedbackQuery) -> bool:
    """Whether it means all of a session, of an author, or of an author in a session."""
    named = FeedbackQuery(application=query.application, session_id=query.session_id, author=query.author)
    anything = evolve(query, statuses=named.statuses, withdrawn=named.withdrawn) == named
    return anything and (query.session_id, query.author) != (None, None)

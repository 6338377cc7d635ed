"""Mirroring one storage in another: finding and removing what only the target has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Final

from attrs import frozen

from harken.domain.query import FeedbackQuery
from harken.ports.conversations import ConversationRepository
from harken.ports.storage import Storage
from harken.services.erasures import Erasures

BATCH: Final = 1_000


class Kind(Enum):
    """The kind of an item that only the target has."""

    FEEDBACK = "feedback"
    METADATA = "metadata values"
    CONVERSATION = "conversations"
    APPLICATION = "applications"


@frozen
class Extra:
    """An item that only the target has.

    ``name`` is the id of feedback, or the name of a metadata value. A conversation is extra if it has an agent or a
    message that it does not have in the source. An application without data in the source is one item.
    """

    kind: Kind
    application: str
    session_id: str = ""
    name: str = ""


class Mirroring:
    """Finds and removes what only the target has.

    An application without data in the source is not touched, as the source may be the wrong one. ``allow_empty`` is for
    a source from which all its data was erased; it needs the ``application``.
    """

    def __init__(
        self, source: Storage, target: Storage, *, application: str | None = None, allow_empty: bool = False
    ) -> None:
        """Mirrors all applications, or only the one that is given.

        Raises:
            ValueError: ``allow_empty`` without an application.
        """
        if allow_empty and application is None:
            raise ValueError("allow_empty needs an application")
        self._source = source
        self._target = target
        self._application = application
        self._allow_empty = allow_empty

    def extras(self) -> Iterator[Extra]:
        """The items that only the target has, and at the end the applications without data in the source.

        Each item is looked up in the source, so none is listed only because it was not read.
        """
        in_source, in_target = self._applications(self._source), self._applications(self._target)
        mirrored = in_target if self._allow_empty else in_source & in_target
        for application in sorted(mirrored):
            yield from self._extra_feedback(application)
        yield from self._extra_metadata(mirrored)
        for application, session_id in self._target.conversations.sessions():
            if application in mirrored and self._has_extra_parts(application, session_id):
                yield Extra(Kind.CONVERSATION, application, session_id)
        yield from (Extra(Kind.APPLICATION, name) for name in sorted(in_target - mirrored))

    def remove(self, extras: Iterable[Extra], *, at: datetime) -> Counter[Kind]:
        """Remove these items from the target permanently, unless the source has them now; ``at`` is the current time.

        Returns the numbers of removed items; for conversations, the number of sessions.

        A conversation is removed as a whole: copying again restores the part that the source has. Applications without
        data in the source are not removed.
        """
        removed = Counter[Kind]()
        erasures = Erasures(self._target.state)
        for extra in extras:
            match extra:
                case Extra(Kind.FEEDBACK, application, _, name):
                    if not self._source.feedback.get_many(application, [name]):
                        query = FeedbackQuery(application=application, feedback_id=name).in_any_state()
                        removed[Kind.FEEDBACK] += self._target.feedback.erase(query, at=at).feedback
                        erasures.add(application)
                case Extra(Kind.METADATA, application, session_id, name):
                    if name not in self._source.sessions.get(application, session_id):
                        removed[Kind.METADATA] += self._target.sessions.delete(application, session_id, [name])
                case Extra(Kind.CONVERSATION, application, session_id):
                    if self._has_extra_parts(application, session_id):
                        self._target.conversations.erase(application, session_id)
                        removed[Kind.CONVERSATION] += 1
        return removed

    def _applications(self, storage: Storage) -> set[str]:
        """The applications with data that can be copied, limited to the one that is mirrored."""
        names = {
            *storage.feedback.applications(),
            *(application for application, _, _ in storage.sessions.stream()),
            *(application for application, _ in storage.conversations.sessions()),
        }
        return names if self._application is None else names & {self._application}

    def _extra_feedback(self, application: str) -> Iterator[Extra]:
        stream = self._target.feedback.stream(FeedbackQuery(application=application).in_any_state())
        while batch := list(islice(stream, BATCH)):
            in_source = self._source.feedback.get_many(application, [one.id for one in batch])
            for one in batch:
                if one.id not in in_source:
                    yield Extra(Kind.FEEDBACK, application, one.session_id, one.id)

    def _extra_metadata(self, applications: Collection[str]) -> Iterator[Extra]:
        for application, session_id, metadata in self._target.sessions.stream():
            if application in applications:
                names = metadata.keys() - self._source.sessions.get(application, session_id).keys()
                yield from (Extra(Kind.METADATA, application, session_id, name) for name in sorted(names))

    def _has_extra_parts(self, application: str, session_id: str) -> bool:
        """Whether a conversation has an agent or a message in the target that it does not have in the source."""
        place, source, target = (application, session_id), self._source.conversations, self._target.conversations
        if target.agents(*place).keys() - source.agents(*place).keys():
            return True
        return any(
            set(_numbers(target, *place, agent_id)) - set(_numbers(source, *place, agent_id))
            for agent_id in target.speakers(*place)
        )


def _numbers(conversations: ConversationRepository, application: str, session_id: str, agent_id: str) -> Iterator[int]:
    """The numbers of an agent's messages."""
    after = -1
    while page := conversations.messages(application, session_id, agent_id, limit=BATCH, after=after):
        yield from (number for number, _ in page)
        after = page[-1][0]

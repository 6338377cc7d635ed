"""Copying one storage into another: everything that was accepted, as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from attrs import define, frozen

from harken.domain.errors import ConversationConflict, InvalidConversation, InvalidMetadata
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.domain.rules import unfit_to_restore
from harken.ports.conversations import JsonObject
from harken.ports.repository import Accepted, Conflict, DuplicateOf, Outcome, Stored, Taken
from harken.ports.sessions import JsonValue
from harken.ports.storage import Storage
from harken.services.conversations import ConversationService
from harken.services.sessions import SessionService

BATCH: Final = 1_000


@frozen
class SessionValue:
    """One value of a session's metadata."""

    application: str
    session_id: str
    name: str
    value: JsonValue


@frozen
class ConversationPart:
    """A message of an agent, by its number; or what the agent knows, without one."""

    application: str
    session_id: str
    agent_id: str
    number: int | None
    value: JsonObject


@define
class Copied:
    """How many were read, and what became of them: ``read`` is the sum of the others."""

    read: int = 0
    added: int = 0
    duplicates: int = 0
    conflicts: int = 0


#: What can be copied.
Copyable = Feedback | SessionValue | ConversationPart
#: Told of each of these that was not copied, and why.
Report = Callable[[Copyable, str], object]


class Copying:
    """Copies feedback in whatever state, with ids, versions and revisions, the metadata of sessions and conversations.

    API keys are not copied: whoever may use one storage may not therefore use another.

    No events are stored with it: what is old is no news. Nothing in the target is ever changed. What is there already
    is recognised, so a copy that was cut off is simply made again. What the target has otherwise is a conflict: it is
    told to ``report``, and stops nothing else.
    """

    def __init__(self, source: Storage, target: Storage, report: Report, *, application: str | None = None) -> None:
        """Copies all applications, or only the one that is given."""
        self._source = source
        self._target = target
        self._metadata_there = SessionService(target.sessions)
        self._conversations_there = ConversationService(target.conversations)
        self._report = report
        self._application = application
        self.feedback = Copied()
        self.metadata = Copied()
        self.conversations = Copied()

    def total(self) -> int:
        """How much feedback there is to copy; counting it may take a moment."""
        figures = (self._source.feedback.summarize(_all_of(application)) for application in self._applications())
        return sum(summary.total for groups in figures for summary in groups.values())

    def batches(self) -> Iterator[int]:
        """Copy everything; gives how much feedback was read so far after each batch, which is durable by then.

        Raises:
            StorageError: one of the storages failed; what was copied before stays.
        """
        for application in self._applications():
            stream = self._source.feedback.stream(_all_of(application))
            while batch := list(islice(stream, BATCH)):
                self._copy(batch)
                yield self.feedback.read
        for application, session_id, metadata in self._source.sessions.stream():
            if self._application in (None, application):
                self._copy_metadata(application, session_id, metadata)
                yield self.feedback.read
        for application, session_id in self._source.conversations.sessions():
            if self._application in (None, application):
                self._copy_conversation(application, session_id)
                yield self.feedback.read

    def _applications(self) -> Sequence[str]:
        return self._source.feedback.applications() if self._application is None else [self._application]

    def _copy(self, batch: Sequence[Feedback]) -> None:
        reasons = ["; ".join(violation.message for violation in unfit_to_restore(one)) for one in batch]
        fit = [Accepted(one) for one, reason in zip(batch, reasons, strict=True) if not reason]
        outcomes = iter(self._target.feedback.add(fit) if fit else ())
        for one, reason in zip(batch, reasons, strict=True):
            self._count(one, reason or next(outcomes))

    def _count(self, feedback: Feedback, outcome: Outcome | str) -> None:
        self.feedback.read += 1
        match outcome:
            case Stored():
                self.feedback.added += 1
            case DuplicateOf(there) if there == feedback:
                self.feedback.duplicates += 1
            case _:
                self.feedback.conflicts += 1
                self._report(feedback, outcome if isinstance(outcome, str) else _reason(outcome))

    def _copy_metadata(self, application: str, session_id: str, metadata: dict[str, JsonValue]) -> None:
        self.metadata.read += len(metadata)
        try:
            merged = self._metadata_there.merge(application, session_id, metadata)
        except InvalidMetadata as error:
            refused = dict.fromkeys(metadata, str(error))
        else:
            self.metadata.added += len(merged.added)
            self.metadata.duplicates += len(merged.there)
            refused = dict(merged.refused)
        self.metadata.conflicts += len(refused)
        for name, reason in refused.items():
            self._report(SessionValue(application, session_id, name, metadata[name]), reason)

    def _copy_conversation(self, application: str, session_id: str) -> None:
        source = self._source.conversations
        for agent_id, value in source.agents(application, session_id).items():
            self._copy_part(ConversationPart(application, session_id, agent_id, None, value))
        for agent_id in source.speakers(application, session_id):
            after = -1
            while page := source.messages(application, session_id, agent_id, limit=BATCH, after=after):
                for number, message in page:
                    self._copy_part(ConversationPart(application, session_id, agent_id, number, message))
                after = page[-1][0]

    def _copy_part(self, part: ConversationPart) -> None:
        self.conversations.read += 1
        try:
            there = self._before(part)
        except InvalidConversation as error:
            self.conversations.conflicts += 1
            self._report(part, str(error))
            return
        if there is None:
            self.conversations.added += 1
        elif _same_json(there, part.value):
            self.conversations.duplicates += 1
        else:
            self.conversations.conflicts += 1
            self._report(part, "Something else is there already, which was kept")

    def _before(self, part: ConversationPart) -> JsonObject | None:
        """What is in its place; keeps the part if nothing is."""
        agent = (part.application, part.session_id, part.agent_id)
        if part.number is None:
            if (there := self._conversations_there.agent(*agent)) is None:
                self._conversations_there.put_agent(*agent, part.value)
            return there
        try:
            self._conversations_there.append(*agent, part.number, part.value)
        except ConversationConflict:
            return self._conversations_there.message(*agent, part.number)
        return None


def _same_json(one: JsonObject, other: JsonObject) -> bool:
    # As JSON, because to Python 1, 1.0 and True are the same.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _all_of(application: str) -> FeedbackQuery:
    return FeedbackQuery(application=application).in_any_state()


def _reason(outcome: Outcome) -> str:
    there = outcome.feedback
    taken = outcome.taken if isinstance(outcome, Conflict) else Taken.IDEMPOTENCY_KEY
    if taken is Taken.ID:
        return f"Its id is taken by feedback that reads otherwise, in version {there.version}"
    return f"Its {taken.value} is taken by other feedback, {there.id}"

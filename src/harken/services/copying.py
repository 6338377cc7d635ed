"""Copying one storage into another: feedback, session metadata and conversations, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final

from attrs import define, frozen

from harken.domain.errors import (
    ConversationConflict,
    FeedbackNotFound,
    InvalidConversation,
    InvalidMetadata,
    StaleFeedback,
)
from harken.domain.feedback import Feedback
from harken.domain.lineage import is_same_feedback, precedes
from harken.domain.metadata import is_same_json
from harken.domain.query import FeedbackQuery
from harken.domain.rules import restore_violations
from harken.ports.conversations import JsonObject
from harken.ports.repository import Accepted, Conflict, DuplicateOf, FeedbackRepository, Outcome, Stored, Taken
from harken.ports.sessions import JsonValue
from harken.ports.storage import Storage
from harken.services.conversations import OTHER_VALUE, ConversationService
from harken.services.erasures import Erasures
from harken.services.feedback.group_commit import batches
from harken.services.mirroring import BATCH, Extra, Kind, Mirroring
from harken.services.sessions import SessionService


@frozen
class SessionValue:
    """One value of a session's metadata."""

    application: str
    session_id: str
    name: str
    value: JsonValue


@frozen
class ConversationPart:
    """A message of an agent, with its number; or the state of the agent, without a number."""

    application: str
    session_id: str
    agent_id: str
    number: int | None
    value: JsonObject


@define
class Copied:
    """The numbers of a copy by outcome; ``read`` is the sum of the next four.

    ``updated`` counts replaced earlier versions, ``extra`` what only the target has, and ``removed`` what only the
    target had. For conversations, ``extra`` and ``removed`` count sessions, and the others messages and states of
    agents.
    """

    read: int = 0
    added: int = 0
    updated: int = 0
    duplicates: int = 0
    conflicts: int = 0
    extra: int = 0
    removed: int = 0

    @property
    def differences(self) -> int:
        """How many items differ between target and source."""
        return self.conflicts + self.extra


#: Something that can be copied, or that only the target has.
Copyable = Feedback | SessionValue | ConversationPart | Extra
#: Called with each remaining difference and its reason: an item that was not copied, or that only the target has.
Report = Callable[[Copyable, str], object]

_CHANGED_MEANWHILE: Final = "It was changed in the target meanwhile; copy again"
_OTHER_EXTRAS: Final = "The target has other extras, and extras never change; erase the entry there and copy again"
#: The number of entries whose extras are read at once, as each may have 14 MB.
_EXTRAS_AT_ONCE: Final = 10
#: The number of messages that are read at once, as each may have 12 MB.
_MESSAGES_AT_ONCE: Final = 100


class Copying:
    """Copies feedback in any state, with ids, versions, revisions and extras, and session metadata and conversations.

    API keys are not copied: access to one storage does not imply access to the other.

    No events are stored, so there are no notifications of old feedback. Items that the target has are skipped, so an
    interrupted copy can be repeated. If the target has an earlier version of feedback, it is replaced by the later one,
    unless the target has other extras; nothing else in the target is changed. Each difference is passed to ``report``,
    and copying continues. The messages of an agent are not added after one that differs in the target, see
    :meth:`ConversationService.merge`.

    With ``mirror``, different metadata values, messages and states of agents in the target are replaced too. They have
    no versions that show which is later; :meth:`replacements` lists them beforehand. :meth:`extras` and :meth:`remove`
    handle what was erased from the source. They skip applications that have no data in the source, unless
    ``allow_empty`` is set.
    """

    def __init__(
        self,
        source: Storage,
        target: Storage,
        report: Report,
        *,
        application: str | None = None,
        mirror: bool = False,
        allow_empty: bool = False,
    ) -> None:
        """Copies all applications, or only the one that is given.

        Raises:
            ValueError: ``allow_empty`` without an application.
        """
        self._source = source
        self._target = target
        self._target_metadata = SessionService(target.sessions)
        self._target_conversations = ConversationService(target.conversations)
        self._report = report
        self._application = application
        self._mirror = mirror
        self._mirroring = Mirroring(source, target, application=application, allow_empty=allow_empty)
        self.feedback = Copied()
        self.metadata = Copied()
        self.conversations = Copied()
        self.other_applications: list[str] = []
        self._tallies = {
            Kind.FEEDBACK: self.feedback,
            Kind.METADATA: self.metadata,
            Kind.CONVERSATION: self.conversations,
        }

    @property
    def differences(self) -> int:
        """How many items differ between target and source, among those that were compared."""
        parts = (self.feedback, self.metadata, self.conversations)
        return sum(part.differences for part in parts) + len(self.other_applications)

    def total(self) -> int:
        """The number of feedback entries to copy; counting them may take a moment."""
        statistics = (self._source.feedback.summarize(_all_of(application)) for application in self._applications())
        return sum(summary.total for groups in statistics for summary in groups.values())

    def batches(self) -> Iterator[int]:
        """Copy everything; yields the number of feedback entries read so far after each batch, which is durable then.

        At the end, what only the target has is passed to ``report``.

        Raises:
            StorageError: one of the storages failed; what was copied before that stays.
        """
        for application in self._applications():
            stream = self._source.feedback.stream(_all_of(application))
            while batch := list(islice(stream, BATCH)):
                self._copy(batch)
                yield self.feedback.read
        for application, session_id, metadata in self._sessions():
            self._copy_metadata(application, session_id, metadata)
            yield self.feedback.read
        for place in self._conversations():
            for state in self._states(*place):
                self._copy_part(state)
                yield self.feedback.read
            for agent_id in self._source.conversations.speakers(*place):
                self._copy_messages(*place, agent_id)
                yield self.feedback.read
        self._compare()

    def extras(self) -> Iterator[Extra]:
        """What only the target has, see :meth:`Mirroring.extras`."""
        return self._mirroring.extras()

    def remove(self, extras: Iterable[Extra], *, at: datetime) -> None:
        """Remove these from the target permanently, see :meth:`Mirroring.remove`."""
        for kind, count in self._mirroring.remove(extras, at=at).items():
            self._tallies[kind].removed += count

    def replacements(self) -> Iterator[SessionValue | ConversationPart]:
        """The items of the source that a mirror replaces in the target; changes nothing."""
        for application, session_id, metadata in self._sessions():
            existing = self._target.sessions.get(application, session_id)
            for name, value in metadata.items():
                if name in existing and not is_same_json(existing[name], value):
                    yield SessionValue(application, session_id, name, value)
        for part in self._parts():
            # Invalid items are reported when they are copied.
            with suppress(InvalidConversation):
                existing_part = self._existing(part)
                if existing_part is not None and not is_same_json(existing_part, part.value):
                    yield part

    def _compare(self) -> None:
        for extra in self.extras():
            if extra.kind is Kind.APPLICATION:
                self.other_applications.append(extra.application)
                self._report(extra, "The source has nothing of this application")
            else:
                self._tallies[extra.kind].extra += 1
                self._report(extra, "Only the target has it; --mirror removes it")

    def _applications(self) -> Sequence[str]:
        return self._source.feedback.applications() if self._application is None else [self._application]

    def _sessions(self) -> Iterator[tuple[str, str, dict[str, JsonValue]]]:
        for application, session_id, metadata in self._source.sessions.stream():
            if self._application in (None, application):
                yield application, session_id, metadata

    def _conversations(self) -> Iterator[tuple[str, str]]:
        for application, session_id in self._source.conversations.sessions():
            if self._application in (None, application):
                yield application, session_id

    def _states(self, application: str, session_id: str) -> Iterator[ConversationPart]:
        for agent_id, value in self._source.conversations.agents(application, session_id).items():
            yield ConversationPart(application, session_id, agent_id, None, value)

    def _messages(self, application: str, session_id: str, agent_id: str) -> Iterator[tuple[int, JsonObject]]:
        after = -1
        while page := self._source.conversations.messages(
            application, session_id, agent_id, limit=_MESSAGES_AT_ONCE, after=after
        ):
            yield from page
            after = page[-1][0]

    def _parts(self) -> Iterator[ConversationPart]:
        for place in self._conversations():
            yield from self._states(*place)
            for agent_id in self._source.conversations.speakers(*place):
                for number, message in self._messages(*place, agent_id):
                    yield ConversationPart(*place, agent_id, number, message)

    def _copy(self, batch: Sequence[Feedback]) -> None:
        updated = self.feedback.updated
        for items in batches(_with_extras(self._source.feedback, batch)):
            self._copy_items(items)
        if self.feedback.updated > updated:
            # Later versions keep their times, so that others would not notice the change.
            for application in {one.application for one in batch}:
                Erasures(self._target.state).add(application)

    def _copy_items(self, items: Sequence[Accepted]) -> None:
        reasons = ["; ".join(one.message for one in restore_violations(item.feedback, item.extras)) for item in items]
        valid = [item for item, reason in zip(items, reasons, strict=True) if not reason]
        outcomes = dict(zip((item.feedback.id for item in valid), self._add(valid), strict=True))
        for item, reason in zip(items, reasons, strict=True):
            self._count(item.feedback, reason or outcomes[item.feedback.id])

    def _add(self, items: Sequence[Accepted]) -> Sequence[Outcome | str]:
        """Add the items to the target; returns the outcome of each, or the reason if the target has other extras."""
        if not items:
            return []
        outcomes: list[Outcome | str] = [*self._target.feedback.add(items)]
        existing = [index for index, outcome in enumerate(outcomes) if _has_its_id(items[index].feedback, outcome)]
        stored = _with_extras(self._target.feedback, [items[index].feedback for index in existing])
        for index, target in zip(existing, stored, strict=True):
            if items[index].extras != target.extras:
                outcomes[index] = _OTHER_EXTRAS
        return outcomes

    def _count(self, feedback: Feedback, outcome: Outcome | str) -> None:
        self.feedback.read += 1
        match outcome:
            case Stored():
                self.feedback.added += 1
            case DuplicateOf(existing) if existing == feedback:
                self.feedback.duplicates += 1
            case Conflict(existing, Taken.ID) if precedes(existing, feedback):
                self._take_over(feedback, existing)
            case _:
                self._report_conflict(feedback, outcome if isinstance(outcome, str) else _reason(feedback, outcome))

    def _take_over(self, feedback: Feedback, existing: Feedback) -> None:
        try:
            self._target.feedback.replace(feedback, [], over=existing.version)
        except (FeedbackNotFound, StaleFeedback):
            self._report_conflict(feedback, _CHANGED_MEANWHILE)
        else:
            self.feedback.updated += 1

    def _report_conflict(self, feedback: Feedback, reason: str) -> None:
        self.feedback.conflicts += 1
        self._report(feedback, reason)

    def _copy_metadata(self, application: str, session_id: str, metadata: dict[str, JsonValue]) -> None:
        self.metadata.read += len(metadata)
        try:
            merged = self._target_metadata.merge(application, session_id, metadata)
        except InvalidMetadata as error:
            refused = dict.fromkeys(metadata, str(error))
        else:
            self.metadata.added += len(merged.added)
            self.metadata.duplicates += len(merged.existing)
            refused = dict(merged.refused)
            if self._mirror:
                refused = self._take_over_metadata(application, session_id, metadata, refused)
        self.metadata.conflicts += len(refused)
        for name, reason in refused.items():
            self._report(SessionValue(application, session_id, name, metadata[name]), reason)

    def _take_over_metadata(
        self, application: str, session_id: str, metadata: dict[str, JsonValue], refused: dict[str, str]
    ) -> dict[str, str]:
        """Replace the values that differ in the target; returns the names that are still refused, with reasons."""
        existing = self._target.sessions.get(application, session_id)
        changes = {name: metadata[name] for name in refused if name in existing}
        if not changes:
            return refused
        try:
            self._target_metadata.update(application, session_id, changes)
        except InvalidMetadata as error:
            return refused | dict.fromkeys(changes, str(error))
        self.metadata.updated += len(changes)
        return {name: reason for name, reason in refused.items() if name not in changes}

    def _copy_part(self, part: ConversationPart) -> None:
        self.conversations.read += 1
        try:
            existing = self._add_part(part)
        except InvalidConversation as error:
            self.conversations.conflicts += 1
            self._report(part, str(error))
            return
        if existing is None:
            self.conversations.added += 1
        elif is_same_json(existing, part.value):
            self.conversations.duplicates += 1
        elif self._mirror:
            self._take_over_part(part)
        else:
            self.conversations.conflicts += 1
            self._report(part, OTHER_VALUE)

    def _copy_messages(self, application: str, session_id: str, agent_id: str) -> None:
        agent = (application, session_id, agent_id)
        for one in self._target_conversations.merge(*agent, self._messages(*agent)):
            part = ConversationPart(*agent, one.number, one.message)
            if one.refused and self._mirror:
                self._copy_part(part)
                continue
            self.conversations.read += 1
            if one.added:
                self.conversations.added += 1
            elif one.refused:
                self.conversations.conflicts += 1
                self._report(part, one.refused)
            else:
                self.conversations.duplicates += 1

    def _take_over_part(self, part: ConversationPart) -> None:
        agent = (part.application, part.session_id, part.agent_id)
        if part.number is None:
            self._target_conversations.put_agent(*agent, part.value)
        elif not self._target.conversations.replace(*agent, part.number, part.value):
            self.conversations.conflicts += 1
            self._report(part, _CHANGED_MEANWHILE)
            return
        self.conversations.updated += 1

    def _add_part(self, part: ConversationPart) -> JsonObject | None:
        """Add the part to the target; returns the existing one, and changes nothing, if there is one."""
        agent = (part.application, part.session_id, part.agent_id)
        if part.number is None:
            while (existing := self._existing(part)) is None:
                if self._target_conversations.put_agent(*agent, part.value, replace=False):
                    return None
            return existing
        try:
            self._target_conversations.append(*agent, part.number, part.value)
        except ConversationConflict:
            return self._existing(part)
        return None

    def _existing(self, part: ConversationPart) -> JsonObject | None:
        agent = (part.application, part.session_id, part.agent_id)
        if part.number is None:
            return self._target_conversations.agent(*agent)
        return self._target_conversations.message(*agent, part.number)


def _with_extras(repository: FeedbackRepository, feedback: Iterable[Feedback]) -> Iterator[Accepted]:
    """Yield these entries, of one application, each with the extras that the repository has of it."""
    stream = iter(feedback)
    while chunk := list(islice(stream, _EXTRAS_AT_ONCE)):
        extras = repository.extras(chunk[0].application, [one.id for one in chunk])
        yield from (Accepted(one, extras=extras.get(one.id, "")) for one in chunk)


def _has_its_id(feedback: Feedback, outcome: Outcome | str) -> bool:
    """Whether the target has an earlier or the same version of this feedback."""
    match outcome:
        case DuplicateOf(existing):
            return existing == feedback
        case Conflict(existing, Taken.ID):
            return precedes(existing, feedback)
    return False


def _all_of(application: str) -> FeedbackQuery:
    return FeedbackQuery(application=application).in_any_state()


def _reason(feedback: Feedback, outcome: Outcome) -> str:
    existing = outcome.feedback
    taken = outcome.taken if isinstance(outcome, Conflict) else Taken.IDEMPOTENCY_KEY
    if taken is not Taken.ID:
        return f"Its {taken.value} is taken by other feedback, {existing.id}"
    if not is_same_feedback(existing, feedback):
        return f"Its id is taken by other feedback, in version {existing.version}"
    if existing.version > feedback.version:
        return f"The target has a later version, {existing.version}; this is version {feedback.version}"
    return f"Both were changed: the target's version {existing.version} is not an earlier version of this one"

"""Migrates the feedback of session documents: each entry of an array becomes feedback of the session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from attrs import define, evolve, field

from harken import FeedbackRejected, Harken, Import, Receipt, Submission, Violation
from harken.domain.rules import label_problem
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import with_session
from harken_adapters.formats.importing.importer import BATCH
from harken_adapters.formats.importing.mappings import digests_of
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile, RowDigests
from harken_adapters.formats.importing.running import RunningImport
from harken_adapters.formats.importing.submissions import SubmissionBuilder, builder_for
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.conversations import Conversation
from harken_adapters.formats.migrating.documents import (
    Document,
    Recorder,
    Session,
    session_id_of,
    size_of,
    whole_number,
)
from harken_adapters.formats.session_feedback.submissions import with_extras, without_invalid_fields
from harken_adapters.formats.values import plain

#: What became of a submission. For a dry run, the rules that an accepted one breaks.
_Result = Receipt | FeedbackRejected | tuple[Violation, ...]
_MESSAGE: Final = "message_id"


def plan_of(
    documents: Iterable[Document],
    options: ImportOptions,
    name: str,
    *,
    application_of: Callable[[Document], Any],
    known: Callable[[str], Sequence[Import]],
    now: datetime | None = None,
) -> tuple[Profile, Plan]:
    """What the members of the entries mean, after a first pass over all documents.

    Args:
        documents: the documents.
        options: what the user says about them.
        name: the name of the collection.
        application_of: the application of a document.
        known: the earlier imports of an application, whose rows are looked for.
        now: the current time, see :meth:`Plan.of`.

    Raises:
        UnusableFile: a mapped member occurs in no entry, neither a rating nor a comment was found, or the ratings or
            dates have no plain meaning.
    """
    profile = Profile.of_objects(_rows(documents, application_of), name, options, known)
    return profile, Plan.of(profile, options, now=now)


def _rows(
    documents: Iterable[Document], application_of: Callable[[Document], Any]
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The entries of all documents, each with its application; ``None`` for one that cannot be read."""
    for document in documents:
        entries = document.get("feedbacks")
        if entries is None:
            continue
        application = str(application_of(document))
        for raw in entries if isinstance(entries, list) else [None]:
            entry = with_session(plain(raw), session_id_of(document)) if isinstance(raw, Mapping) else None
            yield application, entry


class Entry(NamedTuple):
    """One entry of an array: its place, its JSON value, its submission, or the reason why it has none."""

    session: Session
    position: int | None
    raw: object
    submission: Submission | None
    reason: str = ""

    @property
    def is_undated(self) -> bool:
        """Whether it has the time of the migration."""
        return self.submission is not None and self.submission.created_at is None

    @property
    def size(self) -> int:
        """Its size in memory, as characters."""
        return size_of(self.raw) + (0 if self.submission is None else len(self.submission.extras))


@define
class FeedbackMigration:
    """Imports entries. Those that were imported before are duplicates.

    The feedback of each application is an import, which can be undone.

    Attributes:
        harken: the target.
        profile: samples of its entries are recorded, to recognise them.
        plan: what the members of entries mean.
        recorder: passes on rejected entries.
        tally: counts all entries.
        feedback_by_application: counts the entries of each application.
        name: the name of the collection, for the list of imports.
        import_id: the id of the import of each application; by default, each has a new one.
        check_rules: whether the rules for new feedback apply. Otherwise, what they find is counted.
        dry_run: whether entries are only checked; those that would be stored count as added.
        imports: the imports, by application.
    """

    harken: Harken
    profile: Profile
    plan: Plan
    recorder: Recorder
    tally: Tally
    feedback_by_application: dict[str, Tally]
    name: str
    import_id: str | None
    check_rules: bool
    dry_run: bool
    imports: dict[str, RunningImport] = field(factory=dict)

    def entries(self, document: Document, session: Session, conversation: Conversation) -> Iterator[Entry]:
        """The entries of a document, linked to the messages of its conversation."""
        entries = document.get("feedbacks")
        if entries is None or entries == []:
            return
        if not isinstance(entries, list):
            reason = f"feedbacks must be a list, got {type(entries).__name__}"
            yield Entry(session, None, plain(entries), None, reason)
            return
        # New for each document, so that the keys of its entries do not depend on other documents.
        builder = builder_for(self.plan, session.application, self._import_of(session.application))
        for position, value in enumerate(entries):
            raw = plain(value)
            try:
                content = _with_kind(_submission(builder, session.id, raw, self.plan), document.get("_id"))
                content = with_extras(_linked(content, value, conversation), value, self.plan)
                yield Entry(session, position, raw, content)
            except BadRow as error:
                yield Entry(session, position, raw, None, str(error))
        self.tally.cut += builder.cut

    def submit(self, entries: Iterable[Entry]) -> None:
        """Store entries, and count them. On return, they are durable."""
        remaining = iter(entries)
        while part := list(islice(remaining, BATCH)):
            submissions = [entry.submission for entry in part if entry.submission is not None]
            results = iter(self._results(submissions) if submissions else ())
            for entry in part:
                self._count(entry, entry.reason if entry.submission is None else next(results))

    def update(self) -> None:
        """Record the counts so far with the imports."""
        for name, running in self.imports.items():
            running.update(self.feedback_by_application[name].counts)

    def finish(self) -> None:
        """Record the end of the imports."""
        for name, running in self.imports.items():
            running.finish(self.feedback_by_application[name].counts)

    def _import_of(self, application: Any) -> str | None:
        """The id of the import of an application, which begins with its first entry."""
        if self.dry_run or label_problem("application", application):
            return None
        if application not in self.imports:
            # None of its entries could be read if it has no digests, or its first document was added meanwhile.
            record = self.harken.imports.begin(
                application,
                import_id=self.import_id,
                files=[self.name],
                mapping=digests_of(self.profile, self.plan),
                samples=self.profile.digests.get(application, RowDigests()).samples,
            )
            self.imports[application] = RunningImport(self.harken, record)
        return self.imports[application].id

    def _results(self, submissions: Sequence[Submission]) -> Iterable[_Result]:
        collection, earlier = self.harken.collection, not self.check_rules
        if self.dry_run:
            return collection.check_many(submissions, historical=earlier)
        return collection.submit_many(submissions, announce=False, historical=earlier)

    def _count(self, entry: Entry, result: _Result | str) -> None:
        tallies = (self.tally, self.feedback_by_application.setdefault(str(entry.session.application), Tally()))
        for tally in tallies:
            tally.read += 1
            match result:
                case Receipt():
                    tally.waived.update({violation.rule for violation in result.waived})
                    if result.duplicate:
                        tally.duplicates += 1
                    else:
                        tally.added += 1
                        tally.undated += entry.is_undated
                case tuple():
                    tally.waived.update({violation.rule for violation in result})
                    tally.added += 1
                    tally.undated += entry.is_undated
        if isinstance(result, FeedbackRejected | str):
            self.recorder.reject(tallies, entry.session, str(result), entry.raw, entry.position)


def _submission(builder: SubmissionBuilder, session_id: str, raw: object, plan: Plan) -> Submission:
    if problem := label_problem("session_id", session_id):
        raise BadRow(f"The _id is not a valid session_id: {problem.message}")
    if not isinstance(raw, dict):
        raise BadRow(f"expected an object such as {{...}}, got {type(raw).__name__}")
    return builder.submission(without_invalid_fields(with_session(raw, session_id), plan))


def _linked(submission: Submission, entry: Mapping[str, Any], conversation: Conversation) -> Submission:
    """The submission, with the only agent of its session, and the tracking id of the message whose number it has."""
    target = submission.target
    agent_id = entry.get("agent_id")
    if target.agent_id is None and agent_id is None:
        target = evolve(target, agent_id=conversation.only_agent)
    number = whole_number(entry.get(_MESSAGE))
    if number is not None and target.message_id == str(number):
        target = evolve(target, message_id=conversation.tracking_id(number, agent_id) or target.message_id)
    # After its key was made, which must not depend on the conversation.
    return evolve(submission, target=target)


def _with_kind(submission: Submission, document_id: object) -> Submission:
    """Distinguish the keys of documents whose ids are not text: the ids 7 and "7" become the same session."""
    if isinstance(document_id, str):
        return submission
    # The driver has several integer types.
    kind = "int" if isinstance(document_id, int) else type(document_id).__name__
    return evolve(submission, idempotency_key=f"{submission.idempotency_key}-{kind}")

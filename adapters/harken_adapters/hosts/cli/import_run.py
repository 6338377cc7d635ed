"""A run of ``import`` over files."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from attrs import Factory, define, field

from harken import Harken, HarkenError, Import, ImportNotFound
from harken.domain.imports import RowSamples
from harken.domain.texts import amount
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.importing.importer import Importer, Reject
from harken_adapters.formats.importing.mappings import carried_mapping, digests_of_all
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.running import RunningImport
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.rejects import mapping_part, place_in, text_part
from harken_adapters.formats.tables.table import Origin, Table
from harken_adapters.hosts.cli.files import Rejects, UnwritableRejects
from harken_adapters.hosts.cli.options import WrongUsage
from harken_adapters.hosts.cli.output import run_through

#: How many batches are stored between two updates of the record of an import.
_BATCHES_PER_RECORD: Final = 20


@define
class ImportFile:
    """A file, what was understood of it, and what became of its rows.

    Attributes:
        changed_since: an earlier import of a file of the same name with other rows, if equal rows of both are stored
            once.
    """

    table: Table
    profile: Profile
    plan: Plan
    rejects: Rejects
    tally: Tally
    changed_since: Import | None = None
    _mapping: Mapping[str, Any] = field(init=False, default=Factory(lambda self: carried_mapping(self.plan), True))

    def reject(self, application: str, position: int, reason: str, row: object, origin: Origin | None) -> None:
        """Write a rejected row, with all that is needed to import it when it is corrected."""
        layout = self.table.layout
        if origin is None:
            origin = Origin(place_in(application, layout, self.table.name, position))
        text = text_part(layout, self.table.columns) if isinstance(row, str) else {}
        how = {**mapping_part(self._mapping), **text, **origin.read_as}
        self.rejects.add(origin.place, reason, row, read_as=how)


class StoppedImport(OSError):
    """An import or migration cannot continue. The message says what it stored."""


class ErasedMeanwhile(HarkenError):
    """An import was erased while it ran."""


class Run:
    """One run over all files, with one import id."""

    def __init__(
        self,
        hk: Harken,
        files: Sequence[ImportFile],
        command: str,
        *,
        import_id: str | None,
        dry_run: bool,
        announce: bool = False,
        check_rules: bool = False,
        interrupted: Sequence[Import] = (),
    ) -> None:
        self.files = files
        self.command = command
        self.dry_run = dry_run
        #: Unfinished imports that stored some of these rows.
        self.interrupted = interrupted
        self.erased = 0
        #: The record of the import; ``None`` for a dry run, or if all files are Harken exports.
        self.record: RunningImport | None = None
        self._hk = hk
        self._announce = announce
        self._check_rules = check_rules
        self._import_id = import_id
        self._begun: Import | None = None

    @property
    def total(self) -> Tally:
        """The counts of all files."""
        total = Tally()
        for file in self.files:
            total += file.tally
        return total

    def prepare(self, replaced: Sequence[Import]) -> None:
        """Check the files to write, record the beginning of this import, and erase those that are replaced.

        Raises:
            WrongUsage: a file must not be written, or a row of a replaced import would be rejected.
            ImportRejected: the id is invalid, or that of an import with another mapping.
        """
        if self.dry_run:
            return
        for file in self.files:
            # After opening the storage, which may have created the file.
            file.rejects.check()
        if replaced:
            self._check_accepted(replaced)
        # Nothing is erased before all else has succeeded. But an import of the same id begins again.
        if self._import_id in {one.id for one in replaced}:
            self._erase(replaced)
            self._begin()
        else:
            self._begin()
            self._erase(replaced)

    def _check_accepted(self, replaced: Sequence[Import]) -> None:
        """Refuse to replace imports if a stored entry might be lost.

        Raises:
            WrongUsage: a row would be rejected, which may be stored, or other entries have the id of an import.
        """
        for one in replaced:
            if (stored := stored_entries(self._hk, one)) > one.counts.added:
                raise WrongUsage(
                    f"{amount(stored, 'entry', 'entries')} have the id of import {one.id}, but it added "
                    f"{one.counts.added:,}, so --replace would lose others, such as restored ones; undo it with "
                    f"{undo_command(one.id, self.command)}, and import again"
                )
        examples: list[str] = []

        def reject(position: int, reason: str, row: object, _: Origin | None) -> None:
            # A text is a row that cannot be read with any mapping.
            if not isinstance(row, str):
                examples.append(f"{reason} ({file.table.name}, row or line {position})")

        for file in self.files:
            run_through(self._steps(file, self._importer(file, dry_run=True, reject=reject)), partial(_size, file))
        if examples:
            raise WrongUsage(
                f"{amount(len(examples), 'row')} would be rejected, such as: {examples[0]}. So --replace might lose "
                f"rows that are stored. Import with options that read all rows; or undo import {replaced[0].id} with "
                f"{undo_command(replaced[0].id, self.command)}, and import again"
            )

    def _erase(self, replaced: Sequence[Import]) -> None:
        for one in replaced:
            self.erased += self._hk.imports.erase(one.application, one.id).feedback

    def _begin(self) -> None:
        application = self._hk.application
        if not all(file.plan.is_export for file in self.files):
            samples = [one.samples for file in self.files for one in file.profile.digests.values()]
            begun = self._hk.imports.begin(
                application,
                import_id=self._import_id,
                files=[file.table.name for file in self.files],
                mapping=digests_of_all((file.profile, file.plan) for file in self.files),
                samples=sum(samples, RowSamples()),
                contents=[file.profile.content for file in self.files if not file.plan.is_export],
            )
            self._begun = begun
            self.record = RunningImport(self._hk, begun)

    def import_all(self) -> None:
        """Import all files, and show a progress bar if stderr is a terminal.

        Raises:
            ErasedMeanwhile: the import was erased while it ran.
        """
        try:
            self._import_all()
        except ImportNotFound:
            one = self._begun
            if one is None:
                raise
            stored = amount(stored_entries(self._hk, one), "entry", "entries")
            raise ErasedMeanwhile(
                f"Import {one.id} was erased while it was running, so it stopped. It had stored {stored} since then. "
                f"Erase them with {undo_command(one.id, self.command)}, and import again"
            ) from None

    def _import_all(self) -> None:
        with _frozen_garbage_collection():
            for file in self.files:
                reject = _ignore if self.dry_run else partial(file.reject, self._hk.application)
                importer = self._importer(file, dry_run=self.dry_run, reject=reject)
                file.tally = importer.tally
                try:
                    self._import(file, importer)
                except KeyboardInterrupt:
                    self._update_record()
                    raise
                except (UnusableFile, UnwritableRejects) as error:
                    self._update_record()
                    if self.dry_run or (isinstance(error, UnusableFile) and not self.total.added):
                        raise
                    raise StoppedImport(f"{error}. {self._stored}") from error
        if self.record:
            self.record.finish(self.total.counts)

    def _import(self, file: ImportFile, importer: Importer) -> None:
        try:
            run_through(self._steps(file, importer), partial(_size, file))
        finally:
            file.rejects.close()

    @property
    def _stored(self) -> str:
        """What is stored of an import that cannot continue, and what to do."""
        undo = (
            f", or undo it with {undo_command(self.record.id, self.command)}"
            if self.record and self.total.added
            else ""
        )
        return f"{stored_text(self.total.added, 'row')}; repeat the import to continue{undo}"

    def _steps(self, file: ImportFile, importer: Importer) -> Iterator[tuple[str, int]]:
        """Import a file. Yields a description and the position in the file after each batch."""
        for number, tally in enumerate(importer.batches(), start=1):
            if number % _BATCHES_PER_RECORD == 0:
                self._update_record()
            file.rejects.flush()
            yield f"{file.table.name} {amount(tally.read, 'row')}", file.table.progress[0]

    def _importer(self, file: ImportFile, *, dry_run: bool, reject: Reject) -> Importer:
        return Importer(
            self._hk,
            file.table,
            file.plan,
            reject,
            import_id=self.record.id if self.record else None,
            announce=self._announce,
            check_rules=self._check_rules,
            dry_run=dry_run,
        )

    def _update_record(self) -> None:
        if self.record:
            self.record.update(self.total.counts)


def _ignore(*_: object) -> None:
    """Reject a row in a dry run."""


def _size(file: ImportFile) -> int | None:
    return file.table.progress[1]


def stored_entries(hk: Harken, one: Import) -> int:
    """How many entries of an import are stored, in any state."""
    return hk.analytics.summary(hk.imports.query(one.application, one.id)).total


def stored_text(count: int, noun: str, plural: str = "") -> str:
    """What is stored, such as ``1 row was stored``."""
    return f"{amount(count, noun, plural)} {'was' if count == 1 else 'were'} stored"


def undo_command(import_id: str, command: str) -> str:
    """The command that undoes an import, quoted for a shell. ``command`` is the prefix of commands."""
    return f"{command} erase --import {shlex.quote(import_id)}"


@contextmanager
def _frozen_garbage_collection() -> Iterator[None]:
    """Leave the objects of the program out of garbage collections, which would take a tenth of an import."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

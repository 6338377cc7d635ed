"""Earlier imports of the same rows, which would be stored twice."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final

from attrs import evolve, frozen

from harken import Harken, Import, StorageUnavailable
from harken.domain.imports import MAX_FILES, FileContent, MappingDigests
from harken.domain.rules import label_problem
from harken.domain.texts import amount, listed
from harken_adapters.formats.importing.plan import source_name
from harken_adapters.formats.importing.profile import RowDigests, begins_with_any
from harken_adapters.formats.tables.table import Table
from harken_adapters.hosts.cli.import_run import ImportFile, stored_entries, undo_command
from harken_adapters.hosts.cli.options import CliContext, WrongUsage
from harken_adapters.hosts.cli.output import in_one_line

#: The share of the sample of an import that must be found with other columns, or without ids: some rows are equal by
#: chance.
_ENOUGH: Final = 0.5
_REJECTED: Final = ".rejected"


def earlier_imports(cli: CliContext, application: str | None = None) -> Sequence[Import]:
    """The imports of an application, by default that of the command line, which may have stored rows."""
    if application is not None and label_problem("application", application):
        return ()
    try:
        with cli.open_existing() as hk:
            return listed_imports(hk, application or hk.application)
    except StorageUnavailable:
        # It is created later, or the error is raised then.
        return ()


def listed_imports(hk: Harken, application: str) -> Sequence[Import]:
    """The imports of an application that may have stored rows. Entries of unfinished ones are counted."""
    return [
        one if one.finished_at else evolve(one, counts=evolve(one.counts, added=stored_entries(hk, one)))
        for one in hk.imports.list(application)
        if one.may_have_rows
    ]


def recognised_name(name: str) -> str:
    """The name by which rows of a file are recognised: that of the file from which they were rejected, if any."""
    name = source_name(name)
    while name.endswith(_REJECTED) and name != _REJECTED:
        name = source_name(name.removesuffix(_REJECTED))
    return name


def changed_since(file: ImportFile, known: Sequence[Import]) -> Import | None:
    """The last import of a file of the same name with other rows, if equal rows of both are stored once.

    ``None`` if an import read the same file, or its beginning.
    """
    if file.plan.is_export or file.plan.rows_have_identity or file.table.layout.is_rejects:
        return None
    same_name = [
        (one, content)
        for one in known
        for content in one.contents or ()
        if content.rows and recognised_name(content.name) == recognised_name(file.table.name)
    ]
    if any(digests.sums.begin_with(content) for digests in file.profile.digests.values() for _, content in same_name):
        return None
    return same_name[0][0] if same_name else None


class _Difference(Enum):
    """How rows that are stored differ now, and what imports them as they are stored."""

    MAPPING = "with another mapping", "Import with the options of that import"
    MEANING = (
        "and mean something else beside the new rows",
        "Say what their ratings and columns meant with --rating and --map",
    )
    MORE_COLUMNS = "with other columns", "Leave the other columns out with --drop"
    COLUMNS = "with other columns", "Import them with the columns of that import"


@frozen
class FileRows:
    """The rows of a file.

    Attributes:
        digests: their digests, and which of them earlier imports have.
        mapping: how they are mapped to feedback.
        rejected_from: the name of the file from which they were rejected; empty if they were not.
        source: the name that the files of equal rows have, see :func:`recognised_name`; empty if rows have an identity.
        has_ids: whether rows have a session or an id, so that an equal one is hardly another one by chance.
        content: the rows, as the record of their import has them.
        table: the file, in which the rows of an earlier import are looked for.
    """

    digests: RowDigests
    mapping: MappingDigests
    rejected_from: str = ""
    source: str = ""
    has_ids: bool = True
    content: FileContent | None = None
    table: Table | None = None

    def may_be_in(self, one: Import) -> bool:
        """Whether the rows may be those of an import. Rejected rows are in its samples, but were not stored."""
        if self.rejected_from in one.files:
            return False
        if not self.source or len(one.files) >= MAX_FILES:
            return True
        return self.source in map(recognised_name, one.files)

    def shares_rows(self, one: Import) -> bool:
        """Whether rows of an import are among them; without ids, at least half of its sample."""
        shared = len(self.digests.rows.found.intersection(one.samples.rows))
        return shared >= (1 if self.has_ids else max(1, _ENOUGH * len(one.samples.rows)))

    def contained(self, contents: Collection[FileContent]) -> set[FileContent]:
        """Those of these contents with which the file begins, also if columns were added."""
        found = {one for one in contents if self.digests.sums.begin_with(one)}
        if self.content is None or self.table is None:
            return found
        own = set(self.content.columns)
        wider = [one for one in contents if one not in found and one.rows <= self.content.rows]
        for columns in {one.columns for one in wider if own > set(one.columns)}:
            found.update(begins_with_any(self.table, [one for one in wider if one.columns == columns]))
        return found


class Overlap:
    """The earlier imports that have rows of some files, mapped in another way or with other columns.

    Attributes:
        imports: these imports, the last started first.
    """

    def __init__(self, known: Sequence[Import], files: Sequence[FileRows]) -> None:
        self._files = files
        self._known = known
        self._found = [(one, difference) for one in known if (difference := self._difference(one))]
        self.imports = [one for one, _ in self._found]

    def refuse(self, command: str, remedy: str) -> None:
        """Refuse rows that are stored.

        Args:
            command: the prefix of commands.
            remedy: what else can be done than to undo the earlier imports, if they can be replaced.

        Raises:
            WrongUsage: there is an earlier import.
        """
        if not self._found:
            return
        first, difference = self._found[0]
        how, same = difference.value
        _refuse_unfinished(first, command)
        if remedy and not self._is_replaceable(command):
            remedy = ""
        found, sampled = self._matches(first, difference)
        files = listed([in_one_line(name) for name in first.files], 1)
        raise WrongUsage(
            f"These rows were already stored by import {first.id} of {first.started_at:%Y-%m-%d} "
            f"({', '.join(filter(None, (files, amount(first.counts.added, 'row'))))}) {how}: {found} of {sampled} "
            f"sampled rows are the same. {same}; or {remedy}undo it with {undo_command(first.id, command)}"
        )

    def check_replaceable(self, command: str) -> None:
        """Refuse to erase imports of which not all rows are in the files, or which may still be running.

        Each file that an import read must be the beginning of one that is read now, maybe with fewer columns. So no
        row that it stored is lost.

        Args:
            command: the prefix of commands.

        Raises:
            WrongUsage: there is such an import.
        """
        #: The source of the earlier files that a file contains. Equal rows of files with other names are other rows.
        sources: dict[int, str] = {}
        for one in self.imports:
            _refuse_unfinished(one, command)
            undo = f"undo it with {undo_command(one.id, command)}, and import again"
            if one.contents is None:
                raise WrongUsage(
                    f"It is not known whether all rows of import {one.id} are in what is imported now, so --replace "
                    f"might lose some; {undo}"
                )
            contained = [file.contained(one.contents) for file in self._files]
            for content in one.contents:
                source = recognised_name(content.name)
                for number, found in enumerate(contained):
                    if content in found and sources.setdefault(number, source) == source:
                        break
                else:
                    raise WrongUsage(
                        f"Import {one.id} has rows of {in_one_line(content.name)} ({amount(content.rows, 'row')}) that "
                        f"are not in what is imported now, so --replace would lose them. Import all of its files, each "
                        f"with these rows unchanged; or {undo}"
                    )

    def _is_replaceable(self, command: str) -> bool:
        try:
            self.check_replaceable(command)
        except WrongUsage:
            return False
        return True

    def interrupted(self, import_id: str | None) -> Sequence[Import]:
        """The unfinished imports that stored some of the rows as they are now, except the one with an id."""
        rows = {digest for file in self._files for digest in file.digests.rows.found}
        return [
            one
            for one in self._known
            if one.finished_at is None and one.id != import_id and one.counts.added and one.shares_rows(rows)
        ]

    def _matches(self, one: Import, difference: _Difference) -> tuple[int, int]:
        """How many of the sampled rows of an import are in the files, and how many there are."""
        files = [file.digests for file in self._files if file.may_be_in(one)]
        if difference in (_Difference.COLUMNS, _Difference.MORE_COLUMNS):
            found, sample = {digest for file in files for digest in file.contents.found}, one.samples.contents
        else:
            found, sample = {digest for file in files for digest in file.rows.found}, one.samples.rows
        return len(found.intersection(sample)), len(sample)

    def _difference(self, one: Import) -> _Difference | None:
        files = [file for file in self._files if file.may_be_in(one)]
        for file in files:
            if file.shares_rows(one) and not one.mapping.is_same(file.mapping):
                is_said = one.mapping.options != file.mapping.options
                return _Difference.MAPPING if is_said else _Difference.MEANING
        others = [file for file in files if not set(file.mapping.columns) <= set(one.mapping.columns)]
        contents = {digest for file in others for digest in file.digests.contents.found}
        rows = {digest for file in others for digest in file.digests.rows.found}.intersection(one.samples.rows)
        contents &= {*one.samples.contents}
        # The contents of its rows are in the files, but not the rows themselves.
        if len(contents) > 2 * len(rows) and len(contents) >= _ENOUGH * len(one.samples.contents):
            return (
                _Difference.MORE_COLUMNS
                if all(_has_more_columns(file, one) for file in others)
                else _Difference.COLUMNS
            )
        return None


def _has_more_columns(file: FileRows, one: Import) -> bool:
    """Whether a file has all columns of a file of an import, and others."""
    if file.content is None or one.contents is None:
        return True
    return any(set(file.content.columns) > set(content.columns) for content in one.contents)


def _refuse_unfinished(one: Import, command: str) -> None:
    """Refuse rows that an import has in another way, if it has not finished."""
    if one.finished_at is not None:
        return
    stored = f"{amount(one.counts.added, 'entry', 'entries')} of it {'is' if one.counts.added == 1 else 'are'} stored"
    raise WrongUsage(
        f"Import {one.id} of {one.started_at:%Y-%m-%d} has these rows with another mapping or other columns, and has "
        f"not finished; it may still be running. {stored}. Repeat it with its options and --import-id "
        f"{shlex.quote(one.id)}, or undo it with {undo_command(one.id, command)}"
    )

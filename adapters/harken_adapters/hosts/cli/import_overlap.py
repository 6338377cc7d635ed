"""Earlier imports of the same rows, which would be stored twice."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from harken import Import, StorageUnavailable
from harken.domain.imports import MappingDigests
from harken.domain.rules import label_problem
from harken.domain.texts import amount
from harken_adapters.formats.importing.profile import RowDigests
from harken_adapters.hosts.cli.import_run import undo_command
from harken_adapters.hosts.cli.options import CliContext, WrongUsage

#: The share of the sample of an import that must be found with other columns: some contents are equal by chance.
_ENOUGH: Final = 0.5


def earlier_imports(cli: CliContext, application: str | None = None) -> Sequence[Import]:
    """The imports of an application, by default that of the command line, which may have stored rows."""
    if application is not None and label_problem("application", application):
        return ()
    try:
        with cli.open_existing() as hk:
            found = hk.imports.list(application or hk.application)
    except StorageUnavailable:
        # It is created later, or the error is raised then.
        return ()
    return [one for one in found if one.may_have_rows]


class _Difference(Enum):
    """How rows that are stored differ now, and what imports them as they are stored."""

    MAPPING = "with another mapping", "Import with the options of that import"
    MEANING = (
        "and mean something else beside the new rows",
        "Say what their ratings and columns meant with --rating and --map",
    )
    COLUMNS = "with other columns", "Leave the other columns out with --drop"


@frozen
class FileRows:
    """The rows of a file.

    Attributes:
        digests: their digests, and which of them earlier imports have.
        mapping: how they are mapped to feedback.
        rejected_from: the name of the file from which they were rejected; empty if they were not.
    """

    digests: RowDigests
    mapping: MappingDigests
    rejected_from: str = ""


class Overlap:
    """The earlier imports that have rows of some files, mapped in another way or with other columns.

    Attributes:
        imports: these imports, the last started first.
    """

    def __init__(self, known: Sequence[Import], files: Sequence[FileRows]) -> None:
        self._files = files
        self._found = [(one, difference) for one in known if (difference := self._difference(one))]
        self.imports = [one for one, _ in self._found]

    def refuse(self, command: str, remedy: str) -> None:
        """Refuse rows that are stored.

        Args:
            command: the prefix of commands.
            remedy: what else can be done than to undo the earlier import.

        Raises:
            WrongUsage: there is an earlier import.
        """
        if not self._found:
            return
        first, difference = self._found[0]
        how, same = difference.value
        raise WrongUsage(
            f"These rows were already stored by import {first.id} of {first.started_at:%Y-%m-%d} "
            f"({amount(first.counts.added, 'row')}) {how}. {same}; or {remedy}undo it with "
            f"{undo_command(first.id, command)}"
        )

    def check_contained(self, command: str, rows: int) -> None:
        """Refuse to erase imports that have rows which are not in the files. Rejected rows may have been corrected.

        Args:
            command: the prefix of commands.
            rows: the number of rows in the files.

        Raises:
            WrongUsage: an import has such rows.
        """
        for one, difference in self._found:
            if difference is _Difference.COLUMNS:
                missing = set(one.samples.contents).difference(*(file.digests.contents.found for file in self._files))
            else:
                missing = set(one.samples.rows).difference(*(file.digests.rows.found for file in self._files))
            if len(missing) > one.counts.rejected or one.counts.added > rows:
                raise WrongUsage(
                    f"Import {one.id} stored {amount(one.counts.added, 'row')}, of which some are not in what is "
                    f"imported now ({amount(rows, 'row')}), so --replace would lose them. Import all of its files "
                    f"together; or undo it with {undo_command(one.id, command)}, and import again"
                )

    def _difference(self, one: Import) -> _Difference | None:
        # Rejected rows are in the samples of their import, but were not stored.
        files = [file for file in self._files if file.rejected_from not in one.files]
        for file in files:
            if one.shares_rows(file.digests.rows.found) and not one.mapping.is_same(file.mapping):
                is_said = one.mapping.options != file.mapping.options
                return _Difference.MAPPING if is_said else _Difference.MEANING
        others = [file.digests for file in files if not set(file.mapping.columns) <= set(one.mapping.columns)]
        contents = {digest for file in others for digest in file.contents.found}.intersection(one.samples.contents)
        rows = {digest for file in others for digest in file.rows.found}.intersection(one.samples.rows)
        # The contents of its rows are in the files, but not the rows themselves.
        if len(contents) > 2 * len(rows) and len(contents) >= _ENOUGH * len(one.samples.contents):
            return _Difference.COLUMNS
        return None

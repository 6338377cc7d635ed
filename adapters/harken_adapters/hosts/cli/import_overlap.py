"""Earlier imports of the same rows, which would be stored twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from harken import Import, StorageUnavailable
from harken.domain.rules import label_problem
from harken.domain.texts import amount
from harken_adapters.formats.importing.mappings import MappingDigests
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
    return [one for one in found if one.counts.added or one.finished_at is None]


class Overlap:
    """The earlier imports that have rows of some files, mapped in another way or with other columns.

    Attributes:
        imports: these imports, the last started first.
    """

    def __init__(
        self,
        known: Sequence[Import],
        digests: Collection[RowDigests],
        mapping: MappingDigests,
    ) -> None:
        self._rows = {digest for one in digests for digest in one.rows.found}
        self._contents = {digest for one in digests for digest in one.contents.found}
        self._remapped = [
            one
            for one in known
            if one.shares_rows(self._rows) and not one.has_mapping(mapping.mapping_digest, mapping.meaning_digest)
        ]
        self._reshaped = [
            one
            for one in known
            if one not in self._remapped
            and one.columns_digest != mapping.columns_digest
            and self._has_other_columns(one)
        ]
        self.imports = [one for one in known if one in self._remapped or one in self._reshaped]

    def refuse(self, command: str, remedy: str) -> None:
        """Refuse rows that exist.

        Args:
            command: the prefix of commands.
            remedy: what else can be done than to undo the earlier import.

        Raises:
            WrongUsage: there is an earlier import.
        """
        if not self.imports:
            return
        first = self.imports[0]
        if first in self._remapped:
            how, same = "with another mapping", "Import with the same options as then"
        else:
            how, same = "with other columns", "Leave the other columns out with --drop"
        raise WrongUsage(
            f"These rows exist from import {first.id} of {first.started_at:%Y-%m-%d} "
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
        for one in self.imports:
            if one in self._remapped:
                missing = len(set(one.sample) - self._rows)
            else:
                missing = len(set(one.content_sample) - self._contents)
            if missing > one.counts.rejected or one.counts.added > rows:
                raise WrongUsage(
                    f"Import {one.id} stored {amount(one.counts.added, 'row')}, of which some are not in what is "
                    f"imported now ({amount(rows, 'row')}), so --replace would lose them. Import all of its files "
                    f"together; or undo it with {undo_command(one.id, command)}, and import again"
                )

    def _has_other_columns(self, one: Import) -> bool:
        """Whether the contents of its rows are in the files, but not the rows themselves."""
        contents = len(self._contents.intersection(one.content_sample))
        rows = len(self._rows.intersection(one.sample))
        return contents > 2 * rows and contents >= _ENOUGH * len(one.content_sample)

"""Reading and importing files without the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve

from harken import Harken, Submission
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.importer import Importer
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.submissions import builder_for
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.tables.opening import open_table
from harken_adapters.formats.tables.table import Row, Table

NO_OPTIONS = ImportOptions()


@contextmanager
def table_of(
    data: str | bytes, name: str = "file.csv", options: ImportOptions = NO_OPTIONS, **more: Any
) -> Iterator[Table]:
    """The table of a file with this content and name; ``more`` are further options."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        table = open_table(str(path), evolve(options, **more))
        try:
            yield table
        finally:
            table.close()


def records_of(data: str | bytes, name: str = "file.csv", **options: Any) -> list[Row]:
    """The records of a file with this content."""
    with table_of(data, name, **options) as table:
        return list(table.rows())


def raw_rows(data: str | bytes, name: str = "file.csv", **options: Any) -> list[Any]:
    """The rows of a file with this content, all of which can be read, as JSON values."""
    with table_of(data, name, **options) as table:
        records = list(table.rows())
        assert [record.problem for record in records] == [""] * len(records)
        return [table.raw(record) for record in records]


def importer_of(hk: Harken, table: Table, options: ImportOptions = NO_OPTIONS, **arguments: Any) -> Importer:
    """An importer of a file, after the first pass over it."""
    plan = Plan.of(Profile.of(table, options), options)
    arguments.setdefault("reject", lambda *_: None)
    return Importer(hk, table, plan, **arguments)


def imported(
    hk: Harken, data: str | bytes, of: str = "csv", options: ImportOptions = NO_OPTIONS, **arguments: Any
) -> tuple[Tally, list[Any]]:
    """Import a file with this content and suffix. Returns the tally and the rejected rows."""
    rejected: list[Any] = []
    with table_of(data, f"file.{of}", options) as table:
        importer = importer_of(hk, table, options, reject=lambda *parts: rejected.append(parts[:3]), **arguments)
        for _ in importer.batches():
            pass
    return importer.tally, rejected


def understood(data: str | bytes, of: str = "csv", options: ImportOptions = NO_OPTIONS) -> tuple[Profile, Plan]:
    """What is understood of a file with this content and suffix."""
    with table_of(data, f"file.{of}", options) as table:
        profile = Profile.of(table, options)
        return profile, Plan.of(profile, options)


def submissions_of(path: Path, application: str) -> list[Submission]:
    """The submissions of the rows of a file, all of which are valid."""
    table = open_table(str(path), NO_OPTIONS)
    try:
        builder = builder_for(Plan.of(Profile.of(table, NO_OPTIONS), NO_OPTIONS), application)
        return [builder.submission(row.values) for row in table.rows()]
    finally:
        table.close()

"""Files for analysis: their memory and time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from tests.benchmarks import rows
from tests.benchmarks.embedded import MILLION
from tests.benchmarks.measure import Result, at_most, command

from harken.configuration.storage_urls import open_storage
from harken.ports.repository import Accepted


def export_parquet(folder: Path) -> Iterator[Result]:
    """The peak memory of a ``harken export`` process that writes 1,000,000 rows as Parquet, and as Arrow."""
    url = f"sqlite:///{folder}/export-parquet.db"
    with open_storage(url) as storage:
        entries = rows.feedback(MILLION)
        while batch := [Accepted(one) for one in islice(entries, 5_000)]:
            storage.feedback.add(batch)
    for kind in ("parquet", "arrow"):
        target = folder / f"export.{kind}"
        run = command(url, "export", str(target))
        assert _count(target) == MILLION
        size = target.stat().st_size / 1e6
        detail = f"peak of the process; {run.seconds:.0f} s of processor time; {size:.0f} MB"
        yield at_most(f"sqlite: export of 1,000,000 as {kind}", run.peak, 300, unit=" MB", detail=detail)


def _count(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(parquet.read_metadata(path).num_rows)
    with pa.memory_map(str(path)) as file:
        return int(pa.ipc.open_file(file).read_all().num_rows)


BENCHMARKS = (export_parquet,)

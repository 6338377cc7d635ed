"""The samples by which rows of earlier imports are recognised."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from harken import Import
from harken.domain.imports import RowSamples
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.profile import Profile, RowDigests
from import_files import table_of


def profiled(rows: list[str], known: tuple[int, ...] = ()) -> RowDigests:
    """The digests of rows with a comment. ``known`` is the sample of an earlier import."""
    earlier = Import(id="i", application="a", started_at=datetime.now(UTC), samples=RowSamples(rows=known))
    with table_of("".join(f'{{"comment": "{row}"}}\n' for row in rows), "file.jsonl") as table:
        return Profile.of(table, ImportOptions(), [earlier]).digests[""]


@given(st.sets(st.text("abc", min_size=1), min_size=1, max_size=300), st.sets(st.text("xyz", min_size=1), max_size=300))
def test_a_part_of_other_rows_is_recognised(part: set[str], others: set[str]) -> None:
    """Rows of an earlier import are found among any others, and no other rows are."""
    earlier = profiled(sorted(part)).rows.smallest
    assert len(earlier) == min(len(part), 64)
    assert profiled(sorted(part | others), tuple(earlier)).rows.found == set(earlier)
    assert profiled([f"{row}-" for row in sorted(others)] or ["-"], tuple(earlier)).rows.found == set()

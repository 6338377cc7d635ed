"""Counts of terms as bytes."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import StorageCorrupt
from harken.domain.insight.terms import TermCounts
from harken.testing import strategies as hst
from harken_adapters.storage.term_counts import dump_counts, have_counts, load_counts

COUNTS = {"up": 1, "down": 2, "ups": {"good": 1}, "downs": {"bad": 2}}


@given(st.lists(hst.feedback_entries(), max_size=5))
def test_counts_are_stored_exactly(feedback: list[Any]) -> None:
    """What was stored is read again, and equal counts are equal bytes."""
    counts = TermCounts.fold(feedback)
    assert load_counts(dump_counts(counts)) == counts
    assert have_counts(dump_counts(counts), counts)
    assert dump_counts(TermCounts.fold(reversed(feedback))) == dump_counts(counts)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        zlib.compress(b"{"),
        zlib.compress(b"[" * 100_000),
        *(
            zlib.compress(json.dumps(COUNTS | changed).encode())
            for changed in (
                {"up": "1"},
                {"down": -1},
                {"more": 1},
                {"ups": ["good"]},
                {"ups": {"good": "1"}},
                {"downs": {"bad": 1.5}},
                {"downs": {"bad": True}},
                {"downs": {"bad": -1}},
                {"downs": {"bad": 0}},
            )
        ),
    ],
)
def test_damaged_counts_are_reported(damaged: bytes) -> None:
    """The error says what to do, for each kind of damage."""
    with pytest.raises(StorageCorrupt, match=r"Stored counts of terms are damaged .*; run 'harken rebuild'"):
        load_counts(damaged)
    assert not have_counts(damaged, TermCounts())

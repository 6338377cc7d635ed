"""The record of migrated collections."""

import harken
from harken_adapters.formats.migrated_collections import is_migrated, mark_migrated


def test_a_collection_is_marked(storage_url: str) -> None:
    """A mark is durable, may be set again, and concerns one collection of one database."""
    for _ in range(2):
        with harken.connect(storage_url) as hk:
            mark_migrated(hk.state, "chat", "sessions.2025")
            assert is_migrated(hk.state, "chat", "sessions.2025")
            for place in (("chat", "sessions"), ("other", "sessions.2025")):
                assert not is_migrated(hk.state, *place)

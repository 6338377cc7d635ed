"""The record of migrated collections."""

import harken
from harken import Harken
from harken_adapters.formats.migrated_collections import is_migrated, mark_migrated


def test_a_collection_is_marked(storage_url: str) -> None:
    """A mark is durable, may be set again, and concerns one collection of one database."""
    for _ in range(2):
        with harken.connect(storage_url) as hk:
            mark_migrated(hk.state, "chat", "sessions.2025", "one")
            assert is_migrated(hk.state, "chat", "sessions.2025", "one")
            for place in (("chat", "sessions"), ("other", "sessions.2025")):
                assert not is_migrated(hk.state, *place, "one")


def test_collections_of_several_servers(hk: Harken) -> None:
    """Those with the same names have different ids; the names decide only if an id is unknown."""
    place = ("chat", "sessions")
    assert not is_migrated(hk.state, *place, None)
    mark_migrated(hk.state, *place, "one")
    found = [is_migrated(hk.state, *place, one) for one in ("one", "two", None)]
    assert found == [True, False, True]
    mark_migrated(hk.state, *place, "two")
    found = [is_migrated(hk.state, *place, one) for one in ("one", "two", "three")]
    assert found == [True, True, False]
    mark_migrated(hk.state, *place, None)
    assert is_migrated(hk.state, *place, "three")

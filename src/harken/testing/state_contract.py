"""Contract tests for state repositories."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage


class StateContract(FreshStorage):
    """State entries are stored by kind and name and copied, and no change is lost."""

    def test_entries_come_back_equal(self) -> None:
        """Any JSON object is returned unchanged, including numbers and the order of names."""
        value: dict[str, JsonValue] = {
            "b": [1, 1.0, True, None, {"x": "ü", "$set": [], "a.b": {}}],
            "a": "1",
            "": 2**63 - 1,
            "größe '\"%_\\": -0.5,
        }
        full, empty = StateEntry("name ✓ $set a.b", value), StateEntry("", {})
        with self.open_storage() as storage:
            check_same(storage.state.get("route", full.name), None)
            check_same([storage.state.put("route", one) for one in (full, empty)], [True, True])
            check_same(storage.state.get("route", full.name), full)
            check_same(storage.state.get("route", ""), empty)
            check_same(storage.state.get("Route", ""), None)

    def test_a_kind_is_listed_by_name(self) -> None:
        """All entries of one kind are returned by code point; an equal name in another kind is another entry."""
        names = ["Z", "a", "b", "é", "\uff5e", "\U0001f44d"]
        with self.open_storage() as storage:
            check_same(list(storage.state.all("route")), [])
            for name in reversed(names):
                storage.state.put("route", StateEntry(name, {"name": name}))
            storage.state.put("channel", StateEntry("a", {"other": 1}))
            storage.state.put("route 2", StateEntry("b", {}))
            check_same(list(storage.state.all("route")), [StateEntry(name, {"name": name}) for name in names])
            check_same(list(storage.state.all("channel")), [StateEntry("a", {"other": 1})])

    def test_only_the_next_version_replaces_an_entry(self) -> None:
        """A new entry has version 1, its replacement version 2; any other version is refused and changes nothing."""
        first = StateEntry("one", {"a": 1})
        second = StateEntry("one", {"b": 2}, 2)
        with self.open_storage() as storage:
            check_same([storage.state.put("route", evolve(first, version=v)) for v in (0, 2, 7)], [False] * 3)
            check_same(storage.state.get("route", "one"), None)
            check_same([storage.state.put("route", first) for _ in range(2)], [True, False])
            check_same(storage.state.put("route", evolve(second, version=3)), False)
            check_same(storage.state.get("route", "one"), first)
            check_same([storage.state.put("route", second) for _ in range(2)], [True, False])
            check_same(storage.state.get("route", "one"), second)

    def test_a_deleted_entry_is_gone(self) -> None:
        """``delete`` returns whether the entry existed and keeps all others; the name can be used again."""
        first, other = StateEntry("one", {"a": 1}), StateEntry("other", {})
        with self.open_storage() as storage:
            for entry in (first, other, evolve(first, version=2)):
                storage.state.put("route", entry)
            storage.state.put("channel", first)
            check_same([storage.state.delete("route", "one") for _ in range(2)], [True, False])
            check_same(storage.state.delete("nothing", "other"), False)
            check_same(list(storage.state.all("route")), [other])
            check_same(storage.state.get("channel", "one"), first)
            check_same([storage.state.put("route", evolve(first, version=v)) for v in (3, 1)], [False, True])

    def test_entries_are_copied(self) -> None:
        """Changing an object that was stored or returned does not change the storage."""
        taken_in: dict[str, JsonValue] = {"list": [1]}
        with self.open_storage() as storage:
            storage.state.put("route", StateEntry("one", taken_in))
            taken_in["list"] = None
            for handed_out in (storage.state.get("route", "one"), *storage.state.all("route")):
                inner = handed_out.value["list"] if handed_out else None
                if isinstance(inner, list):
                    inner.append(2)
            check_same(storage.state.get("route", "one"), StateEntry("one", {"list": [1]}))

    def test_one_of_several_racing_entries_is_stored(self) -> None:
        """If several threads put the same version, one succeeds: for a new entry and for a replacement."""
        with self.open_storage() as storage:
            for version in (1, 2):
                rivals = [StateEntry("one", {"rival": number}, version) for number in range(8)]
                won = at_once([partial(storage.state.put, "route", rival) for rival in rivals])
                check_same(sum(won), 1)
                check_same(storage.state.get("route", "one"), rivals[won.index(True)])

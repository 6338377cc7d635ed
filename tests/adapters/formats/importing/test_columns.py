"""The names of columns."""

from __future__ import annotations

from harken_adapters.formats.importing.columns import FreeNames


class _CountedSet(set[str]):
    """Counts the names that were looked for."""

    looked_for = 0

    def __contains__(self, name: object) -> bool:
        self.looked_for += 1
        return super().__contains__(name)


def test_thousands_of_equal_names_are_numbered() -> None:
    """In order, and each without trying all numbers before it. Names that are taken from elsewhere are left out."""
    taken = _CountedSet({"k_3"})
    names = FreeNames(taken)
    found = []
    for _ in range(2_000):
        found.append(names.free("k"))
        taken.add(found[-1])
    assert found == ["k", "k_2", *(f"k_{number}" for number in range(4, 2_002))]
    assert taken.looked_for < 4 * len(found)


def test_a_free_name_stays_free_until_it_is_taken() -> None:
    """Asking for a name does not take it."""
    names = FreeNames({"k"})
    assert [names.free("k"), names.free("k")] == ["k_2", "k_2"]

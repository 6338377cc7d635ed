"""Batches of feedback are bounded by the size of their extras."""

from hypothesis import given
from hypothesis import strategies as st

from harken.ports.repository import Accepted
from harken.services.feedback.group_commit import MAX_EXTRAS_IN_BATCH, batches
from support import a_feedback

#: The same texts for all items, so that they take little memory.
TEXTS = ["", "{}", *("x" * size for size in (9_000_000, 14_000_000, 16_000_000))]


@given(st.lists(st.sampled_from(TEXTS), max_size=9))
def test_batches_are_as_large_as_their_extras_allow(texts: list[str]) -> None:
    """All items are in batches in their order; one more item would make a batch, but not its first item, too large."""
    items = [Accepted(a_feedback(str(number)), extras=text) for number, text in enumerate(texts)]
    split = list(batches(items))
    assert [item for batch in split for item in batch] == items
    sizes = [sum(len(item.extras) for item in batch) for batch in split]
    assert all(size <= MAX_EXTRAS_IN_BATCH for size in sizes)
    following = [len(batch[0].extras) for batch in split[1:]]
    assert all(size + more > MAX_EXTRAS_IN_BATCH for size, more in zip(sizes, following, strict=False))


def test_an_entry_that_is_too_large_is_alone() -> None:
    """No item is left out, however large its extras are."""
    small, large = (Accepted(a_feedback(), extras="x" * size) for size in (1, MAX_EXTRAS_IN_BATCH + 1))
    assert list(batches([small, large, small])) == [[small], [large], [small]]

"""Ratings that are numbers."""

from hypothesis import given
from hypothesis import strategies as st

from harken import Rating
from harken_adapters.formats.importing.ratings import SCALES, Ratings, canonical


@given(st.integers(-(10**12), 10**12))
def test_numbers_have_one_text(number: int) -> None:
    """As integers, floats, and texts with spaces and decimals."""
    assert {canonical(one) for one in (number, float(number), str(number), f" {number}.0 ", f"{number}.00")} == {
        str(number)
    }


@given(st.sampled_from(sorted(SCALES)), st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_scales_are_monotonic(name: str, shares: list[float]) -> None:
    """A higher number never has a lower rating."""
    scale = SCALES[name]
    order = [Rating.DOWN, Rating.NEUTRAL, Rating.UP]
    numbers = [scale.lowest + share * (scale.highest - scale.lowest) for share in shares]
    low, high = (Ratings(scale=name).read(f"{number:.12f}")[0] for number in numbers)
    assert order.index(low) <= order.index(high)

"""Ratings that are numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Rating
from harken_adapters.formats.errors import BadRow
from harken_adapters.formats.importing.ratings import SCALES, Ratings, canonical


@given(st.integers(-(10**12), 10**12))
def test_numbers_have_one_text(number: int) -> None:
    """As integers, floats, and texts with spaces and decimals."""
    assert {canonical(one) for one in (number, float(number), str(number), f" {number}.0 ", f"{number}.00")} == {
        str(number)
    }


@pytest.mark.parametrize(
    ("scale", "texts", "others"),
    [
        (
            "stars",
            "4|4.0|4,0|4/5|4 / 5|4 of 5|4 out of 5|4 stars|4 Star|★★★★|★★★★☆|⭐⭐⭐⭐|⭐️⭐️⭐️⭐️",
            "4/10|4 of 10|★★★★☆☆|★★★★★★|80%|4-5|4 apples|0 stars|☆☆☆☆☆",
        ),
        ("nps", "9|9.0|9,0|9/10|9 / 10|9 of 10|9 out of 10", "9/5|9 stars|90%|11|9-10"),
        ("0..1", "0.8|0,8|80%|80 %|79.5%|1/1|8e-1|1", "120%|0.8 stars|0.8/5|2"),
    ],
)
def test_numbers_on_a_scale_are_written_in_several_ways(scale: str, texts: str, others: str) -> None:
    """As programs and people write them; what belongs to another scale is not read."""
    ratings = Ratings(scale=scale)
    assert {ratings.read(text)[0] for text in texts.split("|")} == {Rating.UP}
    for text in others.split("|"):
        with pytest.raises(BadRow):
            ratings.read(text)


@given(st.sampled_from(sorted(SCALES)), st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_scales_are_monotonic(name: str, shares: list[float]) -> None:
    """A higher number never has a lower rating."""
    scale = SCALES[name]
    order = [Rating.DOWN, Rating.NEUTRAL, Rating.UP]
    numbers = [scale.lowest + share * (scale.highest - scale.lowest) for share in shares]
    low, high = (Ratings(scale=name).read(f"{number:.12f}")[0] for number in numbers)
    assert order.index(low) <= order.index(high)

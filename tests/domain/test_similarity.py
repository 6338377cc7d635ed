"""Nearly equal comments."""

import pytest
from hypothesis import given

from harken.domain.similarity import Sketch
from harken.testing.strategies import texts

ADVERTISEMENT = "Great airline, best price for luggage sets! Visit https://bit.example/aa-refund now"


def are_similar(one: str, other: str) -> bool:
    """Whether two comments are similar, in both orders."""
    there, back = Sketch.of(one).is_similar(Sketch.of(other)), Sketch.of(other).is_similar(Sketch.of(one))
    assert there is back
    return there


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Too slow!", "too   SLOW"),
        ("ﬁne ① café", "fine 1 café"),
        (ADVERTISEMENT, "GREAT airline - best price for luggage sets, visit https://bit.example/zz-refund now!!!"),
        (ADVERTISEMENT, f"{ADVERTISEMENT} please"),
        (
            "非常好的航空公司,行李箱套装价格最优惠,请访问我们的网站了解更多信息谢谢大家",
            "非常好的航空公司,行李箱套装价格最优惠,请访问我们的网站了解更多信息谢谢",
        ),
        ("😡😡", "😡 😡"),
        ("x" * 1_000 + "a", "x" * 1_000 + "b"),
    ],
)
def test_similar(one: str, other: str) -> None:
    """Case, punctuation and compatibility characters do not count, nor do a few characters of a longer text."""
    assert are_similar(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", ""),
        (" \n", ""),
        ("😡", "👍"),
        ("The date was wrong", "The data was wrong"),
        (ADVERTISEMENT, "Great airline, but they lost my luggage in Berlin and nobody answered for a week"),
        (ADVERTISEMENT, ADVERTISEMENT[:40]),
    ],
)
def test_not_similar(one: str, other: str) -> None:
    """Short texts are similar only if they are equal, and longer ones if nearly all is equal."""
    assert not are_similar(one, other)


@given(texts(60), texts(60))
def test_any_texts(one: str, other: str) -> None:
    """A comment is similar to itself unless it is empty, and similarity is symmetric."""
    assert are_similar(one, one) is bool(one.strip())
    are_similar(one, other)


def test_a_huge_comment() -> None:
    """Only the beginning is compared, so that the longest comment is not slow. One character can become 18."""
    assert len(Sketch.of("ﷺ" * 250_000).shingles) <= 1_000

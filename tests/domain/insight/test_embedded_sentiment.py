"""Sentiment learned from embeddings."""

from math import isclose
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harken.domain.insight.embedded_sentiment import (
    EmbeddedModel,
    FeatureSums,
    RatedFeatures,
    _cholesky,
    _penalised,
    _ridge,
    _solve_lower,
    _solve_upper,
)

_SIZE = 4


def _rated() -> st.SearchStrategy[list[RatedFeatures]]:
    features = st.tuples(*(st.integers(-128, 127) for _ in range(_SIZE)))
    return st.lists(st.builds(RatedFeatures, features, st.booleans()), min_size=1, max_size=12)


def _comments(count: int, *, seed: int = 1) -> list[RatedFeatures]:
    """The first feature is telling, the others are noise."""
    random, made = Random(seed), []
    for number in range(count):
        is_up = bool(number % 2)
        noise = tuple(random.randrange(-60, 60) for _ in range(_SIZE - 1))
        made.append(RatedFeatures((round(random.gauss(50 if is_up else -50, 30)), *noise), is_up))
    return made


def _sums(rated: list[RatedFeatures]) -> FeatureSums:
    sums = FeatureSums.empty(_SIZE)
    for one in rated:
        sums = sums.add(one)
    return sums


def _model(rated: list[RatedFeatures], *, others: float = 0.5) -> EmbeddedModel:
    return EmbeddedModel.fit(_sums(rated), rated, [others] * len(rated))


@given(rated=_rated(), more=_rated(), seed=st.integers())
def test_sums_are_exact_in_any_order(rated: list[RatedFeatures], more: list[RatedFeatures], seed: int) -> None:
    """Comments that are added and subtracted leave the sums of the others, in any order."""
    expected, sums = _sums(rated), _sums(rated)
    steps = [*((1, one) for one in more), *((-1, one) for one in more)]
    for times, one in Random(seed).sample(steps, len(steps)):
        sums = sums.add(one) if times > 0 else sums.subtract(one)
    assert sums == expected
    assert _sums(Random(seed).sample(rated, len(rated))) == expected


@given(rated=_rated())
def test_sums_are_those_of_the_products(rated: list[RatedFeatures]) -> None:
    """Each entry is the sum of the products of two features, of a feature and the thumb, or a number of comments."""
    entries = [(1, *one.features, 1 if one.is_up else -1) for one in rated]
    rows = _sums(rated).rows
    for row, sums in enumerate(rows):
        assert sums == tuple(sum(one[row] * one[column] for one in entries) for column in range(row + 1))


@given(rated=_rated(), factor=st.integers(2, 5))
def test_the_scale_of_features_does_not_matter(rated: list[RatedFeatures], factor: int) -> None:
    """Readings of comments are the same if all features are multiplied."""
    assume(len({one.features for one in rated}) > 1)
    larger = [RatedFeatures(tuple(factor * one for one in each.features), each.is_up) for each in rated]
    for one, other in zip(_model(rated).left_out, _model(larger).left_out, strict=True):
        assert isclose(one, other, rel_tol=1e-5, abs_tol=1e-7)


def test_another_number_of_features() -> None:
    """It is refused, with both numbers."""
    with pytest.raises(ValueError, match="Expected 4 features, got 3"):
        FeatureSums.empty(4).add(RatedFeatures((1, 2, 3), is_up=True))


@given(rated=_rated())
def test_left_out_readings_are_those_of_a_model_without_the_comment(rated: list[RatedFeatures]) -> None:
    """The closed form equals learning from the others, with the same ridge and calibration."""
    model, sums = _model(rated), _sums(rated)
    ridge = _ridge(sums.rows[:-1])
    for index, one in enumerate(rated):
        *rows, products = sums.subtract(one).rows
        factor = _cholesky(_penalised(rows, ridge))
        weights = _solve_upper(factor, _solve_lower(factor, products[:-1]))
        without = EmbeddedModel(weights, model.slope, model.intercept, (), is_better=True)
        assert isclose(without.reading(one.features), model.left_out[index], rel_tol=1e-6, abs_tol=1e-9)


def test_it_learns_what_ratings_say() -> None:
    """A telling feature is read as it was rated, and readings are calibrated for comments that it does not know."""
    model = _model(_comments(400))
    assert model.is_better
    assert model.reading((90, 0, 0, 0)) > 0.9
    assert model.reading((-90, 0, 0, 0)) < 0.1
    unknown = _comments(400, seed=2)
    right = [(model.reading(one.features) > 0.5) == one.is_up for one in unknown]
    assert sum(right) / len(right) > 0.9


def test_equal_comments_give_an_equal_model_in_any_order() -> None:
    """The readings are equal to the last bit."""
    rated = _comments(100)
    order = Random(2).sample(range(100), 100)
    model, shuffled = _model(rated), _model([rated[index] for index in order])
    assert (shuffled.weights, shuffled.slope, shuffled.intercept) == (model.weights, model.slope, model.intercept)
    assert shuffled.left_out == tuple(model.left_out[index] for index in order)


def test_it_is_better_only_if_it_clearly_is() -> None:
    """Neither noise nor fewer than 50 comments are; and nothing is better than perfect readings."""
    noise = [RatedFeatures(one.features, Random(number).random() < 0.5) for number, one in enumerate(_comments(200))]
    assert not _model(noise).is_better
    assert not _model(_comments(49)).is_better
    assert _model(_comments(50)).is_better
    rated = _comments(200)
    perfect = [float(one.is_up) for one in rated]
    assert not EmbeddedModel.fit(_sums(rated), rated, perfect).is_better

"""What is proposed can be chosen, was not tried, and learns from what was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.gaussian import (
    _normal,
    _surprise,
    estimated,
    far,
    fitted,
    hoped,
    most_telling,
    suggest,
)


def bowl(points):
    "Small at 0.3 along the first dimension; the second says nothing."
    return (points[:, 0] - 0.3) ** 2


def to_fifths(found):
    "What can be chosen where there are five values each."
    return (np.minimum(np.floor(5 * found), 4) + 0.5) / 5


@pytest.mark.parametrize("seed", range(3))
def test_a_grid_is_tried_whole_and_only_once(seed):
    rng = np.random.default_rng(seed)
    points = to_fifths(rng.uniform(size=(1, 2)))
    while (new := suggest(points, bowl(points), seed, snap=to_fifths)) is not None:
        assert new.round(9).tolist() not in points.round(9).tolist()
        points = np.vstack([points, new])
        assert len(points) <= 25
    assert len(points) == 25


def test_noise_is_not_believed_and_a_dimension_that_says_nothing_is_found():
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(40, 2))
    model = fitted(points, bowl(points) + rng.normal(0, 0.05, 40))
    line = np.linspace(0.1, 0.9, 9)
    mean, _ = estimated(model, np.stack([line, np.full(9, 0.5)], axis=1))
    assert np.abs(mean - bowl(line[:, None])).mean() < 0.05
    first, second = model.kernel_.k1.k2.length_scale
    assert second > 2 * first


def test_what_runs_is_not_proposed_again_and_equal_seeds_agree():
    points = np.random.default_rng(1).uniform(size=(8, 2))
    first = suggest(points, bowl(points), 0)
    assert suggest(points, bowl(points), 0).tolist() == first.tolist()
    second = suggest(points, bowl(points), 0, tried=first[None])
    assert np.abs(second - first).max() > 0.01
    flat = suggest(points, np.ones(8), 0)
    assert np.isfinite(flat).all()


def test_hope_is_above_zero_and_grows_with_the_score_to_beat():
    points = np.random.default_rng(2).uniform(size=(8, 2))
    model = fitted(points, bowl(points))
    low, high = (hoped(model, points, best) for best in (0.0, 0.2))
    assert (low >= 0).all() and (high >= low).all() and high.mean() > low.mean() + 0.1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(2, 10))
def test_the_best_and_the_latest_are_kept(scores, most):
    kept = most_telling(scores, most).tolist()
    assert kept == sorted(set(kept)) and len(kept) == min(len(scores), most)
    assert len(scores) - 1 in kept
    assert min(scores) in [scores[at] for at in kept]


def test_the_farthest_is_chosen():
    known = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert far(known, np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.5]])) == 1
    assert far(known[:0], known) == 0


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 10**6))
def test_a_kernel_fits_as_well_as_scikit_learn_says(count, dimensions, seed):
    rng = np.random.default_rng(seed)
    points, scores = rng.uniform(size=(count, dimensions)), rng.normal(5, 3, count)
    theta = rng.uniform(-2.5, 2.5, dimensions + 2)
    model = fitted(points, scores)
    with np.errstate(all="raise"):
        apart = (points.T[:, :, None] - points.T[:, None, :]) ** 2
        found = _surprise(apart, _normal(scores), theta)
    value, slopes = model.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
    np.testing.assert_allclose(found[0], -value, rtol=1e-6)
    np.testing.assert_allclose(found[1], -slopes, rtol=1e-5, atol=1e-6)

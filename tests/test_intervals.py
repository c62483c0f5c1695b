"""Intervals and differences against scipy, hypothesis's numbers and hostile input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imgrec.core import DataError, OptionError
from imgrec.intervals import Difference, Interval, difference, interval


@given(st.integers(1, 100_000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_interval_is_wilsons_and_holds_its_value(n, share, level):
    successes = round(share * n)
    ours = interval(successes, n, level)
    theirs = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], atol=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1
    assert ours.high - ours.low > 0


def test_more_pictures_give_a_narrower_range():
    widths = [interval(9 * n, 10 * n).high - interval(9 * n, 10 * n).low for n in (1, 10, 100)]
    assert widths == sorted(widths, reverse=True)


def test_no_pictures_tell_nothing():
    nothing = interval(0, 0)
    assert np.isnan(nothing.value) and (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize("successes, n", [(-1, 5), (6, 5), (float("nan"), 5), (0, -1)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(DataError, match="Expected 0 <= successes <= n"):
        interval(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan")])
def test_impossible_levels_are_refused(level):
    for run in (lambda: interval(1, 2, level), lambda: difference([0, 1], [1, 0], level=level)):
        with pytest.raises(OptionError, match=r"such as 0\.95"):
            run()


def test_faces():
    assert str(interval(266, 270)) == "98.5 % (95 % interval 96.3 to 99.4, n=270)"
    assert str(Interval(0.5, 0.25, 0.75, 4, 0.9)) == "50.0 % (90 % interval 25.0 to 75.0, n=4)"
    tie = Difference(0.004, -0.01, 0.018, 25)
    assert str(tie) == "+0.4 points (95 % interval -1.0 to +1.8, n=25): a tie"
    assert str(Difference(-0.02, -0.03, -0.01, 25)).endswith("B is better")


def test_difference_is_a_t_test_with_the_corrected_variance():
    rng = np.random.default_rng(0)
    a, b = rng.random(25), rng.random(25)
    found = difference(a, b, folds=5, level=0.95)
    gaps = a - b
    scale = np.sqrt((1 / 25 + 0.2 / 0.8) * gaps.var(ddof=1))
    expected = stats.t.interval(0.95, 24, loc=gaps.mean(), scale=scale)
    np.testing.assert_allclose([found.low, found.high], expected)
    uncorrected = stats.ttest_rel(a, b).confidence_interval()
    without = difference(a, b, folds=10**12)
    np.testing.assert_allclose([without.low, without.high], uncorrected, rtol=1e-6)


def test_difference_turns_with_its_arguments():
    a, b = [0.9, 0.8, 0.95], [0.7, 0.85, 0.6]
    there, back = difference(a, b), difference(b, a)
    np.testing.assert_allclose([there.low, there.high], [-back.high, -back.low])


@pytest.mark.parametrize(
    "a, b, folds",
    [([0.9], [0.8], 5), ([0.9, 0.8], [0.9], 5), ([[0.9], [0.8]], [[0.9], [0.8]], 5),
     ([0.9, 0.8], [0.9, 0.7], 1), ([0.9, float("nan")], [0.9, 0.8], 5)],
)  # fmt: skip
def test_scores_that_cannot_be_compared_are_refused(a, b, folds):
    with pytest.raises(DataError):
        difference(a, b, folds)

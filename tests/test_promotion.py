"""Who goes on is among the best that have come as far; who is out stays out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.promotion import Line, expected, next_up, rungs_of, standing, telling, waiting

scores = st.lists(st.floats(0, 1), min_size=1, max_size=3)


def lines_of(curves, rungs=(1, 3, 9)):
    """Lines that get no worse: each score is the best so far."""
    best = [np.minimum.accumulate(values).tolist() for values in curves]
    return [Line(str(n), dict(zip(rungs, b, strict=False))) for n, b in enumerate(best)]


@given(st.lists(scores, max_size=20), st.data())
def test_who_goes_on_is_free_and_among_the_best_third(curves, data):
    lines = lines_of(curves)
    for line in lines:
        line.free = data.draw(st.booleans())
    most = data.draw(st.integers(1, 5))
    up = next_up(lines, [1, 3, 9], most=most)
    for epochs, further in ((3, 9), (1, 3)):
        ahead = standing(lines, epochs)
        may = [e for e in ahead[: min(len(ahead) // 3, most)] if e.free and further not in e.best]
        if may:
            assert up == (may[0], further)
            assert any(each is up[0] for each in waiting(lines, [1, 3, 9], most))
            break
    else:
        assert up is None


@given(st.lists(scores, max_size=12), st.lists(scores, max_size=12), st.integers(1, 4))
def test_who_is_out_stays_out_whoever_comes(first, later, most):
    before, rungs = lines_of(first), [1, 3, 9]
    wanted = [id(each) for each in waiting(before, rungs, most)]
    still = waiting([*before, *lines_of(later)], rungs, most)
    assert {id(each) for each in still} & set(map(id, before)) <= set(wanted)


@given(st.lists(scores, min_size=1, max_size=12))
def test_what_came_to_its_end_is_taken_as_it_is_and_order_within_a_rung_stays(curves):
    lines = lines_of(curves)
    guesses = expected(lines, [1, 3, 9])
    for line, guess in zip(lines, guesses, strict=True):
        assert guess <= line.best[max(line.best)]
        assert 9 not in line.best or guess == line.best[9]
    for epochs in (1, 3):
        stopped = [n for n, line in enumerate(lines) if max(line.best) == epochs]
        by_guess = sorted(stopped, key=lambda n: guesses[n])
        reached = [lines[n].best[epochs] for n in by_guess]
        assert reached == pytest.approx(sorted(reached))


@given(st.integers(1, 500), st.integers(2, 5))
def test_rungs_rise_to_the_whole(epochs, factor):
    rungs = rungs_of(epochs, factor)
    assert rungs == sorted(set(rungs)) and rungs[-1] == epochs and rungs[0] >= 1
    assert rungs[0] <= factor


def test_a_score_of_other_epochs_is_carried_to_the_end():
    lines = [Line("a", {1: 0.9, 3: 0.6, 9: 0.5}), Line("b", {2: 0.9}, free=False)]
    assert expected(lines, [1, 3, 9]) == pytest.approx([0.5, 0.9 - 0.3 - 0.1])
    assert next_up(lines, [1, 3, 9]) is None


def test_rungs_of_luck_are_mostly_left_out_and_others_hardly_ever():
    rng, left_out = np.random.default_rng(0), []
    for spread in (0.0, 0.05):
        found = []
        for _ in range(400):
            scores = 0.5 + rng.normal(0, spread, 8) + rng.normal(0, 0.01, 8)
            lines = [Line(str(n), {1: s}, error={1: 0.01}) for n, s in enumerate(scores)]
            found.append(telling(lines, [1, 3, 9]) == [3, 9])
        left_out.append(np.mean(found))
    assert left_out[0] > 0.9 and left_out[1] < 0.02


@given(st.lists(st.floats(0, 1), min_size=8, max_size=20), st.data())
def test_what_eight_lines_have_said_stays(scores, data):
    lines = [Line(str(n), {1: s}, error={1: 0.1}) for n, s in enumerate(scores)]
    later = data.draw(st.integers(8, len(lines)))
    assert telling(lines[:later], [1, 3]) == telling(lines, [1, 3])


def test_where_errors_are_not_known_every_rung_counts():
    lines = [Line(str(n), {1: 0.5}) for n in range(20)]
    assert telling(lines, [1, 3, 9]) == [1, 3, 9]

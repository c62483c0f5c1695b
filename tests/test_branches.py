"""Few points stand for a space, and what fails has a name."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_space import all_points, conditional

from imgrec.branches import (
    Cause,
    branch_points,
    branches_of,
    causes_of,
    random_points,
    reachable,
    telling_values,
    value_text,
)
from imgrec.entries import Float, Int, holds
from imgrec.space import Bool, Choice, Fixed, Space, misfit, used_names


def keys(point):
    return {(name, value_text(value)) for name, value in point.items()}


@settings(max_examples=60)
@given(conditional())
def test_every_branch_value_and_pair_that_can_be_has_a_point(space):
    points = branch_points(space, limit=1000)
    assert [misfit(space, point) for point in points] == [""] * len(points)
    assert points[0] == space.defaults()
    seen = [keys(point) for point in points]
    for branch in branches_of(space):
        assert any(keys(branch) <= each for each in seen), branch
    telling = {(n, value_text(v)) for n in space.entries for v in telling_values(space, n)}
    for other in all_points(space):
        for pair in itertools.combinations(keys(other) & telling, 2):
            assert any(set(pair) <= each for each in seen), pair


@settings(max_examples=60)
@given(conditional(), st.data())
def test_what_is_reachable_is_reached(space, data):
    wanted = dict(data.draw(st.sampled_from(all_points(space))))
    some = data.draw(st.lists(st.sampled_from(sorted(wanted)), unique=True, max_size=2))
    found = reachable(space, {name: wanted[name] for name in some})
    assert found is not None, "a point has them all"
    assert set(found) <= used_names(space, found)


@settings(max_examples=40)
@given(conditional(), st.integers(0, 99))
def test_points_by_chance_are_points_and_the_same_for_a_seed(space, seed):
    points = random_points(space, 20, seed)
    assert [misfit(space, point) for point in points] == [""] * 20
    assert points[:7] == random_points(space, 7, seed)


@given(st.integers(1, 9), st.integers(0, 40), st.integers(1, 4), st.booleans())
def test_values_that_tell_are_values(low, width, step, log):
    entry = Int(low, low + width, step, log)
    values = telling_values(Space(depth=entry), "depth")
    assert all(holds(entry, value) for value in values) and values[0] == low
    chance = [point["depth"] for point in random_points(Space(depth=entry), 20)]
    assert all(holds(entry, value) for value in chance)


def test_a_range_on_a_log_scale_is_drawn_evenly_by_orders():
    space = Space(rate=Float(1e-4, 1e-2, log=True))
    low = [point["rate"] < 1e-3 for point in random_points(space, 2000)]
    assert 0.45 < sum(low) / 2000 < 0.55


def test_entries_that_are_tried_singly_do_not_multiply():
    values = Choice(*range(10))
    space = Space(width=values, optimizer=values, loss=values)
    assert len(branch_points(space)) >= 100
    assert len(branch_points(space, singly=("optimizer", "loss"))) <= 12


DEEP = Space(depth=Int(2, 6), image_size=Choice(32, 64), width=Choice(8, 16), flip=Bool(), x=1)
FAILS = {
    "[depth=6 with image_size=32]": lambda p: p["depth"] == 6 and p["image_size"] == 32,
    "[depth>=4]": lambda p: p["depth"] > 3,
    "[flip=True]": lambda p: p["flip"],
    "[depth=2, width=16 with flip=True]": lambda p: (
        p["depth"] == 2 or (p["width"] > 8 and p["flip"])
    ),
}


@pytest.mark.parametrize("said", FAILS)
def test_the_cause_of_what_fails_is_found(said):
    points = [*branch_points(DEEP), *random_points(DEEP, 80)]
    failing = [point for point in points if FAILS[said](point)]
    working = [point for point in points if not FAILS[said](point)]
    assert repr(causes_of(DEEP, failing, working)) == said


@settings(max_examples=60)
@given(conditional(), st.data())
def test_no_working_point_has_a_cause_and_what_is_counted_has_it(space, data):
    points = [*branch_points(space, limit=30), *random_points(space, 10)]
    marks = data.draw(st.lists(st.booleans(), min_size=len(points), max_size=len(points)))
    failing = [point for point, mark in zip(points, marks, strict=True) if mark]
    working = [point for point, mark in zip(points, marks, strict=True) if not mark]
    assume(failing)
    left = list(failing)
    for cause in causes_of(space, failing, working):
        assert not any(cause.meets(point) for point in working)
        assert sum(cause.meets(point) for point in left) == cause.points >= 2
        assert not any(isinstance(space.entries[name], Fixed) for name, _, _ in cause.parts)
        left = [point for point in left if not cause.meets(point)]


def test_a_point_without_the_entry_does_not_have_the_cause():
    cause = Cause((("depth", ">=", 4),), 2)
    assert cause.meets({"depth": 5}) and not cause.meets({"depth": 3}) and not cause.meets({})

"""Learning rates by step: what they promise at both ends, and that a step is all they know."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.core import OptionError
from imgrec.schedules import SCHEDULES, OneCycle, make_schedule


def rates(schedule, steps):
    "The rate of each step, and of one long after the last."
    return np.array([float(schedule(step)) for step in (*range(steps + 1), 10 * steps)])


@settings(max_examples=60)
@given(
    st.floats(1e-6, 10),
    st.integers(1, 200),
    st.floats(0, 0.95),
    st.floats(1e-3, 1),
    st.floats(0, 1),
)
def test_a_cycle_rises_to_its_top_falls_and_stays(highest, steps, rising, first, last):
    found = rates(OneCycle(highest, steps, rising, first, last), steps) / highest
    assert (found >= min(first, last) - 1e-5).all() and (found <= 1 + 1e-5).all()
    top = rising * steps  # between two steps, in general; where all are one height, any is a top
    rise, fall = found[: math.floor(top) + 1], found[math.ceil(top) :]
    assert (np.diff(rise) >= -1e-5).all() and (np.diff(fall) <= 1e-5).all()
    assert found.max() == pytest.approx(max(rise[-1], fall[0]), abs=1e-5)
    assert found[-1] == pytest.approx(found[-2], abs=1e-6) == pytest.approx(last, abs=1e-5)
    if rising * steps >= 1:
        assert found[0] == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("name", ["one_cycle", "cosine"])
def test_a_schedule_is_saved_with_its_optimizer(name, tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    schedule = make_schedule(name, 0.1, 20)
    model.compile(keras.optimizers.Adam(schedule), "mse")
    model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert float(again.optimizer.learning_rate) == pytest.approx(float(schedule(4)))
    json.dumps(schedule.get_config())


def test_a_cosine_warms_up_and_ends_at_nothing():
    found = rates(make_schedule("cosine", 0.5, 100), 100)
    assert found[5] == pytest.approx(0.5) and found.argmax() == 5
    assert found[0] > 0 and found[-1] == found[-2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_a_rate(name, steps):
    schedule = make_schedule(name, 0.1, steps)
    found = rates(schedule, steps) if callable(schedule) else np.array([schedule])
    assert np.isfinite(found).all() and found.max() <= 0.1 + 1e-8 and found[0] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"highest": 0}, "rate above 0"),
        ({"steps": 0}, "steps from 1"),
        ({"rising": 1}, "rising below 1"),
        ({"rising": -0.1}, "rising must be in 0 to 1"),
        ({"first": 2}, "first must be in 0 to 1"),
        ({"last": -1}, "last must be in 0 to 1"),
    ],
)
def test_impossible_cycles_are_named(options, words):
    with pytest.raises(OptionError, match=words):
        OneCycle(**{"highest": 0.1, "steps": 10, **options})


def test_a_schedule_that_there_is_not_is_named():
    with pytest.raises(OptionError, match="Did you mean 'one_cycle'"):
        make_schedule("one_cycl", 0.1, 10)

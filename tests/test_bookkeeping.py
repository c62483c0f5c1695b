"""Oracles with less bookkeeping answer what KerasTuner's own answer, whatever happens to trials."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.bookkeeping import Brief, light
from imgrec.hyperparameters import registered
from imgrec.space import Bool, Choice, Float, Int, Space

SPACE = Space(
    width=Choice(4, 8, 16),
    rate=Float(1e-4, 1.0, log=True),
    depth=Int(1, 3),
    norm=Bool(when="depth", equals=(2, 3)),
)
SMALL = Space(width=Choice(4, 8), depth=Int(1, 3), norm=Bool(when="depth", equals=(2, 3)))
LARGE = Space(rate=Float(1e-4, 1.0, log=True), dropout=Float(0.0, 0.9), depth=Int(1, 9))
KINDS = {
    "random": ("RandomSearchOracle", {"max_trials": None}),
    "grid": ("GridSearchOracle", {"max_trials": None}),
    "hyperband": ("HyperbandOracle", {"max_epochs": 27, "hyperband_iterations": 2}),
}


class Quiet:
    "Before a class of KerasTuner's: no files, and no end after failures."

    def save(self):
        pass

    def _save_trial(self, trial):
        pass

    def _check_consecutive_failures(self):
        pass


def oracle_of(strategy, brief, space, direction, seed):
    import keras_tuner

    name, options = KINDS[strategy]
    hp = registered(space, strategy)
    before = (Quiet, Brief) if brief else (Quiet,)
    made = type("Oracle", (*before, getattr(keras_tuner.oracles, name)), {})
    objective = keras_tuner.Objective("score", direction)
    hp = light(hp) if brief else hp
    oracle = made(objective=objective, hyperparameters=hp, seed=seed, **options)
    oracle.verbose, oracle._max_collisions = 0, 40
    return oracle


def ended(oracle, trial, score):
    "Tell an oracle how a trial has ended."
    trial = oracle.trials[trial.trial_id]
    trial.status = "FAILED" if score is None else "COMPLETED"
    if score is not None and not isinstance(oracle, Brief):
        oracle.update_trial(trial.trial_id, {"score": score})
    trial.score = score
    oracle.end_trial(trial)


def told(trial):
    "A trial as an oracle has answered it."
    return trial.status, trial.trial_id, trial.hyperparameters.values


@pytest.mark.parametrize("strategy", KINDS)
@settings(max_examples=12)
@given(st.integers(1, 10**6), st.sampled_from([SPACE, SMALL]), st.sampled_from(["min", "max"]))
def test_the_same_answers_after_any_history(strategy, seed, space, direction):
    theirs, ours = (oracle_of(strategy, brief, space, direction, seed) for brief in (0, 1))
    chance, running, most = random.Random(seed), [], random.Random(seed).choice([1, 2, 7])
    for number in range(150):
        asked = theirs.create_trial(f"tuner {number}"), ours.create_trial(f"tuner {number}")
        assert told(asked[0]) == told(asked[1])
        if asked[0].status == "RUNNING":
            running.append(asked)
        elif not running:
            break
        while running and (len(running) >= most or asked[0].status == "IDLE"):
            pair = running.pop(chance.randrange(len(running)))
            score = chance.choice([None, -math.inf, 0.0, 0.5, chance.random()])
            for oracle, trial in zip((theirs, ours), pair, strict=True):
                ended(oracle, trial, score)
            if chance.random() < 0.7:
                break
        assert ours._seed_state == theirs._seed_state


def test_copies_of_a_space_have_values_of_their_own():
    hp = light(registered(SPACE, "random"))
    one, other = hp.copy(), hp.copy()
    one.values["width"] = 2
    assert other.values["width"] == hp.values["width"] != 2
    assert one.copy().values == one.values and one.copy().values is not one.values


def counted(strategy, brief, trials, monkeypatch):
    "How often trials are looked at in so many of them."
    from keras_tuner.src.engine.trial import Trial

    calls = 0

    class Counted(Trial):
        def __getattribute__(self, name):
            nonlocal calls
            calls += 1
            return super().__getattribute__(name)

    with monkeypatch.context() as patch:
        patch.setattr("keras_tuner.src.engine.trial.Trial", Counted)
        patch.setitem(KINDS["hyperband"][1], "max_epochs", 243)
        oracle, chance = oracle_of(strategy, brief, LARGE, "max", 1), random.Random(1)
        for _ in range(trials):
            ended(oracle, oracle.create_trial("tuner"), chance.random())
    return calls


@pytest.mark.parametrize("strategy", KINDS)
def test_twice_as_many_trials_are_about_twice_the_work(strategy, monkeypatch):
    counts = [counted(strategy, True, trials, monkeypatch) for trials in (200, 400)]
    assert 0 < counts[1] < 2.2 * counts[0]


def test_hyperband_looks_at_few_trials_for_an_answer(monkeypatch):
    theirs, ours = (counted("hyperband", brief, 400, monkeypatch) for brief in (False, True))
    assert ours < theirs / 5

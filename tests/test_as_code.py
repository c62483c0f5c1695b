"""A trial written as code is the same training."""

import keras
import pytest

from imgrec.as_code import code_of
from imgrec.core import SearchError
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.hyperparameters import as_builder
from imgrec.link import Link
from imgrec.plan import Plan
from imgrec.search import Search
from imgrec.space import Choice, Float, Int, Space
from imgrec.state import TrialState
from imgrec.trials import run_trial


@pytest.fixture(scope="module")
def catalog():
    return digits().sample(per_class=6).split(valid=0.3, test=0.2)


def flat(spec, units=4):
    pixels = keras.Input(spec.shape)
    x = keras.layers.Dense(units, "relu")(keras.layers.Flatten()(pixels / 255))
    return keras.Model(pixels, keras.layers.Dense(spec.classes, "softmax")(x))


def asked(hp):
    pixels = keras.Input((8, 8, 1))
    x = keras.layers.Dense(hp.Choice("units", [4, 8]))(keras.layers.Flatten()(pixels / 255))
    model = keras.Model(pixels, keras.layers.Dense(10, "softmax")(x))
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    return model


def both(plan, point, names, epochs=2):
    "The score of a trial, and of its code, and the code."
    trial = TrialState(1, point, seed=5, epochs=epochs)
    text = code_of(plan, trial)
    outcome = run_trial(plan, trial, Link(plan.objective, plan.direction))
    scope = dict(names)
    exec(text.replace("fit(model, splits", "fit(model, splits, progress='none'"), scope)
    history = scope["run"].history[plan.objective]
    return outcome.score, history.agg(plan.direction), text


@pytest.mark.parametrize(
    "point",
    [
        {"width": 4, "depth": 1},
        {"width": 4, "batch_size": 8, "learning_rate": 0.02, "schedule": "cosine"},
        {"model": "small_resnet", "width": 4, "augment": "medium", "augment_strength": 1.5},
        {"width": 4, "depth": 2, "frozen_layers": 2, "image_size": [12, 10], "balance": True},
        {"width": 4, "epochs": 3, "label_smoothing": 0.1, "ema": 0.9, "class_weights": {"3": 4.0}},
    ],
    ids=str,
)
def test_it_comes_to_the_score_of_the_trial(catalog, point):
    plan = Plan("small_cnn", load(catalog, image_size=8, seed=2))
    trial, code, text = both(plan, point, {"catalog": catalog})
    assert code == pytest.approx(trial, abs=1e-6)
    assert len([line for line in text.splitlines() if line]) <= 10
    assert "seed=2" in text and "label_mode" not in text and "channels" not in text


def test_builders_of_ones_own_and_a_loss(catalog):
    splits = load(catalog, image_size=8, label_mode="int", channels=3, resize="pad")
    plan = Plan(flat, splits, "val_loss", "min", fit_options=lambda: {"weight_decay": 0.1})
    names = {"catalog": catalog, "flat": flat, "fit_options": plan.fit_options}
    trial, code, text = both(plan, {"units": 6, "batch_size": 16}, names)
    assert code == pytest.approx(trial, abs=1e-6)
    assert "flat(splits.spec, units=6)" in text and "**fit_options()" in text
    assert "label_mode='int'" in text and "channels=3" in text and "resize='pad'" in text
    wild = code_of(Plan(flat, splits, "val_cost", "min"), TrialState(1, {}, 0, 2))
    assert "monitor=('val_cost', 'min')" in wild


def test_a_builder_in_kerastuners_style(catalog):
    builder = as_builder(asked)[0]
    plan = Plan(builder, load(catalog, image_size=8))
    point = {"units": 8, "learning_rate": 0.02, "batch_size": 16}
    trial, code, text = both(plan, point, {"catalog": catalog, "asked": asked})
    assert code == pytest.approx(trial, abs=1e-6)
    assert "hp.values = {'units': 8, 'learning_rate': 0.02}" in text


def test_datasets_of_ones_own_are_named(catalog):
    splits = load(catalog, image_size=8)
    own = from_datasets(splits.train, splits.valid)
    text = code_of(Plan(flat, own), TrialState(1, {"units": 4}, 3, 2))
    assert "# splits: the datasets that the search was given" in text and "load" not in text
    compile(text, "code", "exec")


def test_a_search_gives_the_code_of_its_best_and_of_any(catalog, tmp_path):
    space = Space(width=Choice(4, 8), depth=Int(1, 2), learning_rate=Float(1e-3, 1e-1, log=True))
    data = load(catalog, image_size=8)
    how = {
        "budget": 3,
        "epochs": 1,
        "directory": tmp_path,
        "progress": "none",
        "executor": "inline",
    }
    search = Search(space, "small_cnn", data, **how)
    with pytest.raises(SearchError, match="No trial has finished yet"):
        search.to_code()
    search.run()
    best = search.best()
    assert f"learning_rate={best.point['learning_rate']!r}" in search.to_code()
    assert search.to_code(best.trial) == search.to_code()
    assert len({search.to_code(number) for number in (1, 2, 3)}) == 3
    with pytest.raises(SearchError, match="There is no trial 4"):
        search.to_code(4)

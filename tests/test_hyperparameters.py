"""A builder written for KerasTuner is searched as it is: its own ranges, names and compilation."""

import keras
import keras_tuner
import pytest

from imgrec.core import ImageSpec, OptionError, SearchError, SpaceError
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.hyperparameters import HyperBuilder, as_builder, takes_hp
from imgrec.plan import Plan, model_of
from imgrec.search import Search
from imgrec.space import Bool, Choice, Fixed, Float, Int, Space, misfit
from imgrec.trials import fit_point

SPEC = ImageSpec(8, 8, 1, tuple("0123456789"))


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def net(units=8):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Dense(units, "relu")(keras.layers.Flatten()(inputs / 255))
    return keras.Model(inputs, keras.layers.Dense(10, "softmax")(x))


def compiled(hp):
    model = net(hp.Choice("units", [4, 8]))
    optimizer = keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"))
    model.compile(
        optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["mse"]
    )
    return model


class Net(keras_tuner.HyperModel):
    def build(self, hp):
        return net(hp.Int("units", 4, 8, step=2))


class OwnFit(Net):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [8, 16]), **kwargs)


@pytest.mark.parametrize(
    ("declare", "entry"),
    [
        (lambda hp: hp.Int("a", 2, 9), Int(2, 9)),
        (lambda hp: hp.Int("a", 2, 9, step=3, default=5), Int(2, 9, step=3, default=5)),
        (lambda hp: hp.Int("a", 8, 64, step=2, sampling="log"), Int(8, 64, step=2, log=True)),
        (lambda hp: hp.Float("a", 0, 0.5, default=0.2), Float(0.0, 0.5, default=0.2)),
        (lambda hp: hp.Float("a", 1e-4, 0.1, sampling="log"), Float(1e-4, 0.1, log=True)),
        (lambda hp: hp.Float("a", 0, 0.5, step=0.25), Choice(0.0, 0.25, 0.5)),
        (lambda hp: hp.Choice("a", ["x", "y"], default="y"), Choice("x", "y", default="y")),
        (lambda hp: hp.Boolean("a", default=True), Bool(True)),
        (lambda hp: hp.Fixed("a", 3), Fixed(3)),
    ],
    ids=lambda each: repr(each) if not callable(each) else "",
)
def test_each_of_kerastuners_kinds_becomes_an_entry(declare, entry):
    space = as_builder(lambda hp: declare(hp))[1]
    assert space.entries == {"a": entry}


def test_what_a_loop_or_a_branch_asks_for_is_found():
    def deep(hp):
        for number in range(hp.Int("layers", 0, 3)):
            hp.Choice(f"units {number}", [8, 16])
            if hp.Choice(f"units {number}", [8, 16]) == 16:
                hp.Boolean(f"norm_{number}")

    found = as_builder(deep)[1]
    assert set(found.entries) == {"layers"} | {
        f"{a}{n}" for a in ("units ", "norm_") for n in "012"
    }
    few = as_builder(deep, calls=1)[1]
    assert set(few.entries) == {"layers"}


def test_scopes_become_conditions_and_a_chain_of_them():
    def build(hp):
        kind = hp.Choice("kind", ["plain", "residual", "wide"])
        with hp.conditional_scope("kind", ["residual", "wide"]):
            if kind != "plain":
                norm = hp.Boolean("norm")
                with hp.conditional_scope("norm", [True]):
                    if norm:
                        hp.Int("groups", 1, 4)

    space = as_builder(build)[1]
    assert space.entries["norm"] == Bool(when="kind", equals=("residual", "wide"))
    assert space.entries["groups"] == Int(1, 4, when="norm", equals=True)
    assert space.size == 1 + 2 * (1 + 4)
    assert misfit(space, {"kind": "wide", "norm": True, "groups": 2}) == ""


def test_one_name_in_scopes_of_one_entry_is_one_entry():
    def build(hp):
        hp.Choice("kind", ["a", "b", "c"])
        for kind in ("a", "c"):
            with hp.conditional_scope("kind", [kind]):
                hp.Int("depth", 1, 2)

    assert as_builder(build)[1].entries["depth"] == Int(1, 2, when="kind", equals=("a", "c"))


def test_what_cannot_be_taken_is_refused_by_its_name():
    def fails(hp):
        raise ValueError("no such layer")

    with pytest.raises(SearchError, match=r"fails with its defaults: ValueError: no such layer"):
        as_builder(fails)
    with pytest.raises(SpaceError, match="'a' is asked for with different ranges"):
        as_builder(lambda hp: hp.Int("a", 1, 3 if hp.Boolean("b") else 4))
    with pytest.raises(SearchError, match="OwnFit has a fit of its own"):
        as_builder(OwnFit())
    with pytest.raises(OptionError, match=r"Expected a Space\(...\), received NoneType"):
        as_builder("small_cnn")
    with pytest.raises(SearchError, match="asks for no hyperparameter"):
        as_builder(lambda hp: net())


def test_a_value_that_fails_leaves_the_rest_to_be_found():
    def touchy(hp):
        if hp.Choice("kind", ["fine", "broken"]) == "broken":
            raise ValueError("never works")
        hp.Boolean("flip")

    assert set(as_builder(touchy)[1].entries) == {"kind", "flip"}


def test_who_takes_hp_is_told_from_who_takes_a_spec():
    assert takes_hp(compiled) and takes_hp(Net()) and takes_hp(lambda hp, extra=3: None)
    assert not any(
        map(takes_hp, ("small_cnn", net, lambda spec, hp=1: None, lambda **hp: 1, lambda: 1, 3))
    )


def test_it_trains_as_it_was_compiled(few):
    builder, space = as_builder(compiled)
    assert isinstance(builder, HyperBuilder) and builder.names == ("units", "learning_rate")
    plan = Plan(builder, few)
    model = model_of(builder, few.spec, {"units": 8, "learning_rate": 0.02}, seed=1)
    run = fit_point(plan, {"units": 8, "learning_rate": 0.02}, model, few, epochs=1, seed=1)
    assert run.settings["optimizer"] == "SGD"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)
    assert "mse" in run.history and "accuracy" not in run.history
    assert space.defaults() == {"units": 4, "learning_rate": 1e-3}


def test_a_search_over_a_hypermodel_with_settings_of_ours_beside(few, tmp_path):
    def again(build=None, **options):
        space = Space(batch_size=Choice(8, 16), units=Int(4, 6, step=2))
        how = {"budget": 3, "epochs": 1, "directory": tmp_path / "s"}
        how |= {"progress": "none", "executor": "inline"}
        return Search(space, build or Net(), few, **how, **options)

    search = again().run()
    assert [t.status for t in search.snapshot().trials.values()] == ["finished"] * 3
    points = [t.point for t in search.snapshot().trials.values()]
    assert {frozenset(point) for point in points} == {frozenset({"units", "batch_size"})}
    assert {point["units"] for point in points} <= {4, 6}
    assert search.best_model().count_params() == net(search.best().point["units"]).count_params()
    assert again().snapshot().trials == search.snapshot().trials, "the same builder goes on"
    with pytest.raises(SearchError, match="build"):
        again(lambda hp: net(hp.Int("units", 4, 8, step=2)))

"""Finding a learning rate: the model stays as it was, a known rate is found, the time is kept."""

import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from test_plots import cut_off, overlapping

from imgrec.catalog import Catalog
from imgrec.core import DataError, ModelError, OptionError, seed_everything
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.finder import as_it_was, find_learning_rate, judged, landmarks, next_rate, smooth
from imgrec.models import build_model
from imgrec.train import fit
from imgrec.training_plots import plot_rate_test

RNG = np.random.default_rng(0)
LABELS = np.arange(48) % 3
SHADES = 20 + 90 * LABELS[:, None, None, None]
PICTURES = (RNG.integers(0, 30, (48, 6, 6, 1)) + SHADES).astype(np.uint8)


class Trap(keras.layers.Layer):
    "Raises an error in the batch of that number, in training."

    def __init__(self, error=None, batch=5):
        super().__init__()
        self.error, self.batch, self.seen = error, batch, 0

    def call(self, x, training=None):
        if self.error is not None and training:
            shape = x.shape
            x = tf.ensure_shape(tf.py_function(self.spring, [x], x.dtype), shape)
        return x

    def compute_output_shape(self, shape):
        return shape

    def spring(self, x):
        self.seen += 1
        if self.seen == self.batch:
            raise self.error
        return x


def network(error=None, outputs=3, shape=(6, 6, 1), activation="softmax"):
    "A network with everything that training changes: weights, averages, a generator."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), Trap(error), keras.layers.Flatten()]
    parts += [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    parts += [keras.layers.Dense(outputs, activation=activation)]
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.fixture(scope="module")
def splits():
    "48 small pictures of three shades, four batches an epoch."
    catalog = Catalog.from_arrays(PICTURES, LABELS, ["dark", "grey", "light"])
    return load(catalog.split(0.25, 0.25), batch_size=6, augment="none")


def quick(model, data, **options):
    "A test that says nothing."
    return find_learning_rate(model, data, **({"steps": 20, "progress": "none"} | options))


def everything(model):
    "All values that a model has."
    groups = [model.variables, model.metrics_variables]
    groups += [model.optimizer.variables] if model.compiled else []
    return [np.array(keras.ops.convert_to_numpy(v)) for group in groups for v in group]


def same(ours, theirs):
    "Whether all arrays are equal, to the bit."
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


# As it was


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ValueError("a bad batch")])
def test_the_model_is_as_it_was(splits, compiled, error):
    model = network(error)
    model.layers[3].trainable = False
    if compiled:
        model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
        model.evaluate(splits.valid, verbose=0)  # its metrics have values now
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(7)
    before = everything(model)
    optimizer, loss = (getattr(model, name, None) for name in ("optimizer", "loss"))
    trainable = [layer.trainable for layer in model.layers]
    if error is None:
        assert len(quick(model, splits).losses) > 5
    else:
        with pytest.raises((KeyboardInterrupt, ValueError, tf.errors.OpError)):
            quick(model, splits)
        assert model.layers[1].seen == 5, "the batch was never reached"
    assert same(before, everything(model))
    assert model.compiled == compiled and getattr(model, "optimizer", None) is optimizer
    assert getattr(model, "loss", None) is loss
    assert trainable == [layer.trainable for layer in model.layers]


def test_values_did_change_in_between(splits):
    model = network()
    before, during = everything(model), []
    with as_it_was(model):
        fit(model, splits, 1, progress="none")
        during = everything(model)[: len(before)]
    changed = [not np.array_equal(a, b) for a, b in zip(before, during, strict=True)]
    assert len(before) == 9 and sum(changed) == 9  # 4 of dense, 4 of the norm, a generator
    assert same(before, everything(model)[: len(before)])


def test_training_goes_on_as_if_there_had_been_no_test(splits):
    def trained(with_test):
        model = network()
        model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")
        batches = list(splits.training_steps(0, 8))
        for number, (x, y) in enumerate(batches):
            if with_test and number == 4:
                quick(model, splits)
            model.train_on_batch(x, y)
        return everything(model)

    for ours, theirs in zip(trained(False), trained(True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_model_without_anything_to_train_is_refused(splits):
    model = network()
    model.trainable = False
    with pytest.raises(ModelError, match="frozen"):
        quick(model, splits)
    assert not model.trainable


def test_an_optimizer_of_ones_own_is_copied(splits):
    own = keras.optimizers.SGD(0.3, momentum=0.9)
    test = quick(network(), splits, optimizer=own)
    assert test.optimizer == "SGD" and float(own.learning_rate) == pytest.approx(0.3)
    assert int(own.iterations) == 0 and not own.built
    cycle = keras.optimizers.schedules.CosineDecay(0.1, 100)
    assert quick(network(), splits, optimizer=keras.optimizers.Adam(cycle)).losses.shape == (20, 3)


# The right rate


def parabola(curvature):
    "A problem whose loss is a parabola of that curvature: sgd diverges from a rate of 2 / it on."
    x, labels = np.full((160, 1, 1, 1), 100.0, "float32"), RNG.permutation(160) % 5 > 0
    data = tf.data.Dataset.from_tensor_slices((x, labels.astype("float32")[:, None])).batch(16)
    splits = from_datasets(data, class_names=["no", "yes"], label_mode="binary")
    scale = (curvature / 2) ** 0.5 / 100  # the loss is (scale * 100 * w - label) ** 2
    parts = [keras.layers.Rescaling(scale), keras.layers.Flatten()]
    parts += [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    return keras.Sequential([keras.Input((1, 1, 1)), *parts]), splits


@pytest.mark.parametrize("curvature", [2.0, 20.0, 2000.0])
def test_a_known_rate_is_found(curvature):
    model, splits = parabola(curvature)
    test = quick(model, splits, optimizer="sgd", loss="mse", steps=200)
    limit = 2 / curvature
    assert limit / 10 < test.suggestion < limit
    assert limit < test.diverged_at < 30 * limit


def test_a_bottom_that_is_flat_and_long_begins_where_the_fall_ends():
    rates = np.geomspace(1e-5, 10, 200)
    losses = 0.001 + 2 / (1 + (rates / 0.001) ** 2) + np.linspace(1e-4, 0, 200)
    test = judged(list(zip(rates, losses, strict=True)), "adam", 1.0)
    assert 0.003 < test.suggestion < 0.3 and test.diverged_at is None


def test_the_suggestion_is_better_than_far_lower_and_far_higher_rates():
    splits = load(digits().split(seed=0), image_size=8, augment="none", batch_size=16)

    def small():
        seed_everything(1)
        return build_model("small_cnn", splits.spec, width=8, depth=1)

    rate = find_learning_rate(small(), splits, progress="none").suggestion
    losses = [
        fit(small(), splits, 2, learning_rate=rate * factor, progress="none").history["val_loss"]
        for factor in (0.01, 1, 100)
    ]
    low, found, high = (history.min() for history in losses)
    assert found < 0.7 * low and found < 0.7 * high


def test_a_loss_that_is_negative_does_not_end_the_test(splits):
    test = quick(network(), splits, loss=keras.losses.CosineSimilarity(), steps=40)
    assert len(test.losses) == 40 and (test.losses["loss"] < 0).all()


def test_a_loss_that_leaves_the_numbers_ends_it(splits):
    test = quick(network(activation=None), splits, loss="mse", optimizer="sgd", highest=1e30)
    assert test.diverged_at is not None and len(test.losses) < 20
    assert not np.isfinite(test.losses["smoothed"].iloc[-1]) or test.diverged_at < 1e30


def test_the_same_call_gives_the_same_answer(splits):
    model = network()
    first, second = (quick(model, splits).losses for _ in range(2))
    pd.testing.assert_frame_equal(first, second, rtol=1e-3)


def test_landmarks_of_curves():
    rates = np.geomspace(1e-4, 1, 40)

    def table(losses):
        return pd.DataFrame({"learning_rate": rates, "loss": losses, "smoothed": smooth(losses)})

    assert landmarks(table(np.full(40, 1.0))) is None
    assert landmarks(table(np.linspace(1, 9, 40))) is None
    assert landmarks(table(np.where(rates < 0.1, 2.0, np.nan))) is None
    found = landmarks(table(np.linspace(2, 1, 40)))
    assert found[1] == rates[-1], "the lowest loss of a curve that only falls is its last"


# The time


def test_the_time_is_kept_and_the_whole_range_seen(splits):
    class Slow(keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(self.wait, [x], x.dtype), x.shape)

        def wait(self, x):
            time.sleep(0.05)
            return x

    keras.utils.set_random_seed(0)
    parts = [Slow(), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), *parts])
    test = quick(model, splits, steps=1000, seconds=4, highest=0.1)
    assert 10 < len(test.losses) < 90 and "as many as fit in 4 s" in test.note
    rates = test.losses["learning_rate"]
    assert rates.is_monotonic_increasing and rates.iloc[-1] > 0.05
    none = quick(model, splits, seconds=0.001)
    assert len(none.losses) <= 2 and none.suggestion is None and "were not tried" in repr(none)


def test_rates_are_a_factor_apart(splits):
    rates = quick(network(), splits, lowest=1e-4, highest=1e-2, steps=21).losses["learning_rate"]
    np.testing.assert_allclose(rates, np.geomspace(1e-4, 1e-2, 21), rtol=1e-4)
    assert next_rate(0.1, 1.0, 0.0) == 1.0


# Data and labels


def test_arrays_datasets_and_mixed_labels(splits):
    arrays = ((PICTURES, LABELS), None)
    assert len(quick(network(), arrays).losses) == 20  # more than a pass
    data = tf.data.Dataset.from_tensor_slices((PICTURES.astype("float32"), LABELS)).batch(7)
    assert len(quick(network(), (data, data)).losses) == 20
    mixed = load(splits.catalog, batch_size=6, augment="strong")
    assert len(quick(network(), mixed, label_smoothing=0.1).losses) == 20


@pytest.mark.parametrize("mode", ["binary", "int", "categorical", "multi_label"])
def test_every_kind_of_label(mode):
    catalog = Catalog.from_arrays(PICTURES, (LABELS > 0).astype(int), ["dark", "light"])
    splits = load(catalog.split(0.25, 0.25), batch_size=12, augment="none", label_mode=mode)
    outputs = 1 if mode == "binary" else 2
    kind = "sigmoid" if mode in ("binary", "multi_label") else "softmax"
    assert np.isfinite(quick(network(None, outputs, activation=kind), splits).losses["loss"][0])


def test_a_model_that_is_a_class(splits):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def call(self, x):
            return self.inner(x)

    model = Own()
    assert len(quick(model, splits).losses) == 20 and not model.compiled


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "lowest"),
        ({"lowest": 0.0}, "above 0"),
        ({"highest": float("inf")}, "highest"),
        ({"steps": 9}, "steps"),
        ({"steps": 20.5}, "steps"),
        ({"seconds": 0}, "seconds"),
        ({"optimizer": "adamm"}, "optimizer"),
        ({"loss": "no such loss"}, "loss"),
        ({"progress": "loud"}, "progress"),
        ({"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_what_cannot_be_is_said_at_once(splits, options, word):
    model = network()
    before = everything(model)
    with pytest.raises(OptionError, match=word):
        quick(model, splits, **options)
    assert same(before, everything(model))


def test_what_does_not_fit_is_said_at_once(splits):
    with pytest.raises(ModelError, match="takes pictures of"):
        quick(network(shape=(5, 5, 1)), splits)
    with pytest.raises(ModelError, match="outputs"):
        quick(network(outputs=4), splits)
    with pytest.raises(DataError):
        quick(network(), digits())


# The figure


def falling(top=1e6):
    "A test of a curve that falls and explodes."
    rates = np.geomspace(1e-6, 10, 90)
    losses = 2.3 - 1.8 / (1 + (rates / 0.005) ** -1.5) + np.where(rates > 1, top * rates, 0)
    return judged(list(zip(rates, losses, strict=True))[:78], "a$b optimizer", 3.0)


def test_the_figure_shows_the_fall_and_nothing_is_cut_off():
    for size in ((4.6, 2.6), (2.6, 1.8)):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        ax = plot_rate_test(falling(), figure.subplots())
        assert ax.get_ylim()[1] < 4 and ax.get_xscale() == "log"
        assert not cut_off(ax) and not overlapping(ax)
        assert ax.texts[0].get_text().startswith("suggestion")


def test_the_figure_of_a_test_without_a_suggestion():
    for losses in ([2.0] * 20, [2.0] * 15 + [np.inf], [np.nan]):
        rows = list(zip(np.geomspace(1e-4, 1, len(losses)), losses, strict=True))
        test = judged(rows, "sgd", 1.0)
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        ax = plot_rate_test(test, figure.subplots())
        assert test.suggestion is None and not ax.texts and not cut_off(ax)

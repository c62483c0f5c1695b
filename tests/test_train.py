"""Training: one's own parts work in their places, and what cannot work is said at once."""

import base64
import io
import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from oddities import write_folder
from PIL import Image

from imgrec.catalog import Catalog
from imgrec.checks import check_fit
from imgrec.compiling import compile_model
from imgrec.core import DataError, ModelError, OptionError, SpecError
from imgrec.data import from_datasets, load
from imgrec.progress import Progress, duration, metrics_line, progress_callback
from imgrec.runs import Run
from imgrec.train import fit

RNG = np.random.default_rng(0)
LABELS = np.arange(48) % 3
SHADES = 20 + 90 * LABELS[:, None, None, None]
PICTURES = (RNG.integers(0, 30, (48, 6, 6, 1)) + SHADES).astype(np.uint8)


@pytest.fixture(scope="module")
def splits():
    "48 small pictures of three shades, four batches an epoch."
    catalog = Catalog.from_arrays(PICTURES, LABELS, ["dark", "grey", "light"])
    return load(catalog.split(0.25, 0.25), batch_size=6, augment="none")


def linear(outputs=3, activation="softmax", shape=(6, 6, 1)):
    "The smallest network that can tell shades apart."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential(
        [keras.Input(shape), *parts, keras.layers.Dense(outputs, activation=activation)]
    )


def quick(model, data, epochs=2, **options):
    "A training that says nothing."
    usual = {"learning_rate": 0.02} if isinstance(options.get("optimizer", ""), str) else {}
    return fit(model, data, epochs, progress="none", **usual | options)


class Interrupt(keras.callbacks.Callback):
    "Presses Ctrl-C after so many batches of training, or while validating."

    def __init__(self, batches=None):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def on_test_batch_end(self, batch, logs=None):
        if self.left is None:
            raise KeyboardInterrupt


class Spoil(keras.callbacks.Callback):
    "From an epoch on, throws away what was learned; keeps the weights of every epoch."

    def __init__(self, since, kept):
        super().__init__()
        self.since, self.kept = since, kept

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.since:
            shapes = [w.shape for w in self.model.get_weights()]
            self.model.set_weights([RNG.normal(0, 30, shape) for shape in shapes])

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model.get_weights())


# What comes out


def test_a_run_learns_and_says_how_it_came_about(splits):
    run = quick(linear(), splits, epochs=12)
    assert run.history.index.tolist() == list(range(1, 13)) and run.history.index.name == "epoch"
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} == set(run.history)
    assert run.history["loss"].iloc[-1] < 0.9 * run.history["loss"].iloc[0]
    answers = run.model.predict(splits.valid, verbose=0).argmax(axis=1)
    true = np.concatenate([y.numpy().argmax(axis=1) for _, y in splits.valid])
    assert run.history["val_accuracy"].iloc[-1] == pytest.approx((answers == true).mean())
    assert run.best_epoch == run.history["val_loss"].idxmin()
    settings = json.loads(json.dumps(run.settings))
    assert settings["data"] == splits.settings and settings["epochs"] == 12
    assert run.spec == splits.spec and "12 epochs" in repr(run)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(splits):
    first, second = (quick(linear(), splits, epochs=1).history for _ in range(2))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)
    other = quick(linear(), load(splits.catalog, batch_size=6, seed=1, augment="none"), epochs=1)
    assert abs(other.history["loss"] - first["loss"]).max() > 1e-4


def forgetful():
    "A network with dropout."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, last])


def test_dropout_follows_the_seed_whatever_was_drawn_before(splits):
    histories = []
    for seed in (0, 0, 1):
        model = forgetful()
        model(PICTURES[:3].astype("float32"), training=True)
        histories.append(quick(model, splits, epochs=1, seed=seed).history)
    first, second, other = histories
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)
    assert abs(other["loss"] - first["loss"]).max() > 1e-4


def test_the_order_of_arrays_follows_the_seed():
    data = [(PICTURES, LABELS)]
    first, second = (quick(linear(), data, epochs=1, seed=5).history for _ in range(2))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4)
    other = quick(linear(), data, epochs=1, seed=6).history
    assert abs(other["loss"] - first["loss"]).max() > 1e-5


def test_the_first_layer_moves_less_if_asked(splits):
    def deep():
        keras.utils.set_random_seed(0)
        parts = [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(4)]
        last = keras.layers.Dense(3, activation="softmax")
        return keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), *parts, last]
        )

    moved = []
    for lowest in (1.0, 1e-3):
        model = deep()
        before = model.get_weights()
        how = {"optimizer": "sgd", "schedule": "constant", "checkpoint": "last"}
        quick(model, splits, 1, lowest=lowest, **how)
        pairs = zip(before, model.get_weights(), strict=True)
        moved.append([np.abs(new - old).sum() for old, new in pairs])
    assert moved[1][0] < 0.05 * moved[0][0]
    assert moved[1][-2] > 0.5 * moved[0][-2]


def test_a_file_of_a_training_with_rates_by_depth_is_read_by_keras_alone(splits, tmp_path):
    run = quick(linear(), splits, lowest=0.1, directory=tmp_path)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.AdamW
    np.testing.assert_array_equal(loaded.get_weights()[0], run.model.get_weights()[0])


class Measure(keras.callbacks.Callback):
    "Adds a number to what is measured at the end of an epoch."

    def on_epoch_end(self, epoch, logs=None):
        logs["val_cost"], logs["said"] = abs(epoch - 1), "what is no number stays out"


def test_a_word_among_the_metrics_does_not_disturb_the_progress(splits, capsys):
    run = fit(linear(), splits, 2, progress="log", callbacks=[Measure()])
    assert run.finished and "val_cost" in run.history and "said" not in run.history
    assert "epoch 2/2" in capsys.readouterr().out


def test_a_callback_may_measure_what_is_to_be_best(splits):
    own = {"callbacks": [Measure()]}
    for way, best in (("min", 2), ("max", 1)):
        run = quick(linear(), splits, 3, monitor=("val_cost", way), **own)
        assert run.best_epoch == best and run.settings["direction"] == way
        assert run.history["val_cost"].tolist() == [1, 0, 1] and "said" not in run.history
    for wrong in ("val_cost", ("val_cost", "low"), ("val_cost",), 3):
        with pytest.raises(OptionError, match=r"monitor is a|'val_cost' should|direction 'low'"):
            quick(linear(), splits, 3, monitor=wrong, **own)
    for options in ({}, {"early_stopping": 2}):
        with pytest.raises(OptionError, match=r"monitor 'val_coat'\. Did you mean 'val_cost'"):
            quick(linear(), splits, 3, monitor=("val_coat", "min"), **own, **options)


# What one step finds


def test_a_step_finds_logits_and_unsuited_metrics_before_anything_is_written(splits, tmp_path):
    place = tmp_path / "run"
    with pytest.raises(ModelError, match=r"no probabilities\. Let it end in softmax"):
        quick(linear(activation=None), splits, directory=place)
    wide = keras.metrics.AUC(num_labels=5, multi_label=True)
    with pytest.raises(ModelError, match="do not suit its loss and metrics"):
        quick(linear(), splits, metrics=[wide], directory=place)
    assert not list(place.glob("[!.]*")), "nothing was begun"
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert quick(linear(activation=None), splits, 1, loss=loss).finished


def test_a_yes_or_no_network_without_its_sigmoid_is_found():
    pair = [(PICTURES[LABELS < 2], LABELS[LABELS < 2][:, None])]
    model = linear(1, None)
    model.layers[-1].kernel.assign(-np.ones((36, 1)))
    with pytest.raises(ModelError, match="Let it end in sigmoid"):
        quick(model, pair)


def test_every_epoch_sees_every_picture_once(splits):
    seen = []

    class Spy(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def call(self, x):
            return self.inner(x)

        def train_step(self, data):
            tf.py_function(lambda x: seen.append(x.numpy()), [data[0]], [])
            return super().train_step(data)

    quick(Spy(), splits, epochs=3)
    assert len(seen) == 3 * splits.steps_per_epoch
    train = {each.tobytes() for x, _ in splits.ordered("train") for each in x.numpy()}
    epochs = [np.concatenate(seen[start : start + 4]) for start in (0, 4, 8)]
    assert all({each.tobytes() for each in epoch} == train for epoch in epochs)
    assert any((epochs[0] != epochs[1]).ravel())


@pytest.mark.parametrize(
    ("mode", "outputs", "activation"),
    [
        ("binary", 1, "sigmoid"),
        ("int", 2, "softmax"),
        ("categorical", 2, "softmax"),
        ("multi_label", 2, "sigmoid"),
    ],
)
def test_loss_and_accuracy_follow_the_labels(mode, outputs, activation):
    catalog = Catalog.from_arrays(PICTURES, (LABELS > 0).astype(int), ["dark", "light"])
    splits = load(catalog.split(0.25, 0.25), batch_size=12, augment="none", label_mode=mode)
    run = quick(linear(outputs, activation), splits, epochs=3)
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]
    answers = run.model.predict(splits.valid, verbose=0)
    labels = np.concatenate([y.numpy() for _, y in splits.valid])
    if activation == "sigmoid":
        right = (answers > 0.5) == labels
        loss = -np.log(np.where(labels == 1, answers, 1 - answers)).mean()
    else:
        true = labels if mode == "int" else labels.argmax(axis=1)
        right = answers.argmax(axis=1) == true
        loss = -np.log(answers[np.arange(len(true)), true]).mean()
    assert run.history["val_accuracy"].iloc[-1] == pytest.approx(right.mean())
    assert run.history["val_loss"].iloc[-1] == pytest.approx(loss, rel=1e-3)


# What is the user's own


def test_a_loss_metric_optimizer_schedule_and_callback_of_ones_own_are_used(splits):
    seen = []

    def spread(y, p):
        return keras.ops.mean(keras.ops.abs(y - p), axis=-1)

    run = quick(
        linear(),
        splits,
        loss=lambda y, p: keras.ops.mean(keras.ops.square(y - p), axis=-1),
        metrics=[
            spread,
            keras.metrics.F1Score(name="f1"),
            keras.metrics.F1Score("macro", name="m"),
        ],
        optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)),
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
        ],
    )
    assert {"spread", "val_spread", "f1", "m", "loss"} <= set(run.history)
    assert run.history["learning_rate"].tolist() == pytest.approx([0.05, 0.025])
    # a metric with a value a class is recorded by its mean, for everybody
    assert run.history["f1"].tolist() == pytest.approx(run.history["m"].tolist(), abs=1e-6)
    assert [logs["val_f1"] for logs in seen] == run.history["val_f1"].tolist()
    assert "f1" in repr(run) and json.dumps(run.settings)


def test_the_learning_rate_may_be_a_schedule_or_a_number_of_numpy(splits):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.02, 0.002])
    run = quick(linear(), splits, learning_rate=schedule)
    assert run.history["learning_rate"].tolist() == pytest.approx([0.02, 0.002])
    run = quick(linear(), splits, np.int64(1), learning_rate=np.float32(0.25), optimizer="sgd")
    assert json.loads(json.dumps(run.settings))["learning_rate"] == 0.25
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        quick(linear(), splits, optimizer="adan")


class Own(keras.Model):
    "A model of the user's own, by subclassing."

    def __init__(self, outputs=3):
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(outputs)

    def call(self, x):
        return keras.ops.softmax(self.dense(self.flat(x / 255)))


def test_any_keras_model_can_be_trained(splits):
    anything = [keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D()]
    for model in (
        Own(),
        keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]),
        keras.Sequential([*anything, keras.layers.Dense(3, activation="softmax")]),
    ):
        assert len(quick(model, splits, epochs=1).history) == 1


# What cannot work


def two_outputs():
    "A model with two answers."
    inputs = keras.Input((6, 6, 1))
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(3)(flat), keras.layers.Dense(1)(flat)])


def two_inputs():
    "A model that wants two pictures."
    inputs = [keras.Input((6, 6, 1)), keras.Input((6, 6, 1))]
    flat = keras.layers.Flatten()(keras.layers.Add()(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(flat))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: linear(shape=(7, 6, 1)), r"pictures of \(7, 6, 1\), the data has \(6, 6, 1\)"),
        (lambda: linear(shape=(6, 6, 3)), r"pictures of \(6, 6, 3\)"),
        (lambda: linear(shape=(36,)), r"pictures of \(36,\)"),
        (lambda: linear(4), r"\(None, 4\), but 'categorical' labels of 3 classes need \(None, 3\)"),
        (lambda: keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 3)]), r"4, 4, 3"),
        (lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5)]), r"\(None, 5\)"),
        (lambda: Own(7), r"\(None, 7\)"),
        (two_outputs, r"\[\(None, 3\), \(None, 1\)\]"),
        (two_inputs, r"takes no picture of \(6, 6, 1\)"),
        (lambda: "small_cnn", "Expected a keras.Model, received 'small_cnn'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_the_first_epoch(splits, build, words):
    begun = []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: begun.append(1))
    with pytest.raises(ModelError, match=words):
        quick(build(), splits, callbacks=[note])
    assert not begun


def test_yes_or_no_labels_in_one_column_say_how_they_are_meant():
    data = (PICTURES, LABELS % 2)
    with pytest.raises(ModelError, match="label_mode='binary'"):
        quick(linear(1, "sigmoid"), (data, data))
    run = quick(linear(1, "sigmoid"), from_datasets(data, data, label_mode="binary"))
    assert run.spec.label_mode == "binary"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"epochs": 1.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"early_stopping": True}, "early_stopping is a number of epochs from 1"),
        ({"metrics": "accuracy"}, "metrics is a list, such as"),
        ({"callbacks": keras.callbacks.TerminateOnNaN()}, "callbacks is a list of Keras callbacks"),
        ({"callbacks": ["stop"]}, "callbacks is a list of Keras callbacks"),
        ({"learning_rate": None}, "learning_rate is 'auto', a number from 0"),
        ({"learning_rate": SimpleNamespace(suggestion=0.1)}, "give its .suggestion"),
        ({"early_stopping": 0}, "early_stopping is a number of epochs from 1"),
        ({"checkpoint": "bets"}, "Unknown checkpoint 'bets'. Did you mean 'best'"),
        ({"schedule": "one_cycel"}, "Did you mean 'one_cycle'"),
        ({"monitor": "val_wobble"}, "Whether 'val_wobble' should be small or large"),
        ({"if_exists": "new"}, "if_exists is about a directory"),
        ({"directory": "x", "if_exists": "newer"}, "Did you mean 'new'"),
        ({"ema": 1.0}, r"in \(0, 1\), received 1.0"),
        ({"weight_decay": -1}, "weight_decay must be a number from 0"),
        ({"label_smoothing": 1}, "from 0 to below 1"),
        ({"class_weights": "even"}, "'balanced' or a dict"),
        ({"class_weights": {"darc": 2}}, "Did you mean 'dark'"),
        ({"optimizer": keras.optimizers.Adam(), "ema": 0.9}, "yours has its own"),
        (
            {"optimizer": keras.optimizers.Adam(), "learning_rate": 0.1},
            "learning_rate is about an optimizer by name",
        ),
        ({"seed": None, "deterministic": True}, "needs a seed"),
        ({"lowest": 0}, r"lowest is a share in \(0, 1\]"),
        ({"monitor": "val_auc"}, "Unknown monitor 'val_auc'"),
        ({"loss": "mse", "label_smoothing": 0.1}, "belongs to the loss"),
    ],
)
def test_an_impossible_option_is_refused(splits, options, words):
    with pytest.raises(OptionError, match=words):
        quick(linear(), splits, **options)


def test_a_loss_for_numbers_and_labels_that_start_at_one_are_told(splits):
    with pytest.raises(ModelError, match="leave out the sparse_ of the loss"):
        quick(linear(), splits, loss="sparse_categorical_crossentropy")
    numbered = tf.data.Dataset.from_tensor_slices((PICTURES, LABELS + 1)).batch(6)
    with pytest.raises(ModelError, match=r"from 0; these go up to 3\."):
        quick(linear(), (numbered, numbered))


@pytest.mark.parametrize("data", [None, "folder", 3, (PICTURES, LABELS)])
def test_what_is_no_data_is_refused_with_the_way_to_it(data):
    with pytest.raises(DataError, match="Expected"):
        quick(linear(), data)


def test_a_catalog_must_be_loaded_first(splits):
    with pytest.raises(DataError, match=r"load\(catalog\).*received Catalog"):
        quick(linear(), splits.catalog)


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_epoch(splits):
    class Explosion(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.set_weights([w * np.nan for w in self.model.get_weights()])

    with pytest.raises(ModelError, match=r"nan in epoch 2.*learning_rate"):
        quick(linear(), splits, epochs=5, callbacks=[Explosion()])


# Stopping


def test_early_stopping_gives_back_the_best_weights(splits):
    kept = []

    run = quick(linear(), splits, epochs=20, early_stopping=2, callbacks=[Spoil(3, kept)])
    assert len(run.history) == 5 and run.best_epoch == 3
    for best, now in zip(kept[2], run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(best, now)
    loss = run.model.evaluate(splits.valid, verbose=0)[0]
    assert loss == pytest.approx(run.history.loc[3, "val_loss"], rel=1e-4)


def test_best_weights_come_back_even_when_the_epochs_run_out_first(splits):
    kept = []

    run = quick(linear(), splits, epochs=3, early_stopping=5, callbacks=[Spoil(2, kept)])
    assert run.best_epoch == 2
    assert all((a == b).all() for a, b in zip(kept[1], run.model.get_weights(), strict=True))


@pytest.mark.parametrize(("batches", "epochs"), [(10, 2), (1, 0), (None, 0)])
def test_ctrl_c_keeps_the_model_and_the_finished_epochs(splits, capsys, batches, epochs):
    model = linear()
    before = model.get_weights()[0].copy()
    run = quick(model, splits, epochs=9, callbacks=[Interrupt(batches)])
    assert isinstance(run, Run) and run.model is model
    assert run.history.index.tolist() == list(range(1, epochs + 1))
    assert (model.get_weights()[0] != before).any()
    assert "Stopped by hand" in capsys.readouterr().out
    assert f"{epochs} epochs" in repr(run) and run.best_epoch <= epochs


def test_a_run_that_was_stopped_can_be_trained_further(splits):
    model = quick(linear(), splits, epochs=9, callbacks=[Interrupt(2)]).model
    assert quick(model, splits, epochs=1).history.index.tolist() == [1]


def test_a_validation_loss_that_is_no_number_does_not_hide_the_best_epoch():
    history = pd.DataFrame({"loss": [2.0, 1.0, 3.0], "val_loss": [np.nan] * 3}, index=[1, 2, 3])
    run = Run(linear(), history, 1.0, {}, None)
    assert run.best_epoch == 2 and "best epoch 2" in repr(run)
    history["val_loss"] = [np.nan, 5.0, 4.0]
    assert run.best_epoch == 3


# Files


def test_the_best_model_is_kept_in_a_file(splits, tmp_path):
    place = tmp_path / "new folder" / "run"

    run = quick(linear(), splits, epochs=3, directory=place, callbacks=[Spoil(2, [])])
    kept = keras.saving.load_model(place / "model.keras")
    loss = kept.evaluate(splits.valid, verbose=0)[0]
    assert loss == pytest.approx(run.history["val_loss"].min(), rel=1e-4)
    assert run.history["val_loss"].idxmin() == 2


def test_tensorboard_finds_its_files_with_both_losses(splits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = quick(linear(), splits, tensorboard=tmp_path / "logs")
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(tmp_path / "logs" / part), size_guidance={"tensors": 0})
        events.Reload()
        written = [tf.make_ndarray(e.tensor_proto) for e in events.Tensors("epoch_loss")]
        assert np.allclose(written, run.history[column])


# Data from elsewhere


def test_keras_folder_loaders_go_into_fit_as_they_are(tmp_path):
    folder = write_folder(tmp_path / "pets", count=12)
    pair = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(6, 6),
        batch_size=9,
        validation_split=0.25,
        subset="both",
        seed=0,
        verbose=False,
    )
    run = quick(linear(shape=(6, 6, 3)), pair, epochs=3)
    assert run.spec.class_names == ("cat", "dog", "fox") and run.spec.label_mode == "int"
    assert "val_accuracy" in run.history and len(run.history) == 3


def test_arrays_and_single_datasets_go_into_fit():
    pair = (PICTURES, LABELS)
    both = quick(linear(), (pair, pair), epochs=3)
    assert {"loss", "val_loss"} <= set(both.history)
    dataset = tf.data.Dataset.from_tensor_slices(pair).batch(8)
    alone = quick(linear(), dataset, epochs=1, early_stopping=1)
    assert "val_loss" not in alone.history and alone.best_epoch == 1


def test_a_dataset_that_does_not_know_its_length_is_trained_to_its_end():
    def generate():
        for start in range(0, 48, 16):
            yield PICTURES[start : start + 16].astype("float32"), LABELS[start : start + 16]

    signature = (tf.TensorSpec((None, 6, 6, 1)), tf.TensorSpec((None,), tf.int64))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras notes that the data ran out
        run = quick(linear(), [dataset])
    assert len(run.history) == 2


def test_splits_without_validation_are_trained_on_the_loss_alone(splits):
    run = quick(linear(), replace(splits, valid=None), epochs=2, early_stopping=1)
    assert list(run.history) == ["loss", "accuracy", "learning_rate"]


# Compiling, checking, telling


def test_compiling_replaces_what_was_compiled_before(splits):
    model = linear()
    model.compile("sgd", loss="mse")
    compile_model(model, splits.spec, learning_rate=0.5)
    assert model.loss.name == "categorical_crossentropy"
    assert float(model.optimizer.learning_rate) == 0.5


def test_checking_does_not_change_a_model(splits):
    model = linear()
    before = model.get_weights()
    check_fit(model, splits.spec)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises((ModelError, SpecError)):
        check_fit(model, replace(splits.spec, class_names=("a", "b"), label_mode="binary"))


def test_progress_is_one_line_an_epoch_in_a_log(splits, capsys):
    fit(linear(), splits, epochs=2, progress="log")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "accuracy" in lines[0] and "(valid" in lines[0] and "\r" not in "".join(lines)


def test_progress_in_a_notebook_is_one_display_with_curves_and_a_line_an_epoch(splits, monkeypatch):
    displays, shown = [], []

    class Handle:
        def update(self, content):
            shown.append(content.data)

    monkeypatch.setattr("imgrec.progress.in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: displays.append(a) or Handle())
    fit(linear(), splits, epochs=3, metrics=["accuracy"])
    assert len(displays) == 1
    last = shown[-1]
    assert last.count("<img alt=") == 1 and 'value="1.000"' in last
    lines = last.split("<pre>")[1].removesuffix("</pre>").splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    picture = Image.open(io.BytesIO(base64.b64decode(last.split("base64,")[1].split(chr(34))[0])))
    assert picture.width > 300 and len(picture.convert("L").getcolors()) > 10, "curves are drawn"
    displays.clear()
    fit(linear(), splits, epochs=2, progress="bar")
    assert len(displays) == 1 and "<progress" in shown[-1] and "<img" not in shown[-1]


@pytest.mark.parametrize("columns, bar", [(140, "[##"), (80, "epoch 2/2")])
def test_progress_in_a_terminal_is_a_line_an_epoch_and_a_bar(
    splits, capsys, monkeypatch, columns, bar
):
    monkeypatch.setenv("COLUMNS", str(columns))
    fit(linear(), splits, epochs=2, progress="bar")
    written = capsys.readouterr().err
    lines = [line.removeprefix("\x1b[2K") for line in written.split("\r")]
    stay = [line.rstrip("\n") for line in lines if line.endswith("\n")]
    moving = [line for line in lines if not line.endswith("\n")]
    assert max(map(len, moving)) < columns, "a line that wraps is not written over"
    assert any(bar in line for line in lines) and lines[-1] == ""
    assert [line[:9] for line in stay] == ["epoch 1/2", "epoch 2/2"]
    assert " left]" in stay[0] and " left]" not in stay[1] and "loss" in stay[1]


def test_progress_in_a_narrow_terminal_is_cut(splits, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    fit(linear(), splits, epochs=1, progress="bar")
    moving = [line for line in capsys.readouterr().err.split("\r") if not line.endswith("\n")]
    assert moving and all(len(line.removeprefix("\x1b[2K")) <= 29 for line in moving)


def test_progress_has_no_other_names():
    with pytest.raises(OptionError, match="Did you mean 'bar'"):
        progress_callback("baar", epochs=1)


def test_progress_counts_to_the_end_whatever_it_is_told():
    shares = []
    progress = Progress(3, None, lambda share, text, event: shares.append((share, text)))
    for epoch in range(3):
        progress.on_epoch_begin(epoch)
        progress.drawn = 0.0  # long ago
        progress.on_train_batch_end(0)
        progress.on_epoch_end(epoch, {"loss": 0.5, "val_loss": float("nan")})
    progress.on_train_end()
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)
    assert shares[-1][0] == 1 and "loss 0.500 (valid nan)" in shares[-1][1]
    assert [duration(seconds) for seconds in (0.2, 59.7, 61)] == ["0 s", "1 min 0 s", "1 min 1 s"]
    assert metrics_line({}) == ""


def test_settings_say_what_was_really_used(splits):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 40)
    for options, rate, name in [
        ({"learning_rate": 0.02}, 0.02, "AdamW"),
        ({"optimizer": keras.optimizers.SGD(0.05)}, 0.05, "SGD"),
        ({"learning_rate": schedule, "optimizer": "sgd"}, "CosineDecay", "SGD"),
    ]:
        stop = keras.callbacks.TerminateOnNaN()
        run = quick(linear(), splits, 1, metrics=["accuracy"], callbacks=[stop], **options)
        said = run.settings["learning_rate"]
        assert (said["schedule"] if isinstance(said, dict) else said) == rate
        assert run.settings["optimizer"] == name
        assert run.settings["metrics"] == ["accuracy"]
        assert run.settings["callbacks"] == ["TerminateOnNaN"]
        assert run.settings["loss"] == "categorical_crossentropy"
        assert json.loads(json.dumps(run.settings)) == run.settings
    assert said["initial_learning_rate"] == 0.05 and said["decay_steps"] == 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "hinge_of_a_door"}, "Unknown loss 'hinge_of_a_door'.*categorical_crossentropy"),
        ({"metrics": ["acuracy"]}, "Unknown metric 'acuracy'"),
        ({"learning_rate": "high"}, "received 'high'"),
        ({"learning_rate": -0.1}, "received -0.1"),
    ],
)
def test_a_word_that_keras_does_not_know_is_named(splits, options, words):
    with pytest.raises(OptionError, match=words):
        quick(linear(), splits, 1, **options)


@pytest.mark.parametrize("metric", ["acc", "accuracy", "auc", "mse", "precision"])
def test_the_words_of_keras_are_taken(splits, metric):
    assert len(quick(linear(), splits, 1, metrics=[metric]).history) == 1

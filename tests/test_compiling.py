"""Weights of classes, smoothing, decay, averages and memory, against what is computed by hand."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from interrupting import PressCtrlC
from oddities import write_folder
from sklearn.utils.class_weight import compute_class_weight

from imgrec.catalog import Catalog
from imgrec.compiling import compile_model, weighted, weights_of_classes
from imgrec.core import DataError, ModelError, OptionError
from imgrec.data import from_datasets, load
from imgrec.facts import read_facts
from imgrec.train import fit

LABELS = np.repeat([0, 1, 2], [24, 12, 12])
NOISE = np.random.default_rng(0).integers(0, 30, (48, 6, 6, 1))
PICTURES = (NOISE + 20 + 90 * LABELS[:, None, None, None]).astype(np.uint8)
NAMES = ["dark", "grey", "light"]


def opened(labels=LABELS, names=NAMES, batch_size=8, parts=(0.25, 0.0), **options):
    "Small pictures of some shades."
    catalog = Catalog.from_arrays(PICTURES[: len(labels)], labels, names[: len(set(labels))])
    return load(catalog.split(*parts), batch_size=batch_size, augment="none", **options)


def linear(outputs=3, activation="softmax"):
    "The smallest network that can tell shades apart."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    last = keras.layers.Dense(outputs, activation=activation)
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, last])


def quick(model, data, epochs=1, **options):
    "A training that says nothing, at a constant rate."
    usual = {"learning_rate": 0.1, "optimizer": "sgd", "schedule": "constant"}
    usual = usual if isinstance(options.get("optimizer", ""), str) else {}
    return fit(model, data, epochs, progress="none", **usual | options)


# Weights of classes


@pytest.mark.parametrize("mode", ["int", "categorical"])
def test_balanced_is_what_scikit_learn_computes(mode):
    splits = opened(label_mode=mode)
    labels = np.concatenate([y.numpy() for _, y in splits.ordered("train")])
    labels = labels if mode == "int" else labels.argmax(axis=1)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights_of_classes(splits, "balanced"), expected)
    own = from_datasets(splits.train, class_names=NAMES, label_mode=mode)
    np.testing.assert_allclose(weights_of_classes(own, "balanced"), expected)


def test_labels_outside_the_classes_are_said_when_they_are_counted():
    pictures = np.full((8, 6, 6, 1), 99, np.uint8)
    data = tf.data.Dataset.from_tensor_slices((pictures, [0, 1, 2, 0, 1, 2, 0, 7])).batch(4)
    own = from_datasets(data, class_names=NAMES, label_mode="int")
    with pytest.raises(DataError, match="are from 0 to 2, received 0 to 7"):
        weights_of_classes(own, "balanced")


def test_pictures_that_were_set_aside_do_not_count(tmp_path):
    folder = write_folder(tmp_path / "pets", count=24)
    catalog = Catalog.from_folder(folder).split(0.0, 0.0, seed=0)
    for number, path in enumerate(sorted((folder / "cat").iterdir())[:5]):
        path.write_bytes(b"no picture" * number)
    splits = load(catalog, image_size=6, batch_size=8, augment="none")
    left = np.concatenate([y.numpy().argmax(axis=1) for _, y in splits.ordered("train")])
    assert len(left) == len(catalog.table) - 5
    expected = compute_class_weight("balanced", classes=np.arange(3), y=left)
    np.testing.assert_allclose(weights_of_classes(splits, "balanced"), expected)


def test_classes_that_are_shown_equally_often_are_not_balanced_twice():
    assert weights_of_classes(opened(balance=True), "balanced").tolist() == [1, 1, 1]


def test_a_weight_is_given_by_name_or_by_number():
    splits = opened(label_mode="int")
    for given in ({"grey": 3}, {1: 3}, {np.int64(1): np.float32(3)}):
        assert weights_of_classes(splits, given).tolist() == [1, 3, 1]
    for wrong in ({3: 1}, {"gray": 1}, {0: -1}, {0: float("nan")}, {0: float("inf")}, {0: "2"}):
        with pytest.raises(OptionError):
            weights_of_classes(splits, wrong)


def gradient_by_hand(x, y, weights, mode):
    "Of the weighted loss, by the formula: (answer - truth) times the input, averaged."
    flat = x.reshape(len(x), -1) / 255
    model = linear(*((1, "sigmoid") if mode == "binary" else ()))
    kernel, bias = model.get_weights()
    scores = flat @ kernel + bias
    if mode == "binary":
        answers, truth, classes = 1 / (1 + np.exp(-scores)), y, y.ravel().astype(int)
    else:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        answers = powers / powers.sum(axis=1, keepdims=True)
        truth = y if mode == "categorical" else np.eye(3)[y]
        classes = truth.argmax(axis=1)
    errors = (answers - truth) * np.asarray(weights)[classes][:, None] / len(x)
    return kernel - 0.1 * flat.T @ errors, bias - 0.1 * errors.sum(axis=0)


@pytest.mark.parametrize("mode", ["int", "categorical", "binary"])
@pytest.mark.parametrize("own", [False, True])
def test_weights_change_one_step_as_the_formula_says(mode, own):
    labels = LABELS[:36] if mode == "binary" else LABELS
    splits = opened(labels, batch_size=64, label_mode=mode)
    ((x, y),) = [(x.numpy(), y.numpy()) for x, y in splits.ordered("train")]
    weights = {"dark": 0.5, "grey": 4.0} | ({} if mode == "binary" else {"light": 0.0})
    data = from_datasets(splits.train, class_names=splits.spec.class_names, label_mode=mode)
    outputs = (1, "sigmoid") if mode == "binary" else ()
    run = quick(linear(*outputs), data if own else splits, class_weights=weights)
    kernel, bias = gradient_by_hand(x, y, list(weights.values()), mode)
    np.testing.assert_allclose(run.model.get_weights()[0], kernel, atol=1e-6)
    np.testing.assert_allclose(run.model.get_weights()[1], bias, atol=1e-6)


def test_weights_in_a_dataset_and_weights_of_classes_multiply():
    rows = (PICTURES.astype("float32"), LABELS, np.full(48, 2.0))
    data = from_datasets(tf.data.Dataset.from_tensor_slices(rows).batch(48))
    ((_, labels, weights),) = weighted(data.train, np.array([1.0, 3.0, 0.5]), data.spec)
    assert weights.numpy().tolist() == [[2.0, 6.0, 1.0][label] for label in labels.numpy()]
    kernel, _ = gradient_by_hand(PICTURES.astype(float), LABELS, [2.0, 6.0, 1.0], "int")
    run = quick(linear(), data, class_weights={1: 3, 2: 0.5})
    np.testing.assert_allclose(run.model.get_weights()[0], kernel, atol=1e-6)


# Smoothing, decay, averages


@pytest.mark.parametrize("mode", ["categorical", "binary", "multi_label"])
def test_smoothed_labels_have_the_loss_of_the_formula(mode):
    labels = LABELS[:36] if mode != "categorical" else LABELS
    splits = opened(labels, batch_size=64, label_mode=mode)
    outputs = {"categorical": (), "binary": (1, "sigmoid"), "multi_label": (2, "sigmoid")}[mode]
    model = linear(*outputs)
    ((x, y),) = splits.ordered("train")
    answers = model(x).numpy()
    run = quick(model, splits, learning_rate=1e-9, label_smoothing=0.2)
    if mode == "categorical":
        shared = y.numpy() * 0.8 + 0.2 / 3
        expected = -(shared * np.log(answers)).sum(axis=1).mean()
    else:
        shared = y.numpy() * 0.8 + 0.1
        expected = -(shared * np.log(answers) + (1 - shared) * np.log(1 - answers)).mean()
    assert run.history["loss"].iloc[0] == pytest.approx(expected, rel=1e-4)


def test_decay_takes_from_kernels_alone_also_in_models_inside_models():
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="inner"
    )
    inputs = keras.Input((6, 6, 1))
    flat = layers.Flatten()(layers.GroupNormalization(2)(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(flat))
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones_like(weight))
    before = [weight.numpy() for weight in model.trainable_weights]
    splits = opened()
    how = {"weight_decay": 0.1, "loss": lambda y, p: 0.0 * keras.ops.sum(p, axis=-1)}
    compile_model(model, splits.spec, 0.5, "adamw", **how)
    model.fit(splits.train, epochs=1, verbose=0)  # five batches, nothing to learn
    for weight, old in zip(model.trainable_weights, before, strict=True):
        kept = (1 - 0.5 * 0.1) ** splits.steps_per_epoch if weight.name == "kernel" else 1
        np.testing.assert_allclose(weight.numpy(), kept * old, rtol=1e-5, err_msg=weight.path)


def test_averages_are_validated_and_are_what_comes_out_at_the_end():
    splits = opened(parts=(0.25, 0.25))
    plain = linear()
    plain.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    average = None  # the first step begins it
    for batch in splits.training_steps(0, 2 * splits.steps_per_epoch):
        plain.train_on_batch(*batch)
        now = plain.get_weights()
        pairs = zip(average or now, now, strict=True)
        average = [0.9 * old + 0.1 * new for old, new in pairs]
    run = quick(linear(), splits, 2, ema=0.9, checkpoint="last")
    for ours, expected in zip(run.model.get_weights(), average, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    found = run.model.evaluate(splits.valid, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(run.history["val_loss"].iloc[-1], rel=1e-4)


# Memory


class Greedy(keras.layers.Layer):
    "Has no room for more than so many pictures."

    def __init__(self, most):
        super().__init__()
        self.most = most

    def call(self, x):
        def look(x):
            if len(x) > self.most:
                raise MemoryError("TensorFlow makes a ResourceExhaustedError of it")
            return x

        kept = tf.numpy_function(look, [x], x.dtype)
        kept.set_shape(x.shape)
        return x + 0 * tf.stop_gradient(kept)


def greedy(most):
    "A network that takes so many pictures at a time."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), Greedy(most), keras.layers.Flatten()]
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, last], name="greedy")


@pytest.mark.parametrize(("most", "batch", "parts"), [(5, 9, 3), (2, 6, 3)])
def test_smaller_batches_make_the_same_steps(capsys, most, batch, parts):
    whole = opened(batch_size=batch, parts=(0.25, 0.0))  # 36 pictures
    expected = quick(greedy(99), whole, 2, checkpoint="last").model.get_weights()
    run = quick(greedy(most), whole, 2, checkpoint="last")
    said = capsys.readouterr().out
    assert f"A batch of {batch} pictures does not fit" in said
    assert f"{parts} times a step" in said and run.settings["accumulate"] == parts
    for ours, theirs in zip(run.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_smaller_batches_follow_the_same_schedule_and_averages():
    whole = opened(batch_size=9, parts=(0.25, 0.0))
    how = {"schedule": "one_cycle", "ema": 0.9, "checkpoint": "last"}
    expected = quick(greedy(99), whole, 4, **how)
    run = quick(greedy(5), whole, 4, **how)
    assert run.settings["accumulate"] == 3
    rates = [each.history["learning_rate"].to_numpy() for each in (run, expected)]
    np.testing.assert_allclose(rates[0][:-1], rates[1][:-1], rtol=0.1)
    assert max(rates[0][-1], rates[1][-1]) < 0.001 * max(rates[0])
    for ours, theirs in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_a_training_in_smaller_batches_goes_on_in_them(tmp_path, capsys):
    splits, how = opened(batch_size=12), {"checkpoint": "last", "directory": tmp_path}
    expected = quick(greedy(6), splits, 3, checkpoint="last")
    press = PressCtrlC(9)  # the gradients of one part are kept
    stopped = quick(greedy(6), splits, 3, callbacks=[press], **how)
    assert not stopped.finished
    assert read_facts(tmp_path / "run.json")["settings"]["accumulate"] == 2
    capsys.readouterr()
    run = quick(greedy(6), splits, 3, callbacks=[PressCtrlC(0)], **how)
    assert "does not fit" not in capsys.readouterr().out, "it knows that already"
    assert run.settings["accumulate"] == 2 and run.finished
    for ours, theirs in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    small = quick(greedy(6), opened(batch_size=4), 3, if_exists="continue", **how)
    assert small.settings["accumulate"] == 1, "another size of batch is tried as it is"


def test_what_cannot_be_made_smaller_says_so(tmp_path):
    splits = opened(batch_size=4)
    with pytest.raises(ModelError, match="A batch of 1 picture does not fit in memory with greedy"):
        quick(greedy(0), splits)
    with pytest.raises(ModelError, match="A batch of 4 pictures does not fit"):
        quick(greedy(2), splits, optimizer=keras.optimizers.SGD(0.1))
    with pytest.raises(ModelError, match="A batch of 99 pictures does not fit"):
        quick(greedy(2), opened(batch_size=99))  # whose parts would be as large as the set
    own = from_datasets((PICTURES, LABELS))
    with pytest.raises(ModelError, match=r"^A batch does not fit in memory with greedy"):
        quick(greedy(2), own)


LIMITED = """
import resource
import imgrec, keras, numpy as np
from imgrec.catalog import Catalog
from imgrec.data import load
from imgrec.train import fit

class Big(keras.layers.Layer):
    "Needs 64 MB a picture."

    def call(self, x):
        flat = keras.ops.mean(x, axis=(1, 2, 3))[:, None]
        return keras.ops.mean(flat * keras.ops.ones((1, 2**24)), axis=1, keepdims=True)

def network():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(Big()(inputs)))

pictures = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 1)).astype(np.uint8)
catalog = Catalog.from_arrays(pictures, np.arange(40) % 2, ["a", "b"]).split(0.2, 0.0)
splits = load(catalog, batch_size=32, augment="none")
fit(network(), splits.with_options(batch_size=1), 1, progress="none")  # all that it loads
used = 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + 1500 * 2**20,) * 2)
run = fit(network(), splits, 1, progress="none")
print("accumulated", run.settings["accumulate"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_memory_that_is_really_too_small():
    "Two gigabytes for 32 pictures, where there are one and a half."
    done = subprocess.run([sys.executable, "-c", LIMITED], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "A batch of 32 pictures does not fit in memory. Trying 16 at a time" in done.stdout
    assert "accumulated 2" in done.stdout


def test_a_number_is_a_class_of_that_name_before_it_is_a_place():
    table = np.zeros((6, 4, 4, 1), np.uint8)
    named = Catalog.from_arrays(table, [0, 1, 2] * 2, ["1", "10", "2"])
    splits = load(named.split(0, 0), image_size=4)
    assert weights_of_classes(splits, {1: 5}).tolist() == [5, 1, 1]
    assert weights_of_classes(splits, {10: 5, "2": 3}).tolist() == [1, 5, 3]
    with pytest.raises(OptionError, match="Unknown class 0"):
        weights_of_classes(splits, {0: 5})
    words = load(Catalog.from_arrays(table, [0, 1, 2] * 2, ["a", "b", "c"]).split(0, 0))
    assert weights_of_classes(words, {0: 5, "c": 2}).tolist() == [5, 1, 2]

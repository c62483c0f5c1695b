"""Features are what the network says, and a classifier on them is trained once."""

import json
import pickle
import signal
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from interrupting import PressCtrlC

from imgrec import cache
from imgrec.catalog import Catalog
from imgrec.core import DataError, ModelError, OptionError, RunError
from imgrec.data import from_datasets, load
from imgrec.facts import architecture
from imgrec.features import batch_runner, features_of
from imgrec.runs import Run
from imgrec.schedules import by_depth
from imgrec.sizes import any_size, growing, sizes_of_epochs
from imgrec.transfer import fine_tune, head_on

RNG = np.random.default_rng(0)
LABELS = np.arange(90) % 3
SHADES = 20 + 90 * LABELS[:, None, None, None]
PICTURES = (RNG.integers(0, 30, (90, 12, 12, 3)) + SHADES).astype(np.uint8)


@pytest.fixture
def splits(monkeypatch, tmp_path):
    "90 small pictures of three shades, and a cache of their own."
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    catalog = Catalog.from_arrays(PICTURES, LABELS, ["dark", "grey", "light"])
    return load(catalog.split(0.2, 0.2, seed=0), batch_size=7, augment="light")


def small(width=5):
    "A backbone that needs no weights from anywhere."
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(width, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="small")


def test_features_are_the_answers_in_the_order_of_the_table(splits, monkeypatch):
    monkeypatch.setattr(cache, "BLOCK_BYTES", 700)  # several blocks of some rows
    backbone = small()
    for part in ("train", "valid", "test"):
        found = features_of(backbone, splits, part)
        ordered = list(splits.ordered(part).as_numpy_iterator())
        expected = np.concatenate([backbone.predict(x, verbose=0) for x, _ in ordered])
        np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.labels, np.concatenate([y for _, y in ordered]))


def test_copies_are_the_batches_of_training(splits, monkeypatch):
    monkeypatch.setattr(cache, "BLOCK_BYTES", 700)
    backbone, steps = small(), splits.steps_per_epoch
    found = features_of(backbone, splits, "train", copies=3)
    batches = list(splits.training_steps(0, 3 * steps).as_numpy_iterator())
    expected = np.concatenate([backbone.predict(x, verbose=0) for x, _ in batches])
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, np.concatenate([y for _, y in batches]))


def test_features_are_computed_once_for_the_same_weights_and_pictures(splits, monkeypatch):
    from imgrec import features

    asked = []
    make = features.batch_runner
    monkeypatch.setattr(
        features, "batch_runner", lambda *these: asked.append(these[0].name) or make(*these)
    )
    backbone = small()
    features_of(backbone, splits)
    features_of(backbone, splits.with_options(batch_size=32, augment="none"))
    assert len(asked) == 1
    backbone.layers[2].kernel.assign_add(0.1 * np.ones((3, 3, 3, 5)))
    features_of(backbone, splits)
    assert len(asked) == 2
    features_of(backbone, splits, copies=1)
    features_of(backbone, splits.with_options(augment="none"), copies=1)
    assert len(asked) == 4


def test_a_conversion_gives_what_the_network_gives(splits):
    pytest.importorskip("ai_edge_litert")
    backbone = small()
    quick, plain = (batch_runner(backbone, n, PICTURES[:4]) for n in (10_000, 4))
    for count in (1, 2, 5, 90):
        np.testing.assert_allclose(quick(PICTURES[:count]), plain(PICTURES[:count]), rtol=1e-4)


def test_a_backbone_of_any_size_is_converted_for_the_pictures_that_come(splits, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="open")
    for shape in ((12, 12), (9, 15)):
        pictures = RNG.uniform(0, 255, (20, *shape, 3)).astype("float32")
        with monkeypatch.context() as patch:
            patch.setattr("imgrec.features.np.allclose", lambda *a, **k: True)  # no way back
            run = batch_runner(backbone, 10_000, pictures[:4])
        assert run.__qualname__.startswith("_by_litert")
        expected = backbone.predict(pictures, verbose=0)
        np.testing.assert_allclose(run(pictures), expected, rtol=1e-4, atol=1e-5)
    assert fine_tune(backbone, splits, 1, head_epochs=2, progress="none").finished


def test_labels_outside_the_classes_are_said_with_their_batch():
    labels = LABELS.astype("int32").copy()
    labels[40] = 9
    data = tf.data.Dataset.from_tensor_slices((PICTURES, labels)).batch(30)
    own = from_datasets(data, class_names=["dark", "grey", "light"], label_mode="int")
    with pytest.raises(DataError, match="train, batch 2: 'int' labels of 3 classes are from 0"):
        fine_tune(small(), own, 0, progress="none")


def test_features_of_datasets_are_computed_in_memory(splits):
    data = (PICTURES, LABELS.astype("int32"))
    found = features_of(small(), from_datasets(data, data), "valid")
    assert found.labels.dtype == np.int32 and (found.labels == LABELS).all()
    assert found.features.shape == (90, 5)


def test_the_head_shares_its_weights_with_the_whole(splits):
    backbone = small()
    top, whole = head_on(backbone, splits.spec)
    top.set_weights([w + 1 for w in top.get_weights()])
    x = PICTURES[:5].astype("float32")
    np.testing.assert_allclose(whole(x), top(backbone(x)), rtol=1e-5)


def test_both_phases_learn_and_the_best_is_kept(splits, tmp_path):
    place = tmp_path / "run"
    backbone = small(16)
    averages = backbone.layers[3].moving_mean.numpy().copy()
    how = {"head_rate": 0.1, "directory": place, "progress": "none"}
    run = fine_tune(backbone, splits, 2, **how)
    assert run.history["phase"].tolist() == [1] * 30 + [2] * 2 and run.finished
    assert run.history["val_accuracy"][run.best_epoch] > 0.9
    np.testing.assert_array_equal(run.model.layers[3].moving_mean.numpy(), averages)
    loss = run.model.evaluate(splits.valid, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(run.history["val_loss"].min(), rel=1e-3)
    kept = Run.load(place)
    x = PICTURES[:9].astype("float32")
    np.testing.assert_allclose(kept.model(x), run.model(x), rtol=1e-5)
    assert kept.history["phase"].tolist() == run.history["phase"].tolist()
    with pytest.raises(RunError, match=r"lowest: 0.01 became 0.1"):
        fine_tune(small(16), splits, 2, lowest=0.1, **how)


def test_metrics_decay_and_devices_of_ones_own_are_used(splits):
    own = ["accuracy", keras.metrics.TopKCategoricalAccuracy(2, name="top2")]
    how = {"metrics": own, "monitor": ("val_top2", "max"), "head_epochs": 2, "progress": "none"}
    devices = tf.distribute.MirroredStrategy(["CPU:0"])
    run = fine_tune(small(), splits, 1, weight_decay=0.5, strategy=devices, **how)
    assert run.history["val_top2"].between(0, 1).all() and len(run.history) == 3
    assert run.settings["metrics"] == ["accuracy", "top2"] and run.settings["weight_decay"] == 0.5
    plain = fine_tune(small(), splits, 1, weight_decay=0.0, **how | {"monitor": "val_loss"})
    kernels = [np.abs(each.model.get_weights()[0]).sum() for each in (run, plain)]
    assert kernels[0] != kernels[1], "what decays is another"
    assert set(run.model.evaluate(splits.valid, verbose=0, return_dict=True)) >= {"top2"}
    with pytest.raises(OptionError, match=r"monitor 'val_top3'\. Did you mean 'val_top2'"):
        fine_tune(small(), splits, 1, **how | {"monitor": ("val_top3", "max")})


def test_a_backbone_of_ones_own_stays_as_it_is_and_may_be_used_again(splits, tmp_path):
    own, how = small(), {"epochs": 2, "head_epochs": 2, "progress": "none"}
    before = own.get_weights()
    first = fine_tune(own, splits, directory=tmp_path, **how)
    for ours, theirs in zip(own.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first.model.get_weights()[0] != before[0]).any()
    again = fine_tune(own, splits, directory=tmp_path, **how)  # the cell is run once more
    second = fine_tune(own, splits, **how)
    for run in (again, second):
        pd.testing.assert_frame_equal(run.history, first.history)
    stopped = fine_tune(own, splits, directory=tmp_path / "b", callbacks=[PressCtrlC(9)], **how)
    assert not stopped.finished
    whole = fine_tune(own, splits, directory=tmp_path / "b", callbacks=[PressCtrlC(0)], **how)
    pd.testing.assert_frame_equal(whole.history, first.history)


def test_the_same_seed_gives_the_same_head(splits):
    first, second = (fine_tune(small(), splits, 0, progress="none").history for _ in range(2))
    np.testing.assert_allclose(first, second, rtol=1e-5)
    other = fine_tune(small(), splits, 0, seed=1, progress="none").history
    assert abs(other["loss"] - first["loss"]).max() > 1e-4


def test_a_share_of_the_rate_by_depth(splits):
    model = keras.Sequential([keras.Input((4,)), *[keras.layers.Dense(4) for _ in range(5)]])
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    model.compile(by_depth(keras.optimizers.SGD(1.0), model, 1e-4), "mse")
    plain.compile(keras.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    x, y = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 4))
    for each in (model, plain):
        each.train_on_batch(x, y)
    moved, whole = (
        [np.abs(b - a).sum() for a, b in zip(before, m.get_weights(), strict=True)]
        for m in (model, plain)
    )
    shares = [a / b for a, b in zip(moved, whole, strict=True)]
    np.testing.assert_allclose(shares[::2], [1e-4, 1e-3, 1e-2, 1e-1, 1], rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": -1}, OptionError, "epochs must be a whole number from 0"),
        ({"head_epochs": 0}, OptionError, "head_epochs must be a whole number from 1"),
        ({"if_exists": "new"}, OptionError, "if_exists is about a directory"),
        ({"weight_decay": -1}, OptionError, "weight_decay must be a number from 0"),
        ({"strategy": "mirrored"}, OptionError, "strategy"),
        ({"if_exists": "continue", "directory": "x"}, OptionError, "Unknown if_exists"),
        ({"dropout": 2}, OptionError, r"dropout one in \[0, 1\), received 0.01 and 2"),
        ({"ema": 1}, OptionError, "ema is a share"),
        ({"class_weights": "even"}, OptionError, "'balanced' or a dict"),
        ({"copies": -1}, OptionError, "copies must be from 0"),
        ({"epochs": 1, "lowest": 0}, OptionError, "lowest is a share"),
        ({"monitor": "val_wobble"}, OptionError, "val_wobble"),
        ({"backbone": "efficientnet_lite9"}, OptionError, "Did you mean 'efficientnet_lite0'"),
        ({"backbone": 3}, ModelError, "received 3"),
        ({"backbone": keras.Sequential([keras.Input((12, 12, 3))])}, ModelError, "features"),
    ],
)
def test_what_cannot_be_is_refused(splits, options, error, words):
    with pytest.raises(error, match=words):
        fine_tune(**{"backbone": small(), "splits": splits, "progress": "none"} | options)


# ---- sizes


@pytest.fixture
def large(splits):
    "The same pictures at 48 pixels."
    return splits.with_options(image_size=48, batch_size=16)


def scalable(shape=(48, 48, 3)):
    "A backbone with batch normalization and dropout, for pictures of 48 pixels."
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu")(x)
    x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="scalable")


def test_sizes_are_shared_out_and_end_with_the_largest():
    assert sizes_of_epochs((32, 48), 2) == [32, 48]
    assert sizes_of_epochs((32, 40, 48), 7) == [32, 32, 32, 40, 40, 48, 48]


def test_batches_grow_and_are_those_of_each_size(large):
    grown, steps = growing(large, (32, 48), 3), large.steps_per_epoch
    small = large.with_options(image_size=32)
    for start, stop in ((2 * steps - 1, 2 * steps + 1), (3 * steps - 1, 3 * steps)):
        found = list(grown.training_steps(start, stop).as_numpy_iterator())
        for step, (x, y) in zip(range(start, stop), found, strict=True):
            source = small if step < 2 * steps else large
            expected = next(source.training_steps(step, step + 1).as_numpy_iterator())
            np.testing.assert_array_equal(x, expected[0])
            np.testing.assert_array_equal(y, expected[1])
    again = pickle.loads(pickle.dumps(grown.with_options(batch_size=30)))
    assert [x.shape[:2] for x, _ in again.training_steps(3, 5)] == [(24, 32), (30, 48)]


def test_one_network_at_all_sizes_has_one_set_of_weights(large):
    _, whole = head_on(scalable(), large.spec)
    before = architecture(whole)
    free = any_size(whole)
    assert architecture(whole) == before and any_size(free) is free
    assert all(a is b for a, b in zip(whole.weights, free.weights, strict=True))
    x = RNG.integers(0, 256, (2, 48, 48, 3))
    np.testing.assert_array_equal(whole(x), free(x))
    np.testing.assert_array_equal(any_size(whole)(x[:, :40]), head_of(whole, x[:, :40]))


def head_of(model, pixels):
    "What the layers of a network say one after the other, at any size."
    x = pixels
    for layer in model.layers[1:]:
        x = layer(x)
    return x


def test_with_sizes_the_history_says_which_and_validation_is_at_the_last(large, tmp_path):
    how = {"sizes": (32, 48), "head_epochs": 2, "head_rate": 0.1, "progress": "none"}
    run = fine_tune(scalable(), large, 3, directory=tmp_path / "run", **how)
    assert run.history["image_size"].tolist() == [48, 48, 32, 32, 48]
    assert run.model.input_shape == (None, 48, 48, 3)
    loss = run.model.evaluate(large.valid, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(run.history["val_loss"].min(), rel=1e-3)
    assert Run.load(tmp_path / "run").history["image_size"].tolist() == [48, 48, 32, 32, 48]
    with pytest.raises(RunError, match=r"sizes: \[32, 48\] became \[40, 48\]"):
        fine_tune(scalable(), large, 3, directory=tmp_path / "run", **how | {"sizes": (40, 48)})


def test_with_sizes_a_training_goes_on_exactly(large, tmp_path):
    how = {"sizes": (32, 48), "head_epochs": 1, "progress": "none", "ema": 0.9}
    ends = []
    for name, stops in (("whole", [0]), ("broken", [3, 7, 0])):  # in small pictures, in large ones
        for stop in stops:
            more = {"directory": tmp_path / name, "callbacks": [PressCtrlC(stop)]}
            run = fine_tune(scalable(), large, 3, **how, **more)
            assert run.finished is (stop == 0)
        ends.append(run)
    for a, b in zip(*(run.model.get_weights() for run in ends), strict=True):
        np.testing.assert_array_equal(a, b)
    assert ends[0].history.equals(ends[1].history)


@pytest.mark.parametrize(
    ("sizes", "epochs", "words"),
    [
        ((16, 48), 2, r"whole numbers from 32, such as \(128, 160, 224\), received \(16, 48\)"),
        ((32.0, 48), 2, "whole numbers"),
        ("48", 2, "whole numbers"),
        ((), 2, "whole numbers"),
        (48, 2, "received 48"),
        ((32, 40), 2, r"48 x 48, received \(32, 40\)"),
        ((32, 40, 48), 2, "3 sizes need at least as many epochs"),
        ((32, 48), 0, "received 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(large, sizes, epochs, words):
    with pytest.raises(OptionError, match=words):
        fine_tune(scalable(), large, epochs, sizes=sizes, progress="none")


def test_sizes_need_pictures_that_can_be_loaded_anew_and_a_network_that_takes_them(large):
    data = (RNG.integers(0, 255, (8, 48, 48, 3)), np.arange(8) % 2)
    with pytest.raises(OptionError, match=r"Use load\(catalog\) instead"):
        fine_tune(scalable(), from_datasets(data, data), 2, sizes=(32, 48))
    with pytest.raises(OptionError, match="xception takes sizes from 71, received"):
        fine_tune("xception", large, 2, sizes=(32, 48))
    inputs = keras.Input((48, 48, 3))
    flat = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)), name="flat")
    with pytest.raises(ModelError, match="flat takes pictures of 48 x 48 only"):
        any_size(flat)


def test_ctrl_c_in_the_training_of_the_head_keeps_what_it_has(
    splits, tmp_path, monkeypatch, capsys
):
    from imgrec import loop

    known, epochs = loop._train_epoch, []

    def interrupted(*these):
        epochs.append(len(epochs))
        if len(epochs) == 3:
            signal.raise_signal(signal.SIGINT)
        return known(*these)

    monkeypatch.setattr(loop, "_train_epoch", interrupted)
    how = {"epochs": 1, "head_epochs": 5, "directory": tmp_path / "run", "progress": "none"}
    run = fine_tune(small(), splits, **how)
    assert "Stopped by hand" in capsys.readouterr().out
    assert not run.finished
    assert list(run.history["phase"]) == [1, 1]
    run = fine_tune(small(), splits, **how)
    assert run.finished
    assert list(run.history["phase"]) == [1] * 5 + [2]
    assert capsys.readouterr() == ("", ""), "silence was asked for"


def test_the_best_epoch_of_the_head_is_told(splits, capsys):
    run = fine_tune(small(), splits, epochs=0, head_epochs=4)
    best = run.history["val_loss"].idxmin()
    assert f"of 4 is {best}: loss" in capsys.readouterr().out


# ---- broken off


def test_a_word_that_is_misspelt_destroys_nothing(splits, tmp_path):
    how = {"epochs": 0, "directory": tmp_path, "progress": "none"}
    fine_tune(small(), splits, **how)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OptionError, match=r"Unknown if_exists 'newer'\. Did you mean 'new'"):
        fine_tune(small(), splits, lowest=0.5, if_exists="newer", **how)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"lowest: 0\.01 became 0\.5\. Set if_exists to \"new\" to"):
        fine_tune(small(), splits, lowest=0.5, **how)
    other = small()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    with pytest.raises(RunError, match=r"differs: weights: '[0-9a-f]+' became '[0-9a-f]+'\."):
        fine_tune(other, splits, **how)
    assert fine_tune(small(), splits, **how).finished
    assert fine_tune(small(), splits, lowest=0.5, if_exists="new", **how).finished


def test_the_head_goes_on_where_it_was_killed(splits, tmp_path, monkeypatch):
    from imgrec import loop

    monkeypatch.setattr("imgrec.run_folder._EVERY", 0.0)
    monkeypatch.setattr("imgrec.run_folder._AT_MOST", 0.0)
    how = {"epochs": 0, "head_epochs": 6, "progress": "none"}
    expected = fine_tune(small(), splits, **how)
    known, epochs = loop._end_epoch, []

    def killed(*these):
        epochs.append(len(epochs))
        if len(epochs) == 4:
            raise SystemExit
        return known(*these)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "_end_epoch", killed)
        fine_tune(small(), splits, directory=tmp_path / "run", **how)
    epochs.clear()

    def counted(*these):
        epochs.append(len(epochs))
        return known(*these)

    monkeypatch.setattr(loop, "_end_epoch", counted)
    run = fine_tune(small(), splits, directory=tmp_path / "run", **how)
    assert len(epochs) == 3, "three epochs were there"
    for ours, theirs in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_features_that_are_there_are_not_computed_again(splits, monkeypatch):
    from imgrec import features

    monkeypatch.setattr(features, "_BLOCK", 7)
    expected, known = small().predict(PICTURES.astype("float32"), verbose=0), []

    def counting(model, pictures, example):
        def run(batch):
            known.append(len(batch))
            if len(known) == 3 and interrupted:
                raise KeyboardInterrupt
            return model.predict(batch, verbose=0)

        return run

    monkeypatch.setattr(features, "batch_runner", counting)
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        features_of(small(), splits, "train")
    known.clear()
    interrupted = False
    found = features_of(small(), splits, "train")
    assert len(known) < -(-len(found.features) // 7), "some blocks were there"
    rows = splits.catalog.table.index[splits.catalog.table["split"] == "train"]
    np.testing.assert_allclose(found.features, expected[rows], rtol=1e-4, atol=1e-5)


def test_ctrl_c_while_features_are_computed_says_what_is_kept(splits, monkeypatch, capsys):
    def interrupted(*these):
        raise KeyboardInterrupt

    monkeypatch.setattr("imgrec.transfer.features_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(small(), splits, 0, progress="none")
    assert "The same call goes on with the features that are there." in capsys.readouterr().out


def test_a_kill_between_two_files_leaves_a_folder_to_go_on_in(splits, tmp_path):
    how = {"epochs": 1, "directory": tmp_path, "progress": "none"}
    first = fine_tune(small(), splits, **how)
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["settings"]["unfinished"] = True
    (tmp_path / "run.json").write_text(json.dumps(facts))
    (tmp_path / "model.keras").unlink()
    again = fine_tune(small(), splits, **how)
    assert again.finished
    np.testing.assert_array_equal(first.history["loss"], again.history["loss"])


def test_weights_in_batches_are_not_lost_in_silence(splits):
    weighted = splits.train.map(lambda x, y: (x, y, x[:, 0, 0, 0]))
    with pytest.raises(DataError, match="have no features: the weights would be lost"):
        fine_tune(small(), from_datasets(weighted, splits.valid), 0, progress="none")


class GreedyInTraining(keras.layers.Layer):
    "Has no room for more than so many pictures, when it is trained."

    def call(self, x, training=False):
        if not training:
            return x

        def look(x):
            if len(x) > 4:
                raise MemoryError("TensorFlow makes a ResourceExhaustedError of it")
            return x

        kept = tf.numpy_function(look, [x], x.dtype)
        kept.set_shape(x.shape)
        return x + 0 * tf.stop_gradient(kept)


def test_the_whole_network_is_trained_in_smaller_batches_if_need_be(splits, capsys):
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(5, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(GreedyInTraining()(x))
    run = fine_tune(keras.Model(inputs, x, name="greedy"), splits, 1, progress="none")
    assert "does not fit in memory. Trying" in capsys.readouterr().out
    assert run.finished and run.history["phase"].iloc[-1] == 2


def test_where_there_is_a_gpu_nothing_is_converted(splits, monkeypatch):
    monkeypatch.setattr("imgrec.features.tf.config.list_logical_devices", lambda kind: [kind])
    monkeypatch.setattr("imgrec.features._converted", lambda *these: pytest.fail("converted"))
    run = batch_runner(small(), 10_000, PICTURES[:2].astype("float32"))
    expected = small().predict(PICTURES[:5].astype("float32"), verbose=0)
    np.testing.assert_allclose(run(PICTURES[:5].astype("float32")), expected, rtol=1e-4)


def test_without_validation_pictures_the_whole_network_is_kept(splits, monkeypatch):
    from imgrec import transfer

    alone, known, found = replace(splits, valid=None), transfer._train_all, []

    def with_high_losses(asked, model):  # as on pictures that are varied a lot
        run = known(asked, model)
        found.append(model.get_weights())
        return replace(run, history=run.history.assign(loss=1e3))

    monkeypatch.setattr(transfer, "_train_all", with_high_losses)
    run = fine_tune(small(), alone, epochs=1, head_epochs=2, progress="none")
    assert run.best_epoch == 3, "the run and its model tell of one epoch"
    for ours, theirs in zip(run.model.get_weights(), found[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": -1}, "learning_rate is a number above 0, received -1"),
        ({"head_rate": 0}, "head_rate is a number above 0, received 0"),
        ({"head_rate": "auto"}, "head_rate is a number above 0"),
        ({"early_stopping": 0}, "early_stopping is a number of epochs from 1"),
        ({"progress": "bra"}, "Did you mean 'bar'"),
        ({"callbacks": ["x"]}, "callbacks is a list of Keras callbacks"),
        ({"metrics": "accuracy"}, "metrics is a list"),
    ],
)
def test_a_slip_is_told_before_the_head_is_trained_and_leaves_nothing(
    splits, tmp_path, capsys, options, words
):
    for epochs in (0, 1):
        with pytest.raises(OptionError, match=words):
            fine_tune(small(), splits, epochs, directory=tmp_path / "run", **options)
    assert capsys.readouterr().out == "" and not (tmp_path / "run").exists()


def test_a_finished_folder_says_so(splits, tmp_path, capsys):
    how = {"epochs": 0, "head_epochs": 1, "directory": tmp_path / "run", "progress": "log"}
    fine_tune(small(), splits, **how)
    assert "holds this training" not in capsys.readouterr().out
    again = fine_tune(small(), splits, **how)
    assert f"{tmp_path / 'run'} holds this training. It has ended." in capsys.readouterr().out
    assert again.finished

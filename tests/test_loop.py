"""Our loop against Keras's own, batch for batch, with every callback; what breaks it, and how."""

import os
import queue
import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from interrupting import PressCtrlC
from jupyter_client import KernelManager

from imgrec.catalog import Catalog
from imgrec.core import DataError, ModelError, OptionError
from imgrec.data import from_datasets, load
from imgrec.train import fit

EPOCHS = 4
LABELS = np.arange(48) % 3
NOISE = np.random.default_rng(0).integers(0, 30, (48, 6, 6, 1))
PICTURES = (NOISE + 20 + 90 * LABELS[:, None, None, None]).astype(np.uint8)
CALLBACKS = keras.callbacks


@pytest.fixture(scope="module")
def splits():
    "48 small pictures of three shades, four batches an epoch."
    catalog = Catalog.from_arrays(PICTURES, LABELS, ["dark", "grey", "light"])
    return load(catalog.split(0.25, 0.25), batch_size=6, augment="none")


def linear():
    "The smallest network that can tell shades apart."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, last])


def by_keras(splits, optimizer, callbacks):
    "The same batches through Keras's own fit."
    model, steps = linear(), splits.steps_per_epoch
    model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    with pytest.warns(UserWarning, match="shuffle"):
        history = model.fit(
            splits.training_steps(0, steps * EPOCHS),
            epochs=EPOCHS,
            steps_per_epoch=steps,
            validation_data=splits.valid,
            callbacks=callbacks,
            verbose=0,
        )
    return pd.DataFrame(history.history), model.get_weights()


def by_us(splits, optimizer, callbacks, **options):
    "They through ours."
    options = {"checkpoint": "last", "progress": "none"} | options
    run = fit(linear(), splits, EPOCHS, optimizer=optimizer, callbacks=callbacks, **options)
    return run.history.reset_index(drop=True), run.model.get_weights()


def plain():
    "An optimizer that jumps about, so that callbacks have something to do."
    return keras.optimizers.SGD(0.5)


def averaging():
    "One that averages."
    return keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8)


def stopping(place):
    "Stops early, and goes back to the best."
    how = {"patience": 1, "restore_best_weights": True, "min_delta": 0.05}
    return CALLBACKS.EarlyStopping("val_loss", **how)


def plateau(place=None):
    "Halves the learning rate twice in five epochs."
    return CALLBACKS.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.3, factor=0.5)


def falling(place):
    "A learning rate of one's own."
    return CALLBACKS.LearningRateScheduler(lambda epoch, rate: 0.5 / (epoch + 1))


def logging(place):
    "A file with a line an epoch."
    return CALLBACKS.CSVLogger(place / "log.csv")


def keeping(place):
    "Weights after every third batch."
    file, how = place / "{epoch}.weights.h5", {"save_weights_only": True, "save_freq": 3}
    return CALLBACKS.ModelCheckpoint(file, **how)


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (stopping, plain),
        (plateau, plain),
        (falling, plain),
        (logging, plain),
        (keeping, plain),
        (lambda place: CALLBACKS.BackupAndRestore(place / "backup"), plain),
        (lambda place: CALLBACKS.TerminateOnNaN(), plain),
        (lambda place: CALLBACKS.ProgbarLogger(), plain),
        (lambda place: CALLBACKS.SwapEMAWeights(), averaging),
        (lambda place: CALLBACKS.SwapEMAWeights(swap_on_epoch=True), averaging),
    ],
)
def test_a_callback_does_what_it_does_in_keras(splits, tmp_path, make, optimizer):
    folders = [tmp_path / "keras", tmp_path / "ours"]
    for folder in folders:
        folder.mkdir()
    expected, weights = by_keras(splits, optimizer(), [make(folders[0])])
    received, ours = by_us(splits, optimizer(), [make(folders[1])])
    assert len(received) == len(expected)
    pd.testing.assert_frame_equal(received[list(expected)], expected, rtol=1e-5)
    for one, other in zip(ours, weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    files = [sorted(path.name for path in folder.rglob("*")) for folder in folders]
    assert files[0] == files[1]


def test_tensorboard_writes_what_it_writes_in_keras(splits, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for name, train in {"keras": by_keras, "ours": by_us}.items():
        train(splits, plain(), [CALLBACKS.TensorBoard(str(tmp_path / name), update_freq=2)])
        events = EventAccumulator(str(tmp_path / name / "train"), size_guidance={"tensors": 0})
        events.Reload()
        found.append({})
        for tag in ("epoch_loss", "batch_loss"):
            rows = [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
            found[-1][tag] = np.array(rows)
    for tag, rows in found[0].items():
        np.testing.assert_allclose(rows, found[1][tag], rtol=1e-5)


@pytest.mark.parametrize("kind", [plateau, falling])
def test_a_callback_that_sets_the_rate_needs_one_that_can_be_set(splits, kind):
    begun = []
    note = CALLBACKS.LambdaCallback(on_train_begin=lambda logs: begun.append(1))
    with pytest.raises(OptionError, match=r'follows a schedule.*schedule="constant"'):
        by_us(splits, "sgd", [note, kind(None)])
    assert not begun
    rates = by_us(splits, "sgd", [kind(None)], schedule="constant")[0]["learning_rate"]
    assert rates.iloc[-1] < rates.iloc[0]


class Press(PressCtrlC):
    "The same with a state of which JSON has no word."

    def get_state(self):
        return float("inf")

    def set_state(self, state):
        assert state == float("inf")


@pytest.mark.parametrize("press", [{"train": 11}, {"test": 5}])
@pytest.mark.parametrize("which", ["plateau", "swap"])
def test_callbacks_with_a_memory_go_on_exactly(splits, tmp_path, press, which):
    make = {"plateau": plateau, "swap": lambda: CALLBACKS.SwapEMAWeights(swap_on_epoch=True)}[which]
    optimizer = {"plateau": plain, "swap": averaging}[which]
    unbroken, weights = by_us(splits, optimizer(), [make()])
    for left in (press, {}):
        callbacks = [make(), Press(**left)]
        broken, ours = by_us(splits, optimizer(), callbacks, directory=tmp_path)
    pd.testing.assert_frame_equal(broken, unbroken, check_exact=True)
    for one, other in zip(ours, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_callback_that_forgets_is_named(splits, tmp_path, capsys):
    fit(linear(), splits, 1, directory=tmp_path, callbacks=[stopping(None)], progress="log")
    assert "EarlyStopping would begin anew" in capsys.readouterr().out


# Batches that cannot be


def batches(changes, labels=LABELS[:24], shape=(None,)):
    "Three batches of eight, some of them changed: number to (pictures, labels)."
    plain = PICTURES[:24].astype("float32")
    parts = [(plain[k : k + 8], labels[k : k + 8]) for k in (0, 8, 16)]
    for number, (x, y) in changes.items():
        old = parts[number - 1]
        parts[number - 1] = (old[0] if x is None else x, old[1] if y is None else y)
    kind = tf.int64 if labels.dtype.kind == "i" else tf.float32
    signature = (tf.TensorSpec((None, None, None, 1)), tf.TensorSpec(shape, kind))
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=signature)


def spoiled(array, value):
    "A copy of eight with one value changed."
    copy = array[8:16].astype(np.float32 if value != value else array.dtype)
    copy.flat[5] = value
    return copy


ROWS = keras.utils.to_categorical(LABELS[:24], 3)
NAN = float("nan")


@pytest.mark.parametrize(
    ("train", "valid", "words"),
    [
        ({2: (None, spoiled(LABELS, 7))}, {}, "train, batch 2: 'int' labels.*received 0 to 7"),
        ({3: (None, spoiled(LABELS, -1))}, {}, "train, batch 3: .*received -1 to 2"),
        ({}, {2: (None, spoiled(LABELS, 7))}, "valid, batch 2: .*received 0 to 7"),
        ({2: (spoiled(PICTURES, NAN), None)}, {}, "train, batch 2: Pixels .* are no numbers"),
        ({2: (PICTURES[8:16, :5], None)}, {}, r"batch 2: Expected pictures of \(6, 6, 1\)"),
        ({2: (None, LABELS[8:12])}, {}, "batch 2: .*received 8 and 4 labels"),
    ],
)
def test_a_later_batch_that_cannot_be_is_found(train, valid, words):
    data = from_datasets(batches(train), batches(valid), class_names=list("abc"))
    with pytest.raises(DataError, match=words) as caught:
        fit(linear(), data, 2, progress="none")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("labels", "words"),
    [(spoiled(ROWS, NAN), "received nan"), (ROWS[8:16, :2], r"received shape \(8, 2\)")],
)
def test_rows_of_labels_that_cannot_be_are_found(labels, words):
    data = from_datasets(batches({2: (None, labels)}, ROWS, (None, None)))
    with pytest.raises(DataError, match=f"train, batch 2: .*{words}"):
        fit(linear(), data, 2, progress="none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({1: (None, spoiled(LABELS, 7))}, "received 0 to 7"),
        ({1: (spoiled(PICTURES, NAN), None)}, "received nan to nan"),
        ({1: (None, LABELS[8:12])}, "received 8 and 4 labels"),
    ],
)
def test_a_first_batch_that_cannot_be_is_found_before_the_first_epoch(changes, words):
    with pytest.raises(DataError, match=words):
        from_datasets(batches(changes), class_names=list("abc"))


def test_an_error_of_the_pipeline_itself_comes_through():
    def generate():
        yield PICTURES[:8].astype("float32"), LABELS[:8]
        raise OSError("the disk is gone")

    signature = (tf.TensorSpec((None, 6, 6, 1)), tf.TensorSpec((None,), tf.int64))
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        fit(linear(), from_datasets(data, class_names=list("abc")), 1, progress="none")


def test_a_loss_that_explodes_in_sound_data_names_an_existing_batch():
    with pytest.raises(ModelError, match=r"epoch 1, at batch [1-3] or just before"):
        fit(linear(), from_datasets(batches({})), 2, learning_rate=1e38, progress="none")


# A kernel


CELL = """
import imgrec, keras
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.models import build_model
from imgrec.train import fit

class Say(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 3:
            print("third step", flush=True)

splits = load(digits().split(seed=0), image_size=16)
model = build_model("small_cnn", splits.spec, width=8, depth=2)
run = fit(model, splits, epochs=500, callbacks=[Say()], directory=FOLDER, progress="log")
print("finished:", run.finished)
"""


def test_interrupting_a_kernel_stops_after_the_batch(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})
    client = manager.client()
    said, ended = "", time.monotonic() + 150
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute(CELL.replace("FOLDER", repr(str(tmp_path / "run"))))
        interrupted = idle = False
        while not idle and time.monotonic() < ended:
            try:
                message = client.get_iopub_msg(timeout=5)
            except queue.Empty:
                continue
            said += message["content"].get("text", "")
            assert message["msg_type"] != "error", message["content"]["traceback"]
            if "third step" in said and not interrupted:
                manager.interrupt_kernel()
                interrupted = True
            busy = message["content"].get("execution_state")
            idle = interrupted and busy == "idle"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "Stopped by hand in epoch" in said and "make the same call again" in said
    assert "finished: False" in said

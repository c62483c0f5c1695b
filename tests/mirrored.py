"""Trainings on two devices that are one processor, in a process of its own."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from interrupting import PressCtrlC

import imgrec  # noqa: F401
from imgrec import runs
from imgrec.catalog import Catalog
from imgrec.core import ModelError, OptionError
from imgrec.data import load
from imgrec.runs import Run
from imgrec.train import fit
from imgrec.transfer import fine_tune


class Own(keras.Model):
    "A network that cannot be copied: its parts are not written down."

    def __init__(self, outputs):
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(outputs)

    def call(self, x):
        return keras.ops.softmax(self.dense(self.flat(x / 255)))


def network(*between):
    "A small network, always with the same first weights."
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu"), *between]
    last = [layers.Flatten(), layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, *last])


def features():
    "A small backbone, always with the same first weights."
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="features")


def gap(first, second):
    "How far two runs are apart, in history and weights."
    pairs = zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    history = (first.history - second.history).abs().to_numpy().max()
    return float(max(history, *(np.abs(a - b).max() for a, b in pairs)))


def error_of(kind, *arguments, **options):
    "The words of the error that a training ends with."
    try:
        fit(*arguments, **options)
    except kind as error:
        return str(error)
    return "no error"


def main(folder):
    "Print what was found, as JSON."
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.threading.set_inter_op_parallelism_threads(16)  # each device waits in one for others
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], reduction)
    runs._EVERY = runs._AT_MOST = 0.0
    labels = np.arange(50) % 3
    noise = np.random.default_rng(0).integers(0, 30, (50, 6, 6, 1))
    shades = (noise + 20 + 90 * labels[:, None, None, None]).astype(np.uint8)
    catalog = Catalog.from_arrays(shades, labels, ["dark", "grey", "light"])
    splits = load(catalog.split(0.25, 0.25), batch_size=8, augment="light")  # 26: 8, 8, 8, 2
    quiet = {"learning_rate": 0.02, "progress": "none"}
    both = quiet | {"strategy": strategy}
    found = {}
    options = {"ema": 0.9, "class_weights": {"dark": 3}, "checkpoint": "last"}
    alone = fit(network(), splits, 2, **quiet, **options)
    shared = fit(network(), splits, 2, **both, **options)
    found["alike"] = gap(alone, shared)
    loss = shared.model.evaluate(splits.valid, verbose=0, return_dict=True)["loss"]
    found["evaluated"] = abs(loss - shared.history["val_loss"].iloc[-1])
    layers, resumable = keras.layers, {"ema": 0.9, "early_stopping": 3, "checkpoint": "last"}
    kept = {}
    for name, left in {"whole": 0, "broken": 6}.items():
        for again in (left, 0) if left else (0,):
            model = network(layers.BatchNormalization(), layers.Dropout(0.3))
            options = {"callbacks": [PressCtrlC(again)], "directory": f"{folder}/{name}"}
            kept[name] = fit(model, splits, 3, **both, **resumable, **options)
    found["resumed"] = gap(kept["whole"], kept["broken"])
    found["loaded"] = gap(kept["broken"], Run.load(f"{folder}/broken"))
    how = {"dropout": 0, "monitor": "val_loss", "progress": "none"}  # dropout differs by device
    tuned = [fine_tune(features(), splits, 2, strategy=each, **how) for each in (None, strategy)]
    found["tuned"] = gap(*tuned)
    with strategy.scope():
        own = Own(3)
    found["own"] = len(fit(own, splits, 1, **both).history)
    found["copied"] = error_of(ModelError, Own(3), splits, 1, **both)
    found["word"] = error_of(OptionError, network(), splits, 1, strategy="mirrored")
    print("found", json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

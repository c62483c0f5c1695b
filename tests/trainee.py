"""A training in a process of its own, to be killed: python tests/trainee.py FOLDER [SECONDS]."""

import hashlib
import os
import sys
from pathlib import Path

import keras
import numpy as np

import imgrec  # noqa: F401  before TensorFlow, to keep it quiet
from imgrec import runs
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.models import build_model
from imgrec.train import fit

EPOCHS = 9
SPOILED = 5  # From this epoch on, the network unlearns


class Steps(keras.callbacks.Callback):
    "Prints each step, for whoever decides when it is enough; spoils the later epochs."

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 >= SPOILED:
            kernel = self.model.trainable_variables[-2]
            kernel.assign(-kernel)

    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)

    def on_test_batch_end(self, batch, logs=None):
        print("validated", flush=True)

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def digest(arrays):
    "One number for many arrays."
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def main(folder, every):
    "Train with everything on that could be forgotten, and print what came out."
    runs._EVERY = runs._AT_MOST = float(every)
    catalog = digits().sample(per_class=24).split(seed=0)
    recipe = {"zoom": 0.2, "rotation": 10, "mixup": 0.2}
    splits = load(catalog, image_size=16, batch_size=16, augment=recipe, label_mode="categorical")
    begun = any(Path(folder).glob("checkpoints/*"))
    keras.utils.set_random_seed(os.getpid() if begun else 0)  # the first weights are kept as well
    model = build_model("small_cnn", splits.spec, width=8, depth=2, dropout=0.3)
    run = fit(
        model,
        splits,
        EPOCHS,
        ema=0.9,
        early_stopping=3,
        label_smoothing=0.1,
        directory=folder,
        callbacks=[Steps()],
        progress="none",
    )
    print("finished" if run.finished else "stopped", digest(model.get_weights()), flush=True)
    history = digest([run.history.to_numpy()])
    print("history", history, len(run.history), run.best_epoch, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

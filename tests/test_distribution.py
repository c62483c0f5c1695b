"""Several devices and several machines, played by one processor: the same training comes out."""

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from project import ROOT, cells

from imgrec.data import load
from imgrec.datasets import digits

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    "What a process with two devices found; devices are divided before TensorFlow begins."
    command = [sys.executable, str(HERE / "mirrored.py"), str(tmp_path_factory.mktemp("mirrored"))]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=quiet, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("found ")[2])


def test_two_devices_train_as_one_does(mirrored):
    assert mirrored["alike"] < 1e-5, "with averaged weights and weights of classes"
    assert mirrored["tuned"] < 1e-5, "the whole of a pretrained network, too"


def test_the_model_that_was_given_is_trained_and_can_be_evaluated(mirrored):
    assert mirrored["evaluated"] < 1e-5


def test_two_devices_go_on_where_they_were(mirrored):
    "Metrics are summed device by device, and the sum goes on in one: the last digit may differ."
    assert mirrored["resumed"] < 1e-6
    assert mirrored["loaded"] == 0


def test_a_model_of_ones_own_is_built_in_the_scope(mirrored):
    assert mirrored["own"] == 1
    assert "inside `with strategy.scope():`" in mirrored["copied"]
    assert "received 'mirrored'" in mirrored["word"]


# Several machines


def worker():
    "The script of the page on several machines."
    page = ROOT / "nbs" / "explanations" / "several_machines.ipynb"
    for cell in cells(page):
        if cell.kind == "code" and cell.source.startswith("WORKER"):
            return ast.literal_eval(cell.tree.body[0].value)
    raise AssertionError("the page shows no script")


def in_one_process():
    "What the script trains, by Keras's own step and whole batches."
    splits = load(digits().sample(per_class=24).split(seed=0), image_size=8, batch_size=32)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    first = [layers.Rescaling(1 / 255), layers.Conv2D(8, 3, activation="relu")]
    last = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input(splits.spec.shape), *first, *last])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="categorical_crossentropy")
    for batch in splits.training_steps(0, 2 * splits.steps_per_epoch):
        model.train_on_batch(*batch)
    return model.get_weights()


def test_two_machines_end_with_the_weights_of_one(tmp_path):
    (tmp_path / "worker.py").write_text(worker())
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    machines = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    try:
        for index in range(2):
            cluster = {"cluster": {"worker": machines}, "task": {"type": "worker", "index": index}}
            quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
            known = os.environ | quiet | {"TF_CONFIG": json.dumps(cluster)}
            command = [sys.executable, "worker.py", f"{index}.keras"]
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, cwd=tmp_path, env=known, **pipes))
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors[-2000:]
    finally:
        for process in processes:
            process.kill()
    load_model = keras.saving.load_model
    first, second = (load_model(tmp_path / f"{n}.keras").get_weights() for n in range(2))
    for ours, theirs, alone in zip(first, second, in_one_process(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(ours, alone, atol=1e-5)

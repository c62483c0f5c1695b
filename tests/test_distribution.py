"""Several devices and several machines, played by one processor: the same training comes out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert mirrored["plain"] < 1e-5
    assert mirrored["averaged"] < 1e-5, "with averaged weights and weights of classes"


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

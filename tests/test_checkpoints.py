"""The state of a training on the disk: whole or not there, and one before it in case it rots."""

import os
import signal
import subprocess
import sys
import time
import warnings

import ml_dtypes
import numpy as np
import pytest
from disks import small_disk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imgrec.checkpoints import latest_checkpoint, write_checkpoint

ARRAYS = {
    "model/conv2d/kernel:0": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "iterations": np.array(7, np.int64),
    "nothing": np.zeros((0, 3), np.float32),
    "half": np.array([0.5, -2], ml_dtypes.bfloat16),
    "known": np.array([True, False]),
}
FACTS = {"epoch": 3, "history": [{"loss": 0.1}], "best": None}


def names(folder):
    "What lies in a folder."
    return sorted(path.name for path in folder.iterdir())


def test_a_state_comes_back_to_the_bit(tmp_path):
    write_checkpoint(tmp_path / "deep" / "run", 7, ARRAYS, FACTS)
    found = latest_checkpoint(tmp_path / "deep" / "run")
    assert found.step == 7 and found.facts == FACTS and found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_two_are_kept_and_nothing_else_is_touched(tmp_path):
    (tmp_path / "step-1.checkpoint.bak").write_text("mine")
    (tmp_path / "step-best.checkpoint").write_text("mine, too")
    for step in (9, 10, 11, 100):
        write_checkpoint(tmp_path, step, ARRAYS, {})
    assert names(tmp_path) == [
        *("step-0000000011.checkpoint", "step-0000000100.checkpoint"),
        *("step-1.checkpoint.bak", "step-best.checkpoint"),
    ]
    assert latest_checkpoint(tmp_path).step == 100


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), how=st.sampled_from(["cut", "flip", "zeros"]))
def test_any_damage_is_noticed_and_the_one_before_is_used(tmp_path_factory, place, how):
    folder = tmp_path_factory.mktemp("run")
    write_checkpoint(folder, 1, ARRAYS, FACTS)
    newest = write_checkpoint(folder, 2, ARRAYS, FACTS)
    data = bytearray(newest.read_bytes())
    at = int(place * len(data))
    if how == "cut":
        del data[at:]
    elif how == "flip":
        data[at] ^= 1
    else:
        data[at:] = bytes(len(data) - at)
    assume(data != newest.read_bytes())  # zeros may have been zeros
    newest.write_bytes(data)
    with pytest.warns(UserWarning, match=r"step-0000000002\.checkpoint is damaged: it"):
        assert latest_checkpoint(folder).step == 1


def test_where_all_are_damaged_there_is_none(tmp_path):
    for step in (1, 2):
        write_checkpoint(tmp_path, step, ARRAYS, FACTS).write_bytes(b"rot")
    with pytest.warns(UserWarning) as told:
        assert latest_checkpoint(tmp_path) is None
    assert len(told) == 2 and all("No state before it is whole" in str(w.message) for w in told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest_checkpoint(tmp_path / "nowhere") is None


def test_a_damaged_state_takes_no_whole_one_s_place(tmp_path):
    for step in (7, 9):
        newest = write_checkpoint(tmp_path, step, ARRAYS, FACTS)
    newest.write_bytes(b"rot")
    with pytest.warns(UserWarning, match="The one before it is used"):
        assert latest_checkpoint(tmp_path, aside=True).step == 7
    write_checkpoint(tmp_path, 8, ARRAYS, FACTS)
    kept = ["step-0000000007.checkpoint", "step-0000000008.checkpoint", "step-0000000009.damaged"]
    assert names(tmp_path) == kept and (tmp_path / kept[2]).read_bytes() == b"rot"


def test_a_state_that_leads_elsewhere_is_the_only_one_whatever_its_step(tmp_path):
    for step in (600, 700):
        write_checkpoint(tmp_path, step, ARRAYS, FACTS)
    write_checkpoint(tmp_path, 350, ARRAYS, FACTS, alone=True)
    assert latest_checkpoint(tmp_path).step == 350 and len(names(tmp_path)) == 1
    write_checkpoint(tmp_path, 360, ARRAYS, FACTS)
    assert latest_checkpoint(tmp_path).step == 360 and len(names(tmp_path)) == 2


def test_what_only_pickle_could_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_checkpoint(tmp_path, 1, {"a": np.array([{}])}, {})
    with pytest.raises((TypeError, ValueError)):
        write_checkpoint(tmp_path, 1, ARRAYS, {"loss": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_kill_at_any_moment_leaves_a_whole_one(tmp_path):
    program = (
        "import sys, itertools, numpy as np\n"
        "from imgrec.checkpoints import write_checkpoint\n"
        "for step in itertools.count(int(sys.argv[2])):\n"
        "    arrays = {str(n): np.full(50_000, step) for n in range(5)}\n"
        "    write_checkpoint(sys.argv[1], step, arrays, {})\n"
        "    print(step, flush=True)\n"
    )
    draw, last = np.random.default_rng(0), 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(last + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == f"{last + 1}\n"
        time.sleep(draw.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0].split()
        last = max([last + 1, *map(int, said)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = latest_checkpoint(tmp_path)
        assert found.step >= last  # what was said to be there is there
        assert all((array == found.step).all() for array in found.arrays.values())
        last = found.step


def test_a_full_disk_keeps_what_was_there(tmp_path):
    small, large = {"a": np.zeros(50_000, np.uint8)}, {"a": np.zeros(2_000_000, np.uint8)}
    with small_disk(tmp_path / "small", "1m") as place:
        for step in (1, 2):
            write_checkpoint(place, step, small, {})
        before = names(place)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(place, 3, large, {})
        assert names(place) == before and latest_checkpoint(place).step == 2

"""A training that is killed, stopped, or out of disk ends as if nothing had happened."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from disks import small_disk
from trainee import EPOCHS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")

KILLS = 20 if os.environ.get("IMGREC_SLOW") else 4
KILL = getattr(signal, "SIGKILL", None)
TRAINEE = Path(__file__).with_name("trainee.py")


def train(folder, until=None, how=KILL, every=0.2):
    "Train in a process, end it by a signal after some steps; the last lines that it printed."
    command = [sys.executable, str(TRAINEE), str(folder), str(every)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=quiet, text=True, **pipes)
    seen, lines = 0, []
    for line in process.stdout:
        if line.strip() not in ("step", "validated"):
            lines.append(line.strip())
            continue
        seen += 1
        if seen == until:
            process.send_signal(how)
            if how == KILL:
                break
    process.stdout.close()
    errors = process.stderr.read()
    return process.wait(), lines, errors


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    "What a training that nobody disturbs ends with, and its folder."
    folder = tmp_path_factory.mktemp("unbroken")
    code, lines, errors = train(folder)
    assert code == 0 and lines[0].startswith("finished "), errors
    *_, length, best = lines[1].split()
    assert 1 < int(best) < int(length) < EPOCHS, "it stops early, and goes back to its best"
    return lines, folder


def to_the_end(folder, unbroken):
    "Let a training go on, and see that it ends as the other one did."
    code, lines, errors = train(folder)
    assert code == 0, errors
    assert lines == unbroken[0]
    kept = (folder / "history.csv").read_text(), (unbroken[1] / "history.csv").read_text()
    assert kept[0] == kept[1]
    return errors


def test_killed_at_any_moment_it_ends_with_the_same_weights(tmp_path, unbroken):
    lots, killed, ended = random.Random(os.getpid()), [], 0  # other moments in every run
    while len(killed) < KILLS:
        folder, moment = tmp_path / str(ended), lots.randrange(1, 90)
        code, _, errors = train(folder, moment)
        assert code in (-KILL, 0), errors
        if code:
            killed.append(moment)
        else:  # it had come to its end before, so the next kill needs a training of its own
            to_the_end(folder, unbroken)
            ended += 1
    to_the_end(tmp_path / str(ended), unbroken)
    print(f"{KILLS} kills after {killed} steps; {ended + 1} trainings, all {unbroken[0]}")


def test_ctrl_c_stops_after_the_batch_and_says_how_to_go_on(tmp_path, unbroken):
    code, lines, errors = train(tmp_path, 25, signal.SIGINT)
    assert code == 0, errors
    assert f"in epoch 2 of {EPOCHS}" in lines[0] and "make the same call again" in lines[0]
    assert lines[1].startswith("stopped ")
    to_the_end(tmp_path, unbroken)


def test_a_damaged_state_is_said_and_the_one_before_is_used(tmp_path, unbroken):
    train(tmp_path, 40, signal.SIGINT)
    *_, newest = sorted(tmp_path.glob("checkpoints/*"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert f"{newest.name} is damaged" in to_the_end(tmp_path, unbroken)


def test_a_full_disk_ends_it_with_an_error_and_nothing_is_lost(tmp_path, unbroken):
    with small_disk(tmp_path / "disk", "4M") as disk:
        folder = disk / "run"
        train(folder, 30, signal.SIGINT)
        states = sorted(folder.glob("checkpoints/*"))
        with contextlib.suppress(OSError), (disk / "filler").open("wb") as filler:
            while True:
                filler.write(b"0" * 4096)
                filler.flush()
        code, _, errors = train(folder)
        assert code == 1 and "cannot be written: No space left on device" in errors
        assert "Make room, and call fit again" in errors
        assert set(states) <= set(folder.glob("checkpoints/*"))
        (disk / "filler").unlink()
        to_the_end(folder, unbroken)
        shutil.rmtree(folder)

"""Searches that are killed, again and again, and come to what they would have come to."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from disks import small_disk

from imgrec.commands import send, waiting
from imgrec.oracles import ORACLES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each life of a search is a fork")
SCRIPT = Path(__file__).with_name("scripted.py")
KILLS = 1000 if os.environ.get("IMGREC_SLOW") else 200


def seen(*words):
    "What `scripted.py` has seen."
    return heard(words, begun(words))


def begun(words):
    "A process of `scripted.py`."
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def heard(words, process):
    "What it has seen, in the end."
    with process:
        try:
            said, errors = process.communicate(timeout=1800)
        finally:
            process.kill()
    assert process.returncode == 0, errors[-3000:]
    print(*words, said)
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("strategy", [*ORACLES, "repeated"])
def test_a_search_that_is_killed_loses_nothing_and_repeats_nothing(strategy):
    share = KILLS // 3 + 1
    how = [(strategy, workers, share) for workers in (0, 1, 2)]
    processes = [begun(words) for words in how]  # at once: they wait, mostly
    try:
        found = [heard(*each) for each in zip(how, processes, strict=True)]
    finally:
        for process in processes:
            process.kill()
    assert all(each["kills"] >= share and each["searches"] >= 1 for each in found)


def test_a_disk_that_is_full_at_any_byte_loses_nothing():
    assert seen("full", 40) == {"refused": 40, "trials": 16}


def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path):
    with small_disk(tmp_path / "disk", "8k") as place:
        found = seen("crowded", place)
        assert set(found["codes"]) == {71, 72, 0}, "the journal, and what a trial keeps"
        (place / "ballast").write_bytes(b"0" * shutil.disk_usage(place).free)
        with pytest.raises(OSError, match="No space left"):
            send(place / "search", "pause")
        assert not list(waiting(place / "search")), "half a command"


def test_ctrl_c_at_any_moment_is_a_stop():
    found = seen("interrupted", 30)
    assert found["pressed"] == 30 and found["said"] > 15, "the others came before it could speak"


def test_a_clock_that_jumps_by_days_costs_no_time():
    found = seen("jumping")
    assert (found["trials"], found["reason"]) == (8, "done") and found["spent"] < 300


def test_a_search_that_is_held_blames_nobody():
    found = seen("held")
    assert found["starts"] == [1] * 16 and found["spent"] < 8

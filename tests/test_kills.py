"""Searches that are killed, again and again, and come to what they would have come to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("scripted.py")
KILLS = 1000 if os.environ.get("IMGREC_SLOW") else 200


@pytest.mark.parametrize("strategy", ["random", "grid", "bayesian", "hyperband", "halving"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_search_that_is_killed_loses_nothing_and_repeats_nothing(strategy, workers):
    command = [sys.executable, str(SCRIPT), strategy, str(workers), str(KILLS // 2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    print(strategy, workers, seen)
    assert seen["kills"] >= KILLS // 2 and seen["searches"] >= 1

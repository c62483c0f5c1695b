"""Searches on a Ray cluster, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra imgrec[ray] is not installed")
CASES = Path(__file__).with_name("ray_cases.py")


@pytest.mark.skipif(os.name == "nt", reason="a cluster on loopback is for Unix")
def test_searches_on_a_cluster():
    """Ray numbers actors anew after each connection: handles of a page before would end ours."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, str(CASES)], capture_output=True, text=True, timeout=900, env=environment
    )
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout.splitlines()[-1])

"""Disks of their own with little room, for what happens when they are full."""

import contextlib
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(place, size):
    "A file system of a size such as 1m, at a folder that is made for it."
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

"""Waiting for what other processes do."""

import time


def until(condition, seconds=240):
    "Wait for something that comes true; what it was."
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found

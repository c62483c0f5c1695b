"Signatures for tests: small picture -> a few bytes. Scans import them in processes of their own."

import os
import signal
import time
from pathlib import Path

import numpy as np


def colour(small: np.ndarray) -> bytes:
    "The first pixel."
    return small[0, 0].tobytes()


def slow_colour(small: np.ndarray) -> bytes:
    "The first pixel, slowly; which pixel, and by which process, goes into a file."
    time.sleep(float(os.environ.get("IMGREC_TEST_SLEEP", "0.01")))
    with Path(os.environ["IMGREC_TEST_LOG"]).open("a") as log:
        log.write(f"{os.getpid()} {small[0, 0].tolist()}\n")
    return colour(small)


def deadly_colour(small: np.ndarray) -> bytes:
    "Of a red picture it crashes, of a green one it never comes back."
    red, green, _ = small[0, 0].tolist()
    if red == 255:
        os.kill(os.getpid(), signal.SIGSEGV)
    if green == 255:
        time.sleep(60)
    return colour(small)


def broken(small: np.ndarray) -> bytes:
    "Divides by zero."
    return bytes([1 // 0])

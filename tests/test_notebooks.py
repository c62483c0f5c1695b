"""Every notebook runs from top to bottom: each is one test.

Many share a process, because TensorFlow's import would otherwise cost more than most of them.
Each starts with its own seed, in its own folder, and puts back what it changed. That none leaves
a file behind is seen at the end of all tests (`conftest.py`).
"""

import gc
import importlib
import os
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from execnb.nbio import read_nb
from execnb.shell import CaptureShell
from project import NBS, PACKAGE, Cell, cells, notebooks

from imgrec.core import seed_everything

for module in PACKAGE.glob("[!_]*.py"):  # what they register with Keras is the package's, below
    importlib.import_module(f"imgrec.{module.stem}")
SLOW = os.environ.get("IMGREC_SLOW") == "1"
TESTED = [path for path in notebooks() if "benchmarks" not in path.parts]
TESTED.sort(key=lambda path: "tutorials" not in path.parts)  # the long ones first


def skipped(cell: Cell) -> bool:
    "Cells that cannot run at all, and the long ones outside the nightly run."
    return "eval: false" in cell.directives or ("slow" in cell.directives and not SLOW)


@pytest.fixture
def as_if_alone(request, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    "The notebook's own folder and seed; afterwards everything as it was."
    path: Path = request.param
    environment, search = dict(os.environ), list(sys.path)
    registered = dict(keras.saving.get_custom_objects())
    monkeypatch.chdir(path.parent)
    seed_everything(zlib.crc32(path.stem.encode()) % 2**31)
    yield path
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = search
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(registered)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    gc.collect()
    gc.freeze()  # TensorFlow keeps a million objects of each notebook; nobody need look again


def name(path: Path) -> str:
    "The notebook's name in reports."
    return path.relative_to(NBS).as_posix()


@pytest.mark.parametrize("as_if_alone", TESTED, ids=name, indirect=True)
def test_notebook(as_if_alone: Path):
    shell, others = CaptureShell(as_if_alone, mpl_format="png"), set(threading.enumerate())
    try:
        run_all(shell, as_if_alone)
    finally:  # IPython keeps every shell, and with it all that a notebook made
        if thread := shell.history_manager.save_thread:
            thread.stop()
        end = time.monotonic() + 5
        for thread in set(threading.enumerate()) - others:  # they still need what it made
            thread.join(max(0, end - time.monotonic()))
        shell.user_ns.clear()


def run_all(shell: CaptureShell, path: Path) -> None:
    "Run the cells of a notebook; the first that stops ends it, with its source."
    for known, cell in zip(cells(path), read_nb(path).cells, strict=True):
        if cell.cell_type != "code" or skipped(known):
            continue
        shell.cell(cell)
        if shell.exc:
            source = "\n".join(f"    {line}" for line in known.source.splitlines())
            trace = "".join(traceback.format_exception(shell.exc)[-4:])
            words = f"{known} stops with {type(shell.exc).__name__}: {shell.exc}"
            pytest.fail(f"{words}\n\n{source}\n\n{trace}", pytrace=False)

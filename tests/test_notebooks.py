"""Every notebook runs from top to bottom: each is one test, in the order of their numbers.

They share this process, because TensorFlow's import would otherwise cost more than most of them.
Each starts with its own seed, in its own folder, and puts back what it changed.
"""

import gc
import os
import sys
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from execnb.nbio import read_nb
from execnb.shell import CaptureShell
from project import NBS, Cell, cells, notebooks

from imgrec.core import seed_everything

SLOW = os.environ.get("IMGREC_SLOW") == "1"
TESTED = [path for path in notebooks() if "benchmarks" not in path.parts]


def skipped(cell: Cell) -> bool:
    "Cells that cannot run at all, and the long ones outside the nightly run."
    return "eval: false" in cell.directives or ("slow" in cell.directives and not SLOW)


def files_below(folder: Path) -> set[Path]:
    "Every file, without what editors and Python leave."
    return {
        p for p in folder.rglob("*") if not {"__pycache__", ".ipynb_checkpoints"} & set(p.parts)
    }


@pytest.fixture
def as_if_alone(request, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    "The notebook's own folder and seed; afterwards everything as it was."
    path: Path = request.param
    before, environment, search = files_below(NBS), dict(os.environ), list(sys.path)
    monkeypatch.chdir(path.parent)
    seed_everything(zlib.crc32(path.stem.encode()) % 2**31)
    yield path
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = search
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    gc.collect()
    new = [
        p for p in files_below(NBS) - before if p.suffix != ".ipynb"
    ]  # those are somebody's work
    left = sorted(str(p.relative_to(NBS)) for p in new)
    assert not left, f"{path.name} left files behind: {left}"


def name(path: Path) -> str:
    "The notebook's name in reports."
    return path.relative_to(NBS).as_posix()


@pytest.mark.parametrize("as_if_alone", TESTED, ids=name, indirect=True)
def test_notebook(as_if_alone: Path):
    shell = CaptureShell(as_if_alone, mpl_format="png")
    for known, cell in zip(cells(as_if_alone), read_nb(as_if_alone).cells, strict=True):
        if cell.cell_type != "code" or skipped(known):
            continue
        shell.cell(cell)
        if shell.exc:
            source = "\n".join(f"    {line}" for line in known.source.splitlines())
            trace = "".join(traceback.format_exception(shell.exc)[-4:])
            words = f"{known} stops with {type(shell.exc).__name__}: {shell.exc}"
            pytest.fail(f"{words}\n\n{source}\n\n{trace}", pytrace=False)

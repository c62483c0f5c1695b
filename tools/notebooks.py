"""Run notebooks and store their outputs, clean them, or measure.

python tools/notebooks.py run [NOTEBOOK ...]   execute, store outputs, clean (default: all)
python tools/notebooks.py clean                clean all, executing nothing
python tools/notebooks.py bench                run nbs/benchmarks/; without data, copies in _bench/
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb, process_write
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "nbs" / "benchmarks"
SKIPPED = "skipped"


def all_notebooks() -> list[Path]:
    "Every notebook of the project, without Jupyter's checkpoints and the benchmarks."
    found = sorted((ROOT / "nbs").rglob("*.ipynb"))
    kept = [path for path in found if BENCHMARKS not in path.parents]
    return [path for path in kept if not any(part[0] in "._" for part in path.parts[-3:])]


def execute(path: Path) -> None:
    "Run the notebook at `path` in a fresh kernel and store its outputs in place."
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "#| eval: false" in cell.source:
            cell.metadata.setdefault("tags", []).append(SKIPPED)
    client = NotebookClient(
        notebook,
        timeout=None if BENCHMARKS in path.parents else 3600,  # seconds a cell
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        skip_cells_with_tag=SKIPPED,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if SKIPPED in cell.metadata.get("tags", []):
            cell.metadata.pop("tags")
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"].pop("image/jpeg", None)  # Pillow gives every picture twice
    notebook.metadata.pop("widgets", None)  # sixty lines a slider, and no page shows them
    nbformat.write(notebook, path)
    clean(path)


def clean(path: Path) -> None:
    "Drop what changes from run to run: counts, ids in addresses, metadata of the editor."
    get_config(cfg_name="settings.ini", path=ROOT)
    process_write(
        warn_msg="cannot clean", proc_nb=lambda nb: clean_nb(nb, clean_ids=True), f_in=path
    )


def measurable(chosen: list[Path]) -> list[Path]:
    "The pages to run: with data themselves, without it copies, since small sets measure less."
    folder = os.environ.get("IMGREC_DATA")
    if folder and not Path(folder).is_dir():
        sys.exit(f"IMGREC_DATA={folder} is not a folder. Set it to the one that holds the data.")
    if folder:
        return chosen
    copies = ROOT / "_bench"
    copies.mkdir(exist_ok=True)
    print("IMGREC_DATA is not set: benchmarks use the small sets that come with the packages, in")
    print("_bench/. For MNIST or your photos, set it to their folder (see nbs/03_datasets.ipynb).")
    for module in BENCHMARKS.glob("*.py"):  # what pages share
        shutil.copy(module, copies)
    return [Path(shutil.copy(page, copies)) for page in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "clean", "bench"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    options = parser.parse_args()
    chosen = options.notebooks or all_notebooks()
    if options.command == "bench":
        chosen = measurable(options.notebooks or sorted(BENCHMARKS.glob("[!.]*.ipynb")))
    for path in chosen:
        started = time.monotonic()
        try:
            (clean if options.command == "clean" else execute)(path.resolve())
        except CellExecutionError as problem:
            sys.exit(f"{path} stops; it is stored as it was.\n{problem.traceback[-3000:]}")
        seconds = time.monotonic() - started
        print(f"{path}: {seconds:.0f} s, {path.stat().st_size / 1024:.0f} KB", flush=True)


if __name__ == "__main__":
    sys.exit(main())

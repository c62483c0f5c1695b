"""Run notebooks and store their outputs, or check that the stored ones are in order.

    python tools/notebooks.py run nbs/00_core.ipynb ...   execute, store outputs, clean
    python tools/notebooks.py clean                       clean all, executing nothing
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import clean_nb, process_write
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = "skipped"


def all_notebooks() -> list[Path]:
    "Every notebook of the project, without Jupyter's checkpoints."
    found = sorted((ROOT / "nbs").rglob("*.ipynb"))
    return [path for path in found if not any(part[0] in "._" for part in path.parts[-3:])]


def execute(path: Path) -> None:
    "Run the notebook at `path` in a fresh kernel and store its outputs in place."
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "#| eval: false" in cell.source:
            cell.metadata.setdefault("tags", []).append(SKIPPED)
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=3600, resources=where, skip_cells_with_tag=SKIPPED, kernel_name="python3"
    )
    client.execute()
    for cell in notebook.cells:
        if SKIPPED in cell.metadata.get("tags", []):
            cell.metadata.pop("tags")
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"].pop("image/jpeg", None)  # Pillow stores every picture twice
    notebook.metadata.pop("widgets", None)  # sixty lines a slider, and no page shows them
    nbformat.write(notebook, path)
    clean(path)


def clean(path: Path) -> None:
    "Drop what changes from run to run: counts, ids in addresses, metadata of the editor."
    get_config(cfg_name="settings.ini", path=ROOT)
    tidy = partial(clean_nb, clean_ids=True)
    process_write(warn_msg="cannot clean", proc_nb=tidy, f_in=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "clean"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    options = parser.parse_args()
    for path in options.notebooks or all_notebooks():
        started = time.monotonic()
        (execute if options.command == "run" else clean)(path.resolve())
        seconds = time.monotonic() - started
        print(f"{path}: {seconds:.0f} s, {path.stat().st_size / 1024:.0f} KB", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Train a first classifier: run the first tutorial, and leave what it made in demo/.

    python tools/demo.py

demo/first_classifier.html is the tutorial with its pictures, demo/classifier/ the trained model.
Running it again replaces both, once the new ones are complete.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "nbs" / "tutorials" / "01_first_classifier.ipynb"
DEMO = ROOT / "demo"
SKIPPED = "skipped"
STOPPED = "\ndemo: stopped. Nothing was changed; run it again when you like."


class Progress:
    "One line per section: its title at once, and its seconds while they pass."

    def __init__(self) -> None:
        self.live, self.title, self.started = sys.stdout.isatty(), "", time.monotonic()
        self.stopped = threading.Event()
        if self.live:
            threading.Thread(target=self.tick, daemon=True).start()

    def line(self, end: str = "") -> None:
        "Write the running section with its seconds."
        seconds = time.monotonic() - self.started
        start = "\r" if self.live else ""
        print(f"{start}  {self.title:<52} {seconds:5.0f} s", end=end, flush=True)

    def tick(self) -> None:
        "Keep the line moving, so that a long step is not taken for a dead one."
        while not self.stopped.wait(1):
            if self.title:
                self.line()

    def begin(self, title: str) -> None:
        "Close the running section and open the next."
        self.end()
        self.title, self.started = title[:52], time.monotonic()
        if self.live:
            self.line()

    def end(self) -> None:
        "Close the running section."
        if self.title:
            self.line(end="\n")
        self.title = ""


def sections(cells: list) -> dict[int, str]:
    "Index of the first code cell of each section -> its heading."
    found, heading = {}, "Getting ready"
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            titles = re.findall(r"^## +(.+)$", cell.source, re.MULTILINE)
            heading = titles[-1] if titles else heading
        elif heading:
            found[index], heading = heading, ""
    return found


def execute(folder: Path, progress: Progress):
    "Run the tutorial, with what it makes going to `folder`; gives the notebook with its outputs."
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if "#| eval: false" in cell.source:  # such as an installation in Colab
            cell.metadata.setdefault("tags", []).extend([SKIPPED, "hide"])
    titles = sections(notebook.cells)

    def started(cell, cell_index: int) -> None:
        if cell_index in titles:
            progress.begin(titles[cell_index])

    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        on_cell_start=started,
        skip_cells_with_tag=SKIPPED,
    )
    client.execute(env=dict(os.environ, IMGREC_DEMO=str(folder)))
    progress.end()
    return notebook


def page(notebook, folder: Path) -> str:
    "The notebook as one HTML file, without cells that a reader need not see."
    from nbconvert import HTMLExporter

    for cell in notebook.cells:
        cell.metadata.setdefault("tags", []).extend(["hide"] if "#| hide" in cell.source else [])
        kept = [line for line in cell.source.splitlines() if not line.startswith("#|")]
        cell.source = "\n".join(kept)
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.TagRemovePreprocessor", enabled=True)
    for step in exporter._preprocessors:
        if hasattr(step, "remove_cell_tags"):
            step.remove_cell_tags = {"hide"}
    notebook.metadata["title"] = "A first classifier"
    body, _ = exporter.from_notebook_node(notebook)
    pages = NOTEBOOK.parent.relative_to(ROOT).as_posix()
    body = re.sub(r'href="(\w+\.ipynb)', rf'href="../{pages}/\1', body)
    return body.replace(str(folder), "demo")


def replace(folder: Path) -> None:
    "Put the complete `folder` in the place of demo/."
    old = folder.with_name(folder.name + "-old")
    if DEMO.exists():
        DEMO.rename(old)
    folder.rename(DEMO)
    shutil.rmtree(old, ignore_errors=True)


def last_line(folder: Path) -> str:
    "The test accuracy, how sure it is, and where to look."
    told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    low, high = 100 * told["low"], 100 * told["high"]
    return (
        f"Test accuracy {100 * told['accuracy']:.1f} % on {told['n']} pictures "
        f"(95 % interval {low:.1f} to {high:.1f} %). "
        "Open demo/first_classifier.html; the classifier is in demo/classifier/."
    )


def main() -> None:
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    if not NOTEBOOK.exists():
        sys.exit(f"demo: {NOTEBOOK.relative_to(ROOT)} is missing. Is the clone complete?")
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=".demo-", dir=ROOT))
    folder.chmod(0o755)
    progress = Progress()
    print("Training a first classifier on handwritten digits, from the first tutorial:", flush=True)
    try:
        notebook = execute(folder, progress)
        (folder / "first_classifier.html").write_text(page(notebook, folder), encoding="utf-8")
        words = last_line(folder)
        replace(folder)
        print(f"Done in {time.monotonic() - started:.0f} s.\n{words}")
    except CellExecutionError as problem:
        if problem.ename == "KeyboardInterrupt":
            sys.exit(STOPPED)
        words = f"demo: the step failed with {problem.ename}: {problem.evalue}"
        sys.exit(f"\n{problem.traceback[-1500:]}\n{words}")
    except DeadKernelError:
        sys.exit("\ndemo: Python died in this step; most often memory is short (2 GB are needed).")
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except OSError as problem:
        sys.exit(f"\ndemo: {problem}")
    finally:
        progress.stopped.set()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

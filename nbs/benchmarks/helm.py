"""What a person at the helm of a search waits for, measured in a browser: `python helm.py FIGURE`.

A figure is printed as a table, `figure,n,value`: it is a row for each time that it was measured.
The page `17_at_the_helm` runs this and says what the figures mean.
"""

import csv
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # the browser of the tests
import chromium as browsers  # noqa: E402
from waiting import until  # noqa: E402

from imgrec.cockpit import TABS  # noqa: E402
from imgrec.journal import Journal, read_journal  # noqa: E402
from imgrec.space import Choice, Float, Int, Space  # noqa: E402
from imgrec.view import attached  # noqa: E402

WAIT = 120_000  # Milliseconds: two workers load TensorFlow
TRAINING = """
import imgrec
from imgrec.cockpit import TuningCockpit
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.search import Search
from imgrec.space import Choice, Float, Int, Space
space = Space(
    width=Choice(8, 16), depth=Int(1, 2), learning_rate=Float(1e-3, 1e-1, log=True), batch_size=32
)
splits = load(digits().split(seed=0), image_size=28)
search = Search(
    space, "small_cnn", splits, budget=500, epochs=40, workers=2, directory="helm", progress="none"
)
cockpit = TuningCockpit(search)
cockpit
"""

# ---- in the page

# Milliseconds from what a person does to a text that comes or goes.
ECHO = """
(element, [kind, value, text, comes]) => new Promise(done => {
  const there = () => document.body.textContent.includes(text) === comes
  const look = new MutationObserver(() => {
    if (there()) { look.disconnect(); done(performance.now() - began) }
  })
  look.observe(document.body, {subtree: true, childList: true, characterData: true})
  const began = performance.now()
  if (kind === "click") element.click()
  else { element.value = value; element.dispatchEvent(new Event("change", {bubbles: true})) }
})
"""

# For some seconds: the hour of each new picture, on the clock of journals, and the text below it.
PICTURES = """
(picture, seconds) => new Promise(done => {
  const seen = [], words = () => document.body.textContent
  const look = new MutationObserver(() => seen.push([Date.now() / 1000, words()]))
  look.observe(picture, {attributes: true, attributeFilter: ["src"]})
  setTimeout(() => { look.disconnect(); done(seen) }, 1000 * seconds)
})
"""


@dataclass
class Page:
    "A page of Voila, the server that it comes from, and where the notebook lies."

    page: Any  # Playwright's
    server: Any
    folder: Path

    @property
    def kernel(self) -> psutil.Process:
        "The kernel of the page."
        below = psutil.Process(self.server.pid).children(recursive=True)
        return next(each for each in below if "ipykernel" in " ".join(each.cmdline()))


@contextmanager
def opened(*cells: str) -> Iterator[Page]:
    "A notebook in Voila."
    places = [Path(tempfile.mkdtemp()) for _ in range(2)]
    browsers.write_notebook(places[0] / "helm.ipynb", *cells)
    with (
        browsers.serving_voila(*places) as server,
        browsers.a_browser(browsers.find_chromium()) as browser,
        browsers.a_page(browser) as page,
    ):
        page.set_default_timeout(WAIT)
        browsers.open_voila(page, server, "helm.ipynb")
        yield Page(page, server, places[0])


@contextmanager
def training() -> Iterator[tuple[Page, Path]]:
    "A cockpit whose search trains with two workers; and the directory of the search."
    with opened(TRAINING) as there:
        page, place = there.page, there.folder / "helm"
        browsers.button(page, "Start").click()
        both = lambda: len(attached(place).snapshot().with_status("running")) == 2  # noqa: E731
        until(lambda: place.exists() and both(), 120)
        try:
            yield there, place
        finally:
            browsers.button(page, "Stop").first.click()
            page.get_by_text(re.compile("^(Stopped|Done)")).first.wait_for()


def turn_to(page: Any, tab: str) -> None:
    "Turn to a tab of the cockpit, and wait until it is quiet."
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_timeout(1500)


# ---- the figures


def echo(count: int) -> Iterator[tuple[str, float]]:
    "Seconds from a changed field or a pressed button to what the page says of it."
    with training() as (there, _):
        field = there.page.get_by_label("depth, largest").element_handle()
        for n in range(count):
            words = ["type", str(1 + n % 2), "Moved: depth is 1", n % 2 == 0]
            yield "field", field.evaluate(ECHO, words) / 1000
            there.page.wait_for_timeout(150 + 37 * (n % 7))
        turn_to(there.page, "Table")
        chosen = there.page.get_by_role("spinbutton", name="Trial")
        chosen.fill("1")
        chosen.press("Enter")
        pin = browsers.button(there.page, "Pin").element_handle()
        for n in range(count):
            yield "button", pin.evaluate(ECHO, ["click", "", "Unpin", n % 2 == 0]) / 1000
            there.page.wait_for_timeout(150 + 37 * (n % 7))


def reaction(count: int) -> Iterator[tuple[str, float]]:
    "Seconds from a pressed button to the end of a running trial, and to the word that all wait."
    with training() as (there, place):
        page = there.page
        for _ in range(count):
            pause, go_on = (browsers.button(page, each) for each in ("Pause", "Resume"))
            yield (
                "pause",
                pause.element_handle().evaluate(ECHO, ["click", "", "Paused.", True]) / 1e3,
            )
            page.wait_for_timeout(500)
            go_on.click()
            page.get_by_text("Paused.").wait_for(state="detached")
            page.wait_for_timeout(500)
        turn_to(page, "Run")
        for _ in range(count):
            page.wait_for_timeout(3000)
            trial = int(page.get_by_role("combobox", name="Trial").input_value())
            began = time.time()
            browsers.button(page, "Skip").click()
            ended = until(lambda trial=trial: _end_of(place, trial), 60)
            yield "skip", ended - began


def _end_of(place: Path, trial: int) -> float | None:
    "When a trial has ended, by its journal."
    names = ("trial_finished", "trial_pruned", "trial_interrupted", "trial_skipped")
    events = read_journal(place / "journal.log").events
    return next(
        (e["time"] for e in events if e.get("trial") == trial and e["event"] in names), None
    )


def curve(seconds: int) -> Iterator[tuple[str, float]]:
    "Seconds from an epoch's line in the journal to its point in the picture; pictures a second."
    with training() as (there, place):
        turn_to(there.page, "Now")
        picture = there.page.locator("img").filter(visible=True).first.element_handle()
        seen = picture.evaluate(PICTURES, seconds)
        events = read_journal(place / "journal.log").events
    told = {(e["trial"], e["epoch"]): e["time"] for e in events if e["event"] == "epoch_ended"}
    shown = set()
    for hour, words in seen:
        for trial, epoch in re.findall(r"trial (\d+) is at \S+ in epoch (\d+)", words):
            if (key := (int(trial), int(epoch))) in told and key not in shown:
                shown.add(key)
                yield "latency", hour - told[key]
    hours = np.array([hour for hour, _ in seen]) - seen[0][0]
    for start in range(seconds - 1):
        yield "pictures", float(np.sum((hours >= start) & (hours < start + 1)))


# ---- ten thousand trials

SPACE = Space(width=Choice(8, 16, 32), depth=Int(1, 5), learning_rate=Float(1e-4, 1e-1, log=True))


def history(trials: int, epochs: int = 3) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    "The events of a made-up search, trial after trial; before them, how it has begun."
    about = {
        "objective": "val_accuracy",
        "direction": "max",
        "strategy": "random",
        "epochs": epochs,
    }
    begun = {"space": SPACE.to_dict(), "settings": about, "budget": {"trials": trials}}
    opened_by = {"process": 1, "torn": 0, "versions": {}}
    yield [("search_created", {**begun, "versions": {}}), ("search_opened", opened_by)]
    draw = np.random.default_rng(0)
    for number in range(1, trials + 1):
        width, depth = draw.choice([8, 16, 32]), draw.integers(1, 6)
        rate = 10 ** draw.uniform(-4, -1)
        point = {"width": int(width), "depth": int(depth), "learning_rate": float(rate)}
        asked = {"point": point, "seed": 0, "epochs": epochs, "initial_epoch": 0, "parent": None}
        base = float(np.clip(0.9 - 0.1 * abs(np.log10(rate) + 2.5) + draw.normal(0, 0.02), 0, 1))
        lines = [("trial_asked", asked), ("trial_started", {"worker": f"worker {1 + number % 2}"})]
        for epoch in range(1, epochs + 1):
            logs = {"val_accuracy": round(base * (1 - 0.5**epoch), 5), "val_loss": 1.0 - base}
            lines.append(("epoch_ended", {"epoch": epoch, "logs": logs, "seconds": 1.0}))
        ended = {"score": lines[-1][1]["logs"]["val_accuracy"], "best_epoch": epochs}
        lines.append(
            ("trial_finished", {**ended, "seconds": 3.0, "error": 0.01, "parameters": 999})
        )
        yield [(name, {"trial": number, **fields}) for name, fields in lines]


def replayed(place: Path, trials: int, seconds: float = 0.0) -> Iterator[int]:
    "Write a journal within so many seconds; after each trial, how many there are."
    began, place = time.monotonic(), place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    with Journal(place / "journal.log") as journal:
        for number, lines in enumerate(history(trials)):
            for name, fields in lines:
                journal.append(name, **fields)
            rest = began + seconds * number / trials - time.monotonic()
            time.sleep(max(0.0, rest))
            yield number


LARGE = """
import imgrec
from imgrec.cockpit import TuningCockpit
cockpit = TuningCockpit("large")
cockpit
"""


def memory(seconds: int, trials: int = 10_000) -> Iterator[tuple[str, float]]:
    "Megabytes of kernel, page and browser, sixty times while a journal is written."
    folder = Path(tempfile.mkdtemp())
    writing = replayed(folder / "large", trials, seconds)
    next(writing)
    with opened(f"import os; os.chdir({str(folder)!r})", LARGE) as there:
        heap = there.page.context.new_cdp_session(there.page)
        heap.send("HeapProfiler.enable")
        turn_to(there.page, "Now")
        every, tabs = trials // 60, ("Now", "Table", "Run")
        for number in writing:
            if number % every == 0:
                there.page.get_by_role("tab", name=tabs[number // every % 3], exact=True).click()
                heap.send("HeapProfiler.collectGarbage")
                yield "page", heap.send("Runtime.getHeapUsage")["usedSize"] / 1e6
                yield "kernel", there.kernel.memory_info().rss / 1e6
                mine = psutil.Process().children(recursive=True)
                chromes = [each for each in mine if "chrom" in each.name()]
                yield "browser", sum(each.memory_info().rss for each in chromes) / 1e6


def attached_memory(count: int, trials: int = 10_000) -> Iterator[tuple[str, float]]:
    "Megabytes of a kernel that opens such a journal when it is written."
    folder = Path(tempfile.mkdtemp())
    for _ in replayed(folder / "large", trials):
        pass
    for _ in range(count):
        with opened(f"import os; os.chdir({str(folder)!r})", LARGE) as there:
            turn_to(there.page, "Now")
            yield "kernel", there.kernel.memory_info().rss / 1e6


def large(count: int, trials: int = 10_000) -> Iterator[tuple[str, float]]:
    "Seconds from a cell of JupyterLab to a cockpit in its page: with many trials, and with ten."
    places = [Path(tempfile.mkdtemp()) for _ in range(2)]
    for n in range(count):
        for kind, many in (("many", trials), ("ten", 10)):
            for _ in replayed(places[0] / f"{kind}{n}", many):
                pass
    cells = [f'TuningCockpit("{kind}{n}")' for n in range(count) for kind in ("many", "ten")]
    browsers.write_notebook(places[0] / "large.ipynb", LARGE.partition("cockpit =")[0], *cells)
    with (
        browsers.serving_lab(*places) as server,
        browsers.a_browser(browsers.find_chromium()) as browser,
        browsers.a_page(browser) as page,
    ):
        lab = browsers.Lab(page, server, "large.ipynb")
        lab.run(1)
        for n in range(count):
            for at, kind in enumerate(("many", "ten")):
                cell = lab.cells.nth(1 + 2 * n + at)
                cell.locator(".cm-content").click()
                began = time.monotonic()
                page.keyboard.press("Shift+Enter")
                lab.output(1 + 2 * n + at).get_by_role("tab", name="Run").wait_for()
                yield kind, time.monotonic() - began
                lab.idle()


BUTTON = "import ipywidgets as widgets\nwidgets.Button(description='Start')"


def paint(count: int) -> Iterator[tuple[str, float]]:
    "Seconds from an address to a button that can be pressed: a cockpit, and one button alone."
    folder = Path(tempfile.mkdtemp())
    for _ in replayed(folder / "large", 20):
        pass
    notebooks = {
        "cockpit": LARGE,
        "button with its imports": LARGE.partition("cockpit =")[0] + BUTTON,
        "button": BUTTON,
    }
    for name, source in notebooks.items():
        browsers.write_notebook(folder / f"{name}.ipynb", source)
    with (
        browsers.serving_voila(folder, Path(tempfile.mkdtemp())) as server,
        browsers.a_browser(browsers.find_chromium()) as browser,
    ):
        for _ in range(count):
            for name in notebooks:
                with browsers.a_page(browser) as page:
                    began = time.monotonic()
                    page.goto(server.address(f"voila/render/{name}.ipynb"))
                    browsers.button(page, "Start").or_(
                        page.get_by_role("tab", name=TABS[0])
                    ).first.wait_for()
                    yield name, time.monotonic() - began


FIGURES: dict[str, tuple[Callable[..., Iterator[tuple[str, float]]], int]] = {
    "echo": (echo, 40),
    "reaction": (reaction, 12),
    "curve": (curve, 60),
    "memory": (memory, 3600),
    "attached_memory": (attached_memory, 3),
    "large": (large, 5),
    "paint": (paint, 5),
}

if __name__ == "__main__":
    figure, *rest = sys.argv[1:]  # after its name: how often, or how many seconds, and of trials
    measure, usual = FIGURES[figure]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["figure", "n", "value"])
    counts: dict[str, int] = {}
    for name, value in measure(*(map(int, rest) if rest else [usual])):
        counts[name] = counts.get(name, 0) + 1
        table.writerow([f"{figure}: {name}", counts[name], round(value, 4)])
        sys.stdout.flush()

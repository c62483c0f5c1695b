"""Shared by all tests: a private cache, and the project's numbers at the end of the run."""

import gc
import os
import random
import signal
import statistics
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings
from project import MEASURED, NBS, ROOT, functions, line_counts, notebooks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
# Nothing that a test stores outlives the run, and nothing stored before can change a result.
_CACHE = tempfile.TemporaryDirectory(prefix="imgrec-tests-", ignore_cleanup_errors=True)
os.environ["IMGREC_CACHE"] = _CACHE.name

pd.set_option("mode.string_storage", "python")  # as with most users, who have no pyarrow
settings.register_profile("imgrec", deadline=None)  # a busy machine is no failure
settings.load_profile("imgrec")

SECONDS: dict[str, float] = {}  # notebook -> how long it took
BEFORE: set[Path] = set()  # the files below nbs/ when the tests began
LEFT: list[Path] = []  # those that tests left there


def pytest_configure(config: pytest.Config) -> None:
    "Note what there is before the tests; Ctrl-C works, also where they run in the background."
    signal.signal(signal.SIGINT, signal.default_int_handler)
    BEFORE.update(files_below(NBS))


def files_below(folder: Path) -> set[Path]:
    "Every file but notebooks, which may be somebody's work, and what editors and Python leave."
    ours = {"__pycache__", ".ipynb_checkpoints"}
    return {p for p in folder.rglob("*") if p.suffix != ".ipynb" and not ours & set(p.parts)}


@pytest.hookimpl(tryfirst=True)  # before the one that reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    "With several processes: a file is for one of them, so that what it shares is made once."
    for item in items:
        if item.path.stem != "test_notebooks":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_make_parametrize_id(val: object) -> str | None:
    "A file's content reads as its size: gzip, for one, writes the hour into it."
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 16 else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    "Groups have been heard of: pytest 9.2 and pytest-xdist 3.8 lose them, and say nothing."
    files = [each for each in ids if "test_notebooks.py" not in each]
    lost = [each for each in files if f"@{Path(each.partition('::')[0]).stem}" not in each]
    if node.config.getvalue("dist") == "loadgroup" and lost:
        pytest.exit(f"{len(lost)} tests have lost their group, such as {lost[0]}", returncode=4)


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    "No figure of a test stays in memory."
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def panels_are_closed() -> Iterator[None]:
    "No cockpit of a test looks at its search in the next one."
    yield
    if "imgrec.panel" in sys.modules:
        for panel in list(sys.modules["imgrec.panel"]._OPEN):
            panel.close()


@pytest.fixture(autouse=True)
def fresh_start(request: pytest.FixtureRequest) -> None:
    "Each test has its own seed, and Keras counts layers from one: order changes no result."
    name = request.node.nodeid.removesuffix(f"@{request.path.stem}")  # as several processes add
    seed = zlib.crc32(name.encode()) % 2**31
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)  # a full collection takes 4 s
        sys.modules["keras"].utils.set_random_seed(seed)


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    "What a file leaves behind, TensorFlow's graphs above all, is not looked through for ever."
    yield
    gc.collect()
    gc.freeze()


# ---- a real browser, for those who ask for it


@cache
def chromium_or_why() -> tuple[str, str]:
    "The path of a Chromium, or why there is none; looked for once in each process."
    if not find_spec("playwright"):
        return "", "playwright is not installed: pip install -e '.[dev]'"
    from chromium import MISSING, find_chromium

    return find_chromium() or "", MISSING


def pytest_runtest_setup(item: pytest.Item) -> None:
    "Without a browser its tests are skipped; here, so that one line tells of all of them."
    if "chromium" in getattr(item, "fixturenames", ()) and not chromium_or_why()[0]:
        pytest.skip(chromium_or_why()[1])


@pytest.fixture(scope="session")
def chromium() -> str:
    "The path of a Chromium."
    return chromium_or_why()[0]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    "A browser for the tests of a file; while it is open, nothing else may run an event loop."
    from chromium import a_browser

    with a_browser(chromium) as opened:
        yield opened


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    "A page of its own for each test; what it showed is told where the test fails."
    from chromium import a_page

    failed = request.session.testsfailed
    with a_page(browser) as opened:
        yield opened
        if request.session.testsfailed > failed:
            print(opened.locator("body").aria_snapshot()[:6000])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "Where the notebooks lie that JupyterLab and Voila show."
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="session")
def lab(chromium: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    "JupyterLab, on this machine only."
    from chromium import serving_lab

    with serving_lab(folder, tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def voila(chromium: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    "Voila, on this machine only."
    from chromium import serving_voila

    with serving_voila(folder, tmp_path_factory.mktemp("voila")) as server:
        yield server


@pytest.fixture(params=["voila", "lab"])
def shown(request: pytest.FixtureRequest, page: Any) -> Any:
    "Shows a notebook in the page, run: a test that takes this sees it in Voila and in JupyterLab."
    from chromium import Lab, open_voila, write_notebook

    server = request.getfixturevalue(request.param)

    def show(name: str, *cells: str) -> Callable[[], object]:
        "Write the notebook and open it; what is given begins it again, with another kernel."
        write_notebook(server.folder / name, *cells)
        if request.param == "voila":
            open_voila(page, server, name)
            return partial(open_voila, page, server, name)
        notebook = Lab(page, server, name)
        notebook.run(len(cells))
        return partial(notebook.begin_again, len(cells))

    return show


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    "Note how long each notebook takes."
    if report.when == "call" and "test_notebook[" in report.nodeid:
        SECONDS[report.nodeid.partition("[")[2].rstrip("]")] = report.duration


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    "Take over what a process has measured."
    MEASURED.update(getattr(node, "workeroutput", {}).get("measured", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    "Hand over what was measured; a file that was left below nbs/ fails the run."
    if hasattr(session.config, "workeroutput"):  # one process of several
        session.config.workeroutput["measured"] = dict(MEASURED)
        return
    LEFT.extend(sorted(files_below(NBS) - BEFORE))
    if LEFT:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    "Lengths, sizes and times: reported, so that they can be watched."
    write = terminalreporter.write_line
    for path in LEFT:
        write(f"FAILED: a test left {path.relative_to(ROOT)} behind", red=True)
    if not SECONDS:
        return
    terminalreporter.section("the project in numbers")
    lengths = sorted(f.length for f in functions())
    if lengths:
        longest = max(functions(), key=lambda f: f.length)
        upper = lengths[int(0.95 * (len(lengths) - 1))]
        words = (
            f"median {statistics.median(lengths):.0f} lines, 95 % {upper}, longest {longest.length}"
        )
        write(f"functions    {len(lengths)}: {words} ({longest.module.stem}.{longest.name})")
    tests, exported = line_counts()
    write(f"test lines   {tests} for {exported} exported: {tests / max(1, exported):.2f} a line")
    sizes = {str(p.relative_to(ROOT / "nbs")): p.stat().st_size / 1024 for p in notebooks()}
    largest = max(sizes, key=lambda name: sizes[name])
    total = sum(sizes.values())
    write(f"notebooks    {len(sizes)}: {total:.0f} KB, largest {largest} {sizes[largest]:.0f} KB")
    write(f"their times  {sum(SECONDS.values()):.0f} s together")
    for name, seconds in SECONDS.items():
        write(f"             {seconds:6.1f} s {sizes.get(name, 0):6.0f} KB  {name}")
    for name, value in MEASURED.items():
        write(f"{name:12} {value}")

"""A real browser and the servers that it looks at; every one of them is surely ended.

A flow opens a page, and presses what a person would press, found by role and text:

    with serving_voila(folder) as server:
        write_notebook(folder / "lesson.ipynb", "from imgrec... import ...", "Widget(...)")
        with a_page(chromium) as page:
            open_voila(page, server, "lesson.ipynb")
            page.get_by_role("button", name="Next").click()

In JupyterLab `Lab(page, server, "lesson.ipynb")` runs cell by cell, restarts the kernel, saves.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from project import ROOT
from waiting import until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium: apt install chromium, playwright install chromium, or IMGREC_CHROMIUM=path"
SLOW = 60_000  # Milliseconds that anything in a page may take; kernels start on busy machines


# ---- the browser


def command_works(*command: str) -> bool:
    "Whether a command ends well; what it says is nobody's business."
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, **quiet, timeout=600).returncode == 0
    return False


def of_playwright() -> str | None:
    "The Chromium that Playwright has fetched, if there is one."
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def on_the_machine() -> str | None:
    "A Chromium that is there: named, on the path, or Playwright's."
    named = os.environ.get("IMGREC_CHROMIUM")
    if named:
        return named if Path(named).exists() else shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None) or of_playwright()


def may_install() -> bool:
    "Whether this run may put a Chromium on the machine: in CI, or where somebody has said so."
    return bool(os.environ.get("IMGREC_INSTALL_CHROMIUM") or os.environ.get("CI"))


def installed() -> str | None:
    "A Chromium that was just installed, by Debian's packages or by Playwright's."
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if as_root and shutil.which("apt-get"):
        command_works("apt-get", "update")
        if command_works("apt-get", "install", "-y", "--no-install-recommends", "chromium"):
            return on_the_machine()
    if command_works(sys.executable, "-m", "playwright", "install", "chromium"):
        return on_the_machine()
    return None


def find_chromium() -> str | None:
    "The path of a Chromium, or None."
    return on_the_machine() or (installed() if may_install() else None)


@contextmanager
def a_browser(path: str) -> Iterator:
    "Chromium, without a window."
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]  # as root, and in containers
    arguments += ["--disable-background-networking", "--disable-sync"]  # this machine only
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def a_page(browser, **look) -> Iterator:
    "A page with cookies of its own; `errors` are those of its scripts, `asked` whom it has asked."
    look = {"viewport": {"width": 1280, "height": 900}} | look
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **look)
    try:
        context.set_default_timeout(SLOW)
        page = context.new_page()
        page.errors, page.asked = [], set()
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda request: page.asked.add(request.url.split("/")[2]))
        yield page
    finally:
        context.close()


def button(place, text: str):
    "A button by its text, before which an icon may stand: to a browser that is a letter."
    return place.get_by_role("button", name=re.compile(rf"(^|\s){re.escape(text)}$"))


def seen(page, text):
    "A text that is seen: a stored notebook holds some of it twice."
    return page.get_by_text(text).filter(visible=True)


# ---- the servers


@dataclass(frozen=True)
class Server:
    "A server on this machine."

    url: str  # Without a slash at its end
    token: str  # Lets a page in
    port: int
    pid: int
    folder: Path  # The notebooks

    def address(self, path: str) -> str:
        "A page of it, with the token."
        return f"{self.url}/{path}{'&' if '?' in path else '?'}token={self.token}"


def free_port() -> int:
    "A port that nobody listens on."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def listens(port: int) -> bool:
    "Whether somebody answers at a port."
    with socket.socket() as trying:
        trying.settimeout(1)
        return trying.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    "Whether a server has a page."
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except (urllib.error.URLError, OSError):
        return False


def own_places(home: Path) -> dict[str, str]:
    "An environment in which Jupyter reads and writes nothing of the person who runs the tests."
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    news = '{"fetchNews": "false", "checkForUpdates": false}'
    (settings / "notification.jupyterlab-settings").write_text(news, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    named = {name: str(home / place) for name, place in places.items()}
    return {**os.environ, **named, "PYTHONPATH": path, "JUPYTER_NO_CONFIG": "1"}


def end(process: subprocess.Popen) -> None:
    "End a server with all that it has started: kernels, too, which have sessions of their own."
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for each in alive:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(alive, timeout=10)
    process.wait(10)


@contextmanager
def serving(command: list[str], folder: Path, home: Path, ready: str) -> Iterator[Server]:
    "A server for the notebooks of a folder; `{port}` and `{token}` in its command are filled in."
    port, token = free_port(), secrets.token_hex(16)
    filled = [each.format(port=port, token=token) for each in command]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "log.txt"
    with log.open("w") as said:
        how = {"cwd": folder, "env": own_places(home), "stdout": said, "stderr": said}
        process = subprocess.Popen([sys.executable, "-m", *filled], **how)
    server = Server(f"http://127.0.0.1:{port}", token, port, process.pid, folder)
    try:
        until(lambda: answers(server.address(ready)) or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()[-3000:]
        yield server
    finally:
        end(process)


def serving_lab(folder: Path, home: Path, program: str = "jupyterlab"):
    "JupyterLab, or Notebook 7 as `program=notebook`."
    command = [program, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += ["--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    return serving(command, folder, home, "api/status")


def serving_voila(folder: Path, home: Path):
    "Voila, for all notebooks of a folder."
    command = ["voila", str(folder), "--no-browser", "--Voila.ip=127.0.0.1", "--port={port}"]
    command += ["--Voila.port_retries=0", "--token={token}", "--show_tracebacks=True"]
    return serving(command, folder, home, "voila/tree")


# ---- notebooks


def write_notebook(path: Path, *cells: str) -> None:
    "A notebook of code cells."
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


def open_voila(page, server: Server, name: str):
    "A notebook as Voila shows it, run and with its widgets."
    page.goto(server.address(f"voila/render/{name}"))
    page.locator(".jupyter-widgets").first.wait_for()
    return page


class Lab:
    "A notebook in JupyterLab, or in Notebook 7, and the hands on it."

    def __init__(self, page, server: Server, name: str, path: str = "lab/tree/{}?reset"):
        self.page, self.file = page, server.folder / name
        page.goto(server.address(path.format(name)))
        self.notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").first
        self.cells = self.notebook.locator(".jp-CodeCell")
        self.idle()

    def idle(self) -> None:
        "Wait until there is a kernel, and it has nothing to do."
        self.notebook.locator(".jp-KernelName", has_text="Python 3").wait_for()
        self.notebook.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()

    def run(self, count: int = 1, first: int = 0) -> None:
        "Run cells, one after another, as Shift and Enter do."
        for at in range(first, first + count):
            cell = self.cells.nth(at)
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            prompt = cell.locator(".jp-InputPrompt", has_text="]:")
            until(lambda prompt=prompt: prompt.inner_text().strip("[]: \n").isdigit(), SLOW / 1000)
            self.idle()

    def output(self, at: int):
        "What stands below a cell."
        return self.cells.nth(at).locator(".jp-Cell-outputArea")

    def text(self, at: int) -> str:
        "What a cell has printed."
        return self.output(at).inner_text()

    def choose(self, menu: str, item: str) -> None:
        "Choose from a menu; the name of an item ends where that of its key begins."
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile(f"^{re.escape(item)}(?! As)")).click()

    def restart(self) -> None:
        "Restart the kernel by the menu; outputs stay."
        self.choose("Kernel", "Restart Kernel…")
        with self.page.expect_response(re.compile(r"/restart(\?|$)")):
            self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self.page.get_by_role("dialog").wait_for(state="detached")
        self.idle()

    def begin_again(self, count: int) -> None:
        "Restart the kernel, and run the first cells."
        self.restart()
        self.run(count)

    def save(self) -> dict:
        "Save the notebook, and wait until it is on the disk; what is stored."
        before = self.file.stat().st_mtime_ns
        self.choose("File", "Save Notebook")
        return until(lambda: self.file.stat().st_mtime_ns != before and stored(self.file), 30)


def stored(path: Path) -> dict | None:
    "A notebook as it is on the disk; None while it is being written."
    with suppress(json.JSONDecodeError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None

"""The cockpit in a real browser: a search is shaped, started, steered, found again, ended."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from chromium import Lab, button, open_voila, seen, write_notebook
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from waiting import until

from imgrec.bridge import bridge_ready
from imgrec.cockpit import TABS
from imgrec.view import attached

SLOW = 90_000  # Milliseconds: workers load TensorFlow
SEARCH = """
import imgrec
from imgrec.cockpit import TuningCockpit
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.search import Search
from imgrec.space import Bool, Choice, Float, Int, Space
few = load(digits().sample(per_class=40).split(seed=0), image_size=16)
space = Space(
    width=Choice(4, 8), depth=Int(1, 3), learning_rate=Float(1e-3, 1e-1, log=True), batch_size=32
)
"""
MADE = """
search = Search(space, "small_cnn", few, workers=1, directory={place!r}, {how})
cockpit = TuningCockpit(search)
"""


@pytest.fixture
def searched(folder, request):
    "The directory of a search; whoever runs it is ended with the test."
    place = folder / f"search-{request.node.name.partition('[')[0]}-{secrets.token_hex(4)}"
    yield place
    lock = place / "journal.log.lock"
    if lock.exists() and lock.read_text():
        try:
            engine = psutil.Process(int(lock.read_text().split()[1]))
        except psutil.NoSuchProcess:
            return
        for each in (*engine.children(recursive=True), engine):
            each.kill()


def cells(place, **how):
    "The cells of a notebook with a cockpit."
    words = ", ".join(f"{name}={value!r}" for name, value in how.items())
    return SEARCH, MADE.format(place=place.name, how=words), "cockpit"


def tab(page, name):
    "Turn to a tab."
    page.get_by_role("tab", name=name, exact=True).click()


def kept(page, name):
    "Keep a picture of the page for the documentation, where somebody wants them."
    place = os.environ.get("IMGREC_SCREENSHOTS")
    if place and "voila" in page.url:
        page.set_viewport_size({"width": 1000, "height": 760})
        page.wait_for_timeout(700)
        page.screenshot(path=Path(place) / f"cockpit_{name.lower()}.png", full_page=True)


def one_ended_and_one_is_on_its_way(searched):
    "Whether a trial has finished, and a running one has some epochs to be seen."
    known = attached(searched).snapshot()
    running = [len(trial.curve) for trial in known.with_status("running")]
    return known.with_status("finished") and max(running, default=0) >= 3


def test_a_search_is_shaped_started_steered_and_read(shown, page, searched):
    shown("helm.ipynb", *cells(searched, budget=30, epochs=100))
    expect(button(page, "Start")).to_be_enabled(timeout=SLOW)
    page.get_by_label("depth, largest").fill("2")
    page.get_by_label("depth, largest").press("Enter")
    expect(seen(page, "Moved: depth is 1 to 2, was 1 to 3")).to_be_visible()
    kept(page, "Space")
    button(page, "Start").click()
    expect(seen(page, "Starting").first).to_be_visible(timeout=2000)
    tab(page, "Now")
    expect(seen(page, "trial 1 is at")).to_be_visible(timeout=SLOW)
    before = seen(page, "trial 1 is at").inner_text()
    expect(seen(page, re.compile(f"^{re.escape(before)}$"))).to_have_count(0, timeout=SLOW)
    assert attached(searched).space.entries["depth"].high == 2, "what was moved is searched"
    button(page, "Pause").click()
    expect(seen(page, "Paused.")).to_be_visible(timeout=SLOW)
    tab(page, "Run")
    page.get_by_role("textbox", name="Point", exact=True).fill("width=8 depth=2 learning_rate=0.01")
    button(page, "Add").click()
    expect(seen(page, "Next by hand: width=8, depth=2")).to_be_visible(timeout=SLOW)
    button(page, "Skip").click()
    until(lambda: attached(searched).snapshot().trials[1].reason == "skipped by hand", 60)
    button(page, "Resume").click()
    expect(seen(page, "Paused.")).to_have_count(0, timeout=SLOW)
    until(lambda: len(attached(searched).snapshot().trials) >= 2, 60)
    kept(page, "Run")
    until(lambda: one_ended_and_one_is_on_its_way(searched), 120)
    tab(page, "Now")
    page.wait_for_timeout(1500)
    kept(page, "Now")
    tab(page, "Table")
    expect(seen(page, "skipped by hand")).to_be_visible()
    trial = page.get_by_role("spinbutton", name="Trial")
    trial.fill("2")
    trial.press("Enter")
    button(page, "Pin").click()
    expect(button(page, "Unpin")).to_be_visible()
    kept(page, "Table")
    button(page, "Why this one?").click()
    expect(page.get_by_role("tab", name="Understand", selected=True)).to_be_visible()
    expect(seen(page, "chosen by hand")).to_be_visible(timeout=SLOW)
    kept(page, "Understand")
    button(page, "Stop").first.click()
    expect(seen(page, re.compile("^(Stopped|Done)"))).to_be_visible(timeout=SLOW)
    tab(page, "Finish")
    expect(seen(page, "How sure the best trial is")).to_be_visible(timeout=SLOW)
    expect(seen(page, re.compile("Noise floor: "))).to_be_visible(timeout=SLOW)
    page.wait_for_timeout(2000)
    kept(page, "Finish")
    trials = attached(searched).snapshot().trials
    assert trials[2].point["depth"] == 2 and trials[2].by == "hand"


@pytest.mark.skipif(not bridge_ready(), reason="the extra imgrec[ui] is missing")
def test_the_learning_curves_have_words(voila, page, folder, searched):
    write_notebook(folder / "words.ipynb", *cells(searched, budget=1, epochs=2))
    open_voila(page, voila, "words.ipynb")
    button(page, "Start").click()
    expect(page.get_by_text(re.compile("^Done"))).to_be_visible(timeout=SLOW)
    tab(page, "Now")
    expect(page.get_by_role("img", name=re.compile("Learning curves of val_"))).to_be_visible()
    assert len(TABS) == page.get_by_role("tab").count()


def found_again(page, searched, again):
    "Another kernel finds the search that went on; a worker is killed, it is said, and it goes on."
    button(page, "Start").click()
    until(lambda: searched.exists() and attached(searched).snapshot().with_status("running"))
    again()
    assert attached(searched).running, "the search has not noticed"
    expect(button(page, "Pause")).to_be_enabled(timeout=SLOW)
    expect(seen(page, re.compile("of 300 trials")).first).to_be_visible()
    tab(page, "Run")
    until(lambda: attached(searched).snapshot().trials[1].curve)
    engine = psutil.Process(int((searched / "journal.log.lock").read_text().split()[1]))
    for each in engine.children():
        if "spawn_main" in " ".join(each.cmdline()):
            each.kill()
    expect(seen(page, "begun 2 times").first).to_be_visible(timeout=SLOW)
    button(page, "Stop").first.click()
    expect(seen(page, re.compile("^Stopped")).first).to_be_visible(timeout=SLOW)


def last_state_is_seen(place):
    "A cockpit without a kernel: a picture, and what it said last."
    expect(place.get_by_text(re.compile("^Stopped"))).to_be_visible(timeout=SLOW)
    expect(place.get_by_text("begun 2 times")).to_be_visible()
    expect(place.get_by_role("img", name=re.compile("Learning curves"))).to_be_visible()


def test_a_page_opened_anew_finds_the_search_and_sees_a_worker_die(voila, page, folder, searched):
    write_notebook(folder / "anew.ipynb", *cells(searched, budget=300, epochs=400))
    open_voila(page, voila, "anew.ipynb")
    found_again(page, searched, lambda: open_voila(page, voila, "anew.ipynb"))


def test_a_restarted_kernel_finds_the_search_and_a_stored_page_shows_it(lab, page, searched):
    write_notebook(lab.folder / "found.ipynb", *cells(searched, budget=300, epochs=400))
    notebook = Lab(page, lab, "found.ipynb")
    notebook.run(3)
    found_again(page, searched, lambda: notebook.begin_again(3))
    kept_html = until(lambda: "Stopped. " in str(saved := notebook.save()) and saved, 30)
    (lab.folder / "kept_cockpit.ipynb").write_text(json.dumps(kept_html))
    page.goto(lab.address("lab/tree/kept_cockpit.ipynb?reset"))  # whose kernel knows nothing of it
    last_state_is_seen(page.locator(".jp-CodeCell").nth(2).locator(".jp-Cell-outputArea"))
    rendered = HTMLExporter().from_filename(lab.folder / "kept_cockpit.ipynb")[0]
    (lab.folder / "kept_cockpit.html").write_text(rendered, encoding="utf-8")
    page.goto((lab.folder / "kept_cockpit.html").as_uri())
    last_state_is_seen(page.locator("body"))


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to a process alone")
def test_tune_serves_the_cockpit_behind_a_token(page, tmp_path):
    words = ["tune", "digits", "--ui", "--trials", "2", "--epochs", "1", "--image-size", "12"]
    words += ["--output", "mine"]
    command = [sys.executable, "-m", "imgrec", *words]
    environment = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    how = {"cwd": tmp_path, "env": environment, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes, **how) as process:
        try:
            address = next(
                found[0] for line in process.stdout if (found := re.search(r"http://\S+", line))
            )
            assert address.startswith("http://127.0.0.1:") and "token=" in address
            with urllib.request.urlopen(address.split("?")[0], timeout=60) as refused:
                assert "login" in refused.url, "without the token there is a door"
            arguments = [each.cmdline() for each in psutil.Process(process.pid).children()]
            assert arguments and "token" not in str(arguments), "nobody reads it in a list"
            page.goto(address)
            expect(button(page, "Start")).to_be_enabled(timeout=SLOW)
            button(page, "Start").click()
            expect(page.get_by_text(re.compile("^Done"))).to_be_visible(timeout=SLOW)
            tab(page, "Finish")
            expect(page.get_by_role("textbox", name="Folder")).to_have_value(str(tmp_path / "mine"))
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(60) == 130 and "is closed" in rest, rest
    assert len(attached(tmp_path / "search").snapshot().with_status("finished")) == 2


@pytest.mark.skipif(os.name == "nt", reason="no other process can be asked to end")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP"])
def test_tune_takes_its_server_with_it_however_it_is_ended(chromium, tmp_path, how):
    command = [sys.executable, "-m", "imgrec", "tune", "digits", "--ui"]
    environment = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        next(line for line in process.stdout if "http://" in line)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(getattr(signal, how))
        assert family and process.wait(60) == 130
    assert not psutil.wait_procs(family, 10)[1], "nobody of them is left"

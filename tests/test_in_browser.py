"""The widgets in a real browser, as a person sees and presses them, in JupyterLab and Voila."""

import importlib.util
import json
import re
import shutil

import chromium as browsers
import numpy as np
import psutil
import pytest
from chromium import (
    Lab,
    a_page,
    button,
    listens,
    open_voila,
    seen,
    serving_lab,
    serving_voila,
    write_notebook,
)
from PIL import Image
from waiting import until

from imgrec.bridge import bridge_ready

EVIL = "dog <img src=x onerror=window.hacked=1>"  # a class that would like to be markup
WITH_BRIDGE = pytest.mark.skipif(not bridge_ready(), reason="the extra imgrec[ui] is missing")


@pytest.fixture
def pets(folder):
    "Eight pictures of two classes."
    random = np.random.default_rng(0)
    shutil.rmtree(folder / "pets", ignore_errors=True)
    (folder / "pets.corrections").unlink(missing_ok=True)
    for row in range(8):
        place = folder / "pets" / ("cat", EVIL)[row % 2]
        place.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((48, 48)).save(place / f"{row}.png")
    return folder / "pets"


CATALOG = """
from imgrec.browser import CatalogBrowser
from imgrec.catalog import Catalog
browser = CatalogBrowser(Catalog.from_folder("pets"))
"""


def marks(pets):
    "What the journal of a folder holds: every mark, undone or not."
    lines = (pets.parent / "pets.corrections").read_text().splitlines()
    return [json.loads(line)["what"] for line in lines]


def press(page, *keys):
    "Press keys, one after another."
    for key in keys:
        page.keyboard.press(key)


# ---- finding a browser, and ending servers


def test_a_browser_that_is_named_is_taken_and_one_on_the_path_found(monkeypatch, tmp_path):
    program = tmp_path / "chromium-browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("IMGREC_CHROMIUM", raising=False)
    assert browsers.on_the_machine() == str(program)
    monkeypatch.setenv("IMGREC_CHROMIUM", str(tmp_path / "mine"))
    assert browsers.on_the_machine() is None
    (tmp_path / "mine").write_text("")
    assert browsers.on_the_machine() == str(tmp_path / "mine")


@pytest.mark.parametrize("asked", [None, "CI", "IMGREC_INSTALL_CHROMIUM"])
def test_nothing_is_installed_unasked(monkeypatch, asked):
    ran = []
    monkeypatch.setattr(browsers, "on_the_machine", lambda: None)
    monkeypatch.setattr(browsers, "command_works", lambda *command: ran.append(command))
    for name in ("CI", "IMGREC_INSTALL_CHROMIUM"):
        monkeypatch.delenv(name, raising=False)
    if asked:
        monkeypatch.setenv(asked, "true")
    assert browsers.find_chromium() is None
    assert bool(ran) == bool(asked)
    assert not asked or ran[-1][-3:] == ("playwright", "install", "chromium")


def test_a_server_is_ended_with_its_kernels(page, folder, tmp_path):
    write_notebook(folder / "pid.ipynb", "import os, ipywidgets; ipywidgets.HTML(str(os.getpid()))")
    with serving_voila(folder, tmp_path / "home") as server:
        shown = open_voila(page, server, "pid.ipynb").locator(".widget-html-content")
        kernel = int(shown.inner_text())
        assert listens(server.port) and psutil.pid_exists(kernel)
    assert not listens(server.port) and not psutil.pid_exists(server.pid)
    until(lambda: not psutil.pid_exists(kernel), 30)


# ---- the browser of pictures


@WITH_BRIDGE
def test_five_pictures_are_cleaned_two_undone_and_marks_outlive_the_kernel(shown, page, pets):
    again = shown("clean.ipynb", CATALOG, "browser", "browser.catalog.history()")
    cells = page.locator(".jp-CodeCell").count()
    button(page, "Drop").click()
    seen(page, "cat/0.png dropped").wait_for()
    press(page, "ArrowRight", "2", "ArrowRight", "d", "ArrowRight", "d")
    seen(page, "cat/6.png dropped").wait_for()
    page.get_by_role("img", name=re.compile("[0-9]*1[.]png")).filter(visible=True).click()
    seen(page, re.compile("^Marks are for .*1[.]png, which is selected")).wait_for()
    button(page, "1 cat").click()
    seen(page, "1.png labelled cat").first.wait_for()
    assert marks(pets) == ["drop", "relabel", "drop", "drop", "relabel"]
    press(page, "u")
    button(page, "Undo").click()
    until(lambda: marks(pets)[5:] == ["undo", "undo"], 30)
    press(page, "b", "q")  # a notebook would add a cell, were it to hear of it
    page.get_by_role("textbox", name="Why").click()
    page.keyboard.type("dx")  # no command, but a reason
    assert len(marks(pets)) == 7 and page.locator(".jp-CodeCell").count() == cells
    assert page.evaluate("window.hacked") is None and not page.errors
    again()
    seen(page, re.compile("3 marks in")).first.wait_for()
    assert seen(page, re.compile("dropped")).count()
    history = page.locator("table.dataframe").inner_text()  # five marks, of which two were undone
    assert (history.count("drop"), history.count("relabel"), history.count("True")) == (3, 2, 2)


@WITH_BRIDGE
def test_keys_are_heard_when_the_button_pressed_last_is_grey(page, voila, pets):
    write_notebook(voila.folder / "grey.ipynb", CATALOG, "browser")
    open_voila(page, voila, "grey.ipynb")
    button(page, "Drop").click()
    button(page, "Undo").click()
    page.get_by_role("button", name="Undo", disabled=True).wait_for()
    press(page, "d")
    until(lambda: marks(pets) == ["drop", "undo", "drop"], 30)


def test_a_saved_notebook_shows_what_there_was_last_without_a_kernel(page, lab, pets):
    write_notebook(lab.folder / "keep.ipynb", CATALOG, "browser")
    notebook = Lab(page, lab, "keep.ipynb")
    notebook.run(2)
    panel = notebook.output(1)
    button(panel, "Drop").click()
    panel.get_by_text("cat/0.png dropped").wait_for()
    assert panel.locator("figure:visible").count() == 8, "the picture that is kept is not seen"
    kept = until(lambda: "cat/0.png dropped" in str(saved := notebook.save()) and saved, 30)
    (lab.folder / "kept.ipynb").write_text(json.dumps(kept))
    page.goto(lab.address("lab/tree/kept.ipynb?reset"))  # whose kernel knows nothing of it
    panel = page.locator(".jp-CodeCell").nth(1).locator(".jp-Cell-outputArea")
    panel.get_by_text("cat/0.png dropped").wait_for()
    assert panel.get_by_role("img").count() == 8
    assert panel.get_by_role("img", name="cat/0.png, cat, dropped, current").is_visible()
    assert page.evaluate("window.hacked") is None


@pytest.mark.skipif(not importlib.util.find_spec("notebook"), reason="notebook is not installed")
def test_notebook_7_shows_pictures_and_hears_buttons(page, chromium, folder, pets, tmp_path):
    write_notebook(folder / "seven.ipynb", CATALOG, "browser")
    with serving_lab(folder, tmp_path / "home", "notebook") as server:
        notebook = Lab(page, server, "seven.ipynb", "notebooks/{}")
        notebook.run(2)
        panel = notebook.output(1)
        assert panel.get_by_role("img").count() == 8
        button(panel, "Drop").click()
        panel.get_by_text("cat/0.png dropped").wait_for()
        assert marks(pets) == ["drop"]


# ---- the browser of pictures, in Voila


def test_frames_hold_what_is_said_and_nothing_is_cut_off(page, voila, pets):
    look = "from IPython.display import display; browser.state.press('d'); browser.state.press('u')"
    last = "display(browser, browser.snapshot())"
    write_notebook(voila.folder / "frames.ipynb", CATALOG, look, last)
    open_voila(page, voila, "frames.ipynb")
    figures = page.locator("figure:visible")  # not those that are kept for later
    until(lambda: figures.count() == 16, 60)
    for width in (900, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        for figure in figures.all():
            frame, words = figure.bounding_box(), figure.locator("figcaption").bounding_box()
            assert frame["y"] + frame["height"] >= words["y"] + words["height"], "too short"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.errors


# ---- lessons, in Voila


LESSON = """
from imgrec.datasets import digits
from imgrec.playground import ConvolutionPlayground
ConvolutionPlayground(digits().read(3), kernel="identity")
"""


def test_a_number_of_a_kernel_changes_the_picture_and_its_words(page, voila):
    write_notebook(voila.folder / "lesson.ipynb", LESSON)
    open_voila(page, voila, "lesson.ipynb")
    figure = page.locator("img.widget-image")
    figure.wait_for()
    field = page.get_by_role("spinbutton", name="kernel, row 1, column 2")
    before, words = figure.get_attribute("src"), figure.get_attribute("alt")
    field.fill("2")
    field.press("Enter")
    until(lambda: figure.get_attribute("src") != before, 60)
    chosen = page.get_by_role("combobox", name="Kernel", exact=True)
    shown = chosen.locator("option:checked").inner_text()
    assert shown.replace("\xa0", " ") == "own numbers"
    if bridge_ready():
        assert words.startswith("A kernel of 3x3 (identity)")
        until(lambda: "(own numbers)" in figure.get_attribute("alt"), 30)
    page.get_by_role("combobox", name="Kernel size").select_option("5x5")
    page.get_by_role("spinbutton", name="kernel, row 5, column 5").wait_for()
    assert not page.errors


# ---- what ipywidgets lack, in Voila


TRIED = """
import imgrec
from imgrec.classifier import Classifier
from imgrec.core import seed_everything
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.models import build_model
from imgrec.train import fit
from imgrec.tryout import TryPictures
splits = load(digits().split(seed=0), image_size=28, augment="light")
seed_everything(0)
model = build_model("small_cnn", splits.spec, width=16, depth=2)
run = fit(model, splits, epochs=8, learning_rate=1e-2, progress="none")
"""


@WITH_BRIDGE
def test_a_digit_is_drawn_and_the_answer_read_and_moved(shown, page):
    shown("tried.ipynb", TRIED, "TryPictures(Classifier(model, splits.spec), splits)")
    canvas = page.get_by_role("application", name="Draw a digit, and it is tried as you draw")
    canvas.scroll_into_view_if_needed()
    drag(page, canvas, [(0.5, 0.15), (0.5, 0.5), (0.5, 0.85)])
    page.get_by_text("Answer: 1.", exact=True).wait_for()
    page.get_by_role("img", name=re.compile(r"Answer: 1\. 1 \d+\.\d %")).wait_for()
    turn = page.get_by_role("slider", name="Rotation")
    turn.focus()
    press(page, "ArrowRight", "ArrowRight")
    page.get_by_text(re.compile(r"^Changed: rotation \+\d")).wait_for()
    page.get_by_role("img", name=re.compile("rotation")).first.wait_for()
    button(page, "As it was").click()
    page.get_by_text(re.compile("^Changed: ")).wait_for(state="detached")
    assert not page.errors


TOOLS = """
import io
import ipywidgets as widgets
from PIL import Image
from imgrec.bridge import alternative, copier, describe, theme
from imgrec.pen import drawing, drawn
from imgrec.hands import brush, keys_in
from imgrec.fittings import button, say, sentence, text_field

file = io.BytesIO()
Image.new("RGB", (300, 150), "teal").save(file, "png")
look = {"width": "400px", "height": "300px", "object_fit": "contain"}
image = widgets.Image(value=file.getvalue(), format="png", layout=look)
pad, code, dark = drawing("Draw a digit"), copier("a <b> c", "Copy as code"), theme()
told = {name: sentence() for name in ("ink", "dark", "done", "part", "keys")}
alt = alternative(image)
describe(alt, "A field <img src=x onerror=window.hacked=1>")
pad.observe(lambda _: say(told["ink"], f"ink {int((drawn(pad) > 100).sum())}"), "pixels")
dark.observe(lambda change: say(told["dark"], f"dark {change['new']}"), "dark")
code.observe(lambda change: say(told["done"], f"done {change['new']}"), "done")
part = brush(image, lambda ends: say(told["part"], f"part {ends}"))
heard = []
def hear(key):
    heard.append(key.replace(" ", "Space"))
    say(told["keys"], "keys " + " ".join(heard))
rest = [button("Press", "Nothing"), text_field("Why", "A reason"), pad, code, dark, image, alt]
panel = widgets.VBox([*rest, part, *told.values()])
keys_in(panel, ["d", "ArrowRight", "Ctrl+z", " "], hear, "Tools")
panel
"""


@pytest.fixture(scope="module")
def tools(browser, voila):
    "All of them on one page, for all tests."
    write_notebook(voila.folder / "tools.ipynb", TOOLS)
    with a_page(browser) as page:
        open_voila(page, voila, "tools.ipynb?theme=dark")
        page.get_by_text(re.compile("^dark ")).wait_for()
        yield page
        assert not page.errors and page.evaluate("window.hacked") is None


def drag(page, place, ways):
    "Press, move along, let go; places are shares of an element."
    box = place.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ways]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


@WITH_BRIDGE
def test_a_digit_is_drawn_by_mouse_and_by_keys_and_cleared(tools):
    canvas = tools.get_by_role("application", name="Draw a digit")
    canvas.scroll_into_view_if_needed()
    corner = "canvas => [...canvas.getContext('2d').getImageData(5, 5, 1, 1).data]"
    assert canvas.evaluate(corner) == [0, 0, 0, 255], "the field is black"
    drag(tools, canvas, [(0.5, 0.2), (0.5, 0.8)])
    ink = tools.get_by_text(re.compile("^ink "))
    until(lambda: ink.count() and 20 < int(ink.inner_text().split()[1]) < 80, 30)
    tools.get_by_role("button", name="Clear").click()
    tools.get_by_text("ink 0").wait_for()
    canvas.focus()
    press(tools, "ArrowUp", " ", *["ArrowRight"] * 5)
    tools.get_by_text("The pen is down.").wait_for()
    until(lambda: 8 < int(ink.inner_text().split()[1]) < 40, 30)


@WITH_BRIDGE
def test_a_text_is_copied_or_selected_and_it_is_said(tools):
    tools.get_by_role("button", name="Copy as code").click()
    tools.get_by_text("Copied.").wait_for()
    tools.get_by_text("done copied").wait_for()
    assert tools.evaluate("navigator.clipboard.readText()") == "a <b> c"
    tools.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject('refused') }")
    tools.evaluate("() => { document.execCommand = () => false }")
    tools.get_by_role("button", name="Copy as code").click()
    tools.get_by_text("Selected: press Ctrl+C to copy it.").wait_for()
    assert tools.evaluate("String(document.activeElement.value)") == "a <b> c"


@WITH_BRIDGE
def test_a_part_of_a_picture_is_chosen_and_its_words_are_read(tools):
    image = tools.get_by_role("img", name="A field <img src=x onerror=window.hacked=1>")
    image.scroll_into_view_if_needed()
    drag(tools, image, [(0.75, 0.5), (0.25, 0.9)])  # the picture ends at five sixths of its height
    tools.get_by_text("part (0.25, 0.5, 0.75, 1.0)").wait_for()
    image.click()
    tools.get_by_text("part None").wait_for()


@WITH_BRIDGE
def test_keys_are_heard_in_their_panel_but_not_in_fields(tools):
    tools.get_by_role("button", name="Press").focus()
    press(tools, "d", "q", "ArrowRight", "Control+z", "Space", "Enter")
    tools.get_by_text("keys d ArrowRight Ctrl+z", exact=True).wait_for()  # no Space: it pressed
    tools.get_by_role("textbox", name="Why").first.click()
    tools.keyboard.type("d d")
    tools.get_by_role("group", name="Tools").focus()
    press(tools, "Space")
    tools.get_by_text("keys d ArrowRight Ctrl+z Space", exact=True).wait_for()
    tools.evaluate("document.activeElement.blur()")
    press(tools, "d")
    tools.get_by_role("group", name="Tools").focus()
    press(tools, "ArrowRight")
    tools.get_by_text("keys d ArrowRight Ctrl+z Space ArrowRight", exact=True).wait_for()


@WITH_BRIDGE
def test_a_dark_page_is_known_and_what_becomes_of_it(tools):
    tools.get_by_text("dark True").wait_for()
    tools.add_style_tag(content=".lm-BoxPanel-child { background: white !important }")
    tools.get_by_text("dark False").wait_for()

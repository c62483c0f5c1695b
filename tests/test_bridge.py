"""The helpers that need anywidget, without a browser: what a page sends, and life without them."""

import subprocess
import sys
import threading

import ipywidgets as widgets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traitlets import TraitError, Unicode

from imgrec import bridge, hands, pen
from imgrec.bridge import alternative, bridge_ready, copier, describe, kind_of, marked, theme
from imgrec.browser import CatalogBrowser
from imgrec.browser_moves import COMMANDS, keys_heard
from imgrec.catalog import Catalog
from imgrec.hands import brush, keys_in, part_of
from imgrec.pen import PIXELS, drawing, drawn, redraw
from imgrec.playground import ConvolutionPlayground

WITH_BRIDGE = pytest.mark.skipif(not bridge_ready(), reason="the extra imgrec[ui] is missing")
EVIL = '<img src=x onerror="alert(1)">'
SCRIPTS = [
    *(bridge.ALT_SCRIPT, bridge.COPY_SCRIPT, bridge.THEME_SCRIPT),
    *(hands.KEYS_SCRIPT, hands.BRUSH_SCRIPT, pen.DRAWING_SCRIPT),
]


@pytest.fixture
def without(monkeypatch):
    "As if anywidget was not installed."
    monkeypatch.setitem(sys.modules, "anywidget", None)


def tiny():
    "A catalog of four pictures in memory."
    return Catalog.from_arrays(np.zeros((4, 4, 4), np.uint8), ["a", EVIL] * 2)


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


# ---- without anywidget


def test_without_anywidget_everything_else_works(without):
    box, image = widgets.VBox(), widgets.Image()
    assert not bridge_ready() and theme() is None and drawing() is None
    assert brush(image, print) is None and keys_in(box, ["d"], print, "Box") is None
    assert box.children == () and image._dom_classes == ()
    describe(alternative(image), "nobody hears this")
    field = copier(EVIL, "Copy as code")
    assert isinstance(field, widgets.Textarea) and field.value == EVIL and field.tooltip
    with pytest.raises(ImportError, match=r"imgrec\[ui\]"):
        kind_of("Unheard", "", {})


def test_without_anywidget_panels_have_no_helper(without):
    for panel in (CatalogBrowser(tiny()), ConvolutionPlayground(np.zeros((8, 8), np.uint8))):
        assert "anywidget" not in {each._model_module for each in everything(panel)}


def test_importing_loads_no_anywidget():
    code = "import sys, imgrec.hands, imgrec.browser; assert 'anywidget' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_load_nothing_and_make_no_markup_of_texts(script):
    words = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "http", "import(")
    assert not [word for word in words if word in script]
    assert "eval(" not in script and script.count("export default") == 1
    assert script.count("{") == script.count("}") and script.count("(") == script.count(")")


@WITH_BRIDGE
def test_a_class_is_made_once_by_many_threads():
    made = []

    def make():
        made.append(kind_of("Once", "export default {};", {"words": Unicode()}))

    hands_at_work = [threading.Thread(target=make) for _ in range(8)]
    for each in hands_at_work:
        each.start()
    for each in hands_at_work:
        each.join(30)
    assert len(made) == 8 and len(set(made)) == 1 and made[0](words="x").words == "x"


# ---- texts


@WITH_BRIDGE
def test_two_pictures_have_their_own_words_and_a_mark_is_given_once():
    one, two = widgets.Image(), widgets.Image()
    helpers = [alternative(one), alternative(two), alternative(one)]
    describe(helpers[0], EVIL)
    assert [each.alt for each in helpers] == [EVIL, "", ""]
    assert helpers[0].mark == helpers[2].mark == marked(one) != helpers[1].mark
    assert one._dom_classes == (marked(one),)
    assert all(each.layout.display == "none" for each in helpers)


@WITH_BRIDGE
def test_a_copier_takes_any_text_and_another_one_later():
    code = copier("a = 1", "Copy as code", "Copy the program")
    code.value = EVIL
    assert (code.value, code.label, code.tip, code.done) == (
        *(EVIL, "Copy as code", "Copy the program", ""),
    )


@WITH_BRIDGE
def test_a_playground_gives_its_figure_words():
    playground = ConvolutionPlayground(np.zeros((8, 8), np.uint8))
    parts = playground.parts
    assert parts.alt in set(everything(playground))
    assert parts.alt.alt == playground.state.view().alt
    parts.inputs["stride"].value = 2
    assert parts.alt.alt == playground.state.view().alt


# ---- keys


ANYTHING = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@WITH_BRIDGE
@settings(max_examples=60)
@given(ANYTHING | st.dictionaries(st.sampled_from(["key", "box"]), ANYTHING))
def test_only_keys_that_were_asked_for_are_heard(content):
    heard = []
    listener = keys_in(widgets.VBox(), ["d", "Ctrl+z"], heard.append, "Box")
    listener._handle_custom_msg(content, [])
    wanted = content.get("key") if isinstance(content, dict) else None
    assert heard == ([wanted] if wanted in ("d", "Ctrl+z", "Meta+z") else [])


@WITH_BRIDGE
def test_a_catalog_is_cleaned_by_keys(tmp_path):
    browser = CatalogBrowser(tiny(), journal=tmp_path / "marks")
    (listener,) = [each for each in browser.children if hasattr(each, "wanted")]
    for key in ("d", "ArrowRight", "2", "Meta+z", "F5", "9"):
        listener._handle_custom_msg({"key": key}, [])
    assert browser.catalog.history()["what"].tolist() == ["drop", "relabel"]
    assert browser.catalog.history()["undone"].tolist() == [False, True]
    listed = browser.children[-1].value
    assert "<kbd>Space or x</kbd>" in listed and "&lt;img" in listed and "<img" not in listed


def test_all_keys_that_are_heard_do_something():
    keys = keys_heard(12)
    assert len(keys) == len(set(keys)) and set("123456789") < set(keys)
    assert {key for each in COMMANDS.values() for key in each.keys} < set(keys)
    assert "3" not in keys_heard(2)


@WITH_BRIDGE
def test_arrows_move_the_window_of_a_playground():
    playground = ConvolutionPlayground(np.zeros((8, 8), np.uint8))
    (listener,) = [each for each in playground.children if hasattr(each, "wanted")]
    for key in ("ArrowRight", "ArrowDown", "x"):
        listener._handle_custom_msg({"key": key}, [])
    assert (playground.state.view().row, playground.state.view().column) == (1, 1)
    assert playground.parts.inputs["place"].value == 8  # row 2, column 2 of six columns


# ---- a digit


def play(pad, pixels):
    "A message as a page sends it."
    data = {"method": "update", "state": {"pixels": None}, "buffer_paths": [["pixels"]]}
    pad._handle_msg({"content": {"data": data}, "buffers": [memoryview(pixels)]})


@WITH_BRIDGE
def test_pixels_come_from_the_page_and_go_to_it():
    pad, seen = drawing(), []
    pad.observe(lambda change: seen.append(drawn(pad).sum()), "pixels")
    digit = np.arange(784, dtype=np.uint8).reshape(28, 28)
    play(pad, digit.tobytes())
    assert (drawn(pad) == digit).all() and drawn(pad).dtype == np.uint8
    redraw(pad, np.zeros((PIXELS, PIXELS)))
    assert seen == [digit.sum(), 0]


@WITH_BRIDGE
@pytest.mark.parametrize("count", [0, 783, 785, 100_000])
def test_any_other_number_of_pixels_is_refused(count, caplog):
    pad = drawing()
    play(pad, bytes(count))  # ipywidgets logs what an answer to a page raises
    assert f"Expected 784 bytes, received {count}" in caplog.text and drawn(pad).max() == 0
    with pytest.raises(TraitError, match="Expected 784 bytes"):
        redraw(pad, np.zeros((28, count)))


# ---- a part of a figure


@settings(max_examples=200)
@given(st.lists(st.floats() | st.integers(-1, 2) | st.booleans(), min_size=3, max_size=5))
def test_a_part_is_inside_and_the_right_way_round(ends):
    found = part_of({"box": ends})
    if found is not None:
        left, top, right, bottom = found
        assert 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1
    elif len(ends) == 4 and all(0 <= end <= 1 for end in ends):
        assert ends[0] > ends[2] or ends[1] > ends[3]


@WITH_BRIDGE
def test_a_brush_tells_the_part_or_that_there_is_none():
    heard, image = [], widgets.Image()
    helper = brush(image, heard.append, "x")
    for content in ({"box": [0, 0, 1, 1]}, {"box": None}, None, {"box": ["a"] * 4}):
        helper._handle_custom_msg(content, [])
    assert heard == [(0.0, 0.0, 1.0, 1.0), None, None, None] and helper.along == "x"

"""What all widgets share: who sets them, texts that are no markup, names on every control."""

import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import ipywidgets as widgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from imgrec import panel as panels
from imgrec.fittings import (
    LOUD,
    UNSEEN,
    Quiet,
    Snapshot,
    button,
    chooser,
    heading,
    image_html,
    listen,
    number_field,
    put,
    say,
    sentence,
    text_field,
)
from imgrec.panel import Panel

EVIL = '<img src=x onerror="alert(1)">'


class Page(HTMLParser):
    "The tags and the words of a piece of HTML."

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


# ---- who sets a widget


def test_each_thread_is_quiet_for_itself():
    quiet, heard, ready, over = Quiet(), [], threading.Event(), threading.Event()
    tick = widgets.IntText()
    listen(quiet, tick, heard.append)

    def program():
        with quiet:
            ready.set()
            over.wait(10)
            tick.value = 1

    other = threading.Thread(target=program)
    other.start()
    assert ready.wait(10) and not quiet.active
    tick.value = 2  # a person, while a program is quiet in another thread
    over.set()
    other.join(10)
    assert heard == [2] and tick.value == 1


def test_quiet_ends_with_its_outermost_block_also_by_an_error():
    quiet = Quiet()
    with pytest.raises(ValueError, match="inside"), quiet:
        with quiet:
            assert quiet.active
        assert quiet.active
        raise ValueError("inside")
    assert not quiet.active


def test_what_an_answer_sets_is_heard_once_and_other_traits_by_name():
    quiet, heard = Quiet(), []
    slider = widgets.IntSlider(1, 1, 9)

    def answer(value):
        heard.append(value)
        with quiet:
            put(slider, {"value": min(value, 5)})

    listen(quiet, slider, answer)
    listen(quiet, slider, heard.append, "disabled")
    slider.value = 8
    slider.disabled = True
    assert (slider.value, heard) == (5, [8, True])


def test_many_threads_may_show_and_listen_at_once():
    quiet, heard = Quiet(), []
    fields = [widgets.IntText() for _ in range(4)]
    for field in fields:
        listen(quiet, field, heard.append)

    def hand(field, program):
        for value in range(1, 200):
            if program:
                with quiet:
                    field.value = value
            else:
                field.value = value

    hands = [threading.Thread(target=hand, args=(f, n % 2)) for n, f in enumerate(fields)]
    for each in hands:
        each.start()
    for each in hands:
        each.join(30)
    assert sorted(heard) == sorted(2 * list(range(1, 200)))


# ---- setting what differs


class Counted(widgets.IntSlider):
    "A slider that keeps what it sends."

    def __init__(self):
        self.sent = []
        super().__init__(1, 1, 1)

    def send_state(self, key=None):
        self.sent += [set(key)] if key else []  # nothing is sent for no trait


def test_several_traits_go_in_one_message_and_equal_ones_in_none():
    slider = Counted()
    slider.sent.clear()
    put(slider, {"max": 16, "value": 9, "description": ""})
    assert slider.sent == [{"max", "value"}]
    put(slider, {"max": 16, "value": 9})
    assert len(slider.sent) == 1


def test_an_unknown_trait_is_an_error():
    with pytest.raises(AttributeError):
        put(sentence(), {"valeu": "x"})


# ---- texts


@settings(max_examples=60)
@given(st.lists(st.text(max_size=30) | st.just(EVIL), max_size=3))
def test_no_text_becomes_markup(texts):
    place = sentence()
    say(place, texts, "status", LOUD)
    page = Page(place.value)
    assert {tag for tag, _ in page.tags} <= {"div"}
    assert bool(page.tags) == any(texts) == (place.layout.display is None)
    assert page.words.replace("\r", "\n") == "".join(texts).replace("\r", "\n") or "\0" in str(
        texts
    )


def test_texts_have_their_role_and_take_no_room_when_empty():
    place = sentence()
    say(place, "Not possible.", "alert", LOUD)
    outer = Page(place.value).tags[0][1]
    assert outer["role"] == "alert" and LOUD in outer["style"]
    say(place, ["", "one", "two"])
    assert len(Page(place.value).tags) == 3 and "role" not in place.value
    say(place, [])
    assert (place.value, place.layout.display) == ("", "none")


def test_a_heading_is_one_for_screen_readers():
    page = Page(heading(EVIL, level=4).value)
    assert page.tags[0][1] == {"role": "heading", "aria-level": "4"} and page.words == EVIL


# ---- controls


def controls():
    "One of each kind."
    return [
        button("Stop", "Stop after the batch that runs", "stop", "warning", "104px"),
        chooser("Order", [("a", 1), ("b", 2)], "The order"),
        text_field("Why", "A reason"),
        number_field("Trials", "How many"),
        number_field("Rate", "How fast", whole=False, style=UNSEEN),
        number_field("Page", "Which page", ends=(3, 7)),
        number_field("Share", "From 0 to 1", ends=(0, 1), whole=False, layout={"width": "88px"}),
    ]


def test_a_button_that_cannot_be_pressed_is_grey():
    start, undo = button("Start", "Begin", kind="success"), button("Undo", "Take it back")
    for disabled, look in ((True, ""), (False, "success"), (True, "")):
        start.disabled = undo.disabled = disabled
        assert (start.button_style, undo.button_style) == (look, "")


def test_every_control_has_a_label_and_says_what_it_is_for():
    for each in controls():
        assert each.description and each.tooltip and not each.tabbable
    stop, order, why, trials, rate, page, share = controls()
    assert (stop.icon, stop.button_style, stop.layout.width) == ("stop", "warning", "104px")
    assert order.value == 1 and why.placeholder == "A reason"
    assert (rate.style.description_width, share.layout.width) == ("0px", "88px")
    assert not any(each.continuous_update for each in (why, trials, rate, page, share))
    assert (page.value, page.min, page.max) == (3, 3, 7)


def test_numbers_keep_to_their_ends_and_kinds():
    *_, trials, rate, page, share = controls()
    page.value, share.value, rate.value, trials.value = 99, -2, 0.5, "4"
    assert (page.value, share.value, rate.value, trials.value) == (7, 0, 0.5, 4)


def test_looks_are_not_shared_between_controls():
    one, two = text_field("One", "The first"), text_field("Two", "The second")
    one.layout.width, one.style.description_width = "10px", "10px"
    assert (two.layout.width, two.style.description_width) == ("auto", "auto")


# ---- a picture that stays


def test_a_snapshot_shows_itself_and_escapes_its_words():
    shot = Snapshot(image_html(b"\x89PNG", EVIL), b"\x89PNG")
    ((tag, attributes),) = Page(shot.html).tags
    assert tag == "img" and attributes["alt"] == EVIL
    assert attributes["src"] == "data:image/png;base64,iVBORw=="
    assert shot._repr_html_() == shot.html and repr(shot).startswith("Snapshot(")


# ---- a panel that stays in a stored notebook


class Counting(Panel):
    "A panel that counts its pictures."

    def __init__(self):
        self.made = 0
        super().__init__([widgets.Label("live")])

    def snapshot(self):
        self.made += 1
        return Snapshot(f"<p>picture {self.made}</p>", b"")


@pytest.fixture
def shown(monkeypatch):
    "What would go to the notebook: data, and the place that it replaces or begins."
    found = []

    def display(data, raw=False, display_id=None, update=False):
        found.append((getattr(data, "data", data), display_id, update))

    monkeypatch.setattr(panels, "display", display)
    monkeypatch.setattr(panels, "PAUSE", 0.1)
    return found


def test_a_panel_is_displayed_with_a_picture_that_its_rule_hides(shown):
    panel = Counting()
    panel._ipython_display_()
    (live, _, _), (kept, place, update) = shown
    assert "application/vnd.jupyter.widget-view+json" in live and not update
    assert Page(kept).tags[0] == ("div", {"class": place}) and "picture 1" in kept
    rule = panel.rule
    assert rule.value == f"<style>.{place} {{ display: none }}</style>"
    assert rule.layout.display == "none" and panel.layout.width == "100%"


def waiting_for(panel):
    "The timers of a panel that run now."
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    return [each for each in timers if each.function == panel._replace]


def test_many_changes_are_one_picture_and_later_ones_another(shown, monkeypatch):
    panel = Counting()
    panel.keep()
    assert not waiting_for(panel) and panel.made == 0, "nobody has displayed it"
    panel._ipython_display_()
    monkeypatch.setattr(panels, "PAUSE", 600.0)  # no timer ends before the test ends it
    with ThreadPoolExecutor(20) as pool:
        for _ in range(2):
            list(pool.map(lambda _: panel.keep(), range(20)))
            (timer,) = waiting_for(panel)
            timer.cancel()
            timer.function()
    assert [update for _, _, update in shown] == [False, False, True, True]
    assert len({place for _, place, _ in shown[1:]}) == 1 and "picture 3" in shown[-1][0]


def test_a_change_is_in_the_picture_after_a_pause(shown):
    panel = Counting()
    panel._ipython_display_()
    panel.keep()
    until(lambda: len(shown) == 3, 30)
    assert "picture 2" in shown[2][0] and shown[2][2]


def test_two_panels_keep_apart(shown):
    Counting()._ipython_display_()
    Counting()._ipython_display_()
    assert shown[1][1] != shown[3][1]

"""The cockpit without a browser: any order of hands and events, hostile texts, threads, kills."""

import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import ipywidgets as widgets
import matplotlib.pyplot as plt
import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from waiting import until

from imgrec import journal as journals
from imgrec import panel, watched
from imgrec import view as views
from imgrec.cockpit import TABS, TuningCockpit, snapshot_of
from imgrec.cockpit_state import CockpitState, attach
from imgrec.controls import moved, switched, ticks_of
from imgrec.core import SearchError
from imgrec.curves import curves_of
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.draft import rows_of
from imgrec.engine import begin, note, obey
from imgrec.entries import Bool, Choice, Fixed, Float, Int, problem_of
from imgrec.errands import Errands
from imgrec.fittings import Quiet
from imgrec.journal import Journal
from imgrec.link import Ended, Outcome
from imgrec.meters import lasting, seconds_left
from imgrec.nearby import nearby
from imgrec.pins import annotate, pin, pins_in
from imgrec.points import parsed_point, typed
from imgrec.search import Search
from imgrec.space import Space
from imgrec.staff import Member, keep_staff, staff_in
from imgrec.state import SearchState, TrialState
from imgrec.trial_table import ROWS, listing_html, listing_of
from imgrec.turns import hear_end, hear_epoch, next_trial, started
from imgrec.view import SearchView

EVIL = '<img src=x onerror="alert(1)">'
SPACE = Space(
    width=Choice(16, 32, EVIL),
    depth=Int(2, 6),
    rate=Float(1e-4, 1e-2, log=True),
    norm=Bool(when="depth", equals=(4, 5, 6)),
    batch_size=32,
)


def build(spec, width, depth, rate, norm=False):
    raise AssertionError("nothing is built here")


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    "Look at the search often, so that no test waits."
    monkeypatch.setattr(watched, "TICK", 0.01)


def pretend(plan, trial, link):
    "Stands in for a training; its score follows from its point."
    for epoch in range(1, trial.epochs + 1):
        time.sleep(0.002)
        link.check()
        link.report(epoch, {"val_accuracy": 0.1 * epoch + trial.point["rate"]}, 0.1)
    return Outcome(link.score, link.best_epoch, 0.1)


def a_search(few, directory, space=SPACE, **options):
    "A real search whose trials take no time."
    how = {"budget": 3, "epochs": 2, "executor": "inline", "progress": "none"} | options
    search = Search(space, build, few, directory=directory, **how)
    search.runner = pretend
    return search


class Engine:
    "The real engine of a search, whose every step is told by a test."

    def __init__(self, search):
        self.journal = Journal(search.directory / "journal.log")
        self.engine = begin(search.task, self.journal)
        self.told = search.directory

    def running(self):
        return self.engine.state.with_status("running")

    def ask(self):
        taken = {trial.worker for trial in self.running()}
        free = [name for name in (f"worker 1 {EVIL}", "worker 2") if name not in taken]
        trial = next_trial(self.engine) if free else None
        if trial is not None:
            started(self.engine, trial, free[0])

    def epoch(self):
        for trial in self.running()[:1]:
            epoch = trial.initial_epoch + len(trial.curve) + 1
            if epoch <= trial.epochs:
                hear_epoch(self.engine, trial.trial, epoch, {"val_accuracy": epoch / 9}, 1.0)

    def end(self, event="trial_finished"):
        for trial in self.running()[:1]:
            facts = {"score": 0.5, "best_epoch": 1, "seconds": 1.0, "reason": EVIL}
            if event == "trial_failed":
                facts = {"reason": f"ValueError: {EVIL}", "traceback": "", "seconds": 1.0}
            hear_end(self.engine, trial.trial, Ended(event, facts))

    def hears(self, state):
        "Take commands until nobody of this state waits any more."
        while state.errands.busy:
            obey(self.engine)
            time.sleep(0.01)

    def close(self):
        if self.engine.journal._handle >= 0:
            note(self.engine, "search_stopped", {"reason": "done", "fatal": ""})
            self.journal.close()


# ---- any order of hands and events

NUMBERS = st.integers(-2, 9) | st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.sampled_from(["depth", "rate", "width", "norm", "batch_size", "nothing"])
TEXTS = st.sampled_from(
    ["width=32", "depth=9", "rate=x", "'", "", "depth=3 rate=0.001", f"width='{EVIL}'"]
)


class AnyOrder(RuleBasedStateMachine):
    "Whatever a person does and whatever happens, what is shown makes sense and nothing is raised."

    few, places, count = None, None, 0

    def __init__(self):
        super().__init__()
        AnyOrder.count += 1
        self.search = a_search(self.few, self.places / str(self.count), budget=5, epochs=3)
        self.engine = Engine(self.search)
        self.state = CockpitState(self.search)
        self.shown = []
        self.state.watchers.append(self.shown.append)

    @rule(what=st.sampled_from(["ask", "ask", "epoch", "epoch", "end", "end"]))
    def something_happens(self, what):
        getattr(self.engine, what)()

    @rule()
    def a_trial_fails(self):
        self.engine.end("trial_failed")

    @rule()
    def the_engine_hears(self):
        obey(self.engine.engine)

    @rule(name=NAMES, low=NUMBERS, high=NUMBERS)
    def move(self, name, low, high):
        self.edit(lambda: self.state.move(name, low, high))

    @rule(name=NAMES, on=st.lists(st.booleans(), min_size=3, max_size=3))
    def switch(self, name, on):
        self.edit(lambda: self.state.switch(name, on[: 3 if name == "width" else 2]))

    @rule(name=NAMES, on=st.booleans())
    def lock(self, name, on):
        self.edit(lambda: self.state.lock(name, on))

    @rule(name=NAMES, value=NUMBERS)
    def hold(self, name, value):
        self.edit(lambda: self.state.hold(name, value))

    @rule(text=st.sampled_from(["", "{", "{}", '{"width": 3}', SPACE.to_json()]))
    def paste(self, text):
        self.edit(lambda: self.state.paste(text))

    @rule(name=st.sampled_from(["say", "undo", "pause", "unpause", "stop"]))
    def press(self, name):
        getattr(self.state, name)()
        assert self.state.errands.wait(10)

    @rule(number=st.integers(0, 6), name=st.sampled_from(["skip", "more_like", "retry", "choose"]))
    def with_a_trial(self, number, name):
        getattr(self.state, name)(number)
        assert self.state.errands.wait(10)

    @rule(text=TEXTS)
    def add_a_point(self, text):
        self.state.enqueue(text)
        assert self.state.errands.wait(10)

    @rule(
        name=st.sampled_from(["trials", "minutes", "disk_gb", "trails"]),
        value=NUMBERS | st.none(),
    )
    def allow(self, name, value):
        self.state.allow(name, value)
        assert self.state.errands.wait(10)

    @rule(number=st.integers(0, 6), on=st.booleans())
    def mark(self, number, on):
        self.state.pin(number, on)
        self.state.annotate(number, EVIL if on else "")

    @rule(order=st.sampled_from(["best", "newest", "width", "nothing"]), page=st.integers(-1, 3))
    def look(self, order, page):
        self.state.sort(order)
        self.state.turn(page)

    def edit(self, action):
        before = self.state.draft.wanted
        action()
        if self.state.message:
            assert self.state.draft.wanted == before, "what cannot be changes nothing"

    @invariant()
    def what_is_shown_makes_sense(self):
        view, known = self.state.view(), self.search.snapshot()
        allowed = view.allowed
        assert not (allowed.start and allowed.stop)
        assert not (allowed.pause and allowed.unpause)
        assert view.start_label == "Start", "only what rests goes on"
        assert view.condition in ("running", "pausing", "paused", "stopping")
        assert view.share is None or 0 <= view.share <= 1
        assert all(not problem_of(entry) for entry in self.state.draft.wanted.entries.values())
        assert sorted(row.trial for row in view.listing.rows) == sorted(known.trials)
        assert sum(row.best for row in view.listing.rows) == (known.best is not None)
        assert sorted(seat.trial for seat in view.seats if seat.trial) == list(view.running)
        for control in view.controls:
            assert control.low in control.ticks or control.kind != "range"
            assert any(control.on) or control.kind != "switches" or control.locked
        assert bool(view.changes) == self.state.draft.changed
        assert "<img src=x" not in snapshot_of(view).html if len(known.trials) == 1 else True
        assert "<img src=x" not in listing_html(view.listing)

    def teardown(self):
        self.engine.close()


def test_any_order_of_hands_and_events(few, tmp_path, monkeypatch):
    monkeypatch.setattr(views, "PATIENCE", 0.0)
    monkeypatch.setattr(journals.os, "fsync", lambda handle: None)
    AnyOrder.few, AnyOrder.places = few, tmp_path
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    phases = (Phase.explicit, Phase.reuse, Phase.generate)  # to make a case small takes minutes
    steps = {"max_examples": 25, "stateful_step_count": 25}
    how = settings(phases=phases, suppress_health_check=checks, **steps)
    run_state_machine_as_test(AnyOrder, settings=how)


# ---- at the helm of a real search


def test_what_is_moved_is_searched_and_what_is_said_while_it_runs_too(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path, budget=200, epochs=30))
    state.move("depth", 2, 3)
    state.start()
    until(lambda: state.view().running and not state.view().doing, 30)
    assert state.search.snapshot().space["depth"]["high"] == 3, "said before the start"
    state.lock("width")
    assert state.view().changes and state.view().allowed.say
    state.say()
    until(lambda: state.search.snapshot().space["width"]["kind"] == "fixed", 10)
    assert not state.view().changes and state.view().condition == "running"
    state.pause()
    until(lambda: state.view().condition == "paused", 10)
    events = state.search.snapshot().events
    time.sleep(0.3)
    assert state.search.snapshot().events == events, "nothing is trained in a pause"
    state.unpause()
    until(lambda: state.search.snapshot().events > events + 3, 10)
    state.stop()
    assert state.wait(30)
    assert state.view().condition == "resting" and state.view().start_label == "Go on"
    known = state.search.snapshot()
    assert known.era == 1
    last = list(known.trials.values())[-1]
    assert (
        last.point["depth"] <= 3 and last.point["width"] == state.draft.base.entries["width"].value
    )


def test_text_that_is_no_space_stays_to_be_mended(few, tmp_path):
    cockpit = TuningCockpit(a_search(few, tmp_path))
    space, text = cockpit.pages[0], cockpit.pages[0].text
    good = text.value
    text.value = good[:-5]
    assert "Expected a space as JSON" in cockpit.state.view().message
    assert text.value == good[:-5] and not cockpit.state.view().changes
    text.value = good
    assert not cockpit.state.view().message and text.value == good
    space.text.value = "no"
    cockpit.state.undo()
    assert text.value == good


def test_each_hand_returns_at_once_and_the_view_says_what_is_being_done(few, tmp_path):
    search = a_search(few, tmp_path, budget=50, epochs=50)
    state, seconds = CockpitState(search), []
    engine = Engine(search)  # it hears nothing, so whoever waits for it waits
    engine.ask()
    for hand in (state.pause, lambda: state.skip(1), lambda: state.enqueue("depth=3")):
        before = time.monotonic()
        hand()
        seconds.append(time.monotonic() - before)
        assert state.view().doing, "it was understood"
    assert max(seconds) < 0.2
    until(lambda: state.view().condition == "pausing", 5)
    engine.hears(state)
    view = state.view()
    assert (view.condition, view.doing, view.message) == ("paused", "", "")
    assert view.queue and "depth=3" in view.queue[0]
    engine.close()


def test_refusals_of_the_engine_are_the_message(few, tmp_path):
    search = a_search(few, tmp_path, budget=50)
    state, engine = CockpitState(search), Engine(search)
    for _ in range(2):
        engine.ask()
    state.skip(2)
    until(lambda: list((tmp_path / "commands").glob("*.json")), 5)
    engine.end()
    engine.end()  # both have ended before it is heard
    engine.hears(state)
    assert "trial 2 does not run" in state.view().message
    state.retry(7)
    assert "There is no trial 7" in state.view().message
    state.allow("trials", 1)
    assert "2 trials are there already" in state.view().message
    state.allow("minutes", float("nan"))
    assert "minutes must be a number above 0" in state.view().message
    state.pin(1)
    assert not state.view().message, "the next hand that is right takes it away"
    engine.close()


def test_more_like_this_one_is_close_new_and_first(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path, budget=3))
    state.start()
    assert state.wait(30)
    points = [trial.point for trial in state.search.snapshot().trials.values()]
    state.allow("trials", 5)
    state.more_like(2)
    state.more_like(2)
    assert state.errands.wait(10) and not state.view().message
    state.start()
    assert state.wait(30)
    trials = state.search.snapshot().trials
    for number in (4, 5):
        assert trials[number].by == "hand" and trials[number].point not in points
        points.append(trials[number].point)


def test_a_search_whose_code_is_elsewhere_is_steered_but_not_started(few, tmp_path):
    search = a_search(few, tmp_path)
    engine = Engine(search)
    state = CockpitState(SearchView(tmp_path))
    assert state.view().allowed.pause and not state.view().allowed.start
    state.pause()
    engine.hears(state)
    assert state.view().condition == "paused"
    engine.close()
    assert not state.view().allowed.start and "Its code is not here" in state.view().allowed.note
    state.forecast()
    assert state.thoughts.wait(10)
    assert "the code of this search is not here" in state.view().message


def test_a_journal_in_other_hands_is_a_message(few, tmp_path):
    search = a_search(few, tmp_path)
    state = CockpitState(search)
    with Journal(tmp_path / "journal.log"):
        state.runs.send("", search.run, quiet=True)  # as somebody who is a moment too late
        assert state.runs.wait(30)
    assert "is being written by" in state.view().message
    with pytest.raises(SearchError, match="is being written by"):
        state.wait(5)
    state.start()
    assert state.wait(30) and state.view().message == ""


def test_pins_that_cannot_be_read_are_said_and_not_written_over(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path))
    state.start()
    assert state.wait(30)
    (tmp_path / "pins.json").write_text("{not mine")
    assert "pins.json cannot be read" in state.view().message
    state.pin(1)
    assert (tmp_path / "pins.json").read_text() == "{not mine"


def test_a_hand_that_was_refused_has_not_ended_the_search(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path))
    state.start()
    assert state.wait(30)
    state.enqueue("depth=9")
    assert "depth=9 is not in" in state.view().message
    assert state.wait(30) is True, "the search has ended well"


def test_wait_is_left_politely(few, tmp_path, capsys):
    state = CockpitState(a_search(few, tmp_path, budget=400, epochs=20))
    state.start()
    until(lambda: state.view().running, 30)
    press = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    press.start()
    assert state.wait(60) is False
    assert "the search goes on" in capsys.readouterr().out
    assert state.search.running
    state.stop()
    assert state.wait(30)


def test_threads_print_nothing_and_make_no_figures(few, tmp_path, capfd):
    cockpit = TuningCockpit(a_search(few, tmp_path, budget=6, progress="auto"))
    cockpit.tabs.selected_index = TABS.index("Now")
    cockpit.helm.start.click()
    assert cockpit.wait(60)
    assert capfd.readouterr() == ("", "") and not plt.get_fignums()
    assert cockpit.state.search.progress == "auto", "it speaks again when it is run by hand"


# ---- watching


def test_watchers_hear_at_most_four_times_a_second(few, tmp_path, monkeypatch):
    monkeypatch.setattr(watched, "TICK", 0.25)
    search = a_search(few, tmp_path, budget=2000, epochs=3)
    state, heard = CockpitState(search), []
    state.watch(lambda view: heard.append((time.monotonic(), len(view.listing.rows))))
    state.start()
    until(lambda: state.search.running, 10)
    assert state.errands.wait(10)
    heard.clear()
    time.sleep(2.0)
    assert 3 <= len(heard) <= 10, "some four in a second, however much happens"
    state.stop()
    assert state.wait(30)
    assert heard[-1][1] == min(len(search.snapshot().trials), ROWS)


def test_a_state_that_nobody_has_is_forgotten_with_its_thread(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path))
    state.watch(lambda view: None)
    thread, gone = state._eyes, weakref.ref(state)
    assert thread.is_alive()
    del state
    until(lambda: gc.collect() >= 0 and gone() is None, 10)
    thread.join(5)
    assert not thread.is_alive()


def test_nobody_looks_for_nobody_and_who_comes_again_is_shown(few, tmp_path):
    state, heard = CockpitState(a_search(few, tmp_path)), []
    state.watch(heard.append)
    first = state._eyes
    until(lambda: heard, 5)
    state.unwatch(heard.append)
    first.join(5)
    assert not first.is_alive() and state._eyes is None
    heard.clear()
    state.watch(heard.append)
    until(lambda: heard, 5)


def test_who_cannot_show_it_is_told_and_the_others_are_shown(few, tmp_path):
    state, heard, broken = CockpitState(a_search(few, tmp_path)), [], [True]

    def shows(view):
        if broken:
            raise ZeroDivisionError("no room")

    state.watch(shows)
    state.watch(lambda view: heard.append(view.message))
    until(lambda: heard and "ZeroDivisionError: no room" in heard[-1], 5)
    assert state._eyes.is_alive()
    broken.clear()
    state.sort("newest")
    until(lambda: heard[-1] == "", 5)


def test_a_cell_that_is_run_again_closes_its_cockpit_and_no_other(few, tmp_path, monkeypatch):
    runs, search = iter("1123"), a_search(few, tmp_path)
    cells = iter(["here", "here", "here", "there"])
    ran = lambda: {"metadata": {"cellId": next(cells)}, "header": {"msg_id": next(runs)}}  # noqa: E731
    monkeypatch.setattr(panel, "get_ipython", lambda: SimpleNamespace(get_parent=ran))
    first, beside, again, elsewhere = (TuningCockpit(search) for _ in range(4))
    state = again.state
    assert [each.show in state.watchers for each in (first, beside, again, elsewhere)] == [
        *[False] * 2,
        *[True] * 2,
    ]
    assert first.helm.start.comm is None and first.comm is None
    again.helm.start.click()
    assert again.wait(60) and "Done" in elsewhere.helm.headline.value


def test_a_damaged_journal_is_said_and_looked_at_on(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path))
    heard = []
    state.watch(lambda view: heard.append(view.message))
    state.start()
    assert state.wait(30)
    whole = (tmp_path / "journal.log").read_bytes()
    (tmp_path / "journal.log").write_bytes(whole + b"no line\n")
    until(lambda: "damaged" in heard[-1], 5)
    (tmp_path / "journal.log").write_bytes(whole)
    until(lambda: heard[-1] == "", 5)


def test_errands_come_in_order_from_any_thread():
    done, errands = [], Errands(changed=lambda: None)

    def sends(n):
        for step in range(20):
            errands.send("work", lambda step=step: done.append((n, step)))

    hands = [threading.Thread(target=sends, args=(n,)) for n in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert errands.wait(10)
    for n in range(4):
        assert [step for who, step in done if who == n] == list(range(20))


def test_two_hands_at_once_leave_a_sound_space(few, tmp_path):
    state = CockpitState(a_search(few, tmp_path))

    def moving(n):
        for step in range(30):
            state.move("depth", 2 + (n + step) % 3, 5)
            state.switch("width", [True, n % 2 == 0, step % 2 == 0])
            state.view()

    hands = [threading.Thread(target=moving, args=(n,)) for n in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert not state.message and state.draft.wanted.entries["depth"].high == 5


# ---- found again


def test_a_cell_run_again_shows_the_same_search(few, tmp_path):
    first = TuningCockpit(a_search(few, tmp_path, budget=300, epochs=20))
    first.state.move("depth", 3, 4)
    first.helm.start.click()
    until(lambda: first.state.view().running, 30)
    again = TuningCockpit(
        a_search(
            few,
            tmp_path,
            budget=300,
            epochs=20,
            space=SPACE.edit(depth=Int(3, 4)),
            if_exists="continue",
        )
    )
    assert again.state is first.state and not again.helm.stop.disabled
    again.helm.stop.click()
    assert first.wait(30)
    until(lambda: "Stopped" in first.helm.headline.value, 5)
    assert "Stopped" in again.helm.headline.value


def test_a_kernel_that_was_restarted_shows_what_was_recorded(few, tmp_path):
    state = attach(a_search(few, tmp_path))
    state.start()
    assert state.wait(30)
    pin(tmp_path, 2)
    seen = state.view()
    gone = weakref.ref(state)
    del state
    until(lambda: gc.collect() >= 0 and gone() is None, 10)
    after = attach(a_search(few, tmp_path)).view()
    assert after.listing == seen.listing or after.listing.rows[0].pinned
    assert after.curves == seen.curves and after.headline == seen.headline
    assert not after.allowed.start and "No trial of 3 is left" in after.allowed.note


def test_two_cockpits_do_not_disturb_each_other(few, tmp_path):
    one = TuningCockpit(a_search(few, tmp_path / "one", budget=200, epochs=20))
    two = TuningCockpit(a_search(few, tmp_path / "two"))
    one.pages[0].rows[1].inputs[2].value = 4
    assert two.pages[0].rows[1].inputs[2].value == 6
    one.helm.start.click()
    until(lambda: one.state.view().running, 30)
    assert not two.helm.start.disabled
    two.helm.start.click()
    assert two.wait(30) and one.state.search.running
    one.helm.stop.click()
    assert one.wait(30)


STARTS = """
import sys
from imgrec.cockpit import TuningCockpit
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
few = load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)
space = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)
search = Search(space, "small_cnn", few, budget=500, epochs=2000, workers=1, directory=sys.argv[1])
cockpit = TuningCockpit(search)
cockpit.helm.start.click()
assert cockpit.state.errands.wait(60), cockpit.state.view().message
"""


@pytest.fixture
def left_alone(tmp_path):
    "The directory of a search that a kernel has started and left; it is ended with the test."
    place = tmp_path / "s"
    command = [sys.executable, "-c", STARTS, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    until(lambda: (place / "journal.log.lock").exists(), 60)
    until(lambda: (place / "journal.log.lock").read_text(), 60)
    engine = psutil.Process(int((place / "journal.log.lock").read_text().split()[1]))
    try:
        yield place, engine
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in (*engine.children(recursive=True), engine):
                each.kill()


def test_a_search_outlives_the_kernel_and_a_killed_worker_is_said(left_alone):
    place, engine = left_alone
    cockpit = TuningCockpit(place)  # another kernel, without the code
    state = cockpit.state
    until(lambda: state.view().seats and state.view().seats[0].memory, 60)
    until(lambda: state.view().curves, 60)
    assert state.view().condition == "running" and not cockpit.helm.pause.disabled
    before = time.monotonic()
    cockpit.helm.pause.click()
    assert time.monotonic() - before < 0.2
    until(lambda: state.view().condition == "paused", 30)
    cockpit.helm.unpause.click()
    until(lambda: state.view().condition == "running", 30)
    workers = [each for each in engine.children() if "spawn_main" in " ".join(each.cmdline())]
    workers[0].kill()
    until(lambda: state.search.snapshot().trials[1].starts == 2, 60)
    cockpit.helm.stop.click()
    assert cockpit.wait(60)
    assert not state.view().seats and "Stopped" in cockpit.helm.headline.value


# ---- the widgets, without a browser

LABELLED = (
    *(widgets.Button, widgets.ToggleButton, widgets.IntText, widgets.FloatText, widgets.Text),
    *(widgets.SelectionRangeSlider, widgets.FloatProgress, widgets.Dropdown, widgets.Textarea),
)


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def test_every_control_has_a_name_and_says_what_it_does(few, tmp_path):
    cockpit = TuningCockpit(a_search(few, tmp_path))
    found = [each for each in everything(cockpit) if isinstance(each, LABELLED)]
    assert len(found) > 40
    for each in found:
        assert each.description, each
        assert each.tooltip or isinstance(each, widgets.FloatProgress), each
    names = [each.description for each in found if isinstance(each, widgets.ToggleButton)]
    assert EVIL in names, "a button's text is set as text by the page"


def test_hands_reach_the_state_and_refused_moves_go_back(few, tmp_path):
    cockpit = TuningCockpit(a_search(few, tmp_path))
    state, tab = cockpit.state, cockpit.pages[0]
    width, depth, rate, norm, fixed = tab.rows
    assert fixed.inputs == () and fixed.lock is None
    low, slider, high = depth.inputs
    high.value = 4
    assert state.draft.wanted.entries["depth"] == Int(2, 4) and slider.value == (2, 4)
    slider.value = (3, 5)
    assert (low.value, high.value) == (3, 5)
    low.value = 9
    assert "expected low" in cockpit.helm.message.value and (low.value, high.value) == (3, 5)
    rate.inputs[2].value = 0.5  # beyond what was written: the slider reaches there
    assert rate.inputs[1].value == (1e-4, 0.5) and cockpit.helm.message.value == ""
    width.inputs[2].value = False
    assert state.draft.wanted.entries["width"] == Choice(16, 32)
    for switch in norm.inputs:
        switch.value = False
    assert norm.inputs[1].value, "the last one stays on"
    assert "at least one value" in cockpit.helm.message.value
    depth.lock.value = True
    assert state.draft.wanted.entries["depth"] == Fixed(2) and high.disabled and slider.disabled
    low.value = 5
    assert state.draft.wanted.entries["depth"] == Fixed(5)
    depth.lock.value = False
    assert state.draft.wanted.entries["depth"] == Int(2, 6), "as it was written"


def test_only_the_tab_that_is_seen_is_kept_up_to_date(few, tmp_path):
    cockpit = TuningCockpit(a_search(few, tmp_path))
    now, table = cockpit.pages[TABS.index("Now")], cockpit.pages[TABS.index("Table")]
    before = table.table.value
    cockpit.helm.start.click()
    assert cockpit.wait(30)
    assert table.table.value == before and now.drawn[0] == (), "nobody sees them"
    cockpit.tabs.selected_index = TABS.index("Table")
    assert table.table.value.count("finished") == 3
    table.trial.value = 2
    table.ask.click()
    assert cockpit.tabs.selected_index == TABS.index("Understand")
    assert cockpit.study.state.question == "why"


def test_hostile_texts_are_escaped_wherever_they_are_shown(few, tmp_path):
    search = a_search(few, tmp_path)
    engine = Engine(search)
    for event in ("trial_finished", "trial_failed", "trial_pruned"):
        engine.ask()
        engine.epoch()
        engine.end(event)
    engine.ask()
    annotate(tmp_path, 1, EVIL)
    keep_staff(tmp_path, [Member(EVIL, None, 5e8)])
    cockpit = TuningCockpit(search)
    cockpit.state.move(EVIL, 1, 2)
    for index in range(len(TABS)):
        cockpit.tabs.selected_index = index
    shown = [each.value for each in everything(cockpit) if isinstance(each, widgets.HTML)]
    text = "".join(shown) + cockpit.snapshot().html
    assert "<img src=x" not in text and text.count("&lt;img src=x") > 5
    engine.close()


# ---- ten thousand trials


@pytest.fixture(scope="module")
def long_search(few, tmp_path_factory):
    "The directory of a search with 10,000 recorded trials."
    place, chance = tmp_path_factory.mktemp("long"), random.Random(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals.os, "fsync", lambda handle: None)
        with contextlib.closing(Engine(a_search(few, place, budget=20_000))) as engine:
            for number in range(1, 10_001):
                point = {"width": 16, "depth": 3, "rate": chance.uniform(1e-4, 1e-2)}
                asked = {"trial": number, "point": point | {"batch_size": 32}, "seed": 0}
                note(
                    engine.engine,
                    "trial_asked",
                    asked | {"epochs": 2, "initial_epoch": 0, "parent": None},
                )
                note(engine.engine, "trial_started", {"trial": number, "worker": "worker 1"})
                for epoch in (1, 2):
                    logs = {"val_accuracy": chance.random()}
                    told = {"trial": number, "epoch": epoch, "logs": logs, "seconds": 1.0}
                    note(engine.engine, "epoch_ended", told)
                ended = {"trial": number, "score": chance.random(), "best_epoch": 2}
                note(engine.engine, "trial_finished", ended | {"seconds": 2.0})
    return place


def test_ten_thousand_trials_are_turned_over_quickly(long_search):
    cockpit = TuningCockpit(long_search)
    table = cockpit.pages[TABS.index("Table")]
    cockpit.tabs.selected_index = TABS.index("Table")
    assert table.page.max == 10_000 // ROWS
    assert len(table.table.value) < 60_000, "a page, and not all of them"
    first = cockpit.state.view().listing.rows[0]
    assert first.best
    table.page.value = 200
    assert cockpit.state.view().listing.page == 200
    assert len(cockpit.state.view().curves) <= 42


# ---- pieces


@pytest.mark.parametrize(
    "entry", [Int(1, 10**9), Int(1, 10**9, log=True), Float(1e-12, 1e12, log=True)]
)
def test_sliders_have_few_places(entry):
    ticks = ticks_of(entry)
    assert 2 <= len(ticks) <= 80 and ticks[0] == entry.low and ticks[-1] == entry.high
    assert list(ticks) == sorted(set(ticks))
    assert nearby(Space(a=entry, b=Bool()), {"a": entry.low, "b": True})


def test_moving_a_control_keeps_its_condition():
    space = Space(
        model=Choice("small_cnn", "small_resnet"),
        width=Choice(2, 4, 8, when="model", equals="small_cnn"),
        depth=Int(1, 4, when="model", equals=("small_cnn", "small_resnet")),
        learning_rate=Float(1e-3, 1e-1, log=True),
    )
    shorter = switched(space.entries["width"], (True, False, True))
    assert shorter == Choice(2, 8, when="model", equals="small_cnn")
    lower = moved(space.entries["depth"], 1, 2)
    assert lower == Int(1, 2, when="model", equals=("small_cnn", "small_resnet"))
    assert switched(Bool(when="depth", equals=2), (False, True)).when == "depth"
    other = space.edit(width=shorter, depth=lower, model=Choice("small_resnet"))
    rows = {row.name: row for row in rows_of(space.entries, other)}
    assert rows["width"].text == "2 or 8, where model is small_cnn"
    assert rows["width"].when == "where model is small_cnn"
    assert [rows["width"].on, rows["model"].on] == [(True, False, True), (False, True)]


def test_a_point_survives_being_typed():
    for values in ({"width": EVIL, "rate": 0.0005}, {"depth": 5, "norm": True, "width": 32}):
        point = {**SPACE.defaults(), **values}
        assert parsed_point(typed(point), SPACE) == point


def test_time_that_is_left_follows_pauses_and_limits():
    state = SearchState(settings={"objective": "val_accuracy"}, spent=100.0)
    for number in range(1, 6):
        state.trials[number] = TrialState(number, {}, 0, 1, status="finished")
    assert seconds_left(state, {"trials": 10}) == pytest.approx(100)
    assert seconds_left(state, {"trials": 10, "minutes": 2}) == pytest.approx(20)
    assert seconds_left(state, {}) is None
    assert lasting(3661) == "1 h 1 min"


def test_a_search_whose_curve_is_no_number_is_shown():
    state = SearchState(settings={"objective": "val_loss", "direction": "min"})
    curve = ({"epoch": 1, "val_loss": None, "seconds": 1.0}, {"epoch": 2, "seconds": 1.0})
    state.trials[1] = TrialState(1, {}, 0, 3, status="running", curve=curve)
    assert listing_of(state).rows[0].score == ""
    assert curves_of(state)[0].values[0] != curves_of(state)[0].values[0]


def test_pins_and_staff_outlast_odd_files(tmp_path):
    pin(tmp_path, 3)
    annotate(tmp_path, 3, "x")
    assert (pins_in(tmp_path).pinned, pins_in(tmp_path).notes) == ({3}, {3: "x"})
    (tmp_path / "workers.json").write_bytes(b"\xff\xfe")
    assert staff_in(tmp_path) == ()


def test_what_a_thread_sets_is_nobodys_wish_and_another_thread_is_heard():
    quiet, heard = Quiet(), []
    with quiet:
        thread = threading.Thread(target=lambda: heard.append(quiet.active))
        thread.start()
        thread.join()
        heard.append(quiet.active)
    assert heard == [False, True] and not quiet.active

"""The cockpit without a browser: any order of clicks and events, hostile texts, threads."""

import queue
import threading
import time
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imgrec import cockpit_state
from imgrec.budget import Budget, limits_of
from imgrec.cockpit import TuningCockpit, snapshot_of
from imgrec.cockpit_state import CockpitState, attach
from imgrec.cockpit_view import ROWS, trials_html, view_of
from imgrec.controls import controls_of, moved, switched, ticks_of
from imgrec.core import SearchError
from imgrec.curves import curves_of
from imgrec.entries import Bool, Choice, Float, Int, problem_of
from imgrec.space import Space
from imgrec.state import SearchState, apply

EVIL = '<img src=x onerror="alert(1)">'
SPACE = Space(
    width=Choice(16, 32, EVIL),
    depth=Int(2, 6),
    rate=Float(1e-4, 1e-2, log=True),
    norm=Bool(),
    batch_size=32,
)


class Scripted:
    "A search whose thread does what the test says, step by step."

    def __init__(self, directory="scripted", space=SPACE, max_trials=4):
        self.space, self.budget, self.directory = space, Budget(trials=max_trials), Path(directory)
        self.declared = space
        self.state, self.lock = SearchState(), threading.Lock()
        self.steps, self.stopped, self.runs = queue.Queue(), threading.Event(), 0

    def note(self, event, **fields):
        with self.lock:
            apply(self.state, {"event": event, "n": self.state.events + 1} | fields)

    def snapshot(self):
        with self.lock:
            return self.state.copy()

    def edit(self, space):
        self.space = space

    def limit(self, budget):
        self.budget = budget

    def stop(self):
        self.stopped.set()

    def run(self):
        self.stopped.clear()
        self.runs += 1
        budget = {"budget": limits_of(self.budget)}
        how = {"settings": {"objective": "val_accuracy", "direction": "max"}} | budget
        if not self.state.space:
            self.note("search_created", space=self.space.to_dict(), versions={}, **how)
        elif self.state.space != self.space.to_dict():
            self.note("space_changed", space=self.space.to_dict(), changes=[])
        self.note("budget_changed", **budget)
        self.note("search_opened", process=1, torn=0)
        while True:
            step, done = self.steps.get()
            try:
                if step in ("end", "error") or self.stopped.is_set():
                    break
                self.step(step)
            finally:
                done.set()
        for trial in self.state.with_status("running"):
            self.note("trial_interrupted", trial=trial.trial, reason="stopped")
        self.note("search_stopped", reason="failed" if step == "error" else "stopped")
        if step == "error":
            raise OSError(f"No space left on device {EVIL}")

    def step(self, step):
        running = self.state.with_status("running")
        if step == "ask" and not running and len(self.state.trials) < self.budget.trials:
            number = len(self.state.trials) + 1
            plan = {"seed": number, "epochs": 3, "initial_epoch": 0, "parent": None}
            point = self.space.defaults() | {"width": EVIL}
            self.note("trial_asked", trial=number, point=point, **plan)
            self.note("trial_started", trial=number, worker="inline")
        elif step == "epoch" and running and len(running[0].curve) < 3:
            epoch = len(running[0].curve) + 1
            logs = {"val_accuracy": 0.1 * epoch + 0.01 * running[0].trial}
            facts = {"trial": running[0].trial, "epoch": epoch, "logs": logs}
            self.note("epoch_ended", seconds=1.0, **facts)
        elif step == "finish" and running and running[0].curve:
            score = max(point["val_accuracy"] for point in running[0].curve)
            told = {"score": score, "best_epoch": len(running[0].curve), "seconds": 3.0}
            self.note("trial_finished", trial=running[0].trial, **told)
        elif step == "fail" and running:
            told = {"reason": f"ValueError: {EVIL}", "traceback": "", "seconds": 1.0}
            self.note("trial_failed", trial=running[0].trial, **told)

    def do(self, *steps):
        "Let the thread do these steps, and wait until it has."
        for step in steps:
            done = threading.Event()
            self.steps.put((step, done))
            assert done.wait(10)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    "Look at the search often, so that no test waits."
    monkeypatch.setattr(cockpit_state, "TICK", 0.005)


def until(condition, seconds=10.0):
    "Wait for what a thread does."
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def ended(state):
    "Stop a scripted search and wait for its threads."
    if state.activity != "idle":
        state.stop()
        state.search.do("ask")
        until(lambda: state.activity == "idle")


# ---- any order of clicks and events

RANGES = st.tuples(st.integers(-2, 9), st.integers(-2, 9))
RATES = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([1e-5, 1e-3, 0.1])


class AnyOrder(RuleBasedStateMachine):
    "Whatever is clicked and whatever happens, what is shown makes sense."

    def __init__(self):
        super().__init__()
        self.search = Scripted()
        self.state = CockpitState(self.search)

    @property
    def busy(self):
        return self.state.activity != "idle"

    @rule()
    def press_start(self):
        allowed, runs = self.state.view().allowed.start, self.search.runs
        self.state.start()
        assert self.busy or not allowed
        until(lambda: self.search.runs == runs + allowed)
        if allowed:  # what was set is what runs
            assert self.search.space == self.state.space

    @rule()
    def press_stop(self):
        allowed = self.state.view().allowed.stop
        self.state.stop()
        assert (self.state.activity == "stopping") or not allowed

    @precondition(lambda self: self.busy)
    @rule(step=st.sampled_from(["ask", "epoch", "epoch", "finish", "fail", "end", "error"]))
    def something_happens(self, step):
        stopping = self.search.stopped.is_set()
        self.search.do(step)
        if stopping or step in ("end", "error"):
            until(lambda: not self.busy)
            assert bool(self.state.message) == (step == "error")

    @rule(name=st.sampled_from(["depth", "rate", "width", "nothing"]), ends=RANGES)
    def move(self, name, ends):
        self.edit(lambda: self.state.move(name, *ends))

    @rule(low=RATES, high=RATES)
    def move_rate(self, low, high):
        self.edit(lambda: self.state.move("rate", low, high))

    @rule(name=st.sampled_from(["width", "norm"]), on=st.lists(st.booleans(), min_size=3))
    def switch(self, name, on):
        self.edit(lambda: self.state.switch(name, on[: 3 if name == "width" else 2]))

    @rule(count=st.integers(-1, 6))
    def allow(self, count):
        before = self.state.max_trials
        self.state.allow(count)
        assert (self.state.max_trials == before) or not self.busy
        assert self.state.message or self.state.max_trials == count

    def edit(self, action):
        before = self.state.space
        action()
        if self.busy or self.state.message:
            assert self.state.space is before and self.state.message

    @invariant()
    def what_is_shown_makes_sense(self):
        view = self.state.view()
        allowed, known = view.allowed, self.search.snapshot()
        assert not (allowed.start and allowed.stop)
        assert allowed.edit == (view.activity == "idle")
        assert allowed.start or allowed.stop or allowed.note or view.activity == "stopping"
        assert 0 <= view.share <= 1
        assert all(not problem_of(entry) for entry in self.state.space.entries.values())
        assert [row.trial for row in view.rows] == sorted(known.trials, reverse=True)
        assert sum(row.best for row in view.rows) == bool(known.with_status("finished"))
        for row in view.rows:
            assert ("running" in row.status) <= (view.activity != "idle")
        for control in view.controls:
            assert control.low in control.ticks or control.kind != "range"
            assert any(control.on) or control.kind != "switches"
        page = snapshot_of(view).html if len(known.trials) == 1 else trials_html(view)
        assert "<img src=x" not in page

    def teardown(self):
        ended(self.state)


def test_any_order_of_clicks_and_events():
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    how = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=checks
    )
    run_state_machine_as_test(AnyOrder, settings=how)


# ---- the view of recorded states


def recorded(*steps, max_trials=4):
    "The state after these steps."
    search = Scripted(max_trials=max_trials)
    how = {"objective": "val_accuracy", "direction": "max"}
    budget = {"trials": max_trials}
    search.note("search_created", space=SPACE.to_dict(), settings=how, budget=budget, versions={})
    search.note("search_opened", process=1, torn=0)
    for step in steps:
        search.step(step)
    return search.snapshot()


def test_rows_say_how_each_trial_stands():
    state = recorded("ask", "epoch", "epoch", "finish", "ask", "fail", "ask", "epoch")
    running = view_of(state, SPACE, SPACE, 4, "running")
    assert [row.status for row in running.rows] == ["running, epoch 2 of 3", "failed", "finished"]
    assert [row.score for row in running.rows] == ["", "", "0.21"]
    assert running.rows[1].reason == f"ValueError: {EVIL}"
    assert running.best.startswith("Best so far: val_accuracy 0.21 in trial 1, epoch 2")
    assert [(c.trial, c.role) for c in running.curves] == [(1, "best"), (3, "running")]
    resting = view_of(state, SPACE, SPACE, 4)
    assert resting.rows[0].status == "cut off" and resting.allowed.start
    assert "1 cut off" in resting.headline


def test_no_text_from_outside_becomes_markup():
    state = recorded("ask", "epoch", "finish", "ask", "fail")
    view = view_of(state, SPACE, SPACE, 4, message=f"could not read {EVIL}")
    page = snapshot_of(view).html
    assert "<img src=x" not in page and page.count("&lt;img src=x") >= 4


def test_a_metric_that_is_no_number_leaves_a_gap():
    state = recorded("ask", "epoch")
    trial = state.trials[1]
    odd = (
        {"epoch": 1, "val_accuracy": float("nan")},
        {"epoch": 2},
        {"epoch": 3, "val_accuracy": 1},
    )
    state.trials[1] = type(trial)(**{**vars(trial), "curve": odd})
    (curve,) = curves_of(state)
    assert str(curve.values) == "(nan, nan, 1.0)"
    assert snapshot_of(view_of(state, SPACE, SPACE, 4, "running")).png


def test_thousands_of_trials_are_the_latest_hundred():
    state = recorded("ask", "epoch", "finish", max_trials=5000)
    first = state.trials[1]
    state.trials = {n: type(first)(**{**vars(first), "trial": n}) for n in range(1, 3001)}
    view = view_of(state, SPACE, SPACE, 5000)
    assert len(view.rows) == ROWS and view.rows[0].trial == 3000 and view.hidden == 3000 - ROWS
    assert len(view.curves) <= 42
    assert f"and {3000 - ROWS} older trials" in trials_html(view)


@pytest.mark.parametrize(
    "entry", [Int(1, 10**9), Int(1, 10**9, log=True), Float(1e-12, 1e12, log=True)]
)
def test_sliders_have_few_places(entry):
    ticks = ticks_of(entry)
    assert 2 <= len(ticks) <= 80 and ticks[0] == entry.low and ticks[-1] == entry.high
    assert list(ticks) == sorted(set(ticks))


# ---- threads


def test_watchers_hear_at_most_four_times_a_second(monkeypatch):
    monkeypatch.setattr(cockpit_state, "TICK", 0.25)
    search = Scripted("busy", max_trials=400)
    state, heard = CockpitState(search), []
    state.watchers.append(heard.append)
    state.start()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        search.do("ask", "epoch", "finish")
        time.sleep(0.005)
    assert 2 <= len(heard) <= 6, "some four in a second, however much happens"
    ended(state)
    assert state.wait(5)
    assert heard[-1].activity == "idle" and heard[-1].rows[0].trial == len(search.state.trials)


def test_a_thread_prints_nothing_and_its_error_is_shown(capfd):
    search = Scripted("broken")
    state = CockpitState(search)
    state.start()
    search.do("ask", "epoch", "error")
    with pytest.raises(SearchError, match="No space left"):
        state.wait(5)
    assert state.view().message == f"OSError: No space left on device {EVIL}"
    assert state.view().allowed.start and "Failed." in state.view().headline
    assert capfd.readouterr() == ("", "")


def test_a_stop_that_comes_too_early_is_repeated(monkeypatch):
    search = Scripted("early")
    opening = threading.Event()
    run = search.run

    def slow_run():
        opening.wait(10)
        run()  # forgets a stop that came before, as `Search.run` does

    monkeypatch.setattr(search, "run", slow_run)
    state = CockpitState(search)
    state.start()
    state.stop()
    opening.set()
    until(lambda: search.runs == 1 and search.stopped.is_set())
    ended_by = threading.Thread(target=search.do, args=("ask",))
    ended_by.start()
    assert state.wait(5)
    ended_by.join()
    assert not search.state.trials


def test_many_hands_at_once_leave_a_sound_space():
    state = CockpitState(Scripted("hands"))

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
    assert not state.message
    assert state.space.entries["depth"].high == 5


# ---- the widget, without a browser


def cockpit_of(search):
    "A cockpit, with its texts readable."
    cockpit = TuningCockpit(search)
    return cockpit, cockpit.parts


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def test_every_control_has_a_name_and_says_what_it_does():
    cockpit, _ = cockpit_of(Scripted("names"))
    kinds = (widgets.Button, widgets.ToggleButton, widgets.IntText, widgets.FloatText)
    kinds += (widgets.SelectionRangeSlider, widgets.FloatProgress)
    found = [each for each in everything(cockpit) if isinstance(each, kinds)]
    assert len(found) == 2 + 2 + 3 * 2 + 3 + 2
    for each in found:
        assert each.description, each
        assert each.tooltip or isinstance(each, widgets.FloatProgress), each
    pictures = [each for each in everything(cockpit) if isinstance(each, widgets.Image)]
    assert all(each.tooltip is None for each in pictures), "an Image with a tooltip is not drawn"


def test_buttons_start_and_stop_and_the_table_follows():
    search = Scripted("buttons")
    cockpit, parts = cockpit_of(search)
    assert (parts.start.description, parts.start.disabled, parts.stop.disabled) == (
        "Start",
        False,
        True,
    )
    parts.start.click()
    assert (parts.start.disabled, parts.stop.disabled, parts.trials.disabled) == (True, False, True)
    assert all(each.disabled for row in parts.rows for each in row.inputs)
    search.do("ask", "epoch", "epoch")
    until(lambda: "running, epoch 3 of 3" in parts.table.value)
    until(lambda: "trial 1 is at 0.21 in epoch 2" in parts.caption.value)
    assert bytes(parts.picture.value).startswith(b"\x89PNG")
    parts.stop.click()
    assert "Stopping" in parts.headline.value and parts.stop.disabled
    search.do("epoch")
    assert cockpit.wait(5)
    assert parts.start.description == "Go on" and "Stopped." in parts.headline.value
    assert "<img src=x" not in parts.table.value + parts.best.value
    assert not plt.get_fignums()


def test_controls_move_the_space_and_refused_moves_go_back():
    search = Scripted("moves")
    cockpit, parts = cockpit_of(search)
    width, depth, rate, norm, fixed = parts.rows
    assert fixed.inputs == ()
    low, slider, high = depth.inputs
    high.value = 4
    assert cockpit.state.space.entries["depth"] == Int(2, 4)
    assert slider.value == (2, 4)
    slider.value = (3, 5)
    assert (low.value, high.value) == (3, 5)
    low.value = 9
    assert "expected low" in parts.message.value and (low.value, high.value) == (3, 5)
    rate.inputs[2].value = 0.5  # beyond what was written: the slider reaches there
    assert rate.inputs[1].value == (1e-4, 0.5) and parts.message.value == ""
    width.inputs[2].value = False
    assert cockpit.state.space.entries["width"] == Choice(16, 32)
    for switch in norm.inputs:
        switch.value = False
    assert norm.inputs[1].value, "the last one stays on"
    assert "at least one value" in parts.message.value
    parts.trials.value = 0
    assert parts.trials.value == 4 and "from 1" in parts.message.value
    parts.trials.value = 9
    parts.start.click()
    assert search.budget.trials == 9 and search.space.entries["depth"] == Int(3, 5)
    ended(cockpit.state)


def test_two_cockpits_do_not_disturb_each_other():
    one, two = Scripted("one"), Scripted("two")
    (first, first_parts), (_, second_parts) = cockpit_of(one), cockpit_of(two)
    first_parts.rows[1].inputs[2].value = 4
    first_parts.start.click()
    assert second_parts.rows[1].inputs[2].value == 6
    assert not second_parts.start.disabled
    second_parts.start.click()
    one.do("ask", "epoch")
    two.do("ask", "fail")
    until(lambda: "failed" in second_parts.table.value and "epoch 2" in first_parts.table.value)
    assert "failed" not in first_parts.table.value
    ended(first.state)
    assert second_parts.stop.disabled is False
    ended(attach(two))


def test_a_cell_run_again_shows_the_same_search():
    search = Scripted("again")
    cockpit, parts = cockpit_of(search)
    parts.start.click()
    search.do("ask", "epoch")
    again, more = cockpit_of(search)
    other, same = cockpit_of(Scripted("again"))  # the cell that makes the search was run, too
    assert again.state is cockpit.state and other.state is cockpit.state
    assert not same.stop.disabled and "running" in same.table.value
    more.stop.click()
    assert parts.stop.disabled and same.stop.disabled
    search.do("ask")
    assert cockpit.wait(5)
    assert "Stopped." in more.headline.value and "Stopped." in parts.headline.value


# ---- with a real search


@pytest.fixture(scope="module")
def few():
    from imgrec.data import load
    from imgrec.datasets import digits

    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def a_search(few, directory, max_trials=3, high=0.1):
    "A real search whose trials take no time."
    from imgrec.link import Outcome
    from imgrec.search import Search

    def pretend(plan, trial, link):
        for epoch in range(1, trial.epochs + 1):
            link.report(epoch, {"val_accuracy": trial.point["rate"] * epoch}, 0.1)
        return Outcome(trial.point["rate"] * trial.epochs, trial.epochs, 0.1)

    def build(spec, rate):
        raise AssertionError("nothing is built here")

    space = Space(rate=Float(0.01, high))
    options = {"budget": max_trials, "epochs": 2, "directory": directory, "executor": "inline"}
    search = Search(space, build, few, progress="none", **options)
    search.runner = pretend
    return search


def test_a_restarted_kernel_shows_the_recorded_trials(few, tmp_path):
    cockpit, _ = cockpit_of(a_search(few, tmp_path))
    cockpit.state.start()
    assert cockpit.wait(30)
    after, parts = cockpit_of(a_search(few, tmp_path))
    assert after.state is not cockpit.state
    assert len(after.state.view().rows) == 3 and len(after.state.view().curves) == 3
    assert parts.start.disabled and "No trial of 3 is left" in parts.note.value
    assert after.snapshot().html == cockpit.snapshot().html


def test_a_space_that_was_moved_is_a_new_era_with_evidence(few, tmp_path):
    search = a_search(few, tmp_path)
    cockpit, parts = cockpit_of(search)
    cockpit.state.start()
    assert cockpit.wait(30)
    parts.rows[0].inputs[0].value = 0.09
    parts.trials.value = 5
    cockpit.state.start()
    assert cockpit.wait(30)
    trials = search.snapshot().trials
    assert [trials[n].era for n in (1, 2, 3)] == [0, 0, 0] and trials[4].era > 0
    assert all(trials[n].point["rate"] >= 0.09 for n in (4, 5))


def test_a_restarted_kernel_keeps_the_space_that_was_moved(few, tmp_path):
    cockpit, parts = cockpit_of(a_search(few, tmp_path))
    parts.rows[0].inputs[0].value = 0.09
    cockpit.state.start()
    assert cockpit.wait(30)
    after, parts = cockpit_of(a_search(few, tmp_path, max_trials=4))
    assert parts.rows[0].inputs[0].value == 0.09
    assert parts.rows[0].inputs[1].value == (0.09, 0.1), (
        "the slider still reaches what the code says"
    )
    assert after.state.view().controls[0].ticks[0] == 0.01
    after.state.start()
    assert after.wait(30)
    assert {trial.era for trial in after.state.search.snapshot().trials.values()} == {0}
    with pytest.raises(SearchError, match="differs"):
        a_search(few, tmp_path, high=0.2)


def test_a_journal_in_other_hands_is_a_message(few, tmp_path):
    from imgrec.journal import Journal

    cockpit, parts = cockpit_of(a_search(few, tmp_path))
    with Journal(tmp_path / "journal.log"):
        cockpit.state.start()
        with pytest.raises(SearchError, match="is being written by"):
            cockpit.wait(30)
    assert "is being written by" in parts.message.value
    cockpit.state.start()
    assert cockpit.wait(30) and parts.message.value == ""


def test_a_move_that_was_not_started_survives_the_cells_being_run_again(few, tmp_path):
    cockpit, parts = cockpit_of(a_search(few, tmp_path))
    cockpit.state.start()
    assert cockpit.wait(30)
    parts.rows[0].inputs[0].value = 0.05
    parts.trials.value = 7
    again, parts = cockpit_of(a_search(few, tmp_path))
    assert again.state is not cockpit.state
    assert parts.rows[0].inputs[0].value == 0.05 and parts.trials.value == 7
    other, parts = cockpit_of(a_search(few, tmp_path, max_trials=4))  # the code was changed
    assert parts.rows[0].inputs[0].value == 0.05 and parts.trials.value == 4
    elsewhere, parts = cockpit_of(a_search(few, tmp_path / "other"))
    assert parts.rows[0].inputs[0].value == 0.01 and parts.trials.value == 3
    assert elsewhere.state.search is not other.state.search


def test_a_trial_that_was_cut_off_in_an_older_space_does_not_use_up_the_budget(few, tmp_path):
    search = a_search(few, tmp_path)
    quick_runner, cut = search.runner, threading.Event()

    def slow(plan, trial, link):
        cut.set()
        while True:
            link.check()
            time.sleep(0.005)

    search.runner = slow
    cockpit, parts = cockpit_of(search)
    cockpit.state.start()
    assert cut.wait(30)
    cockpit.state.stop()
    assert cockpit.wait(30)
    search.runner = quick_runner
    parts.rows[0].inputs[0].value = 0.05
    cockpit.state.start()
    assert cockpit.wait(30)
    view = cockpit.state.view()
    assert view.headline == "Done. 3 of 3 trials: 3 finished, 1 interrupted." and view.share == 1
    assert len(search.snapshot().trials) == 4 and "No trial of 3 is left" in view.allowed.note


def test_more_trials_make_a_search_that_was_done_a_paused_one(few, tmp_path):
    cockpit, parts = cockpit_of(a_search(few, tmp_path))
    cockpit.state.start()
    assert cockpit.wait(30) and "Done. 3 of 3" in parts.headline.value
    parts.trials.value = 9
    assert "Paused. 3 of 9" in parts.headline.value and not parts.start.disabled
    parts.trials.value = 2
    assert parts.trials.value == 9 and "3 trials are there already" in parts.message.value


def test_changes_and_refusals_are_told_in_the_words_of_the_controls():
    cockpit, parts = cockpit_of(Scripted("words"))
    width, _, rate, *_ = parts.rows
    width.inputs[0].value = False
    rate.inputs[2].value = 0.005
    assert "width is 32 or &lt;img" in parts.note.value and "Choice" not in parts.note.value
    assert "rate is 0.0001 to 0.005, log scale, was 0.0001 to 0.01" in parts.note.value
    rate.inputs[0].value = 0.5
    assert "rate stays as it was: expected low" in parts.message.value
    assert cockpit.state.view().controls[0].on == (False, True, True)


def test_moving_a_control_keeps_its_condition(few, tmp_path):
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
    rows = {row.name: row for row in controls_of(space, other)}
    assert rows["width"].text == "2 or 8, where model is small_cnn"
    assert [rows["width"].on, rows["model"].on] == [(True, False, True), (False, True)]
    assert other.edit(model=space.entries["model"]).size == 2 * 2 * 10 + 2 * 10

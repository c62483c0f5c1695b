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
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imgrec import cockpit_state
from imgrec.cockpit import TuningCockpit
from imgrec.cockpit_state import CockpitState, attach
from imgrec.cockpit_view import ROWS, snapshot_of, trials_html, view_of
from imgrec.controls import ticks_of
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
        self.space, self.max_trials, self.directory = space, max_trials, Path(directory)
        self.state, self.lock = SearchState(), threading.Lock()
        self.steps, self.stopped, self.runs = queue.Queue(), threading.Event(), 0

    def note(self, event, **fields):
        with self.lock:
            apply(self.state, {"event": event, "n": self.state.events + 1} | fields)

    def snapshot(self):
        with self.lock:
            return self.state.copy()

    def change(self, space=None, max_trials=None):
        self.space, self.max_trials = space or self.space, max_trials or self.max_trials

    def stop(self):
        self.stopped.set()

    def run(self):
        self.stopped.clear()
        self.runs += 1
        budget = {"budget": {"max_trials": self.max_trials}}
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
        if step == "ask" and not running and len(self.state.trials) < self.max_trials:
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


def test_any_order_of_clicks_and_events(monkeypatch):
    monkeypatch.setattr(cockpit_state, "TICK", 0.005)
    from hypothesis.stateful import run_state_machine_as_test

    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    how = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(AnyOrder, settings=how)


# ---- the view of recorded states


def recorded(*steps, space=SPACE, max_trials=4):
    "The state after these steps."
    search = Scripted(space=space, max_trials=max_trials)
    search.do_now = [search.note("search_created", space=space.to_dict(), settings={
        "objective": "val_accuracy", "direction": "max"}, budget={"max_trials": max_trials}, versions={})]
    search.note("search_opened", process=1, torn=0)
    for step in steps:
        search.step(step)
    return search.snapshot()

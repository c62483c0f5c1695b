"""A forecast finds what fails, says what it takes, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from imgrec.budget import Budget, as_budget
from imgrec.core import DataError, SearchError
from imgrec.costs import Sample, cost_of, misjudged
from imgrec.data import as_splits, load
from imgrec.datasets import digits
from imgrec.forecast import forecast
from imgrec.hyperparameters import as_builder
from imgrec.oracles import Proposer, hashed_seed
from imgrec.plan import Plan
from imgrec.prober import Here, Prober, prober_for
from imgrec.probes import answer, measured, pace
from imgrec.pruning import Pruning
from imgrec.rehearsal import pruned_epochs, rehearsed
from imgrec.search import Search
from imgrec.space import Choice, Float, Int, Space
from imgrec.survey import Limits, passes_of, surveyed
from imgrec.task import Task

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")


def net(spec, units=4, depth=1, trouble="none"):
    "A tiny network, or trouble."
    if depth > 3:
        raise ValueError(f"{depth} is too deep")
    if trouble == "hang":
        time.sleep(600)
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "huge":
        np.ones(10**10, "uint8")
    if trouble == "talks":
        print('{"parameters": 7}')
    outputs = spec.classes + 1 if trouble == "wide" else spec.classes
    x = inputs = keras.Input(spec.shape)
    x = layers.Flatten()(x)
    for _ in range(depth):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(outputs, "softmax")(x))


@pytest.fixture(scope="module")
def plan():
    catalog = digits().split()
    catalog = replace(catalog, table=catalog.table.groupby("split").head(120))
    arrays = catalog.arrays[catalog.table.index]
    catalog = replace(catalog, table=catalog.table.reset_index(drop=True), arrays=arrays)
    return Plan(net, load(catalog, augment="none"), epochs=2)


def task_of(plan, space, strategy="random", budget=None, **facts):
    return Task(plan, space, strategy, 0, as_budget(budget), Path("nowhere"), **facts)


def children():
    "Processes that this one has started and that still run."
    listed = subprocess.run(
        ["ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if "imgrec.probes" in line]


def test_a_builder_that_hangs_is_given_up_and_said(plan):
    points = [{"trouble": "hang"}, {"trouble": "none"}]
    survey = surveyed(plan, points, Limits(seconds=3))
    assert [seen.reason for seen in survey.seen] == ["no answer within 5 s", ""]
    assert [sample.point["trouble"] for sample in survey.samples] == ["none"]


def test_what_fails_is_found_and_named_and_the_rest_is_summed_up(plan):
    space = Space(units=Choice(4, 8), depth=Int(1, 5), learning_rate=Float(1e-3, 1e-2))
    told = forecast(task_of(plan, space, budget=12), workers=0, seconds=10)
    assert {each.point["depth"] for each in told.failing} <= {4, 5} and told.failing
    assert "wherever depth>=4: ValueError: " in repr(told) or "wherever depth=5" in repr(told)
    assert told.trials == 12 and told.epochs <= 24 and 0 < told.fails < 1
    assert 0 < told.low < told.seconds < told.high and told.each[0] <= told.each[1]
    assert 2e8 < told.worker_bytes == told.memory_bytes < 5e9 and told.disk_bytes > 1000
    assert set(told.table["status"]) <= {"failing", "measured", "estimated", "not built"}
    left = told.table["status"].eq("not built").any()
    assert ("were not looked at" in repr(told)) == left, "what was left out is said"
    failing = told.table[told.table["status"] == "failing"]
    assert (failing["depth"] > 3).all() and failing["seconds"].isna().all()
    assert not Path("nowhere").exists() and not children()


TROUBLES = {
    "wide": "10 classes need (None, 10)",
    "killed": "its process was ended by SIGKILL",
    "huge": "does not fit in memory: it took more than 3.0 GB",
}


def test_trouble_costs_an_answer_and_the_next_one_comes(plan):
    with prober_for(plan, 3e9) as prober:
        for trouble, said in TROUBLES.items():
            point = {"units": 4, "trouble": trouble}
            assert said in prober.ask({"do": "build", "point": point, "seed": 1}, 60)["failed"]
        point["trouble"] = "talks"
        plain = prober.ask({"do": "build", "point": point, "seed": 1}, 60)
        assert plain["parameters"] > 100, "what a builder prints is no answer"
        place = prober.child.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(place, 0)


def test_ctrl_c_ends_the_forecast_and_its_processes(plan):
    space = Space(trouble=Choice("none", "hang"))
    threading.Timer(12, signal.raise_signal, [signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        forecast(task_of(plan, space, budget=3), seconds=500)
    assert time.monotonic() - started < 30
    assert not children()


def test_a_process_ends_when_nobody_asks_any_more(plan):
    prober = prober_for(plan)
    order = {"do": "build", "point": {"trouble": "hang"}, "seed": 1}
    with prober:
        prober.ask({**order, "point": {}}, 60)
        process = prober.child.process
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_point_is_measured_as_it_is_trained(plan):
    small = measured(plan, {"units": 4}, 1, steps=3, valid_steps=2)
    assert all(small[name] >= 0 for name in ("start", "step", "valid_step", "epoch", "save"))
    assert small["weights"] > 4 * 28 * 28 * 4, "the weights and what the optimizer keeps"
    failed = answer(plan, {"do": "measure", "point": {"optimizer": "adamm"}, "seed": 1})
    assert "adamm" in failed["failed"]


def test_what_training_alone_tells_is_found_too(plan):
    space = Space(units=Choice(4, 8), optimizer=Choice("adamw", "adamm"))
    points = [{"units": u, "optimizer": o} for u in (4, 8) for o in ("adamw", "adamm")]
    survey = surveyed(plan, points, Limits(seconds=60))
    assert {seen.point["optimizer"] for seen in survey.seen if seen.reason} == {"adamm"}
    assert {sample.point["optimizer"] for sample in survey.samples} == {"adamw"}
    assert space.size == 4


def test_nothing_that_works_is_an_error(plan):
    with pytest.raises(SearchError, match=r"No combination .* can be trained.*too deep"):
        surveyed(plan, [{"depth": 5}, {"depth": 6}], Limits(seconds=5))


def test_memory_that_is_not_there_is_said(plan):
    with pytest.raises(SearchError, match=r"does not fit in memory|could not start"):
        forecast(
            task_of(plan, Space(units=Choice(4, 8)), budget=Budget(trials=2, ram_gb=0.2)), seconds=5
        )


def test_datasets_are_measured_here(plan):
    x = np.arange(40 * 64).reshape(40, 8, 8, 1) % 256
    pair = (x, np.arange(40) % 2)
    own = replace(plan, splits=as_splits([pair, pair]))
    with prober_for(own) as prober:
        assert isinstance(prober, Here)
    told = forecast(task_of(own, Space(units=Int(4, 8)), budget=3), workers=0, seconds=3)
    assert told.trials == 3 and told.seconds > 0
    endless = replace(
        own, splits=as_splits([plan.splits.train.filter(lambda x, y: True), plan.splits.valid])
    )
    with pytest.raises(DataError, match="assert_cardinality"):
        passes_of(endless, {})


def hyper(hp):
    "A builder in KerasTuner's style."
    kind = hp.Choice("kind", ["narrow", "wide"])
    units = hp.Int("units", 8, 16) if kind == "wide" else 4
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Dense(units, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def test_a_builder_in_kerastuner_style_is_forecast(plan):
    splits = plan.splits.with_options(image_size=28)
    build, space = as_builder(hyper)
    own = replace(plan, build=build, splits=splits)
    told = forecast(task_of(own, space, budget=4), workers=0, seconds=5)
    assert not told.failing and set(told.table["kind"]) == {"narrow", "wide"}
    with prober_for(own) as prober:
        assert isinstance(prober, Prober)


@pytest.mark.parametrize("strategy", ["random", "grid", "halving"])
def test_the_rehearsal_asks_for_the_points_of_the_search(plan, strategy, tmp_path):
    space = Space(units=Choice(4, 8), depth=Int(1, 3))
    search = Search(
        space, net, plan.splits, strategy, budget=4, epochs=2, directory=tmp_path / "search"
    )
    search.executor = "inline"

    def runner(plan, trial, link):
        raise ValueError("not trained")

    search.runner, search.progress = runner, "none"
    search.run()
    real = [trial.point for trial in search.snapshot().trials.values()]
    assert [each.point for each in rehearsed(search.task, 4)] == real


def test_the_rehearsal_of_hyperband_has_its_epochs(plan):
    task = task_of(plan, Space(units=Int(4, 90), depth=Int(1, 3)), "hyperband")
    task = replace(task, plan=replace(plan, epochs=9))
    found = rehearsed(task, 1000)
    seed = hashed_seed(0, "hyperband", 0)
    proposer, total = Proposer(task.space, "hyperband", "max", seed, 9), 0
    for number in range(1, len(found) + 1):
        proposal = proposer.ask(number)
        total += proposal.epochs - proposal.initial_epoch
        proposer.tell(number, float(number))
    assert proposer.ask(len(found) + 1).status == "done"
    assert sum(each.epochs for each in found) == total


def test_pruned_trials_end_at_rungs_and_the_rule_counts():
    whole = [9] * 30
    for seed in range(5):
        found = pruned_epochs(Pruning(), whole, seed)
        assert set(found) <= {1, 3, 9} and found[:2] == [9, 9]
    assert sum(pruned_epochs(Pruning("median"), whole)) > sum(pruned_epochs(Pruning(), whole))
    assert pruned_epochs(None, whole) == whole


def test_estimates_follow_what_was_measured():
    def sample(width, factor=1.0, **point):
        dry = {"multiply_adds": 10**6 * width, "activations": 10**4, "parameters": 10**4 * width}
        dry |= {"layers": 8, "pixels": 784, "batch": 32}
        found = {"start": 2.0, "step": factor * 0.01 * width, "valid_step": 0.003 * width}
        found |= {"epoch": 0.1, "save": 0.1, "weights": 4e4 * width, "memory": 9e8 + 1e6 * width}
        return Sample({"width": width, **point}, dry, found)

    known = [sample(width) for width in (1, 4, 16, 64)]
    for width in (2, 8, 32):
        cost = cost_of(known, {"width": width}, sample(width).dry)
        assert cost["step"] == pytest.approx(0.01 * width, rel=0.1)
        assert cost["memory"] == pytest.approx(9e8 + 1e6 * width, rel=0.05)
    assert misjudged(known) < 0.1
    noisy = [sample(w, f) for w, f in ((1, 3.0), (2, 1.0), (3, 3.0), (4, 1.0))]
    assert misjudged(noisy) > misjudged(known)
    kinds = [sample(4, 1.0, kind="a"), sample(8, 5.0, kind="b"), sample(16, 1.0, kind="a")]
    slow = cost_of(kinds, {"width": 4, "kind": "b"}, sample(4).dry)["step"]
    fast = cost_of(kinds, {"width": 4, "kind": "a"}, sample(4).dry)["step"]
    assert slow > 1.5 * fast


def test_the_pace_leaves_the_first_batch_out():
    assert pace([0.0, 50.0, 51.0, 52.0, 53.0]) == 1.0
    assert pace([0.0, 4.0]) == 4.0 and pace([]) == 0.0

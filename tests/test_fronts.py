"""Several objectives: the front, the mixture of an ask, and searches that go for both."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.budget import Budget
from imgrec.core import ImageSpec, OptionError, SearchError
from imgrec.course_plots import plot_front
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.engine import begin, note
from imgrec.fronts import Mixture, hypervolume, mixture_of, undominated
from imgrec.journal import Journal, read_journal
from imgrec.link import Outcome, weights_file
from imgrec.objectives import objectives_of
from imgrec.pareto import front_of, pareto
from imgrec.plan import Plan
from imgrec.pruning import Pruning, verdict
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
from imgrec.state import SearchState, TrialState, replay
from imgrec.task import Task, changes_since
from imgrec.turns import run_here
from imgrec.view import attached
from imgrec.why import along, why

BOTH = {"val_accuracy": "max", "parameters": "min"}
SPACE = Space(size=Float(1e2, 1e6, log=True), rate=Float(0.0, 1.0))
SPEC = ImageSpec(8, 8, 1, ("a", "b"))
DATA = SimpleNamespace(catalog=None, fingerprint="planted", settings={}, valid=True, spec=SPEC)


def dominates(one, other):
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


rows_of = st.integers(2, 3).flatmap(
    lambda wide: st.lists(st.tuples(*[st.integers(0, 4)] * wide), min_size=1, max_size=20)
)


@given(rows_of)
def test_the_front_is_exactly_what_nothing_dominates(rows):
    found = undominated(rows, ["min"] * len(rows[0]))
    assert found.tolist() == [not any(dominates(other, row) for other in rows) for row in rows]
    turned = undominated([[-value for value in row] for row in rows], ["max"] * len(rows[0]))
    assert turned.tolist() == found.tolist()


def test_what_is_not_known_is_never_better():
    assert undominated([[0.5, math.nan], [0.6, math.nan]], ["min", "min"]).tolist() == [True, False]
    assert undominated([], ["min", "max"]).tolist() == []


@given(rows_of, st.integers(0, 10**6))
def test_a_mixture_is_monotone_and_its_best_is_on_the_front(rows, seed):
    ways = dict.fromkeys("abc"[: len(rows[0])], "min")
    mixture = mixture_of(rows, ways, seed)
    assert sum(mixture.weights) == pytest.approx(1) and min(mixture.weights) >= 0
    mixed = mixture.of(rows)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if dominates(one, other):
                assert mixed[i] < mixed[j]
    assert undominated(rows, ["min"] * len(ways))[mixed.argmin()]


def test_a_mixture_takes_costs_as_factors_and_each_direction_as_it_is():
    values = [[0.9, 1e6], [0.5, 1e2], [0.7, 1e4]]
    mixture = Mixture(BOTH, (0.5, 0.5), mixture_of(values, BOTH, 0).ends)
    assert mixture.of(values)[:2] == pytest.approx([0.525, 0.525])
    assert mixture.of(values)[2] == pytest.approx(0.25 + 0.05 * 0.5)  # in the middle of both
    assert repr(mixture) == "a mixture of 0.50 val_accuracy and 0.50 parameters"
    equal = mixture_of([[0.9, 5], [0.9, 5]], BOTH, 1)
    assert np.isfinite(equal.of([[0.9, 5], [0.1, 50]])).all()


@given(rows_of)
def test_the_hypervolume_counts_the_cells_that_are_dominated(rows):
    wide = len(rows[0])
    cells = np.array(np.meshgrid(*[range(5)] * wide, indexing="ij")).reshape(wide, -1).T
    covered = (cells[:, None] >= np.array(rows)[None]).all(axis=2).any(axis=1).sum()
    assert hypervolume(rows, ["min"] * wide, [5] * wide) == pytest.approx(covered)


def test_objectives_that_cannot_be_are_refused():
    assert objectives_of(("val_loss", "seconds_per_epoch"))["seconds_per_epoch"] == "min"
    assert objectives_of("cost", "min") == {"cost": "min"}
    for wrong, words in (
        ("parameters", "smallest network"),
        (["multiply_adds", "val_accuracy"], "smallest network"),
        (["val_accuracy", "seconds"], "seconds_per_epoch"),
        (["val_accuracy", "params"], "Did you mean 'parameters'"),
        ("seconds_an_epoch", "Did you mean 'seconds_per_epoch'"),
        (["val_accuracy", "val_accuracy"], "different"),
        ([], "objectives"),
    ):
        with pytest.raises(OptionError, match=words):
            objectives_of(wrong)
    with pytest.raises(OptionError, match="val_accuracy"):
        objectives_of(["val_accuracy", "parameters"], {"val_acuracy": "max"})
    with pytest.raises(OptionError, match="for each"):
        objectives_of(["val_accuracy", "parameters"], ["max"])


def planted(point, epoch=9):
    "Larger is better, but not much; the best rate is 0.3."
    size = math.log10(point["size"])
    score = 0.4 + 0.08 * size - (point["rate"] - 0.3) ** 2
    return score * (1 - 0.5**epoch), float(round(point["size"]))


def pretend(plan, trial, link):
    "Stands in for a training."
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        score, size = planted(trial.point, epoch)
        link.report(epoch, {"val_accuracy": score, "parameters": size}, 0.5)
    return Outcome(link.score, link.best_epoch, 1.0)


def never(spec, size, rate):
    raise AssertionError("nothing is built here")


def task_in(directory, strategy, trials=8, others=(("parameters", "min"),)):
    plan = Plan(never, DATA, epochs=4, others=dict(others))
    return Task(plan, SPACE, strategy, 3, Budget(trials=trials), Path(directory))


def run(task, runner=pretend):
    with Journal(task.directory / "journal.log") as journal:
        engine = begin(task, journal)
        reason = run_here(engine, runner)
        note(engine, "search_stopped", {"reason": reason, "fatal": engine.fatal})
    return engine


def points_of(state):
    return [(trial.point, trial.parent, trial.score) for trial in state.trials.values()]


@pytest.mark.parametrize("strategy", ["bayesian", "bayesian_halving"])
def test_cut_off_anywhere_a_search_asks_for_the_same_points(tmp_path, strategy):
    whole = run(task_in(tmp_path / "whole", strategy)).state
    lines = (tmp_path / "whole" / "journal.log").read_bytes().splitlines(keepends=True)
    alone = run(task_in(tmp_path / "alone", strategy, others=())).state
    assert [p[0] for p in points_of(alone)] != [p[0] for p in points_of(whole)]
    for cut in (len(lines) * 2 // 3, len(lines) - 3):
        task = task_in(tmp_path / f"cut-{cut}", strategy)
        task.directory.mkdir()
        (task.directory / "journal.log").write_bytes(b"".join(lines[:cut]))
        assert points_of(run(task).state) == points_of(whole)


def leaves_weights(plan, trial, link):
    "Stands in for a training that keeps weights."
    outcome = pretend(plan, trial, link)
    link.files.best.parent.mkdir(exist_ok=True)
    link.files.best.write_bytes(bytes(100_000))
    return outcome


@pytest.mark.parametrize(("room", "whole"), [(None, True), (1.15e-3, False)])
def test_the_weights_of_a_front_stay_while_there_is_room(tmp_path, room, whole):
    task = task_in(tmp_path, "random", trials=40)
    task = replace(task, budget=Budget(trials=40, disk_gb=room))
    state = run(task, leaves_weights).state
    front = set(front_of(state)["trial"])
    best = {trial.trial for trial in sorted(state.scored, key=state.rank)[: task.keep]}
    kept = {int(path.name.split("-")[0]) for path in (tmp_path / "weights").iterdir()}
    assert len(state.trials) == 40 and len(front - best) >= 3
    assert kept == (best | front if whole else best)


@pytest.mark.parametrize("strategy", ["random", "grid", "halving", "hyperband"])
def test_strategies_without_a_model_only_note_the_others(tmp_path, strategy):
    several = run(task_in(tmp_path / "several", strategy, trials=6)).state
    alone = run(task_in(tmp_path / "alone", strategy, trials=6, others=())).state
    assert points_of(several) == points_of(alone)
    for trial in several.trials.values():
        assert trial.scores == {"parameters": planted(trial.point)[1]}
    assert not any(trial.scores for trial in alone.trials.values())
    assert "objectives" not in alone.settings and several.settings["objectives"] == BOTH


def test_the_front_holds_the_best_and_nothing_that_is_beaten(tmp_path):
    run(task_in(tmp_path, "random", trials=12))
    view = attached(tmp_path)
    front, state = view.front(), view.snapshot()
    assert front["trial"].iloc[0] == view.best().trial
    sizes = front["parameters"].to_list()
    assert sizes == sorted(sizes, reverse=True) and front["val_accuracy"].is_monotonic_decreasing
    results = view.results().set_index("trial")
    assert results["parameters"].notna().all() and list(results).count("parameters") == 1
    for number in set(results.index) - set(front["trial"]):
        row = results.loc[number]
        better = (front["val_accuracy"] >= row["score"]) & (
            front["parameters"] <= row["parameters"]
        )
        assert better.any()
    ax = plot_front(pareto(state))
    assert ax.get_xscale() == "linear" and ax.get_yscale() == "log"
    assert ax.lines[1].get_drawstyle() == "steps-pre"  # x is to be large


def test_neighbours_within_noise_are_named():
    curve = ({"epoch": 1, "seconds": 1.0, "parameters": 9.0},)
    told = {"status": "finished", "best_epoch": 1, "error": 0.02}
    state = SearchState({}, {"objective": "val_accuracy", "direction": "max", "objectives": BOTH})
    for number, (score, size) in enumerate([(0.9, 9.0), (0.85, 8.0), (0.6, 7.0)], start=1):
        at = ({**curve[0], "parameters": size},)
        state.trials[number] = TrialState(number, {}, 0, 1, score=score, curve=at, **told)
    assert front_of(state)["within_noise_of"].tolist() == ["2", "1", ""]


def test_why_says_the_weights_of_an_ask(tmp_path):
    run(task_in(tmp_path, "bayesian"))
    first, second = why(tmp_path, 7), why(tmp_path, 8)
    told = repr(first)
    assert f"each {first.surrogate.mixture}" in told and "expected: mixture" in told
    assert first.surrogate.mixture.weights != second.surrogate.mixture.weights
    assert "asked again" not in told + repr(second)  # it finds the points that were asked for
    assert 0 <= first.below <= 1
    mixture, after = first.surrogate.mixture, first.after
    assert first.reached == mixture.of([[after.score, after.scores["parameters"]]])[0]
    assert along(first, "rate")["mean"].between(-1, 2).all()
    alone = why(tmp_path, 2)
    assert alone.surrogate is None and alone.unit == "val_accuracy"


def test_an_objective_that_nobody_logs_ends_the_search_at_once(tmp_path):
    engine = run(task_in(tmp_path, "random", others=[("val_recall", "max")]))
    assert "Unknown objective 'val_recall'" in engine.fatal and len(engine.state.trials) == 1


def test_other_objectives_are_a_difference_and_old_trials_are_evidence(tmp_path):
    task = task_in(tmp_path, "bayesian", trials=6)
    run(replace(task, plan=replace(task.plan, others={})))
    state = replay(read_journal(tmp_path / "journal.log").events)
    assert any("objectives" in line for line in changes_since(task, state))
    shutil.copytree(tmp_path, tmp_path / "copy")
    engine = run(replace(task, budget=Budget(trials=7)))
    assert len(engine.state.trials) == 7
    mixture = why(tmp_path, 7).surrogate.mixture  # from scores that nobody had asked for then
    assert list(mixture.ways) == list(BOTH)
    assert changes_since(task, engine.state) == []


def curved(state, number, score, size, epoch=1):
    at = {"epoch": epoch, "seconds": 1.0, "val_accuracy": score, "parameters": size}
    state.trials[number] = TrialState(number, {}, 0, 9, status="running", curve=(at,))


def test_only_what_another_trial_beats_in_all_is_given_up():
    several = {"objective": "val_accuracy", "direction": "max", "objectives": BOTH}
    for settings, small in ((several, ""), ({**several, "objectives": {}}, "after epoch 1")):
        state = SearchState(settings=settings)
        for number, size in enumerate([9e5, 8e5, 7e5, 6e5], start=1):
            curved(state, number, 0.9 - number / 100, size)
        curved(state, 5, 0.5, 1e3)
        assert verdict(Pruning(), state, 5).startswith(small) and bool(small) == bool(
            verdict(Pruning(), state, 5)
        )
        curved(state, 6, 0.5, 9e5)
        assert "not among the best" in verdict(Pruning(), state, 6)
        curved(state, 7, 0.95, 1e6)
        assert verdict(Pruning(), state, 7) == ""


def tiny(spec, units):
    inputs = keras.Input(spec.shape)
    x = keras.layers.Dense(units)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(spec.classes, activation="softmax")(x))


def test_a_training_logs_what_its_network_costs(tmp_path):
    few = load(digits().sample(per_class=3).split(seed=0), image_size=4)
    wanted = ["val_accuracy", "parameters", "multiply_adds", "seconds_per_epoch", "val_loss"]
    how = {"epochs": 2, "budget": 2, "executor": "inline", "progress": "none"}
    about = (Space(units=Choice(2, 4)), tiny, few, "grid")
    search = Search(*about, objective=wanted, directory=tmp_path, **how).run()
    table = search.results()
    assert table["parameters"].tolist() == [16 * n + n + 10 * n + 10 for n in (2, 4)]
    assert table["multiply_adds"].tolist() == [26 * n for n in (2, 4)]
    assert (table["seconds_per_epoch"] > 0).all() and table["val_loss"].notna().all()
    assert search.best().trial in search.front()["trial"].tolist()
    for number in search.front()["trial"]:
        assert search.best_model(number).count_params() == table["parameters"][number - 1]
    lost, other = search.best().trial, 3 - search.best().trial
    weights_file(tmp_path, lost, "best").unlink()
    with pytest.raises(SearchError, match=rf"of trials {other}, not of {lost}; winner\("):
        search.best_model()
    assert search.best().objective == "val_accuracy" and search.to_code().count("monitor=") == 1
    with pytest.raises(SearchError, match="val_loss"):
        Search(*about, objective=wanted[:2], directory=tmp_path, **how)
    with pytest.raises(OptionError, match="smallest network"):
        Search(*about, objective="parameters", directory=tmp_path / "other", **how)

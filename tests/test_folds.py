"""A trial as several trainings: folds that part nothing, and runs that are trained once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until

from imgrec import trials as trials_page
from imgrec.budget import Budget
from imgrec.catalog import Catalog
from imgrec.core import CatalogError, OptionError, SearchError
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.engine import LOOK
from imgrec.journal import read_journal
from imgrec.link import Outcome
from imgrec.packed import Decoder
from imgrec.pruning import Pruning
from imgrec.repeats import folded, in_folds, kept_together, run_seed, splits_of_run
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
from imgrec.state import replay
from imgrec.task import changes_since
from imgrec.votes import votes_of

SPACE = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)
SCRIPT = Path(__file__).with_name("scripted.py")


@pytest.fixture(scope="module")
def catalog():
    return digits().sample(per_class=9, seed=0).split(valid=0.3, test=0.2, seed=0)


@pytest.fixture(scope="module")
def few(catalog):
    return load(catalog, image_size=8, augment="none")


def a_search(data, directory, strategy="random", **options):
    how = {"budget": 4, "epochs": 3, "progress": "none", "executor": "inline"} | options
    return Search(SPACE, "small_cnn", data, strategy, directory=directory, **how)


def events(directory, *names):
    "What a journal holds by now, or only the events of these names."
    path = Path(directory) / "journal.log"
    found = read_journal(path).events if path.exists() else []
    return [event for event in found if not names or event["event"] in names]


# ---- folds


def a_catalog(rng, classes, patients):
    "A catalog of made-up files, each class of its own size, some bad, and perhaps patients."
    sizes = rng.integers(12, 40, size=classes)
    labels = np.repeat([f"class {n}" for n in range(classes)], sizes)
    table = pd.DataFrame({"file": [f"{n}.png" for n in range(len(labels))], "label": labels})
    table["ok"] = rng.random(len(table)) > 0.05
    if patients:
        table["patient"] = rng.integers(0, 3 * len(table) // 4, size=len(table))
    names = tuple(sorted(set(labels)))
    return Catalog(table, names).split(0.2, 0.2, group="patient" if patients else None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**20), classes=st.integers(2, 5), folds=st.integers(2, 6))
@pytest.mark.parametrize("patients", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_picture_is_validated_once_and_nothing_that_belongs_together_is_parted(
    patients, seed, classes, folds
):
    given_one = a_catalog(np.random.default_rng(seed), classes, patients)
    found = folded(given_one, folds, seed)
    before, after = given_one.table, found.table
    assert after["split"].eq("test").equals(before["split"].eq("test")), "the test part stays"
    inside = before["split"].isin(["train", "valid"])
    validated = sum(found.fold(n).table["split"].eq("valid").astype(int) for n in range(folds))
    assert (validated[inside & (after["fold"] >= 0)] == 1).all()
    assert not validated[~inside].any(), "neither pictures of the test, nor bad ones"
    for number in range(folds):
        parts = found.fold(number).table["split"]
        assert parts[inside].isin(["train", "valid"]).all(), "what is not validated is trained on"
    sizes = after[after["fold"] >= 0].groupby(["label", "fold"]).size().unstack(fill_value=0)
    if patients:
        assert kept_together(before) == ["patient"]
        assert after[after["fold"] >= 0].groupby("patient")["fold"].nunique().max() == 1
    else:
        assert (validated[inside] == 1).all()
        assert (sizes.max(axis=1) - sizes.min(axis=1) <= 1).all(), "classes within one picture"
    assert folded(given_one, folds, seed).table["fold"].equals(after["fold"])


def test_another_seed_makes_other_folds_and_given_folds_stay(catalog):
    one, other = (folded(catalog, 3, seed).table["fold"] for seed in (0, 1))
    assert not one.equals(other)
    mine = catalog.split(folds=3, seed=5)
    assert folded(mine, 3, 0).table["fold"].equals(mine.table["fold"])
    with pytest.raises(CatalogError, match="in 3 folds, and 4 are asked for"):
        folded(mine, 4)


def test_duplicates_stay_together(catalog):
    twins = catalog.table.assign(duplicate_group=np.arange(len(catalog)) // 3)
    doubled = Catalog(twins, catalog.class_names, None, catalog.arrays).split(0.3, 0.2, keep=[])
    table = folded(doubled, 3).table.query("fold >= 0")
    assert table.groupby("duplicate_group")["fold"].nunique().max() == 1


def test_a_column_that_the_split_has_parted_joins_nothing(catalog):
    room = catalog.table.assign(room=np.arange(len(catalog)) % 5, alone=range(len(catalog)))
    assert kept_together(room) == []
    lists = room.assign(room=[[1]] * len(room))
    assert kept_together(lists) == [], "values that cannot be compared"
    hospital = room.assign(room=room["split"])
    with pytest.raises(CatalogError, match="'room' were kept together"):
        folded(Catalog(hospital, catalog.class_names, None, catalog.arrays), 5)


def test_folds_share_what_was_decoded(catalog, monkeypatch):
    decoded, fill = [], Decoder.fill
    monkeypatch.setattr(Decoder, "fill", lambda *a: decoded.append(len(a[1])) or fill(*a))
    first = in_folds(load(catalog, image_size=9), 3)
    assert sum(decoded) == len(catalog)
    plan = trials_page.Plan("small_cnn", first, folds=3)
    later = [splits_of_run(plan, first, run, run_seed(0, run)) for run in (2, 3)]
    assert all(each.packed is first.packed for each in later) and sum(decoded) == len(catalog)
    files = [path for each in (first, *later) for path in each.valid.file_paths]
    assert len(files) == len(set(files)) == (catalog.table["split"] != "test").sum()


def test_what_cannot_be_is_said(few, catalog, tmp_path):
    for wrong in ({"folds": 1}, {"folds": "5"}, {"executions_per_trial": 0}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))} must be a whole number"):
            a_search(few, tmp_path, **wrong)
    with pytest.raises(OptionError, match="cannot go together"):
        a_search(few, tmp_path, folds=3, executions_per_trial=2)
    arrays = (np.zeros((8, 8, 8, 1)), np.arange(8) % 2)
    with pytest.raises(SearchError, match=r"Catalog\.from_arrays"):
        a_search((arrays, arrays), tmp_path, folds=2)
    with pytest.raises(CatalogError, match="is not split"):
        a_search(digits().sample(per_class=3), tmp_path, folds=2)
    assert a_search(catalog.split(folds=2), tmp_path, folds=2).plan.splits.valid is not None


# ---- runs that cost nothing


def a_run(plan, trial, link, splits):
    "Stands in for one of several trainings: what it comes to depends on its seed."
    luck = random.Random(trial.seed).uniform(0, 0.05)
    score = 1 / (1 + abs(np.log10(trial.point["learning_rate"]) + 2)) + luck
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        link.check()
        link.report(epoch, {plan.objective: score - 0.1 / epoch}, 0.0)
    for path in (link.files.best, link.files.last):
        if path is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(link.run))
    if link.files.parent is not None:
        assert link.files.parent.read_text() == str(link.run), "each run continues its own"
    return Outcome(link.score, link.best_epoch, 0.0)


@pytest.fixture
def free(monkeypatch):
    "Trainings that cost nothing."
    monkeypatch.setattr(trials_page, "_once", a_run)


def test_a_score_is_the_mean_of_runs_and_the_best_weights_are_kept(few, tmp_path, free):
    search = a_search(few, tmp_path, executions_per_trial=4, keep=4).run()
    state = search.snapshot()
    for trial in state.trials.values():
        scores = [run["score"] for run in trial.runs]
        assert [run["run"] for run in trial.runs] == [1, 2, 3, 4] and len(set(scores)) == 4
        assert trial.score == pytest.approx(np.mean(scores))
        kept = (tmp_path / "weights" / f"{trial.trial}-best.weights.h5").read_text()
        assert kept == str(int(np.argmax(scores)) + 1)
    assert len(list((tmp_path / "weights").iterdir())) == 4, "no weights of other runs"
    best = search.best()
    assert (best.runs, best.score) == (4, search.results()["score"].max())
    assert search.results()["runs"].tolist() == [4] * 4
    assert f"mean of 4 runs, weights of run {best.run}" in repr(best)


def test_the_first_run_is_the_trial_that_would_have_been(few, tmp_path, free):
    once = a_search(few, tmp_path / "once")
    once.runner = lambda plan, trial, link: a_run(plan, trial, link, None)
    thrice = a_search(few, tmp_path / "thrice", executions_per_trial=3).run()
    first = [trial.runs[0]["score"] for trial in thrice.snapshot().trials.values()]
    assert once.run().results()["score"].tolist() == first
    assert "runs" not in once.results()
    assert not any("run" in event for event in events(tmp_path / "once"))


def test_a_journal_says_which_run_an_epoch_belongs_to_and_replay_rebuilds_it(few, tmp_path, free):
    search = a_search(few, tmp_path, executions_per_trial=2, budget=2).run()
    told = [(e["trial"], e["run"], e["epoch"]) for e in events(tmp_path, "epoch_ended")]
    assert told == [(t, r, e) for t in (1, 2) for r in (1, 2) for e in (1, 2, 3)]
    trials = replay(events(tmp_path)).trials
    assert trials == search.snapshot().trials
    assert [len(trial.curve) for trial in trials.values()] == [3, 3]
    assert [(e["run"], e["epoch"]) for e in trials[1].later] == [(2, 1), (2, 2), (2, 3)]


def test_a_pruned_trial_trains_no_further_run(few, tmp_path, free):
    rule = Pruning("median", least=2)
    search = a_search(few, tmp_path, executions_per_trial=3, budget=8, pruning=rule).run()
    state = search.snapshot()
    pruned = state.with_status("pruned")
    assert pruned and state.with_status("finished")
    for trial in pruned:
        assert (trial.runs, trial.later) == ((), ())
        assert trial.score == max(point["val_accuracy"] for point in trial.curve)
    assert all(len(trial.runs) == 3 for trial in state.with_status("finished"))
    assert len(state.best.runs) == 3


def test_a_trial_that_lacks_runs_is_behind_one_that_has_all(few, tmp_path, monkeypatch):
    def run(plan, trial, link, splits):
        score = {1: 0.9, 2: 0.7}[trial.trial]
        link.report(1, {plan.objective: score}, 0.0)
        if (trial.trial, link.run) == (1, 2):
            search.skip(1)
            while True:
                link.check()
                time.sleep(0.01)
        return Outcome(score, 1, 0.0)

    monkeypatch.setattr(trials_page, "_once", run)
    search = a_search(few, tmp_path, executions_per_trial=3, budget=2)
    first, second = search.run().snapshot().trials.values()
    assert (first.status, first.reason, len(first.runs)) == ("pruned", "skipped by hand", 1)
    assert (first.score, second.status) == (0.9, "finished")
    assert second.score == pytest.approx(0.7)
    assert search.best().trial == 2, "a mean of one is no mean of three"


def test_stopped_in_its_second_run_a_trial_goes_on_there(few, tmp_path, monkeypatch):
    trained = []

    def run(plan, trial, link, splits):
        trained.append((trial.trial, link.run))
        if len(trained) == 2:
            search.stop()
            time.sleep(2 * LOOK)  # commands are looked for so often
        return a_run(plan, trial, link, splits)

    monkeypatch.setattr(trials_page, "_once", run)
    search = a_search(few, tmp_path, executions_per_trial=3, budget=1)
    cut = search.run().snapshot().trials[1]
    assert cut.status == "interrupted" and len(cut.runs) == 1
    assert cut.score == cut.runs[0]["score"]
    whole = search.run().snapshot().trials[1]
    assert whole.status == "finished"
    assert trained == [(1, 1), (1, 2), (1, 2), (1, 3)]


def test_a_limit_of_time_is_for_all_runs_of_a_trial(few, tmp_path, monkeypatch):
    def run(plan, trial, link, splits):
        for epoch in range(1, 4):
            time.sleep(0.1)
            link.report(epoch, {plan.objective: 0.5}, 0.1)
        return Outcome(0.5, 1, 0.3)

    monkeypatch.setattr(trials_page, "_once", run)
    brief = Budget(trials=1, trial_minutes=0.5 / 60)  # each run takes 0.3 s
    trial = a_search(few, tmp_path, folds=5, budget=brief).run().snapshot().trials[1]
    assert (trial.status, len(trial.runs)) == ("pruned", 1) and "took" in trial.reason


def test_hyperband_continues_each_run_with_its_own_weights(few, tmp_path, free):
    how = {"executions_per_trial": 2, "budget": None, "epochs": 4}
    state = a_search(few, tmp_path, "hyperband", **how).run().snapshot()
    assert not state.with_status("failed")
    continued = [trial for trial in state.trials.values() if trial.parent]
    assert continued and all(len(trial.runs) == 2 for trial in state.trials.values())


def test_another_number_of_runs_is_another_search_and_old_journals_have_one(few, tmp_path, free):
    a_search(few, tmp_path, executions_per_trial=2, budget=1).run()
    with pytest.raises(SearchError, match="executions_per_trial: 2 became 3"):
        a_search(few, tmp_path, executions_per_trial=3)
    with pytest.raises(SearchError, match="executions_per_trial: 2 became 1; folds: None became 3"):
        a_search(few, tmp_path, folds=3)
    how = {"executions_per_trial": 3, "if_exists": "continue", "budget": 2}
    more = a_search(few, tmp_path, **how).run().snapshot()
    assert [len(trial.runs) for trial in more.trials.values()] == [2, 3]
    old = replay(events(tmp_path)[:2])
    for name in ("executions_per_trial", "folds"):
        del old.settings[name]
    assert changes_since(a_search(few, tmp_path / "new").task, old) == []


def test_killed_at_any_moment_no_run_is_lost_or_trained_twice():
    command = [sys.executable, str(SCRIPT), "repeated", "0", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["kills"] >= 12


# ---- real trainings


def test_folds_of_real_trainings_are_judged_by_all_pictures(few, tmp_path):
    search = a_search(few, tmp_path, folds=2, budget=2, epochs=2).run()
    state, count = search.snapshot(), int((few.catalog.table["split"] != "test").sum())
    for trial in state.trials.values():
        votes = votes_of(tmp_path, trial.trial)
        assert (votes.runs, votes.n, len(set(votes.pictures))) == (1, count, count)
        assert trial.error > 0 and len(trial.runs) == 2
        names = few.catalog.table["label"].iloc[votes.pictures].tolist()
        assert names == [few.spec.class_names[number] for number in votes.true]
    found = search.standing()
    assert found.pictures == count and len(found.table) == 2
    best, trial = search.best(), state.trials[search.best().trial]
    model, plan = search.best_model(), search.plan
    own = splits_of_run(plan, plan.splits, best.run, run_seed(trial.seed, best.run))
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    score = model.evaluate(own.valid, verbose=0)[1]
    assert score == pytest.approx(trial.runs[best.run - 1]["score"], abs=1e-6)
    assert "in 2 folds" in search.to_code()
    won = search.winner(seeds=1, test=False)
    most = round(np.median([run["best_epoch"] for run in trial.runs]) + 0.01)
    assert won.standing.best == best.trial and 1 <= won.epochs <= most


def test_a_real_search_killed_in_its_second_fold_goes_on_there(few, tmp_path):
    how = {"folds": 2, "budget": 1, "epochs": 8}
    search = a_search(few, tmp_path, executor="processes", workers=1, **how).start()
    later = until(lambda: [e for e in events(tmp_path, "epoch_ended") if e["run"] == 2], 120)
    assert later[0]["epoch"] == 1
    engine = psutil.Process(search.process.pid)
    crew = engine.children()
    os.kill(engine.pid, signal.SIGKILL)
    search.process.wait()
    psutil.wait_procs(crew, timeout=20)
    begun = (tmp_path / "running" / "1" / "run-2").exists()
    before = [(e["run"], e["epoch"]) for e in events(tmp_path, "epoch_ended")]
    assert before[-1][0] == 2 and not (tmp_path / "running" / "1" / "run-1").exists()
    search = a_search(few, tmp_path, executor="processes", workers=1, **how).run()
    after = [(e["run"], e["epoch"]) for e in events(tmp_path, "epoch_ended")][len(before) :]
    assert min(run for run, _ in after) == 2, "the first fold is not trained again"
    assert begun and after[0][1] >= before[-1][1] - 1, "nor what was done of the second"
    trial = search.snapshot().trials[1]
    assert (trial.status, trial.starts, len(trial.runs)) == ("finished", 2, 2)
    assert len(events(tmp_path, "run_ended")) == 2
    assert not (tmp_path / "running" / "1").exists()
    assert votes_of(tmp_path, 1).n == (few.catalog.table["split"] != "test").sum()

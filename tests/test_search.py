"""A search survives what happens to its process, and proposes as if nothing had happened."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from imgrec.budget import Budget
from imgrec.commands import send, waiting
from imgrec.core import DataError, ImgrecError, JournalError, SearchError
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.insight import (
    brackets,
    importance,
    learning_curves,
    pairs,
    parallel_table,
    pareto,
    slices,
    timeline,
)
from imgrec.insight_plots import plot_slice
from imgrec.journal import Journal, read_journal, rescue
from imgrec.link import BEGINS, Link, Outcome
from imgrec.plan import model_of, splits_of
from imgrec.reports import search_facts, search_text
from imgrec.search import Search
from imgrec.space import Choice, Fixed, Float, Int, Space
from imgrec.state import replay
from imgrec.trials import run_trial
from imgrec.view import attached

SPACE = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=Int(1, 2))
STRATEGIES = ("random", "grid", "bayesian", "hyperband", "bayesian_halving")


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def score_of(point, epochs):
    "A made-up landscape: a trial costs nothing."
    return 1 / (1 + abs(point["learning_rate"] - 0.01)) + 0.01 * point["depth"] + 0.001 * epochs


def pretend(plan, trial, link):
    "Stands in for a training: reports its epochs and gives its score."
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        link.check()
        link.report(epoch, {plan.objective: score_of(trial.point, epoch)}, 0.0)
    if trial.trial % 3 == 0:
        raise ValueError("this one fails")
    return Outcome(score_of(trial.point, trial.epochs), trial.epochs, 0.0)


def a_search(few, directory, strategy="random", budget=8, **options):
    options = {"epochs": 4, "progress": "none", "executor": "inline"} | options
    search = Search(
        SPACE, "small_cnn", few, strategy, budget=budget, directory=directory, **options
    )
    search.runner = pretend
    return search


def trials_of(search):
    return [(t.point, t.status, t.score, t.parent) for t in search.snapshot().trials.values()]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_in_two_pieces_proposes_what_one_piece_proposes(few, tmp_path, strategy):
    whole = a_search(few, tmp_path / "whole", strategy).run()
    a_search(few, tmp_path / "pieces", strategy, budget=3).run()
    pieces = a_search(few, tmp_path / "pieces", strategy).run()
    assert trials_of(pieces) == trials_of(whole)
    assert len({str(t[0]) for t in trials_of(whole)}) > 3, "the points differ"


def test_another_seed_gives_other_points(few, tmp_path):
    points = [trials_of(a_search(few, tmp_path / str(s), seed=s).run()) for s in (0, 1)]
    assert points[0] != points[1]


def test_the_state_is_the_replay_of_the_journal(few, tmp_path):
    search = a_search(few, tmp_path).run()
    again = replay(read_journal(tmp_path / "journal.log").events)
    assert again.trials == search.snapshot().trials
    assert again.status == "stopped" and again.reason == "done"


def test_a_failing_trial_is_noted_and_the_others_go_on(few, tmp_path):
    results = a_search(few, tmp_path).run().results()
    failed = results[results["status"] == "failed"]
    assert len(results) == 8 and len(failed)
    assert failed["reason"].str.contains("this one fails").all()
    assert failed["score"].isna().all()


def test_the_best_is_the_best_and_lower_is_better_for_a_loss(few, tmp_path):
    up = a_search(few, tmp_path / "up").run()
    assert up.best().score == up.results()["score"].max()
    down = a_search(few, tmp_path / "down", objective="val_loss").run()
    assert down.best().score == down.results()["score"].min()


def test_changed_work_is_listed_and_the_old_search_is_kept(few, tmp_path):
    a_search(few, tmp_path / "s", budget=2).run()
    with pytest.raises(SearchError, match="epochs: 4 became 5"):
        a_search(few, tmp_path / "s", epochs=5)
    new = a_search(few, tmp_path / "s", budget=2, epochs=5, if_exists="new").run()
    assert new.results()["epochs"].tolist() == [5, 5]
    old = replay(read_journal(tmp_path / "s-old-1" / "journal.log").events)
    assert [t.epochs for t in old.trials.values()] == [4, 4]


def test_continuing_changed_work_keeps_finished_trials(few, tmp_path):
    first = trials_of(a_search(few, tmp_path, budget=3).run())
    more = a_search(few, tmp_path, budget=5, epochs=5, if_exists="continue").run()
    assert trials_of(more)[:3] == first
    assert [t.epochs for t in more.snapshot().trials.values()] == [4, 4, 4, 5, 5]


def test_stop_from_another_thread_leaves_a_trial_that_is_run_again(few, tmp_path):
    search = a_search(few, tmp_path, budget=3)
    reached = threading.Event()

    def slow(plan, trial, link):
        reached.set()
        while True:
            link.check()
            time.sleep(0.01)

    search.runner = slow
    thread = threading.Thread(target=search.run)
    thread.start()
    assert reached.wait(10)
    search.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert [t.status for t in search.snapshot().trials.values()] == ["interrupted"]
    after = a_search(few, tmp_path, budget=3).run()
    assert after.results()["status"].isin(["finished", "failed"]).all()
    assert after.snapshot().trials[1].starts == 2


def test_a_view_waits_for_a_search_that_begins_but_not_for_one_that_has_failed(tmp_path):
    log, journal = tmp_path / "engine.log", tmp_path / "journal.log"
    with pytest.raises(SearchError, match="no journal"):
        attached(tmp_path)
    log.write_text("loading")
    later = threading.Timer(0.3, journal.touch)
    later.start()
    assert attached(tmp_path).snapshot().status == "empty"
    journal.unlink()
    log.write_text("Traceback (most recent call last): ...")
    with pytest.raises(SearchError, match="no journal"):
        attached(tmp_path)
    with log.open("a") as file:
        file.write(f"\n{BEGINS} 2026-01-01 00:00:00\nloading")
    later = threading.Timer(0.3, journal.touch)
    later.start()
    assert attached(tmp_path).snapshot().status == "empty", "the one before had failed"


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "budget", "budget": {"trials": 3}, "n": 5, "event": "a", "spent": -1}',
        '{"command": "enqueue", "point": {"width": 2, "depth": 1, "learning_rate": NaN}}',
        '{"command": "budget", "budget": {"trials": 1e999}}',
        '{"command": ["stop"], "id": 7}',
        '{"command": "drop"}',
        '{"command": "enqueue", "point": {"width": 2, "depth": 1, "learning_rate": 1'
        + "0" * 400
        + "}}",
        "[" * 100_000,
        "[]",
        "{",
    ],
)
def test_a_command_that_somebody_has_written_by_hand_does_no_harm(few, tmp_path, text):
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "1-by-hand.json").write_text(text)
    (tmp_path / "commands" / "2-a-folder.json").mkdir()
    point = {"width": 4, "depth": 2, "learning_rate": 0.05}
    send(tmp_path, "enqueue", point=point)
    search = a_search(few, tmp_path, budget=2).run()
    assert search.snapshot().trials[1].point == point, "it is not dropped by another one's command"
    events = read_journal(tmp_path / "journal.log").events
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    _, told = (event for event in events if event["event"] == "command")
    assert bool(told["refused"]) == ("spent" not in text) and told["id"] == "1-by-hand"
    assert len(search.results()) == (2 if told["refused"] else 3)


def test_a_network_that_is_built_by_its_first_batch_is_trained(few, tmp_path):
    def lazy(spec, width):
        layers = [keras.layers.Flatten(), keras.layers.Dense(width)]
        return keras.Sequential([*layers, keras.layers.Dense(spec.classes, "softmax")])

    how = {"epochs": 1, "executor": "inline", "progress": "none", "directory": tmp_path}
    found = Search(Space(width=Choice(2, 4)), lazy, few, "grid", budget=2, **how).run().results()
    assert found["status"].tolist() == ["finished"] * 2, found["reason"].tolist()
    assert found["parameters"].tolist() == [64 * n + n + 10 * n + 10 for n in (2, 4)]


def test_commands_keep_their_order_when_the_clock_is_set_back(tmp_path, monkeypatch):
    times = iter([5_000, 3_000, 4_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(times, 9_000))
    for command in ("pause", "unpause", "stop"):
        send(tmp_path, command)
    assert [told["command"] for _, told in waiting(tmp_path)] == ["pause", "unpause", "stop"]


def test_a_torn_end_is_cut_off_and_said(few, tmp_path, capsys):
    first = trials_of(a_search(few, tmp_path, budget=2).run())
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"n": 99, "ev')
    search = a_search(few, tmp_path, budget=3, progress="auto")
    assert "13 bytes of a line that a crash has torn are cut off" in capsys.readouterr().out
    assert trials_of(search.run())[:2] == first and len(search.results()) == 3


def test_failures_in_a_row_end_a_search_that_wants_it_so(few, tmp_path):
    def broken(plan, trial, link):
        raise ValueError("no")

    for most, count, reason in ((3, 3, "3 trials failed in a row"), (None, 8, "done")):
        search = a_search(few, tmp_path / str(most), budget=Budget(trials=8, failures=most))
        search.runner = broken
        assert (len(search.run().results()), search.snapshot().reason) == (count, reason)


def test_other_pictures_another_helper_and_other_options_are_another_search(few, tmp_path):
    def options(rate):
        return lambda: {"weight_decay": rate}

    a_search(few, tmp_path, budget=1, fit_options=options(0.1)).run()
    a_search(few, tmp_path, budget=1, fit_options=options(0.1))
    with pytest.raises(SearchError, match="fit_options"):
        a_search(few, tmp_path, budget=1, fit_options=options(0.2))
    table = few.catalog.table
    other = replace(few.catalog, table=table.assign(label=table["label"].to_numpy()[::-1]))
    with pytest.raises(SearchError, match=r"differs: data \(pictures, labels or parts\)"):
        a_search(load(other, image_size=8), tmp_path, budget=1, fit_options=options(0.1))


def test_a_failure_is_one_line_without_colours(few, tmp_path):
    def colourful(plan, trial, link):
        raise ValueError("\x1b[1mtoo\n  wide\x1b[0m")

    search = a_search(few, tmp_path, budget=4)
    search.runner = colourful
    (first, *_) = search.run().snapshot().trials.values()
    assert first.reason == "ValueError: too wide"
    assert "u001b" not in (tmp_path / "journal.log").read_text()  # as JSON writes it


def test_a_hint_comes_once_after_three_failures_and_no_score(few, tmp_path, capsys):
    def broken(plan, trial, link):
        raise ValueError("no")

    search = a_search(few, tmp_path, budget=5, progress="auto")
    search.runner = broken
    search.run()
    assert capsys.readouterr().out.count("stop() ends the search") == 1
    assert search.results()["status"].tolist() == ["failed"] * 5, "it goes on"


def test_a_point_by_hand_comes_back_with_its_defaults(few, tmp_path):
    search = a_search(few, tmp_path, budget=1).run()
    whole = attached(tmp_path).enqueue({"depth": 2})
    assert whole == search.space.defaults() | {"depth": 2}
    with pytest.raises(SearchError, match="A point is"):
        attached(tmp_path).enqueue(["depth", 2])


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_an_odd_seed_is_named(few, tmp_path, seed):
    with pytest.raises(ImgrecError, match="seed must be a whole number"):
        a_search(few, tmp_path, seed=seed)


def test_what_makes_no_models_is_named(few):
    model = model_of("small_cnn", few.spec, {"width": 4, "depth": 1}, 0)
    for build, words in ((3, "received 3"), (model, "made already")):
        with pytest.raises(ImgrecError, match=words):
            Search(SPACE, build, few)


def test_what_cannot_go_to_another_process_is_named_before_any_is_started(few, tmp_path):
    lock = threading.Lock()
    options = {"executor": "processes", "fit_options": lambda: {"callbacks": [lock]}}
    with pytest.raises(SearchError, match="fit_options cannot be sent"):
        a_search(few, tmp_path / "s", **options).start()
    assert not (tmp_path / "s" / "engine.log").exists()


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_a_place_where_no_search_can_be_is_named(few, tmp_path, executor):
    (tmp_path / "notes.txt").write_text("mine")
    for place in ("notes.txt", "notes.txt/search/one"):
        with pytest.raises(SearchError, match=f"{place} cannot be .*notes.txt is a file"):
            a_search(few, tmp_path / place, executor=executor)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    if Path("/proc").is_dir():
        search = a_search(few, "/proc/search", executor=executor)
        with pytest.raises(ImgrecError, match=r"^/proc/search cannot be "):
            search.run()


def test_two_writers_are_refused(few, tmp_path):
    search = a_search(few, tmp_path)

    def inner(plan, trial, link):
        with pytest.raises(JournalError):
            a_search(few, tmp_path).run()
        return Outcome(1.0, 1, 0.0)

    search.runner = inner
    search.limit(1)
    search.run()
    assert search.results()["status"].tolist() == ["finished"]


def test_a_misspelled_objective_is_told_before_the_first_trial_or_in_it(few, tmp_path):
    how = {"objective": "val_acuracy", "direction": "max", "epochs": 1, "executor": "inline"}
    how |= {"directory": tmp_path, "progress": "none"}
    for wrong in ("val_acuracy", ["val_accuracy", "val_f1"]):
        with pytest.raises(SearchError, match=r"Unknown objective 'val_.*fit_options="):
            ways = {"direction": ["max", "max"] if isinstance(wrong, list) else "max"}
            Search(SPACE, "small_cnn", few, **how | {"objective": wrong} | ways)
    measured = {"fit_options": lambda: {"metrics": ["accuracy"]}}  # by names that nobody knows yet
    search = Search(SPACE, "small_cnn", few, **how, **measured)
    with pytest.raises(SearchError, match="val_accuracy"):
        search.run()
    assert search.results()["status"].tolist() == ["interrupted"]
    assert "Unknown objective" in repr(search), "also where it was begun in the background"


def test_scores_of_two_objectives_are_not_mixed(few, tmp_path):
    a_search(few, tmp_path, budget=2).run()
    with pytest.raises(SearchError, match="cannot be compared"):
        a_search(few, tmp_path, objective="val_loss", if_exists="continue")


def test_a_running_search_is_not_moved_aside(few, tmp_path):
    search = a_search(few, tmp_path / "s", budget=1)

    def inner(plan, trial, link):
        with pytest.raises(JournalError):
            a_search(few, tmp_path / "s", if_exists="new")
        return Outcome(1.0, 1, 0.0)

    search.runner = inner
    search.run()
    assert not (tmp_path / "s-old-1").exists()


def test_a_catalog_is_loaded():
    catalog = digits().sample(per_class=6).split(valid=0.3, test=0.2)
    assert Search(SPACE, "small_cnn", catalog).plan.splits.spec.image_size == (28, 28)


def test_data_settings_need_a_catalog():
    arrays = digits()
    pair = (arrays.arrays[:100], arrays.table["label"].astype(int).to_numpy()[:100])
    plain = from_datasets(pair, pair)
    with pytest.raises(SearchError, match="batch_size"):
        Search(Space(batch_size=Choice(8, 16)), "small_cnn", plain)


KILLED = """
import sys, time
import imgrec
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.search import Search
from imgrec.space import Choice, Float, Space

few = load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)
space = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1,
              batch_size=Choice(8, 16))
Search(space, "small_cnn", few, budget=3, epochs=40 if sys.argv[2] == "long" else 2,
       executor="inline", directory=sys.argv[1], if_exists="continue").run()
"""


def test_a_search_killed_in_a_trial_goes_on_with_that_trial(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "s"), "long"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    journal, deadline = tmp_path / "s" / "journal.log", time.monotonic() + 120
    while time.monotonic() < deadline and b"epoch_ended" not in (
        journal.read_bytes() if journal.exists() else b""
    ):
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    cut = replay(read_journal(journal).events)
    assert cut.trials[1].status == "running" and cut.trials[1].curve
    point = cut.trials[1].point
    done = subprocess.run(
        [*command[:-1], "long"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    after = replay(read_journal(journal).events)
    assert after.trials[1].point == point and after.trials[1].starts == 2
    assert [t.status for t in after.trials.values()] == ["finished"] * 3


def test_a_long_trial_after_short_ones_goes_on_where_it_was_stopped(few, tmp_path):
    space = Space(epochs=Choice(1, 400), width=2, depth=1)
    how = {"epochs": 400, "directory": tmp_path, "progress": "none", "executor": "inline"}

    def search_on(enough):
        "Run until the second trial has so many epochs, and stop; how far it is, and its score."
        search = Search(space, "small_cnn", few, budget=2, **how)
        waiter = threading.Thread(target=stop_when, args=(search, enough))
        waiter.start()
        search.run()
        waiter.join()
        return search.snapshot().trials[2]

    def stop_when(search, enough):
        def far():
            trial = search.snapshot().trials.get(2)
            return trial is not None and trial.status == "running" and len(trial.curve) >= enough

        end = time.monotonic() + 60
        while not far() and time.monotonic() < end:
            time.sleep(0.005)
        search.stop()

    for point in ({"epochs": 1}, {"epochs": 400}):
        Search(space, "small_cnn", few, budget=2, **how).enqueue(point)
    first = search_on(4)
    assert first.status == "interrupted" and first.score is not None
    reached = len(first.curve)
    again = search_on(1)  # as soon as it runs
    assert again.score is not None and len(again.curve) >= reached
    search_on(reached + 3)
    events = read_journal(tmp_path / "journal.log").events
    epochs = [e["epoch"] for e in events if e["event"] == "epoch_ended" and e["trial"] == 2]
    assert epochs == list(range(1, len(epochs) + 1)), "none is trained twice"


@pytest.mark.parametrize("form", [lambda d: d, lambda d: (d, d), lambda d: [d, d, d]])
def test_a_dataset_is_trained_on_whole(few, tmp_path, form):
    plain = few.ordered("train")
    search = Search(SPACE, "small_cnn", form(plain), objective="accuracy", executor="inline")
    assert sum(len(y) for _, y in search.plan.splits.train) == sum(len(y) for _, y in plain)
    with pytest.raises(DataError, match="received dict"):
        Search(SPACE, "small_cnn", {"train": plain})


@pytest.mark.parametrize(
    ("entries", "options", "words"),
    [
        ({"epochs": Int(2, 4)}, {"strategy": "hyperband"}, "hyperband decides by itself"),
        ({"batch_size": Choice(0, 8)}, {}, "batch_size is a whole number from 1"),
        ({"epochs": Int(0, 4)}, {}, "epochs is a whole number from 1"),
        ({"optimizer": Choice("adam", "nadamm")}, {}, "Did you mean 'nadam'"),
        ({"depth": Float(1, 2)}, {}, "depth of small_cnn is a whole number from 1; .* 1.0"),
        ({"dropout": Choice("a", 0.5)}, {}, "dropout of small_cnn is a number from 0 .* 'a'"),
        ({"learn_rate": Float(0.1, 1)}, {}, "Did you mean 'learning_rate'"),
        ({"image_size": Choice((8, 0), 8)}, {}, "image_size is a whole number"),
        ({"learning_rate": Float(-1, 1)}, {}, "learning_rate is above 0"),
        ({"augment": Choice("lihgt", "none")}, {}, "Did you mean 'light'"),
        ({}, {"progress": "loud"}, "Unknown progress 'loud'"),
        ({}, {"fit_options": {"loss": "mse"}}, "must be a function"),
        ({}, {"budget": 0}, "trials must be a whole number from 1"),
        ({}, {"workers": 0}, "workers must be a whole number from 1"),
        ({}, {"keep": 0}, "keep must be a whole number from 1"),
    ],
)
def test_what_cannot_be_searched_is_said_before_the_first_trial(few, entries, options, words):
    with pytest.raises(ImgrecError, match=words):
        Search(Space(width=Choice(2, 4), **entries), "small_cnn", few, **options)


def test_a_promoted_trial_goes_on_with_its_parents_weights(few, tmp_path):
    space = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)
    how = {"budget": 5, "epochs": 3, "directory": tmp_path, "progress": "none"}
    how["executor"] = "inline"
    search = Search(space, "small_cnn", few, "bayesian_halving", **how).run()
    trials = search.snapshot().trials
    last = next(each for each in trials.values() if each.parent)
    assert {each.status for each in trials.values()} == {"finished"}
    assert [point["epoch"] for point in last.curve] == [2, 3]
    assert last.point == trials[last.parent].point
    kept = {path.name for path in (tmp_path / "weights").iterdir()}
    assert f"{last.parent}-last.weights.h5" not in kept, "it was continued"
    rows = parallel_table(search).drop_duplicates("trial").set_index("trial")["early"]
    assert last.parent not in rows.index and not rows[last.trial], "the point is there once"
    assert rows.drop(last.trial).all() and len(rows) == 4, "these have had their first epochs only"


@pytest.mark.parametrize("runs", [1, 2])
def test_the_size_of_a_model_is_known_however_its_trial_ends(few, tmp_path, runs):
    how = {"objective": "val_loss", "epochs": 40, "executor": "inline", "progress": "none"}
    how |= {"executions_per_trial": runs, "directory": tmp_path}
    wide = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e30, log=True))
    search = Search(wide, "small_cnn", few, budget=1, **how)
    for rate in (1e30, 1e-3):
        search.enqueue({"width": 4, "learning_rate": rate})
    search.run()
    search.limit(Budget(trials=2, trial_minutes=1e-3))
    search.run()
    found = search.results()
    assert found["status"].tolist() == ["failed", "pruned"], found["reason"].tolist()
    model = model_of(search.plan.build, few.spec, search.snapshot().trials[1].point, seed=0)
    assert found["parameters"].tolist() == [model.count_params()] * 2


@pytest.mark.parametrize("runs", [1, 2])
def test_a_pause_is_no_work(few, tmp_path, monkeypatch, runs):
    pause, real = 0.4, Link.report  # Seconds, at the end of every epoch

    def reported(link, *told):
        real(link, *told)
        time.sleep(pause)
        link.waited += pause  # as while an order says wait

    def timed(plan, trial, link):
        began = time.perf_counter()
        outcome = run_trial(plan, trial, link)
        spans.append(time.perf_counter() - began)
        return outcome

    spans: list[float] = []
    monkeypatch.setattr(Link, "report", reported)
    how = {"executor": "inline", "progress": "none", "directory": tmp_path, "epochs": 3}
    search = Search(SPACE, "small_cnn", few, budget=1, executions_per_trial=runs, **how)
    search.runner = timed
    [trial] = search.run().snapshot().trials.values()
    assert trial.seconds == pytest.approx(spans[0] - 3 * runs * pause, abs=0.1)
    parts = trial.runs or ({"seconds": trial.seconds},)
    assert sum(each["seconds"] for each in parts) <= trial.seconds + 0.01
    epochs = sum(each["seconds"] for each in (*trial.curve, *trial.later))
    assert epochs <= sum(each["seconds"] for each in parts) + 0.01


def test_what_was_changed_by_hand_is_said_when_it_goes_on(few, tmp_path, capsys):
    search = a_search(few, tmp_path, budget=2).run()
    search.edit(SPACE.edit(width=4))
    search.extend(1)
    search.run()
    a_search(few, tmp_path, budget=2, progress="auto")
    said = capsys.readouterr().out
    assert "changed by hand: width: Choice(2, 4) became Fixed(4); budget: " in said
    assert "Budget(trials=2) became Budget(trials=3)" in said
    a_search(few, tmp_path / "other", budget=2).run()
    a_search(few, tmp_path / "other", budget=2, progress="auto")
    assert "by hand" not in capsys.readouterr().out


def test_a_score_of_the_training_pictures_is_warned_of(few, tmp_path, recwarn):
    a_search(few, tmp_path / "valid")
    assert not [each for each in recwarn if "by heart" in str(each.message)]
    with pytest.warns(UserWarning, match="by heart.* tells val_loss") as said:
        a_search(few, tmp_path / "train", objective="loss")
    assert said[0].filename == __file__, "the line that has made the search"


@pytest.mark.parametrize("fits", [True, False])
def test_a_trial_that_was_cut_off_is_finished_in_another_space_that_has_its_point(
    few, tmp_path, fits
):
    search = a_search(few, tmp_path, budget=2)

    def stopped(plan, trial, link):
        raise KeyboardInterrupt

    search.runner = stopped
    width = search.run().snapshot().trials[1].point["width"]
    search.edit(SPACE.edit(width=Choice(width, 8) if fits else Choice(8, 16)))
    search.runner = pretend
    trials = search.run().snapshot().trials
    assert trials[1].status == ("finished" if fits else "interrupted")
    assert sum(each.status in ("finished", "failed") for each in trials.values()) == 2
    again = a_search(few, tmp_path, budget=2)
    assert again.run().snapshot().trials == trials, "there is nothing left to do"


def test_what_is_refused_is_an_error_here_and_is_told_later(few, tmp_path, capsys):
    send(tmp_path, "edit", space=Space(width=Choice(2, 4), foo=3).to_dict())
    search = a_search(few, tmp_path, budget=1, progress="auto")
    reached, heard = threading.Event(), []

    def held(plan, trial, link):
        reached.set()
        while not heard:
            link.check()
            time.sleep(0.01)
        return pretend(plan, trial, link)

    def refused():
        reached.wait(20)
        try:
            attached(tmp_path).edit(Space(width=Choice(2, 4), bar=3))
        except SearchError as error:
            heard.append(str(error))
        else:
            heard.append("it was not refused")

    search.runner, other = held, threading.Thread(target=refused)
    other.start()
    search.run()
    other.join()
    assert f"The search in {tmp_path} refused edit: " in heard[0] and "'bar'" in heard[0]
    said = capsys.readouterr().out
    assert "Not done, edit: " in said and "'foo'" in said and "'bar'" in said
    assert [text.partition(":")[0] for _, text in search.snapshot().refused] == ["edit"] * 2
    search.run()
    assert "Not done" not in capsys.readouterr().out, "that was another time"
    with pytest.raises(SearchError, match=r"Expected a Space\(...\), received dict"):
        attached(tmp_path).edit({})


def test_what_is_said_twice_before_it_is_heard_counts_twice(few, tmp_path):
    search = a_search(few, tmp_path, budget=2).run()
    view = attached(tmp_path)
    for _ in range(2):
        view.extend(1)
    view.edit(view.space.edit(depth=1))
    assert (view.budget, view.space.entries["depth"]) == (Budget(trials=4), Fixed(1))
    again = a_search(few, tmp_path, budget=2)
    assert again.budget == Budget(trials=4)
    again.extend(2)  # where it is begun, after what was said elsewhere
    assert again.budget == Budget(trials=6)
    again.run()
    assert search.snapshot().counted == 6 and not list(waiting(tmp_path))
    assert {t.point["depth"] for n, t in search.snapshot().trials.items() if n > 2} == {1}


def test_a_winner_is_not_taken_before_the_search_has_ended(few, tmp_path):
    reached, go_on = threading.Event(), threading.Event()

    def held(plan, trial, link):
        link.report(1, {plan.objective: 0.5}, 0.0)
        reached.set()
        while not go_on.is_set():
            link.check()
            time.sleep(0.01)
        return Outcome(0.5, 1, 0.0)

    search = a_search(few, tmp_path, budget=1)
    search.runner, thread = held, threading.Thread(target=search.run)
    thread.start()
    assert reached.wait(20)
    with pytest.raises(SearchError, match=r"still runs.*winner\(trial=\)"):
        search.winner(seeds=1)
    search.stop()
    thread.join(20)
    with pytest.raises(
        SearchError, match=r"Trial 1, the best, was cut off in epoch 2 of 4: run\(\)"
    ):
        search.winner(seeds=1)
    with pytest.raises(SearchError, match="was cut off before its end"):
        search.standing()
    assert not (tmp_path / "test_used.json").exists()


def test_a_limit_that_nobody_keeps_is_refused(few, tmp_path):
    with pytest.raises(SearchError, match="memory nobody watches"):
        a_search(few, tmp_path, budget=Budget(trials=2, trial_ram_gb=0.5))
    search = a_search(few, tmp_path, budget=2)
    with pytest.raises(SearchError, match="memory nobody watches"):
        search.limit(Budget(trials=2, ram_gb=1))
    assert search.budget == Budget(trials=2)


def test_a_search_whose_process_is_gone_reads_as_cut_off(few, tmp_path):
    fresh = a_search(few, tmp_path, budget=2)
    for ask in (importance, timeline, parallel_table):
        with pytest.raises(SearchError, match="Nothing has begun"):
            ask(fresh)
    fresh.run()
    with Journal(tmp_path / "journal.log") as journal:
        journal.append("search_opened", process=1, torn=0)
        point = {"width": 2, "learning_rate": 0.01, "depth": 1}
        plan = {"seed": 1, "epochs": 4, "initial_epoch": 0, "parent": None}
        journal.append("trial_asked", trial=3, point=point, **plan)
        journal.append("trial_started", trial=3, worker="worker 1")
        assert "open" in repr(attached(tmp_path)) and "1 running" in repr(fresh)
    assert "Search, cut off: " in repr(fresh) and "running" not in repr(fresh)
    row = fresh.results().iloc[-1]
    assert (row["status"], row["reason"]) == ("interrupted", "its process ended")


def test_points_by_hand_beyond_the_budget_are_not_lost(few, tmp_path, capsys):
    search = a_search(few, tmp_path, budget=1, progress="auto").run()
    search.run()
    assert "1 trial of 1 allowed are there" in capsys.readouterr().out
    search.enqueue({"width": 4, "learning_rate": 0.02})
    search.run()
    assert "1 point by hand will be tried" in capsys.readouterr().out
    assert "By hand, to be tried: width=4" in search_text(search_facts(attached(tmp_path)))
    search.extend(1)
    search.run()
    assert search.snapshot().trials[2].by == "hand"


def test_where_a_trial_has_failed_can_be_read(few, tmp_path):
    search = a_search(few, tmp_path, budget=3).run()
    assert 'raise ValueError("this one fails")' in search.traceback(3)
    with pytest.raises(SearchError, match="No traceback is known of trial 1"):
        search.traceback(1)


def test_insight_takes_a_search_a_view_or_a_state(few, tmp_path):
    search = a_search(few, tmp_path, budget=8).run()
    state, view = search.snapshot(), attached(tmp_path)
    for look in (importance, parallel_table, learning_curves):
        assert look(search).equals(look(state)) and look(view).equals(look(state))
    with pytest.raises(SearchError, match="A random search has no brackets"):
        brackets(search)
    assert pareto(search, {"score": "max", "seconds": "min"}).equals(
        pareto(state, {"score": "max", "seconds": "min"})
    )
    assert plot_slice(slices(view, "width")).get_ylabel() == "val_accuracy"
    assert plot_slice(slices(view, "width"), objective="mine").get_ylabel() == "mine"
    promoting = a_search(few, tmp_path / "promoting", "hyperband", budget=8).run()
    assert brackets(promoting).equals(brackets(promoting.snapshot()))
    assert slices(view, "width").equals(slices(state, "width"))
    assert pairs(view, "width", "depth").equals(pairs(state, "width", "depth"))
    events = read_journal(tmp_path / "journal.log").events
    assert len(timeline(view)) == 8 and timeline(search).equals(timeline(events))
    with pytest.raises(DataError, match=r"Expected a search.* Received PosixPath"):
        importance(tmp_path)


def test_what_the_code_has_changed_is_said_when_it_goes_on(few, tmp_path, capsys):
    search = a_search(few, tmp_path, budget=2).run()
    search.extend(1)
    search.run()
    a_search(few, tmp_path, budget=5, progress="auto")
    said = capsys.readouterr().out
    assert "It had Budget(trials=3) by hand; the code says otherwise now" in said
    a_search(few, tmp_path, budget=5, epochs=5, if_exists="continue", progress="auto")
    assert "another search now: epochs: 4 became 5" in capsys.readouterr().out


def test_a_change_is_checked_like_a_beginning(few, tmp_path):
    search = a_search(few, tmp_path, "hyperband")
    with pytest.raises(ImgrecError):
        search.limit(0)
    with pytest.raises(ImgrecError):
        search.edit(Space(width=Choice(2, 4), epochs=Int(1, 2)))
    assert search.space == SPACE and search.budget == Budget(trials=8)


def test_a_search_says_how_it_stands_and_how_it_ended(few, tmp_path, capsys):
    search = a_search(few, tmp_path, "grid", budget=500, progress="auto")
    assert repr(search) == "Search, empty: no trials"
    search.run()
    count = len(search.results())
    assert f"After {count} trials the grid search has no more." in capsys.readouterr().out
    assert "finished" in repr(search) and "best val_accuracy" in repr(search)

    def fails(plan, trial, link):
        raise ValueError("too wide")

    broken = a_search(few, tmp_path / "broken", budget=2, progress="auto")
    broken.runner = fails
    broken.run()
    assert "None of 2 trials has worked" in capsys.readouterr().out


def test_a_changed_data_setting_is_told_by_its_name(few, tmp_path):
    a_search(few, tmp_path, budget=1).run()
    with pytest.raises(SearchError, match=r"differs: batch_size: 32 became 16\. Set if_exists"):
        a_search(few.with_options(batch_size=16), tmp_path, budget=1)


def test_settings_of_data_and_training_reach_a_trial(few, tmp_path):
    space = Space(
        model=Choice("small_cnn", "small_resnet"),
        width=Choice(2, 4, when="model", equals="small_cnn"),
        augment_strength=Float(0.5, 2.0),
        frozen_layers=Int(1, 2),
        schedule=Choice("cosine", "constant"),
        label_smoothing=Float(0.0, 0.2),
    )
    data = few.with_options(augment="light")
    search = Search(space, "small_cnn", data, budget=4, epochs=1, executor="inline", seed=2)
    search.run()
    found = search.results()
    assert found["status"].tolist() == ["finished"] * 4, found["reason"].tolist()
    assert found["width"].notna().tolist() == found["model"].eq("small_cnn").tolist()
    assert set(found["model"]) == {"small_cnn", "small_resnet"}
    point = search.snapshot().trials[1].point
    plan = search.plan
    recipe = splits_of(plan, point).settings["augment"]
    assert recipe["zoom"] == pytest.approx(0.2 * point["augment_strength"])
    model = model_of(plan.build, few.spec, point, seed=0)
    held = [layer for layer in model.layers if layer.weights and not layer.trainable]
    assert len(held) == point["frozen_layers"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"schedule": Choice("cosine", "cosin")}, "cosin"),
        ({"augment_strength": Float(-1.0, 1.0)}, "strength"),
        ({"frozen_layers": Int(-1, 3)}, "frozen_layers is a whole number from 0"),
        ({"model": Choice("small_cnn", "two_conv"), "norm": "group"}, "norm"),
        ({"widht": Choice(2, 4, when="model", equals="small_cnn"), "model": "small_cnn"}, "width"),
    ],
)
def test_a_setting_that_cannot_be_is_said_before_the_first_trial(few, entries, words):
    with pytest.raises(ImgrecError, match=words):
        Search(Space(depth=Int(1, 2), **entries), "small_cnn", few)


def test_a_damaged_search_goes_on_from_what_is_whole(few, tmp_path):
    whole = a_search(few, tmp_path / "whole", "bayesian").run()
    a_search(few, tmp_path / "broken", "bayesian").run()
    path = tmp_path / "broken" / "journal.log"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(JournalError, match="is damaged"):
        a_search(few, tmp_path / "broken", "bayesian")
    assert "journal.log-old-1" in rescue(path)
    again = a_search(few, tmp_path / "broken", "bayesian")
    kept = [trial for trial in again.snapshot().trials.values() if trial.status != "interrupted"]
    assert 1 < len(kept) < 8
    assert trials_of(again.run()) == trials_of(whole)


def test_an_option_of_one_network_alone_may_decide_about_others(few):
    space = Space(
        model=Choice("small_cnn", "two_conv"),
        width=Choice(2, 4, when="model", equals="small_cnn"),
        depth=Int(1, 2, when="width", equals=4),
    )
    Search(space, "small_cnn", few)
    with pytest.raises(SearchError, match="option of two_conv 'width'"):
        Search(space.edit(width=Choice(2, 4)), "small_cnn", few)
    waits = {"when": "model", "equals": "vgg16"}
    either = Space(model=Choice("vgg16", "efficientnet_lite0"), weights=Fixed(None, **waits))
    with pytest.raises(SearchError, match="efficientnet_lite0 would begin without the weights"):
        Search(either, "vgg16", few)

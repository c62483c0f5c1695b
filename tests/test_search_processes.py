"""Real trainings in processes of their own, which are killed, held back and found again."""

import contextlib
import json
import linecache
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from waiting import until

from imgrec.catalog import Catalog
from imgrec.commands import send
from imgrec.core import SearchError
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.journal import Journal, read_journal
from imgrec.link import Outcome
from imgrec.oracles import ORACLES
from imgrec.plan import splits_of
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
from imgrec.state import replay
from imgrec.view import attached

SPACE = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def a_search(few, directory, strategy="random", **options):
    how = {"budget": 4, "epochs": 4, "progress": "none"} | options
    return Search(SPACE, "small_cnn", few, strategy, directory=directory, **how)


def events(directory):
    "What a journal holds by now."
    path = directory / "journal.log"
    return read_journal(path).events if path.exists() else []


def epochs(directory):
    return sum(event["event"] == "epoch_ended" for event in events(directory))


def table_of(search):
    rows = search.results().drop(columns=["seconds"])
    return json.loads(rows.to_json())


def test_a_builder_from_a_cell_is_known_again(few, tmp_path):
    text = """
def build(hp):
    import keras
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Dense(hp.Int("units", 2, 8))(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(10, "softmax")(x))
    model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1)), "categorical_crossentropy",
                  metrics=["accuracy"])
    return model
"""
    cell = "<cell 1>"
    linecache.cache[cell] = (len(text), None, text.splitlines(True), cell)  # as IPython does it
    names = {"__name__": "__main__"}
    exec(compile(text, cell, "exec"), names)
    how = {"budget": 2, "epochs": 1, "workers": 1, "progress": "none", "directory": tmp_path}
    Search(None, names["build"], few, **how).run()
    again = Search(None, names["build"], few, **how)
    assert again.run().results()["status"].tolist() == ["finished"] * 2
    with pytest.raises(SearchError, match=r"build \(its code, or what it uses\): 'build"):
        changed = text.replace("2, 8", "2, 4")
        linecache.cache[cell] = (len(changed), None, changed.splitlines(True), cell)
        exec(compile(changed, cell, "exec"), names)
        Search(None, names["build"], few, **how)


@pytest.mark.parametrize("strategy", list(ORACLES))
def test_real_trainings_killed_three_times_come_to_the_same_table(few, tmp_path, strategy):
    how = {"epochs": 8, "objective": ["val_accuracy", "parameters"]}  # whatever decides
    whole = a_search(few, tmp_path / "whole", strategy, executor="inline", workers=1, **how).run()
    broken, killed = tmp_path / "broken", []
    for victim in ("engine", "both", "worker"):
        search = a_search(few, broken, strategy, workers=1, **how)
        before = epochs(broken)
        search.start()
        until(lambda: epochs(broken) > before or search.process.poll() is not None)  # noqa: B023
        assert search.process.poll() is None, "it had come to its end"
        killed.append(victim)
        engine = psutil.Process(search.process.pid)
        crew = engine.children()
        assert crew, "somebody trains"
        if victim in ("worker", "both"):
            os.kill(crew[-1].pid, signal.SIGKILL)
        if victim == "worker":
            search.wait()
            continue
        engine.kill()
        search.process.wait()
        until(lambda: not any(alive(each) for each in crew), 20)  # noqa: B023
    last = a_search(few, broken, strategy, workers=1, **how).run()
    state = replay(events(broken))
    assert killed == ["engine", "both", "worker"]
    assert not state.with_status("running", "asked", "interrupted")
    starts = [trial.starts for trial in state.trials.values()]
    assert sum(starts) - len(starts) >= 3, "what was cut off came back"
    assert table_of(last)["trial"] == table_of(whole)["trial"]
    points = [trial.point for trial in state.trials.values()]
    assert points == [trial.point for trial in whole.snapshot().trials.values()]
    scores = [trial.score for trial in whole.snapshot().trials.values()]
    assert [trial.score for trial in state.trials.values()] == pytest.approx(scores, abs=0.06)
    sizes = {n: trial.scores["parameters"] for n, trial in state.trials.items()}
    assert sizes == {n: trial.parameters for n, trial in state.trials.items()}
    assert last.front()["parameters"].min() == min(sizes.values()), "nothing smaller is as good"


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


STARTS = """
import sys
import imgrec
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.search import Search
from imgrec.space import Choice, Float, Space

few = load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)
space = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)
Search(space, "small_cnn", few, budget=500, epochs=2000, workers=1, directory=sys.argv[1]).start()
"""


def test_a_search_outlives_who_has_started_it_and_is_steered_by_others(tmp_path):
    place = tmp_path / "s"
    command = [sys.executable, "-c", STARTS, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    until(lambda: epochs(place) >= 2)
    view = attached(place)
    assert view.running, "its starter has gone"
    view.pause()
    until(lambda: view.snapshot().paused)
    time.sleep(0.5)
    count = epochs(place)
    time.sleep(1.5)
    assert epochs(place) == count, "nothing is trained in a pause"
    trial = view.snapshot().with_status("running")[0].trial
    view.enqueue({"width": 4, "learning_rate": 0.02})
    view.unpause()
    until(lambda: epochs(place) > count)
    view.skip(trial)
    until(lambda: any(t.by == "hand" for t in view.snapshot().trials.values()))
    view.stop()
    assert view.wait(timeout=60)
    state = view.snapshot()
    assert (state.status, state.reason) == ("stopped", "stopped")
    hand = [each.point for each in state.trials.values() if each.by == "hand"]
    assert hand == [{"width": 4, "learning_rate": 0.02, "depth": 1}]
    assert not list((place / "commands").glob("*.json")), "all commands were taken"


def looks_at_its_pictures(plan, trial, link):
    "Stands in for a training: the pictures and their table are mapped, and nobody's own."
    splits = splits_of(plan, trial.point)
    assert isinstance(splits.catalog.arrays, np.memmap), type(splits.catalog.arrays)
    link.report(1, {"val_accuracy": float(splits.catalog.arrays[:9].mean() / 255)}, 0.1)
    return Outcome(link.score, link.best_epoch, 0.1)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory that others can map")
def test_pictures_in_arrays_are_in_memory_once(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (2000, 16, 16, 3), np.uint8)
    catalog = Catalog.from_arrays(x, np.arange(2000) % 10).split(valid=0.3, test=0)
    search = a_search(load(catalog, image_size=16), tmp_path / "s", budget=4, workers=2)
    search.runner = looks_at_its_pictures
    found = search.run().results()
    assert found["status"].tolist() == ["finished"] * 4, found["reason"].tolist()
    assert found["score"].tolist() == pytest.approx([catalog.arrays[:9].mean() / 255] * 4)
    assert len(list((tmp_path / "cache").rglob("manifest.json"))) == 1, "one table for both"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to a process alone")
@pytest.mark.parametrize("moment", ["at once", "it loads", "it trains"])
def test_ctrl_c_stops_what_runs_elsewhere_and_nothing_is_left_behind(few, tmp_path, moment):
    reached = {
        "at once": lambda: True,
        "it loads": (tmp_path / "engine.log").exists,
        "it trains": lambda: epochs(tmp_path) >= 2,
    }
    search = a_search(few, tmp_path, budget=3, epochs=30, workers=1)

    def press():
        until(reached[moment])
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    with contextlib.suppress(KeyboardInterrupt):
        thread.start()
        search.run()
        thread.join()
    assert not search.running and not search.snapshot().with_status("running")
    count = epochs(tmp_path)
    assert count < 3 * 30
    time.sleep(1)
    assert epochs(tmp_path) == count, "somebody goes on"
    done = a_search(few, tmp_path, budget=3, epochs=30, workers=1).run().results()
    assert done["status"].tolist() == ["finished"] * 3 and done["epochs"].tolist() == [30] * 3


def test_two_starts_are_one_search_and_a_broken_one_says_why(few, tmp_path, capsys):
    def breaks(spec, width, depth):
        raise OSError("the builder's file is gone")

    search = Search(SPACE, breaks, few, directory=tmp_path, budget=2, epochs=1, workers=1)
    search.start()
    search.start()
    assert "it runs already" in capsys.readouterr().out
    search.run()
    assert "None of 2 trials has worked" in capsys.readouterr().out
    assert search.results()["reason"].str.contains("builder's file is gone").all()
    log = (tmp_path / "engine.log").read_text()
    assert "The search has ended: done." in log


def test_an_engine_that_finds_the_journal_taken_ends(few, tmp_path):
    search = a_search(few, tmp_path, workers=1, epochs=1).start()
    with Journal(tmp_path / "journal.log"):  # it needs seconds until it comes to that
        assert search.process.wait(timeout=180) == 1, "it waits for workers that wait for it"
    assert "is being written by process" in (tmp_path / "engine.log").read_text()
    assert len(search.run().snapshot().with_status("finished")) == 4


def test_an_engine_whose_folder_is_made_anew_ends_and_leaves_commands_to_the_new_one(few, tmp_path):
    place = tmp_path / "s"
    search = a_search(few, place, budget=50, epochs=500, workers=1).start()
    until(lambda: epochs(place) >= 1)
    workers = psutil.Process(search.process.pid).children(recursive=True)
    shutil.rmtree(place, ignore_errors=True)
    with Journal(place / "journal.log") as journal:
        journal.append("search_stopped", reason="stopped")
        before = journal.path.read_bytes()
        told = send(place, "stop")
        assert search.process.wait(timeout=30) == 1
        assert (place / "commands" / f"{told}.json").exists(), "it was for somebody else"
        assert journal.path.read_bytes() == before
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert gone and not alive, "its workers go with it"

"""The end of a search: what is known of it, and a last training in a process that is real."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgrec import finish_state
from imgrec.answers import answer_html, table_html
from imgrec.closing import (
    Closed,
    Order,
    Status,
    begin_closing,
    cancel_closing,
    closed_in,
    closing_process,
    closing_status,
)
from imgrec.core import SearchError
from imgrec.datasets import digits
from imgrec.export import load_classifier
from imgrec.finish import (
    confusion_answer,
    looked,
    may_of,
    mistakes_answer,
    standing_answer,
)
from imgrec.finish_state import FinishState
from imgrec.finish_tab import FinishTab, reasons_in_words, result_in_words
from imgrec.looks import looks_at
from imgrec.mistakes import confusion_of, mistakes_of, predictions_from
from imgrec.search import Search
from imgrec.space import Choice, Space
from imgrec.state import SearchState, TrialState
from imgrec.votes import Votes, predictions_file, save_predictions

EVIL = '<img src=x onerror="alert(1)">'
IDLE = Status(False, None, "", None)


def flat(spec, width=4):
    "The smallest network that can learn."
    layers = [keras.layers.Flatten(), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Dense(width, "relu"), keras.layers.Dense(spec.classes, "softmax")]
    return keras.Sequential([keras.Input(spec.shape), *layers])


def searched(directory, catalog=None, **options):
    "A small search with real networks, run to its end."
    catalog = catalog or digits().sample(20).split(valid=0.25, test=0.25)
    how = {"budget": 2, "epochs": 3, "executor": "inline", "progress": "none"} | options
    return Search(Space(width=Choice(4, 8)), flat, catalog, directory=directory, **how).run()


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("finish") / "search")


def until(condition, seconds=90.0):
    "Wait for what a process does."
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def gone(process):
    "Whether a process has ended, and nobody waits for it."
    process.poll()
    return not psutil.pid_exists(process.pid)


# ---- what is known


class Known:
    "A search of which only the directory and the state are known."

    def __init__(self, directory, scores, running=False):
        self.directory, self.running = Path(directory), running
        trials = {
            n: TrialState(n, {"width": n}, n, 3, status="finished", score=score, best_epoch=2)
            for n, score in enumerate(scores, start=1)
        }
        settings_of = {"objective": "val_accuracy", "direction": "max"}
        space = Space(width=Choice(*range(1, 10))).to_dict()
        self.state = SearchState(space, settings_of, trials=trials, status="stopped")

    def snapshot(self):
        return self.state.copy()


def known(directory, scores, n=200):
    "A search whose trials have left their answers."
    rng, true = np.random.default_rng(0), np.arange(n) % 4
    for trial, score in enumerate(scores, start=1):
        said = np.where(rng.random(n) < score, true, (true + 1) % 4)
        answers = np.full((n, 4), 0.1) + 0.6 * np.eye(4)[said]
        save_predictions(predictions_file(directory, trial), true, answers)
    return Known(directory, scores)


def test_how_sure_the_best_is_is_told_and_drawn(tmp_path):
    found = standing_answer(known(tmp_path, [0.9, 0.88, 0.5]))
    text = "\n".join(found.notes)
    assert found.png and found.width < 830 and len(found.table) == 3
    for words in ("95 % interval", "too good", "Noise floor", "Suggestion", "Best: trial"):
        assert words in text
    nothing = standing_answer(Known(tmp_path / "none", [0.9]))
    assert nothing.png is None and "is not there" in nothing.notes[0]
    assert standing_answer(Known(tmp_path / "none", [])).notes[0].endswith(".")


def test_of_hundreds_of_trials_the_best_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("imgrec.finish._MOST", 3)
    found = standing_answer(known(tmp_path, [0.9, 0.2, 0.8, 0.7, 0.3]))
    assert set(found.table["trial"]) == {1, 3, 4}
    assert found.notes[-1] == "Compared are the best 3; 2 trials behind them are left out."


def test_mistakes_and_confusion_come_from_the_kept_answers(tmp_path):
    search = known(tmp_path, [0.9])
    confusion, mistakes = confusion_answer(search, 1), mistakes_answer(search, 1)
    right = int(np.trace(confusion.table.drop(columns="true").to_numpy()))
    assert f"{right} of 200 pictures" in confusion.alt and confusion.png
    assert mistakes.png is None and len(mistakes.table) == min(12, 200 - right)
    assert (mistakes.table["true"] != mistakes.table["predicted"]).all()
    for lacking in (confusion_answer(search, 7), mistakes_answer(search, 7)):
        assert lacking.png is None and "were not kept" in lacking.notes[0]


def test_a_damaged_file_is_a_sentence(tmp_path):
    search = known(tmp_path, [0.9])
    predictions_file(tmp_path, 1).write_bytes(b"no zip at all")
    for found in (confusion_answer(search, 1), mistakes_answer(search, 1), standing_answer(search)):
        assert found.png is None and "cannot be used" in found.notes[0]


def test_answers_of_one_output_and_of_several_labels_are_tables():
    single = Votes(np.array([0, 1, 1]), np.array([[[0.2], [0.9], [0.4]]], "float32"), np.arange(3))
    table = predictions_from(single, ["cat", "dog"])
    assert table["predicted"].tolist() == ["cat", "dog", "cat"]
    assert table["true"].tolist() == ["cat", "dog", "dog"]
    several = Votes(
        np.array([[1, 0], [1, 1]], "int8"),
        np.array([[[0.9, 0.2], [0.8, 0.3]]], "float32"),
        np.arange(2),
    )
    assert predictions_from(several)["true"].tolist() == [("0",), ("0", "1")]
    one = Votes(np.array([[1]], "int8"), np.array([[[0.9]]], "float32"), np.arange(1))
    assert predictions_from(one, ["cat"])["predicted"].tolist() == [("cat",)]
    with pytest.raises(SearchError, match="another"):
        predictions_from(single, ["a", "b", "c"])


def test_classes_and_files_with_hostile_names_are_text(tmp_path):
    known(tmp_path, [0.5])
    names, files = [EVIL, "b", "$c$", "d" * 80], [f"{n}{EVIL}.jpg" for n in range(200)]
    for found in (confusion_of(tmp_path, 1, names), mistakes_of(tmp_path, 1, names, files)):
        shown = answer_html(found) + table_html(found.table)
        assert "<img src=x" not in shown and "&lt;img src=x" in shown


def test_pictures_of_mistakes_are_those_of_the_data(search):
    trial = search.best().trial
    found = mistakes_answer(search, trial)
    assert found.png and not found.notes
    files = search.plan.splits.catalog.table["file"].tolist()
    assert set(found.table["file"]) <= set(files)
    labels = dict(zip(files, search.plan.splits.catalog.table["label"], strict=True))
    assert [str(labels[file]) for file in found.table["file"]] == found.table["true"].tolist()


def test_with_folds_each_answer_finds_its_picture(tmp_path):
    catalog = digits().sample(12).split(test=0.2)
    search = searched(tmp_path / "folds", catalog, folds=2, budget=1, epochs=1)
    found = mistakes_answer(search, 1)
    table = search.plan.splits.catalog.table
    labels = dict(zip(table["file"], table["label"].astype(str), strict=True))
    assert [labels[file] for file in found.table["file"]] == found.table["true"].tolist()


# ---- what may be done


def test_each_button_that_cannot_be_pressed_says_why(search, tmp_path):
    state, trial = search.snapshot(), search.best().trial
    closed = Closed(trial, 1, (), (), None, 1, "", "")
    may = may_of(search, state, trial, IDLE, closed)
    assert (may.train, may.test, may.save, may.code) == ("", "", "", "")
    assert "Train trial" in may_of(search, state, trial, IDLE, None).save
    view = Search.attach(search.directory)
    assert "Make the search again as it was begun" in may_of(view, state, trial, IDLE, closed).train
    at_work = Status(True, Order(trial), "", None)
    may = may_of(search, state, trial, at_work, closed)
    assert may.train == "A last training is under way." and may.cancel == ""
    for odd in (None, 99):
        assert may_of(search, state, odd, IDLE, None).train
    running = SimpleNamespace(task=search.task, data=search.data, directory=tmp_path, running=True)
    assert "still runs" in may_of(running, state, trial, IDLE, closed).train
    failed = replace(state.trials[trial], status="failed", score=None)
    broken = replace(state, trials=state.trials | {trial: failed})
    assert may_of(search, broken, trial, IDLE, None).train.endswith("it failed.")


def test_data_that_cannot_be_sent_and_a_missing_test_part_are_told(search, tmp_path):
    splits, trial = search.plan.splits, search.best().trial
    sent = SimpleNamespace(
        task=search.task, data=(splits.train, splits.valid), directory=tmp_path, running=False
    )
    assert "search.winner() in a cell" in may_of(sent, search.snapshot(), trial, IDLE, None).train
    blind = replace(search.task, plan=replace(search.task.plan, splits=replace(splits, test=None)))
    without = SimpleNamespace(task=blind, data=search.data, directory=tmp_path, running=False)
    may = may_of(without, search.snapshot(), trial, IDLE, None)
    assert may.train == "" and "no test part" in may.test


def test_a_used_test_part_is_known_without_tensorflow_and_a_damaged_note_is_no_none(tmp_path):
    assert looked(tmp_path) == (None, "")
    note = {"trial": 3, "measure": "accuracy", "scores": [0.931], "when": "2026-01-01 10:00"}
    (tmp_path / "test_used.json").write_text(json.dumps({"looks": [note]}))
    assert looked(tmp_path)[0] == 3 and "trial 3 on 2026-01-01 10:00: 93.1 %" in looked(tmp_path)[1]
    for text in ("", "[]", '{"looks": []}', '{"looks": [{}]}', "{"):
        (tmp_path / "test_used.json").write_text(text)
        assert looked(tmp_path)[0] == -1 and "cannot be read" in looked(tmp_path)[1]


# ---- a process of its own


def test_a_trial_is_trained_judged_and_saved_elsewhere(tmp_path):
    search = searched(tmp_path / "search")
    trial, folder = search.best().trial, tmp_path / "classifier"
    process = begin_closing(search, Order(trial, 2, save_to=str(folder)))
    assert closing_process(search.directory).pid == process.pid
    assert process.wait(120) == 0
    status = closing_status(search.directory)
    assert not status.running and status.said == "" and status.closed.saved == str(folder)
    (look,) = looks_at(search.directory)
    assert look.trial == trial and status.closed.look["scores"] == list(look.scores)
    here = search.winner(trial, seeds=2)  # the same question: nothing is trained or looked at
    assert here.look == look and repr(here).split("\n") == list(status.closed.lines)
    classifier = load_classifier(folder)
    pictures = search.plan.splits.catalog.arrays[:3]
    assert len(classifier.predict(list(pictures))) == 3
    assert classifier.contract["notes"]["trial"] == trial
    assert closed_in(search.directory, trial) == status.closed


def long_one(tmp_path):
    "A search, and a last training of it that takes its time."
    search = searched(tmp_path / "search")
    process = begin_closing(search, Order(search.best().trial, 50))
    folder = search.directory / "winner" / str(search.best().trial)
    until(lambda: (folder / "seed-2").exists())
    return search, process, folder


def test_cancelled_it_is_gone_and_goes_on_when_it_is_begun_again(tmp_path):
    search, process, folder = long_one(tmp_path)
    with pytest.raises(SearchError, match="under way"):
        begin_closing(search, Order(1))
    children = psutil.Process(process.pid).children(recursive=True)
    assert cancel_closing(search.directory) and gone(process)
    assert not any(child.is_running() for child in children)
    status = closing_status(search.directory)
    assert not status.running and status.said.startswith("Cancelled") and status.closed is None
    assert looks_at(search.directory) == [] and not cancel_closing(search.directory)
    first = json.loads((folder / "seed-1" / "run.json").read_text())["seconds"]
    assert begin_closing(search, Order(search.best().trial, 2)).wait(120) == 0
    again = json.loads((folder / "seed-1" / "run.json").read_text())["seconds"]
    assert again == first, "it was not trained anew"
    assert closing_status(search.directory).closed.seeds == 2


def test_killed_it_is_said_and_goes_on(tmp_path):
    search, process, _ = long_one(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    status = closing_status(search.directory)
    assert not status.running and "ended before its time" in status.said
    assert begin_closing(search, Order(search.best().trial, 1)).wait(120) == 0
    assert closing_status(search.directory).closed.seeds == 1


def test_an_error_of_the_process_is_told(tmp_path):
    search = searched(tmp_path / "search", digits().sample(8).split(valid=0.25, test=0.0))
    process = begin_closing(search, Order(search.best().trial, 1))
    assert process.wait(120) != 0
    status = closing_status(search.directory)
    assert "no test part" in status.said and status.closed is None
    with pytest.raises(SearchError, match="cannot be sent"):
        splits = search.plan.splits
        begin_closing(searched(tmp_path / "other", (splits.train, splits.valid)), Order(1))


def test_notes_of_others_are_not_believed(tmp_path):
    place = tmp_path / "winner" / "3"
    place.mkdir(parents=True)
    for text in ("", "{", "[]", "{}", '{"trial": 3}', '{"process": 1, "begun": 0}'):
        (place / "closed.json").write_text(text)
        (tmp_path / "winner" / "closing.json").write_text(text)
        assert closing_status(tmp_path) == Status(False, None, "", None), text
        assert closed_in(tmp_path, 3) is None and closing_process(tmp_path) is None
    mine = {"process": os.getpid(), "begun": psutil.Process().create_time() - 5}
    (tmp_path / "winner" / "closing.json").write_text(json.dumps(mine))
    assert closing_process(tmp_path) is None, "a number that was given again"


# ---- the state and the widgets


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(finish_state, "LOOK", 0.02)


def test_the_tab_goes_through_the_whole_end(tmp_path, quick):
    search = searched(tmp_path / "search")
    tab, heard = FinishTab(search), []
    tab.state.watchers.append(lambda: heard.append(tab.far.value))
    tab.refresh()
    assert tab.state.wait(60) and tab.standing.picture.value and tab.confusion.picture.value
    assert tab.trial.value == search.best().trial and "def " not in tab.code.value
    assert "fit(model, splits" in tab.code.value and tab.save.disabled and tab.cancel.disabled
    tab.seeds.value, tab.folder.value = 2, str(tmp_path / "saved")
    started = time.perf_counter()
    tab.train.click()
    assert time.perf_counter() - started < 1, "the kernel is free"
    until(lambda: not tab.cancel.disabled)
    assert tab.train.disabled and "under way" in tab.train.tooltip
    assert tab.state.wait(120)
    assert any("Seed" in each or "ready" in each for each in heard), heard[-5:]
    assert "test accuracy" in tab.result.value and tab.far.value == ""
    tab.save.click()
    assert tab.state.wait(120) and "Saved in" in tab.message.value
    assert load_classifier(tmp_path / "saved").spec.classes == 10
    titles = [each.title for each in tab.still()]
    assert titles[0] == "How sure the best trial is" and titles[-1] == "The last training"
    other = next(n for n in (1, 2) if n != search.best().trial)
    tab.choose(other)
    assert tab.train.disabled and "looked at for trial" in tab.train.tooltip
    tab.test.value = False
    assert not tab.train.disabled and tab.save.disabled


def test_a_process_is_found_by_another_kernel_and_cancelled_there(tmp_path, quick):
    search, process, _ = long_one(tmp_path)
    other = FinishTab(Search.attach(search.directory))
    other.refresh()
    until(lambda: "Seed" in other.far.value or "seed" in other.far.value)
    assert not other.cancel.disabled and other.train.disabled
    other.cancel.click()
    until(lambda: gone(process))
    assert other.state.wait(30)
    assert "Cancelled" in other.message.value and other.cancel.disabled


def test_a_view_says_what_to_do_and_shows_what_is_known(tmp_path):
    known(tmp_path, [0.9, 0.5])
    tab = FinishTab(Known(tmp_path, [0.9, 0.5]))
    tab.refresh()
    assert tab.state.wait(60)
    assert tab.standing.picture.value and tab.mistakes.table is not None
    assert "Make the search again as it was begun" in tab.reasons.value
    assert tab.code.layout.display == "none" and tab.copy.layout.display == "none"
    for control in (tab.trial, tab.best, tab.seeds, tab.train, tab.cancel, tab.folder, tab.save):
        assert control.description and control.tooltip
    evil = Closed(1, 1, (f"Winner {EVIL}",), (EVIL,), None, 1, EVIL, "")
    lines = result_in_words(replace(tab.state.view(), closed=evil))
    assert lines[1] == "The test part was not looked at."
    assert len(lines) == 4 and len(reasons_in_words(tab.state.view())) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("choose"), st.sampled_from([None, -1, 0, 1, 2, 3, 99])),
        st.tuples(st.just("train"), st.integers(1, 3)),
        st.tuples(st.just("save"), st.sampled_from(["", "somewhere"])),
        st.just(("cancel", None)),
        st.just(("refresh", None)),
        st.just(("more", None)),
    ),
    max_size=10,
)


@given(steps=STEPS)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_order_of_clicks_on_a_view_trains_nothing(steps, tmp_path_factory):
    directory = tmp_path_factory.mktemp("clicks")
    known(directory, [0.9, 0.5, 0.7], n=40)
    search = Known(directory, [0.9, 0.5])
    finish = FinishState(search)
    for step, value in steps:
        if step == "more":
            search.state = Known(directory, [0.9, 0.5, 0.7]).state
        elif value is None and step != "choose":
            getattr(finish, step)()
        else:
            getattr(finish, step)(value)
        view = finish.view()
        assert view.may.train and not view.status.running and view.code == ""
        assert step not in ("train", "save") or (view.failed and view.message)
    finish.refresh()
    assert finish.wait(60)
    view = finish.view()
    assert view.standing.title and (view.confusion.title or view.trial is None)
    assert not (directory / "winner").exists()

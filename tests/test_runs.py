"""Runs in folders: hostile files, other people's folders, two processes, and side by side."""

import contextlib
import itertools
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from interrupting import PressCtrlC
from PIL import Image

from imgrec.catalog import Catalog
from imgrec.comparison import compare
from imgrec.core import ImgrecError, MissingFileError, OptionError, RunError
from imgrec.data import load
from imgrec.facts import accumulated
from imgrec.places import free_name, locked
from imgrec.run_folder import history_table
from imgrec.runs import Run
from imgrec.train import fit
from imgrec.transfer import fine_tune

LABELS = np.arange(48) % 3
NOISE = np.random.default_rng(0).integers(0, 30, (48, 6, 6, 1))
PICTURES = (NOISE + 20 + 90 * LABELS[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def splits():
    "48 small pictures of three shades, four batches an epoch."
    catalog = Catalog.from_arrays(PICTURES, LABELS, ["dark", "grey", "light"])
    return load(catalog.split(0.25, 0.25), batch_size=6, augment="none")


def linear():
    "The smallest network that can tell shades apart."
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 1)), *parts, last], name="linear")


def train(splits, folder, epochs=2, model=None, **options):
    "A training in a folder that says nothing."
    options = {"progress": "none", "learning_rate": 0.02} | options
    return fit(model or linear(), splits, epochs, directory=folder, **options)


@pytest.fixture(scope="module")
def trained(splits, tmp_path_factory):
    "A folder with a finished run, to be copied."
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(splits, folder)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    "A copy of the finished run."
    return shutil.copytree(trained, tmp_path / "run")


def contents(folder):
    "All files of a folder with what is in them, but the lock."
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Reading


def test_what_is_loaded_is_what_was_trained_to_the_last_digit(splits, folder):
    run = train(splits, folder)  # goes on there: has ended
    kept = Run.load(folder)
    pd.testing.assert_frame_equal(kept.history, run.history, check_exact=True)
    for ours, theirs in zip(kept.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert kept.settings == json.loads(json.dumps(run.settings)) and kept.spec == splits.spec
    assert kept.finished and kept.best_epoch == run.best_epoch and repr(kept) == repr(run)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": "imgrec run", "ver', "run.json cannot be read.*not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "cannot be read"),
        ('{"format": "a cake recipe"}', "was not written by fit"),
        ("[1, 2]", "was not written by fit"),
        ("null", "was not written by fit"),
        (b"\xff\xfe\x00", "not valid JSON"),
    ],
)
def test_a_run_file_that_is_none_is_named(splits, folder, content, words):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "run.json").write_bytes(data)
    before = contents(folder)
    with pytest.raises(RunError, match=words):
        Run.load(folder)
    with pytest.raises(RunError, match=words):
        train(splits, folder)
    assert contents(folder) == before, "nothing was touched"


@pytest.mark.parametrize("field", ["settings", "spec", "seconds", "not_saved", "version"])
@pytest.mark.parametrize("value", ["missing", None, [1]])
def test_a_run_file_with_a_field_missing_or_odd_is_named(folder, field, value):
    facts = json.loads((folder / "run.json").read_text())
    if value == "missing":
        del facts[field]
    else:
        facts[field] = value
    (folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"run\.json was not written by fit, or somebody has"):
        Run.load(folder)


def test_a_run_of_a_later_version_says_so(folder):
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"version": 2}))
    with pytest.raises(RunError, match="another version of imgrec: 2"):
        Run.load(folder)


def test_run_files_with_anything_in_them_raise_our_errors_alone(splits, folder):
    lots = random.Random(0)
    whole = json.loads((folder / "run.json").read_text())
    odd = [None, -1, 1e308, "x", [], {}, [[]], {"": None}, True, "\udc80", 10**400]
    model = keras.saving.load_model
    keras.saving.load_model = lambda path, compile: linear()  # which is not what is tried here
    try:
        for _ in range(300):
            facts = json.loads(json.dumps(whole))
            for _ in range(lots.randrange(1, 4)):
                place = facts
                for _ in range(lots.randrange(3)):
                    inner = [v for v in place.values() if isinstance(v, dict) and v]
                    place = lots.choice(inner) if inner else place
                place[lots.choice(list(place))] = lots.choice(odd)
            (folder / "run.json").write_text(json.dumps(facts), errors="surrogatepass")
            with contextlib.suppress(ImgrecError):
                run = Run.load(folder)
                assert repr(run)
                compare(run, run)
            with contextlib.suppress(ImgrecError):
                assert accumulated(folder, 6) >= 1
    finally:
        keras.saving.load_model = model


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("history.csv", b"", r"history\.csv cannot be read"),
        ("history.csv", b"a,b\n1,2\n", r"history\.csv cannot be read"),
        ("history.csv", b"epoch,loss\n1,low\n", r"history\.csv cannot be read"),
        ("history.csv", b"\x00\xff\x93", r"history\.csv cannot be read"),
        ("model.keras", b"", r"model\.keras cannot be read"),
        ("model.keras", b"PK\x03\x04 and no more", r"model\.keras cannot be read"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, words):
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=words):
        Run.load(folder)


def test_missing_files(folder, tmp_path):
    (folder / "history.csv").unlink()
    assert len(Run.load(folder).history) == 0
    (folder / "model.keras").unlink()
    with pytest.raises(MissingFileError, match=r"has no model\.keras"):
        Run.load(folder)
    with pytest.raises(MissingFileError, match="holds no training"):
        Run.load(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MissingFileError, match="holds no training"):
        Run.load(tmp_path / "file")


def test_what_was_lost_comes_back_with_the_next_call(splits, folder, trained):
    (folder / "history.csv").unlink()
    (folder / "model.keras").unlink()
    run = train(splits, folder)
    assert (folder / "history.csv").read_text() == (trained / "history.csv").read_text()
    assert all(
        (a == b).all()
        for a, b in zip(run.model.get_weights(), Run.load(trained).model.get_weights(), strict=True)
    )


# Unfinished


def as_if_killed(folder):
    "What a kill leaves behind: `model.keras` as it was before the first step."
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"seconds": 0.0}))
    linear().save(folder / "model.keras")


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_an_unfinished_run_is_read_as_it_stands(splits, tmp_path, checkpoint):
    how = {"monitor": "loss", "checkpoint": checkpoint}
    stopped = train(splits, tmp_path, 9, callbacks=[PressCtrlC(10)], **how)
    for after in (None, as_if_killed):
        if after is not None:
            after(tmp_path)
        kept = Run.load(tmp_path)
        assert not kept.finished and "not finished" in repr(kept) and len(kept.history) == 2
        for ours, theirs in zip(kept.model.get_weights(), stopped.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"rotten")
    with pytest.warns(UserWarning, match="is damaged"):
        again = Run.load(tmp_path)
    assert len(again.history) == 2 and not again.finished


def test_a_state_of_another_network_is_named(splits, tmp_path):
    train(splits, tmp_path, 9, callbacks=[PressCtrlC(10)])
    as_if_killed(tmp_path)
    wide = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(9)])
    wide.save(tmp_path / "model.keras")
    with pytest.raises(RunError, match="checkpoints cannot be read"):
        Run.load(tmp_path)


@keras.saving.register_keras_serializable("tests")
class Registered(keras.Model):
    "A network of one's own that Keras can write down."

    def __init__(self, outputs=3, **rest):
        super().__init__(**rest)
        self.outputs = outputs
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(outputs)

    def call(self, x):
        return keras.ops.softmax(self.dense(self.flat(x / 255)))

    def get_config(self):
        return {"outputs": self.outputs, "name": self.name}


class Secret(Registered):
    "One that it cannot."

    def get_config(self):
        raise NotImplementedError("no words for it")


def test_a_network_of_ones_own_comes_back_and_one_that_cannot_be_saved_says_so(splits, tmp_path):
    for number, kind in enumerate((Registered, Secret)):
        run = train(splits, tmp_path / str(number), model=kind(name="own"))
        assert len(run.history) == 2 and run.finished
    assert len(Run.load(tmp_path / "0").history) == 2
    with pytest.raises(RunError, match=r"cannot save.*no words for it.*Call fit again"):
        Run.load(tmp_path / "1")
    again = train(splits, tmp_path / "1", model=Secret(name="own"))
    for ours, theirs in zip(run.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Folders of others


@pytest.mark.parametrize("taken", ["model.keras", "history.csv", "checkpoints/thesis.txt"])
def test_a_folder_of_somebody_else_is_left_alone_until_it_is_asked_for(
    splits, tmp_path, capsys, taken
):
    place = tmp_path / "mine"
    (place / taken).parent.mkdir(parents=True)
    (place / taken).write_text("years of work")
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("more")
    before = contents(place)
    for choice in (None, "continue"):
        with pytest.raises(RunError, match=r"is no run's folder.*which would be lost"):
            train(splits, place, if_exists=choice)
        assert contents(place) == before
    assert train(splits, place, if_exists="new").finished
    assert contents(tmp_path / "mine-old-1") == before
    assert f"is now in {tmp_path / 'mine-old-1'}" in capsys.readouterr().out


def test_a_folder_of_the_pictures_is_refused_and_left_as_it_was(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for shade in (40, 200):
            image = Image.new("RGB", (8, 8), (shade, 0, 0) if name == "cats" else (0, shade, 0))
            image.save(tmp_path / "pictures" / name / f"{shade}.png")
    root = tmp_path / "pictures"
    photos = Catalog.from_folder(root)
    photos = replace(photos, table=photos.table.assign(split="train"))
    few = load(photos, image_size=8, label_mode="categorical", cache="off")
    pixels = keras.Input((8, 8, 3))
    means = keras.layers.GlobalAveragePooling2D()(pixels)
    backbone = keras.Model(pixels, means)
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(means))
    before = contents(tmp_path)
    for place in (root, tmp_path, root / "cats"):
        for choice in (None, "new"):
            with pytest.raises(RunError, match=r"holds pictures that are trained on \(cats"):
                fit(model, few, 1, directory=place, if_exists=choice)
            with pytest.raises(RunError, match="Keep the run in another folder"):
                fine_tune(backbone, few, 0, directory=place, if_exists=choice)
    assert contents(tmp_path) == before
    assert fit(model, few, 1, directory=tmp_path / "run", progress="none").finished


def test_files_beside_a_run_stay_where_they_are(splits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.keras").write_text("mine too")
    train(splits, tmp_path)
    train(splits, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "sub" / "model.keras").read_text() == "mine too"


def test_new_moves_all_aside_and_loses_nothing(splits, folder):
    (folder / "notes.txt").write_text("mine")
    for number in (1, 2):
        before = contents(folder)
        train(splits, folder, 1, if_exists="new")
        assert contents(folder.with_name(f"run-old-{number}")) == before
    assert Run.load(folder.with_name("run-old-1")).finished
    assert len(Run.load(folder).history) == 1


def test_the_folder_where_one_is_can_be_moved_aside_too(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert free_name(Path()) == folder.with_name("run-old-1")
    assert free_name(Path("../run/..")).parent == folder.parent.parent


def test_a_finished_run_without_states_is_not_overwritten(splits, folder):
    shutil.rmtree(folder / "checkpoints")
    before = contents(folder)
    with pytest.raises(RunError, match=r"has ended, and no state to go on from\. Run\.load"):
        train(splits, folder)
    assert contents(folder) == before and Run.load(folder).finished


def test_what_kills_have_left_is_cleared_away(splits, folder):
    torn = [folder / ".model-ab12.keras", folder / ".run-x.json", folder / ".history-y.csv"]
    torn.append(folder / "checkpoints" / ".step-0000000004-z.checkpoint")
    for path in torn:
        path.write_bytes(b"half")
    (folder / ".mine").write_text("stays")
    train(splits, folder)
    assert not any(path.exists() for path in torn) and (folder / ".mine").exists()


def test_a_kill_before_the_first_step_leaves_a_folder_to_begin_in(splits, tmp_path, monkeypatch):
    "The run file is written first: what follows is known to be ours."

    def killed(*arguments):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("imgrec.run_folder._save_model", killed)
        with pytest.raises(SystemExit):
            train(splits, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["run.json"]
    (tmp_path / "model.keras").write_bytes(b"half")
    assert train(splits, tmp_path).finished


def test_a_kill_before_the_first_state_begins_with_the_same_weights(
    splits, folder, tmp_path, monkeypatch
):
    def killed(*arguments):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("imgrec.train.run_epochs", killed)
        with pytest.raises(SystemExit):
            train(splits, tmp_path / "second")
    other = linear()
    other.set_weights([weight + 0.3 for weight in other.get_weights()])
    run = train(splits, tmp_path / "second", model=other)
    pd.testing.assert_frame_equal(run.history, Run.load(folder).history)


def test_a_training_that_goes_on_shows_its_earlier_epochs(splits, tmp_path, capsys):
    whole = {"progress": "log", "monitor": "loss"}
    train(splits, tmp_path / "whole", 4, callbacks=[PressCtrlC(0)], **whole)
    shown = [line for line in capsys.readouterr().out.splitlines() if "epoch 4/4" in line]
    train(splits, tmp_path / "two", 4, callbacks=[PressCtrlC(10)], **whole)
    train(splits, tmp_path / "two", 4, callbacks=[PressCtrlC(0)], **whole)
    again = [line for line in capsys.readouterr().out.splitlines() if "epoch 4/4" in line]
    best = [line.rpartition(", best ")[2] for line in (*shown, *again)]
    assert len(best) == 2 and best[0] == best[1]


def test_another_loss_begins_a_new_comparison(splits, tmp_path, capsys):
    train(splits, tmp_path, 4)
    how = {"if_exists": "continue", "label_smoothing": 0.5}  # every loss is higher now
    run = train(splits, tmp_path, 7, progress="log", **how)
    assert len(run.history) == 7 and run.best_epoch > 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "epoch 7/7" in line]
    assert lines[-1].endswith(f", best {run.best_epoch}")
    assert run.history["val_loss"].min() == run.history["val_loss"].iloc[:4].min()
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.5)
    run.model.compile(loss=loss)
    found = run.model.evaluate(splits.valid, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(run.history["val_loss"][run.best_epoch], rel=1e-4)
    assert Run.load(tmp_path).best_epoch == run.best_epoch


def test_patience_begins_anew_with_what_is_changed(splits, tmp_path):
    train(splits, tmp_path, 4)
    how = {"if_exists": "continue", "learning_rate": 1e-9, "schedule": "constant"}
    run = train(splits, tmp_path, 20, early_stopping=3, **how)
    assert len(run.history) >= 4 + 3


@pytest.mark.parametrize("size", [3, 12])
def test_what_is_trained_further_can_be_broken_off_too(splits, folder, tmp_path, size):
    other, how = splits.with_options(batch_size=size), {"epochs": 5, "if_exists": "continue"}
    whole = shutil.copytree(folder, tmp_path / "whole")
    expected = train(other, whole, **how, callbacks=[PressCtrlC(0)])
    assert len(expected.history) == 5 and expected.history.index.is_unique
    broken = train(other, folder, **how, callbacks=[PressCtrlC(3)])
    assert not broken.finished and len(broken.history) < 5
    for _ in range(2):  # to its end, and then once more
        run = train(other, folder, **how, callbacks=[PressCtrlC(0)])
        pd.testing.assert_frame_equal(run.history, expected.history)
        for ours, theirs in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert len(list((folder / "checkpoints").iterdir())) <= 2


def test_a_kill_while_another_training_takes_over_harms_neither(
    splits, folder, tmp_path, monkeypatch
):
    other, how = splits.with_options(batch_size=12), {"epochs": 4, "if_exists": "continue"}
    whole = shutil.copytree(folder, tmp_path / "whole")
    expected = train(other, whole, **how)
    with monkeypatch.context() as patch:

        def killed(*these):
            raise SystemExit

        patch.setattr("imgrec.run_folder._save_model", killed)
        with pytest.raises(SystemExit):
            train(other, folder, **how)
    for kept in Path(shutil.copytree(folder, tmp_path / "back"), "checkpoints").iterdir():
        assert kept.name == "step-0000000004.checkpoint"  # of six batches, it was step 8
    run = train(other, folder, how["epochs"])  # the state knows that it is this one's
    pd.testing.assert_frame_equal(run.history, expected.history)
    back = tmp_path / "back"
    with pytest.raises(RunError, match="its state was taken over with other settings"):
        train(splits, back)  # what was there first
    first = train(splits, back, if_exists="continue")
    assert first.finished and len(first.history) == 2


def test_another_direction_begins_a_new_comparison(splits, tmp_path):
    own = {"callbacks": [Cost()], "early_stopping": None}
    assert train(splits, tmp_path, 3, monitor=("val_cost", "min"), **own).best_epoch == 1
    how = {"if_exists": "continue", **own}
    run = train(splits, tmp_path, 5, monitor=("val_cost", "max"), **how)
    assert run.best_epoch == 5 and run.settings["since"] == 3
    assert Run.load(tmp_path).best_epoch == 5


class Cost(keras.callbacks.Callback):
    "Something that grows from epoch to epoch."

    def on_epoch_end(self, epoch, logs=None):
        logs["val_cost"] = epoch


@pytest.mark.parametrize("kind", ["loss", "missing"])
def test_without_what_was_monitored_the_best_epoch_has_the_lowest_loss(splits, folder, kind):
    run = Run.load(folder)
    history = run.history.assign(loss=[0.5, 0.9], val_accuracy=np.nan)
    history = history.drop(columns="val_accuracy") if kind == "missing" else history
    settings = run.settings | {"monitor": "val_accuracy", "direction": "max"}
    assert replace(run, history=history, settings=settings).best_epoch == 1


def test_first_weights_that_are_not_used_are_said(splits, tmp_path, capsys):
    began = train(splits, tmp_path)
    again = train(splits, tmp_path, progress="log")
    assert (
        f"It has ended, in epoch {len(began.history)} of {len(began.history)}.\n"
        in capsys.readouterr().out
    )
    other = linear()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    third = train(splits, tmp_path, model=other, progress="log")
    assert ", with the weights it began with." in capsys.readouterr().out
    for run in (again, third):
        assert run.settings["first_weights"] == began.settings["first_weights"]
        np.testing.assert_array_equal(run.model.get_weights()[0], began.model.get_weights()[0])


def test_states_that_cannot_be_read_are_left_as_they_are(splits, tmp_path, monkeypatch):
    train(splits, tmp_path, 3, callbacks=[PressCtrlC(6)])
    before = contents(tmp_path / "checkpoints")
    with monkeypatch.context() as patch:

        def refused(path):
            raise PermissionError(13, "Permission denied", str(path))

        patch.setattr("imgrec.checkpoints.Path.read_bytes", refused)
        with pytest.raises(RunError, match="checkpoints cannot be read: PermissionError"):
            train(splits, tmp_path, 3, callbacks=[PressCtrlC(0)])
    assert contents(tmp_path / "checkpoints") == before
    assert train(splits, tmp_path, 3, callbacks=[PressCtrlC(0)]).finished


def test_where_no_state_is_whole_it_begins_anew_and_says_so(splits, tmp_path):
    train(splits, tmp_path, 3, callbacks=[PressCtrlC(6)])
    for state in (tmp_path / "checkpoints").iterdir():
        state.write_bytes(b"rot")
    with pytest.warns(UserWarning) as told:
        run = train(splits, tmp_path, 3, callbacks=[PressCtrlC(0)])
    assert any("no whole state any more: it begins anew" in str(each.message) for each in told)
    assert run.finished and len(run.history) == 3
    assert len(list((tmp_path / "checkpoints").glob("*.damaged"))) == 2, "they may be looked at"
    for state in (tmp_path / "checkpoints").iterdir():
        state.write_bytes(b"rot")
    with pytest.warns(UserWarning) as told, pytest.raises(RunError, match="no state to go on from"):
        train(splits, tmp_path, 3, callbacks=[PressCtrlC(0)])
    assert not any("begins anew" in str(each.message) for each in told)


class StopAfter(keras.callbacks.Callback):
    "Ends a training in the middle of an epoch."

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.model.stop_training = True

    def get_state(self):
        return self.left

    def set_state(self, state):
        self.left = state


@pytest.mark.parametrize("press", [{"train": 6}, {"test": 3}])  # in the second epoch
def test_a_stop_inside_an_epoch_is_carried_out_after_a_break(splits, tmp_path, press):
    def go(name, **keys):
        return train(splits, tmp_path / name, 4, callbacks=[StopAfter(6), PressCtrlC(**keys)])

    whole, broken = go("whole"), go("broken", **press)
    assert len(whole.history) == 2 and not broken.finished and len(broken.history) == 1
    run = go("broken")
    assert run.finished
    pd.testing.assert_frame_equal(run.history, whole.history)
    for ours, theirs in zip(run.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tensorboard_may_join_later(splits, tmp_path):
    pytest.importorskip("tensorboard")
    train(splits, tmp_path / "run", 3, callbacks=[PressCtrlC(6)])
    logs = {"tensorboard": tmp_path / "logs"}
    run = train(splits, tmp_path / "run", 3, callbacks=[PressCtrlC(0)], **logs)
    assert run.finished and any((tmp_path / "logs").rglob("events*"))


def test_other_versions_are_said(splits, tmp_path):
    train(splits, tmp_path, 3, callbacks=[PressCtrlC(6)])
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["settings"]["versions"]["keras"] = "3.0"
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.warns(UserWarning, match="other versions .keras: '3.0' became"):
        train(splits, tmp_path, 3, callbacks=[PressCtrlC(0)])


def test_other_arrays_are_another_training(tmp_path):
    train([(PICTURES, LABELS)], tmp_path)
    assert train([(PICTURES.copy(), LABELS)], tmp_path).finished
    with pytest.raises(
        RunError, match=r"data \(pictures, labels or parts\): 'arrays [0-9a-f]+' became 'arrays"
    ):
        train([(PICTURES, (LABELS + 1) % 3)], tmp_path)


def test_new_replaces_what_cannot_be_read(splits, folder):
    (folder / "run.json").write_text("{")
    assert train(splits, folder, if_exists="new").finished


def test_states_are_kept_at_least_every_thirty_seconds(splits, tmp_path, monkeypatch):
    clock, kept = [0.0], []

    def slow_disk(folder, step, arrays, facts, alone=False):
        kept.append(clock[0])
        clock[0] += 2.0  # it takes long, so it is done less often

    class Tick(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock[0] += 1.5

    monkeypatch.setattr("imgrec.run_folder.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("imgrec.run_folder.write_checkpoint", slow_disk)
    train(splits, tmp_path, 20, callbacks=[Tick()])
    gaps = np.diff(kept)
    assert len(kept) >= 4 and gaps.max() <= 30 and gaps[1:-1].min() > 10


def test_a_file_where_the_folder_should_be(splits, tmp_path):
    (tmp_path / "run").write_text("I was here first")
    for place in (tmp_path / "run", tmp_path / "run" / "inside"):
        with pytest.raises(RunError, match="cannot be a run's folder"):
            train(splits, place)
    assert (tmp_path / "run").read_text() == "I was here first"


def test_a_folder_that_cannot_be_written_to(splits, folder):
    command = ["mount", "--bind", "-o", "ro", str(folder), str(folder)]
    made = subprocess.run(command, capture_output=True)
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        with pytest.raises(RunError, match="cannot be a run's folder"):
            train(splits, folder)
        assert Run.load(folder).finished, "it can be read all the same"
    finally:
        subprocess.run(["umount", str(folder)], check=True)


HOLD = """
import sys, time
from pathlib import Path
from imgrec.places import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_do_not_train_in_one_folder(splits, folder):
    before = contents(folder)
    pipes = {"stdout": subprocess.PIPE, "text": True}
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes)
    try:
        assert other.stdout.readline() == "held\n"
        for choice in (None, "new", "continue"):
            with pytest.raises(RunError, match="is being trained in by another process"):
                train(splits, folder, if_exists=choice)
        assert contents(folder) == before
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert train(splits, folder).finished, "a lock ends with its process"
    with locked(folder), pytest.raises(RunError, match="another process"), locked(folder):
        pass


# The same work goes on


def test_the_same_cell_run_again_goes_on_though_keras_counts_its_models(splits, tmp_path):
    def build():
        last = keras.layers.Dense(3, activation="softmax")
        return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), last])

    first, second = build(), build()
    assert first.name != second.name
    run = train(splits, tmp_path, model=first)
    again = train(splits, tmp_path, model=second)
    pd.testing.assert_frame_equal(run.history, again.history)


def test_arrays_go_on_from_the_last_epoch_that_ended(tmp_path, capsys):
    data = ((PICTURES, LABELS), (PICTURES, LABELS))
    stopped = train(data, tmp_path, 4, callbacks=[PressCtrlC(5)], progress="log")
    assert "it goes on from an epoch's end" in capsys.readouterr().out
    assert len(stopped.history) == 2, "two batches an epoch"
    assert len(Run.load(tmp_path).history) == 2
    run = train(data, tmp_path, 4, callbacks=[PressCtrlC(0)])
    assert run.history["loss"].iloc[:2].tolist() == stopped.history["loss"].tolist()
    assert run.finished and len(run.history) == 4


def test_a_state_of_a_loss_that_is_no_number_is_not_kept(splits, tmp_path, monkeypatch):
    monkeypatch.setattr("imgrec.run_folder._EVERY", 0.0)
    monkeypatch.setattr("imgrec.run_folder._AT_MOST", 0.0)

    class Explosion(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2 and len(self.seen) == 1:
                self.model.set_weights([w * np.nan for w in self.model.get_weights()])

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(epoch)

        seen = ()

    explosion = Explosion()
    explosion.seen = []
    with pytest.raises(ImgrecError, match="nan in epoch 2"):
        train(splits, tmp_path, 3, callbacks=[explosion])
    calm = train(splits, tmp_path, 3, learning_rate=0.01, if_exists="continue")
    assert len(calm.history) == 3 and np.isfinite(calm.history.to_numpy()).all()


# Side by side


def run_of(history, place, **settings):
    "A run with this history."
    return Run(linear(), history_table(history), 1.5, settings, None, place)


def test_runs_with_other_metrics_stand_side_by_side():
    one = run_of([{"loss": 2.0, "val_loss": 1.0, "auc": 0.5}], Path("a/run"), seed=0, data={"x": 1})
    two = run_of([{"loss": 1.0, "f1": 0.25}, {"loss": 3.0, "f1": 0.1}], Path("b/run"), seed=0)
    none = run_of([], None, seed=0, data={"x": 1})
    table = compare(one, two, none)
    assert list(table.columns) == ["a/run", "b/run", "run"]
    results = table.loc["best epoch"]
    assert results.loc["best_epoch"].tolist() == [1, 1, 0]
    assert results.loc["f1", "b/run"] == 0.25 and pd.isna(results.loc["f1", "a/run"])
    assert ("settings", "data.x") in table.index and ("settings", "seed") not in table.index
    assert list(compare(one, replace(one), one).columns) == ["a/run 1", "a/run 2", "a/run 3"]


def test_compare_says_what_differs_between_two_trainings(splits, folder, tmp_path):
    other = train(splits, tmp_path / "other", 1, optimizer="sgd", class_weights={"dark": 2})
    whole = compare(folder, other)
    assert all(isinstance(value, int) for value in whole.loc[("best epoch", "best_epoch")])
    table = whole.loc["settings"]
    assert table.loc["epochs"].tolist() == [2, 1]
    assert table.loc["optimizer"].tolist() == ["AdamW", "SGD"]
    assert table.loc["class_weights.dark", "other"] == 2
    same = ["data.batch_size", "seed", "model", "versions.keras"]
    assert not set(same) & set(table.index)
    assert not any(a == b for a, b in itertools.pairwise(table.index))


def test_a_run_among_the_pictures_is_no_class_of_them(splits, tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), "red" if name == "cats" else "blue").save(
            tmp_path / name / "1.png"
        )

    def pictures():
        found = Catalog.from_folder(tmp_path)
        return replace(found, table=found.table.assign(split="train"))

    def again(place, epochs):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(2, "softmax"),
            ]
        )
        few = load(pictures(), image_size=8, label_mode="categorical", cache="off")
        return fit(model, few, epochs, directory=place, progress="none", if_exists="continue")

    for place in (tmp_path / "run", tmp_path / "cats" / "run"):
        assert len(again(place, 1).history) == 1
        assert len(again(place, 2).history) == 2
    assert pictures().class_names == ("cats", "dogs") and len(pictures()) == 2
    left = pictures().problems.set_index("file")["reason"]
    assert left["run"] == left["cats/run"] == "a run, a search or a classifier of imgrec's"


def test_runs_are_compared_in_a_list_too(splits, tmp_path):
    runs = [train(splits, tmp_path / str(n), n) for n in (1, 2)]
    assert compare(runs).equals(compare(*runs))
    with pytest.raises(OptionError, match="nothing to compare in 1 run"):
        compare(runs[:1])


def test_another_network_is_not_offered_to_go_on(splits, folder):
    other = keras.Sequential([*linear().layers[:-1], keras.layers.Dense(3), keras.layers.Softmax()])
    with pytest.raises(RunError, match='Set if_exists to "new" to begin anew') as caught:
        train(splits, folder, model=other)
    assert '"continue"' not in str(caught.value)
    with pytest.raises(RunError, match='"continue" to train its weights further'):
        train(splits, folder, label_smoothing=0.1)

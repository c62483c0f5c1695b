"""A winner is trained on all but the test part, which is looked at once."""

import json
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import imgrec.winner as page
from imgrec.core import DataError, OptionError, SearchError
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.looks import UsedWarning, looks_at, score_once
from imgrec.plan import Plan
from imgrec.state import SearchState, TrialState
from imgrec.votes import answers_of, predictions_file, save_predictions
from imgrec.winner import retrained, seeds_for, winner, with_validation


def flat(spec, width=4):
    "The smallest network that can learn."
    layers = [keras.layers.Flatten(), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Dense(width, "relu"), keras.layers.Dense(spec.classes, "softmax")]
    return keras.Sequential([keras.Input(spec.shape), *layers])


@pytest.fixture(scope="module")
def splits():
    catalog = digits().sample(20).split(valid=0.25, test=0.25)
    return load(catalog, image_size=8, augment="none", batch_size=20)


def state_of(objective="val_accuracy", **point):
    "Two trials that have finished."
    trials = {
        number: TrialState(
            number, point | {"width": 4 * number}, 7, 8, status="finished", score=0.5, best_epoch=4
        )
        for number in (1, 2)
    }
    trials[2] = replace(trials[2], score=0.6)
    return SearchState({}, {"objective": objective, "direction": "max"}, trials=trials)


# ---- all pictures but the test


def test_validation_moves_to_training_and_nothing_else_changes(splits):
    larger = with_validation(splits)
    before, after = splits.catalog.table, larger.catalog.table
    assert (after["split"][before["split"] == "valid"] == "train").all()
    same = before["split"] != "valid"
    assert (after["split"][same] == before["split"][same]).all()
    assert larger.settings == splits.settings and larger.spec == splits.spec
    assert larger.valid is None and with_validation(larger) is larger
    seen = np.concatenate([x.numpy() for x, _ in larger.ordered("train")])
    assert len(seen) == (before["split"].isin(["train", "valid"])).sum()


def test_folds_are_put_together_without_a_warning(recwarn):
    catalog = digits().sample(10).split(test=0.2, folds=4).fold(1)
    larger = with_validation(load(catalog, image_size=8, augment="none"))
    assert set(larger.catalog.table["split"]) == {"train", "test"}
    assert not [each for each in recwarn if "fold" in str(each.message)]


def test_datasets_follow_one_another_in_random_batches():
    x = np.repeat(np.arange(2, 42, dtype="uint8"), 64).reshape(40, 8, 8, 1)
    y = np.arange(40) % 2
    own = from_datasets((x[:30], y[:30]), (x[30:], y[30:]), (x[:4], y[:4]), batch_size=5)
    larger = with_validation(own)
    order = [int(value) for pictures, _ in larger.train for value in pictures[:, 0, 0, 0]]
    assert sorted(order) == list(range(2, 42)) and larger.valid is None
    assert max(order[-5:]) < 32 or max(order[:30]) >= 32, "validation is not always the end"
    assert larger.test is own.test and larger.fingerprint != own.fingerprint


def test_datasets_that_do_not_fit_are_told():
    x, y = np.full((8, 8, 8, 1), 100, "uint8"), np.arange(8) % 2
    own = from_datasets((x, y), (x, y))
    weighted = tf.data.Dataset.from_tensor_slices((x, y, np.ones(8))).batch(4)
    with pytest.raises(DataError, match="different kinds of batches"):
        with_validation(replace(own, valid=weighted))


# ---- trained again


def test_each_seed_has_its_weights_and_the_same_ones_every_time(splits):
    plan = Plan(flat, splits, epochs=8)
    first, second = retrained(plan, state_of(), seeds=2), retrained(plan, state_of(), seeds=1)
    assert len(first[0].history) == 4, "as many epochs as the best trial had needed"
    kernels = [run.model.layers[2].kernel.numpy() for run in (*first, *second)]
    assert not np.allclose(kernels[0], kernels[1])
    assert np.array_equal(kernels[0], kernels[2])
    assert first[0].model.layers[2].units == 8, "the best trial's point"
    assert retrained(plan, state_of(), trial=1, seeds=1)[0].model.layers[2].units == 4


class Spy(keras.callbacks.Callback):
    "Counts epochs."

    epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        type(self).epochs += 1


def test_what_watches_the_validation_part_is_left_out(splits):
    Spy.epochs = 0

    def options():
        stop = keras.callbacks.EarlyStopping("val_loss", patience=0)
        return {"early_stopping": 1, "monitor": "val_accuracy", "callbacks": [stop, Spy()]}

    plan = Plan(flat, splits, epochs=8, fit_options=options)
    (run,) = retrained(plan, state_of(early_stopping=1, learning_rate=0.01), seeds=1)
    assert Spy.epochs == len(run.history) == 4
    assert run.settings["monitor"] == "loss" and run.settings["early_stopping"] is None
    assert run.settings["checkpoint"] == "last"


@pytest.mark.parametrize("seeds", [0, -1, 1.5, "3"])
def test_a_number_of_seeds_is_a_whole_one(seeds):
    with pytest.raises(OptionError, match="whole number from 1"):
        seeds_for(state_of().trials[1], seeds)


def test_a_trial_without_a_score_cannot_win(splits, tmp_path):
    plan, state = Plan(flat, splits), state_of()
    state.trials[3] = TrialState(3, {}, 1, 2, status="failed", reason="ValueError: no")
    for number in (3, 9):
        with pytest.raises(SearchError, match="Expected one of 1, 2"):
            winner(plan, state, tmp_path, trial=number)
    nothing = SearchState(settings=state.settings, trials={3: state.trials[3]})
    with pytest.raises(SearchError, match="ValueError: no"):
        winner(plan, nothing, tmp_path)


# ---- the whole


def test_a_winner_has_all_that_is_known(splits, tmp_path):
    plan, state = Plan(flat, splits, epochs=8), state_of()
    rng = np.random.default_rng(0)
    true = answers_of(flat(splits.spec), splits).true
    for number in (1, 2):
        answers = rng.dirichlet(np.ones(10), len(true))
        save_predictions(predictions_file(tmp_path, number), true, answers)
    found = winner(plan, state, tmp_path, seeds=2)
    assert found.trial == found.standing.best == 2 and found.epochs == 4
    assert len(found.runs) == len(found.look.scores) == 2
    votes = answers_of(found.model, splits, "test")
    right = (votes.probabilities[0].argmax(axis=1) == votes.true).mean()
    assert found.look.scores[0] == pytest.approx(right), "the first seed is the one that is used"
    for words in ("Winner: trial 2  (width=8)", "2 seeds, 4 epochs each", "look 1", "too good"):
        assert words in repr(found)
    kept = sorted(path.name for path in (tmp_path / "winner" / "2").iterdir())
    assert kept == ["seed-1", "seed-2"]
    for gap, said in ((0.01, True), (-0.01, False)):
        sure = replace(found.standing, low=found.look.high + gap, high=found.look.high + 0.1)
        assert ("WORSE" in repr(replace(found, standing=sure))) == said
        other = replace(found.look, trial=1)
        assert "WORSE" not in repr(replace(found, standing=sure, look=other))
        assert "WORSE" not in repr(replace(found, trial=found.trial + 1, standing=sure))


def test_a_winner_that_was_killed_goes_on(splits, tmp_path, monkeypatch):
    plan, state = Plan(flat, splits, epochs=8), state_of()
    real, calls = page.fit_point, []

    def killed(*arguments, **options):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(page, "fit_point", killed)
    with pytest.raises(KeyboardInterrupt):
        winner(plan, state, tmp_path, seeds=2)
    assert looks_at(tmp_path) == [], "nobody has looked"
    monkeypatch.setattr(page, "fit_point", real)
    found = winner(plan, state, tmp_path, seeds=2)
    again = winner(plan, state, tmp_path, seeds=2)
    assert [run.seconds for run in again.runs] == [run.seconds for run in found.runs]
    assert again.look == found.look and len(looks_at(tmp_path)) == 1


def test_an_own_objective_has_a_winner_by_accuracy(splits, tmp_path):
    found = winner(Plan(flat, splits), state_of("val_cost"), tmp_path, seeds=1)
    assert found.standing is None and found.look.measure == "accuracy"
    assert "standing is not known" in repr(found) and "val_cost" in repr(found)


def test_without_a_test_part_it_is_said_before_anything_is_trained(tmp_path):
    splits = load(digits().sample(6).split(valid=0.3, test=0), image_size=8, augment="none")
    plan = Plan(flat, splits)
    with pytest.raises(DataError, match="no test part"):
        winner(plan, state_of(), tmp_path)
    assert not (tmp_path / "winner").exists()
    assert winner(plan, state_of(), tmp_path, seeds=1, test=False).look is None


def test_that_the_test_part_was_used_is_said_before_anything_is_trained(splits, tmp_path):
    plan, state = Plan(flat, splits, epochs=2), state_of()
    look = score_once([flat(splits.spec)], splits, tmp_path, 1, (1,))
    with warnings.catch_warnings(), pytest.raises(UsedWarning, match="for trial 1"):
        warnings.simplefilter("error", UsedWarning)
        winner(plan, state, tmp_path, seeds=1)
    assert not (tmp_path / "winner").exists()
    with pytest.warns(UsedWarning) as said:
        found = winner(plan, state, tmp_path, seeds=1)
    assert [each.category for each in said].count(UsedWarning) == 1
    assert found.look == look and "ANOTHER TRIAL" in repr(found)
    assert winner(plan, state, tmp_path, seeds=1, again=True).look.number == 2


# ---- once


def test_the_same_question_is_answered_by_the_note_and_another_by_a_warning(splits, tmp_path):
    models = [flat(splits.spec) for _ in range(2)]
    look = score_once(models, splits, tmp_path, 4, (1, 2))
    assert score_once(models[::-1], splits, tmp_path, 4, (1, 2)) == look, "nothing was scored"
    for trial, seeds in ((5, (1, 2)), (4, (3, 4))):
        with pytest.warns(UsedWarning, match="used before, for trial 4"):
            assert score_once(models, splits, tmp_path, trial, seeds) == look
    assert looks_at(tmp_path) == [look]
    second = score_once(models, splits, tmp_path, 5, (1, 2), again=True)
    assert second.number == 2 and looks_at(tmp_path) == [look, second]
    assert "look 2" in repr(second)


def test_other_pictures_are_another_test(splits, tmp_path):
    model = flat(splits.spec)
    first = score_once([model], splits, tmp_path, 1, (1,))
    other = load(digits().sample(20, seed=1).split(test=0.3), image_size=8, augment="none")
    second = score_once([model], other, tmp_path, 1, (1,))
    assert second.number == 1 and second.data != first.data


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": "x", "looks": []}', '{"looks": 3, "format": "F"}'],
)
def test_a_damaged_note_is_never_taken_for_none(text, splits, tmp_path):
    (tmp_path / "test_used.json").write_text(text.replace('"F"', '"imgrec looks at a test part"'))
    with pytest.raises(SearchError, match=r"test_used\.json cannot be read.*restore it"):
        score_once([flat(splits.spec)], splits, tmp_path, 1, (1,))


def test_the_note_is_json_that_a_person_can_read(splits, tmp_path):
    score_once([flat(splits.spec)], splits, tmp_path, 1, (1,), measure="loss")
    (noted,) = json.loads((tmp_path / "test_used.json").read_text())["looks"]
    assert noted["measure"] == "loss" and noted["pictures"] == 50 and noted["when"][:2] == "20"


def test_models_and_seeds_go_together(splits, tmp_path):
    for models, seeds in (([], ()), ([flat(splits.spec)], (1, 2))):
        with pytest.raises(OptionError, match="a seed for each model"):
            score_once(models, splits, tmp_path, 1, seeds)
    with pytest.raises(DataError, match="no part 'train'"):
        answers_of(flat(splits.spec), splits, "train")


def test_a_single_output_and_several_labels_are_answered_in_their_form():
    x, y = np.random.default_rng(0).integers(255, size=(12, 8, 8, 1)), np.arange(12) % 2
    one = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    one.add(keras.layers.Rescaling(1 / 255))
    one.add(keras.layers.Dense(1, "sigmoid"))
    x = x.astype("uint8")
    data = from_datasets((x, y), (x, y), label_mode="binary")
    assert answers_of(one, data).probabilities.shape == (1, 12, 1)
    many = keras.Sequential([*one.layers[:-1], keras.layers.Dense(3, "sigmoid")])
    labels = np.random.default_rng(1).integers(2, size=(12, 3)).astype("float32")
    data = from_datasets((x, labels), (x, labels), label_mode="multi_label")
    assert (answers_of(many, data).true == labels).all()

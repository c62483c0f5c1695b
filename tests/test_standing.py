"""How sure a winner is: told from the answers, right on average, and never made up."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import cut_off, own_axes, texts_of

from imgrec.core import OptionError, SearchError
from imgrec.measures import per_picture
from imgrec.standing import Standing, luck_of_the_best, simplest_of, standing
from imgrec.standing_plots import plot_standing
from imgrec.state import SearchState, TrialState, replay
from imgrec.votes import Votes, predictions_file, save_predictions

SETTINGS = {"objective": "val_accuracy", "direction": "max"}


def told(shares, n=300, seed=0):
    "Labels and the answers of trials that are right on these shares of the pictures."
    rng = np.random.default_rng(seed)
    true, ease = rng.integers(3, size=n), rng.random(n)
    found = []
    for share in shares:
        edge = 1 - ((1 - share) / 2) ** 0.5 if share >= 0.5 else (share / 2) ** 0.5
        right = (ease + rng.random(n)) / 2 < edge  # so many, for the mean of two random numbers
        said = np.where(right, true, (true + 1) % 3)
        found.append((np.eye(3)[said] * 0.6 + 0.4 / 3).astype("float32"))
    return true, found


def search_of(directory, shares, n=300, seed=0, objective="val_accuracy"):
    "The state of a search, by its events, with predictions of all trials."
    true, answers = told(shares, n, seed)
    direction = "min" if objective.endswith("loss") else "max"
    about = {"objective": objective, "direction": direction}
    create = {"space": {"width": {}}, "settings": about, "budget": {}, "versions": {}}
    events = [{"event": "search_created", **create}]
    measure = objective.removeprefix("val_")
    for number, each in enumerate(answers, start=1):
        save_predictions(predictions_file(directory, number), true, each)
        value = per_picture(measure, Votes(true, each[None], np.arange(n)))
        score = 0.5 if value is None else float(value.mean())
        asked = {"point": {"width": number}, "seed": 1, "epochs": 2, "parent": None}
        events += [
            {"event": "trial_asked", "trial": number, "initial_epoch": 0} | asked,
            {"event": "trial_started", "trial": number, "worker": "inline"},
            {"event": "epoch_ended", "trial": number, "epoch": 1, "seconds": 1.0 + number}
            | {"logs": {objective: score}},
            {"event": "trial_finished", "trial": number, "score": score, "best_epoch": 1}
            | {"seconds": 1.0},
        ]
    return replay(events)


def test_a_clear_winner_stands_alone_and_is_not_too_good(tmp_path):
    found = standing(search_of(tmp_path, [0.95, 0.6, 0.6]), tmp_path)
    assert (found.best, found.ties, found.suggestion) == (1, (1,), 1)
    assert found.optimism == 0.0 and found.expected == found.score
    assert found.low < found.score < found.high and found.price == 0.0
    assert "none (paired tests" in repr(found) and "trial 1 itself" in repr(found)


def test_a_smaller_tie_that_is_passed_over_is_named():
    table = pd.DataFrame({"trial": [1, 7, 3], "behind": [0.0, 0.2, 0.5], "p_alone": [1, 0.01, 0]})
    table = table.assign(tie=[True, True, False], parameters=[2410.0, 610.0, 5.0], score=0.5)
    table = table.assign(seconds_an_epoch=1.0, error=0.1, low=0.4, high=0.6)
    suggestion, why = simplest_of(table)
    facts = {"noise_floor": 0.2, "ties": (1, 7), "table": table, "optimism": 0.0, "recorded": 0.5}
    how = {"objective": "val_accuracy", "direction": "max", "pictures": 9}
    found = Standing(1, 0.5, 0.4, 0.6, suggestion=suggestion, why=why, **how, **facts)
    wanted = "trial 1 itself, the smallest of them but for 7, worse by a test of its own"
    assert suggestion == 1 and wanted in repr(found)


def test_equal_trials_are_all_ties_and_the_fastest_is_suggested(tmp_path):
    state = search_of(tmp_path, [0.8] * 6, seed=1)
    found = standing(state, tmp_path)
    assert sorted(found.ties) == [1, 2, 3, 4, 5, 6]
    assert found.ties[0] == found.best == state.best.trial
    assert (found.suggestion, found.why) == (1, "seconds_an_epoch")
    assert found.price == pytest.approx(found.score - state.trials[1].score)
    assert 0 < found.optimism < 0.1 and 0.01 < found.noise_floor < 0.1


def test_the_very_same_answers_cost_nothing_to_choose_among(tmp_path):
    state = search_of(tmp_path, [0.8])
    for number in (2, 3):
        file = predictions_file(tmp_path, number)
        file.write_bytes(predictions_file(tmp_path, 1).read_bytes())
        state.trials[number] = replace(state.trials[1], trial=number)
    found = standing(state, tmp_path)
    assert found.ties == (1, 2, 3) and found.optimism == 0.0
    assert found.noise_floor == pytest.approx(6 / 300)


def test_a_small_loss_is_a_good_one(tmp_path):
    found = standing(search_of(tmp_path, [0.6, 0.9, 0.7], objective="val_loss"), tmp_path)
    assert found.best == 2 and found.expected >= found.score
    assert (found.table["behind"] >= 0).all() and found.ties == (2,)


def test_an_area_under_a_curve_has_its_ties_too(tmp_path):
    state = search_of(tmp_path, [0.6, 0.9, 0.9], objective="val_auc")
    for number, score in ((1, 0.7), (2, 0.93), (3, 0.92)):
        state.trials[number] = replace(state.trials[number], score=score)
    found = standing(state, tmp_path, count=200)
    assert found.ties == (2, 3) and found.low < found.score < found.high


def test_a_single_trial_has_an_interval_and_no_company(tmp_path):
    found = standing(search_of(tmp_path, [0.8]), tmp_path)
    assert found.ties == (1,) and math.isnan(found.noise_floor) and found.optimism == 0
    assert "noise floor" not in repr(found) and "has noted" not in repr(found)


def test_answers_that_do_not_belong_to_the_score_are_told(tmp_path):
    state = search_of(tmp_path, [0.8, 0.7])
    state.trials[2] = replace(state.trials[2], score=0.99)
    found = standing(state, tmp_path)
    assert found.best == 2 and found.score < 0.8 and found.recorded == 0.99
    assert "has noted 0.99 for it" in repr(found)


def test_one_picture_is_enough_to_say_little(tmp_path):
    found = standing(search_of(tmp_path, [0.99, 0.99], n=1), tmp_path)
    assert found.optimism == 0.0 and set(found.ties) == {1, 2}
    assert found.low < 0.3 or found.high > 0.7


def test_the_same_seed_says_the_same_and_order_does_not_matter(tmp_path):
    state = search_of(tmp_path, [0.8, 0.79, 0.81, 0.7])
    found = standing(state, tmp_path)
    assert repr(found) == repr(standing(state, tmp_path))
    turned = SearchState(state.space, SETTINGS, trials=dict(reversed(state.trials.items())))
    other = standing(turned, tmp_path)
    assert set(other.ties) == set(found.ties) and other.best == found.best
    assert other.optimism == pytest.approx(found.optimism, abs=1e-9)


# ---- what is missing or broken


def test_trials_without_predictions_are_left_out_by_name(tmp_path):
    state = search_of(tmp_path, [0.8, 0.8, 0.9, 0.8])
    predictions_file(tmp_path, 2).unlink()
    found = standing(state, tmp_path)
    assert found.left_out == (2,) and len(found.table) == 3
    assert "left out, without predictions for these pictures: 2" in repr(found)
    predictions_file(tmp_path, 3).unlink()
    with pytest.raises(SearchError, match=r"Trial 3 is the best, and .*3\.npz is not there"):
        standing(state, tmp_path)


def test_who_was_given_up_takes_part_and_who_has_failed_does_not(tmp_path):
    state = search_of(tmp_path, [0.8, 0.8, 0.9])
    state.trials[3] = replace(state.trials[3], status="pruned")
    state.trials[4] = TrialState(4, {"width": 4}, 1, 2, status="failed", reason="ValueError: no")
    found = standing(state, tmp_path)
    assert sorted(found.table["trial"]) == [1, 2, 3] and found.left_out == ()


def test_a_search_without_a_finished_trial_says_why(tmp_path):
    lost = TrialState(1, {}, 1, 2, status="failed", reason="ValueError: too wide")
    with pytest.raises(SearchError, match="too wide"):
        standing(SearchState(settings=SETTINGS, trials={1: lost}), tmp_path)
    with pytest.raises(SearchError, match="No trial has finished"):
        standing(SearchState(settings=SETTINGS), tmp_path)


def test_a_torn_file_is_named_and_deleting_it_helps(tmp_path):
    state = search_of(tmp_path, [0.9, 0.8, 0.8])
    torn = predictions_file(tmp_path, 2)
    torn.write_bytes(torn.read_bytes()[:77])
    with pytest.raises(SearchError, match=r"2\.npz cannot be used"):
        standing(state, tmp_path)
    torn.unlink()
    assert standing(state, tmp_path).left_out == (2,)


@pytest.mark.parametrize("change", ["fewer", "other labels", "other order"])
def test_trials_judged_by_other_pictures_cannot_be_compared(change, tmp_path):
    state = search_of(tmp_path, [0.9, 0.8])
    true, answers = told([0.9, 0.8])
    numbers = np.arange(300)
    if change == "fewer":
        true, answers, numbers = true[:250], [each[:250] for each in answers], numbers[:250]
    if change == "other labels":
        true = (true + 1) % 3
    if change == "other order":
        numbers = numbers[::-1]
    save_predictions(predictions_file(tmp_path, 2), true, answers[1], numbers)
    with pytest.raises(SearchError, match=r"Trial 1 was judged by 300 pictures, trial 2 by \d+"):
        standing(state, tmp_path)


def test_an_objective_of_ones_own_is_told(tmp_path):
    state = search_of(tmp_path, [0.9, 0.8])
    state.settings = {"objective": "val_cost", "direction": "min"}
    with pytest.raises(OptionError, match="val_cost"):
        standing(state, tmp_path)
    with pytest.raises(OptionError, match="count"):
        standing(state, tmp_path, count=3)


# ---- the table, and which to take


class Counted:
    "A trial that knows its parameters, as trials will."

    def __init__(self, trial, parameters):
        self.trial_state, self.parameters = trial, parameters

    def __getattr__(self, name):
        return getattr(self.__dict__["trial_state"], name)


def test_the_smallest_of_the_ties_is_suggested_with_its_price(tmp_path):
    state = search_of(tmp_path, [0.8, 0.8, 0.8, 0.3])
    for number, parameters in ((1, 5000), (2, 900), (3, 7000), (4, 10)):
        state.trials[number] = Counted(state.trials[number], parameters)
    found = standing(state, tmp_path)
    assert (found.suggestion, found.why) == (2, "parameters") and 4 not in found.ties
    assert found.best == 2 or "900 parameters instead of" in repr(found)
    assert standing(state, tmp_path, prefer="fastest").suggestion == 1
    with pytest.raises(OptionError, match="smallest"):
        standing(state, tmp_path, prefer="smallest")
    state.trials[3] = Counted(state.trials[3], None)
    assert simplest_of(standing(state, tmp_path).table)[1] == "seconds_an_epoch"


def test_a_tie_that_a_test_of_its_own_calls_worse_is_not_suggested():
    table = pd.DataFrame(
        {
            "trial": [1, 2, 3],
            "behind": [0.0, 0.02, 0.01],
            "p_alone": [1.0, 0.01, 0.4],
            "tie": [True, True, True],
            "parameters": [900.0, 100.0, 500.0],
            "seconds_an_epoch": [3.0, 1.0, 2.0],
        }
    )
    assert simplest_of(table) == (3, "parameters")
    assert simplest_of(table.assign(p_alone=1.0)) == (2, "parameters")


# ---- is it right?


def test_the_optimism_of_thirty_equal_trials_is_right_on_average():
    rng, true = np.random.default_rng(0), np.zeros(500, int)
    gaps, luck = [], []
    for seed in range(60):
        right = rng.random((30, 500)) < 0.8
        chances = np.stack([right, ~right], axis=2).astype("float32")
        votes = [Votes(true, each[None], np.arange(500)) for each in chances]
        best = int(right.mean(axis=1).argmax())
        luck.append(right[best].mean() - 0.8)
        expected = luck_of_the_best("accuracy", votes, best, count=60, seed=seed)[0]
        gaps.append(expected - luck[-1])
    error = np.std(gaps) / len(gaps) ** 0.5
    assert np.mean(luck) > 0.03, "the best of thirty is too good by more than three points"
    assert abs(np.mean(gaps)) < 3 * error < 0.009, "n = 60 searches"


# ---- the figure


@pytest.mark.parametrize("size", [(5.2, 4.0), (3.0, 2.6), (8.0, 7.0)])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_nothing_of_the_figure_is_cut_off(size, count, tmp_path):
    found = standing(search_of(tmp_path, np.linspace(0.6, 0.8, count)), tmp_path, count=50)
    ax = plot_standing(found, own_axes(*size))
    assert not cut_off(ax)
    names = [text for text in texts_of(ax) if text.get_text().startswith("trial ")]
    boxes = sorted((text.get_window_extent() for text in names), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))


def test_the_figure_shows_ties_filled_and_the_floor_as_a_band(tmp_path):
    found = standing(search_of(tmp_path, [0.8, 0.79, 0.4]), tmp_path, count=50)
    ax = plot_standing(found, own_axes())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"as good as the best", "behind", "noise floor", "best, on new pictures"} <= set(labels)
    ties, behind = (each[0] for each in ax.containers)
    assert list(ties.get_xdata()) == pytest.approx(found.table["score"][:2].tolist())
    assert ties.get_markerfacecolor() != "none" and behind.get_markerfacecolor() == "none"
    assert "2 of 3 are ties" in ax.get_title(loc="left")
    assert len(plot_standing(found, own_axes(), most=2).get_yticks()) == 2

"""Trials are given up by what was recorded, and by nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.core import OptionError, SearchError
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.journal import read_journal
from imgrec.link import Outcome
from imgrec.oracles import PROMOTING
from imgrec.pruning import Pruning, as_pruning, best_until, needed, pruning_in, rungs, verdict
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
from imgrec.state import SearchState, TrialState, replay

UP = {"objective": "val_accuracy", "direction": "max"}
DOWN = {"objective": "val_loss", "direction": "min"}
scores = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def trial(number, values, name="val_accuracy", epochs=9, **facts):
    curve = tuple({"epoch": at, name: value} for at, value in enumerate(values, start=1))
    return TrialState(number, {}, 0, epochs, curve=curve, **facts)


def state_of(*trials, about=UP):
    return SearchState(settings=about, trials={each.trial: each for each in trials})


@given(st.lists(scores, min_size=1, max_size=8), st.data())
def test_who_goes_on_is_whoever_is_among_the_best_so_far(curves, data):
    factor = data.draw(st.integers(2, 4))
    rule = Pruning(factor=factor, least=data.draw(st.integers(2, 4)))
    state = state_of(*(trial(n, values) for n, values in enumerate(curves, start=1)))
    for number, values in enumerate(curves, start=1):
        epoch = len(values)
        reached = [max(c[:epoch]) for c in curves if len(c) >= epoch]
        ahead = sum(value > max(values) for value in reached)
        room = max(len(reached) // factor, 1)
        looked_at = epoch in rungs(rule, 9) and len(reached) >= rule.least
        reason = verdict(rule, state, number)
        assert bool(reason) == (looked_at and ahead >= room)
        assert (f"best {room} of {len(reached)}" in reason) == bool(reason)


@given(st.lists(scores, min_size=3, max_size=8), st.randoms())
def test_the_best_is_never_given_up_and_order_does_not_matter(curves, random):
    trials = [trial(n, values) for n, values in enumerate(curves, start=1)]
    turned = random.sample(trials, len(trials))
    for rule in (Pruning(), Pruning("median")):
        for each in trials:
            first = verdict(rule, state_of(*trials), each.trial)
            assert verdict(rule, state_of(*turned), each.trial) == first
            last = len(each.curve)
            same = [best_until(state_of(), t, last) for t in trials if len(t.curve) >= last]
            if best_until(state_of(), each, last) == max(same):
                assert first == ""


@given(st.lists(scores, min_size=1, max_size=8), st.sampled_from(["halving", "median"]), st.data())
def test_what_is_needed_is_what_the_verdict_asks_for(curves, word, data):
    about = data.draw(st.sampled_from([UP, DOWN]))
    rule = Pruning(word, factor=data.draw(st.integers(2, 4)), least=data.draw(st.integers(2, 4)))
    trials = (trial(n, v, about["objective"]) for n, v in enumerate(curves, start=1))
    state = state_of(*trials, about=about)
    for number, values in enumerate(curves, start=1):
        if len(values) in rungs(rule, 9):
            line = needed(rule, state, len(values), number)
            mine = best_until(state, state.trials[number], len(values))
            short = line is not None and (mine < line if about is UP else mine > line)
            assert bool(verdict(rule, state, number)) == short
    assert pruning_in({"pruning": repr(rule)}) == rule and pruning_in({}) is None


def test_a_loss_is_better_when_it_is_small():
    trials = [trial(n, [loss], "val_loss") for n, loss in enumerate([0.5, 0.9, 0.1, 0.7], 1)]
    state = state_of(*trials, about=DOWN)
    assert [bool(verdict(Pruning(), state, n)) for n in (1, 2, 3, 4)] == [True, True, False, True]
    kept = [not verdict(Pruning("median"), state, n) for n in (1, 2, 3, 4)]
    assert kept == [True, False, True, False]


def test_what_has_no_score_yet_or_another_length_is_not_held_against_anybody():
    state = state_of(trial(1, [0.5, 0.6]), trial(2, []), trial(3, [0.1, 0.1]), trial(4, [0.9] * 9))
    assert verdict(Pruning(first=2), state, 2) == ""
    assert "best 1 of 3" in verdict(Pruning(first=2), state, 3)
    assert verdict(Pruning(), state, 4) == "", "its last epoch is its end"
    lost = trial(5, [0.2, 0.3])
    without = replace(lost, curve=tuple({"epoch": p["epoch"], "loss": 1.0} for p in lost.curve))
    assert verdict(Pruning(first=2), state_of(*state.trials.values(), without), 5) == ""


def test_what_cannot_be_a_rule_is_refused():
    for how in ({"first": 0}, {"factor": 1}, {"least": 1}, {"first": 1.5}, {"factor": True}):
        with pytest.raises(OptionError, match=f"{next(iter(how))} is a whole number from"):
            Pruning(**how)
    with pytest.raises(OptionError, match="Did you mean 'halving'"):
        as_pruning("halvin")
    with pytest.raises(OptionError, match=r"Expected a Pruning\(...\)"):
        as_pruning(3)


# ---- in a search


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def pretend(plan, trial, link):
    "Stands in for a training: the rate decides where it ends, and it is slow to get there."
    for epoch in range(1, trial.epochs + 1):
        link.report(epoch, {"val_accuracy": trial.point["rate"] * (1 - 0.5**epoch)}, 0.0)
    return Outcome(link.score, trial.epochs, 0.0)


def a_search(few, directory, budget=14, **options):
    def build(spec, rate):
        raise AssertionError("never called")

    how = {"strategy": "halving", "epochs": 9, "progress": "none", "executor": "inline"} | options
    space = Space(rate=Float(0.0, 1.0))
    search = Search(space, build, few, budget=budget, directory=directory, **how)
    search.runner = pretend
    return search


def facts(search):
    return [(t.point, t.status, t.score, len(t.curve)) for t in search.snapshot().trials.values()]


@pytest.mark.parametrize("strategy", ["halving", "bayesian", "random"])
def test_pieces_give_what_one_piece_gives(few, tmp_path, strategy):
    how = {"strategy": strategy, "pruning": None if strategy == "halving" else "median"}
    whole = a_search(few, tmp_path / "whole", **how).run()
    for most in (1, 5, 14):
        pieces = a_search(few, tmp_path / "pieces", most, **how).run()
    assert facts(pieces) == facts(whole)
    statuses = [status for _, status, _, _ in facts(whole)]
    assert statuses.count("pruned") >= 3 and set(statuses) == {"finished", "pruned"}
    assert all((n < 9) == (status == "pruned") for _, status, _, n in facts(whole))
    finished = [score for _, status, score, _ in facts(whole) if status == "finished"]
    assert whole.best().score == max(finished)
    state = replay(read_journal(tmp_path / "whole" / "journal.log").events)
    assert state.trials == whole.snapshot().trials


def test_a_rule_that_changes_is_said(few, tmp_path):
    a_search(few, tmp_path, 2).run()
    with pytest.raises(SearchError, match="pruning"):
        a_search(few, tmp_path, 4, pruning=Pruning(first=3))
    with pytest.raises(SearchError, match="pruning"):
        a_search(few, tmp_path / "other", 2, strategy="random").run()
        a_search(few, tmp_path / "other", 4, strategy="random", pruning="median")
    go_on = a_search(few, tmp_path, 4, pruning=Pruning(first=3), if_exists="continue").run()
    assert len(facts(go_on)) == 4


@pytest.mark.parametrize("strategy", PROMOTING)
def test_what_promotes_prunes_by_itself(few, tmp_path, strategy):
    with pytest.raises(SearchError, match=f"{strategy} prunes by itself"):
        a_search(few, tmp_path, strategy=strategy, pruning="median")


def test_real_trainings_are_given_up_and_leave_no_weights(few, tmp_path):
    space = Space(width=2, depth=1, learning_rate=Choice(5e-2, 1e-6, 1e-5))
    how = {"pruning": Pruning(first=2, factor=2, least=2), "epochs": 4, "objective": "loss"}
    how |= {"keep": 1, "executor": "inline"}
    search = Search(space, "small_cnn", few, "grid", directory=tmp_path, **how).run()
    statuses = search.results()["status"].tolist()
    assert "pruned" in statuses and "failed" not in statuses
    kept = [path.name for path in (tmp_path / "weights").iterdir()]
    assert kept == [f"{search.best().trial}-best.weights.h5"]
    assert search.best_model().count_params() > 0

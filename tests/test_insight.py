"""What a search teaches: planted landscapes are recovered, and where nothing can be known, said."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from project import MEASURED

from imgrec.core import OptionError, SpaceError
from imgrec.importance import place_of, scored_trials
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
from imgrec.oracles import Proposer
from imgrec.space import Bool, Choice, Fixed, Float, Int, Space
from imgrec.state import SearchState, TrialState

SPACE = Space(
    rate=Float(1e-4, 1e-1, log=True),
    dropout=Float(0.0, 0.5),
    flip=Bool(),
    pool=Choice("max", None, [2, 2]),
    width=Choice(16, 32, 64),
    depth=Int(2, 6),
)


def drawn(rng):
    "A point at random."
    return {
        "rate": float(10 ** rng.uniform(-4, -1)),
        "dropout": float(rng.uniform(0, 0.5)),
        "flip": bool(rng.integers(2)),
        "pool": ["max", None, [2, 2]][rng.integers(3)],
        "width": int(rng.choice([16, 32, 64])),
        "depth": int(rng.integers(2, 7)),
    }


def units(point):
    "Rate, dropout, width and depth from 0 to 1."
    rate, width = math.log10(point["rate"]) / 3 + 4 / 3, math.log2(point["width"]) / 2 - 2
    return rate, 2 * point["dropout"], width, point["depth"] / 4 - 0.5


def pure(point):
    "Strong and weak lines; width and depth do nothing alone."
    rate, dropout, width, depth = units(point)
    return 3 * rate + dropout + 4 * (width - 0.5) * (depth - 0.5)


def bowl(point):
    "A best rate within the range; width and depth do something alone, and more together."
    rate, dropout, width, depth = units(point)
    return -6 * (rate - 0.6) ** 2 + 0.8 * dropout + 2 * width * depth


def searched(points, scores, space=SPACE, direction="max"):
    "The state of a search in which these points have these scores."
    known = {}
    for number, (point, score) in enumerate(zip(points, scores, strict=True), start=1):
        told = {"status": "finished", "score": float(score)}
        known[number] = TrialState(number, point, number, 3, **told)
    facts = {"objective": "val_accuracy", "direction": direction}
    return SearchState(space.to_dict(), facts, trials=known)


def planted(landscape, seed, n=40, noise=0.1):
    "A search of random trials in a landscape, with noise."
    rng = np.random.default_rng(seed)
    points = [drawn(rng) for _ in range(n)]
    scores = np.array([landscape(point) for point in points])
    return searched(points, scores + noise * (scores.std() if n else 0) * rng.normal(size=n))


def shares(table):
    "Single shares by name, and pairs by their names."
    indexed = table.set_index(["hyperparameter", "other"])["share"]
    return indexed.xs("", level="other"), indexed.drop("", level="other")


@pytest.mark.parametrize("landscape", [pure, bowl])
def test_forty_trials_give_the_order_and_the_pair(landscape):
    order = pair = 0
    for seed in range(20):
        single, two = shares(importance(planted(landscape, seed)))
        idle = max(single["flip"], single["pool"])
        order += single["rate"] > single["dropout"] > idle
        pair += set(two.idxmax()) == {"width", "depth"}
    name = f"importance, 40 trials, {landscape.__name__}"
    MEASURED[name] = f"order {order} of 20, pair {pair} of 20"
    assert order >= 19 and pair >= 19


def test_shares_of_a_plain_sum_are_those_of_its_variances():
    table = importance(planted(lambda p: 3 * units(p)[0] + units(p)[1], 0, n=60, noise=0.02))
    single, two = shares(table)
    assert single["rate"] == pytest.approx(0.9, abs=0.04)
    assert single["dropout"] == pytest.approx(0.1, abs=0.04)
    assert two.max() < 0.02
    assert (table["explained"] > 0.9).all() and (table["note"] == "").all()


def test_the_order_of_the_trials_does_not_matter():
    state = planted(bowl, 1, n=30)
    shuffled = np.random.default_rng(0).permutation(list(state.trials))
    trials = {int(n): state.trials[int(n)] for n in shuffled}
    renamed = {at: replace(trial, trial=at) for at, trial in enumerate(trials.values(), start=1)}
    for other in (trials, renamed):
        assert_frame_equal(importance(replace(state, trials=other)), importance(state))


def test_importance_is_the_same_for_losses_and_gains():
    state = planted(bowl, 2)
    trials = {n: replace(trial, score=-trial.score) for n, trial in state.trials.items()}
    turned = replace(state, trials=trials, settings=state.settings | {"direction": "min"})
    assert_frame_equal(importance(turned), importance(state), atol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_trials_are_said(n):
    table = importance(planted(bowl, 0, n))
    assert len(table) >= 6
    assert set(table["note"]) == {"too few trials to tell"}
    assert set(table["low"]) == {0} and set(table["high"]) == {1}
    assert not table.isna().to_numpy().any()


def test_noise_is_not_believed():
    rng = np.random.default_rng(5)
    believed = 0
    for _ in range(10):
        state = searched([drawn(rng) for _ in range(25)], rng.normal(size=25))
        believed += importance(state)["note"].eq("").any()
    assert believed <= 1


def test_equal_scores_and_failures_decide_nothing():
    state = searched([drawn(np.random.default_rng(n)) for n in range(15)], [0.5] * 15)
    table = importance(state)
    assert set(table["note"]) == {"all scores are equal"} and not table["share"].any()
    failed = {n: replace(t, status="failed", score=None) for n, t in state.trials.items()}
    table = importance(replace(state, trials=failed))
    assert set(table["note"]) == {"too few trials to tell"} and not table["trials"].any()
    assert not table.isna().to_numpy().any()


def test_one_explosion_is_not_all_of_the_variance():
    first = 0
    for seed in range(10):
        state = planted(pure, seed)
        state.trials[7] = replace(state.trials[7], score=-1e9)
        single, _ = shares(importance(state))
        first += single.idxmax() == "rate"
    assert first == 10


def test_one_entry_none_and_fixed_ones():
    one = Space(rate=Float(0.0, 1.0), size=Fixed(3))
    points = [{"rate": at / 20, "size": 3} for at in range(20)]
    table = importance(searched(points, [point["rate"] for point in points], one))
    assert list(table["hyperparameter"]) == ["rate"] and table["share"][0] > 0.95
    fixed = searched([{"size": 3}] * 12, range(12), Space(size=Fixed(3)))
    assert importance(fixed).empty and "share" in importance(fixed)
    with pytest.raises(SpaceError):
        importance(SearchState())


NETS = Space(
    kind=Choice("plain", "residual", "dense"),
    groups=Choice(8, 16, when="kind", equals="residual"),
    first=Bool(when="groups", equals=16),
    growth=Int(4, 32, when="kind", equals="dense"),
    rate=Float(0.0, 1.0),
)


def net(rng):
    "A point of `NETS`."
    point = {"kind": str(rng.choice(["plain", "residual", "dense"])), "rate": float(rng.random())}
    if point["kind"] == "residual":
        point["groups"] = int(rng.choice([8, 16]))
    if point.get("groups") == 16:
        point["first"] = bool(rng.integers(2))
    return point | ({"growth": int(rng.integers(4, 33))} if point["kind"] == "dense" else {})


def test_conditional_entries_count_where_they_are_used():
    rng = np.random.default_rng(0)
    points = [net(rng) for _ in range(60)]
    scores = [2 * (p.get("growth", 18) - 18) / 28 + 0.2 * p["rate"] for p in points]
    table = importance(searched(points, scores, NETS))
    single, two = shares(table)
    assert single["growth"] > 0.8 and single["growth"] > single["rate"] > single["first"]
    trials = table.set_index(["hyperparameter", "other"])["trials"]
    assert trials["growth", ""] == sum("growth" in point for point in points)
    assert {frozenset(two_names) for two_names in two.index} == {
        frozenset(each)
        for each in [("kind", "rate"), ("groups", "rate"), ("first", "rate"), ("growth", "rate")]
    }, "what cannot be used together, and what decides about what, are no pairs"


def test_epochs_take_the_blame_for_what_they_do():
    rng = np.random.default_rng(0)
    state = planted(pure, 4)
    lengths = {n: int(rng.choice([1, 3, 9])) for n in state.trials}
    trials = {
        n: replace(trial, epochs=lengths[n], score=trial.score + 2 * math.log(lengths[n]))
        for n, trial in state.trials.items()
    }
    single, _ = shares(importance(replace(state, trials=trials)))
    assert single["epochs"] > single["rate"] > single["dropout"]
    assert "epochs" not in shares(importance(state))[0]


@settings(max_examples=15)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.0]), max_size=24),
    st.sampled_from([NETS, SPACE]),
)
def test_any_scores_give_whole_tables(scores, space):
    rng = np.random.default_rng(len(scores))
    points = [(net if space is NETS else drawn)(rng) for _ in scores]
    state = searched(points, scores, space)
    finite = sum(map(math.isfinite, scores))
    table = importance(state)
    assert not table.isna().to_numpy().any()
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()
    assert table["low"].min() >= 0 and table["high"].max() <= 1
    assert table["trials"].max() <= finite == len(scored_trials(state))
    rows = parallel_table(state)
    assert rows["trial"].nunique() == finite and rows["place"].between(0, 1).all()


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans())
def test_places_grow_with_values(low, more, log):
    entry = Float(low, low + more, log=log)
    middle = place_of(entry, low + more / 3)
    assert place_of(entry, low) == 0 <= middle <= place_of(entry, low + more)
    assert place_of(entry, low + more) == pytest.approx(1)


def test_parallel_ranks_go_by_direction_and_ties_are_ties():
    points = [drawn(np.random.default_rng(n)) for n in range(4)]
    for direction, ranks in (("max", [4, 2, 2, 1]), ("min", [1, 2, 2, 4])):
        state = searched(points, [1, 2, 2, 3], direction=direction)
        assert list(parallel_table(state).groupby("trial")["rank"].first()) == ranks


def test_slices_and_pairs_hold_who_uses_them_and_who_failed():
    rng = np.random.default_rng(1)
    state = searched([net(rng) for _ in range(30)], rng.random(30), NETS)
    state.trials[3] = replace(state.trials[3], status="failed", score=None)
    state.trials[4] = replace(state.trials[4], point={"kind": "of an older space", "rate": 0.5})
    rate = slices(state, "rate")
    assert 4 not in set(rate["trial"])
    assert list(rate.loc[rate["score"].isna(), "trial"]) == [3]
    growth = slices(state, "growth")
    assert set(growth["trial"]) == {n for n, t in state.trials.items() if "growth" in t.point}
    assert list(pairs(state, "growth", "rate")["trial"]) == list(growth["trial"])
    assert pairs(state, "growth", "groups").empty
    with pytest.raises(OptionError, match="growth"):
        slices(state, "grwoth")


def at(time, event, **fields):
    return {"event": event, "time": time, **fields}


def test_a_timeline_leaves_out_the_night_and_a_clock_set_back():
    events = [
        at(100.0, "search_created"),
        at(100.0, "search_opened"),
        at(101.0, "trial_started", trial=1, worker="<b>"),
        at(104.0, "epoch_ended", trial=1),
        at(99.0, "epoch_ended", trial=1),
        at(9e5, "search_opened"),
        at(9e5, "trial_started", trial=1, worker=2),
        at(9e5 + 2, "trial_pruned", trial=1),
    ]
    table = timeline(events)
    assert table.to_dict("list") == {
        "trial": [1, 1],
        "start": [1, 2],
        "worker": ["<b>", "2"],
        "began": [1, 4],
        "ended": [4, 6],
        "how": ["interrupted", "pruned"],
        "session": [1, 2],
    }
    skipped = at(103.0, "command", command="skip", trial=1), at(104.0, "trial_pruned", trial=1)
    bar = timeline([*events[:3], *skipped])
    assert bar[["ended", "how"]].to_numpy().tolist() == [[4, "pruned"]]
    assert timeline([]).empty and list(timeline([])) == list(table)
    assert list(timeline(events[:4])["how"]) == ["running"]


def hyperband_state(fails=()):
    "What KerasTuner's Hyperband asks for, in a planted landscape."
    proposer = Proposer(Space(rate=Float(0.0, 1.0)), "hyperband", "max", 0, epochs=9)
    trials = {}
    for number in range(1, 100):
        proposal = proposer.ask(number)
        if proposal.status != "go":
            break
        score = None if number in fails else proposal.point["rate"] + math.log(proposal.epochs)
        proposer.tell(number, score)
        told = {"initial_epoch": proposal.initial_epoch, "parent": proposal.parent}
        told |= {"status": "failed" if number in fails else "finished", "score": score}
        trial = TrialState(number, proposal.point, number, proposal.epochs, seconds=1.0, **told)
        trials[number] = (trial, proposal)
    state = SearchState(proposer.space.to_dict(), {"direction": "max", "objective": "acc"})
    return replace(state, trials={n: trial for n, (trial, _) in trials.items()}), trials


def test_brackets_are_those_of_the_oracle():
    state, asked = hyperband_state(fails={2})
    table = brackets(state).set_index("trial")
    assert table["bracket"].nunique() > 1
    for number, (_, proposal) in asked.items():
        assert table.loc[number, "rung"] == proposal.rung
    same = pd.Series({n: proposal.bracket for n, (_, proposal) in asked.items()})
    assert (table.groupby("bracket")["epochs"].count() > 0).all()
    assert (table["bracket"] == same).all(), "one number for a bracket, here and in `why`"
    assert table.loc[list(table.loc[table["parent"] > 0, "parent"]), "promoted"].all()
    assert math.isnan(table.loc[2, "score"]) and not table.loc[2, "promoted"]
    single, _ = shares(importance(state))
    assert set(single.index) == {"rate"}, "a point counts once, whatever became of it"
    lines = sum(trial.parent is None and trial.score is not None for trial, _ in asked.values())
    assert importance(state)["trials"].max() == lines


def test_seconds_of_a_promoted_trial_hold_those_of_its_parents():
    state, asked = hyperband_state()
    table = pareto(state, {"seconds": "min", "acc": "max"}).set_index("trial")
    rungs = {n: proposal.rung for n, (_, proposal) in asked.items()}
    assert table["seconds"].to_dict() == {n: rung + 1 for n, rung in rungs.items()}


def test_learning_curves_say_how_they_ended_and_hold_no_gaps():
    logs = [{"epoch": 1, "val_accuracy": 0.5, "loss": 1.0}, {"epoch": 2, "val_accuracy": math.nan}]
    state = searched([drawn(np.random.default_rng(n)) for n in range(3)], [1, 3, 2])
    state.trials[1] = replace(state.trials[1], curve=tuple(logs), status="failed")
    state.trials[2] = replace(state.trials[2], curve=tuple(logs[:1]))
    table = learning_curves(state)
    assert list(table["status"]) == ["failed", "finished"] and list(table["best"]) == [False, True]
    assert list(learning_curves(state, "loss")["value"]) == [1.0, 1.0]
    with pytest.raises(OptionError, match="val_accuracy"):
        learning_curves(state, "val_acuracy")
    assert learning_curves(SearchState()).empty


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30))
def test_the_front_is_what_nothing_beats(reached):
    state = searched([{"rate": 0.5}] * len(reached), range(len(reached)), Space(rate=0.5))
    for number, (accuracy, seconds, size) in enumerate(reached, start=1):
        logs = ({"epoch": 2, "size": size},)
        told = {"score": float(accuracy), "seconds": float(seconds), "best_epoch": 2}
        state.trials[number] = replace(state.trials[number], curve=logs, **told)
    table = pareto(state, {"score": "max", "seconds": "min", "size": "max"})
    assert list(table["trial"]) == sorted(state.trials) and table["front"].any()
    costs = [(-accuracy, seconds, -size) for accuracy, seconds, size in reached]

    def beaten(cost):
        return any(
            other != cost and all(o <= c for o, c in zip(other, cost, strict=True))
            for other in costs
        )

    assert list(table["front"]) == [not beaten(cost) for cost in costs]


def test_objectives_that_nobody_knows_are_named():
    state = planted(pure, 0, n=3)
    with pytest.raises(OptionError, match="seconds"):
        pareto(state, {"second": "min"})
    with pytest.raises(OptionError, match="direction"):
        pareto(state, {"seconds": "down"})
    assert pareto(SearchState(), {"seconds": "min"}).empty

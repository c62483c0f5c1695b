"""An oracle that is replayed goes on as if it had never been away, and knows what was tried."""

import itertools
import math

import pytest

from imgrec.core import OptionError, SearchError
from imgrec.oracles import ORACLES, PROMOTING, Proposer, hashed_seed
from imgrec.space import Bool, Choice, Fixed, Float, Int, Space, misfit

SPACE = Space(
    rate=Float(1e-4, 1e-1, log=True),
    width=Int(4, 64, step=2, log=True),
    units=Int(10, 1000, log=True),
    size=Choice([28, 28], None, "auto"),
    flip=Bool(),
    pooling="max",
)
STRATEGIES = tuple(ORACLES)
BOWL = SPACE.edit(size=None, flip=True)


def score_of(point):
    "A made-up landscape, which also decides what fails."
    if "size" not in point:
        return float(len(str(point)))
    if point["size"] == "auto" and not point["flip"]:
        return None
    return point["width"] / 64 - abs(math.log10(point["rate"] / 1e-2))


def proposer_for(strategy, seed=0, space=SPACE, **options):
    return Proposer(space, strategy, "max", seed, epochs=9, **options)


def go_on(proposer, record, count):
    "Ask for `count` trials, the first ones as recorded; None where there is no more."
    asked = []
    for number in range(1, count + 1):
        served = record[number - 1].point if number <= len(record) else None
        proposal = proposer.ask(number, served)
        if proposal.status != "go":
            break
        asked.append(proposal)
        proposer.tell(number, score_of(proposal.point))
    return asked


@pytest.mark.parametrize("strategy", ["random", "grid", "hyperband"])
def test_replayed_at_any_point_it_proposes_the_same(strategy):
    unbroken = go_on(proposer_for(strategy), (), 40)
    assert len(unbroken) == 40 or strategy == "hyperband"
    for cut in (0, 1, 2, 7, 13, 25, len(unbroken)):
        assert go_on(proposer_for(strategy), unbroken[:cut], 40) == unbroken


def test_the_bayesian_oracle_repeats_its_fits_or_skips_them():
    space = Space(rate=Float(1e-4, 1e-1, log=True), size="auto", flip=True, width=8)
    unbroken = go_on(proposer_for("bayesian", space=space), (), 6)  # three at random, three fitted
    for cut in (0, 2, 4, 5):
        assert go_on(proposer_for("bayesian", space=space), unbroken[:cut], 6) == unbroken
    random = go_on(proposer_for("random", space=space), (), 6)
    assert [p.point for p in random][3:] != [p.point for p in unbroken][3:]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_unfinished_trial_is_asked_for_once(strategy):
    unbroken = go_on(proposer_for(strategy), (), 8)
    again = proposer_for(strategy)
    go_on(again, unbroken[:5], 5)
    cut_off = again.ask(6, unbroken[5].point)
    assert cut_off == unbroken[5]
    again.tell(6, score_of(cut_off.point))
    assert again.ask(7) == unbroken[6]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_points_lie_in_the_space(strategy):
    space, count = SPACE, 17
    if strategy == "bayesian":
        space, count = (
            Space(units=SPACE.entries["units"], size=None, flip=True, rate=1e-2, width=8),
            7,
        )
    points = [p.point for p in go_on(proposer_for(strategy, space=space), (), count)]
    assert len(points) == count
    assert [misfit(space, point) for point in points] == [""] * count
    assert {type(v) for point in points for v in point.values()} <= {
        *(int, float, bool, str, list, type(None))
    }
    others = [p.point for p in go_on(proposer_for(strategy, seed=1, space=space), (), 2)]
    assert (others != points[:2]) == (strategy != "grid")


def trials_of(strategy, space, count=60):
    return go_on(proposer_for(strategy, space=space), (), count)


@pytest.mark.parametrize("strategy", ["random", "grid", "bayesian", "bayesian_halving"])
def test_a_small_space_is_tried_whole_and_only_once(strategy):
    space = Space(size=Choice([28, 28], None, "auto"), flip=Bool(), width=8, rate=1e-2)
    points = [p.point for p in trials_of(strategy, space) if p.parent is None]
    assert len(points) == 6
    assert len({str(point) for point in points}) == 6


TREE = Space(
    kind=Choice("plain", "residual", None),
    groups=Choice(8, 16, when="kind", equals="residual"),
    first=Bool(when="groups", equals=16),
    depth=Int(1, 3, when="first", equals=True),
    width=Int(1, 3, when="kind", equals=(None, "plain")),
    pooling=Fixed("max", when="kind", equals=None),
    stride=Choice(1, 2, when="pooling", equals="max"),
)


@pytest.mark.parametrize("strategy", ["random", "grid"])
def test_a_space_with_conditions_is_tried_whole(strategy):
    trials = go_on(proposer_for(strategy, space=TREE, seed=3), (), 40)
    points = [p.point for p in trials]
    assert len(points) == TREE.size == len({str(point) for point in points}) == 14
    assert [misfit(TREE, point) for point in points] == [""] * 14
    for cut in (1, 5, 13):
        again = go_on(proposer_for(strategy, space=TREE, seed=3), trials[:cut], 40)
        assert [p.point for p in again] == points


def test_conditions_hold_in_every_strategy():
    for strategy in ("bayesian", "hyperband", "bayesian_halving"):
        wide = TREE.add(rate=Float(0.0, 1.0)) if strategy == "hyperband" else TREE
        count = 40 if strategy == "hyperband" else 14  # some first ones, and some fits
        found = go_on(proposer_for(strategy, space=wide), (), count)
        assert len(found) > 12 and not [p for p in found if misfit(wide, p.point)]


def test_a_condition_on_a_value_that_a_grid_leaves_out_is_never_met():
    space = Space(n=Int(1, 1000, log=True), flip=Bool(when="n", equals=777))
    assert len(go_on(proposer_for("grid", space=space), (), 40)) == 10
    assert space.size == 10 and misfit(space, {"n": 777, "flip": True}) == ""


@pytest.mark.parametrize("strategy", ["random", "grid"])
def test_what_nothing_meets_any_more_is_not_searched(strategy):
    for narrow, left in ((Choice("plain", "residual"), 8), ("plain", 3), ("residual", 5)):
        space = TREE.edit(kind=narrow)
        points = [p.point for p in go_on(proposer_for(strategy, space=space), (), 40)]
        assert len(points) == space.size == left
        assert [misfit(space, point) for point in points] == [""] * left


def test_the_order_of_entries_and_other_processes_change_nothing():
    turned = Space(**dict(reversed(SPACE.entries.items())))
    first = [p.point for p in go_on(proposer_for("random"), (), 5)]
    assert [p.point for p in go_on(proposer_for("random", space=turned), (), 5)] == first


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_trials_that_run_at_once_differ_and_are_replayed(strategy):
    def at_once(record=()):
        proposer, answers, running, number = proposer_for(strategy, seed=2), [], [], 1
        while number < 24:  # three run at once, and the oldest ends first
            if len(running) == 3 or (answers and answers[-1].status == "idle"):
                oldest = running.pop(0)
                proposer.tell(oldest.trial, score_of(oldest.point))
            served = record[len(answers)].point if len(answers) < len(record) else None
            answers.append(proposer.ask(number, served))
            if answers[-1].status == "go":
                running.append(answers[-1])
                number += 1
        return answers

    answers = at_once()
    points = [answer.point for answer in answers if answer.point is not None]
    assert all(first != second for first, second in itertools.pairwise(points))
    for cut in (1, 5, 13, 22):
        assert at_once(answers[:cut]) == answers


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_trial_may_fail(strategy):
    proposer = proposer_for(strategy)
    for number in range(1, 12):
        assert proposer.ask(number).status == "go"
        proposer.tell(number, None)


@pytest.mark.parametrize("strategy", PROMOTING)
def test_the_best_is_promoted_and_never_what_failed(strategy):
    trials = go_on(proposer_for(strategy), (), 40)
    by_number = {p.trial: p for p in trials}
    promoted = [p for p in trials if p.parent is not None]
    assert promoted and (len(trials) < 40) == (strategy == "hyperband"), "one sweep ends"
    for proposal in promoted:
        parent = by_number[proposal.parent]
        assert proposal.point == parent.point
        assert proposal.initial_epoch == parent.epochs < proposal.epochs
        assert score_of(parent.point) is not None


@pytest.mark.parametrize("strategy", PROMOTING)
def test_it_is_known_whose_weights_may_still_be_wanted(strategy):
    proposer = proposer_for(strategy)
    wanted, parents = {}, []
    for number in range(1, 40):
        wanted[number] = proposer.promotable()
        proposal = proposer.ask(number)
        if proposal.status == "done":
            break
        if proposal.parent is not None:
            parents.append(proposal.parent)
            assert proposal.parent in wanted[number]
        proposer.tell(number, score_of(proposal.point))
    assert parents and (proposer.promotable() == set()) == (strategy == "hyperband")
    assert proposer_for("random").promotable() == set()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_evidence_is_not_tried_again(strategy):
    space = Space(size=Choice([28, 28], None, "auto"), flip=Bool(), width=Choice(8, 16), rate=1e-2)
    known = [p.point for p in go_on(proposer_for("random", space=space), (), 7)]
    again = proposer_for(strategy, space=space, seed=5, sweeps=None)
    for point in known:
        again.learn(point, 0.5)
    fresh = [p.point for p in go_on(again, (), 40) if p.parent is None]
    assert len(fresh) == 5
    assert not [point for point in fresh if point in known]


def test_nobody_waits_and_three_make_the_first_promotion():
    proposer = proposer_for("bayesian_halving")
    for number in range(1, 4):
        proposer.ask(number)
    for number, score in enumerate((0.1, None, 0.3), start=1):
        proposer.tell(number, score)
    assert proposer.ask(4).parent is None, "two have come as far"
    assert proposer.ask(5).parent is None, "the fourth runs, and nobody waits for it"
    proposer.tell(5, 0.2)
    best = proposer.ask(6)
    assert (best.parent, best.initial_epoch, best.epochs, best.rung) == (3, 1, 3, 1)
    proposer.tell(4, 0.0)
    assert proposer.ask(7).parent is None, "the best of four is promoted already"


def test_what_a_landscape_has_told_is_used():
    def reached(strategy, count=20):
        best = []
        for seed in range(5):
            trials = go_on(proposer_for(strategy, seed, BOWL), (), count)
            best.append(max(score_of(p.point) for p in trials))
        return sum(best) / len(best)

    assert reached("bayesian") > reached("random") + 0.01
    assert reached("bayesian_halving", 30) > reached("random") + 0.01


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(OptionError, match="Did you mean 'bayesian'"):
        proposer_for("bayesan")
    with pytest.raises(SearchError, match="Nothing to search"):
        proposer_for("random", space=Space(width=3))
    with pytest.raises(SearchError, match="'width'"):
        proposer_for("grid", space=Space(width=Int(1, 100_000)))


def test_seeds_are_far_apart_and_zero_is_a_seed():
    seeds = [hashed_seed(seed, "random") for seed in range(100)]
    assert len(set(seeds)) == 100 and min(seeds) > 0 and max(seeds) < 2**32
    assert min(abs(a - b) for a, b in itertools.pairwise(seeds)) > 1000
    first, again = (go_on(proposer_for("random", seed=0), (), 3) for _ in range(2))
    assert first == again

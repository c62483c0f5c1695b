"""Figures of searches of any size and with any names: nothing cut off, nothing overlapping."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from drawn import cut_off, own_axes, texts_of
from matplotlib import pyplot
from matplotlib.text import Text

from imgrec.core import DataError
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
from imgrec.insight_plots import (
    plot_brackets,
    plot_front,
    plot_importance,
    plot_learning_curves,
    plot_pair,
    plot_parallel,
    plot_slice,
    plot_timeline,
)
from imgrec.space import Bool, Choice, Float, Int, Space
from imgrec.state import SearchState, TrialState

PLAIN = ["rate", "kind", "width", "depth"]
ODD = [
    "<img src=x>",
    "$a$ \\frac{",
    "a name of sixty letters, or even more, if one counts them",
    "_b$\n",
]


def space_of(names):
    "A space with an entry of each kind, under these names."
    names = [" ".join(name.split()) for name in names]
    entries = [
        Float(1e-4, 1e-1, log=True),
        Choice("plain", None, [28, 28], "a $value$ that is much too long for an axis", "<b>"),
        Choice(16, 32, 64, when=names[1], equals=(None, "<b>")),
        Int(2, 6),
    ]
    return Space(**dict(zip(names, entries, strict=True)), flip=Bool())


def trial_of(number, space, rng):
    "A trial that has finished, failed, was pruned, or runs."
    rate, kind, width, depth = list(space.entries)[:4]
    point = {
        rate: float(10 ** rng.uniform(-4, -1)),
        kind: space.entries[kind].values[rng.integers(5)],
        depth: int(rng.integers(2, 7)),
        "flip": bool(rng.integers(2)),
    }
    if point[kind] in (None, "<b>"):
        point[width] = int(rng.choice([16, 32, 64]))
    status = str(rng.choice(["finished"] * 6 + ["pruned", "failed", "interrupted", "running"]))
    top = 0.9 - 0.1 * (math.log10(point[rate]) + 2.5) ** 2 + rng.normal(0, 0.01)
    curve = tuple({"epoch": e, "acc": top - 0.5 / e} for e in range(1, int(rng.integers(2, 10))))
    told = {"status": status, "curve": curve, "seconds": float(10 ** rng.uniform(0, 3))}
    if status in ("finished", "pruned"):
        told |= {"score": top - 0.5 / len(curve), "best_epoch": len(curve)}
    parent = int(rng.integers(1, number)) if number > 4 and rng.random() < 0.3 else None
    epochs = int(rng.choice([1, 3, 9])) if parent is None else 27
    return TrialState(number, point, number, epochs, parent=parent, **told)


def state_of(n, names=PLAIN, seed=0):
    "The state of a search."
    rng, space = np.random.default_rng(seed), space_of(names)
    trials = {number: trial_of(number, space, rng) for number in range(1, n + 1)}
    return SearchState(space.to_dict(), {"objective": "acc", "direction": "max"}, trials=trials)


def events_of(n, workers):
    "Starts and ends of trials, the last one open."
    rng, free = np.random.default_rng(0), dict.fromkeys(workers, 1.0)
    found = [{"event": "search_opened", "time": 0.0}]
    for trial in range(1, n + 1):
        worker = min(free, key=free.get)
        start = {"event": "trial_started", "trial": trial, "worker": worker, "time": free[worker]}
        free[worker] += float(rng.uniform(1, 200))
        how = rng.choice(["finished", "pruned", "failed"])
        found += [start, {"event": f"trial_{how}", "trial": trial, "time": free[worker]}]
    return sorted(found, key=lambda event: event["time"])[: 2 * n or 1]


def figures(n, names=PLAIN, objective="acc"):
    "Every figure of a search: its name, and a function that draws it."
    state = state_of(n, names)
    rate, kind, width, depth = space_of(names).searched[:4]
    both = pareto(state, {"acc": "max", "seconds": "min"}).rename(columns={"acc": objective})
    events = events_of(n, [*names, "gpu"])
    return {
        "importance": lambda ax: plot_importance(importance(state), ax),
        "slice": lambda ax: plot_slice(slices(state, rate), ax, objective),
        "slice of a list": lambda ax: plot_slice(slices(state, kind), ax, objective),
        "slice of some": lambda ax: plot_slice(slices(state, width), ax, objective),
        "pair": lambda ax: plot_pair(pairs(state, rate, depth), ax, objective),
        "pair of lists": lambda ax: plot_pair(pairs(state, kind, width), ax, objective),
        "parallel": lambda ax: plot_parallel(parallel_table(state), ax, objective),
        "timeline": lambda ax: plot_timeline(timeline(events), ax),
        "curves": lambda ax: plot_learning_curves(learning_curves(state), ax, objective),
        "brackets": lambda ax: plot_brackets(brackets(state), ax, objective),
        "pareto": lambda ax: plot_front(both, ax),
    }


NAMES = list(figures(3))


def overlapping(ax):
    "Pairs of upright texts, one upon the other."
    upright = [text for text in texts_of(ax) if text.get_rotation() in (0, 90)]
    boxes = [(t.get_text(), Text.get_window_extent(t).padded(-1)) for t in upright]
    combined = itertools.combinations(boxes, 2)
    return [(one, other) for (one, a), (other, b) in combined if a.overlaps(b)]


@pytest.mark.parametrize("n", [0, 1, 10, 300])
@pytest.mark.parametrize("name", NAMES)
def test_few_and_many_trials_fit(name, n):
    draw = figures(n)[name]
    ax = draw(None)
    assert cut_off(ax) == []
    assert overlapping(ax) == [] or name == "parallel"
    given = own_axes()
    assert draw(given) is given
    assert len(pyplot.get_fignums()) == 1, "with an ax, pyplot makes no figure"
    assert cut_off(given) == []


@pytest.mark.parametrize("name", NAMES)
def test_names_of_other_people_are_drawn_as_text(name):
    draw = figures(40, ODD, objective=ODD[2])[name]
    for ax in (draw(None), draw(own_axes(3.6, 2.6))):
        assert cut_off(ax) == []
        texts = "".join(text.get_text() for text in texts_of(ax))
        assert "\n" not in texts.replace("begun", "") or name in ("brackets", "importance")
        assert "$" not in texts.replace(r"\$", "").replace(r"$\mathdefault", "").replace("}}$", "")


def test_importance_says_what_stands_against_it():
    ax = plot_importance(importance(state_of(8)))
    assert "too few" in ax.get_title(loc="left")
    assert {patch.get_facecolor()[:3] for patch in ax.patches} == {(0xB0 / 255,) * 3}
    table = importance(state_of(150))
    ax = plot_importance(table, most=2)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels[:2] == list(table["hyperparameter"][:2])
    assert ax.patches[0].get_width() == pytest.approx(table["share"][0])


def test_log_entries_have_log_axes_and_lists_their_values():
    state = state_of(60)
    assert plot_slice(slices(state, "rate")).get_xscale() == "log"
    ax = plot_pair(pairs(state, "width", "rate"))
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["16", "32", "64"]


@pytest.mark.parametrize("low, high", [(0.003, 0.03), (0.01, 0.04), (1e-4, 1e-1), (1e-6, 1.0)])
def test_labels_of_a_log_axis_do_not_cover_each_other(low, high):
    table = slices(state_of(60), "rate")
    shares = np.linspace(0, 1, len(table))
    ax = plot_slice(table.assign(value=low * (high / low) ** shares))
    ax.figure.canvas.draw()
    ticks = [*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)]
    texts = [each for each in ticks if each.get_text()]
    boxes = [each.get_window_extent() for each in texts]
    inside = [box for box in boxes if ax.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= ax.bbox.x1 + 1]
    inside.sort(key=lambda box: box.x0)
    assert len(inside) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(inside))


def test_failed_trials_are_seen_where_they_lie():
    state = state_of(60)
    failed = sorted(t.point["rate"] for t in state.with_status("failed"))
    assert failed
    crosses = [line for line in plot_slice(slices(state, "rate")).lines if line.get_marker() == "x"]
    assert sorted(crosses[0].get_xdata()) == failed


def test_a_line_for_each_trial_and_the_best_on_top():
    table = parallel_table(state_of(90))
    ax = plot_parallel(table)
    pale, lost, scored = (collection.get_segments() for collection in ax.collections[:3])
    assert not len(pale)
    assert len(lost) + len(scored) == table["trial"].nunique()
    assert scored[-1][-1][1] == 1 and scored[0][-1][1] == 0
    widths = ax.collections[2].get_linewidths()
    assert sum(np.array(widths) > 2) == 5


def test_bars_of_a_timeline_are_as_long_as_the_work():
    table = timeline(events_of(20, ["a", "b"]))
    ax = plot_timeline(table)
    hours = "hours" in ax.get_xlabel()
    widths = sum(patch.get_width() for patch in ax.patches) * (3600 if hours else 60)
    assert widths == pytest.approx((table["ended"] - table["began"]).sum())


def test_curves_of_explosions_are_logarithmic_and_parents_are_joined():
    state = state_of(0)
    for number, (parent, values) in enumerate([(None, [1.0, 0.5]), (1, [0.4, 1e5])], start=1):
        begin = 2 if parent else 0
        curve = tuple({"epoch": begin + e, "acc": v} for e, v in enumerate(values, start=1))
        told = {"curve": curve, "status": "finished", "score": values[-1], "parent": parent}
        state.trials[number] = TrialState(number, {}, 1, 4, **told)
    ax = plot_learning_curves(learning_curves(state))
    assert ax.get_yscale() == "log"
    assert list(ax.lines[1].get_xdata()) == [2, 3, 4]


def test_the_front_is_joined_and_another_pair_can_be_drawn():
    table = pareto(state_of(40), {"acc": "max", "seconds": "min", "score": "max"})
    ax = plot_front(table, x="seconds", y="score")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("seconds", "score", "log")
    assert len(ax.lines[1].get_xdata()) == table["front"].sum()
    with pytest.raises(DataError, match="two objectives"):
        plot_front(table[["trial", "acc", "front"]])


def test_brackets_stand_apart_in_the_order_in_which_they_are_begun():
    rungs = [(2, 0, 1), (2, 1, 3), (2, 2, 9), (1, 0, 3), (1, 1, 9), (0, 0, 9)]
    rows = [(n, *rung, 0, 0.5, False) for n, rung in enumerate(rungs, start=1)]
    names = ["trial", "bracket", "rung", "epochs", "parent", "score", "promoted"]
    ax = plot_brackets(pd.DataFrame(rows, columns=names))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "3", "9", "3", "9", "9"]
    steps = np.diff(ax.get_xticks())
    between = [one[0] != other[0] for one, other in itertools.pairwise(rungs)]
    assert min(steps[between]) > max(steps[~np.array(between)]) > 0


def test_an_axis_of_factors_can_be_read_at_once():
    sizes = [20_000, 200_000, 2_000_000]
    table = pd.DataFrame({"trial": [1, 2, 3], "acc": [0.7, 0.8, 0.9], "parameters": sizes})
    ax = plot_front(table.assign(front=True), y="parameters")
    ax.get_figure().draw_without_rendering()
    words = [text.get_text() for text in ax.get_yticklabels()]
    assert {"20 k", "200 k", "2 M"} <= set(words) and ax.get_yscale() == "log"
    assert not any(text.get_text() for text in ax.get_yticklabels(minor=True))


@pytest.mark.parametrize("name", NAMES)
def test_another_table_is_refused(name):
    drawn = {
        "slice": plot_slice,
        "pair": plot_pair,
        "parallel": plot_parallel,
        "timeline": plot_timeline,
        "curves": plot_learning_curves,
        "brackets": plot_brackets,
        "pareto": plot_front,
        "importance": plot_importance,
    }[name.split()[0]]
    state = state_of(3)
    with pytest.raises(DataError, match="Expected a table with"):
        drawn(slices(state, "rate").rename(columns=str.upper))

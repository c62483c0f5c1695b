"""A reason says what was known before a trial was asked, and nothing that came later."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from imgrec.core import JournalError, OptionError, SearchError
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.evidence import random_beginning
from imgrec.journal import Journal, read_journal
from imgrec.known import known_before, surrogate_of
from imgrec.link import Outcome
from imgrec.record import SearchRecord
from imgrec.search import Search
from imgrec.space import Choice, Float, Int, Space
from imgrec.state import replay
from imgrec.task import replayed_proposer
from imgrec.why import along, why
from imgrec.why_plots import plot_why, plot_why_along

SPACE = Space(rate=Float(0.01, 1.0, log=True), depth=Int(1, 6))


@pytest.fixture(scope="module")
def few():
    return load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)


def pretend(plan, trial, link):
    "Stands in for a training: the point decides the score, and deep nets may fail."
    if trial.point.get("depth") == 6:
        raise ValueError("too deep")
    score = 0.9 - 0.1 * (np.log10(trial.point["rate"]) + 1) ** 2
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        link.report(epoch, {"val_accuracy": score * (1 - 0.5**epoch)}, 0.0)
    return Outcome(link.score, trial.epochs, 0.0)


def a_search(few, directory, budget=12, space=SPACE, **options):
    def build(spec, rate, depth=1):
        raise AssertionError("never called")

    how = {"strategy": "bayesian", "epochs": 9, "progress": "none", "executor": "inline"} | options
    search = Search(space, build, few, budget=budget, directory=directory, **how)
    search.runner = pretend
    return search


@pytest.fixture(scope="module")
def bayesian(few, tmp_path_factory):
    return a_search(few, tmp_path_factory.mktemp("bayesian")).run()


def test_the_reason_holds_the_point_that_the_oracle_answers_again(bayesian):
    trials = bayesian.snapshot().trials
    for number, trial in trials.items():
        known = known_before(bayesian.directory, number)
        assert known.proposer().ask(number).point == trial.point == known.asked.point
        reason = why(bayesian, number)
        scored = [t for t in trials.values() if t.trial < number and t.status == "finished"]
        assert reason.known == len(scored)
        assert (reason.guess is None) == (len(scored) < random_beginning(2))
        assert reason.how == ("random" if reason.guess is None else "process")
        assert "asked again" not in reason.because
        assert reason.best is None or reason.best.score == max(t.score for t in scored)
        assert reason.after == trial


def test_later_events_change_nothing_but_the_outcome(bayesian, tmp_path):
    events = read_journal(bayesian.directory / "journal.log").events
    last = len(bayesian.snapshot().trials)
    with Journal(tmp_path / "journal.log") as journal:
        for event in events:
            told = {key: value for key, value in event.items() if key not in ("n", "time")}
            journal.append(told.pop("event"), **told)
            if event["event"] == "trial_asked" and event["trial"] == last:
                break
    cut, whole = why(tmp_path, last), why(bayesian, last)
    assert cut.guess == whole.guess and cut.because == whole.because
    assert cut.below is None and "asked; it has no score" in repr(cut)
    assert 0 <= whole.below <= 1 and "of what was expected lies below" in repr(whole)


def test_a_directory_a_view_and_a_search_say_the_same(bayesian):
    said = {repr(why(each, 9)) for each in (bayesian, SearchRecord(bayesian.directory))}
    assert said == {repr(why(str(bayesian.directory), 9))}


def test_the_table_holds_the_chosen_point_and_is_in_the_unit_of_the_objective(bayesian):
    number = max(bayesian.snapshot().trials)
    reason = why(bayesian, number)
    table, guess = reason.table, reason.guess
    assert table["what"].value_counts().to_dict() == {"random": 1000, "chosen": 1, "best known": 1}
    best = table[table["what"] == "best known"].iloc[0]
    assert abs(best["mean"] - reason.best.score) < 0.02, "the model goes through what it has seen"
    assert (np.diff(table["rank"]) >= 0).all() and (np.diff(table["gain"]) <= 1e-9).all()
    assert guess.low < guess.mean < guess.high and guess.gain >= 0
    better = (table["gain"] > guess.gain)[table["what"] == "random"].sum()
    assert guess.rank == better + 1


def test_a_loss_is_hoped_to_be_small(few, tmp_path):
    def loss(plan, trial, link):
        link.report(9, {"val_loss": 1 + trial.point["rate"]}, 0.0)
        return Outcome(link.score, 9, 0.0)

    space = Space(rate=Float(0.0, 1.0))
    search = a_search(few, tmp_path, 5, space, objective="val_loss")
    search.runner = loss
    reason = why(search.run(), 4)
    assert reason.how == "process" and reason.guess.low < reason.guess.mean
    assert reason.best.score == min(t.score for t in search.snapshot().scored if t.trial < 4)
    best = reason.table[reason.table["what"] == "best known"].iloc[0]
    assert abs(best["mean"] - reason.best.score) < 0.05
    assert (np.diff(reason.table["gain"]) <= 1e-9).all()


@pytest.mark.parametrize(
    ("strategy", "how", "words"),
    [
        ("random", "random", "as all points of a random search are"),
        ("grid", "grid", "the grid, which has 12 points"),
        ("halving", "random", "halving decides how long"),
    ],
)
def test_strategies_without_a_model_say_so_and_draw_nothing(few, tmp_path, strategy, how, words):
    space = Space(rate=Choice(0.01, 0.1, 1.0), depth=Int(1, 4))
    reason = why(a_search(few, tmp_path, 5, space, strategy=strategy).run(), 4)
    assert (reason.how, reason.guess, reason.table) == (how, None, None)
    assert words in reason.because and "best known then: val_accuracy" in repr(reason)
    with pytest.raises(SearchError, match="nothing to draw: trial 4 was chosen"):
        plot_why(reason)


def test_hyperband_promotes_the_best_that_waited(few, tmp_path):
    space = Space(rate=Float(0.01, 1.0), depth=Int(1, 5))
    search = a_search(few, tmp_path, 16, space, strategy="hyperband").run()
    trials = search.snapshot().trials
    promoted = [t for t in trials.values() if t.parent is not None]
    assert promoted and why(search, 1).how == "random" and "rung 0" in why(search, 1).because
    for trial in promoted:
        reason, parent = why(search, trial.trial), trials[trial.parent]
        rivals = [
            t.score
            for t in trials.values()
            if t.trial < trial.trial and (t.rung, t.epochs) == (trial.rung - 1, parent.epochs)
        ]
        gone = sum(t.rung == trial.rung and t.trial < trial.trial for t in promoted)
        assert reason.how == "promoted" and f"trial {parent.trial} was the best" in reason.because
        assert f"{parent.score:.4g}" in reason.because
        if trial.bracket == trials[1].bracket:
            assert f"of {len(rivals) - gone} trial" in reason.because


def test_what_is_promoted_and_what_a_model_proposed_are_told_apart(few, tmp_path):
    search = a_search(few, tmp_path, 14, strategy="bayesian_halving").run()
    trials = search.snapshot().trials
    ways = {number: why(search, number) for number in trials}
    assert {way.how for way in ways.values()} >= {"random", "promoted", "process"}
    for number, trial in trials.items():
        assert (ways[number].how == "promoted") == (trial.parent is not None)
        assert "asked again" not in ways[number].because
    first = next(way for way in ways.values() if way.how == "process")
    begun = [t for t in trials.values() if t.trial < first.trial and t.parent is None]
    scored = [t for t in begun if t.status == "finished"]
    assert len(first.surrogate.scores) == len(scored) >= 3, "a point counts once"
    for number, way in ways.items():
        after = way.after
        assert after.point == trials[number].point and after.epochs >= trials[number].epochs
        assert (way.reached is None) == (way.guess is not None and after.epochs < 9)
        waits = way.reached is None and after.score is not None
        assert ("what was expected is of 9" in repr(way)) == waits


def test_a_point_by_hand_and_a_new_era_are_evidence(few, tmp_path):
    space = Space(rate=Float(0.01, 1.0), depth=Int(1, 5))
    search = a_search(few, tmp_path, 4, space).run()
    search.enqueue({"rate": 0.1, "depth": 2})
    search.extend(1)
    search.run()
    assert (why(search, 5).how, why(search, 5).because) == ("hand", "by hand")
    search.edit(space.edit(rate=Float(0.02, 1.0)))
    search.extend(4)
    search.run()
    state = search.snapshot()
    last = max(state.trials)
    assert state.trials[last].era > state.trials[1].era
    reason = why(search, last)
    inside = [t for t in state.trials.values() if t.trial < last and t.point["rate"] >= 0.02]
    assert len(reason.surrogate.scores) == reason.known == len(inside) >= 6
    assert reason.how == "process" and "asked again" not in reason.because
    assert known_before(search, last).proposer().ask(last).point == reason.point


def test_what_runs_at_that_moment_is_taken_as_a_little_worse(few, tmp_path):
    space, about = Space(rate=Float(0.0, 1.0)), {"strategy": "bayesian", "direction": "max"}
    about |= {"objective": "val_accuracy", "epochs": 3, "seed": 2}
    events = [{"event": "search_created", "space": space.to_dict(), "settings": about}]
    events[0] |= {"budget": {}, "versions": {}}
    facts = {"epochs": 3, "initial_epoch": 0, "parent": None}
    with Journal(tmp_path / "journal.log") as journal:
        for event in events:
            journal.append(**event)
        for number in range(1, 7):
            known = replay(journal.events)
            point = replayed_proposer(space, about, journal.events, known).ask(number).point
            journal.append("trial_asked", trial=number, point=point, seed=number, **facts)
            if number < 6:
                journal.append("trial_started", trial=number, worker="one")
            if number < 5:
                ended = {"score": 0.5 + 0.1 * number, "best_epoch": 3, "seconds": 1.0}
                journal.append("trial_finished", trial=number, **ended)
    reason = why(tmp_path, 6)
    assert (reason.running, reason.waiting, reason.known) == ((5,), (), 4)
    assert "running then: trials 5" in repr(reason) and "asked again" not in reason.because
    running = known_before(tmp_path, 5).asked.point
    assert reason.surrogate.expects([running])["gain"][0] < reason.guess.gain
    assert len(reason.surrogate.points) == 4


def test_a_point_that_was_tried_gives_way_to_a_random_one(few, tmp_path):
    space = Space(rate=Choice(0.01, 0.1, 0.5, 1.0))
    search = a_search(few, tmp_path, 4, space).run()
    ways = [why(search, number).how for number in (1, 2, 3, 4)]
    assert ways[:3] == ["random"] * 3 and ways[3] in ("process", "collision")
    if ways[3] == "collision":
        assert "had been tried already" in why(search, 4).because


def test_what_cannot_be_asked_is_said(few, bayesian, tmp_path):
    with pytest.raises(SearchError, match=r"There is no trial 99 .* trials are 1 to 12"):
        why(bayesian, 99)
    with pytest.raises(SearchError, match="No model was asked: trial 1 was chosen at random"):
        along(why(bayesian, 1), "rate")
    last = max(bayesian.snapshot().trials)
    with pytest.raises(OptionError, match="Did you mean 'depth'"):
        along(why(bayesian, last), "dept")
    assert surrogate_of(known_before(bayesian, 1)) is None
    failed = [t.trial for t in bayesian.snapshot().with_status("failed")]
    assert failed, "the space holds points that fail"
    assert "failed, ValueError: too deep; it has no score" in repr(why(bayesian, failed[0]))


def test_along_an_entry_everything_else_stays(bayesian):
    last = max(bayesian.snapshot().trials)
    reason = why(bayesian, last)
    for name, scale in (("rate", "log"), ("depth", "linear")):
        table = along(reason, name)
        assert (table["scale"] == scale).all() and table["chosen"].sum() == 1
        mine = table[table["chosen"]].iloc[0]
        assert mine["value"] == reason.point[name]
        assert abs(mine["mean"] - reason.guess.mean) < 1e-6
        assert (np.diff(table["value"].astype(float)) > 0).all()


def test_an_entry_that_decides_over_others_brings_their_defaults(few, tmp_path):
    space = Space(
        kind=Choice("plain", "wide"),
        rate=Float(0.01, 1.0),
        depth=Int(1, 5, when="kind", equals=("wide",)),
    )

    def build(spec, kind, rate, depth=1):
        raise AssertionError("never called")

    how = {"strategy": "bayesian", "epochs": 3, "progress": "none", "executor": "inline"}
    search = Search(space, build, few, budget=11, directory=tmp_path, **how)
    search.runner = pretend
    reason = why(search.run(), 11)
    assert reason.surrogate is not None and list(along(reason, "kind")["value"]) == [
        "plain",
        "wide",
    ]
    assert not reason.table.loc[reason.table["kind"] == "plain", "depth"].notna().any()


def test_figures_draw_what_the_reason_holds(bayesian):
    last = max(bayesian.snapshot().trials)
    reason = why(bayesian, last)
    _, own = plt.subplots()
    assert plot_why(reason, own) is own and f"trial {last}" in own.get_title(loc="left")
    lines = {line.get_label(): line for line in own.get_lines()}
    assert lines["chosen"].get_xdata()[0] == pytest.approx(reason.guess.mean)
    assert lines["chosen"].get_ydata()[0] == pytest.approx(reason.guess.deviation)
    for name in ("rate", "depth"):
        ax = plot_why_along(reason, name)
        assert isinstance(ax, Axes) and ax.get_xlabel() == name
        points = {line.get_label(): line for line in ax.get_lines()}
        assert ("reached" in points) == (reason.after.score is not None)
    plt.close("all")


def test_no_journal_is_said(tmp_path):
    with pytest.raises(JournalError, match="Cannot read the journal"):
        why(Path(tmp_path) / "none", 1)

"""A long search: what is rebuilt goes on as what has lived, and the work grows with the trials."""

import random
import sys
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import score_of, task_in

from imgrec import journal, record
from imgrec.budget import Budget
from imgrec.engine import begin, note
from imgrec.journal import Journal, decode_lines, encode_line, read_journal
from imgrec.link import Ended
from imgrec.oracles import ORACLES
from imgrec.record import Follower, SearchRecord
from imgrec.space import Float, Int, Space
from imgrec.state import replay
from imgrec.task import restored_proposer
from imgrec.turns import hear_end, hear_epoch, next_trial, started

FITTED = ("bayesian", "bayesian_halving")
HOW = ("finished", "finished", "finished", "pruned", "failed", "interrupted")


@pytest.fixture(scope="module", autouse=True)
def quick_disk():
    "Wait for no disk."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.os, "fsync", lambda handle: None)
        yield


def end_one(engine, number, chance):
    "Let a running trial end, in one way or another."
    trial = engine.state.trials[number]
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        hear_epoch(engine, number, epoch, {"val_accuracy": score_of(trial.point, epoch)}, 0.1)
    engine.orders.clear()
    event = f"trial_{chance.choice(HOW)}"
    score = score_of(trial.point, trial.epochs)
    fields = {
        "score": score,
        "best_epoch": trial.epochs,
        "seconds": 0.1,
        "reason": "",
        "error": 0.1,
    }
    if event == "trial_failed":
        fields = {"reason": "", "traceback": "", "seconds": 0.1}
    hear_end(engine, number, Ended(event, fields))


def by_hand(engine, chance):
    "A person wants a point."
    point = {"width": 8, "rate": chance.random(), "depth": 1}
    told = {"command": "enqueue", "point": point, "id": str(engine.state.events), "refused": ""}
    note(engine, "command", told)


def live(engine, chance, asks, at_once):
    "A history of so many asks."
    running = []
    for _ in range(asks):
        if chance.random() < 0.1:
            by_hand(engine, chance)
        trial = next_trial(engine)
        if trial is not None:
            started(engine, trial, "worker")
            running.append(trial.trial)
        elif not running:
            return
        while running and (trial is None or len(running) >= at_once or chance.random() < 0.3):
            end_one(engine, running.pop(chance.randrange(len(running))), chance)
            trial = trial or engine


def search_in(folder, strategy, seed, trials=10_000):
    "A task without an end."
    task = task_in(folder, strategy, seed)
    plan = replace(task.plan, epochs=27 if strategy == "hyperband" else 4)
    return replace(task, plan=plan, budget=Budget(trials=trials))


@pytest.mark.parametrize("strategy", ORACLES)
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), at_once=st.sampled_from([1, 2, 5]))
def test_an_oracle_that_is_rebuilt_goes_on_as_the_one_that_lived(
    strategy, seed, at_once, tmp_path_factory
):
    task = search_in(tmp_path_factory.mktemp("search"), strategy, seed)
    asks, more = (25, 3) if strategy in FITTED else (250, 60)
    with Journal(task.directory / "journal.log") as file:
        engine, chance = begin(task, file), random.Random(seed)
        live(engine, chance, asks, at_once)
        rebuilt = restored_proposer(task, file.events, engine.state)
    lived, count = engine.proposer, len(engine.state.trials)
    assert rebuilt.promotable() == lived.promotable()
    for number in range(count + 1, count + 1 + more):
        proposal = lived.ask(number)
        assert rebuilt.ask(number) == proposal
        waiting = [number] if proposal.status == "go" else list(lived.trials)[:1]
        for each in waiting if chance.random() < 0.8 or proposal.status != "go" else []:
            score = chance.choice([None, chance.random()])
            lived.tell(each, score)
            rebuilt.tell(each, score)


def made_up(folder, strategy, trials):
    "A journal of so many trials, in which every trial ends well."
    space = Space(rate=Float(1e-4, 1.0, log=True), dropout=Float(0.0, 0.9), depth=Int(1, 9))
    task = search_in(folder, strategy, 1)
    task = replace(task, space=space, plan=replace(task.plan, epochs=243))
    with Journal(task.directory / "journal.log") as file:
        engine = begin(task, file)
        for _ in range(trials):
            trial = next_trial(engine)
            started(engine, trial, "worker")
            score = score_of(trial.point, 1)
            for event in ("epoch_ended", "trial_finished"):
                fields = {"epoch": 1, "logs": {"val_accuracy": score}, "seconds": 0.1}
                fields |= {"score": score, "best_epoch": 1}
                note(engine, event, {"trial": trial.trial, **fields})
            engine.began.clear()
    return task


def work_of(body):
    "How many functions are called, those written in C among them."
    calls = 0

    def seen(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        body()
    finally:
        sys.setprofile(None)
    return calls


def restarted(task):
    "Open a journal, and bring the oracle to where it was."
    with Journal(task.directory / "journal.log") as file:
        restored_proposer(task, file.events, replay(file.events))


@pytest.mark.parametrize("strategy", ["random", "grid", "hyperband"])
def test_the_work_of_a_restart_grows_with_the_trials(strategy, tmp_path):
    counts = []
    for trials in (200, 400):
        task = made_up(tmp_path / str(trials), strategy, trials)
        counts.append(work_of(partial(restarted, task)))
    assert counts[1] < 2.5 * counts[0]


def test_a_view_reads_only_what_is_new(tmp_path, monkeypatch):
    task, read = made_up(tmp_path, "random", 40), []

    def counting(data, first=1):
        read.append(len(data))
        return decode_lines(data, first)

    monkeypatch.setattr(record, "decode_lines", counting)
    view = SearchRecord(tmp_path)
    assert len(view.results()) == 40
    size = (tmp_path / "journal.log").stat().st_size
    view.results()
    with Journal(tmp_path / "journal.log") as file:
        engine = begin(task, file)
        next_trial(engine)
        assert len(view.results()) == 41
        assert view.snapshot() == engine.state
    grown = (tmp_path / "journal.log").stat().st_size - size
    assert read == [size, 0, grown, 0] and grown < size / 10


@settings(max_examples=60)
@given(st.integers(0, 2600), st.data())
def test_many_lines_are_read_as_one_by_one(count, data):
    lines = [
        encode_line({"n": n, "event": "command", "text": "ü" * (n % 3)})
        for n in range(1, count + 1)
    ]
    whole = b"".join(lines)
    events, size, wrong = decode_lines(whole)
    assert [event["n"] for event in events] == list(range(1, count + 1))
    assert (size, wrong) == (len(whole), "")
    if count:
        at = data.draw(st.integers(0, count - 1))
        lines[at] = data.draw(
            st.sampled_from(
                [b"\n", lines[at][:-5] + b"\n", encode_line({"n": 0}), lines[at].upper()]
            )
        )
        events, size, wrong = decode_lines(b"".join(lines))
        assert len(events) == at and wrong and size == sum(map(len, lines[:at]))


def test_a_follower_and_a_reader_agree_at_every_byte(tmp_path):
    task = made_up(tmp_path / "whole", "random", 3)
    whole = (task.directory / "journal.log").read_bytes()
    path = tmp_path / "journal.log"
    path.write_bytes(b"")
    follower = Follower(path)
    for size in range(0, len(whole) + 1, 7):
        with path.open("ab") as file:
            file.write(whole[path.stat().st_size : size])
        assert follower.follow() == replay(read_journal(path).events)
    assert follower.state.space == task.space.to_dict()


def test_answers_of_the_worse_trials_make_room_for_others(tmp_path):
    task = made_up(tmp_path, "random", 60)
    (tmp_path / "predictions").mkdir()
    for number in range(1, 61):
        (tmp_path / "predictions" / f"{number}.npz").write_bytes(b"0" * 10_000)
    (tmp_path / "predictions" / "7-fold-1.npz").write_bytes(b"0" * 10_000)
    journal_size = (tmp_path / "journal.log").stat().st_size
    left = {}
    with Journal(tmp_path / "journal.log") as file:
        for limit in (700_000, 400_000, 250_000, 150_000):
            budget = Budget(disk_gb=(limit + journal_size) / 1e9)
            engine = begin(replace(task, budget=budget), file)
            trial = next_trial(engine)
            names = [path.stem for path in (tmp_path / "predictions").iterdir()]
            left[limit] = {int(name.partition("-")[0]) for name in names}
            if trial is not None:
                started(engine, trial, "worker")
                end_one(engine, trial.trial, random.Random(3))
    best = sorted(engine.state.scored, key=lambda trial: -trial.score)
    best = [trial.trial for trial in best if trial.trial <= 60]
    assert [len(kept) for kept in left.values()] == [60, 30, 20, 20]
    assert left[250_000] == set(best[:20])
    assert trial is None and engine.ending == "out of disk"

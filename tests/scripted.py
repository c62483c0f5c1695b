"""Searches whose trials cost nothing, in processes that are killed: run by `test_kills`.

Everything heavy is imported once; each life of a search is a fork of this process.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import psutil

from imgrec import crew as crews
from imgrec import journal, trials
from imgrec.budget import Budget
from imgrec.core import ImageSpec, JournalError
from imgrec.crew import Crew, run_crew
from imgrec.engine import begin, note
from imgrec.link import Outcome
from imgrec.oracles import MODELLED, Proposer, hashed_seed
from imgrec.plan import Plan
from imgrec.pruning import Pruning
from imgrec.record import Follower
from imgrec.search import Search
from imgrec.space import Bool, Choice, Float, Int, Space
from imgrec.state import replay
from imgrec.task import Task, inform
from imgrec.turns import run_here
from imgrec.workers import Shared

import_module("keras_tuner")  # once, and not in every life

SPACE = Space(
    width=Choice(4, 8, 16),
    rate=Float(1e-4, 1.0, log=True),
    depth=Int(1, 3),
    norm=Bool(when="depth", equals=(2, 3)),
)
SPEC = ImageSpec(8, 8, 1, ("a", "b"))
DATA = SimpleNamespace(catalog=None, fingerprint="scripted", settings={}, valid=True, spec=SPEC)
ENDS = ("finished", "pruned", "failed")


def build(spec, width, rate, depth, norm=False):
    raise AssertionError("nothing is built here")


def score_of(point, epoch):
    "A number for a point and an epoch, the same in every process."
    digest = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).digest()
    return round((1 - 0.7**epoch) * (digest[0] + 1) / 256, 6)


def pretend(plan, trial, link):
    "Stands in for a training; some fail, some leave by the wrong door, some print."
    digest = hashlib.sha256(json.dumps(trial.point, sort_keys=True).encode()).digest()
    if link.files.parent is not None:
        assert link.files.parent.read_text() == str(trial.initial_epoch), "its weights are gone"
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        link.check()
        time.sleep(0.001)
        link.report(epoch, {"val_accuracy": score_of(trial.point, epoch)}, 0.001)
        if digest[1] < 20 and epoch == 2:
            raise (SystemExit if digest[1] < 10 else ValueError)("of its own will")
    link.error = 0.1
    if link.files.last is not None:
        leave(link.files.last, trial.epochs)
    return Outcome(link.score, link.best_epoch, 0.001 * trial.epochs)


def leave(path, epochs):
    "Stands in for weights: how far they are trained."
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    part.write_text(str(epochs))
    part.replace(path)


def a_run(plan, trial, link, splits):
    "Stands in for one of several runs of a trial: its luck is that of its seed."
    luck = random.Random(trial.seed).uniform(0, 0.1)
    for epoch in range(trial.initial_epoch + 1, trial.epochs + 1):
        link.check()
        time.sleep(0.001)
        link.report(epoch, {"val_accuracy": score_of(trial.point, epoch) + luck}, 0.001)
    link.files.best.parent.mkdir(exist_ok=True)
    link.files.best.write_text(str(link.run))
    return Outcome(link.score, link.best_epoch, 0.001 * trial.epochs)


def pretend_runs(plan, trial, link):
    "A trial of several runs, none of which is a training."
    trials._once = a_run
    return trials.run_trial(plan, trial, link)


def runner_of(plan):
    "What stands in for the trials of a plan."
    return pretend if plan.runs_per_trial == 1 else pretend_runs


def task_in(directory, strategy, seed, most=16):
    'What is searched; "repeated" is halving with three runs a trial.'
    repeated = strategy == "repeated"
    plan = Plan(build, DATA, epochs=4, executions=3 if repeated else 1)
    strategy = "halving" if repeated else strategy
    rule = Pruning() if strategy == "halving" else None
    return Task(plan, SPACE, strategy, seed, Budget(trials=most), Path(directory), rule)


def unpack(data):
    return None, cloudpickle.loads(data), "val_accuracy", "max"


def unpack_plan(data):
    plan = cloudpickle.loads(data)
    return plan, runner_of(plan), "val_accuracy", "max"


def heavy(plan, trial, link):
    "Stands in for a training that keeps weights and answers of some kilobytes."
    outcome = pretend(plan, trial, link)
    for path in (link.files.best, link.files.predictions):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(3000))
    return outcome


def live(task, workers, patience=900.0, runner=None):
    "Run a search to its end in this process; workers are forks of it."
    crews._TRIES = 1000  # it is not the trial's fault when its worker is killed here
    with journal.Journal(task.directory / "journal.log") as file:
        engine = begin(task, file, longest=2.0, ahead=workers > 1)
        if workers:
            data = cloudpickle.dumps(task.plan)
            facts = (data, cloudpickle.dumps(unpack_plan), None, "fork")
            reason = run_crew(engine, Crew(Shared(*facts), workers, patience))
        else:
            reason = run_here(engine, runner or runner_of(task.plan))
        note(engine, "search_stopped", {"reason": reason, "fatal": engine.fatal})


def die_writing(chance):
    "Have this process killed within one of its next writes, at any byte."
    left, write = chance.randint(1, 14), journal._write

    def torn(handle, data, at):
        nonlocal left
        left -= 1
        if left:
            return write(handle, data, at)
        write(handle, data[: chance.randint(0, len(data))], at)
        os.kill(os.getpid(), signal.SIGKILL)

    journal._write = torn


def begin_a_life(task, workers, chance):
    "A fork that runs a search; the number of its process."
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if chance.random() < 0.75:
            die_writing(chance)
        live(task, workers)
        os._exit(0)
    return child


def strike(child, crew, chance):
    "Kill the engine, one of its workers, or several at once; who was killed."
    victims = [child] if not crew or chance.random() < 0.5 else [chance.choice(crew)]
    victims += [pid for pid in crew if chance.random() < 0.2 and pid not in victims]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)
    return victims


def alive(pid):
    "Whether a process runs: one that has ended and waits to be noticed does not."
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(crew):
    "Whether workers end when their engine has ended."
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not any(alive(pid) for pid in crew):
            return True
        time.sleep(0.01)
    return False


def a_life(task, workers, seed, slower=1.0):
    "One life of a search; whether it came to the end, and how many were killed."
    chance, window = random.Random(seed), slower * (0.25 if workers else 0.8)
    child, crew, killed = begin_a_life(task, workers, chance), set(), 0
    end, limit = (time.monotonic() + seconds for seconds in (60, chance.uniform(0.0, window)))
    while time.monotonic() < end:
        if workers:
            crew |= {each.pid for each in children_of(child)}
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert gone(crew), "a worker has outlived its engine"
            ended = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            return ended, max(killed, not ended)
        if time.monotonic() > limit:
            now = [each.pid for each in children_of(child)]
            killed += len(strike(child, now, chance))
            limit = time.monotonic() + chance.uniform(0.0, window)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it hangs")


def children_of(pid):
    "The children of a process, which may have ended."
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def table_of(directory):
    "What a search has come to, without times and names of processes."
    events = journal.read_journal(Path(directory) / "journal.log").events
    state = replay(events)
    ended = Counter(e["trial"] for e in events if e["event"] in {f"trial_{end}" for end in ENDS})
    assert set(ended.values()) <= {1}, "a trial has ended twice"
    assert all(t.status in ENDS for t in state.trials.values()), "a trial was lost"
    check_runs_of(events)
    check_order_of(events, state)
    return [row_of(trial) for trial in state.trials.values()], state


def row_of(trial):
    "What a trial has come to."
    curve = [point["val_accuracy"] for point in trial.curve]
    runs = [run["score"] for run in trial.runs]
    return trial.point, trial.seed, trial.parent, trial.status, trial.score, curve, runs


def check_runs_of(events):
    "No run of a trial is trained again after it has ended, or after the trial was given up."
    ended = Counter()
    for event in events:
        if event["event"] == "run_ended":
            ended[event["trial"]] += 1
            assert event["run"] == ended[event["trial"]], "a run has ended twice"
        if event["event"] == "epoch_ended" and "run" in event:
            assert event["run"] == ended[event["trial"]] + 1, "a run that has ended is trained"


def check_order_of(events, state):
    "An oracle that is asked and told in the recorded order gives the recorded answers."
    if state.era:
        return
    strategy, epochs = state.settings["strategy"], state.settings["epochs"]
    seed = hashed_seed(state.settings["seed"], strategy, 0)
    oracle = Proposer(Space.from_dict(state.space), strategy, "max", seed, epochs)
    for event in events:
        if event["event"] == "trial_asked":
            answer = oracle.ask(event["trial"])
            found = (answer.point, answer.parent, answer.initial_epoch)
            assert found == (event["point"], event["parent"], event["initial_epoch"]), event
        elif event["event"] == "ask_idle" and strategy not in MODELLED:
            oracle.ask(event["trial"])
        else:
            inform(oracle, state, event)


def trials_ended(directory):
    "How many trials have ended, as the journal says."
    path = directory / "journal.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    return sum(text.count(f'"event":"trial_{end}"') for end in ENDS)


def broken(strategy, workers, seed, trials=16):
    "A search that is killed until it has ended: its table, its state, its lives and its kills."
    with tempfile.TemporaryDirectory() as folder:
        task, lives, kills, done = task_in(folder, strategy, seed, trials), 0, 0, False
        ended, slower = 0, 1.0
        while not done:
            done, killed = a_life(task, workers, f"{strategy} {seed} {lives}", slower)
            lives, kills, before = lives + 1, kills + killed, ended
            ended = trials_ended(task.directory)
            slower = 1.0 if ended > before else 1.1 * slower  # a busy machine needs its time
            assert lives < 400, "it gets nowhere"
        return *table_of(folder), lives, kills


def unbroken(strategy, seed, trials=16):
    "The same search in one piece."
    with tempfile.TemporaryDirectory() as folder:
        live(task_in(folder, strategy, seed, trials), 0)
        return table_of(folder)[0]


def kills(strategy, workers, wanted):
    "Kill searches of a strategy until there were enough kills."
    found, searches, lives = 0, 0, 0
    while found < wanted:
        rows, state, more, killed = broken(strategy, workers, searches)
        if workers < 2:
            whole = unbroken(strategy, searches)
            reasons = [trial.reason for trial in state.trials.values()]
            other = [each for each in zip(rows, whole, reasons, strict=True) if each[0] != each[1]]
            assert not other, other
        else:
            most = state.budget["trials"]
            assert strategy == "hyperband" or len(rows) == most, "trials are missing"
        searches, lives, found = searches + 1, lives + more, found + killed
    return {"searches": searches, "lives": lives, "kills": found}


def in_a_fork(body, *arguments):
    "Do something in a fork; its exit status, or None while `wait` has not seen its end."
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = body(*arguments) or 0
        except KeyboardInterrupt:  # before or after it
            code = 71
        finally:
            os._exit(code)
    return child


def full(wanted):
    "Let the disk be full at any byte of the journal: what was written before is whole."
    with tempfile.TemporaryDirectory() as folder:
        task, refused = task_in(folder, "random", 5), 0
        path, chance = task.directory / "journal.log", random.Random(5)
        while refused < wanted:
            size = path.stat().st_size if path.exists() else 0
            limit = size + chance.randint(0, 700)
            _, status = os.waitpid(in_a_fork(with_little_room, task, limit), 0)
            code = os.waitstatus_to_exitcode(status)
            assert code in (0, 71), code
            journal.read_journal(path)
            refused += code == 71
            if code == 0:
                break
        live(task, 0)
        rows = table_of(folder)[0]
    assert rows == unbroken("random", 5)
    return {"refused": refused, "trials": len(rows)}


def with_little_room(task, limit):
    "Run a search whose files can have so many bytes; 71 if it was refused one."
    resource = import_module("resource")  # not on Windows
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        live(task, 0)
    except JournalError as error:
        return 71 if "Cannot write event" in str(error) and "are safe" in str(error) else 72
    return 0


def crowded(place):
    "Run a search on a disk that is full, has a little more room, and so on; exit codes and sizes."
    task, codes = task_in(f"{place}/search", "halving", 9, most=12), []
    for size in range(8, 400, 4):
        said = f"remount,size={size}k"
        subprocess.run(["mount", "-o", said, "tmpfs", place], check=True)
        _, status = os.waitpid(in_a_fork(until_it_is_full, task), 0)
        codes.append(os.waitstatus_to_exitcode(status))
        if (task.directory / "journal.log").exists():
            journal.read_journal(task.directory / "journal.log")
        if codes[-1] == 0:
            break
    rows = table_of(task.directory)[0]
    assert rows == unbroken("halving", 9, trials=12)
    return {"codes": codes, "size": size}


def until_it_is_full(task):
    "Run a search; 71 where the journal has no room, 72 where a trial has none, 73 at the start."
    try:
        live(task, 0, runner=heavy)
    except JournalError as error:
        return 71 if "Cannot write event" in str(error) and "are safe" in str(error) else 74
    except OSError as error:
        return 73 if error.errno == errno.ENOSPC else 75
    state = replay(journal.read_journal(task.directory / "journal.log").events)
    return 72 if state.fatal.startswith("The disk is full") else 0


def interrupted(wanted):
    "Press Ctrl-C at any moment: the search is told as stopped, and goes on to the same table."
    with tempfile.TemporaryDirectory() as folder:
        task, chance = task_in(folder, "halving", 6, most=12), random.Random(6)
        pressed = said = 0
        while pressed < wanted:
            child = in_a_fork(until_ctrl_c, task)
            time.sleep(chance.uniform(0.0, 0.15))
            os.kill(child, signal.SIGINT)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code in (0, 71), code
            pressed += 1
            state = replay(journal.read_journal(task.directory / "journal.log").events)
            said += state.status == "stopped" and not state.with_status("running")
        live(task, 0)
        rows = table_of(folder)[0]
    assert rows == unbroken("halving", 6, trials=12)
    return {"pressed": pressed, "said": said}


def until_ctrl_c(task):
    "Run a search as `Search.run` does here; 71 if Ctrl-C came before or after it."
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        search = Search.__new__(Search)
        search.task, search.runner, search.progress, search.directory = (
            task,
            pretend,
            "none",
            task.directory,
        )
        search._follower = Follower(task.directory / "journal.log")
        search.executor, search.process = "inline", None
        search.run()
    except KeyboardInterrupt:
        return 71
    return 0


def jumping():
    "Let the clock jump by days: nothing of it is counted as running."
    chance, real = random.Random(7), time.time
    time.time = lambda: real() + chance.choice([-86400, 0, 86400])
    with tempfile.TemporaryDirectory() as folder:
        task = replace(task_in(folder, "random", 7), budget=Budget(trials=8, minutes=5))
        live(task, 2)
        rows, state = table_of(folder)
    time.time = real
    return {"trials": len(rows), "reason": state.reason, "spent": state.spent}


def held():
    "Hold the engine for seconds, by SIGSTOP: no worker is blamed, and no time is counted."
    with tempfile.TemporaryDirectory() as folder:
        task = task_in(folder, "random", 8)
        child = in_a_fork(live, task, 2, 2.5)
        time.sleep(0.5)
        for _ in range(2):
            os.kill(child, signal.SIGSTOP)
            time.sleep(4)
            os.kill(child, signal.SIGCONT)
            time.sleep(0.1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        rows, state = table_of(folder)
        starts = [trial.starts for trial in state.trials.values()]
    return {"trials": len(rows), "starts": starts, "spent": state.spent}


MODES = {
    "full": full,
    "crowded": crowded,
    "interrupted": interrupted,
    "jumping": jumping,
    "held": held,
}

if __name__ == "__main__":
    if sys.argv[1] in MODES:
        given = [int(word) if word.isdecimal() else word for word in sys.argv[2:]]
        found = MODES[sys.argv[1]](*given)
    else:
        found = kills(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(found))

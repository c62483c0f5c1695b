"""Workers that do what workers should not; run by `test_crew`, a case in a process."""

import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import cloudpickle
from scripted import task_in, unpack

from imgrec import engine as engines
from imgrec.budget import Budget
from imgrec.commands import send
from imgrec.crew import Crew, run_crew
from imgrec.journal import Journal
from imgrec.link import Outcome
from imgrec.state import replay
from imgrec.workers import Shared


def odd(what):
    "A trial that pretends, and of which the second does something odd."

    def pretend(plan, trial, link):
        link.report(1, {"val_accuracy": 0.1 * trial.trial}, 0.1)
        if trial.trial == 2:
            what(trial)
        for epoch in range(2, trial.epochs + 1):
            link.check()
            link.report(epoch, {"val_accuracy": 0.1 * trial.trial + 0.01 * epoch}, 0.1)
        return Outcome(link.score, link.best_epoch, 0.1)

    return pretend


def hang(trial):
    time.sleep(3600)


def leave(trial):
    os._exit(3)


def leak(trial):
    kept = b"x" * 2_000_000_000
    time.sleep(60 if kept else 0)


def shout(trial):
    print("{'not': json", flush=True)
    os.write(1, b"\x00\xff")


def exits(trial):
    raise SystemExit("of its own will")


def nothing(trial):
    pass


KEPT = []


def fatten(trial):
    KEPT.append(b"x" * 60_000_000)
    time.sleep(2)  # until somebody looks


def refuse(data):
    raise OSError("the data is gone")


def once(trial):
    if trial.starts == 1:
        os._exit(9)


def run(what, budget, unpack=unpack, **crew):
    "A search of four trials whose second one is odd: its trials, and why it ended."
    with tempfile.TemporaryDirectory() as folder:
        task = replace(task_in(folder, "random", 0), budget=budget)
        shared = Shared(cloudpickle.dumps(odd(what)), cloudpickle.dumps(unpack), None, "spawn")
        with Journal(Path(folder) / "journal.log") as journal:
            engine = engines.begin(task, journal, longest=5.0)
            reason = run_crew(engine, Crew(shared, **{"size": 2, **crew}))
            again = replay(journal.events)
        assert again.trials == engine.state.trials
        trials = [(t.status, t.reason, t.starts, t.score) for t in again.trials.values()]
        workers = [trial.worker for trial in again.trials.values()]
        return {"reason": reason, "fatal": engine.fatal, "trials": trials, "workers": workers}


def steered():
    "A search that is told things while it runs, by another thread."
    with tempfile.TemporaryDirectory() as folder:
        task = replace(task_in(folder, "random", 0), budget=Budget(trials=4))

        def wait(plan, trial, link):
            link.report(1, {"val_accuracy": 0.5}, 0.1)
            while (directory / "commands").exists() and not (directory / "enough").exists():
                link.check()
                time.sleep(0.005)
            return Outcome(0.5, 1, 0.1)

        directory = Path(folder)
        shared = Shared(cloudpickle.dumps(wait), cloudpickle.dumps(unpack), None, "spawn")
        (directory / "commands").mkdir()
        with Journal(directory / "journal.log") as journal:
            engine = engines.begin(task, journal, longest=5.0)
            teller = threading.Thread(target=tell, args=(directory, journal, task))
            teller.start()
            reason = run_crew(engine, Crew(shared, 2))
            teller.join()
            return told(journal.events, reason)


def until(journal, condition):
    "Wait for what a journal will say."
    end = time.monotonic() + 60
    while not condition(list(journal.events)):
        assert time.monotonic() < end, [event["event"] for event in journal.events]
        time.sleep(0.01)


def names(events, name):
    return [event for event in events if event["event"] == name]


def tell(directory, journal, task):
    "Skip one, add a point, narrow the space, allow one more, and let them go."
    until(journal, lambda events: len(names(events, "epoch_ended")) >= 2)
    send(directory, "pause")
    until(journal, lambda events: len(names(events, "command")) >= 1)
    send(directory, "unpause")
    send(directory, "skip", trial=1)
    until(journal, lambda events: names(events, "trial_pruned"))
    point = task.space.defaults() | {"width": 16}
    send(directory, "enqueue", point=point)
    send(directory, "enqueue", point={"width": 5})
    send(directory, "enqueue", point=task.space.defaults() | {"width": 8})
    send(directory, "budget", budget={"trials": 5})
    send(directory, "edit", space=task.space.edit(width=16).to_dict())
    until(journal, lambda events: names(events, "space_changed"))
    (directory / "enough").touch()


def told(events, reason):
    "What has become of it."
    state = replay(events)
    widths = [t.point["width"] for t in state.trials.values() if t.era == state.era]
    hands = [t.trial for t in state.trials.values() if t.by == "hand"]
    said = names(events, "command")
    refused = [bool(event.get("refused")) for event in said]
    dropped = [event["reason"] for event in said if event["command"] == "drop"]
    skipped = state.trials[1].reason
    facts = {"trials": len(state.trials), "widths": widths, "hands": hands, "refused": refused}
    return facts | {"skipped": skipped, "reason": reason, "dropped": dropped}


CASES = {
    "hangs": lambda: run(hang, Budget(trials=4), patience=1.5),
    "leaves": lambda: run(leave, Budget(trials=4)),
    "comes back": lambda: run(once, Budget(trials=4)),
    "leaks": lambda: run(leak, Budget(trials=4, ram_gb=1.5)),
    "leaks alone": lambda: run(leak, Budget(trials=4, trial_ram_gb=1.2)),
    "exits": lambda: run(exits, Budget(trials=4)),
    "few each": lambda: run(nothing, Budget(trials=4), size=1, most=2),
    "grows": lambda: run(fatten, Budget(trials=4), size=1, growth=3e7),
    "shouts": lambda: run(shout, Budget(trials=4)),
    "no data": lambda: run(hang, Budget(trials=4), unpack=refuse),
    "late": lambda: run(hang, Budget(trials=4, trial_minutes=0.02), grace=0.5),
    "steered": steered,
}

if __name__ == "__main__":
    print("\n" + json.dumps(CASES[sys.argv[1]]()))

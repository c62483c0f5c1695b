"""Searches on a Ray cluster of two machines' worth on loopback, lost one after another."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import cloudpickle
import psutil
import pytest
from faulty import odd
from hypothesis import given
from hypothesis import strategies as st
from scripted import task_in

from imgrec.budget import Budget
from imgrec.cluster import Hiring, crew_on_cluster, room_on, threads_on
from imgrec.commands import send
from imgrec.crew import Crew, run_crew
from imgrec.data import load
from imgrec.datasets import digits
from imgrec.engine import begin
from imgrec.journal import Journal, read_journal
from imgrec.launch import Job, launch
from imgrec.link import Outcome
from imgrec.search import Search
from imgrec.space import Choice, Float, Space
from imgrec.state import replay
from imgrec.turns import run_here
from imgrec.workers import Shared

ray = pytest.importorskip("ray", reason="the extra imgrec[ray] is not installed")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a cluster on loopback is for Unix")
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
SOON = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 300}
SOON |= {"health_check_timeout_ms": 10_000, "health_check_failure_threshold": 3}
SOON |= {"worker_niceness": 0}  # otherwise a busy machine has no time for them


def started(begin, tries=4):
    "Begin what Ray gives thirty seconds for, which a busy machine may not have."
    for _ in range(tries - 1):
        with suppress(Exception):
            return begin()
    return begin()


@pytest.fixture(scope="module")
def cluster():
    "A head that has room for one worker; more machines can be added to it."
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("RAY_TMPDIR", "RAY_USAGE_STATS_ENABLED")}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ |= {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        head = {"num_cpus": 1, "node_name": "head", "_system_config": SOON, **SMALL}
        made = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            ray.init(made.address, log_to_driver=False, logging_level="error")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def machine(cluster, cpus=1):
    "One machine more, for a while."
    name = f"m{len(ray.nodes())}"
    node = started(lambda: cluster.add_node(num_cpus=cpus, node_name=name, **SMALL))
    try:
        yield node
    finally:
        cluster.remove_node(node, allow_graceful=False)


def lose(node):
    "Kill a machine: the process that stands for it in the cluster."
    os.kill(node.all_processes[ray._private.ray_constants.PROCESS_TYPE_RAYLET][0].process.pid, 9)


def until(condition, seconds=60):
    "Wait for what others do; how long it took."
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, "it did not come"
        time.sleep(0.01)
    return time.monotonic() - began


class Pretended:
    "A search of pretended trials on the cluster, which runs in a thread of its own."

    def __init__(self, folder, runner, trials=4, size=1, apart=False, **crew):
        self.task = replace(task_in(folder / "s", "random", 0), budget=Budget(trials=trials))
        facts = (cloudpickle.dumps(runner), cloudpickle.dumps(by_value(unpack)))
        shared = Shared(*facts, threads=None)
        self.task.directory.mkdir()
        hiring = Hiring(ray, self.task.directory, apart=apart)
        room = (lambda: room_on(hiring.nodes(), 1)) if size is None else None
        self.crew = Crew(shared, size or 99, hire=hiring.hire, room=room, **crew)
        self.journal = Journal(self.task.directory / "journal.log")
        self.engine = begin(self.task, self.journal, longest=5.0)
        self.reason = ""
        self.thread = threading.Thread(target=self.run)

    def run(self):
        self.reason = run_crew(self.engine, self.crew)

    @property
    def trials(self):
        return replay(list(self.journal.events)).trials

    def names(self, event):
        return [each for each in list(self.journal.events) if each["event"] == event]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.engine.ending = self.engine.ending or ("stopped" if error[0] else "")
        self.thread.join(60)
        self.journal.close()
        assert not self.thread.is_alive() and not self.crew.workers


def unpack(data):
    "What the bytes mean; it travels by value, so that nothing of these tests is imported there."
    return None, cloudpickle.loads(data), "val_accuracy", "max"


def by_value(function):
    "The same function, as if it stood in a notebook."
    function.__module__ = "__main__"
    return function


def shot(trial):
    "Somebody ends this process, once."
    if trial.starts == 1:
        os.kill(os.getpid(), signal.SIGKILL)


ODDITIES = {
    "nothing": (lambda trial: None, {}, "finished", "", 1),
    "shot": (shot, {}, "finished", "", 2),
    "leaves": (lambda trial: os._exit(3), {}, "failed", "its process was killed), 3 times", 3),
    "hangs": (lambda trial: time.sleep(3600), {"patience": 2.0}, "failed", "no sign of life", 1),
}


@pytest.mark.parametrize("case", ODDITIES)
def test_a_trial_that_misbehaves_is_noted_and_the_others_are_as_in_one_process(
    cluster, tmp_path, case
):
    what, crew, status, words, starts = ODDITIES[case]
    with Pretended(tmp_path, odd(by_value(what)), **crew) as search:
        pass
    assert search.reason == "done"
    found = search.trials
    assert found[2].status == status and words in found[2].reason and found[2].starts == starts
    task = replace(search.task, directory=tmp_path / "whole")
    with Journal(task.directory / "journal.log") as journal:
        run_here(begin(task, journal), odd(lambda trial: None))
        whole = replay(journal.events).trials
    for number, trial in whole.items():
        here = found[number]
        assert here.point == trial.point and here.worker.endswith(" on head")
        assert (here.score == trial.score and here.curve == trial.curve) or number == 2
    lost = {event["reason"] for event in search.names("trial_interrupted")}
    assert lost <= {"its process ended (its process was killed)"}


def test_data_that_cannot_be_opened_ends_the_search_and_is_said(cluster, tmp_path):
    search = Pretended(tmp_path, None)
    search.crew.shared = replace(search.crew.shared, data=b"this is nothing")
    with search:
        pass
    assert search.reason == "failed" and "UnpicklingError" in search.engine.fatal


def waiting(plan, trial, link):
    "Stands in for a training that goes on until it is told to end."
    for epoch in range(1, 10**6):
        for _ in range(5):
            link.check()
            time.sleep(0.01)
        link.report(epoch, {"val_accuracy": 0.5}, 0.1)


def test_a_running_search_does_at_once_what_it_is_told(cluster, tmp_path):
    with Pretended(tmp_path, by_value(waiting), trials=2) as search:
        epochs = lambda: len(search.names("epoch_ended"))  # noqa: E731
        until(lambda: epochs() > 2)
        send(search.task.directory, "pause")
        paused = until(lambda: search.engine.state.paused)
        time.sleep(0.3)
        before = epochs()
        time.sleep(0.5)
        assert epochs() == before, "nothing goes on in a pause"
        send(search.task.directory, "unpause")
        goes_on = until(lambda: epochs() > before)
        send(search.task.directory, "skip", trial=1)
        skipped = until(lambda: search.names("trial_pruned"))
        until(lambda: search.engine.state.with_status("running"))
        send(search.task.directory, "stop")
        stopped = until(lambda: search.reason)
    print(f"pause {paused:.2f}, on {goes_on:.2f}, skip {skipped:.2f}, stop {stopped:.2f} s")
    assert max(paused, goes_on, skipped, stopped) < 3, "it takes a tenth of that where all is quiet"
    first, second = search.trials.values()
    assert (first.status, first.reason) == ("pruned", "skipped by hand")
    assert (second.status, second.score, search.reason) == ("interrupted", 0.5, "stopped")


def keeper(places):
    "Twelve epochs with a state after each, which says where it has worked, and waits in between."

    def keep(plan, trial, link):
        folder, done = link.files.running, 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state").exists():
            done = int((folder / "state").read_text())
        for epoch in range(done + 1, 13):
            while epoch == 9 and not (Path(places) / "enough").exists():
                link.check()
                time.sleep(0.02)
            time.sleep(0.02)
            (folder / "part-state").write_text(str(epoch))
            (folder / "part-state").replace(folder / "state")
            with (Path(places) / f"{trial.trial} {trial.starts}").open("a") as file:
                file.write(f"{epoch} {os.getpid()} {folder}\n")
            link.report(epoch, {"val_accuracy": epoch / 100}, 0.1)
        link.files.best.parent.mkdir(parents=True, exist_ok=True)
        link.files.best.write_text("weights")
        return Outcome(link.score, link.best_epoch, 0.1)

    return keep


@pytest.mark.parametrize("apart", [False, True])
def test_a_machine_that_comes_is_used_and_one_that_is_lost_costs_what_was_not_kept(
    cluster, tmp_path, apart
):
    lines = lambda path: [line.split(maxsplit=2) for line in path.read_text().splitlines()]  # noqa: E731
    with Pretended(tmp_path, keeper(str(tmp_path)), trials=2, size=None, apart=apart) as search:
        until(lambda: search.names("epoch_ended"))
        assert len(search.crew.workers) == 1, "there is room for one"
        with machine(cluster) as node:
            until(lambda: len(search.engine.state.with_status("running")) == 2)
            there = [t for t in search.trials.values() if not t.worker.endswith(" on head")]
            (lost,) = [t.trial for t in there if t.status == "running"]
            until(lambda: len(search.engine.state.trials[lost].curve) == 8)
            lose(node)
            noticed = until(lambda: search.engine.state.trials[lost].status == "interrupted")
            (tmp_path / "enough").touch()
    assert search.reason == "done"
    assert [trial.status for trial in search.trials.values()] == ["finished"] * 2
    assert [trial.score for trial in search.trials.values()] == [0.12] * 2
    (event,) = search.names("trial_interrupted")
    assert event["trial"] == lost and "machine was lost" in event["reason"]
    before, after = lines(tmp_path / f"{lost} 1"), lines(tmp_path / f"{lost} 2")
    assert search.trials[lost].worker.endswith(" on head")
    kept, goes_on = int(before[-1][0]), int(after[0][0])
    print(f"apart {apart}: noticed after {noticed:.1f} s; goes on at {goes_on}")
    assert kept == 8 and goes_on == 9, "nothing is done twice, and nothing is left out"
    seats = {folder.startswith(str(tmp_path)) for *_, folder in before + after}
    assert seats == {not apart}, "where nothing is shared, nothing is written there by others"
    until(lambda: not psutil.pid_exists(int(before[-1][1])), 20)
    kept = {path.name for path in (search.task.directory / "weights").iterdir()}
    assert kept == {f"{number}-best.weights.h5" for number in (1, 2)}
    assert not list((search.task.directory / "running").glob("*/*"))


MACHINES = st.lists(st.fixed_dictionaries({"CPU": st.integers(1, 64)}), min_size=1, max_size=5)


@given(MACHINES, st.integers(1, 100))
def test_workers_get_as_many_threads_as_leave_room_for_all(nodes, workers):
    threads = threads_on(nodes, workers)
    assert room_on(nodes, threads) >= workers or threads == 1
    assert room_on(nodes, threads + 1) < workers or threads == max(n["CPU"] for n in nodes)
    assert threads_on(nodes) == min(2, max(n["CPU"] for n in nodes))


@given(MACHINES, st.integers(1, 8))
def test_a_cluster_with_gpus_has_a_worker_for_each_that_it_can_feed(nodes, gpus):
    nodes = [nodes[0] | {"GPU": gpus}, *nodes[1:]]
    threads = threads_on(nodes)
    assert room_on(nodes, threads) == min(gpus, nodes[0]["CPU"])


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    few = load(digits().sample(per_class=6).split(seed=0), image_size=8)
    with pytest.raises(ImportError, match=r'pip install "imgrec\[ray\]"'):
        Search(Space(width=Choice(2, 4)), "small_cnn", few, directory=tmp_path, executor="ray")


def seats():
    "The processes of all actors that work."
    each = psutil.process_iter(["cmdline"])
    return [p.pid for p in each if "ray::Seat" in " ".join(p.info["cmdline"] or [])]


@contextmanager
def crew_apart(job, shared):
    "A crew to which the directory of the search is a place on another disk."
    with crew_on_cluster(job, shared) as crew:
        crew.hire.__self__.apart = True
        yield crew


def test_real_trainings_outlive_their_machine_and_end_with_their_engine(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    few = load(digits().sample(per_class=6).split(valid=0.3, test=0.2), image_size=8)
    space = Space(width=Choice(2, 4), learning_rate=Float(1e-3, 1e-1, log=True), depth=1)
    how = {"budget": 2, "epochs": 5000, "progress": "none", "directory": tmp_path / "s"}
    search = Search(space, "small_cnn", few, executor="ray", workers=1, **how)
    epochs = lambda: [e for e in events(search) if e["event"] == "epoch_ended"]  # noqa: E731
    states = tmp_path / "s" / "running" / "1" / "checkpoints"
    with ExitStack() as leaving:
        node = leaving.enter_context(machine(cluster, cpus=2))  # where the worker goes
        process = launch(Job(search.task, few, search.runner, 1, crew=by_value(crew_apart)))
        leaving.callback(process.wait)
        leaving.callback(process.kill)
        until(lambda: len(list(epochs())) > 5 and kept_steps(states), 90)
        lose(node)
        until(lambda: any(e["event"] == "trial_interrupted" for e in events(search)))
        count = len(epochs())
        until(lambda: len(epochs()) > count, 90)
        trial = replay(events(search)).trials[1]
        assert trial.starts == 2 and trial.worker.endswith(" on head")
        reached, goes_on = (epochs()[number]["epoch"] for number in (count - 1, count))
        print(f"a real training had reached epoch {reached}, and goes on with {goes_on}")
        assert 1 < goes_on <= reached + 1, "it does not begin anew"
        assert seats(), "somebody trains"
        process.terminate()
        assert process.wait(60) == 0
        state = replay(events(search))
        assert (state.status, state.reason, state.trials[1].status) == (
            *["stopped"] * 2,
            "interrupted",
        )
        until(lambda: not seats(), 30)


def test_a_seat_ends_with_the_process_that_has_asked_for_it(cluster):
    command = [sys.executable, "-c", ASKS, cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asks:
        pid = int(asks.stdout.readline())
        assert psutil.pid_exists(pid)
        asks.kill()
    until(lambda: not psutil.pid_exists(pid), 30)


ASKS = """
import os, sys, time
from pathlib import Path
import ray
from imgrec.seats import Seat, Shelf
from imgrec.workers import Shared

class Known(Seat):
    def pid(self):
        return os.getpid()

ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
seat = ray.remote(max_concurrency=4)(Known).remote(b"", Shared(b"", b""), Shelf(Path("/"), ""))
print(ray.get(seat.pid.remote()), flush=True)
time.sleep(600)
"""


def events(search):
    "What the journal of a search holds by now."
    path = search.directory / "journal.log"
    return read_journal(path).events if path.exists() else []


def kept_steps(states):
    "The steps of which a state has come, beside the one before the first."
    return [path for path in states.glob("step-*") if int(path.stem.split("-")[1])]

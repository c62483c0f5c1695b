"""A search in a directory, seen and steered from a shell; nothing is trained but in one test."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from imgrec import view
from imgrec.cli import app
from imgrec.commands import waiting
from imgrec.core import SearchError
from imgrec.journal import Journal
from imgrec.space import Bool, Choice, Float, Int, Space
from imgrec.steering import Orders, parsed_point, steer
from imgrec.view import attached

SPACE = Space(
    width=Choice(4, 8, 16),
    rate=Float(0.0, 1.0, default=0.5),
    depth=Int(1, 3),
    norm=Bool(when="depth", equals=(2, 3)),
)
SETTINGS = {"strategy": "random", "objective": "val_accuracy", "direction": "max"}


def run(*words: object, status: int = 0) -> Result:
    "Run a command in this process."
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def trial(journal: Journal, number: int, rate: float = 0.5, worker: str = "worker 1") -> None:
    "Begin a trial, and let it have an epoch."
    point = {"width": 4, "rate": rate, "depth": 1}
    asked = {"trial": number, "point": point, "seed": 0, "epochs": 3}
    journal.append("trial_asked", **asked, initial_epoch=0, parent=None)
    journal.append("trial_started", trial=number, worker=worker)
    logs = {"val_accuracy": rate}
    journal.append("epoch_ended", trial=number, epoch=1, logs=logs, seconds=1.0)


def finish(journal: Journal, number: int, score: float, spent: float = 0.0) -> None:
    "Let a trial end."
    told = {"score": score, "best_epoch": 1, "seconds": 2.0, "error": 0.0125}
    journal.append("trial_finished", trial=number, **told, spent=spent)


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    "A search with four trials, which this process runs as long as it has the journal open."
    monkeypatch.setattr(view, "PATIENCE", 0.0)
    monkeypatch.chdir(tmp_path)
    with Journal(tmp_path / "search" / "journal.log") as journal:
        about = {"settings": SETTINGS, "budget": {"trials": 8, "minutes": 30}, "versions": {}}
        journal.append("search_created", space=SPACE.to_dict(), **about)
        journal.append("search_opened", process=1, torn=0)
        for number in (1, 2, 3, 4):
            trial(journal, number, number / 10, f"worker {1 + number % 2}")
        finish(journal, 1, 0.41, spent=90.0)
        for number in (2, 3):
            told = {"reason": "ValueError: too wide", "traceback": "", "seconds": 1.0}
            journal.append("trial_failed", trial=number, **told)
        yield journal


def sent(directory: str = "search") -> list[dict]:
    "The commands that wait, without their ids."
    commands = [command for _, command in waiting(directory)]
    return [{name: value for name, value in each.items() if name != "id"} for each in commands]


# ---- the report


def test_a_report_has_state_budget_trials_leaders_and_failures(scripted):
    text = run("search").stdout
    assert text.startswith("search: running; random, by val_accuracy (max)")
    assert re.search(r"1\.5 +30\.0 +minutes", text) and re.search(r"4 +8 +trials", text)
    assert re.search(r"4  1 of 3  0\.4000 +worker 1", text)
    assert "Best of 1: trial 1, val_accuracy 0.41" in text
    assert re.search(r"1  0\.4100 +0\.0125", text)
    assert re.search(r"2 +2  ValueError: too wide", text), "counted, with the first of them"
    assert "Trials: 1 finished, 2 failed, 1 running" in text


def test_the_best_ten_are_listed_best_first(scripted):
    for number in range(5, 17):
        trial(scripted, number)
        finish(scripted, number, number / 100)
    facts = json.loads(run("search", "--json").stdout)
    scores = [row["score"] for row in facts["leaders"]]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True) and scores[0] == 0.41


def test_a_loss_is_better_when_it_is_small(tmp_path):
    with Journal(tmp_path / "journal.log") as journal:
        about = {"budget": {}, "versions": {}}
        measures = SETTINGS | {"objective": "val_loss", "direction": "min"}
        journal.append("search_created", space=SPACE.to_dict(), settings=measures, **about)
        for number, score in ((1, 0.5), (2, 0.2)):
            trial(journal, number)
            finish(journal, number, score)
    facts = json.loads(run("search", tmp_path, "--json").stdout)
    assert [row["trial"] for row in facts["leaders"]] == [2, 1]
    assert "trial 2" in facts["best"]


def test_a_report_says_how_a_search_is(scripted):
    scripted.append("command", command="pause")
    assert "search: paused" in run("search").stdout
    scripted.append("command", command="unpause")
    scripted.close()
    cut = run("search").stdout
    assert "search: cut off" in cut and "engine.log" in cut and "worker 1" not in cut
    assert "1 cut off" in cut and "1 running" not in cut and "the same imgrec tune" in cut
    with Journal("search/journal.log") as again:
        again.append("search_stopped", reason="out of time")
    assert "search: ended (out of time)" in run("search").stdout


def test_what_comes_out_of_a_trial_cannot_write_to_the_terminal(scripted):
    told = {"reason": "ValueError: \x1b[31mred\nline", "traceback": "", "seconds": 1.0}
    scripted.append("trial_failed", trial=4, **told)
    text = run("search").stdout
    assert r"\x1b[31mred\nline" in text and "\x1b" not in text


LIGHT = """
import sys
from typer.testing import CliRunner
from imgrec.cli import app
result = CliRunner().invoke(app, ["search", "search", "--try", "width=8"])
assert result.exit_code == 0, result.output
result = CliRunner().invoke(app, ["search", "search"])
assert "val_accuracy" in result.output, result.output
heavy = {"tensorflow", "keras", "pandas", "numpy", "scipy", "matplotlib", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_looking_and_steering_load_nothing_heavy(scripted):
    scripted.close()
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- steering


def test_what_is_said_arrives_in_an_order_in_which_it_can_be_done(scripted):
    Path("space.json").write_text(Space(width=Int(1, 99)).to_json())
    words = ["--stop", "--pause", "--try", "width=99", "--try", "width=5", "--space", "space.json"]
    text = run("search", *words, "--trials", 20, "--minutes", 60, "--skip", 4).stdout
    names = ["skip", "budget", "edit", "enqueue", "enqueue", "pause", "stop"]
    assert [each["command"] for each in sent()] == names
    assert sent()[0]["trial"] == 4
    assert sent()[1]["budget"] == {"trials": 20, "minutes": 60}
    assert [each["point"] for each in sent()[3:5]] == [{"width": 99}, {"width": 5}]
    assert "Skip trial 4." in text and "Try width=99." in text and "not taken this yet" in text
    assert json.loads(run("search", "--json").stdout)["waiting"] == names


def test_go_on_and_a_limit_leave_the_other_limits(scripted):
    run("search", "--go-on", "--trials", 12)
    assert sent() == [
        {"command": "budget", "budget": {"trials": 12, "minutes": 30}},
        {"command": "unpause"},
    ]


def test_a_limit_that_is_reached_already_is_said(scripted):
    assert "used already" not in run("search", "--trials", 12, "--minutes", 45).stdout
    said = "4 trials and 1.5 minutes are used already, so it ends."
    assert said in run("search", "--trials", 3, "--minutes", 1).stdout


def test_what_a_view_cannot_do_names_what_can(scripted):
    view = attached("search")
    with pytest.raises(AttributeError, match=r"Search\(.*directory='search'\).to_code"):
        view.to_code()
    with pytest.raises(AttributeError, match="no attribute 'to_cede'"):
        view.to_cede()
    assert not hasattr(view, "winner")


def test_what_waits_already_is_not_taken_back(scripted):
    scripted.close()
    run("search", "--trials", 12)
    text = run("search", "--minutes", 45).stdout
    assert sent()[-1]["budget"] == {"trials": 12, "minutes": 45}
    assert "It will, when it goes on." in text
    Path("space.json").write_text(Space(size=Int(1, 3)).to_json())
    run("search", "--space", "space.json")
    run("search", "--try", "size=2")
    assert sent()[-1]["point"] == {"size": 2}, "a point of the space that is on its way"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["nowhere"], "There is no search in nowhere"),
        (["--pause", "--go-on"], "received both"),
        (["--follow", "--json"], "received both"),
        (["--skip", "1"], "a running trial (4), received 1"),
        (["--minutes", "0"], "minutes must be a number above 0"),
        (["--space", "none.json"], "none.json does not exist"),
        (["--try", "widht=4"], "Did you mean 'width'"),
        (["--try", "width=5"], "width=5 is not in Choice(4, 8, 16)"),
        (["--try", "depth=1 norm=true"], "norm is not used with depth=1"),
        (["--try", "width"], "received 'width'"),
        (["--try", "width=4", "--try", "depth=9", "--trials", "3"], "depth=9"),
    ],
)
def test_an_error_is_a_sentence_and_nothing_is_sent(scripted, words, match):
    words = words if words[0] == "nowhere" else ["search", *words]
    result = run("search", *words, status=1)
    assert result.stderr.startswith("Error: ") and match in result.stderr
    assert not sent()


@pytest.mark.parametrize("word", ["--pause", "--go-on", "--stop", "--skip=4"])
def test_what_nobody_runs_is_not_paused(scripted, word):
    scripted.close()
    result = run("search", word, "--trials", 9, status=1)
    assert "Nobody runs the search in search" in result.stderr and not sent()


def test_a_refusal_comes_back_as_an_error(scripted, monkeypatch):
    monkeypatch.setattr(view, "PATIENCE", 10.0)

    def refuse():
        while not (found := list(waiting("search"))):
            time.sleep(0.01)
        scripted.append("command", **found[0][1], refused="hyperband decides by itself")
        found[0][0].unlink()

    thread = threading.Thread(target=refuse)
    thread.start()
    with pytest.raises(SearchError, match="refused budget: hyperband decides"):
        steer(attached("search"), Orders(trials=9))
    thread.join()


POINTS = st.fixed_dictionaries(
    {"width": st.sampled_from([4, 8, 16]), "rate": st.floats(0.0, 1.0), "depth": st.integers(1, 3)}
)


@settings(max_examples=50)
@given(POINTS)
def test_a_point_as_text_is_that_point(point):
    text = " ".join(f"{name}={json.dumps(value)}" for name, value in point.items())
    found = parsed_point(text, SPACE)
    assert {name: found[name] for name in point} == point
    assert ("norm" in found) == (point["depth"] > 1)


def test_a_number_may_be_meant_as_a_text():
    space = Space(kind=Choice("1", "2 b"), size=Choice(1, 2))
    assert parsed_point("kind=1 size=1", space) == {"kind": "1", "size": 1}
    assert parsed_point("'kind=2 b'", space)["kind"] == "2 b"


# ---- following


def test_following_tells_of_trials_as_they_end(scripted):
    def go_on():
        time.sleep(0.4)
        finish(scripted, 4, 0.7)
        scripted.append("search_stopped", reason="done")
        scripted.close()

    thread = threading.Thread(target=go_on)
    thread.start()
    lines = run("search", "--follow").stdout.splitlines()
    thread.join()
    assert lines[-3].startswith("trial 4: val_accuracy 0.7 in 2 s")
    assert lines[-2] == "search: ended (done)" and lines[-1].startswith("Best of 2: trial 4")


def test_ctrl_c_leaves_the_search_as_it_was(scripted):
    command = [sys.executable, "-m", "imgrec", "search", "search", "--follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "too wide" in line:  # the end of the report
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "") and "as it was" in rest
    assert not sent() and attached("search").running


# ---- a real one


def test_a_search_that_was_left_alone_is_followed_and_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.json").write_text(Space(dense=Choice(2, 4), learning_rate=0.002).to_json())
    words = ["tune", "digits", "--trials", 2, "--epochs", 1, "--image-size", 12, "--workers", 1]
    words += ["--model", "two_conv", "--space", "space.json", "--augment", "none", "--seed", 1]
    text = run(*words, "--detach").stdout
    assert "imgrec search search --follow" in text and not Path("classifier").exists()
    followed = run("search", "--follow").stdout
    assert "ended (done)" in followed and "Best of 2" in followed
    again = run(*words).stdout
    assert "trial 1:" not in again and "Best of 2" in again and Path("classifier").is_dir()

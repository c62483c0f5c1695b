"""Workers that hang, leak, leave or shout, and a search that is told things while it runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("faulty.py")


def seen(case):
    "What a case of `faulty.py` has come to."
    command = [sys.executable, str(SCRIPT), case]
    how = {"capture_output": True, "text": True, "errors": "replace", "timeout": 300}
    done = subprocess.run(command, **how, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("case", "status", "words", "starts"),
    [
        ("hangs", "failed", "no sign of life for", 1),
        ("leaves", "failed", "exit code 3), 3 times", 3),
        ("comes back", "finished", "", 2),
        ("leaks", "failed", "GB, and all may have 1.5 GB together", 1),
        ("leaks alone", "failed", "GB, and a trial may have 1.2 GB", 1),
        ("exits", "failed", "SystemExit: of its own will", 1),
        ("shouts", "finished", "", 1),
        ("late", "pruned", "took 0.02 minutes", 1),
    ],
)
def test_a_trial_that_misbehaves_is_noted_and_the_others_are_not_touched(
    case, status, words, starts
):
    found = seen(case)
    assert found["reason"] == "done" and len(found["trials"]) == 4
    odd = found["trials"].pop(1)
    assert odd[0] == status and words in odd[1] and odd[2] == starts
    assert [(status, starts) for status, _, starts, _ in found["trials"]] == [("finished", 1)] * 3
    assert [score for *_, score in found["trials"]] == pytest.approx([0.14, 0.34, 0.44])


@pytest.mark.parametrize("case", ["few each", "grows"])
def test_a_worker_that_has_worked_long_or_has_grown_is_replaced(case):
    found = seen(case)
    assert [status for status, *_ in found["trials"]] == ["finished"] * 4
    assert found["workers"] == ["worker 1"] * 2 + ["worker 2"] * 2


def test_data_that_cannot_be_opened_ends_the_search_and_is_said():
    found = seen("no data")
    assert (found["reason"], found["fatal"]) == ("failed", "OSError: the data is gone")


def test_a_running_search_does_what_it_is_told():
    found = seen("steered")
    assert found["skipped"] == "skipped by hand" and found["reason"] == "done"
    assert found["trials"] == 5, "the budget was raised from four"
    assert found["refused"].count(True) == 1, "a point outside of the space"
    assert len(found["hands"]) == 1 and set(found["widths"]) <= {16}
    assert found["dropped"] == ["width=8 is not in Fixed(16)"], "a point that the space has no more"

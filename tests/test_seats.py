"""Seats that work in this process: messages that overtake each other, and orders."""

import time
from pathlib import Path

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.link import Outcome, TrialFiles
from imgrec.seats import Boxes, Seat, Shelf, _sorted_in
from imgrec.serving import Given
from imgrec.state import TrialState
from imgrec.workers import Shared


@given(st.permutations(range(8)))
def test_messages_are_heard_in_the_order_in_which_they_were_sent(order):
    boxes = Boxes(Path("home"))
    for number in order:
        _sorted_in(boxes, number, ((number,), {}))
    assert [boxes.recv()[0] for _ in order] == sorted(order)
    assert not boxes.poll()


def patient(plan, trial, link):
    "Goes on until it is told to end."
    while True:
        link.check()
        time.sleep(0.01)


def unpack(data):
    return None, {"patient": patient, "quick": quick}[data.decode()], "val_accuracy", "max"


def quick(plan, trial, link):
    link.files.running.mkdir(parents=True)
    (link.files.running / "state").write_text(str(trial.trial))
    return Outcome(0.5, 1, 0.1)


def seated(tmp_path, what, token="17"):
    "A seat in this process, which knows the directory by its token."
    shared = Shared(b"", cloudpickle.dumps(unpack), threads=None)
    return Seat(what.encode(), shared, Shelf(tmp_path, token))


def heard(seat, kind):
    "What it says until it says something of this kind; with all parcels that came."
    end, parcels = time.monotonic() + 20, {}
    while time.monotonic() < end:
        for message, parcel in seat.take(0.1)[0]:
            parcels |= parcel
            if message[0] == kind:
                return message, parcels
    raise AssertionError(f"it never said {kind}")


@pytest.mark.parametrize(("order", "event"), [("stop", "interrupted"), ("too slow", "pruned")])
def test_a_trial_does_what_it_is_told_within_a_moment(tmp_path, order, event):
    seat = seated(tmp_path, "patient")
    seat.put(0, Given(TrialState(1, {}, 0, 1), TrialFiles()), {})
    heard(seat, "beat")
    told = time.monotonic()
    seat.put(1, ("order", 1, order), {})
    (_, number, ended), _ = heard(seat, "ended")
    assert (number, ended.event) == (1, f"trial_{event}") and time.monotonic() - told < 2
    seat.put(2, None, {})
    seat.thread.join(5)
    assert seat.take(0.1)[2], "it has left"


@pytest.mark.parametrize("seen", [True, False])
def test_files_travel_only_where_the_directory_is_not_seen(tmp_path, seen):
    (tmp_path / ".seats").write_text("17" if seen else "another search")
    seat = seated(tmp_path, "quick")
    assert seat.place() == ("", not seen)
    for number in (1, 2):
        files = TrialFiles(running=tmp_path / "running" / str(number))
        seat.put(number - 1, Given(TrialState(number, {}, 0, 1), files), {})
        _, parcels = heard(seat, "ended")
        assert parcels == ({} if seen else {f"running/{number}/state": str(number).encode()})
        assert files.running.exists() == seen
    seat.put(2, None, {})
    seat.thread.join(5)
    assert seat.boxes.root is None or not seat.boxes.root.exists()

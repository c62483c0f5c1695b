"""A journal loses nothing that it has confirmed, whatever happens to its process, disk or file."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec.core import JournalError, OptionError
from imgrec.events import EVENTS, check_event
from imgrec.journal import Journal, decode_line, encode_line, read_journal, rescue
from imgrec.scores import direction_of
from imgrec.state import SearchState, apply, replay

value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def written(path, count=4):
    "A journal of some events, and its bytes."
    with Journal(path) as journal:
        for n in range(count):
            journal.append("command", command="say", text=f"line {n}\n\u2028 größe \ud800")
    return path.read_bytes()


# ---- lines


@given(st.dictionaries(st.text(), value, max_size=4))
def test_a_line_comes_back_equal(event):
    line = encode_line(event)
    assert line.count(b"\n") == 1 and line.isascii()
    assert decode_line(line[:-1]) == event


@pytest.mark.parametrize("data", [b"[1]", b"3", b"{", b"\xff", b"[" * 100_000, b""])
def test_a_line_with_a_right_checksum_and_no_event_is_damaged(data):
    import zlib

    assert decode_line(b"%08x %08x " % (len(data), zlib.crc32(data)) + data) is None


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), {1}, print, b"x"])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path, odd):
    with Journal(tmp_path / "journal") as journal:
        with pytest.raises(JournalError):
            journal.append("command", command=odd)
        journal.append("command", command="stop")
    assert [e["n"] for e in read_journal(tmp_path / "journal").events] == [1]


# ---- files


def test_a_file_cut_at_any_byte_gives_the_events_before(tmp_path):
    whole = written(tmp_path / "journal")
    events = read_journal(tmp_path / "journal").events
    cut = tmp_path / "cut"
    for size in range(len(whole) + 1):
        cut.write_bytes(whole[:size])
        found = read_journal(cut)
        assert found.events == events[: whole[:size].count(b"\n")]
        assert found.size + found.torn == size


def test_a_writer_cuts_a_torn_end_and_goes_on(tmp_path):
    path = tmp_path / "journal"
    whole = written(path)
    for size in range(len(whole) - 150, len(whole)):
        path.write_bytes(whole[:size])
        with Journal(path) as journal:
            before, torn = len(journal.record.events), journal.record.torn
            journal.append("search_stopped", reason="stop")
        after = read_journal(path)
        assert torn == size - whole[:size].rfind(b"\n") - 1
        assert [e["n"] for e in after.events] == list(range(1, before + 2))
        assert after.torn == 0


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_something_else(tmp_path_factory, share, bit):
    folder = tmp_path_factory.mktemp("flip")
    whole = written(folder / "journal")
    events = read_journal(folder / "journal").events
    at = int(share * len(whole))
    path = folder / "flipped"
    path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
    line = whole[:at].count(b"\n") + 1
    try:
        found = read_journal(path).events
    except JournalError as error:
        assert f"line {line} " in str(error) and str(path) in str(error)
    else:
        assert at == len(whole) - 1, "only the last line's end may go: then the line is torn"
        assert found == events[:-1]


def test_lines_that_vanished_or_changed_places_are_noticed(tmp_path):
    path = tmp_path / "journal"
    lines = written(path).splitlines(keepends=True)
    for mixed in (lines[1:], lines[:1] + lines[2:], [lines[0], lines[0]], lines[::-1]):
        path.write_bytes(b"".join(mixed))
        with pytest.raises(JournalError, match="damaged"):
            read_journal(path)
        with pytest.raises(JournalError, match="damaged"):
            Journal(path)
    path.write_bytes(b"".join(lines))
    Journal(path).close()  # a refusal has not kept the lock


def test_a_journal_that_cannot_be_read_says_so(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(JournalError, match="Cannot read"):
            read_journal(path)


# ---- processes

WRITER = """
import sys
from imgrec.journal import Journal
journal = Journal(sys.argv[1])
print("open", flush=True)
while True:
    event = journal.append("command", command="x" * 3000)
    print(event["n"], flush=True)
"""


def start(code, *arguments):
    "A Python process with its output as a pipe."
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("wait", [0.0, 0.01, 0.03, 0.1, 0.3])
def test_a_killed_writer_has_lost_nothing_that_it_confirmed(tmp_path, wait):
    path = tmp_path / "journal"
    process = start(WRITER, path)
    assert process.stdout.readline() == "open\n"
    time.sleep(wait)
    process.kill()
    confirmed = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    with Journal(path) as journal:  # the lock has gone with the process
        events = journal.record.events
        assert [e["n"] for e in events] == list(range(1, len(events) + 1))
        assert len(confirmed) <= len(events) <= len(confirmed) + 1
        journal.append("search_stopped", reason="stop")
    assert len(read_journal(path).events) == len(events) + 1


def test_a_second_writer_is_told_who_the_first_is_and_may_read(tmp_path):
    path = tmp_path / "journal"
    process = start(WRITER, path)
    try:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match=f"process {process.pid} "):
            Journal(path)
        first = len(read_journal(path).events)
        while len(read_journal(path).events) <= first:
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    code = """
import os, sys, time
from imgrec.journal import Journal
journal = Journal(sys.argv[1])
child_is_there, tell = os.pipe()
if os.fork() == 0:
    os.write(tell, b"x")
    os.close(1)
    time.sleep(60)
    os._exit(0)
os.read(child_is_there, 1)
print("forked", flush=True)
journal.append("command", command="still the parent's")
os.kill(os.getpid(), 9)
"""
    process = start(code, tmp_path / "journal")
    assert process.stdout.readline() == "forked\n"
    process.wait()
    with Journal(tmp_path / "journal") as journal:
        assert len(journal.record.events) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a limit that only POSIX has")
def test_a_full_disk_loses_nothing_and_the_journal_goes_on_when_there_is_room(tmp_path):
    code = """
import resource, signal, sys
from imgrec.core import JournalError
from imgrec.journal import Journal, read_journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
confirmed = 0
try:
    while True:
        confirmed = journal.append("command", command="x" * 300)["n"]
except JournalError as error:
    assert "to " + sys.argv[1] in str(error), error
found = read_journal(sys.argv[1])
assert len(found.events) == confirmed and found.torn > 0, found
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert journal.append("command", command="stop")["n"] == confirmed + 1
found = read_journal(sys.argv[1])
assert len(found.events) == confirmed + 1 and found.torn == 0
print("well", confirmed)
"""
    process = start(code, tmp_path / "journal")
    said = process.communicate()[0]
    assert process.returncode == 0 and said.startswith("well"), said


# ---- state

SETTINGS = {"strategy": "random", "objective": "val_accuracy", "direction": "max"}
CREATED = {"event": "search_created", "space": {}, "settings": SETTINGS, "budget": {}}
OPENED = {"event": "search_opened", "process": 1, "torn": 0}
LOGS = {"val_accuracy": 0.5}
scores = st.floats(0, 1)


def ends(trial, score):
    "The ways in which a start of a trial can end."
    seconds = {"trial": trial, "seconds": 1.0, "best_epoch": 1, "score": score}
    return [
        {"event": "trial_finished"} | seconds,
        {"event": "trial_failed", "trial": trial, "reason": "a", "traceback": "", "seconds": 1.0},
        {"event": "trial_pruned", "reason": "slow"} | seconds,
        {"event": "trial_interrupted", "trial": trial, "reason": "stop"},
        OPENED,  # killed
    ]


@st.composite
def histories(draw):
    "The events of a search as it may have happened."
    events = [CREATED | {"versions": {}}, OPENED]
    for trial in range(1, draw(st.integers(1, 5)) + 1):
        facts = {"seed": 1, "epochs": 3, "initial_epoch": 0, "parent": None}
        events.append({"event": "trial_asked", "trial": trial, "point": {"a": trial}} | facts)
        while True:
            events.append({"event": "trial_started", "trial": trial, "worker": "inline"})
            for epoch in range(1, draw(st.integers(0, 3)) + 1):
                seconds = {"seconds": 1.0, "logs": LOGS}
                events.append({"event": "epoch_ended", "trial": trial, "epoch": epoch} | seconds)
            end = draw(st.sampled_from(ends(trial, draw(scores))))
            events.append(end)
            if end is not OPENED and end["event"] != "trial_interrupted":
                break
    events.append({"event": "search_stopped", "reason": "done"})
    return [event | {"n": n, "time": 0.0} for n, event in enumerate(events, start=1)]


@given(histories())
def test_following_and_replaying_lead_to_the_same_state(events):
    followed = SearchState()
    for count, event in enumerate(events, start=1):
        copy = followed.copy()
        apply(followed, event)
        assert followed == replay(events[:count])
        assert copy == replay(events[: count - 1]), "a copy is not changed by later events"
    assert followed == replay(json.loads(json.dumps(events)))


@given(histories())
def test_each_trial_has_one_end_and_the_best_is_the_best(events):
    state = replay(events)
    assert list(state.trials) == list(range(1, len(state.trials) + 1))
    ended = {e["trial"] for e in events if e["event"] in ("trial_finished", "trial_failed")}
    ended |= {e["trial"] for e in events if e["event"] == "trial_pruned"}
    assert {t.trial for t in state.with_status("finished", "failed", "pruned")} == ended
    scores = [t.score for t in state.scored]
    assert (state.best.score if state.best else None) == max(scores, default=None)
    other = replace(state, settings=SETTINGS | {"direction": "min"})
    assert (other.best.score if other.best else None) == min(scores, default=None)


def test_a_trial_that_fails_when_it_comes_back_has_no_score_of_before():
    point = {"trial": 1, "point": {"width": 2}, "seed": 0, "epochs": 2}
    events = [
        {"event": "trial_asked", **point, "initial_epoch": 0, "parent": None},
        {"event": "trial_started", "trial": 1, "worker": "here"},
        {"event": "epoch_ended", "trial": 1, "epoch": 1, "logs": {"a": 0.4}, "seconds": 1.0},
        {"event": "trial_interrupted", "trial": 1, "reason": "killed", "score": 0.4},
        {"event": "trial_started", "trial": 1, "worker": "here"},
        {"event": "trial_failed", "trial": 1, "reason": "no", "traceback": "", "seconds": 1.0},
    ]
    assert replay(events[:4]).trials[1].score == 0.4
    assert replay(events).trials[1].score is None and replay(events).best is None


@given(histories(), st.data())
def test_an_event_that_cannot_follow_is_refused_and_changes_nothing(events, data):
    state = replay(events[: data.draw(st.integers(0, len(events)))])
    before = state.copy()
    event = data.draw(st.sampled_from(events))
    try:
        apply(state, event)
    except JournalError as error:
        assert f"vent {event['n']}" in str(error)
        assert state == before


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_without_its_fields_is_refused(name):
    fields = EVENTS[name]
    check_event({"n": 1, "event": name} | dict.fromkeys(fields, 0))
    for missing in fields:
        given = {field: 0 for field in fields if field != missing}
        with pytest.raises(JournalError, match=missing):
            check_event({"n": 1, "event": name} | given)


@pytest.mark.parametrize("event", [{}, {"event": None}, {"event": "trial_finnished"}])
def test_an_unknown_event_is_refused(event):
    with pytest.raises(JournalError, match="Unknown event"):
        replay([event])


def test_directions_are_known_or_asked_for():
    assert direction_of("val_loss") == direction_of("loss") == "min"
    names = ("val_accuracy", "val_binary_accuracy", "auc", "val_precision", "recall", "f1_score")
    assert {direction_of(name) for name in names} == {"max"}
    assert direction_of("val_loss", "max") == "max"
    with pytest.raises(OptionError, match="val_wobble"):
        direction_of("val_wobble")


def test_what_is_whole_before_any_damage_is_rescued(tmp_path):
    path = tmp_path / "journal.log"
    with Journal(path) as journal:
        for number in range(6):
            journal.append("ask_idle", about="x" * number)
    whole = path.read_bytes()
    starts = [0, *(at + 1 for at, byte in enumerate(whole) if byte == 10)]
    rng = random.Random(0)
    for turn in range(60):
        at = rng.randrange(len(whole) - 1)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        line = sum(start <= at for start in starts) - 1
        with pytest.raises(JournalError, match=rf"line {line + 1} is damaged.*rescue\("):
            read_journal(path)
        said = rescue(path)
        assert [event["n"] for event in read_journal(path).events] == list(range(1, line + 1))
        kept = tmp_path / f"journal.log-old-{turn + 1}"
        assert kept.read_bytes() == bytes(flipped) and str(kept) in said
        with Journal(path) as journal:
            assert journal.append("ask_idle")["n"] == line + 1


def test_a_whole_or_torn_journal_is_left_as_it_is(tmp_path):
    path = tmp_path / "journal.log"
    with Journal(path) as journal:
        journal.append("ask_idle")
        with pytest.raises(JournalError, match="is being written by"):
            rescue(path)
    before = path.read_bytes() + b"0000"
    path.write_bytes(before)
    assert "Nothing is damaged" in rescue(path) and path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["journal.log", "journal.log.lock"]

"""Corrections: they come back on any fresh table, survive kills at any byte, and can be undone."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from imgrec.cleaning import Corrections, all_problems, save_corrections
from imgrec.core import CatalogError, JournalError
from imgrec.lines import LineFile, decode_line, encode_line
from imgrec.sources import problem_rows, text_column

PETS = ("cat", "dog", "eel")
FILES = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/caf\udce9 \n.png"]


def table(labels=("cat", "cat", "dog", "dog"), **columns):
    "A table as a source gives it."
    frame = pd.DataFrame({"file": text_column(FILES)})
    return frame.assign(label=pd.Series(labels, dtype=object), **columns)


def lists(frame):
    "Columns as lists."
    return frame.to_dict("list")


# What a correction does


def test_labels_change_and_nothing_else():
    before = table(split=["train", "train", "test", "test"])
    changed = Corrections().relabel(before, [FILES[3], "cat/1.png"], "eel", PETS, "slippery")
    assert changed["label"].tolist() == ["eel", "cat", "dog", "eel"]
    assert_frame_equal(changed.drop(columns="label"), before.drop(columns="label"))
    assert before["label"].tolist() == ["cat", "cat", "dog", "dog"], "the old table stays"


def test_dropped_pictures_are_set_aside_and_come_back():
    corrections = Corrections()
    dropped = corrections.drop(table(), ["cat/1.png", "dog/1.png"], "blurred")
    assert dropped["ok"].tolist() == [False, True, False, True]
    assert dropped["reason"].tolist() == ["dropped: blurred", "", "dropped: blurred", ""]
    back = corrections.restore(dropped, "cat/1.png")
    assert back["ok"].tolist() == [True, True, False, True]
    assert corrections.undo(corrections.undo(back))["ok"].all()


def test_what_a_scan_says_stays_and_a_scan_may_come_before_or_after():
    ok, reason = [True, False, True, True], ["", "truncated", "", ""]
    corrections = Corrections()
    both = corrections.drop(table(ok=ok, reason=reason), ["cat/1.png", "cat/2.png"])
    assert both["reason"].tolist() == ["dropped", "truncated", "", ""]
    assert_frame_equal(corrections.apply(table(ok=ok, reason=reason)), both)
    good = corrections.apply(table(ok=True, reason=""))  # the file was mended
    assert good["reason"].tolist() == ["dropped", "dropped", "", ""]
    back = corrections.restore(both, ["cat/1.png", "cat/2.png"])
    assert lists(back[["ok", "reason"]]) == {"ok": ok, "reason": reason}


def test_several_labels_a_picture():
    corrections, before = Corrections(), table([("cat",), (), ("dog", "eel"), ("dog",)])
    changed = corrections.relabel(before, "cat/2.png", ["dog", "cat"], PETS)
    changed = corrections.relabel(changed, "cat/1.png", "eel", PETS)
    assert changed["label"].tolist() == [("eel",), ("cat", "dog"), ("dog", "eel"), ("dog",)]
    none = corrections.relabel(changed, "dog/1.png", [], PETS)
    assert none["label"].tolist()[2] == ()
    for _ in range(3):
        none = corrections.undo(none)
    assert none["label"].tolist() == before["label"].tolist()


def test_slips_are_told_and_leave_no_entry():
    corrections = Corrections()
    for files, label, words in [
        ("2.png", "cat", r"no file '2.png'. Did you mean 'cat/2.png'\?"),
        (["cat/1.png", "x"], "cat", "no file 'x'. Expected"),
        ("cat/1.png", "dgo", "Did you mean 'dog'"),
        ("cat/1.png", ["cat", "dog"], "Expected one class"),
        ("cat/1.png", [], "Expected one class"),
        ("cat/1.png", "", "Unknown class"),
    ]:
        with pytest.raises(CatalogError, match=words):
            corrections.relabel(table(), files, label, PETS)
    with pytest.raises(CatalogError, match="no file 'x'"):
        corrections.drop(table(), "x")
    with pytest.raises(CatalogError, match="nothing to undo"):
        corrections.undo(table())
    assert corrections.entries == []


def test_the_same_cell_run_twice_notes_once():
    corrections, frame = Corrections(), table()
    for _ in range(3):
        frame = corrections.relabel(frame, FILES, "dog", PETS)
        frame = corrections.drop(frame, "cat/1.png")
        frame = corrections.restore(frame, "cat/2.png")
    assert [entry["what"] for entry in corrections.entries] == ["relabel", "drop"]
    assert corrections.entries[0]["files"] == ["cat/1.png", "cat/2.png"]


def test_history_has_a_row_a_file_and_times_in_utc(tmp_path):
    corrections = Corrections(tmp_path / "c")
    frame = corrections.relabel(table(), FILES[:2], "dog", PETS, "they bark")
    frame = corrections.undo(corrections.drop(frame, FILES[3]))
    for history in (corrections.history(), Corrections(tmp_path / "c").history()):
        assert history.drop(columns="when").to_numpy().tolist() == [
            ["relabel", "cat/1.png", "cat", "dog", "they bark", False],
            ["relabel", "cat/2.png", "cat", "dog", "they bark", False],
            ["drop", FILES[3], "", "", "", True],
        ]
        when = pd.to_datetime(history["when"])
        assert str(when.dt.tz) == "UTC" and abs(when - pd.Timestamp.now("UTC")).max().seconds < 60
    assert list(Corrections().history()) == list(history)


def test_corrections_of_files_that_are_gone_are_told_and_count_again():
    corrections = Corrections()
    corrections.drop(corrections.relabel(table(), "cat/1.png", "dog", PETS), FILES[3])
    rest = table().iloc[1:3].reset_index(drop=True)
    assert_frame_equal(corrections.apply(rest), rest)
    assert lists(corrections.unmatched(rest)) == {
        "file": ["cat/1.png", FILES[3]],
        "reason": ["not there, yet to relabel", "not there, yet to drop"],
        "done": ["kept in the journal"] * 2,
    }
    assert corrections.apply(table())["label"].tolist()[0] == "dog"


def test_all_problems_are_one_list():
    corrections = Corrections()
    frame = table(ok=[True, False, True, True], reason=["", "empty", "", ""])
    dropped = corrections.drop(frame, "dog/1.png", "a thumb")
    rows = all_problems(dropped, problem_rows([("x", "hidden")]), corrections)
    assert rows.to_numpy().tolist() == [
        ["x", "hidden", "left out"],
        ["cat/2.png", "empty", "set aside"],
        ["dog/1.png", "dropped: a thumb", "dropped"],
    ]
    assert list(all_problems(table())) == ["file", "reason", "done"]
    assert len(all_problems(table())) == 0


actions = st.lists(
    st.one_of(
        st.tuples(st.just("relabel"), st.sets(st.sampled_from(FILES)), st.sampled_from(PETS)),
        st.tuples(st.sampled_from(["drop", "restore"]), st.sets(st.sampled_from(FILES))),
        st.tuples(st.just("undo")),
    ),
    max_size=12,
)


def act(corrections, frame, action):
    "Do what an action says."
    what, *rest = action
    if what == "relabel":
        return corrections.relabel(frame, sorted(rest[0]), rest[1], PETS)
    if what == "undo":
        return corrections.undo(frame) if corrections.history()["undone"].eq(False).any() else frame
    return getattr(corrections, what)(frame, sorted(rest[0]))


@settings(max_examples=60)
@given(actions)
def test_step_by_step_and_all_at_once_are_the_same_and_undo_leads_back(steps):
    corrections, frame = Corrections(), table()
    for step in steps:
        frame = act(corrections, frame, step)
        fresh = corrections.apply(table())
        assert frame["label"].tolist() == fresh["label"].tolist()
        usable = fresh.get("ok", pd.Series(True, index=fresh.index))
        assert frame.get("ok", pd.Series(True, index=frame.index)).tolist() == usable.tolist()
        assert_frame_equal(corrections.apply(frame), frame)
    while not corrections.history()["undone"].all():
        frame = corrections.undo(frame)
    assert frame["label"].tolist() == table()["label"].tolist()
    assert frame.get("ok", pd.Series(True)).all()


# The file


def test_a_journal_cut_at_any_byte_keeps_every_whole_correction(tmp_path):
    corrections = Corrections(tmp_path / "c")
    frame = corrections.relabel(table(), FILES[3], "cat", PETS, "note \N{GRINNING FACE}")
    frame = corrections.drop(frame, FILES[0])
    corrections.undo(frame)
    whole = (tmp_path / "c").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 3 and whole.isascii()
    assert json.loads(whole[: ends[0]])["files"] == [FILES[3]], "each line is JSON for anybody"
    for size in range(len(whole) + 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        found = LineFile(tmp_path / "cut")
        assert len(found.entries) == sum(end <= size for end in ends)
        assert found.torn == (
            0 if size in ends else size - max([0, *(e for e in ends if e < size)])
        )
    (tmp_path / "cut").write_bytes(whole[:-5])
    with pytest.warns(UserWarning, match="last entry was cut off"):
        again = Corrections(tmp_path / "cut")
    again.relabel(table(), FILES[1], "eel", PETS)
    assert [e["what"] for e in Corrections(tmp_path / "cut").entries] == [
        "relabel",
        "drop",
        "relabel",
    ]


@pytest.mark.parametrize("line", [1, 2])
def test_a_changed_byte_in_the_middle_is_an_error_that_names_the_line(tmp_path, line):
    corrections = Corrections(tmp_path / "c")
    corrections.drop(corrections.drop(table(), FILES[0]), FILES[1])
    lines = (tmp_path / "c").read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b"drop", b"drip")
    (tmp_path / "c").write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=f"line {line} is damaged. The {line - 1} lines before"):
        Corrections(tmp_path / "c")
    (tmp_path / "c").write_bytes(lines[2 - line] * 2)
    with pytest.raises(JournalError, match="is damaged"):  # the same number twice
        Corrections(tmp_path / "c")


def test_two_notebooks_may_correct_at_the_same_time(tmp_path):
    one, other = Corrections(tmp_path / "c"), Corrections(tmp_path / "c")
    first = one.relabel(table(), FILES[0], "dog", PETS)
    second = other.drop(table(), FILES[1])
    assert second["label"].tolist()[0] == "dog", "what the other wrote counts here, too"
    third = one.relabel(first, FILES[2], "eel", PETS)
    assert_frame_equal(third, Corrections(tmp_path / "c").apply(table()))
    assert [entry["n"] for entry in one.entries] == [1, 2, 3]


def test_a_full_disk_loses_nothing_and_notes_nothing(tmp_path, monkeypatch):
    corrections = Corrections(tmp_path / "c")
    frame = corrections.drop(table(), FILES[0])
    before = (tmp_path / "c").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(JournalError, match="No space left"):
        patch.setattr(os, "fsync", full)
        corrections.drop(frame, FILES[1])
    assert (tmp_path / "c").read_bytes() == before and len(corrections.entries) == 1
    assert corrections.drop(frame, FILES[1])["ok"].sum() == 2
    assert len(Corrections(tmp_path / "c").entries) == 2


def test_a_journal_that_was_replaced_is_not_written_to(tmp_path):
    corrections = Corrections(tmp_path / "c")
    frame = corrections.drop(table(), FILES[0])
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(JournalError, match="somebody replaced it"):
        corrections.drop(frame, FILES[1])
    assert (tmp_path / "c").read_bytes() == b""


def test_a_journal_in_memory_can_be_kept(tmp_path):
    corrections = Corrections()
    frame = corrections.relabel(table(), FILES[3], "eel", PETS, "wet")
    kept = save_corrections(corrections, tmp_path / "deep" / "c")
    assert_frame_equal(kept.apply(table()), frame)
    assert_frame_equal(kept.history(), corrections.history())
    assert save_corrections(corrections, tmp_path / "deep" / "c").entries == kept.entries, "again"
    corrections.drop(frame, FILES[1])
    assert len(save_corrections(corrections, tmp_path / "deep" / "c").entries) == 2, "and more"
    with pytest.raises(JournalError, match="2 corrections that this catalog does not have"):
        save_corrections(Corrections(), tmp_path / "deep" / "c")
    assert len(Corrections(tmp_path / "deep" / "c").entries) == 2


WRITER = """
import sys
import pandas as pd
from imgrec.cleaning import Corrections
table = pd.DataFrame({"file": [f"{n}.png" for n in range(9999)], "label": "cat"})
corrections = Corrections(sys.argv[1])
print("ready", flush=True)
for n in range(9999):
    corrections.drop(table, f"{n}.png", "x" * (n % 977))
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_loses_nothing_that_was_confirmed(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "c")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    confirmed = process.stdout.read().split()
    process.wait()
    entries = LineFile(tmp_path / "c").entries
    assert len(confirmed) <= len(entries) <= len(confirmed) + 1 and len(entries) > 3
    assert [entry["files"] for entry in entries] == [[f"{n}.png"] for n in range(len(entries))]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, min_size=1, max_size=4), st.data())
def test_any_entry_comes_back_and_no_changed_one_does(entry, data):
    line = encode_line(entry) if all(abs(v) != float("inf") for v in floats(entry)) else b""
    if line:
        assert decode_line(line[:-1]) == entry and line.count(b"\n") == 1
        place = data.draw(st.integers(0, len(line) - 2))
        other = bytes([line[place] ^ data.draw(st.integers(1, 255))])
        assert decode_line(line[:place] + other + line[place + 1 : -1]) is None
    else:
        with pytest.raises(JournalError, match="what JSON can hold"):
            encode_line(entry)


def floats(value):
    "Every float in a nested value."
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for inner in value for number in floats(inner)]
    return [value] if isinstance(value, float) else []

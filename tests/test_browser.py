"""The browser of pictures without a web browser: any order of keys, hostile names, kills."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from oddities import NOT_PICTURES, photo
from pandas.testing import assert_frame_equal
from PIL import Image

from imgrec import thumbnails
from imgrec.browser import CatalogBrowser
from imgrec.browser_moves import COMMANDS, keys_of
from imgrec.browser_parts import BUTTONS, LARGE, SIDE
from imgrec.browser_state import BrowserState
from imgrec.browser_view import BESIDE, COLUMNS, PAGE, facts_of
from imgrec.browsing import (
    KINDS,
    ORDERS,
    Filter,
    about,
    chosen,
    known_of,
    readable,
    suspicions_of,
    twins,
)
from imgrec.catalog import Catalog
from imgrec.cleaning import Corrections
from imgrec.core import CatalogError, DataError, JournalError, OptionError
from imgrec.marks import done_and_undone, marks_of, source_labels, with_journal
from imgrec.sources import text_column
from imgrec.thumbnails import Thumbnails, placeholder, thumb_of

EVIL = '<img src=x onerror="alert(1)">'
NAMES = ("cat", "dog", EVIL)


def table_of(n=30, **columns):
    "A table with classes, duplicates, problems and parts, as a scan and a split leave it."
    rows = np.arange(n)
    files = [
        f"{NAMES[row % 3][:3]}/{row:03} {'caf' + chr(0xDCE9) if row == 1 else ''}.jpg"
        for row in rows
    ]
    table = pd.DataFrame({"file": text_column(files), "label": [NAMES[row % 3] for row in rows]})
    table["ok"] = rows % 11 != 10
    table["reason"] = np.where(table["ok"], "", f"damaged: {EVIL}")
    table["bytes"], table["width"], table["height"] = 100 + rows, 40, 30
    table["sha256"] = [f"{row % 20:064x}" for row in rows]
    table["duplicate_group"] = np.where(rows % 20 < 10, rows % 20, -1)
    table["split"] = [("train", "valid", "test")[row % 7 % 3] for row in rows]
    return table.assign(**columns)


def catalog_of(folder=".", n=30, **columns):
    "A catalog whose files are not there."
    return Catalog(table_of(n, **columns), NAMES, Path(folder))


@pytest.fixture
def catalog(tmp_path):
    "A catalog whose files are not there, with a folder of its own."
    return catalog_of(tmp_path / "pets")


@pytest.fixture
def pets(tmp_path):
    "A real folder: six pictures, two of them the same under two classes, and two that are none."
    random = np.random.default_rng(0)
    for row in range(6):
        folder = tmp_path / "pets" / NAMES[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 48)).save(folder / f"{row}.png")
    cat, dog = tmp_path / "pets" / "cat", tmp_path / "pets" / "dog"
    (dog / "9.png").write_bytes((cat / "0.png").read_bytes())
    (dog / "letter.jpg").write_text("Dear")
    (cat / EVIL.replace("/", "")).write_bytes(b"")
    return tmp_path / "pets"


# ---- thumbnails


@pytest.mark.parametrize(
    "shape", [(1, 1), (8, 8, 1), (47, 3, 3), (300, 2, 3), (96, 96, 3), (500, 400, 1)]
)
def test_a_thumbnail_fits_and_keeps_proportions(shape):
    thumb = thumb_of(np.full(shape, 200, np.uint8), 96)
    width, height = Image.open(io.BytesIO(thumb.data)).size
    assert max(width, height) <= 96 and not thumb.reason
    if min(shape[:2]) * 96 >= max(shape[:2]):
        assert abs(width / height / (shape[1] / shape[0]) - 1) < 0.05
    assert thumb.url.startswith(f"data:image/{thumb.kind};base64,")


def test_pixels_of_small_pictures_are_as_they_were():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(thumb_of(pixels, 96).data)))
    assert (shown[6::12, 6::12] == pixels).all() and shown.shape == (96, 96, 3)


def test_what_is_no_picture_is_a_field_with_its_reason(tmp_path):
    for name, (data, _) in NOT_PICTURES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.jpg").write_bytes(photo())
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
    files = [*sorted(path.name for path in tmp_path.iterdir()), "gone.jpg", "no\0name.jpg"]
    table = pd.DataFrame({"file": files, "label": "a"})
    thumbs = Thumbnails(Catalog(table, ("a", "b"), tmp_path)).many(range(len(files)), 64)
    for file, thumb in zip(files, thumbs, strict=True):
        wanted = NOT_PICTURES.get(file, (b"", ""))[1]
        assert thumb.reason.startswith(wanted) and bool(thumb.reason) == (file != "good.jpg"), file
        assert thumb.reason == "" or thumb.data == placeholder("", 64).data
    assert dict(zip(files, thumbs, strict=True))["gone.jpg"].reason == "missing"


def test_what_the_scan_has_refused_is_not_opened_and_what_was_dropped_is(pets, monkeypatch):
    catalog = Catalog.from_folder(pets).scan().drop("cat/0.png", note="a thumb")
    opened, read = [], thumbnails.read_image
    monkeypatch.setattr(
        thumbnails, "read_image", lambda path, size: opened.append(path) or read(path, size)
    )
    thumbs = Thumbnails(catalog)
    found = thumbs.many(range(len(catalog)), SIDE)
    assert sorted(thumb.reason for thumb in found if thumb.reason) == ["empty", "not a picture"]
    assert len(opened) == len(catalog) - 2
    thumbs.many(range(len(catalog)), SIDE)
    assert len(opened) == len(catalog) - 2, "they were kept"
    thumbs.many([0], LARGE)
    assert len(opened) == len(catalog) - 1


def test_packed_pictures_serve_for_small_ones_and_files_for_large_ones():
    from imgrec.packed import pack

    arrays = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    catalog = Catalog.from_arrays(arrays, list("aabbcc"))
    packed = pack(catalog, (16, 16, 3))
    thumbs = Thumbnails(catalog, packed)
    assert Image.open(io.BytesIO(thumbs.one(2, 32).data)).size == (32, 32)
    assert thumbs.one(2, 32) == thumb_of(packed.pixels[2], 32)
    assert thumbs.one(2, 64) == thumb_of(arrays[2], 64)
    bad = SimpleNamespace(pixels=packed.pixels, reasons=["", "truncated", "", "", "", ""])
    assert [t.reason for t in Thumbnails(catalog, bad).many(range(3), 32)] == ["", "truncated", ""]
    assert Thumbnails(catalog, SimpleNamespace(reasons=[])).table is None, "it is read anew"
    with pytest.raises(DataError, match="belong to another catalog"):
        Thumbnails(catalog.sample(per_class=1), packed)


def test_only_the_latest_are_kept_and_threads_do_not_mind(monkeypatch):
    monkeypatch.setattr(thumbnails, "KEPT", 20)
    arrays = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    thumbs = Thumbnails(Catalog.from_arrays(arrays, [0, 1] * 50))
    seen = []

    def look(start):
        for row in range(start, 100, 3):
            seen.append((row, thumbs.one(row, 8)))

    hands = [threading.Thread(target=look, args=(start,)) for start in range(3)]
    for hand in hands:
        hand.start()
    thumbs.prepare(range(100), 8)
    for hand in hands:
        hand.join()
    for row, thumb in seen:
        assert np.asarray(Image.open(io.BytesIO(thumb.data))).max() == row
    assert len(seen) == 100 and len(thumbs.kept) <= 20


# ---- which pictures


FILTERS = st.builds(
    Filter,
    st.sampled_from([kind for kind in KINDS if kind != "suspects"]),
    st.sampled_from([None, "", *NAMES]),
    st.sampled_from([None, "", "train", "test"]),
    st.sampled_from(["", "CAT", "1 dog", ".jpg 2", "caf"]),
    st.sampled_from(list(ORDERS)),
)


@settings(max_examples=60)
@given(wanted=FILTERS)
def test_a_filter_lets_through_what_it_says(wanted):
    known = known_of(catalog_of().drop(["cat/000 .jpg", "dog/004 .jpg"]))
    rows = chosen(known, wanted)
    assert len(set(rows.tolist())) == len(rows)
    table = known.table
    for row in range(len(table)):
        fits = bool(known.kinds[wanted.show][row])
        fits &= wanted.label in (None, table["label"].iloc[row])
        fits &= wanted.part in (None, table["split"].iloc[row])
        name = table["file"].iloc[row].casefold()
        fits &= all(word.casefold() in name for word in wanted.words.split())
        assert (row in rows) == fits
    if wanted.order == "file":
        names = table["file"].iloc[rows].str.casefold().tolist()
        assert names == sorted(names)
    if wanted.order == "class":
        places = [NAMES.index(label) for label in table["label"].iloc[rows]]
        assert places == sorted(places)
    if wanted.order == "group":
        groups = known.groups[rows]
        assert [g for g in groups if g >= 0] == sorted(g for g in groups if g >= 0)


def test_kinds_count_what_is_left_when_some_are_dropped():
    table = table_of(12, ok=True, reason="", duplicate_group=[0, 0, 0, 1, 1, *[-1] * 7])
    catalog = Catalog(table, NAMES, Path("pets"))
    known = known_of(catalog)
    assert known.kinds["conflicts"].sum() == 5 and twins(known, 1).tolist() == [0, 1, 2]
    dropped = known_of(catalog.drop(table["file"].iloc[[1, 2, 3]].tolist()))
    assert dropped.kinds["duplicates"].sum() == 0 and dropped.kinds["dropped"].sum() == 3
    assert "there" not in " ".join(about(dropped, 0))


def test_what_is_there_a_thousand_times_is_told_in_few_words(catalog):
    names = tuple(f"class {row:02}" for row in range(40))
    labels = [names[row % 40] for row in range(2000)]
    table = table_of(2000, label=labels, duplicate_group=0, ok=True)
    known = known_of(Catalog(table, names, Path("pets")))
    said = "there 2,000 times, under class 00, class 01, class 02 and 37 more"
    assert about(known, 7)[0] == f"{said}, in train, valid and test"
    state = BrowserState(marks_of(Catalog(table, names, catalog.root)))
    state.press("c")
    view = state.view()
    assert len(view.compared) == BESIDE and view.beside == "6 of 2,000 pictures side by side"


def test_several_labels_or_none_are_filtered_and_sorted():
    labels = [("cat", "dog"), (), ("dog",), ("cat", EVIL)]
    table = pd.DataFrame({"file": list("abcd"), "label": pd.Series(labels, dtype=object)})
    known = known_of(Catalog(table.assign(duplicate_group=[0, -1, 0, -1]), NAMES, multi_label=True))
    assert chosen(known, Filter(label="cat")).tolist() == [0, 3]
    assert chosen(known, Filter(label="")).tolist() == [1]
    assert chosen(known, Filter(order="class")).tolist() == [1, 0, 3, 2]
    assert chosen(known, Filter("conflicts")).tolist() == [0, 2]
    assert facts_of(known, [0, 2])[1].values == ("cat, dog", "dog")


def test_suspects_of_other_catalogs_are_refused():
    catalog = catalog_of()
    some = pd.DataFrame({"file": ["cat/000 .jpg"], "suggested": ["dog"], "score": [0.1]})
    found = suspicions_of(catalog.table, some)
    known = known_of(catalog)
    assert chosen(known, Filter("suspects"), found).tolist() == [0]
    assert "suspected: dog (0.10)" in about(known, 0, found)
    relabelled = known_of(catalog.relabel("cat/000 .jpg", "dog"))
    assert chosen(relabelled, Filter("suspects"), found).tolist() == []
    for wrong in (some.drop(columns="score"), "suspects.csv"):
        with pytest.raises(DataError, match="Expected suspects"):
            suspicions_of(catalog.table, wrong)
    with pytest.raises(CatalogError, match="'eel'"):
        suspicions_of(catalog.table, some.assign(file="eel"))
    for wrong, error in ((Filter("sus"), OptionError), (Filter(order="size"), OptionError)):
        with pytest.raises(error):
            chosen(known, wrong)


# ---- marks


def fresh(marks):
    "The table as the cleaning module makes it from the source and the journal."
    path = marks.catalog.corrections.file.path
    return Corrections(path).apply(marks.source)


class AnyMarks(RuleBasedStateMachine):
    "Two who mark one catalog, and code that does too: always as the cleaning module has it."

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="marks-", dir=os.environ["IMGREC_CACHE"]))
        catalog = catalog_of(self.folder / "pets")
        self.marks = [marks_of(catalog), marks_of(catalog_of(self.folder / "pets"))]
        self.plain = catalog_of(self.folder / "pets")  # in memory, by `Catalog` alone
        self.past = [self.plain]
        self.undone = []

    def files(self, rows):
        return self.plain.table["file"].iloc[sorted(rows)].tolist()

    def both(self, which, marked, plainly):
        "Mark, and do the same in memory."
        before = len(self.plain.corrections.entries)
        marked(self.marks[which])
        self.plain = plainly(self.plain)
        if len(self.plain.corrections.entries) > before:
            self.undone = []

    @rule(
        which=st.integers(0, 1),
        rows=st.sets(st.integers(0, 29), min_size=1, max_size=4),
        label=st.sampled_from(NAMES),
    )
    def relabel(self, which, rows, label):
        files = self.files(rows)
        self.both(
            which,
            lambda m: m.relabel(files, label, "why"),
            lambda c: c.relabel(files, label, "why"),
        )

    @rule(
        which=st.integers(0, 1),
        rows=st.sets(st.integers(0, 29), min_size=1, max_size=4),
        what=st.sampled_from(["drop", "restore"]),
    )
    def leave_out(self, which, rows, what):
        files = self.files(rows)
        self.both(which, lambda m: getattr(m, what)(files), lambda c: getattr(c, what)(files))

    @rule(which=st.integers(0, 1))
    def undo(self, which):
        try:
            done = done_and_undone(self.plain.corrections.entries)[0]
            self.plain = self.plain.undo()
        except CatalogError:
            with pytest.raises(CatalogError, match="nothing to undo"):
                self.marks[which].undo()
        else:
            assert self.marks[which].undo().startswith("Undone: ")
            self.undone = [*self.undone, done[-1]]

    @rule(which=st.integers(0, 1))
    def redo(self, which):
        if not self.undone:
            with pytest.raises(CatalogError, match="nothing to do again"):
                self.marks[which].redo()
            return
        *self.undone, entry = self.undone
        assert self.marks[which].redo().startswith("Again: ")
        if entry["what"] == "relabel":
            self.plain = self.plain.relabel(entry["files"], entry["label"], entry["note"])
        else:
            self.plain = getattr(self.plain, entry["what"])(entry["files"], entry["note"])

    @invariant()
    def all_see_the_same(self):
        for marks in self.marks:
            known = marks.refresh()
            assert_frame_equal(marks.catalog.table, self.plain.table)
            assert_frame_equal(known.table, self.plain.table)
            if marks.catalog.corrections.file.path.exists():
                assert_frame_equal(fresh(marks), self.plain.table)
            assert source_labels(marks.catalog).tolist() == self.past[0].table["label"].tolist()


def test_any_marks_of_two_are_as_the_cleaning_module_has_them():
    how = settings(
        max_examples=12,
        stateful_step_count=16,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(AnyMarks, settings=how)


def test_undo_and_redo_go_all_the_way_back_and_forth(catalog):
    marks = marks_of(catalog)
    files = catalog.table["file"].tolist()
    tables = [catalog.table]
    for at, label in enumerate(("dog", EVIL, "dog")):
        marks.relabel(files[at : at + 2], label)
        tables.append(marks.catalog.table)
    for table in tables[2::-1]:
        marks.undo()
        assert marks.catalog.table["label"].tolist() == table["label"].tolist()
    for table in tables[1:]:
        marks.redo()
        assert marks.catalog.table["label"].tolist() == table["label"].tolist()
    with pytest.raises(CatalogError, match="nothing to do again"):
        marks.redo()
    marks.undo()
    marks.drop(files[:1])
    with pytest.raises(CatalogError, match="nothing to do again"):
        marks.redo()


def test_corrections_made_before_can_be_undone_to_what_the_source_said(tmp_path, catalog):
    file = catalog.table["file"].iloc[0]
    for folder, journal in ((tmp_path, None), (tmp_path / "more", tmp_path / "named")):
        corrected = catalog_of(folder / "pets").relabel(file, "dog").relabel(file, EVIL)
        marks = marks_of(corrected, journal)
        assert source_labels(corrected).iloc[0] == "cat"
        assert marks.known.before[0] == "cat" and marks.known.labels[0] == EVIL
        marks.undo()
        assert marks.catalog.table["label"].iloc[0] == "dog"
        marks.undo()
        assert marks.catalog.table["label"].iloc[0] == "cat"
        assert marks_of(marks.catalog) is marks


def test_the_cursor_stays_on_its_picture(catalog):
    state = BrowserState(marks_of(catalog))
    state.go(4)
    state.look(Filter(label="dog"))
    assert state.targets == [4] and state.place == 1
    state.look(Filter(order="class"))
    assert state.targets == [4]
    state.look(Filter(label="cat"))
    assert state.place == 0


PROGRAM = """
import sys
from itertools import count
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_browser import catalog_of
from imgrec.browser_state import BrowserState
from imgrec.marks import marks_of

state = BrowserState(marks_of(catalog_of(Path(sys.argv[1]))))
for turn in count():
    state.press("d r 1 2 3 ArrowRight".split()[turn % 6])
    print(len(state.marks.catalog.corrections.entries), flush=True)
"""


def test_a_kill_loses_no_mark_that_was_said(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "pets"), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        while int(process.stdout.readline()) < 15:
            pass
    finally:
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    rest = process.stdout.read().split()
    process.wait()
    said = max([15, *map(int, rest)])
    marks = marks_of(catalog_of(tmp_path / "pets"))
    assert said <= len(marks.catalog.corrections.entries) <= said + 1
    state = BrowserState(marks)
    state.press("u")  # and it can go on there
    assert state.said.startswith("Undone: ") and not state.message


def test_a_line_that_a_kill_cut_off_is_left_out_and_written_over(tmp_path, catalog):
    marks_of(catalog).drop(["cat/000 .jpg"])
    path = tmp_path / "pets.corrections"
    path.write_bytes(path.read_bytes() + b'{"n":2,"what":"dr')
    with pytest.warns(UserWarning, match="cut off"):
        again = marks_of(catalog_of(tmp_path / "pets"))
    assert len(again.catalog.corrections.entries) == 1
    again.drop(["dog/001 caf\udce9.jpg"])
    assert len(marks_of(catalog).refresh().table.query("reason == 'dropped'")) == 2


def test_marks_of_another_program_are_seen(catalog, tmp_path):
    state, heard = BrowserState(marks_of(catalog)), []
    state.watchers.append(heard.append)
    elsewhere = Corrections(tmp_path / "pets.corrections")
    elsewhere.relabel(catalog.table, "cat/000 .jpg", "dog", NAMES, "by another")
    assert state.view().cells[0].label == "dog" and "was cat" in state.view().cells[0].notes
    state.press("u")
    assert state.said == "Undone: cat/000 .jpg labelled dog: by another"
    assert state.catalog.table["label"].iloc[0] == "cat" and heard[-1].redo.endswith("by another")


def test_where_marks_go(tmp_path, catalog):
    plain = marks_of(catalog)
    assert plain is marks_of(catalog), "the same catalog has the same marks"
    assert plain.catalog.corrections.file.path == tmp_path / "pets.corrections"
    named = marks_of(catalog_of(tmp_path / "pets"), tmp_path / "mine")
    named.drop(["cat/000 .jpg"])
    assert (tmp_path / "mine").exists() and not (tmp_path / "pets.corrections").exists()
    with pytest.raises(CatalogError, match="has a journal"):
        marks_of(named.catalog, tmp_path / "other")
    marked = catalog_of(tmp_path / "pets").drop("cat/003 .jpg", "in a cell")
    both = with_journal(marked, tmp_path / "new")
    both.drop("cat/006 .jpg")
    rerun = with_journal(
        catalog_of(tmp_path / "pets").drop("cat/003 .jpg", "in a cell"), tmp_path / "new"
    )
    assert (~rerun.table["ok"]).sum() == (~marked.table["ok"]).sum() + 1
    with pytest.raises(JournalError, match="other corrections"):
        with_journal(catalog_of(tmp_path / "pets").drop("cat/009 .jpg"), tmp_path / "new")


def test_marks_in_memory_last_as_long_as_the_catalog():
    catalog = Catalog.from_arrays(np.zeros((6, 4, 4), np.uint8), [0, 1] * 3)
    BrowserState(marks_of(catalog)).press("d")
    again = BrowserState(marks_of(catalog))
    assert again.catalog.table["reason"].iloc[0] == "dropped"
    assert "in memory only" in again.view().journal and "reason" not in catalog.table


def test_a_journal_that_cannot_be_written_is_a_message(tmp_path, catalog):
    (tmp_path / "pets.corrections").mkdir()
    with pytest.raises((JournalError, OSError)):
        marks_of(catalog)
    state = BrowserState(marks_of(catalog_of(tmp_path / "pets"), tmp_path / "file" / "marks"))
    (tmp_path / "file").write_text("no folder")
    state.press("d")
    assert "Cannot write" in state.message and "To keep marks elsewhere" in state.message
    assert state.catalog.table["reason"].iloc[0] == ""
    (tmp_path / "file").unlink()
    state.press("d")
    assert not state.message and (tmp_path / "file" / "marks").exists()


def test_a_scan_and_a_split_that_come_later_have_the_marks(pets):
    first = BrowserState(marks_of(Catalog.from_folder(pets)))
    first.press("2")
    scanned = BrowserState(marks_of(Catalog.from_folder(pets).scan().split(seed=0)))
    assert scanned.view().undo == first.view().undo
    scanned.press("d")
    assert first.view().undo == scanned.view().undo != ""
    assert first.catalog.table["label"].tolist() == scanned.catalog.table["label"].tolist()


# ---- the state, in any order


class AnyKeys(RuleBasedStateMachine):
    "Whatever is pressed, what is shown makes sense, and no mark is lost."

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="keys-", dir=os.environ["IMGREC_CACHE"]))
        catalog = catalog_of(self.folder / "pets")
        suspects = pd.DataFrame(
            {"file": catalog.table["file"][[2, 5]], "suggested": "dog", "score": 0.1}
        )
        second = catalog_of(self.folder / "pets")  # made by another cell, on the same journal
        self.states = [BrowserState(marks_of(catalog), suspects), BrowserState(marks_of(second))]
        self.heard = [None, None]
        for at, state in enumerate(self.states):
            state.watchers.append(lambda view, at=at: self.heard.__setitem__(at, view))
        self.entries = 0

    KEYS = (
        [key for command in COMMANDS.values() for key in command.keys]
        + list("1239")
        + ["F5", "Meta+z"]
    )

    @rule(which=st.integers(0, 1), keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4))
    def press(self, which, keys):
        for key in keys:
            assert self.states[which].press(key) == (key not in ("F5", "9"))

    @rule(which=st.integers(0, 1), wanted=FILTERS)
    def look(self, which, wanted):
        self.states[which].look(wanted)
        assert self.states[which].wanted == wanted and not self.states[which].message

    @rule(which=st.integers(0, 1), row=st.integers(-2, 31))
    def pick(self, which, row):
        before = row in self.states[which].selected
        self.states[which].pick(row)
        assert bool(self.states[which].message) == (not 0 <= row < 30)
        assert (row in self.states[which].selected) != before or self.states[which].message

    @rule(which=st.integers(0, 1), label=st.sampled_from([*NAMES, "eel", ""]))
    def relabel(self, which, label):
        self.states[which].relabel(label)
        assert label in NAMES or self.states[which].message

    @rule(which=st.integers(0, 1), place=st.integers(-5, 99), note=st.sampled_from(["", EVIL]))
    def go(self, which, place, note):
        self.states[which].go(place)
        self.states[which].note = note

    @invariant()
    def what_is_shown_makes_sense(self):
        one, two = self.states
        assert_frame_equal(one.catalog.table, two.catalog.table)
        entries = len(one.catalog.corrections.entries)
        assert entries >= self.entries, "a mark was forgotten"
        self.entries = entries
        for state, heard in zip(self.states, self.heard, strict=True):
            view = state.view()
            assert heard is None or (heard.undo, heard.redo) == (view.undo, view.redo), "in step"
            assert 1 <= view.page <= view.pages and len(view.cells) <= PAGE
            assert sum(cell.cursor for cell in view.cells) == bool(view.cells)
            assert bool(view.cells) == bool(len(state.rows))
            assert len(view.compared) <= BESIDE and bool(view.facts) == bool(view.compared)
            assert view.headline and view.target and "pets.corrections" in view.journal
            texts = [
                view.headline,
                view.target,
                view.said,
                view.message,
                *(c.name for c in view.cells),
            ]
            assert all(text.isprintable() for text in texts)
            assert view.wanted.show in dict(map(reversed, view.kinds))


def test_any_order_of_keys():
    how = settings(
        max_examples=20,
        stateful_step_count=20,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(AnyKeys, settings=how)


def test_the_list_stays_while_somebody_marks_and_is_renewed_on_demand(catalog):
    state = BrowserState(marks_of(catalog))
    state.look(Filter("usable"))
    rows = list(state.rows)
    state.press("d")
    state.press("ArrowRight")
    state.press("d")
    assert list(state.rows) == rows and "2 of them no longer fit" in state.view().headline
    state.press("f")
    assert list(state.rows) == rows[2:] and state.place == 1
    state.press("u")
    assert "no longer" not in state.view().headline and rows[1] not in state.rows


def test_moving_over_pages(tmp_path):
    state = BrowserState(marks_of(catalog_of(tmp_path / "pets", n=100)))
    assert state.view().pages == 5
    path = [("End", 99), ("n", 99), ("ArrowRight", 99), ("p", 72), ("ArrowDown", 72 + COLUMNS)]
    path += [("ArrowUp", 72), ("ArrowLeft", 71), ("n", 72), ("Home", 0), ("ArrowUp", 0), ("p", 0)]
    for key, place in path:
        state.press(key)
        assert state.place == place, key
    state.go(23)
    state.press("ArrowRight")
    view = state.view()
    assert view.page == 2 and view.cells[0].cursor and view.ahead == tuple(range(48, 72))


def test_a_selection_outlives_pages_and_filters_until_it_is_marked(catalog):
    state = BrowserState(marks_of(catalog))
    state.press(" ")
    state.press("End")
    state.press("x")
    state.look(Filter(label="dog"))
    assert "2 selected pictures, 2 of them not on this page" in state.view().target
    state.press("c")
    assert [cell.row for cell in state.view().compared] == [0, 29]
    state.note = "why"
    state.press("d")
    assert not state.selected and state.catalog.table["reason"].iloc[29] == "dropped: why"
    state.press("Escape")
    assert not state.view().compared
    state.press("a")
    state.press("a")
    assert not state.selected


def test_twins_side_by_side_with_what_differs_and_one_kept(catalog):
    state = BrowserState(marks_of(catalog))
    state.look(Filter("conflicts"))
    state.press("c")
    view = state.view()
    assert [cell.row for cell in view.compared] == [0, 20]
    differing = {fact.name for fact in view.facts if fact.differs}
    assert {"file", "label", "bytes"} <= differing and "size" not in differing
    state.press("k")
    assert state.catalog.table["reason"].iloc[20] == "dropped: the same as cat/000 .jpg"
    state.press("k")
    assert "there is no other" in state.message
    state.press("Escape")
    state.press("c")
    assert "select them" in state.view().said and len(state.view().compared) == 1


def test_suggestions_are_taken_with_one_key(catalog):
    files = catalog.table["file"].iloc[[0, 3, 4]].tolist()
    suspects = pd.DataFrame(
        {"file": files, "suggested": ["dog", "dog", EVIL], "score": [0.3, 0.1, 0.2]}
    )
    state = BrowserState(marks_of(catalog), suspects)
    assert list(state.rows) == [3, 4, 0], "the most suspicious first"
    state.press("a")
    state.press("s")
    assert state.catalog.table["label"].iloc[[0, 3, 4]].tolist() == ["dog", "dog", EVIL]
    assert (
        len(state.catalog.corrections.entries) == 2
        and "3 of them no longer" in state.view().headline
    )
    state.look(Filter())
    state.press("s")
    assert "suspected: dog" in " ".join(state.view().cells[0].notes)
    for other in (state, BrowserState(marks_of(catalog))):
        other.go(7)
        other.press("s")
        assert "No label is suggested" in other.message


def test_classes_of_pictures_with_several(tmp_path):
    labels = [("cat",), ("cat", "dog"), ()]
    table = pd.DataFrame({"file": list("abc"), "label": pd.Series(labels, dtype=object)})
    state = BrowserState(marks_of(Catalog(table, NAMES, tmp_path / "pets", multi_label=True)))
    assert state.view().cells[2].label == "no class" and ("no class", "") in state.view().labels
    state.press("a")
    state.press("2")
    assert state.catalog.table["label"].tolist() == [("cat", "dog"), ("cat", "dog"), ("dog",)]
    state.press("a")
    state.press("2")
    assert state.catalog.table["label"].tolist() == [("cat",), ("cat",), ()]
    state.relabel([EVIL, "cat"])
    assert state.catalog.table["label"].iloc[0] == tuple(sorted((EVIL, "cat")))
    state.look(Filter(label=""))
    assert list(state.rows) == [2]


def test_what_a_scan_refused_cannot_be_restored_and_is_told(catalog):
    state = BrowserState(marks_of(catalog))
    state.look(Filter("problems"))
    state.press("r")
    assert "set aside by the scan" in state.message and "Mend the file" in state.message
    assert state.catalog.corrections.entries == []


def test_keys_are_told_apart():
    keys = [key for command in COMMANDS.values() for key in command.keys]
    assert len(keys) == len(set(keys)) and not set(keys) & set("123456789")
    assert keys_of(["a"] * 12)[-1] == ("9", "class a")
    with pytest.raises(OptionError, match="Unknown command"):
        BrowserState(marks_of(catalog_of())).do("delete")


# ---- the widget


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def choose(browser, name, value):
    "Choose from a list as a person does."
    view = browser.state.view()
    lists = {"show": view.kinds, "label": view.labels, "part": view.parts, "order": view.orders}
    values = [option for _, option in lists[name]]
    browser.parts.filters[name].value = values.index(value)


def texts(browser):
    "All HTML of a browser."
    return "".join(each.value for each in everything(browser) if isinstance(each, widgets.HTML))


def test_every_control_has_a_name_and_says_what_it_does(pets):
    browser = CatalogBrowser(Catalog.from_folder(pets).scan())
    kinds = (widgets.Button, widgets.ToggleButton, widgets.Dropdown, widgets.Text)
    found = [
        each for each in everything(browser) if isinstance(each, (*kinds, widgets.BoundedIntText))
    ]
    hidden = [box.button for box in (*browser.parts.cells, *browser.parts.beside)]
    for each in found:
        if each not in hidden:
            assert each.description and each.tooltip, each
    shown = [box for box in browser.parts.cells if box.whole.layout.display is None]
    assert len(shown) == len(browser.catalog) == 9
    assert all(box.button.description and box.button.tooltip for box in shown)
    assert all('alt="' in box.picture.value for box in shown)
    assert set(BUTTONS) <= set(COMMANDS)


def test_no_name_becomes_markup(pets):
    browser = CatalogBrowser(catalog_of(pets))
    choose(browser, "label", EVIL)
    browser.parts.words.value = "<img"
    assert "No picture here" in browser.parts.headline.value
    browser.parts.words.value = ""
    browser.parts.note.value = EVIL
    browser.parts.buttons["drop"].click()
    browser.parts.buttons["compare"].click()
    page = texts(browser) + browser.snapshot().data
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert browser.parts.quick[2].description.startswith("3 <img"), "a button takes no HTML"


@pytest.mark.parametrize("scanned", [False, True])
def test_what_is_no_picture_says_why_once(pets, scanned):
    catalog = Catalog.from_folder(pets)
    page = texts(CatalogBrowser(catalog.scan() if scanned else catalog))
    for reason in ("not a picture", "empty"):
        said = f"set aside: {reason}" if scanned else f"not shown: {reason}"
        assert page.count(said) == 2, "to the eye, and in the alternative text"
        assert page.count(reason) == page.count(said), "and not in other words as well"
    assert ("Never scanned" in page) != scanned


def test_a_person_cleans_a_folder(pets):
    browser = CatalogBrowser(Catalog.from_folder(pets).scan())
    parts = browser.parts
    choose(browser, "show", "conflicts")
    assert "1 to 2 of 2 pictures: the same under different labels" in parts.headline.value
    parts.cells[1].button.value = True
    assert (
        "Marks are for dog/9.png, which is selected." in parts.target.value
        and parts.cells[1].button.icon == "check"
    )
    parts.buttons["compare"].click()
    assert "2 pictures side by side" in parts.facts.value
    assert [box.whole.layout.display for box in parts.beside[:3]] == [None, None, "none"]
    parts.quick[0].click()
    assert (
        browser.catalog.table.set_index("file")["label"]["dog/9.png"]
        == browser.catalog.class_names[0]
    )
    assert "labelled" in parts.said.value and not parts.cells[1].button.value
    assert "no longer fit" in parts.headline.value
    parts.buttons["refresh"].click()
    assert "No picture here" in parts.headline.value and parts.buttons["drop"].disabled
    assert not browser.catalog.duplicates()["conflict"].any()
    parts.buttons["undo"].click()
    assert browser.catalog.duplicates()["conflict"].any() and not parts.buttons["redo"].disabled
    parts.buttons["redo"].click()
    again = CatalogBrowser(Catalog.from_folder(pets).scan())
    assert_frame_equal(again.catalog.table, browser.catalog.table)
    assert "1 mark in" in again.parts.journal.value


def test_two_browsers_stay_in_step(pets):
    catalog = Catalog.from_folder(pets).scan()
    one, two = CatalogBrowser(catalog), CatalogBrowser(catalog)
    choose(two, "show", "usable")
    one.parts.buttons["drop"].click()
    assert "dropped" in two.parts.cells[0].picture.value and not two.parts.buttons["undo"].disabled
    assert "no longer fit" in two.parts.headline.value
    two.parts.buttons["undo"].click()
    assert (
        "dropped" not in one.parts.cells[0].picture.value and not one.parts.buttons["redo"].disabled
    )
    assert one.parts.filters["show"].value == 0, "each looks where it wants"
    one.state.press("d")
    assert "dropped" in two.parts.cells[0].picture.value, "also by a key"


def test_pages_are_turned_and_said(tmp_path):
    arrays = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    browser = CatalogBrowser(
        Catalog.from_arrays(arrays, [0, 1, 2] * 20), journal=tmp_path / "marks"
    )
    parts = browser.parts
    parts.buttons["next page"].click()
    assert (parts.page.value, parts.page.max) == (2, 3) and "25 to 48 of 60" in parts.headline.value
    parts.page.value = 3
    assert "49 to 60 of 60" in parts.headline.value and parts.buttons["next page"].disabled
    assert [box.whole.layout.display for box in parts.cells].count("none") == PAGE - 12
    choose(browser, "label", "1")
    assert parts.page.value == 1 and parts.page.max == 1
    assert browser.state.wanted == Filter(label="1")
    choose(browser, "order", "file")
    parts.words.value = "4"
    assert browser.state.wanted == Filter(label="1", words="4", order="file")


def test_each_odd_catalog_has_its_sentence(tmp_path):
    full = Catalog.from_arrays(np.zeros((4, 4, 4), np.uint8), [0, 1, 0, 1])
    empty = Catalog(full.table.head(0), full.class_names, arrays=full.arrays[:0])
    browser = CatalogBrowser(empty)
    assert "This catalog has no pictures." in browser.parts.headline.value
    for name in BUTTONS:
        browser.parts.buttons[name].click()
    browser.parts.quick[0].click()
    assert "none to mark" in browser.parts.message.value
    assert "in memory only" in CatalogBrowser(full).parts.journal.value
    gone = CatalogBrowser(catalog_of(tmp_path / "gone"))
    assert "damaged" in gone.parts.cells[10].picture.value, "the scan's reason"
    assert gone.thumbs.one(0, SIDE).reason == "missing"
    with pytest.raises(CatalogError, match="Expected a catalog, received DataFrame"):
        CatalogBrowser(full.table)
    with pytest.raises(CatalogError, match="Give its catalog"):
        CatalogBrowser(SimpleNamespace(catalog=full))


def test_more_than_nine_classes_are_given_from_a_list(tmp_path):
    labels = [f"class {row:02}" for row in range(12)]
    browser = CatalogBrowser(Catalog.from_arrays(np.zeros((12, 4, 4), np.uint8), labels))
    assert len(browser.parts.quick) == 9 and browser.parts.label in set(everything(browser))
    browser.parts.classes.value = 11
    browser.parts.label.click()
    assert browser.catalog.table["label"].iloc[0] == "class 11"
    few = CatalogBrowser(Catalog.from_arrays(np.zeros((2, 4, 4), np.uint8), ["a", "b"]))
    assert few.parts.label not in set(everything(few))


def test_showing_sends_only_what_differs(pets):
    browser = CatalogBrowser(Catalog.from_folder(pets).scan())
    changed = []
    for each in everything(browser):
        each.observe(
            lambda change: changed.append(change["owner"]),
            "value" if hasattr(each, "value") else "layout",
        )
    browser.state.tell()
    assert changed == []
    browser.state.press("ArrowRight")
    assert len(changed) == 3, "two pictures, and for which the next mark is"


def test_a_hundred_thousand_pictures_are_turned_page_by_page(tmp_path):
    n = 100_000
    pixels = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(n, 8, 8, 3))
    catalog = Catalog(table_of(n), NAMES, tmp_path / "pets")
    packed = SimpleNamespace(pixels=pixels, reasons=[""] * n)
    browser = CatalogBrowser(catalog, packed=packed)
    browser.parts.page.value = 4000
    assert "95,977 to 96,000 of 100,000" in browser.parts.headline.value
    assert len(browser.thumbs.kept) <= 4 * PAGE, "pictures are made when they are looked at"
    browser.parts.buttons["drop"].click()
    choose(browser, "show", "dropped")
    assert "1 to 1 of 1 picture" in browser.parts.headline.value


def test_many_hands_on_two_browsers(pets):
    catalog = Catalog.from_folder(pets).scan()
    browsers = [CatalogBrowser(catalog) for _ in range(2)]

    def hand(browser, keys):
        for key in keys * 6:
            browser.state.press(key)

    keys = (["d", "ArrowRight", "u"], ["1", "x", "c", "U"], ["n", "2", "f"], ["End", "a", "r"])
    hands = [threading.Thread(target=hand, args=(browsers[at % 2], k)) for at, k in enumerate(keys)]
    for each in hands:
        each.start()
    for each in hands:
        each.join(60)
    assert not any(each.is_alive() for each in hands), "nobody waits for ever"
    one, two = browsers
    assert one.parts.journal.value == two.parts.journal.value
    assert_frame_equal(one.catalog.table, fresh(one.state.marks))


@settings(max_examples=50)
@given(text=st.text(max_size=20))
def test_any_name_can_be_shown(text):
    assert readable(text).isprintable()
    assert readable(text) == text or not text.isprintable()

"""Saved catalogs: every table comes back as it was, half a file never counts, changes are seen."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from pandas.testing import assert_frame_equal

from imgrec.core import CatalogError, MissingFileError, OptionError
from imgrec.sources import list_folder, text_column
from imgrec.store import changed_files, load_table, save_table

KINDS = ["csv", "parquet"]


@pytest.fixture(params=KINDS)
def kind(request):
    "Both kinds of file."
    return request.param


def frame(rows=3):
    "A table with the columns of a scan."
    return pd.DataFrame({"file": text_column(f"cat/{row}.png" for row in range(rows))}).assign(
        label=pd.Series([("cat", "dog"), (), ("a|b", "c\\u007c", "\udcff")][:rows], dtype=object),
        split=pd.Series(["train", "", "test"][:rows], dtype="category"),
        ok=[True, False, True][:rows],
        reason=["", "truncated", ""][:rows],
        width=np.array([1, 2, 3][:rows], np.int32),
        bytes=np.array([0, 2**62, -1][:rows]),
        sha256=["0" * 64, "", "f" * 64][:rows],
        brightness=np.array([np.nan, 0.1, 255][:rows], np.float32),
        signature=pd.Series([b"", b"\0\n,\xff", b"12"][:rows], dtype=object),
        hash=np.array([2**64 - 1, 0, 1][:rows], np.uint64),
        patient=pd.Series(["007", None, "NA"][:rows], dtype="str"),
        age=pd.Series([1, None, 3][:rows], dtype="Int64"),
    )


def test_every_kind_of_column_comes_back(tmp_path, kind):
    for rows in (3, 1, 0):
        path = save_table(frame(rows), {"rows": rows}, tmp_path / f"a.{kind}")
        stored = load_table(path)
        assert_frame_equal(stored.table, frame(rows))
        assert stored.facts == {"rows": rows}
        assert repr(stored) == f"Stored: {rows} rows; rows"


def test_names_of_any_bytes_come_back(tmp_path, kind):
    names = ["caf\udce9", "two\nlines", "cr\r", "\\N", "\\u000a", '"', "a,b", " ", "nan", "\u2028"]
    names += ["\N{GRINNING FACE}", "#", "\x1f", "None", "1e5", "'", ";", "\ufeff", "\x85"]
    table = pd.DataFrame({"file": text_column(names), "label": text_column(names[::-1])})
    table["several"] = pd.Series([tuple(sorted({n, "x"})) for n in names], dtype=object)
    table["odd \udcff,\n name"] = 1
    facts = {"class_names": names, "root": Path(os.fsdecode(b"/caf\xe9"))}
    stored = load_table(save_table(table, facts, tmp_path / f"a.{kind}"))
    assert_frame_equal(stored.table, table)
    assert stored.facts == facts
    if kind == "csv":
        lines = (tmp_path / "a.csv").read_bytes().decode("utf-8").split("\n")
        assert len(lines) == len(names) + 3, "a row is a line"


text = st.text(st.characters(), max_size=6)  # with surrogates and control characters
columns = st.integers(0, 5).flatmap(
    lambda rows: st.tuples(
        st.lists(text, min_size=rows, max_size=rows),
        st.lists(st.none() | text, min_size=rows, max_size=rows),
        st.lists(st.sets(text.filter(bool), max_size=3), min_size=rows, max_size=rows),
        st.lists(st.binary(max_size=5), min_size=rows, max_size=rows),
        some.arrays(np.float64, rows),
        some.arrays(np.float32, rows),
        some.arrays(np.int64, rows),
        some.arrays(bool, rows),
    )
)


@settings(max_examples=80)
@given(columns)
def test_any_table_comes_back(tmp_path_factory, drawn):
    files, notes, sets, data, doubles, floats, numbers, flags = drawn
    table = pd.DataFrame({"file": text_column(files), "note": text_column(notes)})
    table["label"] = pd.Series([tuple(sorted(words)) for words in sets], dtype=object)
    table["data"] = pd.Series(data, dtype=object)
    table = table.assign(doubles=doubles, floats=floats, numbers=numbers, flags=flags)
    path = save_table(table, {}, tmp_path_factory.mktemp("any") / "a.csv")
    assert_frame_equal(load_table(path).table, table, check_exact=True)


def test_what_cannot_be_kept_is_refused_by_name(tmp_path):
    for values, words in [
        (pd.to_datetime(["2026-01-01"]), "datetime64"),
        (pd.Series([{"a": 1}], dtype=object), "mixed"),
        (pd.Series([("a", 1)], dtype=object), "mixed"),
        (pd.Series([("",)], dtype=object), "mixed"),
        (pd.Series([1], dtype="category"), "categories are not text"),
        (pd.Series([1j]), "complex"),
    ]:
        with pytest.raises(CatalogError, match=f"'extra' cannot be saved.*{words}"):
            save_table(frame(1).assign(extra=values), {}, tmp_path / "a.csv")
    with pytest.raises(OptionError, match=r"\.csv or \.parquet, received a\.txt"):
        save_table(frame(1), {}, tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_paths_move_with_the_file(tmp_path, monkeypatch):
    (tmp_path / "one" / "pets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    facts = {
        "root": Path("pets"),
        "deep": [{"journal": Path("pets.corrections")}],
        "other": tmp_path / "two",
        "above": tmp_path,
    }
    save_table(frame(), facts, "pets.csv")
    save_table(frame(), {"root": Path("pets")}, "pets/.notes/a.csv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert load_table("moved/pets.csv").facts == {
        "root": Path("moved/pets"),
        "deep": [{"journal": Path("moved/pets.corrections")}],
        "other": tmp_path / "two",
        "above": Path(),
    }
    found = load_table(tmp_path / "moved" / "pets" / ".notes" / "a.csv").facts["root"]
    assert found == tmp_path / "moved" / "pets"


def test_half_a_file_and_a_changed_one_are_told_from_a_whole_one(tmp_path, kind):
    whole = save_table(frame(), {"class_names": ["cat"]}, tmp_path / f"a.{kind}").read_bytes()
    broken = tmp_path / f"b.{kind}"
    for size in range(0, len(whole), 1 + len(whole) // 150):
        broken.write_bytes(whole[:size])
        with pytest.raises(CatalogError, match=r"damaged|no saved catalog"):
            load_table(broken)
    broken.write_bytes(whole + b"x")
    with pytest.raises(CatalogError, match="damaged"):
        load_table(broken)


def test_a_changed_csv_and_another_version_say_what_to_do(tmp_path):
    path = save_table(frame(), {}, tmp_path / "a.csv")
    whole = path.read_text()
    path.write_text(whole.replace("truncated", "truncate"))
    with pytest.raises(CatalogError, match=r"changed by hand.*skiprows=1"):
        load_table(path)
    path.write_text(whole.replace('"version": 1', '"version": 2'))
    with pytest.raises(CatalogError, match="in version 2 of the format"):
        load_table(path)
    path.write_text("file,label\na,cat\n")
    with pytest.raises(CatalogError, match=r"no saved catalog.*Catalog.from_table"):
        load_table(path)
    for nothing in (tmp_path / "no.csv", tmp_path / "no.parquet", tmp_path):
        with pytest.raises(MissingFileError, match="does not exist"):
            load_table(nothing)


def test_anybody_can_read_the_csv(tmp_path):
    path = save_table(frame().assign(label=["cat", "dog", "cat"]), {}, tmp_path / "a.csv")
    plain = pd.read_csv(path, skiprows=1)
    assert plain["label"].tolist() == ["cat", "dog", "cat"]
    header = json.loads(path.read_text().splitlines()[0].removeprefix("# imgrec catalog "))
    assert [name for name, _ in header["columns"]] == list(plain)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_the_former_file_whole(tmp_path, monkeypatch, broken):
    path = save_table(frame(), {"which": "former"}, tmp_path / "a.csv")
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    place = os if broken == "fsync" else Path
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(place, broken, full)
        save_table(frame(1), {"which": "new"}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert load_table(path).facts == {"which": "former"}


# What changed since


@pytest.fixture
def pets(tmp_path):
    "A folder of four files, and its table with sizes and times."
    for name in (
        "cat/1.png",
        "cat/2.png",
        "dog/1.png",
        "dog/caf\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    table = list_folder(tmp_path).table
    found = [(tmp_path / file).stat() for file in table["file"]]
    return tmp_path, table.assign(
        bytes=[one.st_size for one in found], mtime_ns=[one.st_mtime_ns for one in found]
    )


def changes(pets, table=None, known=None):
    "What changed, as a dictionary."
    root, noted = pets
    found = changed_files(noted if table is None else table, root, known)
    return dict(found.itertuples(index=False))


def test_nothing_changed_is_no_row(pets):
    assert changes(pets) == changes(pets, known=[]) == {}


def test_missing_changed_and_new_files_are_told(pets):
    root, table = pets
    (root / "cat" / "1.png").unlink()
    (root / "cat" / "2.png").write_text("cat/3.png")  # the same size
    os.utime(root / "cat" / "2.png", ns=(1, 1))
    (root / "dog" / "1.png").unlink()
    (root / "dog" / "1.png").mkdir()
    (root / "dog" / "9.png").touch()
    (root / "notes.txt").touch()
    expected = {"cat/1.png": "missing", "cat/2.png": "changed", "dog/1.png": "changed"}
    assert changes(pets) == expected
    assert changes(pets, known=["notes.txt"]) == expected | {"dog/9.png": "new"}
    assert changes(pets, table[["file"]]) == {"cat/1.png": "missing", "dog/1.png": "changed"}


def test_a_file_that_was_missing_before_is_no_change_until_it_comes(pets):
    root, table = pets
    (root / "cat" / "1.png").unlink()
    table = table.assign(reason=["missing", "", "", ""], bytes=[0, *table["bytes"][1:]])
    assert changes(pets, table) == {}
    (root / "cat" / "1.png").write_text("back")
    assert changes(pets, table) == {"cat/1.png": "changed"}

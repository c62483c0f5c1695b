"""Catalogs: odd folders, tables and arrays, and splits that depend on names and seed alone."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oddities import SCENE, WHOLE_PNG, write_folder, write_oddities

from imgrec.catalog import Catalog
from imgrec.core import (
    CatalogError,
    DataError,
    ImageFolderError,
    JournalError,
    MissingFileError,
    OptionError,
)
from imgrec.images import Limits, check_image
from imgrec.pictures import fingerprint, read_row
from imgrec.sources import list_folder
from imgrec.splits import SplitWarning, split_table


@pytest.fixture
def folder(tmp_path):
    "Three classes of eight pictures."
    return write_folder(tmp_path / "pets")


@pytest.fixture
def somebody(tmp_path):
    "Be a user whose rights are limited, even where the tests run as root."
    if not hasattr(os, "seteuid"):
        pytest.skip("this system has no such users")
    before = os.geteuid()
    if before == 0:
        for parent in [tmp_path, *tmp_path.parents]:
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(0o755)
        os.seteuid(65534)
    yield
    os.seteuid(before)


def frame(labels, **columns):
    "A table of labels for files that do not exist."
    return pd.DataFrame(
        {"file": [f"{row}.jpg" for row in range(len(labels))], "label": labels} | columns
    )


# Folders


def test_a_folder_that_is_no_set_is_refused_and_named(tmp_path):
    (tmp_path / "loose").mkdir()
    for number in range(3):
        (tmp_path / "loose" / f"{number}.png").write_bytes(WHOLE_PNG)
    (tmp_path / "bowl").mkdir()
    (tmp_path / "half" / "cat").mkdir(parents=True)
    (tmp_path / "half" / "cat" / "1.png").write_bytes(WHOLE_PNG)
    for name, error, words in [
        ("bowl", ImageFolderError, "no sub-folders.* an empty folder"),
        ("loose", ImageFolderError, r"no sub-folders.* 3 loose files.*from_table"),
        ("loose/0.png", ImageFolderError, "is a file"),
        ("nowhere", MissingFileError, "does not exist"),
        ("half", CatalogError, r"one class \(cat\)"),
    ]:
        with pytest.raises(error, match=words) as caught:
            Catalog.from_folder(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) or name == "half"
    (tmp_path / "half" / "dog").mkdir()
    with pytest.raises(ImageFolderError, match="'dog' has no pictures"):
        Catalog.from_folder(tmp_path / "half")


def test_what_systems_leave_behind_is_not_counted(folder):
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints/0.png"):
        (folder / "cat" / name).parent.mkdir(exist_ok=True)
        (folder / "cat" / name).write_bytes(WHOLE_PNG)
    (folder / "__MACOSX").mkdir()
    (folder / ".git").mkdir()
    counts = Catalog.from_folder(folder).summary()["pictures"]
    assert counts.to_dict() == {"cat": 8, "dog": 8, "fox": 8, "all": 24}


def test_a_hidden_folder_above_the_pictures_hides_nothing(tmp_path):
    assert len(list_folder(write_folder(tmp_path / ".cache" / "pets")).table) == 24


def test_files_may_lie_deeper_and_keep_their_class(folder):
    (folder / "cat" / "2024" / "may").mkdir(parents=True)
    (folder / "cat" / "2024" / "may" / "1.png").write_bytes(WHOLE_PNG)
    table = list_folder(folder).table
    assert table.loc[table["file"] == "cat/2024/may/1.png", "label"].tolist() == ["cat"]


def test_a_linked_folder_is_told_and_not_entered(folder):
    (folder / "cat" / "again").symlink_to(folder / "cat")  # would never end
    scanned = Catalog.from_folder(folder).scan()
    assert scanned.problems[["file", "reason"]].to_numpy().tolist() == [
        ["cat/again", "same folder as cat"]
    ]


def test_unreadable_places_are_named(folder, request):
    (folder / "cat" / "private").mkdir()
    (folder / "cat" / "private" / "1.png").write_bytes(WHOLE_PNG)
    (folder / "cat" / "private").chmod(0)
    (folder / "dog" / "0.png").chmod(0)
    request.getfixturevalue("somebody")
    with pytest.raises(ImageFolderError, match=r"private may not be read \(Permission denied\)"):
        Catalog.from_folder(folder)
    table = pd.DataFrame(
        {"file": ["dog/0.png", "dog/1.png", "cat/private/1.png"], "label": list("aba")}
    )
    catalog = Catalog.from_table(table, root=folder)
    reasons = [check_image(folder / file).reason for file in table["file"]]
    assert reasons == ["unreadable: Permission denied", "", "unreadable: Permission denied"]
    assert fingerprint(catalog) == fingerprint(catalog)


def test_a_scan_sets_bad_files_aside_with_their_reasons_and_goes_on(folder):
    reasons = write_oddities(folder / "dog")
    (folder / "dog" / "folder.jpg").mkdir()
    (folder / "dog" / "folder.jpg" / "in it.png").write_bytes(WHOLE_PNG)
    catalog = Catalog.from_folder(folder).scan()
    found = catalog.problems.set_index("file")["reason"]
    assert set(found.index) == {f"dog/{name}" for name in reasons}
    assert all(found[f"dog/{name}"].startswith(reason) for name, reason in reasons.items())
    assert catalog.table["ok"].sum() == 25
    divided = catalog.split()
    assert divided.table.loc[~divided.table["ok"], "split"].unique().tolist() == [""]
    assert divided.summary().loc["dog", "set aside"] == len(reasons)
    assert f"{len(reasons)} set aside" in repr(divided)


def test_odd_names_of_files_and_classes_go_all_the_way(tmp_path):
    for name in (b"caf\xe9", b"two\nlines", "\N{GRINNING FACE} [x]".encode()):
        for number in range(3):
            place = (
                tmp_path / "odd" / os.fsdecode(name) / os.fsdecode(b"%d \xff[a]*\n.png" % number)
            )
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(WHOLE_PNG)
            except OSError as error:
                pytest.skip(f"this file system refuses such names: {error}")
    catalog = Catalog.from_folder(tmp_path / "odd").split().scan()
    assert catalog.table["ok"].all() and len(catalog) == 9
    assert (read_row(catalog, 5) == SCENE).all()
    assert len(fingerprint(catalog)) == 64
    repr(catalog).encode()  # can be printed on any terminal
    (tmp_path / "odd").rename(tmp_path / os.fsdecode(b"\xe9"))
    assert len(fingerprint(Catalog.from_folder(tmp_path / os.fsdecode(b"\xe9")))) == 64


# Tables


def test_a_csv_is_taken_word_for_word(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\n001,None\n002,NA\n003,1\n004,01\n")
    catalog = Catalog.from_table(tmp_path / "labels.csv")
    assert catalog.table["file"].tolist() == ["001", "002", "003", "004"]
    assert catalog.class_names == ("01", "1", "NA", "None")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, MissingFileError, "labels.csv does not exist"),
        (b"", CatalogError, "not a table"),
        (b"\xff\xfe\x00", CatalogError, "not a table"),
        (b"name,label\na,b\n", CatalogError, "no column 'file'. It has: name, label"),
        (b"file,label\n", CatalogError, "empty"),
        (b"file,label\na.jpg,cat\nb.jpg,\n", CatalogError, "Row 3 has no label"),
        (b"file,label\n,cat\nb.jpg,dog\n", CatalogError, "Row 2 has no file"),
        (b"file,label\na.jpg,cat\na.jpg,dog\n", CatalogError, "more than once, first 'a.jpg'"),
        (b"file,label\na.jpg,cat\nb.jpg,cat\n", CatalogError, r"one class \(cat\)"),
        (b"file,label,split\na,cat,train\nb,dog,dev\n", CatalogError, r"received \['dev'\]"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_is_wrong(tmp_path, content, error, words):
    if content is not None:
        (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(error, match=words):
        Catalog.from_table(tmp_path / "labels.csv")


def test_labels_outside_the_class_names_are_listed():
    with pytest.raises(CatalogError, match=r"\['dgo'\].*\['cat', 'dog'\]"):
        Catalog.from_table(frame(["cat", "dgo"]), class_names=["cat", "dog"])


def test_missing_labels_of_every_kind_are_found():
    for nothing in (None, float("nan"), pd.NA, ""):
        with pytest.raises(CatalogError, match="Row 1 has no label"):
            Catalog.from_table(frame(["cat", nothing, "dog"]))


def test_class_names_give_the_order_and_may_be_any_sequence():
    for names in (["dog", "cat", "eel"], ("dog", "cat", "eel"), np.array(["dog", "cat", "eel"])):
        catalog = Catalog.from_table(frame(["cat", "dog"]), class_names=names)
        assert catalog.class_names == ("dog", "cat", "eel")


def test_several_labels_a_picture_are_sets_of_words():
    labels = [["dog", "ball"], ("cat",), {"ball"}, np.array(["dog", "dog"]), "cat", []]
    catalog = Catalog.from_table(frame(labels))
    assert catalog.multi_label and catalog.class_names == ("ball", "cat", "dog")
    expected = [("ball", "dog"), ("cat",), ("ball",), ("dog",), ("cat",), ()]
    assert catalog.table["label"].tolist() == expected
    assert catalog.summary()["pictures"].to_dict() == {"ball": 2, "cat": 2, "dog": 2, "all": 6}


def test_other_columns_and_the_index_of_a_table_do_not_matter():
    table = frame(["cat", "dog", "cat"], split=["train", "test", "valid"], age=[1, 2, 3])
    catalog = Catalog.from_table(table.set_index(pd.Index([7, 7, 7])))
    assert catalog.table.index.tolist() == [0, 1, 2]
    assert catalog.table["split"].tolist() == ["train", "test", "valid"]


# Arrays

FOUR = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.uint8)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 1, 0], ["0", "1", "1", "0"]),
        (np.array([[0.0], [1.0], [1.0], [0.0]]), ["0", "1", "1", "0"]),
        (np.eye(2)[[0, 1, 1, 0]], ["0", "1", "1", "0"]),
        (np.array([False, True, True, False]), ["0", "1", "1", "0"]),
        (["a", "b", "b", "a"], ["a", "b", "b", "a"]),
        ([["a"], ["a", "b"], ["b"], []], [("a",), ("a", "b"), ("b",), ()]),
        ([["a", "b"], ["c", "b"]] * 2, [("a", "b"), ("b", "c")] * 2),
        ([[1, 1], [0, 1], [0, 0], [1, 0]], [("0", "1"), ("1",), (), ("0",)]),
    ],
)
def test_labels_in_memory_mean_the_same_in_every_form(labels, expected):
    assert Catalog.from_arrays(FOUR, labels).table["label"].tolist() == expected


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (FOUR / 255, [0, 1, 0, 1], "Multiply by 255"),
        (FOUR * 3.0, [0, 1, 0, 1], "0 to 255, received 0 to 357"),
        (FOUR - 128.0, [0, 1, 0, 1], "received -128 to"),
        (np.where(FOUR > 9, np.nan, FOUR), [0, 1, 0, 1], "received nan"),
        (FOUR[0], [0, 1, 0, 1], r"received \(5, 6\)"),
        ([FOUR[0], FOUR[1, :3]], [0, 1], "several sizes"),
        (FOUR, [0, 1, 0], "4 pictures and 3 labels"),
        (FOUR, [0, 1, 2, -1], "received -1"),
        (FOUR, [0, 1.5, 0, 1], "Expected class numbers"),
        (FOUR, [0, float("nan"), 0, 1], "Expected class numbers"),
        (FOUR, [[0, 2], [1, 0], [0, 1], [1, 0]], r"rows of 0 and 1.*\[0, 2\]"),
    ],
)
def test_arrays_that_cannot_be_used_say_what_is_wrong(x, y, words):
    with pytest.raises(DataError, match=words):
        Catalog.from_arrays(x, y)


def test_more_numbers_than_names_are_refused_and_fewer_are_not():
    with pytest.raises(DataError, match="0 to 1, for 2 class_names; received 0 to 2"):
        Catalog.from_arrays(FOUR, [0, 1, 2, 0], ["cat", "dog"])
    wide = Catalog.from_arrays(FOUR, [0, 1, 1, 0], np.array(["cat", "dog", "fox"]))
    assert wide.class_names == ("cat", "dog", "fox")
    with pytest.raises(CatalogError, match="one class"):
        Catalog.from_arrays(FOUR, [0, 0, 0, 0])


# Splits

files = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=6), min_size=9, max_size=60, unique=True
)
shares = st.sampled_from([0.0, 0.1, 0.15, 0.3, 0.49])


def parts_of(table, valid=0.2, test=0.2, seed=0):
    "The part of each file."
    return dict(zip(table["file"], split_table(table, valid, test, seed)["split"], strict=True))


def of_two_classes(names):
    "A table whose first third is of one class, and the rest of another."
    labels = ["a"] * (len(names) // 3) + ["b"] * (len(names) - len(names) // 3)
    return pd.DataFrame({"file": names, "label": labels})


@settings(max_examples=40)
@given(files, shares, shares, st.integers(0, 9))
def test_every_class_is_in_every_part_in_its_proportion(names, valid, test, seed):
    table = of_two_classes(names)
    divided = split_table(table, valid, test, seed)
    for _, rows in divided.groupby("label"):
        for part, share in (("valid", valid), ("test", test), ("train", 1 - valid - test)):
            count = rows["split"].eq(part).sum()
            assert (count > 0) == (share > 0)
            assert abs(count - share * len(rows)) <= 1.5


@settings(max_examples=40)
@given(files, st.randoms(use_true_random=False), st.integers(0, 9))
def test_the_order_of_the_files_does_not_matter(names, random, seed):
    table = of_two_classes(names)
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = table.iloc[order]
    assert parts_of(shuffled, seed=seed) == parts_of(table, seed=seed)
    again = parts_of(shuffled.reset_index(drop=True), seed=seed)
    assert again == parts_of(table, seed=seed)


@settings(max_examples=40)
@given(files, st.integers(1, 4))
def test_an_added_picture_moves_at_most_three_others(names, count):
    table = pd.DataFrame({"file": names, "label": "a"})
    before = parts_of(table.iloc[count:])
    after = parts_of(table)
    assert sum(after[file] != before[file] for file in before) <= 3 * count


def test_another_seed_is_another_split(folder):
    catalog = Catalog.from_folder(folder)
    splits = {tuple(catalog.split(seed=seed).table["split"]) for seed in range(5)}
    assert len(splits) == 5
    assert catalog.split(seed=3).table.equals(catalog.split(seed=3).table)


def test_a_test_part_that_is_given_stays_and_is_not_added_to():
    table = frame(["a", "b"] * 10, split=["test"] * 4 + ["train"] * 16)
    for seed in range(5):
        split = Catalog.from_table(table).split(valid=0.25, test=0.5, seed=seed).table["split"]
        assert (split[:4] == "test").all()
        assert split.value_counts().to_dict() == {"test": 4, "valid": 4, "train": 12}


def test_a_class_with_too_few_pictures_is_for_training_and_stops_nobody():
    table = frame(["cat"] * 9 + ["dog"])
    with pytest.warns(SplitWarning, match="'dog' has 1 picture"):
        assert Catalog.from_table(table).split().table["split"].iloc[-1] == "train"
    with pytest.raises(CatalogError, match=r"No picture can be had for validation.*3 pictures"):
        Catalog.from_table(frame(["cat", "cat", "dog"])).split()


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (0.2, float("nan"))])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(CatalogError, match=r"must be in \[0, 1\)"):
        Catalog.from_table(frame(["a", "b"] * 9)).split(*shares)


def test_a_label_that_occurs_once_is_for_training():
    labels = [("a",)] * 10 + [("b",)] * 10 + [("a", "b", "c")]
    with pytest.warns(SplitWarning, match="'c' has 1 picture"):
        split = Catalog.from_table(frame(labels)).split().table["split"]
    assert split.iloc[-1] == "train"
    for rows in (split[:10], split[10:20]):
        assert rows.value_counts()[["valid", "test"]].between(1, 2).all()


# Fingerprints, samples, scans


def test_a_fingerprint_changes_with_pictures_labels_and_parts_and_with_nothing_else(folder):
    catalog = Catalog.from_folder(folder)
    first = fingerprint(catalog)
    assert fingerprint(Catalog.from_folder(folder)) == first
    assert fingerprint(catalog.scan()) == first  # to look is no change
    others = {fingerprint(catalog.split(seed=seed)) for seed in range(2)}
    relabelled = catalog.table.replace({"label": {"cat": "lynx"}})
    others.add(fingerprint(Catalog.from_table(relabelled, root=folder)))
    os.utime(folder / "cat" / "0.png", (1, 1))
    others.add(fingerprint(catalog))
    (folder / "cat" / "0.png").unlink()
    others.add(fingerprint(catalog))
    assert len(others | {first}) == 6
    arrays = [Catalog.from_arrays(FOUR + 1, y) for y in ([0, 1, 0, 1], [0, 1, 1, 1])]
    arrays.append(Catalog.from_arrays(FOUR + 2, [0, 1, 0, 1]))
    assert len({fingerprint(each) for each in arrays}) == 3


def test_a_sample_keeps_the_same_few_of_each_class_and_their_pixels():
    x = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8) + 9
    catalog = Catalog.from_arrays(x, [0, 1] * 20)
    few = catalog.sample(per_class=4)
    assert few.summary()["pictures"].to_dict() == {"0": 4, "1": 4, "all": 8}
    for row, file in enumerate(few.table["file"]):
        assert (read_row(few, row) == int(file) + 9).all()
    assert few.table.equals(catalog.sample(per_class=4).table)
    assert not few.table.equals(catalog.sample(per_class=4, seed=1).table)


def test_a_sample_of_a_split_catalog_has_all_parts_in_their_proportion():
    catalog = Catalog.from_table(frame(["a", "b"] * 500)).split(0.25, 0.25)
    counts = catalog.sample(per_class=100).summary().loc["all"]
    assert counts.between([70, 30, 30], [130, 70, 70]).all() and counts.sum() == 200


def test_a_second_scan_replaces_the_first(folder):
    catalog = Catalog.from_folder(folder)
    strict = catalog.scan(Limits(min_side=8))
    assert len(strict.problems) == 24
    again = strict.scan()
    assert len(again.problems) == 0
    assert again.table.columns.is_unique


def test_a_catalog_of_many_classes_is_said_in_a_screenful():
    names = [f"class {number:03}" for number in range(200)]
    catalog = Catalog.from_arrays(np.zeros((200, 4, 4), np.uint8), names)
    for said in (repr(catalog), catalog._repr_html_()):
        assert "200 classes" in said and "class 000" in said and "class 199" in said
        assert "class 100" not in said and len(said.splitlines()) < 300
    assert len(repr(catalog).splitlines()) < 40


def test_a_saved_catalog_keeps_its_corrections_wherever_its_journal_is(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    fresh = Catalog.from_folder("pets", journal="own.jsonl")
    first, second, third = fresh.table["file"][:3]
    fresh.relabel(first, "dog").drop(second).save("pets.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    back = Catalog.load("../pets.csv")
    assert back.table.set_index("file").loc[first, "label"] == "dog"
    assert back.problems["file"].tolist() == [second] and len(back.history()) == 2
    back.drop(third)  # into the journal that it had
    assert len(Catalog.load("../pets.csv").problems) == 2 == len(back.undo().problems) + 1
    (tmp_path / "own.jsonl").rename(tmp_path / "gone.jsonl")
    with pytest.raises(JournalError, match=r"own.jsonl holds 0 corrections.* saved with 2"):
        Catalog.load("../pets.csv")


def test_a_catalog_is_saved_again_but_not_over_the_corrections_of_another(tmp_path):
    write_folder(tmp_path / "pets")
    catalog = Catalog.from_folder(tmp_path / "pets")
    first, second = catalog.table["file"][:2]
    catalog = catalog.drop(first)
    for _ in range(2):
        catalog.save(tmp_path / "a.csv")
    catalog.drop(second).save(tmp_path / "a.csv")
    Catalog.from_folder(tmp_path / "pets").drop(first).drop(second).save(tmp_path / "a.csv")
    with pytest.raises(JournalError, match="2 corrections that this catalog does not have"):
        Catalog.from_folder(tmp_path / "pets").save(tmp_path / "a.csv")
    assert len(Catalog.load(tmp_path / "a.csv").problems) == 2


def test_classes_that_look_the_same_are_told():
    frame = pd.DataFrame({"file": list("abcd"), "label": ["cat", "cat ", "Cat", "dog"]})
    with pytest.warns(UserWarning, match="differ in spaces or capitals only") as told:
        assert Catalog.from_table(frame).class_names == ("Cat", "cat", "cat ", "dog")
    assert len(told) == 2 and told[0].filename == __file__


def test_a_table_can_say_that_mirrored_pictures_show_something_else():
    frame = pd.DataFrame({"file": list("ab"), "label": ["left", "right"]})
    assert Catalog.from_table(frame).horizontal_flip
    assert not Catalog.from_table(frame, horizontal_flip=False).horizontal_flip


def test_in_memory_each_catalog_has_its_own_corrections(tmp_path):
    whole = Catalog.from_table(pd.DataFrame({"file": ["a", "b", "c"], "label": ["x", "y", "y"]}))
    one, other = whole.drop("a"), whole.relabel("b", "x")
    assert one.table["ok"].tolist() == [False, True, True]
    assert "ok" not in other.table and other.table["label"].tolist() == ["x", "x", "y"]
    assert [len(each.history()) for each in (whole, one, other)] == [0, 1, 1]
    assert one.undo().table["ok"].all() and len(one.history()) == 1
    with pytest.raises(CatalogError, match="nothing to undo"):
        whole.undo()
    kept = one.save(tmp_path / "kept.csv")
    both = kept.relabel("b", "x"), kept.restore("a")  # a journal in a file is one for all
    assert [len(each.history()) for each in (one, kept, *both)] == [1, 3, 3, 3]
    assert Catalog.load(tmp_path / "kept.csv").table["label"].tolist() == ["x", "x", "y"]


def test_lists_within_a_list_of_files_are_refused():
    whole = Catalog.from_arrays(np.zeros((4, 3, 3), np.uint8), [0, 1, 0, 1]).scan()
    groups = whole.duplicates()["files"]
    with pytest.raises(CatalogError, match=r"received lists of them, such as \['0', '1', '2'\]"):
        whole.drop(groups)
    assert not whole.drop(groups.explode()).table["ok"].any()
    assert whole.drop([2, 3]).table["ok"].tolist() == [True, True, False, False]
    with pytest.raises(CatalogError, match="no file '4'"):
        whole.drop(4)


def test_a_picture_is_read_by_row_or_by_name():
    pictures = np.arange(3, dtype=np.uint8).repeat(4).reshape(3, 2, 2)
    whole = Catalog.from_arrays(pictures, [0, 1, 0])
    for row in (2, -1, "2", np.int64(2)):
        assert (whole.read(row) == 2).all()
    for row in (3, -4, "3"):
        with pytest.raises(CatalogError, match="3"):
            whole.read(row)


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", None])
def test_a_sample_is_of_a_whole_number(count):
    whole = Catalog.from_arrays(np.zeros((4, 3, 3), np.uint8), [0, 1, 0, 1])
    with pytest.raises(CatalogError, match="per_class must be a whole number from 1"):
        whole.sample(count)


def test_a_sample_holds_no_picture_that_cannot_be_used():
    whole = Catalog.from_arrays(np.zeros((40, 3, 3), np.uint8), [0, 1] * 20)
    few = whole.drop([str(number) for number in range(0, 30)]).sample(5)
    assert len(few) == 10 and few.table["ok"].all()


def test_a_catalog_whose_folder_was_moved_says_so_and_finds_it_again(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(WHOLE_PNG)
    Catalog.from_folder(tmp_path / "pets").save(tmp_path / "pets.csv")
    with pytest.warns(UserWarning, match="never scanned"):
        assert not len(Catalog.load(tmp_path / "pets.csv").changed())
    (tmp_path / "pets").rename(tmp_path / "animals")
    with pytest.raises(CatalogError, match="pets is gone"):
        Catalog.load(tmp_path / "pets.csv").scan()
    found = Catalog.load(tmp_path / "pets.csv", root=tmp_path / "animals").scan()
    assert found.table["ok"].all() and not len(found.changed())


def test_a_save_that_is_refused_leaves_nothing_behind(tmp_path):
    whole = Catalog.from_table(pd.DataFrame({"file": ["a", "b"], "label": ["x", "y"]})).drop("a")
    (tmp_path / "folder.csv").mkdir()
    for path in ("new/pets.xlsx", "pets.json", "folder.csv"):
        with pytest.raises(OptionError, match=r"ends in \.csv or \.parquet"):
            whole.save(tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]
    kept = whole.save(tmp_path / "pets.csv").undo()
    with pytest.raises(JournalError, match="holds 1 correction that this catalog does not"):
        whole.save(tmp_path / "pets.csv")
    assert len(kept.save(tmp_path / "pets.csv").history()) == 1

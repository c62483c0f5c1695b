"""Sources: folders, links, odd names, file names, tables and arrays; what is lost is said."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.arrays import array_labels, pixels
from imgrec.core import (
    CatalogError,
    DataError,
    ImageFolderError,
    MissingFileError,
    OptionError,
)
from imgrec.labels import label_column, label_of, list_files, part_column
from imgrec.sources import class_order, list_folder, text_column, walk_folder
from imgrec.tables import list_table, read_table

NAMES = ("cat/1.png", "cat/2.png", "dog/1.png")


def fill(root, *names):
    "Empty files with these names below a folder."
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def pets(tmp_path):
    "A folder of two classes."
    return fill(tmp_path / "pets", *NAMES)


def told(listing):
    "Problems as a dictionary."
    return dict(listing.problems[["file", "reason"]].itertuples(index=False))


def shown(listing):
    "Labels by file."
    return dict(listing.table[["file", "label"]].itertuples(index=False))


# Folders


def test_every_name_is_either_a_picture_or_a_problem(pets):
    fill(pets, ".DS_Store", "cat/._1.png", "cat/Thumbs.db", "notes.txt", "__MACOSX/cat/1.png")
    fill(pets, "cat/.ipynb_checkpoints/1.png", "dog/deep/deeper/2 [x].jpg", "dog/no ending")
    listing = list_folder(pets)
    assert set(told(listing)) == {
        ".DS_Store", "cat/._1.png", "cat/Thumbs.db", "notes.txt", "__MACOSX",
        "cat/.ipynb_checkpoints",
    }  # fmt: skip
    assert shown(listing)["dog/deep/deeper/2 [x].jpg"] == shown(listing)["dog/no ending"] == "dog"
    assert told(listing)["notes.txt"] == "in no class folder"
    assert listing.problems["done"].unique().tolist() == ["left out"]
    assert listing.table["file"].tolist() == sorted(listing.table["file"])
    assert repr(listing) == "Listing: 5 pictures, 2 classes, 6 left out (see .problems)"


def test_links_are_followed_inside_once_and_end(pets, tmp_path):
    fill(tmp_path / "elsewhere", "secret.png", "album/3.png")
    (pets / "dog" / "same.png").symlink_to(pets / "cat" / "1.png")
    (pets / "aaa").symlink_to(pets / "cat")  # comes before the folder, and gives way to it
    (pets / "cat" / "up").symlink_to("..")
    (pets / "cat" / "secret.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (pets / "cat" / "album").symlink_to(tmp_path / "elsewhere" / "album")
    (pets / "cat" / "gone.png").symlink_to(pets / "nowhere")
    (pets / "cat" / "loop.png").symlink_to("loop.png")
    listing = list_folder(pets)
    assert set(shown(listing)) == {*NAMES, "cat/gone.png", "cat/loop.png"}  # a scan tells why
    outside = {"cat/secret.png", "cat/album"}
    assert told(listing) == {
        "dog/same.png": "same file as cat/1.png",
        "aaa": "same folder as cat",
        "cat/up": f"same folder as {pets}",
        **{name: f"link leaves the folder: {os.path.realpath(pets / name)}" for name in outside},
    }
    free = list_folder(pets, outside=True)
    assert set(shown(free)) - set(shown(listing)) == {"cat/album/3.png", "cat/secret.png"}


def test_files_kept_in_a_hidden_store_are_reached_by_their_links(pets):
    fill(pets, ".store/aa/1", ".store/bb/2")
    (pets / "cat" / "3.png").symlink_to("../.store/aa/1")
    (pets / "dog" / "3.png").symlink_to("../.store/aa/1")
    (pets / "dog" / "more").symlink_to("../.store/bb")
    listing = list_folder(pets)
    assert set(shown(listing)) == {*NAMES, "cat/3.png", "dog/more/2"}
    assert told(listing)["dog/3.png"] == "same file as cat/3.png"


def test_a_parent_of_the_folder_may_be_linked_and_its_own_files_come_once(pets):
    fill(pets.parent, "bird/1.png")
    (pets / "zoo").symlink_to(pets.parent)
    listing = list_folder(pets, outside=True)
    assert set(shown(listing)) == {*NAMES, "zoo/bird/1.png"}
    assert told(listing) == {"zoo/pets": f"same folder as {pets}"}


@pytest.mark.parametrize("rule", ["top", "parent", "path"])
def test_the_rule_for_the_class_is_as_said(tmp_path, rule):
    root = fill(tmp_path, "a/b/1.png", "a/2.png", "c/b/3.png")
    expected = {
        "top": ["a", "a", "c"],
        "parent": ["a", "b", "b"],
        "path": ["a", "a/b", "c/b"],
    }[rule]
    assert list_folder(root, label=rule).table["label"].tolist() == expected
    with pytest.raises(OptionError, match="Did you mean"):
        list_folder(root, label=rule + "s")


def test_parts_are_taken_only_when_asked_for(tmp_path):
    root = fill(tmp_path, "Train/cat/1.png", "Train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    with pytest.raises(ImageFolderError, match="split_folders=True"):
        list_folder(root)
    listing = list_folder(root, split_folders=True)
    assert listing.class_names == ("cat", "dog")
    assert listing.table["split"].tolist() == ["train", "train", "valid", "valid"]
    fill(root, "Train/loose.png", "extra/cat/5.png")
    with pytest.raises(ImageFolderError, match="received extra"):
        list_folder(root, split_folders=True)
    assert list_folder(root).class_names == ("Train", "extra", "val")  # said by nobody to be parts


def test_an_empty_class_is_an_error_that_says_what_lies_there(pets, tmp_path):
    (pets / "emu" / "deep").mkdir(parents=True)
    with pytest.raises(ImageFolderError, match=r"'emu' has no pictures.*the folder is empty"):
        list_folder(pets)
    with pytest.raises(ImageFolderError, match="'deep' has no pictures"):
        list_folder(pets, label="parent")
    fill(pets, "emu/deep/.hidden.png")
    with pytest.raises(ImageFolderError, match=r"emu/deep/.hidden.png was left out \(hidden"):
        list_folder(pets)
    assert list_folder(pets, allow_empty=True).class_names == ("cat", "dog", "emu")
    (pets / "emu" / "deep" / ".hidden.png").rename(tmp_path / "x")
    (pets / "emu" / "deep").rmdir()
    (pets / "emu").rmdir()
    (pets / "emu").symlink_to(fill(tmp_path / "store", "1.png"))
    with pytest.raises(ImageFolderError, match=r"'emu' has no pictures.*link leaves the folder"):
        list_folder(pets)
    assert list_folder(pets, outside=True).class_names == ("cat", "dog", "emu")


def test_a_part_without_pictures_is_an_error(tmp_path):
    root = fill(tmp_path, "train/cat/1.png", "train/dog/1.png")
    (root / "test").mkdir()
    with pytest.raises(ImageFolderError, match="'test' has no pictures"):
        list_folder(root, split_folders=True)
    (root / "test" / "dog").mkdir()
    with pytest.raises(ImageFolderError, match=r"'dog' has no pictures.*test/dog"):
        list_folder(root, split_folders=True)
    (root / "valid").mkdir()
    listing = list_folder(root, split_folders=True, allow_empty=True)
    assert listing.class_names == ("cat", "dog") and len(listing.table) == 2


def test_class_names_give_the_order_and_must_have_folders(pets):
    assert list_folder(pets, class_names=["dog", "cat"]).class_names == ("dog", "cat")
    with pytest.raises(CatalogError, match=r"\['dog'\]"):
        list_folder(pets, class_names=["cat"])
    with pytest.raises(CatalogError, match="'eel', and no folder"):
        list_folder(pets, class_names=["cat", "dog", "eel"])
    assert (
        list_folder(pets, class_names=["eel", "dog", "cat"], allow_empty=True).class_names[0]
        == "eel"
    )
    assert class_order(["b", "a"]) == ("a", "b")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_of_any_bytes_come_through(tmp_path):
    names = [b"caf\xe9", b"two\nlines", "\N{GRINNING FACE} [x]".encode(), b" blank ", b"\xff\xfe"]
    for name in names:
        folder = tmp_path / os.fsdecode(name)
        try:
            fill(tmp_path, f"{os.fsdecode(name)}/{os.fsdecode(name)}*.png")
        except OSError as error:
            pytest.skip(f"this file system refuses {name!r}: {error}")
        (folder / "again").symlink_to(f"{os.fsdecode(name)}*.png")
    listing = list_folder(tmp_path)
    assert listing.class_names == tuple(sorted(map(os.fsdecode, names)))
    assert all((tmp_path / file).exists() for file in listing.table["file"])
    assert set(told(listing).values()) == {f"same file as {file}" for file in shown(listing)}
    frame = pd.DataFrame({"file": listing.table["file"], "label": listing.table["label"]})
    assert shown(list_table(frame, root=tmp_path)) == shown(listing)
    assert shown(list_files(tmp_path, lambda name: name.split("/")[0])) == shown(listing)


def test_any_text_is_a_column():
    words = ["\udcff", "a", None, ""]
    assert [None if pd.isna(word) else word for word in text_column(words)] == words


# File names


def test_groups_of_the_pattern_become_columns(tmp_path):
    root = fill(tmp_path, "deep/cat_p1_val.jpg", "dog_p2_train.jpg", "dog_p3_train.jpg", "list.txt")
    listing = list_files(root, r"(.*/)?(?P<label>[a-z]+)_(?P<patient>p\d)_(?P<split>\w+)\.jpg")
    assert listing.table.to_dict("list") == {
        "file": ["deep/cat_p1_val.jpg", "dog_p2_train.jpg", "dog_p3_train.jpg"],
        "label": ["cat", "dog", "dog"],
        "patient": ["p1", "p2", "p3"],
        "split": ["valid", "train", "train"],
    }
    assert told(listing) == {"list.txt": "no label in its name"}
    several = list_files(root, lambda name: name.split("_")[:2] if "_" in name else None)
    assert several.multi_label and several.table["label"][1] == ("dog", "p2")


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        (r"(?P<label>cat", OptionError, "not a regular expression"),
        (r"(cat|dog).*", OptionError, "no group named label"),
        (r"(?P<label>cat)(?P<width>.*)", OptionError, "'width' cannot be kept"),
        (r"(?P<label>cat)", ImageFolderError, "received 'cat1.png', 'dog1.png'"),
        (lambda name: None, ImageFolderError, "No file in"),
        (lambda name: name[99], CatalogError, "fails for 'cat1.png': IndexError"),
    ],
)
def test_rules_that_do_not_work_are_told(tmp_path, rule, error, words):
    fill(tmp_path, "cat1.png", "dog1.png")
    with pytest.raises(error, match=words):
        list_files(tmp_path, rule)


# Tables


def frame(*rows, columns=("file", "label")):
    "A table from rows."
    return pd.DataFrame(list(rows), columns=list(columns))


def test_files_are_looked_for_only_with_a_root(pets, tmp_path):
    rows = frame(("cat/1.png", "cat"), ("./dog//1.png", "dog"), ("dog/lost.png", "dog"))
    assert len(list_table(rows).table) == 3
    listing = list_table(rows, root=pets)
    assert shown(listing) == {"cat/1.png": "cat", "dog/1.png": "dog"}
    assert told(listing) == {"dog/lost.png": "missing"}
    with pytest.raises(CatalogError, match=r"None of the 3 files.*is it the right folder"):
        list_table(rows, root=tmp_path)
    with pytest.raises(CatalogError, match="'emu' has no picture left: of 1 listed none"):
        list_table(frame(*rows.to_numpy(), ("emu.png", "emu")), root=pets)
    windows = frame(("cat\\1.png", "cat"), ("dog\\1.png", "dog"))
    if os.sep == "/":
        with pytest.raises(CatalogError, match=r"have \\ where / is expected"):
            list_table(windows, root=pets)


def test_paths_outside_of_the_root_are_refused_unless_allowed(pets, tmp_path):
    fill(tmp_path, "x.png")
    inside = frame((str(pets / "cat" / "1.png"), "cat"), ("dog/../dog/1.png", "dog"))
    assert set(shown(list_table(inside, root=pets))) == {"cat/1.png", "dog/1.png"}
    for name in ("../x.png", "cat/../../x.png", str(tmp_path / "x.png"), ".."):
        rows = frame(("cat/1.png", "cat"), (name, "dog"))
        with pytest.raises(CatalogError, match=r"Row 1 has .* outside of"):
            list_table(rows, root=pets)
    rows = frame(("cat/1.png", "cat"), ("../x.png", "dog"), (str(tmp_path / "x.png"), "dog"))
    listing = list_table(rows, root=pets, outside=True)
    assert set(shown(listing)) == {"cat/1.png", "../x.png"}
    assert list(told(listing).values()) == ["same file as ../x.png"]


def test_links_in_a_table_follow_the_rules_of_folders(pets, tmp_path):
    fill(tmp_path, "x.png")
    (pets / "cat" / "out.png").symlink_to(tmp_path / "x.png")
    (pets / "cat" / "same.png").symlink_to("1.png")
    (pets / "pups").symlink_to("dog")
    (pets / "cat" / "gone.png").symlink_to("nowhere")
    names = ["cat/1.png", "cat/out.png", "cat/same.png", "cat/gone.png", "dog/1.png", "pups/1.png"]
    listing = list_table(
        frame(*((name, name[:3]) for name in names[:5]), (names[5], "dog")), root=pets
    )
    assert set(shown(listing)) == {"cat/1.png", "dog/1.png"}
    assert [why.split(":")[0] for why in told(listing).values()] == [
        "missing", "link leaves the folder", "same file as cat/1.png", "same file as dog/1.png",
    ]  # fmt: skip


def test_a_file_given_twice_is_dropped_once_or_refused():
    rows = frame(("a", "cat"), ("b", "dog"), ("./a", "cat"))
    assert told(list_table(rows)) == {"a": "listed twice"}
    assert len(list_table(rows).table) == 2
    with pytest.raises(
        CatalogError, match="first 'a': its label is 'cat' in row 7 and 'dog' in row 9"
    ):
        list_table(frame(("a", "cat"), ("b", "x"), ("a", "dog")).set_index(pd.Index([7, 8, 9])))
    with pytest.raises(CatalogError, match="its split is 'train' in row 0 and 'test' in row 1"):
        list_table(frame(("a", "cat"), ("a", "cat")).assign(split=["train", "test"]))
    with pytest.raises(CatalogError, match="its patient is 1 in row 0 and 2 in row 1"):
        list_table(frame(("a", "cat"), ("a", "cat")).assign(patient=[1, 2]), keep=["patient"])


def test_missing_labels_are_an_error_or_dropped_or_none_of_the_classes():
    for nothing in (None, float("nan"), pd.NA, "", ["cat", None]):
        rows = pd.DataFrame({"file": ["a", "b", "c"], "label": ["cat", nothing, "dog"]})
        with pytest.raises(CatalogError, match="Row 1 has no label"):
            list_table(rows)
        dropped = list_table(rows, missing="drop")
        assert dropped.table["label"].tolist() == ["cat", "dog"]
        assert told(dropped) == {"b": "no label"}
        none = list_table(rows, missing="none")
        assert none.table["label"].tolist() == [("cat",), (), ("dog",)]
    with pytest.raises(OptionError, match="missing labels 'ignore'"):
        list_table(rows, missing="ignore")


def test_numbers_keep_their_names_beside_missing_ones():
    rows = pd.DataFrame({"file": list("abc"), "label": [1, None, 0]})
    assert list_table(rows, missing="drop").table["label"].tolist() == ["1", "0"]


def test_several_labels_come_by_separator_or_list_or_columns_and_mean_the_same():
    expected = [("ball", "dog"), ("cat",), ()]
    files = pd.DataFrame({"file": list("abc")})
    cells = files.assign(label=["dog; ball", "cat;", " ; "])
    lists = files.assign(label=[["dog", "ball", "dog"], ("cat",), np.array([], dtype=str)])
    flags = files.assign(ball=[1, 0, 0], cat=["0", "1", "0"], dog=[True, False, False])
    for listing in (
        list_table(cells, separator=";", missing="none"),
        list_table(lists),
        list_table(flags, label=["ball", "cat", "dog"]),
    ):
        assert listing.multi_label and listing.table["label"].tolist() == expected
        assert listing.class_names == ("ball", "cat", "dog")
    assert list_table(flags, label=["dog", "cat", "ball"]).class_names == ("dog", "cat", "ball")
    single = list_table(flags.head(2), label=["cat", "dog"])
    assert single.table["label"].tolist() == ["dog", "cat"] and not single.multi_label


@pytest.mark.parametrize("value", [2, "yes", -1, 0.5])
def test_columns_of_0_and_1_hold_nothing_else(value):
    rows = pd.DataFrame({"file": ["a", "b"], "cat": [1, 0], "dog": [0, value]})
    with pytest.raises(CatalogError, match=r"'dog' must say 0 or 1.* in row 1"):
        list_table(rows, label=["cat", "dog"])
    rows["dog"] = [0, None]
    with pytest.raises(CatalogError, match="Row 1 has no label"):
        list_table(rows, label=["cat", "dog"])
    assert list_table(rows, label=["cat", "dog"], missing="drop").table["label"].tolist() == ["cat"]


def test_further_columns_are_kept_by_name_or_all():
    rows = frame(
        ("a", "cat", 3, "x"), ("b", "dog", 4, "y"), columns=("file", "label", "age", "who")
    )
    assert list(list_table(rows).table) == ["file", "label"]
    assert list_table(rows, keep=["age"]).table["age"].tolist() == [3, 4]
    everything = list_table(rows.assign(split=["validation", "TEST"]), keep=None).table
    assert list(everything) == ["file", "label", "age", "who", "split"]
    assert everything["split"].tolist() == ["valid", "test"]
    with pytest.raises(CatalogError, match=r"no column 'size'. It has: file, label, age, who"):
        list_table(rows, keep=["size"])
    with pytest.raises(OptionError, match="'width' cannot be kept"):
        list_table(rows.assign(width=1), keep=None)
    with pytest.raises(CatalogError, match=r"received \['', 'dev'\]"):
        part_column(["train", "dev", None])


def test_tables_of_other_kinds_are_read(tmp_path):
    (tmp_path / "a.tsv").write_text("file\tlabel\n001\tNA\n")
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbffile,label\n001,NA\n")
    for name in ("a.tsv", "bom.csv"):
        assert read_table(tmp_path / name).to_dict("list") == {"file": ["001"], "label": ["NA"]}
    (tmp_path / "odd.csv").write_bytes(b"file,label\ncaf\xe9.jpg,cat\n")
    assert os.fsencode(read_table(tmp_path / "odd.csv")["file"].iloc[0]) == b"caf\xe9.jpg"
    (tmp_path / "german.csv").write_text("file;label\na;cat\n")
    with pytest.raises(CatalogError, match=r"has: file;label. Is its separator another"):
        list_table(read_table(tmp_path / "german.csv"))
    (tmp_path / "utf16.csv").write_bytes("file,label\n".encode("utf-16"))
    with pytest.raises(CatalogError, match="UTF-16"):
        read_table(tmp_path / "utf16.csv")
    with pytest.raises(MissingFileError, match="does not exist"):
        read_table(tmp_path / "no.parquet")


def test_parquet_keeps_lists_of_labels(tmp_path):
    rows = pd.DataFrame({"file": ["a", "b"], "label": [["dog", "cat"], []]})
    rows.to_parquet(tmp_path / "a.parquet")
    assert list_table(read_table(tmp_path / "a.parquet")).table["label"].tolist() == [
        ("cat", "dog"),
        (),
    ]
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(CatalogError, match="not a table in Parquet"):
        read_table(tmp_path / "b.parquet")


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)


@settings(max_examples=60)
@given(st.lists(st.one_of(words, st.lists(words, max_size=3)), max_size=8))
def test_label_columns_hold_one_form_and_equal_labels_once(values):
    labels = [label_of(value) for value in values]
    column = label_column(labels).tolist()
    assert len({type(label) for label in column}) <= 1
    for label, made in zip(labels, column, strict=True):
        assert made == label or made == (label,)
    tuples = [label for label in column if isinstance(label, tuple)]
    assert len({id(label) for label in tuples}) == len(set(tuples))


# Arrays


def test_shapes_that_are_nearly_right_are_told_how_to_mend_them():
    with pytest.raises(DataError, match=r"on white: x\[\.\.\., :3\]"):
        pixels(np.zeros((2, 5, 5, 4), np.uint8))
    with pytest.raises(DataError, match=r"np.moveaxis\(x, 1, -1\)"):
        pixels(np.zeros((2, 3, 5, 5), np.uint8))
    assert pixels(np.full((2, 5, 5), 255.0)).shape == (2, 5, 5, 1)


def test_sets_of_labels_are_sorted_whatever_the_order_of_the_classes():
    labels, names = array_labels([[1, 1], [0, 1]], ["dog", "cat"])
    assert labels == [("cat", "dog"), ("cat",)] and names == ["dog", "cat"]
    with pytest.raises(CatalogError, match="Row 1 has no label"):
        array_labels(["cat", None], None)


# Speed is linear: the same work twice takes not much more than twice the calls


def test_a_listing_reads_each_folder_once(pets, monkeypatch):
    seen = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: seen.append(str(place)) or scandir(place))
    (pets / "dog" / "cats").symlink_to(pets / "cat")
    walk_folder(pets)
    assert sorted(seen) == sorted({str(pets), str(pets / "cat"), str(pets / "dog")})


def test_rows_of_a_table_are_counted_as_a_spreadsheet_does(tmp_path):
    lines = ["file,label", "a.jpg,cat", "", '"b\nc.jpg",', ",", "d.jpg,dog", "e.jpg,"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n\n")
    table = read_table(tmp_path / "a.csv")
    assert table.index.tolist() == [2, 4, 6, 7]
    with pytest.raises(CatalogError, match="Row 4 has no label, and 1 more"):
        list_table(table)
    with pytest.raises(CatalogError, match="Row 4 has no file in column 'file', and 2 more"):
        list_table(table.assign(file=["a.jpg", "", None, ""]))
    away = table.assign(file=["a", "../b", "c", "/d"], label="cat")
    with pytest.raises(CatalogError, match=r"Row 4 has '\.\./b', which .*, and 1 more\. Expected"):
        list_table(away)
    flags = table.assign(label=["1", "x", "0", "2"])
    with pytest.raises(CatalogError, match="received 'x' in row 4, and 1 more"):
        list_table(flags, label=["label"])


def test_a_link_that_leads_nowhere_is_told_from_one_that_leaves(tmp_path):
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").write_bytes(b"1")
    (tmp_path / "away.jpg").write_bytes(b"2")
    (folder / "cat" / "away.jpg").symlink_to(tmp_path / "away.jpg")
    (folder / "cat" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    reasons = list_folder(folder).problems.set_index("file")["reason"]
    assert reasons["cat/away.jpg"] == f"link leaves the folder: {tmp_path / 'away.jpg'}"
    assert reasons["cat/gone.jpg"] == f"link leads nowhere: {tmp_path / 'gone.jpg'}"


def test_commas_and_lines_that_spreadsheets_leave_behind_are_no_error(tmp_path):
    (tmp_path / "a.csv").write_text("\n\nfile, label\n1.jpg, a,\n2.jpg,b,\n")
    table = read_table(tmp_path / "a.csv")
    assert table.to_dict("list") == {"file": ["1.jpg", "2.jpg"], "label": ["a", "b"]}
    assert table.index.tolist() == [4, 5]
    (tmp_path / "b.csv").write_text("file,label\na,b.jpg,cat\n")
    with pytest.raises(CatalogError, match="a row has 3 fields, and there are 2 names"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(CatalogError, match="Expected a DataFrame or a path, received int"):
        list_table(3)


def test_pictures_beside_an_empty_folder_are_counted(tmp_path):
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "pets" / f"{number}.jpg").write_bytes(b"1")
    with pytest.raises(ImageFolderError, match="3 files lie beside them"):
        list_folder(tmp_path / "pets", allow_empty=True)

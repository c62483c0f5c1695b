"""Batches: the right pixels with the right labels, by number, from one table that all share."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from oddities import WHOLE_PNG, write_folder, write_oddities
from PIL import Image

from imgrec import batches
from imgrec.augment import Augment
from imgrec.batches import Part, numbered_steps
from imgrec.catalog import Catalog
from imgrec.core import CatalogError, DataError, ImageSpec, ImgrecError, OptionError, SpecError
from imgrec.data import as_splits, from_datasets, load
from imgrec.images import Limits

CLASSES = ("cat", "dog", "fox")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "Three classes of eight pictures; the cache is a folder beside them."
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path / "cache"))
    return write_folder(tmp_path / "pets", CLASSES)


@pytest.fixture
def catalog(folder):
    "The folder, divided 4 : 2 : 2 in each class."
    return Catalog.from_folder(folder).split(0.25, 0.25)


def numbered(count=12, classes=3, size=4):
    "Pictures in memory, each of a shade that is its number."
    shades = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((size, size), np.uint8)
    return Catalog.from_arrays(shades + 1, np.arange(count) % classes)


def everything(dataset):
    "All pixels and all labels of a dataset."
    pairs = [(x.numpy(), y.numpy()) for x, y in dataset]
    return tuple(np.concatenate(parts) for parts in zip(*pairs, strict=True))


def files_of(splits):
    "Every file that is used in some part."
    parts = ("train", "valid", "test")
    return [file for part in parts for file in splits.ordered(part).file_paths]


# What comes out


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_files_pixels_and_labels_belong_together(catalog, part):
    ordered = load(catalog, image_size=8, batch_size=5).ordered(part)
    x, y = everything(ordered)
    assert len(x) == len(ordered.file_paths) == {"train": 12, "valid": 6, "test": 6}[part]
    for picture, label, file in zip(x, y, ordered.file_paths, strict=True):
        name, number = Path(file).parent.name, int(Path(file).stem)
        assert CLASSES[label.argmax()] == name and label.sum() == 1
        assert picture[4, 4].tolist() == [60 + 60 * CLASSES.index(name), 5 * number, 90]
    again = catalog.table["file"][catalog.table["split"] == part].tolist()
    assert ordered.file_paths == again


def test_validation_and_test_carry_what_keras_gives_and_stay_in_order(catalog):
    splits = load(catalog, image_size=8, batch_size=4)
    for part in (splits.valid, splits.test):
        assert part.class_names == list(CLASSES) and not part.shuffled
        first, second = everything(part), everything(part)
        assert (first[0] == second[0]).all() and (first[1] == second[1]).all()
    assert splits.train.shuffled and not hasattr(splits.train, "file_paths")
    assert splits.valid.element_spec[0].shape.as_list() == [None, 8, 8, 3]
    assert splits.valid.element_spec[0].dtype == tf.float32
    assert [len(x) for x, _ in splits.valid] == [4, 2]
    assert splits.steps_per_epoch == 3 == len(list(splits.train))


@pytest.mark.parametrize(
    ("mode", "classes", "dtype", "shape"),
    [
        ("binary", 2, np.float32, (6, 1)),
        ("categorical", 2, np.float32, (6, 2)),
        ("categorical", 3, np.float32, (6, 3)),
        ("int", 3, np.int32, (6,)),
        ("multi_label", 3, np.float32, (6, 3)),
    ],
)
def test_labels_have_the_form_that_the_mode_says(mode, classes, dtype, shape):
    arrays = numbered(12, classes)
    arrays.table["split"] = ["valid", "valid", "valid", "train", "train", "train"] * 2
    splits = load(arrays, label_mode=mode)
    x, y = everything(splits.valid)
    assert (y.dtype, y.shape, splits.spec.label_mode) == (dtype, shape, mode)
    expected = (x[:, 0, 0, 0].astype(int) - 1) % classes
    wide = y if y.ndim == 2 and y.shape[1] > 1 else np.eye(classes)[y.astype(int).ravel()]
    assert wide.argmax(axis=1).tolist() == expected.tolist()


def test_the_mode_follows_from_the_catalog():
    for catalog, mode in [
        (numbered(12, 2), "binary"),
        (numbered(12, 3), "categorical"),
        (Catalog.from_arrays(np.full((9, 4, 4), 9), [[1, 1], [0, 1], [0, 0]] * 3), "multi_label"),
    ]:
        assert load(catalog.split()).spec.label_mode == mode


def test_several_labels_do_not_fit_a_mode_for_one():
    several = Catalog.from_arrays(np.full((9, 4, 4), 9), [[1, 1], [0, 1], [1, 0]] * 3).split()
    for mode in ("binary", "categorical", "int"):
        with pytest.raises(DataError, match=f"'{mode}' needs one label a picture"):
            load(several, label_mode=mode)
    with pytest.raises(SpecError, match="two classes, received 3"):
        load(numbered().split(), label_mode="binary")


def test_the_order_of_the_classes_is_that_of_the_catalog(folder):
    table = Catalog.from_folder(folder).table
    names = ["fox", "cat", "dog"]
    catalog = Catalog.from_table(table, root=folder, class_names=names).split()
    valid = load(catalog, image_size=8).valid
    assert valid.class_names == names
    labels = [names[row.argmax()] for row in everything(valid)[1]]
    assert labels == [Path(file).parent.name for file in valid.file_paths]


def test_grey_and_colour_sizes_and_proportions_are_as_asked(folder):
    catalog = Catalog.from_folder(folder).split()
    assert load(catalog).spec.shape == (64, 64, 3)
    assert next(iter(load(catalog, (6, 5), channels=1).train))[0].shape[1:] == (6, 5, 1)
    padded = everything(load(catalog, 9, resize="pad").valid)[0]
    assert (padded[:, 0] == 0).all() and (padded[:, 4] > 0).any()  # 9 x 7 in 9 x 9
    assert load(numbered(size=5).split()).spec.shape == (5, 5, 1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"batch_size": 0}, DataError, "batch_size must be a whole number from 1, received 0"),
        ({"batch_size": 2.5}, DataError, "batch_size"),
        ({"image_size": 0}, DataError, "image_size must be a whole number from 1"),
        ({"image_size": "8"}, DataError, r"image_size must be a number or \(height, width\)"),
        ({"image_size": (8, 8, 3)}, DataError, "image_size"),
        ({"seed": None}, DataError, "seed must be a whole number from 0, received None"),
        ({"label_mode": "catgorical"}, SpecError, "Did you mean 'categorical'"),
        ({"channels": 4}, SpecError, "channels"),
        ({"resize": "squash"}, OptionError, "squash"),
        ({"augment": "lite"}, OptionError, "Did you mean 'light'"),
    ],
)
def test_an_impossible_option_says_what_is_wrong(options, error, words):
    with pytest.raises(error, match=words):
        load(numbered().split(), **options)


def test_a_catalog_must_be_split_and_keep_a_picture_for_training():
    with pytest.raises(CatalogError, match="not split"):
        load(numbered())
    arrays = numbered()
    arrays.table["split"] = "valid"
    with pytest.raises(CatalogError, match="No picture of the training part"):
        load(arrays)
    arrays.table["split"] = "train"
    splits = load(arrays)
    assert splits.valid is None and splits.test is None and "valid: none" in repr(splits)
    with pytest.raises(OptionError, match="Did you mean 'train'"):
        splits.ordered("trian")


def test_settings_are_json_and_open_the_same_data_again(catalog):
    splits = load(catalog, np.int64(8), np.int64(5), {"zoom": 0.1}, seed=np.int64(3))
    settings = json.loads(json.dumps(splits.settings))
    again = load(catalog, **settings)
    assert again.spec == splits.spec and again.settings == splits.settings
    assert (everything(again.train)[0] == everything(splits.train)[0]).all()


def test_reopening_changes_what_is_asked_and_nothing_else(catalog):
    splits = load(catalog, 8, batch_size=5, augment="none")
    other = splits.with_options(batch_size=2, augment="strong")
    assert other.settings == splits.settings | {"batch_size": 2, "augment": "strong"}
    assert other.packed is splits.packed
    assert (everything(other.valid)[0] == everything(splits.valid)[0]).all()
    larger = splits.with_options(image_size=(10, 12))
    assert larger.settings == splits.settings | {"image_size": [10, 12]}
    assert larger.valid.file_paths == splits.valid.file_paths
    assert splits.with_options() is splits
    balanced = splits.with_options(balance=True, seed=3)
    assert balanced.settings == splits.settings | {"balance": True, "seed": 3}
    assert balanced.packed is splits.packed
    cropped = splits.with_options(resize="crop")
    assert cropped.settings == splits.settings | {"resize": "crop"}
    assert cropped.packed is not splits.packed
    with pytest.raises(DataError, match="balance must be True or False"):
        splits.with_options(balance="yes")
    with pytest.raises(DataError, match="batch_size"):
        splits.with_options(batch_size=-1)


# Order


def shades(splits, passes):
    "The shades that some passes over the training part go through, in their order."
    return [everything(splits.train)[0][:, 0, 0, 0].tolist() for _ in range(passes)]


def test_every_pass_has_all_pictures_in_another_order_and_the_seed_decides_which():
    catalog = numbered(40)
    catalog.table["split"] = "train"
    passes = shades(load(catalog, batch_size=7, augment="none"), 4)
    assert all(sorted(each) == list(range(1, 41)) for each in passes)
    assert len({tuple(each) for each in passes}) == 4
    assert shades(load(catalog, batch_size=7, augment="none"), 4) == passes
    assert shades(load(catalog, batch_size=7, augment="none", seed=1), 1)[0] not in passes


def test_augmentation_differs_from_pass_to_pass_and_repeats_with_the_seed():
    catalog = numbered(6, size=6)
    catalog.arrays[...] = np.random.default_rng(0).integers(0, 255, catalog.arrays.shape)
    catalog.table["split"] = "train"
    first, second = (
        everything(one)[0].sum() for one in [load(catalog, augment="strong").train] * 2
    )
    assert first != second
    assert first == everything(load(catalog, augment="strong").train)[0].sum()


def test_batches_by_number_are_the_same_whenever_they_are_asked_for():
    options = {"batch_size": 4, "augment": "medium", "seed": 5}
    run = list(load(numbered(20).split(), **options).training_steps(0, 9))  # four an epoch
    later = load(numbered(20).split(), **options)
    for start, stop in [(2, 3), (3, 9)]:
        again = list(later.training_steps(start, stop))
        for (x, y), (x0, y0) in zip(again, run[start:stop], strict=True):
            assert (x.numpy() == x0.numpy()).all() and (y.numpy() == y0.numpy()).all()
    assert [len(x) for x, _ in run[:4]] == [4, 4, 4, 2]


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (1, 9), (2, 1), (7, 7), (9, 4), (33, 8)])
def test_an_epoch_by_number_holds_every_picture_once(count, batch):
    part = Part(
        tf.zeros((count, 1, 1, 1), tf.uint8),
        tf.range(count),
        tf.range(count, dtype=tf.int64),
        batch,
    )
    steps = numbered_steps(part, ImageSpec(1, 1, 1), Augment(), 0)(0, 3 * part.steps)
    labels = [number for _, y in steps for number in y.numpy()]
    epochs = [labels[start : start + count] for start in range(0, 3 * count, count)]
    assert len(labels) == 3 * count and all(sorted(each) == list(range(count)) for each in epochs)
    if count > 6:
        assert len({tuple(order) for order in [*epochs, range(count)]}) == 4


def test_what_makes_a_batch_is_traced_once_for_all_trainings(monkeypatch):
    traced, make = [], batches._training_batch
    monkeypatch.setattr(batches, "_training_batch", lambda *a: traced.append(1) or make(*a))
    catalog = Catalog.from_arrays(np.zeros((40, 8, 8, 3), np.uint8), [0, 1] * 20)
    splits = load(catalog.split(valid=0.2, test=0), batch_size=8, augment="medium")
    traced.clear()  # `load` has made one pass for `splits.train`
    whole = [x.numpy() for x, _ in splits.training_steps(0, 8)]
    later = [x.numpy() for x, _ in splits.training_steps(3, 8)]
    assert len(traced) == 1
    assert all((x == y).all() for x, y in zip(whole[3:], later, strict=True))
    other = splits.with_options(seed=1).training_steps(0, 8)
    assert len(traced) > 1 and not all(
        (x == y.numpy()).all() for x, (y, _) in zip(whole, other, strict=True)
    )


def test_a_set_that_must_not_be_mirrored_never_is():
    arrow = np.zeros((8, 9, 9), np.uint8)
    arrow[:, :, :3] = 250
    for flip in (True, False):
        catalog = Catalog.from_arrays(arrow, [0, 1] * 4, horizontal_flip=flip)
        catalog.table["split"] = "train"
        train = load(catalog, augment={"horizontal_flip": True}).train
        mirrored = [(everything(train)[0][:, 4, 8] > 200).any() for _ in range(3)]
        assert any(mirrored) is flip


# Bad pictures


def test_bad_pictures_are_set_aside_with_their_reasons_and_the_rest_goes_on(folder, capsys):
    catalog = Catalog.from_folder(folder).split(0.25, 0.25)
    bad = catalog.table["file"][[0, 9, 17]].tolist()
    (folder / bad[0]).write_bytes(WHOLE_PNG[:-30])
    (folder / bad[1]).write_text("no picture")
    (folder / bad[2]).unlink()
    splits = load(catalog, image_size=8, batch_size=4)
    assert splits.problems.set_index("file")["reason"].to_dict() == {
        bad[0]: "truncated",
        bad[1]: "not a picture",
        bad[2]: "missing",
    }
    assert "3 pictures were set aside, see splits.problems." in capsys.readouterr().out
    again = load(catalog.scan(), image_size=8, batch_size=4)
    assert len(again.problems) == 3 and capsys.readouterr().out == "", "the scan has told them"
    assert set(files_of(splits)) == set(catalog.table["file"]) - set(bad)
    for _ in range(2):
        x, _ = everything(splits.train)
        assert len(x) == len(splits.ordered("train").file_paths)
        assert (x.max(axis=(1, 2, 3)) > 50).all()  # no empty row slips in
    x, y = everything(splits.ordered("train"))
    for picture, label, file in zip(x, y, splits.ordered("train").file_paths, strict=True):
        assert CLASSES[label.argmax()] == Path(file).parent.name
        assert round((picture[4, 4, 0] - 60) / 60) == label.argmax()


def test_every_kind_of_bad_file_is_survived(folder):
    catalog = Catalog.from_folder(folder).split()
    reasons = write_oddities(folder / "dog")
    rows = pd.DataFrame(
        {"file": [f"dog/{name}" for name in reasons], "label": "dog", "split": "train"}
    )
    table = pd.concat([catalog.table, rows], ignore_index=True)
    catalog = Catalog.from_table(table, root=folder)  # leaves out what is not there at all
    splits = load(catalog, image_size=8)
    found = pd.concat([splits.problems, catalog.left_out]).set_index("file")["reason"]
    assert all(found[f"dog/{name}"].startswith(reason) for name, reason in reasons.items())
    assert len(found) == len(reasons)


def test_what_a_scan_refused_is_not_used_even_if_it_was_split_before(folder):
    Image.new("RGB", (30, 30), "white").save(folder / "cat" / "large.png")
    catalog = Catalog.from_folder(folder).split(0.25, 0.25).scan(Limits(max_pixels=100))
    splits = load(catalog, image_size=8)
    assert splits.problems["file"].tolist() == ["cat/large.png"]
    assert "cat/large.png" not in files_of(splits) and len(files_of(splits)) == 24


# Pipelines and arrays of one's own

X = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3)).astype(np.uint8)
Y = np.arange(20) % 2
PLAIN = tf.data.Dataset.from_tensor_slices((X.astype("float32"), Y)).batch(4)


@pytest.mark.parametrize(
    ("labels", "mode", "classes"),
    [
        (np.arange(20) % 3, "int", 3),
        (np.arange(20)[:, None] % 2, "binary", 2),
        (np.arange(20)[:, None] % 3, "int", 3),
        (np.eye(3)[np.arange(20) % 3], "categorical", 3),
        (np.eye(3)[np.arange(20) % 3] * 0.9 + 0.1 / 3, "categorical", 3),
        (np.tile([[1, 1, 0], [0, 1, 0]], (10, 1)), "multi_label", 3),
    ],
)
def test_the_form_of_labels_says_what_they_are(labels, mode, classes):
    spec = from_datasets((X, labels), (X, labels)).spec
    assert (spec.label_mode, spec.classes, spec.shape) == (mode, classes, (6, 6, 3))


def test_names_that_were_given_are_in_the_predictions():
    whole = tf.data.Dataset.from_tensor_slices((X.astype(np.float32), Y)).batch(8)
    names = ["cat", "dog"]
    splits = from_datasets(whole, whole, (X, Y), class_names=names)
    assert splits.valid.class_names == splits.test.class_names == names
    assert not hasattr(whole, "class_names"), "somebody's own dataset stays as it was"
    again = from_datasets(whole, splits.valid)
    assert again.valid is splits.valid


def test_arrays_become_batches_with_their_labels():
    splits = from_datasets((X, Y), (X, Y), batch_size=8)
    x, y = everything(splits.valid)
    assert (x == X).all() and (y == Y).all() and x.dtype == np.float32
    x, y = everything(splits.train)
    places = [int(np.flatnonzero((picture == X).all(axis=(1, 2, 3)))[0]) for picture in x]
    assert sorted(places) == list(range(20)) and places != list(range(20))
    assert (y == Y[places]).all()


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (None, "train is None"),
        (X, "received ndarray"),
        ((X / 255, Y), "Multiply by 255"),
        ((X.astype(int) - 90, Y), "received -90"),
        ((X, Y[:5]), "20 pictures and 5 labels"),
        ((X, ["cat", "dog"] * 10), "Catalog.from_arrays"),
        (PLAIN.map(lambda x, y: (x / 255, y)), "received 0 to 1. The model rescales"),
        (PLAIN.map(lambda x, y: (x - 99, y)), "received -99 to 156"),
        (PLAIN.unbatch(), "Is the dataset batched"),
        (PLAIN.map(lambda x, y: x), "without labels"),
        (PLAIN.map(lambda x, y: ({"image": x}, y)), "received dict"),
        (PLAIN.take(0), "is empty"),
        (PLAIN.repeat(), "never ends"),
    ],
)
def test_data_that_cannot_be_trained_on_says_what_is_wrong(train, words):
    with pytest.raises(DataError, match=words):
        from_datasets(train)
    with pytest.raises(DataError, match=words):
        from_datasets(
            train if train is None else PLAIN, train
        ) if train is not None else from_datasets(train)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (Y + 1, {"class_names": ["a", "b"]}, "from 0 to 1, received 1 to 2"),
        (Y - 1, {"class_names": ["a", "b"]}, "received -1 to 0"),
        (
            np.eye(4)[Y],
            {"class_names": ["a", "b"]},
            r"2 numbers a picture, received shape \(20, 4\)",
        ),
        (Y, {"label_mode": "categorical"}, r"received shape \(20,\)"),
        (np.eye(2)[Y], {"label_mode": "int"}, r"1 numbers a picture"),
    ],
)
def test_labels_that_do_not_match_say_what_was_expected(labels, options, words):
    with pytest.raises(DataError, match=words):
        from_datasets((X, labels), **options)


def test_parts_must_agree_with_each_other():
    for other in (X[..., :1], X[:, :4], X[:, :, :5]):
        with pytest.raises(DataError, match=r"one size: the first has \(6, 6, 3\)"):
            from_datasets((X, Y), (other, Y))
    with pytest.raises(DataError, match="numbers a picture"):
        from_datasets((X, np.eye(2)[Y]), (X, Y))


def test_keras_loaders_come_along_as_they_are(folder):
    for mode, ours in [("int", "int"), ("categorical", "categorical")]:
        train, valid = keras.utils.image_dataset_from_directory(
            folder,
            label_mode=mode,
            image_size=(8, 8),
            batch_size=4,
            validation_split=0.25,
            subset="both",
            seed=0,
            verbose=False,
        )
        splits = from_datasets(train, valid)
        assert splits.spec == ImageSpec(8, 8, 3, CLASSES, ours)
        assert splits.train is train and splits.valid is valid


def test_what_only_a_catalog_can_give_is_refused_with_the_way_to_it():
    splits = from_datasets(PLAIN)
    for ask in (
        lambda: splits.with_options(batch_size=3),
        lambda: splits.ordered("train"),
        lambda: splits.training_steps(0, 1),
    ):
        with pytest.raises(DataError, match="made from datasets"):
            ask()
    assert splits.problems.empty and "5 batches" in repr(splits)


def test_anything_that_is_data_becomes_splits_and_nothing_else():
    splits = from_datasets(PLAIN, PLAIN)
    assert as_splits(splits) is splits
    assert as_splits(PLAIN).valid is None
    assert (everything(as_splits([PLAIN, PLAIN, PLAIN]).test)[1] == everything(PLAIN)[1]).all()
    with pytest.raises(DataError, match=r"write \[\(x, y\)\]"):
        as_splits((X, Y))
    assert as_splits([(X, Y)]).valid is None
    for wrong in (None, numbered(), "folder", [], [PLAIN] * 4, (X, Y)):
        with pytest.raises(ImgrecError):
            as_splits(wrong)


@pytest.mark.parametrize("scanned", [False, True])
def test_a_class_of_which_nothing_can_be_used_is_named(tmp_path, scanned):
    write_folder(tmp_path)
    dogs = sorted((tmp_path / "dog").glob("*"))
    for file in dogs:
        file.write_text("Dear Sir or Madam")
    catalog = Catalog.from_folder(tmp_path)
    with pytest.raises(CatalogError) as error:
        load((catalog.scan() if scanned else catalog).split(), image_size=8)
    for words in ("'dog'", f"of {len(dogs)} listed", f"dog/{dogs[0].name}: not a picture", "drop"):
        assert words in str(error.value)


def test_a_class_that_is_nowhere_in_the_training_part_is_named():
    catalog = Catalog.from_arrays(X, Y, ["cat", "dog"]).split(0.2, 0.2)
    split = catalog.table["split"].mask(catalog.table["label"] == "dog", "test")
    with pytest.raises(CatalogError, match="'dog' has no picture in the training part"):
        load(replace(catalog, table=catalog.table.assign(split=split)))


@pytest.mark.parametrize("size", ["28", 28.0, (28,), "ab"])
def test_an_image_size_that_is_none_is_shown_whole(size):
    catalog = Catalog.from_arrays(X, Y, ["cat", "dog"]).split(0.2, 0.2)
    with pytest.raises(DataError, match=re.escape(repr(size))):
        load(catalog, image_size=size)


def test_a_last_batch_that_is_smaller_shows_its_own_pictures_and_no_others():
    colours = np.arange(20, 200, 20, dtype=np.uint8)  # nine pictures in batches of four
    pictures = np.broadcast_to(colours[:, None, None, None], (9, 8, 8, 1))
    rows = tf.range(9, dtype=tf.int64)
    part = Part(tf.constant(pictures), tf.constant(colours), rows, 4)
    batches = list(numbered_steps(part, ImageSpec(8, 8, 1), Augment(True, zoom=0.2), 0)(0, 3))
    assert [len(x) for x, _ in batches] == [len(y) for _, y in batches] == [4, 4, 1]
    assert sorted(int(colour) for _, y in batches for colour in y) == colours.tolist()
    for x, y in batches:
        np.testing.assert_allclose(x, np.broadcast_to(y[:, None, None, None], x.shape), atol=0.01)


def test_splits_say_what_is_in_each_part():
    pictures = np.zeros((12, 4, 4), np.uint8)
    whole = Catalog.from_arrays(pictures, [0] * 8 + [1] * 4).split(valid=0.25, test=0)
    counts = whole.table.groupby(["split", "label"]).size()
    assert counts["train"].tolist() == [6, 3]
    for cache in ("memory", "off"):
        text = repr(load(whole, batch_size=3, balance=True, cache=cache))
        assert "train: 9 pictures and 3 repeats in 4 batches" in text
        assert "valid: 3 pictures in 1 batch\n" in text and "test: none" in text
    assert "train: 9 pictures in 1 batch\n" in repr(load(whole, cache="memory"))
    assert "valid: 1 batch\n" in repr(
        from_datasets((pictures + 9, [0, 1] * 6), (pictures + 9, [0] * 12))
    )


def test_what_is_no_divided_catalog_is_refused():
    pictures = np.zeros((12, 4, 4), np.uint8)
    with pytest.raises(DataError, match="Expected a catalog, received ndarray"):
        load(pictures)
    folded = Catalog.from_arrays(pictures, [0, 1] * 6).split(folds=3)
    with pytest.warns(UserWarning, match=r"none is for validation.*catalog\.fold\(0\)"):
        assert load(folded, cache="memory").valid is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(folded.fold(0), cache="memory").valid is not None


def test_a_picture_larger_than_any_is_refused_at_once(catalog):
    with pytest.raises(DataError, match="image_size must be at most 50,000,000 pixels in all"):
        load(catalog, image_size=10_000)

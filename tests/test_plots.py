"""Figures of odd tables: nothing cut off, nothing shown, no pyplot where an `ax` is given."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from drawn import cut_off, own_axes, texts_of
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from imgrec.axes import plain_text, wrapped
from imgrec.catalog import Catalog
from imgrec.core import DataError, OptionError
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.evaluate import confusion_table, metrics
from imgrec.plots import (
    plot_augmentation,
    plot_catalog,
    plot_confusion,
    plot_history,
    plot_images,
    plot_metrics,
    plot_mistakes,
    plot_search,
)

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype("uint8")
LONG = "a picture of a kind that nobody could describe in fewer words than these"


def overlapping(ax):
    "Pairs of texts of a drawn figure, one upon the other."
    found = [(text.get_text(), Text.get_window_extent(text)) for text in texts_of(ax)]
    boxes = [(text, box.padded(-1)) for text, box in found]
    pairs = itertools.combinations(boxes, 2)
    return [(one, other) for (one, a), (other, b) in pairs if a.overlaps(b)]


def predictions(k, n=200, names=None):
    "A table of predictions of `k` classes, four in five right."
    rng = np.random.default_rng(0)
    names = np.array(names or [f"class {at}" for at in range(k)])
    true = np.concatenate([np.arange(k), rng.integers(0, k, n)])
    said = np.where(rng.random(len(true)) < 0.8, true, rng.integers(0, k, len(true)))
    table = pd.DataFrame({"true": names[true], "predicted": names[said]})
    return table.assign(confidence=rng.random(len(true)), file="x.png")


@pytest.mark.parametrize("k", [1, 2, 10, 21, 100])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_confusion_of_few_and_many_classes_fits_its_figure(k, normalize, given):
    table = confusion_table(predictions(k))
    ax = plot_confusion(table, ax=own_axes() if given else None, normalize=normalize)
    assert cut_off(ax) == []
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "class 0" and (k > 20 or len(labels) == k)
    assert bool(ax.texts) == (k <= 20)
    heights = [label.get_window_extent().height for label in ax.get_yticklabels()]
    assert sum(heights) <= ax.get_window_extent().height * 1.1 or k == 1, "labels do not overlap"


def test_confusion_shows_counts_and_leaves_zeros_blank():
    table = pd.DataFrame([[3, 0, 1], [0, 0, 0], [0, 2, 2]], list("abc"), list("abc"))
    counts = [text.get_text() for text in plot_confusion(table).texts]
    assert counts == ["3", "", "1", "", "", "", "", "2", "2"]
    percent = [text.get_text() for text in plot_confusion(table, normalize=True).texts]
    assert percent == ["75", "", "25", "", "", "", "", "50", "50"]


STRANGE = [
    *([LONG, LONG + "!"], ["$a$ $b", "50 $"], ["a\nb", "\ttab"], ["", " "], ["_x", "{y}"]),
    [r"\alpha$\frac$", "%d"],
]


@pytest.mark.parametrize("names", STRANGE)
def test_names_of_other_people_are_drawn_as_text(names):
    table = predictions(2, names=names)
    figures = [
        plot_confusion(confusion_table(table)),
        plot_metrics(metrics(table)),
        plot_mistakes(table, np.stack([PICTURES[0]] * len(table)), n=3),
        plot_images(PICTURES[:2], names),
        plot_search(pd.DataFrame({"score": [1.0, 2.0], names[0]: names}), by=names[0]),
    ]
    for ax in figures[:4]:
        assert cut_off(ax) == []
    figures[4].figure.canvas.draw()


@pytest.mark.parametrize("k", [2, 10, 100])
def test_metrics_show_the_weakest_of_many_classes(k):
    table = metrics(predictions(k))
    ax = plot_metrics(table, "recall")
    assert cut_off(ax) == []
    assert len(ax.get_yticklabels()) == min(k, 30)
    shown = [label.get_text().split(" (")[0] for label in ax.get_yticklabels()]
    values = table[table["metric"] == "recall"].set_index("average")["value"]
    rest = values.drop(["macro", "weighted", *shown])
    assert rest.empty or values[shown].max() <= rest.min()


def test_metrics_of_a_class_that_does_not_occur_are_drawn():
    table = pd.DataFrame({"true": ["a", "b"], "predicted": ["a", "b"], "probability_a": 0.5})
    ax = plot_metrics(metrics(table.assign(probability_b=0.3, probability_c=0.2)))
    assert [label.get_text() for label in ax.get_yticklabels()][2] == "c (n=0)"
    with pytest.raises(OptionError, match="Did you mean 'precision'"):
        plot_metrics(metrics(table.assign(probability_b=0.5)), "precison")


@pytest.mark.parametrize("count, columns", [(1, 8), (2, 8), (12, 5), (12, 1)])
@pytest.mark.parametrize("given", [False, True])
def test_grids_of_pictures_fit_and_do_not_overlap(count, columns, given):
    captions = [f"is {LONG}\nsaid {at}\n99 %" for at in range(count)]
    ax = own_axes(4, 3 * count / columns + 1) if given else None
    ax = plot_images(PICTURES[:count], captions, columns=columns, ax=ax)
    assert len(ax.images) == count and cut_off(ax) == []
    boxes = [text.get_window_extent() for text in ax.texts]
    for at, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:at]), "captions do not overlap"


def test_pictures_are_drawn_as_they_are():
    grey, half = np.full((4, 6), 100, "uint8"), np.full((4, 6, 1), 99.6, "float32")
    ax = plot_images([grey, half, PICTURES[0], tf.constant(PICTURES[1])])
    drawn = [np.asarray(image.get_array()) for image in ax.images]
    assert (drawn[0] == 100).all() and (drawn[1] == 100).all()
    assert all(image.get_clim() == (0, 255) for image in ax.images[:2])
    np.testing.assert_array_equal(drawn[2], PICTURES[0])
    wide = (
        np.abs(np.diff(ax.images[0].get_extent()[:2])),
        np.abs(np.diff(ax.images[0].get_extent()[2:])),
    )
    assert wide[0] / wide[1] == pytest.approx(6 / 4)


@pytest.mark.parametrize(
    "images, message",
    [
        (PICTURES / 255, "multiply them again"), (PICTURES - 300.0, "received -300 to"),
        ([PICTURES[0] * np.nan], "received nan"), ([np.zeros((2, 2, 4))], r"\(2, 2, 4\)"),
        ([], "0 pictures"), ([np.zeros(5)], r"\(5,\)"), ([np.zeros((0, 5))], r"\(0, 5\)"),
    ],
)  # fmt: skip
def test_pictures_that_are_none_are_refused(images, message):
    ax = own_axes()
    with pytest.raises(DataError, match=message):
        plot_images(images, ax=ax)
    assert not ax.images, "nothing half drawn"
    with pytest.raises(DataError, match="1 captions"):
        plot_images(PICTURES, ["one"])


def test_black_pictures_are_pictures():
    assert plot_images([np.zeros((3, 3), "float32")]).images


def test_mistakes_find_their_pictures_in_arrays_datasets_and_files(tmp_path):
    table = pd.DataFrame(
        {"true": list("abab"), "predicted": list("abba"), "confidence": [0.9, 0.8, 0.7, 0.95]},
        index=[7, 3, 9, 1],
    )
    flat = [np.full((4, 4, 3), value, "uint8") for value in (10, 20, 30, 40)]
    for at, picture in enumerate(flat):
        Image.fromarray(picture).save(tmp_path / f"{at}.png")
    files = [str(tmp_path / f"{at}.png") for at in range(4)]
    dataset = tf.data.Dataset.from_tensor_slices((np.stack(flat), np.zeros(4))).batch(3)
    for images in (np.stack(flat), flat, dataset, None):
        ax = plot_mistakes(table.assign(file=files), images)
        assert [int(np.asarray(image.get_array()).max()) for image in ax.images] == [40, 30]
        assert ax.texts[0].get_text() == "is b\nsaid a\n95.0 %"
    with pytest.raises(DataError, match="3 pictures for 4 predictions"):
        plot_mistakes(table, flat[:3])


def test_mistakes_of_several_labels_and_of_a_perfect_model():
    table = pd.DataFrame(
        {"true": [("sea", "sun"), ("sea",)], "predicted": [(), ("sea",)], "confidence": [0.6, 0.9]}
    )
    ax = plot_mistakes(table, PICTURES[:2])
    assert ax.texts[0].get_text() == "is sea, sun\nsaid none\n60.0 %"
    perfect = plot_mistakes(table.iloc[1:], PICTURES[:1])
    assert cut_off(perfect) == [] and perfect.texts[0].get_text() == "no mistakes in 1 pictures"


def catalog_of(sizes, parts=True, scanned=True):
    "A catalog with so many pictures of each class, the last of each damaged if it was scanned."
    labels = np.repeat(list(sizes), list(sizes.values()))
    table = pd.DataFrame({"file": [f"{row}.png" for row in range(len(labels))], "label": labels})
    turn = table.groupby("label").cumcount(ascending=False)
    if parts:
        table["split"] = np.array(["train", "train", "valid", "test"])[turn % 4]
    if scanned:
        table = table.assign(ok=turn > 0, reason=np.where(turn > 0, "", "damaged: no end"))
        table = table.assign(width=640 + turn, height=480, format="JPEG", brightness=99.0)
    return Catalog(table, tuple(sizes))


@pytest.mark.parametrize("size", [None, (3.2, 3)])
@pytest.mark.parametrize(
    "parts, scanned, ratio", [(False, False, 1), (True, True, 1), (True, True, 200)]
)
@pytest.mark.parametrize("k", [2, 30, 200])
def test_catalogs_of_few_and_many_classes_fit_their_figure(k, parts, scanned, ratio, size):
    sizes = {f"class {at}": 5 + int(5 * ratio * (1 - at / (k - 1)) ** 3) for at in range(k)}
    ax = plot_catalog(catalog_of(sizes, parts, scanned), own_axes(*size) if size else None)
    assert cut_off(ax) == [] and overlapping(ax) == []
    assert ax.get_xscale() == ("log" if ratio > 50 else "linear")
    assert ("logarithmic" in ax.get_xlabel()) == (ratio > 50)
    assert ax.get_title(loc="left").startswith(f"{sum(sizes.values()):,} pictures, {k} classes")
    assert bool(ax.get_legend()) == parts


def test_a_row_has_its_parts_its_number_and_what_was_set_aside():
    ax = plot_catalog(catalog_of({"cat": 21, "dog": 9}))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog"]
    assert [text.get_text() for text in ax.texts] == ["20 + 1", "8 + 1"]
    bars = np.array([patch.get_width() for patch in ax.patches]).reshape(4, 2)
    assert bars.sum(axis=0).tolist() == [21, 9] and bars[-1].tolist() == [1, 1]
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["train 14", "valid 7", "test 7", "+ set aside 2"]
    assert ax.get_title(loc="left").splitlines() == [
        "30 pictures, 2 classes",
        "2 set aside: damaged",
        "largest class 2.5 times the smallest",
        "647 x 480 (641 x 480 to 660 x 480) pixels; JPEG 100 %",
    ]
    colours = [to_hex(patch.get_facecolor()) for patch in ax.patches[::2]]
    assert colours == ["#0173b2", "#de8f05", "#029e73", "#a0a0a0"], "told apart by all eyes"


def test_of_many_classes_the_largest_and_the_smallest_are_named():
    sizes = {f"class {at}": 10 + (7 * at) % 100 for at in range(100)}
    named = [text.get_text() for text in plot_catalog(catalog_of(sizes, False, False)).texts]
    assert named[:4] == ["class 57  109", "class 0  10", "class 14  108", "class 43  11"]
    assert named[-1] == "100 classes,\nlargest first" and len(named) == 11


@pytest.mark.filterwarnings("ignore:Glyph")  # a letter that the font lacks is drawn as a box
@pytest.mark.parametrize("names", [*STRANGE, ["caf\udce9", "\N{GRINNING FACE} 猫 " * 9]])
def test_names_of_any_kind_stand_beside_their_rows(names):
    ax = plot_catalog(catalog_of(dict.fromkeys(names, 9)))
    assert cut_off(ax) == [] and overlapping(ax) == []


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_of_any_kind_stand_beside_the_ends():
    names = ["caf\udce9", "\N{GRINNING FACE} 猫 " * 9, LONG, "$5$", r"\alpha$\frac$", "\n"]
    ax = plot_catalog(catalog_of(dict.fromkeys([*names, *map(str, range(40)), *LONG], 9)))
    assert cut_off(ax) == [] and overlapping(ax) == []


def test_odd_catalogs_are_drawn():
    nothing = catalog_of({"a": 1, "b": 1})
    assert "2 classes without a picture" in plot_catalog(nothing).get_title(loc="left")
    empty = plot_catalog(Catalog(catalog_of({"a": 5}).table, ("a", "b")))
    assert [text.get_text() for text in empty.texts] == ["4 + 1", "0"]
    assert "1 class without a picture" in empty.get_title(loc="left")
    several = pd.DataFrame({"file": list("xyz"), "label": [("a", "b"), ("b",), ()]})
    ax = plot_catalog(Catalog.from_table(several))
    assert [text.get_text() for text in ax.texts] == ["1", "2"]
    assert ax.get_title(loc="left").startswith("3 pictures, 2 classes, some in several")
    assert plot_catalog(digits().scan().split()).get_title(loc="left").count("8 x 8") == 1
    for each in (plot_catalog(nothing), empty, ax):
        assert cut_off(each) == [] and overlapping(each) == []


def test_a_title_is_broken_between_words():
    line = "seven hundred and seven words " * 3
    for width in (1.0, 2.0, 20.0):
        assert " ".join(wrapped(line, width, own_axes())).split() == line.split()
    assert len(wrapped(line, 20.0, own_axes())) == 1 < len(wrapped(line, 2.0, own_axes()))
    assert wrapped("", 1.0, own_axes()) == []
    assert plain_text("caf\udce9\u2028$") == "caf\\udce9 \\$"


def drawn_rows(ax, views):
    "What `plot_augmentation` drew: pictures, and views of each."
    shown = np.stack([np.asarray(image.get_array()) for image in ax.images])
    shown = shown.reshape(-1, 1 + views, *shown.shape[1:])
    return shown[:, 0], shown[:, 1:]


def gradients(n, **options):
    "Splits of pictures whose left and right sides differ, two classes."
    x = np.stack([np.tile(np.arange(8) * 20 + at, (8, 1)) for at in range(n)]).astype("uint8")
    catalog = Catalog.from_arrays(x[..., None].repeat(3, axis=3), ["a", "b"] * (n // 2))
    return load(catalog.split(0.2, 0.2), cache="memory", **options)


def test_augmentation_shows_training_pictures_and_views_of_each():
    splits = gradients(40, augment="light")
    ax = plot_augmentation(splits, n=4, views=3)
    originals, views = drawn_rows(ax, 3)
    assert len(originals) == 4
    train = splits.catalog.table["split"].eq("train").to_numpy()
    known = {picture.tobytes() for picture in splits.catalog.arrays[train]}
    assert all(picture.tobytes() in known for picture in originals), "as they are, and not others"
    assert all(len({view.tobytes() for view in row}) > 1 for row in views)
    words = [text.get_text() for text in ax.texts]
    assert sorted(words[::4]) == ["a", "a", "b", "b"] and set(words) == {"a", "b", ""}
    title = ax.get_title().replace("\n", " ")
    assert title == "as they are, and light: horizontal flip, zoom 0.2"
    assert cut_off(ax) == []


def test_augmentation_is_the_same_for_the_same_seed():
    splits = gradients(20, augment={"brightness": 0.3})
    same = [drawn_rows(plot_augmentation(splits, 2, 2, seed), 2) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(same[0][1], same[1][1])
    assert not np.array_equal(same[0][1], same[2][1])
    originals, views = same[0]
    light = views.mean(axis=(2, 3, 4)) - originals.mean(axis=(1, 2, 3))[:, None]
    assert len(set(light.ravel())) == 4, "each picture is varied in its own way"


def test_augmentation_follows_the_recipe_and_the_set():
    ax = plot_augmentation(gradients(20, augment=None), n=3, views=2)
    originals, views = drawn_rows(ax, 2)
    np.testing.assert_array_equal(views, originals[:, None].repeat(2, axis=1))
    assert "nothing is changed" in ax.get_title().replace("\n", " ")
    ax = plot_augmentation(gradients(20, augment={"horizontal_flip": True}), n=1, views=9)
    assert len({view.tobytes() for view in drawn_rows(ax, 9)[1][0]}) == 2
    as_digits = load(digits().split(), augment={"horizontal_flip": True}, cache="memory")
    originals, views = drawn_rows(plot_augmentation(as_digits, n=1, views=9), 9)
    np.testing.assert_array_equal(views[0], originals.repeat(9, axis=0))


def test_augmentation_of_pictures_that_are_read_in_every_pass(tmp_path):
    for name, count in {"a": 8, "b": 8}.items():
        (tmp_path / name).mkdir()
        for at in range(count):
            Image.new("RGB", (9, 9), (at, 0, 0)).save(tmp_path / name / f"{at}.png")
    splits = load(Catalog.from_folder(tmp_path).split(), image_size=9, cache="off")
    (tmp_path / splits.catalog.table.query("split == 'train'")["file"].iloc[0]).write_bytes(b"")
    ax = plot_augmentation(splits, n=99, views=1)
    assert len(ax.images) == 2 * (splits.catalog.table["split"].eq("train").sum() - 1)


def test_augmentation_that_cannot_be_shown_is_refused():
    splits = gradients(20)
    with pytest.raises(DataError, match="n=0, views=6"):
        plot_augmentation(splits, n=0)
    with pytest.raises(DataError, match="plot_images"):
        plot_augmentation(from_datasets((PICTURES, np.zeros(12))))
    with pytest.raises(DataError, match=r"from load\(catalog\), received Catalog"):
        plot_augmentation(splits.catalog)
    assert cut_off(plot_augmentation(splits, n=2, views=1)) == []
    assert cut_off(plot_augmentation(splits, n=2, views=1, ax=own_axes(2, 3))) == []


@pytest.mark.parametrize("epochs", [1, 2, 300])
@pytest.mark.parametrize("columns", [
    ["loss"], ["loss", "val_loss"], ["loss", "accuracy"],
    ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"],
])  # fmt: skip
def test_histories_of_any_length_are_drawn(epochs, columns):
    rng = np.random.default_rng(0)
    index = pd.Index(range(1, epochs + 1), name="epoch")
    history = pd.DataFrame(rng.random((epochs, len(columns))), index=index, columns=columns)
    ax = plot_history(history)
    assert cut_off(ax) == []
    judge = "val_loss" if "val_loss" in columns else "loss"
    assert f"best epoch {history[judge].idxmin()} (lowest {judge})" in ax.get_title()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation"][: 1 + (f"val_{ax.get_ylabel()}" in columns)]


def test_histories_of_keras_count_from_one_and_nan_is_no_best_epoch():
    keras_history = {"loss": [3.0, 1.0, 2.0], "val_loss": [3.0, np.nan, 2.5]}
    ax = plot_history(keras_history)
    assert "best epoch 3 " in ax.get_title()
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    nothing = plot_history({"loss": [np.nan], "val_loss": [np.nan]})
    assert nothing.get_title() == ""
    with pytest.raises(OptionError, match="Did you mean 'loss'"):
        plot_history(keras_history, metric="los")


def test_searches_of_any_kind_are_drawn():
    results = pd.DataFrame(
        {"score": [0.5, None, 0.9, 0.7], "rate": [1e-4, 1e-3, 1e-2, 1e-1], "width": [1, 2, 3, 4],
         "recipe": ["none", "light", "none", "$"], "norm": [True, False, True, False],
         "pooling": [None, "max", "avg", None]}
    )  # fmt: skip
    assert plot_search(results).get_title() == "best: 0.9 in trial 3 of 4"
    assert plot_search(results, direction="min").get_title() == "best: 0.5 in trial 1 of 4"
    losses = plot_search(results.rename(columns={"score": "val_loss"}), "val_loss")
    assert losses.get_title() == "best: 0.5 in trial 1 of 4"
    so_far = plot_search(results).lines[2].get_ydata()
    np.testing.assert_array_equal(so_far, [0.5, 0.5, 0.9, 0.9])
    live = results.assign(
        trial=[10, 11, 12, 13], status=["finished", "running", "finished", "failed"]
    )
    ax = plot_search(live.assign(score=[0.5, None, 0.9, None]))
    assert ax.get_title() == "best: 0.9 in trial 12 of 4"
    assert list(ax.lines[1].get_xdata()) == [13], "only what failed is crossed out"
    for by in ("rate", "width", "recipe", "norm", "pooling"):
        ax = plot_search(results, by=by, ax=own_axes())
        assert cut_off(ax) == []
        assert ax.get_xscale() == ("log" if by == "rate" else "linear")
    for part in (results.head(0), results.iloc[[1]], results.assign(score=np.nan)):
        assert plot_search(part).get_title() == "no trial has a score yet"
        assert cut_off(plot_search(part, by="rate")) == []
    with pytest.raises(OptionError, match="Did you mean 'width'"):
        plot_search(results, by="widht")


def test_two_lines_of_one_figure_differ_in_colour_and_name():
    ax = plot_history({"accuracy": [0.1, 0.2], "val_accuracy": [0.1, 0.3], "loss": [2, 1]})
    colours = {to_hex(line.get_color()) for line in ax.lines[:2]}
    assert len(colours) == 2 and colours <= {"#0173b2", "#de8f05"}, "seaborn's colorblind palette"


WITHOUT_PYPLOT = """
import sys, numpy as np, pandas as pd
from matplotlib.figure import Figure
from imgrec.catalog import Catalog
from imgrec.plots import plot_catalog, plot_confusion, plot_history, plot_images
table = pd.DataFrame({"file": list("xyz"), "label": list("aab")})
plot_catalog(Catalog.from_table(table), ax=Figure(layout="constrained").subplots())
assert "tensorflow" not in sys.modules
plot_images([np.zeros((2, 2))], ax=Figure().subplots())
plot_history({"loss": [1.0]}, ax=Figure().subplots())
assert plot_images([np.zeros((2, 2))]).figure.number == 1
"""


def test_figures_need_no_display():
    plain = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYPLOT], capture_output=True, text=True, env=plain
    )
    assert done.returncode == 0, done.stderr


def test_a_hair_above_255_from_resizing_is_white():
    axes = plot_images([np.full((4, 4, 3), 255.0003)])
    assert np.ravel(axes)[0].images[0].get_array().max() == 255

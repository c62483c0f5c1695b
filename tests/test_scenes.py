"""Drawn scenes: the same for everybody, and what is said of them is true of the pixels."""

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.stats import chi2_contingency

from imgrec.core import OptionError
from imgrec.drawing import COLOURS, SHAPES, Layout, grounds, paint, random_numbers, reach
from imgrec.scenes import scenes

PLAIN = {"texture": 0, "noise": 0}


def same(one, other):
    "Whether two sets of scenes are the same to the last bit."
    arrays = ("images", "labels", "masks")
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    assert one.captions == other.captions
    assert one.boxes.equals(other.boxes)
    return True


def part(drawn, start, stop):
    "Some of the scenes, as if they had been drawn alone."
    boxes = drawn.boxes[drawn.boxes["picture"].between(start, stop - 1)]
    boxes = boxes.assign(picture=boxes["picture"] - start).reset_index(drop=True)
    cut = {name: getattr(drawn, name)[start:stop] for name in ("images", "labels", "masks")}
    return type(drawn)(**cut, boxes=boxes, captions=drawn.captions[start:stop], class_names=())


# ---- the same for everybody

SQUARE = scenes(150, seed=9)
WIDE = scenes(150, image_size=(40, 57), objects=(2, 5), overlap=0.5, seed=9)


@settings(max_examples=25)
@given(first=st.integers(0, 149), n=st.integers(1, 150), wide=st.booleans())
def test_a_scene_is_the_same_whoever_is_drawn_beside_it(first, n, wide):
    n = min(n, 150 - first)
    options = {"image_size": (40, 57), "objects": (2, 5), "overlap": 0.5} if wide else {}
    alone = scenes(n, first=first, seed=9, **options)
    assert same(alone, part(WIDE if wide else SQUARE, first, first + n))


def test_threads_and_processes_draw_the_same():
    with ThreadPoolExecutor(4) as pool:
        pieces = list(pool.map(lambda first: scenes(30, first=first, seed=9), range(0, 150, 30)))
    for number, piece in enumerate(pieces):
        assert same(piece, part(SQUARE, 30 * number, 30 * number + 30))
    code = (
        "import hashlib; from imgrec.scenes import scenes; d = scenes(40, first=70, seed=9);"
        "print(hashlib.sha256(d.images.tobytes() + d.masks.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    content = SQUARE.images[70:110].tobytes() + SQUARE.masks[70:110].tobytes()
    assert done.stdout.strip() == hashlib.sha256(content).hexdigest()


def test_no_two_scenes_are_alike_and_no_two_seeds():
    pictures = np.concatenate(
        [scenes(150, seed=seed, **PLAIN).images for seed in (0, 1, 2**64 - 1)]
    )
    assert len(np.unique(pictures.reshape(450, -1), axis=0)) == 450


@pytest.mark.parametrize("change", [{"texture": 1}, {"noise": 20}, {"image_size": 128}])
def test_grounds_noise_and_size_change_no_object(change):
    words = ["picture", "object", "label", "colour", "size"]
    assert scenes(150, seed=9, **change).boxes[words].equals(SQUARE.boxes[words])
    if "image_size" not in change:
        assert np.array_equal(scenes(150, seed=9, **change).masks, SQUARE.masks)


def test_random_numbers_are_uniform_and_know_nothing_of_each_other():
    numbers = random_numbers(3, 16, np.arange(2000), 20)
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.histogram(numbers, 50, (0, 1))[0]
    assert (
        (counts - 800) ** 2 / 800
    ).sum() < 100  # chi-square, 49 degrees: 85 is one in a thousand
    others = [np.roll(numbers, 1, axis) for axis in (0, 1)]
    others += [random_numbers(seed, use, np.arange(2000), 20) for seed, use in ((3, 17), (4, 16))]
    others += [random_numbers(3, 16, np.arange(2000, 4000), 20)]
    for other in others:
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.02  # four sigma of 40,000


# ---- shapes


def alone(name, angle, side=200, radius=0.4):
    "The mask of one shape in the middle of a picture."
    layout = Layout(
        label=np.zeros((1, 1), int),
        colour=np.zeros((1, 1), int),
        angle=np.array([[angle]], np.float32),
        size=np.full((1, 1), radius / reach(SHAPES[name]), np.float32),
        radius=np.array([[radius]], np.float32),
        centre=np.array([[(0.5, 0.5)]], np.float32),
        there=np.ones((1, 1), bool),
    )
    masks = np.zeros((1, side, side), np.uint8)
    paint(np.zeros((1, 3, side, side), np.float32), masks, layout, [SHAPES[name]])
    return masks[0] == 1


def corners(name):
    "The corners of the straight-edged shapes, in the unit circle."
    turn = 2 * np.pi
    if name == "cross":
        a, b = 0.3, 0.95
        quarter = [(b, -a), (b, a), (a, a)]
        angles = [turn * k / 4 for k in range(4)]
        return [
            (x * np.cos(t) - y * np.sin(t), x * np.sin(t) + y * np.cos(t))
            for t in angles
            for x, y in quarter
        ]
    count, start, radii = {
        "square": (4, turn / 8, (1,)),
        "triangle": (3, 0, (1,)),
        "star": (10, 0, (1, 0.45)),
    }[name]
    angles = [start + turn * k / count for k in range(count)]
    return [
        (radii[k % len(radii)] * np.cos(t), radii[k % len(radii)] * np.sin(t))
        for k, t in enumerate(angles)
    ]


def polygon(name, angle, side=200, radius=0.4, fine=8):
    "The same mask as Pillow draws it, eight times as fine."
    cos, sin = np.cos(angle), np.sin(angle)
    turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in corners(name)]
    points = (np.array(turned) * radius + 0.5) * fine * side - 0.5
    picture = Image.new("L", (fine * side, fine * side))
    ImageDraw.Draw(picture).polygon(points.ravel().tolist(), fill=255)
    return np.asarray(picture.reduce(fine)) > 127


def by_formula(name, angle, side=200, radius=0.4):
    "The round shapes by what they are."
    at = (np.arange(side) + 0.5) / side - 0.5
    x, y = (axis / radius for axis in np.meshgrid(at, at))
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    disc = x**2 + y**2 < 1
    return {
        "circle": disc,
        "ring": disc & (x**2 + y**2 > 0.56**2),
        "semicircle": disc & (x < 0),
        "crescent": disc & ((x - 0.55) ** 2 + y**2 > 0.8**2),
    }[name]


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.5])
def test_shapes_are_what_their_names_say(angle):
    for name in SHAPES:
        check_shape(name, angle)


def check_shape(name, angle):
    "A shape agrees with a picture of it that was made in another way."
    straight = name in ("cross", "square", "star", "triangle")
    expected = polygon(name, angle) if straight else by_formula(name, angle)
    mask = alone(name, angle)
    outline = expected & ~ndimage.binary_erosion(expected)
    assert (mask ^ expected).sum() < 0.1 * outline.sum()
    assert abs(mask.sum() / (np.pi * (200 * 0.4 / reach(SHAPES[name])) ** 2) - 1) < 0.03


def test_a_class_is_its_shape():
    drawn = scenes(80, classes=["ring", "circle"], objects=1, **PLAIN)
    box = drawn.boxes
    middle = drawn.masks[
        box["picture"], (box["y_min"] + box["y_max"]) // 2, (box["x_min"] + box["x_max"]) // 2
    ]
    assert (middle == drawn.labels).all() and set(drawn.labels) == {0, 1}  # a ring is empty there


def test_a_shape_of_your_own_is_a_class(monkeypatch):
    monkeypatch.setitem(SHAPES, "bar", lambda x, y: np.maximum(np.abs(x) - 0.98, np.abs(y) - 0.15))
    drawn = scenes(40, image_size=100, classes=["bar", "circle"], objects=1, **PLAIN)
    bars = drawn.masks[drawn.labels == 0]
    for mask in bars:
        y, x = np.nonzero(mask)
        long, short = np.sqrt(np.linalg.eigvalsh(np.cov(x, y))[::-1])
        assert 5 < long / short < 8  # 0.98 / 0.15 is 6.5
    assert drawn.class_names == ("bar", "circle") and len(bars)


# ---- pixels, masks, boxes

FLAT = scenes(200, objects=(2, 4), overlap=0.5, seed=6, **PLAIN)


def test_inside_a_mask_is_its_colour_and_outside_is_the_ground():
    apart = scenes(200, objects=(2, 4), overlap=0, seed=6, **PLAIN)
    for box in apart.boxes.itertuples():
        inside = ndimage.binary_erosion(apart.masks[box.picture] == box.object, np.ones((3, 3)))
        assert (apart.images[box.picture][inside] == COLOURS[box.colour]).all()
    for picture, mask in zip(apart.images, apart.masks, strict=True):
        ground = picture[ndimage.binary_erosion(mask == 0, np.ones((9, 9)))]  # tips
        assert len(np.unique(ground, axis=0)) == 1
        contrast = np.abs(ground[0] - np.array(list(COLOURS.values()))).max(axis=1)
        assert contrast.min() > 40, "every colour stands out"


def test_an_edge_is_a_blend_of_both_sides():
    drawn = scenes(50, objects=1, seed=2, **PLAIN)
    for picture, mask, colour in zip(drawn.images, drawn.masks, drawn.boxes["colour"], strict=True):
        ground, own = picture[0, 0].astype(float), np.array(COLOURS[colour])
        share = ((picture - ground) @ (own - ground)) / ((own - ground) @ (own - ground))
        assert np.abs(ground + share[..., None] * (own - ground) - picture).max() < 1.5
        assert ((share > 0.5) == mask)[np.abs(share - 0.5) > 0.02].all()
        assert (np.abs(share - 0.5) < 0.45).sum() > 10, "soft"


@pytest.mark.parametrize("drawn", [SQUARE, WIDE, FLAT], ids=["square", "wide", "flat"])
def test_boxes_are_tight_around_what_can_be_seen(drawn):
    listed = set()
    for box in drawn.boxes.itertuples():
        y, x = np.nonzero(drawn.masks[box.picture] == box.object)
        found = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert found == (box.x_min, box.y_min, box.x_max, box.y_max)
        listed.add((box.picture, box.object))
    present = {(i, k) for i, mask in enumerate(drawn.masks) for k in np.unique(mask[mask > 0])}
    assert listed == present


def test_visible_is_the_share_that_nobody_stands_before():
    alone = scenes(200, objects=1, seed=6, **PLAIN)  # the same main objects, without the others
    whole = (alone.masks == 1).sum(axis=(1, 2))
    seen = (FLAT.masks == 1).sum(axis=(1, 2))
    main = FLAT.boxes[FLAT.boxes["object"] == 1]
    np.testing.assert_allclose(main["visible"], seen / whole)
    assert main["visible"].lt(1).sum() > 30 and FLAT.boxes["visible"].min() > 0.3


def test_without_overlap_nothing_is_hidden():
    drawn = scenes(300, objects=(3, 8), overlap=0)
    assert drawn.boxes["visible"].eq(1).all()


@settings(max_examples=25)
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    fewest=st.integers(1, 8),
    more=st.integers(0, 7),
    overlap=st.floats(0, 0.5),
    seed=st.integers(0, 2**64 - 1),
)
def test_at_any_size_the_main_object_is_the_largest_and_names_the_class(
    height, width, fewest, more, overlap, seed
):
    most = min(8, fewest + more)
    options = {"objects": (fewest, most), "overlap": overlap, "seed": seed}
    drawn = scenes(12, image_size=(height, width), **options)
    assert drawn.images.shape == (12, height, width, 3)
    areas = np.stack([(drawn.masks == k).sum(axis=(1, 2)) for k in range(1, 9)])
    assert (areas.argmax(axis=0) == 0).all()
    main = drawn.boxes[drawn.boxes["object"] == 1]
    assert [drawn.class_names[label] for label in drawn.labels] == main["label"].tolist()
    counts = drawn.boxes["picture"].value_counts()
    assert counts.max() <= most and (fewest > 2 or counts.min() >= fewest)


# ---- words


def seen_from(mask, k):
    "The centre of object k's box, from the mask."
    y, x = np.nonzero(mask == k)
    return np.array([x.min() + x.max(), y.min() + y.max()]) / 2


def test_captions_are_true_of_the_pixels():
    drawn = scenes(300, objects=(1, 4), overlap=0, image_size=96, **PLAIN)
    noun = r"an? (?:(small|large) )?(\w+) (\w+)"
    for i, (caption, picture, mask) in enumerate(
        zip(drawn.captions, drawn.images, drawn.masks, strict=True)
    ):
        first, _, rest = caption.partition(" with ")
        parts = [first, *re.split(r", | and ", rest)] if rest else [first]
        assert len(parts) == mask.max()
        for k, said in enumerate(parts, 1):
            size, colour, label, where = re.fullmatch(
                noun + "(?: (left of|right of|above|below) it)?", said
            ).groups()
            assert said.startswith("an ") == ((size or colour)[0] in "aeiou")
            colours, counts = np.unique(picture[mask == k], axis=0, return_counts=True)
            assert tuple(colours[counts.argmax()]) == COLOURS[colour]
            radius = np.sqrt((mask == k).sum() / np.pi) / 96
            assert {"small": radius < 0.094, None: 0.086 < radius < 0.154, "large": radius > 0.146}[
                size
            ]
            assert drawn.boxes.query(f"picture == {i} and object == {k}")["label"].item() == label
            right, down = seen_from(mask, k) - seen_from(mask, 1)
            assert (where is None) == (k == 1)
            if where:
                far = {"left of": -right, "right of": right, "above": -down, "below": down}[where]
                assert far > 0 and far == max(abs(right), abs(down))


# ---- what a network could use instead of the shape


def test_neither_colour_nor_area_nor_ground_tells_the_class():
    drawn = scenes(4000, image_size=24, objects=1, seed=11)
    table = np.zeros((8, 8))
    colours = drawn.boxes["colour"].map({name: i for i, name in enumerate(COLOURS)})
    np.add.at(table, (drawn.labels, colours), 1)
    assert chi2_contingency(table).pvalue > 1e-3 and table.min() > 30
    assert np.bincount(drawn.labels).min() > 430  # of 500
    large = scenes(800, image_size=96, objects=1, seed=11, **PLAIN)
    area = (large.masks == 1).sum(axis=(1, 2))
    means = [area[large.labels == label].mean() for label in range(8)]
    assert max(means) / min(means) < 1.15  # sizes differ by a factor of 3 within each class
    brightness = grounds(11, np.arange(4000), 24, 24, 0.5).mean(axis=(1, 2, 3))
    means = [brightness[drawn.labels == label].mean() for label in range(8)]
    assert max(means) - min(means) < 8  # of a range of 115


def test_bias_ties_the_colour_to_the_class():
    drawn = scenes(300, bias=1, seed=1)
    assert drawn.boxes.groupby("label")["colour"].nunique().eq(1).all()
    assert drawn.boxes.groupby("colour")["label"].nunique().eq(1).all()
    half = scenes(2000, image_size=16, objects=1, bias=0.5, seed=1).boxes
    own = half["colour"].map({name: i for i, name in enumerate(COLOURS)})
    assert (
        abs((own == half["label"].map({n: i for i, n in enumerate(SHAPES)})).mean() - 0.5625) < 0.05
    )
    assert (scenes(300, bias=1, seed=1).masks == scenes(300, bias=0, seed=1).masks).all()


def test_without_bias_no_colour_comes_twice_in_a_scene():
    drawn = scenes(200, objects=8)
    assert not drawn.boxes.duplicated(["picture", "colour"]).any()


def test_noise_and_texture_are_as_strong_as_said():
    options = {"texture": 0, "objects": 1, "image_size": 96}
    clean, noisy = scenes(20, noise=0, **options), scenes(20, noise=8, **options)
    off = (noisy.images.astype(float) - clean.images)[clean.masks == 0]
    assert abs(off.std() - 8) < 0.3 and abs(off.mean()) < 0.2
    spread = [scenes(60, noise=0, texture=t).images.std(axis=(1, 2)).mean() for t in (0, 0.5, 1)]
    assert spread[0] < spread[1] < spread[2]


# ---- for every task


def test_masks_by_class_and_padded_boxes_say_the_same_as_the_table():
    semantic, padded = FLAT.semantic_masks(), FLAT.bounding_boxes()
    assert ((semantic > 0) == (FLAT.masks > 0)).all()
    for box in FLAT.boxes.itertuples():
        own = FLAT.masks[box.picture] == box.object
        assert (semantic[box.picture][own] - 1 == FLAT.class_names.index(box.label)).all()
        corner = padded["boxes"][box.picture, box.object - 1]
        assert corner.tolist() == [box.x_min, box.y_min, box.x_max, box.y_max]
        assert FLAT.class_names[padded["labels"][box.picture, box.object - 1]] == box.label
    assert (padded["labels"] >= 0).sum() == len(FLAT.boxes)
    assert (padded["boxes"][padded["labels"] < 0] == 0).all()


def test_keras_layers_take_pictures_boxes_and_masks_together():
    data = {
        "images": FLAT.images[:8].astype("float32"),
        "bounding_boxes": {name: value[:8] for name, value in FLAT.bounding_boxes().items()},
        "segmentation_masks": FLAT.semantic_masks()[:8, ..., None].astype("float32"),
    }
    flip = keras.layers.RandomFlip("horizontal", seed=1, bounding_box_format="xyxy")
    flipped = keras.tree.map_structure(keras.ops.convert_to_numpy, flip(data, training=True))
    turned = (flipped["images"] != FLAT.images[:8]).any(axis=(1, 2, 3))
    assert 0 < turned.sum() < 8
    for i in range(8):
        expected = FLAT.masks[i, :, ::-1] if turned[i] else FLAT.masks[i]
        for k in np.unique(expected[expected > 0]):
            y, x = np.nonzero(expected == k)
            box = flipped["bounding_boxes"]["boxes"][i, k - 1]
            assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert ((flipped["segmentation_masks"][i, ..., 0] > 0) == (expected > 0)).all()


def test_a_catalog_has_one_class_a_picture_or_all_of_them():
    single, multi = FLAT.catalog(), FLAT.catalog(multi_label=True)
    assert single.table["label"].tolist() == [FLAT.class_names[i] for i in FLAT.labels]
    found = FLAT.boxes.groupby("picture")["label"].agg(lambda words: tuple(sorted(set(words))))
    assert multi.multi_label and multi.table["label"].tolist() == found.tolist()
    for catalog in (single, multi):
        assert catalog.class_names == tuple(SHAPES) and catalog.horizontal_flip
        assert (catalog.arrays == FLAT.images).all()
    assert set(single.split().table["split"]) == {"train", "valid", "test"}


REFUSED = [
    ({"n": 0}, "n must be a whole number from 1"),
    ({"n": 2.5}, "n must be a whole number"),
    ({"image_size": 15}, "image_size must be a whole number from 16"),
    ({"image_size": (64,)}, "image_size must be a number or two"),
    ({"image_size": (64, "64")}, "image_size must be a whole number"),
    ({"image_size": 64.0}, "image_size must be a number or two"),
    ({"objects": 0}, "objects must be a whole number from 1 to 8, received 0"),
    ({"objects": (1, 9)}, "objects must be a whole number from 1 to 8, received 9"),
    ({"objects": ()}, "objects must be a number or two"),
    ({"classes": []}, "classes must be names that differ"),
    ({"classes": "circle"}, "classes must be"),
    ({"classes": ["circle", "circle"]}, "classes must be names that differ"),
    ({"classes": ["circel"]}, "Did you mean 'circle'"),
    ({"texture": 1.1}, "texture must be from 0 to 1, received 1.1"),
    ({"texture": float("nan")}, "texture must be from 0 to 1"),
    ({"noise": -1}, "noise must be from 0 to 64"),
    ({"noise": "much"}, "noise must be from 0 to 64"),
    ({"overlap": 0.6}, "overlap must be from 0 to 0.5"),
    ({"bias": 2}, "bias must be from 0 to 1"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"seed": 2**64}, "seed must be a whole number"),
    ({"first": -1}, "first must be a whole number"),
]


def test_settings_of_which_no_scene_can_be_made_are_refused():
    for options, words in REFUSED:
        with pytest.raises(OptionError, match=words):
            scenes(**{"n": 3} | options)
    assert same(scenes(20, objects=(3, 1)), scenes(20, objects=(1, 3)))

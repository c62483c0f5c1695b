"""Augmentation: a function of its seed that keeps pictures what they are."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.augment import (
    LARGEST,
    ONE_WAY,
    RECIPES,
    Augment,
    as_recipe,
    augment_batch,
    check_mixing,
    limited,
    mix_batch,
    preview,
)
from imgrec.core import OptionError
from imgrec.layers import check_layers

BATCH = np.random.default_rng(0).integers(0, 256, (6, 14, 10, 3)).astype(np.uint8)
SEED = tf.constant([3, 4])


def varied(images, recipe, seed=SEED):
    "A batch after augmentation, as an array."
    return augment_batch(tf.constant(images), as_recipe(recipe), seed).numpy()


def test_none_changes_nothing():
    np.testing.assert_array_equal(varied(BATCH, "none"), BATCH.astype(np.float32))


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "none"])
def test_the_seed_alone_decides_and_every_picture_has_a_fate_of_its_own(recipe):
    once = varied(BATCH, recipe)
    np.testing.assert_array_equal(once, varied(BATCH, recipe))
    assert np.abs(once - varied(BATCH, recipe, tf.constant([3, 5]))).mean() > 1
    alike = varied(np.repeat(BATCH[:1], 6, axis=0), recipe)
    assert all(np.abs(alike[0] - other).mean() > 1 for other in alike[1:])
    other = varied(np.concatenate([BATCH[:3], 255 - BATCH[3:]]), recipe)
    np.testing.assert_array_equal(once[:3], other[:3])  # whoever its neighbours are


def pipeline(recipe, batches=6):
    "Batches by number, as they are made for training: of unknown size, several at once."

    def step(number):
        images = tf.gather(tf.constant(BATCH), tf.range(number % 2 + 5))
        return augment_batch(images, recipe, tf.stack([7, number]))

    return tf.data.Dataset.range(batches, output_type=tf.int32).map(step, tf.data.AUTOTUNE)


@pytest.mark.parametrize("recipe", ["light", "strong", "randaugment"])
def test_the_same_comes_out_in_every_pass_and_outside_of_a_pipeline(recipe):
    once, again = list(pipeline(RECIPES[recipe])), list(pipeline(RECIPES[recipe]))
    for number, (first, second) in enumerate(zip(once, again, strict=True)):
        outside = varied(BATCH[: number % 2 + 5], recipe, tf.constant([7, number]))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, outside)


def test_a_mirror_is_exact_and_takes_about_half():
    many = np.repeat(BATCH[:1], 200, axis=0)
    for recipe, mirrored in [
        (Augment(horizontal_flip=True), BATCH[0, :, ::-1]),
        (Augment(vertical_flip=True), BATCH[0, ::-1]),
    ]:
        views = varied(many, recipe)
        same = np.isclose(views, BATCH[0], atol=0.01).all(axis=(1, 2, 3))
        turned = np.isclose(views, mirrored, atol=0.01).all(axis=(1, 2, 3))
        assert (same ^ turned).all() and 70 < turned.sum() < 130


def test_a_shift_moves_and_a_zoom_scales_by_no_more_than_said():
    square = np.zeros((200, 41, 41, 1), np.uint8)
    square[:, 16:25, 16:25] = 255
    moved = varied(square, Augment(shift=0.2))[..., 0]
    rows = np.arange(41)
    centre = (moved.sum(axis=2) * rows).sum(axis=1) / moved.sum(axis=(1, 2))
    assert np.abs(centre - 20).max() < 8.2 and np.abs(centre - 20).max() > 6
    scaled = varied(square, Augment(zoom=0.5))[..., 0].sum(axis=(1, 2)) / 255
    assert 81 / 1.5**2 - 6 < scaled.min() < 50 and 200 < scaled.max() < 81 / 0.5**2 + 20


def test_a_rotation_turns_by_no_more_than_said():
    bar = np.zeros((100, 41, 41, 1), np.uint8)
    bar[:, 20, 4:37] = 255
    turned = varied(bar, Augment(rotation=30))[..., 0]
    rows, columns = np.mgrid[:41, :41] - 20
    angles = [
        np.degrees(np.arctan(np.polyfit(columns[t > 99], rows[t > 99], 1)[0])) for t in turned
    ]
    assert np.abs(angles).max() < 32 and np.abs(angles).max() > 20


def test_a_shear_slants_by_no_more_than_said():
    bar = np.zeros((100, 41, 41, 1), np.uint8)
    bar[:, 20, 4:37] = 255
    slanted = varied(bar, Augment(shear=30))[..., 0]
    rows, columns = np.mgrid[:41, :41] - 20
    slopes = [np.polyfit(columns[t > 99], rows[t > 99], 1)[0] for t in slanted]
    assert 20 < np.degrees(np.arctan(np.abs(slopes).max())) < 32


def up_to(largest):
    "Nothing or a hundred steps (TensorFlow forbids Hypothesis's smallest floats)."
    return st.just(0) | st.integers(1, 100).map(lambda step: step * largest / 100)


WHOLE = ("posterize", "choose")
GEOMETRY = {name: up_to(LARGEST[name]) for name in ("zoom", "shift", "rotation", "shear")}
VALUES = ("brightness", "contrast", "saturation", "hue", "solarize", "cutout", "erasing")
numbers = GEOMETRY | {name: up_to(LARGEST[name]) for name in VALUES}
numbers |= {name: st.integers(0, LARGEST[name]) for name in WHOLE}
recipes = st.builds(Augment, st.booleans(), st.booleans(), **numbers)
sizes = [(1, 1, 3), (1, 7, 1), (6, 1, 3), (12, 9, 3), (5, 8, 1)]  # few, as each is compiled


@settings(max_examples=40)
@given(recipes, st.sampled_from(sizes))
def test_any_recipe_gives_pixels_from_0_to_255_for_pictures_of_any_size(recipe, size):
    pictures = np.full((2, *size), 200, np.uint8)
    views = varied(pictures, recipe)
    assert views.shape == pictures.shape and views.dtype == np.float32
    assert np.isfinite(views).all() and views.min() >= 0 and views.max() <= 255
    moved = varied(pictures, replace(recipe, **dict.fromkeys((*VALUES, *WHOLE), 0)))
    np.testing.assert_allclose(moved, 200, atol=0.01)  # no border shows anywhere


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "posterize"])
def test_colours_change_by_no_more_than_said_and_places_stay(name):
    orange = np.broadcast_to(np.uint8([200, 120, 80]), (300, 6, 6, 3)).copy()
    orange[:, 3:] = (180, 150, 120)  # a mean for the contrast to stretch around
    views = varied(orange, Augment(**{name: {"hue": 0.1, "posterize": 4}.get(name, 0.2)}))
    for half in (views[:, :3], views[:, 3:]):
        np.testing.assert_allclose(np.ptp(half, axis=(1, 2)), 0, atol=1e-3)
    change = np.abs(views - orange).max()
    luma = orange @ [0.299, 0.587, 0.114]
    away = {
        "brightness": 51.0,
        "contrast": 0.2 * np.abs(orange - luma.mean()).max(),
        "saturation": 0.2 * np.abs(orange - luma[..., None]).max(),
        "hue": 75.0,  # a tenth of the circle, from this orange
        "posterize": 8.0,  # the low four bits of 200
    }
    assert 0.9 * away[name] < change < 1.01 * away[name]


def test_solarize_inverts_up_to_the_share_that_is_said():
    ramp = np.tile(np.arange(256).reshape(1, 16, 16, 1), (200, 1, 1, 1))
    inverted = (varied(ramp, Augment(solarize=0.5)) != ramp).mean(axis=(1, 2, 3))
    assert inverted.min() < 0.02 and 0.45 < inverted.max() <= 0.5


@pytest.mark.parametrize("choose", [1, 2, 3])
def test_only_so_many_moves_are_chosen_and_each_of_them_sometimes(choose):
    square = np.full((300, 21, 21, 3), (100, 110, 130), np.uint8)
    square[:, 8:13, 8:13] = (200, 210, 230)
    views = varied(square, Augment(choose=choose, zoom=0.5, saturation=0.5, brightness=0.1))
    ground = views[:, 0, 0]
    happened = [
        (views[..., 0] > ground[:, 0, None, None] + 50).sum(axis=(1, 2)) != 25,  # zoom
        np.abs(ground[:, 2] - ground[:, 0] - 30) > 0.1,  # saturation
        np.abs(ground @ [0.299, 0.587, 0.114] - 109.29) > 0.1,  # brightness
    ]
    assert np.mean(happened, axis=1).min() > 0.2
    assert np.sum(happened, axis=0).max() == choose


def test_a_cutout_hides_a_grey_square():
    views = varied(np.full((50, 20, 20, 3), 200), Augment(cutout=0.5))
    hidden = (views == 127.5).all(axis=-1)
    assert set(np.unique(views)) == {127.5, 200}
    assert 0 < hidden.mean() < 0.3 and hidden.sum(axis=(1, 2)).max() <= 11 * 11


def test_erasing_takes_a_third_at_most_of_as_many_pictures_as_said():
    views = varied(np.full((400, 30, 30, 3), 7), Augment(erasing=0.3))
    share = (views != 7).any(axis=-1).mean(axis=(1, 2))
    assert 0.24 < (share > 0).mean() < 0.36 and 0.25 < share.max() < 0.36


def test_limits_keep_a_recipe_within_what_leaves_labels_true():
    wild = Augment(True, True, rotation=90, shear=45, zoom=0.5, choose=2)
    assert limited(wild, ONE_WAY) == Augment(rotation=20, shear=20, zoom=0.5, choose=2)
    for recipe in RECIPES.values():
        kept = limited(recipe, ONE_WAY)
        assert not kept.horizontal_flip and kept.rotation <= 20 and kept.zoom == recipe.zoom
        assert limited(kept, ONE_WAY) == kept and limited(recipe, {}) is not None
    seven = np.zeros((200, 15, 15, 1), np.uint8)
    seven[:, 2, 2:12] = seven[:, 2:12, 11] = 255  # its right upper corner is the heavy one
    views = varied(seven, limited(Augment(True, True, rotation=180), ONE_WAY))
    assert (views[:, :8, 8:].sum(axis=(1, 2, 3)) > 2 * views[:, 8:, :7].sum(axis=(1, 2, 3))).all()
    with pytest.raises(OptionError, match="Did you mean 'rotation'"):
        limited(wild, {"rotations": 3})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("lite", "Did you mean 'light'"),
        ({"zoomm": 0.1}, "Did you mean 'zoom'"),
        ({"zoom": 1.5}, "zoom must be in 0 to 0.9, received 1.5"),
        ({"rotation": -1}, "rotation must be in 0 to 180"),
        ({"shift": float("nan")}, "shift must be"),
        ({"contrast": "much"}, "contrast must be .* received 'much'"),
        ({"horizontal_flip": 0.5}, "horizontal_flip must be True or False, received 0.5"),
        ({"posterize": 2.5}, "posterize must be a whole number"),
        ({"hue": 0.6}, "hue must be in 0 to 0.5"),
        ({"mixup": -0.2}, "mixup must be in 0 to 10"),
        (7, "received 7"),
        ([0.1], "Expected a recipe's name"),
    ],
)
def test_an_impossible_recipe_says_what_is_wrong(wrong, words):
    with pytest.raises(OptionError, match=words):
        as_recipe(wrong)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_json(recipe):
    assert as_recipe(json.loads(json.dumps(RECIPES[recipe].to_dict()))) == RECIPES[recipe]
    assert as_recipe(None) == RECIPES["none"]


@keras.saving.register_keras_serializable("tests")
class Darker(keras.layers.Layer):
    "A layer of the user's own."

    def call(self, images):
        return images / 2


def test_layers_join_the_recipe_and_come_back_from_it():
    recipe = Augment(layers=(Darker(), keras.layers.RandomBrightness(0.0)))
    again = as_recipe(recipe.to_dict())
    assert [type(layer) for layer in again.layers] == [Darker, keras.layers.RandomBrightness]
    np.testing.assert_allclose(varied(BATCH, again), BATCH / 2, atol=0.01)


@keras.saving.register_keras_serializable("tests")
class Failing(keras.layers.Layer):
    "A layer that cannot do what it is asked to."

    def call(self, images):
        return images + keras.ops.zeros((7, 1))


@keras.saving.register_keras_serializable("tests")
class NoNumber(keras.layers.Layer):
    "A layer whose pixels are none."

    def call(self, images):
        return images * float("nan")


@keras.saving.register_keras_serializable("tests")
class Whole(keras.layers.Layer):
    "A layer that gives whole numbers."

    def call(self, images):
        return keras.ops.cast(images, "uint8")


def test_a_layer_may_stand_in_the_fields_of_a_recipe():
    for layers in (Darker(), [Darker()], (Darker(),)):
        recipe = as_recipe({"zoom": 0.1, "layers": layers})
        assert [type(layer) for layer in recipe.layers] == [Darker]
    whole = varied(BATCH, as_recipe({"layers": Whole()}))
    np.testing.assert_array_equal(whole, np.floor(BATCH))
    with pytest.raises(OptionError, match="must be Keras layers, received"):
        as_recipe({"layers": [len]})


def test_layers_are_tried_before_anything_is_loaded():
    shape = (14, 10, 3)
    check_layers([], shape)
    check_layers([Darker(), keras.layers.RandomBrightness((-1, -1))], shape)  # black is allowed
    with pytest.raises(OptionError, match=r"makes pixels of up to 1\.00 from pixels in 0-255"):
        check_layers([Darker(), keras.layers.Rescaling(2 / 255)], shape)
    for layer, words in (
        (keras.layers.BatchNormalization(), "has weights to be trained"),
        (keras.layers.Dense(3), "has weights to be trained"),
        (NoNumber(), "no numbers"),
    ):
        with pytest.raises(OptionError, match=words):
            check_layers([layer], shape)
    check_layers([Whole()], shape)
    with pytest.raises(Exception, match=r"shape|broadcast|Incompatible") as caught:
        check_layers([Failing()], shape)
    assert any("layer failing" in note for note in caught.value.__notes__)


def test_what_is_no_layer_is_refused():
    assert Augment(layers=Darker()) != Augment() and len(Augment(layers=[Darker()]).layers) == 1
    for wrong in (lambda images: images, [Darker], "flip", None):
        with pytest.raises(OptionError, match="must be Keras layers, received"):
            Augment(layers=wrong)


class Unregistered(keras.layers.Layer):
    "A layer that Keras cannot find again."


def test_a_layer_that_cannot_be_made_anew_is_named():
    with pytest.raises(OptionError, match="Layer 'Unregistered' cannot be made anew"):
        as_recipe(Augment(layers=Unregistered()).to_dict())


class Sprinkle(keras.layers.Layer):
    "A layer with random numbers and a part of its own, and a weight that is no seed."

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(1)
        self.brightness = keras.layers.RandomBrightness(0.5)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, images, training=False):
        noise = keras.random.uniform(keras.ops.shape(images), 0, 20, seed=self.generator)
        return self.brightness(images, training=training) + noise + self.count


@pytest.mark.parametrize(
    "make",
    [
        Sprinkle,
        lambda: keras.layers.RandomZoom(0.3),
        lambda: keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomContrast(0.5)]),
    ],
    ids=["own", "zoom", "sequential"],
)
def test_keras_layers_are_functions_of_our_seed(make):
    recipe = Augment(layers=(make(),))
    once, again = list(pipeline(recipe)), list(pipeline(Augment(layers=(make(),))))
    for number, (first, second) in enumerate(zip(once, again, strict=True)):
        np.testing.assert_array_equal(first, second)
        outside = varied(BATCH[: number % 2 + 5], recipe, tf.constant([7, number]))
        np.testing.assert_allclose(first, outside, atol=1e-3)
    assert np.abs(once[0] - once[2]).mean() > 1
    twice = varied(BATCH, Augment(layers=(make(), make())))
    assert np.abs(twice - varied(BATCH, recipe)).mean() > 1  # the second draws anew


def test_a_layer_that_changes_the_size_is_refused():
    with pytest.raises(OptionError, match=r"keep the shape \(14, 10, 3\).*gives \(5, 5, 3\)"):
        varied(BATCH, Augment(layers=(keras.layers.RandomCrop(5, 5),)))


def test_mixing_is_the_last_step_and_takes_the_labels_along():
    labels = tf.one_hot([0, 1, 2, 0, 1, 2], 3)
    for recipe in RECIPES.values():
        images, same = mix_batch(BATCH, labels, recipe, SEED)
        assert images is BATCH and same is labels
    recipe = replace(RECIPES["medium"], mixup=0.4, cutmix=1)

    def step(number):
        seed = tf.stack([tf.constant(7, tf.int64), number])
        return mix_batch(augment_batch(BATCH, recipe, seed), labels, recipe, seed)

    dataset = tf.data.Dataset.range(4).map(step, num_parallel_calls=2)
    for number, (images, shares) in enumerate(dataset):
        again, same = step(tf.constant(number, tf.int64))
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(shares, same)
        np.testing.assert_allclose(np.sum(shares, axis=1), 1, atol=1e-5)
        assert images.dtype == tf.float32 and np.min(images) >= 0 and np.max(images) <= 255.01


def test_a_binary_label_becomes_a_share():
    images = np.float32([[[[0]]], [[[200]]]])
    mixed, shares = mix_batch(images, tf.constant([[0.0], [1.0]]), Augment(mixup=1), SEED)
    np.testing.assert_allclose(np.ravel(mixed), 200 * np.ravel(shares), atol=0.01)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.int32([0, 1]), r"received int32 of shape \(2,\).*label_mode='categorical'"),
        (np.float32([0, 1]), r"received float32 of shape \(2,\)"),
        (np.int64([[0, 1], [1, 0]]), "received int64"),
    ],
)
def test_labels_that_cannot_be_shared_are_refused(labels, words):
    check_mixing(RECIPES["strong"], labels)  # which mixes nothing
    with pytest.raises(OptionError, match=words):
        check_mixing(Augment(mixup=0.2), labels)
    with pytest.raises(OptionError, match=words):
        mix_batch(BATCH[:2], tf.constant(labels), Augment(cutmix=1), SEED)


def test_a_preview_is_uint8_and_repeats():
    views = preview(BATCH[0], "strong", n=5, seed=2)
    assert views.shape == (5, 14, 10, 3) and views.dtype == np.uint8
    np.testing.assert_array_equal(views, preview(BATCH[0], "strong", n=5, seed=2))
    assert (views != preview(BATCH[0], "strong", n=5, seed=3)).any()

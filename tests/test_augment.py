"""Augmentation: a function of its seed that keeps pictures what they are."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.augment import LARGEST, RECIPES, Augment, as_recipe, augment_batch, preview
from imgrec.core import OptionError

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


@pytest.mark.parametrize("recipe", ["light", "strong"])
def test_the_same_comes_out_inside_and_outside_of_a_pipeline(recipe):
    dataset = tf.data.Dataset.from_tensors(BATCH)
    inside = next(iter(dataset.map(lambda x: augment_batch(x, as_recipe(recipe), SEED)))).numpy()
    np.testing.assert_allclose(inside, varied(BATCH, recipe), atol=0.01)


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


def up_to(largest):
    "Nothing or a hundred steps (TensorFlow forbids Hypothesis's smallest floats)."
    return st.just(0) | st.integers(1, 100).map(lambda step: step * largest / 100)


shares = {name: up_to(LARGEST.get(name, 1)) for name in ("zoom", "shift", "cutout", "rotation")}
shares |= {name: up_to(1) for name in ("brightness", "contrast")}
recipes = st.builds(Augment, st.booleans(), st.booleans(), **shares)


@settings(deadline=None, max_examples=60)
@given(recipes, st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))
def test_any_recipe_gives_pixels_from_0_to_255_for_pictures_of_any_size(
    recipe, height, width, channels
):
    pictures = np.full((2, height, width, channels), 200, np.uint8)
    views = varied(pictures, recipe)
    assert views.shape == pictures.shape and views.dtype == np.float32
    assert np.isfinite(views).all() and views.min() >= 0 and views.max() <= 255
    moved = varied(pictures, replace(recipe, brightness=0, contrast=0, cutout=0))
    np.testing.assert_allclose(moved, 200, atol=0.01)  # no border shows anywhere


def test_a_cutout_hides_a_grey_square():
    views = varied(np.full((50, 20, 20, 3), 200), Augment(cutout=0.5))
    hidden = (views == 127.5).all(axis=-1)
    assert set(np.unique(views)) == {127.5, 200}
    assert 0 < hidden.mean() < 0.3 and hidden.sum(axis=(1, 2)).max() <= 11 * 11


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("lite", "Did you mean 'light'"),
        ({"zoomm": 0.1}, "Did you mean 'zoom'"),
        ({"zoom": 1.5}, "zoom must be in 0 to 0.9, received 1.5"),
        ({"rotation": -1}, "rotation must be in 0 to 180"),
        ({"shift": float("nan")}, "shift must be"),
        ({"contrast": "much"}, "contrast must be .* received 'much'"),
        (7, "received 7"),
        ([0.1], "Expected a recipe's name"),
    ],
)
def test_an_impossible_recipe_says_what_is_wrong(wrong, words):
    with pytest.raises(OptionError, match=words):
        as_recipe(wrong)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_json(recipe):
    import json

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


def test_a_preview_is_uint8_and_repeats():
    views = preview(BATCH[0], "strong", n=5, seed=2)
    assert views.shape == (5, 14, 10, 3) and views.dtype == np.uint8
    np.testing.assert_array_equal(views, preview(BATCH[0], "strong", n=5, seed=2))
    assert (views != preview(BATCH[0], "strong", n=5, seed=3)).any()

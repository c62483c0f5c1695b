"""One map of colours a picture: luma and grey stay, where they should."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.colour import colour_matrices, mean_colours, recolour, relevel

LUMA = np.array([0.299, 0.587, 0.114])
PHOTOS = np.random.default_rng(1).integers(40, 216, (3, 9, 7, 3)).astype(np.uint8)
GREYS = PHOTOS[..., :1]


def changed(images, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0):
    "Pictures after one change of all of them."
    each = [tf.fill([len(images)], x) for x in (brightness, contrast, saturation, hue)]
    return recolour(images, colour_matrices(mean_colours(images), *each)).numpy()


@pytest.mark.parametrize("images", [PHOTOS, GREYS])
def test_brightness_adds_and_contrast_stretches_around_the_mean(images):
    np.testing.assert_allclose(changed(images), images, atol=0.01)
    np.testing.assert_allclose(changed(images, brightness=0.1), images + 25.5, atol=0.01)
    assert (
        changed(images, brightness=1.0).min() > 254 and changed(images, brightness=-1.0).max() < 1
    )
    for stretch in (0.0, 0.5):
        result = changed(images, contrast=stretch)
        luma = images @ (LUMA if images.shape[-1] == 3 else [1.0])
        middle = luma.mean(axis=(1, 2))[:, None, None, None]
        np.testing.assert_allclose(result, middle + stretch * (images - middle), atol=0.05)


@settings(max_examples=40)
@given(st.floats(0, 1, width=16), st.floats(-0.5, 0.5, width=16))
def test_saturation_and_hue_leave_luma_and_greys_alone(saturation, hue):
    soft = (120 + (PHOTOS.astype(float) - 120) / 8).astype(np.float32)  # none is cut off
    result = changed(soft, saturation=saturation, hue=hue)
    np.testing.assert_allclose(result @ LUMA, soft @ LUMA, atol=0.2)
    greys = np.repeat(GREYS, 3, axis=-1)
    np.testing.assert_allclose(changed(greys, saturation=saturation, hue=hue), greys, atol=0.5)
    np.testing.assert_allclose(changed(GREYS, saturation=saturation, hue=hue), GREYS, atol=0.01)


def test_hue_turns_all_around_and_saturation_ends_at_grey():
    np.testing.assert_allclose(changed(PHOTOS, hue=1.0), PHOTOS, atol=0.5)
    assert np.abs(changed(PHOTOS, hue=0.5) - PHOTOS).mean() > 10
    grey = changed(PHOTOS, saturation=0.0)
    np.testing.assert_allclose(grey, np.repeat(grey[..., :1], 3, axis=-1), atol=0.5)


def test_the_mean_is_of_a_grid_so_close_to_the_mean_of_all():
    ramp = np.linspace(0, 255, 150 * 100 * 3).reshape(1, 150, 100, 3).astype(np.float32)
    np.testing.assert_allclose(mean_colours(ramp), ramp.mean(axis=(1, 2)), atol=3)
    np.testing.assert_allclose(mean_colours(PHOTOS), PHOTOS.mean(axis=(1, 2)), atol=0.01)


@settings(max_examples=40)
@given(st.integers(0, 255), st.integers(0, 7))
def test_solarize_and_posterize_value_by_value(threshold, bits):
    values = np.arange(256).reshape(1, 16, 16, 1)
    expected = np.where(values > threshold, 255 - values, values) >> bits << bits
    np.testing.assert_array_equal(relevel(values, [threshold], [bits]), expected)

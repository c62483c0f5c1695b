"""Boxes and mixtures: what is seen of a picture is what its label says."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.mixing import draw_boxes, erase, mix_pairs

SEED = tf.constant([5, 6])


@settings(max_examples=60)
@given(
    st.floats(0, 1, width=16),
    st.floats(0, 1, width=16),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 1000),
)
def test_a_box_lies_in_the_picture_and_is_no_larger_than_asked(tall, wide, height, width, seed):
    boxes = draw_boxes(tf.fill([20], tall), tf.fill([20], wide), (height, width), [seed, 0])
    top, left, bottom, right = boxes.numpy().T
    assert (top >= 0).all() and (top <= bottom).all() and (bottom <= height).all()
    assert (left >= 0).all() and (left <= right).all() and (right <= width).all()
    assert (bottom - top).max() <= round(tall * height) + 1
    assert (right - left).max() <= round(wide * width) + 1


def test_boxes_lie_everywhere_and_on_all_sides_alike():
    boxes = draw_boxes(tf.fill([4000], 0.5), tf.fill([4000], 0.5), (12, 12), SEED)
    white = erase(tf.zeros((4000, 12, 12, 1)), boxes, tf.ones((4000, 1))).numpy().mean(axis=0)
    hidden = white[..., 0]
    for turned in (hidden[::-1], hidden[:, ::-1], hidden.T):
        np.testing.assert_allclose(hidden, turned, atol=0.05)
    assert 0.05 < hidden[0, 0] < hidden[6, 6]


def test_what_is_erased_has_one_shade_and_the_rest_stays():
    images = np.random.default_rng(0).integers(0, 200, (30, 8, 9, 3))
    boxes = draw_boxes(tf.fill([30], 0.6), tf.fill([30], 0.4), (8, 9), SEED)
    shades = tf.random.stateless_uniform((30, 3), SEED, 210, 255)
    erased = erase(images, boxes, shades).numpy()
    for before, after, (top, left, bottom, right), shade in zip(
        images, erased, boxes.numpy(), shades.numpy(), strict=True
    ):
        assert (after[top:bottom, left:right] == shade).all()
        after[top:bottom, left:right] = before[top:bottom, left:right]
        np.testing.assert_array_equal(after, before)


def plain(n, size=(10, 8)):
    "Pictures of one value each, and a class of its own for each."
    values = np.linspace(10, 250, n, dtype=np.float32)
    return np.broadcast_to(values[:, None, None, None], (n, *size, 3)), np.eye(n, dtype=np.float32)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0), (1, 0), (0, 1), (0.4, 1), (0.01, 10)])
def test_labels_sum_to_one_and_say_how_much_is_seen(mixup, cutmix):
    images, labels = plain(40)
    mixed, shares = mix_pairs(images, labels, mixup, cutmix, SEED)
    mixed, shares = mixed.numpy(), shares.numpy()
    assert mixed.dtype == shares.dtype == np.float32 and np.isfinite(mixed).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    value = images[:, 0, 0, 0]
    np.testing.assert_allclose(mixed[..., 0].mean(axis=(1, 2)), shares @ value, atol=0.05)
    own, other = shares[range(40), range(40)], shares[range(40), np.arange(40) - 1]
    np.testing.assert_allclose(own + other, 1, atol=1e-5)  # two pictures, no more
    cut = np.ptp(mixed, axis=(1, 2, 3)) > 0.01
    if not cutmix:
        assert not cut.any()
    elif mixup:
        assert 8 < cut.sum() < 32  # half of them, less the boxes that hide nothing or all
    if cutmix:  # of a cut picture, every pixel is of one or of the other
        kept, laid = (np.isclose(mixed, x, atol=0.01) for x in (images, np.roll(images, 1, 0)))
        assert (kept | laid)[cut].all()
        np.testing.assert_allclose(own[cut], kept[cut].mean(axis=(1, 2, 3)), atol=1e-5)


def test_the_seed_decides_and_pictures_are_mixed_in_shares_of_their_own():
    images, labels = plain(16)
    once = mix_pairs(images, labels, 1, 0, SEED)
    again = mix_pairs(images, labels, 1, 0, SEED)
    other = mix_pairs(images, labels, 1, 0, SEED + 1)
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])
    assert np.abs(once[1] - other[1]).mean() > 0.01
    assert len(np.unique(np.diag(once[1]).round(4))) > 12


def test_a_picture_alone_stays_and_several_labels_are_weighted():
    images, _ = plain(1)
    alone, label = mix_pairs(images, np.float32([[1, 0, 1]]), 1, 1, SEED)
    np.testing.assert_allclose(alone, images, atol=1e-3)
    np.testing.assert_allclose(label, [[1, 0, 1]], atol=1e-6)
    images, _ = plain(2)
    _, labels = mix_pairs(images, np.float32([[1, 0, 1], [0, 0, 0]]), 1, 0, SEED)
    np.testing.assert_allclose(labels[:, 0], labels[:, 2])  # both are seen alike
    np.testing.assert_array_equal(labels[:, 1], 0)

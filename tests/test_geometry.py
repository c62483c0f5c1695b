"""One map of places a picture: exact where it can be, SciPy's transform everywhere else."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import imgrec.geometry
from imgrec.geometry import affine_matrices, can_compile, compiled, warp

NOISE = np.random.default_rng(0)
SHAPES = [(12, 12, 3), (7, 5, 3), (1, 9, 1), (1, 1, 3)]  # few, as each is compiled
BATCHES = {shape: NOISE.integers(0, 256, (2, *shape)).astype(np.uint8) for shape in SHAPES}


def maps(scale=1.0, angle=0.0, slant=(0, 0), shift=(0, 0), flip=(1, 1), n=2):
    "The same map for `n` pictures."
    parts = [np.broadcast_to(np.float32(x), (n, *np.shape(x))) for x in (slant, shift, flip)]
    return affine_matrices(tf.fill([n], float(scale)), tf.fill([n], float(angle)), *parts)


def reference(picture, matrix):
    "SciPy's answer for one picture."
    size, linear = np.array(picture.shape[:2]), matrix[:, :2].astype(float)
    middle = (size - 1) / 2
    offset = middle + matrix[:, 2] * (size - 1) - linear @ middle
    planes = [
        ndimage.affine_transform(plane.astype(float), linear, offset, order=1, mode="reflect")
        for plane in np.moveaxis(picture, -1, 0)
    ]
    return np.stack(planes, axis=-1)


@settings(max_examples=80)
@given(
    st.sampled_from(SHAPES),
    st.floats(0.125, 1.875, width=32),
    st.floats(-3.125, 3.125, width=32),
    st.tuples(*[st.floats(-1, 1, width=32)] * 2),
    st.tuples(*[st.floats(-0.5, 0.5, width=32)] * 2),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 2),
)
def test_any_map_is_what_scipy_makes_of_it(shape, scale, angle, slant, shift, flip):
    matrices = maps(scale, angle, slant, shift, flip)
    moved = warp(BATCHES[shape], matrices).numpy()
    assert moved.dtype == np.float32 and moved.shape == (2, *shape)
    for picture, matrix, result in zip(BATCHES[shape], matrices.numpy(), moved, strict=True):
        np.testing.assert_allclose(result, reference(picture, matrix), atol=0.1)


def test_a_large_picture_is_within_one_of_255_on_average():
    picture = NOISE.integers(0, 256, (1, 224, 300, 3)).astype(np.uint8)  # noise is the worst case
    matrices = maps(1.15, 0.3, (0.1, -0.2), (0.1, -0.05), (1, -1), n=1)
    error = np.abs(warp(picture, matrices)[0] - reference(picture[0], matrices[0].numpy()))
    assert error.mean() < 0.1 and error.max() < 2


@pytest.mark.parametrize("shape", SHAPES)
def test_no_move_and_mirrors_are_exact_and_two_mirrors_are_none(shape):
    images = BATCHES[shape]
    np.testing.assert_array_equal(warp(images, maps()), images)
    sideways, upside_down = maps(flip=(1, -1)), maps(flip=(-1, 1))
    np.testing.assert_array_equal(warp(images, sideways), images[:, :, ::-1])
    np.testing.assert_array_equal(warp(images, upside_down), images[:, ::-1])
    np.testing.assert_array_equal(warp(warp(images, sideways), sideways), images)


def test_each_picture_has_its_own_map_and_any_number_type_will_do():
    images = BATCHES[12, 12, 3]
    both = tf.concat([maps(n=1), maps(flip=(1, -1), n=1)], axis=0)
    for kind in (np.uint8, np.int64, np.float32):
        moved = warp(images.astype(kind), both).numpy()
        np.testing.assert_array_equal(moved[0], images[0])
        np.testing.assert_array_equal(moved[1], images[1, :, ::-1])


def test_the_batch_may_be_of_any_size_in_a_pipeline():
    images = np.repeat(BATCHES[7, 5, 3], 3, axis=0)
    steps = tf.data.Dataset.from_tensor_slices(images).batch(4)
    mirror = maps(flip=(1, -1), n=1)
    moved = steps.map(lambda x: warp(x, tf.repeat(mirror, tf.shape(x)[0], axis=0)))
    assert moved.element_spec.shape.as_list() == [None, 7, 5, 3]
    np.testing.assert_array_equal(np.concatenate(list(moved)), images[:, :, ::-1])
    assert warp(images[:0], mirror[:0]).shape == (0, 7, 5, 3)


def test_without_a_compiler_the_same_comes_out(monkeypatch):
    matrices, images = maps(0.8, 0.4, (0, 0.2)), BATCHES[12, 12, 3]
    fast = warp(images, matrices)
    monkeypatch.setattr(imgrec.geometry, "can_compile", lambda: False)
    np.testing.assert_allclose(warp(images, matrices), fast, atol=1e-3)


def test_a_missing_compiler_is_noticed(monkeypatch):
    assert can_compile()

    def refuse(*arguments, **options):
        raise tf.errors.UnimplementedError(None, None, "no compiler for this platform")

    monkeypatch.setattr(tf, "function", refuse)
    assert can_compile.__wrapped__() is False


def test_what_is_compiled_keeps_its_name_and_words():
    @compiled
    def halve(images):
        "Half of it."
        return images / 2

    assert (halve.__name__, halve.__doc__) == ("halve", "Half of it.")
    assert float(halve(tf.constant(3.0))) == 1.5

"""Grad-CAM and feature maps against explicit references, on every kind of model, left as it was."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from imgrec.core import DataError, ImageSpec, ModelError, OptionError
from imgrec.explain import feature_maps, grad_cam, layer_names, overlay
from imgrec.models import build_model

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (32, 32, 3)).astype("float32")


@pytest.fixture(autouse=True)
def same_weights():
    "Every test sees the same initial weights and names."
    keras.utils.set_random_seed(1)


def heat_of(maps, slopes):
    "Grad-CAM's formula, in plain numpy but for the resizing."
    heat = np.maximum((maps * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    heat = tf.image.resize(heat[..., None], (32, 32))[0, ..., 0].numpy()
    return heat / heat.max() if heat.max() > 0 else heat


def reference(to_maps, to_logits, index, sign=1):
    "Grad-CAM of a model given as two functions: picture to maps, maps to logits."
    maps = to_maps(PICTURE[None])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = sign * to_logits(maps)[0, index]
    return heat_of(maps.numpy(), tape.gradient(score, maps).numpy())


def halves(model, maps_layer, logits_layer="logits"):
    "A functional model cut at a layer."
    cut = model.get_layer(maps_layer).output
    logits = model.get_layer(logits_layer).output
    return keras.Model(model.input, cut), keras.Model(cut, logits)


def state_of(model):
    "What the layers hold that `explain` touches."
    found = [model, *model._flatten_layers()]
    return [(id(one), "call" in vars(one), getattr(one, "activation", None)) for one in found]


@pytest.mark.parametrize("name", ["two_conv", "three_conv", "small_cnn", "small_resnet"])
def test_our_models_give_what_an_explicit_submodel_gives(name):
    model = build_model(name, ImageSpec(32, 32, 3, ("a", "b", "c")))
    found = [one.name for one in model.layers if isinstance(one, layers.ReLU)]
    convs = [one for one in found if len(model.get_layer(one).output.shape) == 4]
    expected = [reference(*halves(model, convs[-1]), index) for index in range(3)]
    assert np.max(expected) == 1, "a reference without heat tests nothing"
    np.testing.assert_allclose([grad_cam(model, PICTURE, k) for k in range(3)], expected, atol=1e-4)
    if name != "small_resnet":  # which cannot be cut in two at an earlier layer
        earlier = reference(*halves(model, convs[0]), 1)
        np.testing.assert_allclose(grad_cam(model, PICTURE, 1, convs[0]), earlier, atol=1e-4)


def test_one_output_stands_for_two_classes():
    model = build_model("small_cnn", ImageSpec(32, 32, 3, ("cat", "dog"), "binary"), width=8)
    relu = [one.name for one in model.layers if isinstance(one, layers.ReLU)][-1]
    both = [grad_cam(model, PICTURE, index) for index in (0, 1)]
    for ours, sign in zip(both, (-1, 1), strict=True):
        if ours.max() > 0:
            expected = reference(*halves(model, relu), 0, sign)
            np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert sum(heat.max() for heat in both) > 0
    predicted = int(model.predict_on_batch(PICTURE[None])[0, 0] > 0.5)
    np.testing.assert_array_equal(grad_cam(model, PICTURE), both[predicted])


@pytest.mark.parametrize("last", ["dense", "activation", "softmax"])
def test_a_certain_answer_is_explained_as_well_as_an_unsure_one(last):
    def build(scale):
        keras.utils.set_random_seed(3)
        ends = {
            "dense": [layers.Dense(3, "softmax", name="end")],
            "activation": [layers.Dense(3, name="end"), layers.Activation("softmax")],
            "softmax": [layers.Dense(3, name="end"), layers.Softmax()],
        }
        model = keras.Sequential(
            [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()]
            + ends[last]
        )
        kernel, bias = model.get_layer("end").get_weights()
        model.get_layer("end").set_weights([scale * kernel, bias])
        return model

    unsure, certain = build(1e-3), build(10.0)
    assert certain.predict_on_batch(PICTURE[None]).max() == 1.0
    heats = [[grad_cam(model, PICTURE, k) for k in range(3)] for model in (unsure, certain)]
    assert np.max(heats[0]) == 1
    np.testing.assert_allclose(*heats, atol=1e-3)


def pretrained_style():
    "A net of `keras.applications` as a frozen layer of another model."
    backbone = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    backbone.trainable = False
    return keras.Sequential(
        [keras.Input((32, 32, 3)), backbone, layers.GlobalAveragePooling2D(), layers.Dropout(0.5),
         layers.Dense(4, activation="softmax")]
    )  # fmt: skip


def test_a_model_inside_a_model_gives_what_its_two_halves_give():
    model = pretrained_style()
    backbone, dense = model.layers[0], model.layers[-1]
    inner = backbone.get_layer("conv_pw_2")

    def to_logits(maps):
        pooled = tf.reduce_mean(keras.Model(inner.output, backbone.output)(maps), axis=(1, 2))
        return pooled @ dense.kernel + dense.bias

    expected = reference(keras.Model(backbone.input, inner.output), to_logits, 1)
    assert expected.max() == 1
    ours = grad_cam(model, PICTURE, 1, layer="conv_pw_2")
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    path = f"{backbone.name}/conv_pw_2"
    np.testing.assert_array_equal(grad_cam(model, PICTURE, 1, layer=path), ours)
    np.testing.assert_array_equal(grad_cam(model, PICTURE, 1, layer=inner), ours)
    maps = feature_maps(model, PICTURE, path)
    explicit = keras.Model(backbone.input, inner.output)(PICTURE[None])[0]
    np.testing.assert_allclose(maps, explicit, atol=1e-5)


def test_frozen_layers_are_explained_like_others():
    model = build_model("small_cnn", ImageSpec(32, 32, 3, ("a", "b", "c")), width=8)
    free = grad_cam(model, PICTURE, 1)
    model.trainable = False
    np.testing.assert_array_equal(grad_cam(model, PICTURE, 1), free)


class Own(keras.Model):
    "A subclassed model with a block of its own and a layer that it never uses."

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.unused = layers.Conv2D(2, 3, name="unused")
        self.end = layers.Dense(3, activation="softmax")

    def call(self, pixels, training=False):
        return self.end(keras.ops.mean(self.block(pixels / 255), axis=(1, 2)))


class Block(layers.Layer):
    "A layer made of layers, one of them used twice."

    def __init__(self):
        super().__init__(name="block")
        self.first = layers.Conv2D(3, 3, padding="same", activation="relu", name="first")
        self.again = layers.Conv2D(3, 3, padding="same", activation="relu", name="again")

    def call(self, x):
        return self.again(self.again(self.first(x)))


def test_subclassed_models_are_explained_by_their_last_convolution():
    model = Own()
    model(PICTURE[None])
    assert layer_names(model)[:3] == ["block", "block/first", "block/again"]

    def to_maps(pixels):
        x = pixels / 255
        return model.block.again(model.block.again(model.block.first(x)))

    def to_logits(maps):
        return tf.reduce_mean(maps, axis=(1, 2)) @ model.end.kernel + model.end.bias

    found = [index for index in range(3) if grad_cam(model, PICTURE, index).max() > 0]
    assert found
    expected = reference(to_maps, to_logits, found[0])
    np.testing.assert_allclose(grad_cam(model, PICTURE, found[0]), expected, atol=1e-4)
    np.testing.assert_allclose(feature_maps(model, PICTURE, "again"), to_maps(PICTURE[None])[0])
    with pytest.raises(OptionError, match="not used for a picture"):
        feature_maps(model, PICTURE, "unused")


def test_a_model_that_was_never_called_is_built_on_the_way():
    model = keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2, "softmax")])
    assert grad_cam(model, PICTURE).shape == (32, 32)


def test_pooling_is_passed_over_for_the_finer_maps_before_it():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Conv2D(4, 3, name="fine"), layers.MaxPooling2D(4),
         layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten(), layers.Dense(2)]
    )  # fmt: skip
    heats = [grad_cam(model, PICTURE, 0), grad_cam(model, PICTURE, 0, layer="fine")]
    np.testing.assert_array_equal(*heats)


def test_models_are_left_as_they_were():
    for model in (build_model("small_cnn", ImageSpec(32, 32, 3, tuple("abc"))), pretrained_style()):
        before, answers = state_of(model), model.predict_on_batch(PICTURE[None])
        heat = grad_cam(model, PICTURE)
        feature_maps(model, PICTURE, layer_names(model)[1])
        assert state_of(model) == before
        np.testing.assert_array_equal(model.predict_on_batch(PICTURE[None]), answers)
        np.testing.assert_array_equal(grad_cam(model, PICTURE), heat)


def test_models_are_left_as_they_were_when_the_pass_fails():
    class Stumbles(layers.Layer):
        calls = 0

        def call(self, x):
            Stumbles.calls += 1
            if Stumbles.calls in fails:
                raise RuntimeError("out of memory")
            return x

    fails = set()
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Conv2D(2, 3), Stumbles(), layers.Flatten(),
         layers.Dense(2, "softmax")]
    )  # fmt: skip
    before = state_of(model)
    for later in (1, 2):  # in the first pass, and in the second
        Stumbles.calls, fails = 0, {later}
        with pytest.raises(RuntimeError, match="out of memory"):
            grad_cam(model, PICTURE)
        assert state_of(model) == before
    Stumbles.calls, fails = 0, set()
    assert grad_cam(model, PICTURE).shape == (32, 32)


def test_training_goes_on_and_files_are_as_before(tmp_path):
    model = build_model("small_cnn", ImageSpec(32, 32, 3, ("a", "b")), width=4, depth=1)
    model.compile("adam", "categorical_crossentropy")
    x, y = np.stack([PICTURE] * 8), np.eye(2)[[0, 1] * 4]
    model.fit(x, y, verbose=0)
    heat = grad_cam(model, PICTURE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(grad_cam(again, PICTURE), heat, atol=1e-5)
    model.fit(x, y, verbose=0)


def test_layers_are_found_by_path_name_or_themselves():
    def part(name):
        return keras.Sequential([layers.Conv2D(2, 3, name="conv")], name=name)

    model = keras.Sequential([part("left"), part("right"), layers.Flatten(), layers.Dense(2)])
    assert layer_names(model)[:4] == ["left", "left/conv", "right", "right/conv"]
    with pytest.raises(OptionError, match="2 layers: left/conv, right/conv"):
        feature_maps(model, PICTURE, "conv")
    assert feature_maps(model, PICTURE, "right/conv").shape == (28, 28, 2)
    with pytest.raises(OptionError, match=r"Did you mean 'right/conv'"):
        feature_maps(model, PICTURE, "rigth/conv")
    with pytest.raises(OptionError, match="Unknown layer 'stranger'"):
        feature_maps(model, PICTURE, layers.Conv2D(1, 1, name="stranger"))


def test_layers_that_cannot_be_explained_are_refused():
    inputs = keras.Input((32, 32, 3))
    aside = layers.Conv2D(1, 1, name="aside")(inputs)
    x = layers.Flatten(name="flat")(layers.Conv2D(2, 3, name="conv")(inputs))
    stopped = layers.Lambda(keras.ops.stop_gradient)(aside)
    total = layers.Dense(2)(layers.Concatenate()([x, layers.Flatten()(stopped)]))
    model = keras.Model(inputs, layers.Softmax()(total))
    with pytest.raises(OptionError, match=r"gives shape \(1, 1800\)"):
        grad_cam(model, PICTURE, layer="flat")
    with pytest.raises(OptionError, match="does not depend on layer 'aside'"):
        grad_cam(model, PICTURE, layer="aside")
    for index in (-1, 2, 0.5):
        with pytest.raises(OptionError, match="class_index from 0 to 1"):
            grad_cam(model, PICTURE, class_index=index)


def test_models_without_maps_or_with_other_answers_are_refused():
    flat = keras.Sequential([layers.Flatten(), layers.Dense(2, "softmax")])
    with pytest.raises(ModelError, match="gives maps"):
        grad_cam(flat, PICTURE)
    with pytest.raises(ModelError, match="outputs"):
        grad_cam(keras.Sequential([layers.Conv2D(2, 3)]), PICTURE)
    pair = [keras.Input((32, 32, 3)), keras.Input((32, 32, 3))]
    two = keras.Model(pair, layers.Flatten()(layers.Add()(pair)))
    with pytest.raises(ModelError, match="one picture"):
        grad_cam(two, PICTURE)


@pytest.mark.parametrize(
    "image, message",
    [
        (PICTURE / 255 - 0.5, "from 0 to 255, received -0.5"), (PICTURE * 2, "received 0 to 5"),
        (PICTURE * np.nan, "received nan"), (PICTURE[None], r"received shape \(1, 32, 32, 3\)"),
        (PICTURE[:16], r"Expected one picture \(32, 32, 3\)"), (PICTURE[..., 0], "channels"),
        (np.zeros(0), "received shape"),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit_are_refused(image, message):
    model = build_model("small_cnn", ImageSpec(32, 32, 3, tuple("abc")), width=4, depth=1)
    first = layer_names(model)[1]
    for run in (lambda: grad_cam(model, image), lambda: feature_maps(model, image, first)):
        with pytest.raises(DataError, match=message):
            run()


class OneSize(keras.Model):
    "A subclassed model that takes pictures of one size, and says so nowhere."

    def __init__(self, broken=False):
        super().__init__(name="one_size")
        self.block, self.flat, self.broken = Block(), layers.Flatten(), broken
        self.end = layers.Dense(3, activation="softmax")

    def call(self, pixels):
        if self.broken:
            raise ValueError("a mistake in call")
        return self.end(self.flat(self.block(pixels)))


@pytest.mark.parametrize("image", [PICTURE[:16], PICTURE[..., :1]])
def test_a_subclassed_model_names_the_shape_that_it_was_built_for(image):
    model = OneSize()
    model(PICTURE[None])
    words = rf"one_size.*\(32, 32, 3\).*received {re.escape(str(image.shape))}.*resize_image"
    for run in (lambda: grad_cam(model, image), lambda: feature_maps(model, image, "first")):
        with pytest.raises(DataError, match=words):
            run()
    assert grad_cam(model, PICTURE).shape == (32, 32)


def test_a_mistake_in_a_model_is_not_taken_for_a_wrong_shape():
    model = OneSize()
    model(PICTURE[None])
    model.broken = True
    with pytest.raises(ValueError, match="a mistake in call"):
        grad_cam(model, PICTURE)


def test_pictures_of_any_size_and_kind_of_number_are_taken():
    model = keras.Sequential(
        [keras.Input((None, None, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(),
         layers.Dense(2)]
    )  # fmt: skip
    grey = PICTURE[:20, :, 0].astype("uint8")
    heats = [grad_cam(model, image, 0) for image in (grey, grey[..., None], tf.constant(grey))]
    assert heats[0].shape == (20, 32) and heats[0].dtype == np.float32
    np.testing.assert_array_equal(heats[0], heats[1])
    np.testing.assert_array_equal(heats[0], heats[2])


def test_overlay_keeps_cold_places_and_colours_hot_ones():
    heat = np.zeros((32, 32), "float32")
    heat[:4, :4] = 1
    shown = overlay(PICTURE, heat)
    assert shown.dtype == np.uint8 and shown.shape == (32, 32, 3)
    np.testing.assert_allclose(shown[10, 10], PICTURE[10, 10].mean(), atol=1)
    assert np.ptp(shown[1, 1].astype(int)) > 30
    np.testing.assert_array_equal(overlay(PICTURE, heat, strength=1)[0, 0], [255, 225, 70])
    for wrong in (heat[:8], heat * 2, heat - 1, heat * np.nan):
        with pytest.raises(DataError, match="Expected heat"):
            overlay(PICTURE, wrong)


def test_a_model_whose_call_is_a_tf_function_is_explained_and_keeps_its_recording():
    class Recorded(Own):
        @tf.function
        def call(self, pixels, training=False):
            return self.end(keras.ops.mean(self.block(pixels / 255), axis=(1, 2)))

    for used_before in (True, False):
        plain, recorded = Own(), Recorded()
        tf.config.run_functions_eagerly(True)  # so that variables are made outside a recording
        plain(PICTURE[None]), recorded(PICTURE[None])
        tf.config.run_functions_eagerly(False)
        recorded.set_weights(plain.get_weights())
        if used_before:
            recorded(PICTURE[None])
        heats = [[grad_cam(one, PICTURE, index) for index in range(3)] for one in (plain, recorded)]
        np.testing.assert_allclose(*heats, atol=1e-5)
        np.testing.assert_allclose(recorded(PICTURE[None]), plain(PICTURE[None]), atol=1e-6)
        assert not tf.config.functions_run_eagerly()

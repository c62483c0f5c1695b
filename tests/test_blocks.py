"""The pieces of networks: what an option changes, and that all of it is saved and loaded."""

import keras
import numpy as np
import pytest
from keras import layers

from imgrec.archive import look_inside
from imgrec.blocks import (
    ACTIVATIONS,
    NORMS,
    activate,
    as_model,
    conv_block,
    halvings,
    normalize,
    pixels_input,
)
from imgrec.core import ImageSpec, ModelError, OptionError
from imgrec.counting import multiply_adds
from imgrec.depthwise import convnext_block, inverted_residual
from imgrec.shortcuts import (
    SHORTCUTS,
    drop_rates,
    preactivated_block,
    residual_block,
    shortcut,
    squeeze_excite,
    stochastic_depth,
)

SPEC = ImageSpec(6, 7, 3, ("cat", "dog", "fox"))
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 6, 7, 3)).astype("float32")
FEATURES = np.random.default_rng(1).normal(2, 3, (16, 5, 4, 16)).astype("float32")


def of(block, features=FEATURES):
    "The function of a block, as a model of features alone."
    inputs = keras.Input(features.shape[1:])
    return keras.Model(inputs, block(inputs))


def through(block, features=FEATURES, training=False):
    "What a block makes of features."
    return np.asarray(of(block, features)(features, training=training))


BLOCKS = {
    "conv": lambda x, **options: conv_block(x, 16, pool=False, **options),
    "residual": lambda x, **options: residual_block(x, 16, **options),
    "preactivated": lambda x, **options: preactivated_block(x, 16, **options),
    "inverted": lambda x, **options: inverted_residual(x, 16, expansion=2, **options),
    "convnext": lambda x, **options: convnext_block(x, kernel_size=3, **options),
}
WITH_SHORTCUT = [name for name in BLOCKS if name != "conv"]


# ---- norm and activation


def test_norms_bring_features_to_mean_zero_and_spread_one():
    axes = {"batch": (0, 1, 2), "layer": 3, "group": (1, 2)}
    assert set(axes) == set(NORMS)
    for kind, axis in axes.items():
        normed = through(lambda x, kind=kind: normalize(x, kind), training=True)
        if kind == "group":  # 8 groups of two channels each
            normed = normed.reshape(16, -1, 8, 2).transpose(0, 1, 3, 2)
        np.testing.assert_allclose(normed.mean(axis=axis), 0, atol=1e-3)
        np.testing.assert_allclose(normed.std(axis=axis), 1, atol=1e-2)
    np.testing.assert_array_equal(through(lambda x: normalize(x, None)), FEATURES)


@pytest.mark.parametrize("channels", [1, 3, 12, 20])
def test_group_norm_takes_any_number_of_channels(channels):
    features = np.random.default_rng(0).normal(size=(2, 3, 3, channels)).astype("float32")
    assert through(lambda x: normalize(x, "group"), features).shape == features.shape


def test_running_averages_settle_within_fifty_batches():
    model = of(normalize)
    for _ in range(50):
        trained = np.asarray(model(FEATURES, training=True))
    np.testing.assert_allclose(np.asarray(model(FEATURES)), trained, atol=0.05)


def test_activations_are_those_of_keras():
    for name in ACTIVATIONS:
        expected = np.asarray(keras.activations.get(name)(FEATURES))
        np.testing.assert_allclose(through(lambda x, n=name: activate(x, n)), expected, atol=1e-5)
        assert expected.min() > -10, name  # little or nothing passes below zero


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: normalize(x, "bach"), "Unknown norm 'bach'. Did you mean 'batch'"),
        (lambda x: conv_block(x, 4, norm=True), "norm True. Expected one of: batch, layer, group"),
        (lambda x: activate(x, "gleu"), "activation 'gleu'. Did you mean 'gelu'"),
        (lambda x: convnext_block(x, activation=None), "activation None"),
        (lambda x: residual_block(x, 8, kind="padd"), "shortcut 'padd'. Did you mean 'pad'"),
    ],
)
def test_unknown_words_are_told(make, words):
    with pytest.raises(OptionError, match=words):
        make(keras.Input((5, 4, 16)))


def test_halvings_count_what_pooling_leaves():
    for side, least, expected in [(32, 2, 4), (28, 3, 3), (3, 2, 0), (1, 1, 0), (8, 1, 3)]:
        assert halvings(keras.Input((side, side + 9, 3)), least) == expected


# ---- shortcuts


def test_a_shortcut_of_the_same_shape_is_the_input():
    features = keras.Input((5, 4, 16))
    assert all(shortcut(features, 16, kind=kind) is features for kind in SHORTCUTS)


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_averages_pixels_and_adds_silent_channels(stride):
    model = of(lambda x: shortcut(x, 21, stride, "pad"))
    padded = np.asarray(model(FEATURES))
    assert model.count_params() == 0
    assert padded.shape == (16, -(-5 // stride), 4 // stride, 21)
    assert not padded[..., 16:].any()
    first = FEATURES[:, :stride, :stride].mean(axis=(1, 2))
    np.testing.assert_allclose(padded[:, 0, 0, :16], first, atol=1e-5)
    with pytest.raises(ModelError, match="cannot make 8 of 16"):
        shortcut(keras.Input((5, 4, 16)), 8, kind="pad")


def test_strides_of_both_shortcuts_and_of_all_blocks_agree():
    for height, width in [(1, 1), (4, 5), (7, 2)]:
        x = keras.Input((height, width, 4))
        expected = (None, -(-height // 2), -(-width // 2), 8)
        for kind in SHORTCUTS:
            assert residual_block(x, 8, stride=2, kind=kind).shape == expected
        assert preactivated_block(x, 8, stride=2).shape == expected
        assert inverted_residual(x, 8, stride=2).shape == expected


# ---- stochastic depth


def test_stochastic_depth_drops_whole_pictures_at_its_rate_in_training_only():
    ones = np.ones((5000, 2, 2, 3), "float32")
    model = of(lambda x: stochastic_depth(x, 0.3), ones)
    np.testing.assert_array_equal(np.asarray(model(ones)), ones)
    trained = np.asarray(model(ones, training=True))
    values = trained.reshape(5000, -1)
    assert (values == values[:, :1]).all(), "a picture is kept as a whole, or not at all"
    share = (values[:, 0] == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 5000)
    np.testing.assert_allclose(values[values[:, 0] > 0], 1 / 0.7, atol=1e-5)
    again = np.asarray(model(ones, training=True))
    assert (again != trained).any(), "each step draws anew"


@pytest.mark.parametrize("name", WITH_SHORTCUT)
def test_a_block_without_its_branch_is_its_shortcut(name):
    features = np.abs(FEATURES[:200])  # what the last ReLU of ResNet's block leaves alone
    block = BLOCKS[name]
    trained = through(lambda x: block(x, drop_path=0.5), features, training=True)
    same = (np.abs(trained - features) < 1e-6).all(axis=(1, 2, 3))
    assert 0 < same.sum() < len(features)
    assert not any("dropout" in layer.name for layer in of(block).layers)


def test_rates_rise_to_the_last_block():
    assert drop_rates(0.3, 1) == [0]
    np.testing.assert_allclose(drop_rates(0.3, 4), [0, 0.1, 0.2, 0.3])


# ---- squeeze-excite


def test_squeeze_excite_multiplies_each_channel_by_one_gate_of_a_picture():
    model = of(lambda x: squeeze_excite(x, 0.25))
    gates = np.asarray(model(FEATURES)) / FEATURES
    np.testing.assert_allclose(gates, np.broadcast_to(gates[:, :1, :1], gates.shape), atol=1e-4)
    assert gates.min() > 0 and gates.max() < 1
    assert np.ptp(gates[:, 0, 0], axis=0).max() > 0.01, "gates depend on the picture"
    assert model.count_params() == 16 * 4 + 4 + 4 * 16 + 16
    features = keras.Input((5, 4, 16))
    assert squeeze_excite(features, 0) is features


def test_gates_see_the_whole_picture_and_not_where_things_are():
    model = of(lambda x: squeeze_excite(x, 1))
    moved = np.roll(FEATURES, (2, 1), axis=(1, 2))
    expected = np.roll(np.asarray(model(FEATURES)), (2, 1), axis=(1, 2))
    np.testing.assert_allclose(np.asarray(model(moved)), expected, atol=1e-5)


# ---- all blocks


@pytest.mark.parametrize("name", WITH_SHORTCUT)
def test_every_option_of_a_block_is_saved_loaded_and_not_foreign(name, tmp_path):
    options = {"norm": "group", "activation": "silu", "drop_path": 0.5, "squeeze_ratio": 0.5}
    inputs, x = pixels_input(SPEC)
    x = BLOCKS[name](conv_block(x, 16, norm="layer", activation="hard_swish"), **options)
    x = residual_block(x, 20, stride=2, kind="pad", activation="leaky_relu")
    model = as_model(inputs, x, SPEC, "saved")
    model.save(tmp_path / "saved.keras")
    assert look_inside(tmp_path / "saved.keras").foreign == ()
    loaded = keras.saving.load_model(tmp_path / "saved.keras")
    expected = np.asarray(model(PICTURES))
    np.testing.assert_allclose(np.asarray(loaded(PICTURES)), expected, atol=1e-6)
    trained = np.asarray(loaded(np.repeat(PICTURES[:1], 64, axis=0), training=True))
    assert len(np.unique(trained.round(5), axis=0)) == 2, "loaded, it still drops branches"


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_can_learn_by_heart(name):
    inputs, x = pixels_input(SPEC)
    x = layers.Conv2D(16, 3, padding="same")(x)
    model = as_model(inputs, BLOCKS[name](x), SPEC, "memory")
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    labels = np.arange(6) % 3
    losses = [float(model.train_on_batch(PICTURES, labels)) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_without_norm_convolutions_have_biases():
    for name, block in BLOCKS.items():
        for norm, bias in (("group", False), (None, True)):
            made = of(lambda x, block=block, norm=norm: block(x, norm=norm)).layers
            convs = [one for one in made if isinstance(one, layers.Conv2D)]
            assert all(one.use_bias is (bias or name == "convnext") for one in convs), name


# ---- counting


def test_multiply_adds_are_weights_times_places():
    inputs, x = pixels_input(ImageSpec(8, 10, 3, ("a", "b", "c")))
    x = layers.Conv2D(4, (3, 2), strides=2, padding="same")(x)
    x = layers.Conv2D(8, 1, groups=2)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.Dense(5)(x)
    counted = multiply_adds(keras.Model(inputs, layers.Dense(7)(layers.Flatten()(x))))
    places, inner = 4 * 5, 2 * 3
    expected = places * (3 * 2 * 3 * 4 + 2 * 8) + inner * (9 * 16 + 16 * 5) + inner * 5 * 7
    assert counted == expected


def test_a_model_of_any_size_cannot_be_counted():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ModelError, match="fixed height and width"):
        multiply_adds(keras.Model(inputs, layers.Conv2D(4, 3)(inputs)))

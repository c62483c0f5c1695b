"""Networks by name: outputs that fit the labels, sizes as published, and answers that last."""

import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from imgrec.archive import look_inside
from imgrec.core import ImageSpec, ModelError, OptionError, SpecError
from imgrec.counting import multiply_adds
from imgrec.models import (
    MODELS,
    OPTION_KINDS,
    ModelEntry,
    OptionKind,
    build_model,
    model_options,
    model_table,
)

CLASSES = {
    "binary": ("cat", "dog"),
    "categorical": ("cat", "dog", "fox", "owl"),
    "int": ("cat", "dog", "fox"),
    "multi_label": ("cat", "dog", "fox"),
}
SPECS = {mode: ImageSpec(20, 22, 3, names, mode) for mode, names in CLASSES.items()}
PICTURES = np.random.default_rng(0).integers(0, 256, (8, 20, 22, 3)).astype("float32")
SMALL = {
    "two_conv": {"dense": 16},
    "three_conv": {"dense": 16},
    "small_cnn": {"width": 8, "depth": 2},
    "fast_cnn": {"width": 8, "depth": 2},
    "vgg_small": {"width": 8, "depth": 2, "dense": 16},
    "small_resnet": {"width": 8},
    "resnet20": {"width": 4},
    "resnet32": {"width": 2},
    "wide_resnet": {"width": 8, "depth": 1},
    "mobile_cnn": {"width": 4},
    "convnext_small_images": {"width": 8},
}
CLASSICS = ("two_conv", "three_conv")
ANY_SIZE = [name for name in MODELS if name not in CLASSICS]
CIFAR10 = ImageSpec(32, 32, 3, tuple("0123456789"))
IMAGENET = ImageSpec(224, 224, 3, tuple(f"class {number}" for number in range(1000)))


@pytest.mark.parametrize("name", MODELS)
def test_outputs_fit_every_kind_of_label(name):
    for mode, spec in SPECS.items():
        model = build_model(name, spec, **SMALL[name])
        answers = np.asarray(model(PICTURES, training=False))
        assert answers.shape == (8, 1 if mode == "binary" else spec.classes)
        assert answers.min() >= 0 and answers.max() <= 1
        if mode in ("categorical", "int"):
            np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
        assert model.output_names == ["probabilities"] and not model.compiled
        assert [layer.name for layer in model.layers[:2]] == ["pixels", "rescale"]
        assert model.get_layer("logits").activation is keras.activations.linear


@pytest.mark.parametrize("name", MODELS)
def test_answers_do_not_change_from_call_to_call_or_with_the_company(name):
    model = build_model(name, SPECS["int"], **SMALL[name])
    together = np.asarray(model(PICTURES, training=False))
    np.testing.assert_array_equal(together, np.asarray(model(PICTURES)))  # nothing is random here
    alone = np.concatenate([np.asarray(model(PICTURES[[k]], training=False)) for k in (0, 3, 7)])
    np.testing.assert_allclose(together[[0, 3, 7]], alone, atol=1e-5)


def conv(size, before, after, bias=True):
    "Parameters of a convolution, or of a dense layer with `size` 1."
    return size * size * before * after + (after if bias else 0)


def test_the_classics_have_the_parameters_of_their_originals():
    pets = ImageSpec(64, 64, 3, CLASSES["binary"], "binary")
    dense = conv(1, 14 * 14 * 32, 128) + conv(1, 128, 1)
    assert build_model("two_conv", pets).count_params() == conv(3, 3, 5) + conv(3, 5, 32) + dense
    digits = ImageSpec(28, 28, 1, tuple("0123456789"))
    assert build_model("three_conv", digits).count_params() == 93_322  # as Keras's examples print


@pytest.mark.parametrize(("width", "depth", "batch_norm"), [(8, 1, True), (4, 3, False)])
def test_width_depth_and_batch_norm_of_small_cnn_are_what_they_say(width, depth, batch_norm):
    options = {"width": width, "depth": depth, "batch_norm": batch_norm}
    expected, before = 0, 3
    for number in range(depth):
        after = width * 2**number
        for channels in (before, after):
            expected += conv(3, channels, after, bias=not batch_norm)
            expected += 4 * after if batch_norm else 0
        before = after
    model = build_model("small_cnn", SPECS["int"], **options)
    assert model.count_params() == expected + conv(1, before, 3)


@pytest.mark.parametrize(("width", "depth"), [(4, 1), (8, 2)])
def test_width_and_depth_of_small_resnet_are_what_they_say(width, depth):
    expected, before = conv(3, 3, width, bias=False) + 4 * width, width
    for stage in range(3):
        after = width * 2**stage
        for _ in range(depth):
            expected += conv(3, before, after, bias=False) + conv(3, after, after, bias=False)
            expected += 8 * after
            if before != after:
                expected += conv(1, before, after, bias=False) + 4 * after
            before = after
    model = build_model("small_resnet", SPECS["int"], width=width, depth=depth)
    assert model.count_params() == expected + conv(1, before, 3)


def trained(model):
    "Parameters as papers count them: those that training changes."
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "options", "published"),
    [
        ("resnet20", {}, "0.27"),  # table 6 of https://arxiv.org/abs/1512.03385
        ("resnet32", {}, "0.46"),
        ("wide_resnet", {}, "2.7"),  # WRN-16-4, table 5 of https://arxiv.org/abs/1605.07146
        ("wide_resnet", {"depth": 6}, "8.9"),  # WRN-40-4
        ("wide_resnet", {"width": 160, "depth": 4}, "36.5"),  # WRN-28-10
    ],
)
def test_residual_networks_have_the_parameters_of_their_papers(name, options, published):
    millions = trained(build_model(name, CIFAR10, **options)) / 1e6
    decimals = len(published.partition(".")[2])
    assert f"{millions:.{decimals}f}" == published


@pytest.mark.parametrize(
    ("name", "options", "original", "millions"),
    [
        ("mobile_cnn", {}, "MobileNetV2", 3.5),  # https://arxiv.org/abs/1801.04381 rounds to 3.4
        # https://arxiv.org/abs/2201.03545: 28.6
        ("convnext_small_images", {"width": 96, "depth": 3, "stages": 4}, "ConvNeXtTiny", 28.6),
    ],
)
def test_at_full_size_they_are_the_networks_of_keras(name, options, original, millions):
    ours = build_model(name, IMAGENET, **options)
    theirs = getattr(keras.applications, original)(weights=None)
    assert ours.count_params() == theirs.count_params()
    assert trained(ours) == trained(theirs) and round(trained(ours) / 1e6, 1) == millions
    assert multiply_adds(ours) == pytest.approx(multiply_adds(theirs), rel=0.01)


def test_work_is_as_published():
    assert multiply_adds(build_model("resnet20", CIFAR10)) == pytest.approx(41e6, rel=0.02)
    assert multiply_adds(build_model("mobile_cnn", IMAGENET)) == pytest.approx(300e6, rel=0.01)


def test_small_pictures_are_halved_less():
    for side, end in [(8, 4), (32, 4), (96, 3)]:
        model = build_model("mobile_cnn", ImageSpec(side, side, 3, ("a", "b", "c")), width=4)
        assert model.get_layer("last").output.shape[1] == end
    for side, sides in [(8, {8, 4}), (32, {16, 8, 4}), (64, {16, 8, 4})]:
        spec = ImageSpec(side, side, 3, ("a", "b", "c"))
        made = build_model("convnext_small_images", spec, width=4).layers
        assert {one.output.shape[1] for one in made if type(one) is layers.Add} == sides


def test_the_table_counts_what_the_builders_build():
    table = model_table(SPECS["int"])
    assert list(table.index) == list(MODELS)
    for name, row in table.iterrows():
        model = build_model(name, SPECS["int"])
        assert row["parameters"] == model.count_params()
        assert row["multiply_adds"] == multiply_adds(model) > 0
        assert row["megabytes"] == round(4 * model.count_params() / 1e6, 1)
        assert all(option in row["options"] for option in model_options(name))
        assert row["about"] and (row["paper"].startswith("https://") or not row["paper"])


def test_dropout_hides_in_training_only():
    model = build_model("small_cnn", SPECS["int"], width=4, depth=1, dropout=0.9, batch_norm=False)
    plain = [np.asarray(model(PICTURES, training=False)) for _ in range(2)]
    hidden = [np.asarray(model(PICTURES, training=True)) for _ in range(2)]
    assert (plain[0] == plain[1]).all() and (hidden[0] != hidden[1]).any()


@pytest.mark.parametrize(
    ("name", "spec", "options", "error", "words"),
    [
        ("smal_cnn", SPECS["int"], {}, OptionError, "Did you mean 'small_cnn'"),
        ("small_cnn", SPECS["int"], {"dept": 2}, OptionError, "Did you mean 'depth'"),
        ("two_conv", SPECS["int"], {"width": 2}, OptionError, "option of two_conv 'width'"),
        ("small_cnn", SPECS["int"], {"width": -3}, OptionError, "'width' of small_cnn must be a w"),
        ("small_cnn", SPECS["int"], {"width": "a"}, OptionError, "number from 1, received .a"),
        ("small_cnn", SPECS["int"], {"width": True}, OptionError, "received True. Its default"),
        ("small_cnn", SPECS["int"], {"depth": 0}, OptionError, "'depth'.*from 1, received 0"),
        ("small_resnet", SPECS["int"], {"depth": 2.5}, OptionError, "'depth' of small_resnet.*2.5"),
        ("three_conv", SPECS["int"], {"dropout": 2}, OptionError, "from 0 and below 1, received 2"),
        ("three_conv", SPECS["int"], {"dropout": 1.0}, OptionError, "below 1, received 1.0"),
        ("small_cnn", SPECS["int"], {"dropout": float("nan")}, OptionError, "received nan"),
        ("small_cnn", SPECS["int"], {"batch_norm": "no"}, OptionError, "True or False, rec.*'no'"),
        ("two_conv", SPECS["int"], {"dense": None}, OptionError, "'dense' of two_conv.*None"),
        ("resnet20", SPECS["int"], {"drop_path": 1}, OptionError, "from 0 and below 1, received 1"),
        ("vgg_small", SPECS["int"], {"norm": "bach"}, OptionError, "one of 'batch'.*received 'bac"),
        ("fast_cnn", SPECS["int"], {"norm": 1}, OptionError, "'group', None, received 1"),
        ("fast_cnn", SPECS["int"], {"activation": None}, OptionError, "'relu6'.*received None"),
        ("fast_cnn", SPECS["int"], {"activation": ["relu"]}, OptionError, "received .'relu'."),
        ("mobile_cnn", SPECS["int"], {"squeeze_ratio": -1}, OptionError, "number from 0, rec"),
        ("convnext_small_images", SPECS["int"], {"stages": 0}, OptionError, "from 1, received 0"),
        ("small_cnn", ImageSpec(8, 8), {}, SpecError, "no class_names"),
        ("two_conv", ImageSpec(8, 8, 3, ("a", "b")), {}, ModelError, "1 x 1 pixels.*image_size"),
        ("three_conv", ImageSpec(16, 40, 3, ("a", "b")), {}, ModelError, "2 x 8 pixels"),
    ],
)
def test_what_cannot_be_built_says_why(name, spec, options, error, words):
    with pytest.raises(error, match=words):
        build_model(name, spec, **options)


@pytest.mark.parametrize("name", MODELS)
def test_every_option_has_a_kind_that_its_default_is_of(name):
    kinds = MODELS[name].kinds
    assert all(default in kinds[option] for option, default in model_options(name).items())


def test_kinds_say_what_they_take():
    words = OPTION_KINDS["norm"]
    assert str(words) == "one of 'batch', 'layer', 'group', None"
    assert "batch" in words and None in words and "" not in words and 1 not in words
    assert 0.5 in OPTION_KINDS["squeeze_ratio"] and 1 in OPTION_KINDS["squeeze_ratio"]


def test_numbers_of_numpy_count_as_numbers():
    options = {"width": np.int64(2), "depth": np.int32(1), "dropout": np.float32(0.5)}
    assert build_model("small_cnn", SPECS["int"], **options).count_params() > 0


def test_a_row_of_ones_own_says_what_its_options_may_be(monkeypatch):
    def stretched(spec, width=0.5):
        return keras.Sequential([keras.Input(spec.shape)], name=f"width_{round(10 * width)}")

    monkeypatch.setitem(MODELS, "own", ModelEntry(stretched, "a share as width"))
    assert build_model("own", SPECS["int"], width=0.2).name == "width_2"
    kinds = {"width": OptionKind(float, below=1)}
    monkeypatch.setitem(MODELS, "own", ModelEntry(stretched, "a share as width", kinds=kinds))
    with pytest.raises(OptionError, match="'width' of own must be a number from 0 and below 1"):
        build_model("own", SPECS["int"], width=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (31, 50)])
@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_newer_networks_take_pictures_of_any_size(name, size):
    model = build_model(name, ImageSpec(*size, 1, ("a", "b")), **SMALL[name] | {"width": 2})
    assert model.output_shape == (None, 2)
    assert all(side >= 1 for layer in model.layers for side in layer.output.shape[1:])


@pytest.mark.parametrize("name", ["vgg_small", "fast_cnn"])  # the others, on their pages
def test_a_network_can_learn_by_heart(name):
    options = SMALL[name] | {"width": 8, "dropout": 0}
    model = build_model(name, ImageSpec(8, 8, 3, CLASSES["int"]), **options)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    pictures, labels = PICTURES[:6, :8, :8], np.arange(6) % 3
    first, *_, last = (float(model.train_on_batch(pictures, labels)) for _ in range(40))
    assert last < 0.5 * first


@pytest.mark.parametrize("name", ANY_SIZE)
def test_options_of_words_and_rates_change_what_they_say(name):
    options = {"norm": "group", "activation": "silu", "drop_path": 0.5, "squeeze_ratio": 0.5}
    options = {key: options[key] for key in options if key in model_options(name)}
    model = build_model(name, SPECS["int"], **SMALL[name], **options)
    kinds = {type(layer).__name__ for layer in model.layers}
    if "norm" in options:
        assert "GroupNormalization" in kinds and "BatchNormalization" not in kinds
    if "activation" in options:
        used = {layer.activation for layer in model.layers if type(layer) is layers.Activation}
        assert keras.activations.silu in used
    assert ("Multiply" in kinds) == ("squeeze_ratio" in options)
    if "drop_path" in options:
        drops = [one for one in model.layers if getattr(one, "noise_shape", None)]
        rates = [one.rate for one in drops]
        assert rates == sorted(rates) and 0.4 < rates[-1] <= 0.5  # MobileNet's last adds nothing


def test_a_saved_model_answers_the_same_in_a_fresh_process(tmp_path):
    np.save(tmp_path / "pictures.npy", PICTURES)
    names = [name for name in MODELS if name != "resnet32"]  # which is resnet20, longer
    answers, held = {}, {}
    for name, mode in zip(names, itertools.cycle(SPECS), strict=False):
        model = build_model(name, SPECS[mode], **SMALL[name])
        for weights in model.weights:  # running averages, too, are no longer what they began as
            noise = np.random.default_rng(1).uniform(-0.05, 0.05, weights.shape)
            weights.assign_add(noise)
        model.save(tmp_path / f"{name}.keras")
        assert look_inside(tmp_path / f"{name}.keras").foreign == ()
        answers[name] = np.asarray(model(PICTURES, training=False)).tolist()
        held[name] = [float(np.sum(weights)) for weights in model.weights]
    program = (
        "import sys, json; import keras, numpy as np\n"
        "pictures = np.load(sys.argv[1] + '/pictures.npy')\n"
        "models = {n: keras.saving.load_model(f'{sys.argv[1]}/{n}.keras') for n in sys.argv[2:]}\n"
        "held = {n: [float(np.sum(w)) for w in m.weights] for n, m in models.items()}\n"
        "there = {n: np.asarray(m(pictures)).tolist() for n, m in models.items()}\n"
        "print(json.dumps([there, held]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, check=True)
    there, held_there = json.loads(done.stdout)
    for name, expected in answers.items():
        assert held_there[name] == held[name]
        np.testing.assert_allclose(there[name], expected, atol=1e-6, err_msg=name)

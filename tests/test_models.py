"""Networks by name: outputs that fit the labels, sizes as published, and answers that last."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from imgrec.core import ImageSpec, ModelError, OptionError, SpecError
from imgrec.models import (
    MODELS,
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
    "small_resnet": {"width": 8},
}


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
    alone = np.concatenate([np.asarray(model(one[None], training=False)) for one in PICTURES])
    np.testing.assert_allclose(together, alone, atol=1e-5)


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


def test_the_table_counts_what_the_builders_build():
    table = model_table(SPECS["int"])
    assert list(table.index) == list(MODELS)
    for name, count in table["parameters"].items():
        assert count == build_model(name, SPECS["int"]).count_params()
        assert all(option in table.loc[name, "options"] for option in model_options(name))


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


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3)])
@pytest.mark.parametrize("name", ["small_cnn", "small_resnet"])
def test_the_newer_networks_take_pictures_of_any_size(name, size):
    model = build_model(name, ImageSpec(*size, 1, ("a", "b")), width=2)
    assert model(np.zeros((2, *size, 1))).shape == (2, 2)


def test_a_saved_model_answers_the_same_in_a_fresh_process(tmp_path):
    np.save(tmp_path / "pictures.npy", PICTURES)
    answers = {}
    for name, mode in zip(MODELS, SPECS, strict=True):
        model = build_model(name, SPECS[mode], **SMALL[name])
        for weights in model.weights:  # running averages, too, are no longer what they began as
            noise = np.random.default_rng(1).uniform(0.1, 0.3, weights.shape)
            weights.assign_add(noise)
        model.save(tmp_path / f"{name}.keras")
        answers[name] = np.asarray(model(PICTURES, training=False)).tolist()
    program = (
        "import sys, json; import keras, numpy as np\n"
        "pictures = np.load(sys.argv[1] + '/pictures.npy')\n"
        "load = lambda name: keras.saving.load_model(f'{sys.argv[1]}/{name}.keras')\n"
        "print(json.dumps({n: np.asarray(load(n)(pictures)).tolist() for n in sys.argv[2:]}))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), *MODELS]
    there = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    for name, expected in answers.items():
        np.testing.assert_allclose(there[name], expected, atol=1e-6, err_msg=name)

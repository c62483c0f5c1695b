"""Saved classifiers: other processes, kills, damage and hostile files."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imgrec.archive import look_inside
from imgrec.catalog import Catalog
from imgrec.classifier import Classifier, prepare
from imgrec.compiling import compile_model
from imgrec.contract import check_files, check_target, read_contract, settle, write_contract
from imgrec.core import (
    ClassifierError,
    DataError,
    ImageSpec,
    ModelError,
    PictureError,
    seed_everything,
)
from imgrec.data import load
from imgrec.evaluate import PROBABILITY, predict_table
from imgrec.export import export_litert, load_classifier, save
from imgrec.models import build_model
from imgrec.train import fit

SPEC = ImageSpec(12, 16, 3, ("cat", "dog", "owl"))


def small_model(spec: ImageSpec = SPEC) -> keras.Model:
    "A model with random weights whose answers differ from picture to picture."
    seed_everything(1)
    return build_model("small_cnn", spec, width=4, depth=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    "A saved classifier; tests that change it copy it first."
    return save(small_model(), tmp_path_factory.mktemp("saved") / "classifier", spec=SPEC)


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    "A saved classifier to be damaged."
    shutil.copytree(saved, tmp_path / "classifier")
    return tmp_path / "classifier"


def photos(folder: Path, n: int = 4) -> Path:
    "A folder of photos of odd sizes and kinds: turned by EXIF, grey, transparent, large."
    rng = np.random.default_rng(0)
    for label in SPEC.class_names:
        (folder / label).mkdir(parents=True)
        for number in range(n):
            height, width = rng.integers(20, 300, 2)
            small = rng.integers(0, 256, (5, 7, (1, 3, 4)[number % 3])).astype("uint8")
            image = Image.fromarray(small[..., 0] if small.shape[-1] == 1 else small)
            image = image.resize((int(width), int(height)), Image.Resampling.BICUBIC)
            suffix = "jpg" if image.mode != "RGBA" and number % 2 else "png"
            exif = Image.Exif()
            exif[0x0112] = 6 if number % 2 else 1
            image.save(folder / label / f"{number}.{suffix}", exif=exif)
    return folder


# ---- the same answers


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier_answers_as_the_pipeline_does(tmp_path, resize, channels):
    folder = photos(tmp_path / "photos")
    catalog = Catalog.from_folder(folder).split(valid=0.25, test=0.25)
    splits = load(catalog, image_size=(12, 16), channels=channels, resize=resize)
    model = small_model(splits.spec)
    save(model, tmp_path / "classifier", spec=splits.spec, resize=resize)
    table = load_classifier(tmp_path / "classifier").predict_folder(folder).set_index("file")
    columns = [PROBABILITY + name for name in SPEC.class_names]
    for part in ("train", "valid", "test"):
        expected = predict_table(model, splits.ordered(part)).set_index("file")
        received = table.loc[expected.index]
        np.testing.assert_allclose(received[columns], expected[columns], atol=1e-5)
        assert received["predicted"].tolist() == expected["predicted"].tolist()
        np.testing.assert_allclose(received["confidence"], expected["confidence"], atol=1e-5)


def test_a_run_hands_on_how_its_pictures_were_resized(tmp_path):
    splits = load(Catalog.from_folder(photos(tmp_path / "p")).split(0.25, 0.25), 16, resize="pad")
    run = fit(small_model(splits.spec), splits, epochs=2, progress="none")
    classifier = load_classifier(save(run, tmp_path / "classifier"))
    assert classifier.resize == "pad" and classifier.spec == splits.spec
    trained = classifier.contract["trained"]
    assert trained["epochs_run"] == 2 and trained["data"]["resize"] == "pad"
    course = json.loads((tmp_path / "classifier/receipts/training.json").read_text())
    assert [row["epoch"] for row in course["history"]] == [1, 2]
    stopped = replace(run, history=run.history.iloc[:0])  # by hand, in the first epoch
    assert load_classifier(save(stopped, tmp_path / "s")).contract["trained"]["epochs_run"] == 0


ASK = """
import sys
import imgrec
from imgrec.export import load_classifier
print(load_classifier(sys.argv[1]).predict(sys.argv[2]).probabilities)
"""


def test_another_process_gives_the_same_answer(saved, tmp_path):
    file = next(photos(tmp_path / "photos").rglob("*.jpg"))
    command = [sys.executable, "-c", ASK, saved, file]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    expected = load_classifier(saved).predict(file).probabilities
    received = eval(done.stdout)
    assert list(received) == list(expected)
    assert all(abs(received[name] - expected[name]) < 1e-6 for name in expected)


def test_saving_leaves_the_live_model_as_it_was(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (16, 12, 16, 3)).astype("float32")
    y = np.eye(3)[np.arange(16) % 3]
    losses = []
    for saving in (False, True):
        model = compile_model(small_model(), SPEC)
        model.fit(x, y, batch_size=16, verbose=0)
        if saving:
            before = model.get_compile_config()
            save(model, tmp_path / "classifier", spec=SPEC)
            assert model.get_compile_config() == before and model.compiled
        losses.append(model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("mode", ["binary", "multi_label"])
def test_other_kinds_of_labels(tmp_path, mode):
    spec = replace(SPEC, class_names=("cat", "dog"), label_mode=mode)
    inputs = keras.Input(spec.shape)
    share = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, share[:, :1] if mode == "binary" else share[:, :2])
    classifier = load_classifier(save(model, tmp_path / "c", spec=spec))
    dim, both = np.full(spec.shape, 51, "uint8"), np.full(spec.shape, 204, "uint8")
    answers = classifier.predict([dim, both])
    if mode == "binary":
        assert [answer.label for answer in answers] == ["cat", "dog"]
        assert answers[0].confidence == pytest.approx(0.8, abs=1e-4)
        assert answers[1].probabilities == pytest.approx({"dog": 0.8, "cat": 0.2}, abs=1e-4)
    else:
        assert [answer.label for answer in answers] == [(), ("cat", "dog")]
        assert [answer.confidence for answer in answers] == pytest.approx([0.64, 0.64], abs=1e-4)
    receipt = export_litert(tmp_path / "c", [dim, both])
    assert receipt.agreeing == receipt.n == 2 and receipt.largest_difference < 1e-5


@keras.saving.register_keras_serializable(package="test_export")
class Closed(keras.Model):
    "A model whose __init__ has no room for what Keras stores of every model."

    def __init__(self):
        super().__init__(name="closed")
        self.end = keras.layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.end(keras.ops.mean(x, axis=(1, 2)) / 255)


def test_a_model_that_cannot_be_built_again_is_named_and_not_a_temporary_file(tmp_path):
    model = Closed()
    model(np.zeros((1, 12, 16, 3)))
    words = r"^closed cannot be built again.*Of Closed: let __init__ take \*\*kwargs"
    with pytest.raises(ClassifierError, match=words) as error:
        save(model, tmp_path / "c", spec=SPEC)
    assert str(tmp_path) not in str(error.value) and not (tmp_path / "c").exists()


# ---- pictures that come


def test_bad_pictures_become_rows_and_the_work_goes_on(saved, tmp_path):
    folder = photos(tmp_path / "photos")
    whole = next(folder.rglob("*.jpg"))
    (folder / "cut.jpg").write_bytes(whole.read_bytes()[:200])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.png").touch()
    (folder / ".hidden.png").touch()
    table = load_classifier(saved).predict_folder(folder)
    assert len(table) == 12 + 3
    bad = table[table["reason"] != ""]
    assert bad["file"].tolist() == ["cut.jpg", "empty.png", "text.jpg"]
    assert bad["predicted"].isna().all() and bad["confidence"].isna().all()
    assert bad["reason"].tolist()[1:] == ["empty", "not a picture"]
    assert table["file"].tolist() == sorted(table["file"])


def test_a_folder_without_any_picture_is_a_table_of_reasons(saved, tmp_path):
    (tmp_path / "a.txt").write_text("no picture")
    table = load_classifier(saved).predict_folder(tmp_path)
    assert table["reason"].tolist() == ["not a picture"]
    assert list(table) == ["file", "predicted", "confidence", "reason"] + [
        PROBABILITY + name for name in SPEC.class_names
    ]


def test_a_large_folder_does_not_fill_the_memory(saved, tmp_path):
    resource = pytest.importorskip("resource")
    Image.new("RGB", (2000, 2000), "teal").save(tmp_path / "one.png", compress_level=1)
    (tmp_path / "photos").mkdir()
    for number in range(60):
        shutil.copy(tmp_path / "one.png", tmp_path / "photos" / f"{number}.png")
    classifier = load_classifier(saved)
    classifier.predict_files([tmp_path / "one.png"] * 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(classifier.predict_folder(tmp_path / "photos")) == 60  # 720 MB when decoded
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert used < 300e6


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_arrays_of_any_number_type(saved, dtype):
    x = np.random.default_rng(0).integers(0, 256, (3, 30, 20, 3))
    classifier = load_classifier(saved)
    expected = classifier.predict(x.astype("uint8"))
    assert classifier.predict(x.astype(dtype)) == expected
    assert classifier.predict(list(x.astype(dtype)))[1] == expected[1]
    assert prepare(np.zeros((5, 5), dtype), SPEC).max() == 0


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).random((8, 8, 3)),
        np.full((8, 8, 3), 300.0),
        np.full((8, 8, 3), np.nan),
        np.zeros((8, 8, 2), "uint8"),
        np.zeros(8, "uint8"),
        np.zeros((0, 8, 3), "uint8"),
        Image.new("P", (8, 8)),
        None,
        7,
    ],
)
def test_what_is_no_picture_is_said(saved, picture):
    with pytest.raises(DataError, match=r"Expected|must be in 0 to 255"):
        load_classifier(saved).predict(picture)


def test_a_missing_file_in_a_list_is_an_error(saved):
    with pytest.raises(PictureError, match=r"nowhere\.png .* missing"):
        load_classifier(saved).predict(["nowhere.png"])


# ---- damage


def changed(path: Path, place: int) -> None:
    "Flip a bit of a file."
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_changed_byte_anywhere_is_found(copied):
    rng = random.Random(0)
    contract = read_contract(copied)
    for file in sorted(path for path in copied.rglob("*") if path.is_file()):
        original = file.read_bytes()
        for place in rng.sample(range(len(original)), 40):
            changed(file, place)
            try:
                found = read_contract(copied)
                check_files(copied, found)
            except ClassifierError as error:
                assert file.name in str(error)
            else:
                assert found == contract, f"byte {place} of {file.name}"  # a blank, say
            file.write_bytes(original)


def test_the_error_names_file_and_both_digests(copied):
    changed(copied / "model.keras", 5000)
    with pytest.raises(ClassifierError, match=r"model\.keras .* [0-9a-f]{64}.* [0-9a-f]{64}"):
        load_classifier(copied)


@pytest.mark.parametrize("name", ["model.keras", "contract.json"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(ClassifierError, match=name):
        load_classifier(copied)


@pytest.mark.parametrize("name", ["model.pkl", "model.h5", "model.keras"])
def test_only_a_folder_is_loaded(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(ClassifierError, match="Expected a folder"):
        load_classifier(tmp_path / name)


def test_a_changed_contract_says_where_to_get_it_again(copied):
    text = (copied / "contract.json").read_text()
    (copied / "contract.json").write_text(text.replace('"stretch"', '"pad"'))
    words = r"contract\.json.*was changed.*Copy the whole folder again.*or save the classifier"
    with pytest.raises(ClassifierError, match=words):
        load_classifier(copied)


def rewritten(folder: Path, **changes) -> None:
    "Change a contract as somebody would who knows how to compute its digest."
    contract = read_contract(folder)
    facts = {name: contract[name] for name in ("trained", "versions")}
    write_contract(folder, SPEC, contract["resize"], facts | changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": 2}, "version 1, received 2"),
        ({"resize": "squeeze"}, "squeeze"),
        ({"pixel_range": [0, 1]}, "pixel_range"),
        ({"image_size": [10**9, 10**9]}, "takes pictures of"),
        ({"image_size": ["12", 16]}, "height"),
        ({"image_size": 12}, "TypeError"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["cat", "cat", "owl"]}, "cat"),
        ({"class_names": ["cat", "dog"], "label_mode": "categorical"}, "2 classes"),
        ({"label_mode": "ordinal"}, "ordinal"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(copied, changes, match):
    rewritten(copied, **changes)
    with pytest.raises((ClassifierError, ModelError), match=match):
        load_classifier(copied)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "model.pkl", "receipts/a.py"])
def test_a_contract_cannot_name_other_files(copied, name):
    contract = read_contract(copied)
    contract["files"][name] = "0" * 64
    contract["digest"] = json_digest(contract)
    (copied / "contract.json").write_text(json.dumps(contract))
    with pytest.raises(ClassifierError, match="and receipts, received"):
        load_classifier(copied)


def json_digest(contract: dict) -> str:
    "What an attacker would compute."
    from imgrec.contract import _digest

    return _digest(contract)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "[" * 50_000, "\ufeff{}"])
def test_a_contract_that_is_none(copied, text):
    (copied / "contract.json").write_text(text)
    with pytest.raises(ClassifierError, match=r"contract\.json"):
        load_classifier(copied)


# ---- hostile models, with a contract that fits them


def members(file: Path) -> dict[str, bytes]:
    "What is in a .keras file."
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def planted(folder: Path, contents: dict[str, bytes]) -> Path:
    "Put another model into a classifier, with fitting hashes."
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    rewritten(folder)
    return folder


def with_layer(folder: Path, layer: dict) -> Path:
    "Replace the second layer's description."
    contents = members(folder / "model.keras")
    config = json.loads(contents["config.json"])
    config["config"]["layers"][1] |= layer
    return planted(folder, contents | {"config.json": json.dumps(config).encode()})


CALL = {"class_name": "function", "config": "system", "registered_name": "system"}


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda"},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda"},
        {"class_name": "TFSMLayer", "config": {"filepath": "/tmp"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper"},
        {"module": "os", "class_name": "system"},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}},
        {"module": "kerasx.layers", "class_name": "Dense"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "keras.callbacks", "class_name": "ModelCheckpoint"},
        {"module": None, "class_name": "Dense"},
        {"module": 7, "class_name": "Dense"},
        {"class_name": ["Dense"]},
        {"registered_name": "evil>Layer"},
        {"config": {"fn": CALL | {"module": "os"}}},
        {"config": {"fn": CALL | {"module": "keras.utils", "config": "get_file"}}},
        {"config": {"fn": {"class_name": "__lambda__", "config": {"value": "4wE="}}}},
        {"config": {"deep": [[{"a": [{"class_name": "eval", "module": "builtins"}]}]]}},
    ],
)
def test_code_in_a_model_is_not_run(copied, layer):
    with pytest.raises(ClassifierError, match=r"not part of Keras|can run any code"):
        load_classifier(with_layer(copied, layer))


def test_a_registered_class_is_not_used_unless_it_was_given(copied):
    used = []

    @keras.saving.register_keras_serializable(package="evil")
    class Rescaling(keras.layers.Rescaling):
        def __init__(self, *args, **options):
            used.append(True)
            super().__init__(*args, **options)

    with_layer(copied, {"registered_name": "evil>Rescaling"})
    with pytest.raises(ClassifierError, match="evil>Rescaling"):
        load_classifier(copied)
    assert not used
    load_classifier(copied, custom_objects={"Rescaling": Rescaling})
    assert used


def test_only_the_three_members_of_a_model_are_accepted(copied):
    contents = members(copied / "model.keras")
    for name in ("model.pkl", "assets/x.txt", "../evil.py", "CONFIG.JSON"):
        with pytest.raises(ClassifierError, match="unknown member"):
            load_classifier(planted(copied, contents | {name: b"x"}))
    for name in contents:
        rest = {other: content for other, content in contents.items() if other != name}
        with pytest.raises(ClassifierError, match="0 times"):
            load_classifier(planted(copied, rest))


def test_a_second_config_and_compression_are_refused(copied, tmp_path):
    contents = members(copied / "model.keras")
    file = tmp_path / "x.keras"
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, content in [*contents.items(), ("config.json", b"{}")]:
            archive.writestr(name, content)
    with pytest.raises(ClassifierError, match="2 times"):
        look_inside(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in contents:
            archive.writestr(name, bytes(10_000_000))
    with pytest.raises(ClassifierError, match="compressed"):
        look_inside(file)


def test_members_have_a_largest_size(copied, tmp_path):
    contents = members(copied / "model.keras")
    for name, size in {"metadata.json": 2**16 + 1, "config.json": 2**24 + 1}.items():
        with pytest.raises(ClassifierError, match="more than is allowed"):
            load_classifier(planted(copied, contents | {name: b" " * size}))


def weights(build) -> bytes:
    "A file of weights that `build` writes."
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        build(file)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_cannot_reach_outside(copied, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(10_000))
    contents = members(copied / "model.keras")
    names: dict[str, tuple] = {}

    def collect(name, item) -> None:
        if isinstance(item, h5py.Dataset):
            names[name] = item.shape

    with h5py.File(io.BytesIO(contents["model.weights.h5"])) as file:
        file.visititems(collect)

    def external(file) -> None:
        for name, shape in names.items():
            file.create_dataset(name, shape, "f4", external=[(str(secret), 0, 10_000)])

    def linked(file) -> None:
        for name in names:
            file[name] = h5py.ExternalLink(str(secret), "/x")

    for build in (external, linked):
        hostile = contents | {"model.weights.h5": weights(build)}
        with pytest.raises(ClassifierError, match="cannot be built"):
            load_classifier(planted(copied, hostile))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no weights", b"\x00" * 4096])
def test_weights_that_are_none(copied, content):
    contents = members(copied / "model.keras") | {"model.weights.h5": content}
    with pytest.raises(ClassifierError, match="cannot be built"):
        load_classifier(planted(copied, contents))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 10_000, b'{"a": NaN}'])
def test_a_config_that_is_none(copied, content):
    contents = members(copied / "model.keras") | {"config.json": content}
    with pytest.raises(ClassifierError, match=r"config\.json"):
        load_classifier(planted(copied, contents))


# ---- whole or not at all


def test_another_folder_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(ClassifierError, match="not replaced"):
        save(small_model(), tmp_path, spec=SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_where_nothing_can_be_written_is_named_before_any_training():
    for place in ("/proc/new", "/proc/new/deeper"):
        with pytest.raises(ClassifierError, match=f"^{place} cannot be written: .* in /proc[.]$"):
            check_target(place)


def test_a_users_file_in_a_classifier_is_not_lost(copied):
    (copied / "my notes.txt").write_text("keep me")
    with pytest.raises(ClassifierError, match="my notes"):
        save(small_model(), copied, spec=SPEC)
    assert (copied / "my notes.txt").exists()
    load_classifier(copied)


def test_a_full_disk_leaves_the_old_one(copied, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imgrec.export.write_contract", full)
    before = read_contract(copied)
    with pytest.raises(OSError, match="No space left"):
        save(small_model(), copied, spec=SPEC)
    assert read_contract(copied) == before
    assert [path.name for path in copied.parent.iterdir()] == ["classifier"]


LOOP = """
import os, sys
from imgrec.contract import whole_folder, write_contract
from imgrec.core import ImageSpec
spec, number = ImageSpec(8, 8, 1, ("a", "b")), 0
while True:
    number += 1
    with whole_folder(sys.argv[1]) as folder:
        (folder / "model.keras").write_bytes(os.urandom(300_000))
        write_contract(folder, spec, "stretch", {"number": number})
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_classifier(tmp_path):
    rng, last = random.Random(0), 0
    for _ in range(12):
        command = [sys.executable, "-c", LOOP, tmp_path / "classifier"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
            said = child.stdout.read().split()
        path = settle(tmp_path / "classifier")
        contract = read_contract(path)
        check_files(path, contract)
        assert contract["number"] >= (int(said[-1]) if said else 1)
        last = max(last, contract["number"])
    assert last > 1


# ---- LiteRT


def test_litert_is_stored_with_its_receipt(copied, tmp_path):
    folder = photos(tmp_path / "photos")
    (folder / "notes.txt").write_text("no picture")
    receipt = export_litert(copied, folder)
    assert receipt.n == 12 and receipt.agreeing == 12
    classifier = load_classifier(copied)
    assert set(classifier.contract["files"]) == {
        *("model.keras", "model.tflite", "receipts/litert.json")
    }
    stored = json.loads((copied / "receipts/litert.json").read_text())
    assert stored["n"] == 12 and stored["bytes"] == (copied / "model.tflite").stat().st_size
    export_litert(copied, folder)  # once more: it replaces its own
    changed(copied / "model.tflite", 100)
    with pytest.raises(ClassifierError, match=r"model\.tflite was changed"):
        load_classifier(copied)


def test_litert_without_its_package_names_the_extra(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ImportError, match=r"imgrec\[export\]"):
        export_litert(copied, [np.zeros(SPEC.shape, "uint8")])
    assert not (copied / "model.tflite").exists()


def test_predictions_survive_a_table(saved, tmp_path):
    table = load_classifier(saved).predict_folder(photos(tmp_path / "photos"))
    table.to_csv(tmp_path / "table.csv", index=False)
    again = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert again["predicted"].tolist() == table["predicted"].tolist()


def test_a_classifier_says_what_it_is():
    text = repr(Classifier(small_model(), SPEC))
    assert text == "Classifier: small_cnn, 12 x 16 x 3, 3 classes (cat, dog, owl)"

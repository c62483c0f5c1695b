"""Trying pictures by hand: strangers, any order of wishes, hostile files and names, threads."""

import math
import os
import string
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import ipywidgets as widgets
import keras
import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from oddities import NOT_PICTURES, photo, seen_files, write_specials
from PIL import Image, ImageDraw, ImageFont
from project import MEASURED
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from imgrec import tryout_following, tryout_state
from imgrec.bridge import bridge_ready
from imgrec.catalog import Catalog
from imgrec.classifier import Classifier, Prediction, prepare
from imgrec.core import (
    ClassifierError,
    DataError,
    ImageSpec,
    MissingFileError,
    ModelError,
    OptionError,
    PictureError,
    seed_everything,
)
from imgrec.data import from_datasets, load
from imgrec.datasets import digits
from imgrec.export import save
from imgrec.familiarity import WIDEST, familiarity, fitting, measure_of, seeing
from imgrec.intervals import interval
from imgrec.models import build_model
from imgrec.newest import Newest
from imgrec.train import fit
from imgrec.trying import (
    ALIKE,
    Calibration,
    calibration_line,
    heat_of,
    reference_of,
    try_picture,
    turn_of,
)
from imgrec.tryout import TryPictures
from imgrec.tryout_following import FOLLOWING
from imgrec.tryout_parts import FIGURES, nearest_html
from imgrec.tryout_plots import BARS, answer_png, bars_of, large, picture_png, plot_answer
from imgrec.tryout_sources import (
    UPLOAD,
    Ground,
    from_drawing,
    from_path,
    from_test,
    from_upload,
    ground_of,
)
from imgrec.tryout_state import TryoutState
from imgrec.varying import AMOUNTS, Sweep, amounts_for, settled, sweep, sweep_line, vary, vary_many

EVIL = '<img src=x onerror="alert(1)">'
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def reading():
    "A classifier that reads digits, and its splits."
    splits = load(digits().split(seed=0), image_size=28, augment="light")
    seed_everything(0)
    model = build_model("small_cnn", splits.spec, width=16, depth=2)
    fit(model, splits, epochs=8, learning_rate=1e-2, progress="none")
    return Classifier(model, splits.spec), splits


def small(names=("a", "b", "c"), channels=1, n=36, label_mode=None, **parts):
    "An untrained classifier of small pictures, and splits with their catalog."
    x = np.random.default_rng(1).integers(0, 256, (n, 12, 12, channels), dtype=np.uint8)
    labels = [names[row % len(names)] for row in range(n)]
    catalog = Catalog.from_arrays(x, labels).split(**{"valid": 0.25, "test": 0.25, **parts})
    splits = load(catalog, augment="none", batch_size=8, label_mode=label_mode)
    seed_everything(0)
    return Classifier(build_model("small_cnn", splits.spec, width=4, depth=1), splits.spec), splits


# ---- how unlike


def letter(character, font, side):
    "A letter as large as it can be, in so many pixels."
    folder = Path(matplotlib.get_data_path(), "fonts/ttf")
    image = Image.new("L", (128, 128))
    face = ImageFont.truetype(str(folder / f"{font}.ttf"), 56)
    ImageDraw.Draw(image).text((32, 32), character, 255, font=face)
    image = image.crop(image.getbbox())
    square = Image.new("L", (max(image.size) + 2,) * 2)
    square.paste(image, [(square.size[0] - length) // 2 for length in image.size])
    return np.asarray(square.resize((side, side), Image.Resampling.BOX))


def strangers():
    "What a classifier of digits should not be asked about; other ones than on the page."
    fonts = "STIXGeneralBol STIXGeneralItalic DejaVuSerif-Bold DejaVuSansMono-Bold cmss10".split()
    pieces = []
    for image in load_sample_images().images:
        for side in (60, 120, 240, 420):
            for top in range(0, image.shape[0] - side + 1, 90):
                pieces += [image[top : top + side, left : left + side] for left in (0, 110, 200)]
    grey = RANDOM.normal(128, 40, (60, 8, 8)).clip(0, 255).astype(np.uint8)
    fine = RANDOM.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    return {
        "photos": pieces,
        "letters": [letter(c, font, 8) for c in string.ascii_letters for font in fonts],
        "sharp letters": [letter(c, font, 28) for c in string.ascii_letters for font in fonts],
        "noise": [*grey, *fine],
    }


def test_photos_letters_and_noise_are_told_from_digits(reading):
    classifier, splits = reading
    known = familiarity(classifier, splits)
    usual = known.distances(np.concatenate([x for x, _ in splits.test.as_numpy_iterator()]))
    areas = {}
    for kind, pictures in strangers().items():
        batch = np.stack([prepare(each, splits.spec) for each in pictures]).astype("float32")
        far = known.distances(batch)
        areas[kind] = roc_auc_score([0] * len(usual) + [1] * len(far), [*usual, *far])
    MEASURED["unlike digits, AUROC"] = ", ".join(
        f"{kind} {area:.3f}" for kind, area in areas.items()
    )
    assert min(areas.values()) >= 0.95, areas
    assert 0.01 <= (known.farther(usual) >= 0.95).mean() <= 0.12, "5 % by construction"


def test_a_picture_is_nearest_to_itself_and_to_its_class(reading):
    classifier, splits = reading
    known = familiarity(classifier, splits)
    assert known.pictures == len(known.named) == len(splits.ordered("train").file_paths)
    table, right = splits.catalog.table, 0
    for file in splits.test.file_paths[:60]:
        picture = prepare(splits.catalog.read(file), splits.spec)
        found = known.look(picture, 7)
        assert list(found.distances) == sorted(found.distances) and len(found.named) == 7
        assert [table["file"].iloc[row] for row in found.rows] == [f for f, _ in found.named]
        assert not found.distance < found.distances[0]
        alone = known.distances(picture[None].astype("float32"))[0]
        assert math.isclose(found.distance, alone, rel_tol=0.01)
        right += found.named[0][1] == table.set_index("file")["label"][file]
    assert right >= 55
    row = int(known.rows[3])
    itself = known.look(prepare(splits.catalog.read(row), splits.spec))
    assert itself.rows[0] == row and itself.distances[0] < 0.1 and not itself.unlike


def test_seeing_finds_its_way_through_any_graph():
    spec = ImageSpec(32, 32, 3, ("a", "b", "c"))
    for name in ("small_cnn", "small_resnet", "mlp", "logistic"):
        try:
            model = build_model(name, spec)
        except OptionError:
            continue
        network = seeing(model)
        assert len(network.output_shape) == 2 and network.output_shape[1] <= 4 * WIDEST
    inner = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 3), keras.layers.Conv2D(7, 3, strides=2)]
    )
    head = keras.layers.Dense(3, activation="softmax")
    elsewhere = keras.Input((7,))
    keras.Model(elsewhere, head(elsewhere))  # its first place is in another model
    outer = keras.Sequential([inner, keras.layers.GlobalAveragePooling2D(), head])
    assert seeing(outer).output_shape == (None, 7)
    hidden = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
            keras.layers.Dense(3),
        ]
    )
    assert seeing(hidden).output_shape == (None, 5)
    wide = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(900, 1), keras.layers.Conv2D(900, 3)]
    )
    assert seeing(wide).output_shape == (None, 900), "the deepest, as far as they fit"


@settings(max_examples=30)
@given(n=st.integers(2, 12), width=st.integers(1, 5), classes=st.integers(1, 12))
def test_a_measure_is_made_of_whatever_there_is(n, width, classes):
    features = RANDOM.normal(size=(n, width)).astype("float32")
    features[:, 0] = 3
    for same in (features, np.zeros_like(features)):
        rows = measure_of(same, np.arange(n) % classes).apply(same)
        assert np.isfinite(rows).all() and rows.shape == same.shape


def test_splits_of_something_else_are_refused():
    classifier, splits = small()
    assert fitting(classifier, splits) is splits
    other = Classifier(classifier.model, ImageSpec(12, 12, 1, ("x", "y", "z")))
    with pytest.raises(DataError, match="of something else than the classifier"):
        TryoutState(other, splits)
    with pytest.raises(DataError, match="made from datasets"):
        TryoutState(classifier, from_datasets((np.full((9, 12, 12, 1), 9.0), [0, 1, 2] * 3)))
    with pytest.raises(DataError, match="received str"):
        TryoutState(classifier, "splits")
    with pytest.raises(ClassifierError, match="Save a run by save"):
        TryoutState(classifier.model)
    with pytest.raises(MissingFileError):
        TryoutState("nowhere")
    cropped = Classifier(classifier.model, classifier.spec, "crop")
    assert fitting(cropped, splits).settings["resize"] == "crop"


# ---- what is said


@settings(max_examples=60)
@given(
    sure=st.lists(st.floats(0, 1), min_size=1, max_size=120),
    confidence=st.floats(0, 1),
    chance=st.floats(0, 1),
)
def test_a_calibration_counts_the_pictures_that_are_most_alike(sure, confidence, chance):
    known = np.sort(np.array(sure))
    right = np.random.default_rng(0).random(len(known)) < chance
    found, low, high = Calibration(known, right).alike(confidence)
    assert found.n == min(ALIKE, len(known)) and low <= high
    outside = np.abs(known - confidence)[(known < low) | (known > high)]
    assert (
        not len(outside)
        or outside.min() >= max(abs(low - confidence), abs(high - confidence)) - 1e-9
    )
    line = calibration_line(Calibration(known, right), confidence)
    expected = interval(round(found.value * found.n), found.n)
    assert ("too sure" in line) == (confidence > expected.high + 0.005)


def test_an_answer_that_cannot_be_calibrated_is_not(reading):
    classifier, splits = reading
    reference = reference_of(classifier, splits)
    noise = try_picture(classifier, RANDOM.integers(0, 256, (28, 28), dtype=np.uint8), reference)
    assert noise.nearest.unlike and noise.calibration.startswith("How sure it is says nothing")
    path = try_picture(classifier, prepare(splits.catalog.read(5), splits.spec), reference, "3")
    assert "Of 50 validation pictures" in path.calibration and path.note.startswith("Like")
    with pytest.raises(OptionError, match="Unknown class 'x'"):
        heat_of(classifier, path.pixels, "x")
    with pytest.raises(PictureError):
        try_picture(classifier, "nowhere.png")


def test_parts_that_are_missing_are_said_and_the_rest_works():
    classifier, splits = small(valid=0, test=0.5)
    state = TryoutState(classifier, splits)
    state.pick(17)
    assert state.wait() and state.tests == 18
    view = state.view()
    assert "no validation part" in view.note and len(view.nearest) == 5 and not view.unlike
    classifier, splits = small(test=0)
    state = TryoutState(classifier, splits)
    state.pick(0)
    assert "These splits have no test part" in state.view().message and state.view().pixels is None
    flat = keras.Sequential(
        [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )
    state = TryoutState(Classifier(flat, classifier.spec), splits)
    state.draw(np.tri(28, dtype=np.uint8) * 255)
    assert state.wait()
    view = state.view()
    assert view.heat_note.startswith("No heat map: ") and "heat" not in view.pngs and view.nearest


@pytest.mark.parametrize("mode", ["binary", "int", "multi_label"])
def test_other_kinds_of_labels(mode):
    names = ("cat", "dog") if mode == "binary" else ("cat", "dog", "eel")
    if mode == "multi_label":
        x = RANDOM.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
        labels = pd.Series([("cat",), ("cat", "dog"), (), ("eel",)] * 10, dtype=object)
        catalog = Catalog.from_arrays(x, labels.tolist(), names).split(valid=0.25, test=0.25)
        splits = load(catalog, augment="none")
        model = build_model("small_cnn", splits.spec, width=4, depth=1)
        classifier = Classifier(model, splits.spec)
    else:
        classifier, splits = small(names, channels=3, label_mode=mode)
    tried = TryPictures(classifier, splits)
    tried.parts.sliders["hue"].value = 20
    for label in (*names, None):
        tried.state.explain(label)
        assert tried.wait() and tried.state.view().message == ""
    view = tried.state.view()
    assert set(FIGURES) == set(view.pngs) and view.prediction.label is not None
    assert tried.snapshot().html.count("<img") == 9


# ---- changes


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), channels=st.sampled_from([1, 3]))
def test_a_change_stays_a_picture(data, channels):
    known = amounts_for(channels)
    amounts = data.draw(
        st.fixed_dictionaries({}, optional={n: st.floats(a.low, a.high) for n, a in known.items()})
    )
    picture = RANDOM.integers(0, 256, (12, 10, channels), dtype=np.uint8)
    once, many = vary(picture, amounts), vary_many(picture, [{}, amounts])
    assert once.shape == picture.shape and once.dtype == np.uint8
    assert abs(many[0].astype(int) - picture).max() <= 1
    if any(amounts.values()):
        assert (many[1] == once).all(), "alone or among others"
    assert (vary(picture, amounts) == once).all(), "noise is drawn once"


def test_what_cannot_be_changed_is_said():
    for wrong in ({"hue": 1}, {"zoom": 1e9}, {"zoom": "large"}, {"zoom": math.nan}, {"x": 0}):
        with pytest.raises(OptionError):
            settled(wrong, 1)
    classifier, _ = small()
    with pytest.raises(OptionError, match="Unknown change"):
        sweep(classifier, np.zeros((12, 12, 1), np.uint8), {}, "hue")
    flat = Sweep("zoom", np.linspace(-50, 50, 21), 0, ("a",), np.ones((21, 1)))
    assert sweep_line(flat).endswith("the answer stays a.")
    assert all(each.low <= 0 <= each.high for each in AMOUNTS.values())


# ---- figures


@settings(max_examples=40)
@given(names=st.lists(st.text(max_size=30), min_size=1, max_size=12, unique=True), data=st.data())
def test_bars_of_any_names_add_up_and_can_be_drawn(names, data):
    shares = RANDOM.dirichlet(np.ones(len(names)))
    ordered = dict(sorted(zip(names, shares, strict=True), key=lambda pair: -pair[1]))
    prediction = Prediction(next(iter(ordered)), max(shares), ordered)
    true = data.draw(st.sampled_from(["", *names]))
    bars = bars_of(prediction, true)
    assert len(bars) <= BARS + 1
    if not any(name.endswith(("other", "others")) for name in names):
        assert math.isclose(sum(bars.values()), 1, abs_tol=1e-9)
        assert not true or true in bars
    assert answer_png(prediction, true).startswith(b"\x89PNG")


def test_a_figure_needs_no_pyplot_and_a_picture_stays_as_it_is():
    from matplotlib import pyplot

    pyplot.close("all")
    picture = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert picture_png(picture) and (large(picture, 70)[5::10, 5::10] == picture).all()
    assert pyplot.get_fignums() == []
    ax = plot_answer(Prediction("$x$", 0.9, {"$x$": 0.9, "y": 0.1}), "y")
    assert [text.get_text() for text in ax.get_yticklabels()] == [r"\$x\$", "y (right)"]
    pyplot.close("all")


# ---- sources


def test_every_hostile_file_is_a_sentence(tmp_path):
    classifier, _ = small()
    state = TryoutState(classifier)
    for name, (content, reason) in NOT_PICTURES.items():
        (tmp_path / name).write_bytes(content)
        state.upload(name, content)
        assert reason in state.view().message and name in state.view().message
        state.open(str(tmp_path / name))
        assert reason in state.view().message and name in state.view().message
    for name, reason in write_specials(tmp_path).items():
        started = time.perf_counter()
        state.open(str(tmp_path / name))
        assert state.view().message and time.perf_counter() - started < 5, name
        if reason != "missing" and reason != "unreadable":
            assert reason in state.view().message
    assert state.view().pixels is None and state.view().headline == "No picture yet."


def test_odd_files_that_show_a_picture_are_tried(tmp_path):
    classifier, _ = small(channels=3)
    state = TryoutState(classifier)
    for name, odd in seen_files().items():
        state.upload(name, odd.content)
        assert state.view().message == "" and name in state.view().headline, name


def test_paths_as_people_paste_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets" / "old").mkdir(parents=True)
    name = EVIL.replace("/", "") + ".jpg"
    (tmp_path / "pets" / name).write_bytes(photo())
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in (
        f"pets/{name}",
        f'"pets/{name}"',
        f" '~/pets/{name}'\n",
        f"{tmp_path}/pets/{name}",
    ):
        assert from_path(text).size == (24, 40)
    for text, said in {
        "": "There is no path",
        "  '' ": "There is no path",
        "pets": "is a folder",
        "pets/old": "Write the path of one picture.",
        "pets/none.jpg": "Relative paths begin at",
        "http://x.org/a.jpg": "nothing is fetched",
        "FTP://x": "nothing is fetched",
        "javascript:alert(1)": "nothing is fetched",
        "a\0b": "There is no file",
        "y" * 5000: "this is no path",
        "\u202ecod.jpg": "There is no file",
    }.items():
        with pytest.raises(PictureError, match=said) as caught:
            from_path(text)
        assert str(caught.value).replace("\n", "").isprintable()


def test_uploads_are_limited():
    with pytest.raises(PictureError, match="50 are looked at"):
        from_upload("large.png", bytes(UPLOAD.max_bytes + 1))
    with pytest.raises(PictureError, match="empty"):
        from_upload("", b"")
    name = "n" * 10_000 + "\n\x1b[31m"
    with pytest.raises(PictureError) as caught:
        from_upload(name, b"x")
    assert len(str(caught.value)) < 500
    assert from_upload("../../x.jpg", photo()).name == "../../x.jpg", "shown, and no path"


@settings(max_examples=60)
@given(content=st.binary(max_size=300))
def test_no_bytes_are_an_error_of_another_kind(content):
    with pytest.raises(PictureError):
        from_upload("x", content)


def test_a_drawing_becomes_like_the_training_pictures():
    pen = np.zeros((28, 28), np.uint8)
    pen[3:13, 20:24] = 200
    found = from_drawing(pen, Ground(fill=0.5, side=100)).pixels[..., 0]
    assert found.shape == (20, 20) and found.max() == 255
    rows, columns = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 14, 8, 11), "in the middle"
    paper = from_drawing(pen, Ground(dark=False, fill=1.0, side=5)).pixels
    assert paper.shape == (5, 5, 1) and paper.min() == 0 and paper.max() == 255
    ink = 255 - np.stack([np.pad(np.full((6, 6), 255, np.uint8), 3)] * 12)[..., None]
    splits = load(Catalog.from_arrays(ink, ["a", "b"] * 6).split(valid=0, test=0.5))
    assert ground_of(splits) == Ground(dark=False, fill=0.5, side=12)
    black = np.zeros((12, 8, 8, 1), np.uint8)
    empty = load(Catalog.from_arrays(black, ["a", "b"] * 6).split(valid=0, test=0.5))
    assert ground_of(empty) == Ground(True, 1.0, 8)
    with pytest.raises(PictureError, match="Nothing is drawn"):
        from_drawing(np.zeros((28, 28), np.uint8))


# ---- the state


def consistent(state):
    "Check that all that is shown belongs to one picture, when nothing is due."
    view = state.view()
    for text in (view.headline, view.answer, view.note, view.message, view.swept_line, view.busy):
        assert text.replace("\n", "").isprintable()
    assert set(view.amounts) == set(amounts_for(state.classifier.spec.channels))
    if view.pixels is None:
        assert view.prediction is None and not view.pngs
        return
    assert (view.pixels == vary(state.wish.pixels, view.amounts)).all()
    with turn_of(state.classifier.model):
        expected = state.classifier.predict(view.pixels)
    assert expected.probabilities == view.prediction.probabilities
    if not view.busy:
        assert view.swept.name == view.along and view.swept.here == view.amounts[view.along]
        assert (heat_of(state.classifier, view.pixels, view.label) == view.heat).all()
        if state.reference is not None:
            near = state.reference.known.look(view.pixels)
            assert [each.file for each in view.nearest] == [file for file, _ in near.named]


SMALL: dict[str, tuple] = {}


class AnyWishes(RuleBasedStateMachine):
    "Somebody who does not know what they want."

    def __init__(self):
        super().__init__()
        if not SMALL:
            SMALL["it"] = small(names=("a", EVIL, "c"))
        self.state = TryoutState(*SMALL["it"])
        self.folder = Path(os.environ["IMGREC_CACHE"])
        (self.folder / "photo.jpg").write_bytes(photo())

    @rule(place=st.integers(-2, 12))
    def pick(self, place):
        self.state.pick(place)
        assert bool(self.state.message) == (not 0 <= place < self.state.tests)

    @rule(name=st.sampled_from(["photo.jpg", "none.jpg", ".", ""]))
    def open(self, name):
        self.state.open(str(self.folder / name) if name != "." else name)
        assert bool(self.state.message) == (name != "photo.jpg")

    @rule(name=st.sampled_from(sorted(NOT_PICTURES)), good=st.booleans())
    def upload(self, name, good):
        self.state.upload(name, photo() if good else NOT_PICTURES[name][0])
        assert bool(self.state.message) == (not good)

    @rule(there=st.booleans())
    def draw(self, there):
        self.state.draw(np.eye(28, dtype=np.uint8) * (200 if there else 0))
        assert bool(self.state.message) == (not there)

    @rule(name=st.sampled_from([*AMOUNTS, "beauty"]), share=st.floats(-1.2, 1.2))
    def change(self, name, share):
        each = AMOUNTS.get(name, AMOUNTS["zoom"])
        self.state.change(name, share * each.high)

    @rule(name=st.sampled_from([*AMOUNTS, "beauty"]))
    def look_along(self, name):
        self.state.look_along(name)

    @rule(label=st.sampled_from(["a", EVIL, "c", None, "nobody"]))
    def explain(self, label):
        self.state.explain(label)
        assert bool(self.state.message) == (label == "nobody")

    @rule()
    def restore(self):
        self.state.restore()
        assert not any(self.state.view().amounts.values())

    @rule()
    def wait(self):
        assert self.state.wait()
        assert self.state.view().busy == ""

    @invariant()
    def all_belongs_together(self):
        with self.state.lock:
            consistent(self.state)

    def teardown(self):
        assert self.state.wait()
        consistent(self.state)


def test_any_order_of_wishes(monkeypatch):
    monkeypatch.setattr(tryout_state, "REST", 0.0)
    how = settings(
        max_examples=12,
        stateful_step_count=12,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(AnyWishes, settings=how)


def test_only_the_newest_wish_is_followed(monkeypatch):
    classifier, splits = small()
    state = TryoutState(classifier, splits)
    state.pick(0)
    assert state.wait()
    asked, real = [], tryout_following.sweep
    monkeypatch.setattr(
        tryout_following, "sweep", lambda *given: asked.append(given[2]["zoom"]) or real(*given)
    )
    for value in range(-50, 51, 5):
        state.change("zoom", value)
    assert state.wait() and state.view().swept.here == 50
    assert asked[-1] == 50 and len(asked) <= 5, "most of them were passed over"


def test_a_thread_ends_and_begins_anew_and_outlives_errors(monkeypatch):
    seen, told = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))

    def work(wish):
        seen.append((wish, newest.stale))
        if wish == 0:
            raise ValueError("once")

    newest = Newest(work, rest=0.05)
    for wish in range(2):
        newest.wish(wish)
        thread = newest.thread
        assert newest.wait(5) and not newest.busy
        thread.join(5)
        assert not thread.is_alive() and newest.thread is None
    assert seen == [(0, False), (1, False)] and [str(each) for each in told] == ["once"]


def test_who_looks_is_told_when_the_training_pictures_are_known():
    state = TryoutState(*small())
    told = [state.view().busy]
    state.watchers.append(lambda: told.append(state.view().busy))
    assert state.wait() and told[0].startswith("Looking at the training") and told[-1] == ""


def test_what_fails_in_a_thread_is_said(monkeypatch):
    classifier, splits = small()

    def broken(*_):
        raise RuntimeError(f"out of {EVIL}")

    monkeypatch.setattr(tryout_following, "heat_of", broken)
    state = TryoutState(classifier, splits)
    state.pick(1)
    assert state.wait()
    view = state.view()
    assert view.message == f"heat: RuntimeError: out of {EVIL}" and view.swept is not None
    monkeypatch.setattr(tryout_state, "reference_of", broken)
    state = TryoutState(classifier, splits)
    state.pick(1)
    assert state.wait()
    assert state.view().note == f"The training pictures are not known: out of {EVIL}"
    state.change("zoom", 10)
    assert state.view().prediction is not None, "the rest works"


def test_many_hands_on_two_states_of_one_classifier(monkeypatch):
    monkeypatch.setattr(tryout_state, "REST", 0.0)
    classifier, splits = small()
    states = [TryoutState(classifier, splits) for _ in range(2)]
    failed = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args.exc_value))

    def hand(state, seed):
        random = np.random.default_rng(seed)
        for _ in range(12):
            state.change("rotation", float(random.integers(-90, 90)))
            state.pick(int(random.integers(0, state.tests)))
            state.explain(random.choice(["a", "b", "c"]))
            state.view()

    hands = [threading.Thread(target=hand, args=(states[n % 2], n)) for n in range(4)]
    for each in hands:
        each.start()
    for each in hands:
        each.join(120)
    assert not any(each.is_alive() for each in hands) and not failed
    for state in states:
        assert state.wait()
        assert state.view().message == ""
        consistent(state)


# ---- the widget


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def texts(widget):
    "All HTML of a widget."
    return "".join(each.value for each in everything(widget) if isinstance(each, widgets.HTML))


def test_every_control_has_a_name_and_says_what_it_does():
    tried = TryPictures(*small(channels=3))
    kinds = (widgets.Button, widgets.Dropdown, widgets.Text, widgets.FloatSlider)
    kinds += (widgets.BoundedIntText, widgets.FileUpload)
    found = [each for each in everything(tried) if isinstance(each, kinds)]
    assert len(found) == 6 + len(AMOUNTS)
    assert all(each.description and each.tooltip for each in found)
    assert (tried.parts.pad is None) != bridge_ready()


def test_no_name_becomes_markup(tmp_path):
    names = ("cat", EVIL, "dog")
    random = np.random.default_rng(0)
    for row in range(30):
        folder = tmp_path / "pets" / f"class {row % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        picture.save(folder / f"<b>{row}<b>.png")
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    table = pd.DataFrame({"file": files, "label": [names[row // 10] for row in range(30)]})
    catalog = Catalog.from_table(table, root=tmp_path).split(valid=0.2, test=0.2)
    splits = load(catalog, image_size=12)
    classifier = Classifier(build_model("small_cnn", splits.spec, width=4, depth=1), splits.spec)
    tried = TryPictures(classifier, splits)
    tried.state.explain(EVIL)
    tried.state.upload(EVIL, photo())
    assert tried.wait()
    page = texts(tried) + tried.snapshot().html
    tried.state.open(f"/{EVIL}")
    tried.state.upload(EVIL, b"none")
    page += texts(tried) + tried.snapshot().html
    assert "<img src=x" not in page and "<b>0" not in page and "&lt;img src=x" in page
    thumbs = [SimpleNamespace(file=EVIL, label=EVIL, distance=1, thumb=_thumb(EVIL))]
    assert "<img src=x" not in nearest_html(thumbs)


def _thumb(reason):
    "A thumbnail with a reason."
    return SimpleNamespace(url="data:", reason=reason)


def uploaded(name, content):
    "A file as a browser sends it."
    facts = {"type": "image/jpeg", "size": len(content), "last_modified": datetime.now(UTC)}
    return {"name": name, "content": memoryview(content), **facts}


def test_a_person_tries_pictures(reading, tmp_path):
    classifier, splits = reading
    save(classifier.model, tmp_path / "reader", spec=classifier.spec)
    tried = TryPictures(tmp_path / "reader", splits)
    parts = tried.parts
    parts.place.value = 3
    assert tried.wait() and "which is right" in parts.texts["answer"].value
    assert parts.texts["note"].value.count("Like the training") == 1
    assert all(bytes(image.value).startswith(b"\x89PNG") for image in parts.images.values())
    assert parts.nearest.value.count("<figure") == 5 and parts.restore.disabled
    parts.sliders["noise"].value = 80
    assert parts.along.value == "noise" and not parts.restore.disabled
    parts.along.value = "zoom"
    parts.label.value = 4
    assert tried.wait()
    view = tried.state.view()
    assert (view.along, view.label, view.swept.name) == ("zoom", "3", "zoom")
    assert "where the score of 3" in parts.texts["heat_note"].value
    parts.restore.click()
    assert parts.sliders["noise"].value == 0
    for _ in range(2):
        parts.upload.value = (uploaded("noise.jpg", photo(scale=9)),)
        assert "noise.jpg (216x360 pixels)" in parts.texts["headline"].value
        assert parts.upload.value == (), "ready for the same file again"
    assert tried.wait() and "Unlike the training" in parts.texts["note"].value
    parts.path.value = str(tmp_path)
    assert "is a folder" in parts.message.value
    assert (parts.path.value, parts.place.value) == (str(tmp_path), 0), "to be mended"
    parts.path.value = ""
    assert parts.message.value == "", "nothing is asked for"
    tried.state.pick(4)
    assert parts.message.value == "" and parts.place.value == 5, "by code, too"
    assert "Test picture 5: " in parts.texts["headline"].value


def test_fields_say_which_picture_is_tried_and_take_the_same_again(reading, tmp_path):
    classifier, splits = reading
    tried = TryPictures(classifier, splits)
    parts, file = tried.parts, tmp_path / "one.jpg"
    file.write_bytes(photo())
    assert (parts.place.value, parts.path.value) == (1, "")
    parts.path.value = str(file)
    assert (parts.place.value, parts.path.value) == (0, str(file))
    parts.place.value = 1
    assert tried.state.view().place == 0 and parts.path.value == ""
    parts.path.value = str(file)
    tried.state.upload("two.jpg", photo())
    assert (parts.place.value, parts.path.value, tried.state.view().place) == (0, "", None)
    assert "two.jpg" in parts.texts["headline"].value
    parts.place.value = 1
    assert tried.state.view().place == 0
    parts.place.value = 0
    assert "Expected a test picture from 1" in parts.message.value and parts.place.value == 1
    assert tried.wait()


def test_a_digit_is_drawn(reading):
    classifier, splits = reading
    tried = TryPictures(classifier, splits)
    assert tried.wait()
    image = Image.new("L", (280, 280))
    ImageDraw.Draw(image).line([(80, 50), (200, 50), (130, 230)], 255, width=24)
    pen = np.asarray(image.resize((28, 28), Image.Resampling.BOX))
    if tried.parts.pad is None:
        assert "imgrec[ui]" in texts(tried)
        tried.state.draw(pen)
    else:
        tried.parts.pad.pixels = pen.tobytes()
    view = tried.state.view()
    assert view.prediction.label == "7" and "The drawing" in view.headline
    if tried.parts.pad is not None:
        tried.parts.pad.pixels = bytes(28 * 28)
        assert tried.state.view().message == "", "to clear the field is no wish"


def test_without_splits_and_without_anywidget(monkeypatch):
    from imgrec import bridge, pen

    for module in (bridge, pen):
        monkeypatch.setattr(module, "bridge_ready", lambda: False)
    classifier, _ = small()
    tried = TryPictures(classifier)
    parts = tried.parts
    assert parts.pad is None and 'pip install "imgrec[ui]"' in texts(tried).replace("&quot;", '"')
    assert parts.place.layout.display == "none" and "No picture yet." in tried.snapshot().html
    tried.state.draw(np.eye(28, dtype=np.uint8) * 255)
    assert tried.wait()
    assert "give splits=load(...)" in parts.texts["note"].value
    assert "%" in parts.texts["bars"].value, "no figure has an alternative text"
    assert set(tried.state.view().pngs) == set(FIGURES) and not parts.nearest.value


def test_a_slider_is_answered_at_once_and_showing_sends_only_what_differs():
    tried = TryPictures(*small())
    assert tried.wait()
    changed = []
    for each in everything(tried):
        if hasattr(each, "value"):
            each.observe(lambda change: changed.append(change["owner"]), "value")
    tried.show()
    assert changed == []
    tried.parts.sliders["zoom"].value = 20
    assert tried.parts.texts["changes"].value.count("zoom +20") == 1
    times = []
    for value in range(-40, 40, 8):
        started = time.perf_counter()
        tried.parts.sliders["rotation"].value = value
        times.append(time.perf_counter() - started)
    MEASURED["a slider of TryPictures"] = f"{1000 * float(np.median(times)):.0f} ms to its answer"
    assert tried.wait() and set(FOLLOWING) and tried.state.found.due == frozenset()


def test_a_model_without_a_graph_has_no_neighbours_and_says_so():
    class Own(keras.Model):
        "A function in Python."

        def call(self, x):
            return keras.ops.softmax(keras.ops.mean(x, axis=(1, 2)) * keras.ops.arange(3.0))

    _, splits = small()
    own = Classifier(Own(name="own"), splits.spec)
    with pytest.raises(ModelError, match="own has no graph"):
        seeing(own.model)
    tried = TryPictures(own, splits)
    assert tried.wait()
    assert "No nearest pictures: own has no graph" in tried.parts.texts["note"].value
    assert "No heat map" in tried.parts.texts["heat_note"].value and tried.state.view().calibration
    with pytest.raises(OptionError):
        from_test(splits, 99)

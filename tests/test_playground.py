"""The teaching widgets: numbers against Keras, any order of clicks, hostile names, threads."""

import re
import threading
from html.parser import HTMLParser

import ipywidgets as widgets
import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from keras import layers
from matplotlib.figure import Figure

from imgrec.cells import EMPTY, Box, board, draw_cells, limits, number_size, png_of, shades
from imgrec.convolution_state import ConvolutionState
from imgrec.convolving import (
    KERNELS,
    SIZES,
    convolve,
    named_kernel,
    number_text,
    pool,
    reduced,
    slide_along,
    sum_lines,
    window_at,
)
from imgrec.convolving_plots import convolution_png, plot_convolution, plot_pooling, pooling_png
from imgrec.core import DataError, ImageSpec, ModelError, OptionError
from imgrec.datasets import digits
from imgrec.models import MODELS, build_model
from imgrec.playground import ConvolutionPlayground, LayerWalk, PoolingPlayground
from imgrec.playground_state import LARGEST, VIEWS, PoolingState
from imgrec.walk import answer_of, fitted, steps_of
from imgrec.walk_plots import MOST, plot_step, plot_walk, seen_in, step_png
from imgrec.walk_state import WalkState

EVIL = '<img src=x onerror="alert(1)">'
RNG = np.random.default_rng(0)
DIGIT = digits().read(3)
PHOTO = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


# ---- the numbers


def pictures(channels=(1, 2, 3)):
    "Small arrays of whole numbers, with either sign."
    shape = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(channels))
    return shape.map(lambda s: RNG.integers(-9, 10, s).astype("float32"))


HOW = {
    "size": st.integers(1, 5),
    "stride": st.integers(1, 4),
    "padding": st.sampled_from(["valid", "same"]),
}


@FEW
@given(picture=pictures(), bias=st.integers(-3, 3), **HOW)
def test_a_convolution_is_what_keras_does(picture, size, stride, padding, bias):
    kernel = RNG.integers(-3, 4, (size, size, picture.shape[2])).astype("float32")
    if padding == "valid" and size > min(picture.shape[:2]):
        with pytest.raises(DataError, match=f"window of {size} pixels does not fit"):
            convolve(picture, kernel, bias, stride, padding)
        return
    own = convolve(picture, kernel, bias, stride, padding)
    expected = keras.ops.conv(picture[None], kernel[..., None], strides=stride, padding=padding)
    np.testing.assert_allclose(own.feature_map, np.asarray(expected)[0, ..., 0] + bias, atol=1e-3)
    row, column = own.down.count - 1, own.across.count - 1
    under = window_at(own, row, column)
    assert (under.pixels * own.kernel).sum() + bias == own.feature_map[row, column]
    assert under.inside.any() and not under.pixels[~under.inside].any()
    assert (under.top, under.left) == (own.down.start(row), own.across.start(column))


@FEW
@given(picture=pictures(), kind=st.sampled_from(["max", "average", "sum"]), **HOW)
def test_a_pooling_is_what_keras_does(picture, size, stride, padding, kind):
    if padding == "valid" and size > min(picture.shape[:2]):
        with pytest.raises(DataError):
            pool(picture, size, stride, padding, kind)
        return
    made = pool(picture, size, stride, padding, kind)
    for row in range(made.down.count):
        under = window_at(made, row, made.across.count - 1)
        seen = under.pixels[under.inside]
        expected = {"max": seen.max(0), "average": seen.mean(0), "sum": seen.sum(0)}[kind]
        np.testing.assert_allclose(made.maps[row, -1], expected)
    if kind != "sum":
        layer = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
        theirs = np.asarray(layer(size, stride, padding)(picture[None]))[0]
        np.testing.assert_allclose(made.maps, theirs, atol=1e-5)


@FEW
@given(picture=pictures(channels=(1, 3)), name=st.sampled_from(list(KERNELS)))
def test_a_written_sum_adds_up(picture, name):
    made = convolve(picture, named_kernel(name, 3, picture.shape[2]), padding="same")
    if name.startswith(("blur", "soft")):
        return  # its numbers are rounded
    for line, share in zip(sum_lines(made, 0, 0), made.parts[0, 0], strict=False):
        terms, said = line.split(": ")[1].rsplit(" = ", 1)
        assert eval(terms.replace("x", "*")) == float(said) == share


def test_kernels_are_what_they_are_called():
    flat = np.full((7, 7), 100.0)
    for name in KERNELS:
        for size in SIZES:
            found = convolve(flat, named_kernel(name, size)).feature_map
            plain = 0 if name in ("edge", "sobel x", "sobel y") else 100
            np.testing.assert_allclose(found, plain, atol=1e-9)
    ramp = np.tile(np.arange(7.0), (7, 1))
    assert (convolve(ramp, named_kernel("sobel x")).feature_map == 8).all()
    assert (convolve(ramp, named_kernel("sobel y")).feature_map == 0).all()
    np.testing.assert_array_equal(
        convolve(DIGIT, named_kernel("identity", 5), padding="same").feature_map, DIGIT[..., 0]
    )


def test_what_cannot_be_slid_is_named():
    with pytest.raises(OptionError, match="padding 'full'"):
        slide_along(8, 3, padding="full")
    with pytest.raises(OptionError, match="from 1, received 3 and 0"):
        slide_along(8, 3, stride=0)
    with pytest.raises(DataError, match=r"received shape \(3, 3, 3, 3\)"):
        convolve(np.zeros((3, 3, 3, 3)), named_kernel("blur"))
    with pytest.raises(DataError, match="kernel with 3 channels, as the picture has, received 1"):
        convolve(PHOTO, named_kernel("blur"))
    with pytest.raises(OptionError, match="6 rows and 6 columns, so there is no row -1"):
        window_at(convolve(DIGIT, named_kernel("edge")), -1, 0)


@pytest.mark.parametrize("shape", [(40, 60, 3), (3, 500, 1), (500, 3), (1, 1, 3), (10, 10)])
def test_a_reduced_picture_keeps_its_proportions(shape):
    picture = np.full(shape, 7, np.uint8)
    small = reduced(picture, 10)
    assert max(small.shape[:2]) == min(10, max(shape[:2])) and small.shape[2:] == shape[2:]
    assert (small == 7).all() and (small is picture) == (max(shape[:2]) <= 10)


def test_numbers_are_short():
    assert [number_text(x) for x in (0.001, -0.004, 99.96, 1e6, -12.5)] == [
        *("0.00", "-0.00", "100.0", "1000000", "-12.5")
    ]


# ---- drawings


def test_shades_keep_what_is_unknown_apart():
    values = np.array([[np.nan, -1.0, 0.0, 1.0]])
    unknown, low, zero, high = shades(values, *limits(values))[0].tolist()
    assert unknown == [*EMPTY] and min(zero) > 230
    assert low[2] > low[0] and high[0] > high[2]
    assert shades(np.zeros((2, 2)), *limits(np.zeros((2, 2)))).max() == 0
    assert limits(np.full((2, 2), np.nan)) == (0, 1)


def drawn_texts(ax):
    "How many texts stand on a board."
    return sum(len(each.get_paths()) for each in ax.collections if hasattr(each, "get_sizes"))


def test_numbers_are_written_only_where_they_can_be_read():
    for side, written in ((8, 64), (60, 0)):
        ax = Figure(figsize=(4, 4)).add_axes((0, 0, 1, 1))
        draw_cells(board(ax, 4, 4), np.full((side, side), 255.0), Box(0, 0, 4, 4), 0, 255)
        assert drawn_texts(ax) == written
    assert number_size(30, 3) > number_size(16, 3) >= 6 and number_size(9, 3) == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_every_place_can_be_drawn(channels, size):
    picture = PHOTO[:7, :6, :channels]
    made = convolve(picture, named_kernel("edge", size, channels), 2, 2, "same")
    for row, column in [(0, 0), (made.down.count - 1, made.across.count - 1)]:
        ax = Figure(figsize=(9, 5)).add_axes((0, 0, 1, 1))
        assert plot_convolution(made, row, column, filled=1, ax=ax) is ax
        assert len(ax.images) == 4 * channels + 1 and len(ax.patches) == channels + 1
    for kind, frames in (("max", 3), ("average", 2), ("sum", 2)):
        ax = Figure(figsize=(9, 4)).add_axes((0, 0, 1, 1))
        plot_pooling(pool(picture, 2, 2, "same", kind), 3, 2, channels - 1, ax=ax)
        assert (len(ax.images), len(ax.patches)) == (3, frames)


def test_a_map_that_fills_up_shows_no_more_than_it_may():
    made = convolve(DIGIT, named_kernel("blur"))
    seen = {filled: convolution_png(made, 0, 0, filled) for filled in (1, 2, 36, None)}
    assert seen[36] == seen[None] and len({*seen.values()}) == 3


def test_threads_draw_the_same_and_leave_no_figure():
    made, pooled = convolve(PHOTO, named_kernel("edge", 3, 3)), pool(DIGIT)
    expected, found = (convolution_png(made, 3, 3), pooling_png(pooled, 1, 1)), []

    def draw():
        found.append((convolution_png(made, 3, 3), pooling_png(pooled, 1, 1)))

    hands = [threading.Thread(target=draw) for _ in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert found == [expected] * 4 and not plt.get_fignums()
    small = png_of(lambda ax: board(ax, 1, 1), 2, 1, stored=True)
    assert len(small) < len(png_of(lambda ax: board(ax, 1, 1), 2, 1))


# ---- the walk

SPEC = ImageSpec(32, 32, 3, ("a", "b", EVIL))


@pytest.mark.parametrize("name", MODELS)
def test_all_our_networks_can_be_walked(name):
    model = build_model(name, SPEC)
    picture = RNG.integers(0, 256, SPEC.shape, dtype=np.uint8)
    steps = steps_of(model, picture)
    np.testing.assert_allclose(
        steps[-1].values, model.predict_on_batch(picture[None])[0], atol=1e-4
    )
    assert sum(step.weights for step in steps) == model.count_params()
    assert [steps[0].kind, steps[-1].kind] == ["picture", "probabilities"]
    assert all(step.after == step.values.shape and step.told for step in steps)
    unexplained = {step.layer for step in steps if step.kind == "other"}
    assert not unexplained, f"{name} has layers without a sentence: {unexplained}"


def chain(*parts, shape=(12, 12, 1)):
    "A Sequential model."
    return keras.Sequential([keras.Input(shape), *parts])


@pytest.mark.parametrize("bias", [True, False])
def test_an_activation_inside_a_layer_is_a_step_of_its_own(bias):
    model = chain(
        layers.Conv2D(3, 3, strides=2, activation="relu", use_bias=bias),
        layers.Flatten(),
        layers.Dense(4, activation="gelu", use_bias=bias),
        layers.Dense(2, activation="softmax", use_bias=bias),
    )
    steps = steps_of(model, fitted(DIGIT, (12, 12, 1))[0])
    assert [step.kind for step in steps[1:]] == [
        *("convolution", "ReLU", "flatten", "dense", "activation", "dense", "probabilities")
    ]
    assert steps[1].values.min() < 0 == steps[2].values.min()
    np.testing.assert_allclose(np.maximum(steps[1].values, 0), steps[2].values, atol=1e-4)
    assert "gelu" in steps[5].told and steps[2].name.endswith(", relu")
    assert sum(step.weights for step in steps) == model.count_params()


class Own(keras.Model):
    "A model that is a function."

    def call(self, x):
        return x


def shared_layer():
    "A model that uses a layer twice."
    twice = layers.Conv2D(1, 3, padding="same", name="twice")
    inputs = keras.Input((12, 12, 1))
    return keras.Model(inputs, twice(twice(inputs)))


def borrowed_layer():
    "A model with a layer that another model had before."
    layer = layers.Flatten(name="borrowed")
    chain(layers.Conv2D(1, 3), layer)
    return chain(layers.Conv2D(2, 3), layer)


def two_inputs():
    "A model of two pictures."
    pair = [keras.Input((12, 12, 1)), keras.Input((12, 12, 1))]
    return keras.Model(pair, layers.Add()(pair))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Own(name="own"), "'own' has no graph of layers"),
        (lambda: keras.Sequential([layers.Flatten()], name="raw"), "'raw' has no graph of layers"),
        (lambda: chain(chain(layers.Flatten())), "is a model of its own, with 1 layer"),
        (shared_layer, "'twice' of .* is used more than once"),
        (borrowed_layer, "was used in another model before"),
        (two_inputs, "Expected a model of one picture"),
        (lambda: chain(layers.Dense(1), shape=(5,)), "Expected a model of one picture"),
    ],
)
def test_what_cannot_be_walked_is_named(make, said):
    with pytest.raises(ModelError, match=said):
        steps_of(make(), np.zeros((12, 12, 1)))
    with pytest.raises(ModelError, match=said):
        LayerWalk(make(), np.zeros((12, 12, 1)))


def test_pictures_that_do_not_fit_are_named():
    model = chain(layers.Flatten())
    for wrong in (np.zeros((12, 12)), np.zeros((12, 11, 1)), np.zeros((12, 12, 3))):
        with pytest.raises(DataError, match="takes pictures"):
            steps_of(model, wrong)
    with pytest.raises(DataError, match="received -1 to 255"):
        steps_of(model, np.linspace(-1, 255, 144).reshape(12, 12, 1))
    same, note = fitted(DIGIT, (None, None, None))
    assert same.shape == (8, 8, 1) and not note


def test_a_layer_without_a_sentence_is_named_and_shown():
    model = chain(layers.GaussianNoise(1.0), layers.UpSampling2D(2, name=EVIL))
    steps = steps_of(model, np.zeros((12, 12, 1)))
    assert [s.told for s in steps[1:]] == [
        f"A layer of the class {name}." for name in ("GaussianNoise", "UpSampling2D")
    ]
    assert step_png(steps[-1]) and seen_in(steps[-1]).startswith("1 map of 24 x 24")
    walk = LayerWalk(model, DIGIT)
    walk.parts.inputs["step"].value = 3
    assert_harmless(walk)


def test_answers_have_names():
    assert answer_of(np.array([0.2, 0.7, 0.1]), "abc")[0] == ("b", 0.7)
    assert answer_of(np.array([0.2])) == [("class 0", 0.8), ("class 1", 0.2)]
    with pytest.raises(DataError, match="Expected 3 class names, received 2"):
        answer_of(np.zeros(3), "ab")


def test_many_maps_and_classes_are_the_first_and_the_best():
    names = [f"{EVIL} ${n}$ \n" for n in range(30)]
    model = build_model("small_cnn", ImageSpec(16, 16, 1, tuple(names)), width=24, depth=1)
    steps = steps_of(model, fitted(DIGIT, (16, 16, 1))[0])
    maps = next(step for step in steps if step.kind == "convolution")
    assert f"{MOST} of 24 maps" in seen_in(maps) and "8 more are not shown" in seen_in(maps)
    assert len(plot_step(maps).images) == MOST
    assert step_png(steps[-1], names)[:4] == b"\x89PNG"
    assert len(plot_walk(steps, names).images) >= len(steps)


# ---- any order of clicks


NAMES = ["kernel", "kind", "size", "stride", "padding", "channel", "view", "filling", "bias", "x"]
VALUES = [*KERNELS, "own numbers", "max", "sum", 2, 3, 4, 5, 1, "as the window", "valid", "same"]
VALUES += ["all channels", "red", "blue", "grey", "numbers", "picture", True, False, None, EVIL]
VALUES += [float("nan"), 1e9, -2.5, "7", [1], np.zeros(3)]
KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "a", EVIL]


class AnyOrder(RuleBasedStateMachine):
    "Whatever is set and pressed, what is shown is right."

    state = None  # Of a subclass

    @rule(name=st.sampled_from(NAMES), value=st.sampled_from(VALUES))
    def set(self, name, value):
        before = self.state.settings
        self.state.set(name, value)
        assert not self.state.message or self.state.settings is before
        if not self.state.message and name != "kernel":
            assert self.state.view().controls[name] == (float(value) if name == "bias" else value)

    @rule(row=st.integers(-1, 5), column=st.integers(-1, 5), value=st.sampled_from(VALUES))
    def write(self, row, column, value):
        if hasattr(self.state, "write"):
            self.state.write(row, column, value)
            if not self.state.message:
                assert self.state.view().cells[row, column] == float(value)

    @rule(key=st.sampled_from(KEYS))
    def press(self, key):
        before = self.state.view()
        assert self.state.press(key) == (key in KEYS[:6])
        after = self.state.view()
        if key == "ArrowRight":
            last = before.places - 1
            assert after.controls["place"] == min(before.controls["place"] + 1, last)

    @rule(place=st.integers(-5, 5000))
    def go(self, place):
        self.state.go(place)
        view = self.state.view()
        assert view.controls["place"] == min(max(place, 0), view.places - 1)

    @invariant()
    def what_is_shown_is_right(self):
        view, size = self.state.view(), VIEWS[self.state.settings.view]
        made, (row, column) = view.made, (view.row, view.column)
        assert view.places == made.down.count * made.across.count > 0
        assert max(made.picture.shape[:2]) <= size
        assert bool(view.note) >= (max(self.state.came) > size)
        assert view.filled in (None, row * made.across.count + column + 1)
        maps = made.feature_map if hasattr(made, "kernel") else made.maps[..., view.channel]
        assert number_text(maps[row, column]) in view.alt
        assert view.lines[-1].endswith(f" = {number_text(maps[row, column])}")
        assert np.isfinite(maps).all() and np.abs(maps).max() <= 100 * 300 * LARGEST


class AnyConvolution(AnyOrder):
    "Of a colour picture."

    def __init__(self):
        super().__init__()
        self.state = ConvolutionState(PHOTO)


class AnyPooling(AnyOrder):
    "Of a small colour picture."

    def __init__(self):
        super().__init__()
        self.state = PoolingState(PHOTO[:5, :3])


@pytest.mark.parametrize("machine", [AnyConvolution, AnyPooling])
def test_any_order_of_changes(machine):
    how = settings(max_examples=25, stateful_step_count=20)
    run_state_machine_as_test(machine, settings=how)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300, 3), (400, 2, 1), (2, 2, 3)])
def test_pictures_of_any_size_begin_somehow(shape):
    picture = np.full(shape, 9, np.uint8)
    for state in (ConvolutionState(picture), PoolingState(picture)):
        assert state.view().places >= 1 and not state.message
        for view in VIEWS:
            state.set("view", view)
            state.set("padding", "same")
            assert not state.message


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 3, 4)), np.full((4, 4), 300.0), np.random.rand(4, 4), [1, 2], "x"]
)
def test_what_is_no_picture_is_refused_at_once(wrong):
    for playground in (ConvolutionPlayground, PoolingPlayground):
        with pytest.raises((DataError, ValueError)):
            playground(wrong)


def test_many_hands_leave_a_sound_kernel():
    state = ConvolutionState(DIGIT)

    def work(n):
        for step in range(25):
            state.write(step % 3, n % 3, n)
            state.set("size", (3, 5)[(n + step) % 2])
            state.press("ArrowRight")
            state.view()

    hands = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert set(state.view().cells.ravel()) <= {-1, 0, 1, 2, 3, 8}


@FEW
@given(
    acts=st.lists(
        st.sampled_from(KEYS) | st.integers(-3, 20) | st.sampled_from(["next", "previous"])
    )
)
def test_a_walk_in_any_order(walked, acts):
    state, number = walked, walked.number
    for act in acts:
        if isinstance(act, int):
            state.go(act)
        elif act in ("next", "previous"):
            getattr(state, act)()
        else:
            assert state.press(act) == (act in KEYS[:6])
        view = state.view()
        assert view.title.startswith(f"Step {view.number + 1} of {view.count}: ")
        assert abs(view.number - number) <= 1 or act not in ("next", "previous")
        assert view.step is state.steps[view.number] and len(view.trail) == view.count
        number = view.number


@pytest.fixture(scope="module")
def walked():
    "A walk through a small network with hostile class names."
    keras.utils.set_random_seed(0)
    model = build_model("two_conv", ImageSpec(16, 16, 1, (EVIL, "$x$", "")), dense=8)
    return WalkState(model, DIGIT, (EVIL, "$x$", ""))


def test_another_picture_keeps_the_step(walked):
    walked.press("End")
    walked.take(PHOTO)
    assert walked.view().number == walked.view().count - 1 and "made grey" in walked.view().note
    before = walked.view().lines
    walked.take(np.zeros((3, 3, 9)))
    assert walked.view().message and walked.view().lines == before
    walked.press("Home")
    assert not walked.view().message
    with pytest.raises(DataError, match="received the text 'abc'"):
        WalkState(walked.model, DIGIT, "abc")


# ---- the widgets, without a browser


def everything(widget):
    "A widget and all that is in it."
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


class Tags(HTMLParser):
    "The tags of a text."

    def __init__(self, text):
        super().__init__()
        self.found = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)


def assert_harmless(playground):
    "No text of a playground holds a tag that it did not make."
    shown = [each for each in everything(playground) if isinstance(each, widgets.HTML)]
    texts = [each.value for each in shown if each is not playground.rule]
    assert re.fullmatch(r"<style>\.[a-z0-9-]+ { display: none }</style>", playground.rule.value)
    shot = playground.snapshot().html
    assert set().union(*(Tags(text).found for text in texts)) <= {"div", "ol", "li"}
    assert Tags(shot).found <= {"div", "img"} and shot.count("<img") == 1


def playgrounds():
    "One of each kind."
    model = build_model("two_conv", ImageSpec(16, 16, 1, (EVIL, "b")), dense=8)
    return [
        ConvolutionPlayground(DIGIT),
        ConvolutionPlayground(PHOTO),
        PoolingPlayground(PHOTO),
        LayerWalk(model, DIGIT, (EVIL, "b")),
    ]


def test_every_control_has_a_name_and_nothing_is_markup():
    kinds = (widgets.Dropdown, widgets.FloatText, widgets.IntSlider, widgets.Button)
    kinds += (widgets.Checkbox, widgets.Play)
    counts = []
    for playground in playgrounds():
        found = [each for each in everything(playground) if isinstance(each, kinds)]
        assert all(each.description and each.tooltip for each in found)
        names = [each.description for each in found]
        assert len(names) == len(set(names)), "a name stands for one control"
        pictures = [each for each in everything(playground) if isinstance(each, widgets.Image)]
        assert [bytes(each.value[:4]) for each in pictures] == [b"\x89PNG"]
        assert all(each.tooltip is None for each in pictures)
        assert_harmless(playground)
        counts.append(len(found))
    assert counts == [18, 19, 9, 3] and not plt.get_fignums()


def test_a_number_that_is_written_is_seen():
    playground = ConvolutionPlayground(DIGIT, "identity")
    parts = playground.parts
    before, cells = parts.picture.value, parts.cells[3]
    assert [each.value for each in cells] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    cells[1].value = 2
    assert cells[1].description == "kernel, row 1, column 2"
    assert parts.picture.value != before and parts.inputs["kernel"].value == "own numbers"
    assert playground.state.view().cells[0, 1] == 2 and " x 2 " in parts.lines.value
    parts.inputs["kernel"].value = "sharpen"
    assert [each.value for each in cells] == [0, -1, 0, -1, 5, -1, 0, -1, 0]
    parts.inputs["size"].value = 5
    assert parts.grid.children == parts.cells[5] and parts.cells[5][12].value == 5
    assert "repeat(5" in parts.grid.layout.grid_template_columns


def test_what_is_refused_goes_back_and_is_said():
    playground = ConvolutionPlayground(PHOTO[:4, :4])
    parts = playground.parts
    parts.inputs["size"].value = 5
    assert "does not fit into 4" in parts.message.value and parts.inputs["size"].value == 3
    assert 'role="alert"' in parts.message.value
    parts.cells[3][0].value = 1e12
    assert "row 1, column 1" in parts.message.value and parts.cells[3][0].value == -1
    parts.inputs["padding"].value = "same"
    assert parts.message.value == "" and parts.message.layout.display == "none"
    parts.inputs["size"].value = 5
    assert parts.inputs["size"].value == 5


def test_the_slider_counts_from_one_and_stays_inside():
    playground = PoolingPlayground(DIGIT)
    place, play = playground.parts.inputs["place"], playground.parts.inputs["play"]
    assert (place.value, place.max, play.max) == (1, 16, 16)
    place.value = 16
    assert playground.state.view().row == 3 and "max of" in playground.parts.lines.value
    playground.parts.inputs["size"].value = 4
    assert (place.value, place.max, play.value, play.max) == (4, 4, 4, 4)
    playground.state.press("ArrowUp")
    playground.show()
    assert place.value == 2
    filled = playground.parts.picture.value
    playground.parts.inputs["filling"].value = True
    assert playground.parts.picture.value != filled


def test_a_slice_is_changed_alone():
    playground = ConvolutionPlayground(PHOTO, "edge")
    parts = playground.parts
    parts.inputs["channel"].value = "green"
    parts.cells[3][4].value = 0
    kernel = playground.state.view().made.kernel
    assert kernel[1, 1].tolist() == [8, 0, 8]
    parts.inputs["channel"].value = "all channels"
    assert "channels differ" in parts.note.value
    parts.cells[3][4].value = 4
    assert playground.state.view().made.kernel[1, 1].tolist() == [4, 4, 4]
    parts.inputs["view"].value = "numbers"
    assert "reduced to 7x10" in parts.note.value


def test_buttons_walk_and_end():
    walk = playgrounds()[-1]
    parts, count = walk.parts, walk.state.view().count
    back, on, slider = parts.buttons["previous"], parts.buttons["next"], parts.inputs["step"]
    assert (back.disabled, on.disabled, slider.max) == (True, False, count)
    seen = {bytes(parts.picture.value)}
    for _ in range(count - 1):
        on.click()
        seen.add(bytes(parts.picture.value))
    assert on.disabled and slider.value == count and len(seen) == count
    assert "Most probable" in parts.lines.value and "&lt;img" in parts.lines.value
    back.click()
    assert slider.value == count - 1 and f"Step {count - 1} of" in parts.title.value
    slider.value = 1
    assert back.disabled
    assert len(re.findall('aria-current="step"', parts.trail.value)) == 1
    walk.state.take(PHOTO)
    walk.show()
    assert "resized from 40x60 to 16x16 and made grey" in parts.note.value


def test_what_a_program_sets_is_nobodys_wish(monkeypatch):
    calls, kept = [], ConvolutionState.set
    monkeypatch.setattr(ConvolutionState, "set", lambda self, *change: calls.append(change))
    playground = ConvolutionPlayground(DIGIT)
    kept(playground.state, "kernel", "blur")
    playground.state.go(20)
    playground.show()
    assert calls == [] and playground.parts.inputs["kernel"].value == "blur"
    playground.parts.inputs["stride"].value = 2
    assert calls == [("stride", 2)]


def test_callbacks_of_several_threads_end_in_what_is_so(capfd):
    playground = ConvolutionPlayground(DIGIT)
    parts = playground.parts

    def turn(name, values):
        for value in values:
            parts.inputs[name].value = value

    hands = [
        threading.Thread(target=turn, args=("padding", ["same", "valid"] * 4)),
        threading.Thread(target=turn, args=("place", [3, 9, 12, 30] * 2)),
    ]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    playground.show()
    view = playground.state.view()
    assert parts.inputs["padding"].value == view.controls["padding"]
    assert parts.inputs["place"].value == view.controls["place"] + 1
    assert capfd.readouterr() == ("", "")

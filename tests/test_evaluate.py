"""Tables of predictions and metrics: agreement with scikit-learn, and input that does not fit."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as sk

from imgrec.core import DataError, ModelError, OptionError
from imgrec.evaluate import (
    accuracy,
    confusion_table,
    metrics,
    most_confident_mistakes,
    predict_table,
)
from imgrec.intervals import interval


class Echo(keras.Model):
    "Answers with what it is shown: pictures are probabilities."

    def call(self, inputs):
        return keras.ops.reshape(inputs, (keras.ops.shape(inputs)[0], -1))


def shown(*rows):
    "Pictures that `Echo` answers with `rows`."
    return np.array(rows, dtype="float32")[:, :, None, None]


def lookup(table, metric, average=""):
    "One line of the table of metrics."
    return table[(table["metric"] == metric) & (table["average"] == average)].iloc[0]


tables = st.integers(2, 5).flatmap(
    lambda k: st.lists(
        st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60
    )
)


@given(tables)
def test_metrics_are_those_of_scikit_learn(pairs):
    true, predicted = zip(*pairs, strict=True)
    ours = metrics(pd.DataFrame({"true": true, "predicted": predicted}))
    assert lookup(ours, "accuracy")["value"] == pytest.approx(sk.accuracy_score(true, predicted))
    recalls = sk.recall_score(true, predicted, labels=sorted(set(true)), average="macro")
    assert lookup(ours, "balanced_accuracy")["value"] == pytest.approx(recalls)
    for average in ("macro", "weighted", None):
        theirs = sk.precision_recall_fscore_support(
            true, predicted, average=average, zero_division=0
        )
        for metric, value in zip(("precision", "recall", "f1"), theirs, strict=False):
            names = [average] if average else sorted({*true, *predicted})
            found = [lookup(ours, metric, name)["value"] for name in names]
            np.testing.assert_allclose(found, np.atleast_1d(value), atol=1e-12)
    np.testing.assert_array_less(ours["low"] - 1e-12, ours["value"])
    np.testing.assert_array_less(ours["value"], ours["high"] + 1e-12)
    assert ours["low"].ge(0).all() and ours["high"].le(1).all()
    assert (ours["high"] - ours["low"]).gt(0).all(), "no number is certain"


several = st.integers(2, 4).flatmap(
    lambda k: st.lists(
        st.tuples(*[st.tuples(st.booleans(), st.booleans())] * k), min_size=1, max_size=30
    )
)


@settings(max_examples=50)
@given(several)
def test_metrics_of_several_labels_are_those_of_scikit_learn(rows):
    masks = np.moveaxis(np.array(rows), 2, 0)
    names = np.array([f"c{at}" for at in range(masks.shape[2])])
    true, predicted = ([tuple(names[row].tolist()) for row in mask] for mask in masks)
    table = pd.DataFrame({"true": true, "predicted": predicted})
    ours = metrics(table.assign(**{f"probability_{name}": 0.5 for name in names}))
    exact = (masks[0] == masks[1]).all(axis=1).mean()
    assert lookup(ours, "accuracy")["value"] == pytest.approx(exact)
    occurring = {"macro": np.flatnonzero(masks.any(axis=(0, 1))), "weighted": None}
    for average, labels in occurring.items():
        value = lookup(ours, "f1", average)["value"]
        if not (masks[0] if labels is None else masks).any():
            assert np.isnan(value), "no label at all, no F1"
            continue
        theirs = sk.f1_score(*masks.astype(int), labels=labels, average=average, zero_division=0)
        assert value == pytest.approx(theirs)
    assert (ours["high"] - ours["low"]).gt(0).all()


def test_interval_of_accuracy_is_wilsons_and_n_is_counted():
    table = pd.DataFrame({"true": ["a"] * 90 + ["b"] * 10, "predicted": ["a"] * 95 + ["b"] * 5})
    found = metrics(table, level=0.9)
    expected = interval(95, 100, level=0.9)
    assert lookup(found, "accuracy")["low"] == expected.low
    assert lookup(found, "precision", "a")["n"] == 95
    assert lookup(found, "recall", "a")["n"] == 90
    assert lookup(found, "f1", "b")["n"] == 10


def test_a_rare_class_makes_balanced_accuracy_unsure():
    common = pd.DataFrame({"true": ["a"] * 500 + ["b"] * 500})
    rare = pd.DataFrame({"true": ["a"] * 995 + ["b"] * 5})
    lows = [
        lookup(metrics(t.assign(predicted=t["true"])), "balanced_accuracy")["low"]
        for t in (common, rare)
    ]
    assert lows[0] > 0.99 and lows[1] < 0.8


def test_tables_do_not_depend_on_the_order_of_pictures():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"true": rng.choice(list("abc"), 50), "predicted": rng.choice(list("abc"), 50)}
    )
    moved = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(confusion_table(table), confusion_table(moved))
    pd.testing.assert_frame_equal(metrics(table), metrics(moved))


def test_confusion_keeps_classes_that_do_not_occur():
    answers = predict_table(Echo(), (shown((0.1, 0.9, 0.0)), [0]), class_names="abc")
    table = confusion_table(answers)
    assert list(table.index) == list(table.columns) == ["a", "b", "c"]
    assert table.loc["a", "b"] == 1 and table.to_numpy().sum() == 1
    assert (table.index.name, table.columns.name) == ("true", "predicted")


def test_four_kinds_of_labels_give_the_same_answers():
    both = shown((0.7, 0.3), (0.2, 0.8))
    ints, column = np.array([0, 0]), np.array([[0], [0]])
    one_hot = np.array([[1, 0], [1, 0]])
    expected = predict_table(Echo(), (both, ints))
    for labels in (column, one_hot, ints.astype("float32"), one_hot.astype(bool)):
        pd.testing.assert_frame_equal(predict_table(Echo(), (both, labels)), expected)
    binary = predict_table(Echo(), (both[:, 1:], column))
    pd.testing.assert_frame_equal(binary, expected, atol=1e-6)
    assert expected["predicted"].tolist() == ["0", "1"]
    np.testing.assert_allclose(expected["confidence"], [0.7, 0.8], atol=1e-6)
    assert list(expected)[4:] == ["probability_0", "probability_1"]


def test_several_labels_are_told_from_one_by_the_answers():
    x, y = shown((0.9, 0.8), (0.1, 0.6)), np.array([[1, 0], [0, 1]])
    table = predict_table(Echo(), (x, y), class_names=["sea", "sun"])
    assert table["true"].tolist() == [("sea",), ("sun",)]
    assert table["predicted"].tolist() == [("sea", "sun"), ("sun",)]
    np.testing.assert_allclose(table["confidence"], [0.72, 0.54], atol=1e-6)
    one = predict_table(Echo(), (x, y), label_mode="categorical")
    assert one["predicted"].tolist() == ["0", "1"]


def test_many_batches_give_the_same_answers_as_few():
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 8, 8, 1), "float32"), rng.integers(0, 3, 60)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    whole = predict_table(model, (x, y))
    ones = predict_table(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(1))
    pd.testing.assert_frame_equal(whole, ones, atol=1e-6)
    some = predict_table(model, tf.data.Dataset.from_tensor_slices((x, y)).take(10).batch(4))
    pd.testing.assert_frame_equal(whole.head(10), some, atol=1e-6)


def test_models_do_not_drop_units_while_they_are_evaluated():
    x, y = np.ones((300, 4), "float32"), np.zeros(300, int)
    layers = [keras.layers.Dropout(0.5), keras.layers.Dense(2, "softmax")]
    answers = predict_table(keras.Sequential(layers), (x, y))
    assert answers["confidence"].nunique() == 1


def test_files_and_names_of_a_keras_folder_are_kept(tmp_path):
    for name, colour in {"night": 0, "snow": 255}.items():
        for at in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (4, 4), (colour,) * 3).save(tmp_path / name / f"{at}.png")
    load = keras.utils.image_dataset_from_directory
    folder = load(tmp_path, image_size=(4, 4), shuffle=False, label_mode="binary", verbose=False)
    bright = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Lambda(lambda x: x[:, :1]),
        ]
    )
    table = predict_table(bright, folder)
    assert accuracy(table) == 1
    assert [name.rsplit("/", 2)[1] for name in table["file"]] == table["true"].tolist()
    with pytest.raises(DataError, match="shuffle=False"):
        predict_table(bright, load(tmp_path, image_size=(4, 4), label_mode="binary", verbose=False))
    folder.file_paths = folder.file_paths[:4]
    with pytest.raises(DataError, match="names 4 files and gives 6 pictures"):
        predict_table(bright, folder)


def test_datasets_without_an_order_or_an_end_are_refused():
    pairs = tf.data.Dataset.from_tensor_slices((shown((0.5, 0.5)), [0])).batch(1)
    with pytest.raises(DataError, match="never ends"):
        predict_table(Echo(), pairs.repeat())
    pairs.shuffled = True
    with pytest.raises(DataError, match=r"splits\.ordered"):
        predict_table(Echo(), pairs)
    with pytest.raises(DataError, match="None"):
        predict_table(Echo(), None)
    with pytest.raises(DataError, match="without labels"):
        predict_table(Echo(), pairs.map(lambda x, y: x))
    with pytest.raises(DataError, match="no pictures"):
        predict_table(Echo(), pairs.take(0))


ROWS = np.random.default_rng(0).random((40, 2)).astype("float32")
PAIRS = tf.data.Dataset.from_tensor_slices((shown(*ROWS), np.arange(40) % 2))


@pytest.mark.parametrize(
    "dataset",
    [
        PAIRS.shuffle(40).batch(8),
        PAIRS.batch(8).shuffle(5).map(lambda x, y: (x, y)).prefetch(1),
        PAIRS.batch(8).concatenate(PAIRS.shuffle(40, seed=1).batch(8)),
        tf.data.Dataset.random(rerandomize_each_iteration=True)
        .take(1)
        .flat_map(lambda _: PAIRS.batch(8)),
    ],
)
def test_an_order_that_is_new_with_every_pass_is_refused(dataset):
    with pytest.raises(DataError, match=r"anew with every pass.*batches = list\(dataset\)"):
        predict_table(Echo(), dataset)
    batches = list(dataset)
    kept = predict_table(Echo(), batches)
    pictures = np.concatenate([x for x, _ in batches])[:, :, 0, 0]
    np.testing.assert_array_equal(kept[["probability_0", "probability_1"]], pictures)


def test_an_order_that_was_shuffled_once_names_its_pictures():
    dataset = PAIRS.shuffle(40, reshuffle_each_iteration=False).batch(8)
    table = predict_table(Echo(), dataset)
    pictures = np.concatenate([x for x, _ in dataset])[:, :, 0, 0]
    np.testing.assert_array_equal(table[["probability_0", "probability_1"]], pictures)
    assert (pictures != ROWS).any()
    dataset.file_paths = [str(number) for number in range(40)]
    with pytest.raises(DataError, match="file_paths do not belong"):
        predict_table(Echo(), dataset)


def test_an_unbatched_dataset_is_asked_whether_it_is_batched():
    for labels in (tf.constant([0, 1]), tf.one_hot([0, 1], 3)):
        dataset = tf.data.Dataset.from_tensor_slices((tf.zeros((2, 8, 8, 1)), labels))
        with pytest.raises(DataError, match=r"received \(8, 8, 1\).*Is the dataset batched\?"):
            predict_table(Echo(), dataset)


def test_arrays_come_as_a_tuple_or_a_list_and_must_be_of_one_length():
    x, y = shown(*ROWS), np.arange(40) % 2
    pd.testing.assert_frame_equal(predict_table(Echo(), [x, y]), predict_table(Echo(), (x, y)))
    for pair in ((x[:5], y[:3]), [x[:5], y[:3]]):
        with pytest.raises(DataError, match="received 5 pictures and 3 labels"):
            predict_table(Echo(), pair)


@pytest.mark.parametrize(
    "rows, message",
    [([[0.2, float("nan")]], "NaN"), ([[1.4, -0.4]], "softmax or sigmoid"), ([[-3.0]], "softmax")],
)
def test_answers_that_are_no_probabilities_are_refused(rows, message):
    with pytest.raises(ModelError, match=message):
        predict_table(Echo(), (shown(*rows), [0]))


def test_outputs_that_are_no_table_are_refused():
    with pytest.raises(ModelError, match=r"shape \(1, 2, 2, 1\)"):
        predict_table(keras.Sequential([keras.layers.Rescaling(1)]), (np.ones((1, 2, 2, 1)), [0]))


@pytest.mark.parametrize(
    "labels, mode, message",
    [
        ([3], None, "from 0 to 2"), ([-1], None, "from 0 to 2"), ([0.5], None, "from 0 to 2"),
        (["cat"], None, "as numbers"), ([[1, 1, 0]], "categorical", "multi_label"),
        ([[0.9, 0.05, 0.05]], None, "a 0 or 1"), ([[1, 0]], None, "each of 3 classes"),
        ([[1, 0, 0]], "int", "one label a picture"), ([0], "several", "label_mode"),
        ([0, 1], None, "1 pictures and 2 labels"), ([float("nan")], None, "from 0 to 2"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels, mode, message):
    with pytest.raises((DataError, OptionError), match=message):
        predict_table(Echo(), (shown((0.2, 0.3, 0.5)), labels), label_mode=mode)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "a"], []])
def test_names_that_do_not_fit_are_refused(names):
    with pytest.raises(DataError, match="tells 2 classes apart"):
        predict_table(Echo(), (shown((0.2, 0.8)), [0]), class_names=names)


def test_tables_that_are_no_predictions_are_refused():
    with pytest.raises(DataError, match="predicted"):
        metrics(pd.DataFrame({"true": ["a"]}))
    with pytest.raises(DataError, match="no rows"):
        accuracy(pd.DataFrame({"true": [], "predicted": []}))
    strange = pd.DataFrame({"true": ["a"], "predicted": ["B"], "probability_a": [1.0]})
    with pytest.raises(DataError, match="Unknown class 'B'"):
        confusion_table(strange)
    with pytest.raises(DataError, match="Unknown class"):
        metrics(strange.assign(predicted=None))


def test_mistakes_come_most_confident_first_and_keep_their_index():
    table = pd.DataFrame(
        {"true": list("aabb"), "predicted": list("abab"), "confidence": [0.9, 0.6, 0.8, 0.7]},
        index=[10, 11, 12, 13],
    )
    assert most_confident_mistakes(table).index.tolist() == [12, 11]
    assert most_confident_mistakes(table, n=1).index.tolist() == [12]
    assert most_confident_mistakes(table.iloc[[0, 3]]).empty

"""Wrong labels are found, whatever the order of rows; answers that say nothing are refused."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec.catalog import Catalog
from imgrec.core import CatalogError, DataError, OptionError
from imgrec.suspects import out_of_fold, suspects

NAMES = ["cat", "dog", "eel"]


def pictures(labels):
    "A catalog of tiny pictures with these labels."
    return Catalog.from_arrays(np.zeros((len(labels), 2, 2), np.uint8), labels, NAMES)


def answers(catalog, chances):
    "A table of predictions."
    table = pd.DataFrame(chances, columns=[f"probability_{name}" for name in NAMES])
    return table.assign(file=catalog.table["file"].tolist())


def echo(divided):
    "Answers for the validation part: 0.8 for what the catalog says."
    part = divided.table[divided.table["split"] == "valid"]
    chances = np.where(part["label"].to_numpy()[:, None] == np.array(NAMES), 0.8, 0.1)
    return answers(Catalog(part, tuple(NAMES)), chances)


def confident(codes, sure=0.9):
    "Probabilities of a model that is sure of these classes."
    return np.where(np.eye(3, dtype=bool)[codes], sure, (1 - sure) / 2)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 29), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_good_model_finds_exactly_the_wrong_labels(wrong, random):
    true = np.arange(30) % 3
    given_labels = np.where(np.isin(np.arange(30), list(wrong)), (true + 1) % 3, true)
    catalog = pictures(given_labels)
    predictions = answers(catalog, confident(true))
    found = suspects(catalog, predictions)
    assert set(found.index) == wrong
    assert found["suggested"].tolist() == [NAMES[true[row]] for row in found.index]
    assert found["label"].tolist() == [NAMES[given_labels[row]] for row in found.index]
    assert found["score"].tolist() == pytest.approx([0.05] * len(wrong))
    rows = list(range(30))
    random.shuffle(rows)
    again = suspects(catalog, predictions.iloc[rows][sorted(predictions, reverse=True)])
    pd.testing.assert_frame_equal(again, found)


def test_the_least_probable_label_comes_first():
    catalog = pictures([0, 0, 0, 1, 1, 1, 2, 2, 2])
    chances = confident([0, 1, 1, 1, 1, 1, 2, 2, 2])
    chances[1] = 0.4, 0.6, 0.0
    chances[2] = 0.2, 0.5, 0.3
    found = suspects(catalog, answers(catalog, chances), n=9)
    assert found.index.tolist() == [2, 1]  # where the model agrees, there is no suspect
    assert found["score"].tolist() == [0.2, 0.4] and found["confidence"].tolist() == [0.5, 0.6]
    assert suspects(catalog, answers(catalog, chances), n=1).index.tolist() == [2]
    chances[1, :2] = 0.2, 0.8
    assert suspects(catalog, answers(catalog, chances), n=9).index.tolist() == [1, 2]


def test_what_was_corrected_or_dropped_is_no_suspect_any_more():
    true = np.arange(12) % 3
    labels = true.copy()
    labels[[1, 5, 7]] = 0
    catalog = pictures(labels)
    predictions = answers(catalog, confident(true))
    assert suspects(catalog, predictions).index.tolist() == [1, 5, 7]
    mended = catalog.relabel("1", "dog").drop("5")
    assert suspects(mended, predictions, n=12).index.tolist() == [7]
    assert suspects(mended.undo().undo(), predictions).index.tolist() == [1, 5, 7]


def test_several_labels():
    labels = [["cat"], ["cat", "dog"], [], ["dog"], ["cat"], ["dog"], ["cat", "dog"], []]
    catalog = pictures(labels)
    mask = np.array([[name in label for name in NAMES] for label in labels])
    mask[2, 0] = True  # no eels anywhere: a class that no picture has
    found = suspects(catalog, answers(catalog, np.where(mask, 0.9, 0.1)))
    assert found.index.tolist() == [2]
    assert found.iloc[0][["label", "suggested"]].tolist() == [(), ("cat",)]
    assert found["confidence"].iloc[0] == pytest.approx(0.9**3)


@pytest.mark.parametrize("every", ["cat", "dog"])
def test_a_label_that_every_picture_has_is_no_obstacle(every):
    labels = [[every, "eel"] if at % 2 else [every] for at in range(8)]
    catalog = pictures(labels)
    mask = np.array([[name in label for name in NAMES] for label in labels])
    mask[3, 2] = False
    found = suspects(catalog, answers(catalog, np.where(mask, 0.9, 0.1)))
    assert found.index.tolist() == [3] and found["suggested"].tolist() == [(every,)]


def test_out_of_fold_asks_models_that_have_not_seen_the_picture():
    catalog = pictures(np.arange(24) % 3).split(test=0, folds=4)
    groups = []

    def predict(divided):
        parts = divided.table.groupby("split")["file"].agg(set)
        groups.append((parts["train"], parts["valid"]))
        return echo(divided).sample(frac=1, random_state=0)

    found = out_of_fold(catalog, predict)
    assert found["file"].tolist() == catalog.table["file"].tolist()
    assert found["fold"].tolist() == catalog.table["fold"].tolist()
    assert len(groups) == 4 and all(not train & valid for train, valid in groups)
    expected = answers(catalog, confident(np.arange(24) % 3, 0.8))
    pd.testing.assert_frame_equal(found.drop(columns="fold"), expected)
    assert suspects(catalog, found, n=24).empty


def test_a_test_part_stays_out_of_it():
    catalog = pictures(np.arange(60) % 3).split(test=0.2, folds=4)
    found = out_of_fold(catalog, echo)
    tested = catalog.table.loc[catalog.table["split"] == "test", "file"]
    assert len(found) == 60 - len(tested) and not set(found["file"]) & set(tested)


def test_out_of_fold_refuses_answers_about_other_pictures():
    catalog = pictures(np.arange(24) % 3).split(test=0, folds=4)
    with pytest.raises(DataError, match=r"Fold 0: expected a row for each of the 6 pictures"):
        out_of_fold(catalog, lambda divided: answers(divided, confident(np.arange(24) % 3)))
    with pytest.raises(DataError, match="6 other or repeated rows"):
        out_of_fold(catalog, lambda divided: pd.concat([echo(divided)] * 2))
    with pytest.raises(DataError, match="columns label and 24 rows"):
        out_of_fold(catalog, lambda divided: divided.table[["label"]])
    with pytest.warns(UserWarning, match="no answer for 1 of 6 pictures"):
        found = out_of_fold(catalog, lambda divided: echo(divided).iloc[1:])
    assert len(found) == 20
    with pytest.raises(CatalogError, match="no folds"):
        out_of_fold(pictures([0, 1, 2]), echo)


def test_predictions_that_do_not_belong_to_the_catalog():
    catalog = pictures([0, 1, 2, 0])
    good = answers(catalog, confident([0, 1, 2, 1]))
    assert suspects(catalog, good, n=3).index.tolist() == [3]
    for word, bad in {
        "probability_eel": good.drop(columns="probability_eel"),
        "probability_fox": good.assign(probability_fox=0.1),
        "file": good.drop(columns="file"),
        "'9'": good.assign(file=["0", "1", "2", "9"]),
        "'2'": good.assign(file=["0", "1", "2", "2"]),
        "nan": good.assign(probability_cat=np.nan),
        "softmax": good.assign(probability_cat=7.5),
    }.items():
        with pytest.raises(DataError, match=word):
            suspects(catalog, bad)
    with pytest.raises(DataError, match="all of these have the same"):
        suspects(pictures([0, 0, 0, 0]), good)
    for n in (0, -1, 1.5, "all"):
        with pytest.raises(OptionError, match="n must be"):
            suspects(catalog, good, n=n)


def test_without_cleanlab_the_error_names_the_extra(monkeypatch):
    catalog = pictures([0, 1, 2, 0])
    good = answers(catalog, confident([0, 1, 2, 1]))
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(ImportError, match=r"imgrec\[clean\]"):
        suspects(catalog, good)


def test_a_model_that_contradicts_most_labels_is_not_believed():
    labels = np.arange(12) % 3
    catalog, wrong = pictures(labels), np.where(np.arange(12) < 7, (labels + 1) % 3, labels)
    with pytest.warns(UserWarning, match="contradict 7 of 12 labels"):
        suspects(catalog, answers(catalog, confident(wrong)))


def test_arguments_of_another_kind_are_named():
    catalog = pictures([0, 1, 2])
    table = answers(catalog, confident([0, 1, 2]))
    with pytest.raises(DataError, match="received DataFrame and Catalog"):
        suspects(table, catalog)

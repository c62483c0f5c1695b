"""What trials answered survives the disk, and what does not is told by its name."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score, roc_auc_score

from imgrec.core import DataError, OptionError, SearchError
from imgrec.measures import (
    MEASURES,
    mean_error,
    measure_of,
    resamples,
    score_interval,
    standard_error,
    weighted_scores,
)
from imgrec.ties import bootstrap_test, holm, paired_test, smallest_difference
from imgrec.votes import (
    Votes,
    joined,
    load_predictions,
    predictions_file,
    save_predictions,
    votes_of,
    votes_problem,
)

KINDS = ("single", "two", "several classes", "multi_label")


def answers(kind, n=60, seed=0, ties=False):
    "Labels and made-up probabilities of one kind."
    rng = np.random.default_rng(seed)
    classes = {"single": 1, "two": 2}.get(kind, 4)
    chances = rng.random((n, classes))
    chances = chances.round(1) if ties else chances
    if kind in ("two", "several classes"):
        chances = (chances + 0.01) / (chances + 0.01).sum(axis=1, keepdims=True)
    if kind == "multi_label":
        return (rng.random((n, classes)) < 0.4).astype("int8"), chances.astype("float32")
    return rng.integers(max(classes, 2), size=n), chances.astype("float32")


def votes(kind, n=60, seed=0, ties=False):
    true, chances = answers(kind, n, seed, ties)
    return Votes(true, chances[None], np.arange(n))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_come_back_as_they_were(kind, tmp_path):
    true, chances = answers(kind)
    path = save_predictions(predictions_file(tmp_path, 12), true, chances)
    found = load_predictions(path)
    assert (found.true == true).all() and (found.probabilities[0] == chances).all()
    assert [each.name for each in path.parent.iterdir()] == ["12.npz"], "nothing else is left"
    assert votes_of(tmp_path, 1) is None, "1 is not 12"


@pytest.mark.parametrize("keep", [0, 10, 100, -30, -1])
def test_a_torn_file_is_named(keep, tmp_path):
    path = save_predictions(predictions_file(tmp_path, 3), *answers("two"))
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(SearchError, match=r"3\.npz cannot be used.*Delete the file"):
        load_predictions(path)


def test_a_changed_bit_is_an_error_or_changes_no_answer(tmp_path):
    true, chances = answers("several classes", n=8)
    path = save_predictions(tmp_path / "1.npz", true, chances)
    whole = path.read_bytes()
    for at, bit in itertools.product(range(len(whole)), range(8)):
        raw = bytearray(whole)
        raw[at] ^= 1 << bit
        path.write_bytes(raw)
        try:
            found = load_predictions(path)
        except SearchError as error:
            assert "1.npz" in str(error)
        else:
            assert (found.probabilities[0] == chances).all() and (found.true == true).all()


def test_something_else_in_its_place_is_told(tmp_path):
    np.savez(tmp_path / "1.npz", other=np.zeros(3))
    np.savez(tmp_path / "2.npz", true=np.array([{"a": 1}], dtype=object), probabilities=np.ones(1))
    np.savez(
        tmp_path / "3.npz",
        true=np.zeros(2, int),
        probabilities=np.ones((2, 2)),
        pictures=np.arange(5),
    )
    for name in ("1", "2", "3"):
        with pytest.raises(SearchError, match=rf"{name}\.npz cannot be used"):
            load_predictions(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("true", "chances", "words"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], "not finite, first picture 1"),
        ([0, 1], [[0.5, 0.5], [np.inf, 1]], "not finite"),
        ([0, 2], [[0.5, 0.5], [0, 1]], "labels from 0 to 1"),
        ([0, -1], [[0.5, 0.5], [0, 1]], "labels from 0 to 1"),
        ([0, 0.5], [[0.5, 0.5], [0, 1]], "whole numbers"),
        ([0, 1, 1], [[0.5, 0.5], [0, 1]], "for each picture"),
        ([[0, 1], [1, 0]], [[0.5], [0.5]], "for each picture"),
        ([0, 1], [[5.0, -5.0], [0, 1]], "probabilities from 0 to 1"),
        ([0, 1], [0.5, 0.5], "expected labels"),
        ([], np.zeros((0, 2)), "expected labels"),
    ],
)
def test_what_cannot_be_compared_is_not_written(true, chances, words, tmp_path):
    assert words in votes_problem(np.array(true), np.array(chances))
    with pytest.raises(DataError, match="is not written"):
        save_predictions(tmp_path / "1.npz", np.array(true), np.array(chances))
    assert not list(tmp_path.iterdir())


def test_runs_stand_side_by_side_and_folds_one_after_another(tmp_path):
    first, second = votes("two", seed=1), votes("two", seed=1)
    assert joined([first, second]).runs == 2
    true, chances = answers("two", n=30)
    for fold in (0, 1, 2):
        save_predictions(
            predictions_file(tmp_path, 5, f"fold-{fold}"), true, chances, np.arange(30) + 30 * fold
        )
    assert (votes_of(tmp_path, 5).n, votes_of(tmp_path, 5).runs) == (90, 1)
    with pytest.raises(DataError, match="folds without a common one"):
        joined([first, Votes(first.true[:40], first.probabilities[:, :40], np.arange(40))])
    with pytest.raises(DataError, match="numbers of classes"):
        joined([first, votes("single")])


# ---- measures


def test_names_of_keras_are_known_and_others_are_told():
    assert measure_of("val_accuracy") == measure_of("val_acc_2") == "accuracy"
    assert measure_of("val_sparse_categorical_crossentropy") == measure_of("loss") == "loss"
    for name in ("val_top_5_accuracy", "val_cost", "", "val_"):
        with pytest.raises(OptionError, match="val_accuracy"):
            measure_of(name)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_scores_are_those_of_scikit_learn(kind, ties):
    found = votes(kind, ties=ties)
    weight = next(resamples(found.n, 1, seed=3))
    mask, chances, w = found.mask, found.probabilities[0].astype(float), weight[0]

    def of(measure):
        return weighted_scores(measure, found, weight)[0]

    flat = {"sample_weight": np.repeat(w, mask.shape[1])}
    if kind == "multi_label":
        areas = [roc_auc_score(mask[:, c], chances[:, c], sample_weight=w) for c in range(4)]
        assert of("auc") == pytest.approx(np.mean(areas))
        assert of("accuracy") == pytest.approx(np.average((chances > 0.5) == mask, 0, w).mean())
    else:
        assert of("auc") == pytest.approx(roc_auc_score(mask.ravel(), chances.ravel(), **flat))
        said = (chances > 0.5)[:, 0] if kind == "single" else chances.argmax(axis=1)
        assert of("accuracy") == pytest.approx(np.average(said == found.true, weights=w))
        inside = np.hstack([1 - chances, chances]) if kind == "single" else chances
        inside = inside.clip(1e-7, 1 - 1e-7)
        labels, inside = np.arange(inside.shape[1]), inside / inside.sum(axis=1, keepdims=True)
        loss = log_loss(found.true, inside, sample_weight=w, labels=labels)
        assert of("loss") == pytest.approx(loss, rel=1e-5)
    above = (chances > 0.5).ravel()
    assert of("precision") == pytest.approx(
        precision_score(mask.ravel(), above, zero_division=0, **flat)
    )
    assert of("recall") == pytest.approx(recall_score(mask.ravel(), above, **flat))
    called = chances > 0.5 if mask.shape[1] == 1 or kind == "multi_label" else None
    called = np.eye(mask.shape[1])[chances.argmax(1)] if called is None else called
    each = [
        f1_score(mask[:, c], called[:, c], sample_weight=w, zero_division=0)
        for c in range(mask.shape[1])
    ]
    assert of("f1") == pytest.approx(np.mean(each))


@pytest.mark.parametrize("measure", MEASURES)
def test_errors_shrink_with_the_root_of_the_pictures(measure):
    small, large = (standard_error(measure, votes("several classes", n)) for n in (200, 3200))
    assert 3 < small / large < 5.5


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_score_without_a_miss_or_a_hit_is_not_sure(right, runs):
    def of(n):
        answers = np.full((runs, n, 2), (right, 1 - right), "float32")
        return Votes(np.zeros(n, int), answers, np.arange(n))

    few, many = (1.96 * standard_error("accuracy", of(n)) for n in (60, 6000))
    low, high = score_interval("accuracy", of(60))
    assert few == pytest.approx((high - low) / 2) and 50 < few / many < 150
    assert (low, high) == pytest.approx((0.9398, 1.0) if right else (0.0, 0.0602), abs=1e-4)


def test_an_area_with_an_empty_side_is_not_known():
    one_sided = Votes(np.zeros(5, int), np.full((1, 5, 1), 0.3, "float32"), np.arange(5))
    assert np.isnan(weighted_scores("auc", one_sided, np.ones((1, 5)))[0])
    assert np.isnan(score_interval("auc", one_sided)).all()
    assert np.isnan(standard_error("auc", one_sided))


def test_large_tables_are_resampled_in_blocks():
    blocks = list(resamples(3_000_000, 2, seed=1))
    assert [len(block) for block in blocks] == [1, 1]
    assert all(block.sum() == 3_000_000 for block in blocks)


# ---- ties

hits = st.lists(st.booleans(), min_size=2, max_size=40)


@given(hits, st.randoms())
def test_a_paired_test_is_the_exact_test_of_mcnemar(first, random):
    second = random.sample(first, len(first))
    a, b = (np.array([each], dtype=float) for each in (first, second))
    found, turned = paired_test(a, b), paired_test(b, a)
    assert found.p == turned.p and found.difference == -turned.difference
    more, fewer = int((a > b).sum()), int((a < b).sum())
    wanted = binomtest(more, more + fewer).pvalue if more + fewer else 1.0
    assert found.p == pytest.approx(wanted)


@given(hits, st.randoms())
def test_the_noise_floor_is_where_the_test_begins_to_see(first, random):
    second = random.sample(first, len(first))
    a, b = (np.array([each], dtype=float) for each in (first, second))
    apart, n = int((a != b).sum()), len(first)
    gap = round(smallest_difference(a, b) * n)
    apart = max(apart, gap)
    if (apart - gap) % 2:
        apart += 1  # a gap of an even number needs an even number of pictures
    fewer = (apart - gap) // 2
    assert binomtest(fewer, apart).pvalue < 0.05
    assert apart == gap == 6 or binomtest(fewer + 1, apart).pvalue >= 0.05


@given(st.lists(st.floats(0, 1), max_size=12), st.randoms())
def test_corrected_p_keep_their_order_and_only_grow(p, random):
    found = holm(p)
    assert (found >= np.array(p)).all() and (found <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    if p:
        assert found.min() == pytest.approx(min(min(p) * len(p), 1))
    turned = random.sample(range(len(p)), len(p))
    assert holm([p[at] for at in turned]) == pytest.approx(found[turned])


def test_luck_of_the_training_makes_a_difference_less_sure():
    rng = np.random.default_rng(0)
    chance = rng.beta(4, 1, size=400)
    runs = [(rng.random((4, 400)) < chance + side).astype(float) for side in (0.0, 0.03)]
    lucky = [each.copy() for each in runs]
    for each in lucky:
        each[0] = (rng.random(400) < chance - 0.3).astype(float)  # one training failed
    assert paired_test(*lucky).error > 2 * paired_test(*runs).error
    assert mean_error(lucky[0]) > 2 * mean_error(runs[0])


def test_differences_without_any_spread_are_certain_or_nothing():
    ones, zeros = np.full((1, 5), 2.0), np.full((1, 5), 1.0)
    assert (paired_test(ones, zeros).p, paired_test(ones, ones).p) == (0.0, 1.0)
    assert bootstrap_test(0.0, np.zeros(9)).p == 1.0
    assert bootstrap_test(0.1, np.full(9, np.nan)).p == 1.0, "nothing is known"

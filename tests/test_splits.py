"""Splits: no group parted, each class everywhere, shares kept, and nothing depends on the order."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from imgrec.core import CatalogError
from imgrec.leaks import leak_summary, leaks, leaks_in, plain_split
from imgrec.splits import SplitWarning, fold_table, split_notes, split_table, warn_of
from imgrec.strata import group_numbers, joins, strata_of

CLASSES = ["ant", "bee", "cat", "dog", "eel"]
quick = settings(max_examples=60)


@st.composite
def tables(draw, several_labels=None, mixed_groups=True, most=50):
    "Tables of pictures with owners, duplicates and bad files, in any order."
    size = draw(st.integers(6, most))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    names = CLASSES[: draw(st.integers(1, 5))]
    owner = rng.integers(0, draw(st.integers(2, 2 * size)), size)
    if several_labels is None:
        several_labels = draw(st.booleans())
    if several_labels:
        rate = draw(st.sampled_from([0.1, 0.4]))
        labels = [tuple(n for n in names if rng.random() < rate) for _ in range(size)]
        if not any(labels):
            labels[0] = (names[0],)
    else:
        chances = 0.5 ** np.arange(len(names))
        number = rng.choice(len(names), size, p=chances / chances.sum())
        labels = [names[n] for n in (number if mixed_groups else number[owner % size])]
    table = pd.DataFrame({"file": [f"{n}.jpg" for n in rng.permutation(size)], "label": labels})
    table["owner"] = np.where(rng.random(size) < 0.2, None, owner.astype(object))
    if mixed_groups and draw(st.booleans()):
        table["duplicate_group"] = np.where(rng.random(size) < 0.3, rng.integers(0, 9, size), -1)
    if draw(st.booleans()):
        table["ok"] = rng.random(size) < 0.9
        known = table[table["ok"]]["label"].explode().dropna()
        assume(set(table["label"].explode().dropna()) == set(known) != set())
    return table


def divided(table, *arguments, **options):
    "A split, where one is possible; that it is not is told for a part without any picture only."
    try:
        return split_table(table, *arguments, **options)
    except CatalogError as error:
        assert "No picture can be had for" in str(error)
        assume(False)


def by_file(table, column="split"):
    "A column by file, in one order."
    return table.set_index("file")[column].sort_index()


def groups_of(table, label, group):
    "How many groups have a usable picture of a class."
    has = table["label"].map(lambda held: label in ([held] if isinstance(held, str) else held))
    return len(set(group_numbers(table, group)[has & table.get("ok", True)]))


shares = st.sampled_from([(0.15, 0.15), (0.2, 0.0), (0.0, 0.3), (0.3, 0.45), (0.01, 0.01)])
owners = st.sampled_from([None, "owner", ("owner",)])


# Groups


def joined_naively(table, columns):
    "Groups by merging sets until nothing changes."
    groups = [{row} for row in range(len(table))]
    for name in columns:
        for _, rows in table[joins(table[name])].groupby(name):
            touched = [group for group in groups if group & set(rows.index)]
            groups = [g for g in groups if g not in touched] + [set().union(*touched)]
    return {frozenset(group) for group in groups}


@quick
@given(tables(most=30))
def test_groups_are_what_any_column_joins(table):
    columns = ["owner", *[name for name in ["duplicate_group"] if name in table]]
    numbers = pd.Series(group_numbers(table, "owner"))
    found = {frozenset(rows) for rows in numbers.groupby(numbers).groups.values()}
    assert found == joined_naively(table, columns)


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, "", pd.NaT])
def test_a_missing_value_joins_nothing(nothing):
    table = pd.DataFrame({"patient": pd.Series([nothing, nothing, "x", "x"], dtype=object)})
    assert len(set(group_numbers(table, "patient"))) == 3


@pytest.mark.parametrize("name", ["pateint", ["owner", "pateint"]])
def test_a_column_that_is_not_there_is_named_with_those_that_are(name):
    table = pd.DataFrame({"file": ["a", "b"], "label": ["x", "x"], "owner": [1, 2]})
    with pytest.raises(CatalogError, match=r"no column 'pateint'.*It has: file, label, owner"):
        split_table(table, 0.2, 0.2, group=name)


# What holds for every table


@quick
@given(tables(), shares, owners, st.integers(0, 5))
def test_every_usable_picture_is_in_one_part_and_no_group_is_parted(table, share, group, seed):
    found = divided(table, *share, seed, group)
    usable = found.get("ok", pd.Series(True, index=found.index)).astype(bool)
    assert (found["split"].ne("") == usable).all()
    wanted = {"train"} | {part for part, s in zip(["valid", "test"], share, strict=True) if s}
    assert set(found["split"][usable]) == wanted
    numbers = group_numbers(table, group)[usable]
    assert found[usable].groupby(numbers)["split"].nunique().max() == 1
    assert found.drop(columns="split").equals(table)
    assert not any("several parts" in note for note in split_notes(found, group))


@quick
@given(tables(), shares, owners, st.randoms(use_true_random=False), st.sampled_from([None, 3]))
def test_the_order_of_the_rows_does_not_matter(table, share, group, random, folds):
    order = list(range(len(table)))
    random.shuffle(order)
    table["duplicate_group"] = table.get("duplicate_group", -1)
    shuffled = table.iloc[order].reset_index(drop=True)
    renamed = shuffled["duplicate_group"].map(lambda number: number * 7 + 2 if number >= 0 else -1)
    first = divided(table, *share, 3, group, folds)
    second = split_table(shuffled.assign(duplicate_group=renamed), *share, 3, group, folds)
    for column in ["split", *["fold"][: folds is not None]]:
        assert by_file(first, column).equals(by_file(second, column))


def test_the_order_does_not_matter_with_many_kinds_of_groups():
    table = faces(0, 60).assign(owner=np.arange(60) // 3)
    table.loc[::4, "owner"] = -np.arange(15)
    first = by_file(split_table(table, 0.2, 0.2, 0, "owner"))
    for seed in range(20):
        shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True)
        assert by_file(split_table(shuffled, 0.2, 0.2, 0, "owner")).equals(first)


@quick
@given(tables(), shares, owners)
def test_each_class_is_where_it_can_be_and_where_it_is_not_is_said(table, share, group):
    found = divided(table, *share, 0, group)
    rows = found[found["split"] != ""].explode("label").dropna(subset="label")
    there = pd.crosstab(rows["label"], rows["split"]) > 0
    assert there["train"].all()
    notes = " ".join(split_notes(found, group))
    numbers = pd.Series(group_numbers(found, group))[rows.index]
    mixed = rows.groupby(numbers)["label"].nunique().max() > 1  # classes that cannot be parted
    for name in there.index:
        everywhere = there.loc[name].all()
        assert (f"Class {name!r} has" in notes) == (not everywhere)
        assert everywhere or mixed or groups_of(found, name, group) < len(there.columns)


@quick
@given(tables(several_labels=False, mixed_groups=False), shares)
def test_a_class_with_a_group_for_each_part_is_in_each_part(table, share):
    found = divided(table, *share, 0, "owner")
    numbers = pd.Series(group_numbers(table, "owner"))
    assume(table.groupby(numbers)["label"].nunique().max() == 1)
    parts = set(found["split"]) - {""}
    for name, rows in found[found["split"] != ""].groupby("label"):
        count = groups_of(found, name, "owner")
        first = ["train", *[part for part in ("test", "valid") if part in parts]]
        assert set(rows["split"]) >= set(first[:count])


def test_of_a_class_with_two_groups_one_is_for_the_test():
    labels = ["ant", "cat", "ant", "bee", "bee", "cat", "bee", "cat", "ant", "ant"]
    table = pd.DataFrame({"file": [f"{n}.jpg" for n in (3, 2, 6, 9, 0, 1, 8, 7, 5, 4)]})
    table = table.assign(label=labels, owner=[9, None, 8, None, 3, 7, 3, 7, 8, None])
    found = split_table(table, 0.15, 0.15, 0, "owner")
    assert set(found["split"][found["label"] == "cat"]) == {"test", "train"}
    assert set(found["split"][found["label"] == "bee"]) == {"test", "train"}
    assert set(found["split"][found["label"] == "ant"]) == {"test", "train", "valid"}


# Shares


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), shares, st.integers(0, 3))
@example([2, 2, 2, 25, 28], (0.2, 0.0), 0)
def test_classes_and_the_whole_have_their_shares_as_far_as_integers_allow(sizes, share, seed):
    labels = [f"class {n}" for n, size in enumerate(sizes) for _ in range(size)]
    table = pd.DataFrame({"file": map(str, range(len(labels))), "label": labels})
    found = divided(table, *share, seed)
    for part, wanted in zip(("valid", "test"), share, strict=True):
        counts = found[found["split"] == part]["label"].value_counts()
        counts = counts.reindex(table["label"].unique(), fill_value=0).to_numpy()
        want = wanted * np.array(sizes)
        least, room = np.array(sizes) >= 3, np.maximum(np.array(sizes) - 2, 0)
        usual = (want >= least * (wanted > 0)) & (want <= room)
        assert (np.abs(counts - want)[usual] < 1).all()
        assert abs(counts.sum() - want.sum()) < 1 or not usual.all()


@quick
@given(tables(several_labels=False, mixed_groups=False, most=120), st.integers(0, 5))
def test_with_groups_a_class_is_less_than_a_group_from_its_share(table, seed):
    found = divided(table, 0.2, 0.2, seed, "owner")
    found = found[found["split"] != ""]
    numbers = group_numbers(found, "owner")
    for _, rows in found.groupby("label"):
        largest = np.bincount(numbers[found.index.get_indexer(rows.index)]).max()
        for part in ("valid", "test"):
            assert abs((rows["split"] == part).sum() - 0.2 * len(rows)) <= 1.5 * largest


def faces(seed, size=600):
    "Pictures with some of twelve labels, the last in one of thirty; most sets are rare."
    has = np.random.default_rng(seed).random((size, 12)) < 0.4 / np.arange(1, 13)
    labels = [tuple(f"{n:02d}" for n in np.flatnonzero(row)) for row in has]
    return pd.DataFrame({"file": map(str, range(size)), "label": labels})


@pytest.mark.parametrize("seed", range(5))
def test_each_of_several_labels_has_its_share(seed):
    found = split_table(faces(seed), 0.15, 0.15, seed)
    counts = pd.crosstab(*found.explode("label")[["label", "split"]].to_numpy().T)
    off = counts[["test", "valid"]].sub(0.15 * counts.sum(axis=1), axis=0).abs()
    assert off.max(axis=None) < 2 and off.mean(axis=None) < 0.7
    assert (found["split"].value_counts()[["test", "valid"]] - 90).abs().max() <= 2


def test_another_seed_is_another_split_also_where_every_group_is_of_its_own_kind():
    table = faces(0, 100).assign(owner=np.arange(100) // 7)
    for group in (None, "owner"):
        splits = {tuple(split_table(table, 0.2, 0.2, seed, group)["split"]) for seed in range(5)}
        assert len(splits) == 5


@quick
@given(st.lists(st.integers(3, 40), min_size=1, max_size=12), st.integers(0, 11), st.data())
def test_an_added_picture_moves_few_others(sizes, place, data):
    labels = [f"class {n}" for n, size in enumerate(sizes) for _ in range(size)]
    table = pd.DataFrame({"file": map(str, range(len(labels))), "label": labels})
    row = data.draw(st.integers(0, len(table) - 1))
    same = labels[row]
    assume(labels.count(same) > 3)
    before = by_file(split_table(table.drop(index=row).reset_index(drop=True), 0.15, 0.2))
    after = by_file(split_table(table, 0.15, 0.2))
    moved = (after[before.index] != before).groupby(table.set_index("file")["label"]).sum()
    assert moved[same] <= 3
    assert moved.drop(same).sum() <= 6


# What a table says already


@quick
@given(tables(), shares, owners, st.sets(st.sampled_from(["valid", "test"])), st.integers(0, 9))
def test_a_part_that_is_given_stays_as_it_is(table, share, group, parts, seed):
    rng = np.random.default_rng(seed)
    table["split"] = np.where(rng.random(len(table)) < 0.3, rng.choice(["valid", "test"]), "train")
    usable = table.get("ok", pd.Series(True, index=table.index)).astype(bool)
    found = divided(table, *share, seed, group, keep=list(parts))
    for part in parts & set(table["split"][usable]):
        assert (found["split"].eq(part) == (table["split"].eq(part) & usable)).all()
    rest = found["split"].ne(table["split"]) & usable & table["split"].isin(parts)
    assert not rest.any()


def test_given_parts_win_over_groups_and_the_leak_is_said():
    table = pd.DataFrame({"file": map(str, range(30)), "label": ["a", "b"] * 15})
    table = table.assign(split=["test"] * 5 + ["train"] * 25, owner=np.arange(30) // 2)
    found = split_table(table, 0.2, 0.2, group="owner")
    assert found["split"].eq("test").sum() == 5
    assert any("1 group of pictures" in note for note in split_notes(found, "owner"))
    assert leaks_in(found, "owner")["test"].tolist() == [("4",)]


def test_a_table_that_is_divided_stays_so_and_that_is_said():
    table = pd.DataFrame({"file": map(str, range(20)), "label": ["a", "b"] * 10})
    first = split_table(table, 0.2, 0.2)
    second = split_table(first, 0.4, 0.1, seed=9)
    assert second.equals(first)
    assert "Nothing was divided" in split_notes(second, before=first)[0]
    anew = split_table(first, 0.4, 0.1, seed=9, keep=())
    assert anew.equals(split_table(table, 0.4, 0.1, seed=9))
    assert split_notes(anew, before=first) == [] == split_notes(first, before=table)
    only_test = first.assign(split=first["split"].replace("valid", "train"))
    assert split_notes(split_table(only_test, 0, 0.2), before=only_test) == [], "as it was asked"


def test_the_columns_have_their_order_and_an_old_fold_goes():
    table = pd.DataFrame({"file": map(str, range(9)), "owner": 0, "label": "a", "ok": True})
    folded = split_table(table, 0, 0.2, folds=2)
    assert list(folded) == ["file", "owner", "label", "split", "fold", "ok"]
    assert list(split_table(folded, 0.2, 0.2)) == ["file", "owner", "label", "split", "ok"]


# Folds


@quick
@given(tables(), st.sampled_from([0.0, 0.2]), owners, st.integers(2, 5), st.integers(0, 5))
def test_folds_hold_each_picture_once_part_no_group_and_leave_each_class_to_learn(
    table, test, group, folds, seed
):
    try:
        found = split_table(table, 0.15, test, seed, group, folds)
    except CatalogError as error:
        assert "No picture can be had for" in str(error)
        assume(False)
    assert set(found["split"]) <= {"train", "test", ""}
    inside = found["fold"] >= 0
    assert set(found["fold"][inside]) == set(range(folds))
    assert (found["split"][inside] == "train").all()
    numbers = group_numbers(table, group)
    assert found[inside].groupby(numbers[inside])["fold"].nunique().max() == 1
    classes = set(found[found["split"] != ""]["label"].explode().dropna())
    for fold in range(folds):
        one = fold_table(found, fold)
        assert (one["split"].eq("valid") == found["fold"].eq(fold)).all()
        assert set(one[one["split"] == "train"]["label"].explode().dropna()) == classes
        assert fold_table(one, 0).equals(fold_table(found, 0))
    learnt = found[found["split"] == "train"].assign(number=numbers[found["split"] == "train"])
    spread = learnt.explode("label").groupby("label")["number"].nunique()
    for _, rows in learnt[learnt["fold"] < 0].groupby("number"):
        names = rows["label"].explode().dropna()
        others = learnt[(learnt["fold"] >= 0)].explode("label").groupby("label")["fold"].nunique()
        assert (spread[names] == 1).any() or (others.reindex(names, fill_value=0) <= 1).any()


def test_a_class_whose_groups_all_came_into_one_fold_is_learnt_all_the_same():
    labels = [
        ("ant", "bee", "dog"),
        ("bee",),
        ("cat",),
        ("dog",),
        ("ant", "cat"),
        ("ant", "bee", "cat"),
    ]
    files = ["4.jpg", "2.jpg", "1.jpg", "5.jpg", "3.jpg", "0.jpg"]
    table = pd.DataFrame({"file": files, "label": labels, "owner": [None, 1, 1, 2, 0, 1]})
    found = split_table(table, 0.15, 0, 0, "owner", folds=2)
    assert (found["fold"] >= 0).sum() >= 3
    for fold in range(2):
        one = fold_table(found, fold)
        assert set(one[one["split"] == "train"]["label"].explode()) == {"ant", "bee", "cat", "dog"}


@quick
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(2, 6))
def test_folds_differ_by_one_picture_of_each_class_and_hardly_in_size(sizes, folds):
    labels = [f"class {n}" for n, size in enumerate(sizes) for _ in range(size)]
    table = pd.DataFrame({"file": map(str, range(len(labels))), "label": labels})
    assume(sum(size for size in sizes if size > 1) >= folds)
    found = split_table(table, 0, 0, folds=folds)
    inside = found[found["fold"] >= 0]
    counts = pd.crosstab(inside["label"], inside["fold"]).reindex(columns=range(folds))
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    assert counts.sum().max() - counts.sum().min() <= 2
    assert (found["fold"] < 0).sum() == sizes.count(1)
    notes = " ".join(split_notes(found))
    for name, size in zip(dict.fromkeys(labels), sizes, strict=True):
        assert (f"{name!r} has" in notes) == (size < folds)


def test_folds_keep_the_given_test_part_and_deal_out_the_given_validation():
    table = pd.DataFrame({"file": map(str, range(40)), "label": ["a", "b"] * 20})
    table["split"] = ["test"] * 10 + ["valid"] * 10 + ["train"] * 20
    found = split_table(table, 0.15, 0.15, folds=3)
    assert found["fold"][:10].eq(-1).all() and found["split"].eq("test").sum() == 10
    assert found["fold"][10:].value_counts().to_dict() == {0: 10, 1: 10, 2: 10}


def test_impossible_folds_are_refused():
    table = pd.DataFrame({"file": map(str, range(9)), "label": "a"})
    for folds in (0, 1, 2.5, "five"):
        with pytest.raises(CatalogError, match="whole number from 2"):
            split_table(table, 0, 0, folds=folds)
    with pytest.raises(CatalogError, match=r"fold \d: .*10 pictures"):
        split_table(table, 0, 0, folds=10)
    with pytest.raises(CatalogError, match="no folds"):
        fold_table(split_table(table, 0.2, 0.2), 0)
    for fold in (-1, 3):
        with pytest.raises(CatalogError, match="from 0 to 2"):
            fold_table(split_table(table, 0, 0, folds=3), fold)


# Leaks


@quick
@given(tables(), st.integers(0, 9))
def test_leaks_are_the_groups_that_a_split_has_parted(table, seed):
    table["duplicate_group"] = table.get("duplicate_group", -1)
    plain = divided(table.drop(columns=["owner", "duplicate_group"]), 0.2, 0.2, seed)["split"]
    table["split"] = plain
    used, numbers = plain != "", group_numbers(table, "owner")
    expected = {
        tuple(tuple(sorted(rows["file"][rows["split"] == p])) for p in ("train", "valid", "test"))
        for _, rows in table[used].groupby(numbers[used])
        if rows["split"].nunique() > 1
    }
    found = leaks_in(table, "owner")
    assert {tuple(row) for row in found[["train", "valid", "test"]].to_numpy()} == expected
    assert found.equals(leaks(table, 0.2, 0.2, seed, "owner")), "the given split is not looked at"
    assert leaks_in(table.sample(frac=1, random_state=seed), "owner").equals(found)
    twins = sum(len(row.test) for row in found.itertuples() if row.train)
    summary = leak_summary(table, "owner").loc["test"]
    assert summary["with_twin"] == twins and summary["pictures"] == (plain == "test").sum()


def test_a_careful_split_has_no_leaks_and_a_plain_one_has():
    table = pd.DataFrame({"file": map(str, range(200)), "label": ["a", "b"] * 100})
    table["duplicate_group"] = np.arange(200) // 4
    assert len(leaks_in(split_table(table, 0.2, 0.2))) == 0
    assert leak_summary(split_table(table, 0.2, 0.2))["share"].tolist() == [0, 0]
    assert leak_summary(plain_split(table, 0.2, 0.2)).loc["test", "share"] > 0.8
    assert leaks(table)["group"].str.match(r"duplicate_group=\d+$").all()


# What is said


def test_a_warning_holds_a_few_notes_and_counts_the_others():
    names = [f"class {n}" for n in range(9)]
    table = pd.DataFrame({"file": map(str, range(29)), "label": ["ant"] * 20 + names})
    with pytest.warns(
        SplitWarning, match=r"(?s)'class 0' has 1 picture: none in valid.*And 4 more"
    ):
        warn_of(split_notes(split_table(table, 0.2, 0.2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of([])


def test_names_that_are_no_text_are_divided_like_others():
    files = [f"caf\udce9/{n}\n[*].png" for n in range(20)]
    table = pd.DataFrame({"file": files, "label": ["\udce9", "b"] * 10})
    assert split_table(table, 0.2, 0.2)["split"].value_counts()["test"] == 4


def test_all_pictures_of_one_group_cannot_be_divided():
    table = pd.DataFrame({"file": map(str, range(20)), "label": ["a", "b"] * 10, "owner": "x"})
    with pytest.raises(CatalogError, match="No picture can be had for test and validation"):
        split_table(table, 0.2, 0.2, group="owner")


def test_strata_are_groups_with_the_same_labels_inside():
    labels = pd.Series(["a", "b", "b", "a", "a", "a"])
    strata = strata_of(labels, pd.Series(list("uvwxyz")), np.array([5, 5, 2, 2, 7, 9]), seed=0)
    assert sorted(zip(strata.counts, strata.holds, strict=True)) == [
        (2, [(0, 1), (1, 1), (3, 2)]),
        (2, [(0, 1), (3, 1)]),
    ]
